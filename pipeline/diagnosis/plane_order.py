"""Find a whole array whose planes are in another order than along the normal, such as that of their file names.

Rules:
- Each plane of the truth is found once. Which of several equal planes it is changes nothing, since they are equal.
- An order that the series itself suggests (file names, Instance Number) is named where it gives these planes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from ..dicom.frame import Frame
from ..geometry.axis_order import ORDERS, Order
from ..volume.mask import Array
from .array_match import ArrayMatch

PlaneOrders = tuple[tuple[str, tuple[int, ...]], ...]


def find_reordered(array: Array, truth: Array, known: PlaneOrders) -> list[ArrayMatch]:
    """Find the ways in which an array is the truth with its planes in another order.

    Args:
        array: the voxels of the file, 3-D, in any order of its axes.
        truth: (i, j, k), the voxels of the series.
        known: the orders of planes that the series suggests, by name; tried first.

    Returns: the matches, whose planes are not ascending; none where a plane is not found, or none is distinct.
    """
    if array.size != truth.size:
        return []
    common = np.result_type(array, truth)
    wanted = list(_digest_planes(truth, common))
    forwards = [order for order in ORDERS if not order.flipped[order.axes.index(2)]]
    found = [_match_planes(order, array, truth.shape, wanted, common, known) for order in forwards]
    return [match for match in found if match is not None]


def list_plane_orders(at_k: Sequence[Frame | None]) -> PlaneOrders:
    """List the orders in which a script may stack the planes of a series, that are not along its normal.

    Args:
        at_k: for each k of the grid, the frame whose plane lies there, or None.

    Returns: for each such order its name, and the k of its planes.
    """
    frames = [frame for frame in at_k if frame is not None]
    if len(frames) != len(at_k):
        return ()
    names = [(str(frame.path), frame.number) for frame in frames]
    numbers = [frame.get("InstanceNumber") for frame in frames]
    found = [("file names", tuple(sorted(range(len(frames)), key=lambda k: names[k])))]
    if len(set(numbers)) == len(numbers) and all(isinstance(n, int) for n in numbers):
        found.append(("Instance Number", tuple(sorted(range(len(frames)), key=lambda k: numbers[k]))))
    return tuple((name, order) for name, order in found if order != tuple(range(len(frames))))


def name_order(planes: Sequence[int], known: PlaneOrders) -> str:
    """Name an order of planes; "" where it is none that the series suggests."""
    return " and ".join(name for name, order in known if order == tuple(planes))


def _match_planes(
    order: Order, array: Array, shape: tuple[int, ...], wanted: Sequence[bytes], common: np.dtype, known: PlaneOrders
) -> ArrayMatch | None:
    """Find each plane of an array, read in one order of its axes; None where one is not there."""
    back = order.inverse.of(array)
    if back.shape != shape:
        return None
    free: dict[bytes, list[int]] = defaultdict(list)
    for k in reversed(range(len(wanted))):
        free[wanted[k]].append(k)
    planes, digests = [], []
    for digest in _digest_planes(back, common):
        if not free.get(digest):
            return None
        planes.append(free[digest].pop())
        digests.append(digest)
    named = (order for _, order in known if [wanted[k] for k in order] == digests)
    return ArrayMatch(order, next(named, tuple(planes)))


def _digest_planes(array: Array, common: np.dtype) -> Iterator[bytes]:
    """Digest each plane of an (i, j, k) array, compared as one type."""
    for plane in np.moveaxis(array, 2, 0):
        yield blake2b(np.ascontiguousarray(plane, common).tobytes(), digest_size=16).digest()
