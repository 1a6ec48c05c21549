"""Place planes on a grid they did not make, in whole voxels; and find the grid that planes with gaps span.

Rules:
- A plane is placed by its position and orientation. No number, order or name of a frame decides anything.
- Column, row and plane may become any axis of the grid, in either direction; nothing is ever resampled.
- What snapping to whole voxels moves is measured at the four corners of every plane, by its own equation, in mm.
- These are numbers only: nothing here knows DICOM or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ..core.limits import MOST_PLANES
from .affine import Matrix, plane_corner_shifts
from .grid import GeometryError, Plane
from .stack import Stack, fit_stack


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where each of n planes lies on a grid, in voxel indices (i, j, k).

    turns: (n, 3, 2) integers, the index step of one column and of one row.
    origins: (n, 3) integers, the index of the first pixel.
    residuals: (n,) mm, the largest distance from a corner of the plane, by its own equation, to the voxel it was given.
    aligned: (n,) whether both steps are one voxel along two different axes. Where not, no voxel of the plane is right.
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
    """Place planes on the grid of an affine (4 x 4, voxel index to LPS mm), each by itself."""
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
class SpannedGrid:
    """The regular grid that planes with gaps span.

    stack: of the distinct positions.
    step_mm: along the normal.
    added: how many planes of the grid have no frame.
    step_is_seen: whether two of the planes are one step apart. Where not, the step is the tag's, or assumed for a
        single plane.
    """

    stack: Stack
    step_mm: float
    added: int
    step_is_seen: bool


class NotRegular(GeometryError):
    """Raised for positions that are no whole number of steps apart.

    first, second: indices of the two planes. gap_mm: between them. step_mm: the step of the grid.
    off_mm: from the gap to the nearest whole number of steps.
    """

    def __init__(self, first: int, second: int, gap_mm: float, step_mm: float, off_mm: float) -> None:
        super().__init__(f"planes {first} and {second} are {gap_mm:.6g} mm apart, no multiple of {step_mm:.6g} mm")
        self.first, self.second, self.gap_mm, self.step_mm, self.off_mm = first, second, gap_mm, step_mm, off_mm


def span_grid(
    planes: Sequence[Plane],
    tag_step_mm: float | None,
    *,
    limit_mm: float,
    keep_skew: float,
    keep_mm: float,
    assumed_step_mm: float,
) -> SpannedGrid:
    """Find the grid spanned by the distinct positions of planes along their normal; gaps of whole steps stay in it.

    Args:
        planes: in any order, all of one size and one orientation, LPS mm. Several may lie at one position.
        tag_step_mm: Spacing Between Slices; it is the step where every gap is a multiple of it, else the smallest gap is.
        limit_mm: within which positions are one, and a gap is a whole number of steps.
        keep_skew: as for `fit_stack`.
        keep_mm: as for `fit_stack`.
        assumed_step_mm: the step of a single position.

    Returns:
        The grid, and which of its planes are there.

    Raises:
        NotRegular: a gap is no whole number of steps.
        GeometryError: the planes span no grid.
    """
    fit = partial(fit_stack, limit_mm=limit_mm, keep_skew=keep_skew, keep_mm=keep_mm)
    distances = np.array([p.position for p in planes]) @ np.array(planes[0].normal)
    distinct = _distinct(distances, limit_mm)
    if len(distinct) == 1:
        return SpannedGrid(fit(planes[:1], assumed_step_mm=assumed_step_mm), assumed_step_mm, 0, False)

    gaps = np.diff(distances[distinct])
    step = _step(gaps, tag_step_mm, limit_mm)
    counts = _whole_steps(gaps, step)
    off = np.abs(gaps - counts * step)
    worst = int(off.argmax())
    if off[worst] > limit_mm:
        raise NotRegular(int(distinct[worst]), int(distinct[worst + 1]), float(gaps[worst]), step, float(off[worst]))
    total = int(counts.sum()) + 1
    if total > MOST_PLANES:
        raise GeometryError(f"the positions span {total} planes {step:.6g} mm apart")
    whole = fit([planes[n] for n in distinct], missing=[int(n) - 1 for n in counts])
    return SpannedGrid(whole, step, total - len(distinct), bool((counts == 1).any()))


def _distinct(distances: Matrix, limit_mm: float) -> NDArray[np.int64]:
    """Indices of one plane for each position along the normal, ascending."""
    order = np.argsort(distances, kind="stable")
    is_new = np.append(True, np.diff(distances[order]) > limit_mm)
    return np.asarray(order[is_new])


def _step(gaps: Matrix, tag_step_mm: float | None, limit_mm: float) -> float:
    """The tag's step where all gaps are whole numbers of it; else the smallest gap, as the mean of those like it."""
    if tag_step_mm and isfinite(tag_step_mm) and abs(tag_step_mm) > limit_mm:
        tagged = abs(tag_step_mm)
        if np.abs(gaps - _whole_steps(gaps, tagged) * tagged).max() <= limit_mm:
            return tagged
    return float(gaps[gaps <= gaps.min() + limit_mm].mean())


def _whole_steps(gaps: Matrix, step: float) -> Matrix:
    """The number of steps nearest to each gap, at least one: distinct positions are no gap of none."""
    return np.asarray(np.maximum(np.rint(gaps / step), 1))
