"""Make the packages of an environment that has less than this one: links to those that are installed here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]


def normal(name: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: Iterable[str]) -> set[str]:
    """The names of the packages that these need here, and what those need."""
    found: set[tuple[str, str]] = set()
    waiting = list(requirements)
    while waiting:
        wanted = Requirement(waiting.pop())
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        for extra in ("", *sorted(wanted.extras)):
            if (normal(wanted.name), extra) not in found:
                found.add((normal(wanted.name), extra))
                waiting += _needed_by(wanted.name, extra)
    return {name for name, _ in found}


def _needed_by(name: str, extra: str) -> Iterator[str]:
    for needed in map(Requirement, metadata.requires(name) or []):
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            needed.marker = None
            yield str(needed)


def link_packages(names: Iterable[str], folder: Path) -> Path:
    """Link what is installed here of these packages into a folder, which is made.

    Args:
        names: of packages; each with its metadata.
        folder: that is to be put on the path.

    Returns: the folder.
    """
    folder.mkdir()
    for name in names:
        files = metadata.files(name) or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(metadata.distribution(name).locate_file(top))).resolve())
    return folder
