"""In which order, and under which header, a product's voxels are written.

Rules:
- As acquired by default; `--orient` exchanges and reverses axes; `--like` takes an existing NIfTI file's grid, voxel for
  voxel and header bit for header bit, so that programs which compare headers find no difference.
- The affine follows the voxels, so no voxel moves in the patient. Nothing is resampled unless that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy, checked_codes
from ..geometry.affine import LPS_TO_RAS, Matrix, right_handed
from ..geometry.axis_order import order_for
from ..geometry.grid import Grid
from ..geometry.index_map import IndexMap, find_index_map
from ..nifti import file as nifti
from ..nifti.header import NiftiHeader
from ..volume import regrid
from ..volume.mask import MaskVolume, Voxels
from ..volume.nearest import take_nearest
from .product import Product


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What is written. product: what it is of, on the grid it was resampled to where it was. affine: 4 x 4, index to
    RAS mm. geometry: header bytes to take over, None for our own."""

    product: Product
    voxels: Voxels
    affine: Matrix
    shape: tuple[int, ...]
    geometry: nifti.GeometryBits | None = None


def lay_out(product: Product, policy: Policy, like: Path | None = None) -> Layout:
    """Put the voxels of a product into the order that is wanted.

    Args:
        product: on the grid as acquired.
        policy: `orient` is the order of the axes; `resample` whether voxels may be taken from the nearest place.
        like: a NIfTI file whose grid and header are wanted instead.

    Returns: what is written, voxel for voxel.

    Raises: PipelineError BAD_ORIENTATION for a 4-D image; OFF_IMAGE_GRID where `like` has another grid.
    """
    voxels, grid = product.volume.voxels, product.grid
    if like is not None:
        return _like(product, policy, like)
    if product.volumes > 1:
        if policy.orient != "source":
            raise refuse(
                Code.BAD_ORIENTATION,
                "4-D images are written in the acquired order only",
                "Leave --orient out.",
                where=("--orient",),
            )
        return Layout(product, voxels, grid.ras, (*grid.shape, product.volumes))
    if policy.orient == "source":
        return Layout(product, voxels, grid.ras, grid.shape)
    order = order_for(grid.ras, checked_codes(policy.orient))
    shape = order.shape(grid.shape)
    turned = regrid.put_onto(voxels, order.inverse.matrix(shape), shape)
    return Layout(product, turned, grid.ras @ order.matrix(grid.shape), shape)


def _like(product: Product, policy: Policy, path: Path) -> Layout:
    header, bits = nifti.read_geometry(path)
    mask, grid = product.volume, product.grid
    if not isinstance(mask, MaskVolume) or len(header.shape) < 3:
        words = "--like lays a mask on the grid of a 3-D image; this is not such a pair"
        raise refuse(Code.OFF_IMAGE_GRID, words, "Leave --like out, or name a 3-D image.", where=(path.name,))
    shape = header.space
    limit = policy.corner_limit(min(grid.spacing))
    fit = find_index_map(grid.ras, grid.shape, header.affine, shape)
    if fit is None or fit.moved_mm > limit:
        if policy.resample != "nearest":
            raise _off_grid(fit, grid, header, path.name)
        product = _resample(product, mask, header, path.name)
        mask, grid = product.volume, product.grid
        fit = find_index_map(grid.ras, grid.shape, header.affine, shape)
        if fit is None:  # the grid is the image's own, but for the direction of its first axis
            raise ArithmeticError(f"the grid of {path.name} does not map onto itself")
    outside = 0 if fit.is_inside else regrid.count_lost(mask.voxels, fit.matrix, shape)
    if outside:
        raise refuse(
            Code.OFF_IMAGE_GRID,
            f"{outside} voxels of the mask lie outside of {path.name}; {_apart(grid, header)}",
            "Was it made from the same images?",
            measured=outside,
            limit=0,
            unit="voxels",
            where=(path.name,),
        )
    as_is = grid.shape == shape and bool((fit.matrix == np.eye(4)).all())
    voxels = mask.voxels if as_is else regrid.put_onto(mask.voxels, fit.matrix, shape)
    return Layout(product, voxels, header.affine, shape, bits)


def _resample(product: Product, mask: MaskVolume, header: NiftiHeader, name: str) -> Product:
    """The product with its labels on the image's grid. No plane of the series lies there, and no witness can be shown it."""
    lps = LPS_TO_RAS @ right_handed(header.affine, header.space[0])
    nearest = take_nearest(mask, Grid(header.space, lps, mask.grid.frame_of_reference_uid), name)
    return replace(
        product,
        volume=nearest.volume,
        proof=product.proof.add_travel(nearest.moved_mm),
        frames=(None,) * header.space[2],
        findings=(*product.findings, *nearest.findings),
        witnessed=None,
        mask_job=None,
        made_of=(),
    )


def _off_grid(fit: IndexMap | None, grid: Grid, header: NiftiHeader, name: str) -> PipelineError:
    how = "its voxels are others, in size or direction" if fit is None else f"it lies {fit.moved_mm:.3f} mm beside"
    return refuse(
        Code.OFF_IMAGE_GRID,
        f"the mask cannot be laid on the grid of {name} without resampling: {how}; {_apart(grid, header)}",
        "--resample nearest takes the nearest voxels and says how far.",
        clause="NIfTI-1 sform, qform",
        where=(name,),
    )


def _apart(grid: Grid, header: NiftiHeader) -> str:
    return regrid.describe_distance(grid.lps, grid.shape, LPS_TO_RAS @ header.affine, header.space)
