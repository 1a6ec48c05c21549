"""Write down which cases there are, once and for all: the file that every process and machine works from.

Rules:
- A plan is never changed: its name is the SHA-256 of its bytes, which is checked when it is read. Planning anew writes another
  file, so that whoever works from this one goes on with what it says.
- Everything that decides a byte of the output stands in it, and nothing else: no time, no machine, no number of processes.
- One line is one case (JSON), after a first line with what holds for all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from ..core.atomic_file import drop_partial, new_partial, note_on_disk, reach_disk
from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy
from ..core.regular_file import read_bytes
from ..core.version import __version__
from ..core.write_refusals import cannot_write
from .case import Case, CaseSeries, Place, TableRow
from .facts import InputFile

SCHEMA = "verimask cohort plan 2"
PRIVATE = ".verimask"  # in the output folder: what holds paths and identifiers


@dataclass(frozen=True, slots=True)
class CohortOptions:
    """What decides the bytes of a data set, beside its inputs.

    layout: of `layouts.LAYOUTS`. labels: the text of labels.toml, "" for none. separate: whether each label is a file of its own.
    policy: tolerances and choices. incomplete: what becomes of a case that lacks a label or mask. title: of the data set.
    """

    layout: str = "pairs"
    labels: str = ""
    separate: bool = False
    policy: Policy = field(default_factory=Policy)
    incomplete: Literal["layout", "keep", "leave-out"] = "layout"
    title: str = "cohort"

    def as_json(self) -> dict[str, Any]:
        """The options as JSON has them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CohortOptions:
        """The options that `as_json` gave."""
        return cls(**{**value, "policy": Policy(**value["policy"])})

    @property
    def digest(self) -> str:
        """The SHA-256 of what decides the bytes of a case: all but the title, which stands in no case."""
        return sha256(_text({**self.as_json(), "title": ""}).encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class CohortPlan:
    """A plan that was read.

    rest: the rows of all series that are in no case. named: the names of files in their messages. lines: the JSON of each case.
    """

    path: Path
    options: CohortOptions
    version: str
    rest: tuple[TableRow, ...]
    named: tuple[str, ...]
    lines: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def case(self, number: int) -> Case:
        """The case of a number, from 0."""
        return _case_from_json(json.loads(self.lines[number]))

    def key(self, number: int) -> str:
        """The key of a case: the SHA-256 of all that decides its bytes, 32 hexadecimal digits."""
        return _key_of(self.lines[number], self.options, self.version)


def private_folder(out: Path) -> Path:
    """The folder below the output folder that holds paths and identifiers, and is not to be shared."""
    return out / PRIVATE


def content_of(case: Case) -> str:
    """The SHA-256 of what a case says, but for sizes and times of files: of what is converted how, and to which place."""

    def plain(members: Iterable[CaseSeries]) -> tuple[CaseSeries, ...]:
        return tuple(m._replace(files=tuple(InputFile(f.path, 0, 0) for f in m.files)) for m in members)

    stripped = case._replace(images=plain(case.images), masks=plain(case.masks), others=plain(case.others))
    return sha256(_line_of(stripped)).hexdigest()


def write_plan(
    folder: Path,
    options: CohortOptions,
    cases: Iterable[Case],
    rest: Iterable[TableRow],
    named: Iterable[str] = (),
) -> Path:
    """Write a plan into a folder, where it is not there yet.

    Args:
        folder: is made.
        options: of the data set.
        cases: in the order of the table.
        rest: the rows of series that are in no case.
        named: the names of files in their messages.

    Returns: the file, SHA256.jsonl.

    Raises: PipelineError CANNOT_WRITE.
    """
    head = {
        "Schema": SCHEMA,
        "Version": __version__,
        "Options": options.as_json(),
        "Rest": list(rest),
        "Named": list(named),
    }
    try:
        return _write_lines(folder, (_text(head).encode(), *map(_line_of, cases)))
    except OSError as error:
        raise cannot_write("the plan", error) from error


def _write_lines(folder: Path, lines: Iterable[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = new_partial(folder / "plan.jsonl")
    digest = sha256()
    try:
        with temporary.open("wb") as file:
            for line in lines:
                digest.update(line + b"\n")
                file.write(line + b"\n")
        path = folder / f"{digest.hexdigest()}.jsonl"
        reach_disk(temporary)
        temporary.replace(path)  # with the same bytes, where it is there
        note_on_disk(folder)
    finally:
        drop_partial(temporary)
    return path


def read_plan(path: Path) -> CohortPlan:
    """Read a plan, and check that it is the one its name says.

    Args:
        path: of `write_plan`.

    Returns: the plan.

    Raises: PipelineError NO_SUCH_INPUT, NOT_THE_PROVEN_FILE where its bytes are others, UNSUPPORTED_VERSION for one of
        another version of this program, whose results would be others.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"the plan {path.name} cannot be read: {error.strerror}",
            "Make one with verimask cohort plan INPUT -o OUT, which prints its path.",
            where=(path.name,),
        ) from error
    if sha256(data).hexdigest() != path.name.removesuffix(".jsonl"):
        raise refuse(
            Code.NOT_THE_PROVEN_FILE,
            f"{path.name} is not the plan its name says: its bytes have another SHA-256",
            "A plan is never edited or renamed. Make another one with verimask cohort plan.",
            where=(path.name,),
        )
    head, *lines = data.splitlines()
    given = json.loads(head)
    if (given["Schema"], given["Version"]) != (SCHEMA, __version__):
        raise _other_version(path, given)
    return CohortPlan(
        path,
        CohortOptions.from_json(given["Options"]),
        given["Version"],
        tuple(given["Rest"]),
        tuple(given["Named"]),
        tuple(lines),
    )


def _other_version(path: Path, head: Mapping[str, Any]) -> PipelineError:
    return refuse(
        Code.UNSUPPORTED_VERSION,
        f"{path.name} was made by version {head['Version']}, and this is {__version__}, whose results may differ",
        "Run it with the version that made it, or plan anew.",
        where=(path.name,),
    )


def _key_of(line: bytes, options: CohortOptions, version: str) -> str:
    return sha256(b"\n".join([line, options.digest.encode(), version.encode()])).hexdigest()[:32]


def _line_of(case: Case) -> bytes:
    """A case as one line: its tuples in their order, with the names of files without the folder that they share."""
    return _text(
        {
            "Place": case.place,
            "Images": [_series_as_json(series) for series in case.images],
            "Masks": [_series_as_json(series) for series in case.masks],
            "Others": [_series_as_json(series) for series in case.others],
            "Identifiers": case.identifiers,
        }
    ).encode()


def _series_as_json(series: CaseSeries) -> dict[str, Any]:
    folders: dict[str, list[Any]] = {}
    for path, size, mtime_ns in series.files:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append([name, size, mtime_ns])
    return {**series._asdict(), "files": folders}


def _series_from_json(value: dict[str, Any]) -> CaseSeries:
    files = [
        InputFile(f"{folder}/{name}" if folder else name, size, mtime_ns)
        for folder, entries in value["files"].items()
        for name, size, mtime_ns in entries
    ]
    return CaseSeries(**{**value, "files": tuple(files)})


def _case_from_json(value: dict[str, Any]) -> Case:
    images, masks, others = (tuple(map(_series_from_json, value[name])) for name in ("Images", "Masks", "Others"))
    return Case(Place(*value["Place"]), images, masks, others, tuple(value["Identifiers"]))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
