"""Make products of a series of planes: the images it holds, or the masks it is or holds.

Rules:
- A series may hold several volumes, its parts. One file holds one; volumes over time on one grid are one 4-D image.
- What one part is refused for does not keep the others from being products.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.findings import PipelineError
from ..core.policy import Policy
from ..core.unexpected import as_refusal
from ..dicom import split_volumes
from ..dicom.scan import Scan, Series
from ..dicom.split_volumes import Part
from .embedded_masks import read_masks
from .one_series import chosen_part
from .option_effects import Asked
from .product import Entry, Product, product_of_part, product_over_time
from .source import add_image_files, find_source


def products(entry: Entry, found: Scan, asked: Asked) -> list[Product | PipelineError]:
    """Read the one volume that is wanted, or all of them.

    Args:
        entry: a series of kind "image".
        found: where a source that was not given is looked for.
        asked: which part, whether image or mask, and every tolerance.

    Returns: a product per image or mask, and a refusal per part that gives none.

    Raises: PipelineError SEVERAL_VOLUMES where one file is wanted, NO_SUCH_PART; what refuses a part that is alone.
    """
    series, policy = entry.series, asked.policy
    if asked.in_one or asked.request.part is not None:
        parts = [chosen_part(series, asked.request.part)]
    else:
        parts = split_volumes.split(series.frames)
    if len(parts) == 1:
        return [*_products_of_part(series, parts[0], found, asked)]
    over_time = _over_time(series, parts, policy)
    if over_time is not None:
        return [over_time]
    made: list[Product | PipelineError] = []
    for part in parts:
        try:
            made += _products_of_part(series, part, found, asked)
        except Exception as error:
            made.append(as_refusal(error))
    return made


def names(series: Series) -> list[tuple[int, str]]:
    """Return nothing: what a series of planes holds is seen in its pixels only."""
    return []


def _products_of_part(series: Series, part: Part, found: Scan, asked: Asked) -> list[Product]:
    """Read one volume: as the image it is, or as the masks it is or holds."""
    request, policy = asked.request, asked.policy
    if policy.as_ == "image":
        return [product_of_part(series, part, policy)]
    source = clean = None
    if request.source:
        uid = series.frame_of_reference_uid
        source = find_source(found, request.source, policy, asked.looks, frame_of_reference_uid=uid)
    if request.clean:
        clean = find_source(found, request.clean, policy, asked.looks)
    masks = read_masks(series, part, asked, source=source, clean=clean)
    return [add_image_files(add_image_files(mask, "source", source), "clean", clean) for mask in masks]


def _over_time(series: Series, parts: Sequence[Part], policy: Policy) -> Product | None:
    """All parts as one 4-D image, where they are volumes over time of an image."""
    if policy.as_ != "image" or not all(part.over_time for part in parts):
        return None
    try:
        return product_over_time(series, parts, policy)
    except PipelineError:
        return None  # each part says for itself what is wrong with it
