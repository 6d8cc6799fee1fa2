"""Losses, metrics, and the evaluation of a model on a loader."""
