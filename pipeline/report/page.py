"""One record as one page: what is shown, in which order, and how it is put together.

Rules:
- The order never changes: verdict, views, montage, planes, corners, labels, affine, findings, slices, header, provenance.
- Templates only lay out; what is said is made in `words` and `tables`. Every value is escaped on its way in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core.extras import imported
from ..core.findings import Severity
from ..diagnosis.check import PlacedBlock, compare
from ..nifti.file import read_header
from ..volume.mask import Segment
from . import tables, viewer, words
from .pictures import (
    Box,
    Convention,
    Cut,
    Picture,
    colour_of,
    cut,
    draw,
    hex_of,
    segments_of,
    window_of,
)
from .record import Record, check_file, read_record
from .volume import ShownImage, Volume, middle_of, of_file, source_of

_MOST_TILES = 24
_MARGIN_MM = 8.0


@dataclass(frozen=True, slots=True)
class View:
    """A picture with what is written on it. cross: (x, y) mm of the point all views go through; plane: which, in words."""

    picture: Picture
    cross: tuple[float, float] | None
    plane: str


def report(
    outcome_json: Path,
    *,
    source: Path | None = None,
    source_series: str | None = None,
    convention: Convention = "radiological",
    show_phi: bool = False,
    interactive: bool = False,
) -> str:
    """The record of a conversion as a self-contained HTML page.

    outcome_json: as written beside the NIfTI file, which must still be there unchanged. source: the image the mask was
    drawn on, a NIfTI file or a folder of DICOM. interactive: with a live viewer in the page. show_phi: with what the
    source series says of the patient. Raises PipelineError NO_SUCH_INPUT, NOT_AN_OUTCOME, NOT_THE_PROVEN_FILE,
    NO_REPORT_PACKAGE, NO_VIEWER, and whatever the source is refused for.
    """
    record = read_record(outcome_json)
    if record.file is None:
        return render("refused.html", record=record, verdict=words.verdict_of(record), title=record.name)
    file = check_file(record)
    block = of_file(file)
    segments = segments_of(record.values.get("Labels", [])) if record.is_mask else ()
    given = None if source is None else source_of(source, record.values, source_series)
    window = _window(block, record, given)
    shown = None if given is None else given.volume
    views = _views(block, segments, shown, window, convention)
    named, corners = tables.corners(record)
    return render(
        "page.html",
        title=record.name,
        record=record,
        verdict=words.verdict_of(record),
        views=views,
        frame=_frame(views),
        montage=_montage(block, segments, shown, window, convention),
        legend=_legend(record, segments),
        convention=convention,
        seen=_seen(record, given, block, window),
        source=given,
        source_findings=_source_findings(record, file, given),
        strip=tables.strip(record),
        strip_words=words.planes_in_words(record),
        worst=words.within(record.values["Geometry"]["CornerResidualMm"]),
        strip_ends=tables.strip_ends(record),
        software=", ".join(f"{name} {version}" for name, version in record.values["Provenance"]["Versions"].items()),
        witnesses=named,
        corners=corners,
        explanation=words.explanation(record),
        header=tables.header_rows(read_header(file)),
        dicom=tables.dicom_rows(record),
        patient=_patient(given) if show_phi else None,
        viewer=viewer.embedded(file, block, segments, given, window, convention) if interactive else None,
    )


def render(template: str, **values: Any) -> str:
    """A template of this package with values, all of them escaped."""
    return str(_environment().get_template(template).render(**values))


def thumbnail(record: Record) -> Picture:
    """The axial cut through the middle of a record's file, for a list."""
    block = of_file(check_file(record))
    segments = segments_of(record.values.get("Labels", [])) if record.is_mask else ()
    middle = middle_of(block if segments else None, block.voxels.shape)
    box = _with_margin(block, _extent(block)) if segments else None
    return draw(cut(block, 2, middle[2], "radiological", box), block, segments, None, window_of(block))


@cache
def _environment() -> Any:
    jinja2 = imported("report", "jinja2")
    folder = Path(__file__).parent / "templates"
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["mm"] = lambda value, digits=3: f"{value + 0.0:.{digits}f}"
    made.filters["short"] = lambda value: f"{value + 0.0:.6g}"
    return made


def _window(block: Volume, record: Record, given: ShownImage | None) -> tuple[float, float] | None:
    if given is not None:
        return window_of(given.volume, given.series.modality if given.series else "")
    return None if record.is_mask else window_of(block, str(record.values.get("Modality", "")))


def _views(
    block: Volume,
    segments: tuple[Segment, ...],
    source: Volume | None,
    window: tuple[float, float] | None,
    convention: Convention,
) -> list[View]:
    """Axial, sagittal, coronal, through one voxel."""
    middle = middle_of(block if segments else None, block.voxels.shape)
    views = []
    for axis in (2, 0, 1):
        where = cut(block, axis, middle[axis], convention)
        picture = draw(where, block, segments, source, window)
        views.append(View(picture, where.place(middle), _plane_words(block, where)))
    return views


def _frame(views: list[View]) -> tuple[float, float]:
    """(width, height) mm that hold every view at one scale, never so narrow that the ruler does not fit."""
    width, height = max(v.picture.cut.width for v in views), max(v.picture.cut.height for v in views)
    return max(width, 0.6 * height), height


def _montage(
    block: Volume,
    segments: tuple[Segment, ...],
    source: Volume | None,
    window: tuple[float, float] | None,
    convention: Convention,
) -> list[View]:
    """Planes as stored, evenly through the whole mask from its first to its last, cut down to what it fills."""
    axis = block.stacked_along
    i, j, k = block.voxels.shape
    extent = _extent(block) if segments else ((0, i - 1), (0, j - 1), (0, k - 1))
    box = _with_margin(block, extent)
    low, high = extent[axis]
    chosen = np.unique(np.linspace(low, high, min(_MOST_TILES, high - low + 1)).round().astype(int))
    if block.order.flipped[axis]:
        chosen = chosen[::-1]
    cuts = [cut(block, axis, int(n), convention, box) for n in chosen]
    return [View(draw(c, block, segments, source, window), None, f"{block.file_plane(c.index)}") for c in cuts]


def _extent(block: Volume) -> Box:
    """First and last index of the voxels that are not 0 along each axis; of the whole block where none are."""
    found = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero((block.voxels != 0).any(axis=others))
        found.append((int(filled[0]), int(filled[-1])) if filled.size else (0, block.voxels.shape[axis] - 1))
    return found[0], found[1], found[2]


def _with_margin(block: Volume, extent: Box) -> Box:
    found = []
    for (low, high), spacing, count in zip(extent, block.spacing, block.voxels.shape, strict=True):
        margin = int(np.ceil(_MARGIN_MM / spacing))
        found.append((max(low - margin, 0), min(high + margin, count - 1)))
    return found[0], found[1], found[2]


def _plane_words(block: Volume, where: Cut) -> str:
    centre = block.ras @ np.append(where.ijk.reshape(-1, 3).mean(axis=0), 1)
    towards = (("R", "L"), ("A", "P"), ("S", "I"))[where.axis][int(centre[where.axis] < 0)]
    return f"at {towards} {abs(centre[where.axis]):.1f} mm"


def _legend(record: Record, segments: tuple[Segment, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Colour and numbers of every label; empty for an image."""
    return [(hex_of(colour_of(s)), row) for s, row in zip(segments, record.values.get("Labels", []), strict=True)]


def _seen(record: Record, given: ShownImage | None, block: Volume, window: tuple[float, float] | None) -> list[str]:
    """What is to be known of the pictures."""
    said = words.lean(block, record)
    if len(record.values["Shape"]) > 3:
        said.append(f"The file holds {record.values['Shape'][3]} volumes; the first is shown.")
    if window is not None:
        said.append(f"Grey runs from {window[0]:g} (black) to {window[1]:g} (white).")
    if given is None and record.is_mask:
        said.append(
            "No source image was given, so the mask is shown alone. With --source its outline is drawn over it."
        )
    return said


def _source_findings(record: Record, file: Path, given: ShownImage | None) -> list[tuple[str, str]]:
    """(severity, sentence) of how mask and source lie to each other."""
    if given is None:
        return []
    told = compare(PlacedBlock.of_file(file), given.placed)
    found = [(f.severity.value, f.message) for f in told if f.severity is not Severity.INFO]
    ours, theirs = str(record.values.get("FrameOfReferenceUID", "")), given.frame_of_reference
    if ours and theirs and ours != theirs:
        other = (
            "the source has another Frame of Reference than the mask: nothing says that their numbers mean one place"
        )
        found.insert(0, (Severity.ERROR.value, other))
    if not any(severity == "error" for severity, _ in found):
        found.insert(
            0,
            (
                "same",
                f"the source image, {given.placed.name}, lies on the same grid as this {record.noun}, voxel for voxel",
            ),
        )
    return found


def _patient(given: ShownImage | None) -> list[tuple[str, str]]:
    """What the source series says of the patient; nothing where the source is no DICOM."""
    if given is None or given.series is None:
        return []
    from ..dicom.encoding import load

    dataset = load(given.series.headers[0].path, stop_before_pixels=True)
    keywords = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyDescription")
    return [(keyword, str(dataset.get(keyword, ""))) for keyword in keywords]
