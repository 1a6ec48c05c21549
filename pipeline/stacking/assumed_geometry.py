"""Places that are assumed, because the user asked for it, where frames have none of their own.

Rules:
- Two ways, each on request alone: by the source series the planes were drawn on, or by the first frame's place and
  Spacing Between Slices. Beyond doubt, or refused.
- What was assumed is told with every frame and as a finding, and such a result is never verified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..dicom.frame import Frame
from ..geometry.affine import Matrix, Vector
from ..geometry.grid import GeometryError, Plane

_CLAUSE = "PS3.3 C.7.6.2"


def by_spacing(frames: Sequence[Frame]) -> tuple[list[Frame], Finding] | None:
    """Frames of one multi-frame instance without functional groups, each laid Spacing Between Slices beyond the last.

    Along row x column, in the order of the frames, from the position the instance gives. None where it gives too little.
    """
    header = frames[0].header
    if header.number_of_frames < 2 or any(f.header is not header or f.plane is not None for f in frames):
        return None
    position, cosines, spacing, step = (
        header.get(keyword)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices")
    )
    lengths = [len(v) if isinstance(v, tuple) else 0 for v in (position, cosines, spacing)]
    if header.frames or lengths != [3, 6, 2] or not isinstance(step, float) or not (isfinite(step) and step > 0):
        return None
    size = {"rows": int(header.get("Rows", 0)), "columns": int(header.get("Columns", 0))}
    try:
        first = Plane(position, cosines[:3], cosines[3:], spacing[0], spacing[1], **size)
    except GeometryError:
        return None
    along = np.array(first.normal) / (np.linalg.norm(first.normal) or 1.0) * step
    places = [np.array(first.position) + (frame.number - 1) * along for frame in frames]
    said = f"assumed: frame {{}} of {header.number_of_frames}, {step:g} mm a frame along the normal"
    placed = [
        replace(frame, plane=replace(first, position=_vector(place)), pairing=said.format(frame.number))
        for frame, place in zip(frames, places, strict=True)
    ]
    return placed, _told(
        f"only the first of {len(frames)} frames has a place; the others were laid {step:g} mm apart along the normal, in "
        "the order of the frames, from Spacing Between Slices (0018,0088)",
        tuple(f.name for f in frames[:1]),
    )


def paired(frames: Sequence[Frame], source: Sequence[Frame], step_mm: float) -> tuple[list[Frame], Finding]:
    """Frames without a place, each with the plane of its partner in the source, and what to tell of it.

    source: the frames of one regular volume ascending along its normal, `step_mm` apart. Both must have the same count
    and size. Partners are those of one order: Instance Number (or the frame number, or the number in the file's name
    where there is none), which must run with position in the source. Raises MISSING_PLANE_ATTRIBUTES.
    """
    why = _no_partners(frames, source)
    if why:
        raise _refused(why, frames)
    ours, how = _ranked(frames)
    theirs, _ = _ranked(source)
    if not ours or not theirs:
        said = "the planes" if not ours else "the source's planes"
        raise _refused(f"{said} have no number each of their own that could order them", frames)
    positions = [theirs.index(k) for k in range(len(theirs))]
    if positions not in (sorted(positions), sorted(positions, reverse=True)):
        raise _refused("Instance Number does not run with position in the source, so no order is beyond doubt", frames)
    placed = []
    for n, k in zip(ours, theirs, strict=True):
        frame, partner = frames[n], source[k]
        reference = {"FrameOfReferenceUID": partner.get("FrameOfReferenceUID", "")}
        placed.append(
            replace(
                frame,
                plane=partner.plane,
                why_no_plane="",
                values={**(frame.values or {}), **reference},
                pairing=f"assumed: paired by {how} with {partner.name} ({partner.sop_instance_uid})",
            )
        )
    return placed, _told(
        f"{len(placed)} planes without a place were given those of the source, {step_mm:g} mm apart: paired by {how}, "
        f"{placed[0].name} with {source[theirs[0]].name} to {placed[-1].name} with {source[theirs[-1]].name}",
        (placed[0].name, source[theirs[0]].name),
    )


def _vector(place: Matrix) -> Vector:
    x, y, z = (float(value) for value in place)
    return x, y, z


def _no_partners(frames: Sequence[Frame], source: Sequence[Frame]) -> str:
    """Why no pairing can be looked for, or ""."""
    if any(f.plane is not None for f in frames):
        return "some of the planes have a place of their own"
    if any(s.plane is None or s.pairing for s in source):
        return "the source has planes without a place of their own"
    if len(frames) != len(source):
        return f"there are {len(frames)} planes here and {len(source)} in the source"
    sizes = {(f.get("Columns"), f.get("Rows")) for f in (*frames, *source)}
    if len(sizes) > 1:
        return "the sizes differ: " + ", ".join(sorted(f"{c} × {r}" for c, r in sizes))
    return ""


def _ranked(frames: Sequence[Frame]) -> tuple[list[int], str]:
    """The frames in their order, as indices, and what orders them; ([], "") where nothing gives each its own number."""
    names = [re.split(r"(\d+)", f.path.name) for f in frames]
    varying = [p for p in range(len(names[0])) if len({n[p] for n in names if len(n) == len(names[0])}) > 1]
    one_number = len(varying) == 1 and varying[0] % 2 == 1 and len({len(n) for n in names}) == 1
    choices: tuple[tuple[str, list[Any]], ...] = (
        ("Instance Number", [f.get("InstanceNumber") for f in frames]),
        ("frame number", [f.number for f in frames]),
        ("the number in the file's name", [int(n[varying[0]]) if one_number else None for n in names]),
    )
    for how, numbers in choices:
        if None not in numbers and len(set(numbers)) == len(numbers):
            return sorted(range(len(frames)), key=lambda n: float(numbers[n])), how
    return [], ""


def _told(message: str, where: tuple[str, ...]) -> Finding:
    hint = "The files do not say so; look at the result over its source before relying on it."
    return Finding(Code.ASSUMED_GEOMETRY, message, hint, Severity.WARNING, _CLAUSE, where)


def _refused(why: str, frames: Sequence[Frame]) -> PipelineError:
    return refuse(
        Code.MISSING_PLANE_ATTRIBUTES,
        f"{len(frames)} planes have no place in the patient, and cannot be paired with the source: {why}",
        "Export the series with its geometry; or give the very series it was drawn on, whole and alone.",
        where=tuple(f.name for f in frames[:1]),
        clause=_CLAUSE,
    )
