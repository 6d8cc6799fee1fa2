"""Train RegionViT as a config says."""

from pathlib import Path

from engine.cli import Parser, run
from engine.errors import UserError

AUTO = "auto"


def main() -> None:
    parser = Parser(__doc__, "python train.py -c configs/tiny_cifar10.yaml -o data.batch_size=32")
    parser.add_config()
    parser.add_argument("--overwrite", action="store_true", help="replace the run that the output folder holds")
    parser.add_argument(
        "--resume",
        metavar="OUTPUT",
        help="continue the run in that output folder, as its config says; `auto`, with -c: continue if there is a "
        "checkpoint, else start",
    )
    parser.add_argument("--extend", action="store_true", help="with --resume: allow more train.epochs")
    arguments = parser.parse_args()
    if not arguments.config and arguments.resume in (None, AUTO):
        parser.error("give a config, as in -c configs/tiny_cifar10.yaml")
    if arguments.config and arguments.resume not in (None, AUTO):
        parser.error(f"--resume {arguments.resume} takes the config in that folder: leave out -c, or use --resume auto")
    if arguments.overwrite and arguments.resume:
        parser.error("--overwrite and --resume: one replaces a run, the other continues it")
    if arguments.extend and not arguments.resume:
        parser.error("--extend needs --resume")

    from engine import filenames
    from engine.config.load import load_config
    from engine.output.folder import Output
    from engine.training.run import train

    if arguments.config:
        config = load_config(arguments.config, arguments.override)
        resuming = arguments.resume == AUTO and Output(config.output_dir).has_checkpoint()
    else:
        folder = Path(arguments.resume)
        Output(folder).check_resumable()
        config = load_config(folder / filenames.CONFIG, arguments.override)
        if any(text.partition("=")[0].strip() == "output_dir" for text in arguments.override):
            raise UserError(
                f"-o output_dir: a resumed run stays in its folder, {folder}: leave it out",
                key="output_dir",
                place=folder,
            )
        config.output_dir, resuming = folder.as_posix(), True
    train(config, overwrite=arguments.overwrite, resuming=resuming, extending=arguments.extend)


if __name__ == "__main__":
    run(main, several=True)
