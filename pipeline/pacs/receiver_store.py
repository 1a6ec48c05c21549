"""Put each instance on disk as its bytes come, and into its place once it is whole: STUDY/SERIES/INSTANCE.dcm.

Rules:
- The bytes are those of the sender: nothing is decoded, and nothing encoded anew. Only their File Meta Information is ours.
- An instance has its place, and has reached the disk, before its sender is told so: what was acknowledged survives kill -9.
- Names are UIDs that were checked; nothing else from outside becomes a name. What is there is never replaced.
- Whatever fails leaves nothing behind. What a kill leaves half written goes when the folder is opened again.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, NamedTuple

from ..core import leftovers
from ..core.atomic_file import drop_partial, new_partial, note_on_disk, reach_disk
from ..core.findings import Code, refuse
from ..core.regular_file import open_regular
from ..core.write_refusals import cannot_write
from ..dicom.fast_header import Reader
from ..dicom.fast_values import GiveUp
from ..volume.representations import KIND_BY_SOP_CLASS

SUCCESS, OUT_OF_RESOURCES, OTHER_DATA_SET, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000  # PS3.4 table B.2-1
ENDING, INCOMING = ".dcm", "incoming"

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64  # characters (PS3.5 9.1)
_LOOK_AFTER = 1 << 26  # bytes of one instance between two looks at the free space
_BLOCK = 1 << 20
_ASKED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
)


class NotKept(Exception):
    """An instance that was not kept. status: of the answer to its sender. The words say why, without what it holds."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class InstanceFacts(NamedTuple):
    """What an instance says of itself. series_count, study_count: how many instances there are by its sender; 0 for unknown."""

    study: str
    series: str
    instance: str
    modality: str
    sop_class: str
    series_count: int = 0
    study_count: int = 0

    @property
    def is_mask(self) -> bool:
        """Whether it needs the images that it was drawn on."""
        return self.sop_class in KIND_BY_SOP_CLASS


class IncomingFile:
    """An instance while it comes. pynetdicom writes to it as to a temporary file; `error` says what it could not write."""

    def __init__(self, folder: Path, free_bytes: int) -> None:
        """Make it. folder: that it is put into. free_bytes: that have to stay free on its disk."""
        self.error: OSError | None = None
        self.file = self
        self.name = ""
        self._folder, self._free_bytes, self._looked_at, self._size = folder, free_bytes, 0, 0
        self._open: BinaryIO | None = None
        try:
            _require_space(folder, free_bytes)
            path = new_partial(folder / "instance")
            self.name = str(path)
            self._open = path.open("wb")
        except OSError as error:
            self._fail(error)

    def write(self, data: bytes) -> int:
        """Write bytes; they are let go where the disk took one no more."""
        if self._open is None:
            return len(data)
        try:
            self._size += self._open.write(data)
            if self._size - self._looked_at > _LOOK_AFTER:
                self._looked_at = self._size
                _require_space(self._folder, self._free_bytes)
        except OSError as error:
            self._fail(error)
        return len(data)

    def flush(self) -> None:
        """Do nothing: pynetdicom asks for it after every fragment, and `finish` does it once."""

    def close(self) -> None:
        """Close it, and remove it unless it has its place."""
        if self._open is not None:
            opened, self._open = self._open, None
            try:
                opened.close()
            except OSError as error:
                self.error = self.error or error
        if self.name:
            drop_partial(Path(self.name))

    def finish(self) -> Path:
        """Wait until all of it is on the disk; the path. Raises NotKept."""
        try:
            if self._open is not None:
                self._open.flush()
                reach_disk(Path(self.name))
                self._open.close()
                self._open = None
        except OSError as error:
            self._fail(error)
        if self.error is not None:
            raise NotKept(OUT_OF_RESOURCES, f"the disk did not take it: {self.error.strerror or self.error}")
        return Path(self.name)

    def _fail(self, error: OSError) -> None:
        self.error = error
        self.close()


class ReceivedFolder:
    """The folder of what was received, and beside it the one of what comes."""

    def __init__(self, folder: Path, free_bytes: int) -> None:
        """Open it. free_bytes: that have to stay free on its disk. Raises OSError where it cannot be made."""
        self.path = folder
        self._incoming = folder.with_name(
            INCOMING
        )  # on the same disk; whoever reads the folder meanwhile sees nothing half
        self._free_bytes = free_bytes
        self._lock = Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)
        leftovers.look_again(self._incoming)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Keep other receivers of this machine out of the folder for the block. Raises COHORT_IN_USE, CANNOT_WRITE."""
        mine = self._incoming / "receiver"
        try:
            held = new_partial(mine)  # before the look, so that of two that begin at once neither overlooks the other
            other = leftovers.other_owner(mine)
        except OSError as error:
            raise cannot_write(mine.name, error) from error
        try:
            if other is not None:
                why = f"process {other} receives into this folder already, and would convert what is not all there"
                raise refuse(Code.COHORT_IN_USE, why, "End it, or give another folder.", where=("-o",))
            yield
        finally:
            drop_partial(held)

    def incoming(self) -> IncomingFile:
        """A file for the next instance."""
        return IncomingFile(self._incoming, self._free_bytes)

    def has_space(self) -> bool:
        """Whether there is room for more."""
        try:
            _require_space(self.path, self._free_bytes)
        except OSError:
            return False
        return True

    def keep(self, incoming: IncomingFile, instance_uid: str) -> tuple[InstanceFacts, bool]:
        """Put an instance into its place.

        Args:
            incoming: all of it.
            instance_uid: that its sender announced.

        Returns: what it says of itself, and whether it is new: the same bytes may come any number of times.

        Raises: NotKept.
        """
        path = incoming.finish()
        facts = read_facts(path)
        if facts is None:
            raise NotKept(CANNOT_UNDERSTAND, "its UIDs cannot be read, or are none")
        if facts.instance != instance_uid.rstrip("\0 "):
            raise NotKept(OTHER_DATA_SET, "its data set has another SOP Instance UID than was announced")
        try:
            return facts, self._place(path, self.folder_of(facts.study, facts.series) / f"{facts.instance}{ENDING}")
        except OSError as error:
            raise NotKept(OUT_OF_RESOURCES, f"the disk did not take it: {error.strerror or error}") from error

    def _place(self, path: Path, target: Path) -> bool:
        """Move a file to its place; whether it is new. Raises OSError, NotKept."""
        with self._lock:
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                note_on_disk(target.parent.parent)
                note_on_disk(self.path)
            is_new = not os.path.lexists(target)
            if is_new:
                path.rename(target)
        if is_new:
            note_on_disk(target.parent)
        elif not _is_same(path, target):
            raise NotKept(CANNOT_UNDERSTAND, "another one with its SOP Instance UID is here, which was left as it is")
        return is_new

    def folder_of(self, study: str, series: str) -> Path:
        """Where the instances of a series are."""
        return self.path / study / series

    def found(self) -> Iterator[tuple[str, str, list[str]]]:
        """Every series that is here: its study, its UID, and the SOP Instance UIDs in it."""
        for study in _folders(self.path):
            for series in _folders(self.path / study):
                if uids := self.instances_of(study, series):
                    yield study, series, uids

    def instances_of(self, study: str, series: str) -> list[str]:
        """The SOP Instance UIDs of what is here of a series; none where somebody took it away."""
        try:
            names = os.listdir(self.folder_of(study, series))
        except OSError:
            return []
        uids = sorted(name.removesuffix(ENDING) for name in names if name.endswith(ENDING))
        return [uid for uid in uids if is_uid(uid)]


def read_facts(path: Path) -> InstanceFacts | None:
    """Read what an instance says of itself; None where its UIDs cannot be read, or are none."""
    values = _read_values(path)
    study, series, instance = (
        str(values.get(k) or "") for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )
    if not all(map(is_uid, (study, series, instance))):
        return None
    modality = str(values.get("Modality") or "")
    return InstanceFacts(
        study,
        series,
        instance,
        modality if re.fullmatch("[A-Z]{2,16}", modality) else "",
        str(values.get("SOPClassUID") or ""),
        _count(values.get("NumberOfSeriesRelatedInstances")),
        _count(values.get("NumberOfStudyRelatedInstances")),
    )


def is_uid(text: str) -> bool:
    """Whether a text is a UID, and so may be the name of a file or folder anywhere."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def _read_values(path: Path) -> dict[str, object]:
    try:
        return dict(_READER.read(path)["values"])
    except GiveUp:
        from ..dicom.encoding import load

        try:
            dataset = load(path, stop_before_pixels=True, specific_tags=list(_ASKED))
            return {keyword: dataset.get(keyword) for keyword in _ASKED}
        except Exception:  # a data set from outside makes a parser stumble in more ways than can be listed
            return {}


_READER = Reader(_ASKED)


def _count(value: object) -> int:
    try:
        return max(0, int(value))  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        return 0


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_uid(entry.name) and entry.is_dir(follow_symlinks=False))


def _require_space(folder: Path, free_bytes: int) -> None:
    """Raises OSError where less is free."""
    if shutil.disk_usage(folder).free < free_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with open_regular(one) as first, open_regular(other) as second:
        while block := first.read(_BLOCK):
            if block != second.read(_BLOCK):
                return False
    return True
