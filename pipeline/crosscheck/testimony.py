"""Define what a witness is given and what it gives: a job, and its testimony.

Rules:
- Both processes import this, and a witness imports little else of ours: what it does not need, its start waits for.
- A reader of masks is shown the mask and the planes it lies on, and never what we made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

    @classmethod
    def of(cls, values: dict[str, Any]) -> Job:
        """Make a job of the JSON object that it was sent as."""
        return cls(tuple(values["files"]), tuple(values["frame_numbers"]), values["voxels"], values["whole"])


@dataclass(frozen=True, slots=True)
class MaskJob:
    """What a reader of masks is given.

    form: what the mask was made of, one of `representations.FORMS`. mask_files: the SEG instances, the structure set, or the
    planes of an export in our order, then with the 1-based mask_frames. files, frame_numbers: the planes of the grid in our
    order; empty where the mask spans its own grid. labels: pairs of a number in the mask object (of a segment, an ROI, an
    overlay group, or a stored value) and the value in our file. options: what the user chose that decides voxels.
    """

    form: str
    mask_files: tuple[str, ...]
    mask_frames: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    frame_numbers: tuple[int, ...] = ()
    labels: tuple[tuple[int, int], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> MaskJob:
        """Make a job of the JSON object that it was sent as."""
        lists = {name: tuple(values[name]) for name in ("mask_files", "mask_frames", "files", "frame_numbers")}
        labels = tuple((int(number), int(value)) for number, value in values["labels"])
        return cls(values["form"], labels=labels, options=values["options"], **lists)


@dataclass(frozen=True, slots=True, eq=False)
class Testimony:
    """What a witness gave: RAS affine and shape of its grid, the array when voxels were asked for, or its refusal.

    array: (i, j, k). Of a mask it may be that part of the grid which begins at the index `box`; outside of it all is 0. Its
    largest possible value, `either`, stands for a voxel that the reader leaves open.
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
    box: tuple[int, int, int] = (0, 0, 0)


def either(dtype: Any) -> int:
    """Return the value of a voxel that a reader of masks leaves open. dtype: unsigned, of its array."""
    import numpy as np

    return int(np.iinfo(dtype).max)
