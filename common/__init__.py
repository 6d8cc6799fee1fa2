"""The base of `models`, `data` and `engine`. It imports none of them."""

import zlib  # noqa: F401  (before Paddle: 2.6.2 brings a zlib of its own, and calls of Python's would end up there)

# isort: split
import warnings

# On import, Paddle says that it would compile extensions faster with ccache. Worker processes import it too.
warnings.filterwarnings("ignore", message="No ccache found")
