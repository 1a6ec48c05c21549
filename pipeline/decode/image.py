"""A series of grey-value planes as a label mask, or as the image it is.

Rules:
- Mask: stored values are the labels. Never rescaled, never inverted; 0/255 becomes 0/1 unless values are kept.
  More than 255 distinct values, or negative ones, are no mask; one value throughout is an empty one.
- Image: the stored integers, with Rescale Slope and Intercept beside them. Where these differ between planes there is
  no one pair, so float32 values are computed, and it is said.
- Nothing is held but one plane: a first pass looks at every value, a second one writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.findings import Code, Finding, Severity, refuse
from pipeline.geometry import Grid
from pipeline.mask import Array, Image, Mask, Segment, Voxels, segments_named, smallest_unsigned
from pipeline.pixels import stored_voxels
from pipeline.policy import Policy
from pipeline.series import Frame

_MOST_LABELS = 255


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The voxels of frames in their order, not yet on a grid, and what was found on the way.

    segments: of a mask; None for an image. padding: the value of a voxel nobody acquired. physical(n, plane): the
    values a reader that applies the modality rescale gives where ours has `plane` for frame n; None where it cannot tell.
    """

    voxels: Voxels
    findings: tuple[Finding, ...]
    physical: Callable[[int, Array], Array] | None
    segments: tuple[Segment, ...] | None = None
    slope: float = 1.0
    intercept: float = 0.0
    padding: float = 0.0

    def on(self, grid: Grid, voxels: Voxels, name: str) -> Mask | Image:
        """The same volume with its voxels laid on the grid of the file."""
        if self.segments is None:
            return Image(voxels, grid, self.slope, self.intercept, name)
        return Mask(voxels, grid, self.segments, name)


def decode_mask(frames: Sequence[Frame], policy: Policy, name: str = "") -> Decoded:
    """Frames to labels, in their order. Raises NOT_A_MASK, EMPTY, COLOUR, UNSUPPORTED_PIXELS."""
    stored = stored_voxels(frames)
    values = _distinct(stored, frames)
    if len(values) == 1 and not policy.allow_empty:
        raise refuse(
            Code.EMPTY,
            f"every voxel of the {len(frames)} planes is {values[0]}: there is no mask in this series",
            "Was the mask visible when it was exported? --allow-empty writes it all the same.",
        )
    findings = [*_rescale_ignored(frames), *_notes(frames)]
    label_of = {value: value for value in values}
    if values == [0, 255] and not policy.keep_values:
        label_of[255] = 1
        findings.append(
            Finding(
                Code.LABELS_REMAPPED,
                "the mask was stored as 0 and 255; it is written as 0 and 1",
                "--keep-values keeps 255.",
                Severity.INFO,
            )
        )
    segments = tuple(
        Segment(s.number, s.name, source_value=value)
        for value, label in label_of.items()
        if label
        for s in segments_named([label], name if len([v for v in label_of.values() if v]) == 1 else "")
    )
    dtype = smallest_unsigned(max(label_of.values()))
    voxels = Voxels(stored.shape, dtype, _relabelled(stored, label_of, dtype))
    scale = next((value / label for value, label in label_of.items() if label), 1.0)  # 255 where it became 1
    slopes = _slopes(frames)
    return Decoded(
        voxels, tuple(findings), lambda n, plane: plane * scale * slopes[n][0] + slopes[n][1], segments=segments
    )


def decode_image(frames: Sequence[Frame], *, padded: bool = False) -> Decoded:
    """Frames to grey values, in their order. padded: whether a padding value will be needed, which costs a pass.

    Raises COLOUR, UNSUPPORTED_PIXELS.
    """
    stored = stored_voxels(frames)
    slopes = _slopes(frames)
    findings = _notes(frames)
    if len(set(slopes)) == 1:
        slope, intercept = slopes[0]
        return Decoded(
            stored,
            tuple(findings),
            lambda n, plane: plane * slope + intercept,
            slope=slope,
            intercept=intercept,
            padding=min(float(plane.min()) for plane in stored) if padded else 0.0,
        )
    findings.append(
        Finding(
            Code.RESCALE_PER_PLANE,
            f"Rescale Slope and Intercept differ between planes ({len(set(slopes))} pairs), so computed float32 values "
            "are written, not stored ones",
            severity=Severity.WARNING,
            clause="PS3.3 C.11.1",
        )
    )

    def computed(n: int) -> Array:
        slope, intercept = slopes[n]
        return (stored.plane(n) * slope + intercept).astype(np.float32)

    voxels = Voxels(stored.shape, np.dtype(np.float32), computed)
    padding = min(float(plane.min()) for plane in voxels) if padded else 0.0
    return Decoded(voxels, tuple(findings), lambda n, plane: plane, padding=padding)


def _distinct(stored: Voxels, frames: Sequence[Frame]) -> list[int]:
    """All values that occur, ascending. Stops at the first plane that shows the series is no mask."""
    offset = 1 << (stored.dtype.itemsize * 8 - 1) if stored.dtype.kind == "i" else 0
    seen: set[int] = set()
    for k, plane in enumerate(stored):
        if _all_known(plane, seen):
            continue
        seen.update(_values_of(plane, offset))
        if min(seen) < 0 or len(seen) > _MOST_LABELS:
            what = f"the value {min(seen)}" if min(seen) < 0 else f"more than {_MOST_LABELS} different values"
            raise refuse(
                Code.NOT_A_MASK,
                f"{frames[k].name} brings {what}: this is an image, not a mask",
                "For the image itself use --as image. A mask burned into its image must be told apart first.",
                where=(frames[k].name,),
                measured=float(min(seen)) if min(seen) < 0 else len(seen),
                limit=0 if min(seen) < 0 else _MOST_LABELS,
                unit="value" if min(seen) < 0 else "values",
            )
    return sorted(seen)


def _all_known(plane: Array, seen: set[int]) -> bool:
    """Whether a plane holds only two values already seen: the usual binary plane, at memory speed."""
    if not 1 <= len(seen) <= 2:
        return False
    return sum(int(np.count_nonzero(plane == value)) for value in seen) == plane.size


def _values_of(plane: Array, offset: int) -> list[int]:
    if plane.dtype.itemsize > 2:
        return [int(v) for v in np.unique(plane)]
    counts = np.bincount(plane.ravel().astype(np.int64) + offset)
    return [int(v) - offset for v in np.flatnonzero(counts)]


def _relabelled(stored: Voxels, label_of: dict[int, int], dtype: np.dtype[Any]) -> Callable[[int], Array]:
    if all(value == label for value, label in label_of.items()):
        return lambda k: stored.plane(k).astype(dtype, copy=False)
    table = np.zeros(max(label_of) + 1, dtype)
    table[list(label_of)] = list(label_of.values())
    return lambda k: table[stored.plane(k)]


def _slopes(frames: Sequence[Frame]) -> list[tuple[float, float]]:
    return [(float(f.get("RescaleSlope", 1.0)), float(f.get("RescaleIntercept", 0.0))) for f in frames]


def _rescale_ignored(frames: Sequence[Frame]) -> list[Finding]:
    slopes = set(_slopes(frames)) - {(1.0, 0.0)}
    if not slopes:
        return []
    slope, intercept = sorted(slopes)[0]
    return [
        Finding(
            Code.RESCALE_IGNORED,
            f"Rescale Slope {slope:g} and Intercept {intercept:g} were not applied: a mask's stored values are its labels",
            severity=Severity.INFO,
            clause="PS3.3 C.11.1",
        )
    ]


def _notes(frames: Sequence[Frame]) -> list[Finding]:
    if not any(str(f.get("LossyImageCompression", "")) == "01" for f in frames):
        return []
    return [
        Finding(
            Code.LOSSY_PIXELS,
            "the pixels went through lossy compression (0028,2110); values may differ from the original",
            severity=Severity.WARNING,
            clause="PS3.3 C.7.6.1.1.5",
        )
    ]
