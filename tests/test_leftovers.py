"""What a kill leaves is known by its name and goes with the next run; what others write, and what is not ours, stays."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.conversion.convert import convert
from pipeline.core import leftovers
from pipeline.core.atomic_file import folder_in_place, in_place
from pipeline.core.findings import Code, PipelineError
from pipeline.core.leftovers import own_mark, partial_path, remove_dead
from pipeline.core.policy import Policy
from pipeline.core.temporary_folder import temporary_folder
from tests.helpers.phantom import Spec, write
from tests.helpers.watching import ROOT

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
OFF = Policy(crosscheck="off")
# A process that leaves what it was writing, and tells its mark.
_LEAVES = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from pipeline.core.leftovers import own_mark
from pipeline.core.temporary_folder import make_temporary_folder
make_temporary_folder(sys.argv[1])
print(own_mark(), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def _looked_nowhere() -> Iterator[None]:
    """Folders are looked at once in a process; a test begins a new one."""
    leftovers._looked_at.clear()
    yield
    leftovers._looked_at.clear()


@pytest.fixture
def dead(tmp_path: Path) -> str:
    """The mark of a process that was killed while it had a folder in `tmp_path`/left."""
    (tmp_path / "left").mkdir()
    command = [sys.executable, "-c", _LEAVES.format(root=str(ROOT)), str(tmp_path / "left")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    return done.stdout.strip()


def test_the_folder_of_a_killed_process_goes_with_the_next_one(tmp_path: Path, dead: str) -> None:
    (left,) = (tmp_path / "left").iterdir()
    assert left.name.startswith(dead)
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    with temporary_folder(tmp_path / "left") as made:
        assert list((tmp_path / "left").iterdir()) == [made]
    assert list((tmp_path / "left").iterdir()) == []


def test_only_what_a_dead_process_of_ours_left_is_removed(tmp_path: Path, dead: str) -> None:
    words = own_mark().split("-")
    other_machine = "-".join([words[0], "000000", *words[2:]])
    file, folder = tmp_path / f".{dead}aa.x.nii.partial", tmp_path / f".{dead}bb.x.partial"
    elsewhere = tmp_path / "elsewhere"
    kept = [
        tmp_path / f".{own_mark()}aa.x.nii.partial",  # this process, which lives
        tmp_path / f".{other_machine}aa.x.nii.partial",
        tmp_path / ".verimask-aa.x.partial",
        tmp_path / "verimask-notes.txt",
        tmp_path / f".{dead}zz-y.x.partial",
    ]
    for path in (file, elsewhere, *kept):
        path.write_text("x")
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file").write_text("x")
    link = tmp_path / f".{dead}cc.x.partial"
    link.symlink_to(elsewhere)
    remove_dead(tmp_path)
    assert not file.exists()
    assert not folder.exists()
    assert all(path.exists() for path in (link, elsewhere, *kept))


def test_what_belongs_to_another_user_stays(tmp_path: Path, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f".{dead}aa.x.nii.partial"
    path.write_text("x")
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    remove_dead(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("is_same", [True, False], ids=["of this boot", "of an earlier boot"])
def test_a_process_of_the_same_number_is_another_one(tmp_path: Path, is_same: bool) -> None:
    """Numbers come again: the time of the start tells, and so does the boot."""
    name, machine, boot, pid, started, _ = own_mark().split("-")
    mark = "-".join([name, machine, boot, pid, "1", ""] if is_same else [name, machine, "000000", pid, started, ""])
    path = tmp_path / f".{mark}aa.x.nii.partial"
    path.write_text("x")
    remove_dead(tmp_path)
    assert not path.exists()


def test_the_moment_between_record_and_image_is_made_up_for(tmp_path: Path, dead: str) -> None:
    """The record is in its place: the image, and the labels, were only not moved yet."""
    write(tmp_path / "dicom", SMALL)
    out = tmp_path / "out"
    out.mkdir()
    convert([tmp_path / "dicom"], out / "m.nii.gz", policy=Policy(crosscheck="off", labels_file="itksnap"))
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(whole) == 3
    (out / "m.nii.gz").rename(out / f".{dead}aa.m.nii.gz.partial")
    (out / "m_labels.txt").rename(out / f".{dead}ab.m_labels.txt.partial")
    leftovers._looked_at.clear()  # as in the process of the next run
    with pytest.raises(PipelineError) as refused:
        convert([tmp_path / "dicom"], out / "m.nii.gz", policy=OFF)
    assert refused.value.finding.code is Code.OUTPUT_EXISTS
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole


def test_an_image_without_its_own_record_in_place_is_removed(tmp_path: Path, dead: str) -> None:
    write(tmp_path / "dicom", SMALL)
    convert([tmp_path / "dicom"], tmp_path / "m.nii.gz", policy=OFF)
    before = (tmp_path / "m.nii.gz").read_bytes()
    (tmp_path / f".{dead}aa.m.nii.gz.partial").write_bytes(b"another one")
    leftovers._looked_at.clear()
    remove_dead(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dicom", "left", "m.json", "m.nii.gz"]
    assert (tmp_path / "m.nii.gz").read_bytes() == before


def test_a_temporary_file_is_new_and_has_the_rights_of_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        with in_place(tmp_path / "x", overwrite=False) as part:
            assert stat.S_IMODE(part.stat().st_mode) == 0o640
            part.write_text("x")
        with folder_in_place(tmp_path / "y") as working:
            assert stat.S_IMODE(working.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "y").stat().st_mode) == 0o750
    (tmp_path / "elsewhere").write_text("precious")
    trap = tmp_path / ".trap.partial"
    trap.symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(leftovers, "partial_path", lambda target: trap)
    with pytest.raises(PipelineError), in_place(tmp_path / "z", overwrite=False):
        pass
    assert (tmp_path / "elsewhere").read_text() == "precious"
    assert not (tmp_path / "z").exists()


def test_a_long_name_has_a_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 120 + ".nii.gz")
    assert partial_path(target).name.endswith(".nii.gz.partial")
    with in_place(target, overwrite=False) as part:
        part.write_text("x")
    assert target.read_text() == "x"


@pytest.mark.parametrize("is_left_out", [False, True])
def test_files_reach_the_disk_before_they_get_their_place(
    tmp_path: Path, is_left_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIMASK_NO_FSYNC", "1" if is_left_out else "0")
    seen = []

    def fsync(descriptor: int) -> None:
        seen.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "x").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with in_place(tmp_path / "x", overwrite=False) as part:
        part.write_text("x")
    assert seen == ([] if is_left_out else [(str(part), False), (str(tmp_path), True)])
