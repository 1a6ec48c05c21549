"""Stored values of frames, one plane at a time.

Rules:
- Stored values only: never rescaled, never inverted (MONOCHROME1), never windowed.
- A plane is (rows, columns), C-contiguous, in the machine's byte order, signed as Pixel Representation says.
- Bits above Bits Stored are not part of the value (PS3.5 8.1.1): they are cleared, or the sign is extended over them.
- High Bit is one less than Bits Stored (PS3.3 C.7.6.3.1.2), or the file is refused: values could be the upper or the lower
  bits. dicom2nifti, dcm2niix and ITK take all bits allocated as they are. Where every bit is stored nothing is to choose.
- Native frames are read where `pixel_layout` says they lie; compressed and deflated ones are decoded by pydicom's plugins
  (`frame_decoder`), and so are 8-bit pixels in big-endian words. All are held against `pixel_layout` before the first is read.
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
from ..volume.mask import Array, Voxels
from .encoding import EXPLICIT_BIG
from .frame import Frame
from .frame_decoder import WORTH_IT, Ahead, dataset, decode
from .header import Header
from .pixel_layout import layout_of

_SHOWN = 6


def stored_type(frames: Sequence[Frame]) -> np.dtype[Any]:
    """The integer type that holds the stored values of all frames. Raises COLOUR or UNSUPPORTED_PIXELS."""
    return np.result_type(*{_frame_type(frame) for frame in frames})


def stored_voxels(frames: Sequence[Frame], above: Callable[[int, Array, Array], None] | None = None) -> Voxels:
    """The stored values of frames of one size, in their order, read when asked for.

    above: is told of a frame whose bits above Bits Stored make other values: its number from 0, all its bits, its values.
    Raises as `stored_type` and `layout_of` do, HIGH_BIT and MIXED_PHOTOMETRIC.
    """
    dtype = stored_type(frames)
    _refuse_mixed_photometric(frames)
    for frame in frames:
        _check_bits(frame)
        layout_of(frame.header)
    columns, rows = frames[0].whole("Columns", 0), frames[0].whole("Rows", 0)
    ahead: Ahead | None = None
    if len(frames) >= WORTH_IT and not any(f.header.native or f.tile for f in frames):
        ahead = Ahead([(f.path, f.header.transfer_syntax, f.number) for f in frames])

    def plane(n: int) -> Array:
        decoded = None if ahead is None else ahead.frame(n)
        if above is None or frames[n].tile:
            return read_plane(frames[n], decoded).astype(dtype, copy=False)
        allocated = read_allocated(frames[n], decoded)
        values = _value_bits(allocated, frames[n])
        if values is not allocated and (values != allocated).any():
            above(n, allocated, values)
        return values.astype(dtype, copy=False)

    return Voxels((columns, rows, len(frames)), dtype, plane)


def about_files(headers: Sequence[Header]) -> list[Finding]:
    """What is to be known of the bytes of the files pixels come from: each kind once, with the files it was found in."""
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
        where = tuple(name for f in found[:5] for name in f.where)
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
    """Bits above Bits Stored that make another value: of how many pixels, and which. what: labels or values."""

    def __init__(self, frames: Sequence[Frame], what: Literal["labels", "values"]) -> None:
        self._frames, self._what = frames, what
        self._of_frame: dict[int, tuple[int, list[tuple[int, int]]]] = {}

    def seen(self, n: int, allocated: Array, values: Array) -> None:
        """Frame n has such bits: all bits of it, and its values. A frame that is read twice counts once."""
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


def is_colour(frame: Frame) -> bool:
    """Whether a pixel is a colour: three samples, or an index into a palette."""
    return frame.whole("SamplesPerPixel", 1) != 1 or frame.get("PhotometricInterpretation") == "PALETTE COLOR"


def read_colour(frame: Frame) -> Array:
    """Red, green and blue of one frame: (rows, columns, 3), unsigned; a palette's own 8 or 16 bits.

    YBR is turned into RGB, and any planar configuration into this one. Raises COLOUR and as `read_plane` does.
    """
    if not is_colour(frame):
        raise refuse(Code.COLOUR, f"{frame.name} has grey values, no colours", where=(frame.name,))
    with _still_there(frame):
        layout_of(frame.header)
        pixels = _decoded(frame, raw=False)
    if frame.get("PhotometricInterpretation") != "PALETTE COLOR":
        return pixels
    from pydicom.pixels import apply_color_lut

    try:
        return np.ascontiguousarray(apply_color_lut(pixels, dataset(frame.path)))
    except Exception as error:  # a palette can be broken in many ways, and each is the same news to a user
        raise refuse(
            Code.CORRUPT_FILE,
            f"the palette of {frame.name} cannot be used: {error}",
            "Export the series again, in RGB or in grey values.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3.1.5",
        ) from error


def read_plane(frame: Frame, decoded: Array | None = None) -> Array:
    """The stored values of one frame: (rows, columns). decoded: its pixels, where another process has decoded them.

    Raises COLOUR, CORRUPT_FILE, NO_SUCH_INPUT, UNSUPPORTED_PIXELS.
    """
    if frame.tile:
        return _tile(frame)
    return _value_bits(read_allocated(frame, decoded), frame)


def read_allocated(frame: Frame, decoded: Array | None = None) -> Array:
    """All bits allocated of one frame, those that are not the value too: (rows, columns). Raises as `read_plane` does."""
    dtype = _frame_type(frame)
    if decoded is not None:
        return _as_allocated(decoded, dtype)
    with _still_there(frame):
        by_pydicom = not frame.header.native or _in_swapped_words(frame, dtype)
        raw = _decoded(frame) if by_pydicom else _native(frame, dtype)
    return _as_allocated(raw, dtype)


def _as_allocated(raw: Array, dtype: np.dtype[Any]) -> Array:
    return raw.view(dtype) if raw.dtype.itemsize == dtype.itemsize else raw.astype(dtype)


@contextmanager
def _still_there(frame: Frame) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{frame.name} was there, but its pixels cannot be read: {error.strerror or error}",
            "Was it moved, or a network folder or medium taken away, during the conversion?",
            where=(frame.name,),
        ) from error


def _tile(frame: Frame) -> Array:
    """One tile of a mosaic: they lie row by row, from the top left."""
    sheet = read_plane(replace(frame, tile=0, values=None))
    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    down, across = divmod(frame.tile - 1, sheet.shape[1] // columns)
    return np.ascontiguousarray(sheet[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns])


def _frame_type(frame: Frame) -> np.dtype[Any]:
    samples, bits = frame.whole("SamplesPerPixel", 1), frame.whole("BitsAllocated", 0)
    if samples != 1:
        raise refuse(
            Code.COLOUR,
            f"{frame.name} is a colour image ({frame.get('PhotometricInterpretation')}, {samples} samples per pixel)",
            "A mask or image of one value per voxel is needed; export it in grey values.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3.1.1",
        )
    if bits not in (8, 16, 32):
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has {bits or 'no'} bits per pixel; 8, 16 and 32 are read here",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
        )
    if frame.get("PixelRepresentation") not in (0, 1):
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} does not say whether its pixel values are signed: Pixel Representation (0028,0103) is missing",
            "Floating-point pixels have none and are not read here; in any other file the attribute was lost.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
        )
    return np.dtype(f"{'ui'[frame.get('PixelRepresentation')]}{bits // 8}")


def _in_swapped_words(frame: Frame, dtype: np.dtype[Any]) -> bool:
    """8-bit pixels in big endian with VR OW: the bytes of every word are swapped (PS3.5 8.1.2), over frames of odd size too."""
    if dtype.itemsize > 1 or frame.header.transfer_syntax != EXPLICIT_BIG:
        return False
    with frame.path.open("rb") as file:
        file.seek((frame.header.pixel_offset or 0) - 8)  # tag, VR, two reserved bytes, length, then the value
        return file.read(2) == b"OW"


def _native(frame: Frame, dtype: np.dtype[Any]) -> Array:
    header, layout = frame.header, layout_of(frame.header)
    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    wide = np.dtype(f"u{dtype.itemsize * 2}") if layout.widened else dtype
    size, start = rows * columns * wide.itemsize, (frame.number - 1) * layout.frame_bits // 8
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
    plane = np.empty((rows, columns), wide.newbyteorder(">" if header.transfer_syntax == EXPLICIT_BIG else "<"))
    with header.path.open("rb", buffering=0) as file:
        read = layout.read_into(file, start, plane.data.cast("B"))
    if read != size:
        raise OSError(EIO, f"{read} of {size} bytes could be read")
    return plane.astype(dtype, copy=False)


def _decoded(frame: Frame, *, raw: bool = True) -> Array:
    """Through pydicom's decoders: compressed, deflated native, and colour (not raw: as RGB)."""
    try:
        return decode(frame.path, frame.header.transfer_syntax, frame.number, raw=raw)
    except NotImplementedError as error:
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has transfer syntax {frame.header.transfer_syntax}, which no decoder here reads",
            "Re-export it uncompressed (Explicit VR Little Endian).",
            where=(frame.name,),
        ) from error
    except OSError:
        raise
    except Exception as error:  # plugins raise what they like; every failure to decode is the same news to a user
        raise refuse(
            Code.CORRUPT_FILE,
            f"the pixels of {frame.name} cannot be decoded: {str(error).strip().splitlines()[0] if str(error) else error!r}",
            "The file is damaged, or its compression is not what its header says; re-export it uncompressed.",
            where=(frame.name,),
        ) from error


def _value_bits(plane: Array, frame: Frame) -> Array:
    """Only the bits that are the value: the lowest Bits Stored of them."""
    allocated = plane.dtype.itemsize * 8
    stored = _check_bits(frame)
    if stored >= allocated or (plane.dtype.kind == "u" and int(plane.max()) < 1 << stored):
        return plane
    return (plane << (allocated - stored)) >> (allocated - stored)


def _check_bits(frame: Frame) -> int:
    """Bits Stored. Raises HIGH_BIT."""
    allocated = frame.whole("BitsAllocated", 0)
    stored = frame.whole("BitsStored", allocated)
    high = frame.whole("HighBit", stored - 1)
    if (0 < stored < allocated and high != stored - 1) or stored < 1:
        raise refuse(
            Code.HIGH_BIT,
            f"{frame.name} keeps {stored} bits of every {allocated} (Bits Stored (0028,0101)), the highest of them bit {high} "
            f"(High Bit (0028,0102)); it must be bit {max(stored, 1) - 1}",
            "Whether the values are the upper or the lower bits nobody can tell; export the file again.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
            measured=high,
            limit=max(stored, 1) - 1,
            unit="bit",
        )
    return stored


def _refuse_mixed_photometric(frames: Sequence[Frame]) -> None:
    """MONOCHROME1 in some planes and not in others: one of the two was written wrongly, and their values do not compare."""
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
