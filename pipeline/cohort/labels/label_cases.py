"""Apply a label map to the masks of one case: one label map of all of them, or one mask a label.

Rules:
- Every ROI and segment of the case is accounted for: it has a label, is ignored on purpose, or is reported as unmatched.
- Several masks of one label are one where they are equal voxel for voxel, or where the label joins them; else they are refused.
- A voxel that several labels claim goes to the one on top, with a warning that counts them; or the case is refused; or they
  are regions, where the innermost label has it, and voxels of an inner region outside of its outer one are counted.
- A result with a finding of `INCOMPLETE_CODES` makes the case INCOMPLETE. What lacks a voxel is known once all were read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from ...conversion.merge_products import combine_products, masks_of, origin_of
from ...conversion.product import Product
from ...core.findings import Code, Finding
from ...volume.mask import Array, MaskVolume, Segment, Voxels
from ...volume.merge import SegmentLabels, find_overlaps, note_overlap, paint, refuse_other_grids
from .case_masks import CaseMask, Publish, as_it_is, list_masks
from .label_findings import (
    note_doubled,
    note_ignored,
    note_missing,
    note_outside,
    note_unmatched,
    overlap_refusal,
)
from .label_map import LabelMap, LabelRule

INCOMPLETE_CODES = frozenset({Code.MASK_UNMATCHED, Code.LABEL_MISSING, Code.OUTSIDE_REGION, Code.CHANNEL_MISSING})


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCase:
    """What a label map made of a case.

    products: the label map, or a mask for each label with its name; none where no mask has a label. masks: every one of the
    case. findings: about labels; those that concern a product stand in it too.
    """

    products: tuple[Product, ...]
    masks: tuple[CaseMask, ...]
    findings: tuple[Finding, ...]


def apply(
    products: Sequence[Product],
    label_map: LabelMap,
    clean: Callable[[str], str] = str,
    publish: Publish = as_it_is,
) -> LabelledCase:
    """Make one label map of the masks of a case.

    Args:
        products: masks on one grid.
        label_map: what they become.
        clean: takes identifiers of patients out of a name, see `list_masks`.
        publish: gives a product the names that may be written.

    Returns: the case; its one product has the values, names and colours of the label map, and voxels that are painted when
        they are read.

    Raises: PipelineError BAD_LABELS where a mask fits two labels, NOT_A_MASK, GRID_DIFFERS, LABEL_DOUBLED, and
        SEGMENTS_OVERLAP where the label map refuses overlaps.
    """
    case = _CaseLabels.of(products, label_map, clean, publish)
    findings = [*case.findings(), *case.overlap_findings()]
    if not case.used:
        return LabelledCase((), case.masks, tuple(findings))
    painted = [case.segments[label.value] for label in label_map.painted if label.value in case.segments]
    pending = _PendingLabels(label_map, case)
    voxels = pending.watch(paint(case.volumes, case.labels, painted))
    segments = tuple(sorted(painted, key=lambda segment: segment.number))
    mask = MaskVolume(voxels, case.volumes[0].grid, segments, "labels")
    made = combine_products([*case.used.values()], mask, findings, case.record(label_map.labels))
    return LabelledCase((replace(made, suffix="", late=pending.findings),), case.masks, tuple(findings))


def separate(
    products: Sequence[Product],
    label_map: LabelMap,
    clean: Callable[[str], str] = str,
    publish: Publish = as_it_is,
) -> LabelledCase:
    """Make one mask of the value 1 for each label of a case, named by it.

    Args:
        products: masks on one grid.
        label_map: what they become.
        clean: takes identifiers of patients out of a name, see `list_masks`.
        publish: gives a product the names that may be written.

    Returns: the case, its products in the order of the label map. They may share voxels.

    Raises: PipelineError as `apply`, but for overlaps.
    """
    case = _CaseLabels.of(products, label_map, clean, publish)
    findings = case.findings()
    made = [case.alone(label) for label in label_map.labels if label.value in case.segments]
    return LabelledCase(tuple(made), case.masks, tuple(findings))


@dataclass(frozen=True, slots=True, eq=False)
class _CaseLabels:
    """The masks of a case and their labels.

    used: the products with a mask that has a label, by their index. volumes: their masks. members: (volume, value there) of every mask of a
    label, by the label's value. segments: what each label is in the label map, by value.
    """

    label_map: LabelMap
    masks: tuple[CaseMask, ...]
    used: Mapping[int, Product]
    volumes: tuple[MaskVolume, ...]
    members: Mapping[int, list[tuple[int, int]]]
    segments: Mapping[int, Segment]
    counts: _Counts

    @classmethod
    def of(
        cls, products: Sequence[Product], label_map: LabelMap, clean: Callable[[str], str], publish: Publish
    ) -> _CaseLabels:
        """Match the masks, and look at the voxels of labels that several masks have and of regions."""
        masks = list_masks(products, label_map, clean, publish)
        indices = sorted({mask.product for mask in masks if mask.match.label is not None})
        used = {n: products[n] for n in indices}
        volumes = tuple(masks_of([*used.values()]))
        if volumes:
            refuse_other_grids(volumes)
        members: dict[int, list[tuple[int, int]]] = {}
        for mask in masks:
            if mask.match.label is not None:
                members.setdefault(mask.match.label.value, []).append((indices.index(mask.product), mask.value))
        segments = {v: _segment(label_map, v, volumes, at) for v, at in members.items()}
        by_name = {label.name: label.value for label in label_map.labels}
        nested = {label.value: by_name[label.inside] for label in label_map.labels if label.inside}
        return cls(label_map, masks, used, volumes, members, segments, _count(volumes, members, nested))

    @property
    def labels(self) -> SegmentLabels:
        """What each mask becomes."""
        return {at: self.segments[value] for value, members in self.members.items() for at in members}

    def names(self, way: str) -> list[str]:
        """The masks that were found in a way, by name, each once."""
        return [*dict.fromkeys(mask.name for mask in self.masks if mask.match.way == way)]

    def public_names(self, way: str) -> list[str]:
        """The same by their public names."""
        return [*dict.fromkeys(mask.public for mask in self.masks if mask.match.way == way)]

    def missing(self) -> list[LabelRule]:
        """The required labels without a mask."""
        return [label for label in self.label_map.labels if label.required and label.value not in self.members]

    def findings(self) -> list[Finding]:
        """What is to be known of the labels. Raises LABEL_DOUBLED."""
        found = [note_unmatched(self.names(""))] if self.names("") else []
        found += [note_ignored(self.names("ignored"))] if self.names("ignored") else []
        found += [note_missing(label, "no mask of the case matches it") for label in self.missing()]
        for label in self.label_map.labels:
            if len(self.members.get(label.value, ())) > 1:
                names = [mask.name for mask in self.masks if mask.match.label == label]
                found.append(note_doubled(label, names, self.counts.differing[label.value]))
            if outside := self.counts.outside.get(label.value, 0):
                found.append(note_outside(label, outside, self.counts.total[label.value]))
        return found

    def overlap_findings(self) -> list[Finding]:
        """A warning for every two labels that share voxels, unless one is a region of the other. Raises SEGMENTS_OVERLAP."""
        overlaps = find_overlaps(self.volumes, self.labels)
        if self.label_map.overlap == "refuse" and overlaps:
            raise overlap_refusal(overlaps)
        region = {label.value: self.label_map.values_of(label) for label in self.label_map.labels}
        ranks = {label.value: rank for rank, label in enumerate(reversed(self.label_map.painted))}
        apart = [
            o
            for o in overlaps
            if o.first.number not in region[o.second.number] and o.second.number not in region[o.first.number]
        ]
        return [note_overlap(overlap, ranks) for overlap in apart]

    def alone(self, label: LabelRule) -> Product:
        """The mask of one label, with the value 1."""
        segment = replace(self.segments[label.value], number=1)
        members = self.members[label.value]
        voxels = paint(self.volumes, dict.fromkeys(members, segment), [segment])
        mask = MaskVolume(voxels, self.volumes[0].grid, (segment,), label.name)
        every = [*self.used.values()]
        own = [every[n] for n in dict.fromkeys(n for n, _ in members)]
        extra = {**(own[0].extra if len(own) == 1 else {}), **self.record([label], value=1)}
        found = [f for f in self.findings() if label.name in f.where]
        return replace(combine_products(own, mask, found, extra), suffix="")

    def record(self, labels: Sequence[LabelRule], value: int | None = None) -> dict[str, Any]:
        """The blocks of the record of some labels. value: that they have in the file, where it is another."""
        merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        for mask in self.masks:
            label = mask.match.label
            if label is None or label not in labels:
                continue
            origin = origin_of(self.used[mask.product])
            key = (origin.uid, origin.number, origin.description, origin.folder)
            found = {"FromNumber": mask.number, "FromName": mask.public, "FoundBy": mask.match.way}
            of_series = merged.setdefault(key, _series_block(*key))
            of_series["Labels"].append({"Value": value or label.value, "Name": label.name, **found})
        sources = {str(product.extra.get("SourceSeriesInstanceUID", "")) for product in self.used.values()}
        source = next(iter(sources)) if len(sources) == 1 else ""
        label_map = {
            "SHA256": self.label_map.sha256,
            "Overlap": self.label_map.overlap,
            "Unmatched": self.public_names(""),
            "Ignored": self.public_names("ignored"),
            "Missing": [label.name for label in self.missing()],
        }
        blocks = {"MergedFrom": [*merged.values()], "LabelMap": label_map}
        return blocks | ({"SourceSeriesInstanceUID": source} if source else {})


class _Counts(NamedTuple):
    """Voxels by value of the label. differing: that not all masks of a label share. outside: of the region around it."""

    differing: dict[int, int]
    outside: dict[int, int]
    total: dict[int, int]


def _count(
    volumes: Sequence[MaskVolume], members: Mapping[int, Sequence[tuple[int, int]]], nested: Mapping[int, int]
) -> _Counts:
    """Count, in one walk through the planes, what is to be known of doubled labels and of regions. nested: inner to outer."""
    doubled = [value for value, at in members.items() if len(at) > 1]
    inner = [value for value in nested if value in members]
    counts = _Counts(dict.fromkeys(doubled, 0), dict.fromkeys(inner, 0), dict.fromkeys(inner, 0))
    concerned = {*doubled, *inner, *(nested[value] for value in inner)}
    needed = sorted({n for value in concerned for n, _ in members.get(value, ())})
    for k in range(volumes[0].voxels.shape[2] if needed else 0):
        planes = {n: volumes[n].voxels.plane(k) for n in needed if not volumes[n].voxels.is_empty(k)}
        if not planes:
            continue
        nothing = np.zeros(next(iter(planes.values())).shape, np.bool_)
        masks = {
            v: [planes[n] == old if n in planes else nothing for n, old in members.get(v, ())] or [nothing]
            for v in concerned
        }
        union = {value: reduce(np.logical_or, of_label) for value, of_label in masks.items()}
        for value in doubled:
            common = reduce(np.logical_and, masks[value])
            counts.differing[value] += int(np.count_nonzero(union[value] & ~common))
        for value in inner:
            counts.outside[value] += int(np.count_nonzero(union[value] & ~union[nested[value]]))
            counts.total[value] += int(np.count_nonzero(union[value]))
    return counts


class _PendingLabels:
    """The required labels of which no voxel has been seen yet, while the planes of a label map go by."""

    def __init__(self, label_map: LabelMap, case: _CaseLabels) -> None:
        self._labels = [label for label in label_map.labels if label.required and label.value in case.segments]
        self._region = {label.value: set(label_map.values_of(label)) for label in self._labels}
        self._unseen = {value for region in self._region.values() for value in region}

    def watch(self, voxels: Voxels) -> Voxels:
        """Return the same voxels, each plane of which is looked at when it is read."""

        def plane(k: int) -> Array:
            values = voxels.plane(k)
            self._unseen -= {value for value in self._unseen if (values == value).any()}
            return values

        return replace(voxels, plane=plane)

    def findings(self) -> list[Finding]:
        """A warning for every required label without a voxel in what was read."""
        empty = [label for label in self._labels if self._region[label.value] <= self._unseen]
        return [
            note_missing(label, "it has no voxel in the label map: its mask is empty, or lies below others")
            for label in empty
        ]


def _segment(
    label_map: LabelMap, value: int, volumes: Sequence[MaskVolume], members: Sequence[tuple[int, int]]
) -> Segment:
    """The segment of a label: its own name and colour, and what its mask says of it where there is just one."""
    label = next(label for label in label_map.labels if label.value == value)
    if len(members) > 1:
        return Segment(value, label.name, label.colour)
    n, old = members[0]
    own = next(segment for segment in volumes[n].segments if segment.number == old)
    return replace(own, number=value, name=label.name, colour=label.colour, source_value=None)


def _series_block(uid: str, number: int | None, description: str, folder: str) -> dict[str, Any]:
    return {
        "SeriesInstanceUID": uid or None,
        "SeriesNumber": number,
        "SeriesDescription": description or None,
        "Folder": folder,
        "Labels": [],
    }
