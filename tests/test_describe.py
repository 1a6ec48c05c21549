"""A description has the geometry of a folder and nothing of a patient, and what is made of it converts as the folder does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.sequence import Sequence as Items

from pipeline.cli.main import main
from pipeline.core.findings import Code, PipelineError
from pipeline.diagnosis.contour_outline import outline
from pipeline.diagnosis.describe import describe
from pipeline.regression.recipes import make_inputs
from pipeline.regression.recipes.described import read_description, write_described
from tests.helpers.cases import DATA, needs_samples, real_samples
from tests.helpers.mosaics import Mosaic, write_grid
from tests.helpers.phantom import Spec, write

ROOT = Path(__file__).parents[1]
SMALL = Spec(shape=(20, 17, 9), row_spacing=1.3, column_spacing=0.8, step=2.1, radius_mm=6)
TEXTS = {"AE": 16, "CS": 16, "LO": 64, "LT": 80, "PN": 60, "SH": 16, "ST": 80, "UC": 80, "UR": 80, "UT": 80}
MARKER, DATE, TIME, UID = "ZQMARKER", "19871203", "235847", "1.2.840.99.777777"
LOOKED_FOR = re.compile("zqmarker|19871203|235847|777777|041Y", re.I)
# Markers there would make the files no images or masks any more, and nothing would be described.
STRUCTURE = frozenset(
    "SOPClassUID ImageType SegmentationType SegmentationFractionalType PhotometricInterpretation ContourGeometricType".split()
)
SAMPLES = {
    "ct": "theibsi+data_sets/ibsi_validation/dicom/STS_008",
    "missing plane": "icometrix+dicom2nifti/tests/data/failing/sliceincrement/001",
    "tilt": "icometrix+dicom2nifti/tests/data/failing/gantrytilting/001",
    "two orientations": "icometrix+dicom2nifti/tests/data/failing/sliceorientation/001",
    "enhanced": "icometrix+dicom2nifti/tests/data/siemens_multiframe/anatomical/001",
    "mosaic": "neurolabusc+dcm_qa/In",
    "structure sets": "qurit+rt-utils/tests/mock_data",
    "segmentations": "ImagingDataCommons+highdicom",
}
RECIPES: dict[str, dict[str, Any]] = {
    "image": {"kind": "image", "GantryDetectorTilt": 12},
    "gap": {"kind": "image", "missing_slices": [4, 5], "SOPClassUID": "MRImageStorage"},
    "duplicates": {"kind": "image", "duplicate_slices": [3], "duplicates_differ": True},
    "without": {"kind": "image", "without": ["ImageOrientationPatient"]},
    "mask": {"kind": "mask", "labels": [1, 2, 3]},
    "enhanced": {"kind": "image", "SOPClassUID": "EnhancedCTImageStorage"},
    "seg": {"kind": "seg"},
    "rtstruct": {"kind": "rtstruct"},
    "implicit": {"kind": "image", "TransferSyntaxUID": "ImplicitVRLittleEndian"},
    "big endian": {"kind": "image", "TransferSyntaxUID": "ExplicitVRBigEndian"},
}


def run(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-W", "ignore", "-m", "pipeline", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(given, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def shown(description: dict[str, Any]) -> list[dict[str, Any]]:
    """What was described of each series, but for what is only counted."""
    return [{k: v for k, v in series.items() if k != "NotShown"} for series in description["Series"]]


def results(folder: Path, out: Path) -> list[Any]:
    """Verdict, shape, affine and refusing codes of all that a folder gives."""
    done = run("convert", folder, "-o", f"{out}/", "--json")
    found = []
    for record in json.loads(done.stdout) if done.stdout.startswith("[") else [json.loads(done.stdout)]:
        codes = sorted({f["Code"] for f in record.get("Findings", ()) if f.get("Severity") == "ERROR"})
        found.append((record["Verdict"], record.get("Shape"), record.get("Affine"), codes))
    return sorted(found, key=str)


def rebuilt(folder: Path, target: Path) -> dict[str, Any]:
    """Describe a folder, make files of that, and hold their description against it; return the first."""
    made = describe([folder], names=False)
    target.mkdir()
    write_described(target, json.loads(json.dumps(made)))
    assert shown(describe([target], names=False)) == shown(made)
    return made


@pytest.mark.parametrize("name", RECIPES)
def test_phantoms_come_back(tmp_path: Path, name: str) -> None:
    make_inputs(RECIPES[name], tmp_path / "in")
    rebuilt(tmp_path / "in", tmp_path / "made")
    assert results(tmp_path / "made", tmp_path / "b") == results(tmp_path / "in", tmp_path / "a")


@pytest.mark.parametrize("slab", [False, True])
def test_a_siemens_mosaic_comes_back(tmp_path: Path, slab: bool) -> None:
    (tmp_path / "in").mkdir()
    Mosaic(SMALL, slab=slab).write(tmp_path / "in" / "a.dcm")
    made = rebuilt(tmp_path / "in", tmp_path / "made")
    assert made["Series"][0]["Files"][0]["SiemensMosaic"]["NumberOfImagesInMosaic"] == 9
    assert results(tmp_path / "made", tmp_path / "b") == results(tmp_path / "in", tmp_path / "a")


def test_a_united_imaging_grid_comes_back(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_grid(tmp_path / "in" / "a.dcm", SMALL)
    rebuilt(tmp_path / "in", tmp_path / "made")
    assert results(tmp_path / "made", tmp_path / "b") == results(tmp_path / "in", tmp_path / "a")


@needs_samples
@pytest.mark.parametrize("name", SAMPLES)
def test_real_series_come_back(tmp_path: Path, name: str) -> None:
    folder = real_samples() / SAMPLES[name]
    rebuilt(folder, tmp_path / "made")
    assert results(tmp_path / "made", tmp_path / "b") == results(folder, tmp_path / "a")


@needs_samples
@pytest.mark.parametrize("name", ["compressed", "rgb"])
def test_a_compressed_series_comes_back_uncompressed(tmp_path: Path, name: str) -> None:
    folder = real_samples() / f"icometrix+dicom2nifti/tests/data/generic/{name}/001"
    made = describe([folder], names=False)
    assert "JPEG2000" in json.dumps(made)
    write_described(tmp_path / "made", made)
    assert results(tmp_path / "made", tmp_path / "b") == results(folder, tmp_path / "a")


def test_unreadable_files_come_back(tmp_path: Path) -> None:
    write(tmp_path / "in", SMALL, content="grey")
    files = sorted((tmp_path / "in").iterdir())
    files[4].write_bytes(files[4].read_bytes()[:200])
    (tmp_path / "in" / "notes.txt").write_text("nothing of DICOM")
    made = describe([tmp_path / "in"], names=False)
    assert {(one["Why"], one["MayBePlane"]) for one in made["Unread"]} >= {("not DICOM", False)}
    write_described(tmp_path / "made", made)
    assert results(tmp_path / "made", tmp_path / "b") == results(tmp_path / "in", tmp_path / "a")


def plant(dataset: Dataset, private: bool = True) -> Iterator[str]:
    """Put a marker into every attribute of text, time or UID that the standard has; yield their keywords.

    Of the items of a sequence the first two and the last have them: hundreds of contours would each have 1 800 more.
    """
    for sequence in [e for e in dataset if e.VR == "SQ"]:
        for number, item in enumerate(sequence.value, 1):
            if number <= 2 or number == len(sequence.value):
                yield from plant(item)
    for tag in DicomDictionary:
        keyword, vr = keyword_for_tag(tag), dictionary_VR(tag)
        if tag < 0x00080000 or tag >= 0x7FE00000 or not keyword or keyword in STRUCTURE:
            continue
        if vr in TEXTS:
            dataset.add_new(tag, vr, f"{MARKER} {tag & 0xFFFF:X}"[: TEXTS[vr]])
        elif vr in ("DA", "TM", "DT", "AS"):
            dataset.add_new(tag, vr, {"DA": DATE, "TM": TIME, "DT": DATE + TIME, "AS": "041Y"}[vr])
        elif vr == "UI" and keyword not in dataset:
            dataset.add_new(tag, vr, f"{UID}.{tag}")
        else:
            continue
        yield keyword
    dataset.add_new(0x00110010, "LO", MARKER)
    dataset.add_new(0x00111001, "LO", f"{MARKER} private")
    dataset.add_new(0x00111002, "UN", MARKER.encode())
    inside = Dataset()
    inside.PatientName = MARKER
    dataset.add_new(0x00111003, "SQ", Items([inside]))


def test_nothing_of_a_patient_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / MARKER / f"{MARKER}^{DATE}"
    for kind in ("image", "seg", "rtstruct"):
        make_inputs({"kind": kind}, folder / kind)
    planted: set[str] = set()
    for path in sorted(folder.rglob("*.dcm")):
        dataset = dcmread(path)
        planted |= set(plant(dataset))
        dataset.SeriesNumber = int(DATE)
        dataset.save_as(path.with_name(f"{MARKER}{path.name}"))
        path.unlink()
    assert len(planted) > 1500
    (folder / f"{MARKER}.txt").write_text(MARKER)
    for more in ([], ["--json"]):
        done = run("describe", folder, "--anonymous", *more)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) > 1000
        assert not LOOKED_FOR.findall(done.stdout + done.stderr)
    named = run("describe", folder).stdout
    assert MARKER in named  # the series and folders are named without --anonymous
    done = run("describe", folder, "--anonymous", "--json", "-o", tmp_path / "x.json")
    assert done.returncode == 0, done.stderr
    assert not LOOKED_FOR.search((tmp_path / "x.json").read_text("utf-8"))


def test_large_counters_are_ranked(tmp_path: Path) -> None:
    write(tmp_path / "in", SMALL, content="grey")
    for n, path in enumerate(sorted((tmp_path / "in").iterdir())):
        dataset = dcmread(path)
        dataset.InstanceNumber = 20240131_0 + n
        dataset.save_as(path)
    made = describe([tmp_path / "in"], names=False)
    assert [file["InstanceNumber"] for file in made["Series"][0]["Files"]] == [{"Rank": n} for n in range(1, 10)]


def test_numbers_keep_their_digits_and_equal_texts_stay_equal() -> None:
    made = describe([DATA / "samples" / "axial"], names=False)
    (series,) = made["Series"]
    plain = dcmread(sorted((DATA / "samples" / "axial").iterdir())[0])
    assert series["Common"]["PixelSpacing"] == [v.original_string for v in plain.PixelSpacing]
    assert series["Common"]["SOPClassUID"] == "CTImageStorage"
    assert [f["SOPInstanceUID"]["UID"] for f in series["Files"]] == sorted(
        f["SOPInstanceUID"]["UID"] for f in series["Files"]
    )


def test_the_outline_of_a_contour() -> None:
    square = "0 0 5 0.5 0 5 1 0 5 1 0.5 5 1 1 5 0 1 5".split()
    assert outline(square) == [["0", "0", "5"], ["1", "0", "5"], ["1", "1", "5"], ["0", "1", "5"]]
    assert outline(["1", "2"]) == []


def test_a_case_of_a_described_series(tmp_path: Path) -> None:
    folder = DATA / "samples" / "double-oblique"
    assert run("describe", folder, "--anonymous", "--json", "-o", tmp_path / "x.json").returncode == 0
    (tmp_path / "cases.toml").write_text(
        '[[case]]\nid = "seen"\noptions = ["--as", "image", "--crosscheck", "affine"]\nexpected = "verified"\n'
        '[case.recipe]\nkind = "described"\nfile = "x.json"\n'
    )
    assert run("regress", "cases.toml", "--update", "seen", folder=tmp_path).returncode == 0
    done = run("regress", "cases.toml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rebuild_and_what_is_no_description(tmp_path: Path) -> None:
    assert run("describe", DATA / "samples" / "axial", "--json", "-o", tmp_path / "x.json").returncode == 0
    done = run("describe", tmp_path / "x.json", "--rebuild", tmp_path / "phantom")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "phantom").rglob("*.dcm"))) == 14
    assert run("describe", tmp_path / "x.json", "--rebuild", tmp_path / "phantom").returncode == 6
    assert run("describe", DATA / "samples" / "axial", "-o", tmp_path / "x.json").returncode == 6
    (tmp_path / "y.json").write_text("{}")
    with pytest.raises(PipelineError) as raised:
        read_description(tmp_path / "y.json")
    assert raised.value.finding.code is Code.BAD_OPTION
    broken = read_description(tmp_path / "x.json")
    broken["Series"][0]["Common"]["NoSuchAttribute"] = "1"
    with pytest.raises(PipelineError, match="NoSuchAttribute"):
        write_described(tmp_path / "z", broken)


PAGE = (ROOT / "docs" / "describe.md").read_text("utf-8")


def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    make_inputs({"kind": "image", "missing_slices": [4]}, tmp_path / "DIR")
    commands = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines() if line]
    assert len(commands) >= 4
    for command in commands:
        words = command.partition("  #")[0].split()
        assert words[0] == "verimask"
        assert run(*words[1:], folder=tmp_path).returncode in (0, 10), command


@pytest.mark.parametrize("kind", ["image", "rtstruct", "seg", "mask"])
def test_in_this_process_the_text_says_what_the_description_has(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_inputs({"kind": kind}, tmp_path / "in")
    with pytest.raises(SystemExit) as end:
        main(["describe", str(tmp_path / "in"), "--anonymous"])
    text = capsys.readouterr().out
    with pytest.raises(SystemExit) as again:
        main(["describe", str(tmp_path / "in"), "--anonymous", "--json"])
    description = json.loads(capsys.readouterr().out)
    assert (end.value.code, again.value.code) == (0, 0)
    files = [{**series["Common"], **file} for series in description["Series"] for file in series["Files"]]
    assert f"{len(description['Series'])} series, {len(files)} file" in text
    classes = {file["SOPClassUID"] for file in files}
    assert {name for name in classes if name not in text} == set()
