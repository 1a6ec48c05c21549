"""Series that come packed: in a ZIP archive, as programs and systems write it, or on a medium with a DICOMDIR."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom import dcmread
from pydicom.fileset import FileSet

from tests.helpers.hard_case import MASK, SMALL, HardCase
from tests.helpers.hard_truth import Acquired, truth
from tests.helpers.phantom import Edit, Spec, write

_WHEN = (2020, 1, 1, 0, 0, 0)  # written into the archive, so that the same case has the same bytes


@contextmanager
def _loose(folder: Path) -> Iterator[Path]:
    """A folder for files that are packed, which is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        yield Path(name)


def _pack(target: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(zipfile.ZipInfo(name, _WHEN), content, zipfile.ZIP_DEFLATED)


def zipped(folder: Path, spec: Spec, edit: Edit) -> None:
    """The folder holds an archive, and nothing else."""
    folder.mkdir()
    with _loose(folder) as loose:
        made = write(loose / "CT", spec, edit=edit)
        _pack(folder / "export.zip", [(f"CT/{path.name}", path.read_bytes()) for path in sorted(made.paths)])


def zipped_on_a_mac(folder: Path, spec: Spec, edit: Edit) -> None:
    """The archive has a resource fork beside every plane, and names that are not ASCII."""
    folder.mkdir()
    with _loose(folder) as loose:
        made = write(loose / "CT", spec, edit=edit)
        members = [(f"Größe/肝臓/{path.name}", path.read_bytes()) for path in sorted(made.paths)]
        forks = [(f"__MACOSX/Größe/肝臓/._{path.name}", b"\0\5\x16\7\0\2\0\0Mac OS X") for path in made.paths]
        _pack(folder / "Archiv.zip", [*members, *forks, ("Größe/.DS_Store", b"\0\0\0\1Bud1")])


def medium(folder: Path, spec: Spec, edit: Edit) -> None:
    """A CD with its DICOMDIR."""
    with _loose(folder) as loose:
        made = FileSet()
        for path in sorted(write(loose / "CT", spec, edit=edit).paths):
            dataset = dcmread(path)
            dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "101010", "1"
            made.add(dataset)
        made.write(folder)


def unpacked(folder: Path) -> list[Acquired]:
    """The truth of an archive: that of its files, unpacked by Python's own program."""
    with _loose(folder) as loose:
        for archive in folder.glob("*.zip"):
            shutil.unpack_archive(archive, loose)
        return truth(loose / "CT" if (loose / "CT").is_dir() else loose / "Größe" / "肝臓")


_ROW = "packed: ZIP archive, DICOMDIR"
CASES: tuple[HardCase, ...] = (
    HardCase("folder with a ZIP archive only", _ROW, make=zipped, truth=unpacked),
    HardCase("ZIP archive made on a Mac", _ROW, MASK, make=zipped_on_a_mac, truth=unpacked),
    HardCase("medium with a DICOMDIR", _ROW, replace(SMALL, extension=""), make=medium),
)
