"""Exchange masks with Mimics: two scripts that run inside it, and the folders ("bundles") they write and read."""

import os
from pathlib import Path


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle: its folder, or its bundle.json."""
    return os.path.isfile(path / "bundle.json") or (path.name == "bundle.json" and os.path.isfile(path))
