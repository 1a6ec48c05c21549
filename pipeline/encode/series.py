"""Write a mask as a DICOM series: one label image for each plane of the source, at the very same place.

Rules:
- SOP class: that of the source where it is CT or MR Image Storage, Secondary Capture for every other and for none, and
  for an MR that lacks what its class demands (dicom2nifti fails on an empty Repetition or Echo Time).
  Readers that place images at all place CT and MR; 3D Slicer has been seen to ignore the position of a Secondary
  Capture. Image Type says DERIVED\\SECONDARY, and a CT says by Rescale Type US that its values are no Hounsfield units
  (PS3.3 C.8.2.1, C.11.1.1.2). Both classes allow 16 bits only, so 8 bits are for Secondary Capture.
- Stored values are the labels: unsigned, MONOCHROME2; the rescale is absent, or 0 and 1 where CT demands one.
- The study, the Frame of Reference and the plane are the source's, decimal string by decimal string. All new UIDs
  follow from content under 2.25; there is no clock in the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.atomic_file import folder_in_place
from ..core.findings import Code, refuse
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..geometry.grid import Grid
from ..volume.mask import Array, MaskVolume, Segment
from .segments import LONGEST_TEXT
from .source import Copying, check_source, copy_identity, next_series_number, plan_copying, read_source, refer_to
from .uids import content_digest, content_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CT, MR, SECONDARY = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
_LONGEST_DESCRIPTION = 1024  # characters of a Derivation Description (ST)
_LARGEST = int(np.iinfo(np.uint16).max)
_MR_NEEDS = ("ScanningSequence", "SequenceVariant", "RepetitionTime", "EchoTime")
_MR_KEPT = (*_MR_NEEDS, "MRAcquisitionType", "EchoTrainLength", "InversionTime", "SpacingBetweenSlices")


@dataclass(frozen=True, slots=True)
class WrittenSeries:
    """A series that was written. files: by plane. sop_class_uid: of all instances."""

    folder: Path
    files: tuple[Path, ...]
    series_uid: str
    sop_class_uid: str


def write_series(
    mask: MaskVolume,
    source: Sequence[Frame] | None,
    folder: Path,
    *,
    policy: Policy | None = None,
    description: str = "",
    series_number: int | None = None,
) -> WrittenSeries:
    """Write a mask as one instance a plane.

    Args:
        mask: on the grid of its source.
        source: the frames of the source, in the order of the planes; None for a grid without one, which gets a study of
            its own.
        folder: must not exist, or be empty. It appears when it is complete.
        policy: has the limit in mm for the place of the planes, and says what is copied and stripped.
        description: of the series, cut to 64 characters.
        series_number: of the new series; made from that of the source when None.

    Returns:
        The files, by plane, and the UIDs they got.

    Raises:
        EXPORT_SOURCE, FRAME_OF_REFERENCE_DIFFERS: the mask does not lie on the source.
        TOO_LARGE: a label does not fit 16 bits.
        OUTPUT_EXISTS, CANNOT_WRITE: the folder is taken, or cannot be written.
    """
    policy = policy or Policy()
    if source is not None:
        check_source(mask.grid, source, policy)
    if policy.strips_names:
        segments = tuple(replace(s, name=f"label {s.number}") for s in mask.segments)
        mask = replace(mask, segments=segments, name="")
    copying = plan_copying(source, policy)
    largest = _largest_label(mask)
    digest = content_digest([mask], [f"{copying.uid(frame.sop_instance_uid)}/{frame.number}" for frame in source or ()])
    common = _Common(
        digest=digest,
        sop_class_uid=_sop_class(source),
        series_uid=content_uid(digest, "series"),
        description=escape_controls(description or f"mask {mask.name}".strip())[:LONGEST_TEXT],
        number=series_number if series_number is not None else next_series_number(source, 1),
        largest=largest,
        copying=copying,
    )
    names = [f"IM{k + 1:04d}.dcm" for k in range(mask.grid.shape[2])]
    with folder_in_place(folder) as working:
        for k, plane in enumerate(mask.voxels):
            _save(_make_instance(mask, source[k] if source else None, k, plane, common), working / names[k])
    return WrittenSeries(folder, tuple(folder / name for name in names), common.series_uid, common.sop_class_uid)


@dataclass(frozen=True, slots=True)
class _Common:
    """What all instances of a series share. digest: of its content, for UIDs. largest: the largest label.

    copying: how much of patient and study is copied.
    """

    digest: str
    sop_class_uid: str
    series_uid: str
    description: str
    number: int
    largest: int
    copying: Copying

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the stored values: 8 bits where the class and the labels allow it."""
        return np.dtype("<u1" if self.sop_class_uid == SECONDARY and self.largest < 256 else "<u2")


def _largest_label(mask: MaskVolume) -> int:
    """The largest label of a mask. Raises TOO_LARGE where an instance cannot hold it."""
    largest = max(mask.segments, key=lambda s: s.number, default=Segment(1, ""))
    if largest.number > _LARGEST:
        raise refuse(
            Code.TOO_LARGE,
            f"the mask has the label {largest.number}, and a DICOM series of label images holds 16 bits",
            "Give the labels smaller numbers, or write a SEG (--to seg), which numbers them anew.",
            where=(f"{largest.name} ({largest.number})",),
            measured=largest.number,
            limit=_LARGEST,
            unit="label",
            clause="PS3.3 C.8.2.1",
        )
    return largest.number


def _make_instance(mask: MaskVolume, frame: Frame | None, k: int, plane: Array, common: _Common) -> Dataset:
    """Make the instance of plane k; `frame` is that of the source, where there is one."""
    if frame is None:
        made = _invent_identity(mask.grid, k, common.digest)
    else:
        made = copy_identity(frame, common.copying)
    made.SOPClassUID, made.SOPInstanceUID = common.sop_class_uid, content_uid(common.digest, "instance", str(k))
    made.SeriesInstanceUID = common.series_uid
    made.SeriesDescription, made.SeriesNumber, made.InstanceNumber = common.description, common.number, k + 1
    _fill_class(made, frame)
    _fill_derivation(made, mask, frame, common)
    _fill_pixels(made, plane, common)
    return made


def _sop_class(source: Sequence[Frame] | None) -> str:
    """Choose the SOP class, by the first rule of this module."""
    classes = {str(frame.get("SOPClassUID", "")) for frame in source or ()}
    if source and classes == {MR} and not all(read_source(source[0].path).get(k) for k in _MR_NEEDS):
        return SECONDARY
    return classes.pop() if classes in ({CT}, {MR}) else SECONDARY


def _fill_class(made: Dataset, frame: Frame | None) -> None:
    """Fill in what the class asks for beyond study, plane and pixels (PS3.3 A.3, A.4, A.8)."""
    made.Manufacturer, made.ManufacturerModelName, made.BurnedInAnnotation = "verimask", "verimask", "NO"
    given: Any = read_source(frame.path) if frame is not None else {}
    made.ImageType = ["DERIVED", "SECONDARY"]
    if made.SOPClassUID == SECONDARY:
        made.Modality, made.ConversionType, made.PatientOrientation = "OT", "WSD", ""
        return
    made.AcquisitionNumber = given.get("AcquisitionNumber", "")
    if made.SOPClassUID == CT:
        made.Modality, made.KVP = "CT", given.get("KVP", "")
        third = (
            "LOCALIZER" if "LOCALIZER" in (given.get("ImageType") or ()) else "AXIAL"
        )  # and no other (PS3.3 C.8.2.1.1.1)
        made.ImageType = ["DERIVED", "SECONDARY", third]
        made.RescaleIntercept, made.RescaleSlope, made.RescaleType = 0, 1, "US"
        return
    made.Modality = "MR"
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    for keyword in _MR_KEPT:
        if keyword in given:
            made[keyword] = given[keyword]
    if "IR" not in given.get("ScanningSequence", ""):
        made.pop("InversionTime", None)  # permitted with inversion recovery only
    for keyword in ("ScanOptions", "MRAcquisitionType", "EchoTrainLength"):
        made.setdefault(keyword, "")


def _fill_derivation(made: Dataset, mask: MaskVolume, frame: Frame | None, common: _Common) -> None:
    """Fill in what the labels mean, and which frame they were drawn on."""
    named = ", ".join(f"{s.number} = {escape_controls(s.name)}" for s in mask.segments)
    made.DerivationDescription = f"Label mask; 0 = background, {named}"[:_LONGEST_DESCRIPTION]
    made.DerivationCodeSequence = [_make_code("113076", "DCM", "Segmentation")]
    if frame is not None:
        item = refer_to(frame, common.copying)
        item.PurposeOfReferenceCodeSequence = [
            _make_code("121322", "DCM", "Source image for image processing operation")
        ]
        made.SourceImageSequence = [item]


def _fill_pixels(made: Dataset, plane: Array, common: _Common) -> None:
    """Fill in one plane of labels, and a window that shows them all."""
    dtype, largest = common.dtype, common.largest
    bits = dtype.itemsize * 8
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = plane.shape
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    made.WindowCenter, made.WindowWidth = f"{(largest + 1) / 2:g}", str(largest + 1)
    raw = np.ascontiguousarray(plane, dtype).tobytes()
    made.PixelData = raw + b"\0" * (len(raw) % 2)
    made["PixelData"].VR = "OW" if bits == 16 else "OB"


def _invent_identity(grid: Grid, k: int, digest: str) -> Dataset:
    """Make a data set with placeholders for patient and study, and plane k of a grid that has no source."""
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DS

    def decimals(values: Array) -> list[Any]:
        return [DS(float(v), auto_format=True) for v in values]

    made = Dataset()
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = "Unknown^", "UNKNOWN", "", ""
    made.StudyInstanceUID = content_uid(digest, "study")
    made.StudyDate, made.StudyTime, made.StudyID, made.AccessionNumber = "", "", "", ""
    made.ReferringPhysicianName, made.PositionReferenceIndicator, made.Laterality = "", "", ""
    made.FrameOfReferenceUID = grid.frame_of_reference_uid or content_uid(digest, "frame of reference")
    column, row = grid.lps[:3, 0] / grid.spacing[0], grid.lps[:3, 1] / grid.spacing[1]
    made.ImageOrientationPatient = decimals(np.append(column, row))
    made.ImagePositionPatient = decimals(grid.points((0, 0, k)))
    made.PixelSpacing = decimals(np.array([grid.spacing[1], grid.spacing[0]]))
    made.SliceThickness = DS(float(grid.lps[:3, 2] @ np.cross(column, row)), auto_format=True)
    return made


def _make_code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _save(made: Dataset, path: Path) -> None:
    """Write an instance as a DICOM file, Explicit VR Little Endian."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(path, enforce_file_format=True)
