"""A Dask cluster that loses a worker makes the same data set as one process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pipeline.core.findings import Exit
from tests.helpers.cohort_run import count_logged, difference_of, left_in_work, tree_of
from tests.helpers.dask_programs import DaskPrograms
from tests.helpers.first_cohort import QUICK, open_runner, run_first
from tests.helpers.watching import wait_for

pytest.importorskip("distributed")


def test_a_cluster_that_loses_a_worker_makes_the_same_tree(tmp_path: Path) -> None:
    """Two workers on this machine, of which one is killed once cases are done."""
    out = tmp_path / "cluster" / "out"
    with open_runner(tmp_path / "scratch") as runner, DaskPrograms(tmp_path) as dask:
        first = run_first(tmp_path, runner)
        workers = [dask.start_worker() for _ in range(2)]
        process = runner.start(first.made.root, "-o", out, *QUICK, "--dask", dask.address)
        try:
            wait_for(lambda: count_logged(out) or process.poll() is not None)
            workers[0].send_signal(signal.SIGKILL)
            text, _ = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == Exit.PARTLY_DONE, text
    assert difference_of(tree_of(out), first.tree) == []
    assert left_in_work(out) == []
