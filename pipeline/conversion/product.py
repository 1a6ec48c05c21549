"""Define the product: one volume ready to be written, which every kind of input becomes before it is a file.

Rules:
- A product carries its proof: how far the planes it came from lie from the grid it is on, by their own equations.
- `witnessed` is what other readers may be shown to judge it: DICOM planes and the grid they make. None where no other
  reader can see what was done (planes filled, voxels resampled); then the result stays unconfirmed.
- `mask_job` is what readers of masks are shown, where a mask is not simply the values of planes. What was put together of
  several masks is shown to them mask by mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..core.findings import Finding
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..crosscheck.testimony import MaskJob
from ..decode.image import Decoded, decode_mask
from ..decode.picture import decode_picture
from ..dicom.frame import Frame
from ..dicom.scan import Series
from ..dicom.split_volumes import Part
from ..geometry.grid import Grid
from ..geometry.stack import Stack
from ..stacking.laid_frames import LaidFrames
from ..stacking.stack_frames import lay_frames
from ..volume.mask import ImageVolume, MaskVolume, Physical, Voxels
from .file_names import safe


class Entry(NamedTuple):
    """One input that holds products: a series, or a bundle with no series of its own.

    name: for its files. series: empty, of kind "bundle", for a bundle, whose path is given. folder: of the inputs that it
    lies in, as `InputFolders` gives it.
    """

    name: str
    series: Series
    path: Path = Path()
    folder: str = ""

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return self.series.title if self.series.headers else f"bundle {escape_controls(self.name)}"


@dataclass(frozen=True, slots=True)
class Proof:
    """Proof 1 in mm. residual: worst corner of any plane, by its own equation, against the grid. irregularity: the same
    before axes were made orthonormal; straightened: what that moved; kept_skew: what it would have.

    travelled: how far labels were taken to the nearest voxel of another grid; None where they were not."""

    residual_mm: float
    irregularity_mm: float = 0.0
    straightened_mm: float = 0.0
    kept_skew_mm: float = 0.0
    travelled_mm: float | None = None

    @property
    def worst_mm(self) -> float:
        """How far a label may lie from where its own plane's equation puts it."""
        return self.residual_mm + (self.travelled_mm or 0.0)

    def add_travel(self, moved_mm: float) -> Proof:
        """The proof after labels were taken so far, once more."""
        return replace(self, travelled_mm=(self.travelled_mm or 0.0) + moved_mm)

    @classmethod
    def of(cls, stack: Stack) -> Proof:
        return cls(stack.residual_mm, stack.irregularity_mm, stack.straightened_mm, stack.kept_skew_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Witnessed:
    """What witnesses are shown. frames: in the order of the grid's k, volume after volume. physical: see decode.image;
    None where they can only be asked for the affine. of_source: the planes are those of the source images."""

    frames: tuple[Frame, ...]
    stack: Stack
    physical: Physical | None
    of_source: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A mask or image on its grid, with its proof and its origin.

    frames: for each k, the frame whose plane lies there, or None. volumes: how many 3-D volumes follow each other in
    the voxels (4-D). suffix: for the file name. inputs: files it was made of, where not the series' own. assumed: why
    places are assumed, "" where they are given. form: what it was made of, one of `representations.FORMS`. further:
    files of images that had a part in it, each with its role ("source", "clean"). extra: further blocks of the record.
    late(): findings of the voxels, once they have all been read. evidence: what shows that it was made on its source, whatever
    Frame of Reference it names, as a clause. folder: see `Entry`. made_of: products whose masks were put together. unnamed: as
    `Outcome`.
    """

    volume: MaskVolume | ImageVolume
    series: Series
    proof: Proof
    frames: tuple[Frame | None, ...]
    findings: tuple[Finding, ...] = ()
    witnessed: Witnessed | None = None
    volumes: int = 1
    suffix: str = ""
    inputs: tuple[Path, ...] = ()
    assumed: str = ""
    form: str = "labels"
    further: tuple[tuple[str, Path], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    late: Callable[[], list[Finding]] = list
    evidence: str = ""
    folder: str = ""
    mask_job: MaskJob | None = None
    made_of: tuple[Product, ...] = ()
    unnamed: bool = False

    @property
    def masks(self) -> tuple[Product, ...]:
        """Every mask that it was put together of, itself where it is one."""
        return tuple(mask for product in self.made_of for mask in product.masks) or (self,)

    @property
    def grid(self) -> Grid:
        return self.volume.grid

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """Every file it was made of, with its role; "" for those of the mask or image itself."""
        own = self.inputs or tuple(h.path for h in self.series.headers)
        return tuple(dict.fromkeys([*(("", path) for path in own), *self.further]))


def mask_suffix(mask_name: str, number: int, count: int) -> str:
    """Name the file of one of several masks of an input.

    Args:
        mask_name: of the mask; a lone one without a name needs no suffix.
        number: of the mask, from 1, for a name without a letter or digit.
        count: how many masks there are.

    Returns: the suffix, safe for any file system, or "".
    """
    return f"seg-{safe(mask_name) or number}" if count > 1 or mask_name else ""


def origin_of_mask(kind: str, source_uid: str | None) -> dict[str, Any]:
    """Return the record's block on where a mask comes from. source_uid: Series Instance UID of its images, if known."""
    return {"MaskSource": kind} | ({} if source_uid is None else {"SourceSeriesInstanceUID": source_uid})


def product_of_part(series: Series, part: Part, policy: Policy) -> Product:
    """Make the product of one volume of an image series.

    Args:
        series: of kind "image".
        part: the volume.
        policy: tolerances and choices.

    Returns: the image, or the mask where the policy reads labels.

    Raises: PipelineError with what keeps the frames from one grid, or their values from being labels.
    """
    laid_frames = lay_frames(part.frames, policy, series.title)
    name = " ".join(p for p in (series.mask_name, part.name) if p)
    decoded = _decode(laid_frames.frames, policy, name, padded=not laid_frames.whole)
    return product_of_frames(series, laid_frames, decoded, name, part)


def product_of_frames(
    series: Series, laid_frames: LaidFrames, decoded: Decoded, name: str, part: Part | None = None
) -> Product:
    """Make the product of decoded voxels of laid frames, on the grid of the file.

    Args:
        series: they belong to.
        laid_frames: the frames on their grid.
        decoded: their voxels, frame by frame.
        name: of the mask or image.
        part: the volume they are, where a series holds several.

    Returns: the product, with proof 1.
    """
    seen = laid_frames.whole and not laid_frames.assumed
    return Product(
        volume=decoded.on(laid_frames.grid, laid_frames.place(decoded.voxels, decoded.padding), name),
        series=series,
        form="image" if decoded.segments is None else "labels",
        proof=Proof.of(laid_frames.stack),
        frames=laid_frames.at_k,
        findings=(*(part.findings if part else ()), *laid_frames.findings, *decoded.findings),
        witnessed=Witnessed(laid_frames.frames, laid_frames.stack, decoded.physical) if seen else None,
        suffix=f"part-{part.number}" if part and part.name else "",
        assumed=laid_frames.assumed,
        extra={"Part": part.name} if part and part.name else {},
        late=decoded.late,
    )


def product_over_time(series: Series, parts: Sequence[Part], policy: Policy) -> Product | None:
    """Make one 4-D image of parts on one grid, volume after volume.

    Args:
        series: of kind "image".
        parts: its volumes over time.
        policy: tolerances and choices.

    Returns: the product; None where the grids of the parts differ.

    Raises: PipelineError with what keeps a part from one grid.
    """
    laid_frames = [lay_frames(part.frames, policy, series.title) for part in parts]
    first = laid_frames[0]
    if any(not _same_grid(first, other) for other in laid_frames) or not all(p.whole for p in laid_frames):
        return None
    frames = tuple(frame for volume in laid_frames for frame in volume.frames)
    decoded = decode_picture(frames, policy)
    columns, rows, _ = first.grid.shape
    voxels = Voxels((columns, rows, len(frames)), decoded.voxels.dtype, decoded.voxels.plane)
    worst = max((p.stack for p in laid_frames), key=lambda s: s.residual_mm)
    return Product(
        volume=ImageVolume(voxels, first.grid, decoded.slope, decoded.intercept, series.description),
        series=series,
        form="image",
        proof=Proof.of(worst),
        frames=frames,
        findings=(*parts[0].findings, *(f for p in laid_frames for f in p.findings), *decoded.findings),
        witnessed=Witnessed(frames, worst, decoded.physical),
        volumes=len(parts),
        extra={"Volumes": [p.name for p in parts]},
        late=decoded.late,
    )


def _decode(frames: Sequence[Frame], policy: Policy, name: str, *, padded: bool) -> Decoded:
    return decode_picture(frames, policy, padded=padded) if policy.as_ == "image" else decode_mask(frames, policy, name)


def _same_grid(one: LaidFrames, other: LaidFrames) -> bool:
    """To the bit: time points of one series print the same positions."""
    return one.grid.shape == other.grid.shape and bool((one.grid.lps == other.grid.lps).all())
