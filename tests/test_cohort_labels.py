"""labels.toml over real structure sets and SEGs: every voxel against boxes that numpy paints, every mask accounted for."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from pipeline.cohort.case import CaseOutput, CaseResult, Place
from pipeline.cohort.dataset import dataset_of
from pipeline.cohort.facts import MaskFact, SeriesFacts
from pipeline.cohort.labels.case_masks import list_masks
from pipeline.cohort.labels.channels import choose_channels
from pipeline.cohort.labels.label_cases import INCOMPLETE_CODES, LabelledCase, apply, separate
from pipeline.cohort.labels.label_draft import draft_labels
from pipeline.cohort.labels.label_map import LabelMap, fold
from pipeline.cohort.labels.label_map_file import parse_label_map, read_label_text
from pipeline.cohort.plan import CohortOptions
from pipeline.cohort.privacy import Cleaner
from pipeline.conversion.looks import Looks
from pipeline.conversion.option_effects import Asked
from pipeline.conversion.product import Product
from pipeline.conversion.products import each_product, finish_product
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import Request, RunDetails
from pipeline.conversion.write import finish
from pipeline.core.findings import Code, Exit, Finding, PipelineError, Severity
from pipeline.core.policy import Policy
from pipeline.crosscheck.panel import Panel
from pipeline.geometry.grid import Grid
from pipeline.volume.mask import MaskVolume, Segment, Voxels
from pipeline.volume.merge import find_overlaps, paint
from tests.helpers import segs
from tests.helpers.record_schema import errors_of
from tests.helpers.rtphantom import FRAME_UID, PhantomRoi, grid, on, rectangle, write_images, write_struct

GRID = grid()
POLICY = Policy(crosscheck="affine")
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # first and last index along i, j and k
LIVER: Box = ((5, 25), (6, 20), (1, 6))
TUMOUR: Box = ((18, 30), (10, 25), (3, 7))  # half of it in the liver
CORE: Box = ((19, 24), (11, 15), (4, 5))  # in both
AWAY: Box = ((35, 40), (28, 33), (0, 2))
ORDER = """
[labels.liver]
value = 1
names = ["Liver"]
[labels.tumour]
value = 2
names = ["GTV", "GTVp"]
required = false
"""


def truth(*boxes: Box) -> Any:
    """(i, j, k) booleans of all boxes."""
    block = np.zeros(GRID.shape, bool)
    for i, j, k in boxes:
        block[i[0] : i[1] + 1, j[0] : j[1] + 1, k[0] : k[1] + 1] = True
    return block


def roi(name: str, box: Box, number: int) -> PhantomRoi:
    """The box as contours, half a voxel around its outermost centres."""
    (i0, i1), (j0, j1), (k0, k1) = box
    outline = rectangle(i0 - 0.5 + 1e-3, i1 + 0.5 - 1e-3, j0 - 0.5 + 1e-3, j1 + 0.5 - 1e-3)
    return PhantomRoi(name, [on(GRID, outline, k) for k in range(k0, k1 + 1)], number)


def case(folder: Path, **boxes: Box) -> list[Product]:
    """The masks of one structure set. boxes: by name of the ROI, which numbers them 3, 4, …"""
    write_images(folder / "ct", GRID)
    write_struct(folder / "rs.dcm", [roi(name, box, n) for n, (name, box) in enumerate(boxes.items(), 3)])
    return products_of(folder)


def products_of(*inputs: Path, policy: Policy = POLICY) -> list[Product]:
    """Every mask of the inputs, on its grid."""
    asked = Asked(Request(), policy, True, False, Looks())
    items = [*each_product(inputs, asked, lambda *_: None, list)]
    return [finish_product(i.result, i.found, asked) for i in items if isinstance(i.result, Product)]


def written(product: Product, path: Path, policy: Policy = POLICY) -> tuple[Outcome, Any]:
    """The outcome of a product, and the file as nibabel reads it, on the axes of the grid."""
    with Panel(policy) as panel:
        outcome = finish(
            product, path, policy, panel, RunDetails(Looks(), None, False, Request().as_json(), (), lambda *_: None)
        )
    assert errors_of(json.loads(path.with_name(path.name.removesuffix(".nii.gz") + ".json").read_text())) == []
    image = nibabel.load(path)
    to_grid = np.round(np.linalg.inv(GRID.ras) @ image.affine).astype(int)
    data = np.asarray(image.dataobj)
    at = np.stack(np.indices(data.shape), axis=-1) @ to_grid[:3, :3].T + to_grid[:3, 3]
    block = np.zeros(GRID.shape, data.dtype)
    block[tuple(np.moveaxis(at, -1, 0))] = data
    return outcome, block


def is_complete(made: LabelledCase) -> bool:
    """Whether nothing lacks, as far as is known before the voxels are written."""
    return not any(finding.code in INCOMPLETE_CODES for finding in made.findings)


def voxels(of: LabelledCase) -> Any:
    (product,) = of.products
    return product.volume.voxels.array()


def codes(findings: Any) -> list[Code]:
    return [finding.code for finding in findings]


def one(findings: Any, code: Code) -> Finding:
    (found,) = [finding for finding in findings if finding.code is code]
    return found


def refused(products: list[Product], label_map: LabelMap) -> Finding:
    with pytest.raises(PipelineError) as caught:
        apply(products, label_map)
    return caught.value.finding


# --- apply: overlaps by order, refused, as regions


@pytest.mark.parametrize("turned", [False, True])
def test_the_label_that_stands_first_lies_on_top(tmp_path: Path, turned: bool) -> None:
    products = case(tmp_path, Liver=LIVER, GTVp=TUMOUR)
    liver, tumour = ORDER.split("[labels.tumour]")
    text = f"[labels.tumour]{tumour}{liver}" if turned else ORDER
    made = apply(products[::-1], parse_label_map(text))
    expected = np.where(truth(LIVER), 1, np.where(truth(TUMOUR), 2, 0))
    if turned:
        expected = np.where(truth(TUMOUR), 2, np.where(truth(LIVER), 1, 0))
    outcome, block = written(made.products[0], tmp_path / "case.nii.gz")
    np.testing.assert_array_equal(block, expected)
    assert block.dtype == np.uint8
    shared = int((truth(LIVER) & truth(TUMOUR)).sum())
    warning = one(outcome.findings, Code.MASKS_MERGED)
    assert (warning.measured, warning.severity) == (shared, Severity.WARNING)
    assert f"they are “{'tumour' if turned else 'liver'}”" in warning.message
    assert outcome.verdict == "VERIFIED"
    assert is_complete(made)
    rows = outcome.labels or ()
    assert {row.name: row.voxels for row in rows} == {
        "liver": int((expected == 1).sum()),
        "tumour": int((expected == 2).sum()),
    }


def test_the_record_says_which_roi_each_label_is(tmp_path: Path) -> None:
    products = case(tmp_path, Liver=LIVER, GTVp=TUMOUR, couch=AWAY, odd=AWAY)
    text = ORDER + '[labels.spleen]\nvalue = 3\n[ignore]\nnames = ["Couch"]\n'
    made = apply(products, parse_label_map(text))
    record = written(made.products[0], tmp_path / "case.nii.gz")[0].record
    (series,) = record["MergedFrom"]
    assert series["SeriesInstanceUID"] == products[0].series.uid
    assert series["Labels"] == [
        {"Value": 1, "Name": "liver", "FromNumber": 3, "FromName": "Liver", "FoundBy": "name"},
        {"Value": 2, "Name": "tumour", "FromNumber": 4, "FromName": "GTVp", "FoundBy": "name"},
    ]
    block = record["LabelMap"]
    assert (block["Unmatched"], block["Ignored"], block["Missing"]) == (["odd"], ["couch"], ["spleen"])
    assert len(block["SHA256"]) == 64
    assert record["SourceSeriesInstanceUID"] == products[0].extra["SourceSeriesInstanceUID"]


def test_overlaps_are_refused_where_the_file_says_so(tmp_path: Path) -> None:
    products = case(tmp_path, Liver=LIVER, GTVp=TUMOUR)
    finding = refused(products, parse_label_map(ORDER + '[options]\noverlap = "refuse"\n'))
    assert finding.code is Code.SEGMENTS_OVERLAP
    assert finding.measured == int((truth(LIVER) & truth(TUMOUR)).sum())
    apart = case(tmp_path / "apart", Liver=LIVER, GTVp=AWAY)
    assert is_complete(apply(apart, parse_label_map(ORDER + '[options]\noverlap = "refuse"\n')))


REGIONS = """
[labels.core]
value = 3
inside = "tumour"
[labels.liver]
value = 1
[labels.tumour]
value = 2
names = ["GTV"]
inside = "liver"
[labels.bone]
value = 4
required = false
[options]
overlap = "regions"
"""
INNER: Box = ((10, 24), (8, 18), (2, 5))  # in the liver


def test_regions_give_a_voxel_to_the_innermost_label(tmp_path: Path) -> None:
    label_map = parse_label_map(REGIONS)
    made = apply(case(tmp_path, liver=LIVER, GTV=INNER, core=CORE, bone=AWAY), label_map)
    block = written(made.products[0], tmp_path / "case.nii.gz")[1]
    expected = np.zeros(GRID.shape, int)
    for value, box in ((1, LIVER), (2, INNER), (3, CORE), (4, AWAY)):
        expected[truth(box)] = value
    np.testing.assert_array_equal(block, expected)
    assert is_complete(made)
    assert made.findings == ()
    layout = dataset_of(CohortOptions(layout="nnunet", labels=REGIONS)).layout
    place = Place("P1", "", "case", alone=True)
    trained = CaseResult("", place, "DONE", (), (CaseOutput(layout.labels(place), 1, ""),), {})
    dataset = json.loads(layout.texts_of_cohort([trained])["dataset.json"])
    labels, order = dataset["labels"], dataset["regions_class_order"]
    assert labels == {"background": 0, "bone": 4, "liver": [1, 2, 3], "tumour": [2, 3], "core": 3}
    # As nnU-Net makes a label map of what it predicts for each region, one written over the other.
    regions = [np.isin(block, values) for values in [*labels.values()][1:]]
    again = np.zeros_like(block)
    for region, value in zip(regions, order, strict=True):
        again[region] = value
    np.testing.assert_array_equal(again, block)
    for name, box in (("liver", LIVER), ("tumour", INNER), ("core", CORE), ("bone", AWAY)):
        np.testing.assert_array_equal(np.isin(block, labels[name]), truth(box))


def test_voxels_of_a_region_outside_of_the_outer_one_are_counted(tmp_path: Path) -> None:
    made = apply(case(tmp_path, liver=LIVER, GTV=TUMOUR, core=CORE), parse_label_map(REGIONS))
    finding = one(made.findings, Code.OUTSIDE_REGION)
    assert finding.measured == int((truth(TUMOUR) & ~truth(LIVER)).sum())
    assert f"of {int(truth(TUMOUR).sum()):,} voxels" in finding.message
    assert finding.where == ("tumour", "liver")
    assert not is_complete(made)
    alone = apply(case(tmp_path / "alone", GTV=INNER, core=CORE), parse_label_map(REGIONS))  # no liver at all
    assert one(alone.findings, Code.OUTSIDE_REGION).measured == int(truth(INNER).sum())


def test_regions_that_are_not_nested_go_by_the_order(tmp_path: Path) -> None:
    made = apply(case(tmp_path, liver=LIVER, GTV=INNER, core=CORE, bone=TUMOUR), parse_label_map(REGIONS))
    expected = np.zeros(GRID.shape, int)
    for value, box in ((4, TUMOUR), (1, LIVER), (2, INNER), (3, CORE)):  # the bone stands last: below all of the liver
        expected[truth(box)] = value
    np.testing.assert_array_equal(voxels(made), expected)
    counts = {f.measured for f in made.findings if f.code is Code.MASKS_MERGED}
    assert counts == {int((truth(TUMOUR) & truth(box)).sum()) for box in (LIVER, INNER, CORE)}


# --- several masks of one label, missing, misspelt, ignored ones


def two_sets(folder: Path, first: Box, second: Box, **more: Box) -> list[Product]:
    """Two structure sets that both have a liver."""
    write_images(folder / "ct", GRID)
    for name, uid, boxes in (("a", "1.2.9.1", {"Liver": first}), ("b", "1.2.9.2", {"LIVER_": second, **more})):
        path = write_struct(folder / f"{name}.dcm", [roi(n, b, k) for k, (n, b) in enumerate(boxes.items(), 1)], uid)
        ds = dcmread(path)
        ds.SeriesInstanceUID = f"{uid}.1"
        ds.save_as(path)
    return products_of(folder)


def test_equal_masks_of_one_label_are_one(tmp_path: Path) -> None:
    made = apply(two_sets(tmp_path, LIVER, LIVER, GTV=TUMOUR), parse_label_map(ORDER))
    np.testing.assert_array_equal(voxels(made) == 1, truth(LIVER))
    finding = one(made.findings, Code.LABEL_DOUBLED)
    assert (finding.severity, finding.measured) == (Severity.INFO, 0)
    # A voxel that both livers have is counted once.
    shared = int((truth(LIVER) & truth(TUMOUR)).sum())
    assert one(made.findings, Code.MASKS_MERGED).measured == shared
    assert is_complete(made)


def test_masks_of_one_label_that_differ_are_refused_or_joined(tmp_path: Path) -> None:
    moved: Box = ((6, 26), (6, 20), (1, 6))
    products = two_sets(tmp_path, LIVER, moved)
    finding = refused(products, parse_label_map(ORDER))
    assert finding.code is Code.LABEL_DOUBLED
    assert finding.measured == int((truth(LIVER) ^ truth(moved)).sum())
    joining = parse_label_map(ORDER.replace("[labels.tumour]", "join = true\n[labels.tumour]"))
    made = apply(products, joining)
    np.testing.assert_array_equal(voxels(made) == 1, truth(LIVER, moved))
    assert one(made.findings, Code.LABEL_DOUBLED).severity is Severity.WARNING
    names = [label["FromName"] for series in made.products[0].extra["MergedFrom"] for label in series["Labels"]]
    assert sorted(names) == ["LIVER_", "Liver"]
    (alone,) = separate(products, joining).products
    np.testing.assert_array_equal(alone.volume.voxels.array(), truth(LIVER, moved))


def test_every_mask_is_accounted_for(tmp_path: Path) -> None:
    boxes = {"Livr": LIVER, "Liver (old)": LIVER, "gtv": TUMOUR, "BODY": AWAY, "Couch-Surface": AWAY}
    products = case(tmp_path, **boxes)
    text = ORDER + '[ignore]\nnames = ["couch surface"]\nregex = ["bod.*"]\n'
    made = apply(products, parse_label_map(text))
    assert [(mask.name, mask.match.way) for mask in made.masks] == [
        ("Livr", ""),
        ("Liver (old)", ""),
        ("gtv", "name"),
        ("BODY", "ignored"),
        ("Couch-Surface", "ignored"),
    ]
    assert [mask.number for mask in made.masks] == [3, 4, 5, 6, 7]
    assert one(made.findings, Code.MASK_UNMATCHED).where == ("Livr", "Liver (old)")
    assert one(made.findings, Code.MASK_IGNORED).where == ("BODY", "Couch-Surface")
    assert one(made.findings, Code.LABEL_MISSING).where == ("liver",)
    assert not is_complete(made)
    np.testing.assert_array_equal(voxels(made), 2 * truth(TUMOUR))
    # Two of them for the liver, which are the same box.
    wider = parse_label_map(text.replace('names = ["Liver"]', 'names = ["Livr"]\nregex = ["liver .*"]'))
    again = apply(products, wider)
    assert [mask.match.way for mask in again.masks[:2]] == ["name", "regex"]
    assert is_complete(again)


def test_a_case_without_any_label_has_no_label_map(tmp_path: Path) -> None:
    made = apply(case(tmp_path, odd=LIVER), parse_label_map(ORDER))
    assert made.products == ()
    assert set(codes(made.findings)) == {Code.MASK_UNMATCHED, Code.LABEL_MISSING}


def test_a_required_label_below_others_is_missing_once_it_is_written(tmp_path: Path) -> None:
    text = ORDER + "[labels.core]\nvalue = 3\n[labels.vein]\nvalue = 4\nrequired = false\n"
    made = apply(case(tmp_path, Liver=LIVER, core=CORE, vein=CORE), parse_label_map(text))
    assert is_complete(made)
    outcome, block = written(made.products[0], tmp_path / "case.nii.gz")
    np.testing.assert_array_equal(block, truth(LIVER))
    finding = one(outcome.findings, Code.LABEL_MISSING)
    assert finding.where == ("core",)
    assert finding.code in INCOMPLETE_CODES


def test_a_mask_that_fits_two_labels_is_refused_by_name(tmp_path: Path) -> None:
    text = '[labels.a]\nvalue = 1\nregex = ["liv.*"]\n[labels.b]\nvalue = 2\nregex = [".*er"]\n'
    finding = refused(case(tmp_path, Liver=LIVER), parse_label_map(text))
    assert (finding.code, finding.where) == (Code.BAD_LABELS, ("Liver", "a", "b"))


def test_masks_of_other_grids_are_refused(tmp_path: Path) -> None:
    products = case(tmp_path, Liver=LIVER)
    other = grid(shape=(44, 37, 9), origin=(-31.7, 12.3, 106.9))
    moved = replace(products[0], volume=replace(products[0].volume, grid=other, name="GTV"))
    assert refused([*products, moved], parse_label_map(ORDER)).code is Code.GRID_DIFFERS


def test_a_mask_whose_name_holds_an_identifier_matches_the_draft_of_cleaned_names(tmp_path: Path) -> None:
    cleaner = Cleaner({"STS_008": "sub-01"})
    products = case(tmp_path, **{"STS-008 liver": LIVER})
    cleaned = tuple(
        MaskFact(mask.number, cleaner.clean(mask.name)) for mask in list_masks(products, parse_label_map(ORDER))
    )
    text = draft_labels([facts("p", *cleaned)])
    assert "008" not in text
    label_map = parse_label_map(text)
    assert one(apply(products, label_map).findings, Code.MASK_UNMATCHED)
    made = apply(products, label_map, cleaner.clean)
    assert is_complete(made)
    np.testing.assert_array_equal(voxels(made), truth(LIVER))


# --- SEGs, and SEGs with structure sets


def test_overlapping_segments_of_a_seg_become_labels_of_any_value(tmp_path: Path) -> None:
    found = segs.blobs(3, overlap=True)
    segs.source_files(tmp_path / "ct")
    segs.write_seg(tmp_path / "seg.dcm", segs.frames_of(found, sparse=False))
    text = "".join(f"[labels.l{n}]\nvalue = {v}\nnames = ['{s}']\n" for n, v, s in ((1, 7, "third"), (2, 300, "first")))
    made = apply(products_of(tmp_path), parse_label_map(text + '[ignore]\nregex = [".*"]\n'))
    block = voxels(made)
    np.testing.assert_array_equal(block, np.where(found[2], 7, np.where(found[0], 300, 0)))
    assert block.dtype == np.uint16
    assert one(made.findings, Code.MASKS_MERGED).measured == int((found[0] & found[2]).sum())
    assert one(made.findings, Code.MASK_IGNORED).where == ("second",)
    assert [mask.number for mask in made.masks] == [1, 2, 3]


def test_segments_of_one_file_become_labels_or_background(tmp_path: Path) -> None:
    found = segs.blobs(3, overlap=False)
    segs.write_seg(tmp_path / "seg.dcm", segs.frames_of(found, sparse=False))
    made = apply(products_of(tmp_path), parse_label_map('[labels.x]\nvalue = 2\nnames = ["second"]\n'))
    np.testing.assert_array_equal(voxels(made), 2 * found[1])
    assert one(made.findings, Code.MASK_UNMATCHED).where == ("first", "third")


@pytest.mark.parametrize("code", ["SCT:10200004", "sct: 10200004"])
def test_a_segment_is_found_by_its_code(tmp_path: Path, code: str) -> None:
    found = segs.blobs(1, overlap=False)
    segs.write_seg(tmp_path / "seg.dcm", segs.frames_of(found, sparse=False), names=("Foie",))
    made = apply(products_of(tmp_path), parse_label_map(f'[labels.liver]\nvalue = 1\ncodes = ["{code}"]\n'))
    np.testing.assert_array_equal(voxels(made), found[0])
    assert made.masks[0].match.way == "code"
    (segment,) = made.products[0].volume.segments
    assert (segment.name, segment.type.value) == ("liver", "10200004")


def test_a_seg_and_a_structure_set_of_one_image_become_one_label_map(tmp_path: Path) -> None:
    write_images(tmp_path / "ct", GRID)
    write_struct(tmp_path / "rs.dcm", [roi("Liver", LIVER, 5)])
    columns, rows, planes = GRID.shape
    place = segs.Place(segs.AXIAL, (-31.7, 12.3, 105.9), (1.1, 0.8), 2.5, rows, columns, planes)
    frames = segs.frames_of(truth(TUMOUR)[None], sparse=False)
    segs.write_seg(tmp_path / "seg.dcm", frames, place, reference=FRAME_UID, names=("GTV",), tag_step=2.5)
    made = apply(products_of(tmp_path), parse_label_map(ORDER))
    np.testing.assert_array_equal(voxels(made), np.where(truth(LIVER), 1, np.where(truth(TUMOUR), 2, 0)))
    assert len(made.products[0].extra["MergedFrom"]) == 2
    files = {path.name for _, path in made.products[0].files}
    assert {"rs.dcm", "seg.dcm"} <= files


# --- separate


def test_separate_masks_have_the_names_of_their_labels(tmp_path: Path) -> None:
    products = case(tmp_path, Liver=LIVER, GTVp=TUMOUR, odd=AWAY)
    made = separate(products, parse_label_map(ORDER))
    assert [product.volume.name for product in made.products] == ["liver", "tumour"]
    for product, box in zip(made.products, (LIVER, TUMOUR), strict=True):
        outcome, block = written(product, tmp_path / f"{product.volume.name}.nii.gz")
        np.testing.assert_array_equal(block, truth(box))
        assert [row.name for row in outcome.labels or ()] == [product.volume.name]
        assert outcome.record["Roi"]["Name"] in ("Liver", "GTVp")
    assert codes(made.findings) == [Code.MASK_UNMATCHED]
    assert list_masks(products, parse_label_map(ORDER)) == made.masks


# --- painting, against numpy


@given(st.data())
def test_painted_labels_and_their_overlaps_are_those_of_numpy(data: st.DataObject) -> None:
    shape = (4, 3, 2)
    lps = np.diag([1.0, 1.0, 1.0, 1.0])
    count = data.draw(st.integers(1, 4))
    blocks = [
        np.array(data.draw(st.lists(st.integers(0, 2), min_size=24, max_size=24)), np.uint8).reshape(shape)
        for _ in range(count)
    ]
    masks = [MaskVolume(Voxels.of(b), Grid(shape, lps), (Segment(1, "a"), Segment(2, "b"))) for b in blocks]
    segments = [Segment(v, f"label {v}") for v in (3, 300, 7)]
    labels = {
        (n, old): data.draw(st.sampled_from(segments))
        for n in range(count)
        for old in (1, 2)
        if data.draw(st.booleans())
    }
    painted = data.draw(st.permutations(segments))
    sets = {s.number: np.zeros(shape, bool) for s in segments}
    for (n, old), segment in labels.items():
        sets[segment.number] |= blocks[n] == old
    expected = np.zeros(shape, int)
    for segment in painted:
        expected[sets[segment.number]] = segment.number
    np.testing.assert_array_equal(paint(masks, labels, painted).array(), expected)
    pairs = {(a, b): int((sets[a] & sets[b]).sum()) for a, b in ((3, 7), (3, 300), (7, 300))}
    found = {(o.first.number, o.second.number): o.voxels for o in find_overlaps(masks, labels)}
    assert found == {pair: voxels for pair, voxels in pairs.items() if voxels}


# --- the file


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.toml"
    path.write_text(
        """[labels.liver]
value = 1
names = ["Liver", "liver_v2"]
regex = ["^liver.*"]
codes = ["SCT:10200004"]
colour = "#dd8265"
required = true
[ignore]
names = ["couch"]
[[channels]]
name = "CT"
modality = "CT"
description = ".*portal.*"
"""
    )
    label_map = parse_label_map(read_label_text(path), path.name)
    (label,) = label_map.labels
    assert (label.name, label.value, label.colour, label.required) == ("liver", 1, (221, 130, 101), True)
    assert (label_map.overlap, label_map.channels[0].name) == ("order", "CT")
    for name, way in (("LI-VER V2", "name"), ("Liver (old)", "regex"), ("Couch", "ignored"), ("Livr", "")):
        assert label_map.match(name).way == way
    assert label_map.match("Foie", ["SCT:10200004"]).way == "code"
    with pytest.raises(PipelineError) as caught:
        read_label_text(tmp_path / "none.toml")
    assert caught.value.exit is Exit.NO_SUCH_INPUT


BASE = "[labels.a]\nvalue = 1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no [labels.NAME]"),
        ("labels = 3", "no [labels.NAME]"),
        ("[labels.a\nvalue = 1", "line 1"),
        ("[labels.a]\nvalue = 1\n[labels.a]\nvalue = 2", "line 3"),
        (BASE + "[label.b]\nvalue = 2", "“label”"),
        (BASE + "values = 3", "“values” [labels.a]"),
        (BASE + "[options]\noverlaps = 'order'", "“overlaps” [options]"),
        (BASE + "[ignore]\nname = ['x']", "“name” [ignore]"),
        (BASE + "[[channels]]\nname = 'CT'\nmodality = 'CT'\nkind = 'x'", "“kind” [[channels]] number 0"),
        ("[labels]\na = 1", "[labels.a] as something else"),
        ("[labels.a]", "no value in [labels.a]"),
        ("[labels.a]\nvalue = 0", "value 0 in [labels.a]"),
        ("[labels.a]\nvalue = -1", "value -1"),
        ("[labels.a]\nvalue = 65536", "value 65536"),
        ("[labels.a]\nvalue = 1.0", "value 1.0"),
        ("[labels.a]\nvalue = true", "value True"),
        ("[labels.a]\nvalue = '1'", "value '1'"),
        (BASE + "[labels.b]\nvalue = 1", "value “1” in [labels.a] and in [labels.b]"),
        (BASE + "names = 'x'", "names in [labels.a]"),
        (BASE + "names = [1]", "names in [labels.a]"),
        (BASE + "regex = ['(']", "“(” in [labels.a]"),
        (BASE + "codes = ['10200004']", "code “10200004” in [labels.a]"),
        (BASE + "colour = 'red'", "colour 'red'"),
        (BASE + "colour = [1, 2, 3]", "colour [1, 2, 3]"),
        (BASE + "required = 'yes'", "required = 'yes'"),
        (BASE + "join = 1", "join = 1"),
        (BASE + "names = ['x']\n[labels.b]\nvalue = 2\nnames = ['X ']", "name “x” in [labels.a] and in [labels.b]"),
        (BASE + "[labels.b]\nvalue = 2\nnames = ['A']", "name “a” in [labels.a] and in [labels.b]"),
        (BASE + "names = ['x']\n[ignore]\nnames = ['x_']", "name “x”"),
        (BASE + "codes = ['S:1']\n[labels.b]\nvalue = 2\ncodes = ['s: 1']", "code “S:1”"),
        ("[labels.background]\nvalue = 1", "[labels.background]"),
        ("[labels.'']\nvalue = 1", "a label needs a name"),
        (BASE + "[options]\noverlap = 'last'", "overlap = 'last'"),
        (BASE + "[options]\noverlap = ['order']", "overlap = ['order']"),
        (BASE + "inside = 'b'", "inside in [labels.a]"),
        (BASE + "[options]\noverlap = 'regions'", "no label is inside"),
        (BASE + "inside = 'b'\n[options]\noverlap = 'regions'", "no such label"),
        (BASE + "inside = 'a'\n[options]\noverlap = 'regions'", "inside of itself"),
        (
            BASE + "[labels.ignore]\nvalue = 2\ninside = 'a'\n[options]\noverlap = 'regions'",
            "[labels.ignore] among the regions",
        ),
        (BASE + "[channels]\nname = 'CT'", "[[channels]]"),
        (BASE + "[[channels]]\nname = 'CT'", "without modality or description"),
        (BASE + "[[channels]]\nmodality = 'CT'", "without name"),
        (BASE + "[[channels]]\nname = 'CT'\ndescription = '['", "no regular expression"),
        (BASE + 2 * "[[channels]]\nname = 'CT'\nmodality = 'CT'\n", "number 0 and in [[channels]] number 1"),
    ],
)
def test_what_is_wrong_in_a_file_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse_label_map(text, "my.toml")
    finding = caught.value.finding
    assert finding.code is Code.BAD_LABELS
    assert finding.message.startswith("my.toml ")
    assert words in finding.message
    assert finding.hint


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PipelineError, match="UTF-8"):
        read_label_text(tmp_path / "labels.toml")


# --- names


@given(st.text(max_size=12))
def test_a_name_is_compared_without_case_and_joints(name: str) -> None:
    key = fold(name)
    assert fold(key) == key
    assert fold(f" {name}\u200b ") == key
    if any(sign.isalnum() for sign in name):
        assert fold(f"_{name}-") == key
        assert fold(name.replace("_", " - ")) == key


@pytest.mark.parametrize(
    ("one_name", "other"),
    [
        ("Lungen-Spitze", "LUNGENSPITZE"),
        ("Fuß", "FUSS"),
        ("Hüfte", "Hu\u0308fte"),
        ("GTV\u00a0p", "gtv_p"),
        ("ﬁbula", "Fibula"),
    ],
)
def test_names_are_the_same_however_they_are_spelt(one_name: str, other: str) -> None:
    assert fold(one_name) == fold(other)
    label_map = parse_label_map(f'[labels.x]\nvalue = 1\nnames = ["{one_name}"]\n')
    assert label_map.match(other).way == "name"


def test_different_names_stay_different() -> None:
    names = ["Liver", "Liver (old)", "Liver2", "Livr", "Lung_L", "Lung_R", "", "-", "--"]
    assert len({fold(name) for name in names}) == len(names)


PRECEDENCE = """
[labels.a]
value = 1
names = ["x y"]
[labels.b]
value = 2
codes = ["S:1"]
[labels.c]
value = 3
regex = ["x.*"]
codes = ["S:2"]
[ignore]
names = ["x z"]
codes = ["S:3"]
regex = [".*"]
"""


@pytest.mark.parametrize(
    ("name", "codes_of", "label", "way"),
    [
        ("X_Y", ["S:1"], "a", "name"),
        ("xyz", ["S:1"], "b", "code"),
        ("xyz", ["S:9"], "c", "regex"),
        ("X...", [], "c", "regex"),
        ("y", [], None, "ignored"),
        ("Xz", ["S:1"], None, "ignored"),
        ("xyz", ["S:3"], None, "ignored"),
        ("ax", [], None, "ignored"),
    ],
)
def test_names_come_before_codes_and_codes_before_patterns(
    name: str, codes_of: list[str], label: str | None, way: str
) -> None:
    match = parse_label_map(PRECEDENCE).match(name, codes_of)
    assert (match.label and match.label.name, match.way) == (label, way)


def test_two_codes_of_two_labels_are_refused() -> None:
    with pytest.raises(PipelineError) as caught:
        parse_label_map(PRECEDENCE).match("q", ["S:1", "S:2"])
    assert caught.value.finding.where == ("q", "b", "c")


# --- the draft


def facts(patient: str, *masks: MaskFact, **more: Any) -> SeriesFacts:
    key = sha256(repr((patient, masks)).encode()).hexdigest()[:16]
    known = SeriesFacts(key, "mask", "rtstruct", "1.2", "RTSTRUCT", 1, "", "", "", "", "", patient, masks=masks)
    return replace(known, **more)


def rois(*names: str) -> tuple[MaskFact, ...]:
    return tuple(MaskFact(n, name) for n, name in enumerate(names, 1))


def test_a_draft_counts_names_and_says_what_is_perhaps_the_same() -> None:
    cohort = [facts(f"p{n}", *rois("Liver" if n % 3 else "LIVER ", "Kidney L", "Kidney R", "GTV 1")) for n in range(29)]
    cohort.append(facts("p29", *rois("Livr", "GTV 2", "Gtv2"), MaskFact(9, "x", "SCT:1", (1, 2, 255))))
    text = draft_labels(cohort)
    assert text == draft_labels(cohort[::-1])
    label_map = parse_label_map(text)
    assert [label.value for label in label_map.labels] == list(range(1, len(label_map.labels) + 1))
    assert len({label_map.match(name).label for name in ("Liver", "LIVER ", "liver")}) == 1
    tables = {table.split("]")[0]: table for table in text.split("[labels.")[1:]}
    assert 'names = ["Liver", "LIVER "]' in tables["liver"]
    assert "29 of 30 patients" in tables["liver"]
    assert "perhaps the same as liver" in tables["livr"]
    assert "1 of 30 patients" in tables["livr"]
    assert "more than once in 1" in tables["gtv_2"]
    assert "perhaps" not in tables["gtv_2"] + tables["kidney_r"] + tables["liver"]
    assert 'colour = "#0102ff"' in tables["x"]
    assert label_map.match("y", ["SCT:1"]).way == "code"
    assert label_map.overlap == "refuse"


def test_a_code_of_several_names_is_written_to_none_of_them() -> None:
    both = (MaskFact(1, "Kidney L", "SCT:64033007"), MaskFact(2, "Kidney R", "SCT:64033007"))
    text = draft_labels([facts("p", *both)])
    assert "codes" not in text
    assert '# the code "SCT:64033007" is that of 2 names' in text
    assert parse_label_map(text).match("Niere", ["SCT:64033007"]).way == ""


def test_a_draft_lists_the_images_as_channels_to_choose_from() -> None:
    images = [facts(f"p{n}", role="image", modality="CT", kind="image") for n in range(3)]
    text = draft_labels([*images, facts("p", *rois("Liver"))])
    assert '# [[channels]]  # 3 series\n# name = "CT"' in text
    parse_label_map(text)


NAMES = st.text(max_size=10) | st.sampled_from(
    ["Liver", "liver_2", "Liver 2", "background", "ignore", "", "_", "\ud800"]
)


@given(st.lists(st.lists(NAMES, max_size=4), min_size=1, max_size=6))
def test_a_draft_reads_back_with_every_mask_of_the_cohort(cohort: list[list[str]]) -> None:
    every = [name for names in cohort for name in names]
    text = draft_labels([facts(f"p{n}", *rois(*names)) for n, names in enumerate(cohort)])
    text.encode()
    if not every:
        return
    label_map = parse_label_map(text)
    for name in every:
        match = label_map.match(name)
        assert match.way == "name"
        assert match.label == label_map.match(fold(name)).label
    assert len(label_map.labels) == len({fold(name) for name in every})


# --- channels

CHANNELS = (
    BASE
    + """
[[channels]]
name = "CT"
modality = "CT"
[[channels]]
name = "T1"
modality = "MR"
description = "t1.*"
[[channels]]
name = "T2"
description = ".*t2.*"
"""
)


def image(modality: str, description: str = "") -> SeriesFacts:
    return facts("p", role="image", kind="image", modality=modality, description=description)


def test_each_channel_has_its_image() -> None:
    label_map = parse_label_map(CHANNELS)
    ct, t1, t2, other = image("CT"), image("MR", " T1w"), image("MR", "ax T2"), image("MR", "flair")
    chosen = choose_channels([t2, other, ct, t1], label_map)
    assert (chosen.images, chosen.others, chosen.findings) == ((ct, t1, t2), (other,), ())
    assert choose_channels([ct], parse_label_map(BASE)).images == (ct,)


def test_a_channel_without_image_and_one_with_two_are_reported() -> None:
    label_map = parse_label_map(CHANNELS)
    chosen = choose_channels([image("CT", "a"), image("CT", "b"), image("MR", "t1 and t2")], label_map)
    assert chosen.images == (None, None, None)
    found = [(f.code, f.severity) for f in chosen.findings]
    assert found.count((Code.CHANNEL_AMBIGUOUS, Severity.ERROR)) == 2
    assert found.count((Code.CHANNEL_MISSING, Severity.WARNING)) == 2
