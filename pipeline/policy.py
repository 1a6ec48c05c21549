"""Every tolerance and every choice of a conversion, recorded in its Outcome.

A tolerance is a number in mm (or a plain ratio) with its reason beside it. A choice says what to do where a series
leaves room; the default is always the one that cannot be silently wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """Tolerances and choices of one conversion; the comment beside each is its reason."""

    # A plane may lie this far from the written grid. Real scanners jitter by up to 0.055 mm and the smallest real
    # defect seen (a missing plane) shows 0.31 mm; in 0.1 mm micro-CT a gap needs the fraction.
    corner_limit_mm: float = 0.1
    corner_limit_fraction: float = 0.1  # of the smallest spacing; the smaller of the two limits holds
    # Mimics' voxel centres show noise of 1e-5 mm (float32 inside); a plane that is really off is off by far more.
    centre_limit_mm: float = 1e-3
    # Direction cosines printed with three decimals are off by less than this; a length of 0.99 is not rounding.
    cosine_limit: float = 1e-3
    # The header holds float32: 2.8e-5 mm at 1.2 m was measured for the sform, 1.5e-4 mm for the qform.
    header_limit_mm: float = 2e-4
    # Axes this little off right angles are kept as printed: ITK takes an sform up to 1e-4 off, and drops the skew beyond.
    skew_limit: float = 8e-5
    # A qform further than this from the sform says another place: then it is left out (code 0).
    qform_limit_mm: float = 1e-2
    # Witnesses keep float32 affines; dcm2niix rounds more (1.3e-3 mm measured).
    witness_limit_mm: float = 1e-3
    dcm2niix_limit_mm: float = 5e-3

    as_: Literal["mask", "image"] = "mask"
    on_tilt: Literal["refuse", "shear", "resample"] = "refuse"
    on_gap: Literal["refuse", "fill", "nearest", "resample"] = "refuse"
    on_duplicate: Literal["refuse", "drop", "first", "last"] = "refuse"
    on_lossy: Literal["refuse", "threshold", "keep"] = "refuse"
    on_unread: Literal["refuse", "leave-out"] = "refuse"
    assume_spacing: bool = False
    orient: str = "source"
    resample: Literal["refuse", "nearest"] = "refuse"
    fractional: float | Literal["keep"] = 0.5
    combine: Literal["auto", "separate", "merge"] = "auto"
    interpolate: bool = False
    mm_per_unit: float | None = None
    grey_values: bool = False
    keep_values: bool = False
    allow_empty: bool = False
    crosscheck: Literal["affine", "voxels", "off"] = "affine"
    gzip_level: int | None = None  # by the kind of voxels: see `gzipped`
    keep_disputed: bool = False
    labels_file: Literal["none", "bids", "itksnap", "slicer"] = "none"
    write: Literal["refuse", "suffix", "skip", "overwrite"] = "refuse"

    def corner_limit(self, smallest_spacing_mm: float) -> float:
        """The limit of the corner proof in mm, for a grid whose smallest voxel edge is given."""
        return min(self.corner_limit_mm, self.corner_limit_fraction * smallest_spacing_mm)

    def as_json(self) -> dict[str, Any]:
        return {_camel(f.name): getattr(self, f.name) for f in fields(self)}


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_") if word)
