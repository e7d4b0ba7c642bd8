"""Read model files of other programs."""
