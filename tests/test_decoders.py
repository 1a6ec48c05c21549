"""Frames decoded by other processes are those decoded here, in any order, and whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.conversion.convert import convert
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom import decoder_process, frame_decoder
from pipeline.dicom.decoder_process import end_processes, processes
from pipeline.dicom.decoding import FrameFailure, Question
from pipeline.dicom.frame_decoder import Ahead, decode
from tests.helpers.phantom import Spec, Truth, write

SPEC = Spec(shape=(40, 36, 14), content="index", bits_allocated=16)
SYNTAXES = ["rle", "jpeg lossless", "jpeg-ls", "jpeg 2000", "deflated"]


@pytest.fixture(autouse=True)
def _own_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes of its own for every test, ended with it; two where there are several."""
    monkeypatch.setattr(frame_decoder, "count_cores", lambda: 2)
    end_processes()
    yield
    end_processes()


def asked(truth: Truth) -> list[Question]:
    syntax = str(dcmread(truth.paths[0], stop_before_pixels=True).file_meta.TransferSyntaxUID)
    return [Question(path, syntax, frame + 1) for path, frame in zip(truth.paths, truth.frames, strict=True)]


@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_are_those_decoded_here_in_any_order(tmp_path: Path, kind: str, syntax: str) -> None:
    frames = asked(write(tmp_path, SPEC, kind=kind, transfer_syntax=syntax))
    ahead = Ahead(frames, 2)
    jumps = np.random.default_rng(1).permutation(14).tolist()
    for n in [*range(14), *range(14), *reversed(range(14)), *jumps, 5, 5]:
        frame = ahead.frame(n)
        assert (frame == decode(frames[n])).all()


def test_series_that_ask_in_turns_or_go_away_get_their_own_frames(tmp_path: Path) -> None:
    one = asked(write(tmp_path / "1", SPEC, transfer_syntax="jpeg-ls"))
    other = asked(write(tmp_path / "2", SPEC, transfer_syntax="jpeg-ls", seed="other", series_number=8, signed=True))
    mine, theirs = Ahead(one, 2), Ahead(other, 2)
    gone = Ahead(other, 2)
    assert gone.frame(3).shape == (36, 40)
    for n in range(14):
        for ahead, frames in ((mine, one), (theirs, other)):
            frame = ahead.frame(n)
            assert frame.dtype == decode(frames[n]).dtype
            assert (frame == decode(frames[n])).all()
        if n == 5:
            del gone
    assert all(not process._kept and not process._unwanted for process in processes(2))


def test_a_frame_that_cannot_be_decoded_says_why_and_the_next_is_decoded(tmp_path: Path) -> None:
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    truth.paths[3].write_bytes(truth.paths[3].read_bytes()[:900])
    frames = asked(truth)
    ahead = Ahead(frames, 2)
    for n in range(14):
        if n == 3:
            with pytest.raises(FrameFailure):
                ahead.frame(n)
        else:
            assert ahead.frame(n).shape == (36, 40)


def test_a_process_that_was_ended_from_outside_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_decoder, "WORTH_IT", 2)
    truth = write(tmp_path / "in", SPEC, transfer_syntax="jpeg-ls")
    process = processes(1)[0]._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    made = convert([truth.folder], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="voxels"))
    assert made.verdict == "VERIFIED"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_series_decoded_ahead_is_verified_voxel_by_voxel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    monkeypatch.setattr(frame_decoder, "WORTH_IT", 2)
    truth = write(tmp_path / "in", SPEC, transfer_syntax=syntax, stored="against")
    made = convert([truth.folder], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="voxels"))
    assert made.verdict == "VERIFIED"
    assert made.agreements[0].voxels_differing == 0
    assert [type(p) for p in processes(2)] == [decoder_process.DecoderProcess] * 2


def test_a_damaged_frame_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_decoder, "WORTH_IT", 2)
    truth = write(tmp_path / "in", SPEC, transfer_syntax="jpeg-ls")
    raw = truth.paths[6].read_bytes()
    truth.paths[6].write_bytes(raw[:-300] + bytes(300))
    with pytest.raises(PipelineError) as caught:
        convert([truth.folder], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="off"))
    assert caught.value.finding.code is Code.CORRUPT_FILE
    assert truth.paths[6].name in caught.value.finding.message
    assert not (tmp_path / "out.nii").exists()


def test_the_processes_end_with_their_parent() -> None:
    script = (
        "from pipeline.dicom.decoder_process import processes\n"
        "if __name__ == '__main__': print(*[p._process.pid for p in processes(2)], flush=True)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for pid in map(int, done.stdout.split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
