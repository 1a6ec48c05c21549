"""Describe plans and results of a cohort in lines of text and in JSON, and keep the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..core.findings import Exit
from ..core.plain_text import escape_controls

if TYPE_CHECKING:
    from ..cohort.case import CaseResult, TableRow
    from ..cohort.plan import CohortPlan
    from ..cohort.planning import Planned
    from ..cohort.running.run import Judged

_MOST_LINES = 30  # of a list that would fill the screen
_ODD = ("REFUSED", "AMBIGUOUS", "NO_IMAGE", "INCOMPLETE")


class Clock:
    """Counts what is done, and says how long the rest will take at that speed."""

    def __init__(self, total: int) -> None:
        self._begun, self._done, self._total = monotonic(), 0, total

    def count(self) -> int:
        """Return how many are done."""
        return self._done

    def time_left(self) -> str:
        """Count one more, and say how long the rest takes."""
        self._done += 1
        seconds = (monotonic() - self._begun) / self._done * (self._total - self._done)
        if seconds < 90:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
    """Describe what will be done: what changed, what each case is and why, and what is in no case.

    Args:
        planned: the plan.
        judged: what earlier runs made of it.
        whole: whether each case has a line, and not only what is odd.

    Returns: the lines.
    """
    plan, changes = planned.plan, planned.changes
    subjects = {plan.case(number).place.subject for number in range(len(plan))}
    lines = [
        f"{changes.new + changes.changed + changes.unchanged} files ({changes.new} new, {changes.changed} changed, "
        f"{changes.gone} gone), {planned.series} series: {len(plan)} cases of {len(subjects)} subjects"
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
    return lines + describe_rest(plan.rest)


def describe_rest(rest: Sequence[TableRow]) -> list[str]:
    """Describe the series that are in no case: odd ones each, the others counted."""
    lines = [_row_line(row) for row in rest if row["status"] in _ODD]
    others = Counter(row["status"] for row in rest if row["status"] not in _ODD)
    words = {
        "NO_MASK": "images without a mask (--images all writes them)",
        "LEFT_OUT": "series that are neither image nor mask",
    }
    return _shortened(lines) + [f"{count} {words.get(status, status)}" for status, count in sorted(others.items())]


def describe_case(result: CaseResult) -> str:
    """Describe what came of a case in one line: its worst verdict, or why it is refused."""
    title = " ".join(part for part in result.place[:3] if part)
    odd = next((row for row in result.rows if row.get("status") not in ("DONE", "NO_MASK") and row.get("code")), None)
    verdicts = Counter(row["verdict"] for row in result.rows if row.get("verdict"))
    masks = sum(row.get("role") == "mask" and bool(row.get("output")) for row in result.rows)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    line = "  ".join(filter(None, [result.status, title, f"{masks} {'mask' if masks == 1 else 'masks'}", counted]))
    if odd is None:
        return line
    about = odd.get("mask") or odd.get("series", "")
    return f"{line}  {about}: {odd['code']}: {odd.get('message', '')}"


def describe_end(results: Sequence[CaseResult], plan: CohortPlan, out: Path, page: Path | None) -> list[str]:
    """Describe what the data set holds now.

    Args:
        results: of every case.
        plan: that was run.
        out: the output folder.
        page: that was written; None for none.

    Returns: the lines.
    """
    counts = _counts(results, plan.rest)
    counted = ", ".join(f"{count} {status}" for status, count in counts.items())
    shown = f" and {page.name}" if page else ""
    return [f"{counted}; every row with its reason is in {out.name}/cohort.tsv{shown}"]


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
    return f"  {row['status']}  {row.get('subject', '')}  {row.get('series', '')}{where}: {row.get('code', '')}: {row.get('message', '')}"


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_MOST_LINES], f"  ... and {len(lines) - _MOST_LINES} more"]
