#!/usr/bin/env bash
# PFPNNet of PaddleSeg 2.8.0 (the newest on PyPI), its Semantic FPN, leaves out a branch and swaps two.
#
# Expected: as in the paper it names (Panoptic Feature Pyramid Networks, Figure 3), each of the four levels is brought to
# a quarter of the picture's sides by a branch of its own, and the four are added: the map of stride 4 by the first
# branch, that of stride 32, with three upsamplings, by the fourth.
# Seen: the map of stride 8 goes through the branch made for 16 and the map of 16 through the branch made for 8; the
# branch for 32 is never called and gets no gradient, so the coarsest map counts only through the sum on the way down.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import paddle
from paddleseg.models import PFPNNet

CHANNELS, STRIDES = [8, 16, 32, 64], [4, 8, 16, 32]


class Maps(paddle.nn.Layer):
    feat_channels = CHANNELS

    def forward(self, pictures):
        side = pictures.shape[-1]
        return [paddle.rand([2, c, side // s, side // s]) for c, s in zip(CHANNELS, STRIDES)]


net, strides = PFPNNet(2, Maps(), [0, 1, 2, 3], channels=8, fpn_inplanes=CHANNELS), {}
for i, branch in enumerate(net.head.scale_heads):
    branch.register_forward_pre_hook(lambda _, given, i=i: strides.update({i: 128 // given[0].shape[-1]}))
net(paddle.zeros([2, 3, 128, 128]))[0].sum().backward()
for i, branch in enumerate(net.head.scale_heads):
    upsamplings = sum(isinstance(layer, paddle.nn.Upsample) for layer in branch)
    trained = all(parameter.grad is not None for parameter in branch.parameters() if not parameter.stop_gradient)
    print(f"  branch {i}, {upsamplings} upsamplings: map of stride {strides.get(i)}, gradient: {trained}")
    assert trained == (i != 3)
assert strides == {0: 4, 1: 16, 2: 8}
PYTHON
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" paddlepaddle==3.3.1 numpy==1.26.4 opencv-python-headless==4.11.0.86 scipy==1.15.3 scikit-learn==1.6.1 \
    pyyaml==6.0.3 six==1.17.0 requests==2.32.5 setuptools==80.9.0
"${pip[@]}" --no-deps paddleseg==2.8.0 # it asks for another OpenCV, in the same folder
echo "PaddleSeg 2.8.0"
"$folder/venv/bin/python" "$folder/show.py" 2>/dev/null
