"""Regression cases of users: what the command writes, what it notices, and what it says moved."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.cli.main import main
from pipeline.regression import edit_cases
from tests.helpers.phantom import Spec, write

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
OFF = ("--crosscheck", "off")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `verimask regress` in a folder of its own; exit, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def running(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["regress", *arguments])
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return running


@pytest.fixture
def liver(tmp_path: Path) -> Path:
    """A mask of two labels, as DICOM files."""
    return write(tmp_path / "liver", SMALL, labels=(1, 2), description="two").folder


@pytest.fixture
def case(run: Run, liver: Path) -> Path:
    """A CASES.toml with one case, which asks no witness."""
    assert run("cases.toml", "--add", "liver", *OFF)[0] == 0
    return liver.with_name("cases.toml")


def golden_of(cases: Path, name: str = "liver") -> dict[str, Any]:
    return dict(json.loads((cases.parent / "golden" / f"{name}.json").read_text("utf-8")))


def edit_golden(cases: Path, edit: Callable[[dict[str, Any]], object], name: str = "liver") -> None:
    golden = golden_of(cases, name)
    edit(golden)
    (cases.parent / "golden" / f"{name}.json").write_text(json.dumps(golden), "utf-8")


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def state(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, so that nothing written is seen."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# From nothing to a failing CI


def test_three_commands_lead_to_a_failing_ci(tmp_path: Path, liver: Path) -> None:
    """As a new user types them, each in a process of its own and with every witness."""

    def verimask(*arguments: str) -> tuple[int, str]:
        given = [sys.executable, "-m", "verimask", "regress", "cases.toml", *arguments]
        done = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, printed = verimask("--add", "liver")
    assert (code, "VERIFIED" in printed) == (0, True)
    code, printed = verimask()
    assert code == 0
    assert re.search(r"^HOLDS +liver +VERIFIED", printed, re.M)
    assert printed.rstrip().endswith("of 1 case, 1 holds")
    flip(sorted(liver.iterdir())[2], -5)
    code, printed = verimask()
    assert code == 12
    assert "liver/IM0003.dcm changed: its SHA-256 was " in printed
    assert re.search(r"label \d “.+” (lost|gained) 1 voxel ", printed)


def test_a_byte_that_nothing_reads_is_noticed(run: Run, case: Path, liver: Path) -> None:
    """The preamble of a DICOM file (PS3.10 7.1) says nothing."""
    flip(liver / "IM0001.dcm", 5)
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert "liver/IM0001.dcm changed" in printed
    assert "voxels" not in printed


def test_files_that_come_and_go_are_named(run: Run, case: Path, liver: Path) -> None:
    (liver / "IM0001.dcm").rename(liver / "first.dcm")
    (liver / "notes.txt").write_text("none")
    (liver / ".DS_Store").write_bytes(b"of a file browser")
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert "liver/IM0001.dcm is now called liver/first.dcm" in printed
    assert "liver/notes.txt is new" in printed
    assert "DS_Store" not in printed
    (liver / "first.dcm").unlink()
    assert "liver/IM0001.dcm is gone" in run("cases.toml")[1]


# Adding


def test_a_case_is_appended_and_comments_stay(run: Run, liver: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases.toml"
    written = '# ours\r\n[roots]\r\nfar = { path = "nowhere" } # not here\r\n'
    cases.write_bytes(written.encode())
    code, printed, _ = run(
        *("cases.toml", "--add", "liver", "--as", "image", "--id", "liver-2", "--from", 'the "clinic"'),
        *("--licence", "CC BY 4.0", "--why", "äöü \\ and #", *OFF),
    )
    assert (code, "added liver-2 to cases.toml" in printed) == (0, True)
    text = cases.read_bytes().decode()
    assert text.startswith(written)
    assert "\n" not in text.replace("\r\n", "")
    assert 'options = ["--as", "image", "--crosscheck", "off"]' in text
    assert 'source = "the \\"clinic\\""' in text
    assert 'expected = "unconfirmed"' in text
    golden = golden_of(cases, "liver-2")
    assert list(golden["Inputs"]) == [f"liver/IM000{k}.dcm" for k in range(1, 6)]
    assert str(tmp_path) not in json.dumps(golden)
    assert "Values" in golden["Results"][0]
    assert run("cases.toml")[0] == 0


def test_the_first_case_makes_the_list_and_others_follow(run: Run, case: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "Spleen (2)", SMALL, labels=(3,), seed="other")
    assert run("cases.toml", "--add", "elsewhere/Spleen (2)", *OFF)[0] == 0
    assert [line for line in case.read_text("utf-8").splitlines() if line.startswith("id")] == [
        'id = "liver"',
        'id = "Spleen-2"',
    ]
    code, printed, _ = run("cases.toml", "--jobs", "2")
    assert (code, "of 2 cases, 2 hold" in printed) == (0, True)


def test_what_is_refused_today_is_a_case_too(run: Run, liver: Path) -> None:
    (liver / "IM0003.dcm").unlink()
    code, printed, _ = run("cases.toml", "--add", "liver", *OFF)
    assert code == 0
    assert "refused, which the case now expects: " in printed
    assert 'expected = "MISSING_PLANES"' in Path("cases.toml").read_text("utf-8")
    code, printed, _ = run("cases.toml")
    assert (code, "REFUSED MISSING_PLANES" in printed) == (0, True)
    edit_golden(
        Path("cases.toml").absolute(), lambda golden: golden["Results"][0].update(Code="GANTRY_TILT", Measured=3.0)
    )
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert "Code was GANTRY_TILT, and is MISSING_PLANES: " in printed
    assert "Measured was 3.0, and is " in printed


def test_several_inputs_are_one_case(run: Run, liver: Path, tmp_path: Path) -> None:
    write(tmp_path / "gap", SMALL, labels=(3,), seed="gap")
    (tmp_path / "gap" / "IM0002.dcm").unlink()
    assert run("cases.toml", "--add", "liver", "gap", "--id", "both", *OFF)[0] == 0
    assert 'expected = ["unconfirmed", "MISSING_PLANES"]' in Path("cases.toml").read_text("utf-8")
    assert len(golden_of(tmp_path / "cases.toml", "both")["Results"]) == 2
    assert run("cases.toml")[0] == 0


def test_paths_in_options_are_relative_to_the_list(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.helpers import rtphantom

    grid = rtphantom.grid(shape=(12, 10, 4))
    (tmp_path / "in").mkdir()
    rtphantom.write_images(tmp_path / "in" / "ct", grid)
    corners = rtphantom.rectangle(2.2, 8.1, 1.3, 6.2)
    roi = rtphantom.PhantomRoi("one", [rtphantom.on(grid, corners, 1)], 1)
    rtphantom.write_struct(tmp_path / "in" / "rs.dcm", [roi])
    (tmp_path / "list").mkdir()
    assert run("list/cases.toml", "--add", "in/rs.dcm", "--source", "in/ct", *OFF)[0] == 0
    assert '"--source", "../in/ct"' in (tmp_path / "list" / "cases.toml").read_text("utf-8")
    golden = golden_of(tmp_path / "list" / "cases.toml", "rs")
    assert "../in/rs.dcm" in golden["Inputs"]
    assert sum(name.startswith("../in/ct/") for name in golden["Inputs"]) == 4
    monkeypatch.chdir("/")
    assert run(str(tmp_path / "list" / "cases.toml"))[0] == 0
    flip(sorted((tmp_path / "in" / "ct").iterdir())[0], 5)
    code, printed, _ = run(str(tmp_path / "list" / "cases.toml"))
    assert (code, "../in/ct/" in printed) == (12, True)
    code, printed, errors = run(str(tmp_path / "list" / "cases.toml"), "--quiet")
    assert (code, printed, "../in/ct/" in errors) == (12, "", True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--add", "liver"), "CASE_EXISTS cases.toml has a case liver already"),
        (("--add", "liver", "--id", "LIVER"), "has a case LIVER already"),
        (("--add", "liver", "--id", "orphan"), "CASE_EXISTS golden/orphan.json is already there"),
        (("--add", "liver", "--id", "../up"), "has the id '../up'"),
        (("--add", "liver", "--id", "a/b"), "has the id 'a/b'"),
        (("--add", "liver", "--id", ".hidden"), "has the id '.hidden'"),
        (("--add", "nowhere"), "nowhere is not there"),
        (("--add", "liver", "--id", "x", "--series", "7", "--combine", "merge"), "--combine"),
        (("--add", "liver", "--id", "x", "--only", "liver"), "--only has no effect here"),
        (("--add", "liver", "--id", "x", "--junit", "a.xml"), "--junit has no effect here"),
    ],
)
def test_what_cannot_be_added_writes_nothing(
    run: Run, case: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "golden" / "orphan.json").write_text("{}")
    before = state(tmp_path)
    code, printed, errors = run("cases.toml", *arguments, *OFF)
    assert code not in (0, 1)
    assert words in " ".join(errors.split())
    assert printed == ""
    assert state(tmp_path) == before


def test_a_golden_record_that_cannot_be_written_leaves_no_case(run: Run, liver: Path, tmp_path: Path) -> None:
    (tmp_path / "golden").write_text("a file, where the folder is to be")
    before = state(tmp_path)
    code, _, errors = run("cases.toml", "--add", "liver", *OFF)
    assert (code, "CANNOT_WRITE" in errors) == (7, True)
    assert state(tmp_path) == before


# What moved


def _move(golden: dict[str, Any]) -> None:
    golden["Results"][0]["Affine"][0][3] += 0.1


def _turn(golden: dict[str, Any]) -> None:
    """The same grid with its first axis the other way round."""
    result = golden["Results"][0]
    affine = np.array(result["Affine"])
    affine[:, 3] += affine[:, 0] * (result["Shape"][0] - 1)
    affine[:, 0] *= -1
    result["Affine"] = affine.tolist()


def _rename(golden: dict[str, Any]) -> None:
    golden["Results"][0]["Labels"][0]["Name"] = "left kidney"


def _grow(golden: dict[str, Any]) -> None:
    label = golden["Results"][0]["Labels"][0]
    label["Voxels"] += 12
    label["CentroidRasMm"][1] += 3.0


def _drop(golden: dict[str, Any]) -> None:
    golden["Results"][0]["Labels"].append({"Value": 9, "Name": "lesion", "Voxels": 40})
    del golden["Results"][0]["Labels"][1]


def _reshape(golden: dict[str, Any]) -> None:
    golden["Results"][0] |= {"Shape": [9, 7, 6], "DataType": "int16", "PlanesCRC32": ["0"] * 6, "VoxelsSHA256": "0"}


def _repaint(golden: dict[str, Any]) -> None:
    result = golden["Results"][0]
    result["VoxelsSHA256"] = "0"
    for k in (0, 1, 4):
        result["PlanesCRC32"][k] = "0"


def _find(golden: dict[str, Any]) -> None:
    golden["Results"][0]["Findings"] = ["GANTRY_TILT"]


def _unfind(golden: dict[str, Any]) -> None:
    golden["Results"] = [{"Verdict": "REFUSED", "Code": "EMPTY", "Also": []}]


def _opt(golden: dict[str, Any]) -> None:
    golden["Options"] = ["--as", "image"]


@pytest.mark.parametrize(
    ("edit", "kind", "words"),
    [
        (_move, "affine", "the affine moved by 0.1000 mm at its farthest corner (its first voxel by -0.1000, +0.0000, +0.0000 mm in RAS)"),
        (_turn, "affine", "the axes are stored in another order: they were "),
        (_rename, "label", "label 1 “left kidney” is now called “"),
        (_grow, "label", " lost 12 voxels (was "),
        (_grow, "label", "has its centre 3.0000 mm away (RAS mm: was "),
        (_drop, "label", "label 9 “lesion” is gone; it had 40 voxels"),
        (_drop, "label", "is new, with "),
        (_reshape, "Shape", "Shape was 9 × 7 × 6, and is 9 × 7 × 5"),
        (_reshape, "DataType", "DataType was int16, and is uint8"),
        (_repaint, "voxels", "voxels differ in 3 of 5 planes: k = 0-1, 4"),
        (_find, "finding", "the finding GANTRY_TILT is gone"),
        (_unfind, "result", "refusal is gone (REFUSED EMPTY)"),
        (_opt, "options", "the options were --as image, and are --crosscheck off"),
    ],
)  # fmt: skip
def test_a_difference_says_what_moved(
    run: Run, case: Path, edit: Callable[[dict[str, Any]], None], kind: str, words: str
) -> None:
    edit_golden(case, edit)
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert words in " ".join(printed.split())
    (row,) = json.loads(run("cases.toml", "--json")[1])["Cases"]
    assert row["Status"] == "DIFFERS"
    assert any(words in d["Words"] and d["Kind"] == kind and d["Was"] != d["Now"] for d in row["Differences"])


def test_a_witness_that_changed_its_mind_is_named_with_both_versions(run: Run, liver: Path) -> None:
    assert run("cases.toml", "--add", "liver", "--crosscheck", "affine")[0] == 0
    cases = Path("cases.toml").absolute()
    then = golden_of(cases)["Results"][0]["Witnesses"]["dicom2nifti"]

    def older(golden: dict[str, Any]) -> None:
        golden["Results"][0]["Witnesses"]["dicom2nifti"] |= {"Version": "0.0.1"}

    def other(golden: dict[str, Any]) -> None:
        golden["Results"][0]["Witnesses"]["dicom2nifti"] |= {"Status": "DIFFERS", "Words": "lies elsewhere"}

    edit_golden(cases, older)
    code, printed, _ = run("cases.toml")
    assert code == 0
    assert f"dicom2nifti says the same in version {then['Version']} as in 0.0.1" in printed
    edit_golden(cases, other)
    code, printed, _ = run("cases.toml")
    assert code == 12
    said = (
        f"dicom2nifti 0.0.1 DIFFERS: lies elsewhere then, and {then['Version']} {then['Status']}: {then['Words']} now"
    )
    assert said in " ".join(printed.split())


def test_what_is_expected_holds_beside_the_golden_record(run: Run, case: Path) -> None:
    case.write_text(
        case.read_text("utf-8").replace('expected = "unconfirmed"', 'expected = ["verified", "EMPTY"]'), "utf-8"
    )
    code, printed, _ = run("cases.toml")
    assert (code, "gives unconfirmed, and verified or EMPTY is expected" in printed) == (12, True)


def test_a_wrong_sha256_in_the_list_is_said(run: Run, case: Path) -> None:
    text = case.read_text("utf-8")
    case.write_text(re.sub('sha256 = "..', 'sha256 = "zz'.replace("z", "0"), text), "utf-8")
    code, printed, _ = run("cases.toml")
    assert (code, "cases.toml has the SHA-256" in printed or "CASES.toml has the SHA-256" in printed) == (12, True)


# Rewriting


def test_an_update_shows_what_it_rewrites(run: Run, case: Path, liver: Path, tmp_path: Path) -> None:
    case.write_text(case.read_text("utf-8") + "# the end\n", "utf-8")
    assert run("cases.toml", "--add", "liver", "--id", "same-files", *OFF)[0] == 0
    before = case.read_text("utf-8")
    old = golden_of(case)
    flip(liver / "IM0003.dcm", -5)
    code, printed, _ = run("cases.toml", "--update", "same-files")
    assert code == 0
    assert printed.index("liver/IM0003.dcm changed") < printed.index("of 1 case, 1 holds")
    after = case.read_text("utf-8")
    assert golden_of(case) == old
    head, tail = before.index("same-files"), after.index("same-files")
    assert before[:head] == after[:tail]  # the other case has the same SHA-256, and keeps it
    assert re.sub("[0-9a-f]{64}", "", before) == re.sub("[0-9a-f]{64}", "", after)
    assert [run("cases.toml", "--only", name)[0] for name in ("liver", "same-files")] == [12, 0]
    flip(liver / "IM0002.dcm", -5)
    code, printed, _ = run("cases.toml", "--update", "--all", "--json")
    assert code == 0
    rows = json.loads(printed)["Cases"]
    assert [row["Status"] for row in rows] == ["HOLDS", "HOLDS"]
    assert all(any("IM0002.dcm changed" in d["Words"] for d in row["Differences"]) for row in rows)
    assert run("cases.toml")[0] == 0
    assert run("cases.toml", "--quiet") == (0, "", "")


def test_a_case_without_a_golden_record_is_new_until_it_has_one(run: Run, case: Path, tmp_path: Path) -> None:
    (tmp_path / "golden" / "liver.json").unlink()
    code, printed, _ = run("cases.toml")
    assert (code, "there is no golden record; --update liver writes it" in printed) == (12, True)
    assert not (tmp_path / "golden" / "liver.json").exists()
    assert run("cases.toml", "--update", "liver")[0] == 0
    assert run("cases.toml")[0] == 0


def test_what_is_not_expected_is_no_reason_to_be_silent_after_an_update(run: Run, case: Path) -> None:
    """`expected` is what a person wants; an update does not change it."""
    case.write_text(case.read_text("utf-8").replace('"unconfirmed"', '"verified"'), "utf-8")
    code, printed, _ = run("cases.toml", "--update", "--all")
    assert (code, "gives unconfirmed, and verified is expected" in printed) == (12, True)


def test_a_digest_that_cannot_be_edited_safely_is_left_alone(run: Run, liver: Path, case: Path, tmp_path: Path) -> None:
    case.write_text(case.read_text("utf-8").replace("sha256 =", '"sha256" ='), "utf-8")
    flip(liver / "IM0003.dcm", -5)
    before = state(tmp_path)
    code, _, errors = run("cases.toml", "--update", "liver")
    assert (code, "no plain line for the SHA-256" in " ".join(errors.split())) == (64, True)
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--update",),
        ("--all",),
        ("--update", "liver", "--all"),
        ("--update", "liver", "--only", "liver"),
        ("--jobs", "0"),
    ],
)
def test_a_command_line_that_says_too_little_or_too_much(run: Run, case: Path, arguments: tuple[str, ...]) -> None:
    assert run("cases.toml", *arguments)[0] == 64


def test_options_of_a_case_have_no_effect_on_a_run(run: Run, case: Path) -> None:
    for given in (("--as", "image"), ("--id", "x"), ("--from", "x"), ("--licence", "x"), ("--why", "x"), OFF):
        code, _, errors = run("cases.toml", *given)
        assert (code, f"{given[0]} has no effect here" in errors) == (64, True)


@pytest.mark.parametrize("name", ["cases.toml", "new.toml"])
def test_who_is_second_to_add_is_told_so(
    run: Run, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Another one adds a case while this one is run."""
    true = edit_cases.run_case

    def meanwhile(*given: Any) -> Any:
        ran = true(*given)
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("# of another\n")
        return ran

    monkeypatch.setattr(edit_cases, "run_case", meanwhile)
    before = state(tmp_path)
    code, _, errors = run(name, "--add", "liver", "--id", "second", *OFF)
    assert (code, "OUTPUT_EXISTS" in errors, "was changed meanwhile" in errors) == (6, True, True)
    assert state(tmp_path).keys() == before.keys() | {name}
    assert (tmp_path / name).read_text("utf-8").endswith("# of another\n")


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda g: g.pop("Inputs"), "Inputs"),
        (lambda g: g.update(Results=[None]), "Results"),
        (lambda g: g["Results"][0].pop("Verdict"), r"Results\[0\]\.Verdict"),
        (lambda g: g["Results"][0]["Affine"][0].__setitem__(0, 10**400), r"Results\[0\]\.Affine"),
        (lambda g: g["Results"][0].update(Affine=[[0] * 4] * 4), r"Results\[0\]\.Affine"),
        (lambda g: g["Results"][0].update(Shape="x"), r"Results\[0\]\.Shape"),
        (lambda g: g["Results"][0]["Labels"][0].update(Voxels="x"), r"Results\[0\]\.Labels"),
        (lambda g: g["Results"][0]["Labels"][0].update(CentroidRasMm=[1, 2, "x"]), r"Results\[0\]\.Labels"),
        (lambda g: g["Results"][0].update(Witnesses={"dcmqi": None}), r"Results\[0\]\.Witnesses"),
        (lambda g: g["Results"][0].update(File=["x"]), r"Results\[0\]\.File"),
    ],
)
def test_a_damaged_golden_record_is_no_bug(
    run: Run, case: Path, edit: Callable[[dict[str, Any]], object], key: str
) -> None:
    edit_golden(case, edit)
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert re.search(rf"BAD_CASES: golden/liver\.json is damaged: {key} is not", " ".join(printed.split()))


# Results for machines


def test_junit_counts_what_the_table_counts(run: Run, case: Path, liver: Path, tmp_path: Path) -> None:
    shutil.copytree(liver, tmp_path / "other")
    assert run("cases.toml", "--add", "other", *OFF)[0] == 0
    flip(tmp_path / "other" / "IM0003.dcm", -5)
    case.write_text(
        case.read_text("utf-8")
        + '[[case]]\nid = "lost"\npath = "no/such"\n[[case]]\nid = "far"\nroot = "far"\npath = "x"\n'
        + '[roots]\nfar = { path = "nowhere" }\n',
        "utf-8",
    )
    code, printed, _ = run("cases.toml", "--junit", "out.xml")
    assert code == 12
    assert "of 4 cases, 1 holds, 1 differs, 1 could not be run, 1 was left out" in printed
    suite = ElementTree.parse(tmp_path / "out.xml").getroot().find("testsuite")
    assert suite is not None
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    cases = {one.get("name"): [*one] for one in suite.findall("testcase")}
    assert {name: [child.tag for child in found] for name, found in cases.items()} == {
        "liver": [],
        "other": ["failure"],
        "lost": ["error"],
        "far": ["skipped"],
    }
    assert "other/IM0003.dcm changed" in str(cases["other"][0].get("message"))
    assert "NO_SUCH_INPUT" in str(cases["lost"][0].text)
    assert json.loads(run("cases.toml", "--json")[1])["Counts"] == {
        "HOLDS": 1,
        "DIFFERS": 1,
        "NEW": 0,
        "FAILED": 1,
        "LEFT_OUT": 1,
    }


@pytest.mark.parametrize(
    "place", ["notes.txt", "notes.xml", "liver/IM0001.dcm", "golden/liver.json", "golden/new.xml", "cases.toml"]
)
def test_junit_replaces_no_file_of_another_kind(run: Run, case: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "notes.txt").write_text("of mine: <testsuites>", "utf-8")
    (tmp_path / "notes.xml").write_text("<?xml version='1.0'?><notes/>", "utf-8")
    before = state(tmp_path)
    code, printed, errors = run("cases.toml", "--junit", place)
    assert (code, "OUTPUT_EXISTS" in errors, printed) == (6, True, "")
    assert state(tmp_path) == before


def test_junit_replaces_a_report_of_before(run: Run, case: Path, tmp_path: Path) -> None:
    report = tmp_path / "out.xml"
    for head in (
        "<?xml version='1.0' encoding='utf-8'?>\n<testsuites/>",
        "\ufeff<!-- of another tool -->\n<testsuite name='x'>",
    ):
        report.write_text(head, "utf-8")
        assert run("cases.toml", "--junit", "out.xml")[0] == 0
        assert ElementTree.parse(report).getroot().get("tests") == "1"
    (tmp_path / "folder").mkdir()
    for place in ("folder", "none/out.xml"):
        code, _, errors = run("cases.toml", "--junit", place)
        assert (code, "OUTPUT_NAME" in errors) == (6, True)


def test_only_the_cases_that_are_named_are_run(run: Run, case: Path) -> None:
    assert run("cases.toml", "--add", "liver", "--id", "second", *OFF)[0] == 0
    code, printed, _ = run("cases.toml", "--only", "second")
    assert (code, "of 1 case, 1 holds" in printed) == (0, True)
    code, _, errors = run("cases.toml", "--only", "third")
    assert (code, "NO_SUCH_CASE" in errors, "liver, second" in errors) == (64, True, True)


def test_many_processes_give_what_one_gives(run: Run, case: Path) -> None:
    for number in range(3):
        assert run("cases.toml", "--add", "liver", "--id", f"again-{number}", *OFF)[0] == 0
    edit_golden(case, _move, "again-1")
    one, two = (json.loads(run("cases.toml", "--json", "--jobs", jobs)[1]) for jobs in ("1", "2"))
    assert one == two
    assert [row["Status"] for row in one["Cases"]] == ["HOLDS", "HOLDS", "DIFFERS", "HOLDS"]


# What is not here


def test_a_root_that_is_absent_leaves_cases_out_by_name(
    run: Run, liver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAR", raising=False)
    (tmp_path / "cases.toml").write_text(
        '[roots]\nfar = { path = "far away", environment = "FAR" }\n[[case]]\nid = "liver"\nroot = "far"\npath = "liver"\n'
        'options = ["--crosscheck", "off"]\nexpected = "unconfirmed"\n'
    )
    code, printed, _ = run("cases.toml")
    assert code == 8
    assert re.search(r"^LEFT OUT +liver +the root far is not there: .*far away \(set FAR\)$", printed, re.M)
    assert "left out, which --allow-left-out allows: liver" in printed
    assert run("cases.toml", "--allow-left-out")[0] == 0
    monkeypatch.setenv("FAR", str(tmp_path))
    assert run("cases.toml", "--allow-left-out")[0] == 12  # it has no golden record
    assert run("cases.toml", "--update", "liver")[0] == 0
    assert next(iter(golden_of(tmp_path / "cases.toml")["Inputs"])) == "liver/IM0001.dcm"
    assert run("cases.toml")[0] == 0


def _pack(folder: Path, name: str) -> None:
    files = sorted(folder.iterdir())
    if name.endswith(".zip"):
        with ZipFile(name, "w") as archive:
            for path in files:
                archive.write(path, f"in/{path.name}")
    else:
        with tarfile.open(name, "w:gz" if name.endswith("gz") else "w") as tar:
            for path in files:
                tar.add(path, f"in/{path.name}")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_an_archive_is_a_case(run: Run, liver: Path, name: str, tmp_path: Path) -> None:
    _pack(liver, name)
    assert run("cases.toml", "--add", name, *OFF)[0] == 0
    assert f'archive = "{name}"' in Path("cases.toml").read_text("utf-8")
    assert next(iter(golden_of(tmp_path / "cases.toml", "a")["Inputs"])) == f"{name}/in/IM0001.dcm"
    assert run("cases.toml")[0] == 0
    flip(liver / "IM0002.dcm", -5)
    _pack(liver, name)
    code, printed, _ = run("cases.toml")
    assert (code, f"{name}/in/IM0002.dcm changed" in printed) == (12, True)
    Path(name).write_bytes(Path(name).read_bytes()[:300])
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert re.search(r"^FAILED +a +(CASE_INPUT|CORRUPT_FILE): a\.", printed, re.M)
    assert {p.name for p in tmp_path.iterdir()} == {"liver", name, "cases.toml", "golden"}


def test_an_archive_leads_nowhere(run: Run, liver: Path, tmp_path: Path) -> None:
    for inside in ("../out.dcm", "/tmp/verimask-out.dcm"):
        with tarfile.open("a.tar", "w") as tar:
            tar.add(liver / "IM0001.dcm", "in/IM0001.dcm")
            tar.add(liver / "IM0002.dcm", "x")
            tar.getmembers()[-1].name = inside
            info = tar.gettarinfo(liver / "IM0003.dcm")
            info.name = inside
            with (liver / "IM0003.dcm").open("rb") as file:
                tar.addfile(info, file)
        code, _, errors = run("cases.toml", "--add", "a.tar")
        assert (code, "which leads out of it" in " ".join(errors.split())) == (5, True)
    assert not Path("/tmp/verimask-out.dcm").exists()
    assert not (tmp_path / "cases.toml").exists()


def _fetching(digest: str, *words: str, name: str = "a.zip") -> str:
    return (
        f'[[case]]\nid = "far"\narchive = "{name}"\nsha256 = "{digest}"\nfetch = {json.dumps(list(words))}\n'
        'options = ["--crosscheck", "off"]\nexpected = "unconfirmed"\n'
    )


COPY = (sys.executable, "-c", "import shutil, sys; shutil.copy('there/a.zip', sys.argv[1])", "{target}")


def test_an_input_is_fetched_where_that_is_asked_for(run: Run, liver: Path, tmp_path: Path) -> None:
    from hashlib import sha256

    (tmp_path / "there").mkdir()
    _pack(liver, "there/a.zip")
    digest = sha256((tmp_path / "there" / "a.zip").read_bytes()).hexdigest()
    (tmp_path / "cases.toml").write_text(_fetching(digest, *COPY))
    code, printed, _ = run("cases.toml")
    assert (code, "its input was not fetched; --fetch runs its command" in printed) == (8, True)
    assert {p.name for p in tmp_path.iterdir()} == {"liver", "there", "cases.toml"}
    assert run("cases.toml", "--fetch", "--update", "far")[0] == 0
    assert (tmp_path / ".regress-cache" / digest / "a.zip").is_file()
    assert (tmp_path / ".regress-cache" / ".gitignore").read_text() == "*\n"
    (tmp_path / "there" / "a.zip").unlink()
    assert run("cases.toml")[0] == 0  # from the cache


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (COPY, "was fetched and is another: its SHA-256 is "),
        ((sys.executable, "-c", "import sys; sys.exit('no such host')", "{target}"), "ended with 1: no such host"),
        ((sys.executable, "-c", "pass", "{target}"), "and wrote no {target}"),
        (("no-such-program", "{target}"), "no-such-program cannot be run"),
    ],
)
def test_what_was_not_fetched_is_no_case(
    run: Run, liver: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "there").mkdir()
    _pack(liver, "there/a.zip")
    (tmp_path / "cases.toml").write_text(_fetching("0" * 64, *words))
    code, printed, _ = run("cases.toml", "--fetch")
    assert code == 12
    assert said in " ".join(printed.split())
    assert "CASE_INPUT" in printed
    assert [p.name for p in (tmp_path / ".regress-cache").iterdir()] == [".gitignore"]


def test_a_recipe_is_a_case(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cases.toml").write_text(
        '[[case]]\nid = "made"\nrecipe = { kind = "burned-in" }\nexpected = "unconfirmed"\n'
        'options = ["--crosscheck", "off", "--clean", "{inputs}/clean", "--series", "no such"]\n'
        '[[case]]\nid = "plain"\nrecipe = { kind = "mask" }\nexpected = "unconfirmed"\noptions = ["--crosscheck", "off"]\n'
        '[[case]]\nid = "odd"\nrecipe = { kind = "hologram" }\n'
    )
    code, printed, _ = run("cases.toml", "--update", "plain")
    assert code == 0, printed
    assert all(not name.startswith("/") for name in golden_of(tmp_path / "cases.toml", "plain")["Inputs"])
    assert run("cases.toml", "--only", "plain")[0] == 0
    code, printed, _ = run("cases.toml", "--only", "odd")
    assert (code, "hologram" in printed) == (12, True)
    printed = run("cases.toml", "--only", "made")[1]
    assert "REFUSED NO_SUCH_SERIES" in printed  # and no path that is not there


# What CASES.toml may be


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no case"),
        ("[[case]\n", "is no TOML"),
        ("[case]\nid = 'a'\n", "each case begins with [[case]]"),
        ("cases = 1\n", "has cases, and only [[case]] and [roots] are known"),
        ("[[case]]\npath = 'a'\n", "has the id None"),
        ("[[case]]\nid = 'a'\n", "gives a no input"),
        ("[[case]]\nid = 'a'\npath = 'a'\narchive = 'b'\n", "gives a path and archive"),
        ("[[case]]\nid = 'a'\npath = 'a'\npaht = 'b'\n", "has the key paht in case 1, a"),
        ("[[case]]\nid = '../a'\npath = 'a'\n", "has the id '../a'"),
        ("[[case]]\nid = 'a'\npath = 'a'\n[[case]]\nid = 'A'\npath = 'b'\n", "has two cases A"),
        ("[[case]]\nid = 'a'\npath = 'a'\nroot = 'r'\n", "names the root r"),
        ("[[case]]\nid = 'a'\npath = 'a'\nsha256 = '12'\n", "not 64 hexadecimal digits"),
        ("[[case]]\nid = 'a'\npath = 'a'\nexpected = 'good'\n", "expects good"),
        ("[[case]]\nid = 'a'\npath = 3\n", "has path of a"),
        ("[[case]]\nid = 'a'\npath = []\n", "has path of a, which is empty"),
        ("[[case]]\nid = 'a'\npath = 'a'\noptions = '--as image'\n", "has options of a, which is no list"),
        ("[[case]]\nid = 'a'\nrecipe = 'seg'\n", "has a recipe of a"),
        ("[[case]]\nid = 'a'\npath = 'a'\nfetch = ['curl', '{target}']\n", "has no sha256"),
        (f"[[case]]\nid = 'a'\npath = 'a'\nsha256 = '{'0' * 64}'\nfetch = ['curl']\n", "fetch without {target}"),
        ("[roots]\nr = 'a'\n", "describes the root r"),
    ],
)
def test_a_list_that_cannot_be_followed_is_refused(run: Run, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "cases.toml").write_text(text)
    code, printed, errors = run("cases.toml")
    assert (code, printed) == (64, "")
    assert words in " ".join(errors.split())
    assert "BAD_CASES" in errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--no-such"], "unrecognized arguments: --no-such"),
        (["--report"], "unrecognized arguments: --report"),
        (["--as", "picture"], "invalid choice: 'picture'"),
        (["x.dcm"], "unrecognized arguments: x.dcm"),
    ],
)
def test_words_that_convert_does_not_take_fail_their_case_alone(
    run: Run, case: Path, options: list[str], words: str
) -> None:
    more = f'[[case]]\nid = "odd"\npath = "liver"\noptions = {json.dumps(options)}\n'
    case.write_text(case.read_text("utf-8") + more, "utf-8")
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert words in " ".join(printed.split())
    assert "1 holds, 1 could not be run" in printed


def test_a_list_that_is_not_there_says_what_makes_it(run: Run) -> None:
    code, _, errors = run("none.toml")
    assert (code, "verimask regress none.toml --add FOLDER makes it" in " ".join(errors.split())) == (5, True)


def test_a_golden_record_of_something_else_is_refused(run: Run, case: Path) -> None:
    golden = case.parent / "golden" / "liver.json"
    for text in ("{", "[]", '{"Schema": "another"}'):
        golden.write_text(text)
        code, printed, _ = run("cases.toml")
        assert (code, "FAILED" in printed, "golden/liver.json" in printed) == (12, True, True)


# The whole


def test_a_run_that_is_broken_off_leaves_nothing(run: Run, case: Path, tmp_path: Path) -> None:
    import signal
    import time

    for number in range(6):
        text = f'[[case]]\nid = "r{number}"\npath = "liver"\n'
        case.write_text(case.read_text("utf-8") + text, "utf-8")
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "verimask", "regress", "cases.toml", "--jobs", "2"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline() if process.stdout else ""
    assert line.startswith(("HOLDS", "NEW"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    end = time.monotonic() + 60
    while any((tmp_path / "tmp").iterdir()) and time.monotonic() < end:
        time.sleep(0.1)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
@pytest.mark.parametrize("target", ["convert", "case"])
def test_make_says_what_it_needs(target: str) -> None:
    done = subprocess.run(
        ["make", target], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
    )  # fmt: skip
    assert done.returncode != 0
    assert f"make {target} SERIES=" in done.stderr


def test_a_file_of_a_study_is_found_in_what_dicom_says(run: Run, case: Path, liver: Path) -> None:
    """Renaming a series changes what its file is called, and that is said."""
    for path in liver.iterdir():
        dataset = dcmread(path)
        dataset.SeriesDescription = "renamed"
        dataset.save_as(path)
    code, printed, _ = run("cases.toml")
    assert code == 12
    assert re.search(r"renamed\.nii\.gz is new \(UNCONFIRMED\)", printed)
    assert re.search(r"two\.nii\.gz is gone \(UNCONFIRMED\)", printed)
