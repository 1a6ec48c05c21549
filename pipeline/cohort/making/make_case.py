"""Make one case, here or on another machine, so that it is made whole and once.

Rules:
- It is made in a folder of its own that mirrors the output folder. That becomes done/KEY by one rename, which fails where it is
  there: whoever comes second finds the case done. Nothing else is shared, and nothing else is written.
- What is there of inputs must be what was planned, by size and time; else the case is refused.
- A case that is refused is a result too, with its reason in every row.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ...core.findings import Code, PipelineError, refuse
from ...core.leftovers import own_mark, remove_dead
from ...core.unexpected import as_refusal
from ...core.write_refusals import cannot_write
from ...crosscheck.panel import Panel
from ...dicom.files import archive_of
from ..case import Case, CaseResult
from ..plan import CohortPlan, read_plan
from .case_files import CaseWriter
from .case_folder import TREE, done_folder, keep_result, read_result, refused_result, work_folder


class CaseMaker:
    """Makes cases of one plan, one after the other, with one panel of witnesses."""

    def __init__(self, plan: CohortPlan, out: Path, scope: str = "run") -> None:
        self._plan, self._out, self._scope = plan, out, scope
        self._panel = Panel(plan.options.policy)

    def __enter__(self) -> CaseMaker:
        self._panel.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._panel.close()

    def make(self, number: int) -> CaseResult:
        """Make a case, unless it is done.

        Args:
            number: of the case in the plan, from 0.

        Returns: what came of it; REFUSED with its reason where nothing did.

        Raises: PipelineError CANNOT_WRITE where its folder cannot be written.
        """
        key = self._plan.key(number)
        done = done_folder(self._out, key)
        if done.exists():
            return read_result(done)
        work = work_folder(self._out, self._scope) / f"{own_mark()}{os.urandom(4).hex()}"
        remove_dead(work.parent)
        try:
            (work / TREE).mkdir(parents=True)
            result = self._made(self._plan.case(number), key, work / TREE)
            return keep_result(result, work, done)
        except OSError as error:
            raise cannot_write("/".join(filter(None, self._plan.case(number).place[:3])), error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _made(self, case: Case, key: str, tree: Path) -> CaseResult:
        try:
            _refuse_changed(case)
            return CaseWriter(case, key, self._plan.options, self._panel, tree).write()
        except OSError as error:
            if error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(self._out):
                raise
            return refused_result(case, key, _unreadable(error), tree)
        except Exception as error:
            return refused_result(case, key, as_refusal(error), tree)


_makers: dict[tuple[Path, Path, str], CaseMaker] = {}  # the last one, since a process makes many cases of one plan


def make_case(plan: Path, number: int, out: Path, scope: str = "run") -> CaseResult:
    """Make a case in a process that may be asked for more of the same plan.

    Args:
        plan: the file of the plan.
        number: of the case in it, from 0.
        out: the output folder.
        scope: names who works there, so that he can remove what he left when he was killed.

    Returns: what came of it.

    Raises: PipelineError as `CaseMaker.make` and `read_plan` do.
    """
    if (plan, out, scope) not in _makers:
        close()
        _makers[plan, out, scope] = CaseMaker(read_plan(plan), out, scope).__enter__()
    return _makers[plan, out, scope].make(number)


def close() -> None:
    """End the witnesses that `make_case` has started."""
    for maker in _makers.values():
        maker.__exit__(None, None, None)
    _makers.clear()


def _refuse_changed(case: Case) -> None:
    """Raise INPUT_CHANGED where a file is gone, or has another size or time than when it was planned."""
    changed = []
    states: dict[Path, os.stat_result | None] = {}
    for member in (*case.images, *case.masks, *case.others):
        for path, size, mtime_ns in member.files:
            file = Path(path)
            archive = archive_of(file) if not os.path.lexists(file) else None
            state = _state(archive or file, states)
            if state is None or state.st_mtime_ns != mtime_ns or (archive is None and state.st_size != size):
                changed.append(file.name)
    if changed:
        raise _changed(changed)


def _state(path: Path, known: dict[Path, os.stat_result | None]) -> os.stat_result | None:
    if path not in known:
        try:
            known[path] = os.stat(path)
        except OSError:
            known[path] = None
    return known[path]


def _unreadable(error: OSError) -> PipelineError:
    name = Path(os.fsdecode(error.filename)).name
    return refuse(
        Code.FILE_UNREAD,
        f"{name} cannot be read: {error.strerror or error}",
        "Look at the file and the disk; then run verimask cohort again.",
        where=(name,),
    )


def _changed(names: Sequence[str]) -> PipelineError:
    return refuse(
        Code.INPUT_CHANGED,
        f"{len(names)} files are gone or have changed since the case was planned, {names[0]} among them",
        "Run verimask cohort again: it plans what changed anew.",
        where=tuple(names[:3]),
    )
