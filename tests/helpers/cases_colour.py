"""Images of colours, each voxel of another one, however they are stored; and palettes, as they are and applied.

A colour is compared as the number that `hard_truth.voxels_of` makes of it: red * 65536 + green * 256 + blue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut

from tests.helpers.colour_series import NATIVE, RLE, Block, Stored, to_rgb
from tests.helpers.hard_case import SMALL, HardCase
from tests.helpers.hard_truth import Acquired, _equation
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec

_ODD = 0x9E3779  # multiplied with it modulo 2^24, every number becomes another one
_EVEN_COLUMNS = replace(SMALL, shape=(12, 9, 7), bits_allocated=8, content="mask", radius_mm=3)
_COLOURS = replace(_EVEN_COLUMNS, shape=(11, 9, 7))
_LARGE = replace(_COLOURS, shape=(40, 36, 5))  # what the encoder of JPEG 2000 takes
_FEW = replace(_COLOURS, shape=(7, 6, 5))
_INDEXED = replace(SMALL, shape=(11, 9, 7), bits_allocated=16)
ROW = "colour images"


def codes_of(rgb: NDArray[Any]) -> NDArray[np.int64]:
    """(..., 3) samples as one number each."""
    return rgb.astype(np.int64) @ np.array([65536, 256, 1])


def unique_colours(shape: tuple[int, int, int]) -> Block:
    """(columns, rows, planes, 3): no colour twice."""
    codes = (np.arange(1, np.prod(shape) + 1) * _ODD) % (1 << 24)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], -1).astype(np.uint8).reshape(*shape, 3)


def unique_ybr(shape: tuple[int, int, int], step: int = 1) -> Block:
    """The same in RGB, of YBR_FULL samples that RGB holds; `step` columns have one chrominance."""
    n = np.arange(np.prod(shape[1:])).reshape(shape[1:])
    i = np.arange(shape[0])[:, None, None] + 0 * n
    ybr = np.stack([60 + i * 8 + n % 3, 100 + n // 3 % 56 + 0 * i, 110 + (n // 168) * 10 + i // step % 2], -1)
    return to_rgb(ybr.astype(np.uint8))


def planes_of(folder: Path) -> list[Acquired]:
    """Every plane of a folder with the numbers of its colours, by pydicom and the planes' own equations."""
    found = []
    for path in sorted(folder.rglob("*.dcm")):
        dataset = dcmread(path)
        pixels = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
            pixels = pixels >> 8 if pixels.dtype == np.uint16 else pixels
        for n, plane in enumerate(pixels.reshape(-1, dataset.Rows, dataset.Columns, 3)):
            equation = _equation(dataset, n)
            assert equation is not None
            position, cosines, spacing, *_ = equation
            codes = codes_of(plane)
            found.append(Acquired(path.name, codes, codes.astype(float), position, cosines[:3], cosines[3:], *spacing))
    return found


def colour_case(name: str, stored: Stored, colours: Block, spec: Spec = _COLOURS, **more: Any) -> HardCase:
    """A series of colours. more: of HardCase."""
    return HardCase(name, ROW, spec, stored.edit(colours), truth=planes_of, asked="image", **more)


def palette(entries: Sequence[NDArray[Any]], first: int = 0, bits: int = 16, signed: bool = False) -> Edit:
    """Make the image of index values PALETTE COLOR.

    Args:
        entries: of red, green and blue.
        first: the stored value of the first entry.
        bits: of an entry.
        signed: whether stored values are.

    Returns:
        The edit.
    """

    def change(_: int, dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for n, table in enumerate(entries):
            dataset.add_new((0x0028, 0x1101 + n), "SS" if signed else "US", [len(table) % 65536, first, bits])
            data = np.asarray(table).astype("<u2" if bits == 16 else "u1").tobytes()
            dataset.add_new((0x0028, 0x1201 + n), "OW", data + b"\0" * (len(data) % 2))

    return change


def unique_tables(count: int, bits: int = 16) -> list[NDArray[np.int64]]:
    """Red, green and blue of a palette no two of whose entries have one colour, also in their high bytes."""
    codes = (np.arange(1, count + 1) * _ODD) % (1 << 24)
    samples = [codes >> 16, codes >> 8 & 255, codes & 255]
    return [s * 256 + (s * 7 + 3) % 256 for s in samples] if bits == 16 else samples


def _without_palette(_: int, dataset: Dataset) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"


def _supplemental(k: int, dataset: Dataset) -> None:
    palette(unique_tables(200), first=800)(k, dataset)
    dataset.PhotometricInterpretation, dataset.PixelPresentation = "MONOCHROME2", "COLOR"


def _deep(k: int, dataset: Dataset) -> None:
    colours = unique_colours(_COLOURS.shape)[:, :, k].swapaxes(0, 1)
    NATIVE["RGB"].edit(unique_colours(_COLOURS.shape))(k, dataset)
    dataset.PixelData = np.ascontiguousarray(colours).astype("<u2").tobytes()
    dataset["PixelData"].VR, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = "OW", 16, 16, 15


def _one_grey(k: int, dataset: Dataset) -> None:
    if k != 2:
        NATIVE["RGB"].edit(unique_colours(_COLOURS.shape))(k, dataset)


def _with_gap(k: int, dataset: Dataset) -> list[Dataset] | None:
    NATIVE["RGB"].edit(unique_colours(_COLOURS.shape))(k, dataset)
    return [] if k == 3 else None


def _lossless() -> list[HardCase]:
    unique = unique_colours(_COLOURS.shape)
    grey = np.repeat(np.arange(1, 211, dtype=np.uint8).reshape(7, 6, 5)[..., None], 3, axis=-1)
    return [
        colour_case("RGB", NATIVE["RGB"], unique),
        colour_case("RGB, colour by plane", NATIVE["RGB in planes"], unique),
        colour_case("RGB, grey in three samples", NATIVE["RGB"], grey, _FEW),
        colour_case("YBR_FULL", NATIVE["YBR_FULL"], unique_ybr(_COLOURS.shape)),
        colour_case("YBR_FULL_422", NATIVE["YBR_FULL_422"], unique_ybr((12, 9, 7), 2), _EVEN_COLUMNS),
        colour_case("RGB, RLE", RLE["RGB"], unique, replace(_COLOURS, transfer_syntax="rle frames")),
        colour_case(
            "RGB, RLE, colour by plane", RLE["RGB in planes"], unique, replace(_COLOURS, transfer_syntax="rle frames")
        ),
        *(
            colour_case(
                f"RGB, {syntax}", NATIVE["RGB"], unique_colours(_LARGE.shape), replace(_LARGE, transfer_syntax=syntax)
            )
            for syntax in ("big endian", "deflated", "jpeg-ls", "jpeg 2000", "jpeg lossless")
        ),
        colour_case("RGB, enhanced MR", NATIVE["RGB"], unique, replace(_COLOURS, kind="enhanced mr")),
        colour_case("RGB, multi-frame SC", NATIVE["RGB in planes"], unique, replace(_COLOURS, kind="multi-frame sc")),
        colour_case(
            "RGB, oblique, --orient RAS",
            NATIVE["RGB"],
            unique,
            replace(_COLOURS, iop=ORIENTATIONS["steep oblique"]),
            options={"orient": "RAS"},
        ),
        replace(
            colour_case("RGB, a gap, --on-gap fill", NATIVE["RGB"], unique, options={"on_gap": "fill"}),
            edit=_with_gap,
            findings=("PLANES_FILLED",),
        ),
    ]


def _palettes() -> list[HardCase]:
    def case(name: str, edit: Edit, spec: Spec = _INDEXED, **more: Any) -> HardCase:
        return HardCase(name, "palettes", spec, edit, asked="image", **more)

    applied: dict[str, Any] = {"options": {"palette": "apply"}, "findings": ("PALETTE",), "truth": planes_of}
    refused = {"options": {"palette": "apply"}}
    return [
        case("PALETTE COLOR, stored values", palette(unique_tables(800)), findings=("PALETTE",)),
        case("PALETTE COLOR, --palette apply", palette(unique_tables(800)), **applied),
        case(
            "PALETTE COLOR of 8 bits, --palette apply",
            palette(unique_tables(256, 8), bits=8),
            replace(_INDEXED, shape=(7, 6, 5), bits_allocated=8),
            **applied,
        ),
        case("palette from 1 on, --palette apply", palette(unique_tables(693), first=1), **applied),
        case("no palette, --palette apply", _without_palette, expected="CORRUPT_FILE", **refused),
        case("supplemental palette", _supplemental),
        case("supplemental palette, --palette apply", _supplemental, expected="UNSUPPORTED_PIXELS", **refused),
    ]


def _refused() -> list[HardCase]:
    unique = unique_colours(_COLOURS.shape)
    argb = NATIVE["RGB"].edit(unique, SamplesPerPixel=4, PhotometricInterpretation="ARGB")
    return [
        HardCase("RGB of 16 bits a sample", ROW, _COLOURS, _deep, "UNSUPPORTED_PIXELS", asked="image"),
        HardCase("ARGB", ROW, _COLOURS, argb, "UNSUPPORTED_PIXELS", asked="image"),
        HardCase(
            "HSV",
            ROW,
            _COLOURS,
            NATIVE["RGB"].edit(unique, PhotometricInterpretation="HSV"),
            "UNSUPPORTED_PIXELS",
            asked="image",
        ),
        HardCase("planes of grey and of colours", ROW, _COLOURS, _one_grey, "MIXED_PHOTOMETRIC", asked="image"),
    ]


CASES: tuple[HardCase, ...] = (*_lossless(), *_palettes(), *_refused())
