"""One series that goes wrong in the field, with what a conversion of it is to give.

Rules:
- Every case is asymmetric: rows, columns and planes differ, so do the spacings. Every voxel has a value of its own, unless
  its case says that values repeat.
- A case is right within `WITHIN_MM`, or within the noise that was put into its positions; or it is refused with a Code.
- The truth is that of hard_truth.py: the written files, not what was meant to be written. A case whose files the plain
  equation cannot place brings a truth of its own, by pydicom and the standard (or the tool that wrote them) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydicom import Dataset

from tests.helpers.hard_truth import Acquired, truth
from tests.helpers.phantom import Edit, Spec, write

WITHIN_MM = 0.02
SMALL = Spec(shape=(11, 9, 7), row_spacing=0.8, column_spacing=1.3, step=2.0, content="index")
MASK = replace(SMALL, shape=(7, 6, 5), bits_allocated=8)  # 210 labels: few enough for a mask


@dataclass(frozen=True)
class HardCase:
    """One series and its conversion. expected: "right", or the name of the refusing Code.

    row: of the field table it belongs to. findings: Codes that a right result must tell of. options: fields of Policy.
    part, series: what is chosen. chosen: which of the acquired pixels are asked for, by file name and data set; the
    others may be absent. exact: every voxel keeps its value; else planes were blended and only the grid is compared.
    within_mm: the noise put into the positions, where it is more. travel_mm: how far a label may be taken from, where the
    options ask for that. make: writes the folder, where `spec` and `edit` do not. truth: of a written folder, where the
    planes' own equation cannot tell. asked: "mask" or "image", where the bits of `spec` do not tell. repeats: values occur
    more than once, so that voxels are judged by place.
    """

    name: str
    row: str
    spec: Spec = SMALL
    edit: Edit = lambda k, dataset: None
    expected: str = "right"
    findings: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    part: str | None = None
    series: str | None = None
    chosen: Callable[[Dataset], bool] = lambda dataset: True
    exact: bool = True
    within_mm: float = WITHIN_MM
    travel_mm: float = 0.0
    make: Callable[[Path, Spec, Edit], None] | None = None
    truth: Callable[[Path], list[Acquired]] | None = None
    asked: Literal["mask", "image"] | None = None
    repeats: bool = False

    def write(self, folder: Path) -> None:
        if self.make is None:
            write(folder, self.spec, edit=self.edit)
        else:
            self.make(folder, self.spec, self.edit)

    @property
    def as_(self) -> str:
        return self.asked or ("mask" if self.spec.bits_allocated == 8 else "image")

    def acquired(self, folder: Path, *, all_of_it: bool = False) -> list[Acquired]:
        """Every plane of the written folder that was asked for, or every one that has a place."""
        if self.truth is not None:
            return self.truth(folder)
        return truth(folder) if all_of_it else truth(folder, self.chosen)
