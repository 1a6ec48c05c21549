"""Resample parallel planes onto an even or upright grid, where a series has none and the user asks for it.

Rules:
- Only planes parallel to the grid's are taken: each is shifted within its plane and blended along the normal, so nothing
  is turned and no voxel is touched twice.
- Labels take the nearest plane and the nearest pixel, never a mean. Images are linear in all three directions.
- Outside of what was acquired stands the padding value. The largest distance a value travelled is known and recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..geometry.affine import Matrix
from ..geometry.grid import Grid
from ..geometry.stack import Stack
from ..volume.colour import SAMPLES, from_samples, is_rgb, to_samples
from ..volume.mask import Array, Voxels

Along = Literal["exact", "nearest", "linear"]
_Source = tuple[Array, tuple[float, float], float]  # a plane, how far it is shifted along i and j in pixels, its weight

_ON_PLANE = 1e-3  # of the step: an acquired plane this near to one of the grid is that one, and is not blended
_SAME_PLANE = 0.25  # of the step: one farther away is another plane, and the grid's stays empty
_BEYOND_END = 0.5  # of the step: a plane stands for its own voxels, which reach half a step out
_MOSTLY_INSIDE = 0.5  # weight: voxels less covered by acquired ones are padding
_NO_WEIGHT = 1e-9  # weights below it are left by rounding, and count as 0
_WHOLE_PIXEL = 1e-6  # pixels: rounding must not add an empty column or plane to a grid
_STEP_DECIMALS = 2  # gaps that agree to 0.01 mm are one step, printed with jitter


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How acquired planes become a grid. grid: of the result. along: "exact" leaves planes that were not acquired empty.

    positions: (planes, 3) of the acquired planes, mm along i, j and the normal from the grid's first voxel.
    """

    grid: Grid
    positions: Matrix
    along: Along
    linear: bool

    def travel_mm(self) -> float:
        """The largest distance between a voxel and the acquired pixel it was taken from; labels only."""
        farthest = 0.0
        for k in range(self.grid.shape[2]):
            for plane, weight in self._weigh_sources(k):
                if weight > 0:
                    shift = self._shift(k, plane)
                    in_plane = [(s - round(s)) * size for s, size in zip(shift, self.grid.spacing[:2], strict=True)]
                    normal = self._locate(k)[2] - self.positions[plane, 2]
                    farthest = max(farthest, float(np.linalg.norm([*in_plane, normal])))
        return farthest

    def apply(self, acquired: Voxels, padding: float) -> Voxels:
        """Put the acquired planes, (rows, columns) each in ascending order, on the plan's grid."""
        make = self._blend if self.linear else self._take_nearest
        return Voxels(self.grid.shape, acquired.dtype, lambda k: make(acquired, padding, k))

    def _take_nearest(self, acquired: Voxels, padding: float, k: int) -> Array:
        """Plane k from the acquired plane of the largest weight, shifted by whole pixels."""
        columns, rows, _ = self.grid.shape
        out = np.full((rows, columns), padding, acquired.dtype)
        nearest, _ = max(self._weigh_sources(k), key=lambda source: source[1], default=(None, 0.0))
        return out if nearest is None else _shifted_nearest(acquired.plane(nearest), self._shift(k, nearest), out)

    def _blend(self, acquired: Voxels, padding: float, k: int) -> Array:
        """Plane k as the mean of the acquired planes next to it, by their weights; of colours, of each sample by itself."""
        sources = [(acquired.plane(n), self._shift(k, n), weight) for n, weight in self._weigh_sources(k)]
        if not is_rgb(acquired.dtype):
            return self._blend_values(sources, padding, acquired.dtype)
        samples = np.stack([self._blend_sample(sources, padding, n) for n in range(SAMPLES)], -1)
        return from_samples(samples)

    def _blend_sample(self, sources: Sequence[_Source], padding: float, n: int) -> Array:
        """Red, green or blue of a plane, n from 0."""
        of_one = [(to_samples(plane)[..., n], shift, weight) for plane, shift, weight in sources]
        return self._blend_values(of_one, padding, np.dtype(np.uint8))

    def _blend_values(self, sources: Sequence[_Source], padding: float, dtype: np.dtype[Any]) -> Array:
        """The mean of planes of numbers, each shifted and by its weight; `padding` where they do not reach."""
        columns, rows, _ = self.grid.shape
        total, weights = np.zeros((rows, columns)), np.zeros((rows, columns))
        for plane, shift, weight in sources:
            values, inside = _shifted_linear(plane, shift, (rows, columns))
            total += weight * values
            weights += weight * inside
        blended = np.where(weights > _MOSTLY_INSIDE, total / np.maximum(weights, _NO_WEIGHT), padding)
        return np.rint(blended).astype(dtype) if dtype.kind in "iu" else blended.astype(dtype)

    def _locate(self, k: int) -> Matrix:
        """(3,) mm of grid plane k along i, j and the normal, from the grid's first voxel."""
        place: Matrix = _project(self.grid, (self.grid.lps[:3, 2] * k)[None])[0]
        return place

    def _weigh_sources(self, k: int) -> list[tuple[int, float]]:
        """The acquired planes that grid plane k is made of, and their weights; none where it stays empty."""
        distance, depths = self._locate(k)[2], self.positions[:, 2]
        step = self._locate(1)[2]
        nearest = int(np.argmin(np.abs(depths - distance)))
        off = abs(float(depths[nearest] - distance))
        if off < _ON_PLANE * step or self.along == "exact":
            return [(nearest, 1.0)] if off < _SAME_PLANE * step else []
        if self.along == "nearest" or not self.linear:
            return [(nearest, 1.0)]
        above = int(np.searchsorted(depths, distance))
        if above in (0, len(depths)):
            return [(nearest, 1.0)] if off <= _BEYOND_END * step else []
        part = float((distance - depths[above - 1]) / (depths[above] - depths[above - 1]))
        return [(above - 1, 1 - part), (above, part)]

    def _shift(self, k: int, plane: int) -> tuple[float, float]:
        """In pixels along i and j: the acquired plane's first pixel seen from the grid plane's."""
        x, y = (self.positions[plane] - self._locate(k))[:2] / self.grid.spacing[:2]
        return float(x), float(y)


def plan_upright(stack: Stack, *, linear: bool, along: Along) -> Plan:
    """Plan a grid without lean that contains every voxel of a leaning stack; its planes stay where they are.

    Args:
        stack: evenly spaced planes that lean.
        linear: whether values are blended within the planes; labels are taken whole.
        along: how planes that were not acquired come to be.

    Returns:
        The plan, of as many planes as the stack's grid has.
    """
    columns, rows, planes = stack.grid.shape
    spacing = np.array(stack.grid.spacing[:2])
    axes = stack.grid.lps[:3, :2] / spacing
    normal = np.cross(axes[:, 0], axes[:, 1])
    normal /= np.linalg.norm(normal)
    step = float(stack.grid.lps[:3, 2] @ normal)
    places = stack.grid.points(np.column_stack([np.zeros((len(stack.index), 2)), stack.index]))
    offsets = (places - places[0]) @ np.column_stack([axes, normal])
    # A whole number of pixels before the first plane, so that the first plane needs no interpolation.
    before = np.array([ceil(-offsets[:, a].min() / spacing[a] - _WHOLE_PIXEL) for a in (0, 1)])
    after = np.array([ceil(offsets[:, a].max() / spacing[a] - _WHOLE_PIXEL) for a in (0, 1)])
    lps = np.eye(4)
    lps[:3, :2] = axes * spacing
    lps[:3, 2] = normal * step
    lps[:3, 3] = places[0] - axes @ (before * spacing)
    shape = (columns + int(before[0] + after[0]), rows + int(before[1] + after[1]), planes)
    grid = Grid(shape, lps, stack.grid.frame_of_reference_uid)
    return Plan(grid, _relative(grid, places), along, linear)


def plan_even(stack: Stack, positions: Matrix, *, linear: bool, along: Along) -> Plan:
    """Plan a grid of one step over planes whose spacing is not even.

    The step is the smallest gap that occurs more than once, or the smallest; the lean of the stack is kept.

    Args:
        stack: the planes on the grid that fits them best.
        positions: (planes, 3) LPS mm of their first pixels, ascending along the normal.
        linear: whether values are blended within the planes; labels are taken whole.
        along: how planes between the acquired ones come to be.

    Returns:
        The plan, from the first plane to the last.
    """
    gaps = np.diff(stack.offsets[:, 2])
    rounded = np.round(gaps, _STEP_DECIMALS)
    recurring = [g for g, r in zip(gaps, rounded, strict=True) if (rounded == r).sum() > 1]
    step = float(min(recurring or gaps))
    height = float(stack.offsets[-1, 2])
    planes = floor(height / step + 0.5 + _WHOLE_PIXEL) + 1
    lps = np.array(stack.grid.lps)
    direction = lps[:3, 2] / float(lps[:3, 2] @ _normal(stack.grid))
    lps[:3, 2] = direction * step
    lps[:3, 3] = positions[0]
    grid = Grid((*stack.grid.shape[:2], planes), lps, stack.grid.frame_of_reference_uid)
    return Plan(grid, _relative(grid, positions), along, linear)


def _relative(grid: Grid, places: Matrix) -> Matrix:
    """(n, 3) LPS places as mm along i, j and the normal, from the grid's first voxel."""
    return _project(grid, places - grid.lps[:3, 3])


def _project(grid: Grid, vectors: Matrix) -> Matrix:
    """(n, 3) LPS vectors as mm along i, j and the normal; i and j are at right angles."""
    axes = grid.lps[:3, :2] / np.linalg.norm(grid.lps[:3, :2], axis=0)
    return np.asarray(vectors @ np.column_stack([axes, _normal(grid)]))


def _normal(grid: Grid) -> Matrix:
    normal = np.cross(grid.lps[:3, 0], grid.lps[:3, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _shifted_nearest(plane: Array, shift: tuple[float, float], out: Array) -> Array:
    """`out`, which is overwritten where `plane` lies on it, shifted by the nearest whole number of pixels."""
    x, y = (floor(s + 0.5) for s in shift)
    rows, columns = plane.shape
    target = out[max(y, 0) : y + rows, max(x, 0) : x + columns]
    target[...] = plane[max(-y, 0) :, max(-x, 0) :][: target.shape[0], : target.shape[1]]
    return out


def _shifted_linear(
    plane: Array, shift: tuple[float, float], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and weights of `plane` moved by a part of a pixel: bilinear, its edge pixels held for half a pixel."""
    values, inside = np.zeros(shape), np.zeros(shape)
    (x, fx), (y, fy) = ((floor(s), s - floor(s)) for s in shift)
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            if wx * wy > _NO_WEIGHT:
                ones = _shifted_nearest(np.ones(plane.shape), (x + dx, y + dy), np.zeros(shape))
                inside += wx * wy * ones
                values += wx * wy * _shifted_nearest(plane.astype(np.float64), (x + dx, y + dy), np.zeros(shape))
    return values, inside
