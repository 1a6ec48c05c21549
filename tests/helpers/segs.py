"""Sources and segmentations for the tests, written attribute by attribute: no library decides what is in them.

Everything is asymmetric: rows, columns and planes differ, as do the spacings, and the orientation is oblique.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pipeline.dicom.frame import Frame
from pipeline.dicom.scan import Series, scan
from pipeline.geometry.grid import Grid
from pipeline.geometry.stack import fit_stack

ROWS, COLUMNS, PLANES = 5, 7, 6
SPACING, STEP = (1.5, 0.75), 2.5
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SEG, LABELMAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True)
class Place:
    """Where the planes of a source lie: origin of plane 0, cosines, spacings."""

    cosines: tuple[float, ...] = OBLIQUE
    origin: tuple[float, float, float] = (-31.5, 12.25, 104.0)
    spacing: tuple[float, float] = SPACING
    step: float = STEP
    rows: int = ROWS
    columns: int = COLUMNS
    planes: int = PLANES

    def position(self, k: float, i: int = 0, j: int = 0) -> list[float]:
        row, column = np.array(self.cosines[:3]), np.array(self.cosines[3:])
        at = np.array(self.origin) + i * self.spacing[1] * row + j * self.spacing[0] * column
        return [float(round(v, 9)) for v in at + k * self.step * np.cross(row, column)]


PLACE = Place()


def source_files(folder: Path, place: Place = PLACE, sop_class: str = CT) -> list[Path]:
    """One instance a plane, written in an order that is not the planes'."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series, reference = generate_uid(), generate_uid(), generate_uid()
    paths = []
    for k in range(place.planes):
        ds = _patient(sop_class)
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, reference
        ds.Modality = "CT" if sop_class == CT else "MR"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if sop_class == CT else ["ORIGINAL", "PRIMARY", "M"]
        ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 3, k + 1, 1
        ds.PositionReferenceIndicator = ""
        ds.ImagePositionPatient, ds.ImageOrientationPatient = place.position(k), list(place.cosines)
        ds.PixelSpacing, ds.SliceThickness = list(place.spacing), place.step
        _pixels(ds, place, 16)
        if sop_class == CT:
            ds.RescaleSlope, ds.RescaleIntercept, ds.KVP, ds.RescaleType = 1, -1024, 120, "HU"
        else:
            ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
            ds.EchoTime, ds.EchoTrainLength, ds.RepetitionTime = 10, 1, 500
        values = 100 * k + np.arange(place.rows * place.columns, dtype="<u2")
        ds.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
        path = folder / f"im{(5 * k) % 31:02d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _patient(sop_class: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, ds.SOPInstanceUID
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Phantom", "P1", "", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20200102", "030405", "1", "A1"
    ds.ReferringPhysicianName, ds.Manufacturer, ds.PatientPosition = "", "Nobody", "HFS"
    ds.ContentDate, ds.ContentTime = "20200102", "030405"
    return ds


def _pixels(ds: Dataset, place: Place, bits: int) -> None:
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = place.rows, place.columns, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0


def source_grid(folder: Path) -> tuple[Grid, list[Frame], Series]:
    """The grid of the one image series below a folder, its frames in plane order, and the series."""
    series = next(s for s in scan([folder]).series if s.kind == "image")
    planes = [f.plane for f in series.frames if f.plane is not None]
    laid = fit_stack(planes, limit_mm=0.05, keep_skew=8e-5, keep_mm=1e-2)
    grid = replace(laid.grid, frame_of_reference_uid=series.frame_of_reference_uid)
    return grid, [series.frames[n] for n in laid.order], series


@dataclass(frozen=True)
class SegFrame:
    """One frame: segment, plane index on the place, (rows, columns) stored values."""

    segment: int | None
    k: float
    pixels: np.ndarray[Any, Any]


def write_seg(
    path: Path,
    frames: Sequence[SegFrame],
    place: Place = PLACE,
    *,
    kind: str = "BINARY",
    reference: str = "1.2.3.4",
    names: Sequence[str] = ("first", "second", "third"),
    tag_step: float | None = STEP,
    first_number: int = 1,
    **attributes: Any,
) -> Path:
    """A SEG with these frames in this order. First pixel and size come from the frames' place."""
    ds = _patient(LABELMAP if kind == "LABELMAP" else SEG)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", generate_uid(), reference
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "SEG", "by hand", 9, 1
    ds.ImageType, ds.SegmentationType, ds.NumberOfFrames = ["DERIVED", "PRIMARY"], kind, len(frames)
    bits = 1 if kind == "BINARY" else 8 * frames[0].pixels.dtype.itemsize
    _pixels(ds, place, bits)
    if kind == "FRACTIONAL":
        ds.SegmentationFractionalType, ds.MaximumFractionalValue = "OCCUPANCY", 200
    ds.SegmentSequence = [_segment(n, name) for n, name in enumerate(names, first_number)]
    shared = Dataset()
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(place.cosines)
    measures.PixelSpacing, measures.SliceThickness = list(place.spacing), place.step
    if tag_step is not None:
        measures.SpacingBetweenSlices = tag_step
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [_frame(frame, place) for frame in frames]
    pixels = np.stack([frame.pixels for frame in frames])
    raw = np.packbits(pixels.ravel() != 0, bitorder="little") if bits == 1 else pixels
    ds.PixelData = raw.tobytes() + b"\0" * (raw.nbytes % 2)
    ds["PixelData"].VR = "OB" if bits <= 8 else "OW"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def _segment(number: int, name: str) -> Dataset:
    item, category, type_ = Dataset(), Dataset(), Dataset()
    category.CodeValue, category.CodingSchemeDesignator, category.CodeMeaning = "85756007", "SCT", "Tissue"
    type_.CodeValue, type_.CodingSchemeDesignator, type_.CodeMeaning = "10200004", "SCT", "Liver"
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, name, "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence, item.SegmentedPropertyTypeCodeSequence = [category], [type_]
    item.RecommendedDisplayCIELabValue = [41661, 41167, 40792]
    return item


def _frame(frame: SegFrame, place: Place) -> Dataset:
    item, position, segment = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = place.position(frame.k)
    item.PlanePositionSequence = [position]
    if frame.segment is not None:
        segment.ReferencedSegmentNumber = frame.segment
        item.SegmentIdentificationSequence = [segment]
    return item


def blobs(segments: int, *, overlap: bool, seed: int = 4, shape: tuple[int, int, int] = (COLUMNS, ROWS, PLANES)) -> Any:
    """(segments, i, j, k) boolean, no two alike and none symmetric; overlapping or not, some planes empty."""
    rng = np.random.default_rng(seed)
    if overlap:
        found = rng.random((segments, *shape)) < 0.4
    else:
        owner = rng.integers(0, segments + 1, shape)
        found = np.stack([owner == n + 1 for n in range(segments)])
    found[..., 2] = False  # a plane without any frame
    found[0, ..., shape[2] - 1] = False
    return found


def frames_of(truth: Any, *, sparse: bool = True) -> list[SegFrame]:
    """The frames of (segments, i, j, k) truth, without the empty ones where sparse."""
    return [
        SegFrame(n + 1, k, truth[n, :, :, k].T)
        for n in range(truth.shape[0])
        for k in range(truth.shape[3])
        if truth[n, :, :, k].any() or not sparse
    ]
