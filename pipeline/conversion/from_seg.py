"""Make products of a DICOM SEG: its segments as masks, on the grid of their source where it is known.

Rules:
- The source is the one that is given, else the series the SEG refers to (PS3.3 C.12.4) if it was found.
- Without a source, the masks lie on the grid that their own frames span.
"""

from __future__ import annotations

from ..decode.seg import decode as seg
from ..dicom.scan import Scan, Series
from ..volume.mask import Image, Mask
from .option_effects import Asked
from .product import Entry, Product, Proof, mask_suffix, origin_of_mask
from .source import find_source, made_with


def products(entry: Entry, found: Scan, asked: Asked) -> list[Product]:
    """Decode the segments that are wanted.

    Args:
        entry: a series of kind "seg".
        found: where the source is looked for if none was given.
        asked: which segments, how they are combined, and every tolerance.

    Returns: a product per mask; overlapping segments are several masks.

    Raises: PipelineError with what `find_source` and `decode.seg` refuse.
    """
    series, policy = entry.series, asked.policy
    source = find_source(
        found,
        asked.request.source,
        policy,
        series_uids=seg.referenced_series_uids(series),
        frame_of_reference_uid=series.frame_of_reference_uid,
    )
    wanted = asked.request.wanted
    decoded = seg.decode(
        series,
        None if source is None else source.grid,
        policy=policy,
        fractional=policy.fractional,
        wanted=None if wanted is None else [int(w) if w.isdigit() else w for w in wanted],
        combine=policy.combine,
    )
    volumes: list[Mask | Image] = [*decoded.masks, *decoded.images]
    residual_mm = max(decoded.residual_mm, 0.0 if source is None else source.laid.stack.residual_mm)
    return [
        made_with(
            Product(
                volume=volume,
                series=series,
                form="fractional" if decoded.fractional else "seg",
                proof=Proof(residual_mm),
                frames=(None,) * volume.grid.shape[2] if source is None else source.laid.at_k,
                findings=decoded.findings,
                witnessed=None if source is None else source.witnessed,
                suffix=mask_suffix(volume.name, number, len(volumes)),
                extra=origin_of_mask("SEG", None if source is None else source.series.uid),
            ),
            "source",
            source,
        )
        for number, volume in enumerate(volumes, 1)
    ]


def names(series: Series) -> list[tuple[int, str]]:
    """Return number and label of every segment, as described in the file."""
    return [(segment.number, segment.name) for segment in seg.segments_of(series)]
