"""Have DICOM files judged by dciodvfy, of David Clunie's dicom3tools, before they are sent.

Rules:
- It is asked about every file. Where it is not installed, that is said and recorded, and nothing is refused for it.
- Errors of a file whose class it does not know say nothing about the file: it is recorded as not judged.
- What it says is quoted without the values that it quotes, which may name a patient.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.workers import kill, start_process
from .archive import OutgoingFile

TOOL = "dciodvfy"
_UNKNOWN_CLASS = "Information Object Not found"
_SUM = "Dicom dataset contains invalid data values for Value Representations"  # of errors that it has named
_LIMIT_S = 120.0  # for one file
_BRACKETED = re.compile(r"(\w+=)?<([^<>]*)>")


class Validation(NamedTuple):
    """What came of it. judged: how many files; errors: what was found, with the number of files; is_there: the tool."""

    is_there: bool
    judged: int = 0
    errors: dict[str, int] = {}  # noqa: RUF012 (never changed)


def validate(files: Sequence[OutgoingFile]) -> Validation:
    """Have files judged. Raises OSError where the tool cannot be started, or does not end."""
    tool = shutil.which(TOOL)
    if tool is None:
        return Validation(False)
    judged, errors = 0, Counter[str]()
    for file in files:
        lines = _ask(tool, file.path)
        if not any(_UNKNOWN_CLASS in line for line in lines):
            judged += 1
            errors.update(dict.fromkeys((_without_values(line) for line in lines if line != _SUM), 1))
    return Validation(True, judged, dict(errors))


def _ask(tool: str, path: Path) -> list[str]:
    """The lines of its errors."""
    process = start_process([tool, str(path.absolute())], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        kill(process)
        raise OSError(f"{TOOL} did not end within {_LIMIT_S:g} s") from None
    except BaseException:
        kill(process)
        raise
    lines = errors.decode("utf-8", "replace").splitlines()
    return [line.removeprefix("Error - ") for line in lines if line.startswith("Error - ")]


def _without_values(line: str) -> str:
    """An error without values: names of attributes and modules stay."""
    from pydicom.datadict import tag_for_keyword

    line = re.sub(r"(?<== )<.*>", "<…>", line)

    def shown(found: re.Match[str]) -> str:
        is_name = found[1] or tag_for_keyword(found[2]) is not None
        return found[0] if is_name else "<…>"

    return _BRACKETED.sub(shown, line)
