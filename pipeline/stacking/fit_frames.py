"""Fit one grid to the planes of frames, with the limits of the policy.

Rules:
- Every frame that comes here has a place; `stack_frames` refused the others or gave them one.
- The fit itself is `geometry.stack`, which knows neither files nor policy. This module hands it both, and names the files
  where no grid can be fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..geometry.grid import GeometryError, Plane
from ..geometry.stack import Stack, fit_stack

_CLAUSE = "PS3.3 C.7.6.2.1.1"


def planes_of(frames: Sequence[Frame]) -> list[Plane]:
    """The planes of frames, in their order. Raises MISSING_PLANE_ATTRIBUTES for a frame without one."""
    return [frame.known_plane for frame in frames]


def corner_limit(planes: Sequence[Plane], policy: Policy) -> float:
    """How far, in mm, a corner of these planes may lie from the grid."""
    return policy.corner_limit(min(planes[0].row_spacing, planes[0].column_spacing))


def fit_frames(
    frames: Sequence[Frame], policy: Policy, *, assumed_step_mm: float = 1.0, missing: Sequence[int] = ()
) -> Stack:
    """Order the planes of frames along their normal, and fit one grid to them.

    Args:
        frames: of one size and orientation, each with a place, in any order.
        policy: gives the limits of the fit.
        assumed_step_mm: the step along the normal where there is a single plane, in mm.
        missing: (planes - 1,) how many planes of the grid are not there after each of the ordered planes but the last;
            none are missing where it is empty.

    Returns:
        The grid, the order of the frames along it, and how far each plane is from it.

    Raises:
        PipelineError: DUPLICATE_POSITION where all planes lie at one position.
    """
    planes = planes_of(frames)
    try:
        return fit_stack(
            planes,
            limit_mm=corner_limit(planes, policy),
            keep_skew=policy.skew_limit,
            keep_mm=policy.qform_limit_mm,
            assumed_step_mm=assumed_step_mm,
            missing=missing,
        )
    except GeometryError as error:
        raise refuse(
            Code.DUPLICATE_POSITION,
            f"all {len(planes)} planes lie at one position",
            "This is a series over time, or slices without positions of their own; it is no volume.",
            where=tuple(f.name for f in frames[:2]),
            clause=_CLAUSE,
        ) from error
