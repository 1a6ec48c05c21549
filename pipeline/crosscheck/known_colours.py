"""Predict what a witness is known to give for colours, where that is not what the files describe.

Rules:
- As in `known_wrong`: a rule computes the answer of the installed witness, and excuses that answer alone.
- No rescale, inversion or table of values applies to colours, so none of the rules for grey values does either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

import numpy as np

from ..dicom.colour_pixels import has_palette, has_samples, read_as_declared, read_display_colours, read_stored_samples
from ..dicom.frame import Frame
from ..dicom.pixels import read_native, read_plane
from ..volume.colour import SAMPLES, from_samples
from ..volume.mask import Array, Physical

_MODEL = "PhotometricInterpretation"
_RLE = "1.2.840.10008.1.2.5"
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_WITH_MARKERS = "1.2.840.10008.1.2.4."  # JPEG of all kinds, whose code streams may say what their colours are


class ColourRule(Enum):
    """What a witness does with colours, to follow “as it is known to:”."""

    PALETTE_APPLIED = "give the colours of a palette"
    PALETTE_LEFT_OUT = "give the stored values of a palette"
    RLE_AS_STORED = "take the samples of RLE for RGB, and for planes of colours where Planar Configuration is 1"
    ONE_SAMPLE = "take the first bytes of a plane for grey where three samples are called MONOCHROME2"
    AS_DECLARED = "follow Photometric Interpretation where the code stream says otherwise"


def predict_colours(witness: str, frames: Sequence[Frame]) -> Iterator[tuple[ColourRule, Physical]]:
    """Predict the voxels that a witness may give for colour frames in place of their colours.

    Args:
        witness: its name.
        frames: one for each plane, in the order of the grid's k; all of them of colours, or of a palette.

    Yields: rules, and what computes the values of plane n by them.
    """
    if all(has_palette(f) for f in frames):
        yield ColourRule.PALETTE_APPLIED, lambda n, _: from_samples(read_display_colours(frames[n]))
        yield ColourRule.PALETTE_LEFT_OUT, lambda n, _: read_plane(frames[n])
    elif all(has_samples(f) for f in frames):
        if witness == "dcm2niix" and any(f.header.transfer_syntax == _RLE for f in frames):
            yield ColourRule.RLE_AS_STORED, lambda n, _: _take_rle_as_stored(frames[n])
        if witness == "SimpleITK" and all(map(_is_called_grey, frames)):
            yield ColourRule.ONE_SAMPLE, lambda n, _: _take_first_bytes(frames[n])
        if any(f.header.transfer_syntax.startswith(_WITH_MARKERS) for f in frames) and all(
            f.get(_MODEL) for f in frames
        ):
            yield ColourRule.AS_DECLARED, lambda n, _: from_samples(read_as_declared(frames[n]))


def _is_called_grey(frame: Frame) -> bool:
    """Whether samples that are called MONOCHROME2 are in a transfer syntax that this was seen in."""
    is_seen = frame.header.native or frame.header.transfer_syntax == _JPEG_BASELINE
    return is_seen and frame.get(_MODEL) == "MONOCHROME2"


def _take_first_bytes(frame: Frame) -> Array:
    """Take as many bytes as there are pixels."""
    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    native = frame.header.native
    samples = read_native(frame, np.dtype(np.uint8), SAMPLES) if native else read_stored_samples(frame)
    return samples.reshape(-1)[: rows * columns].reshape(rows, columns)


def _take_rle_as_stored(frame: Frame) -> Array:
    """Take decoded samples, which lie pixel by pixel, for what Planar Configuration says of them."""
    if frame.header.transfer_syntax != _RLE:
        return from_samples(read_display_colours(frame))
    samples = read_stored_samples(frame)
    if frame.get("PlanarConfiguration") == 1:
        rows, columns, count = samples.shape
        samples = np.ascontiguousarray(samples).reshape(count, rows, columns).transpose(1, 2, 0)
    return from_samples(samples)
