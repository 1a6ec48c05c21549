"""Series to measure on: CT-like noise, smooth masks, and compressed copies of them.

Rules:
- What compresses like the real thing is measured like it: CT is tissue with noise in air, a mask is a few smooth bodies.
- The same seed gives the same values.
- Planes are 512 x 512, as CT has them, unless a smaller side is asked for; spacings differ and positions do not follow the
  file names' order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    CTImageStorage,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from tests.helpers.dicom_file import save, set_pixels

SIDE = 512
SPACING, STEP = (0.7, 0.8), 1.25
COMPRESSED: dict[str, UID] = {"rle": RLELossless, "jpegls": JPEGLSLossless, "j2k": JPEG2000Lossless}


def body_distance(
    k: int, planes: int, centre: tuple[float, float], radii: tuple[float, float], side: int = SIDE
) -> NDArray[np.float32]:
    """(rows, columns): squared distance from a body's axis in its radii, smooth over rows, columns and planes.

    centre, radii: columns and rows on a plane of 512 x 512; a smaller side shows all of it.
    """
    along, scale = (k + 0.5) / planes, SIDE / side
    j, i = np.ogrid[:side, :side]
    shift = 18 * np.sin(7 * along + centre[0])
    x, y = (i * scale - centre[0] - shift) / radii[0], (j * scale - centre[1] + shift / 2) / radii[1]
    swell = 1 + 0.15 * np.sin(3 * np.arctan2(y, x) + 5 * along)
    return ((x * x + y * y) * swell).astype(np.float32)


def ct_plane(k: int, planes: int, side: int = SIDE) -> NDArray[np.int16]:
    """(rows, columns): tissue, lungs and bone with noise, in air with less noise."""
    noise = np.random.default_rng(k).normal(size=(side, side)).astype(np.float32)

    def inside(centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.bool_]:
        return body_distance(k, planes, centre, radii, side) < 1

    body = inside((256, 262), (205, 160))
    lungs = inside((180, 250), (60, 90)) | inside((335, 250), (58, 88))
    bone = inside((258, 360), (24, 28))
    values = np.where(body, 40 + 14 * noise, -1000 + 5 * noise)
    values = np.where(body & lungs, -820 + 25 * noise, values)
    values = np.where(body & bone, 450 + 60 * noise, values)
    return np.clip(values, -1024, 3071).astype(np.int16)


def mask_plane(k: int, planes: int, side: int = SIDE) -> NDArray[np.uint8]:
    """(rows, columns): three bodies of one label, in the middle four fifths of the planes."""
    if not planes // 10 <= k < planes - planes // 10:
        return np.zeros((side, side), np.uint8)
    bodies = [((190, 250), (70, 95)), ((330, 240), (60, 85)), ((262, 380), (35, 30))]
    return np.any([body_distance(k, planes, *body, side) < 1 for body in bodies], axis=0).astype(np.uint8)


def write_series(
    folder: Path, planes: int, *, mask: bool = False, side: int = SIDE, number: int = 0, uid: str = ""
) -> None:
    """One file a plane. number: Series Number, the planes if 0. uid: Series Instance UID, made of the folder's name if ""."""
    number = number or planes
    uid = uid or generate_uid(entropy_srcs=[str(folder.name), str(number)])
    for k in range(planes):
        dataset = _image(k, planes, mask=mask, side=side)
        dataset.SeriesNumber, dataset.SeriesInstanceUID = number, uid
        dataset.SOPInstanceUID = f"{uid[:50]}.{k + 1}"
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = f"{uid[:50]}.0.1", f"{uid[:50]}.0.2"
        save(folder / f"IM{k * 7919 % planes:05d}.dcm", dataset)


def _image(k: int, planes: int, *, mask: bool, side: int) -> Dataset:
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
    dataset.PixelSpacing, dataset.SliceThickness = [spacing * SIDE / side for spacing in SPACING], STEP
    if mask:
        set_pixels(dataset, mask_plane(k, planes, side).T[:, :, None], 8)
    else:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        set_pixels(dataset, ct_plane(k, planes, side).T[:, :, None], 16, signed=True)
    return dataset


def write_compressed(folder: Path, source: Path, kind: str) -> None:
    """A copy of every file of a series, compressed: rle, jpegls or j2k."""
    for path in sorted(source.iterdir()):
        dataset = dcmread(path)
        # GDCM encodes RLE a hundred times faster than pydicom itself, and frames of this size safely.
        dataset.compress(COMPRESSED[kind], encoding_plugin="gdcm" if kind == "rle" else "", generate_instance_uid=False)
        dataset.save_as(folder / path.name, enforce_file_format=True)
