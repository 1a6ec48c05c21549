"""A block of voxels in the order a person thinks in: to the left, to the back, to the head.

Rules:
- Axes are exchanged and reversed, nothing is resampled; an oblique block keeps its own axes and its lean is a number.
- A second block is looked up at the voxels of the first, nearest voxel, by both affines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..conversion.product import of_part
from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..diagnosis.check import PlacedBlock
from ..dicom import split_volumes
from ..dicom.scan import Series, choose, scan
from ..geometry.affine import Matrix
from ..geometry.axis_order import Order, order_for
from ..nifti.file import is_named_nifti, read_header, read_planes
from ..nifti.header import require_affine
from ..volume.mask import Array


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """voxels: (i, j, k) array whose axes run, as nearly as they do, to the patient's left, back and head.

    ras: 4 x 4, index in `voxels` to RAS mm. order: of `voxels`, told against the file. slope, intercept: of the values.
    """

    voxels: Array
    ras: Matrix
    order: Order
    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def of(cls, array: Array, ras: Matrix, slope: float = 1.0, intercept: float = 0.0) -> Volume:
        """From an (i, j, k) array in any order with its affine."""
        order = order_for(ras, "LPS")
        return cls(order.of(array), ras @ order.matrix(array.shape), order, slope, intercept)

    @property
    def spacing(self) -> Matrix:
        """(3,) mm of one step along each axis."""
        return np.asarray(np.linalg.norm(self.ras[:3, :3], axis=0))

    @property
    def stacked_along(self) -> int:
        """The axis of `voxels` that counts the file's planes (its k)."""
        return self.order.axes.index(2)

    @property
    def lean_degrees(self) -> float:
        """The largest angle between an axis of the block and the patient axis it is named after."""
        cosines = np.abs(np.diag(self.ras[:3, :3])) / self.spacing
        return float(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max())

    def file_plane(self, index: int) -> int:
        """The file's k of a plane counted along `stacked_along`."""
        axis = self.stacked_along
        return self.voxels.shape[axis] - 1 - index if self.order.flipped[axis] else index

    def at(self, ijk: NDArray[np.int64]) -> Array:
        """Values at (..., 3) indices of this block."""
        return np.asarray(self.voxels[ijk[..., 0], ijk[..., 1], ijk[..., 2]])

    def seen_from(self, other: Volume, ijk: NDArray[np.int64]) -> tuple[Array, NDArray[np.bool_]]:
        """Values of this block where another has its voxels, (..., 3) indices of that one, and where there are any."""
        to_here = np.linalg.inv(self.ras) @ other.ras
        here = np.rint(ijk @ to_here[:3, :3].T + to_here[:3, 3]).astype(np.int64)
        inside = np.asarray(((here >= 0) & (here < self.voxels.shape)).all(axis=-1))
        return self.at(np.where(inside[..., None], here, 0)), inside


@dataclass(frozen=True, slots=True, eq=False)
class ShownImage:
    """The image a mask was drawn on. frame_of_reference: its UID, "" for a NIfTI file. series: None for a NIfTI file."""

    volume: Volume
    placed: PlacedBlock
    series: Series | None = None

    @property
    def frame_of_reference(self) -> str:
        return "" if self.series is None else self.series.frame_of_reference_uid


def of_file(path: Path) -> Volume:
    """The first 3-D block of a NIfTI file."""
    header = require_affine(read_header(path), path.name)
    block = np.stack(list(islice(read_planes(path), header.space[2])))
    return Volume.of(block.transpose(2, 1, 0), header.affine, *header.scaling)


def source_of(path: Path, record: dict[str, object], wanted: str | None = None) -> ShownImage:
    """The source image: a NIfTI file, or a folder with a DICOM series in the mask's Frame of Reference.

    wanted: UID, number or description of the series, where several could be it. Raises PipelineError.
    """
    if not path.exists():
        raise refuse(Code.NO_SUCH_INPUT, f"{path.name}, the source image, is not there", where=(path.name,))
    if is_named_nifti(path) and not path.is_dir():
        return ShownImage(of_file(path), PlacedBlock.of_file(path))
    series = _series(path, record, wanted)
    volumes = split_volumes.split(series.frames)
    if len(volumes) != 1:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"{series.title}, the source image, holds {len(volumes)} volumes, and a page shows one",
            "Convert the one that is meant with --as image, and give its NIfTI file as the source.",
        )
    made = of_part(series, volumes[0], Policy(as_="image", on_tilt="shear")).volume
    slope, intercept = getattr(made, "slope", 1.0), getattr(made, "intercept", 0.0)
    volume = Volume.of(made.voxels.array(), made.grid.ras, slope, intercept)
    return ShownImage(volume, PlacedBlock.of_grid(path.name, made.grid), series)


def _series(path: Path, record: dict[str, object], wanted: str | None) -> Series:
    """The series of a folder that can be the source: not the mask itself, and in its Frame of Reference."""
    found = scan([path])
    images = [s for s in found.series if s.kind == "image"]
    others = [s for s in images if s.uid != record.get("SeriesInstanceUID")] or images
    reference = record.get("FrameOfReferenceUID")
    named = [s for s in others if s.uid == record.get("SourceSeriesInstanceUID")]
    same = named or [s for s in others if reference and s.frame_of_reference_uid == reference] or others
    if wanted is None and len(same) == 1:
        return same[0]
    return choose(replace(found, series=tuple(same)), wanted)


def middle_of(mask: Volume | None, shape: Sequence[int]) -> tuple[int, int, int]:
    """The voxel nearest to the centroid of all labels, or the middle of the block where there are none."""
    counts = [np.zeros(n) for n in shape]
    if mask is not None:
        for k in range(shape[2]):
            inside = mask.voxels[:, :, k] != 0
            counts[0] += inside.sum(axis=1)
            counts[1] += inside.sum(axis=0)
            counts[2][k] = inside.sum()
    found = [
        round(float(np.arange(n) @ c / c.sum())) if c.sum() else (n - 1) // 2
        for n, c in zip(shape, counts, strict=True)
    ]
    # A centroid may lie outside of what it is the centre of: then the nearest plane with voxels is shown.
    i, j, k = (
        place if not c.sum() or c[place] else int(np.flatnonzero(c)[np.abs(np.flatnonzero(c) - place).argmin()])
        for place, c in zip(found, counts, strict=True)
    )
    return i, j, k
