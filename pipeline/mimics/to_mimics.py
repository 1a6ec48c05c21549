"""Write a mask for Mimics: the folder that import_masks.py reads, its format, version 1.

The folder holds import.json and one gzip file per label. import.json: format "verimask-mimics-import", version 1, image
{name, guid, shape [x, y, z], probes [[i, j, k, x, y, z] at the 8 corners, project units]}, and masks[]: name, color
[r, g, b] 0..1, file, voxels (set ones), sha256 (of the bytes unpacked: one byte a voxel, 0 or 1, z fastest).

Rules:
- The mask must be on the very grid of the image set; nothing is resampled. It is brought into Mimics' own index order.
- Every label becomes one mask, since Mimics has no labels. Names and colours are kept.
- The folder appears whole or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.atomic_file import folder_in_place
from ..core.findings import Code, Finding, refuse
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..geometry.affine import corner_indices
from ..geometry.index_map import find_index_map, reorder
from ..volume.mask import MaskVolume
from .bundle import BundleImage, format_shape
from .grid import fit_grid

FORMAT = "verimask-mimics-import"
VERSION = 1
_GZIP_LEVEL = 3  # masks shrink to little at any level, and higher ones only take longer
_COLOURS = ((1.0, 0.84, 0.0), (0.0, 0.6, 1.0), (1.0, 0.3, 0.3), (0.3, 0.85, 0.4), (0.8, 0.4, 1.0), (1.0, 0.55, 0.1))


def write_for_mimics(
    mask: MaskVolume,
    image: BundleImage,
    folder: Path,
    *,
    units_mm_per_unit: float | None = None,
    policy: Policy | None = None,
) -> tuple[Finding, ...]:
    """Write the folder for import_masks.py: every label of the mask, on the grid of the bundle's image set.

    Args:
        mask: the mask, on the grid of the image set in any order of its axes.
        image: the image set of the bundle that the mask belongs to.
        folder: where to write; it must be new or empty.
        units_mm_per_unit: length of the project's unit in mm, where the bundle does not give it.
        policy: the limits; by default those of `Policy()`.

    Returns: the findings of `fit_grid`.

    Raises: PipelineError OTHER_GRID when the mask lies on another grid, OUTPUT_EXISTS unless the folder is new or empty,
        and as `fit_grid`.
    """
    policy = policy or Policy()
    found = fit_grid(image, units_mm_per_unit=units_mm_per_unit, policy=policy)
    mapped = find_index_map(mask.grid.lps, mask.grid.shape, found.grid.lps, found.grid.shape)
    limit = policy.corner_limit(min(found.grid.spacing))
    if mapped is None or not mapped.is_onto or mapped.moved_mm > limit:
        measured = mapped.moved_mm if mapped is not None and mapped.is_onto else None
        raise refuse(
            Code.OTHER_GRID,
            f"the mask “{mask.name}” ({format_shape(mask.grid.shape)} voxels) is not on the grid of image set “{image.name}” "
            f"({format_shape(found.grid.shape)} voxels)" + ("" if measured is None else f": {measured:.4g} mm apart"),
            "Export the bundle from the project the mask belongs to, or resample the mask onto that grid first.",
            where=(mask.name, image.name) if mask.name else (image.name,),
            **({} if measured is None else {"measured": measured, "limit": limit, "unit": "mm"}),
        )
    labels = found.reorder(reorder(mask.voxels.array(), mapped.matrix))
    with folder_in_place(folder) as working:
        records = [_write_label(working, n, s.name, s.colour, labels == s.number) for n, s in enumerate(mask.segments)]
        content = {"format": FORMAT, "version": VERSION, "image": _describe_image(image), "masks": records}
        (working / "import.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return found.findings


def _write_label(
    folder: Path, number: int, name: str, colour: tuple[int, int, int] | None, voxels: NDArray[np.bool_]
) -> dict[str, Any]:
    """Write the voxels of one label, and return its entry in import.json."""
    data = np.ascontiguousarray(voxels).view(np.uint8).tobytes()
    file = f"mask-{number + 1:03d}.raw.gz"
    (folder / file).write_bytes(gzip.compress(data, _GZIP_LEVEL, mtime=0))
    return {
        "name": escape_controls(name),
        "color": [c / 255 for c in colour] if colour else list(_COLOURS[number % len(_COLOURS)]),
        "file": file,
        "voxels": int(np.count_nonzero(voxels)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _describe_image(image: BundleImage) -> dict[str, Any]:
    """Return what import_masks.py compares with the open project, so that no mask is put on another image set."""
    corners = {tuple(c) for c in corner_indices(image.shape).tolist()}
    probes = zip(image.indices.tolist(), image.centres.tolist(), strict=True)
    return {
        "name": image.name,
        "guid": image.guid,
        "shape": list(image.shape),
        "probes": [[*index, *centre] for index, centre in probes if tuple(index) in corners],
    }
