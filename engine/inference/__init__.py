"""Trained models at work: predictions, attention maps, exports."""
