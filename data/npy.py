"""Read numpy's .npy files strictly: an array of one shape and type, mapped into memory, never a pickle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .dataset import DataError

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def read(file: Path, shape: Sequence[int], types: Sequence[str], key: str, cure: str) -> np.ndarray:
    """Return the array in a file, mapped into memory.

    Args:
        shape: the expected one.
        types: names of the types that it may have.
        key, cure: for errors: the option that gives the file, and what to do.

    Raises:
        DataError: the file is missing, damaged or holds something else.
    """
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "an archive of arrays"
    except FileNotFoundError:
        raise DataError(f"{key}: {file} not found: {cure}", key=key, place=file) from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{key}: {file} is not a whole .npy file of numbers ({' '.join(str(error).split())}): {cure}",
            key=key,
            place=file,
        ) from error
    if not isinstance(array, np.ndarray) or list(array.shape) != list(shape) or array.dtype.name not in types:
        expected = f"{types[0] if len(types) == 1 else 'integers'} {list(shape)}"
        raise DataError(f"{key}: {file} holds {found}, expected {expected}: {cure}", key=key, value=found, place=file)
    return array
