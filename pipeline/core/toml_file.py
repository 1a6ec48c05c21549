"""Parse TOML that anybody may have written: descriptions of segments, label maps. Write texts as it has them.

Rules:
- Whatever is wrong with the text is a ValueError whose words name the line.
- Python before 3.11 has no reader of its own; tomli is the same one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from .plain_text import escape_toml


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a text in TOML holds. Raises ValueError where it is none."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def toml_text(value: str | Sequence[str]) -> str:
    """Write a text or a list of texts, each as a basic string that reads back the same; of a lone surrogate there is none."""
    return escape_toml(json.dumps(value, ensure_ascii=False))
