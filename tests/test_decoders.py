"""Frames decoded by other processes are those decoded here, in any order, and whatever becomes of the processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders import RLELosslessDecoder

from pipeline.cli.main import main
from pipeline.conversion.convert import convert
from pipeline.core.exits import Exit
from pipeline.core.findings import Code, Finding, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom import decoder_process, decoding, frame_decoder
from pipeline.dicom.decoder_process import end_processes, processes
from pipeline.dicom.decoding import FrameFailure, Question, seconds_limit
from pipeline.dicom.frame import frames_of
from pipeline.dicom.frame_decoder import Ahead, decode
from pipeline.dicom.header import read_header
from pipeline.dicom.pixels import read_plane, stored_voxels
from tests.helpers import broken_decoder
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


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode with what does as a comment in the stream says."""
    monkeypatch.setattr(decoder_process, "_WORKER", broken_decoder.MODULE)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (b"ABORT", "pyjpegls, which runs in a process of its own: it was killed by SIGABRT"),
        (b"CRASH", "pyjpegls, which runs in a process of its own: it was killed by SIGSEGV"),
        (b"LEAVE", "pyjpegls, which runs in a process of its own: it ended with exit status 0"),
        (
            b"HANG!",
            "pyjpegls, which runs in a process of its own: it gave no answer within 15 s (VERIMASK_DECODER_SECONDS)",
        ),
    ],
)
def test_a_decoder_that_fails_costs_its_frame_alone(
    tmp_path: Path, broken: None, monkeypatch: pytest.MonkeyPatch, word: bytes, said: str
) -> None:
    monkeypatch.setenv("VERIMASK_DECODER_SECONDS", "15" if word == b"HANG!" else "60")
    truth = write(tmp_path, SPEC, kind="enhanced mr" if word == b"ABORT" else "ct", transfer_syntax="jpeg-ls")
    broken_decoder.plant(truth.paths[5], word, truth.frames[5] + 1)
    frames = [frames_of(read_header(path))[n] for path, n in zip(truth.paths, truth.frames, strict=True)]
    voxels = stored_voxels(frames)
    for n in range(3, 9):
        if n == 5:
            with pytest.raises(PipelineError) as caught:
                voxels.plane(n)
        else:
            assert voxels.plane(n).shape == (36, 40)
    finding = caught.value.finding
    assert (finding.code, finding.where) == (Code.DECODER_FAILED, (frames[5].name,))
    assert f"the pixels of {frames[5].name} cannot be decoded by {said}" in finding.message
    assert (read_plane(frames[6]) == voxels.plane(6)).all()
    monkeypatch.setattr(decoder_process.DecoderProcess, "_send", lambda *_: pytest.fail("it is asked again"))
    with pytest.raises(PipelineError, match=re.escape(said)):
        read_plane(frames[5])


def test_the_time_of_a_decoder_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIMASK_DECODER_SECONDS", "soon")
    with pytest.raises(PipelineError, match="VERIMASK_DECODER_SECONDS is a whole number of seconds") as caught:
        seconds_limit()
    assert caught.value.finding.code == Code.BAD_OPTION


def test_a_decoder_that_wants_more_memory_than_there_is_for_it_is_refused(tmp_path: Path, broken: None) -> None:
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    broken_decoder.plant(truth.paths[0], b"SWELL")
    frame = decode(asked(truth)[0])  # Python says so, and another decoder is asked
    assert (frame == decode(asked(write(tmp_path / "sound", SPEC, transfer_syntax="jpeg-ls"))[0])).all()


def test_a_frame_for_which_no_decoder_has_memory_is_no_damage(tmp_path: Path, broken: None) -> None:
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    broken_decoder.plant(truth.paths[0], b"SWELL ALL")
    with pytest.raises(PipelineError) as caught:
        read_plane(frames_of(read_header(truth.paths[0]))[0])
    assert_lacks_memory(caught.value.finding, truth.paths[0].name)


def assert_lacks_memory(finding: Finding, name: str) -> None:
    assert (finding.code, finding.where, finding.unit) == (Code.MEMORY_LIMIT, (name,), "bytes")
    assert finding.measured == 36 * 40 * 2
    assert f"decode {name}: its frame of 40 × 36 pixels takes 2.812 KiB" in finding.message
    assert "--max-memory" in finding.hint


def test_an_array_that_finds_no_memory_here_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    frames = frames_of(read_header(truth.paths[0])) + frames_of(read_header(truth.paths[1]))

    def empty(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(decoder_process.np, "empty", empty)
    with pytest.raises(PipelineError) as caught:
        read_plane(frames[0])
    assert_lacks_memory(caught.value.finding, frames[0].name)
    monkeypatch.undo()
    assert read_plane(frames[1]).shape == (36, 40)


@pytest.mark.parametrize("syntax", ["rle", "deflated"])
def test_a_frame_that_finds_no_memory_in_this_process_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    truth = write(tmp_path, SPEC, transfer_syntax=syntax)
    frame = frames_of(read_header(truth.paths[0]))[0]

    def swell(*_: object, **__: object) -> NoReturn:
        raise MemoryError

    if syntax == "rle":
        monkeypatch.setitem(RLELosslessDecoder._available, "pydicom", swell)
    else:
        monkeypatch.setattr(decoding, "dataset", swell)
    with pytest.raises(PipelineError) as caught:
        read_plane(frame)
    assert_lacks_memory(caught.value.finding, frame.name)


def test_a_file_that_is_refused_as_a_whole_is_refused_in_the_same_words(tmp_path: Path, broken: None) -> None:
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    path = truth.paths[0].rename(tmp_path / broken_decoder.REFUSED)
    with pytest.raises(PipelineError) as caught:
        read_plane(frames_of(read_header(path))[0])
    found = caught.value.finding
    assert (found.code, found.message, found.hint, found.where) == (Code.PIXEL_LENGTH, "a file", "a hint", (path.name,))
    assert (found.measured, found.limit, found.unit) == (3, 2, "bytes")


def test_bytes_that_break_off_are_damage_and_no_missing_file(tmp_path: Path) -> None:
    """Where an element breaks off pydicom raises an OSError, as if the file could not be read."""
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    frame = frames_of(read_header(truth.paths[0]))[0]
    raw = truth.paths[0].read_bytes()
    start = raw.index(b"\x28\x00\x02\x00US")
    truth.paths[0].write_bytes(raw[: start + 4] + b"SQ" + b"\0\0" + b"\x04\0\0\0" + b"\1\2" + raw[start + 10 :])
    with pytest.raises(PipelineError) as caught:
        read_plane(frame)
    assert caught.value.finding.code in (Code.CORRUPT_FILE, Code.CODE_STREAM, Code.UNREADABLE_NUMBER)


def test_other_series_of_a_folder_are_converted(
    tmp_path: Path, broken: None, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write(tmp_path / "in" / "1", SPEC, transfer_syntax="jpeg-ls")
    write(tmp_path / "in" / "2", SPEC, transfer_syntax="jpeg-ls", seed="other", series_number=8)
    broken_decoder.plant(bad.paths[4], b"ABORT")
    with pytest.raises(SystemExit) as ended:
        main(["convert", *map(str, sorted((tmp_path / "in").iterdir())), "-o", f"{tmp_path / 'out'}/", "--as", "image"])
    assert ended.value.code == Exit.PARTLY_DONE
    assert "DECODER_FAILED" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 1


def test_an_abort_of_gdcm_is_a_refusal(tmp_path: Path) -> None:
    """A frame that is 60000 x 60000 by its header and by its stream: GDCM throws through its own code, and aborts."""
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    dataset = dcmread(truth.paths[0])
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    size = (36).to_bytes(2, "big") + (40).to_bytes(2, "big")
    assert size in stream
    dataset.PixelData = encapsulate([stream.replace(size, (60000).to_bytes(2, "big") * 2)])
    dataset["PixelData"].is_undefined_length = True
    dataset.Rows = dataset.Columns = 60000
    dataset.save_as(truth.paths[0])
    with pytest.raises(FrameFailure) as caught:
        decode(asked(truth)[0])
    assert caught.value.kind in ("ended", "memory", "damaged")  # by how much memory the machine has
    assert decode(asked(truth)[1]).shape == (36, 40)


def test_a_process_that_was_forked_has_decoders_of_its_own(tmp_path: Path) -> None:
    truth = write(tmp_path, SPEC, transfer_syntax="jpeg-ls")
    before = decode(asked(truth)[0])
    script = (
        "import multiprocessing, sys\n"
        "from pathlib import Path\n"
        "from pipeline.dicom.decoding import Question\n"
        "from pipeline.dicom.frame_decoder import decode\n"
        f"wanted = Question(Path({str(truth.paths[0])!r}), {asked(truth)[0].syntax!r}, 1)\n"
        "total = lambda: int(decode(wanted).sum())\n"
        "def tell(): print(total(), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    tell()\n"
        "    one = multiprocessing.get_context('fork').Process(target=tell)\n"
        "    one.start(); one.join(60); tell()\n"
    )
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == [str(int(before.sum()))] * 3


def test_small_series_need_no_pydicom_here(tmp_path: Path) -> None:
    """To import it and its plugins takes longer than all else; the process that decodes does so meanwhile."""
    truth = write(tmp_path / "in", SPEC, transfer_syntax="jpeg-ls")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline.dicom.decoding import Question\n"
        "from pipeline.dicom.frame_decoder import decode\n"
        "from pipeline.dicom.decoder_process import processes\n"
        f"decode(Question(Path({str(truth.paths[0])!r}), {asked(truth)[0].syntax!r}, 1))\n"
        "print([name for name in ('pydicom', 'gdcm', 'jpeg_ls') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
