"""Find which edges of two polygons come near each other, and which points one holds, without comparing all with all.

Rules:
- Neighbouring edges share a box, neighbouring boxes a larger one, and so on. Boxes that are apart end the search of all
  that they hold. No decision is made by a box that the edges within it would not make: it only leaves out work.
- A run of edges whose box lies wholly at smaller u than a point counts for the even-odd rule by its two ends alone: its
  parity at the point's row is that of whether they lie on different sides of the row.
- Memory is linear in the number of edges: pairs are searched in tiles, each of which has all pairs of its edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .polygon import Numbers, Polygon, Raster, cross, edges_upwards, follow, to_edges

_FAN = 8  # boxes that share a larger one
_TILE = 1 << 18  # pairs compared at once, which bounds the memory

# For each box: low u, low v, and the negatives of its high u and high v, so that one minimum joins boxes and the sum
# with the opposite rows of another box is how far the two lie apart.
_Boxes = NDArray[np.float64]
_OPPOSITE = np.array([2, 3, 0, 1])


class NearPairs(NamedTuple):
    """The pairs of near edges of a tile: edge first[n] of one polygon and second[n] of the other.

    start, end: the edges of the one polygon that the tile stands for, from start up to, not at, end.
    """

    start: int
    end: int
    first: Numbers
    second: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class EdgeTree:
    """The edges of a polygon in nested boxes.

    Attributes:
        polygon: (n, 2).
        levels: (4, n) boxes of the edges, then of _FAN of them each, and so on to at most _FAN boxes.
    """

    polygon: Polygon
    levels: tuple[_Boxes, ...]

    @classmethod
    def of(cls, polygon: Polygon) -> EdgeTree:
        """Build the tree of a polygon."""
        end = follow(polygon)
        return cls(polygon, _nest(np.concatenate([np.minimum(polygon, end).T, -np.maximum(polygon, end).T])))

    def near(self, other: EdgeTree, margin: float) -> Iterator[NearPairs]:
        """Yield the pairs of edges of this polygon and another whose boxes lie no more than `margin` apart, by tiles."""
        return _near(self.levels, other.levels, margin)

    def touches(self, points: Polygon, tolerance: float) -> Raster:
        """Return for each of the (n,) points whether an edge is no further away than `tolerance`."""
        touched = np.zeros(len(points), np.bool_)
        if len(points) == 0:
            return touched
        along = follow(self.polygon) - self.polygon
        # Wider than the tolerance by more than what is lost in rounding, so that only the distance decides.
        margin = widen(tolerance)
        for _, _, n, edge in _near(_nest(np.concatenate([points.T, -points.T])), self.levels, margin):
            touched[n[~(to_edges(points[n], self.polygon[edge], along[edge]) > tolerance)]] = True
        return touched

    def holds(self, points: Polygon) -> Raster:
        """Return for each of the (n,) points whether it is inside, by the even-odd rule."""
        inside = np.zeros(len(points), np.int64)
        level = len(self.levels) - 1
        count = self.levels[level].shape[1]
        step = max(1, _TILE // (count * _FAN))
        for start in range(0, len(points), step):
            n = np.repeat(np.arange(start, min(start + step, len(points))), count)
            box = np.tile(np.arange(count), len(n) // count)
            self._count_left(points, n, box, inside)
        return np.asarray(inside % 2 == 1)

    def _count_left(self, points: Polygon, n: Numbers, box: Numbers, inside: Numbers) -> None:
        """Add to `inside` how many edges in the boxes (parity only) lie left of the points."""
        count = len(self.polygon)
        for level in range(len(self.levels) - 1, -1, -1):
            u, v, bounds = points[n, 0], points[n, 1], self.levels[level][:, box]
            meets = (bounds[1] <= v) & (v < -bounds[3]) & (bounds[0] <= u)
            left = meets & (-bounds[2] <= u)
            ends = (
                self.polygon[box[left] * _FAN**level, 1],
                self.polygon[np.minimum((box[left] + 1) * _FAN**level, count) % count, 1],
            )
            inside += np.bincount(n[left][(ends[0] > v[left]) != (ends[1] > v[left])], minlength=len(inside))
            rest = meets & ~left
            n, box = n[rest], box[rest]
            if level:
                n, box = _open(n, box, self.levels[level - 1].shape[1])
        low, high = edges_upwards(self.polygon)
        on = cross((high - low)[box], points[n] - low[box]) <= 0
        inside += np.bincount(n[on], minlength=len(inside))


def widen(tolerance: float) -> float:
    """Return a margin of boxes that holds all that is within the tolerance, whatever was lost in rounding."""
    return tolerance * 1.001 + 1e-9


def _nest(boxes: _Boxes) -> tuple[_Boxes, ...]:
    """Put boxes into larger ones until there are at most _FAN."""
    levels = [boxes]
    while levels[-1].shape[1] > _FAN:
        levels.append(np.minimum.reduceat(levels[-1], np.arange(0, levels[-1].shape[1], _FAN), axis=1))
    return tuple(levels)


def _near(one: tuple[_Boxes, ...], other: tuple[_Boxes, ...], margin: float) -> Iterator[NearPairs]:
    """Yield the pairs of lowest boxes that lie no more than `margin` apart, in tiles that ascend in `one`."""
    opposite = [boxes[_OPPOSITE] for boxes in other]
    count = one[-1].shape[1]
    a, b = np.divmod(np.arange(count * other[-1].shape[1]), other[-1].shape[1])
    tiles = [
        (max(len(one), len(other)) - 1, 0, count, a, b)
    ]  # level, first box of `one` and the one after its last, pairs
    while tiles:
        level, start, end, a, b = tiles.pop()
        height, other_height = min(level, len(one) - 1), min(level, len(other) - 1)
        apart = np.take(one[height], a, axis=1) + np.take(opposite[other_height], b, axis=1)
        meet = (apart <= margin).all(axis=0)
        a, b = a[meet], b[meet]
        if level == 0 or len(a) == 0:
            yield NearPairs(start * _FAN**height, min(end * _FAN**height, one[0].shape[1]), a, b)
        elif len(a) * _FAN**2 > _TILE and a[0] != a[-1]:
            # At a boundary between boxes of `one`, so that no tile lacks pairs of its edges.
            cut = max(int(np.searchsorted(a, a[len(a) // 2])), int(np.searchsorted(a, a[0], side="right")))
            tiles += [(level, int(a[cut]), end, a[cut:], b[cut:]), (level, start, int(a[cut]), a[:cut], b[:cut])]
        else:
            if level < len(other):
                a, b = _open(a, b, opposite[level - 1].shape[1])
            if level < len(one):
                b, a = _open(b, a, one[level - 1].shape[1])
                order = np.argsort(a, kind="stable")
                a, b, start, end = a[order], b[order], start * _FAN, min(end * _FAN, one[level - 1].shape[1])
            tiles.append((level - 1, start, end, a, b))


def _open(kept: Numbers, boxes: Numbers, count: int) -> tuple[Numbers, Numbers]:
    """Replace each box by those within it, of which there are `count` altogether; repeat what is kept along with it."""
    kept, boxes = np.repeat(kept, _FAN), (boxes[:, None] * _FAN + np.arange(_FAN)).ravel()
    there = boxes < count
    return kept[there], boxes[there]
