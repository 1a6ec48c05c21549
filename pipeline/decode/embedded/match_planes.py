"""Find planes for frames without a position (plain Secondary Capture), from the source images they were made from.

Rules:
- A frame belongs to a source plane when the plane explains it: all its pixels are the plane's, give or take one whole
  offset, except for those of a few constants (the mask, or the outside of it). Numbers and names decide nothing.
- Each frame must be explained by one plane only, and no plane may explain two frames. Anything else is refused.
- The place is then assumed, not given, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...core.limits import FEW_VALUES
from ...dicom.frame import Frame
from ...dicom.pixels import read_plane
from ...volume.mask import Array, Voxels
from .image_difference import compare

_EVERY = 8  # one row of so many is compared first, which only spares comparing all of planes that cannot match


def paired(frames: Sequence[Frame], source: Sequence[Frame]) -> tuple[tuple[Frame, ...], Finding]:
    """Give each frame the plane of the source frame that explains it; return them in their order, and the warning.

    Raises MISSING_PLANE_ATTRIBUTES where a frame is explained by no plane, by several, or by one that is taken.
    """
    samples = [read_plane(s)[::_EVERY] for s in source]
    taken: dict[int, Frame] = {}
    paired_frames = []
    for frame in frames:
        shown = read_plane(frame)
        near = [n for n, sample in enumerate(samples) if _explains(sample, shown[::_EVERY])]
        found = [n for n in near if _explains(read_plane(source[n]), shown)]
        if len(found) != 1 or found[0] in taken:
            raise _unpaired(frame, found, source, taken)
        taken[found[0]] = frame
        paired_frames.append(_at_plane_of(frame, source[found[0]]))
    assumed = Finding(
        Code.ASSUMED_GEOMETRY,
        f"{len(frames)} planes without a place were given those of the source planes that have their grey values",
        "Every plane is explained by exactly one source plane; still the place is assumed, not stored in these files.",
        Severity.WARNING,
        clause="PS3.3 C.7.6.2",
    )
    return tuple(paired_frames), assumed


def _explains(image: Array, shown: Array) -> bool:
    """Return whether a source plane has all pixels of a frame but for those of a few constants."""
    if shown.shape != image.shape:
        return False
    comparison = compare(Voxels.of(shown.T[:, :, None]), Voxels.of(image.T[:, :, None]))
    split = comparison.split(comparison.offset())
    return len(split.constants) <= FEW_VALUES and split.same_values > len(split.constants)


def _at_plane_of(frame: Frame, source: Frame) -> Frame:
    """Return the frame with the plane of the source and its Frame of Reference."""
    reference = source.get("FrameOfReferenceUID")
    values = dict(frame.values or {}) | ({"FrameOfReferenceUID": reference} if reference else {})
    pairing = f"assumed: the plane of {source.name}, whose grey values it has"
    return replace(frame, plane=source.plane, why_no_plane="", values=values, pairing=pairing)


def _unpaired(frame: Frame, found: Sequence[int], source: Sequence[Frame], taken: dict[int, Frame]) -> PipelineError:
    if not found:
        why = f"none of the {len(source)} source planes explains it"
    elif len(found) > 1:
        why = f"{len(found)} source planes explain it alike ({', '.join(source[n].name for n in found[:4])})"
    else:
        why = f"its source plane {source[found[0]].name} explains {taken[found[0]].name} too"
    return refuse(
        Code.MISSING_PLANE_ATTRIBUTES,
        f"{frame.name} has no place in the patient ({frame.why_no_plane}), and it cannot be paired with the source: {why}",
        "Nothing is invented here. Export the series with its geometry (as CT or MR, not as plain Secondary Capture).",
        where=(frame.name,),
        clause="PS3.3 C.7.6.2",
    )
