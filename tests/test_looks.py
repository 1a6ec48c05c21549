"""One run looks at a thing once, however many masks it makes: counted in real runs, as calls of the functions that look."""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.looks import Looks
from pipeline.conversion.record import Outcome, _inputs, _slices, as_text, versions
from pipeline.conversion.request import Request
from pipeline.conversion.source import lay_source
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.crosscheck.child import Child
from pipeline.crosscheck.panel import Panel
from pipeline.decode.rtstruct import structure_set
from pipeline.decode.seg.segment_table import read_table
from pipeline.dicom.header import read_header
from pipeline.dicom.pixels import about_files
from pipeline.dicom.source_file import sha256
from pipeline.dicom.split_volumes import split
from pipeline.stacking.stack_frames import lay_frames
from tests.helpers.rtphantom import STRUCT_SERIES_UID, PhantomRoi, grid, on, rectangle, write_images, write_struct
from tests.helpers.segs import blobs, frames_of, source_files, write_seg

G = grid()
PLANES = G.shape[2]
AFFINE = Policy(crosscheck="affine")
LOOKS = (
    read_header,
    sha256,
    lay_frames,
    split,
    about_files,
    versions,
    _slices,
    _inputs,
    Child.send,
    structure_set.read,
    read_table,
)


@contextmanager
def counting(*functions: Callable[..., Any]) -> Iterator[Counter[str]]:
    """Count the calls of functions in all threads."""
    names = {function.__code__: function.__name__ for function in functions}
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in names:
            calls[names[frame.f_code]] += 1

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def several(inputs: list[Path], source: Path, out: Path, policy: Policy = AFFINE, **request: Any) -> list[Outcome]:
    made, refused = convert_all(inputs, out, request=Request(source=(source,), **request), policy=policy)
    assert refused == []
    return made


def study(folder: Path, count: int) -> Path:
    """A structure set of so many ROIs beside the images it was drawn on."""
    write_images(folder / "ct", G)
    boxes = [rectangle(2, 5 + n, 3, 6 + n) for n in range(count)]
    rois = [PhantomRoi(f"roi {n}", [on(G, box, k) for k in (2, 3)], number=n + 1) for n, box in enumerate(boxes)]
    write_struct(folder / "rs.dcm", rois)
    return folder


def mask_series(folder: Path, images: list[Path], value: int) -> Path:
    """A label series on the images' own planes."""
    folder.mkdir(parents=True)
    series = generate_uid()
    for path in images:
        ds = dcmread(path)
        pixels = np.zeros_like(ds.pixel_array)
        pixels[value : value + 3, 2:6] = value
        ds.PixelData = pixels.tobytes()
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.SeriesDescription = series, value, f"mask {value}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(folder / path.name)
    return folder


def test_a_source_is_looked_at_once_for_all_rois(tmp_path: Path) -> None:
    for count in (1, 4):
        folder = study(tmp_path / str(count), count)
        with counting(*LOOKS) as calls:
            made = several([folder / "rs.dcm"], folder / "ct", folder / "out")
        assert len(made) == count
        assert calls == {
            "read_header": PLANES + 1,
            "sha256": PLANES + 1,
            "read": 1,
            "split": 1,
            "lay_frames": 1,
            "about_files": 1,
            "versions": 1,
            "_slices": 1,
            "_inputs": 1,
            "send": 1 + count,  # each mask is shown to its reader
        }


def test_a_source_that_lies_among_the_inputs_is_read_once(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", 2)
    with counting(read_header, sha256, lay_frames, Child.send) as calls:
        made = several([folder], folder / "ct", tmp_path / "out", series=STRUCT_SERIES_UID)
    assert len(made) == 2
    assert calls == {"read_header": PLANES + 1, "sha256": PLANES + 1, "lay_frames": 1, "send": 1 + 2}


def test_a_source_is_looked_at_once_for_all_segments(tmp_path: Path) -> None:
    for count in (1, 3):
        folder = tmp_path / str(count)
        images = source_files(folder / "ct")
        reference = dcmread(images[0]).FrameOfReferenceUID
        write_seg(
            folder / "seg.dcm",
            frames_of(blobs(count, overlap=False)),
            names=("a", "b", "c")[:count],
            reference=reference,
        )
        with counting(*LOOKS) as calls:
            made = several([folder / "seg.dcm"], folder / "ct", folder / "out", Policy(combine="separate"))
        assert len(made) == count
        files = len(images) + 1
        assert (calls["read_header"], calls["sha256"], calls["lay_frames"]) == (files, files, 1)
        assert (calls["read_table"], calls["send"], calls["_slices"], calls["_inputs"]) == (1, 1, 1, 1)


@pytest.mark.parametrize("merge", [False, True])
def test_a_source_is_looked_at_once_for_all_mask_series(tmp_path: Path, merge: bool) -> None:
    images = sorted(write_images(tmp_path / "ct", G).iterdir())
    masks = [mask_series(tmp_path / "masks" / str(n), images, n * 3) for n in (1, 2, 3)]
    policy = Policy(grey_values=True)
    with counting(*LOOKS) as calls:
        made = several(masks, tmp_path / "ct", tmp_path / "out", policy, merge=merge)
    assert len(made) == (1 if merge else 3)
    assert (calls["read_header"], calls["sha256"]) == (4 * PLANES, 4 * PLANES)
    assert calls["lay_frames"] == 4
    assert (calls["versions"], calls["send"]) == (1, len(made))


def test_what_is_passed_over_is_hashed_once(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", 3)
    several([folder / "rs.dcm"], folder / "ct", tmp_path / "out")
    with counting(sha256, read_header, Child.send) as calls:
        again = several([folder / "rs.dcm"], folder / "ct", tmp_path / "out", Policy(write="skip"))
    assert [made.verdict for made in again] == ["SKIPPED"] * 3
    assert calls == {"sha256": PLANES + 1 + 3, "read_header": PLANES + 1}


def test_records_that_share_their_lists_are_the_text_they_would_be_alone(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", 2)
    for made in several([folder / "rs.dcm"], folder / "ct", tmp_path / "out"):
        text = made.output.with_name(made.output.name.replace(".nii.gz", ".json")).read_text("utf-8")
        assert text == as_text(made.record) + "\n" == as_text(json.loads(text)) + "\n"


def between(outcomes: int, act: Callable[[], None]) -> Callable[[str, int, int], None]:
    """Progress that acts once, when so many files are done and the next one is being written."""
    started: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "writing" and done == 1:
            started.append(done)
            if len(started) == outcomes + 1:
                act()

    return progress


def test_a_source_that_is_changed_between_two_rois_refuses_the_second(tmp_path: Path) -> None:
    """Size and time of the last write stay the same: its bytes alone tell."""
    folder = study(tmp_path / "in", 3)
    path = folder / "ct" / "000.dcm"

    def change() -> None:
        state = path.stat()
        data = path.read_bytes()
        path.write_bytes(data[:-2] + b"\x55\x55")
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    request = Request(source=(folder / "ct",))
    made, refused = convert_all(
        [folder / "rs.dcm"], tmp_path / "out", request=request, policy=AFFINE, progress=between(1, change)
    )
    assert (len(made), [error.finding.code for error in refused]) == (1, [Code.INPUT_CHANGED] * 2)
    assert refused[0].finding.where == ("000.dcm",)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "rtstruct_seg-roi-0.json",
        "rtstruct_seg-roi-0.nii.gz",
    ]


def test_a_source_that_is_written_again_as_it_was_is_hashed_again_and_taken(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", 2)
    path = folder / "ct" / "000.dcm"
    request = Request(source=(folder / "ct",))
    with counting(sha256) as calls:
        made, refused = convert_all(
            [folder / "rs.dcm"],
            tmp_path / "out",
            request=request,
            policy=AFFINE,
            progress=between(1, lambda: os.utime(path, ns=(1, 1))),
        )
    assert (len(made), refused, calls["sha256"]) == (2, [], PLANES + 2)


def test_a_witness_that_failed_is_waited_for_once(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", 3)
    request = Request(source=(folder / "ct",))
    with Panel(AFFINE) as panel, counting(Child.send, Child.receive) as calls:
        process = panel._children["dicom2nifti"]._process
        assert process is not None
        process.kill()
        made, refused = convert_all([folder / "rs.dcm"], tmp_path / "out", request=request, policy=AFFINE, panel=panel)
    assert refused == []
    assert [one.agreements[0].status for one in made] == ["FAILED"] * 3
    assert calls == {
        "send": 1 + 3,
        "receive": 1 + 3,
    }  # once to dicom2nifti; to the reader of the masks, for each of them


def test_witnesses_are_asked_again_in_another_run(tmp_path: Path) -> None:
    """The files may be others by then."""
    folder = write_images(tmp_path / "ct", G)
    with Panel(AFFINE) as panel, counting(Child.send) as calls:
        for number in (1, 2):
            policy = Policy(as_="image")
            made = convert([folder], tmp_path / f"{number}.nii", policy=policy, panel=panel)
            assert (made.verdict, calls["send"]) == ("VERIFIED", number)


def test_a_refusal_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    looks = Looks()
    with counting(read_header) as calls:
        for _ in range(3):
            with pytest.raises(PipelineError) as caught:
                looks.scan([tmp_path])
            assert caught.value.finding.code is Code.NO_DICOM
    assert calls["read_header"] == 1


def test_what_was_looked_at_can_go_to_another_process(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "ct", G)
    looks, policy = Looks(), Policy()
    found = looks.scan([folder])
    lay_source(found, found.series[0], policy, looks)
    digests = looks.digests(folder.iterdir())
    there = pickle.loads(pickle.dumps(looks))
    with counting(*LOOKS) as calls:
        found = there.scan([folder])
        source = lay_source(found, found.series[0], policy, there)
        assert there.digests(folder.iterdir()) == digests
    assert not calls
    assert source.grid.shape == G.shape
