"""Read where the voxels of files lie and what they hold, by pydicom, numpy and the standard alone: what the oracle holds results against.

Rules:
- Nothing of the package is used.
- A plane is read by equation C.7.6.2.1-1 of PS3.3 from its own numbers; nothing is repaired, and nothing is looked up in its neighbours.
- Whatever is in doubt is said: a plane with two readings has `doubt`, and a file that cannot be read is listed with its name.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import UID

Array = NDArray[Any]
_NATIVE = {f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99")}
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")


@dataclass(frozen=True, eq=False)
class ReadPlane:
    """One frame.

    kind: SOP Class UID. lps: (3, 3), of (column, row, 1) to LPS mm. stored: (rows, columns). physical: rescaled.
    segment: of a SEG. most: Maximum Fractional Value of one. overlays: group to (rows, columns) of bits. spare: bytes of pixel data
    that no pixel of the file has. doubt: why it may be read in two ways.
    """

    file: str
    kind: str
    series: str
    lps: Array
    stored: Array
    physical: Array
    segment: int | None = None
    most: float = 0.0
    overlays: dict[int, Array] = field(default_factory=dict)
    spare: int = 0
    doubt: str = ""


@dataclass
class Reading:
    """Everything in a folder. unread: files that could not be read, by name. kinds: SOP Classes that were met. doubt: of all of it."""

    planes: list[ReadPlane] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    doubt: str = ""


def read_folder(folder: Path) -> Reading:
    """Read every file below a folder, and every member of a ZIP archive."""
    reading = Reading()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            if not path.is_dir():
                reading.unread.append(path.name)
        else:
            for name, content in _contents(path, reading):
                _read_file(name, content, reading)
    reading.unread = [
        name for name in reading.unread if name != "DICOMDIR"
    ]  # a directory, unless it was read as an image
    return reading


def _contents(path: Path, reading: Reading) -> Iterator[tuple[str, bytes]]:
    content = path.read_bytes()
    if content[:2] != b"PK":
        yield path.name, content
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield info.filename.rsplit("/", 1)[-1], archive.read(info)
    except Exception:
        reading.doubt = "an archive that Python does not read"


def _read_file(name: str, content: bytes, reading: Reading) -> None:
    try:
        dataset = dcmread(io.BytesIO(content), force=content[128:132] != b"DICM")
        kind = str(dataset.get("SOPClassUID", ""))
        if not kind:
            reading.unread.append(name)
            return
        reading.kinds.add(kind)
        if kind == STRUCTURE_SET or not any(name in dataset for name in _PIXELS):
            return  # no plane, whatever else
        reading.planes += _planes_of(name, dataset)
    except Exception:
        reading.unread.append(name)


def _planes_of(name: str, dataset: Dataset) -> list[ReadPlane]:
    """Every frame of an image."""
    frames, doubt, spare = _frames(dataset)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * len(frames)
    if str(dataset.SOPClassUID) in SEGMENTATIONS and "SegmentationType" not in dataset:
        doubt = doubt or "a SEG by its class, and by nothing else"
    if "SharedFunctionalGroupsSequence" in dataset and {"RescaleSlope", "RescaleIntercept"} & {*dataset.dir()}:
        doubt = (
            doubt or "a rescale beside the functional groups, which is none of an enhanced image and that many apply"
        )
    if len(own) != len(frames):
        doubt = doubt or "frames and their groups differ in number"
    found = []
    for n, (stored, groups) in enumerate(zip(frames, own, strict=False)):
        lps = _place((groups, shared, dataset))
        slope, intercept = _rescale((groups, shared, dataset))
        segment = _first((groups, shared), "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        found.append(
            ReadPlane(
                file=name,
                kind=str(dataset.SOPClassUID),
                series=str(dataset.get("SeriesInstanceUID", "")),
                lps=lps,
                stored=stored,
                physical=stored.astype(np.float64) * slope + intercept,
                segment=None if segment is None else int(segment),
                most=float(dataset.get("MaximumFractionalValue") or 0),
                overlays=_overlays(dataset, n, stored.shape[:2]),
                spare=spare,
                doubt=doubt,
            )
        )
    return found


def _first(places: tuple[Dataset, ...], sequence: str, keyword: str) -> Any:
    """A value of a functional group, or of the data set itself, from the first place that has one."""
    for place in places:
        item = (place.get(sequence) or [None])[0]
        for holder in (item, place if not place.get("SharedFunctionalGroupsSequence") else None):
            if holder is not None and holder.get(keyword) is not None:
                return holder.get(keyword)
    return None


def _place(places: tuple[Dataset, ...]) -> Array:
    turn = _first(places, "PlaneOrientationSequence", "ImageOrientationPatient")
    at = _first(places, "PlanePositionSequence", "ImagePositionPatient")
    spacing = _first(places, "PixelMeasuresSequence", "PixelSpacing")
    row, column = np.reshape(np.array(turn, float), (2, 3))
    between_rows, between_columns = map(float, spacing)
    return np.stack([row * between_columns, column * between_rows, np.array(at, float)], axis=1)


def _rescale(places: tuple[Dataset, ...]) -> tuple[float, float]:
    slope = _first(places, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _first(places, "PixelValueTransformationSequence", "RescaleIntercept")
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def _frames(dataset: Dataset) -> tuple[list[Array], str, int]:
    """Stored values of every frame, why they are in doubt, and how many bytes of the pixel data no frame has."""
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel", 1))
    count = int(dataset.get("NumberOfFrames") or 1)
    allocated, bits = int(dataset.BitsAllocated), int(dataset.get("BitsStored", dataset.BitsAllocated))
    high, signed = int(dataset.get("HighBit", bits - 1)), bool(dataset.get("PixelRepresentation", 0))
    if not rows * columns or count < 1:
        raise ValueError("no pixels")
    doubt = "" if high == bits - 1 and 0 < bits <= allocated else f"High Bit {high} of {bits} bits in {allocated}"
    if allocated % 8 and allocated != 1:
        doubt = f"Bits Allocated {allocated}"
    if samples != 1:
        raise ValueError("colours are not read")
    syntax = (
        UID(dataset.file_meta.TransferSyntaxUID)
        if "TransferSyntaxUID" in dataset.file_meta
        else UID("1.2.840.10008.1.2")
    )
    if str(syntax) not in _NATIVE:
        if str(syntax) in LOSSY:
            doubt = doubt or "lossy"
        block = np.reshape(_decoded(dataset), (count, rows, columns))
        return list(block), doubt, 0
    data = bytes(dataset.PixelData)
    if allocated == 1:
        values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        needed = count * rows * columns
        return list(values[:needed].reshape(count, rows, columns)), doubt, len(data) - (needed + 7) // 8
    is_little = dataset.original_encoding[1]  # what the data set is, also where nothing says so
    size, order = allocated // 8, "<" if is_little or is_little is None else ">"
    if order == ">" and size == 2 and dataset["PixelData"].VR == "OB":
        doubt = doubt or "big endian, but OB"
    needed = count * rows * columns * size
    values = np.frombuffer(data[:needed], f"{order}u{size}").astype(np.int64).reshape(count, rows, columns)
    return list(_signed(values, min(bits, allocated), signed)), doubt, len(data) - needed


def _decoded(dataset: Dataset) -> Array:
    """The pixels of a compressed file, decoded in a child: a decoder that crashes here is no fault of what is judged."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            content = io.BytesIO()
            np.save(content, dataset.pixel_array)
            with open(sending, "wb") as file:
                file.write(content.getvalue())
            code = 0
        finally:
            os._exit(code)
    os.close(sending)
    with open(receiving, "rb") as file:
        saved = file.read()
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise ValueError("its pixels cannot be decoded")
    array: Array = np.load(io.BytesIO(saved))
    return array


def _signed(values: Array, bits: int, signed: bool) -> Array:
    """The low bits of values, as two's complement where signed; what lies above them is not the pixel's."""
    low = values & (1 << bits) - 1
    return np.where(low >= 1 << bits - 1, low - (1 << bits), low) if signed else low


def _overlays(dataset: Dataset, frame: int, shape: tuple[int, ...]) -> dict[int, Array]:
    """Bits of every overlay of the frame, laid on its pixels."""
    found = {}
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x3000) not in dataset or frame:
            continue
        rows, columns = int(dataset[group, 0x10].value), int(dataset[group, 0x11].value)
        top, left = (int(v) for v in dataset[group, 0x50].value)
        bits = np.unpackbits(np.frombuffer(bytes(dataset[group, 0x3000].value), np.uint8), bitorder="little")
        bits = bits[: rows * columns].reshape(rows, columns)
        laid = np.zeros(shape, np.uint8)
        j, i = np.nonzero(bits)
        j, i = j + top - 1, i + left - 1
        inside = (j >= 0) & (i >= 0) & (j < shape[0]) & (i < shape[1])
        laid[j[inside], i[inside]] = 1
        found[group] = laid
    return found
