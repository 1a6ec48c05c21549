"""Find the images whose grid a mask lies on, by what the index knows of both.

Rules:
- It lies on a grid where its voxels are voxels of it, moved by whole ones, within the corner limit, and all inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..core.policy import Policy
from ..geometry.affine import Matrix, axis_lengths
from ..geometry.index_map import find_index_map
from .facts import GridFact, SeriesFacts

_POLICY = Policy()


def fitting_images(mask: SeriesFacts, images: Sequence[SeriesFacts]) -> list[SeriesFacts]:
    """The images on whose grid a mask lies: those with the very same voxels, else those that have all of its voxels."""
    fits = [fit_of(mask, image) for image in images]
    best = max(fits, default=0)
    return [image for image, fit in zip(images, fits, strict=True) if best and fit == best]


def fit_of(mask: SeriesFacts, image: SeriesFacts) -> int:
    """How every volume of a mask lies on a volume of an image: 2 the same voxels, 1 inside of it, 0 neither."""
    if not mask.grids or not image.grids:
        return 0
    return min(max(_fit_grids(own, grid) for grid in image.grids) for own in mask.grids)


@lru_cache(maxsize=1024)
def _fit_grids(own: GridFact, grid: GridFact) -> int:
    if own == grid:  # as they nearly always are
        return 2
    affine, other = _affine(own), _affine(grid)
    found = find_index_map(affine, own.shape, other, grid.shape)
    limit = _POLICY.corner_limit(float(axis_lengths(other).min()))
    if found is None or found.moved_mm > limit or not found.is_inside:
        return 0
    return 2 if found.is_onto else 1


def _affine(grid: GridFact) -> Matrix:
    """(4, 4), index to mm in LPS."""
    return np.vstack([np.reshape(np.asarray(grid.lps, np.float64), (3, 4)), (0.0, 0.0, 0.0, 1.0)])
