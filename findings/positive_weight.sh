#!/usr/bin/env bash
# Paddle 2.6.2: pos_weight of binary_cross_entropy_with_logits weighs only a part of the loss where the logit is negative.
#
# Expected: a label of 1 costs pos_weight * log(1 + exp(-logit)), whatever the sign of the logit.
# Seen: at logit -2 with pos_weight 4 it costs 2.51 instead of 8.51: the summand max(-logit, 0) is not weighed. Just the
# positives that the model gets wrong are weighed least. At logits of 0 and more 2.6.2 is right; 3.0.0 and 3.3.1 are
# right everywhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import math

import paddle
import paddle.nn.functional as F

paddle.set_device("cpu")
weight = 4.0
print(f"Paddle {paddle.__version__}, label 1, pos_weight {weight}")
for logit in (-2.0, 0.0, 2.0):
    x = paddle.to_tensor([logit])
    loss = F.binary_cross_entropy_with_logits(x, paddle.ones([1]), pos_weight=paddle.to_tensor([weight])).item()
    formula = weight * math.log1p(math.exp(-logit))
    print(f"  logit {logit}: {loss:.4f}, by the formula {formula:.4f}")
    unweighed = (weight - 1) * max(-logit, 0) if paddle.__version__.startswith("2.6") else 0
    assert abs(loss - (formula - unweighed)) < 1e-4, "the loss is different now: this finding is out of date"
PYTHON
for packages in "paddlepaddle==2.6.2 numpy==1.26.4" "paddlepaddle==3.0.0 numpy==2.2.6" "paddlepaddle==3.3.1 numpy==2.2.6"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # two packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages setuptools==80.9.0
    "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
    rm -rf "$folder/venv"
done
