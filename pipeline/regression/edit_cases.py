"""Add a case to CASES.toml, and rewrite golden records: the text that a person wrote there stays as it is.

Rules:
- A case is appended as a block of text; of a case that is there nothing but its SHA-256 is changed, and only where the file
  reads the same otherwise.
- Both files are written whole or not at all. A golden record that is there is rewritten by `update_case` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple

from ..core.atomic_file import all_in_place, in_folder, in_place
from ..core.codes import Code
from ..core.findings import PipelineError, refuse
from ..core.given_path import look_at_output
from ..core.leftovers import remove_dead
from ..core.temporary_folder import temporary_folder
from ..core.text_file import read_bytes
from ..core.toml_file import toml_text
from ..dicom.files import refuse_unreachable
from .case_inputs import is_tar, is_zip
from .case_list import VERIFIED, CaseList, RegressionCase, bad_cases, check_id, parse_case_list
from .golden import golden_text, words_of
from .judge import CaseJudged
from .run_case import CaseRun, ReadOptions, run_case

_HEAD = """\
# Cases of verimask regress: `verimask regress {name}` runs each, and holds it against golden/ID.json.
# Paths are relative to this file. `--add FOLDER` appends a case; `--update ID` rewrites its golden record.
"""
_BLOCK = re.compile(r"^[ \t]*\[\[[ \t]*case[ \t]*\]\]", re.MULTILINE)
_NO_CASE = {
    Code.UNEXPECTED,
    Code.PROCESS_ENDED,
    Code.BAD_OPTION,
    Code.IDLE_OPTION,
}  # faults of ours, or of what was typed


class NewCase(NamedTuple):
    """What is to be added. inputs: as typed. name: "" where it is made of the first input's. options: words for `convert`."""

    inputs: tuple[Path, ...]
    options: tuple[str, ...] = ()
    name: str = ""
    source: str = ""
    licence: str = ""
    why: str = ""


def add_case(path: Path, new: NewCase, read_options: ReadOptions) -> tuple[RegressionCase, CaseRun]:
    """Run a new case, write its golden record, and append it to CASES.toml, which is made where it is not there.

    Args:
        path: of CASES.toml.
        new: the case.
        read_options: from its words to what is wanted.

    Returns: the case as it was written, and what came of it.

    Raises: PipelineError: CASE_EXISTS, OUTPUT_EXISTS where the list was changed meanwhile, BAD_CASES, NO_SUCH_INPUT,
        CANNOT_WRITE, and what keeps the case from being run.
    """
    remove_dead(path.parent)
    is_there, text = look_at_output(path).is_there, _text_of(path)
    old = parse_case_list(path, text.removeprefix("\ufeff"))
    case = _made_of(path, new)
    golden = old.golden_path(case.id)
    _refuse_present(old, case.id)
    _refuse_no_text(path, case)
    with temporary_folder() as folder:
        run = run_case(old, case, read_options, folder)
    if run.golden is None:
        raise run.refusal or bad_cases(path, f"cannot run {case.id}")
    _refuse_faults(run)
    case = replace(case, sha256=run.sha256, expected=tuple(words_of(run.golden)) or (VERIFIED,))
    added = text + (_separator(text) + _block(case)).replace("\n", "\r\n" if "\r\n" in text else "\n")
    if parse_case_list(path, added.removeprefix("\ufeff")).cases != (*old.cases, case):
        raise bad_cases(path, f"cannot hold {case.id}: what was appended reads as something else")
    with in_folder(golden.parent), all_in_place((path, golden), overwrite=True) as (list_part, golden_part):
        list_part.write_bytes(added.encode())
        golden_part.write_text(golden_text(run.golden), "utf-8")
        _refuse_present(old, case.id)
        if look_at_output(path).is_there != is_there or _text_of(path) != text:
            words = f"{path.name} was changed meanwhile, as by another verimask regress --add; it was left alone"
            raise refuse(Code.OUTPUT_EXISTS, words, "Add the case once more; nothing was written.", where=(path.name,))
    return case, run


def update_case(cases: CaseList, judged: CaseJudged) -> CaseList:
    """Rewrite the golden record of a case, and its SHA-256 in CASES.toml where it has one.

    Args:
        cases: the list that holds it.
        judged: the case as it was run.

    Returns: the list as it is now.

    Raises: PipelineError BAD_CASES, CANNOT_WRITE; what keeps the case from being run.
    """
    case, run = judged.case, judged.run
    if run.golden is None:
        raise run.refusal or bad_cases(cases.path, f"cannot run {case.id}")
    _refuse_faults(run)
    golden = cases.golden_path(case.id)
    if not case.sha256 or case.sha256 == run.sha256:
        with in_folder(golden.parent), in_place(golden, overwrite=True) as part:
            part.write_text(golden_text(run.golden), "utf-8")
        return cases
    edited = _with_digest(cases, case, run.sha256)
    with in_folder(golden.parent), all_in_place((cases.path, golden), overwrite=True) as (list_part, golden_part):
        list_part.write_bytes(edited.text.encode())
        golden_part.write_text(golden_text(run.golden), "utf-8")
    return edited


def _text_of(path: Path) -> str:
    """The text of a file with its line ends; what a new one begins with where it is not there."""
    if not look_at_output(path).is_there:
        return _HEAD.format(name=path.name)
    try:
        return read_bytes(path).decode()
    except (OSError, ValueError) as error:
        raise bad_cases(path, f"cannot be read: {error}") from error


def _separator(text: str) -> str:
    return "\n" if text.endswith("\n") else "\n\n" if text else ""


def _made_of(path: Path, new: NewCase) -> RegressionCase:
    """The case that is to be added, before it was run."""
    for given in new.inputs:
        refuse_unreachable(given)
    first = new.inputs[0]
    name = check_id(path, new.name or _name_of(first))
    written = tuple(relative_path(given, path.parent) for given in new.inputs)
    if len(new.inputs) == 1 and (is_zip(first) or is_tar(first)):
        case = RegressionCase(name, archive=written[0])
    else:
        case = RegressionCase(name, path=written)
    return replace(case, options=new.options, source=new.source, licence=new.licence, why=new.why)


def relative_path(given: Path, folder: Path) -> str:
    """Write a path as CASES.toml in a folder has it: relative, with slashes; as it is where that cannot be."""
    try:
        return PurePath(os.path.relpath(given, folder)).as_posix()
    except ValueError:  # another drive
        return given.absolute().as_posix()


def _name_of(path: Path) -> str:
    """An id made of the name of an input."""
    name = path.absolute().name if path.is_dir() else path.name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "case"


def _refuse_present(cases: CaseList, name: str) -> None:
    """Refuse a case whose id or golden record is there. Raises CASE_EXISTS."""
    if any(case.id.casefold() == name.casefold() for case in cases.cases):
        raise refuse(
            Code.CASE_EXISTS,
            f"{cases.path.name} has a case {name} already",
            f"--id gives the new one another name; --update {name} rewrites the golden record of the old one.",
            where=(cases.path.name, name),
        )
    golden = cases.golden_path(name)
    if golden.exists():
        raise refuse(
            Code.CASE_EXISTS,
            f"golden/{golden.name} is already there, though {cases.path.name} has no case {name}",
            "--id gives the new case another name; or remove the file, where no case needs it any more.",
            where=(golden.name,),
        )


def _refuse_faults(run: CaseRun) -> None:
    """Refuse what nobody can mean by a case: a bug of ours, a wrong option."""
    for result in run.golden["Results"] if run.golden else ():
        code = Code[result["Code"]] if result["Verdict"] == "REFUSED" else None
        if code in _NO_CASE:
            raise refuse(code, result["Message"], "Nothing was written.", where=(run.id,))


def _refuse_no_text(path: Path, case: RegressionCase) -> None:
    """Refuse names whose bytes are no text, which no list of cases can hold. Raises BAD_CASES."""
    try:
        _block(case).encode()
    except UnicodeEncodeError:
        words = f"cannot hold {case.id}: a name or word in it is no text in UTF-8"
        raise bad_cases(path, words, "Give the file or folder another name, or write the word in UTF-8.") from None


def _block(case: RegressionCase) -> str:
    """A case as TOML."""
    rows: list[tuple[str, str | Sequence[str]]] = [
        ("id", case.id),
        ("path", case.path[0] if len(case.path) == 1 else case.path),
        ("archive", case.archive),
        ("sha256", case.sha256),
        ("options", case.options),
        ("source", case.source),
        ("licence", case.licence),
        ("why", case.why),
        ("expected", case.expected[0] if len(case.expected) == 1 else case.expected),
    ]
    lines = [f"{key} = {toml_text(value)}" for key, value in rows if value]
    return "\n".join(["[[case]]", *lines, ""])


def _with_digest(cases: CaseList, case: RegressionCase, digest: str) -> CaseList:
    """The list with another SHA-256 of a case. Raises BAD_CASES where its text cannot be edited safely."""
    text = _text_of(cases.path)
    number = [one.id for one in cases.cases].index(case.id)
    starts = [found.start() for found in _BLOCK.finditer(text)]
    edited = text
    if number < len(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        block = re.sub(
            rf"(sha256[ \t]*=[ \t]*[\"']){case.sha256}", rf"\g<1>{digest}", text[starts[number] : end], count=1
        )
        edited = text[: starts[number]] + block + text[end:]
    new = _try_to_parse(cases.path, edited)
    wanted = [replace(one, sha256=digest) if one.id == case.id else one for one in cases.cases]
    if new is None or list(new.cases) != wanted:
        raise bad_cases(
            cases.path, f"has no plain line for the SHA-256 of {case.id}", f"Write {digest} there yourself."
        )
    return replace(new, text=edited)


def _try_to_parse(path: Path, text: str) -> CaseList | None:
    try:
        return parse_case_list(path, text.removeprefix("\ufeff"))
    except PipelineError:
        return None
