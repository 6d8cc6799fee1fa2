import itertools
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from PIL import Image

from engine.figures import architecture as drawing, fonts
from engine.figures.architecture import DPI, WIDTH, architecture_figure, followed
from engine.figures.architecture_words import LANGUAGES, WORDS
from engine.figures.sheet import FINGERPRINT, as_small_png, drawn, fingerprint
from models import VARIANTS, build_model
from models.architecture import measure
from tests.support.errors import one_line_about, refuses
from tests.support.models import without_random_values
from tests.support.reference import free_model, unfilled
from tests.support.scripts import TOOLS, tool

ROOT = TOOLS.parent
MICRO = ROOT / "configs" / "micro_cifar10.yaml"
COMMITTED = {"en": "architecture_tiny.png", "zh": "architecture_tiny_zh.png"}
READABLE = {"en", *(("zh",) if not fonts.lacking("".join(WORDS["zh"].values())) else ())}
STEMS = {
    "3conv": "3 convolutions, 3 × 3, strides 2, 2, 1",
    "4conv": "4 convolutions, 3 × 3, strides 2, 1, 2, 1",
    "1conv": "1 convolution, 8 × 8, stride 4",
}


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.fixture(scope="module", params=VARIANTS)
def measured(request):
    """The name of each variant, and its numbers at its size."""
    side = VARIANTS[request.param]["img_size"]
    return request.param, measure(unfilled(request.param), side, side)


def test_numbers_are_those_of_the_variants_table(measured):
    name, architecture = measured
    row, found = VARIANTS[name], texts(architecture_figure(architecture, name, "en"))
    ws, side, dim = row["kernel_sizes"][0], row["img_size"], row["embed_dim"][0]
    tokens, regions = side // 4, side // 4 // ws
    assert STEMS[row["patch_conv_type"]] in found
    assert f"1 convolution, {4 * ws} × {4 * ws}, stride {4 * ws}" in found
    for words, count, pixels in (("local", tokens, 4), ("regional", regions, 4 * ws)):
        assert f"{count} × {count} {words} tokens" in found
        assert f"one per {pixels} × {pixels} pixels" in found
        assert f"[1, {dim}, {count}, {count}]" in found
    for i, (channels, heads, depth) in enumerate(
        zip(row["embed_dim"][1:], row["num_heads"], row["depth"], strict=True)
    ):
        assert f"{channels} channels, {heads} heads" in found
        assert f"{tokens // 2**i} × {tokens // 2**i} local" in found
        assert f"{max(1, regions // 2**i)} × {max(1, regions // 2**i)} regional" in found
        assert f"{depth} × encoder" in found
    assert found.count("PEG after the first") == row["peg"] * len(row["depth"])
    assert found.count("sides ÷ 2") == len(row["depth"]) - 1
    assert ("(padded to 14 × 14)" in found) == (ws == 14)
    assert f"{ws**2} local tokens" in found
    for shape in ([1, regions**2, dim], [regions**2, 1 + ws**2, dim], [regions**2, ws**2, dim], [1, 10]):
        assert str(shape) in found
    assert f"{dim} → {4 * dim} → {dim}" in found


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_words_lie_over_others_or_outside(measured, language):
    if language not in READABLE:
        pytest.skip("no installed font has the letters")
    name, architecture = measured
    assert_legible(architecture_figure(architecture, name, language))


@pytest.mark.parametrize(
    ("size", "overrides"),
    [
        ((50, 75), {}),
        ((33, 33), {"peg": True}),
        ((224, 224), {"num_classes": 0}),
        ((64, 64), {"in_chans": 1, "patch_size": 2, "patch_conv_type": "linear"}),
        (
            (96, 96),
            {
                "embed_dim": [16] * 4 + [32, 64, 128],
                "depth": [1] * 6,
                "num_heads": [1] * 6,
                "kernel_sizes": [4] * 6,
                "downsampling": ["c", "c", "c", "sc", "sc", "sc"],
            },
        ),
    ],
    ids=lambda each: "-".join(map(str, each)),
)
def test_other_sizes_and_models_are_drawn(size, overrides):
    figure = architecture_figure(measure(free_model(**overrides), *size), "regionvit", "en")
    assert_legible(figure)
    assert ("no head" in texts(figure)) == (overrides.get("num_classes") == 0)
    assert any(text.endswith(f"{size[0]} × {size[1]}") for text in texts(figure))


def assert_legible(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in figure.axes[0].texts]
    for words, box in boxes:
        assert 0 <= box.x0 < box.x1 <= WIDTH * DPI, words
        assert 0 <= box.y0 < box.y1 <= figure.get_figheight() * DPI, words
    for (words, box), (others, other) in itertools.combinations(boxes, 2):
        over_x = min(box.x1, other.x1) - max(box.x0, other.x0)
        over_y = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert over_x <= 0 or over_y <= 2, f"{words!r} lies over {others!r}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_committed_figures_show_what_the_code_draws(language):
    """After a change run tools/show_architecture.py as docs/en/study.md says."""
    if language not in READABLE:
        pytest.skip("no installed font has the letters")
    figure = architecture_figure(measure(unfilled("regionvit_tiny_224"), 224, 224), "regionvit_tiny_224", language)
    file = ROOT / "docs" / "images" / COMMITTED[language]
    assert file.stat().st_size < 150_000
    with Image.open(file) as picture:
        assert picture.text[FINGERPRINT] == fingerprint(figure)


def test_a_fingerprint_knows_words_and_shapes():
    architecture = measure(free_model(), 64, 64)
    same, figure = (architecture_figure(architecture, "a", "en") for _ in range(2))
    assert fingerprint(same) == fingerprint(figure)
    kinds = {line.split()[0] for line in drawn(figure)}
    assert kinds == {"size", "text", "line", "shape"}
    found = {fingerprint(architecture_figure(architecture, "b", "en"))}
    figure.axes[0].patches[0].set_x(0.9)
    found.add(fingerprint(figure))
    figure.axes[0].collections[0].set_segments([[(0, 0), (1, 1)]])
    found.add(fingerprint(figure))
    assert len(found - {fingerprint(same)}) == 3


@pytest.mark.parametrize("side", [224, 225, 257, 300])
def test_the_marked_region_contains_the_one_of_the_stage_before(side):
    model = free_model(num_classes=0)
    architecture = measure(model, side, side)
    pixels = [28 * 2**i for i in range(4)]  # the side of a window
    for (places, stage, size), (later, _, larger) in itertools.pairwise(
        zip(followed(architecture), architecture.stages, pixels, strict=True)
    ):
        for at, then, count in zip(places, later, stage.regional, strict=True):
            assert 0 <= at < count
            assert then * larger <= at * size < (at + 1) * size <= (then + 1) * larger


@pytest.mark.parametrize(
    ("side", "patch", "window"),
    [(224, 28, 28), (32, 32 - 16, 32 - 28), (225, 28, 28), (36, 36 - 18, 36 - 28)],  # pixels of it in the picture
)
def test_a_region_is_shown_with_its_patch_and_its_window_and_padding_is_gray(side, patch, window):
    figure = architecture_figure(measure(free_model(num_classes=0), side, side), "regionvit", "en")
    shapes = [each for each in figure.axes[0].patches if isinstance(each, Rectangle)]
    skies = [each for each in shapes if each.get_facecolor() == to_rgba(drawing.SKY)]
    gray = [each for each in shapes if each.get_facecolor() == to_rgba(drawing.PADDING)]
    shown = [28 * each.get_height() / 1.15 for each in skies[2:]]  # after the whole picture, twice
    assert shown == pytest.approx([patch, window])
    assert len(gray) == (patch < 28) + (window < 28)
    assert ("padding (gray) sets them apart" in texts(figure)) == (side % 28 > 0)


def test_both_languages_have_the_same_words_with_the_same_numbers():
    def places(text):
        return sorted(part.split("}")[0] for part in text.split("{")[1:])

    english, chinese = WORDS["en"], WORDS["zh"]
    assert english.keys() == chinese.keys()
    assert {key: places(text) for key, text in english.items()} == {key: places(text) for key, text in chinese.items()}


def test_without_a_font_chinese_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(fonts.matplotlib.rcParams, "font.family", ["DejaVu Sans"])
    with refuses(key="--language", value="zh"):
        architecture_figure(measure(free_model(), 64, 64), "regionvit", "zh")
    assert drawing.lacking("abc × ÷ →") == ""


def test_the_tool_writes_the_figure_and_its_fingerprint(tmp_path, monkeypatch, capsys):
    file = tmp_path / "new" / "micro.png"
    with without_random_values():
        tool(monkeypatch, "show_architecture.py", "-c", MICRO, "-o", "model.num_classes=7", "--output", file)
        model = build_model("regionvit_micro_conv_32", num_classes=7)
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {file}"
    figure = architecture_figure(measure(model, 32, 32), "regionvit_micro_conv_32", "en")
    with Image.open(file) as picture:
        assert picture.text[FINGERPRINT] == fingerprint(figure)
        assert picture.width == WIDTH * DPI
    assert len(as_small_png(figure)) < 150_000


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--language", "fr"], ["--language", "fr"]),
        (["--output", "a.jpg"], ["--output", "a.jpg", ".png"]),
        (["--output", "file/a.png"], ["--output", "file"]),
        (["--output", "folder.png"], ["--output", "folder.png"]),
    ],
    ids=lambda each: each[-1],
)
def test_the_tool_refuses_in_one_line(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder.png").mkdir()
    with pytest.raises(SystemExit) as exit, without_random_values():
        tool(monkeypatch, "show_architecture.py", "-c", MICRO, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *named)
