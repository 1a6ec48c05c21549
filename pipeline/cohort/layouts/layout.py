"""Define what a layout is: how the files of a case are called, and what else a data set of its kind holds.

Rules:
- Paths are relative to the output folder, POSIX; every NIfTI file has its record (.json) beside it.
- What a layout writes follows from its arguments alone: the same ones give the same bytes, in any order of the cases.
- Names are made fit for a layout once, when the plan is made and all of them are known (`fit_places`); paths then follow
  from one place alone, on any machine.
- What holds for the whole data set follows from its settings and from the results: their files, and `role`, `channel` and
  `modality` of their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ..case import CaseResult, Place


class CaseImage(NamedTuple):
    """What a layout knows of an image to name it.

    channel: from 0. name: of the channel, "" where no rule of the user named it. modality: (0008,0060).
    description: of the series, and what else says how it was made (Protocol Name); it goes into no name.
    has_masks: whether its case has a mask.
    """

    channel: int = 0
    name: str = ""
    modality: str = ""
    description: str = ""
    has_masks: bool = True


class DatasetLabel(NamedTuple):
    """One label of the whole data set. value: that is written. region: every value that belongs to it, () for its own alone."""

    name: str
    value: int
    colour: tuple[int, int, int] | None = None
    region: tuple[int, ...] = ()


class LayoutSettings(NamedTuple):
    """What the user says of the data set.

    name: of the data set. labels: in the order in which they are written, a later one over an earlier one; () where there
    are no label maps, but a file a mask. channels: names, by channel; () where they follow from the images.
    """

    name: str = "dataset"
    labels: tuple[DatasetLabel, ...] = ()
    channels: tuple[str, ...] = ()


class DatasetLayout(Protocol):
    """One kind of data set. needs_labels: whether it has one label map a case and never a file a mask.

    leaves_out_incomplete: whether a case that lacks a label must not be in it, unless the user says so.
    """

    name: str
    needs_labels: bool
    leaves_out_incomplete: bool
    settings: LayoutSettings

    def fit_places(self, places: Sequence[Place]) -> tuple[Place, ...]:
        """The places of all cases with names that are valid in it; no two cases share a path, regardless of case."""

    def mask_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """A name for each mask of a case, valid in it and unique regardless of case. names: as the source has them."""

    def image(self, place: Place, image: CaseImage) -> str:
        """The path of an image of a case, ending in .nii.gz."""

    def labels(self, place: Place) -> str:
        """The path of the label map of a case."""

    def mask(self, place: Place, name: str) -> str:
        """The path of one mask of a case. name: of `mask_names`."""

    def texts_of_case(self, result: CaseResult) -> Mapping[str, str]:
        """Further files of one case (tables of labels), by path."""

    def texts_of_cohort(self, results: Iterable[CaseResult]) -> Mapping[str, str]:
        """Files over all cases (dataset.json and its like), by path. Called once every case has ended."""
