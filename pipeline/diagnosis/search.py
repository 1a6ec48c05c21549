"""Search for the recipes that give the affine of a file.

Rules:
- Fewest mistakes win; every recipe with as few is returned, the likeliest first, so that a tie stays visible.
- Directions first, origin second: few ways give the right 3 x 3, and only those are tried with every origin.
- Whatever is found is built again by `build` and compared with the file; the search itself proves nothing.
- What no recipe gives exactly may be a recipe and then a motion: a shift, or a rotation too. That is left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..geometry.affine import Matrix, axis_lengths, corner_distance
from ..geometry.axis_order import AS_IS, ORDERS, Order
from ..geometry.grid import Grid
from ..geometry.rigid_motion import Motion, measure_motion
from .mistakes import list_named_orders
from .recipe import (
    CORNERS,
    FIXED_BASES,
    RIGHT,
    SCALES,
    SHIFTS,
    SPACINGS,
    WORLDS,
    Context,
    Recipe,
    build,
    centre_origin,
    list_constructions,
    list_tag_lengths,
    locate_base,
    turn_to_world,
)

MOST_MISTAKES = 4  # a longer list explains nearly any affine, and so explains nothing
_SAME_DIRECTION = 1e-6  # of a cosine: two directions nearer than this are one
_SIGNS = np.array(list(product((1.0, -1.0), repeat=3)))
_TURNS = np.array([o.matrix((1, 1, 1))[:3, :3] for o in ORDERS], float)
_PLACE_BASES: tuple[str | tuple[int, ...], ...] = (RIGHT, *CORNERS)
_ALL_BASES: tuple[str | tuple[int, ...], ...] = (*_PLACE_BASES, *FIXED_BASES)
_ALL_SHIFTS: tuple[tuple[float, ...], ...] = ((0.0, 0.0, 0.0), *SHIFTS)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """What is searched for: a file's affine (4 x 4 RAS) and shape, the grid of the series, and how near is exact, in mm.

    prices: for each order an affine may belong to, how many mistakes that is and the order of the array.
    """

    affine: Matrix
    shape: tuple[int, int, int]
    grid: Grid
    context: Context
    tolerance_mm: float
    prices: dict[Order, tuple[int, Order]]

    @property
    def reach(self) -> Matrix:
        """(3,) the number of steps along each axis: by so much an error of one step grows."""
        return np.maximum(np.array(self.shape) - 1.0, 1.0)

    def build(self, recipe: Recipe) -> Matrix:
        return build(recipe, self.grid, self.context)

    def is_exact(self, recipe: Recipe) -> bool:
        return corner_distance(self.build(recipe), self.affine, self.shape) <= self.tolerance_mm


def search(
    wrong: Matrix, arrays: Sequence[Order], grid: Grid, context: Context, tolerance_mm: float
) -> list[FoundRecipe]:
    """Search for all recipes with the fewest mistakes.

    Args:
        wrong: the affine of the file, 4 x 4, index to RAS mm.
        arrays: the orders in which its array may be stored, all of one shape.
        grid: where the series lies (LPS, mm).
        context: what else is known of the series.
        tolerance_mm: how near a corner must come to its place to be exact, in mm.

    Returns: exact recipes where there are any; else one that leaves a shift; else one that leaves a rigid motion; else
        none.
    """
    target = _Target(wrong, arrays[0].shape(grid.shape), grid, context, tolerance_mm, _price_orders(arrays, grid))
    ways = list_constructions(grid, context, tolerance_mm)
    hits = _match_directions(target, ways)
    exact = _search_all_exact(target, hits, ways, arrays) or _search_scaled(target, ways, arrays)
    return exact or _search_shifted(target, hits) or _search_moved(target, ways)


def _search_all_exact(
    target: _Target, hits: Sequence[_Hit], ways: Sequence[tuple[int, Recipe, Matrix]], arrays: Sequence[Order]
) -> list[FoundRecipe]:
    """Search for the recipes that give the affine exactly: built in steps, without directions, or transposed."""
    found = [*_search_exact(target, hits), *_search_left_out(target, arrays), *_search_transposed(target, ways)]
    least = min((f.mistakes for f in found), default=0)
    return sorted((f for f in found if f.mistakes == least), key=lambda f: rank_unlikeliness(f.recipe, f.array))


def _search_scaled(
    target: _Target, ways: Sequence[tuple[int, Recipe, Matrix]], arrays: Sequence[Order]
) -> list[FoundRecipe]:
    """Search for an affine whose numbers are of another unit than mm."""
    found = []
    for scale, factor in SCALES.items():
        affine = target.affine.copy()
        affine[:3] /= factor
        as_mm = replace(target, affine=affine)
        for f in _search_all_exact(as_mm, _match_directions(as_mm, ways), ways, arrays):
            if f.mistakes < MOST_MISTAKES - 1:
                found.append(replace(f, recipe=replace(f.recipe, scale=scale), mistakes=f.mistakes + 1))
    least = min((f.mistakes for f in found), default=0)
    return [f for f in found if f.mistakes == least]


def _search_left_out(target: _Target, arrays: Sequence[Order]) -> Iterator[FoundRecipe]:
    """Search for an affine without directions: its axes run along x, y and z, in whatever order the array is stored."""
    axes, grid = target.affine[:3, :3], target.grid
    steps = np.diag(axes)
    if np.abs((axes - np.diag(steps)) * target.reach).max() >= 2 * target.tolerance_mm:
        return
    negated = (bool(steps[0] < 0), bool(steps[1] < 0), bool(steps[2] < 0))
    lengths = [("unit", RIGHT), *product((RIGHT, *SPACINGS), (RIGHT, *list_tag_lengths(target.context)))]
    origins = [(base, world) for base in _ALL_BASES for world in (RIGHT, "kept") if base != "zero" or world == RIGHT]
    for array in arrays:
        rights = (grid.ras[:3, :3], (grid.ras @ array.matrix(grid.shape))[:3, :3])
        if any(np.abs(r / axis_lengths(r) - np.diag(np.sign(steps))).max() < _SAME_DIRECTION for r in rights):
            continue  # nothing was left out: these are the directions of the series, or of the array
        for spacing, step in dict.fromkeys(("unit", RIGHT) if s == "unit" else (s, n) for s, n in lengths):
            recipe = Recipe(left_out=True, order=array, negated=negated, spacing=spacing, step=step)
            count = 1 + (spacing not in (RIGHT, "unit")) + (step != RIGHT)
            if np.abs((target.build(recipe)[:3, :3] - axes) * target.reach).max() >= 2 * target.tolerance_mm:
                continue
            for base, world in origins:
                tried = replace(recipe, base=base, world=world)
                if target.is_exact(tried):
                    extra = (base not in (RIGHT, "zero")) + (world != RIGHT)
                    yield FoundRecipe(tried, array, count + extra)


def _search_transposed(target: _Target, ways: Sequence[tuple[int, Recipe, Matrix]]) -> Iterator[FoundRecipe]:
    """Search for an affine that was written transposed, where that shows: else its origin is what was left out."""
    affine = np.eye(4)
    affine[:3, :3] = target.affine[:3, :3].T
    if np.abs((affine - target.affine)[:3, :3] * target.reach).max() < 2 * target.tolerance_mm:
        return
    for hit in _match_directions(replace(target, affine=affine), ways):
        price, array = target.prices[ORDERS[hit.turn]]
        recipe = replace(hit.recipe, order=ORDERS[hit.turn], transposed=True)
        if hit.mistakes + price < MOST_MISTAKES - 1 and target.is_exact(recipe):
            yield FoundRecipe(recipe, array, hit.mistakes + price + 1)


def _match_directions(target: _Target, ways: Sequence[tuple[int, Recipe, Matrix]]) -> list[_Hit]:
    """Find every construction and world that gives the file's 3 x 3 in some order, fewest mistakes first."""
    stacked = np.array([linear for _, _, linear in ways])
    hits = []
    for world in (RIGHT, *WORLDS):
        turned, _ = turn_to_world(world, stacked, np.zeros((len(ways), 3)))
        left = (turned[:, None] @ _TURNS - target.affine[:3, :3]) * target.reach
        # Both ends of an axis may be off by the limit, in opposite ways.
        for way, turn in np.argwhere(np.abs(left).max(axis=(2, 3)) < 2 * target.tolerance_mm):
            count, recipe, linear = ways[way]
            hits.append(_Hit(count + (world != RIGHT), replace(recipe, world=world), linear, int(turn)))
    return sorted(hits, key=lambda h: h.mistakes)


def _search_exact(target: _Target, hits: Sequence[_Hit]) -> list[FoundRecipe]:
    """Search for the recipes that give the affine exactly."""
    best, found = MOST_MISTAKES, []
    for hit in hits:
        if hit.mistakes > best:
            break
        for order, negated in _split_flips(hit.turn):
            price, array = target.prices[order]
            so_far = hit.mistakes + price + sum(negated)
            if so_far > best:
                continue
            partial = replace(hit.recipe, order=order, negated=negated)
            for recipe, extra in _match_origins(target, partial, hit.linear, best - so_far):
                if so_far + extra <= best and target.is_exact(recipe):
                    best = so_far + extra
                    found.append(FoundRecipe(recipe, array, best))
    return sorted((f for f in found if f.mistakes == best), key=lambda f: rank_unlikeliness(f.recipe, f.array))


def _split_flips(turn: int) -> Iterator[tuple[Order, tuple[bool, bool, bool]]]:
    """List the eight ways to share the flips of a signed permutation between the order and the sign of the columns."""
    whole = ORDERS[turn]
    for signs in _SIGNS:
        negated = (bool(signs[0] < 0), bool(signs[1] < 0), bool(signs[2] < 0))
        yield Order(flipped=negated).after(whole), negated


def _match_origins(target: _Target, recipe: Recipe, linear: Matrix, allowed: int) -> Iterator[tuple[Recipe, int]]:
    """Find every origin and shift that end at the file's origin, with the mistakes they add, at most so many."""
    grid = target.grid
    bases = np.array([locate_base(base, grid) for base in _PLACE_BASES])
    turned, starts = turn_to_world(recipe.world, linear, bases)
    offset = turned @ recipe.order.matrix(grid.shape)[:3, 3]
    middle = centre_origin(target.affine[:3, :3], recipe.order.shape(grid.shape))
    starts = np.vstack([starts + offset, np.zeros(3), middle])  # in the order of _ALL_BASES
    _, steps = turn_to_world(recipe.world, linear, np.array(_ALL_SHIFTS) @ linear.T)
    left = np.abs(starts[:, None] + steps - target.affine[:3, 3]).max(axis=2)
    for base, shift in np.argwhere(left < 2 * target.tolerance_mm):
        extra = int(base > 0) + int(shift > 0)
        if extra <= allowed:
            yield replace(recipe, base=_ALL_BASES[base], shift=_ALL_SHIFTS[shift]), extra


def _search_shifted(target: _Target, hits: Sequence[_Hit]) -> list[FoundRecipe]:
    """Search for a recipe that explains the directions and not the origin: the fewest mistakes, and the shift left over."""
    found = []
    for hit in hits:
        price, array = target.prices[ORDERS[hit.turn]]
        if hit.mistakes + price < MOST_MISTAKES:
            recipe = replace(hit.recipe, order=ORDERS[hit.turn])
            left = measure_motion(target.affine, target.build(recipe), array.shape(target.grid.shape))
            found.append(FoundRecipe(recipe, array, hit.mistakes + price, left))
    return _pick_fewest(found)


def _search_moved(target: _Target, ways: Sequence[tuple[int, Recipe, Matrix]]) -> list[FoundRecipe]:
    """Search for a recipe that explains lengths and angles of the axes, but not their directions: a rotation is left."""
    wrong, reach = target.affine, target.reach
    found = []
    for count, recipe, _ in ways:
        for order in ORDERS:
            price, array = target.prices[order]
            if count + price >= MOST_MISTAKES - 1:
                continue
            tried = replace(recipe, order=order)
            affine = target.build(tried)
            lengths = axis_lengths(affine) - axis_lengths(wrong)
            if np.abs(lengths * reach).max() > 2 * target.tolerance_mm:
                continue
            left = measure_motion(wrong, affine, target.shape)
            turned = wrong[:3, :3] @ np.linalg.inv(affine[:3, :3])
            if not left.mirrored and np.abs(turned.T @ turned - np.eye(3)).max() * reach.max() < target.tolerance_mm:
                found.append(FoundRecipe(tried, array, count + price, left))
    return _pick_fewest(found)


def _pick_fewest(found: list[FoundRecipe]) -> list[FoundRecipe]:
    """Pick the recipe with the fewest mistakes; of several the likeliest, then the one that leaves the smallest shift."""
    least = min((f.mistakes for f in found), default=0)
    return sorted((f for f in found if f.mistakes == least), key=_rank)[:1]


def _rank(found: FoundRecipe) -> tuple[int, float]:
    shift_mm = float(np.linalg.norm(found.residual.shift_mm)) if found.residual else 0.0
    return rank_unlikeliness(found.recipe, found.array), shift_mm


def _price_orders(arrays: Sequence[Order], grid: Grid) -> dict[Order, tuple[int, Order]]:
    """Count for each order an affine may belong to how many mistakes that is, for the array order that makes them fewest."""
    named = list_named_orders(grid)

    def price(array: Order, meant: Order) -> int:
        if array == meant:
            return 0
        change = meant.after(array.inverse)
        return 1 if meant in named else (change.axes != AS_IS.axes) + change.flips

    return {meant: min(((price(a, meant), a) for a in arrays), key=lambda p: p[0]) for meant in ORDERS}


def rank_unlikeliness(recipe: Recipe, array: Order) -> int:
    """Rank recipes with as many mistakes roughly: the ways people really go wrong come first, with the lowest number."""
    rank = {"kept": 0, "after": 1, "directions": 2, "origin": 2}.get(recipe.world, 4) if recipe.world != RIGHT else 0
    rank += 3 * sum(recipe.negated) + 2 * (recipe.cosines != RIGHT) + 2 * (recipe.product != RIGHT)
    rank += (recipe.spacing not in (RIGHT, "unit", "102") and not recipe.left_out) * 3
    rank += recipe.step == "straightened long"
    rank += {RIGHT: 0, "zero": 0, (0, 0, 1): 1}.get(recipe.base, 3)
    rank += {0: 0, 1: 2, 2: 2, 3: 3}[sum(s != 0 for s in recipe.shift)]
    rank += 2 * recipe.transposed
    return rank + (recipe.order != array and recipe.order.flips > 1)
