"""Describe what an archive gives, whichever protocol it is asked by: series, instances, their bytes, and answers to a sending.

Rules:
- Only UIDs, classes, counts and the Modality are taken over from an archive's answers. Names and texts of patients never are,
  so that no message, record or log can hold them.
- What comes as a UID is checked to be one before anything is named by it. What is none is not quoted: it may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..core.findings import Code, PipelineError, refuse
from .address import is_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_OTHER_WAY = "Tell whoever runs the archive; the other protocol (DICOMweb or DIMSE) may answer better."
# Takes the bytes of an instance, by its SOP Instance UID, and returns when they are on the disk.
KeepInstance = Callable[[str, Iterable[bytes]], None]
# That no study has of series, and no series of instances: whoever goes on beyond is broken, and would never end.
MOST_FOUND = 100_000


class ArchiveSeries(NamedTuple):
    """A series. total: of its instances, by the archive's own number; None where it gives none."""

    study_uid: str
    uid: str
    modality: str
    total: int | None


class ArchiveInstance(NamedTuple):
    """An instance. sop_class_uid: "" where the archive does not tell."""

    uid: str
    sop_class_uid: str


class OutgoingFile(NamedTuple):
    """A DICOM file that is to be sent, with what its header says."""

    path: Path
    uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str


class StoreAnswer(NamedTuple):
    """What an archive answered for one instance.

    status: of DIMSE, or the reason in a STOW-RS answer, as four hex digits; "HTTP 413" where there is no more than that.
    """

    uid: str
    is_stored: bool
    status: str
    words: str = ""


class Archive(Protocol):
    """An archive that can be asked. Every call raises ARCHIVE_UNREACHED, ARCHIVE_REFUSED and ARCHIVE_ANSWER."""

    @property
    def shown(self) -> str:
        """Its address, without anything secret."""

    def find_series(self, study_uid: str, series_uid: str = "") -> list[ArchiveSeries]:
        """Find the series of a study, or one series. study_uid: "" for any."""

    def list_instances(self, series: ArchiveSeries) -> list[ArchiveInstance]:
        """List the instances of a series."""

    def retrieve(self, series: ArchiveSeries, instances: Sequence[ArchiveInstance], keep: KeepInstance) -> None:
        """Retrieve instances of a series. Some may not come: whoever asks counts.

        Args:
            series: that they are of.
            instances: of it, each once.
            keep: takes each as it comes.
        """

    def store(self, files: Sequence[OutgoingFile]) -> Iterator[StoreAnswer]:
        """Send files, each once. Yields the answers in order."""

    def __enter__(self) -> Archive: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def series_in(answer: Dataset, study_uid: str = "") -> ArchiveSeries:
    """Take a series from an answer. study_uid: that it is of, where the answer does not say. Raises ARCHIVE_ANSWER."""
    says_study = not study_uid or "StudyInstanceUID" in answer
    return ArchiveSeries(
        _uid_in(answer, "StudyInstanceUID") if says_study else study_uid,
        _uid_in(answer, "SeriesInstanceUID"),
        _modality_in(answer),
        _count_in(answer),
    )


def instance_in(answer: Dataset) -> ArchiveInstance:
    """Take an instance from an answer. Raises ARCHIVE_ANSWER."""
    sop_class = _text_in(answer, "SOPClassUID")
    return ArchiveInstance(_uid_in(answer, "SOPInstanceUID"), sop_class if is_uid(sop_class) else "")


def unreached(shown: str, why: str, hint: str = "") -> PipelineError:
    """The refusal where an archive cannot be reached, or does not answer.

    Args:
        shown: its address, without credentials.
        why: what it does, after its address.
        hint: what to do.

    Returns: the exception, to be raised.
    """
    again = (
        "Check the address, the network and --timeout, and run it again: what came or was stored before does no harm."
    )
    return refuse(Code.ARCHIVE_UNREACHED, f"{shown} {why}", hint or again, where=(shown,))


def refused(shown: str, why: str, hint: str) -> PipelineError:
    """The refusal where an archive refuses.

    Args:
        shown: its address, without credentials.
        why: what it does, after its address.
        hint: what to do.

    Returns: the exception, to be raised.
    """
    return refuse(Code.ARCHIVE_REFUSED, f"{shown} {why}", hint, where=(shown,))


def odd_answer(why: str) -> PipelineError:
    """The refusal where an answer cannot be right."""
    return refuse(Code.ARCHIVE_ANSWER, f"the archive's answer {why}", _OTHER_WAY, where=("archive",))


def refuse_endless(found: int) -> None:
    """Raise ARCHIVE_ANSWER where a search has brought more than there can be."""
    if found > MOST_FOUND:
        raise odd_answer(f"to a search has no end: more than {MOST_FOUND:,} series or instances")


def _uid_in(answer: Dataset, keyword: str) -> str:
    text = _text_in(answer, keyword)
    if not is_uid(text):
        raise odd_answer(f"has no UID as {keyword} ({len(text)} characters); nothing is named by it")
    return text


def _modality_in(answer: Dataset) -> str:
    text = _text_in(answer, "Modality")
    return text if _CODE_STRING.fullmatch(text) else ""


def _count_in(answer: Dataset) -> int | None:
    text = _text_in(answer, "NumberOfSeriesRelatedInstances")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def _text_in(answer: Dataset, keyword: str) -> str:
    try:
        return str(answer.get(keyword) or "").strip(" \0")
    except Exception as error:  # an element is decoded when it is asked for, and may hold whatever it likes
        raise odd_answer(f"has an element {keyword} that cannot be read") from error
