"""Masks and images on a grid, and what is done to them there."""
