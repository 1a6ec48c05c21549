"""Choose the images that each segment of a DICOM SEG lies on.

Rules:
- Images are found by what the SEG's frames name (PS3.3 C.7.6.16.2.6), else by the series it refers to (C.12.2), else by its
  Frame of Reference. What is found by the last alone, and was not given, counts only where the frames lie on its grid.
- Where several series are left, each segment goes to those that its frames name, and of these to the one whose grid they lie
  on. Series with one and the same grid are one choice.
- What was chosen, or that nothing was, is said; several that are left are refused with their names where one must be meant.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ..core.findings import Code, Finding, PipelineError, Severity
from ..core.policy import Policy
from ..decode.seg import decode as seg
from ..decode.seg.grid import lies_on
from ..decode.seg.source_images import NamedSources, SourceImages, evidence_of
from ..dicom.frame import Frame
from ..dicom.header import Header
from ..dicom.scan import Scan, Series
from .looks import Looks
from .option_effects import Asked
from .source import Source, images_in, lay_source
from .source_choice import SourceReferences, choose_source, several_sources


class SegPart(NamedTuple):
    """Frames of a SEG that lie on one source. series: of these frames only. source: None for their own grid.

    numbers: of the segments they show; None for all that there are. named: by file, what its instances name as their source.
    """

    series: Series
    source: Source | None
    findings: tuple[Finding, ...] = ()
    numbers: frozenset[int] | None = None
    named: Mapping[Path, NamedSources] = MappingProxyType({})


class _Search(NamedTuple):
    """Where sources are looked for. must: whether a source was given or named, so that not finding one is a refusal."""

    scanned: Scan
    policy: Policy
    looks: Looks
    must: bool


class _Group(NamedTuple):
    """Frames of one instance that name the same series."""

    frames: tuple[Frame, ...]
    named: NamedSources
    candidates: tuple[Series, ...]


def parts_by_source(series: Series, found: Scan, asked: Asked) -> list[SegPart]:
    """Divide a SEG series by the images that its segments lie on: nearly always one part.

    Args:
        series: of kind "seg".
        found: where the source is looked for if none was given.
        asked: which source, and every tolerance.

    Returns: the parts, which together have every frame; all of the series where there is one.

    Raises: PipelineError SEVERAL_SERIES where several series could be the source, and what `find_source` refuses.
    """
    given = asked.request.source
    scanned, images = images_in(found, given, asked.looks)
    headers = series.headers if images else ()
    by_file = {header.path: NamedSources.of(header.path) for header in headers}
    uids = frozenset().union(*(named.image_uids for named in by_file.values()))
    series_uids = frozenset().union(*(named.series_uids for named in by_file.values()))
    frame_uid = series.frame_of_reference_uid
    references = SourceReferences((), series_uids, (), frame_uid if given else "")
    by_name = _holding(images, uids) or choose_source(images, references).candidates or (images if given else [])
    if len(by_name) == 1:
        return [SegPart(series, lay_source(scanned, by_name[0], asked.policy, asked.looks, uids), named=by_file)]
    candidates = by_name or choose_source(images, SourceReferences(frame_of_reference_uid=frame_uid)).candidates
    search = _Search(scanned, asked.policy, asked.looks, bool(by_name))
    groups = [group for header in headers for group in _groups(series, header, by_file[header.path], candidates)]
    if not groups and search.must:  # there is no frame that could decide
        raise several_sources(candidates, "this mask")
    if not groups or not candidates:
        return [SegPart(series, None)]
    parts = _joined(series, [(group, *_choose(group, search)) for group in groups])
    return [part._replace(named=by_file) for part in parts]


def _holding(images: Sequence[Series], uids: frozenset[str]) -> list[Series]:
    """List the series that hold one of the images."""
    return [series for series in images if series.holds_some_of_each([uids])]


def _groups(series: Series, header: Header, named: NamedSources, candidates: Sequence[Series]) -> list[_Group]:
    """Divide the frames of one instance by the series that their segments name; a segment that names none may be on any."""
    held = {s: {frame.sop_instance_uid for frame in s.frames} for s in candidates}
    frames = seg.frames_held(series, header)
    by_segment: dict[int | None, list[Frame]] = {}
    for frame in frames:
        by_segment.setdefault(frame.segment_number, []).append(frame)
    groups: dict[tuple[Series, ...], list[Frame]] = {}
    for members in by_segment.values():
        images = {name.uid for frame in members for name in named.of_frame(frame)}
        mine = [s for s in candidates if images & held[s]] or list(candidates)
        if len(mine) > 1:  # as where frames of a fusion name the images of both: the series it refers to decides
            mine = choose_source(mine, SourceReferences((), named.series_uids)).candidates or mine
        groups.setdefault(tuple(mine), []).extend(members)
    return [_Group(tuple(members), named, mine) for mine, members in groups.items()]


def _choose(group: _Group, search: _Search) -> tuple[Source | None, tuple[Finding, ...]]:
    """Choose the source of one group: the one it names, or the one whose grid its frames lie on."""
    if len(group.candidates) == 1 and search.must:
        return _lay(group, group.candidates[0], search), ()
    fitting = [source for series in group.candidates if (source := _fitting(group, series, search)) is not None]
    if not fitting or not all(_same_grid(fitting[0], other) for other in fitting):
        if search.must:
            why = "the frames lie on the grid of " + ("none of them" if not fitting else "several")
            raise several_sources([s.series for s in fitting] or group.candidates, f"this mask: {why}")
        return None, (_none_chosen(group, [s.series for s in fitting]),) if fitting else ()
    return fitting[0], (_report_choice(group, fitting, search),)


def _lay(group: _Group, series: Series, search: _Search) -> Source:
    return lay_source(search.scanned, series, search.policy, search.looks, group.named.image_uids)


def _fitting(group: _Group, series: Series, search: _Search) -> Source | None:
    """Lay a series on its grid where it has one and the frames lie on it."""
    try:
        source = _lay(group, series, search)
    except PipelineError:
        return None
    evidence = evidence_of(group.named, group.frames, SourceImages(source.laid_frames.frames, series.uid))
    return source if lies_on(group.frames, source.grid, search.policy, evidence) else None


def _same_grid(one: Source, other: Source) -> bool:
    return one.grid.shape == other.grid.shape and bool((one.grid.lps == other.grid.lps).all())


def _report_choice(group: _Group, fitting: Sequence[Source], search: _Search) -> Finding:
    """Say which series was taken, and why."""
    taken, others = fitting[0].series, len(group.candidates) - 1
    why = "the frames lie on its grid" + (f" and not on that of {others} other series" if others else "")
    if len(fitting) > 1:
        titles = ", ".join(source.series.title for source in fitting[1:])
        why = f"the frames lie on its grid, which is that of {titles} too"
    lacks = "" if search.must else "the segmentation names no series that is here; "
    return Finding(
        Code.SOURCE_CHOSEN,
        f"{lacks}{taken.title} was taken as its source: {why}",
        "Give --source another one if it was made on that.",
        Severity.INFO,
        where=(taken.uid,),
        clause="PS3.3 C.12.2",
    )


def _none_chosen(group: _Group, fitting: Sequence[Series]) -> Finding:
    titles = ", ".join(series.title for series in fitting)
    return Finding(
        Code.SOURCE_CHOSEN,
        f"the segmentation names no series that is here, and its frames lie on the grids of several: {titles}; it was put "
        "on the grid of none",
        "Give --source the folder of the one it was made on, to have its grid.",
        Severity.INFO,
        where=tuple(series.uid for series in fitting),
        clause="PS3.3 C.12.2",
    )


def _joined(series: Series, chosen: Sequence[tuple[_Group, Source | None, tuple[Finding, ...]]]) -> list[SegPart]:
    """Put groups that lie on one source together: all of the series where there is one, else each instance by itself."""
    if len({_volume_of(source) for _, source, _ in chosen}) == 1:
        found = tuple(dict.fromkeys(finding for _, _, findings in chosen for finding in findings))
        return [SegPart(series, chosen[0][1], found)]
    together: dict[Hashable, list[tuple[_Group, Source | None, tuple[Finding, ...]]]] = {}
    for one in chosen:
        together.setdefault((one[0].frames[0].header, _volume_of(one[1])), []).append(one)
    return [_part_of(series, members) for members in together.values()]


def _volume_of(source: Source | None) -> Hashable:
    """What tells the volumes of all series apart; None for no source."""
    return None if source is None else source.laid_frames.frames


def _part_of(series: Series, members: Sequence[tuple[_Group, Source | None, tuple[Finding, ...]]]) -> SegPart:
    """Make one part of the groups of one instance that lie on one source."""
    frames = tuple(frame for group, _, _ in members for frame in group.frames)
    numbers = {frame.segment_number for frame in frames}
    shown = None if None in numbers else frozenset(n for n in numbers if n is not None)
    found = tuple(dict.fromkeys(finding for _, _, findings in members for finding in findings))
    return SegPart(replace(series, frames=frames, headers=(frames[0].header,)), members[0][1], found, shown)
