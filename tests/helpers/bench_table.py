"""Turn runs into lines of docs/benchmarks.md, with what was aimed at and whether it was met.

Rules:
- A ratio is the median of the ratios of pairs that ran side by side, never the ratio of two medians.
- A figure that was not measured meets nothing: its aim is "not measured".
- Lines are known by their first two cells, so that a few of them can be measured again and put in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.helpers.bench_tools import Run

HEAD = """| data | program | s | ratio | CPU s | CPU ratio | peak MiB | MB | aim | notes |
|---|---|--:|--:|--:|--:|--:|--:|---|---|"""
MET, NOT_MET = "met", "**not met**"
Runs = Mapping[str, Sequence[Run]]  # by the name of the program, in the order of the rounds


@dataclass(frozen=True)
class Aim:
    """At most `limit`: seconds, MiB ("MiB"), or the ratio to the fastest of `against` in the same round.

    row: where those are programs of another row, whose medians are taken.
    """

    limit: float
    unit: str = "s"
    against: tuple[str, ...] = ()
    row: str = ""

    def reached(self, runs: Sequence[Run], results: Runs) -> float | None:
        """The figure; None where it, or what it is held against, was not measured."""
        if not is_measured(runs):
            return None
        if not self.against:
            return max(r.peak_mib for r in runs) if self.unit == "MiB" else median(r.wall for r in runs)
        others = [results[name] for name in self.against if is_measured(results.get(name, ()))]
        if len(others) < len(self.against):
            return None
        if self.row:
            return median(r.wall for r in runs) / min(median(r.wall for r in other) for other in others)
        fastest = [min(r.wall for r in alike) for alike in zip(*others, strict=False)]
        return median(run.wall / other for run, other in zip(runs, fastest, strict=False))

    def words(self, runs: Sequence[Run], rows: Mapping[str, Runs], own: str) -> str:
        """What was aimed at, what was reached, and whether it is met."""
        reached = self.reached(runs, rows.get(self.row or own, {}))
        if self.against:
            fastest = "the fastest of " if len(self.against) > 1 else ""
            of = f" of {fastest}{', '.join(self.against)}{' in ' + self.row if self.row else ''}"
        else:
            of = f" {self.unit}"
        if reached is None:
            return f"≤ {self.limit:g}{of}: not measured"
        digits = 0 if self.unit == "MiB" else 2
        return f"≤ {self.limit:g}{of}: {reached:.{digits}f} {MET if reached <= self.limit else NOT_MET}"


def is_measured(runs: Sequence[Run]) -> bool:
    """Whether there are figures to compare with."""
    return bool(runs) and not any(run.problem for run in runs)


def lines_of(
    row: str, rows: Mapping[str, Runs], base: str, aims: Mapping[str, Sequence[Aim]], notes: Mapping[str, str]
) -> list[str]:
    """The lines of one row.

    Args:
        row: its name, which is in rows.
        rows: what has been measured so far, by the name of the row.
        base: the program that ratios are to; "" for none.
        aims: what is aimed at, by the name of the program.
        notes: what else there is to say, by the name of the program.

    Returns:
        One line of the table a program.
    """
    found = []
    for name, runs in rows[row].items():
        words = "; ".join(aim.words(runs, rows, row) for aim in aims.get(name, ()))
        problem = next((run.problem for run in runs if run.problem), "")
        note = "; ".join(part for part in (problem, notes.get(name, "")) if part)
        found.append(f"| {row} | {name} | {_figures(runs, rows[row].get(base, ()))} | {words} | {note} |")
    return found


def _figures(runs: Sequence[Run], others: Sequence[Run]) -> str:
    if not any(r.wall for r in runs):
        return " | ".join([""] * 6)
    ratios = ["", ""]
    if is_measured(runs) and is_measured(others):
        pairs = list(zip(runs, others, strict=False))
        ratios = [f"{median(a.wall / b.wall for a, b in pairs):.2f}", f"{median(a.cpu / b.cpu for a, b in pairs):.2f}"]
    wall, cpu = median(r.wall for r in runs), median(r.cpu for r in runs)
    peak, size = max(r.peak_mib for r in runs), runs[-1].written / 1e6
    return f"{wall:.3f} | {ratios[0]} | {cpu:.2f} | {ratios[1]} | {peak:.0f} | {size:.2f}"


def summary(lines: Sequence[str]) -> str:
    """How many aims were met, and which were not."""
    aims = [(line.split(" | ")[0].lstrip("| "), *_cells(line)) for line in lines]
    parts = [(row, name, aim) for row, name, words in aims for aim in words.split("; ") if aim]
    if not parts:
        return "No row with an aim has been measured."
    met = sum(aim.endswith(f" {MET}") for *_, aim in parts)
    open_ = [f"- {row}, {name}: {aim}" for row, name, aim in parts if not aim.endswith(f" {MET}")]
    return "\n".join([f"{met} of {len(parts)} aims met{'' if open_ else '.'}", *([""] if open_ else []), *open_])


def _cells(line: str) -> tuple[str, str]:
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    return cells[1], cells[8]


def replaced(table: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The table with these lines in the place of those of the same rows; a row that is new comes last."""
    rows = dict.fromkeys(_row(line) for line in [*table, *lines])
    anew = {_row(line) for line in lines}
    return [line for row in rows for line in (lines if row in anew else table) if _row(line) == row]


def _row(line: str) -> str:
    return line.strip("|").split("|")[0].strip()
