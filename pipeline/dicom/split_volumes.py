"""Split a series that holds several volumes into parts, each of which can be one volume.

Rules:
- Studies and patients are split before anything else: one Series Instance UID in two of them was given twice. Where every
  single file has its own, they separate nothing, and the planes stay together; `stack_frames` warns of it.
- What cannot be one grid is split next: size, orientation, pixel spacing, localizers, Frame of Reference, stacks.
  Rounding splits nothing, nor do Frame of Reference UIDs that differ from place to place in one row (`stack_frames` warns).
- Planes that share positions are split by the folder they lie in (one export a mask), or by the first attribute of
  `_ATTRIBUTES`, or the first two, that give every position once and as few volumes as the positions ask for: a time
  that differs from plane to plane tells nothing. Which one it was is the part's name. Failing that, whole volumes that
  follow each other by Instance Number are parts, or the ranks of a series numbered slice by slice (`slice_major`). Where
  nothing tells them apart, they stay together, and the duplicate is refused by name.
- Copies of a plane (`copies`) are in the part of the plane they repeat, and split nothing.
- Planes without a place stay where they can belong, and refuse it; of another size they are a part of their own.
- Parts are in a fixed order, and their names do not depend on file names. Planes that belong nowhere are named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..core.findings import Code, Finding
from ..core.plain_text import escape_controls
from ..geometry.grid import Plane
from .copies import Copies, find_copies, find_exports
from .frame import Frame
from .frame_vectors import VECTORS, vector_class
from .plane_rows import FEWEST, number_places, why_no_row
from .slice_major import rank_repeats

TURNED_RADIANS = 0.01  # beyond any rounding or jitter of cosines: another orientation, not noise
_NO_COSINES = 2e-3  # cosines this far off are refused by name; they say nothing of where the planes are
_OTHER_SPACING = 0.01  # of the spacing: less is left to the corner proof, which judges it in mm
_FOLDER = "folder"
_ATTRIBUTES = (
    (_FOLDER, "folder"),
    ("TemporalPositionIdentifier", "time point"),
    ("TemporalPositionIndex", "time point"),
    *((keyword, word) for keyword, (_, word) in VECTORS.items()),
    ("TriggerTime", "trigger time"),
    ("NominalCardiacTriggerDelayTime", "trigger delay"),
    ("EchoTime", "echo time"),
    ("EffectiveEchoTime", "echo time"),
    ("EchoNumbers", "echo"),
    ("DiffusionBValue", "b-value"),
    ("DoseSummationType", "dose summation"),
    ("ImageType", "image type"),
    ("FrameType", "image type"),
    ("AcquisitionNumber", "acquisition"),
    ("FrameAcquisitionNumber", "acquisition"),
    ("AcquisitionTime", "acquisition time"),
    ("FrameAcquisitionDateTime", "acquisition time"),
    ("ContentTime", "content time"),
    ("InstanceNumber", "instance"),
)
# Who an instance belongs to: the word, and what tells two of them apart.
_OWNERS: tuple[tuple[str, Callable[[Frame], Hashable]], ...] = (
    ("study", lambda frame: frame.get("StudyInstanceUID")),
    ("patient", lambda frame: frame.header.patient),
)

_Volumes = list[tuple[str, list[Frame]]]  # the name of each, and its frames


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Frames that can be one volume.

    name: what sets it apart, "" where the series is one. over_time: whether the parts of its series differ by an attribute
    alone, not by geometry. code: what a series of such parts is refused with. findings: on what its being one rests,
    where that is no attribute of the standard for it.
    """

    number: int
    name: str
    frames: tuple[Frame, ...]
    over_time: bool = False
    code: Code = Code.SEVERAL_VOLUMES
    findings: tuple[Finding, ...] = ()


def split(frames: Sequence[Frame]) -> list[Part]:
    """Split a series into its volumes; a single part where it is one already, or where its planes are refused."""
    owners = _split_by_owner(frames)
    if len(owners) == 1:
        return _split_study(frames)
    parts = [(name, part) for name, members in owners for part in _split_study(members)]
    return [
        Part(n, ", ".join(p for p in (name, part.name) if p), part.frames, False, Code.MIXED_STUDY, part.findings)
        for n, (name, part) in enumerate(parts, 1)
    ]


def owners_of(frames: Sequence[Frame]) -> tuple[str, int]:
    """Count the studies, or else the patients, that frames come from: the word, and the number."""
    for word, of in _OWNERS:
        count = len({of(f) for f in frames})
        if count > 1:
            return word, count
    return "study", 1


def _split_by_owner(frames: Sequence[Frame]) -> _Volumes:
    """Frames of one study and patient each, with a name that says which; all of them where every file has its own."""
    files = len({id(f.header) for f in frames})
    owners = [(word, of) for word, of in _OWNERS if 1 < len({of(f) for f in frames}) < max(files, 3)]
    if not owners:
        return [("", list(frames))]
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[tuple(of(frame) for _, of in owners)].append(frame)
    ordered = sorted(groups.values(), key=lambda g: min((f.sop_instance_uid, f.number) for f in g))
    return [(f"{owners[0][0]} {n} of {len(ordered)}", members) for n, members in enumerate(ordered, 1)]


def _split_study(frames: Sequence[Frame]) -> list[Part]:
    """The volumes of one study's frames."""
    with_place, without = _set_screenshots_aside(frames)
    if not with_place or any(f.plane is None or f.plane.cosine_error > _NO_COSINES for f in with_place):
        return [Part(1, "", tuple(frames))]
    groups: list[tuple[str, list[Frame], bool, tuple[Finding, ...]]] = []
    geometric = split_by_geometry(with_place)
    code, word = _first_difference(geometric)
    for number, group in enumerate(geometric, 1):
        label = "" if len(geometric) == 1 else _label(group, word, number, len(geometric))
        volumes, findings = _split_repeats(group)
        for name, members in volumes:
            full = ", ".join(p for p in (label, name) if p)
            groups.append((full, members, bool(name) and len(geometric) == 1, findings))
    if without:
        groups = [(name or "with positions", members, False, findings) for name, members, _, findings in groups]
        groups.append(("without positions", without, False, ()))
    return [Part(n, name, tuple(members), over, code, why) for n, (name, members, over, why) in enumerate(groups, 1)]


def table(parts: Iterable[Part]) -> str:
    """Write the parts as lines that a person chooses from."""
    return "\n".join(f"  {p.number}  {escape_controls(p.name)}  ({len(p.frames)} planes)" for p in parts)


def _set_screenshots_aside(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """The frames, and apart from them those that have no plane and another size than any that has, such as screenshots."""
    sizes = {(f.get("Rows"), f.get("Columns")) for f in frames if f.plane is not None}
    aside = {f: None for f in frames if f.plane is None and (f.get("Rows"), f.get("Columns")) not in sizes}
    return ([], []) if len(aside) == len(frames) else ([f for f in frames if f not in aside], list(aside))


def split_by_geometry(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Split frames with planes into groups of one size, orientation, spacing and reference.

    The largest comes first, then by the first SOP Instance UID.
    """
    groups: list[list[Frame]] = []
    known: dict[Hashable, list[Frame]] = {}  # most planes are cut like one before to the last digit
    for frame in frames:
        home = known.get(cut := _cut_of(frame))
        if home is None:
            home = next((g for g in groups if _difference(g[0], frame, of_reference=False) is None), None)
        if home is None:
            groups.append(home := [])
        known[cut] = home
        home.append(frame)
    in_one = [part for group in groups for part in _split_by_frame_of_reference(group)]
    stacks = [stack for group in in_one for stack in _split_by_stack(group)]
    return sorted(stacks, key=lambda g: (-len(g), g[0].sop_instance_uid, g[0].number))


def _cut_of(frame: Frame) -> Hashable:
    """All that `_difference` compares, but for the Frame of Reference."""
    p = frame.known_plane
    return p.row_cosine, p.column_cosine, p.row_spacing, p.column_spacing, p.rows, p.columns, _is_localizer(frame)


def _split_by_frame_of_reference(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one Frame of Reference UID each; all together where every place of a row has its own."""
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[frame.get("FrameOfReferenceUID")].append(frame)
    if len(groups) < FEWEST or len(groups) < max(number_places(frames)) + 1:
        return list(groups.values())
    is_noise = all(len(set(number_places(group))) == 1 for group in groups.values()) and not why_no_row(frames)
    return [frames] if is_noise else list(groups.values())


def _split_by_stack(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one stack each; all together where one names none or has a single frame."""
    stacks: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        stacks[_stack_of(frame)].append(frame)
    return list(stacks.values()) if None not in stacks and min(map(len, stacks.values())) > 1 else [frames]


def _stack_of(frame: Frame) -> Hashable:
    """Its Stack ID; or its instance, where that is placed as a whole by vectors."""
    is_whole = frame.header.number_of_frames > 1 and vector_class(frame.header.values)
    stack: Hashable = id(frame.header) if is_whole else frame.get("StackID")
    return stack


def _difference(one: Frame, other: Frame, *, of_reference: bool = True) -> tuple[Code, str] | None:
    """What keeps two frames off one grid: as a refusal, and in a word; None where nothing does.

    of_reference: whether their Frames of Reference are compared.
    """
    a, b = one.known_plane, other.known_plane
    if _are_turned(a, b):
        return Code.MIXED_ORIENTATION, "orientation"
    if (a.rows, a.columns) != (b.rows, b.columns):
        return Code.MIXED_SIZE, "size"
    if of_reference and one.get("FrameOfReferenceUID") != other.get("FrameOfReferenceUID"):
        return Code.MIXED_FRAME_OF_REFERENCE, "frame of reference"
    if _is_localizer(one) != _is_localizer(other):
        return Code.SEVERAL_VOLUMES, "image type"
    ratios = a.row_spacing / b.row_spacing, a.column_spacing / b.column_spacing
    if any(abs(ratio - 1) > _OTHER_SPACING for ratio in ratios):
        return Code.MIXED_SPACING, "spacing"
    return None


def _first_difference(groups: Sequence[Sequence[Frame]]) -> tuple[Code, str]:
    """What the first two geometric groups differ in: as a refusal, and in a word."""
    if len(groups) == 1:
        return Code.SEVERAL_VOLUMES, ""
    word = "instance" if vector_class(groups[0][0].header.values) else "stack"
    return _difference(groups[0][0], groups[1][0]) or (Code.SEVERAL_VOLUMES, word)


def _is_localizer(frame: Frame) -> bool:
    return "LOCALIZER" in (frame.get("ImageType") or ())


def _are_turned(a: Plane, b: Plane) -> bool:
    rows = np.subtract(a.row_cosine, b.row_cosine)
    columns = np.subtract(a.column_cosine, b.column_cosine)
    return bool(max(np.linalg.norm(rows), np.linalg.norm(columns)) > TURNED_RADIANS)


def _label(group: Sequence[Frame], word: str, number: int, count: int) -> str:
    what = "localizer" if _is_localizer(group[0]) else group[0].get("DoseSummationType")
    return f"{word} {number} of {count}" + (f" ({what})" if what else "")


def _split_repeats(frames: list[Frame]) -> tuple[_Volumes, tuple[Finding, ...]]:
    """Volumes at the same positions, each with the copies of its planes, and what a result is to say of how they were told
    apart; all together where nothing does that."""
    repeats = _count_repeats(frames)
    if repeats in (1, len(frames)):  # one volume; or planes over time at one place, which are no volume at all
        return [("", frames)], ()
    copies = find_exports(frames)
    volumes, findings = _split_distinct([f for f in frames if f not in copies])
    if not volumes and not copies:  # not before: a volume must not lose a plane that looks like one of another
        copies = find_copies(frames)
        volumes, findings = _split_distinct([f for f in frames if f not in copies]) if copies else ([], ())
    return [(name, _with_copies(group, copies)) for name, group in volumes] or [("", frames)], findings


def _split_distinct(frames: list[Frame]) -> tuple[_Volumes, tuple[Finding, ...]]:
    """As `_split_repeats` for planes none of which repeats another; no volumes where nothing tells them apart."""
    repeats = _count_repeats(frames)
    if repeats == 1:
        return [("", frames)], ()
    volumes = _split_by_folder(frames) or _split_by_attributes(frames, repeats) or _split_by_instance_number(frames)
    if volumes:
        return volumes, ()
    ranked = rank_repeats(frames)
    if ranked is None or ranked.contradiction:
        return [], ()
    count = len(ranked.volumes)
    named = [(f"repeat {n} of {count} at each position", volume) for n, volume in enumerate(ranked.volumes, 1)]
    return named, (ranked.finding(),)


def _with_copies(frames: Sequence[Frame], copies: Copies) -> list[Frame]:
    """Frames, and those that repeat one of them."""
    repeated = set(frames)
    return [*frames, *(copy for copy, origin in copies.items() if origin in repeated)]


def _split_by_folder(frames: list[Frame]) -> _Volumes:
    """Volumes by the folder they lie in, such as one export a mask; empty where a folder holds a position twice."""
    folders = _group_by(frames, [_FOLDER])
    if len(folders) == 1 or any(_count_repeats(group) > 1 for group in folders.values()):
        return []
    return [(f"folder {name}", group) for (name,), group in sorted(folders.items(), key=lambda item: str(item[0][0]))]


def _split_by_attributes(frames: list[Frame], repeats: int) -> _Volumes:
    """Volumes by the first attribute, or the first two, that give every position once, in as many volumes as it repeats."""
    varying = [(k, word) for k, word in _ATTRIBUTES if len({_value(f, k) for f in frames}) > 1]
    for chosen in [*((one,) for one in varying), *combinations(varying, 2)]:
        volumes = _group_by(frames, [keyword for keyword, _ in chosen])
        if len(volumes) == repeats and all(_is_whole(values, group) for values, group in volumes.items()):
            ordered = sorted(volumes.items(), key=lambda item: [_sort_key(value) for value in item[0]])
            return [
                (", ".join(f"{word} {_show(v)}" for (_, word), v in zip(chosen, values, strict=True)), group)
                for values, group in ordered
            ]
    return []


def _group_by(frames: Sequence[Frame], keywords: Sequence[str]) -> Mapping[tuple[Hashable, ...], list[Frame]]:
    """The frames by their values of some attributes."""
    groups: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[tuple(_value(frame, keyword) for keyword in keywords)].append(frame)
    return groups


def _is_whole(values: Sequence[Hashable], frames: Sequence[Frame]) -> bool:
    """Whether every frame has the attributes, and every position is there once."""
    return None not in values and _count_repeats(frames) == 1


def _count_repeats(frames: Sequence[Frame]) -> int:
    """How often the position that occurs most occurs."""
    return max(Counter(number_places(frames)).values())


def _value(frame: Frame, keyword: str) -> Hashable:
    value: Hashable = frame.path.parent.name if keyword == _FOLDER else frame.get(keyword)
    return value


def _split_by_instance_number(frames: list[Frame]) -> _Volumes:
    """Volumes that follow each other by Instance Number, each holding every position once; empty where they do not."""
    numbers = [f.rank("InstanceNumber") for f in frames]
    if None in numbers or len(set(numbers)) < len(numbers):
        return []
    ordered = sorted(frames, key=lambda f: f.rank("InstanceNumber") or 0.0)
    place = dict(zip(map(id, frames), number_places(frames), strict=True))
    places = set(place.values())
    blocks = [ordered[start : start + len(places)] for start in range(0, len(ordered), len(places))]
    if any({place[id(f)] for f in block} != places or len(block) != len(places) for block in blocks):
        return []
    return [(f"repeat {n} of {len(blocks)} by Instance Number", block) for n, block in enumerate(blocks, 1)]


def _sort_key(value: Hashable) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _show(value: Hashable) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "\\".join(map(str, value)) if isinstance(value, tuple) else str(value)
