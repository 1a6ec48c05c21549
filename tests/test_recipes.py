"""A recipe writes the same bytes everywhere, and what it writes is what it says, as readers that are not ours see it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.core.findings import Code, PipelineError
from pipeline.core.toml_file import parse_toml
from pipeline.regression.recipes import RECIPES, make_inputs
from pipeline.regression.recipes.parameters import read_parameters
from pipeline.regression.recipes.phantom import PARTS
from pipeline.regression.recipes.series import phantom_of
from tests.helpers.cases import DATA
from tests.helpers.slow_contours import distance, inside

OBLIQUE = [0.8, 0.6, 0, -0.36, 0.48, 0.8]
SIZE = {"Rows": 34, "Columns": 40, "NumberOfSlices": 16, "ImageOrientationPatient": OBLIQUE}


def made(folder: Path, **recipe: Any) -> Path:
    make_inputs(recipe, folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def truth(kind: str, *, off: tuple[float, ...] = (0, 0, 0), overlap: bool = True, **recipe: Any) -> np.ndarray:
    """(3, columns, rows, slices) body, marker and nose; asked point by point of the body's formula. off: in voxels."""
    phantom = phantom_of(read_parameters(kind, recipe, RECIPES[kind].parameters))
    row, column = np.array(phantom.iop[:3]), np.array(phantom.iop[3:])
    i, j, k = (
        axis + d for axis, d in zip(np.meshgrid(*map(np.arange, phantom.shape), indexing="ij"), off, strict=True)
    )
    points = (
        np.array(phantom.origin)
        + i[..., None] * row * phantom.column_spacing
        + j[..., None] * column * phantom.row_spacing
        + k[..., None] * np.cross(row, column) * phantom.step
    )
    parts = phantom.overlapping_parts(points)
    return parts if overlap else parts & ~np.stack([parts[1] | parts[2], parts[2], np.zeros_like(parts[2])])


def planes_of(folder: Path) -> list[Any]:
    """The files of a series, along its normal."""
    found = [dcmread(path) for path in folder.glob("*.dcm")]
    row, column = np.reshape(np.array(found[0].ImageOrientationPatient, float), (2, 3))
    normal = np.cross(row, column)
    return sorted(found, key=lambda d: float(np.array(d.ImagePositionPatient, float) @ normal))


def own_cases(*kinds: str) -> list[dict[str, Any]]:
    """The project's own cases of these kinds of recipes, but for those that are refused."""
    cases = parse_toml((DATA / "cases.toml").read_text("utf-8"))["case"]
    good = ("verified", "unconfirmed")
    return [case for case in cases if case.get("recipe", {}).get("kind") in kinds and case["expected"] in good]


@pytest.mark.parametrize("kind", RECIPES)
def test_two_processes_write_the_same_bytes(tmp_path: Path, kind: str) -> None:
    made(tmp_path / "here", kind=kind)
    code = (
        "import sys, pathlib; from pipeline.regression.recipes import make_inputs; "
        "make_inputs({'kind': sys.argv[1]}, pathlib.Path(sys.argv[2]))"
    )
    for seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "OPENBLAS_CORETYPE": "Prescott",
            "NPY_DISABLE_CPU_FEATURES": "",
        }
        subprocess.run([sys.executable, "-c", code, kind, str(tmp_path / seed)], env=environment, check=True)
        assert digests(tmp_path / seed) == digests(tmp_path / "here")


def test_another_parameter_is_another_series(tmp_path: Path) -> None:
    """Two cases of one run are never one series by accident."""
    uids = {
        dcmread(next(made(tmp_path / f"{n}", kind="image", Rows=n).glob("*.dcm"))).SeriesInstanceUID for n in (8, 9)
    }
    assert len(uids) == 2


def test_every_kind_is_among_the_projects_own_cases() -> None:
    cases = parse_toml((DATA / "cases.toml").read_text("utf-8"))["case"]
    assert {case["recipe"]["kind"] for case in cases if "recipe" in case} == set(RECIPES)
    assert sum(case["expected"] == "MISSING_PLANES" for case in cases) == 1  # and refusals
    assert all("archive" in case or "recipe" in case or (DATA / case["path"]).is_dir() for case in cases)


@pytest.mark.parametrize(
    "case", own_cases("mask", "seg", "bundle", "burned-in", "overlay"), ids=lambda case: case["id"]
)
def test_a_golden_record_says_of_its_masks_what_the_body_is(case: dict[str, Any]) -> None:
    """Voxels, and where they lie in the patient, to a hundredth of a millimetre."""
    recipe = dict(case["recipe"])
    kind = recipe.pop("kind")
    shares = recipe.pop("overlap", False) or kind in ("bundle", "burned-in", "overlay")
    parts = truth(kind, overlap=shares, **recipe)
    if recipe.get("SegmentationType") == "FRACTIONAL":
        points = product((-0.25, 0.25), repeat=3)
        parts = sum(truth(kind, off=off, overlap=shares, **recipe).astype(int) for off in points) >= 4
    wanted = [(int(part.sum()), centre_of(part, kind, **recipe)) for part in parts]
    wanted = wanted[: {"burned-in": 1, "overlay": recipe.get("overlays", 1)}.get(kind, 3)]
    golden = json.loads((DATA / "golden" / f"{case['id']}.json").read_text("utf-8"))
    labels = [label for result in golden["Results"] for label in result.get("Labels", ())]
    assert [label["Voxels"] for label in labels] == [count for count, _ in wanted]
    for label, (_, centre) in zip(labels, wanted, strict=True):
        assert np.allclose(label["CentroidLpsMm"], centre, atol=0.01)


def centre_of(part: np.ndarray, kind: str, **recipe: Any) -> np.ndarray:
    """The mean place of the voxels that are set, LPS mm."""
    phantom = phantom_of(read_parameters(kind, recipe, RECIPES[kind].parameters))
    row, column = np.array(phantom.iop[:3]), np.array(phantom.iop[3:])
    steps = np.stack([row * phantom.column_spacing, column * phantom.row_spacing, np.cross(row, column) * phantom.step])
    return np.array(phantom.origin) + np.argwhere(part).mean(0) @ steps


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_highdicom_reads_each_seg_as_the_body_is(tmp_path: Path, kind: str, overlap: bool) -> None:
    highdicom = pytest.importorskip("highdicom")
    recipe = {"SegmentationType": kind, "overlap": overlap, **SIZE}
    if kind == "LABELMAP" and overlap:
        with pytest.raises(PipelineError, match=r"recipe\.overlap"):
            made(tmp_path / "in", kind="seg", **recipe)
        return
    folder = made(tmp_path / "in", kind="seg", **recipe)
    images = [plane.SOPInstanceUID for plane in planes_of(folder / "images")]
    seg = highdicom.seg.segread(folder / "seg.dcm")
    found = seg.get_pixels_by_source_instance(
        images, combine_segments=False, assert_missing_frames_are_empty=True, rescale_fractional=False
    ).transpose(3, 2, 1, 0)  # from (planes, rows, columns, segments)
    assert [d.SegmentLabel for d in seg.SegmentSequence] == list(PARTS)
    parts = truth("seg", overlap=overlap, **SIZE)
    assert parts.any((1, 2, 3)).all()
    assert (parts.sum(0) > 1).any() == overlap
    if kind == "FRACTIONAL":
        points = product((-0.25, 0.25), repeat=3)
        parts = 25 * sum(truth("seg", off=off, overlap=overlap, **SIZE).astype(int) for off in points)
    assert (found == parts).all()


@pytest.mark.parametrize("recipe", [{}, {"ImageOrientationPatient": OBLIQUE}, {"hole": False, "points": 7}])
def test_contours_lie_on_their_images_and_hold_what_they_draw(tmp_path: Path, recipe: dict[str, Any]) -> None:
    folder = made(tmp_path / "in", kind="rtstruct", **recipe)
    planes = {plane.SOPInstanceUID: plane for plane in planes_of(folder / "images")}
    struct = dcmread(folder / "rtstruct.dcm")
    names = [roi.ROIName for roi in struct.StructureSetROISequence]
    assert names == list(PARTS)
    counts = dict.fromkeys(names, 0)
    for name, roi in zip(names, struct.ROIContourSequence, strict=True):
        by_plane: dict[str, list[np.ndarray]] = {}
        for contour in roi.ContourSequence:
            plane = planes[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            row, column = np.reshape(np.array(plane.ImageOrientationPatient, float), (2, 3))
            offset = np.reshape(np.array(contour.ContourData, float), (-1, 3)) - np.array(
                plane.ImagePositionPatient, float
            )
            assert abs(offset @ np.cross(row, column)).max() < 1e-6
            uv = np.stack(
                [offset @ row / float(plane.PixelSpacing[1]), offset @ column / float(plane.PixelSpacing[0])], 1
            )
            assert uv.min() > -0.5
            assert (uv.max(0) < (plane.Columns - 0.5, plane.Rows - 0.5)).all()
            by_plane.setdefault(plane.SOPInstanceUID, []).append(uv)
        holes = [uvs for uvs in by_plane.values() if len(uvs) == 2]
        assert bool(holes) == (name == "body" and recipe.get("hole", True))
        counts[name] = sum(_held(uvs) for uvs in by_plane.values())
    assert min(counts.values()) > 20
    if not recipe:  # and ours holds the same
        golden = json.loads((DATA / "golden" / "rtstruct-hole.json").read_text("utf-8"))
        labels = [label for result in golden["Results"] for label in result.get("Labels", ())]
        assert {label["Name"]: label["Voxels"] for label in labels} == counts


def _held(polygons: list[np.ndarray]) -> int:
    """How many pixels of 30 x 26 have their centre within an odd number of polygons, and none on an edge."""
    centres = np.stack(np.meshgrid(np.arange(30), np.arange(26), indexing="ij"), -1).reshape(-1, 2).astype(float)
    assert min(distance(polygon, centres).min() for polygon in polygons) > 1e-4
    return int(np.bitwise_xor.reduce([inside(polygon, centres) for polygon in polygons]).sum())


def test_an_overlay_shows_the_body_where_its_origin_says(tmp_path: Path) -> None:
    folder = made(tmp_path / "in", kind="overlay", overlays=3, OverlayOrigin=[3, -2], **SIZE)
    parts = truth("overlay", **SIZE)
    for k, plane in enumerate(planes_of(folder)):
        for n in range(3):
            bits = plane.overlay_array(0x6000 + 2 * n)  # (rows, columns)
            shown = np.zeros_like(bits)
            shown[2:, :-3] = bits[:-2, 3:]
            assert (shown[:, :].T[:-3, 2:] == parts[n, :-3, 2:, k]).all()
    assert parts[:, :-3, 2:].any((1, 2, 3)).all()


def test_a_burned_in_series_is_its_clean_one_but_for_the_body(tmp_path: Path) -> None:
    folder = made(tmp_path / "in", kind="burned-in", value=2222, **SIZE)
    parts = truth("burned-in", **SIZE)
    clean, burned = (
        np.stack([plane.pixel_array.T for plane in planes_of(folder / name)], -1) for name in ("clean", "burned-in")
    )
    assert (burned[parts[0]] == 2222).all()
    assert (burned[~parts[0]] == clean[~parts[0]]).all()
    assert (clean != 2222).all()


def test_a_bundle_holds_the_body_in_the_order_of_mimics(tmp_path: Path) -> None:
    folder = made(tmp_path / "in", kind="bundle", masks=["liver", "tumour"], **SIZE) / "bundle"
    content = json.loads((folder / "bundle.json").read_text("utf-8"))
    parts = truth("bundle", **SIZE)
    for n, mask in enumerate(content["masks"]):
        data = gzip.decompress((folder / mask["file"]).read_bytes())
        assert sha256(data).hexdigest() == mask["sha256"]
        assert (np.frombuffer(data, bool).reshape(mask["shape"]) == parts[n]).all()
        assert mask["voxels"] == parts[n].sum() > 0
    assert [mask["name"] for mask in content["masks"]] == ["liver", "tumour"]


def test_a_large_mask_of_a_bundle_is_several_stored_blocks(tmp_path: Path) -> None:
    folder = made(tmp_path / "in", kind="bundle", Rows=64, Columns=64, NumberOfSlices=40) / "bundle"
    assert len(gzip.decompress((folder / "mask-001.raw.gz").read_bytes())) == 64 * 64 * 40


@pytest.mark.parametrize(
    ("recipe", "keyword", "values"),
    [
        ({"missing_slices": [2, 5]}, "InstanceNumber", [1, 3, 4, 6]),
        ({"InstanceNumber": "descending"}, "InstanceNumber", [6, 5, 4, 3, 2, 1]),
        ({"InstanceNumber": "constant"}, "InstanceNumber", [1] * 6),
        ({"duplicate_slices": [2]}, "InstanceNumber", [1, 2, 3, 4, 5, 6, 8]),
        ({"without": ["PixelSpacing"]}, "PixelSpacing", [None] * 6),
        ({"changed_slices": [{"slices": [3], "SliceThickness": 9}]}, "SliceThickness", [2.5, 2.5, 9, 2.5, 2.5, 2.5]),
        ({"GantryDetectorTilt": 12}, "GantryDetectorTilt", [12] * 6),
        ({"SeriesDescription": "knee"}, "SeriesDescription", ["knee"] * 6),
        ({"RescaleSlope": 2, "RescaleIntercept": -5}, "RescaleIntercept", [-5] * 6),
        ({"PixelRepresentation": 1, "BitsStored": 12}, "HighBit", [11] * 6),
    ],
)
def test_a_parameter_is_in_the_files(tmp_path: Path, recipe: dict[str, Any], keyword: str, values: list[Any]) -> None:
    files = [dcmread(path) for path in made(tmp_path / "in", kind="image", NumberOfSlices=6, **recipe).iterdir()]
    assert sorted((d.get(keyword) for d in files), key=str) == sorted(values, key=str)


def test_a_tilt_leans_the_stack_along_its_columns(tmp_path: Path) -> None:
    planes = planes_of(made(tmp_path / "in", kind="image", GantryDetectorTilt=12, NumberOfSlices=3))
    first, second, _ = (np.array(plane.ImagePositionPatient, float) for plane in planes)
    assert np.allclose(second - first, [0, 2.5 * np.tan(np.radians(12)), 2.5], atol=1e-8)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no kind": ({}, "recipe.kind"),
    "unknown kind": ({"kind": "pet"}, "recipe.kind"),
    "unknown parameter": ({"kind": "image", "rows": 5}, "recipe.rows"),
    "parameter of another kind": ({"kind": "image", "hole": True}, "recipe.hole"),
    "no number": ({"kind": "image", "Rows": "5"}, "recipe.Rows"),
    "truth is no number": ({"kind": "image", "Rows": True}, "recipe.Rows"),
    "too many": ({"kind": "image", "Rows": 5000}, "recipe.Rows"),
    "too few numbers": ({"kind": "image", "PixelSpacing": [1]}, "recipe.PixelSpacing"),
    "not above 0": ({"kind": "image", "PixelSpacing": [1, 0]}, "recipe.PixelSpacing"),
    "infinite": ({"kind": "image", "SpacingBetweenSlices": float("inf")}, "recipe.SpacingBetweenSlices"),
    "unknown choice": ({"kind": "image", "SOPClassUID": "CT"}, "recipe.SOPClassUID"),
    "no keyword": ({"kind": "image", "without": ["Positon"]}, "recipe.without"),
    "no slices": ({"kind": "image", "changed_slices": [{"Rows": 3}]}, "recipe.changed_slices"),
    "not of its VR": (
        {"kind": "image", "changed_slices": [{"slices": [1], "PixelSpacing": "wide"}]},
        "recipe.changed_slices",
    ),
    "no such slice": ({"kind": "image", "missing_slices": [12]}, "recipe.missing_slices"),
    "no slice left": ({"kind": "image", "NumberOfSlices": 1, "missing_slices": [1]}, "recipe.missing_slices"),
    "defect of a multi-frame": (
        {"kind": "image", "SOPClassUID": "EnhancedCTImageStorage", "missing_slices": [1]},
        "recipe.missing_slices",
    ),
    "more stored than allocated": ({"kind": "image", "BitsAllocated": 8, "BitsStored": 12}, "recipe.BitsStored"),
    "does not fit": ({"kind": "mask", "labels": [300]}, "recipe.BitsAllocated"),
    "burned in too high": ({"kind": "burned-in", "BitsAllocated": 8}, "recipe.BitsAllocated"),
    "four labels": ({"kind": "mask", "labels": [1, 2, 3, 4]}, "recipe.labels"),
    "one name twice": ({"kind": "seg", "SegmentLabel": ["a", "a"]}, "recipe.SegmentLabel"),
    "structures on frames": ({"kind": "rtstruct", "SOPClassUID": "EnhancedCTImageStorage"}, "recipe.SOPClassUID"),
    "overlays of frames": ({"kind": "overlay", "SOPClassUID": "EnhancedCTImageStorage"}, "recipe.SOPClassUID"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_by_name(tmp_path: Path, name: str) -> None:
    recipe, where = WRONG[name]
    with pytest.raises(PipelineError) as refused:
        make_inputs(recipe, tmp_path / "in")
    finding = refused.value.finding
    assert (finding.code, finding.where) == (Code.BAD_OPTION, (where,))
    assert finding.hint


def test_an_unknown_name_is_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as refused:
        make_inputs({"kind": "image", "rows": 5}, tmp_path / "in")
    assert "Rows, Columns, NumberOfSlices" in refused.value.finding.hint
    with pytest.raises(PipelineError) as refused:
        make_inputs({"kind": "dose"}, tmp_path / "in")
    assert "image, mask, seg" in refused.value.finding.hint


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(PipelineError, match=r"recipe\.folder"):
        make_inputs({"kind": "image"}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
