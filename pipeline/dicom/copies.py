"""Find planes that repeat another one at the same place: a slice that was exported twice.

Rules:
- A copy has the place, the stored bits, the rescale and the overlays of the plane it repeats, and every attribute of
  `_NAMES_VOLUME`: the empty planes of two time points are no copies of each other. A plane with a Modality LUT is a copy of
  none, since the table is not compared.
- A whole series that was exported several times repeats every plane equally often, and shows something in one of them;
  the same where one of the exports is not whole. Otherwise a plane is a copy only where its place occurs more often than
  most do, and where nothing else tells volumes apart (`split_volumes`): two of them may well look alike somewhere.
- Planes that show one value alone look like those of any other volume: there, and where all planes lie at one place, a copy
  has the Instance Number and the frame number of its origin too.
- Pixels are read only where places coincide, and no further than the first difference that decides.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..core.findings import PipelineError
from ..core.limits import SAME_PLACE_MM
from .colour_pixels import has_palette, has_samples, read_colour
from .encoding import load
from .frame import Frame, describe_attribute
from .frame_vectors import VECTORS
from .pixels import read_allocated, read_plane
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
    "DoseSummationType",
    *VECTORS,
)
_VALUES = (
    "RescaleSlope",
    "RescaleIntercept",
    "DoseGridScaling",
    "DoseUnits",
    "BitsStored",
    "HighBit",
    "PhotometricInterpretation",
    "SliceLocation",
)
_NUMBER = "InstanceNumber"


class _Content(NamedTuple):
    """What a frame shows: its stored bits and overlays, or the frame itself where it was not read. blank: all one value."""

    shown: Hashable
    blank: bool = False


def find_copies(frames: Sequence[Frame]) -> Copies:
    """Find the copies among planes that can be of one grid: those of exports, or else single planes."""
    return find_exports(frames) or _find_single_copies(group_by_place(frames))


def find_exports(frames: Sequence[Frame]) -> Copies:
    """Find the copies that further exports of one series are, of which one may not be whole; none where any plane differs."""
    places = group_by_place(frames)
    if len(places) == 1:
        return _pair(_group_alike(frames, numbered=True))
    return _find_whole_copies(places) or _find_repeated(places)


def find_difference(one: Frame, other: Frame) -> str:
    """Describe in what two planes at one position differ; "" where nothing that is compared does."""
    keywords = (*_NAMES_VOLUME, *_VALUES, "ImageType")
    values = zip(keywords, _attributes(one), _attributes(other), strict=True)
    differing = next((keyword for keyword, a, b in values if a != b), "")
    if not differing and _read_content(one) != _read_content(other):
        return "Modality LUT Sequence (0028,3000), which is not compared" if _has_table(one) else "pixels"
    if not differing and one.get(_NUMBER) == other.get(_NUMBER):
        return "frame number" if one.number != other.number else ""
    return describe_attribute(differing or _NUMBER)


def _find_whole_copies(places: Sequence[Sequence[Frame]]) -> Copies:
    """The copies of planes, where every plane is there several times and equally often; none otherwise."""
    found: Copies = {}
    shapes: set[tuple[int, int]] = set()
    are_blank = True
    for place in places:
        alike = _group_alike(place)
        sizes = {len(group) for _, group in alike}
        are_blank &= all(content.blank for content, _ in alike)
        shapes |= {(len(alike), size) for size in sizes}
        if len(shapes) > 1 or 1 in sizes:
            return {}
        found.update(_pair(alike))
    return {} if are_blank else found


def _find_repeated(places: Sequence[Sequence[Frame]]) -> Copies:
    """The copies of planes, where each place shows one plane, however often; none otherwise."""
    found: Copies = {}
    are_blank = True
    for place in places:
        alike = _group_alike(place, blank_numbered=True)
        if len(alike) > 1:
            return {}
        if len(place) > 1:  # alone, a plane is not read
            are_blank &= alike[0][0].blank
        found.update(_pair(alike))
    return {} if are_blank else found


def _find_single_copies(places: Sequence[Sequence[Frame]]) -> Copies:
    """The copies of planes at the places that occur more often than most: than the fewest, where two numbers are as common."""
    found: Copies = {}
    counts = Counter(map(len, places))
    usual = min(count for count, times in counts.items() if times == max(counts.values()))
    for place in places:
        if len(place) > usual:
            found.update(_pair(_group_alike(place, blank_numbered=True)))
    return found


def are_at_one_place(one: Frame, other: Frame) -> bool:
    """Whether two planes have the same corners."""
    apart = np.linalg.norm(one.known_plane.corners() - other.known_plane.corners(), axis=1)
    return float(apart.max()) <= SAME_PLACE_MM


def age(frame: Frame) -> tuple[float, str, int]:
    """What orders frames from first to last; the UID decides where Instance Number does not."""
    return frame.rank("InstanceNumber") or 0.0, frame.sop_instance_uid, frame.number


def _pair(alike: Iterable[tuple[_Content, Sequence[Frame]]]) -> Copies:
    return {copy: group[0] for _, group in alike for copy in group[1:]}


def _group_alike(
    frames: Sequence[Frame], *, numbered: bool = False, blank_numbered: bool = False
) -> list[tuple[_Content, list[Frame]]]:
    """Frames of one place in groups of copies, each from first to last, and what they show.

    numbered: whether copies have one Instance Number and frame number; blank_numbered: whether blank ones do.
    """
    candidates: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=age):
        candidates[(_attributes(frame), _numbers(frame) if numbered else None)].append(frame)
    groups: list[tuple[_Content, list[Frame]]] = []
    for members in candidates.values():
        mine: list[tuple[_Content, list[Frame]]] = []
        for frame in members:
            content = _read_content(frame) if len(members) > 1 else _Content(frame)
            by_number = content.blank and blank_numbered
            alike = (group for known, group in mine if known == content and are_at_one_place(group[0], frame))
            home = next((g for g in alike if not by_number or _numbers(g[0]) == _numbers(frame)), None)
            if home is None:
                mine.append((content, [frame]))
            else:
                home.append(frame)
        groups += mine
    return groups


def _numbers(frame: Frame) -> Hashable:
    """Its Instance Number and frame number; where it has no Instance Number, its UID tells it from others."""
    number = frame.get(_NUMBER)
    return frame.sop_instance_uid if number is None else number, frame.number


def _has_table(frame: Frame) -> bool:
    return "ModalityLUTSequence" in frame.header.luts


def _attributes(frame: Frame) -> tuple[Hashable, ...]:
    """The values of `_NAMES_VOLUME` and `_VALUES`, and of Image Type what is neither of a copy nor of its origin."""
    kinds = (frame.get("ImageType"), frame.get("FrameType"))
    what = tuple(kind[2:] if isinstance(kind, tuple) else () for kind in kinds)
    return (*map(frame.get, (*_NAMES_VOLUME, *_VALUES)), what)


def _read_content(frame: Frame) -> _Content:
    """Read what a frame shows; one that cannot be read, or whose values a table gives, is like no other."""
    if _has_table(frame):
        return _Content(frame)
    try:
        if has_samples(frame):
            pixels = read_colour(frame)
        else:  # of a palette the indices, which a mask keeps
            pixels = read_plane(frame) if frame.tile else read_allocated(frame)
        colours = read_colour(frame).tobytes() if has_palette(frame) else b""
        overlays = _read_overlays(frame) if frame.header.overlays else ()
    except PipelineError:
        return _Content(frame)
    shown = pixels.dtype.str, pixels.shape, hashlib.sha256(pixels.tobytes() + colours).digest(), overlays
    return _Content(shown, blank=not overlays and bool((pixels == pixels.flat[0]).all()))


def _read_overlays(frame: Frame) -> Hashable:
    """Every element of the overlay groups of a frame's file."""
    dataset = load(frame.path, stop_before_pixels=True)
    groups = (dataset.group_dataset(group) for group in frame.header.overlays)
    return tuple((int(element.tag), repr(element.value)) for group in groups for element in group)
