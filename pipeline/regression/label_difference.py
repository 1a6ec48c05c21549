"""Say what differs between two tables of labels: which label is gone or new, what it lost, and where its centre went."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_TOLERANCE = 1e-9  # of numbers, which were rounded to nine decimals
_HANDLED = (
    "Value",
    "Name",
    "Voxels",
    "VolumeMl",
    "CentroidLpsMm",
    "CentroidRasMm",
)  # the volume follows from the voxels


def is_same(was: Any, now: Any) -> bool:
    """Whether two JSON values are equal; numbers to 1e-9."""
    if isinstance(was, dict) and isinstance(now, dict):
        return was.keys() == now.keys() and all(is_same(was[key], now[key]) for key in was)
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(is_same, was, now))
    if isinstance(was, float) and isinstance(now, float):
        return math.isclose(was, now, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(was == now)


def compare_labels(was: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Describe every label that is not what it was, in one line each. was, now: as in the records."""
    before, after = ({label["Value"]: label for label in labels} for labels in (was, now))
    for value in sorted(before.keys() | after.keys()):
        if value not in after:
            yield f"{_title(before[value])} is gone; it had {before[value]['Voxels']} voxels"
        elif value not in before:
            yield f"{_title(after[value])} is new, with {after[value]['Voxels']} voxels"
        elif changes := [*_changes(before[value], after[value])]:
            yield f"{_title(before[value])} {', '.join(changes)}"


def _title(label: Mapping[str, Any]) -> str:
    return f"label {label['Value']} “{label['Name']}”"


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if was["Name"] != now["Name"]:
        yield f"is now called “{now['Name']}”"
    less = was["Voxels"] - now["Voxels"]
    if less:
        yield f"{'lost' if less > 0 else 'gained'} {abs(less)} voxels (was {was['Voxels']}, is {now['Voxels']})"
    centres = was.get("CentroidRasMm"), now.get("CentroidRasMm")
    if not is_same(*centres):
        yield _moved(*centres)
    for key in [*was, *(key for key in now if key not in was)]:
        if key not in _HANDLED and not is_same(was.get(key), now.get(key)):
            yield f"has {key} {now.get(key)} and had {was.get(key)}"


def _moved(was: Sequence[float] | None, now: Sequence[float] | None) -> str:
    if was is None or now is None:
        return "has no centre any more" if now is None else "has a centre now"
    places = [", ".join(f"{x:.3f}" for x in centre) for centre in (was, now)]
    return f"has its centre {math.dist(was, now):.4f} mm away (RAS mm: was {places[0]}, is {places[1]})"
