"""Convert every case of data/ and tests/real/ into files for the viewers, and read each by nibabel alone.

Rules:
- Masks and images both: every case is converted as its words say. What a case refuses gives no file.
- What a viewer is held against is what nibabel reads, not what our record says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from pipeline.cli.case_options import read_words
from pipeline.conversion.convert import convert_each
from pipeline.conversion.record import Outcome
from pipeline.core.findings import PipelineError
from pipeline.regression.case_inputs import find_inputs, why_left_out
from pipeline.regression.case_list import read_case_list
from pipeline.regression.run_case import CaseFolders

ROOT = Path(__file__).parents[2]
LISTS = (ROOT / "data" / "cases.toml", ROOT / "tests" / "real" / "cases.toml")

Array = NDArray[Any]


@dataclass(frozen=True)
class OurFile:
    """One file. case: that made it. form: of the record, such as "Mask". affine: RAS. array: stored values, i, j, k(, t)."""

    case: str
    path: Path
    kind: str
    affine: NDArray[np.float64]
    array: Array
    slope: float
    intercept: float

    @property
    def shear_degrees(self) -> float:
        """How far the axes are from being at right angles."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        cosines = [abs(axes[:, a] @ axes[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        return float(np.degrees(np.arcsin(min(1.0, max(cosines)))))

    @property
    def labels(self) -> list[int]:
        """The values of a mask but 0."""
        return [int(v) for v in np.unique(self.array) if v] if self.kind == "mask" else []

    def count_differing(self, theirs: Array) -> int:
        """How many voxels of a viewer's array are not ours: colours as a last axis, real values with the header's scale."""
        ours: Array = self.array
        if ours.dtype.names:
            ours = np.stack([ours[name] for name in ours.dtype.names], axis=-1)
        if ours.shape != theirs.shape:
            return ours.size
        if (self.slope, self.intercept) == (1.0, 0.0):
            return int((ours != theirs).sum())
        real = ours * self.slope + self.intercept  # a viewer keeps them in single precision
        return int((~np.isclose(theirs, real, rtol=2e-6, atol=2e-6 * np.abs(real).max())).sum())


def convert_cases(folder: Path) -> Iterator[OurFile]:
    """Convert every case that is not left out into a folder of its own."""
    for path in LISTS:
        cases = read_case_list(path)
        for case in cases.cases:
            reason = why_left_out(cases, case, fetch=False)
            if reason:
                print(f"  left out: {case.id}: {reason}")
                continue
            with tempfile.TemporaryDirectory() as scratch:
                inputs = find_inputs(cases, case, Path(scratch))
                folders = CaseFolders(cases.folder, inputs.folder, cases.base_of(case))
                request, policy = read_words([*case.options, "--crosscheck", "affine"], folders)
                try:
                    results = list(convert_each(inputs.given, folder / case.id, request=request, policy=policy))
                except PipelineError:
                    results = []
            for result in results:
                if isinstance(result, Outcome):
                    yield _read(case.id, result)


def _read(case: str, outcome: Outcome) -> OurFile:
    path = outcome.output
    image: Any = nibabel.load(path)
    raw = np.asarray(image.dataobj.get_unscaled())
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    kind = "mask" if outcome.labels is not None else "image"
    return OurFile(case, path, kind, image.affine, raw, float(slope), float(intercept))
