"""Compute where planes lie, for a reader of masks: from attributes that GDCM gives, with numpy alone.

Rules:
- Nothing here is shared with `geometry`: a fault of ours in the affine must not be one of the reader's too.
- Planes come in the order of the index k. A distance that is a multiple of the smallest is a gap; its planes are absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .gdcm_instance import GdcmInstance, GdcmRefusal, read_items, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_POSITION, _ORIENTATION = (0x0020, 0x0032), (0x0020, 0x0037)
_SPACINGS = ((0x0028, 0x0030), (0x0018, 0x2010), (0x0018, 0x1164))  # of pixels, of what was scanned, of the detector
_THICKNESSES = ((0x0018, 0x0088), (0x0018, 0x0050))  # the step of a lone plane, which nothing else gives
_OFF_STEP = 0.25  # of a step: a plane farther from every multiple of it has no index
_OFF_VOXEL = 0.05  # of a voxel: grids farther apart than this are not two parts of one


class PlaneSeen(NamedTuple):
    """Where one plane lies: LPS mm of its first pixel, its two directions (as columns) times their spacings, its size."""

    origin: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    columns: int
    rows: int


class PlaneGrid(NamedTuple):
    """Where planes lie together: 4 x 4 LPS mm of index (i, j, k), the shape, and the k of every plane given."""

    lps: NDArray[np.float64]
    shape: tuple[int, int, int]
    ks: tuple[int, ...]


def find_place(instance: GdcmInstance, number: int) -> PlaneSeen:
    """Find where a frame lies. number: from 1. Raises GdcmRefusal where an attribute is missing."""
    groups = _functional_groups(instance, number)
    position = _numbers(groups, (0x0020, 0x9113), _POSITION)
    orientation = _numbers(groups, (0x0020, 0x9116), _ORIENTATION)
    spacing = next((s for tag in _SPACINGS if (s := _numbers(groups, (0x0028, 0x9110), tag))), [])
    spacing = spacing * 2 if len(spacing) == 1 else spacing
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2):
        raise GdcmRefusal(f"frame {number} of {instance.name} has no position, orientation or spacing of its own")
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    across, down = across / np.linalg.norm(across) * spacing[1], down / np.linalg.norm(down) * spacing[0]
    return PlaneSeen(np.array(position), across, down, instance.columns, instance.rows)


def find_step(instance: GdcmInstance, number: int) -> float:
    """Find the distance to the next plane that a lone plane names, in mm; 1 where it names none."""
    groups = _functional_groups(instance, number)
    found = (_numbers(groups, (0x0028, 0x9110), tag) for tag in _THICKNESSES)
    return next((abs(numbers[0]) for numbers in found if numbers and numbers[0]), 1.0)


def find_places(places: Sequence[PlaneSeen], lone_step_mm: float) -> PlaneGrid:
    """Find the grid of planes.

    Args:
        places: of planes in the order of k.
        lone_step_mm: the step of a plane that is the only one.

    Returns: their affine, shape and indices.

    Raises: GdcmRefusal where sizes differ or distances are no multiples of one.
    """
    first, last = places[0], places[-1]
    if len({(p.columns, p.rows) for p in places}) > 1:
        raise GdcmRefusal("its planes differ in size")
    across, down = (np.mean([getattr(p, side) for p in places], 0) for side in ("across", "down"))
    if len(places) == 1:
        normal = np.cross(across, down)
        ks: tuple[int, ...] = (0,)
        step = normal / np.linalg.norm(normal) * lone_step_mm
    else:
        ks, step = _index_of(np.array([p.origin for p in places]))
    lps = np.eye(4)
    lps[:3] = np.stack([across, down, step, first.origin], 1)
    far = np.linalg.norm(lps[:3, 3] + step * ks[-1] - last.origin)
    if far > _OFF_STEP * np.linalg.norm(step):
        raise GdcmRefusal("its planes are not on one line")
    return PlaneGrid(lps, (first.columns, first.rows, ks[-1] + 1), ks)


def take_part(block: NDArray[Any], grid: PlaneGrid, wanted: PlaneGrid) -> NDArray[Any]:
    """Return the voxels of a block where the voxels of another grid lie, in whole voxels.

    Args:
        block: (i, j, k) on `grid`.
        grid: of the block.
        wanted: axes of it may be exchanged or reversed; all of it lies within the block.

    Returns: (i, j, k) of the wanted shape.

    Raises: GdcmRefusal where the two are not parts of one grid.
    """
    exact = np.linalg.inv(grid.lps) @ wanted.lps
    matrix = np.rint(exact[:3]).astype(int)
    ends = np.array([[(s - 1) * (n >> axis & 1) for axis, s in enumerate(wanted.shape)] + [1] for n in range(8)])
    if np.abs((ends @ exact.T)[:, :3] - ends @ matrix.T).max() > _OFF_VOXEL:
        raise GdcmRefusal("the image that it is compared with is on another grid")
    axes = [int(np.abs(matrix[:, axis]).argmax()) for axis in range(3)]
    turned = np.transpose(block, axes)
    parts = []
    for axis, theirs in enumerate(axes):
        sign, start, count = int(matrix[theirs, axis]), int(matrix[theirs, 3]), wanted.shape[axis]
        stop = start + sign * (count - 1)
        if (
            sorted(axes) != [0, 1, 2]
            or abs(sign) != 1
            or min(start, stop) < 0
            or max(start, stop) >= block.shape[theirs]
        ):
            raise GdcmRefusal("the image that it is compared with does not cover it")
        parts.append(slice(start, None if stop + sign < 0 else stop + sign, sign))
    return turned[tuple(parts)]


def _index_of(origins: NDArray[np.float64]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Return the index of every plane along the line from the first to the last, and the step as a vector in mm."""
    line = origins[-1] - origins[0]
    length = float(np.linalg.norm(line))
    along = (origins - origins[0]) @ line / (length or 1.0)
    distances = np.diff(along)
    if not length or distances.min() <= 0:
        raise GdcmRefusal("two of its planes lie at one place")
    least = float(np.median(distances[distances < 1.5 * distances.min()]))
    exact = along / least
    index = np.rint(exact).astype(int)
    if np.abs(exact - index).max() > _OFF_STEP:
        index = np.concatenate([[0], np.cumsum(np.rint(distances / least).astype(int))])
    step = line / index[-1]
    if np.abs(along / float(np.linalg.norm(step)) - index).max() > _OFF_STEP:
        raise GdcmRefusal("distances between its planes are not multiples of one")
    return tuple(int(n) for n in index), step


def _functional_groups(instance: GdcmInstance, number: int) -> list[Any]:
    """Return the data sets that describe a frame, the most special first."""
    per_frame = read_items(instance.data, 0x5200, 0x9230)
    own = per_frame[number - 1 : number]
    if instance.frames > 1 and not own:
        raise GdcmRefusal(f"{instance.name} has several frames and no functional groups")
    return [*own, *read_items(instance.data, 0x5200, 0x9229), instance.data]


def _numbers(groups: list[Any], macro: tuple[int, int], tag: tuple[int, int]) -> list[float]:
    """Return the numbers of an attribute, in the macro of the first data set that has it, or in the data set itself."""
    for data in groups:
        for place in (*read_items(data, *macro), data):
            text = read_text(place, *tag)
            if text:
                return [float(number) for number in text.split("\\")]
    return []
