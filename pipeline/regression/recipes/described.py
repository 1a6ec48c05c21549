"""Write a phantom of the kind that `verimask describe` described: every file with its geometry, and pixels that are made up.

Rules:
- Numbers stand in the files with the digits of the description. UIDs and texts are made of their numbers, times of their ranks.
- A transfer syntax whose bytes a library would decide is written as Explicit VR Little Endian, as every recipe is.
- What the description does not show is not written, but for values without which what it shows could not be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID, UID_dictionary, generate_uid

from ...core.json_file import read_json
from .described_pixels import PIXELS, add_pixels
from .described_sheets import add_mosaic, add_uih_frames
from .dicom_file import SYNTAXES, file_meta, save
from .parameters import refuse_value

DESCRIBED = "described"
_FORMAT = 1  # of the descriptions that are read
_ABOVE_COUNTERS = 100_000  # a number that was shown by its rank is large again
_KEYS = {name.name: key for key, name in SYNTAXES.items()}
_BINARY = ("US", "SS", "UL", "SL", "FD", "FL", "SV", "UV")
_NO_ATTRIBUTES = ("File", "Folder", "TransferSyntaxUID", "DeclaredTransferSyntaxUID", "SiemensMosaic", "UihFrames")


def read_description(path: Path) -> dict[str, Any]:
    """Read a description. Raises PipelineError BAD_OPTION for a file that is none."""
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise refuse_value("file", str(path), f"a file that verimask describe --json wrote ({error})") from error
    if not isinstance(found, dict) or found.get("Description") != _FORMAT:
        raise refuse_value("file", str(path), f"a description of format {_FORMAT}, by verimask describe --json")
    return found


def write_described(folder: Path, description: Mapping[str, Any]) -> None:
    """Write the files of a description.

    Args:
        folder: that gets them, in folders of their own where the description has several.
        description: as `read_description` gives it.

    Raises: PipelineError BAD_OPTION for what is no description of a file.
    """
    for series in description["Series"]:
        for own in series["Files"]:
            attributes = {**series["Common"], **own}
            try:
                _write_file(_path(folder, own, ".dcm"), attributes)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise refuse_value("file", f"file {own.get('File')}", f"the description of a file ({error})") from error
    for unread in description["Unread"]:
        path = _path(folder, unread, ".dcm" if unread["MayBePlane"] else ".txt")
        begin = b"" if unread["Why"] == "not DICOM" else bytes(128) + b"DICM\x08\0\x05\0CS\xff\xff"
        path.write_bytes((begin + b"\xff" * unread["Bytes"])[: unread["Bytes"]])


def _path(folder: Path, own: Mapping[str, Any], ending: str) -> Path:
    inside = folder / f"{own['Folder']:03d}"
    inside.mkdir(parents=True, exist_ok=True)
    return inside / f"IM{own['File']:05d}{ending}"


def _write_file(path: Path, attributes: Mapping[str, Any]) -> None:
    dataset = _dataset(attributes)
    for keyword in PIXELS:
        if keyword in attributes:
            add_pixels(dataset, keyword, attributes[keyword])
    if attributes.get("SiemensMosaic"):
        add_mosaic(dataset, attributes["SiemensMosaic"])
    if attributes.get("UihFrames"):
        add_uih_frames(dataset, attributes["UihFrames"])
    syntax = _KEYS.get(_uid_name(attributes.get("TransferSyntaxUID")), "explicit")
    if "SOPClassUID" in dataset and "SOPInstanceUID" in dataset:
        save(path, dataset, syntax)
        return
    # A file without them has no File Meta Information that could be written: it is a bare data set.
    meta = Dataset()
    meta.SOPClassUID, meta.SOPInstanceUID = _uid("RawDataStorage"), generate_uid(entropy_srcs=[path.name])
    dataset.file_meta = file_meta(meta, SYNTAXES[syntax])
    dataset.save_as(path, enforce_file_format=True)


def _uid_name(keyword: Any) -> str:
    return str(_uid(keyword).name) if isinstance(keyword, str) else ""


def _dataset(attributes: Mapping[str, Any]) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        if keyword not in _NO_ATTRIBUTES and keyword not in PIXELS:
            _add(dataset, keyword, value)
    return dataset


def _add(dataset: Dataset, keyword: str, value: Any) -> None:
    number = tag_for_keyword(keyword)
    if number is None:
        raise ValueError(f"{keyword} is no attribute")
    tag = Tag(number)
    vr = dictionary_VR(tag)
    several = value if isinstance(value, list) else [value]
    if vr == "SQ":
        dataset.add_new(tag, vr, Items(_dataset(item) for item in value))
    elif keyword == "ContourData" and "Numbers" in value:
        _add_raw(dataset, tag, "DS", "\\".join(_contour(value)))
    elif vr in _BINARY or vr == "US or SS":
        _add_numbers(dataset, tag, vr, [_number(v) for v in several])
    elif vr == "AT":
        dataset.add_new(tag, vr, [Tag(int(v, 16)) for v in several if isinstance(v, str)])
    else:
        _add_raw(dataset, tag, vr, "\\".join(_text(vr, one) for one in several))


def _add_numbers(dataset: Dataset, tag: Any, vr: str, several: list[Any]) -> None:
    """Add numbers of a binary VR; an empty value where one could not be read."""
    if vr not in _BINARY:
        vr = "SS" if any(v is not None and v < 0 for v in several) else "US"
    dataset.add_new(tag, vr, None if None in several else several[0] if len(several) == 1 else several)


def _add_raw(dataset: Dataset, tag: Any, vr: str, text: str) -> None:
    """Add a value with the very bytes of a text, padded to an even length (PS3.5 6.2)."""
    data = text.encode("ascii")
    data += (b"\0" if vr == "UI" else b" ") * (len(data) % 2)
    dataset[tag] = RawDataElement(tag, vr, len(data), data, 0, False, True)


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str(_uid(value)) if vr == "UI" else value
    ((kind, number),) = value.items()
    if kind == "UID":
        return str(generate_uid(entropy_srcs=["described", str(number)]))
    if kind == "Rank":
        return _time(vr, int(number))
    return f"TEXT {number}" if kind == "Text" else "X" * max(1, min(int(number), 16))


def _number(value: Any) -> Any:
    """A number of a binary VR; None where there is none, or it could not be read."""
    return value.get("Rank") if isinstance(value, dict) else value


@cache
def _uids() -> dict[str, str]:
    """The UIDs of the standard, by keyword."""
    return {words[4]: uid for uid, words in UID_dictionary.items() if words[4]}


def _uid(keyword: str) -> UID:
    return UID(_uids().get(keyword, keyword))


def _time(vr: str, rank: int) -> str:
    """A date or time that comes after those of lower ranks; a number for any other VR."""
    clock = f"{rank // 3600 % 24:02d}{rank // 60 % 60:02d}{rank % 60:02d}"
    return {
        "TM": clock,
        "DA": f"{1900 + rank // 336}{rank // 28 % 12 + 1:02d}{rank % 28 + 1:02d}",
        "DT": f"19000101{clock}",
    }.get(vr, str(_ABOVE_COUNTERS + rank))


def _contour(described: Mapping[str, Any]) -> list[str]:
    """The numbers of a contour: the outermost points, and as many more on its last edge as it had."""
    points = [list(point) for point in described["Outline"]]
    missing, rest = divmod(described["Numbers"] - 3 * len(points), 3)
    if points and missing > 0:
        end, begin = ([float(v) for v in point] for point in (points[-1], points[0]))
        for n in range(1, missing + 1):
            share = n / (missing + 1)
            points.append([f"{a + (b - a) * share:.6f}"[:16] for a, b in zip(end, begin, strict=True)])
    return [number for point in points for number in point] + ["0"] * max(0, rest)
