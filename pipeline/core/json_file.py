"""Read JSON that anybody may have written: records, bundles, data sets.

Rules:
- Whatever is wrong with the text is a ValueError, too deep a nesting too, so that no caller has to think of all of it.
- How much is read of which files, `text_file` says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .text_file import read_text


def read_json(path: Path) -> Any:
    """Return what a JSON file in UTF-8 holds. Raises OSError where it cannot be read, ValueError where it is no JSON."""
    return parse_json(read_text(path))


def parse_json(text: str | bytes, **hooks: Any) -> Any:
    """Return what a text in JSON holds. hooks: of `json.loads`. Raises ValueError where it is none."""
    try:
        return json.loads(text, **hooks)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
