#!/usr/bin/env bash
# Paddle 3.3.1: FLAGS_use_mkldnn, "use oneDNN", is accepted in eager mode and changes nothing there.
#
# Expected: with the flag, set at run time or in the environment, eager operators on a CPU run oneDNN's kernels, whose
# numbers differ in the last bits. Paddle Inference does so by its own switch.
# Seen: softmax, GELU, layer norm and a network of them have the same bits with and without the flag; the same network
# in Paddle Inference has other bits with oneDNN than without.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check paddlepaddle==3.3.1 numpy==2.2.6 setuptools==80.9.0
cat >"$folder/show.py" <<'PYTHON'
import sys

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import inference, nn

paddle.set_device("cpu")
folder, random = sys.argv[1], np.random.RandomState(0)


class Network(nn.Layer):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(64, 64), nn.LayerNorm(64)

    def forward(self, x):
        return F.softmax(F.gelu(self.linear(self.norm(x))))


paddle.seed(0)
network = Network()
network.eval()
x = random.standard_normal([256, 64]).astype("float32")


def same_in_eager():
    inputs = paddle.to_tensor(x)
    functions = (F.softmax, F.gelu, lambda x: F.layer_norm(x, 64), network)
    before = [function(inputs).numpy() for function in functions]
    paddle.set_flags({"FLAGS_use_mkldnn": True})
    after = [function(inputs).numpy() for function in functions]
    paddle.set_flags({"FLAGS_use_mkldnn": False})
    return all((one == other).all() for one, other in zip(before, after))


def by_inference(onednn):
    config = inference.Config(f"{folder}/network.json", f"{folder}/network.pdiparams")
    config.disable_glog_info()
    config.enable_mkldnn() if onednn else config.disable_mkldnn()
    predictor = inference.create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x)
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


eager = same_in_eager()
paddle.jit.save(network, f"{folder}/network", input_spec=[paddle.static.InputSpec([None, 64], "float32")])
deployed = (by_inference(True) == by_inference(False)).all()
print(f"Paddle {paddle.__version__}: the same bits with oneDNN as without, eager: {eager}, Paddle Inference: {deployed}")
assert eager, "the flag changes eager mode now: this finding is out of date"
assert not deployed, "Paddle Inference has the same bits with oneDNN now: this finding proves nothing any more"
PYTHON
"$folder/venv/bin/python" "$folder/show.py" "$folder" 2>/dev/null
