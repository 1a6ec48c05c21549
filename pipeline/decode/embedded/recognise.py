"""Which representation of a mask an export has. Its reasons are part of the answer, and what is unclear is refused.

Rules:
- What the user said holds: --clean means burned in, --outside a masked original, --inside one of several values.
- Colour pixels and overlays with a bit set are facts of the files. An overlay beside pixels that are labels themselves
  is two masks: refused until one is chosen.
- Few values, in flat regions, are labels. Many are an image: then the mask must be told by --clean, --source, --inside
  or --outside, and the values that stand out are shown; none is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...core.limits import FEW_VALUES, MOST_LABELS
from ...core.policy import ExportKind as Kind
from ...dicom.frame import Frame
from ...dicom.pixels import stored_voxels
from ...volume.mask import Voxels
from . import colour, overlay
from .value_table import as_table, list_values, value_counts

WORDS: dict[Kind, str] = {
    "labels": "a binary or label series",
    "burned": "an image with the mask burned in",
    "masked": "an image that is masked: grey values inside, a constant outside",
    "colour": "colour pixels, whose exact colours are the labels",
    "overlay": "overlay planes beside the image",
}
# Share of values that lie in flat regions. Real images in 8 bits show less than 0.1; only saturated values are flat.
_FLAT, _ROUGH = 0.8, 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """What an export is, and why. kind: see `WORDS`."""

    kind: Kind
    reasons: tuple[str, ...]

    def said(self) -> Finding:
        message = f"this export is read as {WORDS[self.kind]}: {'; '.join(self.reasons)}"
        return Finding(Code.EXPORT_RECOGNISED, message, severity=Severity.INFO)


def recognise(
    frames: Sequence[Frame],
    *,
    kind: Kind | None = None,
    inside: bool = False,
    outside: bool = False,
    clean: bool = False,
    source: bool = False,
) -> Seen:
    """What frames of one size hold. The rest is what the user gave: --kind, --inside or --labels, --outside, ...

    Raises AMBIGUOUS_EXPORT where two readings are possible, NOT_A_MASK for an image nothing tells the mask in.
    """
    if kind is not None:
        return Seen(kind, ("--kind says so",))
    if colour.accepts(frames):
        first = frames[0].get("PhotometricInterpretation")
        return Seen("colour", (f"its pixels are colours ({first})",))
    if inside and outside:
        raise _unclear("--inside (or --labels) and --outside were both given", "Give the one that is constant.")
    if outside or clean:
        return Seen("masked" if outside else "burned", ("--outside was given" if outside else "--clean was given",))
    voxels = stored_voxels(frames)
    labels, reason = _are_labels(voxels)
    if inside:
        return Seen("labels" if labels else "burned", ("--inside or --labels was given", reason))
    if overlay.accepts(frames):
        groups = ", ".join(f"{g:04X}" for g in overlay.groups(frames))
        if labels:
            raise _unclear(
                f"it has overlays ({groups}) with bits set, and its pixels are labels too ({reason})",
                "Say --kind overlay for the overlays, or --kind labels for the pixels.",
            )
        return Seen("overlay", (f"it has overlays ({groups}) with bits set", reason))
    if labels is None:
        raise _unclear(
            f"its pixels may be labels or an 8-bit image: {reason}",
            "Say --kind labels if each value is a label; else say what tells the mask: --clean, --source, --inside or "
            "--outside.",
        )
    if labels:
        return Seen("labels", (reason,))
    if source:
        return Seen("burned", (f"--source was given and this is an image ({reason})",))
    raise refuse(
        Code.NOT_A_MASK,
        f"this is an image ({reason}), and nothing says where the mask in it is",
        "Give the same export with masks hidden (--clean), the original images (--source), or the constant: --inside if "
        "the mask has it, --outside if all the rest has it. For the image itself use --as image. "
        "Values that stand out:\n" + as_table(list_values(voxels)),
    )


def _are_labels(voxels: Voxels) -> tuple[bool | None, str]:
    """Whether the values are labels, None where it is unclear; and why."""
    values, counts = value_counts(voxels)
    if values[0] < 0 or len(values) > MOST_LABELS:
        return False, f"{len(values):,} different values, from {values[0]} to {values[-1]}"
    if len(values) <= FEW_VALUES:
        return True, f"only {len(values)} different values: {', '.join(map(str, values))}"
    flat = _flatness(voxels, values, int(values[counts.argmax()]))
    reason = f"{len(values)} different values, {flat:.0%} of them in flat regions"
    return (True if flat >= _FLAT else False if flat <= _ROUGH else None), reason


def _flatness(voxels: Voxels, values: NDArray[np.int64], background: int) -> float:
    """The share of the values, the background left out, that mostly have themselves as the next pixel of the row."""
    alike = np.zeros(len(values))
    for plane in voxels:
        value = np.searchsorted(values, plane[:, :-1])
        same = plane[:, :-1] == plane[:, 1:]
        alike += np.bincount(value.ravel(), np.where(same, 1, -1).ravel(), len(values))
    return float(np.mean(alike[values != background] >= 0))


def _unclear(what: str, hint: str) -> PipelineError:
    return refuse(Code.AMBIGUOUS_EXPORT, f"what this export holds is not clear: {what}", hint)
