"""Put one record together as one page: collect what its template shows, and render it.

Rules:
- The order never changes: verdict, views, montage, rating, planes, corners, labels, affine, findings, methods,
  slices, header, provenance.
- Templates only lay out; sentences are made in `verdict`, `words` and `methods`, tables in `tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.findings import Finding, Severity
from ..diagnosis.check import PlacedBlock, compare
from ..nifti.file import read_header
from . import methods, ratings, tables, viewer, views, words
from .pictures import Convention, colour_of, hex_of, segments_of, window_of
from .record import RecordFile, check_file, explain_damage, read_record
from .render import Script, render, script_of
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
    rated: Sequence[Path] = (),
) -> str:
    """Make the record of a conversion a self-contained HTML page.

    Args:
        outcome_json: as written beside the NIfTI file, which must still be there unchanged.
        source: the image the mask was drawn on, a NIfTI file or a folder of DICOM; the mask alone is shown when None.
        source_series: UID, number or description of the series, where the folder holds several.
        convention: which side of a picture the patient's left is on; radiological: on the right.
        show_phi: whether the page shows what the source series says of the patient.
        interactive: whether a live viewer is in the page.
        rated: tables of ratings; the one that the page saves is read too where it lies beside the record.

    Returns:
        The HTML text.

    Raises:
        PipelineError: NO_SUCH_INPUT, NOT_AN_OUTCOME, NOT_THE_PROVEN_FILE, NO_REPORT_PACKAGE, NO_VIEWER,
            BAD_RATINGS, and whatever the source is refused for.
    """
    record = read_record(outcome_json)
    if record.file is None:
        return render("refused.html", record=record, verdict=describe_verdict(record), title=record.name)
    file = check_file(record)
    given = None if source is None else read_source(source, record.values, source_series)
    with explain_damage([record]):
        return _render_page(record, file, given, convention, show_phi=show_phi, interactive=interactive, rated=rated)


def _render_page(
    record: RecordFile,
    file: Path,
    given: ShownImage | None,
    convention: Convention,
    *,
    show_phi: bool,
    interactive: bool,
    rated: Sequence[Path],
) -> str:
    scene = _make_scene(record, read_volume(file), given, convention)
    live = _embed_viewer(record, file, scene) if interactive else None
    return render(
        "page.html",
        styles=("record.css", "viewer.css"),
        scripts=_list_scripts(live),
        title=record.name,
        record=record,
        verdict=describe_verdict(record),
        convention=convention,
        source=given,
        source_findings=_describe_source(record, file, given),
        patient=_read_patient(given) if show_phi else None,
        viewer=live,
        methods=methods.describe_methods(record),
        bibtex=methods.make_bibtex(record),
        **_rating_values(record, rated),
        **_picture_values(record, scene),
        **_plane_values(record),
        **_header_values(record, file),
    )


def _list_scripts(live: viewer.Embedded | None) -> list[Script]:
    own = script_of("shared.js", "rate.js", "record.js")
    return [own] if live is None else [own, Script(live.script), script_of("live.js", is_module=True)]


def _rating_values(record: RecordFile, given: Sequence[Path]) -> dict[str, Any]:
    """What the template shows of the rating of a result. given: tables beside the one that its page saves."""
    table, identity = ratings.table_of(record.path), ratings.RatedIdentity.of(record)
    found, _ = ratings.match_ratings(ratings.read_tables(given, [table]), [identity])
    shown = ratings.ShownRating.of(found.get(0), identity)
    return {"rating": shown, "data": ratings.list_for_script([identity], [shown], (), table.name)}


def _make_scene(record: RecordFile, block: Volume, given: ShownImage | None, convention: Convention) -> views.Scene:
    """Collect what the pictures show. A mask without a source has no window, and colours have none: nothing is grey."""
    segments = segments_of(record.values.get("Labels", [])) if record.is_mask else ()
    if given is not None:
        window = _window_of(given.volume, given.series.modality if given.series else "")
        return views.Scene(block, segments, given.volume, window, convention)
    alone = None if record.is_mask else _window_of(block, str(record.values.get("Modality", "")))
    return views.Scene(block, segments, None, alone, convention)


def _embed_viewer(record: RecordFile, file: Path, scene: views.Scene) -> viewer.Embedded:
    """Embed the live viewer. Raises NO_VIEWER where NiiVue was not installed."""
    centroids = {int(row["Value"]): row["CentroidRasMm"] for row in record.values.get("Labels", [])}
    return viewer.embed_viewer(file, scene, centroids)


def _window_of(volume: Volume, modality: str) -> tuple[float, float] | None:
    return None if volume.is_colour else window_of(volume, modality)


def _picture_values(record: RecordFile, scene: views.Scene) -> dict[str, Any]:
    """What the template shows of the voxels."""
    drawn, montage = views.draw_views(scene), views.draw_montage(scene)
    return {
        "views": drawn,
        "frame": views.frame_of(drawn),
        "surface": views.draw_solid(scene),
        "montage": montage,
        "tiles": views.find_tiles(montage),
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
