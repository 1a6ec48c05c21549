"""Turn layers of contours into a block of voxels: fill their planes, or interpolate between them. Numbers only.

Rules:
- A layer is all closed contours at one position along one direction of the grid. Its plane is the nearest one; exactly
  half-way is the upper one, so that a layer half a step below the first plane is in it and one half a step above the
  last is not.
- Interpolation is shape-based: the boundary is the zero line of the signed distances to the contours of the two
  neighbouring layers, interpolated linearly. On a layer's own plane that is the layer itself. It never bridges a gap
  and never extrapolates: the ends of an ROI, and of a gap, go to their nearest plane.
- Voxels wait as bits, and a plane is unpacked when it is asked for: many ROIs cost little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...volume.mask import Array, Voxels, require_block
from .contours import Arrangement, fill
from .polygon import Polygon, Raster, distance

Pair = NDArray[np.float64]  # of u and v

# Layers further apart than this many times the usual step have a gap between them: half-way from the usual step (1) to
# one layer that is left out (2).
_GAP = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The closed contours at one position along one direction of the grid.

    Attributes:
        position: along that direction, in steps of the grid from its first plane.
        numbers: of the contours within their ROI, in the order of `polygons`.
        polygons: (n, 2) each, in pixels of the plane.
        arrangement: how the polygons combine.
    """

    position: float
    numbers: tuple[int, ...]
    polygons: tuple[Polygon, ...]
    arrangement: Arrangement

    @property
    def plane(self) -> int:
        return int(np.floor(self.position + 0.5))


def plane_axes(axis: int) -> tuple[int, int]:
    """Return the two index directions within a plane stacked along `axis`: that of its columns, and that of its rows."""
    return ((1, 2), (0, 2), (0, 1))[axis]


def measure_step(layers: Sequence[Layer]) -> float:
    """Measure the median distance of neighbouring layers, in steps of the grid; 1 where there is one layer."""
    return float(np.median(np.diff([layer.position for layer in layers]))) if len(layers) > 1 else 1.0


def fill_layers(
    layers: Sequence[Layer], axis: int, shape: tuple[int, int, int], interpolate_mm: Pair | None = None
) -> tuple[Raster, tuple[int, int, int]]:
    """Fill the layers within their own box, which is all of the grid that they can reach.

    Args:
        layers: ascending by position, their planes within the grid.
        axis: index direction they are stacked along: 0, 1 or 2 for i, j or k.
        shape: (columns, rows, planes) of the grid.
        interpolate_mm: size of a pixel along u and v within a layer, in mm, to interpolate between layers; None fills
            only the planes of the layers.

    Returns:
        The voxels of the box as (k, j, i), and the box's first (k, j, i) in the grid.
    """
    u, v = plane_axes(axis)
    corners = np.concatenate([[p.min(axis=0), p.max(axis=0)] for layer in layers for p in layer.polygons])
    last_pixel = np.array([shape[u], shape[v]]) - 1
    low = np.clip(np.ceil(corners.min(axis=0)), 0, last_pixel)
    high = np.clip(np.floor(corners.max(axis=0)), low, last_pixel)
    size = (int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1)
    first = min(layer.plane for layer in layers)
    depth = max(layer.plane for layer in layers) - first + 1
    require_block((depth, *size), np.dtype(np.bool_))
    stacked = np.zeros((depth, *size), np.bool_)
    # The layer nearest to the plane comes last, so that it is the one that stays where several share a plane.
    for layer in sorted(layers, key=lambda n: -abs(n.position - n.plane)):
        stacked[layer.plane - first] = fill([p - low for p in layer.polygons], layer.arrangement, size)
    if interpolate_mm is not None:
        for plane, filled in _interpolated(layers, low, size, interpolate_mm):
            stacked[plane - first] = filled
    start = [0, 0, 0]
    start[2 - axis], start[2 - u], start[2 - v] = first, int(low[0]), int(low[1])
    return np.moveaxis(stacked, 0, 2 - axis), (start[0], start[1], start[2])


def _interpolated(
    layers: Sequence[Layer], low: Pair, size: tuple[int, int], spacing_mm: Pair
) -> Iterator[tuple[int, Raster]]:
    """Yield every plane from one layer to the next with its number; planes in a gap are left out."""
    widest = _GAP * measure_step(layers)
    for below, above in pairwise(layers):
        if above.position - below.position <= widest:
            for plane in range(int(np.ceil(below.position)), int(np.floor(above.position)) + 1):
                share = (plane - below.position) / (above.position - below.position)
                yield plane, _between(below, above, share, low, size, spacing_mm)


def _between(below: Layer, above: Layer, share: float, low: Pair, size: tuple[int, int], spacing_mm: Pair) -> Raster:
    """Interpolate (rows, columns) at a share of the way from one layer to the other; 0 and 1 are the layers themselves.

    What both hold is inside and what neither holds is outside, so distances decide only where the two differ.
    """
    ends = [fill([p - low for p in n.polygons], n.arrangement, size) for n in (below, above)]
    if share in (0, 1):
        return ends[int(share)]
    inside = ends[0] & ends[1]
    row, column = np.nonzero(ends[0] ^ ends[1])
    points = (np.stack([column, row], axis=1) + low) * spacing_mm
    signed = np.zeros(len(points))
    for layer, end, weight in ((below, ends[0], 1 - share), (above, ends[1], share)):
        to_boundary = np.min([distance(p * spacing_mm, points) for p in layer.polygons], axis=0)
        signed += weight * np.where(end[row, column], to_boundary, -to_boundary)
    inside[row, column] = signed > 0
    return inside


def to_voxels(found: Raster, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Voxels:
    """Put a block of voxels into its grid.

    Args:
        found: (k, j, i), the voxels of the block.
        start: first (k, j, i) of the block in the grid.
        shape: (columns, rows, planes) of the grid.

    Returns:
        uint8 voxels of the whole grid, 0 and 1; kept as bits until a plane is asked for.
    """
    columns, rows, planes = shape
    k0, j0, i0 = start
    depth, height, width = found.shape
    bits = np.packbits(found, axis=2)
    filled = {k0 + int(k) for k in np.flatnonzero(bits.any(axis=(1, 2)))}

    def plane(k: int) -> Array:
        values = np.zeros((rows, columns), np.uint8)
        if k0 <= k < k0 + depth:
            values[j0 : j0 + height, i0 : i0 + width] = np.unpackbits(bits[k - k0], axis=1, count=width)
        return values

    return Voxels((columns, rows, planes), np.dtype(np.uint8), plane, lambda k: k not in filled)
