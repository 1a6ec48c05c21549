"""The images a mask was drawn on, and the mask on their grid.

Rules:
- A source is named by the mask (Referenced Series UID), by its Frame of Reference, or by being the only one given.
- A mask goes onto the source's grid in whole voxels within the corner limit: planes are placed and empty ones added.
  Anything else is refused with the distance in words, unless resampling to the nearest voxel was asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..core.findings import Code, Finding, Severity, refuse
from ..core.policy import Policy
from ..decode.image import decode_image
from ..dicom import split_volumes
from ..dicom.scan import Scan, Series, left_out_beside, scan, table
from ..geometry.grid import Grid
from ..geometry.index_map import IndexMap, find_index_map
from ..stacking.stack_frames import Laid, lay
from ..volume import regrid
from ..volume.mask import Mask
from ..volume.nearest import take_nearest
from .product import Product, Witnessed


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An image series laid on its grid. doubts: what was left out of it by choice, and may be a plane."""

    series: Series
    laid: Laid
    doubts: tuple[Finding, ...] = ()

    @property
    def grid(self) -> Grid:
        return self.laid.grid

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its series."""
        return tuple(header.path for header in self.series.headers)

    @property
    def image_uids(self) -> tuple[str, ...]:
        """SOP Instance UID of the plane at every k, "" where there is none."""
        return tuple("" if f is None else f.sop_instance_uid for f in self.laid.at_k)

    @property
    def witnessed(self) -> Witnessed | None:
        return Witnessed(self.laid.frames, self.laid.stack, None, of_source=True) if self.laid.whole else None


def find_source(
    found: Scan,
    given: Sequence[Path],
    policy: Policy,
    *,
    series_uids: Collection[str] = (),
    image_uids: Collection[str] = (),
    frame_of_reference_uid: str = "",
) -> Source | None:
    """The source among `given` (folders or files), or, named by the mask, among the series found with it; None if none.

    Raises SEVERAL_SERIES where several could be it, NO_SOURCE where `given` holds none, CORRUPT_FILE or FILE_UNREAD where
    a plane of it may be lost.
    """
    looked_at = scan(given) if given else found
    among = looked_at.series
    images = [s for s in among if s.kind == "image"]
    named = [s for s in images if s.uid in series_uids]
    named = named or [s for s in images if any(f.sop_instance_uid in image_uids for f in s.frames)]
    if not named and given:
        framed = [s for s in images if frame_of_reference_uid and s.frame_of_reference_uid == frame_of_reference_uid]
        named = framed or images
        if not images:
            raise refuse(
                Code.NO_SOURCE,
                "there is no image series among what --source names",
                "Give the folder of the images the mask was drawn on.\n" + table(among),
            )
    if not named:
        return None
    if len(named) > 1:
        raise refuse(
            Code.SEVERAL_SERIES,
            f"{len(named)} series could be the source of this mask",
            "Give --source the folder of just one:\n" + table(named),
        )
    doubts = tuple(f for f in left_out_beside(looked_at, named[0], policy) if f.leaves_doubt)
    return Source(named[0], _laid(named[0], policy), doubts)


def mask_on(mask: Mask, source: Source, policy: Policy) -> Mask:
    """A mask on the grid of its source, with the source's Frame of Reference where it names none. Raises as `place_on`."""
    return _moved(mask, source, policy)[0]


def place_on(product: Product, source: Source, policy: Policy) -> Product:
    """A product's mask on the grid of its source. Raises FRAME_OF_REFERENCE_DIFFERS, OFF_SOURCE_GRID, OUTSIDE_SOURCE."""
    assert isinstance(product.volume, Mask)
    mask, moved, found = _moved(product.volume, source, policy)
    resampled = any(f.code is Code.RESAMPLED for f in found)
    grid_planes = source.grid.shape[2]
    extra: dict[str, Any] = {"SourceSeriesInstanceUID": source.series.uid, "MovedToSourceMm": moved}
    proof = replace(product.proof, residual_mm=max(product.proof.residual_mm, source.laid.stack.residual_mm))
    return replace(
        product,
        volume=mask,
        proof=proof.add_travel(moved) if resampled else proof,
        # Planes that were paired one by one keep saying with which; others stand on the source's planes.
        frames=product.frames if product.assumed and len(product.frames) == grid_planes else source.laid.at_k,
        findings=(*product.findings, *found),
        witnessed=None if resampled else product.witnessed or source.witnessed,
        extra={**product.extra, **extra},
    )


def made_with(product: Product, role: str, image: Source | None) -> Product:
    """A product that names the files of an image that had a part in it, "source" or "clean", and what is doubtful of it."""
    if image is None:
        return product
    files = [(role, path) for path in image.files]
    return replace(
        product,
        further=tuple(dict.fromkeys([*product.further, *files])),
        findings=tuple(dict.fromkeys([*image.doubts, *product.findings])),
    )


def with_grey_values(product: Product, source: Source) -> Product:
    """What the source shows under a mask and under its seven mirror images: a hint that it may be flipped, no verdict."""
    assert isinstance(product.volume, Mask)
    from ..volume.mirror_check import sanity

    decoded = decode_image(source.laid.frames)
    image = source.laid.place(decoded.voxels, decoded.padding)
    seen = sanity(product.volume.voxels, image)
    if seen is None:
        return product
    hint = [Finding(Code.GREY_VALUES, seen.hint, severity=Severity.INFO)] if seen.hint else []
    rows = [asdict(row) for row in (seen.own, *seen.mirrored)]
    return replace(product, findings=(*product.findings, *hint), extra={**product.extra, "GreyValues": rows})


def _moved(mask: Mask, source: Source, policy: Policy) -> tuple[Mask, float, list[Finding]]:
    grid = source.grid
    findings = _frames_of_reference(mask.grid, grid)
    limit = policy.corner_limit(min(grid.spacing))
    fit = find_index_map(mask.grid.lps, mask.grid.shape, grid.lps, grid.shape)
    if fit is not None and fit.moved_mm <= limit:
        outside = 0 if fit.is_inside else regrid.lost(mask.voxels, fit.matrix, grid.shape)
        if outside:
            raise refuse(
                Code.OUTSIDE_SOURCE,
                f"{outside} voxels of the mask lie outside of the source images",
                "Are these the images it was drawn on? " + _apart(mask.grid, grid),
                measured=outside,
                limit=0,
                unit="voxels",
            )
        voxels, moved = regrid.onto(mask.voxels, fit.matrix, grid.shape), fit.moved_mm
    elif policy.resample == "nearest":
        nearest = take_nearest(mask, grid, "the source images")
        return nearest.mask, nearest.moved_mm, [*findings, *nearest.findings]
    else:
        raise _off_grid(fit, mask.grid, grid, limit)
    return Mask(voxels, grid, mask.segments, mask.name), moved, findings


def _laid(series: Series, policy: Policy) -> Laid:
    volumes = split_volumes.split(series.frames)
    if len(volumes) > 1:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"the source, {series.title}, holds {len(volumes)} volumes, and a mask lies on one",
            "Give --source only the files of the one:\n" + split_volumes.table(volumes),
        )
    return lay(series.frames, replace(policy, as_="image"), series.title)


def _frames_of_reference(mask: Grid, source: Grid) -> list[Finding]:
    ours, theirs = mask.frame_of_reference_uid, source.frame_of_reference_uid
    if ours and theirs and ours != theirs:
        raise refuse(
            Code.FRAME_OF_REFERENCE_DIFFERS,
            "the mask and the source images are in different Frames of Reference: their coordinates do not compare",
            "Give --source the series the mask was drawn on.",
            where=(ours, theirs),
            clause="PS3.3 C.7.4.1",
        )
    if ours and theirs:
        return []
    who = "neither names" if not ours and not theirs else "the mask names no" if not ours else "the source names no"
    return [
        Finding(
            Code.FRAME_OF_REFERENCE_DIFFERS,
            f"{who} Frame of Reference UID (0020,0052); coordinates were taken as they are",
            "Look at the mask over the image.",
            Severity.WARNING,
            clause="PS3.3 C.7.4.1",
        )
    ]


def _off_grid(fit: IndexMap | None, mask: Grid, source: Grid, limit: float) -> Exception:
    apart = _apart(mask, source)
    if fit is None:
        ours, theirs = ("\\".join(f"{n:.4g}" for n in g.spacing) for g in (mask, source))
        said = f"the mask's voxels ({ours} mm) are not those of the source ({theirs} mm), in size or direction; {apart}"
        details: dict[str, Any] = {}
    else:
        said = f"the mask lies {fit.moved_mm:.3f} mm beside the voxels of the source; {apart}"
        details = {"measured": fit.moved_mm, "limit": limit, "unit": "mm"}
    return refuse(
        Code.OFF_SOURCE_GRID,
        said,
        "Give --source the series the mask was drawn on; --resample nearest takes the nearest voxels and says how far.",
        **details,
    )


def _apart(mask: Grid, source: Grid) -> str:
    return regrid.apart_in_words(mask.lps, mask.shape, source.lps, source.shape)
