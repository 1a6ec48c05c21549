"""The grid of a SEG and the place of every frame on it: proof 1 for segmentations.

Rules:
- Without a source the grid is the regular one spanned by the frames; positions between them without a frame are empty
  planes. With a source it is the source's, and a frame is placed on it in whole voxels, in any direction, or refused.
- Every frame is measured at its four corners by its own equation. The largest distance is the proof.
- Frames that lean against their normal obey the policy on tilt, as planes of images do.
- The frames of one SEG share one orientation and one in-plane place; anything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, Severity, refuse
from ...core.policy import Policy
from ...dicom.frame import Frame
from ...geometry.affine import Matrix
from ...geometry.grid import GeometryError, Grid, Plane
from ...geometry.placement import NotRegular, Placement, Spanned, place, spanned
from ...stacking import defects
from ...volume.mask import Array

_SOURCE_HINT = (
    "Give the source series the segmentation was made on: its grid says where the planes are, "
    "and empty ones are added there."
)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedFrames:
    """Frames of one instance on a grid. turn: (3, 2) index step per column and per row; start: (3,) index of the first
    pixel, without the plane axis; axis: the grid axis the frames are stacked along; at: (n,) index of each frame on it.
    residuals: (n,) mm. size: (columns, rows) of every frame.
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
        """The (rows, columns) view of a (planes, rows, columns) block that the frame at this index fills."""
        index: list[Any] = [at, at, at]
        axes = [int(np.flatnonzero(step)[0]) for step in self.turn.T]  # of a column, of a row
        for axis, step, count in zip(axes, self.turn.T, self.size, strict=True):
            first, sign = int(self.start[axis]), int(step[axis])
            stop = first + sign * count
            index[axis] = slice(first, None if stop < 0 else stop, sign)
        view = block.transpose(2, 1, 0)[tuple(index)]
        return view.T if axes[0] < axes[1] else view


def place_frames(frames: Sequence[Frame], source: Grid | None, policy: Policy) -> PlacedFrames:
    """Raises PipelineError: no plane, bad cosines, no regular grid, off the source grid, another Frame of Reference."""
    planes = [_plane(frame, policy) for frame in frames]
    if source is None:
        grid, limit, findings = _own_grid(frames, planes, policy)
    else:
        grid, limit, findings = source, policy.corner_limit(min(source.spacing)), _same_reference(frames[0], source)
    placed = place(planes, grid.lps)
    _refuse_off_grid(frames, placed, grid, limit, own=source is None)
    _refuse_outside(frames, planes, placed, grid)
    turn = placed.turns[0]
    axis = int(np.flatnonzero(np.abs(turn).sum(axis=1) == 0)[0])
    start = placed.origins.copy()
    start[:, axis] = 0
    odd = np.flatnonzero((placed.turns != turn).any(axis=(1, 2)) | (start != start[0]).any(axis=1))
    if odd.size:
        raise refuse(
            Code.MIXED_ORIENTATION,
            f"{frames[odd[0]].name} is turned or shifted in its plane against {frames[0].name}",
            "The frames of one segmentation share one orientation and one origin.",
            where=(frames[odd[0]].name,),
            clause="PS3.3 C.7.6.16.2.4",
        )
    size = (planes[0].columns, planes[0].rows)
    return PlacedFrames(grid, turn, start[0], axis, placed.origins[:, axis], placed.residuals, findings, size)


def _plane(frame: Frame, policy: Policy) -> Plane:
    if frame.plane is None:
        raise refuse(
            Code.MISSING_PLANE_ATTRIBUTES,
            f"{frame.name} does not say where it lies: {frame.why_no_plane}",
            "A segmentation without a position per frame (of a slide, of a photograph) cannot be placed in a patient.",
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


def _own_grid(
    frames: Sequence[Frame], planes: Sequence[Plane], policy: Policy
) -> tuple[Grid, float, tuple[Finding, ...]]:
    first = planes[0]
    tag, thickness = (abs(frames[0].real(k, 0.0)) or None for k in ("SpacingBetweenSlices", "SliceThickness"))
    assumed = tag or thickness or 1.0
    in_plane = min(first.row_spacing, first.column_spacing)
    limit = policy.corner_limit(min(in_plane, tag or in_plane))
    try:
        found = spanned(
            planes,
            tag,
            limit_mm=limit,
            keep_skew=policy.skew_limit,
            keep_mm=policy.qform_limit_mm,
            assumed_step_mm=assumed,
        )
    except NotRegular as odd:
        names = (frames[odd.first].name, frames[odd.second].name)
        raise refuse(
            Code.UNEVEN_SPACING,
            f"{names[0]} and {names[1]} are {odd.gap_mm:.6g} mm apart, no multiple of {odd.step_mm:.6g} mm: "
            f"{odd.off_mm:.4g} mm are left over",
            _SOURCE_HINT,
            where=names,
            measured=odd.off_mm,
            limit=limit,
            unit="mm",
        ) from odd
    except GeometryError as error:
        raise refuse(
            Code.OFF_GRID, f"the frames of {frames[0].path.name} span no grid: {error}", _SOURCE_HINT
        ) from error
    grid = replace(found.stack.grid, frame_of_reference_uid=str(frames[0].get("FrameOfReferenceUID", "")))
    limit = policy.corner_limit(min(grid.spacing))
    told = _about_step(frames[0].path.name, found, tag, thickness, limit)
    return grid, limit, (*_about_tilt(found, policy), *told)


def _about_tilt(found: Spanned, policy: Policy) -> tuple[Finding, ...]:
    """What the policy does about frames that are stacked off their normal."""
    if not defects.leans(found.stack):
        return ()
    return (defects.keep_tilt(defects.tilt(found.stack, policy), policy, "frames of a segmentation"),)


def _about_step(
    name: str, found: Spanned, tag: float | None, thickness: float | None, limit: float
) -> tuple[Finding, ...]:
    """What is to be known of the step between planes, when the frames alone do not settle it."""
    step, total = found.step_mm, found.stack.grid.shape[2]
    findings = []
    if total == 1:
        source = "Spacing Between Slices" if tag else "Slice Thickness" if thickness else "nothing: 1 mm is assumed"
        findings.append(
            Finding(
                Code.ASSUMED_THICKNESS,
                f"{name} has frames at one position only; its thickness {step:.6g} mm comes from {source}",
                "Give the source series to place the plane among its own.",
                Severity.WARNING,
                where=(name,),
            )
        )
    elif tag and abs(step - tag) > limit:
        findings.append(
            Finding(
                Code.TAG_CONTRADICTS,
                f"{name}: Spacing Between Slices says {tag:.6g} mm, the frames lie on steps of {step:.6g} mm",
                "The positions decide. " + _SOURCE_HINT,
                Severity.WARNING,
                where=(name,),
                measured=abs(step - tag),
                limit=limit,
                unit="mm",
            )
        )
    elif not tag and thickness and step > thickness * 1.5:
        findings.append(
            Finding(
                Code.TAG_CONTRADICTS,
                f"{name}: frames lie {step:.6g} mm apart but are {thickness:.6g} mm thick; planes may be missing",
                _SOURCE_HINT,
                Severity.WARNING,
                where=(name,),
                measured=step,
                limit=thickness * 1.5,
                unit="mm",
            )
        )
    if found.added:
        seen = "" if found.step_is_seen else "; no two frames are that near, Spacing Between Slices says it"
        findings.append(
            Finding(
                Code.EMPTY_PLANES_ADDED,
                f"{name}: {found.added} of {total} planes have no frame and are empty (step {step:.6g} mm{seen})",
                "Usual for segmentations, which leave empty planes out.",
                Severity.INFO if found.step_is_seen else Severity.WARNING,
                where=(name,),
                clause="PS3.3 C.8.20.2",
            )
        )
    return tuple(findings)


def _same_reference(frame: Frame, source: Grid) -> tuple[Finding, ...]:
    ours, theirs = str(frame.get("FrameOfReferenceUID", "")), source.frame_of_reference_uid
    if ours and theirs and ours != theirs:
        raise refuse(
            Code.FRAME_OF_REFERENCE_DIFFERS,
            f"{frame.path.name} lies in Frame of Reference {ours}, the source in {theirs}",
            "Equal numbers mean different places then. Give the series the segmentation was made on.",
            where=(frame.path.name,),
            clause="PS3.3 C.7.4.1",
        )
    if ours and theirs:
        return ()
    missing = frame.path.name if not ours else "the source"
    return (
        Finding(
            Code.FRAME_OF_REFERENCE_DIFFERS,
            f"{missing} names no Frame of Reference; that both lie in the same one is taken for granted",
            severity=Severity.WARNING,
            where=() if ours else (frame.path.name,),
            clause="PS3.3 C.7.4.1",
        ),
    )


def _refuse_off_grid(frames: Sequence[Frame], placed: Placement, grid: Grid, limit: float, *, own: bool) -> None:
    crooked = np.flatnonzero(~placed.aligned)
    if crooked.size:
        frame = frames[crooked[0]]
        code = Code.MIXED_ORIENTATION if own else Code.OFF_SOURCE_GRID
        raise refuse(
            code,
            f"a pixel of {frame.name} is no voxel of the {'other frames' if own else 'source'}: "
            "its orientation or spacing is another",
            "A mask on another grid would have to be resampled; give the series it was made on, or no source.",
            where=(frame.name,),
        )
    worst = int(placed.residuals.argmax())
    residual = float(placed.residuals[worst])
    if residual > limit:
        i, j, k = placed.origins[worst]
        raise refuse(
            Code.OFF_GRID if own else Code.OFF_SOURCE_GRID,
            f"{frames[worst].name} lies {residual:.4g} mm off the {'grid of its series' if own else 'source grid'} "
            f"(nearest voxel of its first pixel: {i}, {j}, {k})",
            _SOURCE_HINT if own else "It was made on another grid (resampled, or another series of the study).",
            where=(frames[worst].name,),
            measured=residual,
            limit=limit,
            unit="mm",
        )


def _refuse_outside(frames: Sequence[Frame], planes: Sequence[Plane], placed: Placement, grid: Grid) -> None:
    low, high = placed.reach(planes)
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
