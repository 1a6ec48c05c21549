"""Read CASES.toml: the cases of a regression run, where their inputs are, and what each is to give.

Rules:
- A key that is not known is refused, and so is an id that is no plain file name: golden/ID.json is made of it.
- Paths are relative to the folder of CASES.toml, or to the root that the case names. A root may be absent: then its cases
  are left out.
- What a case is to give is said twice: in words by `expected`, which a person writes, and whole by its golden record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..core.findings import Code, PipelineError, refuse
from ..core.text_file import read_text
from ..core.toml_file import parse_toml

KINDS = ("path", "archive", "recipe")  # of inputs: a case has one of them
VERIFIED = "verified"
_VERDICTS = (VERIFIED, "unconfirmed", "disputed")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LISTS = (
    "path",
    "options",
    "fetch",
    "expected",
)  # of texts; one text counts as a list of one, but for words of a command
_COMMANDS = ("options", "fetch")
TARGET = "{target}"  # in the words of `fetch`: the path that the command is to write


@dataclass(frozen=True, slots=True)
class CaseRoot:
    """A folder of inputs elsewhere. path: as written. environment: a variable that names it instead, or ""."""

    path: str
    environment: str = ""


@dataclass(frozen=True, slots=True)
class RegressionCase:
    """One case. id: also the name of its golden record. path, archive, recipe: its inputs, one of the three.

    root: what `path` and `archive` are relative to, "" for the folder of CASES.toml. sha256: of the input files, "" where
    only the golden record knows them. options: words as `convert` takes them. fetch: the command that gets the inputs.
    source, licence, why: for people. expected: every result is one of these: a verdict in lower case, or a refusing code.
    """

    id: str
    path: tuple[str, ...] = ()
    archive: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""
    sha256: str = ""
    options: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    why: str = ""
    expected: tuple[str, ...] = (VERIFIED,)


@dataclass(frozen=True, slots=True)
class CaseList:
    """What a CASES.toml holds. path: of the file. text: of the file, as it was read."""

    path: Path
    text: str
    roots: Mapping[str, CaseRoot]
    cases: tuple[RegressionCase, ...]

    @property
    def folder(self) -> Path:
        """The folder that paths of cases are relative to."""
        return self.path.parent

    def golden_path(self, name: str) -> Path:
        """Where the golden record of a case is, by the id of the case."""
        return self.folder / "golden" / f"{name}.json"

    def base_of(self, case: RegressionCase) -> Path:
        """The folder that the paths of a case are relative to; it may be absent."""
        if not case.root:
            return self.folder
        root = self.roots[case.root]
        return self.folder / (os.environ.get(root.environment) or root.path)

    def chosen(self, names: Sequence[str]) -> tuple[RegressionCase, ...]:
        """The cases with these ids, in the order of the file. Raises NO_SUCH_CASE."""
        unknown = sorted(set(names) - {case.id for case in self.cases})
        if unknown:
            raise refuse(
                Code.NO_SUCH_CASE,
                f"{self.path.name} has no case {', '.join(unknown)}",
                f"Its cases are {', '.join(case.id for case in self.cases) or 'none'}.",
                where=(self.path.name, *unknown),
            )
        return tuple(case for case in self.cases if case.id in names)


def read_case_list(path: Path) -> CaseList:
    """Read a CASES.toml. Raises NO_SUCH_INPUT where it is not there, BAD_CASES where it cannot be followed."""
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{path} is not there",
            f"verimask regress {path} --add FOLDER makes it, with a first case.",
            where=(path.name,),
        ) from error
    except (OSError, ValueError) as error:
        raise bad_cases(path, f"cannot be read: {error}") from error
    return parse_case_list(path, text)


def parse_case_list(path: Path, text: str) -> CaseList:
    """Parse the text of a CASES.toml that is, or will be, at a path. Raises BAD_CASES."""
    try:
        content = parse_toml(text)
    except ValueError as error:
        raise bad_cases(path, f"is no TOML: {error}") from error
    unknown = sorted(content.keys() - {"case", "roots"})
    if unknown:
        raise bad_cases(path, f"has {', '.join(unknown)}, and only [[case]] and [roots] are known")
    roots = _read_roots(path, content.get("roots", {}))
    listed = content.get("case", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise bad_cases(path, "has a [case], and each case begins with [[case]]")
    cases = tuple(_read_case(path, number, one, roots) for number, one in enumerate(listed, 1))
    seen: dict[str, str] = {}
    for case in cases:
        other = seen.setdefault(case.id.casefold(), case.id)
        if other is not case.id:
            raise bad_cases(path, f"has two cases {case.id}" + f" (and {other})" * (other != case.id))
    return CaseList(path, text, roots, cases)


def check_id(path: Path, name: object) -> str:
    """Return an id that can be the name of a golden record. Raises BAD_CASES."""
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise bad_cases(
            path, f"has the id {name!r}, and an id is letters, digits, -, _ and . and begins with none of these three"
        )
    return name


def bad_cases(path: Path, what: str, hint: str = "Correct it there; no case was run.") -> PipelineError:
    """Make the refusal of a CASES.toml.

    Args:
        path: of the file.
        what: is wrong with it; the sentence begins with the file's name.
        hint: what to do.

    Returns: BAD_CASES, to be raised.
    """
    return refuse(Code.BAD_CASES, f"{path.name} {what}", hint, where=(path.name,))


def _read_roots(path: Path, given: Any) -> dict[str, CaseRoot]:
    if not isinstance(given, dict):
        raise bad_cases(path, 'has roots that are no table: [roots], and in it name = { path = "…" }')
    roots = {}
    for name, root in given.items():
        if not isinstance(root, dict) or not root.keys() <= {"path", "environment"} or "path" not in root:
            raise bad_cases(path, f"describes the root {name} by other than path and environment")
        if not all(isinstance(value, str) and value for value in root.values()):
            raise bad_cases(path, f"describes the root {name} by what is no text")
        roots[name] = CaseRoot(**root)
    return roots


def _read_case(path: Path, number: int, given: dict[str, Any], roots: Mapping[str, CaseRoot]) -> RegressionCase:
    name = check_id(path, given.get("id"))
    known = [f.name for f in fields(RegressionCase)]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise bad_cases(
            path, f"has the key {', '.join(unknown)} in case {number}, {name}, and only {', '.join(known)} are known"
        )
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        raise bad_cases(
            path, f"gives {name} {' and '.join(kinds) or 'no input'}, and a case has one of {', '.join(KINDS)}"
        )
    values = {key: _checked(path, name, key, value) for key, value in given.items()}
    case = RegressionCase(**values)
    wrong = _find_contradiction(case, roots)
    if wrong:
        raise bad_cases(path, f"{wrong} (case {name})")
    return case


def _checked(path: Path, name: str, key: str, value: Any) -> Any:
    """One value of a case, of the type that its key has."""
    if key == "recipe":
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise bad_cases(path, f"has a recipe of {name} that is no table with a kind")
        return value
    if key not in _LISTS:
        if not isinstance(value, str) or not value:
            raise bad_cases(path, f"has {key} of {name}, which is no text")
        return value
    several = [value] if isinstance(value, str) and key not in _COMMANDS else value
    if not isinstance(several, list) or not all(isinstance(one, str) and one for one in several):
        raise bad_cases(path, f"has {key} of {name}, which is no list of texts")
    if not several and key != "options":
        raise bad_cases(path, f"has {key} of {name}, which is empty")
    return tuple(several)


def _find_contradiction(case: RegressionCase, roots: Mapping[str, CaseRoot]) -> str:
    """What in a case cannot be, "" where nothing is."""
    if case.root and case.root not in roots:
        return f"names the root {case.root}, which is not in [roots]"
    if case.root and case.recipe:
        return "names a root, and a recipe needs none"
    if case.sha256 and not _DIGEST.fullmatch(case.sha256):
        return "has a sha256 that is not 64 hexadecimal digits in lower case"
    unknown = [word for word in case.expected if word not in _VERDICTS and word not in Code.__members__]
    if unknown:
        return f"expects {', '.join(unknown)}, which is no verdict ({', '.join(_VERDICTS)}) and no name of a finding"
    return _find_wrong_fetch(case)


def _find_wrong_fetch(case: RegressionCase) -> str:
    if not case.fetch:
        return ""
    if case.recipe or len(case.path) > 1:
        return "fetches more than one file or folder"
    if not case.sha256:
        return "fetches its input and has no sha256 to hold it against"
    if not any(TARGET in word for word in case.fetch):
        return f"has a fetch without {TARGET}, the path that the command is to write"
    return ""
