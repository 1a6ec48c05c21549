"""A plane that cannot be read, in every command: it refuses its series, as what is converted and as a source."""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import json
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.cli.main import main
from pipeline.dicom.scan import Series, scan
from tests.helpers import rtphantom, segs
from tests.helpers.phantom import Spec, write

SPEC = Spec(shape=(13, 11, 7), row_spacing=1.4, column_spacing=1.1, step=2.5, bits_allocated=8)


class Said:
    """What one call of main printed and exited with."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        words = [str(a) for a in arguments]
        if "leave-out" in words:  # then a record says which file it was
            words.append("--keep-names")
        with pytest.raises(SystemExit) as caught:
            main(words)
        self.exit = caught.value.code or 0
        self.out, self.err = capsys.readouterr()

    def refused(self, code: str = "FILE_UNREAD", name: str = "IM0009.dcm") -> bool:
        return self.exit == 4 and self.err.startswith(f"REFUSED  {code}\n") and name in self.err


def lose(folder: Path) -> None:
    """A plane of the folder is an empty file."""
    (folder / "IM0009.dcm").write_bytes(b"")


def record(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def unread(path: Path) -> list[tuple[str, str, str]]:
    """Code, severity and file of what a record says of files that may be planes."""
    codes = ("FILE_UNREAD", "CORRUPT_FILE")
    return [(f["Code"], f["Severity"], *f["Where"]) for f in record(path)["Findings"] if f["Code"] in codes]


def test_a_lost_end_plane_refuses_or_is_left_out_by_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write(tmp_path / "in", SPEC)
    out = tmp_path / "out.nii.gz"
    truth.paths[-1].write_bytes(b"")
    said = Said(capsys, "convert", truth.folder, "-o", out)
    assert said.refused(name=truth.paths[-1].name)
    assert "--on-unread leave-out" in said.err
    assert not out.exists()
    said = Said(capsys, "convert", truth.folder, "-o", out, "--on-unread", "leave-out")
    assert (said.exit, said.err) == (0, "")
    assert said.out.startswith("UNCONFIRMED")
    assert "agrees" in said.out  # the witness saw no more than we did
    assert unread(tmp_path / "out.json") == [("FILE_UNREAD", "warning", truth.paths[-1].name)]
    assert record(tmp_path / "out.json")["Policy"]["OnUnread"] == "leave-out"


def test_a_file_cut_off_is_left_out_by_the_same_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write(tmp_path / "in", SPEC)
    raw = truth.paths[-1].read_bytes()
    truth.paths[-1].write_bytes(raw[: raw.index(b"\xe0\x7f\x10\x00")])
    ask = ("convert", truth.folder, "-o", tmp_path / "out.nii.gz")
    assert Said(capsys, *ask).refused("CORRUPT_FILE", truth.paths[-1].name)
    said = Said(capsys, *ask, "--on-unread", "leave-out", "--strict")
    assert said.exit == 13
    assert unread(tmp_path / "out.json") == [("CORRUPT_FILE", "warning", truth.paths[-1].name)]


def test_only_the_series_that_may_have_lost_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / name, SPEC, seed=name, description=name)
    lose(tmp_path / "in" / "a")
    broken = write(tmp_path / "in" / "b", SPEC, seed="b", description="b").paths[-1]
    broken.write_bytes(broken.read_bytes()[:700])
    (tmp_path / "in" / "c" / "notes.txt").write_text("no image")
    ask = ("convert", tmp_path / "in", "--crosscheck", "off")
    assert Said(capsys, *ask, "-o", tmp_path / "a.nii", "--series", "a").refused()
    assert Said(capsys, *ask, "-o", tmp_path / "b.nii", "--series", "b").refused("CORRUPT_FILE", broken.name)
    assert Said(capsys, *ask, "-o", tmp_path / "c.nii", "--series", "c").exit == 0
    said = Said(capsys, *ask, "-o", f"{tmp_path / 'out'}/")
    assert said.exit == 8
    assert said.out.splitlines()[-1] == "1 UNCONFIRMED, 2 REFUSED"
    assert said.err.count("REFUSED  ") == 2
    (kept,) = (tmp_path / "out").glob("*.json")
    assert record(kept)["SeriesDescription"] == "c"
    assert [f["Where"] for f in record(kept)["Findings"] if f["Stage"] == "SCAN"] == [
        ["other-file"]
    ]  # by default no file is named
    said = Said(capsys, *ask, "-o", f"{tmp_path / 'all'}/", "--on-unread", "leave-out")
    assert said.exit == 0
    told = {record(p)["SeriesDescription"]: unread(p) for p in (tmp_path / "all").glob("*.json")}
    assert told == {
        "a": [("FILE_UNREAD", "warning", "IM0009.dcm")],
        "b": [("CORRUPT_FILE", "warning", broken.name)],
        "c": [],
    }


def test_a_lost_plane_is_not_charged_to_whatever_has_no_uid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def nameless(_: int, dataset: Dataset) -> None:
        del dataset.SeriesInstanceUID

    truth = write(tmp_path / "in", SPEC)
    write(tmp_path / "in", SPEC, shape=(13, 11, 1), kind="sc", seed="o", series_number=8, extension=".o", edit=nameless)
    truth.paths[-1].write_bytes(truth.paths[-1].read_bytes()[:700])
    ask = ("convert", tmp_path / "in", "--series", "7", "-o", tmp_path / "out.nii.gz")
    assert Said(capsys, *ask).refused("CORRUPT_FILE", truth.paths[-1].name)


def test_a_merge_of_masks_of_which_one_may_have_lost_a_plane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n, name in enumerate(("a", "b")):

        def body(k: int, dataset: Any, n: int = n) -> None:
            pixels = np.zeros((11, 13), np.uint8)
            pixels[2 + 4 * n : 4 + 4 * n, 3:8] = 1
            dataset.PixelData = pixels.tobytes() + b"\0"

        write(tmp_path / "in" / name, SPEC, seed=name, description=name, edit=body)
    lose(tmp_path / "in" / "b")
    ask = ("convert", tmp_path / "in", "--merge", "-o", tmp_path / "all.nii.gz", "--crosscheck", "off")
    assert Said(capsys, *ask).refused()
    assert Said(capsys, *ask, "--on-unread", "leave-out").exit == 0
    assert unread(tmp_path / "all.json") == [("FILE_UNREAD", "warning", "IM0009.dcm")]


def test_a_source_that_may_have_lost_a_plane_is_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def placed(_: int, dataset: Dataset) -> None:
        dataset.FrameOfReferenceUID = "1.2.3"

    mask = write(tmp_path / "mask", SPEC, seed="mask", edit=placed)
    image = write(tmp_path / "image", SPEC, seed="image", content="index", bits_allocated=16, edit=placed)
    shutil.copytree(image.folder, tmp_path / "whole")
    lose(image.folder)
    ask = ("convert", mask.folder, "-o", tmp_path / "out.nii.gz", "--source", image.folder)
    assert Said(capsys, *ask).refused()
    said = Said(capsys, *ask, "--on-unread", "leave-out")
    assert (said.exit, said.out.split()[0]) == (0, "UNCONFIRMED")
    assert unread(tmp_path / "out.json") == [("FILE_UNREAD", "warning", "IM0009.dcm")]
    said = Said(capsys, *ask[:3], tmp_path / "ok.nii.gz", "--source", tmp_path / "whole", "--on-unread", "leave-out")
    assert said.out.startswith("VERIFIED")


def test_a_clean_export_that_may_have_lost_a_plane(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = Spec(shape=(13, 11, 7), content="index", bits_allocated=16)

    def burn(k: int, dataset: Any) -> None:
        pixels = np.frombuffer(dataset.PixelData, np.uint16).reshape(11, 13).copy()
        pixels[3:6, 4:9] = 4000
        dataset.PixelData = pixels.tobytes()

    write(tmp_path / "clean", spec)
    write(tmp_path / "shown", spec, seed="shown", edit=burn)
    ask = ("convert", tmp_path / "shown", "--clean", tmp_path / "clean", "--inside", "4000", "--crosscheck", "off")
    assert Said(capsys, *ask, "-o", tmp_path / "a.nii").exit == 0
    lose(tmp_path / "clean")
    assert Said(capsys, *ask, "-o", tmp_path / "b.nii").refused()
    assert Said(capsys, *ask, "-o", tmp_path / "b.nii", "--on-unread", "leave-out").exit == 0
    assert unread(tmp_path / "b.json") == [("FILE_UNREAD", "warning", "IM0009.dcm")]


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
@pytest.mark.parametrize("given", [True, False])
def test_the_images_of_a_segmentation_or_structure_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, given: bool
) -> None:
    """BackgroundCall it, in a folder of their own, or named by --source."""
    images, own = tmp_path / "in" / "images", tmp_path / "in" / "own"
    own.mkdir(parents=True)
    if kind == "seg":
        segs.source_files(images)
        _, _, source = segs.source_grid(images)
        drawn = segs.frames_of(segs.blobs(1, overlap=False))
        segs.write_seg(
            own / "seg.dcm", drawn, reference=source.frame_of_reference_uid, ReferencedSeriesSequence=[_named(source)]
        )
    else:
        g = rtphantom.grid()
        rtphantom.write_images(images, g)
        box = rtphantom.on(g, rtphantom.rectangle(5, 20, 6, 18), 4)
        rtphantom.write_struct(own / "rs.dcm", [rtphantom.PhantomRoi("box", [box])])
    lose(images)
    inputs = (own, "--source", images) if given else (tmp_path / "in",)
    series = () if given else ("--series", _uid(tmp_path / "in", kind))
    ask = ("convert", *inputs, *series, "-o", tmp_path / "out.nii.gz", "--crosscheck", "off")
    assert Said(capsys, *ask).refused()
    assert Said(capsys, *ask, "--on-unread", "leave-out").exit == 0
    assert unread(tmp_path / "out.json") == [("FILE_UNREAD", "warning", "IM0009.dcm")]


def _named(series: Series) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series.uid
    return item


def _uid(folder: Path, kind: str) -> str:
    return next(s.uid for s in scan([folder]).series if s.kind == kind)


def test_commands_that_compare_with_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write(tmp_path / "image", SPEC, content="index", bits_allocated=16)
    mask = write(tmp_path / "mask", SPEC, seed="mask")
    out = tmp_path / "mask.nii.gz"
    assert Said(capsys, "convert", mask.folder, "-o", out, "--crosscheck", "off").exit == 0
    asked: list[tuple[object, ...]] = [
        ("explain", image.folder),
        ("check", out, image.folder),
        ("diagnose", out, "--source", image.folder),
        ("diagnose", out, "--source", mask.folder, "--mask-series", image.folder),
        ("export", out, "--source", image.folder, "-o", tmp_path / "back"),
        ("convert", image.folder, "--list-values"),
    ]
    lose(image.folder)
    for arguments in asked:
        assert Said(capsys, *arguments).refused(), arguments
    assert not (tmp_path / "back").exists()


def test_series_lists_what_may_be_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in", SPEC)
    for n in range(20, 40):
        (tmp_path / "in" / f"IM{n}.dcm").symlink_to("gone")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    lines = Said(capsys, "series", tmp_path / "in").out.splitlines()[2:]
    assert [line.split("”")[0] for line in lines[:4]] == [f"  “IM{n}.dcm" for n in range(20, 24)]
    assert lines[4:] == ["  16 more files could not be read", "  1 file left out (--left-out lists it)"]
    assert len(Said(capsys, "series", tmp_path / "in", "--left-out").out.splitlines()) == 2 + 21
    listed = json.loads(Said(capsys, "series", tmp_path / "in", "--json").out)["LeftOut"]
    assert [f["Code"] for f in listed].count("FILE_UNREAD") == 20


def tarred(mode: str, plane: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as packed:
        packed.add(plane, "scan/IM0007.dcm")
    return buffer.getvalue()


def zipped(plane: Path, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        packed.write(plane, "scan/IM0007.dcm")
    return buffer.getvalue()


PACKERS: dict[str, Callable[[Path], bytes]] = {
    "IM0007.dcm.gz": lambda plane: gzip.compress(plane.read_bytes()),
    "IM0007.dcm.bz2": lambda plane: bz2.compress(plane.read_bytes()),
    "IM0007.dcm.xz": lambda plane: lzma.compress(plane.read_bytes()),
    "IM0007.dcm.zst": lambda plane: b"\x28\xb5\x2f\xfd" + plane.read_bytes(),
    "im7.7z": lambda plane: b"7z\xbc\xaf\x27\x1c" + plane.read_bytes(),
    "rest.gz": lambda plane: gzip.compress(plane.read_bytes()),
    "rest.zip": zipped,
    "odd.zip": lambda plane: zipped(plane, zipfile.ZIP_LZMA),
    "rest.tar": lambda plane: tarred("w", plane),
    "rest.tgz": lambda plane: tarred("w:gz", plane),
    "rest.tar.xz": lambda plane: tarred("w:xz", plane),
}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("inside", [False, True])
def test_a_last_plane_that_is_packed_beside_the_others_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, inside: bool
) -> None:
    truth = write(tmp_path / "in", SPEC)
    last = truth.paths[-1].rename(tmp_path / "IM0007.dcm")
    if name == "im7.7z":
        for path in truth.paths[:-1]:
            path.rename(path.with_name(path.name.replace("IM000", "im")))
    (truth.folder / name).write_bytes(PACKERS[name](last))
    given = Path(shutil.make_archive(str(tmp_path / "all"), "zip", truth.folder)) if inside else truth.folder
    ask = ("convert", given, "-o", tmp_path / "out.nii.gz", "--crosscheck", "off")
    assert Said(capsys, *ask).refused(name=name)
    assert Said(capsys, *ask, "--on-unread", "leave-out").exit == 0
    assert unread(tmp_path / "out.json") == [("FILE_UNREAD", "warning", name)]


def test_what_is_packed_and_no_loss_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backup of the folder, another series, a copy of a plane, notes, and a mask are no planes that lack."""
    truth = write(tmp_path / "in", SPEC)
    other = write(tmp_path / "other", SPEC, seed="other", description="other")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "IM0009.txt").write_text("no image")
    for name, folder in {"backup": truth.folder, "other": other.folder, "notes": tmp_path / "notes"}.items():
        for kind in ("zip", "gztar", "tar"):
            shutil.make_archive(str(tmp_path / name), kind, folder)
    for path in [*tmp_path.glob("*.zip"), *tmp_path.glob("*.tar*")]:
        path.rename(truth.folder / path.name)
    first = truth.paths[0]
    (truth.folder / f"{first.name}.gz").write_bytes(gzip.compress(first.read_bytes()))
    (truth.folder / f"{first.name}.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    (truth.folder / "mask.nii.gz").write_bytes(gzip.compress(bytes(400)))
    (truth.folder / "IM2020.zip").write_bytes(b"PK\5\6" + bytes(18))
    (truth.folder / "software.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    (truth.folder / "half.zip").write_bytes((truth.folder / "backup.zip").read_bytes()[:900])
    assert Said(capsys, "convert", truth.folder, "-o", tmp_path / "out.nii.gz", "--strict").exit == 0
    assert unread(tmp_path / "out.json") == []


def spread(folder: Path, parts: Sequence[tuple[int | None, int | None]]) -> Path:
    """Spread an instance of eight frames over files of two each, with In-concatenation Number and Total Number as given."""
    path = write(folder, SPEC, kind="enhanced ct", shape=(13, 12, 8), bits_allocated=16).paths[0]
    whole = dcmread(path)
    path.unlink()
    size = whole.Rows * whole.Columns * 2
    for k, (number, total) in enumerate(parts):
        first = 2 * k if number is None else 2 * ((number - 1) % 4)
        part = copy.deepcopy(whole)
        part.PerFrameFunctionalGroupsSequence = whole.PerFrameFunctionalGroupsSequence[first : first + 2]
        part.PixelData = whole.PixelData[first * size : (first + 2) * size]
        part.NumberOfFrames, part.ConcatenationUID, part.InstanceNumber = 2, "1.2.9", 1
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"
        if number is not None:
            part.InConcatenationNumber = number
        if total is not None:
            part.InConcatenationTotalNumber = total
        part.save_as(folder / f"part{k}.dcm")
    return folder


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([(1, 4), (2, 4), (3, 4)], "it has 4 parts, of which 3 are here, and part 4 is not here"),
        ([(1, None), (2, None), (4, None)], "it has 4 parts, of which 3 are here, and part 3 is not here"),
        ([(2, None), (3, None), (4, None)], "part 1 is not here"),
        ([(1, None), (2, None), (2, None)], "2 different files are part 2 of it"),
        ([(1, 3), (2, 3), (3, 4)], "In-concatenation Total Number (0020,9163) is 3 and 4"),
        ([(None, 4), (None, 4), (None, 4)], "it has 4 parts, of which 3 are here"),
        ([(None, 2), (None, 2), (None, 2)], "there are 3 parts"),
    ],
)
def test_a_concatenation_that_is_not_whole_has_lost_planes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], parts: list[tuple[int | None, int | None]], words: str
) -> None:
    given = spread(tmp_path / "in", parts)
    ask = ("convert", given, "-o", tmp_path / "out.nii.gz", "--crosscheck", "off")
    said = Said(capsys, *ask)
    assert said.refused(name="part0.dcm")
    assert words in " ".join(said.err.split())
    if parts[1][0] == 2 and parts[2][0] == 3:  # what is there is an even stack
        assert Said(capsys, *ask, "--on-unread", "leave-out").exit == 0
        assert [found[:2] for found in unread(tmp_path / "out.json")] == [("FILE_UNREAD", "warning")]


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4], [None] * 4])
@pytest.mark.parametrize("total", [4, None])
def test_a_whole_concatenation_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], numbers: list[int | None], total: int | None
) -> None:
    given = spread(tmp_path / "in", [(number, total) for number in numbers])
    assert Said(capsys, "convert", given, "-o", tmp_path / "out.nii.gz", "--crosscheck", "off").exit == 0
    assert record(tmp_path / "out.json")["Findings"] == []
