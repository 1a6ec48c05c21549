"""Ways to spoil a series of the phantom, as its `edit`, and folders that hold more than one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from math import cos, sin
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from tests.helpers.phantom import Edit, Spec, ds, write

Make = Callable[[Path, Spec, Edit], None]
_OTHER_VALUES = 3000  # where the values of a second stack begin


def both(*edits: Edit) -> Edit:
    """One edit after the other, on all data sets the ones before gave."""

    def edit(k: int, dataset: Dataset) -> list[Dataset]:
        written = [dataset]
        for one in edits:
            answers = [(d, one(k, d)) for d in written]
            written = [d for given, answer in answers for d in ([given] if answer is None else answer)]
        return written

    return edit


def tags(only: Callable[[int], bool] = lambda k: True, **values: Any) -> Edit:
    """Set attributes on the planes chosen; None deletes one, and a callable is given k."""

    def edit(k: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            if not only(k):
                continue
            if value is not None:
                setattr(dataset, keyword, value(k) if callable(value) else value)
            elif keyword in dataset:
                delattr(dataset, keyword)

    return edit


def without(*planes: int) -> Edit:
    """Leave planes out."""
    return lambda k, dataset: [] if k in planes else None


def moved(shift: Callable[[int], Iterable[float]]) -> Edit:
    """Image Position moved by shift(k), LPS mm."""

    def edit(k: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = ds(*(np.array(dataset.ImagePositionPatient, float) + np.array(list(shift(k)))))

    return edit


def cosines(change: Callable[[int, NDArray[np.float64]], NDArray[np.float64]]) -> Edit:
    """Image Orientation, (6,), as `change` makes it."""

    def edit(k: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient = ds(*change(k, np.array(dataset.ImageOrientationPatient, float)))

    return edit


def noise(radians: float, factor: Callable[[int], float] = lambda k: (1, -1, 0.5, 0, -0.7, 0.3, 0.9)[k % 7]) -> Edit:
    """Image Orientation turned about the patient's z by radians * factor(k)."""

    def change(k: int, both: NDArray[np.float64]) -> NDArray[np.float64]:
        c, s = cos(radians * factor(k)), sin(radians * factor(k))
        return (both.reshape(2, 3) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T).ravel()

    return cosines(change)


def copied(dataset: Dataset, ending: str) -> Dataset:
    """The same data set as another instance."""
    twin = deepcopy(dataset)
    twin.SOPInstanceUID = f"{str(dataset.SOPInstanceUID)[:56]}{ending}"
    return twin


def brighter(dataset: Dataset, by: int) -> None:
    """Other values of their own: all pixels raised."""
    dataset.PixelData = bytes(np.frombuffer(dataset.PixelData, "<u2") + np.uint16(by))


def doubled(planes: Iterable[int], change: Callable[[Dataset], None], *, pixels: bool = True) -> Edit:
    """Planes written twice, the second time changed. pixels: whether with the same ones."""
    chosen = set(planes)

    def edit(k: int, dataset: Dataset) -> list[Dataset] | None:
        if k not in chosen:
            return None
        twin = copied(dataset, ".77")
        if not pixels:
            brighter(twin, 20000)
        change(twin)
        return [dataset, twin]

    return edit


def volumes(*changes: Callable[[int, Dataset], None]) -> Edit:
    """Every plane once for each change, each time with values of its own."""

    def edit(k: int, dataset: Dataset) -> list[Dataset]:
        written = []
        for n, change in enumerate(changes):
            twin = copied(dataset, f".{n}")
            brighter(twin, 2000 * n)
            change(k, twin)
            written.append(twin)
        return written

    return edit


def groups(change: Callable[[int, int, Dataset], None]) -> Edit:
    """change(k, count, item) on the per-frame functional groups of a multi-frame instance."""

    def edit(_: int, dataset: Dataset) -> None:
        items = dataset.PerFrameFunctionalGroupsSequence
        for k, item in enumerate(items):
            change(k, len(items), item)

    return edit


def top_level(spec: Spec) -> Edit:
    """A multi-frame instance that tells the place of its first frame alone, and Spacing Between Slices."""
    return tags(
        ImagePositionPatient=ds(*spec.origin),
        ImageOrientationPatient=ds(*spec.iop),
        PixelSpacing=ds(spec.row_spacing, spec.column_spacing),
        SpacingBetweenSlices=ds(spec.step)[0],
        FrameOfReferenceUID="1.2.3",
    )


def another(spec: Spec, change: Callable[[int, Dataset], None] = lambda k, dataset: None) -> Make:
    """A second stack of planes in the folder, in the same series unless its seed is another; Instance Numbers from 100."""

    def make(folder: Path, first: Spec, edit: Edit) -> None:
        def second(k: int, dataset: Dataset) -> None:
            dataset.SOPInstanceUID = f"{str(dataset.SOPInstanceUID)[:58]}.99{k}"
            dataset.InstanceNumber = 100 + k
            if spec.seed != first.seed:
                dataset.SeriesDescription = spec.seed
            brighter(dataset, _OTHER_VALUES)
            change(k, dataset)

        write(folder, first, edit=edit)
        write(folder / "other", spec, edit=second)

    return make


def file_copy(folder: Path, spec: Spec, edit: Edit) -> None:
    """A series with one file copied under another name."""
    first = write(folder, spec, edit=edit).paths[0]
    (folder / "copy.dcm").write_bytes(first.read_bytes())


def bare_files(folder: Path, spec: Spec, edit: Edit) -> None:
    """Data sets without preamble and file meta information."""
    for path in write(folder, spec, edit=edit, transfer_syntax="implicit").paths:
        dataset = dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=True, little_endian=True)
