"""The NIfTI file against nibabel and SimpleITK, and the proof that reads it back against files that are not right."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.core.atomic_file import folder_in_place, in_place
from pipeline.core.findings import Code, PipelineError
from pipeline.geometry.affine import corner_indices
from pipeline.geometry.grid import Grid
from pipeline.nifti import file as nifti
from pipeline.nifti.proof import prove
from pipeline.nifti.streams import open_stream
from pipeline.volume.mask import Voxels

LIMIT_MM = 1e-2
TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4")
SHAPE = (5, 4, 3)


def grid_of(shape: tuple[int, int, int] = SHAPE) -> Grid:
    """A double oblique one."""
    lps = np.eye(4)
    turn = Rotation.from_euler("zyx", (14, -22, 31), degrees=True).as_matrix()
    lps[:3, :3], lps[:3, 3] = turn * (0.7, 1.3, 2.9), (-81.3, 17.2, 211.9)
    return Grid(shape, lps)


def numbered(shape: tuple[int, int, int], dtype: str) -> np.ndarray:
    """A unique value for every voxel, where the type has enough of them."""
    return (np.arange(1, np.prod(shape) + 1).reshape(shape[::-1]).T % 127).astype(dtype)


def write(
    path: Path, grid: Grid, array: np.ndarray, *, slope: float = 1, intercept: float = 0, label: bool = True
) -> tuple[int, ...]:
    header, _ = nifti.pack_header(
        grid.ras,
        grid.shape,
        array.dtype,
        slope=slope,
        intercept=intercept,
        label=label,
        description="verimask",
        limit_mm=LIMIT_MM,
    )
    with open_stream(path, "wb", gzipped=path.suffix == ".gz") as file:
        return nifti.write(file, header, Voxels.of(array), lambda done: None)


def worst_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    corners = np.column_stack([corner_indices(shape), np.ones(8)])
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


@pytest.mark.parametrize(("degrees", "code"), [(0, 1), (1e-5, 1), (1e-4, 1), (0.02, 0), (0.05, 0), (1, 1), (3, 1)])
def test_a_qform_is_left_out_where_readers_would_straighten_it(tmp_path: Path, degrees: float, code: int) -> None:
    lps = np.eye(4)
    lps[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() * (0.7, 0.7, 2)
    grid = Grid((512, 512, 3), lps)
    path = tmp_path / "turned.nii"
    write(path, grid, np.zeros(grid.shape, "u1"))
    header = nibabel.load(path).header
    assert int(header["qform_code"]) == code
    if code:
        assert worst_mm(header.get_qform(), grid.ras, grid.shape) < LIMIT_MM


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_are_parsed(tmp_path: Path, order: str) -> None:
    grid, array = grid_of(), numbered(SHAPE, "u2")
    affine = grid.ras.astype(np.float32)
    image = nibabel.Nifti1Image(array.astype(order + "u2"), affine, nibabel.Nifti1Header(endianness=order))
    image.set_data_dtype(order + "u2")
    image.set_sform(affine, code=1)
    image.to_filename(tmp_path / "swapped.nii")
    header = nifti.read_header(tmp_path / "swapped.nii")
    assert header.dtype == np.dtype(order + "u2")
    assert worst_mm(header.affine, grid.ras, SHAPE) < 1e-4
    read = np.stack(list(nifti.read_planes(tmp_path / "swapped.nii")))
    assert (array == read.T).all()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", Code.CORRUPT_FILE),
        (b"\x5c\x01\0\0" + bytes(344), Code.UNSUPPORTED_NIFTI),  # Analyze
        (b"no header at all" * 30, Code.NOT_THIS_KIND),
        (bytes(348), Code.CORRUPT_FILE),
    ],
)
def test_what_is_no_nifti_is_refused(tmp_path: Path, content: bytes, code: Code) -> None:
    path = tmp_path / "other.nii"
    path.write_bytes(content)
    with pytest.raises(PipelineError) as caught:
        nifti.read_header(path)
    assert caught.value.finding.code is code


def test_a_type_that_is_not_read_is_refused(tmp_path: Path) -> None:
    nibabel.Nifti1Image(np.zeros(SHAPE, np.complex64), np.eye(4)).to_filename(tmp_path / "complex.nii")
    with pytest.raises(PipelineError, match="datatype 32"):
        nifti.read_header(tmp_path / "complex.nii")


def put(at: int, layout: str, *values: float) -> Callable[[bytearray], None]:
    """A change of some bytes of a little-endian header."""
    return lambda raw: struct.pack_into("<" + layout, raw, at, *values)


DAMAGED = {
    "no dimensions": (put(40, "h", 0), "0 dimensions"),
    "eight dimensions": (put(40, "h", 8), "8 dimensions"),
    "a negative side": (put(42, "h", -5), "-5 × 4 × 3"),
    "no planes": (put(46, "h", 0), "5 × 4 × 0"),
    "voxels from inf": (put(108, "f", np.inf), "byte inf"),
    "voxels from nan": (put(108, "f", np.nan), "byte nan"),
    "voxels before the file": (put(108, "f", -1), "byte -1"),
    "voxels in the header": (put(108, "f", 344), "byte 344"),
    "voxels between bytes": (put(108, "f", 352.5), "byte 352.5"),
    "a type nobody knows": (put(70, "h", 77), "no datatype 77"),
    "no type": (put(70, "h", 0), "no datatype 0"),
    "an end within the header": (lambda raw: raw.__delitem__(slice(200, None)), "ends after 200"),
}
UNSUPPORTED = {
    "bits": (put(70, "h", 1), "bits"),
    "complex": (put(70, "h", 1792), "complex128"),
    "RGBA": (put(70, "h", 2304), "RGBA"),
    "float128": (put(70, "h", 1536), "float128"),
    "no magic": (put(344, "i", 0), "n\\+1"),
    "a pair": (lambda raw: raw.__setitem__(slice(344, 347), b"ni1"), "pair"),
}
OTHER_KIND = {
    "one byte": (lambda raw: raw.__delitem__(slice(1, None)), "not a NIfTI-1 file"),
    "a picture": (lambda raw: raw.__setitem__(slice(0, 8), b"\x89PNG\r\n\x1a\n"), "not a NIfTI-1 file"),
}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("how", "code"),
    [
        *((how, "CORRUPT_FILE") for how in DAMAGED),
        *((how, "UNSUPPORTED_NIFTI") for how in UNSUPPORTED),
        *((how, "NOT_THIS_KIND") for how in OTHER_KIND),
    ],
)
def test_a_header_is_refused_by_what_is_wrong_with_it(tmp_path: Path, how: str, code: str, ending: str) -> None:
    path = tmp_path / f"odd{ending}"
    write(tmp_path / "good.nii", grid_of(), numbered(SHAPE, "u1"))
    change, words = (DAMAGED | UNSUPPORTED | OTHER_KIND)[how]
    raw = bytearray((tmp_path / "good.nii").read_bytes())
    change(raw)
    path.write_bytes(raw if ending == ".nii" else gzip.compress(raw))
    for read in (nifti.read_header, nifti.read_geometry, lambda p: list(nifti.read_planes(p))):
        with pytest.raises(PipelineError, match=words) as caught:
            read(path)
        finding = caught.value.finding
        assert (finding.code.name, finding.where) == (code, (path.name,))
        assert finding.message.startswith(path.name)


@pytest.mark.parametrize("endianness", "<>")
def test_nifti_2_is_not_supported_and_not_called_damaged(tmp_path: Path, endianness: str) -> None:
    header = nibabel.Nifti2Header(endianness=endianness)
    nibabel.Nifti2Image(np.zeros(SHAPE, "u1"), np.eye(4), header).to_filename(tmp_path / "two.nii")
    with pytest.raises(PipelineError, match=r"two\.nii is NIfTI-2") as caught:
        nifti.read_header(tmp_path / "two.nii")
    assert caught.value.finding.code is Code.UNSUPPORTED_NIFTI


def test_neither_half_of_a_pair_is_read(tmp_path: Path) -> None:
    nibabel.Nifti1Pair(np.zeros(SHAPE, "u1"), np.eye(4)).to_filename(tmp_path / "two.img")
    for name in ("two.hdr", "two.img"):
        with pytest.raises(PipelineError, match=name) as caught:
            nifti.read_header(tmp_path / name)
        assert caught.value.finding.code is Code.UNSUPPORTED_NIFTI
        assert nifti.is_named_nifti(tmp_path / name)
    assert not nifti.is_named_nifti(tmp_path / "other.img")  # may be DICOM


@pytest.mark.parametrize("dtype", ["i8", "u8", ">i8", ">u8"])
def test_integers_of_64_bits_are_read(tmp_path: Path, dtype: str) -> None:
    array = np.array([0, 1, 2**40, 2**53 + 1], dtype).reshape(2, 2, 1)
    header = nibabel.Nifti1Header(endianness=dtype[0] if dtype[0] == ">" else "<")
    nibabel.Nifti1Image(array, np.eye(4), header, dtype=array.dtype).to_filename(tmp_path / "wide.nii.gz")
    assert (array == np.stack(list(nifti.read_planes(tmp_path / "wide.nii.gz"))).T).all()


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "vast.nii"
    write(path, grid_of(), numbered(SHAPE, "u1"))
    raw = bytearray(path.read_bytes())
    put(40, "8h", 7, *[32767] * 7)(raw)
    path.write_bytes(raw)
    (tmp_path / "vast.nii.gz").write_bytes(gzip.compress(raw))
    put(40, "4h", 3, 5, 4, 3)(raw)
    put(108, "f", 1e30)(raw)
    (tmp_path / "far.nii").write_bytes(raw)
    for name in ("vast.nii", "vast.nii.gz", "far.nii"):
        with pytest.raises(PipelineError, match=f"{name} is cut off, or its header is damaged") as caught:
            list(nifti.read_planes(tmp_path / name))
        assert caught.value.finding.limit > caught.value.finding.measured > 0  # type: ignore[operator]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "folder.nii").mkdir()
    for name, words in (("pipe.nii.gz", "not a regular"), ("folder.nii", "not a regular"), ("no.nii", "not there")):
        with pytest.raises(PipelineError, match=words) as caught:
            nifti.read_header(tmp_path / name)
        assert caught.value.finding.code is Code.NO_SUCH_INPUT


def test_a_side_too_long_for_the_header_is_refused() -> None:
    with pytest.raises(PipelineError) as caught:
        nifti.pack_header(
            np.eye(4), (32768, 1, 1), np.dtype("u1"), slope=1, intercept=0, label=True, description="", limit_mm=1
        )
    assert (caught.value.finding.code, caught.value.finding.measured) == (Code.TOO_LARGE, 32768)


def test_gzip_is_one_member_without_time_or_name(tmp_path: Path) -> None:
    shape = (301, 207, 41)  # 2.5 MB: several blocks of the threads
    array = np.random.default_rng(5).integers(0, 7, shape).astype("u1")
    write(tmp_path / "large.nii.gz", grid_of(shape), array)
    raw = (tmp_path / "large.nii.gz").read_bytes()
    assert raw[:3] == b"\x1f\x8b\x08"
    assert raw[3] == 0  # no file name, comment or extra field
    assert raw[4:8] == bytes(4)
    member = zlib.decompressobj(wbits=31)
    data = member.decompress(raw)
    assert member.eof
    assert member.unused_data == b""
    assert data[352:] == array.tobytes(order="F")
    assert gzip.decompress(raw) == data


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_same_voxels_give_the_same_bytes(tmp_path: Path, ending: str) -> None:
    array = np.random.default_rng(5).integers(0, 7, (150, 107, 31)).astype("u1")
    for name in "ab":
        write(tmp_path / f"{name}{ending}", grid_of(array.shape), array)
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_proof_holds_for_what_was_written(tmp_path: Path, dtype: str, ending: str) -> None:
    path, grid, array = tmp_path / f"a{ending}", grid_of(), numbered(SHAPE, dtype)
    checksums = write(path, grid, array)
    assert prove(path, grid.ras, grid.shape, array.dtype, checksums, 2e-4) < 2e-5
    assert np.stack(list(nifti.read_planes(path))).T.tobytes() == array.tobytes()


def spoilt(change: Callable[[bytearray], None]) -> Callable[[bytes], bytes]:
    def apply(raw: bytes) -> bytes:
        data = bytearray(raw)
        change(data)
        return bytes(data)

    return apply


def _flip(at: int) -> Callable[[bytes], bytes]:
    return spoilt(lambda data: data.__setitem__(at, data[at] ^ 1))


def _swap_planes(data: bytearray) -> None:
    data[352:372], data[372:392] = data[372:392], data[352:372]


SPOILT = {
    "first voxel": _flip(352),
    "last voxel": _flip(-1),
    "one voxel in the middle": _flip(352 + 33),
    "two planes swapped": spoilt(_swap_planes),
    "another shape": spoilt(lambda data: data.__setitem__(slice(42, 46), struct.pack("<2h", 4, 5))),
    "fewer planes": lambda raw: spoilt(lambda data: data.__setitem__(slice(46, 48), struct.pack("<h", 2)))(raw)[:-20],
    "another type": spoilt(lambda data: data.__setitem__(slice(70, 72), struct.pack("<h", 256))),
    "origin moved by a millimetre": spoilt(
        lambda data: data.__setitem__(slice(292, 296), struct.pack("<f", struct.unpack("<f", data[292:296])[0] + 1))
    ),
    "column direction negated": spoilt(lambda data: data.__setitem__(283, data[283] ^ 0x80)),
    "sform switched off": spoilt(lambda data: data.__setitem__(slice(254, 256), b"\0\0")),
    "slope doubled": spoilt(lambda data: data.__setitem__(slice(112, 116), struct.pack("<f", 2))),
    "qform turned": spoilt(lambda data: data.__setitem__(slice(256, 260), struct.pack("<f", 0.9))),
}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("how", SPOILT)
def test_proof_refuses_what_was_changed(tmp_path: Path, how: str, ending: str) -> None:
    path, grid, array = tmp_path / f"a{ending}", grid_of(), numbered(SHAPE, "u1")
    checksums = write(path, grid, array)
    whole = path.read_bytes() if ending == ".nii" else gzip.decompress(path.read_bytes())
    changed = SPOILT[how](whole)
    assert changed != whole
    path.write_bytes(changed if ending == ".nii" else gzip.compress(changed))
    with pytest.raises(PipelineError) as caught:
        prove(path, grid.ras, grid.shape, array.dtype, checksums, 2e-4)
    assert caught.value.finding.code is Code.READ_BACK_DIFFERS


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("change", [lambda raw: raw[:-3], lambda raw: raw + b"\0", lambda raw: raw[:400]])
def test_proof_refuses_a_file_that_ends_early_or_late(
    tmp_path: Path, change: Callable[[bytes], bytes], ending: str
) -> None:
    path, grid, array = tmp_path / f"a{ending}", grid_of((11, 13, 7)), numbered((11, 13, 7), "u1")
    checksums = write(path, grid, array)
    whole = path.read_bytes() if ending == ".nii" else gzip.decompress(path.read_bytes())
    path.write_bytes(change(whole) if ending == ".nii" else gzip.compress(change(whole)))
    with pytest.raises(PipelineError) as caught:
        prove(path, grid.ras, grid.shape, array.dtype, checksums, 2e-4)
    assert caught.value.finding.code is Code.READ_BACK_DIFFERS


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9, 1.0])
def test_proof_refuses_gzip_that_is_cut_off_or_damaged(tmp_path: Path, at: float) -> None:
    path, shape = tmp_path / "a.nii.gz", (31, 23, 17)
    array = np.random.default_rng(5).integers(0, 200, shape).astype("u1")
    checksums = write(path, grid_of(shape), array)
    raw = path.read_bytes()
    place = int(at * (len(raw) - 3))
    for damaged in (raw[:place], raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(PipelineError) as caught:
            prove(path, grid_of(shape).ras, shape, array.dtype, checksums, 2e-4)
        assert caught.value.finding.code is Code.READ_BACK_DIFFERS


def test_a_grid_too_far_from_the_patient_is_refused(tmp_path: Path) -> None:
    """float32 holds 1e6 mm to 0.06 mm only."""
    lps = grid_of().lps.copy()
    lps[:3, 3] += 1e6 + 0.0123
    grid, path, array = Grid(SHAPE, lps), tmp_path / "a.nii", numbered(SHAPE, "u1")
    checksums = write(path, grid, array)
    with pytest.raises(PipelineError) as caught:
        prove(path, grid.ras, grid.shape, array.dtype, checksums, 2e-4)
    finding = caught.value.finding
    assert finding.code is Code.READ_BACK_DIFFERS
    assert finding.measured is not None
    assert 2e-4 < finding.measured < 0.2


def test_in_place_moves_what_is_whole(tmp_path: Path) -> None:
    with in_place(tmp_path / "a.nii", overwrite=False) as part:
        part.write_bytes(b"whole")
        assert not (tmp_path / "a.nii").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii"]
    assert (tmp_path / "a.nii").read_bytes() == b"whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, PipelineError])
@pytest.mark.parametrize("overwrite", [False, True])
def test_in_place_leaves_nothing_behind_on_failure(tmp_path: Path, error: type[BaseException], overwrite: bool) -> None:
    (tmp_path / "old.nii").write_bytes(b"old")

    def fail() -> None:
        with in_place(tmp_path / ("old.nii" if overwrite else "new.nii"), overwrite=overwrite) as part:
            part.write_bytes(b"half")
            raise error("midway")

    with pytest.raises(error):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["old.nii"]
    assert (tmp_path / "old.nii").read_bytes() == b"old"


def without_links(*_: Any, **__: Any) -> None:
    raise PermissionError(1, "Operation not permitted")  # what exFAT and many network folders answer


@pytest.mark.parametrize("links", [True, False])
def test_in_place_never_replaces_what_appeared_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    target = tmp_path / "a.nii"

    def race() -> None:
        with in_place(target, overwrite=False) as part:
            part.write_bytes(b"ours")
            target.write_bytes(b"theirs")

    with pytest.raises(PipelineError) as caught:
        race()
    assert caught.value.finding.code is Code.OUTPUT_EXISTS
    assert target.read_bytes() == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii"]


def test_in_place_works_on_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", without_links)
    with in_place(tmp_path / "a.nii", overwrite=False) as part:
        part.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii"]
    assert (tmp_path / "a.nii").read_bytes() == b"whole"


def test_in_place_overwrites_when_told(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"old")
    with in_place(tmp_path / "a.nii", overwrite=True) as part:
        part.write_bytes(b"new")
        assert (tmp_path / "a.nii").read_bytes() == b"old"
    assert (tmp_path / "a.nii").read_bytes() == b"new"


def test_in_place_leaves_alone_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"old")
    with pytest.raises(PipelineError) as caught, in_place(tmp_path / "a.nii", overwrite=False):
        pytest.fail("nothing is written to be thrown away")
    assert caught.value.finding.code is Code.OUTPUT_EXISTS
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.nii", b"old")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "new" / "folder"

    def fail() -> None:
        with folder_in_place(target) as working:
            (working / "half").write_bytes(b"half")
            assert not target.exists()
            raise error("midway")

    with pytest.raises(PipelineError if error is OSError else error):
        fail()
    assert list((tmp_path / "new").iterdir()) == []
    for _ in range(2):  # where there is nothing, and where there is an empty folder
        with folder_in_place(target) as working:
            (working / "whole").write_bytes(b"whole")
        assert [p.name for p in target.parent.iterdir()] == ["folder"]
        (target / "whole").unlink()
    (target / "theirs").write_bytes(b"theirs")
    with pytest.raises(PipelineError) as caught, folder_in_place(target):
        pytest.fail("nothing is written to be thrown away")
    assert caught.value.finding.code is Code.OUTPUT_EXISTS
    assert [p.name for p in target.iterdir()] == ["theirs"]
