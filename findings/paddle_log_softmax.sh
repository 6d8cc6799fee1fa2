#!/usr/bin/env bash
# Paddle 3.3.1 and 2.6.2 on a CPU: log_softmax, softmax and cross_entropy end at -64; 2.6.2's == takes 1e-9 for 0.
#
# Expected: log_softmax of the logits (0, 90) is (-90, 0), as float32 can hold it; a loss shows how wrong a very
# confident mistake is, and ties of logits are ties of equal numbers.
# Seen: (-64, 0) on both versions, in float32 and in float64, and a cross entropy of 64. So everything below exp(-64)
# has one probability. On 2.6.2, `paddle.to_tensor([1e-9]) == 0` is true; on 3.3.1 it is false.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import paddle
import paddle.nn.functional as F

paddle.set_device("cpu")
print(f"Paddle {paddle.__version__}")
for dtype in ("float32", "float64"):
    logits = paddle.to_tensor([[0.0, 90.0]], dtype=dtype)
    lowest = F.log_softmax(logits).tolist()[0][0]
    loss = F.cross_entropy(logits, paddle.to_tensor([0])).item()
    print(f"  {dtype}: log_softmax {lowest:g}, cross_entropy {loss:g}, expected -90 and 90")
    assert (lowest, loss) == (-64, 64), "log_softmax is right now: this finding is out of date"
equal = (paddle.to_tensor([1e-9]) == 0).item()
print(f"  1e-9 == 0: {equal}")
assert equal == paddle.__version__.startswith("2.6"), "== is different now: this finding is out of date"
PYTHON
for packages in "paddlepaddle==3.3.1 numpy==2.2.6" "paddlepaddle==2.6.2 numpy==1.26.4"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # two packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages setuptools==80.9.0
    "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
    rm -rf "$folder/venv"
done
