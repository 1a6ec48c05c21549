"""Everything that is written holds of its inputs what docs/privacy.md says, and nothing else: every command is run on marks."""

from __future__ import annotations

import json
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.conversion.neutral_names import NeutralNames
from pipeline.core.findings import Code, Finding
from pipeline.diagnosis.verify import verify
from tests.helpers import made_series
from tests.helpers.command_tree import CommandTree
from tests.helpers.every_command import FOLDER, LINES, SLOW, lines_of, run_every_command, run_line
from tests.helpers.made_series import MadeGrid, Person, Study
from tests.helpers.marked_tree import make_marked_tree
from tests.helpers.marks import Marks, unpacked
from tests.test_commands import said

PAGE = Path(__file__).parents[1] / "docs" / "privacy.md"
STRIPPED = (FOLDER, "convert", "cohort", "export")  # the commands that have --strip
WORKED_FROM = (
    "run",
    "merge",
    "--labels-draft",
)  # lines that take their options from a plan, or write names to choose from
# What lies where, by its path in the folder of all outputs: the first that fits counts. "" for what is no output of ours, or was
# asked to show everything.
PLACES = (
    (r"page\.html|export_masks\.py|rebuilt/.*|to-mimics/.*", ""),
    (r".*\.verimask/.*", "work folder"),
    (r"draft\.toml", "draft"),
    (r"(pairs|parts|bids|nnunet|zipped)/.*", "cohort"),
    (r"described\..*", "described"),
    (r"cases\.toml|golden/.*|junit\.xml", "cases"),
    (r"asseg/.*", "SEG"),
    (r"dicom/.*", "series"),
    (r".*\.html", "page"),
    (r".*\.ctbl|.*\.tsv|.*_labels\.txt", "labels"),
    (r".*\.json|.*\.nii\.gz", "record"),
)


@pytest.fixture(scope="module")
def marks() -> Marks:
    return Marks()


@pytest.fixture(scope="module")
def tree(marks: Marks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandTree]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield make_marked_tree(tmp_path_factory.mktemp("marked"), marks)


def table() -> tuple[list[str], dict[str, tuple[list[str], dict[str, str]]]]:
    """The places, and each row: what it stands for, and until when it stays in each place."""
    text = PAGE.read_text("utf-8").partition("<!-- table -->")[2].partition("<!-- end -->")[0]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines())
    places = head[2:]
    return places, {
        row[0]: (re.findall(r"“[^”]*”|\w+", row[1]), dict(zip(places, row[2:], strict=True))) for row in rows
    }


def row_of(meaning: str) -> str:
    """The row of the table that speaks of what a mark stands for."""
    for name, (words, _) in table()[1].items():
        for word in words:
            plain = word.strip("“”")
            if meaning == plain or (plain.endswith(" …") and meaning.startswith(plain[:-1])):
                return name
    return "everything else"


def expected(strip: str, place: str) -> set[str]:
    """The rows that stay in a place."""
    gone = {"none": set(), "names": {"names"}, "uids": {"uids"}, "all": {"names", "uids", "all"}}[strip] | {"–"}
    return {name for name, (_, cells) in table()[1].items() if cells[place] not in gone}


def found_in(out: Path, marks: Marks) -> dict[str, dict[str, set[str]]]:
    """Place to row to the files and marks that were found."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        place = next(place for pattern, place in PLACES if re.fullmatch(pattern, name))
        inner = re.sub("^[^/]*-nifti/", "", name)  # which is called after the folder that the user named
        named = "its file name" if place in ("record", "page", "labels") else place
        for at, meanings in (
            (named, marks.found(inner)),
            (place, set[str]().union(*(marks.found(data) for data in unpacked(path.read_bytes())))),
        ):
            for meaning in meanings if at else ():
                found[at][row_of(meaning)].add(f"{meaning} in {name}")
    return found


def check(out: Path, marks: Marks, strip: str, places: Sequence[str]) -> None:
    found = found_in(out, marks)
    wrong = {}
    for place in places:
        there, said = set(found[place]), expected(strip, place)
        if there != said:
            wrong[place] = {row: sorted(found[place][row])[:4] for row in there - said} | dict.fromkeys(
                said - there, "gone"
            )
    assert wrong == {}


def test_everything_that_is_written_holds_what_the_page_says(tree: CommandTree, marks: Marks, tmp_path: Path) -> None:
    ran = run_every_command(tree, tmp_path / "out", commands=[name for name in LINES if name not in SLOW])
    written = {name.partition("/")[0] for one in ran for name in one.written}
    assert written >= {"burned.nii.gz", "masked.nii.gz", "archive", "zipped", "pairs", "nnunet", "bids", "parts"}
    check(tmp_path / "out", marks, "none", table()[0])


@pytest.mark.parametrize("strip", ["names", "uids", "all"])
def test_what_is_stripped_is_gone(tree: CommandTree, marks: Marks, tmp_path: Path, strip: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    codes = defaultdict(set)
    for command, words in lines_of(tree, out, STRIPPED):
        is_worked_from = any(word in words for word in WORKED_FROM)
        code, _, errors = run_line(words if is_worked_from else [*words, "--strip", strip], out)
        codes[command].add(code)
        assert code != 1, errors
    assert all(0 in of_command for of_command in codes.values())
    places = ("record", "its file name", "labels", "page", "SEG", "series", "cohort")
    check(out, marks, strip, places)
    if strip == "all":
        left = {place: set(rows) for place, rows in found_in(out, marks).items() if place in places and rows}
        assert left == {"cohort": {"words typed: labels, title"}}  # the title of the data set


@pytest.mark.parametrize("more", [(), ("--strip", "names"), ("--strip", "uids"), ("--images", "all")])
def test_a_series_with_a_problem_names_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    marks, grid = Marks(), MadeGrid((16, 14, 6))
    person = Study(Person("ZQDOE", "ZQDOE^JOHN"), "a")
    image = made_series.write_image(tmp_path / "in/p/image", person, grid)
    made_series.write_mask_series(tmp_path / "in/p/mask", image, made_series.box(grid.shape, (2, 7), (2, 8), (1, 5)))
    made_series.write_image(tmp_path / "in/p/other", Study(person.person, "b"), grid, planes=(0, 1, 3, 4, 5))
    for n, path in enumerate(sorted((tmp_path / "in").rglob("*.dcm"))):  # a patient's name in some is replaced first
        path.rename(path.with_name(f"{'ZQDOE_JOHN_' * (n % 2)}{marks.text('file')}.dcm"))
    ask = ("cohort", tmp_path / "in", "-o", tmp_path / "out", "--crosscheck", "off", "--jobs", "1")
    assert said(capsys, *ask, *more)[0] in (0, 8)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and ".verimask" not in path.parts]
    named = {
        path.name: found for path in written for data in unpacked(path.read_bytes()) if (found := marks.found(data))
    }
    assert named == {}
    texts = [path.read_text("utf-8") for path in (tmp_path / "out/cohort.tsv", tmp_path / "out/.verimask/cohort.tsv")]
    assert ["1 plane is missing" in text or "names" in more for text in texts] == [True, True]
    assert marks.found(texts[1].encode())


def test_names_are_kept_on_request_and_stand_nowhere_else(
    tree: CommandTree, marks: Marks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, more in (("plain", ()), ("named", ("--keep-names",))):
        ask = ("convert", tree.mask, "-o", tmp_path / f"{name}.nii.gz", "--crosscheck", "off")
        assert said(capsys, *ask, *more)[0] == 0
    rows = {n: {row_of(m) for m in marks.found((tmp_path / f"{n}.json").read_bytes())} for n in ("plain", "named")}
    assert rows["named"] - rows["plain"] == {"names of input files"}


@pytest.mark.parametrize("more", [(), ("--strip", "all")])
def test_a_page_over_the_source_names_no_folder(
    tree: CommandTree, marks: Marks, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    ask = (
        "convert",
        tree.mask,
        "--source",
        tree.image,
        "-o",
        tmp_path / "mask.nii.gz",
        "--report",
        "--crosscheck",
        "off",
    )
    assert said(capsys, *ask, *more)[0] == 0
    found = {row_of(meaning) for meaning in marks.found((tmp_path / "mask.html").read_bytes())}
    assert found == (set() if more else expected("none", "page") - {"names of ROIs, segments, masks"})


@pytest.mark.parametrize("strip", ["names", "uids", "all"])
def test_verify_claims_of_a_stripped_record_only_what_it_checked(
    tree: CommandTree, tmp_path: Path, capsys: pytest.CaptureFixture[str], strip: str
) -> None:
    target = tmp_path / "mask.nii.gz"
    assert said(capsys, "convert", tree.mask, "-o", target, "--crosscheck", "off", "--strip", strip)[0] == 0
    (result,) = verify([target], [tree.study])
    assert (result.status, result.broken) == ("HOLDS", ())
    assert "conversion made again" not in result.checked
    assert any("--strip" in note.why for note in result.not_checked)
    assert ("6 inputs" in result.checked) == (strip == "names")  # their digests go with the UIDs


def test_stripped_uids_are_alike_within_one_output_and_in_every_run(
    tree: CommandTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = []
    for name in ("one", "two"):
        target = tmp_path / name / "mask.nii.gz"
        target.parent.mkdir()
        ask = ("convert", tree.seg, "--source", tree.image, "-o", target, "--crosscheck", "off", "--strip", "uids")
        assert said(capsys, *ask)[0] == 0
        texts.append(target.with_name("mask.json").read_text("utf-8"))
    assert texts[0] == texts[1]
    record: dict[str, Any] = json.loads(texts[0])
    assert record["FrameOfReferenceUID"].startswith("2.25.")
    assert record["Provenance"]["Inputs"] == []


# --- names in sentences ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "written"),
    [
        ("a/DOE^JOHN/IM1", "IM1 lies off its place", "input-0001 lies off its place"),
        ("a/DOE^JOHN/IM1", "2 files in DOE^JOHN.", "2 files in folder."),
        ("a/DOE^JOHN/IM1", "see DOE^JOHN/IM1: twice", "see input-0001: twice"),
        ("a/clean/x y.dcm", "the clean export x y.dcm (--clean)", "the clean export input-0001 (--clean)"),
        ("a/source/mask", "the mask has 1 label", "the mask has 1 label"),
        ("a/b/1", "plane 1 of 3 in 1", "plane 1 of 3 in 1"),
        ("a/b/12345", "file 12345", "file input-0001"),
        ("a/Smith/IM10", "IM1, IM10 and IM100 of Smithers", "IM1, input-0001 and IM100 of Smithers"),
    ],
)
def test_names_are_replaced_as_whole_words(path: str, text: str, written: str) -> None:
    names = NeutralNames([("", Path(path))])
    assert names.text(text) == written
    assert NeutralNames([("", Path(path))], keep=True).text(text) == text


def test_a_name_alone_is_replaced_whatever_it_is_and_labels_stay() -> None:
    names = NeutralNames([("", Path("liver/mask")), ("source", Path("ct/1"))]).with_public(["liver"])
    finding = names.finding(Finding(Code.EMPTY, "the liver is empty", where=("mask", "1", "liver", "--clean")))
    assert finding.where == ("input-0001", "source-0001", "liver", "--clean")
    assert finding.message == "the liver is empty"


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["clean", "--clean", "clean", "-o", "out.nii.gz"], ["input", "--clean", "clean", "-o", "out.nii.gz"]),
        (
            ["A", "B", "--cle=A", "--as", "image", "-oB.nii"],
            ["input", "input", "--cle=clean", "--as", "image", "-oB.nii"],
        ),
        (["image", "--as=image", "--report", "image"], ["input", "--as=image", "--report", "input"]),
        (["--like", "x/y.nii", "--rois", "a,b", "--", "-o"], ["--like", "like", "--rois", "a,b", "--", "input"]),
    ],
)
def test_a_command_is_written_without_its_inputs(words: list[str], written: list[str]) -> None:
    from pipeline.cli.typed_words import hide_inputs
    from tests.helpers.every_command import commands_of_parser

    assert hide_inputs(words, commands_of_parser()["convert"]) == written
