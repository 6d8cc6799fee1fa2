"""Timings that can be compared."""
