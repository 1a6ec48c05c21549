"""Say in words what was done wrong on the way from the DICOM header to the NIfTI header.

Rules:
- The words are those a person would use who knows the field: what was left out is said to be left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..crosscheck.dicom2nifti import stored_order
from ..geometry.affine import axis_codes
from ..geometry.axis_order import AS_IS, AXES, Order, describe_difference, order_for
from ..geometry.grid import Grid
from .recipe import COSINES, PRODUCTS, RIGHT, SPACINGS, STEPS, WORLDS, Recipe

_SCALES = {"cm": "centimetres", "m": "metres", "um": "micrometres"}
_LEFT_OUT = {  # by whether the spacing, and the origin, were left out too
    (False, False): ("directions left out", "the directions were left out: only spacing and origin were written"),
    (False, True): (
        "directions and origin left out",
        "only the spacing was written: directions and origin were left out",
    ),
    (True, False): (
        "directions and spacing left out",
        "only the origin was written: directions and spacing were left out",
    ),
    (True, True): ("identity", "the affine is the identity: neither directions, spacing nor origin were written"),
}
_END = re.compile(r"[:;(]|, (?:and|as) | of the array's axes")  # of what a mistake is; the reason follows


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that was done wrong. name: short and stable. words: one sentence without full stop.

    mm: what it alone costs, the largest displacement of a corner.
    """

    name: str
    words: str
    mm: float = 0.0

    @property
    def short(self) -> str:
        """The words without their reason."""
        return _END.split(self.words)[0].strip()


_USUAL = {  # orders in which arrays often are where the affine is that of the array as DICOM stores it
    Order((2, 1, 0)): Mistake(
        "array order",
        "the array has its axes in the order k, j, i, as SimpleITK and pydicom give it, and the affine is for i, j, k",
    ),
    Order((1, 0, 2)): Mistake(
        "array order",
        "the array has its rows first, j, i, k, as stacked pixel arrays of pydicom have, and the affine is for i, j, k",
    ),
    Order(flipped=(False, False, True)): Mistake(
        "planes reversed",
        "the planes are in reverse order: the array begins at the last plane, and the affine at the first",
    ),
}


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
    change = meant.after(array.inverse)
    if meant == AS_IS and array in _USUAL:
        return [(_USUAL[array], meant)]
    who = list_named_orders(grid).get(meant)
    if who:
        words = f"the affine belongs to {who} ({stated}), and this array is stored {has}: {describe_difference(array, meant)}"
        return [(Mistake("array order", words), meant)]
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
    if recipe.left_out:
        yield from _list_left_out(recipe, grid)
        recipe = replace(recipe, negated=right.negated, world=RIGHT)
        recipe = replace(recipe, spacing=RIGHT) if recipe.spacing == "unit" else recipe
        recipe = replace(recipe, base=RIGHT) if recipe.base == "zero" else recipe
    if recipe.scale != RIGHT:
        words = f"the numbers are {_SCALES[recipe.scale]}, and should be mm"
        yield Mistake(f"unit {recipe.scale}", words), replace(right, scale=recipe.scale)
    if recipe.transposed:
        words = "the 4 × 4 matrix was written transposed, and its origin, then in the last row, was lost"
        yield Mistake("transposed", words), replace(right, transposed=True)
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
        end = (
            "the planes are stacked from the origin the wrong way"
            if a == 2
            else "the origin is still that of the other end"
        )
        words = f"the sign of column {AXES[a]} of the affine is turned, and {end}"
        negated = (bool(a == 0), bool(a == 1), bool(a == 2))
        yield Mistake(f"{AXES[a]} negated", words), replace(right, negated=negated)


def _list_left_out(recipe: Recipe, grid: Grid) -> Iterator[tuple[Mistake, Recipe]]:
    """List what a recipe without directions leaves out, as one mistake; and whether its origin is still LPS."""
    without = Recipe(order=recipe.order, left_out=True, negated=recipe.negated)
    if recipe.base == "zero":
        without = replace(without, base="zero")
    if recipe.spacing == "unit":
        without = replace(without, spacing="unit")
    name, words = _LEFT_OUT[recipe.spacing == "unit", recipe.base == "zero"]
    if any(recipe.negated):
        words += f" (with a minus for {' and '.join(AXES[a] for a in np.flatnonzero(recipe.negated))})"
    yield Mistake(name, words), without
    if recipe.world != RIGHT:
        words = "the origin kept the signs of Image Position (Patient), and its x and y should be negated"
        yield Mistake("world directions", words), Recipe(order=recipe.order, world="directions")


def _describe_base(base: str | tuple[int, ...], grid: Grid) -> str:
    if base == "zero":
        return "the origin was left out: it is 0, 0, 0, and belongs at Image Position (Patient) of the first plane"
    if base == "centre":
        return "the origin was put so that the middle of the block lies at 0, 0, 0"
    if base == (0, 0, 1):
        return f"the origin is that of the last plane, k = {grid.shape[2] - 1}, and should be that of the first"
    which = ", ".join(str((n - 1) * b) for n, b in zip(grid.shape, base, strict=True) if isinstance(b, int))
    return f"the origin is that of another corner of the block: voxel ({which}) of the DICOM array"


def _describe_shift(shift: tuple[float, ...]) -> str:
    if max(map(abs, shift)) == 1:
        return "the origin is one voxel off along i, j and k (indices counted from 1)"
    along = [AXES[a] for a in np.flatnonzero(shift)]
    if along == ["k"]:
        return f"the origin is half a plane distance {'before' if shift[2] < 0 else 'after'} the first plane's centre"
    return f"the origin is half a voxel off along {' and '.join(along)}: a corner of the voxel, not its centre"
