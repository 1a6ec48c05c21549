"""Say what a description holds in a few lines for each series, without printing them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

_SIMPLE = (
    ("PatientPosition", "patient position"),
    ("ImageType", "image type"),
    ("SliceThickness", "slice thickness"),
    ("SpacingBetweenSlices", "spacing between slices"),
    ("GantryDetectorTilt", "gantry tilt"),
    ("RescaleSlope", "rescale slope"),
    ("RescaleIntercept", "rescale intercept"),
)
_MOST = 6  # different values that are listed
_AXES = 3
_LONGEST_NUMBER = 20  # digits before or behind the point of a number that is written without an exponent
_WHOLE = re.compile(r"-?[0-9]{1,12}")  # an Integer String (PS3.5 6.2)


def describe_in_words(found: Mapping[str, Any]) -> list[str]:
    """Describe a description: lines for each series, then what was not read. found: as `diagnosis.describe` makes it."""
    lines = []
    for series in found["Series"]:
        lines += [_title(series), *(f"  {line}" for line in _series_lines(series)), ""]
    for unread in found["Unread"]:
        words = "may be a plane" if unread["MayBePlane"] else "no plane"
        lines.append(
            f"file {unread['File']} in folder {unread['Folder']}: {unread['Why']}, {unread['Bytes']} bytes, {words}"
        )
    count = sum(len(series["Files"]) for series in found["Series"])
    lines.append(f"{_count(len(found['Series']), 'series', 'series')}, {_count(count, 'file')}; --json has every file")
    return lines


def _title(series: Mapping[str, Any]) -> str:
    files = _all(series)
    names = ", ".join(
        f"{key[:-4].casefold()} “{series[key]}”" for key in ("SeriesName", "FolderName") if series.get(key)
    )
    kinds = " and ".join(_values(files, "Modality")) or "no modality"
    return f"series {series['Series']}: {kinds}, {_count(len(files), 'file')}" + (f", {names}" if names else "")


def _all(series: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**series["Common"], **file} for file in series["Files"]]


def _series_lines(series: Mapping[str, Any]) -> Iterator[str]:
    files = _all(series)
    yield f"SOP class {_listed(files, 'SOPClassUID')}, {_listed(files, 'TransferSyntaxUID')}"
    planes = [plane for file in files for plane in _planes(file)]
    if any("Rows" in file for file in files):
        sizes = sorted({f"{f.get('Columns')} × {f.get('Rows')}" for f in files})
        yield f"{', '.join(sizes)} pixels, {_count(len(planes), 'frame')}, spacing {_listed(planes, 'PixelSpacing')} mm"
        yield (
            f"bits {_listed(files, 'BitsStored')} of {_listed(files, 'BitsAllocated')}, "
            f"pixel representation {_listed(files, 'PixelRepresentation')}, {_listed(files, 'PhotometricInterpretation')}"
        )
        yield f"orientation {_listed(planes, 'ImageOrientationPatient')}"
        yield from _position_lines(planes)
    for keyword, words in _SIMPLE:
        if any(keyword in plane for plane in planes):
            yield f"{words} {_listed(planes, keyword)}"
    yield from _number_lines(files)
    yield from _mask_lines(files)
    for keyword, words in (("SiemensMosaic", "a Siemens mosaic"), ("UihFrames", "a United Imaging grid")):
        sheets = [file[keyword] for file in files if keyword in file]
        if sheets:
            yield f"{words} in {_count(len(sheets), 'file')}"
    yield f"not shown: {_count(len(series['NotShown']), 'other attribute')}"


def _planes(file: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What holds for each frame: the values of the file, of the shared groups, and of its own."""
    shared = {**file, **_flat((_items(file, "SharedFunctionalGroupsSequence") or [{}])[0])}
    frames = _items(file, "PerFrameFunctionalGroupsSequence")
    return [{**shared, **_flat(frame)} for frame in frames] if frames else [shared]


def _flat(groups: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for keyword in groups for item in _items(groups, keyword)[:1] for k, v in item.items()}


def _items(described: Mapping[str, Any], keyword: str) -> list[dict[str, Any]]:
    """The items of a sequence; none where something else stands there."""
    value = described.get(keyword)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _position_lines(planes: list[dict[str, Any]]) -> Iterator[str]:
    """The positions: first and step where all are even to their printed digits, else the different steps."""
    positions = [_decimals(plane.get("ImagePositionPatient")) for plane in planes]
    known = sorted({p for p in positions if p})
    missing = sum(p is None for p in positions)
    if missing:
        yield f"{_count(missing, 'frame')} without a position"
    if not known:
        return
    steps = Counter(tuple(b - a for a, b in zip(*pair, strict=True)) for pair in pairwise(known))
    yield f"positions from {_join(known[0])} to {_join(known[-1])} mm"
    if len(steps) == 1:
        yield f"all {len(known)} in even steps of {_join(next(iter(steps)))} mm"
    elif steps:
        listed = "; ".join(f"{count} × {_join(step)}" for step, count in steps.most_common(_MOST))
        yield f"{len(known)} in steps of {listed} mm" + ("; …" if len(steps) > _MOST else "")
    repeated = len(positions) - missing - len(known)
    if repeated:
        yield f"{_count(repeated, 'frame')} at a position that another has too"


def _decimals(value: Any) -> tuple[Decimal, ...] | None:
    """A position of three finite numbers, to their printed digits; None for anything else that may stand there."""
    try:
        found = tuple(Decimal(str(v)) for v in value)
    except (TypeError, InvalidOperation):
        return None
    return found if len(found) == _AXES and all(map(_is_plain, found)) else None


def _is_plain(number: Decimal) -> bool:
    """Whether a number can be written without an exponent in a line."""
    return number.is_finite() and abs(number.adjusted()) < _LONGEST_NUMBER


def _number_lines(files: list[dict[str, Any]]) -> Iterator[str]:
    numbers = [int(f["InstanceNumber"]) for f in files if _WHOLE.fullmatch(str(f.get("InstanceNumber", "")))]
    if numbers:
        gaps = (
            sorted({*range(min(numbers), max(numbers) + 1)} - {*numbers})
            if max(numbers) - min(numbers) < 10_000
            else []
        )
        repeated = len(numbers) - len({*numbers})
        yield (
            f"instance numbers {min(numbers)} to {max(numbers)}"
            + (f", without {', '.join(map(str, gaps[:_MOST]))}{', …' if len(gaps) > _MOST else ''}" if gaps else "")
            + (f", {repeated} of them again" if repeated else "")
        )


def _mask_lines(files: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The segments, and the ROIs with what their contours are."""
    for file in files:
        if segments := _items(file, "SegmentSequence"):
            yield f"{_count(len(segments), 'segment')}, {file.get('SegmentationType')}, in file {file['File']}"
        for roi in _items(file, "ROIContourSequence"):
            contours = _items(roi, "ContourSequence")
            data = [c["ContourData"] for c in contours if isinstance(c.get("ContourData"), dict)]
            points = sum(one.get("Numbers", 0) // _AXES for one in data)
            types = ", ".join(
                f"{n} {t}" for t, n in Counter(str(c.get("ContourGeometricType")) for c in contours).items()
            )
            yield f"ROI {roi.get('ReferencedROINumber')}: {types or 'no contour'}, {_count(points, 'point')}"


def _values(files: Iterable[Mapping[str, Any]], keyword: str) -> list[str]:
    return sorted({_join(file[keyword]) for file in files if keyword in file})


def _listed(files: Iterable[Mapping[str, Any]], keyword: str) -> str:
    found = _values(files, keyword)
    return "; ".join(found[:_MOST]) + ("; …" if len(found) > _MOST else "") if found else "missing"


def _join(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_join, value))
    if isinstance(value, dict):
        return " ".join(f"{key.casefold()} {v}" for key, v in value.items())
    try:
        number = Decimal(value)  # without the zeros at its end, which a scanner may print
    except (TypeError, ValueError, InvalidOperation):
        return str(value)
    return format(number.normalize() + 0, "f") if _is_plain(number) else str(value)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
