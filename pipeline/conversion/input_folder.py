"""Say in which folder of the inputs a series lies, without the path of the inputs, and without the patient.

Rules:
- A folder is given relative to the input that holds it, with "/" on every system; "." is the input itself. Of several inputs,
  each stands first by its name, and by as many folders above it as tell it from the others.
- An archive is a folder. A file that was given is an input's folder by the folder that it lies in.
- What is written into a record holds neither Patient ID (0010,0020) nor Patient's Name (0010,0010) of the series; the
  parts that are one are "-" there. What is printed for whoever gave the path is as it is on disk.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from ..core.plain_text import escape_bytes
from ..dicom.scan import Series
from ..dicom.unread_files import folders_of

_SHORT = 3  # letters: a shorter part of a name is found as a whole word only, or it would be found in any
_PATIENT = ("PatientID", "PatientName")


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


def common_folder(folders: Sequence[str]) -> str:
    """The deepest folder that holds all of these, which `InputFolders` gave; "" where one of them is not known."""
    return "" if "" in folders or not folders else posixpath.commonpath(folders) or "."


def clean_folder(folder: str, series: Series) -> str:
    """Leave out of a folder what names the patient of a series.

    Args:
        folder: relative, of `InputFolders`.
        series: whose first file is asked for Patient ID and Patient's Name.

    Returns: the folder, with "-" for each part that is one of them.
    """
    if folder in ("", ".") or not series.headers:
        return folder
    from ..dicom.encoding import load  # only here, since pydicom costs more than a small series

    try:
        dataset = load(series.headers[0].path, specific_tags=[*_PATIENT])
        patient_id, name = (str(dataset.get(keyword) or "") for keyword in _PATIENT)
    except Exception:  # then nothing can be compared, and nothing of the folder is safe
        return "-"
    return hide(folder, [patient_id, name, *re.split(r"[\^=,\s]+", name)])


def hide(text: str, names: Sequence[str]) -> str:
    """Put "-" for every name in a text, whatever stands between its letters and whatever their case.

    It takes rather too much than too little: a folder without a few letters still says where to look, and a message would not
    be read without them, so that a cohort's texts are cleaned by stricter rules.

    Args:
        text: any.
        names: the longest are looked for first; one of a letter or two counts only as a whole word.

    Returns: the text without them.
    """
    for name in sorted(set(names), key=lambda name: (-len(name), name)):
        letters = re.findall(r"[^\W_]", name)
        pattern = r"(?:[^\w/]|_)*".join(letters)
        if len(letters) < _SHORT:
            pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
        if letters:
            text = re.sub(pattern, "-", text, flags=re.IGNORECASE)
    return text


def _folder_of(path: Path) -> Path:
    """The folder that an input stands for. A ZIP archive is one itself."""
    return path.parent if path.is_file() and path.suffix.casefold() != ".zip" else path


def _tell_apart(roots: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The last parts of each path, as many as tell them all apart; none for the only one."""
    if len(roots) < 2:
        return [() for _ in roots]
    longest = max(map(len, roots))
    count = next((n for n in range(1, longest) if len({root[-n:] for root in roots}) == len(roots)), longest)
    return [tuple(part for part in root[-count:] if part != PurePath(root[0]).anchor) for root in roots]
