"""Read pickles of arrays and plain containers without running code that a manipulated pickle might name.

CIFAR's batches and Paddle's checkpoints are pickles, and a plain `pickle.load` calls any function that a file names.
"""

import collections
import importlib
import pickle
from collections.abc import Callable
from typing import IO, Any


class PickleRefused(ValueError):
    """The file is not a pickle, is damaged, or names something other than arrays and plain containers."""


def _latin1(text: str, encoding: str) -> bytes:
    # Python 3 spells bytes so in protocol 2. Any other codec would let a file choose the code that decodes it.
    if encoding not in ("latin1", "latin-1"):
        raise PickleRefused(f"holds text in the codec {encoding!r}, which has no place in arrays and containers")
    return text.encode("latin1")


_PLAIN: dict[tuple[str, str], Callable] = {
    ("builtins", "tuple"): tuple,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("builtins", "bytes"): lambda: b"",  # Python 3 spells empty bytes so in protocol 2
}
_NUMPY = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("__builtin__", "builtins")
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        # numpy 2 moved its core; either numpy reads files of the other.
        old_name = module.replace("numpy._core", "numpy.core")
        if (old_name, name) not in _NUMPY:
            raise PickleRefused(f"names {module}.{name}, but only arrays and plain containers are allowed")
        try:
            return getattr(importlib.import_module(old_name.replace("numpy.core", "numpy._core")), name)
        except ImportError:
            return getattr(importlib.import_module(old_name), name)


def load(stream: IO[bytes]) -> Any:
    """Return the content of the pickle in a binary stream; strings of Python 2 come as bytes.

    Raises:
        PickleRefused: its message continues a sentence that begins with the file's name.
    """
    try:
        return _Unpickler(stream, encoding="bytes").load()
    except PickleRefused:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise PickleRefused(f"is not a whole pickle ({type(error).__name__}: {error})") from error
