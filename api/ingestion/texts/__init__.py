"""Read files of texts."""
