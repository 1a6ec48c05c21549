"""Give places to frames that have none of their own, because the user asked for it.

Rules:
- There are two ways, each on request alone: by the source series the planes were drawn on, or by the first frame's place
  and Spacing Between Slices, or Slice Thickness where that is missing. The places are beyond doubt, or the frames are refused.
- What was assumed is kept with every frame and is a finding of the result, which is then never verified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..dicom.frame import Frame, plane_of
from ..dicom.frame_places import find_first_place
from ..dicom.header import Header
from ..geometry.affine import Matrix, Vector
from ..geometry.grid import Plane

_CLAUSE = "PS3.3 C.7.6.2"
# What may be the distance from one frame to the next, in this order. A thickness is it where there is neither gap nor overlap.
_STEPS = {"SpacingBetweenSlices": "Spacing Between Slices (0018,0088)", "SliceThickness": "Slice Thickness (0018,0050)"}


def space_evenly(frames: Sequence[Frame]) -> tuple[list[Frame], Finding] | None:
    """Lay frames of one multi-frame instance without functional groups one step apart.

    A Nuclear Medicine image without it (it alone says which way its slices run) is laid Slice Thickness apart.

    Along row x column, in the order of the frames, from the position the instance gives. None where it gives too little.
    """
    header = frames[0].header
    if header.number_of_frames < 2 or any(f.header is not header or f.plane is not None for f in frames):
        return None
    start = _first_plane_and_step(header)
    if start is None:
        return None
    first, step, name = start
    along = np.array(first.normal) / (np.linalg.norm(first.normal) or 1.0) * step
    places = [np.array(first.position) + (frame.number - 1) * along for frame in frames]
    how = f"assumed: frame {{}} of {header.number_of_frames}, {step:g} mm a frame along the normal"
    spaced = [
        replace(frame, plane=replace(first, position=_vector(place)), pairing=how.format(frame.number))
        for frame, place in zip(frames, places, strict=True)
    ]
    return spaced, _warning(
        f"only the first of {len(frames)} frames has a place; the others were laid {step:g} mm apart along the normal, in "
        f"the order of the frames, from {name}",
        tuple(f.name for f in frames[:1]),
    )


def _first_plane_and_step(header: Header) -> tuple[Plane, float, str] | None:
    """The plane of the first frame, the step to the next in mm, and the attribute it is from; None where one is missing."""
    place = {k: v for k, v in find_first_place(header).items() if v is not None}
    plane, _ = plane_of(Frame(header, 1, None, values=place))
    keyword = next((k for k in _STEPS if header.get(k) is not None or k in header.unreadable), "")
    step = header.get(keyword)
    if header.frames or not place or plane is None or not isinstance(step, float) or not (isfinite(step) and step > 0):
        return None
    return plane, step, _STEPS[keyword]


def pair_with_source(frames: Sequence[Frame], source: Sequence[Frame], step_mm: float) -> tuple[list[Frame], Finding]:
    """Give each frame without a place the plane of its partner in the source.

    Partners have one rank in both: by Instance Number, or the frame number, or the number in the file's name where there
    is none. In the source it must run with position.

    Args:
        frames: none of them with a place, in any order.
        source: the frames of one regular volume, ascending along its normal; as many as there are frames, of one size.
        step_mm: between the planes of the source, for the message.

    Returns:
        The frames with their partners' planes, in the order of their rank, and the finding that says so.

    Raises:
        PipelineError: MISSING_PLANE_ATTRIBUTES where partners are not beyond doubt.
    """
    why = _why_no_partners(frames, source)
    if why:
        raise _refused(why, frames)
    ours, how = _rank(frames)
    theirs, _ = _rank(source)
    if not ours or not theirs:
        whose = "the planes" if not ours else "the source's planes"
        raise _refused(f"{whose} have no number each of their own that could order them", frames)
    positions = [theirs.index(k) for k in range(len(theirs))]
    if positions not in (sorted(positions), sorted(positions, reverse=True)):
        raise _refused("Instance Number does not run with position in the source, so no order is beyond doubt", frames)
    paired = [_pair(frames[n], source[k], how) for n, k in zip(ours, theirs, strict=True)]
    return paired, _warning(
        f"{len(paired)} planes without a place were given those of the source, {step_mm:g} mm apart: paired by {how}, "
        f"{paired[0].name} with {source[theirs[0]].name} to {paired[-1].name} with {source[theirs[-1]].name}",
        (paired[0].name, source[theirs[0]].name),
    )


def _pair(frame: Frame, partner: Frame, how: str) -> Frame:
    """A frame with the plane and the Frame of Reference of its partner."""
    reference = {"FrameOfReferenceUID": partner.get("FrameOfReferenceUID", "")}
    return replace(
        frame,
        plane=partner.plane,
        why_no_plane="",
        values={**(frame.values or {}), **reference},
        pairing=f"assumed: paired by {how} with {partner.name} ({partner.sop_instance_uid})",
    )


def _vector(place: Matrix) -> Vector:
    x, y, z = (float(value) for value in place)
    return x, y, z


def _why_no_partners(frames: Sequence[Frame], source: Sequence[Frame]) -> str:
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


def _rank(frames: Sequence[Frame]) -> tuple[list[int], str]:
    """The frames in their order, as indices, and what orders them; ([], "") where nothing gives each its own number."""
    choices: tuple[tuple[str, list[Any]], ...] = (
        ("Instance Number", [f.get("InstanceNumber") for f in frames]),
        ("frame number", [f.number for f in frames]),
        ("the number in the file's name", _numbers_in_names(frames)),
    )
    for how, numbers in choices:
        if None not in numbers and len(set(numbers)) == len(numbers):
            return sorted(range(len(frames)), key=lambda n: float(numbers[n])), how
    return [], ""


def _numbers_in_names(frames: Sequence[Frame]) -> list[int | None]:
    """The one number in which the names of the files differ; None for each where they differ in more, or in letters."""
    names = [re.split(r"(\d+)", f.path.name) for f in frames]  # texts and numbers in turns, a number at every odd place
    if len({len(name) for name in names}) > 1:
        return [None] * len(names)
    varying = [p for p in range(len(names[0])) if len({name[p] for name in names}) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:
        return [None] * len(names)
    return [int(name[varying[0]]) for name in names]


def _warning(message: str, where: tuple[str, ...]) -> Finding:
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
