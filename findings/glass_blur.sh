#!/usr/bin/env bash
# imagecorruptions-imaug 1.1.5: glass_blur says that it swaps pixels, but it copies them, and pushes the picture aside.
#
# Expected: "locally shuffle pixels ... swap" (Hendrycks and Dietterich, 2019: local pixel shuffling) keeps every color,
# and keeps a picture where it is: pixels that move to the right make room for others that move to the left.
# Seen: `x[h, w], x[i, j] = x[i, j], x[h, w]` on a picture swaps nothing, because x[h, w] is a view of three numbers, which
# the first assignment overwrites. Each pixel takes the color of a neighbor above or to the left, colors get lost, and
# the picture moves to the right and down by 0.7 to 2.2 pixels. With numba it is the same. The line comes from
# make_imagenet_c.py and make_cifar_c.py of hendrycks/robustness, so that the published data sets were made so too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
from imagecorruptions import corrupt

print(f"imagecorruptions-imaug {version('imagecorruptions-imaug')}, numpy {np.__version__}, a slope of 2 levels a pixel")
slope = np.broadcast_to((60 + 2 * np.arange(64))[None, :, None], (64, 64, 3)).astype(np.uint8)
middle = np.s_[16:48, 16:48]
for severity in range(1, 6):
    up, down = (
        (corrupt(picture.copy(), corruption_name="glass_blur", severity=severity).astype(float) - picture)[middle].mean()
        for picture in (slope, slope[:, ::-1])
    )
    right = (down - up) / 2 / 2
    print(f"  severity {severity}: a rising slope {up:+.2f} levels, a falling one {down:+.2f}: {right:.2f} pixels to the right")
    assert right > 0.4, "the picture stays in its place now: this finding is out of date"
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check imagecorruptions-imaug==1.1.5 \
    numpy==2.2.6 numba==0.61.2 scikit-image==0.25.2 scipy==1.15.3 opencv-python==4.11.0.86 pillow==11.3.0 setuptools==80.9.0
"$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
