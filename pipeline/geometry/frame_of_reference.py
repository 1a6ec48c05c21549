"""Compare the Frames of Reference of a mask and of the images it lies on (PS3.3 C.7.4.1).

Rules:
- Coordinates compare only in one Frame of Reference: two different UIDs are a refusal.
- Where one of the two names none, coordinates are taken as they are, and the result says so.
"""

from __future__ import annotations

from ..core.findings import Code, Finding, Severity, refuse

_CLAUSE = "PS3.3 C.7.4.1"


def doubt_same_frame(
    own_uid: str,
    source_uid: str,
    what: str,
    *,
    where: tuple[str, ...],
    code: Code = Code.FRAME_OF_REFERENCE_DIFFERS,
    relation: str = "",
) -> str:
    """Say why two things are not known to lie in one Frame of Reference.

    Args:
        own_uid: Frame of Reference UID of the mask, "" where it names none.
        source_uid: of the source images, likewise.
        what: the mask in words, such as "the mask" or "ROI “liver”".
        where: file names or UIDs of the mask, for the refusal.
        code: of the refusal.
        relation: what is known to relate the two frames and is not applied, one sentence; "" where nothing is.

    Returns: the reason in words; "" where both name the same one.

    Raises: PipelineError `code` where they name different ones.
    """
    if own_uid and source_uid and own_uid != source_uid:
        raise refuse(
            code,
            f"{what} lies in Frame of Reference {own_uid}, the source images in {source_uid}: their coordinates do not compare",
            f"Equal numbers mean different places then. {relation or 'Give --source the series it was drawn on.'}",
            where=where,
            clause=_CLAUSE,
        )
    if own_uid and source_uid:
        return ""
    if own_uid or source_uid:
        return f"{what} names no Frame of Reference" if source_uid else "the source images name no Frame of Reference"
    return f"neither {what} nor the source images name a Frame of Reference"


def warn_of_frame(reason: str, *, where: tuple[str, ...], code: Code = Code.FRAME_OF_REFERENCE_DIFFERS) -> Finding:
    """Warn that coordinates were compared without knowing that they compare.

    Args:
        reason: of `doubt_same_frame`.
        where: what was taken as it is.
        code: of the finding.

    Returns: the warning.
    """
    message = f"{reason} (0020,0052); coordinates were taken as they are"
    return Finding(code, message, "Look at the mask over the image.", Severity.WARNING, _CLAUSE, where)
