"""Tell volumes apart that are numbered slice by slice: through all repeats at one place, then on to the next place.

Rules:
- The rank by Instance Number at each place is the volume. It is no attribute of the standard for that, so what else there
  is must agree with it, and a finding says on what the volumes rest.
- An attribute that names a volume, such as the b-value, must be the same at every place of a rank. One that orders the
  repeats, such as Trigger Time, may move from place to place but must order them alike everywhere.
- Attributes that tell all ranks apart, and agree, bear the reading out; times of acquisition always follow the numbers,
  and bear out nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ..core.findings import Code, Finding, Severity
from .frame import Frame, describe_attribute
from .plane_rows import group_by_place

_NAMES_VOLUME = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "EchoTime",
    "EffectiveEchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "ImageType",
    "FrameType",
)
_ORDERS_PHASES = ("TriggerTime", "NominalCardiacTriggerDelayTime")
_ORDERS_TIMES = (
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "AcquisitionTime",
    "FrameAcquisitionDateTime",
    "ContentTime",
)


class Ranked(NamedTuple):
    """Repeats by their rank at each place. volumes: of each rank its frames, from the lowest place.

    contradiction: what speaks against it, as a clause, "" where nothing does. witnesses: the attributes that bear it out.
    """

    volumes: list[list[Frame]]
    contradiction: str = ""
    witnesses: tuple[str, ...] = ()

    def finding(self) -> Finding:
        """Make the finding that says on what the volumes rest."""
        names = " and ".join(describe_attribute(keyword) for keyword in self.witnesses)
        agree = f"; {names} order{'s' * (len(self.witnesses) == 1)} them in the same way" if names else ""
        return Finding(
            Code.REPEATS_BY_NUMBER,
            f"each of the {len(self.volumes[0])} positions occurs {len(self.volumes)} times, and no attribute names the "
            "volume a plane belongs to; it was taken from the order of the Instance Numbers (0020,0013) at each "
            f"position, which run through one position before the next{agree}",
            "" if names else "Nothing else in the files shows that this order is that of the volumes: compare them.",
            Severity.INFO if names else Severity.WARNING,
            "PS3.3 C.7.6.1",
        )


def rank_repeats(frames: Sequence[Frame]) -> Ranked | None:
    """Rank repeats by Instance Number at each place; None where the numbers do not run from place to place."""
    numbers = [frame.rank("InstanceNumber") for frame in frames]
    if None in numbers or len(set(numbers)) < len(numbers):
        return None
    places = [sorted(place, key=_number) for place in group_by_place(frames)]
    if len(places) < 2 or len({len(place) for place in places}) > 1:
        return None
    by_number = sorted(places, key=lambda place: _number(place[0]))
    if any(_number(one[-1]) > _number(other[0]) for one, other in pairwise(by_number)):
        return None
    volumes = [list(volume) for volume in zip(*places, strict=True)]
    clauses = [
        clause for keyword in (*_NAMES_VOLUME, *_ORDERS_PHASES, *_ORDERS_TIMES) if (clause := _against(keyword, places))
    ]
    if clauses:
        return Ranked(volumes, "; ".join(clauses))
    return Ranked(volumes, "", _find_witnesses(places))


def _number(frame: Frame) -> float:
    return frame.rank("InstanceNumber") or 0.0


def _against(keyword: str, places: Sequence[Sequence[Frame]]) -> str:
    """How the values of an attribute contradict the ranks, as a clause; "" where they do not."""
    rows = [tuple(frame.get(keyword) for frame in place) for place in places]
    if all(len(set(row)) == 1 for row in rows):
        return ""
    return (_against_names if keyword in _NAMES_VOLUME else _against_order)(keyword, places, rows)


def _against_names(keyword: str, places: Sequence[Sequence[Frame]], rows: Sequence[tuple[Any, ...]]) -> str:
    """As `_against`, of values that must be the same at every place of a rank."""
    differing = ((n, rank) for n, row in enumerate(rows) for rank, value in enumerate(row) if value != rows[0][rank])
    n, rank = next(differing, (0, 0))
    if not n:
        return ""
    one, other = places[0][rank].name, places[n][rank].name
    values = f"{_show(rows[0][rank])} in {one} and {_show(rows[n][rank])} in {other}"
    return f"{describe_attribute(keyword)} is {values}, which have the same rank"


def _against_order(keyword: str, places: Sequence[Sequence[Frame]], rows: Sequence[tuple[Any, ...]]) -> str:
    """As `_against`, of values that must order the ranks alike at every place."""
    if any(None in row for row in rows):
        return ""
    orders = [_order(row) for row in rows]
    if all(map(_rises, orders)) or all(_rises(order[::-1]) for order in orders):
        return ""
    other = next((n for n, order in enumerate(orders) if order != orders[0]), 0)
    if not other:
        return ""
    ways = f"the planes at {places[0][0].name} in another way than those at {places[other][0].name}"
    return f"{describe_attribute(keyword)} orders {ways}"


def _find_witnesses(places: Sequence[Sequence[Frame]]) -> tuple[str, ...]:
    """The attributes that together tell all ranks apart at every place; none where they do not. None contradicts."""
    found = []
    patterns: list[list[tuple[Hashable, ...]]] = [[() for _ in place] for place in places]
    for keyword in (*_NAMES_VOLUME, *_ORDERS_PHASES):
        rows = [tuple(frame.get(keyword) for frame in place) for place in places]
        if any(len(set(row)) == 1 for row in rows) or (keyword in _ORDERS_PHASES and any(None in row for row in rows)):
            continue
        found.append(keyword)
        for pattern, row in zip(patterns, rows, strict=True):
            pattern[:] = [(*before, value) for before, value in zip(pattern, row, strict=True)]
    return tuple(found) if all(len(set(pattern)) == len(pattern) for pattern in patterns) else ()


def _order(values: Sequence[Any]) -> tuple[int, ...]:
    """Of each value how many different ones are smaller."""
    ranks = {value: n for n, value in enumerate(sorted(set(values), key=lambda v: (isinstance(v, str | tuple), v)))}
    return tuple(ranks[value] for value in values)


def _rises(order: Sequence[int]) -> bool:
    return all(a <= b for a, b in pairwise(order))


def _show(value: Any) -> str:
    if value is None:
        return "absent"
    return (
        "\\".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
