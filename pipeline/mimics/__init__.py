"""Exchange masks with Mimics: two scripts that run inside it, and the folders ("bundles") they write and read."""

import os
from pathlib import Path


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle: its folder, or its bundle.json."""
    return os.path.isfile(path / "bundle.json") or (path.name == "bundle.json" and os.path.isfile(path))


def find_bundles(path: Path) -> list[Path]:
    """List the bundles that a path is, or that a folder of them holds, in the order of their names; none for anything else."""
    if is_bundle(path):
        return [path]
    try:
        return sorted(child for child in path.iterdir() if is_bundle(child)) if os.path.isdir(path) else []
    except OSError:  # whoever reads what is no bundle says why it cannot be
        return []
