"""Series to measure on, built once: CT-like noise, smooth masks, compressed copies, a SEG, a structure set, a batch.

Rules:
- What compresses like the real thing is measured like it: CT is tissue with noise in air, a mask is a few smooth bodies.
- The same seed gives the same values; a folder that is complete is kept.
- Planes are 512 x 512, as CT has them; spacings differ and positions do not follow the file names' order.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from tests.helpers.dicom_file import save, set_pixels

SIDE = 512
SPACING, STEP = (0.7, 0.8), 1.25
BATCH = 200
_COMPRESSED = {"rle": RLELossless, "jpegls": JPEGLSLossless, "j2k": JPEG2000Lossless}
_UID_OF_SERIES, _UID_OF_PLANE = "1.2.826.0.1.3680043.10.1111.7", "1.2.826.0.1.3680043.10.1111.8"


def folder_of(cache: Path, name: str) -> Path:
    """The folder of a data set, built if it is not there: ct60, mask300, rle60, seg, rtstruct, batch, ..."""
    target = cache / name
    if not target.exists():
        partial = cache / f"{name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _builder(cache, name)(partial)
        partial.rename(target)
    return target


def _builder(cache: Path, name: str) -> Callable[[Path], None]:
    kind = name.rstrip("0123456789")
    planes = int(name.removeprefix(kind) or 0)
    if kind in ("ct", "mask"):
        return lambda folder: _series(folder, planes, mask=kind == "mask", number=planes)
    if kind in _COMPRESSED:
        return lambda folder: _compressed(folder, folder_of(cache, f"ct{planes}"), kind)
    if kind == "batch":
        return _batch
    source = folder_of(cache, "ct300")
    return lambda folder: (_seg if kind == "seg" else _rtstruct)(folder, source)


def _distance(k: int, planes: int, centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.float32]:
    """Squared distance from a body's axis in its radii, smooth over rows, columns and planes."""
    along = (k + 0.5) / planes
    j, i = np.ogrid[:SIDE, :SIDE]
    shift = 18 * np.sin(7 * along + centre[0])
    x, y = (i - centre[0] - shift) / radii[0], (j - centre[1] + shift / 2) / radii[1]
    swell = 1 + 0.15 * np.sin(3 * np.arctan2(y, x) + 5 * along)
    return ((x * x + y * y) * swell).astype(np.float32)


def ct_plane(k: int, planes: int) -> NDArray[np.int16]:
    """(rows, columns): tissue, lungs and bone with noise, in air with less noise."""
    noise = np.random.default_rng(k).normal(size=(SIDE, SIDE)).astype(np.float32)
    body = _distance(k, planes, (256, 262), (205, 160)) < 1
    lungs = (_distance(k, planes, (180, 250), (60, 90)) < 1) | (_distance(k, planes, (335, 250), (58, 88)) < 1)
    bone = _distance(k, planes, (258, 360), (24, 28)) < 1
    values = np.where(body, 40 + 14 * noise, -1000 + 5 * noise)
    values = np.where(body & lungs, -820 + 25 * noise, values)
    values = np.where(body & bone, 450 + 60 * noise, values)
    return np.clip(values, -1024, 3071).astype(np.int16)


def mask_plane(k: int, planes: int) -> NDArray[np.uint8]:
    """(rows, columns): three bodies of one label, in the middle four fifths of the planes."""
    if not planes // 10 <= k < planes - planes // 10:
        return np.zeros((SIDE, SIDE), np.uint8)
    bodies = [((190, 250), (70, 95)), ((330, 240), (60, 85)), ((262, 380), (35, 30))]
    return np.any([_distance(k, planes, *body) < 1 for body in bodies], axis=0).astype(np.uint8)


def _series(folder: Path, planes: int, *, mask: bool, number: int, uid: str = "") -> None:
    uid = uid or generate_uid(entropy_srcs=[str(folder.name), str(number)])
    for k in range(planes):
        dataset = _image(k, planes, mask=mask)
        dataset.SeriesNumber, dataset.SeriesInstanceUID = number, uid
        dataset.SOPInstanceUID = f"{uid[:50]}.{k + 1}"
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = f"{uid[:50]}.0.1", f"{uid[:50]}.0.2"
        save(folder / f"IM{k * 7919 % planes:05d}.dcm", dataset)


def _image(k: int, planes: int, *, mask: bool) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage if mask else CTImageStorage
    dataset.Modality = "OT" if mask else "CT"
    dataset.ImageType = ["DERIVED", "PRIMARY"] if mask else ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200102", "030405", "1"
    dataset.PatientName, dataset.PatientID, dataset.PatientPosition = "Bench", "1", "HFS"
    dataset.Manufacturer, dataset.SeriesDescription = "verimask", "liver" if mask else "thorax"
    dataset.InstanceNumber, dataset.AcquisitionNumber = k + 1, 1
    dataset.ImagePositionPatient = [-180.0, -200.0, round(-400 + k * STEP, 4)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = list(SPACING), STEP
    if mask:
        set_pixels(dataset, mask_plane(k, planes).T[:, :, None], 8)
    else:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        set_pixels(dataset, ct_plane(k, planes).T[:, :, None], 16, signed=True)
    return dataset


def _compressed(folder: Path, source: Path, kind: str) -> None:
    for path in sorted(source.iterdir()):
        dataset = dcmread(path)
        # GDCM encodes RLE a hundred times faster than pydicom itself, and frames of this size safely.
        dataset.compress(
            _COMPRESSED[kind], encoding_plugin="gdcm" if kind == "rle" else "", generate_instance_uid=False
        )
        dataset.save_as(folder / path.name, enforce_file_format=True)


def _batch(folder: Path) -> None:
    """Series of 60 planes that differ in their UIDs and numbers; the bytes of the UIDs are exchanged in place."""
    first = folder / "series000"
    first.mkdir()
    _series(first, 60, mask=False, number=1000, uid=f"{_UID_OF_SERIES}.1000")
    files = [(path.name, path.read_bytes()) for path in sorted(first.iterdir())]
    for number in range(1, BATCH):
        other = folder / f"series{number:03d}"
        other.mkdir()
        for name, data in files:
            head = (
                data[:4096]
                .replace(b".7.1000", b".7.%d" % (1000 + number))
                .replace(b"IS\x04\x001000", b"IS\x04\x00%d" % (1000 + number))
            )
            (other / name).write_bytes(head + data[4096:])


def _seg(folder: Path, source: Path) -> None:
    """A binary SEG of five segments over every plane of the source: 1500 frames of one bit a pixel."""
    images = sorted((dcmread(p, stop_before_pixels=True) for p in source.iterdir()), key=lambda d: d.InstanceNumber)
    dataset = _derived(images[0], SegmentationStorage, "SEG")
    dataset.SegmentationType, dataset.NumberOfFrames = "BINARY", 5 * len(images)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SegmentSequence = [_segment(n) for n in range(1, 6)]
    dataset.ReferencedSeriesSequence = [
        _made(SeriesInstanceUID=images[0].SeriesInstanceUID, ReferencedInstanceSequence=[_reference(d) for d in images])
    ]
    measures = _made(PixelSpacing=list(SPACING), SliceThickness=STEP, SpacingBetweenSlices=STEP)
    turn = _made(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    dataset.SharedFunctionalGroupsSequence = [_made(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[turn])]
    groups, pixels = [], []
    for n in range(5):
        for k, image in enumerate(images):
            inside = _distance(k, len(images), (110 + 75 * n, 250), (33, 90 - 6 * n)) < 1
            pixels.append(np.packbits(inside, bitorder="little"))
            groups.append(
                _made(
                    PlanePositionSequence=[_made(ImagePositionPatient=list(image.ImagePositionPatient))],
                    SegmentIdentificationSequence=[_made(ReferencedSegmentNumber=n + 1)],
                    FrameContentSequence=[_made(DimensionIndexValues=[n + 1, k + 1])],
                )
            )
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.Rows = dataset.Columns = SIDE
    dataset.BitsAllocated = dataset.BitsStored = dataset.SamplesPerPixel = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.PhotometricInterpretation, dataset.LossyImageCompression = "MONOCHROME2", "00"
    dataset.PixelData = np.concatenate(pixels).tobytes()
    dataset["PixelData"].VR = "OB"
    save(folder / "seg.dcm", dataset)


def _segment(number: int) -> Dataset:
    code = _made(CodeValue="85756007", CodingSchemeDesignator="SCT", CodeMeaning="Tissue")
    return _made(
        SegmentNumber=number,
        SegmentLabel=f"part {number}",
        SegmentAlgorithmType="MANUAL",
        SegmentedPropertyCategoryCodeSequence=[code],
        SegmentedPropertyTypeCodeSequence=[code],
    )


def _rtstruct(folder: Path, source: Path) -> None:
    """Forty ROIs of sixty contours with two hundred points each."""
    images = sorted((dcmread(p, stop_before_pixels=True) for p in source.iterdir()), key=lambda d: d.InstanceNumber)
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
    rois, contours = [], []
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    for n in range(40):
        rois.append(
            _made(
                ROINumber=n + 1,
                ReferencedFrameOfReferenceUID=reference,
                ROIName=f"roi {n + 1}",
                ROIGenerationAlgorithm="MANUAL",
            )
        )
        rings = []
        for k in range(5 * n, 5 * n + 60):
            z = float(images[k].ImagePositionPatient[2])
            x = -160 + 7.5 * n + 25 * np.cos(angle) * (1 + 0.1 * np.sin(3 * angle))
            y = -20 + 30 * np.sin(angle) + k / 10
            points = np.stack([x, y, np.full(200, z)], 1).round(3).ravel().tolist()
            rings.append(
                _made(
                    ContourImageSequence=[_reference(images[k])],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=200,
                    ContourData=points,
                )
            )
        contours.append(_made(ROIDisplayColor=[250, 10 + n, 3], ContourSequence=rings, ReferencedROINumber=n + 1))
    dataset.StructureSetROISequence, dataset.ROIContourSequence = rois, contours
    dataset.RTROIObservationsSequence = [
        _made(ObservationNumber=n + 1, ReferencedROINumber=n + 1, RTROIInterpretedType="ORGAN", ROIInterpreter="")
        for n in range(40)
    ]
    save(folder / "struct.dcm", dataset)


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
        setattr(dataset, keyword, Sequence(value) if keyword.endswith("Sequence") else value)  # type: ignore[arg-type]
    return dataset


if __name__ == "__main__":
    folder_of(Path(sys.argv[1]), sys.argv[2])
