"""What the benchmark is made of: its data in small, what it measures of a process, its checks, its table and its aims."""

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
from numpy.typing import NDArray

from pipeline.cli.main import main
from pipeline.dicom.scan import scan
from tests.helpers import bench
from tests.helpers.bench_rows import rows_of
from tests.helpers.bench_table import HEAD, Aim, lines_of, replaced, summary
from tests.helpers.bench_tools import Run, Tool, _fields, plastimatch
from tests.helpers.benchcheck import CHECKS, files_of
from tests.helpers.benchdata import write_compressed, write_series
from tests.helpers.benchdata_many import write_batch, write_files, write_volumes
from tests.helpers.benchdata_masks import write_nested, write_pair, write_rtstruct, write_seg
from tests.helpers.benchsets import folder_of

NAMES = sorted({*bench.WAITED, *bench.SCANNED, *bench.SINGLE, *bench.FAST})


def walls(*seconds: float, problem: str = "") -> list[Run]:
    return [Run(s, 2 * s, 100 + s, 1_000_000, 1, problem) for s in seconds]


def made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def convert(source: Path, out: Path | str, *options: str) -> None:
    """What our command writes, verified."""
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(source), "-o", str(out), "-q", *options])
    assert not ended.value.code


def masks(source: Path, images: Path, out: Path) -> list[NDArray[np.uint8]]:
    """What our command makes of a mask on its images."""
    convert(source, f"{out}/", "--source", str(images))
    return [np.asanyarray(nibabel.load(path).dataobj) for path in files_of(out)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_series(folder, 20, side=64)
    return folder


def program(code: str, **options: float) -> Tool:
    """A program of Python lines, whose arguments are the output and its folder."""
    return Tool("program", lambda _, t: [sys.executable, "-c", code, str(t)], "out.nii", **options)  # type: ignore[arg-type]


# The data.


def test_the_series_are_read(tmp_path: Path) -> None:
    for name, is_mask in (("ct", False), ("mask", True)):
        write_series(made(tmp_path / name), 10, mask=is_mask, side=32)
        options = [] if is_mask else ["--as", "image"]
        convert(tmp_path / name, tmp_path / f"{name}.nii", *options)
        assert nibabel.load(tmp_path / f"{name}.nii").shape == (32, 32, 10)


@pytest.mark.parametrize("kind", ["rle", "jpegls", "j2k"])
def test_a_compressed_copy_holds_the_same(tmp_path: Path, images: Path, kind: str) -> None:
    write_compressed(made(tmp_path / kind), images, kind)
    for folder, name in ((images, "one.nii"), (tmp_path / kind, "other.nii")):
        convert(folder, tmp_path / name, "--as", "image")
    assert CHECKS["values"]([tmp_path / "one.nii"], [tmp_path / "other.nii"]) == ""


def test_the_structure_set_has_its_rois(tmp_path: Path, images: Path) -> None:
    write_rtstruct(made(tmp_path / "rs"), images, rois=3, planes=6)
    found = masks(tmp_path / "rs", images, tmp_path / "out")
    assert [sorted(set(np.nonzero(mask)[2])) for mask in found] == [list(range(5 * n, 5 * n + 6)) for n in range(3)]


def test_the_body_has_no_lungs(tmp_path: Path, images: Path) -> None:
    write_nested(made(tmp_path / "rs"), images, planes=4, points=(100, 40, 40))
    (mask,) = masks(tmp_path / "rs", images, tmp_path / "out")
    area = np.count_nonzero(mask, axis=(0, 1)) * 0.7 * 0.8 * 8 * 8
    # Ellipses, whose swell of 6 % adds 0.18 % to each area.
    expected = np.pi * (143 * 128 - 42 * 72 - 41 * 70) * 1.0018
    np.testing.assert_allclose(area[:4], expected, rtol=0.03)
    assert not area[4:].any()


def test_the_pair_is_a_ring(tmp_path: Path, images: Path) -> None:
    write_pair(made(tmp_path / "rs"), images, points=300)
    (mask,) = masks(tmp_path / "rs", images, tmp_path / "out")
    area = np.count_nonzero(mask, axis=(0, 1)) * 0.7 * 0.8 * 8 * 8
    np.testing.assert_allclose(area[1], np.pi * (143 * 128 - 90 * 70) * 1.0018, rtol=0.03)
    assert np.flatnonzero(area).tolist() == [1]


def test_the_segments_do_not_touch(tmp_path: Path, images: Path) -> None:
    write_seg(made(tmp_path / "seg"), images)
    (labels,) = masks(tmp_path / "seg", images, tmp_path / "out")
    assert np.unique(labels).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_volumes_are_one_series_over_time(tmp_path: Path) -> None:
    write_volumes(made(tmp_path / "in"), 3, planes=4, side=16)
    convert(tmp_path / "in", f"{tmp_path / 'out'}/", "--as", "image")
    (path,) = files_of(tmp_path / "out")
    array = np.asanyarray(nibabel.load(path).dataobj)
    assert array.shape == (16, 16, 4, 3)
    assert np.unique(np.diff(array, axis=3)).tolist() == [1]


def test_the_batch_is_of_many_series(tmp_path: Path) -> None:
    write_batch(tmp_path, 3, planes=4, side=16)
    found = scan([tmp_path]).series
    assert [len(series.frames) for series in found] == [4, 4, 4]
    assert len({series.uid for series in found}) == 3


@pytest.mark.parametrize(("series", "same_uid", "instances"), [(1, False, 12), (4, False, 12), (1, True, 1)])
def test_the_many_files_are_of_so_many_series(tmp_path: Path, series: int, same_uid: bool, instances: int) -> None:
    from pydicom import dcmread

    write_files(tmp_path, 12, series, same_uid=same_uid)
    headers = [dcmread(path) for path in tmp_path.rglob("*.dcm")]
    assert len(headers) == 12
    assert len({h.SeriesInstanceUID for h in headers}) == series
    assert len({h.SOPInstanceUID for h in headers}) == instances
    assert len({h.ImagePositionPatient[2] for h in headers}) == len({h.InstanceNumber for h in headers}) == 12


def test_a_set_is_built_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "volumes1")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 24
    assert folder_of(tmp_path, "volumes1") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


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


# The checks.


def saved(path: Path, array: NDArray[np.int16], affine: NDArray[np.float64]) -> list[Path]:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return [path]


def test_files_are_compared_where_their_voxels_lie(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    affine = np.diag([2.0, 3, 4, 1])
    turned = affine @ np.array([[0, 0, -1, 2], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    other = array.transpose(1, 2, 0)[..., ::-1]
    one = saved(tmp_path / "one.nii", array, affine)
    assert CHECKS["values"](one, saved(tmp_path / "turned.nii", other, turned)) == ""
    wrong = other.copy()
    wrong[0, 0, 0] += 1
    assert CHECKS["values"](one, saved(tmp_path / "wrong.nii", wrong, turned)) == "1 voxels differ"
    away = affine + np.eye(4, k=3)
    assert CHECKS["values"](one, saved(tmp_path / "away.nii", array, away)).startswith("lies 1.000 mm")
    assert CHECKS["values"](one, saved(tmp_path / "part.nii", array[:2], affine)) == "covers another block"
    assert CHECKS["same"](one, one) == ""
    assert CHECKS["same"](one, [tmp_path / "wrong.nii"]) == "the names of the files differ"


def test_files_of_four_dimensions_are_compared_volume_by_volume(tmp_path: Path) -> None:
    array = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    one = saved(tmp_path / "one.nii", array, np.eye(4))
    assert CHECKS["values"](one, saved(tmp_path / "four.nii", array, np.eye(4))) == ""
    assert CHECKS["values"](one, saved(tmp_path / "back.nii", array[..., ::-1], np.eye(4))) == "48 voxels differ"
    long = saved(tmp_path / "long.nii", array[..., [0, 1, 1]], np.eye(4))
    assert CHECKS["values"](one, long) == "its shape is (2, 3, 4, 3) and not (2, 3, 4, 2)"


def test_masks_are_paired_by_their_numbers(tmp_path: Path) -> None:
    for folder, names in (("one", ["roi 2", "roi 10"]), ("other", ["a2", "a10"])):
        made(tmp_path / folder)
        for n, name in enumerate(names):
            mask = np.zeros((4, 4, 4), np.int16)
            mask[n] = 1
            mask[3, 3, 3] = folder == "other" and n == 1
            saved(tmp_path / folder / f"{name}.nii", mask, np.eye(4))
    words = CHECKS["overlap"](files_of(tmp_path / "one"), files_of(tmp_path / "other"))
    assert words == "Dice with ours 0.9697 or more, median 0.9848; 1 of 32 voxels differ"
    words = CHECKS["some"](files_of(tmp_path / "one"), files_of(tmp_path / "other"))
    assert words == "Dice with ours 1.0000 or more, median 1.0000; 0 of 16 voxels differ in 1 masks of 2"
    words = CHECKS["overlap"](files_of(tmp_path / "one"), files_of(tmp_path / "other")[:1])
    assert words == "Dice with ours 0.6667 or more, median 0.6667; 16 of 32 voxels differ"


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
    one = saved(tmp_path / "one.nii", np.ones((2, 2, 2), np.int16), np.eye(4))[0]
    assert bench._apart("benchcheck", "values", str(one), str(one)) == ""
    assert bench._apart("benchcheck", "overlap", str(one), str(one)).startswith("Dice with ours 1.0000")
    assert os.listdir(tmp_path / "files3") == ["00000"]
