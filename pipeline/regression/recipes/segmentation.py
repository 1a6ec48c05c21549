"""Write the recipe of a DICOM Segmentation (PS3.3 A.51): binary, fractional or a label map, with or without its images.

Rules:
- Frames without a set voxel are left out, as the field does; each frame names the image that it lies on.
- A fractional value is how many of the 2 x 2 x 2 points of a voxel lie in the part: eighths of the maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from .dicom_file import ds, item, save, set_pixels
from .parameters import Parameter, choice, flag, refuse_value, texts, whole
from .phantom import PARTS, Phantom
from .planes import patient_and_study, position, reference
from .series import FILES, GRID, phantom_of, write_series

_SEGMENTATION, _LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
_EIGHTHS = 8
_TYPES = (("38266002", "Entire body"), ("113091000", "Marker"), ("45206002", "Nose"))

SEG = {
    **GRID,
    **FILES,
    "SegmentationType": Parameter("BINARY", "what a value says", choice("BINARY", "FRACTIONAL", "LABELMAP")),
    "MaximumFractionalValue": Parameter(200, "what a fractional SEG stores for all of a voxel", whole(8, 255)),
    "SegmentLabel": Parameter(list(PARTS), "names of body, marker and nose; fewer names, fewer segments", texts(3)),
    "overlap": Parameter(False, "whether segments share the voxels that their parts share", flag),
    "source_images": Parameter(True, "whether its images are written too, to images/", flag),
}


def write_seg(folder: Path, p: Mapping[str, Any]) -> None:
    """Write seg.dcm, and the images it was drawn on."""
    kind = p["SegmentationType"]
    if kind == "LABELMAP" and p["overlap"]:
        raise refuse_value("overlap", True, "false where SegmentationType is LABELMAP, which has one label a voxel")
    phantom = phantom_of(p)
    if p["source_images"]:
        write_series(folder / "images", phantom, phantom.array(), p)
    parts = _stored_parts(phantom, p)[: len(p["SegmentLabel"])]
    if kind == "LABELMAP":
        labels = sum(parts[n] * (n + 1) for n in range(len(parts)))
        frames = [(0, k, labels[:, :, k]) for k in range(phantom.shape[2])]
    else:
        frames = [(n, k, parts[n, :, :, k]) for n in range(len(parts)) for k in range(phantom.shape[2])]
    frames = [frame for frame in frames if frame[2].any()]
    if not frames:
        raise refuse_value("NumberOfSlices", phantom.shape[2], "enough for the body to meet a slice")
    dataset = _segmentation(phantom, p, [(n, k) for n, k, _ in frames])
    stored = np.stack([pixels for _, _, pixels in frames], axis=2).astype(np.uint8)
    set_pixels(dataset, stored, 1 if kind == "BINARY" else 8)
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "seg.dcm", dataset)


def _stored_parts(phantom: Phantom, p: Mapping[str, Any]) -> NDArray[np.integer[Any]]:
    """(3, columns, rows, planes) what body, marker and nose store at each voxel."""
    if p["SegmentationType"] != "FRACTIONAL":
        return _inside(phantom, phantom.indices(), overlap=p["overlap"]).astype(np.uint8)
    offsets = product((-0.25, 0.25), repeat=3)
    eighths = sum(
        _inside(phantom, phantom.indices() + np.array(offset), overlap=p["overlap"]).astype(np.int64)
        for offset in offsets
    )
    return np.asarray(eighths * p["MaximumFractionalValue"] // _EIGHTHS)


def _inside(phantom: Phantom, index: NDArray[Any], *, overlap: bool) -> NDArray[np.bool_]:
    points = phantom.point(index)
    if overlap:
        return phantom.overlapping_parts(points)
    part = phantom.part(points)
    return np.stack([part == n + 1 for n in range(len(PARTS))])


def _segmentation(phantom: Phantom, p: Mapping[str, Any], frames: Sequence[tuple[int, int]]) -> Dataset:
    """Make the data set without its pixels. frames: (segment from 0, plane) of each."""
    kind = p["SegmentationType"]
    dataset = patient_and_study(phantom)
    dataset.SOPClassUID = _LABEL_MAP if kind == "LABELMAP" else _SEGMENTATION
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = phantom.uid("seg"), phantom.uid("seg series")
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = phantom.uid("frame of reference"), ""
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "SEG", 9, 1
    dataset.SeriesDescription = f"{phantom.description} segmentation"
    dataset.ManufacturerModelName, dataset.DeviceSerialNumber, dataset.SoftwareVersions = "phantom", "1", "1"
    dataset.ImageType, dataset.SegmentationType = ["DERIVED", "PRIMARY"], kind
    dataset.ContentDate, dataset.ContentTime = "20000101", "000000"  # Type 1, and no clock decides a byte
    dataset.ContentLabel, dataset.ContentDescription, dataset.ContentCreatorName = "SEGMENTATION", "", ""
    dataset.LossyImageCompression, dataset.SegmentsOverlap = "00", "YES" if p["overlap"] else "NO"
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType = "OCCUPANCY"
        dataset.MaximumFractionalValue = p["MaximumFractionalValue"]
    if kind == "LABELMAP":
        dataset.PixelPaddingValue = 0
    dataset.SegmentSequence = [_segment(n, name) for n, name in enumerate(p["SegmentLabel"])]
    images = [reference(phantom, k) for k in range(1 if phantom.multi_frame else phantom.shape[2])]
    for image in images:
        image.pop("ReferencedFrameNumber", None)
    dataset.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=phantom.uid("series"), ReferencedInstanceSequence=images)
    ]
    _add_groups(dataset, phantom, frames, has_segments=kind != "LABELMAP")
    return dataset


def _segment(n: int, name: str) -> Dataset:
    value, meaning = _TYPES[n]
    category = item(CodeValue="85756007", CodingSchemeDesignator="SCT", CodeMeaning="Tissue")
    kind = item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=meaning)
    return item(
        SegmentNumber=n + 1,
        SegmentLabel=name,
        SegmentAlgorithmType="MANUAL",
        SegmentedPropertyCategoryCodeSequence=[category],
        SegmentedPropertyTypeCodeSequence=[kind],
    )


def _add_groups(dataset: Dataset, phantom: Phantom, frames: Sequence[tuple[int, int]], *, has_segments: bool) -> None:
    """Add what each frame is, where it lies, and what its dimension indices count (PS3.3 C.7.6.16 and C.7.6.17)."""
    counted = [("PlanePositionSequence", "ImagePositionPatient")]
    if has_segments:
        counted.insert(0, ("SegmentIdentificationSequence", "ReferencedSegmentNumber"))
    organization = phantom.uid("dimensions")
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    dataset.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=tag_for_keyword(keyword),
            FunctionalGroupPointer=tag_for_keyword(group),
        )
        for group, keyword in counted
    ]
    spacing = ds((phantom.row_spacing, phantom.column_spacing))
    measures = item(PixelSpacing=spacing, SliceThickness=ds(phantom.step)[0], SpacingBetweenSlices=ds(phantom.step)[0])
    turn = item(ImageOrientationPatient=ds(phantom.iop, phantom.decimals))
    dataset.SharedFunctionalGroupsSequence = [item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[turn])]
    dataset.NumberOfFrames = len(frames)
    dataset.PerFrameFunctionalGroupsSequence = [_frame(phantom, n, k, has_segments) for n, k in frames]


def _frame(phantom: Phantom, n: int, k: int, has_segments: bool) -> Dataset:
    derivation = item(CodeValue="113076", CodingSchemeDesignator="DCM", CodeMeaning="Segmentation")
    purpose = item(
        CodeValue="121322", CodingSchemeDesignator="DCM", CodeMeaning="Source image for image processing operation"
    )
    source = reference(phantom, k)
    source.PurposeOfReferenceCodeSequence, source.SpatialLocationsPreserved = [purpose], "YES"
    frame = item(
        PlanePositionSequence=[item(ImagePositionPatient=position(phantom, k))],
        DerivationImageSequence=[item(SourceImageSequence=[source], DerivationCodeSequence=[derivation])],
        FrameContentSequence=[item(DimensionIndexValues=[n + 1, k + 1] if has_segments else [k + 1])],
    )
    if has_segments:
        frame.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=n + 1)]
    return frame
