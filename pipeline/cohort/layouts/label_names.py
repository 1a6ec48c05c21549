"""Write the names of labels as the tables of a data set have them.

Rules:
- The labels of the data set hold for every case, those that it lacks too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from ...core.plain_text import escape_text
from ...volume.label_table import dseg_tsv
from ...volume.mask import Segment
from ..case import CaseResult
from .layout import DatasetLabel, LayoutSettings


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
    return {path: dseg_text(settings.labels)}


def dseg_text(labels: Iterable[DatasetLabel]) -> str:
    """Write a table of labels as BIDS has it: index, name and color, by index."""
    rows = [Segment(label.value, label.name, label.colour) for label in sorted(labels, key=lambda label: label.value)]
    return escape_text(dseg_tsv(rows))
