"""A disk that takes no more: every command that writes says CANNOT_WRITE (7) and leaves nothing half, wherever it gets full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import PipelineError, Policy, convert
from pipeline.cli.main import main
from tests.helpers import phantom
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


@pytest.mark.skipif(not may_mount(), reason="only root mounts a small disk")
@pytest.mark.parametrize("command", [("export", "--to", "seg"), ("regress", "--add")], ids=lambda words: words[0])
def test_a_full_disk_leaves_no_empty_folder(command: tuple[str, ...], tmp_path: Path) -> None:
    phantom.write(tmp_path / "in", phantom.Spec(shape=(9, 7, 5), bits_allocated=8, radius_mm=4))
    mask = tmp_path / "m.nii.gz"
    convert(tmp_path / "in", mask, policy=Policy(crosscheck="off"))
    disk = tmp_path / "disk"
    disk.mkdir()
    if command[0] == "export":
        words = ["export", mask, "--source", tmp_path / "in", "--to", "seg", "-o", disk / "a" / "b"]
    else:
        words = ["regress", disk / "c.toml", "--add", tmp_path / "in", "--id", "x", "--crosscheck", "off"]
    with small_disk(disk, 4):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words)])
        left = sorted(path.name for path in disk.rglob("*"))
    assert (ended.value.code, left) == (CANNOT_WRITE, [])


@pytest.mark.parametrize("name", ["a.nii.gz", "a.json"])
def test_a_folder_at_the_place_of_a_file_is_left_alone(tmp_path: Path, name: str) -> None:
    phantom.write(tmp_path / "in", phantom.Spec(shape=(9, 7, 5), bits_allocated=8, radius_mm=4))
    (tmp_path / name).mkdir()
    with pytest.raises(PipelineError, match=rf"OUTPUT_EXISTS: {name} is a folder, which is never replaced"):
        convert(tmp_path / "in", tmp_path / "a.nii.gz", policy=Policy(crosscheck="off", write="overwrite"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "in"])
