#!/usr/bin/env bash
# paddle.autograd.backward of two tensors, one of which was computed from the other.
#
# Expected: the sum of both gradients, in whatever order the tensors are given. torch.autograd.backward gives it.
# Seen: on 2.6.2 the order decides. With the one first that was computed from the other, Paddle stops with "Unable to
# find next node in the GradTensorHolder"; the other way round it works. On 3.3.1 both ways work. Recomputation calls
# this function with all outputs of a layer, so a layer must not return a tensor from which it computes another output.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import paddle


def gradient(order):
    x = paddle.ones([3])
    x.stop_gradient = False
    first = x * 2
    second = first * 3
    try:
        paddle.autograd.backward([{"first": first, "second": second}[name] for name in order])
    except (OSError, SystemError) as error:
        return str(error).strip().splitlines()[0]
    return x.grad.tolist()


old = paddle.__version__.startswith("2.6")
forward, backward = gradient(["first", "second"]), gradient(["second", "first"])
print(f"Paddle {paddle.__version__}: first, second: {forward}; second, first: {backward}")
assert forward == [8.0] * 3
assert ("GradTensorHolder" in backward) if old else (backward == [8.0] * 3), "this finding is out of date"
PYTHON
for packages in "paddlepaddle==2.6.2 numpy==1.26.4" "paddlepaddle==3.3.1 numpy==2.2.6"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # several packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages setuptools==80.9.0
    "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
    rm -rf "$folder/venv"
done
