"""One DICOM file's header as plain Python values. Here alone headers are asked for; pixels are never read.

Rules:
- pydicom is the parser of record; `fastheader` reads plain files, or gives up to it.
- A `Header` holds the attributes of `KEYWORDS` and nothing of the patient.
- Numbers are floats and ints, text is stripped, several values are a tuple; an empty or unreadable value is absent.
- Where the pixels are is an offset and a length in the file, for native transfer syntaxes; compressed and deflated
  ones have none and are decoded by pydicom.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline.fastheader import GiveUp, Reader
from pipeline.findings import Code, refuse

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = {EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG}

KEYWORDS = tuple(
    """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality SeriesNumber
    SeriesDescription ProtocolName InstanceNumber AcquisitionNumber AcquisitionTime ContentTime ImageType Manufacturer
    ManufacturerModelName PatientPosition ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness
    SpacingBetweenSlices SliceLocation GantryDetectorTilt Rows Columns BitsAllocated BitsStored HighBit
    PixelRepresentation SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames RescaleSlope
    RescaleIntercept RescaleType LossyImageCompression TemporalPositionIdentifier TriggerTime EchoTime EchoNumbers
    DiffusionBValue MagneticFieldStrength RepetitionTime BurnedInAnnotation DerivationDescription SegmentationType
    MaximumFractionalValue
    """.split()
)
_FAST = Reader(KEYWORDS)
# Functional groups of a frame (PS3.3 C.7.6.16): sequence, and what is read from its first item.
_FRAME_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": (
        "StackID",
        "InStackPositionNumber",
        "TemporalPositionIndex",
        "FrameAcquisitionNumber",
        "FrameAcquisitionDateTime",
    ),
    "SegmentIdentificationSequence": ("ReferencedSegmentNumber",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "CardiacSynchronizationSequence": ("NominalCardiacTriggerDelayTime",),
    "MRImageFrameTypeSequence": ("FrameType",),
    "CTImageFrameTypeSequence": ("FrameType",),
}
_PIXEL_TAGS = (0x7FE00010, 0x7FE00009, 0x7FE00008)


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says of itself. values: keyword to value. frames: per-frame values of a multi-frame instance.

    unreadable: keyword to the text that could not be read as its type. pixel_offset, pixel_length: bytes of native
    pixel data, None where pydicom must decode. size: of the file. overlays: groups (60xx) with overlay data.
    """

    path: Path
    transfer_syntax: str
    values: Mapping[str, Any]
    frames: tuple[Mapping[str, Any], ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    has_pixels: bool = False
    pixel_offset: int | None = None
    pixel_length: int | None = None
    size: int = 0
    overlays: tuple[int, ...] = ()

    def get(self, keyword: str, default: Any = None) -> Any:
        return self.values.get(keyword, default)

    @property
    def number_of_frames(self) -> int:
        return max(int(self.get("NumberOfFrames", 1)), 1)


class NotDicom(Exception):
    """The file does not begin like DICOM."""


def read_header(path: Path) -> Header:
    """The header of one file. Raises NotDicom for a foreign file, PipelineError(CORRUPT_FILE) for a broken one."""
    with suppress(GiveUp):
        return Header(path, **_FAST.read(path))
    return _read_with_pydicom(path)


def _read_with_pydicom(path: Path) -> Header:
    from pydicom import dcmread

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pydicom finds odd in attributes nobody reads is not the user's concern
        if not _begins_like_dicom(file.read(144)):
            raise NotDicom
        file.seek(0)
        try:
            dataset = dcmread(file, stop_before_pixels=True, force=True)
            syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", "")) or _guessed_syntax(dataset)
            return _header(path, dataset, syntax, file)
        except Exception as e:  # a broken file makes a parser stumble in more ways than can be listed
            if isinstance(e, OSError) and e.errno is not None:
                raise
            raise refuse(
                Code.CORRUPT_FILE,
                f"{path.name} begins like DICOM but its header cannot be read: {e}",
                "The file was probably cut off or changed in transfer; export or copy it again.",
                where=(path.name,),
                clause="PS3.10 section 7",
            ) from e


def _header(path: Path, dataset: Dataset, syntax: str, file: BinaryIO) -> Header:
    values, unreadable = _values(dataset, KEYWORDS)
    offset = length = None
    has_pixels = False
    if syntax == "1.2.840.10008.1.2.1.99":  # deflated: pydicom inflated a copy, so the file's position says nothing
        has_pixels = "Rows" in values
    else:
        has_pixels, offset, length = _pixel_element(file, syntax)
    return Header(
        path=path,
        transfer_syntax=syntax,
        values=values,
        frames=_frames(dataset),
        unreadable=unreadable,
        has_pixels=has_pixels,
        pixel_offset=offset,
        pixel_length=length,
        size=path.stat().st_size,
        overlays=tuple(g for g in range(0x6000, 0x6020, 2) if (g, 0x3000) in dataset),
    )


def _pixel_element(file: BinaryIO, syntax: str) -> tuple[bool, int | None, int | None]:
    """Read the element pydicom stopped before: whether it is pixel data, and its native bytes' offset and length."""
    start, raw = file.tell(), file.read(12)
    order = ">" if syntax == EXPLICIT_BIG else "<"
    if len(raw) < 8:
        return False, None, None
    group, element = struct.unpack(order + "HH", raw[:4])
    if (group << 16 | element) not in _PIXEL_TAGS:
        return False, None, None
    if syntax not in NATIVE:
        return True, None, None
    if syntax == IMPLICIT_LITTLE:
        return True, start + 8, struct.unpack("<I", raw[4:8])[0]
    return True, start + 12, struct.unpack(order + "I", raw[8:12])[0]


def _values(dataset: Dataset, keywords: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    from pydicom.errors import BytesLengthException

    values: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    for keyword in keywords:
        if keyword not in dataset:
            continue
        try:
            element = dataset[keyword]
            value = plain(element.value)
        except (ValueError, TypeError, OverflowError, BytesLengthException) as error:
            unreadable[keyword] = str(error)
            continue
        if element.VR in ("DS", "IS") and _has_text(value):  # pydicom hands on what it could not make a number
            unreadable[keyword] = f"“{element.value}” is not a number"
        elif value is not None:
            values[keyword] = value
    return values, unreadable


def _has_text(value: Any) -> bool:
    return any(isinstance(item, str) for item in (value if isinstance(value, tuple) else (value,)))


def plain(value: Any) -> Any:
    """A pydicom value as str, int, float or a tuple of them; None for an empty one."""
    if isinstance(value, str):
        return str(value).strip() or None
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float) or hasattr(value, "is_integer") or hasattr(value, "as_integer_ratio"):
        return float(value)
    if isinstance(value, bytes) or value is None:
        return None
    if hasattr(value, "__iter__"):
        items = tuple(plain(item) for item in value)
        return None if not items or None in items else items
    return str(value)


def _frames(dataset: Dataset) -> tuple[Mapping[str, Any], ...]:
    shared = dataset.get("SharedFunctionalGroupsSequence")
    common = _groups(shared[0]) if shared else {}
    return tuple({**common, **_groups(item)} for item in dataset.get("PerFrameFunctionalGroupsSequence") or ())


def _groups(item: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for sequence, keywords in _FRAME_GROUPS.items():
        group = item.get(sequence)
        if group:
            found.update(_values(group[0], keywords)[0])
    return found


def _begins_like_dicom(start: bytes) -> bool:
    """Part 10 (preamble and DICM), or a bare data set that begins with group 0002 or 0008 and a short element."""
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = struct.unpack("<H", start[6:8])[0] if explicit else struct.unpack("<I", start[4:8])[0]
    return bool(struct.unpack("<H", start[2:4])[0] <= 0x0100 and length < 256)


def _guessed_syntax(dataset: Dataset) -> str:
    implicit, little = dataset.original_encoding[:2]
    return IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG
