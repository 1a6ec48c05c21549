"""The bridge to Mimics: two scripts that run inside it, and the folders ("bundles") they write and read."""

from pathlib import Path


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle: its folder, or its bundle.json."""
    return (path / "bundle.json").is_file() or (path.name == "bundle.json" and path.is_file())
