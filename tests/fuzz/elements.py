"""Find the data elements of a DICOM file by its bytes, and put other bytes in their place; also where the file is spoilt.

Rules:
- Nothing but the encoding of PS3.5 is used: no reader under test decides where an element lies.
- What cannot be followed further ends the list; nothing is raised.
- A change of length is carried to every sequence and item around it, so that what follows stays readable.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

PREAMBLE = 132
UNDEFINED = 0xFFFFFFFF
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEPTH = 12
_IMPLICIT, _BIG, _DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"


class Element(NamedTuple):
    """One element. start, value, end: offsets of its tag, of its value and past it. around: offsets and sizes of the lengths of what
    it lies in, outermost first. endian: of its numbers."""

    tag: int
    vr: bytes
    start: int
    value: int
    end: int
    endian: str
    around: tuple[tuple[int, int], ...]

    @property
    def length_at(self) -> tuple[int, int]:
        """Offset and size of its own length."""
        size = 2 if self.vr and self.vr not in _LONG else 4
        return self.value - size, size


def is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def inflated(data: bytes) -> tuple[bytes, bool]:
    """The file with its data set inflated, and whether it was deflated."""
    meta, syntax, start = _meta(data)
    if syntax == _DEFLATED and meta:
        try:
            return data[:start] + zlib.decompressobj(-15).decompress(data[start:], 1 << 22), True
        except zlib.error:
            pass
    return data, False


def deflated(data: bytes) -> bytes:
    start = _meta(data)[2]
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(data[start:]) + packer.flush()
    return data[:start] + packed + b"\0" * (len(packed) % 2)


def elements(data: bytes) -> list[Element]:
    """Every element that can be found, those within sequences too, in the order of the file; the data set is not deflated."""
    meta, syntax, start = _meta(data)
    endian = ">" if syntax == _BIG else "<"
    return meta + list(_walk(data, start, len(data), endian, syntax != _IMPLICIT, (), 0))


def replaced(data: bytes, element: Element, value: bytes, *, carried: bool = True) -> bytes:
    """The file with another value of an element. carried: its own length follows, and those around it."""
    new = data[: element.value] + value + data[element.end :]
    if not carried:
        return new
    at, size = element.length_at
    limit = 0xFFFF if size == 2 else UNDEFINED - 1
    new = _put(new, at, size, min(len(value), limit), element.endian)
    return grown(new, element, len(value) - (element.end - element.value))


def grown(data: bytes, element: Element, by: int) -> bytes:
    """The file where everything around an element says that it is so many bytes longer."""
    for at, size in element.around:
        old = int.from_bytes(data[at : at + size], "little" if element.endian == "<" else "big")
        if old != UNDEFINED:
            data = _put(data, at, size, max(0, old + by), element.endian)
    return data


def _put(data: bytes, at: int, size: int, number: int, endian: str) -> bytes:
    return (
        data[:at]
        + (number & (1 << 8 * size) - 1).to_bytes(size, "little" if endian == "<" else "big")
        + data[at + size :]
    )


def _meta(data: bytes) -> tuple[list[Element], bytes, int]:
    """The elements of the file meta information, the transfer syntax, and where the data set starts."""
    found, syntax, end = [], b"", PREAMBLE
    for element in _walk(data, PREAMBLE, len(data), "<", True, (), 0):
        if element.tag >> 16 != 2:
            break
        found.append(element)
        end = element.end
        if element.tag == 0x00020010:
            syntax = data[element.value : element.end].rstrip(b"\0 ")
    return found, syntax, end


def _walk(
    data: bytes, at: int, stop: int, endian: str, explicit: bool, around: tuple[tuple[int, int], ...], depth: int
) -> Iterator[Element]:
    """Yield elements until the end, or until one makes no sense."""
    while at + 8 <= stop:
        group, number = struct.unpack_from(endian + "HH", data, at)
        tag, vr, value = group << 16 | number, b"", at + 8
        if explicit and group != 0xFFFE:
            vr = data[at + 4 : at + 6]
            if vr in _LONG:
                value = at + 12
                if value > stop:
                    return
                length = struct.unpack_from(endian + "I", data, at + 8)[0]
            else:
                length = struct.unpack_from(endian + "H", data, at + 6)[0]
        else:
            length = struct.unpack_from(endian + "I", data, at + 4)[0]
        if tag in (_ITEM_END, _SEQUENCE_END):
            return
        if length != UNDEFINED and value + length > stop:
            return
        end = value + length if length != UNDEFINED else _end_of(data, value, stop, endian)
        element = Element(tag, vr, at, value, end, endian, around)
        yield element
        if _holds_items(data, element, length, endian) and depth < _DEPTH:
            inner = (*around, (value - 4, 4))
            for first, last in _items(data, value, end, endian):
                yield from _walk(data, first, last, endian, explicit, (*inner, (first - 4, 4)), depth + 1)
        at = end


def _holds_items(data: bytes, element: Element, length: int, endian: str) -> bool:
    if element.vr == b"SQ":
        return True
    starts = data[element.value : element.value + 4] == struct.pack(endian + "HH", 0xFFFE, 0xE000)
    return not element.vr and length != UNDEFINED and length > 8 and starts


def _end_of(data: bytes, at: int, stop: int, endian: str) -> int:
    """Past the delimiter of a sequence of undefined length, by the first that is there."""
    found = data.find(struct.pack(endian + "HHI", 0xFFFE, 0xE0DD, 0), at, stop)
    return stop if found < 0 else found + 8


def _items(data: bytes, at: int, stop: int, endian: str) -> Iterator[tuple[int, int]]:
    """First and last offset of the content of every item of a sequence."""
    while at + 8 <= stop:
        group, number, length = struct.unpack_from(endian + "HHI", data, at)
        if group << 16 | number != _ITEM:
            return
        end = at + 8 + length if length != UNDEFINED else stop
        if end > stop:
            return
        yield at + 8, end
        at = end
