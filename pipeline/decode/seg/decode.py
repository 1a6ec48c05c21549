"""Decode DICOM SEG to masks: binary, fractional and label map segmentations (PS3.3 A.51, C.8.20).

Rules:
- Position decides where a frame lies; its number, its order in the file and its dimension indices decide nothing.
- Segments that share a voxel become one mask each. Nothing is ever overwritten.
- Voxel values are segment numbers. A fractional value becomes a label at a threshold, which a finding names, or is kept as it is.
- Each instance of a series has its own segment numbers, so each gives its own masks.
- An instance without frames says that nothing was segmented. It has no place of its own, so its empty mask needs a source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core.findings import Code, Finding, PipelineError, refuse
from ...core.plain_text import escape_controls
from ...core.policy import Policy
from ...dicom.frame import Frame
from ...dicom.header import Header
from ...dicom.scan import Series
from ...geometry.grid import Grid
from ...volume.mask import ImageVolume, MaskVolume, Segment, Voxels, smallest_unsigned
from .instance import Combine, Fractional, Instance
from .segment_findings import without_pixels
from .segment_table import SegmentTable, read_table
from .source_images import NamedSources, SourceImages, evidence_of, refuse_contradiction


class ShownSegments(NamedTuple):
    """The segments that a mask or image shows. path: of their instance. numbers: in it, each with its voxel value."""

    path: Path
    numbers: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, instance: Instance, segments: Sequence[Segment]) -> ShownSegments:
        stored = [(s.number if s.source_value is None else s.source_value, s.number) for s in segments]
        unseen = instance.table.background if instance.is_labelmap else ()
        return cls(instance.header.path, tuple(pair for pair in stored if pair[0] not in unseen))


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSeg:
    """What one SEG series holds.

    Attributes:
        masks: on their grids.
        images: on their grids; only where fractional values were kept.
        residuals_mm: of every frame, in the order of the series: its largest corner distance to the grid, by its own
            equation (proof 1).
        fractional: whether one of the instances holds fractional values.
        evidence: what shows that every instance was made on the images given, whatever Frame of Reference it names.
        shown: what each mask, then each image, shows; none for the mask of instances without frames.
    """

    masks: tuple[MaskVolume, ...]
    images: tuple[ImageVolume, ...]
    findings: tuple[Finding, ...]
    residuals_mm: tuple[float, ...]
    fractional: bool = False
    evidence: str = ""
    shown: tuple[ShownSegments, ...] = ()

    @property
    def residual_mm(self) -> float:
        return max(self.residuals_mm, default=0.0)


def segments_of(series: Series, read: Callable[[Path], SegmentTable] = read_table) -> list[Segment]:
    """List all segments of all instances, as described, with or without frames. read: gives the table of a file."""
    return [segment for header in series.headers for segment in read(header.path).segments]


def decode(
    series: Series,
    source_grid: Grid | None = None,
    *,
    policy: Policy | None = None,
    fractional: Fractional = 0.5,
    wanted: Sequence[str | int] | None = None,
    combine: Combine = "auto",
    images: SourceImages | None = None,
    read: Callable[[Path], SegmentTable] = read_table,
) -> DecodedSeg:
    """Make the masks of a SEG series, on the source's grid or on the one that its frames span.

    Args:
        series: of SEG instances.
        source_grid: grid of the images the segmentation was made on; None to span one by the frames.
        policy: gives the limits of the geometry; the default policy when None.
        fractional: a value of at least this part of Maximum Fractional Value is inside; "keep" gives images instead.
        wanted: segment numbers or labels; all of them when None.
        combine: "auto" gives one mask of several labels, or one mask a segment where two share a voxel; "separate"
            always gives one each; "merge" always gives one, and is refused where two share a voxel.
        images: the source images, to hold what the frames name as their source against where they lie.
        read: gives the table of a file; for whoever has read it before.

    Returns:
        The masks, or images of kept fractions, with the proof of every frame.

    Raises:
        PipelineError: NO_SUCH_SEGMENT, SEGMENTS_OVERLAP, DUPLICATE_POSITION, SOURCE_CONTRADICTS, EMPTY, NOT_CONVERTIBLE
            for tiles of a slide, and all of the geometry.
        ValueError: for a threshold that is not above 0 and at most 1.
    """
    if not isinstance(fractional, str) and not 0 < fractional <= 1:
        raise ValueError(f"the fractional threshold is above 0 and at most 1, not {fractional}")
    policy = policy or Policy()
    # All tables first, so that an unknown segment is refused at once.
    tables = [read(header.path) for header in series.headers]
    refuse_unknown(wanted, series, [segment for table in tables for segment in table.segments])
    instances = _read_instances(series, tables, source_grid, policy, fractional, images)
    findings = _note_instances_without_frames(series, tables, instances)
    masks, kept = dict[MaskVolume, ShownSegments](), dict[ImageVolume, ShownSegments]()  # in their order
    for instance in instances:
        chosen = instance.select(wanted)
        findings += [*instance.findings, *instance.findings_of(chosen)]
        own = instance.masks(chosen, combine, series.description)
        masks |= {mask: ShownSegments.of(instance, mask.segments) for mask in own}
        kept |= {image: ShownSegments.of(instance, [segment]) for segment, image in instance.images(chosen)}
    if not instances and policy.allow_empty and source_grid is not None:
        return DecodedSeg((_empty_mask(series, tables, source_grid, wanted),), (), tuple(findings), ())
    if not masks and not kept:
        raise _no_frames(series, has_some=bool(instances))
    residuals = tuple(float(r) for instance in instances for r in instance.layout.residuals)
    has_fractions = any(table.kind == "FRACTIONAL" for table in tables)
    evidence = min((instance.evidence for instance in instances), key=len, default="")  # "" if one has none
    shown = (*masks.values(), *kept.values())
    return DecodedSeg(tuple(masks), tuple(kept), tuple(findings), residuals, has_fractions, evidence, shown)


def _note_instances_without_frames(
    series: Series, tables: Sequence[SegmentTable], instances: Sequence[Instance]
) -> list[Finding]:
    held = {instance.header for instance in instances}
    tables_of = zip(series.headers, tables, strict=True)
    return [without_pixels(h.path.name, t.segments) for h, t in tables_of if h not in held and t.segments]


def frames_held(series: Series, header: Header) -> list[Frame]:
    """List the frames of one instance; none where it says so: no pixels, and no functional groups of a frame."""
    if not header.frames and (not header.has_pixels or header.pixel_length == 0):
        return []
    return [frame for frame in series.frames if frame.header is header]


def _read_instances(
    series: Series,
    tables: Sequence[SegmentTable],
    source_grid: Grid | None,
    policy: Policy,
    fractional: Fractional,
    images: SourceImages | None,
) -> list[Instance]:
    """Read the instances that have frames, each held against the images it names."""
    instances = []
    for header, table in zip(series.headers, tables, strict=True):
        _refuse_tiles(header, table)
        frames = frames_held(series, header)
        if not frames:
            continue
        evidence = ""
        if images is not None:
            named = images.named.get(header.path) or NamedSources.of(header.path)
            refuse_contradiction(named, frames, images, policy)
            evidence = evidence_of(named, frames, images)
        instances.append(Instance(header, frames, table, fractional, policy, source_grid, evidence))
    return instances


def _empty_mask(
    series: Series, tables: Sequence[SegmentTable], grid: Grid, wanted: Sequence[str | int] | None
) -> MaskVolume:
    """Make the mask of a SEG without frames. Where several instances use a number, the first names it."""
    segments = {
        s.number: s for t in reversed(tables) for s in t.segments if wanted is None or {s.number, s.name} & {*wanted}
    }
    columns, rows, _ = grid.shape
    dtype = smallest_unsigned(max(segments, default=1))
    voxels = Voxels(grid.shape, dtype, lambda k: np.zeros((rows, columns), dtype), lambda k: True)
    chosen = tuple(segments[number] for number in sorted(segments))
    return MaskVolume(voxels, grid, chosen, chosen[0].name if len(chosen) == 1 else series.description)


def _no_frames(series: Series, *, has_some: bool) -> PipelineError:
    if has_some:
        words = f"{series.title} has no frame for the segments asked for"
        hint = "They are empty; the series' table lists them. --allow-empty writes an empty mask all the same."
    else:
        words = f"{series.title} has no frames: nothing was segmented"
        hint = (
            "It has no place of its own either: give --source and --allow-empty for an empty mask on the images' grid."
        )
    return refuse(Code.EMPTY, words, hint, where=tuple(header.path.name for header in series.headers))


def _refuse_tiles(header: Header, table: SegmentTable) -> None:
    """Refuse the segmentation of a slide: its frames are tiles, and lie on the slide, not in a patient."""
    if table.tiles:
        raise refuse(
            Code.NOT_CONVERTIBLE,
            f"{header.path.name} is a segmentation of a slide (whole slide microscopy): its frames are tiles ({table.tiles}) "
            "that lie on the slide, not in a patient, and NIfTI has a place in the patient only",
            "Read it with a program for slides, such as highdicom or QuPath.",
            where=(header.path.name,),
            clause="PS3.3 C.7.6.17.3",
        )


def refuse_unknown(wanted: Sequence[str | int] | None, series: Series, segments: Sequence[Segment]) -> None:
    """Refuse a segment that was asked for and is not there.

    Args:
        wanted: numbers or labels; None for all.
        series: for messages.
        segments: that there are.

    Raises:
        PipelineError: NO_SUCH_SEGMENT.
    """
    unknown = [w for w in wanted or () if not any(w in (s.number, s.name) for s in segments)]
    if unknown:
        raise refuse(
            Code.NO_SUCH_SEGMENT,
            "there is no segment " + ", ".join(f"“{w}”" for w in unknown),
            "There are: " + (", ".join(f"{s.number} “{escape_controls(s.name)}”" for s in segments) or "none"),
            where=tuple(header.path.name for header in series.headers),
        )
