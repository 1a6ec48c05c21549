"""Define masks and images: labels or values on a grid, read a plane at a time.

Rules:
- Arrays are (i, j, k) = (column, row, plane). One plane is (rows, columns), C-contiguous: the bytes of a native DICOM
  frame are the bytes of a NIfTI plane, so nothing is transposed.
- Labels are unsigned integers: 0 is background, every other value is the number of a segment.
- Two segments that share a voxel give two masks. One label never silently overwrites another.
- An empty plane is one whose bytes are all zero. Whoever makes voxels says which planes he knows to be empty; the others
  are looked at once, when they are read to be written or counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.memory import require
from ..geometry.grid import Grid

Array = NDArray[Any]
Physical = Callable[[int, Array], Array]  # (n, plane): what a reader that rescales gives for our plane n
LARGEST_LABEL = int(np.iinfo(np.uint32).max)


def _is_not_known(k: int) -> bool:
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """A block of voxels.

    shape: (columns, rows, planes). plane(k): (rows, columns) of `dtype`, C-contiguous. is_empty(k): True where it is known
    without reading plane k that all its bytes are zero; False where that is not known.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    plane: Callable[[int], Array]
    is_empty: Callable[[int], bool] = _is_not_known

    @classmethod
    def of(cls, array: Array) -> Voxels:
        """Take an (i, j, k) array in memory."""
        columns, rows, planes = array.shape
        return cls((columns, rows, planes), array.dtype, lambda k: np.ascontiguousarray(array[:, :, k].T))

    def __iter__(self) -> Iterator[Array]:
        return (self.plane(k) for k in range(self.shape[2]))

    def planes(self) -> Iterator[Array | None]:
        """Yield every plane in order, C-contiguous; None for an empty one."""
        for k in range(self.shape[2]):
            if self.is_empty(k):
                yield None
                continue
            plane = np.ascontiguousarray(self.plane(k))
            yield plane if has_bits(plane) else None

    def array(self) -> Array:
        """All voxels as one (i, j, k) array, i fastest in memory."""
        columns, rows, planes = self.shape
        require_block(self.shape, self.dtype)
        block = np.empty((planes, rows, columns), self.dtype)
        for k, plane in enumerate(self):
            block[k] = plane
        array: Array = block.T
        return array


def require_block(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a block of voxels that needs more memory than may be taken. Raises MEMORY_LIMIT."""
    require(prod(shape) * dtype.itemsize, f"a block of {' × '.join(map(str, shape))} voxels in {dtype}")


@dataclass(frozen=True, slots=True)
class Concept:
    """A coded entry: value, scheme designator and meaning (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One label of a mask.

    number: the voxel value. colour: RGB, 0 to 255. category, type, algorithm: as a SEG states them.
    source_value: the value it had in the source, where that is another one.
    """

    number: int
    name: str
    colour: tuple[int, int, int] | None = None
    category: Concept | None = None
    type: Concept | None = None
    algorithm: str = ""
    source_value: int | None = None

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"segment number {self.number} is not positive; 0 is background")


@dataclass(frozen=True, slots=True, eq=False)
class MaskVolume:
    """Labels on a grid. The values are 0 and the numbers of the segments, nothing else. name: for the output file."""

    voxels: Voxels
    grid: Grid
    segments: tuple[Segment, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if self.voxels.shape != self.grid.shape:
            raise ValueError(f"labels {self.voxels.shape} do not fill the grid {self.grid.shape}")
        if self.voxels.dtype.kind != "u":
            raise ValueError(f"labels are unsigned integers, not {self.voxels.dtype}")
        numbers = [s.number for s in self.segments]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"segment numbers repeat: {numbers}")


@dataclass(frozen=True, slots=True, eq=False)
class ImageVolume:
    """Values on a grid: stored integers with their slope and intercept, or computed float32."""

    voxels: Voxels
    grid: Grid
    slope: float = 1.0
    intercept: float = 0.0
    name: str = ""


def bytes_of(plane: Array) -> NDArray[np.uint8]:
    """The bytes of a C-contiguous plane, as one row."""
    return plane.reshape(-1).view(np.uint8)


def has_bits(plane: Array) -> bool:
    """Whether any byte of a C-contiguous plane is not zero. It stops at the first; of -0.0 one is."""
    return bool(bytes_of(plane).view(np.bool_).any())


def smallest_unsigned(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds a label."""
    return next(np.dtype(t) for t in (np.uint8, np.uint16, np.uint32) if largest <= np.iinfo(t).max)


def segments_named(values: Sequence[int], name: str = "") -> tuple[Segment, ...]:
    """Make segments for labels that came without names. One label alone is called `name`, if there is one."""
    only = len(values) == 1
    return tuple(Segment(v, name if only and name else f"label {v}") for v in values)
