"""Find what was done to a NIfTI file that lies in the wrong place: the fewest known mistakes that explain it exactly.

Rules:
- Voxels first, affine second. The voxels show in which order the array is; only then can an affine be right or wrong.
- Exact or not at all: a set of mistakes counts when its affine puts every corner within 0.001 mm of the file's, or
  0.001 mm more than the series' own planes lie from its grid.
- "Correct" is measured, never concluded: every voxel equal to the truth's, every corner of every plane in its place.
- What cannot be known is stated: an order the voxels leave open, a file without voxels to compare, a shift without cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.findings import Code, refuse
from ..geometry.affine import Matrix, axis_codes
from ..geometry.axis_order import Order
from ..geometry.grid import Grid
from ..geometry.index_map import reorder
from ..geometry.rigid_motion import Motion, measure_motion
from ..volume.colour import is_rgb, name_type, to_codes
from ..volume.mask import Array
from .array_match import ArrayMatch, find_matches, find_nearest_order, is_uniform, list_orders, match_labels
from .missing_planes import cut_grid, list_parts, list_planes
from .mistakes import Mistake, list_mistakes
from .plane_order import find_reordered, name_order
from .recipe import Context, build
from .result import Diagnosis, DiagnosisStatus
from .search import FoundRecipe, search

TOLERANCE_MM = 1e-3  # what float32 leaves of an affine, and far less than any mistake moves a corner by
_ROUNDING = 1e-6  # of the tolerance: two computations of one distance
_TURNED_DEGREES = 1e-3  # a smaller rotation is what rounding leaves of none
_MOST_PLACES = 6  # where the planes of a file may lie in a series of equal planes; more are not tried, which is noted
_NUMBERS = "biuf"  # kinds of NumPy types whose values are single numbers


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """What is diagnosed: the file's affine (4 x 4 RAS), the grid of the series, and how near is exact, in mm."""

    affine: Matrix
    grid: Grid
    context: Context
    tolerance_mm: float

    @property
    def all_planes(self) -> tuple[int, ...]:
        return tuple(range(self.grid.shape[2]))

    def residual_motion(self, order: Order, part: Grid) -> Motion:
        """The motion from where an array in this order belongs to where the file has it."""
        return measure_motion(self.affine, part.ras @ order.matrix(part.shape), order.shape(part.shape))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One explanation. rank: exact before shifted before moved, then the fewest mistakes."""

    rank: tuple[int, int]
    mistakes: tuple[Mistake, ...]
    fit: ArrayMatch
    residual: Motion | None
    others: tuple[tuple[Mistake, ...], ...]


_NO_VOXELS = (
    "Only the affine was judged. Whether the array is stored in the order the affine says, whether planes were "
    "reversed, and whether the values are right cannot be known without the voxels of the mask series (--mask-series)."
)


def diagnose(
    wrong: Matrix,
    shape: Sequence[int],
    grid: Grid,
    *,
    array: Array | None = None,
    truth: Array | None = None,
    context: Context = Context(),  # noqa: B008  (frozen)
) -> Diagnosis:
    """Find what was done to a file.

    Args:
        wrong: the file's affine, 4 x 4, index to RAS mm.
        shape: its (i, j, k) shape.
        grid: where the series lies (LPS, mm).
        array: the voxels of the file, 3-D; None where only the affine is to be judged.
        truth: the voxels of the series, (i, j, k) on the grid; None where only the affine can be judged.
        context: what else is known of the series.

    Returns: the diagnosis.

    Raises: PipelineError CORRUPT_FILE for an affine that is not finite, SEVERAL_VOLUMES for voxels that are not 3-D,
        COLOUR for colours on one side alone, or voxels of any other kind that are not single numbers.
    """
    if not np.isfinite(wrong).all():
        words = "the affine of the file has numbers that are not finite"
        hint = "Write the file again; no place can be read from it."
        raise refuse(Code.CORRUPT_FILE, words, hint, clause="NIfTI-1 srow", where=("affine",))
    if len(shape) != 3 or (array is not None and array.ndim != 3):
        words = f"the file is {_size(shape)}; one 3-D block can be diagnosed"
        hint = "Split the file into one file for each volume, and diagnose each."
        raise refuse(Code.SEVERAL_VOLUMES, words, hint, where=(_size(shape),))
    case = _Case(wrong, grid, context, TOLERANCE_MM + context.irregularity_mm)
    if array is None or truth is None:
        return _judge_affine(case, tuple(shape))
    if is_rgb(array.dtype) and is_rgb(truth.dtype):
        array, truth = to_codes(array), to_codes(truth)
    if array.dtype.kind not in _NUMBERS or truth.dtype.kind not in _NUMBERS:
        words = f"the voxels are {name_type(array.dtype)} in the file and {name_type(truth.dtype)} in the series: colours and "
        words += "numbers do not compare"
        hint = "Give a file of what the series holds."
        raise refuse(Code.COLOUR, words, hint, where=(name_type(array.dtype), name_type(truth.dtype)))
    return _judge_voxels(case, array, truth)


def fix(diagnosis: Diagnosis, array: Array, grid: Grid) -> tuple[Array, Grid]:
    """Put the array in the order of the grid, and return the grid it fills: the right file, with no voxel invented.

    Args:
        diagnosis: what `diagnose` found for this array.
        array: the voxels of the file, 3-D.
        grid: where the series lies (LPS, mm).

    Returns: the (i, j, k) array and its grid.

    Raises: PipelineError CANNOT_FIX where the voxels were not found, may lie in several places, or planes are missing in
        between.
    """
    fit = diagnosis.fit
    if fit is None:
        raise refuse(
            Code.CANNOT_FIX,
            "the voxels of this file were not found in the series, so there is nothing to put right",
            "Give the series of the mask itself with --mask-series, or convert that series instead.",
            where=(f"{_size(array.shape)} voxels",),
        )
    if diagnosis.places:
        listed = "; or ".join(list_planes(planes) for planes in diagnosis.places)
        raise refuse(
            Code.CANNOT_FIX,
            f"the {len(fit.planes)} planes of this file are found in several places of the series, and nothing says which is meant",
            f"They are {listed}. Convert the mask series again; its planes are all in their places.",
            where=tuple(list_planes(planes) for planes in diagnosis.places),
        )
    if fit.is_reordered:
        return reorder(array, fit.order.matrix(grid.shape))[:, :, np.argsort(fit.planes)], grid
    if fit.stride is None:
        gone = sorted(set(range(fit.planes[0], fit.planes[-1])) - set(fit.planes))
        raise refuse(
            Code.CANNOT_FIX,
            f"{len(gone)} planes are missing in between (k = {', '.join(map(str, gone))}), and no affine can skip them",
            "Convert the mask series again; its planes are all there.",
            where=tuple(f"k={k}" for k in gone),
        )
    part = cut_grid(grid, fit.planes)
    return reorder(array, fit.order.matrix(part.shape)), part


def measure_displacement(affine: Matrix, fit: ArrayMatch, grid: Grid) -> float:
    """Measure how far, at most, an affine puts a corner of an array plane from where it belongs.

    Args:
        affine: 4 x 4, index of the array to RAS mm.
        fit: which voxel of the grid each voxel of the array is.
        grid: where the series lies (LPS, mm).

    Returns: the distance in mm.
    """
    part = (grid.shape[0], grid.shape[1], len(fit.planes))
    index = np.array([(i, j, k) for i in (0, part[0] - 1) for j in (0, part[1] - 1) for k in range(part[2])])
    back = np.linalg.inv(fit.order.matrix(part))
    there = index @ (affine @ back)[:3, :3].T + (affine @ back)[:3, 3]
    index[:, 2] = np.array(fit.planes)[index[:, 2]]
    here = index @ grid.ras[:3, :3].T + grid.ras[:3, 3]
    return float(np.linalg.norm(there - here, axis=1).max())


def _judge_voxels(case: _Case, array: Array, truth: Array) -> Diagnosis:
    """Find where the voxels are in the series, then what was done to the affine."""
    array, truth, note = match_labels(array, truth)
    values = (Mistake("values", note),) if note else ()
    matches = find_matches(array, truth) or find_reordered(array, truth, case.context.plane_orders)
    if not matches:
        return _judge_other_voxels(case, array, truth)
    places = list(dict.fromkeys(match.planes for match in matches))
    unknown = _list_open_questions(matches, places, truth)
    best, undecided = _find_best(case, matches, places)
    if best is None:
        first = matches[0]
        part = cut_grid(case.grid, first.planes) if first.stride is not None else case.grid
        left = measure_motion(case.affine, part.ras @ first.order.matrix(part.shape), array.shape)
        total = measure_displacement(case.affine, first, case.grid)
        return Diagnosis("unexplained", values, total, first, left, (), unknown, places=undecided)
    total = measure_displacement(case.affine, best.fit, case.grid)
    mistakes = (*best.mistakes, *values)
    if best.residual or mistakes:
        status: DiagnosisStatus = "moved" if best.residual else "mistakes"
        notes = tuple(_list_causes(case, best.mistakes, best.fit))
        others = tuple((*other, *values) for other in best.others)
        return Diagnosis(status, mistakes, total, best.fit, best.residual, others, unknown, notes, undecided)
    _require_correct(case, best.fit, total)
    # In whatever order it was stored, every voxel of the file lies where the series has the same value: nothing is open.
    return Diagnosis("correct", (), total, best.fit, None, best.others)


def _find_best(
    case: _Case, matches: Sequence[ArrayMatch], places: Sequence[tuple[int, ...]]
) -> tuple[_Candidate | None, tuple[tuple[int, ...], ...]]:
    """Find the explanation of the lowest rank among all places where the planes may lie; and all places of that rank.

    Returns: the first of equals, and the places of equals; no places where only one is left.
    """
    candidates: list[_Candidate] = []
    for planes in places[:_MOST_PLACES]:
        orders = [match.order for match in matches if match.planes == planes]
        candidates += _explain(case, orders, planes)
    best = min(candidates, key=lambda candidate: candidate.rank, default=None)
    equal = [c.fit.planes for c in candidates if best is not None and c.rank == best.rank] or places
    left = tuple(dict.fromkeys(equal))
    return best, left if len(left) > 1 and not matches[0].is_complete(case.grid.shape[2]) else ()


def _list_causes(case: _Case, mistakes: Sequence[Mistake], fit: ArrayMatch) -> Iterator[str]:
    """Say what may have turned the planes round, where the order of the series' files or numbers is the reverse."""
    backwards = name_order(range(case.grid.shape[2])[::-1], case.context.plane_orders)
    turned = {"planes reversed", "k flipped", "k negated", "origin (0, 0, 1)"}
    if backwards and turned & {mistake.name for mistake in mistakes} and not fit.is_reordered:
        yield f"Sorted by {backwards}, this series begins at its last plane (k = {case.grid.shape[2] - 1})."


def _require_correct(case: _Case, fit: ArrayMatch, total_mm: float) -> None:
    """Raise RuntimeError, a bug of ours, where a file without a mistake is not measured to be in its place."""
    if total_mm > case.tolerance_mm * (1 + _ROUNDING) or not fit.is_complete(case.grid.shape[2]):
        raise RuntimeError(f"no mistake was found, and the file lies {total_mm:g} mm off with {len(fit.planes)} planes")


def _judge_affine(case: _Case, shape: tuple[int, ...]) -> Diagnosis:
    """Judge the affine alone, for an array in any order that has the file's shape."""
    grid = case.grid
    orders = list_orders(shape, grid.shape)
    if not orders:
        note = f"the file has {_size(shape)} voxels and the series {_size(grid.shape)}: not one block in another order"
        return Diagnosis("unexplained", (), None, None, notes=(note,), unknown=(_NO_VOXELS,))
    best = next(_explain(case, orders, case.all_planes), None)
    if best is None:
        left = case.residual_motion(orders[0], grid)
        return Diagnosis("unexplained", (), None, None, left, unknown=(_NO_VOXELS,))
    stored = axis_codes(grid.ras @ best.fit.order.matrix(grid.shape))
    status: DiagnosisStatus = "moved" if best.residual else "mistakes" if best.mistakes else "undecided"
    note = f"This holds for an array stored {stored}."
    return Diagnosis(status, best.mistakes, None, None, best.residual, best.others, (_NO_VOXELS,), (note,))


def _judge_other_voxels(case: _Case, array: Array, truth: Array) -> Diagnosis:
    """Judge voxels that are not the truth's in any order: nothing can be called right, and the nearest order is named."""
    grid = case.grid
    nearest = find_nearest_order(array, truth)
    if nearest is None:
        note = f"the file is {_size(array.shape)}, the series {_size(truth.shape)}, and the planes are not found there"
        return Diagnosis("unexplained", (), None, None, notes=(note,))
    order, differing = nearest
    stored = axis_codes(grid.ras @ order.matrix(grid.shape))
    counted = f"{differing} of {array.size} voxels differ from the series even in the order that fits best ({stored})."
    best = next(_explain(case, [order], case.all_planes), None)
    if best is None:
        return Diagnosis("unexplained", (), None, None, case.residual_motion(order, grid), notes=(counted,))
    judged = "For an array in that order, " + ("the above is" if best.mistakes or best.residual else "nothing is")
    notes = (counted, f"{judged} wrong with the affine.")
    return Diagnosis("unexplained", best.mistakes, None, None, best.residual, best.others, notes=notes)


def _explain(case: _Case, orders: Sequence[Order], planes: tuple[int, ...]) -> Iterator[_Candidate]:
    """Find the best explanations for an array that holds these planes in one of these orders."""
    for part, cut in list_parts(case.grid, planes, case.context.plane_orders):
        found = search(case.affine, orders, part, case.context, case.tolerance_mm)
        if not found:
            continue
        sets = [_describe_mistakes(f, part, case.context) for f in found]
        if cut:
            fit = ArrayMatch(found[0].array, planes)
            cost = measure_displacement(part.ras @ fit.order.matrix(part.shape), fit, case.grid)
            name = "planes reordered" if fit.is_reordered else "planes missing"
            sets = [(Mistake(name, cut, cost), *s) for s in sets]
        others = tuple(dict.fromkeys(s for s in sets[1:] if s != sets[0]))
        first = found[0]
        level = 0 if first.residual is None else 1 + (first.residual.rotation_degrees > _TURNED_DEGREES)
        yield _Candidate((level, len(sets[0])), sets[0], ArrayMatch(first.array, planes), first.residual, others)


def _describe_mistakes(found: FoundRecipe, grid: Grid, context: Context) -> tuple[Mistake, ...]:
    """Describe the mistakes of a recipe, each with what it alone costs in mm."""
    fit = ArrayMatch(found.array, tuple(range(grid.shape[2])))
    listed = list_mistakes(found.recipe, found.array, grid)
    return tuple(replace(m, mm=measure_displacement(build(alone, grid, context), fit, grid)) for m, alone in listed)


def _list_open_questions(
    matches: Sequence[ArrayMatch], places: Sequence[tuple[int, ...]], truth: Array
) -> tuple[str, ...]:
    questions = []
    count = len({match.order for match in matches})
    if is_uniform(truth):
        questions.append("All voxels are equal, so they do not tell in which order the array is stored.")
    elif count > 1:
        fewest = "The one that needs the fewest mistakes was taken."
        questions.append(f"The mask is symmetrical: it fits in {count} orders. {fewest}")
    if len(places) > 1:
        several = f"The planes of the file are found in {len(places)} places of the series"
        questions.append(f"{several}; it may be any of them.")
    return tuple(questions)


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
