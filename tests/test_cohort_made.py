"""A tree of patients becomes the data set that whoever made it expects, however often it is stopped and whoever makes it."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pydicom import dcmread

from pipeline.cohort.plan import read_plan
from pipeline.cohort.running.parts import PlanPart
from pipeline.core.findings import Exit
from tests.helpers.cases import samples_folder
from tests.helpers.cohort_run import (
    CohortRunner,
    Ended,
    difference_of,
    found_in,
    left_in_work,
    rows_of,
    stamps_of,
    tree_of,
)
from tests.helpers.cohort_truth import dice, files_not_once, mask_of, other_headers, read_nifti, wrong_in
from tests.helpers.made_cohort import Expected, MadeCohort, make_cohort
from tests.helpers.mask_case import PlacedMask

IBSI = samples_folder() / "theibsi+data_sets" / "ibsi_validation"
QUICK = ("--crosscheck", "off", "--session", "folder:2")  # the witnesses have tests of their own
FAILED = ("REFUSED", "INCOMPLETE")


class First(NamedTuple):
    """A tree, and the undisturbed run of it that every other must equal."""

    made: MadeCohort
    out: Path
    ended: Ended
    tree: dict[str, str]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CohortRunner]:
    made = CohortRunner(tmp_path_factory.mktemp("scratch"))
    yield made
    assert made.end_leftovers() == [], "a run left processes behind"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, runner: CohortRunner) -> First:
    folder = tmp_path_factory.mktemp("cohort")
    made, out = make_cohort(folder / "in"), folder / "out"
    ended = runner.run(made.root, "-o", out, *QUICK, watch=made.root)
    assert ended.code == Exit.PARTLY_DONE, ended.text
    return First(made, out, ended, tree_of(out))


@pytest.fixture
def copied(first: First, runner: CohortRunner, tmp_path: Path) -> First:
    """A tree of its own with its data set, to change files in."""
    root, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(first.made.root, root)
    made = MadeCohort(root, first.made.series, first.made.identifiers)
    ended = runner.run(root, "-o", out, *QUICK)
    assert ended.code == Exit.PARTLY_DONE, ended.text
    return First(made, out, ended, tree_of(out))


def opened_of(made: MadeCohort, wanted: Callable[[Expected], bool]) -> set[str]:
    """The files of some series."""
    folders = [made.root / series.folder for series in made.series if wanted(series)]
    return {str(path) for folder in folders for path in folder.iterdir() if path.is_file()}


# ---- the IBSI tree


@pytest.fixture(scope="module")
def ibsi(samples: Path, tmp_path_factory: pytest.TempPathFactory, runner: CohortRunner) -> Path:
    out = tmp_path_factory.mktemp("ibsi") / "out"
    ended = runner.run(IBSI / "dicom", "-o", out)
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
    folders = {row["folder"] for row in rows_of(first.out)}
    assert "" not in folders


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
    draw, kills, out = random.Random(15), 0, tmp_path / "out"
    while kills < 3:
        ended = runner.stop(
            first.made.root, "-o", out, *QUICK, "--jobs", "2", after=draw.uniform(0.3, 0.8) * first.ended.seconds
        )
        if ended.code == -signal.SIGKILL:
            kills += 1
        else:  # it was done before
            assert tree_of(out) == first.tree
            shutil.rmtree(out)
    assert runner.run(first.made.root, "-o", out, *QUICK).code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), first.tree) == []
    assert left_in_work(out) == []


def test_ctrl_c_loses_no_finished_case(first: First, runner: CohortRunner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = runner.stop(first.made.root, "-o", out, *QUICK, after=0.6 * first.ended.seconds, by=signal.SIGINT)
    assert ended.code == 130, ended.text
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


def test_what_changed_is_made_again_and_nothing_else(copied: First, runner: CohortRunner) -> None:
    image = _image_of(copied.made, "DONE")
    _change_pixel(sorted((copied.made.root / image.folder).glob("*.dcm"))[0])
    before = stamps_of(copied.out)
    again = runner.run(copied.made.root, "-o", copied.out, *QUICK, watch=copied.made.root)
    assert again.code == Exit.PARTLY_DONE
    assert wrong_in(copied.made, copied.out) == []
    own = {series.uid: series for series in copied.made.series if series is image or series.image == image.uid}
    assert again.opened <= opened_of(copied.made, lambda series: series.uid in own or series.folder == image.folder)
    changed = difference_of(copied.tree, tree_of(copied.out))
    assert any(path.endswith(".nii.gz") for path in changed)
    case = {path.rpartition("/")[0] for path in changed if path.endswith(".nii.gz")}
    assert len(case) == 1
    rewritten = [path for path in difference_of(before, stamps_of(copied.out)) if path.endswith((".nii.gz", ".json"))]
    assert {path.rpartition("/")[0] for path in rewritten if path.count("/")} == case


def test_what_was_only_touched_is_not_made_again(copied: First, runner: CohortRunner) -> None:
    image = _image_of(copied.made, "DONE")
    for path in (copied.made.root / image.folder).iterdir():
        os.utime(path)
    before = stamps_of(copied.out)
    assert runner.run(copied.made.root, "-o", copied.out, *QUICK).code == Exit.PARTLY_DONE
    assert tree_of(copied.out) == copied.tree
    rewritten = difference_of(before, stamps_of(copied.out))
    assert [path for path in rewritten if path.endswith(".nii.gz")] == []
    again = runner.run(copied.made.root, "-o", copied.out, *QUICK, watch=copied.made.root)
    assert again.opened == frozenset()


def test_only_failed_makes_what_failed_and_nothing_else(copied: First, runner: CohortRunner) -> None:
    """A sound image changes too: that is left for an ordinary run, and its row does not call it done."""
    image = _image_of(copied.made, "DONE")
    _change_pixel(sorted((copied.made.root / image.folder).glob("*.dcm"))[0])
    before = stamps_of(copied.out)
    failed = opened_of(copied.made, lambda series: series.status in FAILED)
    again = runner.run(copied.made.root, "-o", copied.out, *QUICK, "--only-failed", watch=copied.made.root)
    assert again.code == Exit.PARTLY_DONE
    assert failed <= again.opened
    assert again.opened <= failed | opened_of(copied.made, lambda series: series.folder == image.folder)
    outputs = {row["output"] for row in rows_of(copied.out) if row["status"] not in FAILED and row["output"]}
    after = stamps_of(copied.out)
    assert [path for path in outputs if before[path] != after[path]] == []


def test_a_mended_input_is_done_after_only_failed(copied: First, runner: CohortRunner) -> None:
    cut = next(series for series in copied.made.series if series.code == "CORRUPT_FILE" and series.role == "image")
    paths = sorted((copied.made.root / cut.folder).iterdir())
    short = min(paths, key=lambda path: path.stat().st_size)
    short.write_bytes(short.read_bytes() + bytes(max(path.stat().st_size for path in paths) - short.stat().st_size))
    assert runner.run(copied.made.root, "-o", copied.out, *QUICK, "--only-failed").code == Exit.PARTLY_DONE
    wrong = wrong_in(copied.made, copied.out)
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


@pytest.mark.parametrize("parts", [1, 2, 7, 100])
def test_any_number_of_parts_makes_the_same_tree(
    first: First, runner: CohortRunner, tmp_path: Path, parts: int
) -> None:
    out = tmp_path / "out"
    plan = planned(runner, first.made.root, out)
    cases = len(read_plan(plan))
    filled = [
        n for n in range(1, parts + 1) if PlanPart(n, parts).share(cases)
    ]  # of more parts than cases, others have none
    for number in filled[::-1]:
        ended = runner.run("run", plan, "--part", f"{number}/{parts}")
        assert ended.code in (Exit.VERIFIED, Exit.PARTLY_DONE), ended.text
    assert runner.run("merge", plan).code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), first.tree) == []
    assert left_in_work(out) == []


def test_planning_again_changes_nothing_that_is_pending(copied: First, runner: CohortRunner, tmp_path: Path) -> None:
    """Parts of a plan that run after another plan was made do what their own plan says; so merge finds each row once."""
    out = tmp_path / "parts" / "out"
    plan = planned(runner, copied.made.root, out)
    text = plan.read_bytes()
    assert runner.run("run", plan, "--part", "1/2").code in (Exit.VERIFIED, Exit.PARTLY_DONE)
    away = tmp_path / "away"
    shutil.move(copied.made.root / copied.made.series[0].folder.split("/")[0], away)
    other = planned(runner, copied.made.root, out)
    assert other != plan
    assert plan.read_bytes() == text
    shutil.move(away, copied.made.root / copied.made.series[0].folder.split("/")[0])
    assert runner.run("run", plan, "--part", "2/2").code in (Exit.VERIFIED, Exit.PARTLY_DONE)
    assert runner.run("merge", plan).code == Exit.PARTLY_DONE
    assert difference_of(tree_of(out), copied.tree) == []


def test_merge_says_what_did_not_run(first: First, runner: CohortRunner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = planned(runner, first.made.root, out)
    assert runner.run("run", plan, "--part", "1/3").code in (Exit.VERIFIED, Exit.PARTLY_DONE)
    ended = runner.run("merge", plan)
    assert ended.code not in (Exit.VERIFIED, Exit.INTERNAL_ERROR)
    assert "Traceback" not in ended.text
