"""Hold one ROI while it is filled: its grid, the limit it is held to, and what was found so far."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...geometry.grid import Grid
from .contour import CLAUSE

# Two points rounded to 0.01 mm each: boundaries nearer than this touch, and do not overlap.
TOUCH_MM = 0.02
LETTERS = "ijk"
DECIMALS = 6  # of a voxel index; less than a Decimal String of 16 characters can express


class Filling:
    """One ROI that is being filled: its grid, the limit it is held to, and the findings so far."""

    def __init__(self, name: str, contours: int, grid: Grid, limit_mm: float) -> None:
        self.title, self.contours, self.grid, self.limit_mm = f"ROI “{name}”", contours, grid, limit_mm
        self.findings: list[Finding] = []
        self.to_index = np.linalg.inv(grid.lps)
        # The distance between neighbouring planes of each direction, square to them.
        self.steps_mm = 1 / np.linalg.norm(self.to_index[:3, :3], axis=1)

    def share(self, of: Sized) -> str:
        """Say how many of the ROI's contours these are."""
        return f"{len(of)} of {self.contours} contours"

    def note(self, code: Code, text: str, hint: str = "", severity: Severity = Severity.WARNING, **more: Any) -> None:
        """Add a finding about the ROI.

        Args:
            code: which fact.
            text: what, where and how much; the ROI's name comes before it.
            hint: the likely cause and what to do.
            severity: of the finding.
            more: the other fields of `Finding`.
        """
        self.findings.append(Finding(code, f"{self.title}: {text}", hint, severity, CLAUSE, **more))

    def refusal(self, code: Code, text: str, hint: str, where: tuple[str, ...] = (), **more: Any) -> PipelineError:
        """Make the exception that refuses the ROI, with the findings so far.

        Args:
            code: which defect.
            text: what, where and how much; the ROI's name comes before it.
            hint: the likely cause and what to do.
            where: the ROI itself by default.
            more: the other fields of `Finding`.

        Returns: the exception, to be raised.
        """
        error = refuse(code, f"{self.title}: {text}", hint, clause=CLAUSE, where=where or (self.title,), **more)
        return PipelineError(error.finding, tuple(self.findings))

    def to_indices(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (n, 3) continuous (i, j, k) of points in LPS mm."""
        exact = points @ self.to_index[:3, :3].T + self.to_index[:3, 3]
        return np.asarray(np.round(exact, DECIMALS))


def titles(numbers: Iterable[int]) -> tuple[str, ...]:
    """Name contours by their numbers, ascending, for the place of a finding."""
    return tuple(f"contour {number}" for number in sorted(numbers))
