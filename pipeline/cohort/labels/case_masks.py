"""List the masks of one case, each with the label that it has and the name that may be written.

Rules:
- A mask is matched by the name it has, whoever may know it; what is written of it is its public name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ...conversion.merge_products import masks_of
from ...conversion.product import Product
from ...volume.mask import Segment
from ...volume.merge import name_of
from .label_map import LabelMap, LabelMatch

Publish = Callable[[Product], Product]


def as_it_is(product: Product) -> Product:
    """Publish a product under the names that it has."""
    return product


class CaseMask(NamedTuple):
    """One ROI, segment or label of a case, and what it is.

    product: its index among the products. value: of its voxels there. name: as it is matched. number: of the ROI or segment
    in its series. public: its name as a record has it.
    """

    product: int
    value: int
    name: str
    number: int
    match: LabelMatch
    public: str


def list_masks(
    products: Sequence[Product],
    label_map: LabelMap,
    clean: Callable[[str], str] = str,
    publish: Publish = as_it_is,
) -> tuple[CaseMask, ...]:
    """List every mask of a case with its label.

    Args:
        products: masks.
        label_map: what they become.
        clean: takes identifiers of patients out of a name. A draft has names only as they are then, so what no label fits
            is looked for by that name too.
        publish: gives a product the names that may be written.

    Returns: every ROI, segment and label of the products, in their order.

    Raises: PipelineError NOT_A_MASK, and BAD_LABELS where one fits two labels.
    """
    found = []
    for n, (product, mask) in enumerate(zip(products, masks_of(products), strict=True)):
        (public,) = masks_of([publish(product)])
        for segment, shown in zip(mask.segments, public.segments, strict=True):
            name = name_of(mask, segment)
            codes = [] if segment.type is None else [f"{segment.type.scheme}:{segment.type.value}"]
            match = label_map.match(name, codes)
            if not match.way and clean(name) != name:
                match = label_map.match(clean(name), codes)
            found.append(CaseMask(n, segment.number, name, _number_of(product, segment), match, name_of(public, shown)))
    return tuple(found)


def _number_of(product: Product, segment: Segment) -> int:
    """The number of an ROI or segment in its series."""
    roi = product.extra.get("Roi")
    if isinstance(roi, Mapping):
        return int(roi["Number"])
    return segment.number if segment.source_value is None else int(segment.source_value)
