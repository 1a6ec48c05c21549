"""Refuse an output at the place of an input: whatever becomes of files that are there, what was read is never replaced.

Rules:
- Files are compared by where they are on the disk, so that a link to an input counts as it does.
- Inputs are the files that the result is made of, and every file of the run that is DICOM: others may still need it. A file
  that was only met in a folder, such as an output of before, is none.
- Nothing is looked at where nothing is there that could be replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ..core.findings import Code, PipelineError, refuse
from ..dicom.header import NotDicom
from ..dicom.source_file import state_of
from .looks import Looks

_Place = tuple[int, int]  # device and inode


def refuse_inputs(targets: Iterable[Path], inputs: Sequence[Path], looks: Looks | None = None) -> None:
    """Refuse to write where an input is.

    Args:
        targets: every path that is to be written or removed.
        inputs: the files that the result is made of, or members of archives.
        looks: what the run has looked at; None for no more than the inputs.

    Returns: nothing.

    Raises: PipelineError OUTPUT_EXISTS.
    """
    there = {_place_of(target): target for target in targets}
    there.pop(None, None)
    if not there:
        return
    for path in inputs:
        _refuse(there.get(_place_of(path)))
    for path in () if looks is None else [*looks.paths]:
        target = there.get(_place_of(path))
        if target is not None and looks is not None and _is_dicom(path, looks):
            _refuse(target)


def _place_of(path: Path) -> _Place | None:
    """Where a file is on the disk, links followed; of a member, its archive; None where none is."""
    with suppress(OSError):
        return state_of(path)[:2]
    return None


def _is_dicom(path: Path, looks: Looks) -> bool:
    try:
        looks.header(path)
    except (NotDicom, OSError):
        return False
    except PipelineError:  # it is damaged
        return True
    return True


def _refuse(target: Path | None) -> None:
    if target is not None:
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{target.name} is one of the inputs, which no output replaces; it was left alone",
            "Give the output another name.",
            where=(target.name,),
        )
