"""What all scripts share: arguments, and mistakes told in one line."""

import argparse
import sys

from .errors import Stopped, UserError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def __init__(self, description, example):
        super().__init__(
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def add_config(self, **options):
        self.add_argument("-c", "--config", metavar="FILE", help="YAML config of the run", **options)
        self.add_argument(
            "-o",
            "--override",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="override a value of the config, as in -o data.batch_size=32; repeatable",
        )
        self.add_argument(
            "--device",
            dest="override",
            action="append",
            type="device={}".format,
            metavar="DEVICE",
            help="auto, gpu, gpu:N or cpu: short for -o device=DEVICE",
        )

    def add_weights(self, exports=False):
        file = "a .pdparams file of a model's weights" + ", or an export: its folder, or a file of it" * exports
        self.add_argument("--weights", required=True, metavar="FILE", help=file)


def run(main):
    """Run a script's main function and leave with its exit status.

    0: done; 2: a user's mistake, or what a user can mend; 130 (SIGINT) and 143 (SIGTERM): asked to stop.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not have the letters of every name
    sys.stderr.reconfigure(errors="backslashreplace")
    try:
        main()
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)  # one line, whatever a name in it holds
        sys.exit(2)
    except Stopped as stopped:
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
