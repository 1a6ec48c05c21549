"""Find planes that are packed beside their series: a last one that lies in IM0006.dcm.gz leaves no gap.

Rules:
- Of each member no more than its beginning is unpacked.
- What is packed is DICOM by its content. It is lost where its series is here and it is not: a backup of the folder, the
  archive of another series and what is no DICOM are no loss.
- What cannot be unpacked here (Zstandard, 7z, encrypted, damaged) is judged by its name, without the endings of packing: it
  may be a plane where a DICOM file of its folder has such a name but for the digits, and none has this one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ..core.limits import MOST_MEMBERS
from .encoding import open_dataset
from .header import Header, begins_like_dicom
from .source_file import open_source
from .unread_files import PACKED

_BEGINNING = 1 << 16  # bytes: it holds the header of most files
_MOST_UNPACKED = 1 << 28  # bytes of a compressed TAR archive, which has to be unpacked to be listed
_TAR, _TAR_AT = b"ustar", 257
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_READ = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x41
_UIDS = {"specific_tags": ["SOPInstanceUID", "SeriesInstanceUID"], "stop_before_pixels": True}
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class LostPlane(NamedTuple):
    """A plane that lies packed, and not beside the others. series_uid: of its series, "" where its name alone tells."""

    name: str
    series_uid: str


class _PackedContent(NamedTuple):
    """Something that is packed, by its name. start: its first bytes; None where they cannot be had."""

    name: str
    start: bytes | None


class PackedPlanes:
    """The DICOM files of a scan, by which what is packed beside them is judged."""

    def __init__(self, headers: Iterable[Header]) -> None:
        self._images: set[str] = set()
        self._series: set[str] = set()
        self._names: defaultdict[Path, set[str]] = defaultdict(set)
        self._patterns: defaultdict[Path, set[str]] = defaultdict(set)
        for header in headers:
            self._images.add(str(header.get("SOPInstanceUID", "")))
            self._series.add(str(header.get("SeriesInstanceUID", "")))
            self._names[header.path.parent].add(header.path.name)
            self._patterns[header.path.parent].add(_pattern(header.path.name))

    def find_lost(self, path: Path) -> LostPlane | None:
        """Find the first plane in a packed file that is of a series here, and is not here; None where there is none."""
        for content in _contents(path):
            lost = self._judge(content, path.parent)
            if lost is not None:
                return lost
        return None

    def _judge(self, content: _PackedContent, folder: Path) -> LostPlane | None:
        name = PurePosixPath(content.name).name
        if content.start is not None:
            if not begins_like_dicom(content.start):
                return None
            uids = _read_uids(content.start, name)
            if uids is not None:
                is_lost = uids[1] in self._series and uids[0] not in self._images
                return LostPlane(name, uids[1]) if is_lost else None
        if name in self._names[folder] or _pattern(name) not in self._patterns[folder]:
            return None
        return LostPlane(name, "")


def _contents(path: Path) -> Iterator[_PackedContent]:
    """What a packed file holds; itself, by its name without endings, where that cannot be had."""
    inner = path.name
    while PACKED.search(inner):
        inner = PACKED.sub("", inner)
    try:
        with open_source(path) as file:
            yield from _unpack(file, inner)
    except _DAMAGED:
        yield _PackedContent(inner, None)


def _unpack(file: IO[bytes], inner: str) -> Iterator[_PackedContent]:
    start = file.read(_BEGINNING)
    file.seek(0)
    opener = next((opener for mark, opener in _OPENERS if start.startswith(mark)), None)
    if opener is not None:
        with opener(file) as unpacked:
            begin = unpacked.read(_BEGINNING)
            if not begin.startswith(_TAR, _TAR_AT):
                yield _PackedContent(inner, begin)
                return
            whole = begin + unpacked.read(_MOST_UNPACKED)
        yield from _tar_members(io.BytesIO(whole))
    elif start.startswith(_TAR, _TAR_AT):
        yield from _tar_members(file)
    elif zipfile.is_zipfile(file):
        yield from _zip_members(file)
    else:
        yield _PackedContent(inner, None)


def _tar_members(file: IO[bytes]) -> Iterator[_PackedContent]:
    with tarfile.open(fileobj=file, mode="r:") as packed:
        for member in islice(packed, MOST_MEMBERS):
            opened = packed.extractfile(member) if member.isreg() else None
            if opened is not None:
                yield _PackedContent(member.name, opened.read(_BEGINNING))


def _zip_members(file: IO[bytes]) -> Iterator[_PackedContent]:
    with zipfile.ZipFile(file) as packed:
        for info in islice(packed.infolist(), MOST_MEMBERS):
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _READ:
                yield _PackedContent(info.filename, None)
                continue
            try:
                with packed.open(info) as member:
                    yield _PackedContent(info.filename, member.read(_BEGINNING))
            except _DAMAGED:
                yield _PackedContent(info.filename, None)


def _read_uids(start: bytes, name: str) -> tuple[str, str] | None:
    """The SOP Instance UID and the Series Instance UID of a file that begins so; None where they cannot be read."""
    try:
        dataset = open_dataset(io.BytesIO(start), name, **_UIDS).dataset
        uids = (str(dataset.get("SOPInstanceUID") or ""), str(dataset.get("SeriesInstanceUID") or ""))
    except Exception:  # cut off within a header, or damaged, which makes a parser stumble in many ways: its name tells
        return None
    return uids if all(uids) else None


def _pattern(name: str) -> str:
    """A name but for its digits and the ending of DICOM."""
    return re.sub(r"\d+", "0", re.sub(r"\.(dcm|dicom|ima)$", "", name.casefold()))
