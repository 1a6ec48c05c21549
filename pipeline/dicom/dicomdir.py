"""Find the files that a DICOMDIR lists, the table of contents of a CD (PS3.3 annex F).

Rules:
- A Referenced File ID is looked for below the folder of the DICOMDIR, in any case, with or without a version (`;1`) or a
  closing dot, as readers of CDs show names. One that leads out of the folder is not followed.
- A file that is listed and not there is named, with the series it is of: a plane lost at the end of a stack leaves no gap.
  Only records of images, doses and structure sets stand for planes.
- A File ID stands in hints only: a record of a conversion holds no path.
- A record of a plane that names no file, the DICOMDIR, or a file that another record names for another instance, speaks of
  a plane that is lost.
- Records that are not in use (0004,1410) list nothing: by the standard they are deleted (PS3.3 F.5), and no plane.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..core.findings import Code, PipelineError, refuse
from ..core.plain_text import escape_controls
from ..core.regular_file import is_file
from .encoding import load
from .files import FoundFile

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOP_CLASS = "1.2.840.10008.1.3.10"
_PLANES = {"IMAGE", "RT DOSE", "RT STRUCTURE SET"}
_COPY_ALL = (
    "A DICOMDIR is a table of contents. Copy the whole medium, with its folders, and give the folder or the DICOMDIR."
)


class _Record(NamedTuple):
    """A directory record that lists a file. parts: of its File ID, none where it has none. instance: what tells its image."""

    number: int
    parts: tuple[str, ...]
    type: str
    series_uid: str
    instance: str


def listed_files(dicomdir: Path) -> list[FoundFile]:
    """Find the files that a DICOMDIR lists, those too that are not there.

    Raises PipelineError: CORRUPT_FILE where its records cannot be read, NO_DICOM where it lists none, NO_SUCH_INPUT where
    none of them is there.
    """
    records = list(_read_records(dicomdir))
    named = [record for record in records if record.parts]
    if not named:
        words = f"{dicomdir.name} lists no files"
        raise refuse(Code.NO_DICOM, words, "Give the folder of the images.", where=(dicomdir.name,))
    places = _Places(dicomdir.parent)
    found = _each_once(records, [_find(record, dicomdir, places) for record in records], dicomdir)
    if all(file.why_unreadable for file in found):
        first = "/".join(escape_controls(part) for part in named[0].parts)
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{dicomdir.name} lists {len(named)} files, and none of them is there; the first is {first}",
            _COPY_ALL,
            where=(dicomdir.name,),
        )
    return _join_lost_series(found, dicomdir)


def _join_lost_series(found: list[FoundFile], dicomdir: Path) -> list[FoundFile]:
    """Name a series of which nothing is there once: no other series lost a plane by it."""
    there = {file.series_uid for file in found if not file.why_unreadable}
    lost: dict[str, list[FoundFile]] = defaultdict(list)
    kept = []
    for file in found:
        if file.why_unreadable and file.series_uid and file.series_uid not in there:
            lost[file.series_uid].append(file)
        else:
            kept.append(file)
    for files in lost.values():
        why = f"{dicomdir.name} lists a series with it, and none of its {len(files)} files is there"
        hint = _COPY_ALL if any(file.is_plane for file in files) else ""
        kept.append(files[0]._replace(why_unreadable=why, hint=hint, is_plane=False))
    return kept


def _each_once(records: list[_Record], found: list[FoundFile], dicomdir: Path) -> list[FoundFile]:
    """Every file once; and the planes of records that name a file which an earlier one names for another image."""
    first: dict[Path, _Record] = {}
    kept = []
    for record, file in zip(records, found, strict=True):
        earlier = record if file.why_unreadable else first.setdefault(file.path, record)
        if earlier is record:
            kept.append(file)
        elif record.type in _PLANES and record.instance != earlier.instance:
            why = f"{dicomdir.name} lists it for two images, in its records {earlier.number} and {record.number}"
            kept.append(FoundFile(file.path, why, _COPY_ALL, record.series_uid, is_plane=True))
    return kept


def _find(record: _Record, dicomdir: Path, places: _Places) -> FoundFile:
    if not record.parts:
        why = f"its record {record.number}, of type {record.type}, names no file"
        return FoundFile(dicomdir, why, _COPY_ALL, record.series_uid, is_plane=True)
    name = escape_controls(record.parts[-1])
    is_plane = record.type in _PLANES
    hint = f"It is listed as {'/'.join(map(escape_controls, record.parts))}. {_COPY_ALL}" if is_plane else ""
    if not all(part.strip(".") and Path(part).name == part for part in record.parts):
        why = f"its File ID in {dicomdir.name} leads out of the folder"
        return FoundFile(dicomdir.parent / Path(name).name, why, hint, record.series_uid, is_plane)
    path = places.find(record.parts)
    if path is None:
        missing = dicomdir.parent.joinpath(*record.parts)
        why = f"{dicomdir.name} lists it, and it is not there"
        return FoundFile(missing, why, hint, record.series_uid, is_plane)
    if path == dicomdir and is_plane:
        why = f"its record {record.number}, of type {record.type}, names itself"
        return FoundFile(path, why, _COPY_ALL, record.series_uid, is_plane)
    return FoundFile(path, series_uid=record.series_uid, is_plane=is_plane or None)


def _read_records(dicomdir: Path) -> Iterator[_Record]:
    """Read every record in use that lists a file, or should: that of a plane, unless another record lists it for several."""
    try:
        dataset = load(dicomdir)
        items = list(dataset.DirectoryRecordSequence)
        uids = _series_of(dataset, items)
        for number, item in enumerate(items):
            if item.get("RecordInUseFlag", 0xFFFF) == 0:
                continue
            file_id = item.get("ReferencedFileID") or ""
            given = [file_id] if isinstance(file_id, str) else list(file_id)
            parts = tuple(part for one in given for part in re.split(r"[\\/]", str(one).strip()) if part)
            kind = str(item.get("DirectoryRecordType", "")).strip()
            if parts or (kind in _PLANES and not item.get("MRDRDirectoryRecordOffset")):
                yield _Record(number + 1, parts, kind, uids.get(number, ""), _instance(item))
    except (OSError, PipelineError):
        raise
    except Exception as error:  # a broken file makes a parser stumble in more ways than can be listed
        raise refuse(
            Code.CORRUPT_FILE,
            f"the records of {dicomdir.name} cannot be read: {error}",
            "Give the folder of the images: their own headers are read then, and no DICOMDIR is needed.",
            where=(dicomdir.name,),
            clause="PS3.3 F.3",
        ) from error


def _instance(item: Dataset) -> str:
    """What tells the image of a record from others: its UID; its number, where it has none."""
    return str(item.get("ReferencedSOPInstanceUIDInFile") or item.get("InstanceNumber") or "")


def _series_of(dataset: Dataset, items: list[Dataset]) -> dict[int, str]:
    """The Series Instance UID of the records below each series, by their numbers; none where the offsets do not lead to every record."""
    numbers = {item.seq_item_tell: number for number, item in enumerate(items)}
    uids: dict[int, str] = {}
    open_ = [(int(dataset.get("OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity") or 0), "")]
    seen = set()
    while open_:
        offset, uid = open_.pop()
        if offset not in numbers or offset in seen:
            continue
        seen.add(offset)
        number = numbers[offset]
        item = items[number]
        own = str(item.get("SeriesInstanceUID", "")) if item.get("DirectoryRecordType") == "SERIES" else uid
        uids[number] = own
        open_.append((int(item.get("OffsetOfTheNextDirectoryRecord") or 0), uid))
        open_.append((int(item.get("OffsetOfReferencedLowerLevelDirectoryEntity") or 0), own))
    return uids if len(uids) == len(items) else {}


class _Places:
    """What there is below a folder, by names as a CD has them; each folder is listed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, dict[str, str]] = {}

    def find(self, parts: tuple[str, ...]) -> Path | None:
        """The path of a File ID; None where there is no such file."""
        path = self._folder.joinpath(*parts)
        if is_file(path):
            return path
        path = self._folder
        for part in parts:
            name = self._names(path).get(_plain(part))
            if name is None:
                return None
            path /= name
        return path if is_file(path) else None

    def _names(self, folder: Path) -> dict[str, str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = {_plain(name): name for name in sorted(os.listdir(folder), reverse=True)}
            except OSError:
                self._listed[folder] = {}
        return self._listed[folder]


def _plain(name: str) -> str:
    """A name as it is compared: without case, version and closing dot."""
    return re.sub(r";\d+$", "", name.strip()).rstrip(".").casefold()
