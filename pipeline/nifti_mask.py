"""NIfTI files that a user gives as masks, read into our own types; and a repaired one written.

Rules:
- A file is taken at its word: its sform, else its qform, places it. A left-handed array has its first axis reversed, with
  its affine, so that it becomes a grid; no voxel moves.
- Values must be whole and not negative. Names of labels come from the record beside the file, where there is one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import nifti
from pipeline.findings import Code, refuse
from pipeline.finish import checked_target, free_target
from pipeline.geometry import LPS_TO_RAS, GeometryError, Grid
from pipeline.mask import Array, Mask, Segment, Voxels, smallest_unsigned
from pipeline.outcome import sidecar_of
from pipeline.policy import Policy


def read_array(path: Path) -> tuple[nifti.Header, Array]:
    """Header and stored values, (i, j, k), of a 3-D file. Raises NO_SUCH_INPUT, CORRUPT_FILE, SEVERAL_VOLUMES."""
    if not path.is_file():
        raise refuse(Code.NO_SUCH_INPUT, f"{path.name} is not there", "Check the path.")
    header = nifti.read_header(path)
    shape = header.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise refuse(Code.SEVERAL_VOLUMES, f"{path.name} is {' × '.join(map(str, shape))}; one 3-D block is needed")
    block = np.stack(list(nifti.read_planes(path)))
    return replace(header, shape=shape), block.transpose(2, 1, 0)


def read_mask(path: Path) -> Mask:
    """A label file as a mask. Raises NOT_A_MASK, and as `read_array`."""
    header, array = read_array(path)
    whole = array if array.dtype.kind in "iu" else np.rint(array)
    if not np.isfinite(array).all() or (whole != array).any() or array.min() < 0 or header.slope not in (0.0, 1.0):
        raise refuse(
            Code.NOT_A_MASK,
            f"{path.name} is no mask: labels are whole numbers from 0 upwards, without a slope",
            where=(path.name,),
        )
    labels = array.astype(smallest_unsigned(int(array.max(initial=0))))
    affine = header.affine.copy()
    if np.linalg.det(affine[:3, :3]) < 0:
        labels = labels[::-1]
        affine[:3, 3] += affine[:3, 0] * (labels.shape[0] - 1)
        affine[:3, 0] *= -1
    try:
        grid = Grid(labels.shape, LPS_TO_RAS @ affine)
    except GeometryError as error:
        raise refuse(Code.CORRUPT_FILE, f"the affine of {path.name} describes no grid: {error}") from error
    names = _names(path)
    values = [int(v) for v in np.unique(labels) if v]
    return Mask(Voxels.of(labels), grid, tuple(names.get(v) or Segment(v, f"label {v}") for v in values), _stem(path))


def write_fixed(target: Path, array: Array, grid: Grid, like: nifti.Header, policy: Policy) -> None:
    """A repaired array on its grid, with the slope and intent of the file it came from."""
    free_target(checked_target(target), policy)
    header, _ = nifti.pack_header(
        grid.ras,
        grid.shape,
        array.dtype.newbyteorder("="),
        slope=like.slope,
        intercept=like.intercept,
        label=like.intent == nifti.INTENT_LABEL,
        description="verimask",
        limit_mm=policy.qform_limit_mm,
    )
    voxels = Voxels.of(array.astype(array.dtype.newbyteorder("=")))
    with nifti.in_place(target, overwrite=False) as part:
        with nifti.opened(part, "wb", gzipped=target.name.endswith(".gz")) as file:
            checksums = nifti.write(file, header, voxels, lambda _: None)
        nifti.prove(part, grid.ras, grid.shape, voxels.dtype, checksums, policy.header_limit_mm)


def _names(path: Path) -> dict[int, Segment]:
    """What the record beside a file of ours says of its labels."""
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return {}
    try:
        labels: list[dict[str, Any]] = json.loads(sidecar.read_text("utf-8")).get("Labels") or []
        return {
            int(row["Value"]): Segment(
                int(row["Value"]), str(row["Name"]), tuple(row["Colour"]) if "Colour" in row else None
            )
            for row in labels
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # somebody else's JSON: names are a convenience


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
