"""A few bytes that claim a terabyte are refused in seconds, with numbers, and cost no memory.

Each claim goes through the command line in a process of its own, whose largest memory the system tells.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.core import memory, text_file
from pipeline.core.findings import Code, PipelineError
from pipeline.core.json_file import read_json
from pipeline.decode.rtstruct.contours import Arrangement, area
from pipeline.dicom.inflate import inflate
from pipeline.geometry.grid import GeometryError, Plane
from tests.helpers import segs
from tests.helpers.phantom import Spec, write

SMALL = Spec(shape=(9, 7, 3), bits_allocated=8, radius_mm=3)
MOST_MEMORY = 300 << 20  # bytes that a command may take
MOST_SECONDS = 20.0  # of processor time; what is refused takes one or two
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a child is asked of Linux")


# A process in between: what is said of a process begins with what the one that forked it had.
_MEASURE = """
import os, sys
out, command = sys.argv[1], sys.argv[2:]
files = [(os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
_, status, used = os.wait4(os.posix_spawn(command[0], command, os.environ, file_actions=files), 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss << 10, used.ru_utime + used.ru_stime)
"""


def run(*words: object, folder: Path, limit: str = "128MiB") -> tuple[int, str]:
    """The exit code and the words of a command, which must stay within memory and time."""
    out = folder / "words.txt"
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    variables = {**os.environ, memory.VARIABLE: limit, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[1])}
    measure = [sys.executable, "-S", "-c", _MEASURE, str(out), *command]
    code, most, seconds = subprocess.run(
        measure, env=variables, capture_output=True, check=True, text=True
    ).stdout.split()
    said = out.read_text("utf-8")
    assert int(most) < MOST_MEMORY, said
    assert float(seconds) < MOST_SECONDS, said
    assert "Traceback" not in said
    return int(code), " ".join(said.split())


def spoilt(folder: Path, edit: Callable[[Dataset], None], spec: Spec = SMALL) -> Path:
    """A series whose first file is edited."""
    first = sorted(write(folder, spec).folder.iterdir())[0]
    dataset = dcmread(first)
    edit(dataset)
    dataset.save_as(first)
    return folder


def set_tags(**values: object) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


def insert(path: Path, elements: bytes) -> None:
    """Put elements before the pixel data of a file in Explicit VR Little Endian."""
    raw = path.read_bytes()
    at = raw.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    path.write_bytes(raw[:at] + elements + raw[at:])


@pytest.mark.parametrize(
    "tags", [{"NumberOfFrames": 2147483647}, {"Rows": 65535, "Columns": 65535}], ids=["frames", "rows"]
)
def test_claims_of_pixels_are_held_against_the_bytes(tmp_path: Path, tags: dict[str, object]) -> None:
    folder = spoilt(tmp_path / "in", set_tags(**tags))
    code, said = run("convert", folder, "-o", tmp_path / "o.nii", folder=tmp_path)
    assert code not in (0, 1)
    assert not (tmp_path / "o.nii").exists(), said


def test_a_deflated_bomb_is_inflated_up_to_the_limit_only(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", SMALL, transfer_syntax="deflated").folder
    first = sorted(folder.iterdir())[0]
    raw = first.read_bytes()
    start = 144 + struct.unpack("<I", raw[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [packer.compress(zlib.decompress(raw[start:], -15)), *(packer.compress(bytes(1 << 20)) for _ in range(300))]
    first.write_bytes(raw[:start] + b"".join(parts) + packer.flush())
    code, said = run("convert", folder, "-o", tmp_path / "o.nii", folder=tmp_path)
    assert code == 10
    assert "MEMORY_LIMIT" in said
    assert "at most 128 MiB" in said
    assert "--max-memory" in said


def test_a_cut_deflated_stream_is_damaged_and_padding_is_nothing() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(bytes(range(256)) * 9) + packer.flush()
    assert inflate(data + b"\0", "a.dcm") == bytes(range(256)) * 9
    for damaged in (data[:-5], b"", b"\xff" * 20):
        with pytest.raises(ValueError, match="deflated data set is"):
            inflate(damaged, "a.dcm")


def test_items_without_number_are_refused(tmp_path: Path) -> None:
    """Eight bytes each, and some hundred in memory: of undefined length, and of a defined one that is parsed when asked for."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    for name, items in (("undefined", item * 300_000), ("defined", item * 300_000)):
        folder = tmp_path / name
        folder.mkdir()
        segs.write_seg(folder / "seg.dcm", segs.frames_of(segs.blobs(1, overlap=False)))
        length = 0xFFFFFFFF if name == "undefined" else len(items)
        end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if name == "undefined" else b""
        header = struct.pack("<HH2sHI", 0x0062, 0x0002, b"SQ", 0, length)
        insert(folder / "seg.dcm", header + items + end)
        code, said = run("convert", folder, "-o", tmp_path / f"{name}.nii", folder=tmp_path)
        assert code in (4, 10), said  # twice there, or too many


@pytest.mark.parametrize("depth", [400, 20000])
def test_sequences_nest_too_deep(tmp_path: Path, depth: int) -> None:
    folder = write(tmp_path / "in", SMALL).folder
    begin = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    insert(sorted(folder.iterdir())[0], begin * depth + end * depth)
    code, said = run("convert", folder, "-o", tmp_path / "o.nii", folder=tmp_path)
    assert (code, "nest too deep" in said) == (4, True)


def nifti(path: Path, shape: tuple[int, ...], follows: bytes = b"", offset: float = 352.0) -> Path:
    """A header of labels in uint8, 1 mm, at the origin, with what follows it; gzip by its name."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", header, 70, 2, 8)
    struct.pack_into("<f", header, 108, offset)
    struct.pack_into("<hh12f", header, 252, 0, 1, *[0.0] * 12)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    header[344:348] = b"n+1\0"
    content = bytes(header) + follows
    path.write_bytes(gzip.compress(content, 9) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        *(("huge", command) for command in ("check", "explain", "diagnose", "like")),
        *(("bomb", command) for command in ("check", "diagnose")),
        ("longer", "check"),
        ("offset", "explain"),
    ],
)
def test_a_nifti_header_is_held_against_the_bytes(tmp_path: Path, kind: str, command: str) -> None:
    series = write(tmp_path / "in", SMALL).folder
    whole = nifti(tmp_path / "whole.nii", (9, 7, 3), bytes(189))
    makers: dict[str, Callable[[], Path]] = {
        "huge": lambda: nifti(tmp_path / "m.nii", (32767, 32767, 32767)),
        "bomb": lambda: nifti(tmp_path / "m.nii.gz", (30000, 30000, 3), bytes(20 << 20)),
        "longer": lambda: nifti(tmp_path / "m.nii.gz", (9, 7, 3), bytes(200 << 20)),
        "offset": lambda: nifti(tmp_path / "m.nii", (9, 7, 3), bytes(189), offset=1e30),
    }
    file = makers[kind]()
    words: dict[str, list[object]] = {
        "check": ["check", file, whole],
        "explain": ["explain", file],
        "diagnose": ["diagnose", file, "--source", series],
        "like": ["convert", series, "--like", file, "-o", tmp_path / "o.nii", "--crosscheck", "off"],
    }
    code, said = run(*words[command], folder=tmp_path)
    assert code in (4, 10), said


@pytest.mark.parametrize("name", ["a.json", "a.toml"])
def test_text_is_read_up_to_a_bound(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf[1]\r\n")
    assert text_file.read_text(file) == "[1]\r\n"
    assert read_json(file) == [1]
    with pytest.raises(ValueError, match="longer than 4 bytes"):
        text_file.read_bytes(file, 4)
    file.write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match="too deep"):
        read_json(file)
    with pytest.raises(IsADirectoryError):
        text_file.read_text(tmp_path)


def test_deep_folders_are_walked(tmp_path: Path) -> None:
    series = write(tmp_path / "in", SMALL).folder
    here, deep = os.getcwd(), tmp_path / "deep"
    deep.mkdir()
    os.chdir(deep)
    try:
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        shutil.copytree(series, "end")
    finally:
        os.chdir(here)
    try:
        assert run("explain", deep, folder=tmp_path)[0] == 0
    finally:
        subprocess.run(["rm", "-rf", str(deep)], check=True)  # too deep for `shutil.rmtree`


@pytest.mark.parametrize("size", ["4GiB", "4 GiB", "4g", "4GB", str(4 << 30), "4096M"])
def test_a_size_is_read(size: str) -> None:
    assert memory.parse_size(size) == 4 << 30


@pytest.mark.parametrize("size", ["", "0", "12", "-1GiB", "1e9", "GiB", "nan", "9999999TiB", "1 MiB"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(PipelineError) as refused:
        memory.parse_size(size)
    assert refused.value.finding.code is Code.BAD_OPTION
    assert "--max-memory" in refused.value.finding.message


def test_the_option_says_so_for_all_of_a_run(tmp_path: Path) -> None:
    series = write(tmp_path / "in", SMALL).folder
    code, said = run("convert", series, "-o", tmp_path / "o.nii", "--max-memory", "10", folder=tmp_path)
    assert (code, "--max-memory is a size from 64 MiB up" in said) == (64, True)
    code, said = run("convert", series, "-o", tmp_path / "o.nii", "--max-memory", "1GiB", folder=tmp_path, limit="bad")
    assert code == 0, said


def test_the_limit_is_named_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.VARIABLE, "64MiB")
    memory.require(64 << 20, "a volume")
    with pytest.raises(PipelineError) as refused:
        memory.require((64 << 20) + 1, "a volume", ("a.dcm",))
    finding = refused.value.finding
    assert (finding.code, finding.measured, finding.limit, finding.unit) == (
        Code.MEMORY_LIMIT,
        (64 << 20) + 1,
        64 << 20,
        "bytes",
    )
    monkeypatch.delenv(memory.VARIABLE)
    assert memory.limit() >= memory.LEAST


@pytest.mark.parametrize("number", [1e300, -1e10, 1e-300])
def test_a_plane_has_numbers_that_can_be_computed_with(number: float) -> None:
    position, spacing = (0.0, 0.0, number), abs(number) if abs(number) < 1 else 1.0
    with pytest.raises(GeometryError):
        Plane(position, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), spacing, 1.0, 4, 4)


def test_a_raster_of_terabytes_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    bow = np.array([[-1e7, -1e7], [1e7, 1e7], [1e7, -1e7], [-1e7, 1e7]])
    monkeypatch.setenv(memory.VARIABLE, "64MiB")
    with pytest.raises(PipelineError) as refused:
        area([bow, bow + 1], Arrangement(depth=(0, 0), overlapping=((0, 1),), crossed=(0, 1)))
    assert refused.value.finding.code is Code.MEMORY_LIMIT
