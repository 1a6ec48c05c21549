"""Nuclear Medicine images and RT doses made of phantom series, and where their frames lie by the standard.

Rules:
- An edit turns the data set of a "multi-frame sc plain" series, or of every plane of a "ct" one, into one of the class.
- `places` is by pydicom and PS3.3 C.8.4.15, C.8.4.11 and C.8.8.3.2 alone: nothing of `pipeline` is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from tests.helpers.hard_case import SMALL
from tests.helpers.hard_truth import Acquired
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, ds

NUCLEAR, RETIRED = "1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.5"
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
FRAMES = replace(SMALL, kind="multi-frame sc plain", iop=ORIENTATIONS["double oblique"])
AXIAL = replace(FRAMES, iop=ORIENTATIONS["HFS"])
SCALING = 0.25  # of doses: exact in binary, so that every dose is told apart
Further = Callable[[Dataset], object]


def nothing(dataset: Dataset) -> None:
    """No change."""


def values(**changes: Any) -> Further:
    """Set attributes; None removes one."""

    def change(dataset: Dataset) -> None:
        for keyword, value in changes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


def place(spec: Spec, k: int) -> Dataset:
    """The item of a detector whose first frame is plane k."""
    item = Dataset()
    item.ImagePositionPatient, item.ImageOrientationPatient = ds(*spec.point((0, 0, k))), ds(*spec.iop)
    return item


def at_top(spec: Spec) -> Further:
    """The place of the first frame in the data set itself, and no detector."""

    def change(dataset: Dataset) -> None:
        del dataset.DetectorInformationSequence
        dataset.update(place(spec, 0 if spec.stored == "along" else spec.shape[2] - 1))

    return change


def nuclear(spec: Spec, further: Further = nothing, *, sop_class: str = NUCLEAR) -> Edit:
    """A reconstruction (RECON TOMO): of frames stored against the normal, with a negative Spacing Between Slices."""

    def edit(_: int, dataset: Dataset) -> None:
        along, count = spec.stored == "along", spec.shape[2]
        dataset.SOPClassUID, dataset.Modality = sop_class, "NM"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
        dataset.PixelSpacing = ds(spec.row_spacing, spec.column_spacing)
        dataset.SpacingBetweenSlices = ds(spec.step if along else -spec.step)[0]
        dataset.DetectorInformationSequence = [place(spec, 0 if along else count - 1)]
        dataset.FrameIncrementPointer = [0x00540080]
        dataset.SliceVector, dataset.NumberOfSlices = list(range(1, count + 1)), count
        further(dataset)

    return edit


def dose(spec: Spec, offsets: Sequence[float] | None = None, further: Further = nothing) -> Edit:
    """An RT dose; offsets: its Grid Frame Offset Vector, along the normal by default."""

    def edit(k: int, dataset: Dataset) -> None:
        dataset.SOPClassUID, dataset.Modality = DOSE, "RTDOSE"
        dataset.DoseGridScaling, dataset.DoseUnits, dataset.DoseType = ds(SCALING)[0], "GY", "PHYSICAL"
        dataset.DoseSummationType = "PLAN"
        if spec.multi_frame:
            first = place(spec, 0 if spec.stored == "along" else spec.shape[2] - 1)
            dataset.update(first)
            dataset.PixelSpacing = ds(spec.row_spacing, spec.column_spacing)
            steps = np.arange(spec.shape[2]) * spec.step * (1 if spec.stored == "along" else -1)
            dataset.GridFrameOffsetVector = ds(*(steps if offsets is None else offsets))
            dataset.FrameIncrementPointer = 0x3004000C
        further(dataset)

    return edit


def gated(spec: Spec, slots: int) -> Further:
    """As many time slots of the same slices, each with values of its own."""

    def change(dataset: Dataset) -> None:
        count = spec.shape[2]
        planes = np.frombuffer(dataset.PixelData, "<u2").reshape(count, -1)
        dataset.PixelData = np.concatenate([planes + 1000 * n for n in range(slots)]).astype("<u2").tobytes()
        dataset.NumberOfFrames = count * slots
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"]
        dataset.FrameIncrementPointer = [0x00540060, 0x00540070, 0x00540080]
        dataset.RRIntervalVector = [1] * count * slots
        dataset.TimeSlotVector = [1 + n // count for n in range(count * slots)]
        dataset.SliceVector = list(range(1, count + 1)) * slots

    return change


def places(folder: Path) -> list[Acquired]:
    """Every frame of the written folder, with its values and its place."""
    found = []
    for path in sorted(folder.rglob("*.dcm")):
        dataset = dcmread(path)
        pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        item = next((i for i in dataset.get("DetectorInformationSequence", ()) if "ImagePositionPatient" in i), dataset)
        first = np.array(item.ImagePositionPatient, float)
        cosines = np.array(item.ImageOrientationPatient, float)
        scale = float(dataset.get("DoseGridScaling", dataset.get("RescaleSlope", 1)))
        for n, plane in enumerate(pixels):
            position = _position(dataset, first, np.cross(cosines[:3], cosines[3:]), n)
            spacing = [float(v) for v in dataset.PixelSpacing]
            found.append(
                Acquired(path.name, plane, plane * scale, position, cosines[:3], cosines[3:], spacing[0], spacing[1])
            )
    return found


def _position(dataset: Dataset, first: NDArray[np.float64], normal: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    if int(dataset.get("NumberOfFrames") or 1) == 1:
        return first
    if dataset.Modality == "NM":
        slices = dataset.get("SliceVector", range(1, int(dataset.NumberOfFrames) + 1))
        step = (
            dataset.get("SpacingBetweenSlices") or dataset.SliceThickness
        )  # the latter where it was asked to be assumed
        return first + (slices[n] - slices[0]) * float(step) * normal
    offsets = [float(v) for v in dataset.GridFrameOffsetVector]
    if offsets[0] == 0:
        return first + offsets[n] * normal
    return np.array([first[0], first[1], offsets[n]])
