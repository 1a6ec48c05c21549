"""Judge the two places that one NIfTI header gives, the sform and the qform: software reads the one or the other.

Rules:
- What nibabel and most software read is judged first (`diagnose`). What ITK reads is judged where it is another place.
- A file is correct only where both are. What ITK takes is measured (`check.find_itk_affine`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..core.findings import Code
from ..geometry.affine import Matrix, corner_distance
from .check import LIMIT_MM, PlacedBlock, check_header, find_itk_affine
from .mistakes import Mistake
from .result import Diagnosis


def judge_forms(found: Diagnosis, block: PlacedBlock, judge: Callable[[Matrix], Diagnosis]) -> Diagnosis:
    """Add to a diagnosis what the header says besides the affine that was judged.

    Args:
        found: the diagnosis of the affine that nibabel reads.
        block: the file, with its header.
        judge: diagnoses another affine (4 x 4, index to RAS mm) of the same file.

    Returns: the diagnosis; where ITK reads a wrong place, that is a mistake of the file.
    """
    notes = [f.message for f in check_header(block) if f.code in (Code.FORMS_DISAGREE, Code.NOT_ORTHONORMAL)]
    found = replace(found, notes=(*found.notes, *(f"In the header of {note}." for note in notes)))
    itk = find_itk_affine(block)
    if itk is None or corner_distance(itk, block.ras, block.shape) <= LIMIT_MM:
        return found
    other = judge(itk)
    words = "; ".join(mistake.short for mistake in other.mistakes) or "it is not explained"
    if other.status in ("correct", "undecided"):
        right = "The qform, which software built on ITK reads (ITK-SNAP, 3D Slicer), has none of these mistakes."
        return replace(found, notes=(*found.notes, right)) if found.status not in ("correct", "undecided") else found
    if found.status not in ("correct", "undecided"):
        more = f"The qform, which software built on ITK reads (ITK-SNAP, 3D Slicer), is wrong as well: {words}."
        return replace(found, notes=(*found.notes, more))
    words = f"sform and qform disagree, and software built on ITK (ITK-SNAP, 3D Slicer) reads the qform, which is wrong: {words}"
    apart = corner_distance(itk, block.ras, block.shape)
    return replace(found, status="mistakes", mistakes=(Mistake("forms", words, apart),), total_mm=apart)
