"""One session, many conversions: each is what it would be alone, whatever came before it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

import pipeline
from pipeline import Code, Mask, PipelineError, Policy, Request, Session, convert, convert_all, read
from pipeline.crosscheck.child import Child
from tests.helpers.phantom import Spec, write
from tests.helpers.rtphantom import PhantomRoi, grid, on, rectangle, write_images, write_struct
from tests.helpers.segs import blobs, frames_of, source_files, write_seg
from tests.test_exports_planes import put_overlay

VOXELS = Policy(crosscheck="voxels")
REPLACE = Policy(crosscheck="voxels", write="overwrite")
AT_WORK = "this session is at work: it was asked again by what shows its progress, or before its read_all had ended"
LABELS = Spec(shape=(9, 7, 6), content="mask", radius_mm=4)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session() as shared:
        yield shared


def refused(call: Callable[[], object]) -> str:
    """The message of the SESSION_UNUSABLE that a call ends with."""
    with pytest.raises(PipelineError) as error:
        call()
    assert error.value.finding.code is Code.SESSION_UNUSABLE
    assert "verimask.Session()" in error.value.finding.hint
    return error.value.finding.message


def children_of(session: Session) -> list[Child]:
    return [*session._panel._children.values(), *session._panel.masks._children.values()]


def pids_of(session: Session) -> list[int]:
    return [child._process.pid for child in children_of(session) if child._process is not None]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def bytes_in(folder: Path, names: str = "*") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob(names)}


# --- results are those without one -----------------------------------------------------------------------------------


def _planes(folder: Path, turn: int) -> Request:
    write(folder / "in", LABELS, radius_mm=3 + turn)
    return Request()


def _one_file(folder: Path, turn: int) -> Request:
    """All frames in one compressed file: what was decoded last is what is asked for first."""
    write(folder / "in", LABELS, radius_mm=3 + turn, kind="enhanced ct", transfer_syntax="rle")
    return Request()


def _overlays(folder: Path, turn: int) -> Request:
    def edit(k: int, dataset: Any) -> None:
        bits = np.zeros((1, dataset.Rows, dataset.Columns), bool)
        bits[0, 1:3, turn : turn + 2] = True
        put_overlay(dataset, 0x6000, bits)

    write(folder / "in", LABELS, content="index", edit=edit)
    return Request()


def _segments(folder: Path, turn: int) -> Request:
    sources = source_files(folder / "source")
    (folder / "in").mkdir()
    reference = dcmread(sources[0]).FrameOfReferenceUID
    truth = blobs(2, overlap=False, seed=4 + turn)
    write_seg(folder / "in" / "seg.dcm", frames_of(truth), reference=reference, names=("first", "second"))
    return Request(source=(folder / "source",))


def _contours(folder: Path, turn: int) -> Request:
    place = grid()
    write_images(folder / "source", place)
    (folder / "in").mkdir()
    write_struct(
        folder / "in" / "rs.dcm", [PhantomRoi("liver", [on(place, rectangle(4, 11 + turn, 4, 12), k) for k in (1, 2)])]
    )
    return Request(source=(folder / "source",))


KINDS = (_planes, _one_file, _overlays, _segments, _contours)


@pytest.mark.parametrize("make", KINDS)
def test_a_file_that_changed_between_two_calls_is_read_and_witnessed_anew(
    make: Callable[[Path, int], Request], tmp_path: Path
) -> None:
    """The same names, and other bytes. Held against a Python that has not seen the first ones."""
    given = tmp_path / "given"
    with Session(REPLACE) as session:
        for turn in (0, 1):
            shutil.rmtree(given, ignore_errors=True)
            given.mkdir()
            request = make(given, turn)
            outcome = session.convert(given / "in", tmp_path / "m.nii.gz", request=request)
            assert outcome.verdict == "VERIFIED"
    assert bytes_in(tmp_path, "m.*") == _convert_alone(given, tmp_path / "alone", request)


_ALONE = """
import sys, warnings
warnings.simplefilter("ignore")
from verimask import Policy, Request, convert
given, out, *source = sys.argv[1:]
convert(given, out, policy=Policy(crosscheck="voxels", write="overwrite"), request=Request(source=source))
"""


def _convert_alone(given: Path, out: Path, request: Request) -> dict[str, bytes]:
    out.mkdir()
    command = [sys.executable, "-c", _ALONE, given / "in", out / "m.nii.gz", *request.source]
    subprocess.run(command, check=True, capture_output=True)
    return bytes_in(out)


def test_one_session_converts_every_kind_one_after_the_other(tmp_path: Path) -> None:
    """Masks, images and structure sets in a row, and everything of a folder: each as by functions of their own."""
    with Session() as session:
        for turn, make in enumerate(KINDS):
            folder = tmp_path / f"{turn}"
            folder.mkdir()
            request = make(folder, 0)
            for name in ("mine", "alone"):
                (folder / name).mkdir()
            session.convert(folder / "in", folder / "mine" / "m.nii.gz", request=request)
            convert(folder / "in", folder / "alone" / "m.nii.gz", request=request)
            assert bytes_in(folder / "mine") == bytes_in(folder / "alone")
        array = session.read(tmp_path / "0" / "in")
        assert (array.proof.sha256, array.proof.verdict) == (read(tmp_path / "0" / "in").proof.sha256, "VERIFIED")
        done, refusals = session.convert_all(tmp_path / "0" / "in", tmp_path / "all")
        assert (len(done), refusals) == (1, [])
        convert_all(tmp_path / "0" / "in", tmp_path / "same")
        assert bytes_in(tmp_path / "all") == bytes_in(tmp_path / "same")
        assert [s.title for s in session.scan(tmp_path / "0" / "in").series] == [done[0].series]


# --- witnesses -------------------------------------------------------------------------------------------------------


def test_witnesses_stay_from_call_to_call_and_are_those_of_the_policy(tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    with Session() as session:
        first = pids_of(session)
        for name in ("a", "b"):
            assert session.convert(tmp_path / "in", tmp_path / f"{name}.nii.gz").verdict == "VERIFIED"
        assert pids_of(session) == first
        outcome = session.convert(tmp_path / "in", tmp_path / "c.nii.gz", policy=VOXELS)
        assert {a.witness for a in outcome.agreements} >= {"dicom2nifti", "SimpleITK"}
        assert not set(pids_of(session)) & set(first)
        assert not any(map(is_running, first))
        last = pids_of(session)
    assert last
    assert not any(map(is_running, last))


def test_a_witness_that_was_killed_is_another_one_at_the_next_call(tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    with Session() as session:
        session.convert(tmp_path / "in", tmp_path / "a.nii.gz")
        for child in children_of(session):
            assert child._process is not None
            os.kill(child._process.pid, signal.SIGKILL)
            child._process.wait()
        assert session.convert(tmp_path / "in", tmp_path / "b.nii.gz").verdict == "VERIFIED"


def test_a_witness_that_took_too_long_spoils_only_that_call(tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    with Session() as session:
        for pid in pids_of(session):
            os.kill(pid, signal.SIGSTOP)  # a witness at its ease answers before it is waited for, whatever the limit
        hurried = session.convert(tmp_path / "in", tmp_path / "a.nii.gz", policy=Policy(witness_limit_s=0.1))
        assert [(a.status, a.words) for a in hurried.agreements] == [("FAILED", "gave no answer within 0.1 s")]
        assert session.convert(tmp_path / "in", tmp_path / "b.nii.gz").verdict == "VERIFIED"


def test_one_that_fails_within_the_same_policy_is_asked_again(tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    with Session() as session:
        (child,) = session._panel._children.values()
        assert child._process is not None

        def stop(stage: str, *_: int) -> None:
            if stage == "cross-checking":
                os.kill(child._process.pid, signal.SIGKILL)

        session.convert(tmp_path / "in", tmp_path / "a.nii.gz")
        os.kill(child._process.pid, signal.SIGSTOP)  # it cannot have answered before it is ended
        failed = session.convert(tmp_path / "in", tmp_path / "b.nii.gz", progress=stop)
        assert [a.status for a in failed.agreements] == ["FAILED"]
        assert session.convert(tmp_path / "in", tmp_path / "c.nii.gz").verdict == "VERIFIED"


def test_one_that_owes_an_answer_is_ended_so_that_the_next_call_does_not_wait_for_it(tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    with Session() as session:

        def give_up(stage: str, *_: int) -> None:
            raise KeyboardInterrupt

        before = pids_of(session)
        with pytest.raises(KeyboardInterrupt):
            session.convert(
                tmp_path / "in", tmp_path / "a.nii.gz", progress=lambda s, *_: give_up(s) if s == "writing" else None
            )
        assert children_of(session)[0]._sent == 1
        assert session.convert(tmp_path / "in", tmp_path / "b.nii.gz").verdict == "VERIFIED"
        assert not any(map(is_running, before))


def test_a_reader_of_masks_that_failed_is_asked_again_about_the_same_file(tmp_path: Path) -> None:
    request = _contours(tmp_path, 0)
    with Session() as session:
        session.convert(tmp_path / "in", tmp_path / "a.nii.gz", request=request)
        (reader,) = session._panel.masks._children.values()
        assert reader._process is not None
        os.kill(reader._process.pid, signal.SIGSTOP)
        end = lambda stage, *_: os.kill(reader._process.pid, signal.SIGKILL) if stage == "cross-checking" else None  # noqa: E731
        failed = session.convert(tmp_path / "in", tmp_path / "b.nii.gz", request=request, progress=end)
        assert {a.witness: a.status for a in failed.agreements}["Shapely"] == "FAILED"
        again = session.convert(tmp_path / "in", tmp_path / "c.nii.gz", request=request)
        assert {a.witness: a.status for a in again.agreements}["Shapely"] == "AGREES"


# --- use -------------------------------------------------------------------------------------------------------------


def test_threads_take_turns(tmp_path: Path) -> None:
    """Eight threads, two series, one session: every file is its own series'."""
    (tmp_path / "alone").mkdir()
    for name, radius in (("small", 2), ("large", 5)):
        write(tmp_path / name, LABELS, radius_mm=radius)
        convert(tmp_path / name, tmp_path / "alone" / f"{name}.nii.gz")
    made: list[str] = []

    def work(number: int) -> None:
        name = ("small", "large")[number % 2]
        (tmp_path / f"{number}").mkdir()
        session.convert(tmp_path / name, tmp_path / f"{number}" / f"{name}.nii.gz")
        assert bytes_in(tmp_path / f"{number}").items() <= bytes_in(tmp_path / "alone").items()
        made.append(name)

    with Session() as session:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(made) == ["large"] * 4 + ["small"] * 4


def test_what_is_closed_says_so(tmp_path: Path) -> None:
    session = Session()
    with session:
        assert "entered already" in refused(session.__enter__)
    for call in (
        lambda: session.convert(tmp_path, tmp_path / "a.nii.gz"),
        lambda: session.convert_all(tmp_path, tmp_path / "out"),
        lambda: session.read(tmp_path),
        lambda: next(session.read_all(tmp_path)),
        lambda: session.scan(tmp_path),
        session.__enter__,
    ):
        assert refused(call) == "this session is closed"
    session.close()  # as often as one likes


def test_a_session_cannot_be_used_or_closed_from_within_its_own_work(session: Session, tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    messages: list[str] = []

    def progress(*_: object) -> None:
        messages.append(refused(lambda: session.convert(tmp_path / "in", tmp_path / "b.nii.gz")))
        messages.append(refused(session.close))

    assert session.convert(tmp_path / "in", tmp_path / "a.nii.gz", progress=progress).verdict == "VERIFIED"
    assert len(messages) > 1
    assert set(messages) == {AT_WORK}
    arrays = session.read_all(tmp_path / "in")
    assert isinstance(next(arrays), Mask)
    assert refused(lambda: session.read(tmp_path / "in")) == AT_WORK
    arrays.close()
    assert isinstance(session.read(tmp_path / "in"), Mask)


def test_it_is_not_given_to_another_process(session: Session, tmp_path: Path) -> None:
    assert "another process" in refused(lambda: pickle.dumps(session))
    if "fork" not in multiprocessing.get_all_start_methods():
        return
    write(tmp_path / "in", LABELS)
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()

    def in_child() -> None:
        try:
            session.convert(tmp_path / "in", tmp_path / "child.nii.gz")
        except PipelineError as error:
            answers.put(str(error))
        session.close()
        session._finalizer()
        with Session() as own:
            answers.put(own.convert(tmp_path / "in", tmp_path / "own.nii.gz").verdict)

    before = pids_of(session)
    child = fork.Process(target=in_child)
    child.start()
    child.join(60)
    assert "belongs to another process" in answers.get()
    assert answers.get() == "VERIFIED"
    assert pids_of(session) == before
    assert all(map(is_running, before))
    assert session.convert(tmp_path / "in", tmp_path / "parent.nii.gz").verdict == "VERIFIED"


_ENDINGS = {
    "forgotten": "pass",
    "dropped": "del session; gc.collect(); print(*map(is_running, pids), flush=True)",
    "failed": "raise SystemExit(3)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("ending", _ENDINGS)
def test_an_unclosed_session_leaves_no_process(ending: str, tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    program = f"""
        import gc, os, signal, sys
        from tests.test_session import is_running, pids_of
        from verimask import Policy, Session
        session = Session(Policy(crosscheck="voxels"))
        session.convert({str(tmp_path / "in")!r}, {str(tmp_path / "a.nii.gz")!r})
        pids = pids_of(session)
        print(*pids, flush=True)
        {_ENDINGS[ending]}
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        env=environment,
        capture_output=True,
        text=True,
    )
    first, *more = done.stdout.splitlines()
    pids = [int(word) for word in first.split()]
    assert len(pids) >= 2, done.stderr
    assert more == ([" ".join(["False"] * len(pids))] if ending == "dropped" else [])
    deadline = time.monotonic() + 60  # one that was killed cannot end them: they notice that nobody asks any more
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.nii.gz", "in"]


def test_the_public_name(session: Session) -> None:
    assert pipeline.Session is Session
    assert session.policy == Policy()
