"""One series that holds several volumes, taken apart.

Rules:
- Studies and patients are apart before anything else: one Series Instance UID in two of them was given twice. Where every
  single file has its own, they tell nothing; that is left to `stack_frames`, which says so.
- What cannot be one grid is apart next: size, Frame of Reference, orientation, pixel spacing, localizers, stacks.
  Rounding splits nothing.
- Planes that share positions are apart by the folder they lie in (one export a mask), or by the first attribute of
  `_ATTRIBUTES`, or the first two, that give every position once and as few volumes as the positions ask for: a time
  that differs from plane to plane tells nothing. Which one it was is the part's name. Failing that, whole volumes that
  follow each other by Instance Number are parts. Where nothing tells them apart, they stay together, and the duplicate
  is refused by name.
- Planes without a place stay where they can belong, and refuse it; of another size they are a part of their own.
- Parts are in a fixed order, and their names do not depend on file names. Planes that belong nowhere are named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..core.findings import Code
from ..core.limits import SAME_PLACE_MM
from ..geometry.grid import Plane
from .frame import Frame

TURNED_RADIANS = 0.01  # beyond any rounding or jitter of cosines: another orientation, not noise
_NO_COSINES = 2e-3  # cosines this far off are refused by name; they say nothing of where the planes are
_FOLDER = "folder"
_ATTRIBUTES = (
    (_FOLDER, "folder"),
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
    ("InstanceNumber", "instance"),
)


_OWNERS: tuple[tuple[str, Callable[[Frame], Hashable]], ...] = (
    ("study", lambda frame: frame.get("StudyInstanceUID")),
    ("patient", lambda frame: frame.header.patient),
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Frames that can be one volume. name: what sets it apart, "" where the series is one. over_time: whether the parts
    of its series differ by an attribute alone, not by geometry. code: what a series of such parts is refused with."""

    number: int
    name: str
    frames: tuple[Frame, ...]
    over_time: bool = False
    code: Code = Code.SEVERAL_VOLUMES


def split(frames: Sequence[Frame]) -> list[Part]:
    """The volumes of one series; a single part where it is one already, or where its planes are refused."""
    owners = _by_owner(frames)
    if len(owners) == 1:
        return _volumes(frames)
    parts = [(name, part) for name, members in owners for part in _volumes(members)]
    return [
        Part(n, ", ".join(p for p in (name, part.name) if p), part.frames, False, Code.MIXED_STUDY)
        for n, (name, part) in enumerate(parts, 1)
    ]


def owners_of(frames: Sequence[Frame]) -> tuple[str, int]:
    """How many studies, or else patients, frames come from: the word, and the number."""
    for word, of in _OWNERS:
        count = len({of(f) for f in frames})
        if count > 1:
            return word, count
    return "study", 1


def _by_owner(frames: Sequence[Frame]) -> list[tuple[str, list[Frame]]]:
    """Frames of one study and patient each, with a name that says which; all of them where every file has its own."""
    files = len({id(f.header) for f in frames})
    told = [(word, of) for word, of in _OWNERS if 1 < len({of(f) for f in frames}) < max(files, 3)]
    if not told:
        return [("", list(frames))]
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[tuple(of(frame) for _, of in told)].append(frame)
    ordered = sorted(groups.values(), key=lambda g: min((f.sop_instance_uid, f.number) for f in g))
    return [(f"{told[0][0]} {n} of {len(ordered)}", members) for n, members in enumerate(ordered, 1)]


def _volumes(frames: Sequence[Frame]) -> list[Part]:
    """The volumes of one study's frames."""
    placed, unplaced = _with_and_without(frames)
    if not placed or any(f.plane is None or f.plane.cosine_error > _NO_COSINES for f in placed):
        return [Part(1, "", tuple(frames))]
    groups: list[tuple[str, list[Frame], bool]] = []
    geometric = _by_geometry(placed)
    code, word = _differing(geometric)
    for number, group in enumerate(geometric, 1):
        label = "" if len(geometric) == 1 else _label(group, word, number, len(geometric))
        for name, members in _by_attribute(group):
            groups.append((", ".join(p for p in (label, name) if p), members, bool(name) and len(geometric) == 1))
    if unplaced:
        groups = [(name or "with positions", members, False) for name, members, _ in groups]
        groups.append(("without positions", unplaced, False))
    return [Part(n, name, tuple(members), over, code) for n, (name, members, over) in enumerate(groups, 1)]


def table(parts: Iterable[Part]) -> str:
    """The parts as lines a person chooses from."""
    return "\n".join(f"  {p.number}  {p.name}  ({len(p.frames)} planes)" for p in parts)


def _with_and_without(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Frames apart from those that have no plane and another size than any that has, such as screenshots."""
    sizes = {(f.get("Rows"), f.get("Columns")) for f in frames if f.plane is not None}
    unplaced = [f for f in frames if f.plane is None and (f.get("Rows"), f.get("Columns")) not in sizes]
    return ([], []) if len(unplaced) == len(frames) else ([f for f in frames if f not in unplaced], unplaced)


def _by_geometry(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Groups of one size, reference, orientation and spacing; the largest first, then by the first SOP Instance UID."""
    groups: list[list[Frame]] = []
    for frame in frames:
        home = next((g for g in groups if _alike(g[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    stacks = [stack for group in groups for stack in _by_stack(group)]
    return sorted(stacks, key=lambda g: (-len(g), g[0].sop_instance_uid, g[0].number))


def _by_stack(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one Stack ID each; all together where an ID is missing or has a single frame."""
    stacks: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        stacks[frame.get("StackID")].append(frame)
    return list(stacks.values()) if None not in stacks and min(map(len, stacks.values())) > 1 else [frames]


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
    return _localizer(one) == _localizer(other) and not _turned(a, b)


def _localizer(frame: Frame) -> bool:
    return "LOCALIZER" in (frame.get("ImageType") or ())


def _turned(a: Plane, b: Plane) -> bool:
    rows = np.subtract(a.row_cosine, b.row_cosine)
    columns = np.subtract(a.column_cosine, b.column_cosine)
    return bool(max(np.linalg.norm(rows), np.linalg.norm(columns)) > TURNED_RADIANS)


def _differing(groups: Sequence[Sequence[Frame]]) -> tuple[Code, str]:
    """What the first two geometric groups differ in: as a refusal, and in a word."""
    if len(groups) == 1:
        return Code.SEVERAL_VOLUMES, ""
    first, other = groups[0][0], groups[1][0]
    assert first.plane is not None
    assert other.plane is not None
    if _turned(first.plane, other.plane):
        return Code.MIXED_ORIENTATION, "orientation"
    if (first.plane.rows, first.plane.columns) != (other.plane.rows, other.plane.columns):
        return Code.MIXED_SIZE, "size"
    if first.get("FrameOfReferenceUID") != other.get("FrameOfReferenceUID"):
        return Code.MIXED_FRAME_OF_REFERENCE, "frame of reference"
    if _localizer(first) != _localizer(other):
        return Code.SEVERAL_VOLUMES, "image type"
    if not _alike(first, other):
        return Code.MIXED_SPACING, "spacing"
    return Code.SEVERAL_VOLUMES, "stack"


def _label(group: Sequence[Frame], word: str, number: int, count: int) -> str:
    return f"{word} {number} of {count}" + (" (localizer)" if _localizer(group[0]) else "")


def _by_attribute(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Volumes at the same positions, by the first attribute or two that tell them apart wholly."""
    most = max(Counter(_places(frames)).values())
    if most in (1, len(frames)):
        return [("", frames)]  # a volume; or planes over time at one place, which are none
    folders: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        folders[frame.path.parent.name].append(frame)
    if len(folders) > 1 and all(max(Counter(_places(g)).values()) == 1 for g in folders.values()):
        return [(f"folder {name}", folders[name]) for name in sorted(folders)]
    varying = [(k, word) for k, word in _ATTRIBUTES if len({_value(f, k) for f in frames}) > 1]
    for chosen in [*((one,) for one in varying), *combinations(varying, 2)]:
        volumes: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
        for frame in frames:
            volumes[tuple(_value(frame, keyword) for keyword, _ in chosen)].append(frame)
        if len(volumes) == most and all(_whole(values, group) for values, group in volumes.items()):
            ordered = sorted(volumes.items(), key=lambda item: [_sortable(value) for value in item[0]])
            return [
                (", ".join(f"{word} {_shown(v)}" for (_, word), v in zip(chosen, values, strict=True)), group)
                for values, group in ordered
            ]
    return _by_instance_number(frames) or [("", frames)]


def _whole(values: Sequence[Hashable], frames: Sequence[Frame]) -> bool:
    """Whether every frame has the attributes, and every position is there once."""
    return None not in values and max(Counter(_places(frames)).values()) == 1


def _value(frame: Frame, keyword: str) -> Hashable:
    value: Hashable = frame.path.parent.name if keyword == _FOLDER else frame.get(keyword)
    return value


def _by_instance_number(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Volumes that follow each other by Instance Number, each holding every position once; empty where they do not."""
    numbers = [f.rank("InstanceNumber") for f in frames]
    if None in numbers or len(set(numbers)) < len(numbers):
        return []
    ordered = sorted(frames, key=lambda f: f.rank("InstanceNumber") or 0.0)
    place = dict(zip(map(id, frames), _places(frames), strict=True))
    places = set(place.values())
    blocks = [ordered[start : start + len(places)] for start in range(0, len(ordered), len(places))]
    if any({place[id(f)] for f in block} != places or len(block) != len(places) for block in blocks):
        return []
    return [(f"repeat {n} of {len(blocks)} by Instance Number", block) for n, block in enumerate(blocks, 1)]


def _places(frames: Sequence[Frame]) -> list[int]:
    """For each frame the number of its place along the normal, counted from below; a step under 1 µm is none."""
    planes = [f.plane for f in frames if f.plane is not None]
    distances = np.array([p.position for p in planes]) @ np.array(planes[0].normal)
    order = np.argsort(distances, kind="stable")
    numbers = np.empty(len(planes), int)
    numbers[order] = np.cumsum(np.diff(distances[order], prepend=distances[order[0]]) > SAME_PLACE_MM)
    return [int(n) for n in numbers]


def _sortable(value: Hashable) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _shown(value: Hashable) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "\\".join(map(str, value)) if isinstance(value, tuple) else str(value)
