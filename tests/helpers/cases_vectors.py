"""Nuclear Medicine images and RT doses: frames without functional groups, placed by vectors and one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import dcmread

from tests.helpers.cases_rtstruct import inside
from tests.helpers.hard_case import HardCase
from tests.helpers.mask_case import MaskCase, PlacedMask
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, write
from tests.helpers.rtphantom import FRAME_UID, PhantomRoi, ellipse, write_struct
from tests.helpers.vector_edits import (
    AXIAL,
    FRAMES,
    RETIRED,
    Further,
    at_top,
    dose,
    gated,
    nothing,
    nuclear,
    place,
    places,
    values,
)

_NM, _RD = "Nuclear Medicine", "RT dose"
AGAINST = replace(FRAMES, stored="against")
Z = AXIAL.origin[2]
IMAGE_TYPE = ["ORIGINAL", "PRIMARY"]


def _nm(
    name: str,
    spec: Spec = FRAMES,
    further: Further = nothing,
    *,
    sop_class: str = "1.2.840.10008.5.1.4.1.1.20",
    **kept: object,
) -> HardCase:
    return HardCase(name, _NM, spec, nuclear(spec, further, sop_class=sop_class), truth=places, **kept)  # type: ignore[arg-type]


def _rd(
    name: str, spec: Spec = AXIAL, offsets: Sequence[float] | None = None, further: Further = nothing, **kept: object
) -> HardCase:
    return HardCase(name, _RD, spec, dose(spec, offsets, further), truth=places, **kept)  # type: ignore[arg-type]


def _two_detectors(spec: Spec, k: int) -> Further:
    return values(DetectorInformationSequence=[place(spec, 0), place(spec, k)], NumberOfDetectors=2)


def _nuclear() -> list[HardCase]:
    short = replace(FRAMES, shape=(11, 9, 4))
    projections = ("STATIC", "WHOLE BODY", "DYNAMIC", "GATED", "TOMO", "GATED TOMO")
    return [
        _nm("NM reconstruction"),
        _nm("NM axial", AXIAL),
        _nm("NM, slices against the normal", AGAINST),
        _nm("NM axial, slices against the normal", replace(AXIAL, stored="against"), values(SliceThickness="5")),
        _nm("NM, retired class", AGAINST, sop_class=RETIRED),
        _nm("NM of two detectors", FRAMES, _two_detectors(FRAMES, 0)),
        _nm("NM with leftover vectors", FRAMES, values(DetectorVector=[1], RotationVector=[1, 1])),
        _nm("NM, no Slice Vector", AGAINST, values(SliceVector=None), findings=("PLACE_ELSEWHERE",)),
        _nm("NM, place in the data set itself", FRAMES, at_top(FRAMES), findings=("PLACE_ELSEWHERE",)),
        _nm("NM of one slice", replace(FRAMES, shape=(11, 9, 1)), findings=("ASSUMED_THICKNESS",)),
        _nm(
            "NM, no Spacing Between Slices --assume-spacing",
            FRAMES,
            values(SpacingBetweenSlices=None, SliceThickness="2"),
            options={"assume_spacing": True},
            findings=("ASSUMED_GEOMETRY",),
        ),
        _nm(
            "NM, no Spacing Between Slices",
            FRAMES,
            values(SpacingBetweenSlices=None),
            expected="MISSING_PLANE_ATTRIBUTES",
        ),
        _nm("NM gated, in one file", short, gated(short, 3), expected="SEVERAL_VOLUMES"),
        replace(
            _nm("NM of two detectors apart", FRAMES, _two_detectors(FRAMES, 3), expected="MISSING_PLANE_ATTRIBUTES"),
            truth=lambda folder: [],  # nothing says which of the two its slices have
        ),
        _nm(
            "NM, Slice Vector from the end",
            FRAMES,
            values(SliceVector=list(range(7, 0, -1))),
            expected="MISSING_PLANE_ATTRIBUTES",
        ),
        *(
            replace(
                _nm(f"NM {kind}", FRAMES, values(ImageType=[*IMAGE_TYPE, kind]), expected="MISSING_PLANE_ATTRIBUTES"),
                truth=lambda folder: [],  # a projection has no place in the patient
            )
            for kind in projections
        ),
    ]


def _doses() -> list[HardCase]:
    steps = [2.0 * k for k in range(7)]
    printed = replace(AXIAL, origin=(*AXIAL.origin[:2], 112.7567))
    turned = replace(AXIAL, iop=ORIENTATIONS["HFP"])
    planes = replace(AXIAL, kind="ct")
    return [
        _rd("RTDOSE, relative offsets"),
        _rd("RTDOSE, oblique", FRAMES),
        _rd("RTDOSE, HFP", turned),
        _rd("RTDOSE, offsets run down", replace(AXIAL, stored="against")),
        _rd("RTDOSE, absolute z", AXIAL, [Z + s for s in steps]),
        _rd("RTDOSE, absolute z in fewer decimals", printed, [round(printed.origin[2] + s, 2) for s in steps]),
        _rd("RTDOSE, absolute z running down", replace(AXIAL, stored="against"), [Z + 12 - s for s in steps]),
        _rd("RTDOSE, absolute z, HFP", turned, [Z + s for s in steps], findings=("PLACE_ELSEWHERE",)),
        _rd("RTDOSE, 32 bits", replace(AXIAL, bits_allocated=32)),
        _rd("RTDOSE, no Frame Increment Pointer", AXIAL, None, values(FrameIncrementPointer=None)),
        _rd("RTDOSE, Slice Thickness 5 for 2", AXIAL, None, values(SliceThickness="5")),
        _rd("RTDOSE, RLE", replace(AXIAL, transfer_syntax="rle")),
        _rd("RTDOSE, one file a plane", planes),
        _rd("RTDOSE without its scaling", AXIAL, None, values(DoseGridScaling=None), findings=("DOSE_UNSCALED",)),
        _rd("RTDOSE, uneven offsets", AXIAL, [0, 2, 4, 6, 8, 11, 13], expected="UNEVEN_SPACING"),
        _rd("RTDOSE, a plane missing", AXIAL, [0, 2, 4, 6, 10, 12, 14], expected="MISSING_PLANES"),
        _rd("RTDOSE, offsets from 5", AXIAL, [5 + s for s in steps], expected="MISSING_PLANE_ATTRIBUTES"),
        _rd("RTDOSE, too few offsets", AXIAL, [0, 2, 4], expected="MISSING_PLANE_ATTRIBUTES"),
        _rd("RTDOSE, scaling 0", AXIAL, None, values(DoseGridScaling="0"), expected="UNREADABLE_NUMBER"),
        _rd("two RTDOSE in a series", AXIAL, make=_two_doses, expected="SEVERAL_VOLUMES"),
    ]


def _two_doses(folder: Path, spec: Spec, edit: Edit) -> None:
    (path,) = set(write(folder, spec, edit=edit).paths)
    dataset = dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    dataset.save_as(path.with_name("second.dcm"))


CASES: tuple[HardCase, ...] = (*_nuclear(), *_doses())


def _drawn_on(spec: Spec, edit: Edit, planes: Mapping[int, int]) -> Callable[[Path], Sequence[PlacedMask]]:
    """An ellipse on the grid of such an image as its source. planes: k of the grid to the frame that lies there."""

    def make(folder: Path) -> Sequence[PlacedMask]:
        write(folder / "source", spec, edit=edit)
        acquired = places(folder / "source")
        first, above = (acquired[planes[k]] for k in (0, 1))
        lps = np.eye(4)
        lps[:3, 0], lps[:3, 1] = first.row * first.between_columns, first.column * first.between_rows
        lps[:3, 2], lps[:3, 3] = above.position - first.position, first.position
        drawn = {k: ellipse(5.2, 4.1, 3.3, 2.4, 90) for k in (2, 3, 4)}
        contours = [
            np.column_stack([polygon, np.full(len(polygon), k)]) @ lps[:3, :3].T + lps[:3, 3]
            for k, polygon in drawn.items()
        ]
        (folder / "in").mkdir()
        write_struct(folder / "in" / "rs.dcm", [PhantomRoi("ellipse", contours)])
        voxels = np.zeros(spec.shape, bool)
        for k, polygon in drawn.items():
            voxels[:, :, k] = inside(polygon, spec.shape[:2])
        return [PlacedMask("ellipse", voxels, lps)]

    return make


def _in_frame(spec: Spec, kind: Callable[..., Edit]) -> Edit:
    """Such an image in the Frame of Reference of the structure set."""
    return kind(spec, further=values(FrameOfReferenceUID=FRAME_UID))


MASKS: tuple[MaskCase, ...] = tuple(
    MaskCase(name, "RTSTRUCT on a grid placed by vectors", _drawn_on(spec, _in_frame(spec, kind), planes), "RTSTRUCT")
    for name, spec, kind, planes in (
        ("RTSTRUCT on an RTDOSE", AXIAL, dose, {k: k for k in range(7)}),
        (
            "RTSTRUCT on an RTDOSE with offsets that run down",
            replace(AXIAL, stored="against"),
            dose,
            {k: 6 - k for k in range(7)},
        ),
        ("RTSTRUCT on an NM reconstruction", FRAMES, nuclear, {k: k for k in range(7)}),
        ("RTSTRUCT on an NM against the normal", AGAINST, nuclear, {k: 6 - k for k in range(7)}),
    )
)
