"""Read the table that a user gives back: which subject, session, image and role a series has.

Rules:
- It is text with tabs, in UTF-8, with a row of names: `key`, and any of `subject`, `session`, `image` and `role`. The other
  columns of cohort.tsv are passed over, so that it can be edited and given back; a column of any other name is refused.
- An empty cell settles nothing. A series may stand in several rows; they must not contradict each other.
- A structure set or SEG may name several images, one a row. Every other mask has one.
- Every refusal names the line and the column. What a cell holds is quoted; it may be wrong, but it came from the user.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from ...conversion.file_names import safe
from ...core.findings import Code, PipelineError, refuse
from ...core.plain_text import escape_controls
from ...core.table_cells import read_cell
from ...core.text_file import read_text
from ..case import COLUMNS
from ..facts import Role, SeriesFacts
from ..links import ON_SEVERAL
from .unique_names import folded

_SETTLING = ("subject", "session", "image", "role")
_ROLES: dict[str, Role] = {"image": "image", "mask": "mask", "ignore": "other", "other": "other"}


class TableGiven(NamedTuple):
    """What a table settles, each by the key of a series. images: the keys of the images of a mask. roles: that differ."""

    subjects: dict[str, str]
    sessions: dict[str, str]
    images: dict[str, tuple[str, ...]]
    roles: dict[str, str]

    def with_roles(self, facts: Sequence[SeriesFacts]) -> list[SeriesFacts]:
        """The facts of all series, with the roles that the table gives them; what is to be ignored is "other"."""
        return [replace(fact, role=_ROLES[self.roles[fact.key]]) if fact.key in self.roles else fact for fact in facts]


class _Cell(NamedTuple):
    """One cell that settles something. line: from 1, that of the names being the first."""

    line: int
    column: str
    key: str
    value: str


def read_table(path: Path, facts: Sequence[SeriesFacts], keys: Mapping[str, str] | None = None) -> TableGiven:
    """Read a table and check it against the series there are.

    Args:
        path: of the table.
        facts: every series of the cohort.
        keys: of series, by what cohort.tsv calls them instead.

    Returns: what it settles.

    Raises: PipelineError NO_SUCH_INPUT where it cannot be read, BAD_TABLE where it cannot be followed.
    """
    return _Reader(path.name, {fact.key: fact for fact in facts}, keys or {}).read(read_table_text(path))


def read_table_text(path: Path) -> str:
    """Read the text of a table, unchecked. Raises PipelineError NO_SUCH_INPUT, and BAD_TABLE where it is no text."""
    try:
        return read_text(path)
    except OSError as error:
        words = f"the table {escape_controls(path.name)} cannot be read: {error.strerror}"
        raise refuse(Code.NO_SUCH_INPUT, words, "Check the path.", where=(path.name,)) from error
    except ValueError as error:
        why = "is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error}"
        words = f"the table {escape_controls(path.name)} {why}"
        raise refuse(Code.BAD_TABLE, words, "Save it as text with tabs, in UTF-8.", where=(path.name,)) from error


class _Reader(NamedTuple):
    """One table while it is read. name: of its file. keys: that stand for those of series."""

    name: str
    facts: Mapping[str, SeriesFacts]
    keys: Mapping[str, str]

    def read(self, text: str) -> TableGiven:
        """Read and check all of it."""
        cells = list(self._cells(text))
        roles = self._settled(cells, "role")
        images = self._images(cells, roles)
        for cell in cells:
            if cell.column in ("subject", "session"):
                self._check_name(cell)
        for column in ("subject", "session"):
            self._check_apart([cell for cell in cells if cell.column == column])
        changed = {k: role for k, role in roles.items() if _ROLES[role] != self.facts[k].role}
        return TableGiven(self._settled(cells, "subject"), self._settled(cells, "session"), images, changed)

    def _cells(self, text: str) -> Iterator[_Cell]:
        """The cells that settle something, row by row."""
        rows = csv.reader(StringIO(text, newline=""), "excel-tab")
        columns = [name.strip() for name in next(rows, [])]
        self._check_columns(columns)
        for row in rows:
            if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
                raise self._refused(rows.line_num, "", f"there are {len(row)} cells under {len(columns)} names")
            values = {name: read_cell(cell.strip()) for name, cell in zip(columns, row, strict=False)}
            values |= {name: self.keys.get(values[name], values[name]) for name in ("key", "image") if name in values}
            key = values.get("key", "")
            settling = [(name, values[name]) for name in _SETTLING if values.get(name)]
            if values.get("status") == "GONE":  # of cohort.tsv: what the case was made of is not there any more
                continue
            if settling and key not in self.facts:
                words = f"no series here has the key “{escape_controls(key)}”" if key else "there is no key"
                raise self._refused(rows.line_num, "key", words, "Keys are in the column key of cohort.tsv.")
            yield from (_Cell(rows.line_num, name, key, value) for name, value in settling)

    def _check_columns(self, columns: Sequence[str]) -> None:
        unknown = [name for name in columns if name not in (*COLUMNS, "")]
        double = sorted({name for name in columns if name and columns.count(name) > 1})
        if "key" not in columns or unknown or double:
            words = f"“{escape_controls(unknown[0])}” is no column of it" if unknown else "there is no column key"
            words = f"there are two columns {double[0]}" if double else words
            raise self._refused(1, "", words, "Its columns are key, subject, session, image and role, apart by tabs.")

    def _images(self, cells: Sequence[_Cell], roles: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """The images of every mask, in order."""
        found: dict[str, dict[str, int]] = {}
        for cell in cells:
            if cell.column != "image":
                continue
            own, image = (_ROLES[roles[k]] if k in roles else self._role(k) for k in (cell.key, cell.value))
            if image != "image":
                what = "is no image" if image else "is the key of no series here"
                raise self._refused(cell.line, "image", f"“{escape_controls(cell.value)}” {what}")
            if cell.value == cell.key:  # as cohort.tsv says of an image
                continue
            if own != "mask":
                raise self._refused(cell.line, "image", f"{cell.key} is no mask, and only a mask has an image")
            lines = found.setdefault(cell.key, {})
            lines.setdefault(cell.value, cell.line)
            if len(lines) > 1 and self.facts[cell.key].kind not in ON_SEVERAL:
                words = f"{cell.key} has another image in line {min(lines.values())}, and it lies on one"
                raise self._refused(cell.line, "image", words)
        return {key: tuple(sorted(images)) for key, images in found.items()}

    def _role(self, key: str) -> str:
        return self.facts[key].role if key in self.facts else ""

    def _settled(self, cells: Sequence[_Cell], column: str) -> dict[str, str]:
        """What one column says of each series."""
        found: dict[str, _Cell] = {}
        for cell in cells:
            if cell.column != column:
                continue
            if column == "role" and cell.value not in _ROLES:
                raise self._refused(
                    cell.line, "role", f"“{escape_controls(cell.value)}” is none of {', '.join(_ROLES)}"
                )
            first = found.setdefault(cell.key, cell)
            if first.value != cell.value:
                words = f"“{escape_controls(cell.value)}” contradicts line {first.line}, which has another {column} for {cell.key}"
                raise self._refused(cell.line, column, words)
        return {key: cell.value for key, cell in found.items()}

    def _check_name(self, cell: _Cell) -> None:
        plain = (
            cell.value.isascii() and cell.value.isalnum()
            if cell.column == "session"
            else safe(cell.value) == cell.value
        )
        if not plain or not folded(cell.value):
            signs = (
                "letters and digits" if cell.column == "session" else "letters, digits, hyphens, dots and underscores"
            )
            words = f"“{escape_controls(cell.value)}” is no name for files: {signs} without accents are"
            raise self._refused(cell.line, cell.column, words)

    def _check_apart(self, cells: Sequence[_Cell]) -> None:
        """Refuse two names that differ in less than their letters and digits."""
        found: dict[str, _Cell] = {}
        for cell in cells:
            first = found.setdefault(folded(cell.value), cell)
            if first.value != cell.value:
                words = f"“{cell.value}” is “{first.value}” of line {first.line} where letters and digits alone count"
                raise self._refused(cell.line, cell.column, words, "Write both the same way, or take another name.")

    def _refused(self, line: int, column: str, words: str, hint: str = "Correct the cell.") -> PipelineError:
        place = f"line {line}" + (f", column {column}" if column else "")
        name = escape_controls(self.name)
        return refuse(Code.BAD_TABLE, f"{name}, {place}: {words}", hint, where=(name, place))
