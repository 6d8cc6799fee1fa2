"""Download the official CIFAR-10 archive; an interrupted download resumes, and the MD5 is checked."""

import _environment  # noqa: F401

from engine.cli import download_archive, run


def main() -> None:
    download_archive("cifar10", __doc__)


if __name__ == "__main__":
    run(main)
