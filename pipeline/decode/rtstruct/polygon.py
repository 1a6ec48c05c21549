"""Define polygons in a plane and the numbers of their edges. Numbers only, no DICOM.

Rules:
- A polygon is (n, 2) float64: u along the columns of a raster, v along its rows. The last point joins the first, so
  edge n runs from point n to the next one.
- A point is inside by the even-odd rule along its row: an edge counts from its lower end up to, not at, its upper one,
  where it lies at smaller u than the point or on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
Raster = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_BLOCK = 256  # points measured at once, which bounds the memory of a long contour


def follow(polygon: Polygon) -> Polygon:
    """Return the (n, 2) points that follow each point: the ends of the edges that start there."""
    return np.concatenate([polygon[1:], polygon[:1]])


def edges_upwards(polygon: Polygon) -> tuple[Polygon, Polygon]:
    """Return the lower and the upper end of every edge."""
    following = follow(polygon)
    down = (polygon[:, 1] > following[:, 1])[:, None]
    return np.where(down, following, polygon), np.where(down, polygon, following)


def cross(a: Polygon, b: Polygon) -> NDArray[np.float64]:
    """Return the cross products of vectors, positive where b lies to the left of a."""
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def expand(first: Numbers, count: Numbers) -> tuple[Numbers, Numbers]:
    """List count[n] numbers from first[n] on, for each n: every n, repeated, and the numbers in a second array."""
    n = np.repeat(np.arange(len(first)), count)
    return n, np.arange(len(n)) - np.repeat(np.cumsum(count) - count, count) + first[n]


def holds(polygon: Polygon, point: Polygon) -> bool:
    """Return whether one (2,) point is inside."""
    low, high = edges_upwards(polygon)
    meets = (low[:, 1] <= point[1]) & (point[1] < high[:, 1])
    low, high = low[meets], high[meets]
    return bool(np.count_nonzero(cross(high - low, point - low) <= 0) % 2)


def distance(polygon: Polygon, points: Polygon) -> NDArray[np.float64]:
    """Measure the (n,) distances from each point to the nearest edge, in the unit of both."""
    along = follow(polygon) - polygon
    nearest = np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        nearest[block] = to_edges(points[block, None], polygon, along).min(axis=1)
    return nearest


def to_edges(points: Polygon, start: Polygon, along: Polygon) -> NDArray[np.float64]:
    """Measure the distance from points to edges. The arrays broadcast.

    Args:
        points: (..., 2).
        start: (..., 2), of each edge.
        along: (..., 2), from its start to its end.

    Returns: (...) in the unit of all three.
    """
    length = np.maximum((along**2).sum(axis=-1), np.finfo(float).tiny)
    to = points - start
    foot = np.clip((to * along).sum(axis=-1) / length, 0, 1)[..., None] * along
    return np.asarray(np.sqrt(((to - foot) ** 2).sum(axis=-1)))
