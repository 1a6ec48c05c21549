"""Derive the places of frames without functional groups, and name the classes whose frames have none in the patient.

Rules:
- RT Dose (PS3.3 C.8.8.3.2): Grid Frame Offset Vector is along row x column from Image Position (Patient) where it begins
  with 0; it holds the planes' own z where it begins with that of Image Position (Patient) and the planes are transverse.
  Any other beginning is refused: which of the two it is decides where the dose lies.
- Nuclear Medicine (C.8.4.15): reconstructed slices step by Spacing Between Slices along row x column from the place of the
  first frame, against it where that is negative. The place stands in the detector's item (C.8.4.11). Projections have
  no place as planes of a volume.
- What stands elsewhere than the standard puts it is taken where it can mean one thing only, and a finding says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.findings import Code, Finding, Severity
from ..core.limits import SAME_PLACE_MM
from ..core.numbers import is_finite_number
from .frame_vectors import DETECTORS, DOSE, LOCATIONS, NUCLEAR, PLACE, POINTER, SLICES, VECTORS, Values, vector_class

if TYPE_CHECKING:
    from .header import Header

_DOSE_CLAUSE, _DETECTOR_CLAUSE = "PS3.3 C.8.8.3.2", "PS3.3 C.8.4.11"
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_PRINTED_MM = 0.01  # the two may be printed with different decimals
_TRANSVERSE = 1e-4  # how far a cosine may be from that of a transverse plane: what rounding leaves
_OFFSETS = "Grid Frame Offset Vector (3004,000C)"
_STEP = "Spacing Between Slices (0018,0088)"
_PROJECTIONS = {
    "STATIC": "a planar view of a standing detector",
    "WHOLE BODY": "a planar sweep over the body",
    "DYNAMIC": "planar views over time",
    "GATED": "planar views over the heart's cycle",
    "TOMO": "the raw projections of a rotating detector",
    "GATED TOMO": "the raw projections of a rotating detector over the heart's cycle",
}
# What images are whose planes have no place in the patient by nature, and what to do instead.
_XRAY = "a projection of an X-ray system, which has no place in the patient as a plane"
_CINE = "an ultrasound clip: its frames are views over time, and none has a place in the patient"
_RECONSTRUCTION = "Export the volume that was reconstructed from it, in slices or as an enhanced multi-frame image."
_PLACELESS = {
    "1.2.840.10008.5.1.4.1.1.481.1": (
        "an RT Image, a projection that lies on the image plane of the treatment machine (3002,0012), not in the patient",
        "A projection is no volume; give the planning images.",
    ),
    **dict.fromkeys(
        [f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("12.1", "12.2", "12.3", "12.1.1", "12.2.1")], (_XRAY, _RECONSTRUCTION)
    ),
    **dict.fromkeys(
        [f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("3", "3.1", "6", "6.1")],
        (_CINE, "Export the volume, if the system has one, with its place in the patient."),
    ),
    "1.2.840.10008.5.1.4.1.1.6.2": (
        "an Enhanced US Volume: its frames lie in the transducer's own volume, by Image Position (Volume) (0020,9301), and "
        "nothing ties that to the patient",
        "Export it with its place in the patient, or resampled onto another image.",
    ),
    "1.2.840.10008.5.1.4.1.1.77.1.5.4": (
        "an Ophthalmic Tomography image: its frames lie on a picture of the retina, by Ophthalmic Frame Location "
        "(0022,0031), and not in the patient",
        "Export it with Image Position (Patient) for every frame, if the device has it.",
    ),
}


class Places(NamedTuple):
    """What the vectors of an instance give. values: for every frame; reason: why they give no place; note: what the place
    rests on where it does not stand where the standard puts it."""

    values: Sequence[Values] = ()
    reason: str = ""
    note: str = ""


class _NoPlace(Exception):
    """Why an instance gives its frames no place, as the end of a sentence."""


def derive_places(header: Header) -> Places:
    """Derive the place and the indices of every frame that has no functional group.

    Args:
        header: of any instance.

    Returns: values by keyword for every frame, of which `Frame` makes planes; a reason where an instance that needs
        them gives no places; nothing for an instance whose attributes or functional groups place its frames.
    """
    kind = vector_class(header.values)
    count = header.number_of_frames
    if header.frames or (count == 1 and kind != NUCLEAR):
        return Places()
    if not kind:
        numbers = "; its Slice Location Vector (0018,2005) numbers them along an axis that it does not give"
        why = "a multi-frame instance without functional groups gives no position per frame"
        return Places(reason=why + (numbers if LOCATIONS in header.values else ""))
    try:
        return _place_slices(header, count) if kind == NUCLEAR else _place_doses(header, count)
    except _NoPlace as error:
        return Places(reason=str(error))


def find_first_place(header: Header) -> Values:
    """Find position and orientation of the first frame of an instance whose frames may be laid evenly from there.

    Args:
        header: of an instance without functional groups.

    Returns: the two by keyword; nothing where frames are projections, or belong to several volumes.
    """
    if vector_class(header.values) != NUCLEAR:
        return {keyword: header.get(keyword) for keyword in PLACE}
    try:
        count = header.number_of_frames
        indices = _read_indices(header, count)
        if _is_projection(header) or list(_count_steps(header, count, indices)[0]) != list(range(count)):
            return {}
        position, orientation, _ = _find_place(header)
    except _NoPlace:
        return {}
    return _at(orientation, position)


def describe_placeless(header: Header) -> str:
    """Say what an image is whose class has no place in the patient; "" for any other class."""
    what = _PLACELESS.get(str(header.get("SOPClassUID", "")), ("", ""))[0]
    return f"it is {what}" if what else ""


def advise(header: Header) -> str:
    """Say what to do about an image that has no place by its nature; "" for one that lost it."""
    if _is_projection(header):
        return _RECONSTRUCTION
    if vector_class(header.values):
        return "Nothing is invented here. Correct the attribute, or export the instance again."
    return _PLACELESS.get(str(header.get("SOPClassUID", "")), ("", ""))[1]


def note_places(headers: Sequence[Header]) -> list[Finding]:
    """Warn of places that do not stand where the standard puts them; once for each way."""
    found: dict[str, Finding] = {}
    for header in headers:
        note = derive_places(header).note if vector_class(header.values) else ""
        if note and note not in found:
            found[note] = Finding(
                Code.PLACE_ELSEWHERE,
                f"{header.path.name}: {note}",
                "Look at the result over another image of the patient before relying on it.",
                Severity.WARNING,
                _DOSE_CLAUSE if vector_class(header.values) == DOSE else _DETECTOR_CLAUSE,
                (header.path.name,),
            )
    return list(found.values())


# --- RT Dose --------------------------------------------------------------------------------------------------------


def _place_doses(header: Header, count: int) -> Places:
    offsets = np.array(_vector(header, "GridFrameOffsetVector", _OFFSETS, count))
    position, orientation = (_numbers(header.values, header.unreadable, keyword) for keyword in PLACE)
    normal = _normal(orientation)
    z, first = position[2], offsets[0]
    if abs(first) <= SAME_PLACE_MM:
        return Places([_at(orientation, position + offset * normal) for offset in offsets])
    if abs(first - z) > _PRINTED_MM or abs(abs(normal[2]) - 1) > _TRANSVERSE:
        raise _NoPlace(
            f"its {_OFFSETS} begins with {first:g}, which is neither 0, for offsets along the normal, nor the z of its Image "
            f"Position (Patient), {z:g}, in transverse planes: where the dose lies cannot be known"
        )
    note = (
        ""
        if np.allclose(orientation, _IDENTITY, atol=_TRANSVERSE)
        else (
            f"{_OFFSETS} holds the planes' own z, which it may only where rows run along x and columns along y; they do not"
        )
    )
    return Places([_at(orientation, (*position[:2], offset)) for offset in offsets], note=note)


# --- Nuclear Medicine -----------------------------------------------------------------------------------------------


def _place_slices(header: Header, count: int) -> Places:
    if _is_projection(header):
        image_type = _image_type(header)
        raise _NoPlace(
            f"it is a Nuclear Medicine image of type {image_type}, {_PROJECTIONS[image_type]}: no plane of it has a place in "
            "the patient"
        )
    position, orientation, note = _find_place(header)
    if count == 1:
        return Places([_at(orientation, position)], note=note)
    indices = _read_indices(header, count)
    steps, ordered = _count_steps(header, count, indices)
    step = header.get("SpacingBetweenSlices")
    if "SpacingBetweenSlices" in header.unreadable or not isinstance(step, float) or not np.isfinite(step) or step == 0:
        raise _NoPlace(
            f"its {_STEP} is {_show(step)}, and that alone says how far apart its slices are and which way they run"
        )
    normal = _normal(orientation)
    own = [{k: v[n] for k, v in indices.items()} for n in range(count)]
    places = [_at(orientation, position + s * step * normal) for s in steps]
    return Places([place | values for place, values in zip(places, own, strict=True)], note=note or ordered)


def _read_indices(header: Header, count: int) -> dict[str, tuple[float, ...]]:
    """The vectors that tell volumes apart: those that Frame Increment Pointer names, or that fit where it names none."""
    pointer = header.get(POINTER, ())
    named = pointer if isinstance(pointer, tuple) else (pointer,)
    fitting = {k for k in VECTORS if np.size(header.get(k, ())) == count}
    wanted = {k for k, (tag, _) in VECTORS.items() if tag in named} if named else fitting
    return {k: _vector(header, k, _describe(k), count, whole=True) for k in VECTORS if k in wanted}


def _describe(keyword: str) -> str:
    tag, word = VECTORS[keyword]
    return f"{word} vector ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _count_steps(header: Header, count: int, indices: Mapping[str, tuple[float, ...]]) -> tuple[Sequence[float], str]:
    """How many steps each frame lies from the first one, by the Slice Vector; and what that rests on where there is none."""
    is_one = all(len(set(values)) == 1 for values in indices.values())
    if SLICES not in header.values and SLICES not in header.unreadable and is_one:
        return range(
            count
        ), f"there is no Slice Vector (0054,0080); its {count} frames were taken for slices in their order"
    numbers = _vector(header, SLICES, "Slice Vector (0054,0080)", count, whole=True)
    if numbers[0] != min(numbers):
        raise _NoPlace(
            f"its Slice Vector (0054,0080) begins with slice {numbers[0]:g}, not with the lowest: whether its place is that of "
            "the first frame or of the first slice is not said"
        )
    return [n - numbers[0] for n in numbers], ""


def _find_place(header: Header) -> tuple[Any, tuple[float, ...], str]:
    """Position and orientation of the first frame, and where they stand if not in the item of its detector."""
    items = [(values, odd) for values, odd in header.get(DETECTORS, ()) if any(k in values or k in odd for k in PLACE)]
    if not items:
        found = [_numbers(header.values, header.unreadable, keyword) for keyword in PLACE]
        return found[0], found[1], "its place stands in the data set itself, not in an item of its detector (0054,0022)"
    places = [tuple(_numbers(values, odd, keyword) for keyword in PLACE) for values, odd in items]
    apart = max(
        float(np.abs(np.subtract(a, b)).max()) for place in places for a, b in zip(place, places[0], strict=True)
    )
    if apart > SAME_PLACE_MM:
        raise _NoPlace(
            f"the {len(places)} items of its Detector Information Sequence (0054,0022) give different places, {apart:g} apart, "
            "and which of them its slices have is not said"
        )
    return places[0][0], places[0][1], ""


def _is_projection(header: Header) -> bool:
    return vector_class(header.values) == NUCLEAR and _image_type(header) in _PROJECTIONS


def _image_type(header: Header) -> str:
    """Value 3 of Image Type, which says what a Nuclear Medicine image is (C.8.4.9.1.1.1)."""
    values = header.get("ImageType")
    return str(values[2]) if isinstance(values, tuple) and len(values) > 2 else ""


# --- numbers --------------------------------------------------------------------------------------------------------


def _vector(header: Header, keyword: str, name: str, count: int, *, whole: bool = False) -> tuple[float, ...]:
    """The values of a vector, one finite number for each of `count` frames. Raises _NoPlace."""
    why = header.unreadable.get(keyword)
    if why or keyword not in header.values:
        raise _NoPlace(f"its {name} cannot be read: {why}" if why else f"its {name} is missing")
    value = header.get(keyword)
    values = value if isinstance(value, tuple) else (value,)
    if len(values) != count:
        raise _NoPlace(f"its {name} has {len(values)} values, and there are {count} frames")
    if not all(is_finite_number(v) and (not whole or v == int(v)) for v in values):
        raise _NoPlace(f"its {name} holds a value that is no number")
    return values


def _numbers(values: Any, unreadable: Any, keyword: str) -> tuple[float, ...]:
    """Position (3 numbers) or orientation (6). Raises _NoPlace."""
    count = 3 if keyword == PLACE[0] else 6
    name = "Image Position (Patient) (0020,0032)" if count == 3 else "Image Orientation (Patient) (0020,0037)"
    if keyword in unreadable:
        raise _NoPlace(f"{name} is not readable: {unreadable[keyword]}")
    if keyword not in values:
        raise _NoPlace(f"{name} is missing")
    value = values[keyword]
    found = value if isinstance(value, tuple) else (value,)
    if len(found) != count:
        raise _NoPlace(f"{name} has {len(found)} values, not {count}")
    if not all(is_finite_number(v) for v in found):
        raise _NoPlace(f"{name} is not finite")
    return tuple(float(v) for v in found)


def _normal(orientation: tuple[float, ...]) -> Any:
    """Row x column, of unit length. Raises _NoPlace."""
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    if length == 0:
        raise _NoPlace("Image Orientation (Patient) (0020,0037) gives no plane")
    return normal / length


def _at(orientation: tuple[float, ...], position: Any) -> Values:
    return {"ImagePositionPatient": tuple(float(v) for v in position), "ImageOrientationPatient": orientation}


def _show(value: Any) -> str:
    return "missing" if value is None else f"“{value}”"
