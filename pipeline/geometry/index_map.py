"""The map between the indices of two blocks of voxels. Two affines are compared through it, never entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .affine import Matrix, at_corners, corner_shift
from .grid import Grid


def index_map(ours: Grid, theirs_lps: Matrix, theirs_shape: Sequence[int]) -> tuple[NDArray[np.int64], float] | None:
    """The map from their voxel indices to ours, and the largest distance it leaves, in mm.

    Two writers may store one grid in 48 orders. The map is the 4 x 4 integer matrix nearest to
    inv(ours) @ theirs: a signed permutation and an offset. None when there is no such map that lays their
    whole block exactly on ours: then the two do not describe the same voxels.
    """
    exact = np.linalg.inv(ours.lps) @ theirs_lps
    snapped = np.rint(exact)
    turn = np.abs(snapped[:3, :3])
    if not ((turn.sum(0) == 1).all() and (turn.sum(1) == 1).all()):
        return None
    shape = tuple(int(n) for n in theirs_shape)
    reached = at_corners(shape, snapped)
    if (reached.min(0) != 0).any() or (reached.max(0) != np.array(ours.shape) - 1).any():
        # Half a voxel or more away at the origin: still the same block if the corners are nearest each other.
        return None
    return snapped.astype(np.int64), corner_shift(ours.lps @ (exact - snapped), shape)


def reorder(array: NDArray[Any], mapping: NDArray[np.int64]) -> NDArray[Any]:
    """Their (i, j, k) array as ours, through the map of `index_map`. A view: nothing is copied."""
    axes = [int(np.flatnonzero(mapping[row, :3])[0]) for row in range(3)]
    turned = array.transpose(axes)
    steps = tuple(slice(None, None, int(mapping[row, axes[row]])) for row in range(3))
    return np.asarray(turned[steps])
