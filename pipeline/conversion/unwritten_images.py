"""Tell an image series from a mask that failed, in a folder that holds both.

Rules:
- Pixels decide. A series that gives a mask is a mask, whatever refers to it; one whose values are no labels is an image, also
  where its planes lie on no grid. Where its values may be either, it stays refused, unless a mask names it as its source.
- What may hide a mask stays refused: a file that could not be read, a bug, a process that ended.
- An image that is not written is one line, and no failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..core.findings import Code, Finding, PipelineError
from ..core.limits import FEW_VALUES
from ..core.policy import Policy
from ..decode.image import NO_LABEL, decode_mask
from ..decode.two_values import UNPLAIN
from ..dicom import split_volumes
from ..dicom.frame import Frame
from ..dicom.pixels import stored_voxels
from ..dicom.scan import Series
from .product import Entry

UnwrittenVerdict = Literal["PARTNER", "PASSED"]

# What refuses a series whose values may still be those of a mask.
_EITHER = frozenset({Code.AMBIGUOUS_EXPORT, Code.EMPTY, Code.COLOUR, Code.LOSSY_PIXELS, Code.NOT_A_MASK})
IMAGE_STAGES = frozenset({"SERIES", "GEOMETRY", "PIXELS", "MASK"})  # whose refusals say nothing of a file that was lost


class SeenImage(NamedTuple):
    """A series that gave no mask. name: of its entry. errors: why, each named. certain: whether its values are no labels."""

    name: str
    errors: tuple[PipelineError, ...]
    certain: bool


@dataclass(frozen=True, slots=True)
class UnwrittenImage:
    """An image series that was not written, and need not be.

    verdict: PARTNER where masks are on it or beside it, PASSED where nothing says that it has to do with a mask. message: what
    it is. hint: what to do to have it. folder: of the inputs, where it lies. uid: its Series Instance UID.
    """

    verdict: UnwrittenVerdict
    series: str
    uid: str
    message: str
    hint: str
    folder: str = ""

    def as_json(self) -> dict[str, Any]:
        """What --json prints of it."""
        facts = {"Series": self.series, "SeriesInstanceUID": self.uid, "Folder": self.folder}
        return {
            "Verdict": self.verdict,
            **{key: value for key, value in facts.items() if value},
            "Message": self.message,
            "Hint": self.hint,
        }


def see_image(entry: Entry, errors: Sequence[PipelineError], policy: Policy) -> SeenImage | None:
    """Decide whether a series that was refused whole may be an image.

    Args:
        entry: the series.
        errors: everything it was refused for, each named.
        policy: how values become labels.

    Returns: the image; None for what stays refused whatever refers to it.
    """
    findings = [error.finding for error in errors]
    if entry.series.kind != "image" or not findings or any(f.code.stage not in IMAGE_STAGES for f in findings):
        return None
    if all(map(_says_image, findings)):
        return SeenImage(entry.name, tuple(errors), certain=True)
    if all(f.code in _EITHER for f in findings):
        return SeenImage(entry.name, tuple(errors), certain=False)
    return SeenImage(entry.name, tuple(errors), certain=True) if shows_grey_values(entry.series, policy) else None


def shows_grey_values(series: Series, policy: Policy) -> bool:
    """Whether the values of a volume of a series are those of an image, which is seen in a few planes."""
    return any(_is_image(part.frames, policy) for part in split_volumes.split(series.frames))


def _is_image(frames: Sequence[Frame], policy: Policy) -> bool:
    from ..decode.embedded.recognise import are_labels  # only for what is no ordinary label series

    try:
        decoded = decode_mask(frames, policy)
        return len(decoded.segments or ()) > FEW_VALUES and are_labels(stored_voxels(frames))[0] is False
    except PipelineError as error:
        return _says_image(error.finding)
    except Exception:  # frames of several sizes, or what else keeps them from being one volume
        return False


def _says_image(finding: Finding) -> bool:
    """Whether a refusal says that values are no labels, and not which of two values is the mask."""
    return finding.code is Code.NOT_A_MASK and finding.unit not in (UNPLAIN, NO_LABEL)
