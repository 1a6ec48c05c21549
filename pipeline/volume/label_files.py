"""Files of label names beside a mask, as other programs read them: BIDS, ITK-SNAP, 3D Slicer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ..core.plain_text import escape_bytes
from .label_table import dseg_tsv, itksnap_labels, slicer_colour_table
from .mask import Segment

LabelFileKind = Literal["bids", "itksnap", "slicer"]
_WRITERS: dict[LabelFileKind, tuple[str, Callable[[Sequence[Segment]], str]]] = {
    "bids": ("_dseg.tsv", dseg_tsv),
    "itksnap": ("_labels.txt", itksnap_labels),
    "slicer": (".ctbl", slicer_colour_table),
}


def label_file(output: Path, kind: LabelFileKind) -> Path:
    """liver.nii.gz -> liver_dseg.tsv, liver_labels.txt or liver.ctbl"""
    return output.with_name(output.name.removesuffix(".gz").removesuffix(".nii") + _WRITERS[kind][0])


def label_text(segments: Sequence[Segment], kind: LabelFileKind) -> str:
    """The file's content."""
    return escape_bytes(_WRITERS[kind][1](segments))
