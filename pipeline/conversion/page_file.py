"""Write pages to their place, and tell a page of ours from everything else.

Rules:
- A page replaces a page that this program wrote, which says so in its head, and nothing else: no input, no other file.
- The place is checked before the work, so that nothing is converted for a page that cannot be.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..core.atomic_file import in_place
from ..core.findings import Code, refuse
from ..core.plain_text import escape_bytes
from ..core.regular_file import open_regular

_START = b"<!doctype html>"
_MARK = b'<meta name="generator" content="verimask">'
_HEAD = 512  # bytes in which both stand


def page_of(output: Path) -> Path:
    """liver.nii.gz or liver.json -> liver.html"""
    stem = output.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".json")
    return output.with_name(f"{stem}.html")


def is_page(path: Path) -> bool:
    """Whether a file is a page that this program wrote."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(_START) and _MARK in head


def check_page_place(path: Path) -> None:
    """Refuse a place where no page can be written. Raises OUTPUT_NAME, OUTPUT_EXISTS."""
    if not path.parent.is_dir():
        hint = "Make it first, or give another name."
        raise refuse(Code.OUTPUT_NAME, f"the folder {path.parent} is not there", hint, where=(path.name,))
    if path.is_dir():
        raise refuse(
            Code.OUTPUT_NAME,
            f"{path} is a folder, and a page is one file",
            "Name a file, such as page.html.",
            where=(str(path),),
        )
    if os.path.lexists(path) and not is_page(path):
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{path.name} is there and is no page of verimask; it was left alone",
            "Give another name, or move the file away: a page replaces none but a page.",
            where=(path.name,),
        )


def write_page(path: Path, text: str) -> None:
    """Write a page. Raises as `check_page_place`, and CANNOT_WRITE."""
    check_page_place(path)
    with in_place(path, overwrite=is_page(path)) as part:
        part.write_text(escape_bytes(text), "utf-8")
