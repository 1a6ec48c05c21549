"""Compute with affines and directions, of which every grid is made.

Rules:
- Index order is (i, j, k) = (column, row, plane), and lengths are in mm.
- A matrix that is of one world only says so in its name: `lps` or `ras`. Everything else holds for both.
- Affines are compared at the corners of the block they place (`corner_distance`), and nowhere else in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = tuple[float, float, float]
Matrix = NDArray[np.float64]

LPS_TO_RAS: Matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
LPS_TO_RAS.flags.writeable = False
PATIENT_AXES = ("LR", "PA", "IS")  # where each axis of RAS decreases to, and where it increases to


def corner_indices(shape: Sequence[int]) -> NDArray[np.int64]:
    """(8, 3) indices of the outermost voxels."""
    return np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, 3)


def orthonormal(row: ArrayLike, column: ArrayLike) -> tuple[Matrix, Matrix]:
    """Find the orthonormal pair nearest to two cosines. Both turn by the same angle, so neither is preferred."""
    r, c = np.asarray(row, float), np.asarray(column, float)
    r, c = r / np.linalg.norm(r), c / np.linalg.norm(c)
    plus, minus = r + c, r - c
    plus, minus = plus / np.linalg.norm(plus), minus / np.linalg.norm(minus)
    return (plus + minus) / sqrt(2), (plus - minus) / sqrt(2)


def right_handed(affine: Matrix, columns: int) -> Matrix:
    """Reverse the first axis of a left-handed affine, so that it places the same voxels; return others as they are."""
    made = affine.copy()
    if np.linalg.det(made[:3, :3]) < 0:
        made[:3, 3] += made[:3, 0] * (columns - 1)
        made[:3, 0] *= -1
    return made


def axis_lengths(affine: Matrix) -> Matrix:
    """Return (3,) the distance in mm from a voxel to the next along each axis. affine: (4, 4), index to mm."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def axis_codes(affine_ras: Matrix) -> str:
    """Name where i, j and k increase to by three letters, such as "LPS". Each axis gets a patient direction of its own.

    A sheared affine is read through the nearest rotation, as nibabel does.
    """
    axes = np.array(affine_ras[:3, :3], float)
    u, _, vt = np.linalg.svd(axes / np.linalg.norm(axes, axis=0))
    directions = u @ vt
    letters, free = ["?"] * 3, [0, 1, 2]
    for axis in np.argsort(-np.abs(directions).max(axis=0), kind="stable"):
        world = max(free, key=lambda row: abs(directions[row, axis]))
        letters[axis] = PATIENT_AXES[world][int(directions[world, axis] > 0)]
        free.remove(world)
    return "".join(letters)


def at_corners(shape: Sequence[int], affine: Matrix) -> Matrix:
    """(8, 3) what an affine, or a difference of two, gives at the outermost voxels."""
    return np.asarray(corner_indices(shape) @ affine[:3, :3].T + affine[:3, 3])


def corner_shift(difference: Matrix, shape: Sequence[int]) -> float:
    """The largest distance in mm that a difference of two affines moves a corner voxel of a block of this shape."""
    return float(np.linalg.norm(at_corners(shape[:3], difference), axis=1).max())


def corner_distance(one: Matrix, other: Matrix, shape: Sequence[int]) -> float:
    """The largest distance in mm between the places that two affines give to one corner voxel of a block.

    This is the one measure by which affines are compared. An affine map is linear, so no voxel inside the block lies
    farther apart than its worst corner does.

    Args:
        one: 4 x 4, index (i, j, k) to mm.
        other: 4 x 4, the same index to mm in the same world (LPS or RAS).
        shape: (columns, rows, planes) of the block; more dimensions are ignored.

    Returns:
        Millimetres, 0 where both give every corner the same place.
    """
    return corner_shift(one - other, shape)


def plane_corner_shifts(start: Matrix, across: Matrix, down: Matrix) -> Matrix:
    """The largest distance that any of the four corners of each plane is moved.

    Args:
        start: (planes, 3) mm, how far the first pixel is moved.
        across: (planes, 3) mm, how much more the last pixel of the first row is moved.
        down: (planes, 3) mm, how much more the last pixel of the first column is moved.

    Returns:
        (planes,) mm.
    """
    corners = np.stack([start, start + across, start + down, start + across + down])
    return np.asarray(np.linalg.norm(corners, axis=2).max(axis=0))
