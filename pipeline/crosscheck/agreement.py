"""What other readers say of the same frames: Agreement, and how two conversions are compared.

Rules:
- A witness reads the DICOM files itself, in a process of its own; it is never shown our affine or our voxels.
- Two conversions agree when a signed permutation with whole offsets maps their indices to ours, every corner then lies
  within the witness's limit, and every voxel through that map is equal. Never compare raw affines or arrays.
- An axis of one voxel has no step: what a witness gives for it is not compared.
- A witness that refuses is quoted. One that died, hung, or lost its answer has FAILED, which is no word of its own: it
  neither confirms nor disputes. One that gives exactly what a rule predicts of it (`known_wrong`) is KNOWN_WRONG, with
  the rule's words. Only a difference that no rule has predicted disputes a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..geometry.affine import LPS_TO_RAS, Matrix
from ..geometry.grid import Grid
from ..geometry.index_map import axes_of, find_index_map, reorder
from ..volume.mask import Array, Physical

if TYPE_CHECKING:
    from .known_wrong import Prediction

_SAME_DIRECTION = 1e-6  # of a cosine from 1
Status = Literal["AGREES", "REORDERED", "REFUSED", "KNOWN_WRONG", "DIFFERS", "ABSENT", "FAILED"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a witness is given: files and 1-based frame numbers in our plane order, and how deep to look.

    whole: whether our planes are all that the files hold. A witness cannot be shown some frames of a file.
    """

    files: tuple[str, ...]
    frame_numbers: tuple[int, ...]
    voxels: bool
    whole: bool = True


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
    physical: Physical | None,
    planes: Callable[[], Iterable[Array]],
    predictions: Iterable[Prediction] = (),
    slack_mm: float = 0.0,
) -> Agreement:
    """Hold a testimony against our grid and, when it has an array, against the planes of our written file.

    physical(k, plane): what a reader that applies the modality rescale gives for our plane. planes(): ours, read anew.
    predictions: what this witness is known to give of this series instead; looked at only where it differs. limit_mm: how
    near it must come to one of them; slack_mm: how much farther it may be from us.
    """
    if told.failure:
        return Agreement(told.witness, told.version, "FAILED", told.failure)
    if told.refusal or told.affine_ras is None:
        return Agreement(told.witness, told.version, "REFUSED", f"refuses: {told.refusal}")
    shape = tuple(n for n in told.shape[:3]) + (1,) * (3 - len(told.shape))
    expected = None if told.array is None or physical is None else _each(physical, planes)
    found = _compare(told, shape, grid, limit_mm + slack_mm, expected)
    if found.agrees:
        assert found.mapping is not None
        order = order_in_words(found.mapping)
        words = f"same grid, {order}" + (f"; {told.note}" if told.note else "")
        status: Status = "AGREES" if (found.mapping[:3, :3] == np.eye(3)).all() else "REORDERED"
    else:
        status, words = "DIFFERS", found.words
        rule = next((p for p in predictions if _is_met(told, shape, p, limit_mm, planes)), None)
        if rule is not None:
            status, words = "KNOWN_WRONG", f"{words}, as it is known to: {rule.words}"
    matrix = None if found.mapping is None else tuple(tuple(int(x) for x in row) for row in found.mapping)
    return Agreement(
        told.witness, told.version, status, words, found.corner_mm, found.differing, matrix, _rows(told.affine_ras)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """How far a block is from an expected one. mapping: their index to the expected one, None where there is none."""

    words: str
    mapping: NDArray[np.int64] | None = None
    corner_mm: float | None = None
    differing: int | None = None

    @property
    def agrees(self) -> bool:
        return not self.words


def _compare(
    told: Testimony, shape: tuple[int, ...], grid: Grid, limit_mm: float, expected: Iterable[tuple[Array, float]] | None
) -> _Found:
    """expected: the values of every plane of `grid` and their size; None where voxels are not compared."""
    assert told.affine_ras is not None
    lps = _with_our_step(LPS_TO_RAS @ told.affine_ras, shape, grid)
    mapped = find_index_map(lps, shape, grid.lps, grid.shape) if len(told.shape) <= 3 else None
    if mapped is None or not mapped.is_onto:
        return _Found(f"gives a block of {' × '.join(map(str, told.shape))} voxels at another place")
    mapping, corner_mm = mapped.matrix, mapped.moved_mm
    differing = None
    if told.array is not None and expected is not None:
        differing = _voxels_differing(told.array.reshape(shape), mapping, expected)
    words = (
        f"lies {corner_mm:.4f} mm away" if corner_mm > limit_mm else f"{differing} voxels differ" if differing else ""
    )
    return _Found(words, mapping, corner_mm, differing)


def _is_met(
    told: Testimony, shape: tuple[int, ...], rule: Prediction, limit_mm: float, planes: Callable[[], Iterable[Array]]
) -> bool:
    """Whether a witness gives exactly what was predicted of it."""
    if not _compare(replace(told, array=None), shape, rule.grid, limit_mm, None).agrees:
        return False
    return _compare(told, shape, rule.grid, limit_mm, None if rule.values is None else rule.expected(planes())).agrees


def _each(physical: Physical, planes: Callable[[], Iterable[Array]]) -> Iterator[tuple[Array, float]]:
    """The values of our planes, and how large the numbers are that a reader rounds when it computes them."""
    for k, plane in enumerate(planes()):
        values = np.asarray(physical(k, plane))
        offset = np.abs(np.asarray(physical(k, np.zeros((1, 1), plane.dtype)), np.float64)).max()
        yield values, float(max(np.abs(values.astype(np.float64)).max(), offset))


def _with_our_step(lps: Matrix, shape: Sequence[int], grid: Grid) -> Matrix:
    """Their affine with our step along an axis of one voxel, where it points the same way or back."""
    lps = lps.copy()
    theirs = [axis for axis in range(3) if shape[axis] == 1]
    for axis, ours in product(theirs, (a for a in range(3) if grid.shape[a] == 1)):
        step = grid.lps[:3, ours]
        length = float(np.linalg.norm(lps[:3, axis]) * np.linalg.norm(step))
        along = float(lps[:3, axis] @ step) / length if length else 0.0
        if abs(along) > 1 - _SAME_DIRECTION:
            lps[:3, axis] = step * np.sign(along)
    return lps


def order_in_words(mapping: NDArray[np.int64]) -> str:
    """How a witness's array is laid out beside ours: 'same order', 'rows stored bottom-up, planes reversed'."""
    axes = axes_of(mapping)
    reversed_words = ("columns stored right to left", "rows stored bottom-up", "planes in reverse")
    words = [reversed_words[row] for row in range(3) if mapping[row, axes[row]] < 0]
    if axes != [0, 1, 2]:
        names = ("column", "row", "plane")
        words.insert(0, "axes in the order " + ", ".join(names[axes.index(axis)] for axis in range(3)))
    return ", ".join(words) or "same order"


def _rows(affine: Matrix | None) -> tuple[tuple[float, ...], ...] | None:
    if affine is None or not np.isfinite(affine).all():
        return None
    return tuple(tuple(float(x) for x in row) for row in affine)


def _voxels_differing(theirs: Array, mapping: NDArray[np.int64], expected: Iterable[tuple[Array, float]]) -> int:
    """Voxels whose values differ, plane by plane: by more than a millionth of the largest number they are computed from.

    Integers must be equal; computed values may differ by the rounding of float32. NaN is held against nothing.
    """
    turned = reorder(theirs, mapping)
    differing = 0
    for k, (values, largest) in enumerate(expected):
        ours, other = values.astype(np.float64), turned[:, :, k].T.astype(np.float64)
        differing += int(np.count_nonzero(~((np.abs(ours - other) <= 1e-6 * largest) | np.isnan(ours))))
    return differing
