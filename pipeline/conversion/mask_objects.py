"""Masks that are not a series of planes: DICOM SEG, RT structure sets and Mimics bundles, each as products.

Rules:
- The decoders know the formats; here their masks get their proof, their origin and their place in the record.
- An ROI that cannot be filled is an error among the findings while the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..decode.rtstruct import decode as rtstruct
from ..decode.rtstruct import structure_set
from ..decode.seg import decode as seg
from ..dicom.frame import Frame
from ..dicom.scan import Series
from ..dicom.unread_files import folder_name
from ..geometry.grid import Grid
from ..mimics.bundle import read_bundle
from ..mimics.grid import grid_of, masks_of
from ..volume.mask import Image, Mask
from ..volume.merge import Merged, Origin, merge
from .file_names import safe
from .product import Product, Proof
from .source import Source


def of_seg(series: Series, source: Source | None, wanted: Sequence[str] | None, policy: Policy) -> list[Product]:
    """The masks of a SEG series, on the source's grid or on the one its frames span."""
    numbers = None if wanted is None else [int(w) if w.isdigit() else w for w in wanted]
    decoded = seg.decode(
        series,
        None if source is None else source.grid,
        policy=policy,
        fractional=policy.fractional,
        wanted=numbers,
        combine=policy.combine,
    )
    volumes: list[Mask | Image] = [*decoded.masks, *decoded.images]
    residual = max(decoded.residual_mm, 0.0 if source is None else source.laid.stack.residual_mm)
    return [
        Product(
            volume=volume,
            series=series,
            form="fractional" if decoded.fractional else "seg",
            proof=Proof(residual),
            frames=_frames(volume.grid, source),
            findings=decoded.findings,
            witnessed=None if source is None else source.witnessed,
            suffix=_suffix(volume.name, number, len(volumes)),
            extra=_origin("SEG", source),
        )
        for number, volume in enumerate(volumes, 1)
    ]


def of_rtstruct(series: Series, source: Source | None, wanted: Sequence[str] | None, policy: Policy) -> list[Product]:
    """One mask an ROI, filled on the source's grid. Raises NO_SOURCE without one."""
    if source is None:
        raise refuse(
            Code.NO_SOURCE,
            f"{series.title} is a structure set: contours, which need the images they were drawn on",
            "Give their folder with --source, or put it among the inputs.",
            where=tuple(structure_set.referenced_series_uids(series)),
            clause="PS3.3 C.8.8.6",
        )
    decoded = rtstruct.decode(
        series,
        source.grid,
        policy=policy,
        wanted=wanted,
        interpolate=policy.interpolate,
        image_uids=source.image_uids,
    )
    return [
        Product(
            volume=mask,
            series=series,
            form="rtstruct",
            proof=Proof.of(source.laid.stack),
            frames=source.laid.at_k,
            findings=tuple(decoded.findings),
            witnessed=source.witnessed,
            suffix=_suffix(mask.name, number, len(decoded.masks)),
            extra={**_origin("RTSTRUCT", source), "Roi": report.as_json()},
        )
        for number, (mask, report) in enumerate(zip(decoded.masks, decoded.reports, strict=True), 1)
    ]


def of_bundle(path: Path, wanted: Sequence[str] | None, policy: Policy) -> list[Product]:
    """The masks of a Mimics bundle, on the grids of their image sets."""
    bundle = read_bundle(path)
    masks, findings = masks_of(bundle, units_mm_per_unit=policy.mm_per_unit, policy=policy)
    chosen = [m for m in masks if wanted is None or m.name in wanted]
    missing = [w for w in wanted or () if w not in {m.name for m in masks}]
    if missing:
        raise refuse(
            Code.NO_SUCH_SEGMENT,
            f"there is no mask {', '.join(missing)} in the bundle",
            "There are: " + ", ".join(m.name for m in masks),
        )
    folder = path if path.is_dir() else path.parent
    inputs = (folder / "bundle.json", *sorted({mask.buffer.path for mask in bundle.masks}))  # an output may lie beside
    series = Series("", "other", (), ())
    worst = max(
        (grid_of(i, units_mm_per_unit=policy.mm_per_unit, policy=policy).residual_mm for i in bundle.images),
        default=0.0,
    )
    return [
        Product(
            volume=mask,
            series=series,
            form="bundle",
            proof=Proof(worst),
            frames=(None,) * mask.grid.shape[2],
            findings=findings,
            suffix=_suffix(mask.name, number, len(chosen)),
            inputs=inputs,
            extra={"MaskSource": f"Mimics bundle, {bundle.mimics}"},
        )
        for number, mask in enumerate(chosen, 1)
    ]


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


def merged(products: Sequence[Product], origins: Sequence[Origin], order: Sequence[str]) -> Product:
    """Masks on one grid as one mask of several labels; origins: of each.

    Raises SEGMENTS_OVERLAP, GRID_DIFFERS, NOT_A_MASK, BAD_LABELS.
    """
    masks = [p.volume for p in products if isinstance(p.volume, Mask)]
    if len(masks) < len(products):
        raise refuse(Code.NOT_A_MASK, "an image cannot be merged with masks", "Leave --as image out.")
    together = merge(masks, origins=origins, order=order, name=" ".join(m.name for m in masks)[:64])
    first = products[0]
    return replace(
        first,
        volume=together.mask,
        proof=_worst_proof([p.proof for p in products]),
        findings=(*dict.fromkeys(f for p in products for f in p.findings), *together.findings),
        # The pixels of one export cannot confirm the labels of all; the grid they share can be.
        witnessed=None if first.witnessed is None else replace(first.witnessed, physical=None),
        inputs=tuple(dict.fromkeys(path for p in products for path in p.inputs or (h.path for h in p.series.headers))),
        assumed=next((p.assumed for p in products if p.assumed), ""),
        further=tuple(dict.fromkeys(file for p in products for file in p.further)),
        extra={"MergedFrom": _merged_from(together, origins)},
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


def _frames(grid: Grid, source: Source | None) -> tuple[Frame | None, ...]:
    return (None,) * grid.shape[2] if source is None else source.laid.at_k


def _suffix(name: str, number: int, of: int) -> str:
    return f"seg-{safe(name) or number}" if of > 1 or name else ""


def _origin(kind: str, source: Source | None) -> dict[str, Any]:
    return {"MaskSource": kind} | ({} if source is None else {"SourceSeriesInstanceUID": source.series.uid})
