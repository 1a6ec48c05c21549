"""Planes whose files do not say plainly what belongs together: repeats without a name, UIDs that are noise, copies.

Each refused case is one that looks like a case beside it, and is another thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from tests.helpers.hard_case import MASK, SMALL, HardCase
from tests.helpers.hard_edits import Make, both, brighter, copied, doubled, moved, tags, volumes
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, write
from tests.helpers.vector_edits import dose

_REPEATS = 3
_UIDS = ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


def slice_major(change: Callable[[int, int, Dataset], None] = lambda k, n, dataset: None) -> Edit:
    """Repeats at every place, numbered one after the other there. change(k, n, data set) of repeat n."""

    def numbered(n: int) -> Callable[[int, Dataset], None]:
        def one(k: int, dataset: Dataset) -> None:
            dataset.InstanceNumber = 1 + _REPEATS * k + n
            change(k, n, dataset)

        return one

    return volumes(*map(numbered, range(_REPEATS)))


def of_rank(n: int) -> Callable[[Dataset], bool]:
    return lambda dataset: (int(dataset.InstanceNumber) - 1) % _REPEATS == n


def own(*keywords: str) -> Edit:
    """A UID of its own in every file."""
    return tags(**{keyword: lambda k, n=n: f"1.2.3.{n}.{k + 1}" for n, keyword in enumerate(keywords)})


def two(first: Spec, second: Spec, edit: Edit, start: int = 1, **values: Any) -> Make:
    """Two stacks of planes in two folders. start: the first Instance Number of the second. values: its attributes."""

    def make(folder: Path, spec: Spec, _: Edit) -> None:
        def change(k: int, dataset: Dataset) -> None:
            dataset.SOPInstanceUID = f"1.2.9.{k + 1}"
            edit(100 + k, dataset)
            dataset.InstanceNumber = start + k
            brighter(dataset, 3000)
            for keyword, value in values.items():
                setattr(dataset, keyword, value)

        write(folder / "one", first, edit=edit)
        write(folder / "other", second, edit=change)

    return make


def blank(*planes: int) -> Edit:
    """Planes of zeros."""

    def edit(k: int, dataset: Dataset) -> None:
        if k in planes:
            dataset.PixelData = bytes(len(dataset.PixelData))

    return edit


def twice(folder: Path, spec: Spec, edit: Edit) -> None:
    """A series in two folders, under the same names and UIDs, but another tag."""
    write(folder / "a", spec, edit=edit)
    write(folder / "b", spec, edit=both(edit, tags(StationName="other")))


def _slice_major() -> list[HardCase]:
    row, finding = "repeats numbered slice by slice", ("REPEATS_BY_NUMBER",)
    mr = replace(SMALL, kind="mr", iop=ORIENTATIONS["double oblique"])

    def trigger(k: int, n: int, dataset: Dataset) -> None:
        dataset.TriggerTime = str(300 + 250 * n + 22 * k)

    def diffusion(k: int, n: int, dataset: Dataset) -> None:
        dataset.DiffusionBValue = 1000.0 if n else 0.0
        if n:
            dataset.DiffusionGradientOrientation = [0.0, 1.0, 0.0] if n == 1 else [1.0, 0.0, 0.0]

    def shuffled_b_value(k: int, n: int, dataset: Dataset) -> None:
        dataset.DiffusionBValue = 0.0 if (n + k // 4) % _REPEATS == 0 else 1000.0

    def turned_trigger(k: int, n: int, dataset: Dataset) -> None:
        dataset.TriggerTime = str(300 + 250 * (n if k < 4 else (1 + n) % 3) + 22 * k)

    def times(k: int, n: int, dataset: Dataset) -> None:
        dataset.ContentTime = f"1015{10 + k:02d}" if n < 2 else f"1015{11 + k:02d}"

    return [
        HardCase("slice by slice", row, mr, slice_major(), "SEVERAL_VOLUMES"),
        HardCase("slice by slice, part 2", row, mr, slice_major(), findings=finding, part="2", chosen=of_rank(1)),
        HardCase(
            "slice by slice, trigger times move too, part 3",
            row,
            mr,
            slice_major(trigger),
            findings=finding,
            part="3",
            chosen=of_rank(2),
        ),
        HardCase(
            "slice by slice, b-values and directions, part 2",
            row,
            mr,
            slice_major(diffusion),
            findings=finding,
            part="2",
            chosen=of_rank(1),
        ),
        HardCase("slice by slice, coarse times, part 1", row, mr, slice_major(times), part="1", chosen=of_rank(0)),
        HardCase(
            "slice by slice, blank planes, part 2",
            row,
            mr,
            both(slice_major(), blank(0, 6)),
            findings=finding,
            part="2",
            chosen=of_rank(1),
        ),
        HardCase(
            "slice by slice, b-values contradict", row, mr, slice_major(shuffled_b_value), "SEVERAL_VOLUMES", part="1"
        ),
        HardCase(
            "slice by slice, trigger times contradict",
            row,
            mr,
            slice_major(turned_trigger),
            "SEVERAL_VOLUMES",
            part="1",
        ),
    ]


def _uids() -> list[HardCase]:
    row, joined, reference = "UIDs of their own in every file", ("SERIES_JOINED",), ("MIXED_FRAME_OF_REFERENCE",)
    oblique = replace(SMALL, iop=ORIENTATIONS["double oblique"], stored="shuffled")
    short = replace(SMALL, shape=(11, 9, 4), step=4.0)
    between = replace(short, origin=tuple(short.point((0, 0, 0.5))))  # type: ignore[arg-type]
    after = replace(short, origin=tuple(short.point((0, 0, 4))))  # type: ignore[arg-type]
    series, everything, frame = own(_UIDS[0]), own(*_UIDS), own(_UIDS[2])
    return [
        HardCase("Series UID of its own in every file", row, oblique, series, findings=joined),
        HardCase("every UID of its own in every file", row, oblique, everything, findings=joined),
        HardCase("mask, every UID of its own", row, MASK, everything, findings=joined),
        HardCase("the same, numbered backwards", row, replace(oblique, instance_numbers="against"), everything),
        HardCase("the same, without numbers", row, replace(oblique, instance_numbers="missing"), everything),
        HardCase("Frame of Reference of its own in every file", row, oblique, frame, findings=reference),
        HardCase("mask, Frame of Reference of its own", row, MASK, frame, findings=reference),
        HardCase(
            "two echoes, Frame of Reference of its own, part 2",
            row,
            replace(SMALL, kind="mr"),
            both(frame, volumes(*[lambda k, d, t=t: setattr(d, "EchoTime", t) for t in ("4.6", "9.2")])),
            findings=reference,
            part="2",
            chosen=lambda d: float(d.EchoTime) == 9.2,
        ),
        HardCase(
            "Series UID of its own, shuffled numbers",
            row,
            replace(oblique, instance_numbers="shuffled"),
            series,
            "SEVERAL_SERIES",
        ),
        HardCase(
            "two interleaved stacks, Series UIDs of their own",
            row,
            make=two(short, between, series),
            expected="SEVERAL_SERIES",
        ),
        HardCase("the same, numbered on", row, make=two(short, between, everything, 5), expected="SEVERAL_SERIES"),
        HardCase(
            "two interleaved stacks, Frames of Reference of their own",
            row,
            make=two(short, between, frame, 5),
            expected="MIXED_FRAME_OF_REFERENCE",
        ),
        HardCase(
            "two interleaved series",
            row,
            make=two(short, between, tags(), SeriesInstanceUID="1.2.3"),
            expected="SEVERAL_SERIES",
        ),
        HardCase(
            "two adjacent stacks, Series UIDs of their own",
            row,
            make=two(short, after, series),
            expected="SEVERAL_SERIES",
        ),
        HardCase(
            "two series of other numbers, Series UIDs of their own",
            row,
            make=two(short, after, series, 5, SeriesNumber=8),
            findings=joined,
            series="8",
            chosen=lambda d: d.SeriesNumber == 8,
        ),
        HardCase(
            "two planes, Series UIDs of their own", row, replace(SMALL, shape=(11, 9, 2)), series, "SEVERAL_SERIES"
        ),
    ]


def _nameless() -> list[HardCase]:
    row, joined = "no Series Instance UID", ("SERIES_JOINED",)
    oblique = replace(SMALL, iop=ORIENTATIONS["oblique sagittal"], stored="shuffled")
    short = replace(SMALL, shape=(11, 9, 4), step=4.0)
    between = replace(short, origin=tuple(short.point((0, 0, 0.5))))  # type: ignore[arg-type]
    missing, empty = tags(SeriesInstanceUID=None), tags(SeriesInstanceUID="")
    return [
        HardCase("no Series UID", row, oblique, missing, findings=joined),
        HardCase("an empty Series UID", row, oblique, empty, findings=joined),
        HardCase("mask without Series UID", row, MASK, missing, findings=joined),
        HardCase("two planes without UID", row, replace(SMALL, shape=(11, 9, 2)), missing, "SEVERAL_SERIES"),
        HardCase("enhanced, no Series UID", row, replace(SMALL, kind="enhanced mr"), missing, findings=joined),
        HardCase(
            "no Series UID in 1 file", row, oblique, tags(lambda k: k == 6, SeriesInstanceUID=None), "CORRUPT_FILE"
        ),
        HardCase(
            "two series without UID", row, make=two(short, short, missing, SeriesNumber=8), expected="SEVERAL_SERIES"
        ),
        HardCase(
            "two series without UID, one chosen",
            row,
            make=two(short, short, missing, SeriesNumber=8),
            findings=joined,
            series="8",
            chosen=lambda d: d.SeriesNumber == 8,
        ),
        HardCase(
            "two interleaved stacks without UID", row, make=two(short, between, missing), expected="SEVERAL_SERIES"
        ),
    ]


def _copies() -> list[HardCase]:
    row, dropped = "planes exported twice", ("DUPLICATE_DROPPED",)
    everything = range(SMALL.shape[2])
    again = doubled(everything, lambda d: setattr(d, "InstanceNumber", int(d.InstanceNumber) + 500))
    others = doubled(everything, lambda d: setattr(d, "InstanceNumber", int(d.InstanceNumber) + 500), pixels=False)
    timed = doubled(everything, lambda d: setattr(d, "AcquisitionTime", "111111"))
    one = doubled((3,), lambda d: setattr(d, "InstanceNumber", 50))

    def points(n: int) -> Callable[[int, Dataset], None]:
        def point(k: int, dataset: Dataset) -> None:
            dataset.TemporalPositionIdentifier, dataset.InstanceNumber = n, 1 + k + 10 * n

        return point

    def rescaled(k: int, dataset: Dataset) -> list[Dataset]:
        twin = copied(dataset, ".77")
        dataset.RescaleSlope, twin.RescaleSlope = "1", "3"
        dataset.RescaleIntercept = twin.RescaleIntercept = "0"
        return [dataset, twin]

    def widened(k: int, dataset: Dataset) -> list[Dataset] | None:
        """The same bytes again, of which one bit more is the value."""
        twin = copied(dataset, ".77")
        dataset.BitsStored, dataset.HighBit, twin.BitsStored, twin.HighBit = 12, 11, 13, 12
        return [dataset, twin] if k == 3 else [dataset]

    def tabled(k: int, dataset: Dataset) -> list[Dataset] | None:
        """The same bytes again, which another Modality LUT gives other values."""
        written = [dataset, *([copied(dataset, ".77")] if k == 3 else [])]
        for n, one in enumerate(written):
            item = Dataset()
            item.LUTDescriptor, item.ModalityLUTType = [1024, 0, 16], "HU"
            item.add_new(0x00283006, "OW", (np.arange(1024, dtype="<u2") * 7 + 3 + n).tobytes())
            one.ModalityLUTSequence = Sequence([item])
        return written

    def in_units(k: int, dataset: Dataset) -> list[Dataset] | None:
        written = [dataset, *([copied(dataset, ".77")] if k == 3 else [])]
        for units, one in zip(("GY", "RELATIVE"), written, strict=False):
            dose(replace(SMALL, kind="ct"))(k, one)
            one.DoseUnits = units
        return written

    in_time = both(volumes(points(1), points(2)), blank(0, 1, 6))
    same_masks = replace(MASK, content="mask")
    return [
        HardCase("every plane twice", row, edit=again, findings=dropped),
        HardCase("every plane twice, drop", row, edit=again, options={"on_duplicate": "drop"}, findings=dropped),
        HardCase(
            "every plane twice, refuse", row, edit=again, options={"on_duplicate": "refuse"}, expected="SEVERAL_VOLUMES"
        ),
        HardCase("every plane twice, at another time", row, edit=timed, findings=dropped),
        HardCase("mask, every plane twice", row, MASK, doubled(range(5), lambda d: None), findings=dropped),
        HardCase("exported twice, same UIDs", row, make=twice, findings=dropped),
        HardCase("every plane twice, other pixels", row, edit=others, expected="SEVERAL_VOLUMES"),
        HardCase("every plane twice, another slope", row, edit=rescaled, expected="SEVERAL_VOLUMES"),
        HardCase("two time points, blank at 3 places", row, edit=in_time, expected="SEVERAL_VOLUMES"),
        HardCase(
            "two time points, blank at 3 places, part 2",
            row,
            edit=in_time,
            part="2",
            chosen=lambda d: d.TemporalPositionIdentifier == 2,
        ),
        HardCase(
            "two time points, all the same", row, same_masks, volumes_alike(points(1), points(2)), "SEVERAL_VOLUMES"
        ),
        HardCase(
            "two time points, 1 plane twice, part 2",
            row,
            edit=both(volumes(points(1), points(2)), doubled_in(2, 3)),
            findings=dropped,
            part="2",
            chosen=lambda d: d.TemporalPositionIdentifier == 2,
        ),
        HardCase("plane twice, another Bits Stored", row, edit=widened, expected="DUPLICATE_POSITION"),
        HardCase("plane twice, another Modality LUT", row, edit=tabled, expected="DUPLICATE_POSITION"),
        HardCase("dose twice, other units", row, edit=in_units, expected="DUPLICATE_POSITION"),
        HardCase("enhanced, all frames alike at one place", row, make=_at_one_place, expected="DUPLICATE_POSITION"),
        HardCase(
            "two masks, 1 after the other, share an empty plane",
            row,
            make=_two_masks,
            asked="mask",
            expected="DUPLICATE_POSITION",
        ),
        HardCase(
            "1 of 2 planes twice",
            row,
            replace(SMALL, shape=(11, 9, 2)),
            doubled((0,), lambda d: setattr(d, "InstanceNumber", 50)),
            findings=dropped,
        ),
        HardCase("plane twice, Slice Location differs", row, edit=both(one, located), expected="DUPLICATE_POSITION"),
        HardCase(
            "two acquisitions, all blank, part 2",
            row,
            edit=both(blank(*everything), acquisitions),
            part="2",
            chosen=lambda d: d.AcquisitionNumber == 2,
        ),
        HardCase(
            "one mask in all planes, at one place",
            row,
            same_masks,
            both(blank(*range(5)), moved(lambda k: (0, 0, -2.0 * k))),
            "DUPLICATE_POSITION",
        ),
    ]


def _at_one_place(folder: Path, _: Spec, __: Edit) -> None:
    """14 frames of an enhanced CT at one place, with the same pixels."""

    def edit(_: int, dataset: Dataset) -> None:
        frames = dataset.PerFrameFunctionalGroupsSequence
        for item in frames:
            item.PlanePositionSequence = frames[0].PlanePositionSequence
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // len(frames)] * len(frames)

    write(folder, replace(SMALL, shape=(11, 9, 14), kind="enhanced ct"), edit=edit)


def _two_masks(folder: Path, _: Spec, __: Edit) -> None:
    """A mask of 14 planes, and another that begins in its last plane, which is empty in both."""
    first = replace(MASK, shape=(7, 6, 14), content="mask")
    known = dcmread(write(folder, first, edit=blank(13)).paths[0])
    uids = {uid: known[uid].value for uid in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")}
    second = replace(first, origin=tuple(first.point((0, 0, 13))), seed="other", extension=".2.dcm")  # type: ignore[arg-type]
    numbered_on = tags(InstanceNumber=lambda k: 101 + k, **uids)
    write(folder, second, edit=both(blank(0), numbered_on))


def acquisitions(k: int, dataset: Dataset) -> list[Dataset]:
    """Every plane once in two acquisitions, with the same pixels."""
    second = copied(dataset, ".2")
    dataset.AcquisitionNumber, second.AcquisitionNumber = 1, 2
    return [dataset, second]


def volumes_alike(*changes: Callable[[int, Dataset], None]) -> Edit:
    """Every plane once for each change, with the same pixels."""

    def edit(k: int, dataset: Dataset) -> list[Dataset]:
        written = [copied(dataset, f".{n}") for n in range(len(changes))]
        for change, twin in zip(changes, written, strict=True):
            change(k, twin)
        return written

    return edit


def doubled_in(point: int, plane: int) -> Edit:
    """One plane of one time point twice."""

    def edit(k: int, dataset: Dataset) -> list[Dataset] | None:
        if k != plane or dataset.TemporalPositionIdentifier != point:
            return None
        twin = copied(dataset, ".8")
        twin.InstanceNumber = 99
        return [dataset, twin]

    return edit


def located(k: int, dataset: Dataset) -> None:
    dataset.SliceLocation = str(2 * k + (int(dataset.InstanceNumber) == 50))


CASES: tuple[HardCase, ...] = (*_slice_major(), *_uids(), *_nameless(), *_copies())
