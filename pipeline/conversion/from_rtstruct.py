"""Make products of an RT structure set: each ROI as a mask, filled on the grid of the images it was drawn on.

Rules:
- The source is the one that is given, else the series or images the structure set refers to (PS3.3 C.8.8.5), if found.
- Contours without images have no voxels: without a source nothing is made.
- An ROI that cannot be filled is an error among the findings while the others go on.
"""

from __future__ import annotations

from ..core.findings import Code, refuse
from ..decode.rtstruct import decode as rtstruct
from ..decode.rtstruct import structure_set
from ..dicom.scan import Scan, Series
from .option_effects import Asked
from .product import Entry, Product, Proof, mask_suffix, origin_of_mask
from .source import find_source, made_with


def products(entry: Entry, found: Scan, asked: Asked) -> list[Product]:
    """Fill the ROIs that are wanted.

    Args:
        entry: a series of kind "rtstruct".
        found: where the source is looked for if none was given.
        asked: which ROIs, whether to interpolate between contours, and every tolerance.

    Returns: a product per ROI that could be filled.

    Raises: PipelineError NO_SOURCE, and what `find_source` and `decode.rtstruct` refuse.
    """
    series, policy = entry.series, asked.policy
    source = find_source(
        found,
        asked.request.source,
        policy,
        series_uids=structure_set.referenced_series_uids(series),
        image_uids=structure_set.referenced_image_uids(series),
    )
    if source is None:
        raise refuse(
            Code.NO_SOURCE,
            f"{series.title} is a structure set: contours, which need the images they were drawn on",
            "Give their folder with --source, or put it among the inputs.",
            where=tuple(structure_set.referenced_series_uids(series)) or (series.uid,),
            clause="PS3.3 C.8.8.6",
        )
    decoded = rtstruct.decode(
        series,
        source.grid,
        policy=policy,
        wanted=asked.request.wanted,
        interpolate=policy.interpolate,
        image_uids=source.image_uids,
    )
    return [
        made_with(
            Product(
                volume=mask,
                series=series,
                form="rtstruct",
                proof=Proof.of(source.laid.stack),
                frames=source.laid.at_k,
                findings=tuple(decoded.findings),
                witnessed=source.witnessed,
                suffix=mask_suffix(mask.name, number, len(decoded.masks)),
                extra={**origin_of_mask("RTSTRUCT", source.series.uid), "Roi": report.as_json()},
            ),
            "source",
            source,
        )
        for number, (mask, report) in enumerate(zip(decoded.masks, decoded.reports, strict=True), 1)
    ]


def names(series: Series) -> list[tuple[int, str]]:
    """Return number and name of every ROI."""
    return [(roi.number, roi.name) for roi in structure_set.rois(series)]
