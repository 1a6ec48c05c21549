"""Fetch a study from an archive: what is needed of it, each series complete by the archive's own number.

Rules:
- A series is complete when what lies in its folder is what the archive lists and counts, instance by instance; nothing is
  taken for complete because nothing came for a while. Else ARCHIVE_INCOMPLETE says by how much.
- Fetching is safe to repeat, so a connection that drops is opened again a few times, with growing pauses; each time only what
  is missing is asked for.
- What came stays, whatever refuses the rest: the next run goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..core.findings import Code, PipelineError, refuse
from .archive import Archive, ArchiveInstance, ArchiveSeries
from .fetch_folder import SeriesFolder
from .fetch_needed import MASKS, absent_images, find_sources, first_needed, images_among, read_sources

if TYPE_CHECKING:
    from ..conversion.request import Progress

_ATTEMPTS, _PAUSE_S = 4, 0.5  # to fetch what is missing without getting any of it; pauses double from one to the next
_AGAIN = (Code.ARCHIVE_UNREACHED,)


class FetchedSeries(NamedTuple):
    """A series that is whole. uids: of its instances; new: how many of them were not there before."""

    series: ArchiveSeries
    folder: Path
    uids: frozenset[str]
    new: int

    @property
    def total(self) -> int:
        """How many instances it has."""
        return len(self.uids)


class MissingSeries(NamedTuple):
    """A series that a mask refers to and that the archive does not have. mask_uid: the Series Instance UID of the mask."""

    uid: str
    mask_uid: str


class MissingImages(NamedTuple):
    """Images that a mask refers to and that no series of the archive has in which they may lie. mask_uid: as above."""

    uids: list[str]
    mask_uid: str


class EmptySeries(NamedTuple):
    """A series that is needed and of which the archive has no instance."""

    series: ArchiveSeries


Lacking = MissingSeries | MissingImages | EmptySeries
Fetched = FetchedSeries | Lacking


def fetch(
    archive: Archive, study_uid: str, series_uids: Sequence[str], folder: Path, progress: Progress
) -> Iterator[Fetched]:
    """Fetch what is needed of a study.

    Args:
        archive: that is asked.
        study_uid: Study Instance UID.
        series_uids: the series that are wanted, with what they refer to; empty for what is needed of the study.
        folder: to fetch into; what lies there already is not fetched again.
        progress: called with the stage, how many instances of a series are there, and of how many.

    Yields: every series when it is whole, masks first, and whatever is needed and the archive does not have.

    Raises: NOT_IN_ARCHIVE, ARCHIVE_INCOMPLETE, what `Archive` raises, and CANNOT_WRITE.
    """
    study = archive.find_series(study_uid)
    left = _choose(archive.shown, study, study_uid, series_uids)
    done: dict[str, frozenset[str]] = {}
    is_any_whole = False
    while left:
        series = left.pop(0)
        if series.uid in done:
            continue
        yield (fetched := _fetch_series(archive, series, folder, progress, done))
        if isinstance(fetched, FetchedSeries):
            is_any_whole = True
            if series.modality in MASKS or series_uids:
                yield from _fetch_sources(archive, fetched, study, done, folder, progress)
        elif not (left or is_any_whole or series_uids):  # where all masks are empty, the images are needed
            left = [one for one in images_among(study) if one.uid not in done]


def _choose(
    shown: str, study: Sequence[ArchiveSeries], study_uid: str, series_uids: Sequence[str]
) -> list[ArchiveSeries]:
    """The series to begin with, masks first. Raises NOT_IN_ARCHIVE."""
    hint = "Check the UID, and whether the archive lets you see it."
    if not study:
        raise refuse(Code.NOT_IN_ARCHIVE, f"{shown} has no such study", hint, where=(study_uid,))
    absent = [uid for uid in series_uids if all(uid != one.uid for one in study)]
    if absent:
        words = f"the study has no series {absent[0]}; it has {len(study)}"
        raise refuse(Code.NOT_IN_ARCHIVE, words, hint, where=tuple(absent))
    chosen = [one for one in study if one.uid in series_uids] if series_uids else first_needed(study)
    if not chosen:
        raise refuse(Code.NOT_IN_ARCHIVE, "the study has neither masks nor images", hint, where=(study_uid,))
    return sorted(chosen, key=lambda one: (one.modality not in MASKS, one.uid))


def _fetch_sources(
    archive: Archive,
    mask: FetchedSeries,
    study: Sequence[ArchiveSeries],
    done: dict[str, frozenset[str]],
    folder: Path,
    progress: Progress,
) -> Iterator[Fetched]:
    """Fetch what a mask refers to and is not there yet; `done`, series to instances, grows by it."""
    named = read_sources(mask.folder)
    if named.is_nothing and mask.series.modality not in MASKS:
        return  # an image series that was asked for by name
    found = find_sources(archive, named, study)
    for series in found.series:
        if series.uid not in done:
            yield _fetch_series(archive, series, folder, progress, done)
    for uid in found.missing_series:
        if uid not in done:
            done[uid] = frozenset()
            yield MissingSeries(uid, mask.series.uid)
    missing = set(found.missing_images)
    if named.series_uids and all(
        done.get(uid) for uid in named.series_uids
    ):  # else those are named, and not each image
        others = [one for one in images_among(study) if one.uid not in named.series_uids]
        missing = absent_images(archive, named.image_uids.difference(*done.values()), others)
    if missing:
        yield MissingImages(sorted(missing), mask.series.uid)


def _fetch_series(
    archive: Archive, series: ArchiveSeries, folder: Path, progress: Progress, done: dict[str, frozenset[str]]
) -> FetchedSeries | EmptySeries:
    """Fetch what is missing of a series, and note that in `done`. Raises ARCHIVE_INCOMPLETE."""
    place = SeriesFolder(folder, series)
    before = place.held()
    listed = {instance.uid: instance for instance in _list_again(archive, series)}
    _refuse_miscounted(series, listed, before)
    done[series.uid] = frozenset(listed)
    if not listed:
        return EmptySeries(series)
    held = set(before)

    def keep(uid: str, blocks: Iterable[bytes]) -> None:
        place.keep(uid, blocks)
        held.add(uid)
        progress(f"fetching {series.modality or 'a series'}", len(held), len(listed))

    _retrieve_missing(archive, series, listed, held, keep)
    if held != listed.keys():
        raise _incomplete(series, f"{len(held):,} of {len(listed):,} instances came", len(listed) - len(held))
    return FetchedSeries(series, place.path, frozenset(held), len(held - before))


def _list_again(archive: Archive, series: ArchiveSeries) -> list[ArchiveInstance]:
    """List the instances of a series; an archive that has answered before is asked a few times."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return archive.list_instances(series)
        except PipelineError as error:
            if error.finding.code not in _AGAIN:
                raise
        time.sleep(_PAUSE_S * 2**attempt)
    return archive.list_instances(series)


def _retrieve_missing(
    archive: Archive,
    series: ArchiveSeries,
    listed: dict[str, ArchiveInstance],
    held: set[str],
    keep: Callable[[str, Iterable[bytes]], None],
) -> None:
    """Ask for what is missing until all is there, or several attempts in a row bring nothing."""
    in_vain = 0
    while missing := [instance for uid, instance in listed.items() if uid not in held]:
        before = len(held)
        failure: PipelineError | None = None
        try:
            archive.retrieve(series, missing, keep)
        except PipelineError as error:
            if error.finding.code not in _AGAIN:
                raise
            failure = error
        in_vain = 0 if len(held) > before else in_vain + 1
        if in_vain >= _ATTEMPTS:
            if failure is not None:
                raise failure
            return
        if failure is not None or in_vain:
            time.sleep(_PAUSE_S * 2 ** max(0, in_vain - 1))


def _refuse_miscounted(series: ArchiveSeries, listed: dict[str, ArchiveInstance], held: set[str]) -> None:
    """Refuse where the archive's list, its own number, and what lies here cannot agree. Raises ARCHIVE_INCOMPLETE."""
    if series.total is not None and series.total != len(listed):
        difference = abs(series.total - len(listed))
        raise _incomplete(
            series, f"the archive counts {series.total:,} instances and lists {len(listed):,}", difference
        )
    strange = held - listed.keys()
    if strange:
        raise _incomplete(
            series, f"its folder holds {len(strange):,} instances that the archive does not list", len(strange)
        )


def _incomplete(series: ArchiveSeries, words: str, difference: int) -> PipelineError:
    return refuse(
        Code.ARCHIVE_INCOMPLETE,
        f"series {series.uid} is not complete: {words}",
        "Run it again, when nothing is being sent to the archive or taken out of it. What came stays.",
        where=(series.uid,),
        measured=float(difference),
        limit=0.0,
        unit="instances",
    )
