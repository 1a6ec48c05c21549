"""Keep fetched instances in a folder: each whole or not there, so that a fetch that was stopped goes on where it was.

Rules:
- A series lies in a folder called by its Series Instance UID, an instance in a file called by its SOP Instance UID. Both were
  checked to be UIDs: nothing that an archive says leads out of the folder, and no name of a patient stands in a path.
- A file has its name once its bytes are on the disk and its header says that it is this instance. There is no list of what was
  done: what lies there is what was done.
- Nothing that is there is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.atomic_file import in_place, make_folder
from ..core.findings import Code, refuse
from ..dicom.encoding import load
from .archive import ArchiveSeries, odd_answer

_ENDING = ".dcm"
_READ = ["SOPInstanceUID", "SeriesInstanceUID"]


class SeriesFolder:
    """The folder of one series."""

    def __init__(self, folder: Path, series: ArchiveSeries) -> None:
        self.path = folder / series.uid
        self._series_uid = series.uid

    def held(self) -> set[str]:
        """The SOP Instance UIDs of what lies here. Raises CORRUPT_FILE where a file is not what its name says."""
        if not self.path.is_dir():
            return set()
        uids = {path.name.removesuffix(_ENDING) for path in self.path.iterdir() if path.suffix == _ENDING}
        for uid in sorted(uids):
            if not self._is(self._path_of(uid), uid):
                raise refuse(
                    Code.CORRUPT_FILE,
                    f"{uid}{_ENDING} is not the instance that it is called by",
                    "Fetched files have their names once they are whole: this one was changed. Remove it, and run it again.",
                    where=(f"{uid}{_ENDING}",),
                )
        return uids

    def keep(self, uid: str, blocks: Iterable[bytes]) -> None:
        """Write an instance. Raises ARCHIVE_ANSWER where it is another one; CANNOT_WRITE; what `blocks` raises."""
        make_folder(self.path)
        with in_place(self._path_of(uid), overwrite=False) as temporary:
            with temporary.open("wb") as file:
                for block in blocks:
                    file.write(block)
            if not self._is(temporary, uid):
                raise odd_answer("to a request for an instance is another one, or no DICOM file")

    def _path_of(self, uid: str) -> Path:
        return self.path / f"{uid}{_ENDING}"

    def _is(self, path: Path, uid: str) -> bool:
        """Whether a file is this instance of this series, by its data set."""
        try:
            dataset = load(path, specific_tags=_READ, stop_before_pixels=True)
            return (dataset.get("SOPInstanceUID"), dataset.get("SeriesInstanceUID")) == (uid, self._series_uid)
        except ValueError:
            return False
