"""Read the Segment Sequence of one DICOM SEG instance (PS3.3 C.8.20.2): the segments and how they are stored.

Rules:
- Names, codes and colours are read as written; an absent one stays absent.
- In a label map, 0 is the background unless its segment is described as something else; then that segment is given a free number.
- Colours are CIELab in D65, without adaptation to D50: what every writer in the field does, so that 221 130 101 written
  by one tool is 221 130 101 in the next.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.findings import Code, PipelineError, refuse
from ...dicom.encoding import load
from ...volume.mask import Concept, Segment

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_READ = [
    "SegmentSequence",
    "SegmentationType",
    "SegmentationFractionalType",
    "MaximumFractionalValue",
    "PixelPaddingValue",
    "ConcatenationUID",
    "DimensionOrganizationType",
    "ImageOrientationSlide",
]
_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
_BACKGROUND = ("125040", "DCM")


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """The segments of one instance and how their values are stored.

    Attributes:
        kind: Segmentation Type (0062,0001): BINARY, FRACTIONAL or LABELMAP.
        fractional_type: Segmentation Fractional Type (0062,0010).
        maximum: Maximum Fractional Value (0062,000E), which stands for 1.
        background: stored values that are no segment; of label maps only.
        padding: the segment whose number is Pixel Padding Value (0028,0120) too, though it is not called background.
        tiles: what says that its frames are tiles of a slide; "" where nothing does.
    """

    kind: str
    segments: tuple[Segment, ...]
    fractional_type: str = ""
    maximum: int = 1
    background: tuple[int, ...] = (0,)
    padding: Segment | None = None
    tiles: str = ""


def read_table(path: Path) -> SegmentTable:
    """Read the table of one file.

    Raises CORRUPT_FILE where a Type 1 attribute that decides a voxel is missing, UNREADABLE_NUMBER where one is no
    number, and NOT_CONVERTIBLE for one part of a concatenation, or a Segmentation Type that the standard does not know.
    """
    dataset = load(path, stop_before_pixels=True, specific_tags=list(_READ))
    kind = str(dataset.get("SegmentationType", "")).strip()
    if kind not in _TYPES:
        raise refuse(
            Code.NOT_CONVERTIBLE if kind else Code.CORRUPT_FILE,
            f"{path.name} has Segmentation Type (0062,0001) “{kind}”; {', '.join(_TYPES)} are defined",
            "The file was written wrongly; its pixels could mean anything.",
            where=(path.name,),
            clause="PS3.3 C.8.20.2",
        )
    if dataset.get("ConcatenationUID"):
        raise refuse(
            Code.NOT_CONVERTIBLE,
            f"{path.name} is one part of a concatenation: one SEG spread over several files",
            "Join the parts with the software that wrote them, or export the SEG as one file.",
            where=(path.name,),
            clause="PS3.3 C.7.6.16.2.2.4",
        )
    maximum = _read_whole(dataset, "MaximumFractionalValue", path)
    if kind == "FRACTIONAL" and not maximum:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{path.name} is fractional without Maximum Fractional Value (0062,000E), so its values have no unit",
            "The file was written wrongly; export it again.",
            where=(path.name,),
            clause="PS3.3 C.8.20.2",
        )
    segments, background = _read_segments(dataset, path, is_labelmap=kind == "LABELMAP")
    described = [s for s in segments if s.source_value in background and not _is_background(s)]
    return SegmentTable(
        kind,
        segments,
        str(dataset.get("SegmentationFractionalType", "")),
        maximum or 1,
        background,
        described[0] if described else None,
        _read_tiles(dataset),
    )


def _read_tiles(dataset: Dataset) -> str:
    """Return what says that frames are tiles of a slide (PS3.3 C.8.12.14, C.7.6.17.3); "" where nothing does."""
    organization = str(dataset.get("DimensionOrganizationType", "")).strip()
    if organization.startswith("TILED"):
        return f"Dimension Organization Type (0020,9311) {organization}"
    return "it has Image Orientation (Slide) (0048,0102)" if dataset.get("ImageOrientationSlide") else ""


def _read_number(item: Dataset, path: Path) -> int:
    number = _read_whole(item, "SegmentNumber", path)
    if number is None:
        raise _unclear_numbers(
            path, f"has a segment “{item.get('SegmentLabel', '')}” without Segment Number (0062,0004)"
        )
    return number


def _unclear_numbers(path: Path, fault: str) -> PipelineError:
    return refuse(
        Code.CORRUPT_FILE,
        f"{path.name} {fault}: which pixels belong to which segment is not clear",
        "The file was written wrongly; export it again.",
        where=(path.name,),
        clause="PS3.3 C.8.20.4",
    )


def _read_whole(dataset: Dataset, keyword: str, path: Path) -> int | None:
    value = dataset.get(keyword)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse(
            Code.UNREADABLE_NUMBER,
            f"{keyword} of {path.name} cannot be used: {value!r}",
            "Nothing is assumed in its place; export the file again.",
            where=(path.name,),
            clause="PS3.3 C.8.20.2",
        ) from error


def _read_segments(dataset: Dataset, path: Path, *, is_labelmap: bool) -> tuple[tuple[Segment, ...], tuple[int, ...]]:
    """Return the segments, and the stored values that are background. Raises CORRUPT_FILE for a number given twice."""
    items = list(dataset.get("SegmentSequence") or ())
    numbers = [_read_number(item, path) for item in items]
    twice = sorted((n, count) for n, count in Counter(numbers).items() if count > 1)
    if twice:
        raise _unclear_numbers(path, f"gives Segment Number (0062,0004) {twice[0][0]} to {twice[0][1]} segments")
    background = {0}
    found = []
    for item, number in zip(items, numbers, strict=True):
        segment = _read_segment(item, number or max(numbers) + 1, number)
        if number == 0:
            if is_labelmap and _is_background(segment):
                continue
            background.remove(0)
        found.append(segment)
    padding = _read_whole(dataset, "PixelPaddingValue", path) if is_labelmap else None
    return tuple(found), tuple(sorted(background | (set() if padding is None else {padding})))


def _is_background(segment: Segment) -> bool:
    coded = segment.type is not None and (segment.type.value, segment.type.scheme) == _BACKGROUND
    return coded or segment.name.casefold() == "background"


def _read_segment(item: Dataset, number: int, stored: int) -> Segment:
    algorithm = (item.get("SegmentAlgorithmType"), item.get("SegmentAlgorithmName"))
    lab = item.get("RecommendedDisplayCIELabValue")
    return Segment(
        number=number,
        name=str(item.get("SegmentLabel", "")).strip() or f"segment {number}",
        colour=_read_colour(lab),
        category=_read_concept(item, "SegmentedPropertyCategoryCodeSequence"),
        type=_read_concept(item, "SegmentedPropertyTypeCodeSequence"),
        algorithm=" ".join(str(part).strip() for part in algorithm if part),
        source_value=stored,
    )


def _read_colour(lab: Any) -> tuple[int, int, int] | None:
    """Return sRGB; None for a colour that cannot be read: it only helps the eye, so it must not cost the segment."""
    try:
        lightness, a, b = (int(v) for v in lab)
    except (TypeError, ValueError):
        return None
    return rgb_of_cielab((lightness, a, b))


def _read_concept(item: Dataset, keyword: str) -> Concept | None:
    codes = item.get(keyword)
    if not codes:
        return None
    value = next((codes[0].get(k) for k in ("CodeValue", "LongCodeValue", "URNCodeValue") if codes[0].get(k)), "")
    return Concept(str(value), str(codes[0].get("CodingSchemeDesignator", "")), str(codes[0].get("CodeMeaning", "")))


def rgb_of_cielab(encoded: tuple[int, ...]) -> tuple[int, int, int]:
    """Convert a Recommended Display CIELab Value (PS3.3 C.10.7.1.1: L* 0..100, a* and b* -128..127 in 16 bits) to sRGB 0..255."""
    lightness, a, b = encoded[0] / 65535 * 100, encoded[1] / 65535 * 255 - 128, encoded[2] / 65535 * 255 - 128
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.95047, 1.0, 1.08883)
    linear = np.clip(_XYZ_TO_SRGB @ xyz, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(v) for v in np.rint(srgb * 255))
    return red, green, blue


_XYZ_TO_SRGB: Any = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)  # IEC 61966-2-1
