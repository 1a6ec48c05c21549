"""Make products of a Mimics bundle: its masks, each on the grid of its image set.

Rules:
- A bundle is a folder that `export_masks.py` wrote inside Mimics, or its `bundle.json`; it is no DICOM series.
- Its grids are those that Mimics gave voxel centres for, held against an even grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..dicom.scan import Scan, Series
from ..mimics.bundle import read_bundle
from ..mimics.grid import grid_of, masks_of
from .option_effects import Asked
from .product import Entry, Product, Proof, mask_suffix


def products(entry: Entry, found: Scan, asked: Asked) -> list[Product]:
    """Read the masks that are wanted.

    Args:
        entry: a bundle.
        found: not looked at: a bundle is complete.
        asked: which masks by name, and every tolerance.

    Returns: a product per mask.

    Raises: PipelineError NO_SUCH_SEGMENT, and what `mimics` refuses.
    """
    return masks_in(entry.path, asked.request.wanted, asked.policy)


def names(series: Series) -> list[tuple[int, str]]:
    """Return nothing: a bundle is no series, and is not listed among them."""
    return []


def masks_in(path: Path, wanted: Sequence[str] | None, policy: Policy) -> list[Product]:
    """Read the masks of one bundle.

    Args:
        path: the folder of the bundle, or its `bundle.json`.
        wanted: names of masks; all when None.
        policy: tolerances and choices.

    Returns: a product per mask.

    Raises: PipelineError NO_SUCH_SEGMENT, and what `mimics` refuses.
    """
    bundle = read_bundle(path)
    masks, findings = masks_of(bundle, units_mm_per_unit=policy.mm_per_unit, policy=policy)
    there = {mask.name for mask in masks}
    missing = [name for name in wanted or () if name not in there]
    if missing:
        raise refuse(
            Code.NO_SUCH_SEGMENT,
            f"there is no mask {', '.join(missing)} in the bundle",
            "Choose with --rois among: " + ", ".join(mask.name for mask in masks),
            where=(path.name,),
        )
    chosen = [mask for mask in masks if wanted is None or mask.name in wanted]
    folder = path if path.is_dir() else path.parent
    inputs = (folder / "bundle.json", *sorted({mask.buffer.path for mask in bundle.masks}))  # an output may lie beside
    grids = [grid_of(image, units_mm_per_unit=policy.mm_per_unit, policy=policy) for image in bundle.images]
    residual_mm = max((grid.residual_mm for grid in grids), default=0.0)
    return [
        Product(
            volume=mask,
            series=Series("", "bundle", (), ()),
            form="bundle",
            proof=Proof(residual_mm),
            frames=(None,) * mask.grid.shape[2],
            findings=findings,
            suffix=mask_suffix(mask.name, number, len(chosen)),
            inputs=inputs,
            extra={"MaskSource": f"Mimics bundle, {bundle.mimics}"},
        )
        for number, mask in enumerate(chosen, 1)
    ]
