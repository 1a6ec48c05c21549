"""Make the small valid inputs that are spoilt: a few planes of each kind that a reader or a command takes.

Rules:
- They are made by what the tests make their files with, once, and kept as bytes: nothing is read from elsewhere.
- Every seed converts, or is read, as it is: `tests/test_fuzz.py` holds that.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from unittest import mock

import nibabel
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.fileset import FileSet
from pydicom.pixels import pack_bits
from pydicom.uid import UID

from tests.helpers import rtphantom, segs
from tests.helpers.made_series import MadeGrid, Person, Study, write_bundle, write_image
from tests.helpers.mosaics import Mosaic
from tests.helpers.phantom import Spec, write
from tests.helpers.pixel_kinds import compress_twelve_bits

MASK = Spec(shape=(12, 10, 4), row_spacing=1.4, column_spacing=1.1, step=2.5, seed="fuzz")
BYTES = replace(MASK, bits_allocated=8)
GREY = replace(MASK, content="index", bits_stored=12, rescale=((2.0, -100.0),))
_ROWS_UP = replace(MASK, iop=(1, 0, 0, 0, -1, 0))
_ROOT = "1.2.826.0.1.3680043.10.1111.7"
Files = dict[str, bytes]

CASES = """\
[roots]
here = { path = "." }

[[case]]
id = "one"
path = "dcm"
root = "here"
options = ["--crosscheck", "off"]
licence = "MIT"
why = "a mask of a few planes"
expected = "unconfirmed"
"""
LABELS = """\
[labels.liver]
value = 1
names = ["Liver", "Leber*"]
colour = "#dd8265"
required = true

[labels.tumour]
value = 2
regex = ["GTV.*"]
inside = "liver"

[ignore]
names = ["body"]

[options]
overlap = "regions"
"""
SEGMENTS = """\
[[segment]]
value = 1
name = "Liver"
category = ["91723000", "SCT", "Anatomical Structure"]
type = ["10200004", "SCT", "Liver"]
colour = [221, 130, 101]
algorithm = "SEMIAUTOMATIC"
algorithm_name = "region growing"
"""


@dataclass(frozen=True)
class Seed:
    """One valid input. files: by their path in the folder of the input. commands: words of command lines, {in} the folder of the
    input and {out} an empty one; `as`: what `Policy.as_` decodes it."""

    name: str
    files: Files
    commands: tuple[str, ...]
    read: str = "dicom"
    as_: str = "mask"


_OFF = "--crosscheck off"
_LOOK = ("series {in}", "explain {in}", "describe {in} -o {out}/d.json", "series {in} --json")
_CONVERT = (f"convert {{in}} -o {{out}}/o.nii.gz {_OFF}",) * 4 + (f"convert {{in}} -o {{out}}/ {_OFF}",)
_AS_IMAGE = tuple(f"{line} --as image" for line in _CONVERT)
_SOURCED = (
    f"convert {{in}}/mask --source {{in}}/src -o {{out}}/ {_OFF}",
    f"convert {{in}} -o {{out}}/ {_OFF}",
    f"convert {{in}}/mask -o {{out}}/ {_OFF}",
    "explain {in}/mask --source {in}/src",
    "series {in}/mask",
    "describe {in}",
)
_RESULTS = (
    "check {in}/m.nii {in}/z.nii.gz",
    "check {in}/m.nii {in}/dcm",
    "explain {in}/m.nii",
    "verify {in}/z.nii.gz",
    "verify {in} --dicom {in}/dcm",
    "diagnose {in}/m.nii --source {in}/dcm --fix {out}/f.nii.gz",
    "diagnose {in}/z.nii.gz --source {in}/dcm --mask-series {in}/dcm",
    "export {in}/m.nii --source {in}/dcm -o {out}/e",
    "export {in}/m.nii --source {in}/dcm -o {out}/e --to seg --segments {in}/segments.toml",
    f"convert {{in}}/dcm --like {{in}}/m.nii -o {{out}}/o.nii.gz {_OFF}",
    "report {in}/z.json -o {out}/p.html",
    "to-mimics {in}/m.nii {in}/bundle -o {out}/b",
    "export {in}/bundle --source {in}/src --mask-name bone -o {out}/e",
    "regress {in}/cases.toml",
)


def seeds(names: set[str] | None = None) -> list[Seed]:
    """Make every seed, or those of these names, in their order."""
    made = []
    with tempfile.TemporaryDirectory() as loose:
        for name, (make, commands, read, as_) in _SEEDS.items():
            if names is None or name in names:
                folder = Path(loose, name)
                folder.mkdir()
                make(folder)
                files = {
                    p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
                }
                made.append(Seed(name, files, commands, read, as_))
                shutil.rmtree(folder)
    return made


def _series(**changes: object) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write(folder, MASK, **changes)

    return make


def _extended(folder: Path) -> None:
    for path in write(folder, GREY, bits_stored=None, rescale=()).paths:
        compress_twelve_bits(path)


def _overlay(folder: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        bits = np.zeros((10, 12), np.uint8)
        bits[2 + k : 7, 3 : 6 + k] = 1
        for element, vr, value in ((0x10, "US", 10), (0x11, "US", 12), (0x100, "US", 1), (0x102, "US", 0)):
            dataset.add_new((0x6000, element), vr, value)
        dataset.add_new((0x6000, 0x40), "CS", "R")
        dataset.add_new((0x6000, 0x50), "SS", [1, 1])
        dataset.add_new((0x6000, 0x3000), "OW", pack_bits(bits.ravel(), pad=True))

    write(folder, GREY, edit=edit)


def _burned(folder: Path) -> None:
    def burn(k: int, dataset: Dataset) -> None:
        values = np.frombuffer(dataset.PixelData, "<u2").reshape(10, 12).copy()
        values[2 + k : 7, 3 : 6 + k] = 3000
        dataset.PixelData = values.tobytes()
        dataset.SeriesInstanceUID = dataset.SeriesInstanceUID[:-2] + ".1"
        dataset.SOPInstanceUID = dataset.SOPInstanceUID[:-2] + ".1"

    write(folder / "src", GREY, rescale=())
    write(folder / "mask", GREY, rescale=(), edit=burn)


def _mosaic(folder: Path) -> None:
    Mosaic(replace(MASK, content="index", kind="mr", bits_stored=12, shape=(8, 8, 5))).write(folder / "sheet.dcm")


def _seg(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        place = replace(segs.PLACE, rows=10, columns=12, planes=4)
        with mock.patch.object(segs, "generate_uid", side_effect=(f"{_ROOT}.{n}" for n in count(1))):
            _write_seg(folder, place, kind)

    return make


def _write_seg(folder: Path, place: segs.Place, kind: str) -> None:
    segs.source_files(folder / "src", place)
    truth = segs.blobs(2, overlap=kind == "BINARY", shape=(12, 10, 4))
    frames = segs.frames_of(truth)
    if kind == "FRACTIONAL":
        frames = [replace(f, pixels=(f.pixels * 200).astype(np.uint8)) for f in frames]
    if kind == "LABELMAP":
        labels = sum(truth[n].astype(np.uint8) * (n + 1) for n in range(2))
        frames = [segs.SegFrame(None, k, labels[:, :, k].T) for k in range(4)]
    frame = dcmread(next((folder / "src").iterdir())).FrameOfReferenceUID
    (folder / "mask").mkdir()
    segs.write_seg(folder / "mask" / "seg.dcm", frames, place, kind=kind, reference=frame)


def _struct(folder: Path) -> None:
    grid = rtphantom.grid(shape=(12, 10, 4))
    rtphantom.write_images(folder / "src", grid)
    (folder / "mask").mkdir()
    outlines = [rtphantom.on(grid, rtphantom.ellipse(5, 4, 3.2, 2.7, 12), k) for k in (1, 2)]
    box = [rtphantom.on(grid, rtphantom.rectangle(0.6, 4.4, 1.6, 7.4), k) for k in range(3)]
    rois = [rtphantom.PhantomRoi("liver", outlines, 1), rtphantom.PhantomRoi("box", box, 2)]
    rtphantom.write_struct(folder / "mask" / "rs.dcm", rois)


def _medium(folder: Path) -> None:
    made = FileSet()
    made.UID = UID(f"{_ROOT}.0")
    with tempfile.TemporaryDirectory() as loose:
        for path in sorted(write(Path(loose), MASK).paths):
            dataset = dcmread(path)
            dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "101010", "1"
            made.add(dataset)
        made.write(folder)


def _zipped(folder: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(write(folder / "CT", MASK).paths):
            archive.writestr(zipfile.ZipInfo(f"CT/{path.name}", (2020, 1, 1, 0, 0, 0)), path.read_bytes())
    shutil.rmtree(folder / "CT")
    (folder / "export.zip").write_bytes(packed.getvalue())


def _image() -> tuple[MadeGrid, Study]:
    return MadeGrid(shape=(12, 10, 4)), Study(Person("P1", "Made^Person"), "a")


def _bundle(folder: Path) -> None:
    grid, study = _image()
    with tempfile.TemporaryDirectory() as loose:
        write_bundle(folder, write_image(Path(loose), study, grid))


def _results(folder: Path) -> None:
    from pipeline.conversion.convert import convert
    from pipeline.core.policy import Policy

    write(folder / "dcm", BYTES)
    convert([folder / "dcm"], folder / "z.nii.gz", policy=Policy(crosscheck="off"))
    nibabel.save(nibabel.load(folder / "z.nii.gz"), folder / "m.nii")
    record = json.loads((folder / "z.json").read_text("utf-8"))
    assert record["Verdict"]
    grid, study = _image()
    write_bundle(folder / "bundle", write_image(folder / "src", study, grid))
    (folder / "cases.toml").write_text(CASES)
    (folder / "segments.toml").write_text(SEGMENTS)


def _text(name: str, text: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_text(text)

    return make


_Row = tuple[Callable[[Path], None], tuple[str, ...], str, str]


def _rows() -> Iterator[tuple[str, _Row]]:
    masks = {
        "mask": _series(),
        "mask8": _series(bits_allocated=8),
        "labels": _series(bits_allocated=8, labels=(3, 7, 12), iop=_ROWS_UP.iop),
        "implicit": _series(transfer_syntax="implicit"),
        "bigendian": _series(transfer_syntax="big endian"),
        "deflated": _series(transfer_syntax="deflated"),
        "rle": _series(transfer_syntax="rle"),
        "jpegll": _series(transfer_syntax="jpeg lossless", bits_allocated=8),
        "jpegls": _series(transfer_syntax="jpeg-ls"),
        "sc1bit": _series(kind="multi-frame sc", bits_allocated=1),
        "dicomdir": _medium,
        "zip": _zipped,
    }
    for name, make in masks.items():
        yield name, (make, _CONVERT + _LOOK, "dicom", "mask")
    grey = {"content": "index", "bits_stored": 12}
    images = {
        "image": _series(**grey, rescale=((2.0, -100.0),), transfer_syntax="explicit"),
        "slopes": _series(**grey, rescale=((1.0, 0.0), (1.5, 0.0), (2.0, 0.0), (1.25, 0.0))),
        "j2k": _series(**grey, shape=(33, 32, 3), transfer_syntax="jpeg 2000"),
        "jpegext": _extended,
        "enhanced": _series(**grey, kind="enhanced mr"),
        "mosaic": _mosaic,
    }
    for name, make in images.items():
        yield name, (make, _AS_IMAGE + _LOOK, "dicom", "image")
    sourced = {"seg": _seg("BINARY"), "segfrac": _seg("FRACTIONAL"), "seglab": _seg("LABELMAP"), "rtstruct": _struct}
    for name, make in sourced.items():
        yield name, (make, _SOURCED, "dicom", "mask")
    burned = (f"convert {{in}}/mask --clean {{in}}/src -o {{out}}/ {_OFF}", *_SOURCED[1:])
    yield "burned", (_burned, burned, "dicom", "mask")
    yield "overlay", (_overlay, _CONVERT + _LOOK, "dicom", "mask")
    yield "bundle", (_bundle, (*_CONVERT, "explain {in}"), "dicom", "mask")
    yield "results", (_results, _RESULTS, "results", "mask")
    yield "cases", (_text("cases.toml", CASES), ("regress {in}/cases.toml",), "cases", "mask")
    yield "labelmap", (_text("labels.toml", LABELS), (), "labels", "mask")
    yield "segments", (_text("segments.toml", SEGMENTS), (), "segments", "mask")


_SEEDS = dict(_rows())
