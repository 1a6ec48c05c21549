"""Compare what another reader gives for the same frames with ours, and state the result as an Agreement.

Rules:
- A witness reads the DICOM files itself, in a process of its own; it is never shown our affine or our voxels.
- Two conversions agree when a signed permutation with whole offsets maps their indices to ours, every corner then lies
  within the witness's limit, and every voxel through that map is equal. Never compare raw affines or arrays.
- An axis of one voxel has no step: what a witness gives for it is not compared.
- A witness that refuses is quoted. One that died, hung, or lost its answer has FAILED, which is no answer: it neither
  confirms nor disputes. One that gives exactly what a rule predicts of it (`known_wrong`) is KNOWN_WRONG, with
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
from .testimony import Testimony
from .voxel_difference import find_differing

if TYPE_CHECKING:
    from .prediction import Prediction

_SAME_DIRECTION = 1e-6  # how far the cosine may be from 1: 0.08 degrees, more than printed directions lean by
_ROUNDING = (
    1e-6  # of the largest number a value is computed from: float32 rounds by 6e-8, and a rescale does so repeatedly
)
Saw = Literal["voxels", "grid", "source"]
Status = Literal["AGREES", "REORDERED", "REFUSED", "KNOWN_WRONG", "DIFFERS", "ABSENT", "FAILED"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one witness compares with us. voxels_differing: None where voxels were not compared.

    index_map: their index to ours. affine_ras: their index to RAS mm, as they gave it. leaves_doubt: whether it refused the
    voxels that it was asked for, for a reason that is not on the list of understood ones (see `refusals`). saw: what it was
    shown: the voxels of what was written and their place, the place of its planes alone, or only the images a mask lies on.
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
    saw: Saw = "grid"

    @property
    def confirms(self) -> bool:
        return self.status in ("AGREES", "REORDERED")

    def as_json(self) -> dict[str, Any]:
        return {
            "Witness": self.witness,
            "Version": self.version,
            "Status": self.status,
            "Saw": self.saw,
            "MaxCornerMm": self.max_corner_mm,
            "VoxelsDiffering": self.voxels_differing,
            "IndexMap": {"Matrix": self.index_map, "Words": self.words} if self.index_map else None,
            "AffineRAS": self.affine_ras,
            "Words": self.words,
        }


def report_absent(witness: str, extra: str) -> Agreement:
    """State that a witness is not installed, and what installs it. extra: of our package, "" for a part of it."""
    if not extra:
        return Agreement(witness, "", "ABSENT", "not installed, though verimask requires it; install verimask again")
    return Agreement(witness, "", "ABSENT", f"not installed; pip install 'verimask[{extra}]' adds it")


def answer_without_voxels(testimony: Testimony) -> Agreement | None:
    """State how a witness failed or refused; None where it gave an array."""
    witness, version = testimony.witness, testimony.version
    if testimony.failure:
        return Agreement(witness, version, "FAILED", testimony.failure)
    if testimony.refusal or testimony.affine_ras is None:
        return Agreement(witness, version, "REFUSED", f"refuses: {testimony.refusal}")
    return None


def judge(
    testimony: Testimony,
    grid: Grid,
    limit_mm: float,
    physical: Physical | None,
    planes: Callable[[], Iterable[Array]],
    predictions: Iterable[Prediction] = (),
    slack_mm: float = 0.0,
) -> Agreement:
    """Compare a testimony with our grid and, when it has an array, with the planes of our written file.

    Args:
        testimony: what the witness gave.
        grid: the grid of our file (LPS, mm).
        limit_mm: how far a corner may lie from its place on our grid, or on a predicted one.
        physical: (k, plane) to the values that a reader gives which applies the modality rescale; None where voxels
            cannot be compared.
        planes: gives our planes in the order of k, each (rows, columns), read anew at every call.
        predictions: what this witness is known to give for this series instead; looked at only where it differs.
        slack_mm: how much farther than the limit it may lie from our grid, in mm.

    Returns: the agreement. It is AGREES, REORDERED, REFUSED, KNOWN_WRONG, DIFFERS or FAILED.
    """
    witness, version = testimony.witness, testimony.version
    answer = answer_without_voxels(testimony)
    if answer is not None or testimony.affine_ras is None:
        return answer or Agreement(witness, version, "FAILED", "gave no affine")
    block = _Block(LPS_TO_RAS @ testimony.affine_ras, testimony.shape, testimony.array)
    expected = None if block.array is None or physical is None else _expect_values(physical, planes)
    found = _compare(block, grid, limit_mm + slack_mm, expected)
    if found.mapping is not None and not found.difference:
        status, words = _describe_match(found.mapping, testimony.note)
    else:
        status, words = _explain(block, found.difference, predictions, limit_mm, planes)
    mapping = None if found.mapping is None else tuple(tuple(int(x) for x in row) for row in found.mapping)
    affine = _as_rows(testimony.affine_ras)
    return Agreement(witness, version, status, words, found.corner_mm, found.differing, mapping, affine)


def describe_order(mapping: NDArray[np.int64]) -> str:
    """Describe how a witness stores its array compared with ours: 'same order', 'rows stored bottom-up'."""
    axes = axes_of(mapping)
    reversed_words = ("columns stored right to left", "rows stored bottom-up", "planes in reverse")
    words = [reversed_words[row] for row in range(3) if mapping[row, axes[row]] < 0]
    if axes != [0, 1, 2]:
        names = ("column", "row", "plane")
        words.insert(0, "axes in the order " + ", ".join(names[axes.index(axis)] for axis in range(3)))
    return ", ".join(words) or "same order"


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Where the voxels of a witness lie. lps: 4 x 4, its index to LPS mm. shape: of its array, of any number of axes.

    array: None where voxels were not asked for.
    """

    lps: Matrix
    shape: tuple[int, ...]
    array: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """How far a block is from an expected one. difference: in words, empty where there is none.

    mapping: their index to the expected one, None where no map exists. differing: None where voxels were not compared.
    """

    difference: str
    mapping: NDArray[np.int64] | None = None
    corner_mm: float | None = None
    differing: int | None = None


def _compare(
    block: _Block,
    grid: Grid,
    limit_mm: float,
    expected: Iterable[tuple[Array, float]] | None,
    within: float = 0.0,
    *,
    excuses_nan: bool = False,
) -> _Comparison:
    """Compare a block with a grid, and with the values of its planes and their size where voxels are compared.

    Args:
        block: of a witness.
        grid: where it is expected (LPS, mm).
        limit_mm: how far a corner may lie from its place.
        expected: the values of every plane and the largest number of each; None where voxels are not compared.
        within: by how much a value may differ beyond rounding.
        excuses_nan: whether a NaN among the values excuses whatever the witness has there.

    Returns: how far the block is from that.
    """
    shape = (*block.shape, 1, 1)[:3]
    lps = take_our_step(block.lps, shape, grid)
    mapped = find_index_map(lps, shape, grid.lps, grid.shape) if len(block.shape) <= 3 else None
    if mapped is None or not mapped.is_onto:
        return _Comparison(f"gives a block of {' × '.join(map(str, block.shape))} voxels at another place")
    mapping, corner_mm = mapped.matrix, mapped.moved_mm
    differing = None
    if block.array is not None and expected is not None:
        differing = _count_differing(block.array.reshape(shape), mapping, expected, within, excuses_nan=excuses_nan)
    difference = ""
    if corner_mm > limit_mm:
        difference = f"lies {corner_mm:.4f} mm away"
    elif differing:
        difference = f"{differing} voxels differ"
    return _Comparison(difference, mapping, corner_mm, differing)


def _describe_match(mapping: NDArray[np.int64], note: str) -> tuple[Status, str]:
    words = f"same grid, {describe_order(mapping)}" + (f"; {note}" if note else "")
    return ("AGREES" if (mapping[:3, :3] == np.eye(3)).all() else "REORDERED"), words


def _explain(
    block: _Block,
    difference: str,
    predictions: Iterable[Prediction],
    limit_mm: float,
    planes: Callable[[], Iterable[Array]],
) -> tuple[Status, str]:
    """Give the status and words of a witness that differs: KNOWN_WRONG where it gives exactly what was predicted of it."""
    beyond: list[int] = []
    for rule in predictions:
        found = _compare_predicted(block, rule, limit_mm, planes)
        if not found.difference:
            return "KNOWN_WRONG", f"{difference}, as it is known to: {rule.words}"
        if rule.within and found.differing:
            beyond.append(found.differing)
    if beyond:
        difference += f", {min(beyond)} of them by more than two decoders of lossy JPEG may"
    return "DIFFERS", difference


def _compare_predicted(
    block: _Block, rule: Prediction, limit_mm: float, planes: Callable[[], Iterable[Array]]
) -> _Comparison:
    """Compare a witness with what was predicted of it. The place is compared first, since it is cheaper."""
    found = _compare(replace(block, array=None), rule.grid, limit_mm, None)
    if found.difference:
        return found
    expected, chance = rule.expected(planes()), rule.leaves_to_chance
    return _compare(block, rule.grid, limit_mm, expected, rule.within, excuses_nan=chance)


def _expect_values(physical: Physical, planes: Callable[[], Iterable[Array]]) -> Iterator[tuple[Array, float]]:
    """Compute the values of our planes, and how large the numbers are that a reader rounds when it computes them."""
    from .prediction import find_largest

    for k, plane in enumerate(planes()):
        values = np.asarray(physical(k, plane))
        offset = np.asarray(physical(k, np.zeros((1, 1), plane.dtype)))
        yield values, max(find_largest(values), find_largest(offset))


def take_our_step(lps: Matrix, shape: Sequence[int], grid: Grid) -> Matrix:
    """Return their affine with our step along an axis of one voxel, where it points the same way or back.

    Args:
        lps: 4 x 4, their index to LPS mm.
        shape: of their block, three numbers.
        grid: ours.

    Returns: 4 x 4, of the same block.
    """
    lps = lps.copy()
    theirs = [axis for axis in range(3) if shape[axis] == 1]
    for axis, ours in product(theirs, (a for a in range(3) if grid.shape[a] == 1)):
        step = grid.lps[:3, ours]
        length = float(np.linalg.norm(lps[:3, axis]) * np.linalg.norm(step))
        along = float(lps[:3, axis] @ step) / length if length else 0.0
        if abs(along) > 1 - _SAME_DIRECTION:
            lps[:3, axis] = step * np.sign(along)
    return lps


def _count_differing(
    theirs: Array,
    mapping: NDArray[np.int64],
    expected: Iterable[tuple[Array, float]],
    within: float,
    *,
    excuses_nan: bool,
) -> int:
    """Count the voxels whose values differ, plane by plane, by more than rounding leaves.

    Integers must be equal. A NaN must be one for the witness too, unless it excuses whatever the witness has there.

    Args:
        theirs: (i, j, k) in their order.
        mapping: 4 x 4, their index to ours.
        expected: the values of every plane and the largest number of each.
        within: by how much a value may differ beyond rounding.
        excuses_nan: whether a NaN among the values excuses whatever the witness has there.

    Returns: the number of voxels.
    """
    turned = reorder(theirs, mapping)
    differing = 0
    for k, (values, largest) in enumerate(expected):
        differ = find_differing(values, turned[:, :, k].T, _ROUNDING * largest, within, excuses_nan=excuses_nan)
        differing += int(np.count_nonzero(differ))
    return differing


def _as_rows(affine: Matrix) -> tuple[tuple[float, ...], ...] | None:
    """Return an affine as plain numbers for the record; None where JSON has no word for one of them."""
    if not np.isfinite(affine).all():
        return None
    return tuple(tuple(float(x) for x in row) for row in affine)
