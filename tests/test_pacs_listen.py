"""`verimask listen`: real senders, real files, and everything that can go wrong between them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from pipeline.core.findings import PipelineError
from pipeline.pacs.arrival import SETTLE_S, Arrivals
from pipeline.pacs.incoming import Destination, IncomingInstances
from pipeline.pacs.receiver import Receiver, ReceiverSettings
from pipeline.pacs.receiver_access import parse_senders
from pipeline.pacs.receiver_store import InstanceFacts, ReceivedFolder
from tests.helpers import rtphantom
from tests.helpers.listening import TITLE, associate, listening, needs_dcmtk, store
from tests.helpers.phantom import Spec, Truth, write
from tests.helpers.small_disk import may_mount, small_disk
from tests.kills.commands import unfinished_in

SMALL = Spec(shape=(20, 16, 8), content="grey", radius_mm=8)
LOCAL_LIMIT = (2, 3, 2)  # rejected for now, by the presentation layer: local limit exceeded (PS3.8 table 9-21)
LATE = 7  # the last plane: without it the others are a grid still


def grey(folder: Path, seed: str, **changes: Any) -> Truth:
    return write(folder, SMALL, seed=seed, **changes)


def masks(folder: Path) -> list[Path]:
    """A CT series and the structure set on it: the files of both, the structure set first."""
    grid = rtphantom.grid(shape=(22, 18, 6))
    images = sorted(rtphantom.write_images(folder / "ct", grid).iterdir())
    outline = rtphantom.on(grid, rtphantom.rectangle(4, 12, 5, 11), 2)
    roi = rtphantom.PhantomRoi("liver", [outline, rtphantom.on(grid, rtphantom.rectangle(4, 12, 5, 11), 3)])
    return [rtphantom.write_struct(folder / "rs.dcm", [roi]), *images]


def records(out: Path) -> dict[str, dict[str, Any]]:
    """What the receiver wrote of each series, by the UID of the series."""
    found = [json.loads(path.read_text()) for path in (out / "status").glob("*/*.json")]
    return {record["SeriesInstanceUID"]: record for record in found}


def received(out: Path) -> dict[str, bytes]:
    """What is there of each instance: its data set, without the File Meta Information."""
    return {path.name: data_set(path) for path in (out / "received").rglob("*.dcm")}


def data_set(path: Path) -> bytes:
    whole = path.read_bytes()
    return whole[144 + int.from_bytes(whole[140:144], "little") :]


def result(out: Path, uid: str, *, name: str = "*.nii.gz") -> Any:
    """The image that was made of a series."""
    status = next(p for p in (out / "status").glob("*/*.json") if json.loads(p.read_text())["SeriesInstanceUID"] == uid)
    (path,) = (out / "nifti" / status.parent.name / status.stem).glob(name)
    return nib.load(path)


def assert_true(out: Path, truth: Truth) -> None:
    """The result of a series has the voxels and the place of its truth."""
    image = result(out, truth.series_uid)
    voxels, to_truth = np.asarray(image.dataobj), np.linalg.inv(truth.ras) @ image.affine
    corners = np.array([[0, 0, 0, 1], [*(n - 1 for n in voxels.shape), 1]]).T
    (first, last) = (to_truth @ corners)[:3].T
    assert np.allclose(np.sort([first, last], axis=0), [[0, 0, 0], [n - 1 for n in truth.ijk.shape]], atol=1e-3)
    flips = tuple(slice(None, None, 1 if a <= b else -1) for a, b in zip(first, last, strict=True))
    assert np.array_equal(voxels[flips], truth.ijk)


# All of it, as a user and his senders do it


@needs_dcmtk
def test_five_studies_over_four_associations_one_aborted_and_one_plane_late(tmp_path: Path) -> None:
    truths = [grey(tmp_path / f"in{n}", f"study {n}") for n in range(4)]
    late = truths[0].paths[LATE]
    of_masks = masks(tmp_path / "in4")
    files = [path for truth in truths for path in truth.paths if path != late] + of_masks
    Random(5).shuffle(files)
    shares = [files[n::4] for n in range(4)]
    out = tmp_path / "out"
    with listening(out, "--quiet-time", "50", "--stop-after", "6") as running:
        sending = [
            Thread(target=running.send, args=(shares[0][: len(shares[0]) // 2], "--abort")),
            *(Thread(target=running.send, args=(share,)) for share in shares[1:]),
        ]
        held = associate(running.port, calling="STORESCU")  # the same sender, however long the others take to begin
        for thread in sending:
            thread.start()
        for thread in sending:
            thread.join()
        held.release()
        running.wait_for("INCOMPLETE with")
        assert not any("complete by" in line for line in running.lines)
        assert running.send(shares[0]) == 0
        running.wait_for("CONVERTED", 6)
        assert running.send([late]) == 0
        code, errors = running.end()
    assert (code, errors) == (0, "")
    lines = running.lines
    found = records(out)
    assert {record["State"] for record in found.values()} == {"CONVERTED"}
    assert {record["CompletedBy"] for record in found.values()} == {"the association's end"}
    assert len(found) == 6
    assert sum("CONVERTED" in line for line in lines) == 7, lines
    assert sum("STALE" in line for line in lines) == 1
    for truth in truths:
        assert_true(out, truth)
    (mask,) = [record for record in found.values() if record["Modality"] == "RTSTRUCT"]
    image = result(out, mask["SeriesInstanceUID"])
    assert image.shape == (22, 18, 6)
    assert np.count_nonzero(image.dataobj) > 0
    assert received(out) == {f"{dcmread(path).SOPInstanceUID}.dcm": data_set(path) for path in [*files, late]}
    assert any("that were here already" in line for line in lines)


@needs_dcmtk
@pytest.mark.parametrize("first", ["mask", "images"])
def test_a_mask_finds_its_images_in_another_study(tmp_path: Path, first: str) -> None:
    mask, *images = masks(tmp_path / "in")
    dataset = dcmread(mask)
    dataset.StudyInstanceUID = "1.2.826.0.1.99"
    dataset.save_as(mask)
    before, after = ([mask], images) if first == "mask" else (images, [mask])
    out, options = tmp_path / "out", ("--quiet-time", "50", "--stop-after", "2")
    with listening(out, *options) as running:
        assert running.send(before) == 0
        running.end()
    assert len(records(out)) == 1
    with listening(out, *options) as running:  # that it is another run keeps what the mask names
        assert running.send(after) == 0
        code, errors = running.end()
    assert (code, errors) == (0, ""), running.lines
    found = records(out)[dataset.SeriesInstanceUID]
    assert (found["State"], found["StaleResults"]) == ("CONVERTED", [])
    assert sum("since there are images for it that were not there" in line for line in running.lines) == 1
    image = result(out, dataset.SeriesInstanceUID)
    assert image.shape == (22, 18, 6)
    assert np.count_nonzero(image.dataobj) > 0


@needs_dcmtk
def test_what_somebody_takes_away_or_puts_there_is_seen(tmp_path: Path) -> None:
    truth = grey(tmp_path / "in", "one")
    out, options = tmp_path / "out", ("--quiet-time", "1", "--stop-after", "2")
    with listening(out, *options) as running:
        assert running.send(truth.paths) == 0
        running.end()
    for path in (out / "nifti").rglob("*.nii.gz"):
        path.unlink()
    with listening(out, *options) as running:
        running.end()
    assert_true(out, truth)  # it was made again
    aside = (out / "received").rename(tmp_path / "aside")
    for path in (out / "status").rglob("*.json"):
        path.unlink()
    with listening(out, *options) as running:
        aside.replace(out / "aside")
        (out / "received").rmdir()
        (out / "aside").rename(out / "received")  # copied back while it runs
        assert running.send(truth.paths) == 0
        code, errors = running.end()
    assert (code, errors) == (0, ""), running.lines
    assert records(out)[truth.series_uid]["Instances"] == len(truth.paths)


@needs_dcmtk
def test_what_was_acknowledged_outlives_a_kill_and_is_converted_after_it(tmp_path: Path) -> None:
    one, two = (grey(tmp_path / name, name) for name in ("one", "two"))
    out = tmp_path / "out"
    with listening(out, "--quiet-time", "50", fsync=True) as running:
        assert running.send(one.paths) == 0
        association = associate(running.port)
        acknowledged = [path for path in two.paths[:5] if store(association, path) == 0]
        running.process.kill()
        running.process.wait()
        association.abort()
    assert len(acknowledged) == 5
    kept = received(out)
    assert kept == {f"{dcmread(path).SOPInstanceUID}.dcm": data_set(path) for path in [*one.paths, *acknowledged]}
    with listening(out, "--quiet-time", "1", "--stop-after", "1") as running:
        code, errors = running.end()
    assert (code, errors) == (0, ""), running.lines
    assert unfinished_in(out) == []
    found = records(out)
    assert_true(out, one)
    assert found[two.series_uid]["Instances"] == 5
    assert found[two.series_uid]["CompletedBy"] == "quiet time"
    assert found[two.series_uid]["Incomplete"] == "its sending was broken off"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    with listening(out, "--quiet-time", "1", "--stop-after", "1") as running:
        running.end()
    assert len(running.lines) == 2, "what is done is not done again"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    truth = grey(tmp_path / "in", "one")
    out = tmp_path / "out"
    with listening(out) as running:
        association = associate(running.port)
        assert store(association, truth.paths[0]) == 0
        running.process.send_signal(signal.SIGTERM)
        code, errors = running.end()
        association.abort()
    assert (code, errors) == (143, "stopped by SIGTERM\n")
    assert unfinished_in(out) == []
    assert len(received(out)) == 1


# Parts, in this process


class Heard:
    """What a receiver told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def began(self, association: int, sender: str) -> None:
        self.told.append(("began", sender))

    def kept(self, association: int, facts: InstanceFacts, *, is_new: bool) -> None:
        self.told.append(("kept", facts.instance, is_new))

    def ended(self, association: int, *, in_order: bool) -> None:
        self.told.append(("ended", in_order))

    def refused(self, sender: str, why: str) -> None:
        self.told.append(("refused", sender, why))


class Serving:
    """A receiver in this process."""

    def __init__(self, folder: Path, *allowed: str, free_bytes: int = 0, tls: Any = None) -> None:
        self.folder, self.heard = folder, Heard()
        settings = ReceiverSettings(0, TITLE, parse_senders(allowed), tls)
        self.receiver = Receiver(settings, ReceivedFolder(folder, free_bytes), self.heard)
        self.receiver.start()
        self.port = self.receiver.port

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Starts receivers, and stops them after the test."""
    started: list[Serving] = []

    def start(folder: Path = tmp_path / "received", *allowed: str, **more: Any) -> Serving:
        started.append(Serving(folder, *allowed, **more))
        return started[-1]

    yield start
    for serving in started:
        serving.receiver.stop()


def rejection(association: Any) -> tuple[int, int, int]:
    assert association.is_rejected
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


@pytest.mark.parametrize(
    ("allowed", "calling", "called", "reason"),
    [
        (("CT1@127.0.0.1",), "CT2", TITLE, (1, 1, 3)),
        (("CT1@10.9.8.0/24",), "CT1", TITLE, (1, 1, 1)),
        (("*@::1", "CT1@127.0.0.1"), "CT1", "OTHER", (1, 1, 7)),
    ],
)
def test_whoever_may_not_send_is_rejected(
    serve: Any, tmp_path: Path, allowed: tuple[str, ...], calling: str, called: str, reason: tuple[int, int, int]
) -> None:
    serving = serve(tmp_path / "received", *allowed)
    assert rejection(associate(serving.port, calling=calling, called=called)) == reason
    assert [words[0] for words in serving.heard.told] == ["refused"]
    assert serving.files() == []
    assert associate(serving.port, calling="CT1").is_established is (allowed[0] != "CT1@10.9.8.0/24")


@pytest.mark.parametrize(
    "word", ["CT1", "@10.0.0.1", "CT1@nowhere", "A_TITLE_TOO_LONG_BY_FAR@10.0.0.1", "CT1@10.0.0.300"]
)
def test_a_rule_that_names_nobody_is_refused(word: str) -> None:
    with pytest.raises(PipelineError, match="--allow"):
        parse_senders([word])


def test_nobody_but_this_machine_is_allowed_by_default() -> None:
    allowed = parse_senders([])
    assert allowed.is_local
    assert [allowed.judge("ANY", at) for at in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1")] == [
        "allowed",
        "allowed",
        "allowed",
        "address",
    ]
    assert parse_senders(["A@10.1.0.0/16"]).judge("A ", "10.1.2.3") == "allowed"
    assert not parse_senders(["A@10.1.0.0/16"]).is_local


def hostile(path: Path, folder: Path, keyword: str, value: str) -> Path:
    """A file whose data set has another value, whatever it is."""
    dataset = dcmread(path)
    element = dataset[keyword]
    element._value = value
    target = folder / "hostile.dcm"
    dataset.save_as(target)
    return target


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyInstanceUID", "../../../outside"),
        ("SeriesInstanceUID", "/tmp/outside"),
        ("SeriesInstanceUID", ".."),
        ("StudyInstanceUID", "1.2\x1b[31m"),
        ("SeriesInstanceUID", "1." * 40 + "1"),
        ("SeriesInstanceUID", ""),
    ],
)
def test_a_hostile_name_becomes_no_file(serve: Any, tmp_path: Path, keyword: str, value: str) -> None:
    truth = grey(tmp_path / "in", "one")
    serving = serve()
    association = associate(serving.port)
    assert store(association, hostile(truth.paths[0], tmp_path, keyword, value)) == 0xC000
    assert store(association, truth.paths[1]) == 0
    association.release()
    assert len(serving.files()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile.dcm", "in", "incoming", "received"]
    words = " ".join(str(told) for told in serving.heard.told)
    assert "phantom" not in words
    assert "outside" not in words


def test_the_same_instance_again_is_taken_and_another_one_by_its_uid_is_not(serve: Any, tmp_path: Path) -> None:
    truth = grey(tmp_path / "in", "one")
    serving = serve()
    association = associate(serving.port)
    assert [store(association, truth.paths[0]) for _ in range(2)] == [0, 0]
    before = {path: path.read_bytes() for path in serving.folder.rglob("*.dcm")}
    changed = dcmread(truth.paths[0])
    changed.PatientName = "Somebody^Else"
    changed.save_as(tmp_path / "changed.dcm")
    assert store(association, tmp_path / "changed.dcm") == 0xC000
    association.release()
    assert {path: path.read_bytes() for path in serving.folder.rglob("*.dcm")} == before
    assert len(serving.files()) == 1
    assert [told[2] for told in serving.heard.told if told[0] == "kept"] == [True, False]
    assert "Somebody" not in str(serving.heard.told)


def test_a_connection_that_is_dropped_leaves_nothing_half(serve: Any, tmp_path: Path) -> None:
    truth = grey(tmp_path / "in", "one")
    serving = serve()
    association = associate(serving.port)
    assert store(association, truth.paths[0]) == 0
    for part in parts_of(association, truth.paths[1])[:-1]:
        association.dul.send_pdu(part)
    wait_until(lambda: unfinished_in(tmp_path / "incoming"))
    assert unfinished_in(serving.folder) == []
    association.dul.socket.socket.close()
    wait_until(lambda: ("ended", False) in serving.heard.told)
    assert len(serving.files()) == 1
    assert unfinished_in(tmp_path) == []


def test_who_looks_whether_the_port_is_open_keeps_nobody_out(serve: Any, tmp_path: Path) -> None:
    """As a port scan does: 70 connections at once that ask for nothing."""
    serving = serve()
    for _ in range(70):
        socket.create_connection(("127.0.0.1", serving.port)).close()
    wait_until(lambda: not len(serving.receiver._unasked), 20)
    association = associate(serving.port)
    assert store(association, grey(tmp_path / "in", "one").paths[0]) == 0
    association.release()
    assert ("ended", False) not in serving.heard.told


def test_connections_that_ask_for_nothing_are_counted(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.pacs.connection.MOST_UNASKED", 3)
    serving = serve()
    idle = [socket.create_connection(("127.0.0.1", serving.port)) for _ in range(3)]
    wait_until(lambda: len(serving.receiver._unasked) == 3)
    assert not associate(serving.port).is_established
    assert ("refused", "127.0.0.1", "3 connections that ask for nothing are open already") in serving.heard.told
    for connection in idle:
        connection.close()
    wait_until(lambda: not serving.receiver._unasked)
    association = associate(serving.port)
    assert association.is_established
    association.release()


@pytest.mark.parametrize("what", ["no data set", "no UID", "no command"])
def test_a_message_that_is_none_costs_its_association_at_most(
    serve: Any, tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    serving = serve()
    association = associate(serving.port)
    message, *_ = parts_of(association, grey(tmp_path / "in", "one").paths[0])
    ((context, command),) = message.presentation_data_value_list
    if what == "no data set":
        command = command.replace(
            b"\x00\x00\x00\x08\x02\x00\x00\x00\x01\x00", b"\x00\x00\x00\x08\x02\x00\x00\x00\x01\x01"
        )
    elif what == "no UID":
        start = command.index(b"\x00\x00\x00\x10")
        command = command[:start]
    else:
        command = command.replace(
            b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00", b"\x00\x00\x00\x01\x02\x00\x00\x00\x77\x77"
        )
    message.presentation_data_value_list = [[context, command]]
    association.dul.send_pdu(message)
    if what != "no data set":
        wait_until(lambda: ("ended", False) in serving.heard.told or not association.is_established)
    else:
        wait_until(lambda: any("it has no data set" in str(one) for one in serving.heard.told))
    association.abort()
    assert "Traceback" not in "".join(capfd.readouterr())
    again = associate(serving.port)
    assert again.is_established
    again.release()
    assert serving.files() == []


def test_what_a_move_sends_to_is_as_hard_to_shut_and_to_stop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The port of --move-to is open for the time of a retrieval, to anybody."""
    wanted = grey(tmp_path / "in", "one").paths[0]
    kept: list[str] = []
    incoming = IncomingInstances({dcmread(wanted).SOPInstanceUID}, lambda uid, _: kept.append(uid))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with incoming.receiving(Destination(TITLE, port), "127.0.0.1", 20):
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port)).close()
        association = associate(port)
        message, *_ = parts_of(association, wanted)
        ((context, command),) = message.presentation_data_value_list
        message.presentation_data_value_list = [[context, command[: command.index(b"\x00\x00\x00\x10")]]]  # no UID
        association.dul.send_pdu(message)
        wait_until(lambda: not association.is_established)
        again = associate(port)
        assert store(again, wanted) == 0
        again.release()
    assert len(kept) == 1
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_length_that_is_made_up_takes_no_memory(serve: Any, tmp_path: Path) -> None:
    serving = serve()
    with socket.create_connection(("127.0.0.1", serving.port), timeout=60) as connection:
        connection.sendall(bytes([1, 0, 0xFF, 0xFF, 0xFF, 0xF0]) + b"\0" * 100)
        assert connection.recv(100) in (b"", bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 0]))  # closed, or aborted
    association = associate(serving.port)
    assert store(association, grey(tmp_path / "in", "one").paths[0]) == 0
    association.release()


def test_who_sends_drop_by_drop_holds_no_thread(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte is late; the whole is."""
    monkeypatch.setattr("pipeline.pacs.receiver._REQUEST_S", 1.0)
    serving = serve()
    with socket.create_connection(("127.0.0.1", serving.port)) as connection:
        connection.sendall(bytes([1, 0, 0, 0, 4, 0]))
        connection.settimeout(0.2)
        answer = None
        for _ in range(300):
            try:
                answer = connection.recv(100)
                break
            except TimeoutError:
                connection.sendall(b"\0")
            except ConnectionError:
                answer = b""
                break
    assert answer in (b"", bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 0]))  # closed, or aborted


def parts_of(association: Any, path: Path) -> list[Any]:
    """The messages that an instance is sent in, on an association."""
    dataset = dcmread(path)
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == dataset.SOPClassUID)
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    request.DataSet = BytesIO(encode(dataset, context.transfer_syntax[0].is_implicit_VR, True))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    return list(message.encode_msg(context.context_id, 400))


def wait_until(is_so: Any, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not may_mount(), reason="only root mounts a small disk")
def test_a_full_disk_takes_no_instance_and_no_association(serve: Any, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    large = grey(tmp_path / "in", "one", shape=(200, 200, 8))
    with small_disk(place, 300):
        serving = serve(place / "received")
        association = associate(serving.port)
        statuses = [store(association, path) for path in large.paths]
        association.release()
        assert statuses[:2] == [0, 0]
        assert set(statuses[3:]) == {0xA700}
        assert len(serving.files()) == statuses.count(0)
        assert unfinished_in(place) == []
        serving.receiver.stop()
        full = serve(place / "received", free_bytes=1 << 20)
        assert rejection(associate(full.port)) == LOCAL_LIMIT
        assert ("refused", "SENDER at 127.0.0.1", "the disk is full") in full.heard.told
        full.receiver.stop()


def test_tls_asks_for_the_certificates_of_senders(serve: Any, tmp_path: Path) -> None:
    import ssl

    from pipeline.pacs.receiver_tls import make_context

    pem = tmp_path / "own.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*words.split(), "-keyout", pem, "-out", tmp_path / "c"], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (tmp_path / "c").read_text())
    serving = serve(tls=make_context(str(pem), str(pem)))
    stranger = ssl.create_default_context(cafile=str(pem))
    stranger.check_hostname = False
    assert not associate(serving.port).is_established
    assert not associate(serving.port, tls_args=(stranger, None)).is_established
    words = "no TLS came about: it has none, or not what we trust"
    wait_until(lambda: serving.heard.told.count(("refused", "127.0.0.1", words)) == 2)
    stranger.load_cert_chain(pem)
    with socket.create_connection(("127.0.0.1", serving.port)):  # begins no handshake, and holds nobody up
        known = associate(serving.port, tls_args=(stranger, None))
        assert known.is_established
        assert store(known, grey(tmp_path / "in", "one").paths[0]) == 0
        known.release()
    with pytest.raises(PipelineError, match="--certificate"):
        make_context(str(tmp_path / "c"), None)


# When a series is complete


def facts(number: int, series: str = "1.2.1", **more: Any) -> InstanceFacts:
    return InstanceFacts("1.2", series, f"{series}.{number}", "CT", "1.2.840.10008.5.1.4.1.1.2", **more)


@pytest.mark.parametrize("kind", ["66.4", "66.7", "481.3", "2"])
def test_every_kind_of_mask_waits_for_its_images(kind: str) -> None:
    """A SEG, a label map and a structure set; a CT image is none."""
    assert facts(1)._replace(sop_class=f"1.2.840.10008.5.1.4.1.1.{kind}").is_mask == (kind != "2")


def take(arrivals: Arrivals, association: int, numbers: Sequence[int], now_s: float, **more: Any) -> None:
    for number in numbers:
        arrivals.receive(association, facts(number, **more), is_new=True, now_s=now_s)


def reasons(arrivals: Arrivals, now_s: float) -> list[tuple[str, str]]:
    return [(series.completed_by, series.lacks) for series in arrivals.take_complete(now_s)]


def test_the_last_association_of_a_sender_completes_its_series() -> None:
    arrivals = Arrivals(60)
    arrivals.begin(1, "A", 0)
    arrivals.begin(2, "A", 0)
    take(arrivals, 1, range(3), 1)
    arrivals.end(1, in_order=True, now_s=2)
    assert reasons(arrivals, 2 + 2 * SETTLE_S) == []
    arrivals.end(2, in_order=True, now_s=5)
    assert reasons(arrivals, 5 + SETTLE_S / 2) == []
    arrivals.begin(3, "A", 5 + SETTLE_S / 2)
    assert reasons(arrivals, 5 + 2 * SETTLE_S) == []
    arrivals.end(3, in_order=True, now_s=8)
    assert reasons(arrivals, 8 + SETTLE_S) == [("the association's end", "")]
    assert arrivals.is_idle


def test_an_association_that_is_broken_off_completes_nothing_until_another_one_ends() -> None:
    arrivals = Arrivals(60)
    arrivals.begin(1, "A", 0)
    arrivals.begin(2, "A", 0)
    take(arrivals, 1, range(3), 1)
    assert [series.count for series in arrivals.end(1, in_order=False, now_s=2)] == [3]
    arrivals.end(2, in_order=True, now_s=3)
    assert reasons(arrivals, 10) == []
    arrivals.begin(3, "A", 11)
    take(arrivals, 3, [3], 12)
    arrivals.end(3, in_order=True, now_s=13)
    assert reasons(arrivals, 13 + SETTLE_S) == [("the association's end", "")]


def test_quiet_time_comes_last_and_says_what_may_be_lacking() -> None:
    arrivals = Arrivals(60)
    arrivals.begin(1, "A", 0)
    take(arrivals, 1, range(3), 1)
    assert reasons(arrivals, 60) == []
    assert reasons(arrivals, 61) == [("quiet time", "")]
    take(arrivals, 1, [3], 62)
    arrivals.end(1, in_order=False, now_s=63)
    assert reasons(arrivals, 121) == []
    assert reasons(arrivals, 122) == [("quiet time", "its sending was broken off")]


def test_a_number_that_the_sender_names_decides() -> None:
    arrivals = Arrivals(60)
    arrivals.begin(1, "A", 0)
    take(arrivals, 1, range(3), 1, series_count=4)
    arrivals.end(1, in_order=True, now_s=2)
    assert reasons(arrivals, 10) == []
    arrivals.begin(2, "A", 11)
    take(arrivals, 2, [3], 12, series_count=4)
    assert reasons(arrivals, 12) == [("the number of instances", "")]
    arrivals = Arrivals(60)
    arrivals.begin(1, "A", 0)
    take(arrivals, 1, range(3), 1, series_count=4)
    assert reasons(arrivals, 61) == [("quiet time", "its sender counts 4 instances")]


def test_where_a_study_counts_more_the_end_of_an_association_completes_nothing() -> None:
    arrivals = Arrivals(60)
    arrivals.begin(1, "A", 0)
    take(arrivals, 1, range(3), 1, study_count=40)
    arrivals.end(1, in_order=True, now_s=2)
    assert reasons(arrivals, 60) == []
    assert reasons(arrivals, 61) == [("quiet time", "its sender counts 40 instances of its study")]


def test_an_instance_counts_once_and_what_was_taken_away_does_not() -> None:
    there = [f"1.2.1.{number}" for number in range(4)]
    arrivals = Arrivals(60, lambda _: there)
    arrivals.begin(1, "A", 0)
    take(arrivals, 1, range(4), 1, series_count=4)
    assert reasons(arrivals, 2) == [("the number of instances", "")]
    del there[1:]
    series, was_complete = arrivals.receive(1, facts(0, series_count=4), is_new=True, now_s=3)
    assert (series.count, was_complete) == (1, True)
    arrivals.end(1, in_order=True, now_s=4)
    assert reasons(arrivals, 10) == []
    assert reasons(arrivals, 63) == [("quiet time", "its sender counts 4 instances")]


def test_the_number_of_a_study_completes_all_its_series() -> None:
    arrivals = Arrivals(60)
    arrivals.begin(1, "A", 0)
    take(arrivals, 1, range(2), 1, study_count=3)
    assert reasons(arrivals, 2) == []
    take(arrivals, 1, [1], 3, series="1.2.2", study_count=3)
    assert reasons(arrivals, 3) == [("the number of instances", "")] * 2
