"""Number the places that planes lie at, and check whether planes are one row of even steps.

Rules:
- Places are counted along the normal; planes less than 1 µm apart lie at one place.
- A row is evidence where identifiers say nothing: an even step along one line, each place as often as any other, and
  Instance Numbers that run along it. Two stacks that interleave, overlap or follow each other do not have all of these.
- Only what other series would break is looked for here. Whether planes are a grid is for `geometry.stack` to prove.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..core.limits import SAME_PLACE_MM
from .frame import Frame

FEWEST = 3  # places: any two are a row
_OFF_ROW = 0.1  # of the step: what lies further off the row is no jitter


def number_places(frames: Sequence[Frame]) -> list[int]:
    """For each frame the number of its place along the normal, counted from below."""
    planes = [frame.known_plane for frame in frames]
    distances = np.array([p.position for p in planes]) @ np.array(planes[0].normal)
    order = np.argsort(distances, kind="stable")
    numbers = np.empty(len(planes), int)
    numbers[order] = np.cumsum(np.diff(distances[order], prepend=distances[order[0]]) > SAME_PLACE_MM)
    return [int(n) for n in numbers]


def group_by_place(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames of every place, from below."""
    groups: dict[int, list[Frame]] = defaultdict(list)
    for number, frame in zip(number_places(frames), frames, strict=True):
        groups[number].append(frame)
    return [groups[number] for number in sorted(groups)]


def why_no_row(frames: Sequence[Frame]) -> str:
    """Why parallel planes are not one row, as a clause; "" where they are one. Whole steps may be missing."""
    if any(frame.plane is None for frame in frames):
        return "not all of them have a position"
    places = group_by_place(frames)
    if len(places) < FEWEST:
        return f"they lie at {len(places)} positions, and fewer than {FEWEST} show no row"
    if len({len(place) for place in places}) > 1:
        return "some positions occur more often than others"
    if not _is_even([place[0] for place in places]):
        return "their positions are not evenly spaced along one line"
    if not _is_numbered_along(places):
        return "their Instance Numbers do not run along their positions"
    return ""


def _is_even(row: Sequence[Frame]) -> bool:
    """Whether one frame of every place lies where an even step, or several of it, puts it."""
    positions = np.array([frame.known_plane.position for frame in row])
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    counts = np.rint(gaps / np.median(gaps))
    if counts.min() < 1:
        return False
    index = np.concatenate([[0], np.cumsum(counts)])
    slope, start = np.polyfit(index, positions, 1)
    off = np.linalg.norm(positions - (np.outer(index, slope) + start), axis=1)
    return bool(off.max() <= _OFF_ROW * np.linalg.norm(slope))


def _is_numbered_along(places: Sequence[Sequence[Frame]]) -> bool:
    """Whether the least Instance Number of each place rises, or falls, from each to the next; also where none has one."""
    ranks = [[frame.rank("InstanceNumber") for frame in place] for place in places]
    known = [[rank for rank in place if rank is not None] for place in ranks]
    if not all(known):
        return not any(known)
    steps = np.diff([min(place) for place in known])
    return bool((steps > 0).all() or (steps < 0).all() or not steps.any())
