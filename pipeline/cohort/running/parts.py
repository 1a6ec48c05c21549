"""Make a plan in parts, each by a job of its own, and check that the parts have made all of it.

Rules:
- Part k of n is the k-th of n shares of neighbouring cases. It reads the plan, writes its cases into done/KEY, and shares nothing
  else with other parts: no index, no table. A part that is run again makes what is missing.
- A case that is refused, or that ends its process twice, is a result too. Where nothing can be written there is none.
- A rename of a folder is atomic for all machines that share a disk, on NFS too (RFC 8881, 18.26.3), so a case is done
  whole or not at all, and once. Where NFS loses the answer and asks again, the second one is an error for a rename that was done:
  whether done/KEY is there decides.
- What parts have made is judged against the plan: a result for each of its cases, with the bytes that it says.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ...core.findings import Code, Finding, PipelineError, refuse
from ...core.json_file import read_json
from ...core.leftovers import own_mark, remove_dead
from ...core.text_file import read_text
from ...core.workers import count_cores
from ...dicom.source_file import sha256
from ..case import CaseOutput, CaseResult
from ..index.index import Index
from ..making.case_folder import TREE, done_folder, keep_result, read_result, refused_result, work_folder
from ..making.make_case import make_case
from ..plan import CohortPlan, private_folder, read_plan
from ..table import write_text
from .processes import NumberedResult, case_title, make_cases_in_processes
from .resume import StoredCase, judge_case

SCOPE = "parts"  # of the work folder
_MERGED = "merged.json"
_BEGUN, _ENDED = "begun", "ended"
_STATES = {"": "was never begun", _BEGUN: "has begun and not ended", _ENDED: "has ended, and what it made is gone"}
_LISTED = 5  # cases of a part that are named in a message


class PlanPart(NamedTuple):
    """One share of a plan. number: from 1. of: how many there are."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def share(self, cases: int) -> range:
        """The numbers of its cases among so many, from 0."""
        return range(cases * (self.number - 1) // self.of, cases * self.number // self.of)


def parse_part(text: str) -> PlanPart:
    """Read K/N. Raises BAD_OPTION."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return PlanPart(int(number), int(count))
    raise refuse(
        Code.BAD_OPTION,
        f"--part {text!r} is no share K/N with K from 1 to N",
        "Give the share of this job and how many there are: --part 3/10.",
        where=("--part",),
    )


def folder_of(plan: Path) -> Path:
    """The output folder of a plan. Raises BAD_OPTION where it does not lie in OUT/.verimask/plans."""
    folders = Path(os.path.realpath(plan)).parents
    if len(folders) > 2 and folders[0] == private_folder(folders[2]) / "plans":
        return folders[2]
    raise refuse(
        Code.BAD_OPTION,
        f"{plan.name} does not lie in the folder .verimask/plans of an output folder",
        "Give the path that verimask cohort plan printed: results go to the output folder of the plan.",
        where=(plan.name,),
    )


def run_part(path: Path, part: str, out: Path, jobs: int | None = None) -> Iterator[NumberedResult]:
    """Make what is missing of one share of a plan.

    Args:
        path: the plan.
        part: K/N.
        out: the output folder.
        jobs: how many processes; None for as many as there are cores.

    Returns: the number of each case with its result, or with what kept even that from being written.

    Raises: PipelineError BAD_OPTION, and what `read_plan` refuses.
    """
    share, plan = parse_part(part), read_plan(path)
    merged = _merged(plan, out)
    keys = {number: plan.key(number) for number in share.share(len(plan))}
    missing = [n for n, key in keys.items() if key not in merged and not done_folder(out, key).exists()]
    places = {number: plan.case(number).place for number in missing}
    make = partial(make_case, scope=SCOPE)
    _note(plan, out, share, _BEGUN)
    if missing:
        ends = make_cases_in_processes(plan.path, missing, out, jobs or count_cores(), places=places, make=make)
        with closing(ends) as made:  # type: ignore[type-var]  # a generator
            for number, end in made:
                yield number, _kept(plan, number, end, out) if isinstance(end, PipelineError) else end
    _note(plan, out, share, _ENDED)


def check_parts(plan: CohortPlan, out: Path, index: Index) -> list[str]:
    """Check that every case of a plan was made, once and whole: by a part, or by what the index holds already.

    Args:
        plan: that the parts have run.
        out: the output folder.
        index: of it.

    Returns: the keys of cases in done/ that this plan does not have; they are another one's.

    Raises: PipelineError CASES_NOT_RUN, with a finding for each part that has to be run; CORRUPT_FILE for a result that is
        damaged, NOT_THE_PROVEN_FILE for one that is another case's.
    """
    stored = index.results()
    missing: list[int] = []
    damaged: list[Finding] = []
    for number in range(len(plan)):
        done = done_folder(out, plan.key(number))
        if done.exists():
            damaged += _damages(plan, number, done, out)
        elif not _is_collected(plan, number, stored, out):
            missing.append(number)
    if damaged:
        raise PipelineError(damaged[0], tuple(damaged[1:]))
    if missing:
        raise _not_run(plan, missing, out)
    keys = {plan.key(number) for number in range(len(plan))}
    folders = done_folder(out, "").glob("*")
    return sorted(folder.name for folder in folders if folder.name not in keys)


def note_merged(plan: CohortPlan, out: Path) -> None:
    """Write down that a plan was collected, so that a part of it that is run again does only what failed for a passing reason.

    Args:
        plan: that was collected.
        out: the output folder.
    """
    keys = [plan.key(number) for number in range(len(plan))]
    write_text(_parts_folder(plan, out) / _MERGED, json.dumps(keys))
    shutil.rmtree(work_folder(out, SCOPE), ignore_errors=True)  # of parts that were killed


def _merged(plan: CohortPlan, out: Path) -> Collection[str]:
    """The keys of the cases of a plan that were collected."""
    try:
        return frozenset(read_json(_parts_folder(plan, out) / _MERGED))
    except FileNotFoundError:
        return frozenset()


def _kept(plan: CohortPlan, number: int, error: PipelineError, out: Path) -> CaseResult | PipelineError:
    """Make a result of a case that was refused as a whole; what cannot be written stays missing, for the next run."""
    if error.finding.code is Code.CANNOT_WRITE:
        return error
    work = work_folder(out, SCOPE) / f"{own_mark()}{os.urandom(4).hex()}"
    key = plan.key(number)
    remove_dead(work.parent)
    try:
        (work / TREE).mkdir(parents=True)
        return keep_result(refused_result(plan.case(number), key, error), work, done_folder(out, key))
    except OSError:
        return error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_collected(plan: CohortPlan, number: int, stored: Mapping[str, Any], out: Path) -> bool:
    """Whether the index holds what a case gives, and its files are as they were written."""
    case = plan.case(number)
    known = stored.get("/".join(case.place[:3]))
    state = judge_case(case, None if known is None else StoredCase.from_json(known), plan.options.digest, out).state
    return state in ("FRESH", "FAILED")


def _damages(plan: CohortPlan, number: int, done: Path, out: Path) -> Iterator[Finding]:
    """What is wrong with what was made of a case."""
    place = plan.case(number).place
    title = case_title(place)
    remedy = f"Remove the folder {done.name} from .verimask/done, run the part of the case again, and merge."
    try:
        result = read_result(done)
    except PipelineError as error:
        yield replace(error.finding, message=f"{title}: {error.finding.message}", hint=remedy)
        return
    if (result.key, result.place) != (plan.key(number), place):
        words = f"{title}: what lies in {done.name} is the result of another case"
        yield Finding(Code.NOT_THE_PROVEN_FILE, words, remedy, where=(done.name,))
        return
    for output in result.outputs:
        why = _wrong(done / TREE / output.path, output) and _wrong(out / output.path, output)  # a merge was cut off
        if why:
            yield Finding(Code.CORRUPT_FILE, f"{title}: {output.path} {why}", remedy, where=(output.path,))
    known = {output.path for output in result.outputs}
    for path in sorted((done / TREE).rglob("*")):
        name = path.relative_to(done / TREE).as_posix()
        if not path.is_dir() and name not in known:
            words = f"{title}: nobody made {name}, which lies among its results"
            yield Finding(Code.NOT_THE_PROVEN_FILE, words, remedy, where=(name,))


def _wrong(path: Path, output: CaseOutput) -> str:
    """How a file differs from what was made, in words; "" where it does not."""
    try:
        if path.stat().st_size == output.size and sha256(path) == output.sha256:
            return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "is not what was made: its bytes have another SHA-256"


def _not_run(plan: CohortPlan, missing: Sequence[int], out: Path) -> PipelineError:
    """Refuse to merge, with a finding for each part that should have made what is missing."""
    count, states = _parts_begun(plan, out)
    of_part: dict[PlanPart, list[int]] = defaultdict(list)
    parts = [PlanPart(number, count) for number in range(1, count + 1)]
    for part in parts:
        share = part.share(len(plan))
        of_part[part] = [number for number in missing if number in share]
    findings = []
    for part, numbers in of_part.items():
        if not numbers:
            continue
        titles = [case_title(plan.case(number).place) for number in numbers[:_LISTED]]
        more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
        words = f"part {part} {_STATES[states.get(part, '')]}; not made: {', '.join(titles)}{more}"
        hint = f"Run it, and merge again: verimask cohort run PLAN --part {part}. On a network disk, wait a minute for it first."
        findings.append(Finding(Code.CASES_NOT_RUN, words, hint, where=(f"--part {part}",)))
    return PipelineError(findings[0], tuple(findings[1:]))


def _parts_begun(plan: CohortPlan, out: Path) -> tuple[int, dict[PlanPart, str]]:
    """Into how many parts a plan was split, as far as parts have begun, and the state of each; in one where none has."""
    found: dict[PlanPart, str] = {}
    for path in _parts_folder(plan, out).glob("*-of-*"):
        number, _, count = path.name.partition("-of-")
        found[PlanPart(int(number), int(count))] = read_text(path)
    counts = Counter(part.of for part in found)
    return max(counts, key=lambda count: (counts[count], count), default=1), found


def _note(plan: CohortPlan, out: Path, part: PlanPart, state: str) -> None:
    write_text(_parts_folder(plan, out) / f"{part.number}-of-{part.of}", state)


def _parts_folder(plan: CohortPlan, out: Path) -> Path:
    return private_folder(out) / "parts" / plan.path.stem
