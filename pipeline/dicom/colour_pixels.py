"""Read the colours of frames: red, green and blue of every pixel, however they are stored.

Rules:
- Photometric Interpretation and Planar Configuration say how colours are stored. What a code stream says of itself counts
  more, since its decoder follows it; that, and all else that the header left open, is a finding.
- Samples of colours are unsigned whatever Pixel Representation says: a colour below nothing there is none.
- Native frames are read where `pixel_layout` says they lie; all others by pydicom's plugins.
- NIfTI's only type of colours has 8 bits a sample. Colours of more bits are refused, never cut down; but of a palette of 16
  bits the high byte is taken, which is what its display shows (PS3.3 C.7.6.3.1.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.findings import Code, Finding, Severity, refuse
from ..volume.colour import RGB24, SAMPLES, from_samples
from ..volume.mask import Array, Voxels
from .code_stream import find_colour_model
from .frame import Frame
from .frame_count import has_fixed_size
from .palette import read_palette
from .pixel_bits import check_bits, is_in_swapped_words
from .pixels import read_native, read_plane, refuse_vanished

_PALETTE = "PALETTE COLOR"
_BITS = 8  # of a sample in NIfTI's RGB24
_HALVED = "YBR_FULL_422"
_TRANSFORMED = ("YBR_RCT", "YBR_ICT")  # the component transformations of JPEG 2000, which its decoder undoes
_MODELS = ("RGB", "YBR_FULL", _HALVED, *_TRANSFORMED)
_GREY = ("MONOCHROME2", None, "")  # which three samples cannot be
_RETIRED = ("ARGB", "CMYK", "HSV", "YBR_PARTIAL_422")
_JPEG_2000 = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
_NAME = "Photometric Interpretation (0028,0004)"
_CLAUSE = "PS3.3 C.7.6.3.1.2"
_NAMED = 5  # files that a message names

Doubt = Callable[[str, Frame], None]


class Assumptions:
    """What was assumed to read colours, since the header leaves it open or has it wrong."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, None]] = {}

    def add(self, why: str, frame: Frame) -> None:
        """Note an assumption on a frame; the same one of the same file counts once. why: follows the name of the file."""
        self._files.setdefault(why, {})[frame.path.name] = None

    def findings(self) -> list[Finding]:
        """A warning for each assumption, with the files it is of."""
        return [_assumed(why, list(names)) for why, names in self._files.items()]


def has_samples(frame: Frame) -> bool:
    """Whether a pixel has more than one sample."""
    return frame.whole("SamplesPerPixel", 1) != 1


def has_palette(frame: Frame) -> bool:
    """Whether a pixel is an index into a palette."""
    return not has_samples(frame) and frame.get("PhotometricInterpretation") == _PALETTE


def is_colour(frame: Frame) -> bool:
    """Whether a pixel is a colour: three samples, or an index into a palette."""
    return has_samples(frame) or has_palette(frame)


def read_colour(frame: Frame, doubt: Doubt = lambda why, frame: None) -> Array:
    """Read red, green and blue of one frame, whatever its samples are stored as.

    Args:
        frame: of three samples a pixel, or of a palette.
        doubt: called with what the header leaves open or has wrong, in words that follow the name of a file.

    Returns:
        (rows, columns, 3), unsigned, of 8 or 16 bits; of a palette its own.

    Raises:
        COLOUR for grey values, UNSUPPORTED_PIXELS for a colour model that is not read, CORRUPT_FILE for a palette that
        cannot be used, and as `read_plane` does.
    """
    if not is_colour(frame):
        raise refuse(
            Code.COLOUR,
            f"{frame.name} has grey values, no colours",
            "Give a series in RGB, YBR or palette colours, or take this one as an image or mask of grey values.",
            where=(frame.name,),
        )
    if has_samples(frame):
        check_samples(frame)
        return _read_samples(frame, doubt)
    palette = read_palette(frame.header)
    if palette.is_narrow:
        doubt("has a palette of 16 bits, all of whose entries are below 256; they were taken for 8 bits", frame)
    return palette.colours(read_plane(frame))


def read_display_colours(frame: Frame, doubt: Doubt = lambda why, frame: None) -> Array:
    """Read colours as `read_colour` does, of 8 bits: of the 16 bits of a palette the high byte."""
    samples = read_colour(frame, doubt)
    return samples >> _BITS if samples.dtype.itemsize > 1 and has_palette(frame) else samples


def read_stored_samples(frame: Frame) -> Array:
    """Read the samples of a frame that is not native as they are once decoded: (rows, columns, 3), of its colour model."""
    declared = str(frame.get("PhotometricInterpretation"))
    model = "RGB" if declared in _TRANSFORMED else declared
    planar = frame.get("PlanarConfiguration")
    options = _Model(model, planar if planar in (0, 1) else 0).options
    with refuse_vanished(frame):
        return _decode(frame, raw=True, photometric_interpretation=model, **options)


def read_as_declared(frame: Frame) -> Array:
    """Read colours by Photometric Interpretation alone, of a frame that is not native, whatever its code stream says."""
    from pydicom.pixels import convert_color_space

    samples = read_stored_samples(frame)
    is_ybr = frame.get("PhotometricInterpretation") in ("YBR_FULL", _HALVED)
    return convert_color_space(samples, "YBR_FULL", "RGB") if is_ybr else samples


class Colours:
    """The colours of frames of one size as RGB24, in their order, and what had to be assumed to read them.

    Raises when made: UNSUPPORTED_PIXELS for colours that RGB24 cannot hold, MIXED_PHOTOMETRIC where some frames are grey.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        _refuse_mixed(frames)
        for frame in frames:
            if has_samples(frame):
                check_samples(frame)
                _check_depth(frame)
        self._frames = frames
        self._assumed = Assumptions()

    @property
    def voxels(self) -> Voxels:
        columns, rows = self._frames[0].whole("Columns", 0), self._frames[0].whole("Rows", 0)
        return Voxels((columns, rows, len(self._frames)), RGB24, self._plane)

    def findings(self) -> list[Finding]:
        """What was assumed of the frames that were read: complete once all have been."""
        return self._assumed.findings()

    def _plane(self, n: int) -> Array:
        return from_samples(read_display_colours(self._frames[n], self._assumed.add))


def check_samples(frame: Frame) -> None:
    """Refuse samples that are no red, green and blue. Raises UNSUPPORTED_PIXELS."""
    samples, model = frame.whole("SamplesPerPixel", 1), frame.get("PhotometricInterpretation")
    bits = frame.whole("BitsAllocated", 0)
    if samples == SAMPLES and (
        (bits == _BITS and model in (*_MODELS, *_GREY)) or (bits == 2 * _BITS and model == "RGB")
    ):
        return
    what = f"{samples} samples of {bits} bits in a pixel, and is {model or f'of no {_NAME}'}"
    retired = ", which DICOM has retired" if model in _RETIRED else ""
    raise refuse(
        Code.UNSUPPORTED_PIXELS,
        f"{frame.name} has {what}{retired}; read are three samples of 8 bits in RGB or YBR, and of 16 bits in RGB",
        "Export it again in RGB of 8 bits.",
        where=(frame.name,),
        clause=_CLAUSE,
    )


def _check_depth(frame: Frame) -> None:
    """Refuse samples of another depth than NIfTI's, which would have to be scaled. Raises UNSUPPORTED_PIXELS."""
    stored = check_bits(frame)
    if stored == _BITS:
        return
    raise refuse(
        Code.UNSUPPORTED_PIXELS,
        f"{frame.name} has colours of {stored} bits a sample (Bits Stored (0028,0101)), and NIfTI has colours of "
        f"{_BITS} bits alone (RGB24): no NIfTI type holds {SAMPLES * stored}-bit colours",
        "Export it again in RGB of 8 bits; to cut samples down to 8 bits here would change them.",
        where=(frame.name,),
        clause="NIfTI-1 datatype",
        measured=stored,
        limit=_BITS,
        unit="bits",
    )


def _read_samples(frame: Frame, doubt: Doubt) -> Array:
    model = _colour_model(frame, doubt)
    header = frame.header
    dtype = np.dtype(f"u{frame.whole('BitsAllocated', _BITS) // _BITS}")
    with refuse_vanished(frame):
        if not header.native or is_in_swapped_words(frame, dtype):
            pixels = _decode(frame, raw=False, photometric_interpretation=model.name, **model.options)
        else:
            pixels = _unpack(frame, dtype, model)
    return _in_8_bits(frame, pixels, doubt)


class _Model(NamedTuple):
    """How samples are read. name: of the Photometric Interpretation. planar: whether each colour has a plane of its own."""

    name: str
    planar: int

    @property
    def options(self) -> dict[str, int]:
        """For pydicom, besides the name."""
        return {"planar_configuration": self.planar, "pixel_representation": 0}


def _colour_model(frame: Frame, doubt: Doubt) -> _Model:
    """Find how samples are stored: by the code stream, where it says so, and else by the header."""
    model, planar = str(frame.get("PhotometricInterpretation")), frame.get("PlanarConfiguration")
    if frame.get("PhotometricInterpretation") in _GREY:
        doubt(f"has three samples in a pixel, and no colour model in {_NAME}; they were taken for RGB", frame)
        model = "RGB"
    if planar not in (0, 1):
        if has_fixed_size(frame.header):
            why = "does not say by Planar Configuration (0028,0006) how its samples lie; they were taken pixel by pixel"
            doubt(why, frame)
        planar = 0
    syntax = frame.header.transfer_syntax
    in_stream = "" if has_fixed_size(frame.header) else find_colour_model(_code_stream(frame))
    is_undone = model in _TRANSFORMED and not syntax.startswith(_JPEG_2000)
    is_rgb = model == "RGB" or model in _TRANSFORMED
    if in_stream and (in_stream == "RGB") != is_rgb:
        doubt(f"is {model} by {_NAME}, and its code stream holds {in_stream}, which was followed", frame)
        model = in_stream if in_stream == "RGB" else "YBR_FULL"
    elif is_undone:
        doubt(f"is {model} by {_NAME}, which JPEG 2000 alone has; its samples were taken for RGB", frame)
        model = "RGB"
    return _Model(model, planar)


def _decode(frame: Frame, **options: Any) -> Array:
    from .decoded_frames import decode_frame  # as `pixels` does

    return decode_frame(frame, **options)


def _code_stream(frame: Frame) -> bytes:
    from .decoding import read_code_stream

    return read_code_stream(frame.path, frame.number)


def _unpack(frame: Frame, dtype: np.dtype[np.unsignedinteger], model: _Model) -> Array:
    """Read native samples as (rows, columns, 3) red, green and blue."""
    from pydicom.pixels import convert_color_space

    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    if model.name == _HALVED:
        pixels = _spread(frame, read_native(frame, dtype, 2))
    elif model.planar:
        pixels = read_native(frame, dtype, SAMPLES).reshape(SAMPLES, rows, columns).transpose(1, 2, 0)
    else:
        pixels = read_native(frame, dtype, SAMPLES).reshape(rows, columns, SAMPLES)
    if model.name.startswith("YBR"):
        pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
    return np.ascontiguousarray(pixels)


def _spread(frame: Frame, pairs: Array) -> Array:
    """Give both pixels of a pair their chrominance: Y1 Y2 Cb Cr, two pixels in four samples (PS3.3 C.7.6.3.1.2)."""
    rows, width = pairs.shape
    if width % 4:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} has {width // 2} columns, and {_HALVED} stores its pixels in pairs",
            "Its Columns or its Photometric Interpretation was written wrongly; export it again.",
            where=(frame.name,),
            clause=_CLAUSE,
        )
    four = pairs.reshape(rows, width // 4, 4)
    spread = np.stack([four[..., [0, 2, 3]], four[..., [1, 2, 3]]], axis=2)
    return np.ascontiguousarray(spread.reshape(rows, width // 2, SAMPLES))


def _in_8_bits(frame: Frame, pixels: Array, doubt: Doubt) -> Array:
    """Samples of 8 bits that are stored in 16, as 8 bits; all others as they are, unsigned."""
    if pixels.dtype.itemsize > 1 and frame.whole("BitsStored", 2 * _BITS) == _BITS:
        if pixels.max() >> _BITS:
            doubt("has bits above the 8 that its samples have by Bits Stored (0028,0101); they were cut off", frame)
        return pixels.astype(np.uint8)
    return pixels.view(f"u{pixels.dtype.itemsize}")


def _refuse_mixed(frames: Sequence[Frame]) -> None:
    grey = next((f for f in frames if not is_colour(f)), None)
    colour = next((f for f in frames if is_colour(f)), None)
    if grey is None or colour is None:
        return
    raise refuse(
        Code.MIXED_PHOTOMETRIC,
        f"{grey.name} has grey values and {colour.name} colours: one file holds one kind",
        "Convert the files of one kind alone.",
        where=(grey.name, colour.name),
        clause=_CLAUSE,
    )


def _assumed(why: str, names: list[str]) -> Finding:
    more = f", and so do {len(names) - 1} other files" if len(names) > 1 else ""
    return Finding(
        Code.COLOUR_ENCODING,
        f"{names[0]} {why}{more}",
        "Look whether the colours are those that were meant.",
        Severity.WARNING,
        _CLAUSE,
        tuple(names[:_NAMED]),
    )
