"""Both data pipelines: every picture once, with its label, and the device's pictures beside paddle.vision's."""

import numpy as np
import paddle

import data
from data import Split, augment
from data.normalise import unnormalise
from engine.check import made
from engine.check.check import Context, Result

PICTURES, SIZE, SEED = 48, 64, 5
LEVEL = 255


def check(context: Context) -> Result:
    """Return the mean difference of the device's pictures from paddle.vision's, in levels of 0..255."""
    images, labels = made.pictures(PICTURES, seed=3)
    params = augment.sample(np.random.default_rng(SEED), PICTURES)
    ours = unnormalise(augment.apply_ops(paddle.to_tensor(images), params.upload(), SIZE).numpy())
    difference = float(np.abs(ours.astype(int) - augment.apply_vision(images, params, SIZE)).mean())
    wrong = {name: _wrong(name, Split("made pictures", images, labels)) for name in ("host", "fast")}
    figure = f"{difference:.3f} of {LEVEL} levels"
    if any(wrong.values()):
        return Result(np.inf, figure, "; ".join(f"{name}: {text}" for name, text in wrong.items() if text))
    return Result(difference, figure, "both give each picture once, with its label", {"levels": difference})


def _wrong(pipeline: str, split: Split) -> str:
    """Return what is wrong with an epoch of a pipeline on the device, "" if nothing is."""
    loader = data.build_train_loader(
        split, batch_size=12, image_size=SIZE, num_workers=2, seed=SEED, pipeline=pipeline, on_device=True
    )
    loader.batch_sampler.set_epoch(1)
    order = [index for batch in loader.batch_sampler for _, index in batch]
    batches = list(loader)
    given = np.concatenate([labels.numpy() for _, labels in batches])
    pictures = np.concatenate([images.numpy() for images, _ in batches])
    if not np.array_equal(given, split.labels[order]):
        return "labels are not those of the pictures"
    if pictures.shape != (len(split), 3, SIZE, SIZE) or not np.isfinite(pictures).all():
        return f"pictures of shape {pictures.shape}, or not finite"
    # The colors of the classes are far apart, so a picture that is another one's shows.
    colors = unnormalise(pictures).astype(float).max(axis=(1, 2))
    own = split.images[order].max(axis=(1, 2))
    return "" if np.corrcoef(colors.ravel(), own.ravel())[0, 1] > 0.5 else "pictures are not those of the labels"
