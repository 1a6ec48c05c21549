"""Masks written as DICOM come back voxel for voxel, at the place every reader gives them, and pass dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.core.policy import Policy
from pipeline.decode.seg import decode as seg
from pipeline.dicom.frame import Frame
from pipeline.dicom.pixels import read_plane
from pipeline.dicom.scan import scan
from pipeline.encode.seg import write_seg
from pipeline.encode.segments import describe_segments
from pipeline.encode.series import write_series
from pipeline.encode.source import ON_REQUEST
from pipeline.geometry.affine import LPS_TO_RAS
from pipeline.geometry.grid import Grid
from pipeline.geometry.index_map import find_index_map, reorder
from pipeline.volume.mask import Concept, MaskVolume, Segment, Voxels, smallest_unsigned
from tests.helpers.cases import needs_samples, samples_folder
from tests.helpers.marks import Marks
from tests.helpers.segs import AXIAL, CT, MR, Place, source_files, source_grid

SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
PLACE = Place(rows=33, columns=38, planes=9)
REAL = {
    "ct": "QIICR+dcmqi/data/segmentations/ct-3slice",
    "enhanced ct": "QIICR+dcmqi/data/segmentations/24x38x3/multiframe",
    "mr": "theibsi+data_sets/ibsi_validation/dicom/STS_008/MR_T1/image",
    "pet": "theibsi+data_sets/ibsi_validation/dicom/STS_008/PET/image",
    "implicit mr": "icometrix+dicom2nifti/tests/data/philips/anatomical/001_implicit",
    "oblique ge": "icometrix+dicom2nifti/tests/data/ge/anatomical/001",
}
SEGMENTS = (
    Segment(1, "liver", (221, 130, 101), Concept("123037004", "SCT", "Body structure"), Concept("10200004", "SCT", "Liver"), "MANUAL"),
    Segment(2, "left kidney"),
    Segment(3, "not in any voxel"),
)  # fmt: skip


def mask_on(grid: Grid, *, top: int = 2, seed: int = 5) -> MaskVolume:
    """Labels in blocks of random size, no two planes alike, none of them symmetric."""
    labels = np.random.default_rng(seed).choice([0, 1, 2], grid.shape, p=[0.6, 0.25, 0.15])
    labels[0, 0, 0], labels[-1, 0, 0], labels[0, -1, 0] = 1, 2, 0
    labels = np.where(labels == 2, top, labels).astype(smallest_unsigned(top))
    segments = (SEGMENTS[0], replace(SEGMENTS[1], number=top), replace(SEGMENTS[2], number=top + 1))
    return MaskVolume(Voxels.of(labels), grid, segments, "belly")


@pytest.fixture(params=["ct", "mr"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Grid, list[Frame]]:
    source_files(tmp_path / "source", PLACE, CT if request.param == "ct" else MR)
    return source_grid(tmp_path / "source")[:2]


def ours_again(folder: Path) -> tuple[Any, Grid]:
    grid, frames, _ = source_grid(folder)
    return np.stack([read_plane(frame) for frame in frames]).T, grid


def check_place(array: Any, lps: Any, mask: MaskVolume, limit_mm: float = 1e-3) -> None:
    """A reader's array (i, j, k) and affine hold the mask's voxels at the mask's place."""
    found = find_index_map(lps, array.shape, mask.grid.lps, mask.grid.shape)
    assert found is not None
    assert found.is_onto
    assert found.moved_mm < limit_mm
    np.testing.assert_array_equal(reorder(array, found.matrix), mask.voxels.array())


def dciodvfy(path: Path) -> list[str]:
    """Its lines that begin with Error."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    said = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False).stderr
    assert said.strip()
    return [line for line in said.splitlines() if line.startswith("Error")]


# --- the series ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [2, 300])
def test_a_series_comes_back_voxel_for_voxel(source: tuple[Grid, list[Frame]], tmp_path: Path, top: int) -> None:
    grid, frames = source
    mask = mask_on(grid, top=top)
    written = write_series(mask, frames, tmp_path / "out")
    assert written.sop_class_uid == frames[0].get("SOPClassUID")
    array, again = ours_again(tmp_path / "out")
    np.testing.assert_array_equal(again.lps, grid.lps)
    np.testing.assert_array_equal(array, mask.voxels.array())
    assert again.frame_of_reference_uid == grid.frame_of_reference_uid


def test_what_is_copied_and_what_is_new(source: tuple[Grid, list[Frame]], tmp_path: Path) -> None:
    grid, frames = source
    for frame in frames:  # strings no computation would give back
        ds = pydicom.dcmread(frame.path)
        ds.ImagePositionPatient = [f"{float(v):.6e}" for v in ds.ImagePositionPatient]
        ds.save_as(frame.path)
    written = write_series(mask_on(grid), frames, tmp_path / "out", description="d", series_number=77)
    uids = set()
    for frame, path in zip(frames, written.files, strict=True):
        theirs, ours = pydicom.dcmread(frame.path), pydicom.dcmread(path)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            assert str(ours[keyword].value) == str(theirs[keyword].value)
        assert "e" in str(ours.ImagePositionPatient[0])
        for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "FrameOfReferenceUID", "StudyDate"):
            assert ours[keyword].value == theirs[keyword].value
        assert ours.SeriesInstanceUID == written.series_uid != theirs.SeriesInstanceUID
        assert ours.SourceImageSequence[0].ReferencedSOPInstanceUID == theirs.SOPInstanceUID
        assert ours.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert (ours.PhotometricInterpretation, ours.SeriesDescription, ours.SeriesNumber) == ("MONOCHROME2", "d", 77)
        assert (float(ours.get("RescaleSlope", 1)), float(ours.get("RescaleIntercept", 0))) == (1, 0)
        assert ours.get("RescaleType", "US") == "US"
        assert "1 = liver" in ours.DerivationDescription
        uids.add(ours.SOPInstanceUID)
    assert len(uids) == len(frames)
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)


# What an export has of its source: the only names, dates and UIDs that the standard demands of patient, study and place.
DEMANDED = set(
    """PatientName PatientID PatientBirthDate StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber
    FrameOfReferenceUID PositionReferenceIndicator PatientSpeciesDescription DeidentificationMethod""".split()
)


@pytest.mark.parametrize("strip", ["none", "keep", "names", "uids", "all"])
@pytest.mark.parametrize("to", ["series", "seg"])
def test_no_more_of_patient_and_study_is_copied_than_the_standard_demands(
    source: tuple[Grid, list[Frame]], tmp_path: Path, to: str, strip: Any
) -> None:
    """Every text, date and UID of the source is marked."""
    marks = Marks()
    marked = marks.mark(pydicom.Dataset())
    for frame in source[1]:
        ds = pydicom.dcmread(frame.path)
        ds.update(
            {**marked, **{tag: ds[tag] for tag in ds.keys() & marked.keys() if ds[tag].keyword == "SOPInstanceUID"}}
        )
        ds.file_meta.ImplementationVersionName = "X"
        ds.save_as(frame.path)
    grid, frames, _ = source_grid(tmp_path / "source")
    inherited = set(dciodvfy(frames[0].path)) if shutil.which("dciodvfy") else set()
    policy = Policy(keep_names=True) if strip == "keep" else Policy(strip=strip)
    if to == "seg":
        pytest.importorskip("highdicom")
        files = [write_seg([mask_on(grid)], frames, tmp_path / "mask.dcm", policy=policy).path]
    else:
        files = list(write_series(mask_on(grid), frames, tmp_path / "out", policy=policy).files)
    found = set.union(*(marks.found(path.read_bytes()) for path in files))
    uids = {"StudyInstanceUID", "FrameOfReferenceUID", *({"SeriesInstanceUID"} if to == "seg" else ())}
    dates = {"StudyDate", "StudyTime", "PatientBirthDate"}
    expected = {
        "none": DEMANDED | uids,
        "keep": (DEMANDED | uids | {*ON_REQUEST}) - {"PatientAge", "PatientSize", "PatientWeight"},  # of no marker
        "names": uids | dates,
        "uids": DEMANDED - uids,
        "all": set(),
    }
    assert found == expected[strip]
    if shutil.which("dciodvfy"):
        assert [line for line in dciodvfy(files[0]) if line not in inherited] == []


def test_the_same_input_gives_the_same_bytes_and_another_mask_other_uids(
    source: tuple[Grid, list[Frame]], tmp_path: Path
) -> None:
    grid, frames = source
    one, same = (write_series(mask_on(grid), frames, tmp_path / name) for name in ("a", "b"))
    assert [p.read_bytes() for p in one.files] == [p.read_bytes() for p in same.files]
    other = write_series(mask_on(grid, seed=6), frames, tmp_path / "c")
    assert other.series_uid != one.series_uid
    renamed = replace(mask_on(grid), segments=(replace(SEGMENTS[0], name="lung"), *mask_on(grid).segments[1:]))
    assert write_series(renamed, frames, tmp_path / "d").series_uid != one.series_uid


@pytest.mark.parametrize("place", [PLACE, replace(PLACE, cosines=AXIAL)], ids=["oblique", "axial"])
@pytest.mark.parametrize("with_source", [True, False])
def test_every_reader_places_it(place: Place, with_source: bool, tmp_path: Path) -> None:
    source_files(tmp_path / "source", place)
    grid, frames, _ = source_grid(tmp_path / "source")
    mask = mask_on(grid)
    written = write_series(mask, frames if with_source else None, tmp_path / "out")
    assert written.sop_class_uid == (CT if with_source else SECONDARY)
    assert dciodvfy(written.files[0]) == []
    check_place(*ours_again(tmp_path / "out")[:1], ours_again(tmp_path / "out")[1].lps, mask)
    check_place(*by_simpleitk(tmp_path / "out"), mask)
    check_place(*by_dicom2nifti(tmp_path / "out", tmp_path / "d2n.nii"), mask)
    check_place(*by_dcm2niix(tmp_path / "out", tmp_path), mask)


def by_simpleitk(folder: Path) -> tuple[Any, Any]:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(image).T, itk_affine(image)


def itk_affine(image: Any) -> Any:
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return lps


def by_dicom2nifti(folder: Path, out: Path) -> tuple[Any, Any]:
    import dicom2nifti
    import dicom2nifti.settings

    dicom2nifti.settings.disable_validate_slicecount()
    try:
        dicom2nifti.dicom_series_to_nifti(str(folder), str(out), reorient_nifti=False)
    finally:
        dicom2nifti.settings.enable_validate_slicecount()
    return read_nifti(out)


def by_dcm2niix(folder: Path, out: Path) -> tuple[Any, Any]:
    dcm2niix = pytest.importorskip("dcm2niix")
    command = [dcm2niix.bin, "-f", "dcm2niix", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return read_nifti(next(out.glob("dcm2niix*.nii")))


def read_nifti(path: Path) -> tuple[Any, Any]:
    import nibabel

    image = nibabel.load(path)
    return np.asarray(image.dataobj), LPS_TO_RAS @ image.affine


@needs_samples
@pytest.mark.parametrize("name", REAL)
def test_real_sources(name: str, tmp_path: Path) -> None:
    folder = samples_folder() / REAL[name]
    grid, frames, _ = source_grid(folder)
    mask = mask_on(grid)
    written = write_series(mask, frames, tmp_path / "out")
    array, again = ours_again(tmp_path / "out")
    np.testing.assert_array_equal(array, mask.voxels.array())
    np.testing.assert_array_equal(again.lps, grid.lps)
    check_place(*by_simpleitk(tmp_path / "out"), mask)
    check_place(*by_dicom2nifti(tmp_path / "out", tmp_path / "d2n.nii"), mask, 1e-3)
    check_place(*by_dcm2niix(tmp_path / "out", tmp_path), mask, 5e-3)
    inherited = set(dciodvfy(frames[0].path))  # what is wrong in the copied patient and study stays as it is
    assert [line for line in dciodvfy(written.files[0]) if line not in inherited] == []


@needs_samples
def test_a_tilted_gantry_stays_tilted(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for path in (samples_folder() / "icometrix+dicom2nifti/tests/data/failing/gantrytilting/001").iterdir():
        ds = pydicom.dcmread(path)
        ds.FrameOfReferenceUID = "1.2.3.4"  # was taken out of the sample, and a SEG needs one
        ds.save_as(tmp_path / "source" / path.name)
    grid, frames, _ = source_grid(tmp_path / "source")
    assert grid.shear_degrees > 13
    mask = mask_on(grid)
    write_series(mask, frames, tmp_path / "out")
    array, again = ours_again(tmp_path / "out")
    np.testing.assert_array_equal(array, mask.voxels.array())
    np.testing.assert_array_equal(again.lps, grid.lps)
    pytest.importorskip("highdicom")
    written = write_seg([mask], frames, tmp_path / "mask.dcm")
    assert "4.85" in next(f.message for f in written.findings if f.code is Code.ASSUMED_THICKNESS)
    for on in (grid, None):
        decoded = seg.decode(scan([written.path]).series[0], on, policy=Policy(on_tilt="shear"))
        np.testing.assert_array_equal(decoded.masks[0].voxels.array(), mask.voxels.array())
        np.testing.assert_allclose(decoded.masks[0].grid.lps, grid.lps, atol=1e-3)


def test_a_grid_without_a_source_may_be_sheared(tmp_path: Path) -> None:
    lps = np.eye(4)
    lps[:3, :3] = np.array([[0.8, 0.0, 0.1], [0.0, 1.3, -0.7], [0.0, 0.0, 2.5]])
    lps[:3, 3] = (-40.123456789, 7.0, 1000.0 / 3)
    mask = mask_on(Grid((9, 8, 7), lps))
    write_series(mask, None, tmp_path / "out")
    array, grid = ours_again(tmp_path / "out")
    np.testing.assert_array_equal(array, mask.voxels.array())
    np.testing.assert_allclose(grid.lps, lps, atol=1e-9)
    assert pydicom.dcmread(next((tmp_path / "out").iterdir())).BitsAllocated == 8


def refusal(function: Any, *given: Any, **options: Any) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        function(*given, **options)
    return caught.value


def test_a_mask_off_the_source_is_refused_with_the_distance(source: tuple[Grid, list[Frame]], tmp_path: Path) -> None:
    grid, frames = source
    moved = np.array(grid.lps)
    moved[2, 3] += 0.4
    error = refusal(write_series, mask_on(replace(grid, lps=moved)), frames, tmp_path / "out")
    assert (error.finding.code, error.exit) == (Code.EXPORT_SOURCE, Exit.MISMATCH)
    assert error.finding.measured == pytest.approx(0.4)
    wrong = [(mask_on(grid), frames[:-1]), (mask_on(grid), frames[::-1])]
    for mask, given in wrong:
        assert refusal(write_series, mask, given, tmp_path / "out").finding.code is Code.EXPORT_SOURCE
    elsewhere = mask_on(replace(grid, frame_of_reference_uid="1.2.3"))
    code = refusal(write_series, elsewhere, frames, tmp_path / "out").finding.code
    assert code is Code.FRAME_OF_REFERENCE_DIFFERS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_nothing_is_left_of_a_series_that_fails_and_nothing_is_overwritten(
    source: tuple[Grid, list[Frame]], tmp_path: Path
) -> None:
    grid, frames = source
    mask = mask_on(grid)

    class Broken(Exception):
        pass

    calls = []

    def plane(k: int) -> Any:
        calls.append(k)
        if len(calls) > grid.shape[2] + 4:  # in the second pass, when files are there already
            assert any(p.suffix == ".partial" and any(p.iterdir()) for p in tmp_path.iterdir())
            raise Broken
        return mask.voxels.plane(k)

    with pytest.raises(Broken):
        write_series(replace(mask, voxels=Voxels(grid.shape, mask.voxels.dtype, plane)), frames, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["source"]
    (tmp_path / "out").mkdir()
    write_series(mask, frames, tmp_path / "out")  # an empty folder is a place to write
    before = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert refusal(write_series, mask, frames, tmp_path / "out").finding.code is Code.OUTPUT_EXISTS
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == before


def test_a_place_that_cannot_be_written(source: tuple[Grid, list[Frame]], tmp_path: Path) -> None:
    grid, frames = source
    (tmp_path / "file").write_text("x")
    error = refusal(write_series, mask_on(grid), frames, tmp_path / "file" / "out")
    assert (error.finding.code, error.exit) == (Code.CANNOT_WRITE, Exit.CANNOT_WRITE)


# --- the SEG ---------------------------------------------------------------------------------------------------------

SPLEEN_TOML = """
[[segment]]
value = 2
name = "Spleen"
category = ["123037004", "SCT", "Body structure"]
type = ["78961009", "SCT", "Spleen"]
colour = [157, 108, 162]
algorithm = "AUTOMATIC"
algorithm_name = "net 3"
"""


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_seg_comes_back_voxel_for_voxel(source: tuple[Grid, list[Frame]], tmp_path: Path, kind: Any) -> None:
    highdicom = pytest.importorskip("highdicom")
    grid, frames = source
    mask = mask_on(grid)
    toml = tmp_path / "segments.toml"
    toml.write_text(SPLEEN_TOML)
    written = write_seg([mask], frames, tmp_path / "out" / "mask.dcm", toml=toml, kind=kind)
    (series,) = scan([written.path]).series
    decoded = seg.decode(series, grid)
    np.testing.assert_array_equal(decoded.masks[0].voxels.array(), mask.voxels.array())
    assert decoded.residual_mm < 1e-6
    liver, spleen, empty = decoded.masks[0].segments
    assert (liver.name, liver.colour, liver.type) == ("liver", (221, 130, 101), SEGMENTS[0].type)
    assert (spleen.name, spleen.colour, spleen.algorithm) == ("Spleen", (157, 108, 162), "AUTOMATIC net 3")
    assert spleen.type == Concept("78961009", "SCT", "Spleen")
    assert empty.name == "not in any voxel"
    placeholder = next(f for f in written.findings if f.code is Code.SEGMENT_DESCRIPTION)
    assert "not in any voxel" in placeholder.message
    assert "Spleen" not in placeholder.message
    ds = pydicom.dcmread(written.path)
    assert ds.StudyInstanceUID == frames[0].get("StudyInstanceUID")
    assert {i.ReferencedSOPInstanceUID for i in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence} <= {
        f.sop_instance_uid for f in frames
    }
    if kind == "BINARY":
        assert dciodvfy(written.path) == []  # the Debian release knows no label maps yet
    theirs = highdicom.seg.segread(written.path)
    volume = theirs.get_volume(segment_numbers=[1, 2], combine_segments=True)
    check_part(volume, mask)


def check_part(volume: Any, mask: MaskVolume) -> None:
    """highdicom's volume, (plane, row, column) with its own affine: where it has voxels they are ours, elsewhere 0."""
    mapping = np.linalg.inv(mask.grid.lps) @ np.array(volume.affine)
    whole = np.rint(mapping)
    assert np.abs(mapping - whole).max() < 1e-3
    index = np.stack(np.meshgrid(*map(np.arange, volume.array.shape), indexing="ij"), -1)
    index = (index @ whole[:3, :3].T + whole[:3, 3]).astype(int)
    placed = np.zeros(mask.grid.shape, volume.array.dtype)
    placed[tuple(np.moveaxis(index, -1, 0))] = volume.array
    np.testing.assert_array_equal(placed, mask.voxels.array())


def test_dcmqi_reads_the_seg_at_its_place(source: tuple[Grid, list[Frame]], tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    sitk = pytest.importorskip("SimpleITK")
    tool = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent)) or shutil.which("segimage2itkimage")
    if tool is None:
        pytest.skip("dcmqi is not installed")
    grid, frames = source
    mask = mask_on(grid)
    written = write_seg([mask], frames, tmp_path / "mask.dcm")
    (tmp_path / "out").mkdir()
    command = [tool, "--inputDICOM", str(written.path), "--outputDirectory", str(tmp_path / "out"), "-t", "nrrd"]
    subprocess.run([*command, "--mergeSegments"], check=True, capture_output=True)
    image = sitk.ReadImage(str(next((tmp_path / "out").glob("*.nrrd"))))
    check_place(sitk.GetArrayFromImage(image).T, itk_affine(image), mask)


@needs_samples
@pytest.mark.filterwarnings("ignore")  # single-component names of patients
@pytest.mark.parametrize("name", [n for n in REAL if n not in ("implicit mr", "oblique ge")])
def test_segs_of_real_sources(name: str, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    grid, frames, _ = source_grid(samples_folder() / REAL[name])
    mask = mask_on(grid)
    written = write_seg([mask], frames, tmp_path / "mask.dcm")
    decoded = seg.decode(scan([written.path]).series[0], grid)
    np.testing.assert_array_equal(decoded.masks[0].voxels.array(), mask.voxels.array())
    inherited = set(dciodvfy(frames[0].path))
    assert [line for line in dciodvfy(written.path) if line not in inherited] == []


@needs_samples
@pytest.mark.filterwarnings("ignore")
def test_frames_of_a_multi_frame_source_in_any_order(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    ds = pydicom.dcmread(samples_folder() / REAL["enhanced ct"] / "mf.dcm")
    items = list(ds.PerFrameFunctionalGroupsSequence)
    ds.PerFrameFunctionalGroupsSequence = [items[n] for n in (1, 2, 0)]
    (tmp_path / "source").mkdir()
    ds.save_as(tmp_path / "source" / "mf.dcm")
    grid, frames, _ = source_grid(tmp_path / "source")
    assert [frame.number for frame in frames] == [3, 1, 2]
    mask = mask_on(grid)
    written = write_seg([mask], frames, tmp_path / "mask.dcm")
    decoded = seg.decode(scan([written.path]).series[0], grid)
    np.testing.assert_array_equal(decoded.masks[0].voxels.array(), mask.voxels.array())
    series = write_series(mask, frames, tmp_path / "out")
    for frame, path in zip(frames, series.files, strict=True):
        assert pydicom.dcmread(path).SourceImageSequence[0].ReferencedFrameNumber == frame.number
    np.testing.assert_array_equal(ours_again(tmp_path / "out")[0], mask.voxels.array())


def test_masks_that_overlap_keep_every_voxel_in_one_seg(source: tuple[Grid, list[Frame]], tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    grid, frames = source
    rng = np.random.default_rng(8)
    arrays = {n: (rng.random(grid.shape) < 0.3).astype(np.uint8) * np.uint8(n) for n in (2, 5)}
    masks = [MaskVolume(Voxels.of(a), grid, (Segment(n, f"m{n}"),), f"m{n}") for n, a in arrays.items()]
    assert (arrays[2].astype(bool) & arrays[5].astype(bool)).any()
    written = write_seg(masks, frames, tmp_path / "mask.dcm")
    assert written.labels == ((1, 2), (2, 5))
    assert Code.LABELS_REMAPPED in {f.code for f in written.findings}
    decoded = seg.decode(scan([written.path]).series[0], grid)
    for mask, (number, label) in zip(decoded.masks, written.labels, strict=True):
        np.testing.assert_array_equal(mask.voxels.array() == number, arrays[label] == label)
    error = refusal(write_seg, masks, frames, tmp_path / "map.dcm", kind="LABELMAP")
    assert error.finding.code is Code.SEGMENTS_OVERLAP
    assert error.finding.measured == np.count_nonzero(arrays[2].astype(bool) & arrays[5].astype(bool))


def test_a_seg_of_nothing_or_over_something_is_refused(source: tuple[Grid, list[Frame]], tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    grid, frames = source
    empty = MaskVolume(Voxels.of(np.zeros(grid.shape, np.uint8)), grid, SEGMENTS[:1])
    assert refusal(write_seg, [empty], frames, tmp_path / "a.dcm").finding.code is Code.EMPTY
    (tmp_path / "a.dcm").write_text("mine")
    assert refusal(write_seg, [mask_on(grid)], frames, tmp_path / "a.dcm").finding.code is Code.OUTPUT_EXISTS
    assert (tmp_path / "a.dcm").read_text() == "mine"


def test_a_source_that_a_seg_cannot_refer_to_is_refused(source: tuple[Grid, list[Frame]], tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    for keyword, said in (("FrameOfReferenceUID", "Frame of Reference"), ("StudyInstanceUID", "highdicom cannot")):
        folder = tmp_path / keyword
        shutil.copytree(source[1][0].path.parent, folder)
        for path in folder.iterdir():
            ds = pydicom.dcmread(path)
            del ds[keyword]
            ds.save_as(path)
        grid, frames, _ = source_grid(folder)
        error = refusal(write_seg, [mask_on(grid)], frames, tmp_path / "a.dcm")
        assert error.finding.code is Code.EXPORT_SOURCE
        assert said in error.finding.message


def test_without_highdicom_the_refusal_names_the_extra(
    source: tuple[Grid, list[Frame]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    error = refusal(write_seg, [mask_on(source[0])], source[1], tmp_path / "a.dcm")
    assert (error.finding.code, error.exit) == (Code.NO_EXPORT_PACKAGE, Exit.USAGE)
    assert "verimask[seg]" in error.finding.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[segment]]\nvalue = 7\n", "label 7"),
        ("[[segment]]\nvalue = 1\ncolor = [1, 2, 3]\n", "“color”"),
        ("[[segment]]\nvalue = 1\ncolour = [1, 2, 300]\n", "three numbers"),
        ("[[segment]]\nvalue = 1\ntype = ['1', 'SCT']\n", "[value, scheme, meaning]"),
        ("[[segment]]\nvalue = 1\nalgorithm = 'magic'\n", "algorithm"),
        ("[[segment]]\nvalue = 1\nname = ''\n", "name"),
        ("[[segment]]\nvalue = 1\n[[segment]]\nvalue = 1\n", "twice"),
        ("[[segment]]\nvalue = 0\n", "whole number"),
        ("[segment]\nvalue = 1\n", "[[segment]]"),
        ("[[segment]\n", "not TOML"),
    ],
)
def test_a_segment_file_is_read_to_the_letter(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    error = refusal(describe_segments, SEGMENTS, tmp_path / "s.toml")
    assert (error.finding.code, error.exit) == (Code.SEGMENT_DESCRIPTION, Exit.USAGE)
    assert said in error.finding.message
    for path, said in ((tmp_path / "none.toml", "not there"), (tmp_path, "cannot be read")):
        error = refusal(describe_segments, SEGMENTS, path)
        assert error.finding.code is Code.NO_SUCH_INPUT
        assert said in error.finding.message
