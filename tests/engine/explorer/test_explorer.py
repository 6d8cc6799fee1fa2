"""What the explorer computes is what tools/predict.py and tools/show_attention.py say."""

import re
import shutil
import threading
from dataclasses import fields
from html import unescape

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from data import pictures
from data.pictures import PictureError
from engine.explorer import html
from engine.explorer.explorer import (
    Explorer,
    numbers,
    read_number,
    read_region,
    region_at,
    same_region,
)
from engine.explorer.words import ENGLISH, LANGUAGES
from engine.figures.overlays import FADED, OPACITY, OUTSIDE, Panel, as_pixels
from engine.inference import attention
from engine.inference.predict import predict
from engine.inference.trained import find, load
from engine.weights.temperature import write_note
from models.attended import Attended, InWindow, Place
from tests.support import archives, odd_pictures
from tests.support.drawing import blank_figures
from tests.support.errors import refuses
from tests.support.pictures import pictures as natural
from tests.support.scripts import tool
from tests.support.trained import write_run

pytestmark = pytest.mark.usefixtures("nano")
ODD = "<img src=x onerror=alert(1)> & {0} ${1}"  # a class may be named anything


@pytest.fixture(scope="module")
def home(nano, tmp_path_factory):
    """Two runs over one archive, whose first class has an odd name; the other's model sees 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("home")
    names = [name.encode() for name in [ODD, *archives.CLASSES[1:]]]
    archive = archives.write(
        folder / "cifar.tar.gz", archives.members(20, 12, **{"batches.meta": {b"label_names": names}})
    )
    write_run(folder / "run", archive)
    write_run(folder / "other", archive, "data.image_size=64")
    return folder


def loaded(folder, *overrides):
    return load(*find(folder / "best_model.pdparams", None, overrides)[:2])


@pytest.fixture(scope="module")
def explorer(home):
    return Explorer([loaded(home / "run"), loaded(home / "other")])


def test_every_format_has_predicts_probabilities(explorer, tmp_path):
    files = odd_pictures.write(tmp_path, np.kron(natural(1)[0, :, 4:28], np.ones((3, 3, 1), np.uint8)))
    for file, answer in zip(files, predict(explorer.models[0], files, explorer.classes[0]), strict=True):
        ours = explorer.top(explorer.look(file))[0]
        assert [name for name, _ in ours] == [guess["class"] for guess in answer.top]
        theirs = [guess["probability"] for guess in answer.top]
        np.testing.assert_allclose([share for _, share in ours], theirs, rtol=0, atol=1e-6, err_msg=file.name)


def test_a_validation_picture_has_its_label_and_both_models_answers(explorer):
    seen = explorer.look("val:3")
    assert (seen.name, seen.label) == ("val:3", archives.CLASSES[3])
    for model, observed, top in zip(explorer.models, seen.observed, explorer.top(seen), strict=True):
        expected = model.probabilities(model.picture("val:3")[None])[0]
        np.testing.assert_allclose(observed.probabilities, expected, rtol=0, atol=1e-6)
        assert top[0][1] == pytest.approx(expected.max(), abs=1e-6)


def test_the_attention_is_that_of_show_attention(explorer, monkeypatch, tmp_path):
    drawn = []
    with blank_figures():
        monkeypatch.setattr(attention, "rsa_figure", lambda picture, side, stages, *_: drawn.extend(stages) or Figure())
        attention.show_attention(explorer.models[0], "val:3", tmp_path, (0, 1))
    for ours, theirs in zip(explorer.look("val:3").observed[0].at((0, 1), [0, "mean"]), drawn, strict=True):
        np.testing.assert_array_equal(ours.rsa, theirs.rsa)  # these stages have one encoder
        np.testing.assert_array_equal(ours.rollout, theirs.rollout)
        for query in ("regional", "local"):
            np.testing.assert_array_equal(getattr(ours, query).local, getattr(theirs, query).local)
            np.testing.assert_array_equal(getattr(ours, query).regional, getattr(theirs, query).regional)


def test_numbers_of_a_stage_by_hand():
    rsa = np.array([[[0.1, 0.2], [0.3, 0.4]], [[0.7, 0.1], [0.1, 0.1]]])
    shares = InWindow(np.zeros([2, 2, 2]), np.array([0.2, 0.6]))
    local = InWindow(np.zeros([2, 2, 2]), np.array([0.1, 0.3]))
    rollout = np.full([4, 4], 0.05)
    rollout[2:, :2] = 0.075
    stage = Attended(Place((1, 0), np.array([0, 2, 4]), 1), rsa, shares, local, rollout)
    told = numbers(stage, 0)
    assert (told.most, told.most_share, told.own) == ((1, 1), 0.4, 0.3)
    assert (told.regional, told.local) == (0.2, 0.1)
    assert (told.inside, told.padding) == pytest.approx((0.3, 0.1))
    mean = numbers(stage, None)
    assert mean.most == (0, 0)
    assert (mean.most_share, mean.own, mean.regional, mean.local) == pytest.approx((0.4, 0.2, 0.4, 0.2))


@pytest.mark.parametrize("head", ["mean", 0, 1])
def test_the_page_says_these_numbers(explorer, head):
    observed = explorer.look("val:5").observed[0]
    for stage in observed.at((1, 0), [0, 0]):
        heads = len(stage.rsa)
        if head != "mean" and head >= heads:
            continue
        told = numbers(stage, None if head == "mean" else head)
        text = re.sub("<[^>]*>", " ", html.stage(observed, stage, head, ENGLISH))
        for share in (told.regional, told.local, told.inside):
            assert f"{share:.2%}" in text
        if stage.rsa[0].size > 1:
            assert f"region {told.most[0]},{told.most[1]} ({told.most_share:.2%}), {told.own:.2%}" in text


def test_names_are_text_in_the_page(explorer):
    seen = explorer.look("val:0")
    assert seen.label == ODD
    for part in (html.line(html.name(seen, ENGLISH)), html.top(explorer, seen, ENGLISH)):
        assert "<img" not in part
    assert ODD in unescape(html.line(html.name(seen, ENGLISH)))


def test_a_point_is_a_column_and_a_row(explorer):
    _, large = explorer.first  # 4 x 4 regions
    points = {(0.99, 0): (0, 3), (0, 0.99): (3, 0), (0.3, 0.6): (2, 1), (1, 1): (3, 3), (-1, 2): (3, 0)}
    assert {point: region_at(large, *point) for point in points} == points


def test_the_other_models_region_holds_the_middle_of_the_firsts(explorer):
    small, large = explorer.first  # 2 x 2 and 4 x 4 regions
    assert same_region(large, (3, 1), small) == (1, 0)
    assert same_region(small, (0, 0), small) == (0, 0)
    assert same_region(small, (1, 0), large) == (3, 1)  # the middle is a corner: the region below and right of it


@pytest.mark.parametrize("text", ["", "1", "2,0", "0,2", "-1,0", "a,b", "1,1,1", "9999999999,0"])
def test_a_region_that_is_none_is_refused(explorer, text):
    with refuses(key="region"):
        read_region(text, explorer.first[0])


def test_a_typed_region_and_number_are_read(explorer):
    assert read_region(" 1 , 0 ", explorer.first[0]) == (1, 0)
    assert read_number(" 011 ", explorer.pictures) == "val:11"


@pytest.mark.parametrize("text", ["", "12", "-1", "1.5", "cat", "１", "9" * 20])
def test_a_number_that_is_none_is_refused(explorer, text):
    with refuses(key="picture"):
        read_number(text, explorer.pictures)


def test_a_bad_picture_is_named_without_its_folder_and_the_next_one_is_seen(explorer, tmp_path):
    for name, content in (("words.png", b"words"), ("empty.jpg", b""), ("cut.png", None)):
        file = tmp_path / name
        if content is None:
            odd_pictures.write(tmp_path, natural(1)[0])
            content = (tmp_path / "palette.png").read_bytes()[:-40]
        file.write_bytes(content)
        with refuses(PictureError, place=file) as caught:
            explorer.look(file)
        assert str(caught.value).startswith(f"{name}: ")
        assert str(tmp_path) not in str(caught.value)
    assert explorer.look("val:1").label == archives.CLASSES[1]


def test_classes_of_other_names_are_named_and_another_order_is_not_minded(home, explorer, monkeypatch):
    one, other = explorer.models
    names = [*explorer.classes[0][1:], explorer.classes[0][0]]
    monkeypatch.setattr(
        type(other), "class_names", lambda self: (names if self is other else explorer.classes[0], None)
    )
    turned = Explorer([one, other])
    tops = turned.top(turned.look("val:2"))
    assert tops[1][0][0] == names[int(turned.look("val:2").observed[1].probabilities.argmax())]
    names[0] = "zebra"
    with refuses(key="--compare", value=str(other.weights)) as caught:
        Explorer([one, other])
    assert "zebra" in str(caught.value)
    assert archives.CLASSES[1] in str(caught.value)


def test_without_data_files_are_seen_and_it_says_why_numbers_are_not(home, tmp_path):
    explorer = Explorer([loaded(home / "run", f"data.file={tmp_path / 'none.tar.gz'}")])
    assert explorer.pictures == 0
    assert "none.tar.gz" in explorer.no_pictures
    files = odd_pictures.write(tmp_path, natural(1)[0])
    assert len(explorer.top(explorer.look(files[0]))[0]) == 5


def test_a_noted_temperature_is_used_and_said(home, explorer, tmp_path):
    for name in ("best_model.pdparams", "config.yaml", "environment.json"):
        shutil.copy(home / "run" / name, tmp_path)
    plain = explorer.models[0]
    write_note(tmp_path / "best_model.pdparams", 0.25, plain.sha256, 20, "held-out training pictures")
    calibrated = Explorer([loaded(tmp_path)])
    logits = np.log(explorer.look("val:3").observed[0].probabilities.astype("float64")) / 0.25
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(calibrated.look("val:3").observed[0].probabilities, expected, rtol=0, atol=1e-6)
    assert "temperature: 0.2500" in html.head(calibrated, ENGLISH)
    assert "temperature" not in html.head(explorer, ENGLISH)


def test_many_at_once_get_what_one_gets(explorer):
    alone = [explorer.look(f"val:{i}").observed for i in range(4)]
    found = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: explorer.look(f"val:{i}")})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, expected in enumerate(alone):
        for ours, right in zip(found[i].observed, expected, strict=True):
            np.testing.assert_array_equal(ours.probabilities, right.probabilities)
            np.testing.assert_array_equal(ours.maps[0].regional, right.maps[0].regional)


def test_a_panel_shows_its_values_over_the_faded_picture():
    picture = np.full([4, 4, 3], 100, np.uint8)
    values = np.array([[0.0, 0.5], [1.0, 0.25]])
    drawn = as_pixels(Panel("", values, [np.array([0, 2, 4])] * 2, top=1.0), picture, 4, 8)
    gray = 255 * (100 - FADED[0]) / (FADED[1] - FADED[0])
    for i in range(2):
        for j in range(2):
            color = OPACITY * 255 * np.array(colormaps["viridis"](values[i, j])[:3]) + (1 - OPACITY) * gray
            np.testing.assert_allclose(
                drawn[4 * i : 4 * i + 4, 4 * j : 4 * j + 4], np.broadcast_to(color, [4, 4, 3]), atol=1
            )


def test_a_panel_shows_padding_gray_and_outlines_its_box():
    picture = np.zeros([4, 4, 3], np.uint8)
    half = as_pixels(Panel("", view=[np.array([2, 4]), np.array([2, 6])]), picture, 4, 8)
    assert not half[:, :4].any()
    assert (half[:, 4:] == OUTSIDE).all()
    drawn = as_pixels(Panel("", box=[np.array([0, 2]), np.array([2, 4])]), picture, 4, 64)
    assert (drawn[1, 40] == 255).all()
    assert not drawn[40:, :28].any()


def test_the_clickable_picture_shows_the_pixels_and_outlines_the_region(explorer):
    seen = explorer.look("val:4")
    drawn = html.picture(seen.observed[0], (1, 0))
    assert drawn.shape == (html.PICTURE, html.PICTURE, 3)
    image = seen.observed[0].picture
    np.testing.assert_array_equal(drawn[100, 400], image[100 * 32 // html.PICTURE, 400 * 32 // html.PICTURE])
    changed = (drawn != html.picture(seen.observed[0], (0, 1))).any(axis=2)
    assert changed[:220, 230:].any()
    assert changed[230:, :220].any()


def test_pictures_of_another_side_come_from_the_file_itself(home, tmp_path, monkeypatch):
    """The second model gets the file reduced to its own side, not what the first one made of it."""
    files = odd_pictures.write(tmp_path, np.kron(natural(1)[0], np.ones((2, 2, 1), np.uint8)))
    one, other = loaded(home / "run"), loaded(home / "other")
    monkeypatch.setattr("engine.config.build.side", lambda config: 64 if config is other.config else 32)
    seen = Explorer([one, other]).look(files[0])
    np.testing.assert_array_equal(seen.observed[1].picture, pictures.to_side(pictures.read(files[0]), 64))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_fills_in_the_same(language):
    def blanks(text):
        return sorted(re.findall(r"{\w*}", " ".join(text) if isinstance(text, tuple) else text))

    for field in fields(ENGLISH):
        ours, right = (getattr(words, field.name) for words in (LANGUAGES[language], ENGLISH))
        assert ours
        assert blanks(ours) == blanks(right), field.name


def test_the_tool_offers_every_language(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        tool(monkeypatch, "explore.py", "--help")
    assert f"--language {{{','.join(LANGUAGES)}}}" in capsys.readouterr().out
