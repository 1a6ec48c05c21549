"""Run a plan: judge what is there, make what is not, collect it as it comes, and write the table of all.

Rules:
- One writer: whoever holds the index. What makes cases holds nothing, and may die.
- A case counts once its files are in their place and the index says so; what was made before the work was cut off is collected
  first, and not made again.
- cohort.tsv and the files over all cases follow from what the index holds at the end, in one order.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ...conversion.neutral_names import KnownNames, names_of
from ...core.findings import Code, PipelineError, refuse
from ...core.version import __version__
from ...core.workers import count_cores
from ...core.write_refusals import cannot_write
from ...dicom.files import archive_of
from ..case import CaseResult, CaseStatus, TableRow
from ..case_rows import planned_rows
from ..dataset import dataset_of, label_names
from ..index.index import Index
from ..making.case_folder import done_folder, refused_result, work_folder
from ..plan import CohortPlan, private_folder
from ..privacy import Cleaner
from ..public_rows import PublicRows, folder_as_path
from ..table import NAME, in_order, table_text, write_text
from .cohort_files import CohortFiles
from .collect import collect, forget, remove, undo
from .resume import CaseJudgement, StoredCase, has_failed, inputs_of, judge_case, stored_case

Maker = Callable[[CohortPlan, Sequence[int], Path], "Iterator[NumberedResult]"]
if TYPE_CHECKING:
    from .processes import NumberedResult

_FINISHED, _OPTIONS = "finished plan", "last options"  # in the index
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
        self._options = plan.options.digest
        self._stored = {name: StoredCase.from_json(value) for name, value in index.results().items()}
        self._cases = [plan.case(number) for number in range(len(plan))]
        self._names = ["/".join(case.place[:3]) for case in self._cases]
        self._identifiers = {
            name: dict.fromkeys(case.identifiers, case.place.subject)
            for name, case in zip(self._names, self._cases, strict=True)
        }
        self._open: dict[int, CaseStatus] = {}  # the state of every case that is not as it is to be, by number
        self._files = CohortFiles(index, out, overwrite=overwrite)
        self._public = PublicRows(plan.options.policy, label_names(plan.options), index.salt)
        self._last_names: tuple[str, KnownNames] | None = None  # of one case: rows come case by case
        self._written = 0.0
        self.left_alone: list[str] = []  # files that no case makes any more, and that somebody has changed

    def judge(self, *, only_failed: bool = False) -> Judged:
        """Judge every case against what earlier runs made.

        Args:
            only_failed: whether those are made that earlier runs did not wholly do, and no others.

        Returns: the states, and which cases are to be made.
        """
        states = [
            judge_case(case, self._stored.get(name), self._options, self._out)
            for case, name in zip(self._cases, self._names, strict=True)
        ]
        changed = ", ".join(self._changed_options())
        states = [one._replace(why=changed) if one.state == "OPTIONS CHANGED" else one for one in states]
        self._open = {n: judged.state for n, judged in enumerate(states) if judged.is_to_make}
        numbers = [*self._open]
        if only_failed:
            stored = [self._stored.get(name) for name in self._names]
            numbers = [n for n, known in enumerate(stored) if known is not None and has_failed(known.result)]
        return Judged(states, numbers, sorted(self._stored.keys() - set(self._names)))

    def _changed_options(self) -> list[str]:
        """Name the options that are others than those of the last time, as the plan has them."""
        was, now = json.loads(self._index.meta(_OPTIONS) or "{}"), _flat(self._plan.options.as_json())
        return sorted(name for name in now if was and was.get(name) != now[name])

    def _refuse_other_layout(self) -> None:
        """Refuse to replace a data set by one of another layout, unless that is wanted. Raises OUTPUT_EXISTS."""
        was = json.loads(self._index.meta(_OPTIONS) or "{}").get("layout")
        if was and was != self._plan.options.layout and self._stored and not self._overwrite:
            raise refuse(
                Code.OUTPUT_EXISTS,
                f"{self._out.name} holds {len(self._stored)} cases in the layout {was}, which {self._plan.options.layout} would replace",
                "Give -o another folder, or replace them with -w overwrite.",
                where=(self._out.name,),
            )

    def prepare(self, judged: Judged, *, prune: bool, table: Path | None = None) -> list[int]:
        """Take up what an earlier run left: collect what it made, and remove what no case makes any more.

        Args:
            judged: of `judge`.
            prune: whether results whose inputs are gone are removed; else they stay members of the data set.
            table: that the user gives back, which may be the edited cohort.tsv.

        Returns: the numbers of the cases that are left to make.

        Raises: PipelineError OUTPUT_EXISTS where something would be replaced that is not ours, or cannot be made again.
        """
        self._files.refuse_edited(table)
        self._refuse_other_layout()
        dropped = [name for name in judged.gone if prune or not self._is_kept(name)]  # before anything is removed
        shutil.rmtree(work_folder(self._out, "run"), ignore_errors=True)
        for name in dropped:
            self.left_alone += remove(self._out, self._stored.pop(name).outputs.values())
            self._index.drop_result(name)
        self._index.set_meta(_OPTIONS, json.dumps(_flat(self._plan.options.as_json())))
        keys = {self._plan.key(number): number for number in range(len(self._cases))}
        for folder in sorted(done_folder(self._out, "").glob("*")):
            number = keys.get(folder.name)
            if number is None:
                undo(self._out, folder.name)
            elif number not in judged.numbers and number not in self._open:
                forget(self._out, folder.name)
        for number, name in enumerate(self._names):
            stored = self._stored.get(name)
            if number not in self._open and stored and stored.inputs != inputs_of(self._cases[number]):
                self._keep(number, stored.result)  # files were touched, and have the bytes they had
        return [number for number in judged.numbers if not self._is_rolled_forward(number)]

    def take(self, number: int, end: CaseResult | PipelineError | None) -> CaseResult:
        """Put what came of a case into its place, and write it down.

        Args:
            number: of the case.
            end: what a process says of it; None for one that was found done.

        Returns: what came of it.

        Raises: PipelineError CORRUPT_FILE for one that was found done, and is damaged.
        """
        case, key = self._cases[number], self._plan.key(number)
        stored = self._stored.get(self._names[number])
        known = {} if stored is None else stored.outputs
        try:
            if isinstance(end, PipelineError):
                raise end
            result = collect(self._out, key, known, overwrite=self._overwrite)
        except (PipelineError, OSError) as error:
            refusal = cannot_write(self._names[number], error) if isinstance(error, OSError) else error
            if end is None and refusal.finding.code is Code.CORRUPT_FILE:
                raise refusal from error
            result = refused_result(case, key, refusal)
            if refusal.finding.code is Code.OUTPUT_EXISTS:  # what is there stays, and stays ours as far as it is
                result = result._replace(outputs=tuple(o for o in known.values() if (self._out / o.path).exists()))
            else:
                self.left_alone += remove(self._out, known.values())
        self._keep(number, result)
        self._open.pop(number, None)
        forget(self._out, key)
        return result

    def results(self) -> list[CaseResult]:
        """What came of every case so far, in the order of their places.

        The status of a case that is not as it is to be is its state, and that of one of an earlier run is GONE.
        """
        gone = self._stored.keys() - set(self._names)
        found = {name: self._stored[name].result for name in self._stored}
        found |= {name: _as_gone(found[name]) for name in gone}
        for number, state in self._open.items():
            name, case = self._names[number], self._cases[number]
            rows = found[name].rows if name in found else planned_rows(case)
            before = found.get(name, CaseResult(self._plan.key(number), case.place, state, (), (), {}))
            found[name] = before._replace(status=state, rows=tuple({**row, "status": state} for row in rows))
        return [found[name] for name in sorted(found)]

    def write_table(self, *, now: bool = False) -> None:
        """Write cohort.tsv and its private copy, where the last time is long enough ago."""
        begun = monotonic()
        if not now and begun < self._written:
            return
        rows = in_order([*self._plan.rest, *(row for result in self.results() for row in result.rows)])
        write_text(private_folder(self._out) / NAME, table_text(rows))
        self._files.write(NAME, table_text(self._public.publish(row, partial(self._names_for, row)) for row in rows))
        self._written = monotonic() + (monotonic() - begun) / _TABLE_PART

    def finish(self) -> None:
        """Write the table and the files over all cases, and remove those that are not written any more."""
        self.write_table(now=True)
        texts = dataset_of(self._plan.options).layout.texts_of_cohort(self.results())
        for path, text in texts.items():
            self._files.write(path, text)
        self._files.keep_only({NAME, *texts})
        self._index.set_meta(_FINISHED, "" if self._open else self._plan.path.name)

    def is_finished(self, judged: Judged, *, prune: bool) -> bool:
        """Whether nothing is left to do: no case is open, and the files over all cases are those that were written."""
        if judged.numbers or self._open or (prune and judged.gone):
            return False
        if self._index.meta(_FINISHED) != self._plan.path.name:
            return False
        return self._files.are_as_written()

    def _names_for(self, row: TableRow) -> KnownNames:
        """The files and folders that the message of a row may name: those of its case, or for a series in none all folders."""
        case = "/".join(row.get(column, "") for column in ("subject", "session", "case")) if row.get("case") else ""
        if self._last_names is None or self._last_names[0] != case:
            stored = self._stored.get(case)
            clean = Cleaner(self._identifiers.get(case, {})).clean  # a message is, and so are the names in it
            paths = [Path(form) for file in stored.inputs for form in {file.path, clean(file.path)}] if stored else []
            self._last_names = (case, names_of(paths or self._places()))
        return self._last_names[1]

    def _places(self) -> list[Path]:
        """All folders of the inputs, each file that could not be read, and those that a row of a series in no case names."""
        folders = {row.get("folder", "") for row in self._plan.rest}
        folders |= {member.folder for case in self._cases for member in (*case.images, *case.masks)}
        files = [
            folder_as_path(row["folder"]).with_name(row["series"]) for row in self._plan.rest if row["kind"] == "file"
        ]
        return [*map(folder_as_path, sorted(folders)), *files, *map(Path, self._plan.named)]

    def _is_rolled_forward(self, number: int) -> bool:
        """Collect a case that an earlier run has made. One that is damaged is forgotten, and made anew."""
        key = self._plan.key(number)
        if not done_folder(self._out, key).exists():
            return False
        try:
            self.take(number, None)
        except PipelineError:
            forget(self._out, key)
            return False
        return True

    def _is_kept(self, name: str) -> bool:
        """Whether a result that no case of this plan gives stays: where all its inputs are gone. Raises OUTPUT_EXISTS."""
        stored = self._stored[name]
        is_planned = stored.result.place.subject in {case.place.subject for case in self._cases}
        has_inputs = any(os.path.lexists(archive_of(Path(file.path)) or file.path) for file in stored.inputs)
        if is_planned or has_inputs:
            return False
        if (stored.options, stored.version) == (self._options, __version__):
            return True
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"the inputs of {name} are gone, and it was made with other options or another version: it cannot be made again",
            "Give -o another folder, bring its inputs back, or remove what is without them with --prune.",
            where=(name,),
        )

    def _keep(self, number: int, result: CaseResult) -> None:
        stored = stored_case(self._cases[number], self._options, result, self._out)
        self._stored[self._names[number]] = stored
        self._index.put_result(self._names[number], stored.as_json(), result.inputs)


def _as_gone(result: CaseResult) -> CaseResult:
    """The result of a case whose inputs are not there any more, while its files are."""
    why = "Its inputs are not there any more. --prune removes its files."
    rows = tuple({**row, "status": "GONE", "message": why, "key": "", "image": ""} for row in result.rows)
    return result._replace(status="GONE", rows=rows)


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options by name, those of the policy among the others."""
    return {**{name: value for name, value in options.items() if name != "policy"}, **options["policy"]}


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


def make_with_jobs(jobs: int | None) -> Maker:
    """Return what makes cases in so many processes, as many as there are cores for None; for one in this process itself.

    Only a process of its own can die without ending the run, so that is what a run has unless the user says --jobs 1.
    """

    def make(plan: CohortPlan, numbers: Sequence[int], out: Path) -> Iterator[NumberedResult]:
        from ..making.make_case import make_case
        from .processes import make_cases_in_processes

        places = [plan.case(number).place for number in range(len(plan))]
        return make_cases_in_processes(plan.path, numbers, out, jobs or count_cores(), places=places, make=make_case)

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
