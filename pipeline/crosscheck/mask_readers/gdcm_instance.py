"""Read one DICOM file with GDCM: its attributes, its stored values, and the bits of its overlays.

Rules:
- GDCM parses, swaps and decompresses. What its Python has no access to (it gives unpacked overlays into C memory only) is
  unpacked here: bits lowest first, frames one after the other without padding (PS3.5 8.1.2).
- Stored values are the lowest Bits Stored bits, with their sign; nothing is rescaled or inverted.
"""

from __future__ import annotations

from ctypes import string_at
from os.path import basename
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Block = NDArray[Any]

_PIXEL_DATA = (0x7FE0, 0x0010)
# Explicit, implicit and deflated little endian: GDCM keeps these pixels as they are in the file, with unused bits.
_AS_IN_FILE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99")
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_WORD = 16  # bits, which GDCM swaps in place for big endian


class GdcmRefusal(Exception):
    """Why GDCM, or this reading with it, gives no mask: in words for the user."""


class OverlayPlane(NamedTuple):
    """One overlay group of one file. bits: (frames, rows, columns) of 0 and 1. row, column: of its first pixel, from 0.

    first: the image frame that its first frame belongs to, from 1. of_all: whether it belongs to every frame.
    """

    bits: Block
    row: int
    column: int
    first: int
    of_all: bool


class GdcmInstance:
    """One file as GDCM reads it. pixels: whether its pixels are wanted; else it is read up to there, and again if they are."""

    def __init__(self, path: str, *, pixels: bool) -> None:
        self._path, self.name = path, basename(path)
        self._reader, self._has_pixels = _read_file(path, pixels), pixels
        self.rows, self.columns = self.whole(0x0028, 0x0010), self.whole(0x0028, 0x0011)
        self.frames = int(float(self.text(0x0028, 0x0008) or 1))
        self.allocated, self.stored = self.whole(0x0028, 0x0100), self.whole(0x0028, 0x0101)
        self._block: Block | None = None

    @property
    def data(self) -> Any:
        """Its data set."""
        return self._reader.GetFile().GetDataSet()

    def whole(self, group: int, element: int, default: int = 0) -> int:
        """Return an attribute of VR US.

        Args:
            group: of the tag.
            element: of the tag.
            default: where it is absent.

        Returns: its value.
        """
        raw = read_bytes(self.data, group, element)
        return int.from_bytes(raw[:2], "little") if len(raw) >= 2 else default

    def text(self, group: int, element: int) -> str:
        """Return an attribute of a VR of text."""
        return read_text(self.data, group, element)

    def samples(self) -> Block:
        """Return all bits of all samples: (frames, rows, columns) or (frames, rows, columns, samples), unsigned."""
        if not self._has_pixels:
            self._reader, self._has_pixels = _read_file(self._path, True), True
        if self._block is None:
            self._block = self._read_samples()
        return self._block

    def values(self, number: int) -> Block:
        """Return the stored values of a frame, from 1: (rows, columns)."""
        plane = self.samples()[number - 1]
        if plane.ndim != 2:
            raise GdcmRefusal(f"{self.name} has colours, and stored values were asked for")
        unused = plane.dtype.itemsize * 8 - self.stored
        if self.allocated == 1 or unused <= 0:
            unused = 0
        is_signed = self.allocated > 1 and self.whole(0x0028, 0x0103)
        shown = plane.view(f"i{plane.dtype.itemsize}") if is_signed else plane
        return np.asarray(shown << unused >> unused if unused else shown)

    def overlay(self, group: int) -> OverlayPlane | None:
        """Return one overlay group; None where the file has none."""
        rows, columns = self.whole(group, 0x0010), self.whole(group, 0x0011)
        packed = read_bytes(self.data, group, 0x3000)
        if not packed:
            return self._overlay_in_pixels(group)
        declared = int(float(self.text(group, 0x0015) or 0))
        first = self.whole(group, 0x0051, 1)
        count = max(declared, 1)
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
        if not rows * columns or len(bits) < count * rows * columns:
            raise GdcmRefusal(
                f"overlay {group:04X} of {self.name} has {len(bits)} bits for {count} × {rows} × {columns}"
            )
        origin = np.frombuffer(read_bytes(self.data, group, 0x0050)[:4] or b"\1\0\1\0", "<i2")
        of_all = (not declared and not self._has(group, 0x0051)) or count == self.frames == 1
        block = bits[: count * rows * columns].reshape(count, rows, columns)
        return OverlayPlane(block, int(origin[0]) - 1, int(origin[1]) - 1, first, of_all)

    def _overlay_in_pixels(self, group: int) -> OverlayPlane | None:
        if not self._has(group, 0x0102) or self.whole(group, 0x0100) != self.allocated:
            return None
        block = self.samples()
        return OverlayPlane(block >> self.whole(group, 0x0102) & 1, 0, 0, 1, of_all=False)

    def _has(self, group: int, element: int) -> bool:
        return bool(read_bytes(self.data, group, element))

    def _read_samples(self) -> Block:
        samples = self.whole(0x0028, 0x0002, 1)
        if self.whole(0x0028, 0x0103) not in (0, 1) or self.allocated not in (1, 8, 16, 32):
            raise GdcmRefusal(f"{self.name} has pixels of {self.allocated} bits")
        raw, planar = self._read_pixel_bytes()
        shape = (self.frames, self.rows, self.columns, samples)
        count = self.frames * self.rows * self.columns * samples
        if self.allocated == 1:
            flat = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        else:
            flat = np.frombuffer(
                raw[: len(raw) // (self.allocated // 8) * (self.allocated // 8)], f"<u{self.allocated // 8}"
            )
        if len(flat) < count:
            raise GdcmRefusal(f"GDCM gives {len(flat)} of {count} values of {self.name}")
        if planar and samples > 1:
            return np.moveaxis(flat[:count].reshape(self.frames, samples, self.rows, self.columns), 1, -1)
        return flat[:count].reshape(shape if samples > 1 else shape[:3])

    def _read_pixel_bytes(self) -> tuple[bytes, bool]:
        """Return the bytes of all frames, little endian, and whether samples are stored one plane each."""
        import gdcm

        syntax = self._reader.GetFile().GetHeader().GetDataSetTransferSyntax().GetString()
        image = self._reader.GetImage()
        if syntax in _AS_IN_FILE or (syntax == _BIG_ENDIAN and self.allocated == _WORD):
            return read_bytes(self.data, *_PIXEL_DATA), bool(self.whole(0x0028, 0x0006))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
        change.SetInput(image)
        if not change.Change():
            raise GdcmRefusal(f"GDCM cannot decompress {self.name}")
        plain = change.GetOutput()
        return _bytes_of(plain.GetDataElement()), bool(plain.GetPlanarConfiguration())


def _read_file(path: str, pixels: bool) -> Any:
    """Return the reader of a file, which has read it. Raises GdcmRefusal."""
    import gdcm

    reader = gdcm.ImageReader() if pixels else gdcm.Reader()
    reader.SetFileName(path)
    if not (reader.Read() if pixels else reader.ReadUpToTag(gdcm.Tag(*_PIXEL_DATA))):
        raise GdcmRefusal(_why_unread(path))
    return reader


def _why_unread(path: str) -> str:
    """Say why GDCM does not read a file: a kind of pixels that it does not have, as far as that can be seen."""
    import gdcm

    reader = gdcm.Reader()
    reader.SetFileName(path)
    data = reader.GetFile().GetDataSet() if reader.ReadUpToTag(gdcm.Tag(*_PIXEL_DATA)) else None
    if data is not None and any(data.FindDataElement(gdcm.Tag(0x7FE0, element)) for element in (0x0008, 0x0009)):
        return f"GDCM reads no floating-point pixels, as {basename(path)} has"
    if data is not None and read_bytes(data, 0x0028, 0x0100) == (64).to_bytes(2, "little"):
        return f"{basename(path)} has pixels of 64 bits"
    return f"GDCM cannot read {basename(path)}"


def read_bytes(data: Any, group: int, element: int) -> bytes:
    """Read the bytes of an element.

    Args:
        data: a data set of GDCM.
        group: of the tag.
        element: of the tag.

    Returns: its value, in little endian; empty where it is absent or has none.
    """
    import gdcm

    tag = gdcm.Tag(group, element)
    return _bytes_of(data.GetDataElement(tag)) if data.FindDataElement(tag) else b""


def read_text(data: Any, group: int, element: int) -> str:
    """Read an element of text.

    Args:
        data: a data set of GDCM.
        group: of the tag.
        element: of the tag.

    Returns: its value, without padding; "" where it is absent.
    """
    return read_bytes(data, group, element).decode("latin-1").strip(" \0")


def read_items(data: Any, group: int, element: int) -> list[Any]:
    """Read the items of a sequence.

    Args:
        data: a data set of GDCM.
        group: of the tag.
        element: of the tag.

    Returns: their data sets; none where it is absent.
    """
    import gdcm

    tag = gdcm.Tag(group, element)
    if not data.FindDataElement(tag):
        return []
    sequence = data.GetDataElement(tag).GetValueAsSQ()
    count = 0 if sequence is None else sequence.GetNumberOfItems()
    return [sequence.GetItem(n).GetNestedDataSet() for n in range(1, count + 1)]


def _bytes_of(element: Any) -> bytes:
    value = element.GetByteValue()
    if value is None:
        return b""
    # As text, as its Python gives it, a plane of a CT takes a hundred times as long as the pixels behind the pointer.
    return string_at(int(value.GetVoidPointer()), int(str(value.GetLength())))
