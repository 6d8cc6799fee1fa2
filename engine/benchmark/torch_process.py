"""A measured process of another Python, which holds an implementation in torch; `torch_subject` is its side."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.benchmark.process import Process
from engine.benchmark.subjects import ADAM, STEPS_ON_A_GPU, WARM_UP
from engine.errors import UserError
from engine.system import tuning

if TYPE_CHECKING:
    from engine.config.options import Config

SUBJECT = Path(__file__).with_name("torch_subject.py")


class TorchProcess(Process):
    """A process that holds an implementation in torch.

    Args:
        config: says the variant, classes, pictures, label smoothing and seed.
        file: a Python file with `build(variant, num_classes)` and optionally `loss(logits, labels)`.
        python: what runs it; see `check_torch`.
        settings: `same` gives it this project's threads and malloc settings, `threads` the threads, `stock` nothing.
        environ: the environment variables it starts with.
    """

    def __init__(self, config: "Config", file: str, python: str, settings: str, environ: Mapping[str, str]):
        from models.names import short_name

        size = config.data.image_size
        spec = {
            "file": file,
            "variant": short_name(config.model.name),
            "num_classes": config.model.num_classes,
            "batch": [config.data.batch_size, 3, size, size],
            "seed": config.train.seed,
            "threads": tuning.cpu_threads() if settings in ("same", "threads") else None,
            "malloc": tuning.MALLOC if settings == "same" else [],
            "label_smoothing": config.loss.label_smoothing,
            "adam": {"lr": ADAM["learning_rate"], "weight_decay": ADAM["weight_decay"]},
            "warm_up": WARM_UP,
            "steps_on_a_gpu": STEPS_ON_A_GPU,
        }
        self._start([python, str(SUBJECT)], environ, spec, file)


def check_torch(python: str, environ: Mapping[str, str]) -> None:
    """Raise UserError unless `python` is a Python with torch."""
    command = [python, "-c", "import torch; print('torch', torch.__version__)"]
    try:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        found = error.strerror
    else:
        if done.stdout.splitlines()[-1:] and done.stdout.splitlines()[-1].startswith("torch "):
            return
        found = " ".join((done.stderr.strip().splitlines() or ["it says nothing of torch"])[-1].split())
    raise UserError(
        f"--against-python {python}: not a Python with torch ({found}): name one, and `pip install torch` there",
        key="--against-python",
        value=python,
    )
