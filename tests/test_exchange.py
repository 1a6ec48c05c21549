"""Files that are replaced together: all of them or none, where a rename fails and where a kill comes at any of them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.cli.main import main
from pipeline.conversion.convert import convert
from pipeline.conversion.write import parts_in_place
from pipeline.core import exchange, leftovers
from pipeline.core.atomic_file import all_in_place
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from tests.helpers.phantom import Spec, write
from tests.helpers.watching import ROOT

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
NAMES = ("m.json", "m_labels.txt", "m.nii.gz")
OLD = {name: f"old {name}" for name in NAMES}
NEW = {name: f"new {name}" for name in NAMES}
PAGE = {"m.html": "old m.html"}  # of the old ones
_REPLACES = """
from pathlib import Path
from threading import Barrier
from pipeline.core.atomic_file import all_in_place
names = {names!r}
gone = [Path(name) for name in ("m.html",) if Path(name).exists()]
with all_in_place([Path(name) for name in names], overwrite=True, gone=gone) as parts:
    for part, name in zip(parts, names):
        part.write_text("new " + name)
"""


@pytest.fixture(autouse=True)
def _looked_nowhere() -> Iterator[None]:
    leftovers._looked_at.clear()
    yield
    leftovers._looked_at.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an old file in each place."""
    _fill(tmp_path)
    return tmp_path


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none."""

    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(exchange.os, "link", no_link)


def _fill(folder: Path) -> None:
    for name, text in OLD.items():
        (folder / name).write_text(text)


def _found(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def _replace(folder: Path, *, fails_at: int | None = None) -> None:
    gone = [folder / name for name in PAGE if (folder / name).exists()]
    with all_in_place([folder / name for name in NAMES], overwrite=True, gone=gone) as parts:
        for part, name in zip(parts, NAMES, strict=True):
            part.write_text(f"new {name}")
        if fails_at is not None:
            parts[fails_at].unlink()
            parts[fails_at].mkdir()  # a folder never replaces a file: this rename fails, after those before it


def _found_files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def _killed_at(kind: str, number: int, folder: Path) -> int:
    """Replace the files in a process that is killed before its n-th move; its exit code."""
    head = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom tests.kills.at_move import Moment, signal_at\n"
    code = head + f"signal_at(Moment({kind!r}, {number}, 9))\n" + _REPLACES.format(names=NAMES)
    return subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode


def _verimask(words: list[str], *, place: int = 0, move: int = 0, signum: int = 9) -> subprocess.CompletedProcess[str]:
    """Run the command line. place, move: the number of the file before whose placing, or of the move, it gets a signal at."""
    at = ["place", f"{place}"] if place else ["move", f"{move}"]
    head = ["-m", "tests.kills.at_move", *at, f"{signum}", ""] if place or move else ["-m", "pipeline"]
    return subprocess.run([sys.executable, *head, *words], cwd=ROOT, capture_output=True, text=True, check=False)


def test_all_are_replaced_and_nothing_is_left(folder: Path) -> None:
    _replace(folder)
    assert _found(folder) == NEW


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_where_one_rename_fails_all_old_ones_are_there(folder: Path, fails_at: int) -> None:
    with pytest.raises(PipelineError) as refused:
        _replace(folder, fails_at=fails_at)
    assert refused.value.finding.code is Code.CANNOT_WRITE
    assert refused.value.finding.where == (NAMES[fails_at],)
    assert _found(folder) == OLD


@pytest.mark.usefixtures("without_links")
def test_all_are_replaced_where_there_are_no_links(folder: Path) -> None:
    _replace(folder)
    assert _found(folder) == NEW


@pytest.mark.usefixtures("without_links")
@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_where_one_rename_fails_all_old_ones_are_put_back(
    folder: Path, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = exchange._keep

    def lose(target: Path, aside: Path) -> None:
        keep(target, aside)
        assert aside.exists()
        assert not target.exists()
        if target.name == NAMES[fails_at]:
            (aside.parents[1] / "new" / target.name).unlink()

    monkeypatch.setattr(exchange, "_keep", lose)
    with pytest.raises(PipelineError) as refused:
        _replace(folder)
    assert refused.value.finding.where == (NAMES[fails_at],)
    assert _found(folder) == OLD


@pytest.mark.usefixtures("without_links")
@pytest.mark.parametrize("is_decided", [False, True])
def test_what_was_moved_aside_comes_back_after_a_kill(folder: Path, is_decided: bool) -> None:
    words = leftovers.own_mark().split("-")
    at = folder / f".{'-'.join([*words[:4], '1', 'aa'])}{exchange.DECIDED if is_decided else exchange.PREPARED}"
    for inner, texts in (("old", OLD), ("new", NEW)):
        (at / inner).mkdir(parents=True)
        for name, text in texts.items():
            (at / inner / name).write_text(text)
    for name in ("m.nii.gz", "m_labels.txt"):
        (folder / name).unlink()
    (at / "old" / "m.json").unlink()  # it was not moved aside yet; or has its new place already
    if is_decided:
        (at / "new" / "m.json").replace(folder / "m.json")
    leftovers.remove_dead(folder)
    assert _found(folder) == (NEW if is_decided else OLD)


def test_what_was_not_there_before_is_not_there_after_a_failure(folder: Path) -> None:
    (folder / "m.json").unlink()
    with pytest.raises(PipelineError):
        _replace(folder, fails_at=2)
    assert _found(folder) == {name: text for name, text in OLD.items() if name != "m.json"}


def test_a_folder_in_the_place_of_a_mask_costs_no_record(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("old")
    (tmp_path / "m.nii.gz" / "inner").mkdir(parents=True)
    with pytest.raises(PipelineError), parts_in_place(tmp_path / "m.nii.gz", None, overwrite=True):
        pass
    assert (tmp_path / "m.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.json", "m.nii.gz"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes files of others")
def test_a_file_of_another_in_a_folder_for_all_costs_no_record(tmp_path: Path) -> None:
    """As in /tmp: who may write into the folder, and into the file, still may not replace it."""
    place = tmp_path / "for all"
    place.mkdir()
    _fill(place)
    os.chown(place / "m.json", 65534, -1)
    (place / "m.nii.gz").chmod(0o666)
    place.chmod(0o1777)
    code = (
        "import os\n"
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import pipeline.core.atomic_file, pipeline.core.exchange, pipeline.conversion.write\n"
        f"os.chdir({str(place)!r}); os.setuid(65534)\n" + _REPLACES.format(names=("m.json", "m.nii.gz"))
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "m.nii.gz cannot be written: Operation not permitted" in done.stderr
    assert _found(place) == OLD


@pytest.mark.parametrize("page", [{}, PAGE], ids=["three", "and their page"])
def test_whatever_move_a_kill_comes_at_the_next_run_has_all_or_none(tmp_path: Path, page: dict[str, str]) -> None:
    ends = []
    for number in range(1, 100):
        place = tmp_path / f"{number}"
        place.mkdir()
        _fill(place)
        for name, text in page.items():
            (place / name).write_text(text)
        if _killed_at("move", number, place) == 0:
            assert _found(place) == NEW
            break
        between = {name: text for name, text in _found_files(place).items() if name in NAMES}
        assert set(between) == set(NAMES), "each place holds a whole file at any time"
        leftovers._looked_at.clear()
        leftovers.remove_dead(place)
        assert _found(place) in (OLD | page, NEW)
        assert _found(place) == NEW or between == OLD
        ends.append(_found(place) == NEW)
    assert ends == sorted(ends)  # once it is decided it is so
    assert ends.count(True) > 3
    assert ends.count(False) > 3


def test_what_belongs_to_the_old_ones_stays_where_they_stay(folder: Path) -> None:
    (folder / "m.html").write_text(PAGE["m.html"])
    with pytest.raises(PipelineError):
        _replace(folder, fails_at=2)
    assert _found(folder) == OLD | PAGE


@pytest.mark.parametrize("whose", ["the old one's", "somebody's"])
def test_a_page_goes_where_a_kill_came_before_and_only_that_of_the_old_ones(folder: Path, whose: str) -> None:
    words = leftovers.own_mark().split("-")
    at = folder / f".{'-'.join([*words[:4], '1', 'aa'])}{exchange.DECIDED}"
    for inner in ("old", "new", "gone"):
        (at / inner).mkdir(parents=True)
    (at / "gone" / "m.html").write_text("page")
    if whose == "somebody's":
        (folder / "m.html").write_text("page")
    else:
        os.link(at / "gone" / "m.html", folder / "m.html")
    leftovers.remove_dead(folder)
    assert _found(folder) == OLD | ({"m.html": "page"} if whose == "somebody's" else {})


@pytest.mark.parametrize("report", [True, False])
def test_what_was_made_of_a_mask_goes_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], report: bool) -> None:
    """Its page and its names would be taken for those of the new one. What somebody wrote stays."""
    for name, radius in (("one", 2), ("two", 3)):
        write(tmp_path / name, replace(SMALL, content="mask", radius_mm=radius))
    words = ["-o", str(tmp_path / "m.nii.gz"), "--crosscheck", "off"]
    pages = ["--report"]
    assert _run("convert", str(tmp_path / "one"), *words, *pages, "--labels-file", "bids") == 0
    before = (tmp_path / "m.html").read_text("utf-8")
    (tmp_path / "m_labels.txt").write_text("mine")
    capsys.readouterr()
    assert _run("convert", str(tmp_path / "two"), *words, *pages[: int(report)], "-w", "overwrite") == 0
    said = " ".join(capsys.readouterr().out.split())
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {"m.nii.gz", "m.json", "m_labels.txt", *(["m.html"] * report)}
    assert f"removed with the file that was replaced: m_dseg.tsv{'' if report else ', m.html'}" in said
    assert not report or (tmp_path / "m.html").read_text("utf-8") != before


def test_names_that_somebody_changed_stay(tmp_path: Path) -> None:
    write(tmp_path / "dicom", replace(SMALL, content="mask"))
    words = ["convert", str(tmp_path / "dicom"), "-o", str(tmp_path / "m.nii.gz"), "--crosscheck", "off"]
    assert _run(*words, "--labels-file", "slicer") == 0
    with (tmp_path / "m.ctbl").open("a") as file:
        file.write("# mine\n")
    assert _run(*words, "-w", "overwrite") == 0
    assert (tmp_path / "m.ctbl").exists()


def _run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


def test_a_killed_worker_is_made_up_for_by_who_goes_on(tmp_path: Path) -> None:
    """It is known by its mark to be no more, and what it left is settled at once."""
    _fill(tmp_path)
    _killed_at("place", 2, tmp_path)
    assert _found_files(tmp_path)["m.json"] == NEW["m.json"]
    assert _found_files(tmp_path)["m.nii.gz"] == OLD["m.nii.gz"]
    (left,) = (path for path in tmp_path.iterdir() if path.is_dir())
    leftovers.remove_of(tmp_path, left.name.removeprefix(".").rpartition("-")[0] + "-")
    assert _found(tmp_path) == NEW


def test_what_somebody_put_there_since_stays(tmp_path: Path) -> None:
    _fill(tmp_path)
    _killed_at("place", 2, tmp_path)
    (tmp_path / "m.nii.gz").unlink()
    (tmp_path / "m.nii.gz").write_text("somebody's")
    leftovers.remove_dead(tmp_path)
    assert _found(tmp_path) == NEW | {"m.nii.gz": "somebody's"}


def test_a_record_that_came_alone_takes_no_place_from_somebody(tmp_path: Path) -> None:
    """Without -w overwrite as well: the record has its place, the image not yet, and somebody puts another one there."""
    write(tmp_path / "dicom", SMALL)
    out = tmp_path / "out"
    out.mkdir()
    convert([tmp_path / "dicom"], out / "m.nii.gz", policy=Policy(crosscheck="off"))
    words = leftovers.own_mark().split("-")
    (out / "m.nii.gz").rename(out / f".{'-'.join([*words[:4], '1', ''])}aa.m.nii.gz.partial")
    (out / "m.nii.gz").write_text("somebody's")
    leftovers._looked_at.clear()
    leftovers.remove_dead(out)
    assert sorted(path.name for path in out.iterdir()) == ["m.json", "m.nii.gz"]
    assert (out / "m.nii.gz").read_text() == "somebody's"


def test_between_two_moves_the_record_vouches_for_no_other_mask(tmp_path: Path) -> None:
    """What stands there until the next run is told from what is proven."""
    write(tmp_path / "dicom", SMALL)
    out = tmp_path / "out"
    out.mkdir()
    words = ["convert", str(tmp_path / "dicom"), "-o", str(out / "m.nii.gz"), "--crosscheck", "off"]
    _verimask([*words, "--orient", "RAS"])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    killed = _verimask([*words, "-w", "overwrite"], place=2)
    assert killed.returncode == -9
    assert (out / "m.json").read_bytes() != before["m.json"]
    assert (out / "m.nii.gz").read_bytes() == before["m.nii.gz"]
    verified = _verimask(["verify", str(out / "m.nii.gz"), "--json"])
    assert verified.returncode == 12
    assert "BROKEN" in verified.stdout
    again = _verimask([*words, "-w", "skip"])
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(before)
    assert _verimask(["verify", str(out / "m.nii.gz")]).returncode == 0


@pytest.mark.parametrize("signum", [9, 15])
def test_a_case_and_its_golden_record_come_together(tmp_path: Path, signum: int) -> None:
    """They lie in two folders, and the list is replaced, whatever else a person has in it."""
    write(tmp_path / "dicom", SMALL)
    (tmp_path / "cases.toml").write_text("# mine\n")
    words = [
        "regress",
        str(tmp_path / "cases.toml"),
        "--add",
        str(tmp_path / "dicom"),
        "--id",
        "a",
        "--crosscheck",
        "off",
    ]
    stopped = _verimask(words, place=2, signum=signum)
    assert stopped.returncode == (-9 if signum == 9 else 128 + signum), stopped.stderr
    again = _verimask(words)
    assert "has a case a already" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.toml", "dicom", "golden"]
    assert [path.name for path in (tmp_path / "golden").iterdir()] == ["a.json"]
    assert (tmp_path / "cases.toml").read_text().startswith("# mine\n")


def test_a_file_in_its_place_keeps_no_temporary_name_even_where_the_next_run_refuses(tmp_path: Path) -> None:
    words = ["mimics-script", "-o", str(tmp_path / "export_masks.py")]
    assert _verimask(words, move=2).returncode == -9  # between the link to its place and the end of the other name
    assert len(list(tmp_path.iterdir())) == 2
    assert "is already there" in _verimask(words).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["export_masks.py"]


def test_a_command_that_is_stopped_as_it_clears_up_still_does(tmp_path: Path) -> None:
    """One that needs no temporary folder: nothing but what it writes has to go."""
    words = ["mimics-script", "-o", str(tmp_path / "export_masks.py")]
    assert _verimask(words, move=2, signum=15).returncode == 128 + 15
    assert [path.name for path in tmp_path.iterdir()] == ["export_masks.py"]


@pytest.mark.parametrize("ending", [exchange.PREPARED, exchange.DECIDED])
def test_several_that_make_up_for_one_leave_nothing(tmp_path: Path, ending: str) -> None:
    """As a run and its workers do, which all look into the folder that they write to."""
    names = [f"{number}.json" for number in range(300)]
    journal = tmp_path / f".verimask-1{ending}"
    for inner in ("old", "new"):
        (journal / inner).mkdir(parents=True)
        for name in names:
            (journal / inner / name).write_text(inner)
    for name in names:
        os.link(journal / "old" / name, tmp_path / name)
    start = Barrier(3)

    def make_up() -> None:
        start.wait()
        exchange.make_up_for(journal)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(make_up) for _ in range(3)]:
            done.result()
    expected = "old" if ending == exchange.PREPARED else "new"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, expected)
