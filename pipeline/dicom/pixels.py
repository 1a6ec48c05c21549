"""Read the stored values of frames, one plane at a time.

Rules:
- Stored values only: never rescaled, never inverted (MONOCHROME1), never windowed.
- A plane is (rows, columns), C-contiguous, in the machine's byte order, signed as Pixel Representation says.
- Bits that are not the value are cleared, or the sign is extended over them; see `pixel_bits`.
- Pixels of one bit are read as bytes of 0 and 1 (`one_bit`); 64 bits and floating-point pixels stay what they are.
- Native frames are read where `pixel_layout` says they lie; compressed and deflated ones are decoded by pydicom's plugins
  (`decoded_frames`), and so are 8-bit pixels in big-endian words. `pixel_layout` checks all before the first is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from errno import EIO
from typing import Any, Literal

import numpy as np

from ..core.findings import Code, Finding, Severity, refuse
from ..core.memory import require
from ..volume.mask import Array, Voxels
from .encoding import EXPLICIT_BIG
from .frame import Frame
from .header import Header
from .one_bit import check_decoded, is_one_bit, is_packed, read_packed
from .pixel_bits import check_bits, frame_type, is_in_swapped_words, mask_to_stored
from .pixel_layout import layout_of
from .source_file import open_source

_SHOWN = 6  # values that a message lists
_NAMED = 5  # files that a message names; the others are counted


def stored_type(frames: Sequence[Frame]) -> np.dtype[Any]:
    """Find the type that holds the stored values of all frames. Raises COLOUR or UNSUPPORTED_PIXELS."""
    types = {frame_type(frame) for frame in frames}
    found = np.result_type(*types)
    if found.kind == "f" and len(types) > 1 and any(t.kind in "iu" and t.itemsize > 4 for t in types):
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"the planes are {', '.join(sorted(map(str, types)))}, and no one type holds the values of all of them",
            "Export the series again, with the same kind of pixels in every plane.",
            where=(frames[0].name,),
        )
    return found


def stored_voxels(frames: Sequence[Frame], above: Callable[[int, Array, Array], None] | None = None) -> Voxels:
    """Get the stored values of frames of one size, in their order; each plane is read when it is asked for.

    above: called with each frame whose bits above Bits Stored make other values: its number from 0, all its bits, and its
    values. Raises as `stored_type` and `layout_of` do, HIGH_BIT and MIXED_PHOTOMETRIC.
    """
    dtype = stored_type(frames)
    _refuse_mixed_photometric(frames)
    for frame in frames:
        check_bits(frame)
        layout_of(frame.header)
    columns, rows = frames[0].whole("Columns", 0), frames[0].whole("Rows", 0)
    ahead = None
    if not any(f.header.native or f.tile or is_one_bit(f) for f in frames):
        from .decoded_frames import decode_series

        _require_memory(frames[0])
        ahead = decode_series(frames)

    def plane(n: int) -> Array:
        decoded = None
        if ahead is not None:
            with refuse_vanished(frames[n]):
                decoded = ahead(n)
        if above is None or frames[n].tile:
            return read_plane(frames[n], decoded).astype(dtype, copy=False)
        allocated = read_allocated(frames[n], decoded)
        values = mask_to_stored(allocated, frames[n])
        if values is not allocated and (values != allocated).any():
            above(n, allocated, values)
        return values.astype(dtype, copy=False)

    return Voxels((columns, rows, len(frames)), dtype, plane)


def about_files(headers: Sequence[Header]) -> list[Finding]:
    """Find what is to be known of the bytes of files that pixels come from: each kind once, with the files it is in."""
    by_code: dict[Code, list[Finding]] = defaultdict(list)
    for header in headers:
        if header.declared_syntax:
            by_code[Code.ENCODING_DIFFERS].append(_encoding_finding(header))
        if header.has_pixels:
            for finding in layout_of(header).findings:
                by_code[finding.code].append(finding)
    together = []
    for found in by_code.values():
        more = f", and so do {len(found) - 1} other files" if len(found) > 1 else ""
        where = tuple(name for f in found[:_NAMED] for name in f.where)
        together.append(replace(found[0], message=found[0].message + more, where=where))
    return together


def _encoding_finding(header: Header) -> Finding:
    from pydicom.uid import UID

    declared, found = UID(header.declared_syntax).name, UID(header.transfer_syntax).name
    return Finding(
        Code.ENCODING_DIFFERS,
        f"{header.path.name} says it is {declared} (0002,0010), and its bytes are {found}; it was read as its bytes are",
        severity=Severity.WARNING,
        clause="PS3.10 7.1",
        where=(header.path.name,),
    )


class BitsAbove:
    """Counts pixels in which bits above Bits Stored make another value, and collects such values. what: labels or values."""

    def __init__(self, frames: Sequence[Frame], what: Literal["labels", "values"]) -> None:
        self._frames, self._what = frames, what
        self._of_frame: dict[int, tuple[int, list[tuple[int, int]]]] = {}

    def seen(self, n: int, allocated: Array, values: Array) -> None:
        """Count a frame that has such bits. A frame that is read twice counts once.

        Args:
            n: of the frame, from 0.
            allocated: (rows, columns) all bits of its pixels.
            values: (rows, columns) the bits of them that are the value.
        """
        if n not in self._of_frame:
            odd = allocated != values
            _, first = np.unique(allocated[odd], return_index=True)
            pairs = zip(allocated[odd][first[:_SHOWN]].tolist(), values[odd][first[:_SHOWN]].tolist(), strict=True)
            self._of_frame[n] = int(np.count_nonzero(odd)), list(pairs)

    def findings(self) -> list[Finding]:
        count = sum(c for c, _ in self._of_frame.values())
        if not count:
            return []
        first = self._frames[min(self._of_frame)]
        pairs = sorted({pair for _, found in self._of_frame.values() for pair in found})[:_SHOWN]
        stored = first.whole("BitsStored", 0)
        return [
            Finding(
                Code.BITS_ABOVE_STORED,
                f"{count:,} pixels are another value with the bits above the {stored} of Bits Stored (0028,0101), which are no "
                f"part of it: with them they would be {', '.join(str(a) for a, _ in pairs)}, without them "
                f"{', '.join(str(v) for _, v in pairs)}, which was written",
                f"If the first are the {self._what}, Bits Stored was written wrongly; export the series again.",
                Severity.WARNING,
                "PS3.5 8.1.1",
                (first.name,),
            )
        ]


def read_plane(frame: Frame, decoded: Array | None = None) -> Array:
    """Read the stored values of one frame: (rows, columns). decoded: its pixels, where another process has decoded them.

    Raises COLOUR, CORRUPT_FILE, NO_SUCH_INPUT, UNSUPPORTED_PIXELS.
    """
    if frame.tile:
        return _read_tile(frame)
    return mask_to_stored(read_allocated(frame, decoded), frame)


def read_allocated(frame: Frame, decoded: Array | None = None) -> Array:
    """Read all bits allocated of one frame, also those that are not the value: (rows, columns). Raises as `read_plane`."""
    dtype = frame_type(frame)
    if decoded is not None:
        return _cast(decoded, dtype)
    _require_pixels(frame)
    if not frame.header.native:  # of native pixels the bytes are counted
        _require_memory(frame)
    with refuse_vanished(frame):
        if is_one_bit(frame):
            return read_packed(frame) if is_packed(frame) else check_decoded(_decode(frame), frame)
        by_pydicom = not frame.header.native or is_in_swapped_words(frame, dtype)
        raw = _decode(frame) if by_pydicom else read_native(frame, dtype)
    return _cast(raw, dtype)


def _decode(frame: Frame) -> Array:
    from .decoded_frames import decode_frame  # most series are not compressed, and do without it

    return decode_frame(frame)


def _require_pixels(frame: Frame) -> None:
    """Refuse a frame of no rows or no columns: of one without a place, nobody has asked for them before. Raises CORRUPT_FILE."""
    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    if not (rows and columns):
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} has {columns} × {rows} pixels by its header: none",
            "Its Rows (0028,0010) or Columns (0028,0011) was lost or damaged; export or copy it again.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
        )


def _require_memory(frame: Frame) -> None:
    """Refuse a frame that would take too much memory, before it is decoded. Raises MEMORY_LIMIT."""
    rows, columns, size = frame.whole("Rows", 0), frame.whole("Columns", 0), frame_type(frame).itemsize
    require(rows * columns * size, f"a frame of {columns} × {rows} pixels in {frame.name}", (frame.name,))


def _cast(raw: Array, dtype: np.dtype[Any]) -> Array:
    """Give values another type of their kind: the same bits where it is as long, for a sign is but another reading of them."""
    alike = raw.dtype.kind == dtype.kind or {raw.dtype.kind, dtype.kind} <= set("biu")
    return raw.view(dtype) if alike and raw.dtype.itemsize == dtype.itemsize else raw.astype(dtype)


@contextmanager
def refuse_vanished(frame: Frame) -> Iterator[None]:
    """Turn an error of reading a file, whose header was read before, into NO_SUCH_INPUT."""
    try:
        yield
    except OSError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{frame.name} was there, but its pixels cannot be read: {error.strerror or error}",
            "Was it moved, or a network folder or medium taken away, during the conversion?",
            where=(frame.name,),
        ) from error


def _read_tile(frame: Frame) -> Array:
    """Read one tile of a mosaic. Tiles lie row by row, from the top left."""
    sheet = read_plane(replace(frame, tile=0, values=None))
    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    down, across = divmod(frame.tile - 1, sheet.shape[1] // columns)
    return np.ascontiguousarray(sheet[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns])


def read_native(frame: Frame, dtype: np.dtype[Any], samples: int = 1) -> Array:
    """Read the samples of one native frame as they lie.

    Args:
        frame: which is neither compressed nor in a deflated file.
        dtype: of a sample, in the machine's byte order.
        samples: of a pixel, on average.

    Returns:
        (rows, columns * samples).

    Raises:
        PipelineError: CORRUPT_FILE where some are missing.
    """
    _require_pixels(frame)
    header, layout = frame.header, layout_of(frame.header)
    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    wide = np.dtype(f"u{dtype.itemsize * 2}") if layout.widened else dtype
    size, start = rows * columns * samples * wide.itemsize, (frame.number - 1) * layout.frame_bits // 8
    available = layout.length - start
    if available < size:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} ends early: its {columns} × {rows} pixels need {size} bytes, {max(available, 0)} are there",
            "The file was cut off, probably in transfer; export or copy it again.",
            where=(frame.name,),
            measured=max(available, 0),
            limit=size,
            unit="bytes",
            clause="PS3.5 8.1.1",
        )
    plane = np.empty(
        (rows, columns * samples), wide.newbyteorder(">" if header.transfer_syntax == EXPLICIT_BIG else "<")
    )
    with open_source(header.path, buffering=0) as file:
        read = layout.read_into(file, start, plane.data.cast("B"))
    if read != size:
        raise OSError(EIO, f"{read} of {size} bytes could be read")
    return plane.astype(dtype, copy=False)


def _refuse_mixed_photometric(frames: Sequence[Frame]) -> None:
    """Refuse MONOCHROME1 in some planes only: one of the two was written wrongly, and their values do not compare."""
    inverted = [f for f in frames if f.get("PhotometricInterpretation") == "MONOCHROME1"]
    if 0 < len(inverted) < len(frames):
        others = [f for f in frames if f.get("PhotometricInterpretation") != "MONOCHROME1"]
        raise refuse(
            Code.MIXED_PHOTOMETRIC,
            f"{len(inverted)} of {len(frames)} planes are MONOCHROME1, such as {inverted[0].name}, and others are "
            f"{others[0].get('PhotometricInterpretation')}, such as {others[0].name}: black means high in one, low in the other",
            "Photometric Interpretation (0028,0004) was changed in some files, or their values were inverted; export again.",
            where=(inverted[0].name, others[0].name),
            clause="PS3.3 C.7.6.3.1.2",
        )
