"""Keep fetched instances in a folder: each whole or not there, so that a fetch that was stopped goes on where it was.

Rules:
- A series lies in a folder called by its Series Instance UID, an instance in a file called by its SOP Instance UID. Both were
  checked to be UIDs: nothing that an archive says leads out of the folder, and no name of a patient stands in a path.
- A file has its name once its bytes are on the disk, its header says that it is this instance, and its data set is whole. There
  is no list of what was done: what lies there, and is whole in the same sense, is what was done.
- Nothing that is there is overwritten. What lies there and is something else, or damaged, is refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.atomic_file import in_place, make_folder
from ..core.findings import Code, refuse
from ..core.write_refusals import cannot_write
from ..dicom.encoding import load
from ..dicom.whole_data_set import end_of
from .archive import ArchiveSeries, odd_answer

_ENDING = ".dcm"
_READ = ["SOPInstanceUID", "SeriesInstanceUID"]


class SeriesFolder:
    """The folder of one series."""

    def __init__(self, folder: Path, series: ArchiveSeries) -> None:
        self.path = folder / series.uid
        self._series_uid = series.uid

    def held(self) -> set[str]:
        """The SOP Instance UIDs of what lies here. Raises CORRUPT_FILE where a file is not what its name says, whole."""
        if not self.path.is_dir():
            return set()
        try:
            uids = {path.name.removesuffix(_ENDING) for path in self.path.iterdir() if path.suffix == _ENDING}
        except OSError as error:
            raise cannot_write(self.path.name, error) from error
        for uid in sorted(uids):
            self._refuse_other(uid)
        return uids

    def keep(self, uid: str, blocks: Iterable[bytes]) -> None:
        """Write an instance. Raises ARCHIVE_ANSWER where it is another one, or not whole; CANNOT_WRITE; what `blocks` raises."""
        make_folder(self.path)
        with in_place(self._path_of(uid), overwrite=False) as temporary:
            with temporary.open("wb") as file:
                for block in blocks:
                    file.write(block)
            if fault := self._fault_of(temporary, uid):
                raise odd_answer(f"to a request for an instance {fault}")

    def _path_of(self, uid: str) -> Path:
        return self.path / f"{uid}{_ENDING}"

    def _refuse_other(self, uid: str) -> None:
        """Raise CORRUPT_FILE where the file of an instance is not this instance, whole."""
        path = self._path_of(uid)
        try:
            fault = self._fault_of(path, uid)
        except OSError as error:  # a folder, a link to nothing, what we may not read
            fault = f"cannot be read: {(error.strerror or 'it is no file').lower()}"
        if fault:
            hint = (
                "Fetched files have their names once they are whole: this one was changed. Remove it, and run it again."
            )
            raise refuse(Code.CORRUPT_FILE, f"{path.name} {fault}", hint, where=(path.name,))

    def _fault_of(self, path: Path, uid: str) -> str:
        """What keeps a file from being this instance of this series, whole, by its data set; "" for nothing. Raises OSError."""
        try:
            dataset = load(path, specific_tags=_READ, stop_before_pixels=True)
        except ValueError:
            return "is no DICOM file"
        if (dataset.get("SOPInstanceUID"), dataset.get("SeriesInstanceUID")) != (uid, self._series_uid):
            return "is another instance than it is called by"
        return "" if end_of(path).is_whole else "is not whole: it ends before its data set does"
