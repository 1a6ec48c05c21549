"""Read the ratings that a person gave to cases or results on a page, from the table that the page saves.

Rules:
- One kind of table for the pages of a cohort, of many records and of one. The key of a result is the name of its file.
- A rating is of one state of the files (column `outputs`). Of another state it is shown as an old one, not as its rating.
- A rating of a case that is not here is kept, and is in the table that the page saves next.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ..core.findings import Code, PipelineError, refuse
from ..core.regular_file import is_file
from ..core.table_cells import read_cell
from ..core.text_file import read_text
from .record import RecordFile

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


class RatedIdentity(NamedTuple):
    """What a page rates. state: of its files, "" where it has none."""

    key: str
    subject: str
    session: str
    case: str
    state: str

    @classmethod
    def of(cls, record: RecordFile) -> RatedIdentity:
        """That of the result of a record."""
        return cls(record.name, "", "", "", str(record.values.get("Provenance", {}).get("OutputSHA256", "")))


class ShownRating(NamedTuple):
    """The rating of a case as its page shows it, "" for none. old: what another state of its files was rated."""

    rating: str = ""
    note: str = ""
    old: str = ""

    @classmethod
    def of(cls, rating: Rating | None, identity: RatedIdentity) -> ShownRating:
        """Show a rating of the case that `identity` is of."""
        if rating is None:
            return cls()
        if rating.outputs in ("", identity.state):
            return cls(rating.rating, rating.note)
        note = f": {rating.note}" if rating.note else ""
        return cls(old=f"was {rating.rating or 'noted'} before its files changed{note}")


def table_of(record: Path) -> Path:
    """The table that the page of one record saves: liver.json -> liver.ratings.tsv"""
    return record.with_name(f"{record.stem}.{RATINGS}")


def read_tables(given: Sequence[Path], own: Iterable[Path]) -> tuple[Rating, ...]:
    """Read tables of ratings in the order in which they were saved, so that the last rating of a result counts.

    Args:
        given: tables that have to be there.
        own: tables that are read where they are there.

    Returns:
        Their rows.

    Raises:
        PipelineError: NO_SUCH_INPUT, BAD_RATINGS.
    """
    paths = [*given, *(path for path in dict.fromkeys(own) if path not in given and is_file(path))]
    saved = {path: path.stat().st_mtime_ns if is_file(path) else 0 for path in paths}
    return tuple(rating for path in sorted(paths, key=saved.__getitem__) for rating in read_ratings(path))


def read_ratings(path: Path) -> tuple[Rating, ...]:
    """Read a table of ratings. Raises NO_SUCH_INPUT, BAD_RATINGS."""
    try:
        text = StringIO(read_text(path), newline="")
        lines = [line for line in csv.reader(text, delimiter="\t", strict=True) if any(line)]
    except OSError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{path.name} cannot be read: {error.strerror or error}",
            f"Give the {RATINGS} that a page saved.",
            where=(path.name,),
        ) from error
    except (ValueError, csv.Error) as error:
        raise _bad_ratings(path, f"it is no table in UTF-8 ({error})") from error
    head = lines[0] if lines else []
    missing = [column for column in _NEEDED if column not in head]
    if missing:
        raise _bad_ratings(path, f"it has no column {missing[0]}")
    return tuple(_read_line(path, number, head, line) for number, line in enumerate(lines[1:], 2))


def _read_line(path: Path, number: int, head: Sequence[str], line: Sequence[str]) -> Rating:
    row = dict(zip(head, [*map(read_cell, line), *[""] * (len(head) - len(line))], strict=False))
    rating = row["rating"].strip().lower()
    if rating and rating not in VALUES:
        words = f"row {number} has the rating “{row['rating']}”, and one is {', '.join(VALUES)} or empty"
        raise _bad_ratings(path, words)
    return Rating(**{column: row.get(column, "") for column in COLUMNS} | {"rating": rating})


def match_ratings(
    ratings: Sequence[Rating], identities: Sequence[RatedIdentity]
) -> tuple[dict[int, Rating], tuple[Rating, ...]]:
    """Find what every rating is of: the same name and state, or else the only one of its name, or else of its key.

    Args:
        ratings: as read.
        identities: of what the page shows.

    Returns:
        The last rating of each, by its number; and the ratings of nothing that is here.
    """
    numbers: dict[tuple[str, ...], list[int]] = {}
    for n, identity in enumerate(identities):
        for length in (5, 4, *([1] if identity.key else [])):
            numbers.setdefault(identity[:length], []).append(n)
    found: dict[int, Rating] = {}
    others = []
    for rating in ratings:
        whole = (*rating[:4], rating.outputs)
        matching = (numbers.get(name, []) for name in (whole, rating[:4], rating[:1]))
        number = next((same[0] for same in matching if len(same) == 1), None)
        if number is None:
            others.append(rating)
        else:
            found[number] = rating
    return found, tuple(others)


def list_for_script(
    identities: Sequence[RatedIdentity], shown: Sequence[ShownRating], others: Sequence[Rating], name: str
) -> dict[str, Any]:
    """List what the script of a page needs to rate, and to save the table.

    Args:
        identities: of what the page shows.
        shown: the rating of each.
        others: ratings of nothing that is here, which the saved table keeps.
        name: of the file that is saved.

    Returns:
        Values for JSON.
    """
    results = [{"id": list(one), "rating": list(rating[:2])} for one, rating in zip(identities, shown, strict=True)]
    return {"results": results, "others": [list(other) for other in others], "table": describe_table(name)}


def describe_table(name: str) -> Mapping[str, Any]:
    """Describe the table that a page saves, for its script."""
    return {"name": name, "columns": COLUMNS, "values": VALUES}


def _bad_ratings(path: Path, why: str) -> PipelineError:
    return refuse(
        Code.BAD_RATINGS,
        f"{path.name} is no table of ratings: {why}",
        f"Give the {RATINGS} that a page saved; its columns are {', '.join(COLUMNS)}.",
        where=(path.name,),
    )
