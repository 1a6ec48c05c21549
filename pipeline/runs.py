"""Runs of equal labels along the rows of a plane, and how many connected pieces they make over many planes.

Rules:
- A run is a maximal stretch of one label other than 0 in one row. What can be counted of labels is counted of runs:
  there are a thousand times fewer of them than voxels.
- Pieces touch by faces. Planes come in order and only the last one is kept, so memory does not grow with their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.mask import Array

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The runs of a plane, row after row. starts: row * columns + column of the first voxel of each."""

    columns: int
    starts: Indices
    lengths: Indices
    values: Array


def runs_of(plane: Array) -> Runs:
    """The runs of a (rows, columns) plane of labels."""
    columns = plane.shape[1]
    occupied = np.flatnonzero(plane.any(axis=1))
    if not occupied.size:
        none = np.zeros(0, np.int64)
        return Runs(columns, none, none, plane.ravel()[:0])
    first = int(occupied[0])
    block = plane[first : int(occupied[-1]) + 1]
    changes = np.ones(block.shape, np.bool_)  # every row begins a run
    np.not_equal(block[:, 1:], block[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    values = block.ravel()[starts]
    lengths = np.diff(starts, append=block.size)
    labelled = values != 0
    return Runs(columns, starts[labelled] + first * columns, lengths[labelled], values[labelled])


class Pieces:
    """Counts connected pieces of every label while planes go by."""

    def __init__(self) -> None:
        self._last: Runs | None = None
        self._piece = np.zeros(0, np.int64)  # of each run of the last plane, from 0 without gaps
        self._values: Array = np.zeros(0, np.uint8)  # the label of each piece of the last plane
        self._ended: dict[int, int] = {}

    def add(self, runs: Runs) -> None:
        """The runs of the next plane; all planes have one size."""
        known = len(self._values)
        one, other = _touching(runs, runs, runs.columns)
        edges = [(one + known, other + known)]
        if self._last is not None:
            before, now = _touching(self._last, runs, 0)
            edges.append((self._piece[before], now + known))
        joined = _joined(known + len(runs.starts), *(np.concatenate(side) for side in zip(*edges, strict=True)))
        goes_on = np.zeros(len(joined), np.bool_)
        goes_on[joined[known:]] = True
        roots = np.flatnonzero(joined[:known] == np.arange(known))
        _count(self._ended, self._values[roots[~goes_on[roots]]])
        self._last, self._piece = runs, np.unique(joined[known:], return_inverse=True)[1]
        self._values = np.zeros(int(self._piece.max(initial=-1)) + 1, runs.values.dtype)
        self._values[self._piece] = runs.values

    def counts(self) -> dict[int, int]:
        """Label to number of pieces, of the planes so far."""
        counts = dict(self._ended)
        _count(counts, self._values)
        return counts


def _count(counts: dict[int, int], values: Array) -> None:
    for value, number in zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True):
        counts[value] = counts.get(value, 0) + number


def _touching(one: Runs, other: Runs, shift: int) -> tuple[Indices, Indices]:
    """Pairs of runs of one label, as indices into both, that share a place when `other` is moved back by `shift`."""
    begin = other.starts - shift
    first = np.searchsorted(begin + other.lengths, one.starts, side="right")
    after = np.searchsorted(begin, one.starts + one.lengths, side="left")
    count = np.maximum(after - first, 0)
    left = np.repeat(np.arange(len(one.starts)), count)
    right = np.arange(int(count.sum())) + np.repeat(first - np.cumsum(count) + count, count)
    same = one.values[left] == other.values[right]
    return left[same], right[same]


def _joined(nodes: int, one: Indices, other: Indices) -> Indices:
    """For every node, the smallest node it is connected to by the pairs given."""
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
