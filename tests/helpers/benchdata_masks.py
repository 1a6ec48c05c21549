"""Masks drawn on a CT series, to measure on: a SEG, a structure set of many ROIs, and nested contours.

Rules:
- The positions, UIDs and spacing are those of the images in a folder; contours lie on their planes.
- Contours differ from ROI to ROI and from plane to plane, and have no corner on a pixel's centre line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.sequence import Sequence as Items
from pydicom.uid import RTStructureSetStorage, SegmentationStorage, generate_uid

from tests.helpers.benchdata import body_distance
from tests.helpers.dicom_file import save

# The plane it lies on, and (points, 2) in mm.
Contour = tuple[int, NDArray[np.float64]]


def write_seg(folder: Path, source: Path, segments: int = 5) -> None:
    """A binary SEG of segments that do not touch, over every plane of the source: a frame of one bit a pixel each."""
    images = _images(source)
    first = images[0]
    dataset = _derived(first, SegmentationStorage, "SEG")
    dataset.SegmentationType, dataset.NumberOfFrames = "BINARY", segments * len(images)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SegmentSequence = [_segment(n) for n in range(1, segments + 1)]
    dataset.ReferencedSeriesSequence = [
        _made(SeriesInstanceUID=first.SeriesInstanceUID, ReferencedInstanceSequence=[_reference(d) for d in images])
    ]
    step = first.SliceThickness
    measures = _made(PixelSpacing=list(first.PixelSpacing), SliceThickness=step, SpacingBetweenSlices=step)
    turn = _made(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    dataset.SharedFunctionalGroupsSequence = [_made(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[turn])]
    _add_dimensions(dataset)
    frames = [(n, k) for n in range(segments) for k in range(len(images))]
    dataset.PerFrameFunctionalGroupsSequence = [
        _made(
            PlanePositionSequence=[_made(ImagePositionPatient=list(images[k].ImagePositionPatient))],
            SegmentIdentificationSequence=[_made(ReferencedSegmentNumber=n + 1)],
            FrameContentSequence=[_made(DimensionIndexValues=[n + 1, k + 1])],
        )
        for n, k in frames
    ]
    inside = (body_distance(k, len(images), (110 + 75 * n, 250), (33, 90 - 6 * n), first.Rows) < 1 for n, k in frames)
    dataset.Rows = dataset.Columns = first.Rows
    dataset.BitsAllocated = dataset.BitsStored = dataset.SamplesPerPixel = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.PhotometricInterpretation, dataset.LossyImageCompression = "MONOCHROME2", "00"
    dataset.PixelData = np.concatenate([np.packbits(frame, bitorder="little") for frame in inside]).tobytes()
    dataset["PixelData"].VR = "OB"
    save(folder / "seg.dcm", dataset)


def _add_dimensions(dataset: Dataset) -> None:
    """What the indices of a frame count: its segment, and its position."""
    uid = generate_uid(entropy_srcs=["dimensions"])
    dataset.DimensionOrganizationSequence = [_made(DimensionOrganizationUID=uid)]
    pointers = [
        ("SegmentIdentificationSequence", "ReferencedSegmentNumber"),
        ("PlanePositionSequence", "ImagePositionPatient"),
    ]
    dataset.DimensionIndexSequence = [
        _made(
            DimensionOrganizationUID=uid,
            DimensionIndexPointer=tag_for_keyword(keyword),
            FunctionalGroupPointer=tag_for_keyword(group),
        )
        for group, keyword in pointers
    ]


def _segment(number: int) -> Dataset:
    code = _made(CodeValue="85756007", CodingSchemeDesignator="SCT", CodeMeaning="Tissue")
    return _made(
        SegmentNumber=number,
        SegmentLabel=f"part {number}",
        SegmentAlgorithmType="MANUAL",
        SegmentedPropertyCategoryCodeSequence=[code],
        SegmentedPropertyTypeCodeSequence=[code],
    )


def write_rtstruct(folder: Path, source: Path, rois: int = 40, planes: int = 60) -> None:
    """ROIs of one contour with two hundred points on each of their planes, every ROI five planes further up."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)

    def contours(n: int) -> Iterator[Contour]:
        for k in range(5 * n, 5 * n + planes):
            x = -160 + 7.5 * n + 25 * np.cos(angle) * (1 + 0.1 * np.sin(3 * angle))
            y = -20 + 30 * np.sin(angle) + k / 10
            yield k, np.stack([x, y], 1)

    _write_struct(folder, source, [list(contours(n)) for n in range(rois)])


def write_nested(folder: Path, source: Path, planes: int = 200, points: Sequence[int] = (1000, 400, 400)) -> None:
    """One ROI, the body minus its lungs: on every plane an outline of so many points, and two holes inside of it."""
    bodies = [((-1, 10), (143, 128)), ((-54, 0), (42, 72)), ((54, 0), (41, 70))]
    _write_struct(
        folder,
        source,
        [
            [
                (k, _outline(centre, radii, count, k / 9))
                for k in range(planes)
                for (centre, radii), count in zip(bodies, points, strict=True)
            ]
        ],
    )


def write_pair(folder: Path, source: Path, points: int = 100_000) -> None:
    """One ROI on one plane: a contour of so many points inside another of as many."""
    rings = [(1, _outline((0, 10), radii, points, 0.3)) for radii in ((143, 128), (90, 70))]
    _write_struct(folder, source, [rings])


def _outline(centre: tuple[float, float], radii: tuple[float, float], points: int, turn: float) -> NDArray[np.float64]:
    """(points, 2) mm: an ellipse with a swell, and a ripple below a pixel as drawing by hand leaves it."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = 1 + 0.06 * np.sin(3 * angle + turn) + 0.002 * np.sin(97 * angle + turn)
    return np.stack([centre[0] + radii[0] * radius * np.cos(angle), centre[1] + radii[1] * radius * np.sin(angle)], 1)


def _write_struct(folder: Path, source: Path, rois: Sequence[Sequence[Contour]]) -> None:
    images = _images(source)
    dataset = _derived(images[0], RTStructureSetStorage, "RTSTRUCT")
    dataset.StructureSetLabel = "bench"
    reference = images[0].FrameOfReferenceUID
    series = _made(SeriesInstanceUID=images[0].SeriesInstanceUID, ContourImageSequence=[_reference(d) for d in images])
    study = _made(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=images[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    dataset.ReferencedFrameOfReferenceSequence = [
        _made(FrameOfReferenceUID=reference, RTReferencedStudySequence=[study])
    ]
    numbers = range(1, len(rois) + 1)
    dataset.StructureSetROISequence = [
        _made(ROINumber=n, ReferencedFrameOfReferenceUID=reference, ROIName=f"roi {n}", ROIGenerationAlgorithm="MANUAL")
        for n in numbers
    ]
    dataset.ROIContourSequence = [
        _made(
            ROIDisplayColor=[250, 9 + n, 3],
            ContourSequence=[_contour(images[k], points) for k, points in rois[n - 1]],
            ReferencedROINumber=n,
        )
        for n in numbers
    ]
    dataset.RTROIObservationsSequence = [
        _made(ObservationNumber=n, ReferencedROINumber=n, RTROIInterpretedType="ORGAN", ROIInterpreter="")
        for n in numbers
    ]
    # An explicit VR has no room for the length of a contour of many points.
    save(folder / "struct.dcm", dataset, "implicit")


def _contour(image: Dataset, points: NDArray[np.float64]) -> Dataset:
    z = np.full(len(points), float(image.ImagePositionPatient[2]))
    return _made(
        ContourImageSequence=[_reference(image)],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=np.column_stack([points, z]).round(3).ravel().tolist(),
    )


def _images(source: Path) -> list[Dataset]:
    """The headers of a series in the order of its planes."""
    return sorted((dcmread(p, stop_before_pixels=True) for p in source.iterdir()), key=lambda d: d.InstanceNumber)


def _derived(image: Dataset, sop_class: str, modality: str) -> Dataset:
    dataset = _made(SOPClassUID=sop_class, Modality=modality, SeriesNumber=9, SeriesDescription=modality.lower())
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[modality])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[modality, "series"])
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID", "StudyDate", "StudyTime"):
        setattr(dataset, keyword, image[keyword].value)
    return dataset


def _reference(image: Dataset) -> Dataset:
    return _made(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _made(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, Items(value) if keyword.endswith("Sequence") else value)  # type: ignore[arg-type]
    return dataset
