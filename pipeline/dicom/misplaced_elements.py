"""Notice elements that stand twice in a data set, or behind its pixel data, where PS3.5 7.1 allows each once, in order.

Of two, every reader takes another one: pydicom the last, others the first; and one behind the pixels is seen only by those
that read that far. What such an element says is not known.

Rules:
- Two with the same bytes say the same, and are nothing. Trailing padding and private elements behind the pixels are nothing.
- Elements of items are looked at by `nested_elements`.
- The file is read where elements repeat, and behind its pixels; nothing else costs anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack
from typing import Any, BinaryIO, NamedTuple

PIXEL_TAGS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
TWICE = "it stands twice, with different values"
BEHIND = "it stands behind the pixel data, where no element of the image does (PS3.5 7.1)"
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_MOST_BEHIND = 1000  # elements that are looked at
_MOST_COMPARED = 1 << 20  # bytes of a value: longer ones that repeat are taken for different
_NEAR = 8  # bytes: pydicom looks at the first element before it reads it
_PADDING, _LAST, _LONG_HEADER = b"\xfc\xff\xfc\xff", b"\xfe\xff\xdd\xe0\0\0\0\0", 12
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_META_GROUP, _FIRST_GROUP = 0x0002, 0x0008


class _Value(NamedTuple):
    start: int
    length: int


class SeenElements:
    """The elements that pydicom comes by, as its `stop_when`: it stops before the pixel data."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._first: dict[int, _Value] = {}
        self._again: list[tuple[int, _Value, _Value]] = []

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXEL_TAGS:
            return True
        value = _Value(self._file.tell(), length)
        first = self._first.setdefault(int(tag), value)
        if value.start - first.start < _NEAR:
            self._first[int(tag)] = value
        else:
            self._again.append((int(tag), first, value))
        return False

    def repeated(self) -> frozenset[int]:
        """The tags of elements that repeat with another value."""
        if not self._again:
            return frozenset()
        here = self._file.tell()
        found = frozenset(tag for tag, one, other in self._again if self._differ(one, other))
        self._file.seek(here)
        return found

    def _differ(self, one: _Value, other: _Value) -> bool:
        if one.length != other.length or one.length > _MOST_COMPARED:
            return True
        return self._bytes(one) != self._bytes(other)

    def _bytes(self, value: _Value) -> bytes:
        self._file.seek(value.start)
        return bytes(self._file.read(value.length))


def reaches_end(file: Any, start: int, length: int, *, explicit: bool) -> bool:
    """Whether nothing but padding (FFFC,FFFC) is behind the pixel data, as far as a size, a tag or the last bytes say.

    Args:
        file: of `fast_header`, which has a size and gives bytes.
        start: of the value of the pixel data.
        length: of it; FFFFFFFF where it is undefined.
        explicit: whether the data set has VRs.

    Returns: False also where something else is there.
    """
    if length == _UNDEFINED:
        return bool(file.bytes(max(start, file.size - len(_LAST)), len(_LAST)) == _LAST)
    left = file.size - start - length
    if left <= 0:
        return True
    raw = file.bytes(start + length, _LONG_HEADER)
    more = raw[8:12] if explicit else raw[4:8]
    return bool(raw[:4] == _PADDING and (_LONG_HEADER if explicit else 8) + int.from_bytes(more, "little") >= left)


def tags_behind(file: BinaryIO, start: int, length: int | None, *, explicit: bool, big: bool) -> frozenset[int]:
    """Find the elements behind the pixel data that belong before it.

    Args:
        file: open for reading.
        start: of the value of the pixel data.
        length: of it; None where it is undefined, and the value a sequence of items.
        explicit: whether the data set has VRs.
        big: whether it is big endian.

    Returns:
        Their tags. None where the file ends, or goes on with anything but elements.
    """
    end = _end_of_items(file, start) if length is None else start + length
    if end is None:
        return frozenset()
    file.seek(end)
    return frozenset(tag for tag in _tags(file, explicit, ">" if big else "<") if tag < min(PIXEL_TAGS))


def _tags(file: BinaryIO, explicit: bool, order: str) -> Iterator[int]:
    """The tags of the elements from here on, as far as they are some."""
    for _ in range(_MOST_BEHIND):
        raw = file.read(8)
        if len(raw) < 8:
            return
        group, element = unpack(order + "HH", raw[:4])
        vr = raw[4:6] if explicit else b""
        is_element = group == _META_GROUP or group >= _FIRST_GROUP  # of the former: a file that was appended to another
        if not is_element or (explicit and not (vr.isalpha() and vr.isupper())):
            return
        length = unpack(order + "I", raw[4:])[0] if not explicit else unpack(order + "H", raw[6:])[0]
        if vr in _LONG_VRS:
            length = unpack(order + "I", file.read(4).ljust(4, b"\0"))[0]
        yield group << 16 | element
        if length == _UNDEFINED:
            return
        file.seek(length, 1)


def _end_of_items(file: BinaryIO, position: int) -> int | None:
    """Where a sequence of items of pixel data ends; None where it does not."""
    while True:
        file.seek(position)
        raw = file.read(8)
        if len(raw) < 8:
            return None
        group, element, length = unpack("<HHI", raw)
        position += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM or length == _UNDEFINED:
            return None
        position += length
