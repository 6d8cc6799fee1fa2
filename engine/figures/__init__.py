"""Figures: drawn without a screen, from plain values."""
