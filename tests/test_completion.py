"""Completion in the shells themselves: what stands on the line after the tab key was pressed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.completion import _NO_PATHS
from pipeline.cli.main import main
from pipeline.cli.run_command import _parser
from pipeline.core import extras
from pipeline.core.codes import Code

pytest.importorskip("shtab")
SHELLS = ("bash", "zsh", "fish", "powershell")
INTERACTIVE = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}"),
    "zsh": (["zsh", "-f", "-i"], "fpath=({script.parent} $fpath); autoload -Uz compinit; compinit -u -D"),
}
# What is typed before the tab key, and what stands there after it.
COMPLETED = {
    "verimask conv": "verimask convert",
    "verimask ser": "verimask series",
    "verimask convert --crossch": "verimask convert --crosscheck",
    "verimask convert --crosscheck vox": "verimask convert --crosscheck voxels",
    "verimask convert stud": "verimask convert study",
    "verimask convert study --source stud": "verimask convert study --source study",
    "verimask check liver": "verimask check liver.nii.gz",
    "verimask completion fi": "verimask completion fish",
    "verimask stud": "verimask study",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "IM1").touch()
    (tmp_path / "liver.nii.gz").touch()
    return tmp_path


def script(folder: Path, shell: str) -> Path:
    """What the command prints for a shell, as a file."""
    given = [sys.executable, "-m", "pipeline", "completion", shell]
    done = subprocess.run(given, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    path = folder / ("_verimask" if shell == "zsh" else f"completion.{shell}")
    path.write_text(done.stdout, "utf-8")
    return path


def press_tab(shell: str, folder: Path, lines: list[str]) -> list[str]:
    """Type lines in an interactive shell, press the tab key after each, and return what stood there then."""
    command, setup = INTERACTIVE[shell]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "PS1": "", "HOME": str(folder), "ZDOTDIR": str(folder)}
    typed = [setup.format(script=script(folder, shell)), *(f"{line}\t\x01echo GOT \x05" for line in lines), "exit"]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    # In a session of its own: an interactive shell signals the process group that it is in.
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams) as process:
        os.close(theirs)
        text = ""
        for number, line in enumerate(typed):
            os.write(ours, f"{line}\r".encode())
            while number and line != "exit" and len(re.findall(r"(?m)^GOT ", text)) < number:
                assert select.select([ours], [], [], 120)[0], (
                    text
                )  # seconds: a shell that waits for more has gone wrong
                text += os.read(ours, 4096).decode("utf-8", "replace").replace("\r", "\n")
        process.wait(20)
    os.close(ours)
    return re.findall(r"(?m)^GOT (.*?)/? *$", text)  # zsh takes the slash back when more is typed


@pytest.mark.parametrize("shell", sorted(INTERACTIVE))
def test_the_tab_key_completes_commands_options_choices_and_paths(folder: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    stood = press_tab(shell, folder, list(COMPLETED))
    assert dict(zip(COMPLETED, stood, strict=True)) == COMPLETED


def test_fish_completes_commands_options_choices_and_paths(folder: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    lines = [f"echo GOT; complete -C '{line}'" for line in COMPLETED]
    given = ["fish", "--no-config", "-c", "\n".join([f"source {script(folder, 'fish')}", *lines])]
    done = subprocess.run(given, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    offered = [
        [row.split("\t")[0].rstrip("/") for row in part.split("\n") if row] for part in done.stdout.split("GOT\n")[1:]
    ]
    assert dict(zip(COMPLETED, offered, strict=True)) == {
        line: [completed.split(" ")[-1]] for line, completed in COMPLETED.items()
    }


def test_powershell_is_given_every_command_and_option(folder: Path) -> None:
    """There is no PowerShell on the machines of the tests; what it would be asked to complete is in the tables."""
    text = script(folder, "powershell").read_text("utf-8")
    assert re.search(r"Register-ArgumentCompleter -Native -CommandName '?verimask", text)
    for command, parser in commands().items():
        parser.build()
        table = re.search(rf"'_shtab_verimask_{command.replace('-', '_')}' = @\((.*)\)", text)
        assert table is not None, command
        assert set(re.findall(r"'([^']*)'", table[1])) == set(parser._option_string_actions)
    assert "'_shtab_verimask_convert___crosscheck' = @('affine', 'voxels', 'off')" in text


def commands() -> dict[str, Any]:
    return next(action.choices for action in _parser()._actions if isinstance(action.choices, dict))


def test_every_placeholder_that_is_no_path_is_one_of_an_option() -> None:
    placeholders = set()
    for parser in commands().values():
        parser.build()
        placeholders |= {str(action.metavar) for action in parser._actions}
    assert placeholders >= _NO_PATHS


@pytest.mark.parametrize("shell", SHELLS)
def test_the_help_says_how_each_shell_is_given_its_script(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "--help"])
    assert f"verimask completion {shell}" in capsys.readouterr().out


def test_without_its_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", lacking)
    with pytest.raises(SystemExit) as ended:
        main(["completion", "bash"])
    assert ended.value.code == 64
    error = capsys.readouterr().err
    assert Code.NO_COMPLETION_PACKAGE.name in error
    assert "pip install 'verimask[completion]'" in error
