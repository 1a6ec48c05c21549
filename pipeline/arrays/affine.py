"""Find the affine of an array that somebody else filled from a DICOM series.

Rules:
- An affine belongs to one array in one order, so it comes with that order and that shape, and never alone.
- The order is the caller's word, or what the values show: an array that is the image in one order only. Where the values show
  another order than the word, or leave several open, nothing is given.
- Values that are not those of the series (a mask, a filtered image) show nothing; then the word is needed, and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..conversion.request import Request
from ..core import arguments
from ..core.arguments import bad_option
from ..core.findings import Code, Finding, refuse
from ..core.policy import Policy
from ..decode.picture import decode_picture
from ..diagnosis.array_match import find_matches, list_orders
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_codes, axis_lengths
from ..geometry.axis_order import AS_IS, Order
from ..geometry.grid import Grid
from ..stacking.laid_frames import LaidFrames
from ..volume.colour import is_rgb
from ..volume.mask import Array
from .array_order import Planes, describe, is_by_index, order_of, with_planes, word_of
from .origin import ArrayOrigin, find_origin

if TYPE_CHECKING:
    from ..core.arguments import OneOrManyPaths

OrderBy = Literal["stated", "values"]
_LISTED = 4  # orders that a message names


@dataclass(frozen=True, slots=True, eq=False)
class ArrayAffine:
    """The affine of one array in one order.

    matrix: (4, 4) float64, index of this array to RAS mm. shape: of the array. axes: its order, such as "-kji": plane
    backwards, row, column. order_by: whether that is "stated", or the "values" show it. findings: about the grid.
    """

    matrix: Matrix
    shape: tuple[int, int, int]
    axes: str
    order_by: OrderBy
    findings: tuple[Finding, ...]
    _order: Order
    _origin: ArrayOrigin

    @property
    def lps(self) -> Matrix:
        """(4, 4), index of this array to LPS mm, the world of DICOM and ITK."""
        return LPS_TO_RAS @ self.matrix

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from a voxel to the next along each axis of the array."""
        x, y, z = axis_lengths(self.matrix)
        return float(x), float(y), float(z)

    @property
    def axis_codes(self) -> str:
        """Where each axis of the array increases to, such as "LPS"."""
        return axis_codes(self.matrix)

    @property
    def plane_axis(self) -> int:
        """The axis of the array that counts the planes."""
        return self._order.axes.index(2)

    @property
    def plane_uids(self) -> tuple[str | None, ...]:
        """SOP Instance UID of each plane along `plane_axis`; None for one that no instance holds."""
        uids = self._origin.plane_uids
        return uids[::-1] if self._order.flipped[self.plane_axis] else uids

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.shape))
        by = "as stated" if self.order_by == "stated" else "as its values show"
        return f"<ArrayAffine of an array {size} in the order {describe(self._order)}, {by}; {self.axis_codes}>"


def affine(
    series: OneOrManyPaths,
    *,
    array: Any = None,
    shape: Sequence[int] | None = None,
    axes: str | None = None,
    planes: Planes | Sequence[str | Path] = "position",
    request: Request | None = None,
    policy: Policy | None = None,
) -> ArrayAffine:
    """Find the affine of an array of the voxels of a DICOM series.

    Args:
        series: folders or files of the images.
        array: the array, 3-D, in any order: the image, or a mask drawn on it.
        shape: its shape, where the array is not at hand.
        axes: what its axes are: "ijk" for column, row, plane; "kji" for a NumPy stack of planes (plane, row, column); a minus
            where one runs backwards ("-kji"); or where they increase to in the patient ("LPS", the buffers of Mimics).
            None to find it by the values of the image, or from "ijk" where neither array nor shape is given.
        planes: how the planes follow each other: "position", ascending along the normal (row x column); "instance-number" or
            "file-name", where they were sorted by that; or the list of the files in their order.
        request: which series and part, where there are several.
        policy: tolerances, and what becomes of planes that are no grid.

    Returns:
        The affine, with the shape and the order of the array it belongs to.

    Raises:
        PipelineError: ARRAY_ORDER where several orders are possible, or planes in that order have no affine; GRID_DIFFERS where the
            array cannot be of the series in that order; BAD_OPTION, IDLE_OPTION; and what keeps the series from one grid.
    """
    given = arguments.paths("series", series)
    if not given:
        raise bad_option("series", series, "a folder or file, or a list of them")
    values, size = _checked(array, shape)
    policy = policy or Policy()
    origin, laid_frames = find_origin(given, request or Request(), policy)
    if size is None:
        axes = "ijk" if axes is None else axes
    order, order_by = find_order(values, size, origin, laid_frames, policy, axes=axes, planes=planes)
    return on_origin(origin, order, order_by)


def on_origin(origin: ArrayOrigin, order: Order, order_by: OrderBy) -> ArrayAffine:
    """Make the affine of an array on the grid of what it comes from.

    Args:
        origin: what the array comes from.
        order: of the array against that grid.
        order_by: what shows the order.

    Returns: the affine, with shape and order.
    """
    grid = origin.grid
    matrix = grid.ras @ order.matrix(grid.shape)
    matrix.flags.writeable = False
    return ArrayAffine(matrix, order.shape(grid.shape), word_of(order), order_by, origin.findings, order, origin)


def find_order(
    values: Array | None,
    shape: tuple[int, ...] | None,
    origin: ArrayOrigin,
    laid_frames: LaidFrames | None,
    policy: Policy,
    *,
    axes: str | None,
    planes: Planes | Sequence[str | Path] = "position",
) -> tuple[Order, OrderBy]:
    """Find in which order an array stores a grid.

    Args:
        values: of the array; None where they are not at hand.
        shape: of the array; None where that is not known either.
        origin: the grid.
        laid_frames: the frames whose pixels the values may be; None where they are not to be compared.
        policy: how pixels are read.
        axes: the word for it; None for what the values show.
        planes: how the planes follow each other, where that is said.

    Returns: the order, and what shows it.

    Raises: PipelineError as `affine`.
    """
    grid = origin.grid
    stated = None if axes is None else order_of(axes, grid.ras)
    if planes != "position":
        if stated is None or not is_by_index(str(axes)):
            words = "planes has no effect here: without axes of i, j and k, no axis is known to count the planes"
            raise refuse(Code.IDLE_OPTION, words, 'Say axes="kji" too, or leave planes out.', where=("planes",))
        stated = with_planes(stated, planes, origin.frames, origin.title)
    if shape is not None:
        _refuse_shape(shape, grid, stated, origin.title)
    shown = _shown(values, laid_frames, policy)
    if stated is None:
        return _only(shown, shape, origin), "values"
    if shown and stated not in shown:
        raise refuse(
            Code.GRID_DIFFERS,
            f"the array is not in the order {describe(stated)}: its values are those of {origin.title} in the order "
            f"{_listed(shown)}",
            "Give that order, or leave axes and planes out to have it found.",
            where=(origin.title,),
        )
    return stated, "values" if shown == [stated] else "stated"


def _checked(array: Any, shape: Sequence[int] | None) -> tuple[Array | None, tuple[int, ...] | None]:
    """The array as NumPy's, and its shape. Raises BAD_OPTION."""
    if array is not None:
        values = checked_array(array)
        if shape is not None and tuple(shape) != values.shape:
            raise bad_option("shape", tuple(shape), f"that of the array, {values.shape}")
        return values, values.shape
    if shape is None:
        return None, None
    sides = tuple(shape) if isinstance(shape, Sequence | np.ndarray) else ()
    if len(sides) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in sides):
        raise bad_option("shape", shape, "three whole numbers from 1 up")
    return None, tuple(int(n) for n in sides)


def checked_array(array: Any) -> Array:
    """Return a 3-D array of numbers. Raises BAD_OPTION."""
    values = np.asarray(array)
    if values.dtype.kind not in "biuf" or values.ndim != 3 or not values.size:
        found = f"{values.ndim}-D of {values.dtype}" if values.size else "empty"
        raise bad_option("array", found, "a 3-D array of whole or real numbers")
    return values


def _refuse_shape(shape: tuple[int, ...], grid: Grid, stated: Order | None, title: str) -> None:
    """Refuse a shape that the series cannot have, or not in the order that is stated. Raises GRID_DIFFERS."""
    fitting = [order for order in list_orders(shape, grid.shape) if not order.flips]
    if stated.shape(grid.shape) == shape if stated is not None else fitting:
        return
    size = " × ".join(map(str, shape))
    columns, rows, planes = grid.shape
    whole = f"{title} has {columns} columns, {rows} rows and {planes} planes"
    if stated is None or not fitting:
        raise refuse(
            Code.GRID_DIFFERS,
            f"an array of {size} cannot be of this series: {whole}",
            "Is it cropped, resampled, or of another series?",
            where=(title,),
        )
    raise refuse(
        Code.GRID_DIFFERS,
        f"an array of {size} is not in the order {describe(stated)}: {whole}",
        f"By its shape it can be {' or '.join(map(describe, fitting))}.",
        where=(title,),
    )


def _shown(values: Array | None, laid_frames: LaidFrames | None, policy: Policy) -> list[Order]:
    """Every order in which the values are the pixels of the series, stored or rescaled; none where they are not."""
    if values is None or laid_frames is None or values.dtype.kind == "b":
        return []
    decoded = decode_picture(laid_frames.frames, policy, padded=not laid_frames.whole)
    if is_rgb(decoded.voxels.dtype):
        return []
    stored = laid_frames.place(decoded.voxels, decoded.padding).array()
    found = find_matches(values, stored)
    if not found and (decoded.slope, decoded.intercept) != (1.0, 0.0):
        rescaled = stored.astype(np.float64) * decoded.slope + decoded.intercept
        found = find_matches(values, rescaled.astype(values.dtype) if values.dtype.kind == "f" else rescaled)
    complete = [match.order for match in found if match.is_complete(stored.shape[2])]
    return list({_ways(order, values.shape): order for order in reversed(complete)}.values())[::-1]


def _ways(order: Order, shape: tuple[int, ...]) -> tuple[tuple[int, bool] | None, ...]:
    """How an order runs along the axes that have more than one voxel; others have no direction, nor a number of their own."""
    runs = zip(order.axes, order.flipped, shape, strict=True)
    return tuple((axis, flip) if size > 1 else None for axis, flip, size in runs)


def _only(shown: list[Order], shape: tuple[int, ...] | None, origin: ArrayOrigin) -> Order:
    """The one order there is. Raises ARRAY_ORDER."""
    if len(shown) == 1:
        return shown[0]
    if shown:
        words = f"the values of the array are those of {origin.title} in {len(shown)} orders: {_listed(shown)}"
        hint = "It is symmetrical, or of one value: say which with axes."
    else:
        possible = [o for o in list_orders(shape or (), origin.grid.shape) if not o.flips] or [AS_IS]
        a, b, c = (
            axis == 2 for axis in possible[0].axes
        )  # planes the other way round: the order most often meant by mistake
        both = [*possible[:2], Order(possible[0].axes, (a, b, c))][:2]
        words = (
            f"nothing shows in which order the array stores {origin.title}: its values are not the pixels of the series, and "
            f"its shape allows several orders, such as {_listed(both)}"
        )
        hint = 'Say it with axes: "kji" for numpy.stack of planes in ascending position, "ijk" for column, row, plane.'
    raise refuse(Code.ARRAY_ORDER, words, hint, where=(origin.title,))


def _listed(orders: Sequence[Order]) -> str:
    more = f" and {len(orders) - _LISTED} others" if len(orders) > _LISTED else ""
    return " or ".join(map(describe, orders[:_LISTED])) + more
