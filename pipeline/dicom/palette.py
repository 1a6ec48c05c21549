"""Read the palette of a PALETTE COLOR image, and give stored values their colours.

Rules:
- Values below the first one mapped have the first colour, and those beyond the table the last (PS3.3 C.7.6.3.1.5).
- Entries keep their own 8 or 16 bits; of 16 bits the high byte is what is displayed.
- Segmented tables are expanded by pydicom. A supplemental palette (PS3.3 C.7.6.19) colours a part of a grey image, which
  is windowed first: it is no palette of the whole image, and is not applied.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..core.findings import Code, PipelineError, refuse
from ..volume.mask import Array
from .encoding import EXPLICIT_BIG, load
from .frame import Frame
from .header import Header

_CLAUSE = "PS3.3 C.7.6.3.1.5"
_COLOURS = ("Red", "Green", "Blue")
_MOST_ENTRIES = 1 << 16  # which the descriptor, of 16 bits, writes as 0
_BYTE = 256
_BITS_OF_BYTE = 8
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2  # segments of a table
_DEEPEST = 4  # indirect segments that may lead to each other


class Palette(NamedTuple):
    """A palette. table: (entries, 3) red, green and blue, of 8 or 16 bits. first: the stored value of the first entry.

    is_narrow: whether entries of 16 bits are all below 256, as those are that should have been written in 8.
    """

    table: Array
    first: int
    is_narrow: bool = False

    def colours(self, stored: Array) -> Array:
        """The colours, (..., 3), of stored values (...)."""
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(self.table) - 1)
        colours: Array = self.table[index]
        return colours


@lru_cache(maxsize=4)  # the frames of an instance follow each other
def read_palette(header: Header) -> Palette:
    """Read the palette of an instance. Raises CORRUPT_FILE where there is none that can be used."""
    try:
        return _read(load(header.path, stop_before_pixels=True), header)
    except Exception as error:  # a palette breaks in many ways, and so does what pydicom makes of it
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _unusable(header, str(error) or type(error).__name__) from error


def refuse_supplemental(frame: Frame) -> None:
    """Refuse to apply a palette that colours a part of a grey image. Raises UNSUPPORTED_PIXELS."""
    dataset = load(frame.path, stop_before_pixels=True)
    if "RedPaletteColorLookupTableDescriptor" not in dataset:
        return
    raise refuse(
        Code.UNSUPPORTED_PIXELS,
        f"the palette of {frame.name} is a Supplemental Palette Color Lookup Table: it colours some of the values of an image "
        f"that is {frame.get('PhotometricInterpretation')}, and the others are shown grey through a window, so that there is "
        "no one colour of a stored value",
        "Leave --palette out: the stored values are written.",
        where=(frame.name,),
        clause="PS3.3 C.7.6.19",
    )


def _read(dataset: Any, header: Header) -> Palette:
    """Read a palette. Raises ValueError, in words, for one that cannot be used."""
    descriptors = [dataset.get(f"{colour}PaletteColorLookupTableDescriptor") for colour in _COLOURS]
    if any(descriptor is None for descriptor in descriptors):
        raise ValueError("there is none (Palette Color Lookup Table Descriptor (0028,1101-1103))")
    if len({tuple(descriptor) for descriptor in descriptors}) > 1:
        raise ValueError(f"its three descriptors differ: {', '.join(str(list(d)) for d in descriptors)}")
    count, first, bits = (int(number) for number in descriptors[0])
    count, first = count % _MOST_ENTRIES or _MOST_ENTRIES, first % _MOST_ENTRIES
    if header.get("PixelRepresentation") == 1 and first >= _MOST_ENTRIES // 2:
        first -= _MOST_ENTRIES
    if bits not in (8, 16):
        raise ValueError(f"its entries are said to have {bits} bits, and they have 8 or 16")
    order = ">" if header.transfer_syntax == EXPLICIT_BIG else "<"
    if "RedPaletteColorLookupTableData" in dataset:
        values = (dataset[f"{colour}PaletteColorLookupTableData"].value for colour in _COLOURS)
        table = np.stack([_entries(value, count, bits, order) for value in values], -1)
    elif "SegmentedRedPaletteColorLookupTableData" in dataset:
        table = _expand(dataset, count, first, bits, order)
    else:
        raise ValueError("its tables (0028,1201-1203 or 0028,1221-1223) are not there")
    is_narrow = table.dtype.itemsize > 1 and int(table.max()) < _BYTE
    return Palette(table.astype(np.uint8) if is_narrow else table, first, is_narrow)


def _entries(value: Any, count: int, bits: int, order: str) -> Array:
    """The entries of one table: in words of 16 bits, or two to a word. Raises ValueError for a table of another length."""
    data = value if isinstance(value, bytes) else np.asarray(value, f"{order}u2").tobytes()
    if len(data) // 2 >= count:
        words = np.frombuffer(data[: 2 * count], f"{order}u2").astype(np.uint16)
        if bits == 16:
            return words
        if int(words.max()) >= _BYTE:
            raise ValueError(f"its entries are said to have 8 bits, and there is {int(words.max())} among them")
        return words.astype(np.uint8)
    if bits == 8 and len(data) >= count:
        if order == ">":
            data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
        return np.frombuffer(data[:count], np.uint8)
    raise ValueError(f"a table has {len(data)} bytes, too few for {count} entries of {bits} bits")


def _expand(dataset: Any, count: int, first: int, bits: int, order: str) -> Array:
    """Expand segmented tables with pydicom: the colours of all values that they map. Raises what it raises."""
    from pydicom.pixels import apply_color_lut

    if bits == 8 and count > _BYTE:  # pydicom counts entries in the type of the entries
        raise ValueError(f"its segmented tables have {count} entries of 8 bits, and up to {_BYTE} are read")
    for colour in _COLOURS:
        _check_segments(dataset[f"Segmented{colour}PaletteColorLookupTableData"].value, count, bits, order)
    table: Array = apply_color_lut(np.arange(first, first + count, dtype=np.int64), dataset)[..., :3]
    return table


def _check_segments(data: bytes, count: int, bits: int, order: str) -> None:
    """Refuse segments that make far more entries than there are, or never end (PS3.3 C.7.9.2). Raises ValueError."""
    size = bits // _BITS_OF_BYTE
    words = np.frombuffer(data[: len(data) // size * size], f"{order}u{size}").tolist()
    steps, left = 4 // size, count + len(words)  # words of an offset; entries and segments that may still come

    def walk(position: int, most: int, depth: int) -> None:
        nonlocal left
        done = 0
        while position + 1 < len(words) and done != most:
            kind, length = words[position : position + 2]
            left -= 1 if kind == _INDIRECT else 1 + length
            if left < 0 or depth > _DEEPEST:
                raise ValueError(f"its segmented tables make more entries than the {count} that it has")
            place = position + 2
            position = place + {_DISCRETE: length, _LINEAR: 1}.get(kind, steps)
            if kind == _INDIRECT and position <= len(words):
                walk(_offset(words[place:position], size, order), length, depth + 1)
            done += 1

    walk(0, -1, 0)


def _offset(words: list[int], size: int, order: str) -> int:
    """The offset of an indirect segment as pydicom reads it."""
    if size > 1:
        return words[1] << 16 | words[0]
    a, b, c, d = (words[n] for n in ([3, 2, 1, 0] if order == "<" else [2, 3, 0, 1]))
    return a << 24 | b << 16 | c << 8 | d


def _unusable(header: Header, why: str) -> PipelineError:
    return refuse(
        Code.CORRUPT_FILE,
        f"the palette of {header.path.name} cannot be used: {why}",
        "Export the series again, in RGB or in grey values. Without --palette the stored values are written as they are.",
        where=(header.path.name,),
        clause=_CLAUSE,
    )
