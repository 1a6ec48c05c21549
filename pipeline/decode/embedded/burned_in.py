"""Read a mask that is burned into its image: one constant value inside, the untouched image outside.

Rules:
- With the image itself (the same export with masks hidden, or the source), the voxels that differ are the mask. They
  must have nothing but a few constants, and those are the labels; anything else is refused.
- Where the image has the constant by itself the two look the same: `ambiguous_voxels` decides what becomes of these.
- Without the image, every voxel with exactly the value that was given is the mask. How many of them are the image's own
  cannot be known, and a warning says so.
- A constant with much of the planes' borders, or with most of all voxels, may as well be the outside of a masked
  original: it is refused until the user says which.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.findings import Code, Finding, Severity, refuse
from ...core.limits import FEW_VALUES
from ...volume.mask import Array, Segment, Voxels
from .ambiguous_voxels import Tally, Undecided, report_undecided, settle
from .image_difference import Split, compare, other_image
from .labelled import Labelled, Named, expect_values, label_values, number_segments, report_taken
from .value_table import measure_border_shares

# A mask of this part of the planes' borders is rare; the outside of a masked original has more.
_MOST_BORDER = 0.25
_NEAR = 3  # neighbouring values to either side, whose counts show how often the image itself has a value
_MOST_LISTED = 8  # values that a message names


def difference(
    shown: Voxels,
    image: Voxels,
    *,
    inside: Sequence[Named] = (),
    offset: int | None = 0,
    undecided: Undecided = "surrounded",
    name: str = "",
) -> Labelled:
    """Read the labels burned into an export, by comparing it with the image without them.

    Args:
        shown: stored values of the export.
        image: stored values of the image without masks; of the same size and in the same order.
        inside: the constants, where they are known or to be named; then nothing else may differ.
        offset: shown minus image outside of the mask; 0 for a clean export, None to find it (for a source), and then it
            is a finding.
        undecided: what becomes of voxels whose image has the constant by itself.
        name: of the mask, and of its label where there is only one.

    Returns:
        One mask with a label for each constant.

    Raises:
        PipelineError: EMPTY where nothing differs, OTHER_IMAGE, AMBIGUOUS_EXPORT, NO_SUCH_VALUE.
    """
    comparison = compare(shown, image)
    split = comparison.split(comparison.offset() if offset is None else offset)
    values = _find_constants(split, inside, f"all {shown.shape[2]} planes")
    if not inside:
        _refuse_inverted(split, measure_border_shares(shown))
    segments = number_segments(values, inside, name)
    shift = split.offset

    def not_mask(k: int, stored: Array) -> Array:
        return ~_inside(stored, image.plane(k), shift, values, undecided)[0]

    voxels = label_values(shown, segments, not_mask)
    tallies = [Tally() for _ in segments]
    counts = {s.number: 0 for s in segments}
    for k, stored in enumerate(shown):
        mask, of_plane = _inside(stored, image.plane(k), shift, values, undecided)
        tallies = [a + b for a, b in zip(tallies, of_plane, strict=True)]
        for s in segments:
            counts[s.number] += int(np.count_nonzero(mask & (stored == s.source_value)))
    findings = [
        report_taken(
            segments, counts, f"burned in: {split.differing:,} voxels differ, {split.same:,} are as in the image"
        ),
        *split.offset_findings(),
        *report_undecided(((_title(s), t) for s, t in zip(segments, tallies, strict=True)), undecided),
    ]
    return Labelled(voxels, segments, tuple(findings), name, expect_values(shown, segments), split.same_values)


def select(shown: Voxels, inside: Sequence[Named], *, image: bool = True, name: str = "") -> Labelled:
    """Take every voxel with exactly a named value, whether it is the mask's or the image's own.

    Args:
        shown: stored values of the export.
        inside: the values to take, with their names.
        image: whether the rest is an image, so that some of the voxels may be the image's own.
        name: of the mask, and of its label where there is only one.

    Returns:
        One mask with a label for each value.

    Raises:
        PipelineError: NO_SUCH_VALUE, BAD_LABELS.
    """
    values = [_grey_value(n) for n in inside]
    near = {v: 0 for value in values for v in range(value - _NEAR, value + _NEAR + 1)}
    for plane in shown:
        for value in near:
            near[value] += int(np.count_nonzero(plane == value))
    _refuse_missing([n for n in inside if not near[_grey_value(n)]], "no voxel of the export")
    segments = number_segments(values, inside, name)
    counts = {s.number: near[values[s.number - 1]] for s in segments}
    findings = [
        report_taken(segments, counts, "every voxel with a value that was given"),
        *(_own_voxels_finding(s, near, values) for s in segments if image),
    ]
    voxels = label_values(shown, segments, lambda k, stored: None)
    return Labelled(voxels, segments, tuple(findings), name, expect_values(shown, segments))


def _inside(
    stored: Array, image: Array, shift: int, values: Sequence[int], choice: Undecided
) -> tuple[Array, list[Tally]]:
    """Return (rows, columns) the mask of one plane, and the tally of each constant."""
    same = stored == image.astype(np.int64) + shift
    mask = ~same
    tallies = []
    for value in values:
        carries = stored == value
        settled, tally = settle(carries & same, carries & ~same, choice)
        mask |= settled
        tallies.append(tally)
    return mask, tallies


def _find_constants(split: Split, inside: Sequence[Named], where: str) -> list[int]:
    """Return the values that are labels, in the order named or ascending; everything that differs is one of them."""
    found = {c.value: c for c in split.constants}
    if not found:
        raise refuse(
            Code.EMPTY,
            "the export and the image without masks are the same, voxel for voxel",
            "Was the mask visible when it was exported? Are the two folders mixed up?",
            where=(where,),
        )
    if inside:
        values = [_grey_value(n) for n in inside]
        _refuse_missing([n for n in inside if n.value not in found], "no voxel that differs")
        others = [c for v, c in found.items() if v not in values]
        if others:
            listed = [f"{c.value} ({c.voxels:,} voxels)" for c in others[:_MOST_LISTED]]
            more = f"voxels that differ have {len(others)} more values than were given: {', '.join(listed)}"
            raise other_image(more, tuple(f"value {value}" for value in listed))
        return values
    if len(found) > FEW_VALUES:
        common = tuple(f"value {c.value} ({c.voxels:,} voxels)" for c in split.constants[:_MOST_LISTED])
        raise other_image(f"voxels that differ have {len(found):,} different values, not a few constants", common)
    # A label lies over many values of an image; a value that replaces a single one is a change of the image itself.
    shaded = [c for c in found.values() if c.beneath < 2]
    if len(found) > 1 and shaded:
        raise other_image(
            f"the value {shaded[0].value} stands for one single image value only; to take it as a label all the same, "
            "name every value with --labels",
            (f"value {shaded[0].value}",),
        )
    if split.same_values <= len(found):
        raise other_image(f"no more than {split.same_values} values of the image are left as they were", (where,))
    return sorted(found)


def _own_voxels_finding(segment: Segment, near: dict[int, int], values: Sequence[int]) -> Finding:
    """Warn that some voxels may be the image's own, with how often its neighbouring values occur."""
    value = segment.source_value or 0
    others = [near[v] for v in range(value - _NEAR, value + _NEAR + 1) if v not in values]
    usual = sum(others) / max(len(others), 1)
    return Finding(
        Code.UNDECIDED_VOXELS,
        f"how many voxels of {_title(segment)} are the image's own cannot be known; its neighbouring values occur "
        f"{usual:,.0f} times each",
        "With --clean (the same export, masks hidden) or --source they are told apart.",
        Severity.WARNING,
        measured=round(usual),
        limit=0,
        unit="voxels",
    )


def _refuse_inverted(split: Split, border: dict[int, float]) -> None:
    """Refuse a constant that may be the outside: only the user knows which of the two is the mask."""
    total = split.same + split.differing
    for constant in split.constants:
        value, share = constant.value, border.get(constant.value, 0)
        if share > _MOST_BORDER or 2 * constant.voxels > total:
            raise refuse(
                Code.AMBIGUOUS_EXPORT,
                f"of the voxels that differ, {constant.voxels:,} have the value {value}: {constant.voxels / total:.0%} of "
                f"the export, and the value has {share:.0%} of its planes' borders; it may be a burned-in mask or the "
                "outside of a masked original",
                f"Say which: --inside {value} if these voxels are the mask, --outside {value} if the others are.",
                where=(f"value {value}",),
            )


def _refuse_missing(missing: Sequence[Named], none: str) -> None:
    """Refuse values that do not occur. none: what has none of them, such as "no voxel"."""
    if missing:
        listed = [f"{n.value}" + (f" (“{n.name}”)" if n.name else "") for n in missing]
        raise refuse(
            Code.NO_SUCH_VALUE,
            f"{none} has the value {', '.join(listed)}",
            "--list-values shows the values that stand out.",
            where=tuple(f"value {value}" for value in listed),
        )


def _grey_value(named: Named) -> int:
    if not isinstance(named.value, int):
        raise refuse(
            Code.BAD_LABELS,
            f"“{named.name}” is given a colour, but the export has grey values",
            "Give the grey value of each label; --list-values helps to find it.",
            where=(f"{named.name}={named.value}",),
        )
    return named.value


def _title(segment: Segment) -> str:
    return f"“{segment.name}” ({segment.source_value})"
