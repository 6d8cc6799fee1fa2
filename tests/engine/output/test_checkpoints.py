"""Checkpoints on disk: damage is noticed, and a kill at any instant leaves a whole one."""

import json
import os
import shutil

import paddle
import pytest

from engine import filenames
from engine.errors import UserError
from engine.inference.trained import find
from engine.output import checkpoints as checkpoints_module
from engine.output.checkpoints import Checkpoints
from engine.output.folder import Output
from engine.weights import pdparams
from engine.weights.pdparams import CheckpointError
from tests.support.errors import refuses


@pytest.fixture
def three(tmp_path):
    """Checkpoints of the steps 10, 20 and 30."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (10, 20, 30):
        save(checkpoints, step)
    return checkpoints


def save(checkpoints, step, **options):
    weights = {"w": paddle.full([100], step, dtype="float32")}
    rest = {"step": step, "text": "x" * 100}
    checkpoints.save(weights, {"m": paddle.zeros([50])}, rest, epoch=0, step=step, **options)


def step_of(folder):
    return pdparams.load(folder / "latest.pdstates")["step"]


def test_checkpoints_sort_by_number(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=5)
    for epoch in (9_999, 10_000, 100_000):
        checkpoints.save({}, {}, {}, epoch=epoch, step=3)
    assert [folder.name.split("_")[1] for folder in checkpoints.all()] == ["100000", "10000", "9999"]


def test_the_newest_are_kept_and_latest_is_the_newest(three, tmp_path):
    save(three, 40)
    assert [step_of(folder) for folder in three.all()] == [40, 30, 20]
    assert step_of(tmp_path) == 40
    for name in filenames.CHECKPOINT:
        assert (tmp_path / name).read_bytes() == (three.all()[0] / name).read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoints", *filenames.CHECKPOINT}


INSIDE = ("checkpoints", "checkpoints/epoch_0000_step_00000010", "checkpoints/epoch_0000_step_00000030/latest.pdopt")


@pytest.mark.parametrize("inside", [*INSIDE, "latest.pdparams", "config.yaml"])
def test_what_is_inside_a_run_is_no_run_to_resume_but_names_it(three, tmp_path, inside):
    (tmp_path / "config.yaml").touch()
    with refuses(UserError, key="--resume", value=str(tmp_path / inside), place=tmp_path) as caught:
        Output(tmp_path / inside).check_resumable()
    assert f"--resume {tmp_path}," in str(caught.value)
    Output(tmp_path).check_resumable()


def test_a_folder_of_runs_is_no_run_to_resume_but_names_them(three, tmp_path, monkeypatch):
    with refuses(UserError, key="--resume", place=tmp_path.parent) as caught:
        Output(tmp_path.parent).check_resumable()
    assert str(tmp_path) in str(caught.value)
    monkeypatch.chdir(tmp_path)
    with refuses(UserError, key="--resume", value="checkpoints", place="."):
        Output("checkpoints").check_resumable()
    with refuses(UserError, key="--resume", value="nothing", place="nothing") as caught:
        Output("nothing").check_resumable()
    assert "-c CONFIG" in str(caught.value)


@pytest.mark.parametrize("inside", ["", *INSIDE[:2]])
def test_a_folder_is_no_file_of_weights_but_names_those_in_it(three, tmp_path, inside):
    if not inside:
        shutil.copy(tmp_path / "latest.pdparams", tmp_path / "best_model.pdparams")
    folder = tmp_path / inside
    first = {"": "best_model.pdparams", "checkpoints": "epoch_0000_step_00000030/latest.pdparams"}
    expected = f": {folder / first.get(inside, 'latest.pdparams')}"
    with refuses(UserError, key="--weights", value=str(folder), place=folder) as caught:
        find(folder, None, [])
    assert expected in str(caught.value)
    with refuses(CheckpointError, place=folder) as caught:
        pdparams.read(folder)
    assert expected in str(caught.value)


def test_without_hard_links_the_latest_are_copies(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "not on FAT")

    monkeypatch.setattr(checkpoints_module.os, "link", refuse)
    for step in (10, 20):
        save(Checkpoints(tmp_path), step)
    (whole,) = Checkpoints(tmp_path).all()
    for name in filenames.CHECKPOINT:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
        assert not (tmp_path / name).samefile(whole / name)


@pytest.mark.parametrize("windows", [True, False])
def test_an_old_one_that_is_read_on_windows_is_dropped_later(three, monkeypatch, windows):
    move, read = checkpoints_module.move, [three.all()[-1].name]

    def refuse(source, target):
        if source.name in read:
            raise PermissionError(13, "in use")
        move(source, target)

    monkeypatch.setattr(checkpoints_module, "WINDOWS", windows)
    monkeypatch.setattr(checkpoints_module, "move", refuse)
    if not windows:
        with refuses(CheckpointError):
            save(three, 40)
        return
    save(three, 40)
    assert [step_of(folder) for folder in three.all()] == [40, 30, 20, 10]
    read.clear()
    save(three, 50)
    assert [step_of(folder) for folder in three.all()] == [50, 40, 30]


def test_a_checkpoint_with_a_prefix_is_never_resumed_from_nor_dropped(three):
    save(three, 39, prefix="diverged_")
    assert step_of(three.newest()[0]) == step_of(three.output) == 30
    for step in (40, 50, 60):
        save(three, step)
    assert [step_of(folder) for folder in three.all()] == [60, 50, 40]
    assert (three.folder / "diverged_epoch_0000_step_00000039").exists()


DAMAGES = {
    **{f"cut to {share}": lambda data, share=share: data[: int(len(data) * share)] for share in (0, 0.01, 0.5, 0.99)},
    **{
        f"byte flipped at {share}": lambda data, share=share: (
            data[: int(len(data) * share)]
            + bytes([data[int(len(data) * share)] ^ 1])
            + data[int(len(data) * share) + 1 :]
        )
        for share in (0, 0.2, 0.4, 0.6, 0.8, 0.99)
    },
    "removed": None,
}


@pytest.mark.parametrize("name", filenames.CHECKPOINT)
def test_damage_is_noticed_and_the_checkpoint_before_is_used(name, three):
    folders = three.all()
    contents = [(folder / name).read_bytes() for folder in folders]
    for label, damage in DAMAGES.items():
        for number, expected in enumerate((20, 10), start=1):
            damaged = three.newest()[0]
            hurt(damaged / name, damage)
            found, descriptions = three.newest()
            assert step_of(found) == expected, label
            assert len(descriptions) == number, label
            assert damaged.name in descriptions[-1]
        hurt(found / name, damage)
        with refuses(CheckpointError, place=three.folder):
            three.newest()
        for folder, content in zip(folders, contents, strict=True):
            (folder / name).write_bytes(content)


def test_an_output_folder_without_checkpoints_is_refused(tmp_path):
    with refuses(CheckpointError, place=tmp_path):
        Checkpoints(tmp_path).newest()


def hurt(file, damage):
    if damage:
        file.write_bytes(damage(file.read_bytes()))
    else:
        file.unlink()


def test_a_damaged_one_is_put_aside_by_the_next_and_drops_no_whole_one(three):
    hurt(three.newest()[0] / filenames.STATES[0], DAMAGES["cut to 0.5"])
    save(three, 25)
    assert [step_of(folder) for folder in three.all()] == [25, 20, 10]
    assert (three.folder / "damaged_epoch_0000_step_00000030").exists()


def test_a_damaged_one_is_replaced_by_the_same_state_and_a_whole_one_is_left_alone(three):
    hurt(three.newest()[0] / filenames.STATES[0], DAMAGES["cut to 0.5"])
    save(three, 30)
    assert step_of(three.newest()[0]) == 30
    before = (three.newest()[0] / filenames.STATES[0]).stat().st_ino
    save(three, 30)
    assert (three.newest()[0] / filenames.STATES[0]).stat().st_ino == before


class Killed(BaseException):
    pass


def dying_at(call, monkeypatch):
    """Kill the process, as it were, at a call of that number among those that reach the disk; return the calls."""
    calls = []

    def dying(original):
        def function(*arguments, **keywords):
            calls.append(original)
            if len(calls) == call:
                raise Killed
            return original(*arguments, **keywords)

        return function

    monkeypatch.setattr(paddle, "save", dying(paddle.save))
    for name in ("fsync", "rename", "replace", "link"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    monkeypatch.setattr(shutil, "rmtree", dying(shutil.rmtree))
    return calls


def test_a_kill_in_mid_save_leaves_the_one_before(tmp_path, monkeypatch):
    """A kill at each call to the disk in turn; then the same is saved again."""
    killed, call = True, 0
    while killed:
        call += 1
        checkpoints = Checkpoints(tmp_path / str(call), keep=2)
        for step in (10, 20):
            save(checkpoints, step)
        with monkeypatch.context() as patch:
            calls = dying_at(call, patch)
            try:
                save(checkpoints, 30)
                killed = False
            except Killed:
                pass
        found, damage = checkpoints.newest()
        assert step_of(found) in (20, 30)
        assert damage == []
        save(checkpoints, 30)
        assert [step_of(folder) for folder in checkpoints.all()] == [30, 20]
        assert step_of(checkpoints.output) == 30
        save(checkpoints, 40)
        assert {file.name for file in checkpoints.output.iterdir()} == {"checkpoints", *filenames.CHECKPOINT}
        assert len(list(checkpoints.folder.iterdir())) == 2
    assert len(calls) == call - 1 > 15


def test_a_manifest_names_size_and_checksum(three):
    manifest = json.loads((three.all()[0] / filenames.MANIFEST).read_text(encoding="utf-8"))
    assert set(manifest) == set(filenames.STATES)
    for name, measured in manifest.items():
        assert checkpoints_module._measure(three.all()[0] / name) == measured
