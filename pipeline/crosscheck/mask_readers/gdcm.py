"""Ask GDCM as a reader of masks that lie in planes: overlays, burned-in values, masked images, colours, and labels.

Rules:
- GDCM reads the files (`gdcm_instance`), numpy finds their places (`plane_places`), and the rule that was chosen is applied
  here: no decoder and no geometry of ours has a part in it.
- `labels` of the job name what is stored (an overlay group, a stored value, a colour of 3 × 16 bits) and the value in our
  file. What is not named is 0; of a masked image, whose outside alone is named, it is `rest`.
- `options`: "image" and "image_frames", the planes of the images that the export was compared with, in the order of their k;
  "offset", where it has to be that one, else it is found; "undecided", what was chosen for voxels of the image's own; "compared" alone,
  where these images cannot be shown: then voxels with a named value are left open.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...core.temporary_folder import temporary_folder
from ..child import find_version, serve_masks
from ..job_files import put_files
from ..testimony import MaskJob, Testimony, either
from .gdcm_instance import GdcmInstance, GdcmRefusal, read_bytes
from .plane_places import PlaneGrid, PlaneSeen, find_place, find_places, find_step, take_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Block = NDArray[Any]

NAME = "GDCM"
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TO_16_BITS = 257  # 255 × 257 = 65535: the sample of 16 bits for one of 8
_CLEAREST = 255  # the largest sample of 8 bits


def main() -> None:
    serve_masks(NAME, _version, _answer)


def _version() -> str:
    return find_version("python-gdcm")


class _Planes(NamedTuple):
    """Planes that were read: (k, rows, columns), on their grid."""

    block: Block
    grid: PlaneGrid


def _answer(job: MaskJob) -> Testimony:
    import gdcm

    for silence in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
        silence()
    with temporary_folder(next(iter(sys.argv[2:]), "")) as folder:
        try:
            planes = _read_mask(job, folder)
        except GdcmRefusal as refusal:
            return Testimony(NAME, _version(), refusal=str(refusal))
    array, box = _cut_out(planes.block.transpose(2, 1, 0))
    return Testimony(NAME, _version(), _TO_RAS @ planes.grid.lps, planes.grid.shape, array, note=_note(array), box=box)


def _read_mask(job: MaskJob, folder: Path) -> _Planes:
    """Read the mask of a job, in values of our file."""
    dtype = np.dtype(next(t for t in ("u1", "u2", "u4") if max(1, *(v for _, v in job.labels)) + 1 < either(t)))
    names = dict(job.labels)
    if job.form == "overlay":
        return _read(job.mask_files, job.mask_frames, folder, lambda i, n: _overlay(i, n, names, dtype), pixels=False)
    if job.form == "colour":
        return _read(job.mask_files, job.mask_frames, folder, lambda i, n: _look_up(_colours(i, n), names, 0, dtype))
    rest = int(job.options.get("rest", 0))
    if job.options.get("image"):
        return _compare(job, folder, dtype)
    if job.options.get("compared"):
        names = dict.fromkeys(names, either(dtype))
    return _read(job.mask_files, job.mask_frames, folder, lambda i, n: _look_up(i.values(n), names, rest, dtype))


def _read(
    files: Sequence[str],
    numbers: Sequence[int],
    folder: Path,
    plane: Callable[[GdcmInstance, int], Block],
    *,
    pixels: bool = True,
) -> _Planes:
    """Read frames one after the other, each file once, and put what `plane` makes of each on their grid."""
    places: list[PlaneSeen] = []
    found: list[Block] = []
    lone_step_mm = 1.0
    for instance, number in _instances(files, numbers, folder, pixels=pixels):
        places.append(find_place(instance, number))
        found.append(plane(instance, number))
        if len(files) == 1:
            lone_step_mm = find_step(instance, number)
    grid = find_places(places, lone_step_mm)
    dtype = np.result_type(*{p.dtype for p in found})
    block = np.zeros(grid.shape[::-1], dtype)
    for k, one in zip(grid.ks, found, strict=True):
        block[k] = one
    return _Planes(block, grid)


def _instances(
    files: Sequence[str], numbers: Sequence[int], folder: Path, *, pixels: bool
) -> Iterator[tuple[GdcmInstance, int]]:
    """Open every file once in a row, and give its frames."""
    unique = dict(zip(dict.fromkeys(files), put_files(files, _new(folder)), strict=True))
    opened, instance = "", None
    for path, number in zip(files, numbers, strict=True):
        if instance is None or path != opened:
            opened, instance = path, GdcmInstance(unique[path], pixels=pixels)
        yield instance, number


def _new(folder: Path) -> Path:
    made = folder / str(len(list(folder.iterdir())))
    made.mkdir()
    return made


def _overlay(instance: GdcmInstance, number: int, groups: dict[int, int], dtype: np.dtype[Any]) -> Block:
    """Put the overlays of a frame where their origins say, and cut off what lies beyond the image (PS3.3 C.9.2)."""
    plane = np.zeros((instance.rows, instance.columns), dtype)
    for group, value in groups.items():
        overlay = instance.overlay(group)
        n = 0 if overlay is None or overlay.of_all else number - overlay.first
        if overlay is None or not 0 <= n < len(overlay.bits):
            continue
        rows, columns = np.nonzero(overlay.bits[n])
        rows, columns = rows + overlay.row, columns + overlay.column
        inside = (rows >= 0) & (rows < instance.rows) & (columns >= 0) & (columns < instance.columns)
        plane[rows[inside], columns[inside]] = value
    return plane


def _look_up(stored: Block, names: dict[int, int], rest: int, dtype: np.dtype[Any]) -> Block:
    """Replace stored values by those of our file. rest: of what is not named."""
    if rest == 0 and 0 not in names and not stored.any():  # most planes of a mask, at memory speed
        return np.zeros(stored.shape, dtype)
    if stored.dtype.itemsize > 2:
        plane = np.full(stored.shape, rest, dtype)
        for value, ours in names.items():
            plane[stored == value] = ours
        return plane
    limits = np.iinfo(stored.dtype)
    table = np.full(1 << limits.bits, rest, dtype)
    for value, ours in names.items():
        if limits.min <= value <= limits.max:
            table[value & (1 << limits.bits) - 1] = ours
    return np.asarray(table[stored.view(f"u{stored.dtype.itemsize}")])


def _colours(instance: GdcmInstance, number: int) -> Block:
    """Return red, green and blue of a frame as one number of 3 × 16 bits; -1 where they are the same, which is grey."""
    model = instance.text(0x0028, 0x0004)
    if model == "PALETTE COLOR":
        samples = _by_palette(instance, instance.values(number))
    elif model in ("RGB", "YBR_RCT"):
        samples = instance.samples()[number - 1]
        samples = samples.astype(np.int64) * (_TO_16_BITS if samples.dtype.itemsize == 1 else 1)
    else:
        raise GdcmRefusal(f"{instance.name} has {model}, and every reader rounds its way to red, green and blue")
    red, green, blue = (samples[..., n] for n in range(3))
    return np.where((red == green) & (green == blue), -1, (red << 32) + (green << 16) + blue)


def _by_palette(instance: GdcmInstance, index: Block) -> Block:
    """Return the colours of indices, of 16 bits: PS3.3 C.7.6.3.1.5."""
    channels = []
    for element in (0x1101, 0x1102, 0x1103):
        count, first, bits = np.frombuffer(read_bytes(instance.data, 0x0028, element).ljust(6, b"\0")[:6], "<u2")
        raw = read_bytes(instance.data, 0x0028, element + 0x100)
        entries = int(count) or 1 << 16
        is_8_bits = bits == 8 and len(raw) <= entries + 1  # 8 bits may also be stored in words
        table = np.frombuffer(raw[: len(raw) // 2 * 2], np.uint8 if is_8_bits else "<u2")[:entries].astype(np.int64)
        if len(table) < entries or bits not in (8, 16):
            raise GdcmRefusal(f"{instance.name} has a palette of {len(table)} entries, and {entries} were declared")
        start = int(first) - (1 << 16 if index.dtype.kind == "i" and first >= 1 << 15 else 0)
        table = table * _TO_16_BITS if bits == 8 else table
        channels.append(table[np.clip(index.astype(np.int64) - start, 0, entries - 1)])
    samples = np.stack(channels, -1)
    if samples.max(initial=0) <= _CLEAREST and samples.any():
        raise GdcmRefusal(
            f"{instance.name} has a palette of 16 bits with entries below 256, whose brightness is not clear"
        )
    return samples


def _compare(job: MaskJob, folder: Path, dtype: np.dtype[Any]) -> _Planes:
    """Read a mask by comparing the export with its images: what has the constant, and did not have it by itself."""
    shown = _read(job.mask_files, job.mask_frames, folder, lambda i, n: i.values(n))
    image = _read(job.options["image"], job.options["image_frames"], folder, lambda i, n: i.values(n))
    if len(image.grid.ks) < image.grid.shape[2] or len(shown.grid.ks) < shown.grid.shape[2]:
        raise GdcmRefusal("a plane is missing, and nothing can be compared there")
    by_itself = take_part(image.block.transpose(2, 1, 0), image.grid, shown.grid).transpose(2, 1, 0)
    names = dict(job.labels)
    offset = job.options.get("offset")
    if offset is None:
        offset = _find_offset(shown.block, by_itself, [*names])
    block = np.zeros(shown.block.shape, dtype)
    choice, rest = str(job.options["undecided"]), int(job.options.get("rest", 0))
    no_label = max(rest, *names.values()) + 1
    for k, stored in enumerate(shown.block):
        image_plane = by_itself[k].astype(np.int64) + offset
        # What is neither the image nor one of the values is part of a mask that nobody has named.
        block[k][(stored != image_plane) & _has_none(stored, names)] = no_label
        for constant, value in names.items():
            has_it, had_it = stored == constant, image_plane == constant
            if rest:  # the constant is the outside
                inside = (~has_it & (stored == image_plane)) | _decide(had_it & has_it, ~has_it, choice)
                block[k][inside] = rest
            else:
                block[k][(has_it & ~had_it) | _decide(has_it & had_it, has_it & ~had_it, choice)] = value
    return _Planes(block, shown.grid)


def _has_none(stored: Block, constants: Iterable[int]) -> Block:
    """Return where a plane has none of the constants."""
    none = np.ones(stored.shape, np.bool_)
    for constant in constants:
        none &= stored != constant
    return none


def _find_offset(shown: Block, image: Block, constants: list[int]) -> int:
    """Return by how much voxels without one of the constants differ from the image, which is one number for all of them."""
    for plane, by_itself in zip(shown, image, strict=True):
        found = (plane.astype(np.int64) - by_itself)[_has_none(plane, constants)]
        if found.size:
            differences, counts = np.unique(found, return_counts=True)
            return int(differences[counts.argmax()])
    raise GdcmRefusal("no voxel is without one of the mask's values, so that the image cannot be compared")


def _decide(open_: Block, mask: Block, choice: str) -> Block:
    """Decide the pixels of a plane whose image has the constant by itself, as was chosen.

    "surrounded" takes those that nothing but mask parts from the rest of the plane: a flood of them from all that is no
    mask, and from the plane's border, does not reach them.
    """
    if choice != "surrounded" or not open_.any():
        return open_ if choice == "inside" else np.zeros_like(open_)
    from scipy import ndimage

    beyond = np.pad(~(open_ | mask), 1, constant_values=True)
    return np.asarray(
        open_ & ~ndimage.binary_propagation(beyond, mask=np.pad(~mask, 1, constant_values=True))[1:-1, 1:-1]
    )


def _cut_out(array: Block) -> tuple[Block, tuple[int, int, int]]:
    """Return the part of (i, j, k) that has all voxels but zeros, and where it begins; one voxel where there are none."""
    box: list[int] = []
    for axis in (2, 1, 0):
        filled = np.flatnonzero(array.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
        array = array[(slice(None),) * axis + (slice(first, last + 1),)]
        box.insert(0, first)
    return array, (box[0], box[1], box[2])


def _note(array: Block) -> str:
    left_open = int(np.count_nonzero(array == either(array.dtype)))
    return "they have the mask's value, and the images it was compared with could not be shown" if left_open else ""


if __name__ == "__main__":
    main()
