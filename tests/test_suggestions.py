"""What is asked about a mistyped command line: commands, options, choices, and folders that are called like a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.cli.run_command import _parser

COMMANDS = next(action.choices for action in _parser()._actions if isinstance(action.choices, dict))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of an error of the command line; nothing is printed elsewhere."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 64
    assert printed.out == ""
    *lines, last = printed.err.splitlines()
    assert last == "exit 64 (USAGE)"
    return lines


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    return tmp_path


def test_a_mistyped_command_that_is_no_path_is_read_both_ways(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    first, meant, *_ = refused(capsys, "covnert", "study", "-o", "out/")
    assert first == "verimask: “covnert” is neither a command nor a file or folder that is here"
    assert meant == "did you mean the command convert?"
    (here / "converted").mkdir()
    assert refused(capsys, "convertd")[1] == "did you mean the command convert or ./converted?"
    assert refused(capsys, "stady")[1] == "did you mean ./study?"
    assert refused(capsys, "xyzzy")[1] == "see verimask --help"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_meant_by_a_word_with_two_letters_swapped(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    swapped = command[:2] + command[3] + command[2] + command[4:]
    if swapped != command:
        assert refused(capsys, swapped)[1] == f"did you mean the command {command}?"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_long_option_of_every_command_is_meant_by_a_word_like_it(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    parser = COMMANDS[command]
    parser.build()
    for option in (o for o in parser._option_string_actions if o.startswith("--")):
        capital = option[:2] + option[2].upper() + option[3:]
        for mistyped in (option + "x", capital, option[1:], option[1:] + "=a"):
            lines = refused(capsys, command, mistyped)
            assert f"did you mean {option}?" in lines, mistyped


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["convert", "study", "--crosschek", "voxels", "-o", "out/"], "did you mean --crosscheck?"),
        (["convert", "study", "--Source", "study", "-o", "out/"], "did you mean --source?"),
        (["convert", "study", "-output", "out/"], "did you mean --output?"),
        (["report", "study", "--ouput", "page.html"], "did you mean --output?"),
        (["convert", "study", "-o", "out/", "--crosscheck", "voxel"], "did you mean voxels?"),
        (["completion", "zhs"], "did you mean zsh?"),
    ],
)
def test_an_option_or_choice_is_asked_about(
    capsys: pytest.CaptureFixture[str], here: Path, arguments: list[str], meant: str
) -> None:
    assert meant in refused(capsys, *arguments)
    assert sorted(path.name for path in here.iterdir()) == ["study"]


def test_what_is_right_is_not_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    """An abbreviation, a value that looks like an option, and what stands behind a double dash."""
    for arguments in (["convert", "--crossc", "off"], ["convert", "--", "-output"], ["convert", "--series=--ouput"]):
        assert not [line for line in refused(capsys, *arguments) if line.startswith("did you mean")]


def test_a_value_on_its_short_option_is_no_long_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", "study", "-oout.nii.gz", "-wskip"])
    assert ended.value.code == 2  # an empty folder
    assert "NO_DICOM" in capsys.readouterr().err


def test_a_folder_called_like_a_command(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "convert").mkdir()
    assert "convert is a command; the folder of that name is written ./convert" in refused(capsys, "convert")
    with pytest.raises(SystemExit) as ended:
        main(["./convert"])
    assert ended.value.code == 2
    assert "No DICOM image among the 0 files of convert" in capsys.readouterr().err


def test_an_option_without_a_command_names_the_command_that_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = refused(capsys, "study", "-o", "out/")
    assert "with options of its own: verimask convert study -o out/" in lines
    assert not [line for line in lines if line.startswith("did you mean")]


def test_an_empty_word_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "")[0] == "verimask: an argument is empty"


def test_verimask_alone_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    printed = capsys.readouterr()
    assert not ended.value.code
    assert printed.out.startswith("usage: verimask [-h] [--version] FOLDER\n")
    assert printed.err == ""
