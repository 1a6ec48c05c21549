"""Find what is to be explained among the inputs, lay it on its grid, and explain it: images, SEG or RTSTRUCT.

Rules:
- The grid is found as a conversion finds it, so that what is explained is what would be written.
- Of a series of several volumes each is explained; those on the same grid together.
- A stack that leans is explained as it leans: nothing is written here that could go wrong by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..conversion.looks import Looks
from ..conversion.one_series import chosen_part
from ..conversion.option_effects import Asked
from ..conversion.request import Request
from ..conversion.seg_sources import SegPart, parts_by_source
from ..conversion.source import Source
from ..core.findings import Code, PipelineError, refuse
from ..core.limits import SAME_PLACE_MM
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..decode.seg.instance import Instance
from ..decode.seg.segment_table import read_table
from ..decode.seg.source_images import SourceImages, evidence_of
from ..dicom import split_volumes
from ..dicom.frame import Frame
from ..dicom.header import Header
from ..dicom.scan import Scan, Series, choose, left_out_beside, scan
from ..dicom.split_volumes import Part
from ..geometry.affine import corner_distance
from ..geometry.grid import Grid
from ..stacking.laid_frames import LaidFrames
from ..stacking.stack_frames import lay_frames
from .explain import explain
from .explain_seg import describe_seg
from .explain_structure_set import explain_structure_set, structure_set_in

_POLICY = Policy(on_tilt="shear")


class Wanted(NamedTuple):
    """What is to be explained: UID, number or description of a series, number or name of a part, and a mask's source."""

    series: str | None = None
    part: str | None = None
    source: tuple[Path, ...] = ()


class Explanation(NamedTuple):
    """text: for a person. record: the same for a program. name: of the volumes it holds for, "" where there is one."""

    text: str
    record: dict[str, Any]
    name: str = ""


def explain_inputs(inputs: Sequence[Path], wanted: Wanted) -> list[Explanation]:
    """Explain one series among the inputs.

    Args:
        inputs: folders or files, with the source of a mask among them or not.
        wanted: which series and part, and the source where it lies elsewhere.

    Returns:
        One explanation, or one for each grid of a series of several volumes or SEG instances.

    Raises:
        PipelineError: IDLE_OPTION for an option without effect on such a series, EMPTY for a SEG
            without frames, and what finding and laying a series is refused for.
    """
    found = scan(inputs)
    series = structure_set_in(found, wanted.series) or choose(found, wanted.series)
    left_out_beside(found, series, _POLICY)
    if series.kind in ("seg", "rtstruct"):
        _refuse_idle("--part", wanted.part is not None, f"a {series.kind.upper()} has no parts")
    if series.kind == "seg":
        return _explain_seg(found, series, wanted)
    if series.kind == "rtstruct":
        explained = explain_structure_set(found, series, _asked(wanted))
        return [Explanation(explained.text, explained.record)]
    if not series.frames:
        words = f"{series.title} is of kind {series.kind}: it holds no planes"
        raise refuse(Code.NOT_CONVERTIBLE, words, "Give the images, or look with verimask series.", where=(series.uid,))
    _refuse_idle("--source", bool(wanted.source), "images have a grid of their own")
    return _explain_images(series, wanted.part)


def _asked(wanted: Wanted) -> Asked:
    """What a conversion of the mask would be asked for."""
    return Asked(Request(source=wanted.source), _POLICY, gzipped=False, in_one=False, looks=Looks())


def _refuse_idle(option: str, is_given: bool, why: str) -> None:
    if is_given:
        raise refuse(Code.IDLE_OPTION, f"{option} has no effect here: {why}", "Leave it out.", where=(option,))


def _title(series: Series) -> str:
    return series.title[:1].upper() + series.title[1:]


def _explain_images(series: Series, wanted: str | None) -> list[Explanation]:
    """Explain one volume, or each grid of several."""
    parts = split_volumes.split(series.frames)
    if wanted is not None or len(parts) == 1:
        laid_frames = lay_frames(chosen_part(series, wanted).frames, _POLICY, series.title)
        return [_explain_laid(laid_frames, _title(series), ())]
    alike, refused = _lay_parts(parts, series)
    if not alike:
        raise refused[0][1]
    made = []
    for laid_frames, names in alike:
        which = "" if len(names) == len(parts) else _enumerate(names)
        title = f"{_title(series)}, {which}" if which else _title(series)
        about = [
            "What the series holds",
            f"  {len(parts)} volumes, such as time points, echoes or phases. "
            + (
                f"What follows holds for {which}."
                if which
                else "All lie on one grid: one affine holds for each of them."
            ),
            *(f"  {_name(part)}: {len(part.frames)} planes" for part in parts),
            *(f"  {name} cannot be laid on a grid: {error.finding.message}" for name, error in refused),
            "",
        ]
        made.append(_explain_laid(laid_frames, title, about)._replace(name=_enumerate(names)))
    return made


def _lay_parts(
    parts: Sequence[Part], series: Series
) -> tuple[list[tuple[LaidFrames, list[str]]], list[tuple[str, PipelineError]]]:
    """Lay every volume of a series: each grid with the volumes that lie on it, and what others are refused for."""
    alike: list[tuple[LaidFrames, list[str]]] = []
    refused: list[tuple[str, PipelineError]] = []
    for part in parts:
        try:
            laid_frames = lay_frames(part.frames, _POLICY, series.title)
        except PipelineError as error:
            refused.append((_name(part), error))
            continue
        same = next((names for other, names in alike if _is_same(other.grid, laid_frames.grid)), None)
        if same is None:
            alike.append((laid_frames, [_name(part)]))
        else:
            same.append(_name(part))
    return alike, refused


def _name(part: Part) -> str:
    return f"part {part.number} ({escape_controls(part.name)})" if part.name else f"part {part.number}"


def _enumerate(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _is_same(one: Grid, other: Grid) -> bool:
    return one.shape == other.shape and corner_distance(one.lps, other.lps, one.shape) <= SAME_PLACE_MM


def _explain_laid(laid_frames: LaidFrames, title: str, about: Sequence[str]) -> Explanation:
    first = next(frame for frame in laid_frames.frames if frame.plane is not None)  # laid frames have planes
    grid = laid_frames.stack.grid
    text = explain(grid, first.known_plane, title=title, said_by=_said_by(first), about=about)
    return Explanation(text, _as_json(laid_frames.grid))


def _as_json(grid: Grid) -> dict[str, Any]:
    return {"Affine": grid.ras.tolist(), "AffineLPS": grid.lps.tolist(), "Shape": list(grid.shape)}


def _said_by(frame: Frame) -> str:
    """What holds the numbers of a frame's plane."""
    if frame.tile:
        return "the header and the Siemens CSA header"
    return "the functional groups of its frames" if frame.header.frames else "the headers"


def _explain_seg(found: Scan, series: Series, wanted: Wanted) -> list[Explanation]:
    """Explain each instance of a SEG, on the grid of its source where that is known and its frames lie on it."""
    parts = parts_by_source(series, found, _asked(wanted))
    made = [
        _explain_instance(series, part, header, frames)
        for part in parts
        for header in part.series.headers
        if (frames := [frame for frame in part.series.frames if frame.header is header])
    ]
    if not made:
        raise refuse(
            Code.EMPTY,
            f"{series.title} has no frames",
            "A SEG without frames has no mask, and no place.",
            where=tuple(header.path.name for header in series.headers),
        )
    return made


def _explain_instance(series: Series, part: SegPart, header: Header, frames: Sequence[Frame]) -> Explanation:
    """Explain the frames of one instance that lie on one source."""
    source, several = part.source, len(series.headers) > 1
    instance = _place_on(source, part, header, frames)
    if source is not None and instance.source is None:
        source = None
    title = f"{_title(series)}, {escape_controls(header.path.name)}" if several else _title(series)
    about = describe_seg(instance, "" if source is None else source.series.title)
    if source is None:
        first = frames[int(instance.layout.at.argmin())]
        text = explain(instance.layout.grid, first.known_plane, title=title, said_by=_said_by(first), about=about)
    else:
        text = _explain_on_source(source, title, about)
    return Explanation(text, _as_json(instance.layout.grid), header.path.name if several else "")


def _place_on(source: Source | None, part: SegPart, header: Header, frames: Sequence[Frame]) -> Instance:
    """Place frames on the grid of their source; on their own where there is none, or they do not lie on it."""
    table = read_table(header.path)
    if source is not None:
        images = SourceImages(source.laid_frames.frames, source.series.uid, part.named)
        evidence = evidence_of(part.named[header.path], frames, images) if part.named else ""
        try:
            return Instance(header, frames, table, 0.5, _POLICY, source.grid, evidence)
        except PipelineError as error:
            if error.finding.code is not Code.OFF_SOURCE_GRID:
                raise
    return Instance(header, frames, table, 0.5, _POLICY, None)


def _explain_on_source(source: Source, title: str, about: Sequence[str]) -> str:
    """Explain a mask on the grid of its source, whose own first plane is quoted."""
    first = source.laid_frames.frames[0]
    said_by = f"{_said_by(first)} of the source"
    return explain(
        source.laid_frames.stack.grid,
        first.known_plane,
        title=f"{title}, on {source.series.title}",
        said_by=said_by,
        about=about,
    )
