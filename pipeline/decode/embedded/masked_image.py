"""Read a masked original: the image's own grey values inside, one constant outside.

Rules:
- The constant is given by the user, never guessed. What has another value is inside, for certain.
- An inside voxel may have the constant as its own grey value. With the source image such voxels are known to be outside
  where the source has another value, and `ambiguous_voxels` decides the rest. Without it, they are counted and left outside.
- With the source, every inside voxel must have the source's value (give or take one whole offset), or it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.findings import Code, Finding, Severity, refuse
from ...volume.mask import Array, Segment, Voxels
from .ambiguous_voxels import Tally, Undecided, report_undecided, settle
from .image_difference import Split, compare, other_image
from .labelled import Labelled

_MOST_LISTED = 8  # values that a refusal names


@dataclass(frozen=True, slots=True)
class _Outside:
    """The constant outside of the mask, and how its voxels are decided. offset: shown value minus source value."""

    value: int
    source: Voxels | None
    offset: int
    undecided: Undecided

    def settle(self, k: int, stored: Array) -> tuple[Array, Tally]:
        """Return (rows, columns) which voxels with the constant belong to the mask, and their tally."""
        inside = stored != self.value
        if self.source is None:
            return settle(~inside, inside, "outside")
        by_itself = np.asarray(self.source.plane(k).astype(np.int64) + self.offset == self.value)
        return settle(by_itself & ~inside, inside, self.undecided)


def masked(
    shown: Voxels,
    outside: int,
    *,
    source: Voxels | None = None,
    undecided: Undecided = "surrounded",
    name: str = "",
) -> Labelled:
    """Read the mask whose inside kept its grey values.

    Args:
        shown: stored values of the export.
        outside: the constant that everything outside of the mask has.
        source: stored values of the image, in the order of the export; None where it is not given.
        undecided: what becomes of voxels that have the constant in the source as well.
        name: of the mask and its label.

    Returns:
        A mask of one label.

    Raises:
        PipelineError: NO_SUCH_VALUE where no voxel is outside, EMPTY where all are, OTHER_IMAGE where the source has
            other values inside.
    """
    kept = _count_kept(shown, outside)
    split = None if source is None else _check_source(shown, outside, source)
    rule = _Outside(outside, source, 0 if split is None else split.offset, undecided)

    def plane(k: int) -> Array:
        stored = shown.plane(k)
        return np.asarray((stored != outside) | rule.settle(k, stored)[0], np.uint8)

    tally = Tally()
    added = 0
    for k, stored in enumerate(shown):
        more, of_plane = rule.settle(k, stored)
        tally += of_plane
        added += int(np.count_nonzero(more))
    message = f"masked original: {kept + added:,} voxels are inside, and {outside} is outside"
    findings = [Finding(Code.VALUES_TAKEN, message, severity=Severity.INFO)]
    if split is None:
        findings += _report_holes(tally, outside)
    else:
        findings += split.offset_findings()
        findings += report_undecided([(f"the outside ({outside})", tally)], undecided)
    return Labelled(
        Voxels(shown.shape, np.dtype(np.uint8), plane),
        (Segment(1, name or "mask"),),
        tuple(findings),
        name,
        lambda n, labels: np.where(labels > 0, shown.plane(n), outside),
        0 if split is None else split.same_values,
        ((outside, 0),),
    )


def _check_source(shown: Voxels, outside: int, source: Voxels) -> Split:
    """Check that every inside voxel has the source's value, give or take one whole offset. Raises OTHER_IMAGE."""
    comparison = compare(shown, source)
    split = comparison.split(comparison.offset())
    others = [c for c in split.constants if c.value != outside]
    if others:
        raise other_image(
            f"{sum(c.voxels for c in others):,} voxels that are not {outside} have not the source's grey values",
            tuple(f"value {c.value} ({c.voxels:,} voxels)" for c in others[:_MOST_LISTED]),
        )
    return split


def _count_kept(shown: Voxels, outside: int) -> int:
    """Count the voxels that are inside for certain. Raises NO_SUCH_VALUE, EMPTY."""
    kept = sum(int(np.count_nonzero(plane != outside)) for plane in shown)
    where = (f"all {shown.shape[2]} planes",)
    if kept == shown.shape[0] * shown.shape[1] * shown.shape[2]:
        raise refuse(
            Code.NO_SUCH_VALUE,
            f"no voxel of the export has the value {outside}",
            "Stored values are meant, before any rescale; --list-values shows the values that stand out.",
            where=where,
        )
    if not kept:
        raise refuse(
            Code.EMPTY,
            f"every voxel of the export is {outside}",
            "Was the mask visible when it was exported?",
            where=where,
        )
    return kept


def _report_holes(tally: Tally, outside: int) -> list[Finding]:
    """Warn of voxels with the constant that lie inside the mask, where no source shows whether they belong to it."""
    if not tally.surrounded:
        return []
    return [
        Finding(
            Code.UNDECIDED_VOXELS,
            f"{tally.surrounded:,} voxels with the outside's value {outside} have nothing but mask around them in their "
            "plane: holes of the mask, or grey values of its own; they were left outside",
            "--source with the original images shows which of the two they are.",
            Severity.WARNING,
            measured=tally.surrounded,
            limit=0,
            unit="voxels",
        )
    ]
