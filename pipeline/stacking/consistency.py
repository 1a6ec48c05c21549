"""Check that planes can form one stack: one size, orientation and spacing, and valid direction cosines.

Rules:
- This only says what differs, between which files and by how much. `stack_frames` refuses the series.
- A difference counts if it moves a corner beyond the limit, or turns cosines beyond any rounding. Noise is left to the
  corner proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..core.findings import Code, Finding
from ..core.policy import Policy
from ..dicom.split_volumes import TURNED_RADIANS
from ..geometry.grid import Plane

_PLANE_CLAUSE = "PS3.3 C.7.6.2.1.1"


def find_difference(planes: Sequence[Plane], names: Sequence[str], policy: Policy) -> Finding | None:
    """Find the difference that keeps planes from being stacked at all.

    Args:
        planes: in any order, at least one.
        names: what a message calls each plane, in the same order.
        policy: the limits for cosines and corners.

    Returns:
        BAD_COSINES, MIXED_ORIENTATION, MIXED_SIZE or MIXED_SPACING, the first that holds; None where none does.
    """
    return (
        _bad_cosines(planes, names, policy)
        or _mixed_orientation(planes, names, policy)
        or _mixed_size(planes, names)
        or _mixed_spacing(planes, names, policy)
    )


def _bad_cosines(planes: Sequence[Plane], names: Sequence[str], policy: Policy) -> Finding | None:
    k = max(range(len(planes)), key=lambda n: planes[n].cosine_error)
    worst = planes[k].cosine_error
    if worst <= policy.cosine_limit:
        return None
    lengths = np.linalg.norm(planes[k].row_cosine), np.linalg.norm(planes[k].column_cosine)
    return Finding(
        Code.BAD_COSINES,
        f"the direction cosines of {names[k]} are not a right-angled pair of unit length: lengths {lengths[0]:.4f} and "
        f"{lengths[1]:.4f}, off by {worst:.2g}",
        "Image Orientation (Patient) (0020,0037) was changed by some software; rounding to three decimals would be "
        "mended, this is more.",
        clause=_PLANE_CLAUSE,
        where=(names[k],),
        measured=worst,
        limit=policy.cosine_limit,
        unit="",
    )


def _mixed_orientation(planes: Sequence[Plane], names: Sequence[str], policy: Policy) -> Finding | None:
    base = np.array((*planes[0].row_cosine, *planes[0].column_cosine))
    differences = np.array([(*p.row_cosine, *p.column_cosine) for p in planes]) - base
    angles = np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(differences.reshape(-1, 2, 3), axis=2).max(1) / 2, 0, 1)))
    k = int(np.argmax(angles))
    bound = float(np.degrees(TURNED_RADIANS))
    if angles[k] <= bound:
        return None
    others = int((angles > bound).sum())
    return Finding(
        Code.MIXED_ORIENTATION,
        f"{others} of {len(planes)} planes are turned against {names[0]}, {names[k]} by {angles[k]:.1f}°",
        "A localizer or a second volume shares the series. Choose with --part. Or give the files of one alone.",
        clause=_PLANE_CLAUSE,
        where=(names[0], names[k]),
        measured=float(angles[k]),
        limit=bound,
        unit="degrees",
    )


def _mixed_size(planes: Sequence[Plane], names: Sequence[str]) -> Finding | None:
    size = (planes[0].columns, planes[0].rows)
    other = next((k for k, p in enumerate(planes) if (p.columns, p.rows) != size), None)
    if other is None:
        return None
    p = planes[other]
    return Finding(
        Code.MIXED_SIZE,
        f"{names[other]} has {p.columns} × {p.rows} pixels, {names[0]} {size[0]} × {size[1]}",
        "Two images share the series. Choose with --part. Or give the files of one alone.",
        clause="PS3.3 C.7.6.3",
        where=(names[0], names[other]),
    )


def _mixed_spacing(planes: Sequence[Plane], names: Sequence[str], policy: Policy) -> Finding | None:
    """Spacings that differ by so much that the far corner moves beyond the limit; the rarer one is named."""
    usual, _ = Counter((p.row_spacing, p.column_spacing) for p in planes).most_common(1)[0]
    first = next(k for k, p in enumerate(planes) if (p.row_spacing, p.column_spacing) == usual)
    base = planes[first]
    moved = [
        max(
            abs(p.column_spacing - base.column_spacing) * (p.columns - 1),
            abs(p.row_spacing - base.row_spacing) * (p.rows - 1),
        )
        for p in planes
    ]
    k = int(np.argmax(moved))
    limit = policy.corner_limit(min(base.column_spacing, base.row_spacing))
    if moved[k] <= limit:
        return None
    return Finding(
        Code.MIXED_SPACING,
        f"{names[k]} has pixels of {planes[k].row_spacing:g} \\ {planes[k].column_spacing:g} mm, {names[first]} of "
        f"{base.row_spacing:g} \\ {base.column_spacing:g} mm",
        "Two images share the series, or Pixel Spacing (0028,0030) was changed in some files.",
        clause="PS3.3 10.7.1.3",
        where=(names[k], names[first]),
        measured=moved[k],
        limit=limit,
        unit="mm",
    )
