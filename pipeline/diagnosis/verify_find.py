"""Find the results below what is given: NIfTI files with their records, and either without the other.

Rules:
- A NIfTI file's record is the JSON of its name beside it, whatever that holds. Other JSON counts where it says it is a record.
- JSON is read with a limit of bytes; what is no JSON, or nests or counts too far, is said in words.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..conversion.record import sidecar_of
from ..core.findings import Code, refuse
from ..core.given_path import look_at_input
from ..core.json_file import parse_json
from ..core.limits import MOST_TEXT_BYTES
from ..core.plain_text import escape_bytes
from ..core.text_file import TooLong, read_bytes

_MOST_DIGITS = 32  # of a whole number
_OURS = "verimask outcome"
_SUFFIXES = (".nii.gz", ".nii")


class RecordText(NamedTuple):
    """What a JSON file holds. data: its bytes. values: None where it is no JSON object; why: what it is then."""

    data: bytes
    values: dict[str, Any] | None
    why: str = ""


class FoundResult(NamedTuple):
    """A NIfTI file, there or not, and its record, None where it has none. name: of the file, below the folder given."""

    file: Path
    record: Path | None
    name: str


def find_results(paths: Iterable[Path]) -> Iterator[FoundResult]:
    """Find every result among paths, in the order of their names, each once.

    Args:
        paths: NIfTI files, records, and folders of them.

    Returns: file and record of each.

    Raises: PipelineError NO_SUCH_INPUT for a path that is not there, FILE_UNREAD for one that cannot be reached, NOT_THIS_KIND
        for a file that is neither.
    """
    seen: set[Path] = set()
    for path in paths:
        for found in _find_below(path) if look_at_input(path).is_folder else [_result_of(path)]:
            if found.file not in seen:
                seen.add(found.file)
                own = found.file.relative_to(path).as_posix() if path.is_dir() else found.name
                yield found._replace(name=own)


def read_record_text(path: Path) -> RecordText:
    """Read a JSON file that may hold anything. Raises OSError."""
    try:
        data = read_bytes(path, MOST_TEXT_BYTES)
    except TooLong:
        return RecordText(b"", None, f"it is longer than {MOST_TEXT_BYTES} bytes")
    try:
        hooks: Any = {"parse_constant": _refuse_constant, "parse_int": _whole, "object_pairs_hook": _once}
        values = parse_json(data.decode("utf-8"), **hooks)
    except ValueError as error:
        return RecordText(data, None, f"it is no JSON: {error}")
    return RecordText(data, values) if isinstance(values, dict) else RecordText(data, None, "it is no JSON object")


def is_ours(values: dict[str, Any] | None) -> bool:
    """Whether JSON says that it is a record of this program, of any version."""
    if values is None:
        return False
    schema = values.get("Schema")
    return values.get("ConversionSoftware") == "verimask" or (isinstance(schema, str) and schema.startswith(_OURS))


def _result_of(path: Path) -> FoundResult:
    """The result that a file given is of."""
    if not look_at_input(path).is_there:
        raise refuse(Code.NO_SUCH_INPUT, f"{path.name} is not there", "Check the path.", where=(path.name,))
    if path.name.endswith(_SUFFIXES):
        record = sidecar_of(path)
        return FoundResult(path, record if record.exists() else None, path.name)
    if path.name.endswith(".json"):
        file = _file_of(path)
        return FoundResult(file, path, file.name)
    raise refuse(
        Code.NOT_THIS_KIND,
        f"{path.name} is neither a NIfTI file nor a record",
        "Give a .nii or .nii.gz file, the .json beside it, or a folder of them.",
        where=(path.name,),
    )


def _file_of(record: Path) -> Path:
    """The NIfTI file of a record, there or not: the one beside it that it names, else any beside it of its name."""
    stem = record.name.removesuffix(".json")
    niftis = [path for suffix in _SUFFIXES if (path := record.with_name(stem + suffix)).exists()]
    if len(niftis) == 1:
        return niftis[0]
    named = ""
    try:
        values = read_record_text(record).values
        named = str(values.get("Output", "")) if values else ""
    except OSError:
        pass
    there = [path for path in niftis if escape_bytes(path.name) == named]
    missing = named if named and named == Path(named).name and "\0" not in named else f"{stem}{_SUFFIXES[0]}"
    return there[0] if there else niftis[0] if niftis else record.with_name(missing)


def _find_below(folder: Path) -> Iterator[FoundResult]:
    """Every result below a folder. Links to folders are not followed."""
    open_ = [folder]
    while open_:
        here = open_.pop()
        try:
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            words = f"{here.name} cannot be listed: {error.strerror}"
            raise refuse(Code.FILE_UNREAD, words, "Check its permissions.", where=(here.name,)) from error
        open_ += reversed([here / e.name for e in listed if e.is_dir(follow_symlinks=False)])
        yield from _results_in([here / e.name for e in listed if not os.path.isdir(e)])


def _results_in(files: list[Path]) -> Iterator[FoundResult]:
    """The results among the files of one folder."""
    names = {path.name for path in files}
    niftis = [path for path in files if path.name.endswith(_SUFFIXES)]
    own = {sidecar_of(path).name for path in niftis}
    found = [FoundResult(path, r if (r := sidecar_of(path)).name in names else None, path.name) for path in niftis]
    for path in files:
        if path.name.endswith(".json") and path.name not in own and _says_it_is_one(path):
            found.append(FoundResult(_file_of(path), path, path.name))
    yield from sorted(found, key=lambda result: result.file.name)


def _says_it_is_one(path: Path) -> bool:
    try:
        return is_ours(read_record_text(path).values)
    except OSError:
        return False


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"it holds {text}, which JSON has not")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"it holds a whole number of {len(text)} digits")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose keys are each there once: which of two counts is not known."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"it holds a key twice: {key[:80]}")
        made[key] = value
    return made
