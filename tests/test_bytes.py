"""Bytes that contradict the header: read as they are where that can mean one thing only, else refused. Never passed over.

Each kind goes through a whole conversion, and what is written is held against the truth of the phantom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from struct import pack
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from pipeline import Outcome, PipelineError, Policy, convert
from pipeline.core.findings import Code
from tests.helpers.meta import as_items, declare, pixels, replace_pixels
from tests.helpers.phantom import SYNTAXES, Spec, Truth, write
from tests.helpers.segs import SegFrame, blobs, frames_of, write_seg

SMALL = Spec(shape=(11, 9, 7), content="index", step=2.0)
MASK = Spec(shape=(23, 19, 9), bits_allocated=8, labels=(1, 2, 3), step=1.1)
EXPLICIT, IMPLICIT, BIG = (str(SYNTAXES[n]) for n in ("explicit", "implicit", "big endian"))


def run(truth: Truth, **policy: Any) -> Outcome:
    chosen = {"as_": "mask" if truth.spec.content == "mask" else "image", **policy}
    return convert([truth.folder], truth.folder.parent / "out.nii.gz", policy=Policy(**chosen))


def refusal(truth: Truth, **policy: Any) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        run(truth, **policy)
    assert not (truth.folder.parent / "out.nii.gz").exists()
    return caught.value


def is_true(truth: Truth, values: Any = None) -> bool:
    """Whether the file has the truth's values where the truth has them."""
    image = nibabel.load(truth.folder.parent / "out.nii.gz")
    theirs = np.linalg.inv(truth.ras) @ image.affine
    indices = np.indices(image.shape).reshape(3, -1)
    at = np.rint(theirs[:3, :3] @ indices + theirs[:3, 3:]).astype(int)
    expected = truth.ijk if values is None else values
    return bool((expected[tuple(at)] == np.asarray(image.dataobj).ravel()).all()) and expected.size == at.shape[1]


def codes(outcome: Outcome) -> set[Code]:
    return {f.code for f in outcome.findings}


def all_of(edit: Callable[[Path], None]) -> Callable[[Truth], None]:
    return lambda truth: [edit(path) for path in dict.fromkeys(truth.paths)] and None


# Encoding


@pytest.mark.parametrize(
    ("written", "declared"),
    [
        ("explicit", IMPLICIT),
        ("implicit", EXPLICIT),
        ("explicit", BIG),
        ("big endian", EXPLICIT),
        ("big endian", IMPLICIT),
        ("implicit", BIG),
        ("explicit", str(SYNTAXES["jpeg-ls"])),
        ("explicit", str(SYNTAXES["rle"])),
        ("explicit", str(SYNTAXES["deflated"])),
    ],
)
@pytest.mark.parametrize("spec", [SMALL, MASK, replace(SMALL, kind="enhanced mr")], ids=["image", "mask", "enhanced"])
def test_the_encoding_is_that_of_the_bytes(tmp_path: Path, written: str, declared: str, spec: Spec) -> None:
    truth = write(tmp_path / "in", spec, transfer_syntax=written)
    all_of(lambda path: declare(path, declared))(truth)
    outcome = run(truth)
    assert is_true(truth)
    assert Code.ENCODING_DIFFERS in codes(outcome)
    # pydicom, and so dicom2nifti, finds another VR encoding by itself, and no other byte order.
    assert outcome.verdict == "VERIFIED" or written == "big endian" or declared in (BIG, str(SYNTAXES["deflated"]))


@pytest.mark.parametrize(("written", "declared"), [("explicit", IMPLICIT), ("implicit", EXPLICIT)])
def test_trailing_padding_does_not_hide_a_wrong_encoding(tmp_path: Path, written: str, declared: str) -> None:
    """With bytes behind them, pixels read four bytes too late are not too few."""
    padding = DataElement(0xFFFCFFFC, "OB", b"\0" * 64)
    truth = write(tmp_path / "in", SMALL, transfer_syntax=written, edit=lambda k, d: d.add(padding))
    all_of(lambda path: declare(path, declared))(truth)
    run(truth)
    assert is_true(truth)


def test_one_file_of_many_with_a_wrong_encoding(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK)
    declare(truth.paths[4], IMPLICIT)
    outcome = run(truth)
    assert is_true(truth)
    (finding,) = [f for f in outcome.findings if f.code is Code.ENCODING_DIFFERS]
    assert finding.where == (truth.paths[4].name,)


@pytest.mark.parametrize("declared", [IMPLICIT, BIG])
def test_a_seg_with_a_wrong_encoding(tmp_path: Path, declared: str) -> None:
    masks = blobs(2, overlap=False)
    path = tmp_path / "in" / "seg.dcm"
    path.parent.mkdir()
    write_seg(path, frames_of(masks, sparse=False), names=["a", "b"])
    plain = convert([path.parent], tmp_path / "plain.nii.gz")
    declare(path, declared)
    outcome = convert([path.parent], tmp_path / "out.nii.gz")
    assert Code.ENCODING_DIFFERS in codes(outcome)
    voxels = [np.asarray(nibabel.load(tmp_path / f"{n}.nii.gz").dataobj) for n in ("plain", "out")]
    assert (voxels[0] == voxels[1]).all()
    assert plain.labels == outcome.labels


def test_pixel_data_encoded_in_another_way_than_its_data_set_are_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    content = truth.paths[0].read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00OW\0\0")
    truth.paths[0].write_bytes(content[: at + 4] + content[at + 8 :])
    assert refusal(truth).finding.code is Code.CORRUPT_FILE


@pytest.mark.parametrize("which", ["all", "one"])
def test_an_explicit_pixel_element_in_an_implicit_file_is_refused(tmp_path: Path, which: str) -> None:
    """Its VR would be the length, and its length four more pixels."""
    truth = write(tmp_path / "in", SMALL, transfer_syntax="implicit")
    for path in truth.paths if which == "all" else truth.paths[2:3]:
        replace_pixels(path, pixels(path))
    assert refusal(truth).finding.code is Code.CORRUPT_FILE


def test_a_length_beyond_the_file_is_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    replace_pixels(truth.paths[1], pixels(truth.paths[1]), length=70_000, vr=b"OW")
    assert refusal(truth).finding.code is Code.PIXEL_LENGTH


# Fragments


@pytest.mark.parametrize("table", [b"", b"\0\0\0\0", None], ids=["empty table", "table", "no table"])
@pytest.mark.parametrize("length", [None, -1], ids=["defined", "undefined"])
@pytest.mark.parametrize("spec", [SMALL, MASK, replace(MASK, kind="enhanced ct")], ids=["image", "mask", "enhanced"])
def test_fragments_under_a_native_syntax_are_joined(
    tmp_path: Path, table: bytes | None, length: int | None, spec: Spec
) -> None:
    truth = write(tmp_path / "in", spec)

    def cut(path: Path) -> None:
        data = pixels(path)
        parts = [data[n : n + 100] for n in range(0, len(data), 100)]
        replace_pixels(path, as_items(parts, table), length=length)

    all_of(cut)(truth)
    outcome = run(truth)
    assert is_true(truth)
    assert Code.PIXEL_FRAGMENTS in codes(outcome)
    assert outcome.verdict == "VERIFIED"


@pytest.mark.parametrize("syntax", ["jpeg-ls", "rle"])
def test_compressed_fragments_under_a_native_syntax_are_refused(tmp_path: Path, syntax: str) -> None:
    truth = write(tmp_path / "in", SMALL, shape=(40, 34, 3), transfer_syntax=syntax)
    all_of(lambda path: declare(path, EXPLICIT))(truth)
    error = refusal(truth)
    assert error.finding.code is Code.PIXEL_LENGTH
    assert "compressed" in error.finding.message


def test_a_lost_fragment_is_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    data = pixels(truth.paths[2])
    replace_pixels(truth.paths[2], as_items([data[:100], data[150:]]), length=-1)
    assert refusal(truth).finding.code is Code.PIXEL_LENGTH


def test_pixels_that_begin_like_an_item_are_pixels(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    data = b"\xfe\xff\x00\xe0\x08\0\0\0" + pixels(truth.paths[0])[8:]
    replace_pixels(truth.paths[0], data, vr=b"OW")
    values = truth.ijk.copy()
    values[:4, 0, 0] = np.frombuffer(data[:8], "<u2")
    assert run(truth).verdict == "VERIFIED"
    assert is_true(truth, values)


# Length


def test_native_pixels_of_undefined_length_end_at_their_delimiter(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL)
    all_of(lambda path: replace_pixels(path, pixels(path), length=-1, vr=b"OW"))(truth)
    assert run(truth).verdict == "VERIFIED"
    assert is_true(truth)


def test_a_pad_byte_is_none_too_many(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK)  # 23 x 19 bytes, and one more
    assert len(pixels(truth.paths[0])) == 23 * 19 + 1
    assert run(truth).verdict == "VERIFIED"


@pytest.mark.parametrize("extra", [b"\0" * 100, b"\x55\xaa" * 5])
def test_bytes_behind_the_pixels_are_said_and_never_verified(tmp_path: Path, extra: bytes) -> None:
    truth = write(tmp_path / "in", SMALL)
    all_of(lambda path: replace_pixels(path, pixels(path) + extra, vr=b"OW"))(truth)
    outcome = run(truth)
    assert is_true(truth)
    assert outcome.verdict == "UNCONFIRMED"
    (finding,) = [f for f in outcome.findings if f.code is Code.PIXEL_LENGTH]
    assert finding.measured == len(extra)


@pytest.mark.parametrize(
    ("changed", "says"), [({"Rows": 6}, "Rows"), ({"Columns": 10}, "Columns"), ({"Rows": 3}, "frames")]
)
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated"])
def test_more_rows_columns_or_frames_than_are_declared_are_refused(
    tmp_path: Path, changed: dict[str, int], says: str, syntax: str
) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        for keyword, value in changed.items():
            setattr(dataset, keyword, value)

    error = refusal(write(tmp_path / "in", SMALL, transfer_syntax=syntax, edit=edit))
    assert error.finding.code in (Code.PIXEL_LENGTH, Code.FRAME_COUNT)
    assert says in error.finding.message
    assert int(error.exit) == 4


@pytest.mark.parametrize(("rows", "columns"), [(11, 14), (10, 14), (12, 13), (6, 14)])
@pytest.mark.parametrize("count", [6, 5])
def test_more_rows_or_columns_of_one_bit_frames_than_are_declared_are_refused(
    tmp_path: Path, rows: int, columns: int, count: int
) -> None:
    """A row of all frames is no whole number of bytes: 10.5 or 8.75 of 14 columns."""

    def edit(_: int, dataset: Dataset) -> None:
        dataset.Rows, dataset.Columns = rows, columns

    truth = write(
        tmp_path / "in", MASK, kind="multi-frame sc", shape=(14, 12, count), bits_allocated=1, labels=(1,), edit=edit
    )
    error = refusal(truth)
    assert error.finding.code in (Code.PIXEL_LENGTH, Code.FRAME_COUNT)
    assert int(error.exit) == 4


@pytest.mark.parametrize("spec", [replace(SMALL, shape=(5, 4, 3)), MASK], ids=["16 bits", "8 bits"])
def test_samples_of_twice_the_width_are_read_where_their_upper_half_is_empty(tmp_path: Path, spec: Spec) -> None:
    truth = write(tmp_path / "in", spec)
    bits = spec.bits_allocated
    columns, rows, _ = spec.shape

    def widen(path: Path) -> None:
        values = np.frombuffer(pixels(path), f"<u{bits // 8}")[: columns * rows]
        replace_pixels(path, values.astype(f"<u{bits // 4}").tobytes(), vr=b"OW")

    all_of(widen)(truth)
    outcome = run(truth)
    assert is_true(truth)
    assert outcome.verdict == "UNCONFIRMED"
    assert Code.PIXEL_LENGTH in codes(outcome)


def test_twice_the_bytes_with_values_in_both_halves_are_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK)
    all_of(lambda path: replace_pixels(path, bytes(range(1, 24)) * 38))(truth)
    assert refusal(truth).finding.code is Code.FRAME_COUNT


def seg_file(folder: Path, rows: int = 5, columns: int = 7, count: int = 2) -> tuple[Path, np.ndarray]:
    """A SEG of dense frames; and its labels (columns, rows, planes), which no two segments share."""
    from tests.helpers.segs import Place

    place = Place(rows=rows, columns=columns)
    labels = np.random.default_rng(7).integers(0, count + 1, (place.planes, rows, columns))
    frames = [SegFrame(n + 1, k, labels[k] == n + 1) for n in range(count) for k in range(place.planes)]
    folder.mkdir(parents=True)
    path = folder / "seg.dcm"
    write_seg(path, frames, place, names=[f"s{n}" for n in range(count)])
    return path, labels.transpose(2, 1, 0)


def written_labels(path: Path, planes: np.ndarray) -> bool:
    """Whether the file's planes are these, from either end: the grid runs along the normal."""
    voxels = np.asarray(nibabel.load(path).dataobj)
    return bool((voxels == planes).all() or (voxels == planes[:, :, ::-1]).all())


def bits_of(dataset: Dataset) -> np.ndarray:
    size, count = dataset.Rows * dataset.Columns, int(dataset.NumberOfFrames)
    return np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[: size * count].reshape(
        count, size
    )


def test_one_bit_frames_padded_each_to_a_byte_are_read_where_nothing_else_fits(tmp_path: Path) -> None:
    path, labels = seg_file(tmp_path / "in", 21, 22)
    dataset = dcmread(path)
    data = b"".join(np.packbits(frame, bitorder="little").tobytes() for frame in bits_of(dataset))
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset.save_as(path)
    outcome = convert([path], tmp_path / "out.nii.gz")
    assert written_labels(tmp_path / "out.nii.gz", labels)
    assert Code.PIXEL_LENGTH in codes(outcome)
    assert outcome.verdict == "UNCONFIRMED"


@pytest.mark.parametrize("how", ["a segment", "the other end"])
def test_one_bit_frames_packed_in_another_way_are_refused(tmp_path: Path, how: str) -> None:
    path, _ = seg_file(tmp_path / "in")
    dataset = dcmread(path)
    bits = bits_of(dataset)
    if how == "a segment":
        half = len(bits) // 2
        data = b"".join(np.packbits(part, bitorder="little").tobytes() for part in (bits[:half], bits[half:]))
    else:
        data = np.packbits(bits.ravel(), bitorder="big").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset.save_as(path)
    with pytest.raises(PipelineError) as caught:
        convert([path], tmp_path / "out.nii.gz")
    assert caught.value.finding.code is Code.PIXEL_LENGTH


# Number of Frames, functional groups, bytes

FRAMES = {
    "too few": lambda d: setattr(d, "NumberOfFrames", int(d.NumberOfFrames) - 2),
    "too many": lambda d: setattr(d, "NumberOfFrames", int(d.NumberOfFrames) + 1),
    "one": lambda d: setattr(d, "NumberOfFrames", 1),
    "none": lambda d: delattr(d, "NumberOfFrames"),
    "zero": lambda d: setattr(d, "NumberOfFrames", 0),
}


@pytest.mark.parametrize("count", FRAMES)
@pytest.mark.parametrize("syntax", ["explicit", "jpeg-ls", "rle"])
def test_frames_are_counted_by_groups_and_bytes(tmp_path: Path, count: str, syntax: str) -> None:
    truth = write(tmp_path / "in", SMALL, shape=(36, 34, 5), kind="enhanced mr", transfer_syntax=syntax)
    dataset = dcmread(truth.paths[0])
    FRAMES[count](dataset)
    dataset.save_as(truth.paths[0])
    outcome = run(truth)
    assert is_true(truth)
    assert Code.FRAME_COUNT in codes(outcome)
    assert outcome.verdict == "UNCONFIRMED"


@pytest.mark.parametrize("count", FRAMES)
def test_frames_of_a_seg_are_counted_by_groups_and_bytes(tmp_path: Path, count: str) -> None:
    path, labels = seg_file(tmp_path / "in")
    dataset = dcmread(path)
    FRAMES[count](dataset)
    dataset.save_as(path)
    assert Code.FRAME_COUNT in codes(convert([path], tmp_path / "out.nii.gz"))
    assert written_labels(tmp_path / "out.nii.gz", labels)


@pytest.mark.parametrize("syntax", ["explicit", "jpeg-ls"])
def test_more_frames_than_are_described_are_refused(tmp_path: Path, syntax: str) -> None:
    truth = write(tmp_path / "in", SMALL, shape=(36, 34, 5), kind="enhanced mr", transfer_syntax=syntax)
    dataset = dcmread(truth.paths[0])
    dataset.NumberOfFrames = 3
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:3]
    dataset.save_as(truth.paths[0])
    error = refusal(truth)
    assert error.finding.code is Code.FRAME_COUNT
    assert "5" in error.finding.message


def test_frames_that_a_plain_file_does_not_declare_are_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK)
    first = dcmread(truth.paths[0])
    first.PixelData = b"".join(pixels(p)[: 23 * 19] for p in truth.paths) + b"\0"
    for path in truth.paths[1:]:
        path.unlink()
    first.save_as(truth.paths[0])
    assert refusal(truth).finding.code is Code.FRAME_COUNT


def test_compressed_frames_that_a_plain_file_does_not_declare_are_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, shape=(36, 34, 3), transfer_syntax="rle")
    others = [dcmread(p) for p in truth.paths]
    from pydicom.encaps import generate_frames

    frames = [next(generate_frames(d.PixelData, number_of_frames=1)) for d in others]
    others[0].PixelData = encapsulate(frames)
    others[0]["PixelData"].VR = "OB"
    others[0].save_as(truth.paths[0])
    assert refusal(truth).finding.code is Code.FRAME_COUNT


def test_a_claim_of_two_thousand_million_frames_costs_nothing(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK, edit=lambda k, d: setattr(d, "NumberOfFrames", 2**31 - 1) if k == 3 else None)
    assert refusal(truth).exit in (4, 10)


# Numbers


def raw(dataset: Dataset, keyword: str, vr: str, value: bytes) -> None:
    from pydicom.datadict import tag_for_keyword

    tag = Tag(tag_for_keyword(keyword))
    value += b" " * (len(value) % 2)
    dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


BAD_NUMBERS = [b"2,5", b"1.0.0", b"2.5\\2.6", b"2.5\\", b"nan", b"inf", b"-inf", b"1e400", b"2.5 HU", b"x"]


@pytest.mark.parametrize("value", BAD_NUMBERS)
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("which", ["all", "one"])
def test_a_rescale_that_is_no_number_is_refused_by_name(tmp_path: Path, keyword: str, value: bytes, which: str) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-1024"
        if which == "all" or k == 2:
            raw(dataset, keyword, "DS", value)

    error = refusal(write(tmp_path / "in", SMALL, edit=edit))
    assert error.finding.code is Code.UNREADABLE_NUMBER
    assert {"RescaleSlope": "(0028,1053)", "RescaleIntercept": "(0028,1052)"}[keyword] in error.finding.message


@pytest.mark.parametrize("value", [b"0", b"-0.0", b"1e-50", b"1e39"])
def test_a_slope_that_float32_cannot_hold_or_that_is_zero_is_refused(tmp_path: Path, value: bytes) -> None:
    error = refusal(write(tmp_path / "in", SMALL, edit=lambda k, d: raw(d, "RescaleSlope", "DS", value)))
    assert error.finding.code is Code.UNREADABLE_NUMBER


def test_a_slope_of_zero_in_some_planes_is_followed_and_said(tmp_path: Path) -> None:
    """As in PET, whose planes without counts are written so. dcm2niix and dicom2nifti follow it too."""
    truth = write(tmp_path / "in", SMALL, rescale=tuple((0.0 if k == 2 else 2.0, 1.0) for k in range(7)))
    made = run(truth, crosscheck="voxels")
    expected = truth.ijk * 2 + 1
    expected[:, :, 2] = 1
    assert is_true(truth, expected)
    assert Code.FLAT_PLANES in codes(made)
    assert made.verdict == "UNCONFIRMED"
    assert {a.witness for a in made.agreements if a.confirms} >= {"dcm2niix", "dicom2nifti"}


@pytest.mark.parametrize(("vr", "value"), [("OB", b"2.5 "), ("LO", b"2.5 HU"), ("OW", b"\1\2")])
def test_a_slope_of_another_vr_is_a_number_or_refused(tmp_path: Path, vr: str, value: bytes) -> None:
    error = refusal(write(tmp_path / "in", SMALL, edit=lambda k, d: raw(d, "RescaleSlope", vr, value)))
    assert error.finding.code is Code.UNREADABLE_NUMBER


@pytest.mark.parametrize("vr", ["LO", "UT", "ST", "LT", "UC", "UN", "IS", "FD"])
def test_a_number_as_text_is_a_number(tmp_path: Path, vr: str) -> None:
    value = pack("<d", 2.5) if vr == "FD" else b"2.50"
    truth = write(tmp_path / "in", SMALL, edit=lambda k, d: raw(d, "RescaleSlope", vr, value))
    run(truth)
    assert is_true(truth, truth.ijk * 2.5)


@pytest.mark.parametrize("vr", ["LO", "UT", "ST", "LT", "UC", "UN", "SH"])
@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"])
def test_numbers_of_a_place_as_text_are_numbers(tmp_path: Path, keyword: str, vr: str) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        value = dataset[keyword].value
        text = str(value) if keyword == "Rows" else "\\".join(str(v) for v in value)
        raw(dataset, keyword, vr, pack("<H", value) if (keyword, vr) == ("Rows", "UN") else text.encode())

    truth = write(tmp_path / "in", SMALL, edit=edit)
    run(truth)
    assert is_true(truth, truth.ijk)


@pytest.mark.parametrize("value", [b"0.8,1.3 ", b"0,8\\1,3 ", b"0.8 mm\\1.3", b"1_0\\1_3 "])
@pytest.mark.parametrize("vr", ["DS", "UT"])
def test_a_text_that_is_no_spacing_is_quoted(tmp_path: Path, vr: str, value: bytes) -> None:
    error = refusal(write(tmp_path / "in", SMALL, edit=lambda k, d: raw(d, "PixelSpacing", vr, value)))
    assert error.finding.code is Code.MISSING_PLANE_ATTRIBUTES
    assert f"“{value.decode().strip()}”" in error.finding.message


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_in_functional_groups_that_is_no_number_is_refused(tmp_path: Path, keyword: str) -> None:
    """The value at the top of the data set is not taken instead."""

    def edit(_: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "0"
        item = dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        raw(item, keyword, "DS", b"2,5 ")

    truth = write(tmp_path / "in", SMALL, kind="enhanced ct", rescale=((2.0, -3.0),), edit=edit)
    assert refusal(truth).finding.code is Code.UNREADABLE_NUMBER


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel"])
def test_two_values_where_one_belongs_are_refused(tmp_path: Path, keyword: str) -> None:
    truth = write(tmp_path / "in", SMALL, edit=lambda k, d: raw(d, keyword, "US", b"\x09\0\x0a\0"))
    assert refusal(truth).exit in (4, 10)


_TWICE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "RescaleSlope", "SliceThickness")


@pytest.mark.parametrize(("keyword", "kind"), [*((k, "ct") for k in _TWICE), ("RescaleSlope", "enhanced ct")])
def test_one_value_written_twice_is_one(tmp_path: Path, keyword: str, kind: str) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset[keyword].value = [dataset[keyword].value] * 2

    def edit_group(_: int, dataset: Dataset) -> None:
        item = dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        item.RescaleSlope = ["2", "2"]

    is_enhanced = kind.startswith("enhanced")
    spec = {"kind": kind, "rescale": ((2.0, -3.0),), "edit": edit_group if is_enhanced else edit}
    truth = write(tmp_path / "in", SMALL, **spec)
    run(truth)
    assert is_true(truth, truth.ijk * 2 - 3)


@pytest.mark.parametrize("keyword", ["SeriesNumber", "InstanceNumber", "AcquisitionNumber", "EchoTime"])
@pytest.mark.parametrize("write_as", ["twice", "text"])
def test_two_values_or_a_text_where_nothing_is_decided_cost_nothing(
    tmp_path: Path, keyword: str, write_as: str
) -> None:
    vr = "DS" if keyword == "EchoTime" else "IS"

    def edit(k: int, dataset: Dataset) -> None:
        raw(dataset, keyword, vr, b"%d\\%d" % (k, k + 1) if write_as == "twice" else b"x%d" % k)

    truth = write(tmp_path / "in", MASK, edit=edit)
    run(truth, on_duplicate="drop")
    assert is_true(truth)


def test_a_mask_does_not_need_its_rescale(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK, edit=lambda k, d: raw(d, "RescaleSlope", "DS", b"1,0 "))
    outcome = run(truth)
    assert is_true(truth)
    assert "(0028,1053)" in next(f.message for f in outcome.findings if f.code is Code.RESCALE_IGNORED)


# Bits


def test_bits_above_bits_stored_of_a_mask_are_counted(tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = 7, 6

    truth = write(tmp_path / "in", MASK, labels=(255,), edit=edit)
    outcome = run(truth)
    (finding,) = [f for f in outcome.findings if f.code is Code.BITS_ABOVE_STORED]
    assert f"{int((truth.ijk == 255).sum()):,} pixels" in finding.message
    assert "255" in finding.message
    assert "127" in finding.message
    assert outcome.verdict == "UNCONFIRMED"


def test_bits_above_bits_stored_of_an_image_are_counted(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, bits_stored=12, dirty=True)
    outcome = run(truth)
    assert is_true(truth)
    assert Code.BITS_ABOVE_STORED in codes(outcome)
    assert outcome.verdict == "UNCONFIRMED"


def test_a_sign_that_is_not_extended_is_read_in_two_ways(tmp_path: Path) -> None:
    """By the standard the value is negative; a file that says too few bits means a positive one."""
    few = set_bits(8)
    truth = write(tmp_path / "in", SMALL, signed=True, edit=lambda k, d: few(d) if k == 4 else None)
    outcome = run(truth)
    assert Code.BITS_ABOVE_STORED in codes(outcome)
    assert outcome.verdict == "UNCONFIRMED"


def set_bits(stored: int) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = stored, stored - 1

    return edit


def test_a_sign_that_is_extended_is_no_bit_above(tmp_path: Path) -> None:
    def extend(_: int, dataset: Dataset) -> None:
        values = np.frombuffer(dataset.PixelData, "<i2") << 4 >> 4
        dataset.PixelData = values.astype("<i2").tobytes()

    truth = write(tmp_path / "in", SMALL, bits_stored=12, signed=True, edit=extend)
    assert run(truth).verdict == "VERIFIED"
    assert is_true(truth)


# Meaning


def lut(_: int, dataset: Dataset) -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [1024, 0, 16], "HU"
    item.LUTData = TABLE.tobytes()
    item["LUTData"].VR = "OW"
    dataset.ModalityLUTSequence = Sequence([item])


TABLE = np.sort(np.random.default_rng(3).integers(0, 60000, 1024)).astype("<u2")


def test_a_modality_lut_is_applied_to_an_image(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, edit=lut)
    assert Code.MODALITY_LUT in codes(run(truth))
    assert is_true(truth, TABLE[truth.ijk])


def test_a_modality_lut_is_not_applied_to_a_mask(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK, edit=lut)
    assert Code.MODALITY_LUT in codes(run(truth))
    assert is_true(truth)


def real_world(dataset: Dataset, slope: float, intercept: float) -> None:
    item = Dataset()
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 65535
    item["RealWorldValueFirstValueMapped"].VR = item["RealWorldValueLastValueMapped"].VR = "US"
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    dataset.RealWorldValueMappingSequence = Sequence([item])


@pytest.mark.parametrize(
    ("rescale", "mapping", "verdict", "said"),
    [
        ((), (0.25, -3.0), "UNCONFIRMED", True),
        (((2.0, 0.0),), (0.25, -3.0), "VERIFIED", True),
        (((2.0, 5.0),), (2.0, 5.0), "VERIFIED", False),
        ((), (1.0, 0.0), "VERIFIED", False),
    ],
)
def test_real_world_values_are_said(
    tmp_path: Path, rescale: tuple[tuple[float, float], ...], mapping: tuple[float, float], verdict: str, said: bool
) -> None:
    truth = write(tmp_path / "in", SMALL, rescale=rescale, edit=lambda k, d: real_world(d, *mapping))
    outcome = run(truth)
    assert (Code.REAL_WORLD_VALUES in codes(outcome)) == said
    assert outcome.verdict == verdict


def test_real_world_values_in_functional_groups_are_said(tmp_path: Path) -> None:
    truth = write(
        tmp_path / "in",
        SMALL,
        kind="enhanced mr",
        edit=lambda k, d: real_world(d.SharedFunctionalGroupsSequence[0], 0.5, 1.0),
    )
    assert Code.REAL_WORLD_VALUES in codes(run(truth))


@pytest.mark.parametrize("spec", [SMALL, MASK], ids=["image", "mask"])
def test_monochrome1_in_some_planes_is_refused(tmp_path: Path, spec: Spec) -> None:
    def some(k: int, dataset: Dataset) -> None:
        if k == 3:
            dataset.PhotometricInterpretation = "MONOCHROME1"

    truth = write(tmp_path / "in", spec, edit=some)
    error = refusal(truth)
    assert error.finding.code is Code.MIXED_PHOTOMETRIC
    assert truth.paths[3].name in error.finding.where


def test_monochrome1_in_all_planes_of_a_mask_is_a_warning(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK, photometric="MONOCHROME1")
    outcome = run(truth)
    assert is_true(truth)
    assert Code.INVERTED_DISPLAY in codes(outcome)
    assert outcome.verdict == "UNCONFIRMED"


def jpeg(truth: Truth, quality: int, tag: str | None = None) -> None:
    """Compress every plane of an 8-bit series with JPEG baseline."""
    import io

    from PIL import Image

    for path in truth.paths:
        dataset = dcmread(path)
        plane = np.frombuffer(dataset.PixelData, np.uint8)[: dataset.Rows * dataset.Columns]
        out = io.BytesIO()
        Image.fromarray(plane.reshape(dataset.Rows, dataset.Columns)).save(out, "JPEG", quality=quality)
        dataset.PixelData = encapsulate([out.getvalue()])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
        if tag is not None:
            dataset.LossyImageCompression = tag
        dataset.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("labels", [(255,), (20, 40, 60), (50, 100, 150)])
@pytest.mark.parametrize("tag", ["01", None, "00"])
def test_a_mask_smeared_by_jpeg_is_refused(tmp_path: Path, labels: tuple[int, ...], tag: str | None) -> None:
    truth = write(tmp_path / "in", MASK, shape=(40, 34, 5), labels=labels)
    jpeg(truth, 97, tag)
    error = refusal(truth)
    assert error.finding.code is Code.LOSSY_PIXELS
    assert "smeared by JPEG" in error.finding.message
    assert "--on-lossy threshold" in error.finding.hint


def test_a_mask_of_one_label_that_is_smeared_is_cut_when_asked(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK, shape=(40, 34, 5), labels=(255,))
    jpeg(truth, 90)
    outcome = run(truth, on_lossy="threshold")
    assert is_true(truth, (truth.ijk > 0).astype(int))
    assert outcome.verdict == "UNCONFIRMED"
    assert Code.LOSSY_MASK in codes(outcome)


def test_values_that_lossy_compression_left_are_kept_when_asked(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", MASK, edit=lambda k, d: setattr(d, "LossyImageCompression", "01"))
    assert refusal(truth).finding.code is Code.LOSSY_PIXELS
    outcome = run(truth, on_lossy="keep")
    assert is_true(truth)
    assert outcome.verdict == "UNCONFIRMED"


def test_a_lossy_export_with_a_burned_in_mask_is_refused(tmp_path: Path) -> None:
    """Its constants are smeared too; half of the mask would be taken."""
    from pipeline import Request
    from pipeline.conversion.request import ExportDescription
    from pipeline.decode.embedded.labelled import Named

    truth = write(tmp_path / "in", MASK, shape=(40, 34, 5), labels=(255,))
    jpeg(truth, 90)
    with pytest.raises(PipelineError) as caught:
        convert([truth.folder], tmp_path / "out.nii.gz", request=Request(export=ExportDescription((Named("m", 255),))))
    assert caught.value.finding.code is Code.LOSSY_PIXELS


# Studies and patients


@pytest.mark.parametrize("what", ["StudyInstanceUID", "PatientID"])
@pytest.mark.parametrize("beside", [True, False], ids=["beside", "same places"])
def test_one_series_uid_in_two_studies_or_patients_is_never_one_volume(tmp_path: Path, what: str, beside: bool) -> None:
    spec = replace(MASK, shape=(23, 19, 4))
    write(tmp_path / "in" / "a", spec)

    def other(k: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = f"1.2.3.{k + 1}"
        setattr(dataset, what, "1.2.3.9")

    origin = tuple(float(v) for v in spec.point((0, 0, 4 if beside else 0)))
    write(tmp_path / "in" / "b", spec, origin=origin, edit=other)
    with pytest.raises(PipelineError) as caught:
        convert([tmp_path / "in"], tmp_path / "out.nii.gz")
    assert caught.value.finding.code is Code.MIXED_STUDY
    word = "study" if what == "StudyInstanceUID" else "patient"
    assert f"{word} 1 of 2" in caught.value.finding.hint


@pytest.mark.parametrize("what", ["StudyInstanceUID", "PatientID"])
def test_a_study_or_patient_of_its_own_in_every_file_splits_nothing_and_is_said(tmp_path: Path, what: str) -> None:
    truth = write(tmp_path / "in", MASK, edit=lambda k, d: setattr(d, what, f"1.2.3.{k}"))
    outcome = run(truth)
    assert is_true(truth)
    assert Code.MIXED_STUDY in codes(outcome)
    assert outcome.verdict == "UNCONFIRMED"
