"""What is logged by the standard library: to whoever asks, and to nobody else."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import Dataset

from pipeline import PipelineError, Session, convert, convert_all
from pipeline.cli.main import main
from pipeline.conversion.record import sidecar_of
from tests.helpers.cases import DATA
from tests.helpers.phantom import Spec, write

LABELS = Spec(shape=(9, 7, 6), content="mask", radius_mm=4)
PATIENT = ("Doe^Jane", "4711-0815", "19700101")


def _identify(k: int, dataset: Dataset) -> None:
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT


def _facts(records: list[logging.LogRecord]) -> list[tuple[str, str]]:
    """Level and message, with times as a letter."""
    return [(r.levelname, re.sub(r"\d+\.\d+ s", "T s", r.getMessage())) for r in records if r.name == "verimask"]


def test_stages_and_results_have_levels_times_and_fields(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "in", LABELS)
    caplog.set_level(logging.DEBUG, "verimask")
    shown: list[str] = []
    outcome = convert(tmp_path / "in", tmp_path / "a.nii.gz", progress=lambda stage, *_: shown.append(stage))
    assert _facts(caplog.records) == [
        ("DEBUG", "reading headers: T s"),
        ("DEBUG", "writing: T s"),
        ("DEBUG", "cross-checking: T s"),
        ("DEBUG", f"a.nii.gz: dicom2nifti {outcome.agreements[0].status}: {outcome.agreements[0].words}"),
        ("INFO", "a.nii.gz: VERIFIED in T s"),
    ]
    assert set(shown) == {"reading headers", "writing", "cross-checking"} or set(shown) == {"writing", "cross-checking"}
    stages, done = [vars(r) for r in caplog.records[:3]], vars(caplog.records[-1])
    assert [s["stage"] for s in stages] == ["reading headers", "writing", "cross-checking"]
    assert (done["output"], done["verdict"]) == ("a.nii.gz", "VERIFIED")
    assert 0 < sum(s["seconds"] for s in stages) <= done["seconds"]


def test_warnings_and_failed_witnesses_are_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "in", LABELS)
    with Session() as session:
        (child,) = session._panel._children.values()
        process = child._process
        assert process is not None

        def kill(stage: str, *_: int) -> None:
            if stage == "cross-checking":
                os.kill(process.pid, signal.SIGKILL)

        os.kill(process.pid, signal.SIGSTOP)
        session.convert(tmp_path / "in", tmp_path / "a.nii.gz", progress=kill)
    (failed,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert (failed.levelname, vars(failed)["witness"], vars(failed)["status"]) == ("WARNING", "dicom2nifti", "FAILED")


def test_a_refusal_of_one_is_raised_and_not_logged_and_one_of_many_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "in" / "whole", LABELS)
    write(tmp_path / "in" / "gap", LABELS, seed="8")
    (tmp_path / "in" / "gap").joinpath(sorted(p.name for p in (tmp_path / "in" / "gap").iterdir())[2]).unlink()
    with pytest.raises(PipelineError):
        convert(tmp_path / "in" / "gap", tmp_path / "a.nii.gz")
    assert [r for r in caplog.records if r.name == "verimask" and r.levelno >= logging.WARNING] == []
    done, refused = convert_all(tmp_path / "in", tmp_path / "out")
    assert (len(done), len(refused)) == (1, 1)
    (logged,) = [r for r in caplog.records if r.name == "verimask" and r.levelno >= logging.ERROR]
    assert vars(logged)["code"] == refused[0].finding.code.name
    assert refused[0].finding.message in logged.getMessage()


def test_nothing_of_the_patient_and_no_folder_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "verimask")
    folder = tmp_path / "Doe^Jane"
    write(folder / "a", LABELS, edit=_identify)
    write(folder / "b", LABELS, edit=_identify, seed="8")
    sorted((folder / "b").iterdir())[2].unlink()
    convert_all(folder, tmp_path / "out")
    logged = [r for r in caplog.records if r.name == "verimask"]
    assert len(logged) > 4
    everything = "\n".join(str(vars(r)) for r in logged for key in ("pathname",) if vars(r).pop(key))
    assert [word for word in (*PATIENT, str(tmp_path)) if word in everything] == []


_QUIET = """
import logging, sys
{more}
from verimask import Policy, convert
convert(sys.argv[1], sys.argv[2], policy=Policy(witness_limit_s=1e-6))
"""


@pytest.mark.parametrize("more", ["", "import atexit", "logging.getLogger('verimask').setLevel(logging.INFO)"])
def test_python_prints_nothing_by_itself(more: str, tmp_path: Path) -> None:
    """The witness fails, which is a warning: Python would print one that nobody asked for.

    On a busy machine it may have answered before anybody looks at the clock: then it is asked again.
    """
    write(tmp_path / "in", LABELS)
    program = _QUIET.format(more=more)
    found = []
    while "FAILED" not in found and len(found) < 5:
        output = tmp_path / f"{len(found)}.nii.gz"
        command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "in"), str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "")
        found.append(json.loads(sidecar_of(output).read_text("utf-8"))["CrossCheck"][0]["Status"])
    assert "FAILED" in found


def test_where_nobody_can_listen_nothing_is_imported(tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    program = (
        "import sys; from verimask import Policy, convert;"
        "convert(sys.argv[1], sys.argv[2], policy=Policy(crosscheck='off')); print('logging' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "in"), str(tmp_path / "a.nii.gz")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def _stderr_of(tmp_path: Path, *options: str) -> tuple[str, str]:
    command = [sys.executable, "-W", "ignore", "-m", "verimask", "convert", str(tmp_path / "in")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    return done.stdout, re.sub(r"\d+\.\d+ s", "T s", re.sub(r"(?m)^\d\d:\d\d:\d\d ", "", done.stderr))


def test_verbose_prints_the_log_on_standard_error(tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    alone = _stderr_of(tmp_path, "-o", str(tmp_path / "a.nii.gz"), "--crosscheck", "off")
    once = _stderr_of(tmp_path, "-o", str(tmp_path / "b.nii.gz"), "--crosscheck", "off", "-v")
    twice = _stderr_of(tmp_path, "-o", str(tmp_path / "c.nii.gz"), "--crosscheck", "off", "-vv")
    assert alone[1] == ""
    assert once[1] == "INFO    b.nii.gz: UNCONFIRMED in T s\n"
    assert twice[1].splitlines() == [
        "DEBUG   reading headers: T s",
        "DEBUG   writing: T s",
        "DEBUG   cross-checking: T s",
        "INFO    c.nii.gz: UNCONFIRMED in T s",
    ]
    assert once[0].replace("b.nii.gz", "a.nii.gz") == alone[0]


def test_verbose_prints_no_command_to_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What comes from files reaches no terminal as a command to it, in the log neither."""
    for name in "ab":
        write(tmp_path / "in" / name, LABELS, seed=name, edit=_describe_evil)
    sorted((tmp_path / "in" / "b").iterdir())[2].unlink()
    logger = logging.getLogger("verimask")
    handlers, level = list(logger.handlers), logger.level
    try:
        with pytest.raises(SystemExit):
            main(["convert", str(tmp_path / "in"), "-o", f"{tmp_path / 'out'}/", "--crosscheck", "off", "-v"])
    finally:
        logger.handlers[:], _ = handlers, logger.setLevel(level)
    printed = capsys.readouterr().err
    assert "ERROR" in printed
    assert "\033" not in printed


def _describe_evil(k: int, dataset: Dataset) -> None:
    dataset.SeriesDescription = "evil \033[2J"


def test_policy_of_the_log_is_documented() -> None:
    """Every field that a program may ask for is named in the module's rules."""
    from pipeline.conversion import run_log

    text = Path(run_log.__file__).read_text("utf-8")
    fields = set(re.findall(r'"(\w+)": ', text)) - {"info", "warning", "error"}
    assert fields == {"output", "verdict", "seconds", "stage", "code", "where", "witness", "status"}
    assert all(field in (run_log.__doc__ or "") for field in fields)


def test_a_command_in_this_process_leaves_no_log_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = list(logging.getLogger("verimask").handlers)
    with pytest.raises(SystemExit):
        main(["convert", str(DATA / "samples" / "axial"), "-o", str(tmp_path / "a.nii"), "-v"])
    assert "INFO" in capsys.readouterr().err
    assert logging.getLogger("verimask").handlers == before
    with pytest.raises(SystemExit):
        main(["convert", str(DATA / "samples" / "axial"), "-o", str(tmp_path / "b.nii")])
    assert "INFO" not in capsys.readouterr().err
