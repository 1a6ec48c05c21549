"""SEGs that go wrong in the field, each with its masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.helpers.mask_case import MaskCase, PlacedMask
from tests.helpers.segs import PLACE, Place, SegFrame, blobs, frames_of, source_files, write_seg

NAMES = ("first", "second", "third")
COARSE = replace(PLACE, rows=3, columns=4, planes=3, spacing=(3.0, 1.5), step=5.0)
Edit = Callable[[Dataset, Sequence[Path]], None]  # of a SEG, and the files of its source


def lps_of(place: Place) -> NDArray[np.float64]:
    """(4, 4) index to LPS mm of a place of segs.py, by the equation of PS3.3 C.7.6.2.1-1."""
    lps = np.eye(4)
    row, column = np.array(place.cosines[:3]), np.array(place.cosines[3:])
    lps[:3, :3] = np.stack([row * place.spacing[1], column * place.spacing[0], np.cross(row, column) * place.step], 1)
    lps[:3, 3] = place.origin
    return lps


def _complete(ds: Dataset) -> None:
    """The dimensions and the other attributes of Type 1 that a strict reader asks for, which decide no voxel."""
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    ds.DimensionOrganizationSequence = [organization]
    ds.DimensionIndexSequence = []
    for pointer, group in ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113)):
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        ds.DimensionIndexSequence.append(index)
    ds.LossyImageCompression, ds.PositionReferenceIndicator = "00", ""
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "SEG", "", "Nobody"
    ds.SegmentsOverlap = "UNDEFINED"
    for n, item in enumerate(ds.get("PerFrameFunctionalGroupsSequence") or (), 1):
        content = Dataset()
        content.DimensionIndexValues = [1, n]
        item.FrameContentSequence = [content]


def _seg(
    folder: Path,
    frames: Sequence[SegFrame],
    place: Place = PLACE,
    *,
    edit: Edit | None = None,
    sources: Sequence[Path] = (),
    **options: Any,
) -> None:
    """One SEG in folder/in, in the Frame of Reference of the sources unless another is given; `edit` spoils it."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / "seg.dcm"
    if sources and "reference" not in options:
        options["reference"] = dcmread(sources[0]).FrameOfReferenceUID
    write_seg(path, frames, place, **{"names": NAMES[:2], **options})
    ds = dcmread(path)
    if options.get("kind") != "LABELMAP":
        _complete(ds)
    if edit is not None:
        edit(ds, sources)
    ds.save_as(path)


def _masks(truth: NDArray[np.bool_], place: Place = PLACE, names: Sequence[str] = NAMES) -> list[PlacedMask]:
    return [PlacedMask(name, voxels, lps_of(place)) for name, voxels in zip(names, truth, strict=False)]


def _case(
    name: str,
    row: str,
    edit: Edit | None = None,
    *,
    segments: int = 2,
    with_source: bool = True,
    read: bool = True,
    labels: Sequence[str] = NAMES,
    reference: str = "",
    **expected: Any,
) -> MaskCase:
    """A SEG with the grid of its source that `edit` spoils; read: whether its masks are what is expected."""

    def make(folder: Path) -> Sequence[PlacedMask]:
        truth = blobs(segments, overlap=False)
        sources = source_files(folder / "source") if with_source else ()
        options = {"reference": reference} if reference else {}
        _seg(folder, frames_of(truth), sources=sources, names=labels[:segments], edit=edit, **options)
        return _masks(truth, names=labels) if read else []

    return MaskCase(name, row, make, expected="right" if read else expected.pop("expected"), **expected)


# --- the Frame of Reference ------------------------------------------------------------------------------------------


def _plane_of(ds: Dataset) -> float:
    orientation = np.array(ds.ImageOrientationPatient, float)
    return float(np.dot(np.cross(orientation[:3], orientation[3:]), np.array(ds.ImagePositionPatient, float)))


def name_images(ds: Dataset, sources: Sequence[Path], *, reverse: bool = False) -> None:
    """Every frame names the source image on whose plane it lies; or, reversed, that of the frame at the other end."""
    images = [dcmread(path, stop_before_pixels=True) for path in sources]
    orientation = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    items = list(ds.PerFrameFunctionalGroupsSequence)
    for item, other in zip(items, reversed(items) if reverse else items, strict=True):
        position = Dataset()
        position.ImagePositionPatient = other.PlanePositionSequence[0].ImagePositionPatient
        position.ImageOrientationPatient = orientation
        image = min(images, key=lambda i: abs(_plane_of(i) - _plane_of(position)))
        derivation, named = Dataset(), Dataset()
        named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        derivation.SourceImageSequence, derivation.DerivationCodeSequence = [named], []
        item.DerivationImageSequence = [derivation]


def _contradict(ds: Dataset, sources: Sequence[Path]) -> None:
    name_images(ds, sources, reverse=True)


def name_series(ds: Dataset, sources: Sequence[Path]) -> None:
    item = Dataset()
    item.SeriesInstanceUID = dcmread(sources[0]).SeriesInstanceUID
    ds.ReferencedSeriesSequence = [item]


_OTHER = "another Frame of Reference"
FRAME_CASES = (
    _case(
        "its frames name the images", _OTHER, name_images, reference="1.2.9", findings=("FRAME_OF_REFERENCE_DIFFERS",)
    ),
    _case("it refers to the series", _OTHER, name_series, reference="1.2.9", findings=("FRAME_OF_REFERENCE_DIFFERS",)),
    _case("nothing names the images", _OTHER, reference="1.2.9", read=False, expected="FRAME_OF_REFERENCE_DIFFERS"),
    _case(
        "nothing names the images, --same-frame",
        _OTHER,
        reference="1.2.9",
        options={"same_frame": True},
        findings=("SAME_FRAME_STATED",),
        verdict="UNCONFIRMED",
    ),
    _case(
        "its frames name other images",
        "frames against their source",
        _contradict,
        read=False,
        expected="SOURCE_CONTRADICTS",
    ),
)


# --- another resolution ----------------------------------------------------------------------------------------------


def _nearest(truth: NDArray[np.bool_], place: Place, onto: Place) -> NDArray[np.bool_]:
    """Each voxel of a grid from the nearest of another, the higher one midway, by its indices in exact halves."""
    to = np.linalg.inv(lps_of(place)) @ lps_of(onto)
    index = np.indices((onto.columns, onto.rows, onto.planes)).reshape(3, -1).T
    near = np.floor(np.round(index @ to[:3, :3].T + to[:3, 3], 6) + 0.5).astype(int)
    shape = np.array(truth.shape[1:])
    inside = ((near >= 0) & (near < shape)).all(1)
    i, j, k = np.where(inside[:, None], near, 0).T
    return (truth[:, i, j, k] & inside).reshape(len(truth), onto.columns, onto.rows, onto.planes)


def _other_resolution(
    place: Place, *, fractional: bool = False, keeps_own: bool = False
) -> Callable[[Path], list[PlacedMask]]:
    def make(folder: Path) -> list[PlacedMask]:
        shape = (place.columns, place.rows, place.planes)
        truth = blobs(2, overlap=False, shape=shape)
        truth[..., 2] |= truth[..., 1]
        sources = source_files(folder / ("in" if keeps_own else "source"))
        frames, options = frames_of(truth), {}
        if fractional:
            frames = [SegFrame(f.segment, f.k, np.where(f.pixels, 150, 40).astype(np.uint8)) for f in frames]
            options = {"kind": "FRACTIONAL"}
        _seg(
            folder,
            frames,
            place,
            sources=sources,
            edit=name_series,
            tag_step=place.step,
            **options,
        )
        return _masks(truth, place) if keeps_own else _masks(_nearest(truth, place, PLACE))

    return make


_FINE = replace(PLACE, rows=10, columns=14, planes=12, spacing=(0.75, 0.375), step=1.25, origin=(-31.5, 12.25, 104.0))
_RESOLUTION = "another resolution than the images"
_TAKEN: dict[str, Any] = {"options": {"resample": "nearest"}, "findings": ("RESAMPLED",), "verdict": "UNCONFIRMED"}
RESOLUTION_CASES = (
    MaskCase("coarser, nearest voxels", _RESOLUTION, _other_resolution(COARSE), **_TAKEN),
    MaskCase("finer, nearest voxels", _RESOLUTION, _other_resolution(_FINE), **_TAKEN),
    MaskCase("fractions, nearest voxels", _RESOLUTION, _other_resolution(COARSE, fractional=True), **_TAKEN),
    MaskCase(
        "coarser, beside its images in one folder",
        _RESOLUTION,
        _other_resolution(COARSE, keeps_own=True),
        request={"series": "9"},
        findings=("OFF_SOURCE_GRID",),
    ),
)


# --- several series --------------------------------------------------------------------------------------------------


def _one_of_two(folder: Path) -> list[PlacedMask]:
    """A SEG that names no series, beside its images and others of the same Frame of Reference on another grid."""
    sources = source_files(folder / "in" / "ct")
    for path in source_files(folder / "in" / "other", COARSE):
        other = dcmread(path)
        other.FrameOfReferenceUID, other.SeriesNumber = dcmread(sources[0]).FrameOfReferenceUID, 4
        other.save_as(path)
    truth = blobs(2, overlap=False)
    _seg(folder, frames_of(truth), sources=sources)
    return _masks(truth)


def _each_on_its_own(folder: Path) -> list[PlacedMask]:
    """A SEG of two segments, whose frames name the images of two series."""
    moved = replace(PLACE, origin=(-31.5, 12.25, 164.0))
    places, truth = (PLACE, moved), blobs(2, overlap=False)
    series = [source_files(folder / "in" / name, place) for name, place in zip("ab", places, strict=True)]
    reference = dcmread(series[0][0]).FrameOfReferenceUID
    for path in series[1]:
        other = dcmread(path)
        other.FrameOfReferenceUID, other.SeriesNumber = reference, 4
        other.save_as(path)

    def edit(ds: Dataset, _: Sequence[Path]) -> None:
        for item, frame in zip(ds.PerFrameFunctionalGroupsSequence, frames_of(truth), strict=True):
            place = places[int(frame.segment or 1) - 1]
            item.PlanePositionSequence[0].ImagePositionPatient = place.position(frame.k)
        name_images(ds, [*series[0], *series[1]])

    _seg(folder, frames_of(truth), sources=series[0], edit=edit)
    return [PlacedMask(name, voxels, lps_of(place)) for name, voxels, place in zip(NAMES, truth, places, strict=False)]


_SEVERAL = "several series"
SERIES_CASES = (
    MaskCase("one of two has its grid", _SEVERAL, _one_of_two, request={"series": "9"}, findings=("SOURCE_CHOSEN",)),
    MaskCase("each segment on a series of its own", _SEVERAL, _each_on_its_own, request={"series": "9"}),
)


# --- how the segments are written ------------------------------------------------------------------------------------


def _share_identification(ds: Dataset, _: Sequence[Path]) -> None:
    item = Dataset()
    item.ReferencedSegmentNumber = 1
    ds.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence = [item]
    _drop_identification(ds, ())


def _drop_identification(ds: Dataset, _: Sequence[Path]) -> None:
    for item in ds.PerFrameFunctionalGroupsSequence:
        del item.SegmentIdentificationSequence


def _count_from_zero(ds: Dataset, _: Sequence[Path]) -> None:
    for item in ds.SegmentSequence:
        item.SegmentNumber -= 1
    for item in ds.PerFrameFunctionalGroupsSequence:
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber -= 1


def _split_measures(ds: Dataset, _: Sequence[Path]) -> None:
    for item in ds.PerFrameFunctionalGroupsSequence:
        measures = Dataset()
        measures.SliceThickness = 2.5
        item.PixelMeasuresSequence = [measures]


def _drop_frames(ds: Dataset, _: Sequence[Path]) -> None:
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence, ds.PixelData = 0, [], b""


def _tile(ds: Dataset, _: Sequence[Path]) -> None:
    ds.DimensionOrganizationType, ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = "TILED_FULL", 10, 14
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    del ds.PerFrameFunctionalGroupsSequence


def _call_fractional(ds: Dataset, _: Sequence[Path]) -> None:
    ds.SegmentationType, ds.SegmentationFractionalType, ds.MaximumFractionalValue = "FRACTIONAL", "OCCUPANCY", 255


def _labelmap_with_padding(folder: Path) -> list[PlacedMask]:
    """A label map that calls the number of its second segment padding: background, by the standard."""
    truth = blobs(2, overlap=False)
    sources = source_files(folder / "source")
    values = (truth[0] + 2 * truth[1]).astype(np.uint8)
    frames = [SegFrame(None, k, values[:, :, k].T) for k in range(PLACE.planes)]
    _seg(folder, frames, sources=sources, kind="LABELMAP", PixelPaddingValue=2)
    return _masks(np.stack([truth[0], np.zeros_like(truth[1])]))


def _fractions(values: Sequence[int], maximum: int, threshold: float = 0.5) -> Callable[[Path], list[PlacedMask]]:
    def make(folder: Path) -> list[PlacedMask]:
        sources = source_files(folder / "source")
        stored = np.random.default_rng(1).choice(np.array(values, np.uint8), (PLACE.columns, PLACE.rows, PLACE.planes))
        frames = [SegFrame(1, k, stored[:, :, k].T) for k in range(PLACE.planes)]
        _seg(folder, frames, sources=sources, names=NAMES[:1], kind="FRACTIONAL", MaximumFractionalValue=maximum)
        inside = (stored >= threshold * maximum)[None]
        return _masks(inside) if inside.any() else []

    return make


def _one_bit_jpeg2000(folder: Path) -> list[PlacedMask]:
    """Written by highdicom, compressed."""
    import highdicom
    from pydicom.sr.codedict import codes

    place = replace(PLACE, rows=40, columns=48)
    images = sorted((dcmread(p) for p in source_files(folder / "source", place)), key=lambda ds: int(ds.InstanceNumber))
    mask = np.zeros((place.planes, place.rows, place.columns), np.uint8)
    mask[1:4, 3:8, 4:11] = 1
    manual = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    segment = highdicom.seg.SegmentDescription(1, "first", codes.SCT.Organ, codes.SCT.Liver, manual)
    kind = highdicom.seg.SegmentationTypeValues.BINARY
    about = (generate_uid(), 5, generate_uid(), 1, "m", "m", "1", "1")
    syntax = "1.2.840.10008.1.2.4.90"
    seg = highdicom.seg.Segmentation(images, mask, kind, [segment], *about, transfer_syntax_uid=syntax)
    (folder / "in").mkdir()
    seg.save_as(folder / "in" / "seg.dcm")
    return [PlacedMask("first", mask.T.astype(bool), lps_of(place))]


def _empty_allowed(folder: Path) -> list[PlacedMask]:
    truth = blobs(1, overlap=False)
    _seg(folder, frames_of(truth), sources=source_files(folder / "source"), names=NAMES[:1], edit=_drop_frames)
    return _masks(np.zeros_like(truth))


_WRITTEN, _FRACTIONS = "segments and frames", "fractions"
CONTENT_CASES = (
    _case("one identification for all frames", _WRITTEN, _share_identification, segments=1),
    _case(
        "no identification, one segment",
        _WRITTEN,
        _drop_identification,
        segments=1,
        findings=("SEGMENT_NOT_IDENTIFIED",),
    ),
    _case("no identification, two segments", _WRITTEN, _drop_identification, read=False, expected="CORRUPT_FILE"),
    _case("numbers from 0", _WRITTEN, _count_from_zero, findings=("LABELS_REMAPPED",)),
    _case("pixel measures in two places", _WRITTEN, _split_measures),
    _case("no frames", _WRITTEN, _drop_frames, segments=1, read=False, expected="EMPTY"),
    MaskCase("no frames, --allow-empty", _WRITTEN, _empty_allowed, options={"allow_empty": True}),
    _case("tiles of a slide", _WRITTEN, _tile, segments=1, read=False, expected="NOT_CONVERTIBLE"),
    MaskCase("one bit a pixel in JPEG 2000", _WRITTEN, _one_bit_jpeg2000),
    MaskCase(
        "label map with a segment as padding",
        _WRITTEN,
        _labelmap_with_padding,
        findings=("SEGMENT_IS_PADDING",),
        verdict="UNCONFIRMED",
    ),
    _case(
        "one bit a pixel called fractional",
        _FRACTIONS,
        _call_fractional,
        findings=("FRACTIONAL_MAXIMUM",),
        verdict="UNCONFIRMED",
    ),
    MaskCase("0 and the maximum only", _FRACTIONS, _fractions((0, 255), 255)),
    MaskCase("a maximum of 1", _FRACTIONS, _fractions((0, 1), 1)),
    MaskCase("flags in its bits", _FRACTIONS, _fractions((0, 1, 2, 17, 32, 33, 49), 255), expected="EMPTY"),
    MaskCase("values beyond the maximum", _FRACTIONS, _fractions((0, 80, 255), 200), findings=("FRACTIONAL_MAXIMUM",)),
)

CASES: tuple[MaskCase, ...] = (
    _case("SEG with its source", "plain SEG"),
    *FRAME_CASES,
    *RESOLUTION_CASES,
    *SERIES_CASES,
    *CONTENT_CASES,
)
