"""Judge the places that one NIfTI header gives: software reads the sform or the qform, and heeds its unit or does not.

Rules:
- What nibabel and most software read is judged first (`diagnose`). What ITK reads is judged where it is another place.
- A file is correct only where both are. What ITK takes is measured: the form (`check.find_itk_affine`), and the unit,
  by which ITK 5.4 multiplies steps and origin, while nibabel, FSL and dcm2niix take all numbers as mm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..geometry.affine import Matrix, corner_distance
from .check import LIMIT_MM, PlacedBlock, check_header, find_itk_affine
from .mistakes import Mistake
from .result import Diagnosis

_ITK = "software built on ITK (ITK-SNAP, 3D Slicer)"
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}  # by the lowest three bits of xyzt_units: mm in each
_SPACE = 7


def judge_forms(found: Diagnosis, block: PlacedBlock, judge: Callable[[Matrix], Diagnosis]) -> Diagnosis:
    """Add to a diagnosis what the header says besides the affine that was judged.

    Args:
        found: the diagnosis of the affine that nibabel reads.
        block: the file, with its header.
        judge: diagnoses another affine (4 x 4, index to RAS mm) of the same file.

    Returns: the diagnosis; where ITK reads a wrong place, that is a mistake of the file.
    """
    notes = (f"{finding.message}." for finding in check_header(block))
    found = replace(found, notes=(*found.notes, *notes))
    affine = find_itk_affine(block)
    if affine is None or block.header is None:
        return found
    unit, mm = _UNITS.get(block.header.units & _SPACE, ("", 1.0))
    itk = affine * np.array([[mm], [mm], [mm], [1.0]])
    apart = corner_distance(itk, block.ras, block.shape)
    if apart <= LIMIT_MM:
        return found
    other = judge(itk)
    is_wrong, itk_is_wrong = (d.status not in ("correct", "undecided") for d in (found, other))
    shorts = "; ".join(mistake.short for mistake in other.mistakes) or "it is not explained"
    reads = f"{unit}, as the header says" if unit else "the qform"
    if is_wrong and itk_is_wrong:
        note = f"For {_ITK}, which reads {reads}, the place is wrong as well: {shorts}."
        return replace(found, notes=(*found.notes, note))
    if is_wrong:
        note = f"For {_ITK}, which reads {reads}, the place is right."
        return replace(found, notes=(*found.notes, note))
    if not itk_is_wrong:
        return found
    words = f"sform and qform disagree, and {_ITK} reads the qform, which is wrong: {shorts}"
    if unit:
        words = f"the header says that its numbers are {unit}, and they are mm: {_ITK} heeds the unit"
    return replace(found, status="mistakes", mistakes=(Mistake("forms", words, apart),), total_mm=apart)
