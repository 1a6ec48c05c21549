"""Masks and images on a grid: merge, move, count and compare them."""
