"""Drop planes that lie where another does: copies of it, or others too where the policy says which wins.

Rules:
- A copy (`dicom.copies`) is dropped with a finding: nothing is lost with it. Planes at one place that differ are refused,
  unless --on-duplicate says which wins; with "refuse" nothing is dropped, and `defects` refuses the doubles by name.
- Which frame wins does not depend on the names of the files.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..dicom.copies import age, are_at_one_place, find_copies, find_difference
from ..dicom.frame import Frame
from ..dicom.plane_rows import group_by_place
from ..dicom.slice_major import rank_repeats

_CLAUSE = "PS3.3 C.7.6.2.1.1"
_Dropped = list[tuple[Frame, Frame, bool]]  # a frame, the one that is kept in its place, and whether they are copies


def drop_duplicates(frames: Sequence[Frame], policy: Policy) -> tuple[list[Frame], list[Finding]]:
    """Keep one frame a position, in the order given, and say which were dropped.

    Raises DUPLICATE_POSITION or SEVERAL_VOLUMES where doubles differ and the policy does not say which wins.
    """
    places = group_by_place(frames)
    if policy.on_duplicate == "refuse" or len(places) == len(frames):
        return list(frames), []
    copies = find_copies(frames)
    kept: set[Frame] = set()
    dropped: _Dropped = []
    for place in places:
        winners: list[Frame] = []
        for frame in sorted(place, key=age, reverse=policy.on_duplicate == "last"):
            twin = next((w for w in winners if are_at_one_place(w, frame)), None)
            if twin is None:
                winners.append(frame)
                continue
            is_copy = copies.get(frame, frame) is copies.get(twin, twin)
            if not is_copy and policy.on_duplicate == "drop":
                if len(places) == 1:  # no volume at all: `fit_frames` says so
                    return list(frames), []
                raise _refuse_different(frames, places, frame, twin)
            dropped.append((frame, twin, is_copy))
        kept.update(winners)
    return [f for f in frames if f in kept], _describe_dropped(dropped)


def _refuse_different(
    frames: Sequence[Frame], places: Sequence[Sequence[Frame]], frame: Frame, twin: Frame
) -> PipelineError:
    """The refusal of planes at one place that differ: of whole volumes, or of single planes."""
    counts = {len(place) for place in places}
    if len(counts) == 1:
        ranked = rank_repeats(frames)
        why = ranked.contradiction if ranked is not None else ""
        return refuse(
            Code.SEVERAL_VOLUMES,
            f"each of the {len(places)} positions occurs {counts.pop()} times: these are volumes (time points, echoes or "
            "phases) in one series, and "
            + (
                f"their order by Instance Number (0020,0013) is contradicted: {why}"
                if why
                else "nothing tells them apart"
            ),
            "No attribute gives every position once (time, echo, b-value, image type, acquisition, Instance Number). "
            "Give the files of one volume alone, or keep one plane a position with --on-duplicate first or last.",
            where=(twin.name, frame.name),
            clause=_CLAUSE,
            measured=len(frames) / len(places),
            limit=1,
            unit="volumes",
        )
    difference = find_difference(twin, frame)
    how = f"differ in their {difference}" if difference else "look the same, as planes of two volumes may"
    return refuse(
        Code.DUPLICATE_POSITION,
        f"{twin.name} and {frame.name} lie at one position and {how}",
        "Two volumes may share the series: give the files of one alone. Or say which plane wins: --on-duplicate first or "
        "last (by Instance Number).",
        where=(twin.name, frame.name),
        clause=_CLAUSE,
    )


def _describe_dropped(dropped: _Dropped) -> list[Finding]:
    """A finding for the copies that were dropped, and one for planes that differ from those kept."""
    copies = [(frame, twin) for frame, twin, is_copy in dropped if is_copy]
    others = [(frame, twin) for frame, twin, is_copy in dropped if not is_copy]
    return [
        Finding(
            Code.DUPLICATE_DROPPED,
            _count_dropped(pairs) + f", with {pixels} pixels",
            severity=Severity.WARNING,
            where=tuple(frame.name for frame, _ in pairs),
            clause=_CLAUSE,
        )
        for pairs, pixels in ((copies, "the same"), (others, "other"))
        if pairs
    ]


def _count_dropped(pairs: Sequence[tuple[Frame, Frame]]) -> str:
    frame, twin = pairs[0]
    if frame.name == twin.name:  # the same export in two folders
        first, second = (f"{f.path.parent.name}/{f.name}" for f in (frame, twin))
    else:
        first, second = frame.name, twin.name
    if len(pairs) == 1:
        return f"{first} was dropped: it lies where {second} does"
    return f"{len(pairs)} planes were dropped, each of which lies where another does; the first is {first}, at {second}"
