"""Make a small tree of patients in which every text and every name is what the caller wants it to be.

Rules:
- `text` is asked for each text by what it is of, such as "SeriesDescription", and for each name of a file or folder, such as
  "folder of image"; what it gives stands in the tree as it is. Where it gives "", an attribute is empty.
- Nothing of `pipeline` decides what is in a file. The same answers give the same bytes.
- The image, the mask series, the SEG and the structure set of the first patient are on one grid, so that every command has
  something to do; a second patient has an image and a structure set.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword

from tests.helpers import made_series
from tests.helpers.fake_mimics import run_inside
from tests.helpers.made_series import MadeGrid, MadeImage, Person, Study, Voxels

_EXPORT = Path(__file__).parents[2] / "pipeline" / "mimics" / "scripts" / "export_masks.py"
_GRID = MadeGrid((16, 14, 6))
_BOXES = (((2, 7), (2, 8), (1, 5)), ((9, 13), (5, 11), (1, 4)))

Text = Callable[[str], str]

# Attributes of the patient, the study and the series, in every file.
OF_EVERY_FILE = (
    "PatientID", "PatientName", "PatientComments", "OtherPatientIDs", "StudyDescription", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "InstitutionName", "StationName", "OperatorsName", "Manufacturer", "ManufacturerModelName",
    "SeriesDescription", "ProtocolName", "BodyPartExamined", "ImageComments", "SoftwareVersions", "RequestedProcedureDescription",
)  # fmt: skip
OF_SEGMENTS = ("SegmentLabel", "SegmentDescription", "SegmentAlgorithmName", "TrackingID")
OF_ROIS = ("ROIName", "ROIDescription", "ROIGenerationDescription")


@dataclass(frozen=True)
class CommandTree:
    """What the commands are run on; every field is a path.

    image, mask, seg, struct: folders of one series each. study: the folder that holds them. patients: the folder of all.
    burned, masked: the image as Mimics exports a mask, with one value inside of it or outside. archive: a ZIP of image and mask.
    bundle: of Mimics. labels: a labels.toml for `cohort`. segments: a TOML for `export --to seg`. word: a text to type.
    """

    patients: Path
    study: Path
    image: Path
    mask: Path
    seg: Path
    struct: Path
    burned: Path
    masked: Path
    archive: Path
    bundle: Path
    labels: Path
    segments: Path
    word: str


def make_tree(folder: Path, text: Text) -> CommandTree:
    """Write the tree into a folder."""
    root = folder / text("folder of all patients")
    study = root / text("folder of patient") / text("folder of study")
    person = Study(Person("1", "made"), "a")
    image = made_series.write_image(study / text("folder of image"), person, _GRID)
    boxes = [made_series.box(_GRID.shape, *edges) for edges in _BOXES]
    names = ("one", "two")
    made_series.write_mask_series(study / text("folder of mask"), image, boxes[0])
    made_series.write_seg(study / text("folder of seg"), image, list(zip(names, boxes, strict=True)))
    made_series.write_struct(study / text("folder of struct"), image, list(zip(names, boxes, strict=True)))
    _write_second(root / text("folder of second patient"))
    exports = folder / text("folder of exports")
    burned, masked = (exports / text(f"folder of {kind} image") for kind in ("burned", "masked"))
    _write_export(burned, image, boxes[0], inside=4000, number=6)
    _write_export(masked, image, ~boxes[0], inside=0, number=7)
    for number, path in enumerate(sorted([*root.rglob("*.dcm"), *exports.rglob("*.dcm")])):
        _retell(path, text, number)
    bundle = folder / text("folder of bundle")
    _write_bundle(bundle, image, text)
    made = CommandTree(
        root, study, *(study / text(f"folder of {kind}") for kind in ("image", "mask", "seg", "struct")),
        burned, masked, folder / f"{text('folder of archive')}.zip", bundle,
        _write_labels(folder, text), _write_segments(folder, text), text("word"),
    )  # fmt: skip
    write_archive(made)
    return made


def write_archive(tree: CommandTree) -> None:
    """Write the archive of a tree anew, with the image and the mask as they are now."""
    with ZipFile(tree.archive, "w") as packed:
        for path in sorted([*tree.image.iterdir(), *tree.mask.iterdir()]):
            name = path.relative_to(tree.patients).as_posix()
            packed.write(path, name.encode("utf-8", "replace").decode())  # a member has no name of bytes


def _write_export(folder: Path, image: MadeImage, voxels: Voxels, *, inside: int, number: int) -> None:
    """The image with one value where a mask is."""

    def edit(k: int, dataset: Dataset) -> None:
        (path,) = (
            p for p in image.folder.iterdir() if dcmread(p, specific_tags=["InstanceNumber"]).InstanceNumber == k + 1
        )
        values = np.frombuffer(dcmread(path).PixelData, "<u2").copy()
        values[voxels[:, :, k].T.ravel()] = inside
        dataset.PixelData = values.tobytes()

    made_series.write_image(folder, image.study, image.grid, number=number, edit=edit)


def _write_second(folder: Path) -> None:
    study = Study(Person("2", "made too"), "b")
    image = made_series.write_image(folder / "image", study, _GRID)
    made_series.write_struct(folder / "struct", image, [("one", made_series.box(_GRID.shape, *_BOXES[0]))])


def _retell(path: Path, text: Text, number: int) -> None:
    """Put the texts into a file, and give it a name. The identity of the second patient stays another."""
    dataset = dcmread(path)
    second = dataset.PatientID == "2"
    for keyword in OF_EVERY_FILE:
        _set(dataset, keyword, text(keyword) + ("2" if second and keyword in ("PatientID", "PatientName") else ""))
    for item in dataset.get("SegmentSequence", ()):
        for keyword in OF_SEGMENTS:
            _set(item, keyword, f"{text(keyword)}{item.SegmentNumber}")
        meaning = text("CodeMeaning")
        item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = meaning
    for item in dataset.get("StructureSetROISequence", ()):
        for keyword in OF_ROIS:
            _set(item, keyword, f"{text(keyword)}{item.ROINumber}")
    if "StructureSetLabel" in dataset:
        dataset.StructureSetLabel, dataset.StructureSetName = text("StructureSetLabel"), text("StructureSetName")
    dataset.save_as(path, enforce_file_format=True)
    path.rename(path.with_name(f"{text('file')}{number}.dcm"))


def _set(dataset: Dataset, keyword: str, value: str) -> None:
    is_code = (
        dictionary_VR(tag_for_keyword(keyword)) == "CS"
    )  # which no character set holds for; the bytes are the same
    setattr(dataset, keyword, value.encode("utf-8").decode("latin-1") if is_code else value)


def _write_bundle(folder: Path, image: MadeImage, text: Text) -> None:
    grid = image.grid
    knobs = {
        "shape": list(grid.shape), "spacing": list(grid.spacing), "origin": list(grid.origin),
        "names": [text("mask of Mimics") + str(n) for n in range(2)],
    }  # fmt: skip
    with redirect_stdout(StringIO()):
        run_inside(_EXPORT, [str(folder)], knobs)


def _write_labels(folder: Path, text: Text) -> Path:
    """A labels.toml that takes every ROI and segment of the tree. Its own names are plain, as they must be."""
    path = folder / text("file of labels")
    tables = [
        f"[labels.organ{n}]\nvalue = {n}\nrequired = false\n"
        f"names = [{_toml(text('ROIName') + str(n))}, {_toml(text('SegmentLabel') + str(n))}]\n"
        for n in (1, 2)
    ]
    path.write_text("\n".join(tables), "utf-8")
    return path


def _write_segments(folder: Path, text: Text) -> Path:
    """The segments of the mask series, for `export --to seg`."""
    path = folder / text("file of segments")
    path.write_text(f"[[segment]]\nvalue = 1\nname = {_toml(text('label'))}\n", "utf-8")
    return path


def _toml(text: str) -> str:
    """A basic string, with an escape for every sign that is no letter or digit."""
    return '"' + "".join(sign if sign.isalnum() else f"\\U{ord(sign):08x}" for sign in text) + '"'
