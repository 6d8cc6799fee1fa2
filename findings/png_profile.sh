#!/usr/bin/env bash
# Pillow 12.0.0: a PNG is refused because of a color profile of more than 1 MiB, which no pixel depends on.
#
# Expected: a PNG with a valid iCCP chunk of any size is read; whoever wants no profile need not unpack it.
# Seen: Image.open raises ValueError ("Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK"), and so it does
# for iTXt and zTXt. The limit protects from decompression bombs in texts, but the pixels are refused with them. OpenCV
# 4.12.0 reads the same file; the picture without the chunk is read by both, with the same pixels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import io
import struct
import zlib

import cv2
import numpy as np
import PIL
from PIL import Image

levels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
stream = io.BytesIO()
Image.fromarray(levels).save(stream, "PNG")
plain = stream.getvalue()
# A profile whose header says its own size, as the ICC specification wants, and which holds one private tag.
size = 1_500_000
header = struct.pack(">I4sI4s4s4s", size, b"none", 0x04300000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp" + bytes(88)
tag = struct.pack(">I4sII", 1, b"priv", 144, size - 144)
profile = (header + tag).ljust(size, b"\0")
inside = b"large\0\0" + zlib.compress(profile)
chunk = struct.pack(">I", len(inside)) + b"iCCP" + inside + struct.pack(">I", zlib.crc32(b"iCCP" + inside))
with_profile = plain[:33] + chunk + plain[33:]


def by_pillow(content):
    try:
        return np.asarray(Image.open(io.BytesIO(content)))
    except ValueError as error:
        return str(error)


def by_opencv(content):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


assert (by_pillow(plain) == levels).all() and (by_opencv(plain) == levels).all()
print(f"Pillow {PIL.__version__}: {by_pillow(with_profile)}")
print(f"OpenCV {cv2.__version__}: the right pixels: {(by_opencv(with_profile) == levels).all()}")
assert "too large" in by_pillow(with_profile), "Pillow now reads it: this finding is out of date"
assert (by_opencv(with_profile) == levels).all(), "OpenCV no longer reads it"
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==12.0.0 opencv-python-headless==4.12.0.88 numpy==2.2.6
"$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
