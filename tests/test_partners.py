"""A folder of a patient: masks are converted, their images are partners and no failures, and the folder is said everywhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.cli.main import main
from pipeline.conversion.convert import convert_all
from pipeline.conversion.input_folder import InputFolders, common_folder
from pipeline.conversion.partners import Partnership, find_partners
from pipeline.conversion.request import Request
from pipeline.conversion.source_choice import SourceReferences
from pipeline.core.policy import Policy
from tests.helpers import rtphantom, segs
from tests.helpers.phantom import Edit, Spec, Truth, write
from tests.test_commands import bundle, clean_series

OFF = ("--crosscheck", "off")
QUICK = Policy(crosscheck="off")
SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, radius_mm=4)
GRID = rtphantom.grid(shape=(14, 12, 5))


@dataclass(frozen=True)
class Known:
    """What is known of an image series without its files."""

    uid: str
    frame_of_reference_uid: str = ""
    images: tuple[int, ...] = ()

    def holds_some_of_each(self, images: Sequence[Collection[Hashable]]) -> bool:
        return all(any(one in several for one in self.images) for several in images)


def run(capsys: pytest.CaptureFixture[str], *given: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in given])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def printed_json(capsys: pytest.CaptureFixture[str], *given: object) -> tuple[int, list[dict[str, Any]]]:
    code, out, _ = run(capsys, *given, "--json")
    return code, json.loads(out)


def in_frame(uid: str, **values: Any) -> Edit:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.FrameOfReferenceUID = uid
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


def image(folder: Path, frame_uid: str = "1.2.3", **changes: Any) -> Truth:
    given = {"content": "index", "seed": folder.name, "description": folder.name} | changes
    return write(folder, SMALL, edit=given.pop("edit", in_frame(frame_uid)), **given)


def mask(folder: Path, frame_uid: str = "1.2.3", **changes: Any) -> Truth:
    given = {"seed": folder.name, "description": folder.name, "series_number": 8} | changes
    return write(folder, SMALL, edit=given.pop("edit", in_frame(frame_uid)), **given)


def patient(folder: Path) -> Path:
    """A CT and a structure set of two ROIs."""
    rtphantom.write_images(folder / "ct", GRID, description="chest")
    shapes = [rtphantom.rectangle(2.2 + n, 8.1, 1.3, 6.2) for n in range(2)]
    rois = [
        rtphantom.PhantomRoi(f"organ {n}", [rtphantom.on(GRID, shape, k) for k in (1, 2)], n)
        for n, shape in enumerate(shapes, 1)
    ]
    (folder / "plan").mkdir()
    rtphantom.write_struct(folder / "plan" / "rs.dcm", rois)
    return folder


def header(path: Path) -> bytes:
    """Every byte of the header that says where voxels are, and their shape."""
    raw = nib.load(path).header.binaryblock  # type: ignore[attr-defined]
    return bytes(raw[40:56] + raw[76:92] + raw[252:328])


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The masks in a folder of outputs, each with the image of its source."""
    records = {path: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    images = {r["SeriesInstanceUID"]: folder / r["Output"] for r in records.values() if "Type" not in r}
    masks = [r for r in records.values() if "Type" in r and "SourceSeriesInstanceUID" in r]
    return [(folder / r["Output"], images[r["SourceSeriesInstanceUID"]]) for r in masks]


# --- the rule

CT, PET, SCOUT = Known("ct", "frame", (1, 2)), Known("pet", "frame", (3,)), Known("scout", "other", (4,))
IMAGES = [CT, PET, SCOUT]


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (SourceReferences((), ["ct"]), [Partnership((0,), "series"), None, None]),
        (SourceReferences((), (), [3]), [None, Partnership((0,), "listed image"), None]),
        (SourceReferences([[2], [1]]), [Partnership((0,), "image"), None, None]),
        (
            SourceReferences((), ["ct"], (), "frame"),
            [Partnership((0,), "series"), Partnership((0,), "frame of reference"), None],
        ),
        (SourceReferences(frame_of_reference_uid="frame"), [Partnership((0,), "frame of reference")] * 2 + [None]),
        (SourceReferences((), ["gone"], (), "other"), [None, None, Partnership((0,), "frame of reference")]),
        (SourceReferences((), ["gone"]), [None, None, None]),
        (SourceReferences(), [None, None, None]),
    ],
)
def test_a_partner_is_what_a_mask_names_or_what_lies_in_its_space(
    says: SourceReferences, expected: list[Partnership | None]
) -> None:
    assert find_partners(IMAGES, [[says]]) == expected


def test_a_series_without_a_frame_of_reference_lies_beside_nothing() -> None:
    assert find_partners([Known("a"), Known("b")], [[SourceReferences()]]) == [None, None]


def test_masks_that_name_an_image_count_before_those_in_its_space() -> None:
    near = [SourceReferences(frame_of_reference_uid="frame")]
    named = [SourceReferences((), ["ct"], (), "frame")]
    assert find_partners(IMAGES, [near, named, named])[0] == Partnership((1, 2), "series")
    assert find_partners(IMAGES, [near, named, named])[1] == Partnership((0, 1, 2), "frame of reference")


# --- an ordinary folder


def test_an_image_of_a_structure_set_is_a_partner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = patient(tmp_path / "in")
    code, out, errors = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", *OFF)
    assert (code, errors) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("PARTNER")]
    assert lines == [
        "PARTNER  series without number “chest”  from ct  the image of a mask series; --images writes it too"
    ]
    assert out.splitlines()[-1] == "2 UNCONFIRMED, 1 PARTNER"
    assert "value" not in out.replace("voxels", "")
    code, printed = printed_json(capsys, "convert", folder, "-o", f"{tmp_path}/json/", *OFF)
    assert code == 0
    assert [(p["Verdict"], p["Folder"]) for p in printed] == [
        ("UNCONFIRMED", "plan"),
        ("UNCONFIRMED", "plan"),
        ("PARTNER", "ct"),
    ]
    assert printed[-1]["SeriesInstanceUID"] == rtphantom.IMAGE_SERIES_UID


def test_a_partner_is_written_on_the_grid_of_its_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = patient(tmp_path / "in")
    assert run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", "--images")[0] == 0
    made = pairs(tmp_path / "out")
    assert len(made) == 2
    for own, of_image in made:
        assert header(own) == header(of_image)
    grey = np.asarray(nib.load(made[0][1]).dataobj)  # type: ignore[attr-defined]
    by_place = sorted(map(dcmread, (folder / "ct").iterdir()), key=lambda d: d.ImagePositionPatient[2])
    truth = np.stack([d.pixel_array.T for d in by_place], axis=-1)
    assert sorted(grey.ravel()) == sorted(truth.ravel())
    record = json.loads(made[0][1].with_name(made[0][1].name[:-7] + ".json").read_text("utf-8"))
    assert (record["Verdict"], record["Request"]["Images"], record["Policy"]["As"]) == ("VERIFIED", True, "image")


@pytest.mark.parametrize("images", [(), ("--images",)], ids=["masks", "images too"])
@pytest.mark.parametrize("given", ["ct", "."])
def test_a_source_inside_the_input_is_no_failure(
    given: str, images: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = patient(tmp_path / "in")
    out = tmp_path / "out"
    code, printed, errors = run(capsys, "convert", folder, "--source", folder / given, "-o", f"{out}/", *images, *OFF)
    assert (code, errors) == (0, "")
    assert ("PARTNER" in printed) is not bool(images)
    assert [header(own) == header(other) for own, other in pairs(out)] == [True] * 2 if images else True


def test_a_source_elsewhere_is_written_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = patient(tmp_path / "in")
    shutil.move(folder / "ct", tmp_path / "elsewhere")
    out = tmp_path / "out"
    given = ("convert", folder, "--source", tmp_path / "elsewhere", "-o", f"{out}/", *OFF)
    assert run(capsys, *given, "--images")[0] == 0
    assert [header(own) == header(other) for own, other in pairs(out)] == [True] * 2
    assert "elsewhere" not in json.loads(next(out.glob("chest*.json")).read_text("utf-8")).get("Folder", "")


def test_the_source_of_a_seg_is_a_partner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = segs.source_files(tmp_path / "in" / "mr")
    frame_uid = dcmread(paths[0]).FrameOfReferenceUID
    segs.write_seg(tmp_path / "in" / "seg.dcm", segs.frames_of(segs.blobs(2, overlap=False)), reference=frame_uid)
    code, out, _ = run(capsys, "convert", tmp_path / "in", "-o", f"{tmp_path}/out/", *OFF)
    assert code == 0
    assert "in the Frame of Reference of a mask series" in out
    assert run(capsys, "convert", tmp_path / "in", "-o", f"{tmp_path}/both/", "--images", *OFF)[0] == 0
    assert [header(own) == header(other) for own, other in pairs(tmp_path / "both")] == [True]


def test_a_mask_series_is_laid_on_the_grid_of_its_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has fewer planes. Another mask series in the same space is no image, however its planes lie."""
    folder = tmp_path / "in"
    image(folder / "mr")
    whole = mask(folder / "whole")
    part = mask(folder / "part", series_number=9)
    part.paths[0].unlink()
    code, out, _ = run(capsys, "convert", folder, "-o", f"{tmp_path}/plain/", *OFF)
    assert code == 0
    assert out.splitlines()[-1] == "2 UNCONFIRMED, 1 PARTNER"
    assert run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", "--images", *OFF)[0] == 0
    made = pairs(tmp_path / "out")
    assert [header(own) == header(other) for own, other in made] == [True] * 2
    counts = [int(np.count_nonzero(np.asarray(nib.load(own).dataobj))) for own, _ in made]  # type: ignore[attr-defined]
    assert counts == [np.count_nonzero(whole.ijk), np.count_nonzero(part.ijk[:, :, 1:])]


def test_a_mask_that_fits_several_images_stays_on_its_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both hold its voxels, on two grids: nothing says which is meant."""
    folder = tmp_path / "in"
    image(folder / "short")
    image(folder / "long", shape=(9, 7, 8), series_number=12)
    mask(folder / "mask")
    code, out, _ = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", "--images", *OFF)
    assert code == 0
    assert "left on its own grid" in " ".join(out.split())
    assert out.splitlines()[-1] == "3 UNCONFIRMED"


def test_a_mask_series_names_its_image_by_derivation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    source = image(folder / "mr", "1.2.3")
    image(folder / "other", "1.2.3", series_number=12)
    named = Dataset()
    named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", source.sop_uids[1]
    mask(folder / "mask", edit=in_frame("1.2.3", SourceImageSequence=[named]))
    _, out, _ = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", *OFF)
    assert "from mr  the image of a mask series" in out
    assert "from other  in the Frame of Reference of a mask series" in out
    run(capsys, "convert", folder, "-o", f"{tmp_path}/both/", "--images", *OFF)
    ((own, other),) = pairs(tmp_path / "both")
    assert "mr" in other.name
    assert header(own) == header(other)


def test_a_bundle_and_its_clean_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    made = bundle(folder / "bundle", "--dicom", "bone")
    shutil.copytree(clean_series(made), folder / "clean")
    code, out, _ = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", *OFF)
    assert code == 0
    assert "PARTNER" in out
    assert run(capsys, "convert", folder, "-o", f"{tmp_path}/both/", "--images", *OFF)[0] == 0
    assert [header(own) == header(other) for own, other in pairs(tmp_path / "both")] == [True]


# --- what is neither mask nor partner


def test_an_image_of_another_space_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    mask(folder / "mask", "1.2.3")
    image(folder / "scout", "4.5.6")
    code, out, errors = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", *OFF)
    assert (code, errors) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("PASSED")]
    assert "from scout" in line
    assert "--as image" in line
    assert out.splitlines()[-1] == "1 UNCONFIRMED, 1 PASSED"
    run(capsys, "convert", folder, "-o", f"{tmp_path}/both/", "--images", *OFF)
    assert [path.name for path in sorted((tmp_path / "both").glob("*.nii.gz"))] == ["8_mask.nii.gz"]


def test_images_alone_are_refused_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two", "three"):
        image(tmp_path / "in" / name)
    code, out, errors = run(capsys, "convert", tmp_path / "in", "-o", f"{tmp_path}/out/", *OFF)
    assert code == 10
    assert out.count("PASSED") == 4  # three lines, and the count of them
    assert errors.count("REFUSED") == 1 + errors.count("(REFUSED)")
    assert "None of the 3 image series" in errors
    assert "Values that stand out" not in errors


def test_one_image_alone_shows_its_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(tmp_path / "in")
    code, _, errors = run(capsys, "convert", tmp_path / "in", "-o", f"{tmp_path}/out/", *OFF)
    assert code == 10
    assert "Values that stand out" in " ".join(errors.split())  # wherever the line is broken


def test_a_series_of_labels_is_a_mask_whatever_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is written as a mask, and with --images as an image too."""
    folder = tmp_path / "in"
    source = mask(folder / "labels", rtphantom.FRAME_UID)
    named = Dataset()
    named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", source.sop_uids[1]
    mask(folder / "derived", rtphantom.FRAME_UID, series_number=9, edit=in_frame("1.2.3", SourceImageSequence=[named]))
    assert run(capsys, "convert", folder, "-o", f"{tmp_path}/both/", "--images", *OFF)[0] == 0
    names = sorted(path.name for path in (tmp_path / "both").glob("*.nii.gz"))
    assert names == ["8_labels.nii.gz", "8_labels_image.nii.gz", "9_derived.nii.gz"]


def test_a_broken_mask_series_stays_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a broken image does not: its values are no labels."""
    folder = tmp_path / "in"
    mask(folder / "good")
    mask(folder / "bad", series_number=9).paths[2].unlink()
    image(folder / "mr", shape=(9, 8, 7)).paths[2].unlink()
    code, out, errors = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", *OFF)
    assert code == 8
    assert "MISSING_PLANES  from bad" in errors
    assert errors.count("MISSING_PLANES") == 1
    assert out.splitlines()[-1] == "1 UNCONFIRMED, 1 REFUSED, 1 PARTNER"
    code, out, _ = run(capsys, "convert", folder / "good", folder / "mr", "-o", f"{tmp_path}/b/", "--images", *OFF)
    assert code == 0  # nothing names the image
    assert "beside masks, and not written: MISSING_PLANES" in out


def test_a_named_image_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    source = image(folder / "mr", shape=(9, 8, 7))
    source.paths[2].unlink()
    named = Dataset()
    named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", source.sop_uids[1]
    mask(folder / "mask", edit=in_frame("1.2.3", SourceImageSequence=[named]))
    assert run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", *OFF)[0] == 0
    code, _, errors = run(capsys, "convert", folder, "-o", f"{tmp_path}/both/", "--images", *OFF)
    assert code == 8
    assert "MISSING_PLANES  from mr" in errors


def test_what_may_hide_a_mask_stays_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    mask(folder / "mask")
    image(folder / "mr")
    (folder / "mr" / "lost.dcm").write_bytes(next((folder / "mr").iterdir()).read_bytes()[:200])
    code, _, errors = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", *OFF)
    assert code == 8
    assert "CORRUPT_FILE  from mr" in errors


@pytest.mark.parametrize("others", [("--merge",), ("--like", "{mask}"), ("--as", "image"), ("--series", "8")])
def test_images_that_cannot_share_a_grid_are_no_option(
    others: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    mask(folder)
    assert run(capsys, "convert", folder, "-o", tmp_path / "mask.nii", *OFF)[0] == 0
    words = [word.format(mask=tmp_path / "mask.nii") for word in others]
    code, _, errors = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", "--images", *words, *OFF)
    assert code == 64
    assert "--images has no effect here" in errors
    assert run(capsys, "convert", folder, "-o", tmp_path / "two.nii", "--images", *OFF)[0] == 64


def test_from_python_partners_are_no_refusals(tmp_path: Path) -> None:
    folder = patient(tmp_path / "in")
    done, refused = convert_all(folder, tmp_path / "out", policy=QUICK)
    assert ([made.folder for made in done], refused) == (["plan"] * 2, [])
    done, refused = convert_all(folder, tmp_path / "both", policy=QUICK, request=Request(images=True))
    assert ([made.folder for made in done], refused) == (["plan", "plan", "ct"], [])


# --- where an input came from


def test_a_folder_tells_patients_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Doe", "Roe"):
        mask(tmp_path / name / "mask", seed=name, description="liver")
        mask(tmp_path / name / "empty", seed=f"{name} 2", labels=(0,), description="empty")
    for given in ([tmp_path], [tmp_path / "Doe", tmp_path / "Roe"]):
        out = tmp_path.parent / f"out {len(given)}"
        code, printed, errors = run(capsys, "convert", *given, "-o", f"{out}/", *OFF)
        assert code == 8
        assert {"from Doe/mask", "from Roe/mask"} <= set(re.findall(r"from \w+/mask", printed))
        assert {"from Doe/empty", "from Roe/empty"} <= set(re.findall(r"from \w+/empty", errors))
        _, records = printed_json(capsys, "convert", *given, "-o", f"{out} json/", *OFF)
        assert sorted(r["Folder"] for r in records) == ["Doe/empty", "Doe/mask", "Roe/empty", "Roe/mask"]
        assert str(tmp_path) not in json.dumps(records)


def test_a_record_holds_no_folder_that_names_the_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in" / "P-0815 doe, john" / "study_p0815" / "mask"
    mask(folder, edit=in_frame("1.2.3", PatientID="P0815", PatientName="Doe^John"))
    _, (printed,) = printed_json(capsys, "convert", tmp_path / "in", "-o", f"{tmp_path}/out/", *OFF)
    assert printed["Folder"] == "P-0815 doe, john/study_p0815/mask"
    text = next((tmp_path / "out").glob("*.json")).read_text("utf-8")
    assert not re.search("doe|0815|study", text, re.IGNORECASE)
    assert printed_json(capsys, "convert", tmp_path / "in", "-o", f"{tmp_path}/named/", *OFF, "--keep-names")[0] == 0
    record = json.loads(next((tmp_path / "named").glob("*.json")).read_text("utf-8"))
    assert record["Folder"] == "P-0815 doe, john/study_p0815/mask"


def test_a_folder_is_relative_to_the_input_that_holds_it(tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "CT", tmp_path / "b" / "CT"
    for folder in (one, two):
        folder.mkdir(parents=True)
    assert InputFolders([one]).folder_of([one / "x"]) == "."
    assert InputFolders([tmp_path]).folder_of([one / "x", one / "y"]) == "a/CT"
    assert InputFolders([tmp_path, one]).folder_of([one / "x"]) == "a/CT"
    assert InputFolders([tmp_path / "a", tmp_path / "b"]).folder_of([two / "x"]) == "b/CT"
    assert InputFolders([one, two]).folder_of([two / "deep" / "x"]) == "b/CT/deep"
    assert InputFolders([one, two]).folder_of([one / "x", two / "x"]) == ""
    assert InputFolders([one]).folder_of([tmp_path / "x"]) == ""
    (one / "x").touch()
    assert InputFolders([one / "x"]).folder_of([one / "x"]) == "."
    assert common_folder(["a/CT", "a/MR"]) == "a"
    assert common_folder([".", "a"]) == "."
    assert common_folder(["a", ""]) == ""


def test_a_folder_of_an_archive_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask(tmp_path / "in" / "mask")
    shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "in")
    _, (printed,) = printed_json(capsys, "convert", tmp_path / "export.zip", "-o", f"{tmp_path}/out/", *OFF)
    assert printed["Folder"] == "mask"


# --- real files


def test_the_ibsi_tree_is_nine_pairs(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = samples / "theibsi+data_sets" / "ibsi_validation" / "dicom"
    code, out, errors = run(capsys, "convert", tree, "-o", f"{tmp_path}/plain/", *OFF)
    assert (code, errors) == (0, "")
    assert out.splitlines()[-1] == "9 UNCONFIRMED, 9 PARTNER"
    assert run(capsys, "convert", tree, "-o", f"{tmp_path}/out/", "--images", *OFF)[0] == 0
    made = pairs(tmp_path / "out")
    assert len({image for _, image in made}) == len(made) == 9
    assert [header(own) == header(other) for own, other in made] == [True] * 9
    assert not any("Folder" in json.loads(path.read_text("utf-8")) for path in (tmp_path / "out").glob("*.json"))


def test_a_seg_of_a_source_of_few_values(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = samples / "QIICR+dcmqi" / "data" / "segmentations" / "24x38x3"
    code, out, _ = run(capsys, "convert", folder, "-o", f"{tmp_path}/out/", "--images", *OFF)
    assert code == 0
    assert "123456_Image-24x38x3_image.nii.gz" in out
    assert next(header(own) == header(other) for own, other in pairs(tmp_path / "out"))
    _, out, _ = run(capsys, "convert", folder, "-o", f"{tmp_path}/plain/", *OFF)
    assert "and a mask itself by its few values; --images writes it as an image too" in out
