"""Say what is to be known of the labels of a case: what has none, what lacks, what is doubled, what overlaps.

Rules:
- Masks and labels are called by name, voxels are counted; a refusal says what to write into labels.toml.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...volume.merge import Overlap
from .label_map import LabelRule


def note_unmatched(names: Sequence[str]) -> Finding:
    """Make the warning about masks that match no label."""
    return Finding(
        Code.MASK_UNMATCHED,
        f"{_masks(names)} no label of labels.toml",
        "Write the name to the names of a label, or to [ignore] where it is to be left out.",
        Severity.WARNING,
        where=tuple(names),
    )


def note_ignored(names: Sequence[str]) -> Finding:
    """Make the note about masks that are left out on purpose."""
    listed = ", ".join(f"“{name}”" for name in names)
    return Finding(
        Code.MASK_IGNORED, f"left out, as [ignore] says: {listed}", severity=Severity.INFO, where=tuple(names)
    )


def note_missing(label: LabelRule, why: str) -> Finding:
    """Make the warning about a required label that the case lacks."""
    return Finding(
        Code.LABEL_MISSING,
        f"the label “{label.name}” is required, and {why}",
        "Look for it under another name; required = false lets a case lack it.",
        Severity.WARNING,
        where=(label.name,),
    )


def note_doubled(label: LabelRule, names: Sequence[str], differing: int) -> Finding:
    """Make the finding about several masks of one label.

    Args:
        label: that they match.
        names: of the masks.
        differing: voxels that some of them have and others have not.

    Returns: a note where they are the same, a warning where the label joins them.

    Raises: PipelineError LABEL_DOUBLED where they differ, and the label does not join them.
    """
    listed = " and ".join(f"“{name}”" for name in names)
    finding = Finding(
        Code.LABEL_DOUBLED,
        f"{listed} match the label “{label.name}”, and differ in {differing:,} voxels",
        "Give them labels of their own, put one into [ignore], or set join = true to have them together.",
        where=(label.name, *names),
        measured=differing,
        limit=0,
        unit="voxels",
    )
    if differing and not label.join:
        raise PipelineError(finding)
    if differing:
        words = f"{listed} match the label “{label.name}” and were joined; they differ in {differing:,} voxels"
        return replace(finding, message=words, hint="", severity=Severity.WARNING)
    words = f"{listed} match the label “{label.name}”, and are the same voxel for voxel"
    return replace(finding, message=words, hint="", severity=Severity.INFO)


def note_outside(label: LabelRule, outside: int, total: int) -> Finding:
    """Make the warning about voxels of a region outside of the one around it.

    Args:
        label: the inner region.
        outside: its voxels outside of the outer one.
        total: all of its voxels.

    Returns: the warning.
    """
    return Finding(
        Code.OUTSIDE_REGION,
        f"{outside:,} of {total:,} voxels of “{label.name}” lie outside of “{label.inside}”, which it is inside of",
        "Look at both masks. In the label map these voxels belong to both.",
        Severity.WARNING,
        where=(label.name, label.inside),
        measured=outside,
        limit=0,
        unit="voxels",
    )


def overlap_refusal(overlaps: Sequence[Overlap]) -> PipelineError:
    """Make the refusal of labels that share voxels."""
    worst = max(overlaps, key=lambda o: o.voxels)
    listed = "; ".join(f"“{o.first.name}” and “{o.second.name}”: {o.voxels:,}" for o in overlaps)
    return refuse(
        Code.SEGMENTS_OVERLAP,
        f"labels share voxels, and labels.toml refuses that ({listed})",
        "Set overlap = “order”: the label that stands first gets them; or “regions”, where one is inside of the other.",
        where=(worst.first.name, worst.second.name),
        measured=worst.voxels,
        limit=0,
        unit="voxels",
    )


def _masks(names: Sequence[str]) -> str:
    listed = ", ".join(f"“{name}”" for name in names)
    return f"the mask {listed} matches" if len(names) == 1 else f"{len(names)} masks ({listed}) match"
