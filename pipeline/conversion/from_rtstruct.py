"""Make products of an RT structure set: each ROI as a mask, filled on the grid of the images it was drawn on.

Rules:
- The source of an ROI is the one that is given, else the series or images that the ROI refers to (PS3.3 C.8.8.5), if found;
  see `roi_sources`. Where the ROIs lie on several series, each file is named after its own.
- Contours without images have no voxels: without a source nothing is made.
- An ROI that cannot be filled is an error among the findings while the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..crosscheck.testimony import MaskJob
from ..decode.rtstruct import decode as rtstruct
from ..decode.rtstruct import structure_set
from ..decode.rtstruct.decode import DecodedRois
from ..decode.rtstruct.structure_set import StructureSet
from ..dicom.scan import Scan, Series
from .file_names import file_names
from .option_effects import Asked
from .product import Entry, Product, Proof, mask_suffix, origin_of_mask
from .roi_sources import grid_sources
from .source import Source, add_image_files


class _Filled(NamedTuple):
    """The ROIs of one source. name: of the source for a file, "" where it is the only one."""

    source: Source
    decoded: DecodedRois
    name: str


def products(entry: Entry, found: Scan, asked: Asked) -> list[Product]:
    """Fill the ROIs that are wanted.

    Args:
        entry: a series of kind "rtstruct".
        found: where the source is looked for if none was given.
        asked: which ROIs, whether to interpolate between contours, and every tolerance.

    Returns: a product per ROI that could be filled.

    Raises: PipelineError NO_SOURCE, and what refuses the first ROI where none is left.
    """
    series, policy = entry.series, asked.policy
    given = asked.request.source
    structure = structure_set.read_one(series)
    chosen = rtstruct.choose_rois(structure, asked.request.wanted)
    sources = grid_sources(structure, chosen.rois, found, asked)
    if not sources.series and chosen.rois and not given:
        raise _no_source(series, structure, sources.findings if sources.images else ())
    filled: list[_Filled] = []
    called = file_names(sources.series, policy)
    names = dict(zip(sources.series, called, strict=True)) if len(sources.series) > 1 else {}
    for source, rois in sources.gridded:
        relations = sources.relations
        decoded = rtstruct.fill_rois(rois, source.grid, policy, image_uids=source.image_uids, relations=relations)
        filled.append(_Filled(source, decoded, names.get(source.series, "")))
    findings = [*chosen.findings, *sources.findings]
    return _as_products(series, filled, findings, policy)


def names(series: Series) -> list[tuple[int, str]]:
    """Return number and name of every ROI."""
    return [(roi.number, roi.name) for roi in structure_set.rois(series)]


def _as_products(
    series: Series, filled: Sequence[_Filled], findings: Sequence[Finding], policy: Policy
) -> list[Product]:
    """Make a product of each mask. findings: of all ROIs; what refuses one stands in the records of the others."""
    errors = [f for one in filled for f in one.decoded.findings if f.severity is Severity.ERROR]
    count = sum(len(one.decoded.masks) for one in filled)
    made: list[Product] = []
    for source, decoded, name in filled:
        job = _mask_job(series, source, policy)
        of_all = [*findings, *errors, *decoded.of_all]
        for mask, report, own in zip(decoded.masks, decoded.reports, decoded.own, strict=True):
            suffix = mask_suffix(mask.name, len(made) + 1, count)
            product = Product(
                volume=mask,
                series=series,
                form="rtstruct",
                proof=Proof.of(source.laid_frames.stack),
                frames=source.laid_frames.at_k,
                findings=tuple(dict.fromkeys([*of_all, *own])),
                witnessed=source.witnessed,
                suffix=f"{suffix}_on-{name}" if name else suffix,
                extra={**origin_of_mask("RTSTRUCT", source.series.uid), "Roi": report.as_json()},
                mask_job=job and replace(job, labels=((report.number, 1),)),
            )
            made.append(add_image_files(product, "source", source))
    if not made:
        raise rtstruct.no_mask(series, [*findings, *(f for one in filled for f in one.decoded.findings)])
    return made


def _mask_job(series: Series, source: Source, policy: Policy) -> MaskJob | None:
    """Say what a reader of masks is shown, but for the ROI; None where the grid is not that of the source's planes alone."""
    witnessed = source.witnessed
    if witnessed is None or source.laid_frames.assumed:
        return None
    limit_mm = policy.corner_limit(min(source.grid.spacing))
    return MaskJob(
        form="rtstruct",
        mask_files=tuple(os.path.abspath(header.path) for header in series.headers),
        files=tuple(os.path.abspath(frame.path) for frame in witnessed.frames),
        frame_numbers=tuple(frame.number for frame in witnessed.frames),
        options={"limit_mm": limit_mm, "interpolate": policy.interpolate},
    )


def _no_source(series: Series, structure: StructureSet, findings: Sequence[Finding]) -> PipelineError:
    error = refuse(
        Code.NO_SOURCE,
        f"{series.title} is a structure set: contours, which need the images they were drawn on",
        "Give their folder with --source, or put it among the inputs.",
        where=structure_set.referenced_series_uids(structure) or (series.uid,),
        clause="PS3.3 C.8.8.6",
    )
    return PipelineError(error.finding, tuple(findings))
