"""Safe file names from what a series says of itself.

Rules:
- ASCII letters, digits, dot, hyphen and underscore; other text is folded (é to e) or becomes a hyphen. Names that Windows
  reserves are changed. Never a patient's name or id.
- A series without description is called by its kind. Two series never share a name: where number and description repeat, a
  short hash of the UID is added; the place in the run where UIDs are stripped.
- Where names of the inputs are kept, the last folder's name stands for a description that is missing, and is added before
  the hash; never a path.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.given_path import look_at_input
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..dicom.unread_files import folder_name

if TYPE_CHECKING:
    from ..dicom.scan import Series

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{device}{n}" for device in ("COM", "LPT") for n in range(1, 10))}


def safe(text: str, longest: int = 80) -> str:
    """A file-name part from free text; empty when nothing usable is left."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folded).strip("-. ")[:longest].rstrip("-. ")
    stem, *endings = name.split(".")
    return ".".join([f"{stem}_", *endings]) if _is_reserved(name) else name  # an ending makes it no other name


def plain_name(text: str) -> str:
    """The name of a file or folder of the user, for what is made of it: as it is, or `safe` where a terminal would obey a
    part of it, nobody could see it, or a command line would take it for an option."""
    return safe(text) if text.startswith("-") or escape_controls(text) != text else text


def why_no_windows_name(name: str) -> str:
    """Say why Windows keeps no file of such a name; "" where it does.

    A colon names a stream within a file, a reserved name a device, and dots and spaces at the end are taken off: what is
    written there would be lost without an error.
    """
    odd = sorted(set('<>:"/\\|?*') & set(name))
    if odd:
        return f"a file name of Windows has no {' '.join(odd)}"
    if _is_reserved(name):
        return f"Windows reserves the name {name.split('.')[0]} for a device"
    return "Windows takes off the dot or space at its end" if name.endswith((".", " ")) else ""


def _is_reserved(name: str) -> bool:
    return name.split(".")[0].rstrip().upper() in _RESERVED


def file_names(series: Sequence[Series], policy: Policy | None = None) -> list[str]:
    """Name the file of each series, without ending.

    Args:
        series: of one run.
        policy: whether the names of their folders may be used, and what is stripped.

    Returns: NUMBER_DESCRIPTION for each, unique regardless of case.
    """
    policy = policy or Policy()
    folders = [safe(s.folder) if policy.keep_names else "" for s in series]
    described = ["" if policy.strips_names else safe(s.description) for s in series]
    plain = [
        _joined(_number(s), description or folder or s.kind)
        for s, description, folder in zip(series, described, folders, strict=True)
    ]
    in_folder = [_joined(name, folder) for name, folder in zip(plain, folders, strict=True)]
    tried = zip(plain, _are_alone(plain), in_folder, _are_alone(in_folder), strict=True)
    names = [longer if longer_alone and not alone else name for name, alone, longer, longer_alone in tried]
    told_apart = [str(n) if policy.strips_uids else _hash(s) for n, s in enumerate(series, 1)]
    return [
        name if alone else _joined(name, other)
        for name, alone, other in zip(names, _are_alone(names), told_apart, strict=True)
    ]


def merged_name(inputs: Sequence[Path], policy: Policy) -> str:
    """A name without ending for what is merged of all inputs; where names are kept, that of the folder that holds them."""
    if not policy.keep_names:
        return "merged"
    return safe(folder_name(path / "any" if _holds_files(path) else path for path in inputs)) or "merged"


def _holds_files(path: Path) -> bool:
    return look_at_input(path).is_folder or path.suffix.casefold() == ".zip"


def _number(series: Series) -> str:
    return "" if series.number is None else str(series.number)


def _joined(*parts: str) -> str:
    return "_".join(part for part in parts if part)


def _are_alone(names: Sequence[str]) -> list[bool]:
    """For each name, whether there is one and no other has it."""
    count = Counter(name.casefold() for name in names)
    return [bool(name) and count[name.casefold()] == 1 for name in names]


def _hash(series: Series) -> str:
    return hashlib.sha256(f"{series.uid} {series.kind}".encode()).hexdigest()[:8]
