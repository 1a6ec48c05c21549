"""Counts of what a scan and a 4-D conversion do: linear in files, series and volumes, and each thing once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from pipeline import Policy, convert_all
from pipeline.conversion import witnesses
from pipeline.crosscheck.child import Child
from pipeline.crosscheck.panel import Panel
from pipeline.crosscheck.testimony import Job
from pipeline.dicom import read_headers, unread_files
from pipeline.dicom import scan as scanning
from pipeline.dicom.scan import scan
from pipeline.dicom.source_file import bytes_of
from tests.helpers.phantom import Spec, Truth, write

VOLUMES = 5
MR = Spec(shape=(16, 14, 5), kind="mr", content="index")


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[Any, ...]]:
    """Let a function go on as it is, and collect what it is called with."""
    calls: list[tuple[Any, ...]] = []
    real: Callable[..., Any] = getattr(owner, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, counted)
    return calls


# --- volumes over time ----------------------------------------------------------------------------------------------


def write_over_time(folder: Path) -> Truth:
    def repeat(k: int, dataset: Dataset) -> list[Dataset]:
        volumes = [deepcopy(dataset) for _ in range(VOLUMES)]
        for n, volume in enumerate(volumes):
            volume.SOPInstanceUID = f"{dataset.SOPInstanceUID}.{n}"
            volume.TemporalPositionIdentifier, volume.InstanceNumber = n + 1, n * MR.shape[2] + k + 1
            volume.PixelData = (np.frombuffer(volume.PixelData, "<u2") + n).astype("<u2").tobytes()
        return volumes

    return write(folder, MR, edit=repeat)


@pytest.mark.parametrize(("crosscheck", "read"), [("affine", 0), ("voxels", VOLUMES * MR.shape[2])])
def test_witnesses_are_asked_once_and_the_file_is_read_once_for_all_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crosscheck: Any, read: int
) -> None:
    if crosscheck == "voxels":
        pytest.importorskip("SimpleITK")
    write_over_time(tmp_path / "in")
    planes: list[Any] = []
    real = witnesses.nifti.read_planes

    def counted(path: Path) -> Iterator[Any]:
        for plane in real(path):
            planes.append(None)
            yield plane

    monkeypatch.setattr(witnesses.nifti, "read_planes", counted)
    asked = count_calls(monkeypatch, Panel, "begin")
    sent = count_calls(monkeypatch, Child, "send")
    done, refused = convert_all([tmp_path / "in"], tmp_path / "out", policy=Policy(as_="image", crosscheck=crosscheck))
    assert (len(done), refused) == (1, [])
    assert done[0].shape == (*MR.shape, VOLUMES)
    assert done[0].verdict == "VERIFIED"
    assert len(asked) == 1
    assert len(planes) == read
    jobs = Counter(job.files for _, *given in sent for job in given if not job.voxels)
    if crosscheck == "affine":
        assert len(sent) == 1
        assert len(jobs) == VOLUMES
        assert all(count == 1 for count in jobs.values())
        assert len({file for files in jobs for file in files}) == VOLUMES * MR.shape[2]


@pytest.mark.parametrize("volume", [0, 3, VOLUMES - 1])
def test_a_file_is_as_good_as_its_worst_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume: int) -> None:
    pytest.importorskip("SimpleITK")
    write_over_time(tmp_path / "in")
    real = witnesses.nifti.read_planes

    def spoiled(path: Path) -> Iterator[Any]:
        for n, plane in enumerate(real(path)):
            plane = plane.copy()
            plane[3, 4] += n == volume * MR.shape[2] + 2
            yield plane

    monkeypatch.setattr(witnesses.nifti, "read_planes", spoiled)
    done, refused = convert_all([tmp_path / "in"], tmp_path / "out", policy=Policy(as_="image", crosscheck="voxels"))
    assert done == []
    assert [error.finding.code.name for error in refused] == ["WITNESS_DIFFERS"]
    assert "1 voxels differ" in refused[0].finding.message


def test_jobs_that_nobody_waits_for_any_more_are_taken_back(tmp_path: Path) -> None:
    first = write(tmp_path / "a", MR)
    second = write(tmp_path / "b", replace(MR, shape=(12, 10, 6)))

    def job(truth: Truth) -> Job:
        return Job(tuple(map(str, truth.paths)), (1,) * len(truth.paths), voxels=False)

    with Child("verimask.crosscheck.dicom2nifti", "dicom2nifti", pixels=False) as child:
        child.send(*[job(first)] * 20)
        assert child.receive().shape == MR.shape
        child.send(job(second), job(first))
        assert child.receive().shape == (12, 10, 6)
        assert child.receive().shape == MR.shape


# --- scan -----------------------------------------------------------------------------------------------------------


def write_copies(folder: Path, count: int, *, same: bool) -> None:
    """As many files with one SOP Instance UID; of the same content, or of other values each."""
    truth = write(folder / "made", MR)
    content = truth.paths[0].read_bytes()
    for path in truth.paths:
        path.unlink()
    for n in range(count):
        (folder / f"IM{n:04d}").write_bytes(content if same else content[:-2] + n.to_bytes(2, "little"))


@pytest.mark.parametrize("same", [True, False])
def test_files_of_one_uid_are_read_once_each_and_none_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, same: bool
) -> None:
    write_copies(tmp_path, 300, same=same)
    digests = count_calls(monkeypatch, read_headers, "sha256")
    whole = count_calls(monkeypatch, read_headers, "bytes_of")
    found = scan([tmp_path])
    assert sum(len(s.headers) for s in found.series) == (1 if same else 300)
    assert len(found.left_out) == (299 if same else 0)
    assert len(digests) == len(set(digests)) == 300
    assert whole == []


def test_files_of_one_uid_and_other_sizes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_copies(tmp_path, 20, same=True)
    for n, path in enumerate(sorted(tmp_path.glob("IM*"))):
        path.write_bytes(bytes_of(path) + b"\0" * 2 * n)
    digests = count_calls(monkeypatch, read_headers, "sha256")
    assert sum(len(s.headers) for s in scan([tmp_path]).series) + len(scan([tmp_path]).left_out) == 20
    assert digests == []


def test_many_series_with_lost_files_are_looked_at_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one description, so that their folders name them; a lost file concerns the series of its own folder alone."""
    count = 120
    truth = write(tmp_path / "one", MR)
    content = truth.paths[0].read_bytes()
    uid = truth.series_uid.encode()
    other = uid[:-6]
    for n in range(count):
        folder = tmp_path / "in" / f"s{n:03d}"
        folder.mkdir(parents=True)
        (folder / "IM1").write_bytes(content.replace(uid, other + b"%06d" % (n + 1)))
        (folder / "IM2").write_bytes(b"no longer DICOM")
    named = count_calls(monkeypatch, scanning, "folder_name")
    climbed = count_calls(monkeypatch, unread_files, "_with_those_above")
    found = scan([tmp_path / "in"])
    assert len(found.series) == count
    assert {s.mask_name for s in found.series} == {f"s{n:03d}" for n in range(count)}
    assert len(named) == count
    assert len(climbed) == 2 * count
    for left in found.left_out:
        assert len(left.concerns) == 1
    assert {next(iter(left.concerns)).folder for left in found.left_out} == {s.folder for s in found.series}
