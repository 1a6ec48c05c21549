"""Merge the products of several inputs into one mask of several labels.

Rules:
- Labels stand in the order of the inputs, then of the folders, then of series number and file name.
- What refuses one of them refuses the merge: a data set with a label missing looks complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.findings import Code, Finding, PipelineError, refuse
from ..dicom.unread_files import folder_name, place_among
from ..volume.mask import MaskVolume
from ..volume.merge import Merged, Origin, merge
from .input_folder import common_folder
from .option_effects import Asked
from .product import Product, Proof
from .products import each_product, finish_product
from .request import Progress


def merged_product(
    inputs: Sequence[Path], asked: Asked, progress: Progress, start: Callable[[Iterable[str]], None]
) -> Product:
    """Merge every mask among the inputs into one of several labels.

    Args:
        inputs: folders or files; their order is that of the labels.
        asked: what is wanted of them; `request.order` says who lies on top.
        progress: called with the stage and how much is done.
        start: as of `each_product`.

    Returns: the merged mask, on the grid they share.

    Raises: PipelineError NOT_CONVERTIBLE without a mask, SEGMENTS_OVERLAP, GRID_DIFFERS, NOT_A_MASK, BAD_LABELS, and
    whatever refuses any of them.
    """
    items = list(each_product(inputs, asked._replace(in_one=False), progress, start))  # many become one only here
    pairs: list[tuple[Product, Product]] = []  # as made, for its place among the others; and as it is merged
    for item in items:
        if isinstance(item.result, PipelineError):
            raise item.result
        pairs.append((item.result, finish_product(item.result, item.found, asked)))
    if not pairs:
        raise refuse(
            Code.NOT_CONVERTIBLE,
            "there is no mask to merge",
            "Look with verimask series.",
            where=tuple(path.name for path in inputs),
        )
    pairs.sort(key=lambda pair: (*place_among(inputs, files_of(pair[0])), *_number_and_file(pair[0])))
    return _merge([product for _, product in pairs], [origin_of(made) for made, _ in pairs], asked.request.order)


def _number_and_file(product: Product) -> tuple[bool, int, str]:
    """What masks of one folder are ordered by."""
    number = product.series.number
    return number is None, number or 0, min((path.name for path in files_of(product)), default="")


def files_of(product: Product) -> tuple[Path, ...]:
    """The files a product was made of: those of its volume where a series holds several, and never those of a source."""
    headers = {id(header): header for header in product.series.headers}
    used = dict.fromkeys(f.path for f in product.frames if f is not None and id(f.header) in headers)
    return tuple(used) or product.inputs or tuple(header.path for header in headers.values())


def origin_of(product: Product) -> Origin:
    """Where a product comes from, for its name and the record of a merge."""
    files, series = files_of(product), product.series
    file = files[0].stem if len(files) == 1 else ""
    return Origin(series.uid, series.number, series.description, folder_name(files), file)


def _merge(products: Sequence[Product], origins: Sequence[Origin], order: Sequence[str]) -> Product:
    """Merge masks on one grid. origins: of each, in the same order."""
    masks = masks_of(products)
    together = merge(masks, origins=origins, order=order, name=" ".join(m.name for m in masks)[:64])
    return combine_products(products, together.mask, together.findings, {"MergedFrom": _merged_from(together, origins)})


def masks_of(products: Sequence[Product]) -> list[MaskVolume]:
    """Return the mask of every product. Raises PipelineError NOT_A_MASK where one is an image."""
    masks = [p.volume for p in products if isinstance(p.volume, MaskVolume)]
    if len(masks) < len(products):
        raise refuse(
            Code.NOT_A_MASK,
            "an image cannot be merged with masks",
            "Leave --as image out.",
            where=tuple(p.series.title for p in products if not isinstance(p.volume, MaskVolume)),
        )
    return masks


def combine_products(
    products: Sequence[Product], mask: MaskVolume, findings: Sequence[Finding], extra: Mapping[str, Any]
) -> Product:
    """Make the product of a mask that was made of the masks of several.

    Args:
        products: on one grid; the first one's series is that of the whole.
        mask: on that grid.
        findings: about how it was made; those of all products come before them.
        extra: the blocks of its record.

    Returns: the product, proven as the worst of them is.
    """
    first = products[0]
    return replace(
        first,
        volume=mask,
        proof=_worst_proof([p.proof for p in products]),
        findings=tuple(dict.fromkeys([*(f for p in products for f in p.findings), *findings])),
        # The pixels of one export cannot confirm the labels of all; the grid they share can be.
        witnessed=None if first.witnessed is None else replace(first.witnessed, physical=None),
        mask_job=None,
        made_of=tuple(products),
        inputs=tuple(dict.fromkeys(path for p in products for path in p.inputs or (h.path for h in p.series.headers))),
        assumed=next((p.assumed for p in products if p.assumed), ""),
        further=tuple(dict.fromkeys(file for p in products for file in p.further)),
        extra=extra,
        folder=common_folder([p.folder for p in products]),
    )


def _merged_from(together: Merged, origins: Sequence[Origin]) -> list[dict[str, Any]]:
    """Every series of a merge, in the order of its labels, and the labels that came from it."""
    labels: dict[Origin, list[dict[str, Any]]] = {origin: [] for origin in origins}
    for segment, source in zip(together.mask.segments, together.source, strict=True):
        labels[origins[source]].append({"Value": segment.number, "Name": segment.name})
    return [
        {
            "SeriesInstanceUID": origin.uid or None,
            "SeriesNumber": origin.number,
            "SeriesDescription": origin.description or None,
            "Folder": origin.folder,
            "Labels": given,
        }
        for origin, given in labels.items()
    ]


def _worst_proof(proofs: Sequence[Proof]) -> Proof:
    worst = max(proofs, key=lambda proof: proof.worst_mm)
    return worst.add_travel(0.0) if any(proof.travelled_mm is not None for proof in proofs) else worst
