"""Decide which files that could not be read may be planes, and which series they may belong to.

A plane lost at the end of a stack leaves no gap, so nothing else would notice it.

Rules:
- A file that begins like DICOM may be a plane, whatever its name; `scan` takes care of those. For others the name decides.
- A file is no plane if its name says so: one that begins with a dot or ends in a tilde, one of `_NOT_PLANES`, or one with an
  extension of letters that no DICOM file here has. What is packed, `packed_planes` opens.
- A file that was read and is not DICOM, and has no extension, may be a plane only if its name has a digit, or is made of
  the characters that a DICOM file of its folder is made of: "_SUCCESS" next to "IM0001" is a marker. What could not be
  read at all (links to nothing, files and folders without permission, pipes) may be a plane.
- Where there is no DICOM file at all, a file that is not DICOM is no plane of anything.
- The ending of an unfinished copy (".part") is no extension; where the whole file is in the same folder, nothing is lost.
- A file may belong to every series whose files' common folder holds it. Where there is none, it may belong to every series
  with files below the nearest folder above it that has any.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.plain_text import escape_bytes

_DICOM_EXTENSIONS = frozenset("dcm dicom dic dc3 ima acr".split())
_UNFINISHED = frozenset("part partial crdownload download filepart incomplete tmp".split())
_WITH_DIGITS = frozenset("mp3 mp4 m4a m4v h5 hdf5 7z bz2 md5 sha1 sha256 sha512 jp2 j2k 3mf x3d".split())
PACKED = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz|zst|lz4|z|7z|rar)$", re.IGNORECASE)  # endings of packed files
_NOT_PLANES = frozenset(
    """
    autorun changelog checksum checksums copying desktop dicomdir index licence license lockfile manifest
    md5sum md5sums readme sha1sum sha1sums sha256sum sha256sums sha512sum sha512sums thumbs version
    __macosx $recycle.bin lost+found
    """.split()
) | {"system volume information"}


class DicomNames:
    """The names of the DICOM files of a scan, by which those of other files are judged."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._extensions = set(_DICOM_EXTENSIONS)
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._kinds: dict[str, set[frozenset[str]]] = {}  # of the plain names of a folder, once it was asked about
        for path in files:
            self._extensions.add(_extension(path.name))
            self._names[str(path.parent)].add(path.name)

    def may_be_plane(self, path: Path, *, foreign: bool) -> bool:
        """Whether a file or folder that could not be read may be, or hold, a plane. foreign: it was read, and is no DICOM."""
        name, folder = path.name, str(path.parent)
        if foreign and not self._names:
            return False
        stem, _, ending = name.rpartition(".")
        if stem and ending.casefold() in _UNFINISHED:
            if stem in self._names.get(folder, ()):
                return False
            name = stem
        extension = _extension(name)
        if self._is_no_plane(name, extension):
            return False
        return bool(extension) or not foreign or _has_digit(name) or self._is_like(name, folder)

    def _is_no_plane(self, name: str, extension: str) -> bool:
        if name.startswith((".", "~$")) or name.endswith("~"):
            return True
        if extension in _DICOM_EXTENSIONS:
            return False
        known = name.casefold() in _NOT_PLANES or name.split(".")[0].casefold() in _NOT_PLANES
        return known or bool(extension and extension not in self._extensions)

    def _is_like(self, name: str, folder: str) -> bool:
        """Whether a name is made of the same kinds of characters as that of a DICOM file in its folder."""
        if folder not in self._kinds:
            plain = (other for other in self._names.get(folder, ()) if not _extension(other) and not _has_digit(other))
            self._kinds[folder] = {_kinds(other) for other in plain}
        return _kinds(name) in self._kinds[folder]


class Folders(NamedTuple):
    """Where the files of a series lie, absolute. common: the deepest folder that holds all, "" where there is none."""

    common: str
    each: frozenset[str]


def folders_of(files: Iterable[Path]) -> Folders:
    """Find the folders of files."""
    each = frozenset(os.path.abspath(folder) for folder in {path.parent for path in files})
    try:
        return Folders(os.path.commonpath(each), each)
    except ValueError:  # on several drives
        return Folders("", each)


def folder_name(files: Iterable[Path]) -> str:
    """Get the name, not the path, of the deepest folder that holds all files; "" where there is none.

    An archive is a folder of its name without ending.
    """
    common = folders_of(files).common
    name = os.path.basename(common)
    return escape_bytes(os.path.splitext(name)[0] if os.path.isfile(common) else name)


class GroupsByFolder:
    """Groups of files, to be found by the folders they lie in."""

    def __init__(self, groups: Sequence[Folders]) -> None:
        self._by_common: defaultdict[str, list[int]] = defaultdict(list)
        self._below: defaultdict[str, list[int]] = defaultdict(list)  # with files in a folder or below it
        for number, folders in enumerate(groups):
            if folders.common:
                self._by_common[folders.common].append(number)
            for folder in {above for each in folders.each for above in _with_those_above(each)}:
                self._below[folder].append(number)

    def concerned(self, path: Path) -> list[int]:
        """Find the groups that a lost file may belong to, as their numbers."""
        folders = _with_those_above(os.path.dirname(os.path.abspath(path)))
        holding = sorted(n for folder in folders for n in self._by_common.get(folder, ()))
        return holding or next((self._below[folder] for folder in folders if folder in self._below), [])


def place_among(inputs: Sequence[Path], files: Sequence[Path]) -> tuple[int, tuple[str, ...]]:
    """Make a key that sorts files as their inputs were given: the first input that holds one, and their folder."""
    numbers = {os.path.abspath(given): n for n, given in reversed(list(enumerate(inputs)))}
    paths = [Path(os.path.abspath(path)) for path in files]
    holding = [numbers[str(p)] for path in paths for p in (path, *path.parents) if str(p) in numbers]
    return min(holding, default=len(inputs)), Path(folders_of(files).common).parts


def _with_those_above(folder: str) -> list[str]:
    """An absolute folder and all that hold it, from the deepest."""
    found = [folder]
    while (above := os.path.dirname(found[-1])) != found[-1]:
        found.append(above)
    return found


def _extension(name: str) -> str:
    """What follows the last dot, where it is an extension: letters, or one of those with digits. UIDs have dots too."""
    stem, _, last = name.rpartition(".")
    last = last.casefold()
    return last if stem and (last.isalpha() or last in _WITH_DIGITS) else ""


def _has_digit(name: str) -> bool:
    return any(c.isdigit() for c in name)


def _kinds(name: str) -> frozenset[str]:
    """The kinds of characters in a name: small and capital letters, others, and each sign by itself."""
    return frozenset("a" if c.islower() else "A" if c.isupper() else "x" if c.isalpha() else c for c in name)
