"""Find the images a mask was drawn on, and lay the mask on their grid.

Rules:
- A source is named by the mask (see `source_choice`), or by being the only one given.
- A mask goes onto the source's grid in whole voxels within the corner limit: planes are placed and empty ones added.
  Anything else is refused with the distance in words, unless resampling to the nearest voxel was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..decode.image import decode_image
from ..dicom import split_volumes
from ..dicom.scan import Scan, Series, left_out_beside, table
from ..geometry.frame_of_reference import doubt_same_frame, warn_of_frame
from ..geometry.grid import Grid
from ..geometry.index_map import IndexMap, find_index_map
from ..stacking.laid_frames import LaidFrames
from ..stacking.stack_frames import lay_frames
from ..volume import regrid
from ..volume.mask import ImageVolume, MaskVolume
from ..volume.nearest import take_nearest
from .looks import Looks
from .product import Product, Witnessed
from .source_choice import SourceReferences, choose_source, several_sources


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An image series laid on its grid. doubts: what was left out of it by choice, and may be a plane."""

    series: Series
    laid_frames: LaidFrames
    doubts: tuple[Finding, ...] = ()

    @property
    def grid(self) -> Grid:
        return self.laid_frames.grid

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its series."""
        return tuple(header.path for header in self.series.headers)

    @property
    def image_uids(self) -> tuple[str, ...]:
        """SOP Instance UID of the plane at every k, "" where there is none."""
        return tuple("" if f is None else f.sop_instance_uid for f in self.laid_frames.at_k)

    @property
    def witnessed(self) -> Witnessed | None:
        return (
            Witnessed(self.laid_frames.frames, self.laid_frames.stack, None, of_source=True)
            if self.laid_frames.whole
            else None
        )


def find_source(
    found: Scan,
    given: Sequence[Path],
    policy: Policy,
    looks: Looks,
    *,
    series_uids: Collection[str] = (),
    image_uids: Collection[str] = (),
    frame_of_reference_uid: str = "",
) -> Source | None:
    """Find the images a mask was drawn on.

    Args:
        found: the series among the inputs, where a source is looked for if none was given.
        given: folders or files that the user names; they hold the source, or it is refused.
        policy: tolerances, and what becomes of files that cannot be read.
        looks: what the run has looked at so far.
        series_uids: Series Instance UIDs that the mask refers to.
        image_uids: SOP Instance UIDs that it refers to.
        frame_of_reference_uid: of the mask; it decides where nothing is referred to.

    Returns: the source on its grid; None where none was given and none is named and found.

    Raises: PipelineError SEVERAL_SERIES where several could be it, NO_SOURCE where `given` holds none, CORRUPT_FILE or
    FILE_UNREAD where a plane of it may be lost, and what keeps it from one grid.
    """
    scanned, images = images_in(found, given, looks)
    frame_uid = frame_of_reference_uid if given else ""
    candidates = choose_source(images, SourceReferences((), series_uids, image_uids, frame_uid)).candidates
    candidates = candidates or (images if given else [])
    if not candidates:
        return None
    if len(candidates) > 1:
        raise several_sources(candidates, "this mask")
    return lay_source(scanned, candidates[0], policy, looks, image_uids)


def images_in(found: Scan, given: Sequence[Path], looks: Looks) -> tuple[Scan, list[Series]]:
    """List the image series that can be the source of a mask.

    Args:
        found: the series among the inputs.
        given: folders or files that the user names as the source; they alone count then.
        looks: what the run has looked at so far.

    Returns: the scan that the series are of, and the series; perhaps none where nothing was given.

    Raises: PipelineError NO_SOURCE where `given` holds none, and what `Looks.scan` refuses.
    """
    scanned = looks.scan(given) if given else found
    images = [series for series in scanned.series if series.kind == "image"]
    if given and not images:
        raise _no_images(given, scanned)
    return scanned, images


def files_of_series(several: Iterable[Series]) -> set[str]:
    """The real paths of the files of series, by which those of two scans are known to be the same."""
    folders: dict[Path, str] = {}
    files = set()
    for path in (header.path for series in several for header in series.headers):
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
        files.add(os.path.join(folders[path.parent], path.name))
    return files


def lay_source(scanned: Scan, series: Series, policy: Policy, looks: Looks, image_uids: Collection[str] = ()) -> Source:
    """Lay an image series on its grid, as the source of a mask.

    Args:
        scanned: the scan that the series is of.
        series: the images.
        policy: tolerances, and what becomes of files that cannot be read.
        looks: what the run has looked at so far.
        image_uids: SOP Instance UIDs that the mask refers to; they say which of several volumes is meant.

    Returns: the source.

    Raises: PipelineError SEVERAL_VOLUMES, CORRUPT_FILE or FILE_UNREAD where a plane of it may be lost, and what keeps it from one grid.
    """
    doubts = tuple(f for f in left_out_beside(scanned, series, policy) if f.leaves_doubt)
    return Source(series, _lay_volume(series, policy, looks, image_uids), doubts)


def _no_images(given: Sequence[Path], scanned: Scan) -> PipelineError:
    return refuse(
        Code.NO_SOURCE,
        "there is no image series among what --source names",
        "Give the folder of the images the mask was drawn on.\n" + table(scanned.series),
        where=tuple(path.name for path in given),
    )


def move_mask(mask: MaskVolume, source: Source, policy: Policy) -> MaskVolume:
    """Lay a mask on the grid of its source, and in the source's Frame of Reference where it names none.

    Args:
        mask: on a grid of its own.
        source: the images it was drawn on.
        policy: how far it may move, and whether voxels may be taken from the nearest place.

    Returns: the mask on the source's grid.

    Raises: PipelineError FRAME_OF_REFERENCE_DIFFERS, OFF_SOURCE_GRID, OUTSIDE_SOURCE.
    """
    volume = _moved(mask, source, policy, "")[0]
    return replace(mask, voxels=volume.voxels, grid=volume.grid)


def move_product(product: Product, source: Source, policy: Policy) -> Product:
    """Lay a product's mask, or its fractions, on the grid of its source.

    Args:
        product: a mask or fractions on a grid of their own.
        source: the images it was drawn on.
        policy: how far it may move, and whether voxels may be taken from the nearest place.

    Returns: the product on the source's grid.

    Raises: PipelineError NOT_A_MASK, FRAME_OF_REFERENCE_DIFFERS, OFF_SOURCE_GRID, OUTSIDE_SOURCE.
    """
    volume = product.volume if product.form == "fractional" else _mask_in(product)
    volume, moved, found = _moved(volume, source, policy, product.evidence)
    resampled = any(f.code is Code.RESAMPLED for f in found)
    grid_planes = source.grid.shape[2]
    extra: dict[str, Any] = {"SourceSeriesInstanceUID": source.series.uid, "MovedToSourceMm": moved}
    proof = replace(product.proof, residual_mm=max(product.proof.residual_mm, source.laid_frames.stack.residual_mm))
    return replace(
        product,
        volume=volume,
        proof=proof.add_travel(moved) if resampled else proof,
        # Planes that were paired one by one keep saying with which; others stand on the source's planes.
        frames=product.frames if product.assumed and len(product.frames) == grid_planes else source.laid_frames.at_k,
        findings=(*product.findings, *found),
        witnessed=None if resampled else product.witnessed or source.witnessed,
        mask_job=None if resampled else product.mask_job,
        extra={**product.extra, **extra},
    )


def add_image_files(product: Product, role: str, image: Source | None) -> Product:
    """Name the files of an image that had a part in a product, and what is doubtful of it.

    Args:
        product: that was made with the image.
        role: of the image, "source" or "clean".
        image: None where there was none.

    Returns: the product with those files and findings.
    """
    if image is None:
        return product
    files = [(role, path) for path in image.files]
    return replace(
        product,
        further=tuple(dict.fromkeys([*product.further, *files])),
        findings=tuple(dict.fromkeys([*image.doubts, *product.findings])),
    )


def add_grey_values(product: Product, source: Source) -> Product:
    """Say what the source shows under a mask and under its seven mirror images: a hint of a flip, no verdict."""
    from ..volume.mirror_check import compare_mirror_images

    decoded = decode_image(source.laid_frames.frames)
    image = source.laid_frames.place(decoded.voxels, decoded.padding)
    seen = compare_mirror_images(_mask_in(product).voxels, image)
    if seen is None:
        return product
    hint = [Finding(Code.GREY_VALUES, seen.hint, severity=Severity.INFO)] if seen.hint else []
    rows = [asdict(row) for row in (seen.own, *seen.mirrored)]
    return replace(product, findings=(*product.findings, *hint), extra={**product.extra, "GreyValues": rows})


def _mask_in(product: Product) -> MaskVolume:
    """Return a product's mask. Raises NOT_A_MASK for an image."""
    if isinstance(product.volume, MaskVolume):
        return product.volume
    words = f"{product.series.title} is an image, and only a mask lies on a source"
    raise refuse(Code.NOT_A_MASK, words, "Leave --source and --as image out.", where=(product.series.title,))


def _moved(
    mask: MaskVolume | ImageVolume, source: Source, policy: Policy, evidence: str
) -> tuple[MaskVolume | ImageVolume, float, list[Finding]]:
    grid = source.grid
    uids = (mask.grid.frame_of_reference_uid, grid.frame_of_reference_uid)
    where = (source.series.title,)
    doubt = doubt_same_frame(*uids, "the mask", where=where, evidence=evidence, by_word=policy.same_frame)
    findings = [] if doubt is None else [warn_of_frame(doubt, where=where)]
    limit = policy.corner_limit(min(grid.spacing))
    fit = find_index_map(mask.grid.lps, mask.grid.shape, grid.lps, grid.shape)
    if fit is not None and fit.moved_mm <= limit:
        outside = 0 if fit.is_inside else regrid.count_lost(mask.voxels, fit.matrix, grid.shape)
        if outside:
            raise refuse(
                Code.OUTSIDE_SOURCE,
                f"{outside} voxels of the mask lie outside of the source images",
                "Are these the images it was drawn on? " + _apart(mask.grid, grid),
                measured=outside,
                limit=0,
                unit="voxels",
                where=(source.series.title,),
            )
        voxels, moved = regrid.put_onto(mask.voxels, fit.matrix, grid.shape), fit.moved_mm
    elif policy.resample == "nearest":
        nearest = take_nearest(mask, grid, "the source images")
        return nearest.volume, nearest.moved_mm, [*findings, *nearest.findings]
    else:
        raise _off_grid(fit, mask.grid, source, limit)
    return replace(mask, voxels=voxels, grid=grid), moved, findings


def _lay_volume(series: Series, policy: Policy, looks: Looks, image_uids: Collection[str]) -> LaidFrames:
    volumes = looks.once(split_volumes.split, series.frames)
    named = [v for v in volumes if any(frame.sop_instance_uid in image_uids for frame in v.frames)]
    volumes = named if len(named) == 1 else volumes
    if len(volumes) > 1:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"the source, {series.title}, holds {len(volumes)} volumes, and a mask lies on one",
            "Give --source only the files of the one:\n" + split_volumes.table(volumes),
            where=(series.uid,),
            measured=len(volumes),
            limit=1,
            unit="volumes",
        )
    return looks.once(lay_frames, tuple(volumes[0].frames), replace(policy, as_="image"), series.title)


def _off_grid(fit: IndexMap | None, mask: Grid, source: Source, limit_mm: float) -> PipelineError:
    details: dict[str, Any] = {"where": (source.series.title,)}
    if fit is None:
        ours, theirs = ("\\".join(f"{n:.4g}" for n in g.spacing) for g in (mask, source.grid))
        words = f"the mask's voxels ({ours} mm) are not those of the source ({theirs} mm), in size or direction"
    else:
        words = f"the mask lies {fit.moved_mm:.3f} mm beside the voxels of the source"
        details |= {"measured": fit.moved_mm, "limit": limit_mm, "unit": "mm"}
    return refuse(
        Code.OFF_SOURCE_GRID,
        f"{words}; {_apart(mask, source.grid)}",
        "Give --source the series the mask was drawn on; --resample nearest takes the nearest voxels and says how far.",
        **details,
    )


def _apart(mask: Grid, source: Grid) -> str:
    return regrid.describe_distance(mask.lps, mask.shape, source.lps, source.shape)
