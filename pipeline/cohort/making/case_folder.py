"""Name the folders in which cases are made and wait to be collected, and keep and read what came of them.

Rules:
- A case is made in a folder of its own, work/SCOPE/RANDOM, and is done when that was renamed to done/KEY, which fails where it
  is there. Light to import: who only looks at what is done needs nothing that makes it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ...core.atomic_file import note_on_disk, reach_disk
from ...core.findings import Code, PipelineError, refuse
from ...core.json_file import read_json
from ..case import Case, CaseResult
from ..case_rows import refused_rows
from ..plan import private_folder

TREE = "tree"  # the folder of a case that mirrors the output folder
RESULT = "result.json"
_WORK = "work"


def done_folder(out: Path, key: str) -> Path:
    """Where a case is, once it is made and until it is collected."""
    return private_folder(out) / "done" / key


def work_folder(out: Path, scope: str) -> Path:
    """Where cases are made by one who is called so."""
    return private_folder(out) / _WORK / scope


def remove_work(out: Path, mark: str) -> None:
    """Remove what a process that is no more was writing, and nothing of others.

    Args:
        out: the output folder.
        mark: the mark of that process, with which its folders begin; "" where it died before it named it.
    """
    if mark:  # without it every name would fit, those of others too
        for folder in (private_folder(out) / _WORK).glob(f"*/{mark}*"):
            shutil.rmtree(folder, ignore_errors=True)


def keep_result(result: CaseResult, work: Path, done: Path) -> CaseResult:
    """Let a folder in which a case was made become the case.

    Args:
        result: of the case.
        work: the folder.
        done: what it becomes.

    Returns: the result that counts: another's, if he was first.

    Raises: OSError where it cannot be written.
    """
    (work / RESULT).write_text(json.dumps(result.as_json(), indent=1), "utf-8")
    reach_disk(work / RESULT)
    done.parent.mkdir(parents=True, exist_ok=True)
    try:
        work.rename(done)
    except OSError:
        if not done.exists():
            raise
        return read_result(done)
    note_on_disk(done.parent)
    return result


def read_result(done: Path) -> CaseResult:
    """Read what came of a case that is done. Raises CORRUPT_FILE."""
    try:
        return CaseResult.from_json(read_json(done / RESULT))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refuse(
            Code.CORRUPT_FILE,
            f"the result of the case {done.name} cannot be read: {error}",
            f"Remove the folder {done.name}, and run again: the case is made anew.",
            where=(done.name,),
        ) from error


def refused_result(case: Case, key: str, error: PipelineError, tree: Path | None = None) -> CaseResult:
    """Make the result of a case that is refused as a whole.

    Args:
        case: as it was planned.
        key: of it.
        error: what refuses it.
        tree: what was written of it, to be removed; None for nothing.

    Returns: the result.
    """
    if tree is not None:
        for path in tree.iterdir():
            shutil.rmtree(path)
    return CaseResult(key, case.place, "REFUSED", tuple(refused_rows(case, error)), (), {})
