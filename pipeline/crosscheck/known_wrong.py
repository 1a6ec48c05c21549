"""Say what a witness that is known to be wrong about a series gives for it: a grid and values, to be met exactly.

Rules:
- A rule computes the answer of the installed witness, and excuses that answer alone. Anything else that differs disputes.
- A place is a grid, and which of our planes lie on it; values are computed anew from the stored ones. Faults may add up:
  every place is tried with every kind of values.
- What a witness leaves to chance is NaN: nothing is held against it. Nothing else may be NaN, or it would excuse anything.
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
from ..dicom.pixels import read_plane
from ..dicom.polarity import may_be_reversed
from ..geometry.affine import Matrix
from ..geometry.grid import Grid
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
    NO_MODALITY_LUT = "leave out a Modality LUT"
    SWAPPED_BYTES = "swap the bytes of GE's own transfer syntax"
    REAL_WORLD_VALUES = "apply the Real World Value Mapping in place of the rescale"
    NARROW_CODE_STREAM = "take 8-bit code streams for 16-bit ones"
    ROWS_TURNED = "turn round what GE's epi_pepolar stores upside down"
    ONE_SIGN = "take every plane for signed or unsigned as one of them is"
    ONE_SLOPE = "take slopes for one that differ by less than 0.00000012"


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a witness is known to give, under some rules.

    grid: of its block. values(n, plane): of our plane n; None where voxels are not compared. picks: which of our planes
    lies at every k of the grid; None for all, as they are. sheet: the tile numbers of planes that lie on one sheet.
    """

    rules: tuple[Rule, ...]
    grid: Grid
    values: Physical | None = None
    picks: tuple[int, ...] | None = None
    sheet: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        return "; ".join(rule.value for rule in self.rules)

    def expected(self, planes: Iterable[Array]) -> Iterator[tuple[Array, float]]:
        """The values of every plane of `grid`, and the largest number of each. planes: of our file."""
        assert self.values is not None
        made: Iterable[Array] = (self.values(n, plane) for n, plane in enumerate(planes))
        if self.sheet:
            made = [_on_sheet(list(made), self.sheet, self.grid)]
        elif self.picks is not None:  # they come in our order, and are wanted in another
            kept = list(made)
            made = (kept[n] for n in self.picks)
        for plane in made:
            yield plane, float(np.nanmax(np.abs(plane.astype(np.float64)), initial=0.0))


def predictions(witness: str, stack: Stack, frames: Sequence[Frame], physical: Physical | None) -> Iterator[Prediction]:
    """What a witness may give of frames, in the order of the grid's k, other than what they say.

    physical: see `decode.image`; None where voxels cannot be compared.
    """
    places = [Prediction((), stack.grid), *_PLACES[witness](stack, frames)]
    values: list[tuple[tuple[Rule, ...], Physical | None]] = [((), physical)]
    if physical is not None:
        values += [((rule,), computed) for rule, computed in _VALUES[witness](frames, physical)]
    for place, (rules, computed) in product(places, values):
        if place.rules or rules:
            yield replace(place, rules=place.rules + rules, values=computed)


# --- places ---------------------------------------------------------------------------------------------------------


def _places_of_dicom2nifti(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    grid, count = stack.grid, len(frames)
    if frames[0].tile and int(np.argmax(np.abs(grid.lps[:3, 2]))) != 2:
        yield Prediction((Rule.MIRRORED_MOSAIC,), grid, picks=tuple(range(count))[::-1])
    ranks = [f.rank("InStackPositionNumber") for f in frames]
    if frames[0].header.number_of_frames == count > 1 and sorted(r or 0 for r in ranks) == list(range(1, count + 1)):
        in_file = sorted(range(count), key=lambda k: frames[k].number)
        first, last = _position(frames[in_file[0]]), _position(frames[in_file[-1]])
        in_stack = tuple(sorted(range(count), key=lambda k: ranks[k] or 0))
        yield _stacked(Rule.IN_STACK_POSITION, grid, first, (last - first) / (count - 1), in_stack)


def _places_of_simpleitk(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """Of a tilted stack it takes the length from the first place to the last as so many steps along the normal."""
    if frames[0].tile:
        yield _sheet(frames)
    elif frames[0].header.number_of_frames > 1:
        in_file = tuple(sorted(range(len(frames)), key=lambda k: frames[k].number))
        lps = stack.grid.lps / [*stack.grid.spacing, 1.0]
        lps[:3, 2], lps[:3, 3] = _normal(frames[0]), _position(frames[in_file[0]])
        yield Prediction((Rule.FRAMES_AS_STORED,), Grid(stack.grid.shape, lps), picks=in_file)
    elif stack.grid.shear_degrees > LEANS_DEGREES:
        first, last = _position(frames[0]), _position(frames[-1])
        step = _normal(frames[0]) * np.linalg.norm(last - first) / (len(frames) - 1)
        yield _stacked(Rule.NO_SHEAR, stack.grid, first, step)


def _places_of_dcm2niix(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """It takes its first gap for all, and what has the UID of another instance for a copy of it.

    Its planes stand along the normal, as far apart as their places are; of a tilted CT, or with a Gantry/Detector
    Tilt, along the patient's axis, as far apart as they are along the normal.
    """
    normal, last = _normal(frames[0]), len(frames) - 1
    rule = Rule.NO_SHEAR if stack.grid.shear_degrees > LEANS_DEGREES else Rule.FIRST_GAP
    for start, beside in ((0, 1), (last, last - 1)) if last else ():
        origin = _position(frames[start])
        gap = _position(frames[beside]) - origin
        step = normal * np.linalg.norm(gap)
        if rule is Rule.NO_SHEAR and (frames[0].get("Modality") == "CT" or frames[0].get("GantryDetectorTilt")):
            step = np.array((0, 0, np.sign(normal[2]) * abs(normal @ gap)))
        if step.any():
            yield _stacked(rule, stack.grid, origin - step * start, step)
    if len({f.sop_instance_uid for f in frames}) == 1 < len({f.path for f in frames}):
        for k in range(len(frames)):
            lps = stack.grid.lps.copy()
            lps[:3, 3] = stack.grid.points((0, 0, k))
            alone = Grid((*stack.grid.shape[:2], 1), lps)
            yield Prediction((Rule.ONE_PER_UID,), alone, picks=(k,))


def _stacked(rule: Rule, grid: Grid, origin: Matrix, step: Matrix, picks: tuple[int, ...] | None = None) -> Prediction:
    """The grid with other places of its planes; turned round where they run against ours."""
    count, lps = grid.shape[2], grid.lps.copy()
    lps[:3, 2], lps[:3, 3] = step, origin
    if np.linalg.det(lps[:3, :3]) < 0:
        lps[:3, 2], lps[:3, 3] = -step, origin + step * (count - 1)
        picks = (picks or tuple(range(count)))[::-1]
    return Prediction((rule,), Grid(grid.shape, lps), picks=picks)


def _sheet(frames: Sequence[Frame]) -> Prediction:
    """A mosaic as the one plane that its attributes describe."""
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


def _on_sheet(planes: Sequence[Array], tiles: Sequence[int], grid: Grid) -> Array:
    """Tiles on their sheet: they lie row by row, from the top left; what no tile covers is nothing."""
    sheet = np.zeros(grid.shape[1::-1])
    rows, columns = planes[0].shape
    for plane, tile in zip(planes, tiles, strict=True):
        down, across = divmod(tile - 1, sheet.shape[1] // columns)
        sheet[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns] = plane
    return sheet


def _position(frame: Frame) -> Matrix:
    assert frame.plane is not None  # planes that were laid have their places
    return np.array(frame.plane.position)


def _normal(frame: Frame) -> Matrix:
    assert frame.plane is not None
    return np.array(frame.plane.normal)


# --- values ---------------------------------------------------------------------------------------------------------


def _values_of_dicom2nifti(frames: Sequence[Frame], _: Physical) -> Iterator[tuple[Rule, Physical]]:
    if any(f.get("RescaleSlope") is None and f.get("RescaleIntercept") is not None for f in frames):
        yield Rule.NO_LONE_INTERCEPT, lambda n, _: _rescaled(frames[n], needs_slope=True)


def _values_of_simpleitk(frames: Sequence[Frame], _: Physical) -> Iterator[tuple[Rule, Physical]]:
    yield from _of_one_sign(frames)
    if any(f.get("PhotometricInterpretation") == "MONOCHROME1" for f in frames):
        yield Rule.INVERTED, lambda n, _: _rescaled(frames[n], _inverted)
    if any("ModalityLUTSequence" in f.header.luts for f in frames):
        yield Rule.NO_MODALITY_LUT, lambda n, _: _rescaled(frames[n])
    if any(_GE_SYNTAX in (f.header.transfer_syntax, f.header.declared_syntax) for f in frames):
        yield Rule.SWAPPED_BYTES, lambda n, _: _rescaled(frames[n], _swapped)


def _values_of_dcm2niix(frames: Sequence[Frame], physical: Physical) -> Iterator[tuple[Rule, Physical]]:
    yield from _of_one_sign(frames)
    if any("ModalityLUTSequence" in f.header.luts for f in frames):
        yield Rule.NO_MODALITY_LUT, lambda n, _: _rescaled(frames[n])
    mapped = _real_world_mappings(frames)
    if mapped is not None:
        yield Rule.REAL_WORLD_VALUES, partial(_by_pair, frames, mapped)
    if any(_is_narrow(f) for f in frames):
        yield Rule.NARROW_CODE_STREAM, lambda n, _: _rescaled(frames[n], _packed)
    if may_be_reversed(frames):
        yield Rule.ROWS_TURNED, lambda n, plane: physical(n, plane)[::-1]
    slopes = rescales(frames)
    apart = np.ptp(slopes, axis=0)
    if 0 < apart.max() <= _SAME_SLOPE:
        for pair in (slopes[0], slopes[-1]):
            yield Rule.ONE_SLOPE, partial(_by_pair, frames, [pair] * len(frames))


def _of_one_sign(frames: Sequence[Frame]) -> Iterator[tuple[Rule, Physical]]:
    if len({f.get("PixelRepresentation") for f in frames}) > 1:
        for kind in "ui":
            yield Rule.ONE_SIGN, partial(_as_kind, frames, kind)


def _as_kind(frames: Sequence[Frame], kind: str, n: int, _: Array) -> Array:
    return _rescaled(frames[n], lambda _, stored: stored.astype(f"{kind}{stored.dtype.itemsize}"))


def _by_pair(frames: Sequence[Frame], pairs: Sequence[tuple[float, float]], n: int, _: Array) -> Array:
    slope, intercept = pairs[n]
    return np.asarray(read_plane(frames[n]) * slope + intercept)


def _rescaled(
    frame: Frame, changed: Callable[[Frame, Array], Array] = lambda _, stored: stored, *, needs_slope: bool = False
) -> Array:
    ((slope, intercept),) = rescales([frame])
    if needs_slope and frame.get("RescaleSlope") is None:
        slope, intercept = 1.0, 0.0
    return np.asarray(changed(frame, read_plane(frame)) * slope + intercept)


def _inverted(frame: Frame, stored: Array) -> Array:
    """Lowest and highest value changed for each other."""
    if stored.dtype.kind == "i":
        return np.asarray(-1 - stored.astype(np.int64))
    return np.asarray((1 << frame.whole("BitsStored", stored.dtype.itemsize * 8)) - 1 - stored.astype(np.int64))


def _swapped(_: Frame, stored: Array) -> Array:
    return stored.byteswap()


def _real_world_mappings(frames: Sequence[Frame]) -> list[tuple[float, float]] | None:
    """Slope and intercept of every frame's mapping; None where one has none, or a table."""
    if not all("RealWorldValueMappingSequence" in f.header.luts for f in frames):
        return None
    by_file = {path: real_world_mapping(f) for path, f in {f.path: f for f in frames}.items()}
    found = [pair for pair in (by_file[f.path] for f in frames) if pair is not None]
    return found if len(found) == len(frames) else None


def _is_narrow(frame: Frame) -> bool:
    """Whether it may be 8-bit samples in a compressed frame that is said to be of 16: of values that fit into them."""
    compressed = frame.header.transfer_syntax.startswith(_COMPRESSED)
    return compressed and frame.get("BitsAllocated") == 16 and frame.get("BitsStored", 16) <= 8


def _packed(frame: Frame, stored: Array) -> Array:
    """Two samples of 8 bits in every voxel of the first half of the plane; what lies in the second half nobody knows."""
    if not _is_narrow(frame):
        return stored
    half = stored.size // 2
    packed = np.full(stored.size, np.nan)
    packed[:half] = stored.astype(np.uint8).ravel()[: 2 * half].view("<i2")
    return packed.reshape(stored.shape)


_PLACES = {
    "dicom2nifti": _places_of_dicom2nifti,
    "SimpleITK": _places_of_simpleitk,
    "dcm2niix": _places_of_dcm2niix,
}
_VALUES = {
    "dicom2nifti": _values_of_dicom2nifti,
    "SimpleITK": _values_of_simpleitk,
    "dcm2niix": _values_of_dcm2niix,
}
