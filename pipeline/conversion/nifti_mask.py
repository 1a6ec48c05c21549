"""Read the NIfTI files that a user gives as masks into our own types; write a repaired one.

Rules:
- A file is taken at its word: its sform, else its qform, places it. A left-handed array has its first axis reversed, with
  its affine, so that it becomes a grid; no voxel moves.
- The values of a mask are slope * stored + intercept, and must be whole and not negative. Names of labels come from the
  record beside the file, where there is one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.atomic_file import in_place
from ..core.findings import Code, PipelineError, refuse
from ..core.json_file import read_json
from ..core.policy import Policy
from ..geometry.affine import LPS_TO_RAS, right_handed
from ..geometry.grid import GeometryError, Grid
from ..nifti import file as nifti
from ..nifti.header import NiftiHeader, require_affine, require_numbers
from ..nifti.proof import prove
from ..nifti.streams import open_stream
from ..volume.mask import LARGEST_LABEL, Array, MaskVolume, Segment, Voxels, require_block, smallest_unsigned
from .output_path import checked_target, free_target
from .record import sidecar_of

_INTEGERS = "Give a file of labels, or write them as integers without a slope."


def read_array(path: Path) -> tuple[NiftiHeader, Array]:
    """Header and stored values, (i, j, k), of a 3-D file whose affine places them.

    Raises NO_SUCH_INPUT, CORRUPT_FILE, UNSUPPORTED_NIFTI, SEVERAL_VOLUMES.
    """
    header = require_affine(nifti.read_header(path), path.name)
    shape = header.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"{path.name} is {' × '.join(map(str, shape))}; one 3-D block is needed",
            "Split it into its volumes, and give one.",
            where=(path.name,),
        )
    columns, rows, planes = shape
    require_block((columns, rows, planes), header.dtype)
    block = np.empty((planes, rows, columns), header.dtype)
    for k, plane in enumerate(nifti.read_planes(path)):
        block[k] = plane
    return replace(header, shape=shape), block.transpose(2, 1, 0)


def labels_of(header: NiftiHeader, array: Array, name: str) -> Array:
    """Turn stored values into the labels they mean.

    Args:
        header: its slope and intercept scale the values.
        array: (i, j, k), as stored.
        name: of the file, for the refusal.

    Returns: (i, j, k) in the smallest unsigned type that holds them.

    Raises: PipelineError UNSUPPORTED_NIFTI for colours, and as `whole_labels`.
    """
    slope, intercept = require_numbers(header, name).scaling
    if (slope, intercept) == (1.0, 0.0):
        return whole_labels(array, name)
    note = f" (stored values times {slope:.9g} plus {intercept:.9g})"
    return whole_labels(array.astype(np.float64) * slope + intercept, name, note)


def whole_labels(values: Array, name: str, note: str = "", hint: str = _INTEGERS) -> Array:
    """Turn numbers into labels.

    Args:
        values: numbers, of any shape.
        name: of what holds them, for the refusal.
        note: how they were computed, for the refusal.
        hint: what to do, for the refusal.

    Returns: the same in the smallest unsigned type that holds them.

    Raises: PipelineError NOT_A_MASK where they are not whole, negative or too large.
    """
    is_whole = values.dtype.kind in "iu"
    if not is_whole and not np.isfinite(values).all():
        raise _no_labels(name, "some values are no finite numbers", note, hint)
    low, high = values.min(), values.max()
    if low < 0 or high > LARGEST_LABEL:
        odd = low if low < 0 else high
        limit = 0 if low < 0 else LARGEST_LABEL
        raise _no_labels(name, f"there is the value {odd}", note, hint, measured=float(odd), limit=limit)
    labels = values.astype(smallest_unsigned(int(high)))
    apart = values[:0] if is_whole else values[labels != values]
    if apart.size:
        raise _no_labels(name, f"{apart.size} values are not whole, such as {float(apart[0])!r}", note, hint)
    return labels


def read_mask(path: Path) -> MaskVolume:
    """A label file as a mask. Raises as `read_array` and `labels_of`."""
    header, array = read_array(path)
    labels = labels_of(header, array, path.name)
    if np.linalg.det(header.affine[:3, :3]) < 0:
        labels = labels[::-1]
    try:
        grid = Grid(labels.shape, LPS_TO_RAS @ right_handed(header.affine, labels.shape[0]))
    except GeometryError as error:
        raise refuse(
            Code.CORRUPT_FILE,
            f"the affine of {path.name} describes no grid: {error}",
            "Write it anew from its images: verimask convert --like, or your own tool.",
            where=(path.name,),
        ) from error
    names = _names(path)
    values = [int(v) for v in np.unique(labels) if v]
    return MaskVolume(
        Voxels.of(labels), grid, tuple(names.get(v) or Segment(v, f"label {v}") for v in values), _stem(path)
    )


def write_fixed(target: Path, array: Array, grid: Grid, like: NiftiHeader, policy: Policy) -> None:
    """Write a repaired array on its grid, with the slope and intent of the file it came from.

    Args:
        target: a path that is free.
        array: (i, j, k), values as stored.
        grid: where they lie.
        like: the header of the file they came from.
        policy: the limits a header is held to.

    Raises: PipelineError OUTPUT_NAME, OUTPUT_EXISTS, CANNOT_WRITE, READ_BACK_DIFFERS.
    """
    free_target(checked_target(target), policy)
    slope, intercept = like.scaling
    header, _ = nifti.pack_header(
        grid.ras,
        grid.shape,
        array.dtype.newbyteorder("="),
        slope=slope,
        intercept=intercept,
        label=like.intent == nifti.INTENT_LABEL,
        description="verimask",
        limit_mm=policy.qform_limit_mm,
    )
    voxels = Voxels.of(array.astype(array.dtype.newbyteorder("=")))
    with in_place(target, overwrite=False) as part:
        with open_stream(part, "wb", gzipped=target.name.endswith(".gz")) as file:
            checksums = nifti.write(file, header, voxels, lambda _: None)
        prove(part, grid.ras, grid.shape, voxels.dtype, checksums, policy.header_limit_mm)


def _no_labels(name: str, words: str, note: str, hint: str, **details: Any) -> PipelineError:
    return refuse(
        Code.NOT_A_MASK,
        f"{name} is no mask: labels are whole numbers from 0 to {LARGEST_LABEL}, and {words}{note}",
        hint,
        where=(name,),
        **details,
    )


def _names(path: Path) -> dict[int, Segment]:
    """What the record beside a file of ours says of its labels."""
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return {}
    try:
        labels: list[dict[str, Any]] = read_json(sidecar).get("Labels") or []
        return {
            int(row["Value"]): Segment(
                int(row["Value"]), str(row["Name"]), tuple(row["Colour"]) if "Colour" in row else None
            )
            for row in labels
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}  # somebody else's JSON: names are a convenience


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
