"""The scan: what is found under any names, what is left out, which series is chosen, why a frame has no plane."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from pipeline.core.findings import Code, Exit, PipelineError, Severity
from pipeline.dicom.scan import Scan, Series, choose, scan, table
from pipeline.geometry.stack import fit_stack
from tests.helpers import phantom
from tests.helpers.cases import ProjectCase, series_cases
from tests.helpers.phantom import ORIENTATIONS, Truth

SMALL: dict[str, Any] = {"shape": (6, 5, 4), "content": "index"}


def write(folder: Path, **changes: Any) -> Truth:
    return phantom.write(folder, **{**SMALL, **changes})


def only(folder: Path) -> Series:
    (series,) = scan([folder]).series
    return series


def reasons(found: Scan) -> dict[str, str]:
    return {left.finding.where[0]: left.finding.message for left in found.left_out}


def refused(folder: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        scan([folder])
    return caught.value


# --- finding files


def test_any_depth_any_name_no_extension(tmp_path: Path) -> None:
    truth = write(tmp_path / "flat", stored="shuffled")
    for n, path in enumerate(truth.paths):
        place = tmp_path / "deep" / ("a" * (n + 1)) / "ünïcode dir"
        place.mkdir(parents=True)
        shutil.copy(path, place / ["IM 1", "readme.txt", "0", "图像.nii"][n])
    series = only(tmp_path / "deep")
    assert sorted(f.sop_instance_uid for f in series.frames) == sorted(truth.sop_uids)
    assert [f.sop_instance_uid for f in series.frames] == [f.sop_instance_uid for f in only(tmp_path / "flat").frames]


def test_names_and_instance_numbers_change_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", stored="along", instance_numbers="along")
    write(tmp_path / "b", stored="shuffled", instance_numbers="against", extension="")
    a, b = only(tmp_path / "a"), only(tmp_path / "b")
    assert [f.plane for f in a.frames] == [f.plane for f in b.frames]
    assert [f.path.name for f in a.frames] != [f.path.stem for f in b.frames]


def test_files_and_folders_given_twice_are_read_once(tmp_path: Path) -> None:
    truth = write(tmp_path)
    done: list[int] = []
    found = scan([tmp_path, truth.paths[0], tmp_path], done.append)
    assert len(found.series[0].frames) == 4
    assert found.left_out == ()
    assert done == [1, 2, 3, 4]


def test_foreign_files_are_left_out_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "notes.txt").write_text("a text that is long enough to be looked at" * 9)
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "IM0001.dcm").read_bytes()[:600])
    found = scan([tmp_path])
    assert len(found.series[0].frames) == 4
    said = reasons(found)
    assert "not DICOM" in said["notes.txt"]
    assert "it is empty" in said["empty.dcm"]
    assert "cut.dcm" in said
    assert len(said) == 3


def test_a_dicomdir_is_left_out(tmp_path: Path) -> None:
    truth = write(tmp_path)
    dataset = dcmread(truth.paths[0])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    for keyword in ("SeriesInstanceUID", "PixelData"):
        delattr(dataset, keyword)
    dataset.save_as(tmp_path / "DICOMDIR")
    found = scan([tmp_path])
    assert len(found.series[0].frames) == 4
    assert "DICOMDIR" in reasons(found)["DICOMDIR"]


def test_a_file_without_series_uid_is_left_out(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        if k == 2:
            del dataset.SeriesInstanceUID

    truth = write(tmp_path, edit=edit)
    assert "no Series Instance UID (0020,000E)" in reasons(scan([tmp_path]))[truth.paths[2].name]


def test_a_copy_is_left_out_and_other_bytes_under_one_uid_stay(tmp_path: Path) -> None:
    truth = write(tmp_path)
    shutil.copy(truth.paths[1], tmp_path / "zz copy.dcm")
    found = scan([tmp_path])
    assert len(found.series[0].frames) == 4
    assert f"a copy of {truth.paths[1].name}" in reasons(found)["zz copy.dcm"]
    dataset = dcmread(truth.paths[1])
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(tmp_path / "zz copy.dcm")
    assert len(only(tmp_path).frames) == 5


def test_a_plane_cut_off_at_the_end_of_a_stack_is_not_lost_in_silence(tmp_path: Path) -> None:
    truth = write(tmp_path)
    dataset = dcmread(truth.paths[3])
    del dataset.PixelData
    dataset.save_as(truth.paths[3])
    found = scan([tmp_path])
    assert len(found.series) == 1
    assert len(found.series[0].frames) == 3
    ((finding, *_),) = found.left_out
    assert finding.code is Code.CORRUPT_FILE
    assert finding.where == (truth.paths[3].name,)


def test_a_header_cut_off_anywhere_leaves_a_finding(tmp_path: Path) -> None:
    """The last plane of a stack, cut at any byte of its header: never three frames and not a word."""
    truth = write(tmp_path)
    whole = truth.paths[3].read_bytes()
    header_length = len(whole) - len(dcmread(truth.paths[3]).PixelData)
    for keep in range(0, header_length, 23):
        truth.paths[3].write_bytes(whole[:keep])
        found = scan([tmp_path])
        assert [left.finding.where for left in found.left_out] == [(truth.paths[3].name,)], keep
        assert [len(s.frames) for s in found.series] == [3], keep


def test_nothing_there(tmp_path: Path) -> None:
    error = refused(tmp_path / "absent")
    assert error.finding.code is Code.NO_SUCH_INPUT
    assert error.exit is Exit.NO_SUCH_INPUT
    (tmp_path / "notes.txt").write_text("x" * 300)
    error = refused(tmp_path)
    assert error.finding.code is Code.NO_DICOM
    assert error.exit is Exit.NOTHING_TO_CONVERT
    assert len(error.others) == 1


def test_only_a_broken_file(tmp_path: Path) -> None:
    path = write(tmp_path, shape=(6, 5, 1)).paths[0]
    path.write_bytes(path.read_bytes()[:600])
    error = refused(tmp_path)
    assert error.finding.code is Code.CORRUPT_FILE
    assert error.exit is Exit.CORRUPT_INPUT
    assert path.name in error.finding.message


# --- what cannot be read and may be a plane


def lose(path: Path, how: str) -> None:
    """Replace a file by what is left of one."""
    raw = path.read_bytes() if path.exists() else bytes(2000)
    path.unlink(missing_ok=True)
    if how == "link":
        path.symlink_to("../annex/gone")
    elif how == "loop":
        path.symlink_to(path.name)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path.write_bytes({"empty": b"", "zeros": bytes(1440), "cut": raw[:100], "page": b"<html>Not found</html>"}[how])


def lost(found: Scan, series: Series | None = None) -> dict[str, Code]:
    """File name and code of what may be a plane, of any series or of one."""
    return {
        left.finding.where[0]: left.finding.code
        for left in found.left_out
        if left.finding.severity is Severity.ERROR and (series is None or series in left.concerns)
    }


@pytest.mark.parametrize("how", ["empty", "zeros", "cut", "page", "link", "loop", "pipe"])
@pytest.mark.parametrize("extension", [".dcm", "", ".IMA", ".other", ".001"])
def test_a_plane_that_cannot_be_read_is_an_error_by_its_name(tmp_path: Path, how: str, extension: str) -> None:
    truth = write(tmp_path, extension=extension)
    lose(truth.paths[3], how)
    found = scan([tmp_path])
    assert lost(found) == {truth.paths[3].name: Code.FILE_UNREAD}
    assert [len(s.frames) for s in found.series] == [3]
    assert lost(found, found.series[0]) == lost(found)


def test_a_socket_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    lose(Path("in", "IM9"), "socket")
    assert lost(scan([Path("in")])) == {"IM9": Code.FILE_UNREAD}


@pytest.mark.parametrize("how", ["empty", "page", "link", "pipe"])
@pytest.mark.parametrize(
    "name",
    [
        *(
            "._IM0006.dcm",
            ".DS_Store",
            ".nfs0001",
            "LOCKFILE",
            "VERSION",
            "DICOMDIR",
            "Thumbs.db",
            "desktop.ini",
            "README",
        ),
        *(
            "readme.md",
            "autorun.inf",
            "plane6.png",
            "scan.mp4",
            "IM0006.dcm~",
            "~$notes.docx",
            "MD5SUMS",
            "IM0006.dcm.json",
        ),
    ],
)
def test_a_name_that_says_it_is_something_else_is_left_out(tmp_path: Path, name: str, how: str) -> None:
    write(tmp_path)
    lose(tmp_path / name, how)
    found = scan([tmp_path])
    assert lost(found) == {}
    assert name in reasons(found)
    assert {left.finding.severity for left in found.left_out} == {Severity.INFO}


@pytest.mark.parametrize(
    ("others", "name", "counts"),
    [
        ("IM 1 2 3".split(), "_SUCCESS", False),
        ("one two three four".split(), "_SUCCESS", False),
        ("one two three four".split(), "five", True),
        ("one two three four".split(), "FIVE", False),
        ("IM1 IM2 IM3 IM4".split(), "IMX", False),
        ("IM1 IM2 IM3 IM4".split(), "plane_5", True),
        ("1.2.3.1 1.2.3.2 1.2.3.3 1.2.3.4".split(), "1.2.3.5", True),
        ("1.dcm 2.dcm 3.dcm 4.dcm".split(), "5.dcm.part", True),
        ("1.dcm 2.dcm 3.dcm 4.dcm".split(), "4.dcm.part", False),
        ("a.txt b.txt c.txt d.txt".split(), "e.txt", True),
    ],
)
def test_a_file_without_extension_counts_where_it_is_named_like_a_plane(
    tmp_path: Path, others: list[str], name: str, counts: bool
) -> None:
    for path, other in zip(write(tmp_path).paths, others, strict=True):
        path.rename(tmp_path / other)
    (tmp_path / name).write_text("no image")
    found = scan([tmp_path])
    assert len(found.series[0].frames) == 4
    assert lost(found) == ({name: Code.FILE_UNREAD} if counts else {})
    assert name in reasons(found)


def test_what_begins_like_dicom_counts_whatever_its_name(tmp_path: Path) -> None:
    truth = write(tmp_path)
    raw = truth.paths[3].read_bytes()
    truth.paths[3].unlink()
    (tmp_path / "notes.txt").write_bytes(raw[: raw.index(b"UI", 400)])
    assert lost(scan([tmp_path])) == {"notes.txt": Code.CORRUPT_FILE}


def test_a_lost_file_concerns_the_series_whose_folder_holds_it_or_the_nearest(tmp_path: Path) -> None:
    """Three patients; the folders where a file is lost, and the series it may be a plane of."""
    for place in ("a/ct", "a/seg", "b/ct", "c"):
        write(tmp_path / place, seed=place, description=place)
    for place, concerned in {
        "a/ct": {"a/ct"},
        "a/ct/more": {"a/ct"},
        "a": {"a/ct", "a/seg"},
        "a/other/deep": {"a/ct", "a/seg"},
        "b/mask": {"b/ct"},
        "c": {"c"},
        ".": {"a/ct", "a/seg", "b/ct", "c"},
        "d": {"a/ct", "a/seg", "b/ct", "c"},
    }.items():
        path = tmp_path / place / "IM9.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        found = scan([tmp_path])
        assert {s.description for s in found.series if lost(found, s)} == concerned, place
        path.unlink()


def test_a_series_in_several_folders_is_concerned_by_all_between_them(tmp_path: Path) -> None:
    truth = write(tmp_path / "x/1", seed="x")
    (tmp_path / "x/2").mkdir()
    truth.paths[3].rename(tmp_path / "x/2" / truth.paths[3].name)
    write(tmp_path / "y", seed="y")
    lose(tmp_path / "x" / "IM9", "empty")
    found = scan([tmp_path])
    assert [bool(lost(found, s)) for s in found.series] == [s.uid == truth.series_uid for s in found.series]


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions do not bind root: as root, this is another for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.mark.parametrize("what", ["file", "folder", "entry"])
def test_what_one_may_not_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    truth = write(tmp_path / "in")
    deep = tmp_path / "in" / "sub"
    deep.mkdir()
    last = truth.paths[3].rename(deep / truth.paths[3].name)
    for folder in (tmp_path, tmp_path / "in", deep):
        folder.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # so that nothing above needs to be open to all
    scan([Path("in")])
    forbidden, mode = {"file": (last, 0), "folder": (deep, 0), "entry": (deep, 0o444)}[what]
    forbidden.chmod(mode)
    try:
        with ordinary_user():
            found = scan([Path("in")])
    finally:
        forbidden.chmod(0o755)
    assert lost(found) == {"sub" if what == "folder" else last.name: Code.FILE_UNREAD}
    assert "Permission denied" in found.left_out[0].finding.message
    assert "sub" not in lost(scan([Path("in")]))


def test_a_folder_that_cannot_be_listed_and_says_it_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    for name in ("lost+found", ".Trashes"):
        (tmp_path / "in" / name).mkdir(mode=0)
    (tmp_path / "in").chmod(0o755)
    tmp_path.chmod(0o755)
    with ordinary_user():
        found = scan([Path("in")])
    assert lost(found) == {}
    assert set(reasons(found)) == {"lost+found", ".Trashes"}


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    truth = write(tmp_path / "in")
    write(tmp_path / "beside", seed="other")
    for name, target in {"self": ".", "up": "..", "down": "real", "outside": tmp_path / "elsewhere"}.items():
        (tmp_path / "in" / name).symlink_to(target)
    for place in (tmp_path / "in" / "real", tmp_path / "elsewhere"):
        place.mkdir()
        (place / "back").symlink_to(tmp_path / "in")
    truth.paths[3].rename(tmp_path / "in" / "real" / "a")
    truth.paths[2].rename(tmp_path / "elsewhere" / "b")
    found = scan([tmp_path / "in"])
    assert {f.path.name: f.path.parent.name for f in found.series[0].frames if len(f.path.name) == 1} == {
        "a": "real",
        "b": "outside",
    }
    assert [len(s.frames) for s in found.series] == [4]
    assert found.left_out == ()


@pytest.mark.parametrize("levels", [1500, 2600])
def test_folders_however_deep_are_walked_or_refused_by_name(tmp_path: Path, levels: int) -> None:
    write(tmp_path)
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=folder)
        deeper = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    try:
        found = scan([tmp_path])
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil would recurse as deep
    assert len(found.series[0].frames) == 4
    assert lost(found) == ({} if levels == 1500 else {"d": Code.FILE_UNREAD})


def test_a_path_that_cannot_be_is_refused() -> None:
    with pytest.raises(PipelineError) as caught:
        scan([Path("x" * 5000)])
    assert (caught.value.finding.code, caught.value.exit) == (Code.FILE_UNREAD, Exit.CORRUPT_INPUT)


def test_where_nothing_can_be_reached_that_is_what_is_wrong(tmp_path: Path) -> None:
    for n in range(9):
        lose(tmp_path / f"IM{n}", "link")
    error = refused(tmp_path)
    assert (error.finding.code, error.exit) == (Code.FILE_UNREAD, Exit.CORRUPT_INPUT)
    assert len(error.others) == 5
    assert "4 more" in error.others[-1].message
    assert {"IM0"} | {n for f in error.others for n in f.where} == {f"IM{n}" for n in range(9)}


# --- series


def two(folder: Path) -> Scan:
    write(folder / "a", seed="a", description="Liver", series_number=12)
    write(folder / "b", seed="b", description="Kidney", series_number=3, kind="mr")
    return scan([folder])


def test_two_series_are_sorted_by_number_and_told_apart(tmp_path: Path) -> None:
    found = two(tmp_path)
    assert [(s.number, s.description, s.modality, s.kind) for s in found.series] == [
        (3, "Kidney", "MR", "image"),
        (12, "Liver", "CT", "image"),
    ]
    assert {f.header.get("Modality") for f in found.series[0].frames} == {"MR"}
    assert found.series[1].title == "series 12 “Liver”"


def test_choose(tmp_path: Path) -> None:
    found = two(tmp_path)
    kidney, liver = found.series
    assert choose(found, liver.uid) is liver
    assert choose(found, "3") is kidney
    assert choose(found, "liver") is liver
    for wanted, code in ((None, Code.SEVERAL_SERIES), ("spleen", Code.NO_SUCH_SERIES), ("1", Code.NO_SUCH_SERIES)):
        with pytest.raises(PipelineError) as caught:
            choose(found, wanted)
        assert caught.value.finding.code is code
        assert all(s.uid in caught.value.finding.hint for s in found.series)
    single = scan([tmp_path / "a"])
    assert choose(single, None) is single.series[0]


def test_choose_refuses_a_name_that_two_series_bear(tmp_path: Path) -> None:
    write(tmp_path / "a", seed="a", description="Mask", series_number=1)
    write(tmp_path / "b", seed="b", description="mask", series_number=2)
    with pytest.raises(PipelineError, match="2 series are called") as caught:
        choose(scan([tmp_path]), "MASK")
    assert caught.value.finding.code is Code.SEVERAL_SERIES


def test_kinds_that_share_a_series_uid_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path / "rt", shape=(6, 5, 1), edit=_as_rtstruct)
    found = scan([tmp_path])
    assert [(s.kind, len(s.headers), len(s.frames)) for s in found.series] == [("image", 4, 4), ("rtstruct", 1, 0)]
    assert len({s.uid for s in found.series}) == 1


def _as_rtstruct(k: int, dataset: Dataset) -> None:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    dataset.SOPInstanceUID += ".1"
    del dataset.PixelData, dataset.Rows, dataset.Columns


def test_the_table_names_every_series(tmp_path: Path) -> None:
    lines = table(two(tmp_path).series).splitlines()
    assert [line.split()[0] for line in lines] == ["number", "3", "12"]
    assert lines[1].split()[1:7] == ["image", "MR", "4", "6", "×", "5"]


def test_a_series_number_that_is_none(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        del dataset.SeriesNumber

    write(tmp_path, edit=edit)
    assert only(tmp_path).number is None
    assert only(tmp_path).title.startswith("series without number")


# --- planes


@pytest.mark.parametrize("kind", ["ct", "mr", "sc", "enhanced ct", "enhanced mr", "multi-frame sc"])
@pytest.mark.parametrize("orientation", ["HFS", "double oblique"])
def test_every_frame_has_the_plane_of_the_truth(tmp_path: Path, kind: str, orientation: str) -> None:
    truth = write(tmp_path, kind=kind, iop=ORIENTATIONS[orientation], stored="shuffled")
    series = only(tmp_path)
    fitted = fit_stack([f.plane for f in series.frames if f.plane], limit_mm=0.1, keep_skew=8e-5, keep_mm=1e-2)
    assert np.abs(fitted.grid.lps - truth.lps).max() < 1e-9
    assert fitted.grid.shape == truth.spec.shape
    ordered = [series.frames[n] for n in fitted.order]
    assert [f.sop_instance_uid for f in ordered] == list(truth.sop_uids)
    assert [f.number - 1 for f in ordered] == list(truth.frames)
    assert series.kind == "image"


def test_a_frame_is_named_so_that_a_person_finds_it(tmp_path: Path) -> None:
    write(tmp_path, kind="enhanced ct")
    assert [f.name for f in only(tmp_path).frames][:2] == ["IM0001.dcm frame 1", "IM0001.dcm frame 2"]


def spoil(**values: Any) -> phantom.Edit:
    def edit(k: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"ImagePositionPatient": None}, "Image Position (Patient) (0020,0032) is missing"),
        ({"ImageOrientationPatient": None}, "Image Orientation (Patient) (0020,0037) is missing"),
        ({"PixelSpacing": None}, "Pixel Spacing (0028,0030) is missing"),
        ({"PixelSpacing": ""}, "Pixel Spacing (0028,0030) is missing"),
        ({"PixelSpacing": ["1.4", "0", "1.1"]}, "Pixel Spacing (0028,0030) has 3 values, not 2"),
        ({"ImagePositionPatient": ["1", "2"]}, "Image Position (Patient) (0020,0032) has 2 values, not 3"),
        ({"PixelSpacing": ["0", "1.1"]}, "is not positive"),
        ({"PixelSpacing": ["-1.4", "1.1"]}, "is not positive"),
        ({"ImageOrientationPatient": ["NaN", "0", "0", "0", "1", "0"]}, "not finite"),
    ],
)
def test_a_frame_without_a_plane_says_why(tmp_path: Path, values: dict[str, Any], reason: str) -> None:
    write(tmp_path, edit=spoil(**values))
    for frame in only(tmp_path).frames:
        assert frame.plane is None
        assert reason in frame.why_no_plane


def test_a_number_that_cannot_be_read_is_the_reason(tmp_path: Path) -> None:
    truth = write(tmp_path)
    for path in truth.paths:
        path.write_bytes(path.read_bytes().replace(b"1.4\\1.1 ", b"1,4\\1,1 "))
    for frame in only(tmp_path).frames:
        assert frame.plane is None
        assert "Pixel Spacing (0028,0030) is not readable" in frame.why_no_plane
        assert "1,4" in frame.why_no_plane


@pytest.mark.parametrize("kind", ["sc plain", "multi-frame sc plain"])
def test_secondary_capture_without_geometry(tmp_path: Path, kind: str) -> None:
    write(tmp_path, kind=kind)
    said = {f.why_no_plane for f in only(tmp_path).frames}
    several = "a multi-frame instance without functional groups gives no position per frame"
    assert said == {several if "multi" in kind else "Image Position (Patient) (0020,0032) is missing"}


def test_a_multi_frame_instance_with_a_group_missing(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = Sequence()

    write(tmp_path, kind="enhanced mr", edit=edit)
    assert {f.why_no_plane for f in only(tmp_path).frames} == {"Pixel Spacing (0028,0030) is missing"}


@pytest.mark.parametrize("case", series_cases(), ids=lambda c: c.id)
def test_every_case_holds_its_series(case: ProjectCase) -> None:
    found = scan([path for path in case.folder().rglob("*") if path.is_file()])
    uids = {result["Series"] for result in case.golden()["Results"] if "Series" in result}
    series = choose(found, uids.pop() if uids else None)
    assert not uids
    assert series.kind == "image"
    assert all(f.plane for f in series.frames)
