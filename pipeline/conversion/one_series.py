"""Find one series among the inputs and lay it on its grid; for what explains, compares and diagnoses, and for a conversion.

Rules:
- One series, and one volume of it: several are refused with the list to choose from.
- A file that cannot be read and may be a plane of the series refuses it (see `scan.left_out_beside`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..decode.image import decode_mask
from ..decode.picture import decode_picture
from ..dicom import split_volumes
from ..dicom.scan import Series, choose, left_out_beside, scan
from ..dicom.split_volumes import Part
from ..stacking.laid_frames import LaidFrames
from ..stacking.stack_frames import lay_frames
from ..volume.mask import Voxels


def read_laid_series(
    inputs: Sequence[Path], series: str | None, part: str | None, policy: Policy
) -> tuple[Series, LaidFrames]:
    """Find one series of planes among the inputs, and lay it on its grid; for what explains and compares.

    Args:
        inputs: folders or files.
        series: UID, number or description of the series; None for the only one.
        part: number or name of the volume; None for the only one.
        policy: tolerances and choices.

    Returns: the series, and its frames on their grid.

    Raises: PipelineError NOT_CONVERTIBLE, SEVERAL_SERIES, SEVERAL_VOLUMES, NO_SUCH_SERIES, NO_SUCH_PART, and what `scan`
    and `lay_frames` refuse.
    """
    found = scan(inputs)
    chosen = choose(found, series)
    if not chosen.frames:
        words = f"{chosen.title} is of kind {chosen.kind}: it holds no planes"
        raise refuse(Code.NOT_CONVERTIBLE, words, "Give the images, or look with verimask series.", where=(chosen.uid,))
    left_out_beside(found, chosen, policy)
    return chosen, lay_frames(chosen_part(chosen, part).frames, policy, chosen.title)


def image_of(laid_frames: LaidFrames, policy: Policy) -> Voxels:
    """Read the stored grey values or the colours of a series on its grid. policy: what becomes of a palette."""
    decoded = decode_picture(laid_frames.frames, policy, padded=not laid_frames.whole)
    return laid_frames.place(decoded.voxels, decoded.padding)


def mask_of(series: Series, laid_frames: LaidFrames, policy: Policy) -> Voxels:
    """Read the labels of a mask series.

    Args:
        series: gives the mask its name.
        laid_frames: its frames on their grid.
        policy: how values become labels.

    Returns: (i, j, k) labels on the grid.
    """
    return laid_frames.place(decode_mask(laid_frames.frames, policy, series.mask_name).voxels, 0)


def chosen_part(series: Series, wanted: str | None) -> Part:
    """The one volume to convert. Raises SEVERAL_VOLUMES, NO_SUCH_PART."""
    parts = split_volumes.split(series.frames)
    if wanted is not None:
        matches = [p for p in parts if wanted in (str(p.number), p.name)]
        if len(matches) == 1:
            return matches[0]
        raise refuse(
            Code.NO_SUCH_PART,
            f"{series.title} has no part “{wanted}”",
            "Choose one by number or name:\n" + split_volumes.table(parts),
            where=(series.uid,),
        )
    if len(parts) == 1:
        return parts[0]
    several = refuse(
        parts[0].code,
        f"{series.title} holds {len(parts)} volumes, and one file holds one",
        "Choose one with --part NUMBER or NAME. Or give the files of one alone. All of them: verimask convert with -o a "
        "folder (ending in /).\n" + split_volumes.table(parts),
        clause="PS3.3 C.7.6.2.1.1",
        measured=len(parts),
        limit=1,
        unit="volumes",
        where=(series.uid,),
    )
    raise PipelineError(several.finding, tuple(dict.fromkeys(f for part in parts for f in part.findings)))


def refuse_broken(findings: Sequence[Finding]) -> None:
    """Raise the first of the findings that refuses, with all others."""
    broken = next((f for f in findings if f.severity is Severity.ERROR), None)
    if broken is not None:
        raise PipelineError(broken, tuple(f for f in findings if f is not broken))
