"""Fill rings on a raster by the centres of its pixels, with Shapely's own answer for every run of a row.

Rules:
- A ring is closed, of points (u along columns, v along rows) in continuous indices: a pixel's centre is at whole numbers.
- The rings of one plane are combined by exclusive or; a ring that crosses itself is filled by even-odd.
- A row is cut where edges meet its line. All centres between two cuts are on one side of the ring, and one question to
  Shapely answers for them. What is inside is never counted from crossings.
- A centre no farther than a margin from an edge, along u and along v, is left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

RingPoints = NDArray[np.float64]
WholeNumbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The part of a stack of rasters that is filled: `low` its first (u, v), `size` its columns and rows, `planes` how many."""

    low: tuple[int, int]
    size: tuple[int, int]
    planes: int


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Edges with the rows they come near: for each meeting the ring, the row, and the u at which the edge meets its line.

    meets: whether it does meet it, and not only come within the margin. left, right: (n,) the u between which the edge is
    within the margin of the row.
    """

    ring: WholeNumbers
    row: WholeNumbers
    u: RingPoints
    meets: NDArray[np.bool_]
    left: RingPoints
    right: RingPoints


def fill_rings(
    rings: Sequence[RingPoints], planes: WholeNumbers, window: Window, margin: RingPoints | None = None
) -> NDArray[np.uint8]:
    """Fill rings, each in its plane.

    Args:
        rings: (n, 2) each.
        planes: (rings,) the plane of each, from 0.
        window: what is filled; what lies beyond it is clipped.
        margin: (2,) along u and v, within which of an edge a centre is left open; None leaves none open.

    Returns:
        (planes, rows, columns), 0 outside, 1 inside, and 2 for what is left open.
    """
    columns, rows = window.size
    inside = np.zeros((window.planes, rows, columns + 1), np.uint8)
    filled = inside[:, :, :-1]
    if not rings:
        return filled
    shifted = [ring - window.low for ring in rings]
    near = _find_rows(shifted, rows, np.zeros(2) if margin is None else margin)
    ring, row, first, end = _find_inner_runs(shifted, near, columns)
    start = (planes[ring] * rows + row) * (columns + 1)
    # Each run turns inside to outside and back, so that rings of one plane are combined by exclusive or.
    np.add.at(inside.reshape(-1), np.concatenate([start + first, start + end]), 1)
    np.add.accumulate(inside, axis=2, out=inside)
    inside &= 1
    if margin is not None:
        _leave_open(filled, near, planes, margin)
    return filled


def open_edges(
    filled: NDArray[np.uint8], rings: Sequence[RingPoints], planes: WholeNumbers, window: Window, margin: RingPoints
) -> None:
    """Leave open, as 2, the centres that lie near an edge of a ring.

    Args:
        filled: (planes, rows, columns), of `fill_rings`; it is changed.
        rings: (n, 2) each.
        planes: (rings,) the plane of each, from 0.
        window: what was filled.
        margin: (2,) along u and v, within which of an edge a centre is left open.
    """
    near = _find_rows([ring - window.low for ring in rings], window.size[1], margin)
    _leave_open(filled, near, planes, margin)


def _leave_open(filled: NDArray[np.uint8], near: Rows, planes: WholeNumbers, margin: RingPoints) -> None:
    first = np.maximum(np.ceil(near.left - margin[0]), 0).astype(np.int64)
    end = np.minimum(np.floor(near.right + margin[0]) + 1, filled.shape[2]).astype(np.int64)
    close = np.flatnonzero(end > first)
    n, column = _list_from(first[close], (end - first)[close])
    filled[planes[near.ring[close]][n], near.row[close][n], column] = 2


def _find_rows(rings: Sequence[RingPoints], rows: int, margin: RingPoints) -> Rows:
    """Find the rows that each edge meets, or comes within the margin of."""
    counts = np.array([len(ring) for ring in rings])
    one = np.concatenate(rings)
    following = np.arange(1, len(one) + 1)
    following[np.cumsum(counts) - 1] = np.cumsum(counts) - counts
    other = one[following]
    upwards = (one[:, 1] <= other[:, 1])[:, None]
    low, high = np.where(upwards, one, other), np.where(upwards, other, one)
    first = np.maximum(np.ceil(low[:, 1] - margin[1]), 0).astype(np.int64)
    end = np.minimum(np.floor(high[:, 1] + margin[1]) + 1, rows).astype(np.int64)
    edge, row = _list_from(first, np.maximum(end - first, 0))
    low, high, ring = low[edge], high[edge], np.repeat(np.arange(len(rings)), counts)[edge]
    height = high[:, 1] - low[:, 1]
    slope = (high[:, 0] - low[:, 0]) / np.where(height > 0, height, 1)
    below, above = (np.clip(row + by - low[:, 1], 0, height) for by in (-margin[1], margin[1]))
    flat = height == 0
    ends = np.stack([low[:, 0] + below * slope, np.where(flat, high[:, 0], low[:, 0] + above * slope)])
    meets = (low[:, 1] <= row) & (row <= high[:, 1])
    u = low[:, 0] + (row - low[:, 1]) * slope
    return Rows(ring, row, u, meets & ~flat, ends.min(axis=0), ends.max(axis=0))


def _find_inner_runs(
    rings: Sequence[RingPoints], near: Rows, columns: int
) -> tuple[WholeNumbers, WholeNumbers, WholeNumbers, WholeNumbers]:
    """Find the runs of centres inside a ring: ring, row, first column, and the column after the last."""
    ring, row, u = near.ring[near.meets], near.row[near.meets], near.u[near.meets]
    order = np.lexsort((u, row, ring))
    ring, row, u = ring[order], row[order], u[order]
    first = np.maximum(np.ceil(u[:-1]), 0).astype(np.int64)
    end = np.minimum(np.ceil(u[1:]), columns).astype(np.int64)
    run = np.flatnonzero((ring[1:] == ring[:-1]) & (row[1:] == row[:-1]) & (end > first))
    ring, row, middle = ring[run], row[run], (u[run] + u[run + 1]) / 2
    polygons = shapely.polygons([shapely.linearrings(points) for points in rings])
    shapely.prepare(polygons)
    inside = shapely.contains_xy(polygons[ring], middle, row.astype(float))
    return ring[inside], row[inside], first[run][inside], end[run][inside]


def _list_from(first: WholeNumbers, count: WholeNumbers) -> tuple[WholeNumbers, WholeNumbers]:
    """List count[n] numbers from first[n] on, for each n: n itself, repeated, and the numbers."""
    n = np.repeat(np.arange(len(first)), count)
    return n, np.arange(len(n)) - (np.cumsum(count) - count)[n] + first[n]
