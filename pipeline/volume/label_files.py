"""Name and fill the files of label names that accompany a mask: those of BIDS, ITK-SNAP and 3D Slicer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ..core.plain_text import escape_text
from .label_table import dseg_tsv, itksnap_labels, slicer_colour_table
from .mask import Segment

LabelFileKind = Literal["bids", "itksnap", "slicer"]
_WRITERS: dict[LabelFileKind, tuple[str, Callable[[Sequence[Segment]], str]]] = {
    "bids": ("_dseg.tsv", dseg_tsv),
    "itksnap": ("_labels.txt", itksnap_labels),
    "slicer": (".ctbl", slicer_colour_table),
}


def label_file(output: Path, kind: LabelFileKind) -> Path:
    """The path of the file: liver.nii.gz gives liver_dseg.tsv, liver_labels.txt or liver.ctbl."""
    return output.with_name(output.name.removesuffix(".gz").removesuffix(".nii") + _WRITERS[kind][0])


def label_text(segments: Sequence[Segment], kind: LabelFileKind) -> str:
    """The content of the file."""
    return escape_text(_WRITERS[kind][1](segments))
