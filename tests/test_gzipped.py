"""The gzip writer against the readers of others, and what was read back against what was written."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from pathlib import Path
from threading import Event, Thread
from time import sleep

import numpy as np
import pytest

from pipeline.nifti import gzip_writer
from pipeline.nifti.gzip_writer import GzipWriter
from pipeline.nifti.readback import read_back
from tests.helpers.benchdata import mask_plane

LEVELS = [None, *range(10)]
RUNS = np.repeat(np.random.default_rng(3).integers(0, 3, 40_000).astype("u1"), 97).tobytes()  # 3.9 MB: four blocks
NOISE = np.random.default_rng(4).normal(0, 20, 600_000).astype("<i2").tobytes()


def packed(parts: list[bytes], level: int | None) -> bytes:
    file = io.BytesIO()
    with GzipWriter(file, level) as stream:
        for part in parts:
            stream.write(part)
    return file.getvalue()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("data", [b"", b"\0", RUNS, NOISE], ids=["nothing", "one byte", "runs", "noise"])
def test_every_level_is_one_member_that_others_read(level: int | None, data: bytes) -> None:
    raw = packed([data[:70_000], data[70_000:]], level)
    member = zlib.decompressobj(wbits=31)
    assert member.decompress(raw) == data
    assert member.eof
    assert member.unused_data == b""
    assert gzip.decompress(raw) == data


def test_parts_larger_and_smaller_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_writer, "_BLOCK", 1000)
    parts = [RUNS[n : n + size] for n, size in ((0, 999), (999, 1), (1000, 2500), (3500, 0), (3500, 70_000))]
    assert gzip.decompress(packed(parts, None)) == RUNS[:73_500]


def test_a_mask_is_about_as_small_as_zlib_makes_it_by_default_and_smaller_at_level_9() -> None:
    planes = [mask_plane(k, 80).tobytes() for k in range(20, 32)]
    zlib6 = len(gzip.compress(b"".join(planes), 6))
    assert len(packed(planes, None)) < zlib6
    assert len(packed(planes, 9)) < 0.9 * zlib6


class Failing(io.RawIOBase):
    """A disk that is full after some bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.room -= memoryview(data).nbytes  # type: ignore[arg-type]
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return memoryview(data).nbytes  # type: ignore[arg-type]


def write_much(file: Failing) -> None:
    with GzipWriter(file, 1) as stream:  # type: ignore[arg-type]
        for _ in range(20):
            stream.write(NOISE)


@pytest.mark.parametrize("room", [5, 200, 300_000])
def test_a_full_disk_is_said_and_no_thread_stays(room: int) -> None:
    from threading import active_count

    before = active_count()
    with pytest.raises(OSError, match="No space"):
        write_much(Failing(room))
    assert active_count() == before


def test_an_error_in_a_thread_reaches_the_writer() -> None:
    with pytest.raises(Exception, match=r"level|Bad|Invalid"), GzipWriter(io.BytesIO(), 77) as stream:
        stream.write(NOISE)


# Reading back


def checksums(data: bytes, size: int) -> tuple[int, ...]:
    return tuple(zlib.crc32(data[n : n + size]) for n in range(0, len(data) - size + 1, size))


def whole() -> Event:
    event = Event()
    event.set()
    return event


@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_read_back_is_what_the_file_holds(tmp_path: Path, zipped: bool) -> None:
    start, planes, rest = b"s" * 352, NOISE[: 7 * 100_000], b"xyz"
    raw = packed([start, planes, rest], 2) if zipped else start + planes + rest
    (tmp_path / "file").write_bytes(raw)
    back = read_back(tmp_path / "file", 352, 100_000, whole(), gzipped=zipped)
    assert (back.start, back.rest, back.broken) == (start, 3, "")
    assert back.checksums == checksums(planes, 100_000)
    assert back.sha256 == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_is_followed_while_it_grows(tmp_path: Path, zipped: bool) -> None:
    raw = packed([bytes(352), NOISE], 2) if zipped else bytes(352) + NOISE
    path, written = tmp_path / "file", Event()
    path.touch()

    def grow() -> None:
        with path.open("wb", buffering=0) as file:
            for n in range(0, len(raw), 40_001):
                file.write(raw[n : n + 40_001])
                sleep(0.001)
        written.set()

    writer = Thread(target=grow)
    writer.start()
    back = read_back(path, 352, 1000, written, gzipped=zipped)
    writer.join()
    assert (back.broken, back.rest) == ("", 0)
    assert back.checksums == checksums(NOISE, 1000)
    assert back.sha256 == hashlib.sha256(raw).hexdigest()


RAW = packed([bytes(352), NOISE], 2)
BROKEN = {
    "cut off": RAW[: len(RAW) // 2],
    "without its trailer": RAW[:-8],
    "a bit flipped in the checksum": RAW[:-8] + bytes([RAW[-8] ^ 1]) + RAW[-7:],
    "a bit flipped in the data": RAW[:5000] + bytes([RAW[5000] ^ 16]) + RAW[5001:],
    "a second member after it": RAW + packed([b"more"], 2),
    "bytes after it": RAW + b"\0",
    "no gzip": NOISE,
    "nothing": b"",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_gzip_that_is_not_whole_is_broken_and_hashed_all_the_same(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "file").write_bytes(raw)
    back = read_back(tmp_path / "file", 352, 1000, whole(), gzipped=True)
    assert back.broken
    assert back.sha256 == hashlib.sha256(raw).hexdigest()


def test_every_flipped_bit_of_a_plane_shows(tmp_path: Path) -> None:
    data = bytearray(352 + 4 * 50)
    expected = checksums(bytes(200), 50)
    for n in range(352, len(data)):
        data[n] ^= 1 << n % 8
        (tmp_path / "file").write_bytes(data)
        back = read_back(tmp_path / "file", 352, 50, whole(), gzipped=False)
        wrong = [k for k in range(4) if back.checksums[k] != expected[k]]
        assert wrong == [(n - 352) // 50]
        data[n] ^= 1 << n % 8
