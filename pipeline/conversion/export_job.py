"""Describe an export with a mask in its planes to readers of masks.

Rules:
- They are shown files, and what was chosen; never a voxel or a place of ours. What the user gave counts, not what our decoder
  made of it.
- There is no job where they could not see what was done: places assumed, planes resampled, tiles of a mosaic, labels cut out
  of smeared values, and files whose encoding is not the one that they declare. Missing planes that were filled are no hindrance.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.policy import Undecided
from ..crosscheck.testimony import MaskJob
from ..dicom.frame import Frame
from ..stacking.laid_frames import LaidFrames
from ..volume.label_table import Colour
from .request import ExportDescription
from .source import Source

_TO_16_BITS = 257  # 255 × 257 = 65535: the sample of 16 bits for one of 8


class Compared(NamedTuple):
    """The image that an export was compared with. undecided: what was chosen for voxels that look the same with and without
    mask. is_clean: whether it is the same export with its masks hidden."""

    image: Source
    undecided: Undecided
    is_clean: bool


def describe_export(
    form: str,
    laid_frames: LaidFrames,
    labels: Sequence[tuple[int, int]],
    given: ExportDescription,
    compared: Compared | None,
) -> MaskJob | None:
    """Make the job of readers of masks.

    Args:
        form: of the export.
        laid_frames: its frames on their grid.
        labels: pairs of what is stored for a label and its number in our file.
        given: what the user says of the export.
        compared: the image that decided which voxels are mask; None where none did.

    Returns: the job; None where nobody can see what was done.
    """
    if not labels or not _can_be_seen(laid_frames):
        return None
    options: dict[str, Any] = {"rest": 1} if form == "masked" else {}
    if compared is not None:
        options |= {"compared": True, "undecided": compared.undecided}
        image = compared.image.laid_frames
        if image.whole and _can_be_seen(image):
            options |= {"image": _paths_of(image.frames), "image_frames": _numbers_of(image.frames)}
        if compared.is_clean and form == "burned":
            options["offset"] = 0
    if form == "masked" and given.outside is not None:
        labels = ((given.outside, 0),)
    elif form != "overlay" and len(given.inside) == len(labels):
        # They are in the order in which they were given.
        labels = [(_stored_as(named.value), n) for named, (_, n) in zip(given.inside, labels, strict=True)]
    frames = laid_frames.frames
    return MaskJob(form, tuple(_paths_of(frames)), tuple(_numbers_of(frames)), labels=tuple(labels), options=options)


def _stored_as(value: int | Colour) -> int:
    """A grey value as it is; a colour as one number of three samples of 16 bits."""
    if isinstance(value, int):
        return value
    red, green, blue = (_TO_16_BITS * sample for sample in value)
    return (red << 32) + (green << 16) + blue


def _can_be_seen(laid_frames: LaidFrames) -> bool:
    if laid_frames.assumed or laid_frames.plan is not None:
        return False
    return not any(frame.tile or frame.pairing or frame.header.declared_syntax for frame in laid_frames.frames)


def _paths_of(frames: Sequence[Frame]) -> list[str]:
    return [os.path.abspath(frame.path) for frame in frames]


def _numbers_of(frames: Sequence[Frame]) -> list[int]:
    return [frame.number for frame in frames]
