#!/usr/bin/env bash
# Paddle 3.3.1 and 2.6.2: paddle.save writes a generated name beside each tensor, so equal tensors give unequal files.
#
# Expected: a file of weights is a function of the weights, so that a checksum tells whether two files hold the same.
# Seen: a tensor that is no parameter (an average, a result of an operator) is saved with a name such as `eager_tmp_1`,
# which counts the tensors made so far in the process. The same values saved a second time in one process have another
# SHA-256, and so have those of two processes that did different work before. The arrays that are loaded are equal.
# Arrays of numpy in place of tensors are saved without names: then the files are equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import hashlib
import sys

import paddle

folder = sys.argv[1]
weights = paddle.ones([2, 2])


def save(values):
    paddle.save(values, f"{folder}/values.pdparams")
    with open(f"{folder}/values.pdparams", "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    return digest, paddle.load(f"{folder}/values.pdparams", return_numpy=True)["weight"].tolist()


tensors = [save({"weight": weights * 0.5}) for _ in range(2)]
arrays = [save({"weight": (weights * 0.5).numpy()}) for _ in range(2)]
print(f"Paddle {paddle.__version__}")
print(f"  tensors: equal values: {tensors[0][1] == tensors[1][1]}, equal files: {tensors[0][0] == tensors[1][0]}")
print(f"  arrays:  equal values: {arrays[0][1] == arrays[1][1]}, equal files: {arrays[0][0] == arrays[1][0]}")
assert tensors[0][1] == tensors[1][1] and arrays[0][1] == arrays[1][1]
assert tensors[0][0] != tensors[1][0], "equal tensors now give equal files: this finding is out of date"
assert arrays[0][0] == arrays[1][0], "equal arrays now give unequal files: this finding is out of date"
PYTHON
for packages in "paddlepaddle==3.3.1 numpy==2.2.6" "paddlepaddle==2.6.2 numpy==1.26.4"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # two packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages setuptools==80.9.0
    "$folder/venv/bin/python" "$folder/show.py" "$folder" 2>/dev/null
    rm -rf "$folder/venv"
done
