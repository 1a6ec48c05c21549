"""Two exports of one image held against each other, voxel by voxel: where they are the same, and what is where not.

Rules:
- Everything is counted: each pair of (difference, shown value) that occurs. No voxel is sampled, nothing is fitted.
- An offset between the two is one whole number that holds for every voxel that is not part of a mask. It is accepted
  when the voxels for which it does not hold have no values but a few constants; that is proven by the counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...volume.mask import Array, Voxels

_MOST_PAIRS = 1 << 21  # two images that are not the same reach this soon; a burned-in mask has some thousands
_VALUE_BITS = 33  # a stored value of 32 bits, signed or not


@dataclass(frozen=True, slots=True)
class Constant:
    """A value of the voxels that differ. voxels: that have it. beneath: how many different values the image has there."""

    value: int
    voxels: int
    beneath: int


@dataclass(frozen=True, slots=True)
class Split:
    """What one offset makes of the voxels. same: for how many it holds; same_values: how many values these have.

    constants: the values of all others, the most frequent first.
    """

    offset: int
    same: int
    same_values: int
    constants: tuple[Constant, ...]

    @property
    def differing(self) -> int:
        return sum(c.voxels for c in self.constants)

    def offset_said(self) -> list[Finding]:
        if not self.offset:
            return []
        message = (
            f"the export's stored values are the image's {self.offset:+d}, exactly, in all {self.same:,} voxels "
            "that were compared"
        )
        return [Finding(Code.CONSTANT_OFFSET, message, severity=Severity.INFO)]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Each pair that occurs: shown minus image, the shown value, and the number of voxels; (m,) int64 each."""

    difference: NDArray[np.int64]
    value: NDArray[np.int64]
    voxels: NDArray[np.int64]

    def split(self, offset: int) -> Split:
        same = self.difference == offset
        values, place = np.unique(self.value[~same], return_inverse=True)
        voxels = np.bincount(place, self.voxels[~same], len(values)).astype(np.int64)
        beneath = np.bincount(place, minlength=len(values))
        constants = [Constant(int(v), int(n), int(b)) for v, n, b in zip(values, voxels, beneath, strict=True)]
        constants.sort(key=lambda c: (-c.voxels, c.value))
        return Split(offset, int(self.voxels[same].sum()), int(np.count_nonzero(same)), tuple(constants))

    def offset(self) -> int:
        """The offset that leaves the fewest values to the voxels for which it does not hold; then the most voxels."""
        _, place, kinds = np.unique(self.value, return_inverse=True, return_counts=True)
        # A value is explained by an offset when it occurs with no other.
        offsets, which = np.unique(self.difference, return_inverse=True)
        explained = np.bincount(which, kinds[place] == 1, len(offsets))
        held = np.bincount(which, self.voxels, len(offsets))
        return int(offsets[np.lexsort((held, explained))[-1]])


def compare(shown: Voxels, image: Voxels) -> Comparison:
    """Count all pairs, plane by plane. Raises OTHER_IMAGE where sizes differ, or hardly a voxel is the same."""
    if shown.shape != image.shape:
        said = " and ".join(" × ".join(map(str, v.shape)) for v in (shown, image))
        raise refuse(Code.OTHER_IMAGE, f"the two exports have {said} voxels", "Give two exports of one image set.")
    codes, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    usual: int | None = None
    for k in range(shown.shape[2]):
        ours, theirs = shown.plane(k), image.plane(k)
        difference = ours.astype(np.int64) - theirs
        if usual is None:
            found, often = np.unique(difference, return_counts=True)
            usual = int(found[often.argmax()])  # for speed only: most voxels are counted without sorting pairs
        same = difference == usual
        known, times = np.unique(ours[same], return_counts=True)
        code = np.concatenate([_code(usual, known), _code(difference[~same], ours[~same])])
        weight = np.concatenate([times, np.ones(len(code) - len(known), np.int64)])
        codes, counts = _merged(np.concatenate([codes, code]), np.concatenate([counts, weight]))
        if len(codes) > _MOST_PAIRS:
            raise other_image("they differ nearly everywhere")
    value = (codes & ((1 << _VALUE_BITS) - 1)) - (1 << (_VALUE_BITS - 1))
    return Comparison(codes >> _VALUE_BITS, value, counts)


def other_image(why: str) -> PipelineError:
    """The refusal of an image that the export was not made from."""
    return refuse(
        Code.OTHER_IMAGE,
        f"the export is not that image with a mask in it: {why}",
        "Give the same image set, exported with all masks hidden (or the original series), not resliced, reduced, "
        "windowed or lossily compressed in between.",
    )


def _code(difference: Array | int, value: Array) -> Array:
    """Difference and value in one number; differences beyond 2^30 are no case of a mask and would not fit."""
    if np.abs(difference).max(initial=0) >= 1 << (63 - _VALUE_BITS):
        raise other_image("grey values differ by more than a thousand million")
    return np.asarray((np.int64(difference) << _VALUE_BITS) + value.astype(np.int64) + (1 << (_VALUE_BITS - 1)))


def _merged(codes: Array, counts: Array) -> tuple[Array, Array]:
    unique, place = np.unique(codes, return_inverse=True)
    return unique, np.bincount(place, counts, len(unique)).astype(np.int64)
