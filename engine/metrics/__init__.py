"""Losses and metrics, and measuring a model on a loader."""
