#!/usr/bin/env bash
# OpenCV 5.0.0 and 4.11.0: the transparency of a gray PNG is lost where that of the same picture in color is kept.
#
# Expected: with IMREAD_UNCHANGED a PNG that declares one of its colors transparent (tRNS) has an alpha channel.
# Seen: it has one if the PNG is in color or has a palette, and if a gray PNG has a channel of its own for it. A gray PNG
# with tRNS comes back as one channel, without a word. OpenCV's pull request 5987 was for that, but was closed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import io

import cv2
import numpy as np
from PIL import Image

gray = Image.fromarray(np.arange(32, dtype=np.uint8).reshape(4, 8))
WRITTEN = {
    "color, one color transparent": (gray.convert("RGB"), {"transparency": (5, 5, 5)}),
    "palette, one color transparent": (gray.quantize(16), {"transparency": 0}),
    "gray with a channel of transparency": (Image.merge("LA", [gray, gray]), {}),
    "gray, one level transparent": (gray, {"transparency": 5}),
}


def written(picture, options):
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def channels(content):
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return 1 if decoded.ndim == 2 else decoded.shape[2]


files = {name: written(*of) for name, of in WRITTEN.items()}
found = {name: channels(content) for name, content in files.items()}
*others, last = found.items()
for name, count in found.items():
    print(f"OpenCV {cv2.__version__}: {name}: {count} channels")
pillows = np.asarray(Image.open(io.BytesIO(files[last[0]])).convert("RGBA"))[..., 3]
assert (pillows == 0).sum() == 1, "Pillow no longer finds the transparent pixel"
assert all(count == 4 for _, count in others), "the other kinds no longer keep their transparency"
assert last[1] == 1, "gray keeps it now: this finding is out of date"
PYTHON
for version in 5.0.0.93 4.11.0.86; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check \
        "opencv-python-headless==$version" numpy==2.2.6 pillow==12.0.0
    "$folder/$version/bin/python" "$folder/show.py"
done
