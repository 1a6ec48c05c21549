"""One SEG or RTSTRUCT that goes wrong in the field, with the masks that a conversion of it is to give.

Rules:
- `make` writes folder/in, and folder/source where there is one, and returns the truth: voxels on a grid, computed by numpy,
  pydicom or a library that is not ours, nothing of `pipeline`.
- A mask is right where the centres of its voxels are those of the truth's, all of them and no others, within 0.02 mm;
  which grid it was written on and in which order does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
from numpy.typing import NDArray

from pipeline.conversion.convert import Request, convert_all
from pipeline.conversion.record import Outcome
from pipeline.core.findings import PipelineError
from pipeline.core.policy import Policy

WITHIN_MM = 0.02


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """The voxels of one named mask. voxels: (i, j, k) boolean; lps: (4, 4) index to LPS mm."""

    name: str
    voxels: NDArray[np.bool_]
    lps: NDArray[np.float64]

    def centres(self) -> NDArray[np.float64]:
        """(n, 3) LPS mm, of the voxels that are set."""
        return np.argwhere(self.voxels) @ self.lps[:3, :3].T + self.lps[:3, 3]


@dataclass(frozen=True)
class MaskCase:
    """One folder and its conversion. expected: "right", or the name of the Code that refuses all or part of it.

    row: the kind it belongs to. findings: Codes that the records must tell of. options, request: fields of Policy and
    Request. verdict: of every file that is written; the witnesses are off.
    """

    name: str
    row: str
    make: Callable[[Path], Sequence[PlacedMask]]
    kind: Literal["SEG", "RTSTRUCT"] = "SEG"
    expected: str = "right"
    findings: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    verdict: str | None = None


def convert_case(case: MaskCase, folder: Path) -> tuple[list[Outcome], list[PipelineError]]:
    """What our own conversion of the written folder gives; the files lie in folder/out."""
    source = folder / "source"
    asked = {"source": source, **case.request} if source.exists() else case.request
    policy = Policy(**{"as_": "mask", "crosscheck": "off", **case.options})
    return convert_all([folder / "in"], folder / "out", request=Request(**asked), policy=policy)


def masks_of(outcomes: Sequence[Outcome]) -> list[PlacedMask]:
    """Every label of the written files, by the name that its record gives."""
    found = []
    for outcome in outcomes:
        image: Any = nibabel.load(outcome.output)
        array = np.asanyarray(image.dataobj)
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
        found += [PlacedMask(row["Name"], array == row["Value"], lps) for row in outcome.record["Labels"]]
    return found


def difference(truth: Sequence[PlacedMask], written: Sequence[PlacedMask]) -> str:
    """What is wrong with the masks that were written, in a line; empty where nothing is."""
    if sorted(m.name for m in truth) != sorted(m.name for m in written):
        return f"masks {sorted(m.name for m in written)}, not {sorted(m.name for m in truth)}"
    given = {m.name: m for m in written}
    wrong = [f"{mask.name}: {words}" for mask in truth if (words := _one_difference(mask, given[mask.name]))]
    return "; ".join(wrong)


def _one_difference(truth: PlacedMask, written: PlacedMask) -> str:
    centres = written.centres()
    index = (centres - truth.lps[:3, 3]) @ np.linalg.inv(truth.lps[:3, :3]).T
    whole = np.rint(index).astype(int)
    off = np.linalg.norm((index - whole) @ truth.lps[:3, :3].T, axis=1)
    if off.size and off.max() > WITHIN_MM:
        return f"{off.max():.2f} mm off the grid"
    wanted, found = set(map(tuple, np.argwhere(truth.voxels))), set(map(tuple, whole))
    if wanted != found or len(centres) != len(wanted):
        return f"{len(found - wanted)} voxels too many, {len(wanted - found)} missing, of {len(wanted)}"
    return ""
