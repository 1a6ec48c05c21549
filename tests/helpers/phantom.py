"""DICOM series of one asymmetric body on any grid, with the truth about it. Made for tests; needs no patient.

Rules:
- The phantom, and the writing of its planes, are those of the recipes of `verimask regress`, which use nothing of the
  rooms that convert; here are what only tests need: the truth, more transfer syntaxes, and ways in which a stack can lie.
- The same specification gives the same bytes.

`python -m tests.helpers.phantom data/` rewrites the samples of data/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.regression.recipes import dicom_file
from pipeline.regression.recipes.phantom import Phantom as Spec
from pipeline.regression.recipes.phantom import body as body
from pipeline.regression.recipes.planes import EditDataset as Edit
from pipeline.regression.recipes.planes import write_planes
from tests.helpers.dicom_file import SYNTAXES as SYNTAXES
from tests.helpers.dicom_file import save as save

Vector = tuple[float, float, float]
Cosines = tuple[float, float, float, float, float, float]
Array = NDArray[Any]


def turned(
    about_x: float = 0, about_y: float = 0, about_z: float = 0, start: Sequence[float] = (1, 0, 0, 0, 1, 0)
) -> Cosines:
    """Cosines turned about the patient's axes, in degrees, x first."""
    (cx, sx), (cy, sy), (cz, sz) = [(cos(radians(a)), sin(radians(a))) for a in (about_x, about_y, about_z)]
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    both = np.reshape(np.array(start, float), (2, 3)) @ (z @ y @ x).T
    return tuple(float(c) for c in np.round(both, 14).ravel() + 0.0)  # type: ignore[return-value]


# How the axial images of each patient position lie, what Mimics writes, and every other way a stack can be cut.
ORIENTATIONS: dict[str, Cosines] = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
    "rows upward": (1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": turned(about_x=17),
    "double oblique": turned(about_x=-23, about_y=11, about_z=8),
    "steep oblique": turned(about_x=52, about_y=-9, about_z=33),
    "oblique sagittal": turned(about_y=6, about_z=-19, start=(0, 1, 0, 0, 0, -1)),
    "oblique coronal": turned(about_x=14, about_z=7, start=(1, 0, 0, 0, 0, -1)),
}


@dataclass(frozen=True, eq=False)
class Truth:
    """What was written. ijk: stored values (columns, rows, planes). lps: 4 x 4. sop_uids, paths: a plane k each; the
    frame number is 1 + frames[k]. With an `edit`, ijk and lps tell of the series before it was spoilt."""

    spec: Spec
    folder: Path
    ijk: Array
    lps: NDArray[np.float64]
    series_uid: str
    sop_uids: tuple[str, ...]
    paths: tuple[Path, ...]
    frames: tuple[int, ...] = field(default=())

    @property
    def ras(self) -> NDArray[np.float64]:
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.lps


def write(folder: Path, spec: Spec | None = None, *, edit: Edit = lambda k, dataset: None, **changes: Any) -> Truth:
    """Write the series of the specification, changed as given, into the folder.

    `edit` sees every data set before it is encoded; a multi-frame instance comes once, as plane 0. Raises ValueError
    for values that do not fit their bits.
    """
    spec = replace(spec or Spec(), **changes)
    values = spec.array()
    written = write_planes(folder, spec, values, edit=edit, save_dataset=save)
    return Truth(spec, folder, values, spec.lps, spec.uid("series"), written.sop_uids, written.paths, written.frames)


def ds(*values: float, decimals: int | None = None) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return dicom_file.ds(values, decimals)


_SMALL = Spec(shape=(30, 26, 11), row_spacing=1.4, column_spacing=1.25, step=2.5, bits_allocated=8)
SAMPLES: dict[str, Spec] = {
    "axial": replace(_SMALL, bits_allocated=16, shape=(48, 40, 14), column_spacing=1.1),
    "rows-upward": replace(_SMALL, iop=ORIENTATIONS["rows upward"], origin=(-18.0, 22.5, 30.0)),
    "sagittal": replace(_SMALL, iop=ORIENTATIONS["sagittal"], stored="against", instance_numbers="against"),
    "coronal": replace(_SMALL, iop=ORIENTATIONS["coronal"], stored="shuffled"),
    "double-oblique": replace(_SMALL, iop=ORIENTATIONS["double oblique"], row_spacing=0.9, stored="shuffled"),
    "reversed-numbers": replace(_SMALL, instance_numbers="against"),
    "secondary-capture": replace(_SMALL, kind="sc", iop=ORIENTATIONS["oblique"], instance_numbers="missing"),
    "values-0-255": replace(_SMALL, labels=(255,)),
    "multi-label": replace(_SMALL, labels=(3, 7, 12), iop=ORIENTATIONS["steep oblique"]),
}


def write_samples(data: Path) -> list[Truth]:
    """Write every sample into data/samples/<name>/."""
    return [write(data / "samples" / name, spec, seed=name, description=name) for name, spec in SAMPLES.items()]


if __name__ == "__main__":
    for truth in write_samples(Path(sys.argv[1])):
        print(truth.folder)
