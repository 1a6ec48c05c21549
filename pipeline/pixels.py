"""Stored values of frames, one plane at a time.

Rules:
- Stored values only: never rescaled, never inverted (MONOCHROME1), never windowed.
- A plane is (rows, columns), C-contiguous, in the machine's byte order, signed as Pixel Representation says.
- Bits outside Bits Stored are not part of the value (PS3.5 8.1.1): they are cleared, or the sign is extended over them.
- Native frames are read at their offset; compressed and deflated ones are decoded by pydicom's plugins (`decoders`), and
  so are 8-bit pixels in big-endian words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from errno import EIO
from typing import Any

import numpy as np

from pipeline.decoders import WORTH_IT, Ahead, dataset, decode
from pipeline.findings import Code, refuse
from pipeline.header import EXPLICIT_BIG
from pipeline.mask import Array, Voxels
from pipeline.series import Frame


def stored_type(frames: Sequence[Frame]) -> np.dtype[Any]:
    """The integer type that holds the stored values of all frames. Raises COLOUR or UNSUPPORTED_PIXELS."""
    return np.result_type(*{_frame_type(frame) for frame in frames})


def stored_voxels(frames: Sequence[Frame]) -> Voxels:
    """The stored values of frames of one size, in their order, read when asked for. Raises as `stored_type` does."""
    dtype = stored_type(frames)
    columns, rows = int(frames[0].get("Columns")), int(frames[0].get("Rows"))
    ahead: Ahead | None = None
    if len(frames) >= WORTH_IT and all(f.header.pixel_offset is None and not f.tile for f in frames):
        ahead = Ahead([(f.path, f.header.transfer_syntax, f.number) for f in frames])

    def plane(n: int) -> Array:
        return read_plane(frames[n], None if ahead is None else ahead.frame(n)).astype(dtype, copy=False)

    return Voxels((columns, rows, len(frames)), dtype, plane)


def is_colour(frame: Frame) -> bool:
    """Whether a pixel is a colour: three samples, or an index into a palette."""
    return int(frame.get("SamplesPerPixel", 1)) != 1 or frame.get("PhotometricInterpretation") == "PALETTE COLOR"


def read_colour(frame: Frame) -> Array:
    """Red, green and blue of one frame: (rows, columns, 3), unsigned; a palette's own 8 or 16 bits.

    YBR is turned into RGB, and any planar configuration into this one. Raises COLOUR and as `read_plane` does.
    """
    if not is_colour(frame):
        raise refuse(Code.COLOUR, f"{frame.name} has grey values, no colours", where=(frame.name,))
    with _still_there(frame):
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
        by_pydicom = frame.header.pixel_offset is None or _in_swapped_words(frame, dtype)
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
    rows, columns = int(frame.get("Rows")), int(frame.get("Columns"))
    down, across = divmod(frame.tile - 1, sheet.shape[1] // columns)
    return np.ascontiguousarray(sheet[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns])


def _frame_type(frame: Frame) -> np.dtype[Any]:
    samples, bits = int(frame.get("SamplesPerPixel", 1)), int(frame.get("BitsAllocated", 0))
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
    header = frame.header
    rows, columns = int(frame.get("Rows")), int(frame.get("Columns"))
    size = rows * columns * dtype.itemsize
    start = (header.pixel_offset or 0) + (frame.number - 1) * size
    available = min(header.size, (header.pixel_offset or 0) + (header.pixel_length or 0)) - start
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
    stored = dtype.newbyteorder(">" if header.transfer_syntax == EXPLICIT_BIG else "<")
    plane = np.empty((rows, columns), stored)
    with header.path.open("rb", buffering=0) as file:
        file.seek(start)
        read = file.readinto(plane.data.cast("B"))
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
    """Only the bits that are the value: Bits Stored of them, below High Bit."""
    allocated = plane.dtype.itemsize * 8
    stored = int(frame.get("BitsStored", allocated))
    above = allocated - 1 - int(frame.get("HighBit", stored - 1))
    if stored >= allocated or stored < 1 or above < 0:
        return plane
    if plane.dtype.kind == "u" and above == allocated - stored and int(plane.max()) < 1 << stored:
        return plane
    return (plane << above) >> (allocated - stored)
