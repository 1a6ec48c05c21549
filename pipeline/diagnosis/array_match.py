"""Which voxel of one array is which voxel of another: told by the voxels alone, no affine is looked at.

Rules:
- Equality decides. An array fits when every voxel equals the truth's, in one of 48 orders, on all planes or on some.
- All orders that fit are returned. A symmetrical mask fits in several, and the voxels cannot say which it was.
- One plane through the middle rules out nearly every order before an array is compared whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.axis_order import ORDERS, Order
from ..volume.mask import Array


@dataclass(frozen=True, slots=True)
class ArrayMatch:
    """array == order.of(truth[:, :, planes]), voxel by voxel."""

    order: Order
    planes: tuple[int, ...]

    def complete(self, truth_planes: int) -> bool:
        return len(self.planes) == truth_planes

    @property
    def stride(self) -> int | None:
        """The constant distance between the planes it has, or None where there are gaps."""
        steps = set(np.diff(self.planes).tolist()) or {1}
        return steps.pop() if len(steps) == 1 else None


def fits(array: Array, truth: Array) -> list[ArrayMatch]:
    """Every way an array (3-D, any order) is the truth (i, j, k), or some planes of it; as it is first."""
    if array.size == truth.size:
        every = tuple(range(truth.shape[2]))
        return [ArrayMatch(order, every) for order in ORDERS if _same(order, array, truth)]
    if array.size > truth.size or not array.size:
        return []
    common = np.result_type(array, truth)
    names: dict[bytes, int] = {}
    planes = _names(truth.astype(common, copy=False), names)
    found = []
    for order in ORDERS:
        back = order.inverse.of(array)
        if back.shape[:2] == truth.shape[:2]:
            found += [
                ArrayMatch(order, which) for which in _within(_names(back.astype(common, copy=False), names), planes)
            ]
    return [fit for fit in found if fit.stride is not None] or found


def same_shape(shape: tuple[int, ...], truth: tuple[int, int, int]) -> list[Order]:
    """The orders a block of the truth's shape can be in to have this shape."""
    return [order for order in ORDERS if order.shape(truth) == tuple(shape)]


def fewest_differing(array: Array, truth: Array) -> tuple[Order, int] | None:
    """The order in which the fewest voxels differ, and how many; None where no order has the truth's shape."""
    orders = same_shape(array.shape, truth.shape)
    counts = [(int(np.count_nonzero(array != order.of(truth))), n) for n, order in enumerate(orders)]
    return (orders[min(counts)[1]], min(counts)[0]) if counts else None


def is_uniform(array: Array) -> bool:
    """Whether one value fills it."""
    return bool(array.size and (array == array.flat[0]).all())


def as_labels(array: Array, truth: Array) -> tuple[Array, Array, str]:
    """The two arrays made comparable, and what was done: 0 and 255 in one are 0 and 1 in the other."""
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    a, t = _two_values(array), _two_values(truth)
    if a is None or t is None or a == t or a[0] != t[0]:
        return array, truth, ""
    note = f"the mask has the value {a[1]:g} where the series has {t[1]:g}; only inside and outside were compared"
    return array == a[1], truth == t[1], note


def _two_values(array: Array) -> tuple[float, float] | None:
    low, high = array.min(), array.max()
    return (low, high) if ((array == low) | (array == high)).all() else None


def _same(order: Order, array: Array, truth: Array) -> bool:
    turned = order.of(truth)
    if turned.shape != array.shape:
        return False
    middle = array.shape[0] // 2
    return np.array_equal(turned[middle], array[middle]) and np.array_equal(turned, array)


def _names(array: Array, names: dict[bytes, int]) -> list[int]:
    """A number for each plane, the same for equal planes."""
    planes = np.moveaxis(array, 2, 0)
    return [names.setdefault(np.ascontiguousarray(plane).tobytes(), len(names)) for plane in planes]


def _within(part: list[int], whole: list[int]) -> list[tuple[int, ...]]:
    """Where a sequence of planes lies in another: every place without gaps; else evenly spread; else in order, once."""
    count, all_ = len(part), len(whole)
    places = [tuple(range(n, n + count)) for n in range(all_ - count + 1) if whole[n : n + count] == part]
    for stride in range(2, (all_ - 1) // max(count - 1, 1) + 1 if not places else 0):
        spread = [range(n, n + (count - 1) * stride + 1, stride) for n in range(all_ - (count - 1) * stride)]
        places += [tuple(r) for r in spread if [whole[k] for k in r] == part]
    if places:
        return places
    found: list[int] = []
    for name in part:
        after = found[-1] + 1 if found else 0
        if name not in whole[after:]:
            return []
        found.append(whole.index(name, after))
    return [tuple(found)]
