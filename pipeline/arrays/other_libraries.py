"""Hand an array over to nibabel and to SimpleITK, as each holds images.

Rules:
- nibabel gets the bytes of the file that was proven; nothing is computed anew.
- ITK's axes are at right angles. A sheared grid is refused: ITK would hold it straightened.
- Both are imported when they are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.extras import imported
from ..core.findings import Code, refuse
from ..core.limits import LEANS_DEGREES
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_lengths
from ..volume.mask import Array

_RIGHT_ANGLE = 1e-4  # of a cosine: what ITK takes, and what printed directions leave


def as_nibabel(file: bytes) -> Any:
    """Open the bytes of a .nii file as a `nibabel.Nifti1Image`, which shares their memory."""
    from nibabel import Nifti1Image

    return Nifti1Image.from_bytes(file)


def as_sitk(array: Array, affine: Matrix, *, colours: bool) -> Any:
    """Make a `SimpleITK.Image` of an array.

    Args:
        array: (i, j, k), (i, j, k, volume), or (i, j, k, sample) where `colours`.
        affine: 4 x 4, index (i, j, k) to RAS mm.
        colours: whether the last axis is red, green and blue.

    Returns: the image, with origin, spacing and direction in LPS.

    Raises: PipelineError NO_ARRAY_PACKAGE, NOT_ORTHONORMAL for a sheared grid.
    """
    sitk = imported("witnesses", "SimpleITK")
    lps = LPS_TO_RAS @ affine
    spacing = axis_lengths(lps)
    direction = lps[:3, :3] / spacing
    off = float(np.abs(direction.T @ direction - np.eye(3)).max())
    if off > _RIGHT_ANGLE:
        raise refuse(
            Code.NOT_ORTHONORMAL,
            f"the axes of the grid are {np.degrees(np.arcsin(min(off, 1.0))):.3g}° off right angles, and ITK holds no such image",
            'Read it with Policy(on_tilt="resample"), or use to_nibabel(), which keeps the shear.',
            where=("to_sitk",),
            measured=float(np.degrees(np.arcsin(min(off, 1.0)))),
            limit=LEANS_DEGREES,
            unit="degrees",
        )
    axes = (*range(2, -1, -1), 3) if colours else tuple(reversed(range(array.ndim)))
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(axes)), isVector=colours)
    more = image.GetDimension() - 3
    whole = np.eye(3 + more)
    whole[:3, :3] = direction
    image.SetDirection(whole.ravel().tolist())
    image.SetSpacing([*spacing.tolist(), *[1.0] * more])
    image.SetOrigin([*lps[:3, 3].tolist(), *[0.0] * more])
    return image
