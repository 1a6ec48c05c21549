"""Name the session of every series within its subject.

Rules:
- There is none unless one is asked for: files of a subject stay where they are when a later study is added.
- `study` numbers the studies of a subject that hold images, in natural order of their folders; a number once given stays.
- `folder:N` takes the Nth folder below the input. Sessions are letters and digits, and differ regardless of case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import NamedTuple

from ...conversion.file_names import safe
from ...core.findings import Code, Finding, PipelineError, refuse
from ...core.natural_order import natural_order
from ..facts import SeriesFacts
from ..privacy import identifies
from .subject_groups import above_level, folder_at, folder_level
from .unique_names import first_free, folded


class SessionRules(NamedTuple):
    """rule: "" for none, "folder:N" or "study". given: by the table, by key of a series. public: as in `SubjectRules`."""

    rule: str
    given: Mapping[str, str]
    public: bool


class SessionNames(NamedTuple):
    """names: by key of a series, "" for none. refused: why a series has none. known: to be kept in the index."""

    names: dict[str, str]
    refused: dict[str, Finding]
    known: dict[str, str]


def name_sessions(
    facts: Sequence[SeriesFacts], subjects: Mapping[str, str], rules: SessionRules, known: Mapping[str, str]
) -> SessionNames:
    """Name the session of every series that has a subject.

    Args:
        facts: every series of the cohort.
        subjects: by key of a series.
        rules: how sessions are named.
        known: names that were given before.

    Returns: the names.

    Raises: PipelineError BAD_OPTION for a rule that is none, SUBJECT_NAME where a name would hold an identifier.
    """
    level = _level(rules.rule)
    named = sorted((f for f in facts if f.key in subjects), key=lambda fact: (natural_order(fact.folder), fact.key))
    names: dict[str, str] = {}
    refused: dict[str, Finding] = {}
    kept = dict(known)
    taken = _taken(rules.rule, known)
    imaged = {(subjects[fact.key], fact.study_uid) for fact in named if fact.role == "image"}
    for fact in named:
        subject = subjects[fact.key]
        what = folder_at(fact.folder, level) if level else fact.study_uid if (subject, fact.study_uid) in imaged else ""
        if fact.key in rules.given or not rules.rule or what == "":
            names[fact.key] = rules.given.get(fact.key, "")
        elif what is None:
            refused[fact.key] = above_level(fact, "--session", level or 0)
        else:
            key = f"session {rules.rule} {subject} {what}"
            if key not in kept:
                kept[key] = first_free(_labels(what, level), taken[subject])
                taken[subject].add(folded(kept[key]))
            names[fact.key] = kept[key]
    _check(named, names, rules)
    return SessionNames(names, refused, kept)


def _level(rule: str) -> int | None:
    """The level of the folders that sessions are named by; None where they are not."""
    level = folder_level(rule, "--session")
    if level is None and rule not in ("", "study"):
        words = f"--session {rule} is no rule"
        raise refuse(Code.BAD_OPTION, words, "Give study or folder:N, or leave it out.", where=("--session",))
    return level


def _taken(rule: str, known: Mapping[str, str]) -> defaultdict[str, set[str]]:
    """The folded names that a rule has given before, by subject."""
    taken: defaultdict[str, set[str]] = defaultdict(set)
    for key, name in known.items():
        if key.startswith(f"session {rule} "):
            taken[key.split(" ")[2]].add(folded(name))
    return taken


def _labels(what: str, level: int | None) -> Iterable[str]:
    """Names for a study or a folder, the best first. level: of the folder, None for a study."""
    if level is None:
        return (f"{n:02}" for n in count(1))
    name = "".join(sign for sign in safe(what.rsplit("/", 1)[-1]) if sign.isalnum()) or "S"
    return chain((name,), (f"{name}x{n}" for n in count(2)))


def _check(facts: Iterable[SeriesFacts], names: Mapping[str, str], rules: SessionRules) -> None:
    """Refuse sessions that hold an identifier."""
    found = [f for f in facts if names.get(f.key) and not rules.public and identifies(names[f.key], f.identifiers)]
    if found and rules.rule != "study":
        raise _identifying(found)


def _identifying(facts: Sequence[SeriesFacts]) -> PipelineError:
    return refuse(
        Code.SUBJECT_NAME,
        f"the sessions of {len(facts)} series hold an identifier of their patient",
        "Take --session study, or name them in the column session of the table.",
        where=tuple(fact.key for fact in facts[:5]),
    )
