"""What `verify` says of results: those of every version hold, any changed byte is named, and no record brings it down."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydicom import dcmread
from pydicom.uid import generate_uid

from pipeline.cli.main import main
from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.prov import build_prov
from pipeline.conversion.record import sidecar_of, write_record
from pipeline.conversion.record_text import as_text
from pipeline.conversion.request import Request
from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.core.policy import Policy
from pipeline.diagnosis import verify_find, verify_schema
from pipeline.diagnosis.verify import verify
from pipeline.diagnosis.verify_result import VerifiedResult
from tests.helpers import record_schema, verify_changes
from tests.helpers.made_cohort import make_cohort
from tests.helpers.record_corpus import KINDS, RECORDS
from tests.test_commands import said

ROOT = Path(__file__).parents[1]
VERSIONS = sorted(path.name for path in RECORDS.iterdir() if path.name != "dicom")
NEWEST = "0.1.0-digest"
FILE_ONLY = "inputs, and the conversion made again"


_STEP = re.compile(r"<!-- run: (\w+) -->\n```sh\n(.*?)```\n", re.S)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A copy of the newest results, to be changed."""
    shutil.copytree(RECORDS / NEWEST, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[verify_changes.Result]:
    return verify_changes.make_results(tmp_path_factory.mktemp("made"))


def one(file: Path, *dicom: Path, **more: Any) -> VerifiedResult:
    (result,) = verify([file], dicom, **more)
    return result


def broken(result: VerifiedResult) -> list[str]:
    return [f"{b.what}: {b.where}: {b.was} -> {b.found}" for b in result.broken]


def rewritten(record: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change a record and give it the right digest: as somebody would who means to."""
    values = json.loads(record.read_text("utf-8"))
    change(values)
    write_record(record, values)
    return record


# --- what holds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_results_of_every_version_hold(version: str, kind: str) -> None:
    given = RECORDS / version / kind
    given = given if given.is_dir() else given.with_suffix(".json")
    for found in verify([given]):
        assert (found.status, broken(found)) == ("HOLDS", [])
        assert FILE_ONLY in [n.what for n in found.not_checked]
    for found in verify([given], [RECORDS / "dicom" / kind]):
        assert (found.status, broken(found)) == ("HOLDS", [])
        assert "conversion made again" in found.checked
        assert "planes in the files" in found.checked
        assert ("digest of the record" in found.checked) == (version != "0.1.0")


def test_every_version_has_every_kind() -> None:
    assert {"0.1.0", NEWEST} <= set(VERSIONS)
    for version in VERSIONS:
        assert {path.name.split(".")[0] for path in (RECORDS / version).iterdir()} - {"mask-named_dseg"} == set(KINDS)
        records = [json.loads(path.read_text("utf-8")) for path in (RECORDS / version).rglob("*.json")]
        assert all(("RecordSHA256" in record) == (version != "0.1.0") for record in records)


def test_masks_that_only_their_folders_tell_apart_hold_one_by_one(tmp_path: Path) -> None:
    """Their description is one: a mask alone would be called by it. A name that is neither is none of theirs."""
    for name in ("liver", "spleen"):
        (tmp_path / "in" / name).mkdir(parents=True)
        series = str(generate_uid())
        for path in (ROOT / "data" / "samples" / "axial").iterdir():
            plane = dcmread(path)
            plane.SeriesDescription, plane.SeriesInstanceUID, plane.SOPInstanceUID = "one", series, generate_uid()
            plane.file_meta.MediaStorageSOPInstanceUID = plane.SOPInstanceUID
            plane.save_as(tmp_path / "in" / name / path.name)
    outcomes, _ = convert_all([tmp_path / "in"], tmp_path / "out", policy=Policy(crosscheck="off", keep_names=True))
    assert {outcome.record["Labels"][0]["Name"] for outcome in outcomes} == {"liver", "spleen"}
    for outcome in outcomes:
        found = one(outcome.output, tmp_path / "in")
        assert (found.status, broken(found)) == ("HOLDS", [])
        assert "conversion made again" in found.checked
    rewritten(sidecar_of(outcomes[0].output), lambda record: record["Labels"][0].update(Name="heart"))
    assert broken(one(outcomes[0].output, tmp_path / "in")) == ["conversion made again: Labels[0].Name: heart -> one"]


@pytest.mark.parametrize("kind", ["image", "rtstruct"])
def test_witnesses_are_asked_again_where_wanted(kind: str) -> None:
    found = one(RECORDS / NEWEST / f"{kind}.json", RECORDS / "dicom" / kind, crosscheck="affine")
    assert (found.status, broken(found)) == ("HOLDS", [])
    assert "witnesses" in found.checked


def test_a_witness_that_changed_its_mind_is_named(corpus: Path) -> None:
    def differ(record: dict[str, Any]) -> None:
        record["Verdict"], record["CrossCheck"][0]["Status"] = "DISPUTED", "DIFFERS"

    rewritten(corpus / "image.json", differ)
    assert one(corpus / "image.json").status == "HOLDS"  # consistent by itself
    found = one(corpus / "image.json", RECORDS / "dicom" / "image", crosscheck="affine")
    assert [b.what for b in found.broken] == ["witness dicom2nifti"]
    assert found.broken[0].was.startswith("DIFFERS (")
    assert found.broken[0].found.startswith("REORDERED (")


def test_a_file_on_the_grid_of_another(tmp_path: Path) -> None:
    """--like takes over header bits that no record holds: they are held against the file, where that is found."""
    folder = RECORDS / "dicom" / "mask"
    (tmp_path / "like").mkdir()
    convert(folder, tmp_path / "like" / "image.nii.gz", policy=Policy(as_="image", orient="RAS", crosscheck="off"))
    convert(folder, tmp_path / "m.nii.gz", request=Request(like=tmp_path / "like" / "image.nii.gz"))
    alone, whole = one(tmp_path / "m.nii.gz"), one(tmp_path / "m.nii.gz", folder, tmp_path / "like")
    assert (alone.status, whole.status) == ("HOLDS", "HOLDS")
    assert any("bit for bit" in n.what for n in alone.not_checked)
    assert not whole.not_checked


# --- any byte -----------------------------------------------------------------------------------------------------


def test_no_single_byte_is_missed(results: list[verify_changes.Result]) -> None:
    done, missed = verify_changes.count_missed(results, 300, seed=1)
    assert missed == []
    assert {part for _, part in done} == {"file", "record", "source"}
    assert {kind for kind, _ in done} == set(KINDS)
    assert all(result.status == "HOLDS" for r in results for result in verify([r.file]))  # everything was put back


def test_a_byte_is_missed_where_nothing_holds_it(results: list[verify_changes.Result]) -> None:
    """The harness can fail: without the DICOM, a change of it is not seen."""
    source = next(c for c in verify_changes.changes(results, 9, seed=1) if c.part == "source")
    assert not verify_changes.is_named(source, dicom=False)
    assert verify_changes.is_named(source, dicom=True)


@pytest.mark.parametrize("part", ["file", "record"])
def test_a_byte_is_named_beside_the_dicom_too(results: list[verify_changes.Result], part: str) -> None:
    for change in [c for c in verify_changes.changes(results, 60, seed=2) if c.part == part][:8]:
        assert verify_changes.is_named(change, dicom=True)


def test_every_byte_of_a_small_record_counts(tmp_path: Path) -> None:
    """Not a sample: each byte of one record, at two values."""
    for name in ("mask.json", "mask.nii.gz"):
        shutil.copy(RECORDS / NEWEST / name, tmp_path)
    data = (tmp_path / "mask.json").read_bytes()
    for at in range(0, len(data), 23):
        for value in (1, 32):
            changed = bytearray(data)
            changed[at] ^= value
            (tmp_path / "mask.json").write_bytes(changed)
            assert one(tmp_path / "mask.nii.gz").status != "HOLDS", at


def test_a_byte_of_the_key_of_the_digest_is_named(results: list[verify_changes.Result]) -> None:
    """Without its key a record looks like one of before there were digests: then its schema has to say so."""
    result = results[0]
    record = sidecar_of(result.file)
    size = record.stat().st_size
    for at in range(size - 90, size):
        for value in (1, 32, 63, 117, 119):
            assert verify_changes.is_named(verify_changes.Change(result, "record", record, at, value)), (at, value)


# --- what does not hold, with the right digest ---------------------------------------------------------------------


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Set what lies at a path of keys to the last of them."""

    def change(record: dict[str, Any]) -> None:
        place: Any = record
        for step in path[:-2]:
            place = place[step]
        place[path[-2]] = path[-1]

    return change


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_set("Geometry", "StepMm", 2.2), "Geometry.StepMm"),
        (_set("Geometry", "Affine", 0, 3, 12.5), "Geometry.AffineLPS[0][3]"),
        (_set("Geometry", "AffineLPS", 1, 1, 0.5), "Geometry.AffineLPS[1][1]"),
        (_set("Geometry", "SpacingMm", [0.8, 1.3, 2.2]), "Geometry.SpacingMm[2]"),
        (_set("Geometry", "AxisCodes", "RAS"), "Geometry.AxisCodes"),
        (_set("Geometry", "Handedness", "left"), "Geometry.Handedness"),
        (_set("Geometry", "CornersLPS", 3, 0, 0.25), "Geometry.CornersLPS[3][0]"),
        (_set("Geometry", "ShearDegrees", 3.0), "Geometry.ShearDegrees"),
        (_set("Geometry", "SformCode", 2), "Geometry.SformCode"),
        (_set("Geometry", "QformCode", 0), "Geometry.QformCode"),
        (_set("Geometry", "HeaderDeviationMm", 0.1), "Geometry.HeaderDeviationMm"),
        (_set("Geometry", "QformDeviationMm", 0.1), "Geometry.QformDeviationMm"),
        (_set("Geometry", "FirstPlane", "ColumnSpacing", 0.9), "Geometry.FirstPlane"),
        (_set("Geometry", "FirstPlane", "Rows", 8), "Geometry.FirstPlane"),
        (_set("Slices", 2, "PositionLPS", [1.0, 2.0, 3.0]), "Slices[2].PositionLPS"),
        (_set("Slices", 2, "Index", 3), "Slices[2].Index"),
        (_set("Planes", "AlongNormalMm", 4, 8.5), "Planes.AlongNormalMm[4]"),
        (_set("Planes", "Index", [0, 1, 2, 3]), "Planes.Index"),
        (_set("Shape", [9, 7, 6]), "dim[3]"),
        (_set("DataType", "uint16"), "datatype"),
        (_set("Labels", 0, "Voxels", 5), "“label 1” (1) Voxels"),
        (_set("Labels", 0, "Components", 9), "“label 1” (1) Components"),
        (_set("Labels", 0, "Extent", [[0, 1], [0, 1], [0, 1]]), "“label 1” (1) Extent"),
        (_set("Labels", 0, "VolumeMl", 9.0), "“label 1” (1) VolumeMl"),
        (_set("Labels", 0, "CentroidLpsMm", [1.0, 2.0, 3.0]), "“label 1” (1) CentroidLpsMm[0] (and 2 more)"),
        (_set("Labels", 0, "Value", 9), "voxels of a value without a label"),
        (_set("Verdict", "DISPUTED"), "CrossCheck"),
        (_set("CrossCheck", []), "CrossCheck"),
        (_set("Provenance", "OutputSHA256", "0" * 64), "mask.nii.gz"),
        (_set("Output", "other.nii.gz"), "mask.json"),
        (_set("Prov", "Records", "Activities", 0, "Command", "verimask other"), "Prov"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_that_was_changed_on_purpose_contradicts_itself(
    corpus: Path, change: Callable[[dict[str, Any]], object], where: str
) -> None:
    rewritten(corpus / "mask.json", change)
    found = one(corpus / "mask.nii.gz")
    assert found.status == "BROKEN"
    assert where in [b.where for b in found.broken]
    assert "digest of the record" in found.checked


@pytest.mark.parametrize(
    ("at", "code", "value", "field"),
    [
        (252, "<h", 0, "qform_code"),
        (254, "<h", 2, "sform_code"),
        (256, "<f", 0.5, "quatern_b"),
        (76, "<f", -1.0, "pixdim[0]"),
        (80, "<f", 0.75, "pixdim[1]"),
        (148, "8s", b"somebody", "descrip"),
        (112, "<f", 2.0, "scl_slope"),
        (123, "B", 3, "xyzt_units"),
        (68, "<h", 0, "intent_code"),
        (292, "<f", 12.0, "srow_x[3]"),
        (348, "B", 1, "extension"),
    ],
)
def test_a_header_that_was_changed_is_named_by_its_field(
    corpus: Path, at: int, code: str, value: Any, field: str
) -> None:
    path = corpus / "mask.nii.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(code, raw, at, value)
    path.write_bytes(gzip.compress(bytes(raw)))
    assert ("header", field) in [(b.what, b.where) for b in one(path).broken]


def test_labels_are_counted_from_the_voxels(corpus: Path) -> None:
    """A voxel that was moved to another label, by another program."""
    path = corpus / "reordered.nii.gz"
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj).copy()
    first = tuple(np.argwhere(voxels == 1)[0])
    voxels[first] = 2
    nibabel.Nifti1Image(voxels, image.affine, image.header).to_filename(path)
    was = {b.where: (b.was, b.found) for b in one(path).broken}
    one_less, one_more = (was[f"“label {n}” ({n}) Voxels"] for n in (1, 2))
    assert int(one_less[1]) == int(one_less[0]) - 1
    assert int(one_more[1]) == int(one_more[0]) + 1


@pytest.mark.parametrize(
    ("kind", "change", "where"),
    [
        ("image", _set("Slices", 0, "SOPInstanceUID", "1.2.3"), "Slices[0].SOPInstanceUID"),
        ("seg", _set("Labels", 0, "Name", "Liver"), "Labels[0].Name"),
        ("rtstruct", _set("Roi", "ContourAreaMm2", 3.5), "Roi.ContourAreaMm2"),
        ("several/5_contours_seg-liver", _set("Labels", 0, "Name", "lung"), "Labels[0].Name"),
        ("on-source", _set("SourceSeriesInstanceUID", "1.2.3"), "SourceSeriesInstanceUID"),
        ("resampled", _set("MovedToSourceMm", 0.25), "MovedToSourceMm"),
    ],
)
def test_what_only_the_dicom_knows_is_made_again(
    corpus: Path, kind: str, change: Callable[[dict[str, Any]], None], where: str
) -> None:
    record = rewritten(corpus / f"{kind}.json", change)
    assert one(record).status == "HOLDS"
    found = one(record, RECORDS / "dicom" / kind.partition("/")[0])
    assert ("conversion made again", where) in [(b.what, b.where) for b in found.broken]


def test_other_voxels_with_right_digests_are_no_result_of_the_dicom(corpus: Path) -> None:
    """File and record were changed together, hashes and counts too: only the conversion made again shows it."""
    kind, path = "image", corpus / "image.nii.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(raw)))

    def say_so(record: dict[str, Any]) -> None:
        record["Provenance"]["OutputSHA256"] = sha256(path.read_bytes()).hexdigest()
        record["Prov"] = build_prov(record)

    rewritten(corpus / "image.json", say_so)
    assert one(path).status == "HOLDS"
    found = one(path, RECORDS / "dicom" / kind)
    assert [(b.what, b.where) for b in found.broken] == [("conversion made again", "image.nii.gz: plane 4")]


# --- inputs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    shutil.copytree(RECORDS / "dicom" / "image", tmp_path / "dicom")
    return tmp_path / "dicom"


def test_inputs_are_found_by_their_content(dicom: Path) -> None:
    for n, path in enumerate(sorted(dicom.iterdir())):
        (dicom / f"sub{n % 2}").mkdir(exist_ok=True)
        path.rename(dicom / f"sub{n % 2}" / f"renamed{n}")
    found = one(RECORDS / NEWEST / "image.nii.gz", dicom)
    assert (found.status, found.not_checked) == ("HOLDS", ())


def test_inputs_in_an_archive(dicom: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "export"), "zip", dicom)
    found = one(RECORDS / NEWEST / "image.nii.gz", tmp_path / "export.zip")
    assert (found.status, broken(found), found.not_checked) == ("HOLDS", [], ())


def test_missing_changed_and_extra_inputs_are_named(dicom: Path) -> None:
    first, second, third, *_ = sorted(dicom.iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes() + b"\0")
    extra = dcmread(third)
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.10.1111.9"
    extra.save_as(dicom / "extra.dcm")
    found = one(RECORDS / NEWEST / "image.nii.gz", dicom)
    assert {(b.what, b.where) for b in found.broken} == {
        ("input missing", first.name),
        ("input changed", second.name),
        ("input extra", "extra.dcm"),
    }
    assert "conversion made again" in [n.what for n in found.not_checked]


@pytest.mark.parametrize("kind", ["image", "mask", "seg", "rtstruct", "on-source", "burned-in"])
def test_files_of_another_series_that_share_names_are_not_called_changed(
    kind: str, dicom: Path, tmp_path: Path
) -> None:
    result = RECORDS / NEWEST / f"{kind}.nii.gz"
    entries = json.loads(result.with_name(f"{kind}.json").read_text())["Provenance"]["Inputs"]
    (tmp_path / "other").mkdir()
    for entry, path in zip(entries, sorted(dicom.iterdir()), strict=False):
        other = dcmread(path)
        other.SeriesInstanceUID, other.StudyInstanceUID = (
            "1.2.826.0.1.3680043.10.1111.7",
            "1.2.826.0.1.3680043.10.1111.8",
        )
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        other.save_as(tmp_path / "other" / entry["File"])
    found = one(result, tmp_path / "other")
    told = [(b.what, b.where, b.was, b.found) for b in found.broken if b.what.startswith("input")]
    assert told == [("input missing", "all of them", f"{len(entries)} files", "no file of the series")]


@pytest.mark.parametrize("kind", ["image", "mask", "seg", "rtstruct", "bundle"])
def test_a_series_of_which_every_file_was_changed_is_called_so(kind: str, tmp_path: Path) -> None:
    shutil.copytree(RECORDS / "dicom" / kind, tmp_path / "dicom")
    for path in (tmp_path / "dicom").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes() + b"\0")
    found = one(RECORDS / NEWEST / f"{kind}.nii.gz", tmp_path / "dicom")
    assert {b.what for b in found.broken if b.what.startswith("input")} == {"input changed"}


def test_a_plane_that_was_moved_in_the_record_is_read_again(corpus: Path) -> None:
    """Moved by less than the proof allows: the record agrees with itself, and the file does not."""

    def move(record: dict[str, Any]) -> None:
        record["Slices"][3]["PositionLPS"][0] += 1e-7

    rewritten(corpus / "image.json", move)
    assert one(corpus / "image.json").status == "HOLDS"
    found = one(corpus / "image.json", RECORDS / "dicom" / "image")
    assert "planes in the files" in [b.what for b in found.broken]


# --- what is no result --------------------------------------------------------------------------------------------


def test_what_is_missing_or_of_others_is_said(corpus: Path) -> None:
    (corpus / "seg.json").unlink()
    (corpus / "mask.nii.gz").unlink()
    (corpus / "image.json").write_text('{"ConversionSoftware": "dcm2niix"}', "utf-8")
    (corpus / "dataset_description.json").write_text('{"Name": "of BIDS"}', "utf-8")
    rewritten(corpus / "rtstruct.json", _set("Schema", "verimask outcome 2"))
    status = {r.name: r.status for r in verify([corpus])}
    assert Counter(status.values()) == {"HOLDS": 11, "NO RECORD": 1, "NO FILE": 1, "OTHER PROGRAM": 1, "NEWER": 1}
    assert status["seg.nii.gz"] == "NO RECORD"
    assert status["mask.nii.gz"] == "NO FILE"
    assert status["rtstruct.nii.gz"] == "NEWER"
    (newer,) = verify([corpus / "rtstruct.json"])
    assert "verimask outcome 2" in newer.not_checked[0].why


def test_two_files_of_one_record(corpus: Path) -> None:
    (corpus / "mask.nii").write_bytes(gzip.decompress((corpus / "mask.nii.gz").read_bytes()))
    status = {r.name: r.status for r in verify([corpus]) if r.name.startswith("mask.")}
    assert status == {"mask.nii": "NO RECORD", "mask.nii.gz": "HOLDS"}


def test_what_is_given_is_there_and_of_a_kind(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        list(verify([tmp_path / "none.nii"]))
    assert caught.value.finding.code is Code.NO_SUCH_INPUT
    (tmp_path / "a.txt").touch()
    with pytest.raises(PipelineError) as caught:
        list(verify([tmp_path / "a.txt"]))
    assert caught.value.finding.code is Code.NOT_THIS_KIND


# --- hostile records ----------------------------------------------------------------------------------------------

HOSTILE: dict[str, str] = {
    "empty": "",
    "no object": "[1, 2]",
    "deep": "[" * 200_000,
    "deep object": '{"a":' * 50_000,
    "not a number": '{"ConversionSoftware": "verimask", "x": NaN}',
    "infinite": '{"Schema": "verimask outcome 1", "x": 1e999}',
    "digits": '{"Schema": "verimask outcome 1", "x": ' + "9" * 100_000 + "}",
    "twice": '{"Schema": "verimask outcome 1", "Schema": "verimask outcome 1"}',
    "no text": "\udcff",
    "wrong types": '{"Schema": "verimask outcome 1", "Output": 3, "Geometry": [], "Slices": {}, "Provenance": null}',
    "schema is a list": '{"Schema": ["verimask outcome 1"], "ConversionSoftware": "verimask"}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_records_are_said_in_words(corpus: Path, text: str) -> None:
    (corpus / "mask.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = one(corpus / "mask.nii.gz", RECORDS / "dicom" / "mask")
    assert found.status != "HOLDS"
    assert "unexpected" not in repr(found)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from _leaves(member, (*path, key))


WHOLE = json.loads((RECORDS / NEWEST / "mask.json").read_text("utf-8"))
ODD = [
    None,
    True,
    "",
    "x" * 10_000,
    -1,
    0,
    1e300,
    2**62,
    1e-300,
    [],
    {},
    [[]],
    "../../etc/passwd",
    "\0",
    10**30,
    10**400,
]


@given(st.sampled_from(sorted(_leaves(WHOLE), key=repr)), st.sampled_from(ODD))
def test_no_value_anywhere_brings_it_down(path: tuple[Any, ...], value: Any) -> None:
    """With a right digest, so that it is read to its end. What holds all the same is text, and names of people's choice."""
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in ("mask.json", "mask.nii.gz"):
            shutil.copy(RECORDS / NEWEST / name, folder)
        rewritten(folder / "mask.json", _set(*path, value))
        found = one(folder / "mask.nii.gz", RECORDS / "dicom" / "mask")
    assert "unexpected error" not in repr(found)


def test_a_huge_record_is_not_read(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_find, "MOST_TEXT_BYTES", 1000)
    assert "longer than 1000 bytes" in broken(one(corpus / "mask.nii.gz"))[0]


def test_a_record_that_is_no_file(corpus: Path) -> None:
    (corpus / "mask.json").unlink()
    os.mkfifo(corpus / "mask.json")
    assert one(corpus / "mask.nii.gz").status == "NO RECORD"
    assert {r.name: r.status for r in verify([corpus])}["mask.nii.gz"] == "NO RECORD"


# --- the schema without a library ---------------------------------------------------------------------------------


def _keywords(rule: Any) -> set[str]:
    if not isinstance(rule, dict):
        return set()
    found = set(rule)
    for key in ("properties",):
        found |= {word for member in rule.get(key, {}).values() for word in _keywords(member)}
    for key in ("items", "additionalProperties"):
        found |= _keywords(rule.get(key))
    return found | {word for key in ("anyOf", "prefixItems") for one in rule.get(key, []) for word in _keywords(one)}


def test_every_keyword_of_the_schema_is_known() -> None:
    parts = {
        k: v for k, v in record_schema.schema()["$defs"].items() if k not in ("one", "refusal", "skipped", "unwritten")
    }
    used = set().union(*map(_keywords, parts.values()))
    assert used - verify_schema.KNOWN == set()


@given(st.sampled_from(sorted(_leaves(WHOLE), key=repr)), st.sampled_from(ODD))
def test_the_schema_is_held_as_by_the_library(path: tuple[Any, ...], value: Any) -> None:
    changed = json.loads(json.dumps(WHOLE))
    _set(*path, value)(changed)
    wrong = any(True for _ in Draft202012Validator(record_schema.schema()).iter_errors(changed))
    too_large = isinstance(value, int | float) and abs(value) > 2**63
    assert bool(verify_schema.check_schema(changed)) == wrong or too_large


def test_a_policy_of_before_an_option(corpus: Path) -> None:
    """It lacks what did not exist; a key that nobody knows is no option."""
    rewritten(corpus / "mask.json", lambda record: record["Policy"].pop("Palette"))
    assert one(corpus / "mask.json", RECORDS / "dicom" / "mask").status == "HOLDS"
    rewritten(corpus / "mask.json", lambda record: record["Policy"].update(Surprise=1))
    assert [b.where for b in one(corpus / "mask.json").broken] == ["mask.json Policy.Surprise"]


# --- the digest ---------------------------------------------------------------------------------------------------


def test_a_record_ends_with_its_own_digest(tmp_path: Path) -> None:
    outcome = convert(RECORDS / "dicom" / "mask", tmp_path / "a.nii.gz", policy=Policy(crosscheck="off"))
    data = sidecar_of(outcome.output).read_bytes()
    record = json.loads(data)
    assert list(record)[-1] == "RecordSHA256"
    assert record == json.loads(as_text(outcome.record))
    assert sha256(data.replace(record["RecordSHA256"].encode(), b"0" * 64)).hexdigest() == record["RecordSHA256"]


# --- of a cohort --------------------------------------------------------------------------------------------------


def test_the_tree_of_a_cohort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records are written again without what names a patient, and hold; images and single masks can be made again."""
    make_cohort(tmp_path / "in", count=2)
    said(capsys, "cohort", tmp_path / "in", "-o", tmp_path / "bids")
    found = list(verify([tmp_path / "bids"], [tmp_path / "in"]))
    assert len(found) > 2
    assert {(r.status, r.broken) for r in found} == {("HOLDS", ())}
    assert all("digest of the record" in r.checked for r in found)
    assert sum("conversion made again" in r.checked for r in found) > len(found) / 2


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_says_what_holds(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "verify", corpus, "--dicom", RECORDS / "dicom")
    assert code == 0
    assert "15  HOLDS" in out
    data = bytearray((corpus / "image-plain.nii").read_bytes())
    data[80] ^= 1
    (corpus / "image-plain.nii").write_bytes(data)
    code, out, _ = said(capsys, "verify", corpus)
    assert code == Exit.MISMATCH
    assert "header: pixdim[1]\n" in out
    assert " 1  BROKEN" in out
    code, out, _ = said(capsys, "verify", corpus, "--json")
    printed = json.loads(out)
    assert (code, printed["Holding"], printed["All"]) == (Exit.MISMATCH, 14, 15)
    (wrong,) = (r for r in printed["Results"] if r["Status"] == "BROKEN")
    assert {"What", "Where", "Was", "Is"} == set(wrong["Broken"][0])


def test_the_command_refuses_what_can_have_no_effect(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, "verify", corpus, "--crosscheck", "affine")
    assert (code, "IDLE_OPTION" in err) == (Exit.USAGE, True)
    (tmp_path / "empty").mkdir()
    code, _, err = said(capsys, "verify", tmp_path / "empty")
    assert (code != 0, "NOT_AN_OUTCOME" in err) == (True, True)
    with pytest.raises(SystemExit):
        main(["verify"])


def test_the_page_runs(tmp_path: Path) -> None:
    """The commands of docs/verify.md, as they stand there."""
    steps = _STEP.findall((ROOT / "docs" / "verify.md").read_text("utf-8"))
    assert [name for name, _ in steps] == ["convert", "dicom", "witnesses"]
    shutil.copytree(RECORDS / "dicom" / "mask", tmp_path / "EXPORT")
    program = tmp_path / "bin" / "verimask"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore -m pipeline "$@"\n', "utf-8")
    program.chmod(0o755)
    python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": python_path}
    for name, words in steps:
        done = subprocess.run(
            ["sh", "-ec", words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, "BROKEN" in done.stdout) == (0, False), f"{name}: {done.stdout}{done.stderr}"


def test_a_number_that_no_float_holds_is_named() -> None:
    changed = json.loads(json.dumps(WHOLE))
    _set("Geometry", "StepMm", 10**400)(changed)
    assert [(note.where, note.was) for note in verify_schema.check_schema(changed)] == [
        ("Geometry.StepMm", "a finite number")
    ]
