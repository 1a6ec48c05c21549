"""A Dask cluster that loses a worker makes the same data set as one process."""

from __future__ import annotations

import signal
from pathlib import Path

from pipeline.core.findings import Exit
from tests.helpers.cohort_run import CohortRunner, difference_of, left_in_work, tree_of
from tests.test_cohort_dask import Start, programs, scheduler, start, start_worker  # noqa: F401
from tests.test_cohort_made import QUICK, First, first, runner  # noqa: F401
from tests.test_jobs import wait_for


def test_a_cluster_that_loses_a_worker_makes_the_same_tree(
    first: First,  # noqa: F811
    runner: CohortRunner,  # noqa: F811
    start: Start,  # noqa: F811
    scheduler: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Two workers on this machine, of which one is killed once cases are done."""
    workers, out = [start_worker(start, scheduler) for _ in range(2)], tmp_path / "cluster" / "out"
    process = runner.start(first.made.root, "-o", out, *QUICK, "--dask", scheduler)
    try:
        wait_for(lambda: any(out.rglob("*.nii.gz")) or process.poll() is not None)
        workers[0].send_signal(signal.SIGKILL)
        text, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == Exit.PARTLY_DONE, text
    assert difference_of(tree_of(out), first.tree) == []
    assert left_in_work(out) == []
