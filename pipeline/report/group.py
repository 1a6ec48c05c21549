"""Put many records together as one page: a table with thumbnails, the odd ones first.

Rules:
- Without script it is a plain table in a useful order; with script it sorts and filters.
- A record whose file is gone or changed is listed as that, never with a picture of something else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..core.findings import Code, PipelineError
from .pictures import Picture
from .ratings import RATINGS, RatedIdentity, ShownRating, list_for_script, match_ratings, read_tables, table_of
from .record import VERDICTS, RecordFile, check_file, explain_damage, read_record, sort_odd_first
from .render import render, script_of
from .views import draw_thumbnail

UNPROVEN = "UNPROVEN"  # the record's file is not there, or not the one it proves


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One line of the table. rank: its place by oddness. note: why there is no picture. link: relative, escaped for a URL."""

    record: RecordFile
    rank: int
    verdict: str
    codes: tuple[str, ...]
    picture: Picture | None
    note: str
    link: str


def make_group_page(
    outcomes: Sequence[Path], *, folder: Path | None = None, title: str = "Conversions", rated: Sequence[Path] = ()
) -> str:
    """Make many records one page. Each row links to the record's own page (liver.html) if there is one, or else to it.

    Args:
        outcomes: the JSON files of the records.
        folder: where the page will lie, for its links; that of the first record when None.
        title: of the page.
        rated: tables of ratings; those that this page and the pages of the records save are read too where they are there.

    Returns:
        The HTML text.

    Raises:
        PipelineError: NO_SUCH_INPUT, NOT_AN_OUTCOME for a file that is no record, NO_REPORT_PACKAGE, BAD_RATINGS.
    """
    records = list(sort_odd_first(read_record(path) for path in outcomes))
    with explain_damage(records):
        return _render_group(records, folder or (outcomes[0].parent if outcomes else Path()), title, rated)


def _render_group(records: Sequence[RecordFile], base: Path, title: str, rated: Sequence[Path]) -> str:
    rows = sorted((_make_row(record, base) for record in records), key=lambda r: (r.verdict != UNPROVEN, r.rank))
    counts = {v: sum(r.verdict == v for r in rows) for v in (UNPROVEN, *VERDICTS)}
    codes = sorted({code for row in rows for code in row.codes})
    identities = [RatedIdentity.of(row.record) for row in rows]
    own = [base / RATINGS, *(table_of(row.record.path) for row in rows)]
    found, others = match_ratings(read_tables(rated, own), identities)
    ratings = [ShownRating.of(found.get(n), identity) for n, identity in enumerate(identities)]
    return render(
        "group.html",
        styles=("group.css",),
        scripts=(script_of("shared.js", "rate.js", "group.js"),),
        title=title,
        rows=list(zip(rows, ratings, strict=True)),
        counts={v: n for v, n in counts.items() if n},
        codes=codes,
        data=list_for_script(identities, ratings, others, RATINGS),
    )


def _make_row(record: RecordFile, base: Path) -> Row:
    rank = VERDICTS.index(record.verdict) * 2 + (not record.warnings)
    codes = tuple(dict.fromkeys(str(f.get("Code", "")) for f in record.warnings))
    link = _link_to(record, base)
    if record.file is None:
        return Row(record, rank, record.verdict, codes, None, record.first_message, link)
    try:
        check_file(record)
        return Row(record, rank, record.verdict, codes, draw_thumbnail(record), "", link)
    except PipelineError as error:
        if error.finding.code not in (Code.NO_SUCH_INPUT, Code.NOT_THE_PROVEN_FILE):
            raise
        return Row(record, rank, UNPROVEN, (error.finding.code.name, *codes), None, error.finding.message, link)


def _link_to(record: RecordFile, base: Path) -> str:
    page = record.path.with_suffix(".html")
    relative = os.path.relpath(page if page.exists() else record.path, base).replace(os.sep, "/")
    return quote(os.fsencode(relative))
