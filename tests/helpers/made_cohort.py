"""Make a tree of patients with images and masks of every kind, some broken in known ways, with what is expected of each.

Rules:
- The same count and seed give the same bytes. `Expected` comes from what was written, never from `pipeline`.
- Patients share series names, series numbers and folder names; some folders, descriptions and names of ROIs hold the Patient
  ID. Every Patient ID and name has at least six characters, so that it can be searched for in bytes.
- A series is broken in one way; its neighbours are sound.

`python -m tests.helpers.made_cohort FOLDER [COUNT]` writes one to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom import Dataset

from tests.helpers.made_series import (
    MadeGrid,
    MadeImage,
    Person,
    Study,
    Voxels,
    box,
    corner,
    write_bundle,
    write_image,
    write_mask_series,
    write_seg,
    write_struct,
)
from tests.helpers.mask_case import PlacedMask

BROKEN_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Expected:
    """What must come of one series or bundle.

    folder: that holds its files, relative to the tree, POSIX. uid: its Series Instance UID, "" for a bundle. status: of its
    row in cohort.tsv. code: of the finding that refuses it or makes it incomplete, "" for none. masks: those that must be
    written, with every voxel; image: of a mask, the UID of the image it must lie on.
    """

    folder: str
    uid: str
    role: Literal["image", "mask"]
    status: str
    code: str = ""
    masks: tuple[PlacedMask, ...] = ()
    image: str = ""


@dataclass(frozen=True, eq=False)
class MadeCohort:
    """A tree and what is expected of it. identifiers: that must be in no output."""

    root: Path
    series: tuple[Expected, ...]
    identifiers: frozenset[str]

    @property
    def files(self) -> list[Path]:
        """Every file of the tree."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def of_status(self, *statuses: str) -> list[Expected]:
        return [series for series in self.series if series.status in statuses]


@dataclass(frozen=True, eq=False)
class _Site:
    """Where one study is written, and with what luck."""

    root: Path
    folder: Path
    study: Study
    rng: np.random.Generator

    def grid(self, *, oblique: bool = False) -> MadeGrid:
        """A grid like those of others: no two patients lie at the same place."""
        origin = tuple(float(v) for v in np.round(self.rng.uniform(-200, 200, 3), 2))
        if oblique:
            return MadeGrid((14, 16, 6), (1.1, 0.8, 3.0), (0.8, 0.6, 0.0, -0.36, 0.48, 0.8), origin)  # type: ignore[arg-type]
        return MadeGrid(origin=origin)  # type: ignore[arg-type]

    def at(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    def image(
        self, name: str = "2_CT", grid: MadeGrid | None = None, modality: str = "CT", **more: object
    ) -> MadeImage:
        return write_image(self.folder / name, self.study, grid or self.grid(), modality, **more)  # type: ignore[arg-type]

    def shapes(self, image: MadeImage, *names: str) -> list[tuple[str, Voxels]]:
        return [(name, corner(self.rng, image.grid.shape)) for name in names]

    def expect(self, image: MadeImage, status: str = "DONE", code: str = "") -> Expected:
        return Expected(self.at(image.folder), image.uid, "image", status, code)

    def expect_mask(
        self,
        folder: str,
        uid: str,
        image: MadeImage,
        masks: list[tuple[str, Voxels]],
        status: str = "DONE",
        code: str = "",
    ) -> Expected:
        wanted = tuple(PlacedMask(name, voxels, image.grid.lps) for name, voxels in masks)
        return Expected(self.at(self.folder / folder), uid, "mask", status, code, wanted, image.uid)


_Unit = Callable[[_Site], "list[Expected]"]


# ---- what is sound


def _struct(site: _Site) -> list[Expected]:
    image = site.image(description=f"{site.study.person.id} thorax")
    rois = site.shapes(image, "GTV", "Lung L")
    uid = write_struct(site.folder / "5_RTSTRUCT", image, rois, description=f"contours of {site.study.person.id}")
    return [site.expect(image), site.expect_mask("5_RTSTRUCT", uid, image, rois)]


def _struct_of_a_name(site: _Site) -> list[Expected]:
    """The Patient ID stands in the name of a ROI."""
    image = site.image()
    rois = site.shapes(image, f"GTV {site.study.person.id}")
    uid = write_struct(site.folder / "5_RTSTRUCT", image, rois)
    return [site.expect(image), site.expect_mask("5_RTSTRUCT", uid, image, rois)]


def _seg(site: _Site) -> list[Expected]:
    image = site.image("2_MR", site.grid(oblique=True), "MR")
    masks = site.shapes(image, "liver", "spleen")
    uid = write_seg(site.folder / "4_SEG", image, masks)
    return [site.expect(image), site.expect_mask("4_SEG", uid, image, masks)]


def _mask_series(site: _Site) -> list[Expected]:
    image = site.image()
    masks = site.shapes(image, "tumour mask")
    uid = write_mask_series(site.folder / "3_mask", image, masks[0][1], description="tumour mask")
    return [site.expect(image), site.expect_mask("3_mask", uid, image, masks)]


def _mask_series_by_grid(site: _Site) -> list[Expected]:
    image = site.image("2_MR", site.grid(oblique=True), "MR")
    masks = site.shapes(image, "mask")
    uid = write_mask_series(site.folder / "3_mask", image, masks[0][1], refers=False)
    return [site.expect(image), site.expect_mask("3_mask", uid, image, masks)]


def _bundle(site: _Site) -> list[Expected]:
    image = site.image(grid=MadeGrid(origin=(-31.5, 12.25, float(-200 - 10 * site.rng.integers(0, 3)))))
    masks = write_bundle(site.folder / "mimics", image)
    return [site.expect(image), Expected(site.at(site.folder / "mimics"), "", "mask", "DONE", "", masks, image.uid)]


def _two_images(site: _Site) -> list[Expected]:
    """CT and PET of one Frame of Reference on grids of their own; the structure set is of the CT."""
    image = site.image()
    coarse = replace(image.grid, shape=(8, 7, 6), spacing=(1.4, 1.8, 2.5))
    other = site.image("3_PT", coarse, "PT", number=3)
    rois = site.shapes(image, "GTV")
    uid = write_struct(site.folder / "5_RTSTRUCT", image, rois)
    return [site.expect(image), site.expect(other, "NO_MASK"), site.expect_mask("5_RTSTRUCT", uid, image, rois)]


def _two_phases(site: _Site) -> list[Expected]:
    """Two images on one grid; the mask names the second by its Source Image Sequence."""
    first = site.image("2_phase", description="phase 1")
    second = site.image("3_phase", first.grid, number=3, description="phase 2")
    masks = site.shapes(second, "mask")
    uid = write_mask_series(site.folder / "4_mask", second, masks[0][1], number=4)
    return [site.expect(first, "NO_MASK"), site.expect(second), site.expect_mask("4_mask", uid, second, masks)]


def _three_kinds(site: _Site) -> list[Expected]:
    image = site.image()
    rois, segments, planes = site.shapes(image, "heart"), site.shapes(image, "liver"), site.shapes(image, "bone mask")
    struct = write_struct(site.folder / "5_RTSTRUCT", image, rois)
    seg = write_seg(site.folder / "4_SEG", image, segments)
    series = write_mask_series(site.folder / "3_mask", image, planes[0][1], description="bone mask")
    return [
        site.expect(image),
        site.expect_mask("5_RTSTRUCT", struct, image, rois),
        site.expect_mask("4_SEG", seg, image, segments),
        site.expect_mask("3_mask", series, image, planes),
    ]


def _alone(site: _Site) -> list[Expected]:
    """An image that no mask refers to."""
    return [site.expect(site.image(), "NO_MASK")]


# ---- what is broken


def _gap(site: _Site) -> list[Expected]:
    image = site.image(planes=[0, 1, 2, 4, 5])
    rois = site.shapes(image, "GTV")
    uid = write_struct(site.folder / "5_RTSTRUCT", image, rois)
    code = "MISSING_PLANES"
    return [site.expect(image, "REFUSED", code), site.expect_mask("5_RTSTRUCT", uid, image, [], "REFUSED", code)]


def _last_plane_missing(site: _Site) -> list[Expected]:
    """Nothing shows in the image; the mask has voxels on a plane that is not there."""
    image = site.image(planes=range(5))
    masks = [("liver", box(image.grid.shape, (3, 9), (2, 7), (1, 6)))]
    uid = write_seg(site.folder / "4_SEG", image, masks)
    code = "OFF_SOURCE_GRID"
    return [site.expect(image, "REFUSED"), site.expect_mask("4_SEG", uid, image, [], "REFUSED", code)]


def _cut_off(site: _Site) -> list[Expected]:
    image = site.image()
    masks = site.shapes(image, "GTV")
    uid = write_mask_series(site.folder / "3_mask", image, masks[0][1])
    path = sorted(image.folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-100])
    code = "CORRUPT_FILE"
    return [site.expect(image, "REFUSED", code), site.expect_mask("3_mask", uid, image, [], "REFUSED", code)]


def _two_orientations(site: _Site) -> list[Expected]:
    def turn(k: int, dataset: Dataset) -> None:
        if k >= 3:
            dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]

    image = site.image(edit=turn)
    rois = site.shapes(image, "GTV")
    uid = write_struct(site.folder / "5_RTSTRUCT", image, rois)
    code = "SEVERAL_VOLUMES"
    return [site.expect(image, "REFUSED", code), site.expect_mask("5_RTSTRUCT", uid, image, [], "REFUSED", code)]


def _absent_image(site: _Site) -> list[Expected]:
    absent = MadeImage(site.study, f"{site.study.uid}.9", site.grid(), "CT", site.folder / "2_CT")
    uid = write_struct(site.folder / "5_RTSTRUCT", absent, site.shapes(absent, "GTV"))
    return [replace(site.expect_mask("5_RTSTRUCT", uid, absent, [], "NO_IMAGE", "NO_SOURCE"), image="")]


def _fits_two(site: _Site) -> list[Expected]:
    first = site.image("2_phase", description="phase 1")
    second = site.image("3_phase", first.grid, number=3, description="phase 2")
    uid = write_mask_series(site.folder / "4_mask", first, corner(site.rng, first.grid.shape), number=4, refers=False)
    mask = replace(site.expect_mask("4_mask", uid, first, [], "AMBIGUOUS", "SEVERAL_SERIES"), image="")
    return [site.expect(first, "NO_MASK"), site.expect(second, "NO_MASK"), mask]


def _other_uids(site: _Site) -> list[Expected]:
    """A structure set that refers to the images of another study, beside an image that would fit."""
    image = site.image()
    away = replace(image, study=replace(site.study, label="elsewhere"), uid=f"{image.uid}.77")
    uid = write_struct(site.folder / "5_RTSTRUCT", away, site.shapes(image, "GTV"))
    mask = site.expect_mask("5_RTSTRUCT", uid, away, [], "NO_IMAGE", "NO_SOURCE")
    return [site.expect(image, "NO_MASK"), replace(mask, image="")]


def _roi_without_contours(site: _Site) -> list[Expected]:
    """A ROI of a template that nobody drew: no mask is lost, and the row says so."""
    image = site.image()
    rois = site.shapes(image, "GTV")
    uid = write_struct(site.folder / "5_RTSTRUCT", image, [*rois, ("Cord", np.zeros(image.grid.shape, bool))])
    return [site.expect(image), site.expect_mask("5_RTSTRUCT", uid, image, rois, "DONE", "CONTOUR_NOT_CLOSED")]


def _roi_without_voxels(site: _Site) -> list[Expected]:
    """A ROI that was drawn and holds no centre of a pixel: there is no mask of it."""
    image = site.image()
    rois = site.shapes(image, "GTV")
    uid = write_struct(site.folder / "5_RTSTRUCT", image, rois, sliver="Cord")
    mask = site.expect_mask("5_RTSTRUCT", uid, image, rois, "INCOMPLETE", "EMPTY_ROI")
    return [site.expect(image, "INCOMPLETE"), mask]


def _broken_buffer(site: _Site) -> list[Expected]:
    """A file of the first mask ends early; the second mask is sound."""
    image = site.image(grid=MadeGrid())
    masks = write_bundle(site.folder / "mimics", image)
    path = site.folder / "mimics" / "mask-001.raw.gz"
    path.write_bytes(path.read_bytes()[:-9])
    at = site.at(site.folder / "mimics")
    code = "BUNDLE_INVALID"
    return [site.expect(image, "INCOMPLETE"), Expected(at, "", "mask", "INCOMPLETE", code, masks[1:], image.uid)]


def _litter(site: _Site) -> list[Expected]:
    """Files that are no DICOM, in every folder; nothing is lost by them."""
    found = _struct(site)
    for folder in sorted({site.folder, *(site.root / series.folder for series in found)}):
        (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(200))
        (folder / "notes.txt").write_text("Nothing of the patient.\n", "utf-8")
    return found


ORDINARY: tuple[_Unit, ...] = (
    _struct, _seg, _mask_series, _bundle, _two_images, _mask_series_by_grid, _three_kinds, _struct_of_a_name, _alone, _two_phases,
)  # fmt: skip
BROKEN: tuple[_Unit, ...] = (
    _gap, _cut_off, _absent_image, _fits_two, _roi_without_voxels, _broken_buffer, _two_orientations, _other_uids,
    _last_plane_missing, _roi_without_contours, _litter,
)  # fmt: skip


def make_cohort(root: Path, count: int = 60, seed: int = 15) -> MadeCohort:
    """Write a tree of at least `count` series: each way to be broken at least once, and 5 % broken where it is large.

    Every seventh patient has two sessions.
    """
    rng = np.random.default_rng(seed)
    found: list[Expected] = []
    people: list[Person] = []
    broken = sound = 0
    while len(found) < count or broken < len(BROKEN):
        number = len(people) + 1
        person = _person(number, rng)
        people.append(person)
        folder = root / _folder(number, person)
        if broken < len(BROKEN) * (sound + 1) / len(ORDINARY) and broken < max(len(BROKEN), BROKEN_SHARE * count / 2):
            units = [BROKEN[broken % len(BROKEN)]]
            broken += 1
        else:
            units = [ORDINARY[(sound + n) % len(ORDINARY)] for n in range(2 if number % 7 == 0 else 1)]
            sound += len(units)
        for n, unit in enumerate(units):
            date = f"{2019 + n}0{1 + number % 9}17"
            study = Study(person, f"study {n}", date)
            found += unit(_Site(root, folder / f"{date[:4]}-{date[4:6]}", study, rng))
    return MadeCohort(root, tuple(found), frozenset(text for person in people for text in _identifiers(person)))


def _person(number: int, rng: np.random.Generator) -> Person:
    given = ("Aurelia", "Balthasar", "Cordula", "Dagobert")[number % 4]
    return Person(f"HN-{seed_digits(rng)}-{number:04d}", f"Quillfeather{number:04d}^{given}")


def seed_digits(rng: np.random.Generator) -> str:
    """Five digits."""
    return f"{int(rng.integers(10_000, 99_999))}"


def _folder(number: int, person: Person) -> str:
    """What the folder of a patient is called: the ID, the name, or a number."""
    return (person.id, person.name.replace("^", "_"), f"patient {number:04d}", f"{person.id} {number}")[number % 4]


def _identifiers(person: Person) -> list[str]:
    """The texts that name a person, as they stand in headers and folders."""
    family, given = person.name.split("^")
    return [person.id, person.name, f"{family}_{given}", family]


if __name__ == "__main__":
    made = make_cohort(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60)
    print(f"{len(made.series)} series, {len(made.files)} files")
