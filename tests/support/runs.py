"""Small runs of train.py for tests, and assertions that two of them are the same."""

import os
import sys
from pathlib import Path

import numpy as np
from visualdl import LogReader

import train as train_script
from engine.cli import run
from engine.history import read_history
from engine.training import trainer
from engine.weights import pdparams
from models import VARIANTS
from tests.support.device import DEVICE

ROOT = Path(__file__).parents[2]
MICRO = ROOT / "configs" / "micro_cifar10.yaml"
# A smaller Micro for runs in a test's own process, whose claims do not depend on a model's size.
NANO = {**VARIANTS["regionvit_micro_conv_32"], "embed_dim": (16, 16, 32), "depth": (1, 1), "num_heads": (1, 2)}
SMALL = (
    f"device={DEVICE}",
    "data.num_workers=0",
    "data.batch_size=16",
    "optimizer.name=Adam",  # as the notebook's, without a warm-up
    "optimizer.weight_decay=1e-5",
    "optimizer.warmup_epochs=0",
    "optimizer.learning_rate=1e-3",
    "train.epochs=2",
    "train.log_interval=4",
    "train.prediction_interval=5",
)


def script(monkeypatch, main, *arguments):
    """Run a script's main function with arguments, as the script would."""
    monkeypatch.setattr(sys, "argv", ["script.py", *map(str, arguments)])
    run(main)


def arguments(archive, output, *overrides, config=MICRO):
    """The arguments of train.py for a small run."""
    settings = [f"data.file={archive}", f"output_dir={output}", *SMALL, *overrides]
    return ["-c", str(config), *(part for setting in settings for part in ("-o", setting))]


def train(monkeypatch, archive, output, *overrides, config=MICRO, flags=()):
    script(monkeypatch, train_script.main, *arguments(archive, output, *overrides, config=config), *flags)


def resume(monkeypatch, output, *flags):
    script(monkeypatch, train_script.main, "--resume", output, *flags)


def send_signal_in(monkeypatch, step, signum):
    """Let this process get a signal during a step (counted from 0) of its run."""
    original = trainer.train_step

    def train_step(state, *arguments):
        if state.step == step:
            os.kill(os.getpid(), signum)
        return original(state, *arguments)

    monkeypatch.setattr(trainer, "train_step", train_step)


def points(output):
    """The history without its timing columns."""
    return [(p.step, p.epoch, p.split, p.lr, p.loss, p.top1) for p in read_history(output / "history.csv")]


def scalars(output):
    """The dashboard's scalars without timing and empty points: {tag: [(step, value)]}."""
    reader = _dashboard(output)
    tags = [tag for tag in reader.get_tags()["scalar"] if not tag.startswith("performance/")]
    shown = {tag: [(p.id, p.value) for p in reader.get_data("scalar", tag) if p.value == p.value] for tag in tags}
    return {tag: points for tag, points in shown.items() if points}


def histograms(output):
    """The dashboard's histograms: {tag: [(step, counts, edges)]}."""
    reader = _dashboard(output)

    def of(tag):
        points = reader.get_data("histogram", tag)
        return [(point.id, list(point.histogram.hist), list(point.histogram.bin_edges)) for point in points]

    return {tag: of(tag) for tag in reader.get_tags().get("histogram", [])}


def pictures(output):
    """The steps of the dashboard's pictures: {tag: [step]}."""
    reader = _dashboard(output)
    return {tag: [point.id for point in reader.get_data("image", tag)] for tag in reader.get_tags()["image"]}


def texts(output):
    """The dashboard's texts: {tag: [(step, text)]}."""
    reader = _dashboard(output)
    return {
        tag: [(point.id, point.text.encoded_text_string) for point in reader.get_data("text", tag)]
        for tag in reader.get_tags()["text"]
    }


def _dashboard(output):
    return LogReader(file_path=str(max((output / "vdl").iterdir())))


def lines_of_steps(output):
    """The log's lines about training and validation, up to where timing begins, without the time of day."""
    lines = (output / "train.log").read_text(encoding="utf-8").splitlines()
    return [line[22:].split(", batch_cost")[0].split(", ips")[0] for line in lines if "[Epoch " in line]


def assert_same_weights(a, b):
    """Two files of weights, or of an optimizer's state, hold the same bits."""
    a, b = pdparams.load(a), pdparams.load(b)
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_equal(a[key], b[key])


def assert_same_run(a, b, bytes=False):
    """Two finished runs ended in the same bits and left the same records.

    bytes: compare whole files. Their parameters are numbered within a process, so each run needs its own.
    """
    for name in ("best", "final"):
        for file in (f"{name}_model.pdparams", f"{name}_optimizer.pdopt"):
            assert_same_weights(a / file, b / file)
            assert not bytes or (a / file).read_bytes() == (b / file).read_bytes()
    assert points(a) == points(b)
    assert scalars(a) == scalars(b)
    assert histograms(a) == histograms(b)
    assert pictures(a) == pictures(b)
    assert lines_of_steps(a) == lines_of_steps(b)
