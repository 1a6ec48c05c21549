"""Find planes that repeat another one at the same place: a slice that was exported twice.

Rules:
- A copy has the place, the stored bits, the rescale and the overlays of the plane it repeats, and every attribute of
  `_NAMES_VOLUME`: the empty planes of two time points are no copies of each other.
- A whole series that was exported several times repeats every plane equally often. Otherwise a plane is a copy only
  where its place occurs more often than most do: two volumes may well look alike somewhere.
- Pixels are read only where places coincide, and no further than the first difference that decides.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from ..core.findings import PipelineError
from ..core.limits import SAME_PLACE_MM
from .encoding import load
from .frame import Frame, describe_attribute
from .pixels import is_colour, read_allocated, read_colour, read_plane
from .plane_rows import group_by_place

Copies = dict[Frame, Frame]  # each copy, and the frame that it repeats

_NAMES_VOLUME = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "EchoTime",
    "EffectiveEchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
)
_VALUES = ("RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "SliceLocation")


def find_difference(one: Frame, other: Frame) -> str:
    """In what two planes at one position differ, in words; "" where one is a copy of the other."""
    keywords = (*_NAMES_VOLUME, *_VALUES, "ImageType")
    values = zip(keywords, _attributes(one), _attributes(other), strict=True)
    differing = next((keyword for keyword, a, b in values if a != b), "")
    if differing:
        return describe_attribute(differing)
    return "" if _content(one) == _content(other) else "pixels"


def find_whole_copies(frames: Sequence[Frame]) -> Copies:
    """The copies of planes, where every plane is there several times and equally often; none otherwise."""
    found: Copies = {}
    shapes: set[tuple[int, int]] = set()
    for place in group_by_place(frames):
        alike = _group_alike(place)
        sizes = {len(group) for group in alike}
        shapes |= {(len(alike), size) for size in sizes}
        if len(shapes) > 1 or 1 in sizes:
            return {}
        found.update(_pair(alike))
    return found


def find_single_copies(frames: Sequence[Frame]) -> Copies:
    """The copies of planes at the places that occur more often than most."""
    found: Copies = {}
    places = group_by_place(frames)
    usual = Counter(len(place) for place in places).most_common(1)[0][0]
    for place in places:
        if len(place) > usual:
            found.update(_pair(_group_alike(place)))
    return found


def are_at_one_place(one: Frame, other: Frame) -> bool:
    """Whether two planes have the same corners."""
    apart = np.linalg.norm(one.known_plane.corners() - other.known_plane.corners(), axis=1)
    return float(apart.max()) <= SAME_PLACE_MM


def age(frame: Frame) -> tuple[float, str, int]:
    """What orders frames from first to last; the UID decides where Instance Number does not."""
    return frame.rank("InstanceNumber") or 0.0, frame.sop_instance_uid, frame.number


def _pair(alike: Sequence[Sequence[Frame]]) -> Copies:
    return {copy: group[0] for group in alike for copy in group[1:]}


def _group_alike(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames of one place in groups of copies, each from first to last."""
    candidates: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=age):
        candidates[_attributes(frame)].append(frame)
    groups: list[tuple[Hashable, list[Frame]]] = []
    for members in candidates.values():
        for frame in members:
            content = _content(frame) if len(members) > 1 else frame
            home = next((g for known, g in groups if known == content and are_at_one_place(g[0], frame)), None)
            if home is None:
                groups.append((content, [frame]))
            else:
                home.append(frame)
    return [group for _, group in groups]


def _attributes(frame: Frame) -> tuple[Hashable, ...]:
    """The values of `_NAMES_VOLUME` and `_VALUES`, and of Image Type what is neither of a copy nor of its origin."""
    kinds = (frame.get("ImageType"), frame.get("FrameType"))
    what = tuple(kind[2:] if isinstance(kind, tuple) else () for kind in kinds)
    return (*map(frame.get, (*_NAMES_VOLUME, *_VALUES)), what)


def _content(frame: Frame) -> Hashable:
    """What a frame shows: its stored bits and its overlays. The frame itself where it cannot be read: it is like no other."""
    try:
        if is_colour(frame):
            pixels = read_colour(frame)
        else:
            pixels = read_plane(frame) if frame.tile else read_allocated(frame)
        overlays = _read_overlays(frame) if frame.header.overlays else ()
    except PipelineError:
        return frame
    return pixels.dtype.str, pixels.shape, hashlib.sha256(pixels.tobytes()).digest(), overlays


def _read_overlays(frame: Frame) -> Hashable:
    """Every element of the overlay groups of a frame's file."""
    dataset = load(frame.path, stop_before_pixels=True)
    groups = (dataset.group_dataset(group) for group in frame.header.overlays)
    return tuple((int(element.tag), repr(element.value)) for group in groups for element in group)
