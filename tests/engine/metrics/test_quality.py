import warnings

import matplotlib
import numpy as np
import pytest

from engine.figures.fonts import CJK, width
from engine.figures.predictions import (
    class_quality,
    confusion_matrix,
    picture_grid,
    reliability_diagram,
    short,
)
from engine.metrics.quality import Predictions

# Six pictures of three classes, worked out by hand below.
PROBABILITIES = np.float32(
    [
        [0.90, 0.05, 0.05],  # 0, right
        [0.30, 0.60, 0.10],  # 0, taken for 1
        [0.10, 0.80, 0.10],  # 1, right
        [0.70, 0.20, 0.10],  # 1, taken for 0
        [0.25, 0.65, 0.10],  # 1, right
        [0.95, 0.03, 0.02],  # 2, taken for 0
    ]
)
BY_HAND = Predictions(PROBABILITIES, np.array([0, 0, 1, 1, 1, 2]))


def test_the_confusion_matrix_is_the_one_worked_out_by_hand():
    assert BY_HAND.confusion().tolist() == [[1, 1, 0], [1, 2, 0], [1, 0, 0]]


def test_the_accuracy_of_the_confusion_matrix_is_the_share_of_correct_pictures():
    assert np.trace(BY_HAND.confusion()) / len(BY_HAND.labels) == BY_HAND.correct.mean() == 0.5


def test_precision_recall_and_f1_are_those_worked_out_by_hand():
    rows = [(of.precision, of.recall, of.f1, of.images) for of in BY_HAND.per_class()]
    assert rows[0] == pytest.approx((1 / 3, 1 / 2, 2 / 5, 2))
    assert rows[1] == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    assert rows[2] == (0, 0, 0, 1)  # never predicted: 0, and no warning


def test_the_calibration_error_is_the_one_worked_out_by_hand():
    """Four parts: none up to 0.5; 0.60, 0.70, 0.65 (one of three right); 0.90, 0.80, 0.95 (two of three right)."""
    calibration = BY_HAND.calibration(bins=4)
    assert calibration.images.tolist() == [0, 0, 3, 3]
    assert calibration.confidence.tolist() == pytest.approx([0, 0, 0.65, 2.65 / 3])
    assert calibration.accuracy.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3])
    assert calibration.error == pytest.approx((3 * (0.65 - 1 / 3) + 3 * (2.65 / 3 - 2 / 3)) / 6)


@pytest.mark.parametrize(("confidence", "part"), [(0.5, 1), (0.75, 2), (np.nextafter(0.75, 1), 3), (1.0, 3)])
def test_a_part_of_the_range_of_confidence_includes_its_upper_end(confidence, part):
    calibration = Predictions(np.array([[confidence, 1 - confidence]]), np.array([0])).calibration(bins=4)
    assert calibration.images.tolist() == [int(i == part) for i in range(4)]


def test_whoever_is_right_with_certainty_is_calibrated():
    assert Predictions(np.eye(3, dtype="float32"), np.arange(3)).calibration().error == 0


def test_mistakes_come_with_the_most_confident_first_and_are_mistakes():
    assert BY_HAND.mistakes(10).tolist() == [5, 3, 1]
    assert BY_HAND.mistakes(2).tolist() == [5, 3]


def test_a_class_without_pictures_has_its_row():
    nobody = Predictions(PROBABILITIES[:2], np.array([0, 0]))
    assert nobody.confusion().shape == (3, 3)
    assert [of.images for of in nobody.per_class()] == [2, 0, 0]


NAMES = ["cat", "dog", "a name too long to stand beside an axis"]


def test_the_figure_of_the_confusion_matrix_has_the_counts_in_their_places():
    axes = confusion_matrix(BY_HAND, None, NAMES).axes[0]
    shown = {text.get_position(): int(text.get_text()) for text in axes.texts}  # x: predicted, y: true
    assert shown == {(0, 0): 1, (1, 0): 1, (2, 0): 0, (0, 1): 1, (1, 1): 2, (2, 1): 0, (0, 2): 1, (1, 2): 0, (2, 2): 0}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "a name to…de an axis"]
    assert axes.get_ylabel() == "true class"


def test_the_figure_of_class_quality_names_each_bar_rightly():
    (axes,) = class_quality(BY_HAND, None, NAMES).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    widths = [bar.get_width() for bar in axes.patches]
    assert names == ["a name to…de an axis", "cat", "dog"]  # the worst at the bottom
    assert widths == pytest.approx([0, 2 / 5, 2 / 3])
    precision, recall = axes.get_lines()
    assert precision.get_xdata().tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert recall.get_xdata().tolist() == pytest.approx([0, 1 / 2, 2 / 3])
    assert not axes.texts


def test_a_class_without_pictures_has_a_dash_where_nothing_is_known():
    probabilities = np.float32([[0.1, 0.9, 0], [0.8, 0.2, 0]])
    (axes,) = class_quality(Predictions(probabilities, np.array([1, 1])), None, ["cat", "dog", "ant"]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["dog", "cat", "ant"]
    assert [(text.get_position()[1], text.get_text()) for text in axes.texts] == [
        (1, "– (no pictures)"),
        (2, "– (no pictures)"),
    ]
    assert [line.get_xdata().tolist() for line in axes.get_lines()] == [[1.0], [0.5]]


def many(classes):
    return Predictions(np.eye(classes, dtype="float32"), np.arange(classes)), None, [f"c {i}" for i in range(classes)]


def test_a_hundred_classes_have_their_names_but_no_room_for_numbers():
    for figure in (confusion_matrix, class_quality):
        axes = figure(*many(100)).axes[0]
        assert sorted(label.get_text() for label in axes.get_yticklabels()) == sorted(many(100)[2])
        assert axes.get_yticklabels()[0].get_fontsize() == 6
        assert not axes.texts


def test_of_more_classes_than_can_be_named_the_quality_of_the_worst_is_drawn_and_the_matrix_goes_by_numbers():
    predictions, _, classes = many(200)
    predictions.probabilities[70, [70, 90]] = 0, 1
    (axes,) = class_quality(predictions, None, classes).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c 70", "c 90", *classes[:23]]
    assert axes.get_title() == "The 25 of 200 classes with the worst F1"
    assert "by its number" in confusion_matrix(*many(200)).axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("name", "most", "shown"),
    [
        ("airplane", 14, "airplane"),
        ("cocker spaniel puppy", 14, "cocker…l puppy"),
        ("东北虎的幼崽", 14, "东北虎的幼崽"),
        ("英国可卡犬的一只小狗", 14, "英国可…只小狗"),
        ("a东北虎的幼崽b在睡觉", 14, "a东北…b在睡觉"),
    ],
)
def test_a_name_is_cut_to_its_width_which_of_chinese_is_twice_its_length(name, most, shown):
    assert short(name, most) == shown
    assert width(shown) <= most


def test_the_reliability_diagram_shows_accuracy_above_confidence():
    top, bottom = reliability_diagram(BY_HAND, None, NAMES).axes
    calibration = BY_HAND.calibration()
    assert [bar.get_height() for bar in top.patches] == calibration.accuracy.tolist()
    assert [bar.get_height() for bar in bottom.patches] == calibration.images.tolist()
    dots = top.get_lines()[1]
    some = calibration.images > 0
    assert dots.get_xdata().tolist() == calibration.confidence[some].tolist()
    assert dots.get_ydata().tolist() == calibration.accuracy[some].tolist()


def test_the_reliability_diagram_shows_what_was_before_the_temperature():
    logits = np.log(BY_HAND.probabilities + 1e-9)
    before = Predictions(BY_HAND.probabilities, BY_HAND.labels, logits)
    after = before.tempered(0.5)
    top, bottom = reliability_diagram(after, None, NAMES, before).axes
    assert [bar.get_height() for bar in top.patches] == after.calibration().accuracy.tolist()
    old, some = before.calibration(), before.calibration().images > 0
    (crosses,) = (line for line in top.get_lines() if line.get_label() == "before the temperature")
    assert crosses.get_xdata().tolist() == old.confidence[some].tolist()
    assert crosses.get_ydata().tolist() == old.accuracy[some].tolist()
    assert all(f"{which.calibration().error:.2%}" in top.get_title() for which in (before, after))
    (steps,) = (patch for patch in bottom.patches if hasattr(patch, "get_data"))
    assert steps.get_data().values.tolist() == old.images.tolist()


def test_class_names_in_chinese_are_drawn_where_a_font_has_them():
    if not set(CJK).intersection(matplotlib.rcParams["font.family"]):
        pytest.skip(f"none of {', '.join(CJK)} is installed")
    figure = picture_grid(np.zeros((2, 8, 8, 3), np.uint8), ["\u732b 90%", "\u72d7"])  # a cat and a dog
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a letter that no font has
        figure.canvas.draw()
