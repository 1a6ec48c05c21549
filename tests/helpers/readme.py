"""What README.md and docs/affine.md show, made anew: every block that follows a `made by` comment is the output of code.

`python -m tests.helpers.readme` rewrites the blocks; a test holds the pages against them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from pipeline.cli.main import main
from pipeline.cli.text import wrap_line
from pipeline.diagnosis.diagnose import diagnose
from pipeline.diagnosis.explain import explain
from pipeline.geometry.affine import Matrix, axis_codes
from tests.helpers.forum import CORONAL, FLIPPED_ROWS, USERS_MATRIX, mimics_order, series, users_affine

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "affine.md")
_BLOCK = re.compile(r"<!-- made by: (\w+) -->\n```(\w*)\n(.*?)```\n", re.S)


def _folder() -> str:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "data/samples/axial", Path(folder, "EXPORT_DIR"))
        printed, before = io.StringIO(), Path.cwd()
        os.chdir(folder)
        try:
            wide = mock.patch.dict(os.environ, {"COLUMNS": "100"})
            with wide, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
                main(["EXPORT_DIR"])
        finally:
            os.chdir(before)
    return f"$ verimask EXPORT_DIR\n{printed.getvalue()}"


def _explain() -> str:
    grid, plane = series(CORONAL)
    text = explain(grid, plane, title="The thread's series, read as coronal")
    return "\n".join(short for line in text.split("\n") for short in wrap_line(line, 100)) + "\n"


def _matrix(directions: Matrix) -> str:
    affine = np.eye(4)
    affine[:3, :3] = directions
    rows = ["  ".join(f"{int(x):2d}" for x in row) for row in directions]
    determinant = int(np.rint(np.linalg.det(directions)))
    # Rows, columns and normal of a DICOM array make a right-handed frame, so the right matrix never mirrors.
    end = f"axes {axis_codes(affine)}, determinant {determinant}" + (": a mirror image" if determinant < 0 else "")
    return "\n".join([*rows, end]) + "\n"


def _flipped() -> str:
    return _matrix(series(FLIPPED_ROWS)[0].ras[:3, :3])


def _coronal() -> str:
    return _matrix(series(CORONAL)[0].ras[:3, :3])


def _theirs() -> str:
    return _matrix(USERS_MATRIX)


def _diagnose() -> str:
    grid, _ = series(CORONAL)
    columns, rows, planes = grid.shape
    truth = np.arange(1, columns * rows * planes + 1, dtype=np.uint16).reshape(grid.shape)
    buffer = mimics_order(grid).of(truth)
    lines = ["dicom2nifti's matrix on the Mimics buffer:"]
    lines += [f"  {line}" for line in diagnose(grid.ras, buffer.shape, grid, array=buffer, truth=truth).lines()]
    lines += ["the author's own matrix on it, without an origin:"]
    wrong = users_affine(np.zeros(3))
    lines += [f"  {line}" for line in diagnose(wrong, buffer.shape, grid, array=buffer, truth=truth).lines()]
    return "\n".join(lines) + "\n"


MADE: dict[str, Callable[[], str]] = {
    "folder": _folder,
    "explain": _explain,
    "flipped": _flipped,
    "coronal": _coronal,
    "theirs": _theirs,
    "diagnose": _diagnose,
}


def blocks(text: str) -> dict[str, str]:
    """Name to content of every block that code makes, or runs."""
    return {name: content for name, _, content in _BLOCK.findall(text)}


def renewed(text: str) -> str:
    """A page with every made block made anew."""

    def block(match: re.Match[str]) -> str:
        name, language, content = match.groups()
        new = MADE[name]() if name in MADE else content
        return f"<!-- made by: {name} -->\n```{language}\n{new}```\n"

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(renewed(page.read_text("utf-8")), "utf-8")
    sys.exit()
