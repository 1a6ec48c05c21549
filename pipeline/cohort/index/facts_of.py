"""Find the facts of one series or bundle: what it is for, where it lies, what it declares and what it refers to.

Rules:
- Headers are those of the scan. Pixels are read only to find out whether planes are a mask (see `classify`).
- Grids are those that convert would write, by the default policy. What has none says why, and is not refused here.
- Nothing that one series is refused for keeps the facts of another from being found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ...core.findings import PipelineError, Severity
from ...core.policy import Policy
from ...core.unexpected import as_refusal
from ...dicom import split_volumes
from ...dicom.frame import Frame
from ...dicom.scan import Series
from ...geometry.grid import Grid
from ...mimics.bundle import Bundle
from ...mimics.grid import fit_grid
from ...stacking.stack_frames import lay_frames
from ...volume.mask import Concept
from ..facts import GridFact, MaskFact, Role, SeriesFacts, image_digest
from .classify import PlanesVolume, classify
from .references import References, of_planes, of_seg, of_structure_set

_POLICY = Policy(as_="image")


class KnownSeries(NamedTuple):
    """What was found out before. folder: relative to the input, POSIX. patient: its digest. files: how many."""

    key: str
    folder: str
    patient: str
    identifiers: tuple[str, ...]
    files: int


class _Holdings(NamedTuple):
    """What one kind of series holds."""

    role: Role
    grids: tuple[GridFact, ...] = ()
    masks: tuple[MaskFact, ...] = ()
    references: References = References()
    problem: str = ""


def facts_of_series(series: Series, known: KnownSeries) -> SeriesFacts:
    """Find the facts of a series.

    Args:
        series: with all its headers.
        known: what was found out before.

    Returns: the facts. What refuses the series stands in its problem.
    """
    error = next((f for f in series.findings if f.severity is Severity.ERROR), None)
    refused = "" if error is None else f"{error.code.name}: {error.message}"
    try:
        content = _READERS.get(series.kind, _read_other)(series)
    except Exception as problem:
        role: Role = "image" if series.kind == "image" else "mask" if series.kind in _READERS else "other"
        content = _Holdings(role, problem=str(as_refusal(problem)))
    return SeriesFacts(
        key=known.key,
        role=content.role,
        kind=series.kind,
        uid=series.uid,
        modality=series.modality,
        number=series.number,
        description=series.description,
        folder=known.folder,
        mask_name=series.mask_name,
        study_uid=str(series.get("StudyInstanceUID", "")),
        frame_of_reference_uid=series.frame_of_reference_uid,
        patient=known.patient,
        identifiers=known.identifiers,
        files=known.files,
        frames=len(series.frames),
        grids=content.grids,
        masks=content.masks,
        series_uids=tuple(uid for uid in content.references.series_uids if uid != series.uid),
        images=content.references.images,
        problem=refused or content.problem,
    )


def facts_of_bundle(bundle: Bundle | PipelineError, known: KnownSeries, name: str) -> SeriesFacts:
    """Find the facts of a Mimics bundle.

    Args:
        bundle: or what refuses it.
        known: what was found out before.
        name: of its folder.

    Returns: the facts.
    """
    content, frame_uids, frames = _Holdings("mask", problem=str(bundle)), set[str](), 0
    if isinstance(bundle, Bundle):
        content = _read_bundle(bundle)
        used = {mask.image.number: mask.image for mask in bundle.masks}.values()
        frame_uids = {image.frame_of_reference_uid for image in used}
        frames = sum(image.shape[2] for image in used)
    return SeriesFacts(
        key=known.key,
        role="mask",
        kind="bundle",
        uid="",
        modality="",
        number=None,
        description="",
        folder=known.folder,
        mask_name=name,
        study_uid="",
        frame_of_reference_uid=frame_uids.pop() if len(frame_uids) == 1 else "",
        patient=known.patient,
        identifiers=known.identifiers,
        files=known.files,
        frames=frames,
        grids=content.grids,
        masks=content.masks,
        series_uids=content.references.series_uids,
        images=content.references.images,
        problem=content.problem,
    )


def _read_planes(series: Series) -> _Holdings:
    parts = split_volumes.split(series.frames)
    grids: list[GridFact] = []
    volumes: list[PlanesVolume] = []
    problem = ""
    for part in parts:
        frames: Sequence[Frame] = part.frames
        try:
            laid_frames = lay_frames(part.frames, _POLICY, series.title)
            grids.append(_grid_fact(laid_frames.grid))
            frames = laid_frames.frames
        except Exception as error:
            problem = problem or str(as_refusal(error))
        folder = part.name.removeprefix("folder ") if part.name.startswith("folder ") else ""
        volumes.append(PlanesVolume(folder or " ".join(p for p in (series.mask_name, part.name) if p), tuple(frames)))
    found = classify(volumes)
    references = of_planes([h.path for h in series.headers]) if found.role == "mask" else References()
    return _Holdings(found.role, tuple(grids), found.masks, references, found.problem or ("" if grids else problem))


def _read_seg(series: Series) -> _Holdings:
    from ...decode.seg.decode import frames_held, segments_of
    from ...decode.seg.grid import place_frames

    masks = [MaskFact(s.number, s.name, _code(s.type), s.colour) for s in segments_of(series)]
    grids: list[GridFact] = []
    problem = ""
    for header in series.headers:
        frames = frames_held(series, header)
        try:
            if frames:
                grids.append(_grid_fact(place_frames(frames, None, Policy()).grid))
        except PipelineError as error:
            problem = problem or str(error)
    references = of_seg([header.path for header in series.headers])
    return _Holdings("mask", tuple(dict.fromkeys(grids)), tuple(masks), references, "" if grids else problem)


def _read_structure_set(series: Series) -> _Holdings:
    from ...decode.rtstruct import structure_set

    structures = [structure_set.read(header) for header in series.headers]
    rois = [item.roi for structure in structures for item in structure.rois]
    masks = tuple(MaskFact(roi.number, roi.name, roi.code, roi.colour) for roi in rois)
    return _Holdings("mask", (), masks, of_structure_set(structures))


def _read_other(series: Series) -> _Holdings:
    return _Holdings("other")


def _read_bundle(bundle: Bundle) -> _Holdings:
    grids: list[GridFact] = []
    problem = ""
    used = {mask.image.number: mask.image for mask in bundle.masks}.values()
    for image in used:
        try:
            grids.append(_grid_fact(fit_grid(image).grid))
        except PipelineError as error:
            problem = problem or str(error)
    planes = [plane for image in used for plane in image.planes]
    masks = tuple(MaskFact(n, mask.name or f"mask {n}", "", mask.colour) for n, mask in enumerate(bundle.masks, 1))
    references = References(
        _each(plane.series_uid for plane in planes),
        tuple(image_digest(uid) for uid in _each(plane.sop_instance_uid for plane in planes)),
    )
    return _Holdings("mask", tuple(dict.fromkeys(grids)), masks, references, "" if grids else problem)


_READERS: dict[str, Callable[[Series], _Holdings]] = {
    "image": _read_planes,
    "seg": _read_seg,
    "rtstruct": _read_structure_set,
}


def _grid_fact(grid: Grid) -> GridFact:
    i, j, k = grid.shape
    return GridFact((int(i), int(j), int(k)), tuple(float(n) for n in grid.lps[:3].ravel()))


def _code(concept: Concept | None) -> str:
    return "" if concept is None or not concept.value else f"{concept.scheme}:{concept.value}"


def _each(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text for text in texts if text}))
