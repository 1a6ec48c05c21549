"""Open an input to read its bytes, whether it is a file of its own or a member of a ZIP archive.

Rules:
- Every module that reads bytes of an input opens it here. What runs in other processes does too: the path alone says where
  the bytes are.
- A file of its own is opened at once. Whether a path names a member of an archive is looked at only where that fails.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ..core.regular_file import open_regular
from .files import archive_of

# Device, inode, size, and the times of the last write and the last change, in ns: what another state of a file differs in.
FileState = tuple[int, int, int, int, int]


def open_source(path: Path, buffering: int = -1) -> BinaryIO:
    """Open an input for reading bytes.

    Args:
        path: of a file, or of a member of an archive: export.zip/CT/001.dcm.
        buffering: 0 for none, as of `open`; a member is buffered always.

    Returns:
        The open file, which can be sought in.

    Raises:
        OSError: it is not there, or its bytes cannot be had.
    """
    try:
        return open_regular(path, buffering)
    except (NotADirectoryError, FileNotFoundError):
        archive = archive_of(path)
        if archive is None:
            raise
        from .archive import open_member

        return open_member(archive, path)


def bytes_of(path: Path) -> bytes:
    """Read all bytes of an input. Raises OSError."""
    with open_source(path) as file:
        return file.read()


def sha256(path: Path) -> str:
    """Compute the SHA-256 of an input, block by block. Raises OSError."""
    import hashlib  # most scans need none

    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with open_source(path, buffering=0) as file:
        while count := file.readinto(buffer):  # type: ignore[attr-defined]
            digest.update(buffer[:count])
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Get the size of an input in bytes. Raises OSError."""
    try:
        return path.stat().st_size
    except (NotADirectoryError, FileNotFoundError):
        with open_source(path) as file:
            return file.seek(0, os.SEEK_END)


def written_ns(path: Path) -> int:
    """Get when an input was last written, in ns, to notice a change; of a member, its archive. Raises OSError."""
    return _stat(path).st_mtime_ns


def state_of(path: Path) -> FileState:
    """Get what shows that an input was changed; of a member, that of its archive. Raises OSError."""
    found = _stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _stat(path: Path) -> os.stat_result:
    try:
        return os.stat(path)
    except (NotADirectoryError, FileNotFoundError):
        archive = archive_of(path)
        if archive is None:
            raise
        return os.stat(archive)


def is_member(path: Path) -> bool:
    """Whether an input is a member of an archive, which no other program can open by its path."""
    return not path.exists() and archive_of(path) is not None
