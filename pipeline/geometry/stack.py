"""Fit one grid to parallel planes, and measure how far each plane is from it: Proof 1 in numbers.

Rules:
- One number in mm proves a stack: the largest distance between any corner of any plane by its own equation and the
  same voxel by the grid. It catches missing, doubled and displaced planes, drift, wrong orientation or spacing at once.
- The step is the least-squares line through all positions, so no single gap decides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np
from numpy.typing import NDArray

from .affine import Matrix, Vector, axis_lengths, corner_distance, orthonormal, plane_corner_shifts
from .grid import GeometryError, Grid, Plane

# Positions a kilometre from the origin are rounded to less than this, and no voxel is this thin.
_NO_STEP_MM = 1e-6
# Row x column of unit cosines at right angles has length 1; below half of that they are no axes of a plane at all.
_SHORTEST_NORMAL = 0.5
# A lean up to this many times the printed precision of the cosines is taken for rounding.
_LEAN_IN_PRECISIONS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """One grid fitted to planes, and how well they fit it. All lengths are in mm.

    order: the planes ascending along the normal, as indices into the sequence given.
    index: (planes,) the k of each of the ordered planes.
    residuals: (planes,) the largest corner distance of each plane, by its own equation, to the grid.
    irregularity_mm: the largest of these distances before the axes were made orthonormal.
    straightened_mm: how far making them so moved a corner.
    kept_skew_mm: how far it would have moved a corner, where the axes stay as they are printed.
    offsets: (planes, 3) position of every plane from the first, along i, along j and along the normal.
    lean: (2,) slope of the step along i and along j, without unit.
    """

    grid: Grid
    order: tuple[int, ...]
    index: NDArray[np.int64]
    residuals: Matrix
    irregularity_mm: float
    straightened_mm: float
    kept_skew_mm: float
    offsets: Matrix
    lean: Matrix

    @property
    def residual_mm(self) -> float:
        """The largest corner distance of any plane to the grid: Proof 1."""
        return float(self.residuals.max())


def fit_stack(
    planes: Sequence[Plane],
    *,
    limit_mm: float,
    keep_skew: float,
    keep_mm: float,
    assumed_step_mm: float = 1.0,
    missing: Sequence[int] = (),
) -> Stack:
    """Order planes along their normal, fit one grid to them, and measure how far each is from it.

    Axes that are nearly at right angles stay as they are printed. Beyond that, rounding is mended: the nearest rotation
    about the centre of the grid, because readers built on ITK drop or refuse anything else. A lean that moves a corner
    by more than the limit and is no rounding is gantry tilt, and is kept as shear.

    Args:
        planes: in any order, all of one size, LPS mm.
        limit_mm: how far mending may move a corner; a lean that moves one farther is kept.
        keep_skew: cosine by which axes may be off right angles and stay as they are printed.
        keep_mm: how far mending such axes would move a corner at most; they are mended where it would move one farther.
        assumed_step_mm: distance to the next plane along the normal, for a single plane, which has no step.
        missing: how many planes of the grid are not there after each of the ordered planes but the last; empty for none.

    Returns:
        The grid, the order of the planes in it, and their distances to it.

    Raises:
        GeometryError: the cosines span no plane, or all planes lie at one position.
    """
    row, column, normal = _mean_axes(planes)
    positions = np.array([p.position for p in planes])
    # Stable, so that ties keep the caller's order, which does not depend on file names.
    order = tuple(int(n) for n in np.argsort(positions @ normal, kind="stable"))
    ordered, positions = [planes[n] for n in order], positions[list(order)]

    index = _plane_index(len(planes), missing)
    step = normal * assumed_step_mm if len(planes) == 1 else _fitted_step(positions, index)
    if float(step @ normal) < _NO_STEP_MM:
        raise GeometryError("all planes lie at one position")
    raw = np.eye(4)
    raw[:3, 0] = row * _mean([p.column_spacing for p in planes])
    raw[:3, 1] = column * _mean([p.row_spacing for p in planes])
    raw[:3, 2] = step
    raw[:3, 3] = positions.mean(axis=0) - index.mean() * step
    shape = (planes[0].columns, planes[0].rows, int(index[-1]) + 1)

    lps, kept_skew = _straighten(raw, shape, limit_mm, _print_precision(planes), keep_skew, keep_mm)
    return Stack(
        grid=Grid(shape, lps),
        order=order,
        index=index,
        residuals=residuals_mm(lps, ordered, index),
        irregularity_mm=float(residuals_mm(raw, ordered, index).max()),
        straightened_mm=corner_distance(lps, raw, shape),
        kept_skew_mm=kept_skew,
        offsets=(positions - positions[0]) @ np.stack([row, column, normal]).T,
        lean=(np.array([row, column]) @ step) / float(normal @ step),
    )


def _mean_axes(planes: Sequence[Plane]) -> tuple[Matrix, Matrix, Matrix]:
    """The mean row and column cosines of planes, and the unit normal of these. Raises GeometryError."""
    row, column = _mean([p.row_cosine for p in planes]), _mean([p.column_cosine for p in planes])
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    if length < _SHORTEST_NORMAL:
        raise GeometryError("row and column cosines are parallel or not of unit length")
    return row, column, normal / length


def _plane_index(count: int, missing: Sequence[int]) -> NDArray[np.int64]:
    """(planes,) the k of each plane, with room for those that are missing after it."""
    return np.concatenate([[0], np.cumsum(1 + np.array(missing or [0] * (count - 1), int))]).astype(int)


def _fitted_step(positions: Matrix, index: NDArray[np.int64]) -> Matrix:
    """(3,) mm from one k to the next: the slope of the least-squares line through all positions."""
    k = index - index.mean()
    return np.asarray(k @ positions / (k @ k))


def residuals_mm(lps: Matrix, planes: Sequence[Plane], index: NDArray[np.int64]) -> Matrix:
    """Measure how far the corners of planes lie, by their own equations, from where an affine puts them.

    Args:
        lps: 4 x 4, index (i, j, k) to LPS mm.
        planes: each by itself; they need not be parallel.
        index: (planes,) the k of each plane.

    Returns:
        (planes,) mm, the distance of the worst corner of each plane.
    """
    spans = np.array(
        [
            [
                [c * p.column_spacing * (p.columns - 1) for c in p.row_cosine],
                [c * p.row_spacing * (p.rows - 1) for c in p.column_cosine],
            ]
            for p in planes
        ]
    )  # (planes, 2, 3): the whole extent along i and along j
    sizes = np.array([(p.columns - 1, p.rows - 1) for p in planes], float)
    off = spans - sizes[:, :, None] * lps[:3, :2].T
    k = index[:, None]
    start = np.array([p.position for p in planes]) - (lps[:3, 3] + k * lps[:3, 2])
    return plane_corner_shifts(start, off[:, 0], off[:, 1])


def _straighten(
    raw: Matrix, shape: tuple[int, int, int], limit_mm: float, precision: float, keep_skew: float, keep_mm: float
) -> tuple[Matrix, float]:
    """Return the affine as it is, or with the nearest orthonormal axes, or sheared (see `fit_stack`); and the skew kept in mm.

    A lean of the stack is rounding when it moves no voxel by more than the limit, or is smaller than what the printed
    decimals of the cosines can tell. A lean beyond that is gantry tilt, and is kept.
    """
    spacing = axis_lengths(raw)
    directions = raw[:3, :3] / spacing
    u, _, vt = np.linalg.svd(directions)
    straight = _about_centre(raw, (u @ vt) * spacing, shape)
    skew = float(np.abs(directions.T @ directions - np.eye(3)).max())
    moved = corner_distance(straight, raw, shape)
    if skew <= keep_skew and moved <= keep_mm:
        return raw, moved
    lean = float(np.abs(directions[:, 2] @ directions[:, :2]).max())
    if moved <= limit_mm or lean <= _LEAN_IN_PRECISIONS * precision:
        return straight, 0.0
    row, column = orthonormal(directions[:, 0], directions[:, 1])
    return _about_centre(raw, np.stack([row, column, directions[:, 2]], 1) * spacing, shape), 0.0


def _about_centre(raw: Matrix, axes: Matrix, shape: tuple[int, int, int]) -> Matrix:
    """An affine with other axes that leaves the centre of the block where it was."""
    centre = np.append((np.array(shape) - 1) / 2, 1)
    lps = np.eye(4)
    lps[:3, :3] = axes
    lps[:3, 3] = (raw @ centre)[:3] - axes @ centre[:3]
    return lps


def _print_precision(planes: Sequence[Plane]) -> float:
    """Half a unit of the last decimal the cosines were printed with; 0 for axis-parallel ones, which are exact."""
    values = {abs(c) for p in planes for c in (*p.row_cosine, *p.column_cosine)}
    decimals = max((_decimals(v) for v in values), default=0)
    return 0.0 if decimals == 0 else float(0.5 * 10.0**-decimals * sqrt(2))


def _decimals(value: float) -> int:
    return next((d for d in range(17) if round(value, d) == value), 17)


def _mean(values: Sequence[float] | Sequence[Vector]) -> Matrix:
    """The mean, exactly summed: equal values give themselves, and the order of the values changes no bit."""
    if all(v == values[0] for v in values):
        return np.asarray(values[0], float)
    array = np.array(values)
    return np.array([fsum(column) for column in array.reshape(len(array), -1).T]).reshape(array.shape[1:]) / len(array)
