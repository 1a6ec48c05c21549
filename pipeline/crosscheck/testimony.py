"""Define what a witness is given and what it gives: a job, and its testimony.

Rules:
- Both processes import this, and a witness imports little else of ours: what it does not need, its start waits for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..geometry.affine import Matrix
    from ..volume.mask import Array


@dataclass(frozen=True, slots=True)
class Job:
    """What a witness is given: files and 1-based frame numbers in our plane order.

    voxels: whether it is asked for voxels or for the affine alone. whole: whether our planes are all that the files hold;
    a witness cannot be shown only some frames of a file.
    """

    files: tuple[str, ...]
    frame_numbers: tuple[int, ...]
    voxels: bool
    whole: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Testimony:
    """What a witness gave: RAS affine and shape of its array, the array when voxels were asked for, or its refusal.

    note: what the reader of the result is to know. failure: why there is no answer, in words of ours.
    """

    witness: str
    version: str
    affine_ras: Matrix | None = None
    shape: tuple[int, ...] = ()
    array: Array | None = None
    refusal: str = ""
    note: str = ""
    failure: str = ""
