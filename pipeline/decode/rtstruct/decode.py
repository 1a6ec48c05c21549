"""Decode an RT Structure Set (PS3.3 A.19): each ROI as a mask on the grid of the images it was drawn on.

Rules:
- `structure_set` and `contour_items` read; the geometry is the source image's grid; `roi` and `contours` do the filling.
  One ROI gives one mask with the value 1.
- An ROI that must be refused is an ERROR among the findings and gives no mask, and the others go on. When no mask is
  left the first refusal is raised.
- An ROI drawn in another Frame of Reference than the grid's is refused; one that cannot be compared is a warning, and
  so is one whose contours all name images of this source by their UIDs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...core.plain_text import escape_controls
from ...core.policy import Policy
from ...core.unexpected import as_refusal
from ...dicom.scan import Series
from ...geometry.frame_of_reference import FrameDoubt, doubt_same_frame, warn_of_frame
from ...geometry.grid import Grid
from ...volume.mask import MaskVolume, Segment
from .contour import CLAUSE, Contour
from .contour_items import read_contours
from .roi import place
from .roi_report import RoiReport
from .structure_set import Roi, RoiItem, StructureSet, read_one

_NO_RELATIONS: Mapping[str, str] = MappingProxyType({})


class _FilledRoi(NamedTuple):
    """doubt: why it is not known to lie in the source's Frame of Reference; None where it is known."""

    name: str
    mask: MaskVolume
    report: RoiReport
    findings: tuple[Finding, ...]
    doubt: FrameDoubt | None


class DecodedRois(NamedTuple):
    """A mask and a report for each ROI that could be filled, in the order of the structure set, and all findings.

    own: for each mask, the findings that are about its ROI alone.
    """

    masks: list[MaskVolume]
    findings: list[Finding]
    reports: list[RoiReport]
    own: list[tuple[Finding, ...]]

    @property
    def of_all(self) -> list[Finding]:
        """The findings that are not about the ROI of one mask: refusals, and what ROIs share."""
        return [f for f in self.findings if not any(f in own for own in self.own)]


class ChosenRois(NamedTuple):
    """The ROIs that are to be filled, and what is said of the others: a refusal (ERROR) or a warning for each."""

    rois: list[RoiItem]
    findings: list[Finding]


def decode(
    series: Series,
    source: Grid,
    *,
    policy: Policy | None = None,
    wanted: Collection[str] | None = None,
    interpolate: bool = False,
    image_uids: Sequence[str] = (),
) -> DecodedRois:
    """Fill each ROI, or those wanted, as a mask on the one grid that all were drawn on.

    Args:
        series: of one structure set.
        source: grid of the image the ROIs were drawn on.
        policy: gives the limit of a contour's distance from its plane; the default policy when None.
        wanted: names or numbers of ROIs; all of them when None.
        interpolate: whether to fill between contours by their signed distances, where they lie off the grid's planes.
        image_uids: SOP Instance UID of the source's plane at every k.

    Returns:
        Masks and reports of the ROIs that could be filled. One that was refused is an ERROR among the findings.

    Raises:
        PipelineError: NO_SUCH_ROI, SEVERAL_VOLUMES (several structure sets in one series), CORRUPT_FILE, and when no
            mask is left the refusal of the first ROI.
    """
    chosen = choose_rois(read_one(series), wanted)
    chosen_policy = replace(policy or Policy(), interpolate=interpolate)
    decoded = fill_rois(chosen.rois, source, chosen_policy, image_uids=image_uids)
    findings = [*chosen.findings, *decoded.findings]
    if not decoded.masks:
        raise no_mask(series, findings)
    return decoded._replace(findings=findings)


def choose_rois(structure: StructureSet, wanted: Collection[str] | None) -> ChosenRois:
    """Choose the ROIs that are to be filled.

    Args:
        structure: the structure set.
        wanted: names or numbers of ROIs; all that have something to fill when None.

    Returns: the ROIs, and the findings of what is left out.

    Raises: PipelineError NO_SUCH_ROI.
    """
    findings = list(structure.findings)
    chosen = []
    for entry in _choose(structure, wanted):
        if entry.roi.fault is not None:
            findings.append(entry.roi.fault)
        elif wanted is None and not entry.roi.fillable:
            findings.append(_nothing_to_fill(entry.roi))
        else:
            chosen.append(entry)
    return ChosenRois(chosen, list(dict.fromkeys(findings)))


def fill_rois(
    rois: Sequence[RoiItem],
    source: Grid,
    policy: Policy,
    *,
    image_uids: Sequence[str] = (),
    relations: Mapping[str, str] = _NO_RELATIONS,
) -> DecodedRois:
    """Fill ROIs that were drawn on one image.

    Args:
        rois: of `choose_rois`.
        source: grid of the image.
        policy: how far a contour may lie from its plane, and whether to fill between contours.
        image_uids: SOP Instance UID of the image's plane at every k.
        relations: for a Frame of Reference of an ROI, what relates it to another one, in words for its refusal.

    Returns: masks and reports of the ROIs that could be filled, perhaps none. A refused one is an ERROR among the findings.
    """
    limit_mm = policy.corner_limit(min(source.spacing))
    filled: list[_FilledRoi] = []
    findings: list[Finding] = []
    for roi, item in rois:
        odd: list[Finding] = []
        try:
            contours, odd = read_contours(roi.file, roi.name, item)
            doubt = _check_frame_of_reference(roi, contours, source, image_uids, policy, relations)
            voxels, report, found = place(
                roi.number,
                roi.name,
                contours,
                source,
                limit_mm=limit_mm,
                interpolate=policy.interpolate,
                image_uids=image_uids,
            )
        except Exception as error:  # a bug in one ROI must not take the others with it
            refusal = as_refusal(error, f"ROI “{roi.name}”")
            # What is odd about an ROI that is refused leaves no doubt about the others.
            findings.extend((*(replace(f, severity=Severity.INFO) for f in odd), *refusal.others, refusal.finding))
            continue
        mask = MaskVolume(voxels, source, (Segment(1, roi.name, roi.colour, algorithm=roi.algorithm),), roi.name)
        filled.append(_FilledRoi(roi.name, mask, report, (*odd, *found), doubt))
        findings.extend(filled[-1].findings)
    findings.extend(_doubtful_frames(filled))
    return DecodedRois(
        [one.mask for one in filled], findings, [one.report for one in filled], [one.findings for one in filled]
    )


def _choose(structure: StructureSet, wanted: Collection[str] | None) -> Sequence[RoiItem]:
    """Choose ROIs by name, else by name in any case, else by number. A choice that fits several is refused."""
    found = structure.rois
    if wanted is None:
        return found
    chosen: list[RoiItem] = []
    for name in wanted:
        matches = [entry for entry in found if entry.roi.name == name]
        matches = matches or [entry for entry in found if entry.roi.name.casefold() == name.casefold()]
        matches = matches or [entry for entry in found if str(entry.roi.number) == name]
        if len(matches) != 1:
            matching = "no ROI is" if not matches else f"{len(matches)} ROIs are"
            listed = ", ".join(f"{roi.number} “{escape_controls(roi.name)}”" for roi, _ in found)
            hint = f"Choose by name or number among: {listed}"
            raise refuse(Code.NO_SUCH_ROI, f"{matching} called “{name}”", hint, where=(structure.file,))
        if all(matches[0] is not entry for entry in chosen):
            chosen.append(matches[0])
    return chosen


def _check_frame_of_reference(
    roi: Roi,
    contours: Sequence[Contour],
    source: Grid,
    image_uids: Sequence[str],
    policy: Policy,
    relations: Mapping[str, str],
) -> FrameDoubt | None:
    """Return why the ROI is not known to lie in the source's Frame of Reference; None where it is known to."""
    own, given = roi.frame_of_reference_uid, source.frame_of_reference_uid
    # Some writers make up a new UID, but what is drawn on an image lies in the frame of that image.
    on_images = bool(contours) and all(set(image_uids).intersection(c.image_uids) for c in contours)
    return doubt_same_frame(
        own,
        given,
        "the structure set" if on_images or not own or not given else f"ROI “{roi.name}”",
        where=(roi.file,),
        code=Code.ROI_FRAME_OF_REFERENCE,
        evidence="every contour names an image of this source" if on_images else "",
        by_word=policy.same_frame,
        relation=relations.get(own, ""),
    )


def _doubtful_frames(filled: Sequence[_FilledRoi]) -> list[Finding]:
    """Make one warning for each reason to doubt the Frame of Reference, with its ROIs."""
    doubts: dict[FrameDoubt, list[str]] = {}
    for one in filled:
        if one.doubt:
            doubts.setdefault(one.doubt, []).append(one.name)
    code = Code.ROI_FRAME_OF_REFERENCE
    return [warn_of_frame(doubt, where=tuple(names), code=code) for doubt, names in doubts.items()]


def _nothing_to_fill(roi: Roi) -> Finding:
    counts = ", ".join(f"{count} {kind}" for kind, count in roi.contours.items()) or "none at all"
    return Finding(
        Code.CONTOUR_NOT_CLOSED,
        f"ROI “{roi.name}” has no closed contours ({counts}); it gives no mask",
        "Only closed contours have an inside; points and lines cannot be filled.",
        severity=Severity.WARNING,
        clause=CLAUSE,
        where=(roi.file,),
    )


def no_mask(series: Series, findings: Sequence[Finding]) -> PipelineError:
    """Make the refusal of a structure set of which no ROI is left: that of its first ROI.

    Args:
        series: of the structure set.
        findings: all that were made.

    Returns: the exception, to be raised.
    """
    refusals = [f for f in findings if f.severity is Severity.ERROR]
    if refusals:
        return PipelineError(refusals[0], tuple(f for f in findings if f is not refusals[0]))
    error = refuse(
        Code.EMPTY_ROI,
        f"{series.title} has no ROI with closed contours",
        "There is nothing to fill: only points, lines or empty ROIs.",
        where=tuple(header.path.name for header in series.headers),
    )
    return PipelineError(error.finding, tuple(findings))
