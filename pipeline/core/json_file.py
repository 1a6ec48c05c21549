"""Read JSON that anybody may have written: records, bundles, data sets.

Rules:
- Whatever is wrong with the text is a ValueError, too deep a nesting too, so that no caller has to think of all of it.
- Anything but a regular file is an OSError: a pipe would be waited for without end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .regular_file import read_text


def read_json(path: Path) -> Any:
    """Return what a JSON file in UTF-8 holds. Raises OSError where it cannot be read, ValueError where it is no JSON."""
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
