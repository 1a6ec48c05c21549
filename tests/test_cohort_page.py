"""The page of a cohort: its order, its pictures, outliers, ratings, what is escaped, and what is refused."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shutil
import statistics
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline import PipelineError
from pipeline.core.findings import Code
from pipeline.report import make_cohort_page
from pipeline.report.label_plots import find_outliers
from tests.helpers import cohort_tree

_HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[cohort_tree.Row]]:
    """Three cases, each an image and a label map, with the rows of their table."""
    out = tmp_path_factory.mktemp("cohort") / "out"
    places = {"P1": (-31.5, -47.25, 112.75), "P2": (4.0, 5.0, 6.0), "P10": (-7.0, 0.0, 9.5)}
    rows = [row for subject, origin in places.items() for row in cohort_tree.make_case(out, subject, origin=origin)]
    cohort_tree.write_table(out, rows)
    return out, rows


@pytest.fixture
def tree(made: tuple[Path, list[cohort_tree.Row]], tmp_path: Path) -> tuple[Path, list[cohort_tree.Row]]:
    """A copy that a test may change."""
    shutil.copytree(made[0], tmp_path / "out")
    return tmp_path / "out", [dict(row) for row in made[1]]


def _rows(page: str) -> list[tuple[str, str]]:
    """(group, subject) of every row, in the order of the page."""
    found = re.findall(
        r'<tr role="row" id="c\d+" data-n="\d+" data-group="(\w+)".*?class="open"[^>]*>([^<]*)<', page, re.S
    )
    return [(group, html.unescape(subject).strip()) for group, subject in found]


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return dict(json.loads(found[1]))


def _cuts(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="cuts">(.*?)</script>', page, re.S)
    assert found
    return dict(json.loads(found[1]))


def _pixels(uri: str) -> np.ndarray[Any, Any]:
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")).astype(int)


def _refused(out: Path, **more: Any) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        make_cohort_page(out, **more)
    return caught.value


def _text(page: str) -> str:
    inside = re.sub(r"<(style|script).*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inside)).split())


def test_odd_cases_come_first_and_each_case_is_in_one_group(tree: tuple[Path, list[cohort_tree.Row]]) -> None:
    out, rows = tree
    odd = [
        {
            "subject": s,
            "case": "CT",
            "status": status,
            "role": "mask",
            "mask": "GTV",
            "key": s,
            "message": f"why {s}. Do this.",
        }
        for s, status in (
            ("N", "NO_IMAGE"),
            ("I", "INCOMPLETE"),
            ("A", "AMBIGUOUS"),
            ("R", "REFUSED"),
            ("X", "NEW_STATUS"),
        )
    ]
    alone = [{"status": "LEFT_OUT", "role": "other", "key": f"{n}"} for n in range(2)]
    for row in rows:
        if row["subject"] == "P2":
            row["verdict"] = "DISPUTED" if row["role"] == "mask" else "VERIFIED"
        else:
            row["verdict"], row["code"] = "VERIFIED", "POSITION_JITTER" if row["subject"] == "P10" else ""
    cohort_tree.write_table(out, [*rows, *alone, *odd])
    page = make_cohort_page(out)
    assert _rows(page) == [
        ("REFUSED", "R"), ("REFUSED", "X"), ("AMBIGUOUS", "A"), ("NO_IMAGE", "N"), ("INCOMPLETE", "I"), ("DISPUTED", "P2"),
        ("WARNING", "P10"), ("FINE", "P1"), ("LEFT_OUT", "series"), ("LEFT_OUT", "series"),
    ]  # fmt: skip
    chips = re.findall(r'data-group="(\w+)" aria-pressed="false" disabled><b>(\d+) ', page)
    assert sum(int(count) for _, count in chips) == 10
    assert "why A. Do this." in _text(page)


def test_a_file_that_is_gone_or_changed_is_not_pictured(tree: tuple[Path, list[cohort_tree.Row]]) -> None:
    out, _ = tree
    (out / "P1" / "labels.nii.gz").unlink()
    image = nib.load(out / "P2" / "image.nii.gz")
    nib.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine).to_filename(out / "P2" / "image.nii.gz")
    page = make_cohort_page(out)
    assert sorted(_rows(page)[:2]) == [("UNPROVEN", "P1"), ("UNPROVEN", "P2")]
    assert "P1/labels.nii.gz is gone" in _text(page)
    assert "P2/image.nii.gz is not the file of cohort.tsv: its SHA-256 is another" in _text(page)
    data = _data(page)
    p1, p2 = (next(c for c in data["cases"] if c["id"][1] == s) for s in ("P1", "P2"))
    assert p1["colours"] == ["", "", "", ""]  # the image alone is drawn
    assert all(p2["colours"][1:])  # the masks alone are drawn, on a plain ground
    ground = _pixels(_cuts(page)[str(data["cases"].index(p2))][0][0])[2, 2]
    assert np.abs(ground - 26).max() < 6


def test_a_kept_picture_is_not_of_another_file(tree: tuple[Path, list[cohort_tree.Row]], tmp_path: Path) -> None:
    """Same size, same times, other bytes: the time of the last change, which nobody can set, tells."""
    out, _ = tree
    kept = tmp_path / "kept"
    make_cohort_page(out, thumbnails=kept)
    file = out / "P1" / "image.nii.gz"
    before = file.stat()
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _rows(make_cohort_page(out, thumbnails=kept))[0] == ("UNPROVEN", "P1")


def test_a_second_run_draws_nothing_and_gives_the_same_bytes(
    made: tuple[Path, list[cohort_tree.Row]], tmp_path: Path
) -> None:
    out, kept = made[0], tmp_path / "kept"
    steps: list[tuple[int, int]] = []
    first = make_cohort_page(out, thumbnails=kept, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    files = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(files) == 4  # three cases, and what is known of their files
    (kept / ("0" * 64 + ".json")).write_text("{}", "utf-8")  # of a case that is no more
    assert make_cohort_page(out, thumbnails=kept) == first
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == files
    assert make_cohort_page(out) == first  # and without anything kept
    for path in kept.iterdir():
        path.write_text("[", "utf-8")  # damaged, so that it is drawn again
    assert make_cohort_page(out, thumbnails=kept) == first
    assert not list(out.rglob("*.webp"))


def test_the_outline_lies_where_the_mask_does(made: tuple[Path, list[cohort_tree.Row]]) -> None:
    """The marker of the phantom lies on the patient's left: its colour is on the right of axial and coronal cuts, in the
    middle plane that nibabel finds."""
    out = made[0]
    page = make_cohort_page(out)
    data = _data(page)
    number = next(n for n, case in enumerate(data["cases"]) if case["id"][1] == "P1")
    webp, width, height, view, letters = _cuts(page)[str(number)][0]
    assert (view, letters) == ("axial", ["R", "L", "A", "P"])
    mask = nib.as_closest_canonical(nib.load(out / "P1" / "labels.nii.gz"))
    voxels, steps = np.asarray(mask.dataobj), mask.header.get_zooms()
    assert width / height == pytest.approx(voxels.shape[0] * steps[0] / (voxels.shape[1] * steps[1]), rel=0.02)
    middle = round(float(np.argwhere(voxels)[:, 2].mean()))
    wanted = np.argwhere(voxels[:, :, middle] == 2).mean(axis=0) + 0.5
    right = 1 - wanted[0] / voxels.shape[0]  # canonical counts to the right, and the picture's right is the left
    down = 1 - wanted[1] / voxels.shape[1]
    colour = np.array([int(data["cases"][number]["colours"][2][n : n + 2], 16) for n in (1, 3, 5)])
    pixels = _pixels(webp)
    # WebP keeps colours at half the size, so that an outline is only nearly of its colour.
    tint = (pixels - pixels.mean(axis=2, keepdims=True)) @ (colour - colour.mean()) > 0.4 * (
        (colour - colour.mean()) ** 2
    ).sum()
    found = np.argwhere(tint)
    low, high = found.min(axis=0), found.max(axis=0)
    assert (low + high)[1] / 2 / width == pytest.approx(right, abs=0.04)
    assert (low + high)[0] / 2 / height == pytest.approx(down, abs=0.04)


def test_masks_of_files_of_their_own_are_drawn_on_their_image(tree: tuple[Path, list[cohort_tree.Row]]) -> None:
    """Each label in a file of its own gives the picture of the label map."""
    out, rows = tree
    whole = make_cohort_page(out)
    mask = nib.load(out / "P1" / "labels.nii.gz")
    for row in rows:
        if row["subject"] == "P1" and row["role"] == "mask":
            part = (np.asarray(mask.dataobj) == int(row["label"])).astype(np.uint8)
            nib.Nifti1Image(part, mask.affine).to_filename(out / "P1" / f"{row['label']}.nii.gz")
            raw = (out / "P1" / f"{row['label']}.nii.gz").read_bytes()
            row |= {"output": f"P1/{row['label']}.nii.gz", "sha256": sha256(raw).hexdigest(), "label": ""}
    cohort_tree.write_table(out, rows)
    split = make_cohort_page(out)
    assert _cuts(split) == _cuts(whole)


def test_outliers_are_those_of_the_rule() -> None:
    """Held against the standard library on the logarithms."""
    rng = np.random.default_rng(3)
    volumes = [*np.exp(rng.normal(3, 0.2, 60)).tolist(), 1.0, 400.0, 0.0]
    logs = [float(np.log(v)) for v in volumes if v > 0]
    centre = statistics.median(logs)
    mad = statistics.median(abs(v - centre) for v in logs)
    wanted = [v <= 0 or abs(np.log(v) - centre) / (1.4826 * mad) > 3.5 for v in volumes]
    assert find_outliers(volumes) == wanted
    assert wanted[-3:] == [True, True, True]
    assert find_outliers([10.0] * 9 + [11.0, 13.0]) == [False] * 10 + [True]  # no MAD: a factor of 1.25
    assert find_outliers([1.0, 1.0, 1.0, 900.0, 0.0]) == [False] * 4 + [True]  # too few to say what is usual


def test_an_outlier_is_marked_in_its_row_and_in_the_plot(tree: tuple[Path, list[cohort_tree.Row]]) -> None:
    out, rows = tree
    rows = [r for r in rows if r["subject"] != "P10"] + [
        {**r, "subject": f"Q{n}", "key": f"q{n}", "verdict": "VERIFIED"}
        for n in range(6)
        for r in rows
        if r["subject"] == "P10"
    ]
    marked = next(r for r in rows if r["subject"] == "Q3" and r["role"] == "mask")
    marked["ml"] = str(float(marked["ml"]) * 4)
    rows = [{**r, "verdict": "VERIFIED", "code": ""} for r in rows]
    rows = [r for r in rows if not (r["subject"] == "Q4" and r.get("mask") == marked["mask"])]
    cohort_tree.write_table(out, rows)
    page = make_cohort_page(out)
    assert _rows(page)[0] == ("OUTLIER", "Q3")
    number = next(n for n, case in enumerate(_data(page)["cases"]) if case["id"][1] == "Q3")
    assert page.count('<a href="#c') == 1
    assert f'<a href="#c{number}"' in page
    assert f'data-without="{marked["mask"]}" disabled>1 without' in page


def test_names_of_a_table_are_text_and_nothing_else(tree: tuple[Path, list[cohort_tree.Row]]) -> None:
    out, rows = tree
    evil = dict.fromkeys(cohort_tree.COLUMNS, _HOSTILE) | {"status": "DONE", "role": "mask", "output": ""}
    paths = ["../secret.nii.gz", "/etc/passwd", "javascript:alert(1)", "//example.org/x.nii.gz", "a\\..\\b.nii.gz"]
    bad = [
        {"subject": f"e{n}", "case": "c", "status": "DONE", "role": "mask", "mask": "m", "output": p}
        for n, p in enumerate(paths)
    ]
    (out.parent / "secret.nii.gz").write_bytes(b"x")
    cohort_tree.write_table(out, [*rows, evil, *bad])
    (out / "ratings.tsv").write_text(
        f"key\tsubject\tsession\tcase\trating\tnote\n\t\t\t\tbad\t{_HOSTILE.replace(chr(34), '')}\n", "utf-8"
    )
    page = make_cohort_page(out)
    assert page.count("<script") == page.count("</script>") == 3
    assert "<img src=x" not in page
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*)"', page)]
    assert all(link.startswith(("#c", "./", "data:,")) or link == "#main" for link in links)
    assert all(link.startswith("./") for case in _data(page)["cases"] for row in case["links"] for link in row.values())
    for case in _data(page)["cases"]:
        if case["id"][1].startswith("e"):
            assert case["links"] == [{}]
            assert len(case["notes"]) == 1


def test_a_link_out_of_the_folder_is_not_followed(tree: tuple[Path, list[cohort_tree.Row]]) -> None:
    out, _ = tree
    moved = out.parent / "elsewhere.nii.gz"
    (out / "P1" / "labels.nii.gz").rename(moved)
    (out / "P1" / "labels.nii.gz").symlink_to(moved)
    page = make_cohort_page(out)
    assert "P1/labels.nii.gz is no path below the folder of cohort.tsv" in _text(page)


def _write_ratings(path: Path, lines: list[list[str]]) -> Path:
    head = ["key", "subject", "session", "case", "rating", "note", "outputs"]
    path.write_text("".join("\t".join(line) + "\n" for line in [head, *lines]), "utf-8")
    return path


def test_ratings_are_read_back(tree: tuple[Path, list[cohort_tree.Row]], tmp_path: Path) -> None:
    out, _ = tree
    ids = {case["id"][1]: case["id"] for case in _data(make_cohort_page(out))["cases"]}
    gone = ["0" * 16, "P99", "", "CT", "bad", "gone", ""]
    lines = [
        [*ids["P1"][:4], "good", "", ids["P1"][4]],
        [*ids["P2"][:4], "bad", "mirrored", "0" * 16],
        [ids["P10"][0], "renamed", "", "CT", "doubtful", "", ""],
        gone,
    ]
    _write_ratings(out / "ratings.tsv", lines)
    page = make_cohort_page(out)
    cases = {case["id"][1]: case["rating"] for case in _data(page)["cases"]}
    assert cases == {"P1": ["good", ""], "P2": ["", ""], "P10": ["doubtful", ""]}
    assert "was bad before its files changed: mirrored" in _text(page)
    assert _data(page)["others"] == [gone]
    other = _write_ratings(tmp_path / "mine.tsv", [[*ids["P2"][:4], "BAD", 'says "no"', ids["P2"][4]]])
    page = make_cohort_page(out, ratings=other)
    assert {case["id"][1]: case["rating"] for case in _data(page)["cases"]}["P2"] == ["bad", 'says "no"']


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no column key"),
        ("key\tsubject\tsession\tcase\trating\n", "it has no column note"),
        ("key\tsubject\tsession\tcase\trating\tnote\n\tP1\t\tCT\tgreat\t\n", "row 2 has the rating “great”"),
        ("\xff", "it is no table in UTF-8"),
    ],
)
def test_ratings_that_are_none_are_refused(tree: tuple[Path, list[cohort_tree.Row]], text: str, why: str) -> None:
    out, _ = tree
    (out / "ratings.tsv").write_text(text, "latin-1")
    error = _refused(out)
    assert error.finding.code is Code.BAD_RATINGS
    assert why in error.finding.message
    assert _refused(out, ratings=out / "none.tsv").finding.code is Code.NO_SUCH_INPUT


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "it has no column subject"), ("GOOD\nx\n", "line 2 has 1 columns"), ("\xff", "it is not UTF-8")],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, why: str) -> None:
    assert _refused(tmp_path).finding.code is Code.NO_SUCH_INPUT
    text = text.replace("GOOD", "\t".join(cohort_tree.COLUMNS))
    (tmp_path / "cohort.tsv").write_text(text, "latin-1")
    error = _refused(tmp_path)
    assert error.finding.code is Code.NOT_A_COHORT
    assert why in error.finding.message


def test_a_cohort_of_nothing_is_a_page(tmp_path: Path) -> None:
    cohort_tree.write_table(tmp_path, [])
    assert "0 cases of cohort.tsv" in _text(make_cohort_page(tmp_path))


def test_a_file_that_is_no_nifti_is_said(tree: tuple[Path, list[cohort_tree.Row]]) -> None:
    out, rows = tree
    (out / "P1" / "image.nii.gz").write_bytes(b"nothing")
    digest = sha256(b"nothing").hexdigest()
    cohort_tree.write_table(out, [r | {"sha256": digest} if r["output"] == "P1/image.nii.gz" else r for r in rows])
    assert "no picture: " in _text(make_cohort_page(out))


def test_a_thousand_cases_stay_under_30_mb(tmp_path: Path) -> None:
    """Pictures of noise, which no encoder makes small: a CT has less. Every row has its picture, the first ones large ones."""
    out = tmp_path / "out"
    some = list(_noisy_cases(out, 4))
    rows = [row | {"subject": f"{row['subject']}-{n}", "key": f"{n}"} for n in range(250) for row in some]
    cohort_tree.write_table(out, rows)
    page = make_cohort_page(out, thumbnails=tmp_path / "kept")
    assert 20e6 < len(page.encode()) < 30e6
    assert len(re.findall(r'<img src="data:image/webp', page)) == 1000
    assert 0 < len(_cuts(page)) < 1000


def _noisy_cases(out: Path, count: int) -> Iterator[cohort_tree.Row]:
    rng = np.random.default_rng(5)
    for n in range(count):
        folder = out / f"P{n}"
        folder.mkdir(parents=True)
        voxels = rng.normal(0, 300, (96, 96, 40)).astype(np.int16)
        nib.Nifti1Image(voxels, np.eye(4)).to_filename(folder / "image.nii.gz")
        labels = np.zeros(voxels.shape, np.uint8)
        labels[20:70, 20:70, 10:30] = rng.integers(0, 6, (50, 50, 20))
        nib.Nifti1Image(labels, np.eye(4)).to_filename(folder / "labels.nii.gz")
        common = {"subject": f"P{n}", "case": "CT", "status": "DONE", "verdict": "VERIFIED", "key": f"{n:016x}"}
        for name, role in (("image", "image"), *[("labels", "mask")] * 5):
            digest = sha256((folder / f"{name}.nii.gz").read_bytes()).hexdigest()
            yield common | {"role": role, "output": f"P{n}/{name}.nii.gz", "sha256": digest, "mask": role, "ml": "3"}
