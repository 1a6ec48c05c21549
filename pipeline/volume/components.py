"""Find runs of equal labels in the rows of planes, and count the connected pieces they make over many planes.

Rules:
- A run is a maximal stretch of one label other than 0 in one row. What can be counted of labels is counted of runs:
  there are a thousand times fewer of them than voxels.
- Planes come in order, some at a time. Pieces touch by faces, and only the last plane is kept, so memory does not grow
  with their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .mask import Array

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The runs of some planes, row after row.

    shape: (planes, rows, columns).
    starts: (plane * rows + row) * columns + column of the first voxel of each run.
    lengths: in voxels. values: the label of each run.
    """

    shape: tuple[int, ...]
    starts: Indices
    lengths: Indices
    values: Array

    def of_plane(self, k: int) -> Runs:
        """The runs of one of the planes, as if it were alone."""
        size = self.shape[1] * self.shape[2]
        first, after = np.searchsorted(self.starts, (k * size, (k + 1) * size))
        here = slice(first, after)
        return Runs((1, *self.shape[1:]), self.starts[here] - k * size, self.lengths[here], self.values[here])


def runs_of(planes: Array) -> Runs:
    """Find the runs of labels in an array of shape (planes, rows, columns)."""
    columns = planes.shape[2]
    rows = np.ascontiguousarray(planes).reshape(-1, columns)
    filled = np.flatnonzero(rows.view(np.bool_).any(axis=1))  # of most masks a few rows: the others need no closer look
    flat = rows[filled].ravel()
    begins = np.ones(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::columns] = True  # every row begins a run
    starts = np.flatnonzero(begins)
    values = flat[starts]
    lengths = np.diff(starts, append=flat.size)
    labelled = values != 0
    row, column = np.divmod(starts[labelled], columns)
    return Runs(planes.shape, filled[row] * columns + column, lengths[labelled], values[labelled])


class Pieces:
    """A counter of the connected pieces of every label, to which planes are given in order, some at a time."""

    def __init__(self) -> None:
        self._last: Runs | None = None
        self._piece = np.zeros(0, np.int64)  # of each run of the last plane, from 0 without gaps
        self._values: Array = np.zeros(0, np.uint8)  # the label of each piece of the last plane
        self._ended: dict[int, int] = {}

    def add(self, runs: Runs) -> None:
        """Take in the runs of the next planes. All planes have one size."""
        planes, rows, columns = runs.shape
        known = len(self._values)
        one, other = _find_touching(runs, runs, columns)
        same = runs.starts[one] // (rows * columns) == runs.starts[other] // (rows * columns)
        edges = [(one[same] + known, other[same] + known)]
        if planes > 1:
            one, other = _find_touching(runs, runs, rows * columns)
            edges.append((one + known, other + known))
        if self._last is not None:
            before, now = _find_touching(self._last, runs, 0)
            edges.append((self._piece[before], now + known))
        joined = _join(known + len(runs.starts), *(np.concatenate(side) for side in zip(*edges, strict=True)))
        self._last = runs.of_plane(planes - 1)
        reached = joined[len(joined) - len(self._last.starts) :]  # the pieces that go on
        ended = joined == np.arange(len(joined))
        ended[reached] = False
        _count(self._ended, np.concatenate([self._values, runs.values])[ended])
        self._piece = np.unique(reached, return_inverse=True)[1]
        self._values = np.zeros(int(self._piece.max(initial=-1)) + 1, runs.values.dtype)
        self._values[self._piece] = self._last.values

    def end_all(self) -> None:
        """Take in a plane without labels: every piece ends before it."""
        if self._last is None:
            return
        _count(self._ended, self._values)
        self._last, self._piece, self._values = None, self._piece[:0], self._values[:0]

    def counts(self) -> dict[int, int]:
        """Label to number of pieces, of the planes so far."""
        counts = dict(self._ended)
        _count(counts, self._values)
        return counts


def _count(counts: dict[int, int], values: Array) -> None:
    """Add to `counts` how often each value occurs. In place: it is called for every few planes."""
    for value, number in zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True):
        counts[value] = counts.get(value, 0) + number


def _find_touching(one: Runs, other: Runs, shift: int) -> tuple[Indices, Indices]:
    """Find pairs of runs of one label that share a place when `other` is moved back by `shift`: indices into both."""
    begin = other.starts - shift
    first = np.searchsorted(begin + other.lengths, one.starts, side="right")
    after = np.searchsorted(begin, one.starts + one.lengths, side="left")
    count = np.maximum(after - first, 0)
    left = np.repeat(np.arange(len(one.starts)), count)
    right = np.arange(int(count.sum())) + np.repeat(first - np.cumsum(count) + count, count)
    same = one.values[left] == other.values[right]
    return left[same], right[same]


def _join(nodes: int, one: Indices, other: Indices) -> Indices:
    """Find for every node the smallest node that the given pairs connect it to."""
    root = np.arange(nodes)
    while one.size:
        low, high = np.minimum(one, other), np.maximum(one, other)
        np.minimum.at(root, high, low)
        while (further := root[root]).tobytes() != root.tobytes():
            root = further
        one, other = root[one], root[other]
        apart = one != other
        one, other = one[apart], other[apart]
    return root
