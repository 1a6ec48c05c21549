"""Find the items of encapsulated pixel data, and count the frames they hold (PS3.5 A.4).

Rules:
- The first item is the offset table, which may be empty; a native file that came as fragments may have none.
- A compressed frame may be cut into several fragments, except under RLE. So frames are counted in every way there is: by
  the offset table, by the fragments, by those that begin a codestream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from .encoding import EXPLICIT_BIG
from .source_file import open_source

if TYPE_CHECKING:
    from .header import Header

PixelItem = tuple[int, int]

_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_RLE = "1.2.840.10008.1.2.5"
_CODESTREAMS = (b"\xff\xd8", b"\xff\x4f")  # the first bytes of a JPEG or JPEG-LS codestream, and of a JPEG 2000 one


def items(file: BinaryIO, header: Header) -> list[PixelItem] | None:
    """Find offset and length of every item of the pixel data, the offset table first; None where there are no items."""
    order = ">" if header.transfer_syntax == EXPLICIT_BIG else "<"
    position = header.pixel_offset or 0
    end = header.size if header.pixel_length is None else min(position + header.pixel_length, header.size)
    found: list[PixelItem] = []
    while position + 8 <= end:
        file.seek(position)
        group, element, length = struct.unpack(order + "HHI", file.read(8))
        if (group << 16 | element) == _DELIMITER:
            return found or None
        if (group << 16 | element) != _ITEM or position + 8 + length > end:
            return found if found and end - position <= 1 else None
        found.append((position + 8, length))
        position += 8 + length
    return found if found and header.pixel_length is not None and end - position <= 1 else None


def frame_counts(header: Header) -> Iterator[int]:
    """Count the compressed frames in every possible way; no counts where the items cannot be found."""
    if header.pixel_offset is None:
        return
    with open_source(header.path) as file:
        found = items(file, header) or []
        if len(found) < 2:
            return
        table, fragments = found[0], found[1:]
        if table[1]:
            yield table[1] // 4
        if header.transfer_syntax == _RLE or len(fragments) == 1:
            yield len(fragments)
            return
        starts = []
        for offset, _ in fragments:
            file.seek(offset)
            starts.append(file.read(2) in _CODESTREAMS)
    if starts[0]:
        yield sum(starts)
    elif not table[1]:
        yield from range(1, len(fragments) + 1)  # an unknown codestream may be cut into any number of fragments
