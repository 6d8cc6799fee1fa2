"""Checks of this project on the device at hand, above all on a GPU: one module per check, one table of them."""
