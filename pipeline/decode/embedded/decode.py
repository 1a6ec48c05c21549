"""An export of a kind that was recognised becomes labels, by the decoder of its kind. The one door to all of them.

Rules:
- Every result begins with what the export was taken for and why.
- The image, where there is one, lies beside the frames already (`align`); nothing here knows of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.findings import Code, PipelineError, refuse
from ...dicom.frame import Frame
from ...dicom.modality import refuse_lossy
from ...dicom.pixels import stored_voxels
from ...volume.mask import Voxels
from . import burned_in, colour, overlay
from .ambiguous_voxels import Undecided
from .labelled import Labelled, Named
from .masked_image import masked
from .recognise import Seen


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
    """The labels of frames of one size, in their order: one result, or one for each overlay.

    clean, source: (columns, rows, frames) the image beside the frames; clean has the export's own values, source may
    have others by one whole number. inside: --inside or --labels. outside: --outside. name: for a single label.
    For a label series give `inside`; without, `image.decode_mask` reads it. Raises what the decoder of the kind raises,
    and BAD_LABELS where an option is lacking.
    """
    found = _decoded(seen, frames, clean, source, inside, outside, undecided, name)
    return tuple(replace(labelled, findings=(seen.said(), *labelled.findings)) for labelled in found)


def _decoded(
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
    if seen.kind == "masked":
        if outside is None:
            raise _lacking("a masked original", "the value outside of the mask: --outside VALUE")
        return (masked(shown, outside, source=clean if clean is not None else source, undecided=undecided, name=name),)
    if seen.kind == "labels":
        return (burned_in.select(shown, inside, image=False, name=name),)
    image, offset = (clean, 0) if clean is not None else (source, None)
    if image is not None:
        return (burned_in.difference(shown, image, inside=inside, offset=offset, undecided=undecided, name=name),)
    if not inside:
        raise _lacking("a burned-in mask", "--clean DIR, --source, or the mask's value: --inside VALUE")
    return (burned_in.select(shown, inside, name=name),)


def _lacking(what: str, option: str) -> PipelineError:
    return refuse(
        Code.BAD_LABELS, f"{what} cannot be read without {option}", "--list-values shows the values that occur."
    )
