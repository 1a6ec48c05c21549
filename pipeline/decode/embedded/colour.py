"""Colour pixels as labels: each exact colour is one; grey (red = green = blue) is image or background.

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
from ...dicom.frame import Frame
from ...dicom.modality import refuse_lossy
from ...dicom.pixels import is_colour, read_colour
from ...volume.mask import Array, Segment, Voxels, smallest_unsigned
from .labelled import Colour, Labelled, Named

_MOST_COLOURS = 255
_BITS = 16


def accepts(frames: Sequence[Frame]) -> bool:
    """Whether any pixel is a colour."""
    return any(is_colour(frame) for frame in frames)


def decode(frames: Sequence[Frame], *, inside: Sequence[Named] = (), name: str = "") -> Labelled:
    """The labels of colour frames of one size, in their order.

    inside: the colours to take and their names; all others are then left out, and said. By default every colour is a
    label, ascending by red, green and blue. Raises NOT_A_MASK, LOSSY_PIXELS, NO_SUCH_VALUE, EMPTY, BAD_LABELS.
    """
    refuse_lossy(frames, "its colours")
    counts: dict[int, int] = {}
    for frame in frames:
        for code, voxels in zip(*np.unique(_coloured(read_colour(frame)), return_counts=True), strict=True):
            counts[int(code)] = counts.get(int(code), 0) + int(voxels)
        counts.pop(-1, None)
        if len(counts) > _MOST_COLOURS and not inside:
            raise _shaded(frame)
    if not counts:
        raise refuse(
            Code.EMPTY,
            f"none of the {len(frames)} colour planes has a colour: red, green and blue are the same in every pixel",
            "Was the mask visible when it was exported? Grey pixels stored as colours hold no mask that can be told.",
        )
    segments, left_out = _segments(counts, inside, name)
    voxels = _voxels(frames, list(segments))
    said = ", ".join(f"{_hex(code)} is “{s.name}” ({counts[code]:,} voxels)" for code, s in segments.items())
    findings = [Finding(Code.VALUES_TAKEN, f"exact colours are the labels: {said}", severity=Severity.INFO)]
    return Labelled(voxels, tuple(segments.values()), (*findings, *left_out), name)


def _segments(counts: dict[int, int], inside: Sequence[Named], name: str) -> tuple[dict[int, Segment], list[Finding]]:
    """Colour code to segment, and what was left out."""
    if not inside:
        codes = sorted(counts)
        only = name if len(codes) == 1 else ""
        return {c: Segment(n, only or _hex(c), _eight_bits(c)) for n, c in enumerate(codes, 1)}, []
    named = {_code(n): n.name for n in inside}
    missing = [f"{_hex(code)} (“{n}”)" for code, n in named.items() if code not in counts]
    if missing:
        listed = ", ".join(_hex(c) for c in sorted(counts, key=counts.__getitem__, reverse=True)[:12])
        raise refuse(Code.NO_SUCH_VALUE, f"no pixel has the colour {', '.join(missing)}", f"There are: {listed}.")
    others = {c: n for c, n in counts.items() if c not in named}
    left_out = []
    if others:
        listed = ", ".join(f"{_hex(c)} ({n:,})" for c, n in sorted(others.items(), key=lambda o: -o[1])[:8])
        said = f"{len(others)} more colours were not asked for and became background: {listed}"
        left_out = [Finding(Code.VALUES_LEFT_OUT, said, severity=Severity.WARNING)]
    return {c: Segment(n, name, _eight_bits(c)) for n, (c, name) in enumerate(named.items(), 1)}, left_out


def _voxels(frames: Sequence[Frame], codes: Sequence[int]) -> Voxels:
    columns, rows = int(frames[0].get("Columns")), int(frames[0].get("Rows"))
    dtype = smallest_unsigned(len(codes))
    order = np.argsort(codes)
    ascending, numbers = np.array(codes)[order], (order + 1).astype(dtype)

    def plane(n: int) -> Array:
        found = _coloured(read_colour(frames[n]))
        place = np.minimum(np.searchsorted(ascending, found), len(codes) - 1)
        return np.where(ascending[place] == found, numbers[place], np.zeros((), dtype))

    return Voxels((columns, rows, len(frames)), dtype, plane)


def _coloured(rgb: Array) -> NDArray[np.int64]:
    """(rows, columns) one number for each colour, -1 where it is grey. Eight bits become sixteen, so files agree."""
    wide = rgb.astype(np.int64) * (257 if rgb.dtype.itemsize == 1 else 1)
    red, green, blue = wide[..., 0], wide[..., 1], wide[..., 2]
    return np.where((red == green) & (green == blue), -1, (red << 2 * _BITS) + (green << _BITS) + blue)


def _code(named: Named) -> int:
    if isinstance(named.value, int):
        raise refuse(
            Code.BAD_LABELS,
            f"“{named.name}” is given the value {named.value}, but the export has colours",
            "Give colours like #ff8000.",
        )
    red, green, blue = (257 * v for v in named.value)
    return (red << 2 * _BITS) + (green << _BITS) + blue


def _samples(code: int) -> tuple[int, int, int]:
    mask = (1 << _BITS) - 1
    return code >> 2 * _BITS, code >> _BITS & mask, code & mask


def _eight_bits(code: int) -> Colour:
    red, green, blue = (s >> 8 for s in _samples(code))
    return red, green, blue


def _hex(code: int) -> str:
    samples = _samples(code)
    digits = 2 if all(s % 257 == 0 for s in samples) else 4
    return "#" + "".join(f"{s // 257 if digits == 2 else s:0{digits}x}" for s in samples)


def _shaded(frame: Frame) -> PipelineError:
    return refuse(
        Code.NOT_A_MASK,
        f"up to {frame.name} there are more than {_MOST_COLOURS} colours: shaded, smoothed or blended with the image",
        "Export with opaque masks and without smoothing, or as grey values; --labels NAME=#rrggbb takes named colours only.",
        where=(frame.name,),
    )
