"""Write the tables of docs/hardening.md from the tallies: `python -m tests.fuzz.hardening_page`.

Rules:
- The tables stand between markers; the rest of the page is written by hand.
- Counts only: no times, and nothing of the machine they were made on.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.fuzz.outcomes import (
    COMMANDS,
    FAILURES,
    JUDGED,
    OUTCOMES,
    PARSERS,
    READ,
    REFUSED,
    UNJUDGED,
    WRITTEN,
    WRONG,
    Tally,
)

HERE = Path(__file__).parent
OURS, PEERS = HERE / "tallies.json", HERE / "peer_tallies.json"
KILLS = HERE.parent / "kills" / "tally.json"
PAGE = HERE.parents[1] / "docs" / "hardening.md"
_MARKERS = re.compile(r"(<!-- (parsers|commands|peers|kills): made by .*? -->\n).*?(<!-- end -->)", re.DOTALL)
_KILLED = ("untouched", "part of the files", "whole", "over", "fault")


def hardening_page() -> str:
    """The page, with its tables as the tallies have them now."""
    tables = {"parsers": _ours(PARSERS), "commands": _ours(COMMANDS), "peers": _peers(), "kills": _kills()}
    text = PAGE.read_text("utf-8")
    return _MARKERS.sub(lambda m: m[1] + "\n" + "\n".join(tables[m[2]]) + "\n\n" + m[3], text)


def _ours(kind: str) -> list[str]:
    """The table of one kind of run, a row a parser."""
    tally = Tally.read(OURS) if OURS.exists() else Tally()
    judged = kind == COMMANDS
    shown = (
        [REFUSED, READ, WRITTEN, *FAILURES] if judged else [name for name in OUTCOMES if name not in (WRITTEN, WRONG)]
    )
    head = ["input", "runs", *shown, *([JUDGED, UNJUDGED] if judged else [])]
    rows = tally.inputs.get(kind, {})
    lines = [f"{tally.total(kind):,} inputs of {len(rows)} kinds, from {_seeds(tally, kind)}.", "", *_table(head)]
    lines += [_row(name, counts, head[2:]) for name, counts in rows.items()]
    return [*lines, _row("all", _sum(rows), head[2:])]


def _peers() -> list[str]:
    """The table of other converters, a row each."""
    tally = Tally.read(PEERS) if PEERS.exists() else Tally()
    shown = [REFUSED, WRITTEN, *(name for name in FAILURES if name not in ("traceback", "leftover"))]
    head = ["converter", "runs", *shown, JUDGED, UNJUDGED]
    lines = [f"Each was given the same inputs, from {_seeds(tally, next(iter(tally.seeds), ''))}.", "", *_table(head)]
    return [*lines, *(_row(peer, _sum(rows), head[2:]) for peer, rows in tally.inputs.items())]


def _kills() -> list[str]:
    """The table of kills, a row a command: how many of them left what."""
    tally = json.loads(KILLS.read_text("utf-8")) if KILLS.exists() else {"Kills": 0, "Rows": []}
    rows: dict[str, Counter[str]] = {}
    for row in tally["Rows"]:
        rows.setdefault(row["Command"], Counter())[row["Outcome"]] += row["Count"]
    lines = [
        f"{tally['Kills']:,} kills: SIGKILL, SIGTERM and SIGINT in turn.",
        "",
        *_table(["command", "kills", *_KILLED]),
    ]
    for name, counts in [*rows.items(), ("all", _sum(rows))]:
        cells = [sum(counts.values()), *(counts[outcome] for outcome in _KILLED)]
        lines.append("| " + " | ".join([name, *(f"{cell:,}" for cell in cells)]) + " |")
    return lines


def _seeds(tally: Tally, kind: str) -> str:
    count = len(tally.seeds.get(kind, ()))
    return f"{count} seed{'s' * (count != 1)}"


def _table(head: list[str]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)


def _row(name: str, counts: Mapping[str, int], columns: list[str]) -> str:
    total = sum(counts.get(outcome, 0) for outcome in OUTCOMES)
    cells = [f"{counts.get(column, 0):,}" for column in columns]
    return "| " + " | ".join([name, f"{total:,}", *cells]) + " |"


def _sum(rows: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    whole: Counter[str] = Counter()
    for counts in rows.values():
        whole.update(counts)
    return whole


if __name__ == "__main__":
    PAGE.write_text(hardening_page(), "utf-8")
    sys.exit()
