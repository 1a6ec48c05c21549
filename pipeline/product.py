"""One volume ready to be written: what every kind of input becomes before it is a file.

Rules:
- A product carries its proof: the stack of the planes its grid was fitted to, or the grid's own source.
- `shown` is what witnesses may be shown to judge it: frames in the order of the grid's k. None where no other reader
  can see what was done (planes filled, voxels resampled); then the result stays unconfirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.decode.image import Decoded, decode_image, decode_mask
from pipeline.findings import Finding
from pipeline.geometry import Grid, Stack
from pipeline.laying import Laid, lay
from pipeline.mask import Array, Image, Mask, Voxels
from pipeline.parts import Part
from pipeline.policy import Policy
from pipeline.series import Frame, Series

Physical = Callable[[int, Array], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A mask or image on its grid, with its proof and its origin.

    frames: for each k, the frame whose plane lies there, or None. physical: see decode.image; None where a witness
    can only be asked for its affine. volumes: how many 3-D volumes follow each other in the voxels (4-D). suffix: for
    the file name. assumed: why places are assumed, "" where they are given. extra: further blocks of the record.
    """

    volume: Mask | Image
    series: Series
    stack: Stack
    frames: tuple[Frame | None, ...]
    findings: tuple[Finding, ...] = ()
    shown: tuple[Frame, ...] | None = None
    physical: Physical | None = None
    volumes: int = 1
    suffix: str = ""
    assumed: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        return self.volume.grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the file: with a fourth number where there are several volumes."""
        return self.grid.shape if self.volumes == 1 else (*self.grid.shape, self.volumes)


def of_part(series: Series, part: Part, policy: Policy) -> Product:
    """One volume of an image series."""
    laid = lay(part.frames, policy, series.title)
    whole = laid.plan is None and None not in laid.slots
    name = " ".join(p for p in (series.description, part.name) if p)
    decoded = _decode(laid.frames, policy, name, padded=not whole)
    volume = decoded.on(laid.grid, laid.place(decoded.voxels, decoded.padding), name)
    return Product(
        volume=volume,
        series=series,
        stack=laid.stack,
        frames=laid.at_k,
        findings=(*laid.findings, *decoded.findings),
        shown=laid.frames if whole and not laid.assumed else None,
        physical=decoded.physical,
        suffix=f"part-{part.number}" if part.name else "",
        assumed=laid.assumed,
        extra={"Part": part.name} if part.name else {},
    )


def of_time(series: Series, parts: Sequence[Part], policy: Policy) -> Product | None:
    """Parts on one grid as one 4-D image, volume after volume; None where their grids differ."""
    laid = [lay(part.frames, policy, series.title) for part in parts]
    first = laid[0]
    if any(not _same_grid(first, other) for other in laid) or any(p.plan is not None or None in p.slots for p in laid):
        return None
    frames = [frame for volume in laid for frame in volume.frames]
    decoded = decode_image(frames)
    columns, rows, _ = first.grid.shape
    voxels = Voxels((columns, rows, len(frames)), decoded.voxels.dtype, decoded.voxels.plane)
    volume = Image(voxels, first.grid, decoded.slope, decoded.intercept, series.description)
    return Product(
        volume=volume,
        series=series,
        stack=max((p.stack for p in laid), key=lambda s: s.residual_mm),
        frames=tuple(frames),
        findings=(*(f for p in laid for f in p.findings), *decoded.findings),
        shown=tuple(frames),
        physical=decoded.physical,
        volumes=len(parts),
        extra={"Volumes": [p.name for p in parts]},
    )


def _decode(frames: Sequence[Frame], policy: Policy, name: str, *, padded: bool) -> Decoded:
    return decode_image(frames, padded=padded) if policy.as_ == "image" else decode_mask(frames, policy, name)


def _same_grid(one: Laid, other: Laid) -> bool:
    """To the bit: time points of one series print the same positions."""
    return one.grid.shape == other.grid.shape and bool((one.grid.lps == other.grid.lps).all())
