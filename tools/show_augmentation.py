"""Draw training pictures as each applier of the augmentation makes them, and how far they are from paddle.vision's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.cli import Parser, run
from engine.errors import UserError


def main():
    parser = Parser(__doc__, "python tools/show_augmentation.py -c configs/tiny_cifar10.yaml")
    parser.add_config(required=True)
    parser.add_argument("--pictures", metavar="N", type=int, default=6, help="how many to draw (default: %(default)s)")
    parser.add_argument(
        "--output", metavar="FILE", default="augmentation.png", help="the picture to write (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if arguments.pictures < 1:
        parser.error(f"argument --pictures: {arguments.pictures}: give 1 or more")

    import numpy as np

    from data import augment
    from engine import build, config as configs
    from engine.runtime import select_device

    config = configs.load(arguments.config, arguments.override)
    select_device(config.device)
    dataset, size = build.build_dataset(config), config.data.image_size
    images, labels = dataset.train.images[: arguments.pictures], dataset.train.labels[: arguments.pictures]
    rng = np.random.default_rng(config.train.seed)
    params = augment.sample(rng, len(images), *images.shape[1:3], build.build_augmentation(config))
    figure = draw(images, [dataset.classes[label] for label in labels], params, size)
    try:
        figure.savefig(arguments.output)
    except (OSError, ValueError) as error:
        raise UserError(f"--output {arguments.output}: {error}") from error
    print("written:", arguments.output)


def draw(images, names, params, size):
    """Draw a row a picture, uint8 [N, h, w, 3]: the picture with its parameters, then what each applier makes of it."""
    import numpy as np
    import paddle
    from matplotlib.figure import Figure

    from data import augment, unnormalise

    made = {
        "paddle.vision": augment.apply_vision(images, params, size),
        "apply_cv2": augment.apply_cv2(images, params, size),
        "apply_ops": unnormalise(augment.apply_ops(paddle.to_tensor(images), params.upload(), size).numpy()),
    }
    rows = len(images)
    figure = Figure(figsize=(10.4, 2.4 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, 1 + len(made), squeeze=False)
    for row in range(rows):
        grid[row, 0].set_ylabel(describe(params[row : row + 1]), rotation=0, ha="right", va="center", fontsize=7.5)
        grid[row, 0].imshow(images[row], interpolation="nearest")
        grid[row, 0].set_title(names[row], fontsize=9, parse_math=False)
        for axes, (name, pictures) in zip(grid[row, 1:], made.items(), strict=True):
            axes.imshow(pictures[row], interpolation="nearest")
            distance = np.abs(pictures[row].astype(int) - made["paddle.vision"][row]).mean()
            axes.set_title(name if name == "paddle.vision" else f"{name}: off by {distance:.2f} / 255", fontsize=9)
        for axes in grid[row]:
            axes.set(xticks=[], yticks=[])
    return figure


def describe(params):
    """Tell one picture's parameters in a few lines, jitter in the order in which it happens."""
    top, left, height, width = params.box[0]
    jitter = [
        f"{('brightness', 'contrast', 'saturation')[kind]} {params.factor[0, kind]:.2f}" for kind in params.order[0]
    ]
    return "\n".join(
        [
            f"crop {height} x {width} at {top}, {left}",
            *jitter,
            "flipped" if params.flip[0] else "not flipped",
            f"rotated by {params.angle[0]:.1f}°",
        ]
    )


if __name__ == "__main__":
    run(main)
