"""Walk the folders below the inputs, and list the files of each with size and time; nothing is opened.

Rules:
- Folders are walked in name order, each once. Links to folders are followed after all others, so that a folder is found
  under its own name. A link to a folder that holds the link, or an input, is a loop and is not followed.
- A file is found once: a link to one below an input is listed as a link, since what it leads to is found by itself.
- The folder of a Git repository is listed as one entry and not walked. Files are its objects there, under no name of theirs.
- What cannot be listed or read is an entry with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ...core.given_path import look_at_input
from ...dicom.files import classify_entry, folder_id, folders_above, why_unreadable

_REPOSITORY = ".git"


class ListedFile(NamedTuple):
    """A file of a folder, or what else stands there and is no folder.

    name: "" for the folder itself, where it cannot be listed. size: bytes. why_unread: "" for what can be read as a file.
    is_link: to a file that is found under its own name.
    """

    name: str
    size: int
    mtime_ns: int
    why_unread: str = ""
    is_link: bool = False


class Listing(NamedTuple):
    """The files that lie directly in one folder, in the order of their names. folder: its path."""

    folder: str
    entries: tuple[ListedFile, ...]

    def digest(self) -> bytes:
        """Compute what another state of the folder differs in: names, sizes and times."""
        return blake2b(repr(self.entries).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def walk(inputs: Sequence[Path], skipped: Collection[str] = ()) -> Iterator[Listing]:
    """List the files of every folder below the inputs.

    Args:
        inputs: folders or files.
        skipped: real paths of folders that are not walked, whatever they hold.

    Returns: a listing of each folder that has any entry.

    Raises: nothing: what cannot be listed is an entry with its reason.
    """
    return _Walk(inputs, skipped).listings()


def root_of(inputs: Sequence[Path]) -> str:
    """Find the folder that names within the inputs are relative to: the one input, or the folder that holds all of them."""
    folders = [os.path.abspath(given if look_at_input(given).is_folder else given.parent) for given in inputs]
    try:
        return os.path.commonpath(folders)
    except ValueError:  # on several drives
        return ""


class _Walk:
    """The state of one walk. links: folders to be walked after the inputs."""

    def __init__(self, inputs: Sequence[Path], skipped: Collection[str]) -> None:
        self._inputs = [os.path.abspath(given) for given in inputs]
        self._real = [os.path.realpath(given) for given in inputs]
        self._skipped = frozenset(skipped)
        self._walked: set[tuple[int, int]] = set()
        self._links: list[str] = []

    def listings(self) -> Iterator[Listing]:
        above = {folder for given in self._inputs for folder in folders_above(Path(given))}
        files: dict[str, list[str]] = {}
        for given in self._inputs:
            if os.path.isdir(given):
                yield from self._walk(given)
            else:
                files.setdefault(os.path.dirname(given), []).append(os.path.basename(given))
        for link in self._links:  # which grows meanwhile
            if folder_id(os.stat(link)) not in above:
                above |= folders_above(Path(link))
                yield from self._walk(link)
        for folder, names in files.items():
            if folder_id(os.stat(folder)) not in self._walked:
                entries = (_entry(os.path.join(folder, name), name) for name in sorted(set(names)))
                yield Listing(folder, tuple(entries))

    def _walk(self, start: str) -> Iterator[Listing]:
        open_ = [(start, os.path.realpath(start))]  # once: to resolve every folder would look at all above it again
        while open_:
            folder, real = open_.pop()
            deeper: list[str] = []
            entries = self._list(folder, real, deeper)
            if entries:
                yield Listing(folder, tuple(entries))
            open_ += [(path, os.path.join(real, os.path.basename(path))) for path in reversed(deeper)]

    def _list(self, folder: str, real: str, deeper: list[str]) -> list[ListedFile]:
        """List one folder that was not listed before. real: its real path. deeper: gets the folders in it."""
        try:
            identity = folder_id(os.stat(folder))
            if identity in self._walked or real in self._skipped:
                return []
            self._walked.add(identity)
            with os.scandir(folder) as found:
                listed = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            return [ListedFile("", 0, 0, f"it is a folder that cannot be listed: {error.strerror}")]
        entries = []
        for entry in listed:
            kind, why = classify_entry(entry)
            if kind == "folder" and entry.name == _REPOSITORY:
                entries.append(ListedFile(entry.name, 0, 0, "it is the folder of a Git repository, which is not read"))
            elif kind == "folder":
                deeper.append(entry.path)
            elif kind == "link to a folder":
                self._links.append(entry.path)
            else:
                entries.append(self._entry_of(entry, why))
        return entries

    def _entry_of(self, entry: os.DirEntry[str], why: str) -> ListedFile:
        try:
            is_link = entry.is_symlink() and not why
            state = entry.stat()
        except OSError as error:
            return ListedFile(entry.name, 0, 0, why or f"it cannot be reached: {error.strerror}")
        return ListedFile(entry.name, state.st_size, state.st_mtime_ns, why, is_link and self._is_found(entry.path))

    def _is_found(self, link: str) -> bool:
        """Whether what a link leads to is below an input, and so found by itself."""
        real = os.path.realpath(link)
        for root in self._real:
            if real.startswith(os.path.join(root, "")):
                return _REPOSITORY not in real[len(root) :].split(os.sep)
        return False


def _entry(path: str, name: str) -> ListedFile:
    """The entry of a file that was given."""
    why = why_unreadable(Path(path))
    state = os.stat(path)
    return ListedFile(name, state.st_size, state.st_mtime_ns, why)
