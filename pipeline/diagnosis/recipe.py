"""Build the affine of a file in steps, each taken rightly or wrongly, on the way from the DICOM header to the NIfTI header.

Rules:
- An affine is built in steps: cosines, lengths, their product, the origin, LPS to RAS, the order of the array. A
  mistake takes one step differently. So a set of mistakes gives one affine, in whatever order they are named.
- `build` is the only place that defines what a mistake does; the search and the tests both use it.
- A mistake that changes nothing for a grid (swapping equal spacings) is no mistake there and is not offered.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from ..geometry.affine import Matrix, axis_lengths
from ..geometry.axis_order import AS_IS, Order
from ..geometry.grid import Grid

RIGHT = "right"
_SAME_AXES = 0.1  # of the tolerance: two constructions nearer than this cannot be told apart
_LPS_TO_RAS_AXES: Matrix = np.diag([-1.0, -1.0, 1.0])

COSINES = {
    "transposed": "the direction cosines were written as the rows of the matrix; they are its columns",
    "exchanged": "the row cosine and the column cosine were exchanged",
}
STEPS = {
    "straightened": "leaning planes were stacked straight, along the normal (gantry tilt)",
    "straightened long": "leaning planes were stacked straight, by the slanted distance (gantry tilt)",
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
SCALES = {"cm": 0.1, "m": 0.001, "um": 1000.0}  # the number that is written for 1 mm
SHIFTS = (*(s for s in product((0.0, -0.5, 0.5), repeat=3) if any(s)), (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Context:
    """What else is known of the series, in mm.

    slice_thickness_mm, spacing_between_slices_mm: from the tags of that name; None where they are absent. irregularity_mm:
    how far its own planes lie from its grid (a stack's residual, and what straightening moved); nothing nearer than that
    can be judged. plane_orders: what else the planes may be sorted by (a name, and the k of each plane in that order).
    """

    slice_thickness_mm: float | None = None
    spacing_between_slices_mm: float | None = None
    irregularity_mm: float = 0.0
    plane_orders: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an affine was built. Every field at its default, and `order` that of the array, is the right way.

    order: the array order the affine belongs to. negated: columns of the affine whose sign was turned without moving
    the origin. base: where the origin was taken. shift: by how much of a voxel it was moved, along i, j and k.
    left_out: the directions were not written; the steps of the array run along x, y and z of the patient, in whatever order
    it is stored. scale: the unit, where it is not mm. transposed: the whole 4 x 4 was, so that its origin was lost.
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
    left_out: bool = False
    scale: str = RIGHT
    transposed: bool = False


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
    if recipe.left_out:
        affine[:3, :3] = np.diag(axis_lengths(affine)[list(recipe.order.axes)])
    else:
        affine = affine @ recipe.order.matrix(grid.shape)
    affine[:3, :3] *= np.where(recipe.negated, -1, 1)
    if recipe.base == "zero":
        affine[:3, 3] = 0
    elif recipe.base == "centre":
        affine[:3, 3] = centre_origin(affine[:3, :3], recipe.order.shape(grid.shape))
    affine[:3, 3] += turn_to_world(recipe.world, linear, linear @ np.array(recipe.shift))[1]
    if recipe.transposed:
        affine[:3, :3], affine[:3, 3] = affine[:3, :3].T.copy(), 0
    affine[:3] *= SCALES.get(recipe.scale, 1.0)
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
        lengths[2] = list_tag_lengths(context)[recipe.step]
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


def count_steps(recipe: Recipe) -> int:
    """Count which of cosines, step, spacing and product were taken wrongly."""
    return sum(getattr(recipe, f) != RIGHT for f in ("cosines", "step", "spacing", "product"))


def list_tag_lengths(context: Context) -> dict[str, float]:
    """List the steps of STEPS that a tag gives a length for, in mm; some vendors write it with a sign."""
    given = {"thickness": context.slice_thickness_mm, "tag": context.spacing_between_slices_mm}
    return {name: abs(mm) for name, mm in given.items() if mm}


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
    choices = (COSINES, [s for s in STEPS if is_possible(s, context)], SPACINGS, PRODUCTS)
    recipes = [Recipe(*picked) for picked in product(*[(RIGHT, *c) for c in choices])]
    recipes.sort(key=count_steps)
    reach = np.maximum(np.array(grid.shape) - 1, 1)
    kept: list[tuple[int, Recipe, Matrix]] = []
    stacked = np.empty((len(recipes), 3, 3))
    for recipe in recipes:
        linear = build_axes(recipe, grid, context)
        if not (np.abs((stacked[: len(kept)] - linear) * reach).max(axis=(1, 2)) < tolerance_mm * _SAME_AXES).any():
            stacked[len(kept)] = linear
            kept.append((count_steps(recipe), recipe, linear))
    return kept


def is_possible(step: str, context: Context) -> bool:
    """Whether a way of STEPS can be taken: two need a tag."""
    return step.startswith("straightened") or step in list_tag_lengths(context)
