"""Fill closed contours in one plane, compare them with each other and measure their area. Numbers only, no DICOM.

Rules:
- A polygon is (n, 2) float64: u along the columns of a raster, v along its rows, in continuous pixel indices, so that
  pixel (row, column) has its centre at (v, u) = (row, column). The last point joins the first.
- A pixel is inside when its centre is, by the even-odd rule along its row. A centre exactly on an edge belongs to the
  side of larger u, and on a horizontal edge to the side of larger v. So two polygons that share an edge share no
  pixel and leave none out, and a rectangle from 2 to 5 holds the pixels 2, 3 and 4.
- A polygon within another is a hole of it, one within the hole an island, and so on. Polygons that overlap in part
  are united first, and a polygon given twice counts once. What is nearer than `tolerance` counts as touching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...core.memory import require
from .edge_tree import EdgeTree
from .polygon import Numbers, Polygon, Raster, edges_upwards, expand
from .relations import crosses_itself, find_crossings, relate

# Crossings are rounded to this many decimals of a pixel: two edges through one centre then agree that it lies on them.
_DECIMALS = 9
_BLOCK = 1 << 20  # crossings of edges and rows computed at once, which bounds the memory of a long contour
# Samples along a pixel's side for areas without a formula. Odd, so that samples lie on the pixel centres: contours that
# hold a pixel then have an area.
_FINENESS = 9
_OF_RASTER = 4  # bytes that are held for every sample while a polygon is filled


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the polygons of one plane combine.

    Attributes:
        depth: for each polygon the number of (united) polygons around it; odd is a hole, None repeats an earlier one.
        overlapping: the pairs of polygons that overlap in part.
        crossed: the polygons that cross themselves.
        xor: whether all are combined by exclusive or; depth has no meaning then.
    """

    depth: tuple[int | None, ...]
    overlapping: tuple[tuple[int, int], ...]
    crossed: tuple[int, ...]
    xor: bool = False

    @property
    def holes(self) -> tuple[int, ...]:
        return () if self.xor else tuple(n for n, d in enumerate(self.depth) if d is not None and d % 2)

    @property
    def repeated(self) -> tuple[int, ...]:
        return tuple(n for n, d in enumerate(self.depth) if d is None)


@dataclass(frozen=True, slots=True)
class _Relations:
    """around: for each polygon, those it lies within. overlapping: pairs. repeated: polygons equal to an earlier one."""

    around: tuple[frozenset[int], ...]
    overlapping: tuple[tuple[int, int], ...]
    repeated: frozenset[int]


def raster(polygon: Polygon, shape: tuple[int, int]) -> Raster:
    """Return a (rows, columns) array of whether each pixel centre is inside; what lies beyond it is clipped."""
    rows, columns = shape
    low, high = edges_upwards(polygon)
    first, end = (np.clip(np.ceil(ends[:, 1]), 0, rows).astype(np.int64) for ends in (low, high))
    inside = np.zeros(shape, np.bool_)
    # Only the box of the crossings is computed: each crossing turns inside to outside for the rest of its row.
    top, height = int(first.min()), int(end.max() - first.min())
    if height <= 0:
        return inside
    left, right = np.clip((np.floor(polygon[:, 0].min()), np.ceil(polygon[:, 0].max()) + 1), 0, columns).astype(int)
    width = int(right - left) + 1
    toggles = np.zeros(height * width, np.uint8)
    for block in _blocks(end - first):
        edge, row = expand(first[block], (end - first)[block])
        edge += block.start
        # From the lower end, whichever way the edge runs, so that neighbours that share an edge compute it alike.
        u = low[edge, 0] + (row - low[edge, 1]) * _slope(low, high, edge)
        # No crossing lies beyond the polygon; of numbers in the billions, rounding may put it there.
        column = np.clip(np.ceil(np.round(u, _DECIMALS)), left, right).astype(np.int64)
        toggles ^= (np.bincount((row - top) * width + (column - left), minlength=len(toggles)) & 1).astype(np.uint8)
    box = inside[top : top + height, left : left + width]
    box[:] = np.bitwise_xor.accumulate(toggles.reshape(height, width), axis=1)[:, : box.shape[1]]
    return inside


def _blocks(count: Numbers) -> list[slice]:
    """Cut edges into runs that cross no more than about _BLOCK rows together. count: the rows that each edge crosses."""
    total = np.cumsum(count)
    cuts = [0, *np.searchsorted(total, np.arange(_BLOCK, total[-1], _BLOCK)).tolist(), len(count)]
    return [slice(start, end) for start, end in pairwise(cuts) if start < end]


def arrange(polygons: Sequence[Polygon], tolerance: float, scale: tuple[float, float] = (1, 1)) -> Arrangement:
    """Find nesting, overlaps and repeats among the polygons of one plane.

    Args:
        polygons: (n, 2) each, in pixels.
        tolerance: boundaries nearer than this touch and do not overlap, in the unit of `scale`.
        scale: a pixel's size along u and along v.

    Returns:
        The depth of each polygon, and which of them overlap, repeat another or cross themselves.
    """
    scaled = [p * scale for p in polygons]
    relations = _relate_all(scaled, tolerance)
    crossed = tuple(n for n, polygon in enumerate(scaled) if crosses_itself(polygon, tolerance))
    return Arrangement(_depths(relations), relations.overlapping, crossed)


def _relate_all(polygons: Sequence[Polygon], tolerance: float) -> _Relations:
    """Relate every pair of polygons whose boxes meet. A repeated polygon is related to no further one."""
    if len(polygons) == 1:
        return _Relations((frozenset(),), (), frozenset())
    boxes = np.array([(*p.min(0), *p.max(0)) for p in polygons])
    tree = cache(lambda n: EdgeTree.of(polygons[n]))
    around: list[set[int]] = [set() for _ in polygons]
    overlapping, repeated = [], set()
    for b in range(len(polygons)):
        near = np.flatnonzero((boxes[:b, :2] < boxes[b, 2:]).all(1) & (boxes[:b, 2:] > boxes[b, :2]).all(1))
        for a in map(int, near):
            relation = "apart" if a in repeated else relate(tree(b), tree(a), tolerance)
            if relation == "same":
                repeated.add(b)
                break
            if relation == "within":
                around[b].add(a)
            elif relation == "around":
                around[a].add(b)
            elif relation == "overlapping":
                overlapping.append((a, b))
    return _Relations(tuple(frozenset(n - repeated) for n in around), tuple(overlapping), frozenset(repeated))


def _depths(relations: _Relations) -> tuple[int | None, ...]:
    """Count the united polygons around each polygon; None for one that repeats another."""
    around = relations.around
    united = list(range(len(around)))  # the group of each polygon; those that overlap become one group
    for a, b in relations.overlapping:
        united = [united[a] if group == united[b] else group for group in united]
    outer: dict[int, set[int]] = {group: set() for group in united}
    for n, group in enumerate(united):
        outer[group] |= {united[a] for a in around[n]} - {group}
    return tuple(None if n in relations.repeated else len(outer[group]) for n, group in enumerate(united))


def fill(polygons: Sequence[Polygon], arrangement: Arrangement, shape: tuple[int, int]) -> Raster:
    """Find the pixels that the polygons of one plane hold together.

    Args:
        polygons: (n, 2) each, in pixels.
        arrangement: how they combine, from `arrange`.
        shape: rows and columns of the raster.

    Returns:
        (rows, columns), whether each pixel centre is inside.
    """
    filled = np.zeros(shape, np.bool_)
    if arrangement.xor:
        for polygon in polygons:
            filled ^= raster(polygon, shape)
        return filled
    # From the outside in, so that a hole is cut out of what is around it and an island is put into the hole.
    kept = [(depth, p) for depth, p in zip(arrangement.depth, polygons, strict=True) if depth is not None]
    for depth, polygon in sorted(kept, key=lambda item: item[0]):
        if depth % 2:
            filled &= ~raster(polygon, shape)
        else:
            filled |= raster(polygon, shape)
    return filled


def area(polygons: Sequence[Polygon], arrangement: Arrangement, fineness: int = _FINENESS) -> float:
    """Measure the area that the polygons of one plane hold together: exact where they nest, else sampled.

    Args:
        polygons: (n, 2) each, in pixels.
        arrangement: how they combine, from `arrange`.
        fineness: samples along a pixel's side where there is no formula; an odd number.

    Returns:
        The area in pixels.
    """
    if not (arrangement.overlapping or arrangement.xor):
        areas = [area_of(p, crossed=n in arrangement.crossed) for n, p in enumerate(polygons)]
        return sum(a * (-1 if d % 2 else 1) for a, d in zip(areas, arrangement.depth, strict=True) if d is not None)
    corner = np.floor(np.min([p.min(axis=0) for p in polygons], axis=0)) - 1
    width, height = (float(n) for n in np.ceil(np.max([p.max(axis=0) for p in polygons], axis=0) - corner) + 2)
    require(width * height * fineness**2 * _OF_RASTER, "the raster of contours that overlap or cross")
    fine = [(p - corner) * fineness + (fineness - 1) / 2 for p in polygons]
    held = fill(fine, arrangement, (int(height) * fineness, int(width) * fineness))
    return float(np.count_nonzero(held)) / fineness**2


def area_of(polygon: Polygon, crossed: bool) -> float:
    """Measure the even-odd area of one polygon, in pixels, exactly. crossed: whether its edges cross.

    Between two neighbouring heights that have a vertex or a crossing, its runs are trapezia, so their widths half-way
    give the area.
    """
    v = polygon[:, 1]
    heights = np.unique(v)
    if crossed:
        edge, along, _ = find_crossings(polygon, polygon)
        heights = np.union1d(heights, v[edge] + along * (np.roll(v, -1) - v)[edge])
    middles = (heights[1:] + heights[:-1]) / 2
    low, high = edges_upwards(polygon)
    first = np.searchsorted(middles, low[:, 1])
    edge, slab = expand(first, np.searchsorted(middles, high[:, 1]) - first)
    u = low[edge, 0] + (middles[slab] - low[edge, 1]) * _slope(low, high, edge)
    order = np.lexsort((u, slab))  # every slab has an even number of edges, so in and out alternate throughout
    swept = (u * np.diff(heights)[slab])[order]
    return float(swept[1::2].sum() - swept[::2].sum())


def _slope(low: Polygon, high: Polygon, edge: Numbers) -> NDArray[np.float64]:
    return np.asarray((high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1]))
