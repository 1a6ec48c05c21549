"""The command line of a cohort: what is printed where, what is refused before anything is written, and how Ctrl-C ends it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.cli import cohort_text
from pipeline.cli.main import main
from pipeline.cohort.case import CaseResult, Place
from pipeline.cohort.case_rows import OPTIONS
from pipeline.core.findings import Exit
from tests.helpers.cohort_run import CohortRunner, rows_of
from tests.helpers.made_cohort import MadeCohort, make_cohort
from tests.helpers.watching import wait_for

PLAIN = ("--crosscheck", "off", "--session", "folder:2")
QUICK = (*PLAIN, "--no-page")
ODD = ("REFUSED", "AMBIGUOUS", "NO_IMAGE", "INCOMPLETE")


class Printed(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def cohort(*given: object) -> Printed:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(["cohort", *map(str, given)])
    return Printed(int(left.value.code or 0), out.getvalue(), err.getvalue())


def starts(text: str) -> list[str]:
    """The first word of every line that begins the description of something odd, in order."""
    return [line.split()[0] for line in text.splitlines() if line.split()[:1] and line.split()[0] in ODD]


def in_order(text: str) -> list[str]:
    """The subjects of these lines."""
    return [line.split()[1] for line in text.splitlines() if line.split()[:1] and line.split()[0] in ODD]


class Done(NamedTuple):
    """A tree, its data set, and what the quiet plan and run of it printed."""

    made: MadeCohort
    out: Path
    plan: Printed
    run: Printed


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("cohort")
    made, out = make_cohort(folder / "in", 20), folder / "out"
    plan = cohort("plan", made.root, "-o", out, *PLAIN, "-q")
    return Done(made, out, plan, cohort(made.root, "-o", out, *QUICK, "-q", "--jobs", "1"))


# ---- what is printed where


def test_a_quiet_run_prints_refusals_on_standard_error(done: Done) -> None:
    assert (done.run.code, done.run.out) == (Exit.PARTLY_DONE, "")
    rows = rows_of(done.out)
    cases = {(row["subject"], row["session"], row["case"]) for row in rows if row["case"] and row["status"] in ODD}
    alone = [row for row in rows if not row["case"] and row["status"] in ODD]
    assert len(starts(done.run.err)) == len(cases) + len(alone)
    assert set(starts(done.run.err)) == set(ODD)


def test_a_quiet_run_again_prints_them_again(done: Done) -> None:
    again = cohort(done.made.root, "-o", done.out, *QUICK, "-q")
    assert (again.code, again.out) == (Exit.PARTLY_DONE, "")
    assert sorted(starts(again.err)) == sorted(starts(done.run.err))
    assert in_order(again.err) == sorted(in_order(again.err))


def test_the_path_of_a_plan_is_all_that_standard_output_has(done: Done) -> None:
    loud = cohort("plan", done.made.root, "-o", done.out, *PLAIN)
    assert loud.out == done.plan.out
    assert Path(loud.out.rstrip("\n")).is_file()
    assert "42 series: 16 cases of 14 subjects" in loud.err
    assert set(starts(done.plan.err)) == {"AMBIGUOUS", "NO_IMAGE"}
    assert "cases of" not in done.plan.err


def test_what_is_odd_is_listed_once_at_the_end(done: Done) -> None:
    again = cohort(done.made.root, "-o", done.out, *QUICK)
    assert sorted(starts(again.out)) == sorted(starts(done.run.err))
    assert again.err == ""
    dry = cohort(done.made.root, "-o", done.out, *QUICK, "--dry-run")
    assert starts(dry.out) == starts(done.plan.err)


def test_a_run_lists_a_case_that_had_its_line_no_second_time(done: Done, tmp_path: Path) -> None:
    one = next(series for series in done.made.of_status("INCOMPLETE") if series.code == "EMPTY_ROI")
    shutil.copytree(done.made.root / Path(one.folder).parts[0], tmp_path / "in" / "patient")
    first = cohort(tmp_path / "in", "-o", tmp_path / "out", *QUICK, "--jobs", "1")
    assert starts(first.out) == ["INCOMPLETE"]
    assert "1 case of 1 subject\n" in first.out


def test_only_a_dry_run_lists_all_that_is_odd() -> None:
    rest = [{"status": "NO_IMAGE", "subject": f"P{n:03}", "series": "5"} for n in reversed(range(50))]
    lines = cohort_text.describe_odd([], rest, most=30)
    assert lines[-1] == "... and 20 more in cohort.tsv"
    assert [line.split()[1] for line in lines[:-1]] == [f"P{n:03}" for n in range(30)]
    assert len(cohort_text.describe_odd([], rest)) == 50


def test_cases_and_series_are_listed_by_subject() -> None:
    result = CaseResult("k", Place("P002", "", "CT", True), "REFUSED", (), (), {})
    rest = [{"status": "NO_IMAGE", "subject": subject} for subject in ("P003", "P001")]
    assert [line.split()[1].rstrip(":") for line in cohort_text.describe_odd([result], rest)] == [
        "P001",
        "P002",
        "P003",
    ]


def test_nothing_to_convert_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    said = cohort(tmp_path / "in", "-o", tmp_path / "out", "--no-page")
    assert said.code == Exit.NOTHING_TO_CONVERT
    assert said.out.splitlines()[-1] == "nothing to convert"


def test_a_part_prints_one_json_document(done: Done, tmp_path: Path) -> None:
    plan = cohort("plan", done.made.root, "-o", tmp_path / "out", *PLAIN, "-q").out.strip()
    said = cohort("run", plan, "--part", "1/4", "--jobs", "1", "--json")
    assert (said.code, said.err) == (0, "")
    results = json.loads(said.out)
    assert [result.keys() for result in results] == [{"Place", "Status", "Rows"}] * 4
    assert {row["subject"] for result in results for row in result["Rows"]} == {r["Place"][0] for r in results}
    quiet = cohort("run", plan, "--part", "2/4", "--jobs", "1", "-q")
    assert (quiet.code, quiet.out) == (0, "")
    assert set(starts(quiet.err)) & {"REFUSED", "INCOMPLETE"}


def test_a_draft_prints_one_json_document(done: Done, tmp_path: Path) -> None:
    said = cohort(done.made.root, "-o", done.out, "--labels-draft", tmp_path / "draft.toml", "--json")
    assert (said.code, json.loads(said.out)["Written"]) == (0, "draft.toml")
    assert (tmp_path / "draft.toml").is_file()


# ---- what is refused before anything is written


IDLE = [
    (("--separate",), "--separate"),
    (("--title", "Liver"), "--title"),
    (("--part", "1/2"), "--part"),
    (("--salt", "salt.bin"), "--salt"),
    (("--labels-draft", "d.toml", "--labels", "bad.toml"), "--labels"),
    (("--labels-draft", "d.toml", "--separate"), "--separate"),
    (("--labels-draft", "d.toml", "--dry-run"), "--dry-run"),
    (("--labels-draft", "d.toml", "--jobs", "2"), "--jobs"),
    (("--labels-draft", "d.toml", "--dask", "tcp://h:1"), "--dask"),
    (("--labels-draft", "d.toml", "--only-failed"), "--only-failed"),
    (("--labels-draft", "d.toml", "--prune"), "--prune"),
    (("--labels-draft", "d.toml", "--no-page"), "--no-page"),
    (("--labels-draft", "d.toml", "--layout", "bids"), "--layout"),
]


@pytest.mark.parametrize(("options", "named"), IDLE, ids=[" ".join(options) for options, _ in IDLE])
def test_an_option_without_effect_is_refused(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cohort(done.made.root, "-o", "out", *options)
    assert said.code == Exit.USAGE
    assert "IDLE_OPTION" in said.err
    assert f"{named} has no effect here" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", ["--jobs=2", "--dask=tcp://h:1", "--only-failed", "--prune", "--no-page", "-woverwrite"]
)
def test_a_plan_refuses_what_is_only_for_runs(done: Done, tmp_path: Path, option: str) -> None:
    said = cohort("plan", done.made.root, "-o", tmp_path / "out", option)
    assert said.code == Exit.USAGE
    assert "IDLE_OPTION" in said.err
    assert "has no effect here" in said.err
    assert list(tmp_path.iterdir()) == []


def test_the_options_that_a_table_may_name_are_there() -> None:
    """What a message of cohort.tsv tells to do is never an option that this command has not."""
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", cohort("--help").out)) >= OPTIONS


BAD = [
    ((), "nowhere", "NO_SUCH_INPUT", "nowhere is not there"),
    (("--labels", "bad.toml"), "", "BAD_LABELS", "bad.toml has"),
    (("--labels", "absent.toml"), "", "NO_SUCH_INPUT", "absent.toml"),
    (("--table", "absent.tsv"), "", "NO_SUCH_INPUT", "absent.tsv"),
    (("--layout", "nnunet"), "", "BAD_OPTION", "--labels"),
    (("--subject", "folder:x"), "", "BAD_OPTION", "folder:x"),
    (("--session", "years"), "", "BAD_OPTION", "years"),
    (("--subject", "table"), "", "BAD_OPTION", "--subject table names no table"),
    (("--session", "table"), "", "BAD_OPTION", "--session table names no table"),
]


@pytest.mark.parametrize(("options", "place", "code", "words"), BAD, ids=[case[-1] for case in BAD])
def test_a_bad_request_leaves_nothing(
    done: Done,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    place: str,
    code: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("[x]\n", "utf-8")
    said = cohort(place or done.made.root, "-o", "out", *options)
    assert (said.code in (Exit.USAGE, Exit.NO_SUCH_INPUT), said.out) == (True, "")
    assert code in said.err
    assert words in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def test_bad_ratings_are_refused_before_the_work(done: Done, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cohort("plan", done.made.root, "-o", out, *PLAIN, "-q").code == 0
    (out / "ratings.tsv").write_text("no table of ratings\n", "utf-8")
    said = cohort(done.made.root, "-o", out, *PLAIN)
    assert "BAD_RATINGS" in said.err
    assert sorted(path.name for path in out.iterdir()) == [".verimask", "ratings.tsv"]


def test_hashes_without_a_salt_have_a_note(done: Done, tmp_path: Path) -> None:
    said = cohort(done.made.root, "-o", tmp_path / "out", "--dry-run", "--subject", "hash")
    assert "without --salt" in said.out
    (tmp_path / "salt").write_bytes(b"sixteen bytes at least")
    salted = cohort(
        done.made.root, "-o", tmp_path / "out", "--dry-run", "--subject", "hash", "--salt", tmp_path / "salt"
    )
    assert (salted.code, "--salt" in salted.out) == (0, False)


# ---- the command line itself


@pytest.mark.parametrize("step", ["plan", "run", "merge"])
def test_a_folder_may_be_called_as_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / step).mkdir()
    bare = cohort(step, "-o", "out")
    assert bare.code == Exit.USAGE
    assert bare.err.splitlines()[0].startswith(f"verimask cohort: {step} needs ")
    assert f"./{step}" in bare.err
    assert cohort(f"./{step}", "-o", "out", "--no-page").code == Exit.NOTHING_TO_CONVERT


@pytest.mark.parametrize(
    "given", [(), ("in",), ("in", "-o", "out", "--bogus"), ("in", "-o", "out", "--layout", "cake")]
)
def test_a_wrong_command_line_is_three_lines(given: tuple[str, ...]) -> None:
    said = cohort(*given)
    assert (said.code, said.out) == (Exit.USAGE, "")
    first, *others = said.err.splitlines()
    assert first.startswith("verimask cohort: ")
    assert others[-2:] == ["see verimask cohort --help", "exit 64 (USAGE)"]
    assert all(line.startswith("did you mean ") for line in others[:-2])


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_says_what_is_done_and_how_to_go_on(done: Done, tmp_path: Path, jobs: str) -> None:
    runner = CohortRunner(tmp_path / "scratch")
    for attempt in range(5):  # on a busy machine a run may end before the signal reaches it
        log = tmp_path / f"out{attempt}" / ".verimask" / "log.txt"
        process = runner.start(done.made.root, "-o", tmp_path / f"out{attempt}", *QUICK, "--jobs", jobs, "-q")
        wait_for(lambda log=log: log.exists() and len(log.read_text("utf-8").splitlines()) > 1)
        os.killpg(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=120)
        if process.returncode != Exit.PARTLY_DONE:
            break
    assert runner.end_leftovers() == []
    # Python ends by the signal itself where it came while a class was being made of text (a dataclass, at an import).
    assert process.returncode in (130, -signal.SIGINT)
    lines = len(log.read_text("utf-8").splitlines())
    words = "stopped: {} cases were done in this run; the same command goes on with the rest"
    assert text.splitlines()[-1] in (words.format(lines), words.format(lines + 1))  # the last one may not be in the log
    assert "Traceback" not in text


# ---- the clock


def test_asking_for_the_time_left_counts_nothing() -> None:
    clock = cohort_text.Clock(4)
    clock.count()
    assert (clock.time_left(), clock.time_left(), clock.done) == ("0 s", "0 s", 1)


@pytest.mark.parametrize(
    ("home", "name"),
    [
        ("pipeline.cohort.plan", "reach_disk"),
        ("pipeline.cohort.plan", "note_on_disk"),
        ("pipeline.cohort.planning", "_who_is_who"),
        ("pipeline.cohort.running.run", "collect"),
        ("pipeline.cohort.running.run", "in_order"),
    ],
)
def test_an_output_folder_that_goes_is_no_bug_of_ours(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, name: str
) -> None:
    real = getattr(import_module(home), name)

    def remove(*given: Any, **more: Any) -> Any:
        shutil.rmtree(tmp_path / "out")
        monkeypatch.setattr(f"{home}.{name}", real)
        return real(*given, **more)

    monkeypatch.setattr(f"{home}.{name}", remove)
    printed = cohort(done.made.root, "-o", tmp_path / "out", "--jobs", "1", *QUICK)
    assert printed.code == 7, printed.err
    assert "was removed or moved away while it was written to" in " ".join(printed.err.split())
