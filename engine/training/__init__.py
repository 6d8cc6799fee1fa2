"""Training: the parts of a run, its state, the loop."""
