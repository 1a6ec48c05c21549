"""Describe plans and results of a cohort in lines of text and in JSON, and keep the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..cohort.table import NAME
from ..core.findings import Exit
from ..core.plain_text import escape_controls

if TYPE_CHECKING:
    from ..cohort.case import CaseResult, TableRow
    from ..cohort.plan import CohortPlan
    from ..cohort.planning import Planned
    from ..cohort.running.run import Judged

_MOST_LINES = 30  # of a list that would fill the screen
_SECONDS_UNTIL, _MINUTES_UNTIL = 90, 5400  # seconds: up to which a time is given in seconds, and in minutes
_ODD = (
    "REFUSED", "AMBIGUOUS", "NO_IMAGE", "INCOMPLETE", "GONE", "FAILED", "STALE", "OPTIONS CHANGED", "VERSION CHANGED", "NEW",
)  # fmt: skip


class Clock:
    """Counts what is done, and says how long the rest will take at that speed. done: how many are."""

    def __init__(self, total: int = 0) -> None:
        self._begun, self._total = monotonic(), total
        self.done = 0

    def count(self) -> None:
        """Count one more."""
        self.done += 1

    def time_left(self) -> str:
        """Say how long the rest takes, once one is done."""
        seconds = (monotonic() - self._begun) / self.done * (self._total - self.done)
        if seconds < _SECONDS_UNTIL:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.0f} min" if seconds < _MINUTES_UNTIL else f"{seconds / 3600:.1f} h"

    def describe_stop(self) -> str:
        """Say what a run that was stopped has done, and how to go on."""
        were = "was" if self.done == 1 else "were"
        return f"stopped: {_count(self.done, 'case')} {were} done in this run; the same command goes on with the rest"


class RunLog:
    """Appends lines with the time to the log in the private folder of a cohort."""

    def __init__(self, out: Path) -> None:
        from ..cohort.plan import private_folder

        self._path = private_folder(out) / "log.txt"

    def __enter__(self) -> RunLog:
        self._file = self._path.open("a", encoding="utf-8", errors="backslashreplace")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, line: str) -> None:
        """Append a line."""
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        self._file.write(f"{now}  {escape_controls(line)}\n")
        self._file.flush()


def describe_plan(planned: Planned, judged: Judged, *, whole: bool) -> list[str]:
    """Describe what will be done: what changed, and what each case is and why.

    Args:
        planned: the plan.
        judged: what earlier runs made of it.
        whole: whether each case has a line.

    Returns: the lines.
    """
    plan, changes = planned.plan, planned.changes
    subjects = {plan.case(number).place.subject for number in range(len(plan))}
    lines = [
        f"{_count(changes.new + changes.changed + changes.unchanged, 'file')} ({changes.new} new, {changes.changed} changed, "
        f"{changes.gone} gone), {planned.series} series: "
        f"{_count(len(plan), 'case')} of {_count(len(subjects), 'subject')}"
    ]
    states = Counter(state.state for state in judged.states)
    lines.append(", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no case")
    lines += [f"note: {note}" for note in planned.notes]
    for number, state in enumerate(judged.states if whole else ()):
        case = plan.case(number)
        title = " ".join(filter(None, case.place[:3]))
        why = f": {state.why}" if state.why else ""
        masks = Counter(member.link for member in case.masks)
        linked = "; ".join(
            f"{count} {'mask series' if count > 1 else 'mask'} ({link})" for link, count in masks.items()
        )
        lines.append(f"  {state.state}{why}  {title}  {linked or 'no mask'}")
    return lines


def is_odd(result: CaseResult) -> bool:
    """Whether a case is not wholly in the data set."""
    return result.status in _ODD


def describe_odd(
    results: Iterable[CaseResult],
    rest: Iterable[TableRow],
    *,
    shown: Collection[str] = (),
    most: int | None = None,
) -> list[str]:
    """Describe what is not wholly in the data set, by subject.

    Args:
        results: of cases.
        rest: the rows of series that are in no case.
        shown: keys of cases that had a line before.
        most: how many lines, the table having all of them; None for all.

    Returns: a line for each.
    """
    cases = [(r.place.subject, describe_case(r)) for r in results if is_odd(r) and r.key not in shown]
    series = [(row.get("subject", ""), _row_line(row)) for row in rest if row["status"] in _ODD]
    lines = [line for _, line in sorted([*cases, *series])]
    if most is None or len(lines) <= most:
        return lines
    return [*lines[:most], f"... and {len(lines) - most} more in {NAME}"]


def describe_others(rest: Iterable[TableRow]) -> list[str]:
    """Count the series that are in no case and need not be."""
    counts = Counter(row["status"] for row in rest if row["status"] not in _ODD)
    words = {
        "NO_MASK": (
            "image without a mask (--images all writes it)",
            "images without a mask (--images all writes them)",
        ),
        "LEFT_OUT": (
            "series left out: no image or mask, or no channel",
            "series left out: no image or mask, or no channel",
        ),
    }
    return [f"{count} {words.get(status, (status, status))[count > 1]}" for status, count in sorted(counts.items())]


def describe_case(result: CaseResult) -> str:
    """Describe what came of a case in one line: its worst verdict, or why it is refused."""
    title = " ".join(part for part in result.place[:3] if part)
    odd = next((row for row in result.rows if row.get("status") not in ("DONE", "NO_MASK") and row.get("code")), None)
    verdicts = Counter(row["verdict"] for row in result.rows if row.get("verdict"))
    masks = sum(row.get("role") == "mask" and bool(row.get("output")) for row in result.rows)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    line = "  ".join(filter(None, [result.status, title, _count(masks, "mask"), counted]))
    if odd is None:
        return line
    about = odd.get("mask") or odd.get("series", "")
    return f"{line}  {about}: {odd['code']}: {odd.get('message', '')}"


def describe_end(
    results: Sequence[CaseResult], plan: CohortPlan, out: Path, page: Path | None, *, shown: Collection[str] = ()
) -> list[str]:
    """Describe what the data set holds now, and what is odd.

    Args:
        results: of every case.
        plan: that was run.
        out: the output folder.
        page: that was written; None for none.
        shown: keys of cases that had a line before.

    Returns: the lines.
    """
    from ..cohort.plan import PRIVATE

    counts = _counts(results, plan.rest)
    if not counts:
        return ["nothing to convert"]
    counted = ", ".join(f"{count} {status}" for status, count in counts.items())
    pages = f" and {page.name}" if page else ""
    return [
        *describe_odd(results, plan.rest, shown=shown, most=_MOST_LINES),
        *describe_others(plan.rest),
        f"{counted}; every row with its reason is in {out.resolve().name}/{NAME}{pages}; {PRIVATE}/{NAME} has the folders too, and is "
        "private",
    ]


def result_as_json(result: CaseResult) -> dict[str, Any]:
    """Make the JSON of a case: subject, session and name, status and rows."""
    return {"Place": list(result.place[:3]), "Status": result.status, "Rows": list(result.rows)}


def summary_as_json(results: Sequence[CaseResult], plan: CohortPlan) -> dict[str, Any]:
    """Make the JSON of a run: counts, and every row."""
    rows = [row for result in results for row in result.rows]
    return {"Counts": _counts(results, plan.rest), "Rows": [*rows, *plan.rest]}


def exit_of(results: Sequence[CaseResult], plan: CohortPlan) -> int:
    """The exit code of a run: 0 where nothing is odd, 8 where something is done, 10 where nothing is."""
    counts = _counts(results, plan.rest)
    done = counts["DONE"] + counts["NO_MASK"] + counts["INCOMPLETE"]
    if any(row.get("code") == "UNEXPECTED" for result in results for row in result.rows):
        return int(Exit.INTERNAL_ERROR)
    if not any(counts[status] for status in _ODD):
        return int(Exit.VERIFIED if results else Exit.NOTHING_TO_CONVERT)
    return int(Exit.PARTLY_DONE if done else Exit.REFUSED)


def _counts(results: Iterable[CaseResult], rest: Iterable[TableRow]) -> Counter[str]:
    """Cases by their status, and series in no case by theirs; odd ones first."""
    counted = Counter([*(result.status for result in results), *(row["status"] for row in rest)])
    order = [*_ODD, "DONE", "NO_MASK", "LEFT_OUT"]
    return Counter({status: counted[status] for status in order if counted[status]})


def _row_line(row: TableRow) -> str:
    where = f" in {row['folder']}" if row.get("folder") else ""
    title = "  ".join(filter(None, [row["status"], row.get("subject", ""), row.get("series", "")]))
    return f"{title}{where}: {row.get('code', '')}: {row.get('message', '')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
