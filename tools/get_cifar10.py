"""Download the official CIFAR-10 archive: resumed where it stopped, checked, in place only when whole."""

from engine.cli import download_archive, run


def main():
    download_archive("cifar10", __doc__)


if __name__ == "__main__":
    run(main)
