"""Read what a mask says that it was made on: series and images, by their UIDs.

Rules:
- What contours, frames or planes name counts before what a list of the file names.
- Only headers are read. What cannot be read refers to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...decode.seg.source_images import NamedSources
from ...dicom.encoding import load
from ..facts import image_digest

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from ...decode.rtstruct.structure_set import StructureSet

_READ = [
    "SourceImageSequence",
    "ReferencedImageSequence",
    "ReferencedSeriesSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


class References(NamedTuple):
    """What a mask refers to. series_uids: sorted. images: digests of SOP Instance UIDs, ascending."""

    series_uids: tuple[str, ...] = ()
    images: tuple[int, ...] = ()

    @classmethod
    def of(cls, series_uids: Iterable[str], image_uids: Iterable[str]) -> References:
        """Make references of UIDs; empty ones are left out."""
        images = {image_digest(uid) for uid in image_uids if uid}
        return cls(tuple(sorted({uid for uid in series_uids if uid})), tuple(sorted(images)))


def of_planes(paths: Sequence[Path]) -> References:
    """Read what the planes of a mask refer to: Source Image Sequence (0008,2112), else Referenced Image Sequence (0008,1140).

    The others are read only where the first plane names something, since writers do so in all or in none.
    """
    series_uids: set[str] = set()
    sources: set[str] = set()
    others: set[str] = set()
    for number, path in enumerate(paths):
        try:
            dataset = load(path, stop_before_pixels=True, specific_tags=list(_READ))
            named = NamedSources(dataset)
            series_uids.update(named.series_uids)
            sources |= named.image_uids | _uids(dataset, "SourceImageSequence")
            others |= _uids(dataset, "ReferencedImageSequence")
        except Exception:  # whoever reads the pixels says what is wrong with it
            continue
        if number == 0 and not (sources or others):
            break
    return References.of(series_uids, sources or others)


def of_seg(paths: Sequence[Path]) -> References:
    """Read what the instances of a SEG refer to (PS3.3 C.12.2 and C.7.6.16.2.6)."""
    named = [NamedSources.of(path) for path in paths]
    return References.of(
        [uid for one in named for uid in one.series_uids], [uid for one in named for uid in one.image_uids]
    )


def of_structure_set(structures: Sequence[StructureSet]) -> References:
    """Find what structure sets refer to: the images that contours name, else those that are listed (PS3.3 C.8.8.5, C.8.8.6)."""
    drawn = {uid for s in structures for roi in s.rois for uids in roi.drawn_on() for uid in uids}
    listed = {uid for s in structures for item in s.series for uid in item.image_uids}
    return References.of([item.series_uid for s in structures for item in s.series], drawn or listed)


def _uids(dataset: Dataset, sequence: str) -> set[str]:
    return {str(item.get("ReferencedSOPInstanceUID") or "") for item in dataset.get(sequence) or ()} - {""}
