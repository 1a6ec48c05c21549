"""Compare the Frames of Reference of a mask and of the images it lies on (PS3.3 C.7.4.1).

Rules:
- Coordinates compare only in one Frame of Reference: two different UIDs are a refusal.
- It is no refusal where the mask shows by something else that it was drawn on these images, nor where the user says that
  both are one. The result says which of the two it rests on; the user's word alone leaves it unconfirmed.
- Where one of the two names none, coordinates are taken as they are, and the result says so.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.findings import Code, Finding, Severity, refuse

_CLAUSE = "PS3.3 C.7.4.1"
_WAYS_OUT = "Give --source the series it was drawn on, or --same-frame if you know that the two are one; the result stays unconfirmed."


class FrameDoubt(NamedTuple):
    """Why two things are not known to lie in one Frame of Reference. by_word: only the user says that they do."""

    reason: str
    by_word: bool = False


def doubt_same_frame(
    own_uid: str,
    source_uid: str,
    what: str,
    *,
    where: tuple[str, ...],
    code: Code = Code.FRAME_OF_REFERENCE_DIFFERS,
    evidence: str = "",
    by_word: bool = False,
    relation: str = "",
) -> FrameDoubt | None:
    """Say why two things are not known to lie in one Frame of Reference.

    Args:
        own_uid: Frame of Reference UID of the mask, "" where it names none.
        source_uid: of the source images, likewise.
        what: the mask in words, such as "the mask" or "ROI “liver”".
        where: file names or UIDs of the mask, for the refusal.
        code: of the refusal.
        evidence: what shows that the mask was drawn on these images whatever they name, as a clause; "" for nothing.
        by_word: whether the user says that both are one (`Policy.same_frame`).
        relation: what is known to relate the two frames and is not applied, one sentence; "" where nothing is.

    Returns: the doubt; None where both name the same one.

    Raises: PipelineError `code` where they name different ones, and there is neither evidence nor the user's word.
    """
    if own_uid and source_uid and own_uid != source_uid:
        if evidence:
            return FrameDoubt(f"{what} names another Frame of Reference than the source images, but {evidence}")
        differ = f"{what} lies in Frame of Reference {own_uid}, the source images in {source_uid}"
        if by_word:
            return FrameDoubt(f"{differ}; --same-frame says that they are one", by_word=True)
        raise refuse(
            code,
            f"{differ}: their coordinates do not compare",
            f"Equal numbers mean different places then. {relation or _WAYS_OUT}",
            where=where,
            clause=_CLAUSE,
        )
    if own_uid and source_uid:
        return None
    if own_uid or source_uid:
        named = "the source images name no" if own_uid else f"{what} names no"
        return FrameDoubt(f"{named} Frame of Reference")
    return FrameDoubt(f"neither {what} nor the source images name a Frame of Reference")


def warn_of_frame(
    doubt: FrameDoubt, *, where: tuple[str, ...], code: Code = Code.FRAME_OF_REFERENCE_DIFFERS
) -> Finding:
    """Warn that coordinates were compared without knowing that they compare.

    Args:
        doubt: of `doubt_same_frame`.
        where: what was taken as it is.
        code: of the finding, unless it rests on the user's word.

    Returns: the warning; SAME_FRAME_STATED, which leaves the result unconfirmed, for the user's word.
    """
    message = f"{doubt.reason} (0020,0052); coordinates were taken as they are"
    code = Code.SAME_FRAME_STATED if doubt.by_word else code
    return Finding(code, message, "Look at the mask over the image.", Severity.WARNING, _CLAUSE, where)
