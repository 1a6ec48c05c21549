"""Plot each label over the whole cohort: which cases have it, and which of its volumes are outliers.

Rules:
- The volumes of a label are compared as logarithms, by median and median absolute deviation (MAD), which outliers do not move.
- A volume is an outlier where it lies more than 3.5 robust standard deviations (1.4826 MAD) from the median, and by a
  factor of 1.25 at least, in a label of five volumes or more. An empty mask is always one.
- All labels share one axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from .cohort_table import PageCase, ml_of

RULE = (
    "An outlier lies more than 3.5 robust standard deviations (1.4826 × the median absolute deviation, of log volume) from "
    "the median of its label, and by a factor of 1.25 at least; labels of fewer than five volumes have none. "
    "An empty mask is always marked."
)
WIDTH = 600  # of the volume axis, in units of the drawing
_FAR = 3.5  # robust standard deviations: the limit of Iglewicz and Hoaglin (1993)
_TO_SIGMA = 1.4826  # MAD of a normal distribution to its standard deviation
_LEAST_FACTOR = 1.25  # volumes of one organ differ by as much where all are right; equal phantoms have no MAD
_FEWEST = 5  # volumes that say what is usual
_NO_MASKS = ("NO_MASK", "LEFT_OUT")  # statuses of what was never to have a mask


class VolumeDot(NamedTuple):
    """One volume. case: its number. x: on the axis. outlier: whether it is one."""

    case: int
    ml: float
    x: float
    outlier: bool

    @property
    def y(self) -> int:
        """Its height, which says nothing: points of one volume lie over each other otherwise."""
        return 4 + self.case * 5 % 17


class LabelPlot(NamedTuple):
    """One label over the cohort. cases: that have it. missing: that should have masks, and not this one."""

    name: str
    dots: tuple[VolumeDot, ...]
    cases: tuple[int, ...]
    missing: tuple[int, ...]
    median_ml: float | None

    @property
    def outliers(self) -> tuple[VolumeDot, ...]:
        return tuple(dot for dot in self.dots if dot.outlier)

    @property
    def path(self) -> str:
        """Every volume that is no outlier, as one path of points."""
        return "".join(f"M{dot.x:g} {dot.y}h0" for dot in self.dots if not dot.outlier)


class Axis(NamedTuple):
    """The axis of all volumes. low, high: log10 of ml at its ends."""

    low: float
    high: float

    def place(self, ml: float) -> float:
        """Find the x of a volume; of an empty one, that of the lower end."""
        if ml <= 0:
            return 0.0
        return round((math.log10(ml) - self.low) / (self.high - self.low) * WIDTH, 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Whole powers of ten, with where they are."""
        powers = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        return [(self.place(10.0**power), f"{10.0**power:g}") for power in powers]


def plot_labels(cases: Sequence[PageCase]) -> tuple[Axis, tuple[LabelPlot, ...]]:
    """Plot the labels of all cases, the most frequent first."""
    volumes: dict[str, list[tuple[int, float]]] = {}
    for n, case in enumerate(cases):
        for row in case.masks:
            ml = ml_of(row)
            if row["output"] and row["mask"] and ml is not None:
                volumes.setdefault(row["mask"], []).append((n, ml))
    axis = _make_axis([ml for found in volumes.values() for _, ml in found if ml > 0])
    wanted = [n for n, case in enumerate(cases) if case.status not in _NO_MASKS]
    plots = (_plot(name, found, wanted, axis) for name, found in volumes.items())
    return axis, tuple(sorted(plots, key=lambda p: (-len(p.cases), p.name)))


def _plot(name: str, found: Sequence[tuple[int, float]], wanted: Sequence[int], axis: Axis) -> LabelPlot:
    usual = find_outliers([ml for _, ml in found])
    dots = tuple(VolumeDot(n, ml, axis.place(ml), odd) for (n, ml), odd in zip(found, usual, strict=True))
    have = tuple(dict.fromkeys(n for n, _ in found))
    filled = [ml for _, ml in found if ml > 0]
    lacking = tuple(sorted(set(wanted) - set(have)))
    return LabelPlot(name, dots, have, lacking, median(filled) if filled else None)


def find_outliers(volumes: Sequence[float]) -> list[bool]:
    """Say of each volume of one label, in ml, whether it is an outlier by the rule of this module."""
    logs = [math.log(ml) for ml in volumes if ml > 0]
    if len(logs) < _FEWEST:
        return [ml <= 0 for ml in volumes]
    centre = median(logs)
    spread = _TO_SIGMA * median(abs(value - centre) for value in logs)
    limit = max(_FAR * spread, math.log(_LEAST_FACTOR))
    return [ml <= 0 or abs(math.log(ml) - centre) > limit for ml in volumes]


def _make_axis(volumes: Sequence[float]) -> Axis:
    """Make the axis hold all volumes, from a power of ten to a power of ten where they span more than one."""
    logs = [math.log10(ml) for ml in volumes] or [0.0]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return Axis(low, max(high, low + 1))
