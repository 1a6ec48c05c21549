"""Find every file below the inputs, and name whatever there cannot be read as a file.

Rules:
- Folders are walked in name order, each once. Links to folders are followed after all others, so that a folder is found
  under its own name. A link to a folder that holds the link, or an input, is a loop and is not followed.
- Pipes, sockets and devices are never opened, because reading one may wait for ever.
- What cannot be reached is yielded with its reason. Only an input that cannot be reached is refused here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from errno import EIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..core.findings import Code, refuse
from ..core.given_path import look_at_input
from ..core.regular_file import kind_of

_FolderId = tuple[int, int]  # device and inode: comparing paths would cost the depth of every folder


class FoundFile(NamedTuple):
    """A file, or an entry of a folder or an archive that cannot be read as one.

    why_unreadable: the reason why it cannot be read, "" for a file. hint: what to do about it, where that is known.
    series_uid: the series it belongs to, where something else says so. is_plane: whether it is known to be one; None where
    its name has to tell.
    """

    path: Path
    why_unreadable: str = ""
    hint: str = ""
    series_uid: str = ""
    is_plane: bool | None = None


class MemberError(OSError):
    """A member of an archive whose bytes cannot be had. why: the reason. hint: what to do."""

    def __init__(self, why: str) -> None:
        super().__init__(EIO, why)
        self.why = why
        self.hint = "Copy or export the archive again, or take the member out of it if it is no image."


def begins_like_zip(start: bytes) -> bool:
    """Whether a file that begins so may be a ZIP archive, empty and split ones too."""
    return start[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


def is_zip(file: BinaryIO, name: str) -> bool:
    """Whether a file is a ZIP archive: it begins like one; or it is called one and ends like one, which can unpack itself.

    Args:
        file: open for reading at its start, and left there where it is none.
        name: of the file.
    """
    is_one = begins_like_zip(file.read(4))
    if not is_one and name.casefold().endswith((".zip", ".exe")):
        from zipfile import is_zipfile  # takes a while to import

        is_one = is_zipfile(file)
    file.seek(0)
    return is_one


def archive_of(path: Path) -> Path | None:
    """Get the file that a path goes on below, if there is one: the archive that it names a member of."""
    for above in path.parents:
        if above.is_dir():
            return None
        if above.is_file():
            return above
    return None


def find_files(inputs: Iterable[Path]) -> Iterator[FoundFile]:
    """Find every file below the inputs, and everything there that cannot be read as one; each once.

    Raises PipelineError: NO_SUCH_INPUT for an input that is not there, FILE_UNREAD for one that cannot be reached.
    """
    starts = list(inputs)
    for given in starts:
        refuse_unreachable(given)
    count = len(starts)
    above = {folder for given in starts for folder in folders_above(given)}
    walked: set[_FolderId] = set()
    seen: set[str] = set()
    for number, start in enumerate(starts):  # links to folders are added at its end meanwhile
        if number >= count:
            if folder_id(os.stat(start)) in above:
                continue
            above |= folders_above(start)
        for found, real in _find_below(start, walked, starts):
            if found.why_unreadable or real not in seen:
                seen.add(real)
                yield found


def refuse_unreachable(given: Path) -> None:
    """Refuse an input that is not there, cannot be reached, or is no file. Raises NO_SUCH_INPUT, FILE_UNREAD."""
    mode = look_at_input(given).mode
    if not mode:
        raise refuse(
            Code.NO_SUCH_INPUT, f"{given} is not there", "Check the path; nothing was read.", where=(str(given),)
        )
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise refuse(
            Code.FILE_UNREAD,
            f"{given} cannot be read: it is {kind_of(mode)}, which is never opened",
            "Give a file or a folder; what comes through a pipe is to be saved first.",
            where=(str(given),),
        )


def folders_above(start: Path) -> set[_FolderId]:
    """Identify the folders that hold a path, as far as they can be reached."""
    found = set()
    for folder in Path(os.path.realpath(start)).parents:
        try:
            found.add(folder_id(os.stat(folder)))
        except OSError:
            continue
    return found


def _find_below(start: Path, walked: set[_FolderId], links: list[Path]) -> Iterator[tuple[FoundFile, str]]:
    """Find what is at one input, each with its real path.

    Adds to `walked` the folders that were entered, and to `links` the links to folders.
    """
    real = os.path.realpath(start)  # once: to resolve every path would look at every folder above it again
    if not start.is_dir():
        yield FoundFile(start, why_unreadable(start)), real
        return
    open_ = [(start, real)]
    while open_:
        folder, real_folder = open_.pop()
        try:
            if (identity := folder_id(os.stat(folder))) in walked:
                continue
            walked.add(identity)
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield FoundFile(folder, f"it is a folder that cannot be listed: {error.strerror}"), real_folder
            continue
        deeper = []
        for entry in listed:
            path = folder / entry.name
            kind, why = classify_entry(entry)
            if kind == "folder":
                deeper.append((path, os.path.join(real_folder, entry.name)))
            elif kind == "link to a folder":
                links.append(path)
            else:
                is_link = entry.is_symlink()
                yield FoundFile(path, why), os.path.realpath(path) if is_link else os.path.join(real_folder, entry.name)
        open_ += reversed(deeper)


def classify_entry(entry: os.DirEntry[str]) -> tuple[str, str]:
    """Find what an entry of a folder is: "file", "folder" or "link to a folder"; and why it cannot be read, "" where it can."""
    try:
        if entry.is_file(follow_symlinks=False):
            return "file", ""
        if entry.is_dir(follow_symlinks=False):
            return "folder", ""
        if entry.is_dir():
            return "link to a folder", ""
    except OSError as error:
        return "", f"it cannot be reached: {error.strerror}"
    return "file", why_unreadable(Path(entry.path))


def why_unreadable(path: Path) -> str:
    """Say why a path is neither a file nor a folder, nor a link to one; "" if it is."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "it is a link to something that is not there"
    except OSError as error:
        return f"it cannot be reached: {error.strerror}"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return f"it is {kind_of(mode)}, which is never opened"


def folder_id(found: os.stat_result) -> _FolderId:
    """Get what tells folders apart, by whatever path they are reached."""
    return found.st_dev, found.st_ino
