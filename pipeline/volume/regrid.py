"""Put the voxels of one grid onto another in whole voxels: axes are exchanged and reversed, sides cropped and padded.

Rules:
- The map between the indices of the two grids is `geometry.index_map`'s. Where there is none, `describe_distance` says how
  the grids lie to each other.
- Callers refuse a move by which a label would fall outside of the new grid (`count_lost`). Background outside is cut off.
- The nearest voxel is taken only where the user chose it, for labels only, and the farthest travel is measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..geometry.affine import Matrix, at_corners
from ..geometry.index_map import FARTHEST, IndexMatrix, axes_of
from .mask import Array, Voxels, require_block

_MIDWAY = 1e-3  # of a voxel; the floats of a header move one of 0.1 mm by 3e-4 at a metre from the origin


def put_onto(voxels: Voxels, mapping: IndexMatrix, shape: tuple[int, int, int], padding: float = 0) -> Voxels:
    """Put voxels onto another grid. They are read a plane at a time where k stays k, else as one block.

    Args:
        voxels: of any type.
        mapping: 4 x 4 integers, index in `voxels` to index on the other grid.
        shape: (columns, rows, planes) of the other grid.
        padding: the value where no voxel comes to lie.

    Returns:
        Voxels of `shape` and of the same type; those that fall outside are left out.
    """
    if np.abs(mapping[2, 2]) != 1:
        require_block(shape, voxels.dtype)
        block = np.full(shape, padding, voxels.dtype, order="F")
        _paste(voxels.array(), block, mapping, (0, 1, 2))
        return Voxels.of(block)
    sign, offset = int(mapping[2, 2]), int(mapping[2, 3])
    columns, rows, _ = shape

    def plane(k: int) -> Array:
        out = np.full((columns, rows), padding, voxels.dtype, order="F")
        source = sign * (k - offset)
        if 0 <= source < voxels.shape[2]:
            _paste(voxels.plane(source).T, out, mapping, (0, 1))
        return np.ascontiguousarray(out.T)

    def is_empty(k: int) -> bool:
        source = sign * (k - offset)
        return is_zero and (not 0 <= source < voxels.shape[2] or voxels.is_empty(source))

    is_zero = padding == 0 and voxels.dtype.kind in "iu"  # -0.0 is not all zero bits
    return Voxels(shape, voxels.dtype, plane, is_empty)


def count_lost(voxels: Voxels, mapping: IndexMatrix, shape: tuple[int, int, int]) -> int:
    """Count the voxels that are not background and would fall outside of another grid.

    Args:
        voxels: labels, 0 is background.
        mapping: 4 x 4 integers, index in `voxels` to index on the other grid.
        shape: (columns, rows, planes) of the other grid.

    Returns:
        The number of voxels that `put_onto` leaves out.
    """
    kept = put_onto(voxels, mapping, shape)
    return sum(int(np.count_nonzero(p)) for p in voxels) - sum(int(np.count_nonzero(p)) for p in kept)


def nearest(
    voxels: Voxels, ours_lps: Matrix, theirs_lps: Matrix, shape: tuple[int, int, int]
) -> tuple[Voxels, float, set[int]]:
    """Fill a grid with labels, each voxel from the nearest one of ours; 0 where none is within half a voxel.

    Args:
        voxels: labels, 0 is background.
        ours_lps: 4 x 4, index in `voxels` to LPS mm.
        theirs_lps: 4 x 4, index on the grid to LPS mm.
        shape: (columns, rows, planes) of the grid.

    Returns:
        The voxels of the grid, worked out anew whenever a plane is read; the farthest that a label travelled, in mm;
        and the labels that are left.
    """
    to_ours = np.linalg.inv(ours_lps) @ theirs_lps
    block = voxels.array()
    columns, rows, planes = shape
    i, j = np.meshgrid(np.arange(columns), np.arange(rows))

    def plane(k: int) -> tuple[Array, Array]:
        exact = np.stack([i, j, np.full_like(i, k)], -1) @ to_ours[:3, :3].T + to_ours[:3, 3]
        index = nearest_index(exact)
        inside = ((index >= 0) & (index < np.array(block.shape))).all(-1)
        index[~inside] = 0
        labels = np.where(inside, block[index[..., 0], index[..., 1], index[..., 2]], 0).astype(voxels.dtype)
        return labels, exact - index

    travelled, found = 0.0, set[int]()
    for k in range(planes):
        labels, off = plane(k)
        drawn = labels > 0
        far = np.linalg.norm(off[drawn] @ ours_lps[:3, :3].T, axis=-1).max(initial=0.0)
        travelled, found = max(travelled, float(far)), found | set(np.unique(labels[drawn]).tolist())
    return Voxels(shape, voxels.dtype, lambda k: plane(k)[0]), travelled, found


def nearest_index(exact: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round indices to those of the nearest voxels; midway between two the higher one is taken, as ITK does.

    Midway is meant within rounding, so that a grid of doubles and the same one of a header's floats choose alike.
    """
    return np.floor(np.clip(exact, -FARTHEST, FARTHEST) + 0.5 + _MIDWAY).astype(np.int64)


def describe_distance(
    ours_lps: Matrix, ours_shape: Sequence[int], theirs_lps: Matrix, theirs_shape: Sequence[int]
) -> str:
    """Say in words how the boxes around two grids lie to each other, along the patient's axes, in mm.

    Args:
        ours_lps: 4 x 4, index to LPS mm, of the mask.
        ours_shape: (columns, rows, planes) of the mask.
        theirs_lps: 4 x 4, index to LPS mm, of the other grid.
        theirs_shape: (columns, rows, planes) of the other grid.

    Returns:
        A clause without a full stop, such as "the boxes overlap, their middles 3.0 mm apart".
    """
    boxes = []
    for lps, shape in ((ours_lps, ours_shape), (theirs_lps, theirs_shape)):
        corners = at_corners(shape, lps)
        boxes.append((corners.min(0), corners.max(0)))
    (low, high), (their_low, their_high) = boxes
    ways = (("right", "left"), ("front", "back"), ("foot end", "head end"))
    gaps = [
        f"{float(distance):.1f} mm too far to the {ways[axis][side]}"
        for axis in range(3)
        for side, distance in ((0, their_low[axis] - high[axis]), (1, low[axis] - their_high[axis]))
        if distance > 0
    ]
    if gaps:
        return "the boxes do not touch: the mask lies " + " and ".join(gaps)
    middle = ((low + high) - (their_low + their_high)) / 2
    return f"the boxes overlap, their middles {float(np.linalg.norm(middle)):.1f} mm apart"


def _paste(source: Array, target: Array, mapping: IndexMatrix, axes: tuple[int, ...]) -> None:
    """Copy `source` into `target` through the map, along the axes given (of both arrays), where the two overlap."""
    order = axes_of(mapping)[: len(axes)]
    turned = source.transpose(order)
    from_, to = [], []
    for row in axes:
        sign, offset = int(mapping[row, order[row]]), int(mapping[row, 3])
        length = source.shape[order[row]]
        first = offset if sign > 0 else offset - (length - 1)
        start, stop = max(first, 0), min(first + length, target.shape[row])
        to.append(slice(start, max(stop, start)))
        cut = slice(start - first, max(stop - first, start - first))
        from_.append(cut)
        if sign < 0:
            turned = np.flip(turned, row)
    target[tuple(to)] = turned[tuple(from_)]
