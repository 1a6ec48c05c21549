"""docs/first-mask.md runs as it stands there: the path of somebody with a mask in Mimics, from nothing to done."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

from pipeline.regression.recipes import make_inputs
from tests.helpers import doc_steps
from tests.helpers.doc_steps import ROOT

PAGE = "first-mask.md"
TEXT = (ROOT / "docs" / PAGE).read_text("utf-8")
do = partial(doc_steps.do, PAGE)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """What Mimics has left: the folder of the script beside the images, and the two exports."""
    make_inputs({"kind": "bundle", "source_images": True}, tmp_path / "project")
    make_inputs({"kind": "burned-in"}, tmp_path / "exported")
    return tmp_path


def test_the_path_runs(desk: Path) -> None:
    assert list(doc_steps.steps(PAGE)) == ["install", "doctor", "script", "folder", "exported", "check", "report"]
    for name in ("install", "doctor", "script"):
        do(name, desk)
    assert (desk / "installed").read_text("utf-8") == "install verimask[all]\n"
    compile((desk / "export_masks.py").read_text("utf-8"), "export_masks.py", "exec")

    printed = do("folder", desk)
    shown = re.search(r"<!-- printed by: folder -->\n```text\n(.*?)```", TEXT, re.S)
    assert shown
    assert shown[1].split() == printed.split(), printed
    assert len(list((desk / "project-nifti").glob("*_seg-*.nii.gz"))) == 3
    assert "<title>" in (desk / printed.split()[-1]).read_text("utf-8")

    printed = do("exported", desk)
    typed = next(line for line in TEXT.splitlines() if line.startswith("verimask convert exported "))
    assert f"        {typed}\n" in printed  # as it was named, so that it can be copied
    mask = nibabel.nifti1.load(next((desk / "exported-nifti").glob("*_mask.nii.gz")))
    assert 0 < np.count_nonzero(np.asarray(mask.dataobj)) < np.asarray(mask.dataobj).size / 2

    do("check", desk)
    assert "Phantom" not in do("report", desk)
