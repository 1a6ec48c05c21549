"""No spoilt file ends a reader or a command as a bug, and the harness that says so sees every way to fail."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fuzz import commands, minimise, parsers, run
from tests.fuzz.child import Limits
from tests.fuzz.elements import elements, inflated, is_dicom
from tests.fuzz.mutate import Mutation, drawn, spoilt
from tests.fuzz.oss_fuzz import corpus, one_input
from tests.fuzz.outcomes import (
    CRASH,
    HANG,
    JUDGED,
    LEFTOVER,
    MEMORY,
    READ,
    REFUSED,
    TRACEBACK,
    WRITTEN,
    WRONG,
    Outcome,
    Tally,
)
from tests.fuzz.peers import PEERS, run_peer
from tests.fuzz.seeds import Seed, seeds

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs fork and /proc")
FOUND = sorted(minimise.FOUND.glob("*.json"))
SHORT = Limits(memory=512 << 20, seconds=20)


@pytest.fixture(scope="module")
def every() -> list[Seed]:
    return seeds()


def test_every_seed_is_read_as_it_is(every: list[Seed], tmp_path: Path) -> None:
    for seed in every:
        folder = tmp_path / seed.name
        folder.mkdir()
        parsers.laid(dict(seed.files), folder)
        outcome = parsers.read_laid(seed, folder, Random(1))
        assert (seed.name, outcome.name) == (seed.name, READ) or seed.name == "burned", outcome


def test_seeds_and_mutations_are_the_same_every_time(every: list[Seed]) -> None:
    again = seeds()
    assert [seed.files for seed in every] == [seed.files for seed in again]
    for seed in every:
        for number in range(3):
            mutations = drawn(seed.name, dict(seed.files), 1, number)
            assert mutations == drawn(seed.name, dict(seed.files), 1, number)
            assert spoilt(dict(seed.files), mutations) == spoilt(dict(seed.files), mutations)


def test_every_element_of_a_seed_is_found(every: list[Seed]) -> None:
    for seed in every:
        for content in filter(is_dicom, seed.files.values()):
            plain, _ = inflated(content)
            assert elements(plain)[-1].end == len(plain)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_failed_once_fails_no_more(path: Path, tmp_path: Path) -> None:
    outcome = minimise.Found.read(path).run(tmp_path, SHORT)
    assert not outcome.is_failure, outcome


@pytest.mark.parametrize(("kind", "count"), [("--parsers", 174), ("--commands", 60)])
def test_a_short_campaign_finds_nothing(
    kind: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = tmp_path / "tally.json"
    for seed in (6, 7):  # runs add up
        code = run.main([kind, "--count", str(count // 2), "--seed", str(seed), "--tally", str(tally)])
        assert code == 0, capsys.readouterr().out
    counts = Tally.read(tally)
    assert counts.seeds == {kind.strip("-"): [6, 7]}
    assert counts.total(kind.strip("-")) == count // 2 * 2
    assert counts.total(kind.strip("-"), REFUSED) > count / 10
    assert counts.total(kind.strip("-"), READ, WRITTEN) > count / 10


# Planted failures


def _raises(*_: Any) -> None:
    raise KeyError("planted")


def _hangs(*_: Any) -> None:
    while True:
        time.sleep(0.01)


def _hangs_in_c(*_: Any) -> None:
    "a".join(["b" * 100] * 3)
    pow(3, 10**9, 10**400_000)


def _crashes(*_: Any) -> None:
    os.abort()


def _takes_memory(*_: Any) -> None:
    bytearray(1 << 30)


PLANTED = [(_raises, TRACEBACK), (_hangs, HANG), (_hangs_in_c, HANG), (_crashes, CRASH), (_takes_memory, MEMORY)]
QUICK = Limits(memory=128 << 20, seconds=1.0)


@pytest.mark.parametrize(("fault", "expected"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_reader_that_fails_is_seen_and_costs_one_input(
    every: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None], expected: str
) -> None:
    plain = parsers.read
    monkeypatch.setattr(
        parsers, "read", lambda seed, folder, rng: fault() if folder.name == "in3" else plain(seed, folder, rng)
    )
    chosen = [seed for seed in every if seed.name in ("cases", "segments")]
    files = {"name": Outcome(READ)} | dict(parsers.run_parsers(chosen, 4, range(6), tmp_path, QUICK))
    assert [files[n].name == expected for n in range(6)] == [n == 3 for n in range(6)]
    assert "test_fuzz.py" in files[3].group or expected == MEMORY or "test_fuzz" in files[3].words, files[3]


@pytest.mark.parametrize(("fault", "expected"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_command_that_fails_is_seen(
    every: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None], expected: str
) -> None:
    monkeypatch.setattr("pipeline.cli.series.run", lambda options, given: fault() or 0)
    assert command(every, tmp_path, "series {in}", QUICK).name == expected


def test_a_bug_that_is_told_of_among_other_things_is_seen(
    every: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(options: object, given: object) -> int:
        print("Series 1: An unexpected\n   error stopped it:\n  KeyError: 'x' (scan.py, line 3). This is a bug")
        return 12

    monkeypatch.setattr("pipeline.cli.series.run", told)
    assert command(every, tmp_path, "series {in}")[:2] == (TRACEBACK, "KeyError at scan.py")


def _shift_a_plane(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[352:] = content[352 + 1 :] + content[352:353]
    path.write_bytes(gzip.compress(bytes(content)))


def _move_it(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<f", content, 292, struct.unpack_from("<f", content, 292)[0] + 0.6)  # srow_x[3]
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize("fault", [_shift_a_plane, _move_it])
@pytest.mark.parametrize("name", ["mask", "image", "enhanced", "seg", "overlay"])
def test_a_wrong_file_is_seen(
    every: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[[Path], None]
) -> None:
    plain, words = (
        commands.main,
        "convert {in} -o {out}/ --crosscheck off" + (" --as image" if name in ("image", "enhanced") else ""),
    )
    assert command(every, tmp_path, words, SHORT, name)[::3] == (WRITTEN, "judged")

    def wrong(given: list[str]) -> None:
        try:
            plain(given)
        finally:
            for path in (tmp_path / "out").glob("*.nii.gz"):
                fault(path)

    monkeypatch.setattr(commands, "main", wrong)
    assert command(every, tmp_path, words, SHORT, name).name == WRONG


def test_a_plane_that_is_lost_in_silence_is_seen(
    every: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, words = commands.main, "convert {in} -o {out}/ --crosscheck off"

    def lossy(given: list[str]) -> None:
        last = tmp_path / "in" / "IM0004.dcm"
        content = last.read_bytes()
        last.unlink()
        try:
            plain(given)
        finally:
            last.write_bytes(content)

    monkeypatch.setattr(commands, "main", lossy)
    assert command(every, tmp_path, words, SHORT)[:2] == (WRONG, "a plane of the series is lost in silence")


@pytest.mark.parametrize("place", ["in/IM0001.dcm", "in/new", "tmp/new", "cwd/new", "out/.a.partial", "out/a.nii"])
def test_what_a_command_leaves_is_seen(
    every: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def leave(options: object, given: object) -> int:
        (tmp_path / place).write_bytes(b"left")
        return 10

    monkeypatch.setattr("pipeline.cli.series.run", leave)
    assert command(every, tmp_path, "series {in}").name == LEFTOVER
    assert list(tmp_path.iterdir()) == [tmp_path / "told", tmp_path / "err"] or not (tmp_path / "in").exists()


def command(every: list[Seed], work: Path, words: str, limits: Limits = SHORT, name: str = "mask") -> Outcome:
    (seed,) = (seed for seed in every if seed.name == name)
    return commands.run_one(dict(seed.files), (), words, work, limits)


# Making it again, and smaller


def test_a_failure_is_minimised_to_its_one_mutation_and_file(
    every: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(seed: Seed, folder: Path, rng: Random) -> None:
        if any(path.stat().st_size == 0 for path in folder.glob("*.dcm")):
            raise KeyError("planted")

    monkeypatch.setattr(parsers, "read", fails)
    (seed,) = (seed for seed in every if seed.name == "mask")
    empty = next(
        Mutation("fill", n) for n in range(99) if b"" in spoilt(dict(seed.files), [Mutation("fill", n)])[0].values()
    )
    many = [Mutation("bytes", 5), empty, Mutation("dicom vr", 7)]
    monkeypatch.setattr(minimise, "drawn", lambda *_: many)
    found = minimise.minimise(seed, 1, 1, parsers.KIND, tmp_path, SHORT)
    assert found is not None
    assert found.was == "traceback: KeyError at test_fuzz.py:fails"
    assert list(found.files.values()) == [b""]
    assert len(found.did) == 1
    found.keep(tmp_path / "found.json")
    assert minimise.Found.read(tmp_path / "found.json") == found


def test_an_input_is_made_again_by_its_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--again", "mask:4:7", "--keep", str(tmp_path / "kept")]) in (0, 1)
    first = capsys.readouterr().out
    assert run.main(["--again", "mask:4:7", "--commands"]) in (0, 1)
    second = capsys.readouterr().out
    assert first.splitlines()[0] == second.splitlines()[0]
    assert any((tmp_path / "kept").iterdir())


# Entry points for Atheris


@pytest.mark.parametrize("entry", sorted(one_input.FILES))
def test_an_entry_point_of_oss_fuzz_reads_what_it_is_given(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, target = one_input.FILES[entry]
    (seed,) = seeds({name})
    content = seed.files[target]
    for data in (content, content[: len(content) // 2], b""):
        one_input.test_one_input(entry, data)
    monkeypatch.setattr(one_input, "read_laid", lambda *_: Outcome(TRACEBACK, "planted"))
    with pytest.raises(RuntimeError, match="planted"):
        one_input.test_one_input(entry, content)


@pytest.mark.parametrize("entry", ["fuzz_nifti", "fuzz_seg"])
def test_atheris_sees_what_code_an_input_reaches(entry: str, tmp_path: Path) -> None:
    """Without, it would draw at random, and say so."""
    pytest.importorskip("atheris", reason="it has no wheel for this Python")
    corpus.write_corpus(tmp_path)
    with zipfile.ZipFile(tmp_path / f"{entry}_seed_corpus.zip") as archive:
        archive.extractall(tmp_path / "corpus")
    command = [sys.executable, "-W", "ignore", "-m", f"tests.fuzz.oss_fuzz.{entry}"]
    done = subprocess.run([*command, "-runs=10", str(tmp_path / "corpus")], capture_output=True, text=True, check=True)
    assert "no interesting inputs" not in done.stderr
    assert max(map(int, re.findall(r" cov: (\d+) ", done.stderr))) > 200


def test_oss_fuzz_finds_its_files(tmp_path: Path) -> None:
    folder = Path(one_input.__file__).parent
    assert {path.stem for path in folder.glob("fuzz_*.py")} == set(one_input.FILES)
    assert {"project.yaml", "build.sh", "Dockerfile"} <= {path.name for path in folder.iterdir()}
    corpus.write_corpus(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{entry}_seed_corpus.zip" for entry in one_input.FILES}


@pytest.mark.parametrize("peer", PEERS)
def test_what_another_converter_makes_of_a_whole_input_is_judged_right(peer: str, tmp_path: Path) -> None:
    (seed,) = seeds({"mask"})
    outcome = run_peer(peer, dict(seed.files), tmp_path, Limits())
    assert (outcome.name, outcome.judged) == (WRITTEN, JUDGED)
