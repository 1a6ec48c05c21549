"""Structure sets against shapes of known size on grids of every direction, each defect, and real data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from pipeline.core.findings import Code, Exit, PipelineError, Severity
from pipeline.core.policy import Policy
from pipeline.decode.rtstruct import decode as rtstruct
from pipeline.decode.rtstruct import structure_set
from pipeline.dicom.scan import Series, scan
from pipeline.geometry.affine import LPS_TO_RAS
from pipeline.geometry.grid import Grid
from pipeline.geometry.index_map import find_index_map, reorder
from pipeline.stacking.stack_frames import lay_frames
from tests.helpers.cases import needs_samples, samples_folder
from tests.helpers.rtphantom import (
    AXIAL,
    CORONAL,
    FRAME_UID,
    IMAGE_SERIES_UID,
    OBLIQUE,
    SAGITTAL,
    PhantomRoi,
    ellipse,
    grid,
    image_uid,
    on,
    rectangle,
    structs,
    write_images,
    write_struct,
)

IBSI = samples_folder() / "theibsi+data_sets" / "ibsi_validation"
RT_UTILS = samples_folder() / "qurit+rt-utils" / "tests" / "mock_data"
DIRECTIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": OBLIQUE}
GRIDS = [
    pytest.param(directions, shape, spacing, id=f"{name}-{shape[0]}")
    for name, directions in DIRECTIONS.items()
    for shape, spacing in (((44, 37, 9), (0.8, 1.1, 2.5)), ((131, 118, 5), (1.3, 0.7, 3.1)))
]


def decode(path: Path, g: Grid, contours, **options) -> rtstruct.DecodedRois:
    kinds = options.pop("kinds", "CLOSED_PLANAR")
    return rtstruct.decode(structs(path, PhantomRoi("liver", contours, kinds=kinds)), g, **options)


def filled(path: Path, g: Grid, contours, **options) -> np.ndarray:
    """(i, j, k) of the one ROI."""
    return decode(path, g, contours, **options).masks[0].voxels.array()


def codes(decoded: rtstruct.DecodedRois) -> list[str]:
    return [f.code.name for f in decoded.findings]


def images_named(series: Series) -> set[str]:
    """The images that a structure set lists, and those that its contours name."""
    structure = structure_set.read_one(series)
    listed = {uid for images in structure.series for uid in images.image_uids}
    return listed.union(*(uids for roi in structure.rois for uids in roi.drawn_on()))


# --- shapes of known size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("directions", "shape", "spacing"), GRIDS)
def test_a_circle_has_its_area(tmp_path, directions, shape, spacing):
    g = grid(directions, shape, spacing)
    radius_mm = 14.3
    u, v = shape[0] / 2 - 0.2, shape[1] / 2 - 0.7
    circle = ellipse(u, v, radius_mm / spacing[0], radius_mm / spacing[1], 720)
    decoded = decode(tmp_path, g, [on(g, circle, 3)])
    report = decoded.reports[0]
    assert report.contour_area_mm2 == pytest.approx(np.pi * radius_mm**2, rel=1e-4)
    assert report.voxel_area_mm2 == pytest.approx(np.pi * radius_mm**2, rel=5e-3)
    assert report.voxel_volume_ml == pytest.approx(report.voxel_area_mm2 * spacing[2] / 1000)
    # Which voxels: those whose own centre, in mm, is within the radius of the circle's.
    i, j = np.indices(shape[:2])
    distance = np.linalg.norm(g.points(np.stack([i, j, i * 0 + 3], -1)) - g.points((u, v, 3)), axis=-1)
    clear = np.abs(distance - radius_mm) > 0.01
    array = decoded.masks[0].voxels.array()
    assert (array[:, :, 3] == (distance < radius_mm))[clear].all()
    assert array.sum() == array[:, :, 3].sum() == report.voxels
    assert decoded.masks[0].grid is g


@pytest.mark.parametrize(("directions", "shape", "spacing"), GRIDS)
def test_rectangles_on_edges_and_on_centres_are_exact(tmp_path, directions, shape, spacing):
    g = grid(directions, shape, spacing)
    expected = np.zeros(shape, np.uint8)
    expected[5:19, 7:30, 2] = 1
    on_edges, on_centres = rectangle(4.5, 18.5, 6.5, 29.5), rectangle(5, 19, 7, 30)
    for corners in (on_edges, on_centres):
        decoded = decode(tmp_path, g, [on(g, corners, 2)])
        assert (decoded.masks[0].voxels.array() == expected).all()
        assert decoded.reports[0].difference_percent == pytest.approx(0, abs=1e-4)
        assert decoded.findings == []


@pytest.mark.parametrize(("directions", "shape", "spacing"), GRIDS)
def test_holes_islands_keyholes_and_overlaps(tmp_path, directions, shape, spacing):
    g = grid(directions, shape, spacing)
    nested = [on(g, rectangle(n + 0.5, 40.5 - n, n + 1.5, 33.5 - n), 4) for n in (0, 5, 10)]
    decoded = decode(tmp_path, g, nested)
    assert decoded.reports[0].voxels == 40 * 32 - 30 * 22 + 20 * 12
    assert decoded.reports[0].difference_percent == pytest.approx(0, abs=1e-4)
    assert decoded.reports[0].holes == 1
    assert codes(decoded) == ["CONTOURS_NESTED"]

    keyhole = [(0, 0), (24, 0), (24, 20), (0, 20), (0, 9), (6, 9), (6, 15), (18, 15), (18, 5), (6, 5), (6, 9), (0, 9)]
    decoded = decode(tmp_path, g, [on(g, np.array(keyhole) + 3.5, 4)])
    assert decoded.reports[0].voxels == 24 * 20 - 12 * 10
    assert decoded.reports[0].contour_area_mm2 == pytest.approx(360 * spacing[0] * spacing[1], rel=1e-5)
    assert decoded.findings == []

    overlapping = [rectangle(2.5, 22.5, 3.5, 13.5), rectangle(7.5, 27.5, 8.5, 18.5)]
    decoded = decode(tmp_path, g, [on(g, r, 4) for r in overlapping])
    assert decoded.reports[0].voxels == 325, "the union; exclusive or would be 250"
    assert codes(decoded) == ["CONTOURS_OVERLAP"]
    assert decoded.findings[0].where == ("contours 1 and 2",)
    decoded = decode(tmp_path, g, [on(g, r, 4) for r in overlapping], kinds="CLOSEDPLANAR_XOR")
    assert decoded.reports[0].voxels == 250, "unless the structure set says exclusive or"
    assert decoded.reports[0].difference_percent == pytest.approx(0, abs=0.1)


# --- what is said, and what is refused --------------------------------------------------------------------------

G = grid()


def refusal(path: Path, contours, **options) -> PipelineError:
    with pytest.raises(PipelineError) as error:
        decode(path, options.pop("g", G), contours, **options)
    return error.value


def test_contours_between_planes_go_to_the_nearest_and_are_listed(tmp_path):
    square = rectangle(4.5, 18.5, 6.5, 29.5)
    decoded = decode(tmp_path, G, [on(G, square, 2), on(G, square, 3.4), on(G, square, 4.5), on(G, square, 6.02)])
    array = decoded.masks[0].voxels.array()
    assert np.flatnonzero(array.any(axis=(0, 1))).tolist() == [2, 3, 5, 6]
    (finding,) = decoded.findings
    assert finding.code is Code.CONTOUR_BETWEEN_PLANES
    # 0.02 of a step is 0.05 mm: within the limit of 0.08 mm, which is a tenth of the smallest spacing.
    assert finding.where == ("contour 2: 1 mm to plane k = 3", "contour 3: 1.25 mm to plane k = 5")
    assert finding.measured == pytest.approx(1.25)
    assert finding.limit == pytest.approx(1.25)


def test_contours_that_share_a_plane_are_refused_or_interpolated(tmp_path):
    contours = [on(G, ellipse(20, 17, 4 + n, 6 + n), 2 + 0.3 * n) for n in range(8)]
    error = refusal(tmp_path, contours)
    assert error.finding.code is Code.CONTOURS_SHARE_PLANE
    assert error.finding.where == ("plane k = 2", "plane k = 3", "plane k = 4")
    assert error.exit is Exit.REFUSED
    decoded = decode(tmp_path, G, contours, interpolate=True)
    array = decoded.masks[0].voxels.array()
    assert np.flatnonzero(array.any(axis=(0, 1))).tolist() == [2, 3, 4]
    assert (array[:, :, 2] == filled(tmp_path, G, [on(G, ellipse(20, 17, 4, 6), 2)])[:, :, 2]).all()
    # Plane 3 is a third of the way between the fourth (2.9) and fifth (3.2) ellipse.
    assert array[:, :, 3].sum() == pytest.approx(np.pi * (4 + 10 / 3) * (6 + 10 / 3), rel=0.02)
    assert codes(decoded) == ["CONTOURS_INTERPOLATED"]
    assert decoded.reports[0].interpolated


def test_two_positions_on_one_plane_are_refused(tmp_path):
    """An outer contour a little below a plane, and its hole a little above: neither may overwrite the other."""
    g = grid(spacing=(1.0, 1.0, 3.0))
    outer, hole = rectangle(4.5, 30.5, 6.5, 29.5), rectangle(10.5, 18.5, 12.5, 20.5)
    error = refusal(tmp_path, [on(g, outer, 2 - 0.08 / 3), on(g, hole, 2 + 0.072 / 3), on(g, outer, 4)], g=g)
    assert error.finding.code is Code.CONTOURS_SHARE_PLANE


def test_interpolation_fills_between_contours_but_not_a_gap(tmp_path):
    g = grid(shape=(44, 37, 23))
    square = rectangle(4.5, 18.5, 6.5, 29.5)
    at = [1, 3, 5, 12, 14]
    contours = [on(g, square, k) for k in at]
    assert np.flatnonzero(filled(tmp_path, g, contours).any(axis=(0, 1))).tolist() == at, "gaps are kept"
    decoded = decode(tmp_path, g, contours, interpolate=True)
    array = decoded.masks[0].voxels.array()
    # A contour stands for its own step now, which is two planes.
    assert decoded.reports[0].contour_volume_ml == pytest.approx(5 * 14 * 23 * 0.8 * 1.1 * 2 * 2.5 / 1000)
    assert np.flatnonzero(array.any(axis=(0, 1))).tolist() == [1, 2, 3, 4, 5, 12, 13, 14]
    assert set(array.sum(axis=(0, 1)).tolist()) == {0, 14 * 23}
    sideways = [on(g, rectangle(4.5, 9.5, 6.5, 20.5), i, axis=0) for i in (3, 5)]
    assert np.flatnonzero(filled(tmp_path, g, sideways, interpolate=True).any(axis=(1, 2))).tolist() == [3, 4, 5]


def test_interpolation_follows_the_signed_distance(tmp_path):
    # Half-way between a narrow and a wide rectangle the sides are half-way too, in mm on uneven pixels.
    wide, narrow = rectangle(3.5, 33.5, 2.5, 32.5), rectangle(11.5, 25.5, 10.5, 24.5)
    array = filled(tmp_path, G, [on(G, wide, 2), on(G, narrow, 4)], interpolate=True)
    middle = array[:, :, 3]
    assert np.flatnonzero(middle[:, 17]).tolist() == list(range(8, 30))
    assert np.flatnonzero(middle[18]).tolist() == list(range(7, 29))


def test_interpolation_leaves_a_layer_on_its_plane_as_it_is(tmp_path):
    # Edges on pixel centres: their distance is nothing, and the rule for edges still decides.
    below, above = on(G, rectangle(5, 19, 7, 30), 2), on(G, rectangle(8.5, 12.5, 10.5, 20.5), 4)
    array = filled(tmp_path, G, [below, above], interpolate=True)
    assert (array[:, :, [2, 4]] == filled(tmp_path, G, [below, above])[:, :, [2, 4]]).all()
    # Two layers beside one plane and none beyond it: the nearer one.
    near, far = on(G, rectangle(8.5, 12.5, 10.5, 20.5), 2.1), on(G, rectangle(5.5, 19.5, 7.5, 30.5), 2.4)
    assert filled(tmp_path, G, [near, far], interpolate=True).sum() == 4 * 10


def test_touching_is_measured_in_mm(tmp_path):
    inner, outer = rectangle(4.48, 9.5, 6.5, 12.5), rectangle(4.5, 18.5, 2.5, 29.5)
    coarse = grid(spacing=(4.0, 5.0, 2.5))
    # 0.02 of a pixel over the edge: 0.016 mm is rounding, and 0.08 mm is not.
    assert codes(decode(tmp_path, G, [on(G, p, 2) for p in (outer, inner)])) == ["CONTOURS_NESTED"]
    assert codes(decode(tmp_path, coarse, [on(coarse, p, 2) for p in (outer, inner)])) == ["CONTOURS_OVERLAP"]


def test_contours_over_the_border_are_clipped_and_those_outside_listed(tmp_path):
    over = rectangle(-6.5, 9.5, 30.5, 50)
    decoded = decode(tmp_path, G, [on(G, over, 1), on(G, over + 200, 1), on(G, over, -0.51), on(G, over, 8.5)])
    expected = np.zeros(G.shape, np.uint8)
    expected[:10, 31:, 1] = 1
    assert (decoded.masks[0].voxels.array() == expected).all()
    outside, clipped = decoded.findings
    assert (outside.code, outside.where) == (Code.CONTOUR_OUTSIDE, ("contour 2", "contour 3", "contour 4"))
    assert (clipped.code, clipped.where) == (Code.CONTOUR_CLIPPED, ("contour 1",))
    assert f"{13.5 * 1.1:.3g} mm" in clipped.message
    sideways = filled(tmp_path, G, [on(G, rectangle(-3.5, 9.5, 2.5, 40), 5, axis=0)])
    assert sideways.sum() == 10 * 6


def test_an_empty_result_is_an_error_by_name(tmp_path):
    away = refusal(tmp_path, [on(G, rectangle(100, 110, 2, 9), 1)])
    between_centres = refusal(tmp_path, [on(G, rectangle(3.2, 3.7, 2.2, 2.8), 1)])
    points_only = refusal(tmp_path, [on(G, [(3, 4)], 1)], kinds="POINT", wanted=["liver"])
    for error in (away, between_centres, points_only):
        assert error.finding.code is Code.EMPTY_ROI
        assert "“liver”" in error.finding.message
    assert [f.code for f in away.others] == [Code.CONTOUR_OUTSIDE]
    assert [f.code for f in points_only.others] == [Code.CONTOUR_NOT_CLOSED]


def test_points_open_and_areas_of_nothing_are_listed(tmp_path):
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    line = on(G, [(2, 3), (4, 6), (6, 9)], 3)
    kinds = ["CLOSED_PLANAR", "OPEN_PLANAR", "OPEN_NONPLANAR", "POINT", "CLOSED_PLANAR", "CLOSED_PLANAR"]
    decoded = decode(tmp_path, G, [square, square, square, square[:1], square[:2], line], kinds=kinds)
    assert decoded.masks[0].voxels.array().sum() == 14 * 23
    assert [(f.code.name, f.where) for f in decoded.findings] == [
        ("CONTOUR_NOT_CLOSED", ("contour 3",)),
        ("CONTOUR_NOT_CLOSED", ("contour 2",)),
        ("CONTOUR_NOT_CLOSED", ("contour 4",)),
        ("CONTOUR_WITHOUT_AREA", ("contour 5", "contour 6")),
    ]
    assert "OPEN_NONPLANAR" in decoded.findings[0].message


def test_planes_that_lean_and_surfaces_are_refused(tmp_path):
    flat = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    turn = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    centre = flat.mean(axis=0)
    error = refusal(tmp_path, [(flat - centre) @ turn.T + centre])
    assert error.finding.code is Code.CONTOUR_PLANE_TILTED
    assert f"{np.degrees(0.2):.3g}° from the k planes" in error.finding.message
    assert error.finding.measured == pytest.approx(23 * 1.1 * np.sin(0.2), rel=1e-4)
    warped = flat + np.array([[0, 0, 0], [0, 0, 0.4], [0, 0, 0], [0, 0, 0.4]])
    error = refusal(tmp_path, [warped])
    assert error.finding.code is Code.CONTOUR_NOT_PLANAR
    assert error.finding.measured == pytest.approx(0.4, rel=0.01)
    assert error.finding.limit == pytest.approx(0.08)
    mixed = refusal(tmp_path, [flat, on(G, rectangle(4.5, 18.5, 2.5, 6.5), 12, axis=0)])
    assert mixed.finding.code is Code.CONTOUR_DIRECTIONS_MIXED


def test_repeats_and_crossings_are_reported(tmp_path):
    square = rectangle(4.5, 18.5, 6.5, 29.5)
    bow = np.array([(22.5, 2.5), (32.5, 12.5), (32.5, 2.5), (22.5, 12.5)])
    decoded = decode(tmp_path, G, [on(G, p, 2) for p in (square, square[::-1], bow)])
    assert [(f.code.name, f.where) for f in decoded.findings] == [
        ("CONTOURS_REPEATED", ("contour 2",)),
        ("CONTOUR_CROSSES_ITSELF", ("contour 3",)),
    ]
    assert decoded.reports[0].contour_area_mm2 == pytest.approx((14 * 23 + 50) * 0.8 * 1.1, rel=1e-6)
    assert decoded.masks[0].voxels.array()[:22].sum() == 14 * 23


def test_a_contour_that_names_another_image_is_listed(tmp_path):
    square = rectangle(4.5, 18.5, 6.5, 29.5)
    roi = PhantomRoi(
        "liver", [on(G, square, k) for k in (2, 3, 4)], images=[image_uid(2), image_uid(7), f"{FRAME_UID}.5"]
    )
    decoded = rtstruct.decode(structs(tmp_path, roi), G, image_uids=[image_uid(k) for k in range(9)])
    assert [(f.code.name, f.where) for f in decoded.findings] == [("CONTOUR_OTHER_IMAGE", ("contour 2",))]
    assert np.flatnonzero(decoded.masks[0].voxels.array().any(axis=(0, 1))).tolist() == [2, 3, 4]


def test_the_frame_of_reference_is_held_against_the_grid(tmp_path):
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    with pytest.raises(PipelineError) as error:
        rtstruct.decode(structs(tmp_path, PhantomRoi("liver", [square], frame_uid="1.2.3")), G)
    assert error.value.finding.code is Code.ROI_FRAME_OF_REFERENCE
    assert error.value.exit is Exit.MISMATCH
    for frame_uid, g in (("", G), (FRAME_UID, replace(G, frame_of_reference_uid=""))):
        series = structs(tmp_path, PhantomRoi("liver", [square], frame_uid=frame_uid))
        (finding,) = rtstruct.decode(series, g).findings
        assert (finding.code, finding.severity) == (Code.ROI_FRAME_OF_REFERENCE, Severity.WARNING)


# --- structure sets ---------------------------------------------------------------------------------------------


def several(path: Path) -> Series:
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    small = on(G, rectangle(10.5, 12.5, 10.5, 13.5), 2)
    return structs(
        path,
        PhantomRoi("liver", [square], number=4),
        PhantomRoi("Tumour", [small, on(G, [(1, 1)], 1)], number=7, kinds=["CLOSED_PLANAR", "POINT"], colour=None),
        PhantomRoi("isocentre", [on(G, [(5, 5)], 2)], number=2, kinds="POINT", type="ISOCENTER"),
        PhantomRoi("far", [square + 900], number=9),
        PhantomRoi("nothing", [], number=11),
    )


def test_every_roi_is_listed(tmp_path):
    series = several(tmp_path)
    listed = structure_set.rois(series)
    assert [(r.number, r.name, r.contours, r.fillable) for r in listed] == [
        (4, "liver", {"CLOSED_PLANAR": 1}, True),
        (7, "Tumour", {"CLOSED_PLANAR": 1, "POINT": 1}, True),
        (2, "isocentre", {"POINT": 1}, False),
        (9, "far", {"CLOSED_PLANAR": 1}, True),
        (11, "nothing", {}, False),
    ]
    assert (listed[0].colour, listed[1].colour) == ((250, 120, 3), None)
    assert (listed[0].algorithm, listed[2].type) == ("MANUAL", "ISOCENTER")
    assert listed[0].referenced_series_uids == (IMAGE_SERIES_UID,)
    assert listed[0].frame_of_reference_uid == FRAME_UID


def test_overlapping_rois_are_masks_of_their_own_and_a_refused_one_does_not_stop_the_rest(tmp_path):
    decoded = rtstruct.decode(several(tmp_path), G)
    assert [m.name for m in decoded.masks] == ["liver", "Tumour"]
    assert [int(m.voxels.array().sum()) for m in decoded.masks] == [14 * 23, 2 * 3]
    assert [(m.segments[0].number, m.segments[0].colour) for m in decoded.masks] == [(1, (250, 120, 3)), (1, None)]
    assert {(f.code.name, f.severity.value) for f in decoded.findings if "“far”" in f.message} == {
        ("CONTOUR_OUTSIDE", "warning"),
        ("EMPTY_ROI", "error"),
    }
    assert [f.severity.value for f in decoded.findings if "“isocentre”" in f.message] == ["warning"]
    assert json.dumps([r.as_json() for r in decoded.reports])
    assert decoded.reports[0].as_json()["ContourAreaMm2"] == pytest.approx(14 * 23 * 0.8 * 1.1)


def test_rois_are_chosen_by_name_or_number(tmp_path):
    series = several(tmp_path)
    for wanted in (["Tumour"], ["tumour"], ["7"], ["7", "Tumour"]):
        assert [m.name for m in rtstruct.decode(series, G, wanted=wanted).masks] == ["Tumour"]
    with pytest.raises(PipelineError, match="no ROI is called “spleen”") as error:
        rtstruct.decode(series, G, wanted=["liver", "spleen"])
    assert error.value.exit is Exit.NOTHING_TO_CONVERT
    assert "7 “Tumour”" in error.value.finding.hint
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    twins = structs(tmp_path, PhantomRoi("a", [square], number=1), PhantomRoi("a", [square], number=2))
    assert len(rtstruct.decode(twins, G, wanted=["2"]).masks) == 1
    with pytest.raises(PipelineError, match="2 ROIs are called “a”"):
        rtstruct.decode(twins, G, wanted=["a"])


def test_a_structure_set_without_anything_to_fill_is_refused(tmp_path):
    series = structs(tmp_path, PhantomRoi("isocentre", [on(G, [(5, 5)], 2)], kinds="POINT"))
    with pytest.raises(PipelineError) as error:
        rtstruct.decode(series, G)
    assert error.value.finding.code is Code.EMPTY_ROI
    assert [f.code for f in error.value.others] == [Code.CONTOUR_NOT_CLOSED]


def test_two_structure_sets_in_one_series_are_refused_but_listed(tmp_path):
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    write_struct(tmp_path / "a.dcm", [PhantomRoi("liver", [square])], "1.2.3.4.1")
    write_struct(tmp_path / "b.dcm", [PhantomRoi("liver", [square])], "1.2.3.4.2")
    (series,) = scan([tmp_path]).series
    assert [(r.file, r.name) for r in structure_set.rois(series)] == [("a.dcm", "liver"), ("b.dcm", "liver")]
    with pytest.raises(PipelineError) as error:
        rtstruct.decode(series, G)
    assert error.value.finding.code is Code.SEVERAL_VOLUMES


@pytest.mark.parametrize(
    ("data", "extra"),
    [
        ("1\\2\\3\\4", {}),
        ("1\\2\\x", {}),
        ("1\\2\\inf", {}),
        ("1\\2\\-1e308", {}),
        ("1\\2\\\\4\\2\\3", {}),
        ("1,5.5\\2\\3", {}),
    ],
)
def test_damaged_contour_data_is_refused(tmp_path, data, extra):
    with pytest.raises(PipelineError) as error:
        rtstruct.decode(structs(tmp_path, PhantomRoi("liver", [data], extra=extra)), G)
    assert error.value.finding.code is Code.CORRUPT_FILE
    assert "“liver”, contour 1" in error.value.finding.message


def test_what_allows_two_readings_is_a_warning_and_the_rest_a_note(tmp_path):
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    text = "\\".join(f"{v:.6f}" for v in square.ravel())

    def severity(data: str, code: Code, **roi: Any) -> Severity:
        decoded = rtstruct.decode(structs(tmp_path, PhantomRoi("a", [data], **roi)), G)
        assert decoded.masks[0].voxels.array()[:, :, 2].sum() == 14 * 23
        (finding,) = decoded.findings
        assert (finding.code, finding.where) == (code, ("contour 1",))
        return finding.severity

    for count, expected in ((3, Severity.WARNING), (5, Severity.WARNING), (0, Severity.INFO)):
        assert severity(text, Code.CONTOUR_DATA, extra={"NumberOfContourPoints": count}) is expected
    assert severity(text.replace(".", ","), Code.CONTOUR_DATA) is Severity.WARNING
    assert severity(text + "\\ ", Code.CONTOUR_DATA, extra={"NumberOfContourPoints": 4}) is Severity.INFO
    assert severity(text, Code.CONTOUR_TYPE, kinds="INTERPOLATED_PLANAR") is Severity.WARNING
    assert severity(text, Code.CONTOUR_TYPE, kinds="closed-planar") is Severity.INFO
    with pytest.raises(PipelineError) as refused:
        rtstruct.decode(structs(tmp_path, PhantomRoi("a", [text], kinds="POLYGON")), G, wanted=["a"])
    assert "a type that the standard does not know" in refused.value.others[0].message


def test_planes_that_contours_skip_are_listed(tmp_path):
    square = rectangle(4.5, 18.5, 6.5, 29.5)
    (finding,) = decode(tmp_path, G, [on(G, square, k) for k in (2, 4, 6)]).findings
    assert (finding.code, finding.where) == (
        Code.CONTOUR_PLANES_SKIPPED,
        ("between plane k = 2 and 4", "between plane k = 4 and 6"),
    )
    assert "--interpolate" in finding.hint
    assert codes(decode(tmp_path, G, [on(G, square, k) for k in (1, 2, 3, 6, 7)])) == []  # a gap between two pieces


def test_a_number_given_twice_takes_out_those_rois_only(tmp_path):
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    rois = [PhantomRoi(name, [square], number=number) for name, number in (("a", 3), ("b", 3), ("c", 4))]
    series = structs(tmp_path, *rois)
    assert [roi.name for roi in structure_set.rois(series)] == ["a", "b", "c"]
    decoded = rtstruct.decode(series, G)
    assert [m.name for m in decoded.masks] == ["c"]
    (finding,) = decoded.findings
    assert (finding.code, finding.severity, finding.where) == (Code.ROI_NUMBER, Severity.ERROR, ("a", "b"))
    assert "(“a” and “b”) stands 2 times" in finding.message
    with pytest.raises(PipelineError) as refused:
        rtstruct.decode(series, G, wanted=["b"])
    assert (refused.value.finding, refused.value.exit) == (finding, Exit.CORRUPT_INPUT)


def test_a_refused_roi_says_so_among_the_findings_of_the_rest(tmp_path):
    square = on(G, rectangle(4.5, 18.5, 6.5, 29.5), 2)
    series = structs(tmp_path, PhantomRoi("a", ["1\\2"], number=3), PhantomRoi("b", [square], number=4))
    decoded = rtstruct.decode(series, G)
    assert [m.name for m in decoded.masks] == ["b"]
    assert [(f.code, f.severity) for f in decoded.findings] == [(Code.CORRUPT_FILE, Severity.ERROR)]


def test_the_source_is_found_and_its_planes_are_the_grid(tmp_path):
    """End to end: images shuffled in their folder, a structure set that refers to them, the mask on their grid."""
    for n, directions in enumerate(DIRECTIONS.values()):
        folder = tmp_path / str(n)
        g = grid(directions)
        write_images(folder, g)
        square = rectangle(4.5, 18.5, 6.5, 29.5)
        roi = PhantomRoi("liver", [on(g, square, k) for k in (2, 7)], images=[image_uid(2), image_uid(7)])
        write_struct(folder / "rs.dcm", [roi])
        series = {s.kind: s for s in scan([folder]).series}
        assert structure_set.referenced_series_uids(structure_set.read_one(series["rtstruct"])) == (
            series["image"].uid,
        )
        assert images_named(series["rtstruct"]) == {image_uid(k) for k in (0, 2, 7)}
        source, uids = source_of(series["image"])
        assert np.allclose(source.lps, g.lps, atol=1e-8)
        decoded = rtstruct.decode(series["rtstruct"], source, image_uids=uids)
        expected = np.zeros(g.shape, np.uint8)
        expected[5:19, 7:30, [2, 7]] = 1
        assert (decoded.masks[0].voxels.array() == expected).all()
        assert decoded.findings == []


# --- real data --------------------------------------------------------------------------------------------------


def source_of(image: Series) -> tuple[Grid, list[str]]:
    laid = lay_frames(image.frames, Policy())
    return laid.grid, [frame.sop_instance_uid for frame in laid.frames]


@needs_samples
@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
@pytest.mark.parametrize("patient", ["STS_008", "STS_019", "STS_025"])
def test_ibsi(patient, modality):
    series = {s.kind: s for s in scan([IBSI / "dicom" / patient / modality]).series}
    source, uids = source_of(series["image"])
    assert structure_set.referenced_series_uids(structure_set.read_one(series["rtstruct"])) == (series["image"].uid,)
    decoded = rtstruct.decode(series["rtstruct"], source, image_uids=uids)
    shipped = nibabel.load(IBSI / "nifti" / patient / f"{modality}_mask.nii.gz")
    found = find_index_map(LPS_TO_RAS @ shipped.affine, shipped.shape, source.lps, source.shape)
    assert found.is_onto
    assert found.moved_mm < 1e-4
    truth = reorder(np.asarray(shipped.dataobj) > 0, found.matrix)
    ours = decoded.masks[0].voxels.array() > 0
    assert decoded.reports[0].voxels == ours.sum() == truth.sum() > 200
    assert (ours == truth).all(), "Dice 1.0"
    assert abs(decoded.reports[0].difference_percent) < 1.2
    assert decoded.findings == []


@needs_samples
def test_rt_utils_mock_data():
    images = next(s for s in scan([RT_UTILS]).series if s.kind == "image")
    source, uids = source_of(images)
    (series,) = scan([RT_UTILS / "rt.dcm"]).series
    # It names a Frame of Reference of its own making, and the images by their UIDs.
    with pytest.raises(PipelineError, match="ROI_FRAME_OF_REFERENCE"):
        rtstruct.decode(series, source)
    decoded = rtstruct.decode(series, source, image_uids=uids)
    assert codes(decoded) == ["CONTOURS_NESTED", "ROI_FRAME_OF_REFERENCE"]
    assert "every contour names an image of this source" in decoded.findings[1].message
    found = []
    for name in ("invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"):
        (series,) = scan([RT_UTILS / name]).series
        found.append(
            (structure_set.referenced_series_uids(structure_set.read_one(series)), images_named(series) >= set(uids))
        )
        decoded = rtstruct.decode(series, source, image_uids=uids)
        # Drawn on three planes, of which two are here.
        assert codes(decoded) == ["CONTOUR_OUTSIDE"] * 4
        assert [r.voxels for r in decoded.reports] == [4976, 3697, 4519, 6954]
        assert max(abs(r.difference_percent) for r in decoded.reports) < 0.03
    assert found == [((images.uid,), True), ((), True)], "the second only by its images"


# What is no number


@pytest.mark.parametrize("value", [b"25", b"255/0/0 ", b"a\\b\\c ", b"1e400\\0\\0"])
def test_a_colour_that_is_none_costs_nothing_else(tmp_path: Path, value: bytes) -> None:
    changed = struct_with(tmp_path, lambda ds: raw(ds.ROIContourSequence[0], "ROIDisplayColor", value))
    assert [roi.colour for roi in structure_set.rois(changed)] == [None]


@pytest.mark.parametrize("sequence", ["StructureSetROISequence", "ROIContourSequence"])
def test_an_roi_number_that_is_none_is_refused_by_name(tmp_path: Path, sequence: str) -> None:
    keyword = "ROINumber" if sequence.startswith("Structure") else "ReferencedROINumber"
    decoded = rtstruct.decode(
        struct_with(tmp_path, lambda ds: raw(ds[sequence].value[0], keyword, b"a1"), names=("a", "b")), grid()
    )
    errors = [f for f in decoded.findings if f.severity is Severity.ERROR]
    assert [f.code for f in errors] == [Code.UNREADABLE_NUMBER]
    assert keyword in errors[0].message
    listed = sequence.startswith("Structure")
    assert ("“a”" in errors[0].message) == listed
    assert [m.name for m in decoded.masks] == (["b", "ROI 1"] if listed else ["b"])


def raw(item: Any, keyword: str, value: bytes) -> None:
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword))
    item._dict[tag] = RawDataElement(tag, "IS", len(value), value, 0, False, True)


def struct_with(folder: Path, edit: Any, names: tuple[str, ...] = ("a",)) -> Series:
    from pydicom import dcmread

    g = grid()
    contour = on(g, rectangle(5, 20, 5, 20), 3)
    path = write_struct(folder / "rs.dcm", [PhantomRoi(name, [contour], number=n) for n, name in enumerate(names, 1)])
    dataset = dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return scan([path]).series[0]
