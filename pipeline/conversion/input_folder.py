"""Say in which folder of the inputs a series lies, without the path of the inputs.

Rules:
- A folder is given relative to the input that holds it, with "/" on every system; "." is the input itself. Of several inputs,
  each stands first by its name, and by as many folders above it as tell it from the others.
- An archive is a folder. A file that was given is an input's folder by the folder that it lies in.
- It is for whoever gave the path; a record holds it only where names are kept.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from ..core.given_path import look_at_input
from ..core.plain_text import escape_bytes
from ..dicom.unread_files import folders_of


class InputFolders:
    """The inputs of a run, to say where in them something lies."""

    def __init__(self, inputs: Iterable[Path]) -> None:
        roots = dict.fromkeys(os.path.abspath(_folder_of(path)) for path in inputs)
        outer = [root for root in map(PurePath, roots) if not any(str(above) in roots for above in root.parents)]
        self._prefixes = dict(zip(outer, _tell_apart([root.parts for root in outer]), strict=True))

    def folder_of(self, files: Iterable[Path]) -> str:
        """Find the deepest folder that holds all files.

        Args:
            files: of one series or bundle.

        Returns: the folder relative to its input, POSIX; "" where no input holds them all.
        """
        common = PurePath(folders_of(files).common)
        root = next((path for path in (common, *common.parents) if path in self._prefixes), None)
        if root is None:
            return ""
        return escape_bytes("/".join((*self._prefixes[root], *common.relative_to(root).parts)) or ".")


def folder_within(folder: str, files: Iterable[Path], some: Iterable[Path]) -> str:
    """Find the deepest folder that holds some of the files of a folder, such as those of one part of a series.

    Args:
        folder: as `InputFolders` gave it for all of the files.
        files: all of them.
        some: of them.

    Returns: the folder of these; that of all where they lie elsewhere.
    """
    common, own = (PurePath(folders_of(each).common) for each in (files, some))
    if not folder or not own.is_relative_to(common):
        return folder
    return posixpath.normpath(posixpath.join(folder, *map(escape_bytes, own.relative_to(common).parts)))


def common_folder(folders: Sequence[str]) -> str:
    """The deepest folder that holds all of these, which `InputFolders` gave; "" where one of them is not known."""
    return "" if "" in folders or not folders else posixpath.commonpath(folders) or "."


def _folder_of(path: Path) -> Path:
    """The folder that an input stands for. A ZIP archive is one itself."""
    return path.parent if look_at_input(path).is_file and path.suffix.casefold() != ".zip" else path


def _tell_apart(roots: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The last parts of each path, as many as tell them all apart; none for the only one."""
    if len(roots) < 2:
        return [() for _ in roots]
    longest = max(map(len, roots))
    count = next((n for n in range(1, longest) if len({root[-n:] for root in roots}) == len(roots)), longest)
    return [tuple(part for part in root[-count:] if part != PurePath(root[0]).anchor) for root in roots]
