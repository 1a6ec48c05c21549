"""Decide which of several image series a mask, or one ROI of it, was drawn on. The one place that holds this rule.

Rules:
- What a mask says of its source counts in this order: the images that its contours or frames name; the series that it
  refers to; the images that it lists for that series; its Frame of Reference. Each narrows what the one before it left.
- A statement that no series here fits is passed over: UIDs are rewritten, and series are left behind.
- Nothing is chosen here where several series are left: that is for the caller to refuse, with the candidates named.
- Series come as what was scanned or as what is known of them without their files: a `Candidate` is all the rule asks of one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from ..core.findings import Code, PipelineError, refuse
from ..dicom.scan import Series, table

Statement = Literal["image", "series", "listed image", "frame of reference"]


class Candidate(Protocol):
    """An image series, as far as it is asked whether a mask may have been drawn on it."""

    @property
    def uid(self) -> str:
        """Its Series Instance UID."""

    @property
    def frame_of_reference_uid(self) -> str:
        """Its Frame of Reference UID, "" where it has none."""

    def holds_some_of_each(self, images: Sequence[Collection[Hashable]]) -> bool:
        """Whether one of each of these sets of images is in it: SOP Instance UIDs, or whatever it knows its images by."""


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True, slots=True)
class SourceReferences:
    """What a mask says of the images it was drawn on. Images are known by what `Candidate.holds_some_of_each` takes.

    drawn_on: images, a set for each contour that names any. series_uids: Series Instance UIDs that it refers to.
    image_uids: images that it lists. frame_of_reference_uid: "" where it names none or where that is not to count.
    """

    drawn_on: Sequence[Collection[Hashable]] = ()
    series_uids: Collection[str] = ()
    image_uids: Collection[Hashable] = ()
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class SourceChoice(Generic[C]):
    """The series that fit, and the strongest statement that one of them fitted; None with no series."""

    candidates: list[C]
    by: Statement | None


def choose_source(images: Sequence[C], references: SourceReferences) -> SourceChoice[C]:
    """Narrow image series down to those that a mask may have been drawn on.

    Args:
        images: every image series there is.
        references: what the mask says of its source.

    Returns: one series where it is known, several where what the mask says fits several, none where it fits none.
    """
    left, by = list(images), None
    for statement, fits in _tests(references):
        fitting = [series for series in left if fits(series)]
        if fitting:
            left, by = fitting, by or statement
    return SourceChoice(left if by else [], by)


def several_sources(candidates: Sequence[Series], what: str) -> PipelineError:
    """Make the refusal of a mask that several series could be the source of, with the series named.

    Args:
        candidates: the series.
        what: the mask in words, such as "this mask".

    Returns: the exception, to be raised.
    """
    return refuse(
        Code.SEVERAL_SERIES,
        f"{len(candidates)} series could be the source of {what}",
        "Give --source the folder of just one:\n" + table(candidates),
        where=tuple(series.uid for series in candidates),
        measured=len(candidates),
        limit=1,
        unit="series",
    )


def _tests(references: SourceReferences) -> list[tuple[Statement, Callable[[Candidate], bool]]]:
    """The tests of a series, in their order. Images are compared only where the mask names some."""
    tests: list[tuple[Statement, Callable[[Candidate], bool]]] = []
    drawn_on = references.drawn_on
    if drawn_on:
        named = frozenset[Hashable]().union(*drawn_on)
        tests.append(("image", lambda series: series.holds_some_of_each(drawn_on)))
        tests.append(("image", lambda series: series.holds_some_of_each([named])))
    tests.append(("series", lambda series: series.uid in references.series_uids))
    if references.image_uids:
        tests.append(("listed image", lambda series: series.holds_some_of_each([references.image_uids])))
    frame_uid = references.frame_of_reference_uid
    tests.append(("frame of reference", lambda series: frame_uid != "" and series.frame_of_reference_uid == frame_uid))
    return tests
