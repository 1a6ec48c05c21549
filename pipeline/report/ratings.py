"""Read the ratings that a person gave to cases on the page, from the table that the page saves.

Rules:
- A rating is of one state of a case's files (column `outputs`). Of another state it is shown as an old one, not as its rating.
- A rating of a case that is not here is kept, and is in the table that the page saves next.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Code, PipelineError, refuse
from .cohort_table import PageCase

RATINGS = "ratings.tsv"
VALUES = ("good", "doubtful", "bad")  # by the keys 1, 2 and 3
COLUMNS = ("key", "subject", "session", "case", "rating", "note", "outputs")
_NEEDED = COLUMNS[:-1]


class Rating(NamedTuple):
    """One row of ratings.tsv. outputs: `state` of the case that was rated, "" where it is not known."""

    key: str
    subject: str
    session: str
    case: str
    rating: str
    note: str
    outputs: str = ""


def read_ratings(path: Path) -> tuple[Rating, ...]:
    """Read a table of ratings. Raises NO_SUCH_INPUT, BAD_RATINGS."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, delimiter="\t", strict=True) if any(line)]
    except OSError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{path.name} cannot be read: {error.strerror or error}",
            f"Give the {RATINGS} that the page of the cohort saved.",
            where=(path.name,),
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad_ratings(path, f"it is no table in UTF-8 ({error})") from error
    head = lines[0] if lines else []
    missing = [column for column in _NEEDED if column not in head]
    if missing:
        raise _bad_ratings(path, f"it has no column {missing[0]}")
    return tuple(_read_line(path, number, head, line) for number, line in enumerate(lines[1:], 2))


def _read_line(path: Path, number: int, head: Sequence[str], line: Sequence[str]) -> Rating:
    row = dict(zip(head, [*line, *[""] * (len(head) - len(line))], strict=False))
    rating = row["rating"].strip().lower()
    if rating and rating not in VALUES:
        words = f"row {number} has the rating “{row['rating']}”, and one is {', '.join(VALUES)} or empty"
        raise _bad_ratings(path, words)
    return Rating(**{column: row.get(column, "") for column in COLUMNS} | {"rating": rating})


def match_ratings(ratings: Sequence[Rating], cases: Sequence[PageCase]) -> tuple[dict[int, Rating], tuple[Rating, ...]]:
    """Find the case of every rating: the one of the same key and name, or else the only one of its key.

    Args:
        ratings: as read.
        cases: of the page.

    Returns:
        The last rating of each case, by the number of the case; and the ratings of no case.
    """
    exact = {(case.key, *case.name_parts): n for n, case in enumerate(cases)}
    by_key: dict[str, list[int]] = {}
    for n, case in enumerate(cases):
        if case.key:
            by_key.setdefault(case.key, []).append(n)
    found: dict[int, Rating] = {}
    others = []
    for rating in ratings:
        same = by_key.get(rating.key, [])
        number = exact.get(rating[:4], same[0] if len(same) == 1 else None)
        if number is None:
            others.append(rating)
        else:
            found[number] = rating
    return found, tuple(others)


def _bad_ratings(path: Path, why: str) -> PipelineError:
    return refuse(
        Code.BAD_RATINGS,
        f"{path.name} is no table of ratings: {why}",
        f"Give the {RATINGS} that the page of the cohort saved; its columns are {', '.join(COLUMNS)}.",
        where=(path.name,),
    )
