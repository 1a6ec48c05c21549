"""Many series, volumes or files, to measure on: a batch of CT series, a 4-D series, and folders of very many files.

Rules:
- A file is made once and its copies differ in the bytes of their UIDs and numbers, exchanged in place: the lengths stay.
- A file of the many has one pixel row of nothing: what is measured is the reading of headers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from tests.helpers.benchdata import SIDE, write_series
from tests.helpers.dicom_file import save, set_pixels

_UID = "1.2.826.0.1.3680043.10.1111"


def write_batch(folder: Path, series: int, planes: int = 60, side: int = SIDE) -> None:
    """Folders of one CT series each, which differ in their UIDs and numbers."""
    first = folder / "series000"
    first.mkdir()
    write_series(first, planes, side=side, number=1000, uid=f"{_UID}.7.1000")
    files = [(path.name, path.read_bytes()) for path in sorted(first.iterdir())]
    for number in range(1, series):
        other = folder / f"series{number:03d}"
        other.mkdir()
        for name, data in files:
            head = (
                data[:4096]
                .replace(b".7.1000", b".7.%d" % (1000 + number))
                .replace(b"IS\x04\x001000", b"IS\x04\x00%d" % (1000 + number))
            )
            (other / name).write_bytes(head + data[4096:])


def write_volumes(folder: Path, volumes: int, planes: int = 24, side: int = 64) -> None:
    """One MR series over time: a file a plane, every volume at the same places with values of its own."""
    noise = np.random.default_rng(1).integers(0, 800, (planes, side, side)).astype(np.int16)
    for n in range(volumes * planes):
        volume, k = divmod(n, planes)
        dataset = _slice(MRImageStorage, "MR", n + 1, k)
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{_UID}.9.{volumes}", f"{_UID}.9.{volumes}.{n + 1}"
        dataset.AcquisitionNumber = dataset.TemporalPositionIdentifier = volume + 1
        dataset.NumberOfTemporalPositions, dataset.RepetitionTime, dataset.EchoTime = volumes, "2000", "30"
        dataset.AcquisitionTime = f"10{volume // 60:02d}{volume % 60:02d}"
        set_pixels(dataset, (noise[k] + volume).T[:, :, None], 16, signed=True)
        save(folder / f"IM{n:06d}.dcm", dataset)


def write_files(folder: Path, files: int, series: int = 1, *, same_uid: bool = False) -> None:
    """Small CT files in `series` folders, one series each. same_uid: all have one SOP Instance UID, and contents that differ."""
    name = "90000001"  # eight digits for the file, eight for the series, exchanged in every copy
    dataset = _slice(CTImageStorage, "CT", int(name), 0)
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{_UID}.10.80000001", f"{_UID}.11.{name}"
    dataset.ImagePositionPatient = ["0", "0", name]
    set_pixels(dataset, np.arange(256).reshape(16, 16, 1), 16)
    template = folder / "template.dcm"
    save(template, dataset)
    data = template.read_bytes()
    template.unlink()
    for n in range(files):
        of = n % series
        home = folder / f"{of:05d}"
        home.mkdir(exist_ok=True)
        number = b"%d" % (90000001 + n)
        own = data.replace(b".10.80000001", b".10.%d" % (80000001 + of))
        # The last number is the position and the Instance Number; the UIDs stay where they are to be the same.
        own = own.replace(b"\\" + name.encode(), b"\\" + number).replace(
            b"IS\x08\0" + name.encode(), b"IS\x08\0" + number
        )
        if not same_uid:
            own = own.replace(b".11." + name.encode(), b".11." + number)
        (home / f"IM{n:06d}.dcm").write_bytes(own)


def _slice(sop_class: str, modality: str, number: int, k: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality, dataset.ImageType = sop_class, modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = f"{_UID}.5", f"{_UID}.6"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.SeriesNumber = "20200102", "030405", "1", 5
    dataset.PatientName, dataset.PatientID, dataset.PatientPosition = "Bench", "1", "HFS"
    dataset.Manufacturer, dataset.SeriesDescription = "verimask", "many"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-96, -96, k * 3.5], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.SpacingBetweenSlices = [3, 2.5], 3.5, 3.5
    return dataset
