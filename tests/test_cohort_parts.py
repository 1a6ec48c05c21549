"""Parts of a plan give what one run gives, each does what is missing, and merge takes nothing that is not whole and the plan's."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.main import main
from pipeline.cohort.plan import read_plan
from pipeline.cohort.running.parts import PlanPart, parse_part, run_part
from pipeline.core.findings import Code, PipelineError
from tests.helpers.cohort_run import tree_of
from tests.helpers.made_series import MadeGrid, Person, Study, corner, write_image, write_seg
from tests.helpers.watching import LONGEST_S, ROOT, children_of, is_gone, wait_for

CASES = 4
FEW = ("--crosscheck", "off")


def write_patient(root: Path, number: int, name: str = "liver") -> None:
    study = Study(Person(f"PID-{number:06}", f"Nobody{number:04}^N"), "study")
    grid = MadeGrid(origin=(10.5 * number, 3.25, -40.0))
    image = write_image(root / f"patient{number}" / "ct", study, grid, description=f"thorax {number}")
    write_seg(root / f"patient{number}" / "seg", image, [(name, corner(np.random.default_rng(number), grid.shape))])


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts") / "in"
    for number in range(1, CASES + 1):
        write_patient(root, number)
    return root


def cohort(*given: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["cohort", *map(str, given)])
    return int(left.value.code or 0)


def plan_of(patients: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Path:
    assert cohort("plan", patients, "-o", out, "--keep-names", *FEW, *options) == 0
    return Path(capsys.readouterr().out.split()[-1])


def done_in(out: Path) -> dict[str, str]:
    return tree_of(out / ".verimask" / "done")


@pytest.fixture(scope="module")
def whole(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert cohort(patients, "-o", out, "--keep-names", *FEW, "--no-page", "--jobs", "1") == 0
    return tree_of(out)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_any_number_of_parts_gives_the_same_as_one_run(
    patients: Path, whole: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    out = tmp_path / "out"
    plan = plan_of(patients, out, capsys)
    numbers = []
    for part in reversed(range(1, count + 1)):
        numbers += [number for number, _ in run_part(plan, f"{part}/{count}", out, 1)]
    assert sorted(numbers) == list(range(CASES))
    assert tree_of(out) == {}
    assert list(run_part(plan, "1/1", out, 1)) == []
    assert cohort("merge", plan, "--no-page") == 0
    assert tree_of(out) == whole
    assert done_in(out) == {}
    assert list(run_part(plan, "1/1", out, 1)) == []  # what was merged is not made again
    assert cohort("merge", plan, "--no-page") == 0
    assert tree_of(out) == whole


def test_shares_are_neighbours_and_hold_every_case_once() -> None:
    for cases in (0, 1, 5, 97):
        for count in (1, 2, 7, 100):
            shares = [PlanPart(number, count).share(cases) for number in range(1, count + 1)]
            assert [case for share in shares for case in share] == list(range(cases))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(PipelineError) as refused:
        parse_part(text)
    assert refused.value.finding.code is Code.BAD_OPTION


def test_what_no_part_has_made_is_named_with_its_part(
    patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    plan = plan_of(patients, out, capsys)
    list(run_part(plan, "2/4", out, 1))
    list(run_part(plan, "3/4", out, 1))
    assert cohort("merge", plan, "--no-page") == 5
    text = " ".join(capsys.readouterr().err.split())
    assert "CASES_NOT_RUN Part 1/4 was never begun; not made: patient1." in text
    assert "part 4/4 was never begun; not made: patient4" in text
    assert "patient2" not in text
    assert tree_of(out) == {}
    shutil.rmtree(out / ".verimask" / "done" / read_plan(plan).key(1))
    assert cohort("merge", plan, "--no-page") == 5
    assert "art 2/4 has ended, and what it made is gone; not made: patient2" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_plan_that_was_changed_is_refused(patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    plan = plan_of(patients, out, capsys)
    text = plan.read_text("utf-8")
    plan.write_text(text.replace("patient1", "patient9"), "utf-8")
    for given in (("run", plan, "--part", "1/1"), ("merge", plan, "--no-page")):
        assert cohort(*given) != 0
        assert "NOT_THE_PROVEN_FILE" in capsys.readouterr().err
    plan.write_text(text, "utf-8")
    moved = tmp_path / plan.name
    shutil.copy(plan, moved)
    assert cohort("run", moved, "--part", "1/1") == 64
    assert ".verimask/plans" in capsys.readouterr().err
    assert not (out / ".verimask" / "done").exists()


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("cut", "CORRUPT_FILE"),
        ("gone", "CORRUPT_FILE"),
        ("result", "CORRUPT_FILE"),
        ("other", "NOT_THE_PROVEN_FILE"),
        ("more", "NOT_THE_PROVEN_FILE"),
    ],
)
def test_a_damaged_or_foreign_result_is_named(
    patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, code: str
) -> None:
    out = tmp_path / "out"
    plan = plan_of(patients, out, capsys)
    list(run_part(plan, "1/1", out, 1))
    first, second = (out / ".verimask" / "done" / read_plan(plan).key(number) for number in (0, 1))
    image = max((first / "tree").rglob("*.nii.gz"))
    if damage == "cut":
        image.write_bytes(image.read_bytes()[:-3])
    elif damage == "gone":
        image.unlink()
    elif damage == "result":
        (first / "result.json").write_text("{", "utf-8")
    elif damage == "other":
        shutil.rmtree(first)
        shutil.copytree(second, first)
    else:
        image.with_name("more.nii.gz").write_bytes(b"")
    assert cohort("merge", plan, "--no-page") != 0
    text = " ".join(capsys.readouterr().err.split())
    assert code in text
    assert "patient1" in text
    assert tree_of(out) == {}
    shutil.rmtree(first)
    assert [number for number, _ in run_part(plan, "1/1", out, 1)] == [0]
    assert cohort("merge", plan, "--no-page") == 0


def test_planning_anew_does_not_change_what_pending_parts_run(
    patients: Path, whole: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One part has run; a patient more, and other options, are planned; the other part makes what the first plan says."""
    root, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(patients, root)
    plan = plan_of(root, out, capsys)
    before = plan.read_bytes()
    first = dict(run_part(plan, "1/2", out, 1))
    write_patient(root, CASES + 1)
    other = plan_of(root, out, capsys, "--incomplete", "keep")
    assert other != plan
    assert plan.read_bytes() == before
    list(run_part(other, "1/1", out, 1))  # its results lie in the same folder, by other keys
    second = dict(run_part(plan, "2/2", out, 1))
    assert sorted({**first, **second}) == list(range(CASES))
    assert cohort("merge", plan, "--no-page") == 0
    made = tree_of(out)
    assert {path.split("/")[0] for path in made} == {"cohort.tsv", *(f"patient{n}" for n in range(1, CASES + 1))}
    assert {path: made[path] for path in whole if path.endswith(".gz")} == {
        path: digest for path, digest in whole.items() if path.endswith(".gz")
    }


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pipeline.cohort.running.parts import run_part
list(run_part(Path(sys.argv[2]), "1/1", Path(sys.argv[3]), 1))
"""


def test_a_part_that_is_killed_is_run_again(
    patients: Path, whole: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is killed once a case is done; run again, it makes those that are left, and nothing half made stays."""
    root, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(patients, root)
    plan = plan_of(root, out, capsys)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")
    process = subprocess.Popen([sys.executable, str(script), str(ROOT), str(plan), str(out)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list((out / ".verimask" / "done").glob("*"))) >= 1)
        pids = children_of(process.pid, "running.worker")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(LONGEST_S)
    wait_for(lambda: all(map(is_gone, pids)))
    made = len(list((out / ".verimask" / "done").iterdir()))
    assert len(list(run_part(plan, "1/1", out, 1))) == CASES - made
    assert cohort("merge", plan, "--no-page") == 0
    assert tree_of(out) == whole
    assert list((out / ".verimask" / "work").iterdir()) == []
