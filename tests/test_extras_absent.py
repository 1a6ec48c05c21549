"""Without any one package of an extra: what needs it says so before it begins, and everything else works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline.core.exits import Exit
from pipeline.core.installation import _IMPORTED_AS
from tests.helpers.absent_packages import Answer, run_without
from tests.helpers.command_tree import CommandTree, make_tree
from tests.helpers.environments import PROJECT

if not hasattr(os, "fork"):
    pytest.skip("needs os.fork", allow_module_level=True)

EXTRAS = {
    name: [Requirement(line).name.lower() for line in lines]
    for name, lines in PROJECT["optional-dependencies"].items()
    if name != "all"
}
# What cannot be done without a package of the extra.
NEEDING: dict[str, list[list[str]]] = {
    "report": [
        ["convert", "{mask}", "-o", "b.nii.gz", "--crosscheck", "off", "--report"],
        ["report", "a.json", "-o", "page.html"],
        ["cohort", "{patients}", "-o", "paged", "--crosscheck", "off", "--jobs", "1"],
    ],
    "seg": [["export", "a.nii.gz", "--source", "{image}", "-o", "seg", "--to", "seg"]],
    "completion": [["completion", "bash"]],
    "cluster": [["cohort", "{patients}", "-o", "dask", "--no-page", "--dask", "tcp://127.0.0.1:9"]],
    "witnesses": [],  # who cannot be asked is not asked
    "notebook": [],  # of Python alone: tests/test_notebook.py
    "pacs": [
        ["fetch", "http://127.0.0.1:9/dicom-web", "--study", "1.2.3", "-o", "fetched"],
        ["fetch", "ARCHIVE@127.0.0.1:9", "--study", "1.2.3", "-o", "fetched"],
        ["send", "{seg}", "--to", "ARCHIVE@127.0.0.1:9"],
    ],
}
WORKING = [
    ["convert", "{mask}", "-o", "a.nii.gz", "--crosscheck", "off"],
    ["convert", "{seg}", "-o", "s.nii.gz", "--crosscheck", "off"],
    ["convert", "{struct}", "--source", "{image}", "-o", "rt/", "--crosscheck", "off", "--jobs", "1"],
    ["series", "{study}"],
    ["explain", "{mask}"],
    ["check", "a.nii.gz", "{image}"],
    ["verify", "a.nii.gz", "--dicom", "{mask}"],
    ["export", "a.nii.gz", "--source", "{image}", "-o", "dicom"],
    ["describe", "{mask}", "--anonymous"],
]
COHORT = [["cohort", "{patients}", "-o", "pairs", "--no-page", "--crosscheck", "off", "--jobs", "1"]]
OF_PLANES = ("SimpleITK", "dcm2niix")  # witnesses; the others are asked about masks that are no planes
WITNESSED = [["convert", "{mask}", "-o", "w.nii.gz", "--crosscheck", "voxels"]]


def imported_as(package: str) -> str:
    return _IMPORTED_AS.get(package, package).split(".")[0]


PACKAGES = {
    imported_as(package): extra for extra, packages in EXTRAS.items() for package in packages if package != "pillow"
}
PACKAGES["PIL"] = "report"  # and of "notebook"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Answer]]:
    folder = tmp_path_factory.mktemp("absent")
    plain = {
        "BodyPartExamined": "CHEST",
        "StudyID": "1",
        "AccessionNumber": "1",
        "StationName": "S",
        "OtherPatientIDs": "",
    }
    tree = make_tree(folder / "in", lambda what: plain.get(what, what))
    (folder / "out").mkdir()
    lines = {
        name: [*_working(extra), *NEEDING[extra], *(WITNESSED if name in OF_PLANES else [])]
        for name, extra in PACKAGES.items()
    }
    return run_without(folder / "out", {name: [_filled(words, tree) for words in own] for name, own in lines.items()})


def _working(extra: str) -> list[list[str]]:
    """What works without a package of the extra. A whole cohort takes its time: only where it needs some extra at all."""
    return [*WORKING, *(COHORT if extra in ("report", "cluster") else [])]


def _filled(words: list[str], tree: CommandTree) -> list[str]:
    return [word.format(**{name: str(path) for name, path in vars(tree).items()}) for word in words]


def test_every_extra_is_tried() -> None:
    assert set(NEEDING) == set(EXTRAS)
    assert set(PACKAGES.values()) >= set(EXTRAS)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_needs_no_extra_works(answers: dict[str, list[Answer]], package: str) -> None:
    worked = answers[package][: len(_working(PACKAGES[package]))]
    assert [(one.words[0], one.exit, one.stderr) for one in worked if one.exit != 0] == []


@pytest.mark.parametrize("package", [name for name, extra in PACKAGES.items() if NEEDING[extra]])
def test_what_needs_it_says_so_before_it_begins(answers: dict[str, list[Answer]], package: str) -> None:
    extra = PACKAGES[package]
    needing = answers[package][len(_working(extra)) :]
    assert len(needing) == len(NEEDING[extra])
    for one in needing:
        assert one.exit == Exit.USAGE, (one.words, one.stdout, one.stderr)
        words = " ".join(one.stderr.split())
        assert f"pip install 'verimask[{extra}]'" in words
        assert "_PACKAGE" in words.split("REFUSED", 1)[1].split()[0]
        assert one.new == []


@pytest.mark.parametrize("package", OF_PLANES)
def test_a_witness_that_is_not_there_is_not_asked(answers: dict[str, list[Answer]], package: str) -> None:
    (one,) = answers[package][len(WORKING) :]
    assert one.exit == 0, one.stderr
    assert "dicom2nifti" in one.stdout
    assert f"{package} agrees" not in " ".join(one.stdout.split())
    assert f"{package}: not installed; pip install 'verimask[witnesses]' adds it" in " ".join(one.stdout.split())


def test_a_package_that_is_hidden_is_not_there(tmp_path: Path) -> None:
    """And no other package is hidden with it."""
    found = run_without(tmp_path, {"shtab": [["completion", "bash"]], "jinja2": [["completion", "bash"]]})
    assert [one.exit for one in found["shtab"] + found["jinja2"]] == [Exit.USAGE, 0]
