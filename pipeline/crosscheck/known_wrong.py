"""Predict what a witness that is known to be wrong about a series gives for it: a grid and values, to be met exactly.

Rules:
- A rule computes the answer of the installed witness, and excuses that answer alone. Any other difference disputes
  the result.
- A place is a grid, and which of our planes lie on it; values are computed anew from the stored ones. Faults may add up:
  every place is tried with every kind of values.
- A value that a witness leaves to chance is predicted as NaN and excuses any value there. No other value may be NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import product

import numpy as np

from ..core.limits import LEANS_DEGREES
from ..dicom.frame import Frame
from ..dicom.modality import real_world_mapping, rescales
from ..dicom.one_bit import is_one_bit
from ..dicom.pixel_bits import frame_type
from ..dicom.pixels import read_plane
from ..dicom.polarity import may_be_reversed
from ..geometry.affine import Matrix
from ..geometry.grid import Grid, Plane
from ..geometry.stack import Stack
from ..volume.mask import Array, Physical

_SAME_SLOPE = 1.2e-7  # dcm2niix takes two numbers for one that are nearer than the epsilon of float32
_GE_SYNTAX = "1.2.840.113619.5.2"
_COMPRESSED = "1.2.840.10008.1.2.4."


class Rule(Enum):
    """What a witness does, to follow “as it is known to:”."""

    MIRRORED_MOSAIC = "mirror the slices of sagittal and coronal mosaics"
    IN_STACK_POSITION = "place enhanced frames by In-Stack Position Number but take the affine from the file's order"
    MOSAIC_SHEET = "read a mosaic as one sheet"
    FRAMES_AS_STORED = (
        "take frames as they lie in the file, and a millimetre for every spacing where they do not step evenly"
    )
    NO_SHEAR = "drop the shear of a tilted gantry"
    FIRST_GAP = "take the step from the first gap alone"
    ONE_PER_UID = "keep one of the files that have one SOP Instance UID"
    NO_LONE_INTERCEPT = "leave out a Rescale Intercept that has no slope"
    INVERTED = "invert MONOCHROME1"
    BRIGHT_BITS = "give 255 for a bit that is set"
    NO_MODALITY_LUT = "leave out a Modality LUT"
    SWAPPED_BYTES = "swap the bytes of GE's own transfer syntax"
    REAL_WORLD_VALUES = "apply the Real World Value Mapping in place of the rescale"
    NARROW_CODE_STREAM = "take 8-bit code streams for 16-bit ones"
    ROWS_TURNED = "turn round what GE's epi_pepolar stores upside down"
    SIGNED_32 = "take unsigned integers of 32 bits for signed ones"
    ONE_SIGN = "take every plane for signed or unsigned as one of them is"
    ONE_SLOPE = "take slopes for one that differ by less than 0.00000012"


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a witness is known to give, under some rules.

    grid: where its block lies. values: (n, plane) to the values of our plane n; None where voxels are not compared.
    picks: which of our planes lies at every k of the grid; None for all in our order. sheet: the tile numbers of planes
    that lie on one sheet.
    """

    rules: tuple[Rule, ...]
    grid: Grid
    values: Physical | None = None
    picks: tuple[int, ...] | None = None
    sheet: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        return "; ".join(rule.value for rule in self.rules)

    def expected(self, planes: Iterable[Array]) -> Iterator[tuple[Array, float]] | None:
        """The values of every plane of `grid` and the largest number of each, computed from the planes of our file.

        None where voxels are not compared.
        """
        if self.values is None:
            return None
        computed: Iterable[Array] = (self.values(n, plane) for n, plane in enumerate(planes))
        if self.sheet:
            computed = [_join_tiles(list(computed), self.sheet, self.grid)]
        elif self.picks is not None:  # they come in our order, and are wanted in another
            kept = list(computed)
            computed = (kept[n] for n in self.picks)
        return ((plane, float(np.nanmax(np.abs(plane.astype(np.float64)), initial=0.0))) for plane in computed)


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
    values: list[tuple[tuple[Rule, ...], Physical | None]] = [((), physical)]
    if physical is not None:
        values += [((rule,), computed) for rule, computed in _VALUES[witness](frames, physical)]
    for place, (rules, computed) in product(places, values):
        if place.rules or rules:
            yield replace(place, rules=place.rules + rules, values=computed)


# --- places ---------------------------------------------------------------------------------------------------------


def _predict_dicom2nifti_places(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    grid, count = stack.grid, len(frames)
    if frames[0].tile and int(np.argmax(np.abs(grid.lps[:3, 2]))) != 2:
        yield Prediction((Rule.MIRRORED_MOSAIC,), grid, picks=tuple(range(count))[::-1])
    ranks = [f.rank("InStackPositionNumber") for f in frames]
    if frames[0].header.number_of_frames == count > 1 and sorted(r or 0 for r in ranks) == list(range(1, count + 1)):
        in_file = sorted(range(count), key=lambda k: frames[k].number)
        first, last = _position(frames[in_file[0]]), _position(frames[in_file[-1]])
        in_stack = tuple(sorted(range(count), key=lambda k: ranks[k] or 0))
        yield _restack(Rule.IN_STACK_POSITION, grid, first, (last - first) / (count - 1), in_stack)


def _predict_simpleitk_places(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """It lays a tilted stack along the normal, by the distance from the first place to the last in equal steps."""
    if frames[0].tile:
        yield _predict_sheet(frames)
    elif frames[0].header.number_of_frames > 1:
        in_file = tuple(sorted(range(len(frames)), key=lambda k: frames[k].number))
        lps = stack.grid.lps / [*stack.grid.spacing, 1.0]
        lps[:3, 2], lps[:3, 3] = _normal(frames[0]), _position(frames[in_file[0]])
        yield Prediction((Rule.FRAMES_AS_STORED,), Grid(stack.grid.shape, lps), picks=in_file)
    elif stack.grid.shear_degrees > LEANS_DEGREES:
        first, last = _position(frames[0]), _position(frames[-1])
        step = _normal(frames[0]) * np.linalg.norm(last - first) / (len(frames) - 1)
        yield _restack(Rule.NO_SHEAR, stack.grid, first, step)


def _predict_dcm2niix_places(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """It takes its first gap for all gaps, and an instance with the UID of another for a copy of it.

    Its planes lie along the normal, as far apart as their positions are. Those of a tilted CT, or with a Gantry/Detector
    Tilt, lie along the patient's axis, as far apart as they are along the normal.
    """
    normal, last = _normal(frames[0]), len(frames) - 1
    rule = Rule.NO_SHEAR if stack.grid.shear_degrees > LEANS_DEGREES else Rule.FIRST_GAP
    for start, neighbour in ((0, 1), (last, last - 1)) if last else ():
        origin = _position(frames[start])
        gap = _position(frames[neighbour]) - origin
        step = normal * np.linalg.norm(gap)
        if rule is Rule.NO_SHEAR and (frames[0].get("Modality") == "CT" or frames[0].get("GantryDetectorTilt")):
            step = np.array((0, 0, np.sign(normal[2]) * abs(normal @ gap)))
        if step.any():
            yield _restack(rule, stack.grid, origin - step * start, step)
    if len({f.sop_instance_uid for f in frames}) == 1 < len({f.path for f in frames}):
        for k in range(len(frames)):
            lps = stack.grid.lps.copy()
            lps[:3, 3] = stack.grid.points((0, 0, k))
            alone = Grid((*stack.grid.shape[:2], 1), lps)
            yield Prediction((Rule.ONE_PER_UID,), alone, picks=(k,))


def _restack(rule: Rule, grid: Grid, origin: Matrix, step: Matrix, picks: tuple[int, ...] | None = None) -> Prediction:
    """Give the planes of a grid other places, and reverse them where they run against ours."""
    count, lps = grid.shape[2], grid.lps.copy()
    lps[:3, 2], lps[:3, 3] = step, origin
    if np.linalg.det(lps[:3, :3]) < 0:
        lps[:3, 2], lps[:3, 3] = -step, origin + step * (count - 1)
        picks = (picks or tuple(range(count)))[::-1]
    return Prediction((rule,), Grid(grid.shape, lps), picks=picks)


def _predict_sheet(frames: Sequence[Frame]) -> Prediction:
    """Predict a mosaic as the one plane that its attributes describe."""
    header = frames[0].header
    sheet = Frame(header, 1, None)
    lps = np.eye(4)
    cosines = np.reshape(header.get("ImageOrientationPatient"), (2, 3))
    row, column = cosines / np.linalg.norm(cosines, axis=1)[:, None]
    between_rows, between_columns = header.get("PixelSpacing")
    lps[:3, :4] = np.array(
        [row * between_columns, column * between_rows, np.cross(row, column), header.get("ImagePositionPatient")]
    ).T
    shape = (sheet.whole("Columns", 0), sheet.whole("Rows", 0), 1)
    return Prediction((Rule.MOSAIC_SHEET,), Grid(shape, lps), sheet=tuple(f.tile for f in frames))


def _join_tiles(planes: Sequence[Array], tiles: Sequence[int], grid: Grid) -> Array:
    """Put tiles on their sheet: row by row, from the top left; the rest of the sheet is 0."""
    sheet = np.zeros(grid.shape[1::-1])
    rows, columns = planes[0].shape
    for plane, tile in zip(planes, tiles, strict=True):
        down, across = divmod(tile - 1, sheet.shape[1] // columns)
        sheet[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns] = plane
    return sheet


def _position(frame: Frame) -> Matrix:
    return np.array(_plane_of(frame).position)


def _normal(frame: Frame) -> Matrix:
    return np.array(_plane_of(frame).normal)


def _plane_of(frame: Frame) -> Plane:
    """Return the plane of a frame of a stack. Raises ValueError for a frame without one, which no stack has."""
    if frame.plane is None:
        raise ValueError(f"{frame.name} has no plane")
    return frame.plane


# --- values ---------------------------------------------------------------------------------------------------------


def _predict_dicom2nifti_values(frames: Sequence[Frame], _: Physical) -> Iterator[tuple[Rule, Physical]]:
    if any(f.get("RescaleSlope") is None and f.get("RescaleIntercept") is not None for f in frames):
        yield Rule.NO_LONE_INTERCEPT, lambda n, _: _rescale(frames[n], needs_slope=True)


def _predict_simpleitk_values(frames: Sequence[Frame], _: Physical) -> Iterator[tuple[Rule, Physical]]:
    yield from _predict_one_sign(frames)
    if any(is_one_bit(f) for f in frames):
        yield Rule.BRIGHT_BITS, lambda n, _: _rescale(frames[n], _brighten)
    if any(f.get("PhotometricInterpretation") == "MONOCHROME1" for f in frames):
        yield Rule.INVERTED, lambda n, _: _rescale(frames[n], _invert)
    if any("ModalityLUTSequence" in f.header.luts for f in frames):
        yield Rule.NO_MODALITY_LUT, lambda n, _: _rescale(frames[n])
    if any(_GE_SYNTAX in (f.header.transfer_syntax, f.header.declared_syntax) for f in frames):
        yield Rule.SWAPPED_BYTES, lambda n, _: _rescale(frames[n], _swap_bytes)


def _predict_dcm2niix_values(frames: Sequence[Frame], physical: Physical) -> Iterator[tuple[Rule, Physical]]:
    yield from _predict_one_sign(frames)
    if any(frame_type(f) == np.uint32 for f in frames):
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
    ((slope, intercept),) = rescales([frame])
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
