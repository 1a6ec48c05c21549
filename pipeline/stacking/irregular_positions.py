"""Name what is wrong with the positions of planes: doubled, missing, displaced, turned or unevenly spaced.

Rules:
- The corner proof of `geometry.stack` has failed when this is asked; it decides nothing, and only finds out which defect
  it is, between which files, and how much.
- One defect is named, or two that occur together, such as a displaced plane and a missing one. The one that must be
  mended first stands in front.
- Lengths are along the normal where nothing else is said. Names are those of the planes, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, Finding
from ..core.limits import SAME_PLACE_MM
from ..geometry.affine import Matrix
from ..geometry.grid import Plane
from ..geometry.stack import Stack

_PLANE_CLAUSE = "PS3.3 C.7.6.2.1.1"
_STANDS_OUT = 4.0  # how many times further than any other a displaced plane lies from the line through them
_FEWEST_FOR_LINE = 4  # planes: three others must agree before one is called displaced, or a step drifting
_NAMED = 5  # places that are named; the others are counted


def count_missing(stack: Stack, limit_mm: float) -> list[int] | None:
    """(planes - 1,) how many planes are missing after each; None unless every gap is a whole number of the smallest."""
    return _count_missing(stack.offsets, limit_mm)


def _count_missing(offsets: Matrix, limit_mm: float) -> list[int] | None:
    """As `count_missing`. The smallest gap is refined over all, so that its rounding does not add up over a long one."""
    gaps = np.diff(offsets[:, 2])
    if len(gaps) < 2 or gaps.min() <= SAME_PLACE_MM:
        return None
    counts = np.rint(gaps / gaps.min())
    index = np.concatenate([[0], np.cumsum(counts)])
    off = [np.ptp(column - index * np.polyfit(index, column, 1)[0]) for column in offsets.T]
    return [int(n) - 1 for n in counts] if max(off) / 2 <= limit_mm and counts.max() > 1 else None


def find_irregularities(stack: Stack, planes: Sequence[Plane], names: Sequence[str], limit: float) -> list[Finding]:
    """Find what keeps planes off one grid.

    Args:
        stack: the grid that fits the planes best, and that the proof refused.
        planes: ascending along the normal, in the order of the stack's k.
        names: what a message calls each plane, in the same order.
        limit: of the proof, in mm.

    Returns:
        One defect, or two; none only where doubles apart the planes are regular.
    """
    doubled = [k for k, gap in enumerate(np.diff(stack.offsets[:, 2])) if gap <= SAME_PLACE_MM]
    doubles = [_duplicates(stack.offsets[:, 2], names, doubled)] if doubled else []
    if any(f.code is Code.SEVERAL_VOLUMES for f in doubles):
        return doubles
    alone = [k for k in range(len(planes)) if k - 1 not in doubled]
    offsets, names = stack.offsets[alone], [names[k] for k in alone]
    if (turned := _turned([planes[k] for k in alone], names, limit)) is not None:
        return [*doubles, turned]
    gaps = np.diff(offsets[:, 2])
    missing = _count_missing(offsets, limit)
    if missing is not None:
        return [*doubles, _missing(missing, gaps, names, stack, limit)]
    displaced = _displaced_and_missing(offsets, gaps, names, stack, limit)
    if displaced:
        return [*doubles, *displaced]
    if not doubled or (len(gaps) > 1 and np.ptp(gaps) > limit):
        return [*doubles, _uneven(gaps, offsets, names, stack, limit)]
    return doubles


def _displaced_and_missing(
    offsets: Matrix, gaps: Matrix, names: Sequence[str], stack: Stack, limit: float
) -> list[Finding]:
    """One displaced plane, and with it the planes that are missing; none where no step is likely to explain all others."""
    for counts in _likely_steps(gaps):
        displaced = _displaced(offsets, np.concatenate([[0], np.cumsum(counts)]), names, limit)
        if displaced is not None and counts.max() > 1:
            return [displaced, _missing([int(n) - 1 for n in counts], gaps, names, stack, limit)]
        if displaced is not None:
            return [displaced]
    return []


def _likely_steps(gaps: Matrix) -> list[NDArray[np.int64]]:
    """How many steps each gap may hold, as one displaced plane spoils the two next to it: one each, or multiples of the median."""
    counts = [np.ones(len(gaps), int)]
    if len(gaps) >= _FEWEST_FOR_LINE:
        in_medians = np.rint(gaps / np.median(gaps)).astype(int)
        if in_medians.min() > 0 and in_medians.max() > 1:
            counts.append(in_medians)
    return counts


def _duplicates(distances: Matrix, names: Sequence[str], doubled: list[int]) -> Finding:
    """Planes that lie where another does: whole volumes if every position is there equally often, else single doubles."""
    places = 1 + int((np.diff(distances) > SAME_PLACE_MM).sum())
    repeats = len(distances) / places
    first = doubled[0]
    if places > 1 and repeats == int(repeats) and len(doubled) == len(distances) - places:
        return Finding(
            Code.SEVERAL_VOLUMES,
            f"each of the {places} positions occurs {int(repeats)} times: these are {int(repeats)} volumes "
            "(time points, echoes or phases) in one series",
            "No attribute tells them apart (time, echo, b-value, image type, acquisition, Instance Number); separate them, "
            "or drop repeats with --on-duplicate.",
            where=tuple(names[first : first + 2]),
            **_numbers(repeats, 1, "volumes"),
        )
    return Finding(
        Code.DUPLICATE_POSITION,
        f"{len(doubled)} of {len(distances)} planes lie where another does; the first are {names[first]} and "
        f"{names[first + 1]}",
        "The same slice was exported twice, or two volumes share the series. Identical pixels are dropped with "
        "--on-duplicate drop.",
        where=tuple(n for k in doubled[:_NAMED] for n in names[k : k + 2]),
        **_numbers(len(doubled), 0, "planes"),
    )


def _missing(missing: list[int], gaps: Matrix, names: Sequence[str], stack: Stack, limit: float) -> Finding:
    """Where planes are missing, and how many. missing, gaps: (planes - 1,) after each plane; the gaps in mm."""
    holes = [k for k, n in enumerate(missing) if n]
    k = holes[0]
    total = sum(missing)
    step = float(gaps[k] / (missing[k] + 1))
    more = f", and at {len(holes) - 1} more places" if len(holes) > 1 else ""
    return Finding(
        Code.MISSING_PLANES,
        f"{total} plane{'s are' if total > 1 else ' is'} missing: between {names[k]} and {names[k + 1]} the step is "
        f"{gaps[k]:.4g} mm where {step:.4g} mm is the rule{more}",
        "Were they left behind in the export or copy? A mask exported without its empty planes: --on-gap fill puts "
        "empty ones there.",
        where=tuple(n for h in holes[:_NAMED] for n in names[h : h + 2]),
        **_numbers(stack.irregularity_mm, limit),
    )


def _displaced(offsets: Matrix, index: NDArray[np.int64], names: Sequence[str], limit: float) -> Finding | None:
    """One plane off where all others fit: fit the line without each in turn and see. index: (planes,) the k of each.

    It must stand out from the others, or a step that drifts would be taken for a displaced end.
    """
    if len(names) < _FEWEST_FOR_LINE:
        return None
    for k in range(len(names)):
        rest = np.arange(len(names)) != k
        line = np.polyfit(index[rest], offsets[rest], 1)
        away = offsets - (np.outer(index, line[0]) + line[1])
        off = np.linalg.norm(away, axis=1)
        if off[rest].max() <= limit < off[k] and off[k] > _STANDS_OUT * off[rest].max():
            return Finding(
                Code.DISPLACED_PLANE,
                f"{names[k]} (plane {k}) lies {off[k]:.3f} mm from where its neighbours put it: "
                f"{np.linalg.norm(away[k, :2]):.3f} mm in its plane, {abs(away[k, 2]):.3f} mm along the normal",
                "Its Image Position (Patient) (0020,0032) was probably changed or mistyped.",
                where=(names[k],),
                **_numbers(float(off[k]), limit),
            )
    return None


def _turned(planes: Sequence[Plane], names: Sequence[str], limit: float) -> Finding | None:
    """The plane whose cosines differ so much from the first one's that corners part by more than the limit."""
    base = planes[0]
    spread = [
        float(np.linalg.norm((p.corners() - p.position) - (base.corners() - base.position), axis=1).max())
        for p in planes
    ]
    k = int(np.argmax(spread))
    if spread[k] <= limit:
        return None
    return Finding(
        Code.MIXED_ORIENTATION,
        f"{names[k]} is turned against {names[0]}: their far corners part by {spread[k]:.3f} mm",
        "The planes are not parallel, so no single affine holds them. Was this a rotating or radial acquisition?",
        where=(names[0], names[k]),
        **_numbers(spread[k], limit),
    )


def _uneven(gaps: Matrix, offsets: Matrix, names: Sequence[str], stack: Stack, limit: float) -> Finding:
    """How the step changes: it drifts, it changes at one plane, or it does not and the planes wander within themselves."""
    change = np.abs(np.diff(gaps))
    low, high = float(gaps.min()), float(gaps.max())
    if len(gaps) >= _FEWEST_FOR_LINE and change.max() < (high - low) / 2:  # no single change makes up half of it
        return Finding(
            Code.DRIFT,
            f"the step drifts from {gaps[0]:.4g} mm to {gaps[-1]:.4g} mm over {len(gaps) + 1} planes; an even grid is "
            f"off by {stack.irregularity_mm:.3f} mm",
            "A table or stage that does not move evenly. --on-gap resample makes an even grid.",
            where=(names[0], names[-1]),
            **_numbers(stack.irregularity_mm, limit),
        )
    if high - low <= limit:
        return Finding(
            Code.OFF_GRID,
            f"the planes do not lie on one grid: the worst corner is off by {stack.irregularity_mm:.3f} mm",
            "Positions within the planes wander; Image Position (Patient) (0020,0032) is inconsistent.",
            where=(names[int(np.argmax(np.linalg.norm(_off_line(offsets), axis=1)))],),
            **_numbers(stack.irregularity_mm, limit),
        )
    k = int(np.argmax(change)) + 1
    return Finding(
        Code.UNEVEN_SPACING,
        f"the step changes from {gaps[k - 1]:.4g} mm to {gaps[k]:.4g} mm at {names[k]}; an even grid is off by "
        f"{stack.irregularity_mm:.3f} mm",
        "A scan with two slice increments, or planes that were left out. --on-gap resample makes an even grid, "
        "--on-gap nearest repeats the nearest plane.",
        where=tuple(names[k - 1 : k + 2]),
        **_numbers(stack.irregularity_mm, limit),
    )


def _off_line(offsets: Matrix) -> Matrix:
    """(planes, 3) how far each plane is from evenly stacked."""
    index = np.arange(len(offsets))
    slope, start = np.polyfit(index, offsets, 1)
    return np.asarray(offsets - np.outer(index, slope) - start)


def _numbers(measured: float, limit: float, unit: str = "mm") -> dict[str, Any]:
    """The fields that every finding of this module has."""
    return {"clause": _PLANE_CLAUSE, "measured": measured, "limit": limit, "unit": unit}
