"""Made pictures of shapes, and what they say of themselves in the two formats."""

import json

import cv2
import numpy as np
import pytest

from integrations import shapes

COUNTS = {"train": 12, "val": 3}


def write(folder, seed=0):
    shapes.write(folder, COUNTS["train"], COUNTS["val"], side=64, seed=seed)
    return folder


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shapes"))


def annotations(folder, split):
    return json.loads((folder / "annotations" / f"{split}.json").read_text(encoding="utf-8"))


def test_the_seed_decides_every_byte(folder, tmp_path):
    assert contents(write(tmp_path / "same")) == contents(folder)
    assert contents(write(tmp_path / "other", seed=1)) != contents(folder)


@pytest.mark.parametrize("split", COUNTS)
def test_both_formats_list_the_same_pictures_and_agree_on_every_pixel(folder, split):
    coco, pairs = annotations(folder, split), (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines()
    assert [f"images/{image['file_name']}" for image in coco["images"]] == [pair.split()[0] for pair in pairs]
    assert len(pairs) == COUNTS[split]
    for image, pair in zip(coco["images"], pairs, strict=True):
        picture, labels = (cv2.imread(str(folder / file), cv2.IMREAD_UNCHANGED) for file in pair.split())
        assert picture.shape == (image["height"], image["width"], 3)
        assert labels.shape == picture.shape[:2]
        of_it = [found for found in coco["annotations"] if found["image_id"] == image["id"]]
        for number in range(1, 1 + len(shapes.CLASSES)):
            assert (labels == number).sum() == sum(found["area"] for found in of_it if found["category_id"] == number)


def test_every_class_and_overlaps_occur(folder):
    coco = annotations(folder, "train")
    assert {found["category_id"] for found in coco["annotations"]} == {1, 2, 3}
    assert [kind["name"] for kind in coco["categories"]] == list(shapes.CLASSES)
    pictures = [shapes.picture(np.random.default_rng([0, 0, i]), 64) for i in range(COUNTS["train"])]
    touching = [
        cv2.dilate(a.astype(np.uint8), np.ones([3, 3]))[b].any()
        for made in pictures
        for i, (_, a) in enumerate(made.shapes)
        for _, b in made.shapes[i + 1 :]
    ]
    assert 0 < sum(touching) < len(touching)


def test_masks_of_one_picture_do_not_overlap():
    for i in range(20):
        made = shapes.picture(np.random.default_rng(i), 64)
        assert sum(mask.astype(int) for _, mask in made.shapes).max() == 1


@pytest.mark.slow
def test_pycocotools_makes_the_same_masks_of_the_polygons(folder):
    coco = pytest.importorskip("pycocotools.coco").COCO(folder / "annotations" / "train.json")
    for i in coco.getImgIds():
        made = shapes.picture(np.random.default_rng([0, 0, i - 1]), 64)
        for found, (_, mask) in zip(coco.loadAnns(coco.getAnnIds(i)), made.shapes, strict=True):
            assert np.array_equal(coco.annToMask(found), mask)
            x, y, width, height = found["bbox"]
            rows, columns = np.nonzero(mask)
            assert [x, x + width, y, y + height] == [
                columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
            ]  # fmt: skip
