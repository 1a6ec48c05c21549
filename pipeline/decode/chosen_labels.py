"""Choose labels of decoded planes by name or value, or give every label a mask of its own.

Rules:
- A label keeps its value; voxels of labels that were not chosen become background.
- The labels left out are put back where a witness's values are compared, so that the chosen ones are still judged voxel
  by voxel: one voxel too many or too few differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..core.findings import Code, refuse
from ..core.plain_text import escape_controls
from ..volume.mask import Array, Physical, Segment, Voxels
from .image import Decoded

NamedMask = tuple[str, Decoded]  # a mask's name, "" for that of its series


def chosen(masks: Sequence[NamedMask], wanted: Sequence[str]) -> list[NamedMask]:
    """Return the masks with the wanted labels only, without masks that have none. Raises NO_SUCH_SEGMENT."""
    labels = [label for _, decoded in masks for label in decoded.segments or ()]
    taken: list[Segment] = []
    missing = []
    for name in wanted:
        matches = _find(labels, name)
        taken += matches
        missing += [] if matches else [name]
    if missing:
        listed = ", ".join(f"{s.number} “{escape_controls(s.name)}”" for s in labels)
        raise refuse(
            Code.NO_SUCH_SEGMENT,
            "there is no label " + ", ".join(f"“{name}”" for name in missing),
            f"Choose with --rois by name or value. There are: {listed or 'none'}",
            where=tuple(missing),
        )
    several = [(name, d, [s for s in d.segments or () if any(s is t for t in taken)]) for name, d in masks]
    return [(_name_of(name, d, kept), _keep_only(d, kept)) for name, d, kept in several if kept]


def separated(mask: NamedMask) -> list[NamedMask]:
    """Make one mask for each label, named by it; a mask of one label stays as it is."""
    name, decoded = mask
    labels = decoded.segments or ()
    return [(_name_of(name, decoded, [label]), _keep_only(decoded, [label])) for label in labels] or [mask]


def _find(labels: Sequence[Segment], wanted: str) -> list[Segment]:
    """Find labels by name; else by the value in the file; else by the value as stored."""
    for of in (lambda s: s.name, lambda s: str(s.number), lambda s: str(s.source_value)):
        matches = [label for label in labels if of(label) == wanted]
        if matches:
            return matches
    return []


def _name_of(name: str, decoded: Decoded, kept: Sequence[Segment]) -> str:
    return kept[0].name if len(kept) == 1 < len(decoded.segments or ()) else name


def _keep_only(decoded: Decoded, kept: Sequence[Segment]) -> Decoded:
    if len(kept) == len(decoded.segments or ()):
        return decoded
    numbers = np.array([s.number for s in kept], decoded.voxels.dtype)

    def plane(k: int) -> Array:
        labels = decoded.voxels.plane(k)
        return np.where(np.isin(labels, numbers), labels, labels.dtype.type(0))

    return replace(
        decoded,
        voxels=Voxels(decoded.voxels.shape, decoded.voxels.dtype, plane, decoded.voxels.is_empty),
        segments=tuple(kept),
        physical=None if decoded.physical is None else _with_the_rest(decoded.physical, decoded.voxels, numbers),
        stored_labels=tuple((stored, n if n in numbers else 0) for stored, n in decoded.stored_labels),
    )


def _with_the_rest(physical: Physical, voxels: Voxels, numbers: Array) -> Physical:
    """Return `physical` for masks of the chosen numbers only: the labels left out are as in the export."""

    def expected(n: int, found: Array) -> Array:
        labels = voxels.plane(n)
        return physical(n, np.where(found > 0, found, np.where(np.isin(labels, numbers), 0, labels)))

    return expected
