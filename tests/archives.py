"""Small archives in CIFAR-10's layout, whole or spoilt on purpose."""

import io
import pickle
import tarfile

import numpy as np

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def batch(size, seed, **changes):
    """One batch of noise around a colour that tells the class, so that a model can learn it."""
    rng = np.random.RandomState(seed)
    labels = np.arange(size) % 10
    colours = np.random.RandomState(0).randint(40, 216, (10, 3, 1))
    data = colours[labels] + rng.randint(-40, 40, (size, 3, 1024))
    content = {b"data": data.reshape(size, 3072).astype(np.uint8), b"labels": labels.tolist()}
    return {**content, **{key.encode(): value for key, value in changes.items()}}


def members(train=100, test=20, **changes):
    """The contents of an archive by member name; `changes` replace members."""
    sizes = [len(part) for part in np.array_split(np.arange(train), 5)]
    content = {name: batch(size, seed) for seed, (name, size) in enumerate(zip(BATCHES, sizes, strict=True))}
    content["test_batch"] = batch(test, 9)
    content["batches.meta"] = {b"label_names": [name.encode() for name in CLASSES]}
    return {**content, **changes}


def write(file, content, protocol=2):
    """Write an archive; a member given as bytes goes in as it is, None leaves it out."""
    with tarfile.open(file, "w:gz", compresslevel=1) as archive:
        for name, value in content.items():
            if value is None:
                continue
            payload = value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return file
