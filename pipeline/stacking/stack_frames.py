"""Frames of one volume laid on one grid: Proof 1, and what a user may choose where they are not regular.

Rules:
- Irregular planes are refused, by the name of their defect, unless the policy says what to do with just that defect.
- Dropping, filling and resampling are findings of the result, never silent. Nothing is invented for a plane without a
  place; with a source series its planes may be paired, and then the result is assumed, never verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.limits import SAME_PLACE_MM
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..dicom.pixels import read_plane
from ..dicom.split_volumes import owners_of
from ..geometry.grid import GeometryError, Grid, Plane
from ..geometry.stack import Stack, stack
from ..volume.mask import Array, Voxels
from . import assumed_geometry, consistency, defects, resample
from .resample import Plan

_CLAUSE = "PS3.3 C.7.6.2.1.1"


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """The acquired frames of one volume, ascending along the normal, and the grid of the file.

    stack: the acquired planes on their own grid. plan: how they become the file's grid where that is another one.
    assumed: why the places are assumed and not given, "" where they are given.
    """

    frames: tuple[Frame, ...]
    stack: Stack
    findings: tuple[Finding, ...]
    plan: Plan | None = None
    assumed: str = ""

    @property
    def grid(self) -> Grid:
        return self.stack.grid if self.plan is None else self.plan.grid

    @property
    def slots(self) -> list[int | None]:
        """For each k of an unresampled grid, the acquired frame that lies there, or None where none does."""
        found: list[int | None] = [None] * self.stack.grid.shape[2]
        for n, k in enumerate(self.stack.index):
            found[int(k)] = n
        return found

    @property
    def whole(self) -> bool:
        """Whether the file's grid is the acquired planes and nothing else."""
        return self.plan is None and None not in self.slots

    @property
    def at_k(self) -> tuple[Frame | None, ...]:
        """For each k of the file's grid, the frame whose plane lies there; all None once resampled along the normal."""
        if self.plan is None:
            return tuple(None if n is None else self.frames[n] for n in self.slots)
        return (None,) * self.grid.shape[2]

    def place(self, acquired: Voxels, padding: float) -> Voxels:
        """Voxels of the acquired frames, in their order, on the file's grid."""
        if self.plan is not None:
            return self.plan.apply(acquired, padding)
        slots = self.slots
        columns, rows, _ = self.grid.shape

        def plane(k: int) -> Array:
            n = slots[k]
            return np.full((rows, columns), padding, acquired.dtype) if n is None else acquired.plane(n)

        return Voxels(self.grid.shape, acquired.dtype, plane)


def lay(frames: Sequence[Frame], policy: Policy, title: str = "this series", source: Laid | None = None) -> Laid:
    """Frames on one grid, or the refusal that names what is wrong with them.

    source: what the frames were drawn on; where they have no place, theirs are taken from it (see `assumed_geometry.paired`).
    """
    frames, told = _placed(frames, policy, title, source)
    refusal = consistency.unlike(_planes(frames), [f.name for f in frames], policy)
    if refusal is not None:
        raise PipelineError(refusal)
    frames, dropped = _without_duplicates(frames, policy)
    thickness = _assumed_thickness(frames[0]) if len(frames) == 1 else None
    laid = _stacked(frames, policy, thickness[0] if thickness else 1.0)
    ordered = [frames[n] for n in laid.order]
    findings = [*told, *dropped, *([thickness[1]] if thickness else [])]
    faults = defects.after(laid, _planes(ordered), [f.name for f in ordered], policy)
    plan = None
    if faults:
        laid, plan, mended = _mended(ordered, laid, faults, policy)
        findings += mended
    reference = str(frames[0].get("FrameOfReferenceUID", ""))
    laid = replace(laid, grid=replace(laid.grid, frame_of_reference_uid=reference))
    if plan is not None:
        plan = replace(plan, grid=replace(plan.grid, frame_of_reference_uid=reference))
    findings += defects.notes(laid, _planes(ordered), policy) if plan is None else []
    findings += [*_contradictions(laid, ordered), *_several_owners(ordered)]
    return Laid(tuple(ordered), laid, tuple(findings), plan, told[0].message if told else "")


def _placed(
    frames: Sequence[Frame], policy: Policy, title: str, source: Laid | None
) -> tuple[Sequence[Frame], list[Finding]]:
    """Frames that all have a plane, and what was assumed for it. Raises MOSAIC, MISSING_PLANE_ATTRIBUTES."""
    if policy.as_ == "mask" and any(f.tile for f in frames):
        raise _mosaic(
            frames, title, "its tiles are image slices, and no mask comes as a mosaic", "For the image use --as image."
        )
    if all(f.plane is not None for f in frames):
        return frames, []
    if policy.assume_spacing and (spaced := assumed_geometry.by_spacing(frames)) is not None:
        return spaced[0], [spaced[1]]
    if source is not None and source.plan is None and None not in source.slots:
        placed, finding = assumed_geometry.paired(frames, source.frames, source.grid.spacing[2])
        return placed, [finding]
    raise _unplaced(frames, title)


def _mended(
    ordered: Sequence[Frame], laid: Stack, faults: list[Finding], policy: Policy
) -> tuple[Stack, Plan | None, list[Finding]]:
    """What the policy does about gaps and tilt; every other defect, and an unmended one, is raised."""
    gap = next((d for d in faults if d.code in _GAPS), None)
    tilt = next((d for d in faults if d.code is Code.GANTRY_TILT), None)
    if faults[0] not in (gap, tilt):
        raise PipelineError(faults[0], tuple(faults[1:]))
    linear = policy.as_ == "image"
    along: resample.Along = "exact"
    findings: list[Finding] = []
    if gap is not None:
        missing = defects.missing_between(laid, _limit(_planes(ordered), policy))
        if policy.on_gap == "refuse" or (policy.on_gap == "fill" and missing is None):
            raise PipelineError(gap, tuple(d for d in faults if d is not gap))
        if missing is not None:
            laid = _stacked(ordered, policy, 1.0, missing)
            tilt = defects.tilt(laid, policy) if tilt is not None else None
        if policy.on_gap == "fill":
            findings.append(
                _told(Code.PLANES_FILLED, gap, f"{sum(missing or [])} empty planes stand in for the missing ones")
            )
        else:
            along = "linear" if policy.on_gap == "resample" and linear else "nearest"
            findings.append(_told(Code.RESAMPLED, gap, f"planes were laid on an even grid ({along} along the normal)"))
    if tilt is not None and policy.on_tilt == "refuse":
        raise PipelineError(tilt)
    positions = np.array([p.position for p in _planes(ordered)])
    plan = None
    if tilt is not None and policy.on_tilt == "resample":
        if gap is not None and defects.missing_between(laid, _limit(_planes(ordered), policy)) is None:
            raise PipelineError(gap, (tilt,))
        plan = resample.upright(laid, linear=linear, along=along)
        findings.append(_told(Code.RESAMPLED, tilt, "planes were shifted onto an upright grid"))
    elif along != "exact":
        plan = resample.even(laid, positions, linear=linear, along=along)
    elif tilt is not None:
        findings.append(_told(Code.SHEAR_KEPT, tilt, "the affine is sheared, with sform code 1 and qform code 0"))
    if plan is not None and not linear:
        findings.append(
            Finding(
                Code.RESAMPLED,
                f"labels were taken from at most {plan.travel_mm():.3f} mm away",
                severity=Severity.WARNING,
            )
        )
    return laid, plan, findings


_GAPS = {Code.MISSING_PLANES, Code.UNEVEN_SPACING, Code.DRIFT}


def _told(code: Code, defect: Finding, done: str) -> Finding:
    return replace(defect, code=code, severity=Severity.WARNING, message=f"{defect.message}; {done}", hint="")


def _planes(frames: Sequence[Frame]) -> list[Plane]:
    return [f.plane for f in frames if f.plane is not None]


def _limit(planes: Sequence[Plane], policy: Policy) -> float:
    return policy.corner_limit(min(planes[0].row_spacing, planes[0].column_spacing))


def _stacked(frames: Sequence[Frame], policy: Policy, assumed_step_mm: float, missing: Sequence[int] = ()) -> Stack:
    planes = _planes(frames)
    try:
        return stack(
            planes,
            limit_mm=_limit(planes, policy),
            keep_skew=policy.skew_limit,
            keep_mm=policy.qform_limit_mm,
            assumed_step_mm=assumed_step_mm,
            missing=missing,
        )
    except GeometryError as error:
        raise refuse(
            Code.DUPLICATE_POSITION,
            f"all {len(planes)} planes lie at one position",
            "This is a series over time, or slices without positions of their own; it is no volume.",
            where=tuple(f.name for f in frames[:2]),
            clause=_CLAUSE,
        ) from error


def _unplaced(frames: Sequence[Frame], title: str) -> PipelineError:
    if any("MOSAIC" in (f.get("ImageType") or ()) for f in frames):
        reason = next(f.why_no_plane for f in frames if f.plane is None)
        return _mosaic(frames, title, reason, "Export it from the scanner as single slices or as enhanced multi-frame.")
    without = [f for f in frames if f.plane is None]
    hint = "--assume-spacing lays its frames evenly from the first; " if assumed_geometry.by_spacing(frames) else ""
    return refuse(
        Code.MISSING_PLANE_ATTRIBUTES,
        f"{len(without)} of {len(frames)} planes have no place in the patient: in {without[0].name}, {without[0].why_no_plane}",
        "Nothing is invented here. Export the series with its geometry, not as plain Secondary Capture; "
        f"{hint}or give the images it was drawn on with --source, and their planes are taken where they pair beyond doubt.",
        where=tuple(f.name for f in without[:5]),
        clause="PS3.3 C.7.6.2",
    )


def _mosaic(frames: Sequence[Frame], title: str, reason: str, hint: str) -> PipelineError:
    return refuse(
        Code.MOSAIC,
        f"{title} is a Siemens mosaic, a sheet of slices without a position for each: {reason}",
        hint,
        where=(frames[0].name,),
        clause="PS3.3 C.7.6.2: one position a frame",
    )


def _without_duplicates(frames: Sequence[Frame], policy: Policy) -> tuple[list[Frame], list[Finding]]:
    """One frame a position, where the policy allows to drop the others."""
    kept: list[Frame] = []
    findings: list[Finding] = []
    if policy.on_duplicate == "refuse":
        return list(frames), findings
    latest = policy.on_duplicate == "last"
    for frame in sorted(frames, key=lambda f: _age(f), reverse=latest):
        twin = next((k for k in kept if _same_place(k, frame)), None)
        if twin is None:
            kept.append(frame)
            continue
        same = bool(np.array_equal(read_plane(twin), read_plane(frame)))
        if policy.on_duplicate == "drop" and not same:
            raise refuse(
                Code.DUPLICATE_POSITION,
                f"{twin.name} and {frame.name} lie at one position with different pixels",
                "Say which wins: --on-duplicate first or last (by Instance Number).",
                where=(twin.name, frame.name),
                clause=_CLAUSE,
            )
        findings.append(
            Finding(
                Code.DUPLICATE_DROPPED,
                f"{frame.name} was dropped: it lies where {twin.name} does, with {'the same' if same else 'other'} pixels",
                severity=Severity.WARNING,
                where=(frame.name, twin.name),
                clause=_CLAUSE,
            )
        )
    order = {id(f): n for n, f in enumerate(frames)}
    return sorted(kept, key=lambda f: order[id(f)]), findings


def _age(frame: Frame) -> tuple[float, str, int]:
    return frame.rank("InstanceNumber") or 0.0, frame.sop_instance_uid, frame.number


def _same_place(one: Frame, other: Frame) -> bool:
    assert one.plane is not None
    assert other.plane is not None
    return float(np.linalg.norm(one.plane.corners() - other.plane.corners(), axis=1).max()) <= SAME_PLACE_MM


def _assumed_thickness(frame: Frame) -> tuple[float, Finding]:
    """The step of a single plane: from its thickness, else 1 mm; assumed either way, and said so."""
    thickness = frame.real("SliceThickness", 0.0)
    usable = thickness > 0
    step = thickness if usable else 1.0
    source = "its Slice Thickness (0018,0050)" if usable else "nothing at all: no Slice Thickness is given"
    return step, Finding(
        Code.ASSUMED_THICKNESS,
        f"one plane has no step; {step:g} mm is assumed from {source}",
        "The plane lies right; how far its voxels reach beyond it is not known.",
        Severity.WARNING,
        clause=_CLAUSE,
    )


def _several_owners(frames: Sequence[Frame]) -> list[Finding]:
    """Every file naming its own study or patient is the work of an anonymiser, most likely; it is said all the same."""
    word, count = owners_of(frames)
    if count == 1:
        return []
    return [
        Finding(
            Code.MIXED_STUDY,
            f"the {len(frames)} planes come from {count} {'studies' if word == 'study' else 'patients'}, one each; that they "
            "are one series was taken from their Series Instance UID and their places",
            "If this was not done by anonymising them, they are several series.",
            Severity.WARNING,
            clause="PS3.3 A.1.2",
        )
    ]


def _contradictions(laid: Stack, frames: Sequence[Frame]) -> list[Finding]:
    """Tags that decide nothing here but say something else than the positions do."""
    step = laid.grid.spacing[2]
    said = frames[0].get("SpacingBetweenSlices")
    if len(frames) < 2 or not isinstance(said, float) or abs(abs(said) - step) <= 0.01 * step:
        return []
    return [
        Finding(
            Code.TAG_CONTRADICTS,
            f"Spacing Between Slices (0018,0088) says {said:g} mm, the positions say {step:.4g} mm; the positions count",
            severity=Severity.INFO,
            clause=_CLAUSE,
            measured=abs(abs(said) - step),
            limit=0.01 * step,
            unit="mm",
        )
    ]
