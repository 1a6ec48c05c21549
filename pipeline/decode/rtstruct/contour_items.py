"""Read the contours of one ROI from its item of the ROI Contour Sequence, and say how they are oddly written.

Rules:
- Points are plain where their values are finite numbers, none beyond `FARTHEST_MM`, and a multiple of three. They are
  read then, whatever else the item says of them, and a finding tells what it says; anything else refuses the ROI.
- What allows two readings leaves a doubt (WARNING): a count of points that is not that of the data, decimal commas, no
  Contour Geometric Type. What allows one only is a note (INFO): a term in lower case, a backslash too many, no count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.errors import BytesLengthException

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...geometry.grid import FARTHEST_MM
from .contour import CLAUSE, INTERPOLATED, KNOWN, UNTYPED, Contour, kind_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COUNT = "Number of Contour Points (3006,0046)"
_TYPE = "Contour Geometric Type (3006,0042)"
_HINT = "The points were read as they stand in Contour Data (3006,0050). Look at these contours over the image."


_GEOMETRIC_TYPE, _IMAGES, _POINT_COUNT = 0x30060042, 0x30060016, 0x30060046
# The values as every writer pads them. Any other goes the way of pydicom.
_PLAIN_KINDS = {term.encode().ljust(len(term) + len(term) % 2): term for term in KNOWN}
_PLAIN_COUNT = re.compile(rb"[0-9]{1,10} ?")


def _one_image(vr_and_length: str) -> re.Pattern[bytes]:
    """Match a Contour Image Sequence (3006,0016) of one item with two UIDs. The caller compares the lengths."""
    elements = "".join(
        rf"\x08\x00\x{byte}\x11{vr_and_length.format(name)}(?P<{name}>[0-9.]+\x00?)"
        for byte, name in (("50", "kind"), ("55", "uid"))
    )
    return re.compile(rf"\xfe\xff\x00\xe0(?P<item_length>.{{4}})(?P<item>{elements})".encode("ascii"), re.DOTALL)


_ONE_IMAGE = (_one_image("UI(?P<{}_length>..)"), _one_image("(?P<{}_length>.{{4}})"))  # explicit and implicit VR
_LENGTHS = ("item", "kind", "uid")


class _Oddity(NamedTuple):
    """One way of being odd: its words, and whether it allows another reading."""

    code: Code
    words: str
    doubtful: bool


class _Points(NamedTuple):
    values: NDArray[np.float64]
    oddities: tuple[_Oddity, ...]


_COMMAS = _Oddity(Code.CONTOUR_DATA, "have decimal commas in their Contour Data, read as decimal points", True)
_BACKSLASH = _Oddity(Code.CONTOUR_DATA, "end in a backslash with no value after it, which was left out", False)
_NO_COUNT = _Oddity(Code.CONTOUR_DATA, f"have no {_COUNT} that is a number above 0", False)
_OTHER_COUNT = _Oddity(
    Code.CONTOUR_DATA, f"have another {_COUNT} than their data has; all points of the data were taken", True
)
_SPELLING = _Oddity(Code.CONTOUR_TYPE, f"have a {_TYPE} that is spelt otherwise than in the standard", False)
_KINDS = {
    INTERPOLATED: _Oddity(
        Code.CONTOUR_TYPE, f"are {INTERPOLATED}, which the standard does not know; filled as closed", True
    ),
    UNTYPED: _Oddity(
        Code.CONTOUR_TYPE, f"have no {_TYPE}, so nothing says that they are closed; filled as closed", True
    ),
}


def contour_items(item: Dataset | None) -> Sequence[Dataset]:
    """Return the items of an ROI's Contour Sequence; none where it has none."""
    return (item.get("ContourSequence") if item is not None else None) or ()


def kind_of_item(contour: Dataset) -> str:
    """Return the Contour Geometric Type of an item, as the standard spells it."""
    plain = _PLAIN_KINDS.get(_unread(contour, _GEOMETRIC_TYPE, "CS"))
    return plain or kind_of(str(contour.get("ContourGeometricType") or ""))


def image_uids_of(contour: Dataset) -> tuple[str, ...]:
    """Return the SOP Instance UIDs of the images that a contour names as those it was drawn on."""
    value = _unread(contour, _IMAGES, "SQ")
    for pattern in _ONE_IMAGE:
        plain = pattern.fullmatch(value)
        if plain and all(int.from_bytes(plain[f"{n}_length"], "little") == len(plain[n]) for n in _LENGTHS):
            return (plain["uid"].rstrip(b"\0").decode("ascii"),)
    return tuple(str(i.get("ReferencedSOPInstanceUID", "")) for i in contour.get("ContourImageSequence") or ())


def _unread(contour: Dataset, tag: int, vr: str) -> bytes:
    """Return the bytes of an element that pydicom has not turned into a value yet, b"" where there are none.

    To turn them takes most of the time of a plain contour.
    """
    element: Any = contour.get_item(tag)
    raw = element is not None and element.is_raw and element.is_little_endian and element.VR in (None, vr)
    return element.value if raw and isinstance(element.value, bytes) else b""


def read_contours(file: str, name: str, item: Dataset | None) -> tuple[list[Contour], list[Finding]]:
    """Read the contours of an ROI in their order.

    Args:
        file: name of the structure set's file.
        name: of the ROI.
        item: of the ROI Contour Sequence; None where the ROI has none.

    Returns: the contours, numbered from 1 and with points in LPS mm, and what is odd about how they are written.

    Raises: PipelineError CORRUPT_FILE for Contour Data that are not points.
    """
    contours: list[Contour] = []
    found: dict[_Oddity, list[int]] = {}
    items = contour_items(item)
    for number, contour in enumerate(items, 1):
        kind = kind_of_item(contour)
        points = _read_points(file, f"ROI “{name}”, contour {number}", contour)
        contours.append(Contour(number, kind, points.values, image_uids_of(contour)))
        for oddity in (*points.oddities, *_oddities_of_kind(contour, kind)):
            found.setdefault(oddity, []).append(number)
    return contours, [_finding(name, oddity, numbers, len(items)) for oddity, numbers in found.items()]


def _oddities_of_kind(contour: Dataset, kind: str) -> tuple[_Oddity, ...]:
    if kind in _KINDS:
        return (_KINDS[kind],)
    plain = _PLAIN_KINDS.get(_unread(contour, _GEOMETRIC_TYPE, "CS"))
    return () if plain == kind or str(contour.get("ContourGeometricType")) == kind else (_SPELLING,)


def _finding(name: str, oddity: _Oddity, numbers: Sequence[int], of: int) -> Finding:
    return Finding(
        oddity.code,
        f"ROI “{name}”: {len(numbers)} of {of} contours {oddity.words}",
        _HINT if oddity.doubtful else "",
        Severity.WARNING if oddity.doubtful else Severity.INFO,
        CLAUSE,
        tuple(f"contour {n}" for n in numbers),
    )


def _read_points(file: str, place: str, contour: Dataset) -> _Points:
    """Read (n, 3) Contour Data (3006,0050), from its bytes at once: value by value takes most of a conversion."""
    raw: Any = contour.get_item("ContourData").value if "ContourData" in contour else b""
    oddities: list[_Oddity] = []
    try:
        values = _numbers(raw, oddities)
    except ValueError as error:
        raise _corrupt(file, f"{place}: Contour Data is not numbers: {error}") from error
    if len(values) % 3:
        raise _corrupt(file, f"{place}: Contour Data has {len(values)} values, which are not points of three")
    if not (np.abs(values) <= FARTHEST_MM).all():
        odd = values[~(np.abs(values) <= FARTHEST_MM)][0]
        raise _corrupt(
            file, f"{place}: Contour Data has {odd:g}: points are numbers, and none beyond {FARTHEST_MM:g} mm"
        )
    count = _count(contour)
    if len(values) and not count:
        oddities.append(_NO_COUNT)
    elif count is not None and count * 3 != len(values):
        oddities.append(_OTHER_COUNT)
    return _Points(values.reshape(-1, 3), tuple(oddities))


def _numbers(raw: Any, oddities: list[_Oddity]) -> NDArray[np.float64]:
    """Turn the value of Contour Data into numbers, and add what is odd about it. Raises ValueError."""
    if not isinstance(raw, bytes):
        return np.array(raw if raw else (), dtype=np.float64)
    text = raw.rstrip(b" \0")
    if text.endswith(b"\\"):
        text = text.rstrip(b" \0\\")
        oddities.append(_BACKSLASH)
    if b"," in text and b"." not in text:
        text = text.replace(b",", b".")
        oddities.append(_COMMAS)
    values = text.split(b"\\") if text else []
    try:
        return np.fromiter(map(float, values), np.float64, len(values))
    except ValueError:  # numpy knows a few spellings more, and words what it does not know
        return np.array(values, dtype=np.float64)


def _count(contour: Dataset) -> float | None:
    """Return the Number of Contour Points, None where it is missing or no number."""
    plain = _unread(contour, _POINT_COUNT, "IS")
    if _PLAIN_COUNT.fullmatch(plain):
        return float(plain)
    try:
        value = contour.get("NumberOfContourPoints")
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError, OverflowError, BytesLengthException):
        return None


def _corrupt(file: str, fault: str) -> PipelineError:
    return refuse(
        Code.CORRUPT_FILE,
        f"{file}: {fault}",
        "The file was cut off or changed in transfer; export or copy it again.",
        where=(file,),
        clause=CLAUSE,
    )
