"""Read a mask from a series of planes: labels, or an export with the mask in its image.

Rules:
- A label series is read as it is. Anything else is taken for what the user says it is, or for what it can be shown to be;
  what it was taken for is the first finding of the result.
- Planes without a place take that of a source plane: of the one that explains their grey values, or of their partner by
  number. Either is assumed, and the result is never verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..core.findings import Code, Finding, PipelineError
from ..core.limits import FEW_VALUES
from ..core.policy import Policy
from ..decode.chosen_labels import chosen, separated
from ..decode.image import NO_LABEL, Decoded, decode_image, decode_mask
from ..decode.two_values import UNPLAIN
from ..dicom.frame import Frame
from ..dicom.pixel_bits import is_float
from ..dicom.scan import Series
from ..dicom.split_volumes import Part
from ..stacking.laid_frames import LaidFrames
from ..stacking.stack_frames import lay_frames
from ..volume.mask import Voxels
from .export_job import Compared, describe_export
from .file_names import safe
from .option_effects import Asked
from .product import Product, product_of_frames
from .request import ExportDescription
from .source import Source

# What an ordinary label series does not need is imported where it is needed.
if TYPE_CHECKING:
    from ..decode.embedded.recognise import Seen


class _Volume(NamedTuple):
    """One volume of a series on its grid, what its masks are called, and what the user says of it."""

    series: Series
    part: Part
    laid_frames: LaidFrames
    name: str
    given: ExportDescription

    def products(
        self, masks: Sequence[tuple[str, Decoded]], form: str, compared: Compared | None = None
    ) -> list[Product]:
        """Make a product each of masks with their own names, or "" for the name of the series.

        compared: the image that decided which voxels of an export are its mask, None where none did.
        """
        made = []
        for number, (own, decoded) in enumerate(masks, 1):
            product = product_of_frames(self.series, self.laid_frames, decoded, own or self.name, self.part)
            suffixes = [product.suffix, f"seg-{safe(own) or number}" if len(masks) > 1 else ""]
            job = describe_export(form, self.laid_frames, decoded.stored_labels, self.given, compared)
            suffix = "_".join(suffix for suffix in suffixes if suffix)
            made.append(replace(product, form=form, suffix=suffix, mask_job=job))
        return made


def read_masks(
    series: Series,
    part: Part,
    asked: Asked,
    *,
    source: Source | None = None,
    clean: Source | None = None,
) -> list[Product]:
    """Read the masks that one volume of an image series is or holds.

    Args:
        series: of kind "image".
        part: the volume.
        asked: which labels are wanted, what the export is, and every tolerance.
        source: the images the mask was drawn on.
        clean: the same export with its masks hidden.

    Returns: a product per mask.

    Raises: PipelineError NO_SUCH_SEGMENT for a label that is not there, and whatever a decoder refuses.
    """
    export, policy = asked.request.export, asked.policy
    volume = _on_grid(series, part, asked, source)
    no_mask: Finding | None = None
    if not export.is_given and clean is None:
        try:
            decoded = decode_mask(volume.laid_frames.frames, policy, volume.name)
        except PipelineError as error:
            if error.finding.code not in (Code.NOT_A_MASK, Code.COLOUR):
                raise
            no_mask = error.finding
        else:
            if _is_label_series(decoded, volume.laid_frames.frames):
                return volume.products(_chosen(decoded, asked), "labels")
    if asked.aside and source is None and no_mask is not None and _is_plain_image(no_mask, volume.laid_frames.frames):
        raise PipelineError(no_mask)
    seen = _recognise(volume.laid_frames.frames, export, source, clean, no_mask)
    if seen.kind == "labels" and not export.inside:
        decoded = decode_mask(volume.laid_frames.frames, policy, volume.name)
        decoded = replace(decoded, findings=(seen.finding(), *decoded.findings))
        return volume.products(_chosen(decoded, asked), "labels")
    masks, shared_values = _decode_embedded(volume, seen, asked, source, clean)
    shows_source = (
        source is not None and clean is None and shared_values > FEW_VALUES
    )  # few may agree by chance, as air does
    evidence = f"its grey values are those of the source ({shared_values:,} different ones)" if shows_source else ""
    compared = _compared_with(seen, export, source, clean)
    return [replace(product, evidence=evidence) for product in volume.products(masks, seen.kind, compared)]


def _compared_with(
    seen: Seen, export: ExportDescription, source: Source | None, clean: Source | None
) -> Compared | None:
    """The image that the decoder compared an export with; None where it compared none."""
    image = source if clean is None else clean
    if image is None or seen.kind not in ("burned", "masked"):
        return None
    return Compared(image, export.undecided, is_clean=clean is not None)


def _on_grid(series: Series, part: Part, asked: Asked, source: Source | None) -> _Volume:
    """Lay a volume on its grid, or on that of its source where its planes have no place; and name it."""
    policy, given = asked.policy, asked.request.export
    frames, assumed = _with_source_planes(part.frames, source)
    laid_frames = lay_frames(frames, policy, series.title, None if source is None else source.laid_frames)
    if assumed is not None:
        laid_frames = replace(laid_frames, assumed=assumed.message, findings=(*laid_frames.findings, assumed))
    if part.name.startswith("folder "):
        name = part.name.removeprefix("folder ")
        return _Volume(series, replace(part, name=name), laid_frames, name, given)
    return _Volume(series, part, laid_frames, " ".join(p for p in (series.mask_name, part.name) if p), given)


def _is_label_series(decoded: Decoded, frames: Sequence[Frame]) -> bool:
    """Whether values are few enough to be labels, and no overlay holds a mask beside them."""
    few = decoded.segments is not None and len(decoded.segments) <= FEW_VALUES
    return few and not any(frame.header.overlays for frame in frames)


def _is_plain_image(no_mask: Finding, frames: Sequence[Frame]) -> bool:
    """Whether values that are no labels settle that planes hold no mask, so that they need not be counted."""
    plain = no_mask.code is Code.NOT_A_MASK and no_mask.unit not in (UNPLAIN, NO_LABEL)
    return plain and not any(frame.header.overlays for frame in frames)


def _chosen(decoded: Decoded, asked: Asked) -> list[tuple[str, Decoded]]:
    """The labels of a label series that were asked for, each by itself where that was asked for."""
    masks = [("", decoded)]
    if asked.request.wanted is not None:
        masks = chosen(masks, asked.request.wanted)
    return [one for mask in masks for one in separated(mask)] if asked.policy.combine == "separate" else masks


def _decode_embedded(
    volume: _Volume, seen: Seen, asked: Asked, source: Source | None, clean: Source | None
) -> tuple[list[tuple[str, Decoded]], int]:
    """The masks that lie in the images of an export, with their names; and how many grey values they were found to share
    with the image they were compared with."""
    from ..decode.embedded import decode as embedded
    from ..decode.embedded.labelled import separate

    export, policy, wanted = asked.request.export, asked.policy, asked.request.wanted
    found = embedded.decode(
        seen,
        volume.laid_frames.frames,
        clean=None if clean is None else _values_at(clean, volume.laid_frames, policy),
        source=None if source is None else _values_at(source, volume.laid_frames, policy),
        inside=export.inside,
        outside=export.outside,
        undecided=export.undecided,
        name=volume.name,
    )
    shared_values = min((labelled.shared_values for labelled in found), default=0)
    if policy.combine == "separate":
        found = tuple(one for labelled in found for one in separate(labelled))
    masks = [(labelled.name, labelled.decoded(volume.laid_frames.frames)) for labelled in found]
    return masks if wanted is None else chosen(masks, wanted), shared_values


def _recognise(
    frames: Sequence[Frame],
    export: ExportDescription,
    source: Source | None,
    clean: Source | None,
    no_mask: Finding | None,
) -> Seen:
    """What the export holds. no_mask: why it is no label series, whose numbers a refusal repeats."""
    from ..decode.embedded.recognise import recognise

    try:
        return recognise(
            frames,
            kind=export.kind,
            inside=bool(export.inside),
            outside=export.outside is not None,
            clean=clean is not None,
            source=source is not None,
        )
    except PipelineError as error:
        if no_mask is None or error.finding.code is not Code.NOT_A_MASK:
            raise
        if no_mask.unit in (UNPLAIN, NO_LABEL):  # it says more than that this is no label series
            raise PipelineError(no_mask) from error
        numbers = {"measured": no_mask.measured, "limit": no_mask.limit, "unit": no_mask.unit, "where": no_mask.where}
        raise PipelineError(replace(error.finding, **numbers), error.others) from error  # type: ignore[arg-type]


def _with_source_planes(frames: Sequence[Frame], source: Source | None) -> tuple[Sequence[Frame], Finding | None]:
    """Frames with the planes of the source planes that explain their grey values, and what was assumed.

    As they are where they have planes, or where grey values tell none: then `lay_frames` pairs them by number, or refuses.
    """
    if source is None or all(f.plane is not None for f in frames):
        return frames, None
    if any(is_float(frame) for frame in (*frames, *source.laid_frames.frames)):  # whole grey values are compared
        return frames, None
    from ..decode.embedded.match_planes import paired

    try:
        return paired(frames, source.laid_frames.frames)
    except PipelineError:
        return frames, None


def _values_at(image: Source, laid_frames: LaidFrames, policy: Policy) -> Voxels:
    """The stored values of an image where the export's frames lie."""
    from ..decode.embedded.align import align_with_export

    decoded = decode_image(image.laid_frames.frames)
    limit = policy.corner_limit(min(laid_frames.stack.grid.spacing))
    values = image.laid_frames.place(decoded.voxels, decoded.padding)
    return align_with_export(
        values, image.grid, laid_frames.stack.grid, [int(k) for k in laid_frames.stack.index], limit
    )
