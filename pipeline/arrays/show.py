"""Show what was read or written, in a notebook: `verimask.show(mask, image)`.

Rules:
- An array shows itself. A path is a NIfTI file, named and coloured by the record that lies beside it; without one its verdict
  is not known, and bytes are taken for labels.
- An image under a mask is looked up voxel by voxel, nearest, by both affines. Nothing is resampled or registered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from ..conversion.record import sidecar_of
from ..core.findings import Code, refuse
from ..core.given_path import look_at_input
from ..nifti.file import is_named_nifti
from ..report.pictures import Convention, segments_of, window_of
from ..report.record import check_file, read_record
from ..report.views import Scene
from ..report.volume import Volume, read_volume
from ..volume.mask import Segment
from .labelled_array import ArrayOnGrid, Image, Mask
from .notebook_view import NotebookView, describe_block


def show(
    shown: Mask | Image | str | Path,
    image: Mask | Image | str | Path | None = None,
    *,
    live: bool = False,
    convention: Convention = "radiological",
) -> NotebookView:
    """Show a mask or an image in a notebook, as the last line of a cell.

    Args:
        shown: what `verimask.read` gave, or the path of a NIfTI file.
        image: what lies under a mask: the same.
        live: whether NiiVue's widget is shown above the picture, to scroll through it (extra "notebook").
        convention: the side of the picture that the patient's left is on; radiological: on the right.

    Returns:
        What a notebook displays: the axial, sagittal and coronal cut through the middle, with every label in its colour. It is
        a picture, which stays in every export. Its function `widget()` gives the live view alone.

    Raises:
        PipelineError: NO_SUCH_INPUT, NOT_THIS_KIND for another file, NOT_THE_PROVEN_FILE where a record is of another
            file, NO_NOTEBOOK_PACKAGE when it is displayed.
    """
    block, segments, record, title = _look_at(shown)
    if image is None:
        window = None if segments or block.is_colour else window_of(block, str(record.get("Modality", "")))
        return NotebookView(Scene(block, segments, None, window, convention), title, live=live)
    source, _, other, name = _look_at(image)
    window = None if source.is_colour else window_of(source, str(other.get("Modality", "")))
    notes = (f"on {name}", *_doubts(record, other))
    return NotebookView(Scene(block, segments, source, window, convention), title, notes, live)


def _look_at(shown: Mask | Image | str | Path) -> tuple[Volume, tuple[Segment, ...], dict[str, Any], str]:
    """Find the first volume, its labels, its record ({} where there is none), and what it is called."""
    if isinstance(shown, ArrayOnGrid):
        stored = shown.stored if shown.stored.ndim == 3 else shown.stored[..., 0]
        slope, intercept = (shown.slope, shown.intercept) if isinstance(shown, Image) else (1.0, 0.0)
        block = Volume.of(stored, shown.affine, slope, intercept)
        record = cast("dict[str, Any]", shown.proof.record)
    else:
        block, record = _read_file(Path(shown))
    segments = segments_of(record.get("Labels", [])) if record else _guess_labels(block)
    name = (
        str(record.get("Output", ""))
        if not isinstance(shown, ArrayOnGrid)
        else str(record.get("SeriesDescription", ""))
    )
    verdict = str(record.get("Verdict", "")) or "not proven: no record lies beside it"
    kind = "mask" if segments else "image"
    return block, segments, record, f"{name or kind}: {verdict}, {describe_block(block)}"


def _read_file(path: Path) -> tuple[Volume, dict[str, Any]]:
    if not look_at_input(path).is_there:
        raise refuse(Code.NO_SUCH_INPUT, f"{path.name} is not there", "Check the path.", where=(path.name,))
    if not is_named_nifti(path) or look_at_input(path).is_folder:
        raise refuse(
            Code.NOT_THIS_KIND,
            f"{path.name} is no NIfTI file",
            "Read DICOM first: verimask.show(verimask.read(folder)).",
            where=(path.name,),
        )
    if not look_at_input(sidecar_of(path)).is_there:
        return read_volume(path), {}
    record = read_record(sidecar_of(path))
    return read_volume(check_file(record)), record.values


def _guess_labels(block: Volume) -> tuple[Segment, ...]:
    """The labels of a file without a record: its values, where they are bytes without a scale."""
    if block.voxels.dtype != np.uint8 or (block.slope, block.intercept) != (1.0, 0.0):
        return ()
    values = np.unique(block.voxels)
    return tuple(Segment(int(value), f"label {value}") for value in values if value)


def _doubts(record: dict[str, Any], other: dict[str, Any]) -> tuple[str, ...]:
    ours, theirs = (str(one.get("FrameOfReferenceUID", "")) for one in (record, other))
    if ours and theirs and ours != theirs:
        return ("They have different Frames of Reference: nothing says that their numbers mean one place.",)
    return ()
