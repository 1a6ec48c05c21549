"""What `verimask listen` prints, and what its options do."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from pydicom import dcmread

from pipeline.cli.main import main
from pipeline.core.codes import Code
from pipeline.core.exits import Exit
from pipeline.core.findings import refuse
from pipeline.core.policy import Policy
from pipeline.pacs import listen_conversion
from pipeline.pacs.arrival import SeriesArrival
from pipeline.pacs.arrival_record import ArrivalRecord, read_record, write_record
from pipeline.pacs.listen_conversion import ConversionJob, ConversionReport, SeriesConverter
from tests.helpers import segs
from tests.helpers.listening import associate, listening, needs_dcmtk, store
from tests.helpers.phantom import write
from tests.test_pacs_listen import SMALL, records, result

NAME, USAGE, PARTLY_DONE = "Somebody^Known", 64, 8


def listen(*options: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["listen", *options])
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--port", "70000"), "--port"),
        (("--port", "0", "--ae", "A_TITLE_TOO_LONG_BY_FAR"), "--ae"),
        (("--port", "0", "--allow", "CT1"), "--allow"),
        (("--port", "0", "--quiet-time", "0"), "--quiet-time"),
        (("--port", "0", "--stop-after", "nan"), "--stop-after"),
        (("--port", "0", "--min-free", "-1"), "--min-free"),
        (("--port", "0", "--ca-file", "ca.pem"), "--ca-file has no effect"),
        (("--port", "0", "--certificate", "nothing.pem"), "--certificate nothing.pem cannot be used"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert listen("-o", str(tmp_path / "out"), *options) == USAGE
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_port_that_is_taken_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert listen("-o", str(tmp_path / "out"), "--port", str(taken.getsockname()[1])) == USAGE
    assert "cannot be listened at" in capsys.readouterr().err


def test_a_folder_has_one_receiver_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of two would have a part of what comes, and take it for all."""
    options = ["-o", str(tmp_path / "out"), "--port", "0", "--stop-after", "0.1"]
    with listening(tmp_path / "out") as first:
        assert listen(*options) == int(Exit.CANNOT_WRITE)
        said = " ".join(capsys.readouterr().err.split())
        assert f"Process {first.process.pid} receives into this folder already" in said
    assert listen(*options) == int(Exit.NOTHING_TO_CONVERT), "what was killed holds nothing"
    assert list((tmp_path / "out" / "incoming").iterdir()) == []


def test_without_its_package_nothing_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    assert listen("-o", str(tmp_path / "out"), "--port", "0") == USAGE
    assert "pip install 'verimask[pacs]'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_nothing_that_came_is_nothing_to_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listen("-o", str(tmp_path / "out"), "--port", "0", "--stop-after", "0.1", "--json") == 2
    assert json.loads(capsys.readouterr().out) == {"Series": []}


@needs_dcmtk
def test_a_mask_waits_for_its_images_and_a_report_is_passed(tmp_path: Path) -> None:
    """The SEG comes first, its images while it waits; what is neither does no harm. The name of the patient is printed nowhere."""
    images = segs.source_files(tmp_path / "ct")
    first = dcmread(images[0])
    mask = segs.write_seg(tmp_path / "seg.dcm", segs.frames_of(segs.blobs(2, overlap=False)))
    dataset, report = dcmread(mask), dcmread(images[0])
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = first.StudyInstanceUID, first.FrameOfReferenceUID
    dataset.PatientName = NAME
    dataset.save_as(mask)
    for element in [e for e in report if e.tag.group in (0x0018, 0x0020, 0x0028, 0x7FE0) and "UID" not in e.keyword]:
        del report[element.tag]
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99.1"
    report.SeriesInstanceUID, report.Modality = "1.2.3.99", "SR"
    report.save_as(tmp_path / "sr.dcm")
    out = tmp_path / "out"
    with listening(out, "--stop-after", "5", "--strip", "names", "--ae", "OTHER") as running:
        assert running.send([mask, *images, tmp_path / "sr.dcm"], "-R", called="OTHER") == 0
        assert running.end() == (0, "")
    states = {record["Modality"]: record["State"] for record in records(out).values()}
    assert states == {"SEG": "CONVERTED", "CT": "CONVERTED", "SR": "PASSED"}
    assert result(out, dataset.SeriesInstanceUID).shape == result(out, first.SeriesInstanceUID).shape
    assert sum(": CONVERTED" in line for line in running.lines) == 2, running.lines
    said = "\n".join(running.lines)
    assert "Known" not in said
    assert first.SeriesInstanceUID not in said
    names = [path.name for path in (out / "nifti").rglob("*.nii.gz")]
    assert not any("first" in name for name in names), "--strip names"


def test_a_series_that_lacks_a_plane_says_so_and_is_made_when_it_comes(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    out = tmp_path / "out"
    with listening(out, "--quiet-time", "1", "--stop-after", "5") as running:
        association = associate(running.port)
        for path in (*truth.paths[:3], *truth.paths[4:]):
            assert store(association, path) == 0
        association.abort()
        running.wait_for("INCOMPLETE with 7 instances")
        running.wait_for(r"complete by quiet time, INCOMPLETE \(its sending was broken off\)")
        code, errors = running.end()
    assert (code, errors) == (10, "")
    (record,) = records(out).values()
    assert (record["State"], record["Incomplete"]) == ("REFUSED", "its sending was broken off")
    assert [finding["Code"] for finding in record["Findings"]] == ["MISSING_PLANES"]
    with listening(out, "--quiet-time", "50") as running:
        association = associate(running.port)
        assert store(association, truth.paths[3]) == 0
        running.wait_for("to be tried again, since its instances are others now")
        association.release()
        running.wait_for("CONVERTED")
    (record,) = records(out).values()
    assert (record["State"], record["Incomplete"], record["Instances"]) == ("CONVERTED", None, 8)


class _Dying:
    """A process that ends in the middle of its work."""

    mark = ""

    def __init__(self, module: str) -> None:
        self.module = module

    def do(self, payload: bytes) -> Iterator[tuple[str, Any]]:
        raise EOFError

    def is_alive(self) -> bool:
        return True

    def end(self, limit_s: float) -> str:
        return "killed by SIGKILL"


def test_a_process_that_dies_costs_the_series_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_conversion, "Member", _Dying)
    reports: SimpleQueue[tuple[str, ConversionReport]] = SimpleQueue()
    converter = SeriesConverter(Policy(), tmp_path / "out", lambda name, report: reports.put((name, report)))
    for name in ("one", "two"):
        converter.put(name, ConversionJob(tmp_path, (), tmp_path / "out" / name, False))
    found = [reports.get(timeout=60) for _ in range(2)]
    converter.close()
    assert [name for name, _ in found] == ["one", "two"]
    assert [report.refused[0].finding.code for _, report in found] == [Code.PROCESS_ENDED] * 2
    assert "killed by SIGKILL" in found[0][1].refused[0].finding.message


@pytest.mark.parametrize(("code", "state"), [(Code.PROCESS_ENDED, "COMPLETE"), (Code.MISSING_PLANES, "REFUSED")])
def test_what_was_refused_for_want_of_a_process_is_tried_again(tmp_path: Path, code: Code, state: str) -> None:
    series = SeriesArrival("1.2", "1.2.3", "CT")
    report = ConversionReport(refused=(refuse(code, "words", "hint"),))
    write_record(tmp_path / "x.json", ArrivalRecord("COMPLETE").after(report, "one"), series)
    record = read_record(tmp_path / "x.json")
    assert record is not None
    assert record.state == state


def test_a_result_that_is_not_made_again_is_listed_and_read_back(tmp_path: Path) -> None:
    series = SeriesArrival("1.2", "1.2.3", "CT")
    series.add("1.2.3.4")
    made = ArrivalRecord("COMPLETE", "quiet time", "", series.fingerprint_text).after(
        ConversionReport(("a.nii.gz", "b.nii.gz"), ("VERIFIED", "DISPUTED")), "one"
    )
    again = made.after(ConversionReport(("b.nii.gz",), ("VERIFIED",)), "two")
    assert (made.state, made.stale, again.stale) == ("CONVERTED", (), ("a.nii.gz",))
    write_record(tmp_path / "status" / "x.json", again, series)
    assert read_record(tmp_path / "status" / "x.json") == again
    (tmp_path / "status" / "x.json").write_text('{"State": "CONVERTED"}')
    assert read_record(tmp_path / "status" / "x.json") is None
