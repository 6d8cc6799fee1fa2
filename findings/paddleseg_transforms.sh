#!/usr/bin/env bash
# Two transforms of PaddleSeg 2.8.0 (the newest on PyPI) do something else than their documentation says.
#
# Expected: RandomPaddingCrop with category_max_ratio below 1 tries other places until no class fills more of the crop
# than that, and crops picture and labels alike. ResizeByShort with max_size shrinks a picture whose long side would
# exceed it, and no other.
# Seen: RandomPaddingCrop puts the crop of the labels into the place of the picture, so that a model trains on its own
# answers; where no place is found, the labels are cropped and the picture is not. ResizeByShort keeps the smaller side
# of one long picture for all later ones: the same 64 x 64 picture becomes 32 x 32 before, and 8 x 8 after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import numpy as np
from paddleseg.transforms import RandomPaddingCrop, ResizeByShort

picture, halves, one = np.full([64, 64, 3], 200, np.float32), np.zeros([64, 64], np.uint8), np.zeros([64, 64], np.uint8)
halves[:, 32:] = 1
np.random.seed(0)
crop = RandomPaddingCrop(crop_size=[48, 48], category_max_ratio=0.75)
cropped = crop({"img": picture, "label": halves, "gt_fields": ["label"]})
print(f"  two classes: values of the picture were [200], are {np.unique(cropped['img'])}")
assert np.array_equal(cropped["img"], cropped["label"])
cropped = crop({"img": picture, "label": one, "gt_fields": ["label"]})
print(f"  one class: picture {cropped['img'].shape}, labels {cropped['label'].shape}")
assert cropped["img"].shape == (64, 64, 3) and cropped["label"].shape == (48, 48)

resize, sizes = ResizeByShort(short_size=32, max_size=64), []
for size in ((64, 64), (32, 256), (64, 64)):
    sizes.append(resize({"img": np.zeros([*size, 3], np.float32), "trans_info": []})["img"].shape[:2])
    print(f"  ResizeByShort: {size} -> {sizes[-1]}")
assert sizes == [(32, 32), (8, 64), (8, 8)]
PYTHON
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" paddlepaddle==3.3.1 numpy==1.26.4 opencv-python-headless==4.11.0.86 scipy==1.15.3 scikit-learn==1.6.1 \
    pyyaml==6.0.3 six==1.17.0 requests==2.32.5 setuptools==80.9.0
"${pip[@]}" --no-deps paddleseg==2.8.0 # it asks for another OpenCV, in the same folder
echo "PaddleSeg 2.8.0"
"$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
