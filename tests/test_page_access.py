"""Pages for everybody: heard, used by keys, printed, rated and cited; and pages that run nothing but their own scripts."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from pipeline import Policy, convert
from pipeline.cli.main import main
from pipeline.report import make_cohort_page, make_group_page, make_page, viewer
from pipeline.report.methods import AUTHOR, TITLE
from pipeline.report.ratings import read_ratings
from tests.helpers import cohort_tree, doc_steps, phantom, segs
from tests.helpers.in_browser import CI

_SPEC = phantom.Spec(shape=(40, 34, 26), row_spacing=1.5, column_spacing=1.25, step=2.0, labels=(1, 2, 3))
_PAGES = ("mask", "image", "seg", "refused", "group", "cohort", "live")
_REFUSAL = {"Code": "GAP", "Severity": "error", "Message": "a gap", "Hint": "Fill it.", "Where": ["IM0004.dcm"]}
_HOSTILE = (
    "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'><a id=evil href='javascript:window.ran=1'>x</a>"
)
_SCRIPT = re.compile(r"<script( type=\"[a-z/]+\")?[^>]*>(.*?)</script>", re.S)
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">\n')


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a mask, an image, a mask from a SEG, and a refusal."""
    folder = tmp_path_factory.mktemp("access")
    (folder / "out").mkdir()
    for name, as_ in (("mask", "mask"), ("image", "image")):
        phantom.write(folder / name, replace(_SPEC, seed=name, description=name))
        convert([folder / name], folder / "out" / f"{name}.nii.gz", policy=Policy(as_=as_, crosscheck="voxels"))  # type: ignore[arg-type]
    segs.write_seg(folder / "seg.dcm", segs.frames_of(segs.blobs(3, overlap=False)))
    convert([folder / "seg.dcm"], folder / "out" / "seg.nii.gz")
    refusal = {"Verdict": "REFUSED", "Exit": 10, "Findings": [_REFUSAL]}
    (folder / "out" / "refused.json").write_text(json.dumps(refusal), "utf-8")
    return folder / "out"


@pytest.fixture(scope="module")
def pages(records: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every kind of page; a live one where NiiVue is there."""
    out = tmp_path_factory.mktemp("access-cohort")
    made_rows = cohort_tree.make_case(out, "P1")
    rows = [row | {"subject": f"P{n}", "key": f"k{n}"} for n in (1, 2) for row in made_rows]
    refused = {"status": "REFUSED", "case": "CT", "role": "mask", "mask": "GTV", "code": "GAP", "subject": "R"}
    cohort_tree.write_table(out, [*rows, refused | {"key": "r", "message": "a gap."}])
    made = {name: make_page(records / f"{name}.json") for name in ("image", "seg", "refused")}
    made["mask"] = make_page(records / "mask.json", source=records / "image.nii.gz")
    if CI or viewer.SCRIPT.exists():
        made["live"] = make_page(records / "mask.json", source=records / "image.nii.gz", interactive=True)
    return made | {"group": make_group_page(sorted(records.glob("*.json"))), "cohort": make_cohort_page(out)}


def _page(pages: dict[str, str], name: str) -> str:
    if name not in pages:
        pytest.skip("NiiVue is not installed: make viewer")
    return pages[name]


def _copied(records: Path, folder: Path, *names: str) -> Path:
    for name in names or ("mask", "image"):
        for ending in (".json", ".nii.gz"):
            (folder / f"{name}{ending}").write_bytes((records / f"{name}{ending}").read_bytes())
    return folder / "mask.json"


def _visible(page: Any, selector: str) -> bool:
    return bool(page.locator(selector).first.is_visible())


# Heard, and used by keys


def _list_violations(page: Any) -> list[str]:
    """What axe-core finds wrong with a page as it is shown now."""
    module = "axe_playwright_python.sync_playwright"
    axe = __import__(module, fromlist=["Axe"]) if CI else pytest.importorskip(module)
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 10
    return [f"{v['id']}: {node['html'][:120]}" for v in found["violations"] for node in v["nodes"]]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
@pytest.mark.parametrize("name", _PAGES)
def test_axe_finds_nothing(show: Any, pages: dict[str, str], name: str, width: int, scheme: str) -> None:
    one = show(_page(pages, name), width=width, scheme=scheme)
    assert _list_violations(one.page) == []
    if name not in ("refused", "live"):
        one.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        one.page.locator("[data-rate]").first.click()
        one.page.locator("[data-rate]").nth(2).focus()
        assert _list_violations(one.page) == []


def test_axe_finds_what_is_wrong(show: Any, pages: dict[str, str]) -> None:
    one = show(pages["refused"].replace("<h2", "<h4").replace('lang="en"', ""))
    assert {v.split(":")[0] for v in _list_violations(one.page)} == {"heading-order", "html-has-lang"}


def test_dialogs_of_a_cohort_and_a_group_are_right_too(show: Any, pages: dict[str, str]) -> None:
    page = show(pages["cohort"]).page
    page.locator(".open").last.click()
    assert _list_violations(page) == []
    page = show(pages["group"]).page
    page.locator("[data-note]").first.click()
    assert _list_violations(page) == []


@pytest.mark.parametrize("name", ["mask", "image"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_bar_of_contents_marks_the_section_and_stays_small(
    show: Any, pages: dict[str, str], name: str, width: int
) -> None:
    one = show(pages[name], width=width)
    links = one.page.locator(".contents a")
    targets = [href[1:] for href in links.evaluate_all("all => all.map(a => a.getAttribute('href'))")]
    assert targets == one.page.evaluate("names => names.filter(n => document.getElementById(n))", targets)
    assert ("labels" in targets) == (name == "mask")
    current = "document.querySelector('.contents [aria-current]').hash"
    assert one.page.evaluate(current) == "#verdict"
    for target in ("corners", "provenance", "views"):
        one.page.evaluate("name => { location.hash = name; }", target)
        one.page.wait_for_function(f"name => {current} === '#' + name", arg=target)
        top, bar = (one.page.locator(s).bounding_box() for s in (f"#{target}", ".contents"))
        assert bar["y"] == pytest.approx(0, abs=1)  # it stays
        assert bar["height"] < 50
        if target != "provenance":  # the last one cannot come to the top
            assert top["y"] >= bar["y"] + bar["height"]
        mark = one.page.locator(".contents [aria-current]").bounding_box()
        assert mark["x"] >= 0
        assert mark["x"] + mark["width"] <= width
    one.requests[1:] = []  # a fragment is no request, but is told as one by some versions


def test_a_page_can_be_walked_by_keys(show: Any, pages: dict[str, str]) -> None:
    page = show(pages["mask"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        state = """() => { const e = document.activeElement, style = getComputedStyle(e);
            return [e.tagName, e.dataset.rate ?? e.id ?? "", style.outlineStyle !== "none" && style.outlineWidth !== "0px"]; }"""
        tag, name, is_marked = page.evaluate(state)
        if tag == "BODY":
            break
        assert is_marked, (tag, name)
        seen.add((tag, name))
    assert {("BUTTON", "good"), ("BUTTON", "save"), ("INPUT", "outline"), ("SUMMARY", "")} <= seen


# Printed


@pytest.mark.parametrize("script", [True, False])
def test_print_has_what_is_folded_and_no_controls(show: Any, pages: dict[str, str], script: bool) -> None:
    page = show(pages["mask"], script=script).page
    assert not _visible(page, "details .mono")
    page.emulate_media(media="print")
    for folded in page.locator("details td.mono").all():
        assert folded.bounding_box()["height"] > 5
    for selector in (".contents", "[data-rate]", "#save", ".skip", "[data-copy]", "#cross"):
        assert not _visible(page, selector)
    assert page.locator("#rate .rated").evaluate("e => e.offsetHeight") > 5


# Rated


def test_a_result_is_rated_by_keys_restored_saved_and_read_back(show: Any, records: Path, tmp_path: Path) -> None:
    record = _copied(records, tmp_path)
    one = show(make_page(record))
    page = one.page
    page.locator("#rating").scroll_into_view_if_needed()
    page.keyboard.press("1")
    page.keyboard.press("3")
    page.keyboard.press("n")
    page.keyboard.type('left 1 "and"\tright')
    page.fill("[data-note-text]", 'left 1 "and"\n\tright')
    assert page.locator("#unsaved").text_content() == "Not in mask.ratings.tsv yet"
    page.reload()
    one.requests.pop()
    assert page.locator('[data-rate="bad"]').get_attribute("aria-pressed") == "true"
    assert page.locator("[data-note-text]").input_value() == 'left 1 "and" right'
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "mask.ratings.tsv"
    download.value.save_as(tmp_path / "mask.ratings.tsv")
    (rating,) = read_ratings(tmp_path / "mask.ratings.tsv")
    digest = json.loads(record.read_text("utf-8"))["Provenance"]["OutputSHA256"]
    assert rating == ("mask.nii.gz", "", "", "", "bad", 'left 1 "and" right', digest)
    again = show(make_page(record), script=False).page
    assert again.locator("#rate .rated").inner_text() == "bad"
    assert again.locator("#rate .noted").inner_text() == 'left 1 "and" right'
    page = show(make_page(record)).page
    assert page.locator("#unsaved").text_content() == ""
    page.keyboard.press("0")
    assert page.locator("#discard").is_visible()
    page.uncheck("#keys")
    page.locator("body").press("2")
    assert page.locator('[data-rate="doubtful"]').get_attribute("aria-pressed") == "false"


def test_ratings_of_many_are_saved_and_read_by_the_command(
    show: Any, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _copied(records, tmp_path)
    head = "key\tsubject\tsession\tcase\trating\tnote\toutputs\n"
    (tmp_path / "image.ratings.tsv").write_text(f"{head}image.nii.gz\t\t\t\tgood\tof its own page\t\n", "utf-8")
    other = "elsewhere.nii.gz\t\t\t\tbad\tkept\t\n"
    (tmp_path / "mine.tsv").write_text(head + other, "utf-8")
    command = ["report", str(tmp_path), "-o", str(tmp_path / "index.html")]
    _report([*command, "--ratings", str(tmp_path / "mine.tsv")])
    page = show((tmp_path / "index.html").read_text("utf-8")).page
    row = page.locator("tr", has_text="mask.nii.gz")
    assert page.locator("tr", has_text="image.nii.gz").locator(".rated").text_content() == "good"
    row.locator("[data-rate=doubtful]").click()
    row.locator("[data-note]").click()
    page.keyboard.type("at the top")
    page.keyboard.press("Enter")
    row.locator(".noted", has_text="at the top").wait_for()
    assert page.locator("#unsaved").text_content() == "1 not in ratings.tsv yet"
    page.select_option("#by-rating", "doubtful")
    assert page.locator("#count").text_content() == "1 of 2 shown"
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "ratings.tsv")
    found = {r.key: (r.rating, r.note) for r in read_ratings(tmp_path / "ratings.tsv")}
    assert found == {
        "elsewhere.nii.gz": ("bad", "kept"),
        "image.nii.gz": ("good", "of its own page"),
        "mask.nii.gz": ("doubtful", "at the top"),
    }
    _report(command)
    for made in ("index.html", "mask.html"):
        assert "at the top" in show((tmp_path / made).read_text("utf-8"), script=False).page.inner_text("main")
    assert "wrote" in capsys.readouterr().out


def _report(command: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 0


def test_a_rating_of_another_file_is_an_old_one(records: Path, tmp_path: Path) -> None:
    record = _copied(records, tmp_path)
    lines = ["key\tsubject\tsession\tcase\trating\tnote\toutputs", "mask.nii.gz\t\t\t\tgood\tfine\t" + "0" * 64]
    (tmp_path / "mask.ratings.tsv").write_text("\n".join(lines), "utf-8")
    for page in (make_page(record), make_group_page([record])):
        assert "was good before its files changed: fine" in page
        assert '<div class="rated"></div>' in page


def test_files_of_one_name_keep_their_own_ratings(records: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _copied(records, tmp_path / folder)
    (tmp_path / "b" / "mask.nii.gz").write_bytes((tmp_path / "b" / "image.nii.gz").read_bytes())
    record = json.loads((tmp_path / "b" / "mask.json").read_text("utf-8"))
    digests = [record["Provenance"]["OutputSHA256"], sha256((tmp_path / "b" / "mask.nii.gz").read_bytes()).hexdigest()]
    record["Provenance"]["OutputSHA256"] = digests[1]
    (tmp_path / "b" / "mask.json").write_text(json.dumps(record), "utf-8")
    rows = [f"mask.nii.gz\t\t\t\t{rating}\t\t{digest}" for rating, digest in zip(("good", "bad"), digests, strict=True)]
    (tmp_path / "ratings.tsv").write_text("\n".join(["\t".join(_COLUMNS), *rows]), "utf-8")
    page = make_group_page([tmp_path / f / "mask.json" for f in ("a", "b")], folder=tmp_path)
    rated = dict(re.findall(r'href="(\w)/mask.json".*?<div class="rated">(\w*)</div>', page, re.S))
    assert rated == {"a": "good", "b": "bad"}


_COLUMNS = ("key", "subject", "session", "case", "rating", "note", "outputs")


# Cited


def _methods(page: str) -> str:
    found = re.search(r'id="methods-text">(.*?)</p>', page, re.S)
    assert found
    return unescape(found[1])


def test_the_methods_paragraph_says_what_the_record_does(pages: dict[str, str], records: Path) -> None:
    record = json.loads((records / "mask.json").read_text("utf-8"))
    versions = record["Provenance"]["Versions"]
    text = _methods(pages["mask"])
    assert text.startswith(
        "The mask of 3 labels (40 × 34 × 26 voxels of 1.25 × 1.5 × 2 mm) was converted from a DICOM series of 26 planes "
        f"(CT, phantom, 26 files) to NIfTI with verimask {record['ConversionSoftwareVersion']} (Python {versions['python']}, "
    )
    assert "each of the 26 planes lay within 0.0001 mm of where its own header puts it." in text
    readers = [w for w in record["CrossCheck"] if w["Status"] in ("AGREES", "REORDERED")]
    assert readers
    assert all(f"{w['Witness']} {w['Version']}" in text for w in readers)
    assert "and no voxels differed" in text
    assert text.endswith("The verdict was VERIFIED.")
    assert "Options" not in text
    assert _methods(pages["image"]).startswith("The image (40 × 34 × 26 voxels")
    seg = _methods(pages["seg"])
    assert "was converted from a DICOM Segmentation (SEG) (" in seg
    assert "No other program confirmed the result. The verdict was UNCONFIRMED." in seg


def test_options_doubts_and_readers_that_differ_are_in_the_paragraph(records: Path, tmp_path: Path) -> None:
    path = _copied(records, tmp_path)
    record = json.loads(path.read_text("utf-8"))
    record["Policy"] |= {"OnGap": "fill", "CornerLimitMm": 0.25, "AssumeSpacing": True, "Write": "overwrite"}
    record["Request"] |= {"Rois": ["a", "b"], "Inside": [["liver", 3], ["kidney", 5]], "Merge": True}
    record["Findings"] = [{"Code": "PLANES_FILLED", "Severity": "warning", "Message": "two"}]
    record["CrossCheck"][0] |= {"Status": "DIFFERS", "Words": "5 mm to the front"}
    path.write_text(json.dumps(record), "utf-8")
    text = _methods(make_page(path))
    assert (
        "Options other than the defaults: corner-limit 0.25 mm, on-gap fill, assume-spacing, rois a, b, "
        "inside liver=3, kidney=5, merge. Warnings: PLANES_FILLED." in text
    )
    first = record["CrossCheck"][0]
    assert f"{first['Witness']} {first['Version']} did not confirm it (5 mm to the front)." in text


def test_an_array_says_that_it_is_one(records: Path, tmp_path: Path) -> None:
    import numpy as np

    import pipeline

    values = np.zeros((40, 34, 26), np.uint8)
    values[3:9, 4:8, 5:7] = 1
    pipeline.write(values, np.diag([-1.0, -1.5, 2.0, 1.0]), tmp_path / "array.nii.gz")
    text = _methods(make_page(tmp_path / "array.json"))
    assert "was written from an array and its affine to NIfTI with verimask" in text
    assert "No DICOM was held against that affine." in text


def test_the_reference_is_that_of_the_package(pages: dict[str, str]) -> None:
    root = Path(__file__).parents[1]
    project = dict(
        re.findall(r'^(name|description|version) = "(.*)"$', (root / "pyproject.toml").read_text("utf-8"), re.M)
    )
    assert f"{project['name']}: {project['description']}" == TITLE
    found = re.search(r'id="methods-bibtex">(.*?)</pre>', pages["mask"], re.S)
    assert found
    bibtex = unescape(found[1])
    assert f"  title = {{{TITLE}}},\n" in bibtex
    assert f"  version = {{{project['version']}}},\n" in bibtex
    assert bibtex.count("{") == bibtex.count("}")
    citation = (root / "CITATION.cff").read_text("utf-8")
    assert TITLE in citation
    assert AUTHOR in citation


def test_the_paragraph_is_copied(show: Any, pages: dict[str, str]) -> None:
    page = show(pages["mask"]).page
    page.click('[data-copy="methods-text"]')
    page.wait_for_function("() => document.querySelector('[data-copy] + [role=status]').textContent === 'copied'")
    page.focus("[data-note-text]")
    page.keyboard.press("Control+V")
    assert page.locator("[data-note-text]").input_value().strip() == _methods(pages["mask"])[:1000]


# Runs nothing but its own scripts


@pytest.mark.parametrize("name", _PAGES)
def test_a_page_allows_what_it_is_made_of_and_nothing_else(pages: dict[str, str], name: str) -> None:
    page = _page(pages, name)
    found = _POLICY.search(page)
    assert found
    rules = dict(rule.split(" ", 1) for rule in found[1].split("; "))
    assert {rules[what] for what in ("default-src", "base-uri", "form-action")} == {"'none'"}
    assert rules["img-src"] == "data:"
    assert "unsafe" not in found[1]
    scripts = [text for kind, text in _SCRIPT.findall(page) if "json" not in kind]
    assert _digests(scripts) == rules.get("script-src", "").split()
    markup = _SCRIPT.sub("", page)
    assert _digests(re.findall(r"<style>(.*?)</style>", markup, re.S)) == rules["style-src"].split()
    assert not re.search(r"<[^>]*\s(style|on\w+)=", markup)
    assert markup.index("Content-Security-Policy") < markup.index("<style>")


def _digests(texts: list[str]) -> list[str]:
    return [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]


@pytest.mark.parametrize("kind", ["page", "group", "cohort"])
def test_a_hostile_description_runs_nothing(show: Any, records: Path, tmp_path: Path, kind: str) -> None:
    text = _make_hostile(records, tmp_path, kind)
    assert "<script>window.ran" not in text
    one = show(text)
    assert one.page.evaluate("[window.ran, document.documentElement.className]") == [None, "scripted"]
    assert "onerror='window.ran" in one.page.inner_text("body")  # as text
    # Even where a template forgot to escape it, the policy keeps it from running; without the policy it runs.
    planted = text.replace("<main", f"{_HOSTILE}<main", 1)
    assert _runs(show(planted)) == [None, "scripted"]
    assert _runs(show(_POLICY.sub("", planted))) == [1, "scripted"]


def test_a_script_whose_digest_is_not_in_the_policy_does_not_run(show: Any, pages: dict[str, str]) -> None:
    text = re.sub(r"script-src '[^']*'", "script-src 'none'", pages["mask"], count=1)
    assert _runs(show(text)) == [None, ""]


def _make_hostile(records: Path, folder: Path, kind: str) -> str:
    if kind == "cohort":
        rows = [row | {"message": _HOSTILE, "mask": _HOSTILE} for row in cohort_tree.make_case(folder, "P1")]
        cohort_tree.write_table(folder, rows)
        return make_cohort_page(folder)
    path = _copied(records, folder)
    record = json.loads(path.read_text("utf-8"))
    record["SeriesDescription"] = _HOSTILE
    for label in record["Labels"]:
        label["Name"] = _HOSTILE
    path.write_text(json.dumps(record), "utf-8")
    return make_page(path) if kind == "page" else make_group_page([path])


def _runs(one: Any) -> list[Any]:
    """Whether what was planted ran, and whether our own script did."""
    if one.page.locator("#evil").count():
        one.page.click("#evil")
    one.wait_until_drawn()
    found = one.page.evaluate("[window.ran, document.documentElement.className]")
    one.errors.clear()  # the browser says what it refused
    one.requests[1:] = []
    return list(found)


# Documented


def test_the_page_in_docs_runs(tmp_path: Path) -> None:
    phantom.write(tmp_path / "DICOM", _SPEC)
    (tmp_path / "out").mkdir()
    assert list(doc_steps.steps("page.md")) == ["pages", "rated"]
    doc_steps.do("page.md", "pages", tmp_path)
    assert 'id="methods-text"' in (tmp_path / "out" / "liver.html").read_text("utf-8")
    doc_steps.do("page.md", "rated", tmp_path)
    for name in ("liver.html", "index.html"):
        assert "edges checked" in (tmp_path / "out" / name).read_text("utf-8")


def test_every_part_of_a_page_is_named_in_docs(pages: dict[str, str]) -> None:
    text = (Path(__file__).parents[1] / "docs" / "page.md").read_text("utf-8")
    bar = re.search(r'<nav class="contents.*?</nav>', pages["mask"], re.S)
    assert bar
    names = re.findall(r'<a href="#\w+">(.*?)</a>', bar[0])
    rows = [name for row in re.findall(r"^\| ([A-Z][^|]*) \|", text, re.M) for name in row.split(", ")]
    assert [name for name in rows if name != "Scroll"] == names
