"""The two scripts as Mimics runs them: a process of their own, the oldest Python there is, and a project left as it was."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from glob import escape, glob
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.conversion.convert import convert_all
from pipeline.core.policy import Policy
from pipeline.mimics.bundle import read_bundle
from tests.helpers.fake_mimics import BURNED, inside, run_inside

HERE = Path(__file__).parent
SCRIPTS = [HERE.parent / "pipeline" / "mimics" / "scripts" / name for name in ("export_masks.py", "import_masks.py")]
EXPORT = SCRIPTS[0]


def run(python: str, *arguments: Any, knobs: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FAKE_MIMICS": json.dumps(knobs or {}), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, str(HERE / "helpers" / "fake_mimics.py"), str(EXPORT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def oldest_python() -> str:
    """A Python from 3.6 to 3.9, the oldest there is; the test is skipped by name where there is none."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(6, 10):
        found = sorted(glob(f"{escape(str(versions))}/3.{minor}.*/bin/python"))  # passes over what one may not read
        if found:
            return found[0]
    pytest.skip("no Python 3.6 to 3.9 here; vermin alone vouches for the old syntax")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_python_3_5_would_parse_it(script: Path) -> None:
    pytest.importorskip("vermin", reason="vermin is not installed")
    command = [sys.executable, "-c", "import vermin; vermin.main()", "-t=3.5-", "--no-tips", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "3.5" in done.stdout or "3.4" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_the_parser_of_3_5_takes_it_and_it_needs_the_standard_library_only(script: Path) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"), feature_version=(3, 5))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr | ast.AnnAssign | ast.NamedExpr)]
    imported = {n.names[0].name for n in ast.walk(tree) if isinstance(n, ast.Import)}
    imported |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported - {"mimics"} <= sys.stdlib_module_names


def test_the_oldest_and_the_current_python_write_the_same(tmp_path: Path) -> None:
    knobs = {"version": "21", "contiguous": False, "noise": 1e-5, "images": 2}
    written = []
    for name, python in (("new", sys.executable), ("old", oldest_python())):
        done = run(python, tmp_path / name, "--images", knobs=knobs)
        assert done.returncode == 0, done.stderr
        content = json.loads((tmp_path / name / "bundle.json").read_text())
        content.pop("python")
        written.append((content, [b.buffer.array().tobytes() for b in read_bundle(tmp_path / name).masks]))
    assert written[0] == written[1]


def test_without_arguments_a_new_folder_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    run_inside(EXPORT, [], {})
    (folder,) = tmp_path.glob("verimask-*")
    assert read_bundle(folder).masks
    assert str(folder) in capsys.readouterr().out


def test_the_report_says_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_inside(EXPORT, [str(tmp_path)], {"mask_image": "none", "noise": 1e-5})
    out = capsys.readouterr().out
    for said in (
        "7 x 6 x 5",
        "test grey value: passed",
        "test round trip: passed",
        "tumour: 6 voxels",
        "nothing: EMPTY",
    ):
        assert said in out
    assert "assumed: the active one" in out
    assert "even grid is 0.0000" in out


def test_no_patient_attribute_leaves_mimics(tmp_path: Path) -> None:
    run_inside(EXPORT, [str(tmp_path), "--images"], {"tags": "multiframe"})
    run_inside(EXPORT, [str(tmp_path / "slices")], {})
    assert "SECRET" not in (tmp_path / "bundle.json").read_text() + (tmp_path / "slices" / "bundle.json").read_text()


@pytest.mark.parametrize("arguments", [["--pictures"], ["tumor"]])
def test_what_is_not_understood_is_said_and_nothing_written(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"Known: --images|There are: bone, tumour"):
        run_inside(EXPORT, [str(tmp_path / "out"), *arguments], {})
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        run_inside(EXPORT, [str(tmp_path)], {})
    assert (tmp_path / "bundle.json").read_text() == "mine"


def test_a_failure_leaves_no_half_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: str) -> None:
        assert len(os.listdir(tmp_path)) == 4  # three masks and the unfinished bundle.json
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk is full"):
        run_inside(EXPORT, [str(tmp_path)], {})
    assert not list(tmp_path.iterdir())


def test_a_project_without_masks_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no masks"):
        run_inside(EXPORT, [str(tmp_path)], {"names": []})


# ---- --dicom


def pixels(folder: Path) -> np.ndarray:
    """(i, j, plane) in the order of the file names, through pydicom alone."""
    from pydicom import dcmread

    files = sorted(folder.iterdir(), key=lambda p: int(p.name.rsplit("-", 1)[1]))
    return np.stack([dcmread(f).pixel_array.T for f in files], -1)


@pytest.mark.parametrize("version", ["21", "25"])
@pytest.mark.parametrize("style", ["burned", "masked"])
@pytest.mark.parametrize("kind", ["CT", "SC"])
def test_clean_and_burned_series(tmp_path: Path, version: str, style: str, kind: str) -> None:
    knobs = {"version": version, "export_style": style, "export_class": kind}
    run_inside(EXPORT, [str(tmp_path), "--dicom"], knobs)
    bundle = read_bundle(tmp_path)
    assert bundle.images[0].dicom is not None
    clean = pixels(bundle.images[0].dicom)
    assert clean.max() < BURNED
    for number, mask in enumerate(bundle.masks[:2]):
        assert mask.dicom is not None
        shown = pixels(mask.dicom)
        truth = np.fromfunction(np.vectorize(lambda i, j, k, n=number: inside(n, i, j, k)), clean.shape, dtype=int)
        assert truth.any()
        np.testing.assert_array_equal((shown != clean) == (style == "burned"), truth)


def test_what_was_shown_is_shown_again(tmp_path: Path) -> None:
    before = run_inside(EXPORT, [str(tmp_path / "a")], {"images": 2})
    after = run_inside(EXPORT, [str(tmp_path / "b"), "--dicom", "tumour", "bone"], {"images": 2})
    assert after["shown"] == before["shown"] == ["phase 0", "phase 1", "bone", "bone", "a part"]
    assert after["active"] == before["active"] == 1
    assert after["calls"] == ["off", "on"]


def test_an_export_that_fails_costs_no_mask(tmp_path: Path) -> None:
    left = run_inside(EXPORT, [str(tmp_path), "--dicom"], {"export_fails": True})
    bundle = read_bundle(tmp_path)
    assert any("no licence for this export" in note for note in bundle.notes)
    assert not (tmp_path / "dicom").exists()
    assert bundle.images[0].dicom is None
    assert left["shown"] == ["phase 0", "bone", "a part"]


def test_a_series_that_fails_costs_no_other_series(tmp_path: Path) -> None:
    left = run_inside(EXPORT, [str(tmp_path), "--dicom"], {"export_fails_at": ["mask-001"]})
    bundle = read_bundle(tmp_path)
    assert bundle.images[0].dicom is not None
    assert [mask.dicom is not None for mask in bundle.masks] == [False, True, True]
    assert [p.name for p in sorted((tmp_path / "dicom").iterdir())] == ["clean-1", "mask-002", "mask-003"]
    (note,) = bundle.notes
    assert "The DICOM export of bone failed: RuntimeError" in note
    assert left["shown"] == ["phase 0", "bone", "a part"]


# ---- what fails takes nothing else with it


@pytest.mark.parametrize("encoding", ["cp1252", "cp936", "ascii", "utf-8"])
def test_a_name_that_the_console_cannot_print_costs_a_replaced_character(tmp_path: Path, encoding: str) -> None:
    names = ["肝 links", "Wirbel — L1 é", "\udcff odd"]
    environment = {**os.environ, "FAKE_MIMICS": json.dumps({"names": names}), "PYTHONIOENCODING": encoding}
    command = [sys.executable, str(HERE / "helpers" / "fake_mimics.py"), str(EXPORT), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"3 masks exported, 0 left out" in done.stdout
    assert [mask.name for mask in read_bundle(tmp_path / "out").masks] == names
    assert ("肝 links" in done.stdout.decode(encoding)) is (encoding in ("cp936", "utf-8"))
    refused = subprocess.run([*command[:3], str(tmp_path / "none"), "toes"], env=environment, capture_output=True)
    assert b"No mask is called toes" in refused.stderr


def test_a_mask_that_fails_is_left_out_and_the_others_are_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_inside(EXPORT, [str(tmp_path)], {"mask_fails": [0]})
    bundle = read_bundle(tmp_path)
    assert [mask.name for mask in bundle.masks] == ["tumour", "nothing"]
    assert bundle.left_out == (("bone", "it failed with RuntimeError: the mask bone is broken"),)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle.json", "mask-001.raw.gz", "mask-002.raw.gz"]
    assert "2 masks exported, 1 left out" in capsys.readouterr().out


def test_an_image_set_that_fails_takes_out_its_own_masks(tmp_path: Path) -> None:
    run_inside(EXPORT, [str(tmp_path), "--images"], {"images": 2, "image_fails": [0]})
    bundle = read_bundle(tmp_path)
    assert [image.name for image in bundle.images] == ["phase 1"]
    assert [mask.name for mask in bundle.masks] == ["bone", "tumour", "nothing"]
    assert {why for _, why in bundle.left_out} == {
        "it failed with RuntimeError: the image set phase 0 failed with RuntimeError: the image set phase 0 is broken"
    }


def test_what_was_exported_before_a_stop_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match="stopped by the user"):
        run_inside(EXPORT, [str(tmp_path)], {"mask_stops": [1]})
    bundle = read_bundle(tmp_path)
    assert [mask.name for mask in bundle.masks] == ["bone"]
    assert bundle.left_out == tuple(
        (name, "the export was stopped by UserInterrupted") for name in ("tumour", "nothing")
    )
    assert "1 masks are whole, and were kept" in capsys.readouterr().out


def test_a_stop_before_the_first_mask_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="stopped by the user"):
        run_inside(EXPORT, [str(tmp_path)], {"mask_stops": [0]})
    assert not list(tmp_path.iterdir())


# ---- many projects


@pytest.mark.parametrize("version", ["21", "25"])
def test_every_project_of_a_folder_and_again_only_what_failed(
    tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    projects = tmp_path / "projects"
    projects.mkdir()
    cases = {"a": {"names": ["bone"]}, "b": {"image_fails": [0]}, "c": {"noise": 1e-5}}
    for name, knobs in cases.items():
        (projects / f"{name}.mcs").write_text(json.dumps(knobs))
    (projects / "d.mcs").write_text("not a project")
    command = [str(tmp_path / "out"), "--projects", str(projects)]
    left = run_inside(EXPORT, command, {"version": version})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "c"]
    said = capsys.readouterr().out
    assert "a.mcs: 1 masks, 0 left out" in said
    assert "b.mcs: FAILED: ValueError: No mask can be exported" in said
    assert "2 of 4 projects failed." in said
    assert left["calls"].count("close") == 3, "every project that was opened"
    before = (tmp_path / "out" / "a" / "bundle.json").stat().st_mtime_ns
    (projects / "b.mcs").write_text("{}")
    run_inside(EXPORT, command, {"version": version})
    said = capsys.readouterr().out
    assert "a.mcs: exported before, passed over" in said
    assert "b.mcs: 3 masks, 0 left out" in said
    assert "1 of 4 projects failed." in said
    assert (tmp_path / "out" / "a" / "bundle.json").stat().st_mtime_ns == before
    outcomes, refusals = convert_all([tmp_path / "out"], tmp_path / "nifti", policy=Policy(keep_names=True))
    assert {e.finding.code.name for e in refusals} == {"EMPTY"}, "the mask “nothing” of b and of c"
    assert sorted(o.output.name for o in outcomes) == [
        f"{p}_seg-{m}.nii.gz" for p in "abc" for m in ("bone", "tumour") if (p, m) != ("a", "tumour")
    ]
