import cv2
import numpy as np
import paddle
import pytest
from matplotlib.collections import QuadMesh

from engine.figures.attention import lsa_figure, rollout_figure, rsa_figure
from engine.inference.attention import Observed
from models import VARIANTS, build_model
from models.attended import ENCODERS
from models.attention_maps import attention_maps
from models.rollout import rollout
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.drawing import blank_figures, colours
from tests.support.errors import one_line_about
from tests.support.runs import MICRO, NANO
from tests.support.scripts import tool

FIGURES = ("rsa.png", "lsa.png", "rollout.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory, nano):
    """A folder with an archive, weights that fit micro's config, and a picture."""
    folder = tmp_path_factory.mktemp("home")
    archives.write(folder / "archive.tar.gz", archives.members(train=20, test=12))
    paddle.seed(1)
    paddle.save(build_model("regionvit_micro_conv_32", num_classes=10).state_dict(), str(folder / "nano.pdparams"))
    other = build_model("regionvit", **{**VARIANTS["regionvit_micro_conv_32"], "num_heads": (2, 2)}, num_classes=10)
    paddle.save(other.state_dict(), str(folder / "other.pdparams"))
    picture = np.random.RandomState(0).randint(0, 256, (90, 60, 3))
    cv2.imwrite(str(folder / "picture.png"), cv2.resize(picture.astype(np.uint8), (120, 180)))
    (folder / "broken.png").write_bytes((folder / "picture.png").read_bytes()[:999])
    (folder / "words.png").write_text("words", encoding="utf-8")
    return folder


def show(home, monkeypatch, *arguments, weights="nano.pdparams"):
    monkeypatch.chdir(home)
    tool(
        monkeypatch, "show_attention.py", "--weights", weights, "-c", MICRO, "-o", "data.file=archive.tar.gz",
        "--device", DEVICE, *arguments,
    )  # fmt: skip


def test_three_figures_are_written_beside_the_weights(home, monkeypatch, capsys):
    show(home, monkeypatch, "picture.png")
    out = capsys.readouterr().out
    assert "picture.png: region 1,1 of 2 x 2; predicted: " in out
    for name in FIGURES:
        assert f"attention/{name}" in out
        assert colours(home / "attention" / name) > 100


def test_a_validation_picture_is_drawn_by_its_number(home, monkeypatch, capsys, tmp_path):
    with blank_figures():
        show(home, monkeypatch, "val:7", "--output", tmp_path)
    assert "val:7: region 1,1 of 2 x 2; predicted: " in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == set(FIGURES)


@pytest.mark.slow
def test_each_choice_changes_the_figures(home, monkeypatch, tmp_path):
    """But rollout knows neither heads nor a single encoder."""
    monkeypatch.setitem(VARIANTS, "regionvit_micro_conv_32", {**NANO, "depth": (2, 2)})
    paddle.seed(1)
    paddle.save(build_model("regionvit_micro_conv_32", num_classes=10).state_dict(), str(tmp_path / "deep.pdparams"))
    choices = {
        "default": [],
        "region": ["--region", "0,1"],
        "heads": ["--heads"],
        **{name: ["--encoder", name] for name in ("first", "mean")},
        "picture": ["val:3"],
    }
    written = {}
    for name, choice in choices.items():
        picture = [] if name == "picture" else ["val:7"]
        show(home, monkeypatch, *picture, *choice, "--output", tmp_path / name, weights=tmp_path / "deep.pdparams")
        written[name] = {figure: (tmp_path / name / figure).read_bytes() for figure in FIGURES}
    for figure, alike in {"rsa.png": (), "lsa.png": (), "rollout.png": ("heads", "first", "mean")}.items():
        for name in list(choices)[1:]:
            assert (written[name][figure] == written["default"][figure]) == (name in alike), (name, figure)


def test_the_tool_offers_every_choice_of_encoders(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        tool(monkeypatch, "show_attention.py", "--help")
    assert f"--encoder {{{','.join(ENCODERS)}}}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["val:7", "--region", "left"], ["--region", "left"]),
        (["val:7", "--region", "1,-1"], ["--region", "1,-1"]),
        (["val:7", "--region", "2,0"], ["--region 2,0", "0,0 to 1,1"]),
        (["val:7", "--region", "0,2"], ["--region 0,2", "0,0 to 1,1"]),
        (["val:7", "--encoder", "third"], ["--encoder", "third"]),
        ([], ["PICTURE"]),
        (["none.png"], ["none.png"]),
        (["broken.png"], ["broken.png"]),
        (["words.png"], ["words.png"]),
        (["val:99999"], ["val:99999", "val:0 to val:11"]),
        (["val:x"], ["val:x", "val:0 to val:11"]),
        (["val:7", "-o", "data.file=none.tar.gz"], ["none.tar.gz"]),
        (["val:7", "--output", "words.png/x"], ["--output", "words.png/x"]),
        (["val:7", "--weights", "other.pdparams"], ["other.pdparams", "rel_pos"]),
    ],
)
def test_a_users_mistake_is_one_line(home, monkeypatch, capsys, arguments, parts):
    with pytest.raises(SystemExit) as exit:
        show(home, monkeypatch, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)


@pytest.fixture(scope="module")
def seen(nano):
    """A model with two encoders per stage, observed over a picture."""
    paddle.seed(2)
    model = build_model("regionvit_micro_conv_32", num_classes=10, depth=(2, 2))
    x = paddle.to_tensor(np.random.RandomState(3).standard_normal([1, 3, 32, 32]).astype("float32"))
    maps = attention_maps(model, x)
    picture = np.random.RandomState(4).randint(0, 256, [32, 32, 3]).astype(np.uint8)
    rollouts = [rollout(model, maps, (32, 32), stage) for stage in range(2)]
    return Observed(picture, 32, np.full(10, 0.1, np.float32), maps, rollouts, patch=16)


def arguments(seen, encoder="last"):
    """Arguments of the figures for the region 0,1 of 2 x 2."""
    return seen.picture, seen.side, seen.at((0, 1), [encoder] * 2)


def drawn(figure):
    """The values laid over the picture in each panel that has some, in order."""
    meshes = [mesh for axes in figure.axes for mesh in axes.collections if isinstance(mesh, QuadMesh)]
    return [np.asarray(mesh.get_array()) for mesh in meshes if mesh.colorbar is not None]


def assert_drawn(figure, expected):
    assert len(drawn(figure)) == len(expected)
    for values, right in zip(drawn(figure), expected, strict=True):
        np.testing.assert_allclose(values, right, atol=1e-7)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rsa_figure_shows_the_regions_row(seen, encoder):
    maps = seen.maps
    weights = {"first": maps[0].regional[0], "last": maps[0].regional[1], "mean": maps[0].regional.mean(axis=0)}
    row = weights[encoder][0, :, 1].reshape(-1, 2, 2)
    assert_drawn(rsa_figure(*arguments(seen, encoder), False, ""), [row.mean(axis=0), np.ones([1, 1])])
    assert_drawn(rsa_figure(*arguments(seen, encoder), True, ""), [*row, np.ones([1, 1])])


def test_lsa_figure_shows_the_regional_and_the_mean_local_row_of_the_regions_window(seen):
    windows = [stage.local[-1, 0, region] for stage, region in zip(seen.maps, (1, 0), strict=True)]
    regional = [window[:, 0, 1:].reshape(-1, 4, 4) for window in windows]
    local = [window[:, 1:, 1:].mean(axis=1).reshape(-1, 4, 4) for window in windows]
    mean = [heads.mean(axis=0) for heads in (*regional, *local)]
    assert_drawn(lsa_figure(*arguments(seen), False, ""), mean)
    each = [head for pair in zip(regional, local, strict=True) for heads in pair for head in heads]
    figure = lsa_figure(*arguments(seen), True, "")
    assert_drawn(figure, each)
    titles = [axes.get_title() for axes in figure.axes]
    assert f"head 2: {100 * windows[1][1, 0, 0]:.0f} % regional" in titles


def test_rollout_figure_shows_the_mean_and_the_chosen_region(seen):
    shares = [each[0] for each in seen.rollouts]
    mean = [each.mean(axis=0) for each in shares]
    expected = [*mean, shares[0][1], shares[1][0]]
    assert_drawn(rollout_figure(*arguments(seen), mean, ""), [each * 32 * 32 for each in expected])


def test_names_of_classes_are_no_formulas(seen):
    assert not rsa_figure(*arguments(seen), False, "$\\frac{")._suptitle.get_parse_math()


@pytest.mark.slow
def test_a_window_that_is_all_padding_can_be_drawn(home, monkeypatch, tmp_path):
    """'1conv' makes no local token of a single last pixel, but the regions get a row and a column for it."""
    name = "regionvit_medium_224"
    small = {"embed_dim": (8, 8, 16, 32, 64), "depth": (1,) * 4, "num_heads": (1, 2, 2, 2)}
    monkeypatch.setitem(VARIANTS, name, {**VARIANTS[name], **small})
    paddle.save(build_model(name, num_classes=10).state_dict(), str(tmp_path / "w.pdparams"))
    show(
        home, monkeypatch, "val:7", "--region", "2,2", "--output", tmp_path / "figures",
        "-o", f"model.name={name}", "-o", "data.image_size=57", "-o", "model.padding_mask=exact",
        weights=tmp_path / "w.pdparams",
    )  # fmt: skip
    assert all(colours(tmp_path / "figures" / figure) > 100 for figure in FIGURES)
