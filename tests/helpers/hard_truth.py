"""Where every voxel of a written series lies, by its own headers, and where a NIfTI file says it lies.

Rules:
- The truth is read back from the files by pydicom and equation C.7.6.2.1-1 alone, spoilt or not: nothing of `pipeline`
  is used.
- Every voxel of a case has a value of its own, so a value alone tells which voxel it was: `compared` asks of each value
  of a NIfTI file how far from its acquired place the file puts it.
- Where a grid was resampled, `interpolated` does it anew, one voxel at a time from the planes' equations: no code is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.multival import MultiValue
from pydicom.uid import ImplicitVRLittleEndian

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Acquired:
    """One plane as it was acquired: (rows, columns) stored and physical values, and its equation, LPS mm."""

    name: str
    stored: NDArray[Any]
    physical: NDArray[np.float64]
    position: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    between_rows: float
    between_columns: float

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.row, self.column)

    def points(self) -> NDArray[np.float64]:
        """(rows, columns, 3) LPS mm."""
        j, i = np.mgrid[: self.stored.shape[0], : self.stored.shape[1]]
        along = np.multiply.outer(i * self.between_columns, self.row)
        return self.position + along + np.multiply.outer(j * self.between_rows, self.column)

    def indices(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) column and row, as fractions, of (n, 3) LPS points projected onto the plane."""
        axes = np.stack([self.row * self.between_columns, self.column * self.between_rows], 1)
        return (points - self.position) @ np.linalg.pinv(axes).T


def truth(folder: Path, chosen: Callable[[Dataset], bool] = lambda dataset: True) -> list[Acquired]:
    """Every plane that has a place, of all files of the folder whose data set is chosen; a repeated file once."""
    found: dict[tuple[str, int], Acquired] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        dataset = dcmread(path, force=True)
        if "PixelData" not in dataset or dataset.SamplesPerPixel > 1 or not chosen(dataset):
            continue
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        for n, plane in enumerate(_place(path, dataset, pixels)):
            found[dataset.SOPInstanceUID, n] = plane
    return list(found.values())


def acquired_planes(path: Path, pixels: NDArray[Any]) -> list[Acquired]:
    """The planes of one file that have a place, with these (frames, rows, columns) stored values."""
    return _place(path, dcmread(path), pixels)


def _place(path: Path, dataset: Dataset, pixels: NDArray[Any]) -> list[Acquired]:
    found = []
    for n, plane in enumerate(pixels):
        equation = _equation(dataset, n)
        if equation is not None:
            position, cosines, spacing, slope, intercept = equation
            physical = plane * slope + intercept
            found.append(Acquired(path.name, plane, physical, position, cosines[:3], cosines[3:], *spacing))
    return found


def _equation(dataset: Dataset, n: int) -> tuple[Any, ...] | None:
    """Position, cosines, spacings and rescale of frame n, from the functional groups or the data set itself."""
    groups = [dataset]
    for name, at in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", n)):
        for item in dataset.get(name, [])[at : at + 1]:
            groups += [element.value[0] for element in item if element.VR == "SQ" and element.value]
    values: dict[str, Any] = {}
    for group in groups:
        values.update({e.keyword: e.value for e in group if e.keyword})
    try:
        position = np.array(values["ImagePositionPatient"], float)
        cosines = np.array(values["ImageOrientationPatient"], float)
        spacing = [float(v) for v in values["PixelSpacing"]]
    except (KeyError, TypeError):
        return None
    if len(spacing) != 2:  # which two are meant is not said
        return None
    if n and "PerFrameFunctionalGroupsSequence" not in dataset:
        if "SpacingBetweenSlices" not in values:
            return None
        position = position + n * float(values["SpacingBetweenSlices"]) * np.cross(cosines[:3], cosines[3:])
    slope, intercept = (_first(values.get(k, default)) for k, default in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    return position, cosines, spacing, slope, intercept


def _first(value: Any) -> float:
    """One number, the first where there are several."""
    return float(value[0] if isinstance(value, MultiValue) else value)


@dataclass(frozen=True)
class Compared:
    """A NIfTI file against the truth. worst_mm: over every value that is in both; lost: acquired values that are not in
    the file; foreign: values of the file that nobody acquired, other than the padding."""

    worst_mm: float
    lost: int
    foreign: int


def compared(
    acquired: Sequence[Acquired], array: NDArray[Any], affine_ras: NDArray[np.float64], *, stored: bool
) -> Compared:
    """Where the file says each unique value lies, against where it was acquired. stored: without the modality rescale."""
    planes = [a.stored if stored else a.physical for a in acquired]
    values = _keys(np.concatenate([p.ravel() for p in planes]))
    places = np.concatenate([a.points().reshape(-1, 3) for a in acquired])
    order = np.argsort(values)
    values, places = values[order], places[order]
    flat = _keys(array.ravel())
    at = np.clip(np.searchsorted(values, flat), 0, len(values) - 1)
    known = values[at] == flat
    index = np.stack(np.unravel_index(np.arange(flat.size), array.shape), -1)[known, :3]
    distances = np.linalg.norm(_lps(index, affine_ras) - places[at[known]], axis=1)
    lowest = at[known] == 0  # an image is padded with its lowest value: the nearest voxel of it is the acquired one
    if lowest.any():
        distances = np.append(distances[~lowest], distances[lowest].min())
    foreign = len(set(flat[~known].tolist()) - {0})
    return Compared(float(distances.max(initial=0.0)), len(np.setdiff1d(values, flat)), foreign)


def compared_by_place(
    acquired: Sequence[Acquired], array: NDArray[Any], affine_ras: NDArray[np.float64], *, stored: bool
) -> Compared:
    """What the file has where each voxel was acquired, for values that repeat. worst_mm: of an acquired place from the
    centre of the voxel it lies in; lost: acquired voxels that have another value there, or lie in none; foreign: voxels
    of the file where none was acquired."""
    values = np.concatenate([(a.stored if stored else a.physical).ravel() for a in acquired])
    points = np.concatenate([a.points().reshape(-1, 3) for a in acquired]) @ RAS_TO_LPS
    index = np.linalg.solve(affine_ras[:3, :3], (points - affine_ras[:3, 3]).T).T
    whole = np.rint(index).astype(int)
    off = np.linalg.norm((index - whole) @ affine_ras[:3, :3].T, axis=1)
    block = array.reshape((*array.shape, 1)[:3])
    within = ((whole >= 0) & (whole < block.shape)).all(axis=1)
    same = np.isclose(block[tuple(whole[within].T)].astype(float), values[within], rtol=1e-9, atol=0)
    places = len(np.unique(whole[within], axis=0))
    return Compared(float(off.max(initial=0.0)), len(values) - int(same.sum()), block.size - places)


def blended(
    acquired: Sequence[Acquired], array: NDArray[Any], affine_ras: NDArray[np.float64], reach_mm: float = np.inf
) -> float:
    """The largest difference of a resampled file from `interpolated`, inside the acquired block; the grid must hold it.

    Between planes further apart than `reach_mm` the lowest value of the file stands.
    """
    corners = np.concatenate([a.points()[[0, 0, -1, -1], [0, -1, 0, -1]] for a in acquired])
    inside = np.column_stack([corners @ RAS_TO_LPS, np.ones(len(corners))]) @ np.linalg.inv(affine_ras).T[:, :3]
    assert (inside > -0.51).all()
    assert (inside < np.array(array.shape) - 0.49).all()
    index = np.stack(np.unravel_index(np.arange(array.size), array.shape), -1)
    expected = interpolated(acquired, _lps(index, affine_ras), reach_mm)
    expected[np.isneginf(expected)] = array.min()
    known = np.isfinite(expected)
    assert known.sum() > 0.3 * sum(a.stored.size for a in acquired)
    return float(np.abs(array.ravel()[known] - expected[known]).max())


def interpolated(
    acquired: Sequence[Acquired], points: NDArray[np.float64], reach_mm: float = np.inf
) -> NDArray[np.float64]:
    """(n,) physical values at (n, 3) LPS points, linear in the planes and between them; NaN outside, -inf in a gap."""
    planes = sorted(acquired, key=lambda a: float(a.position @ acquired[0].normal))
    depths = np.array([a.position @ planes[0].normal for a in planes])
    at = points @ planes[0].normal
    above = np.clip(np.searchsorted(depths, at), 1, len(planes) - 1)
    weight = (at - depths[above - 1]) / (depths[above] - depths[above - 1])
    result = np.zeros(len(points))
    for offset, share in ((-1, 1 - weight), (0, weight)):
        values = np.full(len(points), np.nan)
        for k, plane in enumerate(planes):
            here = above + offset == k
            values[here] = bilinear(plane, points[here])
        share = np.where(np.abs(share) < 1e-3, 0, np.where(np.abs(share - 1) < 1e-3, 1, share))
        result += np.where(share == 0, 0, values) * share
    between = (weight > 1e-3) & (weight < 1 - 1e-3)
    result[between & (depths[above] - depths[above - 1] > reach_mm)] = -np.inf
    result[(weight < -1e-3) | (weight > 1 + 1e-3)] = np.nan
    return result


def bilinear(plane: Acquired, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) physical values at the projections of (n, 3) LPS points onto the plane; NaN outside."""
    rows, columns = plane.stored.shape
    i, j = np.round(plane.indices(points), 4).T
    inside = (i >= 0) & (i <= columns - 1) & (j >= 0) & (j <= rows - 1)
    values = np.full(len(points), np.nan)
    i, j = i[inside], j[inside]
    i0, j0 = np.minimum(i.astype(int), columns - 2), np.minimum(j.astype(int), rows - 2)
    di, dj, p = i - i0, j - j0, plane.physical
    top = p[j0, i0] * (1 - di) + p[j0, i0 + 1] * di
    bottom = p[j0 + 1, i0] * (1 - di) + p[j0 + 1, i0 + 1] * di
    values[inside] = top * (1 - dj) + bottom * dj
    return values


def voxels_of(image: Any) -> NDArray[np.float64]:
    """The values of a nibabel image as real numbers; a colour of three bytes is one number, red * 65536 + green * 256 + blue."""
    stored = np.asanyarray(image.dataobj)
    if stored.dtype.names is None and stored.dtype == np.uint8 and stored.shape[3:] == (1, 3):  # as ITK writes colours
        return stored[:, :, :, 0].astype(np.float64) @ np.array([65536, 256, 1])
    if stored.dtype.names is None:
        return np.asarray(image.get_fdata())
    red, green, blue = (stored[name].astype(np.float64) for name in stored.dtype.names[:3])
    return red * 65536 + green * 256 + blue


def _lps(index: NDArray[Any], affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
    return (index @ affine_ras[:3, :3].T + affine_ras[:3, 3]) @ RAS_TO_LPS


def _keys(values: NDArray[Any]) -> NDArray[np.int64]:
    """Values as whole numbers of 1/64: exact for all slopes used, and deaf to the rounding of float32."""
    return np.rint(np.asarray(values, float) * 64).astype(np.int64)
