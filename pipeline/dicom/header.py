"""Read the header of one DICOM file into plain Python values; pixels are never read.

Rules:
- All other modules get headers from here. pydicom is the parser of record; `fast_header` reads plain files, or gives up and
  leaves them to it.
- A `Header` holds the attributes of `KEYWORDS`, those of `frame_vectors` for its class, and nothing of the patient.
- Numbers are floats and ints, text is stripped, several values are a tuple; an empty value is absent. A value that cannot
  be read is kept as unreadable, so that no default is taken for it.
- The transfer syntax is the one the bytes have (`encoding`). Where the File Meta Information declares another, that is
  kept too.
- The place of the pixels is an offset and a length in the file; a deflated file has none. `pixel_layout` judges what they
  must be.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..core.findings import Code, PipelineError, refuse
from .element_values import read_values
from .encoding import EXPLICIT_BIG, EXPLICIT_LITTLE, FLOAT_BITS, IMPLICIT_LITTLE, NATIVE, load, open_dataset
from .fast_header import ATTRIBUTES, SEQUENCES_OF_VALUES, Reader
from .fast_values import GiveUp, name_key, patient_key
from .frame_vectors import read_vectors
from .misplaced_elements import BEHIND, TWICE, tags_behind
from .source_file import open_source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KEYWORDS = tuple(
    """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality SeriesNumber
    SeriesDescription ProtocolName InstanceNumber AcquisitionNumber AcquisitionTime ContentTime ImageType Manufacturer
    ManufacturerModelName PatientPosition ImagePositionPatient ImageOrientationPatient PixelSpacing
    NominalScannedPixelSpacing ImagerPixelSpacing SliceThickness SpacingBetweenSlices SliceLocation GantryDetectorTilt
    Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel PhotometricInterpretation
    PlanarConfiguration NumberOfFrames RescaleSlope RescaleIntercept RescaleType LossyImageCompression
    TemporalPositionIdentifier TriggerTime EchoTime EchoNumbers DiffusionBValue DiffusionGradientOrientation
    MagneticFieldStrength RepetitionTime BurnedInAnnotation DerivationDescription SegmentationType
    MaximumFractionalValue ConcatenationUID InConcatenationNumber InConcatenationTotalNumber
    """.split()
)
_FAST = Reader(KEYWORDS)
LUTS = tuple(SEQUENCES_OF_VALUES)
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
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
_KEYWORD_OF = {tag: keyword for keyword, (tag, _) in ATTRIBUTES.items() if keyword in KEYWORDS}
PIXEL_DATA = 0x7FE00010
_PIXEL_TAGS = (PIXEL_DATA, *FLOAT_BITS)
_PATIENT_NAME = 0x00100010
_CSA, _UIH_FRAMES = 0x00291010, 0x00651051
_PIXEL_VRS = (b"OB", b"OW", b"UN", b"OF", b"OD")
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """The header of one file. values: keyword to value. frames: per-frame values of a multi-frame instance.

    unreadable: keyword to the text that could not be read as its type; frames_unreadable: the same for every frame.
    transfer_syntax: the one the bytes have; declared_syntax: the one of the File Meta Information where that is another.
    pixel_tag: of the pixel data element: `PIXEL_DATA`, or that of floating-point pixels (`encoding.FLOAT_BITS`).
    pixel_offset, pixel_length: of its value; None for a deflated file, and the length None where it is undefined.
    size: of the file. overlays: groups (60xx) with overlay data. patient: a key that tells patients apart, and reveals
    nothing else of them; patient_name: of the name, likewise. luts: which of `LUTS` are there. csa: whether a Siemens CSA image header is.
    uih_grid: whether United Imaging's list of the slices of a sheet is.
    """

    path: Path
    transfer_syntax: str
    values: Mapping[str, Any]
    frames: tuple[Mapping[str, Any], ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    frames_unreadable: tuple[Mapping[str, str], ...] = ()
    declared_syntax: str = ""
    has_pixels: bool = False
    pixel_tag: int = PIXEL_DATA
    pixel_offset: int | None = None
    pixel_length: int | None = None
    size: int = 0
    overlays: tuple[int, ...] = ()
    patient: str = ""
    patient_name: str = ""
    luts: tuple[str, ...] = ()
    csa: bool = False
    uih_grid: bool = False

    def get(self, keyword: str, default: Any = None) -> Any:
        return self.values.get(keyword, default)

    @property
    def native(self) -> bool:
        """Whether the pixels are neither compressed nor in a deflated file."""
        return self.transfer_syntax in NATIVE

    @property
    def number_of_frames(self) -> int:
        """How many frames there are; see `count_frames`."""
        if not self.frames and self.values.get("NumberOfFrames", 1) == 1:
            return 1
        from .frame_count import count_frames

        return count_frames(self)


class NotDicom(Exception):
    """The file does not begin like DICOM."""


def read_header(path: Path) -> Header:
    """Read the header of one file. Raises NotDicom for a foreign file, PipelineError(CORRUPT_FILE) for a broken one."""
    with suppress(GiveUp):
        return Header(path, **_FAST.read(path))
    return _read_with_pydicom(path)


def _read_with_pydicom(path: Path) -> Header:
    with open_source(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of attributes that nothing here reads
        if not begins_like_dicom(file.read(144)):
            raise NotDicom
        try:
            return _parse_header(path, file)
        except MemoryError as e:
            from ..core.unexpected import as_refusal

            raise as_refusal(e, f"the header of {path.name}") from e
        except Exception as e:  # a broken file makes a parser stumble in more ways than can be listed
            if isinstance(e, OSError) and e.errno is not None:
                raise
            if isinstance(e, PipelineError) and not isinstance(e, ValueError):
                raise
            why = "its sequences nest too deep" if isinstance(e, RecursionError) else _words(e)
            raise refuse(
                Code.CORRUPT_FILE,
                f"{path.name} begins like DICOM but its header cannot be read: {why}",
                "The file was probably cut off or changed in transfer; export or copy it again.",
                where=(path.name,),
                clause="PS3.10 section 7",
            ) from e


def _words(error: Exception) -> str:
    return error.finding.message if isinstance(error, PipelineError) else str(error) or type(error).__name__


def _parse_header(path: Path, file: BinaryIO) -> Header:
    opened = open_dataset(file, path.name, stop_before_pixels=True)
    dataset, syntax = opened.dataset, opened.syntax
    values, unreadable = read_values(dataset, KEYWORDS)
    read_vectors(dataset, values, unreadable, read_values)
    offset = length = None
    if opened.position is None:  # deflated: pixels have an offset in the inflated copy only
        tag = _find_deflated_pixels(path, values)
    else:
        tag, syntax, offset, length = _read_pixel_element(file, opened.position, syntax)
        if tag is not None and offset is not None:
            big = syntax == EXPLICIT_BIG
            behind = tags_behind(file, offset, length, explicit=syntax != IMPLICIT_LITTLE, big=big)
            _doubt(values, unreadable, behind, BEHIND)
    _doubt(values, unreadable, opened.repeated, TWICE)
    frames = _read_frames(dataset)
    return Header(
        path=path,
        transfer_syntax=syntax,
        values=values,
        frames=tuple(found for found, _ in frames),
        unreadable=unreadable,
        frames_unreadable=tuple(odd for _, odd in frames) if any(odd for _, odd in frames) else (),
        declared_syntax=opened.declared if opened.declared != syntax else "",
        has_pixels=tag is not None,
        pixel_tag=tag or PIXEL_DATA,
        pixel_offset=offset,
        pixel_length=length,
        size=file.seek(0, 2),
        overlays=tuple(g for g in range(0x6000, 0x6020, 2) if (g, 0x3000) in dataset),
        patient=patient_key(str(dataset.get("PatientID") or "")),
        patient_name=name_key(_raw_name(dataset)),
        luts=_find_luts(dataset),
        csa=_CSA in dataset and dataset.get_item(_CSA).VR != "SQ",
        uih_grid=_UIH_FRAMES in dataset,
    )


def _doubt(values: dict[str, Any], unreadable: dict[str, str], tags: frozenset[int], why: str) -> None:
    """Take what misplaced elements say for unreadable. Raises ValueError for one that more than one value hangs on."""
    from .nested_elements import STRUCTURE

    for tag in tags:
        keyword = _KEYWORD_OF.get(tag, "")
        if tag in STRUCTURE:
            raise ValueError(f"its element ({tag >> 16:04X},{tag & 0xFFFF:04X}) cannot be trusted: {why}")
        if keyword:
            values.pop(keyword, None)
            unreadable[keyword] = why


def _raw_name(dataset: Dataset) -> bytes:
    """The bytes of the Patient's Name, as they stand in the file."""
    value = dataset.get_item(_PATIENT_NAME).value if _PATIENT_NAME in dataset else b""
    return value if isinstance(value, bytes) else str(value or "").encode("utf-8", "replace")


def _find_deflated_pixels(path: Path, values: Mapping[str, Any]) -> int | None:
    """The tag of the pixel data of a deflated file; None where it has none. The file is inflated only where it may be floats."""
    if "Rows" not in values:
        return None
    if values.get("BitsAllocated") not in FLOAT_BITS.values():
        return PIXEL_DATA
    dataset = load(path)
    return next((tag for tag in FLOAT_BITS if tag in dataset), PIXEL_DATA)


def _read_pixel_element(file: BinaryIO, start: int, syntax: str) -> tuple[int | None, str, int | None, int | None]:
    """Read the element pydicom stopped before: its tag if it is pixel data, its transfer syntax, offset and length.

    Pixels of defined length that do not begin with an item are native, whatever compression the file declares.
    Raises ValueError where the element is written in neither encoding, or another one of pixel data follows it.
    """
    file.seek(start)
    raw = file.read(16)
    order = ">" if syntax == EXPLICIT_BIG else "<"
    tag = _read_tag(raw, order)
    if tag not in _PIXEL_TAGS or len(raw) < 8:
        return None, syntax, None, None
    explicit = raw[4:6] in _PIXEL_VRS and raw[6:8] == b"\0\0"  # as a length, implicit, these would be odd numbers
    if syntax in NATIVE and explicit == (syntax == IMPLICIT_LITTLE):
        raise ValueError("the pixel data element is encoded in another way than the rest of the data set")
    begin = start + (12 if explicit else 8)
    length = struct.unpack(order + "I", raw[8:12] if explicit else raw[4:8])[0]
    if length == _UNDEFINED:
        return tag, syntax, begin, None
    file.seek(begin + length)
    if _read_tag(file.read(4), order) in _PIXEL_TAGS:
        raise ValueError("it has two elements of pixel data, and an image has one")
    file.seek(begin)
    if syntax not in NATIVE and file.read(4) != _ITEM:
        syntax = EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE
    return tag, syntax, begin, length


def _read_tag(raw: bytes, order: str) -> int:
    """The tag that bytes begin with, in the byte order given; 0 where there are too few."""
    if len(raw) < 4:
        return 0
    group, element = struct.unpack(order + "HH", raw[:4])
    return int(group << 16 | element)


def _find_luts(dataset: Dataset) -> tuple[str, ...]:
    """Which sequences of the data set, or of its functional groups, give stored values a meaning besides the rescale."""
    groups = [*(dataset.get("SharedFunctionalGroupsSequence") or ()), *(dataset.get(_PER_FRAME) or ())]
    return tuple(
        keyword for keyword in LUTS if _is_filled(dataset, keyword) or any(_is_filled(item, keyword) for item in groups)
    )


def _is_filled(dataset: Dataset, keyword: str) -> bool:
    """Whether a sequence is there and not empty; a damaged one is not looked into."""
    if keyword not in dataset:
        return False
    element = dataset.get_item(keyword)
    length = getattr(element, "length", None)
    return bool(element.value) if length is None else length != 0


def _read_frames(dataset: Dataset) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """For every item of the per-frame functional groups: its values over the shared ones, and what cannot be read."""
    shared = dataset.get("SharedFunctionalGroupsSequence")
    common, odd = _agreed([_read_groups(item) for item in shared], "Shared Functional Groups") if shared else ({}, {})
    frames = []
    for item in dataset.get(_PER_FRAME) or ():
        own, own_odd = _read_groups(item)
        values = {k: v for k, v in common.items() if k not in own_odd} | own
        frames.append((values, {k: v for k, v in odd.items() if k not in own} | own_odd))
    return frames


def _read_groups(item: Dataset) -> tuple[dict[str, Any], dict[str, str]]:
    """The values in one item of the functional groups by keyword, and why others cannot be read."""
    found: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    for sequence, keywords in _FRAME_GROUPS.items():
        group = item.get(sequence)
        if group:
            values, odd = _agreed([read_values(one, keywords) for one in group], sequence)
            found.update(values)
            unreadable.update(odd)
    return found, unreadable


def _agreed(items: list[tuple[dict[str, Any], dict[str, str]]], sequence: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What the one item of a sequence says; of several, which the standard does not have, what none says otherwise."""
    values, odd = items[0]
    for others, _ in items[1:]:
        for keyword in [keyword for keyword, value in others.items() if value != values.get(keyword)]:
            values.pop(keyword, None)
            odd[keyword] = f"{sequence} has {len(items)} items where it may have one, and they differ"
    return values, odd


def begins_like_dicom(start: bytes) -> bool:
    """Part 10 (preamble and DICM), or a bare data set that begins with group 0002 or 0008 and a short element."""
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = struct.unpack("<H", start[6:8])[0] if explicit else struct.unpack("<I", start[4:8])[0]
    return bool(struct.unpack("<H", start[2:4])[0] <= 0x0100 and length < 256)
