"""Find, among image series, one that is another with a mask drawn into it.

Rules:
- Two series are compared where they have the same planes. One is the other with a mask where all its pixels are the other's,
  but for those of a few constants, in every plane, and there are such pixels.
- The first plane that says otherwise ends it, so that series that only share their planes cost one plane of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations

from ..core.findings import PipelineError
from ..core.limits import FEW_VALUES
from ..decode.embedded.image_difference import compare
from ..dicom.frame import Frame
from ..dicom.pixels import stored_voxels
from ..dicom.scan import Series

_Place = tuple[tuple[float, ...], ...]


def find_drawn_mask(images: Iterable[Series]) -> tuple[Series, Series] | None:
    """Find an image series that is another with a mask drawn into it.

    Args:
        images: series of images.

    Returns: the one with the mask and the one without; None where there are no such two.
    """
    planes = [(one, frames) for one in images if (frames := _by_place(one.frames))]
    for (shown, shown_frames), (clean, clean_frames) in permutations(planes, 2):
        if list(map(_place, shown_frames)) == list(map(_place, clean_frames)):
            try:
                if _is_drawn_into(shown_frames, clean_frames):
                    return shown, clean
            except PipelineError:  # pixels that cannot be read or compared show no mask
                continue
    return None


def _by_place(frames: Sequence[Frame]) -> list[Frame]:
    """The frames in the order of their places; none where one has no place."""
    return [] if any(frame.plane is None for frame in frames) else sorted(frames, key=_place)


def _place(frame: Frame) -> _Place:
    plane = frame.known_plane
    own = (plane.position, plane.row_cosine, plane.column_cosine)
    size = (float(plane.rows), float(plane.columns), plane.row_spacing, plane.column_spacing)
    return (*(tuple(map(float, vector)) for vector in own), size)


def _is_drawn_into(shown: Sequence[Frame], clean: Sequence[Frame]) -> bool:
    """Whether every plane is the other's, but for a few constants, and one has such."""
    is_drawn = False
    for one, other in zip(shown, clean, strict=True):
        comparison = compare(stored_voxels([one]), stored_voxels([other]))
        split = comparison.split(comparison.offset())
        if len(split.constants) > FEW_VALUES or split.same_values <= len(split.constants):
            return False
        is_drawn = is_drawn or bool(split.constants)
    return is_drawn
