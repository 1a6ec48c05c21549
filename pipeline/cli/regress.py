"""Run `verimask regress`: run cases, hold each against its golden record, add cases, and rewrite golden records.

Rules:
- A line is printed for each case as it ends, then what differs, and the table last.
- Exit 0 only where every case was run and holds, or was left out and --allow-left-out says that it may be.
- Nothing is rewritten that was not shown before.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..regression.case_list import CaseList
    from ..regression.judge import CaseJudged

_DESCRIPTION = """\
Run the cases of CASES.toml through every witness, and hold what each gives against its golden record (golden/ID.json).

  verimask regress cases.toml --add DICOM/ --as image     add a case, with its golden record
  verimask regress cases.toml                             run all: exit 0 where every case was run and holds
  verimask regress cases.toml --update ID                 show what differs, and rewrite the golden record
"""
_ABOUT = ("name", "origin", "licence", "why")  # of a case that is added
_OF_RUNS = ("update", "all", "only", "junit", "jobs", "fetch", "allow_left_out")  # and not of adding


def add(commands: Any) -> None:
    """Add the command. Its options are built when it is the one that was typed."""
    p = commands.add_parser(
        "regress",
        help="series of your own as regression cases: each against its golden record",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.options = _add_options
    p.set_defaults(run=run)


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("cases", metavar="CASES.toml", help="the list of cases; --add makes it")
    _add_run_options(p.add_argument_group("running cases"))
    g = p.add_argument_group("adding a case")
    g.add_argument(
        "--add", nargs="+", metavar="INPUT", help="folders, files or an archive: one case, with its golden record"
    )
    g.add_argument("--id", dest="name", metavar="ID", help="of the case; by default the name of its first input")
    g.add_argument("--from", dest="origin", metavar="TEXT", help="where the files are from")
    g.add_argument("--licence", metavar="TEXT", help="of the files")
    g.add_argument("--why", metavar="TEXT", help="what the case is there for")
    from . import case_options

    p.set_defaults(case_fields=case_options.add_options(p))
    output.add_common(p)


def _add_run_options(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--only", nargs="+", metavar="ID", help="only these cases")
    g.add_argument(
        "--update", nargs="*", metavar="ID", help="rewrite the golden records of these cases after showing what differs"
    )
    g.add_argument("--all", action="store_true", help="with --update: of all cases")
    g.add_argument("--jobs", type=int, default=1, metavar="N", help="so many cases at a time, each in a process (1)")
    g.add_argument("--fetch", action="store_true", help="run the commands that fetch inputs which are not here")
    g.add_argument("--allow-left-out", action="store_true", help="exit 0 though cases were left out for want of inputs")
    g.add_argument(
        "--junit", metavar="FILE", help="also write the results as JUnit XML; a JUnit report that is there is replaced"
    )


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    if options.add is not None:
        return _add(options)
    why = "it describes a case, and --add adds one"
    output.refuse_idle(options, only=[*_ABOUT, *options.case_fields], why=why)
    _check_update(options)
    from ..core.arguments import check_whole
    from ..core.leftovers import remove_dead
    from ..regression.case_list import bad_cases, read_case_list

    check_whole("jobs", options.jobs, 1)
    if options.update is not None:
        remove_dead(Path(options.cases).parent)  # a kill may have left one file of two to be moved
    cases = read_case_list(Path(options.cases))
    if not cases.cases:
        raise bad_cases(cases.path, "has no case", f"verimask regress {options.cases} --add FOLDER adds one.")
    if options.junit:
        from ..regression.junit import check_junit_place

        check_junit_place(Path(options.junit), cases)
    before = judged = _run_cases(cases, options)
    if options.update is not None:
        judged = _update(cases, before, options)
    return _end(cases, judged, options, before)


def _check_update(options: argparse.Namespace) -> None:
    """Refuse an --update that does not say of what, or says it twice."""
    if options.all and options.update is None:
        options.parser.error("--all goes with --update")
    if options.update is not None and bool(options.update) == options.all:
        options.parser.error("--update needs the IDs of cases, or --all")
    if options.update and options.only:
        options.parser.error("--update names the cases itself; leave --only out")


def _run_cases(cases: CaseList, options: argparse.Namespace) -> list[CaseJudged]:
    """Run the cases that were asked for, with a line for each as it ends; return them in the order of the file."""
    from ..regression.judge import judge_case
    from ..regression.run_cases import run_cases
    from .case_options import read_words

    chosen = cases.chosen(options.update or options.only or [case.id for case in cases.cases])
    by_id = {case.id: case for case in chosen}
    judged = {}
    progress = output.ProgressLine(options)
    with closing(run_cases(cases, chosen, read_words, fetch=options.fetch, jobs=options.jobs)) as runs:
        progress("cases done:", 0, len(chosen))
        for ran in runs:
            judged[ran.id] = judge_case(cases, by_id[ran.id], ran)
            progress.clear()
            _print_case(judged[ran.id], _width(chosen), options)
            progress("cases done:", len(judged), len(chosen))
    progress.clear()
    return [judged[case.id] for case in chosen]


def _update(cases: CaseList, judged: Sequence[CaseJudged], options: argparse.Namespace) -> list[CaseJudged]:
    """Show what differs and rewrite golden records; return the cases as they are judged then."""
    from ..regression.edit_cases import update_case
    from ..regression.judge import judge_case
    from .regress_text import describe_reasons

    if not options.json:
        output.print_prose(describe_reasons(judged), options)
    after = []
    for one in judged:
        if one.status in ("DIFFERS", "NEW"):
            cases = update_case(cases, one)
            case = next(case for case in cases.cases if case.id == one.case.id)
            one = judge_case(cases, case, one.run)
        after.append(one)
    return after


def _end(
    cases: CaseList, judged: Sequence[CaseJudged], options: argparse.Namespace, before: Sequence[CaseJudged]
) -> int:
    """Print what differs and the table, write what was asked for, and return the exit code. before: any update."""
    from .regress_text import describe_reasons, describe_table

    if options.junit:
        from ..regression.junit import write_junit

        write_junit(Path(options.junit), cases, judged)
    if options.json:
        output.print_json(_as_json(judged, before))
    elif options.quiet:
        output.print_aside(describe_reasons(judged)[1:])
    else:
        output.print_prose(describe_reasons(judged), options)
        table = describe_table(judged, _width([one.case for one in judged]), colour=_colour())
        output.print_lines(table, options)
        _print_hint(judged, options)
    return _exit_of(judged, options)


def _print_hint(judged: Sequence[CaseJudged], options: argparse.Namespace) -> None:
    """Say what the exit code would not explain."""
    left_out = [one.case.id for one in judged if one.status == "LEFT_OUT"]
    if left_out and not options.allow_left_out:
        output.print_prose(["left out, which --allow-left-out allows: " + ", ".join(left_out)], options)


def _exit_of(judged: Sequence[CaseJudged], options: argparse.Namespace) -> int:
    from ..core.findings import Exit

    refusals = [one.run.refusal for one in judged if one.run.refusal is not None]
    if any(error.exit is Exit.INTERNAL_ERROR for error in refusals):
        return int(Exit.INTERNAL_ERROR)
    statuses = {one.status for one in judged}
    if statuses & {"DIFFERS", "NEW", "FAILED"}:
        return int(Exit.MISMATCH)
    return int(Exit.PARTLY_DONE if "LEFT_OUT" in statuses and not options.allow_left_out else Exit.VERIFIED)


def _add(options: argparse.Namespace) -> int:
    """Add a case, and say what it gives."""
    output.refuse_idle(options, only=_OF_RUNS, why="--add writes a case and runs no other")
    from ..core.findings import Exit
    from ..regression.edit_cases import NewCase, add_case
    from .case_options import read_words, words_of
    from .regress_text import describe_results

    path = Path(options.cases)
    words = words_of(options, options.case_fields, path.parent)
    about = {field: getattr(options, field) or "" for field in ("name", "licence", "why")}
    new = NewCase(tuple(map(Path, options.add)), words, source=options.origin or "", **about)
    case, made = add_case(path, new, read_words)
    results = made.golden["Results"] if made.golden else []
    if options.json:
        output.print_json(
            {"Added": case.id, "SHA256": case.sha256, "Expected": list(case.expected), "Results": results}
        )
        return int(Exit.VERIFIED)
    lines = [
        f"added {case.id} to {path.name}, and golden/{case.id}.json: it gives {describe_results(results) or 'nothing'}"
    ]
    lines += [f"  {one['File']}  {one['Verdict']}" for one in results if "File" in one]
    lines += [f"  refused, which the case now expects: {one['Message']}" for one in results if "Message" in one]
    outside = [given for given in (*case.path, case.archive) if given.startswith("../") or Path(given).is_absolute()]
    lines += [
        f"note: {given} is outside of the folder of {path.name}; who copies that folder has it not" for given in outside
    ]
    output.print_prose(lines, options)
    return int(Exit.VERIFIED)


def _print_case(judged: CaseJudged, width: int, options: argparse.Namespace) -> None:
    from .regress_text import describe_line

    if not options.json:
        output.print_lines([describe_line(judged, width, colour=_colour())], options)


def _as_json(judged: Sequence[CaseJudged], before: Sequence[CaseJudged]) -> dict[str, Any]:
    """What --json prints. The differences are those before an update, which rewrote them where the case holds now."""
    rows = [
        {
            "Id": one.case.id,
            "Status": one.status,
            "Differences": [
                {"Kind": d.kind, "Subject": d.subject, "Words": d.words, "Was": d.was, "Now": d.now}
                for d in then.differences
            ],
            "Why": one.lines,
            "Notes": list(one.notes),
            "Results": one.results,
        }
        for one, then in zip(judged, before, strict=True)
    ]
    return {"Cases": rows, "Counts": {status: sum(one.status == status for one in judged) for status in _STATUSES}}


_STATUSES = ("HOLDS", "DIFFERS", "NEW", "FAILED", "LEFT_OUT")


def _width(cases: Sequence[Any]) -> int:
    return max((len(case.id) for case in cases), default=0)


def _colour() -> bool:
    import sys

    return output.wants_colour(sys.stdout)
