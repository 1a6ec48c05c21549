"""Begin and end a run of `verimask cohort`: what it needs is asked for first, and what came of it is printed and drawn last.

Rules:
- What is not wholly in the data set is listed once, at the end; a case that had a line before is not listed again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import cohort_text, output

if TYPE_CHECKING:
    from ..cohort.case import CaseResult
    from ..cohort.index.index import Index
    from ..cohort.plan import CohortPlan
    from ..cohort.running.run import CohortRun

_PAGE = "cohort.html"


def check_before(options: argparse.Namespace, out: Path | None) -> None:
    """Ask before work starts for what its end needs: packages of extras, and ratings that can be read.

    Args:
        options: as typed.
        out: the output folder, where a page will be written in it.

    Raises: PipelineError for what is not there, BAD_RATINGS.
    """
    from ..core.extras import require_extra

    if options.dask:
        output.refuse_idle(options, only=["jobs"], why="with --dask the workers of the cluster make the cases")
        from ..cohort.running.dask_run import require_cluster

        require_extra("cluster")
        require_cluster(options.dask)
    if not options.no_page:
        require_extra("report")
        from ..core.given_path import look_at_output
        from ..report.ratings import RATINGS, read_ratings

        if out is not None and look_at_output(out / RATINGS).is_there:
            read_ratings(out / RATINGS)


@contextmanager
def index_of(out: Path) -> Iterator[Index]:
    """The index of an output folder, held until the block ends.

    Raises: PipelineError COHORT_IN_USE, INDEX_UNREADABLE; CANNOT_WRITE where the folder goes while it is written to, whatever
        fails by that.
    """
    import sqlite3

    from ..cohort.index.index import Index
    from ..cohort.plan import private_folder
    from ..core.findings import PipelineError

    place, is_open = private_folder(out) / "index.sqlite", False
    try:
        with Index(place) as index:
            is_open = True
            yield index
        _refuse_gone(out, place)
    except (OSError, sqlite3.Error, PipelineError) as error:
        if is_open:
            _refuse_gone(out, place, error)
        raise


def _refuse_gone(out: Path, index: Path, error: Exception | None = None) -> None:
    """Refuse to go on without the index that is open: then nobody can say what else is gone. Raises CANNOT_WRITE."""
    if not os.path.lexists(index):
        from ..core.findings import Code, refuse

        words = f"{out.name} cannot be written: it was removed or moved away while it was written to"
        hint = "Run the command again, and leave its folder in its place until it ends."
        raise refuse(Code.CANNOT_WRITE, words, hint, where=(out.name,)) from error


def print_case(result: CaseResult, options: argparse.Namespace) -> None:
    """Print the line of a case; where --quiet is given, on standard error, if it is not wholly in the data set."""
    if options.json:
        return
    if not options.quiet:
        output.print_prose([cohort_text.describe_case(result)], options)
    elif cohort_text.is_odd(result):
        output.print_aside([cohort_text.describe_case(result)])


@contextmanager
def resumable(clock: cohort_text.Clock, progress: output.ProgressLine) -> Iterator[None]:
    """Work that the same command takes up again: where Ctrl-C ends it, one line says what is done, and that."""
    try:
        yield
    except KeyboardInterrupt:
        progress.clear()
        raise KeyboardInterrupt(clock.describe_stop()) from None


def end_run(
    run: CohortRun,
    plan: CohortPlan,
    out: Path,
    options: argparse.Namespace,
    *,
    is_finished: bool = False,
    shown: Collection[str] = (),
) -> int:
    """Write the page, and say what there is now.

    Args:
        run: that has ended.
        plan: of it.
        out: the output folder.
        options: as typed.
        is_finished: whether nothing has changed.
        shown: keys of the cases that had a line.

    Returns: the exit code.
    """
    page = out / _PAGE if is_finished and _page_is_last(out, options) else _write_page(out, options)
    results = run.results()
    if run.left_alone and not options.json:
        output.print_aside([f"note: {path} is of no case any more, was changed, and stays" for path in run.left_alone])
    if options.json:
        output.print_json(cohort_text.summary_as_json(results, plan))
    elif options.quiet:
        output.print_aside(cohort_text.describe_odd(results, plan.rest, shown=shown))
    else:
        output.print_prose(cohort_text.describe_end(results, plan, out, page, shown=shown), options)
    return cohort_text.exit_of(results, plan)


def _write_page(out: Path, options: argparse.Namespace) -> Path | None:
    """Write the page over all cases, unless it is not wanted."""
    if options.no_page:
        return None
    from ..cohort.plan import private_folder
    from ..conversion.page_file import write_page
    from ..report.cohort_page import make_cohort_page

    page = out / _PAGE
    progress = output.ProgressLine(options)
    thumbnails = private_folder(out) / "thumbnails"
    write_page(page, make_cohort_page(out, thumbnails=thumbnails, progress=partial(progress, "drawing pictures")))
    progress.clear()
    return page


def _page_is_last(out: Path, options: argparse.Namespace) -> bool:
    """Whether the page was written after all that it is made of."""
    made_of = [path for path in (out / "cohort.tsv", out / "ratings.tsv") if path.exists()]
    try:
        written = (out / _PAGE).stat().st_mtime_ns
    except OSError:
        return False
    return not options.no_page and all(path.stat().st_mtime_ns <= written for path in made_of)
