"""Compare two exports of one image, voxel by voxel: how many are the same, and the values of those that differ.

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
    """A value of the voxels that differ.

    Attributes:
        value: as shown in the export.
        voxels: how many of those that differ have it.
        beneath: how many different values the image has in them.
    """

    value: int
    voxels: int
    beneath: int


@dataclass(frozen=True, slots=True)
class Split:
    """The voxels divided by one offset: those for which it holds, and all others.

    Attributes:
        offset: shown value minus image value.
        same: for how many voxels it holds.
        same_values: how many different values these voxels have.
        constants: the values of all others, the most frequent first.
    """

    offset: int
    same: int
    same_values: int
    constants: tuple[Constant, ...]

    @property
    def differing(self) -> int:
        return sum(c.voxels for c in self.constants)

    def offset_findings(self) -> list[Finding]:
        """Report an offset that is not zero."""
        if not self.offset:
            return []
        message = (
            f"the export's stored values are the image's {self.offset:+d}, exactly, in all {self.same:,} voxels "
            "that were compared"
        )
        return [Finding(Code.CONSTANT_OFFSET, message, severity=Severity.INFO)]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Each pair of values that occurs, and how often.

    Attributes:
        difference: (m,) shown value minus image value.
        value: (m,) shown value.
        voxels: (m,) how many voxels have the pair.
    """

    difference: NDArray[np.int64]
    value: NDArray[np.int64]
    voxels: NDArray[np.int64]

    def split(self, offset: int) -> Split:
        """Divide the voxels into those for which the offset holds and all others."""
        same = self.difference == offset
        values, place = np.unique(self.value[~same], return_inverse=True)
        voxels = np.bincount(place, self.voxels[~same], len(values)).astype(np.int64)
        beneath = np.bincount(place, minlength=len(values))
        constants = [Constant(int(v), int(n), int(b)) for v, n, b in zip(values, voxels, beneath, strict=True)]
        constants.sort(key=lambda c: (-c.voxels, c.value))
        return Split(offset, int(self.voxels[same].sum()), int(np.count_nonzero(same)), tuple(constants))

    def offset(self) -> int:
        """Find the offset that leaves the fewest values to voxels for which it does not hold; of these, the commonest."""
        _, place, kinds = np.unique(self.value, return_inverse=True, return_counts=True)
        # A value is explained by an offset when it occurs with no other.
        offsets, which = np.unique(self.difference, return_inverse=True)
        explained = np.bincount(which, kinds[place] == 1, len(offsets))
        held = np.bincount(which, self.voxels, len(offsets))
        return int(offsets[np.lexsort((held, explained))[-1]])


def compare(shown: Voxels, image: Voxels) -> Comparison:
    """Count all pairs, plane by plane. Raises OTHER_IMAGE where sizes differ, or hardly a voxel is the same."""
    if shown.shape != image.shape:
        sizes = [" × ".join(map(str, v.shape)) for v in (shown, image)]
        raise refuse(
            Code.OTHER_IMAGE,
            f"the two exports have {' and '.join(sizes)} voxels",
            "Give two exports of one image set.",
            where=(f"the export: {sizes[0]} voxels", f"the image: {sizes[1]} voxels"),
        )
    codes, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    usual: int | None = None
    for k in range(shown.shape[2]):
        ours, theirs = shown.plane(k), image.plane(k)
        difference = ours.astype(np.int64) - theirs
        if usual is None:
            found, often = np.unique(difference, return_counts=True)
            usual = int(found[often.argmax()])  # only for speed: most voxels are then counted without sorting pairs
        same = difference == usual
        known, times = np.unique(ours[same], return_counts=True)
        code = np.concatenate([_pack(usual, known, k), _pack(difference[~same], ours[~same], k)])
        weight = np.concatenate([times, np.ones(len(code) - len(known), np.int64)])
        codes, counts = _merge(np.concatenate([codes, code]), np.concatenate([counts, weight]))
        if len(codes) > _MOST_PAIRS:
            raise other_image("they differ nearly everywhere", (f"planes 0 to {k}",))
    value = (codes & ((1 << _VALUE_BITS) - 1)) - (1 << (_VALUE_BITS - 1))
    return Comparison(codes >> _VALUE_BITS, value, counts)


def other_image(why: str, where: tuple[str, ...]) -> PipelineError:
    """Make the refusal of an image that the export was not made from. where: the planes or values that show it."""
    return refuse(
        Code.OTHER_IMAGE,
        f"the export is not that image with a mask in it: {why}",
        "Give the same image set, exported with all masks hidden (or the original series), not resliced, reduced, "
        "windowed or lossily compressed in between.",
        where=where,
    )


def _pack(difference: Array | int, value: Array, plane: int) -> Array:
    """Put difference and value into one number. Differences beyond 2^30 would not fit, and no mask has them."""
    if np.abs(difference).max(initial=0) >= 1 << (63 - _VALUE_BITS):
        raise other_image("grey values differ by more than a thousand million", (f"plane {plane}",))
    return np.asarray((np.int64(difference) << _VALUE_BITS) + value.astype(np.int64) + (1 << (_VALUE_BITS - 1)))


def _merge(codes: Array, counts: Array) -> tuple[Array, Array]:
    """Add up the counts of equal codes; codes ascending."""
    unique, place = np.unique(codes, return_inverse=True)
    return unique, np.bincount(place, counts, len(unique)).astype(np.int64)
