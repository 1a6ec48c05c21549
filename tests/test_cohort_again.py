"""A second run over a data set: what is gone, edited, damaged or somebody else's, and what a refusal must not leave behind."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pipeline.cohort.case import CaseResult
from pipeline.cohort.making.case_files import CaseWriter
from pipeline.core.findings import Exit
from tests.helpers.cohort_run import files_of, rows_of
from tests.helpers.made_series import MadeGrid, Person, Study, box, write_image, write_seg, write_struct
from tests.test_cohort_cli import Printed, cohort

SHAPE = MadeGrid().shape
QUICK = ("--crosscheck", "off", "--no-page", "--jobs", "1")


def study_of(name: str) -> Study:
    return Study(Person(f"KLN{ord(name[0])}9071", "Testperson^Nobody"), "one")


def add_patient(tree: Path, name: str, edges: tuple[int, int] = (3, 9)) -> None:
    """One patient with a CT and a structure set of one ROI."""
    study = study_of(name)
    image = write_image(tree / name / "CT", study, MadeGrid())
    write_struct(tree / name / "RS", image, [("GTV", box(SHAPE, edges, (2, 8), (1, 4)))])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("anna", "bert"):
        add_patient(tmp_path / "in", name)
    return tmp_path / "in"


def run(tree: Path, *options: object) -> Printed:
    return cohort(tree, "-o", tree.parent / "out", "--keep-names", *QUICK, *options)


def statuses(out: Path) -> dict[str, list[str]]:
    """The statuses of the rows of every subject."""
    found: dict[str, list[str]] = {}
    for row in rows_of(out):
        found.setdefault(row["subject"], []).append(row["status"])
    return {subject: sorted(set(several)) for subject, several in found.items()}


def names_in(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in files_of(out)}


def test_a_refused_run_leaves_no_plan_of_other_inputs(tree: Path) -> None:
    out = tree.parent / "out"
    assert run(tree).code == Exit.VERIFIED
    add_patient(tree, "carl")
    table = tree.parent / "table.tsv"
    table.write_text("key\tsubject\nnone\tx\n", "utf-8")
    assert run(tree, "--table", table).code == Exit.USAGE
    assert run(tree).code == Exit.VERIFIED
    assert statuses(out) == {name: ["DONE"] for name in ("anna", "bert", "carl")}


def test_a_pair_whose_mask_is_gone_is_no_pair(tree: Path) -> None:
    out = tree.parent / "out"
    run(tree)
    shutil.rmtree(tree / "anna" / "RS")
    assert run(tree).code == Exit.VERIFIED
    assert statuses(out) == {"anna": ["NO_MASK"], "bert": ["DONE"]}
    assert not (out / "anna").exists()


def test_a_patient_who_is_gone_is_said_until_pruned(tree: Path) -> None:
    out = tree.parent / "out"
    run(tree)
    shutil.rmtree(tree / "anna")
    assert run(tree).code == Exit.PARTLY_DONE
    assert statuses(out) == {"anna": ["GONE"], "bert": ["DONE"]}
    assert run(tree, "--gzip-level", "1").code == Exit.OUTPUT_PATH  # it could not be made again
    assert run(tree, "--table", out / "cohort.tsv").code == Exit.PARTLY_DONE
    assert run(tree, "--prune").code == Exit.VERIFIED
    assert statuses(out) == {"bert": ["DONE"]}
    assert names_in(out) == {"bert/image.nii.gz", "bert/image.json", "bert/GTV.nii.gz", "bert/GTV.json", "cohort.tsv"}


def test_a_refused_run_removes_nothing(tree: Path) -> None:
    """anna would be removed, and bert cannot be made again: neither is touched."""
    out = tree.parent / "out"
    run(tree)
    before = names_in(out)
    shutil.rmtree(tree / "anna" / "RS")
    shutil.rmtree(tree / "bert")
    assert run(tree, "--gzip-level", "1").code == Exit.OUTPUT_PATH
    assert names_in(out) == before


def test_an_edited_file_of_no_case_stays_and_is_said(tree: Path) -> None:
    out = tree.parent / "out"
    run(tree)
    (out / "anna" / "GTV.nii.gz").write_bytes(b"edited")
    shutil.rmtree(tree / "anna" / "RS")
    said = run(tree)
    assert said.code == Exit.VERIFIED
    assert said.err == "note: anna/GTV.nii.gz is of no case any more, was changed, and stays\n"
    assert {name for name in names_in(out) if name.startswith("anna")} == {"anna/GTV.nii.gz"}


def test_what_a_table_settled_is_kept_while_a_series_is_away(tree: Path) -> None:
    out, table = tree.parent / "out", tree.parent / "table.tsv"
    run(tree)
    keys = [row["key"] for row in rows_of(out) if row["subject"] == "anna"]
    table.write_text("key\tsubject\n" + "".join(f"{key}\tzoe\n" for key in dict.fromkeys(keys)), "utf-8")
    assert run(tree, "--table", table).code == Exit.VERIFIED
    (tree / "anna").rename(tree.parent / "away")
    run(tree, "--prune")
    assert statuses(out) == {"bert": ["DONE"]}
    (tree.parent / "away").rename(tree / "anna")
    run(tree)
    assert statuses(out) == {"bert": ["DONE"], "zoe": ["DONE"]}


def test_an_input_that_cannot_be_read_is_tried_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that is away for a while; no file here can be made to fail so for whoever runs the tests."""
    out, file = tree.parent / "out", next((tree / "anna" / "CT").iterdir())

    class Unreachable(CaseWriter):
        def write(self) -> CaseResult:
            if self._case.place.subject == "anna":
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
            return super().write()

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.cohort.making.make_case.CaseWriter", Unreachable)
        assert run(tree).code == Exit.PARTLY_DONE
    refused = [row for row in rows_of(out) if row["subject"] == "anna"]
    assert {(row["status"], row["code"]) for row in refused} == {("REFUSED", "FILE_UNREAD")}
    assert file.name in refused[0]["message"]
    assert str(tree) not in refused[0]["message"]
    assert run(tree).code == Exit.VERIFIED
    assert statuses(out) == {name: ["DONE"] for name in ("anna", "bert")}


def test_an_edited_output_stays_and_so_does_all_beside_it(tree: Path) -> None:
    out = tree.parent / "out"
    run(tree)
    before = names_in(out)
    (out / "anna" / "image.nii.gz").write_bytes(b"edited")
    refused = run(tree)
    assert refused.code == Exit.PARTLY_DONE
    assert "OUTPUT_EXISTS" in refused.out + refused.err
    assert (out / "anna" / "image.nii.gz").read_bytes() == b"edited"
    assert names_in(out) == before
    assert run(tree, "-w", "overwrite").code == Exit.VERIFIED
    assert names_in(out) == before


def test_what_is_somebodys_is_not_replaced(tree: Path) -> None:
    out = tree.parent / "out"
    run(tree, "--dry-run")
    (out / "cohort.tsv").write_text("mine", "utf-8")
    (out / "anna").write_text("mine", "utf-8")
    assert run(tree).code == Exit.OUTPUT_PATH
    (out / "cohort.tsv").unlink()
    assert run(tree).code == Exit.PARTLY_DONE
    assert statuses(out) == {"anna": ["REFUSED"], "bert": ["DONE"]}
    assert (out / "anna").read_text("utf-8") == "mine"


def test_another_layout_replaces_nothing_unasked(tree: Path) -> None:
    out = tree.parent / "out"
    run(tree)
    before = names_in(out)
    assert run(tree, "--layout", "bids").code == Exit.OUTPUT_PATH
    assert names_in(out) == before
    assert run(tree, "--layout", "bids", "-w", "overwrite").code == Exit.VERIFIED
    assert "dataset_description.json" in names_in(out)
    assert run(tree, "-w", "overwrite").code == Exit.VERIFIED
    assert names_in(out) == before


def test_a_file_that_was_a_mask_and_cannot_be_read_has_a_row(tree: Path) -> None:
    struct = tree / "anna" / "RS" / "RS.dcm"
    struct.write_bytes(struct.read_bytes()[:300])
    assert run(tree).code == Exit.PARTLY_DONE
    (row,) = [row for row in rows_of(tree.parent / "out") if row["kind"] == "file"]
    assert (row["status"], row["folder"], row["series"]) == ("REFUSED", "anna/RS", "RS.dcm")


def test_what_was_damaged_before_it_was_collected_is_made_anew(tree: Path) -> None:
    """Killed between the rename of a case and its collection; then its result was lost on the disk."""
    out = tree.parent / "out"
    plan = cohort("plan", tree, "-o", out, "--keep-names", "--crosscheck", "off").out.strip()
    assert cohort("run", plan, "--part", "1/1", "--jobs", "1").code == Exit.VERIFIED
    for done in (out / ".verimask" / "done").iterdir():
        (done / "result.json").write_bytes(b"")
    assert run(tree).code == Exit.VERIFIED
    assert statuses(out) == {name: ["DONE"] for name in ("anna", "bert")}
    assert list((out / ".verimask" / "done").iterdir()) == []


def test_what_was_half_collected_for_other_options_leaves_nothing(tree: Path) -> None:
    """Killed while the files of a case were moved; then the inputs changed."""
    out = tree.parent / "out"
    plan = cohort("plan", tree, "-o", out, "--keep-names", "--crosscheck", "off").out.strip()
    cohort("run", plan, "--part", "1/1", "--jobs", "1")
    (done,) = [d for d in (out / ".verimask" / "done").iterdir() if (d / "tree" / "anna").exists()]
    (out / "anna").mkdir()
    (done / "tree" / "anna" / "GTV.nii.gz").rename(out / "anna" / "GTV.nii.gz")
    study = study_of("anna")
    shutil.rmtree(tree / "anna")
    write_seg(
        tree / "anna" / "SEG", write_image(tree / "anna" / "CT", study, MadeGrid()), [("liver", box(SHAPE, (3, 9)))]
    )
    assert run(tree).code == Exit.VERIFIED
    assert {name for name in names_in(out) if name.startswith("anna")} == {
        f"anna/{name}" for name in ("image.nii.gz", "image.json", "liver.nii.gz", "liver.json")
    }


def test_only_failed_leaves_no_case_without_a_row(tree: Path) -> None:
    out = tree.parent / "out"
    run(tree)
    add_patient(tree, "carl")
    add_patient(tree, "bert", (4, 10))
    assert run(tree, "--only-failed").code == Exit.PARTLY_DONE
    assert statuses(out) == {"anna": ["DONE"], "bert": ["STALE"], "carl": ["NEW"]}
    assert run(tree).code == Exit.VERIFIED
    assert statuses(out) == {name: ["DONE"] for name in ("anna", "bert", "carl")}
