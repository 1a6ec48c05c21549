"""Decode the frames of a series into masks or an image on a grid: one module for each representation."""
