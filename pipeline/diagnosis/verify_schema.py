"""Hold a record against its published schema, record_schema.json, without a library for it.

Rules:
- Every keyword of JSON Schema that our schema uses is known here; a test holds that.
- The schema leads: how deep a record is looked into, and for how long, does not depend on what it holds.
- A policy or request of an older version lacks options that did not exist; those are no fault.
- Numbers are finite, and no larger than a file can say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..conversion import record as record_module
from .verify_result import Broken, show

RECORD_SCHEMA = "schema of the record"
_MOST = 5  # that are listed
_GROWING = ("Policy", "Request")  # get a key with every new option
_LARGEST = 2**63
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
SchemaRule = dict[str, Any]


def check_schema(record: Any) -> list[Broken]:
    """List what in a record is not as its schema says, the first few of it.

    Args:
        record: what the JSON file holds.

    Returns: what is broken; nothing where the record is one.
    """
    return list(islice(_check(record, _schema()["$defs"]["outcome"], ""), _MOST))


@cache
def _schema() -> SchemaRule:
    path = Path(record_module.__file__).with_name("record_schema.json")
    return dict(json.loads(path.read_text("utf-8")))


def _is_type(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _check(value: Any, rule: SchemaRule, at: str) -> Iterator[Broken]:
    """Yield what in a value is not as a rule says."""
    if "$ref" in rule:
        yield from _check(value, _schema()["$defs"][rule["$ref"].rpartition("/")[2]], at)
    wanted = rule.get("type", [])
    names = [wanted] if isinstance(wanted, str) else wanted
    if names and not any(_is_type(value, name) for name in names):
        yield Broken(RECORD_SCHEMA, at, " or ".join(names), show(value))
        return
    if _is_type(value, "number") and not abs(value) <= _LARGEST:  # nor is NaN
        yield Broken(RECORD_SCHEMA, at, "a finite number", show(value))
        return
    for keyword, limit in rule.items():
        if keyword in _LIMITS and not _LIMITS[keyword](value, limit):
            yield Broken(RECORD_SCHEMA, at, f"{keyword} {show(limit)}", show(value))
            return
    if "anyOf" in rule and all(any(True for _ in _check(value, one, at)) for one in rule["anyOf"]):
        yield Broken(RECORD_SCHEMA, at, "one of the forms of the schema", show(value))
    if isinstance(value, dict):
        yield from _check_members(value, rule, at)
    elif isinstance(value, list):
        yield from _check_items(value, rule, at)


def _check_members(value: dict[str, Any], rule: SchemaRule, at: str) -> Iterator[Broken]:
    known, more = rule.get("properties", {}), rule.get("additionalProperties", True)
    for key in rule.get("required", ()):
        if key not in value and at not in _GROWING:
            yield Broken(RECORD_SCHEMA, f"{at}.{key}".strip("."), "a value", "none")
    for key, others in rule.get("dependentRequired", {}).items():
        for other in others if key in value else ():
            if other not in value:
                yield Broken(RECORD_SCHEMA, f"{at}.{other}".strip("."), f"a value, since there is {key}", "none")
    for key, member in value.items():
        place = f"{at}.{show(key)}".strip(".")
        if key in known:
            yield from _check(member, known[key], place)
        elif more is False:
            yield Broken(RECORD_SCHEMA, place, "no such key", show(member))
        elif isinstance(more, dict):
            yield from _check(member, more, place)


def _check_items(value: list[Any], rule: SchemaRule, at: str) -> Iterator[Broken]:
    first = rule.get("prefixItems", [])
    for n, entry in enumerate(value):
        own = first[n] if n < len(first) else rule.get("items", {})
        if isinstance(own, dict):
            yield from _check(entry, own, f"{at}[{n}]")


def _is_equal(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _only(kind: type | tuple[type, ...], test: Callable[[Any, Any], bool], value: Any, limit: Any) -> bool:
    """Whether a value passes a test that is for one kind of value: any other passes."""
    return not isinstance(value, kind) or test(value, limit)


_LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "const": _is_equal,
    "enum": lambda value, choices: any(_is_equal(value, choice) for choice in choices),
    "minimum": partial(_only, (int, float), lambda value, limit: value >= limit),
    "exclusiveMinimum": partial(_only, (int, float), lambda value, limit: value > limit),
    "maximum": partial(_only, (int, float), lambda value, limit: value <= limit),
    "minLength": partial(_only, str, lambda value, limit: len(value) >= limit),
    "pattern": partial(_only, str, lambda value, limit: re.search(limit, value) is not None),
    "minItems": partial(_only, list, lambda value, limit: len(value) >= limit),
    "maxItems": partial(_only, list, lambda value, limit: len(value) <= limit),
}
_STRUCTURE = "$ref type anyOf properties additionalProperties required dependentRequired prefixItems items description"
KNOWN = frozenset([*_LIMITS, *_STRUCTURE.split()])
