"""Read which images a SEG says it was made on, and hold the places of its frames against theirs.

Rules:
- The SEG names series in its Referenced Series Sequence (PS3.3 C.12.2), a frame names images by Derivation Image Sequence >
  Source Image Sequence (C.7.6.16.2.6). Numbers of frames of a multi-frame image count; they say which plane is meant.
- Position decides where a frame lies. A frame that lies on the plane of one image and names others contradicts itself, and is
  refused: one of the two is wrong, and nothing says which.
- Images that are not parallel to the frame, and images that were not found, show nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...core.findings import Code, PipelineError, refuse
from ...core.policy import Policy
from ...dicom.encoding import load
from ...dicom.frame import Frame
from ...geometry.affine import Matrix

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PARALLEL = 1e-3  # sine of the angle between the normals; cosines of three decimals are this far off


class SourceImages(NamedTuple):
    """Images that a mask may have been made on.

    frames: one a plane, in the order of the grid. series_uid: theirs. named: by file, what instances name, where that was
    read before.
    """

    frames: Sequence[Frame]
    series_uid: str
    named: Mapping[Path, NamedSources] = MappingProxyType({})


class _Named(NamedTuple):
    """An image that is named. frames: which of its frames, none for all of it."""

    uid: str
    frames: tuple[int, ...]

    def means(self, frame: Frame) -> bool:
        return frame.sop_instance_uid == self.uid and (not self.frames or frame.number in self.frames)


@dataclass(frozen=True)
class NamedSources:
    """What one SEG instance names as its source. dataset: all of it but the pixels."""

    dataset: Dataset

    @classmethod
    def of(cls, path: Path) -> NamedSources:
        return cls(load(path, stop_before_pixels=True))

    @cached_property
    def series_uids(self) -> tuple[str, ...]:
        """The Series Instance UIDs it refers to, each once."""
        items = self.dataset.get("ReferencedSeriesSequence") or ()
        return tuple(dict.fromkeys(uid for item in items if (uid := str(item.get("SeriesInstanceUID", "")))))

    @cached_property
    def image_uids(self) -> frozenset[str]:
        """The SOP Instance UIDs of all images that a frame names."""
        return frozenset(image.uid for images in [self._shared, *self._own] for image in images)

    def of_frame(self, frame: Frame) -> tuple[_Named, ...]:
        """The images that one frame names."""
        own = self._own[frame.number - 1] if frame.number <= len(self._own) else ()
        return own or self._shared

    @cached_property
    def _shared(self) -> tuple[_Named, ...]:
        return tuple(n for item in self.dataset.get("SharedFunctionalGroupsSequence") or () for n in _named_by(item))

    @cached_property
    def _own(self) -> list[tuple[_Named, ...]]:
        return [tuple(_named_by(item)) for item in self.dataset.get("PerFrameFunctionalGroupsSequence") or ()]


def evidence_of(named: NamedSources, frames: Sequence[Frame], images: SourceImages) -> str:
    """Say what shows that frames of a SEG were made on these images, whatever Frame of Reference they name.

    Args:
        named: by the SEG.
        frames: of the SEG.
        images: of one series.

    Returns:
        A clause; "" where neither every frame names one of the images, nor the SEG their series and no other. A SEG whose
        frames name images of other series only was made on those, whatever series it refers to.
    """
    uids = {image.sop_instance_uid for image in images.frames}
    if frames and all(any(n.uid in uids for n in named.of_frame(frame)) for frame in frames):
        return "every frame names an image of this source"
    if named.image_uids and named.image_uids.isdisjoint(uids):
        return ""
    return "it refers to the series of the source, and to no other" if named.series_uids == (images.series_uid,) else ""


def refuse_contradiction(named: NamedSources, frames: Sequence[Frame], images: SourceImages, policy: Policy) -> None:
    """Refuse the first frame that lies elsewhere than every image that it names.

    A frame on the plane of an image must name that one; between two planes (another resolution) one as near as it is thick,
    or as the two are apart.

    Args:
        named: by the SEG.
        frames: of the SEG.
        images: of one series; those of others show nothing.
        policy: gives the limit within which two planes are one.

    Raises:
        PipelineError: SOURCE_CONTRADICTS.
    """
    by_uid: dict[str, list[int]] = {}
    for n, image in enumerate(images.frames):
        by_uid.setdefault(image.sop_instance_uid, []).append(n)
    places = np.array([image.known_plane.position for image in images.frames])
    normals = np.array([image.known_plane.normal for image in images.frames])
    for frame in frames:
        found = [n for name in named.of_frame(frame) for n in by_uid.get(name.uid, ()) if name.means(images.frames[n])]
        if not found or frame.plane is None:
            continue
        parallel = np.linalg.norm(np.cross(normals, frame.plane.normal), axis=1) < _PARALLEL
        apart = np.where(parallel, np.abs((places - frame.plane.position) @ frame.plane.normal), np.inf)
        nearest, limit = min(found, key=lambda n: apart[n]), _limit_mm(frame, np.sort(apart), policy)
        if limit < apart[nearest] < np.inf:
            raise _contradiction(frame, images.frames[nearest], float(apart[nearest]), limit)


def _limit_mm(frame: Frame, apart: Matrix, policy: Policy) -> float:
    """How far a frame may lie from the nearest image it names. apart: (n,) mm, from all images, ascending."""
    plane = frame.known_plane
    limit = policy.corner_limit(min(plane.row_spacing, plane.column_spacing))
    if len(apart) < 2 or apart[0] <= limit or not np.isfinite(apart[1]):
        return limit
    return limit + max(float(apart[0] + apart[1]), frame.real("SliceThickness", 0.0))


def _named_by(item: Dataset) -> Iterator[_Named]:
    """The images that one item of the functional groups names."""
    for derivation in item.get("DerivationImageSequence") or ():
        for image in derivation.get("SourceImageSequence") or ():
            numbers = image.get("ReferencedFrameNumber")
            several = [numbers] if isinstance(numbers, int) else numbers or ()
            yield _Named(str(image.get("ReferencedSOPInstanceUID", "")), tuple(int(n) for n in several))


def _contradiction(frame: Frame, image: Frame, apart_mm: float, limit_mm: float) -> PipelineError:
    return refuse(
        Code.SOURCE_CONTRADICTS,
        f"{frame.name} names {image.name} as the image it was made on, but lies {apart_mm:.4g} mm from its plane: "
        "its position or the name is wrong",
        "Have the program that wrote the segmentation write it again. Without --source, and without its images among the "
        "inputs, it is put where its own positions say.",
        where=(frame.name, image.name),
        measured=apart_mm,
        limit=limit_mm,
        unit="mm",
        clause="PS3.3 C.7.6.16.2.6",
    )
