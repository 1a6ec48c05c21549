"""Find the grid of a SEG and the place of every frame on it: proof 1 for segmentations.

Rules:
- Without a source the grid is the regular one spanned by the frames; positions between them without a frame are empty
  planes. With a source it is the source's, and a frame is placed on it in whole voxels, in any direction, or refused.
- Every frame is measured at its four corners by its own equation. The largest distance is the proof.
- Frames that lean against their normal obey the policy on tilt, as planes of images do.
- The frames of one SEG share one orientation and one origin in their plane; anything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, refuse
from ...core.policy import Policy
from ...dicom.frame import Frame
from ...geometry.affine import Matrix
from ...geometry.frame_of_reference import doubt_same_frame, warn_of_frame
from ...geometry.grid import GeometryError, Grid, Plane
from ...geometry.placement import NotRegular, Placement, SpannedGrid, place, span_grid
from ...stacking import defects
from ...volume.mask import Array
from .step_findings import ASSUMED_STEP_MM, SOURCE_HINT, FrameStep, empty_planes, warn_of_step

_OTHER_GRID_HINT = (
    "It was made on another grid (resampled, or another series of the study). Give that series, or no source; or take the "
    "nearest voxels with --resample nearest, which says how far they lie."
)


@dataclass(frozen=True, slots=True, eq=False)
class FrameLayout:
    """The frames of one instance on a grid.

    Attributes:
        grid: they lie on.
        turn: (3, 2) step of the grid index (i, j, k) for one column, and for one row.
        start: (3,) grid index of the first pixel of every frame, 0 along `axis`.
        axis: grid axis the frames are stacked along.
        at: (n,) index of each frame along that axis.
        residuals: (n,) mm, the largest corner distance of each frame to the grid.
        findings: on the way.
        size: (columns, rows) of every frame.
    """

    grid: Grid
    turn: NDArray[np.int64]
    start: NDArray[np.int64]
    axis: int
    at: NDArray[np.int64]
    residuals: Matrix
    findings: tuple[Finding, ...]
    size: tuple[int, int]

    def window(self, block: Array, at: int) -> Any:
        """Return the (rows, columns) view of a (planes, rows, columns) block that the frame at this index fills."""
        index: list[Any] = [at, at, at]
        axes = [int(np.flatnonzero(step)[0]) for step in self.turn.T]  # of a column, of a row
        for axis, step, count in zip(axes, self.turn.T, self.size, strict=True):
            first, sign = int(self.start[axis]), int(step[axis])
            stop = first + sign * count
            index[axis] = slice(first, None if stop < 0 else stop, sign)
        view = block.transpose(2, 1, 0)[tuple(index)]
        return view.T if axes[0] < axes[1] else view


def place_frames(frames: Sequence[Frame], source: Grid | None, policy: Policy, evidence: str = "") -> FrameLayout:
    """Place every frame on the source's grid, or on the one that the frames span, and prove it at their corners.

    Args:
        frames: of one instance, in any order.
        source: grid of the images the segmentation was made on; None where it is not given.
        policy: gives the limits of residuals and cosines, and what to do on tilt.
        evidence: what shows that they lie in the source's Frame of Reference, whatever they name.

    Returns:
        The grid and the place of each frame on it.

    Raises:
        PipelineError: MISSING_PLANE_ATTRIBUTES, BAD_COSINES, UNEVEN_SPACING, OFF_GRID, OFF_SOURCE_GRID,
            MIXED_ORIENTATION, FRAME_OF_REFERENCE_DIFFERS, or GANTRY_TILT where the policy refuses tilt.
    """
    planes = [_require_plane(frame, policy) for frame in frames]
    if source is None:
        grid, limit, findings = _span_grid(frames, planes, policy)
    else:
        findings = _check_frame_of_reference(frames[0], source, policy, evidence)
        grid, limit = source, policy.corner_limit(min(source.spacing))
    placement = place(planes, grid.lps)
    _refuse_off_grid(frames, placement, grid, limit, own=source is None)
    _refuse_outside(frames, planes, placement, grid)
    turn, start, axis = _shared_origin(frames, placement)
    size = (planes[0].columns, planes[0].rows)
    return FrameLayout(grid, turn, start, axis, placement.origins[:, axis], placement.residuals, findings, size)


def _shared_origin(frames: Sequence[Frame], placement: Placement) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the turn, the first pixel and the stacking axis that all frames share, or refuse the first that differs."""
    turn = placement.turns[0]
    axis = int(np.flatnonzero(np.abs(turn).sum(axis=1) == 0)[0])
    start = placement.origins.copy()
    start[:, axis] = 0
    odd = np.flatnonzero((placement.turns != turn).any(axis=(1, 2)) | (start != start[0]).any(axis=1))
    if odd.size:
        raise refuse(
            Code.MIXED_ORIENTATION,
            f"{frames[odd[0]].name} is turned or shifted in its plane against {frames[0].name}",
            "The frames of one segmentation share one orientation and one origin.",
            where=(frames[odd[0]].name,),
            clause="PS3.3 C.7.6.16.2.4",
        )
    return turn, start[0], axis


def _require_plane(frame: Frame, policy: Policy) -> Plane:
    """Return the plane of a frame. Raises MISSING_PLANE_ATTRIBUTES, BAD_COSINES."""
    if frame.plane is None:
        raise refuse(
            Code.MISSING_PLANE_ATTRIBUTES,
            f"{frame.name} does not say where it lies: {_why_no_plane(frame)}",
            "A segmentation without a position per frame (of a photograph, or written wrongly) cannot be placed in a patient.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.16.2.3",
        )
    if frame.plane.cosine_error > policy.cosine_limit:
        raise refuse(
            Code.BAD_COSINES,
            f"{frame.name} has direction cosines {frame.plane.cosine_error:.2g} away from an orthonormal pair",
            "The orientation was written wrongly; no grid fits it.",
            where=(frame.name,),
            measured=frame.plane.cosine_error,
            limit=policy.cosine_limit,
            clause="PS3.3 C.7.6.2.1.1",
        )
    return frame.plane


def _why_no_plane(frame: Frame) -> str:
    items = len(frame.header.frames)
    if frame.number <= items or not items:
        return frame.why_no_plane
    return f"the file has {frame.header.number_of_frames} frames, and functional groups (5200,9230) of {items}"


def _span_grid(
    frames: Sequence[Frame], planes: Sequence[Plane], policy: Policy
) -> tuple[Grid, float, tuple[Finding, ...]]:
    """Return the regular grid the frames span, its corner limit in mm and the findings on it."""
    tag, thickness = (abs(frames[0].real(k, 0.0)) or None for k in ("SpacingBetweenSlices", "SliceThickness"))
    found = _span(frames, planes, policy, tag, thickness)
    grid = replace(found.stack.grid, frame_of_reference_uid=str(frames[0].get("FrameOfReferenceUID", "")))
    limit = policy.corner_limit(min(grid.spacing))
    step = FrameStep(frames[0].path.name, found, tag, thickness, limit)
    findings = (*_tilt_findings(found, policy), warn_of_step(step), empty_planes(step))
    return grid, limit, tuple(finding for finding in findings if finding is not None)


def _span(
    frames: Sequence[Frame], planes: Sequence[Plane], policy: Policy, tag: float | None, thickness: float | None
) -> SpannedGrid:
    """Span a regular grid by the planes. Raises UNEVEN_SPACING, OFF_GRID."""
    in_plane = min(planes[0].row_spacing, planes[0].column_spacing)
    limit = policy.corner_limit(min(in_plane, tag or in_plane))
    try:
        return span_grid(
            planes,
            tag,
            limit_mm=limit,
            keep_skew=policy.skew_limit,
            keep_mm=policy.qform_limit_mm,
            assumed_step_mm=tag or thickness or ASSUMED_STEP_MM,
        )
    except NotRegular as odd:
        names = (frames[odd.first].name, frames[odd.second].name)
        raise refuse(
            Code.UNEVEN_SPACING,
            f"{names[0]} and {names[1]} are {odd.gap_mm:.6g} mm apart, no multiple of {odd.step_mm:.6g} mm: "
            f"{odd.off_mm:.4g} mm are left over",
            SOURCE_HINT,
            where=names,
            measured=odd.off_mm,
            limit=limit,
            unit="mm",
        ) from odd
    except GeometryError as error:
        name = frames[0].path.name
        raise refuse(
            Code.OFF_GRID, f"the frames of {name} span no grid: {error}", SOURCE_HINT, where=(name,)
        ) from error


def _tilt_findings(found: SpannedGrid, policy: Policy) -> tuple[Finding, ...]:
    """Keep or refuse frames that are stacked off their normal, as the policy says."""
    if not defects.leans(found.stack):
        return ()
    return (defects.keep_tilt(defects.tilt(found.stack, policy), policy, "frames of a segmentation"),)


def lies_on(frames: Sequence[Frame], source: Grid, policy: Policy, evidence: str = "") -> bool:
    """Return whether frames lie on a grid in whole voxels.

    Args:
        frames: of one instance, in any order.
        source: the grid.
        policy: gives the limits.
        evidence: what shows that they lie in the source's Frame of Reference, whatever they name.

    Returns:
        False for all that `place_frames` refuses.
    """
    try:
        place_frames(frames, source, policy, evidence)
    except PipelineError:
        return False
    return True


def _check_frame_of_reference(frame: Frame, source: Grid, policy: Policy, evidence: str) -> tuple[Finding, ...]:
    """Refuse a SEG that lies in another Frame of Reference; warn where that is not known."""
    own, where = str(frame.get("FrameOfReferenceUID", "")), (frame.path.name,)
    doubt = doubt_same_frame(
        own,
        source.frame_of_reference_uid,
        frame.path.name,
        where=where,
        evidence=evidence,
        by_word=policy.same_frame,
    )
    return () if doubt is None else (warn_of_frame(doubt, where=where),)


def _refuse_off_grid(frames: Sequence[Frame], placement: Placement, grid: Grid, limit: float, *, own: bool) -> None:
    """Refuse the frame that lies furthest off the grid. own: whether the frames span the grid themselves."""
    crooked = np.flatnonzero(~placement.aligned)
    if crooked.size:
        frame = frames[crooked[0]]
        code = Code.MIXED_ORIENTATION if own else Code.OFF_SOURCE_GRID
        raise refuse(
            code,
            f"a pixel of {frame.name} is no voxel of the {'other frames' if own else 'source'}: "
            "its orientation or spacing is another",
            "The frames of one segmentation share one orientation and spacing." if own else _OTHER_GRID_HINT,
            where=(frame.name,),
        )
    worst = int(placement.residuals.argmax())
    residual = float(placement.residuals[worst])
    if residual > limit:
        i, j, k = placement.origins[worst]
        raise refuse(
            Code.OFF_GRID if own else Code.OFF_SOURCE_GRID,
            f"{frames[worst].name} lies {residual:.4g} mm off the {'grid of its series' if own else 'source grid'} "
            f"(nearest voxel of its first pixel: {i}, {j}, {k})",
            SOURCE_HINT if own else _OTHER_GRID_HINT,
            where=(frames[worst].name,),
            measured=residual,
            limit=limit,
            unit="mm",
        )


def _refuse_outside(frames: Sequence[Frame], planes: Sequence[Plane], placement: Placement, grid: Grid) -> None:
    """Refuse the frame that reaches furthest beyond the grid."""
    low, high = placement.reach(planes)
    beyond = np.maximum(-low, high - (np.array(grid.shape) - 1)).max(axis=1)
    worst = int(beyond.argmax())
    if beyond[worst] > 0:
        raise refuse(
            Code.OFF_SOURCE_GRID,
            f"{frames[worst].name} reaches {beyond[worst]} voxels beyond the source grid: its voxels go from "
            f"{low[worst].tolist()} to {high[worst].tolist()}, the source has {list(grid.shape)}",
            "Give the whole source series, or no source.",
            where=(frames[worst].name,),
            measured=float(beyond[worst]),
            limit=0.0,
            unit="voxels",
        )
