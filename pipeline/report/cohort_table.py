"""Read cohort.tsv, and put its rows together as the cases that a page shows.

Rules:
- The columns are those of the table's head: this room does not know what wrote it. Every value is text to be escaped.
- Rows of one subject, session and case are one case; a series that is in no case is shown on its own.
- A file is shown only where it lies below the table's folder and has the SHA-256 of its row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path, PurePosixPath

from ..core.findings import Code, PipelineError, refuse
from ..core.natural_order import natural_order
from ..core.table_cells import read_cell
from ..core.text_file import read_text
from ..dicom.source_file import sha256
from .file_memory import FileMemory
from .record import VERDICTS

TABLE = "cohort.tsv"
TableLine = Mapping[str, str]  # one row of the table, by column

_NEEDED = (
    "subject", "session", "case", "status", "role", "mask", "label", "link", "verdict", "code", "message", "ml",
    "output", "sha256", "key",
)  # fmt: skip
_STATUSES = (
    "REFUSED",
    "AMBIGUOUS",
    "NO_IMAGE",
    "INCOMPLETE",
    "GONE",
    "NEW",
    "STALE",
    "OPTIONS CHANGED",
    "VERSION CHANGED",
    "FAILED",
    "DONE",
    "NO_MASK",
    "LEFT_OUT",
)  # the odd ones first
UNPROVEN = "UNPROVEN"  # an output is gone, or is not the one of the table
_DIGEST = 16  # hexadecimal digits that tell one state of a case's files from another


@dataclass(frozen=True, slots=True, eq=False)
class PageCase:
    """One case of the page.

    rows: of the table, at least one. files: where its outputs lie, by their path in the table, where that is below its
    folder. problems: what is wrong with outputs, by the same path.
    """

    subject: str
    session: str
    name: str
    rows: tuple[TableLine, ...]
    files: Mapping[str, Path]
    problems: Mapping[str, str]

    @property
    def status(self) -> str:
        """The worst status of its rows; one that is not known counts as odd."""
        return min((row["status"] for row in self.rows), key=lambda s: _STATUSES.index(s) if s in _STATUSES else 0)

    @property
    def verdict(self) -> str:
        """The worst verdict of its rows, "" where none has one."""
        return min((r["verdict"] for r in self.rows if r["verdict"] in VERDICTS), key=VERDICTS.index, default="")

    @property
    def codes(self) -> tuple[str, ...]:
        """Every code of its rows once, in their order."""
        return tuple(dict.fromkeys(c for row in self.rows for c in re.split(r"[\s,;]+", row["code"]) if c))

    @property
    def messages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row["message"] for row in self.rows if row["message"]))

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row["link"] for row in self.rows if row["link"]))

    @property
    def key(self) -> str:
        """The key of its first row, which is that of its image."""
        return self.rows[0]["key"]

    @property
    def images(self) -> tuple[TableLine, ...]:
        return tuple(row for row in self.rows if row["role"] == "image")

    @property
    def masks(self) -> tuple[TableLine, ...]:
        return tuple(row for row in self.rows if row["role"] == "mask")

    @property
    def state(self) -> str:
        """What tells this state of its files from another: a digest of those that the table has, "" for none."""
        digests = [row["sha256"] for row in self.rows if row["sha256"]]
        return new_sha256(" ".join(digests).encode()).hexdigest()[:_DIGEST] if digests else ""

    @property
    def name_parts(self) -> tuple[str, str, str]:
        return self.subject, self.session, self.name


def ml_of(row: TableLine) -> float | None:
    """The volume of a row, None where it has none."""
    try:
        volume = float(row["ml"])
    except ValueError:
        return None
    return volume if math.isfinite(volume) and volume >= 0 else None


def read_cases(out: Path, memory: FileMemory) -> tuple[PageCase, ...]:
    """Read the table of a cohort and check the files it names. Raises NO_SUCH_INPUT, NOT_A_COHORT.

    The cases are sorted by subject, session and name, numbers by their value.
    """
    rows = read_rows(out / TABLE)
    groups: dict[tuple[str, ...], list[TableLine]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(_group_of(row, number), []).append(row)
    root = out.resolve()
    cases = (_make_case(root, group, memory) for group in groups.values())
    return tuple(sorted(cases, key=lambda c: [natural_order(part) for part in (*c.name_parts, c.key)]))


def read_rows(path: Path) -> list[TableLine]:
    """Read the rows of cohort.tsv. Raises NO_SUCH_INPUT, NOT_A_COHORT."""
    try:
        lines = read_text(path).replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{path.name} cannot be read: {error.strerror or error}",
            "Give the folder that verimask cohort wrote to.",
            where=(path.name,),
        ) from error
    except UnicodeDecodeError as error:
        raise _not_a_cohort(path, "it is not UTF-8") from error
    except ValueError as error:
        raise _not_a_cohort(path, str(error)) from error
    head = lines[0].rstrip("\r").split("\t")
    missing = [column for column in _NEEDED if column not in head]
    if missing:
        raise _not_a_cohort(path, f"it has no column {missing[0]}")
    rows: list[TableLine] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip("\r"):
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(head):
            raise _not_a_cohort(path, f"line {number} has {len(cells)} columns, and its head {len(head)}")
        rows.append(dict(zip(head, map(read_cell, cells), strict=True)))
    return rows


def _group_of(row: TableLine, number: int) -> tuple[str, ...]:
    if row["case"] or row["output"]:
        return row["subject"], row["session"], row["case"]
    return "series", row["key"] or str(number)


def _make_case(root: Path, rows: Iterable[TableLine], memory: FileMemory) -> PageCase:
    ordered = tuple(sorted(rows, key=lambda row: row["role"] != "image"))
    outputs = {row["output"]: row for row in ordered if row["output"]}
    places = {output: _locate(root, output) for output in outputs}
    problems = {output: _problem_of(places[output], row, memory) for output, row in outputs.items()}
    return PageCase(
        subject=ordered[0]["subject"],
        session=ordered[0]["session"],
        name=ordered[0]["case"],
        rows=ordered,
        files={output: path for output, path in places.items() if path is not None},
        problems={output: words for output, words in problems.items() if words},
    )


def _problem_of(path: Path | None, row: TableLine, memory: FileMemory) -> str:
    """Say what is wrong with the file of a row; "" for nothing."""
    if path is None:
        return f"{row['output']} is no path below the folder of {TABLE}"
    try:
        digest = memory.read(path, f"sha256 {row['output']}", sha256)
    except OSError:
        return f"{row['output']} is gone, or cannot be read"
    if digest != row["sha256"]:
        return f"{row['output']} is not the file of {TABLE}: its SHA-256 is another"
    return ""


def _locate(root: Path, relative: str) -> Path | None:
    """Find a file that the table names; None where that would lie outside of its folder, which has no link in its path."""
    parts = PurePosixPath(relative).parts
    if (
        not parts
        or relative.startswith("/")
        or "\\" in relative
        or ":" in parts[0]
        or ".." in parts
        or "\0" in relative
    ):
        return None
    path = root.joinpath(*parts)
    return path if path.resolve().is_relative_to(root) else None


def _not_a_cohort(path: Path, why: str) -> PipelineError:
    return refuse(
        Code.NOT_A_COHORT,
        f"{path.name} is not the table of a cohort: {why}",
        "Run verimask cohort again, which writes it.",
        where=(path.name,),
    )
