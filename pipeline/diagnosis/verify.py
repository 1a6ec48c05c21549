"""Verify results made earlier: replay their proof from record and file, and from the DICOM where it is given.

Rules:
- A result is verified by itself: what is wrong with one keeps no other from it.
- First what the record is, then its digest and schema: nothing is computed from a record that its schema does not allow.
- Everything that can be checked is, whatever was broken before, so that what is named is all there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .. import __version__
from ..conversion.record import SCHEMA
from ..core.findings import Code, PipelineError, refuse
from ..core.plain_text import escape_bytes
from ..core.regular_file import is_file, is_there
from ..core.unexpected import as_refusal
from .verify_file import check_contents, check_hashes
from .verify_find import FoundResult, find_results, is_ours, read_record_text
from .verify_record import DIGEST, check_digest, check_numbers
from .verify_replay import REPLAY, WITNESSES, Asking, Replays
from .verify_result import Broken, NotChecked, Note, RecordValues, VerifiedResult, VerifyStatus
from .verify_schema import RECORD_SCHEMA, check_schema
from .verify_source import PLANES, SourceFolders, check_planes

_OF_RECORD = (DIGEST, RECORD_SCHEMA, "numbers of the record")
_OF_FILE = (*_OF_RECORD, "hashes of the files", "header")
_GIVE_DICOM = NotChecked("inputs, and the conversion made again", "no folder of DICOM was given (--dicom)")
_STRIPPED = NotChecked(
    "inputs, and the conversion made again", "UIDs and digests of its inputs were taken out (--strip)"
)


class _Given(NamedTuple):
    """What results are held against. folders: of the DICOM; None where none was given."""

    folders: SourceFolders | None
    replays: Replays


def verify(
    paths: Iterable[Path], dicom: Iterable[Path] = (), crosscheck: Asking | None = None
) -> Iterator[VerifiedResult]:
    """Verify every result among paths, one after the other.

    Args:
        paths: NIfTI files, records, and folders of them.
        dicom: folders or files among which the inputs are; without any, record and file are held against each other.
        crosscheck: how witnesses are asked again; None for not at all.

    Returns: what became of each, in the order of their paths.

    Raises: PipelineError NO_SUCH_INPUT for a path that is not there, NOT_THIS_KIND for a file that is neither.
    """
    given = list(dicom)
    with Replays(crosscheck) as replays:
        sources = _Given(SourceFolders(given) if given else None, replays)
        for found in find_results(paths):
            try:
                yield _verify_one(found, sources)
            except Exception as error:
                refusal = as_refusal(error, found.file.name).finding
                broken = Broken("verification", found.name, "to its end", refusal.message)
                yield VerifiedResult(found.name, "BROKEN", broken=(broken,))


def _verify_one(found: FoundResult, sources: _Given) -> VerifiedResult:
    """Verify one result."""
    file, path, name = found
    if path is None:
        return _odd(name, "NO RECORD", "record", f"{file.name} has no record beside it")
    try:
        text = read_record_text(path)
    except OSError as error:
        return _odd(name, "NO RECORD", "record", f"{path.name} cannot be read: {error.strerror or error}")
    record = text.values
    if record is None:
        broken = Broken("record", path.name, "a record in JSON", text.why)
        return VerifiedResult(name, "BROKEN", broken=(broken,))
    if not is_ours(record):
        return _odd(name, "OTHER PROGRAM", "record", f"{path.name} is no record of verimask")
    if record.get("Schema") != SCHEMA:
        why = f"{path.name} has the schema {record.get('Schema')!r:.80}; this version ({__version__}) knows {SCHEMA!r}"
        return _odd(name, "NEWER", "record", why)
    notes: list[Note] = [*check_digest(path.name, text.data, record)]
    wrong = [note._replace(where=f"{path.name} {note.where}") for note in check_schema(record)]
    if wrong:
        return _result(name, _OF_RECORD[:2], [*notes, *wrong], "")
    named = record["Output"]
    if named != escape_bytes(file.name):
        other = path.with_name(named) if "/" not in named and "\0" not in named else file
        if other != file and is_there(other):
            return _odd(name, "NO RECORD", "record", f"{path.name} is the record of {named}")
        notes.append(Broken("name of the file", path.name, named, file.name))
    notes += check_numbers(record)
    if not is_file(file):
        notes.append(Broken("file", file.name, "there", "not there"))
        return _result(name, _OF_RECORD, notes, record["Verdict"], "NO FILE")
    return _verify_file(found, record, notes, sources)


def _verify_file(found: FoundResult, record: RecordValues, notes: list[Note], given: _Given) -> VerifiedResult:
    """Verify the file of a record, and its inputs where DICOM is given."""
    file, name = found.file, found.name
    notes += check_hashes(file, record)
    if given.folders is None:
        notes += check_contents(file, record, None)
        return _result(name, [*_OF_FILE, *_labels(record)], [*notes, _GIVE_DICOM], record["Verdict"])
    if record["Policy"].get("Strip", "none") in ("uids", "all"):
        notes += check_contents(file, record, None)
        return _result(name, [*_OF_FILE, *_labels(record)], [*notes, _STRIPPED], record["Verdict"])
    inputs = given.folders.find(record)
    notes += check_contents(file, record, next(iter(inputs.paths.get("like", ())), None))
    notes += inputs.notes
    checked = [*_OF_FILE, *_labels(record), f"{len(record['Provenance']['Inputs'])} inputs"]
    around = given.folders.scan_around(inputs)
    if around is None:
        notes.append(NotChecked(PLANES, "no DICOM series was found among the inputs"))
    else:
        notes += given.folders.check_extra(inputs, around, record)
        notes += check_planes(inputs, around, record)
    if inputs.all_found:
        notes += given.replays.check(file, record, inputs, around)
    else:
        notes.append(NotChecked(REPLAY, "not all of its inputs were found"))
    checked += [PLANES, REPLAY, *([WITNESSES] if given.replays.asks_witnesses else [])]
    return _result(name, checked, notes, record["Verdict"])


def _labels(record: RecordValues) -> list[str]:
    count = len(record.get("Labels", []))
    return [f"{count} label{'' if count == 1 else 's'}"] if "Labels" in record else []


def _result(
    name: str, checked: Iterable[str], notes: list[Note], verdict: str, status: VerifyStatus | None = None
) -> VerifiedResult:
    """Put together what became of a result: what could not be checked was not, and what is broken decides."""
    broken = tuple(dict.fromkeys(note for note in notes if isinstance(note, Broken)))
    not_checked = tuple(dict.fromkeys(note for note in notes if isinstance(note, NotChecked)))
    left_out = {note.what for note in not_checked}
    done = tuple(word for word in checked if word not in left_out)
    return VerifiedResult(name, status or ("BROKEN" if broken else "HOLDS"), done, broken, not_checked, verdict)


def _odd(name: str, status: VerifyStatus, what: str, why: str) -> VerifiedResult:
    """A result of which nothing can be checked."""
    return VerifiedResult(name, status, not_checked=(NotChecked(what, why),))


def refuse_nothing(paths: Iterable[Path]) -> PipelineError:
    """The refusal where there is no result at all."""
    names = tuple(path.name for path in paths)
    words = f"there is no result among {', '.join(names)}"
    return refuse(Code.NOT_AN_OUTCOME, words, "Give a folder with NIfTI files that verimask wrote.", where=names)
