"""Describe the geometry of all DICOM files below the inputs, so that a phantom of the same kind can be made of it.

Rules:
- Every file is described by its own attributes, as they stand in it; nothing is repaired, sorted or left out.
- Values that all files of a series share are listed once. The order of series, files and folders is that of the names.
- Without names nothing identifies: see `shown_attributes`. With names, those of series and folders are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.findings import Code, PipelineError, Severity
from ..core.version import __version__
from ..dicom.encoding import NATIVE, load
from ..dicom.files import find_files
from ..dicom.header import Header, NotDicom, read_header
from ..dicom.scan import scan
from ..dicom.siemens_header import UnreadableHeader, read_sheet_header
from ..dicom.source_file import open_source, size_of
from .described_pixels import describe_pixels
from .described_values import Describer, Hidden

FORMAT = 1  # of the description; `regression.recipes.described` reads it
_NO_SERIES = ""


def describe(
    inputs: Sequence[Path], *, names: bool, progress: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """Describe the files below the inputs.

    Args:
        inputs: folders, files or archives.
        names: whether names of series and folders are added, which may identify a patient.
        progress: called with the number of files described.

    Returns: the description, as JSON has it.

    Raises: PipelineError NO_SUCH_INPUT, FILE_UNREAD for an input that cannot be reached.
    """
    describer = Describer()
    folders: dict[Path, int] = {}
    series: dict[str, _DescribedSeries] = {}
    unread = []
    lost = {left.path for left in scan(inputs).left_out if left.finding.severity is Severity.ERROR}
    for number, path in enumerate(_list_files(inputs), 1):
        place = {"File": number, "Folder": folders.setdefault(path.parent, len(folders) + 1)}
        try:
            header = read_header(path)
            uid = str(header.get("SeriesInstanceUID", _NO_SERIES))
            own = series.setdefault(uid, _DescribedSeries(path.parent.name, str(header.get("SeriesDescription", ""))))
            describer.hidden = own.hidden
            own.files.append(place | _describe_file(path, header, describer))
        except (NotDicom, PipelineError, OSError) as error:
            code = error.finding.code if isinstance(error, PipelineError) else Code.FILE_UNREAD
            why = "not DICOM" if isinstance(error, NotDicom) else code.name
            unread.append(place | {"Bytes": _size(path), "Why": why, "MayBePlane": path in lost})
        progress(number)
    describer.numbering.finish()
    read = [one for one in series.values() if one.files]  # of the others every file is among the unread
    listed = [one.as_json(n, names=names) for n, one in enumerate(read, 1)]
    return {"Description": FORMAT, "Verimask": __version__, "Anonymous": not names, "Series": listed, "Unread": unread}


class _DescribedSeries:
    """The files of one series, as they are described."""

    def __init__(self, folder: str, description: str) -> None:
        self.files: list[dict[str, Any]] = []
        self.hidden = Hidden()
        self._names = {"FolderName": folder, "SeriesName": description}

    def as_json(self, number: int, *, names: bool) -> dict[str, Any]:
        """What all files share, then what each has of its own."""
        first, *others = self.files
        common = {
            key: value
            for key, value in first.items()
            if others and key not in ("File", "Folder") and all(key in o and o[key] == value for o in others)
        }
        return {
            "Series": number,
            **(self._names if names else {}),
            "Common": common,
            "Files": [{key: v for key, v in file.items() if key not in common} for file in self.files],
            "NotShown": self.hidden.as_json(),
        }


def _list_files(inputs: Sequence[Path]) -> Iterator[Path]:
    """Every file below the inputs, the members of archives that are given among them."""
    from ..dicom.archive import list_members
    from ..dicom.files import is_zip

    for found in find_files(inputs):
        if found.why_unreadable:
            continue
        with open_source(found.path) as file:
            is_archive = found.path in inputs and is_zip(file, found.path.name)
        if is_archive:
            yield from (member.path for member in list_members(found.path.absolute()) if not member.why_unreadable)
        else:
            yield found.path


def _describe_file(path: Path, header: Header, describer: Describer) -> dict[str, Any]:
    dataset = load(path)
    uid = describer.numbering.uid
    found = {"TransferSyntaxUID": uid(header.transfer_syntax)}
    if header.declared_syntax:
        found["DeclaredTransferSyntaxUID"] = uid(header.declared_syntax)
    found |= describer.describe(dataset)
    native = header.transfer_syntax in NATIVE or "Deflated" in str(found["TransferSyntaxUID"])
    return found | describe_pixels(dataset, native=native) | _describe_sheet(header)


def _describe_sheet(header: Header) -> dict[str, Any]:
    """What the private headers of a sheet of slices say of their places; nothing for other files."""
    if header.uih_grid:
        from ..dicom.uih_grid import list_positions

        return {"UihFrames": [list(map(float, place)) for place in list_positions(header)]}
    if not header.csa or "MOSAIC" not in map(str, _words(header.get("ImageType"))):
        return {}
    try:
        sheet = read_sheet_header(header)
    except UnreadableHeader:
        return {"SiemensMosaic": None}
    return {
        "SiemensMosaic": {
            "NumberOfImagesInMosaic": sheet.tiles,
            "SliceNormalVector": None if sheet.normal is None else sheet.normal.tolist(),
            "Centres": sheet.centres.tolist(),
            "Thicknesses": sheet.thicknesses.tolist(),
            "Is3D": sheet.is_3d,
            "IsRenumbered": sheet.is_renumbered,
        }
    }


def _words(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _size(path: Path) -> int:
    try:
        return size_of(path)
    except OSError:
        return 0
