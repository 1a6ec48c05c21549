"""Write the types of the record, `core/record_types.py` and `core/record_parts.py`, from its schema.

`python -m tests.helpers.record_types` rewrites them, and so does `make pages`; a test holds them against the schema.

Rules:
- An object of the schema is a TypedDict. Keys that may be left out stand in a class of their own, `total=False`, since the
  oldest Python that is supported has no NotRequired.
- A TypedDict with a key that is no name of Python (`@context`) is written as a call.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers.record_schema import schema

CORE = Path(__file__).parents[2] / "pipeline" / "core"
TYPES, PARTS = "record_types", "record_parts"  # two modules, since one would be too long
_HEAD = '''\
"""Describe {what} of a conversion to a type checker. Made from record_schema.json by `make pages`: do not edit.

Rules:
- docs/record.md says what every key means. Lengths are in mm; affines are RAS unless the key says LPS.
- Each class has the keys of one object of the schema. A key that may be left out is in a class with `total=False`.
"""

from __future__ import annotations

from typing import Literal, TypedDict
'''
_HEADER_VALUE = "HeaderValue = str | float | list[str | float]  # as the DICOM header has it; several values are a list"
# What was asked for, where it comes from, and what few records have.
_IN_PARTS = set("policy request provenance versions prov provDigest roi labelMap mergedFrom greyValues".split())

# Of the objects with a name in the schema, where it is not that name followed by Record.
_NAMES = {"outcome": "Record", "refusal": "RefusedRecord", "mergedFrom": "MergedSeriesRecord"}
# Of those without: the class that holds them, and their key.
_INNER = {
    ("AgreementRecord", "IndexMap"): "IndexMapRecord",
    ("ProvenanceRecord", "Inputs"): "InputFileRecord",
    ("ProvenanceRecord", "LabelsFile"): "LabelsFileRecord",
    ("MergedSeriesRecord", "Labels"): "MergedLabelRecord",
    ("ProvRecord", "Records"): "ProvPartsRecord",
    ("ProvPartsRecord", "Software"): "ProvSoftwareRecord",
    ("ProvPartsRecord", "Environments"): "ProvEnvironmentRecord",
    ("ProvPartsRecord", "Activities"): "ProvActivityRecord",
    ("ProvPartsRecord", "Files"): "ProvFileRecord",
    ("ProvPartsRecord", "prov:Entity"): "ProvCollectionRecord",
}
_PLAIN = {"string": "str", "number": "float", "integer": "int", "boolean": "bool", "null": "None"}


def type_modules() -> dict[str, str]:
    """The text of each module, by its name."""
    parts, types = dict[str, str](), dict[str, str]()
    for name, part in schema()["$defs"].items():
        if "properties" in part:
            _add_class(_name_of(name), part, parts if name in _IN_PARTS else types)
    used = [name for name in parts if any(re.search(rf"\b{name}\b", text) for text in types.values())]
    imported = f"from .{PARTS} import {', '.join(sorted(used, key=str.casefold))}\n"
    return {
        PARTS: _format("\n\n".join([_HEAD.format(what="parts of the record"), *parts.values()])),
        TYPES: _format(
            "\n\n".join([_HEAD.format(what="the record").rstrip(), imported.rstrip(), _HEADER_VALUE, *types.values()])
        ),
    }


def _format(text: str) -> str:
    """The text as `ruff format` leaves it."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(CORE / "made.py"), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the schema, with the name of its class."""

    def within(name: str, part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        yield name, part
        for key, given in part["properties"].items():
            for inner in (given, given.get("items", {})):
                if isinstance(inner, dict) and "properties" in inner:
                    yield from within(_INNER[name, key], inner)

    for name, part in schema()["$defs"].items():
        if "properties" in part:
            yield from within(_name_of(name), part)


def _name_of(definition: str) -> str:
    return _NAMES.get(definition, f"{definition[0].upper()}{definition[1:]}Record")


def _add_class(name: str, part: dict[str, Any], classes: dict[str, str]) -> None:
    """Write the class of an object, after those that it holds."""
    for key, given in part["properties"].items():
        for inner in (given, given.get("items", {})):
            if isinstance(inner, dict) and "properties" in inner:
                _add_class(_INNER[name, key], inner, classes)
    keys = {key: _type(given, name, key) for key, given in part["properties"].items()}
    needed = {key: kind for key, kind in keys.items() if key in part["required"]}
    optional = {key: kind for key, kind in keys.items() if key not in part["required"]}
    words = part["description"].split(". ")[0].rstrip(".") + "."
    if not optional:
        classes[name] = _one_class(name, "TypedDict", needed, words)
        return
    classes[f"_Required{name}"] = _one_class(f"_Required{name}", "TypedDict", needed)
    classes[name] = _one_class(name, f"_Required{name}", optional, words)


def _one_class(name: str, base: str, keys: dict[str, str], words: str = "") -> str:
    if all(key.isidentifier() for key in keys):
        total = "" if base == "TypedDict" else ", total=False"
        lines = [f"    {key}: {kind}" for key, kind in keys.items()]
        return "\n".join([f"class {name}({base}{total}):", *_docstring(words), *lines, ""])
    if base != "TypedDict":  # a call takes no base: a class of nothing joins the two
        called = _one_class(f"_Optional{name}", "TypedDict", keys)
        called = called.removesuffix(")\n") + "    total=False,\n)\n"
        joined = "\n".join([f"class {name}({base}, _Optional{name}):", *_docstring(words), ""])
        return f"{called}\n\n{joined}"
    comment = [f"# {words}"] if words else []
    lines = [
        f'        "{key}": "{kind}",' if "Record" in kind else f'        "{key}": {kind},' for key, kind in keys.items()
    ]
    return "\n".join([*comment, f"{name} = TypedDict(", f'    "{name}",', "    {", *lines, "    },", ")", ""])


def _docstring(words: str) -> list[str]:
    return [f'    """{words}"""', ""] if words else []


def _type(given: dict[str, Any], holder: str, key: str) -> str:
    """The type of a value, as Python writes it."""
    if "$ref" in given:
        name = given["$ref"].rsplit("/", 1)[1]
        if name == "header":
            return "HeaderValue"
        part = schema()["$defs"][name]
        return _name_of(name) if "properties" in part else _type(part, holder, key)
    if "const" in given:
        return f'Literal["{given["const"]}"]' if isinstance(given["const"], str) else "dict[str, object]"
    if "enum" in given:
        values = ", ".join(
            "None" if value is None else f'"{value}"' if isinstance(value, str) else str(value)
            for value in given["enum"]
        )
        return f"Literal[{values}]"
    if "anyOf" in given:
        return _join(_type(option, holder, key) for option in given["anyOf"])
    kinds = given["type"] if isinstance(given["type"], list) else [given["type"]]
    return _join(_of_kind(kind, given, holder, key) for kind in kinds)


def _of_kind(kind: str, given: dict[str, Any], holder: str, key: str) -> str:
    if kind == "object":
        return _INNER[holder, key]
    if kind != "array":
        return _PLAIN[kind]
    if "prefixItems" in given:
        return f"list[{_join(_type(item, holder, key) for item in given['prefixItems'])}]"
    return f"list[{_type(given['items'], holder, key)}]"


def _join(kinds: Iterator[str]) -> str:
    """Alternatives, each once; a whole number is a number too."""
    each = list(dict.fromkeys(part for kind in kinds for part in (kind.split(" | ") if "[" not in kind else [kind])))
    return " | ".join(kind for kind in each if not (kind == "int" and "float" in each))


def write() -> None:
    """Write both modules."""
    for name, text in type_modules().items():
        (CORE / f"{name}.py").write_text(text, "utf-8")


if __name__ == "__main__":
    write()
    sys.exit()
