"""The block Prov of a record: what it says is true, anybody's tools can read it, and it depends on nothing but the bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import prov
import pytest
from jsonschema.validators import validator_for
from prov.model import ProvDocument
from pydicom import dcmread

from pipeline.cohort.privacy import OWN_WORDS, Cleaner
from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.prov import build_prov
from pipeline.conversion.record import as_text
from pipeline.conversion.request import Request
from pipeline.core.policy import Policy
from tests.helpers import bep028, bids_checks, doc_steps
from tests.helpers.phantom import Spec, write
from tests.helpers.record_schema import errors_of
from tests.helpers.rtphantom import PhantomRoi, grid, on, rectangle, write_images, write_struct

PAGE = "provenance.md"
SCHEMAS = (
    Path(prov.__file__).parent / "tests" / "schemas"
)  # of W3C's PROV-JSON and of PROV-JSONLD, as the package ships them
ALONE = Policy(crosscheck="off")
VERSIONS = {"python": "3.13.1", "verimask": "0.1.0", "numpy": "2.4.6"}
RDF, RDFS, PROV = (
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "http://www.w3.org/2000/01/rdf-schema#",
    "http://www.w3.org/ns/prov#",
)


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def digests(folder: Path) -> list[str]:
    return sorted(digest(path) for path in folder.iterdir())


def together(each: Iterable[str]) -> str:
    return sha256("\n".join(sorted(each)).encode()).hexdigest()


def record_of(output: Path) -> dict[str, Any]:
    return dict(json.loads(output.with_name(output.name.replace(".nii.gz", ".json")).read_text("utf-8")))


def mask_series(folder: Path) -> Path:
    """A series of label images; its record. Many files of one role."""
    write(folder / "DICOM", Spec(), content="mask", radius_mm=4)
    return convert([folder / "DICOM"], folder / "mask.nii.gz", policy=ALONE).output


def image_series(folder: Path) -> Path:
    write(folder / "DICOM", Spec(), content="index")
    return convert([folder / "DICOM"], folder / "mask.nii.gz", policy=Policy(crosscheck="off", as_="image")).output


def structure_set(folder: Path, last: int = 9) -> Path:
    """One file on its source images, with a file of label names: one role alone and one of many, and two files written."""
    write_images(folder / "ct", grid())
    write_struct(folder / "rs.dcm", [PhantomRoi("liver", [on(grid(), rectangle(2, last, 3, 9), k) for k in (2, 3)])])
    policy = Policy(crosscheck="off", labels_file="itksnap")
    request = Request(source=(folder / "ct",))
    return convert([folder / "rs.dcm"], folder / "mask.nii.gz", request=request, policy=policy).output


def resampled(folder: Path, last: int = 12) -> Path:
    """On the grid of the NIfTI file of another ROI: three roles, two of them of one file."""
    like = structure_set(folder / "like", last)
    write_struct(folder / "rs.dcm", [PhantomRoi("liver", [on(grid(), rectangle(2, 9, 3, 9), k) for k in (2, 3)])])
    request = Request(source=(folder / "like" / "ct",), like=like)
    return convert([folder / "rs.dcm"], folder / "mask.nii.gz", request=request, policy=ALONE).output


def a_record(
    read: Iterable[tuple[str, str]], written: str, versions: dict[str, str], command: Iterable[str] = ()
) -> dict[str, Any]:
    """What the block is made of. read: role and digest of each input."""
    inputs = [{"File": "x", "SHA256": digest} | ({"Role": role} if role else {}) for role, digest in read]
    proof = {"Inputs": inputs, "OutputSHA256": written, "Command": [*command], "Versions": versions}
    return {"ConversionSoftwareVersion": "0.1.0", "Provenance": proof}


KINDS: list[Callable[[Path], Path]] = [mask_series, image_series, structure_set, resampled]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: str(kind.__name__))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(request.param(tmp_path_factory.mktemp(request.param.__name__)))


def test_it_names_what_was_read_and_written_by_the_bytes_on_disk(tmp_path: Path) -> None:
    output = structure_set(tmp_path)
    names = next(path for path in tmp_path.iterdir() if path.suffix == ".txt")
    records = record_of(output)["Prov"]["Records"]
    (activity,) = records["Activities"]
    files = {file["Label"]: file for file in records["Files"]}
    assert {label: file["Digest"]["SHA-256"] for label, file in files.items()} == {
        "NIfTI mask": digest(output),
        "label names": digest(names),
        "input file": digest(tmp_path / "rs.dcm"),
    }
    assert [label for label, file in files.items() if file.get("GeneratedBy") == activity["Id"]] == [
        "NIfTI mask",
        "label names",
    ]
    (images,) = records["prov:Entity"]
    assert images["Label"] == "9 source image files"
    assert images["Id"] == f"nih:sha-256;{together(digests(tmp_path / 'ct'))}"
    assert activity["Used"] == [records["Environments"][0]["Id"], files["input file"]["Id"], images["Id"]]
    assert records["Environments"][0]["Dependencies"] == record_of(output)["Provenance"]["Versions"]


def test_every_kind_fits_and_a_record_before_it_does_too(made: Path) -> None:
    record = record_of(made)
    assert list(record)[list(record).index("Provenance") + 1] == "Prov"
    assert errors_of(record) == []
    before = {key: value for key, value in record.items() if key != "Prov"}
    assert errors_of(before) == []
    assert build_prov(before) == record["Prov"]


def test_bep028_s_own_fields_hold_of_it(made: Path) -> None:
    records = record_of(made)["Prov"]["Records"]
    assert bep028.errors_of(records) == []
    records["Activities"][0]["Used"][1] = "urn:uuid:00000000-0000-8000-8000-000000000000"
    del records["Software"][0]["Version"]
    records["Files"][0]["SHA256"] = 64 * "0"
    assert len(bep028.errors_of(records)) == 3


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("@context", "Used"), "prov:used"),
        (("Records", "Activities", 0, "Command"), None),  # BEP028: done by hand
        (("Records", "Activities", 0, "Command"), "verimask convert Smith^John"),
        (("Records", "Activities", 0, "Used", 1), "bids::sourcedata"),
        (("Records", "Activities", 0, "StartedAtTime"), "2026-01-01T00:00:00"),
        (("Records", "Files", 0, "Label"), "liver.nii.gz"),
        (("Records", "Files", 0, "AtLocation"), "liver.nii.gz"),
        (("Records", "prov:Entity", 0, "Digest"), {"SHA256": 64 * "0"}),
    ],
    ids=str,
)
def test_the_schema_lets_nothing_else_in(tmp_path: Path, place: tuple[str | int, ...], wrong: object) -> None:
    record = record_of(mask_series(tmp_path))
    at = record["Prov"]
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = wrong
    assert errors_of(record) != []


def test_it_is_the_same_for_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    """Other names of files, folders and output, another working folder, process, time zone, user and order of hashing."""
    here, there = tmp_path / "a", tmp_path / "b" / "Smith^John"
    output = structure_set(here)
    (there / "x").mkdir(parents=True)
    for n, path in enumerate(sorted((here / "ct").iterdir(), reverse=True)):
        (there / "x" / f"Smith-{n:02}").write_bytes(path.read_bytes())
    (there / "plan of Smith").write_bytes((here / "rs.dcm").read_bytes())
    words = ["plan of Smith", "--source", "x", "-o", "Smith.nii.gz", "--crosscheck", "off", "--labels-file", "itksnap"]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "USER": "smith", "HOSTNAME": "other"}
    program = [sys.executable, "-W", "ignore", "-m", "verimask", "convert", *words]
    subprocess.run(program, cwd=there, env=environment, check=True, capture_output=True)
    one, other = record_of(output)["Prov"], record_of(there / "Smith.nii.gz")["Prov"]
    assert one["Records"]["Activities"][0].pop("Command") == "verimask.convert"
    assert other["Records"]["Activities"][0].pop("Command") == "verimask convert"
    assert as_text(one) == as_text(other)


def test_no_text_of_the_user_and_none_of_the_files_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "Quetzal^Xenia"
    write(folder / "in", Spec(), content="mask", radius_mm=4)
    for n, path in enumerate(sorted((folder / "in").iterdir())):
        ds = dcmread(path)
        ds.PatientName = ds.SeriesDescription = ds.PatientID = ds.ProtocolName = "Quetzal^Xenia"
        ds.save_as(path.with_name(f"Quetzal-{n}.dcm"))
        path.unlink()
    (outcome,), refused = convert_all(
        [folder / "in"], folder / "out", policy=ALONE, command=("Quetzal", "Xenia", str(folder))
    )
    record = record_of(outcome.output)
    assert refused == []
    assert "quetzal" in as_text(record).lower()  # so they could be
    text = as_text(record["Prov"])
    assert [word for word in ("quetzal", "xenia", str(tmp_path).lower()) if word in text.lower()] == []
    everything = Cleaner(dict.fromkeys([*OWN_WORDS, "prov", "verimask", "256", "NIfTI", "python", "Label"], "P001"))
    assert everything.clean_record(record)["Prov"] == record["Prov"]


def test_an_identifier_changes_with_what_it_names_and_with_nothing_else() -> None:
    def ids(*of: Any) -> dict[str, str]:
        return {kind: entries[0]["Id"] for kind, entries in build_prov(a_record(*of))["Records"].items()}

    read = [("", 64 * "a"), ("source", 64 * "b"), ("source", 64 * "c")]
    first = ids(read, 64 * "d", VERSIONS)
    assert first == ids(read[::-1], 64 * "d", dict([*VERSIONS.items()][::-1]), ("verimask", "convert", "x"))

    def changed(*of: Any) -> set[str]:
        return {kind for kind, name in ids(*of).items() if name != first[kind]}

    assert changed(read, 64 * "d", VERSIONS | {"numpy": "2.4.7"}) == {"Environments", "Activities"}
    assert changed(read, 64 * "e", VERSIONS) == {"Files", "Activities"}
    assert changed([*read[:2], ("source", 64 * "e")], 64 * "d", VERSIONS) == {"prov:Entity", "Activities"}
    assert changed([("", 64 * "e"), *read[1:]], 64 * "d", VERSIONS) == {"Activities"}


def test_a_result_that_equals_its_reference_file_is_one_entity_with_it(tmp_path: Path) -> None:
    output = resampled(tmp_path, 9)
    assert output.read_bytes() == (tmp_path / "like" / "mask.nii.gz").read_bytes()
    records = record_of(output)["Prov"]["Records"]
    assert [file["Label"] for file in records["Files"]] == ["NIfTI mask", "input file"]
    assert records["Files"][0]["GeneratedBy"] == records["Activities"][0]["Id"]
    assert records["Files"][0]["Id"] in records["Activities"][0]["Used"]


def test_it_does_not_grow_with_the_inputs() -> None:
    few, many = (
        build_prov(a_record([("", f"{n:064x}") for n in range(count)], 64 * "0", VERSIONS)) for count in (2, 3000)
    )
    assert len(as_text(many)) - len(as_text(few)) == len("3000") - len("2")
    assert len(as_text(many)) < 3000


def run_page(made: Path, folder: Path, *names: str) -> str:
    """Do steps of the page with a record as mask.json; what the last one printed."""
    (folder / "mask.json").write_text(as_text(record_of(made)), "utf-8")
    return [doc_steps.do(PAGE, name, folder) for name in names][-1]


def test_w3c_s_schemas_and_constraints_hold_of_what_the_page_makes_of_it(made: Path, tmp_path: Path) -> None:
    run_page(made, tmp_path, "sources.py", "sources")
    text = (tmp_path / "mask.prov.json").read_text("utf-8")
    document = ProvDocument.deserialize(content=text)
    assert ProvDocument.deserialize(content=document.unified().serialize()) == document  # PROV-CONSTRAINTS: 22 to 29
    for schema, written in (("json", text), ("jsonld", document.serialize(format="jsonld"))):
        rules = json.loads((SCHEMAS / f"prov-{schema}.schema.json").read_text("utf-8"))
        check = validator_for(rules)(rules)
        assert list(check.iter_errors(json.loads(written))) == []
        planted = json.loads(written.replace('"prov:activity"', '"prov:action"').replace('"activity"', '"action"'))
        assert list(check.iter_errors(planted)) != []


def test_the_page_names_the_files_a_result_came_from(made: Path, tmp_path: Path) -> None:
    answer = run_page(made, tmp_path, "sources.py", "sources")
    folder = made.parent
    read = [path for path in folder.rglob("*.dcm") if path != folder / "like" / "rs.dcm"] + [
        *folder.glob("like/*.nii.gz")
    ]
    assert sorted(line.split()[0] for line in answer.splitlines()) == sorted(map(digest, read))
    assert {line.split()[1].partition("-")[0] for line in answer.splitlines()} <= {"input", "source", "clean", "like"}


def test_the_page_runs_in_its_order(tmp_path: Path) -> None:
    write(tmp_path / "DICOM", Spec(), content="mask", radius_mm=4)
    assert list(doc_steps.steps(PAGE)) == ["convert", "digest", "sources.py", "sources", "graph.py", "graph"]
    doc_steps.do(PAGE, "convert", tmp_path)
    entity = record_of(tmp_path / "mask.nii.gz")["Prov"]["Records"]["prov:Entity"][0]
    assert doc_steps.do(PAGE, "digest", tmp_path).split()[0] == entity["Digest"]["SHA-256"]
    doc_steps.do(PAGE, "sources.py", tmp_path)
    assert len(doc_steps.do(PAGE, "sources", tmp_path).splitlines()) == 14


def test_a_reader_of_json_ld_finds_the_graph(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyld")
    run_page(made, tmp_path, "graph.py", "graph")
    triples = set((tmp_path / "mask.nq").read_text("utf-8").splitlines())
    records = record_of(made)["Prov"]["Records"]
    expected = set()
    classes = {"Software": "Agent", "Activities": "Activity"}
    for kind, entries in records.items():
        for entry in entries:
            name = f"<{entry['Id']}>"
            expected.add(f"{name} <{RDF}type> <{PROV}{classes.get(kind, 'Entity')}> .")
            expected.add(f'{name} <{RDFS}label> "{entry["Label"]}" .')
            if "Type" in entry:
                expected.add(f"{name} <{RDF}type> <{PROV}Collection> .")
            for key, term in (("GeneratedBy", "wasGeneratedBy"), ("AssociatedWith", "wasAssociatedWith")):
                if key in entry:
                    expected.add(f"{name} <{PROV}{term}> <{entry[key]}> .")
            expected |= {f"{name} <{PROV}used> <{used}> ." for used in entry.get("Used", ())}
    assert triples == expected


def test_the_bids_validator_knows_no_folder_of_provenance_yet(tmp_path: Path) -> None:
    """Where it does one day, the layout can have BEP028's own files: see docs/provenance.md."""
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.11.1", "DatasetType": "raw"}')
    (tmp_path / "README").write_text("x")
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    write(tmp_path / "in", Spec(), content="index")
    target = tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    convert([tmp_path / "in"], target, policy=Policy(crosscheck="off", as_="image"))
    for path in (tmp_path / "in").iterdir():
        path.unlink()
    (tmp_path / "in").rmdir()
    assert [error for error in bids_checks.errors_of(tmp_path) if "prov" in error.lower()] == []
    (tmp_path / "prov").mkdir()
    (tmp_path / "prov" / "prov-verimask_act.json").write_text('{"Activities": []}')
    assert "NOT_INCLUDED  /prov/prov-verimask_act.json" in bids_checks.errors_of(tmp_path)
