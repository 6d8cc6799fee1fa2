"""A dataset that shows what a worker is, and does what a test wants of it. Spawned workers import it anew."""

import os
import signal
import time

import cv2
import numpy as np
from paddle.io import Dataset

from data import DataError
from data.pictures import PictureError


class Awkward(Exception):
    """It can be pickled, but not be made of its pickle."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(1000)


def pause():
    time.sleep(1)


def bad_picture():
    raise PictureError("a.png: a damaged picture", place="a.png")


def bad_option():
    raise DataError("data.side: 7", key="data.side", value=7, place="b")


def bug():
    return {}["a name"]


def lost_file():
    return open("no such file", "rb")


def awkward():
    raise Awkward(1, 2)


class Probes(Dataset):
    """Keys -> ([process, threads of OpenCV, whether a signal would end it], key), `size` times.

    Args:
        acts: what is done instead at some keys.
    """

    def __init__(self, acts=None, size=1):
        super().__init__()
        self.acts, self.size = acts or {}, size

    def picture(self, key):
        if key in self.acts:
            self.acts[key]()
        deadly = {signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} != {signal.SIG_IGN}
        return np.tile(np.float32([os.getpid(), cv2.getNumThreads(), deadly]), self.size), np.int64(key)

    def normalised(self, pictures, keys):
        return pictures

    def __len__(self):
        return 1000
