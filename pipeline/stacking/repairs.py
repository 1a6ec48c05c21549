"""Mend gaps and tilt as the policy says for just that defect, or refuse the series by the defect's name.

Rules:
- `_REPAIRS` says what each choice of the policy does about each defect. A defect that has no line there is never mended.
- Gaps are mended before tilt: only an even grid can be set upright.
- Every repair is a finding of the result, never silent. It changes nothing that it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..geometry.stack import Stack
from . import defects, resample
from .defects import SHEARED, warn_of_repair
from .fit_frames import corner_limit, fit_frames, planes_of
from .irregular_positions import count_missing
from .resample import Plan

GAPS = (Code.MISSING_PLANES, Code.UNEVEN_SPACING, Code.DRIFT)


@dataclass(frozen=True, slots=True, eq=False)
class Repair:
    """What planes became. stack: on their own grid. plan: how they become another grid, None where they keep that one."""

    stack: Stack
    plan: Plan | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Irregular:
    """Planes with defects that may be mended, ascending along the normal.

    missing: (planes - 1,) how many planes are missing after each, None where the gaps are no whole number of steps.
    """

    frames: Sequence[Frame]
    gap: Finding | None
    tilt: Finding | None
    missing: list[int] | None
    policy: Policy

    @property
    def linear(self) -> bool:
        """Whether values may be blended; labels may not."""
        return self.policy.as_ == "image"

    def stack_with_gaps(self, before: Repair) -> Stack:
        """The planes on a grid that has room for the missing ones, where whole ones are missing."""
        return before.stack if self.missing is None else fit_frames(self.frames, self.policy, missing=self.missing)


def mend(frames: Sequence[Frame], stack: Stack, faults: Sequence[Finding], policy: Policy) -> Repair:
    """Mend the defects of a stack, gaps first, each as the policy says for it.

    Args:
        frames: ascending along the normal, each with a place.
        stack: their grid, which failed its proof or leans.
        faults: its defects, the decisive one first, as `defects.find_defects` gives them; at least one.
        policy: on_gap and on_tilt choose the repairs; as_ says whether values may be blended.

    Returns:
        The stack after the repairs, the plan to resample it where there is one, and what was done.

    Raises:
        PipelineError: any defect that is neither gap nor tilt, or that the policy does not mend, with its own code.
    """
    gap = next((f for f in faults if f.code in GAPS), None)
    tilt = next((f for f in faults if f.code is Code.GANTRY_TILT), None)
    if faults[0] not in (gap, tilt):
        raise PipelineError(faults[0], tuple(faults[1:]))
    missing = None if gap is None else count_missing(stack, corner_limit(planes_of(frames), policy))
    planes = _Irregular(frames, gap, tilt, missing, policy)
    repair = Repair(stack)
    if gap is not None:
        repair = _REPAIRS[gap.code, policy.on_gap](planes, gap, repair)
    if tilt is not None:  # measured anew: the step of planes with gaps was another one
        tilt = defects.tilt(repair.stack, policy, [f.name for f in frames])
        repair = _REPAIRS[tilt.code, policy.on_tilt](planes, tilt, repair)
    return _with_travel(repair)


def _refuse_gap(planes: _Irregular, gap: Finding, before: Repair) -> Repair:
    raise PipelineError(gap, () if planes.tilt is None else (planes.tilt,))


def _fill_gap(planes: _Irregular, gap: Finding, before: Repair) -> Repair:
    """Leave room for the planes that are missing, which only whole ones need; any other gap is refused."""
    if planes.missing is None:
        return _refuse_gap(planes, gap, before)
    done = f"{sum(planes.missing)} empty planes stand in for the missing ones"
    return Repair(planes.stack_with_gaps(before), findings=(warn_of_repair(gap, Code.PLANES_FILLED, done),))


def _resample_evenly(planes: _Irregular, gap: Finding, before: Repair) -> Repair:
    """Make planes at one step, each blended from its neighbours or taken from the nearest."""
    along: resample.Along = "linear" if planes.policy.on_gap == "resample" and planes.linear else "nearest"
    stack = planes.stack_with_gaps(before)
    positions = np.array([p.position for p in planes_of(planes.frames)])
    plan = resample.plan_even(stack, positions, linear=planes.linear, along=along)
    done = f"planes were laid on an even grid ({along} along the normal)"
    return Repair(stack, plan, (warn_of_repair(gap, Code.RESAMPLED, done),))


def _refuse_tilt(planes: _Irregular, tilt: Finding, before: Repair) -> Repair:
    raise PipelineError(tilt)


def _keep_shear(planes: _Irregular, tilt: Finding, before: Repair) -> Repair:
    """Keep the lean in the affine, and say so; an even grid made of uneven planes has kept it too."""
    return replace(before, findings=(*before.findings, warn_of_repair(tilt, Code.SHEAR_KEPT, SHEARED)))


def _resample_upright(planes: _Irregular, tilt: Finding, before: Repair) -> Repair:
    """Shift every plane within itself onto a grid without lean, along the normal as the repair of a gap chose."""
    if planes.gap is not None and planes.missing is None:
        raise PipelineError(planes.gap, (tilt,))
    along = "exact" if before.plan is None else before.plan.along
    plan = resample.plan_upright(before.stack, linear=planes.linear, along=along)
    done = warn_of_repair(tilt, Code.RESAMPLED, "planes were shifted onto an upright grid")
    return Repair(before.stack, plan, (*before.findings, done))


_REPAIRS: dict[tuple[Code, str], Callable[[_Irregular, Finding, Repair], Repair]] = {
    **dict.fromkeys([(code, "refuse") for code in GAPS], _refuse_gap),
    **dict.fromkeys([(code, "fill") for code in GAPS], _fill_gap),
    **dict.fromkeys([(code, choice) for code in GAPS for choice in ("nearest", "resample")], _resample_evenly),
    (Code.GANTRY_TILT, "refuse"): _refuse_tilt,
    (Code.GANTRY_TILT, "shear"): _keep_shear,
    (Code.GANTRY_TILT, "resample"): _resample_upright,
}


def _with_travel(repair: Repair) -> Repair:
    """Add how far labels were taken from, where they were resampled."""
    if repair.plan is None or repair.plan.linear:
        return repair
    message = f"labels were taken from at most {repair.plan.travel_mm():.3f} mm away"
    travel = Finding(Code.RESAMPLED, message, severity=Severity.WARNING)
    return replace(repair, findings=(*repair.findings, travel))
