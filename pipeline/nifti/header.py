"""Read the header of a NIfTI-1 file: the shape, type, place and scale of its voxels.

Rules:
- Damaged, not supported and not this kind of file are three answers, and each names the file.
- What a header may not hold by the standard is refused here, so that no caller has to check for it.
- An affine is judged where voxels are placed by it (`require_affine`): a diagnosis of a wrong file needs it as it is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from ..core.findings import Code, PipelineError, refuse
from ..geometry.affine import Matrix, axis_lengths
from ..volume.colour import RGB24, is_rgb
from .quaternion import qform

FIELDS = struct.Struct("<i10s18sihBB8h3f4h8f3fhBB4f2i80s24s2h6f12f16s4s")
SIZE = FIELDS.size
FIRST_VOXEL = 352  # at the earliest: 348 bytes of header and 4 that say whether there is an extension
TYPES = {
    "u1": 2,
    "i2": 4,
    "i4": 8,
    "f4": 16,
    "f8": 64,
    "i1": 256,
    "u2": 512,
    "u4": 768,
    "i8": 1024,
    "u8": 1280,
    "V3": 128,
}
_NOT_READ = {
    1: "bits",
    32: "complex64",
    1536: "float128",
    1792: "complex128",
    2048: "complex256",
    2304: "RGBA",
}
_FLAT = 1e-6  # the volume axes of unit length span; real grids have 1, the strongest gantry tilt 0.8
_AS_NUMBERS = "Write it as integers of 8 to 64 bits, or as float32 or float64."
COPY_AGAIN = "Write or copy the file again from where it came from."


@dataclass(frozen=True, slots=True, eq=False)
class NiftiHeader:
    """The fields of a NIfTI-1 header that place and scale voxels. sform, qform: 4 x 4, index to RAS mm."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    sform: Matrix
    qform: Matrix
    sform_code: int
    qform_code: int
    slope: float
    intercept: float
    units: int
    intent: int
    description: str
    vox_offset: int

    @property
    def affine(self) -> Matrix:
        """4 x 4, index to RAS mm: the sform, or the qform where there is no sform."""
        return self.sform if self.sform_code else self.qform

    @property
    def space(self) -> tuple[int, int, int]:
        """(columns, rows, planes); 1 where the file has fewer dimensions."""
        columns, rows, planes = (*self.shape, 1, 1)[:3]
        return columns, rows, planes

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept of the values; (1, 0) where the slope is 0 or no number, which means that there is none."""
        return (self.slope, self.intercept) if self.slope and isfinite(self.slope) else (1.0, 0.0)


def parse_header(raw: bytes, name: str = "the header") -> NiftiHeader:
    """Read the header in the first 348 bytes of a .nii file, in either byte order. name: of the file, for refusals.

    Raises CORRUPT_FILE, UNSUPPORTED_NIFTI, NOT_THIS_KIND.
    """
    order = _byte_order(raw, name)
    fields = struct.unpack(order + FIELDS.format[1:], raw[:SIZE])
    (intent, datatype), pixdim = fields[18:20], fields[22:30]
    vox_offset, slope, intercept = fields[30:33]
    description, (qform_code, sform_code) = fields[42], fields[44:46]
    turn, offset, rows = fields[46:49], fields[49:52], fields[52:64]
    sform = np.eye(4)
    sform[:3] = np.array(rows).reshape(3, 4)
    with np.errstate(all="ignore"):  # a damaged header may hold no numbers here; `require_affine` refuses them
        turned = qform(pixdim[0], np.array(turn), np.array(pixdim[1:4]), np.array(offset))
    return NiftiHeader(
        shape=_shape(fields[7:15], name),
        dtype=_dtype(datatype, order, name),
        sform=sform,
        qform=turned,
        sform_code=sform_code,
        qform_code=qform_code,
        slope=slope,
        intercept=intercept,
        units=fields[35],
        intent=intent,
        description=description.split(b"\0")[0].decode("ascii", "replace"),
        vox_offset=_vox_offset(vox_offset, name),
    )


def require_affine(header: NiftiHeader, name: str) -> NiftiHeader:
    """Return a header whose affine places voxels. Raises CORRUPT_FILE where it is not finite or makes a block flat."""
    if not fills_space(header.affine):
        raise _corrupt(
            name, "has an affine that is not finite or lays all voxels on one plane", "NIfTI-1 srow, quatern"
        )
    return header


def require_numbers(header: NiftiHeader, name: str) -> NiftiHeader:
    """Return a header whose values are single numbers. Raises UNSUPPORTED_NIFTI for colours."""
    if is_rgb(header.dtype):
        words = f"holds RGB values (NIfTI datatype {TYPES[RGB24.str[1:]]}), and whole and real numbers are read here"
        raise _unsupported(name, words, _AS_NUMBERS)
    return header


def fills_space(affine: Matrix) -> bool:
    """Whether an affine (4 x 4) is finite and its three axes do not lie in one plane."""
    if not np.isfinite(affine).all():
        return False
    lengths = axis_lengths(affine)
    return bool(lengths.all() and abs(np.linalg.det(affine[:3, :3] / lengths)) > _FLAT)


def _byte_order(raw: bytes, name: str) -> str:
    """Find the byte order of a NIfTI-1 header, "<" or ">". Raises for everything else."""
    for order in "<>" if len(raw) >= 8 else "":
        (size,) = struct.unpack(order + "i", raw[:4])
        if size == 540 and raw[4:7] in (b"n+2", b"ni2"):
            raise _unsupported(name, "is NIfTI-2, and NIfTI-1 is read here", "Convert it to NIfTI-1.")
        if size != SIZE:
            continue
        if len(raw) < SIZE:
            raise _corrupt(name, f"ends after {len(raw)} of the {SIZE} bytes of its header")
        if raw[344:347] == b"n+1":
            return order
        if raw[344:347] == b"ni1":
            words = "is the header of a .hdr/.img pair, and files that hold header and voxels are read here"
            raise _unsupported(name, words, "Convert the pair to one .nii file.")
        words = "is not a NIfTI-1 file: it lacks the letters n+1, as Analyze files do, which do not say where left is"
        raise _unsupported(name, words, "Convert it to NIfTI-1 with the software that wrote it.")
    if not raw.strip(b"\0"):
        raise _corrupt(name, "is not a NIfTI-1 file: " + ("it holds zeros only" if raw else "it is empty"))
    raise refuse(
        Code.NOT_THIS_KIND,
        f"{name} is not a NIfTI-1 file: it does not begin with a header of {SIZE} bytes",
        "Give a .nii or .nii.gz file.",
        where=(name,),
    )


def _shape(dims: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The sides that dim[] states. Raises CORRUPT_FILE where there can be none such."""
    count, sides = dims[0], dims[1 : dims[0] + 1]
    if not 1 <= count <= 7:
        raise _corrupt(name, f"is damaged: it says that it has {count} dimensions, and 1 to 7 can be", "NIfTI-1 dim[0]")
    if min(sides) < 1:
        size = " × ".join(map(str, sides))
        raise _corrupt(name, f"is damaged: its sides are {size} voxels, and each has at least 1", "NIfTI-1 dim[]")
    return tuple(sides)


def _dtype(datatype: int, order: str, name: str) -> np.dtype[Any]:
    """The type that a datatype code states. Raises UNSUPPORTED_NIFTI, and CORRUPT_FILE for no code of NIfTI."""
    for letters, number in TYPES.items():
        if number == datatype:
            return RGB24 if number == TYPES[RGB24.str[1:]] else np.dtype(order + letters)
    if datatype in _NOT_READ:
        words = (
            f"holds {_NOT_READ[datatype]} values (NIfTI datatype {datatype}), and whole and real numbers are read here"
        )
        raise _unsupported(name, words, _AS_NUMBERS)
    raise _corrupt(name, f"is damaged: NIfTI has no datatype {datatype}", "NIfTI-1 datatype")


def _vox_offset(offset: float, name: str) -> int:
    """The byte at which the voxels begin. Raises CORRUPT_FILE where they cannot begin there."""
    if not isfinite(offset) or offset < FIRST_VOXEL or offset % 1:
        words = f"is damaged: its voxels are said to begin at byte {offset:g}, and they can from {FIRST_VOXEL} on"
        raise _corrupt(name, words, "NIfTI-1 vox_offset")
    return int(offset)


def _corrupt(name: str, words: str, clause: str = "NIfTI-1") -> PipelineError:
    """The refusal of a damaged header."""
    return refuse(Code.CORRUPT_FILE, f"{name} {words}", COPY_AGAIN, where=(name,), clause=clause)


def _unsupported(name: str, words: str, hint: str) -> PipelineError:
    """The refusal of a sound file of a kind that is not read here."""
    return refuse(Code.UNSUPPORTED_NIFTI, f"{name} {words}", hint, where=(name,))
