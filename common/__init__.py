"""The base of `models`, `data` and `engine`. It imports none of them."""
