#!/usr/bin/env bash
# PaddleDetection 2.6.0 (the newest on PyPI) drops options of the command line, and its moving average is too large.
#
# Expected: of `-o A.b.c=1 A.b.d=2` both reach the config, as of `-o A.c=1 A.d=2`; and the exponential moving average of
# weights that never change, as those of frozen layers, are these weights.
# Seen: of the former only the last is kept. With `use_ema` and the default kind of decay the average of 1 is 1.015 after
# 2 steps, and 1.0001 after 3000: its bias is corrected as if the decay, which grows, had always been the newest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import paddle
from ppdet.optimizer import ModelEMA
from ppdet.utils.cli import ArgsParser

parse = ArgsParser()._parse_opt
for given in (["A.c=1", "A.d=2"], ["A.b.c=1", "A.b.d=2"]):
    print(f"  -o {' '.join(given)}: {parse(given)}")
assert parse(["A.c=1", "A.d=2"]) == {"A": {"c": 1, "d": 2}}
assert parse(["A.b.c=1", "A.b.d=2"]) == {"A": {"b": {"d": 2}}}

layer = paddle.nn.Linear(1, 1, weight_attr=paddle.nn.initializer.Constant(1.0))
average, seen = ModelEMA(layer), {}
for step in range(1, 3001):
    average.update(layer)
    seen[step] = average.apply()["weight"].item()
print("  average of 1:", {step: round(seen[step], 5) for step in (1, 2, 5, 100, 3000)})
assert seen[1] == 1
assert 1.015 < seen[2] < 1.016
assert 1.0001 < seen[3000] < 1.0002
PYTHON
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" paddlepaddle==3.3.1 numpy==1.26.4 opencv-python-headless==4.11.0.86 scipy==1.15.3 scikit-learn==1.6.1 \
    pyyaml==6.0.3 requests==2.32.5 setuptools==80.9.0 pycocotools==2.0.11 tqdm==4.67.1 shapely==2.1.2 typeguard==4.4.4 \
    matplotlib==3.10.7 six==1.17.0 pandas==2.3.3
"${pip[@]}" --no-deps paddledet==2.6.0 # it asks for packages that cannot be installed
echo "PaddleDetection 2.6.0"
"$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
