"""Lay the frames of one volume on one grid (Proof 1), and mend irregular ones where the user chose how.

Rules:
- Irregular planes are refused, by the name of their defect, unless the policy says what to do with just that defect.
- Dropping, filling and resampling are findings of the result, never silent. Nothing is invented for a plane without a
  place; with a source series its planes may be paired, and then the result is assumed, never verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..dicom.frame import Frame, describe_spacing
from ..dicom.frame_places import advise, note_places
from ..dicom.mosaic import is_mosaic, sheet_name
from ..dicom.split_volumes import owners_of
from ..geometry.grid import Grid
from ..geometry.stack import Stack
from . import assumed_geometry, consistency, defects
from .duplicates import drop_duplicates
from .fit_frames import fit_frames, planes_of
from .laid_frames import LaidFrames
from .repairs import Repair, mend

_CLAUSE = "PS3.3 C.7.6.2.1.1"
_DEFAULT_STEP_MM = (
    1.0  # of a single plane without a thickness: voxels must have some size, and a finding says which was assumed
)
_TAG_CONTRADICTS = 0.01  # of the step: a tag is printed with fewer decimals than positions, and is not off by more
_NAMED = 5  # files without a place that are named; the others are counted


def lay_frames(
    frames: Sequence[Frame], policy: Policy, title: str = "this series", source: LaidFrames | None = None
) -> LaidFrames:
    """Lay frames on one grid, or refuse them by the name of what is wrong.

    Args:
        frames: of one volume, in any order.
        policy: the limits of the proof, and what to do about gaps, tilt, doubles and frames without a place.
        title: what the series is called in messages.
        source: what the frames were drawn on; where they have no place, theirs are taken from it (see
            `assumed_geometry.pair_with_source`).

    Returns:
        The frames ascending along the normal, their grid, and what is to be known of them.

    Raises:
        PipelineError: MOSAIC, MISSING_PLANE_ATTRIBUTES, BAD_COSINES, MIXED_ORIENTATION, MIXED_SIZE, MIXED_SPACING,
            DUPLICATE_POSITION, SEVERAL_VOLUMES, MISSING_PLANES, UNEVEN_SPACING, DRIFT, DISPLACED_PLANE, OFF_GRID,
            GANTRY_TILT.
    """
    frames, assumed = _with_places(frames, policy, title, source)
    refusal = consistency.find_difference(planes_of(frames), [f.name for f in frames], policy)
    if refusal is not None:
        raise PipelineError(refusal)
    frames, dropped = drop_duplicates(frames, policy)
    step, thickness = _step_of_single(frames)
    stack = fit_frames(frames, policy, assumed_step_mm=step)
    ordered = [frames[n] for n in stack.order]
    planes = planes_of(ordered)
    faults = defects.find_defects(stack, planes, [f.name for f in ordered], policy)
    repair = mend(ordered, stack, faults, policy) if faults else Repair(stack)
    repair = _in_frame_of_reference(repair, str(frames[0].get("FrameOfReferenceUID", "")))
    notes = defects.note_small_errors(repair.stack, policy) if repair.plan is None else []
    contradictions = [*_contradictions(repair.stack, ordered), *_several_owners(ordered)]
    contradictions += [*_several_references(ordered), *_other_spacing(ordered)]
    elsewhere = note_places(list(dict.fromkeys(f.header for f in ordered)))
    findings = (*assumed, *dropped, *thickness, *elsewhere, *repair.findings, *notes, *contradictions)
    return LaidFrames(tuple(ordered), repair.stack, findings, repair.plan, assumed[0].message if assumed else "")


def _with_places(
    frames: Sequence[Frame], policy: Policy, title: str, source: LaidFrames | None
) -> tuple[Sequence[Frame], list[Finding]]:
    """Frames that all have a plane, and what was assumed for it. Raises MOSAIC, MISSING_PLANE_ATTRIBUTES."""
    if policy.as_ == "mask" and any(f.tile for f in frames):
        raise _mosaic(
            frames, title, "its tiles are image slices, and no mask comes as a mosaic", "For the image use --as image."
        )
    if all(f.plane is not None for f in frames):
        return frames, []
    if policy.assume_spacing and (spaced := assumed_geometry.space_evenly(frames)) is not None:
        return spaced[0], [spaced[1]]
    if source is not None and source.plan is None and None not in source.slots:
        paired, finding = assumed_geometry.pair_with_source(frames, source.frames, source.grid.spacing[2])
        return paired, [finding]
    raise _without_place(frames, title)


def _without_place(frames: Sequence[Frame], title: str) -> PipelineError:
    """The refusal of frames without a place, which names the options that could give them one."""
    if any(is_mosaic(f.header) for f in frames):
        reason = next(f.why_no_plane for f in frames if f.plane is None)
        return _mosaic(frames, title, reason, "Export it from the scanner as single slices or as enhanced multi-frame.")
    without = [f for f in frames if f.plane is None]
    spaced = "--assume-spacing lays its frames evenly from the first" if assumed_geometry.space_evenly(frames) else ""
    advice = (
        advise(without[0].header)
        or "Nothing is invented here. Export the series with its geometry, not as plain Secondary Capture; or give the "
        "images it was drawn on with --source, and their planes are taken where they pair beyond doubt."
    )
    return refuse(
        Code.MISSING_PLANE_ATTRIBUTES,
        f"{len(without)} of {len(frames)} planes have no place in the patient: in {without[0].name}, {without[0].why_no_plane}",
        f"{advice} Or: {spaced}." if spaced else advice,
        where=tuple(f.name for f in without[:_NAMED]),
        clause="PS3.3 C.7.6.2",
    )


def _mosaic(frames: Sequence[Frame], title: str, reason: str, hint: str) -> PipelineError:
    return refuse(
        Code.MOSAIC,
        f"{title} is {sheet_name(frames[0].header) or 'a mosaic'}, a sheet of slices: {reason}",
        hint,
        where=(frames[0].name,),
        clause="PS3.3 C.7.6.2: one position a frame",
    )


def _step_of_single(frames: Sequence[Frame]) -> tuple[float, list[Finding]]:
    """The step in mm that a single plane is given, its thickness if possible; assumed either way, which a finding says."""
    if len(frames) > 1:
        return _DEFAULT_STEP_MM, []
    thickness = frames[0].real("SliceThickness", 0.0)
    is_usable = thickness > 0
    step = thickness if is_usable else _DEFAULT_STEP_MM
    origin = "its Slice Thickness (0018,0050)" if is_usable else "nothing at all: no Slice Thickness is given"
    assumed = Finding(
        Code.ASSUMED_THICKNESS,
        f"one plane has no step; {step:g} mm is assumed from {origin}",
        "The plane lies right; how far its voxels reach beyond it is not known.",
        Severity.WARNING,
        clause=_CLAUSE,
    )
    return step, [assumed]


def _in_frame_of_reference(repair: Repair, uid: str) -> Repair:
    """The same planes, with the Frame of Reference UID on every grid."""

    def named(grid: Grid) -> Grid:
        return replace(grid, frame_of_reference_uid=uid)

    plan = None if repair.plan is None else replace(repair.plan, grid=named(repair.plan.grid))
    return replace(repair, stack=replace(repair.stack, grid=named(repair.stack.grid)), plan=plan)


def _several_owners(frames: Sequence[Frame]) -> list[Finding]:
    """Warn where every file names its own study or patient, which most likely an anonymiser did."""
    word, count = owners_of(frames)
    if count == 1:
        return []
    return [
        Finding(
            Code.MIXED_STUDY,
            f"the {len(frames)} planes come from {count} {'studies' if word == 'study' else 'patients'}, one each; that they "
            "are one series was taken from the rest of their headers and their positions",
            "If this was not done by anonymising them, they are several series.",
            Severity.WARNING,
            clause="PS3.3 A.1.2",
        )
    ]


def _other_spacing(frames: Sequence[Frame]) -> list[Finding]:
    """Warn where the distance between pixels is not from two values of Pixel Spacing."""
    found = {} if frames[0].pairing else {describe_spacing(f): f.name for f in reversed(frames)}
    return [
        Finding(
            Code.OTHER_SPACING,
            f"{words} (first in {name})",
            "Measure something of known size in the result before relying on it.",
            Severity.WARNING,
            "PS3.3 10.7.1.3",
            (name,),
        )
        for words, name in found.items()
        if words
    ]


def _several_references(frames: Sequence[Frame]) -> list[Finding]:
    """Warn where the places of one row name a Frame of Reference each."""
    count = len({f.get("FrameOfReferenceUID") for f in frames})
    if count == 1:
        return []
    return [
        Finding(
            Code.MIXED_FRAME_OF_REFERENCE,
            f"the {len(frames)} planes have {count} Frame of Reference UIDs (0020,0052); that they are in one "
            "coordinate system was taken from the rest of their headers and their positions, which are one row",
            "Some scanners and anonymisers write a new UID into every file. If yours did not, they are several series.",
            Severity.WARNING,
            clause="PS3.3 C.7.4.1",
        )
    ]


def _contradictions(stack: Stack, frames: Sequence[Frame]) -> list[Finding]:
    """Note tags that decide nothing here and give another step than the positions do."""
    step = stack.grid.spacing[2]
    tag = frames[0].get("SpacingBetweenSlices")
    limit = _TAG_CONTRADICTS * step
    if len(frames) < 2 or not isinstance(tag, float) or abs(abs(tag) - step) <= limit:
        return []
    return [
        Finding(
            Code.TAG_CONTRADICTS,
            f"Spacing Between Slices (0018,0088) says {tag:g} mm, the positions say {step:.4g} mm; the positions count",
            severity=Severity.INFO,
            clause=_CLAUSE,
            measured=abs(abs(tag) - step),
            limit=limit,
            unit="mm",
        )
    ]
