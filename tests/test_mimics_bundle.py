"""Out of Mimics: for every oddity of the stand-in, the voxels lie where the source planes put them, or it is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.request import Request
from pipeline.core.findings import Code, Exit, Finding, PipelineError, Severity
from pipeline.core.policy import Policy
from pipeline.geometry.grid import Grid
from pipeline.mimics import grid, is_bundle
from pipeline.mimics.bundle import Bundle, read_bundle
from pipeline.mimics.grid import fit_grid, make_masks
from pipeline.volume.mask import MaskVolume
from tests.helpers.fake_mimics import KNOBS, inside, run_inside

HERE = Path(__file__).parent
EXPORT = HERE.parent / "pipeline" / "mimics" / "scripts" / "export_masks.py"
OBLIQUE = {"row": [0.8, 0.6, 0.0], "column": [-0.48, 0.64, -0.6]}


def exported(folder: Path, *arguments: str, **knobs: Any) -> Bundle:
    """What the export script writes with this project open. (test_mimics_scripts.py runs it as a process of its own.)"""
    run_inside(EXPORT, [str(folder), *arguments], knobs)
    return read_bundle(folder)


def truth(number: int, **knobs: Any) -> set[tuple[int, int, int]]:
    """The LPS places of a mask's voxels by the planes of the source alone, in micrometres."""
    k = {**KNOBS, **knobs}
    row, column = np.array(k["row"]), np.array(k["column"])
    step = np.array(k["step"]) if k["step"] else np.cross(row, column)
    points = [
        np.array(k["origin"]) + row * i * k["spacing"][0] + column * j * k["spacing"][1] + step * p * k["spacing"][2]
        for i in range(k["shape"][0])
        for j in range(k["shape"][1])
        for p in range(k["shape"][2])
        if inside(number, i, j, p) and p not in k["dropped"] and _kept(k["crop"], i, j, p)
    ]
    return {_micrometres(p) for p in points}


def _kept(crop: Any, *index: int) -> bool:
    return not crop or all(first <= n <= last for n, (first, last) in zip(index, crop, strict=True))


def _micrometres(point: Any) -> tuple[int, int, int]:
    x, y, z = (int(c) for c in np.rint(np.asarray(point) * 1000 / 5) * 5)  # to 5 µm: noise may not split a point
    return x, y, z


def places(mask: MaskVolume) -> set[tuple[int, int, int]]:
    return {_micrometres(p) for p in mask.grid.points(np.argwhere(mask.voxels.array()))}


def codes(findings: Any, severity: Severity | None = None) -> set[Code]:
    return {f.code for f in findings if severity in (None, f.severity)}


# ---- right voxels in the right place

RIGHT: dict[str, dict[str, Any]] = {
    "plain, 25": {},
    "plain, 21": {"version": "21"},
    "oblique": OBLIQUE,
    "oblique with noise": {**OBLIQUE, "noise": 1e-5},
    "row and column spacing differ": {"spacing": [0.7, 1.1, 2.5]},
    "sheared": {"step": [0.0, 0.25, (1 - 0.0625) ** 0.5]},
    "coronal": {"row": [1.0, 0, 0], "column": [0, 0, -1.0]},
    "rows run backwards": {"row": [1.0, 0, 0], "column": [0, -1.0, 0]},
    "end planes dropped": {"dropped": [0, 4]},
    "cropped": {"crop": [[2, 6], [0, 4], [0, 3]]},
    "buffer not contiguous": {"contiguous": False},
    "signed grey values": {"grey_format": "h"},
    "multi-frame tags": {"tags": "multiframe"},
    "one plane": {"shape": [7, 6, 1]},
    "few attributes": {"missing": ["logical_dimensions", "pixel_size", "guid", "get_image_information", "color"]},
}


@pytest.mark.parametrize("knobs", RIGHT.values(), ids=RIGHT.keys())
def test_right_voxels_in_the_right_place(tmp_path: Path, knobs: dict[str, Any]) -> None:
    masks, findings = make_masks(exported(tmp_path, **knobs))
    assert [m.name for m in masks] == ["bone", "tumour", "nothing"]
    for number, mask in enumerate(masks):
        assert places(mask) == truth(number, **knobs)
        assert np.linalg.det(mask.grid.lps[:3, :3]) > 0
    assert len(places(masks[1])) >= 2
    assert Code.FRAME_CONFIRMED in codes(findings)
    assert codes(findings, Severity.WARNING) <= {Code.EMPTY, Code.ASSUMED_THICKNESS}


@pytest.mark.parametrize(
    ("axes", "flipped"),
    [
        ([[0, 1], [1, 1], [2, -1]], True),
        ([[0, 1], [1, -1], [2, -1]], False),
        ([[0, -1], [1, -1], [2, 1]], False),
        ([[1, 1], [0, 1], [2, 1]], True),
        ([[0, 1], [2, -1], [1, 1]], False),  # an axial buffer from coronal planes
        ([[2, 1], [0, 1], [1, -1]], True),
    ],
)
def test_a_buffer_in_another_order_lies_right_and_says_so(tmp_path: Path, axes: Any, flipped: bool) -> None:
    knobs = {"axes": axes, **OBLIQUE}
    masks, findings = make_masks(exported(tmp_path, **knobs))
    for number, mask in enumerate(masks):
        assert places(mask) == truth(number, **knobs)
        assert np.linalg.det(mask.grid.lps[:3, :3]) > 0
    assert (Code.PLANES_FLIPPED in codes(findings)) == flipped
    assert Code.AXES_REORDERED in codes(findings, Severity.WARNING)


@pytest.mark.parametrize("column", [[0, -1.0, 0], [0, 0, -1.0]], ids=["as printed", "coronal"])
def test_the_spine_of_the_forum_thread(tmp_path: Path, column: list[float]) -> None:
    """Orientation 1 0 0 \\ 0 -1 0, and the coronal one its words fit; Mimics' buffer runs left, posterior, superior."""
    coronal = column[1] == 0
    axes = [[0, 1], [2, 1], [1, -1]] if coronal else [[0, 1], [1, -1], [2, -1]]
    knobs = {"row": [1.0, 0, 0], "column": column, "axes": axes, "spacing": [0.7, 0.7, 3.3]}
    masks, findings = make_masks(exported(tmp_path, **knobs))
    assert (np.diag(masks[0].grid.lps)[:3] > 0).all()
    for number, mask in enumerate(masks):
        assert places(mask) == truth(number, **knobs)
    assert Code.AXES_REORDERED in codes(findings)


def test_noise_leaves_axes_at_right_angles(tmp_path: Path) -> None:
    """ITK refuses cosines that are not orthonormal, and five voxels with noise of 0.01 µm would give such."""
    grid = fit_grid(exported(tmp_path, noise=2e-5, **OBLIQUE).images[0]).grid
    directions = grid.lps[:3, :3] / grid.spacing
    assert np.abs(directions.T @ directions - np.eye(3)).max() < 1e-12


def test_a_lean_is_kept(tmp_path: Path) -> None:
    grid = fit_grid(exported(tmp_path, step=[0.0, 0.25, (1 - 0.0625) ** 0.5]).images[0]).grid
    assert grid.shear_degrees == pytest.approx(np.degrees(np.arcsin(0.25)), abs=1e-4)


@pytest.mark.parametrize("on_tilt", ["refuse", "shear", "resample"])
def test_a_lean_obeys_the_policy(tmp_path: Path, on_tilt: Any) -> None:
    exported(tmp_path / "in", step=[0.0, 0.25, (1 - 0.0625) ** 0.5])
    request, policy = Request(wanted=("bone",)), Policy(on_tilt=on_tilt, crosscheck="off")
    if on_tilt == "shear":
        made = convert(tmp_path / "in", tmp_path / "bone.nii.gz", request=request, policy=policy)
        assert Code.SHEAR_KEPT in codes(made.findings)
        return
    with pytest.raises(PipelineError) as caught:
        convert(tmp_path / "in", tmp_path / "bone.nii.gz", request=request, policy=policy)
    assert caught.value.finding.code is Code.GANTRY_TILT
    assert ("--source" in caught.value.finding.hint) == (on_tilt == "resample")


def test_colours_names_and_uids_are_kept(tmp_path: Path) -> None:
    bundle = exported(tmp_path, "--images", "tumour")
    (mask,), _ = make_masks(bundle)
    assert mask.segments[0].name == "tumour"
    assert mask.segments[0].colour == (128, 128, 255)
    assert mask.grid.frame_of_reference_uid == "1.2.826.0.1.3680043.9.8"
    buffer = bundle.images[0].buffer
    assert buffer is not None
    assert buffer.array()[3, 2, 4] == 1 + 3 + 9 * 2 + 81 * 4


def test_signed_grey_values_are_read_as_signed(tmp_path: Path) -> None:
    buffer = exported(tmp_path, "--images", grey_format="h").images[0].buffer
    assert buffer is not None
    assert buffer.array()[0, 0, 0] == 1 - 200


def test_each_phase_has_its_own_grid(tmp_path: Path) -> None:
    bundle = exported(tmp_path, images=2)
    masks, _ = make_masks(bundle)
    assert [m.grid.shape for m in masks] == [(7, 6, 5), (7, 6, 4)] * 3
    assert masks[1].grid.lps[0, 3] - masks[0].grid.lps[0, 3] == pytest.approx(1.5)
    assert places(masks[0]) == truth(0)
    later = {"origin": [KNOBS["origin"][0] + 1.5, *KNOBS["origin"][1:]], "shape": [7, 6, 4]}
    assert places(masks[1]) == truth(0, **later)
    assert any("2 masks are called" in note for note in bundle.notes)


def test_duplicate_names_stay_apart(tmp_path: Path) -> None:
    bundle = exported(tmp_path, names=["bone", "bone"])
    assert [m.name for m in bundle.masks] == ["bone", "bone"]
    assert bundle.masks[0].guid != bundle.masks[1].guid
    masks, _ = make_masks(bundle)
    assert [places(m) for m in masks] == [truth(0), truth(1)]
    assert "2 masks are called 'bone'" in bundle.notes[0]


def test_a_mask_without_an_image_set_takes_the_active_one_of_its_size(tmp_path: Path) -> None:
    masks, findings = make_masks(exported(tmp_path, mask_image="none"))
    assert places(masks[0]) == truth(0)
    assert Code.IMAGE_ASSUMED in codes(findings, Severity.WARNING)


@pytest.mark.parametrize("link", ["none", "other"])
def test_a_mask_of_another_size_than_its_image_set_is_left_out(tmp_path: Path, link: str) -> None:
    bundle = exported(tmp_path, mask_image=link, images=2)  # the active one has a plane less than the first
    masks, findings = make_masks(bundle)
    assert len(masks) == 3
    assert {m.grid.shape for m in masks} == {(7, 6, 4)}
    assert len([f for f in findings if f.code is Code.MASK_LEFT_OUT]) == 3


@pytest.mark.parametrize(
    ("entry", "field", "value"), [("masks", "number_of_pixels", 3), ("images", "logical_dimensions", [9, 9, 9])]
)
def test_a_count_that_mimics_gives_otherwise_is_said(tmp_path: Path, entry: str, field: str, value: object) -> None:
    exported(tmp_path)
    path = tmp_path / "bundle.json"
    content = json.loads(path.read_text("utf-8"))
    assert field in content[entry][0]
    content[entry][0][field] = value
    path.write_text(json.dumps(content), "utf-8")
    masks, findings = make_masks(read_bundle(tmp_path))
    assert places(masks[0]) == truth(0)
    assert Code.COUNT_DIFFERS in codes(findings, Severity.WARNING)


# ---- reduced, resliced, without tags: right, and said


def test_reduced_images_lie_in_the_middle_of_the_joined_pixels(tmp_path: Path) -> None:
    knobs: dict[str, Any] = {"reduced": 2, "shape": [9, 6, 5], **OBLIQUE}
    (mask, *_), findings = make_masks(exported(tmp_path, **knobs))
    assert Code.REDUCED_IMAGES in codes(findings, Severity.WARNING)
    expected = Grid((9, 6, 5), _lps(**knobs)).points((0.5, 0.5, 0))
    np.testing.assert_allclose(mask.grid.points((0, 0, 0)), expected, atol=1e-9)
    assert mask.grid.shape == (4, 3, 5)


def _lps(**knobs: Any) -> Any:
    k = {**KNOBS, **knobs}
    row, column = np.array(k["row"]), np.array(k["column"])
    lps = np.eye(4)
    lps[:3, :3] = np.column_stack([row, column, np.cross(row, column)]) * k["spacing"]
    lps[:3, 3] = k["origin"]
    return lps


@pytest.mark.parametrize("tags", ["no positions", "series"])
def test_little_tags_little_proof(tmp_path: Path, tags: str) -> None:
    masks, findings = make_masks(exported(tmp_path, tags=tags))
    assert places(masks[0]) == truth(0)
    expected = {"no positions": Code.FRAME_ASSUMED, "series": Code.FRAME_CONFIRMED}[tags]
    assert expected in codes(findings, Severity.WARNING)


@pytest.mark.parametrize("tags", ["none", "error"])
def test_without_tags_the_unit_must_be_told(tmp_path: Path, tags: str) -> None:
    bundle = exported(tmp_path, tags=tags)
    assert refused(bundle).code is Code.UNITS_UNKNOWN
    masks, findings = make_masks(bundle, units_mm_per_unit=1.0)
    assert places(masks[0]) == truth(0)
    assert Code.FRAME_ASSUMED in codes(findings, Severity.WARNING)


def test_micrometres_are_refused_unless_told(tmp_path: Path) -> None:
    bundle = exported(tmp_path, tags="none", units="um")
    assert "um" in refused(bundle).message
    masks, _ = make_masks(bundle, units_mm_per_unit=0.001)
    assert masks[0].grid.spacing == pytest.approx((0.0007, 0.0007, 0.0025))


def test_an_image_too_uniform_to_prove_the_axes_is_said(tmp_path: Path) -> None:
    _, findings = make_masks(exported(tmp_path, uniform=True))
    assert Code.SELF_TEST_OPEN in codes(findings, Severity.WARNING)


def test_a_mimics_without_the_test_functions_is_said(tmp_path: Path) -> None:
    _, findings = make_masks(exported(tmp_path, missing=["get_voxel_indexes", "get_grey_value"]))
    assert len([f for f in findings if f.code is Code.SELF_TEST_OPEN]) == 2


def test_a_resliced_project_is_assumed_and_said(tmp_path: Path) -> None:
    bundle = exported(tmp_path, tag_scale=0.85)
    bundle = _edited(bundle, lambda plane: plane.update({"0028,0011": "9"}))
    _, findings = make_masks(bundle)
    assert Code.FRAME_ASSUMED in codes(findings, Severity.WARNING)


def _edited(bundle: Bundle, change: Any) -> Bundle:
    """The bundle with every slice's tags changed, as if the project had been resliced since."""
    content = json.loads((bundle.path / "bundle.json").read_text())
    for plane in content["images"][0]["planes"]:
        change(plane)
    (bundle.path / "bundle.json").write_text(json.dumps(content))
    return read_bundle(bundle.path)


# ---- refused, with the cause


def refused(bundle: Bundle) -> Finding:
    with pytest.raises(PipelineError) as caught:
        make_masks(bundle)
    return caught.value.finding


WRONG: dict[str, tuple[dict[str, Any], Code, float | None, str]] = {
    "half a slice": ({"frame": "half_slice"}, Code.HALF_SLICE_SHIFT, 1.25, "half a slice"),
    "half a slice, downwards": (
        {"frame": "half_slice", "axes": [[0, 1], [1, 1], [2, -1]]}, Code.HALF_SLICE_SHIFT, 1.25, "half a slice"),
    "half a slice, cropped": (
        {"frame": "half_slice", "crop": [[1, 6], [0, 5], [1, 4]]}, Code.HALF_SLICE_SHIFT, None, "half a slice"),
    "half a slice, one set of tags": ({"frame": "half_slice", "tags": "series"}, Code.HALF_SLICE_SHIFT, None, "half"),
    "corner": ({"frame": "corner", **OBLIQUE}, Code.CORNER_ORIGIN, 0.35 * 2**0.5, "half a pixel"),
    "STL coordinates": ({"frame": "stl"}, Code.CORNER_ORIGIN, None, "corner of the first voxel"),
    "moved": ({"frame": "moved"}, Code.FRAME_CHANGED, None, "not where"),
    "moved by a registration": ({"frame": "moved", "registered": True}, Code.FRAME_CHANGED, None, "not where"),
    "registered, no tags": ({"registered": True, "tags": "no positions"}, Code.FRAME_CHANGED, None, "registration"),
    "reduced, centres left": ({"reduced": 2, "reduced_centred": False}, Code.REDUCED_IMAGES, None, "first of the joined"),
    "reduced 3, centres left": (
        {"reduced": 3, "reduced_centred": False, "shape": [10, 7, 5]}, Code.REDUCED_IMAGES, None, "first of the joined"),
    "resized": ({"tag_scale": 0.8}, Code.RESIZED_PIXELS, None, "0.56"),
    "a plane dropped": ({"dropped": [2]}, Code.CENTRES_NOT_EVEN, None, "from plane k=1 to k=2 it is 5 mm, usually 2.5"),
    "a plane dropped and hidden": ({"dropped": [2], "even_model": True}, Code.PLANES_DROPPED, None, "from plane 1 to 2"),
    "a plane displaced": ({"extra": {"3": 0.4}}, Code.CENTRES_NOT_EVEN, None, "k=3"),
    "a plane displaced and hidden": ({"extra": {"3": 0.4}, "even_model": True}, Code.PLANES_DROPPED, 0.4, "plane"),
    "buffer in another order": ({"scrambled": True}, Code.SELF_TEST_FAILED, None, "grey value"),
    "indexes in another order": ({"indexes_wrong": True}, Code.SELF_TEST_FAILED, None, "round trip"),
}  # fmt: skip


@pytest.mark.parametrize(("knobs", "code", "measured", "said"), WRONG.values(), ids=WRONG.keys())
def test_refused_with_its_cause(
    tmp_path: Path, knobs: dict[str, Any], code: Code, measured: float | None, said: str
) -> None:
    finding = refused(exported(tmp_path, **knobs))
    assert finding.code is code
    assert said in finding.message
    if measured is not None:
        assert finding.measured == pytest.approx(measured, abs=1e-3)
        assert finding.limit is not None
        assert finding.measured > finding.limit


def test_a_turned_tilt_is_refused(tmp_path: Path) -> None:
    bundle = exported(tmp_path)

    def lean(plane: dict[str, str]) -> None:
        x, y, z = plane["0020,0032"].split("\\")
        plane["0020,0032"] = f"{x}\\{float(y) + 0.3 * plane['index']}\\{z}"  # type: ignore[operator]

    assert refused(_edited(bundle, lean)).code is Code.GANTRY_TILT


@pytest.mark.parametrize("by", [(5.3, 0, 0), (0, 0, 2.5), (0.7, 0, 0), (0, 0.2, 0)])
def test_a_shift_is_refused_by_whole_voxels_too(tmp_path: Path, by: tuple[float, float, float]) -> None:
    bundle = exported(tmp_path)

    def shift(plane: dict[str, str]) -> None:
        position = [float(word) for word in plane["0020,0032"].split("\\")]
        plane["0020,0032"] = "\\".join(str(p + b) for p, b in zip(position, by, strict=True))

    finding = refused(_edited(bundle, shift))
    assert finding.code is Code.FRAME_CHANGED
    assert finding.measured == pytest.approx(sum(by))


def test_a_resliced_project_elsewhere_is_refused(tmp_path: Path) -> None:
    bundle = exported(tmp_path, frame="moved", tag_scale=0.85)
    assert refused(_edited(bundle, lambda p: p.update({"0028,0011": "9"}))).code is Code.FRAME_CHANGED


def test_noise_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    bundle = exported(tmp_path, noise=3e-3)
    assert refused(bundle).code is Code.CENTRES_NOT_EVEN
    make_masks(bundle, policy=Policy(centre_limit_mm=0.01))


def test_flat_image_sets_are_refused(tmp_path: Path) -> None:
    assert refused(exported(tmp_path, shape=[1, 6, 5])).code is Code.NO_GRID


# ---- a spoiled bundle

SPOILED: dict[str, tuple[str, Any]] = {
    "images[0].shape": ("shape", [7, 6]),
    "images[0].probes": ("probes", [[0, 0, 0, 1, 2, 3]]),
    "images[0].self_tests": ("self_tests", None),
    "images[0].planes": ("planes", "many"),
    "images[0].registered": ("registered", "no"),
    "masks[0].image": ("image", 4),
    "masks[0].file": ("file", "../bundle.json"),
    "masks[0].format": ("format", "d"),
    "images[0].logical_dimensions": ("logical_dimensions", ["x"]),
    "bundle.version": ("version", 2),
    "bundle.format": ("format", "others"),
    "bundle.byte_order": ("byte_order", "middle"),
}


@pytest.mark.parametrize("where", SPOILED)
def test_a_refusal_names_the_field(tmp_path: Path, where: str) -> None:
    bundle = exported(tmp_path)
    content = json.loads((bundle.path / "bundle.json").read_text())
    key, value = SPOILED[where]
    part = where.split("[")[0].split(".")[0]
    (content if part == "bundle" else content[part][0])[key] = value
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(PipelineError) as caught:
        read_bundle(tmp_path)
    others = {"bundle.version": Code.UNSUPPORTED_VERSION, "bundle.format": Code.NOT_THIS_KIND}
    assert caught.value.finding.code is others.get(where, Code.BUNDLE_INVALID)
    assert where in caught.value.finding.message
    exits = {"bundle.version": Exit.REFUSED, "bundle.format": Exit.NOTHING_TO_CONVERT}
    assert caught.value.exit is exits.get(where, Exit.CORRUPT_INPUT)


def test_centres_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    text = (exported(tmp_path).path / "bundle.json").read_text()
    (tmp_path / "bundle.json").write_text(text.replace("-31.5,", "NaN,", 1))
    with pytest.raises(PipelineError, match="probes"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "other", "longer"])
def test_a_damaged_buffer_is_refused(tmp_path: Path, damage: str) -> None:
    import gzip

    bundle = exported(tmp_path)
    path = bundle.masks[0].buffer.path
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-12])
    elif damage == "other":
        shutil.copy(bundle.masks[1].buffer.path, path)
    else:
        path.write_bytes(gzip.compress(bytes(7 * 6 * 5 + 1)))
    masks, _ = make_masks(bundle)
    with pytest.raises(PipelineError, match="mask-001"):
        masks[0].voxels.array()
    masks[1].voxels.array()


def test_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        read_bundle(tmp_path)
    assert "did not finish" in caught.value.finding.message
    with pytest.raises(PipelineError) as caught:
        read_bundle(tmp_path / "nowhere")
    assert caught.value.exit is Exit.NO_SUCH_INPUT
    assert not is_bundle(tmp_path)


def test_what_is_no_bundle_or_nests_too_deep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        read_bundle(tmp_path)
    assert caught.value.finding.code is Code.NOT_THIS_KIND
    (tmp_path / "bundle.json").write_text("[" * 100_000)
    with pytest.raises(PipelineError, match="it is not JSON") as caught:
        read_bundle(tmp_path)
    assert caught.value.finding.code is Code.BUNDLE_INVALID


@pytest.mark.parametrize(
    ("of", "field", "value"),
    [
        ("images", "logical_dimensions", [10**400, 6, 5]),
        ("images", "shape", [7, 6, 10**400]),
        ("images", "shape", [7, 6, 10**15]),
        ("images", "slice_distance", 10**400),
        ("images", "probes", [[10**400, 0, 0, 0, 0, 0]]),
        ("masks", "voxels", 10**400),
        ("masks", "number_of_pixels", -(10**400)),
    ],
)
def test_a_number_beyond_use_is_named(tmp_path: Path, of: str, field: str, value: Any) -> None:
    """JSON holds whole numbers of any length."""
    path = exported(tmp_path).path / "bundle.json"
    content = json.loads(path.read_text())
    content[of][0][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(PipelineError, match=rf"{of}\[0\]\.{field}: ") as caught:
        read_bundle(tmp_path)
    assert caught.value.finding.code is Code.BUNDLE_INVALID


def test_a_grid_is_fitted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(tmp_path / "bundle", images=2)
    fitted: list[Any] = []
    true = grid.fit_stack
    monkeypatch.setattr(grid, "fit_stack", lambda *given, **options: fitted.append(given) or true(*given, **options))
    convert_all([tmp_path / "bundle"], tmp_path / "out")
    assert len(fitted) == 2


def test_an_image_set_without_a_grid_takes_out_its_own_masks_only(tmp_path: Path) -> None:
    """One of two image sets failed its test in Mimics; the masks on the other are converted."""
    exported(tmp_path / "bundle", images=2)
    content = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    content["images"][0]["self_tests"]["grey_value"]["passed"] = False
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(content))
    outcomes, refusals = convert_all([tmp_path / "bundle"], tmp_path / "out")
    assert [e.finding.code.name for e in refusals].count("SELF_TEST_FAILED") == 1
    assert sorted({label["Name"] for o in outcomes for label in o.record["Labels"]}) == ["bone", "tumour"]
    assert {o.shape[2] for o in outcomes} == {4}, "the second set has a plane fewer"
