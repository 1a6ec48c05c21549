"""Read fields of bundle.json by name and type, and refuse by name what is missing or of another type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.findings import Code, PipelineError, refuse
from ..geometry.affine import Matrix

_HINT = "Run export_masks.py in Mimics again; a bundle is not meant to be edited."
_REQUIRED: Any = object()
_LARGEST = 2**40  # count of voxels, or length of an axis: JSON holds whole numbers of any length
_TOO_LARGE = "it is too large a number"


@dataclass(frozen=True, slots=True)
class BundleFields:
    """A JSON object whose fields are asked for by name and type. where: its place in bundle.json, for refusals."""

    content: Any
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.content, Mapping):
            raise refuse_field(self.where, "it is not an object")

    def get(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Return the value of a field.

        Args:
            name: of the field.
            kind: the type its value must have; a whole number is taken for a float too.
            default: what a field gives that is missing or null; without it, such a field is refused.

        Returns: the value, of type `kind`, or the default.

        Raises: PipelineError BUNDLE_INVALID.
        """
        value = self.content.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError as error:
                raise self.invalid(name, _TOO_LARGE) from error
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            missing = name not in self.content
            raise self.invalid(name, "it is missing" if missing else f"{value!r} is not of type {kind.__name__}")
        if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
            raise self.invalid(name, _TOO_LARGE)
        return value

    def records(self, name: str) -> list[BundleFields]:
        """Return the objects of a list. Raises PipelineError BUNDLE_INVALID."""
        return [BundleFields(item, f"{self.where}.{name}[{n}]") for n, item in enumerate(self.get(name, list))]

    def shape(self) -> tuple[int, int, int]:
        """Return the field `shape`. Raises PipelineError BUNDLE_INVALID."""
        value = self.get("shape", list)
        if len(value) != 3 or not all(isinstance(n, int) and 0 < n <= _LARGEST for n in value):
            raise self.invalid("shape", f"{value} is not three positive integers")
        return value[0], value[1], value[2]

    def numbers(self, name: str, columns: int) -> Matrix:
        """Return a table of finite numbers, (n, columns). Raises PipelineError BUNDLE_INVALID."""
        value = self.get(name, list)
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.invalid(name, f"it is not a table of numbers: {error}") from error
        if array.ndim != 2 or array.shape[1] != columns or not np.isfinite(array).all():
            raise self.invalid(name, f"it is not a table of {columns} finite numbers a row")
        return array

    def folder(self, name: str, base: Path) -> Path | None:
        """Return the path of a folder within `base`; None where there is none. Raises PipelineError BUNDLE_INVALID."""
        value = self.get(name, str, None)
        if value is None:
            return None
        path: Path = base / value
        if not path.is_dir() or not path.resolve().is_relative_to(base.resolve()):
            raise self.invalid(name, f"{value!r} is not a folder of the bundle")
        return path

    def invalid(self, name: str, why: str) -> PipelineError:
        """Make the refusal of one field."""
        return refuse_field(f"{self.where}.{name}", why)


def refuse_field(where: str, why: str) -> PipelineError:
    """Make the refusal of a field of bundle.json, named as in `bundle.images[0].shape`."""
    return refuse(Code.BUNDLE_INVALID, f"{where}: {why}", _HINT, where=(where,))
