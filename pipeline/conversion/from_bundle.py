"""Make products of a Mimics bundle: its masks, each on the grid of its image set.

Rules:
- A bundle is a folder that `export_masks.py` wrote inside Mimics, or its `bundle.json`; it is no DICOM series.
- Its grids are those that Mimics gave voxel centres for, held against an even grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..core.findings import Code, PipelineError, refuse
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..dicom.scan import Scan, Series
from ..mimics.bundle import Bundle, BundleImage, read_bundle
from ..mimics.grid import fit_grid, make_masks
from .option_effects import Asked
from .product import Entry, Product, Proof, mask_suffix


def products(entry: Entry, found: Scan, asked: Asked) -> list[Product | PipelineError]:
    """Read the masks that are wanted.

    Args:
        entry: a bundle.
        found: not looked at: a bundle is complete.
        asked: which masks by name, and every tolerance.

    Returns: a product per mask, and a refusal for each image set that has no grid: it takes its own masks out, no others.

    Raises: PipelineError NO_SUCH_SEGMENT, and what a bundle is refused for.
    """
    return _on_each_image(_with_masks(read_bundle(entry.path), asked.request.wanted), asked.policy)


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
    made: list[Product] = []
    for result in _on_each_image(_with_masks(read_bundle(path), wanted), policy):
        if isinstance(result, PipelineError):
            raise result
        made.append(result)
    return made


def _with_masks(bundle: Bundle, wanted: Sequence[str] | None) -> Bundle:
    """Return the bundle with the masks that are wanted only."""
    missing = [name for name in wanted or () if name not in {mask.name for mask in bundle.masks}]
    if missing:
        raise refuse(
            Code.NO_SUCH_SEGMENT,
            f"there is no mask {', '.join(missing)} in the bundle",
            "Choose with --rois among: " + ", ".join(escape_controls(mask.name) for mask in bundle.masks),
            where=(bundle.path.name,),
        )
    return replace(bundle, masks=tuple(mask for mask in bundle.masks if wanted is None or mask.name in wanted))


def _on_each_image(bundle: Bundle, policy: Policy) -> list[Product | PipelineError]:
    """Make the products of the masks of each image set, in the order of the bundle's image sets."""
    results: list[Product | PipelineError] = []
    for image in bundle.images:
        try:
            results += _on_one_image(bundle, image, policy)
        except PipelineError as error:
            results.append(error)
    return results


def _on_one_image(bundle: Bundle, image: BundleImage, policy: Policy) -> list[Product]:
    """Make the products of the masks that belong to one image set. Raises what refuses its grid."""
    numbers = [number for number, mask in enumerate(bundle.masks, 1) if mask.image is image]
    if not numbers:
        return []
    part = replace(bundle, masks=tuple(bundle.masks[number - 1] for number in numbers))
    fitted = fit_grid(image, units_mm_per_unit=policy.mm_per_unit, policy=policy)
    masks, findings = make_masks(part, policy=policy, fitted={image.number: fitted})
    inputs = (bundle.path / "bundle.json", *sorted({mask.buffer.path for mask in bundle.masks}))
    return [
        Product(
            volume=mask,
            series=Series("", "bundle", (), ()),
            form="bundle",
            proof=Proof(fitted.residual_mm),
            frames=(None,) * mask.grid.shape[2],
            findings=findings,
            suffix=mask_suffix(mask.name, number, len(bundle.masks)),
            inputs=inputs,  # an output may lie beside them
            extra={"MaskSource": f"Mimics bundle, {bundle.mimics}"},
        )
        for number, mask in zip(numbers, masks, strict=True)
    ]
