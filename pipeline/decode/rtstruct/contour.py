"""Name the kinds of contours, and hold one contour of an ROI. No DICOM is read here.

Rules:
- The standard's terms (PS3.3 C.8.8.6.3) are told by their letters: case, blanks and underscores make no other term.
- What is filled is a closed contour, and two kinds that are filled as closed ones with a doubt: INTERPOLATED_PLANAR, which
  other readers fill and the standard does not know, and contours without a type.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLAUSE = "PS3.3 C.8.8.6"
XOR = "CLOSEDPLANAR_XOR"
UNTYPED = "without a type"
INTERPOLATED = "INTERPOLATED_PLANAR"
CLOSED = ("CLOSED_PLANAR", XOR)
FILLED = (*CLOSED, INTERPOLATED, UNTYPED)
KNOWN = (*CLOSED, INTERPOLATED, "POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One item of a Contour Sequence.

    Attributes:
        number: from 1 within its ROI.
        kind: Contour Geometric Type (3006,0042), as the standard spells it; UNTYPED where there is none.
        points: (n, 3) LPS mm.
        image_uids: SOP Instance UIDs of the images it names as those it was drawn on.
    """

    number: int
    kind: str
    points: NDArray[np.float64]
    image_uids: tuple[str, ...] = ()


def kind_of(text: str) -> str:
    """Return the standard's term for a Contour Geometric Type; another word as it is, UNTYPED for none."""
    return _BY_LETTERS.get(_letters(text), text.strip()) or UNTYPED


def _letters(text: str) -> str:
    return "".join(c for c in text.upper() if c.isalnum())


_BY_LETTERS = {_letters(term): term for term in KNOWN}
