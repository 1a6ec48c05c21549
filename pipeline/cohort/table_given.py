"""Read the table that a user gives back: which subject, session, image and role a series has.

Rules:
- It is text with tabs, in UTF-8, with a row of names: `key`, and any of `subject`, `session`, `image` and `role`. cohort.tsv
  itself is such a table, whose other columns are passed over; in any other table a column of another name is a refusal.
- An empty cell settles nothing. A mask may stand in several rows; they must not contradict each other.
- A structure set or SEG may name several images, one a row. Every other mask has one.
- Every refusal names the line and the column. What a cell holds is quoted; it may be wrong, but it came from the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Code, refuse
from ..core.plain_text import escape_controls
from .facts import SeriesFacts

_SETTLING = ("subject", "session", "image", "role")
_ROLES = ("image", "mask", "ignore", "other")  # as users say it, and as cohort.tsv does


class TableGiven(NamedTuple):
    """What a table settles, each by the key of a series. images: the keys of the images of a mask. roles: that differ."""

    subjects: dict[str, str]
    sessions: dict[str, str]
    images: dict[str, tuple[str, ...]]
    roles: dict[str, str]

    def with_roles(self, facts: Sequence[SeriesFacts]) -> list[SeriesFacts]:
        """The facts of all series, with the roles that the table gives them; what is to be ignored is "other"."""
        by_name = {"image": "image", "mask": "mask", "ignore": "other", "other": "other"}
        return [replace(fact, role=by_name[self.roles[fact.key]]) if fact.key in self.roles else fact for fact in facts]


class _Cell(NamedTuple):
    """One cell that settles something. line: from 1, that of the names being the first."""

    line: int
    column: str
    key: str
    value: str


def read_table(path: Path, facts: Sequence[SeriesFacts]) -> TableGiven:
    """Read a table and check it against the series there are.

    Args:
        path: of the table.
        facts: every series of the cohort.

    Returns: what it settles.

    Raises: PipelineError NO_SUCH_INPUT where it cannot be read, BAD_TABLE where it cannot be followed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        words = f"the table {escape_controls(path.name)} cannot be read: {error.strerror}"
        raise refuse(Code.NO_SUCH_INPUT, words, "Check the path.", where=(path.name,)) from error
    except UnicodeDecodeError as error:
        words = f"the table {escape_controls(path.name)} is no text in UTF-8"
        raise refuse(Code.BAD_TABLE, words, "Save it as text with tabs, in UTF-8.", where=(path.name,)) from error
    return _Reader(path.name, {fact.key: fact for fact in facts}).read(text)


class _Reader(NamedTuple):
    """One table while it is read. name: of its file."""

    name: str
    facts: Mapping[str, SeriesFacts]

    def read(self, text: str) -> TableGiven:
        cells = list(self._cells(text))
        roles = self._settled(cells, "role")
        for cell in cells:
            if cell.column == "image":
                self._check_image(cell, roles)
        images: dict[str, dict[str, int]] = {}
        for cell in cells:
            if cell.column == "image" and cell.value != cell.key:
                images.setdefault(cell.key, {}).setdefault(cell.value, cell.line)
        self._check_several(images)
        subjects = self._settled(cells, "subject")
        self._check_names(cells)
        own = {key: self.facts[key].role for key in roles}
        changed = {key: role for key, role in roles.items() if role.replace("ignore", "other") != own[key]}
        settled = {key: tuple(sorted(values)) for key, values in images.items()}
        return TableGiven(subjects, self._settled(cells, "session"), settled, changed)
