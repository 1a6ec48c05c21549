"""List the values of an export that stand out, as a table to choose --inside or --outside from. It never chooses.

Rules:
- Every voxel is counted. A value stands out when it occurs far more often than its neighbouring values.
- A suggestion comes with its reason and a question mark. What has most of the planes' borders is offered as outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, refuse
from ...volume.mask import Voxels

Extent = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
_NEIGHBOURS = 4  # values to either side that a value is compared with
_STANDS_OUT = 8.0  # a value stands out when it occurs this many times as often as its neighbours,
_AT_LEAST = 25  # which are counted as at least this many: among rare values one stands out by chance
_MOSTLY_BORDER = 0.5  # a value with more of the planes' borders than this surrounds what was drawn


@dataclass(frozen=True, slots=True)
class ValueRow:
    """One stored value of an export.

    Attributes:
        share: of all voxels.
        extent: lowest and highest index in i, j and k, both included.
        usual: how often its neighbouring values occur, on average.
        suggestion: "inside", "outside" or "".
        reason: for the suggestion.
    """

    value: int
    voxels: int
    share: float
    extent: Extent
    usual: float
    suggestion: str
    reason: str


def list_values(shown: Voxels, most: int = 12) -> tuple[ValueRow, ...]:
    """List the values that stand out most, the clearest first; all of them where there are no more than `most`."""
    values, counts = count_values(shown)
    usual = _neighbour_counts(values, counts)
    chosen = np.lexsort((values, -counts / np.maximum(usual, _AT_LEAST)))[:most]
    extents = _find_extents(shown, [int(values[n]) for n in chosen])
    border = measure_border_shares(shown)
    total = int(counts.sum())
    rows = []
    for n in chosen:
        value, count = int(values[n]), int(counts[n])
        suggestion, reason = _suggest(count, float(usual[n]), border.get(value, 0), value == values[-1])
        rows.append(ValueRow(value, count, count / total, extents[value], float(usual[n]), suggestion, reason))
    return tuple(rows)


def are_small_integers(voxels: Voxels) -> bool:
    """Return whether values can be counted and compared here: integers of at most 32 bits."""
    return voxels.dtype.kind in "iu" and voxels.dtype.itemsize <= 4


def require_small_integers(voxels: Voxels, names: tuple[str, ...]) -> None:
    """Refuse values that cannot be counted and compared here. names: of the files. Raises UNSUPPORTED_PIXELS."""
    if not are_small_integers(voxels):
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"the values are {voxels.dtype}, and a mask in its image is found in integers of up to 32 bits",
            "Export the series again in whole numbers of 8 or 16 bits. For the image itself use --as image.",
            where=names,
            clause="PS3.3 C.7.6.3",
        )


def count_values(voxels: Voxels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count all values that occur; values ascending."""
    values, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for plane in voxels:
        more, times = np.unique(plane, return_counts=True)
        values, place = np.unique(np.concatenate([values, more.astype(np.int64)]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, times]), len(values)).astype(np.int64)
    return values, counts


def measure_border_shares(voxels: Voxels) -> dict[int, float]:
    """Return the values of the outermost pixels of all planes, and the share of these pixels that each has."""
    columns, rows, planes = voxels.shape
    edges = Voxels(
        (2 * (columns + rows), 1, planes),
        voxels.dtype,
        lambda k: np.concatenate([e for p in (voxels.plane(k),) for e in (p[0], p[-1], p[:, 0], p[:, -1])])[None],
    )
    values, counts = count_values(edges)
    return dict(zip(values.tolist(), (counts / counts.sum()).tolist(), strict=True))


def as_table(rows: Sequence[ValueRow]) -> str:
    """Format the rows as aligned lines for a person to choose from."""
    cells = [("value", "voxels", "share", "columns", "rows", "planes", "suggestion")]
    for r in rows:
        spans = [f"{low}-{high}" for low, high in r.extent]
        suggestion = f"{r.suggestion}? {r.reason}" if r.suggestion else ""
        cells.append((str(r.value), f"{r.voxels:,}", f"{r.share:.3%}", spans[0], spans[1], spans[2], suggestion))
    widths = [max(len(row[c]) for row in cells) for c in range(6)]
    lines = ("  ".join([*(cell.rjust(w) for cell, w in zip(row, widths, strict=False)), row[6]]) for row in cells)
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _suggest(count: int, usual: float, border: float, largest: bool) -> tuple[str, str]:
    if border > _MOSTLY_BORDER:
        return (
            "outside",
            f"it has {border:.0%} of the planes' borders: background, padding, or outside of a masked original",
        )
    if count < _STANDS_OUT * max(usual, _AT_LEAST):
        return "", ""
    often = f"it occurs {count:,} times, the values beside it {usual:,.0f} times"
    return "inside", often + ("; it is also the largest value, where images saturate" if largest else "")


def _neighbour_counts(values: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each value the mean count of its neighbours to either side; those that do not occur count 0."""
    total = np.zeros(len(values))
    for step in (*range(-_NEIGHBOURS, 0), *range(1, _NEIGHBOURS + 1)):
        place = np.minimum(np.searchsorted(values, values + step), len(values) - 1)
        total += np.where(values[place] == values + step, counts[place], 0)
    return total / (2 * _NEIGHBOURS)


def _find_extents(voxels: Voxels, values: Sequence[int]) -> dict[int, Extent]:
    found: dict[int, list[list[int]]] = {}
    for k, plane in enumerate(voxels):
        for value in values:
            rows, columns = np.nonzero(plane == value)
            if len(rows):
                box = found.setdefault(value, [[1 << 30, -1] for _ in range(3)])
                for axis, (low, high) in enumerate(((columns.min(), columns.max()), (rows[0], rows[-1]), (k, k))):
                    box[axis] = [min(box[axis][0], int(low)), max(box[axis][1], int(high))]
    return {v: ((i[0], i[1]), (j[0], j[1]), (k[0], k[1])) for v, (i, j, k) in found.items()}
