"""Tell whether a file holds its data set whole: whether any element or item claims more than the bytes that are left.

Rules:
- Lengths are followed from element to element, into sequences and pixel data of undefined length up to their delimiters. No
  value is read, nothing is kept, and nesting costs no stack.
- A file may be cut between two elements, where no length tells. So a data set that has Rows has pixel data too.
- Bytes after pixel data, too few for an element, are padding.
"""

from __future__ import annotations

import os
import zlib
from io import BytesIO
from pathlib import Path
from struct import unpack
from typing import BinaryIO, NamedTuple

from .encoding import DEFLATED, EXPLICIT_BIG, LONG_VRS, find_data_set
from .inflate import inflate
from .source_file import open_source

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_ROWS, _PROVIDER, _PIXELS = 0x00280010, 0x00287FE0, (0x7FE00008, 0x7FE00009, 0x7FE00010)


class DataSetEnd(NamedTuple):
    """How a data set ends. is_whole: nothing is cut. has_pixels: it has pixel data, which comes last."""

    is_whole: bool
    has_pixels: bool


class _OpenLength(NamedTuple):
    """What undefined lengths lead into. of_items: a sequence, else an item. explicit: whether elements have VRs."""

    of_items: bool
    explicit: bool


def end_of(path: Path) -> DataSetEnd:
    """Follow the data set of a file to its end. Raises OSError where the file cannot be had, MEMORY_LIMIT where it is deflated."""
    with open_source(path) as file:
        return end_of_file(file, path.name)


def end_of_file(file: BinaryIO, name: str) -> DataSetEnd:
    """As `end_of`, of an open file. name: of it."""
    start, syntax = find_data_set(file)
    if syntax == DEFLATED:
        file.seek(start)
        try:
            file, start = BytesIO(inflate(file.read(), name)), 0
        except (ValueError, zlib.error):
            return DataSetEnd(is_whole=False, has_pixels=False)
    return _DataSetWalk(file, is_big=syntax == EXPLICIT_BIG).follow(start)


class _DataSetWalk:
    """A walk over the elements of an open file."""

    def __init__(self, file: BinaryIO, *, is_big: bool) -> None:
        self._file, self._order = file, ">" if is_big else "<"
        self._size = file.seek(0, os.SEEK_END)
        self._inside: list[_OpenLength] = []
        self._tags: set[int] = set()  # of those that count, in the data set itself

    def follow(self, at: int) -> DataSetEnd:
        """Follow the elements from a place to the end of the file."""
        explicit = self._has_vr(at)
        any_element = False
        while self._inside or at + 8 <= self._size:
            if at + 8 > self._size:
                return DataSetEnd(is_whole=False, has_pixels=False)
            at = self._step(at, self._inside[-1] if self._inside else _OpenLength(of_items=False, explicit=explicit))
            if at < 0 or at > self._size:
                return DataSetEnd(is_whole=False, has_pixels=False)
            any_element = True
        has_pixels = bool(self._tags & {*_PIXELS})
        lacks_pixels = _ROWS in self._tags and not has_pixels and _PROVIDER not in self._tags
        is_whole = any_element and not lacks_pixels and (has_pixels or not any(self._read(at, 8)))
        return DataSetEnd(is_whole, is_whole and has_pixels)

    def _step(self, at: int, inside: _OpenLength) -> int:
        """Go on by an element, an item or a delimiter: where the next one is; negative where this is none."""
        group, element, length = unpack(self._order + "HHI", self._read(at, 8))
        tag = group << 16 | element
        if self._inside and tag == (_SEQUENCE_END if inside.of_items else _ITEM_END):
            self._inside.pop()
            return at + 8
        length = int(length)
        if inside.of_items:
            return self._enter_item(at + 8, length) if tag == _ITEM else -1
        if not self._inside and tag in (_ROWS, _PROVIDER, *_PIXELS):
            self._tags.add(tag)
        value = at + 8
        if inside.explicit:
            value, length = self._length_of(at)
        if length == _UNDEFINED:
            self._inside.append(_OpenLength(of_items=True, explicit=inside.explicit))
            return value
        return value + length

    def _enter_item(self, value: int, length: int) -> int:
        if length != _UNDEFINED:
            return value + length
        self._inside.append(
            _OpenLength(of_items=False, explicit=self._has_vr(value))
        )  # in UN, and in some writers', it is another
        return value

    def _length_of(self, at: int) -> tuple[int, int]:
        """Where the value of an element with a VR begins, and its length; the latter past any end where it is cut off."""
        head = self._read(at, 12)
        if head[4:6] not in LONG_VRS:
            return at + 8, unpack(self._order + "H", head[6:8])[0]
        return at + 12, unpack(self._order + "I", head[8:12])[0] if len(head) == 12 else self._size

    def _has_vr(self, at: int) -> bool:
        vr = self._read(at, 6)[4:6]
        return vr.isalpha() and vr.isupper()

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)
