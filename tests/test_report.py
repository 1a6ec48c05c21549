"""Pages of records: what is in them, where left is, what is escaped, and what is refused."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import PipelineError, Policy, convert
from pipeline.cli.main import main
from pipeline.core.findings import Code, Exit
from pipeline.geometry.grid import Grid
from pipeline.report import find_outcomes, make_group_page, make_page, methods, viewer
from pipeline.report.pictures import choose_cut, draw_cut
from pipeline.report.record import check_file, read_record
from pipeline.report.render import environment
from pipeline.report.volume import Volume, count_filled, find_middle, read_volume
from pipeline.report.words import split_blocks
from pipeline.volume.mask import Segment
from tests.helpers import phantom

_SECTIONS = (
    "verdict views montage rating planes corners labels affine findings methods slices header provenance".split()
)
_SPEC = phantom.Spec(shape=(40, 34, 26), row_spacing=1.5, column_spacing=1.25, step=2.0, labels=(1, 2, 3))


def _made(folder: Path, name: str = "mask", policy: Policy | None = None, **changes: Any) -> Path:
    """A record of a converted phantom, its NIfTI file beside it."""
    spec = replace(_SPEC, **{"seed": name, "description": name, **changes})
    phantom.write(folder / f"{name}-dicom", spec)
    convert([folder / f"{name}-dicom"], folder / f"{name}.nii.gz", policy=policy or Policy(crosscheck="off"))
    return folder / f"{name}.json"


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made(tmp_path_factory.mktemp("verified"), policy=Policy(crosscheck="voxels"))


def _edited(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    record = json.loads(path.read_text("utf-8"))
    change(record)
    path.write_text(json.dumps(record), "utf-8")
    return path


def _text(page: str) -> str:
    """What a person reads: no tags, white space single."""
    inside = re.sub(r"<(style|script).*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inside)).split())


def _code(path: Path, **options: Any) -> Code:
    with pytest.raises(PipelineError) as caught:
        make_page(path, **options)
    return caught.value.finding.code


def test_sections_come_in_the_promised_order(verified: Path) -> None:
    page = make_page(verified)
    places = [page.index(f'id="{name}"') for name in _SECTIONS]
    assert places == sorted(places)


def test_everything_is_in_the_page(verified: Path) -> None:
    page = make_page(verified)
    referred = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')> ]+)', page)
    assert referred
    assert all(r.startswith(("data:", "#")) for r in referred)


def test_the_first_sentence_says_what_was_proven(verified: Path) -> None:
    text = _text(make_page(verified))
    assert (
        "VERIFIED This mask lies where its DICOM series says it should: each of its 26 planes lies within 0.0001 mm"
        in text
    )
    assert "independent reader" in text
    assert "bit for bit; its header is right within 0.0001 mm." in text
    assert "What no program can check" in text


def test_a_result_nobody_confirmed_says_so(tmp_path: Path) -> None:
    text = _text(make_page(_made(tmp_path)))
    assert "But no other reader confirmed it." in text
    assert "No other reader was asked: the cross-check was turned off." in text
    assert "independent reader" not in text


def test_a_doubt_that_a_reader_who_agrees_cannot_settle_is_said(tmp_path: Path) -> None:
    from pipeline import convert
    from tests.helpers.phantom import write

    truth = write(tmp_path / "in", shape=(20, 16, 6), photometric="MONOCHROME1")
    outcome = convert(truth.folder, tmp_path / "m.nii.gz")
    assert outcome.verdict == "UNCONFIRMED"
    text = _text(make_page(tmp_path / "m.json"))
    assert "dicom2nifti agrees on the place. But it stays unconfirmed: every plane is MONOCHROME1" in text


def test_what_witnesses_were_not_shown_is_said(tmp_path: Path, verified: Path) -> None:
    path = _copied(verified, tmp_path)
    assert "source images" not in _text(make_page(path))
    of_source = [w | {"Saw": "source"} for w in json.loads(path.read_text("utf-8"))["CrossCheck"]]
    text = _text(make_page(_edited(path, lambda r: r.update(MaskSource="RTSTRUCT", CrossCheck=of_source))))
    assert "its source images in the same place." in text
    assert "read the source images by itself" in text
    assert "The RTSTRUCT itself was read by verimask alone; no other reader was shown it." in text
    of_source[0]["Saw"] = "voxels"
    text = _text(make_page(_edited(path, lambda r: r.update(CrossCheck=of_source))))
    assert (
        "an independent reader, dicom2nifti, reads the same mask from the RTSTRUCT, voxel for voxel. SimpleITK" in text
    )
    assert "read by verimask alone" not in text


def test_a_disputed_result_warns_first(tmp_path: Path, verified: Path) -> None:
    path = _copied(verified, tmp_path)

    def dispute(record: dict[str, Any]) -> None:
        record["Verdict"] = "DISPUTED"
        record["CrossCheck"][0] |= {"Status": "DIFFERS", "Words": "lies 5.0000 mm away"}

    text = _text(make_page(_edited(path, dispute)))
    assert "DISPUTED Do not rely on this mask yet: dicom2nifti puts it elsewhere" in text
    text = _text(make_page(_edited(path, lambda r: r.update(MaskSource="RTSTRUCT"))))
    assert (
        "DISPUTED Do not rely on this mask yet: dicom2nifti reads it otherwise" in text
    )  # it saw the voxels of this record


def test_a_refusal_has_a_page_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "liver.json"
    finding = {
        "Code": "GANTRY_TILT",
        "Severity": "error",
        "Message": "the planes lean by 15°",
        "Hint": "Say --on-tilt shear.",
    }
    path.write_text(json.dumps({"Verdict": "REFUSED", "Exit": 10, "Findings": [finding]}), "utf-8")
    page = make_page(path)
    assert "Nothing was converted, and no file was written: the planes lean by 15°." in _text(page)
    assert "<svg" not in page


def test_whatever_a_file_says_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    path = _made(tmp_path, policy=Policy(crosscheck="affine"))

    def plant(record: dict[str, Any]) -> None:
        record["SeriesDescription"] = record["Manufacturer"] = evil
        for label in record["Labels"]:
            label["Name"] = evil
        record["CrossCheck"][0] |= {"Witness": evil, "Words": evil}
        record["Findings"] = [
            {"Code": evil, "Severity": evil, "Message": evil, "Hint": evil, "Where": [evil], "Clause": evil}
        ]
        record["Provenance"]["Command"] = [evil]
        record["Slices"][0]["File"] = evil

    _edited(path, plant)
    if viewer.SCRIPT.exists():
        data = make_page(path, interactive=True).split('id="live-data">')[1].split("</script>")[0]
        assert "<" not in data
        assert json.loads(data)["volumes"][0]["labels"]["labels"][1] == evil
    for page in (make_page(path), make_group_page([path])):
        assert "<script>alert" not in page
        assert html.escape(evil, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page


def test_a_description_in_the_dicom_file_is_escaped(tmp_path: Path) -> None:
    path = _made(tmp_path, name="evil", description="<script>alert(2)</script>")
    page = make_page(path)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(2)" in page


def test_a_file_that_is_gone_is_not_shown(tmp_path: Path) -> None:
    path = _made(tmp_path)
    (tmp_path / "mask.nii.gz").unlink()
    assert _code(path) is Code.NO_SUCH_INPUT


def test_a_refusal_has_no_file_to_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"Verdict": "REFUSED", "Findings": []}), "utf-8")
    with pytest.raises(PipelineError, match="left no NIfTI file") as caught:
        check_file(read_record(path))
    assert caught.value.finding.where == ("x.json",)
    assert caught.value.finding.hint


def test_a_file_changed_by_one_voxel_is_not_shown(tmp_path: Path) -> None:
    path = _made(tmp_path)
    file = tmp_path / "mask.nii.gz"
    raw = bytearray(gzip.decompress(file.read_bytes()))
    raw[-1] ^= 1
    file.write_bytes(gzip.compress(bytes(raw)))
    assert _code(path) is Code.NOT_THE_PROVEN_FILE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(Output="../other.nii.gz"), "names no file beside itself"),
        (lambda r: r.update(Schema="something else"), "its schema is something else"),
        (lambda r: r.pop("Verdict"), "it has no verdict"),
        (lambda r: r.pop("Planes"), "before records held the planes"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(PipelineError, match=said) as caught:
        make_page(_edited(_made(tmp_path), change))
    another = "schema" in said or "before" in said
    assert caught.value.finding.code is (Code.UNSUPPORTED_VERSION if another else Code.NOT_AN_OUTCOME)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda r: r.update(Shape=[10**400, 34, 26]), r"Shape\[0\]"),
        (lambda r: r["Geometry"].update(StepMm=10**400), r"Geometry\.StepMm"),
        (lambda r: r["Slices"][0].update(PositionLPS=[10**400, 0, 0]), r"Slices\[0\]\.PositionLPS\[0\]"),
        (lambda r: r["Geometry"].update(Affine=[[0] * 4] * 4), "Geometry"),
        (lambda r: r["Planes"].update(AlongNormalMm=[0]), r"Planes\.AlongNormalMm"),
        (lambda r: r["Planes"]["Index"].__setitem__(-1, 10**12), r"Planes\.Index"),
        (lambda r: r["CrossCheck"][0].update(MaxCornerMm=None), r"CrossCheck\[0\]\.MaxCornerMm"),
        (lambda r: r["CrossCheck"][0]["IndexMap"].update(Matrix=[[0] * 4] * 4), r"CrossCheck\[0\]\.IndexMap"),
    ],
)
def test_a_record_that_no_conversion_wrote_is_refused(
    verified: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], where: str
) -> None:
    """Numbers that no float holds, that do not fit each other, or that nothing can be computed with."""
    for path in (verified, verified.with_name("mask.nii.gz")):
        shutil.copy(path, tmp_path)
    edited = _edited(tmp_path / "mask.json", change)
    with suppress(PipelineError):  # or no error at all: it needs less of a record
        make_group_page([edited])
    with pytest.raises(PipelineError, match=f"conversion: {where}") as caught:
        make_page(edited)
    assert caught.value.finding.code is Code.NOT_AN_OUTCOME


def test_a_bug_over_a_sound_record_stays_one(verified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> str:
        raise IndexError("a bug")

    monkeypatch.setattr(methods, "describe_methods", fails)
    with pytest.raises(IndexError, match="a bug"):
        make_page(verified)


def test_a_name_as_long_as_may_be_has_a_page(tmp_path: Path) -> None:
    """The table of its ratings would have a longer name than a file can have, and so is not there."""
    phantom.write(tmp_path / "in", replace(_SPEC, shape=(8, 7, 4), radius_mm=4))
    target = tmp_path / ("n" * 247 + ".nii")
    assert _ended("convert", tmp_path / "in", "-o", target, "--crosscheck", "off", "--report", "-q") == 0
    assert target.with_suffix(".html").is_file()
    for given, page in ((target.with_suffix(".json"), "p" * 250), (tmp_path, "g" * 250)):
        assert _ended("report", given, "-o", tmp_path / f"{page}.html", "-q") == 0
    assert _ended("report", tmp_path, "-o", tmp_path / ("g" * 251 + ".html")) == Exit.CANNOT_WRITE


def _ended(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    return ended.value.code


def test_text_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("no", "utf-8")
    assert _code(tmp_path / "x.json") is Code.NOT_AN_OUTCOME
    assert _code(tmp_path / "y.json") is Code.NO_SUCH_INPUT


@pytest.mark.parametrize("package", ["PIL.Image", "jinja2"])
def test_a_missing_package_is_named(verified: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    environment.cache_clear()
    with pytest.raises(PipelineError, match="cannot be imported") as caught:
        make_page(verified)
    assert "verimask[report]" in caught.value.finding.hint


def test_without_the_viewer_it_is_said_how_to_get_it(verified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "SCRIPT", Path("nowhere.js"))
    with pytest.raises(PipelineError) as caught:
        make_page(verified, interactive=True)
    assert caught.value.finding.code is Code.NO_VIEWER
    assert "make viewer" in caught.value.finding.hint


@pytest.mark.skipif(not viewer.SCRIPT.exists(), reason="NiiVue is not installed: make viewer")
def test_the_live_viewer_is_given_the_proven_bytes(verified: Path) -> None:
    data = json.loads(make_page(verified, interactive=True).split('id="live-data">')[1].split("</script>")[0])
    [volume] = data["volumes"]
    assert base64.b64decode(volume["base64"]) == verified.with_name("mask.nii.gz").read_bytes()


# Where things are in the pictures


@pytest.mark.parametrize("name", phantom.ORIENTATIONS)
@pytest.mark.parametrize("convention", ["radiological", "neurological"])
def test_left_front_and_head_are_where_the_letters_say(name: str, convention: Any) -> None:
    spec = replace(_SPEC, iop=phantom.ORIENTATIONS[name])
    block = Volume.of(spec.array(), Grid(spec.shape, spec.lps).ras)
    middle = find_middle(count_filled(block))
    for axis in range(3):
        where = choose_cut(block, axis, middle[axis], convention)
        points = where.ijk @ block.ras[:3, :3].T + block.ras[:3, 3]
        left, right, top, bottom = where.letters
        across, down = points[0, -1] - points[0, 0], points[-1, 0] - points[0, 0]
        for direction, letter, opposite in ((across, right, left), (down, bottom, top)):
            world = next(n for n, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
            assert opposite in ("LR", "PA", "IS")[world]
            assert (direction[world] > 0) == (letter in "RAS")
            assert abs(direction[world]) >= 0.57 * np.linalg.norm(direction)
        assert (top, left if axis == 0 else "") == ("A" if axis == 2 else "S", "A" if axis == 0 else "")
        if axis != 0:
            assert left == ("R" if convention == "radiological" else "L")
        # the voxels drawn are those of the body at these very points
        assert (block.at(where.ijk) == spec.part(points * (-1, -1, 1))).all()


def test_a_picture_is_the_cut(tmp_path: Path) -> None:
    block = read_volume(_made(tmp_path).with_name("mask.nii.gz"))
    segments = tuple(Segment(n, str(n), colour) for n, colour in ((1, (250, 0, 0)), (2, (0, 250, 0)), (3, (0, 0, 250))))
    where = choose_cut(block, 1, find_middle(count_filled(block))[1], "radiological")
    picture = draw_cut(where, block, segments)
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(picture.png.split(",")[1]))))
    labels = block.at(where.ijk)
    assert {1, 2} <= set(np.unique(labels))
    assert ((pixels.argmax(axis=2) + 1)[labels > 0] == labels[labels > 0]).all()
    assert (np.ptp(pixels[labels == 0], axis=1) == 0).all()


def test_a_hollow_mask_is_cut_where_it_has_voxels() -> None:
    ring = np.zeros((21, 17, 13), np.uint8)
    ring[[2, 18], 3:14, 2:11] = 1
    block = Volume.of(ring, np.diag([-1.0, -1.0, 2.0, 1.0]))
    i, j, k = find_middle(count_filled(block))
    assert block.voxels[i].any()
    assert (j, k) == (8, 6)


# Numbers


def test_corners_of_every_witness_stand_beside_ours(verified: Path, tmp_path: Path) -> None:
    truth = Grid(_SPEC.shape, _SPEC.lps)
    first = ", ".join(f"{v + 0.0:.3f}" for v in truth.corners()[0] * (-1, -1, 1))
    witnesses = [w for w in json.loads(verified.read_text("utf-8"))["CrossCheck"] if w["AffineRAS"]]
    assert witnesses
    text = _text(make_page(verified))
    assert text.count(first) >= 1 + len(witnesses)
    path = _copied(verified, tmp_path)
    _edited(
        path, lambda r: r["CrossCheck"][0]["AffineRAS"][1].__setitem__(3, r["CrossCheck"][0]["AffineRAS"][1][3] + 5)
    )
    assert _text(make_page(path)).count("5.0000") == 8


def test_labels_are_counted_from_the_file(verified: Path) -> None:
    values = _SPEC.array()
    text = _text(make_page(verified))
    for value in (1, 2, 3):
        count = int((values == value).sum())
        assert f"label {value} {value} {count} {count * 1.5 * 1.25 * 2 / 1000:.3f}" in text


def test_missing_planes_and_a_lean_are_said_and_drawn(tmp_path: Path) -> None:
    gone = {11, 12, 19}
    folder = tmp_path / "gap"
    phantom.write(folder, _SPEC, edit=lambda k, dataset: [] if k in gone else None, tilt_degrees=9.0)
    for k in gone:
        (folder / f"IM{k + 1:04d}.dcm").unlink(missing_ok=True)
    convert([folder], tmp_path / "gap.nii.gz", policy=Policy(crosscheck="off", on_gap="fill", on_tilt="shear"))
    page = make_page(tmp_path / "gap.json")
    assert page.count('class="missing"') == 3
    assert page.count('class="plane"') == 23
    text = _text(page)
    assert "3 missing, none doubled, the stack leans by 9.00°." in text
    assert "But 3 planes that the series lacks were filled with nothing" in text
    assert "leans by 9.0° (gantry tilt)" in text
    places = sorted({float(y) for y in re.findall(r'class="plane"[^>]* y1="([-0-9.e]+)"', page)})
    assert places[-1] - places[0] == pytest.approx(25 * 2 * np.tan(np.radians(9)), rel=1e-3)


def test_planes_at_one_place_are_said_and_drawn(tmp_path: Path) -> None:
    path = _made(tmp_path)
    page = make_page(_edited(path, lambda r: r["Planes"]["AlongNormalMm"].__setitem__(5, 8.3)))
    assert page.count('class="double"') == 1
    assert "1 at the place of another" in _text(page)
    assert "none doubled" not in _text(page)


def test_the_affine_is_told_with_this_series_numbers(tmp_path: Path) -> None:
    path = _made(tmp_path, policy=Policy(crosscheck="off", orient="RAS"), iop=phantom.ORIENTATIONS["sagittal"])
    text = _text(make_page(path))
    assert "Image Position (Patient) -31.5 \\ -47.25 \\ 112.75" in text
    assert "The file is stored in another order, RAS" in text


def test_explanations_become_headings_prose_and_aligned_lines() -> None:
    told = split_blocks("Title\n\nHead\n  a  1\n  b  2\n\nOne thought,\ntwo lines:\n  c\nand so on\n  d")
    assert [(b.kind, b.text) for b in told] == [
        ("text", "Title"),
        ("head", "Head"),
        ("lines", "  a  1\n  b  2"),
        ("text", "One thought, two lines:"),
        ("lines", "  c"),
        ("text", "and so on"),
        ("lines", "  d"),
    ]


# The source image


def _with_source(folder: Path, edit: phantom.Edit = lambda k, dataset: None, **changes: Any) -> tuple[Path, Path]:
    path = _made(folder, seed="one")
    spec = replace(_SPEC, seed="two", content="index", kind="mr", description="scan", **changes)

    def same_space(k: int, dataset: Any) -> Any:
        dataset.FrameOfReferenceUID = json.loads(path.read_text("utf-8"))["FrameOfReferenceUID"]
        return edit(k, dataset)

    phantom.write(folder / "scan", spec, edit=same_space)
    return path, folder / "scan"


def test_the_outline_lies_over_the_source(tmp_path: Path) -> None:
    path, source = _with_source(tmp_path)
    page = make_page(path, source=source)
    assert "The source image, a DICOM series, lies on the same grid as this mask, voxel for voxel" in _text(page)
    alone = re.search(r'data-view="axial".*?href="(data:[^"]+)"', make_page(path), re.S)
    over = re.search(r'data-view="axial".*?href="(data:[^"]+)"', page, re.S)
    assert alone
    assert over
    block = read_volume(path.with_name("mask.nii.gz"))
    where = choose_cut(block, 2, find_middle(count_filled(block))[2], "radiological")
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(over[1].split(",")[1])))).astype(int)
    assert pixels.shape == where.ijk.shape[:2]
    assert (np.diff(pixels, axis=1) >= 0).all()  # the source's values grow along i and j
    assert pixels[-1, -1] > pixels[0, 0]
    assert over[1] != alone[1]


def test_a_source_as_nifti_gives_the_same_pictures(tmp_path: Path) -> None:
    path, source = _with_source(tmp_path)
    convert([source], tmp_path / "scan.nii.gz", policy=Policy(as_="image", crosscheck="off", orient="RAS"))
    as_dicom, as_nifti = (
        re.findall(r'href="(data:image[^"]+)"', make_page(path, source=s)) for s in (source, tmp_path / "scan.nii.gz")
    )
    assert as_dicom == as_nifti


def test_a_source_elsewhere_is_told_to_be(tmp_path: Path) -> None:
    path, source = _with_source(tmp_path, origin=(-31.5, -47.25, 115.75))
    text = _text(make_page(path, source=source))
    assert "lies on the same grid" not in text
    assert "3 mm" in text.split("Look at it")[1].split("The whole mask")[0]


def test_a_source_in_another_space_is_told_to_be(tmp_path: Path) -> None:
    def other(k: int, dataset: Any) -> None:
        dataset.FrameOfReferenceUID = "1.2.3.4"

    path, source = _with_source(tmp_path, edit=other)
    text = _text(make_page(path, source=source))
    assert "another Frame of Reference than the mask" in text
    assert "lies on the same grid" not in text


def test_another_grid_is_looked_up_at_the_voxels_of_the_mask() -> None:
    def filled(spec: phantom.Spec) -> Volume:
        points = spec.point(np.stack(np.meshgrid(*map(np.arange, spec.shape), indexing="ij"), -1))
        return Volume.of(points @ (1.0, 100.0, 10_000.0), Grid(spec.shape, spec.lps).ras)

    mask = filled(replace(_SPEC, iop=phantom.ORIENTATIONS["oblique"]))
    fine = replace(
        _SPEC, iop=phantom.ORIENTATIONS["coronal"], shape=(90, 120, 80), row_spacing=0.7, column_spacing=0.6, step=0.9
    )
    source = filled(replace(fine, origin=(-35.0, -50.0, 170.0)))
    ijk = choose_cut(mask, 2, 13, "radiological").ijk
    values, inside = source.seen_from(mask, ijk)
    truth = mask.at(ijk)
    assert 0.3 < inside.mean() < 1
    assert np.abs(values - truth)[inside].max() <= 0.5 * (0.6 * 1 + 0.9 * 100 + 0.7 * 10_000)
    points = (mask.ras @ np.insert(ijk.reshape(-1, 3), 3, 1, axis=1).T).T.reshape(*ijk.shape[:2], 4)
    low, high = fine_box(source)
    assert (inside == ((points[..., :3] >= low) & (points[..., :3] <= high)).all(axis=-1)).all()


def fine_box(volume: Volume) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The lowest and highest RAS mm of an axis-parallel block, to its voxels' outer edges."""
    ends = np.array([[-0.5, -0.5, -0.5, 1], [n - 0.5 for n in volume.voxels.shape] + [1]]) @ volume.ras.T
    return ends[:, :3].min(axis=0), ends[:, :3].max(axis=0)


def test_two_possible_sources_are_asked_about(tmp_path: Path) -> None:
    path, source = _with_source(tmp_path)
    second = replace(_SPEC, seed="three", content="index", description="other scan")
    reference = json.loads(path.read_text("utf-8"))["FrameOfReferenceUID"]
    phantom.write(source / "more", second, edit=lambda k, d: setattr(d, "FrameOfReferenceUID", reference))
    assert _code(path, source=source) is Code.SEVERAL_SERIES
    assert "same grid" in _text(make_page(path, source=source, source_series="other scan"))


def test_patient_data_appears_only_when_asked_for(tmp_path: Path) -> None:
    path, source = _with_source(tmp_path)
    assert "Asymmetric" not in make_page(path, source=source)
    assert "Phantom^Asymmetric" in make_page(path, source=source, show_phi=True)
    assert "holds no patient data" in _text(make_page(path, show_phi=True))


def test_a_usual_case_stays_under_5_mb(tmp_path: Path) -> None:
    path = _made(tmp_path, shape=(330, 300, 30), row_spacing=0.7, column_spacing=0.8, step=3.0)
    noise = np.random.default_rng(1).integers(0, 4096, (330, 300, 30)).astype(np.int16)
    import nibabel

    nibabel.Nifti1Image(noise, of_nifti_affine(path)).to_filename(tmp_path / "noise.nii.gz")
    page = make_page(path, source=tmp_path / "noise.nii.gz")
    assert 200_000 < len(page) < 5_000_000


def of_nifti_affine(path: Path) -> np.ndarray[Any, Any]:
    return np.array(json.loads(path.read_text("utf-8"))["Geometry"]["Affine"])


# Many records


def _copied(path: Path, folder: Path) -> Path:
    for name in (path.name, path.stem + ".nii.gz"):
        (folder / name).write_bytes(path.with_name(name).read_bytes())
    return folder / path.name


def test_a_group_page_puts_the_odd_ones_first(tmp_path: Path) -> None:
    affine = Policy(crosscheck="affine")
    for name in ("a-fine", "b-warned"):
        _made(tmp_path, name=name, policy=affine)
    _edited(
        tmp_path / "b-warned.json",
        lambda r: r["Findings"].append({"Code": "POSITION_JITTER", "Severity": "warning", "Message": "it jitters"}),
    )
    _made(tmp_path, name="c-unconfirmed")
    _made(tmp_path, name="d-changed", policy=affine)
    (tmp_path / "d-changed.nii.gz").write_bytes(b"something else")
    refusal = {"Verdict": "REFUSED", "Findings": [{"Code": "MOSAIC", "Severity": "error", "Message": "a mosaic"}]}
    (tmp_path / "e-refused.json").write_text(json.dumps(refusal), "utf-8")
    (tmp_path / "unrelated.json").write_text('{"a": 1}', "utf-8")
    (tmp_path / "a-fine.html").write_text("the page", "utf-8")
    found = find_outcomes(tmp_path)
    assert [p.stem for p in found] == ["a-fine", "b-warned", "c-unconfirmed", "d-changed", "e-refused"]
    page = make_group_page(found, folder=tmp_path.parent)
    rows = re.findall(r'<tr data-verdict="(\w+)" data-codes="([^"]*)" data-name="(\S+)', page)
    assert rows == [
        ("UNPROVEN", "NOT_THE_PROVEN_FILE", "d-changed.nii.gz"),
        ("REFUSED", "MOSAIC", "e-refused"),
        ("UNCONFIRMED", "", "c-unconfirmed.nii.gz"),
        ("VERIFIED", "POSITION_JITTER", "b-warned.nii.gz"),
        ("VERIFIED", "", "a-fine.nii.gz"),
    ]
    assert f'href="{tmp_path.name}/a-fine.html"' in page
    assert f'href="{tmp_path.name}/b-warned.json"' in page
    assert page.count('data-view="axial"') == 3
