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
from ..core.unexpected import as_refusal
from .verify_file import check_contents, check_hashes
from .verify_find import FoundResult, find_results, is_ours, read_record_text
from .verify_record import check_digest, check_numbers
from .verify_replay import Asking, Replays
from .verify_result import Broken, NotChecked, Note, Values, VerifiedResult, VerifyStatus
from .verify_schema import check_schema
from .verify_source import SourceFolders, check_planes

_GIVE_DICOM = NotChecked("inputs, and the conversion made again", "no folder of DICOM was given (--dicom)")


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
                broken = Broken("verification", found.file.name, "to its end", refusal.message)
                yield VerifiedResult(found.file, "BROKEN", broken=(broken,))


def _verify_one(found: FoundResult, sources: _Given) -> VerifiedResult:
    """Verify one result."""
    file, path = found
    if path is None:
        return _odd(file, "NO RECORD", "record", f"{file.name} has no record beside it")
    try:
        text = read_record_text(path)
    except OSError as error:
        return _odd(file, "NO RECORD", "record", f"{path.name} cannot be read: {error.strerror or error}")
    record = text.values
    if record is None:
        broken = Broken("record", path.name, "a record in JSON", text.why)
        return VerifiedResult(file, "BROKEN", broken=(broken,))
    if not is_ours(record):
        return _odd(file, "OTHER PROGRAM", "record", f"{path.name} is no record of verimask")
    if record.get("Schema") != SCHEMA:
        why = f"{path.name} has the schema {record.get('Schema')!r:.80}; this version ({__version__}) knows {SCHEMA!r}"
        return _odd(file, "NEWER", "record", why)
    notes: list[Note] = [*check_digest(text.data, record)]
    wrong = check_schema(record)
    if wrong:
        return _result(file, ["digest", "schema"], [*notes, *wrong], "")
    named = record["Output"]
    if named != escape_bytes(file.name):
        other = path.with_name(named) if "/" not in named and "\0" not in named else file
        if other != file and other.exists():
            return _odd(file, "NO RECORD", "record", f"{path.name} is the record of {named}")
        notes.append(Broken("name of the file", path.name, named, file.name))
    notes += check_numbers(record)
    if not file.is_file():
        notes.append(Broken("file", file.name, "there", "not there"))
        return _result(file, ["digest", "schema", "numbers"], notes, record["Verdict"], "NO FILE")
    return _verify_file(file, record, notes, sources)


def _verify_file(file: Path, record: Values, notes: list[Note], sources: _Given) -> VerifiedResult:
    """Verify the file of a record, and its inputs where DICOM is given."""
    checked = ["digest", "schema", "numbers", "hashes", "header"]
    checked += [f"{len(record['Labels'])} label{'s' * (len(record['Labels']) != 1)}"] if "Labels" in record else []
    notes += check_hashes(file, record)
    if sources.folders is None:
        notes += check_contents(file, record, None)
        return _result(file, checked, [*notes, _GIVE_DICOM], record["Verdict"])
    found = sources.folders.find(record)
    like = next(iter(found.paths.get("like", ())), None)
    notes += check_contents(file, record, like)
    notes += found.notes
    checked.append(f"{len(record['Provenance']['Inputs'])} inputs")
    around = sources.folders.scan_around(found)
    if around is None:
        notes.append(NotChecked("planes in the files", "no DICOM series was found among the inputs"))
    else:
        notes += sources.folders.check_extra(found, around, record)
        notes += check_planes(found, around, record)
        checked.append("planes")
    if found.all_found:
        again = [*sources.replays.check(file, record, found, around)]
        notes += again
        checked += [] if any(n.what == "conversion made again" and isinstance(n, NotChecked) for n in again) else ["made again"]
    else:
        notes.append(NotChecked("conversion made again", "not all of its inputs were found"))
    return _result(file, checked, notes, record["Verdict"])


def _result(
    file: Path, checked: list[str], notes: list[Note], verdict: str, status: VerifyStatus | None = None
) -> VerifiedResult:
    broken = tuple(dict.fromkeys(note for note in notes if isinstance(note, Broken)))
    not_checked = tuple(dict.fromkeys(note for note in notes if isinstance(note, NotChecked)))
    return VerifiedResult(
        file, status or ("BROKEN" if broken else "HOLDS"), tuple(checked), broken, not_checked, verdict
    )


def _odd(file: Path, status: VerifyStatus, what: str, why: str) -> VerifiedResult:
    """A result of which nothing can be checked."""
    return VerifiedResult(file, status, not_checked=(NotChecked(what, why),))


def refuse_nothing(paths: Iterable[Path]) -> PipelineError:
    """The refusal where there is no result at all."""
    names = tuple(path.name for path in paths)
    words = f"there is no result among {', '.join(names)}"
    return refuse(Code.NOT_AN_OUTCOME, words, "Give a folder with NIfTI files that verimask wrote.", where=names)
