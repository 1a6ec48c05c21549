"""Safe file names from what a series says of itself.

Rules:
- ASCII letters, digits, dot, hyphen and underscore; other text is folded (é to e) or becomes a hyphen. Names that Windows
  reserves are changed. Never a patient's name or id.
- Two series never share a name: where number and description repeat, a short hash of the UID is added.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from pipeline.series import Series

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{device}{n}" for device in ("COM", "LPT") for n in range(1, 10))}


def safe(text: str, longest: int = 80) -> str:
    """A file-name part from free text; empty when nothing usable is left."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folded).strip("-. ")[:longest].rstrip("-. ")
    return f"{name}_" if name.split(".")[0].upper() in _RESERVED else name


def file_names(series: Sequence[Series]) -> list[str]:
    """A name without ending for each: NUMBER_DESCRIPTION, unique regardless of case."""
    plain = [_plain(s) for s in series]
    count = Counter(name.casefold() for name in plain)
    return [
        name if name and count[name.casefold()] == 1 else "_".join(p for p in (name, _hash(s)) if p)
        for name, s in zip(plain, series, strict=True)
    ]


def _plain(series: Series) -> str:
    number = "" if series.number is None else str(series.number)
    return "_".join(p for p in (number, safe(series.description)) if p)


def _hash(series: Series) -> str:
    return hashlib.sha256(f"{series.uid} {series.kind}".encode()).hexdigest()[:8]
