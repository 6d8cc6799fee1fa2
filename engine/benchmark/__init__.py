"""Timings that can be compared with each other."""
