"""Structure sets and their source images, made to measure: every number in them is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage

from pipeline.dicom.scan import Series, scan
from pipeline.geometry.grid import Grid

ROOT = "1.2.826.0.1.3680043.10.1111"
FRAME_UID, IMAGE_SERIES_UID, STRUCT_SERIES_UID = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3"


def image_uid(k: int, series_uid: str = IMAGE_SERIES_UID) -> str:
    return f"{series_uid}.{k + 1}"


@dataclass
class PhantomRoi:
    """contours: (points in LPS mm, or raw text) each; kinds and images: one for all, or one each."""

    name: str
    contours: Sequence[ArrayLike | str]
    number: int = 1
    kinds: str | Sequence[str] = "CLOSED_PLANAR"
    images: Sequence[str] = ()
    colour: tuple[int, int, int] | None = (250, 120, 3)
    frame_uid: str = FRAME_UID
    algorithm: str = "MANUAL"
    type: str = "ORGAN"
    extra: dict[str, object] = field(default_factory=dict)


def rotation(seed: int) -> NDArray[np.float64]:
    """A proper rotation; 0 is none."""
    if seed == 0:
        return np.eye(3)
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q[:, [1, 0, 2]]


# Columns: the directions of i, j and k in LPS.
AXIAL = np.eye(3)
SAGITTAL = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], float)
CORONAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
OBLIQUE = rotation(7)


def grid(
    directions: NDArray[np.float64] = AXIAL,
    shape: tuple[int, int, int] = (44, 37, 9),
    spacing: tuple[float, float, float] = (0.8, 1.1, 2.5),
    origin: tuple[float, float, float] = (-31.7, 12.3, 105.9),
) -> Grid:
    lps = np.eye(4)
    lps[:3, :3] = directions * spacing
    lps[:3, 3] = origin
    return Grid(shape, lps, FRAME_UID)


def on(g: Grid, uv: ArrayLike, plane: float, axis: int = 2) -> NDArray[np.float64]:
    """(n, 3) LPS mm of in-plane continuous indices, in a plane stacked along i, j or k."""
    return g.points(np.insert(np.asarray(uv, float), axis, plane, axis=1))


def rectangle(u0: float, u1: float, v0: float, v1: float) -> NDArray[np.float64]:
    return np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])


def ellipse(u: float, v: float, a: float, b: float, count: int = 400) -> NDArray[np.float64]:
    angle = np.arange(count) * 2 * np.pi / count
    return np.stack([u + a * np.cos(angle), v + b * np.sin(angle)], axis=1)


def write_struct(
    path: Path,
    rois: Sequence[PhantomRoi],
    uid: str = f"{ROOT}.9.1",
    references: Sequence[tuple[str, str]] = ((FRAME_UID, IMAGE_SERIES_UID),),
) -> Path:
    """references: Frame of Reference UID and Series Instance UID of each series that is referred to."""
    ds = _file(path, RTStructureSetStorage, uid, STRUCT_SERIES_UID, "RTSTRUCT")
    ds.StructureSetLabel = "PHANTOM"
    ds.ReferencedFrameOfReferenceSequence = [_frame(ds, *pair) for pair in references]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for roi in rois:
        item = Dataset()
        item.ROINumber, item.ROIName, item.ROIGenerationAlgorithm = roi.number, roi.name, roi.algorithm
        if roi.frame_uid:
            item.ReferencedFrameOfReferenceUID = roi.frame_uid
        ds.StructureSetROISequence.append(item)
        ds.ROIContourSequence.append(_contours(roi))
        observation = Dataset()
        observation.ObservationNumber = observation.ReferencedROINumber = roi.number
        observation.RTROIInterpretedType = roi.type
        ds.RTROIObservationsSequence.append(observation)
    ds.save_as(path, enforce_file_format=True)
    return path


def _frame(ds: Dataset, frame_uid: str, series_uid: str) -> Dataset:
    image = Dataset()
    image.SeriesInstanceUID = series_uid
    image.ContourImageSequence = [_reference(image_uid(0, series_uid))]
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", ds.StudyInstanceUID
    study.RTReferencedSeriesSequence = [image]
    frame = Dataset()
    frame.FrameOfReferenceUID = frame_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def structs(path: Path, *rois: PhantomRoi) -> Series:
    """The series of one structure set, as the scan finds it."""
    return scan([write_struct(path / "rs.dcm", rois)]).series[0]


def write_images(
    folder: Path, g: Grid, series_uid: str = IMAGE_SERIES_UID, frame_uid: str = FRAME_UID, description: str = ""
) -> Path:
    """A CT series on a grid, every pixel different, files in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    columns, rows, planes = g.shape
    for k in range(planes):
        path = folder / f"{(k * 7) % 101:03d}.dcm"
        ds = _file(path, CTImageStorage, image_uid(k, series_uid), series_uid, "CT")
        ds.FrameOfReferenceUID, ds.InstanceNumber = frame_uid, k + 1
        if description:
            ds.SeriesDescription = description
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        directions = g.lps[:3, :3] / g.spacing
        ds.ImagePositionPatient = _texts(g.points((0, 0, k)))
        ds.ImageOrientationPatient = _texts(directions[:, :2].T.ravel())
        ds.PixelSpacing, ds.SliceThickness = [g.spacing[1], g.spacing[0]], g.spacing[2]
        ds.PixelData = (np.arange(rows * columns, dtype=np.uint32) + 31 * k).astype(np.uint16).tobytes()
        ds.save_as(path, enforce_file_format=True)
    return folder


def _contours(roi: PhantomRoi) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = roi.number
    if roi.colour:
        item.ROIDisplayColor = list(roi.colour)
    item.ContourSequence = []
    for n, points in enumerate(roi.contours):
        contour = Dataset()
        contour.ContourGeometricType = roi.kinds if isinstance(roi.kinds, str) else roi.kinds[n]
        if roi.images:
            contour.ContourImageSequence = [_reference(roi.images[n])]
        values = points.split("\\") if isinstance(points, str) else _texts(np.asarray(points, float).ravel())
        contour.NumberOfContourPoints = roi.extra.get("NumberOfContourPoints", len(values) // 3)
        contour.add_new("ContourData", "DS", "placeholder" if not values else None)
        contour["ContourData"]._value = values  # as given, so that a damaged file can be written too
        item.ContourSequence.append(contour)
    return item


def _file(path: Path, sop_class: UID, uid: str, series_uid: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, UID(uid), modality
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.4", series_uid
    ds.PatientID, ds.PatientName, ds.StudyID = "phantom", "phantom", "1"
    return ds


def _reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
    return item


def _texts(values: ArrayLike) -> list[str]:
    """Decimal Strings of at most 16 characters."""
    return [f"{v:.10f}"[:16] if abs(v) < 1e4 else f"{v:.6g}" for v in np.asarray(values, float)]
