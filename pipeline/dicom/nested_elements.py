"""Notice elements that stand twice in an item of a sequence that planes, segments, contours or values hang on.

Rules:
- As `misplaced_elements` does in the data set itself: two with the same bytes say the same, and so do private ones.
- What is no sequence of items, or breaks off, is left to pydicom.
- An item whose elements ascend, as they are to, is looked at once and costs a microsecond an element.
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct, error
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from .misplaced_elements import TWICE

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Sequences that say which planes, segments and contours there are, or what values mean.
STRUCTURE = (0x00283000, 0x00409096, 0x00540022, 0x00620002, 0x30060020, 0x30060039, 0x52009229, 0x52009230)
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_DEEPEST = 16


class _Strange(Exception):
    """These are no elements and items."""


class _Element(NamedTuple):
    tag: int
    value: int
    end: int


def refuse_repeated(dataset: Dataset, file: BinaryIO) -> None:
    """Raise ValueError, with the reason, where an element repeats with another value within one of those sequences.

    Args:
        dataset: as pydicom has read it, no value of it asked for yet.
        file: that it was read from, whose position is kept.
    """
    here = file.tell()
    for outer in STRUCTURE:
        element: Any = dataset.get_item(outer) if outer in dataset else None
        if element is None or not element.value:
            continue
        if isinstance(element.value, bytes):
            data, implicit, little = (
                element.value,
                element.is_implicit_VR or element.VR == "UN",
                element.is_little_endian,
            )
        else:  # of undefined length: pydicom has made items of it
            implicit, little = dataset.original_encoding[:2]
            file.seek(element.file_tell)
            data = file.read(_room(dataset, outer, here) - element.file_tell)
        if tag := _Items(data, explicit=not implicit, big=not little).repeated():
            raise ValueError(f"the element {_show(tag)} in an item of {_show(outer)} cannot be trusted: {TWICE}")
    file.seek(here)


def _room(dataset: Dataset, tag: int, end: int) -> int:
    """Where in the file the next element has its value, or reading stopped: the sequence ends before."""
    following = [other for other in dataset.keys() if other > tag]  # noqa: SIM118 - its elements would be read
    if not following:
        return end
    element: Any = dataset.get_item(min(following))
    return int(element.value_tell if element.is_raw else element.file_tell)


def _show(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


class _Items:
    """The bytes of the items of a sequence."""

    def __init__(self, data: bytes, *, explicit: bool, big: bool) -> None:
        self._data, self._explicit = data, explicit
        order = ">" if big else "<"
        self._plain, self._with_vr = Struct(order + "HHI").unpack_from, Struct(order + "HH2sH").unpack_from
        self._long = Struct(order + "I").unpack_from
        self._item = b"\xff\xfe\xe0\x00" if big else b"\xfe\xff\x00\xe0"
        self._found = 0

    def repeated(self) -> int:
        """The tag of an element that repeats with another value in one of the items; 0 where none does."""
        with suppress(_Strange, error):
            self._walk_items(0, len(self._data), 0)
        return self._found

    def _walk_items(self, at: int, end: int, depth: int) -> int:
        """Walk a sequence up to its delimiter, or its end: where that is."""
        if depth > _DEEPEST:
            raise _Strange
        while at < end:
            group, element, length = self._plain(self._data, at)
            at += 8
            if (group << 16 | element) == _SEQUENCE_END:
                break
            if (group << 16 | element) != _ITEM:
                raise _Strange
            at = self._walk_item(at, end if length == _UNDEFINED else at + length, depth)
        return at

    def _walk_item(self, at: int, end: int, depth: int) -> int:
        last, start, ascends = -1, at, True
        while at < end:
            element = self._element(at, depth)
            at = element.end
            if element.tag == _ITEM_END:
                break
            ascends = ascends and element.tag > last
            last = element.tag
        if not ascends and not self._found:
            self._compare(start, at, depth)
        return at

    def _element(self, at: int, depth: int) -> _Element:
        vr = b""
        if self._explicit:
            group, element, vr, length = self._with_vr(self._data, at)
        else:
            group, element, length = self._plain(self._data, at)
        tag, value = group << 16 | element, at + 8
        if tag == _ITEM_END:
            return _Element(tag, value, value)
        if vr in _LONG_VRS:
            value, (length,) = at + 12, self._long(self._data, at + 8)
        if length == _UNDEFINED:
            if vr == b"UN":  # what is in it has no VRs
                raise _Strange
            return _Element(tag, value, self._walk_items(value, len(self._data), depth + 1))
        if length and (vr == b"SQ" or (not vr and self._data[value : value + 4] == self._item)):
            self._walk_items(value, value + length, depth + 1)
        return _Element(tag, value, value + length)

    def _compare(self, at: int, end: int, depth: int) -> None:
        """Note an element that repeats with another value in an item."""
        seen: dict[int, bytes] = {}
        while at < end:
            element = self._element(at, depth)
            at = element.end
            value = self._data[element.value : element.end]
            if seen.setdefault(element.tag, value) != value and not element.tag >> 16 & 1:
                self._found = self._found or element.tag
