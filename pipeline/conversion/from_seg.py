"""Make products of a DICOM SEG: its segments as masks, on the grid of their source where it is known.

Rules:
- `seg_sources` says which images each segment lies on; without any, the masks lie on the grid that their own frames span.
- Frames that do not lie on the source's grid are resampled onto it where that was asked for. Else they are refused where the
  source was given, and stay on their own grid, with a warning, where it was only found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..crosscheck.testimony import MaskJob
from ..decode.seg import decode as seg
from ..decode.seg.decode import DecodedSeg, ShownSegments
from ..decode.seg.segment_table import SegmentTable, read_table
from ..decode.seg.source_images import SourceImages
from ..dicom.scan import Scan, Series
from ..volume.mask import ImageVolume, MaskVolume
from .option_effects import Asked
from .product import Entry, Product, Proof, mask_suffix, origin_of_mask
from .seg_sources import SegPart, parts_by_source
from .source import Source, add_image_files, move_product


def products(entry: Entry, found: Scan, asked: Asked) -> list[Product | PipelineError]:
    """Decode the segments that are wanted.

    Args:
        entry: a series of kind "seg".
        found: where the source is looked for if none was given.
        asked: which segments, how they are combined, and every tolerance.

    Returns: a product per mask; overlapping segments are several masks. Where segments lie on several sources, what
        refuses those on one of them keeps no others from being made.

    Raises: PipelineError with what `parts_by_source` and `decode.seg` refuse.
    """
    seg.refuse_unknown(_wanted(asked), entry.series, seg.segments_of(entry.series, _reader(asked)))
    parts = parts_by_source(entry.series, found, asked)
    parts = [part for part in parts if _wanted_of(part, asked) != []] or parts[:1]
    if asked.policy.combine == "merge" and len(parts) > 1:
        raise _on_several_sources(entry.series, parts)
    made: list[Product] = []
    refusals: list[PipelineError] = []
    for part in parts:
        try:
            made += _products_of_part(part, asked)
        except PipelineError as error:
            if len(parts) == 1:
                raise
            refusals.append(error)
    count = len(made)
    named = [replace(one, suffix=mask_suffix(one.volume.name, n, count)) for n, one in enumerate(made, 1)]
    return [*named, *refusals]


def _on_several_sources(series: Series, parts: Sequence[SegPart]) -> PipelineError:
    titles = [part.source.series.title if part.source else "their own grid" for part in parts]
    return refuse(
        Code.GRID_DIFFERS,
        f"the segments of {series.title} lie on {len(parts)} grids ({', '.join(titles)}): they cannot be one file",
        "Leave --combine merge out for a file on each, or choose those on one with --rois.",
        where=(series.uid,),
    )


def names(series: Series) -> list[tuple[int, str]]:
    """Return number and label of every segment, as described in the file."""
    return [(segment.number, segment.name) for segment in seg.segments_of(series)]


def _reader(asked: Asked) -> Callable[[Path], SegmentTable]:
    """Return what reads the table of a file once in a run."""
    return lambda path: asked.looks.once(read_table, path)


def _wanted(asked: Asked) -> list[int | str] | None:
    wanted = asked.request.wanted
    return None if wanted is None else [int(w) if w.isdigit() else w for w in wanted]


def _wanted_of(part: SegPart, asked: Asked) -> list[int | str] | None:
    """Return what is wanted of a part, so that segments that other parts show are not called empty here.

    All is wanted of a part whose frames show a segment that the table does not describe: it has no other name.
    """
    wanted = _wanted(asked)
    if part.numbers is None:
        return wanted
    shown = [
        segment for segment in seg.segments_of(part.series, _reader(asked)) if segment.source_value in part.numbers
    ]
    if wanted is None and len(shown) < len(part.numbers):
        return None
    return [s.number for s in shown if wanted is None or s.number in wanted or s.name in wanted]


def _products_of_part(part: SegPart, asked: Asked) -> list[Product]:
    """Decode one part on the grid of its source; where its frames do not lie on it, as the policy and the user say."""
    source = part.source
    if source is None:
        return _as_products(part, asked, _decode(part, asked, None), None)
    try:
        return _as_products(part, asked, _decode(part, asked, source, on_source=True), source)
    except PipelineError as error:
        if error.finding.code is not Code.OFF_SOURCE_GRID:
            raise
        return _off_source(part, source, asked, error)


def _off_source(part: SegPart, source: Source, asked: Asked, why: PipelineError) -> list[Product]:
    """Decode frames that do not lie on their source's grid on their own, and move them onto it where that can be done."""
    resamples = asked.policy.resample == "nearest"
    if (
        resamples and asked.policy.on_tilt == "resample"
    ):  # that is for the images; frames that lean are taken from where they lie
        asked = asked._replace(policy=replace(asked.policy, on_tilt="shear"))
    try:
        own = _as_products(part, asked, _decode(part, asked, source), None)
        moved = [move_product(product, source, asked.policy) for product in own]
    except PipelineError as error:
        if resamples or (asked.request.source and error.finding.code is Code.OUTSIDE_SOURCE):
            raise
        if asked.request.source or error.finding.code not in (Code.OFF_SOURCE_GRID, Code.OUTSIDE_SOURCE):
            raise why from error
        return [replace(product, findings=(*product.findings, _stays(why))) for product in own]
    moved = [_on_planes_of(source, replace(product, findings=_without_tilt(product.findings))) for product in moved]
    return [add_image_files(product, "source", source) for product in moved]


def _on_planes_of(source: Source, product: Product) -> Product:
    """Show the readers of masks the planes that a mask was taken to in whole voxels."""
    job = product.mask_job
    if job is None:
        return product
    files, frame_numbers = _planes_of(source)
    return replace(product, mask_job=replace(job, files=files, frame_numbers=frame_numbers))


def _planes_of(source: Source | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the files and frame numbers of the planes of a source; none where a mask spans its own grid."""
    frames = () if source is None else source.laid_frames.frames
    return tuple(os.path.abspath(f.path) for f in frames), tuple(f.number for f in frames)


def _make_mask_job(
    part: SegPart, asked: Asked, shown: ShownSegments | None, source: Source | None, form: str
) -> MaskJob | None:
    """Make what readers of masks are given of a part.

    Returns: None for what no reader can be asked about: an instance without frames, and some frames of one on their own grid.
    """
    if shown is None or (source is None and part.numbers is not None):
        return None
    files, frame_numbers = _planes_of(source)
    options = {"fractional": asked.policy.fractional}
    return MaskJob(form, (os.path.abspath(shown.path),), (), files, frame_numbers, shown.numbers, options)


def _without_tilt(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Leave out that the frames' own grid leans: another one is written."""
    return tuple(finding for finding in findings if finding.code is not Code.SHEAR_KEPT)


def _stays(why: PipelineError) -> Finding:
    hint = "Give the images with --source and --resample nearest to have the nearest voxels on their grid."
    words = f"{why.finding.message}; it was written on the grid of its own frames"
    return replace(why.finding, message=words, hint=hint, severity=Severity.WARNING)


def _decode(part: SegPart, asked: Asked, source: Source | None, *, on_source: bool = False) -> DecodedSeg:
    """Decode a part, held against its source; on the source's grid where that is wanted."""
    policy = asked.policy
    return seg.decode(
        part.series,
        source.grid if source is not None and on_source else None,
        policy=policy,
        fractional=policy.fractional,
        wanted=_wanted_of(part, asked),
        combine=policy.combine,
        images=None if source is None else SourceImages(source.laid_frames.frames, source.series.uid, part.named),
        read=_reader(asked),
    )


def _as_products(part: SegPart, asked: Asked, decoded: DecodedSeg, source: Source | None) -> list[Product]:
    """Make products of decoded masks. source: whose grid they lie on."""
    volumes: Sequence[MaskVolume | ImageVolume] = [*decoded.masks, *decoded.images]
    form = "fractional" if decoded.fractional else "seg"
    residual_mm = max(decoded.residual_mm, 0.0 if source is None else source.laid_frames.stack.residual_mm)
    made = [
        Product(
            volume=volume,
            series=part.series,
            form=form,
            proof=Proof(residual_mm),
            frames=(None,) * volume.grid.shape[2] if source is None else source.laid_frames.at_k,
            findings=(*part.findings, *decoded.findings),
            witnessed=None if source is None else source.witnessed,
            extra=origin_of_mask("SEG", None if source is None else source.series.uid),
            evidence=decoded.evidence,
            mask_job=_make_mask_job(part, asked, shown, source, form),
        )
        for volume, shown in zip_longest(volumes, decoded.shown)
    ]
    return [add_image_files(product, "source", source) for product in made]
