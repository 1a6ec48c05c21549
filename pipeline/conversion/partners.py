"""Decide which image series are partners of masks: what a mask was made on, and what lies beside masks.

Rules:
- An image series that a mask says it was made on is its partner (see `source_choice`, which reads what it says). So is every
  other one in the Frame of Reference of a mask: what lies in one space belongs together.
- Of several series that one mask may mean, each is a partner: who must choose one of them does that elsewhere.
- Only what masks and images say of themselves counts; no file is read here, and no folder is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .source_choice import Candidate, SourceReferences, Statement, choose_source


class Partnership(NamedTuple):
    """What makes an image series a partner. masks: numbers of the masks that are on it or beside it. by: see `Statement`."""

    masks: tuple[int, ...]
    by: Statement

    @property
    def is_source(self) -> bool:
        """Whether a mask names it or its images, and not only the space that it lies in."""
        return self.by != "frame of reference"


def find_partners(images: Sequence[Candidate], masks: Sequence[Sequence[SourceReferences]]) -> list[Partnership | None]:
    """Find the partners of masks.

    Args:
        images: every image series there is.
        masks: what each mask, or each part of one, says of its source.

    Returns: for each image series, in order, what makes it a partner: the masks that name it, or, where none does, those
        that lie in its Frame of Reference; None where there are none.
    """
    naming: list[dict[int, Statement]] = [{} for _ in images]
    in_frame: list[dict[int, Statement]] = [{} for _ in images]
    for number, several in enumerate(masks):
        for references in several:
            choice = choose_source(images, references)
            named = set() if choice.by in (None, "frame of reference") else set(map(id, choice.candidates))
            for n, image in enumerate(images):
                if choice.by is not None and id(image) in named:
                    naming[n].setdefault(number, choice.by)
                elif image.frame_of_reference_uid and image.frame_of_reference_uid == references.frame_of_reference_uid:
                    in_frame[n][number] = "frame of reference"
    return [_partnership(own or near) for own, near in zip(naming, in_frame, strict=True)]


def _partnership(masks: dict[int, Statement]) -> Partnership | None:
    return Partnership(tuple(masks), next(iter(masks.values()))) if masks else None
