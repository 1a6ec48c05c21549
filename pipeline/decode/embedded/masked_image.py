"""A masked original: the image's own grey values inside, one constant outside.

Rules:
- The constant is said, never guessed. What has another value is inside, for certain.
- An inside voxel may have the constant as its own grey value. With the source image such voxels are told apart where
  the source has another value; the rest is settled as `ambiguous_voxels` says. Without it, they are counted and left outside.
- With the source, every inside voxel must have the source's value (give or take one whole offset), or it is refused.
"""

from __future__ import annotations

import numpy as np

from ...core.findings import Code, Finding, Severity, refuse
from ...volume.mask import Array, Segment, Voxels
from .ambiguous_voxels import Tally, Undecided, said, settle
from .image_difference import compare, other_image
from .labelled import Labelled


def masked(
    shown: Voxels,
    outside: int,
    *,
    source: Voxels | None = None,
    undecided: Undecided = "surrounded",
    name: str = "",
) -> Labelled:
    """The mask whose inside kept its grey values; source: the image, in one order with the export.

    Raises NO_SUCH_VALUE where no voxel is outside, EMPTY where all are, OTHER_IMAGE where the source has other values.
    """
    kept = _kept(shown, outside)
    findings: list[Finding] = []
    shift = 0
    if source is not None:
        comparison = compare(shown, source)
        split = comparison.split(comparison.offset())
        others = [c for c in split.constants if c.value != outside]
        if others:
            raise other_image(
                f"{sum(c.voxels for c in others):,} voxels that are not {outside} have not the source's grey values"
            )
        shift = split.offset
        findings += split.offset_said()

    def settled(k: int, stored: Array) -> tuple[Array, Tally]:
        inside = stored != outside
        if source is None:
            return settle(~inside, inside, "outside")
        by_itself = np.asarray(source.plane(k).astype(np.int64) + shift == outside)
        return settle(by_itself & ~inside, inside, undecided)

    def plane(k: int) -> Array:
        stored = shown.plane(k)
        return np.asarray((stored != outside) | settled(k, stored)[0], np.uint8)

    tally = Tally()
    added = 0
    for k, stored in enumerate(shown):
        more, of_plane = settled(k, stored)
        tally += of_plane
        added += int(np.count_nonzero(more))
    findings += said([(f"the outside ({outside})", tally)], undecided) if source is not None else _holes(tally, outside)
    first = Finding(
        Code.VALUES_TAKEN,
        f"masked original: {kept + added:,} voxels are inside, and {outside} is outside",
        severity=Severity.INFO,
    )
    return Labelled(
        Voxels(shown.shape, np.dtype(np.uint8), plane),
        (Segment(1, name or "mask"),),
        (first, *findings),
        name,
        lambda n, labels: np.where(labels > 0, shown.plane(n), outside),
    )


def _kept(shown: Voxels, outside: int) -> int:
    """The number of voxels that are inside for certain."""
    kept = sum(int(np.count_nonzero(plane != outside)) for plane in shown)
    if kept == shown.shape[0] * shown.shape[1] * shown.shape[2]:
        raise refuse(
            Code.NO_SUCH_VALUE,
            f"no voxel of the export has the value {outside}",
            "Stored values are meant, before any rescale; --list-values shows the values that stand out.",
        )
    if not kept:
        raise refuse(
            Code.EMPTY, f"every voxel of the export is {outside}", "Was the mask visible when it was exported?"
        )
    return kept


def _holes(tally: Tally, outside: int) -> list[Finding]:
    if not tally.surrounded:
        return []
    return [
        Finding(
            Code.UNDECIDED_VOXELS,
            f"{tally.surrounded:,} voxels with the outside's value {outside} have nothing but mask around them in their "
            "plane: holes of the mask, or grey values of its own; they were left outside",
            "--source with the original images tells them apart.",
            Severity.WARNING,
            measured=tally.surrounded,
            limit=0,
            unit="voxels",
        )
    ]
