"""Ask highdicom, the reader that its users load SEGs with, what a DICOM SEG shows on the grid of its source.

Rules:
- It reads the SEG, and the grid of the source images, as its users ask it to: `segread`, `get_volume`, the geometry of the
  series. Nothing here decodes pixels or computes a position; voxels are only put where its own transformer says they lie.
- A segment that its table does not describe, frames that form no regular volume, and planes that lean are refused by it.
- It wants the segment among the dimensions of a file. Where it is not, it is added in memory, and the answer says so.
- A SEG that does not lie on the voxels of its source for it is given on its own grid.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ...core.temporary_folder import make_temporary_folder
from ..child import find_version, serve_masks
from ..job_files import put_files, states_of
from ..testimony import MaskJob, Testimony

NAME = "highdicom"
_DOWNLOADS = ("requests", "tqdm")  # of pydicom's example files; nothing asked here needs them
_SEGMENT = 0x0062000B  # Referenced Segment Number
_WITHIN = 0.1  # of a voxel: how far those of a SEG may lie from those of its source to be the same
_ORIENTATION = 1e-3  # by how much the printed directions of the planes of one series may differ
_GEOMETRY = (
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SpacingBetweenSlices",
)


class _Part(NamedTuple):
    """That part of a grid which a SEG fills. array: along the axes of the grid. first: index of its first voxel."""

    array: Any
    first: Any


def main() -> None:
    gc.disable()  # a SEG of thousands of frames is a million objects, and all of them stay
    sys.modules.update(dict.fromkeys(_DOWNLOADS))  # type: ignore[arg-type]  # as if they were not installed
    import highdicom.seg  # noqa: F401  (paid while the parent reads headers)

    serve_masks(NAME, lambda: find_version(NAME), answer)


def answer(job: MaskJob) -> Testimony:
    """Read the one SEG instance of a job, and put it onto the grid of its source, both as highdicom reads them."""
    seg, note = _open(*job.mask_files, states_of(job.mask_files))
    volume = _read_volume(seg, job)
    grid, part = volume.get_geometry(), _Part(volume.array, np.zeros(3, int))
    if job.files:
        with suppress(
            RuntimeError
        ):  # where it takes the images for no volume, the mask is given where its own frames lie
            source = _read_geometry(tuple(dict.fromkeys(job.files)), states_of(job.files))
            moved = _put_onto(volume, source)
            grid, part = (grid, part) if moved is None else (source, moved)
    part = _cut_empty(part)
    # Its axes are plane, row and column; ours the other way round.
    affine = np.asarray(grid.get_affine("RAS"), float)[:, [2, 1, 0, 3]]
    i, j, k = (int(n) for n in part.first[::-1])
    shape = tuple(int(n) for n in grid.spatial_shape[::-1])
    return Testimony(NAME, find_version(NAME), affine, shape, part.array.transpose(), note=note, box=(i, j, k))


@lru_cache(1)  # overlapping segments are a file each, and each of them a job
def _open(path: str, _states: Any) -> tuple[Any, str]:
    """Read a SEG as `segread` does, and say what was added for it: whole, since of frames read one by one it lacks bits."""
    from highdicom.seg import DimensionIndexSequence, Segmentation
    from pydicom import Dataset, dcmread

    (file,) = put_files([path], make_temporary_folder())
    dataset = dcmread(file)
    _refuse_padding(dataset)
    dimensions = [item.get("DimensionIndexPointer") for item in dataset.get("DimensionIndexSequence") or ()]
    if dataset.get("SegmentationType") == "LABELMAP" or _SEGMENT in dimensions:
        return Segmentation.from_dataset(dataset, copy=False), ""
    dataset.DimensionIndexSequence = DimensionIndexSequence("PATIENT")
    for number, item in enumerate(dataset.get("PerFrameFunctionalGroupsSequence") or (), 1):
        content = (item.get("FrameContentSequence") or [Dataset()])[0]
        content.DimensionIndexValues = [1, number]  # it looks at what is indexed, not at the index
        item.FrameContentSequence = [content]
    return Segmentation.from_dataset(dataset, copy=False), "asked with the segment as a dimension, which the file lacks"


def _refuse_padding(dataset: Any) -> None:
    """Refuse native pixels that it would read from the wrong places: it takes frames to follow each other without a gap."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    bits = int(dataset.get("NumberOfFrames", 1)) * dataset.Rows * dataset.Columns * dataset.BitsAllocated
    packed, found = (bits + 7) // 8, len(dataset.get("PixelData") or b"")
    if found not in (packed, packed + packed % 2):
        raise ValueError(f"Pixel Data has {found} bytes, and its frames without gaps are {packed}")


def _read_volume(seg: Any, job: MaskJob) -> Any:
    """Read the segments of a job as one volume with the values of our file."""
    labels = dict(job.labels)
    # Combined, it would multiply what is stored by the number of the segment.
    is_plain = seg.SegmentationType == "BINARY" and seg.BitsAllocated == 1 and 0 not in labels
    if seg.SegmentationType != "LABELMAP" and not is_plain:
        return _read_each(seg, labels, job.options.get("fractional", 0.5))
    # Asked for some segments of a label map, it leaves others in; so it is asked for all.
    numbers = None if seg.SegmentationType == "LABELMAP" else list(labels)
    volume = seg.get_volume(segment_numbers=numbers, combine_segments=True)
    stored = volume.array
    dtype = _dtype_for(max(labels.values()))
    if numbers and stored.dtype == dtype and all(number == value for number, value in labels.items()):
        return volume
    values = np.zeros(max(int(stored.max(initial=0)), *labels) + 1, dtype)
    for number, value in labels.items():
        values[number] = value
    return volume.with_array(values[stored])


def _read_each(seg: Any, labels: dict[int, int], fractional: float | str) -> Any:
    """Read segments of more than one bit one by one: the stored values where fractions are kept, else what is inside.

    Inside is a fraction from its part of the maximum on; of a binary segment, and of one bit, all but 0.
    """
    whole: Any = None
    is_fraction = seg.SegmentationType == "FRACTIONAL" and seg.BitsAllocated > 1
    for number, value in labels.items():
        volume = seg.get_volume(segment_numbers=[number], rescale_fractional=False, dtype=np.uint16).squeeze_channel()
        if fractional == "keep":
            return volume
        inside = volume.array >= (fractional * seg.MaximumFractionalValue if is_fraction else 1)
        if whole is None:
            whole = volume.with_array(np.zeros(inside.shape, _dtype_for(max(labels.values()))))
        if whole.array[inside].any():
            raise RuntimeError("Cannot combine segments because segments overlap.")
        whole.array[inside] = value
    return whole


def _dtype_for(largest: int) -> Any:
    """The smallest unsigned type that holds a value, and one more, which stands for a voxel that is left open."""
    return np.min_scalar_type(largest + 1)


@lru_cache(1)
def _read_geometry(paths: tuple[str, ...], _states: Any) -> Any:
    """Read where the voxels of an image series lie. Raises what highdicom has against them."""
    from highdicom import imread
    from highdicom.spatial import get_series_volume_positions
    from highdicom.volume import VolumeGeometry
    from pydicom import dcmread

    files = put_files(paths, make_temporary_folder())
    if len(files) == 1 and "NumberOfFrames" in dcmread(files[0], specific_tags=["NumberOfFrames"]):
        geometry = imread(files[0], lazy_frame_retrieval=True).get_volume_geometry()
        if geometry is None:
            raise RuntimeError("the source image does not represent a regularly-spaced volume")
        return geometry
    tags = [*_GEOMETRY, "NumberOfFrames", "SOPClassUID"]
    headers = [dcmread(file, stop_before_pixels=True, specific_tags=tags) for file in files]
    spacing, places = get_series_volume_positions(headers, orientation_tol=_ORIENTATION)
    if spacing is None or places is None:
        raise RuntimeError("the source images do not form a regularly-spaced volume")
    first = headers[places.index(0)]
    return VolumeGeometry.from_attributes(
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        rows=first.Rows,
        columns=first.Columns,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=spacing,
        number_of_frames=len(headers),
        coordinate_system="PATIENT",
    )


def _put_onto(volume: Any, grid: Any) -> _Part | None:
    """Put the planes of a volume where they lie on a grid; None where a pixel of one is no voxel of it.

    Each plane that shows something is put by itself: without its empty ones a volume may have another step, or, by a tag, a
    finer one.
    """
    from highdicom.volume import VolumeToVolumeTransformer

    to_grid = VolumeToVolumeTransformer(volume.get_geometry(), grid)
    axes = np.abs(to_grid.affine[:3, :3]).argmax(axis=0)
    shown = np.flatnonzero(volume.array.any(axis=(1, 2)))
    if sorted(axes) != [0, 1, 2] or not shown.size:
        return None
    signs = np.sign(to_grid.affine[axes, range(3)]).astype(int)
    ends = np.array(list(product(shown, *((0, n - 1) for n in volume.spatial_shape[1:]))))
    given = to_grid(ends.astype(float))
    whole = np.rint(given[::4]).astype(int).repeat(4, axis=0)  # of the first pixel of each plane, at its four corners
    for axis in (1, 2):
        whole[:, axes[axis]] += signs[axis] * ends[:, axis]
    at = whole[::4, axes[0]]
    if np.abs(given - whole).max() > _WITHIN or len(set(at)) < len(at):
        return None
    block = np.zeros((at.max() - at.min() + 1, *volume.array.shape[1:]), volume.array.dtype)
    block[at - at.min()] = volume.array[shown]
    turned = np.flip(block, tuple(axis for axis in (1, 2) if signs[axis] < 0)).transpose(np.argsort(axes))
    return _cut(turned, whole.min(axis=0), grid.spatial_shape)


def _cut(array: Any, first: Any, shape: tuple[int, ...]) -> _Part | None:
    """Cut an array that begins at an index of a grid to what lies on it; None where something of it lies beyond."""
    inside = [slice(max(0, -f), max(0, n - f)) for f, n in zip(first, shape, strict=True)]
    kept = array[tuple(inside)]
    if kept.shape != array.shape and np.count_nonzero(kept) != np.count_nonzero(array):
        return None
    return _Part(kept, np.maximum(first, 0))


def _cut_empty(part: _Part) -> _Part:
    """Cut a part to the box of its voxels that are not 0; that of an empty one is a single voxel."""
    found = [np.flatnonzero(part.array.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(n[0], n[-1] + 1) if n.size else slice(0, 1) for n in found)
    return _Part(np.ascontiguousarray(part.array[box]), part.first + [side.start for side in box])


if __name__ == "__main__":
    main()
