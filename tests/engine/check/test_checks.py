"""Each check passes on what is right, small and on a CPU, and fails when its subject is broken."""

import contextlib
from unittest import mock

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import data
from data import augment
from engine import filenames
from engine.check import (
    export,
    golden,
    learning,
    measured,
    memory,
    parity,
    precision,
    processes,
    recompute,
    resume,
    short_runs,
    speed,
)
from engine.check.check import Context, Sizes
from engine.check.table import CHECKS
from engine.check.worker import FAILED, PASSED, SKIPPED, outcome
from engine.system import nvidia
from engine.system.precision import MixedPrecision
from engine.weights import pdparams
from models import recompute as recomputation
from tests.support.runs import ROOT

pytestmark = pytest.mark.usefixtures("nano")
SMALL = Sizes("regionvit_micro_32", side=32, batch=8, golden=8 * 8, steps=40, turns=1)
BY_NAME = {check.name: check for check in CHECKS}


def made(monkeypatch, name):
    """Make the check of that name on a CPU as if it had every GPU; return its row."""
    monkeypatch.setattr("engine.check.worker.ON_A_CPU", SMALL)
    monkeypatch.setattr("engine.check.worker._lacking", lambda *_: "")
    return outcome(BY_NAME[name], "cpu", gpus=0)


def rounded(x, bits):
    """Round float32 to so many bits after the leading one, as products in a shorter type do."""
    if x is None:
        return None
    scale = 2.0 ** (paddle.floor(paddle.log2(x.abs().clip(min=1e-30))) - bits)
    return x + (paddle.round(x / scale) * scale - x).detach()


def rounding(function, bits):
    def short(*arguments, **keywords):
        tensors = [rounded(x, bits) if isinstance(x, paddle.Tensor) else x for x in arguments]
        return function(*tensors, **keywords)

    return short


@contextlib.contextmanager
def short_products(bits):
    """A context in which products and convolutions round what they get: a CPU's imitation of a shorter type."""
    with contextlib.ExitStack() as stack:
        for place, name in ((F, "linear"), (F, "conv2d"), (paddle, "matmul")):
            stack.enter_context(mock.patch.object(place, name, rounding(getattr(place, name), bits)))
        yield


# --- What is broken, by the name of the check and a word for it.


def a_gpu_build(patch):
    patch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    patch.setattr(paddle.version, "cuda", lambda: "12.6")
    patch.setattr(paddle.version, "cudnn", lambda: "9.5")


def without_a_driver(patch):
    a_gpu_build(patch)
    patch.setattr(nvidia, "DRIVER", "libno-such-driver.so")


def tf32_products(patch):
    patch.setattr(paddle, "matmul", rounding(paddle.matmul, bits=10))


def tf32_convolutions(patch):
    patch.setattr(F, "conv2d", rounding(F.conv2d, bits=10))


def corners_of_pixels(patch):
    original = F.grid_sample
    patch.setattr(F, "grid_sample", lambda *a, **k: original(*a, **{**k, "align_corners": False}))


def not_a_number(patch):
    original = F.conv2d
    patch.setattr(F, "conv2d", lambda *a, **k: original(*a, **k) * np.nan)


def perturbed(key):
    def break_it(patch):
        def fill(model, salt=""):
            golden.fill(model, salt)
            weight = dict(model.named_parameters())[key]
            values = weight.numpy()
            values.flat[0] += 1e-3
            weight.set_value(values)
            return model

        patch.setattr(parity, "fill", fill)

    return break_it


def in_products_of(bits):
    def break_it(patch):
        patch.setattr(MixedPrecision, "convert", lambda self, model: None)
        original = precision._losses

        def losses(context, variant, of_run):
            with short_products(bits) if of_run.wanted != "O0" else contextlib.nullcontext():
                return original(context, variant, of_run)

        patch.setattr(precision, "_losses", losses)

    return break_it


def weights_that_overflow(patch):
    patch.setattr(precision, "RATE", 1e38)


def runs(**changes):
    """Runs of another process that leave these files, with no process."""

    def break_it(patch):
        ways = {"status": -9, "began": resume.STEPS - 5, "weight": 1.0, "moment": 1.0, "loss": 2.0, **changes}

        def end(folder, resumed):
            names = filenames.model(filenames.FINAL), filenames.optimizer(filenames.FINAL)
            arrays = (
                {"w": np.float32([ways["weight"] if resumed else 1])},
                {"m": np.float32([ways["moment"] if resumed else 1])},
            )
            folder.mkdir(exist_ok=True)
            for name, values in zip(names, arrays, strict=True):
                pdparams.save({folder / name: {key: paddle.to_tensor(value) for key, value in values.items()}})
            loss = ways["loss"] if resumed else 2.0
            return {"began": ways["began"] if resumed else 0, "train_loss": 2.0, "val_loss": loss}

        patch.setattr(short_runs, "start", lambda folder, *arguments: (folder, arguments))
        patch.setattr(short_runs, "end", lambda _: (ways["status"], ["a line"]))
        patch.setattr(short_runs, "result", lambda started: end(started[0], "--resume" in started[1]))

    return break_it


def of_two_processes(**losses):
    def break_it(patch):
        right = {"train_loss": 2.0, "val_loss": 1.0}
        patch.setattr(short_runs, "start", lambda *_, launcher: launcher)
        patch.setattr(short_runs, "result", lambda launcher: {**right, **losses} if launcher else right)

    return break_it


def mirrored_on_the_device(patch):
    original = augment.apply_ops
    patch.setattr(augment, "apply_ops", lambda *a: original(*a).flip(3))


def jitter_in_another_order(patch):
    original = augment.apply_ops

    def apply_ops(images, params, size):
        values = {**vars(params), "order": params.order.flip(1)}
        return original(images, augment.Params(**values), size)

    patch.setattr(augment, "apply_ops", apply_ops)


def labels_of_other_pictures(patch):
    original = data.build_train_loader

    def build(split, **options):
        return original(data.Split(split.name, split.images, np.roll(split.labels, 1)), **options)

    patch.setattr(data, "build_train_loader", build)


def another_mask_the_second_time(patch):
    patch.setattr(recomputation.paddle, "set_rng_state", lambda state: None)


def no_dropout(patch):
    patch.setattr(recompute, "DROPPING", {})


def another_bias(patch):
    """The export is made from weights whose last bias is a thousandth off."""

    def save(files):
        pdparams.save(
            {
                file: {key: value + 1e-3 if key == "head.bias" else value for key, value in state.items()}
                for file, state in files.items()
            }
        )

    patch.setattr(export, "pdparams", mock.Mock(save=save))


def quicker_learning(patch):
    """The model of these tests is so small that it needs it."""
    patch.setattr(learning, "RATE", 3e-3)


def no_update(patch):
    patch.setattr(
        learning, "train_step", lambda state, batches, criterion: [criterion(state.model(batches[0][0]), batches[0][1])]
    )


def peaks(**megabytes):
    def break_it(patch):
        known = {"O0": 1000.0, "O1": 600.0, "O2": 500.0, "recompute": 400.0, **megabytes}

        def of(context, *parts, amp__level, amp__allow_tf32, train__recompute=False):
            return {"memory": known["recompute" if train__recompute else amp__level]}

        patch.setattr(memory, "measured", of)

    return break_it


def dead_process(patch):
    def dies(*_, **__):
        raise RuntimeError("CUDA error\n  of two lines")

    patch.setattr(speed, "measured", dies)


def known_rate(patch):
    patch.setattr(speed, "measured", lambda *parts, **_: dict.fromkeys(parts[1:], 100.0))


RIGHT = {
    "machine": [lambda patch: None],
    "operators": [lambda patch: None],
    "parity": [lambda patch: None],
    "o1-bfloat16": [in_products_of(bits=7)],
    "o2-float16": [in_products_of(bits=10)],
    "resume-adam": [runs()],
    "two-gpus": [of_two_processes(val_loss=1.0001)],
    "pipelines": [lambda patch: None],
    "recompute": [lambda patch: None],
    "export-paddle": [lambda patch: None],
    "learning": [quicker_learning],
    "memory": [peaks()],
    "speed": [known_rate],
    "training-fast": [known_rate],
}
BROKEN = {
    "machine": [without_a_driver],
    "operators": [tf32_products, tf32_convolutions, corners_of_pixels, not_a_number],
    "parity": [perturbed("head.bias"), perturbed("patch_embed.proj.0.weight"), not_a_number],
    "o1-bfloat16": [in_products_of(bits=1), weights_that_overflow],
    "o2-float16": [in_products_of(bits=1), weights_that_overflow],
    "resume-adam": [runs(weight=1.0000001), runs(moment=0.0), runs(loss=2.0000001), runs(began=0), runs(status=0)],
    "two-gpus": [of_two_processes(train_loss=2.01), of_two_processes(val_loss=np.nan)],
    "pipelines": [mirrored_on_the_device, jitter_in_another_order, labels_of_other_pictures],
    "recompute": [another_mask_the_second_time, no_dropout],
    "export-paddle": [another_bias],
    "learning": [no_update],
    "memory": [peaks(O1=1000.0), peaks(recompute=1001.0), peaks(O1=np.nan), peaks(recompute=np.nan)],
    "speed": [dead_process],
    "training-fast": [dead_process],
}


def cases(table):
    return [pytest.param(name, how, id=f"{name}-{i}") for name, ways in table.items() for i, how in enumerate(ways)]


@pytest.mark.parametrize(("name", "how"), cases(RIGHT))
def test_a_check_passes_where_its_subject_is_right(name, how, monkeypatch):
    how(monkeypatch)
    row = made(monkeypatch, name)
    assert row["result"] == PASSED, row
    assert row["figure"]


@pytest.mark.parametrize(("name", "how"), cases(BROKEN))
def test_a_check_fails_where_its_subject_is_broken(name, how, monkeypatch):
    how(monkeypatch)
    row = made(monkeypatch, name)
    assert row["result"] == FAILED, row
    assert row["figure"] + row["note"]
    assert "\n" not in row["note"]


def test_every_module_of_a_check_is_tried_whole_and_broken():
    modules = {check.module for check in CHECKS}
    for table in (RIGHT, BROKEN):
        assert {BY_NAME[name].module for name in table} == modules


@pytest.mark.parametrize(
    ("name", "capability", "words"),
    [
        ("o1-bfloat16", (7, 5), "amp.dtype: bfloat16"),
        ("resume-adamw", (6, 1), "16-bit"),
        ("resume-float16", (6, 1), "amp.dtype: float16"),
        ("memory", (6, 1), "16-bit"),
        ("speed-o2", (6, 1), "16-bit"),
    ],
)
def test_a_gpu_without_the_16_bit_type_is_no_failure(name, capability, words, monkeypatch):
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: False)
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda: capability)
    row = outcome(BY_NAME[name], "gpu:0", gpus=1)
    assert row["result"] == SKIPPED, row
    assert words in row["note"]


def test_a_missing_converter_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("engine.inference.program.importlib.util.find_spec", lambda name: None)
    row = made(monkeypatch, "export-onnx")
    assert row["result"] == SKIPPED
    assert "pip install -r requirements/export.txt" in row["note"]


def test_a_measurement_is_made_once_with_the_settings_that_are_meant(monkeypatch, tmp_path):
    asked = []

    class Measured:
        def __init__(self, config, overrides, environ):
            asked.append(overrides)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, action, **_):
            return {"turn": {"seconds": 0.5}, "peak_memory": 7.0}.get(action)

    monkeypatch.setattr(measured, "Process", Measured)
    measured._measured.cache_clear()
    context = Context("cpu", tmp_path, SMALL)
    names = ("speed", "speed-tf32", "speed-o1", "speed-o2", "memory")
    results = {name: BY_NAME[name].run(context) for name in names}
    measured._measured.cache_clear()
    assert results["speed"].numbers == {"forward": 16.0, "train_step": 16.0, "memory": 7.0}
    settings = [{text for text in overrides if text.startswith(("amp", "train"))} for overrides in asked]
    assert settings == [
        {"amp.level=O0", "amp.allow_tf32=never"},
        {"amp.level=O0", "amp.allow_tf32=always"},
        {"amp.level=O1", "amp.allow_tf32=always"},
        {"amp.level=O2", "amp.allow_tf32=always"},
        {"amp.level=O0", "amp.allow_tf32=always", "train.recompute=true"},
    ]


@pytest.mark.slow
def test_a_resume_that_loses_the_optimizer_is_found(monkeypatch):
    monkeypatch.setattr(short_runs, "SCRIPT", ROOT / "tests" / "support" / "forgetful_run.py")
    row = made(monkeypatch, "resume-adamw")
    assert (row["result"], row["worst"] is None) == (FAILED, False), row["note"]
    assert row["worst"] > 100


@pytest.mark.slow
def test_two_processes_of_a_cpu_train_as_one(tmp_path):
    """The check for two GPUs, on gloo instead of NCCL."""
    result = processes.check(Context("cpu", tmp_path, SMALL), launcher=("--nproc_per_node", "2"))
    assert BY_NAME["two-gpus"].holds(result), result
