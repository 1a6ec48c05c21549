"""Run `verimask cohort`: from a tree of patients to a data set, here, on a cluster, or in the jobs of an array.

Rules:
- What will be done is known and said before it begins. A line is printed for each case as it ends.
- What is not wholly in the data set is listed once: by --dry-run, or at the end of a run. --quiet lists it on standard error.
- The product of `cohort plan` is the path of the plan: standard output has that alone.
- Exit 0: every mask is in the data set. 8: something is not, and its row in cohort.tsv says why.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..cohort.index.index import Index
    from ..cohort.plan import CohortPlan
    from ..cohort.planning import Planned
    from ..cohort.running.run import CohortRun, Maker

_PLAN, _RUN, _MERGE = _STEPS = ("plan", "run", "merge")  # of work that is shared out to the jobs of an array
_OF_RUNS = ("labels_draft", "dry_run", "only_failed", "prune", "write", "jobs", "dask", "no_page")  # and not of plans
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
            what = "an INPUT" if step == _PLAN else "a PLAN"
            options.parser.error(f"{step} needs {what}; a folder that is called {step} is given as ./{step}")
    if step in (_RUN, _MERGE):
        return _run_part(options) if step == _RUN else _merge(options)
    if not options.output:
        options.parser.error("the following arguments are required: -o/--output")
    if step == _PLAN:
        output.refuse_idle(options, only=_OF_RUNS, why="cohort plan writes a plan, and converts nothing")
    if options.labels_draft:
        return _write_draft(options)
    return _run_all(options, only_plan=step == _PLAN)


def _run_all(options: argparse.Namespace, *, only_plan: bool) -> int:
    from ..cohort.running.run import CohortRun
    from . import cohort_end, cohort_text
    from .cohort_request import notes_of

    out = Path(options.output)
    converts = not (options.dry_run or only_plan)
    cohort_end.check_before(options, out if converts else None)
    with _planned(options) as (planned, index, progress):
        cohort_run = CohortRun(planned.plan, index, out, overwrite=options.write == "overwrite")
        judged = cohort_run.judge(only_failed=options.only_failed)
        progress.clear()
        if not (options.json or options.quiet):
            lines = [*cohort_text.describe_plan(planned, judged, whole=options.dry_run), *notes_of(options)]
            _print_of_plan(lines, options, only_plan=only_plan)
        if not converts:
            return _end_with_plan(planned, options, only_plan=only_plan)
        if planned.is_last and cohort_run.is_finished(judged, prune=options.prune):
            return cohort_end.end_run(cohort_run, planned.plan, out, options, is_finished=True)
        table = Path(options.table) if options.table else None
        numbers = cohort_run.prepare(judged, prune=options.prune, table=table)
        shown = _run_cases(cohort_run, planned.plan, numbers, out, _maker(options), options)
        return cohort_end.end_run(cohort_run, planned.plan, out, options, shown=shown)


def _run_cases(
    run: CohortRun, plan: CohortPlan, numbers: list[int], out: Path, maker: Maker, options: argparse.Namespace
) -> set[str]:
    """Make cases, with a line for each as it ends, a line of progress with the time left, and the log; return their keys."""
    from ..cohort.running.run import run_cases
    from . import cohort_end, cohort_text

    progress = output.ProgressLine(options)
    clock = cohort_text.Clock(len(numbers))
    shown = set()
    cases = run_cases(run, plan, numbers, out, maker)
    with cohort_text.RunLog(out) as log, cohort_end.resumable(clock, progress), closing(cases):
        for result in cases:
            progress.clear()
            clock.count()
            shown.add(result.key)
            log.write(cohort_text.describe_case(result))
            cohort_end.print_case(result, options)
            progress(f"{clock.time_left()} left; cases done:", clock.done, len(numbers))
    progress.clear()
    return shown


def _print_of_plan(lines: list[str], options: argparse.Namespace, *, only_plan: bool) -> None:
    """Print what a plan holds: on standard error where standard output is for the path of the plan, or for nothing."""
    if only_plan or options.quiet:
        output.print_aside(lines)
    else:
        output.print_prose(lines, options)


def _end_with_plan(planned: Planned, options: argparse.Namespace, *, only_plan: bool) -> int:
    """Print what is in no case, and the plan's path where that is wanted; return the exit code."""
    from ..core.findings import Exit
    from . import cohort_text

    plan = planned.plan
    if options.json:
        output.print_json({"Plan": str(plan.path), "Cases": len(plan), "Rest": list(plan.rest)})
        return int(Exit.VERIFIED if len(plan) else Exit.NOTHING_TO_CONVERT)
    odd, others = cohort_text.describe_odd([], plan.rest), cohort_text.describe_others(plan.rest)
    _print_of_plan(odd if options.quiet else [*odd, *others], options, only_plan=only_plan)
    if only_plan:
        output.print_lines([str(plan.path)])
    return int(Exit.VERIFIED if len(plan) else Exit.NOTHING_TO_CONVERT)


def _run_part(options: argparse.Namespace) -> int:
    """Make one share of a plan; nothing is collected."""
    from ..cohort.running.parts import folder_of, run_part
    from ..core.findings import PipelineError
    from . import cohort_end, cohort_text

    _allow(options, "part", "jobs")
    path = _plan_path(options)
    if not options.part:
        options.parser.error("run PLAN needs --part K/N, the share of this job, such as 3/10")
    refused: list[PipelineError] = []
    record: list[dict[str, Any]] = []
    clock = cohort_text.Clock()
    ends = run_part(path, options.part, folder_of(path), options.jobs)
    with cohort_end.resumable(clock, output.ProgressLine(options)), closing(ends):  # type: ignore[type-var]  # a generator
        for _, end in ends:
            clock.count()
            if isinstance(end, PipelineError):
                refused.append(end)
                record.append(output.refusal_as_json(end, options))
                if not options.json:
                    output.print_refusal(end, options)
            else:
                record.append(cohort_text.result_as_json(end))
                cohort_end.print_case(end, options)
    if options.json:
        output.print_json(record)
    return output.exit_of_many([0], refused)


def _merge(options: argparse.Namespace) -> int:
    """Collect what the parts of a plan have made, once every case was made."""
    from ..cohort.plan import read_plan
    from ..cohort.running.parts import check_parts, folder_of, note_merged
    from ..cohort.running.run import CohortRun
    from . import cohort_end

    _allow(options, "write", "prune", "no_page")
    path = _plan_path(options)
    plan, out = read_plan(path), folder_of(path)
    cohort_end.check_before(options, out)
    with cohort_end.index_of(out) as index:
        check_parts(plan, out, index)
        run = CohortRun(plan, index, out, overwrite=options.write == "overwrite")
        run.prepare(run.judge(), prune=options.prune)
        run.finish()
        note_merged(plan, out)
        return cohort_end.end_run(run, plan, out, options)


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
    words = f"wrote {path}: look through it, and give it with --labels {path}. Nothing was converted."
    output.print_written(path, words, (), options)
    return 0


@contextmanager
def _planned(
    options: argparse.Namespace, *, anew: bool = False
) -> Iterator[tuple[Planned, Index, output.ProgressLine]]:
    """Plan what was typed, and hold the index until the block ends."""
    from ..cohort.planning import plan_cohort
    from . import cohort_end
    from .cohort_request import read_request, refuse_foreign
    from .cohort_text import Clock

    request = read_request(options)
    progress = output.ProgressLine(options)
    refuse_foreign(request.out)
    with cohort_end.index_of(request.out) as index:
        with cohort_end.resumable(Clock(), progress):
            planned = plan_cohort(request, index, progress, anew=anew)
        yield planned, index, progress


def _maker(options: argparse.Namespace) -> Maker:
    """Who makes the cases: this process, several of them, or a cluster."""
    from ..cohort.running.run import make_with_jobs

    if options.dask:
        from ..cohort.running.dask_run import make_on_cluster

        return make_on_cluster(options.dask)
    return make_with_jobs(options.jobs)


def _allow(options: argparse.Namespace, *fields: str) -> None:
    """Refuse options that a step of a plan does not take: the plan says it all. Raises IDLE_OPTION."""
    output.refuse_idle(options, but=("inputs", "json", "quiet", *fields), why="the plan says how everything is done")


def _plan_path(options: argparse.Namespace) -> Path:
    if len(options.inputs) > 1:
        options.parser.error("one PLAN at a time")
    return Path(options.inputs[0])
