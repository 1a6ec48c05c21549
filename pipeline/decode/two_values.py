"""Make labels 0 and 1 of a mask that holds two values: find which of them is the background.

Rules:
- 0 is the background of a value above it, wherever it lies. What the other value is does not matter: 255, or any other.
- Otherwise the lower value is the background where that is plain: it has nearly all of the planes' borders, or most of the
  borders and most of the voxels. It is assumed all the same, and a finding says so.
- Where it is not plain, nothing is guessed: --inside and --outside say which value is the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..dicom.frame import Frame
from ..volume.mask import Array, Segment, Voxels, segments_named

UNPLAIN = "% of the borders"  # the unit of a refusal of two values of which neither is plainly the background
_MOST, _NEARLY_ALL = 0.5, 0.9  # parts; of the borders, nearly all also hold a body that fills most of the planes
_LEAST_BITS = 7  # of a value with all bits set that is taken for the brightest one of a display: 127, 255, 4095, 65535


class _Shares(NamedTuple):
    """The parts that one of two values has: of the outermost pixels of all planes, and of all voxels."""

    border: float
    all: float

    @property
    def is_plain(self) -> bool:
        return self.border > _NEARLY_ALL or (self.border > _MOST and self.all > _MOST)

    def __str__(self) -> str:
        return f"{self.border:.0%} of the planes' borders and {self.all:.0%} of all voxels"


class TwoValues(NamedTuple):
    """A mask of two values: of the background and of the label that becomes 1."""

    background: int
    label: int
    findings: tuple[Finding, ...]

    def labels(self, stored: Voxels) -> Voxels:
        """Make the voxels 0 and 1."""

        def plane(k: int) -> Array:
            inside: Array = stored.plane(k) == self.label
            return inside.view(np.uint8)

        return Voxels(stored.shape, np.dtype(np.uint8), plane, lambda k: self.background == 0 and stored.is_empty(k))

    def stored(self, plane: Array) -> Array:
        """Compute the stored values of a plane of 0 and 1."""
        return np.where(plane > 0, float(self.label), float(self.background))

    def segments(self, name: str) -> tuple[Segment, ...]:
        """Make the segment of the label. name: of it, "" where it has none."""
        return tuple(replace(segment, source_value=self.label) for segment in segments_named([1], name))


def find_two_values(stored: Voxels, values: Sequence[int], frames: Sequence[Frame]) -> TwoValues:
    """Find which of two values is the background.

    Args:
        stored: the values of the frames.
        values: the two, ascending.
        frames: for messages.

    Returns:
        What the two values are, and what there is to know about it.

    Raises:
        PipelineError: NOT_A_MASK where neither is plainly the background.
    """
    low, high = values
    remapped = Finding(
        Code.LABELS_REMAPPED,
        f"the mask was stored as {low} and {high}; it is written as 0 and 1",
        _hint(low, high),
        Severity.INFO,
    )
    if low == 0:
        return TwoValues(low, high, (remapped,))
    shares = _measure(stored, low)
    if not shares.is_plain:
        raise _refuse_unplain(low, high, shares, frames)
    assumed = Finding(
        Code.BACKGROUND_ASSUMED,
        f"the mask holds {low} and {high}, and no 0: {low} was taken for the background, since it has {shares}",
        f"--outside {low} says that it is; --inside {low} where it is the mask.",
        Severity.WARNING,
        where=(frames[0].name,),
    )
    return TwoValues(low, high, (assumed, remapped))


def _hint(low: int, high: int) -> str:
    if low:
        return "" if low < 0 else f"Where {low} and {high} are the numbers of two labels, --keep-values keeps them."
    return (
        f"--keep-values keeps {high}."
        if _is_brightest(high)
        else f"Where {high} is the number of a label, --keep-values keeps it."
    )


def _is_brightest(value: int) -> bool:
    return value >= (1 << _LEAST_BITS) - 1 and not value & (value + 1)


def _measure(stored: Voxels, value: int) -> _Shares:
    """Measure what part of the borders and of all voxels one value has."""
    border = edges = found = 0
    for plane in stored:
        is_value = plane == value
        found += int(np.count_nonzero(is_value))
        within = is_value[1:-1, 1:-1]
        border += int(np.count_nonzero(is_value)) - int(np.count_nonzero(within))
        edges += is_value.size - within.size
    columns, rows, planes = stored.shape
    return _Shares(border / edges, found / (columns * rows * planes))


def _refuse_unplain(low: int, high: int, shares: _Shares, frames: Sequence[Frame]) -> PipelineError:
    return refuse(
        Code.NOT_A_MASK,
        f"the series holds the two values {low} and {high}, and which of them is the background is not plain: the lower one, "
        f"{low}, has {shares}",
        f"Say which is the mask: --inside {high}, or --inside {low}. For the image itself use --as image.",
        where=tuple(dict.fromkeys((frames[0].name, frames[-1].name))),
        measured=round(100 * shares.border, 1),
        limit=100 * _MOST,
        unit=UNPLAIN,
    )
