"""Training in a Jupyter kernel: progress bars, the log's lines, and Interrupt."""

import pytest

from tests.support import archives
from tests.support.kernel import running
from tests.support.runs import MICRO, NANO, SMALL

pytest.importorskip("ipykernel")
pytest.importorskip("ipywidgets")
pytest.importorskip("jupyter_client")
pytestmark = pytest.mark.slow

START = """
from engine.config.load import load_config
from engine.notebooks.kernel import set_up_kernel
from engine.training.run import train
from models import VARIANTS
VARIANTS["regionvit_micro_conv_32"] = {nano}
set_up_kernel()
config = load_config({config!r}, {settings!r})
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A kernel in which `train(config)` trains six steps an epoch, and the folder of its run."""
    folder = tmp_path_factory.mktemp("notebook")
    settings = [f"data.file={archives.of('cifar10', folder)}", f"output_dir={folder / 'run'}", *SMALL]
    with running() as kernel:
        start = START.format(nano=NANO, config=str(MICRO), settings=[*settings, "train.epochs=1"])
        done = kernel.run(start)
        assert (done.status, done.text) == ("ok", {"stdout": "", "stderr": ""})
        yield kernel, folder / "run"


@pytest.fixture(scope="module")
def interrupted(started):
    """The same kernel after a run that was interrupted in its first epoch, and what that cell showed."""
    kernel, run = started
    return kernel, run, kernel.run("train(config)", interrupt_at="epoch 1/1")


def test_an_interrupted_run_is_saved_and_ends_its_cell_with_one_line(interrupted):
    kernel, _, done = interrupted
    assert done.status == "error"
    assert done.errors == []  # no traceback
    assert "Stopped by SIGINT" in done.text["stdout"]
    assert kernel.run("1 + 1").displays == [{"text/plain": "2"}]


def test_the_cell_of_an_interrupted_run_can_be_run_again_to_continue(interrupted):
    kernel, run, _ = interrupted
    done = kernel.run("train(config, resuming=True)")
    assert done.status == "ok"
    assert "Resumed from" in done.text["stdout"]
    assert "nothing is left to do" in kernel.run("train(config, resuming=True)").text["stdout"]

    bars = [data["text/plain"] for data in done.displays if WIDGET in data]
    assert [bar.partition(":")[0] for bar in bars] == ["epoch 1/1", "validation"]
    assert done.text["stderr"] == ""
    assert "[Train]" not in done.text["stdout"]
    assert "[Eval][Epoch 1/1]" in done.text["stdout"]
    assert "[Train][Epoch 1/1]" in (run / "train.log").read_text(encoding="utf-8")


def test_a_mistake_ends_its_cell_with_one_line(started):
    done = started[0].run("load_config('configs/none.yaml')")
    assert (done.status, done.errors, done.text["stderr"].count("\n")) == ("error", [], 1)
    assert done.text["stderr"].startswith("error: configs/none.yaml: ")
