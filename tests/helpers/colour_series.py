"""Colours put into the series of `phantom`: how each way of storing them lies in a file, and what a reader is to make of it.

Rules:
- A block of colours is (columns, rows, planes, 3) uint8. It is smooth with noise on it, so that neither a compression nor an
  exchange of samples, rows or planes leaves it as it was.
- What is to be read is computed from the bytes that were stored, by the equations of PS3.3 C.7.6.3.1.2 in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate

from tests.helpers.phantom import Edit

Array = NDArray[Any]
Block = NDArray[np.uint8]
_FORWARD = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def smooth_colours(shape: tuple[int, int, int], seed: int = 5) -> Block:
    """Colours that differ along every axis and between samples."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    noise = np.random.default_rng(seed).integers(0, 25, (*shape, 3))
    base = np.stack([40 + 4 * i + 9 * k, 220 - 5 * j - 3 * k, 90 + 2 * i + 3 * j], -1)
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def to_ybr(rgb: Array) -> Block:
    """RGB to YBR_FULL, the last axis the samples."""
    return np.clip(np.rint(rgb @ _FORWARD.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def to_rgb(ybr: Array) -> Block:
    """YBR_FULL to RGB, by the inverse of the same equations."""
    y, b, r = (ybr[..., n].astype(np.float64) for n in range(3))
    b, r = b - 128, r - 128
    rgb = np.stack([y + 1.402 * r, y - (0.114 * 1.772 * b + 0.299 * 1.402 * r) / 0.587, y + 1.772 * b], -1)
    return np.clip(np.floor(rgb + 0.5), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Stored:
    """How colours lie in a file. pack: (rows, columns, 3) RGB to bytes of one frame. read: the same to what is to be read.

    model: Photometric Interpretation. planar: Planar Configuration, None for none. stream: whether bytes are a compressed
    frame. lossy: whether what is read is near the colours only.
    """

    model: str
    pack: Callable[[Block], bytes]
    read: Callable[[Block], Block] = lambda rgb: rgb
    planar: int | None = 0
    stream: bool = False
    lossy: bool = False

    def edit(self, colours: Block, **tags: Any) -> Edit:
        """Put the colours in, of one plane for each data set, or all into one multi-frame data set. tags: also set."""

        def change(k: int, dataset: Dataset) -> None:
            several = "NumberOfFrames" in dataset
            planes = [np.ascontiguousarray(colours[:, :, n].swapaxes(0, 1)) for n in range(colours.shape[2])]
            frames = [self.pack(plane) for plane in (planes if several else planes[k : k + 1])]
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, self.model
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit, dataset.PixelRepresentation = 7, 0
            if self.planar is not None:
                dataset.PlanarConfiguration = self.planar
            data = encapsulate(frames) if self.stream else b"".join(frames)
            dataset.PixelData = data + b"\0" * (len(data) % 2)
            dataset["PixelData"].VR = "OB"
            if self.lossy:
                dataset.LossyImageCompression = "01"
            for keyword, value in tags.items():
                if value is None:
                    del dataset[keyword]
                else:
                    setattr(dataset, keyword, value)

        return change

    def truth(self, colours: Block) -> Block:
        """What is to be read of a block of colours."""
        planes = [self.read(np.ascontiguousarray(colours[:, :, n].swapaxes(0, 1))) for n in range(colours.shape[2])]
        return np.stack([plane.swapaxes(0, 1) for plane in planes], 2)


def _planes(samples: Array) -> bytes:
    return np.ascontiguousarray(np.moveaxis(samples, -1, 0)).tobytes()


def _halve(ybr: Block) -> Block:
    """(rows, columns / 2, 4): Y1 Y2 Cb Cr, the chrominances the means of both pixels."""
    pairs = ybr.reshape(ybr.shape[0], -1, 2, 3)
    mean = (pairs[..., 1:].astype(np.uint16).sum(axis=2) // 2).astype(np.uint8)
    return np.concatenate([pairs[..., 0], mean], -1)


def _spread(rgb: Block) -> Block:
    four = _halve(to_ybr(rgb))
    ybr = np.stack([four[..., [0, 2, 3]], four[..., [1, 2, 3]]], 2).reshape(rgb.shape)
    return to_rgb(ybr)


def jpeg(rgb: Block, **options: Any) -> bytes:
    """One JPEG baseline code stream of libjpeg-turbo. options: of Pillow."""
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=92, **options)
    data = stream.getvalue()
    return data + b"\0" * (len(data) % 2)


def _without_jfif(data: bytes) -> bytes:
    """The stream without its JFIF marker, as a DICOM writer makes it."""
    if data[2:4] != b"\xff\xe0":
        return data
    return data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]


def adobe(data: bytes, transform: int) -> bytes:
    """The stream with an Adobe marker in place of JFIF. transform: 0 for RGB, 1 for YCbCr."""
    body = b"Adobe" + bytes([0, 100, 0, 0, 0, 0, transform])
    return data[:2] + b"\xff\xee" + (len(body) + 2).to_bytes(2, "big") + body + _without_jfif(data)[2:]


def rle(samples: Block) -> bytes:
    """One RLE frame of (rows, columns, 3) samples: a segment for each, of literal runs alone (PS3.5 G)."""
    segments = []
    for n in range(samples.shape[-1]):
        data = b"".join(
            bytes([len(run) - 1]) + run
            for row in samples[..., n]
            for run in (row[start : start + 128].tobytes() for start in range(0, len(row), 128))
        )
        segments.append(data + b"\0" * (len(data) % 2))
    offsets = [64 + sum(len(s) for s in segments[:n]) for n in range(len(segments))]
    header = np.array([len(segments), *offsets, *[0] * (15 - len(segments))], "<u4").tobytes()
    return header + b"".join(segments)


def grey_jpeg(values: NDArray[np.uint8]) -> Edit:
    """Put (columns, rows, planes) grey values in, as JPEG baseline."""

    def change(k: int, dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([jpeg(np.ascontiguousarray(values[:, :, k].T))])
        dataset["PixelData"].VR, dataset.LossyImageCompression = "OB", "01"

    return change


NATIVE = {
    "RGB": Stored("RGB", lambda rgb: rgb.tobytes()),
    "RGB in planes": Stored("RGB", _planes, planar=1),
    "YBR_FULL": Stored("YBR_FULL", lambda rgb: to_ybr(rgb).tobytes(), lambda rgb: to_rgb(to_ybr(rgb))),
    "YBR_FULL in planes": Stored(
        "YBR_FULL", lambda rgb: _planes(to_ybr(rgb)), lambda rgb: to_rgb(to_ybr(rgb)), planar=1
    ),
    "YBR_FULL_422": Stored("YBR_FULL_422", lambda rgb: _halve(to_ybr(rgb)).tobytes(), _spread),
}
JPEG = {
    "4:4:4": Stored("YBR_FULL", lambda rgb: _without_jfif(jpeg(rgb, subsampling=0)), stream=True, lossy=True),
    "4:2:2": Stored("YBR_FULL_422", lambda rgb: _without_jfif(jpeg(rgb, subsampling=1)), stream=True, lossy=True),
    "4:2:0": Stored("YBR_FULL_422", lambda rgb: _without_jfif(jpeg(rgb, subsampling=2)), stream=True, lossy=True),
    "JFIF": Stored("YBR_FULL_422", lambda rgb: jpeg(rgb, subsampling=1), stream=True, lossy=True),
    "JFIF called RGB": Stored("RGB", lambda rgb: jpeg(rgb, subsampling=0), stream=True, lossy=True),
    "Adobe RGB": Stored("RGB", lambda rgb: jpeg(rgb, keep_rgb=True), stream=True, lossy=True),
    "Adobe RGB called YBR": Stored("YBR_FULL", lambda rgb: jpeg(rgb, keep_rgb=True), stream=True, lossy=True),
    "Adobe YBR called RGB": Stored("RGB", lambda rgb: adobe(jpeg(rgb, subsampling=0), 1), stream=True, lossy=True),
}
RLE = {
    "RGB": Stored("RGB", rle, stream=True),
    "RGB in planes": Stored("RGB", rle, planar=1, stream=True),
    "YBR_FULL": Stored("YBR_FULL", lambda rgb: rle(to_ybr(rgb)), lambda rgb: to_rgb(to_ybr(rgb)), stream=True),
    "YBR_FULL in planes": Stored(
        "YBR_FULL", lambda rgb: rle(to_ybr(rgb)), lambda rgb: to_rgb(to_ybr(rgb)), planar=1, stream=True
    ),
}
