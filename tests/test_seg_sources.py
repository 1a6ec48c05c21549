"""A mask lies on its source: by what the files name, by its grey values, or by the user's word; else it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from pipeline.conversion.convert import Request, convert, convert_all
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import ExportDescription
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from tests.helpers import rtphantom
from tests.helpers.cases_seg import COARSE, lps_of, name_images, name_series
from tests.helpers.segs import MR, PLACE, Place, SegFrame, blobs, frames_of, source_files, write_seg

BIG = Place(rows=12, columns=16, planes=6)


def converted(path: Path, source: Path, export: ExportDescription | None = None, **policy: Any) -> Outcome:
    request = Request(source=(source,), export=export or ExportDescription())
    return convert([path], path.parent / "out.nii.gz", request=request, policy=Policy(**policy))


def refused(path: Path, source: Path, export: ExportDescription | None = None, **policy: Any) -> Code:
    with pytest.raises(PipelineError) as caught:
        converted(path, source, export, **policy)
    return caught.value.finding.code


def codes(outcome: Outcome) -> set[Code]:
    return {finding.code for finding in outcome.findings}


def array_of(outcome: Outcome) -> NDArray[Any]:
    return np.asanyarray(nibabel.load(outcome.output).dataobj)


def lump() -> NDArray[np.bool_]:
    """A mask without symmetry that touches no border of its planes."""
    mask = np.zeros((16, 12, 6), bool)
    mask[4:9, 3:8, 1:4] = True
    mask[4, 3, :] = mask[8, 7, 2] = False
    return mask


def export_of(sources: list[Path], folder: Path, labels: NDArray[np.bool_] | None, *, binary: bool = False) -> Path:
    """An export of the images with value 4000 in the mask, or the mask alone, in a Frame of Reference of its own."""
    folder.mkdir()
    series, reference = generate_uid(), generate_uid()
    for path in sources:
        ds = dcmread(path)
        shown = ds.pixel_array.copy()
        if labels is not None:
            plane = labels[:, :, int(ds.InstanceNumber) - 1].T
            shown = plane.astype(np.uint16) if binary else np.where(plane, 4000, shown)
        ds.PixelData = shown.astype("<u2").tobytes()
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID, ds.SeriesNumber = series, reference, 7
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(folder / path.name)
    return folder


def test_grey_values_show_whose_export_it_is(tmp_path: Path) -> None:
    sources = source_files(tmp_path / "ct", BIG)
    mask = lump()
    shown = export_of(sources, tmp_path / "shown", mask)
    outcome = converted(shown, tmp_path / "ct", ExportDescription(kind="burned"))
    assert outcome.verdict == "VERIFIED"
    assert Code.FRAME_OF_REFERENCE_DIFFERS in codes(outcome)
    np.testing.assert_array_equal(array_of(outcome) > 0, mask)


def test_the_outside_of_a_masked_original_shows_it_too(tmp_path: Path) -> None:
    sources = source_files(tmp_path / "ct", BIG)
    mask = np.random.default_rng(6).random((16, 12, 6)) < 0.6
    shown = export_of(sources, tmp_path / "shown", ~mask)
    outcome = converted(shown, tmp_path / "ct", ExportDescription(kind="masked", outside=4000))
    assert Code.FRAME_OF_REFERENCE_DIFFERS in codes(outcome)
    np.testing.assert_array_equal(array_of(outcome) > 0, mask)


def test_a_value_taken_without_the_source_shows_nothing(tmp_path: Path) -> None:
    sources = source_files(tmp_path / "ct", BIG)
    mask = lump()
    shown = export_of(sources, tmp_path / "shown", mask)
    clean = export_of(sources, tmp_path / "clean", None)
    with pytest.raises(PipelineError) as caught:
        convert(
            [shown],
            tmp_path / "out.nii.gz",
            request=Request(source=(tmp_path / "ct",), clean=(clean,), export=ExportDescription(kind="burned")),
        )
    assert caught.value.finding.code is Code.FRAME_OF_REFERENCE_DIFFERS
    assert "--same-frame" in caught.value.finding.hint


def test_the_users_word_is_recorded_and_never_verified(tmp_path: Path) -> None:
    sources = source_files(tmp_path / "ct", BIG)
    mask = np.random.default_rng(8).random((16, 12, 6)) < 0.3
    labels = export_of(sources, tmp_path / "labels", mask, binary=True)
    assert refused(labels, tmp_path / "ct") is Code.FRAME_OF_REFERENCE_DIFFERS
    outcome = converted(labels, tmp_path / "ct", same_frame=True)
    assert (outcome.verdict, outcome.record["Policy"]["SameFrame"]) == ("UNCONFIRMED", True)
    assert Code.SAME_FRAME_STATED in codes(outcome)
    np.testing.assert_array_equal(array_of(outcome) > 0, mask)


def test_the_users_word_holds_for_contours(tmp_path: Path) -> None:
    grid = rtphantom.grid()
    rtphantom.write_images(tmp_path / "ct", grid)
    drawn = rtphantom.PhantomRoi(
        "ellipse", [rtphantom.on(grid, rtphantom.ellipse(20, 17, 9, 7, 60), k) for k in (2, 3)]
    )
    rtphantom.write_struct(tmp_path / "rs.dcm", [drawn])
    ds = dcmread(tmp_path / "rs.dcm")
    ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.77"
    for item in ds.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = "1.2.77"
    for contour in ds.ROIContourSequence[0].ContourSequence:
        contour.ContourImageSequence = []
    ds.save_as(tmp_path / "rs.dcm")
    assert refused(tmp_path / "rs.dcm", tmp_path / "ct") is Code.ROI_FRAME_OF_REFERENCE
    outcome = converted(tmp_path / "rs.dcm", tmp_path / "ct", same_frame=True)
    assert outcome.verdict == "UNCONFIRMED"
    assert Code.SAME_FRAME_STATED in codes(outcome)


def coarse_seg(folder: Path, *, kind: str = "BINARY") -> tuple[Path, NDArray[np.bool_]]:
    """A SEG that is coarser than the images in folder/ct."""
    reference = dcmread(source_files(folder / "ct")[0]).FrameOfReferenceUID
    truth = blobs(2, overlap=False, shape=(COARSE.columns, COARSE.rows, COARSE.planes))
    frames = frames_of(truth)
    if kind == "FRACTIONAL":
        frames = [SegFrame(f.segment, f.k, np.where(f.pixels, 150, 40).astype(np.uint8)) for f in frames]
    return write_seg(folder / "seg.dcm", frames, COARSE, reference=reference, names=["a", "b"], kind=kind), truth


def test_what_is_said_of_nearest_voxels_is_of_what_was_written(tmp_path: Path) -> None:
    path, _ = coarse_seg(tmp_path)
    assert refused(path, tmp_path / "ct") is Code.OFF_SOURCE_GRID
    outcome = converted(path, tmp_path / "ct", resample="nearest")
    array = array_of(outcome)
    voxel_ml = PLACE.spacing[0] * PLACE.spacing[1] * PLACE.step / 1000
    for row in outcome.record["Labels"]:
        assert row["Voxels"] == np.count_nonzero(array == row["Value"]) > 0
        assert row["VolumeMl"] == pytest.approx(row["Voxels"] * voxel_ml, rel=1e-3)
    assert outcome.record["Geometry"]["ResampledMm"] <= np.linalg.norm(lps_of(COARSE)[:3, :3].sum(1)) / 2
    assert outcome.verdict == "UNCONFIRMED"


def test_fractions_are_kept_on_the_grid_of_the_images(tmp_path: Path) -> None:
    reference = dcmread(source_files(tmp_path / "ct")[0]).FrameOfReferenceUID
    stored = np.random.default_rng(3).integers(0, 201, (PLACE.columns, PLACE.rows, PLACE.planes)).astype(np.uint8)
    frames = [SegFrame(1, k, stored[:, :, k].T) for k in (1, 3, 4)]
    path = write_seg(tmp_path / "seg.dcm", frames, kind="FRACTIONAL", reference=reference, names=["a"])
    outcome = converted(path, tmp_path / "ct", fractional="keep")
    expected = np.zeros(stored.shape)
    expected[..., [1, 3, 4]] = stored[..., [1, 3, 4]] / 200
    np.testing.assert_allclose(array_of(outcome), expected, atol=1e-6)
    assert outcome.verdict == "VERIFIED"


def test_kept_fractions_are_taken_from_the_nearest_voxel(tmp_path: Path) -> None:
    path, _ = coarse_seg(tmp_path, kind="FRACTIONAL")
    with pytest.raises(PipelineError) as caught:
        convert(
            [path], tmp_path / "no.nii.gz", request=Request(source=(tmp_path / "ct",)), policy=Policy(fractional="keep")
        )
    assert caught.value.finding.code is Code.OFF_SOURCE_GRID
    outcome = convert(
        [path],
        tmp_path / "out.nii.gz",
        request=Request(source=(tmp_path / "ct",), wanted=("a",)),
        policy=Policy(fractional="keep", resample="nearest"),
    )
    assert Code.RESAMPLED in codes(outcome)
    assert set(np.round(np.unique(array_of(outcome)), 5)) == {0.0, 0.2, 0.75}


def two_series(folder: Path, second: Place) -> tuple[list[Path], list[Path]]:
    """Two series of one Frame of Reference."""
    first, other = source_files(folder / "a"), source_files(folder / "b", second)
    for path in other:
        ds = dcmread(path)
        ds.FrameOfReferenceUID, ds.SeriesNumber = dcmread(first[0]).FrameOfReferenceUID, 4
        ds.save_as(path)
    return first, other


def longer() -> Place:
    return replace(PLACE, planes=PLACE.planes + 3)


def seg_of(folder: Path, sources: list[Path]) -> Path:
    reference = dcmread(sources[0]).FrameOfReferenceUID
    return write_seg(folder / "seg.dcm", frames_of(blobs(2, overlap=False)), reference=reference, names=["a", "b"])


def test_series_with_one_grid_are_one_choice(tmp_path: Path) -> None:
    first, _ = two_series(tmp_path / "study", PLACE)
    outcome = converted(seg_of(tmp_path, first), tmp_path / "study")
    (chosen,) = [f for f in outcome.findings if f.code is Code.SOURCE_CHOSEN]
    assert "series 4 too" in chosen.message or "series 3 too" in chosen.message
    assert outcome.verdict == "VERIFIED"


def test_several_grids_that_fit_are_refused_with_their_names(tmp_path: Path) -> None:
    first, _ = two_series(tmp_path / "study", longer())
    with pytest.raises(PipelineError) as caught:
        converted(seg_of(tmp_path, first), tmp_path / "study")
    assert caught.value.finding.code is Code.SEVERAL_SERIES
    assert len(caught.value.finding.where) == 2


def test_among_inputs_that_fit_alike_none_is_taken_and_that_is_said(tmp_path: Path) -> None:
    first, _ = two_series(tmp_path / "study", longer())
    seg_of(tmp_path / "study", first)
    outcome = convert([tmp_path / "study"], tmp_path / "out.nii.gz", request=Request(series="9"))
    assert array_of(outcome).shape == (PLACE.columns, PLACE.rows, PLACE.planes)
    assert [f.where for f in outcome.findings if f.code is Code.SOURCE_CHOSEN]
    assert outcome.verdict == "UNCONFIRMED"


def test_empty_planes_beyond_the_images_are_cut_off(tmp_path: Path) -> None:
    sources = source_files(tmp_path / "ct")
    truth = blobs(1, overlap=False)
    padded = replace(PLACE, planes=PLACE.planes + 2)
    wide = np.concatenate([truth, np.zeros((1, *truth.shape[1:3], 2), bool)], axis=3)
    reference = dcmread(sources[0]).FrameOfReferenceUID
    path = write_seg(tmp_path / "seg.dcm", frames_of(wide, sparse=False), padded, reference=reference, names=["a"])
    outcome = converted(path, tmp_path / "ct")
    np.testing.assert_array_equal(array_of(outcome) > 0, truth[0])


def test_frames_say_which_volume_of_a_series_is_meant(tmp_path: Path) -> None:
    sources = source_files(tmp_path / "study" / "a", sop_class=MR)
    for path in source_files(tmp_path / "study" / "b", sop_class=MR):
        ds, first = dcmread(path), dcmread(sources[0])
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = first.SeriesInstanceUID, first.FrameOfReferenceUID
        ds.StudyInstanceUID, ds.EchoTime, ds.EchoNumbers = first.StudyInstanceUID, 40, 2
        ds.InstanceNumber += PLACE.planes
        ds.save_as(path)
    path = seg_of(tmp_path, sources)
    assert refused(path, tmp_path / "study") is Code.SEVERAL_VOLUMES
    ds = dcmread(path)
    name_images(ds, sources)
    name_series(ds, sources)
    ds.save_as(path)
    request = Request(source=(tmp_path / "study",))
    outcome = convert([path], tmp_path / "out.nii.gz", request=request, policy=Policy(crosscheck="off"))
    assert array_of(outcome).shape == (PLACE.columns, PLACE.rows, PLACE.planes)


def naming(folder: Path, named: list[Path], referred: list[list[Path]], reference: str) -> Path:
    """A SEG in a Frame of Reference whose frames name some images, and which refers to some series."""
    path = write_seg(folder / "seg.dcm", frames_of(blobs(1, overlap=False)), reference=reference, names=["a"])
    ds = dcmread(path)
    name_images(ds, named)
    items = []
    for sources in referred:
        name_series(ds, sources)
        items += ds.ReferencedSeriesSequence
    ds.ReferencedSeriesSequence = items
    ds.save_as(path)
    return path


@pytest.mark.parametrize("both", [True, False])
def test_a_seg_whose_frames_name_other_images_was_not_made_on_these(tmp_path: Path, both: bool) -> None:
    """Whatever series it refers to: coordinates of one Frame of Reference are not used in another."""
    ct, pet = source_files(tmp_path / "ct"), source_files(tmp_path / "pet")
    path = naming(tmp_path, pet, [pet, ct] if both else [ct], dcmread(pet[0]).FrameOfReferenceUID)
    assert refused(path, tmp_path / "ct") is Code.FRAME_OF_REFERENCE_DIFFERS


def test_the_images_that_frames_name_count_before_the_series(tmp_path: Path) -> None:
    ct, pet = source_files(tmp_path / "study" / "ct"), source_files(tmp_path / "study" / "pet")
    path = naming(tmp_path, pet, [ct], dcmread(pet[0]).FrameOfReferenceUID)
    outcome = converted(path, tmp_path / "study")
    assert outcome.record["SourceSeriesInstanceUID"] == dcmread(pet[0]).SeriesInstanceUID


def on_two_series(folder: Path, numbers: tuple[int, int], names: list[str], first_number: int = 1) -> Path:
    """A SEG whose first segment was made on one series, and whose second on another."""
    first, other = two_series(folder / "study", replace(PLACE, origin=(-31.5, 12.25, 140.0)))
    truth = blobs(2, overlap=False)
    frames = [SegFrame(numbers[f.segment - 1], f.k, f.pixels) for f in frames_of(truth)]  # type: ignore[operator]
    reference = dcmread(first[0]).FrameOfReferenceUID
    path = write_seg(folder / "seg.dcm", frames, reference=reference, names=names, first_number=first_number)
    ds = dcmread(path)
    name_images(ds, first)
    named_first = [item.DerivationImageSequence for item in ds.PerFrameFunctionalGroupsSequence]
    ds_b = dcmread(path)
    for item in ds_b.PerFrameFunctionalGroupsSequence:
        moved = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float) + np.array([0, 0, 36])
        item.PlanePositionSequence[0].ImagePositionPatient = [float(v) for v in moved]
    name_images(ds_b, other)
    for n, item in enumerate(ds.PerFrameFunctionalGroupsSequence):
        is_first = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber == numbers[0]
        item.DerivationImageSequence = named_first[n]
        if not is_first:
            item.DerivationImageSequence = ds_b.PerFrameFunctionalGroupsSequence[n].DerivationImageSequence
            item.PlanePositionSequence = ds_b.PerFrameFunctionalGroupsSequence[n].PlanePositionSequence
    ds.save_as(path)
    return path


def labels_of(outcomes: list[Outcome]) -> dict[str, NDArray[np.bool_]]:
    """Every label that has voxels, by its name."""
    return {
        label["Name"]: array_of(outcome) == label["Value"]
        for outcome in outcomes
        for label in outcome.record["Labels"]
        if label["Voxels"]
    }


def all_of(path: Path, **policy: Any) -> tuple[list[Outcome], list[PipelineError]]:
    request = Request(source=(path.parent / "study",))
    return convert_all([path], path.parent / "out", request=request, policy=Policy(crosscheck="off", **policy))


def test_a_seg_on_two_nameless_series_goes_to_both(tmp_path: Path) -> None:
    path = on_two_series(tmp_path, (1, 2), ["a", "b"])
    for image in (tmp_path / "study").rglob("*.dcm"):
        ds = dcmread(image)
        del ds.SeriesInstanceUID
        ds.save_as(image)
    outcomes, refusals = all_of(path)
    assert (len(outcomes), refusals) == (2, [])
    found = labels_of(outcomes)
    for name, expected in zip("ab", blobs(2, overlap=False), strict=True):
        np.testing.assert_array_equal(found[name], expected)


def test_a_seg_on_two_grids_is_not_merged(tmp_path: Path) -> None:
    outcomes, (error,) = all_of(on_two_series(tmp_path, (1, 2), ["a", "b"]), combine="merge")
    assert (outcomes, error.finding.code) == ([], Code.GRID_DIFFERS)


def test_segments_that_come_to_one_source_in_two_ways_are_one_file(tmp_path: Path) -> None:
    """The third segment names no image, and lies on the grid of the first."""
    path = on_two_series(tmp_path, (1, 2), ["a", "b", "c"])
    ds = dcmread(path)
    frames = [f for f in ds.PerFrameFunctionalGroupsSequence if _segment_of(f) == 1]
    for item in frames[1:]:
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 3
        del item.DerivationImageSequence
    ds.save_as(path)
    outcomes, refusals = all_of(path)
    assert refusals == []
    assert sorted([label["Name"] for label in o.record["Labels"]] for o in outcomes) == [["a", "c"], ["b"]]
    found, (first, second) = labels_of(outcomes), blobs(2, overlap=False)
    np.testing.assert_array_equal(found["a"] | found["c"], first)
    np.testing.assert_array_equal(found["b"], second)


def _segment_of(item: Dataset) -> int:
    return int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


@pytest.mark.parametrize(
    ("numbers", "names", "first_number", "wanted"),
    [
        ((1, 2), ["a", "b"], 1, ["a", "b"]),
        ((1, 2), ["a"], 1, ["a", "segment 2"]),  # not in the table
        ((0, 1), ["a", "b"], 0, ["a", "b"]),
    ],
)
def test_no_segment_is_lost_where_they_lie_on_several_series(
    tmp_path: Path, numbers: tuple[int, int], names: list[str], first_number: int, wanted: list[str]
) -> None:
    path = on_two_series(tmp_path, numbers, names, first_number)
    outcomes, refusals = all_of(path)
    assert refusals == []
    truth, found = blobs(2, overlap=False), labels_of(outcomes)
    assert sorted(found) == sorted(wanted)
    for name, expected in zip(wanted, truth, strict=True):
        np.testing.assert_array_equal(found[name], expected)


def test_what_refuses_the_segments_on_one_series_is_said(tmp_path: Path) -> None:
    """The second segment holds fractions below the threshold only."""
    path = on_two_series(tmp_path, (1, 2), ["a", "b"])
    ds = dcmread(path)
    n, size = int(ds.NumberOfFrames), ds.Rows * ds.Columns
    bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")[: n * size].reshape(n, size)
    owner = [f.SegmentIdentificationSequence[0].ReferencedSegmentNumber for f in ds.PerFrameFunctionalGroupsSequence]
    values = bits * np.where(np.array(owner) == 2, 60, 200)[:, None].astype(np.uint8)
    ds.SegmentationType, ds.SegmentationFractionalType, ds.MaximumFractionalValue = "FRACTIONAL", "OCCUPANCY", 200
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = values.astype(np.uint8).tobytes() + b"\0" * (values.size % 2)
    ds.save_as(path)
    outcomes, refusals = all_of(path)
    assert [label["Name"] for o in outcomes for label in o.record["Labels"]] == ["a"]
    assert [e.finding.code for e in refusals] == [Code.EMPTY]


def test_a_value_that_agrees_everywhere_is_no_evidence(tmp_path: Path) -> None:
    """A mask of 0 and 1 over constant air of another patient agrees with it, with an offset of 1."""
    sources = source_files(tmp_path / "ct", BIG)
    mask = lump()
    labels = export_of(sources, tmp_path / "labels", mask, binary=True)
    for path in sources:
        ds = dcmread(path)
        ds.PixelData = np.where(mask[:, :, int(ds.InstanceNumber) - 1].T, 0, ds.pixel_array).astype("<u2").tobytes()
        ds.save_as(path)
    assert refused(labels, tmp_path / "ct", ExportDescription(kind="masked", outside=0)) is (
        Code.FRAME_OF_REFERENCE_DIFFERS
    )


def test_a_seg_beyond_images_that_were_not_given_stays_on_its_own_grid(tmp_path: Path) -> None:
    """Two of the planes it was made on are not in the folder."""
    sources = source_files(tmp_path / "study")
    path = seg_of(tmp_path / "study", sources)
    ds = dcmread(path)
    name_series(ds, sources)
    ds.save_as(path)
    by_place = sorted(sources, key=lambda p: int(dcmread(p).InstanceNumber))
    for path in (by_place[0], by_place[-1]):
        path.unlink()
    outcome = convert(
        [tmp_path / "study"], tmp_path / "out.nii.gz", request=Request(series="9"), policy=Policy(crosscheck="off")
    )
    assert array_of(outcome).shape == (PLACE.columns, PLACE.rows, PLACE.planes)
