#!/usr/bin/env bash
# Paddle 3.3.1 and 2.6.2 on a CPU: == of floating-point tensors is true for numbers that are not equal.
#
# Expected: == compares as numpy and Python do, so that of a == b, a < b and a > b exactly one is true.
# Seen: on 2.6.2 numbers less than 1e-8 apart count as equal (7e-9 == 0 is true), in float64 too; != and equal_all
# agree with it, but > does not: 7e-9 == 0 and 7e-9 > 0 are both true. On 3.3.1 the same happens far closer to zero:
# 1e-20 == 0 and 1e-20 > 0 are both true, though float32 holds 1e-20.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import numpy as np
import paddle

paddle.set_device("cpu")
print(f"Paddle {paddle.__version__}")
equal = {}
for dtype in ("float32", "float64"):
    for number in (7e-9, 1e-20):
        a, b = paddle.to_tensor([number], dtype=dtype), paddle.zeros([1], dtype=dtype)
        assert (a > b).item() and not (a.numpy() == b.numpy()).item()
        equal[dtype, number] = (a == b).item()
        print(f"  {dtype}: {number:g} == 0 is {(a == b).item()}, {number:g} > 0 is {(a > b).item()}")
old = paddle.__version__.startswith("2.6")
expected = {key: old or key[1] == 1e-20 for key in equal}
assert equal == expected, "== is different now: this finding is out of date"
PYTHON
for packages in "paddlepaddle==3.3.1 numpy==2.2.6" "paddlepaddle==2.6.2 numpy==1.26.4"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # two packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages setuptools==80.9.0
    "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
    rm -rf "$folder/venv"
done
