"""In which order, and under which header, a product's voxels are written.

Rules:
- As acquired by default; `--orient` exchanges and reverses axes; `--like` takes an existing NIfTI file's grid, voxel for
  voxel and header bit for header bit, so that programs which compare headers find no difference.
- The affine follows the voxels, so no voxel moves in the patient. Nothing is resampled unless that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import nifti, regrid
from pipeline.findings import Code, Finding, Severity, refuse
from pipeline.geometry import LPS_TO_RAS, Grid, Matrix, axis_codes
from pipeline.mask import Mask, Voxels
from pipeline.policy import OPPOSITE, Policy, checked_codes
from pipeline.product import Product


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What is written. affine: 4 x 4, index to RAS mm. geometry: header bytes to take over, None for our own."""

    voxels: Voxels
    affine: Matrix
    shape: tuple[int, ...]
    geometry: nifti.GeometryBits | None = None
    findings: tuple[Finding, ...] = ()


def lay_out(product: Product, policy: Policy, like: Path | None = None) -> Layout:
    """The order the policy wants, or the grid of the NIfTI file `like`. Raises BAD_ORIENTATION, OFF_IMAGE_GRID."""
    voxels, grid = product.volume.voxels, product.grid
    if like is not None:
        return _like(product, policy, like)
    if product.volumes > 1:
        if policy.orient != "source":
            raise refuse(
                Code.BAD_ORIENTATION, "4-D images are written in the acquired order only", "Leave --orient out."
            )
        return Layout(voxels, grid.ras, (*grid.shape, product.volumes))
    if policy.orient == "source":
        return Layout(voxels, grid.ras, grid.shape)
    mapping = mapping_to(grid, checked_codes(policy.orient))
    shape = tuple(int(n) for n in np.abs(mapping[:3, :3].T) @ grid.shape)
    turned = regrid.onto(voxels, regrid.inverse(mapping), shape)  # type: ignore[arg-type]
    return Layout(turned, grid.ras @ mapping, shape)


def mapping_to(grid: Grid, codes: str) -> NDArray[np.int64]:
    """4 x 4, index in the wanted order to index on the grid. "RAS": i increases to the right, j forward, k headward."""
    have = axis_codes(grid.ras)
    mapping = np.zeros((4, 4), np.int64)
    mapping[3, 3] = 1
    for new, letter in enumerate(codes):
        axis = next(a for a in range(3) if have[a] in (letter, OPPOSITE[letter]))
        same = have[axis] == letter
        mapping[axis, new] = 1 if same else -1
        mapping[axis, 3] = 0 if same else grid.shape[axis] - 1
    return mapping


def _like(product: Product, policy: Policy, path: Path) -> Layout:
    header, bits = nifti.read_geometry(path)
    mask, grid = product.volume, product.grid
    if not isinstance(mask, Mask) or len(header.shape) < 3:
        raise refuse(Code.OFF_IMAGE_GRID, "--like lays a mask on the grid of a 3-D image; this is not such a pair")
    shape = (header.shape[0], header.shape[1], header.shape[2])
    limit = policy.corner_limit(min(grid.spacing))
    fit = regrid.fit(grid.ras, grid.shape, header.affine, shape)
    apart = regrid.apart_in_words(grid.lps, grid.shape, LPS_TO_RAS @ header.affine, shape)
    if fit is not None and fit.moved_mm <= limit:
        outside = 0 if fit.whole else regrid.lost(mask.voxels, fit.mapping, shape)
        if outside:
            raise refuse(
                Code.OFF_IMAGE_GRID,
                f"{outside} voxels of the mask lie outside of {path.name}; {apart}",
                "Was it made from the same images?",
                measured=outside,
                limit=0,
                unit="voxels",
            )
        return Layout(regrid.onto(mask.voxels, fit.mapping, shape), header.affine, shape, bits)
    if policy.resample == "nearest":
        voxels, moved = regrid.nearest(mask.voxels, grid.ras, header.affine, shape)
        said = Finding(
            Code.RESAMPLED,
            f"labels were taken from the nearest voxel onto {path.name}, at most {moved:.3f} mm away",
            severity=Severity.WARNING,
        )
        return Layout(voxels, header.affine, shape, bits, (said,))
    beside = "its voxels are others, in size or direction" if fit is None else f"it lies {fit.moved_mm:.3f} mm beside"
    raise refuse(
        Code.OFF_IMAGE_GRID,
        f"the mask cannot be laid on the grid of {path.name} without resampling: {beside}; {apart}",
        "--resample nearest takes the nearest voxels and says how far.",
        clause="NIfTI-1 sform, qform",
    )
