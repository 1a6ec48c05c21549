"""Find what in a golden record is of no form that one has: it is a file that people edit, merge and damage.

Rules:
- Only what a comparison computes with, or names a result by, is looked at; a value that is merely another is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..core.numbers import is_finite_number

_MOST = 2**62  # of a count
_Test = Callable[[Any], bool]


def find_odd(golden: dict[str, Any]) -> str:
    """The first key of a golden record whose value cannot be compared; "" where all can."""
    return next(_odd_keys(golden), "")


def _odd_keys(golden: dict[str, Any]) -> Iterator[str]:
    yield from _odd(golden, {"Options": _texts, "Inputs": _named(_text), "Results": _every(_record)}, _ALL)
    for n, result in enumerate(golden["Results"]):  # which is a list of records, or was named before
        needed = {"Verdict", *(("Code",) if result.get("Verdict") == "REFUSED" else ())}
        needed |= {"Shape"} if "Affine" in result else set()
        needed |= {"PlanesCRC32"} if "VoxelsSHA256" in result else set()
        for key in _odd(result, _OF_RESULT, needed):
            yield f"Results[{n}].{key}"


def _odd(values: dict[str, Any], tests: dict[str, _Test], needed: set[str]) -> Iterator[str]:
    yield from sorted(needed - values.keys())
    yield from (key for key, test in tests.items() if key in values and not test(values[key]))


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _record(value: Any) -> bool:
    return isinstance(value, dict)


def _every(test: _Test) -> _Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _named(test: _Test) -> _Test:
    return lambda value: isinstance(value, dict) and all(map(test, value.values()))


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _affine(value: Any) -> bool:
    rows = isinstance(value, list) and len(value) == 4 and all(_numbers(row, 4) for row in value)
    return rows and abs(np.linalg.det(np.array(value, np.float64))) > 0


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(is_finite_number, value))


def _label(value: Any) -> bool:
    known = _record(value) and _count(value.get("Value")) and _text(value.get("Name")) and _count(value.get("Voxels"))
    return known and (value.get("CentroidRasMm") is None or _numbers(value["CentroidRasMm"], 3))


def _witness(value: Any) -> bool:
    return _record(value) and all(_text(value.get(key)) for key in ("Version", "Status", "Words"))


_texts = _every(_text)
_ALL = {"Options", "Inputs", "Results"}
_OF_RESULT: dict[str, _Test] = {
    **dict.fromkeys(("Verdict", "Code", "File", "Folder", "VoxelsSHA256"), _text),
    "Series": lambda value: value is None or _text(value),  # a bundle has none
    "Shape": lambda value: _every(lambda n: _count(n) and n > 0)(value) and len(value) >= 3,
    "Affine": _affine,
    "Labels": _every(_label),
    "Findings": _texts,
    "PlanesCRC32": _texts,
    "Witnesses": _named(_witness),
}
