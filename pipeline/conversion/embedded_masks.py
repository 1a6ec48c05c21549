"""A series of planes that is, or holds, a mask: labels, or an export with the mask in its image.

Rules:
- A label series is read as it is. Anything else is taken for what the user says it is, or for what it can be shown to be;
  what it was taken for is the first finding of the result.
- Planes without a place take that of a source plane: of the one that explains their grey values, or of their partner by
  number. Either is assumed, and the result is never verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..core.arguments import bad_option, check_choice, check_whole
from ..core.findings import Code, Finding, PipelineError
from ..core.limits import FEW_VALUES
from ..core.policy import EXPORT_KINDS, UNDECIDED, ExportKind, Policy, Undecided
from ..decode.chosen_labels import chosen, separated
from ..decode.image import Decoded, decode_image, decode_mask
from ..dicom.frame import Frame
from ..dicom.scan import Series
from ..dicom.split_volumes import Part
from ..stacking.stack_frames import Laid, lay
from ..volume.mask import Voxels
from .file_names import safe
from .product import Form, Product, of_laid
from .source import Source

# What an ordinary label series does not need is imported where it is needed.
if TYPE_CHECKING:
    from ..decode.embedded.labelled import Named
    from ..decode.embedded.recognise import Seen


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of an export. inside: names with the values or colours that are mask; outside: the value that
    is not. kind: what it is. undecided: what becomes of voxels whose image has the mask's own value.

    Raises PipelineError BAD_OPTION when made of what is not allowed."""

    inside: tuple[Named, ...] = ()
    outside: int | None = None
    kind: ExportKind | None = None
    undecided: Undecided = UNDECIDED[0]

    def __post_init__(self) -> None:
        if self.inside != ():
            object.__setattr__(self, "inside", _checked_inside(self.inside))
        if self.outside is not None:
            check_whole("Told.outside", self.outside)
        if self.kind is not None:
            check_choice("Told.kind", self.kind, EXPORT_KINDS)
        check_choice("Told.undecided", self.undecided, UNDECIDED)

    @property
    def anything(self) -> bool:
        return bool(self.inside) or self.outside is not None or self.kind is not None


def _checked_inside(inside: object) -> tuple[Named, ...]:
    from ..decode.embedded.labelled import Named

    several = (inside,) if isinstance(inside, Named) else tuple(inside) if isinstance(inside, Iterable) else (inside,)
    if not all(isinstance(one, Named) for one in several):
        raise bad_option("Told.inside", inside, "a Named, or a list of them")
    return several


def of_planes(
    series: Series,
    part: Part,
    policy: Policy,
    told: Told,
    source: Source | None = None,
    clean: Source | None = None,
    wanted: Sequence[str] | None = None,
) -> list[Product]:
    """The masks of one volume of an image series. clean: the same export with masks hidden. wanted: labels to choose.

    Raises PipelineError: NO_SUCH_SEGMENT for a label that is not there, and whatever a decoder refuses.
    """
    frames, unplaced = _placed(part.frames, source)
    laid = lay(frames, policy, series.title, None if source is None else source.laid)
    if unplaced is not None:
        laid = replace(laid, assumed=unplaced.message, findings=(*laid.findings, unplaced))
    folder = part.name.startswith("folder ")
    name = part.name.removeprefix("folder ") if folder else " ".join(p for p in (series.mask_name, part.name) if p)
    part = replace(part, name=name) if folder else part
    no_mask: Finding | None = None
    if not told.anything and clean is None:
        try:
            decoded = decode_mask(laid.frames, policy, name)
        except PipelineError as error:
            if error.finding.code not in (Code.NOT_A_MASK, Code.COLOUR):
                raise
            no_mask = error.finding
        else:
            few = decoded.segments is not None and len(decoded.segments) <= FEW_VALUES
            if few and not any(f.header.overlays for f in laid.frames):
                return _products(series, laid, part, name, "labels", _asked_for([("", decoded)], policy, wanted))
    seen = _recognised(laid.frames, told, source, clean, no_mask)
    if seen.kind == "labels" and not told.inside:
        decoded = decode_mask(laid.frames, policy, name)
        decoded = replace(decoded, findings=(seen.said(), *decoded.findings))
        return _products(series, laid, part, name, "labels", _asked_for([("", decoded)], policy, wanted))
    from ..decode.embedded import decode as embedded
    from ..decode.embedded.labelled import separate

    found = embedded.decode(
        seen,
        laid.frames,
        clean=None if clean is None else _beside(clean, laid, policy),
        source=None if source is None else _beside(source, laid, policy),
        inside=told.inside,
        outside=told.outside,
        undecided=told.undecided,
        name=name,
    )
    if policy.combine == "separate":
        found = tuple(one for labelled in found for one in separate(labelled))
    masks = [(labelled.name, labelled.decoded(laid.frames)) for labelled in found]
    return _products(series, laid, part, name, seen.kind, masks if wanted is None else chosen(masks, wanted))


def _asked_for(
    masks: list[tuple[str, Decoded]], policy: Policy, wanted: Sequence[str] | None
) -> list[tuple[str, Decoded]]:
    """The labels of a label series that were asked for, each by itself where that was asked for."""
    if wanted is not None:
        masks = chosen(masks, wanted)
    return [one for mask in masks for one in separated(mask)] if policy.combine == "separate" else masks


def _products(
    series: Series, laid: Laid, part: Part, name: str, form: Form, masks: Sequence[tuple[str, Decoded]]
) -> list[Product]:
    """A product each of masks with their own names, or "" for the name of the series."""
    made = []
    for number, (own, decoded) in enumerate(masks, 1):
        product = of_laid(series, laid, decoded, own or name, part)
        suffixes = [product.suffix, f"seg-{safe(own) or number}" if len(masks) > 1 else ""]
        made.append(replace(product, form=form, suffix="_".join(suffix for suffix in suffixes if suffix)))
    return made


def _recognised(
    frames: Sequence[Frame], told: Told, source: Source | None, clean: Source | None, no_mask: Finding | None
) -> Seen:
    """What the export holds. no_mask: why it is no label series, whose numbers a refusal repeats."""
    from ..decode.embedded.recognise import recognise

    try:
        return recognise(
            frames,
            kind=told.kind,
            inside=bool(told.inside),
            outside=told.outside is not None,
            clean=clean is not None,
            source=source is not None,
        )
    except PipelineError as error:
        if no_mask is None or error.finding.code is not Code.NOT_A_MASK:
            raise
        numbers = {"measured": no_mask.measured, "limit": no_mask.limit, "unit": no_mask.unit, "where": no_mask.where}
        raise PipelineError(replace(error.finding, **numbers), error.others) from error  # type: ignore[arg-type]


def _placed(frames: Sequence[Frame], source: Source | None) -> tuple[Sequence[Frame], Finding | None]:
    """Frames with the planes of the source planes that explain their grey values, and what was assumed.

    As they are where they have planes, or where grey values tell none: then `lay` pairs them by number, or refuses.
    """
    if source is None or all(f.plane is not None for f in frames):
        return frames, None
    from ..decode.embedded.match_planes import paired

    try:
        return paired(frames, source.laid.frames)
    except PipelineError:
        return frames, None


def _beside(image: Source, laid: Laid, policy: Policy) -> Voxels:
    """The stored values of an image where the export's frames lie."""
    from ..decode.embedded.align import beside

    decoded = decode_image(image.laid.frames)
    limit = policy.corner_limit(min(laid.stack.grid.spacing))
    values = image.laid.place(decoded.voxels, decoded.padding)
    return beside(values, image.grid, laid.stack.grid, [int(k) for k in laid.stack.index], limit)
