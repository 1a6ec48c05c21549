"""Merge several masks on one grid into one mask of several labels.

Rules:
- Every segment of every mask becomes one label, numbered from 1 in the order the masks come in. No two labels have one
  name: those that would have are called by the folder of their series too, else by its number, else they are refused.
- A voxel that two labels claim is an overlap. It is refused, with its size, unless an order says who gets it: the label
  named first lies on top, and every overlap is reported all the same.
- The grids must be one grid, at the corners.
- Whoever has labels of his own, as a cohort has, says which segment of which mask becomes which of them (`SegmentLabels`): several
  may become one, and what becomes none is background.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.limits import SAME_PLACE_MM
from ..core.plain_text import escape_controls
from ..geometry.affine import corner_distance
from .mask import Array, MaskVolume, Segment, Voxels, has_bits, smallest_unsigned

# What a segment becomes, by the index of its mask and its number there.
SegmentLabels = Mapping[tuple[int, int], Segment]


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

    mask: MaskVolume
    overlaps: tuple[Overlap, ...]
    findings: tuple[Finding, ...]
    source: tuple[int, ...]


def merge(
    masks: Sequence[MaskVolume],
    *,
    origins: Sequence[Origin] = (),
    order: Sequence[str] = (),
    limit_mm: float = SAME_PLACE_MM,
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
    refuse_other_grids(masks, limit_mm)
    origins = origins or [Origin()] * len(masks)
    plain = _renumber(masks)
    source = tuple(n for n, _ in plain)
    label_origins = [origins[n] for n in source]
    merged = _name_distinctly([*plain.values()], label_origins)
    labels = dict(zip(plain, merged, strict=True))
    ranks = _rank(merged, label_origins, order)
    overlaps = find_overlaps(masks, labels)
    # Labels of one series that the order names together have one rank: it does not say which of them is on top.
    unsettled = [o for o in overlaps if ranks.get(o.first.number) == ranks.get(o.second.number)]
    if unsettled:
        raise _overlap_refusal(unsettled, bool(order))
    # They are painted from the bottom: labels without a rank first, the first of the order last.
    painted = sorted(merged, key=lambda s: -ranks.get(s.number, len(merged)))
    findings = tuple(note_overlap(o, ranks) for o in overlaps)
    made = MaskVolume(paint(masks, labels, painted), masks[0].grid, tuple(merged), name)
    return Merged(made, tuple(overlaps), findings, source)


def paint(masks: Sequence[MaskVolume], labels: SegmentLabels, painted: Sequence[Segment]) -> Voxels:
    """Paint labels one over the other, plane by plane, when the planes are read.

    Args:
        masks: on one grid.
        labels: what their segments become.
        painted: the labels from the bottom to the top; one that is not among them is left out.

    Returns: the voxels, of the smallest type that holds the labels.
    """
    dtype = smallest_unsigned(max((segment.number for segment in painted), default=1))
    place = {segment.number: at for at, segment in enumerate(painted)}
    steps = sorted((place[s.number], n, old, s.number) for (n, old), s in labels.items() if s.number in place)
    used = sorted({n for _, n, _, _ in steps})

    def plane(k: int) -> Array:
        planes = {n: masks[n].voxels.plane(k) for n in used}
        columns, rows, _ = masks[0].voxels.shape
        out = np.zeros((rows, columns), dtype)
        for _, n, old, new in steps:
            out[planes[n] == old] = new
        return out

    return Voxels(masks[0].voxels.shape, dtype, plane, lambda k: all(masks[n].voxels.is_empty(k) for n in used))


def _renumber(masks: Sequence[MaskVolume]) -> dict[tuple[int, int], Segment]:
    """Number the segments of all masks anew, in the order of the masks."""
    merged: dict[tuple[int, int], Segment] = {}
    for n, mask in enumerate(masks):
        for segment in mask.segments:
            merged[n, segment.number] = replace(segment, number=len(merged) + 1, name=name_of(mask, segment))
    return merged


def name_of(mask: MaskVolume, segment: Segment) -> str:
    """The name of a segment: a lone one is called as its mask is, if that has a name."""
    return mask.name if len(mask.segments) == 1 and mask.name else segment.name


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
                    escape_controls(f"  {s.name}  ({origin})".removesuffix("  ()"))
                    for s, origin in zip(merged, origins, strict=True)
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


def find_overlaps(masks: Sequence[MaskVolume], labels: SegmentLabels) -> list[Overlap]:
    """Find every pair of labels that share voxels. Only voxels that two masks claim are looked at.

    Args:
        masks: on one grid.
        labels: what their segments become.

    Returns: the pairs, by their numbers; a voxel that a label has from several masks counts once.
    """
    counts: Counter[tuple[int, int]] = Counter()
    by_number = {segment.number: segment for segment in labels.values()}
    for k in range(masks[0].voxels.shape[2] if masks else 0):
        planes = {n: mask.voxels.plane(k) for n, mask in enumerate(masks) if not mask.voxels.is_empty(k)}
        planes = {n: plane for n, plane in planes.items() if has_bits(plane)}
        if len(planes) < 2:
            continue
        shared = sum((plane > 0).astype(np.uint16) for plane in planes.values()) > 1
        if not np.any(shared):
            continue
        claims = _claims({n: plane[shared] for n, plane in planes.items()}, labels)
        for first, second in combinations(claims, 2):
            both = (first > 0) & (second > 0)
            if both.any():
                low, high = np.minimum(first[both], second[both]), np.maximum(first[both], second[both])
                pairs, times = np.unique(low.astype(np.uint64) << 32 | high, return_counts=True)
                for pair, count in zip(pairs.tolist(), times.tolist(), strict=True):
                    counts[pair >> 32, pair & 0xFFFFFFFF] += count
    return [Overlap(by_number[a], by_number[b], count) for (a, b), count in sorted(counts.items())]


def _claims(values: Mapping[int, Array], labels: SegmentLabels) -> list[Array]:
    """The labels that masks claim voxels for. values: of each mask, (n,). A label is claimed once for a voxel."""
    claims = {n: np.zeros(of_mask.shape, np.uint32) for n, of_mask in values.items()}
    for (n, old), segment in labels.items():
        if n in claims:
            claims[n][values[n] == old] = segment.number
    some = [claim for claim in claims.values() if claim.any()]
    if len({segment.number for segment in labels.values()}) < len(labels):  # several segments become one label
        for first, second in combinations(some, 2):
            second[second == first] = 0
    return some


def note_overlap(overlap: Overlap, ranks: Mapping[int, int]) -> Finding:
    """Make the warning about an overlap that an order settled. ranks: of the labels by number, 0 on top."""
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


def refuse_other_grids(masks: Sequence[MaskVolume], limit_mm: float = SAME_PLACE_MM) -> None:
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
