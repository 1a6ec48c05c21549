"""What was done to a NIfTI file that lies in the wrong place: the fewest known mistakes that explain it exactly.

Rules:
- Voxels first, affine second. The voxels say in which order the array is; only then can an affine be right or wrong.
- Exact or not at all: a set of mistakes counts when its affine puts every corner within 0.001 mm of the file's, or
  0.001 mm more than the series' own planes lie from its grid.
- "Correct" is measured, never concluded: every voxel equal to the truth's, every corner of every plane in its place.
- What cannot be known is said: an order the voxels leave open, a file without voxels to compare, a shift without cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..core.findings import Code, refuse
from ..geometry.affine import Matrix, axis_codes
from ..geometry.axis_order import AS_IS, Order
from ..geometry.grid import Grid
from ..geometry.index_map import reorder
from ..geometry.rigid_motion import Motion, motion
from ..volume.mask import Array
from .array_match import ArrayMatch, as_labels, fewest_differing, fits, is_uniform, same_shape
from .mistakes import Context, Mistake, build, mistakes_of
from .search import FoundRecipe, search

DiagnosisStatus = Literal["correct", "mistakes", "moved", "unexplained", "undecided"]
TOLERANCE_MM = 1e-3
_MOST_PLACES = 6  # of planes cut from a stack of equal planes; the rest is said to be open


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What is wrong with a file, and what is known of it.

    status: `correct` (every voxel in its place), `mistakes` (explained exactly), `moved` (explained but for a rigid
    motion without a known cause), `unexplained`, `undecided` (nothing wrong with the affine, and no voxels to judge the
    array by). mistakes: each in words with what it alone costs. total_mm: how far the worst corner lies from its place;
    None where that is not known. residual: the motion left over. fit: where the voxels are in the truth, or None.
    others: sets of as many mistakes that give the very same file. unknown: what cannot be told, a sentence each.
    """

    status: DiagnosisStatus
    mistakes: tuple[Mistake, ...]
    total_mm: float | None
    fit: ArrayMatch | None
    residual: Motion | None = None
    others: tuple[tuple[Mistake, ...], ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The diagnosis as lines of text: verdict, mistakes, total, voxels, what is unknown."""
        n = len(self.mistakes)
        explain = "one mistake explains" if n == 1 else f"{n} mistakes explain"
        lines = [_VERDICTS[self.status].format(mistakes=explain, total=self.total_mm)]
        width = max((len(_mm(m.mm)) for m in self.mistakes), default=0)
        lines += [f"  {_mm(m.mm):>{width}} mm  {m.words}" for m in self.mistakes]
        if self.residual is not None:
            lines.append(f"  left over: {self.residual.words}")
        if self.total_mm is not None and self.status != "correct":
            lines.append(f"The worst corner lies {_mm(self.total_mm)} mm from its place.")
        for other in self.others[:2]:
            lines.append(f"The same file also comes from: {'; '.join(m.words for m in other)}.")
        return [*lines, *self.notes, *self.unknown]

    def as_json(self) -> dict[str, Any]:
        return {
            "Status": self.status,
            "Mistakes": _mistakes_json(self.mistakes),
            "TotalMm": self.total_mm,
            "Residual": self.residual.as_json() if self.residual else None,
            "VoxelsFound": self.fit is not None,
            "ArrayAxes": list(self.fit.order.axes) if self.fit else None,
            "ArrayFlipped": list(self.fit.order.flipped) if self.fit else None,
            "Planes": list(self.fit.planes) if self.fit else None,
            "AlsoExplainedBy": [_mistakes_json(other) for other in self.others],
            "Notes": list(self.notes),
            "Unknown": list(self.unknown),
        }


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
_VERDICTS: dict[DiagnosisStatus, str] = {
    "correct": "Nothing is wrong: every voxel lies within {total:.4f} mm of its place.",
    "mistakes": "The file is wrong, and {mistakes} it exactly.",
    "moved": (
        "The file is wrong, and a motion without a known cause is left over: "
        "another Frame of Reference, a registration or a moved table would look so."
    ),
    "unexplained": "No known set of mistakes explains this file: its voxels or its place are others than the series'.",
    "undecided": "The affine fits the series. Whether the array fits the affine is not known.",
}


def diagnose(
    wrong: Matrix,
    shape: Sequence[int],
    grid: Grid,
    *,
    array: Array | None = None,
    truth: Array | None = None,
    context: Context = Context(),  # noqa: B008  (frozen)
) -> Diagnosis:
    """What was done to a file.

    wrong: its 4 x 4 RAS affine. shape: its (i, j, k) shape. array: its voxels, 3-D. grid: where the series lies.
    truth: the voxels of the series, (i, j, k) on the grid; None where only the affine can be judged.
    Raises PipelineError: CORRUPT_FILE for an affine that is not finite, SEVERAL_VOLUMES for voxels that are not 3-D,
    COLOUR for voxels that are not single numbers.
    """
    if not np.isfinite(wrong).all():
        raise refuse(Code.CORRUPT_FILE, "the affine of the file has numbers that are not finite", clause="NIfTI-1 srow")
    if len(shape) != 3 or (array is not None and array.ndim != 3):
        raise refuse(Code.SEVERAL_VOLUMES, f"the file is {_size(shape)}; one 3-D block can be diagnosed")
    tolerance_mm = TOLERANCE_MM + context.irregularity_mm
    if array is None or truth is None:
        return _affine_only(wrong, tuple(shape), grid, context, tolerance_mm)
    if array.dtype.kind not in "biuf" or truth.dtype.kind not in "biuf":
        raise refuse(Code.COLOUR, f"the voxels are {array.dtype} and {truth.dtype}; single numbers can be compared")
    return _with_voxels(wrong, array, truth, grid, context, tolerance_mm)


def _with_voxels(
    wrong: Matrix, array: Array, truth: Array, grid: Grid, context: Context, tolerance_mm: float
) -> Diagnosis:
    array, truth, note = as_labels(array, truth)
    values = (Mistake("values", note),) if note else ()
    found = fits(array, truth)
    if not found:
        return _no_fit(wrong, array, truth, grid, context, tolerance_mm)
    places = list(dict.fromkeys(fit.planes for fit in found))
    best: _Candidate | None = None
    for planes in places[:_MOST_PLACES]:
        orders = [fit.order for fit in found if fit.planes == planes]
        for candidate in _explain(wrong, orders, planes, grid, context, tolerance_mm):
            if best is None or candidate.rank < best.rank:
                best = candidate
    unknown = _open_questions(found, places, truth)
    if best is None:
        first = found[0]
        part = part_of(grid, first.planes) if first.stride is not None else grid
        left = motion(wrong, part.ras @ first.order.matrix(part.shape), array.shape)
        return Diagnosis("unexplained", values, displaced(wrong, first, grid), first, left, (), unknown)
    total = displaced(wrong, best.fit, grid)
    mistakes = (*best.mistakes, *values)
    status: DiagnosisStatus = "moved" if best.residual else "mistakes" if mistakes else "correct"
    if status == "correct":
        # In whatever order it was stored: every voxel of the file lies where the series has the same value.
        assert total <= tolerance_mm * (1 + 1e-6)
        assert best.fit.complete(grid.shape[2])
        unknown = ()
    return Diagnosis(status, mistakes, total, best.fit, best.residual, best.others, unknown)


def fix(diagnosis: Diagnosis, array: Array, grid: Grid) -> tuple[Array, Grid]:
    """The array in the order of the grid, and the grid it fills: the right file, with no voxel invented.

    Raises PipelineError CANNOT_FIX where the voxels were not found, or planes are missing in between.
    """
    fit = diagnosis.fit
    if fit is None:
        raise refuse(
            Code.CANNOT_FIX,
            "the voxels of this file were not found in the series, so there is nothing to put right",
            "Give the series of the mask itself with --mask-series, or convert that series instead.",
        )
    if fit.stride is None:
        gone = sorted(set(range(fit.planes[0], fit.planes[-1])) - set(fit.planes))
        raise refuse(
            Code.CANNOT_FIX,
            f"{len(gone)} planes are missing in between (k = {', '.join(map(str, gone))}), and no affine can skip them",
            "Convert the mask series again; its planes are all there.",
        )
    part = part_of(grid, fit.planes)
    return reorder(array, fit.order.matrix(part.shape)), part


def part_of(grid: Grid, planes: Sequence[int]) -> Grid:
    """The grid of evenly spread planes of a grid."""
    step = planes[1] - planes[0] if len(planes) > 1 else 1
    lps = grid.lps.copy()
    lps[:3, 3] += lps[:3, 2] * planes[0]
    lps[:3, 2] *= step
    return Grid((grid.shape[0], grid.shape[1], len(planes)), lps, grid.frame_of_reference_uid)


def displaced(affine: Matrix, fit: ArrayMatch, grid: Grid) -> float:
    """The largest distance in mm between where an affine puts a corner of an array plane, and where it belongs."""
    part = (grid.shape[0], grid.shape[1], len(fit.planes))
    index = np.array([(i, j, k) for i in (0, part[0] - 1) for j in (0, part[1] - 1) for k in range(part[2])])
    back = np.linalg.inv(fit.order.matrix(part))
    there = index @ (affine @ back)[:3, :3].T + (affine @ back)[:3, 3]
    index[:, 2] = np.array(fit.planes)[index[:, 2]]
    here = index @ grid.ras[:3, :3].T + grid.ras[:3, 3]
    return float(np.linalg.norm(there - here, axis=1).max())


def _explain(
    wrong: Matrix, orders: Sequence[Order], planes: tuple[int, ...], grid: Grid, context: Context, tolerance_mm: float
) -> Iterator[_Candidate]:
    """The best explanations for an array that holds these planes in one of these orders."""
    for part, cut in _parts(grid, planes):
        found = search(wrong, orders, part, context, tolerance_mm)
        if not found:
            continue
        sets = [_in_words(f, part, context) for f in found]
        if cut:
            fit = ArrayMatch(found[0].array, planes)
            cost = displaced(part.ras @ fit.order.matrix(part.shape), fit, grid)
            sets = [(Mistake("planes missing", cut, cost), *s) for s in sets]
        others = tuple(dict.fromkeys(s for s in sets[1:] if s != sets[0]))
        first = found[0]
        level = 0 if first.residual is None else 1 + (first.residual.rotation_degrees > 1e-3)
        yield _Candidate((level, len(sets[0])), sets[0], ArrayMatch(first.array, planes), first.residual, others)


def _parts(grid: Grid, planes: tuple[int, ...]) -> Iterator[tuple[Grid, str]]:
    """The grids an affine may be meant for when planes are missing, and what is missing in words."""
    columns, rows, count = grid.shape
    if len(planes) == count:
        yield grid, ""
        return
    fit = ArrayMatch(AS_IS, planes)
    missing = _listed(sorted(set(range(count)) - set(planes)))
    gone = f"the array has {len(planes)} of {count} planes (missing: {missing})"
    if fit.stride is not None:
        yield part_of(grid, planes), f"{gone}, and the affine allows for it"
    if fit.stride != 1 or planes[0] != 0:
        whole = Grid((columns, rows, len(planes)), grid.lps)
        yield whole, f"{gone}, and the affine is that of the whole series"
    if fit.stride != 1:
        lps = grid.lps.copy()
        lps[:3, 3] += lps[:3, 2] * planes[0]
        if planes[0] != 0:
            yield Grid(whole.shape, lps), f"{gone}, and the affine steps from the first as if none were"
    if fit.stride is None:
        lps[:3, 2] *= (planes[-1] - planes[0]) / (len(planes) - 1)
        yield Grid(whole.shape, lps), f"{gone}, and the affine spreads the others evenly"


def _in_words(found: FoundRecipe, grid: Grid, context: Context) -> tuple[Mistake, ...]:
    fit = ArrayMatch(found.array, tuple(range(grid.shape[2])))
    listed = mistakes_of(found.recipe, found.array, grid)
    return tuple(replace(m, mm=displaced(build(alone, grid, context), fit, grid)) for m, alone in listed)


def _affine_only(wrong: Matrix, shape: tuple[int, ...], grid: Grid, context: Context, tolerance_mm: float) -> Diagnosis:
    orders = same_shape(shape, grid.shape)
    if not orders:
        said = f"the file has {_size(shape)} voxels and the series {_size(grid.shape)}: not one block in another order"
        return Diagnosis("unexplained", (), None, None, notes=(said,), unknown=(_NO_VOXELS,))
    best = next(_explain(wrong, orders, tuple(range(grid.shape[2])), grid, context, tolerance_mm), None)
    if best is None:
        right = grid.ras @ orders[0].matrix(grid.shape)
        left = motion(wrong, right, shape)
        return Diagnosis("unexplained", (), None, None, left, unknown=(_NO_VOXELS,))
    stored = axis_codes(grid.ras @ best.fit.order.matrix(grid.shape))
    status: DiagnosisStatus = "moved" if best.residual else "mistakes" if best.mistakes else "undecided"
    note = f"This holds for an array stored {stored}."
    return Diagnosis(status, best.mistakes, None, None, best.residual, best.others, (_NO_VOXELS,), (note,))


def _no_fit(wrong: Matrix, array: Array, truth: Array, grid: Grid, context: Context, tolerance_mm: float) -> Diagnosis:
    """Voxels that are not the truth's in any order: nothing can be called right, and the nearest order is named."""
    nearest = fewest_differing(array, truth)
    if nearest is None:
        said = f"the file is {_size(array.shape)}, the series {_size(truth.shape)}, and the planes are not found there"
        return Diagnosis("unexplained", (), None, None, notes=(said,))
    order, differing = nearest
    stored = axis_codes(grid.ras @ order.matrix(grid.shape))
    said = f"{differing} of {array.size} voxels differ from the series even in the order that fits best ({stored})."
    best = next(_explain(wrong, [order], tuple(range(grid.shape[2])), grid, context, tolerance_mm), None)
    if best is None:
        left = motion(wrong, grid.ras @ order.matrix(grid.shape), array.shape)
        return Diagnosis("unexplained", (), None, None, left, notes=(said,))
    judged = "For an array in that order, " + ("the above is" if best.mistakes or best.residual else "nothing is")
    note = f"{judged} wrong with the affine."
    return Diagnosis("unexplained", best.mistakes, None, None, best.residual, best.others, notes=(said, note))


def _open_questions(found: Sequence[ArrayMatch], places: Sequence[tuple[int, ...]], truth: Array) -> tuple[str, ...]:
    said = []
    if is_uniform(truth):
        said.append("All voxels are equal, so they do not tell in which order the array is stored.")
    elif len({fit.order for fit in found}) > 1:
        n = len({fit.order for fit in found})
        said.append(
            f"The mask is symmetrical: it fits in {n} orders. The one that needs the fewest mistakes was taken."
        )
    if len(places) > 1:
        said.append(f"The planes of the file are found in {len(places)} places of the series; it may be any of them.")
    return tuple(said)


def _listed(planes: Sequence[int]) -> str:
    """Plane numbers with runs drawn together: k = 0 to 4, 9."""
    runs: list[list[int]] = []
    for k in planes:
        if runs and runs[-1][-1] == k - 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    shown = [f"{r[0]} to {r[-1]}" if len(r) > 1 else str(r[0]) for r in runs]
    return "k = " + ", ".join(shown[:8]) + (f" and {len(shown) - 8} more runs" if len(shown) > 8 else "")


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _mm(length: float) -> str:
    """Tenths of a millimetre, and more where there are none."""
    return f"{length:.1f}" if length >= 0.1 else f"{length:.4f}"


def _mistakes_json(mistakes: Sequence[Mistake]) -> list[dict[str, Any]]:
    return [{"Name": m.name, "Words": m.words, "Mm": m.mm} for m in mistakes]
