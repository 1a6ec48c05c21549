"""What other readers say of the same frames: Agreement, and how two conversions are compared.

Rules:
- A witness reads the DICOM files itself, in a process of its own; it is never shown our affine or our voxels.
- Two conversions agree when a signed permutation with whole offsets maps their indices to ours, every corner then lies
  within the witness's limit, and every voxel through that map is equal. Never compare raw affines or arrays.
- A witness that refuses is quoted. One that died, hung, or lost its answer has FAILED, which is no word of its own: it
  neither confirms nor disputes. One that is wrong for a known reason is KNOWN_WRONG with the rule's words. Only a
  difference that no rule explains disputes a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import LPS_TO_RAS, Grid, Matrix, index_map, reorder
from pipeline.mask import Array

Status = Literal["AGREES", "REORDERED", "REFUSED", "KNOWN_WRONG", "DIFFERS", "ABSENT", "FAILED"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a witness is given: files and 1-based frame numbers in our plane order, and how deep to look."""

    files: tuple[str, ...]
    frame_numbers: tuple[int, ...]
    voxels: bool

    @property
    def multiframe(self) -> bool:
        return len(set(self.files)) < len(self.files) or max(self.frame_numbers) > 1


@dataclass(frozen=True, slots=True, eq=False)
class Testimony:
    """What a witness gave: RAS affine and shape of its array, the array when voxels were asked for, or its refusal.

    failure: why it could say nothing, in words of ours.
    """

    witness: str
    version: str
    affine_ras: Matrix | None = None
    shape: tuple[int, ...] = ()
    array: Array | None = None
    refusal: str = ""
    note: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One witness held against ours. voxels_differing: None where voxels were not compared.

    index_map: their index to ours. affine_ras: their index to RAS mm, as they gave it. leaves_doubt: whether it refused the
    voxels that it was asked for, for a reason that nobody has understood yet (see `refusals`).
    """

    witness: str
    version: str
    status: Status
    words: str
    max_corner_mm: float | None = None
    voxels_differing: int | None = None
    index_map: tuple[tuple[int, ...], ...] | None = None
    affine_ras: tuple[tuple[float, ...], ...] | None = None
    leaves_doubt: bool = False

    @property
    def confirms(self) -> bool:
        return self.status in ("AGREES", "REORDERED")

    def as_json(self) -> dict[str, Any]:
        return {
            "Witness": self.witness,
            "Version": self.version,
            "Status": self.status,
            "MaxCornerMm": self.max_corner_mm,
            "VoxelsDiffering": self.voxels_differing,
            "IndexMap": {"Matrix": self.index_map, "Words": self.words} if self.index_map else None,
            "AffineRAS": self.affine_ras,
            "Words": self.words,
        }


def absent(witness: str) -> Agreement:
    """A witness that is not installed, and what brings it."""
    if witness == "dicom2nifti":
        return Agreement(witness, "", "ABSENT", "not installed, though verimask requires it; install verimask again")
    return Agreement(witness, "", "ABSENT", "not installed; pip install 'verimask[witnesses]' adds it")


def judge(
    told: Testimony,
    grid: Grid,
    limit_mm: float,
    physical: Callable[[int, Array], Array] | None,
    planes: Iterable[Array],
    known_wrong: Sequence[str] = (),
) -> Agreement:
    """Hold a testimony against our grid and, when it has an array, against the planes of our written file.

    physical(k, plane): what a reader that applies the modality rescale gives for our plane. known_wrong: the rules that
    apply to this series and explain a difference of this witness.
    """
    if told.failure:
        return Agreement(told.witness, told.version, "FAILED", told.failure)
    if told.refusal or told.affine_ras is None:
        return Agreement(told.witness, told.version, "REFUSED", f"refuses: {told.refusal}")
    shape = tuple(n for n in told.shape[:3]) + (1,) * (3 - len(told.shape))
    mapped = index_map(grid, LPS_TO_RAS @ told.affine_ras, shape) if len(told.shape) <= 3 else None
    if mapped is None:
        words = f"gives a block of {' × '.join(map(str, told.shape))} voxels at another place"
        return _differing(told, words, None, None, known_wrong)
    mapping, corner_mm = mapped
    matrix = tuple(tuple(int(x) for x in row) for row in mapping)
    differing = None
    if told.array is not None and physical is not None:
        differing = _voxels_differing(told.array.reshape(shape), mapping, physical, planes)
    if corner_mm > limit_mm or differing:
        words = f"lies {corner_mm:.4f} mm away" if corner_mm > limit_mm else f"{differing} voxels differ"
        return _differing(told, words, corner_mm, differing, known_wrong, matrix)
    order = order_in_words(mapping)
    note = f"; {told.note}" if told.note else ""
    return Agreement(
        told.witness,
        told.version,
        "AGREES" if (mapping[:3, :3] == np.eye(3)).all() else "REORDERED",
        f"same grid, {order}{note}",
        corner_mm,
        differing,
        matrix,
        _rows(told.affine_ras),
    )


def order_in_words(mapping: NDArray[np.int64]) -> str:
    """How a witness's array is laid out beside ours: 'same order', 'rows stored bottom-up, planes reversed'."""
    axes = [int(np.flatnonzero(mapping[row, :3])[0]) for row in range(3)]
    reversed_words = ("columns stored right to left", "rows stored bottom-up", "planes in reverse")
    words = [reversed_words[row] for row in range(3) if mapping[row, axes[row]] < 0]
    if axes != [0, 1, 2]:
        names = ("column", "row", "plane")
        words.insert(0, "axes in the order " + ", ".join(names[axes.index(axis)] for axis in range(3)))
    return ", ".join(words) or "same order"


def _differing(
    told: Testimony,
    words: str,
    corner_mm: float | None,
    differing: int | None,
    known_wrong: Sequence[str],
    matrix: tuple[tuple[int, ...], ...] | None = None,
) -> Agreement:
    status: Status = "KNOWN_WRONG" if known_wrong else "DIFFERS"
    because = f", as it is known to: {'; '.join(known_wrong)}" if known_wrong else ""
    return Agreement(
        told.witness, told.version, status, words + because, corner_mm, differing, matrix, _rows(told.affine_ras)
    )


def _rows(affine: Matrix | None) -> tuple[tuple[float, ...], ...] | None:
    if affine is None or not np.isfinite(affine).all():
        return None
    return tuple(tuple(float(x) for x in row) for row in affine)


def _voxels_differing(
    theirs: Array, mapping: NDArray[np.int64], physical: Callable[[int, Array], Array], planes: Iterable[Array]
) -> int:
    """Voxels whose values differ, plane by plane: by more than a millionth of the plane's largest value.

    Integers must be equal; computed values may differ by the rounding of float32.
    """
    turned = reorder(theirs, mapping)
    differing = 0
    for k, plane in enumerate(planes):
        ours, other = physical(k, plane).astype(np.float64), turned[:, :, k].T.astype(np.float64)
        differing += int(np.count_nonzero(~(np.abs(ours - other) <= 1e-6 * np.abs(ours).max(initial=1.0))))
    return differing
