"""Drop frames that lie where another does, where the policy allows it.

Rules:
- Nothing is dropped unless --on-duplicate says which frame wins; otherwise `defects` refuses the doubles by name.
- With "drop" only identical pixels go. Which frame wins does not depend on the names of the files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.findings import Code, Finding, Severity, refuse
from ..core.limits import SAME_PLACE_MM
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..dicom.pixels import read_plane

_CLAUSE = "PS3.3 C.7.6.2.1.1"


def drop_duplicates(frames: Sequence[Frame], policy: Policy) -> tuple[list[Frame], list[Finding]]:
    """One frame a position, in the order given, and a finding for each that was dropped.

    Raises DUPLICATE_POSITION where doubles differ in their pixels and the policy does not say which wins.
    """
    if policy.on_duplicate == "refuse":
        return list(frames), []
    kept: list[Frame] = []
    findings: list[Finding] = []
    for frame in sorted(frames, key=_age, reverse=policy.on_duplicate == "last"):
        twin = next((k for k in kept if _are_at_one_place(k, frame)), None)
        if twin is None:
            kept.append(frame)
        else:
            findings.append(_dropped(frame, twin, policy))
    order = {id(f): n for n, f in enumerate(frames)}
    return sorted(kept, key=lambda f: order[id(f)]), findings


def _dropped(frame: Frame, twin: Frame, policy: Policy) -> Finding:
    """The finding that a frame was dropped in favour of its twin. Raises DUPLICATE_POSITION where it may not be."""
    same = bool(np.array_equal(read_plane(twin), read_plane(frame), equal_nan=True))
    if policy.on_duplicate == "drop" and not same:
        raise refuse(
            Code.DUPLICATE_POSITION,
            f"{twin.name} and {frame.name} lie at one position with different pixels",
            "Say which wins: --on-duplicate first or last (by Instance Number).",
            where=(twin.name, frame.name),
            clause=_CLAUSE,
        )
    return Finding(
        Code.DUPLICATE_DROPPED,
        f"{frame.name} was dropped: it lies where {twin.name} does, with {'the same' if same else 'other'} pixels",
        severity=Severity.WARNING,
        where=(frame.name, twin.name),
        clause=_CLAUSE,
    )


def _age(frame: Frame) -> tuple[float, str, int]:
    """What orders frames from first to last; the UID decides where Instance Number does not."""
    return frame.rank("InstanceNumber") or 0.0, frame.sop_instance_uid, frame.number


def _are_at_one_place(one: Frame, other: Frame) -> bool:
    apart = np.linalg.norm(one.known_plane.corners() - other.known_plane.corners(), axis=1)
    return float(apart.max()) <= SAME_PLACE_MM
