"""Write an array from Python as a NIfTI file with its record, on the grid of a DICOM series or by an affine.

Rules:
- The file is written, read back, cross-checked and recorded as every other (`conversion.write`).
- What nothing can show is said: an affine that was only given, and an order of labels that was only stated, leave the result
  UNCONFIRMED. Values that are those of the source show their order.
- On a DICOM series the file has the order as acquired, unless the policy says another; on a `Mask`, `Image` or a bare affine
  it has theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..conversion.looks import Looks
from ..conversion.nifti_mask import whole_labels
from ..conversion.output_path import checked_target
from ..conversion.product import Proof
from ..conversion.record import Outcome
from ..conversion.request import Progress, Request, RunDetails, silent
from ..conversion.write import finish
from ..core import arguments
from ..core.arguments import bad_option
from ..core.findings import Code, Finding, Severity, refuse
from ..core.limits import MOST_LABELS
from ..core.policy import Policy
from ..crosscheck.panel import Panel
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_codes, right_handed
from ..geometry.axis_order import AS_IS, ORDERS, Order
from ..geometry.grid import GeometryError, Grid
from ..nifti.header import TYPES
from ..volume.mask import LARGEST_LABEL, Array, ImageVolume, MaskVolume, Segment, Voxels
from .affine import ArrayAffine, OrderBy, checked_array, find_order
from .array_order import Planes, describe, order_of, word_of
from .labelled_array import ArrayOnGrid, Label
from .origin import ArrayOrigin, find_origin

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..core.arguments import OneOrManyPaths

    ArraySource = OneOrManyPaths | ArrayAffine | ArrayOnGrid | NDArray[Any] | Sequence[Sequence[float]]


# Choices of a policy that concern what is decoded from DICOM masks, and those that concern planes or readers of a series.
_OF_MASKS = (
    *("palette", "on_lossy", "same_frame", "resample", "fractional", "combine", "interpolate", "mm_per_unit"),
    *("grey_values", "keep_values"),
)
_OF_SERIES = ("on_tilt", "on_gap", "on_duplicate", "on_unread", "assume_spacing")
_IMAGE = 'Give whole numbers, or write it as an image: Policy(as_="image").'


class _ArrayPlace(NamedTuple):
    """Where an array lies. order: of the array against the grid. codes: of the file's axes, "source" for as acquired."""

    origin: ArrayOrigin
    order: Order
    order_by: OrderBy
    codes: str
    finding: Finding | None


def write(
    array: ArrayLike,
    affine_or_source: ArraySource,
    output: str | Path,
    *,
    labels: Mapping[int, str | Label] | None = None,
    axes: str | None = None,
    planes: Planes | Sequence[str | Path] = "position",
    name: str = "",
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    panel: Panel | None = None,
) -> Outcome:
    """Write an array as a NIfTI file with its record.

    Args:
        array: 3-D. A mask: whole numbers, not negative, of any type. With `policy.as_` "image": numbers of a type of NIfTI.
        affine_or_source: where it lies: the DICOM images (folders or files), what `affine` returned, a `Mask` or `Image` that
            was read, or an affine (4 x 4, index (i, j, k) to RAS mm).
        output: a path ending in .nii or .nii.gz.
        labels: name of each value, or a `Label` with a colour; the labels of a `Mask` as they are. Others are "label 3".
        axes: the order of the array, as of `affine`; None for "ijk", or for that of the `ArrayAffine`, `Mask` or `Image`.
        planes: how the planes follow each other, as of `affine`.
        name: of the mask or image, for the record.
        request: which series and part, where the source has several.
        policy: tolerances and choices, among them what becomes of a file that is there.
        progress: called with the stage, how much is done, and of how much.
        panel: the witnesses, where the caller has started them, who then ends them.

    Returns:
        What was done. UNCONFIRMED with PLACE_STATED where only the caller's word says how the voxels lie.

    Raises:
        PipelineError: for every refusal, NOT_A_MASK for values that are no labels, GRID_DIFFERS for a shape that is not the
            source's; then no file is left.
    """
    policy = policy or Policy()
    target = checked_target(arguments.path("output", output))
    if policy.write == "skip":
        raise bad_option("Policy.write", "skip", "refuse, suffix or overwrite: no file shows what an array was")
    values = checked_array(array)
    if name != "":
        arguments.check_text("name", name)
    source = _checked_source(affine_or_source)
    _refuse_idle(policy, source, is_gzipped=target.name.endswith(".gz"))
    begun = panel is not None or isinstance(source, np.ndarray)  # nobody is asked about an affine
    with nullcontext(panel or Panel(policy)) if begun else Panel(policy) as witnesses:
        place = _find_place(values, source, request, policy, axes=axes, planes=planes)
        volume = _volume(values, place, labels, name, policy)
        extra = {"Array": {"Axes": word_of(place.order), "OrderBy": place.order_by}}
        product = place.origin.product(volume, extra, () if place.finding is None else (place.finding,))
        if policy.orient == "source" and place.codes != "source":
            policy = replace(policy, orient=place.codes)
        details = RunDetails(Looks(), request=(request or Request()).as_json(), progress=progress)
        return finish(product, target, policy, witnesses, details)


def _refuse_idle(policy: Policy, source: Any, *, is_gzipped: bool) -> None:
    """Refuse a choice that can do nothing for this array. Raises IDLE_OPTION."""
    idle = list(_OF_MASKS)
    if not isinstance(source, tuple):  # the planes of what was read or computed here lie already
        idle += _OF_SERIES
    if isinstance(source, np.ndarray):  # no reader is asked about it, which "off" says too
        idle += ["keep_disputed"] if policy.crosscheck == "off" else ["keep_disputed", "crosscheck"]
    if policy.as_ == "image":
        idle += ["labels_file", "allow_empty"]
    if not is_gzipped:
        idle.append("gzip_level")
    plain = Policy()
    given = [f"Policy.{name}" for name in idle if getattr(policy, name) != getattr(plain, name)]
    if given:
        words = f"{' and '.join(given)} can do nothing for this array"
        raise refuse(Code.IDLE_OPTION, words, "Leave it out.", where=tuple(given))


def _checked_source(source: Any) -> tuple[Path, ...] | ArrayAffine | ArrayOnGrid | Matrix:
    """Tell paths, what was read or computed here, and an affine from each other. Raises BAD_OPTION."""
    if isinstance(source, ArrayAffine | ArrayOnGrid):
        return source
    if isinstance(source, str | Path) or (
        isinstance(source, list | tuple) and source and isinstance(source[0], str | Path)
    ):
        return arguments.inputs(source)
    return _matrix(source)


def _find_place(
    values: Array,
    source: tuple[Path, ...] | ArrayAffine | ArrayOnGrid | Matrix,
    request: Request | None,
    policy: Policy,
    *,
    axes: str | None,
    planes: Planes | Sequence[str | Path],
) -> _ArrayPlace:
    """Find the grid of an array and its order on it."""
    if isinstance(source, ArrayAffine | ArrayOnGrid):
        idle = [
            n for n, is_given in (("axes", axes), ("planes", planes != "position"), ("request", request)) if is_given
        ]
        if idle:
            words = f"{idle[0]} has no effect here: the {type(source).__name__} says it"
            raise refuse(Code.IDLE_OPTION, words, "Leave it out.", where=(idle[0],))
        return _on_affine(values, source) if isinstance(source, ArrayAffine) else _on_array(values, source, policy)
    if isinstance(source, tuple):
        origin, laid_frames = find_origin(source, request or Request(), policy)
        pixels = laid_frames if policy.as_ == "image" else None
        order, by = find_order(values, values.shape, origin, pixels, policy, axes=axes or "ijk", planes=planes)
        return _ArrayPlace(origin, order, by, "source", _stated(order, origin.title) if by == "stated" else None)
    if planes != "position" or request is not None:
        where = "request" if request is not None else "planes"
        words = f"{where} has no effect here: there is an affine, and no series"
        raise refuse(Code.IDLE_OPTION, words, "Leave it out, or give the DICOM images.", where=(where,))
    return _by_matrix(values, source, axes or "ijk")


def _on_affine(values: Array, source: ArrayAffine) -> _ArrayPlace:
    _refuse_other_shape(values, source.shape, "the array that the affine belongs to")
    return _ArrayPlace(source._origin, source._order, "stated", "source", _stated(source._order, source._origin.title))


def _on_array(values: Array, source: ArrayOnGrid, policy: Policy) -> _ArrayPlace:
    """Lay an array on the grid of one that was read, in the same order."""
    _refuse_other_shape(values, source.shape[:3], f"the {type(source).__name__} it is to lie on")
    fit, origin = source._to_acquired, source._origin
    if fit is None or not fit.is_onto or fit.moved_mm > policy.header_limit_mm:
        raise refuse(
            Code.GRID_DIFFERS,
            f"the {type(source).__name__} is not on the grid of the series: it was resampled, or put on that of another image",
            "Give its affine (.affine) instead, or read the series without Request(like=…).",
            where=(type(source).__name__,),
        )
    order = next(order for order in ORDERS if (order.matrix(origin.grid.shape) == fit.matrix).all())
    same = any(np.array_equal(values, known) for known in (source.stored, source.array))
    finding = None if same else _stated(order, origin.title)
    return _ArrayPlace(
        origin, order, "values" if same else "stated", "source" if order == AS_IS else source.axis_codes, finding
    )


def _by_matrix(values: Array, matrix: Matrix, axes: str) -> _ArrayPlace:
    """Lay an array by an affine, which nothing can be held against. The file has the order that the affine is for."""
    order = order_of(axes, matrix)
    shape = order.inverse.shape(values.shape)
    try:
        grid = Grid(shape, LPS_TO_RAS @ right_handed(matrix, shape[0]))
    except GeometryError as error:
        raise bad_option("affine_or_source", matrix.tolist(), f"an affine of a grid; {error}") from error
    codes = "source"
    if np.linalg.det(matrix[:3, :3]) < 0:  # the first axis of the grid is the affine's the other way round
        a, b, c = (flip != (axis == 0) for axis, flip in zip(order.axes, order.flipped, strict=True))
        order, codes = Order(order.axes, (a, b, c)), axis_codes(matrix)
    finding = Finding(
        Code.PLACE_STATED,
        "the affine was given as numbers, and no DICOM was held against it: whether it is where the patient was is not known",
        "Give the folder of the DICOM images instead of the affine.",
        Severity.WARNING,
        where=("affine",),
    )
    origin = ArrayOrigin(
        "the affine given", grid, Proof(0.0), (None,) * shape[2], assumed="the affine was given as numbers"
    )
    return _ArrayPlace(origin, order, "stated", codes, finding)


def _matrix(source: Any) -> Matrix:
    """A 4 x 4 affine. Raises BAD_OPTION."""
    allowed = "a folder or files, what verimask.affine returned, a Mask or Image, or an affine of 4 x 4 finite numbers"
    try:
        matrix = np.array(source, np.float64)
    except (TypeError, ValueError) as error:
        raise bad_option("affine_or_source", type(source).__name__, allowed) from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or (matrix[3] != (0, 0, 0, 1)).any():
        raise bad_option("affine_or_source", source, allowed)
    return matrix


def _volume(
    values: Array, place: _ArrayPlace, labels: Mapping[int, str | Label] | None, name: str, policy: Policy
) -> MaskVolume | ImageVolume:
    """The array on the grid, as labels or as values."""
    grid, title = place.origin.grid, name or "the array"
    if policy.as_ == "image":
        if labels is not None:
            words = "labels has no effect here: an image is written"
            raise refuse(Code.IDLE_OPTION, words, "Leave it out.", where=("labels",))
        kind = np.dtype(np.uint8) if values.dtype.kind == "b" else values.dtype.newbyteorder("=")
        if kind.str[1:] not in TYPES:
            raise bad_option("array", str(values.dtype), "of whole numbers of 8 to 64 bits, float32 or float64")
        return ImageVolume(Voxels.of(place.order.inverse.of(values.astype(kind, copy=False))), grid, name=name)
    whole = whole_labels(values.astype(np.uint8) if values.dtype.kind == "b" else values, title, hint=_IMAGE)
    named = _segments(labels)
    there = _values_in(whole)
    unnamed = [value for value in there if value not in named]
    if unnamed and len(there) > MOST_LABELS:
        raise refuse(
            Code.NOT_A_MASK,
            f"{title} has {len(there)} different values, which is an image rather than a mask",
            'Name every value in labels, or write it as an image: Policy(as_="image").',
            where=(title,),
            measured=len(there),
            limit=MOST_LABELS,
            unit="labels",
        )
    lone = name if name and len(there) == 1 else ""
    segments = {**{value: Segment(value, lone or f"label {value}") for value in unnamed}, **named}
    return MaskVolume(
        Voxels.of(place.order.inverse.of(whole)), grid, tuple(segments[value] for value in sorted(segments)), name
    )


def _values_in(labels: Array) -> list[int]:
    """The values of a mask but 0, ascending; found plane by plane, so that little is sorted at a time."""
    found: set[int] = set()
    for plane in np.moveaxis(labels, int(np.argmax(labels.strides)), 0):
        few = plane.dtype.itemsize <= 2  # counted in a table, which costs less than to sort them
        found.update((np.flatnonzero(np.bincount(plane.ravel("K"))) if few else np.unique(plane)).tolist())
    return sorted(found - {0})


def _segments(labels: Mapping[int, str | Label] | None) -> dict[int, Segment]:
    """Labels as segments. Raises BAD_OPTION."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise bad_option("labels", labels, "a mapping from values to names, such as {1: 'liver'}")
    made = {}
    for value, label in labels.items():
        arguments.check_whole("labels", int(value) if isinstance(value, np.integer) else value, 1, LARGEST_LABEL)
        meant = label if isinstance(label, Label) else Label(label)
        arguments.check_text(f"labels[{value}]", meant.name)
        made[int(value)] = Segment(int(value), meant.name, meant.colour, meant.category, meant.type, meant.algorithm)
    return made


def _stated(order: Order, title: str) -> Finding:
    """The finding that only the caller says in which order an array is."""
    return Finding(
        Code.PLACE_STATED,
        f"the array is in the order {describe(order)} of {title} by the caller's word: its shape fits, and labels cannot show it",
        "Look at the mask over the image.",
        Severity.WARNING,
        where=(title,),
    )


def _refuse_other_shape(values: Array, shape: tuple[int, ...], what: str) -> None:
    if values.shape == tuple(shape):
        return
    ours, theirs = (" × ".join(map(str, s)) for s in (values.shape, shape))
    raise refuse(
        Code.GRID_DIFFERS,
        f"the array is {ours}, and {what} is {theirs}",
        "Give the array in the order of that one, or say its own order with the DICOM images and axes.",
        where=("array",),
    )
