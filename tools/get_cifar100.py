"""Download the official CIFAR-100 archive: resumed where it stopped, checked, in place only when whole."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.cli import run
from engine.get_archive import get_archive


def main():
    get_archive("cifar100", __doc__)


if __name__ == "__main__":
    run(main)
