"""Lay a mask that has a grid of its own (planes, a bundle) on the grid of the image among the inputs that it lies on.

Rules:
- The image is found as `source_choice` says; of several, the one on whose voxels the mask lies counts, and several with one
  and the same grid are one choice. A series of labels is no image, however its planes lie.
- Where none fits, or several do, the mask stays on its own grid, with a warning: nothing was given that could be refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.findings import Code, Finding, PipelineError, Severity
from ..dicom.scan import Scan, Series
from .mask_references import references_of
from .option_effects import Asked
from .product import Entry, Product
from .source import Source, add_image_files, lay_source, move_product
from .source_choice import choose_source
from .unwritten_images import shows_grey_values


def move_onto_partner(product: Product, found: Scan, asked: Asked) -> Product:
    """Lay a mask on the grid of its image, so that both files have one header.

    Args:
        product: a mask on a grid of its own.
        found: the series among which its image is looked for.
        asked: every tolerance.

    Returns: the mask on that grid, with the image named; as it is, with a warning, where no image was found to fit.
    """
    candidates = _candidates(product, found, asked)
    if not candidates:
        return product
    moved: list[tuple[Source, Product]] = []
    refusals: list[PipelineError] = []
    for series in candidates:
        try:
            source = lay_source(found, series, asked.policy, asked.looks)
            moved.append((source, move_product(product, source, asked.policy)))
        except PipelineError as error:
            refusals.append(error)
    if not moved:
        return _keep(product, candidates, refusals[0].finding.message)
    first = moved[0][0]
    if not all(_is_same_grid(first, source) for source, _ in moved):
        return _keep(product, [source.series for source, _ in moved], "it lies on the voxels of each of them")
    return add_image_files(_report(moved[0][1], first), "source", first)


def _candidates(product: Product, found: Scan, asked: Asked) -> list[Series]:
    """The image series that the mask may lie on, each once."""
    own = {id(header) for header in product.series.headers}
    images = [s for s in found.series if s.kind == "image" and not own & {id(header) for header in s.headers}]
    path = product.inputs[0] if product.form == "bundle" else None
    entry = Entry("", product.series) if path is None else Entry("", product.series, path)
    chosen: dict[Series, None] = {}
    for references in asked.looks.once(references_of, entry):
        chosen |= dict.fromkeys(choose_source(images, references).candidates)
    return [series for series in chosen if asked.looks.once(shows_grey_values, series, asked.policy)]


def _is_same_grid(one: Source, other: Source) -> bool:
    return one.grid.shape == other.grid.shape and bool((one.grid.lps == other.grid.lps).all())


def _report(product: Product, source: Source) -> Product:
    message = f"{source.series.title} was taken as the image that the mask lies on, and the mask was laid on its grid"
    finding = Finding(Code.SOURCE_CHOSEN, message, severity=Severity.INFO, where=(source.series.uid,))
    return replace(product, findings=(*product.findings, finding))


def _keep(product: Product, images: Sequence[Series], why: str) -> Product:
    titles = ", ".join(series.title for series in images)
    finding = Finding(
        Code.OFF_SOURCE_GRID,
        f"the mask was left on its own grid, and has not that of {titles}: {why}",
        "Give its image with --source.",
        Severity.WARNING,
        where=tuple(series.uid for series in images),
    )
    return replace(product, findings=(*product.findings, finding))
