#!/usr/bin/env bash
# Gradio 6.31.0: its Image hands on a 16-bit gray PNG as white, and turns a gray JPEG upright but not a color one.
#
# Expected: gr.Image, whose default is type="numpy" and image_mode="RGB", keeps the brightness of a 16-bit picture, and
# with type="filepath" treats the orientation in EXIF alike in every file.
# Seen: levels over 255 of 65,535 become 255, so that 99 % of an even gradient is white, with every type. With
# type="filepath" a file whose mode is not RGB is written anew, turned and without EXIF; an RGB file is the one that was
# uploaded, not turned. gr.File hands on every file as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import gradio as gr
import numpy as np
from gradio.data_classes import ImageData
from PIL import Image


def handed_on(name, type):
    found = gr.Image(type=type).preprocess(ImageData(path=name, orig_name=name))
    return Image.open(found) if type == "filepath" else Image.fromarray(found)


gradient = np.linspace(0, 65535, 96).astype(np.uint16).reshape(8, 12)
Image.fromarray(gradient).save("gray.png")
assert (np.asarray(Image.open("gray.png")) == gradient).all()
for type in ("numpy", "filepath"):
    white = (np.asarray(handed_on("gray.png", type)) == 255).mean()
    print(f"Gradio {gr.__version__}: an even gradient of 16 bits, type={type}: {white:.0%} is white")
    assert white > 0.98, "16-bit pictures keep their brightness now: this finding is out of date"

exif = Image.Exif()
exif[0x0112] = 6  # turn by a quarter
sizes = {}
for mode in ("RGB", "L"):
    Image.new(mode, (12, 8)).save(f"{mode}.jpg", exif=exif)
    picture = handed_on(f"{mode}.jpg", "filepath")
    sizes[mode] = picture.size
    print(f"a JPEG of 12 x 8 in mode {mode}, to be turned: {picture.size}, EXIF says {picture.getexif().get(0x0112)}")
assert sizes == {"RGB": (12, 8), "L": (8, 12)}, "orientation is treated alike now: this finding is out of date"
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check gradio==6.31.0 pillow==12.3.0 numpy==2.2.6
cd "$folder"
GRADIO_ANALYTICS_ENABLED=False GRADIO_TEMP_DIR="$folder" "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
