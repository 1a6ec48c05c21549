"""Decode a series of grey-value planes as a label mask, or as the image it is.

Rules:
- Mask: stored values are the labels. Never rescaled, never inverted; two values become 0 and 1 unless values are kept
  (`two_values`). More than 255 distinct values, negative ones among more than two, or values that are not whole, are no
  mask; one value throughout is an empty one.
- A mask that lossy compression has smeared is refused, or cut at half of its range, or kept, as the policy says.
- Image: the stored values in their own type, with Rescale Slope and Intercept for the header. Where these differ between
  planes, no one pair fits, so floating-point values are computed, and a warning says so.
- Only one plane is held in memory: a first pass looks at every value, a second one writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.limits import MOST_LABELS
from ..core.policy import Policy
from ..dicom import modality
from ..dicom.frame import Frame
from ..dicom.pixels import BitsAbove, stored_voxels
from ..dicom.polarity import about_polarity
from ..geometry.grid import Grid
from ..volume.mask import (
    LARGEST_LABEL,
    Array,
    ImageVolume,
    MaskVolume,
    Physical,
    Segment,
    Voxels,
    segments_named,
    smallest_unsigned,
)
from .two_values import TwoValues, find_two_values

NO_LABEL = "value of a label"  # the unit of a refusal of values that --keep-values cannot keep


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The voxels of frames in their order, not yet on a grid, and the findings on the way.

    Attributes:
        physical: (n, plane) -> the values that a reader that applies the modality rescale gives for frame n, where ours
            has `plane`; None where that is not known.
        segments: of a mask; None for an image.
        slope, intercept: from stored to physical values, of an image.
        padding: value of a voxel that was not acquired.
        late: gives the findings that are complete only when all voxels have been read, which is once they are written.
        stored_labels: pairs of what the files have for a label (a value, an overlay group, a colour) and its number here, 0
            where it is left out; what another reader of the files needs to know. Empty where they do not show the labels.
    """

    voxels: Voxels
    findings: tuple[Finding, ...]
    physical: Physical | None
    segments: tuple[Segment, ...] | None = None
    slope: float = 1.0
    intercept: float = 0.0
    padding: float = 0.0
    late: Callable[[], list[Finding]] = list
    stored_labels: tuple[tuple[int, int], ...] = ()

    def on(self, grid: Grid, voxels: Voxels, name: str) -> MaskVolume | ImageVolume:
        """Return the volume on the grid of the file.

        Args:
            grid: of the file.
            voxels: the same voxels, in the order of the grid.
            name: of the volume.

        Returns:
            A mask where there are segments, else an image.
        """
        if self.segments is None:
            return ImageVolume(voxels, grid, self.slope, self.intercept, name)
        return MaskVolume(voxels, grid, self.segments, name)


def decode_mask(frames: Sequence[Frame], policy: Policy, name: str = "") -> Decoded:
    """Read the stored values of frames as labels.

    Args:
        frames: of one size, in their order.
        policy: whether an empty mask is allowed, two values are kept, and what becomes of lossy compression.
        name: of a label that is the only one.

    Returns:
        Labels of the frames, with a segment for each value but 0.

    Raises:
        PipelineError: NOT_A_MASK, EMPTY, LOSSY_PIXELS, and what `stored_voxels` raises.
    """
    above = BitsAbove(frames, "labels")
    stored, values, notes = _values_after_compression(stored_voxels(frames, above.seen), frames, policy)
    if len(values) == 1 and not policy.allow_empty:
        raise refuse(
            Code.EMPTY,
            f"every voxel of the {len(frames)} planes is {values[0]}: there is no mask in this series",
            "Was the mask visible when it was exported? --allow-empty writes it all the same.",
            where=first_and_last(frames),
        )
    slopes, ignored = modality.rescales_of_mask(frames)
    findings = [*ignored, *notes, *modality.about_mask(frames), *above.findings()]
    two: TwoValues | None = None
    if len(values) == 2 and values != [0, 1] and not policy.keep_values:
        two = find_two_values(stored, values, frames)
        voxels, segments = two.labels(stored), two.segments(name)
        findings += two.findings
    else:
        _refuse_no_labels(values, frames, policy)
        voxels, segments = _keep_labels(stored, values), _name_segments(values, name)
    is_cut = bool(notes) and policy.on_lossy == "threshold"
    stored_labels = () if is_cut else tuple((int(s.source_value or s.number), s.number) for s in segments)
    physical = None
    if slopes is not None and not is_cut:

        def physical(n: int, plane: Array) -> Array:
            return (plane if two is None else two.stored(plane)) * slopes[n][0] + slopes[n][1]

    return Decoded(voxels, tuple(findings), physical, segments=segments, stored_labels=stored_labels)


def _name_segments(values: Sequence[int], name: str) -> tuple[Segment, ...]:
    """Make a segment for every label but 0; `name` goes to a label that is the only one."""
    segments = segments_named([value for value in values if value], name)
    return tuple(replace(segment, source_value=segment.number) for segment in segments)


def _keep_labels(stored: Voxels, values: Sequence[int]) -> Voxels:
    dtype = smallest_unsigned(max(values))
    return Voxels(stored.shape, dtype, lambda k: stored.plane(k).astype(dtype, copy=False), stored.is_empty)


def _refuse_no_labels(values: Sequence[int], frames: Sequence[Frame], policy: Policy) -> None:
    """Refuse values that cannot be kept as labels. Raises NOT_A_MASK."""
    if values[0] >= 0 and values[-1] <= LARGEST_LABEL:
        return
    value, limit = (values[0], 0) if values[0] < 0 else (values[-1], LARGEST_LABEL)
    raise refuse(
        Code.NOT_A_MASK,
        f"the value {value} cannot be kept as a label: labels are whole numbers from 1 to {LARGEST_LABEL}",
        ("Without --keep-values, two values become 0 and 1. " if policy.keep_values else "")
        + "For the image itself use --as image.",
        where=first_and_last(frames),
        measured=value,
        limit=limit,
        unit=NO_LABEL,
    )


def decode_image(frames: Sequence[Frame], *, padded: bool = False) -> Decoded:
    """Read the grey values of frames, in their order. padded: whether a padding value is needed, which costs a pass.

    Raises COLOUR, UNSUPPORTED_PIXELS.
    """
    above = BitsAbove(frames, "values")
    stored = stored_voxels(frames, above.seen)
    findings = [*modality.about_image(frames), *about_polarity(frames)]
    by_table = modality.modality_luts(frames)
    if by_table is not None:
        voxels = Voxels(stored.shape, np.dtype(np.float32), lambda n: by_table(n, stored.plane(n)).astype(np.float32))
        padding = _smallest(voxels) if padded else 0.0
        return Decoded(voxels, tuple(findings), lambda n, plane: plane, padding=padding, late=above.findings)
    slopes = modality.rescales(frames)
    if len(set(slopes)) == 1:
        slope, intercept = slopes[0]
        return Decoded(
            stored,
            tuple(findings),
            lambda n, plane: plane * slope + intercept,
            slope=slope,
            intercept=intercept,
            padding=_smallest(stored) if padded else 0.0,
            late=above.findings,
        )
    dtype = np.result_type(np.float32, stored.dtype)  # float64 where float32 could not hold the stored values
    findings.append(
        Finding(
            Code.RESCALE_PER_PLANE,
            f"Rescale Slope and Intercept differ between planes ({len(set(slopes))} pairs), so computed {dtype} values "
            "are written, not stored ones",
            "One file has one slope and one intercept, so stored values could not be kept.",
            severity=Severity.WARNING,
            clause="PS3.3 C.11.1",
        )
    )

    def computed(n: int) -> Array:
        slope, intercept = slopes[n]
        return np.asarray(stored.plane(n).astype(np.float64) * slope + intercept, dtype)

    voxels = Voxels(stored.shape, dtype, computed)
    padding = _smallest(voxels) if padded else 0.0
    return Decoded(voxels, tuple(findings), lambda n, plane: plane, padding=padding, late=above.findings)


def first_and_last(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return the names of the first and the last frame: where to look, for a fault of all of them."""
    return tuple(dict.fromkeys(frame.name for frame in (*frames[:1], *frames[-1:])))


def _smallest(voxels: Voxels) -> float:
    smallest = [float(np.fmin.reduce(plane, axis=None)) for plane in voxels]  # fmin leaves out what is not a number
    return min((value for value in smallest if isfinite(value)), default=0.0)


def _values_after_compression(
    stored: Voxels, frames: Sequence[Frame], policy: Policy
) -> tuple[Voxels, list[int], list[Finding]]:
    """Return stored values, those that occur, and the findings on lossy compression that may have smeared them."""
    why = modality.lossy(frames)
    if not why:
        return *_distinct_values(stored, frames), []
    if policy.on_lossy == "threshold":
        return _cut_in_two(stored, why)
    try:
        stored, values = _distinct_values(stored, frames)
    except PipelineError as error:
        # More values than labels, in 8 bits: what JPEG makes of a mask. Other refusals are not about compression.
        if error.finding.unit != "values" or stored.dtype.itemsize > 1:
            raise
        raise _smeared(why, frames, MOST_LABELS + 1) from error
    if len(values) > 2 and policy.on_lossy == "refuse":
        raise _smeared(why, frames, len(values))
    return stored, values, [modality.lossy_mask(why, f"its {len(values)} values were kept as they came")]


def _cut_in_two(stored: Voxels, why: str) -> tuple[Voxels, list[int], list[Finding]]:
    """Cut at half of the range, for a mask that had two values before compression; report how much lay in between."""
    low, high = min(int(p.min()) for p in stored), max(int(p.max()) for p in stored)
    half, quarter = (low + high) / 2, (high - low) / 4
    between = sum(int(np.count_nonzero(np.abs(p.astype(np.float64) - half) < quarter)) for p in stored)
    cut = Voxels(stored.shape, np.dtype(np.uint8), lambda k: (stored.plane(k) > half).view(np.uint8))
    message = f"values above {half:g}, half of its range, became 1; {between:,} voxels were within a quarter of the range of it"
    return cut, [0, 1] if high > low else [0], [modality.lossy_mask(why, message)]


def _smeared(why: str, frames: Sequence[Frame], values: int) -> PipelineError:
    return refuse(
        Code.LOSSY_PIXELS,
        f"the pixels went through lossy compression ({why}): if this is a mask, it is smeared by JPEG, and its values are no "
        f"labels; there are {values if values <= MOST_LABELS else f'more than {MOST_LABELS}'} of them",
        "Export it again, uncompressed or losslessly compressed. --on-lossy threshold makes a mask of one label of it, cut "
        "at half of its range; --on-lossy keep takes the values as they are; neither is verified. For an image: --as image.",
        where=first_and_last(frames),
        clause="PS3.3 C.7.6.1.1.5",
        measured=values,
        limit=2,
        unit="values",
    )


def _distinct_values(stored: Voxels, frames: Sequence[Frame]) -> tuple[Voxels, list[int]]:
    """List all values that occur, ascending; refuse at the first plane that shows the series is no mask.

    Returns:
        The same voxels, of which it is known now which planes are empty, and the values.
    """
    offset = 1 << (stored.dtype.itemsize * 8 - 1) if stored.dtype.kind == "i" else 0
    seen: set[int] = set()
    empty: set[int] = set()
    for k, plane in enumerate(stored.planes()):
        if plane is None:
            empty.add(k)
        elif _all_known(plane, seen):
            continue
        elif stored.dtype.kind == "f":
            _refuse_fractions(plane, frames[k])
        seen.update([0] if plane is None else _values_of(plane, offset))
        is_negative = min(seen) < 0 and len(seen) > 2
        if is_negative or len(seen) > MOST_LABELS:
            what = f"the value {min(seen)}" if is_negative else f"more than {MOST_LABELS} different values"
            number = float(min(seen)) if is_negative else len(seen)
            raise _no_mask(
                frames[k], what, number, 0 if is_negative else MOST_LABELS, "value" if is_negative else "values"
            )
    return replace(stored, is_empty=empty.__contains__), sorted(seen)


def _refuse_fractions(plane: Array, frame: Frame) -> None:
    """Refuse values that are not whole or not finite numbers. Raises NOT_A_MASK."""
    odd = plane[~(np.isfinite(plane) & (plane == np.rint(plane)))]
    if odd.size:
        what = f"{odd.size} values that are not whole numbers, such as {odd[0]:g}"
        raise _no_mask(frame, what, odd.size, 0, "values that are not whole")


def _no_mask(frame: Frame, what: str, measured: float, limit: float, unit: str) -> PipelineError:
    return refuse(
        Code.NOT_A_MASK,
        f"{frame.name} brings {what}: this is an image, not a mask",
        "For the image itself use --as image. Where a mask is burned into its image, --clean, --source, --inside or "
        "--outside shows which voxels it has.",
        where=(frame.name,),
        measured=measured,
        limit=limit,
        unit=unit,
    )


def _all_known(plane: Array, seen: set[int]) -> bool:
    """Return whether a plane surely holds only values already seen: the usual plane of a mask, at memory speed."""
    if plane.dtype.kind == "u" and seen and len(seen) == max(seen) + 1:  # all values from 0 to the highest
        return int(plane.max()) < len(seen)
    if not 1 <= len(seen) <= 2:
        return False
    return sum(int(np.count_nonzero(plane == value)) for value in seen) == plane.size


def _values_of(plane: Array, offset: int) -> list[int]:
    if plane.dtype.itemsize > 2:
        return [int(v) for v in np.unique(plane)]
    counts = np.bincount(plane.ravel().astype(np.int64) + offset)
    return [int(v) - offset for v in np.flatnonzero(counts)]
