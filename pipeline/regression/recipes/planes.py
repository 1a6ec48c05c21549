"""Write the planes of a phantom: one file each, or as frames of one multi-frame file.

Rules:
- Every file is made of the phantom alone, attribute by attribute; an edit sees each data set before it is encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from pydicom import Dataset

from .dicom_file import ds, item, save, set_pixels
from .phantom import Phantom

# Given the plane number and its data set: change it in place, or answer the list of data sets to write instead of it.
EditDataset = Callable[[int, Dataset], "list[Dataset] | None"]
SaveDataset = Callable[[Path, Dataset, str], None]

SOP_CLASSES = {
    "ct": ("1.2.840.10008.5.1.4.1.1.2", "CT"),
    "mr": ("1.2.840.10008.5.1.4.1.1.4", "MR"),
    "sc": ("1.2.840.10008.5.1.4.1.1.7", "OT"),
    "sc plain": ("1.2.840.10008.5.1.4.1.1.7", "OT"),
    "enhanced ct": ("1.2.840.10008.5.1.4.1.1.2.1", "CT"),
    "enhanced mr": ("1.2.840.10008.5.1.4.1.1.4.1", "MR"),
    "multi-frame sc": ("1.2.840.10008.5.1.4.1.1.7.3", "OT"),
    "multi-frame sc plain": ("1.2.840.10008.5.1.4.1.1.7.3", "OT"),
}


class WrittenPlanes(NamedTuple):
    """What was written, a plane k each. The frame number is 1 + frames[k]."""

    paths: tuple[Path, ...]
    sop_uids: tuple[str, ...]
    frames: tuple[int, ...]


def write_planes(
    folder: Path,
    phantom: Phantom,
    values: NDArray[Any],
    *,
    edit: EditDataset = lambda k, dataset: None,
    save_dataset: SaveDataset = save,
) -> WrittenPlanes:
    """Write a series of planes with these stored values.

    Args:
        folder: that gets the files; it is made where it is not there.
        phantom: the grid, and what the files are like.
        values: (columns, rows, planes) integers.
        edit: sees every data set before it is encoded; a multi-frame instance comes once, as plane 0.
        save_dataset: what writes one file.

    Returns: where each plane is.

    Raises: ValueError for values that do not fit their bits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    planes = phantom.shape[2]
    places = phantom.places(phantom.stored)
    if phantom.multi_frame:
        order = sorted(range(planes), key=places.__getitem__)
        dataset = _multi_frame(phantom, order)
        _set_values(dataset, phantom, values[:, :, order])
        path = _save(folder / "IM0001", dataset, edit, 0, phantom, save_dataset)
        return WrittenPlanes((path,) * planes, (str(dataset.SOPInstanceUID),) * planes, tuple(places))
    paths, sop_uids = [], []
    for k in range(planes):
        dataset = _single_frame(phantom, k)
        _set_values(dataset, phantom, values[:, :, k : k + 1])
        sop_uids.append(str(dataset.SOPInstanceUID))
        paths.append(_save(folder / f"IM{places[k] + 1:04d}", dataset, edit, k, phantom, save_dataset))
    return WrittenPlanes(tuple(paths), tuple(sop_uids), (0,) * planes)


def patient_and_study(phantom: Phantom) -> Dataset:
    """Make the attributes that every object of the phantom's study has (PS3.3 C.7.1 and C.7.2)."""
    return item(
        SpecificCharacterSet="ISO_IR 192",
        StudyDate="",
        StudyTime="",
        AccessionNumber="",
        ReferringPhysicianName="",
        Manufacturer="phantom",
        PatientName="Phantom^Asymmetric",
        PatientID="PHANTOM",
        PatientBirthDate="",
        PatientSex="",
        StudyInstanceUID=phantom.uid("study"),
        StudyID="",
    )


def reference(phantom: Phantom, k: int) -> Dataset:
    """Make the item that refers to plane k (PS3.3 Table 10-11)."""
    made = item(
        ReferencedSOPClassUID=_sop_class(phantom), ReferencedSOPInstanceUID=phantom.uid(instance_of(phantom, k))
    )
    if phantom.multi_frame:
        made.ReferencedFrameNumber = phantom.places(phantom.stored)[k] + 1
    return made


def instance_of(phantom: Phantom, k: int) -> str:
    """Name the instance that plane k is in, for `Phantom.uid`."""
    return "instance" if phantom.multi_frame else f"plane {k}"


def position(phantom: Phantom, k: int) -> list[str]:
    """Write Image Position (Patient) of plane k."""
    return ds(phantom.point((0, 0, k)), phantom.decimals)


def _sop_class(phantom: Phantom) -> str:
    if phantom.kind.startswith("multi-frame") and phantom.bits_allocated < 16:
        return f"1.2.840.10008.5.1.4.1.1.7.{1 if phantom.bits_allocated == 1 else 2}"
    return SOP_CLASSES[phantom.kind][0]


def _common(phantom: Phantom, instance: str) -> Dataset:
    dataset = patient_and_study(phantom)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SOPClassUID = _sop_class(phantom)
    dataset.SOPInstanceUID = phantom.uid(instance)
    dataset.Modality = SOP_CLASSES[phantom.kind][1]
    dataset.SeriesDescription = phantom.description
    dataset.SeriesInstanceUID = phantom.uid("series")
    dataset.SeriesNumber = phantom.series_number
    if not phantom.kind.endswith("plain"):
        dataset.FrameOfReferenceUID = phantom.uid("frame of reference")
        dataset.PositionReferenceIndicator = ""
    if phantom.kind.startswith(("sc", "multi-frame")):
        dataset.ConversionType = "WSD"
    return dataset


def _single_frame(phantom: Phantom, k: int) -> Dataset:
    dataset = _common(phantom, instance_of(phantom, k))
    if phantom.instance_numbers != "missing":
        constant = phantom.instance_numbers == "constant"
        dataset.InstanceNumber = 1 if constant else phantom.places(phantom.instance_numbers)[k] + 1
    if phantom.kind != "sc plain":
        dataset.ImagePositionPatient = position(phantom, k)
        dataset.ImageOrientationPatient = ds(phantom.iop, phantom.decimals)
        dataset.PixelSpacing = ds((phantom.row_spacing, phantom.column_spacing), phantom.decimals)
        dataset.SliceThickness = ds(phantom.step)[0]
    if phantom.rescale:
        slope, intercept = ds(phantom.rescale[k if len(phantom.rescale) > 1 else 0])
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    return dataset


def _multi_frame(phantom: Phantom, order: Sequence[int]) -> Dataset:
    dataset = _common(phantom, "instance")
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = len(order)
    if phantom.kind.endswith("plain"):
        return dataset
    shared = Dataset()
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=ds(phantom.iop, phantom.decimals))]
    spacing = ds((phantom.row_spacing, phantom.column_spacing), phantom.decimals)
    shared.PixelMeasuresSequence = [item(PixelSpacing=spacing, SliceThickness=ds(phantom.step)[0])]
    frames = []
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = [item(ImagePositionPatient=position(phantom, k))]
        frame.FrameContentSequence = [item(StackID="1", InStackPositionNumber=k + 1)]
        if phantom.rescale:
            slope, intercept = ds(phantom.rescale[k if len(phantom.rescale) > 1 else 0])
            rescale = [item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")]
            (frame if len(phantom.rescale) > 1 else shared).PixelValueTransformationSequence = rescale
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


def _set_values(dataset: Dataset, phantom: Phantom, values: NDArray[Any]) -> None:
    set_pixels(
        dataset,
        values,
        phantom.bits_allocated,
        phantom.bits_stored,
        signed=phantom.signed,
        dirty=phantom.dirty,
        photometric=phantom.photometric,
    )


def _save(path: Path, dataset: Dataset, edit: EditDataset, k: int, phantom: Phantom, save_dataset: SaveDataset) -> Path:
    """Write what the edit leaves of the data set; the path of the first."""
    edited = edit(k, dataset)
    for n, one in enumerate([dataset] if edited is None else edited):
        name = f"{path.name}{'' if n == 0 else f'-{n}'}{phantom.extension}"
        save_dataset(path.with_name(name), one, phantom.transfer_syntax)
    return path.with_name(f"{path.name}{phantom.extension}")
