"""Say what the frames of a SEG leave open of the step between their planes, where no source gives the grid.

Rules:
- Positions decide. What a tag says against them, or adds to them, is a warning; planes seen to be empty are a note.
"""

from __future__ import annotations

from typing import NamedTuple

from ...core.findings import Code, Finding, Severity
from ...geometry.placement import SpannedGrid

SOURCE_HINT = (
    "Give the source series the segmentation was made on: its grid says where the planes are, "
    "and empty ones are added there."
)
# Frames that lie further apart than this many times their thickness may have planes missing between them: half-way from
# planes that touch (1) to one that is missing (2).
_MOST_APART = 1.5
# The step of a single plane that has neither Spacing Between Slices nor Slice Thickness. It is said with the result.
ASSUMED_STEP_MM = 1.0


class FrameStep(NamedTuple):
    """What the frames and their header say of the step between planes. tag, thickness: mm, None where not given."""

    name: str
    spanned: SpannedGrid
    tag: float | None
    thickness: float | None
    limit_mm: float


def warn_of_step(step: FrameStep) -> Finding | None:
    """Warn of a step between planes that the frames alone do not settle, or that the header contradicts."""
    step_mm, tag, thickness = step.spanned.step_mm, step.tag, step.thickness
    if step.spanned.stack.grid.shape[2] == 1:
        return _assumed_thickness(step)
    if tag and abs(step_mm - tag) > step.limit_mm:
        return Finding(
            Code.TAG_CONTRADICTS,
            f"{step.name}: Spacing Between Slices says {tag:.6g} mm, the frames lie on steps of {step_mm:.6g} mm",
            "The positions decide. " + SOURCE_HINT,
            Severity.WARNING,
            where=(step.name,),
            measured=abs(step_mm - tag),
            limit=step.limit_mm,
            unit="mm",
        )
    if not tag and thickness and step_mm > thickness * _MOST_APART:
        return Finding(
            Code.TAG_CONTRADICTS,
            f"{step.name}: frames lie {step_mm:.6g} mm apart but are {thickness:.6g} mm thick; planes may be missing",
            SOURCE_HINT,
            Severity.WARNING,
            where=(step.name,),
            measured=step_mm,
            limit=thickness * _MOST_APART,
            unit="mm",
        )
    return None


def _assumed_thickness(step: FrameStep) -> Finding:
    source = (
        "Spacing Between Slices"
        if step.tag
        else "Slice Thickness"
        if step.thickness
        else f"nothing: {ASSUMED_STEP_MM:g} mm is assumed"
    )
    return Finding(
        Code.ASSUMED_THICKNESS,
        f"{step.name} has frames at one position only; its thickness {step.spanned.step_mm:.6g} mm comes from {source}",
        "Give the source series to place the plane among its own.",
        Severity.WARNING,
        where=(step.name,),
    )


def empty_planes(step: FrameStep) -> Finding | None:
    """Report planes of the grid that have no frame: a warning where only a tag says that there are any."""
    found = step.spanned
    if not found.added:
        return None
    seen = "" if found.step_is_seen else "; no two frames are that near, Spacing Between Slices says it"
    return Finding(
        Code.EMPTY_PLANES_ADDED,
        f"{step.name}: {found.added} of {found.stack.grid.shape[2]} planes have no frame and are empty "
        f"(step {found.step_mm:.6g} mm{seen})",
        "Usual for segmentations, which leave empty planes out.",
        Severity.INFO if found.step_is_seen else Severity.WARNING,
        where=(step.name,),
        clause="PS3.3 C.8.20.2",
    )
