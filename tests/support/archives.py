"""Small archives in the layouts of CIFAR-10 and CIFAR-100, whole or damaged on purpose, and folders of pictures."""

import io
import pickle
import tarfile

import numpy as np
from PIL import Image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def batch(size, seed, **changes):
    """One batch of noise around a color per class, so that a model can learn the classes."""
    rng = np.random.RandomState(seed)
    labels = np.arange(size) % 10
    colours = np.random.RandomState(0).randint(40, 216, (10, 3, 1))
    data = colours[labels] + rng.randint(-40, 40, (size, 3, 1024))
    content = {b"data": data.reshape(size, 3072).astype(np.uint8), b"labels": labels.tolist()}
    return {**content, **{key.encode(): value for key, value in changes.items()}}


def members(train=100, test=20, **changes):
    """The members of a CIFAR-10 archive by name; `changes` replace some."""
    sizes = [len(part) for part in np.array_split(np.arange(train), 5)]
    content = {name: batch(size, seed) for seed, (name, size) in enumerate(zip(BATCHES, sizes, strict=True))}
    content["test_batch"] = batch(test, 9)
    content["batches.meta"] = {b"label_names": [name.encode() for name in CLASSES]}
    return {**content, **changes}


def members_of_100(train=200, test=100):
    """The members of a CIFAR-100 archive by name; its classes are `thing 0` to `thing 99`."""
    content = {}
    for name, size, seed in (("train", train, 0), ("test", test, 9)):
        content[name] = batch(size, seed, fine_labels=(np.arange(size) % 100).tolist())
        content[name][b"coarse_labels"] = content[name].pop(b"labels")
    names = [b"thing %d" % i for i in range(100)]
    content["meta"] = {b"fine_label_names": names, b"coarse_label_names": names[:20]}
    return content


def write_folder(folder, train, val):
    """Write the pictures of batches as numbered PNGs into train/<class>/ and val/<class>/."""
    for split, batches in (("train", train), ("val", val)):
        for content in batches:
            for row, label in zip(content[b"data"], content[b"labels"], strict=True):
                place = folder / split / CLASSES[label]
                place.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0))
                picture.save(place / f"{len(list(place.iterdir())):03}.png")
    return folder


def of(name, place, train=100, test=20):
    """Write a data set of that `data.name` into a folder; return its `data.file`."""
    if name == "folder":
        return write_folder(place / "pictures", [batch(train, 0)], [batch(test, 9)])
    return write(place / f"{name}.tar.gz", {"cifar10": members, "cifar100": members_of_100}[name](train, test))


def write(file, content, protocol=2):
    """Write an archive; a member given as bytes is not pickled, and one given as None is left out."""
    with tarfile.open(file, "w:gz", compresslevel=1) as archive:
        for name, value in content.items():
            if value is None:
                continue
            payload = value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return file
