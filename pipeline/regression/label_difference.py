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


LabelEntry = Mapping[str, Any]  # a label, as in a record


def compare_labels(
    was: Sequence[LabelEntry], now: Sequence[LabelEntry]
) -> Iterator[tuple[str, LabelEntry | None, LabelEntry | None]]:
    """Describe every label that is not what it was, in one line each, with what it was and is. was, now: as recorded."""
    before, after = ({label["Value"]: label for label in labels} for labels in (was, now))
    for value in sorted(before.keys() | after.keys()):
        then, today = before.get(value), after.get(value)
        if today is None and then is not None:
            yield f"{_title(then)} is gone; it had {_count(then['Voxels'])}", then, None
        elif then is None and today is not None:
            yield f"{_title(today)} is new, with {_count(today['Voxels'])}", None, today
        elif then and today and (changes := [*_changes(then, today)]):
            yield f"{_title(then)} {', '.join(changes)}", then, today


def _count(voxels: int) -> str:
    return f"{voxels} voxel{'s' * (voxels != 1)}"


def _title(label: LabelEntry) -> str:
    return f"label {label['Value']} “{label['Name']}”"


def _changes(was: LabelEntry, now: LabelEntry) -> Iterator[str]:
    if was["Name"] != now["Name"]:
        yield f"is now called “{now['Name']}”"
    less = was["Voxels"] - now["Voxels"]
    if less:
        yield f"{'lost' if less > 0 else 'gained'} {_count(abs(less))} (was {was['Voxels']}, is {now['Voxels']})"
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
