"""Read what a mask series says of the images it was made on, from its files but without its pixels or contours.

Rules:
- A structure set says it in its Referenced Frame of Reference Sequence (PS3.3 C.8.8.5), a SEG in its Referenced Series
  Sequence (C.12.2), else in the Derivation Image Sequence of its frames (C.7.6.16.2.6), planes in their Source Image Sequence
  (C.7.6.1.1.4). A Mimics bundle holds UIDs of the planes that it was made on.
- What cannot be read says nothing here: whoever converts the file refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..decode.rtstruct.structure_set import list_referenced_series
from ..decode.seg.source_images import NamedSources
from ..dicom.encoding import load
from ..dicom.scan import Series
from ..mimics.bundle import read_bundle
from .product import Entry
from .source_choice import SourceReferences

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_OF_SERIES = ("ReferencedSeriesSequence", "SourceImageSequence")
_OF_STRUCTURES = ("ReferencedFrameOfReferenceSequence", "StructureSetROISequence")


def references_of(entry: Entry) -> tuple[SourceReferences, ...]:
    """Read what a mask says of its source.

    Args:
        entry: a structure set, SEG, series of planes, or bundle.

    Returns: a statement for each Frame of Reference or file that says something.
    """
    try:
        if entry.series.kind == "bundle":
            return tuple(_of_bundle(entry.path))
        read = _of_structures if entry.series.kind == "rtstruct" else _of_instances
        return tuple(read(entry.series))
    except Exception:  # whoever converts it says what is wrong with it
        return (SourceReferences(frame_of_reference_uid=entry.series.frame_of_reference_uid),)


def _of_structures(series: Series) -> Iterator[SourceReferences]:
    for header in series.headers:
        dataset = load(header.path, specific_tags=[*_OF_STRUCTURES])
        for item in list_referenced_series(dataset):
            yield SourceReferences((), {item.series_uid} - {""}, item.image_uids, item.frame_uid)
        rois = dataset.get("StructureSetROISequence") or ()
        frames = {str(roi.get("ReferencedFrameOfReferenceUID") or "") for roi in rois}
        for frame_uid in sorted({*frames, series.frame_of_reference_uid} - {""}):
            yield SourceReferences(frame_of_reference_uid=frame_uid)


def _of_instances(series: Series) -> Iterator[SourceReferences]:
    """Of SEG files; and of planes by the first of them, since one image is enough to know a series."""
    frame_uid = series.frame_of_reference_uid
    headers = series.headers if series.kind == "seg" else series.headers[:1]
    for header in headers:
        dataset = load(header.path, specific_tags=[*_OF_SERIES])
        series_uids, image_uids = _named_by(dataset)
        if not series_uids and not image_uids and header.number_of_frames > 1:
            image_uids = NamedSources.of(header.path).image_uids
        yield SourceReferences((), series_uids, image_uids, frame_uid)


def _named_by(dataset: Dataset) -> tuple[frozenset[str], frozenset[str]]:
    """The series and the images that an instance names as a whole."""
    items = dataset.get("ReferencedSeriesSequence") or ()
    series_uids = {str(item.get("SeriesInstanceUID") or "") for item in items}
    images = [image for item in items for image in item.get("ReferencedInstanceSequence") or ()]
    images += dataset.get("SourceImageSequence") or ()
    image_uids = {str(image.get("ReferencedSOPInstanceUID") or "") for image in images}
    return frozenset(series_uids - {""}), frozenset(image_uids - {""})


def _of_bundle(path: Path) -> Iterator[SourceReferences]:
    for image in read_bundle(path).images:
        planes = image.planes
        series_uids = {plane.series_uid for plane in planes} - {""}
        image_uids = {plane.sop_instance_uid for plane in planes} - {""}
        yield SourceReferences((), series_uids, image_uids, image.frame_of_reference_uid)
