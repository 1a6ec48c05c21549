"""Masks and their images come from a real archive by both protocols, whole or refused, and go back voxel for voxel."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pynetdicom.acse import ACSE

from pipeline.core.exits import Exit
from pipeline.pacs.incoming import Destination, IncomingInstances
from pipeline.pacs.tls import Tls
from tests.helpers import doc_steps
from tests.helpers import orthanc as server
from tests.helpers.orthanc import Orthanc
from tests.helpers.pacs_peers import Unmeasured, answering, archive_of, cutting, silent_port
from tests.helpers.pacs_runs import QUICK, refusal, run
from tests.helpers.pacs_study import PacsStudy, make_study
from tests.helpers.small_disk import may_mount, small_disk

pytestmark = pytest.mark.usefixtures("archive_credentials")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, archive_server: Orthanc) -> PacsStudy:
    made = make_study(tmp_path_factory.mktemp("study"))
    archive_server.add(made.paths())
    return made


def tree(folder: Path) -> dict[str, set[str]]:
    """Series to instances, as they lie below a folder; nothing else may lie there."""
    found = {one.name: {path.name.removesuffix(".dcm") for path in one.iterdir()} for one in folder.iterdir()}
    assert not [name for names in found.values() for name in names if "partial" in name]
    return found


def sent(study: PacsStudy, *names: str) -> dict[str, set[str]]:
    uids = {name: {pydicom.dcmread(p).SOPInstanceUID for p in study.paths(name)} for name in names}
    return {study.series[name]: uids[name] for name in names}


def voxels(path: Path) -> Any:
    return np.asarray(nibabel.load(path).dataobj)


def test_a_study_goes_round_voxel_for_voxel(
    tmp_path: Path, archive_server: Orthanc, archive_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """CT, SEG and RTSTRUCT from the archive, converted, sent back as a SEG, and fetched again: the same voxels."""
    study = make_study(tmp_path / "in")
    archive_server.add(study.paths())
    assert (
        run("fetch", archive_address, "--study", study.uid, "-o", tmp_path / "got", "--convert", tmp_path / "nifti")
        == 0
    )
    printed = capsys.readouterr().out
    assert [line.split()[:3] for line in printed.splitlines()[:3]] == [
        [modality, count, "instances" if count != "1" else "instance"]
        for modality, count in sorted(
            [("RTSTRUCT", "1"), ("SEG", "1"), ("CT", "6")], key=lambda pair: printed.index(f"{pair[0]} ")
        )
    ]
    assert "3 series with 8 instances in" in printed
    assert printed.count("VERIFIED  ") == 2
    assert tree(tmp_path / "got") == sent(study, "ct", "seg", "struct")
    ct = tmp_path / "got" / study.series["ct"]
    found = {"liver" in path.name: path for path in (tmp_path / "nifti").glob("*.nii.gz")}
    for is_struct, form in ((False, "seg"), (True, "series")):
        given = voxels(found[is_struct])
        again = _send_and_fetch(found[is_struct], ct, form, study.uid, archive_address, tmp_path / form)
        np.testing.assert_array_equal(again, given)
        assert {int(v) for v in np.unique(given)} == ({0, 1} if is_struct else {0, 1, 2})
    values = voxels(found[False])
    assert [np.count_nonzero(values == n + 1) for n in (0, 1)] == study.truth.sum(axis=(1, 2, 3)).tolist()


def _send_and_fetch(mask: Path, ct: Path, form: str, study_uid: str, address: str, folder: Path) -> Any:
    """The voxels of a mask that was sent back to an archive, and fetched from there again with its images."""
    assert run("export", mask, "--source", ct, "--to", form, "-o", folder / "out") == 0
    new = pydicom.dcmread(next((folder / "out").glob("*.dcm"))).SeriesInstanceUID
    assert run("send", folder / "out", "--to", address, *QUICK) == 0
    assert run("fetch", address, "--study", study_uid, "--series", new, "-o", folder / "again", *QUICK) == 0
    assert set(tree(folder / "again")) == {ct.name, new}
    words = ["--series", new, "-o", folder / "again.nii.gz", "--crosscheck", "off"]
    assert run("convert", folder / "again", *words) in (0, int(Exit.UNCONFIRMED))
    return voxels(folder / "again.nii.gz")


def test_both_protocols_and_a_move_bring_the_same_data_sets(
    tmp_path: Path, archive_server: Orthanc, study: PacsStudy
) -> None:
    ways = {
        "web": [archive_server.web],
        "get": [archive_server.dimse],
        "move": [archive_server.dimse, "--move-to", f"{server.MOVES_TO}:{archive_server.move_port}"],
    }
    for name, words in ways.items():
        assert run("fetch", *words, "--study", study.uid, "-o", tmp_path / name) == 0
        assert tree(tmp_path / name) == sent(study, "ct", "seg", "struct")
    given = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, study.paths("ct", "seg", "struct"))}
    for name in ways:
        for path in (tmp_path / name).rglob("*.dcm"):
            came = pydicom.dcmread(path)
            assert came == given[came.SOPInstanceUID]
            assert came.file_meta.TransferSyntaxUID == given[came.SOPInstanceUID].file_meta.TransferSyntaxUID


def test_slicer_and_labelmap_style_segs_come_with_their_source(
    tmp_path: Path, archive_server: Orthanc, samples: Path
) -> None:
    folder = samples / "QIICR+dcmqi" / "data" / "segmentations"
    ct = sorted((folder / "ct-3slice").rglob("*.dcm"))
    archive_server.add([*ct, folder / "liver.dcm"])
    seg = pydicom.dcmread(folder / "liver.dcm")
    for name in ("web", "dimse"):
        got = tmp_path / name
        words = ["--study", seg.StudyInstanceUID, "--series", seg.SeriesInstanceUID, "-o", got]
        assert run("fetch", getattr(archive_server, name), *words) == 0
        assert [len(names) for _, names in sorted(tree(got).items(), key=lambda one: len(one[1]))] == [1, len(ct)]
        out = tmp_path / f"{name}.nii.gz"
        assert run("convert", got, "--series", seg.SeriesInstanceUID, "-o", out, "--crosscheck", "off") in (0, 13)
        assert np.count_nonzero(voxels(out)) == np.count_nonzero(seg.pixel_array)


def test_a_fetch_goes_on_where_it_was(
    tmp_path: Path, archive_address: str, study: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", archive_address, "--study", study.uid, "-o", tmp_path]
    assert run(*words) == 0
    removed = sorted((tmp_path / study.series["ct"]).iterdir())[2:4]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dcm")}
    for path in removed:
        path.unlink()
        del times[path]
    capsys.readouterr()
    assert run(*words) == 0
    assert "complete, 4 were there" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert tree(tmp_path) == sent(study, "ct", "seg", "struct")


def test_what_is_not_a_whole_instance_is_refused(
    tmp_path: Path, archive_server: Orthanc, study: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", archive_server.web, "--study", study.uid, "-o", tmp_path]
    assert run(*words) == 0
    one, other = sorted((tmp_path / study.series["ct"]).iterdir())[:2]
    one.write_bytes(other.read_bytes())
    code, said = refusal(capsys, *words)
    assert (code, "CORRUPT_FILE" in said) == (int(Exit.CORRUPT_INPUT), True)


def unmeasured(paths: list[Path], cut: int) -> Any:
    """Answers to requests for instances: their files without the last bytes, and without their length."""
    files = {str(pydicom.dcmread(path).SOPInstanceUID): path.read_bytes() for path in paths}

    def answer(_: str, path: str) -> Any:
        content = files.get(path.rpartition("/")[2])
        return content and (200, "application/dicom", Unmeasured(content[: len(content) - cut]))

    return answer


@pytest.mark.parametrize("cut", [1, 40, 1000])
def test_an_answer_that_ends_too_early_without_a_length_is_not_kept(
    cut: int, study: PacsStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.pacs.fetch._PAUSE_S", 0.01)
    images = study.paths("other")
    words = ["--study", study.uid, "-o", tmp_path]
    with answering(archive_of(images, unmeasured(images, cut))) as url:
        code, said = refusal(capsys, "fetch", url, *words)
    assert (code, "ARCHIVE_UNREACHED" in said, tree(tmp_path)) == (5, True, {study.series["other"]: set()}), said
    with answering(archive_of(images, unmeasured(images, 0))) as url:
        assert run("fetch", url, *words) == 0
    assert tree(tmp_path) == sent(study, "other")


def test_an_answer_that_nothing_tells_the_end_of_is_refused(
    study: PacsStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A structure set may be cut between two elements, and be read all the same."""
    paths = study.paths("struct")
    with answering(archive_of(paths, unmeasured(paths, 0))) as url:
        code, said = refusal(capsys, "fetch", url, "--study", study.uid, "-o", tmp_path)
    assert (code, "does not tell where it ends" in said) == (int(Exit.CORRUPT_INPUT), True), said


@pytest.mark.parametrize("cut", [1, 40, 1000])
def test_what_lies_there_is_there_only_where_it_is_whole(
    cut: int, study: PacsStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(archive_of(study.paths("other"))) as url:
        words = ["fetch", url, "--study", study.uid, "-o", tmp_path]
        assert run(*words) == 0
        path = sorted((tmp_path / study.series["other"]).iterdir())[0]
        content = path.read_bytes()
        path.write_bytes(content[:-cut])
        code, said = refusal(capsys, *words)
        assert (code, "CORRUPT_FILE" in said, path.name in said) == (int(Exit.CORRUPT_INPUT), True, True), said
        assert path.read_bytes() == content[:-cut]
        path.unlink()
        assert run(*words) == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_cannot_be_read_in_the_folder_is_named(
    kind: str, study: PacsStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / study.series["other"] / "1.2.3.dcm"
    odd.parent.mkdir()
    odd.symlink_to("nowhere") if kind == "link" else odd.mkdir()
    with answering(archive_of(study.paths("other"))) as url:
        code, said = refusal(capsys, "fetch", url, "--study", study.uid, "-o", tmp_path)
    assert (code, "CORRUPT_FILE" in said, "1.2.3.dcm" in said) == (int(Exit.CORRUPT_INPUT), True, True), said


def test_a_series_is_complete_by_the_archives_own_number(
    tmp_path: Path, archive_server: Orthanc, archive_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "in", masks=False)
    archive_server.add(study.paths("ct"))
    words = ["fetch", archive_address, "--study", study.uid, "-o", tmp_path / "got"]
    assert run(*words) == 0
    gone = pydicom.dcmread(study.paths("ct")[0]).SOPInstanceUID
    found = archive_server.ask("POST", "/tools/lookup", gone.encode())
    archive_server.ask("DELETE", found[0]["Path"])
    code, said = refusal(capsys, *words)
    assert (code, "ARCHIVE_INCOMPLETE" in said) == (int(Exit.PARTLY_DONE), True)
    assert "its folder holds 1 instances that the archive does not list" in " ".join(said.split())
    assert tree(tmp_path / "got") == sent(study, "ct")


def test_a_count_that_is_not_the_list_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = {
        "0020000D": ui("1.2.3"),
        "0020000E": ui("1.2.4"),
        "00080060": cs("CT"),
        "00201209": {"vr": "IS", "Value": [3]},
    }
    images = [{"00080018": ui(f"1.2.4.{n}"), "00080016": ui("1.2.840.10008.5.1.4.1.1.2")} for n in (1, 2)]
    with answering(lambda _, path: [] if "offset" in path else images if "instances" in path else [series]) as url:
        code, said = refusal(capsys, "fetch", url, "--study", "1.2.3", "-o", tmp_path / "got")
    assert (code, "ARCHIVE_INCOMPLETE" in said) == (int(Exit.PARTLY_DONE), True)
    assert "the archive counts 3 instances and lists 2" in " ".join(said.split())
    assert not (tmp_path / "got").exists()


def ui(uid: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [uid]}


def cs(text: str) -> dict[str, Any]:
    return {"vr": "CS", "Value": [text]}


def test_a_study_without_masks_brings_its_images_and_a_series_only_itself(
    tmp_path: Path, archive_server: Orthanc, archive_address: str
) -> None:
    study = make_study(tmp_path / "in", masks=False)
    archive_server.add(study.paths())
    words = ["fetch", archive_address, "--study", study.uid]
    assert run(*words, "-o", tmp_path / "all", "--convert", tmp_path / "nifti", "--quiet") == 0
    assert tree(tmp_path / "all") == sent(study, "ct", "other")
    assert len(list((tmp_path / "nifti").glob("*.nii.gz"))) == 2
    assert run(*words, "-o", tmp_path / "one", "--series", study.series["other"]) == 0
    assert tree(tmp_path / "one") == sent(study, "other")


def test_images_that_are_in_no_archive_are_named(
    tmp_path: Path, archive_server: Orthanc, archive_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "in")
    archive_server.add(study.paths("seg", "other"))
    assert run("fetch", archive_address, "--study", study.uid, "-o", tmp_path / "got") == int(Exit.PARTLY_DONE)
    said = capsys.readouterr().out
    assert f"note: a mask refers to series {study.series['ct']}, which is not found in the archive" in said
    assert tree(tmp_path / "got") == sent(study, "seg")


def name_images_alone(study: PacsStudy) -> set[str]:
    """Let the SEG of a study name its images without their series; their UIDs."""
    path = study.paths("seg")[0]
    ds = pydicom.dcmread(path)
    del ds.ReferencedSeriesSequence
    ds.save_as(path)
    frames = ds.PerFrameFunctionalGroupsSequence
    return {str(f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID) for f in frames}


@pytest.mark.parametrize("there", [0, 5, 6])
def test_images_that_are_named_without_their_series_are_found_or_named(
    there: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "in")
    images = name_images_alone(study)
    here = study.paths("ct")[:there]
    words = ["--study", study.uid, "-o", tmp_path / "got"]
    with answering(archive_of([*study.paths("seg", "other"), *here])) as url:
        code = run("fetch", url, *words)
        said = " ".join(capsys.readouterr().out.split())
        assert run("fetch", url, *words, "--json") == code
    lacking = images - {str(pydicom.dcmread(path).SOPInstanceUID) for path in here}
    assert code == int(Exit.PARTLY_DONE if lacking else Exit.VERIFIED)
    assert set(json.loads(capsys.readouterr().out)["NotInArchive"]) == lacking
    assert ("not found in the archive" in said) == bool(lacking)
    assert set(tree(tmp_path / "got")) == {study.series["seg"], *([study.series["ct"]] if here else [])}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_images_that_a_named_series_lacks_are_named(
    elsewhere: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image may have gone from its series; one that lies in another series of the study is no lack."""
    study = make_study(tmp_path / "in")
    gone = study.paths("ct")[2]
    ds = pydicom.dcmread(gone)
    ds.SeriesInstanceUID = study.series["other"]
    ds.save_as(gone)
    paths = [path for path in study.paths("ct", "seg", "other") if elsewhere or path != gone]
    with answering(archive_of(paths)) as url:
        code = run("fetch", url, "--study", study.uid, "-o", tmp_path / "got", "--json")
    lacking = [] if elsewhere else [ds.SOPInstanceUID]
    assert json.loads(capsys.readouterr().out)["NotInArchive"] == lacking
    assert code == int(Exit.PARTLY_DONE if lacking else Exit.VERIFIED)
    assert set(tree(tmp_path / "got")) == {study.series["seg"], study.series["ct"]}


def test_images_without_their_series_are_found_in_a_study_that_is_named(tmp_path: Path) -> None:
    study = make_study(tmp_path / "in")
    name_images_alone(study)
    path = study.paths("seg")[0]
    ds, other = pydicom.dcmread(path), pydicom.Dataset()
    other.StudyInstanceUID, ds.StudyInstanceUID = study.uid, "1.2.3"
    ds.StudiesContainingOtherReferencedInstancesSequence = [other]
    ds.save_as(path)
    archives = [archive_of(study.paths("ct")), archive_of([path])]
    with answering(lambda method, path: archives["/studies/1.2.3/" in path](method, path)) as url:
        assert run("fetch", url, "--study", "1.2.3", "-o", tmp_path / "got") == 0
    assert tree(tmp_path / "got") == sent(study, "ct", "seg")


@pytest.mark.parametrize("empty", [["SEG"], ["CT"], ["SEG", "RTSTRUCT", "CT"]])
def test_a_series_without_instances_is_said_and_passed_over(
    empty: list[str], study: PacsStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nifti = tmp_path / "nifti"
    with answering(archive_of(study.paths("other"), empty=empty)) as url:
        words = ["fetch", url, "--study", study.uid, "-o", tmp_path / "got"]
        assert run(*words, "--convert", nifti) == int(Exit.PARTLY_DONE)
        said = capsys.readouterr().out
        assert run(*words, "--json") == int(Exit.PARTLY_DONE)
    assert json.loads(capsys.readouterr().out)["NotInArchive"] == [f"1.2.{n}" for n in range(len(empty))]
    assert [f"{one} series 1.2.{n} has no instances in the archive" in said for n, one in enumerate(empty)] == [
        True
    ] * len(empty)
    assert tree(tmp_path / "got") == sent(study, "other")
    assert len(list(nifti.glob("*.nii.gz"))) == 1


def test_a_series_without_instances_alone_is_said(
    study: PacsStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(archive_of(study.paths("other"), empty=["CT"])) as url:
        words = ["fetch", url, "--study", study.uid, "--series", "1.2.0", "-o", tmp_path / "got"]
        assert run(*words, "--convert", tmp_path / "nifti") == int(Exit.PARTLY_DONE)
    assert "has no instances in the archive" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_an_image_series_that_was_asked_for_is_converted_as_image(tmp_path: Path) -> None:
    study = make_study(tmp_path / "in", masks=False)
    for path in study.paths("other"):
        ds = pydicom.dcmread(path)
        values = np.arange(ds.pixel_array.size, dtype=ds.pixel_array.dtype) * 7
        ds.PixelData = values.tobytes()
        ds.save_as(path)
    with answering(archive_of(study.paths())) as url:
        words = ["fetch", url, "--study", study.uid, "-o", tmp_path / "got", "--convert", tmp_path / "nifti"]
        assert run(*words, "--series", study.series["other"]) == 0
    assert len(list((tmp_path / "nifti").glob("*.nii.gz"))) == 1


def test_images_of_another_study_are_found(tmp_path: Path, archive_server: Orthanc, archive_address: str) -> None:
    study = make_study(tmp_path / "in")
    path = study.paths("seg")[0]
    ds = pydicom.dcmread(path)
    ds.StudyInstanceUID = pydicom.uid.generate_uid()
    ds.save_as(path)
    archive_server.add(study.paths("ct", "seg"))
    assert run("fetch", archive_address, "--study", ds.StudyInstanceUID, "-o", tmp_path / "got") == 0
    assert tree(tmp_path / "got") == sent(study, "ct", "seg")


def test_who_is_refused_is_told_why(
    tmp_path: Path,
    archive_server: Orthanc,
    study: PacsStudy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ["--study", study.uid, "-o", tmp_path / "got", *QUICK]
    port = archive_server.http_port
    tries = [
        (
            server.TITLE,
            f"OTHER@127.0.0.1:{archive_server.dicom_port}",
            "ARCHIVE_REFUSED",
            "called ae title not recognised",
        ),
        ("port", f"{server.TITLE}@127.0.0.1:1", "ARCHIVE_UNREACHED", "connection refused"),
        ("port", "http://127.0.0.1:1/dicom-web", "ARCHIVE_UNREACHED", "connection refused"),
        ("path", f"http://127.0.0.1:{port}/dicomweb", "ARCHIVE_REFUSED", "http status 404"),
        ("protocol", f"{server.TITLE}@127.0.0.1:{port}", "ARCHIVE_UNREACHED", "no association came about"),
        ("host", f"{server.TITLE}@no-such-host.invalid:104", "ARCHIVE_UNREACHED", "cannot be found"),
    ]
    for _, where, code, words in tries:
        exit_code, said = refusal(capsys, "fetch", where, *own)
        assert (exit_code, code in said) == (int(Exit.NO_SUCH_INPUT), True), said
        assert words in " ".join(said.split()).lower()
    for name, value in (("VERIMASK_PACS_TOKEN", "wrong-token"), ("VERIMASK_PACS_TOKEN", "")):
        monkeypatch.setenv(name, value)
        exit_code, said = refusal(capsys, "fetch", archive_server.web, *own)
        assert (exit_code, "HTTP status 403" in said, "wrong-token" in said) == (int(Exit.NO_SUCH_INPUT), True, False)
    assert not (tmp_path / "got").exists()


def test_a_rejection_that_comes_before_anyone_looks_is_told(
    tmp_path: Path, archive_server: Orthanc, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the archive has answered, and gone, before pynetdicom looks whether it is connected."""

    send_request = ACSE.send_request
    monkeypatch.setattr(ACSE, "send_request", lambda acse: (send_request(acse), time.sleep(0.5)))
    where = f"OTHER@127.0.0.1:{archive_server.dicom_port}"
    code, said = refusal(capsys, "fetch", where, "--study", "1.2.3", "-o", tmp_path / "got", *QUICK)
    assert (code, "ARCHIVE_REFUSED" in said) == (int(Exit.NO_SUCH_INPUT), True), said
    assert "called ae title not recognised" in " ".join(said.split()).lower()


def test_what_is_not_there_is_refused(
    tmp_path: Path, archive_address: str, study: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--study", "1.2.3.4.5"], ["--study", study.uid, "--series", "1.2.3.4.5"]):
        code, said = refusal(capsys, "fetch", archive_address, *words, "-o", tmp_path / "got")
        assert (code, "NOT_IN_ARCHIVE" in said) == (int(Exit.NOTHING_TO_CONVERT), True)


def test_users_are_known_by_environment_or_netrc(
    tmp_path: Path, archive_server: Orthanc, study: PacsStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fetch", archive_server.web, "--study", study.uid, "-o", tmp_path / "got", "--series", study.series["seg"]]
    monkeypatch.delenv("VERIMASK_PACS_TOKEN")
    assert run(*words) == int(Exit.NO_SUCH_INPUT)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {server.USER} password {server.PASSWORD}\n")
    netrc.chmod(0o600)
    assert run(*words) == 0
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("VERIMASK_PACS_USER", server.USER)
    monkeypatch.setenv("VERIMASK_PACS_PASSWORD", server.PASSWORD)
    assert run(*words) == 0  # what is set goes before what lies in a file


BAD = [
    (["http://a:b@127.0.0.1:1/dicom-web"], "holds a user or password"),
    (["ftp://127.0.0.1/"], "begins with neither http nor https"),
    (["http://127.0.0.1/x?token=y"], "not scheme, host, port and path alone"),
    (["archive"], "neither a URL nor AE@HOST:PORT"),
    (["A@127.0.0.1:99999"], "is no port"),
    (["A-TITLE-THAT-IS-TOO-LONG@127.0.0.1:104"], "no Application Entity title"),
    (["A@127.0.0.1:104", "--calling", "B\\C"], "no Application Entity title"),
    (["A@127.0.0.1:104", "--move-to", "B"], "--move-to is not AE:PORT"),
    (["A@127.0.0.1:104", "--timeout", "0"], "--timeout 0 is no number of seconds"),
    (["A@127.0.0.1:104", "--timeout", "nan"], "--timeout nan is no number of seconds"),
    (["A@127.0.0.1:104", "--ca-file", "x.pem"], "--ca-file has no effect here"),
    (["http://127.0.0.1/x", "--ca-file", "x.pem"], "--ca-file has no effect here"),
    (["http://127.0.0.1/x", "--tls"], "--tls has no effect here"),
    (["http://127.0.0.1/x", "--calling", "B"], "--calling has no effect here"),
    (["A@127.0.0.1:104", "--tls", "--move-to", "B:104"], "--move-to with --tls needs --certificate"),
    (["http://127.0.0.1/x", "--move-to", "B:104"], "--move-to has no effect here"),
    (["https://127.0.0.1/x", "--certificate", "nothing"], "--certificate nothing cannot be used: No such file"),
    (["https://127.0.0.1/x", "--ca-file", __file__], f"--ca-file {Path(__file__).name} holds no certificates"),
    (["https://127.0.0.1/x", "--certificate", __file__], f"--certificate {Path(__file__).name} cannot be used"),
]


@pytest.mark.parametrize(("words", "why"), BAD, ids=[why for _, why in BAD])
def test_what_cannot_be_meant_is_refused(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refusal(capsys, "fetch", *words, "--study", "1.2.3", "-o", tmp_path / "got")
    assert code == int(Exit.USAGE)
    assert why in " ".join(said.split())
    assert "a:b" not in said


@pytest.mark.parametrize("uid", ["", "..", "1.2/3", "1..2", "liver", "1." * 40])
def test_a_uid_is_checked_before_anything_is_asked(uid: str, tmp_path: Path) -> None:
    assert run("fetch", "http://127.0.0.1:1/x", "--study", uid, "-o", tmp_path / "got") == int(Exit.USAGE)


@pytest.mark.parametrize("package", ["pynetdicom", "dicomweb_client"])
def test_a_package_that_is_missing_is_said_before_work_starts(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, said = refusal(capsys, "fetch", "A@127.0.0.1:1", "--study", "1.2", "-o", tmp_path / "got")
    assert (code, "NO_PACS_PACKAGE" in said, "verimask[pacs]" in said) == (int(Exit.USAGE), True, True)


def test_credentials_that_contradict_each_other_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fetch", "http://127.0.0.1:1/x", "--study", "1.2", "-o", tmp_path / "got"]
    monkeypatch.setenv("VERIMASK_PACS_USER", server.USER)
    assert refusal(capsys, *words)[0] == int(Exit.USAGE)
    monkeypatch.delenv("VERIMASK_PACS_TOKEN")
    assert refusal(capsys, *words)[0] == int(Exit.USAGE)
    monkeypatch.delenv("VERIMASK_PACS_USER")
    monkeypatch.setenv("VERIMASK_PACS_TOKEN", "a\r\nb")
    assert refusal(capsys, *words)[0] == int(Exit.USAGE)


def test_a_dropped_connection_is_opened_again(tmp_path: Path, archive_server: Orthanc, study: PacsStudy) -> None:
    """After each part of what it is to carry: nothing half lies there, and what came is not asked for again."""
    own = ["--study", study.uid, "-o"]
    with cutting(archive_server.http_port, [3000, 2500, 4000]) as web:
        assert run("fetch", f"http://127.0.0.1:{web.port}/dicom-web", *own, tmp_path / "web", *QUICK) == 0
        assert web.cut >= 2
    # The first connections search; those that carry files are cut.
    with cutting(archive_server.dicom_port, [10**6, 10**6, 1200, 10**6, 2500]) as dimse:
        assert run("fetch", f"{server.TITLE}@127.0.0.1:{dimse.port}", *own, tmp_path / "dimse", *QUICK) == 0
        assert dimse.cut == 2
    for name in ("web", "dimse"):
        assert tree(tmp_path / name) == sent(study, "ct", "seg", "struct")


def test_a_connection_that_drops_for_ever_is_refused_and_nothing_is_half(
    tmp_path: Path,
    archive_server: Orthanc,
    study: PacsStudy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.pacs.fetch._PAUSE_S", 0.01)
    tries = {
        "web": (archive_server.http_port, "http://127.0.0.1:{}/dicom-web", 300),
        "dimse": (archive_server.dicom_port, server.TITLE + "@127.0.0.1:{}", 300),
    }
    for name, (port, form, limit) in tries.items():
        with cutting(port, [10**6] * 2 if name == "dimse" else [4000], then=limit) as cutter:
            code, said = refusal(
                capsys, "fetch", form.format(cutter.port), "--study", study.uid, "-o", tmp_path / name, *QUICK
            )
        assert (code, "ARCHIVE_UNREACHED" in said) == (int(Exit.NO_SUCH_INPUT), True), said
        for uid, names in (tree(tmp_path / name) if (tmp_path / name).exists() else {}).items():
            assert names <= sent(study, "ct", "seg", "struct")[uid]


def test_silence_ends_by_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with silent_port() as port:
        for where in (f"http://127.0.0.1:{port}/dicom-web", f"A@127.0.0.1:{port}"):
            code, said = refusal(capsys, "fetch", where, "--study", "1.2.3", "-o", tmp_path / "got", "--timeout", "0.2")
            assert (code, "ARCHIVE_UNREACHED" in said) == (int(Exit.NO_SUCH_INPUT), True)


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}/dicom-web", "A@127.0.0.1:{}"])
def test_who_waits_for_an_archive_can_be_stopped(form: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        where = form.format(silent.getsockname()[1])
        words = ["fetch", where, "--study", "1.2.3", "-o", str(tmp_path / "got"), "--timeout", "600"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words], cwd=doc_steps.ROOT, stderr=subprocess.PIPE
        )
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(60)
            assert connection.recv(1)  # it has asked, and waits
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60)[1].split() == [b"stopped"]
    assert process.returncode == 128 + signal.SIGINT


def test_what_was_fetched_is_given_as_json(
    tmp_path: Path, archive_server: Orthanc, study: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", archive_server.web, "--study", study.uid, "-o", tmp_path / "got", "--json"]
    assert run(*words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["Study"], printed["NotInArchive"]) == (study.uid, [])
    assert {
        one["SeriesInstanceUID"]: (one["Modality"], one["Instances"], one["Fetched"]) for one in printed["Series"]
    } == {
        study.series["ct"]: ("CT", 6, 6),
        study.series["seg"]: ("SEG", 1, 1),
        study.series["struct"]: ("RTSTRUCT", 1, 1),
    }
    assert run(*words, "--series", study.series["seg"], "--convert", tmp_path / "nifti") in (0, int(Exit.UNCONFIRMED))
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_a_full_disk_is_said_and_leaves_nothing_half(
    tmp_path: Path, archive_address: str, study: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    if not may_mount():
        pytest.skip("no disk can be mounted here")
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, 16):
        code, said = refusal(capsys, "fetch", archive_address, "--study", study.uid, "-o", disk, *QUICK)
        assert (code, "CANNOT_WRITE" in said, "disk is full" in said) == (int(Exit.CANNOT_WRITE), True, True), said
        for uid, names in tree(disk).items():
            assert names <= sent(study, "ct", "seg", "struct")[uid]


HOSTILE = ["../../escape", "/etc/passwd", "1.2.3\n/../x", "Zqpatient^Hidden", "..", "1.2.3/..", "", "１.２"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_lead_nowhere(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"0020000D": ui("1.2.3"), "0020000E": ui("1.2.4"), "00080060": cs("CT")}
    told: dict[str, Any] = {"0020000E": ui("1.2.4"), "00080018": ui("1.2.5")}

    def answer(_: str, path: str) -> Any:
        return [] if "offset" in path else [told] if "instances" in path else [good]

    for tag, where in (("0020000E", good), ("00080018", told)):
        kept, where[tag] = where[tag], ui(name)
        with answering(answer) as url:
            code, said = refusal(capsys, "fetch", url, "--study", "1.2.3", "-o", tmp_path / "got", *QUICK)
        where[tag] = kept
        assert (code, "ARCHIVE_ANSWER" in said) == (int(Exit.CORRUPT_INPUT), True), said
    assert list(tmp_path.iterdir()) == []


NONSENSE: list[tuple[str, Any]] = [
    ("a page", (200, "text/html", b"<html>Zqpatient, please log in</html>")),
    ("not a multipart message", (200, "text/plain", b"Zqpatient")),
    ("no DICOM file", (200, "multipart/related; boundary=x", b"--x\r\nA: b\r\n\r\nZqpatient\r\n--x--\r\n")),
    ("no end", (200, "multipart/related; boundary=x", b"--x\r\nA: b\r\n\r\nZqpatient")),
    ("no part", (200, "multipart/related; boundary=x", b"Zqpatient")),
    ("two parts", (200, "multipart/related; boundary=x", b"--x\r\nA: b\r\n\r\nZ\r\n--x\r\nA: b\r\n\r\nZ\r\n--x--\r\n")),
]


@pytest.mark.parametrize(("what", "body"), NONSENSE, ids=[what for what, _ in NONSENSE])
def test_nonsense_is_refused_and_not_kept(
    what: str, body: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.pacs.fetch._PAUSE_S", 0.01)
    series = {"0020000D": ui("1.2.3"), "0020000E": ui("1.2.4"), "00080060": cs("CT")}

    def answer(_: str, path: str) -> Any:
        if what == "a page" or "instances/1.2.5" in path:
            return body
        return [] if "offset" in path else [{"00080018": ui("1.2.5")}] if "instances" in path else [series]

    with answering(answer) as url:
        code, said = refusal(capsys, "fetch", url, "--study", "1.2.3", "-o", tmp_path / "got", *QUICK)
    is_early = what in ("no end", "no part")  # as where a connection drops
    expected = (Exit.NO_SUCH_INPUT, "ARCHIVE_UNREACHED") if is_early else (Exit.CORRUPT_INPUT, "ARCHIVE_ANSWER")
    assert (code, expected[1] in said) == (int(expected[0]), True), said
    assert not list((tmp_path / "got").rglob("*.*")) or tree(tmp_path / "got") == {"1.2.4": set()}


ODD: list[tuple[str, Any]] = [
    ("null", (200, "application/dicom+json", b"null")),
    ("number", (200, "application/dicom+json", b"7")),
    ("list of null", (200, "application/dicom+json", b"[null]")),
    ("deep", (200, "application/dicom+json", b"[" * 100_000)),
    ("deep and whole", (200, "application/dicom+json", b"[" * 100_000 + b"]" * 100_000)),
    ("bytes", (200, "application/dicom+json", b"\xff\xfe\0")),
    ("no address", (302, "http://[Zqpatient/", b"")),
    ("no host", (302, "http://" + "z" * 70 + "..Zqpatient/", b"")),
    ("another way", (302, "ftp://Zqpatient/", b"")),
    ("redirect without end", lambda path: (302, path, b"")),
    *((f"status {n}", (n, "text/plain", b"")) for n in (206, 301, 304, 500, 999)),
]


@pytest.mark.parametrize("what", ["search", "instances", "instance"])
@pytest.mark.parametrize(("name", "odd"), ODD, ids=[name for name, _ in ODD])
def test_whatever_a_server_answers_is_refused_as_its_answer(
    name: str,
    odd: Any,
    what: str,
    study: PacsStudy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("pipeline.pacs.fetch._PAUSE_S", 0.01)
    last = {"search": "/series?", "instances": "/instances?", "instance": "/instances/"}[what]

    def hook(_: str, path: str) -> Any:
        return None if last not in path else odd(path) if callable(odd) else odd

    with answering(archive_of(study.paths("other"), hook)) as url:
        code, said = refusal(capsys, "fetch", url, "--study", study.uid, "-o", tmp_path / "got", *QUICK)
    assert code in (int(Exit.CORRUPT_INPUT), int(Exit.NO_SUCH_INPUT)), said
    assert any(word in said for word in ("ARCHIVE_ANSWER", "ARCHIVE_REFUSED", "ARCHIVE_UNREACHED")), said
    assert not list((tmp_path / "got").rglob("*.*")) or tree(tmp_path / "got") == {study.series["other"]: set()}


def test_a_part_of_what_was_found_is_an_answer(study: PacsStudy, tmp_path: Path) -> None:
    """Older editions of the standard have 206 where more is found than is told at once."""
    whole = archive_of(study.paths("other"))

    def answer(method: str, path: str) -> Any:
        found = whole(method, path)
        return (
            (206, "application/dicom+json", json.dumps(found).encode())
            if found and "offset" not in path and "/instances/" not in path
            else found
        )

    with answering(answer) as url:
        assert run("fetch", url, "--study", study.uid, "-o", tmp_path) == 0


def test_a_search_without_end_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(10**6))

    def answer(*_: str) -> Any:
        return [
            {"0020000D": ui("1.2.3"), "0020000E": ui(f"1.2.{next(count)}"), "00080060": cs("CT")} for _ in range(10)
        ]

    for limit, least in (("pipeline.pacs.archive.MOST_FOUND", 50), ("pipeline.pacs.dicomweb._MOST_PAGES", 5)):
        with monkeypatch.context() as patch, answering(answer) as url:
            patch.setattr(limit, least)
            code, said = refusal(capsys, "fetch", url, "--study", "1.2.3", "-o", tmp_path / "got", *QUICK)
        assert (code, "ARCHIVE_ANSWER" in said, "no end" in said) == (int(Exit.CORRUPT_INPUT), True, True), said


def test_a_search_in_a_study_need_not_repeat_its_uid(study: PacsStudy, tmp_path: Path) -> None:
    whole = archive_of(study.paths("other"))

    def answer(method: str, path: str) -> Any:
        found = whole(method, path)
        return [{tag: one[tag] for tag in one if tag != "0020000D"} for one in found] if "/series?" in path else found

    with answering(answer) as url:
        assert run("fetch", url, "--study", study.uid, "-o", tmp_path) == 0
    assert tree(tmp_path) == sent(study, "other")


def test_a_port_without_tls_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(lambda *_: []) as url:
        words = ["fetch", url.replace("http:", "https:"), "--study", "1.2.3", "-o", tmp_path / "got", *QUICK]
        code, said = refusal(capsys, *words)
    assert (code, "speaks no TLS at this port" in said, "trusted" in said) == (int(Exit.NO_SUCH_INPUT), True, False), (
        said
    )


def test_a_busy_server_is_asked_again(tmp_path: Path, study: PacsStudy, capsys: pytest.CaptureFixture[str]) -> None:
    busy = [True, True]

    def answer(_: str, path: str) -> Any:
        return (503, "text/plain", b"") if busy and busy.pop() else []

    with answering(answer) as url:
        code, said = refusal(capsys, "fetch", url, "--study", "1.2.3", "-o", tmp_path / "got", *QUICK)
    assert (code, "NOT_IN_ARCHIVE" in said, busy) == (int(Exit.NOTHING_TO_CONVERT), True, [])


def test_credentials_go_to_no_other_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first: list[str] = []
    other: list[str] = []
    with answering(lambda *_: [], other) as there:
        moved = there.replace("127.0.0.1", "localhost")
        with answering(lambda *_: (307, moved, b""), first) as here:
            code, said = refusal(capsys, "fetch", here, "--study", "1.2.3", "-o", tmp_path / "got", *QUICK)
    assert (code, "NOT_IN_ARCHIVE" in said) == (int(Exit.NOTHING_TO_CONVERT), True), said
    assert (set(first), set(other)) == ({f"Bearer {server.TOKEN}"}, {""})


def test_no_library_prints_what_an_archive_says(tmp_path: Path) -> None:
    """In a process of its own, where nobody listens to their logs."""
    hostile = {"0020000D": ui("1.2.3"), "0020000E": ui("Zqpatient"), "00080060": cs("CT")}
    with answering(lambda *_: [hostile]) as url:
        words = [sys.executable, "-m", "pipeline", "fetch", url, "--study", "1.2.3", "-o", str(tmp_path / "got")]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=doc_steps.ROOT)
    assert done.returncode == int(Exit.CORRUPT_INPUT), done.stderr
    assert done.stderr.strip().startswith("REFUSED  ARCHIVE_ANSWER")
    assert "Zqpatient" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signs itself, for 127.0.0.1, with its key: server and client show the same."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    both = (folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes()
    (folder / "both.pem").write_bytes(both)
    return folder


def test_secure_connections_check_who_is_there(
    tmp_path: Path, certificates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert, both = str(certificates / "cert.pem"), str(certificates / "both.pem")
    more = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": cert,
        "DicomTlsPrivateKey": str(certificates / "key.pem"),
        "DicomTlsTrustedCertificates": cert,
    }
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)  # Debian's Orthanc ends at the first request by https
    context.load_cert_chain(both)
    study = make_study(tmp_path / "in", masks=False)
    secure_server = server.orthanc(tmp_path / "secure", more)
    with secure_server as secure, cutting(secure.http_port, [], tls=context) as front:
        own = ["--study", study.uid, *QUICK, "-o"]
        web = f"https://127.0.0.1:{front.port}/dicom-web"
        dimse = [secure.dimse, "--tls", "--ca-file", cert, "--certificate", both]
        assert run("send", study.folder / "ct", "--to", *dimse, "--allow-invalid", *QUICK) == 0
        assert run("fetch", *dimse, *own, tmp_path / "dimse") == 0
        move = ["--move-to", f"{server.MOVES_TO}:{secure.move_port}"]
        assert run("fetch", *dimse, *move, *own, tmp_path / "move") == 0
        words = [secure.dimse, "--tls", "--ca-file", cert, *move]
        assert (
            "--move-to with --tls needs --certificate" in refusal(capsys, "fetch", *words, *own, tmp_path / "none")[1]
        )
        assert run("fetch", web, "--ca-file", cert, *own, tmp_path / "web") == 0
        for words in (
            [web],
            [web.replace("127.0.0.1", "localhost"), "--ca-file", cert],
            [secure.dimse],
            [secure.dimse, "--tls"],
            [secure.dimse, "--tls", "--certificate", both],
            [secure.dimse.replace("127.0.0.1", "localhost"), "--tls", "--ca-file", cert, "--certificate", both],
            [secure.dimse, "--tls", "--ca-file", cert],
        ):
            code, said = refusal(capsys, "fetch", *words, *own, tmp_path / "none")
            assert (code, "ARCHIVE_UNREACHED" in said) == (int(Exit.NO_SUCH_INPUT), True), (words, said)
    for name in ("web", "dimse", "move"):
        assert tree(tmp_path / name) == sent(study, "ct")
    for authorities in ("", cert):  # whoever connects to us for a move shows a certificate that one of them signed
        assert Tls(authorities, both).server_context().verify_mode == ssl.CERT_REQUIRED
    assert not (tmp_path / "none").exists()


def test_the_archive_of_the_documentation_gives_what_it_is_given(tmp_path: Path) -> None:
    """Put into it by DCMTK, as the page says."""
    configuration = json.loads(doc_steps.steps("pacs.md")["orthanc.json"][1])
    if shutil.which("storescu") is None:
        pytest.skip("storescu (dcmtk) is not installed")
    study = make_study(tmp_path / "in")
    with server.orthanc(tmp_path / "archive", configuration) as archive:
        give = ["storescu", "localhost", str(archive.dicom_port), "-aec", configuration["DicomAet"], "-R", "+sd", "+r"]
        subprocess.run([*give, str(study.folder)], check=True, capture_output=True)
        where = [archive.web, f"{configuration['DicomAet']}@localhost:{archive.dicom_port}"]
        for number, address in enumerate(where):
            assert run("fetch", address, "--study", study.uid, "-o", tmp_path / str(number)) == 0
            assert tree(tmp_path / str(number)) == sent(study, "ct", "seg", "struct")


def test_only_what_was_asked_for_is_taken_and_once(tmp_path: Path) -> None:
    """DCMTK sends to where we listen during a C-MOVE: one instance that is waited for, and all the others of its study."""
    if shutil.which("storescu") is None:
        pytest.skip("storescu (dcmtk) is not installed")
    study = make_study(tmp_path / "in", masks=False)
    wanted = pydicom.dcmread(study.paths("ct")[0]).SOPInstanceUID
    kept: list[str] = []
    incoming = IncomingInstances({wanted}, lambda uid, _: kept.append(uid))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    give = ["storescu", "127.0.0.1", str(port), "-R", "--no-halt", "+sd", "+r", str(study.folder), "-aec"]
    with incoming.receiving(Destination("OURS", port), "127.0.0.1", 5):
        for title, before in (("OTHER", 0), ("OURS", 1), ("OURS", 1)):
            subprocess.run([*give, title], check=False, capture_output=True)
            assert kept == [wanted] * before
