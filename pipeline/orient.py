"""Another order of the same voxels: axes exchanged and reversed, nothing resampled.

The affine follows the voxels, so no voxel moves in the patient. "RAS" means that i increases to the right, j to the
front and k to the head, as nearly as the acquired axes allow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Code, refuse
from pipeline.geometry import Grid, Matrix, axis_codes, reorder
from pipeline.mask import Voxels

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def checked_codes(codes: str) -> str:
    """Three letters, one of each pair R/L, A/P, S/I; upper case. Raises BAD_ORIENTATION."""
    letters = codes.upper()
    if len(letters) != 3 or {min(c, _OPPOSITE.get(c, "?")) for c in letters} != {"A", "I", "L"}:
        raise refuse(
            Code.BAD_ORIENTATION,
            f"{codes} is no orientation: one letter each of R/L, A/P and S/I, such as RAS or LPS",
            "Say --orient RAS, or leave it out to keep the acquired order.",
        )
    return letters


def mapping_to(grid: Grid, codes: str) -> NDArray[np.int64]:
    """4 x 4, index in the wanted order to index on the grid."""
    have = axis_codes(grid.ras)
    axes = [next(a for a in range(3) if have[a] in (letter, _OPPOSITE[letter])) for letter in codes]
    mapping = np.zeros((4, 4), np.int64)
    mapping[3, 3] = 1
    for new, (axis, letter) in enumerate(zip(axes, codes, strict=True)):
        same = have[axis] == letter
        mapping[axis, new] = 1 if same else -1
        mapping[axis, 3] = 0 if same else grid.shape[axis] - 1
    return mapping


def reordered(voxels: Voxels, mapping: NDArray[np.int64]) -> Voxels:
    """The voxels in the order `mapping` gives. Reversals are done a plane at a time; an exchange holds the volume."""
    turn = mapping[:3, :3]
    if (np.abs(turn) == np.eye(3)).all():
        flip_i, flip_j, flip_k = (bool(turn[a, a] < 0) for a in range(3))
        last = voxels.shape[2] - 1
        steps = (slice(None, None, -1 if flip_j else 1), slice(None, None, -1 if flip_i else 1))
        return Voxels(
            voxels.shape,
            voxels.dtype,
            lambda k: np.ascontiguousarray(voxels.plane(last - k if flip_k else k)[steps]),
        )
    return Voxels.of(reorder(voxels.array(), np.rint(np.linalg.inv(mapping)).astype(np.int64)))


def reordered_affine(grid: Grid, mapping: NDArray[np.int64]) -> Matrix:
    """4 x 4, index in the wanted order to RAS mm."""
    affine: Matrix = grid.ras @ mapping
    return affine
