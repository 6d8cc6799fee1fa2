"""The files that a run writes: output folder, checkpoints, log and dashboard."""
