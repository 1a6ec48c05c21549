"""How the benchmark measures a process, its table and aims, and its rows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.helpers import bench
from tests.helpers.bench_rows import rows_of
from tests.helpers.bench_table import HEAD, Aim, lines_of, replaced, summary
from tests.helpers.bench_tools import Run, Tool, _fields, plastimatch
from tests.helpers.benchcheck import CHECKS
from tests.helpers.benchdata import write_series
from tests.helpers.benchdata_masks import write_rtstruct

NAMES = sorted({*bench.WAITED, *bench.SCANNED, *bench.SINGLE, *bench.FAST})


def walls(*seconds: float, problem: str = "") -> list[Run]:
    return [Run(s, 2 * s, 100 + s, 1_000_000, 1, problem) for s in seconds]


def made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_series(folder, 20, side=64)
    return folder


def program(code: str, **options: float) -> Tool:
    """A program of Python lines, whose arguments are the output and its folder."""
    return Tool("program", lambda _, t: [sys.executable, "-c", code, str(t)], "out.nii", **options)  # type: ignore[arg-type]


# The processes.


def test_the_memory_of_all_processes_counts(tmp_path: Path) -> None:
    """Two processes with 100 MB each: more than the largest of them, which is all that the system tells at the end."""
    child = "import sys; block = b'x' * 100_000_000; print(flush=True); sys.stdin.read()"
    code = f"""import subprocess, sys, time
block = b"x" * 100_000_000
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
time.sleep(1)
child.communicate()
open(sys.argv[1], "wb").write(b"12345")"""
    run = program(code).run(tmp_path, tmp_path / "work")
    assert (run.problem, run.written, run.files) == ("", 5, 1)
    assert 190 < run.peak_mib < 260


def test_a_program_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    code = f"""import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(note)!r}, "w").write(str(child.pid))
child.wait()"""
    run = program(code, limit=5).run(tmp_path, tmp_path / "work")
    assert run.problem == "stopped after 5 s with 0 of 1 files"
    child = int(note.read_text())
    for _ in range(1000):  # the system takes its time to end a process
        if not _fields(child):
            return
        time.sleep(0.01)
    pytest.fail("its child goes on")


def test_a_program_that_fails_or_is_missing_says_so(tmp_path: Path) -> None:
    run = program("import sys; sys.exit('no such thing')").run(tmp_path, tmp_path / "work")
    assert run.problem == "failed: status 1, 0 of 1 files: no such thing"
    run = program("pass").run(tmp_path, tmp_path / "work")
    assert run.problem.startswith("failed: status 0, 0 of 1 files")
    missing = Tool("other", lambda *_: ["never run"], program="no-such-program-of-anybody")
    assert missing.run(tmp_path, tmp_path / "work").problem == "not installed"


def test_the_one_that_measures_is_small() -> None:
    """A program begins with the memory peak of the process that starts it."""
    code = (
        "import sys, tests.helpers.bench; sys.exit(' '.join({'numpy', 'pydicom', 'nibabel'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# The table.


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    results = {"ours": walls(1, 9, 4), "theirs": walls(10, 10, 2), "another": walls(20, 5, 8)}
    aim = Aim(0.8, against=("theirs",))
    assert aim.words(results["ours"], {"row": results}, "row") == "≤ 0.8 of theirs: 0.90 **not met**"
    aim = Aim(2.0, against=("theirs", "another"))  # of the fastest in each round: 0.1, 1.8, 2
    assert aim.words(results["ours"], {"row": results}, "row") == "≤ 2 of the fastest of theirs, another: 1.80 met"


def test_aims_of_seconds_memory_and_other_rows() -> None:
    rows = {"row": {"ours": walls(1, 3)}, "small": {"ours": walls(1, 1)}}
    assert Aim(2).words(rows["row"]["ours"], rows, "row") == "≤ 2 s: 2.00 met"
    assert Aim(102, "MiB").words(rows["row"]["ours"], rows, "row") == "≤ 102 MiB: 103 **not met**"
    assert (
        Aim(3, against=("ours",), row="small").words(rows["row"]["ours"], rows, "row")
        == "≤ 3 of ours in small: 2.00 met"
    )


@pytest.mark.parametrize("theirs", [[], walls(0, problem="not installed"), walls(9, problem="stopped after 9 s")])
def test_what_was_not_measured_meets_nothing(theirs: list[Run]) -> None:
    rows = {"row": {"ours": walls(1), **({"theirs": theirs} if theirs else {})}}
    assert Aim(0.5, against=("theirs",)).words(rows["row"]["ours"], rows, "row") == "≤ 0.5 of theirs: not measured"
    assert Aim(0.5).words(walls(1, problem="failed: status 3"), rows, "row") == "≤ 0.5 s: not measured"


def test_a_line_says_what_is_missing_and_the_summary_what_is_not_met() -> None:
    rows = {
        "row": {"ours": walls(3), "theirs": walls(2), "gone": walls(0, problem="not installed")},
    }
    lines = lines_of("row", rows, "theirs", {"ours": [Aim(1), Aim(2, against=("theirs",))]}, {"theirs": "Dice 1"})
    assert lines == [
        "| row | ours | 3.000 | 1.50 | 6.00 | 1.50 | 103 | 1.00 | ≤ 1 s: 3.00 **not met**; ≤ 2 of theirs: 1.50 met |  |",
        "| row | theirs | 2.000 | 1.00 | 4.00 | 1.00 | 102 | 1.00 |  | Dice 1 |",
        "| row | gone |  |  |  |  |  |  |  | not installed |",
    ]
    assert {line.count("|") for line in lines} == {HEAD.splitlines()[0].count("|")}
    assert summary(lines).splitlines() == ["1 of 2 aims met", "", "- row, ours: ≤ 1 s: 3.00 **not met**"]


def test_rows_that_were_measured_again_take_the_place_of_the_old() -> None:
    table = ["| a | x | 1 |", "| b | x | 1 |", "| b | y | 1 |", "| c | x | 1 |"]
    assert replaced(table, ["| b | z | 2 |", "| d | x | 2 |"]) == [
        "| a | x | 1 |",
        "| b | z | 2 |",
        "| c | x | 1 |",
        "| d | x | 2 |",
    ]


def test_the_document_keeps_what_people_wrote(tmp_path: Path) -> None:
    old = "| a | x | 1.000 | 1.00 | 2.00 | 1.00 | 99 | 1.00 |  |  |"
    document = tmp_path / "page.md"
    document.write_text(f"# Speed\n\n{bench.START}\n\n{HEAD}\n{old}\n\n{bench.END}\n\nWhy.\n", "utf-8")
    line = "| b | x | 3.000 | 1.50 | 6.00 | 1.50 | 103 | 1.00 | ≤ 1 s: 3.00 **not met** |  |"
    for _ in range(2):
        bench.write(document, [line])
    text = document.read_text("utf-8")
    assert text.startswith("# Speed\n")
    assert text.endswith(f"{bench.END}\n\nWhy.\n")
    assert text.count(line) == text.count(old) == text.count(HEAD) == 1
    assert "0 of 1 aims met" in text


def test_the_page_of_this_project_can_be_written_anew() -> None:
    measured = bench.DOCUMENT.read_text("utf-8").split(bench.START)[1].split(bench.END)[0]
    table = [line for line in measured.splitlines() if line.startswith("|")]
    assert "\n".join(table[:2]) == HEAD
    assert {line.count("|") for line in table} == {HEAD.splitlines()[0].count("|")}
    assert summary(table[2:]) in measured


# The rows.


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_row_names_only_programs_that_it_runs(name: str, fast: bool) -> None:
    aims = 0
    for suffix in (".nii.gz", ".nii"):
        row = rows_of(name, suffix, Path, fast=fast)
        names = [tool.name for tool in row.programs]
        assert names[0].startswith("verimask")
        assert len(set(names)) == len(names)
        used: Sequence[str] = [*row.checks, *row.aims, *filter(None, [row.base])]
        assert set(used) <= set(names)
        assert set(row.checks.values()) <= set(CHECKS)
        against = {other for found in row.aims.values() for aim in found for other in aim.against if not aim.row}
        assert against <= set(names)
        aims += sum(map(len, row.aims.values()))
    wanted = {"rtstruct", "nested", "pair100000", "volumes97", "volumes300", "batch", "ct300", "mask300"}
    assert aims > 0 or name not in wanted


def test_each_aim_of_another_row_finds_it() -> None:
    row = rows_of("volumes300", "", Path, fast=False)
    (aim,) = row.aims["verimask"]
    assert aim.row == rows_of("volumes97", "", Path, fast=False).name
    assert bench.WAITED.index("volumes97") < bench.WAITED.index("volumes300")


def test_what_ours_did_not_write_is_not_compared(tmp_path: Path) -> None:
    """Ours is stopped, and the other is not: its line stays, and nothing is wrong but the time."""
    row = rows_of("pair100000", "", Path, fast=False)
    ours, other = row.programs
    first = {ours.name: walls(9, problem="stopped after 9 s")[0], other.name: walls(3)[0]}
    measuring = bench.Measuring(1, tmp_path)
    assert measuring._notes(row, first) == {other.name: "not checked: there are no files of ours"}
    assert measuring.wrong == []


@pytest.mark.parametrize(
    ("wall", "seconds", "rounds"),
    [(1, float("inf"), 5), (40, float("inf"), 3), (130, float("inf"), 2), (40, 100, 2), (40, 30, 0), (40, -1, 0)],
)
def test_there_are_as_many_rounds_as_there_is_time_for(
    tmp_path: Path, wall: float, seconds: float, rounds: int
) -> None:
    measuring = bench.Measuring(7, tmp_path, seconds)
    row = rows_of("rtstruct", "", Path, fast=False)
    first = {"ours": walls(wall)[0], "gone": walls(500, problem="stopped after 500 s")[0]}
    assert measuring._rounds(row, first) == rounds


def test_the_short_run_goes_on_without_what_is_not_installed(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole row of real programs, one of which is missing: a line each, nothing wrong."""
    from dataclasses import replace

    write_rtstruct(made(tmp_path / "rs"), images, rois=2, planes=3)
    row = rows_of("rtstruct", "", lambda _: images, fast=True)
    ours, *_ = row.programs
    peer = replace(plastimatch(2, images), program="no-such-program-of-anybody")
    row = replace(row, programs=[replace(ours, files=2), peer], checks={})
    measuring = bench.Measuring(1, tmp_path / "work")
    lines = measuring.lines(row, tmp_path / "rs")
    assert measuring.wrong == []
    assert "≤ 0.15 of plastimatch: not measured; ≤ 150 MiB: " in lines[0]
    assert lines[1].endswith("| not installed |")


def test_parts_run_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules that are run in processes of their own are there."""
    monkeypatch.setattr(bench, "CACHE", tmp_path)
    folder = bench.folder_of("files3")
    assert len(list(folder.rglob("*.dcm"))) == 3
    one = tmp_path / "one.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)), one)
    assert bench._apart("benchcheck", "values", str(one), str(one)) == ""
    assert bench._apart("benchcheck", "overlap", str(one), str(one)).startswith("Dice with ours 1.0000")
    assert os.listdir(tmp_path / "files3") == ["00000"]
