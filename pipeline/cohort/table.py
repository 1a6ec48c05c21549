"""Write cohort.tsv: one row for each image and mask, and for each series that is in no case.

Rules:
- It is always whole: every row that is known, in one order, in its place at once.
- A cell holds no identifier, and is written as `table_cells` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.atomic_file import in_place, make_folder
from ..core.plain_text import escape_text
from ..core.table_cells import write_cell
from .case import COLUMNS, TableRow

NAME = "cohort.tsv"  # in the output folder; in its private folder, the same lines with all that the inputs are called


def in_order(rows: Iterable[TableRow]) -> list[TableRow]:
    """Sort rows by where they belong."""
    return sorted(rows, key=_order)


def table_text(rows: Iterable[TableRow]) -> str:
    """The text of a table: a head, and a line a row."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(write_cell(str(row.get(column, ""))) for column in COLUMNS) for row in rows]
    return "\n".join(lines) + "\n"


def write_text(path: Path, text: str) -> None:
    """Put a text of ours in its place, where it replaces the one before. Raises CANNOT_WRITE."""
    make_folder(path.parent)
    with in_place(path, overwrite=True) as part:
        part.write_text(escape_text(text), "utf-8", newline="\n")


def _order(row: TableRow) -> tuple[str, ...]:
    """Where it belongs: subjects in order, series that are in no case after those of their subject, images first."""
    has_case = "" if row.get("case") else "~"
    return (
        row.get("subject", ""), row.get("session", ""), has_case, row.get("case", ""), row.get("role", ""),
        row.get("channel", ""), row.get("folder", ""), row.get("series", ""), row.get("key", ""), row.get("mask", ""),
        row.get("label", ""), row.get("output", ""),
    )  # fmt: skip
