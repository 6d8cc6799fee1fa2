"""The dashboard, read back as VisualDL reads it. The dashboard of a whole run: tests/engine/training/test_run.py."""

import math

import numpy as np
import paddle
import pytest
from visualdl import LogReader

from engine.history import Point
from engine.output.dashboard import SCALARS, Dashboard
from engine.system.device import gpu_memory
from tests.support.runs import histograms, scalars


def test_histograms_are_those_of_the_parameters_and_of_their_gradients(tmp_path):
    model = paddle.nn.Sequential(paddle.nn.Linear(30, 20))
    model(paddle.ones([2, 30]) * paddle.arange(30.0)).sum().backward()
    dashboard = Dashboard(tmp_path, None, [], {}, {})
    dashboard.histograms(model, 7)
    dashboard.close()
    shown = histograms(tmp_path)
    for kind, values in (("parameters", model[0].weight), ("gradients", model[0].weight.grad)):
        counts, edges = np.histogram(values.numpy(), bins=30)
        ((step, shown_counts, shown_edges),) = shown[f"0 {kind}/weight"]
        assert (step, shown_counts) == (7, counts.tolist())
        assert shown_edges == pytest.approx(edges.tolist())


def test_a_gpus_memory_is_shown_where_there_is_one(monkeypatch, tmp_path):
    assert np.isnan(gpu_memory())
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    assert gpu_memory() == 3.0
    point = Point(0, 1, "train", 0.1, 2.0, 0.1, 9.0, gpu_memory=gpu_memory())
    Dashboard(tmp_path, None, [point], {}, {}).close()
    (shown,) = LogReader(file_path=str(*(tmp_path / "vdl").iterdir())).get_data("scalar", SCALARS["gpu_memory"])
    assert shown.value == 3.0


def test_what_is_not_finite_is_left_out_of_the_dashboard(tmp_path):
    diverged = Point(5, 1, "train", 0.1, math.nan, 0.1, 9.0, gradient_norm=math.inf)
    Dashboard(tmp_path, None, [diverged], {}, {}).close()
    assert set(scalars(tmp_path)) == {"curves/top1/train", "optimizer/lr"}
