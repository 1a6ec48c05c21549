"""The live viewer in a real browser: voxels, values and places against nibabel, and that it does not trap the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from pipeline import Policy, convert
from pipeline.report import make_page, viewer
from tests.helpers import phantom
from tests.helpers.in_browser import CI, Array, Opened

pytestmark = pytest.mark.skipif(not CI and not viewer.SCRIPT.exists(), reason="NiiVue is not installed: make viewer")

_SPEC = phantom.Spec(shape=(52, 46, 38), row_spacing=1.3, column_spacing=1.1, step=1.5, labels=(1, 2, 3))
_INPUTS = ("HFS", "sagittal", "oblique")
_READY = "() => /mm$/.test(document.getElementById('live-place').textContent)"
_SLOPE, _INTERCEPT = 0.5, -300.0
_COLOURS = {1: (230, 159, 0), 2: (86, 180, 233), 3: (0, 158, 115)}
# A place on the canvas, as parts of it, in the middle of the axial, sagittal and coronal cut, and of the 3-D view.
_TILES = {"axial": (0.25, 0.25), "sagittal": (0.75, 0.25), "coronal": (0.75, 0.75), "solid": (0.25, 0.75)}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """A record of a mask and an image on its grid, whose values differ from voxel to voxel; and a chequered one."""
    folder = tmp_path_factory.mktemp("viewer")
    made = {}
    for name in _INPUTS:
        phantom.write(folder / name, _SPEC, iop=phantom.ORIENTATIONS[name], seed=name, description=name)
        convert([folder / name], folder / f"{name}.nii.gz", policy=Policy(crosscheck="off"))
        mask = nibabel.load(folder / f"{name}.nii.gz")
        stored = np.random.default_rng(1).integers(-500, 2500, mask.shape[:3]).astype(np.int16)
        _save(stored, mask.affine, folder / f"{name}-image.nii.gz")
        made[name] = (folder / f"{name}.json", folder / f"{name}-image.nii.gz")
    mask = nibabel.load(folder / "HFS.nii.gz")
    chequered = (np.indices(mask.shape[:3]).sum(axis=0) % 2 * 2000).astype(np.int16)
    _save(chequered, mask.affine, folder / "chequered.nii.gz")
    made["chequered"] = (folder / "HFS.json", folder / "chequered.nii.gz")
    return made


def _save(stored: Array, affine: Array, path: Path) -> None:
    """Save integers with a slope and an intercept beside them."""
    image = nibabel.Nifti1Image(stored.astype(np.float64) * _SLOPE + _INTERCEPT, affine)
    image.set_data_dtype(np.int16)
    image.header.set_slope_inter(_SLOPE, _INTERCEPT)
    nibabel.save(image, path)


def _open(show: Any, case: tuple[Path, Path | None], **options: Any) -> Opened:
    record, source = case
    one: Opened = show(make_page(record, source=source, interactive=True, **options))
    one.page.wait_for_function(_READY, timeout=60_000)
    one.page.locator("#live-canvas").scroll_into_view_if_needed()
    return one


def _text(one: Opened, what: str) -> str:
    return str(one.page.locator(f"#live-{what}").text_content())


def _place_of(text: str) -> Array:
    """RAS mm of a text such as "L 12.5  P 3.0  S 40.0 mm"."""
    words = text.split()
    return np.array(
        [float(n) * (1 if letter in "RAS" else -1) for letter, n in zip(words[0:6:2], words[1:6:2], strict=True)]
    )


def _at(one: Opened, tile: str, across: float = 0.0, down: float = 0.0) -> tuple[float, float]:
    box = one.page.locator("#live-canvas").bounding_box()
    x, y = _TILES[tile]
    return box["x"] + (x + across) * box["width"], box["y"] + (y + down) * box["height"]


@pytest.mark.parametrize("name", _INPUTS)
def test_places_voxels_values_and_labels_are_those_of_the_file(show: Any, cases: Any, name: str) -> None:
    record, source = cases[name]
    one = _open(show, cases[name])
    mask, image = nibabel.load(record.with_suffix(".nii.gz")), nibabel.load(source)
    labels, values = np.asarray(mask.dataobj), image.get_fdata()

    def check(prefix: str, tolerance: float) -> tuple[int, ...]:
        voxel = tuple(int(n) for n in _text(one, f"{prefix}voxel").split(","))
        place = _place_of(_text(one, f"{prefix}place"))
        off = np.linalg.inv(mask.affine) @ np.append(place, 1)
        assert np.abs(off[:3] - voxel).max() < tolerance
        assert float(_text(one, f"{prefix}value")) == pytest.approx(values[voxel], abs=0.06)
        assert _text(one, f"{prefix}label").split()[0] == (str(labels[voxel]) if labels[voxel] else "none")
        return voxel

    seen = {check("", 0.1)}
    for tile, steps in (
        ("axial", ("ArrowLeft", "ArrowUp")),
        ("sagittal", ("PageUp", "ArrowUp")),
        ("coronal", ("PageDown",)),
    ):
        one.page.mouse.click(*_at(one, tile, 0.02, 0.03))
        seen.add(check("", 0.6))
        for key in steps:
            one.page.keyboard.press(key)
            seen.add(check("", 0.6))
        one.page.mouse.move(*_at(one, tile, -0.03, 0.02))
        check("pointer-", 0.6)
    assert len(seen) >= 7


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
def test_arrows_lead_where_they_point(show: Any, cases: Any, convention: Any) -> None:
    one = _open(show, cases["HFS"], convention=convention)
    right = -1 if convention == "radiological" else 1
    expected = {
        ("axial", "ArrowRight"): (right, 0, 0), ("axial", "ArrowUp"): (0, 1, 0), ("axial", "PageUp"): (0, 0, 1),
        ("coronal", "ArrowLeft"): (-right, 0, 0), ("coronal", "ArrowDown"): (0, 0, -1), ("coronal", "PageUp"): (0, 1, 0),
        ("sagittal", "ArrowRight"): (0, -1, 0), ("sagittal", "ArrowUp"): (0, 0, 1), ("sagittal", "PageDown"): (-1, 0, 0),
    }  # fmt: skip
    for (tile, key), direction in expected.items():
        one.page.mouse.click(*_at(one, tile))
        before = _place_of(_text(one, "place"))
        one.page.keyboard.press(key)
        one.page.keyboard.press(key)
        moved = _place_of(_text(one, "place")) - before
        assert np.abs(moved).max() > 1
        assert (np.sign(np.where(np.abs(moved) > 0.8, moved, 0)) == direction).all(), (tile, key, moved)


def _greys(one: Opened) -> Array:
    """The axial cut, away from cross, letters and labels: its grey levels."""
    pixels = one.pixels("#live-canvas")
    part = pixels[
        int(0.06 * pixels.shape[0]) : int(0.1 * pixels.shape[0]),
        int(0.06 * pixels.shape[1]) : int(0.2 * pixels.shape[1]),
    ]
    return np.asarray(part.mean(axis=2))


def test_voxels_are_drawn_as_they_are_and_smooth_where_asked(show: Any, cases: Any) -> None:
    one = _open(show, cases["chequered"])
    grey = _greys(one)
    between = ((grey > 40) & (grey < 215)).mean()
    assert between < 0.02
    assert (grey < 40).mean() > 0.3
    assert (grey > 215).mean() > 0.3
    one.page.check("#live-smooth")
    grey = _greys(one)
    assert ((grey > 40) & (grey < 215)).mean() > 0.5
    # Labels are not smoothed even then: with nothing but fill, a label has one tint on black and one on white voxels.
    one.page.evaluate("() => { document.getElementById('live-opacity').value = 1; }")
    one.page.locator("#live-opacity").dispatch_event("input")
    pixels = one.pixels("#live-canvas")
    blue = (np.abs(pixels - _COLOURS[2]) < 6).all(axis=2)
    assert blue.sum() > 300


def test_window_and_level(show: Any, cases: Any) -> None:
    one = _open(show, cases["HFS"])
    page = one.page
    window = "() => [liveViewer.volumes[0].cal_min, liveViewer.volumes[0].cal_max]"
    first = page.evaluate(window)
    assert first == pytest.approx([float(n) for n in page.locator("#live-preset").input_value().split()])
    page.fill("#live-level-number", "100")
    page.locator("#live-level-number").dispatch_event("change")
    page.fill("#live-width-number", "300")
    page.locator("#live-width-number").dispatch_event("change")
    assert page.evaluate(window) == pytest.approx([-50, 250])
    assert page.locator("#live-preset option:checked").text_content() == "own"
    before = one.pixels("#live-canvas")
    page.mouse.move(*_at(one, "axial"))
    page.mouse.down(button="right")
    page.mouse.move(*_at(one, "axial", 0.1, 0.0))
    page.mouse.up(button="right")
    low, high = page.evaluate(window)
    assert (low + high) / 2 == pytest.approx(100, abs=1)
    assert high - low > 320
    assert (one.pixels("#live-canvas") != before).any()
    page.select_option("#live-preset", label="all values")
    whole = page.evaluate(window)
    values = nibabel.load(cases["HFS"][1]).get_fdata()
    assert whole == pytest.approx([values.min(), values.max()], abs=0.1)
    page.click("#live-window-reset")
    assert page.evaluate(window) == pytest.approx(first)
    assert page.locator("#live-preset option:checked").text_content() == "as in the pictures"


def test_labels_are_hidden_one_by_one(show: Any, cases: Any) -> None:
    one = _open(show, (cases["HFS"][0], None))

    def count(label: int) -> int:
        return int((np.abs(one.pixels("#live-canvas") - _COLOURS[label]) < 8).all(axis=2).sum())

    shown = {label: count(label) for label in (1, 2)}
    assert min(shown.values()) > 200
    one.page.uncheck("#live-labels [data-label='2']")
    assert count(2) == 0
    assert count(1) >= shown[1]
    one.page.click("#live-none")
    assert count(1) == 0
    one.page.click("#live-all")
    assert count(1) == pytest.approx(shown[1], rel=0.02)
    assert count(2) == pytest.approx(shown[2], rel=0.02)


def test_a_name_leads_to_its_label(show: Any, cases: Any) -> None:
    one = _open(show, cases["HFS"])
    for label in (2, 3, 1):
        one.page.click(f"[data-go='{label}']")
        assert _text(one, "label").split()[0] == str(label)
    one.page.evaluate("() => window.scrollTo(0, 0)")
    one.page.click("ul.legend a[data-label='3']")
    assert _text(one, "label").split()[0] == "3"
    assert one.page.evaluate(
        "() => { const box = document.getElementById('live-room').getBoundingClientRect(); return box.top < innerHeight; }"
    )


def test_outlines_follow_the_voxels(show: Any, cases: Any) -> None:
    one = _open(show, cases["chequered"])
    drawn = """() => { const { width, height } = document.getElementById("live-lines");
        const bytes = document.getElementById("live-lines").getContext("2d").getImageData(0, 0, width, height).data;
        return bytes.some((value, n) => n % 4 === 3 && value); }"""
    assert one.page.evaluate(drawn)

    def box(pixels: Array) -> Array:
        half = pixels[: pixels.shape[0] // 2, : pixels.shape[1] // 2]
        found = np.argwhere((np.abs(half - _COLOURS[2]) < 25).all(axis=2))
        assert len(found) > 30
        return np.array([found.min(axis=0), found.max(axis=0)])

    one.page.evaluate("() => { document.getElementById('live-opacity').value = 0; }")
    one.page.locator("#live-opacity").dispatch_event("input")
    outline = box(one.pixels("#live-canvas"))
    one.page.uncheck("#live-outline")
    assert not one.page.evaluate(drawn)
    one.page.evaluate("() => { document.getElementById('live-opacity').value = 1; }")
    one.page.locator("#live-opacity").dispatch_event("input")
    fill = box(one.pixels("#live-canvas"))
    assert np.abs(outline - fill).max() <= 3


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
@pytest.mark.parametrize("alone", [True, False])
def test_the_solid_has_left_where_the_cuts_have_it(show: Any, cases: Any, convention: Any, alone: bool) -> None:
    record, source = cases["HFS"]
    one = _open(show, (record, None if alone else source), convention=convention)
    pixels = one.pixels("#live-canvas")
    rows, columns = (n // 2 for n in pixels.shape[:2])
    solid = pixels[rows : int(1.8 * rows), :columns]
    hue = solid / np.maximum(solid.max(axis=2, keepdims=True), 1)
    where = {}
    for label in (1, 2):
        wanted = np.array(_COLOURS[label]) / max(_COLOURS[label])
        found = np.argwhere((np.abs(hue - wanted).max(axis=2) < 0.12) & (solid.max(axis=2) > 60))
        assert len(found) > 40, label
        where[label] = found.mean(axis=0)
    assert ((where[2] - where[1])[1] > 0) == (convention == "radiological")


def test_the_wheel_scrolls_the_page_until_the_picture_is_clicked_into(show: Any, cases: Any) -> None:
    one = _open(show, cases["HFS"])
    page = one.page
    scrolled = "() => Math.round(scrollY)"

    def wheel() -> tuple[bool, bool]:
        """Whether the page moved, and whether the plane did."""
        page.locator("#live-canvas").scroll_into_view_if_needed()
        page.mouse.move(*_at(one, "axial"))
        before = page.evaluate(scrolled), _text(one, "place")
        page.mouse.wheel(0, -60)
        one.wait_until_drawn()
        page.wait_for_timeout(300)
        after = page.evaluate(scrolled), _text(one, "place")
        return before[0] != after[0], before[1] != after[1]

    assert wheel() == (True, False)
    page.locator("#live-canvas").scroll_into_view_if_needed()
    page.mouse.click(*_at(one, "axial"))
    assert wheel() == (False, True)
    page.keyboard.press("Escape")
    assert wheel() == (True, False)
    page.keyboard.down("Control")
    assert wheel() == (False, True)
    page.keyboard.up("Control")


def test_a_finger_scrolls_the_page_and_finds_large_buttons(browser: Any, cases: Any, tmp_path: Path) -> None:
    file = tmp_path / "touch.html"
    file.write_text(make_page(cases["HFS"][0], source=cases["HFS"][1], interactive=True), "utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_function(_READY, timeout=60_000)
    for button in page.locator("section.screen button").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 43.9, button.text_content()
    page.locator("#live-canvas").scroll_into_view_if_needed()
    box = page.locator("#live-canvas").bounding_box()
    before = page.evaluate("scrollY"), page.locator("#live-place").text_content()
    session = context.new_cdp_session(page)
    x, y = box["x"] + 100, box["y"] + 200
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for n in range(1, 16):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 10 * n}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("was => Math.abs(scrollY - was) > 50", arg=before[0])
    assert page.locator("#live-place").text_content() == before[1]
    page.locator("#live-on").tap()
    after = page.locator("#live-place").text_content()
    assert np.abs(_place_of(str(after)) - _place_of(str(before[1])))[2] == pytest.approx(1.5, abs=0.11)
    zoom = "() => liveViewer.scene.pan2Dxyzmm[3]"
    page.locator("#live-larger").tap()
    assert page.evaluate(zoom) == pytest.approx(1.25)
    page.locator("#live-reset").tap()
    assert page.evaluate(zoom) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_without_webgl_the_page_says_so_and_keeps_its_pictures(browser: Any, cases: Any, tmp_path: Path) -> None:
    file = tmp_path / "plain.html"
    file.write_text(make_page(cases["HFS"][0], source=cases["HFS"][1], interactive=True), "utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more) { "
        "return /webgl/.test(kind) ? null : get.call(this, kind, ...more); };"
    )
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_function("() => /WebGL 2/.test(document.getElementById('live-place').textContent)", timeout=60_000)
    assert errors == []
    assert not page.locator("#live-room").is_visible()
    assert page.locator('.quad svg[data-view="surface"]').is_visible()
    assert page.locator('.quad svg[data-view="axial"]').is_visible()
    context.close()


def test_an_image_on_another_grid_is_shown_at_the_masks_voxels(show: Any, cases: Any, tmp_path: Path) -> None:
    """Smaller, turned and with other spacing: the value named is that of its nearest voxel, and beyond it there is none."""
    record, _ = cases["HFS"]
    mask = nibabel.load(record.with_suffix(".nii.gz"))
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [10.3, 5.2, 8.1]
    affine = affine @ np.array([[0, 2.3, 0, 0], [1.9, 0, 0, 0], [0, 0, 1.6, 0], [0, 0, 0, 1]])
    values = np.random.default_rng(2).normal(50, 20, (14, 15, 12)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "other.nii.gz")
    one = _open(show, (record, tmp_path / "other.nii.gz"))
    found = set()
    for across in (-0.15, -0.1, -0.02, 0.05):
        one.page.mouse.click(*_at(one, "axial", across, 0.02))
        voxel = [int(n) for n in _text(one, "voxel").split(",")]
        there = np.rint(np.linalg.inv(affine) @ mask.affine @ [*voxel, 1])[:3].astype(int)
        value = _text(one, "value")
        if ((there >= 0) & (there < values.shape)).all():
            assert float(value) == pytest.approx(values[tuple(there)], abs=0.01)
        else:
            assert value == "outside"
        found.add(value == "outside")
    assert found == {True, False}
    assert "nearest of its own" in one.page.locator("section.screen").inner_text()
