"""Read colour pixels as labels: each exact colour is one; grey (red = green = blue) is image or background.

Rules:
- Colours are compared exactly. Pixels that went through lossy compression have no exact colours and are refused.
- More than 255 colours are shading, smoothed edges or a blend of mask and image: no mask can be read from them.
- A palette's colours count, not its indices: an index means nothing without the palette of its own file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...dicom.colour_pixels import Assumptions, is_colour, read_colour
from ...dicom.frame import Frame
from ...dicom.modality import refuse_lossy
from ...volume.mask import Array, Segment, Voxels, smallest_unsigned
from ..image import first_and_last
from .labelled import Colour, Labelled, Named

_MOST_COLOURS = 255  # as many as a mask may have labels; more are shading
_BITS = 16  # of one sample in a colour's code
_TO_16_BITS = 257  # 255 × 257 = 65535: the sample of 16 bits for one of 8
_MOST_LISTED = 8  # colours left out that a warning names
_MOST_OFFERED = 12  # colours to choose from that a refusal names


def accepts(frames: Sequence[Frame]) -> bool:
    """Return whether any frame has colour pixels."""
    return any(is_colour(frame) for frame in frames)


def decode(frames: Sequence[Frame], *, inside: Sequence[Named] = (), name: str = "") -> Labelled:
    """Read the labels of colour frames.

    Args:
        frames: of one size, in their order.
        inside: colours to take, with their names; all others become background, and a finding lists them. By default
            every colour is a label, ascending by red, green and blue.
        name: of the mask, and of its label where there is only one.

    Returns:
        One mask with a label for each colour.

    Raises:
        PipelineError: NOT_A_MASK, LOSSY_PIXELS, NO_SUCH_VALUE, EMPTY, BAD_LABELS.
    """
    refuse_lossy(frames, "its colours")
    assumed = Assumptions()
    counts = _count_colours(frames, assumed, limited=not inside)
    if inside:
        names = {_code(named): named.name for named in inside}
        _refuse_missing(names, counts)
    else:
        codes = sorted(counts)
        names = {code: name if name and len(codes) == 1 else _hex(code) for code in codes}
    segments = {c: Segment(number, names[c], _eight_bits(c)) for number, c in enumerate(names, 1)}
    listed = ", ".join(f"{_hex(code)} is “{s.name}” ({counts[code]:,} voxels)" for code, s in segments.items())
    taken = Finding(Code.VALUES_TAKEN, f"exact colours are the labels: {listed}", severity=Severity.INFO)
    left_out = _left_out({c: n for c, n in counts.items() if c not in names})
    findings = (taken, *left_out, *assumed.findings())
    pairs = tuple((code, s.number) for code, s in segments.items())
    return Labelled(_label(frames, list(segments)), tuple(segments.values()), findings, name, stored_labels=pairs)


def _count_colours(frames: Sequence[Frame], assumed: Assumptions, *, limited: bool) -> dict[int, int]:
    """Count the pixels of each colour code, and add what is assumed to read them.

    limited: refuse more colours than a mask has labels. Raises EMPTY.
    """
    counts: dict[int, int] = {}
    for frame in frames:
        codes = _colour_codes(read_colour(frame, assumed.add))
        for code, voxels in zip(*np.unique(codes, return_counts=True), strict=True):
            counts[int(code)] = counts.get(int(code), 0) + int(voxels)
        counts.pop(-1, None)
        if len(counts) > _MOST_COLOURS and limited:
            raise _shaded(frame)
    if not counts:
        raise refuse(
            Code.EMPTY,
            f"none of the {len(frames)} colour planes has a colour: red, green and blue are the same in every pixel",
            "Was the mask visible when it was exported? Grey pixels stored as colours show no mask.",
            where=first_and_last(frames),
        )
    return counts


def _refuse_missing(names: dict[int, str], counts: dict[int, int]) -> None:
    missing = [f"{_hex(code)} (“{name}”)" for code, name in names.items() if code not in counts]
    if missing:
        common = sorted(counts, key=counts.__getitem__, reverse=True)[:_MOST_OFFERED]
        raise refuse(
            Code.NO_SUCH_VALUE,
            f"no pixel has the colour {', '.join(missing)}",
            f"There are: {', '.join(map(_hex, common))}.",
            where=tuple(missing),
        )


def _left_out(others: dict[int, int]) -> list[Finding]:
    """Warn of colours that were not asked for. others: colour code to how many pixels have it."""
    if not others:
        return []
    common = sorted(others.items(), key=lambda item: -item[1])[:_MOST_LISTED]
    listed = ", ".join(f"{_hex(code)} ({pixels:,})" for code, pixels in common)
    message = f"{len(others)} more colours were not asked for and became background: {listed}"
    return [Finding(Code.VALUES_LEFT_OUT, message, "Name them with --labels too if they are mask.", Severity.WARNING)]


def _label(frames: Sequence[Frame], codes: Sequence[int]) -> Voxels:
    columns, rows = int(frames[0].get("Columns")), int(frames[0].get("Rows"))
    dtype = smallest_unsigned(len(codes))
    order = np.argsort(codes)
    ascending, numbers = np.array(codes)[order], (order + 1).astype(dtype)

    def plane(n: int) -> Array:
        found = _colour_codes(read_colour(frames[n]))
        nearest = np.minimum(np.searchsorted(ascending, found), len(codes) - 1)
        return np.where(ascending[nearest] == found, numbers[nearest], np.zeros((), dtype))

    return Voxels((columns, rows, len(frames)), dtype, plane)


def _colour_codes(rgb: Array) -> NDArray[np.int64]:
    """Return (rows, columns) one number for each colour, -1 for grey. Eight bits become sixteen, so that files agree."""
    wide = rgb.astype(np.int64) * (_TO_16_BITS if rgb.dtype.itemsize == 1 else 1)
    red, green, blue = wide[..., 0], wide[..., 1], wide[..., 2]
    return np.where((red == green) & (green == blue), -1, (red << 2 * _BITS) + (green << _BITS) + blue)


def _code(named: Named) -> int:
    if isinstance(named.value, int):
        raise refuse(
            Code.BAD_LABELS,
            f"“{named.name}” is given the value {named.value}, but the export has colours",
            "Give colours like #ff8000.",
            where=(f"{named.name}={named.value}",),
        )
    red, green, blue = (_TO_16_BITS * v for v in named.value)
    return (red << 2 * _BITS) + (green << _BITS) + blue


def _samples(code: int) -> tuple[int, int, int]:
    mask = (1 << _BITS) - 1
    return code >> 2 * _BITS, code >> _BITS & mask, code & mask


def _eight_bits(code: int) -> Colour:
    red, green, blue = (s >> 8 for s in _samples(code))
    return red, green, blue


def _hex(code: int) -> str:
    samples = _samples(code)
    digits = 2 if all(s % _TO_16_BITS == 0 for s in samples) else 4
    return "#" + "".join(f"{s // _TO_16_BITS if digits == 2 else s:0{digits}x}" for s in samples)


def _shaded(frame: Frame) -> PipelineError:
    return refuse(
        Code.NOT_A_MASK,
        f"up to {frame.name} there are more than {_MOST_COLOURS} colours: shaded, smoothed or blended with the image",
        "Export with opaque masks and without smoothing, or as grey values; --labels NAME=#rrggbb takes named colours only.",
        where=(frame.name,),
    )
