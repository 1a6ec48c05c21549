"""docs/first-mask.md runs as it stands there: the path of somebody with a mask in Mimics, from nothing to done."""

from __future__ import annotations

import re
import shutil
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
    """What Mimics has left: the folder of the script, the two exports, and the images that the mask was drawn on."""
    make_inputs({"kind": "bundle", "source_images": True}, tmp_path / "made")
    shutil.move(tmp_path / "made" / "bundle", tmp_path / "spine")
    shutil.move(tmp_path / "made" / "images", tmp_path / "images")
    make_inputs({"kind": "burned-in"}, tmp_path / "export")
    return tmp_path


def test_the_path_runs(desk: Path) -> None:
    assert list(doc_steps.steps(PAGE)) == ["install", "doctor", "script", "folder", "burned", "source", "report"]
    for name in ("install", "doctor", "script"):
        do(name, desk)
    assert (desk / "installed").read_text("utf-8") == "install verimask[all]\n"
    compile((desk / "export_masks.py").read_text("utf-8"), "export_masks.py", "exec")

    printed = do("folder", desk)
    shown = re.search(r"<!-- printed by: folder -->\n```text\n(.*?)```", TEXT, re.S)
    assert shown
    assert shown[1].split() == printed.split(), printed
    assert len(list((desk / "spine-nifti").glob("*.nii.gz"))) == 3
    named = desk / printed.split()[-1]
    assert named.suffix == ".html"
    assert "VERIFIED" in named.read_text("utf-8") or "UNCONFIRMED" in named.read_text("utf-8")

    assert "VERIFIED" in do("burned", desk)
    assert len(list((desk / "export-nifti").glob("*.nii.gz"))) >= 1

    do("source", desk)
    masks = sorted((desk / "masks").glob("*.nii.gz"))
    assert len(masks) == 3
    assert all(np.asarray(nibabel.nifti1.load(path).dataobj).any() for path in masks)

    assert "Phantom" not in do("report", desk)
