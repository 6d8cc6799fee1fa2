"""Values through a pipe between processes: arrays go as they lie in memory, in pieces."""

import pickle
from multiprocessing.connection import Connection
from typing import Any

PIECE = 1 << 18  # bytes in a message: twice as fast as one message for a whole batch


def send(pipe: Connection, value: Any) -> None:
    """Send a value that can be pickled; this waits until most of it has been received."""
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    # Not `pipe.send`: the garbage of its errors has ended Python 3.12.1.
    pipe.send_bytes(pickle.dumps((rest, [array.nbytes for array in arrays])))
    for array in arrays:
        for begin in range(0, array.nbytes, PIECE):
            pipe.send_bytes(array[begin : begin + PIECE])


def receive(pipe: Connection) -> Any:
    """Return the next value.

    Raises:
        EOFError, OSError: the other end is gone.
    """
    rest, sizes = pickle.loads(pipe.recv_bytes())
    arrays = [bytearray(size) for size in sizes]
    for array in arrays:
        for begin in range(0, len(array), PIECE):
            pipe.recv_bytes_into(array, begin)
    return pickle.loads(rest, buffers=arrays)
