"""Empty planes are deflated, read and counted once: counted here in real files; never timed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.request import Request
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom import pixels
from pipeline.geometry.grid import Grid
from pipeline.nifti import crc32, gzip_writer
from pipeline.nifti import file as nifti
from pipeline.nifti.gzip_writer import Deflated, GzipWriter, Zeros
from pipeline.nifti.proof import prove, start_read_back
from pipeline.nifti.streams import open_stream
from pipeline.volume import label_table as tables
from pipeline.volume.mask import MaskVolume, Segment, Voxels
from pipeline.volume.merge import merge
from pipeline.volume.regrid import put_onto
from tests.helpers.phantom import Spec
from tests.helpers.phantom import write as write_phantom
from tests.helpers.rtphantom import PhantomRoi, ellipse, grid, on, write_images, write_struct

OFF = Policy(crosscheck="off")
SIDE, PLANES = 64, 40
ARRAY = np.zeros((SIDE, SIDE, PLANES), np.uint8)
ARRAY[10:30, 20:40, 15:20] = 1
SMALL_BLOCK = 4 * SIDE * SIDE  # four planes, and the header before the first


@pytest.fixture
def deflated(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every block that is deflated, whether it is zeros only; blocks are small, and none is known yet."""
    made: list[bool] = []
    inner: Callable[..., Deflated] = gzip_writer._deflate

    def counted(parts: Any, level: Any) -> Deflated:
        made.append(not any(any(part) for part in parts))
        return inner(parts, level)

    monkeypatch.setattr(gzip_writer, "_BLOCK", SMALL_BLOCK)
    monkeypatch.setattr(gzip_writer, "_deflate", counted)
    gzip_writer._deflate_zeros.cache_clear()
    return made


def write(path: Path, voxels: Voxels, level: int | None = None) -> tuple[int, ...]:
    header, _ = nifti.pack_header(
        np.eye(4), voxels.shape, voxels.dtype, slope=1, intercept=0, label=True, description="", limit_mm=1
    )
    with open_stream(path, "wb", gzipped=path.suffix == ".gz", level=level) as file:
        return nifti.write(file, header, voxels, lambda done: None)


def test_a_block_of_empty_planes_is_deflated_once_a_process(tmp_path: Path, deflated: list[bool]) -> None:
    first = write(tmp_path / "first.nii.gz", Voxels.of(ARRAY))
    assert (deflated.count(True), deflated.count(False)) == (1, 3)  # the header's block, and two that hold labels
    second = write(tmp_path / "second.nii.gz", Voxels.of(ARRAY))
    assert (deflated.count(True), deflated.count(False)) == (1, 6)
    assert first == second
    assert (tmp_path / "first.nii.gz").read_bytes() == (tmp_path / "second.nii.gz").read_bytes()
    write(tmp_path / "other.nii.gz", Voxels.of(ARRAY), level=2)
    assert deflated.count(True) == 2  # another engine gives other bytes


@pytest.mark.parametrize("level", [None, 2, 6])
def test_reused_blocks_are_the_bytes_of_blocks_deflated_anew(
    tmp_path: Path, deflated: list[bool], level: int | None
) -> None:
    write(tmp_path / "a.nii.gz", Voxels.of(ARRAY), level)
    with (tmp_path / "b.nii.gz").open("wb") as plain, GzipWriter(plain, level) as stream:
        data = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
        for start, stop in [(0, 352), *((n, n + SIDE * SIDE) for n in range(352, len(data), SIDE * SIDE))]:
            stream.write(data[start:stop])
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_planes_known_to_be_empty_are_never_made_and_the_others_once(tmp_path: Path) -> None:
    made: list[int] = []
    inner = Voxels.of(ARRAY)

    def plane(k: int) -> Any:
        made.append(k)
        return inner.plane(k)

    known = Voxels(inner.shape, inner.dtype, plane, lambda k: not 15 <= k < 20)
    write(tmp_path / "known.nii", known)
    write(tmp_path / "looked.nii", inner)
    assert made == [15, 16, 17, 18, 19]
    assert (tmp_path / "known.nii").read_bytes() == (tmp_path / "looked.nii").read_bytes()


def test_minus_zero_is_not_empty(tmp_path: Path) -> None:
    array = np.full((5, 4, 3), -0.0, np.float32)
    write(tmp_path / "a.nii", Voxels.of(array))
    assert (tmp_path / "a.nii").read_bytes()[352:] == array.tobytes()
    assert not put_onto(Voxels.of(array), np.eye(4, dtype=np.int64), (5, 4, 6), -0.0).is_empty(5)


def test_a_structure_set_deflates_empty_blocks_once_for_all_its_rois(tmp_path: Path, deflated: list[bool]) -> None:
    g = grid(shape=(SIDE, SIDE, PLANES))
    write_images(tmp_path / "ct", g)
    rois = [
        PhantomRoi(f"roi {n}", [on(g, ellipse(30, 30, 9 + n, 8), k) for k in range(10 * n, 10 * n + 3)], n)
        for n in (1, 2, 3)
    ]
    write_struct(tmp_path / "rs.dcm", rois)
    request = Request(source=tmp_path / "ct")
    done = convert_all([tmp_path / "rs.dcm"], tmp_path / "out", request=request, policy=OFF)
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 3, done
    assert deflated.count(True) == 1
    # Of each ROI the block with the header, and those that its planes 10n to 10n + 2 lie in: 2, 1 and 2.
    assert deflated.count(False) == 3 + sum(len({k // 4 for k in range(10 * n, 10 * n + 3)}) for n in (1, 2, 3))


def test_the_second_pass_of_a_mask_series_reads_no_empty_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = write_phantom(tmp_path / "in", Spec(), content="mask", radius_mm=4)
    read: list[str] = []
    inner = pixels.read_allocated
    monkeypatch.setattr(
        pixels, "read_allocated", lambda frame, *more: (read.append(frame.name), inner(frame, *more))[1]
    )
    convert([truth.folder], tmp_path / "out.nii", policy=OFF)
    written = list(nifti.read_planes(tmp_path / "out.nii"))
    filled = sum(bool(plane.any()) for plane in written)
    assert 0 < filled < len(written)
    assert len(read) == len(written) + filled


def test_an_empty_plane_is_counted_as_nothing_and_ends_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    inner = tables.runs_of
    monkeypatch.setattr(tables, "runs_of", lambda planes: (looked_at.append(len(planes)), inner(planes))[1])
    array = ARRAY.copy()
    array[10:30, 20:40, 22:24] = 1
    mask = MaskVolume(Voxels.of(array), Grid(array.shape, np.eye(4)), (Segment(1, "one"),))
    (row,) = tables.label_table(mask)
    assert looked_at == [5, 2]
    assert (row.voxels, row.components, row.extent) == (20 * 20 * 7, 2, ((10, 29), (20, 39), (15, 23)))


def test_emptiness_goes_through_merges_and_other_grids() -> None:
    g = Grid(ARRAY.shape, np.eye(4))
    one = Voxels(ARRAY.shape, ARRAY.dtype, Voxels.of(ARRAY).plane, lambda k: not 15 <= k < 20)
    other = Voxels(ARRAY.shape, ARRAY.dtype, Voxels.of(ARRAY[:, :, ::-1]).plane, lambda k: not 20 <= k < 25)
    merged = merge([MaskVolume(v, g, (Segment(1, name),), name) for name, v in (("a", one), ("b", other))]).mask.voxels
    assert [k for k in range(PLANES) if not merged.is_empty(k)] == list(range(15, 25))
    turned = np.diag([1, 1, -1, 1])
    turned[2, 3] = PLANES + 1
    larger = put_onto(one, turned, (SIDE, SIDE, PLANES + 4))
    assert [k for k in range(PLANES + 4) if not larger.is_empty(k)] == list(range(22, 27))
    assert [k for k, plane in enumerate(larger) if plane.any()] == list(range(22, 27))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_wrong_byte_within_empty_planes_is_found_by_proof_2(
    tmp_path: Path, deflated: list[bool], ending: str
) -> None:
    path = tmp_path / f"a{ending}"
    sums = write(path, Voxels.of(ARRAY))
    prove(path, np.eye(4), ARRAY.shape, ARRAY.dtype, sums, 1)
    raw = bytearray(path.read_bytes())
    if ending == ".nii":
        raw[352 + 30 * SIDE * SIDE + 77] = 1
    else:  # a valid file of one member, with another plane 30
        data = bytearray(gzip.decompress(raw))
        data[352 + 30 * SIDE * SIDE + 77] = 1
        raw[:] = gzip.compress(data)
    path.write_bytes(raw)
    with pytest.raises(PipelineError) as caught:
        prove(path, np.eye(4), ARRAY.shape, ARRAY.dtype, sums, 1)
    assert caught.value.finding.code is Code.READ_BACK_DIFFERS
    assert caught.value.finding.where == ("plane 30",)


def inflated(raw: bytes | bytearray) -> bytes | None:
    """What zlib makes of it; None where it refuses it."""
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return None


def test_any_flipped_bit_of_a_deflated_mask_is_found(tmp_path: Path, deflated: list[bool]) -> None:
    path = tmp_path / "a.nii.gz"
    sums = write(path, Voxels.of(ARRAY))
    whole = path.read_bytes()
    for n in range(10, len(whole), 3):
        raw = bytearray(whole)
        raw[n] ^= 1 << n % 8
        if inflated(raw) == inflated(whole):  # a bit of no meaning: padding before a byte border
            continue
        path.write_bytes(raw)
        back = start_read_back(path, ARRAY.shape, ARRAY.dtype, gzipped=True, labels=True).result()
        with pytest.raises(PipelineError) as caught:
            prove(path, np.eye(4), ARRAY.shape, ARRAY.dtype, sums, 1, back)
        assert caught.value.finding.code is Code.READ_BACK_DIFFERS


def test_zeros_are_zeros() -> None:
    assert Zeros(5) == bytes(5)
    assert Zeros(0) == b""
    with pytest.raises(TypeError):
        Zeros(b"abc")  # type: ignore[arg-type]


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_checksums_combine_to_that_of_the_whole(first: bytes, second: bytes) -> None:
    assert crc32.combine(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 7, 33_000_001])
def test_checksums_of_many_zeros_combine(size: int) -> None:
    from isal import isal_zlib

    zeros = bytes(size)
    assert crc32.combine(zlib.crc32(b"before"), zlib.crc32(zeros), size) == isal_zlib.crc32(b"before" + zeros)
