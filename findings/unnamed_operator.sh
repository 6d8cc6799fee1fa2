#!/usr/bin/env bash
# paddle2onnx 2.1.0: the conversion is aborted because of an operator, and nothing says which.
#
# Expected: the operators that cannot be converted are named, as 1.3.1 does ("Oops, there are some operators not
# supported yet, including digamma,erfinv,"). The source of 2.1.0 has a loop that writes their names.
# Seen: an empty line "[Paddle2ONNX]" stands where the names should be, with --enable_verbose too; then "Due to the
# unsupported operators, the conversion is aborted". The program itself has to be searched for what is new in it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import subprocess
import sys

import paddle
import paddle2onnx

folder, program, options = sys.argv[1], sys.argv[2], {} if paddle.__version__.startswith("2.") else {"backend": None}


class Layer(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([4, 4])

    def forward(self, x):
        return paddle.erfinv(x @ self.weight) + paddle.digamma(x)


layer = Layer()
layer.eval()
shape = [paddle.static.InputSpec([None, 4], "float32", "x")]
paddle.jit.save(paddle.jit.to_static(layer, input_spec=shape, full_graph=True, **options), f"{folder}/model")
command = [sys.executable, "-c", "from paddle2onnx.command import main; main()", "--model_dir", folder]
command += ["--model_filename", program, "--params_filename", "model.pdiparams", "--save_file", f"{folder}/model.onnx"]
command += [] if options == {} else ["--enable_verbose", "True"]
done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
said = [line for line in done.stdout.splitlines() if "[Paddle2ONNX]" in line or line.startswith("[ERROR]")]
print(f"Paddle {paddle.__version__}, paddle2onnx {paddle2onnx.__version__}: status {done.returncode}; its last lines:")
print("\n".join(f"  {line}" for line in said[-2:]))
assert "the conversion is aborted" in done.stdout, "the operators are converted now: this finding is out of date"
named = any("erfinv" in line and "pd_op" not in line for line in done.stdout.splitlines())
assert named == paddle2onnx.__version__.startswith("1."), "the operators are named otherwise now: out of date"
PYTHON
for packages in "paddlepaddle==3.3.1 paddle2onnx==2.1.0 onnx==1.17.0 numpy==2.2.6 model.json" \
    "paddlepaddle==2.6.2 paddle2onnx==1.3.1 onnx==1.17.0 numpy==1.26.4 model.pdmodel"; do
    python3 -m venv "$folder/venv"
    # shellcheck disable=SC2086 # several packages
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check ${packages% *} setuptools==80.9.0 \
        packaging==25.0
    "$folder/venv/bin/python" "$folder/show.py" "$folder" "${packages##* }" 2>/dev/null
    rm -rf "$folder/venv"
done
