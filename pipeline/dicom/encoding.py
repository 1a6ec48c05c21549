"""Read a data set as its bytes are encoded, whatever the File Meta Information says of them.

Rules:
- The first element of the data set shows VR encoding and byte order. Where the Transfer Syntax UID (0002,0010)
  names others, the bytes count: pixels read by the name alone lie four bytes off, or have their bytes swapped.
- Everything that opens a DICOM file with pydicom does it here, so that header, pixels, overlays and tables agree.
- Only a native or the deflated syntax is ever corrected. A compressed one also names the compression of its frames, which
  the first element does not show.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from struct import unpack
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from .source_file import open_source

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = {EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG}
# Bits of a value of Float and Double Float Pixel Data, by the tag of the element (PS3.3 C.7.6.24, C.7.6.25).
FLOAT_BITS = {0x7FE00008: 32, 0x7FE00009: 64}

_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SYNTAX = 0x0010
_FIRST_GROUP = 0x0008  # what every data set of an image, SEG or structure set begins with
_LONGEST_META = 1 << 16  # bytes: the File Meta Information of real files takes a few hundred


class Opened(NamedTuple):
    """A data set and how it was found.

    declared: the transfer syntax of the File Meta Information, "" where there is none; syntax: the one its bytes have.
    position: in the file, where reading stopped; None for a deflated data set.
    """

    dataset: FileDataset
    declared: str
    syntax: str
    position: int | None


def load(path: Path, **options: Any) -> FileDataset:
    """Read the data set of one file with pydicom. options: of `pydicom.dcmread`. Raises what pydicom raises."""
    with open_source(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of attributes that nothing here reads
        return open_dataset(file, **options).dataset


@lru_cache(maxsize=1)  # the frames of one instance follow each other
def inflated(path: Path, written_ns: int) -> bytes:
    """The pixel data of a deflated file. `written_ns`, when it was last written, keeps a changed file from being mixed up."""
    dataset = load(path)
    return bytes(next((dataset[tag].value for tag in FLOAT_BITS if tag in dataset), None) or dataset.PixelData)


def open_dataset(file: BinaryIO, **options: Any) -> Opened:
    """Read the data set of an open file, and find out its encoding. options: of `pydicom.dcmread`. Raises what pydicom raises."""
    from pydicom import dcmread

    start, declared, value = _read_file_meta(file)
    found = _detect_syntax(file, start, declared) if declared else ""
    file.seek(0)
    if not found or found == declared:
        dataset = dcmread(file, force=True, **options)
        syntax = declared or str(getattr(dataset.file_meta, "TransferSyntaxUID", "")) or _guess_syntax(dataset)
        return Opened(dataset, declared, syntax, None if syntax == DEFLATED else file.tell())
    corrected, grown = _replace_syntax(file.read(), value, found)
    dataset = dcmread(corrected, force=True, **options)
    return Opened(dataset, declared, found, corrected.tell() - grown)


def _read_file_meta(file: BinaryIO) -> tuple[int, str, slice]:
    """Find where the data set begins, the transfer syntax that is declared, and where in the file its value is."""
    file.seek(0)
    raw = file.read(_LONGEST_META)
    position = 132 if raw[128:132] == b"DICM" else 0
    declared, value = "", slice(0, 0)
    while position + 8 <= len(raw):
        group, element, vr, length = unpack("<HH2sH", raw[position : position + 8])
        if group != 2 or not vr.isalpha():
            break
        start = position + 8
        if vr in _LONG_VRS:
            start, (length,) = position + 12, unpack("<I", raw[position + 8 : position + 12].ljust(4, b"\0"))
        position = start + length
        if element == _SYNTAX:
            value = slice(start, position)
            declared = raw[value].rstrip(b"\0 ").decode("ascii", "replace")
    return position, declared, value


def _detect_syntax(file: BinaryIO, start: int, declared: str) -> str:
    """The transfer syntax that the first element shows; the declared one where it shows none, or where it does not matter."""
    if declared not in NATIVE and declared != DEFLATED:
        return declared
    file.seek(start)
    raw = file.read(6)
    if len(raw) < 6:
        return declared
    explicit = raw[4:6].isalpha() and raw[4:6].isupper()
    little, big = unpack("<H", raw[:2])[0], unpack(">H", raw[:2])[0]
    if declared == DEFLATED:  # a deflated stream does not begin with the group and a VR of the first element
        return EXPLICIT_LITTLE if little == _FIRST_GROUP and explicit else declared
    order = {little: "little", big: "big"}.get(_FIRST_GROUP, "big" if declared == EXPLICIT_BIG else "little")
    if order == "big":
        return EXPLICIT_BIG if explicit else declared
    return EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE


def _replace_syntax(content: bytes, value: slice, syntax: str) -> tuple[BytesIO, int]:
    """The file with another Transfer Syntax UID, and by how many bytes it has grown."""
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    grown = len(new) - (value.stop - value.start)
    length = len(new).to_bytes(2, "little")
    changed = bytearray(content[: value.start - 2] + length + new + content[value.stop :])
    if changed[132:140] == b"\x02\0\0\0UL\x04\0":  # the group's own length
        changed[140:144] = (int.from_bytes(changed[140:144], "little") + grown).to_bytes(4, "little")
    return BytesIO(bytes(changed)), grown


def _guess_syntax(dataset: FileDataset) -> str:
    implicit, little = dataset.original_encoding[:2]
    return IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG
