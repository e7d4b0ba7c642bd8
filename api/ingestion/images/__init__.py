"""Read zips of images."""
