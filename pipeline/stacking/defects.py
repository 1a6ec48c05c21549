"""Name the defect that keeps planes off one grid: which it is, between which files, and how much.

Rules:
- The corner proof of `geometry.stack` decides whether there is a defect; this module only finds out which.
- `find_defects` is for a stack that failed its proof, or leans; planes that cannot be stacked at all are refused by
  `consistency`. Every finding carries the measured value and the limit.
- Lengths are along the normal where nothing else is said. Names are those of the planes, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity
from ..core.limits import LEANS_DEGREES
from ..core.policy import Policy
from ..geometry.affine import Matrix, axis_codes, axis_lengths
from ..geometry.grid import Grid, Plane
from ..geometry.stack import Stack
from .irregular_positions import find_irregularities

SHEARED = "the affine is sheared, with sform code 1 and qform code 0"
_PLANE_CLAUSE = "PS3.3 C.7.6.2.1.1"
_STRAIGHTENED_MM = 1e-3  # less is what printed cosines leave in every file, and not worth a note
_JITTER_MM = 1e-2  # less is what printed positions leave in every file, and not worth a note
# Planes that make no stack have no lean either.
_NO_STACK = {Code.DUPLICATE_POSITION, Code.SEVERAL_VOLUMES, Code.DISPLACED_PLANE, Code.OFF_GRID, Code.MIXED_ORIENTATION}


def find_defects(stack: Stack, planes: Sequence[Plane], names: Sequence[str], policy: Policy) -> list[Finding]:
    """Find the defects of a stack.

    Args:
        stack: the grid that fits the planes best.
        planes: ascending along the normal, in the order of the stack's k.
        names: what a message calls each plane, in the same order.
        policy: the limit of the proof.

    Returns:
        The defects, the decisive one first; none where the planes are a regular grid.
    """
    limit = policy.corner_limit(min(stack.grid.spacing[:2]))
    found = find_irregularities(stack, planes, names, limit) if stack.irregularity_mm > limit else []
    if leans(stack) and not any(f.code in _NO_STACK for f in found):
        return [*found, tilt(stack, policy, names)]
    return found


def leans(stack: Stack) -> bool:
    """Whether planes are stacked off their normal, beyond what is kept as printed."""
    return stack.grid.shear_degrees > LEANS_DEGREES and len(stack.order) > 1


def tilt(stack: Stack, policy: Policy, names: Sequence[str] = ()) -> Finding:
    """Describe the gantry tilt of a stack that leans: how much, and about which axis of the patient.

    Args:
        stack: planes that lean.
        policy: the limit that a straight stack would keep.
        names: of the planes ascending along the normal, so that the first and the last can be named.

    Returns:
        GANTRY_TILT.
    """
    where = (names[0], names[-1]) if names else ()
    return _describe_tilt(stack.grid, stack.lean, float(stack.offsets[-1, 2]), policy, where)


def tilt_of_grid(grid: Grid, policy: Policy) -> Finding | None:
    """Describe the tilt of a grid that came without its planes; None where it does not lean."""
    if grid.shape[2] < 2 or grid.shear_degrees <= LEANS_DEGREES:
        return None
    axes = grid.lps[:3, :2] / np.linalg.norm(grid.lps[:3, :2], axis=0)
    step = float(np.cross(axes[:, 0], axes[:, 1]) @ grid.lps[:3, 2])
    return _describe_tilt(grid, axes.T @ grid.lps[:3, 2] / step, step * (grid.shape[2] - 1), policy)


def keep_tilt(tilted: Finding, policy: Policy, what: str) -> Finding:
    """Keep a tilt in the affine of a mask, which is not resampled without the images it lies on.

    Args:
        tilted: the tilt, GANTRY_TILT.
        policy: on_tilt chooses.
        what: leans, for the refusal: "frames of a segmentation".

    Returns:
        SHEAR_KEPT, a warning.

    Raises:
        PipelineError: GANTRY_TILT unless the policy is to keep it.
    """
    if policy.on_tilt == "shear":
        return warn_of_repair(tilted, Code.SHEAR_KEPT, SHEARED)
    hint = "--on-tilt shear keeps every voxel in place in a sheared affine, which some tools refuse"
    if policy.on_tilt == "resample":
        hint += f"; {what} are not resampled by themselves: --source gives the grid of the images"
    raise PipelineError(replace(tilted, hint=f"{hint}."))


def warn_of_repair(defect: Finding, code: Code, done: str) -> Finding:
    """Warn of a defect that was mended or kept, instead of refusing it.

    Args:
        defect: as it would have been refused.
        code: of the warning.
        done: what was done about it, as a sentence without its capital and full stop.

    Returns:
        The defect's own message and numbers, with what was done.
    """
    return replace(defect, code=code, severity=Severity.WARNING, message=f"{defect.message}; {done}", hint="")


def _describe_tilt(grid: Grid, lean: Matrix, height: float, policy: Policy, where: tuple[str, ...] = ()) -> Finding:
    """lean: (2,) mm along i and j for every mm along the normal. height: of the last plane above the first, mm."""
    limit = policy.corner_limit(min(grid.spacing[:2]))
    degrees = grid.shear_degrees
    along = "rows" if abs(lean[1]) > abs(lean[0]) else "columns"
    axis = grid.lps[:3, :3] / axis_lengths(grid.lps)
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
        where=where or ("plane k = 0", f"plane k = {grid.shape[2] - 1}"),
        measured=float(np.hypot(*lean)) * height / 2,
        limit=limit,
        unit="mm",
    )


def note_small_errors(stack: Stack, policy: Policy) -> list[Finding]:
    """Note what is within the limit and still worth knowing: rounding that was mended, and jitter of positions."""
    limit = policy.corner_limit(min(stack.grid.spacing))
    found = []
    if stack.straightened_mm > _STRAIGHTENED_MM:
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
    if stack.irregularity_mm > _JITTER_MM:
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
