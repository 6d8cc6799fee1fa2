"""Write scikit-learn's 1,797 handwritten digits as an archive in CIFAR-10's layout: real pictures without a download.

The 8 x 8 gray pictures (UCI "Optical Recognition of Handwritten Digits") become 32 x 32 RGB. Every fifth is a test
picture.
"""

import io
import pickle
import tarfile
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

    digits = load_digits()
    grey = [cv2.resize(image / 16, (32, 32), interpolation=cv2.INTER_LINEAR) for image in digits.images]
    planes = np.repeat(np.rint(np.stack(grey).reshape(-1, 1, 1024) * 255).astype(np.uint8), 3, axis=1)
    rows, for_test = planes.reshape(-1, 3072), np.arange(len(planes)) % 5 == 0

    def batch(chosen: np.ndarray) -> dict:
        return {b"data": rows[chosen], b"labels": digits.target[chosen].tolist()}

    parts = np.array_split(np.flatnonzero(~for_test), 5)
    members = {f"data_batch_{i}": batch(part) for i, part in enumerate(parts, start=1)}
    members["test_batch"] = batch(np.flatnonzero(for_test))
    members["batches.meta"] = {b"label_names": [name.encode() for name in CLASSES]}

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w:gz") as archive:
            for name, content in members.items():
                payload = pickle.dumps(content, protocol=2)
                info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                info.size = len(payload)
                archive.addfile(info, io.BytesIO(payload))
    except OSError as error:
        raise UserError(
            f"--output {file} cannot be written ({error}): choose another", key="--output", value=str(file), place=file
        ) from error
    print(f"{file}: {(~for_test).sum()} digits to train on, {for_test.sum()} to test on")


if __name__ == "__main__":
    run(main)
