"""Send a result to an archive, and write what the archive answered beside it.

Rules:
- Nothing is sent before all of it was read and judged, and the answers can be written. Then each file is sent once; what the
  archive refuses keeps no other from being sent. Sending again is safe: an archive knows an instance by its SOP Instance UID.
- Afterwards the archive is asked what it lists of the series. Some list later: fewer are a fact of the record, and no refusal.
- The record of a result never changes, so the answers stand in a file of their own, NAME.sent.json: one entry a sending, each
  with the archive's address without credentials, the time, the judgement, and the answer for every instance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from ..conversion.record_text import as_text
from ..core.atomic_file import drop_partial, in_place, new_partial, refuse_special
from ..core.findings import Code, PipelineError, refuse
from ..core.json_file import read_json
from ..core.write_refusals import cannot_write
from .archive import Archive, ArchiveSeries, OutgoingFile, StoreAnswer
from .send_validation import TOOL, Validation

_ENDING = ".sent.json"
_SHOWN_ERRORS = 3


class Sending(NamedTuple):
    """What came of a sending. listed: instances of it that the archive lists; None where it could not be asked.

    failure: what ended it early.
    """

    answers: list[StoreAnswer]
    listed: int | None
    failure: PipelineError | None = None

    @property
    def stored(self) -> int:
        return sum(answer.is_stored for answer in self.answers)


def sent_path(result: Path) -> Path:
    """Where the answers for a result stand: beside it."""
    result = result.absolute()
    return result.with_name(result.name + _ENDING)


def read_sendings(result: Path) -> list[Any]:
    """Read the entries of earlier sendings of a result. Raises OUTPUT_EXISTS where there is something else."""
    path = sent_path(result)
    if not path.exists():
        return []
    try:
        sendings = read_json(path)["Sendings"]
    except (OSError, ValueError, KeyError, TypeError):
        sendings = None
    if not isinstance(sendings, list):
        hint = "Move it away, or give the result another name. Nothing was sent."
        raise refuse(Code.OUTPUT_EXISTS, f"{path.name} is there and not of a sending", hint, where=(path.name,))
    return sendings


def refuse_unwritable(result: Path) -> None:
    """Refuse where the answers could not be written beside a result. Raises CANNOT_WRITE, OUTPUT_EXISTS."""
    path = sent_path(result)
    refuse_special(path)
    try:
        drop_partial(new_partial(path))
    except OSError as error:
        raise cannot_write(path.name, error) from error


def refuse_invalid(validation: Validation, name: str) -> None:
    """Refuse what broke the rules. Raises INVALID_DICOM."""
    if not validation.errors:
        return
    first = [
        f"{words} (in {count:,} of {validation.judged:,} files)"
        for words, count in list(validation.errors.items())[:_SHOWN_ERRORS]
    ]
    more = len(validation.errors) - len(first)
    raise refuse(
        Code.INVALID_DICOM,
        f"{name} breaks the rules of DICOM in {len(validation.errors)} ways, says {TOOL}; nothing was sent",
        "\n  ".join(
            [
                "Where they come from the source images and do no harm, --allow-invalid sends it all the same.",
                *first,
                *([f"and {more} more"] if more else []),
            ]
        ),
        where=(name,),
        measured=float(len(validation.errors)),
        limit=0.0,
        unit="errors",
    )


def send(archive: Archive, files: Sequence[OutgoingFile], progress: Callable[[str, int, int], None]) -> Sending:
    """Send files.

    Args:
        archive: that they are for.
        files: of one study.
        progress: called with the stage, and how many were answered, of how many.

    Returns: the answers, up to what ended the sending where something did.
    """
    answers: list[StoreAnswer] = []
    try:
        for answer in archive.store(files):
            answers.append(answer)
            progress("sending", len(answers), len(files))
    except PipelineError as error:
        return Sending(answers, None, error)
    return Sending(answers, _count_listed(archive, files))


def write_sending(result: Path, earlier: Sequence[Any], entry: dict[str, Any]) -> Path:
    """Write the answers beside a result.

    Args:
        result: that was sent.
        earlier: entries of sendings before it, which stay.
        entry: of this one.

    Returns: the path.

    Raises: CANNOT_WRITE, which says what was stored all the same.
    """
    path = sent_path(result)
    try:
        with in_place(path, overwrite=True) as temporary:
            temporary.write_text(as_text({"Sendings": [*earlier, entry]}) + "\n", "utf-8")
    except PipelineError as error:
        words = f"{error.finding.message}; the archive stored {entry['Stored']:,} of {entry['Sent']:,} instances before"
        raise PipelineError(replace(error.finding, message=words)) from error
    return path


def describe_sending(
    shown: str, files: Sequence[OutgoingFile], validation: Validation, made: Sending
) -> dict[str, Any]:
    """Make the entry of a sending.

    Args:
        shown: the archive's address, without credentials.
        files: that were to be sent.
        validation: of them.
        made: what came of it.

    Returns: values that JSON has.
    """
    answered = {answer.uid: answer for answer in made.answers}
    judgement = {"By": TOOL, "Judged": validation.judged, "Errors": list(validation.errors)}
    return {
        "Archive": shown,
        "Time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "Validation": judgement if validation.is_there else {"By": "", "Judged": 0, "Errors": []},
        "Sent": len(files),
        "Stored": made.stored,
        "Listed": made.listed,
        "Ended": made.failure.finding.code.name if made.failure else "",
        "Instances": [
            {
                "SOPInstanceUID": file.uid,
                "Stored": file.uid in answered and answered[file.uid].is_stored,
                "Status": answered[file.uid].status if file.uid in answered else "",
            }
            for file in files
        ],
    }


def refuse_unstored(made: Sending, files: Sequence[OutgoingFile], sent: Path) -> None:
    """Refuse where not all was stored.

    Args:
        made: what came of the sending.
        files: that were to be sent.
        sent: the file with the answers, for the message.

    Raises: NOT_STORED.
    """
    left = len(files) - made.stored
    if not left:
        return
    refused = {answer.status: answer.words for answer in made.answers if not answer.is_stored}
    reasons = [f"status {status}: {words}" for status, words in sorted(refused.items())]
    ended = [made.failure.finding.message] if made.failure else []
    raise refuse(
        Code.NOT_STORED,
        f"the archive stored {made.stored:,} of {len(files):,} instances ({'; '.join(reasons + ended)})",
        f"Its answers are in {sent.name}. Send it again when the reason is gone: what it has already does no harm.",
        where=(sent.name,),
        measured=float(left),
        limit=0.0,
        unit="instances not stored",
    )


def _count_listed(archive: Archive, files: Sequence[OutgoingFile]) -> int | None:
    """Count those that the archive lists now; None where it does not answer that: it may let us send and not ask."""
    count = 0
    try:
        for study, series in sorted({(file.study_uid, file.series_uid) for file in files}):
            listed = {instance.uid for instance in archive.list_instances(ArchiveSeries(study, series, "", None))}
            count += sum(file.uid in listed for file in files if file.series_uid == series)
    except PipelineError:
        return None
    return count
