"""Put the files of a job into a folder, for a witness that opens files by their names.

Rules:
- A file is a link to ours. A member of an archive, which no other program can open, is unpacked into the folder.
- The folder is the witness's own and temporary; whoever made it removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..dicom.source_file import FileState, bytes_of, is_member, state_of


def put_files(files: Iterable[str], folder: Path) -> list[str]:
    """Put each file once into a folder, numbered in their order.

    Args:
        files: paths of files, or of members of archives.
        folder: that is there already.

    Returns:
        The paths in the folder, in the same order.

    Raises:
        OSError: one cannot be read, or the folder not be written.
    """
    made = []
    for number, path in enumerate(dict.fromkeys(files)):
        target = folder / f"{number:06d}.dcm"
        if is_member(Path(path)):
            target.write_bytes(bytes_of(Path(path)))
        else:
            _link(path, target)
        made.append(str(target))
    return made


def states_of(files: Iterable[str]) -> tuple[FileState, ...]:
    """What shows that files are others than when they were read: a witness answers many jobs, and files may change between."""
    return tuple(state_of(Path(file)) for file in files)


def _link(path: str, target: Path) -> None:
    """Link to a file; copy it where links are not allowed, as on Windows by default."""
    try:
        target.symlink_to(os.path.abspath(path))
    except OSError:
        from shutil import copyfile

        copyfile(path, target)
