"""Decode DICOM SEG to masks: binary, fractional and label map segmentations (PS3.3 A.51, C.8.20).

Rules:
- Position decides where a frame lies; its number, its order in the file and its dimension indices decide nothing.
- Segments that share a voxel become one mask each. Nothing is ever overwritten.
- Voxel values are segment numbers. A fractional value becomes a label at a threshold, which a finding names, or is kept as it is.
- Each instance of a series has its own segment numbers, so each gives its own masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.findings import Code, Finding, refuse
from ...core.policy import Policy
from ...dicom.encoding import load
from ...dicom.scan import Series
from ...geometry.grid import Grid
from ...volume.mask import Image, Mask, Segment
from .instance import Combine, Fractional, Instance
from .segment_table import read_table


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSeg:
    """What one SEG series holds.

    Attributes:
        masks: on their grids.
        images: on their grids; only where fractional values were kept.
        residuals_mm: of every frame, in the order of the series: its largest corner distance to the grid, by its own
            equation (proof 1).
        fractional: whether one of the instances holds fractional values.
    """

    masks: tuple[Mask, ...]
    images: tuple[Image, ...]
    findings: tuple[Finding, ...]
    residuals_mm: tuple[float, ...]
    fractional: bool = False

    @property
    def residual_mm(self) -> float:
        return max(self.residuals_mm)


def accepts(series: Series) -> bool:
    """Return whether this decoder reads a series of this kind."""
    return series.kind == "seg"


def referenced_series_uids(series: Series) -> tuple[str, ...]:
    """List the Series Instance UIDs of the images the segmentation was made on (PS3.3 C.12.4), each once."""
    found: list[str] = []
    for header in series.headers:
        dataset = load(header.path, stop_before_pixels=True)
        found += [str(item.get("SeriesInstanceUID", "")) for item in dataset.get("ReferencedSeriesSequence") or ()]
    return tuple(dict.fromkeys(uid for uid in found if uid))


def segments_of(series: Series) -> list[Segment]:
    """List all segments of all instances, as described, with or without frames."""
    return [segment for header in series.headers for segment in read_table(header.path).segments]


def decode(
    series: Series,
    source_grid: Grid | None = None,
    *,
    policy: Policy | None = None,
    fractional: Fractional = 0.5,
    wanted: Sequence[str | int] | None = None,
    combine: Combine = "auto",
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

    Returns:
        The masks, or images of kept fractions, with the proof of every frame.

    Raises:
        PipelineError: NO_SUCH_SEGMENT, SEGMENTS_OVERLAP, DUPLICATE_POSITION, EMPTY, and all of the geometry.
        ValueError: for a threshold that is not above 0 and at most 1.
    """
    if not isinstance(fractional, str) and not 0 < fractional <= 1:
        raise ValueError(f"the fractional threshold is above 0 and at most 1, not {fractional}")
    instances = _read_instances(series, source_grid, policy or Policy(), fractional, wanted)
    masks: list[Mask] = []
    images: list[Image] = []
    findings: list[Finding] = []
    for instance in instances:
        chosen = instance.select(wanted)
        findings += [*instance.findings, *instance.findings_of(chosen)]
        if fractional == "keep" and instance.table.kind == "FRACTIONAL":
            images += [instance.image(segment) for segment in chosen if segment.number in instance.numbers]
        else:
            masks += instance.masks(chosen, combine, series.description)
    if not masks and not images:
        raise refuse(
            Code.EMPTY,
            f"{series.title} has no frame for the segments asked for",
            "Segments without frames are listed in the series' table; they are empty.",
            where=tuple(header.path.name for header in series.headers),
        )
    residuals = tuple(float(r) for instance in instances for r in instance.layout.residuals)
    has_fractions = any(instance.table.kind == "FRACTIONAL" for instance in instances)
    return DecodedSeg(tuple(masks), tuple(images), tuple(findings), residuals, has_fractions)


def _read_instances(
    series: Series,
    source_grid: Grid | None,
    policy: Policy,
    fractional: Fractional,
    wanted: Sequence[str | int] | None,
) -> list[Instance]:
    """Read the instances that have frames. All tables are read first, so that an unknown segment is refused at once."""
    tables = [read_table(header.path) for header in series.headers]
    _refuse_unknown(wanted, series, [segment for table in tables for segment in table.segments])
    instances = []
    for header, table in zip(series.headers, tables, strict=True):
        frames = [frame for frame in series.frames if frame.header is header]
        if frames:
            instances.append(Instance(header, frames, table, fractional, policy, source_grid))
    return instances


def _refuse_unknown(wanted: Sequence[str | int] | None, series: Series, segments: Sequence[Segment]) -> None:
    unknown = [w for w in wanted or () if not any(w in (s.number, s.name) for s in segments)]
    if unknown:
        raise refuse(
            Code.NO_SUCH_SEGMENT,
            "there is no segment " + ", ".join(f"“{w}”" for w in unknown),
            "There are: " + (", ".join(f"{s.number} “{s.name}”" for s in segments) or "none"),
            where=tuple(header.path.name for header in series.headers),
        )
