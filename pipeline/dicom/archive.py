"""Read the members of a ZIP archive without unpacking it: list them, and get the bytes of one.

Rules:
- Nothing is written to a disk. One member at a time is held in memory, and small ones for a while; only the beginning of
  one that is not DICOM is ever unpacked.
- The path of a member is that of its archive with the member's name below it: export.zip/CT/001.dcm.
- A member that cannot be read as a file (encrypted, damaged, too large, with a name that leads out of the archive) is
  listed with its reason. What it claims of its size is checked before a byte is unpacked.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import BinaryIO

from ..core.findings import Code, refuse
from ..core.limits import DEFLATE_MOST, MOST_MEMBER_BYTES, MOST_MEMBERS
from ..core.memory import limit
from ..core.plain_text import escape_controls
from ..core.regular_file import open_regular
from .files import FoundFile, MemberError

_BEGINNING = 1 << 16  # bytes: it holds the header of most files, and shows what is not DICOM
_KEPT = 1 << 26  # bytes of members that are kept in memory beside the one that is read
_SMALL = 1 << 20  # bytes: what a member claims is judged against its compressed size only beyond this
_LONGEST_LINK = 4096  # bytes of the target of a link
_JUNK = "__MACOSX"  # the folder of resource forks that macOS adds to an archive
_READ = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others are unpacked without a bound, whatever they claim
_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "xz",
    98: "PPMd",
}  # of APPNOTE 4.4.5
_ENCRYPTED = 0x41  # bits of the general purpose flag: encrypted in either way
# What Python's unpacking raises for bytes that are damaged, beside its own BadZipFile.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError, NotImplementedError)


def list_members(archive: Path) -> list[FoundFile]:
    """List what an archive holds, in the order of their names; folders are not listed.

    Raises PipelineError CORRUPT_FILE for an archive that cannot be read, FILE_UNREAD for one with too many members.
    """
    try:
        opened = _open(archive)
    except (*_DAMAGED, zipfile.LargeZipFile) as error:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{archive.name} begins like a ZIP archive, and its list of files, at its end, cannot be read: {_reason(error)}",
            "It was probably cut off in transfer, or is one part of several; copy it again, or unpack it and give the folder.",
            where=(archive.name,),
        ) from error
    if opened.count > MOST_MEMBERS:
        raise refuse(
            Code.FILE_UNREAD,
            f"{archive.name} lists {opened.count} files, more than are read from one archive",
            "Unpack it, and give the folder of the series.",
            where=(archive.name,),
            measured=opened.count,
            limit=MOST_MEMBERS,
            unit="files",
        )
    return opened.listed


def open_member(archive: Path, path: Path) -> BinaryIO:
    """Open a member for reading, as a file is opened; it may be sought in. Raises FileNotFoundError, MemberError."""
    try:
        opened = _open(archive)
    except _DAMAGED as error:
        raise MemberError(f"{archive.name} cannot be read any more: {_reason(error)}") from error
    return io.BufferedReader(_MemberFile(opened, PurePosixPath(path.relative_to(archive).as_posix())))


class _Archive:
    """An open archive. listed: what there is in it. infos: members by their paths within it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(open_regular(path))
        self._lock = RLock()
        self._kept: OrderedDict[PurePosixPath, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._begun: tuple[PurePosixPath, bytes] = PurePosixPath(), b""
        entries = self._zip.infolist()
        self.count = len(entries)
        self.infos: dict[PurePosixPath, zipfile.ZipInfo] = {}
        self.listed = (
            [] if self.count > MOST_MEMBERS else sorted(self._list(entries), key=lambda found: found.path.parts)
        )

    def size(self, member: PurePosixPath) -> int:
        return self._info(member).file_size

    def read(self, member: PurePosixPath, start: int, count: int) -> bytes:
        """Get bytes of a member. Raises MemberError."""
        with self._lock:
            if start + count <= _BEGINNING and member not in self._kept:
                return self._beginning(member)[start : start + count]
            return self._whole(member)[start : start + count]

    def _beginning(self, member: PurePosixPath) -> bytes:
        if self._begun[0] != member:
            self._begun = member, self._unpack(member, _BEGINNING)
        return self._begun[1]

    def _whole(self, member: PurePosixPath) -> bytes:
        content = self._kept.pop(member, None)
        if content is None:
            content = self._unpack(member, -1)
            self._kept_bytes += len(content)
        self._kept[member] = content
        while len(self._kept) > 1 and self._kept_bytes > _KEPT:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return content

    def _unpack(self, member: PurePosixPath, count: int) -> bytes:
        """The first `count` bytes of a member, or all for -1, whose checksum is then looked at.

        It shows where a member is longer than is listed: what is beyond that is never unpacked.
        """
        info = self._info(member)
        claimed = info.file_size if count < 0 else min(count, info.file_size)
        try:
            with self._zip.open(info) as file:
                content = file.read(claimed)
        except _DAMAGED as error:
            raise MemberError(f"its bytes in {self.path.name} are damaged: {_reason(error)}") from error
        if len(content) != claimed:
            raise MemberError(f"it has {len(content)} bytes, and {self.path.name} lists {info.file_size}")
        return content

    def _info(self, member: PurePosixPath) -> zipfile.ZipInfo:
        try:
            return self.infos[member]
        except KeyError:
            raise FileNotFoundError(f"{member} is not in {self.path.name}") from None

    def _list(self, entries: list[zipfile.ZipInfo]) -> Iterator[FoundFile]:
        """Each member once; of those that macOS added, only the folder."""
        names = [entry.filename.replace("\\", "/") for entry in entries]
        folders = {p for name in names for p in PurePosixPath(name).parents}
        self._places = folders | {PurePosixPath(name) for name in names}
        junk = False
        for name, info in zip(names, entries, strict=True):
            inside = PurePosixPath(name.lstrip("/"))
            if name.endswith("/"):
                if info.compress_size and info.file_size and PurePosixPath(name) not in folders:
                    why = f"it is listed in {self.path.name} as a folder, and has {info.file_size} bytes"
                    yield FoundFile(self.path / inside.name, why, "Pack the archive again.")
                continue
            if _JUNK in inside.parts[:-1]:
                junk = True
                continue
            why, hint = self._why_unreadable(name, info)
            if not why and inside in self.infos:
                if (self.infos[inside].CRC, self.infos[inside].file_size) == (info.CRC, info.file_size):
                    continue
                why, hint = f"{self.path.name} holds two different files of this name", "Pack the archive again."
            if not why:
                self.infos[inside] = info
                why = self._why_no_file(inside, info)
            if why != _FOLLOWED:
                yield FoundFile(self.path / (inside.name if ".." in inside.parts else inside), why, hint)
        if junk:
            yield FoundFile(self.path / _JUNK, "it is what macOS adds to an archive")

    def _why_unreadable(self, name: str, info: zipfile.ZipInfo) -> tuple[str, str]:
        """Why a member is not unpacked, and what to do; "" where it may be."""
        archive = self.path.name
        unpack = f"Unpack {archive}, and give the folder."
        if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
            shown = escape_controls(name)  # in the hint, because a record of a conversion holds no path
            return (
                f"its name in {archive} leads out of the archive",
                f"It is “{shown}”. Pack the files from their folder.",
            )
        if info.flag_bits & _ENCRYPTED:
            return f"it is encrypted in {archive}", f"Unpack {archive} with its password, and give the folder."
        if info.compress_type not in _READ:
            method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
            return f"it is compressed in {archive} by {method}, which is not read here", unpack
        most = min(MOST_MEMBER_BYTES, limit())
        if info.file_size > most:
            size = info.file_size / 2**30
            return f"it is {size:.1f} GiB, and at most {most / 2**30:g} are read from an archive", unpack
        if info.file_size > _SMALL + DEFLATE_MOST * info.compress_size:
            times = info.file_size // max(info.compress_size, 1)
            return f"{archive} claims that it unpacks to {times} times its size, as no image does", unpack
        return "", ""

    def _why_no_file(self, inside: PurePosixPath, info: zipfile.ZipInfo) -> str:
        """Why a member is a link to nothing, or that it is one to what is found under its own name; "" for a file."""
        if not stat.S_ISLNK(info.external_attr >> 16) or info.file_size > _LONGEST_LINK:
            return ""
        try:
            target = self._unpack(inside, _LONGEST_LINK).decode("utf-8", "replace")
        except MemberError as error:
            return error.why
        reached = os.path.normpath(os.path.join(*inside.parts[:-1], target)).replace("\\", "/")
        return _FOLLOWED if PurePosixPath(reached) in self._places else "it is a link to something that is not there"


_FOLLOWED = "link"  # to what the archive holds, which is found under its own name


class _MemberFile(io.RawIOBase):
    """A member as a file that is open for reading."""

    def __init__(self, archive: _Archive, member: PurePosixPath) -> None:
        self._archive, self._member = archive, member
        self.name = str(archive.path / member)  # as files have one, which pydicom keeps
        self._size = archive.size(member)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._size - self._position))
        content = self._archive.read(self._member, self._position, count) if count else b""
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _open(path: Path) -> _Archive:
    found = path.stat()
    return _open_as_it_is(os.path.abspath(path), found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1)  # each keeps members in memory
def _open_as_it_is(path: str, *_: int) -> _Archive:
    """Read the list of an archive once, unless it was changed since. Its path alone would not show that."""
    return _Archive(Path(path))


def _reason(error: Exception) -> str:
    """What went wrong, without the name of the member that Python adds."""
    text = str(error).split(" for file ")[0].strip().replace("File is not a zip file", "it is not there")
    return text[:1].lower() + text[1:] if text else "they end early"
