"""Random grids, and files spoilt on purpose: what a diagnosis is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.crosscheck.dicom2nifti import stored_order
from pipeline.diagnosis.recipe import (
    BASES,
    COSINES,
    PRODUCTS,
    SHIFTS,
    SPACINGS,
    STEPS,
    WORLDS,
    Context,
    Recipe,
    build,
)
from pipeline.geometry.axis_order import AS_IS, ORDERS, Order
from pipeline.geometry.grid import Grid


@dataclass(frozen=True)
class Spoilt:
    """A file with mistakes: its affine (as float32 holds it) and array, and the truth it should have told."""

    grid: Grid
    truth: np.ndarray
    affine: np.ndarray
    array: np.ndarray
    context: Context
    drawn: tuple[str, ...]
    planes: tuple[int, ...]
    order: Order

    @property
    def is_correct(self) -> bool:
        """Whether every voxel of the truth is in the file, within 0.001 mm of its place; by looking at each one."""
        if self.array.size != self.truth.size:
            return False
        index = {value: place for place, value in np.ndenumerate(self.truth)}
        for place, value in np.ndenumerate(self.array):
            there = self.affine @ (*place, 1)
            here = self.grid.ras @ (*index[value], 1)
            if np.linalg.norm(there - here) > 1e-3:
                return False
        return True


def random_grid(rng: np.random.Generator, shape: tuple[int, int, int] | None = None) -> Grid:
    """Axis-parallel or oblique, with equal spacings or different ones, sometimes with leaning planes."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if rng.random() < 0.5:
        turn = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    turn = turn * np.sign(np.linalg.det(turn))
    spacing = rng.uniform(0.3, 5, 3).round(4)
    if rng.random() < 0.3:
        spacing[1] = spacing[0]
    if rng.random() < 0.1:
        spacing[:] = spacing[0]
    lps = np.eye(4)
    lps[:3, :3] = turn * spacing
    if rng.random() < 0.2:
        lps[:3, 2] += lps[:3, 1] / spacing[1] * rng.uniform(0.2, 1)
    lps[:3, 3] = rng.uniform(-400, 400, 3).round(3)
    if shape is None:
        a, b, c = rng.permutation([4, 5, 6, 7, 8, 9])[:3] if rng.random() < 0.7 else [6, 6, 6]
        shape = (int(a), int(b), int(c))
    return Grid(shape, lps)


def spoil(rng: np.random.Generator, grid: Grid, most: int = 3) -> Spoilt:
    """A file made with one to `most` different mistakes of the catalogue, at random."""
    truth = rng.permutation(int(np.prod(grid.shape))).astype(np.uint16).reshape(grid.shape)
    context = Context(*rng.uniform(0.5, 8, 2).round(2).tolist())
    recipe, order, planes = Recipe(), AS_IS, tuple(range(grid.shape[2]))
    drawn = tuple(str(k) for k in rng.choice(list(_KINDS), rng.integers(1, most + 1), replace=False))
    if "meant for LAS" in drawn:
        recipe = replace(recipe, order=stored_order(grid.ras))
    for kind in drawn:
        if kind in _AFFINE:
            recipe = replace(recipe, **_AFFINE[kind](rng))
        elif kind == "planes":
            planes = _some_planes(rng, grid.shape[2])
        elif kind == "array":
            order = ORDERS[rng.integers(1, 48)]
        elif kind == "negated":
            recipe = replace(recipe, negated=tuple(np.arange(3) == rng.integers(3)))
    array = order.of(truth[:, :, list(planes)])
    part = Grid((*grid.shape[:2], len(planes)), grid.lps)
    affine = build(recipe, part, context).astype(np.float32).astype(float)
    return Spoilt(grid, truth, affine, array, context, drawn, planes, order)


def _one(field: str, values: list) -> Callable[[np.random.Generator], dict]:
    return lambda rng: {field: values[rng.integers(len(values))]}


_AFFINE: dict[str, Callable[[np.random.Generator], dict]] = {
    "cosines": _one("cosines", list(COSINES)),
    "step": _one("step", list(STEPS)),
    "spacing": _one("spacing", list(SPACINGS)),
    "product": _one("product", list(PRODUCTS)),
    "world": _one("world", list(WORLDS)),
    "base": _one("base", list(BASES)),
    "shift": _one("shift", list(SHIFTS)),
}
_KINDS = (*_AFFINE, "planes", "array", "negated", "meant for LAS")


def _some_planes(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    which = rng.integers(3)
    if which == 0:
        start = int(rng.integers(0, 2))
        return tuple(range(start, count - 1))
    if which == 1:
        return tuple(range(0, count, 2))
    gone = int(rng.integers(1, count - 1))
    return tuple(k for k in range(count) if k != gone)
