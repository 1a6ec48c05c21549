"""A few kills of `make kills`, on every run: one at a time of chance, and one between two moves."""

from __future__ import annotations

from pathlib import Path
from random import Random
from signal import SIGKILL

import pytest

from tests.kills.at_move import Moment
from tests.kills.commands import COMMANDS, Bench, KilledCommand
from tests.kills.kill import Undisturbed, kill, kill_at, undisturbed

_TRIED = [c for c in COMMANDS if c.name in ("convert", "convert -w overwrite", "cohort")]
_SEED = 7


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("kills"), _TRIED)


@pytest.mark.parametrize("command", _TRIED, ids=lambda c: c.name)
def test_a_kill_leaves_nothing_half_and_the_next_run_nothing_at_all(
    bench: Bench, command: KilledCommand, tmp_path: Path
) -> None:

    plain: Undisturbed = undisturbed(bench, command, tmp_path / "plain")
    by_chance = kill(bench, command, plain, tmp_path / "kill" / "out", Random(f"{_SEED} {command.name}"))
    assert by_chance.faults == (), by_chance
    place = tmp_path / "between" / "out"
    bench.lay_out(command, place)
    assert plain.moves["place"] > 1
    between = kill_at(bench, command, plain, place, Moment("place", 2, SIGKILL))
    assert between.faults == (), between
    assert between.outcome == "part of the files"
