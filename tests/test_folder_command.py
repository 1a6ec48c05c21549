"""`verimask FOLDER` through the command line: what it says, what it writes, and that every command it names can be typed."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.cli.folder import name_of
from pipeline.cli.main import main
from pipeline.conversion.page_file import is_page
from pipeline.core import extras
from pipeline.core.shell_words import join_words
from tests.helpers.cases import DATA, needs_samples
from tests.helpers.phantom import Spec, Truth, write

SMALL = Spec(shape=(24, 20, 9), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=16, radius_mm=4)
STUDY = "theibsi+data_sets/ibsi_validation/dicom/STS_008/CT"
PATIENTS = "theibsi+data_sets/ibsi_validation/dicom"
FAILING = "icometrix+dicom2nifti/tests/data/failing"


class Ran(NamedTuple):
    """One command line: its exit code, and the lines on its streams."""

    exit: int
    out: list[str]
    err: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands that it names, as the shell would pass them."""
        named = [line for line in self.out if line.startswith(" " * 8)]
        assert all(line.strip().startswith("verimask ") for line in named), named
        return [shlex.split(line)[1:] for line in named]

    def file(self, name: str) -> str:
        """The line of one result."""
        return next(line for line in self.out if f"  {name}  " in line)


class Shell:
    """A folder in which commands are typed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, *arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        return Ran(int(ended.value.code or 0), out.splitlines(), err)

    def names(self, folder: str) -> set[str]:
        return {path.name for path in (self.folder / folder).iterdir()}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return Shell(capsys, tmp_path)


def image(folder: Path, *, number: int = 3, description: str = "CT", **changes: Any) -> Truth:
    """A series of grey values."""

    def edit(_: int, dataset: Dataset) -> None:
        dataset.SeriesNumber, dataset.SeriesDescription = number, description

    return write(folder, SMALL, content="grey", edit=edit, **changes)


def draw(clean: Truth, folder: Path, value: int) -> np.ndarray[Any, Any]:
    """The same series with a mask burned into it. Returns the mask, (i, j, k)."""
    folder.mkdir(parents=True)
    mask = np.zeros(SMALL.shape, bool)
    mask[6:15, 5:12, 2:6] = True
    for k, path in enumerate(clean.paths):
        dataset = dcmread(path)
        pixels = dataset.pixel_array.copy()
        pixels[mask[:, :, k].T] = value
        dataset.PixelData, dataset.SeriesNumber, dataset.SeriesDescription = pixels.tobytes(), 4, "CT with mask"
        dataset.SeriesInstanceUID = dataset.SeriesInstanceUID[:60] + ".1"
        dataset.SOPInstanceUID = dataset.SOPInstanceUID[:60] + ".1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / path.name)
    return mask


def bytes_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


# What is plain


def test_one_mask_has_its_page_as_the_last_line(shell: Shell) -> None:
    truth = write(shell.folder / "liver", SMALL)
    ran = shell("liver")
    assert ran.exit == 0
    assert ran.err == ""
    assert ran.out[0] == "liver holds 1 DICOM series of one patient:"
    assert ran.out[1].startswith("  series 7  CT: 9 planes of 24 × 20 pixels")
    assert ran.out[-1] == "The page that shows it: liver-nifti/7_phantom.html"
    assert any(
        line.startswith("VERIFIED: every plane lies where its own DICOM header puts it (0.0000 mm") for line in ran.out
    )
    assert "dicom2nifti" in " ".join(ran.out)
    assert "mask: phantom" in ran.file("7_phantom.nii.gz")
    assert shell.names("liver-nifti") == {"7_phantom.nii.gz", "7_phantom.json", "7_phantom.html"}
    assert ran.commands == []
    written = nibabel.load(shell.folder / "liver-nifti/7_phantom.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj) != 0, truth.ijk != 0)
    assert np.abs(written.affine - truth.ras).max() < 1e-4


def test_the_samples_of_the_project(shell: Shell) -> None:
    ran = shell(DATA / "samples")
    assert ran.exit == 0
    assert sum(line.startswith("  VERIFIED  ") for line in ran.out) == 9
    assert ran.out[-1] == "The page that shows it: samples-nifti/index.html"
    assert is_page(shell.folder / "samples-nifti/index.html")
    assert sum(name.endswith(".html") for name in shell.names("samples-nifti")) == 10
    assert not [line for line in ran.out if "Not converted" in line]


@needs_samples
def test_contours_come_with_the_image_they_were_drawn_on(shell: Shell, samples: Path) -> None:
    (shell.folder / "CT").symlink_to(samples / STUDY)
    ran = shell("CT")
    assert ran.exit == 0
    assert "RTSTRUCT: masks as contours, 1 structure: GTV_Mass_CT" in ran.out[1]
    assert ran.out[-1] == "The page that shows it: CT-nifti/index.html"
    mask, grey = (
        f"{name}.nii.gz" for name in ("1_IBSI_1_STS_008_CT_mask_seg-GTV_Mass_CT", "2_IBSI_1_STS_008_CT_image")
    )
    assert ran.file(mask).endswith("mask: GTV_Mass_CT  from mask")
    assert ran.file(grey).endswith("image")
    page = (shell.folder / "CT-nifti" / mask.replace(".nii.gz", ".html")).read_text("utf-8")
    assert f"{grey}, lies on the same grid as this mask" in page
    shell("convert", samples / STUDY, "-o", "plain/", "--images")
    for name in (mask, grey):
        ours, theirs = (nibabel.load(shell.folder / folder / name) for folder in ("CT-nifti", "plain"))
        assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        assert np.array_equal(ours.affine, theirs.affine)


def test_a_mask_and_its_image_from_an_export(shell: Shell) -> None:
    image(shell.folder / "study/ct")
    write(shell.folder / "study/liver", SMALL, edit=patient("", series=".1"))
    ran = shell("study")
    assert ran.exit == 0
    assert "mask: phantom" in ran.file("7_phantom.nii.gz")
    assert shell.names("study-nifti") >= {"index.html", "7_phantom.nii.gz"}


@pytest.mark.parametrize("one_series", [True, False])
def test_masks_that_only_their_folders_name_are_told_apart(shell: Shell, one_series: bool) -> None:
    """Names of folders are not written: the line of each says where it is from, and the last one how it gets its name."""

    def of(number: int) -> Any:
        def edit(_: int, dataset: Dataset) -> None:
            dataset.SeriesDescription = ""
            dataset.SeriesInstanceUID = (
                "1.2.826.0.1.3680043.10.1111.5" if one_series else f"{dataset.SeriesInstanceUID}.{number}"
            )

        return edit

    for number, name in enumerate(("liver", "tumour")):
        write(shell.folder / "masks" / name, replace(SMALL, radius_mm=3 + number), edit=of(number))
    ran = shell("masks")
    lines = [line for line in ran.out if line.startswith("  VERIFIED")]
    assert [line.split("  ")[-1] for line in lines] == ["from liver", "from tumour"]
    assert any("--keep-names calls masks by them" in line for line in ran.out)
    named = shell("masks", "--keep-names")
    assert [line.split("mask: ")[1].split("  ")[0] for line in named.out if "mask: " in line] == ["liver", "tumour"]
    assert not any("--keep-names" in line for line in named.out)


def test_images_alone_are_what_is_wanted(shell: Shell) -> None:
    truth = image(shell.folder / "ct")
    ran = shell("ct")
    assert ran.exit == 0
    assert ran.file("3_CT.nii.gz").endswith("image")
    assert ran.out[-1] == "The page that shows it: ct-nifti/3_CT.html"
    written = nibabel.load(shell.folder / "ct-nifti/3_CT.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), truth.ijk)
    (values,) = ran.commands  # shows what may be burned in
    assert values == ["convert", "ct", "--list-values"]
    assert shell(*values).exit == 0


def test_a_mask_drawn_into_an_image_is_found_by_the_image_without_it(shell: Shell) -> None:
    clean = image(shell.folder / "my export/clean")
    mask = draw(clean, shell.folder / "my export/drawn", 4000)
    ran = shell("my export")
    assert ran.exit == 0
    assert "Series 4 “CT with mask” is series 3 “CT” with a mask drawn into it. The mask as a file:" in ran.out
    (command,) = ran.commands
    assert command[:4] == ["convert", "my export", "--series", "4"]
    assert shell(*command).exit == 0
    written = nibabel.load(shell.folder / command[-1])
    assert np.array_equal(np.asarray(written.dataobj) != 0, mask)


def test_two_images_on_the_same_planes_are_no_drawn_mask(shell: Shell) -> None:
    image(shell.folder / "mr/a")
    other = image(shell.folder / "mr/b", number=4, seed="b")
    for path in other.paths:  # another contrast
        dataset = dcmread(path)
        dataset.PixelData = (dataset.pixel_array // 3 + 7).astype(dataset.pixel_array.dtype).tobytes()
        dataset.save_as(path)
    ran = shell("mr")
    assert ran.exit == 0
    assert not [line for line in ran.out if "drawn into it" in line]


# What is there already


def test_a_second_run_passes_over_what_is_proven(shell: Shell) -> None:
    write(shell.folder / "liver", SMALL)
    shell("liver")
    before = bytes_below(shell.folder / "liver-nifti")
    ran = shell("liver")
    assert ran.exit == 0
    assert ran.file("7_phantom.nii.gz").startswith("  VERIFIED  ")
    assert ran.file("7_phantom.nii.gz").endswith("mask: phantom, was there already")
    assert ran.out[-1] == "The page that shows it: liver-nifti/7_phantom.html"
    assert bytes_below(shell.folder / "liver-nifti") == before


def test_a_file_that_is_not_proven_is_left_alone(shell: Shell) -> None:
    write(shell.folder / "liver", SMALL)
    (shell.folder / "liver-nifti").mkdir()
    foreign = shell.folder / "liver-nifti/7_phantom.nii.gz"
    foreign.write_bytes(b"somebody's")
    ran = shell("liver")
    assert ran.exit == 6
    assert foreign.read_bytes() == b"somebody's"
    assert any("was left alone" in line for line in ran.out)
    assert ran.out[-1] == "Nothing was converted."
    (command,) = ran.commands
    assert shell(*command).exit == 0
    assert foreign.read_bytes() == b"somebody's"


def test_a_foreign_page_is_left_alone(shell: Shell) -> None:
    write(shell.folder / "all/a", SMALL)
    write(shell.folder / "all/b", SMALL, seed="b")
    (shell.folder / "all-nifti").mkdir()
    (shell.folder / "all-nifti/index.html").write_text("mine")
    ran = shell("all")
    assert ran.exit == 8
    assert (shell.folder / "all-nifti/index.html").read_text() == "mine"
    assert any("index.html is there and is no page of verimask" in line for line in ran.out)


# What is not plain


def test_planes_that_are_missing(shell: Shell) -> None:
    truth = image(shell.folder / "ct")
    truth.paths[4].unlink()
    ran = shell("ct")
    assert ran.exit == 10
    assert "Not converted, each with its reason and what to type next:" in ran.out
    assert any("1 plane is missing" in line for line in ran.out)
    assert ran.out[-1] == "Nothing was converted."
    (command,) = ran.commands
    assert shell(*command).exit == 0


@needs_samples
def test_what_a_scanner_left_uneven_can_be_converted_by_the_commands_named(shell: Shell, samples: Path) -> None:
    ran = shell(samples / FAILING)
    assert ran.exit == 8
    assert ran.out[-1] == "The page that shows it: failing-nifti/index.html"
    _values, *named = ran.commands
    # The second leans too, and planes at one position are refused in full words.
    assert [shell(*command).exit for command in named] == [0, 10, 10, 0]


def test_contours_without_their_images_need_a_folder(shell: Shell, samples: Path) -> None:
    ran = shell(samples / STUDY / "mask")
    assert ran.exit == 2
    (command,) = ran.commands
    command[command.index("IMAGE_FOLDER")] = str(samples / STUDY / "image")
    assert shell(*command).exit == 0


def test_several_patients_are_for_cohort(shell: Shell) -> None:
    for name in ("anna", "berta"):
        write(shell.folder / "all" / name / "ct", SMALL, content="grey", seed=name, edit=patient(name))
        write(shell.folder / "all" / name / "liver", SMALL, seed=name, edit=patient(name, series=".1"))
    ran = shell("all")
    assert ran.exit == 2
    assert ran.out[0] == "all holds 4 DICOM series of 2 patients:"
    assert {path.name for path in shell.folder.iterdir()} == {"all"}
    everything, one = ran.commands
    assert everything == ["cohort", "all", "-o", "all-dataset/"]
    assert shell(*everything, "--dry-run").exit == 0
    assert shell(*one).exit == 0


def patient(name: str, series: str = "") -> Any:
    """Another patient's name, and the end of another series' UID."""

    def edit(_: int, dataset: Dataset) -> None:
        dataset.PatientID = dataset.PatientName = name
        dataset.SeriesInstanceUID = dataset.SeriesInstanceUID[:60] + series
        dataset.SOPInstanceUID = dataset.SOPInstanceUID[:60] + series

    return edit


def test_a_mask_that_lost_the_patient_is_of_the_same_study(shell: Shell) -> None:
    image(shell.folder / "one/ct")
    write(shell.folder / "one/liver", SMALL, edit=patient("anonymous", series=".1"))
    ran = shell("one")
    assert ran.out[0] == "one holds 2 DICOM series of one patient:"
    assert ran.exit == 0


# What is no DICOM


def test_a_nifti_file_and_a_folder_of_them(shell: Shell) -> None:
    truth = write(shell.folder / "liver", SMALL)
    shell("liver")
    shutil.copy(shell.folder / "liver-nifti/7_phantom.nii.gz", shell.folder / "m.nii.gz")
    ran = shell("m.nii.gz")
    assert ran.exit == 2
    assert ran.out[0].startswith("m.nii.gz is a NIfTI file")
    assert [command[0] for command in ran.commands] == ["check", "diagnose", "explain", "export"]
    for command in ran.commands:
        typed = [str(truth.folder) if word == "DICOM_FOLDER" else word for word in command]
        assert shell(*typed).exit == 0, command
    (shell.folder / "others").mkdir()
    shutil.copy(shell.folder / "m.nii.gz", shell.folder / "others/MASK.nii.gz")
    folder = shell("others")
    assert folder.exit == 2
    assert folder.out[0].startswith("others holds NIfTI files and no DICOM")


def test_a_folder_without_dicom(shell: Shell) -> None:
    (shell.folder / "empty").mkdir()
    (shell.folder / "pictures").mkdir()
    (shell.folder / "pictures/a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    for name, words in (("empty", "0 files of empty"), ("pictures", "a.png is a picture, not DICOM")):
        ran = shell(name)
        assert ran.exit == 2
        assert words in ran.err
        assert {path.name for path in shell.folder.iterdir()} == {"empty", "pictures"}
    assert shell("not/there").exit == 5


# Where results go


def test_an_archive_is_a_folder(shell: Shell) -> None:
    truth = write(shell.folder / "liver", SMALL)
    with zipfile.ZipFile(shell.folder / "export.zip", "w") as archive:
        for path in truth.paths:
            archive.write(path, path.name)
    ran = shell("export.zip")
    assert ran.exit == 0
    assert ran.out[-1].startswith("The page that shows it: export-nifti/")


def test_results_are_called_by_what_was_given(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/ct", "a/mask"):
        (shell.folder / name).mkdir(parents=True)
    for name in ("a/ct/IM1", "a/ct/IM2", "a/DICOMDIR", "b.zip"):
        (shell.folder / name).touch()
    for given, name in {
        ("a",): "a",
        ("a/",): "a",
        ("a/ct/IM1", "a/ct/IM2"): "ct",
        ("a/ct", "a/mask"): "a",
        ("a/DICOMDIR",): "a",
        ("b.zip",): "b",
    }.items():
        assert name_of([Path(path) for path in given]) == name
    monkeypatch.chdir(shell.folder / "a/ct")
    assert name_of([Path()]) == "ct"
    assert name_of([Path(shell.folder.root)]) == "dicom"


def test_a_run_in_the_folder_itself_does_not_read_its_own_results(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(shell.folder / "liver", SMALL)
    monkeypatch.chdir(shell.folder / "liver")
    assert shell(".").exit == 0
    ran = shell(".")
    assert ran.out[0] == ". holds 1 DICOM series of one patient:"
    assert ran.file("7_phantom.nii.gz").endswith("was there already")


# Options


def test_without_the_packages_of_the_page_the_conversion_is_done(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", lacking)
    write(shell.folder / "liver", SMALL)
    ran = shell("liver")
    assert ran.exit == 0
    assert shell.names("liver-nifti") == {"7_phantom.nii.gz", "7_phantom.json"}
    assert "pip install 'verimask[report]'" in " ".join(ran.out)
    assert not [line for line in ran.out if "The page that shows it" in line]


def test_json_and_quiet(shell: Shell) -> None:
    write(shell.folder / "liver", SMALL)
    assert shell("liver", "-q").out == []
    document = json.loads("\n".join(shell("--json", "liver").out))
    assert (document["Folder"], document["Page"]) == ("liver-nifti", "7_phantom.html")
    assert [result["Verdict"] for result in document["Results"]] == ["SKIPPED"]
    record = json.loads((shell.folder / "liver-nifti/7_phantom.json").read_text("utf-8"))
    assert record["Provenance"]["Command"] == ["verimask", "input", "-q"]


def test_help_says_what_is_plain(shell: Shell) -> None:
    (shell.folder / "liver").mkdir()
    ran = shell("liver", "--help")
    assert ran.exit == 0
    assert ran.out[0] == "usage: verimask FOLDER [FOLDER ...] [-h] [--keep-names] [--strip WHAT] [--json] [-q]"


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("C:\\data\\ct", "C:\\data\\ct"),
        ("C:\\my data\\", '"C:\\my data"'),
        ("C:\\", "C:\\"),
        ("cost$5", "'cost$5'"),
        ("it's", '"it\'s"'),
    ],
)
def test_a_command_is_quoted_for_the_shells_of_windows(word: str, quoted: str) -> None:
    assert join_words(["verimask", word], windows=True) == f"verimask {quoted}"


def test_a_command_is_quoted_for_other_shells() -> None:
    assert join_words(["verimask", "it's here"], windows=False) == """verimask 'it'"'"'s here'"""
