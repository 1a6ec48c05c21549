"""Group headers into series, also where the Series Instance UID is missing or is another one in every file.

Rules:
- A Series Instance UID that two files share is a series, whatever else they say; it is never joined with another.
- Files with one of their own are one series where patient, study, number, description and kind of image agree, and their
  planes are one row of one size, orientation and spacing (`plane_rows`); a study or Frame of Reference of its own in
  every file separates nothing. Nothing less is enough: what interleaves, overlaps or follows is never joined.
- Files without one are read in the same groups. One that may belong to a series with a UID may be a plane of it, and is
  an error; a group that may be several series is refused.
- What was joined is said by a finding; it is confirmed where another reader makes one volume of the same files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from ..core.findings import Code, Finding, Severity
from .frame import Frame, frames_of
from .header import Header
from .plane_rows import FEWEST, group_by_place, why_no_row
from .split_volumes import split_by_geometry

_SAME_IN_SERIES = (
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "SOPClassUID",
    "ImageType",
    "EchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "TemporalPositionIdentifier",
)
_OWN = "a Series Instance UID (0020,000E) of their own each"
_NONE = "no Series Instance UID (0020,000E)"
_FEWEST_UNNUMBERED = 5  # planes: three or four of different patients may well be evenly spaced
_NAMED = 5  # files that a finding names; the others are counted


class Group(NamedTuple):
    """Headers of one series. uid: "" where they have none. findings: on what their being one rests; an ERROR refuses it."""

    uid: str
    kind: str
    headers: list[Header]
    findings: tuple[Finding, ...] = ()


def group_into_series(headers: Iterable[Header], classify: Callable[[Header], str]) -> tuple[list[Group], list[Header]]:
    """Group headers into series.

    Args:
        headers: of all files.
        classify: gives the kind of a header, "image" for planes.

    Returns:
        The series, and headers without a Series Instance UID that may belong to one of those that have it.
    """
    with_uid: list[Header] = []
    without: list[Header] = []
    for header in headers:
        (with_uid if header.get("SeriesInstanceUID") else without).append(header)
    groups = _group_by_uid(with_uid, classify)
    known = {_kinship(header) for header in with_uid} if without else set()
    lost = [header for header in without if _kinship(header) in known]
    return [*groups, *_group_nameless([h for h in without if _kinship(h) not in known], classify)], lost


def _group_by_uid(headers: Iterable[Header], classify: Callable[[Header], str]) -> list[Group]:
    """The series of files with a Series Instance UID; those with one of their own each are joined where they are a row."""
    by_uid: dict[tuple[str, str], list[Header]] = defaultdict(list)
    for header in headers:
        by_uid[header.get("SeriesInstanceUID"), classify(header)].append(header)
    groups = [Group(uid, kind, members) for (uid, kind), members in by_uid.items()]
    alone = [group.headers[0] for group in groups if group.kind == "image" and len(group.headers) == 1]
    joined = _join(alone) if len(alone) >= FEWEST else []
    taken = {header for group in joined for header in group.headers}
    return [*(group for group in groups if group.headers[0] not in taken), *joined]


def _join(headers: Sequence[Header]) -> list[Group]:
    """The series among files that have a Series Instance UID of their own each."""
    frames = [frames_of(header) for header in headers if header.number_of_frames == 1]
    single = [members[0] for members in frames if len(members) == 1 and members[0].plane is not None]
    rows = [row for group in _group_alike(single) for row in _find_rows(group)]
    return [
        Group(min(h.get("SeriesInstanceUID") for h in members), "image", members, (_joined(members, _OWN),))
        for members in ([frame.header for frame in row] for row in rows)
    ]


def _find_rows(frames: list[Frame]) -> list[list[Frame]]:
    """The rows among planes that may be one series: all of them, or those of one folder each."""
    rows = []
    for group in split_by_geometry(frames):
        if _is_single_row(group):
            rows.append(group)
        else:
            folders = _partition(group, lambda frame: frame.path.parent)
            rows += [folder for folder in folders if len(folders) > 1 and _is_single_row(folder)]
    return rows


def _is_single_row(frames: Sequence[Frame]) -> bool:
    """Whether planes are one row, with one plane at each place; more of them where they are not numbered.

    One number for all is that of several series, each of which begins with it.
    """
    numbers = {frame.rank("InstanceNumber") for frame in frames}
    fewest = FEWEST if len(numbers) > 1 else _FEWEST_UNNUMBERED
    if (len(numbers) == 1 and None not in numbers) or len(frames) < fewest or why_no_row(frames):
        return False
    return all(len(place) == 1 for place in group_by_place(frames))


def _group_nameless(headers: Sequence[Header], classify: Callable[[Header], str]) -> list[Group]:
    """The series among files without Series Instance UID. A file of several frames is one."""
    planes: list[Frame] = []
    found: list[Group] = []
    for header in headers:
        kind = classify(header)
        frames = frames_of(header) if kind == "image" else []
        if len(frames) == 1:
            planes += frames
        else:
            found.append(Group("", kind, [header], (_joined([header], _NONE),)))
    for group in _group_alike(planes):
        with_place = [frame for frame in group if frame.plane is not None]
        parts = (*split_by_geometry(with_place), [frame for frame in group if frame.plane is None])
        found += [_make_nameless(part) for part in parts if part]
    return found


def _make_nameless(frames: Sequence[Frame]) -> Group:
    headers = [frame.header for frame in frames]
    return Group("", "image", headers, (_joined(headers, _NONE), *_refuse_several(frames)))


def _refuse_several(frames: Sequence[Frame]) -> list[Finding]:
    """The refusal of planes without Series Instance UID that may be of several series."""
    why = why_no_row(frames) if len(frames) > 1 else ""
    if not why:
        return []
    return [
        Finding(
            Code.SEVERAL_SERIES,
            f"{len(frames)} files have no Series Instance UID (0020,000E) and may be of several series: {why}",
            "Give the files of one series alone, or export them with their UIDs.",
            clause="PS3.3 C.7.3.1",
            where=tuple(frame.name for frame in frames[:_NAMED]),
        )
    ]


def _joined(headers: Sequence[Header], uid: str) -> Finding:
    """The finding on what a series rests. uid: what each file has for a Series Instance UID."""
    clause, where = "PS3.3 C.7.3.1", tuple(header.path.name for header in headers[:_NAMED])
    if len(headers) == 1:
        message = f"{headers[0].path.name} has no Series Instance UID (0020,000E), and was read as a series of its own"
        return Finding(Code.SERIES_JOINED, message, severity=Severity.INFO, clause=clause, where=where)
    return Finding(
        Code.SERIES_JOINED,
        f"the {len(headers)} files have {uid}; that they are one series was taken from their study, number, description "
        "and kind, and from their positions, which are one row",
        "If this was not done by anonymising them, they may be several series.",
        Severity.WARNING,
        clause,
        where,
    )


def _group_alike(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames that agree in all that is the same in a series, and in their study unless each has its own."""
    groups = _partition(frames, lambda frame: _identity(frame.header))
    return [part for group in groups for part in _split_studies(group)]


def _split_studies(frames: list[Frame]) -> list[list[Frame]]:
    studies = _partition(frames, lambda frame: frame.get("StudyInstanceUID"))
    return [frames] if len(studies) == len(frames) >= FEWEST else studies


def _partition(frames: Iterable[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return list(groups.values())


def _identity(header: Header) -> Hashable:
    return (header.patient, *map(header.get, _SAME_IN_SERIES))


def _kinship(header: Header) -> Hashable:
    """What a plane that has lost its Series Instance UID would still share with its series."""
    keywords = ("StudyInstanceUID", "SeriesNumber", "Modality", "SOPClassUID", "Rows", "Columns")
    return (header.patient, *map(header.get, keywords))
