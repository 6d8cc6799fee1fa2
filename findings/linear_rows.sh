#!/usr/bin/env bash
# OpenCV 5.0.0 and 4.12.0: a picture whose rows are all equal is enlarged to one whose rows are not.
#
# Expected: between equal rows, linear interpolation has nothing to do, so all rows of the result are equal too; and a
# picture that is transposed first gives the transposed result.
# Seen: with INTER_LINEAR and 8-bit levels, rows of the result differ by a level in some columns. cv2.resize weighs two
# rows by 11-bit weights and cuts each product off before it adds them, also where both rows are the same. Columns are
# weighted without that cut, so the transposed picture gives other levels. INTER_LINEAR_EXACT gives equal rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import cv2
import numpy as np

row = np.random.default_rng(0).integers(0, 256, 32, np.uint8)
picture = np.tile(row, (32, 1))


def enlarged(picture, how):
    return cv2.resize(picture, (96, 96), interpolation=how).astype(int)


linear, exact = (enlarged(picture, how) for how in (cv2.INTER_LINEAR, cv2.INTER_LINEAR_EXACT))
turned = enlarged(np.ascontiguousarray(picture.T), cv2.INTER_LINEAR).T
spread = linear.max(axis=0) - linear.min(axis=0)
print(f"OpenCV {cv2.__version__}: rows differ by up to {spread.max()} level, in {(spread > 0).sum()} of 96 columns")
print(f"INTER_LINEAR_EXACT: by up to {np.ptp(exact, axis=0).max()}")
print(f"transposed before and after: {(turned != linear).mean():.1%} of the levels are others")
assert spread.max() == 1, "equal rows now stay equal: this finding is out of date"
assert np.ptp(exact, axis=0).max() == 0, "INTER_LINEAR_EXACT no longer keeps equal rows equal"
assert (turned != linear).any(), "columns are now weighted as rows are"
PYTHON
for version in 5.0.0.93 4.12.0.88; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check \
        "opencv-python-headless==$version" numpy==2.2.6
    "$folder/$version/bin/python" "$folder/show.py"
done
