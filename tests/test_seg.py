"""DICOM SEG against what was written by hand, against the truths beside the real samples, and against highdicom."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.decode.seg import decode as seg
from pipeline.decode.seg.segment_table import rgb_of_cielab
from pipeline.dicom.scan import Series, scan
from pipeline.geometry.grid import Grid
from pipeline.volume.mask import MaskVolume
from tests.helpers import segs
from tests.helpers.cases import needs_samples, samples_folder
from tests.helpers.segs import (
    AXIAL,
    COLUMNS,
    PLACE,
    PLANES,
    ROWS,
    Place,
    SegFrame,
    blobs,
    frames_of,
    source_files,
    source_grid,
    write_seg,
)

DCMQI = samples_folder() / "QIICR+dcmqi" / "data" / "segmentations"
HIGHDICOM = samples_folder() / "ImagingDataCommons+highdicom" / "data" / "test_files"
SEGS = {
    "liver": DCMQI / "liver.dcm",
    "overlaps": DCMQI / "partial_overlaps.dcm",
    "noppv": DCMQI / "sparse-labelmap-noppv.dcm",
    "ppv5": DCMQI / "sparse-labelmap-ppv5.dcm",
    "23x38": DCMQI / "23x38x3/seg/label.seg",
    "24x38": DCMQI / "24x38x3/seg/label.seg",
    "ct": HIGHDICOM / "seg_image_ct_binary.dcm",
    "ct overlap": HIGHDICOM / "seg_image_ct_binary_overlap.dcm",
    "ct binary fractional": HIGHDICOM / "seg_image_ct_binary_fractional.dcm",
    "ct one frame": HIGHDICOM / "seg_image_ct_binary_single_frame.dcm",
    "ct fractional": HIGHDICOM / "seg_image_ct_true_fractional.dcm",
}


def only(path: Path) -> Series:
    (series,) = scan([path]).series
    return series


def by_number(masks: tuple[MaskVolume, ...]) -> dict[int, Any]:
    """Segment number to its (i, j, k) boolean array."""
    found = {}
    for mask in masks:
        array = mask.voxels.array()
        assert set(np.unique(array)) <= {0, *(s.number for s in mask.segments)}
        found.update({s.number: array == s.number for s in mask.segments})
    return found


def refused(path: Path, grid: Grid | None = None, **options: Any) -> Any:
    with pytest.raises(PipelineError) as caught:
        seg.decode(only(path), grid, **options)
    return caught.value


# --- written by hand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("with_source", [True, False])
def test_every_voxel_comes_back(tmp_path: Path, overlap: bool, sparse: bool, with_source: bool) -> None:
    truth = blobs(3, overlap=overlap)
    source_files(tmp_path / "source")
    grid, _, series = source_grid(tmp_path / "source")
    path = write_seg(tmp_path / "a.dcm", frames_of(truth, sparse=sparse), reference=series.frame_of_reference_uid)
    decoded = seg.decode(only(path), grid if with_source else None)
    assert len(decoded.masks) == (3 if overlap else 1)
    for number, array in by_number(decoded.masks).items():
        np.testing.assert_array_equal(array, truth[number - 1])
    np.testing.assert_allclose(decoded.masks[0].grid.lps, grid.lps, atol=1e-6)
    assert decoded.residual_mm < 1e-6
    assert len(decoded.residuals_mm) == len(only(path).frames)


def test_several_segments_merge_only_where_they_do_not_overlap(tmp_path: Path) -> None:
    truth = blobs(3, overlap=True)
    path = write_seg(tmp_path / "a.dcm", frames_of(truth))
    error = refused(path, combine="merge")
    assert error.finding.code is Code.SEGMENTS_OVERLAP
    counts = {(a, b): int((truth[a] & truth[b]).sum()) for a, b in ((0, 1), (0, 2), (1, 2))}
    assert error.finding.measured == max(counts.values())
    (a, b) = max(counts, key=counts.__getitem__)
    names = ("first", "second", "third")
    assert f"“{names[a]}”" in error.finding.message
    assert f"“{names[b]}”" in error.finding.message
    apart = write_seg(tmp_path / "b.dcm", frames_of(blobs(3, overlap=False)))
    assert len(seg.decode(only(apart), combine="merge").masks) == 1
    assert [m.name for m in seg.decode(only(apart), combine="separate").masks] == ["first", "second", "third"]


def test_two_that_overlap_are_found_whatever_comes_after_them(tmp_path: Path) -> None:
    pixels = np.zeros((3, ROWS, COLUMNS), bool)
    pixels[0, 1, 2] = pixels[1, 1, 2] = pixels[2, 4, 0] = True
    path = write_seg(tmp_path / "a.dcm", [SegFrame(n + 1, 0, pixels[n]) for n in range(3)])
    assert len(seg.decode(only(path)).masks) == 3
    assert refused(path, combine="merge").finding.measured == 1


def test_bytes_of_a_binary_segmentation_hold_one_value(tmp_path: Path) -> None:
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[1, 2:4] = 255
    good = write_seg(tmp_path / "a.dcm", [SegFrame(1, 0, pixels)], kind="LABELMAP", SegmentationType="BINARY")
    np.testing.assert_array_equal(seg.decode(only(good)).masks[0].voxels.plane(0), pixels // 255)
    pixels[0, 0] = 7
    bad = write_seg(tmp_path / "b.dcm", [SegFrame(1, 0, pixels)], kind="LABELMAP", SegmentationType="BINARY")
    with pytest.raises(PipelineError) as caught:
        seg.decode(only(bad)).masks[0].voxels.plane(0)
    assert caught.value.finding.code is Code.NOT_A_MASK


def test_segments_are_chosen_by_number_or_label_and_the_grid_stays(tmp_path: Path) -> None:
    truth = blobs(3, overlap=True)
    path = write_seg(tmp_path / "a.dcm", frames_of(truth))
    for wanted, number in ((["second"], 2), ([3], 3)):
        (mask,) = seg.decode(only(path), wanted=wanted).masks
        np.testing.assert_array_equal(mask.voxels.array(), truth[number - 1] * np.uint8(number))
    error = refused(path, wanted=["liver"])
    assert error.finding.code is Code.NO_SUCH_SEGMENT
    assert "2 “second”" in error.finding.hint


def test_a_segment_without_frames_is_a_finding_and_stays_in_the_table(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "a.dcm", frames_of(blobs(2, overlap=False)))
    decoded = seg.decode(only(path))
    assert [s.name for s in decoded.masks[0].segments] == ["first", "second", "third"]
    (finding,) = [f for f in decoded.findings if f.code is Code.SEGMENT_WITHOUT_FRAMES]
    assert "3 “third”" in finding.message
    assert refused(path, wanted=[3]).finding.code is Code.EMPTY


def test_a_frame_of_a_segment_nobody_described_is_kept_and_said(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "a.dcm", frames_of(blobs(3, overlap=False)), names=("first", "second"))
    decoded = seg.decode(only(path))
    np.testing.assert_array_equal(by_number(decoded.masks)[3], blobs(3, overlap=False)[2])
    assert Code.SEGMENT_NOT_DESCRIBED in {f.code for f in decoded.findings}


@pytest.mark.parametrize(("threshold", "lowest"), [(0.5, 100), (0.25, 50), (1.0, 200), (0.501, 101)])
def test_fractions_become_labels_in_units_of_their_maximum(tmp_path: Path, threshold: float, lowest: int) -> None:
    values = np.random.default_rng(1).integers(0, 201, (PLANES, ROWS, COLUMNS)).astype(np.uint8)
    values[1, 0, :3] = (99, 100, 101)
    frames = [SegFrame(1, k, values[k]) for k in range(PLANES)]
    path = write_seg(tmp_path / "a.dcm", frames, kind="FRACTIONAL", names=("only",))
    decoded = seg.decode(only(path), fractional=threshold)
    np.testing.assert_array_equal(decoded.masks[0].voxels.array(), (values >= lowest).T.astype(np.uint8))
    (finding,) = [f for f in decoded.findings if f.code is Code.FRACTIONAL_THRESHOLD]
    assert f"{threshold:g} of 200" in finding.message
    assert "OCCUPANCY" in finding.message


def test_fractions_can_be_kept(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 201, (PLANES, ROWS, COLUMNS)).astype(np.uint8)
    path = write_seg(
        tmp_path / "a.dcm",
        [SegFrame(1, k, values[k]) for k in range(PLANES)],
        kind="FRACTIONAL",
        names=("only",),
    )
    decoded = seg.decode(only(path), fractional="keep")
    assert not decoded.masks
    (image,) = decoded.images
    np.testing.assert_array_equal(image.voxels.array(), values.T)
    assert image.slope == pytest.approx(1 / 200)


def test_fractions_without_a_maximum_are_refused(tmp_path: Path) -> None:
    frames = [SegFrame(1, 0, np.full((ROWS, COLUMNS), 7, np.uint8))]
    path = write_seg(tmp_path / "a.dcm", frames, kind="FRACTIONAL", MaximumFractionalValue=None)
    assert refused(path).finding.code is Code.CORRUPT_FILE


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("palette", [True, False])
def test_label_maps(tmp_path: Path, dtype: Any, palette: bool) -> None:
    values = np.random.default_rng(2).integers(0, 4, (PLANES, ROWS, COLUMNS)).astype(dtype)
    if dtype is np.uint16:
        values[values == 3] = 700
    values[2] = 0
    frames = [SegFrame(None, k, values[k]) for k in (4, 0, 1, 5, 3)]
    names = ("Background", "first", "second", "third")
    path = write_seg(
        tmp_path / "a.dcm",
        frames,
        kind="LABELMAP",
        names=names,
        first_number=0,
        **({"PhotometricInterpretation": "PALETTE COLOR"} if palette else {}),
    )
    decoded = seg.decode(only(path))
    np.testing.assert_array_equal(decoded.masks[0].voxels.array(), values.T)
    undescribed = [f for f in decoded.findings if f.code is Code.SEGMENT_NOT_DESCRIBED]
    assert len(undescribed) == (dtype is np.uint16)  # 700 has no entry in the table
    (mask,) = seg.decode(only(path), wanted=["second"]).masks
    np.testing.assert_array_equal(mask.voxels.array(), 2 * (values == 2).T)


def test_padding_of_a_label_map_is_background_and_a_real_segment_zero_is_not(tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 4, (PLANES, ROWS, COLUMNS)).astype(np.uint8)
    frames = [SegFrame(None, k, values[k]) for k in range(PLANES)]
    path = write_seg(
        tmp_path / "a.dcm",
        frames,
        kind="LABELMAP",
        names=("bone", "first", "second", "never"),
        first_number=0,
        PixelPaddingValue=3,
    )
    decoded = seg.decode(only(path))
    expected = np.choose(values, [4, 1, 2, 0]).T
    np.testing.assert_array_equal(decoded.masks[0].voxels.array(), expected)
    assert Code.LABELS_REMAPPED in {f.code for f in decoded.findings}
    assert {s.number: s.name for s in decoded.masks[0].segments}[4] == "bone"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_transfer_syntaxes(tmp_path: Path, syntax: str, kind: str) -> None:
    import pydicom

    values = np.random.default_rng(2).integers(0, 4, (PLANES, ROWS, COLUMNS)).astype(np.uint8)
    if kind == "BINARY":
        frames = [SegFrame(1, k, values[k] == 1) for k in range(PLANES)]
    else:
        frames = [SegFrame(None, k, values[k]) for k in range(PLANES)]
    path = write_seg(tmp_path / "a.dcm", frames, kind=kind)
    expected = seg.decode(only(path)).masks[0].voxels.array()
    ds = pydicom.dcmread(path)
    if syntax.endswith(".5"):
        if kind == "BINARY":
            pytest.skip("RLE holds whole bytes")
        ds.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    else:
        ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    ds.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(seg.decode(only(tmp_path / "b.dcm")).masks[0].voxels.array(), expected)
    np.testing.assert_array_equal(
        expected, (values == 1).T.astype(np.uint8) if kind == "BINARY" else np.asarray(values.T)
    )


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "a.dcm", frames_of(blobs(3, overlap=False)))
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(PipelineError) as caught:
        [mask.voxels.array() for mask in seg.decode(only(path), combine="separate").masks]
    assert caught.value.finding.code is Code.CORRUPT_FILE


# --- geometry --------------------------------------------------------------------------------------------------------

TURNS = {
    "flipped rows": ((1, 0, 0), (0, -1, 0)),
    "flipped columns and planes": ((-1, 0, 0), (0, 1, 0)),
    "rows and columns swapped": ((0, 1, 0), (1, 0, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
}


@pytest.mark.parametrize("cropped", [True, False])
@pytest.mark.parametrize("turn", TURNS)
def test_a_cropped_and_turned_segmentation_falls_on_its_source(tmp_path: Path, turn: str, cropped: bool) -> None:
    """The frames are cut from the source block along other axes; the answer is found by world position alone."""
    place = Place(cosines=AXIAL)
    source_files(tmp_path / "source", place)
    grid, _, series = source_grid(tmp_path / "source")
    truth = blobs(1, overlap=False)[0]
    column, row = (np.array(v) for v in TURNS[turn])
    across, down = int(np.flatnonzero(column)[0]), int(np.flatnonzero(row)[0])
    through = 3 - across - down
    low, high = np.array([0, 0, 0]), np.array([COLUMNS - 1, ROWS - 1, PLANES - 1])
    if cropped:
        low, high = low + 1, high - np.array([1, 0, 1])
    size = high - low + 1
    frames, positions = [], []
    for n in range(low[through], high[through] + 1):
        start = np.where(column + row < 0, high, low)
        start[through] = n
        index = [[tuple(start + c * column + r * row) for c in range(size[across])] for r in range(size[down])]
        frames.append(SegFrame(1, n, np.array([[truth[at] for at in line] for line in index])))
        positions.append(grid.points(start))
    steps = np.array(grid.spacing)
    cut = Place(
        cosines=(*column.tolist(), *row.tolist()),
        spacing=(steps[down], steps[across]),
        step=steps[through],
        rows=int(size[down]),
        columns=int(size[across]),
    )
    path = write_seg(
        tmp_path / "a.dcm", frames, cut, names=("cut",), reference=series.frame_of_reference_uid, tag_step=None
    )
    import pydicom

    ds = pydicom.dcmread(path)
    for item, position in zip(ds.PerFrameFunctionalGroupsSequence, positions, strict=True):
        item.PlanePositionSequence[0].ImagePositionPatient = [round(float(v), 9) for v in position]
    ds.save_as(path)
    (mask,) = seg.decode(only(path), grid).masks
    expected = np.zeros_like(truth)
    inner = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
    expected[inner] = truth[inner]
    np.testing.assert_array_equal(mask.voxels.array() == 1, expected)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"origin": (-31.5, 12.25, 104.3)}, Code.OFF_SOURCE_GRID),
        ({"spacing": (1.5, 0.8)}, Code.OFF_SOURCE_GRID),
        ({"cosines": (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)}, Code.OFF_SOURCE_GRID),
        ({"step": 2.6}, Code.OFF_SOURCE_GRID),
    ],
)
def test_a_segmentation_off_the_source_grid_is_refused_with_the_distance(
    tmp_path: Path, change: dict[str, Any], code: Code
) -> None:
    source_files(tmp_path / "source")
    grid, _, series = source_grid(tmp_path / "source")
    path = write_seg(
        tmp_path / "a.dcm",
        frames_of(blobs(1, overlap=False)),
        replace(Place(), **change),
        reference=series.frame_of_reference_uid,
    )
    error = refused(path, grid)
    assert error.finding.code is code
    assert error.exit is Exit.MISMATCH
    if error.finding.measured is not None:
        assert error.finding.measured > error.finding.limit
    if change == {"origin": (-31.5, 12.25, 104.3)}:
        assert error.finding.measured == pytest.approx(0.3, abs=1e-6)


def test_frames_beyond_the_source_are_refused(tmp_path: Path) -> None:
    source_files(tmp_path / "source", Place(planes=PLANES - 2))
    grid, _, series = source_grid(tmp_path / "source")
    path = write_seg(tmp_path / "a.dcm", frames_of(blobs(2, overlap=False)), reference=series.frame_of_reference_uid)
    error = refused(path, grid)
    assert error.finding.code is Code.OFF_SOURCE_GRID
    assert error.finding.measured == 2


def test_another_frame_of_reference_is_refused_and_a_missing_one_is_said(tmp_path: Path) -> None:
    source_files(tmp_path / "source")
    grid, *_ = source_grid(tmp_path / "source")
    path = write_seg(tmp_path / "a.dcm", frames_of(blobs(1, overlap=False)))
    assert refused(path, grid).finding.code is Code.FRAME_OF_REFERENCE_DIFFERS
    decoded = seg.decode(only(path), replace(grid, frame_of_reference_uid=""))
    assert Code.FRAME_OF_REFERENCE_DIFFERS in {f.code for f in decoded.findings}


def plain_frames(*ks: float) -> list[SegFrame]:
    return [SegFrame(1, k, np.random.default_rng(int(10 * k)).random((ROWS, COLUMNS)) < 0.5) for k in ks]


def test_gaps_of_whole_steps_are_filled_and_the_step_is_confirmed_by_positions(tmp_path: Path) -> None:
    frames = plain_frames(0, 3, 4, 9)
    decoded = seg.decode(only(write_seg(tmp_path / "a.dcm", frames, tag_step=None)))
    (mask,) = decoded.masks
    assert mask.grid.shape == (COLUMNS, ROWS, 10)
    assert mask.grid.spacing == pytest.approx((0.75, 1.5, 2.5))
    for frame in frames:
        np.testing.assert_array_equal(mask.voxels.plane(int(frame.k)), frame.pixels)
    assert {int(k) for k in np.flatnonzero(mask.voxels.array().any(axis=(0, 1)))} == {0, 3, 4, 9}
    (finding,) = [f for f in decoded.findings if f.code is Code.EMPTY_PLANES_ADDED]
    assert "6 of 10" in finding.message


def test_spacing_between_slices_is_taken_where_positions_confirm_it(tmp_path: Path) -> None:
    frames = plain_frames(0, 2, 6)
    with_tag = seg.decode(only(write_seg(tmp_path / "a.dcm", frames, tag_step=2.5)))
    assert with_tag.masks[0].grid.shape[2] == 7
    assert "no two frames are that near" in with_tag.findings[0].message
    without = seg.decode(only(write_seg(tmp_path / "b.dcm", frames, tag_step=None)))
    assert without.masks[0].grid.shape[2] == 4
    assert Code.TAG_CONTRADICTS in {f.code for f in without.findings}  # frames are thinner than their distance
    wrong = seg.decode(only(write_seg(tmp_path / "c.dcm", frames, tag_step=1.7)))
    assert wrong.masks[0].grid.shape[2] == 4
    assert Code.TAG_CONTRADICTS in {f.code for f in wrong.findings}


def test_positions_that_are_no_multiple_are_refused(tmp_path: Path) -> None:
    error = refused(write_seg(tmp_path / "a.dcm", plain_frames(0, 1, 2.3, 3), tag_step=None))
    assert error.finding.code is Code.UNEVEN_SPACING
    assert error.finding.measured == pytest.approx(0.75, abs=1e-6)


def test_rounded_positions_of_a_long_stack_do_not_add_up(tmp_path: Path) -> None:
    """Steps of 1.247 mm printed with two decimals: the smallest gap alone would be 0.7 mm off after 100 planes."""
    place = Place(cosines=AXIAL, origin=(1.0, 2.0, 3.0), step=1.247)
    frames = plain_frames(*(k for k in range(160) if k < 40 or k > 140))
    path = write_seg(tmp_path / "a.dcm", frames, place, tag_step=None)
    import pydicom

    ds = pydicom.dcmread(path)
    for item in ds.PerFrameFunctionalGroupsSequence:
        at = item.PlanePositionSequence[0].ImagePositionPatient
        item.PlanePositionSequence[0].ImagePositionPatient = [f"{float(v):.2f}" for v in at]
    ds.save_as(path)
    decoded = seg.decode(only(path))
    assert decoded.masks[0].grid.shape[2] == 160
    assert decoded.masks[0].grid.spacing[2] == pytest.approx(1.247, abs=1e-4)
    assert decoded.residual_mm < 0.01


def test_one_position_says_where_its_thickness_comes_from(tmp_path: Path) -> None:
    decoded = seg.decode(only(write_seg(tmp_path / "a.dcm", plain_frames(0), tag_step=None)))
    assert decoded.masks[0].grid.spacing[2] == pytest.approx(2.5)
    assert [f.code for f in decoded.findings if f.code is Code.ASSUMED_THICKNESS]


def test_the_same_segment_twice_in_one_place_is_refused(tmp_path: Path) -> None:
    error = refused(write_seg(tmp_path / "a.dcm", plain_frames(0, 1, 1, 2)))
    assert error.finding.code is Code.DUPLICATE_POSITION


def test_frames_without_a_position_are_refused(tmp_path: Path) -> None:
    import pydicom

    path = write_seg(tmp_path / "a.dcm", plain_frames(0, 1))
    ds = pydicom.dcmread(path)
    del ds.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    ds.save_as(path)
    error = refused(path)
    assert error.finding.code is Code.MISSING_PLANE_ATTRIBUTES
    assert "frame 2" in error.finding.message


def test_one_turned_frame_is_refused(tmp_path: Path) -> None:
    import pydicom

    path = write_seg(tmp_path / "a.dcm", plain_frames(0, 1, 2))
    ds = pydicom.dcmread(path)
    orientation = pydicom.Dataset()
    orientation.ImageOrientationPatient = [-v for v in segs.OBLIQUE[:3]] + list(segs.OBLIQUE[3:])
    ds.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [orientation]
    ds.save_as(path)
    assert refused(path).finding.code in (Code.MIXED_ORIENTATION, Code.OFF_GRID)


def test_recommended_colour() -> None:
    assert rgb_of_cielab((41661, 41167, 40792)) == (221, 130, 101)
    assert rgb_of_cielab((65535, 32896, 32896)) == (255, 255, 255)
    assert rgb_of_cielab((0, 32896, 32896)) == (0, 0, 0)


def test_the_table_of_segments(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "a.dcm", frames_of(blobs(2, overlap=False)))
    segments = seg.segments_of(only(path))
    assert [(s.number, s.name) for s in segments] == [(1, "first"), (2, "second"), (3, "third")]
    liver = segments[0]
    assert liver.type is not None
    assert (liver.type.value, liver.type.scheme, liver.type.meaning) == ("10200004", "SCT", "Liver")
    assert (liver.colour, liver.algorithm) == ((221, 130, 101), "MANUAL")


# --- real files ------------------------------------------------------------------------------------------------------


def nrrd(name: str) -> tuple[Any, Any]:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(DCMQI / name))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, lps


TRUTHS = {
    "liver": [("liver_seg.nrrd", {1: 1}, DCMQI / "ct-3slice")],
    "overlaps": [
        ("partial_overlaps-1.nrrd", {1: 1, 4: 4, 5: 5}, DCMQI / "ct-3slice"),
        ("partial_overlaps-2.nrrd", {2: 2}, DCMQI / "ct-3slice"),
        ("partial_overlaps-3.nrrd", {3: 3}, DCMQI / "ct-3slice"),
    ],
    "noppv": [("sparse_labelmap_noppv_seg.nrrd", {1: 1}, DCMQI / "24x38x3/image")],
    "ppv5": [("sparse_labelmap_ppv5_seg.nrrd", {1: 1}, DCMQI / "24x38x3/image")],
    "23x38": [("23x38x3/nrrd/label.nrrd", {1: 1}, DCMQI / "23x38x3/image")],
    "24x38": [("24x38x3/nrrd/label.nrrd", {1: 1}, DCMQI / "24x38x3/image")],
}


@needs_samples
@pytest.mark.parametrize("with_source", [True, False])
@pytest.mark.parametrize("name", TRUTHS)
def test_dcmqi_samples_equal_the_nrrd_beside_them(name: str, with_source: bool) -> None:
    for file, labels, folder in TRUTHS[name]:
        array, lps = nrrd(file)
        grid = source_grid(folder)[0] if with_source else None
        decoded = seg.decode(only(SEGS[name]), grid)
        ours = by_number(decoded.masks)
        assert decoded.residual_mm < 1e-4
        assert array.any()
        for number, value in labels.items():
            np.testing.assert_array_equal(ours[number], array == value)
        np.testing.assert_allclose(decoded.masks[0].grid.lps, lps, atol=1e-5)


@needs_samples
@pytest.mark.parametrize("name", [n for n in SEGS if "fractional" not in n])
def test_samples_equal_highdicom_frame_by_frame(name: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    check_against_highdicom(highdicom.seg.segread(SEGS[name]), seg.decode(only(SEGS[name])))


@needs_samples
@pytest.mark.parametrize("name", ["ct binary fractional", "ct fractional"])
def test_fractional_samples_equal_highdicom(name: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    theirs = highdicom.seg.segread(SEGS[name]).get_volume(rescale_fractional=True)
    (image,) = seg.decode(only(SEGS[name]), fractional="keep").images
    map_to_ours(theirs, image.grid)
    ours = image.voxels.array().astype(float) * image.slope
    np.testing.assert_allclose(in_our_order(theirs, image.grid)[..., 0], ours, atol=1e-6)
    assert image.voxels.array().any()


def map_to_ours(volume: Any, grid: Grid) -> Any:
    exact = np.linalg.inv(grid.lps) @ np.array(volume.affine)
    whole = np.rint(exact)
    assert np.abs(exact - whole).max() < 1e-3
    return whole.astype(int)


def in_our_order(volume: Any, grid: Grid) -> Any:
    """highdicom's array, which is (plane, row, column, segment) with an affine, on our grid: by world position."""
    mapping = map_to_ours(volume, grid)
    shape = volume.array.shape
    out = np.zeros((*grid.shape, *shape[3:]), volume.array.dtype)
    index = np.stack(np.meshgrid(*map(np.arange, shape[:3]), indexing="ij"), -1) @ mapping[:3, :3].T + mapping[:3, 3]
    out[tuple(np.moveaxis(index, -1, 0))] = volume.array
    return out


def check_against_highdicom(theirs: Any, decoded: seg.DecodedSeg) -> None:
    numbers = [n for n in theirs.segment_numbers if n > 0]
    options = {} if str(theirs.segmentation_type.value) == "LABELMAP" else {"allow_missing_positions": True}
    try:
        volume = theirs.get_volume(segment_numbers=numbers, **options)
    except TypeError:
        volume = theirs.get_volume(segment_numbers=numbers)
    ours = by_number(decoded.masks)
    placed = in_our_order(volume, decoded.masks[0].grid)
    for n, number in enumerate(numbers):
        np.testing.assert_array_equal(ours[number], placed[..., n] > 0)
        assert ours[number].any()


@needs_samples
def test_what_a_real_segment_says_of_itself() -> None:
    (liver,) = seg.segments_of(only(SEGS["liver"]))
    assert (liver.name, liver.colour, liver.algorithm) == ("Liver", (221, 130, 101), "SEMIAUTOMATIC SlicerEditor")
    assert liver.type is not None
    assert (liver.type.scheme, liver.type.value) == ("SRT", "T-62000")


@needs_samples
@pytest.mark.parametrize("name", ["liver", "overlaps", "noppv", "ppv5", "23x38", "24x38"])
def test_samples_equal_dcmqi(name: str, tmp_path: Path) -> None:
    tool = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent)) or shutil.which("segimage2itkimage")
    if tool is None:
        pytest.skip("dcmqi is not installed")
    sitk = pytest.importorskip("SimpleITK")
    command = [tool, "--inputDICOM", str(SEGS[name]), "--outputDirectory", str(tmp_path), "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    ours = by_number(seg.decode(only(SEGS[name])).masks)
    listed = json.loads(next(tmp_path.glob("*meta.json")).read_text())["segmentAttributes"]
    checked = 0
    for file in tmp_path.glob("*.nrrd"):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).T
        for number in {s["labelID"] for group in listed for s in group} & set(np.unique(array).tolist()) - {0}:
            np.testing.assert_array_equal(array == number, ours[number])
            checked += 1
    assert checked == len([n for n in ours if ours[n].any()])


# --- written by highdicom --------------------------------------------------------------------------------------------


def by_highdicom(folder: Path, array: Any, kind: str, *, place: Place = PLACE, omit: bool = True, **more: Any) -> Path:
    """array: (planes, rows, columns) labels or (..., segments) fractions or overlapping segments."""
    highdicom = pytest.importorskip("highdicom")
    import pydicom
    from pydicom.sr.codedict import codes

    paths = source_files(folder / "source", place)
    images = [pydicom.dcmread(p) for p in paths]
    count = array.shape[3] if array.ndim == 4 else int(array.max())
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=n + 1,
            segment_label=f"s{n + 1}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type="MANUAL",
            display_color=highdicom.color.CIELabColor.from_rgb(20 + n, 200, 90),
        )
        for n in range(count)
    ]
    made = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=array,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=5,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="x",
        device_serial_number="x",
        omit_empty_frames=omit,
        **more,
    )
    path = folder / "seg.dcm"
    made.save_as(path)
    return path


@pytest.mark.parametrize("omit", [True, False])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("place", [Place(), Place(cosines=AXIAL, planes=4)], ids=["oblique", "axial"])
def test_highdicom_segmentations_come_back_by_position(tmp_path: Path, kind: str, omit: bool, place: Place) -> None:
    truth = blobs(3, overlap=kind != "LABELMAP", shape=(COLUMNS, ROWS, place.planes))
    if kind == "LABELMAP":
        stored: Any = np.einsum("n,nijk->kji", [1, 2, 3], truth).astype(np.uint8)
    else:
        stored = truth.transpose(3, 2, 1, 0).astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
    path = by_highdicom(tmp_path, stored, kind, place=place, omit=omit)
    grid, *_ = source_grid(tmp_path / "source")
    decoded = seg.decode(only(path), grid)
    for number, array in by_number(decoded.masks).items():
        np.testing.assert_array_equal(array, truth[number - 1])
    assert decoded.residual_mm < 1e-6
    assert decoded.masks[0].segments[0].colour == (20, 200, 90)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"])
def test_compressed_label_maps_of_highdicom(tmp_path: Path, syntax: str) -> None:
    truth = blobs(3, overlap=False, shape=(70, 66, PLANES))
    place = Place(rows=66, columns=70)
    stored = np.einsum("n,nijk->kji", [1, 2, 3], truth).astype(np.uint8)
    path = by_highdicom(tmp_path, stored, "LABELMAP", place=place, transfer_syntax_uid=syntax)
    for number, array in by_number(seg.decode(only(path), source_grid(tmp_path / "source")[0]).masks).items():
        np.testing.assert_array_equal(array, truth[number - 1])


def test_five_segments_that_fill_many_planes(tmp_path: Path) -> None:
    place = Place(rows=512, columns=510, planes=60)
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 6, (60, 512, 510), dtype=np.uint8)
    path = write_seg(
        tmp_path / "a.dcm",
        [SegFrame(n + 1, k, owner[k] == n + 1) for n in range(5) for k in range(60)],
        place,
        names=("a", "b", "c", "d", "e"),
    )
    series = only(path)
    (mask,) = seg.decode(series).masks
    np.testing.assert_array_equal(mask.voxels.array(), owner.T)


@pytest.mark.parametrize("numbers", [(1, 1), (None, 2)])
def test_segments_that_no_number_tells_apart_are_refused(tmp_path: Path, numbers: tuple[int | None, int]) -> None:
    path = tmp_path / "seg.dcm"
    write_seg(path, frames_of(blobs(2, overlap=False)), names=["a", "b"])
    dataset = dcmread(path)
    for item, number in zip(dataset.SegmentSequence, numbers, strict=True):
        if number is None:
            del item.SegmentNumber
        else:
            item.SegmentNumber = number
    dataset.save_as(path)
    with pytest.raises(PipelineError) as caught:
        seg.decode(only(path))
    assert caught.value.finding.code is Code.CORRUPT_FILE
    assert "(0062,0004)" in caught.value.finding.message


def test_a_segment_colour_that_is_none_costs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    write_seg(path, frames_of(blobs(1, overlap=False)), names=["a"])
    dataset = dcmread(path)
    dataset.SegmentSequence[0].RecommendedDisplayCIELabValue = [7]
    dataset.save_as(path)
    assert seg.decode(only(path)).masks[0].segments[0].colour is None
