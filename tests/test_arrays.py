"""Arrays from DICOM and back: `verimask.read`, `affine` and `write`, single cases. What holds for every geometry is in property/."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import verimask
from verimask import Code, Image, Label, Mask, PipelineError, Policy, Request

from pipeline.diagnosis.verify import verify
from tests.helpers.cases import needs_samples, samples_folder
from tests.helpers.cases_grouping import slice_major
from tests.helpers.hard_case import SMALL
from tests.helpers.phantom import Spec, Truth, write
from tests.helpers.plane_equation import planes_of

DATA = Path(__file__).parents[1] / "data" / "samples"
AXIAL, OBLIQUE, LABELS = DATA / "axial", DATA / "double-oblique", DATA / "multi-label"
AS_IMAGE = Policy(as_="image")


def refusal(call: Callable[[], object]) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        call()
    return caught.value


@pytest.fixture
def ct(tmp_path: Path) -> Truth:
    """A CT with a slope and an intercept, not symmetrical."""

    def rescale(k: int, dataset: Any) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-1024"

    return write(tmp_path / "ct", Spec(shape=(9, 7, 5), content="index", kind="ct"), edit=rescale)


def a_mask() -> Mask:
    mask = verimask.read(LABELS)
    assert isinstance(mask, Mask)
    return mask


# read


def test_a_mask_is_the_array_of_the_file_that_convert_writes(tmp_path: Path) -> None:
    outcome = verimask.convert(LABELS, tmp_path / "a.nii")
    mask, file = a_mask(), nibabel.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(mask.array, np.asanyarray(file.dataobj))
    np.testing.assert_allclose(mask.affine, file.affine, atol=1e-4)
    assert mask.proof.verdict == outcome.verdict == "VERIFIED"
    assert mask.proof.sha256 == outcome.record["Provenance"]["OutputSHA256"]
    assert mask.proof.plane_mm < 1e-3
    assert [agreement.witness for agreement in mask.proof.witnesses] == ["dicom2nifti"]
    assert list(mask.labels) == [3, 7, 12]
    assert mask.labels[7].name == "label 7"
    numbers = mask.labels[7].numbers
    assert numbers is not None
    assert numbers.voxels == np.count_nonzero(mask.array == 7)
    assert repr(mask).startswith("<Mask 30 × 26 × 11 uint8, 1.25 × 1.4 × 2.5 mm, ")
    assert repr(mask).endswith(", labels: 3 label 3, 7 label 7, 12 label 12, VERIFIED>")


def test_an_array_cannot_be_changed_and_needs_no_file() -> None:
    mask = a_mask()
    with pytest.raises(ValueError, match="read-only"):
        mask.array[0, 0, 0] = 1
    copy = np.array(mask)
    copy[0, 0, 0] = 1
    assert np.shares_memory(np.asarray(mask), mask.array)
    assert pickle.loads(pickle.dumps(mask)).array.tolist() == mask.array.tolist()


def test_planes_name_the_instances_they_came_from() -> None:
    uids = [plane.uid for plane in planes_of(AXIAL)]
    assert list(verimask.read(AXIAL).plane_uids) == uids
    turned = verimask.read(AXIAL, policy=Policy(orient="IRA"))
    assert turned.plane_axis == 0
    assert list(turned.plane_uids) == uids[::-1]


def test_an_image_has_the_values_that_are_meant(ct: Truth) -> None:
    image = verimask.read(ct.folder, policy=AS_IMAGE)
    assert isinstance(image, Image)
    np.testing.assert_array_equal(image.stored, ct.ijk)
    np.testing.assert_array_equal(image.array, ct.ijk.astype(int) * 2 - 1024)
    assert (image.slope, image.intercept, image.array.dtype.kind) == (2, -1024, "i")
    np.testing.assert_array_equal(image.to_nibabel().get_fdata(), image.array)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image.to_sitk()).T, image.array)
    by_itk = sitk.ReadImage([str(plane.path) for plane in planes_of(ct.folder)])
    np.testing.assert_allclose(image.to_sitk().GetDirection(), by_itk.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(image.to_sitk().GetOrigin(), by_itk.GetOrigin(), atol=1e-3)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(by_itk), sitk.GetArrayFromImage(image.to_sitk()))


def test_a_slope_that_is_not_whole_gives_real_numbers(tmp_path: Path) -> None:
    def rescale(k: int, dataset: Any) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "3"

    truth = write(tmp_path / "ct", Spec(shape=(9, 7, 5), content="index", kind="ct"), edit=rescale)
    image = verimask.read(truth.folder, policy=AS_IMAGE)
    np.testing.assert_array_equal(image.array, truth.ijk * 0.5 + 3)
    assert image.array.dtype == np.float64


def test_the_header_of_nibabel_is_that_of_the_file(tmp_path: Path) -> None:
    verimask.convert(OBLIQUE, tmp_path / "a.nii")
    ours, theirs = verimask.read(OBLIQUE).to_nibabel(), nibabel.load(tmp_path / "a.nii")
    assert ours.header == theirs.header
    assert (ours.header["sform_code"], ours.header["qform_code"]) == (1, 1)


def test_a_sheared_grid_is_refused_for_itk_and_kept_for_nibabel(tmp_path: Path) -> None:
    def lean(k: int, dataset: Any) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, f"{float(y) + 0.9 * k:.6f}", z]

    write(tmp_path / "ct", Spec(shape=(9, 7, 5), content="mask", radius_mm=3, kind="ct"), edit=lean)
    mask = verimask.read(tmp_path / "ct", policy=Policy(on_tilt="shear", allow_empty=True))
    error = refusal(mask.to_sitk)
    assert error.finding.code is Code.NOT_ORTHONORMAL
    assert "resample" in error.finding.hint
    np.testing.assert_allclose(mask.to_nibabel().affine, mask.affine, atol=1e-4)


def test_itk_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    error = refusal(verimask.read(AXIAL).to_sitk)
    assert error.finding.code is Code.NO_ARRAY_PACKAGE
    assert "verimask[witnesses]" in error.finding.hint


def test_read_all_yields_each_and_refusals_among_them(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(LABELS)
    write(tmp_path / "b", Spec(shape=(5, 4, 3)), edit=lambda k, dataset: dataset.__delattr__("PixelSpacing"))
    (tmp_path / "c").symlink_to(OBLIQUE)
    results = list(verimask.read_all([tmp_path / name for name in "abc"]))
    assert sorted(type(result).__name__ for result in results) == ["Mask", "Mask", "PipelineError"]
    (mask,) = [r for r in results if isinstance(r, Mask) and len(r.labels) == 3]
    np.testing.assert_array_equal(mask.array, a_mask().array)


def test_several_are_refused_with_what_helps_in_python(tmp_path: Path) -> None:
    error = refusal(lambda: verimask.read([LABELS, OBLIQUE]))
    assert error.finding.code is Code.SEVERAL_SERIES
    assert error.finding.hint.startswith("From Python: read_all")


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    verimask.read(LABELS)
    list(verimask.read_all(LABELS))
    refusal(lambda: verimask.read([LABELS, OBLIQUE]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_is_saved_is_what_was_proven(tmp_path: Path, name: str) -> None:
    mask = a_mask()
    assert mask.save(tmp_path / name) == tmp_path / name
    saved = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asanyarray(saved.dataobj), mask.array)
    record = json.loads((tmp_path / "a.json").read_text())
    assert (record["Output"], record["Verdict"]) == (name, "VERIFIED")
    assert [result.status for result in verify([tmp_path / name], [LABELS])] == ["HOLDS"]
    assert refusal(lambda: mask.save(tmp_path / name)).finding.code is Code.OUTPUT_EXISTS
    mask.save(tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", name]


@needs_samples
def test_fractions_are_an_image() -> None:
    seg = samples_folder() / "ImagingDataCommons+highdicom" / "data" / "test_files" / "seg_image_ct_true_fractional.dcm"
    kept = verimask.read(seg, policy=Policy(fractional="keep"))
    assert isinstance(kept, Image)
    assert 0 <= kept.array.min() < kept.array.max() <= 1
    assert isinstance(verimask.read(seg), Mask)


def test_colours_have_three_samples(tmp_path: Path) -> None:
    from pydicom.uid import ExplicitVRLittleEndian

    rgb = np.random.default_rng(1).integers(0, 256, (3, 6, 7, 3), dtype=np.uint8)

    def colour(k: int, dataset: Any) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        dataset.PixelData = rgb[k].tobytes()

    truth = write(tmp_path / "rgb", Spec(shape=(7, 6, 3), kind="sc", bits_allocated=8), edit=colour)
    assert pydicom.dcmread(truth.paths[0]).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    image = verimask.read(truth.folder, policy=AS_IMAGE)
    assert image.shape == (7, 6, 3)
    np.testing.assert_array_equal(image.array, rgb.transpose(2, 1, 0, 3))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image.to_sitk()), rgb)
    assert "RGB" in repr(image)


# affine


def pixels(folder: Path) -> Any:
    """A NumPy stack of the planes of a folder, by pydicom, ascending along the normal."""
    return np.stack([plane.pixels for plane in planes_of(folder)])


def test_the_values_of_an_image_show_its_order(ct: Truth) -> None:
    stack = pixels(ct.folder)
    for array, axes in ((stack, "kji"), (stack[::-1], "-kji"), (stack.T, "ijk"), (np.moveaxis(stack, 0, 2), "jik")):
        for values in (array, array * 2.0 - 1024, (array * 2.0 - 1024).astype(np.float32)):
            found = verimask.affine(ct.folder, array=values)
            assert (found.axes, found.order_by) == (axes, "values")
    assert repr(verimask.affine(ct.folder, array=stack)) == (
        "<ArrayAffine of an array 5 × 7 × 9 in the order “kji” (plane, row, column), as its values show; SPL>"
    )


def test_an_order_that_the_values_contradict_is_refused(ct: Truth) -> None:
    error = refusal(lambda: verimask.affine(ct.folder, array=pixels(ct.folder)[::-1], axes="kji"))
    assert error.finding.code is Code.GRID_DIFFERS
    assert "“-kji” (plane backwards, row, column)" in error.finding.message


def test_an_open_order_is_refused_with_two_that_are_possible(ct: Truth) -> None:
    shape = pixels(ct.folder).shape
    error = refusal(lambda: verimask.affine(ct.folder, array=np.zeros(shape, np.uint8)))
    assert error.finding.code is Code.ARRAY_ORDER
    assert "“kji”" in error.finding.message
    assert "“-kji”" in error.finding.message
    assert refusal(lambda: verimask.affine(ct.folder, shape=shape)).finding.code is Code.ARRAY_ORDER


def test_a_symmetrical_image_is_refused_with_its_orders(tmp_path: Path) -> None:
    def flat(k: int, dataset: Any) -> None:
        dataset.PixelData = np.full((4, 5), 7, np.uint16).tobytes()

    truth = write(tmp_path / "ct", Spec(shape=(5, 4, 3), kind="ct"), edit=flat)
    error = refusal(lambda: verimask.affine(truth.folder, array=np.full((3, 4, 5), 7)))
    assert error.finding.code is Code.ARRAY_ORDER
    assert "8 orders" in error.finding.message


def test_a_shape_that_cannot_be_is_refused(ct: Truth) -> None:
    error = refusal(lambda: verimask.affine(ct.folder, shape=(5, 7, 8)))
    assert error.finding.code is Code.GRID_DIFFERS
    assert "9 columns, 7 rows and 5 planes" in error.finding.message
    error = refusal(lambda: verimask.affine(ct.folder, shape=(5, 7, 9), axes="ijk"))
    assert error.finding.hint == "By its shape it can be “kji” (plane, row, column)."


def test_mimics_buffers_are_in_the_order_lps(tmp_path: Path) -> None:
    truth = write(tmp_path / "ct", Spec(shape=(9, 7, 5), content="index", kind="ct", iop=(1, 0, 0, 0, 0, -1)))
    found = verimask.affine(truth.folder, axes="LPS")
    assert (found.axes, found.axis_codes, found.shape) == ("ik-j", "LPS", (9, 5, 7))
    assert (np.diag(found.lps)[:3] > 0).all()


def test_planes_sorted_by_number_or_name_are_where_they_are(tmp_path: Path) -> None:
    spec = Spec(shape=(9, 7, 5), content="index", kind="ct", instance_numbers="against", stored="against")
    truth = write(tmp_path / "ct", spec)
    by_position = planes_of(truth.folder)
    by_number = sorted(by_position, key=lambda plane: plane.number or 0)
    assert by_number == by_position[::-1]
    found = verimask.affine(truth.folder, axes="kji", planes="instance-number")
    assert found.axes == "-kji"
    assert list(found.plane_uids) == [plane.uid for plane in by_number]
    np.testing.assert_allclose(found.lps[:3, 3], by_number[0].lps[:, 2], atol=1e-3)
    assert verimask.affine(truth.folder, axes="kji", planes=[plane.path for plane in by_position]).axes == "kji"
    assert verimask.affine(truth.folder, axes="kji", planes=[plane.path for plane in by_number]).axes == "-kji"
    by_name = sorted(by_position, key=lambda plane: plane.path.name)
    assert list(verimask.affine(truth.folder, axes="kji", planes="file-name").plane_uids) == [p.uid for p in by_name]


def test_planes_in_no_order_in_space_have_no_affine(tmp_path: Path) -> None:
    truth = write(tmp_path / "ct", Spec(shape=(9, 7, 5), kind="ct", instance_numbers="shuffled"))
    error = refusal(lambda: verimask.affine(truth.folder, axes="kji", planes="instance-number"))
    assert error.finding.code is Code.ARRAY_ORDER
    assert "no affine describes such an array" in error.finding.message
    truth = write(tmp_path / "missing", Spec(shape=(9, 7, 5), kind="ct", instance_numbers="missing"))
    error = refusal(lambda: verimask.affine(truth.folder, axes="kji", planes="instance-number"))
    assert "missing or repeat" in error.finding.message


@pytest.mark.parametrize(
    "options",
    [
        {"axes": "xyz"},
        {"axes": "kjj"},
        {"axes": 3},
        {"axes": "kji", "planes": "acquisition"},
        {"axes": "kji", "planes": ["one.dcm"]},
        {"shape": (5, 7)},
        {"shape": (5, 7, 9.5)},
        {"array": np.zeros((2, 2))},
        {"array": np.zeros((2, 2, 0))},
        {"array": np.zeros((2, 2, 2), complex)},
        {"array": np.zeros((5, 7, 9)), "shape": (5, 7, 8)},
    ],
)
def test_what_is_not_allowed_is_refused_by_name(ct: Truth, options: dict[str, Any]) -> None:
    assert refusal(lambda: verimask.affine(ct.folder, **options)).finding.code is Code.BAD_OPTION


@pytest.mark.parametrize(
    "options", [{"planes": "file-name"}, {"axes": "LPS", "planes": "file-name"}, {"request": Request(wanted="a")}]
)
def test_what_can_have_no_effect_is_refused(ct: Truth, options: dict[str, Any]) -> None:
    error = refusal(lambda: verimask.affine(ct.folder, array=pixels(ct.folder), **options))
    assert error.finding.code is Code.IDLE_OPTION


# write


def a_label_array(truth: Truth) -> Any:
    return (np.arange(truth.ijk.size).reshape(truth.ijk.shape) % 4).astype(np.uint8)


def test_labels_on_a_series_are_unconfirmed_since_only_the_caller_knows_their_order(ct: Truth, tmp_path: Path) -> None:
    labels = a_label_array(ct)
    names = {1: "liver", 2: Label("tumour", (255, 0, 0)), 9: "not there"}
    outcome = verimask.write(
        labels.T, ct.folder, tmp_path / "m.nii.gz", axes="kji", labels=names, policy=Policy(labels_file="bids")
    )
    assert outcome.verdict == "UNCONFIRMED"
    assert [f.code for f in outcome.findings] == [Code.PLACE_STATED]
    assert [a.status for a in outcome.agreements] == ["REORDERED"]  # dicom2nifti stores rows the other way round
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["Array"] == {"Axes": "kji", "OrderBy": "stated"}
    assert [(row["Value"], row["Name"], row.get("Colour")) for row in record["Labels"]] == [
        (1, "liver", None), (2, "tumour", [255, 0, 0]), (3, "label 3", None), (9, "not there", None),
    ]  # fmt: skip
    assert {entry["Role"] for entry in record["Provenance"]["Inputs"]} == {"source"}
    assert len(record["Provenance"]["Inputs"]) == 5
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(outcome.output).dataobj), labels)
    assert (tmp_path / "m_dseg.tsv").is_file() or list(tmp_path.glob("m*.tsv"))


def test_values_of_the_image_show_the_order_and_are_verified(ct: Truth, tmp_path: Path) -> None:
    stack = pixels(ct.folder)
    outcome = verimask.write(stack, ct.folder, tmp_path / "i.nii", axes="kji", policy=AS_IMAGE)
    assert (outcome.verdict, outcome.record["Array"]["OrderBy"]) == ("VERIFIED", "values")
    error = refusal(lambda: verimask.write(stack[::-1], ct.folder, tmp_path / "j.nii", axes="kji", policy=AS_IMAGE))
    assert error.finding.code is Code.GRID_DIFFERS
    assert not (tmp_path / "j.nii").exists()


@pytest.mark.parametrize("orient", ["source", "RAS", "SLP"])
def test_what_was_read_is_written_as_it_is_in_its_own_order(tmp_path: Path, orient: str) -> None:
    mask = verimask.read(LABELS, policy=Policy(orient=orient))
    assert isinstance(mask, Mask)
    outcome = verimask.write(mask.array, mask, tmp_path / "m.nii.gz", labels=mask.labels)
    assert outcome.verdict == "VERIFIED"
    written = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask.array)
    np.testing.assert_allclose(written.affine, mask.affine, atol=1e-4)
    other = verimask.write(mask.array == 7, mask, tmp_path / "n.nii.gz", labels={1: "seven"})
    assert other.verdict == "UNCONFIRMED"
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(tmp_path / "n.nii.gz").dataobj), mask.array == 7)


def test_a_mask_on_an_array_affine_is_in_the_order_of_that_array(ct: Truth, tmp_path: Path) -> None:
    stack = pixels(ct.folder)[::-1]
    found = verimask.affine(ct.folder, array=stack)
    outcome = verimask.write(stack > 100, found, tmp_path / "m.nii")
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(outcome.output).dataobj), ct.ijk > 100)
    error = refusal(lambda: verimask.write(stack.T > 100, found, tmp_path / "n.nii"))
    assert error.finding.code is Code.GRID_DIFFERS
    error = refusal(lambda: verimask.write(stack > 100, found, tmp_path / "n.nii", axes="ijk"))
    assert error.finding.code is Code.IDLE_OPTION


@pytest.mark.parametrize("columns", [(2.0, -3.0, 4.0), (-2.0, 3.0, 4.0), (2.0, 3.0, 4.0), (-2.0, -3.0, 4.0)])
@pytest.mark.parametrize("axes", ["ijk", "kji", "-j-ik", "LPS", "RAS"])
def test_an_affine_alone_proves_the_file_alone(tmp_path: Path, columns: tuple[float, ...], axes: str) -> None:
    turn = np.linalg.qr(np.array([[9.0, 1, 2], [-1, 8, 1], [0.5, 1, 7]]))[0]
    affine = np.eye(4)
    affine[:3] = np.column_stack([turn @ np.diag(columns), (10, -20, 30)])
    labels = np.random.default_rng(2).integers(0, 3, (4, 5, 6)).astype(np.int64)
    codes = "".join(nibabel.aff2axcodes(affine))
    array = {
        "ijk": labels, "kji": labels.T, "-j-ik": labels[::-1, ::-1].transpose(1, 0, 2),
        **{word: nibabel.orientations.apply_orientation(labels, nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt(codes), nibabel.orientations.axcodes2ornt(word))) for word in ("LPS", "RAS")},
    }[axes]  # fmt: skip
    outcome = verimask.write(array, affine, tmp_path / "m.nii.gz", axes=axes)
    assert outcome.verdict == "UNCONFIRMED"
    assert [f.code for f in outcome.findings] == [Code.PLACE_STATED]
    assert outcome.agreements == ()
    written = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), labels)
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)


@pytest.mark.parametrize("kind", ["bool", "u1", "i2", "i8", "u8", "f2", "f4", "f8", ">i2", ">f8"])
def test_labels_may_have_any_type_that_holds_whole_numbers(tmp_path: Path, kind: str) -> None:
    labels = (np.arange(24).reshape(2, 3, 4) % 2).astype(kind)
    verimask.write(labels, np.eye(4), tmp_path / "m.nii")
    read = np.asanyarray(nibabel.load(tmp_path / "m.nii").dataobj)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, labels.astype(int))


@pytest.mark.parametrize("kind", ["i1", "u2", "i4", "i8", "f4", "f8", ">i2"])
def test_an_image_keeps_its_type(tmp_path: Path, kind: str) -> None:
    values = (np.arange(24).reshape(2, 3, 4) - 5).astype(kind)
    verimask.write(values, np.eye(4), tmp_path / "i.nii", policy=AS_IMAGE)
    read = np.asanyarray(nibabel.load(tmp_path / "i.nii").dataobj)
    np.testing.assert_array_equal(read, values)
    assert read.dtype == np.dtype(kind).newbyteorder("=")


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf, 2.0**33])
def test_what_is_no_label_is_refused(tmp_path: Path, value: float) -> None:
    values = np.zeros((2, 3, 4))
    values[1, 1, 1] = value
    error = refusal(lambda: verimask.write(values, np.eye(4), tmp_path / "m.nii"))
    assert error.finding.code is Code.NOT_A_MASK
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_not_taken_for_a_mask(tmp_path: Path) -> None:
    values = np.arange(300, dtype=np.uint16).reshape(5, 6, 10)
    error = refusal(lambda: verimask.write(values, np.eye(4), tmp_path / "m.nii"))
    assert (error.finding.code, error.finding.measured) == (Code.NOT_A_MASK, 299)
    verimask.write(values, np.eye(4), tmp_path / "m.nii", labels={n: f"r{n}" for n in range(1, 300)})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"labels": {0: "a"}}, Code.BAD_OPTION),
        ({"labels": {1: ""}}, Code.BAD_OPTION),
        ({"labels": ["a"]}, Code.BAD_OPTION),
        ({"affine_or_source": np.eye(3)}, Code.BAD_OPTION),
        ({"affine_or_source": "nowhere"}, Code.NO_SUCH_INPUT),
        ({"affine_or_source": np.zeros((4, 4))}, Code.BAD_OPTION),
        ({"affine_or_source": np.diag([1.0, 1, 0, 1])}, Code.BAD_OPTION),
        ({"affine_or_source": {}}, Code.BAD_OPTION),
        ({"array": np.zeros((2, 2, 2), complex)}, Code.BAD_OPTION),
        ({"array": [["a"]]}, Code.BAD_OPTION),
        ({"output": "m.txt"}, Code.OUTPUT_NAME),
        ({"name": 3}, Code.BAD_OPTION),
        ({"planes": "file-name"}, Code.IDLE_OPTION),
        ({"request": Request(series="1")}, Code.IDLE_OPTION),
        ({"policy": Policy(write="skip")}, Code.BAD_OPTION),
        ({"policy": AS_IMAGE, "labels": {1: "a"}}, Code.IDLE_OPTION),
        ({"policy": Policy(combine="separate")}, Code.IDLE_OPTION),
        ({"policy": Policy(on_tilt="shear")}, Code.IDLE_OPTION),
        ({"policy": Policy(crosscheck="voxels")}, Code.IDLE_OPTION),
        ({"policy": Policy(gzip_level=9)}, Code.IDLE_OPTION),
        ({"policy": Policy(as_="image", labels_file="itksnap")}, Code.IDLE_OPTION),
        ({"array": np.zeros((2, 3, 4))}, Code.EMPTY),
        ({"array": np.ones((2, 3, 4), np.float16), "policy": AS_IMAGE}, Code.BAD_OPTION),
    ],
)
def test_what_cannot_be_written_is_refused_by_code(tmp_path: Path, changes: dict[str, Any], code: Code) -> None:
    given = {"array": np.ones((2, 3, 4)), "affine_or_source": np.eye(4), "output": tmp_path / "m.nii", **changes}
    error = refusal(
        lambda: verimask.write(given.pop("array"), given.pop("affine_or_source"), given.pop("output"), **given)
    )
    assert error.finding.code is code
    assert error.finding.hint
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_overwritten_unasked(tmp_path: Path) -> None:
    ones, target = np.ones((2, 3, 4)), tmp_path / "m.nii"
    verimask.write(ones, np.eye(4), target)
    before = target.read_bytes()
    assert refusal(lambda: verimask.write(2 * ones, np.eye(4), target)).finding.code is Code.OUTPUT_EXISTS
    assert target.read_bytes() == before
    assert verimask.write(2 * ones, np.eye(4), target, policy=Policy(write="suffix")).output.name == "m_2.nii"
    verimask.write(2 * ones, np.eye(4), target, policy=Policy(write="overwrite"))
    assert target.read_bytes() != before


def test_what_was_laid_on_another_grid_is_no_source(tmp_path: Path) -> None:
    mask = a_mask()
    wider = np.zeros((32, 26, 11), np.uint8)
    nibabel.Nifti1Image(wider, mask.affine).to_filename(tmp_path / "wide.nii")
    on_image = verimask.read(LABELS, request=Request(like=tmp_path / "wide.nii"))
    assert on_image.shape == (32, 26, 11)
    error = refusal(lambda: verimask.write(on_image.array, on_image, tmp_path / "m.nii"))
    assert error.finding.code is Code.GRID_DIFFERS


def test_a_series_over_time_has_a_fourth_axis(tmp_path: Path) -> None:
    write(tmp_path / "in", SMALL, edit=slice_major())
    assert refusal(lambda: verimask.read(tmp_path / "in", policy=AS_IMAGE)).finding.code is Code.SEVERAL_VOLUMES
    (image,) = verimask.read_all(tmp_path / "in", policy=AS_IMAGE)
    assert isinstance(image, Image)
    assert image.shape == image.to_nibabel().shape == image.to_sitk().GetSize() == (*SMALL.shape, 3)
    for n in range(3):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image.to_sitk())[n].T, image.array[..., n])
    by_uid = {plane.uid: plane for plane in planes_of(tmp_path / "in")}
    for at, uid in enumerate(image.plane_uids):
        k, volume = at % image.shape[2], at // image.shape[2]
        np.testing.assert_array_equal(by_uid[uid or ""].pixels.T, image.stored[:, :, k, volume])
    outcome = verimask.write(image.array[..., 0] > 20, image, tmp_path / "m.nii.gz")
    assert outcome.shape == SMALL.shape


def test_a_file_of_an_array_is_verified_but_not_made_again(ct: Truth, tmp_path: Path) -> None:
    verimask.write(a_label_array(ct), ct.folder, tmp_path / "on_series.nii.gz")
    verimask.write(a_label_array(ct), np.eye(4), tmp_path / "by_affine.nii")
    for name in ("on_series.nii.gz", "by_affine.nii"):
        (result,) = verify([tmp_path / name], [ct.folder])
        assert result.status == "HOLDS"
        assert "it was an array from Python" in str(result.not_checked)
    record = json.loads((tmp_path / "by_affine.json").read_text())
    assert record["Prov"]["Records"]["Activities"][0]["Command"] == "verimask.write"


def test_the_page_of_an_affine_alone_claims_no_planes(tmp_path: Path) -> None:
    from pipeline.report import make_page

    verimask.write(np.ones((4, 5, 6)), np.eye(4), tmp_path / "m.nii")
    page = make_page(tmp_path / "m.json")
    assert "Its grid is the affine that was given, which no DICOM was held against." in page
    assert "fits what its source says" not in page
