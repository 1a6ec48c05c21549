"""Merge several masks on one grid into one mask of several labels.

Rules:
- Every segment of every mask becomes one label, numbered from 1 in the order the masks come in. No two labels have one
  name: those that would have are called by the folder of their series too, else by its number, else they are refused.
- A voxel that two labels claim is an overlap. It is refused, with its size, unless an order says who gets it: the label
  named first lies on top, and every overlap is reported all the same.
- The grids must be one grid, at the corners.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..geometry.affine import corner_distance
from .mask import Array, Mask, Segment, Voxels, smallest_unsigned


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a mask comes from.

    uid, number, description: of its series. folder: the name of the folder of the series.
    file: the name of its file without ending, where it is one file.
    """

    uid: str = ""
    number: int | None = None
    description: str = ""
    folder: str = ""
    file: str = ""

    @property
    def names(self) -> set[str]:
        """The names by which an order may call it."""
        number = "" if self.number is None else str(self.number)
        return {self.uid, number, self.folder, self.file} - {""}

    def __str__(self) -> str:
        series = [] if self.number is None else [f"series {self.number}"]
        return ", ".join([*([self.folder] if self.folder else []), *series])


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two labels of the merged mask that share voxels; numbers in ascending order."""

    first: Segment
    second: Segment
    voxels: int


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """A merged mask. overlaps: those that the order settled. findings: a warning for each of them.

    source: for each label, the index of the mask it comes from.
    """

    mask: Mask
    overlaps: tuple[Overlap, ...]
    findings: tuple[Finding, ...]
    source: tuple[int, ...]


def merge(
    masks: Sequence[Mask],
    *,
    origins: Sequence[Origin] = (),
    order: Sequence[str] = (),
    limit_mm: float = 1e-3,
    name: str = "",
) -> Merged:
    """Merge masks into one that has all their labels.

    Args:
        masks: on one grid; their order numbers the labels.
        origins: where each mask comes from, for names that repeat and for the order; empty where it is not known.
        order: names of labels, or of series (see `Origin.names`), the one that lies on top first.
        limit_mm: how far the corners of the grids may lie apart.
        name: of the merged mask.

    Returns:
        The mask, whose planes are merged when they are read, and the overlaps that the order settled.

    Raises:
        GRID_DIFFERS: the masks are not on one grid.
        SEGMENTS_OVERLAP: labels share voxels, and the order does not say which is on top.
        BAD_LABELS: the order names no label, or several by one name; or nothing tells labels of one name apart.
    """
    _refuse_other_grids(masks, limit_mm)
    origins = origins or [Origin()] * len(masks)
    merged, old = _renumber(masks)
    label_origins = [origins[old[segment.number][0]] for segment in merged]
    merged = _name_distinctly(merged, label_origins)
    ranks = _rank(merged, label_origins, order)
    overlaps = _find_overlaps(masks, merged, old)
    # Labels of one series that the order names together have one rank: it does not say which of them is on top.
    unsettled = [o for o in overlaps if ranks.get(o.first.number) == ranks.get(o.second.number)]
    if unsettled:
        raise _overlap_refusal(unsettled, bool(order))
    # They are painted from the bottom: labels without a rank first, the first of the order last.
    painted = sorted(merged, key=lambda s: -ranks.get(s.number, len(merged)))
    dtype = smallest_unsigned(len(merged))

    def plane(k: int) -> Array:
        planes = [mask.voxels.plane(k) for mask in masks]
        out = np.zeros(planes[0].shape, dtype)
        for segment in painted:
            n, number = old[segment.number]
            out[planes[n] == number] = segment.number
        return out

    voxels = Voxels(masks[0].voxels.shape, dtype, plane, lambda k: all(mask.voxels.is_empty(k) for mask in masks))
    findings = tuple(_overlap_finding(o, ranks) for o in overlaps)
    source = tuple(old[segment.number][0] for segment in merged)
    return Merged(Mask(voxels, masks[0].grid, tuple(merged), name), tuple(overlaps), findings, source)


def _renumber(masks: Sequence[Mask]) -> tuple[list[Segment], dict[int, tuple[int, int]]]:
    """Number the segments of all masks anew; and find for each new number the mask and the number there."""
    merged: list[Segment] = []
    old: dict[int, tuple[int, int]] = {}
    for n, mask in enumerate(masks):
        for segment in mask.segments:
            title = mask.name if len(mask.segments) == 1 and mask.name else segment.name
            merged.append(replace(segment, number=len(merged) + 1, name=title))
            old[len(merged)] = (n, segment.number)
    return merged, old


def _name_distinctly(merged: Sequence[Segment], origins: Sequence[Origin]) -> list[Segment]:
    """Call segments of one name by their origin too. Raises BAD_LABELS where that does not tell them apart."""
    count = Counter(segment.name for segment in merged)
    made = list(merged)
    for name in (name for name, times in count.items() if times > 1):
        alike = [n for n, segment in enumerate(merged) if segment.name == name]
        ways = (
            [origins[n].folder for n in alike],
            ["" if origins[n].number is None else f"series {origins[n].number}" for n in alike],
            [str(origins[n]) for n in alike],
        )
        distinct = next((way for way in ways if all(way) and len(set(way)) == len(way)), None)
        names = [f"{name} ({which})" for which in distinct or ()]
        if not names or set(names) & set(count):
            raise refuse(
                Code.BAD_LABELS,
                f"{len(alike)} labels are called “{name}”, and neither the folder nor the number of their series tells them apart",
                "Put each into a folder of its own; or leave --merge out for one file each.",
                where=(name,),
            )
        for n, longer in zip(alike, names, strict=True):
            made[n] = replace(merged[n], name=longer)
    return made


def _rank(merged: Sequence[Segment], origins: Sequence[Origin], order: Sequence[str]) -> dict[int, int]:
    """Find the place in the order of each new number. A name of a series stands for all its labels."""
    ranks: dict[int, int] = {}
    for rank, name in enumerate(order):
        found = _labels_called(name, merged, origins)
        ambiguous = len({origins[number - 1] for number in found}) > 1
        if not found or ambiguous or ranks.keys() & found:
            problem = ", and there is none" if not found else ", and several are called so" if ambiguous else " twice"
            raise refuse(
                Code.BAD_LABELS,
                f"the order names “{name}”{problem}",
                "Name a label; or a series by its UID, number, folder or file. The labels are:\n"
                + "\n".join(
                    f"  {s.name}  ({origin})".removesuffix("  ()") for s, origin in zip(merged, origins, strict=True)
                ),
                where=(name,),
            )
        ranks |= dict.fromkeys(found, rank)
    return ranks


def _labels_called(name: str, merged: Sequence[Segment], origins: Sequence[Origin]) -> set[int]:
    """The numbers of the labels that a name in the order stands for."""
    labels = {s.number for s in merged if s.name == name}
    series = {s.number for s, origin in zip(merged, origins, strict=True) if name in origin.names}
    return labels if labels and labels <= series else labels | series


def _find_overlaps(masks: Sequence[Mask], merged: Sequence[Segment], old: dict[int, tuple[int, int]]) -> list[Overlap]:
    """Find every pair of labels that share voxels. Only voxels that two masks claim are looked at."""
    counts: dict[tuple[int, int], int] = {}
    new = {at: number for number, at in old.items()}
    for k in range(masks[0].voxels.shape[2]):
        if sum(not mask.voxels.is_empty(k) for mask in masks) < 2:
            continue
        planes = [mask.voxels.plane(k) for mask in masks]
        shared = sum((p > 0).astype(np.uint16) for p in planes) > 1
        if not np.any(shared):
            continue
        claims = [p[shared] for p in planes]
        for a, b in combinations(range(len(claims)), 2):
            both = (claims[a] > 0) & (claims[b] > 0)
            pairs, times = np.unique(np.stack([claims[a][both], claims[b][both]]), axis=1, return_counts=True)
            for (x, y), count in zip(pairs.T, times, strict=True):
                pair = (new[a, int(x)], new[b, int(y)])
                counts[pair] = counts.get(pair, 0) + int(count)
    return [Overlap(merged[a - 1], merged[b - 1], count) for (a, b), count in sorted(counts.items())]


def _overlap_finding(overlap: Overlap, ranks: dict[int, int]) -> Finding:
    """The warning about an overlap that the order settled."""
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


def _overlap_refusal(overlaps: Sequence[Overlap], ordered: bool) -> PipelineError:
    """The refusal of overlaps that nothing settles. ordered: whether there was an order at all."""
    worst = max(overlaps, key=lambda o: o.voxels)
    listed = "; ".join(f"“{o.first.name}” and “{o.second.name}”: {o.voxels:,}" for o in overlaps)
    return refuse(
        Code.SEGMENTS_OVERLAP,
        f"labels share voxels, and one file can give a voxel to one label only ({listed})",
        ("The order does not say which of them is on top. " if ordered else "")
        + f"Say who gets the voxels, the one on top first: --order {worst.first.name},{worst.second.name}; or leave "
        "--merge out for one file each.",
        where=(worst.first.name, worst.second.name),
        measured=worst.voxels,
        limit=0,
        unit="voxels",
    )


def _refuse_other_grids(masks: Sequence[Mask], limit_mm: float) -> None:
    """Refuse masks that do not lie on the grid of the first one, at the corners. Raises GRID_DIFFERS."""
    first = masks[0].grid
    for mask in masks[1:]:
        same_size = mask.grid.shape == first.shape
        apart = corner_distance(mask.grid.lps, first.lps, first.shape) if same_size else float("inf")
        if apart > limit_mm:
            how = "has another size" if apart == float("inf") else f"lies up to {apart:.4g} mm elsewhere"
            raise refuse(
                Code.GRID_DIFFERS,
                f"the mask “{mask.name}” {how} than “{masks[0].name}”: they cannot be one file",
                "Only masks of one image set can be merged; leave --merge out for one file each.",
                where=(mask.name, masks[0].name),
            )
