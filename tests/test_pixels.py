"""Stored values of frames, through real files in every encoding, and what is refused where pixels are not whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames

from pipeline.core.findings import Code, PipelineError
from pipeline.dicom.frame import frames_of
from pipeline.dicom.header import read_header
from pipeline.dicom.pixels import read_plane, stored_type
from tests.helpers.phantom import SYNTAXES, Spec, Truth, write

SMALL = Spec(shape=(6, 5, 3), content="index", stored="shuffled")
LARGE = replace(SMALL, shape=(36, 34, 2))  # JPEG 2000 wants frames of 32 x 32 at least
NATIVE = ("implicit", "explicit", "big endian", "deflated")


def planes_of(truth: Truth) -> np.ndarray:
    """What the pipeline reads, (columns, rows, planes)."""
    planes = []
    for path, frame in zip(truth.paths, truth.frames, strict=True):
        plane = read_plane(frames_of(read_header(path))[frame])
        assert plane.flags.c_contiguous
        assert plane.dtype.isnative
        planes.append(plane.T)
    return np.stack(planes, -1)


def refusal(truth: Truth, plane: int = 0) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read_plane(frames_of(read_header(truth.paths[plane]))[truth.frames[plane]])
    return caught.value


def set_to(**values: object) -> Callable[[int, Dataset], None]:
    def edit(_: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


def swapped(_: int, dataset: Dataset) -> None:
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u4").byteswap().tobytes()


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (8, True), (16, False), (16, True), (32, False), (32, True)])
@pytest.mark.parametrize("kind", ["ct", "multi-frame sc"])
def test_native_values(tmp_path: Path, syntax: str, bits: int, signed: bool, kind: str) -> None:
    words = (bits, syntax) == (32, "big endian")  # the phantom swaps 16 bits only
    truth = write(
        tmp_path,
        SMALL,
        bits_allocated=bits,
        signed=signed,
        transfer_syntax=syntax,
        kind=kind,
        edit=swapped if words else lambda k, dataset: None,
    )
    read = planes_of(truth)
    assert (read == truth.ijk).all()
    assert read.dtype == np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    assert stored_type(frames_of(read_header(truth.paths[0]))) == read.dtype


@pytest.mark.parametrize("shape", [(6, 5, 3), (5, 3, 3)])
def test_8_bits_in_big_endian_words(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    """PS3.5 8.1.2: as OW, the bytes of every 16-bit word are swapped; frames of odd size share a word."""

    def in_words(_: int, dataset: Dataset) -> None:
        data = dataset.PixelData
        dataset.PixelData = np.frombuffer(data, "<u2").byteswap().tobytes()
        dataset["PixelData"].VR = "OW"

    for kind in ("sc", "multi-frame sc"):
        truth = write(
            tmp_path / kind,
            SMALL,
            shape=shape,
            kind=kind,
            bits_allocated=8,
            transfer_syntax="big endian",
            edit=in_words,
        )
        assert dcmread(truth.paths[0])["PixelData"].VR == "OW"
        assert (planes_of(truth) == truth.ijk).all()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", NATIVE)
def test_bits_above_bits_stored_are_no_part_of_the_value(tmp_path: Path, syntax: str, signed: bool) -> None:
    truth = write(tmp_path, SMALL, bits_stored=12, dirty=True, signed=signed, transfer_syntax=syntax)
    assert (planes_of(truth) == truth.ijk).all()


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("syntax", ["explicit", "deflated", "rle"])
def test_a_high_bit_that_is_not_the_highest_stored_is_refused(tmp_path: Path, syntax: str, shifted: bool) -> None:
    """The values may be the upper or the lower bits; peers take all bits as they are, the standard allows neither."""

    def raise_high_bit(_: int, dataset: Dataset) -> None:
        if shifted:
            dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") << 4 | 9).astype("<u2").tobytes()
        dataset.HighBit = 15

    finding = refusal(write(tmp_path, SMALL, bits_stored=12, transfer_syntax=syntax, edit=raise_high_bit)).finding
    assert (finding.code, finding.measured, finding.limit) == (Code.HIGH_BIT, 15, 11)


def test_a_wrong_high_bit_does_not_matter_where_every_bit_is_stored(tmp_path: Path) -> None:
    truth = write(tmp_path, SMALL, edit=set_to(HighBit=11))
    assert (planes_of(truth) == truth.ijk).all()


@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
@pytest.mark.parametrize("syntax", [s for s in SYNTAXES if s not in NATIVE])
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (16, False), (16, True)])
def test_compressed_values(tmp_path: Path, kind: str, syntax: str, bits: int, signed: bool) -> None:
    content = "index" if bits == 16 else "mask"
    spec = replace(LARGE, kind=kind, transfer_syntax=syntax, bits_allocated=bits, signed=signed, content=content)
    truth = write(tmp_path, spec, labels=(1, 200, 255), radius_mm=17)
    read = planes_of(truth)
    assert (read == truth.ijk).all()
    assert read.dtype == np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    assert len(np.unique(read)) > 2


@pytest.mark.parametrize("syntax", ["jpeg-ls", "jpeg 2000", "jpeg lossless", "rle"])
def test_compressed_twelve_bits_signed(tmp_path: Path, syntax: str) -> None:
    truth = write(tmp_path, LARGE, transfer_syntax=syntax, bits_stored=12, signed=True)
    assert truth.ijk.min() < -1000
    assert (planes_of(truth) == truth.ijk).all()


@pytest.mark.parametrize("syntax", ["explicit", "jpeg-ls"])
def test_monochrome1_is_never_inverted(tmp_path: Path, syntax: str) -> None:
    truth = write(tmp_path, LARGE, photometric="MONOCHROME1", transfer_syntax=syntax)
    assert (planes_of(truth) == truth.ijk).all()


def test_rescale_is_not_applied(tmp_path: Path) -> None:
    truth = write(tmp_path, SMALL, rescale=((2.5, -1024.0),))
    assert (planes_of(truth) == truth.ijk).all()


@pytest.mark.parametrize("kind", ["ct", "multi-frame sc"])
def test_a_file_cut_off_in_its_pixels_is_refused_with_numbers(tmp_path: Path, kind: str) -> None:
    truth = write(tmp_path, SMALL, kind=kind, stored="along")
    path = truth.paths[-1]
    path.write_bytes(path.read_bytes()[:-7])
    finding = refusal(truth, plane=2).finding
    assert finding.code is Code.CORRUPT_FILE
    assert (finding.measured, finding.limit, finding.unit) == (6 * 5 * 2 - 7, 6 * 5 * 2, "bytes")
    assert path.name in finding.message
    if kind != "ct":  # what is whole is read
        assert (truth.ijk[:, :, 0] == read_plane(frames_of(read_header(path))[0]).T).all()


def test_pixel_data_shorter_than_its_rows_and_columns_is_refused(tmp_path: Path) -> None:
    """Whole file, short element: what follows the pixels is not taken for pixels."""

    def shorten(_: int, dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[:-4]
        dataset.DataSetTrailingPadding = bytes(64)

    finding = refusal(write(tmp_path, SMALL, edit=shorten)).finding
    assert (finding.code, finding.measured) == (Code.CORRUPT_FILE, 56)


def test_deflated_pixels_cut_short_are_refused(tmp_path: Path) -> None:
    def shorten(_: int, dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[:-4]

    truth = write(tmp_path, SMALL, transfer_syntax="deflated", edit=shorten)
    assert refusal(truth).finding.code is Code.CORRUPT_FILE


def damage(path: Path, change: Callable[[bytes], bytes], frame: int = 0) -> None:
    """Change one compressed frame and wrap all of them again."""
    dataset = dcmread(path)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1))))
    frames[frame] = change(frames[frame])
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)


@pytest.mark.parametrize("kind", ["ct", "enhanced mr"])
@pytest.mark.parametrize("syntax", ["rle", "jpeg lossless", "jpeg-ls", "jpeg 2000"])
@pytest.mark.parametrize("how", ["cut in half", "beginning overwritten"])
def test_a_damaged_compressed_frame_is_refused(tmp_path: Path, kind: str, syntax: str, how: str) -> None:
    truth = write(tmp_path, LARGE, shape=(40, 36, 2), kind=kind, transfer_syntax=syntax, stored="along")
    if how == "cut in half":
        damage(truth.paths[1], lambda data: data[: len(data) // 4 * 2], frame=truth.frames[1])
    else:
        damage(truth.paths[1], lambda data: bytes(80) + data[80:], frame=truth.frames[1])
    error = refusal(truth, plane=1)
    assert error.finding.code is Code.CORRUPT_FILE
    assert truth.paths[1].name in error.finding.message
    assert (truth.ijk[:, :, 0] == read_plane(frames_of(read_header(truth.paths[0]))[0]).T).all()


def test_colour_is_refused(tmp_path: Path) -> None:
    def colour(_: int, dataset: Dataset) -> None:
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PhotometricInterpretation = "RGB"
        dataset.PixelData = dataset.PixelData * 3

    error = refusal(write(tmp_path, SMALL, bits_allocated=8, edit=colour))
    assert error.finding.code is Code.COLOUR
    assert "RGB, 3 samples" in error.finding.message


def test_pixels_without_a_sign_are_refused(tmp_path: Path) -> None:
    def forget(_: int, dataset: Dataset) -> None:
        del dataset.PixelRepresentation

    error = refusal(write(tmp_path, SMALL, edit=forget))
    assert error.finding.code is Code.CORRUPT_FILE
    assert "(0028,0103)" in error.finding.message


def test_a_transfer_syntax_nobody_reads_is_refused(tmp_path: Path) -> None:
    truth = write(tmp_path, LARGE, transfer_syntax="jpeg-ls")
    path = truth.paths[0]
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
    dataset.save_as(path)
    error = refusal(truth)
    assert error.finding.code is Code.UNSUPPORTED_PIXELS
    assert "1.2.840.10008.1.2.4.102" in error.finding.message
    assert "uncompressed" in error.finding.hint


def test_the_type_of_mixed_planes_holds_all_of_them(tmp_path: Path) -> None:
    def sign_one(k: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation = int(k == 1)

    truth = write(tmp_path, SMALL, edit=sign_one)
    assert stored_type([frames_of(read_header(p))[0] for p in truth.paths]) == np.int32


def test_a_file_that_went_away_is_refused_by_name(tmp_path: Path) -> None:
    truth = write(tmp_path, SMALL)
    frame = frames_of(read_header(truth.paths[0]))[0]
    truth.paths[0].unlink()
    with pytest.raises(PipelineError) as caught:
        read_plane(frame)
    assert truth.paths[0].name in caught.value.finding.message
