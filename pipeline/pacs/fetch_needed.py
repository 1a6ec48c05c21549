"""Decide which series of a study are needed: masks and the images they refer to, or the images where there are no masks.

Rules:
- Of a study with segmentations or structure sets, these are needed and what they name as their source, by the same reading as
  that of a conversion. Images that they do not refer to are not.
- A mask that names images but no series is drawn on the series of the study that holds one of them. One that names nothing
  needs every image series of its study.
- What a mask refers to may lie in another study, and may not be in the archive: then it is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .address import is_uid
from .archive import Archive, ArchiveSeries

MASKS = ("SEG", "RTSTRUCT")
# Modalities of what is neither image nor mask (PS3.3 C.7.3.1.1.1): documents, plans, measurements and states of display.
_NO_IMAGES = frozenset(
    "AR ASMT AU ANN BDUS DOC ECG EEG EMG EOG EPS FID HC HD IOL KER KO LEN M3D OAM OPV OSS PLAN POS PR REG RESP RTDOSE RTINTENT "
    "RTPLAN RTRAD RTRECORD RTSEGANN RWV SMR SR SRF STAIN TEXTUREMAP TG VA".split()
)


class MaskSources(NamedTuple):
    """What a mask names. Both empty: nothing."""

    series_uids: frozenset[str]
    image_uids: frozenset[str]


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

    found = [reference for series in scan([folder]).series for reference in references_of(Entry("", series))]
    series_uids = {str(uid) for reference in found for uid in reference.series_uids}
    image_uids = {str(uid) for reference in found for uid in reference.image_uids}
    return MaskSources(frozenset(filter(is_uid, series_uids)), frozenset(filter(is_uid, image_uids)))


def find_sources(
    archive: Archive, named: MaskSources, study: Sequence[ArchiveSeries]
) -> tuple[list[ArchiveSeries], list[str]]:
    """Find the series that a mask names.

    Args:
        archive: that is asked.
        named: by the mask.
        study: all series of its study.

    Returns: the series, and the UIDs of those that the archive does not have.
    """
    if not named.series_uids:
        return list(_holding(archive, named.image_uids, images_among(study))), []
    found, missing = [], []
    for uid in sorted(named.series_uids):
        here = [one for one in study if one.uid == uid] or archive.find_series("", uid)
        found += here[:1]
        missing += [] if here else [uid]
    return found, missing


def _holding(archive: Archive, images: frozenset[str], series: Sequence[ArchiveSeries]) -> Iterator[ArchiveSeries]:
    """The series that hold one of these images; all where there are none to look for."""
    for one in series:
        if not images or any(instance.uid in images for instance in archive.list_instances(one)):
            yield one
