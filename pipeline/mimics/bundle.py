"""The bundle that export_masks.py writes inside Mimics: its format, version 1, and how it is read.

A bundle is a folder with bundle.json and one gzip file per mask (and per image, where asked for).

bundle.json (UTF-8): format "verimask-mimics-bundle", version 1, mimics and python (their versions), byte_order
("little" or "big"), notes (texts for the reader), left_out ([{name, why}]), images and masks.
- images[]: number (its place in the list), name, guid, shape [x, y, z], units (text or null), registered (bool),
  probes [[i, j, k, x, y, z], ...] (index, centre), self_tests {name: {passed: true|false|null, checked, detail}},
  has_tags (true, false, or null: not readable), planes [{index, "gggg,eeee": text}], buffer (null or a buffer),
  slice_distance, logical_dimensions; fit, information, pixel_size, physical_dimensions and dicom_data_modified are for
  people. dicom: folder of the clean series, where exported.
- masks[]: name, guid, color [r, g, b] 0..1 or null, image (number), image_assumed (bool), voxels (set ones, or null),
  number_of_pixels (what Mimics counts, or null), dicom (folder of the burned-in series), and the fields of a buffer.
- a buffer: file, format ("?" for masks, "H" or "h" for images), itemsize, shape, sha256 (of the bytes unpacked).
  The bytes are in C order of (x, y, z): z fastest.

Rules of reading
- Every field that is used is checked; a refusal names it. Unknown fields are ignored.
- Arrays are (i, j, k) as Mimics indexes them; centres are LPS, in the project's units.
- A buffer is unpacked when asked for, and its hash, length and count are checked then.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, PipelineError, refuse
from ..geometry.affine import Matrix, Vector, corner_indices
from ..geometry.grid import GeometryError, Plane

FORMAT = "verimask-mimics-bundle"
VERSION = 1
_HINT = "Run export_masks.py in Mimics again; a bundle is not meant to be edited."


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What export_masks.py tested on the user's machine. passed: None where it could not tell."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class TagPlane:
    """The plane the DICOM tags of one slice describe. index: the slice's number in Mimics; plane: None if not told."""

    index: int
    plane: Plane | None
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A packed array. array(): (i, j, k), read and checked anew at every call."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    sha256: str
    where: str

    def array(self) -> NDArray[Any]:
        """(i, j, k), C order. Raises BUNDLE_INVALID when the file is not what bundle.json says."""
        expected = int(np.prod(self.shape)) * self.dtype.itemsize
        try:
            with gzip.open(self.path) as file:
                data = file.read(expected + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise _invalid(f"{self.where}.file", f"{self.path.name} cannot be unpacked: {error}") from error
        if len(data) != expected:
            held = "more" if len(data) > expected else str(len(data))
            raise _invalid(f"{self.where}.file", f"{self.path.name} holds {held} bytes, and {expected} are needed")
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise _invalid(f"{self.where}.sha256", f"{self.path.name} is not the file that was written")
        return np.frombuffer(data, self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class BundleImage:
    """An image set of the project. shape: (x, y, z). indices: (n, 3), the probed voxels; centres: (n, 3), LPS.

    The centres are in the project's units. has_tags: None where the tags could not be read. registered: the image set
    carries a registration transformation.
    """

    number: int
    name: str
    guid: str
    shape: tuple[int, int, int]
    indices: NDArray[np.int64]
    centres: Matrix
    self_tests: tuple[SelfTest, ...]
    planes: tuple[TagPlane, ...]
    units: str | None = None
    has_tags: bool | None = None
    registered: bool = False
    slice_distance: float | None = None
    logical_dimensions: tuple[int, ...] | None = None
    buffer: Buffer | None = None
    dicom: Path | None = None

    @property
    def frame_of_reference_uid(self) -> str:
        """The one the tags agree on, or nothing."""
        uids = {p.frame_of_reference_uid for p in self.planes}
        return uids.pop() if len(uids) == 1 else ""


@dataclass(frozen=True, slots=True, eq=False)
class BundleMask:
    """One mask. colour: RGB, 0 to 255. voxels: how many are set, None if not counted; mimics_count: Mimics' number."""

    name: str
    guid: str
    colour: tuple[int, int, int] | None
    image: BundleImage
    image_assumed: bool
    buffer: Buffer
    voxels: int | None = None
    mimics_count: int | None = None
    dicom: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """What one export from Mimics holds. left_out: name and reason of masks that were not exported."""

    path: Path
    mimics: str
    images: tuple[BundleImage, ...]
    masks: tuple[BundleMask, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_bundle(path: Path) -> Bundle:
    """Read and check bundle.json (or the folder it is in). No buffer is unpacked.

    Raises PipelineError: NO_SUCH_INPUT, or BUNDLE_INVALID naming the field.
    """
    if not path.exists():
        raise refuse(
            Code.NO_SUCH_INPUT, f"{path} is not there", "Check the path; nothing was read.", where=(str(path),)
        )
    folder = path if path.is_dir() else path.parent
    if not (folder / "bundle.json").is_file():
        raise _invalid("bundle.json", f"{folder.name} has none: the export did not finish, or this is no bundle")
    try:
        content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise _invalid("bundle.json", f"it is not JSON: {error}") from error
    top = _Fields(content, "bundle")
    if top.get("format", str) != FORMAT:
        raise _invalid("bundle.format", f"{top.get('format', str)!r} is not {FORMAT!r}")
    if top.get("version", int) != VERSION:
        raise _invalid("bundle.version", f"it is {top.get('version', int)}; this verimask reads {VERSION}")
    order = {"little": "<", "big": ">"}.get(top.get("byte_order", str))
    if order is None:
        raise _invalid("bundle.byte_order", "it is neither little nor big")
    images = tuple(_image(f, n, folder, order) for n, f in enumerate(top.records("images")))
    masks = tuple(_mask(f, images, folder, order) for f in top.records("masks"))
    if not masks:
        raise _invalid("bundle.masks", "there are none")
    left_out = tuple((f.get("name", str), f.get("why", str)) for f in top.records("left_out"))
    notes = tuple(str(note) for note in top.get("notes", list))
    return Bundle(folder, top.get("mimics", str, None) or "", images, masks, left_out, notes)


def _image(fields: _Fields, number: int, folder: Path, order: str) -> BundleImage:
    if fields.get("number", int) != number:
        raise fields.invalid("number", f"it is not its place in the list, {number}")
    shape = fields.shape()
    probes = fields.numbers("probes", 6)
    indices = probes[:, :3].astype(np.int64)
    if (indices != probes[:, :3]).any() or (indices < 0).any() or (indices >= shape).any():
        raise fields.invalid("probes", f"an index is outside of {shape}")
    asked = {tuple(index) for index in indices.tolist()}
    corners = {tuple(corner) for corner in corner_indices(shape).tolist()}
    if not corners <= asked or {k for _, _, k in asked} != set(range(shape[2])):
        raise fields.invalid("probes", "the 8 corners and every plane must be among them")
    tests = fields.get("self_tests", dict)
    buffer = fields.get("buffer", dict, None)
    logical = fields.get("logical_dimensions", list, None)
    return BundleImage(
        number=number,
        name=fields.get("name", str),
        guid=fields.get("guid", str),
        shape=shape,
        indices=indices,
        centres=probes[:, 3:],
        self_tests=tuple(_self_test(fields, name, tests[name]) for name in sorted(tests)),
        planes=tuple(_tag_plane(f) for f in fields.records("planes")),
        units=fields.get("units", str, None),
        has_tags=fields.get("has_tags", bool, None),
        registered=fields.get("registered", bool),
        slice_distance=fields.get("slice_distance", float, None),
        logical_dimensions=None if logical is None else tuple(int(n) for n in logical),
        buffer=None
        if buffer is None
        else _buffer(_Fields(buffer, f"{fields.where}.buffer"), folder, order, "Hh", shape),
        dicom=fields.folder("dicom", folder),
    )


def _mask(fields: _Fields, images: tuple[BundleImage, ...], folder: Path, order: str) -> BundleMask:
    number = fields.get("image", int)
    if not 0 <= number < len(images):
        raise fields.invalid("image", f"there is no image {number}; there are {len(images)}")
    return BundleMask(
        name=fields.get("name", str),
        guid=fields.get("guid", str),
        colour=_colour(fields),
        image=images[number],
        image_assumed=fields.get("image_assumed", bool),
        buffer=_buffer(fields, folder, order, "?", images[number].shape),
        voxels=fields.get("voxels", int, None),
        mimics_count=fields.get("number_of_pixels", int, None),
        dicom=fields.folder("dicom", folder),
    )


def _colour(fields: _Fields) -> tuple[int, int, int] | None:
    given = fields.get("color", list, None)
    if given is None or len(given) != 3 or not all(isinstance(c, int | float) and 0 <= c <= 1 for c in given):
        return None  # a colour places no voxel, so an odd one stops nothing
    red, green, blue = (round(255 * c) for c in given)
    return red, green, blue


def _buffer(fields: _Fields, folder: Path, order: str, formats: str, shape: tuple[int, int, int]) -> Buffer:
    if fields.shape() != shape:
        raise fields.invalid("shape", f"it is {fields.shape()}, and the image's is {shape}")
    letter, size = fields.get("format", str), fields.get("itemsize", int)
    if letter not in formats or size != (1 if letter == "?" else 2):
        raise fields.invalid("format", f"{letter!r} of {size} bytes is none of {', '.join(formats)}")
    name = fields.get("file", str)
    if Path(name).name != name or "\\" in name or not (folder / name).is_file():
        raise fields.invalid("file", f"{name!r} is not a file of the bundle")
    dtype = np.dtype(np.uint8) if letter == "?" else np.dtype(f"{order}{'u' if letter == 'H' else 'i'}2")
    return Buffer(folder / name, dtype, shape, fields.get("sha256", str), fields.where)


def _self_test(fields: _Fields, name: str, record: Any) -> SelfTest:
    test = _Fields(record, f"{fields.where}.self_tests.{name}")
    return SelfTest(name.replace("_", " "), test.get("passed", bool, None), test.get("detail", str))


def _tag_plane(fields: _Fields) -> TagPlane:
    text = partial(fields.get, kind=str, default="")
    try:
        position, cosines, spacing = (_decimals(text(tag)) for tag in ("0020,0032", "0020,0037", "0028,0030"))
        plane = Plane(
            position=_vector(position),
            row_cosine=_vector(cosines[:3]),
            column_cosine=_vector(cosines[3:]),
            row_spacing=spacing[0],
            column_spacing=spacing[1],
            rows=int(text("0028,0010")),
            columns=int(text("0028,0011")),
        )
    except (ValueError, IndexError, GeometryError):
        plane = None  # what the tags do not tell confirms nothing; that is said where they are used
    uids = (text(tag).strip().strip("\0") for tag in ("0020,000E", "0020,0052", "0008,0018"))
    return TagPlane(fields.get("index", int), plane, *uids)


def _decimals(text: str) -> list[float]:
    """The numbers of a multi-valued DS: separated by backslashes, or however Mimics prints them."""
    return [float(word) for word in text.translate(str.maketrans("\\/,;[]()", "        ")).split()]


def _vector(numbers: list[float]) -> Vector:
    x, y, z = numbers
    return x, y, z


_REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class _Fields:
    """A JSON object whose fields are asked for by name and type; `where` names it in a refusal."""

    content: Any
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.content, Mapping):
            raise _invalid(self.where, "it is not an object")

    def get(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        value = self.content.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            said = "it is missing" if name not in self.content else f"{value!r} is not of type {kind.__name__}"
            raise self.invalid(name, said)
        return value

    def records(self, name: str) -> list[_Fields]:
        return [_Fields(item, f"{self.where}.{name}[{n}]") for n, item in enumerate(self.get(name, list))]

    def shape(self) -> tuple[int, int, int]:
        value = self.get("shape", list)
        if len(value) != 3 or not all(isinstance(n, int) and n > 0 for n in value):
            raise self.invalid("shape", f"{value} is not three positive integers")
        return value[0], value[1], value[2]

    def numbers(self, name: str, columns: int) -> Matrix:
        value = self.get(name, list)
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.invalid(name, f"it is not a table of numbers: {error}") from error
        if array.ndim != 2 or array.shape[1] != columns or not np.isfinite(array).all():
            raise self.invalid(name, f"it is not a table of {columns} finite numbers a row")
        return array

    def folder(self, name: str, base: Path) -> Path | None:
        value = self.get(name, str, None)
        if value is None:
            return None
        path: Path = base / value
        if not path.is_dir() or not path.resolve().is_relative_to(base.resolve()):
            raise self.invalid(name, f"{value!r} is not a folder of the bundle")
        return path

    def invalid(self, name: str, said: str) -> PipelineError:
        return _invalid(f"{self.where}.{name}", said)


def _invalid(where: str, said: str) -> PipelineError:
    return refuse(Code.BUNDLE_INVALID, f"{where}: {said}", _HINT, where=(where,))
