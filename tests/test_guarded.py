"""A value that cannot be read is refused by file, tag and what stands there, wherever it is asked for."""

from __future__ import annotations

import copy
import pickle
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.core.findings import Code, PipelineError
from pipeline.dicom.encoding import load
from pipeline.dicom.guarded_dataset import UnreadableValue
from pipeline.dicom.header import read_header
from tests.helpers.phantom import Spec, write

SMALL = Spec(shape=(9, 7, 3), bits_allocated=8, radius_mm=3)
_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element in Explicit VR Little Endian."""
    value += b" " * (len(value) % 2) if vr not in _LONG else b"\0" * (len(value) % 2)
    start = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return start + (struct.pack("<HI", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))) + value


def file(path: Path, *elements: bytes, pixels: bytes = b"", behind: bytes = b"") -> Path:
    """A Part 10 file of these elements; pixels: the value of its pixel data."""
    syntax = element(0x00020010, b"UI", str(ExplicitVRLittleEndian).encode() + b"\0")
    meta = element(0x00020000, b"UL", struct.pack("<I", len(syntax))) + syntax
    data = element(0x7FE00010, b"OW", pixels) if pixels else b""
    path.write_bytes(bytes(128) + b"DICM" + meta + b"".join(elements) + data + behind)
    return path


def item(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


ROWS, THICKNESS, CLASS, SEGMENTS = 0x00280010, 0x00180050, 0x00080016, 0x00620002

UNREADABLE = {
    "a number as text": ("Rows", element(ROWS, b"LO", b"many"), "“many” is not a number"),
    "of too few bytes": ("DiffusionBValue", element(0x00189087, b"FD", b"\1\0\2\0"), "multiple of bytes"),
    "no known VR": ("Rows", element(ROWS, b"ZZ", b"\1\0"), "Unknown Value Representation"),
    "not a number": ("SliceThickness", element(THICKNESS, b"DS", b"nan"), "not a finite number"),
    "infinite": ("SliceThickness", element(THICKNESS, b"DS", b"1e400"), "not a finite number"),
    "grouped digits": ("NumberOfFrames", element(0x00280008, b"LO", b"1_0"), "“1_0” is not a number"),
    "several": ("Rows", element(ROWS, b"US", b"\1\0\2\0"), "2 different values"),
    "a sequence": ("Rows", element(ROWS, b"SQ", item()), "no sequence"),
    "no sequence": ("SegmentSequence", element(SEGMENTS, b"LO", b"one"), "is a sequence"),
    "a sequence that is none": ("SegmentSequence", element(SEGMENTS, b"SQ", b"1234"), "tag"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_value_is_refused_in_words(tmp_path: Path, name: str) -> None:
    keyword, raw, reason = UNREADABLE[name]
    asks: list[Callable[[Any], object]] = [
        lambda d: d.get(keyword),
        lambda d: getattr(d, keyword),
        lambda d: d[keyword],
        list,
    ]
    nested = element(0x00081140, b"SQ", item(raw))
    dataset = load(file(tmp_path / "a.dcm", raw))
    inside = load(file(tmp_path / "b.dcm", nested)).ReferencedImageSequence[0]
    for holder, named in ((dataset, "a.dcm"), (inside, "b.dcm")):
        for ask in asks:
            with pytest.raises(UnreadableValue) as refused:
                ask(holder)
            finding = refused.value.finding
            assert reason in finding.message
            assert named in finding.message
            assert ")" in finding.message
            assert finding.code in (Code.CORRUPT_FILE, Code.UNREADABLE_NUMBER)
            assert isinstance(refused.value, ValueError)


def test_what_is_said_of_a_value_is_short_and_on_one_line(tmp_path: Path) -> None:
    dataset = load(file(tmp_path / "a.dcm", element(ROWS, b"LO", b"\x1b[31m" * 50)))
    with pytest.raises(UnreadableValue) as refused:
        dataset.get("Rows")
    assert "\x1b" not in refused.value.finding.message
    assert len(refused.value.finding.message) < 400
    assert isinstance(pickle.loads(pickle.dumps(refused.value)), UnreadableValue)


def test_a_value_is_of_its_kind_whatever_its_vr(tmp_path: Path) -> None:
    dataset = load(
        file(
            tmp_path / "a.dcm",
            element(CLASS, b"UI", b"1.2\\3"),
            element(0x0008103E, b"US", b"\7\0"),
            element(0x00081090, b"LO", b"A\\B"),
            element(0x00081140, b"SQ", item(element(0x00081155, b"OB", b"1.2.3\0"))),
            element(0x00180050, b"LO", b" 2.5"),
            element(0x00180088, b"DS", b"3\\3"),
            element(0x00280008, b"UT", b"12"),
        )
    )
    assert dataset.SOPClassUID == "1.2\\3"
    assert dataset.SeriesDescription == "7"
    assert dataset.ManufacturerModelName == "A\\B"
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert (dataset.SliceThickness, dataset.SpacingBetweenSlices, dataset.NumberOfFrames) == (2.5, 3, 12)
    assert dataset.get("Modality") is None
    assert dataset.get("Modality", "?") == "?"
    assert "Modality" not in dataset
    with pytest.raises(KeyError):
        dataset[0x00080060]
    with pytest.raises(AttributeError):
        dataset.Modality  # noqa: B018


def test_a_name_of_several_values_can_be_written_again(tmp_path: Path) -> None:
    for text in (b"\\\\", b"A^B\\C", b"\\A^B"):
        dataset = load(file(tmp_path / "a.dcm", element(0x00080090, b"PN", text)))
        made = Dataset()
        made["ReferringPhysicianName"] = dataset["ReferringPhysicianName"]
        made.save_as(tmp_path / "made.dcm", implicit_vr=False, little_endian=True)
        assert text in (tmp_path / "made.dcm").read_bytes()


def test_a_guarded_data_set_is_one_of_pydicom(tmp_path: Path) -> None:
    """What highdicom does with the images of a mask: copies, slices, new elements, writing."""
    first = sorted(write(tmp_path / "in", SMALL).folder.iterdir())[0]
    guarded, plain = load(first), dcmread(first)
    assert {e.tag: e.value for e in guarded} == {e.tag: e.value for e in plain}
    for twin in (copy.deepcopy(guarded), copy.copy(guarded), pickle.loads(pickle.dumps(guarded))):
        assert twin.PixelData == plain.PixelData
        assert twin.Rows == plain.Rows
    assert guarded.group_dataset(0x0028).Rows == plain.Rows
    guarded.PatientComments = "new"
    del guarded.PixelData
    guarded.save_as(tmp_path / "out.dcm")
    assert dcmread(tmp_path / "out.dcm").PatientComments == "new"
    assert isinstance(guarded, Dataset)


@pytest.mark.parametrize("content", [b"", b"\2\0\0\0", b"\x08\0\x05\0CS\xff\xff", bytes(132)])
def test_what_is_no_data_set_is_empty_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + content)
    with suppress(UnreadableValue):
        assert len(load(path)) <= 1


# Elements that stand twice, or behind the pixels

HEAD = (element(CLASS, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"), element(0x0020000E, b"UI", b"1.2.3\0"))


def image(*more: bytes) -> tuple[bytes, ...]:
    """Elements of an image of 2 x 2 pixels in uint16, those of the position and size among them, then others."""
    numbers = {ROWS: 2, 0x00280011: 2, 0x00280100: 16, 0x00280101: 16, 0x00280102: 15, 0x00280103: 0}
    position = element(0x00200032, b"DS", b"1\\2\\3")
    return (*HEAD, position, *(element(t, b"US", struct.pack("<H", n)) for t, n in numbers.items()), *more)


def test_of_two_values_none_is_trusted(tmp_path: Path) -> None:
    again = element(0x00200032, b"DS", b"1\\2\\9")
    found = read_header(file(tmp_path / "a.dcm", *image(again), pixels=bytes(8)))
    assert "ImagePositionPatient" not in found.values
    assert "twice" in found.unreadable["ImagePositionPatient"]
    same = element(0x00200032, b"DS", b"1\\2\\3")
    assert read_header(file(tmp_path / "b.dcm", *image(same), pixels=bytes(8))).get("ImagePositionPatient") == (1, 2, 3)


def test_a_uid_is_one_text_whatever_its_vr(tmp_path: Path) -> None:
    """Series are sorted by it."""
    for vr, value in ((b"UI", b"1.2\\3"), (b"LO", b"1.2\\3"), (b"UN", b"1.2\\3")):
        found = read_header(file(tmp_path / "a.dcm", HEAD[0], element(0x0020000E, vr, value)))
        assert found.get("SeriesInstanceUID") == "1.2\\3"


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "RescaleSlope", "Rows"])
def test_what_stands_behind_the_pixels_is_not_trusted(tmp_path: Path, keyword: str) -> None:
    late = {
        "ImagePositionPatient": element(0x00200032, b"DS", b"1\\2\\9"),
        "RescaleSlope": element(0x00281053, b"DS", b"2 "),
        "Rows": element(ROWS, b"US", b"\4\0"),
    }[keyword]
    found = read_header(file(tmp_path / "a.dcm", *image(), pixels=bytes(8), behind=late))
    assert keyword not in found.values
    assert "behind" in found.unreadable[keyword]


@pytest.mark.parametrize(
    "behind",
    [
        element(0xFFFCFFFC, b"OB", bytes(6)),
        element(0x7FE10010, b"LO", b"private"),
        b"\0" * 40,
        b"padding of a kind",
        b"\0",
    ],
    ids=["padding", "private", "zeros", "text", "a byte"],
)
def test_padding_behind_the_pixels_is_nothing(tmp_path: Path, behind: bytes) -> None:
    found = read_header(file(tmp_path / "a.dcm", *image(), pixels=bytes(8), behind=behind))
    assert found.unreadable == {}
    assert found.get("Rows") == 2


def test_sequences_that_decide_what_there_is_stand_once(tmp_path: Path) -> None:
    one, two = (element(SEGMENTS, b"SQ", item(element(0x00620004, b"US", n))) for n in (b"\1\0", b"\2\0"))
    for name, more, behind in (("a.dcm", (one, two), b""), ("b.dcm", (one,), two)):
        with pytest.raises(PipelineError) as refused:
            read_header(file(tmp_path / name, *image(*more), pixels=bytes(8), behind=behind))
        assert refused.value.finding.code is Code.CORRUPT_FILE
        assert "(0062,0002)" in refused.value.finding.message


def test_a_late_element_is_found_behind_items_and_without_vr(tmp_path: Path) -> None:
    first = sorted(write(tmp_path / "in", SMALL, transfer_syntax="rle").folder.iterdir())[0]
    raw = first.read_bytes()
    assert read_header(first).unreadable == {}
    first.write_bytes(raw + element(0x00281053, b"DS", b"2 "))
    assert "behind" in read_header(first).unreadable["RescaleSlope"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(file(tmp_path / "a.dcm", *image(), pixels=bytes(8)))
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.9"
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(tmp_path / "implicit.dcm", implicit_vr=True, little_endian=True)
    path = tmp_path / "implicit.dcm"
    path.write_bytes(path.read_bytes() + struct.pack("<HHI", 0x0028, 0x1053, 2) + b"2 ")
    assert "behind" in read_header(path).unreadable["RescaleSlope"]
