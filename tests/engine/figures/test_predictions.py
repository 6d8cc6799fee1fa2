import numpy as np

from engine.figures.predictions import OF_PREDICTIONS, ON_A_PHONE, mistakes_grid, prediction_grid
from engine.metrics.quality import Predictions

MARKED = Predictions(np.float32([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), np.array([0, 0, 1]))


def test_the_grid_marks_wrong_predictions():
    figure = prediction_grid(MARKED, np.zeros([3, 8, 8, 3], np.uint8), ["cat", "dog"])
    assert not any(axes.title.get_parse_math() for axes in figure.axes)  # a class may be named $\\frac{
    titles = [(axes.get_title(), axes.title.get_color()) for axes in figure.axes]
    assert titles == [("✓ cat\n(true: cat)", "green"), ("✗ dog\n(true: cat)", "red"), ("✓ dog\n(true: dog)", "green")]


def test_a_figure_is_no_wider_than_letters_stay_readable_on_a_phone():
    """358 CSS pixels: a screen of 390 without its margins, at 72 pixels per inch."""
    images, classes = np.zeros([3, 8, 8, 3], np.uint8), [f"class {i}" for i in range(10)]
    ten = Predictions(np.eye(10, dtype=np.float32)[[3, 1, 4]], np.array([3, 1, 5]))
    drawn = {**OF_PREDICTIONS, **ON_A_PHONE}
    assert set(drawn) == set(OF_PREDICTIONS)
    for name, draw in drawn.items():
        assert 72 * draw(ten, images, classes).get_figwidth() <= 358, name


def test_the_mistakes_are_drawn_with_their_pictures_and_confidence():
    images = np.zeros([3, 8, 8, 3], np.uint8)
    images[1] = 77
    (axes,) = mistakes_grid(MARKED, images, ["cat", "dog"]).axes
    assert axes.get_title() == "dog 80.0%\n(true: cat)"
    assert (axes.images[0].get_array() == 77).all()
    assert (
        "no mistakes in 1 picture"
        in mistakes_grid(Predictions(MARKED.probabilities[:1], MARKED.labels[:1]), images[:1], ["cat", "dog"])
        .texts[0]
        .get_text()
    )
