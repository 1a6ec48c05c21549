"""Results go to a real archive by both protocols, judged before; what it answers is written beside them, and nothing secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage

from pipeline.core import atomic_file
from pipeline.core.exits import Exit
from tests.helpers import orthanc as server
from tests.helpers.orthanc import Orthanc
from tests.helpers.pacs_peers import answering, cutting, silent_port
from tests.helpers.pacs_runs import QUICK, refusal, run
from tests.helpers.pacs_study import PacsStudy, make_study

pytestmark = pytest.mark.usefixtures("archive_credentials")
ALLOWED = [*QUICK, "--allow-invalid"]


@pytest.fixture
def series(tmp_path: Path) -> PacsStudy:
    """A study that no archive has; its CT is what is sent."""
    return make_study(tmp_path / "in", masks=False)


def entries(result: Path) -> list[dict[str, Any]]:
    """What stands beside a result; nothing in it is secret, or of a patient."""
    text = result.with_name(result.name + ".sent.json").read_text("utf-8")
    for secret in (server.TOKEN, server.PASSWORD, server.USER, "Zqpatient", str(result.parent)):
        assert secret not in text
    return list(json.loads(text)["Sendings"])


def test_the_answer_of_the_archive_stands_beside_the_result(
    series: PacsStudy, archive_server: Orthanc, archive_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = series.folder / "ct"
    (ct / "notes.txt").write_text("no DICOM file is left alone")
    before = archive_server.uids()
    assert run("send", ct, "--to", archive_address, *ALLOWED) == 0
    said = capsys.readouterr().out
    assert "sent 6 instances to" in said
    assert "all stored and listed" in said
    sent = {pydicom.dcmread(path).SOPInstanceUID for path in ct.glob("*.dcm")}
    assert archive_server.uids() - before == sent
    (entry,) = entries(ct)
    assert (entry["Archive"], entry["Sent"], entry["Stored"], entry["Listed"], entry["Ended"]) == (
        archive_address,
        6,
        6,
        6,
        "",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry["Time"])
    assert {one["SOPInstanceUID"] for one in entry["Instances"]} == sent
    assert {(one["Stored"], one["Status"]) for one in entry["Instances"]} == {(True, "0000")}


def test_a_result_may_be_sent_again_and_every_answer_stays(series: PacsStudy, archive_server: Orthanc) -> None:
    path = series.paths("ct")[0]
    for number, where in enumerate([archive_server.web, archive_server.dimse, archive_server.web], 1):
        assert run("send", path, "--to", where, *ALLOWED, "--json") == 0
        assert [entry["Stored"] for entry in entries(path)] == [1] * number
    assert len(entries(path)) == 3


def test_the_bytes_are_those_of_the_file(series: PacsStudy, archive_server: Orthanc, archive_address: str) -> None:
    path = series.paths("ct")[0]
    assert run("send", path, "--to", archive_address, *ALLOWED) == 0
    given, kept = path.read_bytes(), archive_server.file(pydicom.dcmread(path).SOPInstanceUID)
    data_set = given[
        given.index(b"\x08\x00\x05\x00") if b"\x08\x00\x05\x00" in given else given.index(b"\x08\x00\x08\x00") :
    ]
    assert len(data_set) > 300
    assert kept.endswith(data_set)


def test_what_breaks_the_rules_is_not_sent_unless_allowed(
    series: PacsStudy, archive_server: Orthanc, archive_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = series.paths("ct")[0]
    ds = pydicom.dcmread(path)
    ds.AccessionNumber = "Zqpatient-in-a-number-that-is-too-long"
    del ds.Modality
    ds.save_as(path)
    before = archive_server.uids()
    code, said = refusal(capsys, "send", path, "--to", archive_address, *QUICK)
    assert (code, "INVALID_DICOM" in said, "Accession Number" in said) == (int(Exit.REFUSED), True, True), said
    assert archive_server.uids() == before
    assert not path.with_name(path.name + ".sent.json").exists()
    assert run("send", path, "--to", archive_address, *ALLOWED) == 0
    assert "allowed by --allow-invalid" in capsys.readouterr().out
    errors = entries(path)[0]["Validation"]["Errors"]
    assert any("Accession Number" in line and "<…>" in line for line in errors)


def test_without_a_judge_it_is_said(
    series: PacsStudy, archive_server: Orthanc, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.pacs.send_validation.TOOL", "no-such-tool")
    assert run("send", series.paths("ct")[0], "--to", archive_server.dimse, *QUICK) == 0
    assert "not validated, since dciodvfy (dicom3tools) is not installed" in capsys.readouterr().out
    assert entries(series.paths("ct")[0])[0]["Validation"] == {"By": "", "Judged": 0, "Errors": []}


def test_what_the_archive_does_not_store_is_said(
    series: PacsStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By DIMSE, of an archive that does not take a transfer syntax: the other files are sent."""
    path = series.paths("ct")[2]
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=False)
    plain = {"AcceptedTransferSyntaxes": ["1.2.840.10008.1.2.1"]}
    with server.orthanc(tmp_path / "narrow", plain) as narrow:
        code, said = refusal(capsys, "send", series.folder / "ct", "--to", narrow.dimse, *ALLOWED)
        assert len(narrow.uids()) == 5
    assert (code, "NOT_STORED" in said) == (int(Exit.PARTLY_DONE), True), said
    assert "stored 5 of 6 instances (status 0122: not taken: its class or its transfer syntax)" in " ".join(
        said.split()
    )
    statuses = {one["SOPInstanceUID"]: one["Status"] for one in entries(series.folder / "ct")[0]["Instances"]}
    assert [uid for uid, status in statuses.items() if status == "0122"] == [ds.SOPInstanceUID]


def test_a_refusal_in_a_stow_answer_is_an_answer(series: PacsStudy, capsys: pytest.CaptureFixture[str]) -> None:
    path = series.paths("ct")[0]
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
    body = json.dumps(failed).encode()
    for status in (202, 409):
        with answering(lambda *_, status=status: (status, "application/dicom+json", body)) as url:
            code, said = refusal(capsys, "send", path, "--to", url, *ALLOWED)
        assert (code, "status A700" in said) == (int(Exit.PARTLY_DONE), True), said
    assert [entry["Instances"][0]["Status"] for entry in entries(path)] == ["A700", "A700"]


@pytest.mark.parametrize("body", [b"", b"Zqpatient", b"[]", b"{}", b'{"00081199": 1}'])
def test_a_stow_answer_that_says_nothing_is_no_success(
    body: bytes, series: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    path = series.paths("ct")[0]
    with answering(lambda *_: (200, "application/dicom+json", body)) as url:
        code, said = refusal(capsys, "send", path, "--to", url, *ALLOWED)
    assert (code, "NOT_STORED" in said, "may have been" in said) == (int(Exit.PARTLY_DONE), True, True), said
    one = {"SOPInstanceUID": pydicom.dcmread(path).SOPInstanceUID, "Stored": False, "Status": "HTTP 200"}
    assert entries(path)[0]["Instances"] == [one]


def referenced(keyword: str, uid: str, **more: Any) -> dict[str, Any]:
    return {keyword: {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}, **more}]}}


FAILED, STORED = "00081198", "00081199"
REASONS: list[tuple[str, Any, str]] = [
    ("none", {}, "HTTP 409"),
    ("negative", {"00081197": {"vr": "SS", "Value": [-5]}}, "HTTP 409"),
    ("zero", {"00081197": {"vr": "US", "Value": [0]}}, "HTTP 409"),
    ("text", {"00081197": {"vr": "US", "Value": ["Zqpatient"]}}, "HTTP 409"),
    ("a reason", {"00081197": {"vr": "US", "Value": [0xA900]}}, "A900"),
]


@pytest.mark.parametrize(("what", "more", "status"), REASONS, ids=[what for what, _, _ in REASONS])
def test_what_failed_has_never_the_status_of_success(
    what: str, more: Any, status: str, series: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    path = series.paths("ct")[0]
    body = json.dumps(referenced(FAILED, str(pydicom.dcmread(path).SOPInstanceUID), **more)).encode()
    with answering(lambda *_: (409, "application/dicom+json", body)) as url:
        code, said = refusal(capsys, "send", path, "--to", url, *ALLOWED)
    assert (code, f"status {status}: not stored" in said) == (int(Exit.PARTLY_DONE), True), (what, said)
    assert entries(path)[0]["Instances"][0]["Status"] == status


def test_a_failure_of_another_instance_is_none_of_ours(series: PacsStudy) -> None:
    path = series.paths("ct")[0]
    uid = str(pydicom.dcmread(path).SOPInstanceUID)
    made = referenced(FAILED, "1.2.3") | referenced(STORED, uid)
    with answering(lambda method, _: made if method == "POST" else []) as url:
        assert run("send", path, "--to", url, *ALLOWED) == 0
    assert entries(path)[0]["Instances"] == [{"SOPInstanceUID": uid, "Stored": True, "Status": "0000"}]


@pytest.mark.parametrize("number", [0, 1, 5])
@pytest.mark.parametrize(
    "odd", [(400, b"{}"), (413, b""), (415, b"Zqpatient"), (503, b""), (200, b""), (200, b"[" * 100_000)]
)
def test_one_file_that_is_refused_keeps_no_other_from_being_posted(
    number: int, odd: tuple[int, bytes], series: PacsStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    ct, posted = series.folder / "ct", []
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in series.paths("ct")]

    def answer(method: str, _: str) -> Any:
        if method != "POST":
            return []
        posted.append(method)
        return (
            (odd[0], "application/dicom+json", odd[1])
            if len(posted) == number + 1
            else referenced(STORED, uids[len(posted) - 1])
        )

    with answering(answer) as url:
        code, said = refusal(capsys, "send", ct, "--to", url, *ALLOWED)
    assert (code, "stored 5 of 6" in said, f"status HTTP {odd[0]}" in said) == (int(Exit.PARTLY_DONE), True, True), said
    assert ("may have been" in said) == (odd[0] == 200)
    assert [one["Stored"] for one in entries(ct)[0]["Instances"]] == [n != number for n in range(6)]
    assert entries(ct)[0]["Ended"] == ""


def test_who_may_not_send_one_sends_the_others(series: PacsStudy, capsys: pytest.CaptureFixture[str]) -> None:
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in series.paths("ct")]
    left = list(enumerate(uids))

    def answer(method: str, _: str) -> Any:
        if method != "POST":
            return []
        number, uid = left.pop(0)
        return (403, "text/plain", b"") if number == 3 else referenced(STORED, uid)

    with answering(answer) as url:
        code, said = refusal(capsys, "send", series.folder / "ct", "--to", url, *ALLOWED)
    assert (code, "stored 5 of 6" in said, "status HTTP 403" in said) == (int(Exit.PARTLY_DONE), True, True), said


def test_nothing_is_sent_where_the_answers_cannot_be_written(
    series: PacsStudy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = series.paths("ct")[0], []
    made = referenced(STORED, str(pydicom.dcmread(path).SOPInstanceUID))
    is_full = True
    make = atomic_file._make_file

    def make_or_refuse(temporary: Path) -> None:
        if is_full:
            raise PermissionError(13, "Permission denied")
        make(temporary)

    def answer(method: str, _: str) -> Any:
        nonlocal is_full
        asked.append(method)
        is_full = True
        return made if method == "POST" else []

    monkeypatch.setattr(atomic_file, "_make_file", make_or_refuse)
    with answering(answer) as url:
        code, said = refusal(capsys, "send", path, "--to", url, *ALLOWED)
        assert (code, "CANNOT_WRITE" in said, asked) == (int(Exit.CANNOT_WRITE), True, []), said
        is_full = False
        code, said = refusal(capsys, "send", path, "--to", url, *ALLOWED)
    assert (code, "CANNOT_WRITE" in said, asked[0]) == (int(Exit.CANNOT_WRITE), True, "POST"), said
    assert "the archive stored 1 of 1 instances before" in said
    assert not list(path.parent.glob("*.sent.json*"))


def test_an_archive_that_takes_nothing_has_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By DIMSE, an archive of CT alone is sent a SEG: as where CT lies beside it."""
    study = make_study(tmp_path / "in")
    entity = AE("PEER")
    entity.add_supported_context(CTImageStorage)
    peer = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    try:
        where = f"PEER@127.0.0.1:{peer.server_address[1]}"
        code, said = refusal(capsys, "send", study.folder / "seg", "--to", where, *ALLOWED)
    finally:
        peer.shutdown()
    assert (code, "NOT_STORED" in said, "status 0122: not taken" in said) == (int(Exit.PARTLY_DONE), True, True), said
    assert [one["Status"] for one in entries(study.folder / "seg")[0]["Instances"]] == ["0122"]


def test_who_is_not_reached_is_not_told_of_fetching(series: PacsStudy, capsys: pytest.CaptureFixture[str]) -> None:
    for where in ("http://127.0.0.1:1/dicom-web", "A@127.0.0.1:1"):
        code, said = refusal(capsys, "send", series.paths("ct")[0], "--to", where, *ALLOWED)
        assert (code, "ARCHIVE_UNREACHED" in said, "fetched" in said) == (int(Exit.NO_SUCH_INPUT), True, False), said


def test_who_is_refused_sends_nothing(
    series: PacsStudy, archive_server: Orthanc, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = archive_server.uids()
    monkeypatch.setenv("VERIMASK_PACS_TOKEN", "wrong-token")
    with silent_port() as silent:
        tries = [
            (archive_server.web, "ARCHIVE_REFUSED"),
            (archive_server.dimse.replace(server.TITLE, "OTHER"), "ARCHIVE_REFUSED"),
            (f"A@127.0.0.1:{silent}", "ARCHIVE_UNREACHED"),
            (f"http://127.0.0.1:{silent}/dicom-web", "ARCHIVE_UNREACHED"),
        ]
        for where, expected in tries:
            code, said = refusal(capsys, "send", series.folder / "ct", "--to", where, *ALLOWED, "--timeout", "0.3")
            assert (code, expected in said, "wrong-token" in said) == (int(Exit.NO_SUCH_INPUT), True, False), said
    assert archive_server.uids() == before
    assert not (series.folder / "ct.sent.json").exists()


def test_a_connection_that_drops_leaves_what_was_answered(
    series: PacsStudy, archive_server: Orthanc, capsys: pytest.CaptureFixture[str]
) -> None:
    with cutting(archive_server.dicom_port, [600]) as cutter:
        where = f"{server.TITLE}@127.0.0.1:{cutter.port}"
        code, said = refusal(capsys, "send", series.folder / "ct", "--to", where, *ALLOWED)
    assert (code, "NOT_STORED" in said, "ended the connection" in said) == (int(Exit.PARTLY_DONE), True, True), said
    (entry,) = entries(series.folder / "ct")
    assert 0 < entry["Stored"] < 6
    assert (entry["Ended"], entry["Listed"]) == ("ARCHIVE_UNREACHED", None)
    assert run("send", series.folder / "ct", "--to", archive_server.dimse, *ALLOWED) == 0
    assert entries(series.folder / "ct")[1]["Stored"] == 6


def test_what_is_no_result_is_refused(
    series: PacsStudy, tmp_path: Path, archive_server: Orthanc, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_study(tmp_path / "other", masks=False)
    (tmp_path / "mixed").mkdir()
    for number, path in enumerate([series.paths("ct")[0], other.paths("ct")[0]]):
        (tmp_path / "mixed" / f"{number}.dcm").write_bytes(path.read_bytes())
    (tmp_path / "twice").mkdir()
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / "twice" / name).write_bytes(series.paths("ct")[0].read_bytes())
    (tmp_path / "text.dcm").write_text("text")
    ds = pydicom.dcmread(series.paths("ct")[1])
    ds.SOPInstanceUID = generate_uid()
    pydicom.dcmwrite(tmp_path / "named.dcm", ds)
    changed = pydicom.dcmread(tmp_path / "named.dcm")
    changed.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    changed.save_as(tmp_path / "named.dcm")
    tries = {
        "none": (Exit.NO_SUCH_INPUT, "NO_SUCH_INPUT"),
        "text.dcm": (Exit.NOTHING_TO_CONVERT, "NO_DICOM"),
        "mixed": (Exit.REFUSED, "several studies"),
        "twice": (Exit.REFUSED, "of another file beside it"),
        "named.dcm": (Exit.REFUSED, "names another instance"),
    }
    before = archive_server.uids()
    for name, (expected, words) in tries.items():
        code, said = refusal(capsys, "send", tmp_path / name, "--to", archive_server.dimse, *ALLOWED)
        assert (code, words in " ".join(said.split())) == (int(expected), True), said
    assert archive_server.uids() == before


def test_what_is_not_of_a_sending_is_left_alone(
    series: PacsStudy, archive_server: Orthanc, capsys: pytest.CaptureFixture[str]
) -> None:
    path = series.paths("ct")[0]
    beside = path.with_name(path.name + ".sent.json")
    beside.write_text("mine")
    before = archive_server.uids()
    code, said = refusal(capsys, "send", path, "--to", archive_server.web, *ALLOWED)
    assert (code, "OUTPUT_EXISTS" in said) == (int(Exit.OUTPUT_PATH), True)
    assert (beside.read_text(), archive_server.uids()) == ("mine", before)
