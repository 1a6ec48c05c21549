"""Define what is predicted of a witness that is known to be wrong: a place, values, and the rules that explain them.

Rules:
- A place is a grid, and which of our planes lie on it; values are computed anew from the stored ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..dicom.frame import Frame
from ..geometry.affine import Matrix
from ..geometry.grid import Grid
from ..volume.colour import is_rgb
from ..volume.mask import Array, Physical


class Rule(Enum):
    """What a witness does, to follow “as it is known to:”."""

    MIRRORED_MOSAIC = "order the slices of a mosaic by the protocol's transverse positions, along row x column"
    IN_STACK_POSITION = "place enhanced frames by In-Stack Position Number but take the affine from the file's order"
    HEADWARDS_MOSAIC = "take the slices of a mosaic to run headwards, where it reads no private header"
    MOSAIC_SHEET = "read a mosaic as one sheet"
    FRAMES_AS_STORED = (
        "take frames as they lie in the file, and a millimetre for every spacing where they do not step evenly"
    )
    NO_SPACING = "take a millimetre for a Pixel Spacing that is missing"
    NO_SHEAR = "drop the shear of a tilted gantry"
    FIRST_GAP = "take the step from the first gap alone"
    ONE_PER_UID = "keep one of the files that have one SOP Instance UID"
    ONE_SERIES_UID = "read the files of one Series Instance UID, and leave out those of any other"
    NO_LONE_INTERCEPT = "leave out a Rescale Intercept that has no slope"
    NO_SLOPE_OF_ZERO = "take a Rescale Slope of 0 for 1"
    INVERTED = "invert MONOCHROME1"
    BRIGHT_BITS = "give 255 for a bit that is set"
    NO_MODALITY_LUT = "leave out a Modality LUT"
    SWAPPED_BYTES = "swap the bytes of GE's own transfer syntax"
    REAL_WORLD_VALUES = "apply the Real World Value Mapping in place of the rescale"
    NARROW_CODE_STREAM = "take 8-bit code streams for 16-bit ones"
    ROWS_TURNED = "turn round what GE's epi_pepolar stores upside down"
    JPEG_ROUNDING = "round lossy JPEG otherwise, by no more than one level of grey or luminance"
    ONE_SIGN = "take every plane for signed or unsigned as one of them is"
    LOST_POSITION = "take the origin for the position of a Nuclear Medicine image that is not in its detector's item"
    RETIRED_CLASS = "know no detector and no spacing of the retired Nuclear Medicine class"
    STEP_BY_TAG = "lay frames a positive Spacing Between Slices apart, else a Slice Thickness, else a millimetre"
    NO_DOSE_SCALING = "leave out Dose Grid Scaling"
    SWAPPED_WORDS = "exchange the two words of 32-bit values in big endian"
    SIGNED_32 = "take unsigned 32-bit values for signed"
    SIGNED_DOSE = "leave out Dose Grid Scaling, and take unsigned 32-bit values for signed"
    TWELVE_PACKED = "take 12 bits allocated for two values in three bytes, of which every other keeps 16 bits"
    ONE_SLOPE = "take slopes for one that differ by less than 0.00000012"


_LEFT_TO_CHANCE = frozenset((Rule.BRIGHT_BITS, Rule.NARROW_CODE_STREAM))


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a witness is known to give, under some rules.

    grid: where its block lies. values: (n, plane) to the values of our plane n; None where voxels are not compared.
    picks: which of our planes lies at every k of the grid; None for all in our order. sheet: the tile numbers of planes
    that lie on one sheet. within: by how much a value may differ, in its unit; of colours, their luminance.
    """

    rules: tuple[Enum, ...]
    grid: Grid
    values: Physical | None = None
    picks: tuple[int, ...] | None = None
    sheet: tuple[int, ...] = ()
    within: float = 0.0

    @property
    def words(self) -> str:
        return "; ".join(str(rule.value) for rule in self.rules)

    @property
    def leaves_to_chance(self) -> bool:
        """Whether a NaN among its values stands for one that the witness leaves to chance."""
        return not _LEFT_TO_CHANCE.isdisjoint(self.rules)

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
        return ((plane, find_largest(plane)) for plane in computed)


def find_largest(plane: Array) -> float:
    """Find the largest finite number of a plane, by which its rounding is judged; 0 for colours, which nobody rounds."""
    if is_rgb(plane.dtype):
        return 0.0
    sizes = np.abs(plane.astype(np.float64))
    return float(sizes.max(where=np.isfinite(sizes), initial=0.0))


def restack(rule: Rule, grid: Grid, origin: Matrix, step: Matrix, picks: tuple[int, ...] | None = None) -> Prediction:
    """Give the planes of a grid other places, and reverse them where they run against ours.

    Args:
        rule: that puts them there.
        grid: of our planes, LPS mm.
        origin: (3,) of the first plane, LPS mm.
        step: (3,) from each plane to the next, mm.
        picks: which of our planes lies at each; None for all in our order.

    Returns:
        The prediction of that place, without values.
    """
    count, lps = grid.shape[2], grid.lps.copy()
    lps[:3, 2], lps[:3, 3] = step, origin
    if np.linalg.det(lps[:3, :3]) < 0:
        lps[:3, 2], lps[:3, 3] = -step, origin + step * (count - 1)
        picks = (picks or tuple(range(count)))[::-1]
    return Prediction((rule,), Grid(grid.shape, lps), picks=picks)


def position_of(frame: Frame) -> Matrix:
    """Return (3,) the position of a frame's first pixel, LPS mm."""
    return np.array(frame.known_plane.position)


def normal_of(frame: Frame) -> Matrix:
    """Return (3,) the normal of a frame's plane, of unit length."""
    normal: Matrix = np.array(frame.known_plane.normal)
    return normal / np.linalg.norm(normal)


def order_in_file(frames: Sequence[Frame]) -> tuple[int, ...]:
    """Return the indices of frames in the order in which they lie in their file."""
    return tuple(sorted(range(len(frames)), key=lambda k: frames[k].number))


def _join_tiles(planes: Sequence[Array], tiles: Sequence[int], grid: Grid) -> Array:
    """Put tiles on their sheet: row by row, from the top left; the rest of the sheet is 0."""
    sheet = np.zeros(grid.shape[1::-1])
    rows, columns = planes[0].shape
    for plane, tile in zip(planes, tiles, strict=True):
        down, across = divmod(tile - 1, sheet.shape[1] // columns)
        sheet[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns] = plane
    return sheet
