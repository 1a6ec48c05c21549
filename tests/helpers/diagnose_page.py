"""Write the made parts of docs/diagnose.md: the table of common mistakes, and an example, both from real series.

`python -m tests.helpers.diagnose_page` rewrites the page; a test holds it against what the command says.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

import nibabel
import numpy as np

from pipeline.cli.main import main
from tests.helpers.cases import samples_folder
from tests.helpers.common_mistakes import COMMON, Common, Series, copy_unpadded, read_series

PAGE = Path(__file__).parents[2] / "docs" / "diagnose.md"
_MADE = re.compile(r"(<!-- made by: (\w+) -->\n).*?(?=<!-- end -->)", re.S)
SAGITTAL = "neurolabusc+dcm_qa_decubitus/In/HFP/2_t1_fl2d_sag"  # 35 planes, 4.8 mm apart, 4 mm thick
OBLIQUE = "icometrix+dicom2nifti/tests/data/generic/anatomical/002_non_isotropic"  # pixels of 6.4 mm by 4 mm


def run(*arguments: str | Path) -> tuple[int, str]:
    """Run the command; its exit code and what it printed."""
    printed = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": "100"}), contextlib.redirect_stdout(printed):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
    return int(code or 0), printed.getvalue()


def series_for(name: str, folder: Path) -> Series:
    """The real series on which a mistake shows."""
    if name == "spacing 102":
        return read_series(samples_folder() / OBLIQUE)
    whole = samples_folder() / SAGITTAL
    if name != "planes reordered":
        return read_series(whole)
    if not (folder / "unpadded").exists():
        copy_unpadded(whole, folder / "unpadded")
    return read_series(folder / "unpadded")


def sentences(common: Common, folder: Path) -> list[str]:
    """What the command says of each way in which a mistake is made."""
    said = []
    for name, make in common.make.items():
        series = series_for(name.strip(), folder)
        nibabel.save(make(series), folder / "wrong.nii.gz")
        code, out = run("diagnose", folder / "wrong.nii.gz", *series.arguments, "--json")
        assert code == 12, out
        said += [mistake["Words"] for mistake in json.loads(out)["Mistakes"]]
    return list(dict.fromkeys(said))


def diagnose_page() -> str:
    """The page with its made parts made anew."""
    with tempfile.TemporaryDirectory() as folder:
        made = {"mistakes": _table(Path(folder)), "example": _example(Path(folder))}
    return _MADE.sub(lambda match: match[1] + made[match[2]], PAGE.read_text("utf-8"))


def _table(folder: Path) -> str:
    rows = ["| mistake | in ITK-SNAP or 3D Slicer | `verimask diagnose` says | seen in |", "|---|---|---|---|"]
    for common in COMMON:
        said = "<br>".join(f"{words}." for words in sentences(common, folder))
        threads = f"{len(common.threads)}: " + ", ".join(_link(thread) for thread in common.threads)
        rows.append(f"| {common.title} | {common.looks} | {said} | {threads} |")
    return "\n".join(rows) + "\n"


def _link(thread: str) -> str:
    if thread.startswith("https://"):
        return f"[{thread.split('/')[2]}]({thread})"
    repository, number = thread.split("#")
    return f"[{repository.split('/')[1]}#{number}](https://github.com/{repository}/issues/{number})"


def _example(folder: Path) -> str:
    series = read_series(samples_folder() / SAGITTAL)
    nibabel.save(
        nibabel.Nifti1Image(series.array, series.lps * [1, 1, 1, 0] + np.diag([0, 0, 0, 1])), folder / "wrong.nii.gz"
    )
    code, out = run("diagnose", folder / "wrong.nii.gz", "--source", series.folder)
    assert code == 12, out
    return f"```\n$ verimask diagnose wrong.nii.gz --source DICOM/\n{out}```\n"


if __name__ == "__main__":
    PAGE.write_text(diagnose_page(), "utf-8")
    sys.exit()
