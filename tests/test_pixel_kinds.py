"""Pixels of one bit, of 64 bits and floating-point ones, and compressed ones of 1 and 12 bits, through real files.

The truth is what the phantom meant to write, packed and encoded by pydicom and by tests/helpers, never by the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from pipeline.conversion.convert import Request, convert
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import ExportDescription
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.crosscheck.agreement import judge
from pipeline.crosscheck.testimony import Testimony
from pipeline.dicom.frame import frames_of
from pipeline.dicom.header import read_header
from pipeline.dicom.pixels import _cast, read_plane, stored_type
from pipeline.geometry.grid import Grid
from tests.helpers.jpeg_extended import encode
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, Truth, write
from tests.helpers.pixel_kinds import compress_one_bit, compress_twelve_bits, stored_as, two_values

INDEX = Spec(shape=(7, 5, 3), content="index", stored="shuffled", iop=ORIENTATIONS["double oblique"])
BITS = replace(INDEX, shape=(23, 19, 15), content="mask", bits_allocated=1, row_spacing=0.8, step=1.1)
LARGE = replace(BITS, shape=(41, 37, 5), step=2.0)  # JPEG 2000 wants frames of 32 x 32
NATIVE = ("implicit", "explicit", "big endian", "deflated")
Array = NDArray[Any]


def planes_of(truth: Truth) -> Array:
    """What the pipeline reads, (columns, rows, planes)."""
    pairs = zip(truth.paths, truth.frames, strict=True)
    return np.stack([read_plane(frames_of(read_header(path))[frame]).T for path, frame in pairs], -1)


def refused(truth: Truth) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        planes_of(truth)
    return caught.value


def run(folder: Path, out: Path, as_: str = "mask", crosscheck: str = "off", **options: Any) -> Outcome:
    policy = Policy(as_=as_, crosscheck=crosscheck, **options)  # type: ignore[arg-type]
    return convert([folder], out, policy=policy)


def voxels(outcome: Outcome) -> Array:
    return np.asarray(nibabel.load(outcome.output).dataobj)


# One bit


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("kind", ["ct", "sc", "enhanced mr", "multi-frame sc"])
def test_one_bit_runs_on_over_rows_and_frames(tmp_path: Path, syntax: str, kind: str) -> None:
    """23 x 19 is no whole number of bytes, so frames of a multi-frame file begin inside of one."""
    truth = write(tmp_path, BITS, kind=kind, transfer_syntax=syntax)
    read = planes_of(truth)
    assert read.dtype == np.uint8
    assert (read == truth.ijk).all()
    assert 0 < truth.ijk.sum() < truth.ijk.size / 2


def test_one_bit_in_big_endian_words(tmp_path: Path) -> None:
    """PS3.5 8.1.2: as OW, the bytes of every word are swapped."""

    def in_words(_: int, dataset: Dataset) -> None:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
        dataset["PixelData"].VR = "OW"

    for kind in ("sc", "multi-frame sc"):
        truth = write(tmp_path / kind, BITS, kind=kind, transfer_syntax="big endian", edit=in_words)
        assert dcmread(truth.paths[0])["PixelData"].VR == "OW"
        assert (planes_of(truth) == truth.ijk).all()


def test_a_sign_and_the_highest_bit_mean_nothing_for_one_bit(tmp_path: Path) -> None:
    def odd(_: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 8, 7

    truth = write(tmp_path, BITS, kind="multi-frame sc", edit=odd)
    assert (planes_of(truth) == truth.ijk).all()


def test_one_bit_cut_off_is_refused_with_numbers(tmp_path: Path) -> None:
    def cut(_: int, dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[:-6]

    finding = refused(write(tmp_path, BITS, kind="multi-frame sc", edit=cut)).finding
    needed = -(-23 * 19 * 15 // 8)
    assert (finding.code, finding.limit, finding.unit) == (Code.CORRUPT_FILE, needed, "bytes")


def test_one_bit_rows_that_begin_on_bytes_are_refused(tmp_path: Path) -> None:
    """Their length is that of no frames, rows or columns; taken for padding, every row would be shifted."""

    def padded(_: int, dataset: Dataset) -> None:
        rows = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[: 23 * 19 * 15]
        dataset.PixelData = np.packbits(rows.reshape(-1, 23), axis=1, bitorder="little").tobytes() + b"\0"

    finding = refused(write(tmp_path, BITS, kind="multi-frame sc", edit=padded)).finding
    assert finding.code is Code.PIXEL_LENGTH
    assert "rows" in finding.message


@pytest.mark.parametrize("kind", ["sc", "enhanced mr", "multi-frame sc"])
def test_one_bit_jpeg_2000(tmp_path: Path, kind: str) -> None:
    truth = write(tmp_path, LARGE, kind=kind)
    for path in set(truth.paths):
        compress_one_bit(path)
    assert (planes_of(truth) == truth.ijk).all()


def test_a_decoder_that_gives_more_than_a_bit_is_not_believed(tmp_path: Path) -> None:
    truth = write(tmp_path, replace(LARGE, bits_allocated=8, labels=(255,), transfer_syntax="jpeg 2000"))
    for path in truth.paths:
        dataset = dcmread(path)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
        dataset.save_as(path)
    finding = refused(truth).finding
    assert (finding.code, finding.measured, finding.limit) == (Code.CORRUPT_FILE, 255, 1)


def test_one_bit_under_another_compression_is_not_supported_and_not_damaged(tmp_path: Path) -> None:
    truth = write(tmp_path, LARGE)
    for path in truth.paths:
        compress_one_bit(path)
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.5")
        dataset.save_as(path)
    assert refused(truth).finding.code is Code.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("kind", ["sc", "enhanced mr"])
def test_a_mask_of_one_bit_is_converted_and_witnessed(tmp_path: Path, kind: str) -> None:
    truth = write(tmp_path / "in", BITS, kind=kind, stored="along")
    outcome = run(tmp_path / "in", tmp_path / "out.nii", crosscheck="voxels")
    assert (voxels(outcome) == truth.ijk).all()
    statuses = {a.witness: a.status for a in outcome.agreements}
    assert outcome.verdict == "VERIFIED"
    assert statuses["dcm2niix"] == "REORDERED"
    assert statuses["SimpleITK"] == "KNOWN_WRONG"


# Floating-point pixels


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floats_stay_what_they_are(tmp_path: Path, syntax: str, kind: str, dtype: str) -> None:
    def odd(values: Array) -> Array:
        return values.astype(dtype) / 3 - 7

    def edit(k: int, dataset: Dataset) -> None:
        stored_as(dtype, odd)(k, dataset)
        if syntax == "big endian":
            keyword = "FloatPixelData" if dtype == "f4" else "DoubleFloatPixelData"
            setattr(dataset, keyword, np.frombuffer(dataset[keyword].value, "<" + dtype).byteswap().tobytes())

    truth = write(tmp_path / "in", INDEX, kind=kind, transfer_syntax=syntax, edit=edit, stored="along")
    outcome = run(tmp_path / "in", tmp_path / "out.nii", "image")
    image = nibabel.load(outcome.output)
    assert image.get_data_dtype() == np.dtype(dtype)
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    assert (np.asarray(image.dataobj) == odd(truth.ijk.astype(np.uint16))).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floats_that_say_a_sign_are_floats(tmp_path: Path, dtype: str) -> None:
    """Deflated too, where the element of the pixels is not seen in the header."""

    def signed(k: int, dataset: Dataset) -> None:
        stored_as(dtype)(k, dataset)
        dataset.PixelRepresentation = 0

    for syntax in ("explicit", "deflated"):
        truth = write(tmp_path / syntax, INDEX, transfer_syntax=syntax, edit=signed, stored="along")
        outcome = run(tmp_path / syntax, tmp_path / f"{syntax}.nii", "image")
        assert voxels(outcome).dtype == np.dtype(dtype)
        assert (voxels(outcome) == truth.ijk).all()


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [("f4", "u4", [3, 65000]), ("u2", "i2", [3, -536]), ("u2", "i4", [3, 65000]), ("bool", "u1", [1, 1])],
)
def test_values_are_cast_and_never_taken_for_other_bits(given: str, dtype: str, expected: list[int]) -> None:
    cast = _cast(np.array([3, 65000]).astype(given), np.dtype(dtype))
    assert (cast.dtype, cast.tolist()) == (np.dtype(dtype), expected)


def test_floats_that_are_no_numbers_are_kept(tmp_path: Path) -> None:
    def odd(values: Array) -> Array:
        changed = values.astype(np.float32)
        changed[:3] = np.nan, np.inf, -np.inf
        return changed

    write(tmp_path / "in", INDEX, edit=stored_as("f4", odd), stored="along")
    outcome = run(tmp_path / "in", tmp_path / "out.nii", "image", "voxels")
    found = voxels(outcome)
    assert outcome.verdict == "VERIFIED"
    assert np.isnan(found[0, 0]).all()
    assert (found[1, 0] == np.inf).all()
    assert (found[2, 0] == -np.inf).all()


@pytest.mark.parametrize(("theirs", "status"), [(np.nan, "AGREES"), (0.0, "DIFFERS"), (np.inf, "DIFFERS")])
def test_a_witness_must_have_what_is_no_number_too(theirs: float, status: str) -> None:
    ours = np.full((4, 3, 2), 7.0, np.float32)
    ours[1, 1, 1] = np.nan
    array = np.where(np.isnan(ours), np.float32(theirs), ours)
    grid = Grid((4, 3, 2), np.eye(4))
    testimony = Testimony("dcm2niix", "1", np.diag([-1.0, -1.0, 1.0, 1.0]), (4, 3, 2), array)
    planes = [np.ascontiguousarray(ours[:, :, k].T) for k in range(2)]
    assert judge(testimony, grid, 1e-3, lambda n, plane: plane, lambda: planes).status == status


def test_a_large_integer_must_be_the_same_for_a_witness() -> None:
    ours = np.full((4, 3, 2), 3_000_000_000, np.uint32)
    array = ours.copy()
    array[2, 1, 0] += 1
    testimony = Testimony("SimpleITK", "1", np.diag([-1.0, -1.0, 1.0, 1.0]), (4, 3, 2), array)
    planes = [np.ascontiguousarray(ours[:, :, k].T) for k in range(2)]
    found = judge(testimony, Grid((4, 3, 2), np.eye(4)), 1e-3, lambda n, plane: plane, lambda: planes)
    assert (found.status, found.voxels_differing) == ("DIFFERS", 1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floats_that_are_all_whole_are_labels(tmp_path: Path, dtype: str) -> None:
    spec = replace(INDEX, content="mask", labels=(1, 2, 300), shape=(23, 19, 15), stored="along")
    truth = write(tmp_path / "in", spec, edit=stored_as(dtype))
    outcome = run(tmp_path / "in", tmp_path / "out.nii")
    found = voxels(outcome)
    assert found.dtype == np.uint16
    assert (found == truth.ijk).all()


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_a_float_that_is_not_whole_is_no_label(tmp_path: Path, value: float) -> None:
    def odd(values: Array) -> Array:
        return np.where(np.arange(values.size) == 9, value, values % 2)

    write(tmp_path / "in", INDEX, edit=stored_as("f8", odd))
    with pytest.raises(PipelineError) as caught:
        run(tmp_path / "in", tmp_path / "out.nii")
    finding = caught.value.finding
    assert (finding.code, finding.measured) == (Code.NOT_A_MASK, 1)
    assert "value" not in finding.hint.split("--as image")[1]  # no table of values that were cut to whole ones


def test_an_export_in_floats_is_not_supported(tmp_path: Path) -> None:
    write(tmp_path / "in", INDEX, edit=stored_as("f4", lambda values: values / 2))
    with pytest.raises(PipelineError) as caught:
        convert(
            [tmp_path / "in"],
            tmp_path / "out.nii",
            request=Request(export=ExportDescription(outside=0)),
            policy=Policy(crosscheck="off"),
        )
    assert caught.value.finding.code is Code.UNSUPPORTED_PIXELS


def test_float_bits_that_contradict_the_element_are_refused(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        stored_as("f4")(k, dataset)
        dataset.BitsAllocated = 16

    finding = refused(write(tmp_path, INDEX, edit=edit)).finding
    assert (finding.code, finding.measured, finding.limit) == (Code.CORRUPT_FILE, 16, 32)


def test_two_elements_of_pixel_data_are_refused(tmp_path: Path) -> None:
    def both(k: int, dataset: Dataset) -> None:
        data, sign, stored = dataset.PixelData, dataset.PixelRepresentation, dataset.BitsStored
        stored_as("f4")(k, dataset)
        dataset.PixelData, dataset.PixelRepresentation, dataset.BitsStored = data, sign, stored
        dataset["PixelData"].VR = "OW"

    truth = write(tmp_path, INDEX, edit=both)
    with pytest.raises(PipelineError) as caught:
        read_header(truth.paths[0])
    assert caught.value.finding.code is Code.CORRUPT_FILE
    assert "two elements of pixel data" in caught.value.finding.message


def test_floats_under_a_compression_are_not_supported(tmp_path: Path) -> None:
    truth = write(tmp_path, INDEX, edit=stored_as("f4"))
    for path in truth.paths:
        raw = path.read_bytes()
        at = raw.rfind(b"\xe0\x7f\x08\x00OF")
        items = encapsulate([raw[at + 12 :]]) + b"\xfe\xff\xdd\xe0\0\0\0\0"
        path.write_bytes(raw[: at + 8] + b"\xff\xff\xff\xff" + items)
        head = path.read_bytes()
        syntax, other = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
        assert head.count(syntax) == 1
        path.write_bytes(head.replace(syntax, other))
    assert refused(truth).finding.code is Code.UNSUPPORTED_PIXELS


def test_rescales_that_differ_keep_the_precision_of_the_pixels(tmp_path: Path) -> None:
    """float32 holds whole numbers up to 2^24: of 32 bits and of float64 it would lose some."""
    spec = replace(INDEX, rescale=((1.0, 0.0), (1.0, 1.0), (1.0, 2.0)), stored="along")
    for kind in ("u4", "f8"):
        truth = write(tmp_path / kind, spec, edit=stored_as(kind, lambda values: values + float((1 << 25) + 1)))
        outcome = run(tmp_path / kind, tmp_path / f"{kind}.nii", "image")
        assert Code.RESCALE_PER_PLANE in {f.code for f in outcome.findings}
        assert (voxels(outcome) == truth.ijk + float((1 << 25) + 1) + np.arange(3)).all()


# 32 and 64 bits, and bits that are not read


@pytest.mark.parametrize("kind", ["u4", "i4", "u8", "i8"])
def test_wide_integers_stay_what_they_are(tmp_path: Path, kind: str) -> None:
    dtype = np.dtype(kind)
    first = int(np.iinfo(dtype).min) if dtype.kind == "i" else 0

    def extreme(values: Array) -> Array:
        changed = values.astype(dtype)
        changed[:2] = first, np.iinfo(dtype).max
        return changed

    truth = write(tmp_path / "in", INDEX, edit=stored_as(kind, extreme), stored="along")
    outcome = run(tmp_path / "in", tmp_path / "out.nii", "image")
    found = voxels(outcome)
    assert found.dtype == dtype
    assert (found[0, 0] == first).all()
    assert (found[1, 0] == np.iinfo(dtype).max).all()
    assert (found[2:] == truth.ijk[2:]).all()


@pytest.mark.parametrize("kind", ["u4", "i4", "u8", "i8"])
def test_labels_in_wide_integers(tmp_path: Path, kind: str) -> None:
    spec = replace(INDEX, content="mask", labels=(1, 2, 3), shape=(23, 19, 15), stored="along")
    truth = write(tmp_path / "in", spec, edit=stored_as(kind))
    outcome = run(tmp_path / "in", tmp_path / "out.nii")
    found = voxels(outcome)
    assert found.dtype == np.uint8
    assert (found == truth.ijk).all()


def test_64_bits_with_and_without_a_sign_fit_no_type(tmp_path: Path) -> None:
    def alternate(k: int, dataset: Dataset) -> None:
        stored_as("i8" if k % 2 else "u8")(k, dataset)

    truth = write(tmp_path, INDEX, edit=alternate)
    with pytest.raises(PipelineError) as caught:
        stored_type([frame for path in truth.paths for frame in frames_of(read_header(path))])
    assert caught.value.finding.code is Code.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("bits", [4, 10, 12, 24])
def test_other_bits_are_not_supported_and_not_damaged(tmp_path: Path, bits: int) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        needed = -(-bits * dataset.Rows * dataset.Columns // 8)
        dataset.PixelData = bytes(needed + needed % 2)

    finding = refused(write(tmp_path, INDEX, edit=edit)).finding
    assert finding.code is Code.UNSUPPORTED_PIXELS
    assert f"{bits} bits per pixel" in finding.message


@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
@pytest.mark.parametrize("signed", [False, True])
def test_12_bits_allocated_and_16_taken_are_read_with_a_doubt(tmp_path: Path, kind: str, signed: bool) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 12, 12, 11

    truth = write(tmp_path / "in", INDEX, kind=kind, signed=signed, edit=edit, stored="along")
    outcome = run(tmp_path / "in", tmp_path / "out.nii", "image", "affine")
    assert (voxels(outcome) == truth.ijk).all()
    assert outcome.verdict == "UNCONFIRMED"
    (finding,) = outcome.findings
    assert finding.code is Code.PIXEL_LENGTH
    assert "16 bits each" in finding.message


@pytest.mark.parametrize("edit", [stored_as("f8"), stored_as("i8"), two_values(-1, 0)])
def test_kinds_that_a_witness_does_not_read_leave_no_doubt(tmp_path: Path, edit: Edit) -> None:
    write(tmp_path / "in", INDEX, edit=edit, stored="along")
    outcome = run(tmp_path / "in", tmp_path / "out.nii", "image", "voxels")
    assert Code.WITNESS_REFUSED not in {f.code for f in outcome.findings}


# JPEG Extended of 12 bits

J51 = Spec(shape=(37, 45, 4), bits_allocated=16, stored="along", content="index", iop=ORIENTATIONS["double oblique"])


def blocks(k: int, dataset: Dataset) -> None:
    """Equal values in every 8 x 8 block, which JPEG with steps of 1 keeps exactly; from 0 to 4095."""
    frames = int(dataset.get("NumberOfFrames", 1))
    made = np.random.default_rng(k).integers(0, 4096, (frames, 6, 5), np.uint16)
    made[:, 0, :2] = 0, 4095
    whole = made.repeat(8, 1).repeat(8, 2)[:, : dataset.Rows, : dataset.Columns]
    dataset.PixelData = np.ascontiguousarray(whole).tobytes()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
def test_jpeg_extended_of_12_bits(tmp_path: Path, kind: str, signed: bool, capfd: pytest.CaptureFixture[str]) -> None:
    truth = write(tmp_path / "in", J51, kind=kind, edit=blocks)
    expected = []
    for path in sorted(set(truth.paths)):
        expected += [*np.frombuffer(dcmread(path).PixelData, "<u2").astype(int).reshape(-1, 45, 37)]
        compress_twelve_bits(path, signed=signed)
    values = np.stack(expected, -1).transpose(1, 0, 2)
    values = np.where(values > 2047, values - 4096, values) if signed else values
    outcome = run(tmp_path / "in", tmp_path / "out.nii", "image", "voxels")
    assert (voxels(outcome) == values).all()
    assert {f.code for f in outcome.findings} == {Code.LOSSY_PIXELS}
    assert {a.witness: a.status for a in outcome.agreements}["SimpleITK"] in ("AGREES", "REORDERED")
    assert "precision" not in capfd.readouterr().err  # what GDCM prints of every 12-bit frame


def test_jpeg_extended_comes_back_within_rounding(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)

    def noise(_: int, dataset: Dataset) -> None:
        dataset.PixelData = rng.integers(0, 4096, 37 * 45).astype("<u2").tobytes()

    truth = write(tmp_path, J51, edit=noise)
    before = np.stack([np.frombuffer(dcmread(p).PixelData, "<u2").reshape(45, 37).T for p in truth.paths], -1)
    for path in truth.paths:
        compress_twelve_bits(path)
    assert np.abs(planes_of(truth).astype(int) - before).max() <= 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data[: len(data) // 2], Code.CORRUPT_FILE),
        (lambda data: data[:40], Code.CORRUPT_FILE),
        (lambda data: bytes(80) + data[80:], Code.CORRUPT_FILE),
        (lambda data: data.replace(b"\xff\xc1\x00\x0b\x0c", b"\xff\xc1\x00\x0b\x10"), Code.UNSUPPORTED_PIXELS),
        (lambda data: encode(np.zeros((45, 36), int)), Code.CODE_STREAM),
    ],
)
def test_jpeg_extended_that_cannot_be_read(tmp_path: Path, change: Callable[[bytes], bytes], code: Code) -> None:
    truth = write(tmp_path, J51, edit=blocks)
    for path in truth.paths:
        compress_twelve_bits(path)
        dataset = dcmread(path)
        dataset.PixelData = encapsulate([change(next(generate_frames(dataset.PixelData, number_of_frames=1)))])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    assert refused(truth).finding.code is code


def test_jpeg_extended_of_more_bits_than_are_allocated_is_refused(tmp_path: Path) -> None:
    truth = write(tmp_path, J51, edit=blocks)
    for path in truth.paths:
        compress_twelve_bits(path)
        dataset = dcmread(path)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.save_as(path)
    assert refused(truth).finding.code is Code.CODE_STREAM
