"""Write masks as one DICOM SEG that refers to its source images.

Rules:
- highdicom writes the SEG; the voxels and their place are ours.
- Frames follow the planes of the source one to one; highdicom takes their place from the source's own attributes.
- Segment numbers count from 1 in the order of the labels, as the standard demands (PS3.3 C.8.20.2). Where that changes
  a label, a finding says so.
- Overlapping masks go into one SEG, each segment in its own frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.atomic_file import in_folder, in_place
from ..core.extras import imported
from ..core.findings import Code, Finding, Severity, refuse
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..volume.mask import Array, Concept, MaskVolume, Segment, require_block, smallest_unsigned
from .segments import LONGEST_TEXT, TISSUE, describe_segments
from .source import Copying, check_source, next_series_number, plan_copying, read_for_seg
from .uids import content_digest, content_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class WrittenSeg:
    """A SEG that was written.

    segments: in the order of their numbers. labels: pairs of a segment number and the label it has in the mask.
    """

    path: Path
    segments: tuple[Segment, ...]
    labels: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]


def write_seg(
    masks: Sequence[MaskVolume],
    source: Sequence[Frame],
    path: Path,
    *,
    toml: Path | None = None,
    policy: Policy | None = None,
    kind: Literal["BINARY", "LABELMAP"] = "BINARY",
    description: str = "",
    series_number: int | None = None,
) -> WrittenSeg:
    """Write masks on one grid as a SEG.

    Args:
        masks: on the grid of the source, each label in one of them only. They may overlap.
        source: the frames of the source, in the order of the planes.
        path: of the new file.
        toml: descriptions of the segments, see `encode.segments`.
        policy: has the limit in mm for the place of the planes, and says what is copied and stripped.
        kind: a LABELMAP holds no overlap, and fewer programs read it.
        description: of the series, cut to 64 characters.
        series_number: of the new series; made from that of the source when None.

    Returns:
        The segments as written, the numbers they got, and what was filled in or changed.

    Raises:
        NO_EXPORT_PACKAGE: highdicom is not installed.
        EXPORT_SOURCE, FRAME_OF_REFERENCE_DIFFERS: the masks do not lie on the source, or it lacks what a SEG repeats.
        SEGMENT_DESCRIPTION, NO_SUCH_INPUT: the TOML file cannot be used, or not be read.
        SEGMENTS_OVERLAP: two masks have one label; or they share voxels, and a LABELMAP was asked for.
        EMPTY: all voxels are background.
        OUTPUT_EXISTS, CANNOT_WRITE: the path is taken, or cannot be written.
    """
    highdicom = imported("seg", "highdicom")
    policy = policy or Policy()
    for mask in masks:
        check_source(mask.grid, source, policy)
    copying = plan_copying(source, policy)
    ordered = _segments_by_label(masks)
    segments, findings = describe_segments(ordered, toml)
    numbers = {segment.number: n + 1 for n, segment in enumerate(ordered)}
    digest = content_digest(masks, [copying.uid(frame.sop_instance_uid) for frame in source])
    images = _read_images(source, copying)
    findings = (*findings, *_fill_thickness(images, masks[0]))
    made = _make_seg(
        highdicom,
        source,
        images,
        pixel_array=_merge_pixels(masks, numbers, kind, source),
        segmentation_type=kind,
        segment_descriptions=[_describe(highdicom, s, numbers[s.number]) for s in _strip_segments(segments, policy)],
        series_instance_uid=content_uid(digest, kind, "seg series"),
        series_number=series_number if series_number is not None else next_series_number(source, 2),
        sop_instance_uid=content_uid(digest, kind, "seg"),
        series_description=escape_controls(description or "segmentation")[:LONGEST_TEXT],
    )
    with in_folder(path.parent), in_place(path, overwrite=False) as working:
        made.save_as(working)
    return WrittenSeg(
        path, segments, tuple((n, label) for label, n in numbers.items()), (*findings, *_remapped(numbers))
    )


def _strip_segments(segments: tuple[Segment, ...], policy: Policy) -> tuple[Segment, ...]:
    """Segments without names, where those are stripped."""
    if not policy.strips_names:
        return segments
    return tuple(replace(s, name=f"label {s.number}", algorithm=s.algorithm.split(" ")[0]) for s in segments)


def _segments_by_label(masks: Sequence[MaskVolume]) -> list[Segment]:
    """The segments of all masks, ordered by their labels. Raises SEGMENTS_OVERLAP where two have one label."""
    ordered = sorted((s for mask in masks for s in mask.segments), key=lambda s: s.number)
    labels = [segment.number for segment in ordered]
    repeated = [f"label {a}" for a, b in pairwise(labels) if a == b]
    if repeated:
        words = f"two of the masks hold the same label ({labels})"
        raise refuse(Code.SEGMENTS_OVERLAP, words, "Give each its own.", where=tuple(repeated))
    return ordered


def _make_seg(highdicom: Any, source: Sequence[Frame], images: list[Dataset], **what: Any) -> Any:
    """Let highdicom make the SEG. What it finds wrong with the source becomes a refusal in its own words."""
    if not source[0].get("FrameOfReferenceUID"):
        raise refuse(
            Code.EXPORT_SOURCE,
            f"{source[0].name} has no Frame of Reference UID, and a SEG must name that of its source",
            "It was probably taken out when the images were anonymised; export a DICOM series instead.",
            where=(source[0].name,),
            clause="PS3.3 A.51.3",
        )
    try:
        return highdicom.seg.Segmentation(
            source_images=images,
            instance_number=1,
            manufacturer="verimask",
            manufacturer_model_name="verimask",
            software_versions="verimask",
            device_serial_number="none",
            omit_empty_frames=True,
            **what,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise refuse(
            Code.EXPORT_SOURCE,
            f"highdicom cannot make a SEG of {source[0].path.name} and its series: {error}",
            "The source lacks what a SEG must repeat of it; export a DICOM series instead.",
            where=(source[0].path.name,),
        ) from error


def _read_images(source: Sequence[Frame], copying: Copying) -> list[Dataset]:
    """Read what highdicom copies patient, study and places from: a data set a plane, or the multi-frame instance."""
    first = source[0].header
    if first.number_of_frames > 1:
        is_whole = len(source) == first.number_of_frames and all(frame.header is first for frame in source)
        if not is_whole:
            raise refuse(
                Code.EXPORT_SOURCE,
                f"the source {first.path.name} has {first.number_of_frames} frames, of which {len(source)} are the planes",
                "A SEG can refer to a multi-frame image only as a whole; export a DICOM series instead.",
                where=(first.path.name,),
            )
        return [read_for_seg(first.path, copying)]
    return [read_for_seg(frame.path, copying) for frame in source]


def _fill_thickness(images: list[Dataset], mask: MaskVolume) -> list[Finding]:
    """Give images without Slice Thickness, which a SEG has to repeat, the distance between planes, and say so.

    The images are changed in place: they were read for this export, and nobody else has them.
    """
    without = [image for image in images if not image.get("SliceThickness")]
    if not without or "SharedFunctionalGroupsSequence" in images[0]:
        return []
    i, j, k = mask.grid.lps[:3, :3].T
    normal = np.cross(i, j)
    distance = round(float(normal @ k / np.linalg.norm(normal)), 6)
    for image in without:
        image.SliceThickness = distance
    return [
        Finding(
            Code.ASSUMED_THICKNESS,
            f"the source has no Slice Thickness; {distance:g} mm, the distance between its planes, is written in the SEG",
            severity=Severity.INFO,
            clause="PS3.3 C.7.6.16.2.1",
        )
    ]


def _merge_pixels(masks: Sequence[MaskVolume], numbers: dict[int, int], kind: str, source: Sequence[Frame]) -> Array:
    """Merge masks into (frames, rows, columns) of segment numbers.

    Overlapping masks give (frames, rows, columns, segments) of 0 and 1. Raises EMPTY, and SEGMENTS_OVERLAP where a
    LABELMAP is to hold them.
    """
    columns, rows, planes = masks[0].grid.shape
    labels = np.array([0, *numbers])  # ascending, as their segment numbers are: the place of a label is its number
    dtype = smallest_unsigned(len(numbers))
    frame_indices = [frame.number - 1 if source[0].header.number_of_frames > 1 else k for k, frame in enumerate(source)]
    require_block((columns, rows, planes), dtype)
    block = np.zeros((planes, rows, columns), dtype)
    shared = 0
    for mask in masks:
        for k, plane in zip(frame_indices, mask.voxels, strict=True):
            new = labels.searchsorted(plane).astype(dtype)
            shared += int(np.count_nonzero(block[k] & np.where(new, ~dtype.type(0), 0)))
            block[k] = np.where(new, new, block[k])
    if not block.any():
        raise refuse(
            Code.EMPTY,
            "every voxel of the mask is background; a SEG of nothing has no frame to write",
            "Check that this is the mask you meant; a DICOM series (--to series) can hold an empty one.",
            where=tuple(mask.name for mask in masks if mask.name),
        )
    if not shared:
        return block
    if kind == "LABELMAP":
        raise refuse(
            Code.SEGMENTS_OVERLAP,
            f"the masks share {shared} voxels, and a label map holds one label a voxel",
            "Write a BINARY segmentation: it keeps every segment in frames of its own.",
            where=tuple(mask.name for mask in masks if mask.name),
            measured=float(shared),
            limit=0.0,
            unit="voxels",
        )
    require_block((columns, rows, planes, len(numbers)), np.dtype(np.uint8))
    apart = np.zeros((planes, rows, columns, len(numbers)), np.uint8)
    for mask in masks:
        for k, plane in zip(frame_indices, mask.voxels, strict=True):
            for segment in mask.segments:
                apart[k, :, :, numbers[segment.number] - 1] = plane == segment.number
    return apart


def _describe(highdicom: Any, segment: Segment, number: int) -> Any:
    """The Segment Description of a segment as `describe_segments` gives it."""
    kind, _, name = segment.algorithm.partition(" ")
    coded = highdicom.sr.CodedConcept
    algorithm = None
    if kind != "MANUAL":
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=escape_controls(name) or "not stated",
            family=coded("261665006", "SCT", "Unknown"),
            version="not stated",
        )
    colour = highdicom.color.CIELabColor.from_rgb(*segment.colour) if segment.colour else None
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=escape_controls(segment.name)[:LONGEST_TEXT],
        segmented_property_category=_coded(coded, segment.category or TISSUE),
        segmented_property_type=_coded(coded, segment.type or TISSUE),
        algorithm_type=kind,
        algorithm_identification=algorithm,
        display_color=colour,
    )


def _coded(coded: Any, concept: Concept) -> Any:
    return coded(concept.value, concept.scheme, escape_controls(concept.meaning))


def _remapped(numbers: dict[int, int]) -> list[Finding]:
    """The finding that names the labels whose number had to change."""
    moved = {label: number for label, number in numbers.items() if label != number}
    if not moved:
        return []
    changes = ", ".join(f"{label} became {number}" for label, number in moved.items())
    return [
        Finding(
            Code.LABELS_REMAPPED,
            f"segment numbers of a SEG count from 1: label {changes}",
            severity=Severity.INFO,
            clause="PS3.3 C.8.20.2",
        )
    ]
