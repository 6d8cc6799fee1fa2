#!/usr/bin/env bash
# Paddle 2.6.2 to 3.2.2: a tensor divided by a Python number is multiplied by the number's rounded inverse.
#
# Expected: x / 41 is IEEE division, rounded once, as in numpy and as x / paddle.to_tensor(41.0).
# Seen: up to 3.2.2 a third of all quotients by 3 differ in the last bit, and 41 / 41 is not 1, so that floor(41 / 41)
# is 0; it holds for float32, float64 and integer tensors, and for /=. A number below 3e-39 has no inverse in float32:
# 0 / 1e-40 is nan. Dividing by a tensor is right in every version, and 3.3.1 is right in both cases.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import math

import numpy as np
import paddle

paddle.set_device("cpu")
right = paddle.__version__ == "3.3.1"
print(f"Paddle {paddle.__version__}")
values = np.random.RandomState(0).standard_normal(1000).astype("float32")
x = paddle.to_tensor(values)
for number in (3, 41):
    exact = values / np.float32(number)
    by_number, by_tensor = ((x / divisor).numpy() for divisor in (number, paddle.to_tensor(float(number))))
    wrong = int((by_number != exact).sum())
    print(f"  x / {number}: {wrong} of 1000 are not numpy's; by a tensor: {(by_tensor != exact).sum()}")
    assert (by_tensor == exact).all()
    assert (wrong == 0) == right, "division by a number is different now: this finding is out of date"
one = {dtype: (paddle.to_tensor([41], dtype=dtype) / 41).item() for dtype in ("float32", "int64")}
nothing = (paddle.zeros([1]) / 1e-40).item()
print(f"  41 / 41: {one}, rounded down: {math.floor(one['int64'])}; 0 / 1e-40: {nothing}")
assert all((quotient == 1) == right for quotient in one.values()), "41 / 41 is different now"
assert math.isnan(nothing) != right, "0 / 1e-40 is different now"
PYTHON
for packages in "paddlepaddle==2.6.2 numpy==1.26.4" "paddlepaddle==3.2.2 numpy==2.2.6" "paddlepaddle==3.3.1 numpy==2.2.6"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # two packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages setuptools==80.9.0
    "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
    rm -rf "$folder/venv"
done
