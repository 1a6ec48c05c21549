"""Several processes give what one gives, byte for byte and in the same order, whatever becomes of them."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from pipeline import Code, Outcome, PipelineError, Policy, Request, convert_all
from pipeline.cli.main import main
from pipeline.conversion.convert import convert_each
from pipeline.conversion.convert_entry import Batch
from pipeline.conversion.looks import Looks
from pipeline.conversion.option_effects import Asked
from pipeline.conversion.output_path import plan_paths
from pipeline.conversion.processes import first_message, split
from pipeline.conversion.products import find_entries
from pipeline.conversion.request import RunDetails
from pipeline.conversion.source import images_in
from pipeline.core import workers
from pipeline.core.leftovers import remove_of
from pipeline.crosscheck.panel import Panel
from pipeline.dicom.scan import Scan
from tests.helpers import rtphantom, segs
from tests.helpers.leases import hold
from tests.helpers.phantom import Spec, write
from tests.helpers.watching import LONGEST_S, ROOT, children_of, is_gone, wait_for
from tests.test_commands import bundle

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
IMAGE = Policy(as_="image", crosscheck="off")  # an image is read while it is written


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks, images that are none, a SEG of segments that overlap, ROIs of equal and of refused ones, and a bundle."""
    folder = tmp_path_factory.mktemp("jobs") / "in"
    write(folder / "one", SMALL, series_number=1, seed="one", description="liver")
    write(folder / "empty", SMALL, series_number=2, seed="two", description="empty", labels=(0,))
    write(folder / "many", SMALL, series_number=3, seed="three", content="index", bits_allocated=16, shape=(9, 8, 7))
    write(folder / "last", SMALL, series_number=90, seed="four", description="liver")
    (folder / "seg").mkdir()
    segs.write_seg(folder / "seg" / "seg.dcm", segs.frames_of(segs.blobs(3, overlap=True)), names=("a", "b", "a"))
    grid = rtphantom.grid(shape=(12, 10, 4))
    rtphantom.write_images(folder / "rt" / "ct", grid)
    shapes = [rtphantom.rectangle(2.2 + n, 8.1, 1.3, 6.2) for n in range(4)]
    names = ("organ", "organ", "Organ", "organ_2")
    rois = [
        rtphantom.PhantomRoi(name, [rtphantom.on(grid, shape, k) for k in (1, 2)], n)
        for n, (name, shape) in enumerate(zip(names, shapes, strict=True), 1)
    ]
    rois.append(rtphantom.PhantomRoi("outside", [rtphantom.on(grid, shapes[0] + 500, 1)], 5))
    rtphantom.write_struct(folder / "rt" / "rs.dcm", rois)
    bundle(folder / "bundle", "bone", "tumour")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(capsys: pytest.CaptureFixture[str], *given: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in given])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize(
    "options",
    [
        ("--crosscheck", "off"),
        ("--combine", "separate", "--report"),
        ("--as", "image"),
        ("--images", "--crosscheck", "off"),
        ("-w", "suffix", "--crosscheck", "off"),
    ],
    ids=["labels", "cross-checked", "images", "partners", "beside"],
)
def test_any_number_of_processes_gives_the_same(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    seen = []
    for jobs in ("1", "2", "3"):
        out = tmp_path / jobs / "out"
        for _ in range(2 if "suffix" in options else 1):
            printed = run(capsys, "convert", study, "-o", f"{out}/", f"--jobs={jobs}", *options)
        seen.append((*printed, tree(out)))
    one, two, three = seen
    assert two == one
    assert three == one
    assert one[0] == 8
    assert len(one[3]) > 8
    assert "REFUSED" in one[2]


def test_masks_on_a_source_that_was_given_are_the_same(study: Path, tmp_path: Path) -> None:
    seen = [
        convert_all(
            study / "rt" / "rs.dcm", tmp_path / f"{jobs}", request=Request(source=study / "rt" / "ct"), jobs=jobs
        )
        for jobs in (1, 2, 3)
    ]
    names = ["organ", "organ_2", "Organ_3", "organ_2_3"]
    for jobs, (done, refused) in enumerate(seen, 1):
        assert [one.output.name for one in done] == [f"rtstruct_seg-{name}.nii.gz" for name in names]
        assert {one.verdict for one in done} == {"VERIFIED"}
        assert [error.finding for error in refused] == [error.finding for error in seen[0][1]] != []
        assert tree(tmp_path / f"{jobs}") == tree(tmp_path / "1")


def test_a_source_is_looked_at_before_it_goes_to_every_process(tmp_path: Path) -> None:
    """What a process is sent knows its headers and its digests: it answers when the files are gone."""
    source = rtphantom.write_images(tmp_path / "ct", rtphantom.grid(shape=(12, 10, 4)))
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in source.iterdir()}
    asked = Asked(Request(source=source), IMAGE, gzipped=True, in_one=False, looks=Looks())
    batch, _ = pickle.loads(first_message(Batch(asked, RunDetails(asked.looks, request={}), tmp_path, ()), 2))
    known = batch.asked.looks
    assert known is batch.details.looks
    assert known.digests(digests) == digests
    shutil.rmtree(source)
    (series,) = images_in(Scan((), ()), [source], known)[1]
    assert {header.path for header in series.headers} == digests.keys()


def test_no_more_processes_than_masks_work_on_one_input(study: Path, tmp_path: Path) -> None:
    asked = Asked(Request(), Policy(combine="separate"), gzipped=True, in_one=False, looks=Looks())
    counts = {}
    for name in ("rt", "seg", "one"):
        plan = find_entries([study / name], asked, lambda *_: None)
        tasks = split(plan, asked, 8)
        counts |= {entry.series.kind: sum(t.number == n for t in tasks) for n, entry in enumerate(plan.entries)}
    assert counts == {"rtstruct": 5, "seg": 3, "image": 1}
    assert len(split(find_entries([study / "rt"], asked, lambda *_: None), asked, None)) == 2


def test_lines_come_in_the_order_of_the_inputs(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, printed, errors = run(capsys, "convert", study, "-o", f"{tmp_path}/", "--jobs", "3", "--crosscheck", "off")
    written = [word for line in printed.splitlines() for word in line.split() if word.endswith(".nii.gz")]
    series = [name for name in written if name[0].isdigit()]
    assert series == sorted(series, key=lambda name: int(name.split("_")[0]))
    assert errors.index("ROI “outside”") < errors.index("“empty”")  # which might be an image, so it is settled last
    assert printed.index("“phantom”") < printed.index("PARTNER")


def test_paths_follow_from_the_names_alone() -> None:
    here = Path("out")

    def planned(name: str, *suffixes: str, others: tuple[str, ...] = (), may_resample: bool = False) -> list[str]:
        paths = plan_paths(here, name, suffixes, sorted((name, *others), key=str.casefold), may_resample=may_resample)
        return [path.name.removesuffix(".nii.gz") for path in paths]

    assert planned("ct", "seg-a", "seg-A", "seg-a", "seg-a_2") == [
        "ct_seg-a",
        "ct_seg-A_2",
        "ct_seg-a_3",
        "ct_seg-a_2_3",
    ]
    assert planned("ct", "seg-a", "seg-a_resampled") == ["ct_seg-a", "ct_seg-a_resampled"]
    resampled = planned("ct", "seg-a", "seg-a_resampled", may_resample=True)
    assert resampled == ["ct_seg-a", "ct_seg-a_resampled_2"]
    # "ct_seg-a" is another series, and may have masks of its own.
    (own,) = planned("ct", "seg-a", others=("CT_seg-a",))
    assert own.startswith("ct_seg-a_")
    assert planned("CT_seg-a", "", others=("ct",)) == ["CT_seg-a"]
    assert planned("ct", "", others=("ct2", "b")) == ["ct"]


# What is no number of processes, and where there is one file


@pytest.mark.parametrize(("value", "words"), [("0", "from 1"), ("-1", "from 1"), ("x", "invalid int value: 'x'")])
def test_what_is_no_number_of_processes_is_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, words: str
) -> None:
    code, _, errors = run(capsys, "convert", study, "-o", f"{tmp_path / 'out'}/", f"--jobs={value}")
    assert code == 64
    assert words in " ".join(errors.split())
    assert not (tmp_path / "out").exists()
    assert run(capsys, "convert", study / "one", "-o", tmp_path / "a.nii.gz", f"--jobs={value}")[0] == 64


@pytest.mark.parametrize("output", ["a.nii.gz", "out/"])
def test_one_file_is_made_by_one_process(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    given = [study / "one", "-o", tmp_path / output if output.endswith("gz") else f"{tmp_path / output}/"]
    merged = () if output.endswith("gz") else ("--merge",)
    code, _, errors = run(capsys, "convert", *given, "--jobs", "2", *merged)
    assert code == 64
    assert "--jobs has no effect here" in " ".join(errors.split())
    assert run(capsys, "convert", *given, "--jobs", "1", *merged)[0] == 0


def test_cores_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_sharing", [1])
    cores = workers.count_cores()
    assert 1 <= cores <= len(os.sched_getaffinity(0))
    workers.share_cores(cores)
    assert workers.count_cores() == 1
    workers.share_cores(1000)
    assert workers.count_cores() == 1


@pytest.mark.parametrize(("limit", "cores"), [("max 100000", 0), ("150000 100000", 2), ("20000 100000", 1), ("?", 0)])
def test_a_control_group_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(workers, "_CGROUPS", tmp_path)
    assert workers._cores_of_group() == cores


# What becomes of processes that die, and of those that are broken off


def test_a_process_that_died_before_it_named_its_files_leaves_those_of_others(tmp_path: Path) -> None:
    files = [tmp_path / f".{mark}1234.mask.nii.gz.partial" for mark in ("aaaa", "bbbb")]
    for path in files:
        path.touch()
    remove_of(tmp_path, "")
    assert all(path.exists() for path in files)
    remove_of(tmp_path, "aaaa")
    assert [path.exists() for path in files] == [False, True]


def test_a_panel_of_the_caller_serves_the_next_run_too(study: Path, tmp_path: Path) -> None:
    policy = Policy(crosscheck="affine")
    with Panel(policy) as panel:
        convert_all([study / "one", study / "last"], tmp_path / "a", policy=policy, panel=panel, jobs=2)
        done, _ = convert_all([study / "one"], tmp_path / "b", policy=policy, panel=panel)
    assert [outcome.verdict for outcome in done] == ["VERIFIED"]


NUMBERS = range(1, 6)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for n in NUMBERS:
        write(tmp_path / "in" / f"{n}", SMALL, series_number=n, seed=f"{n}", description=f"mask {n}")
    return tmp_path / "in"


def block(folder: Path, *numbers: int) -> Callable[[str, int, int], None]:
    """Progress that lets the reading of a file of each series wait, once all headers are read."""
    files = len(list(folder.rglob("*.dcm")))

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "reading headers" and done == files:
            hold([max((folder / f"{number}").iterdir()) for number in numbers])

    return progress


def test_a_process_that_dies_costs_its_input_and_no_other(series: Path, tmp_path: Path) -> None:
    """Both processes hang in the first two series and are killed; others take their place."""
    killed: list[int] = []

    def kill_two() -> None:
        try:
            wait_for(lambda: len(list((tmp_path / "out").glob(".*.nii.gz.partial"))) == 2)
        finally:  # or the test would wait for ever
            killed.extend(children_of(os.getpid()))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    killing = Thread(target=kill_two, daemon=True)
    killing.start()
    results = list(convert_each(series, tmp_path / "out", policy=IMAGE, jobs=2, progress=block(series, 1, 2)))
    killing.join()
    assert len(killed) == 2
    assert [isinstance(result, PipelineError) for result in results] == [True, True, False, False, False]
    for number, error in enumerate(results[:2], 1):
        assert isinstance(error, PipelineError)
        assert error.finding.code is Code.PROCESS_ENDED
        assert error.finding.message.startswith(f"series {number} “mask {number}”: ")
        assert "killed by SIGKILL" in error.finding.message
        assert error.exit == 1
    assert [r.output.name for r in results[2:] if isinstance(r, Outcome)] == [f"{n}_mask-{n}.nii.gz" for n in (3, 4, 5)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        f"{n}_mask-{n}.{ending}" for n in (3, 4, 5) for ending in ("nii.gz", "json")
    )
    assert children_of(os.getpid()) == []


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.test_jobs import IMAGE, block, Path
from verimask import convert_all
given = Path(sys.argv[2])
blocked = [int(number) for number in sys.argv[4:]]
done, refused = convert_all(given, sys.argv[3], policy=IMAGE, jobs=2, progress=block(given, *blocked))
print(len(done), len(refused))
"""  # no guard against being imported again: nothing imports it


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the script on a folder, which it converts into another one, with series that it hangs in."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, out: Path, *numbers: int) -> subprocess.Popen[str]:
        given = [sys.executable, str(path), str(ROOT), str(folder), str(out), *map(str, numbers)]
        started.append(subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_script_needs_no_guard(series: Path, tmp_path: Path, script: Callable[..., subprocess.Popen[str]]) -> None:
    printed, errors = script(series, tmp_path / "out").communicate(timeout=LONGEST_S)
    assert (printed.split(), errors) == (["5", "0"], "")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_is_broken_off_leaves_no_process_and_no_half_file(
    series: Path, tmp_path: Path, script: Callable[..., subprocess.Popen[str]], sent: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = script(series, out, 2, 3)
    wait_for(lambda: (out / "1_mask-1.json").exists() and len(list(out.glob(".*.nii.gz.partial"))) == 2)
    pids = children_of(process.pid)
    assert len(pids) == 2
    process.send_signal(sent)
    process.communicate(timeout=LONGEST_S)
    assert process.returncode == -sent
    wait_for(lambda: all(map(is_gone, pids)))
    assert sorted(p.name for p in out.iterdir()) == ["1_mask-1.json", "1_mask-1.nii.gz"]
