"""Saved weights measured, reported, and compared between runs."""
