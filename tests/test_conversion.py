"""Whole conversions of phantoms: every voxel at its place in the patient, whatever the files are called."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline import Code, Outcome, PipelineError, Policy, convert
from pipeline.conversion.convert import Request, convert_all
from pipeline.conversion.product import product_of_part
from pipeline.conversion.request import ExportDescription
from pipeline.dicom.scan import Series, choose, scan
from pipeline.dicom.split_volumes import split
from pipeline.nifti.streams import open_stream
from tests.helpers.phantom import ORIENTATIONS, Spec, Truth, write

OFF = Policy(crosscheck="off")
SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)


def run(truth: Truth, target: Path, **choices: Any) -> Outcome:
    return convert([truth.folder], target, policy=replace(OFF, **choices))


def refused(truth: Truth, target: Path, **choices: Any) -> PipelineError:
    """The refusal; and that no file of it is left."""
    before = sorted(target.parent.iterdir())
    with pytest.raises(PipelineError) as caught:
        run(truth, target, **choices)
    assert sorted(target.parent.iterdir()) == before
    return caught.value


def values_at_their_places(path: Path, truth: Truth, tolerance_mm: float = 2e-4) -> np.ndarray:
    """The file's voxels on the truth's own grid, found by world position through nibabel alone."""
    image = nibabel.load(path)
    shape = truth.spec.shape
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    world = nibabel.affines.apply_affine(truth.ras, index)
    found = nibabel.affines.apply_affine(np.linalg.inv(image.affine), world)
    nearest = np.rint(found).astype(int)
    back = nibabel.affines.apply_affine(image.affine, nearest)
    assert np.linalg.norm(back - world, axis=1).max() < tolerance_mm
    return np.asarray(image.dataobj)[tuple(nearest.T)].reshape(shape)


def edited(**values: object) -> Callable[[int, Dataset], None]:
    def edit(_: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


def test_two_folders_may_hold_the_same_names(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    for k, path in enumerate(truth.paths):
        (tmp_path / f"F{k}").mkdir()
        path.rename(tmp_path / f"F{k}" / "IM0001")
    truth.folder.rmdir()
    outcome = convert([tmp_path], tmp_path / "out.nii", policy=OFF)
    digests = [entry["SHA256"] for entry in outcome.record["Provenance"]["Inputs"]]
    files = [hashlib.sha256((tmp_path / f"F{k}" / "IM0001").read_bytes()).hexdigest() for k in range(5)]
    assert sorted(digests) == sorted(files)


# Labels


@pytest.mark.parametrize(
    ("stored", "kept", "keep_values"), [(255, 1, False), (255, 255, True), (1, 1, False), (7, 1, False), (7, 7, True)]
)
def test_a_binary_mask(tmp_path: Path, stored: int, kept: int, keep_values: bool) -> None:
    truth = write(tmp_path / "in", SMALL, labels=(stored,))
    outcome = run(truth, tmp_path / "out.nii.gz", keep_values=keep_values)
    read = values_at_their_places(tmp_path / "out.nii.gz", truth)
    assert (read == np.where(truth.ijk == stored, kept, 0)).all()
    assert read.dtype == np.uint8
    assert [label["Value"] for label in outcome.record["Labels"]] == [kept]
    assert outcome.record["Labels"][0].get("StoredValue", stored) == stored
    assert (Code.LABELS_REMAPPED in {f.code for f in outcome.findings}) == (kept != stored)


@pytest.mark.parametrize(
    ("labels", "bits", "dtype"),
    [((1, 2, 3), 16, "u1"), ((3, 200, 255), 16, "u1"), ((1, 256, 300), 16, "u2"), ((1, 2, 70000), 32, "u4")],
)
def test_labels_take_the_smallest_type_and_stay(tmp_path: Path, labels: tuple[int, ...], bits: int, dtype: str) -> None:
    truth = write(tmp_path / "in", SMALL, labels=labels, bits_allocated=bits, background=0)
    assert set(np.unique(truth.ijk)) == {0, *labels}
    outcome = run(truth, tmp_path / "out.nii.gz")
    read = values_at_their_places(tmp_path / "out.nii.gz", truth)
    assert (read == truth.ijk).all()
    assert read.dtype == np.dtype(dtype)
    assert [label["Value"] for label in outcome.record["Labels"]] == list(labels)


def test_0_and_255_among_others_stay(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, labels=(255, 2))
    run(truth, tmp_path / "out.nii.gz")
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == truth.ijk).all()


@pytest.mark.parametrize(
    ("signed", "shape", "measured", "limit"), [(False, (16, 17, 3), 272, 255), (True, (4, 3, 2), -11, 0)]
)
def test_an_image_is_no_mask(
    tmp_path: Path, signed: bool, shape: tuple[int, int, int], measured: int, limit: int
) -> None:
    truth = write(tmp_path / "in", SMALL, content="index", bits_allocated=16, signed=signed, shape=shape)
    finding = refused(truth, tmp_path / "out.nii.gz").finding
    assert (finding.code, finding.measured, finding.limit) == (Code.NOT_A_MASK, measured, limit)
    assert "--as image" in finding.hint


def test_255_values_are_a_mask_and_256_are_not(tmp_path: Path) -> None:
    truth = write(tmp_path / "a", SMALL, content="index", bits_allocated=16, shape=(17, 15, 1))
    assert refused(truth, tmp_path / "out.nii").finding.code is Code.NOT_A_MASK  # an image, unless it is said not to be
    labels = Request(export=ExportDescription(kind="labels"))
    convert([truth.folder], tmp_path / "out.nii", request=labels, policy=OFF)
    assert (values_at_their_places(tmp_path / "out.nii", truth) == truth.ijk).all()
    truth = write(tmp_path / "b", SMALL, content="index", bits_allocated=16, shape=(16, 16, 1))
    with pytest.raises(PipelineError) as error:
        convert([truth.folder], tmp_path / "other.nii", request=labels, policy=OFF)
    assert error.value.finding.code is Code.NOT_A_MASK


@pytest.mark.parametrize("value", [0, 4])
def test_one_value_throughout_is_refused_unless_allowed(tmp_path: Path, value: int) -> None:
    truth = write(tmp_path / "in", SMALL, labels=(value,), background=value)
    finding = refused(truth, tmp_path / "out.nii.gz").finding
    assert finding.code is Code.EMPTY
    assert f"is {value}" in finding.message
    run(truth, tmp_path / "out.nii.gz", allow_empty=True)
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == value).all()


def test_a_mask_is_not_rescaled(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, rescale=((2.0, -1024.0),), photometric="MONOCHROME1")
    outcome = run(truth, tmp_path / "out.nii.gz")
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == truth.ijk).all()
    assert Code.RESCALE_IGNORED in {f.code for f in outcome.findings}


@pytest.mark.parametrize("rescale", [(), ((2.0, -10.0),)])
def test_lossy_pixels_are_told(tmp_path: Path, rescale: tuple[tuple[float, float], ...]) -> None:
    truth = write(tmp_path / "in", SMALL, rescale=rescale, edit=edited(LossyImageCompression="01"))
    outcome = run(truth, tmp_path / "out.nii.gz")
    assert Code.LOSSY_MASK in {f.code for f in outcome.findings}


@pytest.mark.parametrize("as_", ["mask", "image"])
def test_planes_of_two_signs_share_a_type(tmp_path: Path, as_: str) -> None:
    def sign_one(k: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation = int(k == 1)

    truth = write(tmp_path / "in", SMALL, bits_allocated=16, edit=sign_one)
    run(truth, tmp_path / "out.nii.gz", as_=as_)
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == truth.ijk).all()


# Images


@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (8, True), (16, False), (16, True), (32, True)])
def test_an_image_keeps_its_type_and_its_rescale(tmp_path: Path, kind: str, bits: int, signed: bool) -> None:
    shape = (5, 4, 3)
    spec = replace(SMALL, kind=kind, bits_allocated=bits, signed=signed, shape=shape, content="index")
    truth = write(tmp_path / "in", spec, rescale=((0.5, -12.25),))
    outcome = run(truth, tmp_path / "out.nii.gz", as_="image")
    proxy = nibabel.load(tmp_path / "out.nii.gz").dataobj
    assert (proxy.slope, proxy.inter) == (0.5, -12.25)
    assert proxy.dtype == np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    assert np.allclose(values_at_their_places(tmp_path / "out.nii.gz", truth), truth.ijk * 0.5 - 12.25)
    assert "Labels" not in outcome.record
    assert nibabel.load(tmp_path / "out.nii.gz").header["intent_code"] == 0


@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
def test_a_rescale_that_differs_per_plane_is_computed(tmp_path: Path, kind: str) -> None:
    pairs = tuple((1 + k / 7, 10.0 * k - 3) for k in range(5))
    truth = write(
        tmp_path / "in", SMALL, kind=kind, stored="shuffled", content="index", bits_allocated=16, rescale=pairs
    )
    outcome = run(truth, tmp_path / "out.nii.gz", as_="image")
    assert outcome.dtype == "float32"
    slopes, intercepts = np.array(pairs).T
    assert np.allclose(
        values_at_their_places(tmp_path / "out.nii.gz", truth), truth.ijk * slopes + intercepts, rtol=1e-6
    )
    assert Code.RESCALE_PER_PLANE in {f.code for f in outcome.findings}


# Planes


@pytest.mark.parametrize("thickness", ["3.7", None, "0"])
def test_the_thickness_of_a_single_plane_is_assumed_and_said(tmp_path: Path, thickness: str | None) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        del dataset.SliceThickness
        if thickness:
            dataset.SliceThickness = thickness

    truth = write(tmp_path / "in", SMALL, shape=(9, 7, 1), iop=ORIENTATIONS["sagittal"], edit=edit)
    outcome = run(truth, tmp_path / "out.nii.gz")
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == truth.ijk).all()
    said = next(f for f in outcome.findings if f.code is Code.ASSUMED_THICKNESS)
    assert outcome.record["Geometry"]["StepMm"] == pytest.approx(3.7 if thickness == "3.7" else 1.0)
    assert "Slice Thickness" in said.message
    assert ("nothing" in said.message) == (thickness != "3.7")


@pytest.mark.parametrize("kind", ["sc", "multi-frame sc"])
def test_secondary_capture_with_geometry(tmp_path: Path, kind: str) -> None:
    truth = write(tmp_path / "in", SMALL, kind=kind, stored="shuffled", iop=ORIENTATIONS["oblique coronal"])
    run(truth, tmp_path / "out.nii.gz")
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == truth.ijk).all()


@pytest.mark.parametrize("kind", ["sc plain", "multi-frame sc plain"])
def test_secondary_capture_without_geometry_is_refused(tmp_path: Path, kind: str) -> None:
    finding = refused(write(tmp_path / "in", SMALL, kind=kind), tmp_path / "out.nii.gz").finding
    assert finding.code is Code.MISSING_PLANE_ATTRIBUTES


@pytest.mark.parametrize("kind", ["enhanced ct", "enhanced mr"])
@pytest.mark.parametrize("stored", ["along", "against", "shuffled"])
def test_frames_lie_by_position_not_by_number(tmp_path: Path, kind: str, stored: str) -> None:
    truth = write(tmp_path / "in", SMALL, kind=kind, stored=stored, iop=ORIENTATIONS["coronal"])
    outcome = run(truth, tmp_path / "out.nii.gz")
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == truth.ijk).all()
    assert [s["Frame"] for s in outcome.record["Slices"]] == [1 + f for f in truth.frames]


def test_a_file_cut_off_before_its_pixels_refuses_its_series(tmp_path: Path) -> None:
    """At the end of the stack no gap would show that it is missing."""
    truth = write(tmp_path / "in", SMALL)
    raw = truth.paths[-1].read_bytes()
    truth.paths[-1].write_bytes(raw[: raw.index(b"\xe0\x7f\x10\x00")])
    finding = refused(truth, tmp_path / "out.nii.gz").finding
    assert (finding.code, finding.where) == (Code.CORRUPT_FILE, (truth.paths[-1].name,))


def test_a_file_cut_off_in_its_pixels_leaves_nothing(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    truth.paths[2].write_bytes(truth.paths[2].read_bytes()[:-5])
    assert refused(truth, tmp_path / "out.nii.gz").finding.code is Code.CORRUPT_FILE


def test_what_is_left_out_is_in_the_record(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    (truth.folder / "notes.txt").write_text("not an image")
    (truth.folder / "LOCKFILE").write_bytes(b"")
    shutil.copy(truth.paths[1], truth.folder / "zz-copy.dcm")
    palette = dcmread(truth.paths[0])
    palette.SOPClassUID = palette.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.39.1"  # is of no series
    del palette.SeriesInstanceUID, palette.PixelData
    palette.save_as(truth.folder / "palette.dcm")
    outcome = run(truth, tmp_path / "out.nii.gz")
    assert (values_at_their_places(tmp_path / "out.nii.gz", truth) == truth.ijk).all()
    written = [f for f in outcome.record["Findings"] if f["Stage"] == "SCAN"]
    assert {f["Where"][0] for f in written} == {"other-file"}
    assert "other-file was left out: it is empty" in [f["Message"] for f in written]
    assert "a copy of input-0002" in str(written)
    outcome = run(truth, tmp_path / "named.nii.gz", keep_names=True)
    told = {f["Where"][0]: (f["Severity"], f["Message"]) for f in outcome.record["Findings"] if f["Stage"] == "SCAN"}
    assert set(told) == {"notes.txt", "LOCKFILE", "zz-copy.dcm", "palette.dcm"}
    assert told["notes.txt"][0] == "info"
    assert told["LOCKFILE"] == ("info", "LOCKFILE was left out: it is empty")
    assert "a copy of" in told["zz-copy.dcm"][1]
    assert told["palette.dcm"][0] == "warning"


# The record


def test_the_record_says_everything_and_nothing_of_the_patient(tmp_path: Path) -> None:
    secret = {"PatientName": "Geheim^Gertrud", "PatientID": "ID-4711-X", "PatientBirthDate": "19510203"}
    truth = write(
        tmp_path / "in", SMALL, iop=ORIENTATIONS["double oblique"], edit=edited(**secret, OtherPatientIDs="ID-4711-X")
    )
    target = tmp_path / "out.nii.gz"
    command = ["verimask", "convert", str(truth.folder), "-o", str(target)]
    outcome = convert([truth.folder], target, policy=OFF, command=command)
    text = (tmp_path / "out.json").read_text("utf-8")
    record = json.loads(text)
    assert record == json.loads(json.dumps(outcome.record))
    image = nifti_bytes(target)
    for value in ("Geheim", "Gertrud", "4711", "19510203"):
        assert value in truth.paths[0].read_bytes().decode("latin-1")
        assert value not in text
        assert value.encode() not in image
    assert str(tmp_path) not in text
    assert {"Verdict", "Geometry", "Slices", "CrossCheck", "Findings", "Policy", "Provenance"} <= set(record)
    geometry = record["Geometry"]
    assert {"Frame", "StepMm", "Handedness", "ShearDegrees", "QformDeviationMm", "CornerResidualMm"} <= set(geometry)
    grid = product_of_part(series_of(truth.folder), split(series_of(truth.folder).frames)[0], Policy()).grid
    assert geometry["Affine"] == grid.ras.tolist()
    assert geometry["AffineLPS"] == grid.lps.tolist()
    assert np.abs(np.array(geometry["Affine"]) - truth.ras).max() < 1e-12
    assert (np.array(geometry["Affine"]) != np.array(geometry["Affine"]).astype(np.float32)).any()
    assert record["Modality"] == "CT"
    assert record["SeriesDescription"] == "phantom"
    assert record["SeriesInstanceUID"] == truth.series_uid
    slices = [(s["Index"], s["SOPInstanceUID"], s["File"]) for s in record["Slices"]]
    assert slices == [(k, uid, f"input-{k + 1:04}") for k, uid in enumerate(truth.sop_uids)]
    assert np.allclose([s["PositionLPS"] for s in record["Slices"]], [truth.spec.point((0, 0, k)) for k in range(5)])
    inputs = {entry["File"]: entry["SHA256"] for entry in record["Provenance"]["Inputs"]}
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in truth.paths]
    assert inputs == {f"input-{k + 1:04}": digest for k, digest in enumerate(digests)}
    assert record["Provenance"]["OutputSHA256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert {"python", "pydicom", "numpy", "dicom2nifti"} <= set(record["Provenance"]["Versions"])
    assert record["Provenance"]["Command"] == ["verimask", "convert", "in", "-o", "out.nii.gz"]
    assert record["Policy"]["CornerLimitMm"] == 0.1


def nifti_bytes(path: Path) -> bytes:
    with open_stream(path, "rb", gzipped=True) as file:
        return file.read()


def series_of(folder: Path) -> Series:
    return choose(scan([folder]), None)


# The output path


def test_an_output_that_exists_is_left_alone_by_default(tmp_path: Path) -> None:
    truth, target = write(tmp_path / "in", SMALL), tmp_path / "out.nii.gz"
    target.write_bytes(b"mine")
    error = refused(truth, target)
    assert (error.finding.code, target.read_bytes()) == (Code.OUTPUT_EXISTS, b"mine")
    assert "-w overwrite" in error.finding.hint
    target.unlink()
    (tmp_path / "out.json").write_text("mine too")
    assert refused(truth, target).finding.code is Code.OUTPUT_EXISTS


def test_the_ways_to_write(tmp_path: Path) -> None:
    truth, target = write(tmp_path / "in", SMALL), tmp_path / "out.nii.gz"
    target.write_bytes(b"mine")
    with pytest.raises(PipelineError, match="no record"):
        run(truth, target, write="skip")
    assert target.read_bytes() == b"mine"
    names = [run(truth, target, write="suffix").output for _ in range(2)]
    assert [p.name for p in names if p] == ["out_2.nii.gz", "out_3.nii.gz"]
    assert target.read_bytes() == b"mine"
    run(truth, target, write="overwrite")
    assert target.read_bytes() == (tmp_path / "out_2.nii.gz").read_bytes()
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {
        f"out{n}.{e}" for n in ("", "_2", "_3") for e in ("nii.gz", "json")
    }


@pytest.mark.parametrize("name", ["out.img", "out", "missing/out.nii.gz"])
def test_an_output_that_cannot_be_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(PipelineError) as caught:
        convert([tmp_path / "not there"], tmp_path / name, policy=OFF)
    assert caught.value.finding.code is Code.OUTPUT_NAME


def test_a_folder_that_takes_no_file_is_refused(tmp_path: Path) -> None:
    """The name is too long for any file system: nobody, not even root, can open it."""
    target = tmp_path / ("x" * 250 + ".nii.gz")
    assert refused(write(tmp_path / "in", SMALL), target).finding.code is Code.CANNOT_WRITE


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    truth = write(tmp_path / "in", SMALL)

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "writing" and done == 3:
            raise error

    with pytest.raises(error):
        convert([truth.folder], tmp_path / "out.nii.gz", policy=OFF, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_an_image_that_appears_meanwhile_keeps_its_place_and_gets_no_record(tmp_path: Path) -> None:
    truth, target = write(tmp_path / "in", SMALL), tmp_path / "out.nii.gz"

    def race(stage: str, done: int, total: int) -> None:
        if stage == "writing":
            target.write_bytes(b"theirs")

    with pytest.raises(PipelineError) as caught:
        convert([truth.folder], target, policy=OFF, progress=race)
    assert caught.value.finding.code is Code.OUTPUT_EXISTS
    assert target.read_bytes() == b"theirs"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.nii.gz"]


# Several series


def test_a_refused_series_does_not_lend_its_witness_to_the_next(tmp_path: Path) -> None:
    """The witness was already asked about the first; its answer must not be taken for the second's."""
    write(tmp_path / "in" / "1", SMALL, labels=(0,), series_number=1, seed="one", description="empty")
    write(tmp_path / "in" / "2", SMALL, series_number=2, seed="two", origin=(5, 6, 7), iop=ORIENTATIONS["coronal"])
    done, refusals = convert_all([tmp_path / "in"], tmp_path / "out")
    assert [e.finding.code for e in refusals] == [Code.EMPTY]
    assert refusals[0].finding.message.startswith("series 1 “empty”: ")
    assert [(o.verdict, o.output.name) for o in done if o.output] == [("VERIFIED", "2_phantom.nii.gz")]


def test_several_series_want_a_choice(tmp_path: Path) -> None:
    one = write(tmp_path / "in" / "1", SMALL, series_number=1, seed="one", description="Liver")
    write(tmp_path / "in" / "2", SMALL, series_number=2, seed="two", description="Spleen")
    both = replace_folder(one, tmp_path / "in")
    error = refused(both, tmp_path / "out.nii.gz")
    assert error.finding.code is Code.SEVERAL_SERIES
    assert "Spleen" in error.finding.hint
    for n, wanted in enumerate(("1", one.series_uid, "liver")):
        outcome = convert([tmp_path / "in"], tmp_path / f"{n}.nii", request=Request(series=wanted), policy=OFF)
        assert outcome.record["SeriesInstanceUID"] == one.series_uid
    with pytest.raises(PipelineError) as caught:
        convert([tmp_path / "in"], tmp_path / "out.nii.gz", request=Request(series="kidney"), policy=OFF)
    assert caught.value.finding.code is Code.NO_SUCH_SERIES


def replace_folder(truth: Truth, folder: Path) -> Truth:
    return replace(truth, folder=folder)


def test_nothing_but_a_plan_is_nothing_to_convert(tmp_path: Path) -> None:
    def without_pixels(_: int, dataset: Dataset) -> None:
        for keyword in ("PixelData", "Rows", "Columns"):
            delattr(dataset, keyword)
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.5"
        dataset.Modality = "RTPLAN"

    truth = write(tmp_path / "in", SMALL, shape=(9, 7, 1), edit=without_pixels)
    assert dcmread(truth.paths[0]).Modality == "RTPLAN"
    assert refused(truth, tmp_path / "out.nii.gz").finding.code is Code.NOT_CONVERTIBLE
    with pytest.raises(PipelineError):
        convert_all([truth.folder], tmp_path / "out", policy=OFF)
