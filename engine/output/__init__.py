"""What a run writes: its folder, checkpoints, log and dashboard."""
