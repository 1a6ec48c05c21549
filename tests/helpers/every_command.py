"""Run every command of the command line on a tree, in this process, and keep all that comes out of it.

Rules:
- The commands are those of the parser: one without an entry in `LINES` fails, so that none is forgotten.
- Each line is run in the folder `out`, where a later line finds what an earlier one wrote. What a line printed is kept as
  bytes, and what it wrote by its path in `out`.
- How it is run is the caller's: on a terminal or not, with --json or -v where a command has it, with a guard around it.

    ran = run_every_command(make_tree(folder, text), out)          # -> list of Ran
    ran = run_every_command(tree, out, extra=("--json",), commands=("series", "explain"))
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.cli.main import main
from pipeline.cli.run_command import _parser
from tests.helpers.command_tree import CommandTree

_OFF = ("--crosscheck", "off")
_COHORT = (*_OFF, "--jobs", "1")
FOLDER = "FOLDER"  # the command that is none: a folder alone

# What is run of each command; words in braces are fields of the tree, {out}, and the {plan} that was made.
LINES: dict[str, tuple[tuple[str, ...], ...]] = {
    FOLDER: (("{study}",),),
    "convert": (
        ("{mask}", "-o", "{out}/mask.nii.gz", "--report", "--labels-file", "itksnap", "--crosscheck", "affine"),
        ("{mask}", "-o", "{out}/again.nii.gz", *_OFF, "--labels-file", "slicer"),
        ("{image}", "-o", "{out}/image.nii.gz", "--as", "image", *_OFF),
        ("{seg}", "-o", "{out}/seg.nii.gz", "--labels-file", "bids", *_OFF),
        ("{struct}", "--source", "{image}", "-o", "{out}/struct/", "--jobs", "1", *_OFF),
        ("{study}", "-o", "{out}/study/", "--images", "--report", "--jobs", "1", *_OFF),
        ("{bundle}", "-o", "{out}/bundle/", "--jobs", "1", *_OFF),
        ("{burned}", "--clean", "{image}", "-o", "{out}/burned.nii.gz", *_OFF),
        ("{masked}", "--outside", "0", "-o", "{out}/masked.nii.gz", *_OFF),
        ("{archive}", "-o", "{out}/archive/", "--images", "--jobs", "1", *_OFF),
        ("{study}", "-o", "{out}/none.nii.gz", "--series", "{word}", *_OFF),
        *(
            (f"{{{kind}}}", "-o", "{out}/none/", "--rois", "{word}", *_OFF)
            for kind in ("mask", "seg", "struct", "bundle")
        ),
        ("{mask}", "-o", "{out}/none.nii.gz", "--labels", "{word}=1", *_OFF),
        ("{mask}", "-o", "{out}/none.nii.gz", "--source", "{word}", *_OFF),
        ("{mask}", "-o", "{out}/none.nii.gz", "--as", "{word}"),
    ),
    "cohort": (
        ("{patients}", "-o", "{out}/draft", "--labels-draft", "{out}/draft.toml"),
        ("{patients}", "-o", "{out}/pairs", "--dry-run"),
        ("{patients}", "-o", "{out}/pairs", *_COHORT),
        ("{patients}", "-o", "{out}/pairs", "--table", "{out}/pairs/cohort.tsv", "--no-page", *_COHORT),
        (
            "{patients}",
            "-o",
            "{out}/nnunet",
            "--layout",
            "nnunet",
            "--labels",
            "{labels}",
            "--title",
            "{word}",
            *_COHORT,
        ),
        ("{patients}", "-o", "{out}/bids", "--layout", "bids", "--labels", "{labels}", "--no-page", *_COHORT),
        ("{archive}", "-o", "{out}/zipped", "--no-page", *_COHORT),
        ("plan", "{patients}", "-o", "{out}/parts", *_OFF),
        ("run", "{plan}", "--part", "1/1", "--jobs", "1"),
        ("merge", "{plan}", "--no-page"),
    ),
    "series": (("{study}",), ("{archive}",), ("{patients}", "--left-out"), ("{bundle}",), ("{word}",)),
    "report": (
        ("{out}/mask.json", "-o", "{out}/page.html", "--source", "{image}", "--interactive", "--show-phi"),
        ("{out}/study", "-o", "{out}/all.html"),
    ),
    "verify": (("{out}/mask.nii.gz", "{out}/study", "--dicom", "{study}"), ("{word}",)),
    "explain": (("{mask}",), ("{seg}",), ("{struct}", "--source", "{image}"), ("{out}/mask.nii.gz",)),
    "describe": (
        ("{study}",),
        ("{study}", "--anonymous"),
        ("{study}", "--json", "-o", "{out}/described.json"),
        ("{study}", "-o", "{out}/described.txt"),
        ("{out}/described.json", "--rebuild", "{out}/rebuilt"),
    ),
    "diagnose": (("{out}/mask.nii.gz", "--source", "{image}"), ("{out}/mask.nii.gz", "--source", "{study}")),
    "check": (("{out}/mask.nii.gz", "{image}"), ("{out}/mask.nii.gz", "{out}/image.nii.gz")),
    "regress": (
        ("{out}/cases.toml", "--add", "{mask}", "--id", "one", "--from", "{word}", "--why", "{word}", *_OFF),
        ("{out}/cases.toml", "--add", "{seg}", *_OFF),
        ("{out}/cases.toml", "--junit", "{out}/junit.xml"),
    ),
    "export": (
        ("{out}/mask.nii.gz", "--source", "{image}", "-o", "{out}/dicom"),
        ("{out}/mask.nii.gz", "--source", "{image}", "-o", "{out}/asseg", "--to", "seg", "--segments", "{segments}"),
        ("{bundle}", "--mask-name", "{word}", "-o", "{out}/nothing"),
    ),
    "fetch": (("{word}", "--study", "1.2.3", "-o", "{out}/fetched"),),
    "send": (("{seg}", "--to", "{word}"),),
    "listen": (("--port", "0", "-o", "{out}/listened", "--allow", "{word}"),),
    "selftest": ((),),
    "doctor": (("--verbose",),),  # without it the same is done, and less said
    "mimics-script": (("-o", "{out}/export_masks.py"),),
    "to-mimics": (("{out}/mask.nii.gz", "{bundle}", "-o", "{out}/to-mimics"),),
    "completion": (("bash",),),
}
SLOW = ("selftest", "doctor")  # they see nothing of the tree, and take a second or more each


class Ran(NamedTuple):
    """One line that was run. written: what it wrote or changed, by its path below `out`, with the content."""

    name: str
    exit: int
    stdout: bytes
    stderr: bytes
    written: dict[str, bytes]


class _Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def commands_of_parser() -> dict[str, argparse.ArgumentParser]:
    """Every command that there is, with its parser; "FOLDER" has none of its own and is not among them."""
    (commands,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    found: dict[str, argparse.ArgumentParser] = dict(commands.choices)
    for parser in found.values():
        parser.build()  # type: ignore[attr-defined]
    assert {*found, FOLDER} == {*LINES}, "a command has no line in tests/helpers/every_command.py"
    return found


def lines_of(tree: CommandTree, out: Path, commands: Collection[str] = tuple(LINES)) -> Iterator[tuple[str, list[str]]]:
    """Each command with the words to type, in an order in which a line finds what it needs."""
    words = {**{name: str(path) for name, path in vars(tree).items()}, "out": str(out)}
    for command, lines in LINES.items():
        for line in lines if command in commands else ():
            words["plan"] = next(map(str, (out / "parts" / ".verimask" / "plans").glob("*")), "no plan")
            first = [] if command == FOLDER else [command]
            yield command, first + [_fill(word, words) for word in line]


def run_every_command(
    tree: CommandTree,
    out: Path,
    *,
    commands: Collection[str] = tuple(LINES),
    extra: Sequence[str] = (),
    terminal: bool = False,
    before: Callable[[list[str]], None] = lambda _: None,
) -> list[Ran]:
    """Run all lines.

    Args:
        tree: of `make_tree`.
        out: a folder, made here; all outputs land in it.
        commands: only these; what one needs of another, `convert` most of all, must be among them.
        extra: options added to each command that has them.
        terminal: whether the standard streams say that they are one.
        before: called with the words of each line, before it is run.
    """
    parsers = commands_of_parser()
    out.mkdir(parents=True, exist_ok=True)
    ran = []
    for command, words in lines_of(tree, out, commands):
        has = parsers[command]._option_string_actions if command in parsers else ("--json", "-q", "--quiet")
        words = [*words, *(option for option in extra if option in has and option not in words)]
        before(words)
        seen = _files(out)
        code, stdout, stderr = run_line(words, out, terminal=terminal)
        written = {name: (out / name).read_bytes() for name, state in _files(out).items() if seen.get(name) != state}
        ran.append(Ran(" ".join(map(os.path.basename, words)), code, stdout, stderr, written))
    return ran


def run_line(words: Sequence[str], folder: Path, *, terminal: bool = False) -> tuple[int, bytes, bytes]:
    """Run one command line in a folder: its exit code, and the bytes on standard output and error."""
    stdout, stderr = (_Terminal() if terminal else io.BytesIO() for _ in range(2))
    with _streams(stdout, stderr), _inside(folder):
        try:
            main(list(words))
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    return code, stdout.getvalue(), stderr.getvalue()


@contextmanager
def _streams(stdout: io.BytesIO, stderr: io.BytesIO) -> Iterator[None]:
    """Put streams as Python makes them in the place of the standard ones, and a terminal that shows colours."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.StringIO("")
    sys.stdout = io.TextIOWrapper(stdout, "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(stderr, "utf-8", "backslashreplace", write_through=True)
    ours = sys.stdout, sys.stderr
    variables = {name: os.environ.pop(name, None) for name in ("TERM", "NO_COLOR")}
    os.environ["TERM"] = "xterm"
    try:
        yield
    finally:
        os.environ.pop("TERM")
        os.environ.update({name: value for name, value in variables.items() if value is not None})
        sys.stdin, sys.stdout, sys.stderr = before
        for wrapper in ours:
            wrapper.detach()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _fill(word: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        word = word.replace("{" + name + "}", value)
    return word


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith((".sqlite-wal", ".sqlite-shm"))
    }
