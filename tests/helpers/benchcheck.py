"""Compare the NIfTI files of two programs: `python -m tests.helpers.benchcheck values|overlap|some|same ONE OTHER`.

Rules:
- Read by nibabel in values: slope and intercept applied, since tools store them differently.
- values: the same at the same places, or the measuring is worth nothing.
- overlap: Dice of masks, which need not be equal where programs rasterise otherwise. Files are paired by the last number in
  their names; where the numbers of files differ, all masks of each are taken as one.
- same: the same files, byte for byte.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

_IMAGE = "CT.nii.gz"  # med-imagetools writes the image beside its masks


def files_of(path: Path) -> list[Path]:
    """The NIfTI files of a folder, or the file itself, in the order of the last number in their names."""
    if path.is_file():
        return [path]
    found = [p for p in path.rglob("*.nii*") if p.name.endswith((".nii", ".nii.gz")) and p.name != _IMAGE]
    return sorted(found, key=lambda p: (_number(p), p.name))


def _number(path: Path) -> int:
    numbers = re.findall(r"\d+", path.name.split(".nii")[0])
    return int(numbers[-1]) if numbers else 0


def aligned(one: Any, other: Any) -> NDArray[Any] | str:
    """The other's array in the order of the first one's axes, or how they lie apart."""
    shape = other.shape[:3]
    link = np.linalg.inv(one.affine) @ other.affine
    whole = np.rint(link).astype(int)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1], indexing="ij")).reshape(4, -1)
    moved = np.linalg.norm((one.affine @ (link - whole) @ corners)[:3], axis=0).max()
    if moved > 0.01 or not np.array_equal(np.abs(whole[:3, :3]).sum(axis=1), [1, 1, 1]):
        return f"lies {moved:.3f} mm elsewhere"
    reached = whole @ corners
    if (reached[:3].min(axis=1) != 0).any() or (reached[:3].max(axis=1) != np.array(one.shape[:3]) - 1).any():
        return "covers another block"
    axes = np.abs(whole[:3, :3]).argmax(axis=1)
    steps = tuple(slice(None, None, int(whole[row, axis])) for row, axis in enumerate(axes))
    further = range(3, len(other.shape))
    return np.asanyarray(other.dataobj).transpose(*axes, *further)[steps]


def difference(ours: Sequence[Path], theirs: Sequence[Path]) -> str:
    """What differs in values, or "" where nothing does."""
    if len(ours) != 1 or len(theirs) != 1:
        return f"{len(theirs)} files cannot be held against {len(ours)}"
    one = nibabel.load(ours[0])
    turned = aligned(one, nibabel.load(theirs[0]))
    if isinstance(turned, str):
        return turned
    mine = np.asanyarray(one.dataobj)
    if turned.shape != mine.shape:
        return f"its shape is {turned.shape} and not {mine.shape}"
    # Plane by plane: a volume of a thousand planes needs no second copy.
    wrong = sum(int(np.count_nonzero(mine[:, :, k] != turned[:, :, k])) for k in range(mine.shape[2]))
    return f"{wrong} voxels differ" if wrong else ""


def overlap(ours: Sequence[Path], theirs: Sequence[Path]) -> str:
    """The least and the median Dice, and how many voxels differ; or how they cannot be compared."""
    groups = list(zip(([p] for p in ours), ([p] for p in theirs), strict=True)) if len(ours) == len(theirs) else []
    dices, differ, most = [], 0, 0
    for mine, others in groups or [(list(ours), list(theirs))]:
        first = nibabel.load(mine[0])
        one, two = _union(first, mine), _union(first, others)
        if isinstance(one, str) or isinstance(two, str):
            return next(words for words in (one, two) if isinstance(words, str))
        total = int(np.count_nonzero(one)) + int(np.count_nonzero(two))
        apart = int(np.count_nonzero(one != two))
        dices.append((total - apart) / total if total else 1.0)
        differ, most = differ + apart, most + int(np.count_nonzero(one))
    return f"Dice with ours {min(dices):.4f} or more, median {float(np.median(dices)):.4f}; {differ} of {most} voxels differ"


def some(ours: Sequence[Path], theirs: Sequence[Path]) -> str:
    """The overlap of every eighth mask: all of forty take a minute."""
    if len(ours) != len(theirs):
        return f"{len(theirs)} files cannot be held against {len(ours)}"
    return f"{overlap(ours[::8], theirs[::8])} in {len(ours[::8])} masks of {len(ours)}"


def _union(first: Any, paths: Sequence[Path]) -> NDArray[np.bool_] | str:
    inside = np.zeros(first.shape[:3], np.bool_, order="F")  # as the files are
    for path in paths:
        turned = aligned(first, nibabel.load(path))
        if isinstance(turned, str):
            return turned
        inside |= turned > 0
    return inside


def same(ours: Sequence[Path], theirs: Sequence[Path]) -> str:
    """Which files differ in a byte, or "" where none does."""
    if [p.name for p in ours] != [p.name for p in theirs]:
        return "the names of the files differ"
    wrong = [one.name for one, other in zip(ours, theirs, strict=True) if one.read_bytes() != other.read_bytes()]
    return f"{len(wrong)} files differ, {wrong[0]} first" if wrong else ""


CHECKS: dict[str, Callable[[Sequence[Path], Sequence[Path]], str]] = {
    "values": difference,
    "overlap": overlap,
    "some": some,
    "same": same,
}


if __name__ == "__main__":
    print(CHECKS[sys.argv[1]](*(files_of(Path(name)) for name in sys.argv[2:4])))
