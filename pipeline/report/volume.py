"""Turn a block of voxels into the order a person thinks in: to the left, to the back, to the head.

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

from ..conversion.product import product_of_part
from ..core.findings import Code, refuse
from ..core.given_path import look_at_input
from ..core.policy import Policy
from ..diagnosis.check import PlacedBlock
from ..dicom import split_volumes
from ..dicom.scan import Series, choose, scan
from ..geometry.affine import Matrix, axis_lengths
from ..geometry.axis_order import Order, order_for
from ..nifti.file import is_named_nifti, read_header, read_planes
from ..nifti.header import require_affine
from ..volume.colour import is_rgb
from ..volume.mask import Array


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """voxels: (i, j, k) array whose axes run, as nearly as they do, to the patient's left, back and head.

    ras: 4 x 4, index in `voxels` to RAS mm. order: of `voxels`, against that of the file. slope, intercept: of the values.
    """

    voxels: Array
    ras: Matrix
    order: Order
    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def of(cls, array: Array, ras: Matrix, slope: float = 1.0, intercept: float = 0.0) -> Volume:
        """Turn an array, by exchanging and reversing its axes.

        Args:
            array: (i, j, k), in any order of the patient's axes.
            ras: (4, 4), index in `array` to RAS mm.
            slope: of the values.
            intercept: of the values.

        Returns:
            A view of the array with the affine that belongs to it.
        """
        order = order_for(ras, "LPS")
        return cls(order.of(array), ras @ order.matrix(array.shape), order, slope, intercept)

    @property
    def is_colour(self) -> bool:
        """Whether the voxels are red, green and blue, and no numbers."""
        return is_rgb(self.voxels.dtype)

    @property
    def spacing(self) -> Matrix:
        """The length of one step along each axis, (3,) mm."""
        return axis_lengths(self.ras)

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
        """Find the file's k of a plane counted along `stacked_along`."""
        axis = self.stacked_along
        return self.voxels.shape[axis] - 1 - index if self.order.flipped[axis] else index

    def at(self, ijk: NDArray[np.int64]) -> Array:
        """Take the values at (..., 3) indices of this block."""
        return np.asarray(self.voxels[ijk[..., 0], ijk[..., 1], ijk[..., 2]])

    def seen_from(self, other: Volume, ijk: NDArray[np.int64]) -> tuple[Array, NDArray[np.bool_]]:
        """Look up this block at (..., 3) indices of another: the values, and whether each lies inside of this block."""
        to_here = np.linalg.inv(self.ras) @ other.ras
        here = np.rint(ijk @ to_here[:3, :3].T + to_here[:3, 3]).astype(np.int64)
        inside = np.asarray(((here >= 0) & (here < self.voxels.shape)).all(axis=-1))
        return self.at(np.where(inside[..., None], here, 0)), inside


@dataclass(frozen=True, slots=True, eq=False)
class ShownImage:
    """The image a mask was drawn on. block: its grid by name. series: None for a NIfTI file."""

    volume: Volume
    block: PlacedBlock
    series: Series | None = None

    @property
    def frame_of_reference(self) -> str:
        """The UID, "" for a NIfTI file."""
        return "" if self.series is None else self.series.frame_of_reference_uid


def read_volume(path: Path) -> Volume:
    """Read the first 3-D block of a NIfTI file."""
    header = require_affine(read_header(path), path.name)
    block = np.stack(list(islice(read_planes(path), header.space[2])))
    return Volume.of(block.transpose(2, 1, 0), header.affine, *header.scaling)


def read_source(path: Path, record: dict[str, object], wanted: str | None = None) -> ShownImage:
    """Read the source image: a NIfTI file, or a DICOM series in the mask's Frame of Reference.

    Args:
        path: the NIfTI file, or the folder of the series.
        record: of the mask, as read from its JSON file.
        wanted: UID, number or description of the series, where several could be it.

    Returns:
        The image on its own grid; a DICOM series that leans is sheared, never resampled.

    Raises:
        PipelineError: NO_SUCH_INPUT, SEVERAL_SERIES, SEVERAL_VOLUMES, and whatever reading the image is refused for.
    """
    if not look_at_input(path).is_there:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{path.name}, the source image, is not there",
            "Check the path that --source gives.",
            where=(path.name,),
        )
    if is_named_nifti(path) and not look_at_input(path).is_folder:
        return ShownImage(read_volume(path), PlacedBlock.of_file(path))
    series = _choose_series(path, record, wanted)
    volumes = split_volumes.split(series.frames)
    if len(volumes) != 1:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"{series.title}, the source image, holds {len(volumes)} volumes, and a page shows one",
            "Convert the one that is meant with verimask convert --part NAME --as image, and give its NIfTI file as --source.",
            where=(series.uid,),
        )
    made = product_of_part(series, volumes[0], Policy(as_="image", on_tilt="shear")).volume
    slope, intercept = getattr(made, "slope", 1.0), getattr(made, "intercept", 0.0)
    volume = Volume.of(made.voxels.array(), made.grid.ras, slope, intercept)
    return ShownImage(
        volume, PlacedBlock.of_grid("a DICOM series", made.grid), series
    )  # a page holds no name of a folder


def _choose_series(path: Path, record: dict[str, object], wanted: str | None) -> Series:
    """Choose the series of a folder that can be the source. Raises SEVERAL_SERIES, NO_SUCH_SERIES.

    The mask itself is none; then the series that the record names, those in the mask's Frame of Reference, or all.
    """
    found = scan([path])
    images = [s for s in found.series if s.kind == "image"]
    others = [s for s in images if s.uid != record.get("SeriesInstanceUID")] or images
    reference = record.get("FrameOfReferenceUID")
    named = [s for s in others if s.uid == record.get("SourceSeriesInstanceUID")]
    same = named or [s for s in others if reference and s.frame_of_reference_uid == reference] or others
    if wanted is None and len(same) == 1:
        return same[0]
    return choose(replace(found, series=tuple(same)), wanted)


Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # first and last index along each axis, both included


def count_filled(block: Volume) -> tuple[Matrix, Matrix, Matrix]:
    """Count the voxels that are not 0 in each plane across each axis: (n,) for every axis."""
    columns, rows, planes = block.voxels.shape
    counts = np.zeros(columns), np.zeros(rows), np.zeros(planes)
    # Plane by plane, since all of it at once would need the memory of a second mask. NumPy adds up 16 bits many times
    # faster than 64, and no plane has a line that is longer.
    narrow = np.uint16 if max(columns, rows) <= np.iinfo(np.uint16).max else np.int64
    for k in range(planes):
        inside = (block.voxels[:, :, k] != 0).view(np.uint8)
        along = np.add.reduce(inside, axis=1, dtype=narrow)
        counts[0][:] += along
        counts[1][:] += np.add.reduce(inside, axis=0, dtype=narrow)
        counts[2][k] = along.sum(dtype=np.int64)
    return counts


def find_extent(counts: Sequence[Matrix]) -> Box:
    """Find the first and last filled plane along each axis; of the whole block where none is. counts: of `count_filled`."""
    i, j, k = (np.flatnonzero(along) if along.any() else np.arange(len(along)) for along in counts)
    return (int(i[0]), int(i[-1])), (int(j[0]), int(j[-1])), (int(k[0]), int(k[-1]))


def find_middle(counts: Sequence[Matrix]) -> tuple[int, int, int]:
    """Find the voxel nearest to the centroid of all labels, or the middle of a block without any. counts: as above."""
    i, j, k = (middle_plane(along) for along in counts)
    return i, j, k


def middle_plane(counts: Matrix) -> int:
    """Find the plane of the centroid along one axis. counts: (n,) labelled voxels in each plane.

    A centroid may lie outside of what it is the centre of: then it is the nearest plane that has voxels.
    """
    total = counts.sum()
    if not total:
        return (len(counts) - 1) // 2
    centroid = round(float(np.arange(len(counts)) @ counts / total))
    filled = np.flatnonzero(counts)
    return centroid if counts[centroid] else int(filled[np.abs(filled - centroid).argmin()])
