"""Every command but convert, end to end, as a user types it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest

from pipeline.cli import main
from tests.phantom import ORIENTATIONS, Spec, Truth, write

SPEC = Spec(shape=(13, 11, 7), row_spacing=1.4, column_spacing=1.1, step=2.5)
FAKE = Path(__file__).parent / "fake_mimics.py"
SCRIPTS = Path(__file__).parents[1] / "pipeline" / "mimics"
# The thread's spine as its words have it: a coronal series, and a buffer whose axes run left, back and head.
CORONAL_SPINE = {"row": [1, 0, 0], "column": [0, 0, -1], "axes": [[0, 1], [2, 1], [1, -1]]}
AXIAL_SPINE = {"row": [1, 0, 0], "column": [0, -1, 0], "axes": [[0, 1], [1, -1], [2, -1]]}


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def converted(capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
    code, _, err = said(capsys, "convert", *arguments, "--crosscheck", "off")
    assert code == 0, err


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return write(tmp_path / "series", SPEC, iop=ORIENTATIONS["double oblique"], description="body")


def test_explain_a_series_and_a_file(truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "explain", truth.folder)
    assert code == 0
    assert "dicom2nifti stores LAS" in out
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii.gz")
    code, out, _ = said(capsys, "explain", tmp_path / "a.nii.gz", "--json")
    assert code == 0
    assert np.allclose(json.loads(out)["Affine"], truth.ras, atol=1e-4)


def test_diagnose_names_what_was_done_and_fixes_it(
    truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lps_kept = nibabel.Nifti1Image(truth.ijk.astype(np.uint8), truth.lps)
    nibabel.save(lps_kept, tmp_path / "wrong.nii.gz")
    code, out, err = said(
        capsys, "diagnose", tmp_path / "wrong.nii.gz", "--source", truth.folder, "--mask-series", truth.folder
    )
    assert (code, err) == (12, "")
    assert "LPS" in out
    fixed = tmp_path / "right.nii.gz"
    code, _, err = said(
        capsys,
        *("diagnose", tmp_path / "wrong.nii.gz", "--source", truth.folder),
        *("--mask-series", truth.folder, "--fix", fixed),
    )
    assert (code, err) == (0, "")
    image = nibabel.load(fixed)
    assert np.array_equal(np.asarray(image.dataobj), truth.ijk)
    assert np.allclose(image.affine, truth.ras, atol=1e-4)
    assert said(capsys, "diagnose", fixed, "--source", truth.folder, "--mask-series", truth.folder)[0] == 0


def test_check_tells_one_grid_from_another(truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii.gz")
    assert said(capsys, "check", tmp_path / "a.nii.gz", truth.folder)[0] == 0
    image = nibabel.load(tmp_path / "a.nii.gz")
    moved = image.affine.copy()
    moved[0, 3] += 2.5
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), moved), tmp_path / "b.nii.gz")
    code, out, _ = said(capsys, "check", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    assert code == 12
    assert "2.5" in out
    for name, path in (("imagesTr/c_0000", "b"), ("labelsTr/c", "a")):
        target = tmp_path / "set" / f"{name}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((tmp_path / f"{path}.nii.gz").read_bytes())
    assert said(capsys, "check", tmp_path / "set")[0] == 12
    assert said(capsys, "check", tmp_path / "a.nii.gz", tmp_path / "missing.nii.gz")[0] == 5


@pytest.mark.parametrize("to", ["series", "seg"])
def test_export_and_back(to: str, truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if to == "seg":
        pytest.importorskip("highdicom")
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii.gz")
    code, _, err = said(
        capsys, "export", tmp_path / "a.nii.gz", "--source", truth.folder, "--to", to, "-o", tmp_path / "dicom"
    )
    assert (code, err) == (0, "")
    converted(capsys, tmp_path / "dicom", "--source", truth.folder, "-o", tmp_path / "b.nii.gz")
    one, two = nibabel.load(tmp_path / "a.nii.gz"), nibabel.load(tmp_path / "b.nii.gz")
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(two.dataobj))
    assert np.array_equal(one.affine, two.affine)


def bundle(folder: Path, *arguments: str, **knobs: object) -> Path:
    """What the export script leaves behind in the stand-in for Mimics."""
    done = subprocess.run(
        [sys.executable, str(FAKE), str(SCRIPTS / "export_masks.py"), str(folder), *arguments],
        env={**os.environ, "FAKE_MIMICS": json.dumps(knobs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def clean_series(folder: Path) -> Path:
    record = json.loads((folder / "bundle.json").read_text("utf-8"))
    return folder / str(record["images"][0]["dicom"])


@pytest.mark.parametrize("spine", [AXIAL_SPINE, CORONAL_SPINE], ids=["as quoted", "coronal"])
def test_a_bundle_lies_on_its_source(
    spine: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = bundle(tmp_path / "bundle", "--dicom", "bone", **spine)
    converted(capsys, made, "--source", clean_series(made), "-o", tmp_path / "bone.nii.gz")
    record = json.loads((made / "bundle.json").read_text("utf-8"))
    (mask,) = record["masks"]
    shape = mask["shape"]
    buffer = np.frombuffer(gzip.decompress((made / mask["file"]).read_bytes()), np.uint8).reshape(shape)
    probes = {tuple(p[:3]): np.array(p[3:]) for p in record["images"][0]["probes"]}
    origin = probes[0, 0, 0]
    ends = [tuple(n - 1 if a == axis else 0 for a, n in enumerate(shape)) for axis in range(3)]
    steps = np.column_stack([(probes[end] - origin) / max(end) for end in ends])
    image = nibabel.load(tmp_path / "bone.nii.gz")
    file, inverse = np.asarray(image.dataobj), np.linalg.inv(image.affine)
    assert file.sum() == buffer.sum() > 0
    for index in np.argwhere(buffer):
        lps = origin + steps @ index
        exact = inverse @ (*(lps * (-1, -1, 1)), 1)
        assert np.abs(exact - np.rint(exact)).max() < 1e-3
        assert file[tuple(np.rint(exact[:3]).astype(int))] == 1


def test_the_scripts_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "mimics-script")
    assert (code, out) == (0, (SCRIPTS / "export_masks.py").read_text("utf-8"))
    assert said(capsys, "mimics-script", "--import")[1] == (SCRIPTS / "import_masks.py").read_text("utf-8")


def test_a_mask_goes_back_into_mimics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = bundle(tmp_path / "bundle", "bone", **CORONAL_SPINE)
    converted(capsys, made, "-o", tmp_path / "bone.nii.gz")
    code, _, err = said(capsys, "to-mimics", tmp_path / "bone.nii.gz", made, "-o", tmp_path / "back")
    assert (code, err) == (0, "")
    state = tmp_path / "state.json"
    done = subprocess.run(
        [sys.executable, str(FAKE), str(SCRIPTS / "import_masks.py"), str(tmp_path / "back")],
        env={**os.environ, "FAKE_MIMICS": json.dumps(CORONAL_SPINE), "FAKE_MIMICS_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    left: Sequence[dict[str, object]] = json.loads(state.read_text("utf-8"))["masks"]
    bones = [m for m in left if str(m["name"]).startswith("bone")]
    assert len(bones) == 2
    assert bones[0]["data"] == bones[1]["data"]
    assert bones[0]["color"] == pytest.approx(bones[1]["color"], abs=0.5 / 255)


def test_an_empty_mask_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = bundle(tmp_path / "bundle", "nothing")
    code, _, err = said(capsys, "convert", made, "-o", tmp_path / "n.nii.gz")
    assert code == 10
    assert "EMPTY" in err
    assert not (tmp_path / "n.nii.gz").exists()


def test_selftest_passes_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "selftest", "--json")
    record = json.loads(out)
    assert (code, record["Failed"]) == (0, 0)
    assert len(record["Checks"]) == 20
    assert all(check["Passed"] or check["Route"] == "SEG and back" for check in record["Checks"])


@pytest.mark.parametrize("spine", [AXIAL_SPINE, CORONAL_SPINE], ids=["as quoted", "coronal"])
def test_the_threads_three_routes_meet(
    spine: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundle, the burned-in export with its constant, and the clean export beside it: one grid, the same voxels."""
    made = bundle(tmp_path / "bundle", "--dicom", "bone", **spine)
    clean = clean_series(made)
    (mask,) = json.loads((made / "bundle.json").read_text("utf-8"))["masks"]
    burned = made / mask["dicom"]
    routes = {
        "bundle": (made,),
        "constant": (burned, "--inside", 3000),
        "difference": (burned, "--clean", clean),
    }
    files = []
    for name, given in routes.items():
        converted(capsys, *given, "--source", clean, "-o", tmp_path / f"{name}.nii.gz")
        files.append(nibabel.load(tmp_path / f"{name}.nii.gz"))
    assert np.asarray(files[0].dataobj).sum() > 0
    for other in files[1:]:
        assert np.array_equal(np.asarray(files[0].dataobj), np.asarray(other.dataobj))
        assert np.array_equal(files[0].affine, other.affine)


def test_a_folder_of_masks_becomes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("liver", "spleen"), 1):

        def body(k: int, dataset: object, number: int = number) -> None:
            pixels = np.zeros((11, 13), np.uint16)
            pixels[2 * number : 2 * number + 2, 3:8] = 1
            dataset.PixelData = pixels.tobytes()  # type: ignore[attr-defined]

        write(tmp_path / "export" / name, SPEC, edit=body, seed=name, description=name)
    code, _, err = said(
        capsys, "convert", tmp_path / "export", "--merge", "-o", tmp_path / "all.nii.gz", "--crosscheck", "off"
    )
    assert (code, err) == (0, "")
    file = np.asarray(nibabel.load(tmp_path / "all.nii.gz").dataobj)
    record = json.loads((tmp_path / "all.json").read_text("utf-8"))
    value = {row["Name"]: row["Value"] for row in record["Labels"]}
    assert set(value) == {"liver", "spleen"}
    assert (file[3:8, 2:4] == value["liver"]).all()
    assert (file[3:8, 4:6] == value["spleen"]).all()
    assert np.count_nonzero(file) == 2 * 5 * 2 * 7


def test_grey_values_under_a_mask_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bright half of the image, and a mask that lies on the dark one: its mirror image is the more uniform."""

    def image(k: int, dataset: object) -> None:
        pixels = np.random.default_rng(k).integers(0, 900, (11, 13)).astype(np.uint16)
        pixels[:, 7:] = 1000
        dataset.PixelData = pixels.tobytes()  # type: ignore[attr-defined]
        dataset.FrameOfReferenceUID = "1.2.3"  # type: ignore[attr-defined]

    def mask(k: int, dataset: object) -> None:
        pixels = np.zeros((11, 13), np.uint16)
        pixels[2:7, 1:5] = 1
        dataset.PixelData = pixels.tobytes()  # type: ignore[attr-defined]
        dataset.FrameOfReferenceUID = "1.2.3"  # type: ignore[attr-defined]

    write(tmp_path / "image", SPEC, edit=image, seed="image")
    write(tmp_path / "mask", SPEC, edit=mask, seed="mask")
    converted(capsys, tmp_path / "mask", "--source", tmp_path / "image", "--grey-values", "-o", tmp_path / "m.nii.gz")
    record = json.loads((tmp_path / "m.json").read_text("utf-8"))
    assert len(record["GreyValues"]) == 8
    assert "GREY_VALUES" in {f["Code"] for f in record["Findings"]}


def test_convert_writes_the_report_too(truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii.gz", "--report")
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "UNCONFIRMED" in page
    assert said(capsys, "report", tmp_path / "a.json", "-o", tmp_path / "b.html")[0] == 0
    assert said(capsys, "report", tmp_path, "-o", tmp_path / "all.html")[0] == 0
    assert "a.nii.gz" in (tmp_path / "all.html").read_text("utf-8")


@pytest.mark.parametrize("like", [False, True])
def test_itk_sees_mask_and_image_on_one_grid(
    like: bool, truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    converted(capsys, truth.folder, "-o", tmp_path / "image.nii.gz", "--as", "image")
    if like:
        image = nibabel.load(tmp_path / "image.nii.gz")  # as another tool may store it: right, front, head
        nibabel.save(nibabel.as_closest_canonical(image), tmp_path / "image.nii.gz")
    where = ("--like", tmp_path / "image.nii.gz") if like else ("--source", truth.folder)
    converted(capsys, truth.folder, *where, "-o", tmp_path / "mask.nii.gz")
    mask, image = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("mask", "image"))
    for fact in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(mask, fact)() == getattr(image, fact)()
    assert (sitk.GetArrayFromImage(mask) == sitk.GetArrayFromImage(image)).all()


def test_planes_without_a_place_are_paired_and_never_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "image", SPEC, seed="image", content="index")
    write(tmp_path / "mask", SPEC, seed="mask", kind="sc plain")
    code, _, err = said(capsys, "convert", tmp_path / "mask", "-o", tmp_path / "m.nii.gz")
    assert code == 10
    assert "MISSING_PLANE_ATTRIBUTES" in err
    code, out, err = said(capsys, "convert", tmp_path / "mask", "--source", source.folder, "-o", tmp_path / "m.nii.gz")
    assert (code, err) == (0, "")
    assert out.startswith("UNCONFIRMED")
    assert np.allclose(nibabel.load(tmp_path / "m.nii.gz").affine, source.ras, atol=1e-4)
    assert all(
        "assumed" in json.dumps(line).lower() for line in json.loads((tmp_path / "m.json").read_text())["Slices"]
    )


def test_a_structure_set_wants_its_source_and_a_name_it_has(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = samples / "theibsi+data_sets/ibsi_validation/dicom/STS_008/CT"
    code, _, err = said(capsys, "convert", patient / "mask", "-o", tmp_path / "a.nii.gz")
    assert (code, "NO_SOURCE" in err) == (2, True)
    with_source = (patient / "mask", "--source", patient / "image", "-o", tmp_path / "a.nii.gz")
    code, _, err = said(capsys, "convert", *with_source, "--rois", "kidney")
    assert (code, "NO_SUCH_ROI" in err) == (2, True)
    converted(capsys, *with_source, "--rois", "GTV_Mass_CT")


def test_several_masks_want_a_folder_or_a_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = bundle(tmp_path / "bundle", "bone", "tumour")
    code, _, err = said(capsys, "convert", made, "-o", tmp_path / "a.nii.gz")
    assert (code, "SEVERAL_MASKS" in err) == (2, True)
    converted(capsys, made, "-o", f"{tmp_path / 'all'}/")
    assert len(list((tmp_path / "all").glob("*.nii.gz"))) == 2


def test_a_mask_beyond_its_source_or_beside_an_image(
    truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half"
    half.mkdir()
    for path in truth.paths[:3]:
        (half / path.name).write_bytes(path.read_bytes())
    code, _, err = said(capsys, "convert", truth.folder, "--source", half, "-o", tmp_path / "a.nii.gz")
    assert (code, "OUTSIDE_SOURCE" in err) == (12, True)
    converted(capsys, truth.folder, "-o", tmp_path / "m.nii.gz")
    image = nibabel.load(tmp_path / "m.nii.gz")
    turned = image.affine.copy()
    turned[:3, :3] = turned[:3, :3] @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), turned), tmp_path / "other.nii.gz")
    like = ("--like", tmp_path / "other.nii.gz", "-o", tmp_path / "b.nii.gz")
    code, _, err = said(capsys, "convert", truth.folder, *like)
    assert (code, "OFF_IMAGE_GRID" in err) == (12, True)
    assert not (tmp_path / "b.nii.gz").exists()
    converted(capsys, truth.folder, *like, "--resample", "nearest")
