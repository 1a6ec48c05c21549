"""Put one record together as one page: collect what its template shows, and render it.

Rules:
- The order never changes: verdict, views, montage, planes, corners, labels, affine, findings, slices, header, provenance.
- Templates only lay out; sentences are made in `verdict` and `words`, tables in `tables`. Every value is escaped on its way in.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ..core.extras import imported
from ..core.findings import Finding, Severity
from ..diagnosis.check import PlacedBlock, compare
from ..nifti.file import read_header
from . import tables, viewer, views, words
from .pictures import Convention, colour_of, hex_of, segments_of, window_of
from .record import RecordFile, check_file, read_record
from .verdict import describe_verdict
from .volume import ShownImage, Volume, read_source, read_volume

_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyDescription")


def make_page(
    outcome_json: Path,
    *,
    source: Path | None = None,
    source_series: str | None = None,
    convention: Convention = "radiological",
    show_phi: bool = False,
    interactive: bool = False,
) -> str:
    """Make the record of a conversion a self-contained HTML page.

    Args:
        outcome_json: as written beside the NIfTI file, which must still be there unchanged.
        source: the image the mask was drawn on, a NIfTI file or a folder of DICOM; the mask alone is shown when None.
        source_series: UID, number or description of the series, where the folder holds several.
        convention: which side of a picture the patient's left is on; radiological: on the right.
        show_phi: whether the page shows what the source series says of the patient.
        interactive: whether a live viewer is in the page.

    Returns:
        The HTML text.

    Raises:
        PipelineError: NO_SUCH_INPUT, NOT_AN_OUTCOME, NOT_THE_PROVEN_FILE, NO_REPORT_PACKAGE, NO_VIEWER, and whatever
            the source is refused for.
    """
    record = read_record(outcome_json)
    if record.file is None:
        return render("refused.html", record=record, verdict=describe_verdict(record), title=record.name)
    file = check_file(record)
    given = None if source is None else read_source(source, record.values, source_series)
    scene = _make_scene(record, read_volume(file), given, convention)
    return render(
        "page.html",
        title=record.name,
        record=record,
        verdict=describe_verdict(record),
        convention=convention,
        source=given,
        source_findings=_describe_source(record, file, given),
        patient=_read_patient(given) if show_phi else None,
        viewer=viewer.embed_viewer(file, scene) if interactive else None,
        **_picture_values(record, scene),
        **_plane_values(record),
        **_header_values(record, file),
    )


def render(template: str, **values: Any) -> str:
    """Render a template of this package with values, all of them escaped."""
    return str(_environment().get_template(template).render(**values))


@cache
def _environment() -> Any:
    jinja2 = imported("report", "jinja2")
    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Adding 0.0 makes a negative zero a plain one.
    environment.filters["mm"] = lambda value, digits=3: f"{value + 0.0:.{digits}f}"
    environment.filters["short"] = lambda value: f"{value + 0.0:.6g}"
    return environment


def _make_scene(record: RecordFile, block: Volume, given: ShownImage | None, convention: Convention) -> views.Scene:
    """Collect what the pictures show. A mask without a source has no window, and colours have none: nothing is grey."""
    segments = segments_of(record.values.get("Labels", [])) if record.is_mask else ()
    if given is not None:
        window = _window_of(given.volume, given.series.modality if given.series else "")
        return views.Scene(block, segments, given.volume, window, convention)
    alone = None if record.is_mask else _window_of(block, str(record.values.get("Modality", "")))
    return views.Scene(block, segments, None, alone, convention)


def _window_of(volume: Volume, modality: str) -> tuple[float, float] | None:
    return None if volume.is_colour else window_of(volume, modality)


def _picture_values(record: RecordFile, scene: views.Scene) -> dict[str, Any]:
    """What the template shows of the voxels."""
    drawn = views.draw_views(scene)
    return {
        "views": drawn,
        "frame": views.frame_of(drawn),
        "montage": views.draw_montage(scene),
        "legend": _list_labels(record, scene),
        "seen": _describe_pictures(record, scene),
    }


def _plane_values(record: RecordFile) -> dict[str, Any]:
    """What the template shows of the series' planes: the strip, the corners, and the derivation of the affine."""
    witnesses, corners = tables.find_corners(record)
    return {
        "strip": tables.find_ticks(record),
        "strip_words": words.describe_planes(record),
        "strip_ends": tables.name_ends(record),
        "worst": words.describe_bound(record.values["Geometry"]["CornerResidualMm"]),
        "witnesses": witnesses,
        "corners": corners,
        "explanation": words.explain_record(record),
    }


def _header_values(record: RecordFile, file: Path) -> dict[str, Any]:
    """What the template shows of the headers and the programs."""
    versions = record.values["Provenance"]["Versions"]
    return {
        "header": tables.list_nifti_header(read_header(file)),
        "dicom": tables.list_dicom_header(record),
        "software": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def _list_labels(record: RecordFile, scene: views.Scene) -> list[tuple[str, dict[str, Any]]]:
    """List colour and numbers of every label; empty for an image."""
    rows = record.values.get("Labels", [])
    return [(hex_of(colour_of(s)), row) for s, row in zip(scene.segments, rows, strict=True)]


def _describe_pictures(record: RecordFile, scene: views.Scene) -> list[str]:
    """Describe what a reader has to know of the pictures, a sentence each."""
    sentences = words.describe_lean(scene.block, record)
    if len(record.values["Shape"]) > 3:
        sentences.append(f"The file holds {record.values['Shape'][3]} volumes; the first is shown.")
    if scene.window is not None:
        black, white = scene.window
        sentences.append(f"Grey runs from {black:g} (black) to {white:g} (white).")
    if (scene.source or scene.block).is_colour:
        sentences.append("Its colours are those stored, without a window and without a colour profile.")
    if scene.source is None and record.is_mask:
        sentences.append(
            "No source image was given, so the mask is shown alone. With --source its outline is drawn over it."
        )
    return sentences


def _describe_source(record: RecordFile, file: Path, given: ShownImage | None) -> list[tuple[str, str]]:
    """Describe how mask and source lie to each other: (severity, sentence) each, "same" where they share one grid."""
    if given is None:
        return []
    found = [f for f in compare(PlacedBlock.of_file(file), given.block) if f.severity is not Severity.INFO]
    lines = [(f.severity.value, f.message) for f in found]
    ours, theirs = str(record.values.get("FrameOfReferenceUID", "")), given.frame_of_reference
    if ours and theirs and ours != theirs:
        other = (
            "the source has another Frame of Reference than the mask: nothing says that their numbers mean one place"
        )
        return [(Severity.ERROR.value, other), *lines]
    if _is_same_grid(found):
        same = f"the source image, {given.block.name}, lies on the same grid as this {record.noun}, voxel for voxel"
        return [("same", same), *lines]
    return lines


def _is_same_grid(found: list[Finding]) -> bool:
    return not any(f.severity is Severity.ERROR for f in found)


def _read_patient(given: ShownImage | None) -> list[tuple[str, str]]:
    """Read what the source series says of the patient; nothing where the source is no DICOM."""
    if given is None or given.series is None:
        return []
    from ..dicom.encoding import load

    dataset = load(given.series.headers[0].path, stop_before_pixels=True)
    return [(keyword, str(dataset.get(keyword, ""))) for keyword in _PATIENT]
