"""Time the model, its training step, the data pipelines, training end to end, saving; alone or against another model.

Each part is measured after a warm-up, as the median (min to max) of --steps turns. A turn is one step, on a GPU ten:
  forward     the model in eval mode, without gradients
  train_step  loss, backward, optimizer
  pipelines   each data pipeline alone, in one process (no workers), until a batch is ready
  end_to_end  loader (as configured) and training step, and the share of time spent waiting for data
  save        a checkpoint to resume from, in the system's temporary folder: seconds instead of images/s
  inference   forward, and its exports with Paddle Inference and onnxruntime, in turns; only if named in --only
forward, train_step and inference use random pictures. The others read data.file, or random pictures if it does not
exist.

--against FILE.py times another implementation in turns with this one. FILE.py defines build(variant, num_classes) -> a
paddle.nn.Layer and may define loss(logits, labels). It is trained with plain Adam. A ratio above 1 means that this
project is faster. --amp affects this project's steps only.

--against-python PYTHON runs FILE.py in another Python, which needs torch and nothing else: build then returns a
torch.nn.Module. tools/peers/official.py is such a file, for the official implementation.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import _environment  # noqa: F401

from common.windows import move
from engine.cli import PROJECT, Parser, run
from engine.errors import UserError
from engine.system.tuning import user_environ


def main() -> None:
    from engine.benchmark.measure import measure

    arguments = parse()
    parts = parts_of(arguments)
    check(arguments, parts)
    report = measure(
        arguments.config,
        overrides_of(arguments),
        parts=parts,
        steps=arguments.steps,
        against=arguments.against,
        against_python=arguments.against_python,
        settings=arguments.settings,
        environ=user_environ(),
        say=lambda line: print(line, flush=True),
    )
    if arguments.json:
        write(arguments.json, {"arguments": vars(arguments), **report})
        print(f"written: {arguments.json}")


def parse() -> argparse.Namespace:
    from engine.benchmark.measure import PARTS, SETTINGS

    parser = Parser(
        __doc__, "python tools/benchmark.py --variant tiny --batch 16 --against other.py --json result.json"
    )
    parser.add_config(default=str(PROJECT / "configs" / "tiny_cifar10.yaml"))
    parser.add_argument("--variant", metavar="NAME", help="tiny, small, ..., micro: short for model.name")
    parser.add_argument("--batch", type=int, metavar="N", help="short for data.batch_size")
    parser.add_argument("--amp", metavar="LEVEL", help="O0, O1 or O2: short for amp.level")
    parser.add_argument("--pipeline", metavar="NAME", help="short for data.pipeline, for end_to_end")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="turns of each part (default: %(default)s)")
    parser.add_argument("--only", metavar="PARTS", help=f"some of {','.join(PARTS)}, separated by commas")
    parser.add_argument("--against", type=Path, metavar="FILE.py", help="another implementation of the model")
    parser.add_argument("--against-python", metavar="PYTHON", help="a Python with torch, which runs FILE.py")
    parser.add_argument(
        "--settings",
        choices=SETTINGS,
        default=SETTINGS[0],
        help="the settings of the other implementation: all of ours but Paddle's flags (same, the default), all of "
        "ours (flags; not in torch), only the number of threads (threads), none (stock)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    return parser.parse_args()


def parts_of(arguments: argparse.Namespace) -> list[str]:
    """Return the parts to measure in order; UserError if one does not exist."""
    from engine.benchmark.measure import BY_DEFAULT, PARTS

    if arguments.only is None:
        return list(BY_DEFAULT)
    chosen = [name.strip() for name in arguments.only.split(",")]
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        raise UserError(
            f"--only {arguments.only}: no part {unknown[0]!r}; valid: {', '.join(PARTS)}",
            key="--only",
            value=unknown[0],
        )
    return [name for name in PARTS if name in chosen]


def check(arguments: argparse.Namespace, parts: list[str]) -> None:
    """Refuse bad arguments now, not after minutes of measuring."""
    from engine.benchmark.measure import COMPARED
    from engine.inference.program import FOR_ONNX, check_installed

    if arguments.steps < 1:
        raise UserError(f"--steps {arguments.steps}: give 1 or more", key="--steps", value=arguments.steps)
    if arguments.batch is not None and arguments.batch < 1:
        raise UserError(f"--batch {arguments.batch}: give 1 or more", key="--batch", value=arguments.batch)
    if arguments.against and not arguments.against.is_file():
        raise UserError(
            f"--against {arguments.against}: no such file: give a Python file", key="--against", place=arguments.against
        )
    if arguments.against and not set(parts) & set(COMPARED):
        raise UserError(
            f"--only {arguments.only}: --against compares {' and '.join(COMPARED)}: name one of them",
            key="--only",
            value=arguments.only,
        )
    if arguments.against_python and not arguments.against:
        raise UserError(
            f"--against-python {arguments.against_python}: it runs the file of --against: name one",
            key="--against-python",
            value=arguments.against_python,
        )
    if arguments.against_python and arguments.settings == "flags":
        raise UserError(
            "--settings flags: torch has none of Paddle's flags: choose same, threads or stock with --against-python",
            key="--settings",
            value="flags",
        )
    if "inference" in parts:
        check_installed(*FOR_ONNX)
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        folder = arguments.json.absolute().parent
        raise UserError(
            f"--json {arguments.json}: no such folder {folder}: make it, or choose another", key="--json", place=folder
        )


def overrides_of(arguments: argparse.Namespace) -> list[str]:
    """Return the config's overrides: those of -o, then those that the short options stand for."""
    from engine.benchmark.measure import variants

    model = arguments.variant
    if model is not None:
        names = variants()
        if model not in names:
            raise UserError(f"--variant {model}: valid: {', '.join(names)}", key="--variant", value=model)
        model = names[model]
    short = {
        "model.name": model,
        "data.batch_size": arguments.batch,
        "amp.level": arguments.amp,
        "data.pipeline": arguments.pipeline,
    }
    return [*arguments.override, *(f"{key}={value}" for key, value in short.items() if value is not None)]


def write(file: Path, report: dict[str, Any]) -> None:
    """Write the report to a file, whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        temporary.write_text(json.dumps(report, indent=2, default=str) + "\n", encoding="utf-8", newline="\n")
        move(temporary, file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"--json {file} cannot be written ({error}): choose another", key="--json", place=file
        ) from error


if __name__ == "__main__":
    run(main)
