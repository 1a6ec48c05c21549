"""The types of the record are those of its schema: every key, required or not, and every value that it may have."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

import pipeline
from pipeline.core import record_parts, record_types
from pipeline.core.findings import Code, Finding
from tests.helpers.record_schema import errors_of, schema
from tests.helpers.record_types import CORE, objects, type_modules

CLASSES = {
    name: made
    for module in (record_parts, record_types)
    for name, made in vars(module).items()
    if hasattr(made, "__required_keys__") and not name.startswith("_")
}
OBJECTS = dict(objects())
_KINDS = {"string": str, "integer": int, "number": float, "boolean": bool}


@pytest.mark.parametrize("name", type_modules())
def test_the_module_is_what_the_schema_gives(name: str) -> None:
    assert (CORE / f"{name}.py").read_text("utf-8") == type_modules()[name], "run python -m tests.helpers.record_types"


def test_every_object_of_the_schema_is_a_class_and_every_class_is_one_of_them() -> None:
    assert len(OBJECTS) > 25
    assert set(OBJECTS) == set(CLASSES)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_class_has_the_keys_of_the_schema_with_their_types(name: str) -> None:
    """Read from the classes as they are at run time, not as the helper wrote them."""
    part, made = OBJECTS[name], CLASSES[name]
    assert made.__required_keys__ == set(part["required"])
    assert made.__required_keys__ | made.__optional_keys__ == set(part["properties"])
    types = {**vars(record_parts), **vars(record_types)}
    hints = get_type_hints(made, globalns=types)
    wrong = [key for key, given in part["properties"].items() if _flat(hints[key]) != _of_schema(given)]
    assert wrong == [], {key: (_flat(hints[key]), _of_schema(part["properties"][key])) for key in wrong}


def _flat(hint: Any) -> frozenset[Any]:
    """What a type allows: plain types, values, names of classes, and ("list", what it holds)."""
    origin = get_origin(hint)
    if origin in (UnionType, Union):
        return frozenset().union(*map(_flat, get_args(hint)))
    if origin is Literal:
        return frozenset(get_args(hint))
    if origin is list:
        return frozenset({("list", _flat(get_args(hint)[0]))})
    if hint is NoneType:
        return frozenset({None})
    return frozenset({hint.__name__ if hasattr(hint, "__required_keys__") else origin or hint})


def _of_schema(given: dict[str, Any]) -> frozenset[Any]:
    """The same of a part of the schema."""
    if "$ref" in given:
        given = schema()["$defs"][given["$ref"].rsplit("/", 1)[1]]
    if "const" in given:
        return frozenset({given["const"] if isinstance(given["const"], str) else dict})
    if "enum" in given:
        return frozenset(given["enum"])
    if "anyOf" in given:
        return frozenset().union(*map(_of_schema, given["anyOf"]))
    kinds = given["type"] if isinstance(given["type"], list) else [given["type"]]
    found = frozenset(value for kind in kinds for value in _of_kind(kind, given))
    return found - {int} if float in found else found


def _of_kind(kind: str, given: dict[str, Any]) -> frozenset[Any]:
    if kind == "null":
        return frozenset({None})
    if kind == "object":
        return frozenset({next(name for name, part in OBJECTS.items() if part is given)})
    if kind == "array":
        items = given.get("prefixItems") or [given["items"]]
        return frozenset({("list", frozenset().union(*map(_of_schema, items)))})
    return frozenset({_KINDS[kind]})


def test_what_a_finding_says_of_itself_fits_its_type() -> None:
    finding = Finding(Code.EMPTY, "nothing", "draw", where=("a",), measured=1.0, limit=0.0).as_json()
    assert set(finding) <= set(record_types.FindingRecord.__annotations__)
    assert errors_of({"Verdict": "REFUSED", "Exit": 10, "Findings": [finding]}) == []


def test_the_public_names_are_those_of_the_types() -> None:
    public = [name for name in pipeline.__all__ if name.endswith("Record")]
    assert len(public) == 7
    assert [getattr(pipeline, name).__name__ for name in public] == public
    assert set(public) <= set(CLASSES)
