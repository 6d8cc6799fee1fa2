#!/usr/bin/env bash
# Paddle 3.0.0 and 3.3.1: with ignore_index and label_smoothing, the cross entropy is too small by the number of classes.
#
# Expected: cross_entropy(logits, labels, ignore_index=255, label_smoothing=0.1) is the mean over the pixels that are not
# ignored, so where no label is 255 it equals the call without ignore_index.
# Seen: with 19 classes it is 1/19 of that, and so is its gradient: with SGD the learning rate is 19 times as small. The
# mean divides by all numbers of the smoothed one-hot labels that differ from 255, instead of by the labels. 2.6.2 is
# right here. Without smoothing, all versions are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import numpy as np
import paddle
import paddle.nn.functional as F

paddle.set_device("cpu")
random, classes = np.random.RandomState(0), 19
logits, labels = random.standard_normal((8, classes)).astype("float32"), random.randint(0, classes, 8)
log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
own, all_classes = -log_p[np.arange(8), labels].mean(), -log_p.mean()


def loss_and_gradient(**options):
    x = paddle.to_tensor(logits, stop_gradient=False)
    loss = F.cross_entropy(x, paddle.to_tensor(labels), **options)
    loss.backward()
    return loss.item(), float(x.grad.norm())


print(f"Paddle {paddle.__version__}, {classes} classes, no label is 255")
for smoothing in (0.0, 0.1):
    formula = (1 - smoothing) * own + smoothing * all_classes
    plain = loss_and_gradient(label_smoothing=smoothing)
    loss, gradient = loss_and_gradient(label_smoothing=smoothing, ignore_index=255)
    print(f"  smoothing {smoothing}: formula {formula:.4f}, without ignore_index {plain[0]:.4f}, with 255 {loss:.4f}")
    assert abs(plain[0] - formula) < 1e-5
    ratio = classes if smoothing and not paddle.__version__.startswith("2.6") else 1
    assert abs(plain[0] / loss - ratio) < 1e-3, "the loss is different now: this finding is out of date"
    assert abs(plain[1] / gradient - ratio) < 1e-3, "the gradient is different now: this finding is out of date"
PYTHON
for packages in "paddlepaddle==2.6.2 numpy==1.26.4" "paddlepaddle==3.0.0 numpy==2.2.6" "paddlepaddle==3.3.1 numpy==2.2.6"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # two packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages setuptools==80.9.0
    "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
    rm -rf "$folder/venv"
done
