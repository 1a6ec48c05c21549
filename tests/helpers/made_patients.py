"""Make 30 patients with a CT and ROIs that are well spelt, misspelt, missing, overlapping or doubled, and their labels.toml.

Rules:
- The label map that is expected of a patient is painted here, from the voxels that were drawn, and by nothing of `pipeline`.
- The first and the third ten have structure sets, the second ten SEGs; ten kinds of trouble come three times each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.helpers.made_series import MadeGrid, Person, Study, Voxels, box, write_image, write_seg, write_struct

VALUES = {"liver": 1, "spleen": 2, "tumour": 3, "kidneys": 4}
_BOTTOM_TO_TOP = ("kidneys", "spleen", "liver", "tumour")  # the other way round than in the file
LABELS = """\
[labels.tumour]                  # stands first, so it lies on top
value = 3
names = ["GTV"]
regex = ["gtv.*"]
colour = "#dd8265"

[labels.liver]
value = 1
names = ["Leber", "liver_v2"]
codes = ["SCT:10200004"]

[labels.spleen]
value = 2

[labels.kidneys]
value = 4
names = ["Kidney L", "Kidney R"]
required = false
join = true

[ignore]
names = ["BODY"]
regex = ["ptv.*"]
"""

# Of the ROIs of a patient: the name as written, the label it must become ("" for none), and its box in tenths of the grid.
_Roi = tuple[str, str, "tuple[tuple[int, int], tuple[int, int], tuple[int, int]]"]
_LIVER, _SPLEEN, _TUMOUR = ((1, 5), (2, 7), (1, 8)), ((6, 9), (1, 4), (2, 7)), ((6, 8), (5, 8), (3, 9))
_IN_LIVER, _LEFT, _RIGHT = ((3, 6), (4, 8), (2, 7)), ((6, 7), (5, 9), (1, 5)), ((8, 9), (5, 9), (1, 5))


@dataclass(frozen=True)
class _Trouble:
    """One kind of patient. unmatched: names that fit no label. missing: labels that must be there and are not."""

    words: str
    rois: tuple[_Roi, ...]
    status: str = "DONE"
    unmatched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()  # of the segments; the patient then has a SEG


_WELL: tuple[_Roi, ...] = (("liver", "liver", _LIVER), ("spleen", "spleen", _SPLEEN), ("tumour", "tumour", _TUMOUR))
_TROUBLES = (
    _Trouble("well spelt", _WELL),
    _Trouble(
        "spelt otherwise",
        (("LEBER ", "liver", _LIVER), ("S-pleen", "spleen", _SPLEEN), ("GTV 2 new", "tumour", _TUMOUR)),
    ),
    _Trouble("misspelt", (("Lvier", "", _LIVER), *_WELL[1:]), "INCOMPLETE", ("Lvier",), ("liver",)),
    _Trouble("missing", (_WELL[0], _WELL[2]), "INCOMPLETE", (), ("spleen",)),
    _Trouble("overlapping", (("GTV", "tumour", _IN_LIVER), *_WELL[:2])),
    _Trouble("joined", (*_WELL, ("Kidney L", "kidneys", _LEFT), ("kidney r", "kidneys", _RIGHT))),
    _Trouble("doubled", (*_WELL, ("liver_v2", "", _IN_LIVER)), "REFUSED"),  # two livers, and nothing says which
    _Trouble("ignored", (*_WELL, ("Body", "", ((0, 10), (0, 10), (0, 10))), ("PTV 50", "", _IN_LIVER))),
    _Trouble(
        "by code",
        (("Segment 1", "liver", _LIVER), *_WELL[1:]),
        codes=(("10200004", "Liver"), ("78961009", "Spleen"), ("108369006", "Neoplasm")),
    ),
    _Trouble("a stranger", (*_WELL, ("mystery", "", _IN_LIVER)), "INCOMPLETE", ("mystery",)),
)


@dataclass(frozen=True, eq=False)
class MadePatient:
    """One patient and what must come of it.

    labels: (i, j, k) values of the label map; lps: index to LPS mm. drawn: the voxels of each label, before one covers another.
    """

    folder: Path
    person: Person
    words: str
    status: str
    labels: NDArray[np.uint8]
    lps: NDArray[np.float64]
    unmatched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    drawn: dict[str, Voxels] = field(default_factory=dict)

    @property
    def voxels(self) -> dict[str, int]:
        """How many voxels of the label map each label has, of those that are there."""
        counts = {name: int((self.labels == value).sum()) for name, value in VALUES.items()}
        return {name: count for name, count in counts.items() if count}


def make_patients(root: Path, count: int = 30, grid: MadeGrid | None = None) -> list[MadePatient]:
    """Write the patients below root, one folder each, in DICOM/; and labels.toml beside it."""
    grid = grid or MadeGrid(shape=(20, 20, 10))
    (root / "DICOM").mkdir(parents=True)
    (root / "labels.toml").write_text(LABELS, "utf-8")
    return [_make(root / "DICOM", number, grid) for number in range(1, count + 1)]


def _make(root: Path, number: int, grid: MadeGrid) -> MadePatient:
    trouble = _TROUBLES[(number - 1) % len(_TROUBLES)]
    person = Person(f"LIV-{7300 + number}", f"Nightingale{number:02d}^Ottilie")
    folder = root / f"patient_{number:02d}"
    study = Study(person, "study")
    image = write_image(folder / "CT", study, grid)
    rois = [(name, _box(grid.shape, edges)) for name, _, edges in trouble.rois]
    has_contours = (number - 1) // len(_TROUBLES) % 2 == 0
    if has_contours and not trouble.codes:
        write_struct(folder / "RTSTRUCT", image, rois)
    else:
        write_seg(folder / "SEG", image, rois, codes=trouble.codes)
    drawn = _drawn(trouble, rois)
    labels = np.zeros(grid.shape, np.uint8)
    for label in _BOTTOM_TO_TOP:  # what stands first in the file lies on top
        labels[drawn.get(label, np.zeros(grid.shape, bool))] = VALUES[label]
    return MadePatient(
        folder, person, trouble.words, trouble.status, labels, grid.lps, trouble.unmatched, trouble.missing, drawn
    )


def _drawn(trouble: _Trouble, rois: list[tuple[str, Voxels]]) -> dict[str, Voxels]:
    """The voxels of each label that a patient must have."""
    found: dict[str, Voxels] = {}
    for (_, voxels), (_, label, _) in zip(rois, trouble.rois, strict=True):
        if label and trouble.status != "REFUSED":
            found[label] = found[label] | voxels if label in found else voxels
    return found


def _box(shape: tuple[int, int, int], edges: Any) -> Voxels:
    """The voxels of a box whose edges are tenths of the grid."""
    return box(shape, *((first * n // 10, last * n // 10) for (first, last), n in zip(edges, shape, strict=True)))
