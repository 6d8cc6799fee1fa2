import itertools
import random
import re
import runpy
import threading
import time
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import paddle
import pytest
from paddle.vision.transforms import functional as V
from scipy import stats

import data
from data import augment, erasing, fast, host, randaugment
from data.augment import BRIGHTNESS, CONTRAST, SATURATION, Params
from data.epoch import AS_THE_NOTEBOOK
from data.normalise import normalise, unnormalise
from engine.config import build
from engine.config.load import load_config
from engine.figures.augmentation import describe, draw_epochs
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.errors import one_line_about, refuses
from tests.support.notebook import training_transform
from tests.support.pictures import pictures, split

DRAWS = 20_000
APPLIERS = ["cv2", "ops"]
CONFIG = Path(__file__).parents[2] / "configs" / "tiny_cifar10.yaml"


def apply(applier, images, params, size):
    """Augment by name: -> uint8 [n, size, size, 3]."""
    if applier == "cv2":
        return augment.apply_cv2(images, params, size)
    return unnormalise(augment.apply_ops(paddle.to_tensor(images), params.upload(), size).numpy())


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int)).mean()


@pytest.fixture(scope="module")
def drawn_by_paddle():
    """The draws of the notebook's transforms, without the pictures."""
    draws = {"box": [], "order": [], BRIGHTNESS: [], CONTRAST: [], SATURATION: [], "flip": [], "angle": []}
    uniform, saturate = np.random.uniform, V.adjust_saturation
    image, pixel = np.zeros((32, 32, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)
    order, last = [], []

    def crop(image, *box):
        draws["box"].append(box)
        order.clear()
        draws["flip"].append(False)
        return image

    def adjust(kind):
        def record(image, factor):
            order.append(kind)
            if kind == SATURATION:
                saturate(pixel, factor)  # draws again
                factor = last[0]
            draws[kind].append(factor)
            return image

        return record

    def draw(*bounds):
        last[:] = [uniform(*bounds)]
        return last[0]

    def flip(image):
        draws["flip"][-1] = True
        return image

    def rotate(image, angle, *_):
        draws["order"].append(tuple(order))
        draws["angle"].append(angle)
        return image

    transforms = training_transform(224).transforms
    random.seed(0)
    np.random.seed(0)
    with (
        mock.patch.object(V, "crop", crop),
        mock.patch.object(V, "resize", lambda image, *_: image),
        mock.patch.object(V, "adjust_brightness", adjust(BRIGHTNESS)),
        mock.patch.object(V, "adjust_contrast", adjust(CONTRAST)),
        mock.patch.object(V, "adjust_saturation", adjust(SATURATION)),
        mock.patch.object(V, "hflip", flip),
        mock.patch.object(V, "rotate", rotate),
        mock.patch.object(np.random, "uniform", draw),
    ):
        for _ in range(DRAWS):
            result = image
            for transform in transforms:
                result = transform(result)
    return draws


@pytest.fixture(scope="module")
def sampled():
    return augment.sample(np.random.default_rng(0), DRAWS)


def test_a_seed_draws_the_notebooks_parameters_of_older_runs_on_every_paddle(drawn_by_paddle):
    """Of three pictures. Their pixels depend on OpenCV's version too."""
    first = {name: values[:3] for name, values in drawn_by_paddle.items()}
    assert first["box"] == [(3, 1, 27, 31), (0, 4, 30, 28), (2, 0, 25, 32)]
    assert first["order"] == [(2, 1, 0), (2, 0, 1), (1, 2, 0)]
    assert first["flip"] == [True, False, True]
    assert first[BRIGHTNESS] == pytest.approx([0.921325090, 1.047347599, 0.988857086])
    assert first[CONTRAST] == pytest.approx([1.113519436, 0.900202537, 1.159535315])
    assert first[SATURATION] == pytest.approx([1.197711321, 1.357877198, 1.998244906])
    assert first["angle"] == pytest.approx([3.335281578, 19.311419042, -2.633126582])


@pytest.mark.parametrize(
    "quantity", ["top", "left", "height", "width", "brightness", "contrast", "saturation", "angle"]
)
def test_each_quantity_is_distributed_as_paddle_vision_draws_it(drawn_by_paddle, sampled, quantity):
    if quantity in (box := ["top", "left", "height", "width"]):
        ours = sampled.box[:, box.index(quantity)]
        theirs = np.array(drawn_by_paddle["box"])[:, box.index(quantity)]
    elif quantity == "angle":
        ours, theirs = sampled.angle, drawn_by_paddle["angle"]
    else:
        kind = ["brightness", "contrast", "saturation"].index(quantity)
        ours, theirs = sampled.factor[:, kind], drawn_by_paddle[kind]
    assert len(ours) == len(theirs) == DRAWS
    assert stats.ks_2samp(ours, theirs).pvalue > 0.01


@pytest.mark.parametrize("pair", [("height", "width"), ("top", "height"), ("left", "width")], ids="-".join)
def test_pairs_of_a_boxs_numbers_are_as_frequent_as_in_paddle_vision(drawn_by_paddle, sampled, pair):
    first, second = (["top", "left", "height", "width"].index(name) for name in pair)
    tables = []
    for boxes in (sampled.box, np.array(drawn_by_paddle["box"])):
        tables.append(np.bincount(boxes[:, first] * 33 + boxes[:, second], minlength=33 * 33))
    often = sum(tables) > 20
    assert stats.chi2_contingency(np.stack(tables)[:, often]).pvalue > 0.01


def test_flip_and_the_orders_of_jitter_are_as_frequent_as_in_paddle_vision(drawn_by_paddle, sampled):
    orders = list(itertools.permutations(range(3)))
    ours = [(sampled.order == order).all(axis=1).sum() for order in orders]
    theirs = [drawn_by_paddle["order"].count(order) for order in orders]
    assert sum(ours) == sum(theirs) == DRAWS
    assert stats.chi2_contingency([ours, theirs]).pvalue > 0.01
    flips = sampled.flip.sum(), sum(drawn_by_paddle["flip"])
    assert stats.chi2_contingency([flips, [DRAWS - flips[0], DRAWS - flips[1]]]).pvalue > 0.01


@pytest.mark.parametrize(("height", "width"), [(32, 96), (96, 32), (16, 16), (40, 48)])
def test_boxes_lie_inside_pictures_of_any_shape_and_fall_back_to_paddles_middle(height, width):
    boxes = augment.sample(np.random.default_rng(0), 500, height, width).box
    top, left, h, w = boxes.T
    assert (boxes >= 0).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()
    if max(height, width) > 2 * min(height, width):  # no crop of 60% has a ratio of 4 to 3 at most
        crop = training_transform(224).transforms[0]
        expected = crop._dynamic_get_param(np.zeros((height, width, 3), np.uint8))
        assert {tuple(box) for box in boxes.tolist()} == {tuple(expected)}


@pytest.mark.parametrize("size", [32, 41, 224])
@pytest.mark.parametrize("applier", APPLIERS)
def test_each_applier_makes_paddle_visions_pictures_of_the_same_parameters(applier, size):
    images, params = pictures(24), augment.sample(np.random.default_rng(5), 24)
    expected = augment.apply_vision(images, params, size)
    made = apply(applier, images, params, size)
    assert made.shape == (24, size, size, 3)
    assert difference(made, expected) < {"cv2": 0.8, "ops": 0.3}[applier]
    assert abs(made.mean() - expected.mean()) < 0.2  # neither darker nor brighter


def neutral(n=8):
    """Parameters that change nothing but the size."""
    return Params(
        box=np.tile([0, 0, 32, 32], (n, 1)),
        order=np.tile([0, 1, 2], (n, 1)),
        factor=np.ones((n, 3), np.float32),
        flip=np.zeros(n, bool),
        angle=np.zeros(n, np.float32),
    )


def extreme(name):
    params = neutral()
    n = len(params)
    changes = {
        "nothing at all": {},
        "flip": {"flip": np.ones(n, bool)},
        "rotation to the left": {"angle": np.full(n, 20.0, np.float32)},
        "rotation to the right and flip": {"angle": np.full(n, -20.0, np.float32), "flip": np.ones(n, bool)},
        "crop at a corner": {"box": np.tile([10, 9, 22, 23], (n, 1))},
        "narrow crop and flip": {"box": np.tile([3, 4, 21, 28], (n, 1)), "flip": np.ones(n, bool)},
        "dark and gray": {"factor": np.tile(np.float32([0.8, 0.8, 0]), (n, 1))},
        "saturation first": {
            "order": np.tile([2, 0, 1], (n, 1)),
            "factor": np.tile(np.float32([1.2, 0.8, 0.1]), (n, 1)),
        },
        "saturation between": {
            "order": np.tile([1, 2, 0], (n, 1)),
            "factor": np.tile(np.float32([1.2, 1.2, 1.3]), (n, 1)),
        },
        "contrast before brightness": {
            "order": np.tile([1, 0, 2], (n, 1)),
            "factor": np.tile(np.float32([0.8, 1.2, 1.0]), (n, 1)),
        },
    }
    return Params(**{**vars(params), **changes[name]}) if name in changes else list(changes)


@pytest.mark.parametrize("name", extreme(None))
@pytest.mark.parametrize("applier", APPLIERS)
def test_extreme_parameters_make_paddle_visions_pictures_too(applier, name):
    images, params = pictures(8), extreme(name)
    assert difference(apply(applier, images, params, 224), augment.apply_vision(images, params, 224)) < 1


@pytest.mark.parametrize("applier", APPLIERS)
def test_neutral_parameters_leave_a_picture_of_the_right_size_as_it_is(applier):
    images = pictures(8)
    np.testing.assert_array_equal(apply(applier, images, neutral(), 32), images)


@pytest.mark.parametrize("size", [32, 40])
@pytest.mark.parametrize(("pipeline", "on_device"), [("host", False), ("fast", False), ("fast", True)])
def test_with_every_part_off_training_sees_a_picture_as_validation_does(pipeline, on_device, size):
    off = data.Augmentation(crop=1, jitter=0, rotation=0, flip=0)
    train = loader(pipeline=pipeline, on_device=on_device, size=size, augmentation=off, batch_size=20)
    val = data.build_eval_loader(split(), batch_size=20, image_size=size, num_workers=0, pipeline=pipeline)
    images, _ = batches(train, 3)
    order = [index for batch in train.batch_sampler for _, index in batch]
    expected = unnormalise(np.concatenate([x.numpy() for x, _ in val]))[order]
    distance = np.abs(unnormalise(images).astype(int) - expected)
    assert distance.max() <= (0 if size == 32 or pipeline == "host" else 1)


def test_each_part_can_be_switched_off_alone():
    def drawn(**strength):
        return augment.sample(np.random.default_rng(0), 200, augmentation=data.Augmentation(**strength))

    assert (drawn(crop=1).box == [0, 0, 32, 32]).all()
    assert (drawn(jitter=0).factor == 1).all()
    assert (drawn(rotation=0).angle == 0).all()
    assert not drawn(flip=0).flip.any()
    assert drawn(flip=1).flip.all()


def test_the_probability_of_a_flip_changes_nothing_else_that_is_drawn():
    few, often = (
        augment.sample(np.random.default_rng(0), DRAWS, augmentation=data.Augmentation(flip=flip))
        for flip in (0.1, 0.5)
    )
    assert few.flip.mean() == pytest.approx(0.1, abs=0.01)
    assert not (few.flip & ~often.flip).any()
    for name in ("box", "order", "factor", "angle"):
        np.testing.assert_array_equal(getattr(few, name), getattr(often, name))


def test_the_factor_of_saturation_lies_where_the_options_page_says(sampled):
    low, high = sampled.factor.min(axis=0), sampled.factor.max(axis=0)
    assert low == pytest.approx([0.8, 0.8, 0], abs=0.01)
    assert high == pytest.approx([1.2, 1.2, 2.2], abs=0.02)


@pytest.mark.parametrize("applier", APPLIERS)
def test_pixels_that_rotation_uncovers_are_black_whatever_contrast_does(applier):
    params = extreme("rotation to the left")
    params.factor[:, CONTRAST] = 0.8  # black itself would become 14
    made = apply(applier, np.full((8, 32, 32, 3), 200, np.uint8), params, 224)
    assert (made[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()


@pytest.mark.parametrize("applier", APPLIERS)
def test_nothing_from_outside_the_crop_is_seen(applier):
    images, params = np.full((8, 32, 32, 3), 255, np.uint8), extreme("narrow crop and flip")
    top, left, height, width = params.box[0]
    images[:, top : top + height, left : left + width] = 50
    assert (apply(applier, images, params, 224) == 50).all()


@pytest.mark.parametrize("applier", APPLIERS)
def test_pictures_need_not_be_of_32_by_32(applier):
    images = np.concatenate([pictures(6), pictures(6, seed=1)[:, :, :16]], axis=2)  # 32 x 48
    params = augment.sample(np.random.default_rng(0), 6, 32, 48)
    assert difference(apply(applier, images, params, 64), augment.apply_vision(images, params, 64)) < 1


def loader(
    num_workers=0,
    on_device=False,
    batch_size=8,
    seed=42,
    pipeline="fast",
    size=40,
    augmentation=AS_THE_NOTEBOOK,
):
    return data.build_train_loader(
        split(),
        batch_size=batch_size,
        image_size=size,
        num_workers=num_workers,
        seed=seed,
        augmentation=augmentation,
        pipeline=pipeline,
        on_device=on_device,
    )


def batches(loader, epoch):
    loader.batch_sampler.set_epoch(epoch)
    images, labels = zip(*((x.numpy(), y.numpy()) for x, y in loader), strict=True)
    return np.concatenate(images), np.concatenate(labels)


PLACES = pytest.mark.parametrize(("num_workers", "on_device"), [(0, False), (1, False), (3, False), (0, True)])


@PLACES
def test_a_fast_picture_depends_on_seed_epoch_and_index_only(num_workers, on_device):
    # One loader has been through the epochs before, the other begins here, as a resumed run does.
    through, begins = loader(num_workers, on_device), loader(0, on_device, batch_size=32)
    for epoch in range(3):
        images, labels = batches(through, epoch)
    again, labels_again = batches(begins, 2)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    picture = begins.dataset[2, 5][0]
    assert not np.array_equal(picture, begins.dataset[1, 5][0])
    assert not np.array_equal(picture, loader(0, on_device, seed=43).dataset[2, 5][0])
    np.testing.assert_array_equal(picture, through.dataset[2, 5][0])


@PLACES
@pytest.mark.parametrize("start", [1, 11, 12])
def test_a_resumed_epoch_has_the_remaining_batches(num_workers, on_device, start):
    train = loader(num_workers, on_device)
    whole = [x.numpy() for x, _ in train]
    train.batch_sampler.set_epoch(0, start)
    rest = [x.numpy() for x, _ in train]
    assert len(whole) == len(train) == 12
    assert len(rest) == 12 - start
    for ours, expected in zip(rest, whole[start:], strict=True):
        np.testing.assert_array_equal(ours, expected)


@PLACES
def test_the_datasets_pictures_and_labels_are_those_of_the_batches(num_workers, on_device):
    train = loader(num_workers, on_device)
    images, labels = batches(train, 4)
    for i, key in enumerate([key for batch in train.batch_sampler for key in batch][:20]):
        image, label = train.dataset[key]
        np.testing.assert_allclose(image, images[i], rtol=0, atol=1e-5)
        assert label == labels[i] == train.dataset.split.labels[key[1]]
    assert len(train.dataset) == 100


@PLACES
def test_the_fast_order_is_the_hosts_and_its_batches_have_the_same_form(num_workers, on_device):
    host, fast = loader(pipeline="host"), loader(num_workers, on_device)
    assert len(fast) == len(host) == 12
    for epoch in (0, 3):
        np.testing.assert_array_equal(batches(fast, epoch)[1], batches(host, epoch)[1])
        assert list(fast.batch_sampler) == list(host.batch_sampler)
    for (images, labels), (host_images, host_labels) in zip(fast, host, strict=True):
        assert (images.dtype, labels.dtype) == (host_images.dtype, host_labels.dtype)
        assert (images.shape, labels.shape) == (host_images.shape, host_labels.shape)


def test_on_the_device_the_pictures_are_those_of_the_cpu():
    cpu, device = batches(loader(size=64), 1)[0], batches(loader(on_device=True, size=64), 1)[0]
    assert difference(unnormalise(cpu), unnormalise(device)) < 1


def test_a_loop_left_early_leaves_no_thread_and_cv2s_own_threads_as_they_were():
    before = threading.active_count()
    cv2.setNumThreads(2)
    for step, _ in enumerate(loader(num_workers=3)):
        if step == 2:
            assert threading.active_count() > before
            break
    assert threading.active_count() == before
    assert cv2.getNumThreads() == 2
    batches(loader(num_workers=3), 0)
    assert threading.active_count() == before


def test_the_device_gets_randaugments_pictures_from_threads_that_end_with_the_loop(monkeypatch):
    before, seen = threading.active_count(), set()
    train = loader(num_workers=2, on_device=True, augmentation=data.Augmentation(randaugment=2))
    randaugmented = train.dataset.before
    monkeypatch.setattr(
        train.dataset, "before", lambda *key: seen.add(threading.current_thread().name) or randaugmented(*key)
    )
    for _ in train:
        break
    assert threading.active_count() == before
    assert all(name.startswith("augment") for name in seen)
    list(train)
    assert threading.active_count() == before


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_workers_error_reaches_the_loop_in_its_turn_and_ends_the_threads(monkeypatch, num_workers):
    before, train, apply_cv2 = threading.active_count(), loader(num_workers), augment.apply_cv2
    spoilt = train.dataset.split.images[train.batch_sampler.indices()[2, 0]]

    def fail(images, params, size):
        if np.array_equal(images[0], spoilt):
            raise RuntimeError("spoilt picture")
        return apply_cv2(images, params, size)

    monkeypatch.setattr(augment, "apply_cv2", fail)
    seen = []
    with pytest.raises(RuntimeError, match="spoilt picture"):
        seen.extend(train)
    assert len(seen) == 2
    assert threading.active_count() == before


def test_threads_make_few_batches_ahead_of_the_loop(monkeypatch):
    calls, apply_cv2 = [], augment.apply_cv2
    monkeypatch.setattr(augment, "apply_cv2", lambda *arguments: calls.append(1) or apply_cv2(*arguments))
    iteration = iter(loader(num_workers=2, batch_size=2))
    next(iteration)
    time.sleep(0.2)
    iteration.close()
    assert 3 <= len(calls) <= 4


@pytest.mark.parametrize("size", [24, 32, 40, 224])
def test_fast_evaluation_equals_the_hosts_within_one_step_of_255(size):
    options = {"batch_size": 8, "image_size": size, "num_workers": 0}
    host, fast = (data.build_eval_loader(split(20), pipeline=name, **options) for name in ("host", "fast"))
    assert len(fast) == len(host) == 3
    for (images, labels), (host_images, host_labels) in zip(fast, host, strict=True):
        np.testing.assert_array_equal(labels.numpy(), host_labels.numpy())
        assert (images.dtype, images.shape) == (host_images.dtype, host_images.shape)
        a, b = unnormalise(images.numpy()), unnormalise(host_images.numpy())
        assert np.abs(a.astype(int) - b).max() <= (0 if size == 32 else 1)
        assert abs(a.mean() - b.mean()) < 0.25  # neither darker nor brighter
    image, label = fast.dataset[19]
    assert np.abs(unnormalise(image[None])[0].astype(int) - a[-1]).max() <= 1
    assert label == labels[-1].item()


def bilinear(image, size):
    """Resize a picture in float64, with the border's pixels repeated."""
    places = ((np.arange(size) + 0.5) * len(image) / size - 0.5).clip(0, len(image) - 1)
    matrix = np.maximum(0, 1 - abs(places[:, None] - np.arange(len(image))))
    return np.einsum("yh,xw,hwc->yxc", matrix, matrix, image.astype(np.float64))


@pytest.mark.parametrize("size", [40, 48, 192])
def test_a_level_half_way_between_two_is_rounded_up_on_every_paddle(size):
    """At these sizes many levels are halves, up to a rounding that differs between Paddle's versions."""
    image = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8)
    exact = bilinear(image, size)
    assert (np.abs(exact % 1 - 0.5) < 1e-9).sum() > 20
    made = unnormalise(fast.resize(paddle.to_tensor(image[None]), size).numpy())[0]
    np.testing.assert_array_equal(made, np.floor(exact + 0.5 + 1e-9))


def test_a_training_set_smaller_than_a_batch_is_refused_by_the_fast_pipeline_too():
    with refuses(data.DataError, key="data.batch_size", value=101):
        loader(batch_size=101)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=20))


def small_config(archive, *overrides, size=40):
    settings = [f"data.file={archive}", f"device={DEVICE}", f"data.image_size={size}", "data.num_workers=0", *overrides]
    return load_config(CONFIG, settings)


def drawn(figure):
    """What a figure shows: [(title, uint8 picture, text below it)]."""
    return [(axes.get_title(), np.asarray(axes.images[0].get_array()), axes.get_xlabel()) for axes in figure.axes]


@pytest.mark.parametrize("pipeline", ["host", "fast"])
@pytest.mark.parametrize("size", [32, 224])
def test_the_figure_of_a_picture_shows_what_training_sees_of_it_bit_for_bit(archive, pipeline, size):
    config = small_config(archive, f"data.pipeline={pipeline}", "data.batch_size=5", size=size)
    dataset = build.build_dataset(config)
    (title, untouched, _), *made = drawn(draw_epochs(config, dataset, index=13, epochs=3))
    assert title == f"untouched: {dataset.classes[dataset.train.labels[13]]}"
    np.testing.assert_array_equal(untouched, dataset.train.images[13])
    assert [title for title, _, _ in made] == ["epoch 1", "epoch 2", "epoch 3"]
    train = build.build_train_loader(config, dataset)
    for epoch, (_, picture, _) in enumerate(made):
        images, _ = batches(train, epoch)
        place = [key for batch in train.batch_sampler for key in batch].index((epoch, 13))
        np.testing.assert_array_equal(picture, unnormalise(images)[place])
        np.testing.assert_array_equal(normalise(picture[None])[0], train.dataset[epoch, 13][0])


def test_the_parameters_in_the_figure_make_the_pictures_above_them(archive):
    config = small_config(archive, "data.pipeline=fast", "data.crop=0.7", "train.seed=7")
    dataset = build.build_dataset(config)
    figure = draw_epochs(config, dataset, index=2, epochs=4)
    for epoch, (_, picture, text) in enumerate(drawn(figure)[1:]):
        crop, *jitter, flipped, rotated = text.splitlines()
        shown = Params(
            box=np.stack([np.int64(re.findall(r"\d+", crop))[[2, 3, 0, 1]]]),
            order=np.array([[["brightness", "contrast", "saturation"].index(line.split()[0]) for line in jitter]]),
            factor=np.float32([[float(line.split()[1]) for line in sorted(jitter)]]),
            flip=np.array([{"flipped": True, "not flipped": False}[flipped]]),
            angle=np.float32([float(re.search(r"-?[\d.]+", rotated)[0])]),
        )
        exact = augment.sample(np.random.default_rng([7, epoch, 1]), 20, augmentation=build.build_augmentation(config))
        exact = exact[[2]]
        for name in ("box", "order", "flip"):
            np.testing.assert_array_equal(getattr(shown, name), getattr(exact, name))
        np.testing.assert_allclose(shown.factor, exact.factor, atol=0.0051)  # rounded for people
        np.testing.assert_allclose(shown.angle, exact.angle, atol=0.051)
        np.testing.assert_array_equal(picture, augment.apply_cv2(dataset.train.images[[2]], exact, 40)[0])


def test_the_parameters_in_the_figure_of_the_host_pipeline_make_its_pictures(archive):
    config = small_config(archive, "data.pipeline=host", "data.batch_size=5")
    dataset = build.build_dataset(config)
    pictures = build.build_train_loader(config, dataset).dataset
    for epoch, (_, picture, text) in enumerate(drawn(draw_epochs(config, dataset, index=2, epochs=4))[1:]):
        params = pictures.drawn(epoch, 2)
        assert text.splitlines() == describe(params)
        np.testing.assert_array_equal(picture, host.apply(dataset.train.images[2], params, 40))


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_the_figure_lists_the_ingredients(archive, pipeline):
    settings = [f"data.pipeline={pipeline}", "data.randaugment=2", "data.random_erasing=0.5"]
    config = small_config(archive, *settings)
    dataset = build.build_dataset(config)
    figure = draw_epochs(config, dataset, index=3, epochs=6)
    shown = []
    for epoch, (_, picture, text) in enumerate(drawn(figure)[1:]):
        lines = text.splitlines()
        operations = randaugment.operations(42, epoch, 20, 2)[3]
        assert lines[:2] == [f"{randaugment.NAMES[which]} {'+' if sign > 0 else '-'}" for which, sign in operations]
        assert len([line for line in lines if line.startswith("crop")]) == 1
        shown += [line for line in lines if line.startswith("erased")]
        top, left, height, width = erasing.boxes(42, epoch, 20, 40, 0.5)[3]
        assert bool(height) == lines[-1].startswith("erased")
        if height:
            assert lines[-1] == f"erased {height} x {width} at {top}, {left}"
            assert (picture[top : top + height, left : left + width] == randaugment.FILL).all()
    assert 0 < len(shown) < 6


def show(monkeypatch, archive, *arguments):
    options = ["-c", CONFIG, "--device", DEVICE, "-o", "data.image_size=40", "-o", f"data.file={archive}"]
    monkeypatch.setattr("sys.argv", ["show_augmentation.py", *map(str, (*options, *arguments))])
    runpy.run_path(str(CONFIG.parents[1] / "tools" / "show_augmentation.py"), run_name="__main__")


def test_a_figure_needs_no_whole_batch_and_makes_its_folder(archive, tmp_path, monkeypatch, capsys):
    show(monkeypatch, archive, "--output", tmp_path / "new" / "folder", "-o", "data.batch_size=64")
    file = tmp_path / "new" / "folder" / "augmentation.png"
    assert capsys.readouterr().out == f"written: {file}\n"
    assert cv2.imread(str(file)).shape[1] == 800


def test_the_figure_of_all_appliers_has_a_row_a_picture(archive, tmp_path, monkeypatch):
    heights = []
    for n in (1, 3):
        show(monkeypatch, archive, "--appliers", "--pictures", n, "--output", tmp_path)
        heights.append(cv2.imread(str(tmp_path / "augmentation.png")).shape[0])
    assert round(heights[1] / heights[0], 1) == 3  # older releases of matplotlib round a pixel away


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--index", "20"], ["--index", 20, "0 to 19"]),
        (["--index", "-1"], ["--index", -1, "0 to 19"]),
        (["--index", "first"], ["--index", "first"]),
        (["--epochs", "0"], ["--epochs", 0, "1 to 100"]),
        (["--epochs", "101"], ["--epochs", 101, "1 to 100"]),
        (["--pictures", "2"], ["--pictures", "--appliers"]),
        (["--appliers", "--pictures", "0"], ["--pictures", 0, "1 to 100"]),
        (["--appliers", "--index", "0"], ["--index", "--appliers"]),
        (["--appliers", "--epochs", "2"], ["--epochs", "--appliers"]),
        (["--epochs", "1", "--output", CONFIG], [CONFIG]),
        (["-o", "data.file=none.tar.gz"], ["data.file", "none.tar.gz"]),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(archive, monkeypatch, capsys, tmp_path, arguments, parts):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        show(monkeypatch, archive, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)
    assert not list(tmp_path.iterdir())
