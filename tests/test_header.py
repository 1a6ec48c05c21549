"""Headers: what is read, what is foreign, what is broken, and where the pixels are."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement

from pipeline.core.findings import Code, PipelineError
from pipeline.dicom.element_values import plain
from pipeline.dicom.header import NATIVE, NotDicom, read_header
from tests.helpers.phantom import SYNTAXES, write

SMALL = {"shape": (6, 5, 2), "content": "index"}


def first(folder: Path, **spec: object) -> Path:
    return write(folder, **{**SMALL, **spec}).paths[0]  # type: ignore[arg-type]


def test_values_are_plain_python(tmp_path: Path) -> None:
    header = read_header(first(tmp_path, rescale=((2.0, -1024.0),), series_number=12))
    assert header.get("Rows") == 5
    assert header.get("Columns") == 6
    assert header.get("PixelSpacing") == (1.4, 1.1)
    assert header.get("ImagePositionPatient") == (-31.5, -47.25, 112.75)
    assert header.get("RescaleIntercept") == -1024.0
    assert header.get("SeriesNumber") == 12
    assert header.get("ImageType") == ("DERIVED", "SECONDARY")
    assert {type(v) for v in header.values.values()} <= {str, int, float, tuple}


def test_nothing_of_the_patient_is_kept(tmp_path: Path) -> None:
    header = read_header(first(tmp_path))
    assert not [keyword for keyword in header.values if keyword.startswith("Patient") and keyword != "PatientPosition"]
    assert "Phantom^Asymmetric" not in map(str, header.values.values())


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_native_pixels_are_found_and_others_left_to_the_decoder(tmp_path: Path, syntax: str) -> None:
    path = first(tmp_path, transfer_syntax=syntax, shape=(36, 34, 2))
    header = read_header(path)
    assert header.transfer_syntax == SYNTAXES[syntax]
    assert header.has_pixels
    assert header.size == path.stat().st_size
    if header.transfer_syntax not in NATIVE:
        assert header.pixel_length is None
        assert (header.pixel_offset is None) == (syntax == "deflated")
        return
    raw = path.read_bytes()[header.pixel_offset : header.pixel_offset + header.pixel_length]  # type: ignore[operator]
    order = ">" if syntax == "big endian" else "<"
    assert (np.frombuffer(raw, f"{order}u2").reshape(34, 36) == dcmread(path).pixel_array).all()


def test_functional_groups_are_read_frame_by_frame(tmp_path: Path) -> None:
    truth = write(tmp_path, **SMALL, kind="enhanced mr", stored="against", rescale=((1.0, 0.0), (2.0, -3.0)))  # type: ignore[arg-type]
    header = read_header(truth.paths[0])
    assert header.number_of_frames == 2
    assert [f["RescaleSlope"] for f in header.frames] == [2.0, 1.0]
    assert [f["InStackPositionNumber"] for f in header.frames] == [2, 1]
    assert header.frames[0]["ImagePositionPatient"] == pytest.approx((-31.5, -47.25, 115.25))
    assert header.frames[1]["PixelSpacing"] == (1.4, 1.1)


@pytest.mark.parametrize("length", [0, 1, 7, 15])
def test_short_foreign_files(tmp_path: Path, length: int) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"\x08\x00\x05\x00CS\x0a\x00"[:length].ljust(length, b"?"))
    with pytest.raises(NotDicom):
        read_header(path)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04" * 60, b"hello, world\n" * 40, b"\x08\x00" + b"\xff" * 300, b"\0" * 400]
)
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.dcm"
    path.write_bytes(content)
    with pytest.raises(NotDicom):
        read_header(path)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_bare_data_set_without_part_10_header(tmp_path: Path, implicit: bool) -> None:
    dataset = dcmread(first(tmp_path))
    bare = tmp_path / "bare"
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(bare, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert bare.read_bytes()[:2] == b"\x08\x00"
    header = read_header(bare)
    assert header.transfer_syntax == SYNTAXES["implicit" if implicit else "explicit"]
    assert header.get("ImagePositionPatient") == (-31.5, -47.25, 112.75)
    assert header.has_pixels
    raw = bare.read_bytes()[header.pixel_offset : header.pixel_offset + header.pixel_length]  # type: ignore[operator]
    assert raw == dataset.PixelData


@pytest.mark.parametrize("keep", [140, 200, 300, 500])
def test_a_header_cut_off_is_corrupt_or_has_no_pixels(tmp_path: Path, keep: int) -> None:
    """Inside an element a cut is an error; between two, the file only says less. It never has pixels."""
    path = first(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    try:
        found: object = read_header(path).has_pixels
    except PipelineError as error:
        found = (error.finding.code, error.finding.where)
    assert found in (False, (Code.CORRUPT_FILE, (path.name,)))


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian", "deflated"])
def test_a_damaged_file_never_ends_in_a_bare_exception(tmp_path: Path, syntax: str) -> None:
    path = first(tmp_path, transfer_syntax=syntax, kind="enhanced mr")
    whole, random, corrupt = path.read_bytes(), Random(1), 0
    for n in range(60):
        spoilt = bytearray(whole[: random.randrange(140, len(whole))] if n % 2 else whole)
        for _ in range(4):
            spoilt[random.randrange(132, len(spoilt))] = random.randrange(256)
        path.write_bytes(spoilt)
        try:
            read_header(path)
        except PipelineError as error:
            corrupt += error.finding.code is Code.CORRUPT_FILE
    assert corrupt > 0


def test_pixels_cut_off_show_in_the_size(tmp_path: Path) -> None:
    path = first(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    header = read_header(path)
    assert header.pixel_offset is not None
    assert header.pixel_length is not None
    assert header.pixel_offset + header.pixel_length == header.size + 10


def with_raw(path: Path, tag: int, vr: str, raw: bytes) -> Path:
    """The file with one element whose bytes are what is given, valid or not."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    dataset = dcmread(path)
    dataset[tag] = RawDataElement(Tag(tag), vr, len(raw), raw, 0, False, True)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("raw", [b"1.4\\", b"1.4\\abc ", b"1,4\\1,1 ", b"1.4\\1.1mm"[:8], b"one\\two "])
def test_a_decimal_string_that_is_none_is_unreadable(tmp_path: Path, raw: bytes) -> None:
    header = read_header(with_raw(first(tmp_path), 0x00280030, "DS", raw))
    assert "PixelSpacing" in header.unreadable
    assert "PixelSpacing" not in header.values


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", None),
        (b"  ", None),
        (b" 1.4\\1.1 ", (1.4, 1.1)),
        (b"1.4000000000000000001\\1.1 ", (1.4, 1.1)),
    ],
)
def test_an_empty_value_is_absent_and_a_long_one_is_read(tmp_path: Path, raw: bytes, value: object) -> None:
    header = read_header(with_raw(first(tmp_path), 0x00280030, "DS", raw))
    assert header.get("PixelSpacing") == value
    assert not header.unreadable


def test_plain_values() -> None:
    dataset = Dataset()
    dataset.add(DataElement(0x00200013, "IS", "7"))
    assert plain(dataset.InstanceNumber) == 7
    assert isinstance(plain(dataset.InstanceNumber), int)
    assert plain(" a ") == "a"
    assert plain("  ") is None
    assert plain(b"raw") is None
    assert plain([1, 2.5]) == (1, 2.5)
    assert plain([]) is None
    assert plain([1, None]) is None


def test_overlays_are_named_by_group(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.add(DataElement(0x60023000, "OW", b"\0" * 4))

    write(tmp_path, **SMALL, edit=edit)  # type: ignore[arg-type]
    assert read_header(next(tmp_path.iterdir())).overlays == (0x6002,)
