"""Write the names of labels as the tables of a data set have them.

Rules:
- The labels of the user's settings hold for every case, those it lacks too; without them, a case has its rows' own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from ...core.plain_text import escape_bytes
from ...volume.label_table import dseg_tsv
from ...volume.mask import Segment
from ..case import CaseResult
from .layout import DatasetLabel, LayoutSettings


def labels_of(settings: LayoutSettings, results: Iterable[CaseResult]) -> tuple[DatasetLabel, ...]:
    """The labels of the settings, in their order; without them those that the rows of the results name, by value."""
    if settings.labels:
        return settings.labels
    found = {
        (int(row["label"]), row.get("mask", ""))
        for result in results
        for row in result.rows
        if row.get("role") == "mask" and row.get("label", "").isdecimal() and row.get("output")
    }
    return tuple(DatasetLabel(name, value) for value, name in sorted(found) if value)


def dseg_tsv_of_case(label_map: str, settings: LayoutSettings, result: CaseResult) -> dict[str, str]:
    """Write the table of label names of one case.

    Args:
        label_map: its path, ending in .nii.gz.
        settings: of the data set.
        result: of the case.

    Returns: the table, by its path beside the label map (_dseg.tsv); nothing where the case made no label map.
    """
    if all(output.path != label_map for output in result.outputs):
        return {}
    stem = PurePosixPath(label_map).name.removesuffix(".nii.gz").removesuffix("_dseg")
    path = str(PurePosixPath(label_map).with_name(f"{stem}_dseg.tsv"))
    return {path: dseg_text(labels_of(settings, [result]))}


def dseg_text(labels: Iterable[DatasetLabel]) -> str:
    """Write a table of labels as BIDS has it: index, name and color, by index."""
    rows = [Segment(label.value, label.name, label.colour) for label in sorted(labels, key=lambda label: label.value)]
    return escape_bytes(dseg_tsv(rows))
