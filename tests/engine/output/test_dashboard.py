"""The dashboard, read back as VisualDL reads it. The dashboard of a whole run: tests/engine/training/test_run.py."""

import math
from pathlib import Path

import numpy as np
import paddle
import pytest
from visualdl import LogReader
from visualdl.proto import record_pb2
from visualdl.reader.record_reader import RecordReader

from engine.config.load import flatten, load_config
from engine.history import Point
from engine.output.dashboard import BEGUN, BEST, HPARAMS, SCALARS, Dashboard
from engine.output.log import Records
from engine.system.device import gpu_memory
from tests.support.runs import MICRO, histograms, scalars


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


def test_the_charts_of_validation_begin_with_the_file(tmp_path):
    Dashboard(tmp_path, None, [], {}, {}).close()
    reader = LogReader(file_path=str(*(tmp_path / "vdl").iterdir()))
    assert reader.get_tags()["scalar"] == BEGUN
    for tag in BEGUN:
        (point,) = reader.get_data("scalar", tag)
        assert point.id == 0
        assert math.isnan(point.value)


def trained(step, loss=2.0, ips=9.0):
    return Point(step, 1, "train", 0.1, loss, 0.1, ips)


def validated(step, top1, loss=2.0):
    return Point(step, step, "val", 0.1, loss, top1, 9.0)


def test_the_table_of_hyper_parameters_is_short_and_its_results_are_the_best(tmp_path):
    config = flatten(load_config(MICRO))
    points = [validated(1, 0.3, 1.5), validated(2, 0.5, 1.4), validated(3, 0.4, 1.3), validated(4, 0.5, 1.2)]
    Dashboard(tmp_path, None, points, config, {}).close()
    (record,) = LogReader(file_path=str(*(tmp_path / "vdl").iterdir())).get_data("hyper_parameters", "hparam")
    shown = {item.name: getattr(item, item.WhichOneof("type")) for item in record.hparam.hparamInfos}
    assert shown == {name: pytest.approx(config[key]) for name, key in HPARAMS.items()}
    assert [item.name for item in record.hparam.metricInfos] == list(BEST.values()) == ["val/best", "val/loss"]
    assert scalars(tmp_path)["val/best"] == [(1, np.float32(0.3)), (2, np.float32(0.5))]
    assert scalars(tmp_path)["val/loss"] == [(1, np.float32(1.5)), (2, np.float32(1.4))]


class OpenVisualDL:
    """Reads a file on as VisualDL's server does while it is open: {(tag, step): values, in order}."""

    def __init__(self, folder):
        self.reader, self.seen = RecordReader(str(*(folder / "vdl").iterdir())), {}

    def read(self):
        for content in self.reader.get_remain():
            value = record_pb2.Record.FromString(content).values[0]
            if value.WhichOneof("one_value") == "value" and value.value == value.value:
                self.seen.setdefault((value.tag, value.id), []).append(value.value)
        return self.seen


FIRST, KILLED = [trained(0)], [trained(4, ips=7.0), validated(5, 0.5), trained(8, ips=7.0)]


@pytest.fixture
def killed(tmp_path):
    """The position at a checkpoint, and VisualDL, which has read what the killed run wrote after it."""
    dashboard = Dashboard(tmp_path, None, [], {"train.seed": 1}, {})
    for point in FIRST:
        dashboard.point(point)
    position = dashboard.position()
    for point in KILLED:
        dashboard.point(point)
    dashboard.picture("mistakes", np.zeros((4, 4, 3), np.uint8), 8)
    dashboard.close()
    server = OpenVisualDL(tmp_path)
    server.read()
    return position, server


def resumed(folder, position, points, before=FIRST, config=None):
    dashboard = Dashboard(folder, position, before, config or {"train.seed": 1}, {})
    for point in points:
        dashboard.point(point)
    return dashboard


def test_an_open_visualdl_sees_each_point_of_a_killed_and_resumed_run_once(killed, tmp_path):
    position, server = killed
    again = [trained(4), validated(5, 0.5)]  # in another time
    dashboard = resumed(tmp_path, position, again)  # and killed again, within what was there
    position = dashboard.position()
    dashboard.close()
    dashboard = resumed(tmp_path, position, [trained(8)], before=[*FIRST, *again])
    dashboard.picture("mistakes", np.zeros((4, 4, 3), np.uint8), 8)
    dashboard.point(validated(10, 0.6))
    dashboard.close()
    assert not dashboard.cut
    seen = server.read()
    assert [step for tag, step in seen if tag == "curves/loss/train"] == [0, 4, 8]
    assert [step for tag, step in seen if tag == "val/best"] == [5, 10]
    assert all(len(values) == 1 for values in seen.values())
    assert len(LogReader(file_path=str(*(tmp_path / "vdl").iterdir())).get_data("image", "mistakes")) == 1


@pytest.mark.parametrize("change", ["a loss", "the config", "the last bytes"])
def test_what_a_resumed_run_computes_otherwise_replaces_what_was_there(killed, tmp_path, change):
    position, _ = killed
    points = [trained(4), validated(5, 0.5, loss=1.0 if change == "a loss" else 2.0), trained(8)]
    if change == "the last bytes":  # of a record that a kill cut short
        file = Path(str(*(tmp_path / "vdl").iterdir()))
        file.write_bytes(file.read_bytes()[:-1])
    dashboard = resumed(tmp_path, position, points, config={"train.seed": 2 if change == "the config" else 1})
    dashboard.close()
    assert dashboard.cut
    assert scalars(tmp_path)["curves/loss/val"] == [(5, points[1].loss)]
    assert [step for step, _ in scalars(tmp_path)["curves/loss/train"]] == [0, 4, 8]


def test_the_log_says_once_when_visualdl_must_be_restarted(killed, tmp_path, capsys):
    position = {"points": [], "log": 0, "dashboard": killed[0]}
    with Records(tmp_path, {"train.seed": 1}, {}, position) as records:
        records.mention_cut()
        assert "VisualDL" not in capsys.readouterr().out
        records.point(trained(4, loss=1.0))
        assert "restart" in capsys.readouterr().out
        records.point(trained(8))
        assert "restart" not in capsys.readouterr().out
