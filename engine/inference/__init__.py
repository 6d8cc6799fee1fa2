"""Trained models in use: exports, predictions, attention."""
