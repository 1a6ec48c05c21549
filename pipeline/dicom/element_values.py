"""Convert the values of pydicom's elements to plain Python values.

Rules:
- What an attribute is follows from its keyword, whatever VR it is written with: a number as text (UT, ST, LO) is that
  number. One number that is written several times over is one.
- A value that cannot be read is given as unreadable, with the reason; an empty one is absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

_REALS, _INTEGERS = ("DS", "FD", "FL"), ("IS", "US", "SS", "UL", "SL")


def read_values(dataset: Dataset, keywords: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of attributes by keyword, and why others cannot be read."""
    from .guarded_dataset import plain_element

    values: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    for keyword in keywords:
        if keyword not in dataset:
            continue
        try:
            element = plain_element(dataset, keyword)
            if element.VR == "SQ":
                raise ValueError("it is written as a sequence")
            is_uid = element.VR == "UI" or _kind_of(keyword)[0] == "UI"  # which is no other instance's, whatever its VR
            value = _join_uids(element.value) if is_uid else plain(element.value)
            value = _as_numbers(keyword, element.VR, value)
        except MemoryError:
            raise
        except Exception as error:  # a damaged value makes a parser stumble in more ways than can be listed
            unreadable[keyword] = str(error) or type(error).__name__
            continue
        if element.VR in ("DS", "IS") and (_has_text(value) or "_" in str(element.value)):
            # pydicom hands on what it could not make a number, and lets Python read 1_0 as 10
            unreadable[keyword] = f"“{_show(element.value)}” is not a number"
        elif value is not None:
            values[keyword] = value
        elif _has_content(element):
            unreadable[keyword] = f"“{_show(element.value)}” (VR {element.VR}) is no value of its kind"
    return values, unreadable


def _join_uids(value: Any) -> str | None:
    """A UID; several are kept as one text, which is no other instance's UID."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").rstrip("\0 ")
    parts = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return "\\".join("" if part is None else str(part).strip() for part in parts) or None


@cache
def _kind_of(keyword: str) -> tuple[str, bool]:
    """The VR that the dictionary gives an attribute, and whether it has one value."""
    from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return dictionary_VR(tag), dictionary_VM(tag) == "1"


def _as_numbers(keyword: str, vr: str, value: Any) -> Any:
    """The value of an attribute that the dictionary says is a number, as such; any other value as it is.

    Several equal ones are one where there is to be one. Raises ValueError for a text that is no number.
    """
    own, is_single = _kind_of(keyword)
    if value is None or own not in (*_REALS, *_INTEGERS) or (vr in ("DS", "IS") and _has_text(value)):
        return value
    if vr != own:
        parts = value.split("\\") if isinstance(value, str) else value if isinstance(value, tuple) else (value,)
        try:
            numbers = tuple(_parse_number(str(part)) for part in parts)
        except ValueError:
            raise ValueError(f"“{_show(value)}” (VR {vr}) is not a number") from None
        if own in _INTEGERS and all(number.is_integer() for number in numbers):
            numbers = tuple(int(number) for number in numbers)
        value = numbers if len(numbers) > 1 else numbers[0]
    if is_single and isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return value


def _parse_number(text: str) -> float:
    if "_" in text:  # Python's own way to group digits
        raise ValueError
    return float(text)


def _has_text(value: Any) -> bool:
    return any(isinstance(item, str) for item in (value if isinstance(value, tuple) else (value,)))


def _has_content(element: DataElement) -> bool:
    """Whether an element that gave no value has bytes: one number of several left empty, or a VR that holds no numbers."""
    if isinstance(element.value, bytes):
        return bool(element.value.strip(b"\0 "))
    return element.VR in (*_REALS, *_INTEGERS) and element.VM > 1


def _show(value: Any) -> str:
    if isinstance(value, bytes):
        return value[:16].decode("ascii", "replace")
    if isinstance(value, str):
        return value
    return "\\".join("" if v is None else str(v) for v in value) if isinstance(value, Iterable) else str(value)


def plain(value: Any) -> Any:
    """Convert a pydicom value to str, int, float or a tuple of them; None for an empty one."""
    if isinstance(value, str):
        return str(value).strip() or None
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float) or hasattr(value, "is_integer") or hasattr(value, "as_integer_ratio"):
        return float(value)
    if isinstance(value, bytes) or value is None:
        return None
    if hasattr(value, "__iter__"):
        items = tuple(plain(item) for item in value)
        return None if not items or None in items else items
    return str(value)
