"""Decide which series of a study are needed: masks and the images they refer to, or the images where there are no masks.

Rules:
- Of a study with segmentations or structure sets, these are needed and what they name as their source, by the same reading as
  that of a conversion. Images that they do not refer to are not.
- A mask that names images but no series is drawn on the series of the study that holds one of them. One that names nothing
  needs every image series of its study.
- What a mask refers to may lie in another study, and may not be in the archive: then it is said, of a series as of an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Code, PipelineError
from .address import is_uid
from .archive import Archive, ArchiveSeries

MASKS = ("SEG", "RTSTRUCT")
# Modalities of what is neither image nor mask (PS3.3 C.7.3.1.1.1): documents, plans, measurements and states of display.
_NO_IMAGES = frozenset(
    "AR ASMT AU ANN BDUS DOC ECG EEG EMG EOG EPS FID HC HD IOL KER KO LEN M3D OAM OPV OSS PLAN POS PR REG RESP RTDOSE RTINTENT "
    "RTPLAN RTRAD RTRECORD RTSEGANN RWV SMR SR SRF STAIN TEXTUREMAP TG VA".split()
)


_OF_STRUCTURES, _OF_OTHERS = "ReferencedFrameOfReferenceSequence", "StudiesContainingOtherReferencedInstancesSequence"


class MaskSources(NamedTuple):
    """What a mask names. study_uids: where its images may lie. None of the other two: it names nothing."""

    series_uids: frozenset[str]
    image_uids: frozenset[str]
    study_uids: frozenset[str] = frozenset()

    @property
    def is_nothing(self) -> bool:
        return not self.series_uids and not self.image_uids


class FoundSources(NamedTuple):
    """What an archive has of what a mask names. missing_series, missing_images: UIDs of what it does not have."""

    series: list[ArchiveSeries]
    missing_series: list[str]
    missing_images: list[str]


def first_needed(series: Sequence[ArchiveSeries]) -> list[ArchiveSeries]:
    """What is to be fetched of a study before more is known: its masks, or its images where it has none."""
    return [one for one in series if one.modality in MASKS] or images_among(series)


def images_among(series: Iterable[ArchiveSeries]) -> list[ArchiveSeries]:
    """Those that may be image series."""
    return [one for one in series if one.modality not in _NO_IMAGES and one.modality not in MASKS]


def read_sources(folder: Path) -> MaskSources:
    """Read from the files of one series what they name as their sources.

    Args:
        folder: with the files of a fetched series.

    Returns: UIDs alone; what is no UID names nothing.
    """
    from ..conversion.mask_references import references_of
    from ..conversion.product import Entry
    from ..dicom.scan import scan

    scanned = scan([folder]).series
    found = [reference for series in scanned for reference in references_of(Entry("", series))]
    series_uids = {str(uid) for reference in found for uid in reference.series_uids}
    image_uids = {str(uid) for reference in found for uid in reference.image_uids}
    study_uids = {uid for series in scanned for header in series.headers[:1] for uid in _studies_named(header.path)}
    return MaskSources(*(frozenset(filter(is_uid, uids)) for uids in (series_uids, image_uids, study_uids)))


def _studies_named(path: Path) -> Iterator[str]:
    """The Study Instance UIDs that a file refers to: in PS3.3 C.8.8.5 for structures, in C.12.2 for all else."""
    from ..dicom.encoding import load

    try:
        dataset = load(path, specific_tags=[_OF_STRUCTURES, _OF_OTHERS], stop_before_pixels=True)
        for item in dataset.get(_OF_OTHERS) or ():
            yield str(item.get("StudyInstanceUID") or "")
        for frame in dataset.get(_OF_STRUCTURES) or ():
            for study in frame.get("RTReferencedStudySequence") or ():
                yield str(study.get("ReferencedSOPInstanceUID") or "")
    except ValueError:  # whoever converts it says what is wrong with it
        return


def find_sources(archive: Archive, named: MaskSources, study: Sequence[ArchiveSeries]) -> FoundSources:
    """Find the series that a mask names.

    Args:
        archive: that is asked.
        named: by the mask.
        study: all series of its study.

    Returns: the series, and the UIDs of what the archive does not have.
    """
    if named.is_nothing:
        return FoundSources(images_among(study), [], [])
    if not named.series_uids:
        return _find_images(archive, named, study)
    found, missing = [], []
    for uid in sorted(named.series_uids):
        here = [one for one in study if one.uid == uid] or _elsewhere(archive, uid, named.study_uids)
        found += here[:1]
        missing += [] if here else [uid]
    return FoundSources(found, missing, [])


def _elsewhere(archive: Archive, uid: str, study_uids: Iterable[str]) -> list[ArchiveSeries]:
    """Find a series in studies that are named, else in any: which an archive may refuse by DIMSE (relational queries)."""
    for study_uid in (*sorted(study_uids), ""):
        if found := _series_of(archive, study_uid, uid):
            return found
    return []


def _find_images(archive: Archive, named: MaskSources, study: Sequence[ArchiveSeries]) -> FoundSources:
    """Find the series that hold one of the images that are named: in the study, and in those that the mask names."""
    found, missing = [], set(named.image_uids)
    own = {one.study_uid for one in study}
    studies = [study, *(_series_of(archive, uid) for uid in sorted(named.study_uids - own))]
    for one in (series for there in studies for series in images_among(there)):
        if held := {instance.uid for instance in archive.list_instances(one)} & named.image_uids:
            found.append(one)
            missing -= held
    return FoundSources(found, [], sorted(missing))


def absent_images(archive: Archive, uids: Iterable[str], series: Iterable[ArchiveSeries]) -> set[str]:
    """Find images that are in none of some series; the archive is asked only as long as there are any.

    Args:
        archive: that is asked.
        uids: of the images.
        series: in which they may lie.

    Returns: the UIDs of those that do not.
    """
    absent = set(uids)
    for one in series:
        if not absent:
            break
        absent -= {instance.uid for instance in archive.list_instances(one)}
    return absent


def _series_of(archive: Archive, study_uid: str, series_uid: str = "") -> list[ArchiveSeries]:
    """The series of a study, or one; none where the archive refuses to say it."""
    try:
        return archive.find_series(study_uid, series_uid)
    except PipelineError as error:
        if error.finding.code is not Code.ARCHIVE_REFUSED:
            raise
        return []


def shows_images_alone(folders: Iterable[Path]) -> bool:
    """Whether pixels say of every series, each in its folder, that it is an image and no mask: not its header, nor its names."""
    from ..conversion.unwritten_images import shows_grey_values
    from ..core.policy import Policy
    from ..dicom.scan import scan

    return all(shows_grey_values(series, Policy()) for folder in folders for series in scan([folder]).series)
