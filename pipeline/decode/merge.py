"""Several masks on one grid as one mask of several labels.

Rules:
- Every segment of every mask becomes one label, numbered from 1 in the order the masks come in.
- A voxel that two labels claim is an overlap. It is refused, with its size, unless an order says who gets it: the label
  named first lies on top, and every overlap is reported all the same.
- The grids must be one grid, at the corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.geometry import corner_indices
from pipeline.mask import Array, Mask, Segment, Voxels, smallest_unsigned


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two labels of the merged mask that share voxels; numbers in ascending order."""

    first: Segment
    second: Segment
    voxels: int


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """The merged mask, every overlap that was settled by the order, and the findings that say so."""

    mask: Mask
    overlaps: tuple[Overlap, ...]
    findings: tuple[Finding, ...]


def merge(masks: Sequence[Mask], *, order: Sequence[str] = (), limit_mm: float = 1e-3, name: str = "") -> Merged:
    """One mask of all labels. order: names of labels, the one that lies on top first.

    Raises GRID_DIFFERS, SEGMENTS_OVERLAP, and BAD_LABELS for an order that names no label, or several by one name.
    """
    _refuse_other_grids(masks, limit_mm)
    merged, old = _renumbered(masks)
    ranks = _ranks(merged, order)
    overlaps = _overlaps(masks, merged, old)
    open_ = [o for o in overlaps if o.first.number not in ranks and o.second.number not in ranks]
    if open_:
        raise _refused(open_, bool(order))
    # Painted from the bottom: labels without a rank first, the first of the order last.
    painted = sorted(merged, key=lambda s: -ranks.get(s.number, len(merged)))
    dtype = smallest_unsigned(len(merged))

    def plane(k: int) -> Array:
        planes = [mask.voxels.plane(k) for mask in masks]
        out = np.zeros(planes[0].shape, dtype)
        for segment in painted:
            n, number = old[segment.number]
            out[planes[n] == number] = segment.number
        return out

    voxels = Voxels(masks[0].voxels.shape, dtype, plane)
    findings = tuple(_said(o, ranks) for o in overlaps)
    return Merged(Mask(voxels, masks[0].grid, tuple(merged), name), tuple(overlaps), findings)


def _renumbered(masks: Sequence[Mask]) -> tuple[list[Segment], dict[int, tuple[int, int]]]:
    """The segments of the merged mask; and for each new number, the mask and the number there."""
    merged: list[Segment] = []
    old: dict[int, tuple[int, int]] = {}
    for n, mask in enumerate(masks):
        for segment in mask.segments:
            title = mask.name if len(mask.segments) == 1 and mask.name else segment.name
            merged.append(replace(segment, number=len(merged) + 1, name=title))
            old[len(merged)] = (n, segment.number)
    return merged, old


def _ranks(merged: Sequence[Segment], order: Sequence[str]) -> dict[int, int]:
    """New number to its place in the order."""
    ranks: dict[int, int] = {}
    for rank, name in enumerate(order):
        found = [s.number for s in merged if s.name == name]
        if len(found) != 1 or found[0] in ranks:
            said = "none" if not found else f"{len(found)}" if len(found) > 1 else "it twice"
            raise refuse(
                Code.BAD_LABELS,
                f"the order names “{name}”, and there is {said}",
                "The labels are: " + ", ".join(s.name for s in merged),
            )
        ranks[found[0]] = rank
    return ranks


def _overlaps(masks: Sequence[Mask], merged: Sequence[Segment], old: dict[int, tuple[int, int]]) -> list[Overlap]:
    """Every pair of labels that share voxels; only voxels that two masks claim are looked at."""
    counts: dict[tuple[int, int], int] = {}
    new = {at: number for number, at in old.items()}
    for k in range(masks[0].voxels.shape[2]):
        planes = [mask.voxels.plane(k) for mask in masks]
        shared = sum((p > 0).astype(np.uint16) for p in planes) > 1
        if not np.any(shared):
            continue
        claims = [p[shared] for p in planes]
        for a in range(len(claims)):
            for b in range(a + 1, len(claims)):
                both = (claims[a] > 0) & (claims[b] > 0)
                pairs, times = np.unique(np.stack([claims[a][both], claims[b][both]]), axis=1, return_counts=True)
                for (x, y), count in zip(pairs.T, times, strict=True):
                    pair = (new[a, int(x)], new[b, int(y)])
                    counts[pair] = counts.get(pair, 0) + int(count)
    return [Overlap(merged[a - 1], merged[b - 1], count) for (a, b), count in sorted(counts.items())]


def _said(overlap: Overlap, ranks: dict[int, int]) -> Finding:
    winner = min((overlap.first, overlap.second), key=lambda s: ranks.get(s.number, len(ranks) + 1))
    return Finding(
        Code.MASKS_MERGED,
        f"“{overlap.first.name}” and “{overlap.second.name}” share {overlap.voxels:,} voxels; they are "
        f"“{winner.name}”, which the order puts on top",
        severity=Severity.WARNING,
        measured=overlap.voxels,
        limit=0,
        unit="voxels",
    )


def _refused(overlaps: Sequence[Overlap], ordered: bool) -> PipelineError:
    worst = max(overlaps, key=lambda o: o.voxels)
    listed = "; ".join(f"“{o.first.name}” and “{o.second.name}”: {o.voxels:,}" for o in overlaps)
    return refuse(
        Code.SEGMENTS_OVERLAP,
        f"labels share voxels, and one file can give a voxel to one label only ({listed})",
        ("The order names neither of them. " if ordered else "")
        + f"Say who gets the voxels, the one on top first: --order {worst.first.name},{worst.second.name}; or leave "
        "--merge out for one file each.",
        where=(worst.first.name, worst.second.name),
        measured=worst.voxels,
        limit=0,
        unit="voxels",
    )


def _refuse_other_grids(masks: Sequence[Mask], limit_mm: float) -> None:
    first = masks[0].grid
    corners = corner_indices(first.shape)
    for mask in masks[1:]:
        apart = float("inf")
        if mask.grid.shape == first.shape:
            off = (mask.grid.lps - first.lps) @ np.column_stack([corners, np.ones(len(corners))]).T
            apart = float(np.linalg.norm(off[:3], axis=0).max())
        if apart > limit_mm:
            how = "has another size" if apart == float("inf") else f"lies up to {apart:.4g} mm elsewhere"
            raise refuse(
                Code.GRID_DIFFERS,
                f"the mask “{mask.name}” {how} than “{masks[0].name}”: they cannot be one file",
                "Only masks of one image set can be merged; leave --merge out for one file each.",
                where=(mask.name, masks[0].name),
            )
