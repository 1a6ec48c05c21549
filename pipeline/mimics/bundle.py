"""Read the bundle that export_masks.py writes inside Mimics: its format, version 1.

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
- Every field that is used is checked, by `bundle_fields`; a refusal names it. Unknown fields are ignored.
- Arrays are (i, j, k) as Mimics indexes them; centres are LPS, in the project's units.
- A buffer is unpacked when its array is asked for; its hash and length are checked then.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, refuse
from ..core.given_path import look_at_input
from ..core.json_file import read_json
from ..core.memory import require
from ..core.numbers import is_finite_number
from ..core.regular_file import is_file, open_regular
from ..geometry.affine import Matrix, Vector, corner_indices
from ..geometry.grid import GeometryError, Plane
from .bundle_fields import BundleFields, refuse_field

FORMAT = "verimask-mimics-bundle"
VERSION = 1
_FULL_COLOUR = 255  # a colour is 0 to 1 in the bundle, and 0 to 255 everywhere else


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A test that export_masks.py made on the user's machine. passed: None where it could not be decided."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class TagPlane:
    """The plane the DICOM tags of one slice describe. index: the slice's number in Mimics. plane: None if they do not."""

    index: int
    plane: Plane | None
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A packed array. where: its name in bundle.json. sha256: of the bytes unpacked."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    sha256: str
    where: str

    def array(self) -> NDArray[Any]:
        """Unpack and check the array anew: (i, j, k), C order.

        Raises PipelineError BUNDLE_INVALID when the file is not what bundle.json says.
        """
        expected = prod(self.shape) * self.dtype.itemsize
        require(expected, f"{self.path.name}, {' × '.join(map(str, self.shape))} voxels,", (self.path.name,))
        try:
            with open_regular(self.path) as packed, gzip.GzipFile(fileobj=packed) as file:
                data = file.read(expected + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise refuse_field(f"{self.where}.file", f"{self.path.name} cannot be unpacked: {error}") from error
        if len(data) != expected:
            held = "more" if len(data) > expected else str(len(data))
            raise refuse_field(f"{self.where}.file", f"{self.path.name} holds {held} bytes, and {expected} are needed")
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise refuse_field(f"{self.where}.sha256", f"{self.path.name} is not the file that was written")
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
        """The Frame of Reference UID on which the tags agree; empty where they do not."""
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
    """What one export from Mimics holds. mimics: its version. left_out: name and reason of masks that were not exported."""

    path: Path
    mimics: str
    images: tuple[BundleImage, ...]
    masks: tuple[BundleMask, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_bundle(path: Path) -> Bundle:
    """Read and check bundle.json (or the folder it is in). No buffer is unpacked.

    Raises PipelineError: NO_SUCH_INPUT, FILE_UNREAD, NOT_THIS_KIND for what is no bundle, UNSUPPORTED_VERSION, or BUNDLE_INVALID, which
    names the field.
    """
    if not look_at_input(path).is_there:
        raise refuse(
            Code.NO_SUCH_INPUT, f"{path} is not there", "Check the path; nothing was read.", where=(str(path),)
        )
    folder = path if look_at_input(path).is_folder else path.parent
    if not look_at_input(folder / "bundle.json").is_file:
        words = f"{folder.name} has no bundle.json: the export did not finish, or this is no bundle"
        raise refuse(
            Code.NOT_THIS_KIND, words, "Give the folder that export_masks.py wrote in Mimics.", where=(folder.name,)
        )
    try:
        content = read_json(folder / "bundle.json")
    except (OSError, ValueError) as error:
        raise refuse_field("bundle.json", f"it is not JSON: {error}") from error
    top = BundleFields(content, "bundle")
    if top.get("format", str) != FORMAT:
        words = f"bundle.format: {top.get('format', str)!r} is not {FORMAT!r}"
        raise refuse(
            Code.NOT_THIS_KIND, words, "Give the folder that export_masks.py wrote in Mimics.", where=(folder.name,)
        )
    if top.get("version", int) != VERSION:
        raise refuse(
            Code.UNSUPPORTED_VERSION,
            f"bundle.version: it is {top.get('version', int)}; this verimask reads {VERSION}",
            "Export again with the script of this verimask (verimask mimics-script), or install the one that wrote it.",
            where=(folder.name,),
        )
    order = {"little": "<", "big": ">"}.get(top.get("byte_order", str))
    if order is None:
        raise refuse_field("bundle.byte_order", "it is neither little nor big")
    images = tuple(_read_image(f, n, folder, order) for n, f in enumerate(top.records("images")))
    masks = tuple(_read_mask(f, images, folder, order) for f in top.records("masks"))
    if not masks:
        raise refuse_field("bundle.masks", "there are none")
    left_out = tuple((f.get("name", str), f.get("why", str)) for f in top.records("left_out"))
    notes = tuple(str(note) for note in top.get("notes", list))
    return Bundle(folder, top.get("mimics", str, None) or "", images, masks, left_out, notes)


def _read_image(fields: BundleFields, number: int, folder: Path, order: str) -> BundleImage:
    if fields.get("number", int) != number:
        raise fields.invalid("number", f"it is not its place in the list, {number}")
    shape = fields.shape()
    probes = fields.numbers("probes", 6)
    indices = probes[:, :3].astype(np.int64)
    if (indices != probes[:, :3]).any() or (indices < 0).any() or (indices >= shape).any():
        raise fields.invalid("probes", f"an index is outside of {shape}")
    asked = {tuple(index) for index in indices.tolist()}
    corners = {tuple(corner) for corner in corner_indices(shape).tolist()}
    if not corners <= asked or len({k for _, _, k in asked}) != shape[2]:
        raise fields.invalid("probes", "the 8 corners and every plane must be among them")
    tests = fields.get("self_tests", dict)
    logical = fields.get("logical_dimensions", list, None)
    if logical is not None and not all(map(is_finite_number, logical)):
        raise fields.invalid("logical_dimensions", f"{logical} are not numbers")
    return BundleImage(
        number=number,
        name=fields.get("name", str),
        guid=fields.get("guid", str),
        shape=shape,
        indices=indices,
        centres=probes[:, 3:],
        self_tests=tuple(_read_self_test(fields, name, tests[name]) for name in sorted(tests)),
        planes=tuple(_read_tag_plane(f) for f in fields.records("planes")),
        units=fields.get("units", str, None),
        has_tags=fields.get("has_tags", bool, None),
        registered=fields.get("registered", bool),
        slice_distance=fields.get("slice_distance", float, None),
        logical_dimensions=None if logical is None else tuple(int(n) for n in logical),
        buffer=_read_image_buffer(fields, folder, order, shape),
        dicom=fields.folder("dicom", folder),
    )


def _read_mask(fields: BundleFields, images: tuple[BundleImage, ...], folder: Path, order: str) -> BundleMask:
    number = fields.get("image", int)
    if not 0 <= number < len(images):
        raise fields.invalid("image", f"there is no image {number}; there are {len(images)}")
    return BundleMask(
        name=fields.get("name", str),
        guid=fields.get("guid", str),
        colour=_read_colour(fields),
        image=images[number],
        image_assumed=fields.get("image_assumed", bool),
        buffer=_read_buffer(fields, folder, order, "?", images[number].shape),
        voxels=fields.get("voxels", int, None),
        mimics_count=fields.get("number_of_pixels", int, None),
        dicom=fields.folder("dicom", folder),
    )


def _read_colour(fields: BundleFields) -> tuple[int, int, int] | None:
    given = fields.get("color", list, None)
    if given is None or len(given) != 3 or not all(isinstance(c, int | float) and 0 <= c <= 1 for c in given):
        return None  # a colour places no voxel, so an odd one stops nothing
    red, green, blue = (round(_FULL_COLOUR * c) for c in given)
    return red, green, blue


def _read_image_buffer(fields: BundleFields, folder: Path, order: str, shape: tuple[int, int, int]) -> Buffer | None:
    content = fields.get("buffer", dict, None)
    if content is None:
        return None
    return _read_buffer(BundleFields(content, f"{fields.where}.buffer"), folder, order, "Hh", shape)


def _read_buffer(fields: BundleFields, folder: Path, order: str, formats: str, shape: tuple[int, int, int]) -> Buffer:
    if fields.shape() != shape:
        raise fields.invalid("shape", f"it is {fields.shape()}, and the image's is {shape}")
    letter, size = fields.get("format", str), fields.get("itemsize", int)
    if letter not in formats or size != (1 if letter == "?" else 2):
        raise fields.invalid("format", f"{letter!r} of {size} bytes is none of {', '.join(formats)}")
    name = fields.get("file", str)
    if Path(name).name != name or "\\" in name or not is_file(folder / name):
        raise fields.invalid("file", f"{name!r} is not a file of the bundle")
    dtype = np.dtype(np.uint8) if letter == "?" else np.dtype(f"{order}{'u' if letter == 'H' else 'i'}2")
    return Buffer(folder / name, dtype, shape, fields.get("sha256", str), fields.where)


def _read_self_test(fields: BundleFields, name: str, record: Any) -> SelfTest:
    test = BundleFields(record, f"{fields.where}.self_tests.{name}")
    return SelfTest(name.replace("_", " "), test.get("passed", bool, None), test.get("detail", str))


def _read_tag_plane(fields: BundleFields) -> TagPlane:
    text = partial(fields.get, kind=str, default="")
    try:
        position, cosines, spacing = (_split_numbers(text(tag)) for tag in ("0020,0032", "0020,0037", "0028,0030"))
        plane = Plane(
            position=as_vector(position),
            row_cosine=as_vector(cosines[:3]),
            column_cosine=as_vector(cosines[3:]),
            row_spacing=spacing[0],
            column_spacing=spacing[1],
            rows=int(text("0028,0010")),
            columns=int(text("0028,0011")),
        )
    except (ValueError, IndexError, GeometryError):
        plane = None  # it confirms nothing then, which is reported where the tags are compared
    uids = (text(tag).strip().strip("\0") for tag in ("0020,000E", "0020,0052", "0008,0018"))
    return TagPlane(fields.get("index", int), plane, *uids)


def _split_numbers(text: str) -> list[float]:
    """Split a multi-valued DS into numbers: they are separated by backslashes, or as this Mimics prints them."""
    return [float(word) for word in text.translate(str.maketrans("\\/,;[]()", "        ")).split()]


def as_vector(numbers: Iterable[float]) -> Vector:
    """Return three numbers as a vector of plain floats. Raises ValueError for more or fewer."""
    x, y, z = (float(number) for number in numbers)
    return x, y, z


def format_shape(shape: Iterable[int]) -> str:
    """Write a shape for a message, such as "512 x 512 x 40"."""
    return " x ".join(str(n) for n in shape)
