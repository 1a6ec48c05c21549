"""Predict what a witness that is known to be wrong about a series gives for it: a grid and values, to be met exactly.

Rules:
- A rule computes the answer of the installed witness, and excuses that answer alone. Any other difference disputes
  the result.
- A place is a grid, and which of our planes lie on it; values are computed anew from the stored ones. Faults may add up:
  every place is tried with every kind of values.
- Lossy JPEG alone is not computed anew: decoders may differ by one level (ISO/IEC 10918-2), and so much is excused.
- A value that a witness leaves to chance is predicted as NaN and excuses any value there, by those rules alone that leave
  some to chance; by any other, a NaN must be one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from itertools import product

import numpy as np

from ..core.limits import LEANS_DEGREES
from ..dicom.colour_pixels import has_samples, is_colour
from ..dicom.encoding import EXPLICIT_BIG
from ..dicom.frame import Frame, spacing_attribute
from ..dicom.modality import real_world_mapping, rescale_of, rescales
from ..dicom.one_bit import is_one_bit
from ..dicom.pixel_layout import layout_of
from ..dicom.pixels import read_plane
from ..dicom.polarity import may_be_reversed
from ..dicom.source_file import open_source
from ..geometry.grid import Grid
from ..geometry.stack import Stack
from ..volume.mask import Array, Physical
from .known_colours import predict_colours
from .mosaic_faults import sheet_grid, way_of_dcm2niix, way_of_dicom2nifti
from .prediction import Prediction, Rule, normal_of, order_in_file, position_of, restack
from .vector_faults import leave_doses, lose_place, step_by_tag

_SAME_SLOPE = 1.2e-7  # dcm2niix takes two numbers for one that are nearer than the epsilon of float32
_GE_SYNTAX = "1.2.840.113619.5.2"
_COMPRESSED = "1.2.840.10008.1.2.4."
_LOSSY_JPEG = (f"{_COMPRESSED}50", f"{_COMPRESSED}51")


def _measure_level(frames: Sequence[Frame]) -> float:
    """One level of the stored values, in the unit of the rescaled ones; of colours, 1."""
    if has_samples(frames[0]):
        return 1.0
    return max(abs(slope) for slope, _ in rescales(frames))


def predict(witness: str, stack: Stack, frames: Sequence[Frame], physical: Physical | None) -> Iterator[Prediction]:
    """Predict what a witness may give for a series in place of what its frames describe.

    Args:
        witness: its name.
        stack: the stack of the frames.
        frames: one for each plane, in the order of the grid's k.
        physical: (n, plane) to rescaled values; None where voxels cannot be compared.

    Yields: predictions with one rule or more: every known place with every known kind of values.
    """
    places = [Prediction((), stack.grid), *_PLACES[witness](stack, frames)]
    if spacing_attribute(frames[0]) != "PixelSpacing":
        places += [replace(p, rules=(*p.rules, Rule.NO_SPACING), grid=_with_unit_pixels(p.grid)) for p in places]
    values: list[tuple[tuple[Enum, ...], Physical | None]] = [((), physical)]
    if physical is not None:
        of_colours = any(is_colour(f) for f in frames)
        known = predict_colours(witness, frames) if of_colours else _VALUES[witness](frames, physical)
        values += [((rule,), computed) for rule, computed in known]
        if witness == "dcm2niix" and any(f.header.transfer_syntax in _LOSSY_JPEG for f in frames):
            values.append(((Rule.JPEG_ROUNDING,), physical))
    for place, (rules, computed) in product(places, values):
        if place.rules or rules:
            within = _measure_level(frames) if Rule.JPEG_ROUNDING in rules else 0.0
            yield replace(place, rules=place.rules + rules, values=computed, within=within)


# --- places ---------------------------------------------------------------------------------------------------------


def _predict_dicom2nifti_places(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    grid, count = stack.grid, len(frames)
    if frames[0].tile:
        yield from _predict_sheet(frames)
        if (way := way_of_dicom2nifti(grid, frames)) is not None:
            yield restack(Rule.MIRRORED_MOSAIC, grid, *way)
    ranks = [f.rank("InStackPositionNumber") for f in frames]
    if frames[0].header.number_of_frames == count > 1 and sorted(r or 0 for r in ranks) == list(range(1, count + 1)):
        in_file = order_in_file(frames)
        first, last = position_of(frames[in_file[0]]), position_of(frames[in_file[-1]])
        in_stack = tuple(sorted(range(count), key=lambda k: ranks[k] or 0))
        yield restack(Rule.IN_STACK_POSITION, grid, first, (last - first) / (count - 1), in_stack)


def _predict_simpleitk_places(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """It lays a tilted stack along the normal, by the distance from the first place to the last in equal steps."""
    if frames[0].tile:
        yield from _predict_sheet(frames)
    elif frames[0].header.number_of_frames > 1:
        yield from lose_place(stack, frames)
        in_file = order_in_file(frames)
        lps = stack.grid.lps / [*stack.grid.spacing, 1.0]
        lps[:3, 2], lps[:3, 3] = normal_of(frames[0]), position_of(frames[in_file[0]])
        yield Prediction((Rule.FRAMES_AS_STORED,), Grid(stack.grid.shape, lps), picks=in_file)
    elif stack.grid.shear_degrees > LEANS_DEGREES:
        first, last = position_of(frames[0]), position_of(frames[-1])
        step = normal_of(frames[0]) * np.linalg.norm(last - first) / (len(frames) - 1)
        yield restack(Rule.NO_SHEAR, stack.grid, first, step)
    if len({f.get("SeriesInstanceUID") for f in frames}) == len(frames) > 1:
        yield from _predict_single_planes(Rule.ONE_SERIES_UID, stack.grid)


def _predict_dcm2niix_places(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """It takes its first gap for all gaps, and an instance with the UID of another for a copy of it.

    Its planes lie along the normal, as far apart as their positions are. Those of a tilted CT, or with a Gantry/Detector
    Tilt, lie along the patient's axis, as far apart as they are along the normal.
    """
    if frames[0].tile and (way := way_of_dcm2niix(stack.grid, frames)) is not None:
        yield restack(Rule.HEADWARDS_MOSAIC, stack.grid, *way)
    normal, last = normal_of(frames[0]), len(frames) - 1
    yield from step_by_tag(stack, frames)
    rule = Rule.NO_SHEAR if stack.grid.shear_degrees > LEANS_DEGREES else Rule.FIRST_GAP
    for start, neighbour in ((0, 1), (last, last - 1)) if last else ():
        origin = position_of(frames[start])
        gap = position_of(frames[neighbour]) - origin
        step = normal * np.linalg.norm(gap)
        if rule is Rule.NO_SHEAR and (frames[0].get("Modality") == "CT" or frames[0].get("GantryDetectorTilt")):
            step = np.array((0, 0, np.sign(normal[2]) * abs(normal @ gap)))
        if step.any():
            yield restack(rule, stack.grid, origin - step * start, step)
    if len({f.sop_instance_uid for f in frames}) == 1 < len({f.path for f in frames}):
        yield from _predict_single_planes(Rule.ONE_PER_UID, stack.grid)


def _predict_single_planes(rule: Rule, grid: Grid) -> Iterator[Prediction]:
    """Predict each plane of a grid as all that is read of it."""
    for k in range(grid.shape[2]):
        lps = grid.lps.copy()
        lps[:3, 3] = grid.points((0, 0, k))
        yield Prediction((rule,), Grid((*grid.shape[:2], 1), lps), picks=(k,))


def _with_unit_pixels(grid: Grid) -> Grid:
    """The same planes, with a millimetre from pixel to pixel."""
    return Grid(grid.shape, grid.lps / [*grid.spacing[:2], 1.0, 1.0])


def _predict_sheet(frames: Sequence[Frame]) -> Iterator[Prediction]:
    """Predict a mosaic as the one plane that its attributes describe."""
    grid = sheet_grid(frames)
    if grid is not None:
        yield Prediction((Rule.MOSAIC_SHEET,), grid, sheet=tuple(f.tile for f in frames))


# --- values ---------------------------------------------------------------------------------------------------------


def _predict_dicom2nifti_values(frames: Sequence[Frame], _: Physical) -> Iterator[tuple[Rule, Physical]]:
    yield from leave_doses(frames)
    if any(f.get("RescaleSlope") is None and f.get("RescaleIntercept") is not None for f in frames):
        yield Rule.NO_LONE_INTERCEPT, lambda n, _: _rescale(frames[n], needs_slope=True)


def _predict_simpleitk_values(frames: Sequence[Frame], _: Physical) -> Iterator[tuple[Rule, Physical]]:
    yield from leave_doses(frames)
    yield from _predict_one_sign(frames)
    if any(is_one_bit(f) for f in frames):
        yield Rule.BRIGHT_BITS, lambda n, _: _rescale(frames[n], _brighten)
    if any(f.get("PhotometricInterpretation") == "MONOCHROME1" for f in frames):
        yield Rule.INVERTED, lambda n, _: _rescale(frames[n], _invert)
    if any(f.get("RescaleSlope") == 0 for f in frames):
        yield Rule.NO_SLOPE_OF_ZERO, partial(_apply_pair, frames, [(s or 1.0, i) for s, i in map(rescale_of, frames)])
    if any("ModalityLUTSequence" in f.header.luts for f in frames):
        yield Rule.NO_MODALITY_LUT, lambda n, _: _rescale(frames[n])
    if any(_GE_SYNTAX in (f.header.transfer_syntax, f.header.declared_syntax) for f in frames):
        yield Rule.SWAPPED_BYTES, lambda n, _: _rescale(frames[n], _swap_bytes)
    if any(f.header.transfer_syntax == EXPLICIT_BIG and f.get("BitsAllocated") == 32 for f in frames):
        yield Rule.SWAPPED_WORDS, lambda n, _: _rescale(frames[n], _swap_words)


def _predict_dcm2niix_values(frames: Sequence[Frame], physical: Physical) -> Iterator[tuple[Rule, Physical]]:
    yield from leave_doses(frames, wraps=True)
    yield from _predict_one_sign(frames)
    if any(f.get("BitsAllocated") == 32 and f.get("PixelRepresentation") == 0 for f in frames):
        yield Rule.SIGNED_32, partial(_retype, frames, "i")
    if any("ModalityLUTSequence" in f.header.luts for f in frames):
        yield Rule.NO_MODALITY_LUT, lambda n, _: _rescale(frames[n])
    mapped = _find_real_world_mappings(frames)
    if mapped is not None:
        yield Rule.REAL_WORLD_VALUES, partial(_apply_pair, frames, mapped)
    if any(_is_narrow(f) for f in frames):
        yield Rule.NARROW_CODE_STREAM, lambda n, _: _rescale(frames[n], _pack)
    if may_be_reversed(frames):
        yield Rule.ROWS_TURNED, lambda n, plane: physical(n, plane)[::-1]
    if all(_is_taken_for_packed(f) for f in frames):
        yield Rule.TWELVE_PACKED, lambda n, _: _rescale(frames[n], _unpack_twelve)
    pairs = rescales(frames)
    if 0 < np.ptp(pairs, axis=0).max() <= _SAME_SLOPE:
        for pair in (pairs[0], pairs[-1]):
            yield Rule.ONE_SLOPE, partial(_apply_pair, frames, [pair] * len(frames))


def _predict_one_sign(frames: Sequence[Frame]) -> Iterator[tuple[Rule, Physical]]:
    if len({f.get("PixelRepresentation") for f in frames}) > 1:
        for kind in "ui":
            yield Rule.ONE_SIGN, partial(_retype, frames, kind)


def _retype(frames: Sequence[Frame], kind: str, n: int, _: Array) -> Array:
    """Take the stored bits for unsigned (kind "u") or signed ("i") integers."""
    return _rescale(frames[n], lambda _, stored: stored.astype(f"{kind}{stored.dtype.itemsize}"))


def _apply_pair(frames: Sequence[Frame], pairs: Sequence[tuple[float, float]], n: int, _: Array) -> Array:
    """Compute the values of plane n with a slope and intercept other than those of its modality rescale."""
    slope, intercept = pairs[n]
    return np.asarray(read_plane(frames[n]) * slope + intercept)


def _rescale(
    frame: Frame, change: Callable[[Frame, Array], Array] = lambda _, stored: stored, *, needs_slope: bool = False
) -> Array:
    """Change the stored values, then apply the modality rescale; without a slope not, where one is needed."""
    slope, intercept = rescale_of(frame)
    if needs_slope and frame.get("RescaleSlope") is None:
        slope, intercept = 1.0, 0.0
    return np.asarray(change(frame, read_plane(frame)) * slope + intercept)


def _invert(frame: Frame, stored: Array) -> Array:
    """Exchange the lowest and the highest value, and all between."""
    if stored.dtype.kind == "i":
        return np.asarray(-1 - stored.astype(np.int64))
    return np.asarray((1 << frame.whole("BitsStored", stored.dtype.itemsize * 8)) - 1 - stored.astype(np.int64))


def _brighten(frame: Frame, stored: Array) -> Array:
    """Make the bits that are set 255; the pixels of a last byte that is not full are left to chance."""
    if not is_one_bit(frame):
        return stored
    bright, count = stored * 255.0, frame.header.number_of_frames
    left = count * stored.size % 8
    if left and frame.number == count:
        bright.ravel()[-left:] = np.nan
    return bright


def _swap_bytes(_: Frame, stored: Array) -> Array:
    return stored.byteswap()


def _swap_words(_: Frame, stored: Array) -> Array:
    whole = stored.astype(stored.dtype.newbyteorder("="))
    return np.ascontiguousarray(whole.view(np.uint16).reshape(*whole.shape, 2)[..., ::-1]).view(whole.dtype)[..., 0]


def _find_real_world_mappings(frames: Sequence[Frame]) -> list[tuple[float, float]] | None:
    """Find slope and intercept of every frame's mapping; None where one has none, or a table."""
    if not all("RealWorldValueMappingSequence" in f.header.luts for f in frames):
        return None
    by_file = {path: real_world_mapping(f) for path, f in {f.path: f for f in frames}.items()}
    found = [pair for pair in (by_file[f.path] for f in frames) if pair is not None]
    return found if len(found) == len(frames) else None


def _is_narrow(frame: Frame) -> bool:
    """Whether a compressed frame, declared as 16-bit, may hold 8-bit samples: its values would fit into them."""
    compressed = frame.header.transfer_syntax.startswith(_COMPRESSED)
    return compressed and frame.get("BitsAllocated") == 16 and frame.get("BitsStored", 16) <= 8


def _pack(frame: Frame, stored: Array) -> Array:
    """Put two samples of 8 bits in every voxel of the first half of the plane; the second half is left to chance."""
    if not _is_narrow(frame):
        return stored
    half = stored.size // 2
    packed = np.full(stored.size, np.nan)
    packed[:half] = stored.astype(np.uint8).ravel()[: 2 * half].view("<i2")
    return packed.reshape(stored.shape)


def _is_taken_for_packed(frame: Frame) -> bool:
    """Whether values of 12 bits allocated take 16 each, uncompressed."""
    return frame.get("BitsAllocated") == 12 and frame.header.native and layout_of(frame.header).in_words


def _unpack_twelve(frame: Frame, stored: Array) -> Array:
    """Take three bytes of the file for two values, of all its frames on; the second of the two keeps all of its 16 bits."""
    voxel = np.arange((frame.number - 1) * stored.size, frame.number * stored.size)
    at = voxel * 3 // 2
    data = bytearray(int(at[-1] - at[0]) + 2)
    with open_source(frame.path) as file:
        layout_of(frame.header).read_into(file, int(at[0]), memoryview(data))
    at -= at[0]
    first, second = (np.frombuffer(data, np.uint8)[at + n].astype(np.uint16) for n in (0, 1))
    packed = np.where(voxel % 2, first | second << 8, (first << 8 | second) >> 4).astype(np.uint16)
    if frame.header.transfer_syntax == EXPLICIT_BIG:
        packed = packed.byteswap()
    return packed.view(np.int16).reshape(stored.shape)


_PLACES = {
    "dicom2nifti": _predict_dicom2nifti_places,
    "SimpleITK": _predict_simpleitk_places,
    "dcm2niix": _predict_dcm2niix_places,
}
_VALUES = {
    "dicom2nifti": _predict_dicom2nifti_values,
    "SimpleITK": _predict_simpleitk_values,
    "dcm2niix": _predict_dcm2niix_values,
}
