"""Read a data set as its bytes are encoded, whatever the File Meta Information says of them.

Rules:
- The first element of the data set shows VR encoding and byte order. Where the Transfer Syntax UID (0002,0010)
  names others, the bytes count: pixels read by the name alone lie four bytes off, or have their bytes swapped.
- Everything that opens a DICOM file with pydicom does it here, so that header, pixels, overlays and tables agree.
- Only a native or the deflated syntax is ever corrected. A compressed one also names the compression of its frames, which
  the first element does not show.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from struct import unpack
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..core.findings import PipelineError
from ..core.memory import require
from .bounded_file import BoundedFile
from .inflate import inflate
from .misplaced_elements import SeenElements
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

LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SYNTAX = 0x0010
_FIRST_GROUP = 0x0008  # what every data set of an image, SEG or structure set begins with
_LONGEST_META = 1 << 16  # bytes: the File Meta Information of real files takes a few hundred


class Opened(NamedTuple):
    """A data set and how it was found.

    declared: the transfer syntax of the File Meta Information, "" where there is none; syntax: the one its bytes have.
    position: in the file, where reading stopped; None for a deflated data set. repeated: tags of elements that stand twice,
    with different values, before the pixels; only where reading stopped there.
    """

    dataset: FileDataset
    declared: str
    syntax: str
    position: int | None
    repeated: frozenset[int] = frozenset()


def load(path: Path, **options: Any) -> FileDataset:
    """Read the data set of one file with pydicom.

    Args:
        path: of the file.
        options: specific_tags and stop_before_pixels, as of `pydicom.dcmread`.

    Returns:
        The data set, guarded: see `guarded_dataset`.

    Raises:
        OSError: the file cannot be had.
        PipelineError: MEMORY_LIMIT; UnreadableValue, a ValueError too, where there is no data set in it.
    """
    from .guarded_dataset import unreadable

    with open_source(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of attributes that nothing here reads
        try:
            return open_dataset(file, path.name, **options).dataset
        except (PipelineError, MemoryError):
            raise
        except Exception as error:  # a broken file makes a parser stumble in more ways than can be listed
            if isinstance(error, OSError) and error.errno is not None:
                raise
            why = "its sequences nest too deep" if isinstance(error, RecursionError) else str(error)
            raise unreadable(path.name, f"{path.name} cannot be read: {why}") from error


@lru_cache(maxsize=1)  # the frames of one instance follow each other
def inflated(path: Path, written_ns: int) -> bytes:
    """The pixel data of a deflated file. `written_ns`, when it was last written, keeps a changed file from being mixed up."""
    from .guarded_dataset import unreadable

    dataset = load(path)
    value = next((dataset[tag].value for tag in FLOAT_BITS if tag in dataset), None) or dataset.get("PixelData")
    if not isinstance(value, bytes):
        raise unreadable(path.name, f"{path.name} has no pixel data")
    return value


def open_dataset(file: BinaryIO, name: str, **options: Any) -> Opened:
    """Read the data set of an open file, and find out its encoding.

    Args:
        file: open for reading, which can be sought in.
        name: of the file.
        options: specific_tags and stop_before_pixels, as of `pydicom.dcmread`.

    Returns:
        The data set, guarded, and how it was found.

    Raises:
        PipelineError: MEMORY_LIMIT.
        Exception: what else pydicom raises.
    """
    from .guarded_dataset import guard

    start, declared, value = _read_file_meta(file)
    found = _detect_syntax(file, start, declared) if declared else ""
    file.seek(0)
    if declared == DEFLATED == found:
        opened = _open_deflated(file, name, start, value, options)
    elif not found or found == declared:
        dataset, repeated = _parse(file, name, options)
        syntax = declared or str(getattr(dataset.file_meta, "TransferSyntaxUID", "")) or _guess_syntax(dataset)
        opened = Opened(dataset, declared, syntax, None if syntax == DEFLATED else file.tell(), repeated)
    else:
        corrected, grown = _replace_syntax(_read_all(file, name), value, found)
        dataset, repeated = _parse(corrected, name, options)
        opened = Opened(dataset, declared, found, corrected.tell() - grown, repeated)
    guard(opened.dataset, name)
    return opened


def find_data_set(file: BinaryIO) -> tuple[int, str]:
    """Find where the data set of an open file begins, and the native or deflated transfer syntax that its bytes are laid out in."""
    start, declared, _ = _read_file_meta(file)
    layout = declared if declared in NATIVE or declared == DEFLATED else EXPLICIT_LITTLE
    return start, _detect_syntax(file, start, layout)


def _parse(file: BinaryIO, name: str, options: dict[str, Any]) -> tuple[FileDataset, frozenset[int]]:
    """The data set, and the tags of elements that repeat in it, where reading stops before the pixels."""
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    from .nested_elements import refuse_repeated

    bounded: Any = BoundedFile(file, getattr(file, "name", name))
    tags: list[Any] = [Tag(tag) for tag in options.get("specific_tags", ())]
    seen = SeenElements(bounded) if options.get("stop_before_pixels") else None
    try:
        dataset = read_partial(bounded, seen, force=True, specific_tags=tags or None)
    except Exception as error:
        raise bounded.refusal or error from error  # which pydicom may have taken for the end of the file
    refuse_repeated(dataset, bounded)
    dataset.buffer = None  # nothing is read from it later, and a copy of the data set would take it along
    return dataset, seen.repeated() if seen else frozenset()


def _open_deflated(file: BinaryIO, name: str, start: int, value: slice, options: dict[str, Any]) -> Opened:
    """Read a deflated data set from what it inflates to, since pydicom inflates without a bound."""
    from pydicom.uid import UID

    content = _read_all(file, name)
    inflated, _ = _replace_syntax(content[:start] + inflate(content[start:], name), value, EXPLICIT_LITTLE)
    dataset, repeated = _parse(inflated, name, options)
    dataset.file_meta.TransferSyntaxUID = UID(DEFLATED)  # as the file says
    return Opened(dataset, DEFLATED, DEFLATED, None, repeated)


def _read_all(file: BinaryIO, name: str) -> bytes:
    size = file.seek(0, os.SEEK_END)
    require(size, name, (name,))
    file.seek(0)
    return file.read()


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
        if vr in LONG_VRS:
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
