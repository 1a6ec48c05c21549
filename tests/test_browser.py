"""Pages in a real browser: pictures, letters, the live viewer, groups and cohorts. See helpers/in_browser.py."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import Policy, convert
from pipeline.report import make_cohort_page, make_group_page, make_page, viewer
from pipeline.report.ratings import read_ratings
from tests.helpers import cohort_tree, phantom
from tests.helpers.in_browser import CI, Array

_HEIGHT = "() => Number(document.getElementById('live-place').textContent.split(/\\s+/)[5])"
_SPEC = phantom.Spec(shape=(52, 46, 38), row_spacing=1.3, column_spacing=1.1, step=1.5, labels=(1, 2, 3))
_INPUTS = ("HFS", "sagittal", "coronal", "oblique")
# Torso, marker on the left, nose: as the page tints them over its dark ground.
_TINTS = [np.array([0.8 * c + 0.2 * 26 for c in colour]) for colour in ((230, 159, 0), (86, 180, 233), (0, 158, 115))]


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A record of the phantom in each of the ways a stack can be cut; and, so that a sagittal cut meets the nose, without
    the marker."""
    folder = tmp_path_factory.mktemp("records")
    made = {}
    for name in _INPUTS:
        for plain, labels in ((name, (1, 2, 3)), (f"{name}-nose", (1, 0, 3))):
            iop = phantom.ORIENTATIONS[name]
            phantom.write(folder / plain, _SPEC, iop=iop, seed=plain, description=plain, labels=labels)
            convert([folder / plain], folder / f"{plain}.nii.gz", policy=Policy(crosscheck="off"))
            made[plain] = folder / f"{plain}.json"
    return made


def _place(pixels: Array, tint: Array, within: float = 12) -> Array:
    """(x, y) of the middle of all pixels of a colour."""
    found = np.argwhere((np.abs(pixels - tint) < within).all(axis=2))
    assert len(found) > 20
    return np.asarray(found.mean(axis=0)[::-1])


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
@pytest.mark.parametrize("name", _INPUTS)
def test_the_left_marker_appears_at_the_letter_l(
    show: Any, records: dict[str, Path], name: str, convention: Any
) -> None:
    one = show(make_page(records[name], convention=convention))
    one.page.uncheck("#cross")
    for view in ("axial", "coronal"):
        svg = f'svg[data-view="{view}"]'
        pixels = one.pixels(svg)
        sides = {s: one.page.locator(f'{svg} text[data-side="{s}"]').first.text_content() for s in ("left", "right")}
        assert sides == ({"left": "R", "right": "L"} if convention == "radiological" else {"left": "L", "right": "R"})
        towards_left = np.sign(one.middle(f'{svg} text:text-is("L")') - one.middle(f'{svg} text:text-is("R")'))[0]
        marker, torso = _place(pixels, _TINTS[1]), _place(pixels, _TINTS[0])
        assert (marker - torso)[0] * towards_left > 20


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
@pytest.mark.parametrize("name", _INPUTS)
def test_the_nose_appears_at_the_letter_a(show: Any, records: dict[str, Path], name: str, convention: Any) -> None:
    one = show(make_page(records[f"{name}-nose"], convention=convention))
    one.page.uncheck("#cross")
    svg = 'svg[data-view="sagittal"]'
    pixels = one.pixels(svg)
    front = np.sign(one.middle(f'{svg} text:text-is("A")') - one.middle(f'{svg} text:text-is("P")'))[0]
    head = np.sign(one.middle(f'{svg} text:text-is("S")') - one.middle(f'{svg} text:text-is("I")'))[1]
    nose, torso = _place(pixels, _TINTS[2]), _place(pixels, _TINTS[0])
    assert (nose - torso)[0] * front > 20
    assert (nose - torso)[1] * head > 20


def test_aspect_and_scale_are_true(show: Any, records: dict[str, Path]) -> None:
    one = show(make_page(records["coronal"]))
    ruler = one.page.locator('.quad svg[data-view="axial"] .ruler').evaluate(
        "e => e.getBBox().width * e.getScreenCTM().a"
    )
    for view in ("axial", "sagittal", "coronal"):
        box = one.page.locator(f'.quad svg[data-view="{view}"] image').bounding_box()
        # a coronal input: columns run left-right, rows head-feet, planes front-back
        mm = {"x": 52 * 1.1, "z": 46 * 1.3, "y": 38 * 1.5}
        wide, tall = {"axial": ("x", "y"), "sagittal": ("y", "z"), "coronal": ("x", "z")}[view]
        assert box["width"] / box["height"] == pytest.approx(mm[wide] / mm[tall], rel=0.01)
        assert box["width"] / ruler == pytest.approx(mm[wide] / 10, rel=0.03)


def test_views_lie_as_itk_snap_has_them(show: Any, records: dict[str, Path]) -> None:
    one = show(make_page(records["HFS"]))
    axial, sagittal, coronal, surface = (
        one.middle(f".quad .{name}") for name in ("axial", "sagittal", "coronal", "surface")
    )
    assert axial[0] < sagittal[0]
    assert coronal[1] > sagittal[1]
    assert axial[1] == pytest.approx(sagittal[1], abs=2)
    assert surface[0] == pytest.approx(axial[0], abs=2)
    assert surface[1] == pytest.approx(coronal[1], abs=2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_runs_over_the_edge_of_a_screen(show: Any, records: dict[str, Path], width: int, scheme: str) -> None:
    for text in (make_page(records["oblique"]), make_group_page([records[name] for name in _INPUTS])):
        one = show(text, width=width, scheme=scheme)
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        one.wait_until_drawn()
        corner = np.array(Image.open(BytesIO(one.page.screenshot())).convert("L"))[2, 2]
        assert (corner > 200) == (scheme == "light")


_CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (e) => !e ? [255, 255, 255] : parse(getComputedStyle(e).backgroundColor)[3] === 0
    ? ground(e.parentElement) : parse(getComputedStyle(e).backgroundColor);
  return [...document.querySelectorAll("body *")]
    .filter((e) => !e.children.length && e.textContent.trim() && e.offsetParent && !e.closest("svg, .pane, .tile"))
    .map((e) => [light(parse(getComputedStyle(e).color)), light(ground(e))])
    .map((pair) => (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)); }"""


def test_letters_stand_out_from_their_ground(show: Any, records: dict[str, Path]) -> None:
    for scheme in ("light", "dark"):
        one = show(make_page(records["HFS"]), scheme=scheme)
        ratios = one.page.evaluate(_CONTRAST)
        assert len(ratios) > 50
        assert min(ratios) >= 4.5


def test_it_prints_on_a_few_pages(show: Any, records: dict[str, Path]) -> None:
    one = show(make_page(records["HFS"]))
    raw = one.page.pdf(format="A4")
    assert 4 <= raw.count(b"/Type /Page\n") + raw.count(b"/Type /Page ") <= 12  # with what is folded away on the screen


def test_the_outline_can_be_taken_away(show: Any, records: dict[str, Path]) -> None:
    one = show(make_page(records["HFS"]))
    before = one.pixels('svg[data-view="axial"]')
    one.page.uncheck("#outline")
    assert (one.pixels('svg[data-view="axial"]') != before).any()


@pytest.mark.skipif(not CI and not viewer.SCRIPT.exists(), reason="NiiVue is not installed: make viewer")
@pytest.mark.parametrize("convention", ["radiological", "neurological"])
def test_the_live_viewer_draws_and_scrolls(show: Any, records: dict[str, Path], convention: Any) -> None:
    one = show(make_page(records["sagittal"], convention=convention, interactive=True))
    one.page.wait_for_function("() => /mm$/.test(document.getElementById('live-place').textContent)", timeout=60_000)
    pixels = one.pixels("#live-canvas")
    rows, columns = (n // 2 for n in pixels.shape[:2])
    panes = {"axial": pixels[:rows, :columns], "sagittal": pixels[:rows, columns:], "coronal": pixels[rows:, columns:]}
    side = 1 if convention == "radiological" else -1
    for name in ("axial", "coronal"):
        marker, torso = _place(panes[name], np.array([86, 180, 233])), _place(panes[name], np.array([230, 159, 0]))
        assert (marker - torso)[0] * side > 20
    assert (pixels[rows:, :columns] > 60).any()  # the body itself, in the fourth pane
    place = one.page.locator("#live-place").text_content()
    one.page.locator("#live-canvas").scroll_into_view_if_needed()
    box = one.page.locator("#live-canvas").bounding_box()
    one.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    one.page.keyboard.down("Control")
    for _ in range(4):
        one.page.mouse.wheel(0, 120)
        one.wait_until_drawn()
    one.page.keyboard.up("Control")
    one.page.wait_for_function(f"was => Math.abs(({_HEIGHT})() - was) > 1", arg=float(place.split()[5]))
    before, after = (
        np.array([float(n) for n in text.split()[1::2]])
        for text in (place, one.page.locator("#live-place").text_content())
    )
    assert np.abs(after - before)[:2].max() < 0.7  # through the axial cut: only the height changes
    assert abs(after - before)[2] > 1
    assert (one.pixels("#live-canvas") != pixels).any()


def test_a_group_is_sorted_and_filtered(show: Any, records: dict[str, Path]) -> None:
    one = show(make_group_page([records[name] for name in _INPUTS]))
    names = "() => [...document.querySelectorAll('#rows tbody tr:not([hidden]) a')].map(a => a.textContent)"
    every = sorted(f"{name}.nii.gz" for name in _INPUTS)
    one.page.get_by_role("button", name="File").click()
    assert one.page.evaluate(names) == sorted(every, key=str.lower)
    one.page.get_by_role("button", name="File").click()
    assert one.page.evaluate(names) == sorted(every, key=str.lower, reverse=True)
    one.page.fill("#by-name", "sagi")
    assert one.page.evaluate(names) == ["sagittal.nii.gz"]
    assert one.page.locator("#count").text_content() == "1 of 4 shown"


def test_a_group_is_a_plain_table_without_script(show: Any, records: dict[str, Path]) -> None:
    one = show(make_group_page([records[name] for name in _INPUTS]), script=False)
    assert one.page.locator("#rows tbody tr").count() == 4
    assert not one.page.locator("#by-name").is_visible()


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven cases, one of them with a volume that is unusual, and two that were refused."""
    out = tmp_path_factory.mktemp("cohort") / "out"
    made = cohort_tree.make_case(out, "P1")
    rows = [row | {"subject": f"P{n}", "key": f"k{n}", "verdict": "VERIFIED"} for n in range(1, 8) for row in made]
    for row in rows:
        if row["subject"] == "P4" and row["role"] == "mask":
            row["ml"] = str(float(row["ml"]) * 5)
    rows = [row for row in rows if not (row["subject"] == "P6" and row.get("label") == "3")]
    refused = {
        "status": "REFUSED",
        "case": "CT",
        "role": "mask",
        "mask": "GTV",
        "code": "GAP",
        "message": "a gap. Fill it.",
    }
    cohort_tree.write_table(out, [*rows, *(refused | {"subject": f"R{n}", "key": f"r{n}"} for n in (1, 2))])
    return out


_SUBJECTS = "() => visible().map((row) => row.querySelector('.open').textContent)"


def test_a_cohort_is_sorted_filtered_and_searched(show: Any, cohort: Path) -> None:
    one = show(make_cohort_page(cohort))
    page = one.page
    fine = ["P1", "P2", "P3", "P5", "P6", "P7"]
    assert page.evaluate(_SUBJECTS) == ["R1", "R2", "P4", *fine]
    page.get_by_role("button", name="ml", exact=True).click()
    page.get_by_role("button", name="ml", exact=True).click()
    assert page.evaluate(_SUBJECTS)[0] == "P4"
    assert page.locator("th[data-by=ml]").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Case").click()
    assert page.evaluate(_SUBJECTS) == [f"P{n}" for n in range(1, 8)] + ["R1", "R2"]
    page.get_by_role("button", name="2 REFUSED").click()
    assert page.evaluate(_SUBJECTS) == ["R1", "R2"]
    assert page.locator("#count").text_content() == "2 of 9 shown"
    page.get_by_role("button", name="2 REFUSED").click()
    page.select_option("#by-code", "GAP")
    assert page.evaluate(_SUBJECTS) == ["R1", "R2"]
    page.select_option("#by-code", "")
    page.locator("button.missing[data-without]").last.click()  # of the label that P6 lacks
    assert page.evaluate(_SUBJECTS) == ["P6", "R1", "R2"]
    page.evaluate("unfilter()")
    page.select_option("#by-subject", "P7")
    assert page.evaluate(_SUBJECTS) == ["P7"]
    page.select_option("#by-subject", "")
    page.fill("#search", "fill it r2")
    assert page.evaluate(_SUBJECTS) == ["R2"]
    page.fill("#search", "nothing has this")
    assert page.locator("#none").is_visible()


def test_ratings_by_keys_are_kept_saved_and_read_back(show: Any, cohort: Path, tmp_path: Path) -> None:
    one = show(make_cohort_page(cohort))
    page = one.page
    for key in "jj1jj2":  # R1, R2: good; P4, P1: doubtful
        page.keyboard.press(key)
    page.keyboard.press("ArrowDown")
    for key in "3n":
        page.keyboard.press(key)
    page.keyboard.type('left 1 "and"\tright')
    page.keyboard.press("Enter")
    page.keyboard.press("k")
    page.keyboard.press("ArrowUp")
    for key in "10":
        page.keyboard.press(key)  # and cleared again
    assert page.locator("#unsaved").text_content() == "3 not in ratings.tsv yet"
    page.reload()
    one.requests.pop()
    assert page.locator("#unsaved").text_content() == "3 not in ratings.tsv yet"
    page.select_option("#by-rating", "bad")
    assert page.evaluate(_SUBJECTS) == ["P2"]
    with page.expect_download() as download:
        page.click("#save")
    saved = tmp_path / "ratings.tsv"
    download.value.save_as(saved)
    assert download.value.suggested_filename == "ratings.tsv"
    found = {rating.subject: rating for rating in read_ratings(saved)}
    assert {name: (r.rating, r.note) for name, r in found.items()} == {
        "R2": ("good", ""), "P1": ("doubtful", ""), "P2": ("bad", 'left 1 "and" right'),
    }  # fmt: skip
    assert [r.key for r in found.values()] == ["k1", "k2", "r2"]
    again = show(make_cohort_page(cohort, ratings=saved)).page
    again.select_option("#by-rating", "note")
    assert again.evaluate(_SUBJECTS) == ["P2"]
    assert again.locator("tr.current .noted").text_content() == 'left 1 "and" right'
    assert again.locator("#unsaved").text_content() == ""


def test_a_key_after_a_note_meets_the_case_it_was_typed_on(show: Any, cohort: Path) -> None:
    """A dialog says that it was closed only later: no rating may go by that."""
    page = show(make_cohort_page(cohort)).page
    page.keyboard.press("j")
    page.keyboard.press("j")
    at = page.evaluate("""() => new Promise((done) => {
        askNote(Number(current.dataset.n));
        byId("noting").addEventListener("close", () => setTimeout(() => done(rows.indexOf(current))));
        byId("noting").querySelector("button").click();
        move(1);
    })""")
    assert at == 2
    assert page.evaluate("document.activeElement === current")


def test_details_are_walked_and_rated_with_the_keyboard(show: Any, cohort: Path) -> None:
    one = show(make_cohort_page(cohort))
    page = one.page
    for key in ("j", "j", "j", "Enter"):
        page.keyboard.press(key)
    title = page.locator("#detail-name")
    assert title.text_content() == "P4 CT · DONE"
    assert page.locator("#detail .cuts img").count() == 3
    assert (
        page.locator("#detail img").evaluate_all(
            "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))"
        )
        > [0] * 3
    )
    assert page.locator("#detail-body tr").count() == 5
    page.keyboard.press("2")
    assert page.locator('#detail [data-rate="doubtful"]').get_attribute("aria-pressed") == "true"
    page.keyboard.press("j")
    assert title.text_content() == "P1 CT · DONE"
    assert page.locator('#detail [data-rate="doubtful"]').get_attribute("aria-pressed") == "false"
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement === current && current.dataset.n === '0'")
    page.uncheck("#keys")
    page.locator("tr.current").focus()
    page.keyboard.press("3")
    assert page.evaluate("ratingOf(0)") == ["", ""]


def test_a_point_of_a_plot_leads_to_its_case(show: Any, cohort: Path) -> None:
    one = show(make_cohort_page(cohort))
    page = one.page
    page.select_option("#by-subject", "P7")
    x, y = page.locator(
        "svg[data-plot] a"
    ).first.evaluate("""a => { const box = a.ownerSVGElement.getBoundingClientRect();
        const [x, y] = a.firstElementChild.getAttribute("d").match(/[\\d.]+/g);
        return [box.left + x / 600 * box.width, box.top + y / 24 * box.height]; }""")
    page.mouse.click(x, y)
    assert page.locator("tr.current .open").text_content() == "P4"
    strip = page.locator("svg[data-presence]").last
    strip.click(position={"x": strip.bounding_box()["width"] * 5.5 / 9, "y": 5})
    assert page.locator("tr.current .open").text_content() == "P6"


def test_a_cohort_is_a_plain_table_without_script(show: Any, cohort: Path) -> None:
    one = show(make_cohort_page(cohort), script=False)
    assert one.page.locator("#rows tbody tr").count() == 9
    assert "a gap. Fill it." in one.page.locator("#rows").inner_text()
    assert not one.page.locator("#search").is_visible()
    assert not one.page.locator("[data-rate]").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_a_cohort_fits_its_screen_and_can_be_read(show: Any, cohort: Path, width: int, scheme: str) -> None:
    one = show(make_cohort_page(cohort), width=width, scheme=scheme)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(one.page.evaluate(_CONTRAST)) >= 4.5
    for key in "j2":
        one.page.keyboard.press(key)
    one.page.get_by_role("button", name="2 REFUSED").click()
    assert min(one.page.evaluate(_CONTRAST)) >= 4.5
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
