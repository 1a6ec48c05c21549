"""RTSTRUCTs that go wrong in the field, each with its masks: which voxel centres lie within the polygons.

The truth is the even-odd rule on the polygons as they were drawn, before they were made odd; nothing else reads the files
(rt-utils is no dependency, and takes one series for all ROIs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipeline.geometry.grid import Grid
from tests.helpers.mask_case import MaskCase, PlacedMask
from tests.helpers.rtphantom import (
    FRAME_UID,
    IMAGE_SERIES_UID,
    OBLIQUE,
    ROOT,
    PhantomRoi,
    ellipse,
    grid,
    image_uid,
    on,
    rectangle,
    write_images,
    write_struct,
)

Points = NDArray[np.float64]
GRID = grid()
OTHER_GRID = grid(OBLIQUE, shape=(30, 40, 8), spacing=(1.2, 0.9, 3.0))
FINE_GRID = grid(shape=(88, 74, 18), spacing=(0.4, 0.55, 1.25))
OTHER_FRAME, OTHER_SERIES = f"{ROOT}.71", f"{ROOT}.72"
ELLIPSE = ellipse(20.3, 17.2, 9.1, 7.3, 90)
OTHER_ELLIPSE = ellipse(14.3, 19.2, 7.1, 9.3, 90)
PLANES = (2, 3, 4)
BOTH = ((FRAME_UID, IMAGE_SERIES_UID), (OTHER_FRAME, OTHER_SERIES))


def inside(polygon: Points, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(i, j) boolean: which pixel centres an (n, 2) polygon of pixel indices holds, by the even-odd rule."""
    i, j = np.indices(shape)
    found = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if y0 != y1:
            found ^= ((y0 > j) != (y1 > j)) & (i < x0 + (j - y0) * (x1 - x0) / (y1 - y0))
    return found


def truth_of(name: str, polygons: Mapping[int, Sequence[Points]], g: Grid = GRID) -> PlacedMask:
    """The mask of polygons in planes k of a grid."""
    voxels = np.zeros(g.shape, bool)
    for k, drawn in polygons.items():
        for polygon in drawn:
            voxels[:, :, k] ^= inside(polygon, g.shape[:2])
    return PlacedMask(name, voxels, np.asarray(g.lps))


def ellipses(g: Grid = GRID, polygon: Points = ELLIPSE, planes: Iterable[float] = PLANES) -> list[Points]:
    """The contours of one polygon in planes k, in LPS mm."""
    return [on(g, polygon, k) for k in planes]


def _write(
    folder: Path, rois: Sequence[PhantomRoi], edit: Callable[[Dataset], None] | None = None, **options: Any
) -> None:
    """folder/in/rs.dcm. edit: what is changed in it."""
    (folder / "in").mkdir()
    path = write_struct(folder / "in" / "rs.dcm", rois, **options)
    if edit is not None:
        dataset = dcmread(path)
        edit(dataset)
        dataset.save_as(path)


def _one(
    contours: Sequence[Any] | None = None,
    edit: Callable[[Dataset], None] | None = None,
    planes: Sequence[int] = PLANES,
    truth: bool = True,
    **roi: Any,
) -> Callable[[Path], Sequence[PlacedMask]]:
    """Make one ROI over one CT, its ellipse in `planes`."""

    def make(folder: Path) -> Sequence[PlacedMask]:
        write_images(folder / "source", GRID)
        _write(folder, [PhantomRoi("a", ellipses(planes=planes) if contours is None else contours, **roi)], edit)
        return [truth_of("a", {k: [ELLIPSE] for k in planes})] if truth else []

    return make


def _written(form: str = "{:.6f}", end: str = "") -> list[str]:
    """Contour Data as text, each value by a format."""
    return ["\\".join(form.format(v) for v in c.ravel()) + end for c in ellipses()]


def _without_type(dataset: Dataset) -> None:
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        del contour.ContourGeometricType


def _xor(kind: str) -> Callable[[Path], Sequence[PlacedMask]]:
    outer, crossing = rectangle(5, 30, 5, 30), rectangle(10, 33, 10, 20)

    def make(folder: Path) -> Sequence[PlacedMask]:
        write_images(folder / "source", GRID)
        _write(folder, [PhantomRoi("a", [on(GRID, outer, 3), on(GRID, crossing, 3)], kinds=kind)])
        return [truth_of("a", {3: [outer, crossing]})]

    return make


def _finer(folder: Path) -> Sequence[PlacedMask]:
    """Contours that shrink, on every plane, between the planes and half a step beyond the last one."""
    write_images(folder / "source", GRID)
    drawn = {k / 2: ellipse(20.3, 17.2, 12 - k / 2, 10 - k / 2, 90) for k in range(4, 12)}
    _write(folder, [PhantomRoi("a", [on(GRID, polygon, k) for k, polygon in drawn.items()])])
    return [truth_of("a", {int(k): [polygon] for k, polygon in drawn.items() if k % 1 == 0})]


def _between(folder: Path) -> Sequence[PlacedMask]:
    write_images(folder / "source", GRID)
    _write(folder, [PhantomRoi("a", ellipses(planes=(2.2, 2.4, 3.2, 3.4)))])
    return []


def _number_twice(folder: Path) -> Sequence[PlacedMask]:
    write_images(folder / "source", GRID)
    _write(folder, [PhantomRoi(name, ellipses(), number=n) for name, n in (("a", 19), ("b", 19), ("c", 2))])
    return [truth_of("c", {k: [ELLIPSE] for k in PLANES})]


def _unlisted(folder: Path) -> Sequence[PlacedMask]:
    write_images(folder / "source", GRID)
    rois = [PhantomRoi(name, ellipses(), number=n) for n, name in enumerate("ab", 1)]
    _write(folder, rois, lambda dataset: dataset.StructureSetROISequence.pop())
    return [truth_of(name, {k: [ELLIPSE] for k in PLANES}) for name in ("a", "ROI 2")]


def _few_points(folder: Path) -> Sequence[PlacedMask]:
    """First = last point; contours of no, one and two points, a point and an open line among good ones."""
    write_images(folder / "source", GRID)
    good = [np.vstack([c, c[:1]]) for c in ellipses()]
    few = [
        on(GRID, np.array(points, float), 5)
        for points in ([(3, 3)], [(3, 3), (5, 6)], [(8, 8)], [(2, 2), (9, 9), (2, 9)])
    ]
    kinds = ["CLOSED_PLANAR"] * 5 + ["POINT", "OPEN_PLANAR"]
    _write(folder, [PhantomRoi("a", good + few, kinds=kinds)])
    return [truth_of("a", {k: [ELLIPSE] for k in PLANES})]


def _study(folder: Path, where: str) -> None:
    """CT and a registered MR with a Frame of Reference of its own, in folder/`where`."""
    write_images(folder / where / "ct", GRID, description="CT")
    write_images(folder / where / "mr", OTHER_GRID, OTHER_SERIES, OTHER_FRAME, "MR")


ON_CT = PhantomRoi("on CT", ellipses(), number=1)
ON_MR = PhantomRoi("on MR", ellipses(OTHER_GRID, OTHER_ELLIPSE), number=2, frame_uid=OTHER_FRAME)
ON_BOTH_TRUTH = (
    truth_of("on CT", {k: [ELLIPSE] for k in PLANES}),
    truth_of("on MR", {k: [OTHER_ELLIPSE] for k in PLANES}, OTHER_GRID),
)


def _two_frames(folder: Path) -> Sequence[PlacedMask]:
    _study(folder, "source")
    _write(folder, [ON_CT, ON_MR], references=BOTH)
    return ON_BOTH_TRUTH


def _two_frames_in_the_input(folder: Path) -> Sequence[PlacedMask]:
    _study(folder, "in")
    write_struct(folder / "in" / "rs.dcm", [ON_CT, ON_MR], references=BOTH)
    return ON_BOTH_TRUTH


def _third_frame(folder: Path) -> Sequence[PlacedMask]:
    _study(folder, "source")
    _write(folder, [ON_CT, ON_MR, PhantomRoi("on PET", ellipses(), number=3, frame_uid=f"{ROOT}.73")], references=BOTH)
    return ON_BOTH_TRUTH


def _related_frame(folder: Path) -> Sequence[PlacedMask]:
    """The set's frame is only connected to that of the CT by the retired Frame of Reference Relationship Sequence."""

    def relate(dataset: Dataset) -> None:
        relation = Dataset()
        relation.RelatedFrameOfReferenceUID = OTHER_FRAME
        relation.FrameOfReferenceTransformationType = "HOMOGENEOUS"
        relation.FrameOfReferenceTransformationMatrix = [1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
        dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceRelationshipSequence = [relation]

    write_images(folder / "source", GRID)
    _write(folder, [ON_CT, PhantomRoi("on MR", ellipses(), number=2, frame_uid=OTHER_FRAME)], relate)
    return [ON_BOTH_TRUTH[0]]


def _one_frame(references: Sequence[tuple[str, str]], **roi: Any) -> Callable[[Path], Sequence[PlacedMask]]:
    """Two series in one Frame of Reference; the ROI was drawn on the coarser one."""

    def make(folder: Path) -> Sequence[PlacedMask]:
        write_images(folder / "source" / "thick", GRID, description="thick")
        write_images(folder / "source" / "thin", FINE_GRID, OTHER_SERIES, description="thin")
        _write(folder, [PhantomRoi("a", ellipses(), **roi)], references=references)
        return [truth_of("a", {k: [ELLIPSE] for k in PLANES})]

    return make


def _undecided(folder: Path) -> Sequence[PlacedMask]:
    _one_frame([(FRAME_UID, f"{ROOT}.74")])(folder)
    return []


def _case(
    name: str, row: str, make: Callable[[Path], Sequence[PlacedMask]], expected: str = "right", **more: Any
) -> MaskCase:
    return MaskCase(name, row, make, "RTSTRUCT", expected, **more)


_SERIES, _DATA, _TYPE = (
    "RTSTRUCT on several series",
    "RTSTRUCT, odd Contour Data",
    "RTSTRUCT, odd Contour Geometric Type",
)
_DOUBT = {"verdict": "UNCONFIRMED"}

CASES: tuple[MaskCase, ...] = (
    _case("RTSTRUCT with its source", "plain RTSTRUCT", _one()),
    _case("ROIs on CT and on MR of another frame", _SERIES, _two_frames),
    _case("ROIs on CT and MR, both in the input", _SERIES, _two_frames_in_the_input),
    _case("a third ROI in a frame of none", _SERIES, _third_frame, "ROI_FRAME_OF_REFERENCE"),
    _case("a frame that only a relation connects", _SERIES, _related_frame, "ROI_FRAME_OF_REFERENCE"),
    _case("two series in one frame, one referred to", _SERIES, _one_frame([(FRAME_UID, IMAGE_SERIES_UID)])),
    _case(
        "two series in one frame, one named by contours",
        _SERIES,
        _one_frame([(FRAME_UID, f"{ROOT}.74")], images=[image_uid(k) for k in PLANES]),
    ),
    _case("two series in one frame, none referred to", _SERIES, _undecided, "SEVERAL_SERIES"),
    _case(
        "count of points too small",
        _DATA,
        _one(extra={"NumberOfContourPoints": 3}),
        findings=("CONTOUR_DATA",),
        **_DOUBT,
    ),
    _case(
        "count of points too large",
        _DATA,
        _one(extra={"NumberOfContourPoints": 91}),
        findings=("CONTOUR_DATA",),
        **_DOUBT,
    ),
    _case("count of points 0", _DATA, _one(extra={"NumberOfContourPoints": 0}), findings=("CONTOUR_DATA",)),
    _case("backslash at the end", _DATA, _one(_written(end="\\")), findings=("CONTOUR_DATA",)),
    _case(
        "decimal commas", _DATA, _one([c.replace(".", ",") for c in _written()]), findings=("CONTOUR_DATA",), **_DOUBT
    ),
    _case("exponents and blanks", _DATA, _one(_written(" {:.8e} "))),
    _case("half a point", _DATA, _one(["1\\2\\3\\4"], truth=False), "CORRUPT_FILE"),
    _case(
        "few points among good contours", _DATA, _few_points, findings=("CONTOUR_WITHOUT_AREA", "CONTOUR_NOT_CLOSED")
    ),
    _case("type in lower case", _TYPE, _one(kinds="closed_planar"), findings=("CONTOUR_TYPE",)),
    _case("type with blanks", _TYPE, _one(kinds=" Closed Planar"), findings=("CONTOUR_TYPE",)),
    _case("type CLOSEDPLANAR", _TYPE, _one(kinds="CLOSEDPLANAR"), findings=("CONTOUR_TYPE",)),
    _case("no type", _TYPE, _one(edit=_without_type), findings=("CONTOUR_TYPE",), **_DOUBT),
    _case("type INTERPOLATED_PLANAR", _TYPE, _one(kinds="INTERPOLATED_PLANAR"), findings=("CONTOUR_TYPE",), **_DOUBT),
    _case("type CLOSEDPLANAR_XOR", _TYPE, _xor("CLOSEDPLANAR_XOR")),
    _case("type CLOSED_PLANAR_XOR", _TYPE, _xor("CLOSED_PLANAR_XOR"), findings=("CONTOUR_TYPE",)),
    _case("an ROI number twice", "RTSTRUCT, odd lists of ROIs", _number_twice, "ROI_NUMBER"),
    _case("contours of an ROI that is not listed", "RTSTRUCT, odd lists of ROIs", _unlisted, findings=("ROI_NUMBER",)),
    _case(
        "contours on every second plane",
        "RTSTRUCT on other planes",
        _one(planes=(2, 4, 6)),
        findings=("CONTOUR_PLANES_SKIPPED",),
    ),
    _case(
        "contours twice as fine as the planes", "RTSTRUCT on other planes", _finer, findings=("CONTOUR_BETWEEN_PLANES",)
    ),
    _case("contours between planes only", "RTSTRUCT on other planes", _between, "CONTOURS_SHARE_PLANE"),
    _case(
        "coordinates in metres",
        "RTSTRUCT in another unit",
        _one([c / 1000 for c in ellipses()], truth=False),
        "CONTOUR_UNITS",
    ),
)
