"""List the ways an affine goes wrong: each is one wrong step on the way from the DICOM header to the NIfTI header.

Rules:
- An affine is built in steps: cosines, lengths, their product, the origin, LPS to RAS, the order of the array. A
  mistake takes one step differently. So a set of mistakes gives one affine, in whatever order they are named.
- `build` is the only place that defines what a mistake does; the search and the tests both use it.
- A mistake that changes nothing for a grid (swapping equal spacings) is no mistake there and is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from ..crosscheck.dicom2nifti import stored_order
from ..geometry.affine import Matrix, axis_codes
from ..geometry.axis_order import AS_IS, AXES, Order, describe_difference, order_for
from ..geometry.grid import Grid

RIGHT = "right"
_LPS_TO_RAS_AXES: Matrix = np.diag([-1.0, -1.0, 1.0])
_SAME_AXES = 0.1  # of the tolerance: two constructions nearer than this cannot be told apart

COSINES = {
    "transposed": "the direction cosines were written as the rows of the matrix; they are its columns",
    "exchanged": "the row cosine and the column cosine were exchanged",
}
STEPS = {
    "straightened": "the planes lean (gantry tilt) and the affine stacks them straight, along the normal",
    "straightened long": "the planes lean (gantry tilt) and the affine stacks them straight, by the slanted distance",
    "thickness": "the distance between planes was taken from Slice Thickness; it is the distance between positions",
    "tag": "the distance between planes was taken from Spacing Between Slices; it is the distance between positions",
}
SPACINGS = {
    "unit": "the spacing was left out: every step is 1 mm",
    "102": "row spacing and column spacing were swapped (Pixel Spacing gives the distance between rows first)",
    "021": "the spacings of j and k were swapped",
    "210": "the spacings of i and k were swapped",
    "120": "the spacings went to the wrong axes (i has that of j, j that of k, k that of i)",
    "201": "the spacings went to the wrong axes (i has that of k, j that of i, k that of j)",
}
PRODUCTS = {
    "rows": "spacing and directions were multiplied in the wrong order: the spacing stretched the patient's axes"
}
WORLDS = {
    "kept": "LPS was kept as RAS: x and y were not negated",
    "after": "the matrices were multiplied in the wrong order: LPS to RAS belongs on the left of the affine",
    "directions": "only the directions were turned from LPS to RAS: the origin kept the signs of Image Position",
    "origin": "only the origin was turned from LPS to RAS: the directions kept the signs of the cosines",
    "x": "only x was negated between LPS and RAS; y is negated too",
    "y": "only y was negated between LPS and RAS; x is negated too",
    "z": "z was negated between LPS and RAS, and x and y were not",
    "all": "x, y and z were negated between LPS and RAS; z is the same in both",
    **{
        "".join(p): f"the rows of the affine are in the order {', '.join(p)}; they are x, y, z"
        for p in permutations("xyz")
        if p != ("x", "y", "z")
    },
}
_SIGNS = {"kept": (1, 1, 1), "x": (-1, 1, 1), "y": (1, -1, 1), "z": (1, 1, -1), "all": (-1, -1, -1)}
CORNERS = tuple(c for c in product((0, 1), repeat=3) if any(c))
FIXED_BASES = ("zero", "centre")  # origins that do not depend on where the series lies
BASES = (*FIXED_BASES, *CORNERS)
SHIFTS = (*(s for s in product((0.0, -0.5, 0.5), repeat=3) if any(s)), (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Context:
    """What else is known of the series, in mm.

    slice_thickness_mm, spacing_between_slices_mm: from the tags of that name; None where they are absent. irregularity_mm:
    how far its own planes lie from its grid (a stack's residual, and what straightening moved); nothing nearer than that
    can be judged.
    """

    slice_thickness_mm: float | None = None
    spacing_between_slices_mm: float | None = None
    irregularity_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an affine was built. Every field at its default, and `order` that of the array, is the right way.

    order: the array order the affine belongs to. negated: columns of the affine whose sign was turned without moving
    the origin. base: where the origin was taken. shift: by how much of a voxel it was moved, along i, j and k.
    """

    cosines: str = RIGHT
    step: str = RIGHT
    spacing: str = RIGHT
    product: str = RIGHT
    base: str | tuple[int, ...] = RIGHT
    shift: tuple[float, ...] = (0.0, 0.0, 0.0)
    world: str = RIGHT
    order: Order = AS_IS
    negated: tuple[bool, bool, bool] = (False, False, False)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that was done wrong. name: short and stable. words: one sentence without full stop.

    mm: what it alone costs, the largest displacement of a corner.
    """

    name: str
    words: str
    mm: float = 0.0


def build(recipe: Recipe, grid: Grid, context: Context) -> Matrix:
    """Build the affine that a recipe gives for a grid.

    Args:
        recipe: how every step is taken.
        grid: where the series lies (LPS, mm).
        context: what else is known of the series.

    Returns: 4 x 4, index of the array to RAS mm.

    Raises: KeyError for a step the context has no number for.
    """
    linear = build_axes(recipe, grid, context)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn_to_world(recipe.world, linear, locate_base(recipe.base, grid))
    affine = affine @ recipe.order.matrix(grid.shape)
    affine[:3, :3] *= np.where(recipe.negated, -1, 1)
    if recipe.base == "zero":
        affine[:3, 3] = 0
    elif recipe.base == "centre":
        affine[:3, 3] = centre_origin(affine[:3, :3], recipe.order.shape(grid.shape))
    affine[:3, 3] += turn_to_world(recipe.world, linear, linear @ np.array(recipe.shift))[1]
    return affine


def build_axes(recipe: Recipe, grid: Grid, context: Context) -> Matrix:
    """Multiply cosines by lengths as a recipe does, before the world is turned.

    Args:
        recipe: how cosines, step, spacing and product are taken.
        grid: where the series lies (LPS, mm).
        context: what else is known of the series.

    Returns: 3 x 3, the LPS steps of i, j and k as columns, in mm.
    """
    lengths = np.array(grid.spacing)
    directions = grid.lps[:3, :3] / lengths
    if recipe.step.startswith("straightened"):
        normal = np.cross(directions[:, 0], directions[:, 1])
        if recipe.step == "straightened":
            lengths[2] *= directions[:, 2] @ normal
        directions = np.column_stack([directions[:, :2], normal])
    elif recipe.step != RIGHT:
        lengths[2] = _list_tag_lengths(context)[recipe.step]
    if recipe.cosines == "transposed":
        directions = directions.T
    elif recipe.cosines == "exchanged":
        directions = directions[:, [1, 0, 2]]
    if recipe.spacing == "unit":
        lengths = np.ones(3)
    elif recipe.spacing != RIGHT:
        lengths = lengths[[int(n) for n in recipe.spacing]]
    return np.asarray(lengths[:, None] * directions if recipe.product == "rows" else directions * lengths)


def locate_base(base: str | tuple[int, ...], grid: Grid) -> Matrix:
    """Locate the voxel whose centre was taken for the first one: (3,) LPS, mm."""
    which = (0, 0, 0) if isinstance(base, str) else base
    return grid.points((np.array(grid.shape) - 1) * np.array(which))


def centre_origin(axes: Matrix, shape: tuple[int, int, int]) -> Matrix:
    """Compute the origin that puts the middle of the block at 0, 0, 0."""
    return np.asarray(-axes @ ((np.array(shape) - 1) / 2))


def turn_to_world(world: str, linear: Matrix, origin: Matrix) -> tuple[Matrix, Matrix]:
    """Turn axes and origin from LPS to what an affine states, rightly or as one of WORLDS does.

    Args:
        world: RIGHT, or a key of WORLDS.
        linear: (..., 3, 3) LPS axes as columns.
        origin: (..., 3) LPS, mm.

    Returns: axes and origin, of the same shapes.
    """
    if world == "after":
        return linear @ _LPS_TO_RAS_AXES, origin
    if world == "directions":
        return _LPS_TO_RAS_AXES @ linear, origin
    if world == "origin":
        return linear, origin @ _LPS_TO_RAS_AXES
    turn = _LPS_TO_RAS_AXES
    if world in _SIGNS:
        turn = np.diag(np.array(_SIGNS[world], float))
    elif world != RIGHT:
        turn = _LPS_TO_RAS_AXES[["xyz".index(letter) for letter in world]]
    return turn @ linear, origin @ turn.T


def list_constructions(grid: Grid, context: Context, tolerance_mm: float) -> list[tuple[int, Recipe, Matrix]]:
    """List every way to take cosines, step, spacing and product.

    Of several ways to the same axes the one with the fewest mistakes is kept, so a step that changes nothing is never a
    mistake.

    Args:
        grid: where the series lies (LPS, mm).
        context: what else is known of the series.
        tolerance_mm: how near a corner must come to its place to be exact, in mm.

    Returns: the number of mistakes, the recipe and its 3 x 3 LPS axes, fewest mistakes first.
    """
    choices = (COSINES, [s for s in STEPS if _is_possible(s, context)], SPACINGS, PRODUCTS)
    recipes = [Recipe(*picked) for picked in product(*[(RIGHT, *c) for c in choices])]
    recipes.sort(key=_count_mistakes)
    reach = np.maximum(np.array(grid.shape) - 1, 1)
    kept: list[tuple[int, Recipe, Matrix]] = []
    stacked = np.empty((len(recipes), 3, 3))
    for recipe in recipes:
        linear = build_axes(recipe, grid, context)
        if not (np.abs((stacked[: len(kept)] - linear) * reach).max(axis=(1, 2)) < tolerance_mm * _SAME_AXES).any():
            stacked[len(kept)] = linear
            kept.append((_count_mistakes(recipe), recipe, linear))
    return kept


def list_named_orders(grid: Grid) -> dict[Order, str]:
    """List the orders in which an array of this grid is often stored, and who stores it so."""
    found = {AS_IS: "the array as DICOM stores it"}
    found.setdefault(stored_order(grid.ras), "the array dicom2nifti stores")
    found.setdefault(order_for(grid.ras, "RAS"), "the canonical array")
    found.setdefault(order_for(grid.ras, "LPS"), "an LPS array")
    return found


def list_order_mistakes(array: Order, meant: Order, grid: Grid) -> list[tuple[Mistake, Order]]:
    """List what is wrong when an affine for one order of the array is put on an array stored in another.

    Args:
        array: the order in which the array is stored.
        meant: the order the affine belongs to.
        grid: where the series lies (LPS, mm).

    Returns: mistakes, each with the order that it alone would have meant: one mistake where `meant` is an order that
        tools write, else one for each change.
    """
    if array == meant:
        return []
    has, stated = (axis_codes(grid.ras @ o.matrix(grid.shape)) for o in (array, meant))
    who = list_named_orders(grid).get(meant)
    if who:
        words = f"the affine belongs to {who} ({stated}), and this array is stored {has}: {describe_difference(array, meant)}"
        return [(Mistake("array order", words), meant)]
    change = meant.after(array.inverse)
    found = []
    if change.axes != AS_IS.axes:
        only = Order(change.axes)
        listed = ", ".join(AXES[a] for a in change.axes)
        words = f"the affine has its columns in the order {listed} of the array's axes (array {has}, affine {stated})"
        found.append((Mistake("axes permuted", words), only.after(array)))
    for a in np.flatnonzero(change.flipped):
        only = Order(flipped=tuple(n == a for n in range(3)))  # type: ignore[arg-type]
        words = f"array and affine run opposite ways along {AXES[a]}"
        found.append((Mistake(f"{AXES[a]} flipped", words), only.after(array)))
    return found


def list_mistakes(recipe: Recipe, array: Order, grid: Grid) -> Iterator[tuple[Mistake, Recipe]]:
    """List the mistakes of a recipe in words.

    Args:
        recipe: how an affine was built.
        array: the order in which the array is stored.
        grid: where the series lies (LPS, mm).

    Yields: each mistake with the recipe that makes it alone.
    """
    right = Recipe(order=array)
    for field, table in (
        ("cosines", COSINES), ("step", STEPS), ("spacing", SPACINGS), ("product", PRODUCTS), ("world", WORLDS),
    ):  # fmt: skip
        taken = getattr(recipe, field)
        if taken != RIGHT:
            yield Mistake(f"{field} {taken}", table[taken]), replace(right, **{field: taken})
    if recipe.base != RIGHT:
        yield Mistake(f"origin {recipe.base}", _describe_base(recipe.base, grid)), replace(right, base=recipe.base)
    if any(recipe.shift):
        yield Mistake("shift", _describe_shift(recipe.shift)), replace(right, shift=recipe.shift)
    for mistake, order in list_order_mistakes(array, recipe.order, grid):
        yield mistake, replace(right, order=order)
    for a in np.flatnonzero(recipe.negated):
        words = f"the sign of column {AXES[a]} of the affine is turned, and the origin is still that of the other end"
        negated = (bool(a == 0), bool(a == 1), bool(a == 2))
        yield Mistake(f"{AXES[a]} negated", words), replace(right, negated=negated)


def _count_mistakes(recipe: Recipe) -> int:
    return sum(getattr(recipe, f) != RIGHT for f in ("cosines", "step", "spacing", "product"))


def _list_tag_lengths(context: Context) -> dict[str, float]:
    """List the steps of STEPS that a tag gives a length for, in mm; some vendors write it with a sign."""
    given = {"thickness": context.slice_thickness_mm, "tag": context.spacing_between_slices_mm}
    return {name: abs(mm) for name, mm in given.items() if mm}


def _is_possible(step: str, context: Context) -> bool:
    return step.startswith("straightened") or step in _list_tag_lengths(context)


def _describe_base(base: str | tuple[int, ...], grid: Grid) -> str:
    if base == "zero":
        return "the origin was left out: it is 0, 0, 0, and belongs at Image Position (Patient) of the first plane"
    if base == "centre":
        return "the origin was put so that the middle of the block lies at 0, 0, 0"
    if base == (0, 0, 1):
        return f"the origin is Image Position (Patient) of the last plane, k = {grid.shape[2] - 1}, not of the first"
    which = ", ".join(str((n - 1) * b) for n, b in zip(grid.shape, base, strict=True) if isinstance(b, int))
    return f"the origin is that of another corner of the block: voxel ({which}) of the DICOM array"


def _describe_shift(shift: tuple[float, ...]) -> str:
    if max(map(abs, shift)) == 1:
        return "the origin is one voxel off along i, j and k (indices counted from 1)"
    along = [AXES[a] for a in np.flatnonzero(shift)]
    if along == ["k"]:
        return f"the origin is half a plane distance {'before' if shift[2] < 0 else 'after'} the first plane's centre"
    return f"the origin is half a voxel off along {' and '.join(along)}: a corner of the voxel, not its centre"
