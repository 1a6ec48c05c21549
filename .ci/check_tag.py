"""Hold that a tag is that of the version that is released."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str]) -> None:
    """Raise SystemExit where the tag is not v and the version in pyproject.toml, or the package has another."""
    (tag,) = arguments
    version = _find(ROOT / "pyproject.toml", r'^version = "(.+)"$')
    package = _find(ROOT / "pipeline" / "core" / "version.py", r'^__version__ = "(.+)"$')
    if package != version:
        raise SystemExit(f"pyproject.toml has version {version}, and the package says {package}: make them one")
    if tag != f"v{version}":
        raise SystemExit(f"the tag {tag} is not v{version}, the version in pyproject.toml: correct one of them")
    print(f"{tag} is the version in pyproject.toml")


def _find(path: Path, pattern: str) -> str:
    found = re.search(pattern, path.read_text("utf-8"), re.M)
    return found[1] if found else "none"


if __name__ == "__main__":
    main(sys.argv[1:])
