"""Find the DICOM files of a result that is to be sent, and read from their headers what a sending needs.

Rules:
- A result is one DICOM file or a folder of them, of one study. What is no DICOM file beside them is left alone.
- A file that has no File Meta Information, or UIDs that are none, is refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..core.findings import Code, PipelineError, refuse
from ..core.given_path import look_at_input
from ..core.regular_file import open_regular
from ..dicom.encoding import load
from .address import is_uid
from .archive import OutgoingFile

_READ = ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]


def find_outgoing(result: Path) -> list[OutgoingFile]:
    """Find the files of a result.

    Args:
        result: a DICOM file, or a folder.

    Returns: each with its UIDs, by name.

    Raises: NO_SUCH_INPUT, FILE_UNREAD, NO_DICOM, INVALID_DICOM.
    """
    if not look_at_input(result).is_there:
        hint = "Give a DICOM file, or a folder of them, as verimask export writes."
        raise refuse(Code.NO_SUCH_INPUT, f"{result.name} is not there", hint, where=(result.name,))
    files = [_read(path) for path in _list_dicom(result)]
    if not files:
        hint = "A NIfTI mask is made DICOM by verimask export MASK.nii.gz --source DIR --to seg -o DIR."
        raise refuse(Code.NO_DICOM, f"{result.name} holds no DICOM file", hint, where=(result.name,))
    _refuse_mixed(files)
    return files


def _list_dicom(result: Path) -> Iterator[Path]:
    """The DICOM files (PS3.10: DICM after 128 bytes), in the order of their names."""
    paths = (
        sorted(path for path in result.rglob("*") if path.is_file()) if look_at_input(result).is_folder else [result]
    )
    for path in paths:
        with open_regular(path) as file:
            begin = file.read(132)
        if begin[128:] == b"DICM":
            yield path


def _read(path: Path) -> OutgoingFile:
    try:
        dataset = load(path, specific_tags=_READ, stop_before_pixels=True)
        values = [str(dataset.get(keyword) or "") for keyword in _READ]
        meta = dataset.file_meta
        syntax, named = str(meta.get("TransferSyntaxUID") or ""), str(meta.get("MediaStorageSOPInstanceUID") or "")
    except ValueError as error:
        raise _invalid(path, "cannot be read") from error
    for keyword, value in zip([*_READ, "TransferSyntaxUID"], [*values, syntax], strict=True):
        if not is_uid(value):
            raise _invalid(path, f"has no UID as {keyword}")
    instance, sop_class, study, series = values
    if named != instance:
        raise _invalid(path, "names another instance in its File Meta Information than in its data set")
    return OutgoingFile(path, instance, sop_class, syntax, study, series)


def _refuse_mixed(files: list[OutgoingFile]) -> None:
    """Refuse what is no one result. Raises INVALID_DICOM."""
    if len({file.study_uid for file in files}) > 1:
        raise _invalid(files[0].path.parent, "holds files of several studies: give one of them")
    seen: set[str] = set()
    for file in files:
        if file.uid in seen:
            raise _invalid(file.path, "has the SOP Instance UID of another file beside it")
        seen.add(file.uid)


def _invalid(path: Path, why: str) -> PipelineError:
    return refuse(Code.INVALID_DICOM, f"{path.name} {why}", "Nothing was sent. Make the file anew.", where=(path.name,))
