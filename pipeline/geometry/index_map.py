"""Map the voxel indices of one block onto those of another: a signed permutation of the axes and a whole offset.

Rules:
- Two affines are compared through this map, never entry by entry: one grid can be stored in 48 orders.
- A map is a 4 x 4 matrix of integers. What rounding to one moves is measured at the corners, in mm.
- Both affines must be in one world, LPS or RAS; either may be left-handed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .affine import Matrix, at_corners, corner_shift

IndexMatrix = NDArray[np.int64]
FARTHEST = 1 << 40  # voxels: farther than any file is long, and an integer still


@dataclass(frozen=True, slots=True, eq=False)
class IndexMap:
    """How the voxels of one block lie on the voxels of another.

    matrix: 4 x 4 integers, index (i, j, k, 1) in the one block to index in the other.
    moved_mm: the largest distance that rounding to whole voxels moves a corner of the one block.
    is_inside: whether every voxel of the one block has its partner in the other.
    is_onto: whether the two blocks are the same voxels: inside, and none of the other is left over.
    """

    matrix: IndexMatrix
    moved_mm: float
    is_inside: bool
    is_onto: bool

    @property
    def inverse(self) -> IndexMatrix:
        """4 x 4 integers, index in the other block to index in the one."""
        return np.asarray(np.rint(np.linalg.inv(self.matrix)), np.int64)

    @property
    def keeps_axes(self) -> bool:
        """Whether the axes run the same way in both; there may be an offset."""
        return bool((self.matrix[:3, :3] == np.eye(3)).all())


def find_index_map(
    affine: Matrix, shape: Sequence[int], other_affine: Matrix, other_shape: Sequence[int]
) -> IndexMap | None:
    """Find the whole-voxel map from the indices of one block to those of another.

    It is the integer matrix nearest to inv(other_affine) @ affine. Whoever asks decides what `moved_mm` is too much.

    Args:
        affine: 4 x 4, index in the one block to mm.
        shape: (columns, rows, planes) of the one block.
        other_affine: 4 x 4, index in the other block to mm in the same world.
        other_shape: (columns, rows, planes) of the other block; more dimensions are ignored.

    Returns:
        The map; None where axes or spacings differ, so that no such map is near.
    """
    exact = np.linalg.inv(other_affine) @ affine
    snapped = np.rint(exact)
    turn = np.abs(snapped[:3, :3])
    if not ((turn.sum(0) == 1).all() and (turn.sum(1) == 1).all()):
        return None
    reached = at_corners(shape, snapped)
    lowest, highest, last = reached.min(0), reached.max(0), np.array(other_shape[:3]) - 1
    return IndexMap(
        matrix=np.clip(snapped, -FARTHEST, FARTHEST).astype(np.int64),
        moved_mm=corner_shift(other_affine @ (exact - snapped), shape),
        is_inside=bool((lowest >= 0).all() and (highest <= last).all()),
        is_onto=bool((lowest == 0).all() and (highest == last).all()),
    )


def axes_of(matrix: IndexMatrix) -> list[int]:
    """For each axis of the other block, the axis of the one block that runs along it."""
    return [int(np.flatnonzero(matrix[row, :3])[0]) for row in range(3)]


def reorder(array: NDArray[Any], matrix: IndexMatrix) -> NDArray[Any]:
    """An (i, j, k) array of the one block in the order of the other, where both are the same voxels. A view."""
    axes = axes_of(matrix)
    turned = array.transpose(axes)
    steps = tuple(slice(None, None, int(matrix[row, axes[row]])) for row in range(3))
    return np.asarray(turned[steps])
