"""Hold the mask that another reader gives against the one that was written, voxel for voxel.

Rules:
- A reader of masks gives labels on a grid that it read itself. It may leave voxels open (a centre on an edge): these are
  counted, and are right whichever they are.
- Its grid may be a part of ours, as that of a segmentation's own frames is of its source; outside of it there is no mask.
- An empty plane of ours is compared with what the reader has there, and nothing else of it is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..geometry.affine import LPS_TO_RAS
from ..geometry.grid import Grid
from ..geometry.index_map import IndexMatrix, find_index_map, reorder
from ..volume.mask import Array
from .agreement import Agreement, Status, answer_without_voxels, describe_order, take_our_step
from .testimony import Testimony, either


def judge_mask(testimony: Testimony, grid: Grid, limit_mm: float, planes: Iterable[Array | None]) -> Agreement:
    """Compare what a reader of masks gave with our labels.

    Args:
        testimony: what it gave.
        grid: of our labels (LPS, mm).
        limit_mm: how far a corner may lie from its place on our grid.
        planes: of ours, each (rows, columns), in the order of k; None for an empty one.

    Returns: the agreement. It is AGREES, REORDERED, REFUSED, DIFFERS or FAILED.
    """
    answer = answer_without_voxels(testimony)
    if answer is not None:
        return answer
    witness, version, array = testimony.witness, testimony.version, testimony.array
    if testimony.affine_ras is None or array is None or array.dtype.kind != "u" or array.ndim != 3:
        return Agreement(witness, version, "FAILED", "gave no labels on a grid")
    affine = tuple(tuple(float(x) for x in row) for row in testimony.affine_ras)
    lps = take_our_step(LPS_TO_RAS @ testimony.affine_ras, testimony.shape, grid)
    mapped = find_index_map(lps, testimony.shape, grid.lps, grid.shape)
    if mapped is None:
        size = " × ".join(map(str, testimony.shape))
        return Agreement(
            witness, version, "DIFFERS", f"gives a mask of {size} voxels on another grid", affine_ras=affine
        )
    mapping = tuple(tuple(int(x) for x in row) for row in mapped.matrix)
    if mapped.moved_mm > limit_mm:
        words = f"has the mask {mapped.moved_mm:.4f} mm away"
        return Agreement(witness, version, "DIFFERS", words, mapped.moved_mm, None, mapping, affine)
    found = _count(_Labels.of(array, testimony.box, mapped.matrix), grid, planes)
    status: Status = "AGREES" if mapped.keeps_axes else "REORDERED"
    words = f"the mask itself, {describe_order(mapped.matrix)}"
    if found.left_open:
        words += f"; it leaves {found.left_open} voxels open" + (f" ({testimony.note})" if testimony.note else "")
    elif testimony.note:
        words += f"; {testimony.note}"
    if found.differing:
        status, words = "DIFFERS", f"reads the mask otherwise: {found.differing} voxels differ"
    return Agreement(witness, version, status, words, mapped.moved_mm, found.differing, mapping, affine)


@dataclass(frozen=True, slots=True)
class _Count:
    """How many voxels differ, and how many the reader leaves open."""

    differing: int
    left_open: int


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """Labels of a reader in our order. array: (i, j, k). first: our index of its first voxel, which may lie outside."""

    array: Array
    first: tuple[int, int, int]

    @classmethod
    def of(cls, array: Array, box: tuple[int, int, int], matrix: IndexMatrix) -> _Labels:
        """Turn a part of their grid that begins at `box` by the map from their indices to ours."""
        ends = [(start, start + count - 1) for start, count in zip(box, array.shape, strict=True)]
        reached = np.array([matrix @ [*corner, 1] for corner in product(*ends)])
        first = [int(n) for n in reached.min(axis=0)]
        return cls(reorder(array, matrix), (first[0], first[1], first[2]))

    def plane(self, k: int) -> Array | None:
        """(rows, columns) of the part that lies in our plane k; None where there is none."""
        own = k - self.first[2]
        return self.array[:, :, own].T if 0 <= own < self.array.shape[2] else None


def _count(theirs: _Labels, grid: Grid, planes: Iterable[Array | None]) -> _Count:
    """Compare plane by plane; what the reader has outside of our grid differs too."""
    columns, rows, count = grid.shape
    differing = left_open = 0
    unknown = either(theirs.array.dtype)
    for k in range(min(theirs.first[2], 0), 0):
        differing += _count_labels(theirs.plane(k), unknown)
    for k, ours in enumerate(planes):
        found = _compare_plane(ours, theirs.plane(k), theirs.first, (rows, columns), unknown)
        differing, left_open = differing + found.differing, left_open + found.left_open
    for k in range(count, theirs.first[2] + theirs.array.shape[2]):
        differing += _count_labels(theirs.plane(k), unknown)
    return _Count(differing, left_open)


def _compare_plane(
    ours: Array | None, theirs: Array | None, first: tuple[int, int, int], size: tuple[int, int], unknown: int
) -> _Count:
    """Compare one plane. size: rows and columns of ours."""
    if theirs is None or not theirs.any():
        return _Count(0 if ours is None else int(np.count_nonzero(ours)), 0)
    top, left = max(first[1], 0), max(first[0], 0)
    bottom, right = min(first[1] + theirs.shape[0], size[0]), min(first[0] + theirs.shape[1], size[1])
    if top >= bottom or left >= right:
        return _Count(_count_labels(theirs, unknown) + (0 if ours is None else int(np.count_nonzero(ours))), 0)
    shared = theirs[top - first[1] : bottom - first[1], left - first[0] : right - first[0]]
    is_open = shared == unknown
    left_open = int(np.count_nonzero(is_open))
    differing = _count_labels(theirs, unknown) - _count_labels(shared, unknown)
    if ours is None:
        return _Count(differing + _count_labels(shared, unknown), left_open)
    window = ours[top:bottom, left:right]
    differing += int(np.count_nonzero(ours)) - int(np.count_nonzero(window))
    return _Count(differing + int(np.count_nonzero((window != shared) & ~is_open)), left_open)


def _count_labels(plane: Array | None, unknown: int) -> int:
    """Count voxels that are certainly of a label."""
    return 0 if plane is None else int(np.count_nonzero((plane != 0) & (plane != unknown)))
