"""Input that is a ZIP archive or a DICOMDIR, and files of other kinds: read rightly, or refused in words that fit."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.fileset import FileSet

from pipeline.core.findings import Code, PipelineError
from pipeline.dicom import archive as archives
from pipeline.dicom.other_kinds import KINDS, kind_of
from pipeline.dicom.scan import Scan, scan
from tests.helpers.phantom import Spec, Truth, write
from tests.test_unread import Said, record, unread

SPEC = Spec(shape=(13, 11, 7), row_spacing=1.4, column_spacing=1.1, step=2.5, bits_allocated=8)
IMAGE = Spec(shape=(13, 11, 7), row_spacing=1.4, column_spacing=1.1, step=2.5, content="index", bits_allocated=16)


def pack(target: Path, *folders: Path, method: int = zipfile.ZIP_DEFLATED, **more: bytes) -> Path:
    """Pack folders, and further members by their names."""
    with zipfile.ZipFile(target, "w", method) as packed:
        for folder in folders:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                packed.write(path, str(path.relative_to(folder.parent)))
        for name, content in more.items():
            packed.writestr(name, content)
    return target


def spoil_entry(path: Path, number: int, offset: int, value: bytes) -> None:
    """Change a field of one entry of the central directory."""
    raw = bytearray(path.read_bytes())
    at = -1
    for _ in range(number + 1):
        at = raw.index(b"PK\1\2", at + 1)
    raw[at + offset : at + offset + len(value)] = value
    path.write_bytes(bytes(raw))


def refused(*inputs: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        scan(list(inputs))
    return caught.value


def reasons(found: Scan) -> dict[str, str]:
    return {left.finding.where[0]: left.finding.message for left in found.left_out}


def truth_of(output: Path, truth: Truth) -> None:
    """Hold a file's voxels against the phantom's, at the places of its own affine."""
    image = nibabel.load(output)
    data = np.asanyarray(image.dataobj)
    to_ours = np.linalg.inv(np.diag([-1.0, -1, 1, 1]) @ image.affine) @ truth.lps
    for index in np.ndindex(truth.ijk.shape):
        ours = np.rint(to_ours @ [*index, 1])[:3].astype(int)
        assert data[tuple(ours)] == truth.ijk[index]


# --- archives


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_gives_the_same_record_as_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: int
) -> None:
    truth = write(tmp_path / "Größe – 肝臓", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder, method=method)
    for given, name in ((packed, "zip"), (truth.folder, "folder")):
        (tmp_path / name).mkdir()
        said = Said(capsys, "convert", given, "-o", tmp_path / name / "out.nii.gz", "--crosscheck", "voxels")
        assert (said.exit, said.out.split()[0]) == (0, "VERIFIED")
    truth_of(tmp_path / "zip" / "out.nii.gz", truth)
    records = [record(tmp_path / name / "out.json") for name in ("zip", "folder")]
    for one in records:
        del one["Provenance"]["Command"], one["RecordSHA256"]
    assert records[0] == records[1]  # which name neither
    assert (tmp_path / "zip" / "out.nii.gz").read_bytes() == (tmp_path / "folder" / "out.nii.gz").read_bytes()


def test_what_zip_programs_add_and_how_they_name(tmp_path: Path) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = tmp_path / "mac.zip"
    with zipfile.ZipFile(packed, "w") as made:
        made.mkdir("CT") if hasattr(made, "mkdir") else made.writestr("CT/", b"")
        for path in truth.paths:
            made.write(path, f".\\CT\\{path.name}")  # backslashes are what .NET writes
            made.writestr(f"__MACOSX/CT/._{path.name}", b"\0\5\x16\7\0\2\0\0Mac OS X")
        made.writestr("CT/.DS_Store", b"\0\0\0\1Bud1")
        made.writestr("CT/DICOMDIR", b"")
        link = zipfile.ZipInfo("CT/latest.dcm")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        made.writestr(link, truth.paths[0].name)
    found = scan([packed])
    assert sorted(f.sop_instance_uid for f in found.series[0].frames) == sorted(truth.sop_uids)
    assert found.series[0].folder == "CT"
    assert set(reasons(found)) == {"__MACOSX", ".DS_Store", "DICOMDIR"}


def test_a_link_to_nothing_may_be_a_plane(tmp_path: Path) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder)
    with zipfile.ZipFile(packed, "a") as made:
        link = zipfile.ZipInfo("CT/IM0099.dcm")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        made.writestr(link, "../elsewhere/IM0099.dcm")
    assert "a link to something that is not there" in reasons(scan([packed]))["IM0099.dcm"]


def test_several_series_masks_and_a_multi_frame_file_in_one_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = write(tmp_path / "in" / "mask", SPEC, seed="mask", description="mask")
    many = Spec(shape=(16, 12, 9), kind="enhanced mr", content="index", bits_allocated=16)
    whole = write(tmp_path / "in" / "many", many, seed="many", description="many")
    packed = pack(tmp_path / "in.zip", tmp_path / "in")
    for series, truth, more in (("mask", mask, ()), ("many", whole, ("--as", "image"))):
        out = tmp_path / f"{series}.nii.gz"
        assert Said(capsys, "convert", packed, "--series", series, "-o", out, *more).exit == 0
        truth_of(out, truth)


def test_compressed_frames_are_decoded_in_processes_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = Spec(shape=(24, 20, 104), row_spacing=0.8, column_spacing=1.3, transfer_syntax="jpeg-ls", bits_allocated=8)
    truth = write(tmp_path / "in", spec)
    out = tmp_path / "out.nii.gz"
    assert Said(capsys, "convert", pack(tmp_path / "in.zip", truth.folder), "-o", out).exit == 0
    truth_of(out, truth)


def test_every_command_that_takes_a_folder_takes_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def placed(_: int, dataset: Dataset) -> None:
        dataset.FrameOfReferenceUID = "1.2.3"

    mask = write(tmp_path / "mask", SPEC, seed="mask", edit=placed)
    image = write(tmp_path / "image", IMAGE, seed="image", edit=placed)
    packed, source = pack(tmp_path / "mask.zip", mask.folder), pack(tmp_path / "image.zip", image.folder)
    out = tmp_path / "out.nii.gz"
    for given in (
        ("series", packed),
        ("explain", packed),
        ("convert", packed, "--list-values"),
        ("convert", packed, "-o", out, "--source", source),
        ("convert", packed, "-o", tmp_path / "like.nii.gz", "--like", out),
        ("convert", packed, "-o", f"{tmp_path / 'all'}/"),
        ("check", out, source),
        ("diagnose", out, "--source", source, "--mask-series", packed),
        ("export", out, "--source", source, "-o", tmp_path / "seg", "--to", "seg"),
        ("export", out, "--source", source, "-o", tmp_path / "planes"),
    ):
        assert Said(capsys, *given).exit == 0, given
    assert [p.name for p in (tmp_path / "all").glob("*.nii.gz")]


def test_an_archive_in_a_folder(tmp_path: Path) -> None:
    truth = write(tmp_path / "in" / "CT", SPEC)
    other = write(tmp_path / "MR", SPEC, seed="other")
    pack(tmp_path / "in" / "old.zip", other.folder)
    found = scan([tmp_path / "in"])  # the folder has images of its own
    assert len(found.series) == 1
    assert "give" in reasons(found)["old.zip"]
    assert "ZIP" in reasons(found)["old.zip"]
    shutil.rmtree(truth.folder)
    assert len(scan([tmp_path / "in"]).series[0].frames) == 7  # it has none but in the archive
    (tmp_path / "in" / "old.zip").rename(tmp_path / "in" / "export")
    assert len(scan([tmp_path / "in"]).series[0].frames) == 7
    (tmp_path / "in" / "half.zip").write_bytes((tmp_path / "in" / "export").read_bytes()[:900])
    found = scan([tmp_path / "in"])  # a damaged one beside it has no part in the other
    assert len(found.series[0].frames) == 7
    assert "half.zip" in reasons(found)


def test_the_same_files_twice_are_copies(tmp_path: Path) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "a.zip", truth.folder)
    shutil.copy(packed, tmp_path / "b.zip")
    for given in ([packed, packed], [packed, truth.folder], [packed, tmp_path / "b.zip"]):
        found = scan(given)
        assert len(found.series[0].frames) == 7
        copies = [left for left in found.left_out if "a copy of" in left.finding.message]
        assert len(copies) == (0 if given[0] is given[1] else 7)


def test_a_name_that_is_in_the_archive_twice(tmp_path: Path) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "a.zip", truth.folder)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(packed, "a") as more:
        more.write(truth.paths[0], f"CT/{truth.paths[0].name}")
    assert not scan([packed]).left_out
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(packed, "a") as more:
        more.write(truth.paths[1], f"CT/{truth.paths[0].name}")
    assert "two different files of this name" in reasons(scan([packed]))[truth.paths[0].name]


@pytest.mark.parametrize(
    ("offset", "value", "words", "hint"),
    [
        (8, struct.pack("<H", 1), "it is encrypted in export.zip", "with its password"),
        (10, struct.pack("<H", 9), "is compressed in export.zip by Deflate64", "Unpack export.zip"),
        (10, struct.pack("<H", 12), "is compressed in export.zip by bzip2", "Unpack export.zip"),
        (10, struct.pack("<H", 14), "is compressed in export.zip by LZMA", "Unpack export.zip"),
        (24, struct.pack("<I", 0xFFFFFFF0), "at most 2 are read from an archive", "Unpack export.zip"),
        (24, struct.pack("<I", 1 << 30), "unpacks to", "Unpack export.zip"),
        (24, struct.pack("<I", 900), "its bytes in export.zip are damaged", "export the archive again"),
        (16, b"\1\2\3\4", "its bytes in export.zip are damaged: bad CRC-32", "export the archive again"),
        (46, b"../", "leads out of the archive", "from their folder"),
        (46, b"/CT", "leads out of the archive", "from their folder"),
        (46, b"C:/", "leads out of the archive", "from their folder"),
    ],
)
def test_a_member_that_is_not_read_is_a_lost_plane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], offset: int, value: bytes, words: str, hint: str
) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder)
    spoil_entry(packed, 2, offset, value)
    name = zipfile.ZipFile(packed).namelist()[2].rsplit("/")[-1]
    ask = ("convert", packed, "-o", tmp_path / "out.nii.gz")
    said = Said(capsys, *ask)
    assert said.refused(name=name)
    flat = " ".join(said.err.split())
    assert {words, hint, "--on-unread leave-out"} == {
        part for part in (words, hint, "--on-unread leave-out") if part in flat
    }
    assert Said(capsys, *ask, "--on-unread", "leave-out", "--on-gap", "fill").exit == 0


@pytest.mark.parametrize("place", ["", "CT/"])
def test_a_folder_with_bytes_may_be_a_plane(tmp_path: Path, place: str) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("CT/", b"what some program puts there")
        for path in truth.paths[:-1]:
            made.write(path, f"CT/{path.name}")
        made.writestr(f"{place}IM0007.dcm/", truth.paths[-1].read_bytes())
    (left,) = scan([packed]).left_out
    assert (left.finding.code, left.finding.where) == (Code.FILE_UNREAD, ("IM0007.dcm",))
    assert "as a folder, and has" in left.finding.message


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("more", [-2, 2, 4000])
def test_a_member_of_another_length_than_is_listed_is_not_read(tmp_path: Path, method: int, more: int) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder, method=method)
    with zipfile.ZipFile(packed) as whole:
        info = whole.infolist()[2]
    spoil_entry(packed, 2, 24, struct.pack("<I", info.file_size + more))
    (left,) = scan([packed]).left_out
    assert (left.finding.code, left.finding.where) == (Code.FILE_UNREAD, (Path(info.filename).name,))


@pytest.mark.parametrize("at", [60, 600, -400])
def test_damaged_bytes_anywhere_in_a_member(tmp_path: Path, at: int) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder)
    with zipfile.ZipFile(packed) as whole:
        info = whole.infolist()[3]
    raw = bytearray(packed.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    place = start + (at if at > 0 else info.compress_size // 2)
    place = min(place, start + info.compress_size - 8)
    raw[place : place + 4] = bytes(b ^ 0xFF for b in raw[place : place + 4])
    packed.write_bytes(bytes(raw))
    (left,) = scan([packed]).left_out
    assert left.finding.code in (Code.FILE_UNREAD, Code.CORRUPT_FILE)
    assert left.finding.where == (Path(info.filename).name,)


def test_a_damaged_list_and_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder)
    half = tmp_path / "half.zip"
    half.write_bytes(packed.read_bytes()[:2000])
    assert refused(half).finding.code is Code.CORRUPT_FILE
    assert "list of files" in refused(half).finding.message
    monkeypatch.setattr(archives, "MOST_MEMBERS", 6)
    archives._open_as_it_is.cache_clear()
    error = refused(packed)
    assert (error.finding.code, error.finding.measured, error.finding.limit) == (Code.FILE_UNREAD, 7, 6)


@pytest.mark.parametrize("name", ["export.zip", "EXPORT.EXE"])
def test_an_archive_that_unpacks_itself_is_read(tmp_path: Path, name: str) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "plain.zip", truth.folder)
    (tmp_path / "in").mkdir()
    itself = tmp_path / "in" / name
    itself.write_bytes(b"#!/bin/sh\n" * 50 + packed.read_bytes())
    for given in (itself, itself.parent):
        assert len(scan([given]).series[0].frames) == 7
    assert "give" in reasons(scan([itself.parent, truth.folder]))[name]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"x", mtime=0), "export.zip is a compressed file, not DICOM"),
        (bytes(257) + b"ustar" + bytes(300), "export.zip is a packed archive, not DICOM"),
        (b"<html>not found</html>", "export.zip is a web page, not DICOM"),
        (b"something", "no DICOM image among the 1 files of export.zip"),
    ],
)
def test_what_is_called_a_zip_archive_and_is_none_is_called_what_it_is(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "export.zip").write_bytes(content)
    error = refused(tmp_path / "export.zip")
    assert error.finding.code is Code.NO_DICOM
    assert error.finding.message == words
    assert "within an archive" not in error.finding.hint


def test_archives_of_nothing_that_is_dicom(tmp_path: Path) -> None:
    empty = pack(tmp_path / "empty.zip")
    assert "no DICOM image among the 0 files of empty.zip" in refused(empty).finding.message
    nested = pack(tmp_path / "outer.zip", **{"inner.zip": empty.read_bytes(), "notes.txt": b"hello"})
    error = refused(nested)
    assert "a ZIP archive within an archive (inner.zip)" in error.finding.message
    assert "inner ones" in error.finding.hint
    bundle = pack(tmp_path / "bundle.zip", **{"bundle.json": b"{}", "mask-1.raw.gz": gzip.compress(b"\0")})
    assert "mimics-script" in refused(bundle).finding.hint


def test_a_member_of_many_zeros_is_not_taken_for_a_bomb(tmp_path: Path) -> None:
    spec = Spec(shape=(512, 512, 12), kind="enhanced mr", bits_allocated=8)

    def blank(k: int, dataset: Dataset) -> None:
        dataset.PixelData = bytes(len(dataset.PixelData))

    truth = write(tmp_path / "CT", spec, edit=blank)
    packed = pack(tmp_path / "export.zip", truth.folder)
    assert packed.stat().st_size * 300 < truth.paths[0].stat().st_size
    assert len(scan([packed]).series[0].frames) == 12


def test_memory_stays_bounded_by_what_is_kept(tmp_path: Path) -> None:
    blobs = {f"IM{n:04}": os.urandom(1 << 20) for n in range(5)}
    packed = pack(tmp_path / "big.zip", **blobs)
    kept = 3 << 20
    opened = archives._Archive(packed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(archives, "_KEPT", kept)
        for member in [*opened.infos, *opened.infos]:
            assert opened.read(member, (1 << 20) - 9, 9) == blobs[str(member)][-9:]
            assert sum(map(len, opened._kept.values())) <= kept


def test_a_name_with_terminal_escapes_is_printed_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder, **{"CT/IM\x1b]0;owned\x07\x9b31m9.dcm": b"junk"})
    for given in (
        ("convert", packed, "-o", tmp_path / "out.nii.gz"),
        ("series", packed, "--left-out"),
        ("series", pack(tmp_path / "a\x1b[31m.zip", **{"b\x1b[2J.stl": b"solid x"})),
        ("series", write(tmp_path / "MR", SPEC, description="liver\x1b[2J").folder),
    ):
        said = Said(capsys, *given)
        shown = said.out + said.err
        assert "\\x1b" in shown
        assert not set(shown) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_nothing_stays_of_what_witnesses_unpack(tmp_path: Path) -> None:
    truth = write(tmp_path / "CT", SPEC)
    packed = pack(tmp_path / "export.zip", truth.folder)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "convert",
        packed,
        "-o",
        tmp_path / "out.nii",
        "--crosscheck",
        "voxels",
    ]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    subprocess.run([str(c) for c in command], env=environment, check=True, capture_output=True)
    assert not list(temporary.iterdir())
    killed = subprocess.Popen(
        [*map(str, command[:-3]), str(tmp_path / "more.nii"), *command[-2:]], env=environment, stdout=subprocess.DEVNULL
    )
    waited_until(lambda: any(name.endswith(".dcm") for *_, names in os.walk(temporary) for name in names))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    waited_until(lambda: not list(temporary.iterdir()))


def waited_until(done: Callable[[], bool], limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


# Where bytes of inputs are read in another way, which a path into an archive would break; each with the reason.
_OTHER_READS = {
    "dicom/fast_header.py": "by descriptor, and by `open_source` where there is none",
    "dicom/source_file.py": "it is the one place",
    "dicom/archive.py": "the archive itself",
    "dicom/packed_planes.py": "what is packed in an open file",
    "dicom/encoding.py": "pydicom on an open file",
    "crosscheck/dicom2nifti.py": "pydicom on an open file",
}


def test_bytes_of_inputs_are_read_in_one_place() -> None:
    rooms = ("dicom", "decode", "crosscheck", "encode", "stacking")
    reads = re.compile(
        r"\.open\(|open_regular\(|descriptor_of\(|\bopen\(|\.read_bytes\(|dcmread\(|read_partial\(|memmap\(|fromfile\("
    )
    written_elsewhere = {
        "crosscheck/child.py",
        "dicom/decoder_worker.py",
        "encode/segments.py",
        *(f"crosscheck/mask_readers/{name}.py" for name in ("dcmqi", "drawn_contours", "highdicom", "printed_grid")),
    }  # pipes, the null device, TOML; files that `job_files` laid out for a reader
    root = Path(archives.__file__).parents[1]
    found = {
        path.relative_to(root).as_posix()
        for room in rooms
        for path in (root / room).rglob("*.py")
        if reads.search(path.read_text("utf-8"))
    }
    assert found - written_elsewhere == set(_OTHER_READS)


# --- DICOMDIR


def make_medium(folder: Path, *truths: Truth) -> Path:
    made = FileSet()
    for truth in truths:
        for path in truth.paths:
            dataset = dcmread(path)
            dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "101010", "1"
            made.add(dataset)
    made.write(folder)
    return folder / "DICOMDIR"


def test_a_dicomdir_stands_for_the_files_it_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write(tmp_path / "CT", SPEC)
    given = make_medium(tmp_path / "cd", truth)
    other = write(tmp_path / "cd" / "unlisted", SPEC, seed="other")
    out = tmp_path / "out.nii.gz"
    assert Said(capsys, "convert", given, "-o", out).exit == 0
    truth_of(out, truth)
    assert len(scan([given]).series) == 1
    assert len(scan([given, tmp_path / "cd"]).series) == 2
    assert other
    listed = sorted(p for p in (tmp_path / "cd").rglob("*") if p.is_file() and "unlisted" not in p.parts)
    for path in listed[::-1]:
        if path.name != "DICOMDIR":  # as some readers of CDs show names
            path.rename(path.with_name(path.name.lower() + ".;1"))
    assert len(scan([given]).series[0].frames) == 7


def test_a_file_that_a_dicomdir_lists_and_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ones, twos = (
        write(tmp_path / "a", SPEC, seed="a", description="a"),
        write(tmp_path / "b", SPEC, seed="b", description="b"),
    )
    given = make_medium(tmp_path / "cd", ones, twos)
    of_a = [p for p in (tmp_path / "cd").rglob("IM*") if dcmread(p).SeriesDescription == "a"]
    lost = next(p for p in of_a if dcmread(p).SOPInstanceUID == ones.sop_uids[-1])
    lost.unlink()
    ask = ("convert", given, "-o", tmp_path / "out.nii.gz", "--series")
    said = Said(capsys, *ask, "a")
    assert said.refused(name=lost.name)
    assert "DICOMDIR lists it" in said.err
    assert Said(capsys, *ask, "b").exit == 0  # the DICOMDIR says which series lost it
    assert Said(capsys, *ask[:3], tmp_path / "a.nii.gz", "--series", "a", "--on-unread", "leave-out").exit == 0
    assert [found[:2] for found in unread(tmp_path / "a.json")] == [("FILE_UNREAD", "warning")]
    for path in of_a:
        path.unlink(missing_ok=True)
    found = scan([given])
    assert [left.finding.severity.value for left in found.left_out] == ["warning"]
    assert "none of its 7 files is there" in found.left_out[0].finding.message
    shutil.copy(given, tmp_path / "DICOMDIR")
    error = refused(tmp_path / "DICOMDIR")
    assert error.finding.code is Code.NO_SUCH_INPUT
    assert "lists 14 files, and none of them is there" in error.finding.message


def unnamed(_: Path, items: list[Dataset]) -> None:
    del items[-1].ReferencedFileID


def empty(_: Path, items: list[Dataset]) -> None:
    items[-1].ReferencedFileID = ""


def named_again(_: Path, items: list[Dataset]) -> None:
    items[-1].ReferencedFileID = items[0].ReferencedFileID


def named_again_by_number(_: Path, items: list[Dataset]) -> None:
    named_again(_, items)
    for item in items:
        del item.ReferencedSOPInstanceUIDInFile


def itself(_: Path, items: list[Dataset]) -> None:
    items[-1].ReferencedFileID = "DICOMDIR"


def no_dicom(medium: Path, items: list[Dataset]) -> None:
    (medium / "README.TXT").write_text("no image")
    items[-1].ReferencedFileID = "README.TXT"


def edit_records(given: Path, edit: Callable[[Path, list[Dataset]], None]) -> None:
    dataset = dcmread(given)
    edit(given.parent, [item for item in dataset.DirectoryRecordSequence if item.DirectoryRecordType == "IMAGE"])
    dataset.save_as(given)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("edit", [unnamed, empty, named_again, named_again_by_number, itself, no_dicom])
def test_a_record_of_a_dicomdir_that_leads_to_no_plane_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[Path, list[Dataset]], None]
) -> None:
    given = make_medium(tmp_path / "cd", write(tmp_path / "CT", SPEC))
    edit_records(given, edit)
    ask = ("convert", given, "-o", tmp_path / "out.nii.gz", "--crosscheck", "off")
    assert Said(capsys, *ask).refused(name="")
    assert Said(capsys, *ask, "--on-unread", "leave-out").exit == 0
    assert [found[:2] for found in unread(tmp_path / "out.json")] == [("FILE_UNREAD", "warning")]


def test_records_of_a_dicomdir_that_repeat_or_are_deleted_lose_nothing(tmp_path: Path) -> None:
    given = make_medium(tmp_path / "cd", write(tmp_path / "CT", SPEC))

    def edit(_: Path, items: list[Dataset]) -> None:
        named_again(_, items)
        items[-1].ReferencedSOPInstanceUIDInFile = items[0].ReferencedSOPInstanceUIDInFile
        items[-2].RecordInUseFlag = 0
        items[-3].MRDRDirectoryRecordOffset = 400  # another record lists its file, which is not looked for
        del items[-3].ReferencedFileID

    edit_records(given, edit)
    found = scan([given])
    assert len(found.series[0].frames) == 4
    assert not found.left_out


def test_a_dicomdir_whose_records_lead_astray(tmp_path: Path) -> None:
    truth = write(tmp_path / "CT", SPEC)
    given = make_medium(tmp_path / "cd", truth)
    dataset = dcmread(given)
    images = [item for item in dataset.DirectoryRecordSequence if "ReferencedFileID" in item]
    images[0].ReferencedFileID = ["..", "CT", truth.paths[0].name]
    images[1].RecordInUseFlag = 0
    dataset.save_as(given)
    found = scan([given])
    assert len(found.series[0].frames) == 5
    assert "leads out of the folder" in reasons(found)[truth.paths[0].name]
    del dataset.DirectoryRecordSequence
    dataset.save_as(given)
    assert refused(given).finding.code is Code.CORRUPT_FILE


# --- other kinds


CONTENT: dict[str, bytes] = {
    "heart.mcs": b"SQLite format 3\0" + bytes(99),
    "heart.stl": b"solid heart\n",
    "heart.nii": bytes(344) + b"n+1\0",
    "heart.nii.gz": gzip.compress(bytes(400)),
    "heart.mha": b"ObjectType = Image\n",
    "heart.mhd": b"ObjectType = Image\n",
    "heart.nrrd": b"NRRD0004\n",
    "heart.mat": b"MATLAB 5.0 MAT-file",
    "heart.npy": b"\x93NUMPY\1\0",
    "heart.tar.gz": gzip.compress(b"x"),
    "heart.7z": b"7z\xbc\xaf\x27\x1c",
    "heart.rar": b"Rar!\x1a\x07\0",
    "heart.dcm.gz": gzip.compress(b"x"),
    "heart.bz2": bz2.compress(b"x"),
    "heart.xz": lzma.compress(b"x"),
    "heart.z01": b"PK\x07\x08",
    "heart.png": b"\x89PNG\r\n\x1a\n",
    "heart.jpg": b"\xff\xd8\xff\xe0",
    "heart.mp4": b"\0\0\0\x18ftypmp42",
    "heart.html": b"<!DOCTYPE html><html>",
    "heart.pdf": b"%PDF-1.7",
    "heart.mxp": b"what 3-matic writes",
    "bundle.json": b"{}",
    "heart.zip": b"PK\5\6" + bytes(18),
}


@pytest.mark.parametrize("name", CONTENT)
def test_a_file_of_another_kind_is_told_what_opens_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENT[name])
    kind = kind_of(path)
    assert kind is not None
    if name in ("bundle.json", "heart.zip"):
        return
    said = Said(capsys, "convert", path, "-o", tmp_path / "out.nii.gz")
    assert (said.exit, said.err.split()[1]) == (2, "NO_DICOM")
    flat = " ".join(said.err.split())
    assert f"{name} is {kind.one}, not DICOM" in flat
    assert kind.advice in flat


def test_every_kind_has_a_case_and_content_is_recognised_where_the_name_says_nothing(tmp_path: Path) -> None:
    kinds = {}
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
        kinds[kind_of(tmp_path / name)] = name
    assert set(kinds) == set(KINDS)
    for kind in KINDS:
        for at, mark in kind.starts:
            (tmp_path / "unnamed").write_bytes(bytes(at) + mark + bytes(600))
            assert kind_of(tmp_path / "unnamed") is kind
    (tmp_path / "unnamed").write_bytes(b"nothing that is known")
    assert kind_of(tmp_path / "unnamed") is None


def test_a_folder_or_archive_of_such_files_gets_the_same_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "left.stl").write_bytes(CONTENT["heart.stl"])
    (tmp_path / "in" / "right.stl").write_bytes(CONTENT["heart.stl"])
    (tmp_path / "in" / "shot.png").write_bytes(CONTENT["heart.png"])
    (tmp_path / "in" / "download").write_bytes(CONTENT["heart.html"])
    for given in (tmp_path / "in", pack(tmp_path / "in.zip", tmp_path / "in")):
        error = refused(given)
        assert error.finding.code is Code.NO_DICOM
        assert error.finding.message.endswith(
            f"among the 4 files of {given.name}: 2 are surfaces (left.stl), 1 is a picture (shot.png), "
            "1 is a web page (download)"
        )
        assert error.finding.hint.startswith("A surface has no voxels")
