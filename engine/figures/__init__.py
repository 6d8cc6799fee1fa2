"""Figures, drawn from plain values and without a screen."""
