"""Define what a layout is: how the files of a case are called, and what else a data set of its kind holds.

Rules:
- Paths are relative to the output folder, POSIX; every NIfTI file has its record (.json) beside it.
- What a layout writes follows from its arguments alone: the same ones give the same bytes, in any order of the cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from ..case import CaseResult, Place


class DatasetLayout(Protocol):
    """One kind of data set. needs_labels: whether it has one label map a case and never a file a mask.

    leaves_out_incomplete: whether a case that lacks a label must not be in it, unless the user says so.
    """

    name: str
    needs_labels: bool
    leaves_out_incomplete: bool

    def image(self, place: Place, channel: int) -> str:
        """The path of an image of a case, ending in .nii.gz."""

    def labels(self, place: Place) -> str:
        """The path of the label map of a case."""

    def mask(self, place: Place, name: str) -> str:
        """The path of one mask of a case. name: safe for files, unique within the case regardless of case."""

    def texts_of_case(self, result: CaseResult) -> Mapping[str, str]:
        """Further files of one case (tables of labels), by path."""

    def texts_of_cohort(self, results: Iterable[CaseResult]) -> Mapping[str, str]:
        """Files over all cases (dataset.json and its like), by path. Called once every case has ended."""
