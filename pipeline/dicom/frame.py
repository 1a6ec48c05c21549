"""Make the frames of one instance: each with its place, or the reason why it has none, and numbers that can be believed.

Rules:
- The attributes of a frame's place become a `Plane`, or a reason why there is none. Nothing is invented.
- Where Pixel Spacing is missing, the spacing that a scanner or detector had stands in for it (`spacing_attribute`), but for
  projections: there it is that of the detector's plane, which is not the patient's. Whoever takes such a plane says so.
- A number that decides something must be one finite value. One that cannot be read is refused by name, and no default is
  taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ..core.findings import Code, PipelineError, refuse
from ..geometry.grid import GeometryError, Plane
from .frame_places import derive_places, describe_placeless
from .header import Header
from .mosaic import NoTiles, is_mosaic, lost_its_image_type, tiles

_PLANE_ATTRIBUTES = {
    "ImagePositionPatient": ("Image Position (Patient) (0020,0032)", 3),
    "ImageOrientationPatient": ("Image Orientation (Patient) (0020,0037)", 6),
    "PixelSpacing": ("Pixel Spacing (0028,0030)", 2),
    "NominalScannedPixelSpacing": ("Nominal Scanned Pixel Spacing (0018,2010)", 2),
    "ImagerPixelSpacing": ("Imager Pixel Spacing (0018,1164)", 2),
}
_SPACINGS = tuple(_PLANE_ATTRIBUTES)[2:]  # the first that is there counts
_PROJECTIONS = frozenset("CR DX IO MG PX RF RG XA".split())  # modalities whose pixels are shadows on a detector


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of one instance: it identifies its pixels without holding them.

    number: 1-based within the instance. plane: its place, or None and `why_no_plane`. values: what the frame's
    functional groups, or the vectors of its instance, say over the header. pairing: how its place was assumed, "" where
    the file gives it. tile: 1-based number within a mosaic, 0 for a whole frame.
    """

    header: Header
    number: int
    plane: Plane | None
    why_no_plane: str = ""
    values: dict[str, Any] | None = None
    pairing: str = ""
    tile: int = 0

    @property
    def path(self) -> Path:
        return self.header.path

    @property
    def sop_instance_uid(self) -> str:
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def segment_number(self) -> int | None:
        if self.get("ReferencedSegmentNumber") is None and not self.unreadable("ReferencedSegmentNumber"):
            return None
        return self.whole("ReferencedSegmentNumber", 0)

    @property
    def name(self) -> str:
        """The file's name, with the frame where there are several, for messages."""
        if self.tile:
            return f"{self.path.name} tile {self.tile}"
        return self.path.name if self.header.number_of_frames == 1 else f"{self.path.name} frame {self.number}"

    @property
    def known_plane(self) -> Plane:
        """The plane of a frame that was seen to have one. Raises MISSING_PLANE_ATTRIBUTES where it has none after all."""
        if self.plane is None:
            raise refuse(
                Code.MISSING_PLANE_ATTRIBUTES,
                f"{self.name} has no place in the patient: {self.why_no_plane}",
                "Export the series with its geometry, not as plain Secondary Capture.",
                where=(self.name,),
                clause="PS3.3 C.7.6.2",
            )
        return self.plane

    def get(self, keyword: str, default: Any = None) -> Any:
        if self.values and keyword in self.values:
            return self.values[keyword]
        return self.header.get(keyword, default)

    def unreadable(self, keyword: str) -> str:
        """Why the value of an attribute cannot be read; "" where it can, or is absent."""
        own = self.header.frames_unreadable[self.number - 1] if self.header.frames_unreadable and self.values else {}
        if keyword in own or (self.values and keyword in self.values):
            return own.get(keyword, "")
        return self.header.unreadable.get(keyword, "")

    def rank(self, keyword: str) -> float | None:
        """A number that only orders frames and decides no place; None where there is no single one."""
        value = self.get(keyword)
        return float(value) if isinstance(value, int | float) else None

    def real(self, keyword: str, default: float) -> float:
        """A number that decides something: its one finite value, or the default where the attribute is absent.

        Raises PipelineError UNREADABLE_NUMBER.
        """
        why = self.unreadable(keyword)
        if why:
            raise unreadable_number(self, keyword, why)
        value = self.get(keyword, default)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            why = f"it has {len(value)} values" if isinstance(value, tuple) else f"“{value}” is not a number"
            raise unreadable_number(self, keyword, why) from error
        if not isfinite(number):
            raise unreadable_number(self, keyword, f"{number} is not finite")
        return number

    def whole(self, keyword: str, default: int) -> int:
        """As `real`, for a whole number."""
        if not self.values and not self.header.unreadable and type(value := self.header.get(keyword, default)) is int:
            return value  # the usual case; asked a dozen times for every frame
        number = self.real(keyword, default)
        if number != int(number):
            raise unreadable_number(self, keyword, f"{number:g} is not a whole number")
        return int(number)


def unreadable_number(frame: Frame, keyword: str, why: str) -> PipelineError:
    """Make the refusal of a number that decides something and cannot be read.

    Args:
        frame: whose number it is.
        keyword: of the attribute, in the data dictionary.
        why: it cannot be used, as a sentence without its capital and full stop.

    Returns:
        UNREADABLE_NUMBER, to be raised.
    """
    return refuse(
        Code.UNREADABLE_NUMBER,
        f"{describe_attribute(keyword)} of {frame.name} cannot be used: {why}",
        "Nothing is assumed in its place. Correct the attribute, or export the file again.",
        where=(frame.name,),
        clause="PS3.5 6.2",
    )


def describe_attribute(keyword: str) -> str:
    """Give the name and tag of an attribute, as in messages."""
    from pydicom.datadict import dictionary_description, tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def frames_of(header: Header) -> list[Frame]:
    """Make the frames of one instance, each with its plane or the reason why it has none."""
    if not header.has_pixels:
        return []
    if is_mosaic(header) and header.number_of_frames == 1:
        return _make_tiles(header)
    lost = lost_its_image_type(header) if header.number_of_frames == 1 else ""
    if lost:
        return [Frame(header, 1, None, f"it is {lost}")]
    places = derive_places(header)
    per_frame = header.frames or places.values
    frames = []
    for number in range(1, header.number_of_frames + 1):
        values = dict(per_frame[number - 1]) if number <= len(per_frame) else None
        frame = Frame(header, number, None, "", values)
        plane, reason = (None, places.reason) if places.reason else _derive_plane(frame)
        if plane is None:
            reason = describe_placeless(header) or reason
        frames.append(Frame(header, number, plane, reason, values))
    return frames


def _make_tiles(header: Header) -> list[Frame]:
    """The tiles of a mosaic as frames of their own; the sheet as one without a plane where it cannot be taken apart."""
    sheet, reason = _derive_plane(Frame(header, 1, None))
    if sheet is None:
        return [Frame(header, 1, None, reason)]
    try:
        planes = tiles(header, sheet)
    except NoTiles as error:
        return [Frame(header, 1, None, str(error))]
    size = {"Rows": planes[0].rows, "Columns": planes[0].columns}
    return [Frame(header, 1, plane, values=size, tile=n) for n, plane in enumerate(planes, 1)]


def _derive_plane(frame: Frame) -> tuple[Plane | None, str]:
    """The plane that a frame's attributes give; or None, and the reason."""
    if frame.header.number_of_frames > 1 and not frame.values:
        given, count = len(frame.header.frames), frame.header.number_of_frames
        return None, f"there are functional groups for {given} of its {count} frames"
    return plane_of(frame)


def spacing_attribute(frame: Frame) -> str:
    """The keyword of the attribute that gives the distance between a frame's pixels (PS3.3 10.7.1.3)."""
    if frame.get("Modality") in _PROJECTIONS:
        return "PixelSpacing"
    is_there = (k for k in _SPACINGS if frame.get(k) is not None or frame.unreadable(k))
    return next(is_there, "PixelSpacing")


def plane_of(frame: Frame) -> tuple[Plane | None, str]:
    """Make the plane that the attributes of a frame, or of its instance, describe.

    One value where a spacing has two is that of both: pixels are square then.

    Returns:
        The plane and ""; or None, and the reason as a sentence without its capital and full stop.
    """
    found: list[tuple[float, ...]] = []
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", spacing_attribute(frame)):
        name, count = _PLANE_ATTRIBUTES[keyword]
        value, why = frame.get(keyword), frame.unreadable(keyword)
        if why or value is None:
            return None, f"{name} is not readable: {why}" if why else f"{name} is missing{_projected(frame, keyword)}"
        values = value if isinstance(value, tuple) else (value,)
        if keyword in _SPACINGS and len(values) == 1:
            values *= 2
        if len(values) != count:
            return None, f"{name} has {len(values)} value{'s' * (len(values) > 1)}, not {count}"
        found.append(tuple(float(v) for v in values))
    position, orientation, spacing = found
    try:
        return (
            Plane(
                position=position,  # type: ignore[arg-type]
                row_cosine=orientation[:3],  # type: ignore[arg-type]
                column_cosine=orientation[3:],  # type: ignore[arg-type]
                row_spacing=spacing[0],
                column_spacing=spacing[1],
                rows=frame.whole("Rows", 0),
                columns=frame.whole("Columns", 0),
            ),
            "",
        )
    except GeometryError as error:
        return None, str(error)
    except PipelineError as error:
        return None, error.finding.message


def _projected(frame: Frame, keyword: str) -> str:
    """Why a distance at the detector is none in the patient, for a reason that ends with a missing Pixel Spacing."""
    if keyword != "PixelSpacing" or frame.get("ImagerPixelSpacing") is None:
        return ""
    return f", and Imager Pixel Spacing (0018,1164) of a projection ({frame.get('Modality')}) is magnified"


def describe_spacing(frame: Frame) -> str:
    """What a frame's pixel distances are from, in words, where that is not two values of Pixel Spacing; "" where it is."""
    keyword = spacing_attribute(frame)
    name = _PLANE_ATTRIBUTES[keyword][0]
    words = []
    if keyword != "PixelSpacing":
        plane = "the detector" if keyword == "ImagerPixelSpacing" else "what was scanned"
        words.append(
            f"Pixel Spacing (0028,0030) is missing; {name}, the distance in the plane of {plane}, was taken instead"
        )
    if not isinstance(frame.get(keyword), tuple):
        words.append(f"{name} has one value, which was taken for rows and columns")
    return "; ".join(words)
