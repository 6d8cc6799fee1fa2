"""Classify a picture with an ONNX export in onnxruntime: python in_one_file.py EXPORT PICTURE."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}

try:
    folder, picture = map(Path, sys.argv[1:])
    description = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    decode, crop, *resizes, scale, normalize, transpose, cast, batch, run, softmax = description["steps"]
    names = description["classes"] or [f"class {i}" for i in range(description["num_classes"])]
    session = onnxruntime.InferenceSession(folder / "inference.onnx")
    image = ImageOps.exif_transpose(Image.open(picture, formats=decode["formats"]))
    if image.mode.startswith("I"):
        raise ValueError("a picture of 16 bits, expected 8")
    x = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
except Exception as error:
    print("EXPORT PICTURE expected, given", *sys.argv[1:], f"({error})", file=sys.stderr)
    sys.exit(2)
side, top, left = min(x.size), (x.height - min(x.size)) // 2, (x.width - min(x.size)) // 2
x = np.asarray(x)[top : top + side, left : left + side]
for step in resizes:
    how = INTERPOLATION[step["shrink"] if len(x) > step["size"][0] else step["enlarge"]]
    x = cv2.resize(x.astype(step["computed_in"]), step["size"][::-1], interpolation=how)
    x = np.floor(x + step["floor_after_adding"]) if "floor_after_adding" in step else x
x = (x / scale["divide_by"] - normalize["mean"]) / normalize["std"]
x = np.expand_dims(x.transpose(transpose["axes"]).astype(cast["dtype"]), batch["axis"])
(logits,) = session.run([run["output"]], {run["input"]: x})[0]
shares = np.exp((logits - logits.max()) / softmax["temperature"])
for i in np.argsort(-shares)[:5]:
    print(f"{shares[i] / shares.sum():.5f}  {names[i]}")
