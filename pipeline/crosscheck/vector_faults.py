"""Predict what witnesses get wrong of Nuclear Medicine images and RT doses, whose frames are placed by vectors.

Rules:
- As for `known_wrong`: what the installed witness gives is computed whole, and that alone is excused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..dicom.frame import Frame
from ..dicom.frame_vectors import DETECTORS, DOSE, NUCLEAR, PLACE, vector_class
from ..dicom.pixels import read_plane
from ..geometry.grid import Grid
from ..geometry.stack import Stack
from ..volume.mask import Physical
from .prediction import Prediction, Rule, normal_of, order_in_file, position_of, restack

_RETIRED = "1.2.840.10008.5.1.4.1.1.5"


def step_by_tag(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """Predict dcm2niix: it knows neither the offsets of a dose nor the sign of Spacing Between Slices.

    Args:
        stack: of the frames.
        frames: of an instance, one for each plane, in the order of the grid's k.

    Yields: the one place it gives where there is more than one frame in a file.
    """
    if frames[0].header.number_of_frames == 1 or not vector_class(frames[0].header.values):
        return
    in_file = order_in_file(frames)
    tags = (frames[0].rank(keyword) or 0.0 for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    step = normal_of(frames[0]) * next((mm for mm in tags if mm > 0), 1.0)
    yield restack(Rule.STEP_BY_TAG, stack.grid, position_of(frames[in_file[0]]), step, in_file)


def lose_place(stack: Stack, frames: Sequence[Frame]) -> Iterator[Prediction]:
    """Predict SimpleITK, which knows the detector's item for the class in use alone, and nothing but it there.

    Args:
        stack: of the frames.
        frames: of an instance, one for each plane, in the order of the grid's k.

    Yields: the one place it gives for such a Nuclear Medicine image.
    """
    header, in_file = frames[0].header, order_in_file(frames)
    if vector_class(header.values) != NUCLEAR:
        return
    if header.get("SOPClassUID") == _RETIRED:
        if any(keyword not in header.values for keyword in PLACE):  # else it is FRAMES_AS_STORED
            yield Prediction((Rule.RETIRED_CLASS,), Grid(stack.grid.shape, np.eye(4)), picks=in_file)
    elif not any(PLACE[0] in values for values, _ in header.get(DETECTORS, ())):
        first, last = position_of(frames[in_file[0]]), position_of(frames[in_file[-1]])
        yield restack(Rule.LOST_POSITION, stack.grid, np.zeros(3), (last - first) / (len(frames) - 1), in_file)


def leave_doses(frames: Sequence[Frame], *, wraps: bool = False) -> Iterator[tuple[Rule, Physical]]:
    """Predict what reads the stored values of an RT dose, and not its Dose Grid Scaling.

    Args:
        frames: one for each plane.
        wraps: whether it also takes unsigned 32-bit values for signed ones.

    Yields: each rule with (n, plane) to the values of plane n.
    """
    if not all(vector_class(f.header.values) == DOSE for f in frames):
        return
    yield Rule.NO_DOSE_SCALING, lambda n, _: read_plane(frames[n])
    if wraps and any(f.get("BitsAllocated") == 32 for f in frames):
        yield Rule.SIGNED_DOSE, lambda n, _: read_plane(frames[n]).astype("<i4")
