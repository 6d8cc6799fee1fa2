"""Weights on disk: Paddle's files, torch's files, official names, and weights to start from."""
