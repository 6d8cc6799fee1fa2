"""An implementation in torch, in another Python: here in this one, with a stand-in for torch unless a test is slow."""

import json
import os
import sys
from pathlib import Path

import pytest

from engine.benchmark import measure
from engine.benchmark.torch_process import TorchProcess, check_torch
from engine.config.load import load_config
from engine.errors import UserError
from engine.system import tuning
from tests.support.device import DEVICE
from tests.support.errors import refuses

PROJECT = Path(__file__).parents[3]
MICRO = PROJECT / "configs" / "micro_cifar10.yaml"
OFFICIAL = PROJECT / "tools" / "peers" / "official.py"
# As much of torch as a model without parameters needs.
STAND_IN = """
import contextlib, types
__version__ = "0"
threads = 7
def set_num_threads(count):
    global threads
    threads = count
def get_num_threads(): return threads
def manual_seed(seed): pass
def device(name): return types.SimpleNamespace(type=name)
class Tensor:
    def __init__(self, *shape, device=None): self.shape = shape
    def cpu(self): return self
randn = Tensor
def randint(high, shape, device=None): return Tensor(*shape)
no_grad = contextlib.nullcontext
class Module:
    def to(self, device): return self
    def parameters(self): return []
    def train(self, mode): pass
    def __call__(self, x): return self.forward(x)
init = types.SimpleNamespace(trunc_normal_=None)
nn = types.SimpleNamespace(Module=Module, init=init, CrossEntropyLoss=lambda label_smoothing: None)
optim = types.SimpleNamespace(Adam=lambda parameters, lr, weight_decay: None)
"""
MODEL = """
import torch
class Model(torch.nn.Module):
    def forward(self, x): return torch.randn(x.shape[0], {classes})
def build(variant, num_classes):
    print("what a file prints does no harm")
    return Model()
"""


@pytest.fixture
def process(tmp_path):
    """A function that starts a process which holds an implementation, of this text, in the stand-in for torch."""
    (tmp_path / "torch.py").write_text(STAND_IN, encoding="utf-8")
    file = tmp_path / "other.py"
    config = load_config(MICRO, ["data.batch_size=2"])

    def start(text="", settings="same", file=file, **variables):
        if text:
            file.write_text(text, encoding="utf-8")
        environ = {**os.environ, "PYTHONPATH": str(tmp_path), **variables}
        return TorchProcess(config, str(file), sys.executable, settings, environ)

    return start


def ready(process):
    return process.ask("start", device="cpu")


@pytest.mark.parametrize(("settings", "own"), [("same", False), ("threads", False), ("stock", True)])
def test_settings_decide_whether_torch_has_our_threads(process, settings, own):
    with process(MODEL.format(classes=10), settings) as started:
        assert ready(started)["threads"] == (7 if own else tuning.cpu_threads())
        assert started.spec["malloc"] == (tuning.MALLOC if settings == "same" else [])


def test_a_part_is_timed(process):
    with process(MODEL.format(classes=10)) as started:
        assert ready(started)["torch"] == "0"
        started.ask("begin", part="forward")
        assert started.ask("turn")["seconds"] > 0


@pytest.mark.parametrize(
    ("text", "value", "words"),
    [
        ("loss = None", None, "no function build"),
        ("def build(*_): return 3", "int", "expected a torch.nn.Module"),
        (MODEL.format(classes=7), [2, 7], "expected [2, 10]"),
    ],
)
def test_a_file_that_builds_no_such_model_is_refused(process, tmp_path, text, value, words):
    with (
        process(text) as started,
        refuses(UserError, key="build", value=value, place=tmp_path / "other.py") as caught,
    ):
        ready(started)
        started.ask("begin", part="forward")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["1 / 0", "def build(*_): return 1 / 0", "import sys; sys.exit('division by zero')"])
def test_an_error_in_the_file_becomes_one_line_that_says_where(process, text):
    with process(text) as started, refuses(UserError, key="--against") as caught:
        ready(started)
    assert "division by zero" in str(caught.value)
    assert "other.py, line 1" in str(caught.value)


def test_the_file_finds_its_neighbours_not_those_of_the_benchmark(process, tmp_path):
    (tmp_path / "count.py").write_text("raise ImportError('a neighbour')", encoding="utf-8")
    with process("import count") as started, refuses(UserError) as caught:
        ready(started)
    assert "a neighbour" in str(caught.value)


@pytest.mark.parametrize("found", ["nothing", "a folder", "no torch"])
def test_what_is_no_python_with_torch_is_refused(tmp_path, found):
    (tmp_path / "torch.py").write_text("raise ImportError('not installed')", encoding="utf-8")
    python = {"nothing": str(tmp_path / "python"), "a folder": str(tmp_path), "no torch": sys.executable}[found]
    with refuses(UserError, key="--against-python", value=python) as caught:
        check_torch(python, {**os.environ, "PYTHONPATH": str(tmp_path)})
    assert f"--against-python {python}" in str(caught.value)
    assert ("not installed" in str(caught.value)) == (found == "no torch")


def test_without_the_official_code_its_file_says_how_to_get_it(process, tmp_path):
    with process(file=OFFICIAL, OFFICIAL_REGIONVIT=str(tmp_path)) as started, refuses(UserError) as caught:
        ready(started)
    assert f"no official code in {tmp_path}: git clone https://github.com/IBM/RegionViT" in str(caught.value)


REAL = """
from torch import nn

def build(variant, num_classes):
    assert variant == "micro"
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))
"""
CODE = """
from timm.models.layers import DropPath, to_2tuple, trunc_normal_
from timm.models.registry import register_model
from timm.models.vision_transformer import Mlp, _cfg
from torch import nn

_model_cfg = {"micro": {"img_size": 32}}

@register_model
class RegionViT(nn.Module):
    def __init__(self, img_size, num_classes):
        super().__init__()
        self.cfg, pixels = _cfg(), to_2tuple(img_size)
        inside = 3 * pixels[0] * pixels[1]
        self.mlp = Mlp(in_features=inside, hidden_features=8, out_features=num_classes, act_layer=nn.GELU, drop=0.0)
        trunc_normal_(self.mlp[0].weight, std=0.02)

    def forward(self, x):
        return self.mlp(x.flatten(1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("which", ["a file", "the official code"])
def test_an_implementation_in_torch_is_timed_in_turns(tmp_path, which):
    torch = pytest.importorskip("torch", reason="needs torch: pip install -r requirements/convert.txt")
    (tmp_path / "regionvit").mkdir()
    (tmp_path / "regionvit" / "regionvit.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "other.py").write_text(REAL, encoding="utf-8")
    lines = []
    report = measure.measure(
        MICRO,
        ["data.batch_size=2", f"device={DEVICE}", "model.name=regionvit_micro_32"],
        parts=measure.COMPARED,
        steps=2,
        against=tmp_path / "other.py" if which == "a file" else OFFICIAL,
        against_python=sys.executable,
        environ={**os.environ, "OFFICIAL_REGIONVIT": str(tmp_path)},
        say=lines.append,
    )
    against = json.loads(json.dumps(report["against"]))
    assert against["environment"]["torch"] == torch.__version__
    assert f"torch {torch.__version__}" in "\n".join(lines)
    for part in measure.COMPARED:
        ours, theirs = report[part], against[part]
        assert 0 < theirs["min"] <= theirs["images_per_second"] <= theirs["max"]
        assert theirs["ratio"] == ours["images_per_second"] / theirs["images_per_second"]
        assert theirs["peak_memory_mb"] > 10 or sys.platform == "win32"
