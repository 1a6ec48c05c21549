"""The readers of SEG, highdicom and dcmqi: they agree with what is right, and dispute every planted misreading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from pipeline.conversion.convert import Request, convert_all
from pipeline.conversion.record import Outcome
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.crosscheck import mask_panel
from pipeline.crosscheck.refusals import is_understood_of_mask
from pipeline.crosscheck.testimony import Testimony as Answer  # a class called Test… would be collected
from pipeline.decode.seg import instance
from pipeline.decode.seg.instance import Instance
from tests.helpers import cases_seg
from tests.helpers.cases import needs_samples, samples_folder
from tests.helpers.segs import PLACE, SegFrame, blobs, frames_of, source_files, write_seg

pytest.importorskip("highdicom")
pytest.importorskip("dcmqi")
READERS = ("highdicom", "dcmqi")
SAMPLES = (
    *(f"ImagingDataCommons+highdicom/data/test_files/seg_image_ct_{name}.dcm" for name in ("binary", "binary_overlap")),
    "ImagingDataCommons+highdicom/data/test_files/seg_image_ct_true_fractional.dcm",
    *(f"QIICR+dcmqi/data/segmentations/{name}.dcm" for name in ("liver", "partial_overlaps", "sparse-labelmap-ppv5")),
)


def convert(
    folder: Path, request: Mapping[str, Any] | None = None, **policy: Any
) -> tuple[list[Outcome], list[PipelineError]]:
    """Convert folder/in, with folder/source where there is one, and ask both readers."""
    source = folder / "source"
    given = {"source": (source,)} if source.exists() else {}
    request_ = Request(**{**given, **(request or {})})
    asked = Policy(**{"as_": "mask", "crosscheck": "voxels", **policy})
    return convert_all([folder / "in"], folder / "out", request=request_, policy=asked)


def statuses(outcome: Outcome) -> dict[str, str]:
    """What each reader said, as one that agrees in whatever order of voxels, and the words of any other."""
    said = {row["Witness"]: row for row in outcome.record["CrossCheck"] if row["Witness"] in READERS}
    assert all(row["Saw"] == "voxels" for row in said.values())
    agree = ("AGREES", "REORDERED")
    return {name: "agrees" if row["Status"] in agree else row["Words"] for name, row in said.items()}


def write(folder: Path, truth: Any, **options: Any) -> Path:
    """A SEG of (segments, i, j, k) in folder/in, on the images in folder/source."""
    sources = source_files(folder / "source")
    (folder / "in").mkdir()
    options = {"reference": dcmread(sources[0]).FrameOfReferenceUID, **options}
    return write_seg(folder / "in" / "seg.dcm", frames_of(truth), **options)


def both(words: str = "agrees") -> dict[str, str]:
    return dict.fromkeys(READERS, words)


# --- what is right ---------------------------------------------------------------------------------------------------


@pytest.fixture
def highdicom_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but highdicom is asked about the mask, though voxels are not asked for."""
    (reader,) = (reader for reader in mask_panel.READERS if reader.name == "highdicom")
    monkeypatch.setattr(mask_panel, "READERS", (replace(reader, by_default=reader.forms),))


@pytest.mark.parametrize("combine", ["auto", "separate"])
@pytest.mark.parametrize("overlap", [False, True])
def test_segments_that_overlap_or_not_are_read_alike(tmp_path: Path, overlap: bool, combine: str) -> None:
    write(tmp_path, blobs(3, overlap=overlap))
    outcomes, refusals = convert(tmp_path, combine=combine)
    assert not refusals
    assert len(outcomes) == (3 if overlap or combine == "separate" else 1)
    assert [statuses(outcome) for outcome in outcomes] == [both()] * len(outcomes)
    assert {outcome.verdict for outcome in outcomes} == {"VERIFIED"}


@pytest.mark.parametrize("fractional", [0.25, 0.5, 1.0, "keep"])
def test_fractions_are_read_alike_at_every_threshold(tmp_path: Path, fractional: float | str) -> None:
    rng = np.random.default_rng(3)
    sources = source_files(tmp_path / "source")
    (tmp_path / "in").mkdir()
    steps = np.array([0, 49, 50, 99, 100, 101, 199, 200], np.uint8)
    frames = [SegFrame(n, k, rng.choice(steps, (PLACE.rows, PLACE.columns))) for n in (1, 2) for k in (1, 2, 4)]
    reference = dcmread(sources[0]).FrameOfReferenceUID
    write_seg(tmp_path / "in" / "seg.dcm", frames, kind="FRACTIONAL", names=("a", "b"), reference=reference)
    outcomes, refusals = convert(tmp_path, fractional=fractional)
    assert not refusals
    assert [statuses(outcome) for outcome in outcomes] == [both()] * 2


def test_the_highest_label_of_eight_bits_is_not_taken_for_an_open_voxel(tmp_path: Path) -> None:
    sources = source_files(tmp_path / "source")
    (tmp_path / "in").mkdir()
    pixels = np.zeros((PLACE.rows, PLACE.columns), np.uint8)
    pixels[1, 2:5], pixels[3, 1] = 255, 254
    reference = dcmread(sources[0]).FrameOfReferenceUID
    frames = [SegFrame(None, 3, pixels), SegFrame(None, 4, np.flipud(pixels).copy())]
    names = ("first", "second")
    write_seg(tmp_path / "in" / "seg.dcm", frames, kind="LABELMAP", names=names, first_number=254, reference=reference)
    outcomes, refusals = convert(tmp_path)
    assert not refusals
    assert statuses(outcomes[0])["highdicom"] == "agrees"


def test_without_the_source_the_grid_is_that_of_the_frames(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_seg(tmp_path / "in" / "seg.dcm", frames_of(blobs(2, overlap=False)))
    outcomes, refusals = convert(tmp_path)
    assert not refusals
    assert statuses(outcomes[0]) == both()


def test_frames_of_bits_in_run_lengths_are_read_alike(tmp_path: Path) -> None:
    place = replace(PLACE, rows=8, columns=16)
    sources = source_files(tmp_path / "source", place)
    (tmp_path / "in").mkdir()
    pixels = np.zeros((8, 16), np.uint8)
    pixels[2:5, 3:11] = 1
    pixels[5, 4] = 2
    reference = dcmread(sources[0]).FrameOfReferenceUID
    frames = [SegFrame(None, k, np.roll(pixels, k, 1)) for k in range(4)]
    path = write_seg(tmp_path / "in" / "seg.dcm", frames, place, kind="LABELMAP", reference=reference)
    dataset = dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    outcomes, refusals = convert(tmp_path)
    assert not refusals
    assert statuses(outcomes[0])["highdicom"] == "agrees"


@needs_samples
@pytest.mark.parametrize("name", SAMPLES)
def test_real_segmentations_are_read_alike(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "seg.dcm").symlink_to(samples_folder() / name)
    outcomes, refusals = convert(tmp_path)
    assert not refusals
    assert [statuses(outcome) for outcome in outcomes] == [both()] * len(outcomes)


REFUSED = {
    "no identification, one segment": "highdicom",
    "each segment on a series of its own": "highdicom",
    "pixel measures in two places": "highdicom",
}


@pytest.mark.parametrize("case", [c for c in cases_seg.CASES if c.expected == "right"], ids=lambda c: c.name)
@pytest.mark.usefixtures("highdicom_alone")
def test_what_goes_wrong_in_the_field_is_read_alike_or_refused(tmp_path: Path, case: cases_seg.MaskCase) -> None:
    case.make(tmp_path)
    outcomes, refusals = convert(tmp_path, case.request, **{"crosscheck": "affine", **case.options})
    assert not refusals
    found = {words for outcome in outcomes for words in statuses(outcome).values()}
    if case.name in REFUSED:
        assert all(words.startswith("refuses: ") for words in found)
        refusal = found.pop().removeprefix("refuses: ")
        assert is_understood_of_mask(Answer("highdicom", "1", refusal=refusal))
    else:
        assert found <= {"agrees"}


# --- what is wrong ---------------------------------------------------------------------------------------------------

_read = instance.read_stored_values


def _flip_bits(frame: Any) -> Any:
    """Unpack the bits of every byte from the other end."""
    values = _read(frame)
    packed = np.packbits(values.ravel(), bitorder="little")
    return np.unpackbits(packed, bitorder="big")[: values.size].reshape(values.shape)


def _mirror(frame: Any) -> Any:
    return np.ascontiguousarray(_read(frame)[:, ::-1])


def _swap(self: Instance, frame: Any) -> int:
    return {1: 2, 2: 1}[frame.segment_number]


_place = instance.place_frames


def _shift_one(*given: Any) -> Any:
    """Put the last frame of a segment one plane further."""
    layout = _place(*given)
    at = layout.at.copy()
    last = int(np.flatnonzero(at == at.max())[0])
    at[last] += 1
    return replace(layout, at=at)


PLANTED: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "bits from the other end": (instance, "read_stored_values", _flip_bits),
    "mirrored": (instance, "read_stored_values", _mirror),
    "two segments swapped": (Instance, "_number_of", _swap),
    "one frame a plane further": (instance, "place_frames", _shift_one),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_misreading_is_disputed_by_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    truth = blobs(2, overlap=False)
    truth[..., 4:] = False
    write(tmp_path, truth, names=("first", "second"))
    monkeypatch.setattr(*PLANTED[planted])
    outcomes, refusals = convert(tmp_path)
    assert not outcomes
    assert [refusal.finding.code for refusal in refusals] == [Code.WITNESS_DIFFERS]
    assert set(READERS) <= set(refusals[0].finding.where)


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.usefixtures("highdicom_alone")
def test_a_planted_misreading_is_disputed_by_highdicom_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    truth = blobs(2, overlap=False)
    truth[..., 4:] = False
    write(tmp_path, truth, names=("first", "second"))
    monkeypatch.setattr(*PLANTED[planted])
    refusals = convert(tmp_path, crosscheck="affine")[1]
    assert [refusal.finding.where for refusal in refusals] == [("highdicom",)]


def test_fractions_read_from_the_wrong_half_are_disputed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    values = np.arange(PLACE.rows * PLACE.columns, dtype=np.uint8).reshape(PLACE.rows, PLACE.columns) * 5
    frames = [SegFrame(1, k, values) for k in range(3)]
    write_seg(tmp_path / "in" / "seg.dcm", frames, kind="FRACTIONAL", names=("a",))
    monkeypatch.setattr(instance, "read_stored_values", lambda frame: np.maximum(_read(frame), 1) - 1)
    refusals = convert(tmp_path)[1]
    assert [set(READERS) <= set(refusal.finding.where) for refusal in refusals] == [True]


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        ("highdicom", "RuntimeError: Cannot combine segments because segments overlap."),
        ("highdicom", "ValueError: Pixel Data has 46 bytes, and its frames without gaps are 40"),
        ("highdicom", "IndexError: list index out of range"),
        ("dcmqi", "writes segments that overlap, which were asked for in one file"),
        ("dcmqi", "writes no voxel of the segments that were asked for"),
        ("dcmqi", "E: Cannot unpack binary frame, invalid input data"),
    ],
)
def test_what_may_be_a_misreading_of_ours_leaves_doubt(reader: str, words: str) -> None:
    assert not is_understood_of_mask(Answer(reader, "1", refusal=words))


@pytest.mark.parametrize("step", [9.0, 1.25])
def test_a_wrong_distance_in_a_tag_is_refused_by_its_name(tmp_path: Path, step: float) -> None:
    """dcmqi believes Spacing Between Slices more than the positions."""
    write(tmp_path, blobs(1, overlap=False), names=("a",), tag_step=step)
    outcomes, refusals = convert(tmp_path)
    assert not refusals
    words = statuses(outcomes[0])["dcmqi"]
    assert words == f"refuses: puts planes {step:g} mm apart that are 2.5 mm apart"
    assert is_understood_of_mask(Answer("dcmqi", "1", refusal=words.removeprefix("refuses: ")))


@pytest.mark.parametrize("step", [None, 1.25, 2.5, 5.0])
@pytest.mark.parametrize("with_source", [True, False])
def test_frames_of_every_second_plane_lie_on_it_whatever_the_tag(
    tmp_path: Path, step: float | None, with_source: bool
) -> None:
    truth = blobs(1, overlap=False)
    truth[..., 1::2] = truth[..., 2] = False
    truth[0, 3, 2, 2] = truth[0, 1, 4, 0] = True
    path = write(tmp_path, truth, names=("a",), tag_step=step)
    if step is None:
        dataset = dcmread(path)
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = 2.5
        dataset.save_as(path)
    if not with_source:
        (tmp_path / "source").rename(tmp_path / "elsewhere")
    outcomes, refusals = convert(tmp_path)
    assert not refusals
    assert statuses(outcomes[0])["highdicom"] == "agrees"


@pytest.mark.usefixtures("highdicom_alone")
def test_frames_padded_to_bytes_are_no_reason_to_dispute(tmp_path: Path) -> None:
    """Their bits begin anew with every frame; highdicom would read them from the wrong places."""
    truth = blobs(2, overlap=False)
    path = write(tmp_path, truth, names=("a", "b"))
    dataset = dcmread(path)
    raw = b"".join(np.packbits(f.pixels.ravel(), bitorder="little").tobytes() for f in frames_of(truth))
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset.save_as(path)
    outcomes, refusals = convert(tmp_path, crosscheck="affine")
    assert not refusals
    assert statuses(outcomes[0])["highdicom"].startswith("refuses: ValueError: Pixel Data has")


# --- what they are made of -------------------------------------------------------------------------------------------
