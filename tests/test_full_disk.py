"""A disk that takes no more: every command that writes says CANNOT_WRITE (7) and leaves nothing half, wherever it gets full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.small_disk import may_mount, small_disk
from tests.kills.commands import COMMANDS, Bench, KilledCommand, outputs_of, unfinished_in

CANNOT_WRITE = 7
# Kilobytes: a page is 4. VERIMASK_DISKS=4,8,12,16,24,32,48,64,96,128,192,256 tries more.
SIZES = [int(size) for size in os.environ.get("VERIMASK_DISKS", "12").split(",")]
_ROOM = {"convert -w overwrite": 12}  # kilobytes of what lies there before
_FEW = ("convert", "convert -w overwrite", "export", "regress --add", "cohort")
_TRIED = [c for c in COMMANDS if "VERIMASK_DISKS" in os.environ or c.name in _FEW]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("disk"), _TRIED)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> dict[str, dict[str, str]]:
    """What each command writes where there is room, once it was asked for."""
    return {}


def _written(bench: Bench, command: KilledCommand, whole: dict[str, dict[str, str]], tmp_path: Path) -> dict[str, str]:
    if command.name not in whole:
        place = tmp_path / "wide" / "out"
        bench.lay_out(command, place)
        assert bench.run(command.words, place).code in (0, 8)
        whole[command.name] = outputs_of(place)
    return whole[command.name]


@pytest.mark.skipif(not may_mount(), reason="only root mounts a small disk")
@pytest.mark.parametrize("kilobytes", SIZES)
@pytest.mark.parametrize("command", _TRIED, ids=lambda c: c.name)
def test_a_full_disk_leaves_nothing_half(
    bench: Bench, command: KilledCommand, kilobytes: int, whole: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    expected = _written(bench, command, whole, tmp_path)
    place = tmp_path / "full" / "out"
    place.mkdir(parents=True)
    with small_disk(place, _ROOM.get(command.name, 0) + kilobytes):
        bench.lay_out(command, place)
        before = outputs_of(place)
        ended = bench.run(command.words, place)
        found = outputs_of(place)
        assert unfinished_in(place.parent) == []
    assert "Traceback" not in ended.errors, ended.errors
    if ended.code == 0:
        assert found == expected
        return
    assert ended.code in (CANNOT_WRITE, 8), (ended.code, ended.errors)
    if "--json" not in command.words:  # it says so on standard output
        assert "CANNOT_WRITE" in ended.errors
        assert "full" in ended.errors, ended.errors
    kept = {path: digest for path, digest in found.items() if path.startswith("set/cohort.tsv")}
    wrong = {
        path
        for path, digest in found.items()
        if path not in kept and digest not in (expected.get(path), before.get(path))
    }
    assert wrong == set()
    assert before.keys() <= found.keys()
