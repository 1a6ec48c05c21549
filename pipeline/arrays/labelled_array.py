"""Define what is read into memory: an array of labels or of values, with its affine and its proof.

Rules:
- The array is that of a file which was written, read back and cross-checked; its bytes are held here and cannot be changed.
  Whoever wants to write into an array takes a copy.
- Indices are (i, j, k), and a fourth for the volume of a series over time. The affine belongs to this array in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..conversion.record import Outcome, Verdict
from ..core.findings import Finding
from ..crosscheck.agreement import Agreement
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_codes, axis_lengths
from ..geometry.index_map import IndexMap, axes_of, find_index_map
from ..nifti.header import SIZE, NiftiHeader, parse_header
from ..volume.colour import is_rgb, to_samples
from ..volume.label_table import LabelRow
from ..volume.mask import Array, Concept
from .origin import ArrayOrigin

if TYPE_CHECKING:
    from ..core.record_types import Record

_LISTED = 6  # labels that a repr names


@dataclass(frozen=True, slots=True)
class Label:
    """What one value of a mask means. colour: RGB, 0 to 255. category, type: codes of a SEG. algorithm: MANUAL and its like.

    numbers: voxels, volume in ml, centroid and extent, as counted; None for a label that was not read but made by hand.
    """

    name: str
    colour: tuple[int, int, int] | None = None
    category: Concept | None = None
    type: Concept | None = None
    algorithm: str = ""
    numbers: LabelRow | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayProof:
    """What is proven of an array. verdict: as of a file. witnesses: what each other reader said. record: as beside a file.

    plane_mm: how far any corner of any plane, by its own equation, lies from the affine. sha256: of the .nii file that the
    array is the voxels of.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    witnesses: tuple[Agreement, ...]
    record: Record
    plane_mm: float
    sha256: str


@dataclass(frozen=True, eq=False, repr=False)
class ArrayOnGrid:
    """An array on a grid in the patient, with its proof; a `Mask` or an `Image`.

    Attributes:
        proof: verdict, findings, witnesses and record.
    """

    proof: ArrayProof
    _file: bytes
    _origin: ArrayOrigin

    @property
    def stored(self) -> Array:
        """The values as the NIfTI file stores them, (i, j, k), or (i, j, k, volume). Read-only."""
        header = self._header
        values = np.frombuffer(self._file, header.dtype, offset=header.vox_offset)
        stored: Array = values.reshape(header.shape, order="F")
        return stored

    @property
    def array(self) -> Array:
        """The values, (i, j, k), or (i, j, k, volume). Read-only, and in memory of its own: no file is open."""
        return self.stored

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The values, for `numpy.asarray` and all that calls it."""
        return np.array(self.array, dtype, copy=copy)

    @property
    def affine(self) -> Matrix:
        """(4, 4) float64, index (i, j, k, 1) of this array to RAS mm."""
        return np.array(self.proof.record["Geometry"]["Affine"], np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along i, j, k, and the number of volumes where there are several."""
        return self._header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values of `array`."""
        return self.array.dtype

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from a voxel to the next along i, j and k."""
        x, y, z = axis_lengths(self.affine)
        return float(x), float(y), float(z)

    @property
    def axis_codes(self) -> str:
        """Where i, j and k increase to, such as "LPS": to the left, to the back, to the head."""
        return axis_codes(self.affine)

    @property
    def plane_axis(self) -> int:
        """The axis of the array that counts the planes: 2, unless another order was asked for."""
        fit = self._to_acquired
        return 2 if fit is None else axes_of(fit.matrix)[2]

    @property
    def plane_uids(self) -> tuple[str | None, ...]:
        """SOP Instance UID of the instance that each plane along `plane_axis` came from, volume after volume.

        None for a plane that no instance holds: added, filled, or resampled.
        """
        uids = [row["SOPInstanceUID"] for row in self.proof.record["Slices"]]
        planes = self.proof.record["Geometry"]["GridShape"][2]
        fit, axis = self._to_acquired, self.plane_axis
        if fit is None:
            return (None,) * self.shape[2]
        step, first = int(fit.matrix[2, axis]), int(fit.matrix[2, 3])
        at = [step * n + first for n in range(self.shape[axis])]
        volumes = [uids[start : start + planes] for start in range(0, len(uids), planes)]
        return tuple(volume[k] if 0 <= k < planes else None for volume in volumes for k in at)

    def to_nibabel(self) -> Any:
        """Make a `nibabel.Nifti1Image`: header, sform and qform as in the file that was proven. It shares the memory."""
        from .other_libraries import as_nibabel

        return as_nibabel(self._file)

    def to_sitk(self) -> Any:
        """Make a `SimpleITK.Image`, with origin, spacing and direction in LPS. Needs the extra "witnesses".

        Raises: PipelineError NOT_ORTHONORMAL for a sheared grid, which ITK cannot hold; NO_ARRAY_PACKAGE.
        """
        from .other_libraries import as_sitk

        return as_sitk(self.array, self.affine, colours=is_rgb(self._header.dtype))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the file that was proven, with its record beside it.

        Args:
            path: ending in .nii or .nii.gz.
            overwrite: whether to replace what is there; never a file that it was made of.

        Returns: the path.

        Raises: PipelineError OUTPUT_NAME, OUTPUT_EXISTS, CANNOT_WRITE, READ_BACK_DIFFERS.
        """
        from .save import save_file

        return save_file(self._file, self.proof.record, path, self._origin.files, overwrite=overwrite)

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.shape))
        spacing = " × ".join(f"{n:.4g}" for n in self.spacing)
        return f"<{type(self).__name__} {size} {self._type_name}, {spacing} mm, {self.axis_codes}{self._more}, {self.proof.verdict}>"

    @property
    def _type_name(self) -> str:
        return str(self.dtype)

    @property
    def _more(self) -> str:
        return ""

    @cached_property
    def _header(self) -> NiftiHeader:
        return parse_header(self._file[:SIZE])

    @cached_property
    def _to_acquired(self) -> IndexMap | None:
        """The map from the indices of this array to those of the grid as acquired; None where there is none."""
        geometry = self.proof.record["Geometry"]
        ras = LPS_TO_RAS @ np.array(geometry["GridAffineLPS"])
        return find_index_map(self.affine, self.shape[:3], ras, geometry["GridShape"])


class Mask(ArrayOnGrid):
    """Labels on a grid: 0 is background, every other value is in `labels`. See `verimask.read`."""

    @cached_property
    def labels(self) -> Mapping[int, Label]:
        """What each value means, empty labels too."""
        rows = cast("list[dict[str, Any]]", self.proof.record["Labels"])
        return MappingProxyType({row["Value"]: _label_of(row) for row in rows})

    @property
    def _more(self) -> str:
        named = [f"{value} {label.name}" for value, label in self.labels.items()]
        more = f", … ({len(named)} labels)" if len(named) > _LISTED else ""
        return ", labels: " + (", ".join(named[:_LISTED]) + more if named else "none")


class Image(ArrayOnGrid):
    """Values on a grid: of an image, or the fractions of a fractional mask. See `verimask.read`."""

    @property
    def slope(self) -> float:
        """What a stored value is multiplied by."""
        return self._header.scaling[0]

    @property
    def intercept(self) -> float:
        """What is then added."""
        return self._header.scaling[1]

    @cached_property
    def array(self) -> Array:
        """The values that are meant: slope * stored + intercept. (i, j, k), (i, j, k, volume), or (i, j, k, sample) of colours.

        Whole where slope and intercept are, in the smallest signed type that can hold them, else float64. Read-only.
        """
        if is_rgb(self._header.dtype):
            samples = to_samples(self.stored)
            samples.flags.writeable = False
            return samples
        slope, intercept = self._header.scaling
        if (slope, intercept) == (1.0, 0.0):
            return self.stored
        values = _scaled(self.stored, slope, intercept)
        values.flags.writeable = False
        return values

    @property
    def _type_name(self) -> str:
        return "RGB" if is_rgb(self._header.dtype) else str(self.dtype)


def proof_of(outcome: Outcome) -> ArrayProof:
    """Say what a conversion proved."""
    record = outcome.record
    return ArrayProof(
        verdict=outcome.verdict,
        findings=outcome.findings,
        witnesses=outcome.agreements,
        record=record,
        plane_mm=float(record["Geometry"]["CornerResidualMm"]),
        sha256=str(record["Provenance"]["OutputSHA256"]),
    )


def _scaled(stored: Array, slope: float, intercept: float) -> Array:
    """slope * stored + intercept: whole numbers stay whole, and nothing is rounded that need not be."""
    whole = stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    if not whole:
        return stored.astype(np.float64) * slope + intercept
    info = np.iinfo(stored.dtype)
    ends = [int(slope) * int(end) + int(intercept) for end in (info.min, info.max)]
    fits = [t for t in (np.int16, np.int32, np.int64) if np.iinfo(t).min <= min(ends) and max(ends) <= np.iinfo(t).max]
    if not fits:
        return stored.astype(np.float64) * slope + intercept
    values: Array = stored.astype(fits[0])
    values *= int(slope)
    values += int(intercept)
    return values


def _label_of(row: Mapping[str, Any]) -> Label:
    """A label as the record has it."""
    colour, extent = row.get("Colour"), row.get("Extent")
    centroids = [row[key] and tuple(row[key]) for key in ("CentroidLpsMm", "CentroidRasMm")]
    numbers = LabelRow(
        name=row["Name"],
        value=row["Value"],
        voxels=row["Voxels"],
        volume_ml=row["VolumeMl"],
        centroid_lps_mm=centroids[0],
        centroid_ras_mm=centroids[1],
        extent=extent and tuple(tuple(pair) for pair in extent),
        components=row["Components"],
    )
    return Label(
        name=row["Name"],
        colour=colour and tuple(colour),
        category=_concept_of(row.get("Category")),
        type=_concept_of(row.get("SegmentType")),
        algorithm=row.get("Algorithm", ""),
        numbers=numbers,
    )


def _concept_of(entry: Mapping[str, str] | None) -> Concept | None:
    return None if entry is None else Concept(entry["Value"], entry["Scheme"], entry["Meaning"])
