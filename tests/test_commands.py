"""Every command but convert, end to end, as a user types it."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from pipeline.cli.main import main
from tests.helpers.phantom import ORIENTATIONS, Spec, Truth, write

SPEC = Spec(shape=(13, 11, 7), row_spacing=1.4, column_spacing=1.1, step=2.5)
FAKE = Path(__file__).parent / "helpers" / "fake_mimics.py"
SCRIPTS = Path(__file__).parents[1] / "pipeline" / "mimics" / "scripts"
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


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A mask of 0, 1 and 2 and an image on one grid, as nibabel writes them."""
    affine = np.diag([-1.5, -1.25, 2.0, 1.0])
    image = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    nibabel.save(nibabel.Nifti1Image((image % 3).astype(np.uint8), affine), tmp_path / "m.nii")
    nibabel.save(nibabel.Nifti1Image(image, affine), tmp_path / "i.nii.gz")
    return tmp_path / "m.nii", tmp_path / "i.nii.gz"


def data_set(folder: Path, pair: tuple[Path, Path], cases: Sequence[str] = "ab") -> Path:
    """An nnU-Net folder of the pair under several names; a .nii file among .nii.gz, as people have them."""
    for case in cases:
        for name, path in ((f"labelsTr/{case}.nii", pair[0]), (f"imagesTr/{case}_0000.nii.gz", pair[1])):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(path.read_bytes())
    return folder


def test_check_of_nothing_is_no_success(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty" / "labelsTr").mkdir(parents=True)
    (tmp_path / "empty" / "imagesTr").mkdir()
    one, two = tmp_path / "empty" / "labelsTr", tmp_path / "empty" / "imagesTr"
    (one / "notes.txt").touch()
    for given in ((pair[0],), (one, two), (tmp_path / "empty",)):
        code, out, err = said(capsys, "check", *given)
        assert (code, out, "NOTHING_TO_CHECK" in err) == (2, "", True)
    for given in ((one,), (one, pair[1]), (one, tmp_path / "gone"), (tmp_path / "gone",), (tmp_path / "gone", one)):
        code, _, err = said(capsys, "check", *given)
        assert (code, "NO_SUCH_INPUT" in err) == (5, True)


@pytest.mark.parametrize("which", ["mask", "image"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("change", [lambda raw: raw[:-3], lambda raw: raw[:400], lambda raw: raw + b"\0"])
def test_check_reads_both_files_to_their_end(
    which: str, ending: str, change: Any, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "check", *pair)[0] == 0
    raw = pair[0].read_bytes() if which == "mask" else gzip.decompress(pair[1].read_bytes())
    spoilt = tmp_path / f"spoilt{ending}"
    spoilt.write_bytes(change(raw) if ending == ".nii" else gzip.compress(change(raw)))
    code, out, err = said(capsys, "check", *((spoilt, pair[1]) if which == "mask" else (pair[0], spoilt)))
    assert (code, out) == (4, "")
    assert "CORRUPT_FILE" in err
    assert spoilt.name in err


def test_check_refuses_damaged_gzip(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = pair[1].read_bytes()
    for number, spoilt in enumerate((raw[:-1], raw[:-9], raw[:-6] + b"\1\2\3\4" + raw[-2:], raw[:40])):
        path = tmp_path / f"{number}.nii.gz"
        path.write_bytes(spoilt)
        code, _, err = said(capsys, "check", pair[0], path)
        assert (code, path.name in err) == (4, True)


def test_one_bad_pair_does_not_take_the_others_with_it(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_set(tmp_path / "set", pair, "abcde")
    (folder / "imagesTr" / "b_0000.nii.gz").write_bytes(pair[1].read_bytes()[:60])
    (folder / "labelsTr" / "c.nii").write_bytes(pair[0].read_bytes()[:60])
    (folder / "labelsTr" / "d.nii").unlink()
    os.mkfifo(folder / "labelsTr" / "d.nii")
    code, out, _ = said(capsys, "check", folder, "--json")
    record = json.loads(out)
    assert (code, record["Wrong"]) == (12, 3)
    codes = {p["Mask"][0]: [f["Code"] for f in p["Findings"]] for p in record["Pairs"]}
    assert codes == {"a": [], "b": ["CORRUPT_FILE"], "c": ["CORRUPT_FILE"], "d": ["NO_SUCH_INPUT"], "e": []}
    code, out, _ = said(capsys, "check", folder / "labelsTr", folder / "imagesTr")
    assert code == 12
    assert out.splitlines()[-1] == "2 of 5 pairs match"


def test_labels_are_held_against_the_data_set(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_set(tmp_path / "set", pair)
    declare = (folder / "dataset.json").write_text
    declare('{"labels": {"background": 0, "liver": [1, 2], "tumour": 2}}')
    every = ((folder,), (folder / "labelsTr", folder / "imagesTr"))
    one = (folder / "labelsTr" / "a.nii", folder / "imagesTr" / "a_0000.nii.gz")
    assert [said(capsys, "check", *given)[0] for given in (*every, one)] == [0, 0, 0]
    declare('{"labels": {"background": 0, "liver": 1}}')
    for given in (*every, one):
        code, out, _ = said(capsys, "check", *given)
        assert (code, "wrong: 2 in the mask, not among the labels of dataset.json (0, 1)" in out) == (12, True)
    declare('{"labels": ')
    for given in (*every, one):
        code, out, err = said(capsys, "check", *given)
        assert (code, out, "BAD_DATASET" in err) == (4, "", True)


def test_two_masks_of_one_name_are_told(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_set(tmp_path / "set", pair)
    (folder / "labelsTr" / "a.nii.gz").write_bytes(gzip.compress(pair[0].read_bytes()))
    code, out, _ = said(capsys, "check", folder)
    assert (code, "ALONE" in out, "has the same name" in out) == (12, True, True)


def odd_files(folder: Path, good: bytes) -> dict[str, tuple[Path, int]]:
    """Files that cannot place voxels, and the exit code of each."""

    def changed(name: str, at: int, layout: str, *values: float) -> Path:
        raw = bytearray(good)
        struct.pack_into("<" + layout, raw, at, *values)
        (folder / f"{name}.nii").write_bytes(raw)
        return folder / f"{name}.nii"

    os.mkfifo(folder / "pipe.nii.gz")
    nibabel.save(nibabel.Nifti2Image(np.zeros((5, 4, 3), np.uint8), np.eye(4)), folder / "two.nii")
    return {
        "offset": (changed("offset", 108, "f", np.inf), 4),
        "far": (changed("far", 108, "f", 3e38), 4),
        "sides": (changed("sides", 42, "h", -5), 4),
        "dimensions": (changed("dimensions", 40, "h", 0), 4),
        "vast": (changed("vast", 42, "3h", 32767, 32767, 32767), 4),
        "flat": (changed("flat", 280, "4f", 0, 0, 0, 0), 4),
        "no number": (changed("no number", 284, "f", np.nan), 4),
        "flat qform": (changed("flat qform", 76, "4f", 1, 1, 0, 1), 4),
        "complex": (changed("complex", 70, "h", 32), 10),
        "NIfTI-2": (folder / "two.nii", 10),
        "pipe": (folder / "pipe.nii.gz", 5),
        "none": (folder / "none.nii", 5),
    }


def test_what_cannot_place_voxels_is_refused_by_every_command(
    truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted(capsys, truth.folder, "-o", tmp_path / "good.nii")
    made = bundle(tmp_path / "bundle", "bone")
    raw = bytearray((tmp_path / "good.nii").read_bytes())
    files = odd_files(tmp_path, bytes(raw))
    raw[252:256] = struct.pack("<2h", 1, 0)  # the qform alone
    raw[76:92] = struct.pack("<4f", 1, 1, 0, 1)
    files["flat qform"][0].write_bytes(raw)
    out = ("-o", tmp_path / "out.nii")
    for name, (path, expected) in files.items():
        lines = {
            "check": ("check", path, tmp_path / "good.nii"),
            "check image": ("check", tmp_path / "good.nii", path, "--json"),
            "explain": ("explain", path, "--json"),
            "like": ("convert", truth.folder, "--like", path, *out, "--crosscheck", "off"),
            "diagnose": ("diagnose", path, "--source", truth.folder, "--json"),
            "export": ("export", path, "--source", truth.folder, "-o", tmp_path / "out"),
            "to-mimics": ("to-mimics", path, made, "-o", tmp_path / "out"),
        }
        for command, line in lines.items():
            code, printed, err = said(capsys, *line)
            wanted = 12 if command.startswith("check") and name in ("flat", "no number", "flat qform") else expected
            assert (name, command, code) == (name, command, wanted), printed + err
            assert "Traceback" not in err
            assert code == 0 or path.name in printed + err
    assert not (tmp_path / "out.nii").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("slope", "intercept", "labels"),
    [(2, 0, (0, 2)), (1, 3, (3, 4)), (0, 5, (0, 1)), (np.nan, 0, (0, 1)), (-1, 1, (0, 1))],
)
def test_a_scaled_mask_is_exported_as_what_it_means(
    slope: float,
    intercept: float,
    labels: tuple[int, int],
    truth: Truth,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2f", raw, 112, slope, intercept)
    (tmp_path / "b.nii").write_bytes(raw)
    meant = nibabel.load(tmp_path / "b.nii").get_fdata()
    assert tuple(np.unique(meant)) == labels
    given = ("--source", truth.folder, "-o", tmp_path / "dicom")
    code, _, err = said(capsys, "export", tmp_path / "b.nii", *given)
    assert (code, err) == (0, "")
    kept = () if labels == (0, 1) else ("--keep-values",)
    converted(capsys, tmp_path / "dicom", "--source", truth.folder, *kept, "-o", tmp_path / "c.nii")
    assert (np.asarray(nibabel.load(tmp_path / "c.nii").dataobj) == meant).all()
    series = ("--source", truth.folder, "--mask-series", truth.folder)
    code, out, _ = said(capsys, "diagnose", tmp_path / "b.nii", *series)
    assert (code == 0) == (labels == (0, 1) and slope != -1), out


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0), (1, -1), (0.1, 0), (1e10, 0), (1, np.nan)])
def test_values_that_are_no_labels_are_refused_with_numbers(
    slope: float, intercept: float, truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2f", raw, 112, slope, intercept)
    (tmp_path / "a.nii").write_bytes(raw)
    code, _, err = said(capsys, "export", tmp_path / "a.nii", "--source", truth.folder, "-o", tmp_path / "dicom")
    assert (code, "NOT_A_MASK" in err) == (10, True)
    assert f"times {np.float32(slope):.9g} plus {intercept:g}" in " ".join(err.split())
    assert not (tmp_path / "dicom").exists()


@pytest.mark.parametrize("to", ["series", "seg"])
def test_labels_of_64_bits_are_exported_as_far_as_dicom_holds_them(
    to: str, truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    for largest, wanted in (
        (65535, 0),
        (65536, 0 if to == "seg" else 10),
        (2**32 - 1, 0 if to == "seg" else 10),
        (2**32, 10),
    ):
        values = np.asarray(image.dataobj).astype(np.int64) * largest
        nibabel.save(nibabel.Nifti1Image(values, image.affine, dtype=np.int64), tmp_path / "wide.nii")
        folder = tmp_path / f"{largest}"
        given = ("--source", truth.folder, "--to", to, "-o", folder)
        code, _, err = said(capsys, "export", tmp_path / "wide.nii", *given)
        assert code == wanted, err
        if wanted:
            assert f"{largest}" in err
            assert not folder.exists()
            continue
        kept = () if to == "seg" else ("--keep-values",)
        converted(capsys, folder, "--source", truth.folder, *kept, "-o", tmp_path / f"{largest}.nii")
        back = np.asarray(nibabel.load(tmp_path / f"{largest}.nii").dataobj)
        assert (back == np.asarray(image.dataobj).astype(int) * (1 if to == "seg" else largest)).all()


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


def labelled(folder: Path) -> Truth:
    """A mask series of three labels: a body, a box beside it, and one lone voxel."""

    def edit(k: int, dataset: Any) -> None:
        pixels = np.zeros((11, 13), np.uint16)
        pixels[2:9, 1:6] = 1
        pixels[4:8, 8:12] = 2
        pixels[1, 7] = 3 * (k == 3)
        dataset.PixelData = pixels.tobytes()

    return write(folder, SPEC, iop=ORIENTATIONS["double oblique"], edit=edit, description="labels")


def by_nearest(truth: np.ndarray, ras: np.ndarray, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The labels of a block at the voxels of another grid, one by one, by both affines."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    there = np.rint(nibabel.affines.apply_affine(np.linalg.inv(ras) @ affine, index)).astype(int)
    inside = ((there >= 0) & (there < truth.shape)).all(1)
    found = np.zeros(len(index), truth.dtype)
    found[inside] = truth[tuple(there[inside].T)]
    return found.reshape(shape)


GRIDS = {
    "finer": np.diag([0.83, 0.71, 0.67, 1.0]),
    "coarser": np.diag([1.7, 1.3, 1.9, 1.0]),
    "left-handed": np.diag([-0.9, 1.1, 1.2, 1.0]),
    "turned": np.array([[0, 0.9, 0, 0], [0, 0, -1.2, 0], [0.8, 0, 0, 0], [0, 0, 0, 1.0]]),
    "turned and left-handed": np.array([[0, 0.9, 0, 0], [0, 0, 1.2, 0], [0.8, 0, 0, 0], [0, 0, 0, 1.0]]),
}


@pytest.mark.parametrize("name", GRIDS)
def test_what_is_said_of_a_resampled_mask_is_of_what_was_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = labelled(tmp_path / "series")
    converted(capsys, truth.folder, "-o", tmp_path / "own.nii")
    own = nibabel.load(tmp_path / "own.nii")
    labels, shape = np.asarray(own.dataobj), (29, 31, 33)
    affine = own.affine @ GRIDS[name]
    middle = nibabel.affines.apply_affine(own.affine, (np.array(labels.shape) - 1) / 2)
    affine[:3, 3] += (0.011, 0.017, 0.013)  # so that no voxel lies midway between two
    affine[:3, 3] += middle - nibabel.affines.apply_affine(affine, (np.array(shape) - 1) / 2)
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), affine), tmp_path / "image.nii")
    given = (truth.folder, "--like", tmp_path / "image.nii", "--resample", "nearest")
    code, out, err = said(capsys, "convert", *given, "-o", tmp_path / "a.nii", "--crosscheck", "voxels", "--report")
    assert (code, err) == (0, "")
    image, record = nibabel.load(tmp_path / "a.nii"), json.loads((tmp_path / "a.json").read_text("utf-8"))
    written, like = np.asarray(image.dataobj), nibabel.load(tmp_path / "image.nii")
    assert (written == by_nearest(labels, own.affine, shape, like.affine)).all()
    assert (image.header["pixdim"][:4] == like.header["pixdim"][:4]).all()
    for field in ("sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_x"):
        assert (image.header[field] == like.header[field]).all()
    geometry = record["Geometry"]
    assert (record["Verdict"], record["CrossCheck"], out.split()[0]) == ("UNCONFIRMED", [], "UNCONFIRMED")
    assert np.allclose(geometry["Affine"], image.affine, atol=1e-6)
    assert geometry["GridShape"] == record["Shape"] == list(shape)
    assert [row["Voxels"] for row in record["Labels"]] == [np.count_nonzero(written == v) for v in (1, 2, 3)]
    for row in record["Labels"]:
        if row["Voxels"]:
            centre = nibabel.affines.apply_affine(image.affine, np.argwhere(written == row["Value"]).mean(0))
            assert np.allclose(row["CentroidRasMm"], centre, atol=1e-3)
            volume = row["Voxels"] * abs(np.linalg.det(image.affine[:3, :3])) / 1000
            assert row["VolumeMl"] == pytest.approx(volume, rel=1e-5)
    drawn = np.argwhere(written)
    exact = nibabel.affines.apply_affine(np.linalg.inv(own.affine) @ image.affine, drawn)
    away = np.linalg.norm((exact - np.rint(exact)) @ own.affine[:3, :3].T, axis=1).max()
    assert geometry["ResampledMm"] == pytest.approx(away, abs=1e-4)
    assert geometry["CornerResidualMm"] >= geometry["ResampledMm"]
    assert all(line["SOPInstanceUID"] is None for line in record["Slices"])
    assert "every plane" not in out
    assert f"every label, taken to the nearest voxel, within {geometry['CornerResidualMm']:.4f} mm" in " ".join(
        out.split()
    )
    lost = {f["Code"] for f in record["Findings"]} >= {"LABELS_LOST"}
    assert lost == (3 not in written)
    if lost:
        assert "“label 3” (3)" in out
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "resampled" in page
    assert "lies within 0.0001 mm of where its own DICOM header" not in page


def in_one_frame(*series: Truth) -> None:
    """Give series one Frame of Reference."""
    for path in (path for truth in series for path in truth.paths):
        dataset = pydicom.dcmread(path)
        dataset.FrameOfReferenceUID = "1.2.3"
        dataset.save_as(path)


def test_both_options_resample_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The grid of a source as DICOM, and as the NIfTI file it becomes: the same voxels and the same numbers."""
    truth = labelled(tmp_path / "series")
    shape = (13, 9, 8)
    spec = Spec(shape=shape, row_spacing=0.9, column_spacing=0.8, step=1.9, origin=tuple(truth.lps[:3, 3] + 0.3))
    source = write(tmp_path / "image", spec, iop=ORIENTATIONS["double oblique"], seed="image", content="index")
    in_one_frame(truth, source)
    converted(capsys, source.folder, "--as", "image", "-o", tmp_path / "image.nii")
    for name, where in (("s", ("--source", source.folder)), ("l", ("--like", tmp_path / "image.nii"))):
        code, out, err = said(
            capsys, "convert", truth.folder, *where, "--resample", "nearest", "-o", tmp_path / f"{name}.nii"
        )
        assert (code, err) == (0, "")
        assert out.startswith("UNCONFIRMED")
        assert "lie outside of" in out  # the image is the smaller one
    one, two = nibabel.load(tmp_path / "s_resampled.nii"), nibabel.load(tmp_path / "l.nii")
    assert (np.asarray(one.dataobj) == np.asarray(two.dataobj)).all()
    assert np.allclose(one.affine, two.affine, atol=1e-5)
    records = [json.loads((tmp_path / f"{name}.json").read_text("utf-8")) for name in ("s_resampled", "l")]
    rows = [[(row["Name"], row["Value"], row["Voxels"], row["Extent"]) for row in r["Labels"]] for r in records]
    assert rows[0] == rows[1]
    codes = [[f["Code"] for f in r["Findings"] if f["Code"] != "FRAME_OF_REFERENCE_DIFFERS"] for r in records]
    assert codes[0] == codes[1]
    for key in ("ResampledMm", "CornerResidualMm"):
        assert records[0]["Geometry"][key] == pytest.approx(records[1]["Geometry"][key], abs=1e-4)
    outside = [next(f["Measured"] for f in r["Findings"] if f["Code"] == "OUTSIDE_SOURCE") for r in records]
    labels = truth_labels(tmp_path, capsys, truth)
    there = np.rint(nibabel.affines.apply_affine(np.linalg.inv(two.affine) @ truth.ras, np.argwhere(labels)))
    assert outside == [np.count_nonzero(((there < 0) | (there >= shape)).any(1))] * 2


def test_midway_between_two_voxels_both_options_choose_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image of half as many voxels along each axis: every voxel of it lies midway between two of the mask."""

    def edit(k: int, dataset: Any) -> None:
        dataset.PixelData = np.random.default_rng(k).integers(0, 4, (11, 13)).astype(np.uint16).tobytes()

    truth = write(tmp_path / "series", SPEC, iop=ORIENTATIONS["double oblique"], edit=edit, description="labels")
    origin = tuple((truth.lps @ (0.5, 0.5, 0.5, 1))[:3])
    spec = Spec(shape=(6, 5, 3), row_spacing=2.8, column_spacing=2.2, step=5.0, origin=origin)
    source = write(tmp_path / "image", spec, iop=ORIENTATIONS["double oblique"], seed="image", content="index")
    in_one_frame(truth, source)
    converted(capsys, source.folder, "--as", "image", "-o", tmp_path / "image.nii")
    for name, where in (("s", ("--source", source.folder)), ("l", ("--like", tmp_path / "image.nii"))):
        converted(capsys, truth.folder, *where, "--resample", "nearest", "-o", tmp_path / f"{name}.nii")
    taken = truth_labels(tmp_path, capsys, truth)[1::2, 1::2, 1::2]
    for name in ("s_resampled", "l"):
        assert (np.asarray(nibabel.load(tmp_path / f"{name}.nii").dataobj) == taken).all()


def truth_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str], truth: Truth) -> np.ndarray:
    converted(capsys, truth.folder, "-o", tmp_path / "own.nii")
    return np.asarray(nibabel.load(tmp_path / "own.nii").dataobj)


def test_a_mask_that_is_lost_altogether_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = labelled(tmp_path / "series")
    far = np.diag([0.9, 0.9, 0.9, 1.0])
    far[:3, 3] = (900, 900, 900)
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.uint8), far), tmp_path / "far.nii")
    given = ("convert", truth.folder, "--like", tmp_path / "far.nii", "--resample", "nearest", "-o", tmp_path / "a.nii")
    code, _, err = said(capsys, *given, "--crosscheck", "off")
    assert (code, "EMPTY" in err, "LABELS_LOST" in err) == (10, True, True)
    assert not (tmp_path / "a.nii").exists()


@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1), (3, 2)])
def test_the_record_holds_the_codes_that_were_written(
    codes: tuple[int, int], truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted(capsys, truth.folder, "-o", tmp_path / "image.nii")
    image = nibabel.load(tmp_path / "image.nii")
    image.set_sform(image.affine, codes[0])
    image.set_qform(image.affine, codes[1])
    nibabel.save(image, tmp_path / "like.nii")
    converted(capsys, truth.folder, "--like", tmp_path / "like.nii", "-o", tmp_path / "a.nii")
    header, geometry = (
        nibabel.load(tmp_path / "a.nii").header,
        json.loads((tmp_path / "a.json").read_text())["Geometry"],
    )
    assert (int(header["sform_code"]), int(header["qform_code"])) == codes
    assert (geometry["SformCode"], geometry["QformCode"]) == codes


def test_a_mask_without_planes_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    made = bundle(tmp_path / "bundle", "bone")
    converted(capsys, made, "-o", tmp_path / "bone.nii.gz", "--report")
    assert "there is nothing to draw" in (tmp_path / "bone.html").read_text("utf-8")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_page_replaces_nothing_but_a_page(truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii.gz")
    (tmp_path / "own.html").write_text("<!doctype html>\n<title>precious</title>", "utf-8")
    (tmp_path / "empty").touch()
    (tmp_path / "link.html").symlink_to("gone.html")
    (tmp_path / "folder.html").mkdir()
    os.mkfifo(tmp_path / "pipe.html")
    before = everything(tmp_path)
    taken = ("a.nii.gz", "a.json", truth.paths[0], "own.html", "empty", "link.html", "pipe.html")
    nowhere = ("folder.html", "nodir/x.html", "a.json/x.html")
    for name in (*taken, *nowhere):
        expected = "OUTPUT_EXISTS" if name in taken else "OUTPUT_NAME"
        for given in (tmp_path / "a.json", tmp_path):
            done, out, err = said(capsys, "report", given, "-o", tmp_path / name)
            assert (name, done, out, expected in err) == (name, 6, "", True)
    assert everything(tmp_path) == before
    assert said(capsys, "report", tmp_path / "a.json", "-o", tmp_path / "page.html")[0] == 0
    assert b'content="verimask"' in (tmp_path / "page.html").read_bytes()
    (tmp_path / "page.html").write_bytes((tmp_path / "page.html").read_bytes()[:600])
    assert said(capsys, "report", tmp_path / "a.json", "-o", tmp_path / "page.html")[0] == 0  # over a page of ours
    assert len((tmp_path / "page.html").read_bytes()) > 600
    assert {k: v for k, v in everything(tmp_path).items() if k != "page.html"} == before


def test_a_page_that_fails_leaves_the_old_one(
    truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2")
    converted(capsys, truth.folder, "-o", tmp_path / "a.nii.gz", "--report")
    before = everything(tmp_path)

    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"<!doc")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    code, _, err = said(capsys, "report", tmp_path / "a.json", "-o", tmp_path / "a.html")
    assert (code, "CANNOT_WRITE" in err) == (7, True)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("write", ["refuse", "overwrite", "suffix", "skip"])
@pytest.mark.parametrize("there", ["precious", "page"])
def test_the_place_of_a_page_is_checked_before_the_conversion(
    write: str, there: str, truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    out = tmp_path / "out"
    out.mkdir()
    if there == "page":
        converted(capsys, truth.folder, "-o", out / "a.nii.gz", "--report")
        (out / "a.nii.gz").unlink()
        (out / "a.json").unlink()
    else:
        (out / "a.html").write_text("precious", "utf-8")
    before = everything(out)
    given = ("convert", truth.folder, "-o", out / "a.nii.gz", "--report", "-w", write, "--crosscheck", "off")
    code, _, err = said(capsys, *given)
    after = everything(out)
    if write == "suffix":
        assert (code, set(after) - set(before)) == (0, {"a_2.nii.gz", "a_2.json", "a_2.html"})
    elif write == "overwrite" and there == "page":
        assert (code, set(after) - set(before)) == (0, {"a.nii.gz", "a.json"})
    else:
        assert (code, "OUTPUT_EXISTS" in err, after) == (6, True, before)
    assert write == "overwrite" or after["a.html"] == before["a.html"]


def test_one_page_that_cannot_be_written_does_not_lose_the_others(
    truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    for name in "abcd":
        converted(capsys, truth.folder, "-o", tmp_path / f"{name}.nii.gz")
    (tmp_path / "b.html").write_text("precious", "utf-8")
    (tmp_path / "c.nii.gz").write_bytes(b"something else")
    old = json.loads((tmp_path / "d.json").read_text("utf-8"))
    del old["Planes"]
    (tmp_path / "d.json").write_text(json.dumps(old), "utf-8")
    os.mkfifo(tmp_path / "e.json")
    code, out, _ = said(capsys, "report", tmp_path, "-o", tmp_path / "all.html", "--json")
    record = json.loads(out)
    assert (code, record["Written"]) == (8, ["a.html", "all.html"])
    refused = [r["Findings"][0]["Code"] for r in record["Refused"]]
    assert refused == ["OUTPUT_EXISTS", "NOT_THE_PROVEN_FILE", "UNSUPPORTED_VERSION"]
    assert (tmp_path / "b.html").read_text("utf-8") == "precious"
    page = (tmp_path / "all.html").read_text("utf-8")
    assert all(f"{name}.nii.gz" in page for name in "abc")
    code, _, err = said(capsys, "report", tmp_path, "-o", tmp_path / "a.html")
    assert (code, "OUTPUT_NAME" in err) == (6, True)
    deep = tmp_path / "deep"
    for _ in range(12):
        deep = deep / "/".join("d" * 100)
        deep.mkdir(parents=True)
    try:
        assert said(capsys, "report", tmp_path / "deep", "-o", tmp_path / "none.html")[0] == 5
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)  # shutil would recurse as deep, and fail
    (tmp_path / "empty").mkdir()
    assert said(capsys, "report", tmp_path / "empty", "-o", tmp_path / "none.html")[0] == 5
    assert not (tmp_path / "none.html").exists()
    assert said(capsys, "report", tmp_path / "e.json", "-o", tmp_path / "none.html")[0] == 5


def test_a_folder_converted_with_pages_loses_none_to_another(
    truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    write(tmp_path / "both" / "one", SPEC, seed="one", description="one")
    write(tmp_path / "both" / "two", SPEC, seed="two", description="two")
    converted(capsys, tmp_path / "both", "-o", f"{tmp_path / 'out'}/")
    names = sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz"))
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    taken = tmp_path / "out" / names[0].replace(".nii.gz", ".html")
    taken.write_text("precious", "utf-8")
    given = (tmp_path / "both", "-o", f"{tmp_path / 'out'}/", "--report", "--crosscheck", "off")
    code, _, err = said(capsys, "convert", *given)
    assert (code, "OUTPUT_EXISTS" in err) == (8, True)
    stem = names[1].removesuffix(".nii.gz")
    assert set(everything(tmp_path / "out")) == {taken.name, f"{stem}.nii.gz", f"{stem}.json", f"{stem}.html"}
    assert taken.read_text("utf-8") == "precious"


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
