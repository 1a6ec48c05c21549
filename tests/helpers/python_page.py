"""Run docs/python.md: its blocks of Python one after the other, as one program, and hold what each prints against the page.

`python -m tests.helpers.python_page` writes what they print into the page; a test holds it. What is shown are folders made here, and
no patient.

Rules:
- A block of Python that prints is followed by `<!-- prints -->` and a block with exactly that.
- The page reads no version of any package, so that it is the same with every one.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.phantom import Spec, turned, write

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
_BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n<!-- prints -->\n```\n(?P<shown>.*?)```\n)?", re.S)
_SPEC = Spec(
    shape=(40, 32, 12),
    row_spacing=0.8,
    column_spacing=0.8,
    step=2.5,
    iop=turned(about_x=-12),
    instance_numbers="against",
)


def make_folders(folder: Path) -> None:
    """Write what the page is about: CT_DIR, whose files are numbered from head to foot, and MASK_DIR."""

    def rescale(k: int, dataset: Any) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
        values = np.frombuffer(dataset.PixelData, np.uint16).astype(float)
        dataset.PixelData = (values * 1.5).astype(np.uint16).tobytes()

    write(folder / "CT_DIR", _SPEC, content="grey", kind="ct", stored="against", description="thorax", edit=rescale)
    write(
        folder / "MASK_DIR", _SPEC, content="mask", stored="against", seed="mask", description="liver", series_number=8
    )


def blocks(text: str) -> list[tuple[str, str]]:
    """Every block of Python on the page, with what it is said to print."""
    return [(match["code"], match["shown"] or "") for match in _BLOCK.finditer(text)]


def run(text: str, folder: Path) -> list[str]:
    """Run the blocks of a page in a folder; what each prints."""
    make_folders(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    before = Path.cwd()
    os.chdir(folder)
    try:
        for code, _ in blocks(text):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, PAGE.name, "exec"), names)
            printed.append(out.getvalue())
    finally:
        os.chdir(before)
    return printed


def rewritten(text: str, printed: list[str]) -> str:
    """The page with what its blocks print."""
    made: Iterator[str] = iter(printed)

    def block(match: re.Match[str]) -> str:
        says = next(made)
        return f"```python\n{match['code']}```\n" + (f"\n<!-- prints -->\n```\n{says}```\n" if says else "")

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    page = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory() as made_in:
        PAGE.write_text(rewritten(page, run(page, Path(made_in))), "utf-8")
    sys.exit()
