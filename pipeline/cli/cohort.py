"""Run `verimask cohort`: from a tree of patients to a data set, here, on a cluster, or in the jobs of an array.

Rules:
- What will be done is known and said before it begins. A line is printed for each case as it ends.
- Exit 0: every mask is in the data set. 8: something is not, and its row in cohort.tsv says why.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..cohort.index.index import Index
    from ..cohort.plan import CohortPlan
    from ..cohort.planning import Planned
    from ..cohort.running.run import CohortRun, Maker

_PAGE = "cohort.html"
_STEPS = ("plan", "run", "merge")  # of work that is shared out to the jobs of an array
_DESCRIPTION = """\
Convert a tree of patients to a data set: image and masks as pairs on one grid, named by subject, with a table of
everything (cohort.tsv) and a page (cohort.html). Run it again after a change or a stop: what is done is not done again.

  verimask cohort DICOM/ -o OUT/                           here
  verimask cohort DICOM/ -o OUT/ --dask tcp://host:8786    on a Dask cluster with shared storage
  verimask cohort plan DICOM/ -o OUT/                      for the jobs of an array: prints the path of the PLAN
  verimask cohort run PLAN --part 3/10                     ... what each of them does
  verimask cohort merge PLAN                               ... and what ends it
"""


def add(commands: Any) -> None:
    """Add the command. Its options are built when it is the one that was typed."""
    p = commands.add_parser(
        "cohort",
        help="a tree of patients to a data set: pairs, nnU-Net or BIDS, resumable",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.options = _add_options
    p.set_defaults(run=run)


def _add_options(p: argparse.ArgumentParser) -> None:
    from .cohort_options import add_options

    add_options(p)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    step = options.inputs[0] if options.inputs[0] in _STEPS else ""
    if step:
        options.inputs = options.inputs[1:]
        if not options.inputs:
            options.parser.error(f"cohort {step} needs {'an INPUT' if step == 'plan' else 'a PLAN'}")
    if step in ("run", "merge"):
        return _run_part(options) if step == "run" else _merge(options)
    if not options.output:
        options.parser.error("the following arguments are required: -o/--output")
    if options.part:
        output.refuse_idle(options, only=["part"], why="it is for cohort run PLAN")
    if options.labels_draft:
        return _write_draft(options)
    return _run_all(options, only_plan=step == "plan")


def _run_all(options: argparse.Namespace, *, only_plan: bool) -> int:
    from ..cohort.running.run import CohortRun
    from . import cohort_text

    _require_extras(options)
    out = Path(options.output)
    with _planned(options) as (planned, index, progress):
        cohort_run = CohortRun(planned.plan, index, out, overwrite=options.write == "overwrite")
        judged = cohort_run.judge(only_failed=options.only_failed)
        progress.clear()
        if not options.json:
            output.print_prose(cohort_text.describe_plan(planned, judged, whole=options.dry_run), options)
        if options.dry_run or only_plan:
            return _end_with_plan(planned, options, only_plan=only_plan)
        if planned.is_last and cohort_run.is_finished(judged, prune=options.prune):
            return _end(cohort_run, planned.plan, out, options, is_finished=True)
        table = Path(options.table) if options.table else None
        numbers = cohort_run.prepare(judged, prune=options.prune, table=table)
        _run_cases(cohort_run, planned.plan, numbers, out, _maker(options), options)
        return _end(cohort_run, planned.plan, out, options)


def _run_cases(
    run: CohortRun, plan: CohortPlan, numbers: list[int], out: Path, maker: Maker, options: argparse.Namespace
) -> None:
    """Make cases, with a line for each as it ends, a line of progress with the time left, and the log."""
    from ..cohort.running.run import run_cases
    from . import cohort_text

    progress = output.ProgressLine(options)
    clock = cohort_text.Clock(len(numbers))
    with cohort_text.RunLog(out) as log:
        for result in run_cases(run, plan, numbers, out, maker):
            progress.clear()
            line = cohort_text.describe_case(result)
            log.write(line)
            if not options.json:
                output.print_prose([line], options)
            progress(f"{clock.time_left()} left; cases done:", clock.count(), len(numbers))
    progress.clear()


def _end(run: CohortRun, plan: CohortPlan, out: Path, options: argparse.Namespace, *, is_finished: bool = False) -> int:
    """Write the page, and say what there is now; is_finished: nothing has changed. Returns the exit code."""
    from . import cohort_text

    page = out / _PAGE if is_finished and _page_is_last(out, options) else _write_page(out, options)
    results = run.results()
    if options.json:
        output.print_json(cohort_text.summary_as_json(results, plan))
    else:
        output.print_prose(cohort_text.describe_end(results, plan, out, page), options)
    return cohort_text.exit_of(results, plan)


def _end_with_plan(planned: Planned, options: argparse.Namespace, *, only_plan: bool) -> int:
    from ..core.findings import Exit

    plan = planned.plan
    if options.json:
        output.print_json({"Plan": str(plan.path), "Cases": len(plan), "Rest": list(plan.rest)})
    elif only_plan:
        output.print_lines([str(plan.path)], options)
    return int(Exit.VERIFIED if len(plan) else Exit.NOTHING_TO_CONVERT)


def _run_part(options: argparse.Namespace) -> int:
    """Make one share of a plan; nothing is collected."""
    from ..cohort.running.parts import folder_of, run_part
    from ..core.findings import PipelineError
    from . import cohort_text

    _allow(options, "part", "jobs")
    path = _plan_path(options)
    if not options.part:
        options.parser.error("cohort run PLAN needs --part K/N")
    refused: list[PipelineError] = []
    for _, end in run_part(path, options.part, folder_of(path), options.jobs):
        if isinstance(end, PipelineError):
            refused.append(end)
            output.print_refusal(end, options)
        else:
            output.print_prose([cohort_text.describe_case(end)], options)
    return output.exit_of_many([0], refused)


def _merge(options: argparse.Namespace) -> int:
    """Collect what the parts of a plan have made, once every case was made."""
    from ..cohort.index.index import Index
    from ..cohort.plan import private_folder, read_plan
    from ..cohort.running.parts import check_parts, folder_of, note_merged
    from ..cohort.running.run import CohortRun

    _allow(options, "write", "prune", "no_page")
    path = _plan_path(options)
    plan, out = read_plan(path), folder_of(path)
    with Index(private_folder(out) / "index.sqlite") as index:
        check_parts(plan, out, index)
        run = CohortRun(plan, index, out, overwrite=options.write == "overwrite")
        run.prepare(run.judge(), prune=options.prune)
        run.finish()
        note_merged(plan, out)
        return _end(run, plan, out, options)


def _write_draft(options: argparse.Namespace) -> int:
    """Write a first labels.toml of the names that the masks of the inputs have."""
    from ..cohort.labels.label_draft import draft_labels
    from ..cohort.table import write_text
    from .cohort_request import refuse_existing

    path = Path(options.labels_draft)
    refuse_existing(path)
    with _planned(options, anew=True) as (planned, _, progress):
        progress.clear()
        write_text(path, draft_labels(planned.cleaned_facts()))
    output.print_prose(
        [f"wrote {path}: look through it, and give it with --labels {path}. Nothing was converted."], options
    )
    return 0


@contextmanager
def _planned(
    options: argparse.Namespace, *, anew: bool = False
) -> Iterator[tuple[Planned, Index, output.ProgressLine]]:
    """Plan what was typed, and hold the index until the block ends."""
    from ..cohort.index.index import Index
    from ..cohort.plan import private_folder
    from ..cohort.planning import plan_cohort
    from .cohort_request import read_request, refuse_foreign

    request = read_request(options)
    progress = output.ProgressLine(options)
    refuse_foreign(request.out)
    with Index(private_folder(request.out) / "index.sqlite") as index:
        yield plan_cohort(request, index, progress, anew=anew), index, progress


def _maker(options: argparse.Namespace) -> Maker:
    """Who makes the cases: this process, several of them, or a cluster."""
    from ..cohort.running.run import make_with_jobs
    from ..core.workers import count_cores

    if options.dask:
        from ..cohort.running.dask_run import make_on_cluster

        return make_on_cluster(options.dask)
    return make_with_jobs(options.jobs or count_cores())


def _require_extras(options: argparse.Namespace) -> None:
    """Ask for the packages of extras before work starts."""
    from ..core.extras import require_extra

    if options.dask:
        output.refuse_idle(options, only=["jobs"], why="with --dask the workers of the cluster make the cases")
        from ..cohort.running.dask_run import require_cluster

        require_extra("cluster")
        require_cluster(options.dask)
    if not options.no_page:
        require_extra("report")


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


def _allow(options: argparse.Namespace, *fields: str) -> None:
    """Refuse options that a step of a plan does not take: the plan says it all. Raises IDLE_OPTION."""
    output.refuse_idle(options, but=("inputs", "json", "quiet", *fields), why="the plan says how everything is done")


def _plan_path(options: argparse.Namespace) -> Path:
    if len(options.inputs) > 1:
        options.parser.error("one PLAN at a time")
    return Path(options.inputs[0])
