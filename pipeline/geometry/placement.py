"""Planes on a grid they did not make, in whole voxels; and the grid that planes with gaps span. Numbers only.

Rules:
- A plane is placed by its position and orientation. No number, order or name of a frame decides anything.
- Column, row and plane may become any axis of the grid, in either direction; nothing is ever resampled.
- What snapping to whole voxels moves is measured at the four corners of every plane, by its own equation, in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ..core.limits import MOST_PLANES
from .affine import Matrix, plane_corner_shifts
from .grid import GeometryError, Plane
from .stack import Stack, stack


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where each of n planes lies on a grid, in voxel indices (i, j, k).

    turns: (n, 3, 2) integers, the index step of one column and of one row. origins: (n, 3) integers, the index of the
    first pixel. residuals: (n,) mm, the largest distance from a corner of the plane, by its own equation, to the voxel
    it was given. aligned: (n,) whether both steps are one voxel along two different axes; where not, no voxel is right.
    """

    turns: NDArray[np.int64]
    origins: NDArray[np.int64]
    residuals: Matrix
    aligned: NDArray[np.bool_]

    def reach(self, planes: Sequence[Plane]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n, 3) lowest and (n, 3) highest voxel index of every plane."""
        sizes = np.array([(p.columns - 1, p.rows - 1) for p in planes])
        far = self.origins + np.einsum("nab,nb->na", self.turns, sizes)
        return np.minimum(self.origins, far), np.maximum(self.origins, far)


def place(planes: Sequence[Plane], lps: Matrix) -> Placement:
    """Lay planes on the grid of an affine (4 x 4, voxel index to LPS mm), each by itself."""
    steps = np.array(
        [[[c * p.column_spacing for c in p.row_cosine], [c * p.row_spacing for c in p.column_cosine]] for p in planes]
    ).transpose(0, 2, 1)  # (n, 3, 2) mm per column and per row
    starts = np.array([p.position for p in planes])
    to_index = np.linalg.inv(lps[:3, :3])
    exact_turns = np.einsum("ab,nbc->nac", to_index, steps)
    exact_origins = (starts - lps[:3, 3]) @ to_index.T
    turns, origins = np.rint(exact_turns), np.rint(exact_origins)
    size = np.abs(turns)
    aligned = (size.sum(axis=1) == 1).all(axis=1) & (size.sum(axis=2).max(axis=1) == 1)

    moved = (exact_origins - origins) @ lps[:3, :3].T
    turned = np.einsum("ab,nbc->nac", lps[:3, :3], exact_turns - turns)
    last = np.array([(p.columns - 1, p.rows - 1) for p in planes], float)
    across, down = turned[:, :, 0] * last[:, :1], turned[:, :, 1] * last[:, 1:]
    residuals = plane_corner_shifts(moved, across, down)
    return Placement(turns.astype(np.int64), origins.astype(np.int64), residuals, aligned)


@dataclass(frozen=True, slots=True, eq=False)
class Spanned:
    """The regular grid that planes with gaps span. stack: of the distinct positions.

    step_mm: along the normal. added: how many planes have no frame. step_is_seen: whether two of the planes are one
    step apart; where not, the step is the tag's, or assumed for a single plane.
    """

    stack: Stack
    step_mm: float
    added: int
    step_is_seen: bool


class NotRegular(GeometryError):
    """Positions that are no whole steps apart. first, second: indices of the planes; the rest is between them."""

    def __init__(self, first: int, second: int, gap_mm: float, step_mm: float, off_mm: float) -> None:
        super().__init__(f"planes {first} and {second} are {gap_mm:.6g} mm apart, no multiple of {step_mm:.6g} mm")
        self.first, self.second, self.gap_mm, self.step_mm, self.off_mm = first, second, gap_mm, step_mm, off_mm


def spanned(
    planes: Sequence[Plane],
    tag_step_mm: float | None,
    *,
    limit_mm: float,
    keep_skew: float,
    keep_mm: float,
    assumed_step_mm: float,
) -> Spanned:
    """The grid spanned by the distinct positions of planes along their normal; gaps of whole steps stay in it.

    The step is Spacing Between Slices where every gap is a multiple of it, else the smallest gap. All planes must
    have one size and one orientation; `keep_skew` and `keep_mm` are those of `stack`.
    Raises NotRegular when a gap is no whole number of steps within `limit_mm`,
    GeometryError when the planes span no grid.
    """
    first = planes[0]
    normal = np.array(first.normal)
    distances = np.array([p.position for p in planes]) @ normal
    order = np.argsort(distances, kind="stable")
    new_place = np.append(True, np.diff(distances[order]) > limit_mm)
    distinct = order[new_place]
    if len(distinct) == 1:
        single = stack(
            [first], limit_mm=limit_mm, keep_skew=keep_skew, keep_mm=keep_mm, assumed_step_mm=assumed_step_mm
        )
        return Spanned(single, assumed_step_mm, 0, False)

    gaps = np.diff(distances[distinct])
    smallest = float(gaps[gaps <= gaps.min() + limit_mm].mean())
    step = smallest
    if tag_step_mm and isfinite(tag_step_mm) and abs(tag_step_mm) > limit_mm:
        off = np.abs(gaps - np.maximum(np.rint(gaps / abs(tag_step_mm)), 1) * abs(tag_step_mm))
        step = abs(tag_step_mm) if off.max() <= limit_mm else smallest
    counts = np.maximum(np.rint(gaps / step), 1)
    off = np.abs(gaps - counts * step)
    worst = int(off.argmax())
    if off[worst] > limit_mm:
        raise NotRegular(int(distinct[worst]), int(distinct[worst + 1]), float(gaps[worst]), step, float(off[worst]))
    total = int(counts.sum()) + 1
    if total > MOST_PLANES:
        raise GeometryError(f"the positions span {total} planes {step:.6g} mm apart")
    whole = stack(
        [planes[n] for n in distinct],
        limit_mm=limit_mm,
        keep_skew=keep_skew,
        keep_mm=keep_mm,
        missing=[int(n) - 1 for n in counts],
    )
    return Spanned(whole, step, total - len(distinct), bool((counts == 1).any()))
