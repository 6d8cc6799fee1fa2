"""The installed Paddle among its versions, for tests of what differs between them."""

import paddle


def paddle_before(*version):
    """Whether the installed Paddle is older than a version: `paddle_before(3, 3)`."""
    return tuple(map(int, paddle.__version__.split(".")[: len(version)])) < version
