"""Define the rows of the index: what is kept of a file, of a series and of a folder."""

from __future__ import annotations

import os
from typing import NamedTuple


class FileRow(NamedTuple):
    """A file as it is kept: what `ListedFile` says, and what became of it.

    series: its key, "" where it was left out. image: digest of its SOP Instance UID. reason: "CODE: message" for what was
    left out. may_be_plane: whether it was left out and may be a plane. archive: of a ZIP archive, the path of what it holds.
    """

    name: str
    size: int
    mtime_ns: int
    series: str = ""
    image: int | None = None
    reason: str = ""
    may_be_plane: bool = False
    archive: str = ""


class SeriesRow(NamedTuple):
    """A series as it is kept. alike: digest of what is the same in series whose masks could be called alike, or None.

    facts: JSON. images: image digests, 8 bytes each. named: digests of the UIDs of series that it names as its images.
    """

    key: str
    alike: int | None
    facts: str
    images: bytes
    named: tuple[int, ...] = ()


class ScannedFolder(NamedTuple):
    """What one folder, or one archive, holds."""

    path: str
    digest: bytes
    files: list[FileRow]
    series: list[SeriesRow]
    is_archive: bool = False


class KnownFile(NamedTuple):
    """What is known of a file since it was last looked at."""

    row: int
    size: int
    mtime_ns: int
    archive: int | None
    sha256: bytes | None


def join(folder: str, name: str) -> str:
    """Make a path; name is "" for the folder itself."""
    return os.path.join(folder, name) if name else folder
