"""Describe the 48 orders in which one block of voxels can be stored: three axes in any order, each in either direction.

Rules:
- An order is given against the grid: array axis a runs along grid axis `axes[a]`, backwards where `flipped[a]`.
- An affine belongs to one order. Change the order of an array and its affine changes with it, or the file is wrong.
- Which axis runs to which patient direction has one answer, nibabel's (`affine.axis_codes`). The order dicom2nifti
  stores follows another rule and lies where its output is predicted: `crosscheck.dicom2nifti.stored_order`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .affine import PATIENT_AXES, Matrix, axis_codes

AXES = ("i", "j", "k")


@dataclass(frozen=True, slots=True)
class Order:
    """One of the 48 orders. axes: for each array axis, its grid axis. flipped: for each, whether it runs backwards."""

    axes: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def matrix(self, shape: Sequence[int]) -> NDArray[np.int64]:
        """4 x 4, index in the array to index in a grid of this shape. `index_map.reorder` takes it to go back."""
        matrix = np.zeros((4, 4), np.int64)
        matrix[3, 3] = 1
        for a, (axis, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            matrix[axis, a] = -1 if flip else 1
            matrix[axis, 3] = shape[axis] - 1 if flip else 0
        return matrix

    def shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """The shape of the array, for a grid of this shape."""
        a, b, c = self.axes
        return shape[a], shape[b], shape[c]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Arrange an array that is in grid order in this order. The result is a view."""
        turned = array.transpose(self.axes)
        return np.asarray(turned[tuple(slice(None, None, -1 if f else 1) for f in self.flipped)])

    def after(self, first: Order) -> Order:
        """The order of an array that was put in `first` and then rearranged by this one."""
        axes = tuple(first.axes[a] for a in self.axes)
        flipped = tuple(f != first.flipped[a] for a, f in zip(self.axes, self.flipped, strict=True))
        return Order(axes, flipped)  # type: ignore[arg-type]

    @property
    def inverse(self) -> Order:
        """The order that takes an array of this one back to grid order."""
        axes = tuple(self.axes.index(a) for a in range(3))
        return Order(axes, tuple(self.flipped[a] for a in axes))  # type: ignore[arg-type]

    @property
    def flips(self) -> int:
        """How many axes run backwards."""
        return sum(self.flipped)


AS_IS = Order()
ORDERS = tuple(Order(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3))  # type: ignore[arg-type]


def order_for(ras: Matrix, codes: str) -> Order:
    """Find the order whose axes run to three patient directions.

    ras: 4 x 4, index to RAS mm, of the grid. codes: three letters, such as "LPS", one of each pair of directions.

    Each axis runs to the direction that `axis_codes` gives it, which is nibabel's rule: an array put in the order for
    "RAS" is the one that `nibabel.as_closest_canonical` makes.
    """
    have = axis_codes(ras)
    pairs = [next(pair for pair in PATIENT_AXES if letter in pair) for letter in codes]
    axes = tuple(next(axis for axis in range(3) if have[axis] in pair) for pair in pairs)
    flipped = tuple(have[axis] != letter for axis, letter in zip(axes, codes, strict=True))
    return Order(axes, flipped)  # type: ignore[arg-type]


def describe_difference(array: Order, meant: Order) -> str:
    """Say in words what turned an array of order `meant` into one of order `array`; empty where they are equal.

    i, j and k are the axes of the first array, before anything was done.
    """
    change = array.after(meant.inverse)
    parts = []
    if change.axes != (0, 1, 2):
        parts.append("axes in the order " + ", ".join(AXES[a] for a in change.axes))
    reversed_ = sorted(AXES[a] for a, f in zip(change.axes, change.flipped, strict=True) if f)
    if reversed_:
        parts.append(f"{' and '.join(reversed_)} reversed")
    return " with ".join(parts)
