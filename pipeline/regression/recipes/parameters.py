"""Read the parameters of a recipe: each by name, with its default and what it may be.

Rules:
- A parameter that is an attribute of DICOM has that attribute's keyword (PS3.6), unit and order of values.
- What is unknown, or has a value that it may not have, is refused by name, with what there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydicom.datadict import tag_for_keyword

from ...core.findings import Code, PipelineError, refuse
from ...core.numbers import is_finite_number

ReadParameter = Callable[[Any], Any]


class Parameter(NamedTuple):
    """One parameter. default: as it is written in TOML. words: what it is. read: returns its value, or raises ValueError."""

    default: Any
    words: str
    read: ReadParameter


def read_parameters(kind: str, given: Mapping[str, Any], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """Read what a recipe gives, and the defaults of what it does not.

    Args:
        kind: of the recipe, for messages.
        given: its table, without `kind`.
        known: the parameters there are.

    Returns: a value for each parameter that is known; and under "seed" what the UIDs are made of, which the recipe decides.

    Raises: PipelineError BAD_OPTION.
    """
    for name in given:
        if name not in known:
            raise refuse_recipe(f"recipe.{name}", f"the recipe “{kind}” has no parameter “{name}”", known)
    found: dict[str, Any] = {"seed": json.dumps([kind, sorted(given.items())])}
    for name, parameter in known.items():
        value = given.get(name, parameter.default)
        try:
            found[name] = parameter.read(value)
        except ValueError as error:
            raise refuse_value(name, value, str(error)) from error
    return found


def refuse_recipe(where: str, message: str, known: Mapping[str, Any]) -> PipelineError:
    """Make the refusal of a name.

    Args:
        where: the place in the recipe.
        message: what is wrong there.
        known: the names there are.

    Returns: BAD_OPTION, to be raised.
    """
    return refuse(Code.BAD_OPTION, message, f"There are {', '.join(known)}.", where=(where,))


def refuse_value(name: str, value: Any, allowed: str) -> PipelineError:
    """Make the refusal of a parameter's value.

    Args:
        name: of the parameter.
        value: that was given.
        allowed: what it may be, in words.

    Returns: BAD_OPTION, to be raised.
    """
    field = f"recipe.{name}"
    return refuse(
        Code.BAD_OPTION, f"{field} is {allowed}, not {value!r}", f"Give {field} such a value.", where=(field,)
    )


def whole(first: int, last: int) -> ReadParameter:
    """Make the reader of a whole number from a first to a last one."""

    def read(value: Any) -> int:
        if type(value) is not int or not first <= value <= last:
            raise ValueError(f"a whole number from {first} to {last}")
        return value

    return read


def number(above: float | None = None) -> ReadParameter:
    """Make the reader of a finite number, above a bound where one is given."""

    def read(value: Any) -> float:
        if not is_finite_number(value) or not (above is None or value > above):
            raise ValueError("a number" if above is None else f"a number above {above:g}")
        return float(value)

    return read


def numbers(count: int, above: float | None = None) -> ReadParameter:
    """Make the reader of a list of so many finite numbers, each above a bound where one is given."""

    def read(value: Any) -> tuple[float, ...]:
        good = isinstance(value, list) and len(value) == count and all(map(is_finite_number, value))
        if not good or not (above is None or min(value) > above):
            raise ValueError(f"a list of {count} numbers" + ("" if above is None else f" above {above:g}"))
        return tuple(map(float, value))

    return read


def wholes(first: int, last: int, count: int | None = None) -> ReadParameter:
    """Make the reader of a list of whole numbers.

    Args:
        first: the least of them.
        last: the largest.
        count: how many they are; None for any number.

    Returns: the reader.

    Raises: ValueError, by the reader, for other values.
    """
    one = whole(first, last)

    def read(value: Any) -> tuple[int, ...]:
        try:
            found = tuple(one(v) for v in value) if isinstance(value, list) else None
        except ValueError:
            found = None
        if found is None or count not in (None, len(found)):
            many = "" if count is None else f"{count} "
            raise ValueError(f"a list of {many}whole numbers from {first} to {last}")
        return found

    return read


def choice(*choices: Any) -> ReadParameter:
    """Make the reader of one of several values."""

    def read(value: Any) -> Any:
        if not any(value == one and type(value) is type(one) for one in choices):
            raise ValueError("one of " + ", ".join(str(one) for one in choices))
        return value

    return read


def flag(value: Any) -> bool:
    """Read true or false."""
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


def text(value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


def texts(most: int) -> ReadParameter:
    """Make the reader of a list of one or more different texts, of so many at most."""

    def read(value: Any) -> tuple[str, ...]:
        good = isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value)
        if not good or not 1 <= len(value) <= most or len(set(value)) != len(value):
            raise ValueError(f"a list of 1 to {most} different texts")
        return tuple(value)

    return read


def attributes(value: Any) -> tuple[str, ...]:
    """Read a list of keywords of attributes."""
    if not isinstance(value, list) or not all(map(_is_keyword, value)):
        raise ValueError("a list of keywords of attributes, such as ImagePositionPatient")
    return tuple(value)


def changed_slices(value: Any) -> tuple[tuple[tuple[int, ...], dict[str, Any]], ...]:
    """Read tables of attributes that some slices have instead: (slices from 1, attributes) each."""
    allowed = "a list of tables, each of slices = [1, …] and attributes by keyword, such as PixelSpacing = [1, 1]"
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise ValueError(allowed)
    found = []
    for table in value:
        changed = {keyword: v for keyword, v in table.items() if keyword != "slices"}
        slices = table.get("slices")
        good = isinstance(slices, list) and all(type(n) is int for n in slices)
        if not good or not all(map(_is_keyword, changed)) or not all(map(_is_attribute_value, changed.values())):
            raise ValueError(allowed)
        found.append((tuple(slices or ()), changed))
    return tuple(found)


def _is_keyword(value: Any) -> bool:
    return isinstance(value, str) and tag_for_keyword(value) is not None


def _is_attribute_value(value: Any) -> bool:
    several: Sequence[Any] = value if isinstance(value, list) else [value]
    return all(isinstance(v, str) or is_finite_number(v) for v in several)
