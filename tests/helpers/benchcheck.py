"""Whether two NIfTI files hold the same values at the same places: `python -m tests.helpers.benchcheck ONE OTHER`.

Read by nibabel, plane by plane in values: slope and intercept applied, since tools store them differently.
"""

from __future__ import annotations

import sys

import nibabel
import numpy as np


def difference(ours: str, theirs: str) -> str:
    """What differs, or "" where nothing does."""
    one, other = nibabel.load(ours), nibabel.load(theirs)
    link = np.linalg.inv(one.affine) @ other.affine
    whole = np.rint(link).astype(int)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in other.shape], [1], indexing="ij")).reshape(4, -1)
    moved = np.linalg.norm((one.affine @ (link - whole) @ corners)[:3], axis=0).max()
    if moved > 0.01 or not np.array_equal(np.abs(whole[:3, :3]).sum(axis=1), [1, 1, 1]):
        return f"lies {moved:.3f} mm elsewhere"
    reached = whole @ corners
    if (reached[:3].min(axis=1) != 0).any() or (reached[:3].max(axis=1) != np.array(one.shape) - 1).any():
        return "covers another block"
    axes = np.abs(whole[:3, :3]).argmax(axis=1)
    steps = tuple(slice(None, None, int(whole[row, axis])) for row, axis in enumerate(axes))
    mine, turned = np.asanyarray(one.dataobj), np.asanyarray(other.dataobj).transpose(axes)[steps]
    wrong = sum(int(np.count_nonzero(mine[..., k] != turned[..., k])) for k in range(mine.shape[2]))
    return f"{wrong} voxels differ" if wrong else ""


if __name__ == "__main__":
    said = difference(*sys.argv[1:])
    sys.exit(f"{sys.argv[2]} against {sys.argv[1]}: {said}" if said else 0)
