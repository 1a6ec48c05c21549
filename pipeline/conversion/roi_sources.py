"""Find for each ROI of a structure set the image series it was drawn on: they may be several in one study.

Rules:
- `source_choice` says which series an ROI means; the only series that was given is the source of every ROI.
- An ROI that means none of the series, or several of them, is refused by name while the others go on.
- A registration relates two Frames of Reference and is never applied here; the refusal of an ROI that would need it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.unexpected import as_refusal
from ..decode.rtstruct.structure_set import Roi, RoiItem, StructureSet
from ..dicom.encoding import load
from ..dicom.scan import Scan, Series, table
from .option_effects import Asked
from .source import Source, images_in, lay_source
from .source_choice import SourceChoice, SourceReferences, choose_source, several_sources

_REGISTRATIONS = ("1.2.840.10008.5.1.4.1.1.66.1", "1.2.840.10008.5.1.4.1.1.66.3")  # Spatial, and Deformable Spatial
_CLAUSE = "PS3.3 C.8.8.5"


class RoisOfSource(NamedTuple):
    """One image series, and the ROIs that were drawn on it."""

    series: Series
    rois: list[RoiItem]


class RoiSources(NamedTuple):
    """The series with their ROIs, in the order of the first ROI; and the ROIs that are refused, or taken with a warning."""

    groups: list[RoisOfSource]
    findings: list[Finding]


def assign_sources(
    structure: StructureSet,
    rois: Sequence[RoiItem],
    images: Sequence[Series],
    relations: Mapping[str, str],
    *,
    given: bool,
) -> RoiSources:
    """Find the series of each ROI.

    Args:
        structure: the structure set.
        rois: those of its ROIs that are wanted.
        images: every image series there is.
        relations: of `relate_frames`.
        given: whether the images were given as the source, so that the only one is the source of all.

    Returns: the series with their ROIs, and the findings.
    """
    groups: dict[Series, RoisOfSource] = {}
    refused: dict[Finding, list[str]] = {}
    by_frame: dict[str, list[str]] = {}
    for entry in rois:
        roi = entry.roi
        only = len(images) == 1 and given
        choice = SourceChoice(list(images), None) if only else choose_source(images, _references(structure, entry))
        if len(choice.candidates) != 1:
            error = _refusal(roi, choice, images, relations.get(roi.frame_of_reference_uid, ""), given)
            refused.setdefault(error.finding, []).append(roi.name)
            continue
        series = choice.candidates[0]
        groups.setdefault(series, RoisOfSource(series, [])).rois.append(entry)
        if choice.by == "frame of reference":
            by_frame.setdefault(series.title, []).append(roi.name)
    findings = [replace(finding, message=f"{_named(names)} {finding.message}") for finding, names in refused.items()]
    findings += [_taken_by_frame(title, names) for title, names in by_frame.items()]
    return RoiSources(list(groups.values()), findings)


class GriddedSources(NamedTuple):
    """The sources of ROIs on their grids. series: of all ROIs that have one, also of those that lie on no grid.

    images: every image series there is. relations: of `relate_frames`. findings: what refuses ROIs, or warns of them.
    """

    gridded: list[tuple[Source, list[RoiItem]]]
    series: list[Series]
    images: Sequence[Series]
    relations: Mapping[str, str]
    findings: list[Finding]


def grid_sources(structure: StructureSet, rois: Sequence[RoiItem], found: Scan, asked: Asked) -> GriddedSources:
    """Find the series of each ROI, and lay each on its grid.

    Args:
        structure: the structure set.
        rois: those of its ROIs that are wanted.
        found: where the images are looked for if none were given.
        asked: which source, if any, and how the images are laid on their grids.

    Returns: the sources with their ROIs; none where no ROI has one.

    Raises: PipelineError of `lay_source` where the only source lies on no grid.
    """
    given = asked.request.source
    scanned, images = images_in(found, given, asked.looks)
    together = Scan((*scanned.series, *found.series)) if given else found  # registrations are among the inputs
    relations = relate_frames(structure, rois, together)
    sources = assign_sources(structure, rois, images, relations, given=bool(given))
    gridded: list[tuple[Source, list[RoiItem]]] = []
    findings = list(sources.findings)
    for group in sources.groups:
        try:
            named = frozenset[str]().union(*(uids for roi in group.rois for uids in roi.drawn_on()))
            gridded.append((lay_source(scanned, group.series, asked.policy, asked.looks, named), group.rois))
        except Exception as error:
            if len(sources.groups) == 1:
                raise
            findings.append(_without_grid(group, as_refusal(error)))
    return GriddedSources(gridded, [group.series for group in sources.groups], images, relations, findings)


def _without_grid(group: RoisOfSource, error: PipelineError) -> Finding:
    """The refusal of ROIs whose source cannot be laid on one grid, while others can."""
    names = ", ".join(f"“{entry.roi.name}”" for entry in group.rois)
    return replace(error.finding, message=f"the source of {names}: {error.finding.message}")


def relate_frames(structure: StructureSet, rois: Sequence[RoiItem], found: Scan) -> dict[str, str]:
    """Find what relates the Frame of Reference of an ROI to that of an image, where no image lies in it.

    Args:
        structure: the structure set, which may hold a Frame of Reference Relationship Sequence (3006,00C0).
        rois: those of its ROIs that are wanted.
        found: every series there is, among them registrations (REG objects).

    Returns: for each such Frame of Reference, a sentence that says what relates it to which series.
    """
    series_of = {s.frame_of_reference_uid: s for s in found.series if s.kind == "image" and s.frame_of_reference_uid}
    strange = {entry.roi.frame_of_reference_uid for entry in rois} - series_of.keys() - {""}
    if not strange:  # which is so for nearly every structure set: no registration is opened then
        return {}
    related = [
        (frames, "the structure set's Frame of Reference Relationship Sequence (3006,00C0)")
        for frames in structure.related_frames
    ]
    related += _registered(found)
    words: dict[str, str] = {}
    for own in sorted(strange):
        for frames, by in related:
            others = [series_of[uid].title for uid in sorted(frames - {own}) if uid in series_of]
            if own in frames and others:
                words[own] = (
                    f"It is related to that of {others[0]} by {by}, which is not applied here: resample that series into "
                    "the frame of the ROI with the program that registered them, and give the result with --source."
                )
    return words


def _registered(found: Scan) -> list[tuple[frozenset[str], str]]:
    """The Frames of Reference that each registration among the files relates, and its file in words."""
    headers = [h for s in found.series for h in s.headers if str(h.get("SOPClassUID", "")) in _REGISTRATIONS]
    related = []
    for header in headers:
        try:
            dataset = load(header.path)
            items = [
                *(dataset.get("RegistrationSequence") or ()),
                *(dataset.get("DeformableRegistrationSequence") or ()),
            ]
            uids = [
                str(item.get("FrameOfReferenceUID") or item.get("SourceFrameOfReferenceUID") or "") for item in items
            ]
        except (EOFError, ValueError, KeyError, AttributeError):
            continue  # it would only add a sentence to a refusal
        uids.append(str(dataset.get("FrameOfReferenceUID") or ""))
        related.append((frozenset(uids) - {""}, f"the registration {header.path.name}"))
    return related


def _references(structure: StructureSet, entry: RoiItem) -> SourceReferences:
    """What an ROI says of its source; what stands under its own Frame of Reference counts for it, and under none for all."""
    own = entry.roi.frame_of_reference_uid
    listed = [item for item in structure.series if not own or not item.frame_uid or item.frame_uid == own]
    return SourceReferences(
        drawn_on=entry.drawn_on(),
        series_uids={item.series_uid for item in listed} - {""},
        image_uids=frozenset().union(*(item.image_uids for item in listed)),
        frame_of_reference_uid=own,
    )


def _refusal(
    roi: Roi, choice: SourceChoice[Series], images: Sequence[Series], relation: str, given: bool
) -> PipelineError:
    """Refuse an ROI without one source. The message begins with what the ROIs do; their names come before it."""
    frames = {series.frame_of_reference_uid for series in images}
    own = roi.frame_of_reference_uid
    if choice.candidates or (given and not (own and own not in frames and "" not in frames)):
        error = several_sources(choice.candidates or images, "it")
        return PipelineError(replace(error.finding, message=f"may lie on several series: {error.finding.message}"))
    lies = f"lies in Frame of Reference {own}, which is that of none" if own else "names no Frame of Reference"
    return refuse(
        Code.ROI_FRAME_OF_REFERENCE,
        f"refers to none of the {len(images)} image series here, and {lies}",
        f"{relation or 'Give --source the series it was drawn on.'} Found:\n" + table(images),
        where=roi.referenced_series_uids or (own,),
        clause=_CLAUSE,
    )


def _taken_by_frame(title: str, names: Sequence[str]) -> Finding:
    return Finding(
        Code.ROI_SOURCE,
        f"{_named(names)} refers to no series and no image that is here; {title} was taken as the source, the only one "
        "in its Frame of Reference (0020,0052)",
        "Coordinates compare within a Frame of Reference, so the mask lies where it was drawn. Was it drawn on this series?",
        Severity.WARNING,
        _CLAUSE,
        tuple(names),
    )


def _named(names: Sequence[str]) -> str:
    return ("ROI " if len(names) == 1 else "Each of the ROIs ") + ", ".join(f"“{name}”" for name in names)
