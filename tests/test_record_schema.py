"""The published schema of the record: strict, explained, and true of everything that is written (see conftest.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.cli.main import main
from pipeline.conversion import write
from pipeline.conversion.convert import convert
from pipeline.conversion.record import SCHEMA
from pipeline.conversion.request import Request
from pipeline.core.findings import Code, Exit, refuse
from pipeline.core.policy import EXPORT_KINDS, UNDECIDED, Policy, choices
from tests.helpers import record_schema
from tests.helpers.cases import DATA
from tests.helpers.record_schema import errors_of, schema


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of the schema, at any depth."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(inner)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("record") / "axial.nii.gz"
    convert([DATA / "samples" / "axial"], target, policy=Policy(crosscheck="off"))
    return dict(json.loads(target.with_name("axial.json").read_text("utf-8")))


def test_it_is_a_schema_and_is_strict() -> None:
    Draft202012Validator.check_schema(schema())
    objects = [part for part in parts(schema()) if part.get("type") in ("object", ["object", "null"])]
    assert len(objects) > 15
    assert [o for o in objects if o.get("additionalProperties") is not False or "required" not in o] == []


def test_every_property_is_explained() -> None:
    properties = [(n, p) for part in parts(schema()) for n, p in part.get("properties", {}).items() if "if" not in part]
    resolved = [(n, schema()["$defs"][p["$ref"][8:]] | p if "$ref" in p else p) for n, p in properties]
    silent = [name for name, p in resolved if "description" not in p and set(p) != {"const"}]
    assert len(resolved) > 150
    assert silent == []


@pytest.mark.parametrize(
    ("ending", "unit"),
    [("Mm", "in mm"), ("Ml", "in ml"), ("Mm2", "in mm²"), ("Degrees", "in degrees"), ("Percent", "in percent")],
)
def test_a_length_names_its_unit(ending: str, unit: str) -> None:
    named = [(n, p) for part in parts(schema()) for n, p in part.get("properties", {}).items() if n.endswith(ending)]
    assert named
    assert [n for n, p in named if unit not in p.get("description", "")] == []


def test_it_has_the_choices_of_the_code() -> None:
    policy = schema()["$defs"]["policy"]["properties"]
    assert list(policy) == list(Policy().as_json())
    for name in ("on_tilt", "on_gap", "on_duplicate", "on_lossy", "on_unread", "resample", "combine", "crosscheck"):
        key = "".join(word.capitalize() for word in name.split("_"))
        assert policy[key]["enum"] == list(choices(name)), name
    request = schema()["$defs"]["request"]["properties"]
    assert list(request) == list(Request().as_json())
    assert request["Kind"]["enum"] == [*EXPORT_KINDS, None]
    assert request["Undecided"]["enum"] == list(UNDECIDED)
    assert schema()["$defs"]["outcome"]["properties"]["Schema"]["const"] == SCHEMA
    codes = sorted({int(refuse(code, "").exit) for code in Code})
    assert schema()["$defs"]["refusal"]["properties"]["Exit"]["enum"] == codes


def test_a_record_fits(record: dict[str, Any]) -> None:
    assert errors_of(record) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("Surprise",), 1),
        (("Geometry", "StepMm"), "2.5"),
        (("Geometry", "Frame"), "LPS"),
        (("Labels", 0, "Voxels"), -1),
        (("Policy", "OnTilt"), "ignore"),
        (("Provenance", "OutputSHA256"), "1234"),
        (("Provenance", "Inputs", 0, "File"), "folder/IM0001.dcm"),
    ],
    ids=str,
)
def test_a_wrong_record_does_not(record: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    changed = json.loads(json.dumps(record))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert len(errors_of(changed)) == 1


@pytest.mark.parametrize("key", ["Schema", "Geometry", "Provenance", "Findings"])
def test_a_record_that_lacks_something_does_not(record: dict[str, Any], key: str) -> None:
    assert len(errors_of({k: v for k, v in record.items() if k != key})) == 1


def test_every_test_is_watched(tmp_path: Path, record: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A record with a surprise is noticed where it is written, printed alone, printed among others, and refused."""
    write.write_record(tmp_path / "a.json", record | {"Surprise": 1})
    assert len(record_schema.violations) == 1
    from pipeline.cli import output

    output.print_json(record | {"Surprise": 1})
    output.print_json([record, record | {"Surprise": 1}])
    assert len(record_schema.violations) == 3
    output.print_json({"Verdict": "REFUSED"})
    assert len(record_schema.violations) == 5  # neither an exit code nor findings
    record_schema.violations.clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["convert", str(tmp_path / "nothing"), "-o", str(tmp_path / "a.nii.gz"), "--json"])
    assert left.value.code == Exit.NO_SUCH_INPUT
    assert errors_of(json.loads(capsys.readouterr().out)) == []
