"""Run a plan: judge what is there, make what is not, collect it as it comes, and write the table of all.

Rules:
- One writer: whoever holds the index. What makes cases holds nothing, and may die.
- A case counts once its files are in their place and the index says so; what was made before the work was cut off is collected
  first, and not made again.
- cohort.tsv and the files over all cases follow from what the index holds at the end, in one order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ...core.findings import Code, PipelineError, refuse
from ...core.plain_text import escape_bytes
from ...dicom import source_file
from ..case import CaseResult, TableRow
from ..index.index import Index
from ..making.case_folder import done_folder, refused_result, work_folder
from ..plan import CohortPlan
from ..table import NAME, table_text, write_text
from .collect import collect, forget, remove
from .resume import CaseJudgement, StoredCase, has_failed, inputs_of, judge_case, stored_case

Maker = Callable[[CohortPlan, Sequence[int], Path], "Iterator[NumberedResult]"]
if TYPE_CHECKING:
    from .processes import NumberedResult

_FINISHED, _TEXTS = "finished plan", "files over all cases"  # in the index
_TABLE_PART = 0.02  # of the time of a run, at most, goes into writing the table while it runs


class Judged(NamedTuple):
    """What a run will do. states: of every case, by number. numbers: of those that are made. gone: of earlier runs."""

    states: list[CaseJudgement]
    numbers: list[int]
    gone: list[str]


class CohortRun:
    """One run of a plan, by the one writer of its output folder."""

    def __init__(self, plan: CohortPlan, index: Index, out: Path, *, overwrite: bool = False) -> None:
        self._plan, self._index, self._out, self._overwrite = plan, index, out, overwrite
        self._stored = {name: StoredCase.from_json(value) for name, value in index.results().items()}
        self._cases = [plan.case(number) for number in range(len(plan))]
        self._names = ["/".join(case.place[:3]) for case in self._cases]
        self._texts: dict[str, list[str]] = json.loads(index.meta(_TEXTS) or "{}")  # digests, the last one first
        self._written = 0.0

    def judge(self, *, only_failed: bool = False) -> Judged:
        """Judge every case against what earlier runs made.

        Args:
            only_failed: whether those are made that earlier runs did not wholly do, and no others.

        Returns: the states, and which cases are to be made.
        """
        states = [
            judge_case(case, self._stored.get(name), self._plan.options, self._out)
            for case, name in zip(self._cases, self._names, strict=True)
        ]
        if only_failed:
            numbers = [
                n
                for n, name in enumerate(self._names)
                if name in self._stored and has_failed(self._stored[name].result)
            ]
        else:
            numbers = [n for n, judged in enumerate(states) if judged.state != "FRESH"]
        return Judged(states, numbers, sorted(self._stored.keys() - set(self._names)))

    def prepare(self, judged: Judged, *, prune: bool) -> list[int]:
        """Take up what an earlier run left: collect what it made, and remove what no case makes any more.

        Args:
            judged: of `judge`.
            prune: whether results whose inputs are gone are removed; else they stay members of the data set.

        Returns: the numbers of the cases that are left to make.
        """
        shutil.rmtree(work_folder(self._out, "run"), ignore_errors=True)
        in_use = {file.path for case in self._cases for file in inputs_of(case)}
        for name in judged.gone:
            if prune or all(file.path in in_use for file in self._stored[name].inputs):
                remove(self._out, self._stored[name].outputs.values())
                self._index.drop_result(name)
                del self._stored[name]
        for number, name in enumerate(self._names):
            stored = self._stored.get(name)
            if judged.states[number].state == "FRESH" and stored and stored.inputs != inputs_of(self._cases[number]):
                self._keep(number, stored.result)  # files were touched, and have the bytes they had
        left = []
        for number in judged.numbers:
            if done_folder(self._out, self._plan.key(number)).exists() and judged.states[number].state != "FRESH":
                self.take(number, None)
            else:
                left.append(number)
        return left

    def take(self, number: int, end: CaseResult | PipelineError | None) -> CaseResult:
        """Put what came of a case into its place, and write it down.

        Args:
            number: of the case.
            end: what a process says of it; None for one that was found done.

        Returns: what came of it.
        """
        case, key = self._cases[number], self._plan.key(number)
        stored = self._stored.get(self._names[number])
        known = {} if stored is None else stored.outputs
        try:
            if isinstance(end, PipelineError):
                raise end
            result = collect(self._out, key, known, overwrite=self._overwrite)
        except PipelineError as error:
            result = refused_result(case, key, error)
            remove(self._out, known.values())
        self._keep(number, result)
        forget(self._out, key)
        return result

    def results(self) -> list[CaseResult]:
        """What came of every case so far, in the order of their places."""
        return [self._stored[name].result for name in sorted(self._stored)]

    def write_table(self, *, now: bool = False) -> None:
        """Write cohort.tsv, where the last time is long enough ago."""
        begun = monotonic()
        if not now and begun < self._written:
            return
        rows: list[TableRow] = [row for result in self.results() for row in result.rows]
        self._write(NAME, table_text([*self._plan.rest, *rows]))
        self._written = monotonic() + (monotonic() - begun) / _TABLE_PART

    def finish(self) -> None:
        """Write the table and the files over all cases."""
        from ..dataset import dataset_of

        self.write_table(now=True)
        for path, text in dataset_of(self._plan.options).layout.texts_of_cohort(self.results()).items():
            self._write(path, text)
        self._index.set_meta(_FINISHED, self._plan.path.name)

    def is_finished(self, judged: Judged) -> bool:
        """Whether nothing is left to do: every case is fresh, and the files over all cases are those that were written."""
        if judged.numbers or self._index.meta(_FINISHED) != self._plan.path.name:
            return False
        return bool(self._texts) and all(
            _digest_of(self._out / path) == known[0] for path, known in self._texts.items()
        )

    def refuse_edited(self, table: Path | None) -> None:
        """Refuse to replace a file over all cases that somebody has changed, unless it is the table that is given.

        Args:
            table: that the user gives back; None for none.

        Raises: PipelineError OUTPUT_EXISTS.
        """
        for path, known in self._texts.items():
            place = self._out / path
            given = table is not None and place.exists() and table.exists() and place.samefile(table)
            if place.exists() and not given and not self._overwrite and _digest_of(place) not in known:
                raise _edited(path)

    def _write(self, path: str, text: str) -> None:
        """Write a file over all cases, where it is another one. The index knows its bytes before they are there."""
        digest = sha256(escape_bytes(text).encode()).hexdigest()
        known = self._texts.get(path, [])
        if known[:1] != [digest]:
            self._texts[path] = [digest, *known[:1]]
            self._index.set_meta(_TEXTS, json.dumps(self._texts))
        write_text(self._out / path, text)

    def _keep(self, number: int, result: CaseResult) -> None:
        stored = stored_case(self._cases[number], self._plan.options, result, self._out)
        self._stored[self._names[number]] = stored
        self._index.put_result(self._names[number], stored.as_json(), result.inputs)


def _digest_of(path: Path) -> str:
    """The SHA-256 of a file; "" where it cannot be read."""
    try:
        return source_file.sha256(path)
    except OSError:
        return ""


def _edited(path: str) -> PipelineError:
    give = f" Give it back with --table {path}," if path == NAME else " Move it away,"
    return refuse(
        Code.OUTPUT_EXISTS,
        f"{path} was changed since it was written, and would be replaced",
        f"{give.strip()} or replace it with -w overwrite.",
        where=(path,),
    )


def make_here(plan: CohortPlan, numbers: Sequence[int], out: Path) -> Iterator[NumberedResult]:
    """Make cases in this process, one after the other.

    Args:
        plan: what is made.
        numbers: of the cases.
        out: the output folder.

    Yields: each number, with what came of the case.
    """
    from ..making.make_case import CaseMaker

    with CaseMaker(plan, out) as maker:
        for number in numbers:
            yield number, maker.make(number)


def make_with_jobs(jobs: int) -> Maker:
    """Return what makes cases in so many processes; in this one for one."""

    def make(plan: CohortPlan, numbers: Sequence[int], out: Path) -> Iterator[NumberedResult]:
        from ..making.make_case import make_case
        from .processes import make_cases_in_processes

        places = [plan.case(number).place for number in range(len(plan))]
        return make_cases_in_processes(plan.path, numbers, out, jobs, places=places, make=make_case)

    return make_here if jobs == 1 else make


def run_cases(
    run: CohortRun, plan: CohortPlan, numbers: Sequence[int], out: Path, maker: Maker
) -> Generator[CaseResult, None, None]:
    """Make cases and take each in as it ends; however that ends, the table says what there is.

    Args:
        run: of the plan.
        plan: what is made.
        numbers: of the cases.
        out: the output folder.
        maker: makes them.

    Yields: what came of each.
    """
    try:
        if numbers:
            with closing(maker(plan, numbers, out)) as ends:  # type: ignore[type-var]
                for number, end in ends:
                    yield run.take(number, end)
                    run.write_table()
    finally:
        run.finish()
