"""Find which voxel of one array is which voxel of another, by their values alone; no affine is used.

Rules:
- Equality decides. An array fits when every voxel equals the truth's, in one of 48 orders, on all planes or on some.
- All orders that fit are returned. A symmetrical mask fits in several, and its voxels do not show which one was meant.
- One plane through the middle rules out nearly every order before an array is compared as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..geometry.axis_order import ORDERS, Order
from ..volume.mask import Array

_NOT_THERE = -1  # the number of a plane that the truth does not have


@dataclass(frozen=True, slots=True)
class ArrayMatch:
    """How an array is the truth: array == order.of(truth[:, :, planes]), voxel by voxel."""

    order: Order
    planes: tuple[int, ...]

    def is_complete(self, truth_planes: int) -> bool:
        return len(self.planes) == truth_planes

    @property
    def is_reordered(self) -> bool:
        """Whether the planes are in another order than in the truth."""
        return any(after < before for before, after in pairwise(self.planes))

    @property
    def stride(self) -> int | None:
        """The constant distance between the planes it has, in planes; None where it is not constant."""
        steps = set(np.diff(self.planes).tolist()) or {1}
        return steps.pop() if len(steps) == 1 else None


def find_matches(array: Array, truth: Array) -> list[ArrayMatch]:
    """Find every way in which an array (3-D, any order) is the truth (i, j, k), or some planes of it; unchanged first."""
    if array.size == truth.size:
        every = tuple(range(truth.shape[2]))
        return [ArrayMatch(order, every) for order in ORDERS if _is_same(order, array, truth)]
    if array.size > truth.size or not array.size:
        return []
    common = np.result_type(array, truth)
    numbers: dict[bytes, int] = {}  # one for each plane of the truth, the same for equal planes
    wanted = [numbers.setdefault(plane, len(numbers)) for plane in _plane_bytes(truth.astype(common, copy=False))]
    matches = []
    for order in ORDERS:
        back = order.inverse.of(array)
        if back.shape[:2] == truth.shape[:2]:
            part = [numbers.get(plane, _NOT_THERE) for plane in _plane_bytes(back.astype(common, copy=False))]
            matches += [ArrayMatch(order, planes) for planes in _find_planes(part, wanted)]
    return [match for match in matches if match.stride is not None] or matches


def list_orders(shape: tuple[int, ...], truth: tuple[int, int, int]) -> list[Order]:
    """List the orders in which a block of the truth's shape has this shape."""
    return [order for order in ORDERS if order.shape(truth) == tuple(shape)]


def find_nearest_order(array: Array, truth: Array) -> tuple[Order, int] | None:
    """Find the order in which the fewest voxels differ, and how many; None where no order has the truth's shape."""
    orders = list_orders(array.shape, truth.shape)
    counts = [(int(np.count_nonzero(array != order.of(truth))), n) for n, order in enumerate(orders)]
    return (orders[min(counts)[1]], min(counts)[0]) if counts else None


def is_uniform(array: Array) -> bool:
    """Whether all voxels have one value."""
    return bool(array.size and (array == array.flat[0]).all())


def match_labels(array: Array, truth: Array) -> tuple[Array, Array, str]:
    """Make two arrays comparable where 0 and 255 in one are 0 and 1 in the other; and a note of what was done."""
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    a, t = _find_two_values(array), _find_two_values(truth)
    if a is None or t is None or a == t or a[0] != t[0]:
        return array, truth, ""
    note = f"the mask has the value {a[1]:g} where the series has {t[1]:g}; only inside and outside were compared"
    return array == a[1], truth == t[1], note


def _find_two_values(array: Array) -> tuple[float, float] | None:
    """Find the smallest and the largest value; None where there are others."""
    low, high = array.min(), array.max()
    return (low, high) if ((array == low) | (array == high)).all() else None


def _is_same(order: Order, array: Array, truth: Array) -> bool:
    turned = order.of(truth)
    if turned.shape != array.shape:
        return False
    middle = array.shape[0] // 2
    return np.array_equal(turned[middle], array[middle]) and np.array_equal(turned, array)


def _plane_bytes(array: Array) -> Iterator[bytes]:
    return (np.ascontiguousarray(plane).tobytes() for plane in np.moveaxis(array, 2, 0))


def _find_planes(part: list[int], whole: list[int]) -> list[tuple[int, ...]]:
    """Find where a sequence of planes lies in another: every place without gaps; else evenly spread; else in order, once."""
    count, all_ = len(part), len(whole)
    places = [tuple(range(n, n + count)) for n in range(all_ - count + 1) if whole[n : n + count] == part]
    for stride in range(2, (all_ - 1) // max(count - 1, 1) + 1 if not places else 0):
        spread = [range(n, n + (count - 1) * stride + 1, stride) for n in range(all_ - (count - 1) * stride)]
        places += [tuple(r) for r in spread if [whole[k] for k in r] == part]
    if places:
        return places
    found: list[int] = []
    for number in part:
        after = found[-1] + 1 if found else 0
        if number not in whole[after:]:
            return []
        found.append(whole.index(number, after))
    return [tuple(found)]
