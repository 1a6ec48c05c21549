"""Decode an RT Structure Set (PS3.3 A.19): each ROI as a mask on the grid of the images it was drawn on.

Rules:
- `structure_set` reads; the geometry is the source image's grid; `roi` and `contours` do the filling. One ROI gives one
  mask with the value 1.
- An ROI that must be refused is an ERROR among the findings and gives no mask, and the others go on. When no mask is
  left the first refusal is raised.
- An ROI drawn in another Frame of Reference than the grid's is refused; one that cannot be compared is a warning, and
  so is one whose contours all name images of this source by their UIDs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...core.policy import Policy
from ...core.unexpected import as_refusal
from ...dicom.scan import Series
from ...geometry.frame_of_reference import FrameDoubt, doubt_same_frame, warn_of_frame
from ...geometry.grid import Grid
from ...volume.mask import Mask, Segment
from .roi import Contour, place
from .roi_report import RoiReport
from .structure_set import Roi, read_contours, read_rois

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class _FilledRoi(NamedTuple):
    """doubt: why it is not known to lie in the source's Frame of Reference; None where it is known."""

    name: str
    mask: Mask
    findings: list[Finding]
    report: RoiReport
    doubt: FrameDoubt | None


class DecodedRois(NamedTuple):
    """A mask and a report for each ROI that could be filled, in the order of the structure set, and all findings."""

    masks: list[Mask]
    findings: list[Finding]
    reports: list[RoiReport]


def accepts(series: Series) -> bool:
    """Return whether this decoder reads a series of this kind."""
    return series.kind == "rtstruct"


def decode(
    series: Series,
    source: Grid,
    *,
    policy: Policy | None = None,
    wanted: Collection[str] | None = None,
    interpolate: bool = False,
    image_uids: Sequence[str] = (),
) -> DecodedRois:
    """Fill each ROI, or those wanted, as a mask on the source image's grid.

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
    if len(series.headers) != 1:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"{series.title} holds {len(series.headers)} structure sets, whose ROIs may have the same names",
            "Give the one file to convert instead of the folder.",
            where=tuple(h.path.name for h in series.headers),
        )
    header = series.headers[0]
    policy = policy or Policy()
    limit_mm = policy.corner_limit(min(source.spacing))
    filled: list[_FilledRoi] = []
    findings: list[Finding] = []
    for roi, item in _choose(header.path.name, read_rois(header), wanted):
        if wanted is None and not roi.fillable:
            findings.append(_nothing_to_fill(roi))
            continue
        try:
            one = _fill(roi, item, source, limit_mm, interpolate, image_uids, policy)
        except Exception as error:  # a bug in one ROI must not take the others with it
            refusal = as_refusal(error, f"ROI “{roi.name}”")
            findings.extend((*refusal.others, refusal.finding))
            continue
        filled.append(one)
        findings.extend(one.findings)
    findings.extend(_doubtful_frames(filled))
    if not filled:
        raise _no_mask(series, findings)
    return DecodedRois([one.mask for one in filled], findings, [one.report for one in filled])


def _fill(
    roi: Roi,
    item: Dataset | None,
    source: Grid,
    limit_mm: float,
    interpolate: bool,
    image_uids: Sequence[str],
    policy: Policy,
) -> _FilledRoi:
    contours = read_contours(roi, item)
    doubt = _check_frame_of_reference(roi, contours, source, image_uids, policy)
    voxels, report, findings = place(
        roi.number, roi.name, contours, source, limit_mm=limit_mm, interpolate=interpolate, image_uids=image_uids
    )
    segment = Segment(1, roi.name, roi.colour, algorithm=roi.algorithm)
    return _FilledRoi(roi.name, Mask(voxels, source, (segment,), roi.name), findings, report, doubt)


def _choose(
    file: str, found: list[tuple[Roi, Dataset | None]], wanted: Collection[str] | None
) -> list[tuple[Roi, Dataset | None]]:
    """Choose ROIs by name, else by name in any case, else by number. A choice that fits several is refused."""
    if wanted is None:
        return found
    chosen: list[tuple[Roi, Dataset | None]] = []
    for name in wanted:
        matches = [pair for pair in found if pair[0].name == name]
        matches = matches or [pair for pair in found if pair[0].name.casefold() == name.casefold()]
        matches = matches or [pair for pair in found if str(pair[0].number) == name]
        if len(matches) != 1:
            matching = "no ROI is" if not matches else f"{len(matches)} ROIs are"
            listed = ", ".join(f"{roi.number} “{roi.name}”" for roi, _ in found)
            hint = f"Choose by name or number among: {listed}"
            raise refuse(Code.NO_SUCH_ROI, f"{matching} called “{name}”", hint, where=(file,))
        if all(matches[0] is not pair for pair in chosen):
            chosen.append(matches[0])
    return chosen


def _check_frame_of_reference(
    roi: Roi, contours: Sequence[Contour], source: Grid, image_uids: Sequence[str], policy: Policy
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
        clause="PS3.3 C.8.8.6",
        where=(roi.file,),
    )


def _no_mask(series: Series, findings: list[Finding]) -> PipelineError:
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
