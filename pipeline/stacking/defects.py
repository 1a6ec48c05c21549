"""Why planes do not make one grid, in words: which defect, between which files, how much.

Rules:
- The corner proof of `geometry.stack` says whether; this module only says which. It decides nothing.
- `after` names the defects of a stack that failed its proof, or leans; planes that cannot be stacked at all are those of
  `consistency`. Every finding carries the measured value and the limit.
- All lengths are along the normal unless said; names are those of the planes in the order given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, Finding, PipelineError, Severity
from ..core.limits import LEANS_DEGREES, SAME_PLACE_MM
from ..core.policy import Policy
from ..geometry.affine import Matrix, axis_codes
from ..geometry.grid import Grid, Plane
from ..geometry.stack import Stack

_PLANE_CLAUSE = "PS3.3 C.7.6.2.1.1"
_STANDS_OUT = 4.0  # how many times further than any other a displaced plane lies from the line through them


def after(stack: Stack, planes: Sequence[Plane], names: Sequence[str], policy: Policy) -> list[Finding]:
    """The defects of a stack, the decisive one first; empty when it is a regular grid.

    planes, names: in the order of the stack's k.
    """
    limit = policy.corner_limit(min(stack.grid.spacing[:2]))
    found = _defects(stack, planes, names, limit) if stack.irregularity_mm > limit else []
    if leans(stack) and not any(f.code in _NO_STACK for f in found):
        found.append(tilt(stack, policy))
    return found


def leans(stack: Stack) -> bool:
    """Whether planes are stacked off their normal, beyond what is kept as printed."""
    return stack.grid.shear_degrees > LEANS_DEGREES and len(stack.order) > 1


# A lean is not to be told of planes that make no stack.
_NO_STACK = {Code.DUPLICATE_POSITION, Code.SEVERAL_VOLUMES, Code.DISPLACED_PLANE, Code.OFF_GRID, Code.MIXED_ORIENTATION}


def missing_between(stack: Stack, limit_mm: float) -> list[int] | None:
    """(planes - 1,) how many planes are missing after each k, if every gap is a whole number of the smallest; or None."""
    return _whole_gaps(stack.offsets, limit_mm)


def _whole_gaps(offsets: Matrix, limit_mm: float) -> list[int] | None:
    """See `missing_between`. The smallest gap is refined over all, so that its rounding does not add up over a long one."""
    distances = offsets[:, 2]
    gaps = np.diff(distances)
    if len(gaps) < 2 or gaps.min() <= SAME_PLACE_MM:
        return None
    counts = np.rint(gaps / gaps.min())
    index = np.concatenate([[0], np.cumsum(counts)])
    off = [np.ptp(column - index * np.polyfit(index, column, 1)[0]) for column in offsets.T]
    return [int(n) - 1 for n in counts] if max(off) / 2 <= limit_mm and counts.max() > 1 else None


def _defects(stack: Stack, planes: Sequence[Plane], names: Sequence[str], limit: float) -> list[Finding]:
    """What keeps the planes off one grid: one defect, or those of a pair, the one that must be mended first in front."""
    distances = stack.offsets[:, 2]
    found: list[Finding] = []
    doubled = [k for k, gap in enumerate(np.diff(distances)) if gap <= SAME_PLACE_MM]
    if doubled:
        found.append(_duplicates(distances, names, doubled))
        if found[0].code is Code.SEVERAL_VOLUMES:
            return found
    alone = [k for k in range(len(planes)) if k - 1 not in doubled]
    offsets, names = stack.offsets[alone], [names[k] for k in alone]
    if (turned := _turned([planes[k] for k in alone], names, limit)) is not None:
        return [*found, turned]
    gaps = np.diff(offsets[:, 2])
    missing = _whole_gaps(offsets, limit)
    if missing is not None:
        return [*found, _missing(missing, gaps, names, stack, limit)]
    for counts in _likely_steps(gaps):
        displaced = _displaced(offsets, np.concatenate([[0], np.cumsum(counts)]), names, limit)
        if displaced is not None:
            found.append(displaced)
            if counts.max() > 1:
                found.append(_missing([int(n) - 1 for n in counts], gaps, names, stack, limit))
            return found
    if not doubled or (len(gaps) > 1 and np.ptp(gaps) > limit):
        found.append(_uneven(gaps, offsets, names, stack, limit))
    return found


def _likely_steps(gaps: Matrix) -> list[NDArray[np.int64]]:
    """How many steps each gap may hold, where one displaced plane spoils the two beside it: one, or so many of the median."""
    counts = [np.ones(len(gaps), int)]
    if len(gaps) > 3:
        in_medians = np.rint(gaps / np.median(gaps)).astype(int)
        if in_medians.min() > 0 and in_medians.max() > 1:
            counts.append(in_medians)
    return counts


def _duplicates(distances: Matrix, names: Sequence[str], doubled: list[int]) -> Finding:
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
            clause=_PLANE_CLAUSE,
            where=tuple(names[first : first + 2]),
            measured=repeats,
            limit=1,
            unit="volumes",
        )
    return Finding(
        Code.DUPLICATE_POSITION,
        f"{len(doubled)} of {len(distances)} planes lie where another does; the first are {names[first]} and "
        f"{names[first + 1]}",
        "The same slice was exported twice, or two volumes share the series. Identical pixels are dropped with "
        "--on-duplicate drop.",
        clause=_PLANE_CLAUSE,
        where=tuple(n for k in doubled[:5] for n in names[k : k + 2]),
        measured=len(doubled),
        limit=0,
        unit="planes",
    )


def _missing(missing: list[int], gaps: Matrix, names: Sequence[str], stack: Stack, limit: float) -> Finding:
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
        clause=_PLANE_CLAUSE,
        where=tuple(n for h in holes[:5] for n in names[h : h + 2]),
        measured=stack.irregularity_mm,
        limit=limit,
        unit="mm",
    )


def _displaced(offsets: Matrix, index: NDArray[np.int64], names: Sequence[str], limit: float) -> Finding | None:
    """One plane off where all others fit: fit the line without each in turn and see. index: (planes,) the k of each.

    It must stand out from the others, or a step that drifts would be taken for a displaced end.
    """
    if len(names) < 4:
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
                clause=_PLANE_CLAUSE,
                where=(names[k],),
                measured=float(off[k]),
                limit=limit,
                unit="mm",
            )
    return None


def _turned(planes: Sequence[Plane], names: Sequence[str], limit: float) -> Finding | None:
    """Cosines that differ so much between planes that corners part by more than the limit."""
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
        clause=_PLANE_CLAUSE,
        where=(names[0], names[k]),
        measured=spread[k],
        limit=limit,
        unit="mm",
    )


def _uneven(gaps: Matrix, offsets: Matrix, names: Sequence[str], stack: Stack, limit: float) -> Finding:
    change = np.abs(np.diff(gaps))
    low, high = float(gaps.min()), float(gaps.max())
    details = {
        "clause": _PLANE_CLAUSE,
        "measured": stack.irregularity_mm,
        "limit": limit,
        "unit": "mm",
    }
    if len(gaps) > 3 and change.max() < (high - low) / 2:
        return Finding(
            Code.DRIFT,
            f"the step drifts from {gaps[0]:.4g} mm to {gaps[-1]:.4g} mm over {len(gaps) + 1} planes; an even grid is "
            f"off by {stack.irregularity_mm:.3f} mm",
            "A table or stage that does not move evenly. --on-gap resample makes an even grid.",
            where=(names[0], names[-1]),
            **details,  # type: ignore[arg-type]
        )
    if high - low <= limit:
        return Finding(
            Code.OFF_GRID,
            f"the planes do not lie on one grid: the worst corner is off by {stack.irregularity_mm:.3f} mm",
            "Positions within the planes wander; Image Position (Patient) (0020,0032) is inconsistent.",
            where=(names[int(np.argmax(np.linalg.norm(_off_line(offsets), axis=1)))],),
            **details,  # type: ignore[arg-type]
        )
    k = int(np.argmax(change)) + 1
    return Finding(
        Code.UNEVEN_SPACING,
        f"the step changes from {gaps[k - 1]:.4g} mm to {gaps[k]:.4g} mm at {names[k]}; an even grid is off by "
        f"{stack.irregularity_mm:.3f} mm",
        "A scan with two slice increments, or planes that were left out. --on-gap resample makes an even grid, "
        "--on-gap nearest repeats the nearest plane.",
        where=tuple(names[k - 1 : k + 2]),
        **details,  # type: ignore[arg-type]
    )


def _off_line(offsets: Matrix) -> Matrix:
    """(planes, 3) how far each plane is from evenly stacked."""
    index = np.arange(len(offsets))
    slope, start = np.polyfit(index, offsets, 1)
    return np.asarray(offsets - np.outer(index, slope) - start)


def tilt(stack: Stack, policy: Policy) -> Finding:
    """The gantry tilt of a stack that leans: how much, and about which axis of the patient."""
    return _tilt(stack.grid, stack.lean, float(stack.offsets[-1, 2]), policy)


def tilt_of_grid(grid: Grid, policy: Policy) -> Finding | None:
    """The same of a grid that came without its planes; None where it does not lean."""
    if grid.shape[2] < 2 or grid.shear_degrees <= LEANS_DEGREES:
        return None
    axes = grid.lps[:3, :2] / np.linalg.norm(grid.lps[:3, :2], axis=0)
    step = float(np.cross(axes[:, 0], axes[:, 1]) @ grid.lps[:3, 2])
    return _tilt(grid, axes.T @ grid.lps[:3, 2] / step, step * (grid.shape[2] - 1), policy)


def keep_tilt(tilted: Finding, policy: Policy, what: str) -> Finding:
    """What is said of a tilt that stays in the affine of a mask. what: "frames of a segmentation", for the refusal.

    Raises GANTRY_TILT unless the policy is to keep it: such a mask is not resampled without the images it lies on.
    """
    if policy.on_tilt == "shear":
        said = f"{tilted.message}; the affine is sheared, with sform code 1 and qform code 0"
        return replace(tilted, code=Code.SHEAR_KEPT, message=said, severity=Severity.WARNING, hint="")
    hint = "--on-tilt shear keeps every voxel in place in a sheared affine, which some tools refuse"
    if policy.on_tilt == "resample":
        hint += f"; {what} are not resampled by themselves: --source gives the grid of the images"
    raise PipelineError(replace(tilted, hint=f"{hint}."))


def _tilt(grid: Grid, lean: Matrix, height: float, policy: Policy) -> Finding:
    """lean: (2,) mm along i and j for every mm along the normal. height: of the last plane above the first, mm."""
    limit = policy.corner_limit(min(grid.spacing[:2]))
    degrees = grid.shear_degrees
    along = "rows" if abs(lean[1]) > abs(lean[0]) else "columns"
    axis = grid.lps[:3, :3] / np.linalg.norm(grid.lps[:3, :3], axis=0)
    letters = axis_codes(np.vstack([np.column_stack([axis * [[-1], [-1], [1]], np.zeros(3)]), [0, 0, 0, 1]]))
    about = {"L": "left-right", "R": "left-right", "A": "front-back", "P": "front-back"}.get(
        letters[0] if along == "rows" else letters[1], "head-foot"
    )
    return Finding(
        Code.GANTRY_TILT,
        f"the planes are stacked {degrees:.2f}° off their normal, about the {about} axis (gantry tilt): straightening "
        f"would move the last plane by {float(np.hypot(*lean)) * height:.2f} mm",
        "--on-tilt shear keeps every voxel in place in a sheared affine, which some tools refuse; --on-tilt resample "
        "makes an upright grid.",
        clause=_PLANE_CLAUSE,
        measured=float(np.hypot(*lean)) * height / 2,
        limit=limit,
        unit="mm",
    )


def notes(stack: Stack, planes: Sequence[Plane], policy: Policy) -> list[Finding]:
    """What a good stack is still to be told about: rounding that was mended, jitter within the limit."""
    limit = policy.corner_limit(min(stack.grid.spacing))
    found = []
    if stack.straightened_mm > 1e-3:
        found.append(
            Finding(
                Code.COSINES_ORTHONORMALISED,
                f"the axes were off a right-angled frame by rounding; making them so moved a corner by {stack.straightened_mm:.4f} mm",
                "Readers built on ITK refuse axes that are not at right angles.",
                Severity.INFO,
                clause=_PLANE_CLAUSE,
                measured=stack.straightened_mm,
                limit=limit,
                unit="mm",
            )
        )
    if stack.irregularity_mm > 1e-2:
        found.append(
            Finding(
                Code.POSITION_JITTER,
                f"planes lie up to {stack.irregularity_mm:.4f} mm from an even grid",
                "Within the limit: some scanners print positions this coarsely.",
                Severity.INFO,
                clause=_PLANE_CLAUSE,
                measured=stack.irregularity_mm,
                limit=limit,
                unit="mm",
            )
        )
    return found
