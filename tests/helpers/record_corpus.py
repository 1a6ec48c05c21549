"""Make the corpus of records by version: small results of every kind, with the DICOM that they were made from.

Rules:
- The inputs are made once, by `tests.helpers.made_series` and `phantom`, and lie in tests/records/dicom/KIND.
- A version's results lie in tests/records/VERSION and are never made again: later versions have to verify them.

`python -m tests.helpers.record_corpus NAME` adds the results of the code as it is, as tests/records/NAME.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom import Dataset

from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.request import ExportDescription, Request
from pipeline.core.policy import Policy
from pipeline.decode.embedded.labelled import Named
from tests.helpers import made_series, phantom
from tests.helpers.made_series import MadeGrid, Person, Study, box

RECORDS = Path(__file__).parents[1] / "records"
_STUDY = Study(Person("P-1", "Doe^Jane"), "one")
_GRID = MadeGrid(shape=(8, 7, 5))
_FINE = MadeGrid(shape=(13, 11, 9), spacing=(0.45, 0.6, 1.4), origin=(-31.4, 12.3, -206.9))
_MASKS = [("liver", box(_GRID.shape, (1, 4), (1, 4), (1, 3))), ("spleen", box(_GRID.shape, (4, 7), (2, 6), (2, 5)))]
_SMALL = phantom.Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, radius_mm=4)


class _Kind(NamedTuple):
    """One kind of result. write: its inputs. inputs: below the folder, what is converted. suffix: "" for a folder of files."""

    write: Callable[[Path], object]
    request: Callable[[Path], Request] = lambda folder: Request()
    policy: Policy = Policy()
    inputs: tuple[str, ...] = ("",)
    suffix: str = ".nii.gz"


def _with_image(write: Callable[[Path, made_series.MadeImage], object]) -> Callable[[Path], object]:
    return lambda folder: write(folder / "mask", made_series.write_image(folder / "ct", _STUDY, _GRID))


def _series(folder: Path, image: made_series.MadeImage) -> None:
    for number, (name, voxels) in enumerate(_MASKS, 10):
        made_series.write_mask_series(folder / name, image, voxels, number=number, description=name)


def _burned(folder: Path) -> None:
    inside = _MASKS[1][1]

    def edit(k: int, dataset: Dataset) -> None:
        pixels = np.frombuffer(dataset.PixelData, np.uint16).copy().reshape(dataset.Rows, dataset.Columns)
        pixels[inside[:, :, k].T] = 4000
        dataset.PixelData = pixels.tobytes()
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{image.uid}.8", f"{dataset.SOPInstanceUID}.8"

    image = made_series.write_image(folder / "clean", _STUDY, _GRID)
    made_series.write_image(folder / "burned", _STUDY, _GRID, number=8, description="drawn", edit=edit, uid=image.uid)


def _four_dimensions(folder: Path) -> None:
    def edit(k: int, dataset: Dataset) -> list[Dataset]:
        again = deepcopy(dataset)
        again.SOPInstanceUID = f"{dataset.SOPInstanceUID}.2"
        dataset.TemporalPositionIdentifier, again.TemporalPositionIdentifier = 1, 2
        again.InstanceNumber = 100 + k
        pixels = np.frombuffer(dataset.PixelData, np.uint16) + 5
        again.PixelData = pixels.astype(np.uint16).tobytes()
        return [dataset, again]

    phantom.write(folder, replace(_SMALL, content="index", kind="mr"), edit=edit)


def _resampled(folder: Path) -> None:
    image = made_series.write_image(folder / "ct", _STUDY, _FINE)
    coarse = replace(image, grid=_GRID)
    made_series.write_mask_series(folder / "mask", coarse, _MASKS[0][1], refers=False)


def _source(folder: Path) -> Request:
    return Request(source=[folder / "ct"])


def _phantom(**changes: object) -> Callable[[Path], object]:
    return lambda folder: phantom.write(folder, replace(_SMALL, **changes))  # type: ignore[arg-type]


def _of(name: str) -> Callable[[Path], Request]:
    return lambda folder: replace(_source(folder), wanted=(name,))


def _drawn(folder: Path) -> Request:
    return Request(clean=[folder / "clean"], export=ExportDescription(inside=(Named("drawn", 4000),), kind="burned"))


def _merge(folder: Path) -> Request:
    return Request(merge=True)


_IMAGE, _ON = Policy(as_="image"), ("mask",)
_STRUCT = _with_image(lambda f, image: made_series.write_struct(f, image, _MASKS))
_SEG = _with_image(lambda f, image: made_series.write_seg(f, image, _MASKS))
_OBLIQUE, _SAGITTAL = (phantom.ORIENTATIONS[name] for name in ("double oblique", "sagittal"))
KINDS: dict[str, _Kind] = {
    "image": _Kind(_phantom(content="index"), policy=_IMAGE),
    "image-plain": _Kind(_phantom(content="index", signed=True, rescale=((2.0, -5.0),)), policy=_IMAGE, suffix=".nii"),
    "four-dimensions": _Kind(_four_dimensions, policy=_IMAGE, suffix=""),
    "mask": _Kind(_phantom(labels=(1, 2, 3), iop=_OBLIQUE)),
    "mask-named": _Kind(_phantom(), policy=Policy(labels_file="bids")),
    "reordered": _Kind(_phantom(labels=(1, 2), iop=_SAGITTAL), policy=Policy(orient="RAS")),
    "on-source": _Kind(_with_image(_series), _source, inputs=("mask/liver",)),
    "merged": _Kind(_with_image(_series), _merge, inputs=_ON),
    "resampled": _Kind(_resampled, _source, Policy(resample="nearest"), inputs=_ON),
    "seg": _Kind(_SEG, _source, inputs=_ON),
    "rtstruct": _Kind(_STRUCT, _of("spleen"), inputs=_ON),
    "several": _Kind(_STRUCT, _source, inputs=_ON, suffix=""),
    "bundle": _Kind(_with_image(made_series.write_bundle), _of("bone"), inputs=_ON),
    "burned-in": _Kind(_burned, _drawn, inputs=("burned",)),
}


def make(name: str, root: Path = RECORDS) -> Path:
    """Add the results of the code as it is, and inputs that are not there yet; return their folder."""
    results = root / name
    results.mkdir(parents=True)
    for key, kind in KINDS.items():
        folder = root / "dicom" / key
        if not folder.exists():
            kind.write(folder)
        inputs = [folder / path for path in kind.inputs]
        request, command = kind.request(folder), ["verimask", "convert", key]
        if kind.suffix:
            convert(inputs, results / f"{key}{kind.suffix}", request=request, policy=kind.policy, command=command)
            continue
        done, refused = convert_all(inputs, results / key, request=request, policy=kind.policy, command=command)
        if refused or not done:
            raise ValueError(f"{key}: {len(done)} results, {refused}")
    return results


if __name__ == "__main__":
    print(make(sys.argv[1]))
