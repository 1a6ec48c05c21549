"""A tree of patients becomes the data set that whoever made it expects, however often it is stopped and whoever makes it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from pipeline.cohort.plan import read_plan
from pipeline.cohort.running.parts import PlanPart
from pipeline.core.findings import Exit
from tests.helpers.cases import samples_folder
from tests.helpers.cohort_run import (
    PRIVATE,
    CohortRunner,
    count_logged,
    difference_of,
    found_in,
    left_in_work,
    rows_of,
    stamps_of,
    tree_of,
)
from tests.helpers.cohort_truth import dice, files_not_once, mask_of, other_headers, read_nifti, wrong_in
from tests.helpers.first_cohort import QUICK, First, open_runner, run_first
from tests.helpers.made_cohort import Expected, MadeCohort
from tests.helpers.mask_case import PlacedMask

IBSI = samples_folder() / "theibsi+data_sets" / "ibsi_validation"
FAILED = ("REFUSED", "INCOMPLETE")


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CohortRunner]:
    with open_runner(tmp_path_factory.mktemp("scratch")) as made:
        yield made


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, runner: CohortRunner) -> First:
    return run_first(tmp_path_factory.mktemp("cohort"), runner)


@pytest.fixture
def editable(first: First, tmp_path: Path) -> Iterator[First]:
    """The tree with its data set, to change files in: both are put back as they were, times of files too."""
    folders = {first.made.root: tmp_path / "kept" / "in", first.out: tmp_path / "kept" / "out"}
    for folder, kept in folders.items():
        shutil.copytree(folder, kept, symlinks=True)
    yield first
    for folder, kept in folders.items():
        shutil.rmtree(folder)
        shutil.copytree(kept, folder, symlinks=True)


@pytest.fixture(scope="module")
def plan_alone(first: First, tmp_path_factory: pytest.TempPathFactory, runner: CohortRunner) -> Path:
    """A plan of the tree that nobody has begun, to be editable with its output folder."""
    return planned(runner, first.made.root, tmp_path_factory.mktemp("plan") / "out")


def opened_of(made: MadeCohort, wanted: Callable[[Expected], bool]) -> set[str]:
    """The files of some series."""
    folders = [made.root / series.folder for series in made.series if wanted(series)]
    return {str(path) for folder in folders for path in folder.iterdir() if path.is_file()}


# ---- the IBSI tree


@pytest.fixture(scope="module")
def ibsi(samples: Path, tmp_path_factory: pytest.TempPathFactory, runner: CohortRunner) -> Path:
    out = tmp_path_factory.mktemp("ibsi") / "out"
    ended = runner.run(IBSI / "dicom", "-o", out, "--crosscheck", "off")
    assert ended.code == Exit.VERIFIED, ended.text
    return out


def test_ibsi_is_nine_pairs_as_shipped(ibsi: Path) -> None:
    masks = [row for row in rows_of(ibsi) if row["role"] == "mask"]
    assert {row["status"] for row in rows_of(ibsi)} == {"DONE"}
    assert len({row["image"] for row in masks}) == len(masks) == 9
    shipped = [read_nifti(path) for path in sorted((IBSI / "nifti").glob("*/*_mask.nii.gz"))]
    known = [PlacedMask("", array != 0, lps) for array, lps in shipped]
    found = [mask_of(ibsi, row) for row in masks]
    for truth in known:  # the CT and the MR of two patients have one mask, on grids of their own
        alike = [mask for mask in found if sorted(mask.voxels.shape) == sorted(truth.voxels.shape)]
        assert [dice(mask, truth) for mask in alike] == [1.0]
    assert other_headers(ibsi) == []


def test_ibsi_names_nobody(ibsi: Path) -> None:
    headers = [dcmread(path, stop_before_pixels=True) for path in (IBSI / "dicom").rglob("*") if path.is_file()]
    identifiers = {str(ds.get(keyword, "")) for ds in headers for keyword in ("PatientID", "PatientName")}
    assert len(identifiers - {""}) >= 3
    assert found_in(ibsi, identifiers) == []


def test_ibsi_has_every_file_in_one_row(ibsi: Path) -> None:
    assert files_not_once((path for path in (IBSI / "dicom").rglob("*") if path.is_file()), ibsi) == []


# ---- the made tree


def test_a_made_tree_is_what_its_maker_expects(first: First) -> None:
    assert wrong_in(first.made, first.out) == []
    assert other_headers(first.out) == []
    assert len(first.made.of_status("DONE")) > 30
    assert left_in_work(first.out) == []


def test_a_made_tree_names_nobody(first: First) -> None:
    assert found_in(first.out, first.made.identifiers) == []
    public, private = rows_of(first.out), rows_of(first.out, private=True)
    assert {row["folder"] for row in public} == {""}
    assert "" not in {row["folder"] for row in private}
    hidden = ("folder", "series", "mask", "message")
    for one, other in zip(public, private, strict=True):  # a line of the one is that of the other
        assert {**one, **dict.fromkeys(hidden)} == {**other, **dict.fromkeys(hidden)}


def test_a_name_that_is_there_would_be_found(tmp_path: Path, first: First) -> None:
    (tmp_path / "of HN-1").mkdir()
    (tmp_path / "page.html").write_text("<p>hn-1</p>", "utf-8")
    (tmp_path / "of HN-1" / "table.tsv").write_bytes("HN-1".encode("utf-16-le"))
    assert len(found_in(tmp_path, ["HN-1"])) == 3


def test_every_made_file_is_in_one_row(first: First) -> None:
    assert files_not_once(first.made.files, first.out) == []


def test_the_first_run_opens_every_file(first: First) -> None:
    """What the tests below rest on: a file that is opened is seen to be."""
    assert {str(path) for path in first.made.files} <= first.ended.opened


def test_an_unchanged_tree_is_not_read_again(first: First, runner: CohortRunner) -> None:
    before = stamps_of(first.out)
    again = runner.run(first.made.root, "-o", first.out, *QUICK, watch=first.made.root)
    assert again.code == first.ended.code
    assert again.opened == frozenset()
    assert tree_of(first.out) == first.tree
    rewritten = difference_of(before, stamps_of(first.out))
    assert [path for path in rewritten if path.endswith((".nii.gz", ".json"))] == []


# ---- stopped and taken up again


def test_a_killed_run_is_taken_up_again(first: First, runner: CohortRunner, tmp_path: Path) -> None:
    """Killed three times: in the index, after the first case, and amid the others."""
    out = tmp_path / "out"
    for facts in (
        lambda: (out / PRIVATE / "index.sqlite").exists(),
        lambda: count_logged(out),
        lambda: count_logged(out) > 9,
    ):
        ended = runner.stop(first.made.root, "-o", out, *QUICK, "--jobs", "2", when=facts)
        assert ended.code == -signal.SIGKILL, ended.text
    assert runner.run(first.made.root, "-o", out, *QUICK).code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), first.tree) == []
    assert left_in_work(out) == []


def test_ctrl_c_loses_no_finished_case(first: First, runner: CohortRunner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = runner.stop(first.made.root, "-o", out, *QUICK, when=lambda: count_logged(out) > 2, by=signal.SIGINT)
    assert ended.code in (130, -signal.SIGINT), (
        ended.text
    )  # by the signal where it came while a dataclass was being made
    assert "Traceback" not in ended.text
    assert any(row["output"] for row in rows_of(out)), "stopped before its first case"
    before = {path: stamp for path, stamp in stamps_of(out).items() if path.endswith(".nii.gz")}
    assert runner.run(first.made.root, "-o", out, *QUICK).code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), first.tree) == []
    after = stamps_of(out)
    assert [path for path, stamp in before.items() if after[path] != stamp] == []


# ---- changed inputs


def _change_pixel(path: Path) -> None:
    """Another value in the first pixel; size as before."""
    dataset = dcmread(path)
    pixels = bytearray(dataset.PixelData)
    pixels[0] ^= 1
    dataset.PixelData = bytes(pixels)
    dataset.save_as(path, enforce_file_format=True)


def _image_of(made: MadeCohort, status: str) -> Expected:
    return next(series for series in made.series if series.role == "image" and series.status == status)


def test_what_changed_is_made_again_and_nothing_else(editable: First, runner: CohortRunner) -> None:
    image = _image_of(editable.made, "DONE")
    _change_pixel(sorted((editable.made.root / image.folder).glob("*.dcm"))[0])
    before = stamps_of(editable.out)
    again = runner.run(editable.made.root, "-o", editable.out, *QUICK, watch=editable.made.root)
    assert again.code == Exit.PARTLY_DONE
    assert wrong_in(editable.made, editable.out) == []
    own = {series.uid: series for series in editable.made.series if series is image or series.image == image.uid}
    assert again.opened <= opened_of(editable.made, lambda series: series.uid in own or series.folder == image.folder)
    changed = difference_of(editable.tree, tree_of(editable.out))
    assert any(path.endswith(".nii.gz") for path in changed)
    case = {path.rpartition("/")[0] for path in changed if path.endswith(".nii.gz")}
    assert len(case) == 1
    rewritten = [path for path in difference_of(before, stamps_of(editable.out)) if path.endswith((".nii.gz", ".json"))]
    assert {path.rpartition("/")[0] for path in rewritten if path.count("/")} == case


def test_what_was_only_touched_is_not_made_again(editable: First, runner: CohortRunner) -> None:
    image = _image_of(editable.made, "DONE")
    for path in (editable.made.root / image.folder).iterdir():
        os.utime(path)
    before = stamps_of(editable.out)
    assert runner.run(editable.made.root, "-o", editable.out, *QUICK).code == Exit.PARTLY_DONE
    assert tree_of(editable.out) == editable.tree
    rewritten = difference_of(before, stamps_of(editable.out))
    assert [path for path in rewritten if path.endswith(".nii.gz")] == []
    again = runner.run(editable.made.root, "-o", editable.out, *QUICK, watch=editable.made.root)
    assert again.opened == frozenset()


def test_only_failed_makes_what_failed_and_nothing_else(editable: First, runner: CohortRunner) -> None:
    """A sound image changes too: that is left for an ordinary run, and its row does not call it done."""
    image = _image_of(editable.made, "DONE")
    _change_pixel(sorted((editable.made.root / image.folder).glob("*.dcm"))[0])
    before = stamps_of(editable.out)
    failed = opened_of(editable.made, lambda series: series.status in FAILED)
    again = runner.run(editable.made.root, "-o", editable.out, *QUICK, "--only-failed", watch=editable.made.root)
    assert again.code == Exit.PARTLY_DONE
    assert failed <= again.opened
    assert again.opened <= failed | opened_of(editable.made, lambda series: series.folder == image.folder)
    outputs = {row["output"] for row in rows_of(editable.out) if row["status"] not in FAILED and row["output"]}
    after = stamps_of(editable.out)
    assert [path for path in outputs if before[path] != after[path]] == []


def test_a_mended_input_is_done_after_only_failed(editable: First, runner: CohortRunner) -> None:
    cut = next(series for series in editable.made.series if series.code == "CORRUPT_FILE" and series.role == "image")
    paths = sorted((editable.made.root / cut.folder).iterdir())
    short = min(paths, key=lambda path: path.stat().st_size)
    short.write_bytes(short.read_bytes() + bytes(max(path.stat().st_size for path in paths) - short.stat().st_size))
    assert runner.run(editable.made.root, "-o", editable.out, *QUICK, "--only-failed").code == Exit.PARTLY_DONE
    wrong = wrong_in(editable.made, editable.out)
    assert wrong
    assert {line.partition(" (")[0].rpartition("/")[0] for line in wrong} == {cut.folder.rpartition("/")[0]}
    assert any("status ['DONE'], not REFUSED" in line for line in wrong)


# ---- many processes and machines


def test_two_processes_make_the_same_tree(first: First, runner: CohortRunner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert runner.run(first.made.root, "-o", out, *QUICK, "--jobs", "2").code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), first.tree) == []


def planned(runner: CohortRunner, root: Path, out: Path) -> Path:
    """The plan that `cohort plan` prints the path of."""
    ended = runner.run("plan", root, "-o", out, *QUICK)
    assert ended.code == Exit.VERIFIED, ended.text
    return next(Path(word) for line in ended.text.splitlines()[::-1] for word in line.split() if Path(word).is_file())


def copy_planned(plan: Path, out: Path) -> Path:
    """Copy an output folder in which a plan lies; the plan there."""
    shutil.copytree(plan.parents[2], out)
    return out / plan.relative_to(plan.parents[2])


@pytest.mark.parametrize("parts", [1, 3])  # test_cohort_parts.py has more of them, on a smaller tree
def test_any_number_of_parts_makes_the_same_tree(
    first: First, runner: CohortRunner, plan_alone: Path, tmp_path: Path, parts: int
) -> None:
    out = tmp_path / "out"
    plan = copy_planned(plan_alone, out)
    cases = len(read_plan(plan))
    filled = [
        n for n in range(1, parts + 1) if PlanPart(n, parts).share(cases)
    ]  # of more parts than cases, others have none
    for number in filled[::-1]:
        ended = runner.run("run", plan, "--part", f"{number}/{parts}")
        assert ended.code == Exit.VERIFIED, ended.text  # a refused case is a result too
    assert runner.run("merge", plan).code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), first.tree) == []
    assert left_in_work(out) == []


def test_planning_again_changes_nothing_that_is_pending(editable: First, runner: CohortRunner, tmp_path: Path) -> None:
    """Parts of a plan that run after another plan was made do what their own plan says; so merge finds each row once."""
    out = tmp_path / "parts" / "out"
    plan = planned(runner, editable.made.root, out)
    text = plan.read_bytes()
    assert runner.run("run", plan, "--part", "1/2").code == Exit.VERIFIED
    away = tmp_path / "away"
    shutil.move(editable.made.root / editable.made.series[0].folder.split("/")[0], away)
    other = planned(runner, editable.made.root, out)
    assert other != plan
    assert plan.read_bytes() == text
    shutil.move(away, editable.made.root / editable.made.series[0].folder.split("/")[0])
    assert runner.run("run", plan, "--part", "2/2").code == Exit.VERIFIED
    assert runner.run("merge", plan).code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), editable.tree) == []


def test_merge_says_what_did_not_run(runner: CohortRunner, plan_alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = copy_planned(plan_alone, out)
    assert runner.run("run", plan, "--part", "2/3").code == Exit.VERIFIED
    ended = runner.run("merge", plan)
    assert ended.code == 5, ended.text
    words = " ".join(ended.text.split())
    assert "CASES_NOT_RUN" in words
    assert "art 1/3 was never begun" in words
    assert "art 3/3 was never begun" in words
    assert "art 2/3" not in words
    assert "Traceback" not in words
    assert tree_of(out) == {}
