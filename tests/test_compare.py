"""Mask against image: every way not to match is named and measured; what ITK takes is held against SimpleITK itself."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from pipeline.core.findings import Code, Exit, Finding, PipelineError, Severity
from pipeline.diagnosis.check import (
    PlacedBlock,
    check_header,
    check_values,
    compare,
    find_itk_affine,
    measure_skew,
    read_values,
)
from pipeline.diagnosis.nnunet_pairs import Labels, declared_labels, pair_dataset, pair_folders
from pipeline.geometry.affine import axis_codes
from pipeline.geometry.axis_order import order_for
from pipeline.geometry.grid import Grid
from pipeline.nifti.file import read_header

SHAPE = (7, 6, 5)


def oblique() -> np.ndarray:
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    ras = np.eye(4)
    ras[:3, :3] = turn * np.sign(np.linalg.det(turn)) * (0.7, 0.8, 2.0)
    ras[:3, 3] = (-61.5, 42.25, 118.125)
    return ras


def save(
    path: Path,
    ras: np.ndarray,
    *,
    codes: tuple[int, int] = (1, 1),
    qform: np.ndarray | None = None,
    array: np.ndarray | None = None,
) -> Path:
    """A NIfTI file written by nibabel, not by us."""
    values = np.arange(210, dtype=np.uint8).reshape(SHAPE) if array is None else array
    image = nibabel.Nifti1Image(values, ras)
    image.set_sform(ras, codes[0])
    image.set_qform(ras if qform is None else qform, codes[1], strip_shears=True)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def compared(tmp_path: Path, mask: np.ndarray, **how: object) -> list[Finding]:
    one = PlacedBlock.of_file(save(tmp_path / "mask.nii.gz", mask, **how))  # type: ignore[arg-type]
    return compare(one, PlacedBlock.of_file(save(tmp_path / "image.nii.gz", oblique())))


def errors(found: list[Finding]) -> list[str]:
    return [f.message for f in found if f.severity is Severity.ERROR]


def test_one_grid(tmp_path: Path) -> None:
    assert compared(tmp_path, oblique()) == []


def test_against_a_series(tmp_path: Path) -> None:
    grid = Grid(SHAPE, np.diag([-1.0, -1, 1, 1]) @ oblique())
    mask = PlacedBlock.of_file(save(tmp_path / "mask.nii", oblique()))
    found = compare(mask, PlacedBlock.of_grid("series 3", grid))
    assert errors(found) == []
    assert ["to the last bit" in f.message for f in found] == [True]  # float32 against float64
    assert len(errors(compare(mask, PlacedBlock.of_grid("series 3", Grid((7, 6, 4), grid.lps))))) == 1


@pytest.mark.parametrize(
    ("change", "words", "measured"),
    [
        (lambda a: a @ np.diag([1, 1, 1.25, 1]), "spacing: the mask has 0.7 × 0.8 × 2.5 mm", 4 * 0.5),
        (lambda a: np.diag([-1, -1, 1, 1]) @ a, "direction: the axes differ by", None),
    ],
)
def test_spacing_and_direction(tmp_path: Path, change, words: str, measured: float | None) -> None:  # type: ignore[no-untyped-def]
    found = compared(tmp_path, change(oblique()))
    assert any(words in message for message in errors(found))
    worst = next(f for f in found if "worst corner" in f.message)
    assert worst.limit == 1e-3
    if measured is not None:
        assert worst.measured == pytest.approx(measured, abs=1e-4)


def test_direction_in_degrees(tmp_path: Path) -> None:
    angle = np.radians(3)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    axis = oblique()[:3, :3] / (0.7, 0.8, 2.0)
    message = next(m for m in errors(compared(tmp_path, turn @ oblique())) if m.startswith("direction"))
    for name, z in zip("ijk", axis[2], strict=True):
        # A turn about z moves a direction by less the nearer it lies to z.
        expected = np.degrees(2 * np.arcsin(np.sin(angle / 2) * np.sqrt(1 - z * z)))
        assert f"{name} {expected:.3f}°" in message


def test_a_hundredth_of_a_degree_counts_where_it_moves_a_corner(tmp_path: Path) -> None:
    angle = np.radians(0.02)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert any(m.startswith("direction") for m in errors(compared(tmp_path, turn @ oblique())))


def test_origin_in_mm_and_in_voxels(tmp_path: Path) -> None:
    moved = oblique()
    moved[:3, 3] += (0.3, -0.4, 1.2)
    message = next(m for m in errors(compared(tmp_path, moved)) if m.startswith("origin"))
    assert "1.3 mm" in message
    assert "R +0.3, A -0.4, S +1.2" in message
    crop = oblique()
    crop[:3, 3] = (oblique() @ (1, 0, 2, 1))[:3]
    found = errors(compared(tmp_path, crop, array=np.zeros((6, 6, 3), np.uint8)))
    assert found[0] == "shape: the mask has 6 × 6 × 3 voxels, the image 7 × 6 × 5"
    assert "beginning at the image's voxel (1, 0, 2)" in found[1]
    assert len(found) == 2


def test_another_order_of_one_grid(tmp_path: Path) -> None:
    order = order_for(oblique(), "SAR")
    found = errors(compared(tmp_path, oblique() @ order.matrix(SHAPE), array=order.of(np.zeros(SHAPE, np.uint8))))
    assert len(found) == 1
    assert f"in another order: SAR for {axis_codes(oblique())}, axes in the order k, j, i with" in found[0]


def test_nearly_one_grid_is_one_and_says_so(tmp_path: Path) -> None:
    near = oblique()
    near[0, 3] += 5e-4
    found = compared(tmp_path, near)
    assert errors(found) == []
    assert found[0].measured == pytest.approx(5e-4, abs=1e-5)
    near[0, 3] += 1e-3
    assert errors(compared(tmp_path, near))


def test_sform_against_qform(tmp_path: Path) -> None:
    other = oblique()
    other[2, 3] += 4
    found = compared(tmp_path, oblique(), codes=(1, 1), qform=other)
    assert [(f.code, f.severity) for f in found] == [(Code.FORMS_DISAGREE, Severity.WARNING)]
    assert found[0].measured == pytest.approx(4, abs=1e-3)
    # With sform_code 2 ITK takes the qform: then mask and image do not match there.
    found = compared(tmp_path, oblique(), codes=(2, 1), qform=other)
    assert [m for m in errors(found) if "ITK" in m]
    found = compared(tmp_path, oblique(), codes=(0, 0))
    assert any("nothing of its place" in m for m in errors(found))


def test_a_lean_is_too_much_for_itk(tmp_path: Path) -> None:
    leaning = np.diag([0.7, 0.8, 2.0, 1.0])
    leaning[1, 2] = 0.1
    found = check_header(PlacedBlock.of_file(save(tmp_path / "a.nii", leaning, codes=(1, 0))))
    assert found[0].code is Code.NOT_ORTHONORMAL
    assert "refuses the file" in found[0].message
    assert found[0].limit == 1e-4


@pytest.mark.parametrize("lean", [0.0, 0.9e-4, 1.1e-4, 1e-2])
@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 0), (2, 0), (0, 1), (3, 2)])
def test_itk_takes_what_we_say(tmp_path: Path, lean: float, codes: tuple[int, int]) -> None:
    sitk = pytest.importorskip("SimpleITK")
    sform = np.diag([0.7, 0.8, 2.0, 1.0])
    sform[1, 2] = lean * 2.0
    sform[:3, 3] = (1, 2, 3)
    qform = np.diag([-0.7, -0.8, 2.0, 1.0])
    path = save(tmp_path / "a.nii", sform, codes=codes, qform=qform)
    expected = find_itk_affine(PlacedBlock.of_file(path))
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        assert expected is None
        return
    assert expected is not None
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    # ITK makes the axes it takes exactly orthonormal, which moves them by up to the lean it allows.
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ lps, expected, atol=3e-4)


def test_orthonormal_error_is_the_dot_product_of_the_axes() -> None:
    axes = np.eye(4)
    axes[:3, 2] = (0, np.sin(0.01), np.cos(0.01))
    assert measure_skew(axes) == pytest.approx(np.sin(0.01), rel=1e-3)
    assert measure_skew(oblique()) < 1e-12


def test_units(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", oblique())
    raw = bytearray(path.read_bytes())
    raw[123] = 3
    path.write_bytes(raw)
    assert "micrometres, not mm" in check_header(PlacedBlock.of_file(path))[0].message


@pytest.mark.parametrize(
    ("array", "code", "severity", "words"),
    [
        (np.array([0, 1, 2], np.float32), Code.NOT_A_MASK, Severity.WARNING, "whole numbers"),
        (np.array([0, 1, 2.9995], np.float32), Code.NOT_A_MASK, Severity.ERROR, "some are not whole"),
        (np.array([0, np.nan, 1], np.float32), Code.NOT_A_MASK, Severity.ERROR, "not finite"),
        (np.array([-3, 0, 1], np.int16), Code.NOT_A_MASK, Severity.ERROR, "smallest value is -3"),
        (np.arange(300, dtype=np.int16), Code.NOT_A_MASK, Severity.ERROR, "more than 255"),
        (np.array([4], np.uint8), Code.EMPTY, Severity.WARNING, "every voxel has the value 4"),
    ],
)
def test_values_that_are_no_labels(
    tmp_path: Path, array: np.ndarray, code: Code, severity: Severity, words: str
) -> None:
    block = np.resize(array, (25, 6, 4))
    path = save(tmp_path / "a.nii.gz", np.eye(4), array=block)
    found = check_values(read_values(path), read_header(path))
    assert [(f.code, f.severity) for f in found if words in f.message] == [(code, severity)]


def test_labels_are_labels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", np.eye(4), array=np.resize(np.array([0, 1, 7], np.uint8), SHAPE))
    values = read_values(path)
    assert values.distinct == (0, 1, 7)
    assert check_values(values, read_header(path)) == []


def test_scaled_labels(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.resize(np.array([0, 1], np.uint8), SHAPE), np.eye(4))
    image.header.set_slope_inter(2, 1)
    nibabel.save(image, tmp_path / "a.nii")
    found = check_values(read_values(tmp_path / "a.nii"), read_header(tmp_path / "a.nii"))
    assert [f.code for f in found] == [Code.RESCALE_IGNORED]


@pytest.mark.parametrize(
    ("slope", "intercept", "values"),
    [(2, 1, (1, 3)), (1, 1, (1, 2)), (1, -1, (-1, 0)), (0.5, 0, (0, 0.5)), (255, 0, (0, 255)), (0, 7, (0, 1))],
)
def test_labels_are_judged_by_what_nibabel_reads(
    tmp_path: Path, slope: float, intercept: float, values: tuple[float, ...]
) -> None:
    path = scaled(tmp_path / "a.nii", np.resize(np.array([0, 1], np.uint8), SHAPE), slope, intercept)
    found = read_values(path)
    assert found.distinct == values == tuple(np.unique(nibabel.load(path).get_fdata()))
    wrong = errors(check_values(found, read_header(path)))
    assert bool(wrong) == (min(values) < 0 or not all(float(v).is_integer() for v in values))


def scaled(path: Path, array: np.ndarray, slope: float, intercept: float) -> Path:
    """A file of stored values under a scale, as the header's own bytes."""
    nibabel.save(nibabel.Nifti1Image(array, oblique()), path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, intercept], "<f4").tobytes()
    path.write_bytes(raw)
    return path


def test_a_picture_of_a_mask_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.eye(4), array=np.resize(np.array([0, 255], np.uint8), SHAPE))
    (found,) = check_values(read_values(path), read_header(path))
    assert (found.code, found.severity) == (Code.NOT_A_MASK, Severity.WARNING)
    assert check_values(read_values(path), read_header(path), Labels((0, 1, 255), "dataset.json")) == []


def test_labels_too_large_to_hold_are_told(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.resize(np.array([0, 2**40], np.int64), SHAPE), np.eye(4), dtype=np.int64)
    nibabel.save(image, tmp_path / "a.nii")
    (wrong,) = errors(check_values(read_values(tmp_path / "a.nii"), read_header(tmp_path / "a.nii")))
    assert "1099511627776" in wrong


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"background": 0, "liver": 1, "tumour": 2}, (0, 1, 2)),
        ({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4}, (0, 1, 2, 3, 4)),
        ({"liver": 1}, (0, 1)),
        ({"0": "background", "1": "liver", "2": "spleen"}, (0, 1, 2)),
        ({"background": 0.0, "liver": "3"}, (0, 3)),
    ],
)
def test_declared_labels(tmp_path: Path, labels: dict[str, object], values: tuple[int, ...]) -> None:
    (tmp_path / "labelsTr").mkdir()
    mask = save(tmp_path / "labelsTr" / "c.nii.gz", oblique(), array=np.resize(np.array([0, 1, 9], np.uint8), SHAPE))
    assert declared_labels(mask) is None
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}), "utf-8")
    declared = declared_labels(mask)
    assert declared == Labels(values, "dataset.json")
    found = [f for f in check_values(read_values(mask), read_header(mask), declared) if f.severity is Severity.ERROR]
    assert [f.code for f in found] == [Code.UNKNOWN_LABELS]
    assert found[0].message.startswith("9 in the mask" if 1 in values else "1, 9 in the mask")
    assert declared_labels(tmp_path / "elsewhere" / "c.nii.gz") is None


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", "[" * 100_000, '{"labels": {}}', '{"labels": [0, 1]}', '{"labels": {"a": true}}'),
        *('{"labels": {"a": "b"}}', '{"labels": {"a": -1}}', '{"labels": {"a": [1, [2]]}}', '{"labels": {"a": null}}'),
    ],
)
def test_a_data_set_that_cannot_be_understood_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content, "utf-8")
    with pytest.raises(PipelineError, match=r"dataset\.json") as caught:
        declared_labels(tmp_path / "labelsTr" / "c.nii.gz")
    assert (caught.value.finding.code, caught.value.exit) == (Code.BAD_DATASET, Exit.CORRUPT_INPUT)


def test_a_negative_value_is_not_lost_among_many(tmp_path: Path) -> None:
    block = np.arange(-1, 839, dtype=np.int16).reshape(7, 6, 20)[:, :, ::-1]
    path = save(tmp_path / "a.nii", np.eye(4), array=np.ascontiguousarray(block))
    assert any("-1" in f.message for f in check_values(read_values(path), read_header(path)))


def test_an_affine_that_fills_no_space(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", oblique(), codes=(1, 0))
    raw = bytearray(path.read_bytes())
    raw[280:328] = bytes(48)
    path.write_bytes(raw)
    flat = PlacedBlock.of_file(path)
    assert "lays all voxels on one plane" in errors(compare(flat, flat))[0]


def test_several_volumes_are_not_compared(tmp_path: Path) -> None:
    four = PlacedBlock.of_file(save(tmp_path / "a.nii", oblique(), array=np.zeros((*SHAPE, 2), np.uint8)))
    assert "7 × 6 × 5 × 2" in errors(compare(four, four))[0]
    one = PlacedBlock.of_file(save(tmp_path / "b.nii", oblique(), array=np.zeros((*SHAPE, 1), np.uint8)))
    assert compare(one, one) == []


def test_pairs_of_an_nnunet_data_set(tmp_path: Path) -> None:
    for name in ("labelsTr/a.nii.gz", "labelsTr/b_1.nii.gz", "labelsTr/c.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_1_0000.nii.gz", "d_0000.nii.gz", "notes.txt"):
        (tmp_path / "imagesTr").mkdir(exist_ok=True)
        (tmp_path / "imagesTr" / name).touch()
    found = pair_dataset(tmp_path)
    assert [(m.name, i.name) for m, i in found.pairs] == [
        ("a.nii.gz", "a_0000.nii.gz"),
        ("a.nii.gz", "a_0001.nii.gz"),
        ("b_1.nii.gz", "b_1_0000.nii.gz"),
    ]
    assert sorted(f.where for f in found.alone) == [("c.nii.gz",), ("d_0000.nii.gz",)]
    assert all(f.code is Code.UNPAIRED for f in found.alone)


def test_pairs_of_one_name(tmp_path: Path) -> None:
    for folder in ("masks", "images"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "liver.nii").touch()
    assert len(pair_folders(tmp_path / "masks", tmp_path / "images").pairs) == 1
    with pytest.raises(PipelineError) as caught:
        pair_dataset(tmp_path)
    assert caught.value.exit is Exit.NO_SUCH_INPUT
