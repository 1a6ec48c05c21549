"""Decode an export to labels, by the decoder of the kind that was recognised. Other rooms come in here only.

Rules:
- Every result begins with what the export was taken for and why.
- The image, where there is one, is in the order of the frames already (`align`); nothing here knows of positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.findings import Code, PipelineError, refuse
from ...dicom.frame import Frame
from ...dicom.modality import refuse_lossy
from ...dicom.pixels import stored_voxels
from ...volume.mask import Voxels
from ..image import first_and_last
from . import burned_in, colour, overlay
from .ambiguous_voxels import Undecided
from .labelled import Labelled, Named
from .masked_image import masked
from .recognise import Seen
from .value_table import require_small_integers


def decode(
    seen: Seen,
    frames: Sequence[Frame],
    *,
    clean: Voxels | None = None,
    source: Voxels | None = None,
    inside: Sequence[Named] = (),
    outside: int | None = None,
    undecided: Undecided = "surrounded",
    name: str = "",
) -> tuple[Labelled, ...]:
    """Read the labels of an export.

    Args:
        seen: what the export was recognised as; for a label series give `inside` (`image.decode_mask` reads others).
        frames: of one size, in their order.
        clean: (columns, rows, frames), the same export with masks hidden: outside of the mask it has equal values.
        source: (columns, rows, frames), the original image: its values may differ by one whole number.
        inside: what --inside or --labels named.
        outside: what --outside gave.
        undecided: what becomes of voxels whose image has the mask's own value.
        name: for a single label.

    Returns:
        One result, or one for each overlay. Each begins with the finding of what the export was taken for.

    Raises:
        PipelineError: BAD_LABELS where an option is lacking, and what the decoder of the kind raises.
    """
    found = _decode_kind(seen, frames, clean, source, inside, outside, undecided, name)
    return tuple(replace(labelled, findings=(seen.finding(), *labelled.findings)) for labelled in found)


def _decode_kind(
    seen: Seen,
    frames: Sequence[Frame],
    clean: Voxels | None,
    source: Voxels | None,
    inside: Sequence[Named],
    outside: int | None,
    undecided: Undecided,
    name: str,
) -> tuple[Labelled, ...]:
    if seen.kind == "overlay":
        return overlay.decode(frames)
    if seen.kind == "colour":
        return (colour.decode(frames, inside=inside, name=name),)
    refuse_lossy(frames, "its values")
    shown = stored_voxels(frames)
    for voxels in (shown, clean, source):
        if voxels is not None:
            require_small_integers(voxels, first_and_last(frames))
    if seen.kind == "masked":
        if outside is None:
            raise _lacking(frames, "a masked original", "the value outside of the mask: --outside VALUE")
        return (masked(shown, outside, source=clean if clean is not None else source, undecided=undecided, name=name),)
    if seen.kind == "labels":
        return (burned_in.select(shown, inside, image=False, name=name),)
    image, offset = (clean, 0) if clean is not None else (source, None)
    if image is not None:
        return (burned_in.difference(shown, image, inside=inside, offset=offset, undecided=undecided, name=name),)
    if not inside:
        raise _lacking(frames, "a burned-in mask", "--clean DIR, --source, or the mask's value: --inside VALUE")
    return (burned_in.select(shown, inside, name=name),)


def _lacking(frames: Sequence[Frame], kind: str, option: str) -> PipelineError:
    return refuse(
        Code.BAD_LABELS,
        f"{kind} cannot be read without {option}",
        "--list-values shows the values that occur.",
        where=first_and_last(frames),
    )
