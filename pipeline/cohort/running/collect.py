"""Move what a case made into its place in the output folder, and write it down: the one writer of a data set.

Rules:
- Every file has its place before the index says that the case is done; what is cut off anywhere is taken up again.
- A file that is there is replaced only where the index knows it as the case's own and it is as it was written. Anything else is
  somebody's: the case is refused, and the file stays.
- What the case made before and does not make any more is removed, where it is as it was written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ...core.atomic_file import note_on_disk
from ...core.findings import Code, PipelineError, refuse
from ...dicom.source_file import sha256
from ..case import CaseOutput, CaseResult
from ..making.case_folder import TREE, done_folder, read_result


def collect(out: Path, key: str, known: Mapping[str, CaseOutput], *, overwrite: bool = False) -> CaseResult:
    """Move the files of a case that is done into their place.

    Args:
        out: the output folder.
        key: of the case.
        known: files that the index knows to be this case's, by path.
        overwrite: whether files that nobody knows are replaced too.

    Returns: what came of it; its folder stays until `forget`.

    Raises: PipelineError OUTPUT_EXISTS where a file is somebody's, CORRUPT_FILE where the folder is not what was made.
    """
    done = done_folder(out, key)
    result = read_result(done)
    waiting = []
    for output in result.outputs:
        source, target = done / TREE / output.path, out / output.path
        if not source.exists():  # it was moved before the work was cut off
            if not _is(target, output):
                raise _damaged(key, output.path)
        elif _may_take(target, known.get(output.path), output, overwrite):
            waiting.append((source, target))
        else:
            raise _somebodys(output.path)
    for _, target in waiting:  # before any is moved
        _make_folder(out, target.parent)
    for source, target in waiting:
        source.replace(target)
    for folder in {target.parent for _, target in waiting}:  # before the index says so
        note_on_disk(folder)
    paths = {output.path for output in result.outputs}
    remove(out, (output for path, output in known.items() if path not in paths))
    return result


def forget(out: Path, key: str) -> None:
    """Remove the folder of a case that was collected and written down."""
    shutil.rmtree(done_folder(out, key), ignore_errors=True)


def remove(out: Path, outputs: Iterable[CaseOutput]) -> list[str]:
    """Remove files that no case makes any more, where they are as they were written, and folders that are empty then.

    Returns: the paths of those that have other bytes, and stay.
    """
    changed = []
    for output in outputs:
        path = out / output.path
        if not os.path.lexists(path):
            continue
        if not _is(path, output):
            changed.append(output.path)
            continue
        path.unlink()
        for folder in path.relative_to(out).parents[:-1]:
            with suppress(OSError):  # it is not empty
                (out / folder).rmdir()
    return changed


def undo(out: Path, key: str) -> None:
    """Take back what was moved of a case that nobody plans any more, and forget it; one that was never touched stays.

    Args:
        out: the output folder.
        key: of the case. It may be that of a plan whose parts are not merged yet.
    """
    done = done_folder(out, key)
    try:
        moved = [output for output in read_result(done).outputs if not (done / TREE / output.path).exists()]
    except PipelineError:
        forget(out, key)
        return
    if moved:
        remove(out, moved)
        forget(out, key)


def _may_take(path: Path, known: CaseOutput | None, new: CaseOutput, overwrite: bool) -> bool:
    """Whether a place is free, or holds what the case wrote before or writes now, or what may be replaced."""
    if not os.path.lexists(path):
        return True
    if path.is_dir():
        return False
    return overwrite or (known is not None and _is(path, known)) or _is(path, new)


def _make_folder(out: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise _somebodys(folder.relative_to(out).as_posix()) from error


def _is(path: Path, output: CaseOutput) -> bool:
    try:
        return path.stat().st_size == output.size and sha256(path) == output.sha256
    except OSError:
        return False


def _somebodys(path: str) -> PipelineError:
    return refuse(
        Code.OUTPUT_EXISTS,
        f"{path} is already there and is not what this case wrote; it was left alone",
        "Move it away, or replace it with -w overwrite.",
        where=(path,),
    )


def _damaged(key: str, path: str) -> PipelineError:
    return refuse(
        Code.CORRUPT_FILE,
        f"{path} of the case {key} is neither in its place nor where it was made",
        "Run again: the case is made anew.",
        where=(path,),
    )
