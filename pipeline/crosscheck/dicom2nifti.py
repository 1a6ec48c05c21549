"""Ask dicom2nifti as a witness, with its own defaults, on the files we selected.

Rules:
- It is asked as a user would ask it, its reordering to LAS included, on data sets read afresh.
- Where it refuses what it need not (instance numbers, empty timing tags, fewer than four planes), it is asked once more
  on copies with only those tags rewritten and its validations lifted, and the answer says so. Position, orientation
  and spacing are never touched.
- Colours it gives as RGBA, or as a fourth axis: their red, green and blue are its answer.
- A file of several frames without functional groups is asked for once: its checks are what keeps it from misreading one.
- For the affine alone, only headers are read: its own code runs with an empty block in place of the pixels.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from itertools import product
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from .child import describe_error, find_version, serve
from .testimony import Job, Testimony

if TYPE_CHECKING:
    from ..geometry.affine import Matrix
    from ..geometry.axis_order import Order
    from ..volume.mask import Array

NAME = "dicom2nifti"
# pydicom and nibabel import these with themselves, and nothing that is asked here needs them: half of the import time.
_DECODERS = ("gdcm", "pylibjpeg", "openjpeg", "jpeg_ls", "PIL")  # for voxels alone
_DOWNLOADS = ("requests", "tqdm")  # of pydicom's example files
_LATER = ("scipy", "scipy.ndimage", "urllib.request", "pydicom.examples")  # for resampling, downloads and documentation
_SMALL = 1024  # bytes of an array whose comparison is remembered
_REMEMBERED = 1000  # comparisons
# Its checks that refuse what is sound: few planes, a lean, jitter, implicit VR. What they guard, Proof 1 has judged.
_LIFTED = ("slicecount", "orientation", "orthogonal", "slice_increment", "multiframe_implicit")


def stored_order(ras: Matrix) -> Order:
    """The order in which dicom2nifti stores an array: its LAS. `ras`: 4 x 4, index to RAS mm, any affine.

    Each patient direction takes the axis that has most of it, the strongest first, and "most" is counted in voxels: it
    looks at the inverse affine, where a small spacing weighs more. So on oblique grids of unequal spacings its LAS need
    not be that of nibabel (`geometry.axis_order.order_for`).
    """
    from ..geometry.axis_order import Order

    steps = np.linalg.inv(ras)[:3, :3]
    axis_for = dict[int, int]()  # patient direction (left-right, back-front, foot-head) to axis
    for axis, world in sorted(product(range(3), range(3)), key=lambda aw: (-abs(steps[aw]), aw[1])):
        if world not in axis_for and axis not in axis_for.values():
            axis_for[world] = axis
    axes = tuple(axis_for[world] for world in range(3))
    runs_up = [bool(steps[axis, world] > 0) for world, axis in enumerate(axes)]
    return Order(axes, (runs_up[0], not runs_up[1], not runs_up[2]))  # type: ignore[arg-type]


def main() -> None:
    gc.disable()  # it collects garbage for every series itself
    for name in _LATER:
        _import_later(name)
    missing = (*_DOWNLOADS, *(_DECODERS if sys.argv[1:] == ["headers"] else ()))
    sys.modules.update(dict.fromkeys(missing))  # as if they were not installed
    import dicom2nifti  # noqa: F401  (paid while the parent reads headers)

    np.allclose = _remember(np.allclose)
    gc.freeze()  # and need not look at its own modules each time
    serve(NAME, lambda: find_version(NAME), _answer)


def _import_later(name: str) -> None:
    """Replace a module by a placeholder that imports it when one of its attributes is used."""

    def load(attribute: str) -> Any:
        sys.modules.pop(name, None)
        return getattr(import_module(name), attribute)

    placeholder = ModuleType(name)
    placeholder.__dict__["__getattr__"] = load
    sys.modules[name] = placeholder


def _remember(compare: Callable[..., bool]) -> Callable[..., bool]:
    """Make a comparison of two arrays answer at once where it was asked the same before.

    dicom2nifti holds the directions of every plane against those of the first, six times each: half of its own time.
    """
    known = dict[tuple[Any, ...], bool]()

    def remembered(one: Any, other: Any, *limits: Any, **named: Any) -> bool:
        arrays = np.asarray(one), np.asarray(other)
        if any(a.dtype.hasobject or a.nbytes > _SMALL for a in arrays):  # no numbers, or no direction
            return compare(one, other, *limits, **named)
        key = (*((a.shape, a.dtype, a.tobytes()) for a in arrays), limits, *named.items())
        if key not in known:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[key] = compare(one, other, *limits, **named)
        return known[key]

    return remembered


def _answer(job: Job) -> Testimony:
    """Convert as a user would; where it refuses, once more without its checks, and note that."""
    try:
        return _convert(job, lenient=False)
    except Exception as first:
        if _has_one_place(job):
            raise
        refused = f"it refused with {describe_error(first)}"
        note = f"asked again without its checks and with plain numbering, after {refused}"
        return replace(_convert(job, lenient=True), note=note)


def _has_one_place(job: Job) -> bool:
    """Whether a file of several frames has no functional groups: without its checks it would take it for one plane."""
    several = set(job.files) if len(set(job.files)) < len(job.files) else set()
    headers = (_read_file(path, stop_before_pixels=True) for path in several)
    return any(h.get("NumberOfFrames") and "PerFrameFunctionalGroupsSequence" not in h for h in headers)


def _convert(job: Job, *, lenient: bool) -> Testimony:
    from dicom2nifti import common, convert_dicom, convert_generic, settings
    from nibabel.nifti1 import Nifti1Image

    datasets = [_read_dataset(path, job.voxels) for path in dict.fromkeys(job.files)]
    if lenient:
        _renumber(datasets)
    with ExitStack() as patched:
        if not job.voxels:
            patched.enter_context(_replaced(common, "get_volume_pixeldata", _make_single_block))
            patched.enter_context(_replaced(common, "multiframe_to_block", _make_multi_block))
            patched.enter_context(_replaced(convert_generic, "create_rgba_nifti", Nifti1Image))
        for name in _LIFTED if lenient else ():
            patched.enter_context(_replaced(settings, f"validate_{name}", False))
        # It insists on writing what it reorders; the image it returns is enough.
        patched.enter_context(_replaced(Nifti1Image, "to_filename", _write_nothing))
        image = convert_dicom.dicom_array_to_nifti(datasets, None, reorient_nifti=True)["NII"]
    shape, affine = tuple(image.shape), np.asarray(image.affine, float)
    if datasets[0].get("SamplesPerPixel", 1) == 1:
        return Testimony(NAME, find_version(NAME), affine, shape, np.asanyarray(image.dataobj) if job.voxels else None)
    shape = shape[:3] if len(shape) < 4 else _without_samples(shape)
    array = _as_colours(np.asanyarray(image.dataobj), shape) if job.voxels else None
    return Testimony(NAME, find_version(NAME), affine, shape, array)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give a module or a class another attribute for a while (`unittest.mock` would import asyncio)."""
    own = {key: kept for key, kept in vars(owner).items() if key == name}
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, own[name])
        else:  # it was inherited
            delattr(owner, name)


def _write_nothing(*_: object) -> None:
    """Stand in for what writes a file."""


def _without_samples(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a block of colours that has its samples along the last axis."""
    from ..volume.colour import SAMPLES

    return shape[:-1] if shape[-1] == SAMPLES else shape


def _as_colours(array: Array, shape: tuple[int, ...]) -> Array:
    """Red, green and blue of voxels that are RGBA, or have their samples along the last axis."""
    from ..volume.colour import RGB24, SAMPLES, from_samples

    if array.dtype.names is not None:
        samples = np.stack([array[name] for name in RGB24.names or ()], -1)
    else:
        samples = array
    return from_samples(samples) if samples.dtype == np.uint8 and samples.shape == (*shape, SAMPLES) else array


def _read_dataset(path: str, voxels: bool) -> Any:
    if voxels:
        return _read_file(path)
    dataset = _read_file(path, stop_before_pixels=True)
    dataset.add_new(0x7FE00010, "OW", b"\0\0")  # it drops instances without pixel data
    return dataset


def _read_file(path: str, **options: Any) -> Any:
    from pathlib import Path

    from pydicom import dcmread

    from ..dicom.source_file import open_source

    with open_source(Path(path)) as file:
        return dcmread(file, force=True, **options)


def _renumber(datasets: list[Any]) -> None:
    """Number the data sets along our order, and remove empty timing tags, which it cannot read."""
    for number, dataset in enumerate(datasets, 1):
        dataset.InstanceNumber = number
        dataset.Modality = dataset.get("Modality") or "OT"
        for keyword in ("RepetitionTime", "EchoTime"):
            if keyword in dataset and dataset[keyword].is_empty:
                del dataset[keyword]


def _make_single_block(datasets: list[Any]) -> Any:
    return np.broadcast_to(np.uint8(0), (datasets[0].Columns, datasets[0].Rows, len(datasets)))


def _make_multi_block(dataset: Any) -> Any:
    return np.broadcast_to(np.uint8(0), (dataset.Columns, dataset.Rows, int(dataset.NumberOfFrames)))


if __name__ == "__main__":
    main()
