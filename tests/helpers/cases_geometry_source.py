"""Series whose place is written elsewhere, or otherwise, than in plain numbers of the Image Plane: sheets, other spacings, VRs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from tests.helpers.hard_case import MASK, SMALL, HardCase
from tests.helpers.hard_truth import Acquired
from tests.helpers.mosaics import Mosaic, write_grid
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, ds, write

_OBLIQUE = replace(SMALL, iop=ORIENTATIONS["double oblique"])
_OBLIQUE_MASK = replace(MASK, iop=ORIENTATIONS["double oblique"])


def planes_of(spec: Spec) -> list[Acquired]:
    """Every plane of a volume as its maker has it."""
    row, column = np.array(spec.iop[:3], float), np.array(spec.iop[3:], float)
    return [
        Acquired(
            f"plane {k}",
            spec.array()[:, :, k].T,
            spec.array()[:, :, k].T.astype(float),
            spec.point((0, 0, k)),
            row,
            column,
            spec.row_spacing,
            spec.column_spacing,
        )
        for k in range(spec.shape[2])
    ]


def _by_nibabel(folder: Path) -> list[Acquired]:
    """Every tile of a Siemens sheet, where nibabel puts it."""
    from nibabel.nicom.dicomwrappers import MosaicWrapper, wrapper_from_file

    wrapper = wrapper_from_file(next(folder.iterdir()))
    assert isinstance(wrapper, MosaicWrapper)
    affine, data = wrapper.affine, np.asarray(wrapper.get_data())
    down, across = (np.linalg.norm(affine[:3, n]) for n in (0, 1))
    return [
        Acquired(
            f"tile {k + 1}",
            data[:, :, k],
            data[:, :, k].astype(float),
            (affine @ (0, 0, k, 1))[:3],
            affine[:3, 1] / across,
            affine[:3, 0] / down,
            down,
            across,
        )
        for k in range(data.shape[2])
    ]


def _sheet(write_sheet: Callable[[Path], None]) -> Callable[[Path, Spec, Edit], None]:
    def make(folder: Path, spec: Spec, edit: Edit) -> None:
        folder.mkdir()
        write_sheet(folder / "sheet.dcm")

    return make


def _mosaics() -> list[HardCase]:
    row = "Siemens mosaics"
    sagittal = replace(SMALL, iop=ORIENTATIONS["sagittal"])
    read = {
        "mosaic": Mosaic(_OBLIQUE),
        "mosaic in reverse": Mosaic(_OBLIQUE, reverse=True),
        "sagittal mosaic in reverse": Mosaic(sagittal, reverse=True),
        "mosaic listed downwards": Mosaic(_OBLIQUE, listing=-1),
        "mosaic of a 3-D acquisition": Mosaic(_OBLIQUE, slab=True),
        "mosaic of a 3-D acquisition in reverse": Mosaic(_OBLIQUE, slab=True, reverse=True),
    }
    bare = {
        "mosaic without CSA headers": Mosaic(_OBLIQUE, csa=False, protocol="0021"),
        "mosaic without CSA headers, in reverse": Mosaic(_OBLIQUE, csa=False, protocol="0021", reverse=True),
    }
    lost = Mosaic(_OBLIQUE, csa=False, protocol="")
    return [
        *(HardCase(name, row, m.spec, make=_sheet(m.write), truth=_by_nibabel) for name, m in read.items()),
        *(
            HardCase(name, row, m.spec, make=_sheet(m.write), truth=lambda folder, spec=m.spec: planes_of(spec))
            for name, m in bare.items()
        ),
        HardCase("mosaic that lost its private headers", row, make=_sheet(lost.write), expected="MOSAIC"),
    ]


def _grids() -> list[HardCase]:
    def case(
        name: str, order: Sequence[int], edit: Callable[[Dataset], None] = lambda d: None, **more: Any
    ) -> HardCase:
        make = _sheet(lambda path: write_grid(path, _OBLIQUE, order=order, edit=edit))
        return HardCase(name, "United Imaging grids", _OBLIQUE, make=make, **more)

    def drop_list(dataset: Dataset) -> None:
        del dataset[0x0065, 0x1051]

    def truth(folder: Path) -> list[Acquired]:
        return planes_of(_OBLIQUE)

    upwards = list(range(7))
    return [
        case("UIH grid", upwards, truth=truth),
        case("UIH grid from the last slice to the first", upwards[::-1], truth=truth),
        case("UIH grid without its list of slices", upwards, drop_list, expected="MOSAIC"),
    ]


def _renamed(keyword: str, *, modality: str = "CT") -> Edit:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.Modality = modality
        setattr(dataset, keyword, dataset.PixelSpacing)
        del dataset.PixelSpacing

    return edit


def _with_vr(vr: str, *keywords: str) -> Edit:
    def edit(k: int, dataset: Dataset) -> None:
        for keyword in keywords:
            value = dataset[keyword].value
            texts = (
                [str(v) for v in value] if hasattr(value, "__iter__") and not isinstance(value, str) else [str(value)]
            )
            raw = "\\".join(texts).encode()
            raw += b" " * (len(raw) % 2)
            tag = Tag(tag_for_keyword(keyword))  # type: ignore[arg-type]
            dataset._dict[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)

    return edit


def _rescaled(slope: Any, intercept: Any) -> Edit:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept

    return edit


def _one_value(k: int, dataset: Dataset) -> None:
    dataset.PixelSpacing = dataset.PixelSpacing[0]


def _three_values(k: int, dataset: Dataset) -> None:
    dataset.PixelSpacing = [dataset.PixelSpacing[0], "0", dataset.PixelSpacing[1]]


def _numbers() -> list[HardCase]:
    row, place = "numbers of an unusual VR", ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    truth = {"truth": lambda folder: planes_of(_OBLIQUE)}
    square = replace(_OBLIQUE, column_spacing=_OBLIQUE.row_spacing)

    def doubled(folder: Path) -> list[Acquired]:
        return [replace(p, physical=p.physical * 2.5 - 1024) for p in planes_of(_OBLIQUE)]

    other = {"findings": ("OTHER_SPACING",)}
    return [
        *(HardCase(f"place as {vr}", row, _OBLIQUE, _with_vr(vr, *place), **truth) for vr in ("UT", "LO", "ST", "UN")),
        HardCase("rescale written twice", row, _OBLIQUE, _rescaled(["2.5", "2.5"], ["-1024"] * 2), truth=doubled),
        HardCase("two slopes", row, _OBLIQUE, _rescaled(["2.5", "2.6"], "0"), expected="UNREADABLE_NUMBER"),
        HardCase("one value of Pixel Spacing", row, square, _one_value, truth=lambda f: planes_of(square), **other),
        HardCase("three values of Pixel Spacing", row, _OBLIQUE, _three_values, expected="MISSING_PLANE_ATTRIBUTES"),
        *(
            HardCase(f"{keyword} alone", "other spacing attributes", _OBLIQUE, _renamed(keyword), **truth, **other)
            for keyword in ("NominalScannedPixelSpacing", "ImagerPixelSpacing")
        ),
        HardCase(
            "ImagerPixelSpacing of a projection",
            "other spacing attributes",
            _OBLIQUE,
            _renamed("ImagerPixelSpacing", modality="XA"),
            expected="MISSING_PLANE_ATTRIBUTES",
        ),
    ]


def _image(spec: Spec) -> Any:
    """The volume as SimpleITK's image."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(spec.array().T.astype(f"u{spec.bits_allocated // 8}")))
    image.SetSpacing((spec.column_spacing, spec.row_spacing, spec.step))
    image.SetOrigin([float(v) for v in spec.origin])
    row, column = np.array(spec.iop[:3], float), np.array(spec.iop[3:], float)
    image.SetDirection(np.stack([row, column, np.cross(row, column)], 1).ravel().tolist())
    return image


def _simpleitk_file(folder: Path, spec: Spec, edit: Edit) -> None:
    import SimpleITK

    folder.mkdir()
    SimpleITK.WriteImage(_image(spec), str(folder / "volume.dcm"))


def _simpleitk_slices(**tags: str) -> Callable[[Path, Spec, Edit], None]:
    """Write slices as SimpleITK's example DicomSeriesFromArray does. tags: more of them, by keyword."""

    def make(folder: Path, spec: Spec, edit: Edit) -> None:
        import SimpleITK

        folder.mkdir()
        image, writer = _image(spec), SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        for k in range(spec.shape[2]):
            place = image.TransformIndexToPhysicalPoint((0, 0, k))
            values = {
                "SeriesInstanceUID": "1.2.826.0.1.3680043.2.1125.7",
                "StudyInstanceUID": "1.2.826.0.1.3680043.2.1125.8",
                "ImagePositionPatient": "\\".join(map(str, place)),
                "ImageOrientationPatient": "\\".join(map(str, spec.iop)),
                "InstanceNumber": str(k),
                **tags,
            }
            plane = image[:, :, k]
            for keyword, value in values.items():
                tag = tag_for_keyword(keyword) or 0
                plane.SetMetaData(f"{tag >> 16:04x}|{tag & 0xFFFF:04x}", value)
            writer.SetFileName(str(folder / f"{k}.dcm"))
            writer.Execute(plane)

    return make


def _simpleitk() -> list[HardCase]:
    row, mask = "written by SimpleITK", _OBLIQUE_MASK

    def case(name: str, make: Callable[[Path, Spec, Edit], None], spec: Spec = mask, **more: Any) -> HardCase:
        return HardCase(name, row, spec, make=make, truth=lambda folder: planes_of(spec), **more)

    return [
        case("3-D mask in one file", _simpleitk_file),
        case("3-D image in one file", _simpleitk_file, _OBLIQUE),
        case(
            "slices without a modality", _simpleitk_slices()
        ),  # GDCM writes Pixel Spacing or the nominal one, by its state
        case("slices of a CT", _simpleitk_slices(Modality="CT")),
        case("slices of an MR image", _simpleitk_slices(Modality="MR"), _OBLIQUE),
    ]


def _flat_multi_frame(folder: Path, spec: Spec, edit: Edit) -> None:
    """Several frames, and one place at the top of the data set, with Slice Thickness for a step: cone beam CT."""
    write(folder, replace(spec, kind="multi-frame sc plain"))
    path = next(folder.iterdir())
    dataset = dcmread(path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.Modality, dataset.PixelSpacing = "CT", ds(spec.row_spacing, spec.column_spacing)
    dataset.SliceThickness = ds(spec.step)[0]
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = ds(*spec.origin), ds(*spec.iop)
    dataset.save_as(path)


def _cone_beam() -> list[HardCase]:
    def no_orientation_group(k: int, dataset: Dataset) -> None:
        del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        dataset.ImageOrientationPatient = ds(*_OBLIQUE.iop)

    def truth(folder: Path) -> list[Acquired]:
        return planes_of(_OBLIQUE)

    row, flat = "cone beam CT", "one place for several frames"
    enhanced = replace(_OBLIQUE, kind="enhanced ct")
    return [
        HardCase(flat, row, _OBLIQUE, make=_flat_multi_frame, expected="MISSING_PLANE_ATTRIBUTES"),
        HardCase(
            f"{flat}, --assume-spacing",
            row,
            _OBLIQUE,
            make=_flat_multi_frame,
            truth=truth,
            options={"assume_spacing": True},
            findings=("ASSUMED_GEOMETRY",),
        ),
        HardCase("orientation at the top of an enhanced image", row, enhanced, no_orientation_group, truth=truth),
    ]


CASES: tuple[HardCase, ...] = (*_mosaics(), *_grids(), *_numbers(), *_simpleitk(), *_cone_beam())
