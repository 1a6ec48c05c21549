"""One series that holds several volumes, taken apart.

Rules:
- What cannot be one grid is apart first: size, Frame of Reference, orientation, pixel spacing. Rounding splits nothing.
- Planes that share positions are apart by the folder they lie in (one export a mask), or by the first attribute of
  `_ATTRIBUTES` that gives every position once; which one it was is the part's name. Failing that, whole volumes that
  follow each other by Instance Number are parts. Where nothing tells them apart, they stay together, and the duplicate is
  refused by name.
- Parts are in a fixed order, and their names do not depend on file names. Planes that belong nowhere are named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry import Plane
from pipeline.series import Frame

_SAME_PLACE_MM = 1e-3
_TURNED = 0.01  # radians: beyond any rounding or jitter of cosines
_ATTRIBUTES = (
    ("StackID", "stack"),
    ("TemporalPositionIdentifier", "time point"),
    ("TemporalPositionIndex", "time point"),
    ("TriggerTime", "trigger time"),
    ("NominalCardiacTriggerDelayTime", "trigger delay"),
    ("EchoTime", "echo time"),
    ("EffectiveEchoTime", "echo time"),
    ("EchoNumbers", "echo"),
    ("DiffusionBValue", "b-value"),
    ("ImageType", "image type"),
    ("FrameType", "image type"),
    ("AcquisitionNumber", "acquisition"),
    ("FrameAcquisitionNumber", "acquisition"),
    ("AcquisitionTime", "acquisition time"),
    ("FrameAcquisitionDateTime", "acquisition time"),
    ("ContentTime", "content time"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Frames that can be one volume. name: what sets it apart, "" where the series is one. over_time: whether the parts
    of its series differ by an attribute alone, not by geometry."""

    number: int
    name: str
    frames: tuple[Frame, ...]
    over_time: bool = False


def split(frames: Sequence[Frame]) -> list[Part]:
    """The volumes of one series; a single part where it is one already, or where its planes are refused anyway."""
    if any(f.plane is None or "MOSAIC" in (f.get("ImageType") or ()) for f in frames):
        return [Part(1, "", tuple(frames))]
    groups: list[tuple[str, list[Frame], bool]] = []
    geometric = _by_geometry(frames)
    for number, group in enumerate(geometric, 1):
        label = "" if len(geometric) == 1 else f"{_kind_of(group, geometric)} {number} of {len(geometric)}"
        for name, members in _by_attribute(group):
            groups.append((", ".join(p for p in (label, name) if p), members, bool(name) and len(geometric) == 1))
    return [Part(n, name, tuple(members), over_time) for n, (name, members, over_time) in enumerate(groups, 1)]


def table(parts: Iterable[Part]) -> str:
    """The parts as lines a person chooses from."""
    return "\n".join(f"  {p.number}  {p.name}  ({len(p.frames)} planes)" for p in parts)


def _by_geometry(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Groups of one size, reference, orientation and spacing; the largest first, then by the first SOP Instance UID."""
    groups: list[list[Frame]] = []
    for frame in frames:
        home = next((g for g in groups if _alike(g[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    return sorted(groups, key=lambda g: (-len(g), g[0].sop_instance_uid, g[0].number))


def _alike(one: Frame, other: Frame) -> bool:
    a, b = one.plane, other.plane
    assert a is not None
    assert b is not None
    if (a.rows, a.columns) != (b.rows, b.columns):
        return False
    if one.get("FrameOfReferenceUID") != other.get("FrameOfReferenceUID"):
        return False
    if abs(a.row_spacing / b.row_spacing - 1) > 0.01 or abs(a.column_spacing / b.column_spacing - 1) > 0.01:
        return False
    return not _turned(a, b)


def _turned(a: Plane, b: Plane) -> bool:
    rows = np.subtract(a.row_cosine, b.row_cosine)
    columns = np.subtract(a.column_cosine, b.column_cosine)
    return bool(max(np.linalg.norm(rows), np.linalg.norm(columns)) > _TURNED)


def _kind_of(group: Sequence[Frame], groups: Sequence[Sequence[Frame]]) -> str:
    """What the geometric groups differ in, in a word."""
    first, other = group[0], next(g for g in groups if g is not group)[0]
    assert first.plane is not None
    assert other.plane is not None
    if (first.plane.rows, first.plane.columns) != (other.plane.rows, other.plane.columns):
        return "size"
    if _turned(first.plane, other.plane):
        return "orientation"
    return "frame of reference" if first.get("FrameOfReferenceUID") != other.get("FrameOfReferenceUID") else "spacing"


def _by_attribute(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Volumes at the same positions, by the first attribute that tells them apart wholly."""
    if not _shares_positions(frames) or len({_place(f) for f in frames}) == 1:
        return [("", frames)]  # a volume; or planes over time at one place, which are none
    folders: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        folders[frame.path.parent.name].append(frame)
    if len(folders) > 1 and not any(_shares_positions(g) for g in folders.values()):
        return [(f"folder {name}", folders[name]) for name in sorted(folders)]
    for keyword, word in _ATTRIBUTES:
        values: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame in frames:
            values[frame.get(keyword)].append(frame)
        if len(values) > 1 and None not in values and not any(_shares_positions(g) for g in values.values()):
            ordered = sorted(values.items(), key=lambda item: _sortable(item[0]))
            return [(f"{word} {_shown(value)}", group) for value, group in ordered]
    return _by_instance_number(frames) or [("", frames)]


def _by_instance_number(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Volumes that follow each other by Instance Number, each holding every position once; empty where they do not."""
    numbers = [f.get("InstanceNumber") for f in frames]
    if None in numbers or len(set(numbers)) < len(numbers):
        return []
    ordered = sorted(frames, key=lambda f: float(f.get("InstanceNumber")))
    places = {_place(f) for f in frames}
    blocks = [ordered[start : start + len(places)] for start in range(0, len(ordered), len(places))]
    if any({_place(f) for f in block} != places or len(block) != len(places) for block in blocks):
        return []
    return [(f"repeat {n} of {len(blocks)} by Instance Number", block) for n, block in enumerate(blocks, 1)]


def _place(frame: Frame) -> int:
    assert frame.plane is not None
    return round(float(np.dot(frame.plane.position, frame.plane.normal)) / _SAME_PLACE_MM)


def _shares_positions(frames: Sequence[Frame]) -> bool:
    planes = [f.plane for f in frames if f.plane is not None]
    positions = np.array([p.position for p in planes])
    distances = np.sort(positions @ np.array(planes[0].normal))
    return bool((np.diff(distances) <= _SAME_PLACE_MM).any())


def _sortable(value: Hashable) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _shown(value: Hashable) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "\\".join(map(str, value)) if isinstance(value, tuple) else str(value)
