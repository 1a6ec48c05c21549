"""Read the header of a plain single-frame file without pydicom, which would be slow for the hundreds of a series.

Rules:
- pydicom is the parser of record. What is returned here is what `dicom.header` gets through pydicom, value for
  value, or nothing: whatever is not positively recognised raises `GiveUp`, and pydicom reads the file.
- Every element up to the pixel data is walked, so that nothing is found by chance. Values that were not asked for, and
  sequences of defined length, are skipped by position: pydicom does not look into them either.
- Only the standard library: the fast path of a scan imports neither pydicom nor numpy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from struct import Struct, error
from typing import Any, BinaryIO, NamedTuple

from ..core.regular_file import descriptor_of
from .fast_values import GiveUp, name_key, patient_key, plain_id, plain_value
from .frame_vectors import vector_class
from .misplaced_elements import reaches_end
from .source_file import open_source

_EXPLICIT_LITTLE = b"1.2.840.10008.1.2.1"
_IMPLICIT_LITTLE = b"1.2.840.10008.1.2"
_ENCAPSULATED = (b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.5")  # JPEG family, RLE: explicit little endian headers

# Keyword, tag and VR of the data dictionary (PS3.6), for every attribute a header may be asked for.
_DICTIONARY = """
    ImageType 00080008 CS                   SOPClassUID 00080016 UI               SOPInstanceUID 00080018 UI
    AcquisitionTime 00080032 TM             ContentTime 00080033 TM               Modality 00080060 CS
    Manufacturer 00080070 LO                SeriesDescription 0008103E LO         ManufacturerModelName 00081090 LO
    DerivationDescription 00082111 ST       SliceThickness 00180050 DS            RepetitionTime 00180080 DS
    EchoTime 00180081 DS                    EchoNumbers 00180086 IS               MagneticFieldStrength 00180087 DS
    SpacingBetweenSlices 00180088 DS        ProtocolName 00181030 LO              TriggerTime 00181060 DS
    GantryDetectorTilt 00181120 DS          PatientPosition 00185100 CS           DiffusionBValue 00189087 FD
    StudyInstanceUID 0020000D UI            SeriesInstanceUID 0020000E UI         SeriesNumber 00200011 IS
    AcquisitionNumber 00200012 IS           InstanceNumber 00200013 IS            ImagePositionPatient 00200032 DS
    ImageOrientationPatient 00200037 DS     FrameOfReferenceUID 00200052 UI       TemporalPositionIdentifier 00200100 IS
    SliceLocation 00201041 DS               SamplesPerPixel 00280002 US           PhotometricInterpretation 00280004 CS
    PlanarConfiguration 00280006 US         NumberOfFrames 00280008 IS            Rows 00280010 US
    Columns 00280011 US                     PixelSpacing 00280030 DS              BitsAllocated 00280100 US
    BitsStored 00280101 US                  HighBit 00280102 US                   PixelRepresentation 00280103 US
    BurnedInAnnotation 00280301 CS          RescaleIntercept 00281052 DS          RescaleSlope 00281053 DS
    RescaleType 00281054 LO                 LossyImageCompression 00282110 CS     SegmentationType 00620001 CS
    MaximumFractionalValue 0062000E US      NominalScannedPixelSpacing 00182010 DS  ImagerPixelSpacing 00181164 DS
    DiffusionGradientOrientation 00189089 FD  ConcatenationUID 00209161 UI        InConcatenationNumber 00209162 US
    NumberOfStudyRelatedInstances 00201208 IS  NumberOfSeriesRelatedInstances 00201209 IS  InConcatenationTotalNumber 00209163 US
""".split()
ATTRIBUTES = {k: (int(t, 16), v.encode()) for k, t, v in zip(*[iter(_DICTIONARY)] * 3, strict=True)}
# The numbers that are several; every other is one, also where it is written several times over.
SEVERAL_NUMBERS = frozenset(
    """ImagePositionPatient ImageOrientationPatient EchoNumbers DiffusionGradientOrientation
    PixelSpacing NominalScannedPixelSpacing ImagerPixelSpacing""".split()
)
_ONE_NUMBER = {k for k, (_, vr) in ATTRIBUTES.items() if vr in (b"DS", b"IS", b"US", b"FD")} - SEVERAL_NUMBERS

# In implicit VR an element of undefined length is a sequence only if the dictionary says so; these are common.
SEQUENCES = frozenset(
    int(tag, 16)
    for tag in """
    00081032 0008103F 00081110 00081111 00081115 00081120 00081140 00081199 00082112 00082218 00082228 00089121
    00089215 00101002 00120064 00180014 00180026 00189346 00283000 00283010 00321064 00400008 00400100 00400260
    00400275 00400340 00400555 0040A043 0040A168 0040A170 0040A504 0040A730 00540012 00540013 00540016 00540022
    00540300 00540302 00540304 00540410 00540412 00540414 00880200 04000561 30060010 30060012 30060014 30060016
    30060020 30060030 30060039 30060040 30060080 30060086 300600B0 300600C0
    """.split()
)
# VRs by the bytes of their explicit length (PS3.5 section 7.1.2); implicit elements have no VR.
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_OR_NONE = SHORT_VRS | {b""}
# Character sets under which bytes 20 to 7E are ASCII, so that an ASCII value needs no decoding (PS3.3 C.12.1.1.2).
_ASCII_COMPATIBLE = {
    *(b"", b"ISO_IR 6", b"ISO_IR 192", b"GB18030"),
    *(b"ISO_IR %d" % n for n in (100, 101, 109, 110, 126, 127, 138, 144, 148)),
}

_TRANSFER_SYNTAX, _CHARACTER_SET = 0x00020010, 0x00080005
_FUNCTIONAL_GROUPS = (0x52009229, 0x52009230)
_OVERLAY_DATA = tuple(group << 16 | 0x3000 for group in range(0x6000, 0x6020, 2))
_PATIENT_NAME, _PATIENT_ID, _CSA, _UIH_FRAMES = 0x00100010, 0x00100020, 0x00291010, 0x00651051
# They say what stored values mean, and are noticed where they are not empty.
SEQUENCES_OF_VALUES = {"ModalityLUTSequence": 0x00283000, "RealWorldValueMappingSequence": 0x00409096}
_OF_VALUES = frozenset(SEQUENCES_OF_VALUES.values())
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_ITEM_START, _ITEM_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0"
_PIXEL_DATA, _UNDEFINED = 0x7FE00010, 0xFFFFFFFF

_WINDOW = 8192  # bytes read at a time: it holds most headers whole, and any value that is wanted
_DEEPEST = 16  # sequences within each other: no real file comes near, and recursion must end
_explicit = Struct("<HH2sH").unpack_from
_implicit = Struct("<HHI").unpack_from
_long = Struct("<I").unpack_from


class _Scope(NamedTuple):
    """What belongs to one data set: tags above `after` and below `limit`; which are kept, and by which VR."""

    after: int
    limit: int
    wanted: Mapping[int, bytes]


_META = _Scope(0x00020000, 0x00030000, {_TRANSFER_SYNTAX: b"UI"})
_IN_ITEM = _Scope(-1, 0xFFFE0000, {_CHARACTER_SET: b"CS"})
_NOTICED = {_CHARACTER_SET: b"CS", _PATIENT_NAME: b"PN", _PATIENT_ID: b"LO"} | {
    **dict.fromkeys((*_FUNCTIONAL_GROUPS, *_OF_VALUES), b"SQ"),
    **dict.fromkeys(_OVERLAY_DATA, b"OB OW"),
    **dict.fromkeys((_CSA, _UIH_FRAMES), b""),
}
_UNREAD = {*_OVERLAY_DATA, *_OF_VALUES}


class Reader:
    """Reads the attributes of the given keywords. Raises KeyError where one has no line in the dictionary above."""

    def __init__(self, keywords: Iterable[str]) -> None:
        self._attributes = tuple((keyword, *ATTRIBUTES[keyword]) for keyword in keywords)
        wanted = {tag: vr for _, tag, vr in self._attributes}
        self._data_set = _Scope(_META.limit - 1, 0x7FE00008, wanted | _NOTICED)

    def read(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Read the fields of `dicom.header.Header` but for the path. Raises GiveUp, and nothing else, where it cannot."""
        try:
            try:
                descriptor = descriptor_of(path)
            except (NotADirectoryError, FileNotFoundError):  # it may be a member of an archive
                with open_source(Path(path)) as file:
                    return self._read_fields(_OpenFile(file))
            try:
                return self._read_fields(_File(descriptor))
            finally:
                os.close(descriptor)
        except (error, ValueError, OSError) as reason:  # struct.error: the file ends within an element
            raise GiveUp(str(reason)) from None

    def _read_fields(self, file: _File) -> dict[str, Any]:
        syntax, position = _read_transfer_syntax(file)
        explicit = syntax != _IMPLICIT_LITTLE
        if not explicit and file.bytes(position, 6)[4:].isalpha():
            raise GiveUp("implicit VR that looks explicit")
        position, found = _walk(file, position, file.size, explicit, self._data_set, 0)
        _check_character_set(found)
        if any(tag in found for tag in _FUNCTIONAL_GROUPS):
            raise GiveUp("functional groups")
        values = self._convert(found)
        if values.get("NumberOfFrames", 1) != 1:
            raise GiveUp("several frames")
        if vector_class(values):
            raise GiveUp("a class with attributes of its own")
        has_pixels, offset, length = _find_pixels(file, position, explicit)
        odd = length is not None and length & 1 and length != _UNDEFINED  # or a VR where none should be
        if has_pixels and (odd or (length == _UNDEFINED) != syntax.startswith(_ENCAPSULATED)):
            raise GiveUp("pixel data of a length that its transfer syntax does not ask for")
        return {
            "transfer_syntax": syntax.decode(),
            "values": values,
            "has_pixels": has_pixels,
            "pixel_offset": offset,
            "pixel_length": None if length == _UNDEFINED else length,
            "size": file.size,
            "overlays": tuple(tag >> 16 for tag in _OVERLAY_DATA if tag in found),
            "patient": patient_key(plain_id(found.get(_PATIENT_ID, b""))),
            "patient_name": name_key(found.get(_PATIENT_NAME, b"")),
            "luts": tuple(keyword for keyword, tag in SEQUENCES_OF_VALUES.items() if tag in found),
            "csa": _CSA in found,
            "uih_grid": _UIH_FRAMES in found,
        }

    def _convert(self, found: Mapping[int, bytes]) -> dict[str, Any]:
        """The values by keyword; an empty one is left out."""
        values = {}
        for keyword, tag, vr in self._attributes:
            if tag in found and (value := plain_value(vr, found[tag])) is not None:
                is_repeated = type(value) is tuple and keyword in _ONE_NUMBER and len(set(value)) == 1
                values[keyword] = value[0] if is_repeated else value
        return values


class _File:
    """A window on an open file that is moved by position: what lies between two windows is never read."""

    __slots__ = ("data", "descriptor", "size", "start")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.start = 0
        self.data = os.read(descriptor, _WINDOW)

    def move(self, position: int) -> None:
        os.lseek(self.descriptor, position, os.SEEK_SET)
        self.start, self.data = position, os.read(self.descriptor, _WINDOW)

    def bytes(self, position: int, length: int) -> bytes:
        """Get bytes at a position, at most a window of them. Positions only grow, so that none lies before the window."""
        at = position - self.start
        if at + length > len(self.data):
            self.move(position)
            at = 0
        value = self.data[at : at + length]
        if len(value) != length:
            raise GiveUp(f"cut off, or a value longer than {_WINDOW} bytes, at byte {position}")
        return value


class _OpenFile(_File):
    """The same on a file that has no descriptor."""

    __slots__ = ("file",)

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        self.move(0)

    def move(self, position: int) -> None:
        self.file.seek(position)
        self.start, self.data = position, self.file.read(_WINDOW)


def _read_transfer_syntax(file: _File) -> tuple[bytes, int]:
    """Read the transfer syntax, and find where the data set begins (PS3.10 section 7.1)."""
    start = file.bytes(128, 16)
    if start[:12] != b"DICM\x02\x00\x00\x00UL\x04\x00":
        raise GiveUp("no Part 10 file with a group length")
    end = 144 + int.from_bytes(start[12:], "little")
    position, found = _walk(file, 144, end, True, _META, 0)
    syntax = found.get(_TRANSFER_SYNTAX, b"").rstrip(b"\0 ")
    known = syntax in (_EXPLICIT_LITTLE, _IMPLICIT_LITTLE) or syntax.startswith(_ENCAPSULATED)
    if position != end or not known or not syntax.replace(b".", b"").isdigit():
        raise GiveUp("unknown transfer syntax, or a wrong group length")
    return syntax, position


def _walk(
    file: _File, position: int, end: int, explicit: bool, scope: _Scope, depth: int
) -> tuple[int, dict[int, bytes]]:
    """Walk one data set until `end` or the first tag at or above its limit: where that is, and the wanted values.

    The caller must check that the walk stopped where it should: an element may reach beyond `end`.
    """
    found: dict[int, bytes] = {}
    last, limit, wanted = scope
    data, start = file.data, file.start
    room = len(data) - 12
    while position < end:
        at = position - start
        if at > room:
            file.move(position)
            data, start, at, room = file.data, position, 0, len(file.data) - 12
        if explicit:
            group, element, vr, length = _explicit(data, at)
        else:
            group, element, length = _implicit(data, at)
            vr = b""
        tag = group << 16 | element
        if tag >= limit:
            break
        value = position + 8
        if vr in LONG_VRS and length == 0:  # the two bytes before a long length are reserved and zero
            value, (length,) = position + 12, _long(data, at + 8)
        elif vr not in _SHORT_OR_NONE:
            raise GiveUp(f"unknown VR {vr!r} at byte {position}")
        if tag <= last:
            raise GiveUp(f"tag {tag:08X} is out of order")
        last = tag
        if length & 1:
            if length != _UNDEFINED or not _may_be_skipped(file, tag, vr, value, wanted):
                raise GiveUp(f"tag {tag:08X} has an odd or an undefined length")
            if tag == _UIH_FRAMES or (tag in _OF_VALUES and file.bytes(value, 4) == _ITEM_START):
                found[tag] = b""
            position = _skip_sequence(file, value, end, explicit, depth + 1)
            data, start, room = file.data, file.start, len(file.data) - 12
            continue
        position = value + length
        if tag in wanted:
            _keep(file, found, tag, vr, value, length, wanted[tag])
    return position, found


def _keep(file: _File, found: dict[int, bytes], tag: int, vr: bytes, value: int, length: int, vrs: bytes) -> None:
    """Add the value of a wanted element to `found`; b"" for one whose presence alone is noticed."""
    if tag in (_CSA, _UIH_FRAMES):
        if vr != b"SQ" or tag != _CSA:
            found[tag] = b""
        return
    if vr not in vrs:  # b"OB" is in b"OB OW", and the b"" of implicit VR is in all
        raise GiveUp(f"tag {tag:08X} has VR {vr!r}")
    if tag not in _UNREAD:
        found[tag] = file.bytes(value, length)
    elif length or tag not in _OF_VALUES:
        found[tag] = b""


def _may_be_skipped(file: _File, tag: int, vr: bytes, value: int, wanted: Mapping[int, bytes]) -> bool:
    """Whether an element of undefined length is a sequence whose content is not wanted."""
    return (tag not in wanted or tag in (*_OF_VALUES, _CSA, _UIH_FRAMES)) and _is_sequence(file, tag, vr, value)


def _is_sequence(file: _File, tag: int, vr: bytes, value: int) -> bool:
    if vr:
        return vr == b"SQ"
    return tag in SEQUENCES or bool(tag & 0x10000 and file.bytes(value, 4) == _ITEM_START)


def _skip_sequence(file: _File, position: int, end: int, explicit: bool, depth: int) -> int:
    """Find where a sequence of undefined length ends. Its items are walked too, because pydicom goes by their elements."""
    if depth > _DEEPEST:
        raise GiveUp("sequences nested too deep")
    while True:
        group, element, length = _implicit(file.bytes(position, 8))
        tag = group << 16 | element
        position += 8
        if tag == _SEQUENCE_END and length == 0:
            return position
        if tag != _ITEM:
            raise GiveUp(f"no item at byte {position - 8}")
        item_end = end if length == _UNDEFINED else position + length
        position, found = _walk(file, position, min(item_end, end), explicit, _IN_ITEM, depth)
        _check_character_set(found)
        if length == _UNDEFINED:
            if file.bytes(position, 8) != _ITEM_END:
                raise GiveUp(f"no end of an item at byte {position}")
            position += 8
        elif position != item_end:
            raise GiveUp(f"an item does not end at byte {item_end}")


def _check_character_set(found: Mapping[int, bytes]) -> None:
    if found.get(_CHARACTER_SET, b"").rstrip(b"\0 ") not in _ASCII_COMPATIBLE:
        raise GiveUp("a character set that is not known to hold ASCII")


def _find_pixels(file: _File, position: int, explicit: bool) -> tuple[bool, int | None, int | None]:
    """Find whether there are pixels where the walk stopped, and their offset and length."""
    if position == file.size:
        return False, None, None
    header = file.bytes(position, 12 if explicit else 8)
    group, element, length = _implicit(header)
    value = position + len(header)
    if explicit:
        if header[4:8] not in (b"OB\0\0", b"OW\0\0"):
            raise GiveUp("pixel data of an unexpected VR")
        length = int.from_bytes(header[8:], "little")
    if group << 16 | element != _PIXEL_DATA or not reaches_end(file, value, length, explicit=explicit):
        raise GiveUp("something else where the pixel data should be, or behind it")
    return True, value, length
