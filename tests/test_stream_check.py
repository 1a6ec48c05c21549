"""A frame that says of itself what its file contradicts is refused before a decoder sees it, with little memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID, JPEGBaseline8Bit

from pipeline.core.findings import Code, Finding, PipelineError
from pipeline.dicom.frame import frames_of
from pipeline.dicom.header import read_header
from pipeline.dicom.pixels import read_plane
from pipeline.dicom.stream_check import RLE, DescribedFrame, find_fault
from tests.helpers.phantom import Spec, write

SPEC = Spec(shape=(40, 36, 2), content="index", bits_allocated=16)
SYNTAXES = ["rle", "jpeg lossless", "jpeg-ls", "jpeg 2000"]
Change = Callable[[Dataset], None]


def changed(folder: Path, syntax: str, change: Change, spec: Spec = SPEC) -> Path:
    path = write(folder, spec, transfer_syntax=syntax).paths[0]
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def finding(path: Path) -> Finding:
    with pytest.raises(PipelineError) as caught:
        read_plane(frames_of(read_header(path))[0])
    return caught.value.finding


def set_to(**values: int) -> Change:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def restream(change: Callable[[bytes], bytes]) -> Change:
    """Change the stream of the one frame."""

    def edit(dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([change(get_frame(dataset.PixelData, 0, number_of_frames=1))])
        dataset["PixelData"].is_undefined_length = True

    return edit


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
@pytest.mark.parametrize(
    ("change", "said", "measured", "limit"),
    [
        (
            set_to(Rows=40, Columns=36),
            "Rows (0028,0010) of 40, where it has 36 itself, Columns (0028,0011) of 36",
            36,
            40,
        ),
        (set_to(Rows=18), "Rows (0028,0010) of 18, where it has 36 itself", 36, 18),
        (set_to(Columns=41), "Columns (0028,0011) of 41, where it has 40 itself", 40, 41),
        (set_to(Rows=60000, Columns=60000), "Rows (0028,0010) of 60000", 36, 60000),
    ],
)
def test_other_sizes_are_refused(
    tmp_path: Path, syntax: str, change: Change, said: str, measured: int, limit: int
) -> None:
    found = finding(changed(tmp_path, syntax, change))
    assert (found.code, found.measured, found.limit) == (Code.CODE_STREAM, measured, limit)
    assert said in found.message
    assert found.where == ("IM0001.dcm",)


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
def test_samples_of_more_bits_than_are_allocated_are_refused(tmp_path: Path, syntax: str) -> None:
    found = finding(changed(tmp_path, syntax, set_to(BitsAllocated=8, BitsStored=8, HighBit=7)))
    assert (found.code, found.limit, found.unit) == (Code.CODE_STREAM, 8, "bits")


def test_rle_of_other_bytes_a_pixel_is_refused(tmp_path: Path) -> None:
    found = finding(changed(tmp_path, "rle", set_to(BitsAllocated=32, BitsStored=32, HighBit=31)))
    assert (found.code, found.measured, found.limit, found.unit) == (Code.CODE_STREAM, 2, 4, "segments")


def test_three_samples_under_a_header_of_one_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((36, 40, 3), np.uint8)).save(buffer, "JPEG")

    def put(dataset: Dataset) -> None:
        restream(lambda _: buffer.getvalue())(dataset)
        dataset.file_meta.TransferSyntaxUID = UID(JPEGBaseline8Bit)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7

    found = finding(changed(tmp_path, "jpeg lossless", put))
    assert (found.code, found.measured, found.limit, found.unit) == (Code.CODE_STREAM, 3, 1, "samples")


def test_a_frame_of_rows_and_columns_exchanged_is_not_cut_in_other_places(tmp_path: Path) -> None:
    """As many pixels, of which Pillow makes a plane with its rows cut in other places."""
    buffer = io.BytesIO()
    Image.fromarray(np.add.outer(np.arange(36), np.arange(40)).astype(np.uint8)).save(buffer, "JPEG")

    def put(dataset: Dataset) -> None:
        restream(lambda _: buffer.getvalue())(dataset)
        dataset.file_meta.TransferSyntaxUID = UID(JPEGBaseline8Bit)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.Rows, dataset.Columns = 40, 36

    assert finding(changed(tmp_path, "jpeg lossless", put)).code is Code.CODE_STREAM


@pytest.mark.parametrize("change", [set_to(Rows=35), set_to(Rows=18), set_to(Columns=20)])
def test_rle_of_more_pixels_than_rows_and_columns_is_refused(tmp_path: Path, change: Change) -> None:
    """Decoders cut off what is too much, so that rows begin in other places, or the last are lost."""
    path = changed(tmp_path, "rle", change)
    described = dcmread(path)
    found = finding(path)
    assert (found.code, found.measured, found.unit) == (Code.CODE_STREAM, 40 * 36, "pixels")
    assert found.limit == described.Rows * described.Columns
    assert f"Rows (0028,0010) of {described.Rows} times Columns (0028,0011) of {described.Columns}" in found.message


def rle_of(rows: int, behind: bytes) -> bytes:
    """A frame of RLE of 40 columns, with each row one run, and bytes behind its one segment."""
    return struct.pack("<16I", 1, 64, *[0] * 14) + bytes([257 - 40, 7]) * rows + behind


@pytest.mark.parametrize(
    ("rows", "behind"), [(12, b""), (12, b"\0"), (12, b"\0" * 9), (12, b"\x80\0\0\0"), (12, b"\1")]
)
def test_padding_behind_rle_is_none_of_its_pixels(rows: int, behind: bytes) -> None:
    assert find_fault(rle_of(rows, behind), RLE, DescribedFrame(12, 40, 1, 8, 8, False)) is None


@pytest.mark.parametrize(("rows", "behind", "held"), [(13, b"", 520), (13, b"\0" * 4, 522), (12, b"\1\1\1", 482)])
def test_pixels_behind_those_of_rle_are_no_padding(rows: int, behind: bytes, held: int) -> None:
    fault = find_fault(rle_of(rows, behind), RLE, DescribedFrame(12, 40, 1, 8, 8, False))
    assert fault is not None
    assert (fault.measured, fault.limit, fault.is_damage) == (held, 480, False)


@pytest.mark.parametrize("size", [4000, 65535])
def test_rle_that_cannot_hold_its_pixels_takes_no_memory(tmp_path: Path, size: int) -> None:
    path = changed(tmp_path, "rle", set_to(Rows=size, Columns=size))
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline.core.findings import PipelineError\n"
        "from pipeline.dicom.frame import frames_of\n"
        "from pipeline.dicom.header import read_header\n"
        "from pipeline.dicom.pixels import read_plane\n"
        "try: read_plane(frames_of(read_header(Path(sys.argv[1])))[0])\n"
        "except PipelineError as error: print(error.finding.code.name, error.finding.limit)\n"
    )
    limit = 1 << 30
    resource = pytest.importorskip("resource")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, preexec_fn=limited)
    assert done.stdout.split() == ["CORRUPT_FILE", f"{2 * -(-size * size // 128)}"], done.stderr


def test_a_claim_beyond_what_its_bytes_can_become_is_refused(tmp_path: Path) -> None:
    old, new = (36).to_bytes(2, "big") + (40).to_bytes(2, "big"), (60000).to_bytes(2, "big") * 2

    def claim(dataset: Dataset) -> None:
        restream(lambda stream: stream.replace(old, new))(dataset)
        dataset.Rows = dataset.Columns = 60000

    found = finding(changed(tmp_path, "jpeg lossless", claim))
    assert (found.code, found.limit, found.unit) == (Code.CORRUPT_FILE, 60000 * 60000 // 8, "bytes")


def _noise(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 4096, shape, np.uint16)


def noisy(folder: Path, syntax: str, change: Callable[[bytes], bytes]) -> Path:
    """A file of 128 x 128 random pixels, with its stream changed."""

    def fill(_: int, dataset: Dataset) -> None:
        dataset.PixelData = _noise((128, 128)).astype("<u2").tobytes()

    path = write(folder, Spec(shape=(128, 128, 1), bits_allocated=16), transfer_syntax=syntax, edit=fill).paths[0]
    dataset = dcmread(path)
    restream(change)(dataset)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("end", [b"", b"\0", b"\xff\xd9"], ids=["cut", "zeros", "end marker"])
@pytest.mark.parametrize("part", [0.5, 0.95])
def test_what_a_decoder_makes_up_behind_a_cut_is_no_pixel(tmp_path: Path, syntax: str, end: bytes, part: float) -> None:
    def cut(stream: bytes) -> bytes:
        half = stream[: len(stream) // 2]
        return half + (
            bytes(len(half)) if end == b"\0" else end
        )  # as long as it was, and its second half never arrived

    assert finding(noisy(tmp_path, syntax, cut)).code is Code.CORRUPT_FILE


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
@pytest.mark.parametrize("end", [b"", b"\0", b"\0" * 20])
def test_a_sound_stream_is_read_with_whatever_pad_it_has(tmp_path: Path, syntax: str, end: bytes) -> None:
    path = noisy(tmp_path, syntax, lambda stream: stream.rstrip(b"\0") + end)
    assert (read_plane(frames_of(read_header(path))[0]) == _noise((128, 128))).all()


def test_a_stream_that_leaves_a_number_open_is_left_to_its_decoder() -> None:
    described = DescribedFrame(36, 40, 1, 16, 12, False)
    open_lines = (
        b"\xff\xd8\xff\xc3\x00\x0b\x10"
        + bytes(2)
        + (40).to_bytes(2, "big")
        + b"\x01\x01\x11\x00"
        + bytes(500)
        + b"\xff\xd9"
    )
    for stream in (open_lines, b"", b"\xff\xd8", b"\xff\x4f\xff\x51\x00\x04\x00\x00", bytes(100)):
        assert find_fault(stream, "1.2.840.10008.1.2.4.70", described) is None


def test_signed_samples_of_fewer_bits_than_are_stored_are_refused_of_jpeg_alone(tmp_path: Path) -> None:
    described = DescribedFrame(36, 40, 1, 16, 16, True)
    header = (
        b"\x00\x0b\x0c"
        + (36).to_bytes(2, "big")
        + (40).to_bytes(2, "big")
        + b"\x01\x01\x11\x00"
        + bytes(500)
        + b"\xff\xd9"
    )
    found = find_fault(b"\xff\xd8\xff\xc3" + header, "1.2.840.10008.1.2.4.70", described)
    assert found is not None
    assert (found.measured, found.limit) == (12, 16)
    assert find_fault(b"\xff\xd8\xff\xf7" + header, "1.2.840.10008.1.2.4.80", described) is None
    assert find_fault(b"\xff\xd8\xff\xc3" + header, "1.2.840.10008.1.2.4.70", described._replace(stored=12)) is None


def test_only_what_needs_a_process_has_one(tmp_path: Path) -> None:
    path = write(tmp_path, SPEC, transfer_syntax="rle").paths[0]
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline.dicom import decoder_process\n"
        "from pipeline.dicom.frame import frames_of\n"
        "from pipeline.dicom.header import read_header\n"
        "from pipeline.dicom.pixels import stored_voxels\n"
        "stored_voxels([frames_of(read_header(Path(sys.argv[1])))[0]]).plane(0)\n"
        "import os; print(len(decoder_process._pool(os.getpid())))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


def test_jpeg_2000_is_whole_where_its_end_marker_is_last_or_behind_its_tiles() -> None:
    stream = bytes(encode_array(_noise((128, 128)), bits_stored=12)).rstrip(b"\0")
    described = DescribedFrame(128, 128, 1, 16, 12, False)
    for sound in (stream, stream + bytes(9), stream + b"left over"):
        assert find_fault(sound, "1.2.840.10008.1.2.4.90", described) is None
    cut = len(stream) - 300
    for length in (0, 1, 300):
        fault = find_fault(stream[:cut] + bytes(length), "1.2.840.10008.1.2.4.90", described)
        assert fault is not None
        assert fault.is_damage
        assert fault.limit == fault.measured + 2
