"""Find out whether a series of planes is a mask: whether it holds few values with a background, not those of an image.

Rules:
- As few planes as possible are read. The middle plane of an ordinary image shows more values than labels; only what may
  be a mask is read whole.
- What convert reads as labels is a mask: 0 and up to 16 other values, or up to 32 in flat regions. Two values without 0
  are one where the background is plain. Colours, floating-point values, negative ones and one value alone are no mask.
- Its labels are named as convert names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...core.findings import Code, PipelineError
from ...core.limits import FEW_VALUES
from ...core.policy import Policy
from ...decode.image import decode_mask
from ...dicom.frame import Frame
from ...dicom.pixel_bits import is_float
from ...dicom.pixels import stored_voxels
from ..facts import MaskFact, Role

MOST_VALUES = 32  # of a mask; the middle plane of an 8-bit image shows more
_NO_MASK = frozenset({Code.COLOUR, Code.NOT_A_MASK, Code.AMBIGUOUS_EXPORT, Code.UNSUPPORTED_PIXELS})
_POLICY = Policy(allow_empty=True)


class PlanesVolume(NamedTuple):
    """One volume of a series. name: that its mask would have. frames: in the order of the grid, where they have one."""

    name: str
    frames: tuple[Frame, ...]


class PlanesRole(NamedTuple):
    """What a series of planes is for. problem: why its pixels cannot be read, or show nothing; "" for nothing."""

    role: Role
    masks: tuple[MaskFact, ...] = ()
    problem: str = ""


def classify(volumes: Sequence[PlanesVolume]) -> PlanesRole:
    """Find out what a series of planes is for.

    Args:
        volumes: of the series.

    Returns: its role, and its labels where it is a mask.

    Raises: nothing: what cannot be read is an image with its problem.
    """
    frames = [frame for volume in volumes for frame in volume.frames]
    if not frames or any(is_float(frame) for frame in frames):
        return PlanesRole("image")
    try:
        values = _few_values(frames)
        if values is None:
            return PlanesRole("image")
        if len(values) == 1:
            return PlanesRole("other", problem=f"EMPTY: every voxel of its {len(frames)} planes is {min(values)}")
        if min(values) < 0 or (0 not in values and len(values) > 2):
            return PlanesRole("image")
        return _read_labels(volumes)
    except PipelineError as error:
        problem = "" if error.finding.code is Code.COLOUR else str(error)
        return PlanesRole("image", problem=problem)
    except Exception as error:  # a decoder stumbles over damaged pixels in more ways than can be listed
        return PlanesRole("image", problem=f"{Code.UNSUPPORTED_PIXELS.name}: {error}")


def _few_values(frames: Sequence[Frame]) -> set[int] | None:
    """All values of the frames; None at the first frame that shows there are too many."""
    values: set[int] = set()
    for frame in _from_the_middle(frames):
        values.update(np.unique(stored_voxels([frame]).plane(0)).tolist())
        if len(values) > MOST_VALUES:
            return None
    return values


def _from_the_middle(frames: Sequence[Frame]) -> Iterator[Frame]:
    middle = len(frames) // 2
    return (frames[n] for n in sorted(range(len(frames)), key=lambda n: abs(n - middle)))


def _read_labels(volumes: Sequence[PlanesVolume]) -> PlanesRole:
    """Read the labels as convert does; an image where it would not."""
    masks: list[MaskFact] = []
    problem = ""
    for volume in volumes:
        try:
            decoded = decode_mask(volume.frames, _POLICY, volume.name)
            segments = decoded.segments or ()
            if len(segments) > FEW_VALUES or any(frame.header.overlays for frame in volume.frames):
                from ...decode.embedded.recognise import recognise

                if recognise(volume.frames).kind != "labels":
                    return PlanesRole("image")
        except PipelineError as error:
            if error.finding.code in _NO_MASK:
                return PlanesRole("image")
            problem = problem or str(error)
            continue
        masks += [MaskFact(segment.number, segment.name, "", segment.colour) for segment in segments]
    return PlanesRole("mask", tuple(dict.fromkeys(masks)), problem)
