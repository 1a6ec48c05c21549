"""Write pages to their place, and tell a page of ours from everything else.

Rules:
- A page replaces a page that this program wrote, which says so in its head, and nothing else: no input, no other file.
- The place is checked before the work, so that nothing is converted for a page that cannot be.
"""

from __future__ import annotations

from pathlib import Path

from ..core.atomic_file import in_place
from ..core.own_place import check_own_place, head_of
from ..core.plain_text import escape_bytes

_START = b"<!doctype html>"
_MARK = b'<meta name="generator" content="verimask">'
_HEAD = 512  # bytes in which both stand


def page_of(output: Path) -> Path:
    """liver.nii.gz or liver.json -> liver.html"""
    stem = output.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".json")
    return output.with_name(f"{stem}.html")


def is_page(path: Path) -> bool:
    """Whether a file is a page that this program wrote."""
    head = head_of(path, _HEAD)
    return head.startswith(_START) and _MARK in head


def check_page_place(path: Path) -> None:
    """Refuse a place where no page can be written. Raises OUTPUT_NAME, OUTPUT_EXISTS."""
    check_own_place(path, "page", "page of verimask", is_page)


def write_page(path: Path, text: str) -> None:
    """Write a page. Raises as `check_page_place`, and CANNOT_WRITE."""
    check_page_place(path)
    with in_place(path, overwrite=is_page(path)) as part:
        part.write_text(escape_bytes(text), "utf-8")
