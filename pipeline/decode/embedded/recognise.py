"""Recognise how an export represents its mask. The reasons are part of the answer, and what is unclear is refused.

Rules:
- What the user gave decides: --clean means burned in, --outside a masked original, --inside one of several values.
- Colour pixels and overlays with a bit set are facts of the files. An overlay beside pixels that are labels themselves
  is two masks: refused until one is chosen.
- Few values, in flat regions, are labels. Many are an image: then --clean, --source, --inside or --outside must
  say where the mask is, and the values that stand out are shown; none is chosen.
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
from ..image import first_and_last
from . import colour, overlay
from .value_table import are_small_integers, as_table, count_values, list_values

WORDS: dict[Kind, str] = {
    "labels": "a binary or label series",
    "burned": "an image with the mask burned in",
    "masked": "an image that is masked: grey values inside, a constant outside",
    "colour": "colour pixels, whose exact colours are the labels",
    "overlay": "overlay planes beside the image",
}
# Share of values that lie in flat regions: from _FLAT on they are labels, up to _ROUGH an image, between them it is not
# clear. Real images in 8 bits show less than 0.1; only saturated values are flat.
_FLAT, _ROUGH = 0.8, 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """What an export is taken for, and why. kind: see `WORDS`."""

    kind: Kind
    reasons: tuple[str, ...]

    def finding(self) -> Finding:
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
    """Recognise what frames hold.

    Args:
        frames: of one size.
        kind: what the user says it is (--kind); None to find out.
        inside: whether values inside were given (--inside or --labels).
        outside: whether the value outside was given (--outside).
        clean: whether the same export with masks hidden was given (--clean).
        source: whether the original images were given (--source).

    Returns:
        The kind of the export, and the reasons.

    Raises:
        PipelineError: AMBIGUOUS_EXPORT where two readings are possible, NOT_A_MASK for an image where nothing shows
            the mask.
    """
    if kind is not None:
        return Seen(kind, ("--kind says so",))
    if colour.accepts(frames):
        first = frames[0].get("PhotometricInterpretation")
        return Seen("colour", (f"its pixels are colours ({first})",))
    if inside and outside:
        both = "--inside (or --labels) and --outside were both given"
        raise _unclear(frames, both, "Give the one that is constant.")
    if outside or clean:
        return Seen("masked" if outside else "burned", ("--outside was given" if outside else "--clean was given",))
    voxels = stored_voxels(frames)
    labels, reason = are_labels(voxels)
    if inside:
        return Seen("labels" if labels else "burned", ("--inside or --labels was given", reason))
    if overlay.accepts(frames):
        return _overlays_or_refuse(frames, labels, reason)
    if labels:
        return Seen("labels", (reason,))
    if labels is None:
        raise _unclear(
            frames,
            f"its pixels may be labels or an 8-bit image: {reason}",
            "Give --kind labels if each value is a label; else give what shows the mask: --clean, --source, --inside or "
            "--outside.",
        )
    if source:
        return Seen("burned", (f"--source was given and this is an image ({reason})",))
    raise _no_mask_shown(frames, voxels, reason)


def _overlays_or_refuse(frames: Sequence[Frame], labels: bool | None, reason: str) -> Seen:
    """Take the overlays for the mask, unless the pixels are labels as well: then there are two masks."""
    groups = ", ".join(f"{group:04X}" for group in overlay.groups(frames))
    if labels:
        raise _unclear(
            frames,
            f"it has overlays ({groups}) with bits set, and its pixels are labels too ({reason})",
            "Give --kind overlay for the overlays, or --kind labels for the pixels.",
        )
    return Seen("overlay", (f"it has overlays ({groups}) with bits set", reason))


def _no_mask_shown(frames: Sequence[Frame], voxels: Voxels, reason: str) -> PipelineError:
    hint = (
        "Give the same export with masks hidden (--clean), the original images (--source), or the constant: --inside if "
        "the mask has it, --outside if all the rest has it. For the image itself use --as image. "
        "Values that stand out:\n" + as_table(list_values(voxels))
        if are_small_integers(voxels)
        else "For the image itself use --as image."
    )
    return refuse(
        Code.NOT_A_MASK,
        f"this is an image ({reason}), and nothing says where the mask in it is",
        hint,
        where=first_and_last(frames),
    )


def are_labels(voxels: Voxels) -> tuple[bool | None, str]:
    """Decide whether values are labels, by how many there are and how flat they lie; None where it is unclear; and why."""
    if not are_small_integers(voxels):
        return False, f"its values are {voxels.dtype}"
    values, counts = count_values(voxels)
    if values[0] < 0 or len(values) > MOST_LABELS:
        return False, f"{len(values):,} different values, from {values[0]} to {values[-1]}"
    if len(values) <= FEW_VALUES:
        return True, f"only {len(values)} different values: {', '.join(map(str, values))}"
    flat = _flatness(voxels, values, int(values[counts.argmax()]))
    reason = f"{len(values)} different values, {flat:.0%} of them in flat regions"
    return (True if flat >= _FLAT else False if flat <= _ROUGH else None), reason


def _flatness(voxels: Voxels, values: NDArray[np.int64], background: int) -> float:
    """Return the share of values, without the background, whose next pixel in the row mostly has the same value."""
    alike = np.zeros(len(values))
    for plane in voxels:
        value = np.searchsorted(values, plane[:, :-1])
        same = plane[:, :-1] == plane[:, 1:]
        alike += np.bincount(value.ravel(), np.where(same, 1, -1).ravel(), len(values))
    return float(np.mean(alike[values != background] >= 0))


def _unclear(frames: Sequence[Frame], why: str, hint: str) -> PipelineError:
    message = f"what this export holds is not clear: {why}"
    return refuse(Code.AMBIGUOUS_EXPORT, message, hint, where=first_and_last(frames))
