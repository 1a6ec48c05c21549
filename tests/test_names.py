"""What masks, labels and files are called where series do not say, and merges of them, end to end."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import Dataset

from pipeline.cli.main import main
from pipeline.conversion.file_names import file_names
from pipeline.core.policy import Policy
from pipeline.dicom.scan import scan
from tests.helpers import segs
from tests.helpers.phantom import Spec, Truth, write

SPEC = Spec(shape=(16, 12, 5), row_spacing=1.4, column_spacing=1.1, step=2.5, bits_allocated=8)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def box(
    folder: Path,
    column: int,
    *,
    uid: str = "",
    number: int | None = None,
    description: str | None = None,
    wide: int = 2,
) -> Truth:
    """A mask series of one box at a column."""

    def edit(_: int, dataset: Dataset) -> None:
        pixels = np.zeros((12, 16), np.uint8)
        pixels[3:6, column : column + wide] = 1
        dataset.PixelData = pixels.tobytes()
        dataset.FrameOfReferenceUID = "1.2.3"
        for keyword, value in {"SeriesNumber": number, "SeriesDescription": description}.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        if uid:
            dataset.SeriesInstanceUID = uid

    return write(folder, SPEC, seed=str(folder), edit=edit)


def labels(path: Path) -> dict[str, list[int]]:
    """Name to the columns where the label is, by the file itself."""
    record = json.loads(path.with_suffix("").with_suffix(".json").read_text("utf-8"))
    array = np.asarray(nibabel.load(path).dataobj)
    return {row["Name"]: sorted({int(i) for i in np.argwhere(array == row["Value"])[:, 0]}) for row in record["Labels"]}


def record(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("description", [None, "Segmentation", ""])
def test_masks_without_a_name_of_their_own_are_called_by_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], description: str | None
) -> None:
    box(tmp_path / "in" / "liver", 4, uid="1.2.9", description=description)
    box(tmp_path / "in" / "left bone", 10, uid="1.2.1", description=description)
    ask = ("convert", tmp_path / "in", "--crosscheck", "off", "-o")
    assert said(capsys, *ask, f"{tmp_path / 'out'}/", "--keep-names")[0] == 0
    lead = "Segmentation_" if description else ""
    assert {p.name for p in (tmp_path / "out").glob("*.nii.gz")} == {f"{lead}liver.nii.gz", f"{lead}left-bone.nii.gz"}
    assert labels(tmp_path / "out" / f"{lead}liver.nii.gz") == {"liver": [4, 5]}
    assert labels(tmp_path / "out" / f"{lead}left-bone.nii.gz") == {"left bone": [10, 11]}
    assert said(capsys, *ask, f"{tmp_path / 'plain'}/")[0] == 0  # folders are not named as public
    for path in (tmp_path / "plain").glob("*.nii.gz"):
        assert path.name.startswith(f"{description or 'image'}_")
        assert list(labels(path)) == [description or "mask"]
    text = "".join(path.read_text("utf-8") + path.name for path in (tmp_path / "plain").glob("*.json"))
    assert not any(name in text for name in ("liver", "left bone", "left-bone"))


def test_a_description_of_its_own_stays_the_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box(tmp_path / "in" / "1", 4, number=1, description="Liver")
    box(tmp_path / "in" / "2", 10, number=2, description="Bone")
    assert said(capsys, "convert", tmp_path / "in", "-o", f"{tmp_path / 'out'}/", "--crosscheck", "off")[0] == 0
    assert labels(tmp_path / "out" / "1_Liver.nii.gz") == {"Liver": [4, 5]}
    assert labels(tmp_path / "out" / "2_Bone.nii.gz") == {"Bone": [10, 11]}


def test_one_mask_without_a_description_is_called_by_the_last_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "patient" / "liver"
    box(folder, 4)
    monkeypatch.chdir(folder)
    for n, given in enumerate((".", folder, *[sorted(folder.iterdir())])):
        inputs = given if isinstance(given, list) else [given]
        out = tmp_path / f"{n}.nii.gz"
        assert said(capsys, "convert", *inputs, "-o", out, "--crosscheck", "off", "--keep-names")[0] == 0
        assert list(labels(out)) == ["liver"]
        assert "patient" not in (tmp_path / f"{n}.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("places", "names"),
    [
        ([("a", 1, "Mask"), ("b", 2, "Mask")], ["1_Mask", "2_Mask"]),
        ([("a", 1, "Mask"), ("b", 1, "Mask")], ["1_Mask_a", "1_Mask_b"]),
        ([("a", 1, None), ("b", None, None)], ["1_a", "b"]),
        ([("x/m", None, None), ("y/m", None, None)], ["m_#", "m_#"]),
        ([("x/m", None, "M"), ("y/m", None, "m")], ["M_#", "m_#"]),
        ([("../CON", None, None), ("ünd", None, None)], ["CON_", "und"]),
        ([("肝臓", None, None), ("-", None, None)], ["#", "#"]),
    ],
)
def test_names_of_files(tmp_path: Path, places: list[tuple[str, int | None, str | None]], names: list[str]) -> None:
    for n, (place, number, description) in enumerate(places):
        box(tmp_path / "in" / place, 4, uid=f"1.2.{n}", number=number, description=description)
    series = sorted(scan([tmp_path]).series, key=lambda s: s.uid)
    made = [f"{p}#" if h else p for p, h in ((n, False) for n in file_names(series, Policy(keep_names=True)))]
    assert len(set(made)) == 2
    for name, expected in zip(made, names, strict=True):
        assert name == expected or (expected.endswith("#") and name.startswith(expected[:-1]) and len(name) >= 8)


def test_a_folder_whose_name_is_no_text_gives_a_name_that_can_be_written(tmp_path: Path) -> None:
    box(tmp_path / "in", 4)
    os.rename(tmp_path / "in", os.fsencode(tmp_path) + b"/Gr\xf6\xdfe")
    (series,) = scan([tmp_path]).series
    assert series.mask_name == "Gr\\xf6\\xdfe"
    assert file_names([series], Policy(keep_names=True)) == ["Gr-xf6-xdfe"]
    assert file_names([series]) == ["image"]


# Merging


@pytest.mark.parametrize("description", [None, "Segmentation", "own"])
def test_numbers_follow_the_inputs_then_the_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], description: str | None
) -> None:
    for uid, name, column in (("1.2.9", "bone", 4), ("1.2.5", "liver", 8), ("1.2.1", "vein", 12)):
        own = name if description == "own" else description
        box(tmp_path / "in" / name, column, uid=uid, description=own, number=9 - int(uid[-1]))
    columns = {"bone": [4, 5], "liver": [8, 9], "vein": [12, 13]}
    orders: dict[tuple[str, ...], list[str]] = {
        (".",): ["bone", "liver", "vein"],
        ("vein", "bone", "liver"): ["vein", "bone", "liver"],
        ("liver", "."): ["liver", "bone", "vein"],
    }
    for n, (inputs, expected) in enumerate(orders.items()):
        out = tmp_path / f"{n}.nii.gz"
        paths = [tmp_path / "in" / i for i in inputs]
        assert said(capsys, "convert", *paths, "--merge", "-o", out, "--crosscheck", "off")[0] == 0
        assert labels(out) == {name: columns[name] for name in expected}
        rows = record(tmp_path / f"{n}.json")["Labels"]
        assert [(row["Value"], row["Name"]) for row in rows] == list(enumerate(expected, 1))


def test_files_given_one_by_one_number_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Single-file segmentations of one folder."""
    for column, name in ((1, "b"), (4, "a")):
        block = np.zeros((segs.COLUMNS, segs.ROWS, segs.PLANES), np.uint8)
        block[column : column + 2, 1:4, 1:4] = 1
        segs.write_seg(
            tmp_path / f"{name}.dcm", segs.frames_of(block[None]), names=("same",), SeriesNumber=9 if name == "a" else 8
        )
    for inputs in (("a", "b"), ("b", "a")):
        out = tmp_path / f"{''.join(inputs)}.nii.gz"
        paths = [tmp_path / f"{i}.dcm" for i in inputs]
        code, _, err = said(capsys, "convert", *paths, "--merge", "-o", out, "--crosscheck", "off")
        assert code == 0, err
        number = {"a": 9, "b": 8}
        assert list(labels(out)) == [f"same (series {number[i]})" for i in inputs]


def test_the_record_names_every_series_of_a_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box(tmp_path / "deep" / "liver", 4, uid="1.2.9", description="Mask", number=3)
    box(tmp_path / "deep" / "bone", 10, uid="1.2.1")
    assert said(capsys, "convert", tmp_path / "deep", "--merge", "-o", tmp_path / "a.nii.gz", "--keep-names")[0] == 0
    assert record(tmp_path / "a.json")["MergedFrom"] == [
        {
            "SeriesInstanceUID": "1.2.1",
            "SeriesNumber": None,
            "SeriesDescription": None,
            "Folder": "bone",
            "Labels": [{"Value": 1, "Name": "bone"}],
        },
        {
            "SeriesInstanceUID": "1.2.9",
            "SeriesNumber": 3,
            "SeriesDescription": "Mask",
            "Folder": "liver",
            "Labels": [{"Value": 2, "Name": "Mask"}],
        },
    ]


def test_labels_of_one_name_from_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in (1, 2):
        box(tmp_path / "in", 4 * n, uid=f"1.2.{n}", number=n, description="Mask")
        for path in (tmp_path / "in").glob("*.dcm"):
            path.rename(path.with_name(f"{n}-{path.name}" if path.name[0] == "I" else path.name))
    ask = ("convert", tmp_path / "in", "--merge", "--crosscheck", "off")
    assert said(capsys, *ask, "-o", tmp_path / "a.nii.gz")[0] == 0
    assert labels(tmp_path / "a.nii.gz") == {"Mask (series 1)": [4, 5], "Mask (series 2)": [8, 9]}


def test_labels_that_nothing_tells_apart_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("x", "y"):
        box(tmp_path / "in" / place / "mask", 4 if place == "x" else 9, uid=f"1.2.{ord(place)}")
    code, _, err = said(capsys, "convert", tmp_path / "in", "--merge", "-o", tmp_path / "a.nii.gz")
    assert (code, "REFUSED  BAD_LABELS" in err, "“mask”" in err) == (64, True, True)
    assert not (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize("called", ["Liver", "1.2.9", "3", "left"])
def test_an_order_by_label_uid_number_or_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], called: str
) -> None:
    box(tmp_path / "in" / "left", 4, uid="1.2.9", number=3, description="Liver", wide=5)
    box(tmp_path / "in" / "a", 7, uid="1.2.1", number=5, description="Bone", wide=5)
    ask = ("convert", tmp_path / "in", "--merge", "--crosscheck", "off", "-o", tmp_path / "a.nii.gz")
    assert said(capsys, *ask)[0] == 10
    assert said(capsys, *ask, "--order", called)[0] == 0
    assert labels(tmp_path / "a.nii.gz") == {"Bone": [9, 10, 11], "Liver": [4, 5, 6, 7, 8]}


def test_a_merge_into_a_folder_is_one_file_named_after_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box(tmp_path / "Study 7" / "liver", 4, wide=5)
    box(tmp_path / "Study 7" / "bone", 7, wide=5)

    def written(*inputs: Path, order: Sequence[str] = ("--order", "liver,bone")) -> list[str]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        ask = ("convert", *inputs, "--merge", *order, "-o", f"{out}/", "--crosscheck", "off", "--keep-names")
        code, _, err = said(capsys, *ask)
        assert code == (0 if order else 10), err
        return sorted(p.name for p in out.iterdir()) if out.exists() else []

    study = tmp_path / "Study 7"
    one = ["Study-7.json", "Study-7.nii.gz"]
    assert written(study) == one
    assert written(study / "liver", study / "bone") == one
    assert written(*study.rglob("*.dcm")) == one
    assert written(study, order=()) == []
    (tmp_path / "肝").mkdir()
    for part in ("liver", "bone"):
        (study / part).rename(tmp_path / "肝" / part)
    assert written(tmp_path / "肝") == ["merged.json", "merged.nii.gz"]
