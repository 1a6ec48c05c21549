"""Put the contours of one ROI on the planes of a grid by the rules of docs/rtstruct.md, and fill them. Numbers only.

Rules:
- Contours are stacked along k where they are flat along it, else along the direction in which they are flattest.
- Contours at one position are a layer, which goes to the nearest plane; a layer half-way between two planes, within what
  the printed numbers leave open, is left open in both.
- Where layers would meet in a plane, those on planes are taken, and the rest left out; where that does not decide, refused.
- Between layers, where asked for, the boundary is the zero line of the signed distances to the contours of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from .drawn_contours import DrawnContours
from .plane_regions import CombinedContours, combine
from .printed_grid import PrintedGrid
from .row_runs import RingPoints, Window, fill_rings, open_edges

EDGE = 1e-6  # of a voxel: a centre that is no farther from an edge is left open
_DECIMALS = 6  # of a position, so that a layer half-way goes the same way on every grid
_THIN_MM = 0.01  # root mean square across the longest direction: less is a line
_GAP = 1.5  # times the usual distance between layers: more is a gap
_OPEN = 2


class FilledContours(NamedTuple):
    """voxels: (i, j, k) from `box` on: 0 outside, 1 inside, 2 left open. united: planes with contours that were united."""

    voxels: NDArray[np.uint8]
    box: tuple[int, int, int]
    united: int


@dataclass(frozen=True, slots=True, eq=False)
class ContourLayer:
    """The contours at one position along the stack, in pixels of the plane, and how they combine."""

    position: float
    contours: tuple[RingPoints, ...]
    combined: CombinedContours

    @property
    def plane(self) -> int:
        return int(np.floor(self.position + 0.5))


def fill_contours(drawn: DrawnContours, grid: PrintedGrid, limit_mm: float, *, interpolate: bool) -> FilledContours:
    """Find the voxels of an ROI.

    Args:
        drawn: its contours.
        grid: of the source.
        limit_mm: across which a contour may spread, and within which positions are one.
        interpolate: whether to fill between layers.

    Returns: the voxels of a box.

    Raises: ValueError where the contours lie in no planes of the grid, in several directions, or share planes.
    """
    to_index = np.linalg.inv(grid.lps)
    points = drawn.points @ to_index[:3, :3].T + to_index[:3, 3]
    axis = _find_axis(points, drawn, grid, limit_mm)
    u, v = [n for n in range(3) if n != axis]
    layers, united = _group(points, drawn, axis, grid, limit_mm)
    layers = [layer for layer in layers if _reaches(layer, grid.shape, axis)]
    if not interpolate:
        layers = _keep_on_planes(layers, float(grid.steps_mm[axis]), limit_mm)
    if not layers:
        raise ValueError("no contour reaches the source")
    margin = EDGE + grid.slack[[u, v]]
    window = _find_window(layers, (grid.shape[u], grid.shape[v]), margin)
    first = min(layer.plane for layer in layers)
    if interpolate:
        filled = _interpolate(layers, window, margin, float(EDGE + grid.slack[axis]), grid.steps_mm[[u, v]])
    else:
        filled = _fill_planes(layers, window, margin)
        if grid.slack[axis] > EDGE:  # less than that is rounded away
            _open_halfway(filled, layers, window, margin, float(grid.slack[axis]))
    # (plane, v, u) to (i, j, k): the other two directions ascend.
    turned = np.moveaxis(filled.transpose(2, 1, 0), 2, axis)
    low = [0, 0, 0]
    low[axis], low[u], low[v] = first, *window.low
    return FilledContours(turned, (low[0], low[1], low[2]), united)


def _find_axis(points: RingPoints, drawn: DrawnContours, grid: PrintedGrid, limit_mm: float) -> int:
    """Find the direction of the grid along which the contours are stacked."""
    start = np.cumsum(drawn.counts) - drawn.counts
    extent_mm = (np.maximum.reduceat(points, start) - np.minimum.reduceat(points, start)) * grid.steps_mm
    axes = np.where(extent_mm[:, 2] <= limit_mm, 2, extent_mm.argmin(axis=1))
    if (extent_mm.min(axis=1) > limit_mm).any():
        raise ValueError("a contour lies in no plane of the source")
    if len(set(axes.tolist())) > 1:
        raise ValueError("the contours lie in planes of several directions")
    return int(axes[0])


def _group(
    points: RingPoints, drawn: DrawnContours, axis: int, grid: PrintedGrid, limit_mm: float
) -> tuple[list[ContourLayer], int]:
    """Group the contours that have an area by position, ascending. Returns how many layers have united ones too."""
    u, v = [n for n in range(3) if n != axis]
    pixel_mm = grid.steps_mm[[u, v]]
    start = np.cumsum(drawn.counts) - drawn.counts
    wide = np.flatnonzero(_are_wide(points[:, [u, v]] * pixel_mm, drawn.counts)).tolist()
    positions = (np.add.reduceat(points[:, axis], start) / drawn.counts)[wide]
    contours = np.split(points[:, [u, v]], start[1:])
    order = np.argsort(positions, kind="stable")
    cuts = np.flatnonzero(np.diff(positions[order]) * grid.steps_mm[axis] > limit_mm) + 1
    layers, united = [], 0
    for members in np.split(order, cuts) if wide else ():
        own = [contours[wide[n]] for n in members]
        is_xor = drawn.xor[[wide[n] for n in members]].any()
        combined = CombinedContours(own, own, is_plain=True) if is_xor else combine(own, pixel_mm)
        united += combined.united
        position = float(np.round(positions[members].mean(), _DECIMALS))
        layers.append(ContourLayer(position, tuple(own), combined))
    return layers, united


def _are_wide(points_mm: RingPoints, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the points of each contour span an area, and are no speck or line: by the smaller of their two variances."""
    start = np.cumsum(counts) - counts
    across = points_mm - np.repeat(np.add.reduceat(points_mm, start) / counts[:, None], counts, axis=0)
    products = np.stack([across[:, 0] ** 2, across[:, 1] ** 2, across[:, 0] * across[:, 1]], axis=1)
    one, other, both = (np.add.reduceat(products, start) / counts[:, None]).T
    smaller = (one + other) / 2 - np.hypot((one - other) / 2, both)
    return np.asarray(smaller > _THIN_MM**2)


def _reaches(layer: ContourLayer, shape: tuple[int, int, int], axis: int) -> bool:
    """Whether any contour of a layer meets the grid."""
    end = np.array([shape[n] for n in range(3) if n != axis]) - 0.5
    return 0 <= layer.plane < shape[axis] and any(
        bool((c.max(axis=0) >= -0.5).all() and (c.min(axis=0) <= end).all()) for c in layer.contours
    )


def _measure_step(layers: Sequence[ContourLayer]) -> float:
    """The usual distance between layers, in planes."""
    return float(np.median(np.diff([layer.position for layer in layers]))) if len(layers) > 1 else 1.0


def _keep_on_planes(layers: Sequence[ContourLayer], step_mm: float, limit_mm: float) -> list[ContourLayer]:
    """Leave one layer to a plane: that on it. Where layers are finer than planes, each reaches half its own step."""
    planes = [layer.plane for layer in layers]
    shared = {plane for plane in planes if planes.count(plane) > 1}
    if not shared:
        return list(layers)
    on = [layer for layer in layers if abs(layer.position - layer.plane) * step_mm <= limit_mm]
    if any(sum(layer.plane == plane for layer in on) != 1 for plane in shared):
        raise ValueError("contours at different positions share a plane of the source")
    reach = _measure_step(layers) / 2
    return [n for n in layers if n in on or (n.plane not in shared and abs(n.position - n.plane) < reach)]


def _find_window(layers: Sequence[ContourLayer], size: tuple[int, int], margin: RingPoints) -> Window:
    """Find the part of the planes that the contours reach. size: of a plane, along u and v."""
    every = np.concatenate([contour for layer in layers for contour in layer.contours])
    last = np.array(size) - 1
    low = np.clip(np.floor(every.min(axis=0) - margin), 0, last).astype(int)
    high = np.clip(np.ceil(every.max(axis=0) + margin), low, last).astype(int)
    planes = [layer.plane for layer in layers]
    (left, top), (width, height) = low.tolist(), (high - low + 1).tolist()
    return Window((left, top), (width, height), max(planes) - min(planes) + 1)


def _fill_planes(
    layers: Sequence[ContourLayer], window: Window, margin: RingPoints, numbers: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """Fill layers on their planes, or on the planes of these numbers, from 0."""
    first = min(layer.plane for layer in layers)
    on = [layer.plane - first for layer in layers] if numbers is None else numbers

    def fill(of: Callable[[ContourLayer], Sequence[RingPoints]]) -> NDArray[np.uint8]:
        return fill_rings(*_list_rings(layers, on, of), window)

    drawn = _list_rings(layers, on, lambda layer: layer.contours)
    if all(layer.combined.is_plain for layer in layers):
        return fill_rings(*drawn, window, margin)
    filled = fill(lambda layer: layer.combined.rings)
    if any(layer.combined.others is not layer.combined.rings for layer in layers):
        filled[filled != fill(lambda layer: layer.combined.others)] = _OPEN
    open_edges(filled, *drawn, window, margin)
    return filled


def _list_rings(
    layers: Sequence[ContourLayer], planes: Sequence[int], of: Callable[[ContourLayer], Sequence[RingPoints]]
) -> tuple[list[RingPoints], NDArray[np.int64]]:
    """List some rings of every layer, and the plane of each."""
    rings = [ring for layer in layers for ring in of(layer)]
    return rings, np.repeat(np.array(planes, np.int64), [len(of(layer)) for layer in layers])


def _open_halfway(
    filled: NDArray[np.uint8], layers: Sequence[ContourLayer], window: Window, margin: RingPoints, along: float
) -> None:
    """Leave open, in both planes, what belongs to a layer that lies half-way between two. along: margin in planes."""
    first = min(layer.plane for layer in layers)
    for layer in layers:
        if abs(layer.position + 0.5 - round(layer.position + 0.5)) <= along:
            held = _fill_planes([layer], Window(window.low, window.size, 1), margin)[0] > 0
            upper = round(layer.position + 0.5) - first
            for plane in (upper - 1, upper):
                if 0 <= plane < len(filled):
                    filled[plane][held] = _OPEN


def _interpolate(
    layers: Sequence[ContourLayer], window: Window, margin: RingPoints, along: float, pixel_mm: RingPoints
) -> NDArray[np.uint8]:
    """Fill every plane from one layer to the next; those beyond the ends and in a gap by their nearest layer."""
    first = min(layer.plane for layer in layers)
    each = _fill_planes(layers, Window(window.low, window.size, len(layers)), margin, range(len(layers)))
    filled = np.zeros((window.planes, *each.shape[1:]), np.uint8)
    for n in sorted(range(len(layers)), key=lambda n: -abs(layers[n].position - layers[n].plane)):
        filled[layers[n].plane - first] = each[n]
    reach_mm = float((margin * pixel_mm).max())
    for n, plane, share in _list_between(layers):
        ends, step = each[n : n + 2], layers[n + 1].position - layers[n].position
        differ = np.nonzero((ends[0] != ends[1]) | (ends[0] == _OPEN))
        pixels_mm = (np.stack([differ[1], differ[0]], axis=1) + window.low) * pixel_mm
        signed = [
            _measure_signed(layer, end[differ], pixels_mm, pixel_mm)
            for layer, end in zip(layers[n : n + 2], ends, strict=True)
        ]
        level = (1 - share) * signed[0] + share * signed[1]
        open_mm = reach_mm + (abs(signed[0]) + abs(signed[1])) * along / step
        filled[plane - first] = ends[0]
        filled[plane - first][differ] = np.where(abs(level) <= open_mm, _OPEN, level > 0)
    return filled


def _list_between(layers: Sequence[ContourLayer]) -> Iterator[tuple[int, int, float]]:
    """Yield the number of a layer, a plane from it to the next, and its share of the way; none in a gap."""
    widest = _GAP * _measure_step(layers)
    for n, (below, above) in enumerate(pairwise(layers)):
        step = above.position - below.position
        for plane in range(int(np.ceil(below.position)), int(np.floor(above.position)) + 1) if step <= widest else ():
            yield n, plane, (plane - below.position) / step


def _measure_signed(
    layer: ContourLayer, held: NDArray[np.uint8], pixels_mm: RingPoints, pixel_mm: RingPoints
) -> RingPoints:
    """Measure the distance of pixels to the nearest contour of a layer, in mm, positive inside."""
    edges = shapely.MultiLineString([np.concatenate([c, c[:1]]) * pixel_mm for c in layer.contours])
    shapely.prepare(edges)
    distance = shapely.distance(edges, shapely.points(pixels_mm))
    return np.asarray(np.where(held == 1, distance, -distance))
