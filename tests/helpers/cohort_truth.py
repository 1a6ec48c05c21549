"""Hold a data set against what is expected of the tree it was made from.

Rules:
- Files are read by nibabel and pydicom; where a voxel lies is computed here. Of `pipeline` only the index is asked, and only
  which key belongs to which series.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from pipeline.cohort.index.index import Index
from tests.helpers.cohort_run import PRIVATE, geometry_bytes, rows_of
from tests.helpers.made_cohort import Expected, MadeCohort
from tests.helpers.mask_case import PlacedMask, difference

Row = Mapping[str, str]
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def open_index(out: Path) -> Index:
    """The index of an output folder; no run may have it open."""
    return Index(out / PRIVATE / "index.sqlite")


def wrong_in(made: MadeCohort, out: Path) -> list[str]:
    """Every way in which a data set differs from what is expected of the tree, one line each."""
    keys = _keys(out)
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in rows_of(out, private=True):
        by_key[row["key"]].append(row)
    wrong = []
    for series in made.series:
        key = keys.get(_name_of(series), "")
        words = _wrong_in_series(series, by_key.pop(key, []), keys, made, out) if key else ["it is not in the index"]
        wrong += [f"{series.folder} ({series.role}): {line}" for line in words]
    return wrong + [f"{key}: a series that nobody made" for key in by_key]


def files_not_once(made_files: Iterable[Path], out: Path) -> list[str]:
    """The input files that are in no row of the index, or in several."""
    with open_index(out) as index:
        rows = Counter(file.path for facts in index.series() for file in index.files_of(facts.key))
        rows.update(str(path) for path, _, _ in index.left_out())
    wanted = {str(path) for path in made_files}
    return sorted({path for path in wanted | rows.keys() if rows[path] != 1 or path not in wanted})


def other_headers(out: Path) -> list[str]:
    """The masks whose header places a voxel elsewhere than that of their image, bit for bit."""
    rows = rows_of(out)
    images = {row["key"]: out / row["output"] for row in rows if row["role"] == "image" and row["output"]}
    masks = [row for row in rows if row["role"] == "mask" and row["output"]]
    return [r["output"] for r in masks if geometry_bytes(out / r["output"]) != geometry_bytes(images[r["image"]])]


def mask_of(out: Path, row: Row) -> PlacedMask:
    """The mask that a row of cohort.tsv is about."""
    array, lps = read_nifti(out / row["output"])
    return PlacedMask(row["mask"], array == int(row["label"]) if row["label"] else array != 0, lps)


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The voxels of a file, and the (4, 4) affine from index to LPS mm."""
    image: Any = nibabel.load(path)
    return np.asanyarray(image.dataobj), _RAS_TO_LPS @ image.affine


def dice(one: PlacedMask, other: PlacedMask) -> float:
    """Twice the voxels that both have, over all; voxels are the same where their centres are, whatever the axes.

    A centre of the second that lies off the grid of the first belongs to the voxel of it that it lies in.
    """
    index = (other.centres() - one.lps[:3, 3]) @ np.linalg.inv(one.lps[:3, :3]).T
    there = set(map(tuple, np.rint(index).astype(int).tolist()))
    here = set(map(tuple, np.argwhere(one.voxels).tolist()))
    return 2 * len(here & there) / (len(here) + int(other.voxels.sum()))


def _keys(out: Path) -> dict[str, str]:
    """The key of each series, by UID, and of each bundle, by folder."""
    with open_index(out) as index:
        return {facts.uid or f"bundle {facts.folder}": facts.key for facts in index.series()}


def _name_of(series: Expected) -> str:
    return series.uid or f"bundle {series.folder}"


def _wrong_in_series(
    series: Expected, rows: Sequence[Row], keys: Mapping[str, str], made: MadeCohort, out: Path
) -> list[str]:
    statuses = {row["status"] for row in rows}
    wrong = []
    also = {"REFUSED"} if series.status == "INCOMPLETE" else set()  # of the masks that make it so
    if series.status not in statuses or statuses - also - {series.status}:
        wrong.append(f"status {sorted(statuses)}, not {series.status}")
    if series.code and series.code not in {row["code"] for row in rows}:
        wrong.append(f"code {sorted({row['code'] for row in rows})}, not {series.code}")
    if any(row["folder"] == "" for row in rows):
        wrong.append("a row without its folder")
    written = [row for row in rows if row["output"]]
    if series.role == "image":
        return wrong + [
            line for row in written for line in _wrong_values(made.root / series.folder, out / row["output"])
        ]
    if any(row["image"] != keys.get(series.image, "") for row in written):
        wrong.append("it is linked to another image")
    return wrong + _wrong_masks(series, [mask_of(out, row) for row in written], made.identifiers)


def _wrong_masks(series: Expected, written: list[PlacedMask], identifiers: Iterable[str]) -> list[str]:
    """How masks differ; one whose name holds an identifier may be called anything that does not."""
    known = {mask.name for mask in series.masks}
    for truth in series.masks:
        strange = [n for n, mask in enumerate(written) if mask.name not in known]
        if any(text in truth.name for text in identifiers) and len(strange) == 1:
            found = written[strange[0]]
            written[strange[0]] = PlacedMask(truth.name, found.voxels, found.lps)
    words = difference(series.masks, written)
    return [words] if words else []


def _wrong_values(folder: Path, path: Path) -> list[str]:
    """How an image differs from its planes: each pixel of each file is looked up where the file says that it lies."""
    array, lps = read_nifti(path)
    inverse, seen = np.linalg.inv(lps), 0
    for file in sorted(folder.glob("*.dcm")):
        plane = dcmread(file)
        row, column = np.reshape(np.array(plane.ImageOrientationPatient, float), (2, 3))
        down, across = map(float, plane.PixelSpacing)
        j, i = np.indices(plane.pixel_array.shape)
        points = (
            np.array(plane.ImagePositionPatient, float) + i[..., None] * across * row + j[..., None] * down * column
        )
        index = points @ inverse[:3, :3].T + inverse[:3, 3]
        whole = np.rint(index).astype(int)
        if abs(index - whole).max() > 0.01 or (whole < 0).any() or (whole >= array.shape).any():
            return [f"{file.name} lies off the grid of {path.name}"]
        if (array[tuple(np.moveaxis(whole, -1, 0))] != plane.pixel_array).any():
            return [f"{file.name} has other values in {path.name}"]
        seen += plane.pixel_array.size
    return [] if seen == array.size else [f"{path.name} has {array.size} voxels, and the files {seen}"]
