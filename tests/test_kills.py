"""A few kills of `make kills`, on every run: late ones, where files are moved."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.kills.commands import COMMANDS, Bench, KilledCommand
from tests.kills.kill import Undisturbed, kill, undisturbed

_TRIED = ("convert", "convert -w overwrite", "cohort")
_SEED = 7


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.name in _TRIED], ids=lambda c: c.name)
def test_a_kill_leaves_nothing_half_and_the_next_run_nothing_at_all(
    bench: Bench, command: KilledCommand, tmp_path: Path
) -> None:

    plain: Undisturbed = undisturbed(bench, command, tmp_path / "plain")
    for number in range(2):
        found = kill(
            bench, command, plain, tmp_path / f"kill-{number}" / "out", Random(f"{_SEED} {command.name} {number}")
        )
        assert found.faults == (), found
