"""The search: which recipes give the affine of a file.

Rules:
- Fewest mistakes win; every recipe with as few is returned, the likelier first, so that a tie is seen as a tie.
- Directions first, origin second: few ways give the right 3 x 3, and only those are tried with every origin.
- Whatever is found is built again by `build` and held against the file; the search itself proves nothing.
- What no recipe gives exactly may be a recipe and then a motion: a shift, or a rotation too. That is left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..geometry.affine import Matrix, corner_distance
from ..geometry.axis_order import AS_IS, ORDERS, Order
from ..geometry.grid import Grid
from ..geometry.rigid_motion import Motion, motion
from .mistakes import (
    BASES,
    CORNERS,
    RIGHT,
    SHIFTS,
    WORLDS,
    Context,
    Recipe,
    build,
    centred,
    constructions,
    corner,
    named_orders,
    to_world,
)

MOST_MISTAKES = 4
_SIGNS = np.array(list(product((1.0, -1.0), repeat=3)))
_TURNS = np.array([o.matrix((1, 1, 1))[:3, :3] for o in ORDERS], float)


@dataclass(frozen=True, slots=True)
class FoundRecipe:
    """A recipe, the array order it was judged for, its number of mistakes, and the motion left over if any."""

    recipe: Recipe
    array: Order
    mistakes: int
    residual: Motion | None = None


@dataclass(frozen=True, slots=True)
class _Hit:
    """Directions that fit: their mistakes so far, the recipe, its LPS axes, and the order with flips they need."""

    mistakes: int
    recipe: Recipe
    linear: Matrix
    turn: int


def search(
    wrong: Matrix, arrays: Sequence[Order], grid: Grid, context: Context, tolerance_mm: float
) -> list[FoundRecipe]:
    """All smallest recipes for an affine (4 x 4 RAS) of an array stored in one of the orders given.

    Exact ones where there are any; else those that leave a shift; else those that leave a rigid motion; else none.
    """
    shape = arrays[0].shape(grid.shape)
    ways = constructions(grid, context, tolerance_mm)
    prices = _order_prices(arrays, grid)
    hits = _direction_hits(wrong, shape, ways, tolerance_mm)
    found = _exact(wrong, hits, prices, shape, grid, context, tolerance_mm)
    return (
        found
        or _shifted(wrong, hits, prices, grid, context)
        or _moved(wrong, ways, prices, shape, grid, context, tolerance_mm)
    )


def _direction_hits(
    wrong: Matrix, shape: Sequence[int], ways: Sequence[tuple[int, Recipe, Matrix]], tolerance_mm: float
) -> list[_Hit]:
    """Every construction and world that gives the file's 3 x 3 in some order, fewest mistakes first."""
    stacked = np.array([linear for _, _, linear in ways])
    reach = np.maximum(np.array(shape) - 1, 1)
    hits = []
    for world in (RIGHT, *WORLDS):
        turned, _ = to_world(world, stacked, np.zeros((len(ways), 3)))
        left = (turned[:, None] @ _TURNS - wrong[:3, :3]) * reach
        # Both ends of an axis may be off by the limit, in opposite ways.
        for way, turn in np.argwhere(np.abs(left).max(axis=(2, 3)) < 2 * tolerance_mm):
            count, recipe, linear = ways[way]
            hits.append(_Hit(count + (world != RIGHT), replace(recipe, world=world), linear, int(turn)))
    return sorted(hits, key=lambda h: h.mistakes)


def _exact(
    wrong: Matrix,
    hits: Sequence[_Hit],
    prices: dict[Order, tuple[int, Order]],
    shape: tuple[int, int, int],
    grid: Grid,
    context: Context,
    tolerance_mm: float,
) -> list[FoundRecipe]:
    best, found = MOST_MISTAKES, []
    for hit in hits:
        if hit.mistakes > best:
            break
        for order, negated in _splits(hit.turn):
            price, array = prices[order]
            so_far = hit.mistakes + price + sum(negated)
            if so_far > best:
                continue
            partial = replace(hit.recipe, order=order, negated=negated)
            for recipe, extra in _origins(wrong, partial, hit.linear, best - so_far, grid, tolerance_mm):
                if (
                    so_far + extra <= best
                    and corner_distance(build(recipe, grid, context), wrong, shape) <= tolerance_mm
                ):
                    best = so_far + extra
                    found.append(FoundRecipe(recipe, array, best))
    return sorted((f for f in found if f.mistakes == best), key=lambda f: unlikeliness(f.recipe, f.array))


def _splits(turn: int) -> Iterator[tuple[Order, tuple[bool, bool, bool]]]:
    """The eight ways to share the flips of a signed permutation between the order and the sign of the columns."""
    whole = ORDERS[turn]
    for signs in _SIGNS:
        negated = (bool(signs[0] < 0), bool(signs[1] < 0), bool(signs[2] < 0))
        yield Order(flipped=negated).after(whole), negated


_ALL_BASES: tuple[str | tuple[int, ...], ...] = (RIGHT, *CORNERS, "zero", "centre")
_ALL_SHIFTS: tuple[tuple[float, ...], ...] = ((0.0, 0.0, 0.0), *SHIFTS)
assert set(_ALL_BASES) == {RIGHT, *BASES}


def _origins(
    wrong: Matrix, recipe: Recipe, linear: Matrix, allowed: int, grid: Grid, tolerance_mm: float
) -> Iterator[tuple[Recipe, int]]:
    """The recipe with every origin and shift that end at the file's origin, with the mistakes they add."""
    bases = np.array([corner(base, grid) for base in _ALL_BASES[:8]])
    turned, starts = to_world(recipe.world, linear, bases)
    offset = turned @ recipe.order.matrix(grid.shape)[:3, 3]
    middle = centred(wrong[:3, :3], recipe.order.shape(grid.shape))
    starts = np.vstack([starts + offset, np.zeros(3), middle])
    _, steps = to_world(recipe.world, linear, np.array(_ALL_SHIFTS) @ linear.T)
    left = np.abs(starts[:, None] + steps - wrong[:3, 3]).max(axis=2)
    for base, shift in np.argwhere(left < 2 * tolerance_mm):
        extra = int(base > 0) + int(shift > 0)
        if extra <= allowed:
            yield replace(recipe, base=_ALL_BASES[base], shift=_ALL_SHIFTS[shift]), extra


def _shifted(
    wrong: Matrix, hits: Sequence[_Hit], prices: dict[Order, tuple[int, Order]], grid: Grid, context: Context
) -> list[FoundRecipe]:
    """The directions are explained and the origin is not: the fewest mistakes, and the shift that is left."""
    found = []
    for hit in hits:
        price, array = prices[ORDERS[hit.turn]]
        if hit.mistakes + price < MOST_MISTAKES:
            recipe = replace(hit.recipe, order=ORDERS[hit.turn])
            left = motion(wrong, build(recipe, grid, context), array.shape(grid.shape))
            found.append(FoundRecipe(recipe, array, hit.mistakes + price, left))
    return _fewest(found)


def _moved(
    wrong: Matrix,
    ways: Sequence[tuple[int, Recipe, Matrix]],
    prices: dict[Order, tuple[int, Order]],
    shape: tuple[int, int, int],
    grid: Grid,
    context: Context,
    tolerance_mm: float,
) -> list[FoundRecipe]:
    """Lengths and angles of the axes are explained, their directions are not: a rotation and a shift are left."""
    reach = np.maximum(np.array(shape) - 1, 1)
    found = []
    for count, recipe, _ in ways:
        for order in ORDERS:
            price, array = prices[order]
            if count + price >= MOST_MISTAKES - 1:
                continue
            tried = replace(recipe, order=order)
            affine = build(tried, grid, context)
            lengths = np.linalg.norm(affine[:3, :3], axis=0) - np.linalg.norm(wrong[:3, :3], axis=0)
            if np.abs(lengths * reach).max() > 2 * tolerance_mm:
                continue
            left = motion(wrong, affine, shape)
            turned = wrong[:3, :3] @ np.linalg.inv(affine[:3, :3])
            if not left.mirrored and np.abs(turned.T @ turned - np.eye(3)).max() * reach.max() < tolerance_mm:
                found.append(FoundRecipe(tried, array, count + price, left))
    return _fewest(found)


def _fewest(found: list[FoundRecipe]) -> list[FoundRecipe]:
    least = min((f.mistakes for f in found), default=0)
    return sorted((f for f in found if f.mistakes == least), key=_likely_and_near)[:1]


def _likely_and_near(found: FoundRecipe) -> tuple[int, float]:
    return unlikeliness(found.recipe, found.array), float(
        np.linalg.norm(found.residual.shift_mm if found.residual else 0)
    )


def _order_prices(arrays: Sequence[Order], grid: Grid) -> dict[Order, tuple[int, Order]]:
    """For each order an affine may belong to: how many mistakes that is, for the array order that makes them fewest."""
    named = named_orders(grid)

    def price(array: Order, meant: Order) -> int:
        if array == meant:
            return 0
        change = meant.after(array.inverse)
        return 1 if meant in named else (change.axes != AS_IS.axes) + change.flips

    return {meant: min(((price(a, meant), a) for a in arrays), key=lambda p: p[0]) for meant in ORDERS}


def unlikeliness(recipe: Recipe, array: Order) -> int:
    """A rough rank among recipes with as many mistakes: the ways people really go wrong come first."""
    rank = {"kept": 0, "after": 1, "directions": 2, "origin": 2}.get(recipe.world, 4) if recipe.world != RIGHT else 0
    rank += 3 * sum(recipe.negated) + 2 * (recipe.cosines != RIGHT) + 2 * (recipe.product != RIGHT)
    rank += (recipe.spacing not in (RIGHT, "unit", "102")) * 3 + (recipe.step == "straightened long")
    rank += {RIGHT: 0, "zero": 0, (0, 0, 1): 1}.get(recipe.base, 3)
    rank += {0: 0, 1: 2, 2: 2, 3: 3}[sum(s != 0 for s in recipe.shift)]
    return rank + (recipe.order != array and recipe.order.flips > 1)
