"""Write scikit-learn's 1,797 handwritten digits as an archive in CIFAR-10's layout: real pictures without a download.

The 8 x 8 gray pictures (UCI "Optical Recognition of Handwritten Digits") become 32 x 32 RGB. Every fifth is a test
picture.
"""

from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run
from engine.errors import UserError

CLASSES = [f"digit {name}" for name in ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]]


def main() -> None:
    parser = Parser(__doc__, "python tools/make_digits.py")
    parser.add_argument(
        "--output", default="datasets/digits.tar.gz", metavar="FILE", help="path of the archive (default: %(default)s)"
    )
    file = Path(parser.parse_args().output)

    import cv2
    import numpy as np
    from sklearn.datasets import load_digits

    from data.write import write_cifar10

    digits = load_digits()
    grey = [cv2.resize(image / 16, (32, 32), interpolation=cv2.INTER_LINEAR) for image in digits.images]
    images = np.repeat(np.rint(np.stack(grey)[..., None] * 255).astype(np.uint8), 3, axis=3)
    for_test = np.arange(len(images)) % 5 == 0
    train, test = ((images[chosen], digits.target[chosen]) for chosen in (~for_test, for_test))

    try:
        write_cifar10(file, train, test, CLASSES)
    except OSError as error:
        raise UserError(
            f"--output {file} cannot be written ({error}): choose another", key="--output", value=str(file), place=file
        ) from error
    print(f"{file}: {(~for_test).sum()} digits to train on, {for_test.sum()} to test on")


if __name__ == "__main__":
    run(main)
