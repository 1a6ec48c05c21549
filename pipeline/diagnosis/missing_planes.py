"""List the grids an affine may be meant for when planes of the series are missing in a file, or in another order.

Rules:
- A script that lost planes writes the affine of the whole series, or that of the planes it has; each is one grid here.
- What is said of the planes and of the affine is one mistake: mending the one without the other helps nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..geometry.affine import Matrix
from ..geometry.axis_order import AS_IS
from ..geometry.grid import Grid
from .array_match import ArrayMatch
from .plane_order import PlaneOrders, name_order

_LISTED = 8  # runs of planes that are listed in a message


def cut_grid(grid: Grid, planes: Sequence[int]) -> Grid:
    """Cut the grid of some evenly spread planes out of a grid. planes: their k, ascending."""
    step = planes[1] - planes[0] if len(planes) > 1 else 1
    lps = grid.lps.copy()
    lps[:3, 3] += lps[:3, 2] * planes[0]
    lps[:3, 2] *= step
    return Grid((grid.shape[0], grid.shape[1], len(planes)), lps, grid.frame_of_reference_uid)


def list_parts(grid: Grid, planes: tuple[int, ...], known: PlaneOrders) -> Iterator[tuple[Grid, str]]:
    """List the grids an affine may be meant for.

    Args:
        grid: where the series lies (LPS, mm).
        planes: the k of each plane of the file.
        known: orders of planes that the series suggests, by name.

    Yields: each grid, and in words what was done to the planes; "" where they are all there, in order.
    """
    columns, rows, count = grid.shape
    fit = ArrayMatch(AS_IS, planes)
    if fit.is_reordered:
        yield from _list_reordered(grid, planes, known)
        return
    if len(planes) == count:
        yield grid, ""
        return
    missing = list_planes(sorted(set(range(count)) - set(planes)))
    gone = f"the array has {len(planes)} of {count} planes (missing: {missing})"
    if fit.stride is not None:
        yield cut_grid(grid, planes), f"{gone}, and the affine allows for it"
    shape, first, step = (columns, rows, len(planes)), grid.lps[:3, 2] * planes[0], grid.lps[:3, 2]
    if fit.stride != 1 or planes[0] != 0:
        yield Grid(shape, grid.lps), f"{gone}, and the affine is that of the whole series"
    if fit.stride != 1 and planes[0] != 0:
        lps = _move(grid.lps, first, step)
        yield Grid(shape, lps), f"{gone}, and the affine steps from the first as if none were"
    if fit.stride is None:
        even = (planes[-1] - planes[0]) / (len(planes) - 1)
        yield Grid(shape, _move(grid.lps, first, step * even)), f"{gone}, and the affine spreads the others evenly"


def _list_reordered(grid: Grid, planes: tuple[int, ...], known: PlaneOrders) -> Iterator[tuple[Grid, str]]:
    """List the grids an affine may be meant for when the planes are in another order, and that in words."""
    by = name_order(planes, known)
    stacked = f"the planes were stacked by {by}, not by position" if by else "the planes are not stacked by position"
    words = f"{stacked}: k = {', '.join(map(str, planes[:_LISTED]))}{' and so on' if len(planes) > _LISTED else ''}"
    yield grid, words
    step = grid.lps[:3, 2]
    first = step * planes[0]
    yield Grid(grid.shape, _move(grid.lps, first, step)), f"{words}, and the affine begins at the first of these"
    apart = abs(planes[1] - planes[0])  # where the step runs backwards, that is another mistake
    if apart != 1:
        went_on = f"{words}, and the affine goes on with the distance from the first to the second of these"
        yield Grid(grid.shape, _move(grid.lps, first, step * apart)), went_on


def _move(lps: Matrix, shift: Matrix, step: Matrix) -> Matrix:
    """Return an affine with its origin shifted and another step from plane to plane."""
    moved = lps.copy()
    moved[:3, 3] += shift
    moved[:3, 2] = step
    return moved


def list_planes(planes: Sequence[int]) -> str:
    """Write plane numbers with runs drawn together: k = 0 to 4, 9."""
    runs: list[list[int]] = []
    for k in planes:
        if runs and runs[-1][-1] == k - 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    shown = [f"{r[0]} to {r[-1]}" if len(r) > 1 else str(r[0]) for r in runs]
    return (
        "k = " + ", ".join(shown[:_LISTED]) + (f" and {len(shown) - _LISTED} more runs" if len(shown) > _LISTED else "")
    )
