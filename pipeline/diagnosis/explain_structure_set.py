"""Explain where the ROIs of a structure set lie: on which images, and how a point of a contour becomes a voxel index.

Rules:
- A structure set has no grid, so the affine that is explained is that of each series its ROIs were drawn on.
- An ROI whose series is not known is named with the reason; no series is guessed for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..conversion.option_effects import Asked
from ..conversion.roi_sources import GriddedSources, grid_sources
from ..conversion.source import Source
from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.plain_text import escape_controls
from ..decode.rtstruct.contour_items import read_contours
from ..decode.rtstruct.decode import choose_rois
from ..decode.rtstruct.structure_set import RoiItem, read_one
from ..dicom.scan import Scan, Series
from .explain import explain


@dataclass(frozen=True, slots=True)
class ExplainedStructureSet:
    """text: for a person. record: the same for a program."""

    text: str
    record: dict[str, Any]


def structure_set_in(found: Scan, wanted: str | None) -> Series | None:
    """Find the structure set that is to be explained.

    Args:
        found: what the inputs hold.
        wanted: UID, number or description of a series; None where none was chosen.

    Returns: the one chosen, else the only one beside images; None where something else is to be explained.
    """
    sets = [series for series in found.series if series.kind == "rtstruct"]
    if wanted is not None:
        sets = [s for s in sets if wanted in (s.uid, str(s.number)) or s.description.casefold() == wanted.casefold()]
    elif any(series.kind not in ("rtstruct", "image", "other") for series in found.series):
        return None
    return sets[0] if len(sets) == 1 else None


def explain_structure_set(found: Scan, series: Series, asked: Asked) -> ExplainedStructureSet:
    """Explain where the ROIs of a structure set lie, and the grid of each series they lie on.

    Args:
        found: what the inputs hold, the images among them.
        series: the structure set.
        asked: how the images are laid on their grids, and which they are, where they lie elsewhere.

    Returns: the explanation.

    Raises: PipelineError NOT_CONVERTIBLE where no ROI has a source here, and what `lay_source` refuses.
    """
    structure = read_one(series)
    chosen = choose_rois(structure, None)
    sources = grid_sources(structure, chosen.rois, found, asked)
    if not sources.gridded:
        raise _without_source(series, sources)
    rows = [_row(on, entry) for on, rois in sources.gridded for entry in rois]
    used = [on for on, _ in sources.gridded]
    left_out = [f.message for f in (*chosen.findings, *sources.findings) if f.severity is Severity.ERROR]
    lines = [
        *_introduce(series, len(structure.rois)),
        *(_line(row) for row in rows),
        *(f"  left out: {message}" for message in left_out),
        *(f"  no ROI lies on {image.title}" for image in sources.images if all(s.series is not image for s in used)),
    ]
    for on in used:
        plane = next(frame.plane for frame in on.laid_frames.frames if frame.plane is not None)
        lines += ["", explain(on.laid_frames.stack.grid, plane, title=_title(on.series))]
    return ExplainedStructureSet("\n".join(lines), {"Rois": rows, "Sources": [_as_json(on) for on in used]})


def _introduce(series: Series, count: int) -> list[str]:
    """Say what a structure set is. count: of its ROIs."""
    return [
        f"{_title(series)}: a structure set of {count} ROI{'s' * (count != 1)}, which holds contours and no voxels",
        "",
        "What a contour says",
        "  Contour Data (3006,0050) is a list of points x \\ y \\ z in LPS, in mm. It has no rows, columns or affine of its "
        "own: a mask of an ROI lies on the grid of the images that the ROI was drawn on. The inverse of their affine takes "
        "a point to the voxel index (i, j, k), and a voxel is inside where its centre is.",
        "",
        "Where its ROIs lie",
    ]


def _as_json(source: Source) -> dict[str, Any]:
    grid = source.grid
    return {
        "SeriesInstanceUID": source.series.uid,
        "Affine": grid.ras.tolist(),
        "AffineLPS": grid.lps.tolist(),
        "Shape": list(grid.shape),
    }


def _row(source: Source, entry: RoiItem) -> dict[str, Any]:
    """What is said of one ROI; the first point of its first contour is the example."""
    contours, _ = read_contours(entry.roi.file, entry.roi.name, entry.item)
    point = next((contour.points[0] for contour in contours if len(contour.points)), None)
    index = None if point is None else (np.linalg.inv(source.grid.lps) @ np.append(point, 1))[:3]
    return {
        "Number": entry.roi.number,
        "Name": entry.roi.name,
        "Contours": len(contours),
        "On": source.series.title,
        "SourceSeriesInstanceUID": source.series.uid,
        "FirstPointLpsMm": None if point is None else point.tolist(),
        "FirstPointIndex": None if index is None else index.tolist(),
    }


def _line(row: dict[str, Any]) -> str:
    many = row["Contours"]
    words = f"  {row['Number']} “{escape_controls(row['Name'])}”: {many} contour{'s' * (many != 1)} on {row['On']}"
    if row["FirstPointLpsMm"] is None:
        return words
    point, index = (", ".join(f"{v + 0.0:.4f}" for v in row[key]) for key in ("FirstPointLpsMm", "FirstPointIndex"))
    return f"{words}; its first point ({point}) mm has the index ({index})"


def _title(series: Series) -> str:
    return series.title[:1].upper() + series.title[1:]


def _without_source(series: Series, sources: GriddedSources) -> PipelineError:
    """The refusal of a structure set none of whose ROIs has a source that lies on a grid."""
    if not sources.series:
        return _no_images(series, sources.findings if sources.images else ())
    first = next(finding for finding in sources.findings if finding.severity is Severity.ERROR)
    return PipelineError(first, tuple(finding for finding in sources.findings if finding is not first))


def _no_images(series: Series, findings: Sequence[Finding]) -> PipelineError:
    error = refuse(
        Code.NOT_CONVERTIBLE,
        f"{series.title} is a structure set: contours in mm, without rows, columns or an affine",
        "Give the images that it was drawn on as well: their grid is what a mask of it has.",
        where=(series.uid,),
        clause="PS3.3 C.8.8.6",
    )
    return PipelineError(error.finding, tuple(findings))
