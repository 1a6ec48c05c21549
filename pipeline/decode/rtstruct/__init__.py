"""Structure sets: contours filled on the planes of their images."""
