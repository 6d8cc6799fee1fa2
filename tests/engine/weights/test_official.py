import argparse
import functools
import os
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from engine.weights import official, pdparams
from engine.weights.pdparams import CheckpointError
from models import VARIANTS, build_model
from models.windows import relative_position_index
from tests.support.errors import one_line_about, refuses
from tests.support.models import without_random_values
from tests.support.reference import PAPER, REFERENCE, STATE_DICTS, parameter, picture

TOOL = Path(__file__).parents[3] / "tools" / "convert_weights.py"
MICRO, TINY = "regionvit_micro_32", "regionvit_tiny_224"
LINEAR = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight", "head.weight")


def slow(names, fast):
    return [pytest.param(name, marks=[] if name in fast else [pytest.mark.slow]) for name in names]


@functools.cache
def shapes(name, num_classes=10):
    with paddle.LazyGuard():
        model = build_model(name, num_classes=num_classes)
    return {key: tuple(value.shape) for key, value in model.named_parameters()}


def some(name, num_classes=10):
    """Values for a variant's parameters, in Paddle's shapes."""
    rng = np.random.default_rng(7)
    return {key: rng.random(shape, dtype="float32") for key, shape in shapes(name, num_classes).items()}


def official_state(arrays):
    """What a torch state dict of these parameters holds, by SPEC's rule."""
    state = {key: np.ascontiguousarray(v.T) if key.endswith(LINEAR) else v for key, v in arrays.items()}
    second = {key.replace(".proj.", ".proj_cls."): v for key, v in state.items() if ".block.0.proj." in key}
    return {**state, **second}


def assert_same(ours, expected):
    assert set(ours) == set(expected)
    for key, value in expected.items():
        assert ours[key].dtype == value.dtype, key
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


# The rule, without torch.


@pytest.mark.parametrize("name", slow(VARIANTS, fast=[MICRO, TINY, "regionvit_small_w14_peg_224"]))
def test_round_trip_is_bit_exact(name):
    arrays = some(name)
    state, _ = official.to_torch(arrays)
    assert_same(state, official_state(arrays))
    assert all(value.flags.c_contiguous for value in state.values())
    assert_same(official.to_paddle(state, "x.pth")[0], arrays)


@pytest.mark.parametrize("variant", STATE_DICTS)
def test_names_for_torch_are_the_official_state_dicts(variant):
    state, lines = official.to_torch(some(f"regionvit_{variant}_224"))
    assert set(state) == set(STATE_DICTS[variant])
    assert "added: 12 second names, 'proj_cls' of 'proj'" in lines


@pytest.mark.parametrize(("name", "num_classes"), [*((name, 1000) for name in VARIANTS), (MICRO, 0), (MICRO, 1)])
def test_variant_and_classes_are_recognised(name, num_classes):
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes(name, num_classes).items()}
    assert official.recognise(arrays, "x.pth") == (name, num_classes)


@pytest.mark.parametrize("name", slow(PAPER, fast=[TINY, "regionvit_small_w14_peg_224"]))
def test_logits_are_the_official_ones_after_a_conversion(tmp_path, name):
    cases = [case for case in REFERENCE["cases"] if f"regionvit_{case['variant']}_224" == name]
    case = min(cases, key=lambda case: case["height"] * case["width"])
    state = official_state({key: parameter(key, shape, case["salt"]) for key, shape in shapes(name).items()})
    pdparams.save({tmp_path / "w.pdparams": official.to_paddle(state, "x.pth")[0]})
    assert_golden(tmp_path / "w.pdparams", name, case)


def assert_golden(file, name, case):
    with without_random_values():
        model = build_model(name, num_classes=10, padding_mask=case["padding_mask"])
    pdparams.load_weights(model, file)
    model.eval()
    with paddle.no_grad():
        logits = model(picture(case["input_seed"], case["height"], case["width"])).numpy()
    np.testing.assert_allclose(logits, case["logits"], rtol=0, atol=1e-5)


def test_rel_pos_is_not_taken_for_a_linear_weight():
    arrays = some(MICRO)
    state, _ = official.to_torch(arrays)
    key = "layers.0.block.1.attn."
    np.testing.assert_array_equal(state[key + "rel_pos"], arrays[key + "rel_pos"])
    np.testing.assert_array_equal(state[key + "proj.weight"], arrays[key + "proj.weight"].T)


def test_names_of_data_parallel_and_a_known_index_are_removed_and_named():
    arrays = some(MICRO)
    index = relative_position_index(4).reshape(17, 17)[1:, 1:].ravel()
    state = {**official_state(arrays), **{f"layers.{i}.block.1.attn.rel_pos_index": index for i in (0, 1)}}
    ours, lines = official.to_paddle({"module." + key: value for key, value in state.items()}, "x.pth")
    assert_same(ours, arrays)
    assert lines == [
        f"renamed: {len(arrays) + 4 + 2} keys, without 'module.'",
        "folded: 4 second names, 'proj_cls' of 'proj'",
        "dropped: 2 'rel_pos_index', which the model computes itself",
        "transposed: 21 weights of Linear layers",
    ]


def test_either_name_of_the_projection_is_enough():
    arrays = some(MICRO)
    state = {key: v for key, v in official_state(arrays).items() if ".block.0.proj." not in key}
    assert_same(official.to_paddle(state, "x.pth")[0], arrays)


def set_to(key, value):
    return lambda state: state.update({key: value})


HEAD_WEIGHT, HEAD_BIAS, SECOND = "head.weight", "head.bias", "layers.1.block.0.proj_cls.2.bias"
RELATIVE = "layers.0.block.1.attn.rel_pos_index"
SPOILT = {
    "missing": (lambda s: s.pop("norm.weight"), "norm.weight", [MICRO, "1 missing: norm.weight"]),
    "unexpected": (
        set_to("norm0.weight", np.ones([1, 96, 1, 1], "float32")),
        "norm0.weight",
        ["1 unexpected: norm0.weight"],
    ),
    "shape": (
        set_to("norm.bias", np.ones(3, "float32")),
        "norm.bias",
        ["1 of another shape: norm.bias [3] (model: [192])"],
    ),
    "no head weight": (lambda s: s.pop(HEAD_WEIGHT), HEAD_WEIGHT, ["with 10 classes: 1 missing: head.weight"]),
    "a number as head": (
        set_to(HEAD_WEIGHT, np.float32(1).reshape([])),
        HEAD_WEIGHT,
        ["head.weight [] (model: [192, 10])"],
    ),
    "projection": (set_to(SECOND, np.ones(192, "float32")), SECOND, [SECOND.replace("_cls", "")]),
    "two prefixes": (set_to("module.head.bias", np.ones(10, "float32")), HEAD_BIAS, ["'module.'"]),
    "int": (set_to(HEAD_BIAS, np.ones(10, "int64")), HEAD_BIAS, ["head.bias (int64)"]),
    "NaN": (set_to(HEAD_BIAS, np.full(10, np.nan, "float32")), HEAD_BIAS, ["NaN"]),
    "another index": (set_to(RELATIVE, np.arange(256)), RELATIVE, ["official order"]),
    "transposed before": (
        lambda s: s.update(official_state(s)),
        "layers.0.block.1.attn.qkv.weight",
        ["head.weight [10, 192] (model: [192, 192])"],
    ),
    "a plain ViT": (
        lambda s: [s.clear(), s.update({"cls_token": np.ones([1, 1, 8], "f4"), "pos_embed": np.ones([1, 5, 8], "f4")})],
        "patch_embed.proj.0.weight",
        ["missing: patch_embed.proj", "2 unexpected: cls_token, pos_embed"],
    ),
}


@pytest.mark.parametrize(("spoil", "key", "details"), SPOILT.values(), ids=SPOILT)
def test_arrays_that_fit_no_variant_are_refused_by_name(spoil, key, details):
    state = official_state(some(MICRO))
    spoil(state)
    with refuses(CheckpointError, place="x.pth") as caught:
        official.recognise(official.to_paddle(state, "x.pth")[0], "x.pth")
    message = str(caught.value)
    assert caught.value.key == key
    assert message.startswith("x.pth")
    assert all(detail in message for detail in details), message


# The tool.


def convert(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert_weights.py", *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name="__main__")


def refusal(monkeypatch, capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        convert(monkeypatch, *arguments)
    out, error = capsys.readouterr()
    assert exit.value.code == 2
    assert out == ""
    one_line_about(error)
    return error


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs torch: pip install -r requirements/convert.txt")


def tensors(torch, arrays):
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}


@pytest.mark.parametrize("name", slow(VARIANTS, fast=[MICRO, TINY]))
def test_files_come_back_bit_for_bit(torch, tmp_path, monkeypatch, capsys, name):
    arrays = some(name)
    pdparams.save({tmp_path / "a.pdparams": arrays})
    convert(monkeypatch, tmp_path / "a.pdparams", tmp_path / "b.pth")
    state = torch.load(tmp_path / "b.pth", weights_only=True)
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in state.values())
    assert_same({key: tensor.numpy() for key, tensor in state.items()}, official_state(arrays))
    convert(monkeypatch, tmp_path / "b.pth", tmp_path / "c.pdparams")
    assert_same(pdparams.read(tmp_path / "c.pdparams"), arrays)
    assert sorted(os.listdir(tmp_path)) == ["a.pdparams", "b.pth", "c.pdparams"]
    last = capsys.readouterr().out.splitlines()[-1]
    size = sum(value.size for value in arrays.values())
    assert last.endswith(f'c.pdparams: build_model("{name}", num_classes=10), {size:,} parameters')


@pytest.mark.parametrize("name", slow(PAPER, fast=[TINY]))
def test_a_file_of_torch_gives_the_official_logits(torch, tmp_path, monkeypatch, name):
    case = next(case for case in REFERENCE["cases"] if f"regionvit_{case['variant']}_224" == name)
    state = official_state({key: parameter(key, shape, case["salt"]) for key, shape in shapes(name).items()})
    torch.save({"model": tensors(torch, state)}, tmp_path / "a.pth")
    convert(monkeypatch, tmp_path / "a.pth", tmp_path / "a.pdparams")
    assert_golden(tmp_path / "a.pdparams", name, case)


@pytest.mark.filterwarnings("ignore:Skip loading")  # of the second names
def test_what_the_tool_writes_loads_in_plain_paddle_too(torch, tmp_path, monkeypatch):
    arrays = some(MICRO)
    torch.save(tensors(torch, official_state(arrays)), tmp_path / "a.pth")
    convert(monkeypatch, tmp_path / "a.pth", tmp_path / "a.pdparams")
    model = build_model(MICRO, num_classes=10)
    model.set_state_dict(paddle.load(str(tmp_path / "a.pdparams")))
    assert_same({key: value.numpy() for key, value in model.named_parameters()}, arrays)


WRAPPERS = {
    "plain": (lambda state: state, ""),
    "model": (lambda state: {"model": state}, "weights found under 'model'\n"),
    "state_dict": (lambda state: {"state_dict": state, "epoch": 3}, "under 'state_dict'; left out: epoch\n"),
    "a whole training state": (
        lambda state: {"optimizer": {"state": {}}, "model": state, "args": argparse.Namespace(lr=0.1, model="tiny")},
        "under 'model'; left out: optimizer, args\n",
    ),
}


@pytest.mark.parametrize(("wrap", "words"), WRAPPERS.values(), ids=WRAPPERS)
def test_weights_are_found_in_what_they_are_wrapped_in(torch, tmp_path, monkeypatch, capsys, wrap, words):
    arrays = some(MICRO)
    prefix = "module." if "epoch" in words else ""
    state = {prefix + key: value for key, value in tensors(torch, official_state(arrays)).items()}
    torch.save(wrap(state), tmp_path / "a.pth")
    convert(monkeypatch, tmp_path / "a.pth", tmp_path / "new" / "folder" / "a.pdparams")
    assert_same(pdparams.read(tmp_path / "new" / "folder" / "a.pdparams"), arrays)
    out = capsys.readouterr().out
    assert words in out
    assert ("renamed" in out) == bool(prefix)
    assert f'build_model("{MICRO}", num_classes=10)' in out


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32_and_are_named(torch, tmp_path, monkeypatch, capsys, dtype):
    state = {key: value.to(getattr(torch, dtype)) for key, value in tensors(torch, official_state(some(MICRO))).items()}
    torch.save(state, tmp_path / "a.pth")
    convert(monkeypatch, tmp_path / "a.pth", tmp_path / "a.pdparams")
    assert f"float32: {len(state)} arrays of {dtype}\n" in capsys.readouterr().out
    ours, head = pdparams.read(tmp_path / "a.pdparams"), state["head.weight"].float().numpy()
    np.testing.assert_array_equal(ours["head.weight"], head.T)
    assert {value.dtype for value in ours.values()} == {np.dtype("float32")}


def test_half_precision_becomes_float32_on_the_way_back_too(torch, tmp_path, monkeypatch, capsys):
    pdparams.save({tmp_path / "a.pdparams": {key: v.astype("float16") for key, v in some(MICRO).items()}})
    convert(monkeypatch, tmp_path / "a.pdparams", tmp_path / "a.pth")
    assert "arrays of float16\n" in capsys.readouterr().out
    assert {value.dtype for value in torch.load(tmp_path / "a.pth").values()} == {torch.float32}


class Attack:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def cut(torch, file):
    torch.save({"a": torch.ones(5000)}, file)
    file.write_bytes(file.read_bytes()[:-600])


BAD_FILES = {
    "absent": (lambda torch, file: None, "no such file"),
    "folder": (lambda torch, file: file.mkdir(), "not readable"),
    "text": (lambda torch, file: file.write_text("some text", encoding="utf-8"), "damaged"),
    "empty": (lambda torch, file: file.write_bytes(b""), "damaged"),
    "truncated": (cut, "damaged"),
    "Paddle's": (lambda torch, file: file.write_bytes(pickle.dumps({"a": np.ones(2)}, 2)), "numpy"),
    "code": (lambda torch, file: torch.save({"a": Attack()}, file), "posix.system"),
    "code in an old file": (
        lambda torch, file: torch.save({"a": Attack()}, file, _use_new_zipfile_serialization=False),
        "posix.system",
    ),
    "a whole model": (lambda torch, file: torch.save(torch.nn.Linear(2, 2), file), "torch.nn.modules.linear"),
    "list": (lambda torch, file: torch.save([torch.ones(2)], file), " list, "),
    "nothing": (lambda torch, file: torch.save({"model": {}}, file), "nothing in it"),
    "unknown wrapper": (lambda torch, file: torch.save({"net": {"a": torch.ones(2)}}, file), "a.pth: net: "),
    "no name": (lambda torch, file: torch.save({3: torch.ones(2)}, file), "a.pth: 3: "),
    "sparse": (lambda torch, file: torch.save({"a": torch.ones(2, 2).to_sparse()}, file), "a.pth: a: "),
    "no values": (lambda torch, file: torch.save({"a": torch.ones(2, device="meta")}, file), "a.pth: a: "),
    "one number for many": (
        lambda torch, file: torch.save({"a.weight": torch.ones(1).expand(10**6, 10**6)}, file),
        "a.pth: a.weight: ",
    ),
    "bool": (lambda torch, file: torch.save({"a": torch.ones(2) > 0}, file), "a.pth: a: "),
    "int": (lambda torch, file: torch.save({"a": torch.ones(2).long()}, file), "a (int64)"),
    "Paddle's shapes": (
        lambda torch, file: torch.save(tensors(torch, some(MICRO)), file),
        "head.weight [10, 192] (model: [192, 192])",
    ),
    "NaN": (
        lambda torch, file: torch.save(
            tensors(torch, official_state({**some(MICRO), "norm.bias": np.full(192, np.nan, "f4")})), file
        ),
        "in norm.bias",
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(("make", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_of_torch_are_refused_in_one_line(torch, tmp_path, monkeypatch, capsys, make, words):
    monkeypatch.chdir(tmp_path)
    make(torch, tmp_path / "a.pth")
    error = refusal(monkeypatch, capsys, tmp_path / "a.pth", tmp_path / "out" / "a.pdparams")
    assert words in error
    assert str(tmp_path / "a.pth") in error
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"some text", "damaged"),
        (pickle.dumps({"a": Attack()}), "posix.system"),
        (pickle.dumps({"a": np.ones(3, "float32")}), "1 unexpected: a"),
        (pickle.dumps({"a": np.ones(3, "int64")}), "a.pdparams: a: "),
    ],
)
def test_bad_files_of_paddle_are_refused_in_one_line(tmp_path, monkeypatch, capsys, raw, words):
    (tmp_path / "a.pdparams").write_bytes(raw)
    error = refusal(monkeypatch, capsys, tmp_path / "a.pdparams", tmp_path / "a.pth")
    assert words in error
    assert str(tmp_path / "a.pdparams") in error
    assert os.listdir(tmp_path) == ["a.pdparams"]


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("a.pth", "b.pth", "end in .pth"),
        ("a.pdparams", "a.pdparams", "end in .pth"),
        ("a.zip", "a.pdparams", "end in .pth"),
        ("a.pth", "a", "end in .pth"),
        ("a.pth", "there.pdparams", "--overwrite"),
        ("a.pth", "link.pdparams", "same file"),
        ("a.pth", "x" * 300 + ".pdparams", "File name too long"),
    ],
)
def test_paths_that_cannot_be_meant_are_refused_first(tmp_path, monkeypatch, capsys, source, target, words):
    (tmp_path / "a.pth").write_text("weights", encoding="utf-8")
    (tmp_path / "there.pdparams").write_text("mine", encoding="utf-8")
    (tmp_path / "link.pdparams").symlink_to("a.pth")
    overwrite = ["--overwrite"] if "link" in target else []
    error = refusal(monkeypatch, capsys, tmp_path / source, tmp_path / target, *overwrite)
    assert words in error
    assert str(tmp_path / target) in error
    assert (tmp_path / "there.pdparams").read_text(encoding="utf-8") == "mine"


def test_a_folder_is_not_replaced(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.pdparams").mkdir()
    error = refusal(monkeypatch, capsys, tmp_path / "a.pth", tmp_path / "a.pdparams", "--overwrite")
    assert f"{tmp_path / 'a.pdparams'} exists" in error


def test_a_result_that_cannot_be_written_is_one_line(torch, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    pdparams.save({tmp_path / "a.pdparams": some(MICRO)})
    error = refusal(monkeypatch, capsys, tmp_path / "a.pdparams", tmp_path / "file" / "a.pth")
    assert str(tmp_path / "file" / "a.pth") in error


def test_a_full_disk_leaves_the_old_file(torch, tmp_path, monkeypatch, capsys):
    def full(path, content):
        raise OSError(28, "No space left on device")

    (tmp_path / "a.pth").write_text("old", encoding="utf-8")
    pdparams.save({tmp_path / "a.pdparams": some(MICRO)})
    monkeypatch.setattr(Path, "write_bytes", full)
    error = refusal(monkeypatch, capsys, tmp_path / "a.pdparams", tmp_path / "a.pth", "--overwrite")
    assert "No space left on device" in error
    assert (tmp_path / "a.pth").read_text(encoding="utf-8") == "old"
    assert sorted(os.listdir(tmp_path)) == ["a.pdparams", "a.pth"]


def test_overwrite_replaces(torch, tmp_path, monkeypatch):
    (tmp_path / "a.pth").write_text("old", encoding="utf-8")
    pdparams.save({tmp_path / "a.pdparams": some(MICRO)})
    convert(monkeypatch, tmp_path / "a.pdparams", tmp_path / "a.pth", "--overwrite")
    assert len(torch.load(tmp_path / "a.pth")) == len(official_state(some(MICRO)))


def test_without_torch_it_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.pth").write_text("weights", encoding="utf-8")
    error = refusal(monkeypatch, capsys, tmp_path / "a.pth", tmp_path / "a.pdparams")
    assert "pip install -r requirements/convert.txt" in error
