"""Series that go wrong in the field, what readers were measured on: those of the geometry, and every `cases_….py` beside.

`CASES` is all of them. What a case is stands in hard_case.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom import Dataset

from tests.helpers import cases_colour, cases_geometry_source, cases_grouping, cases_packed, cases_pixels, cases_vectors
from tests.helpers.hard_case import MASK, SMALL, HardCase
from tests.helpers.hard_edits import (
    another,
    bare_files,
    both,
    cosines,
    doubled,
    file_copy,
    groups,
    moved,
    noise,
    tags,
    top_level,
    volumes,
    without,
)
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, ds, turned


def _regular() -> list[HardCase]:
    row = "regular orientations"
    oblique = ORIENTATIONS["double oblique"]
    return [
        *(HardCase(name, row, replace(SMALL, iop=iop)) for name, iop in ORIENTATIONS.items()),
        HardCase("non-square pixels", "non-square pixels", replace(SMALL, row_spacing=0.5, column_spacing=1.25)),
        HardCase("thick planes", "non-square pixels", replace(SMALL, row_spacing=0.4, column_spacing=0.45, step=5.0)),
        HardCase("a kilometre off", row, replace(SMALL, iop=oblique, origin=(812.5, -1203.25, 940.125))),
        HardCase(
            "stacked against the normal",
            "stack runs against the normal",
            replace(SMALL, iop=oblique, stored="against", instance_numbers="against"),
        ),
        HardCase("names shuffled", row, replace(SMALL, iop=oblique, stored="shuffled")),
        *(
            HardCase(f"--orient {code}", "voxel order", replace(SMALL, iop=iop), options={"orient": code})
            for code, iop in (("RAS", oblique), ("LPS", ORIENTATIONS["sagittal"]), ("PIR", ORIENTATIONS["HFP"]))
        ),
    ]


def _numbers() -> list[HardCase]:
    row = "shuffled / constant InstanceNumber"
    halves = tags(InstanceNumber=lambda k: 1 + k // 2 + (k % 2) * 4)
    return [
        HardCase("InstanceNumber reversed", "reverse InstanceNumber", replace(SMALL, instance_numbers="against")),
        HardCase("InstanceNumber shuffled", row, replace(SMALL, instance_numbers="shuffled")),
        HardCase("InstanceNumber constant", row, replace(SMALL, instance_numbers="constant")),
        HardCase("InstanceNumber interleaved", "interleaved InstanceNumber", edit=halves),
        HardCase("InstanceNumber missing", "no InstanceNumber", replace(SMALL, instance_numbers="missing")),
        HardCase("empty TR and TE", "empty TR/TE", replace(SMALL, kind="mr"), tags(RepetitionTime="", EchoTime="")),
        HardCase("no Modality", "no Modality", edit=tags(Modality=None)),
        HardCase("every plane says LOCALIZER", "ImageType LOCALIZER", edit=tags(ImageType=["DERIVED", "LOCALIZER"])),
        HardCase(
            "SpacingBetweenSlices 5 for 2",
            "contradictory SpacingBetweenSlices",
            edit=tags(SpacingBetweenSlices="5"),
            findings=("TAG_CONTRADICTS",),
        ),
        HardCase("SpacingBetweenSlices -2", "contradictory SpacingBetweenSlices", edit=tags(SpacingBetweenSlices="-2")),
        HardCase("SliceThickness 5 for 2", "contradictory SliceThickness", edit=tags(SliceThickness="5")),
        HardCase("SliceLocation reversed", "contradictory SliceLocation", edit=tags(SliceLocation=lambda k: str(-k))),
    ]


def _few() -> list[HardCase]:
    def few(planes: int) -> Spec:
        return replace(SMALL, shape=(11, 9, planes), iop=ORIENTATIONS["oblique"])

    assumed = ("ASSUMED_THICKNESS",)
    return [
        HardCase("1 plane", "1 slice", few(1), findings=assumed),
        HardCase("1 plane without thickness", "1 slice", few(1), tags(SliceThickness=None), findings=assumed),
        HardCase("2 planes", "2 or 3 slices", few(2)),
        HardCase("3 planes", "2 or 3 slices", few(3)),
        HardCase(
            "all planes at one place", "one position", SMALL, moved(lambda k: (0, 0, -2.0 * k)), "DUPLICATE_POSITION"
        ),
        HardCase(
            "all planes at one place, unnumbered",
            "one position",
            replace(SMALL, instance_numbers="missing"),
            moved(lambda k: (0, 0, -2.0 * k)),
            "DUPLICATE_POSITION",
        ),
    ]


def _tilted() -> list[HardCase]:
    # Signed: of 16-bit images dcm2niix mends no others, by a second file.
    steep, slight = replace(SMALL, tilt_degrees=15, signed=True), replace(SMALL, tilt_degrees=2.5)
    told = tags(GantryDetectorTilt="15")
    oblique = replace(steep, iop=ORIENTATIONS["oblique sagittal"], tilt_degrees=-11)
    row = "gantry tilt 15°"
    kept, upright = {"on_tilt": "shear"}, {"on_tilt": "resample"}
    return [
        HardCase("tilt 15°", row, steep, told, "GANTRY_TILT"),
        HardCase("tilt 15°, unsigned", row, replace(steep, signed=False), expected="GANTRY_TILT"),
        HardCase("tilt 15°, shear", row, steep, told, options=kept, findings=("SHEAR_KEPT",)),
        HardCase("tilt 15°, resample", row, steep, told, options=upright, findings=("RESAMPLED",), exact=False),
        HardCase(
            "mask, tilt 15°, resample",
            row,
            replace(MASK, tilt_degrees=15),
            options=upright,
            findings=("RESAMPLED",),
            travel_mm=0.41,
        ),
        HardCase("tilt 2.5°", "gantry tilt 2.5°", slight, expected="GANTRY_TILT"),
        HardCase("tilt 2.5°, shear", "gantry tilt 2.5°", slight, options=kept, findings=("SHEAR_KEPT",)),
        HardCase("tilt -11°, oblique, shear", row, oblique, options=kept, findings=("SHEAR_KEPT",)),
        HardCase("tilt -11°, oblique, resample", row, oblique, options=upright, findings=("RESAMPLED",), exact=False),
        HardCase("tilt 15°, shear, --orient RAS", row, steep, options={**kept, "orient": "RAS"}),
        HardCase(
            "straight, GantryDetectorTilt 15", "tilt tag set, geometry straight", edit=tags(GantryDetectorTilt="15")
        ),
        HardCase("tilt 15°, enhanced, shear", row, replace(steep, kind="enhanced ct"), options=kept),
    ]


def _gaps() -> list[HardCase]:
    long = replace(SMALL, shape=(11, 9, 8), signed=True)  # see _tilted
    micro = replace(long, row_spacing=0.08, column_spacing=0.09, step=0.1)
    missing, uneven = "one slice missing, 2 mm", "spacing 2 → 5 mm in one stack"
    two_steps = moved(lambda k: (0, 0, 3.0 * max(k - 3, 0)))
    drift = moved(lambda k: (0, 0, 0.016 * k * k))
    tilted = replace(long, tilt_degrees=12)
    return [
        HardCase("1 plane missing", missing, long, without(3), "MISSING_PLANES"),
        HardCase(
            "1 plane missing, fill", missing, long, without(3), options={"on_gap": "fill"}, findings=("PLANES_FILLED",)
        ),
        HardCase("3 planes missing at 2 places, fill", missing, long, without(2, 3, 5), options={"on_gap": "fill"}),
        HardCase("1 plane missing, resample", missing, long, without(3), options={"on_gap": "resample"}, exact=False),
        HardCase("mask, 1 plane missing, fill", missing, MASK, without(2), options={"on_gap": "fill"}),
        HardCase(
            "mask, 1 plane missing, nearest", missing, MASK, without(2), options={"on_gap": "nearest"}, travel_mm=2.001
        ),
        HardCase("1 plane of 0.1 mm missing", "one slice missing, 0.1 mm", micro, without(3), "MISSING_PLANES"),
        HardCase("steps of 2, then 5 mm", uneven, long, two_steps, "UNEVEN_SPACING"),
        HardCase("steps of 2, then 5 mm, fill", uneven, long, two_steps, "UNEVEN_SPACING", options={"on_gap": "fill"}),
        HardCase(
            "steps of 2, then 5 mm, resample",
            uneven,
            long,
            two_steps,
            options={"on_gap": "resample"},
            findings=("RESAMPLED",),
            exact=False,
        ),
        HardCase(
            "mask, steps of 2, then 5 mm, nearest",
            uneven,
            MASK,
            moved(lambda k: (0, 0, 3.0 * max(k - 2, 0))),
            options={"on_gap": "nearest"},
            findings=("RESAMPLED",),
            travel_mm=2.51,
        ),
        HardCase("step drifts 2.00 to 2.22 mm", "drift", long, drift, "DRIFT"),
        HardCase("step drifts, resample", "drift", long, drift, options={"on_gap": "resample"}, exact=False),
        HardCase("tilt and 1 plane missing", "tilt + missing", tilted, without(3), "MISSING_PLANES"),
        HardCase(
            "tilt and 1 plane missing, fill",
            "tilt + missing",
            tilted,
            without(3),
            "GANTRY_TILT",
            options={"on_gap": "fill"},
        ),
        HardCase(
            "tilt and 1 plane missing, fill, shear",
            "tilt + missing",
            tilted,
            without(3),
            options={"on_gap": "fill", "on_tilt": "shear"},
            findings=("PLANES_FILLED", "SHEAR_KEPT"),
        ),
        HardCase(
            "tilt and 1 plane missing, fill, resample",
            "tilt + missing",
            tilted,
            without(3),
            options={"on_gap": "fill", "on_tilt": "resample"},
            findings=("PLANES_FILLED", "RESAMPLED"),
            exact=False,
        ),
    ]


def _displaced() -> list[HardCase]:
    row = "slices shifted 0.5 mm in plane"

    def shift(planes: tuple[int, ...], by: tuple[float, float, float]) -> Edit:
        return moved(lambda k: by if k in planes else (0, 0, 0))

    return [
        HardCase("1 plane shifted 0.5 mm in plane", row, edit=shift((3,), (0.5, 0, 0)), expected="DISPLACED_PLANE"),
        HardCase("first plane shifted", row, edit=shift((0,), (0, 0.5, 0)), expected="DISPLACED_PLANE"),
        HardCase("last plane shifted", row, edit=shift((6,), (0.5, 0, 0)), expected="DISPLACED_PLANE"),
        HardCase("1 plane 0.7 mm along the normal", row, edit=shift((4,), (0, 0, 0.7)), expected="DISPLACED_PLANE"),
        HardCase("every other plane shifted", row, edit=shift((1, 3, 5), (0.5, 0, 0)), expected="OFF_GRID"),
        HardCase(
            "1 plane missing and 1 shifted",
            row,
            replace(SMALL, shape=(11, 9, 8)),
            both(without(2), shift((5,), (0.6, 0, 0))),
            "DISPLACED_PLANE",
        ),
        HardCase(
            "planes fan out by 0.3° each",
            "rotating planes",
            replace(SMALL, shape=(61, 59, 7)),
            noise(0.0052, lambda k: k / 3),
            "MIXED_ORIENTATION",
        ),
        HardCase(
            "planes turn by 30° each", "rotating planes", edit=noise(0.52, lambda k: k), expected="MIXED_ORIENTATION"
        ),
    ]


def _duplicates() -> list[HardCase]:
    same, other = "duplicate slice, same pixels", "duplicate slice, other pixels"
    renumbered = doubled((3,), lambda d: setattr(d, "InstanceNumber", 50))
    brighter = doubled((3,), lambda d: setattr(d, "InstanceNumber", 50), pixels=False)
    timed = both(tags(ContentTime=lambda k: f"1015{k:02d}", AcquisitionNumber=lambda k: k + 1), brighter)
    retimed = doubled((3,), lambda d: setattr(d, "ContentTime", "111111"))

    def number(wanted: bool) -> Callable[[Dataset], bool]:
        return lambda d: (int(d.InstanceNumber) == 50) is wanted or int(d.InstanceNumber) not in (4, 50)

    return [
        HardCase("plane twice", same, edit=renumbered, findings=("DUPLICATE_DROPPED",)),
        HardCase(
            "plane twice, refuse",
            same,
            edit=renumbered,
            options={"on_duplicate": "refuse"},
            expected="DUPLICATE_POSITION",
        ),
        HardCase(
            "plane twice, drop",
            same,
            edit=renumbered,
            options={"on_duplicate": "drop"},
            findings=("DUPLICATE_DROPPED",),
        ),
        HardCase(
            "plane twice, each with a time",
            same,
            edit=both(tags(ContentTime=lambda k: f"1015{k:02d}"), retimed),
            findings=("DUPLICATE_DROPPED",),
        ),
        HardCase("file twice", "a copy of a file", make=file_copy, findings=("FILE_LEFT_OUT",)),
        HardCase("plane twice, other pixels", other, edit=brighter, expected="DUPLICATE_POSITION"),
        HardCase("plane twice, other pixels and times", other, edit=timed, expected="DUPLICATE_POSITION"),
        HardCase(
            "other pixels, drop", other, edit=brighter, expected="DUPLICATE_POSITION", options={"on_duplicate": "drop"}
        ),
        HardCase("other pixels, first", other, edit=brighter, options={"on_duplicate": "first"}, chosen=number(False)),
        HardCase("other pixels, last", other, edit=brighter, options={"on_duplicate": "last"}, chosen=number(True)),
        HardCase(
            "plane twice and 1 missing",
            same,
            replace(SMALL, shape=(11, 9, 8)),
            both(without(5), renumbered),
            "MISSING_PLANES",
        ),
        HardCase(
            "plane twice and 1 missing, refuse",
            same,
            replace(SMALL, shape=(11, 9, 8)),
            both(without(5), renumbered),
            "DUPLICATE_POSITION",
            options={"on_duplicate": "refuse"},
        ),
        HardCase(
            "plane twice and 1 missing, drop, fill",
            same,
            replace(SMALL, shape=(11, 9, 8)),
            both(without(5), renumbered),
            options={"on_duplicate": "drop", "on_gap": "fill"},
            findings=("DUPLICATE_DROPPED", "PLANES_FILLED"),
        ),
    ]


def _mixed() -> list[HardCase]:
    localizer, second = "+ 2-slice localizer in series", "two full orientations"
    sagittal = replace(SMALL, shape=(9, 11, 2), iop=ORIENTATIONS["sagittal"], step=7.0)
    scout = another(sagittal, lambda k, d: setattr(d, "ImageType", ["ORIGINAL", "LOCALIZER"]))
    in_line = another(
        replace(SMALL, shape=(11, 9, 2), origin=(-31.5, -47.25, 113.85), step=5.0),
        lambda k, d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    )
    coronal = another(replace(SMALL, shape=(11, 9, 6), iop=ORIENTATIONS["coronal"]))
    elsewhere = another(replace(SMALL, seed="other"), lambda k, d: None)
    small = another(replace(SMALL, shape=(8, 6, 2)))

    def stack(extra: bool) -> Callable[[Dataset], bool]:
        return lambda d: (int(d.InstanceNumber) >= 100) is extra

    def one(k: int) -> bool:
        return k == 4

    return [
        HardCase("localizer in the series", localizer, make=scout, expected="MIXED_ORIENTATION"),
        HardCase("localizer in the series, part 1", localizer, make=scout, part="1", chosen=stack(False)),
        HardCase("localizer parallel to the series", localizer, make=in_line, expected="SEVERAL_VOLUMES"),
        HardCase("localizer parallel, part 1", localizer, make=in_line, part="1", chosen=stack(False)),
        HardCase("two orientations", second, make=coronal, expected="MIXED_ORIENTATION"),
        HardCase("two orientations, part 2", second, make=coronal, part="2", chosen=stack(True)),
        HardCase("no such part", second, make=coronal, part="3", expected="NO_SUCH_PART"),
        HardCase("two series", "two SeriesInstanceUIDs in folder", make=elsewhere, expected="SEVERAL_SERIES"),
        HardCase(
            "two series, one chosen",
            "two SeriesInstanceUIDs in folder",
            make=elsewhere,
            series="other",
            chosen=stack(True),
        ),
        HardCase(
            "no such series",
            "two SeriesInstanceUIDs in folder",
            make=elsewhere,
            series="liver",
            expected="NO_SUCH_SERIES",
        ),
        HardCase(
            "1 plane with other spacing",
            "one slice other spacing",
            edit=tags(one, PixelSpacing=["0.9", "1.3"]),
            expected="MIXED_SPACING",
        ),
        HardCase(
            "1 plane with 0.9% other spacing",
            "one slice other spacing",
            replace(SMALL, shape=(41, 39, 7)),
            tags(one, PixelSpacing=["0.807", "1.3"]),
            "MIXED_SPACING",
        ),
        HardCase("two sizes", "two sizes", make=small, expected="MIXED_SIZE"),
        HardCase(
            "two Frames of Reference",
            "two FrameOfReferenceUIDs",
            edit=tags(lambda k: k > 4, FrameOfReferenceUID="1.2.3"),
            expected="MIXED_FRAME_OF_REFERENCE",
        ),
    ]


def _over_time() -> list[HardCase]:
    row = "4-D CT, 3 time points"
    set_ = setattr

    def by(keyword: str, *values: Any) -> Edit:
        return volumes(*[lambda k, d, v=v: set_(d, keyword, v) for v in values])

    numbered = volumes(*[lambda k, d, n=n: set_(d, "InstanceNumber", 1 + k + 7 * n) for n in range(3)])
    mingled = volumes(*[lambda k, d: set_(d, "InstanceNumber", 1) for _ in range(3)])
    pairs = [(t, w) for t in ("4.6", "9.2") for w in ("M", "P")]

    def echo(time: str, which: str) -> Callable[[int, Dataset], None]:
        def change(k: int, d: Dataset) -> None:
            d.EchoTime, d.ImageType, d.InstanceNumber = time, ["ORIGINAL", "PRIMARY", which], 1 + 4 * k

        return change

    positions = by("TemporalPositionIdentifier", 1, 2, 3)

    def wide(k: int, d: Dataset) -> None:
        d.DiffusionBValue = 0.0

    return [
        HardCase("time points", row, edit=positions, expected="SEVERAL_VOLUMES"),
        HardCase(
            "time points, part 2", row, edit=positions, part="2", chosen=lambda d: d.TemporalPositionIdentifier == 2
        ),
        HardCase(
            "acquisitions, part 3",
            row,
            edit=by("AcquisitionNumber", 1, 2, 3),
            part="3",
            chosen=lambda d: d.AcquisitionNumber == 3,
        ),
        HardCase(
            "trigger times, part 1",
            row,
            edit=by("TriggerTime", "0", "350", "700"),
            part="trigger time 350",
            chosen=lambda d: d.TriggerTime == 350,
        ),
        HardCase(
            "b-values, part 2",
            row,
            replace(SMALL, kind="mr"),
            by("DiffusionBValue", 0.0, 800.0),
            part="b-value 800",
            chosen=lambda d: d.DiffusionBValue == 800,
        ),
        HardCase(
            "image types, part 2",
            row,
            edit=by("ImageType", ["DERIVED", "PRIMARY", "W"], ["DERIVED", "PRIMARY", "F"]),
            part="1",
            chosen=lambda d: d.ImageType[2] == "F",
        ),
        HardCase(
            "echoes of magnitude and phase",
            row,
            replace(SMALL, kind="mr"),
            volumes(*[echo(*p) for p in pairs]),
            part="3",
            chosen=lambda d: d.EchoTime == 9.2 and d.ImageType[2] == "M",
        ),
        HardCase(
            "repeats by InstanceNumber, part 2",
            row,
            edit=numbered,
            part="2",
            chosen=lambda d: 8 <= d.InstanceNumber <= 14,
        ),
        HardCase("repeats that nothing tells apart", row, edit=mingled, expected="SEVERAL_VOLUMES"),
    ]


def _noisy() -> list[HardCase]:
    oblique = replace(SMALL, iop=turned(about_x=-23.37, about_y=11.13, about_z=8.71), shape=(11, 9, 7))
    wide = replace(oblique, shape=(31, 29, 7))
    mended = ("COSINES_ORTHONORMALISED",)
    jitter = moved(lambda k: (0, 0, (0.05, -0.05, 0.03, 0.0, -0.04, 0.05, -0.02)[k]))
    return [
        HardCase(
            "positions jitter by 0.05 mm",
            "±0.05 mm position jitter",
            edit=jitter,
            findings=("POSITION_JITTER",),
            within_mm=0.08,
        ),
        HardCase("IOP noise of 1e-4", "IOP noise 1e-4 between slices", wide, noise(1e-4)),
        HardCase(
            "IOP of 3 decimals",
            "IOP rounded to 3 decimals",
            wide,
            cosines(lambda k, c: np.round(c, 3)),
            findings=mended,
            within_mm=0.03,
        ),
        HardCase("all numbers of 3 decimals", "IOP rounded to 3 decimals", replace(oblique, decimals=3)),
        HardCase(
            "IPP of 2 decimals",
            "IPP rounded to 0.01 mm",
            oblique,
            lambda k, d: setattr(d, "ImagePositionPatient", ds(*d.ImagePositionPatient, decimals=2)),
        ),
        HardCase(
            "cosines 5e-4 too long",
            "IOP rounded to 3 decimals",
            oblique,
            cosines(lambda k, c: c * 1.0005),
            within_mm=0.03,
        ),
        HardCase("cosines x 0.99", "IOP × 0.99", oblique, cosines(lambda k, c: c * 0.99), "BAD_COSINES"),
        HardCase(
            "cosines at 89°",
            "IOP not orthogonal",
            oblique,
            cosines(lambda k, c: np.array([*c[:3], *(c[3:] + 0.0175 * c[:3])])),
            "BAD_COSINES",
        ),
        HardCase(
            "cosines parallel", "IOP not orthogonal", SMALL, cosines(lambda k, c: np.tile(c[:3], 2)), "BAD_COSINES"
        ),
        HardCase(
            "1 plane with cosines x 0.99",
            "IOP × 0.99",
            oblique,
            cosines(lambda k, c: c * (0.99 if k == 2 else 1)),
            "BAD_COSINES",
        ),
    ]


def _unplaced() -> list[HardCase]:
    none = "MISSING_PLANE_ATTRIBUTES"
    shot = another(replace(SMALL, shape=(40, 30, 1), kind="sc plain"))
    return [
        HardCase("no Image Position", "no IPP", edit=tags(ImagePositionPatient=None), expected=none),
        HardCase("no Image Orientation", "no IOP", edit=tags(ImageOrientationPatient=None), expected=none),
        HardCase("no Pixel Spacing", "no Pixel Spacing", edit=tags(PixelSpacing=None), expected=none),
        HardCase(
            "1 plane without Image Position",
            "no IPP",
            edit=tags(lambda k: k == 6, ImagePositionPatient=None),
            expected=none,
        ),
        HardCase("Secondary Capture with geometry", "Secondary Capture", replace(SMALL, kind="sc")),
        HardCase(
            "Secondary Capture without geometry", "Secondary Capture", replace(SMALL, kind="sc plain"), expected=none
        ),
        HardCase("a screenshot in the series", "Secondary Capture", make=shot, expected="SEVERAL_VOLUMES"),
        HardCase("a screenshot in the series, part 1", "Secondary Capture", make=shot, part="1"),
        HardCase(
            "mosaic without its CSA header",
            "mosaic",
            replace(SMALL, kind="mr"),
            tags(ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"]),
            "MOSAIC",
        ),
    ]


def _multi_frame() -> list[HardCase]:
    row = "enhanced multi-frame"
    oblique = replace(SMALL, iop=ORIENTATIONS["double oblique"], kind="enhanced ct")
    plain = replace(oblique, kind="multi-frame sc plain")
    descending = groups(lambda k, n, g: setattr(g.FrameContentSequence[0], "InStackPositionNumber", n - k))

    def two_stacks(k: int, n: int, group: Dataset) -> None:
        if k >= 4:
            group.FrameContentSequence[0].StackID = "2"
            position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            normal = np.cross(oblique.iop[:3], oblique.iop[3:])
            group.PlanePositionSequence[0].ImagePositionPatient = ds(*(position - 7 * normal))

    def timed(k: int, n: int, group: Dataset) -> None:
        group.FrameContentSequence[0].TemporalPositionIndex = 1 + k // 4
        position = np.array(oblique.point((0, 0, k % 4)))
        group.PlanePositionSequence[0].ImagePositionPatient = ds(*position)

    def other_class(uid: str) -> Edit:
        return tags(SOPClassUID=uid)

    assume = {"assume_spacing": True}
    placed = top_level(oblique)
    return [
        HardCase("enhanced CT", row, oblique),
        HardCase("enhanced MR", row, replace(oblique, kind="enhanced mr")),
        HardCase("frames reversed", "enhanced, frames reversed in file", replace(oblique, stored="against")),
        HardCase("frames shuffled", "enhanced, frames shuffled", replace(oblique, stored="shuffled")),
        HardCase("InStackPositionNumber descending", "enhanced, frames reversed in file", oblique, descending),
        HardCase(
            "enhanced PET, shuffled",
            row,
            replace(oblique, stored="shuffled"),
            other_class("1.2.840.10008.5.1.4.1.1.130"),
        ),
        HardCase(
            "Legacy Converted CT, shuffled",
            row,
            replace(oblique, stored="shuffled"),
            other_class("1.2.840.10008.5.1.4.1.1.2.2"),
        ),
        HardCase("enhanced, 1 frame", row, replace(oblique, shape=(11, 9, 1)), findings=("ASSUMED_THICKNESS",)),
        HardCase(
            "enhanced, two stacks", row, replace(oblique, shape=(11, 9, 8)), groups(two_stacks), "SEVERAL_VOLUMES"
        ),
        HardCase("enhanced, time points", row, replace(oblique, shape=(11, 9, 8)), groups(timed), "SEVERAL_VOLUMES"),
        HardCase(
            "Grayscale Word with groups, shuffled",
            "multi-frame SC",
            replace(oblique, kind="multi-frame sc", stored="shuffled"),
        ),
        HardCase(
            "Grayscale Byte with groups, reversed",
            "multi-frame SC",
            replace(MASK, kind="multi-frame sc", stored="against", iop=ORIENTATIONS["coronal"]),
        ),
        HardCase(
            "a frame without position",
            row,
            oblique,
            groups(lambda k, n, g: delattr(g, "PlanePositionSequence") if k == 2 else None),
            "MISSING_PLANE_ATTRIBUTES",
        ),
        HardCase(
            "multi-frame SC without groups",
            "multi-frame SC, no functional groups",
            plain,
            expected="MISSING_PLANE_ATTRIBUTES",
        ),
        HardCase(
            "multi-frame SC, spacing only",
            "multi-frame SC, no functional groups",
            plain,
            placed,
            "MISSING_PLANE_ATTRIBUTES",
        ),
        HardCase(
            "multi-frame SC, spacing assumed",
            "multi-frame SC, no functional groups",
            plain,
            placed,
            options=assume,
            findings=("ASSUMED_GEOMETRY",),
        ),
        HardCase(
            "nothing to assume from",
            "multi-frame SC, no functional groups",
            plain,
            expected="MISSING_PLANE_ATTRIBUTES",
            options=assume,
        ),
    ]


def _pixels() -> list[HardCase]:
    big = replace(SMALL, shape=(40, 36, 5))
    slopes = tuple((1.0 + k / 4, 2000.0 * k) for k in range(7))
    return [
        *(
            HardCase(syntax, "transfer syntaxes", replace(big, transfer_syntax=syntax))
            for syntax in ("implicit", "big endian", "deflated", "rle", "jpeg-ls", "jpeg 2000", "jpeg lossless")
        ),
        HardCase("no Part 10 header", "no Part-10 header", make=bare_files),
        HardCase("signed, 12 bits", "signed 12-bit in 16", replace(SMALL, signed=True, bits_stored=12)),
        HardCase(
            "slope differs per plane",
            "slope differs per slice",
            replace(SMALL, rescale=slopes),
            findings=("RESCALE_PER_PLANE",),
        ),
        HardCase("MONOCHROME1", "MONOCHROME1", replace(SMALL, photometric="MONOCHROME1")),
        HardCase(
            "mask with rescale 2/-100",
            "mask with rescale",
            replace(MASK, rescale=((2.0, -100.0),)),
            findings=("RESCALE_IGNORED",),
        ),
        HardCase("8-bit mask", "8-bit mask, no rescale", MASK),
    ]


CASES: tuple[HardCase, ...] = (
    *_regular(),
    *_numbers(),
    *_few(),
    *_tilted(),
    *_gaps(),
    *_displaced(),
    *_duplicates(),
    *_mixed(),
    *_over_time(),
    *_noisy(),
    *_unplaced(),
    *_multi_frame(),
    *_pixels(),
    *cases_geometry_source.CASES,
    *cases_colour.CASES,
    *cases_grouping.CASES,
    *cases_packed.CASES,
    *cases_pixels.CASES,
    *cases_vectors.CASES,
)
