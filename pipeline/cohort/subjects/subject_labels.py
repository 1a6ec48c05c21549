"""Propose names for subjects: of their folder, of a digest, or numbers.

Rules:
- A folder whose name holds an identifier of its patient, or is one of any patient, names nobody: all subjects are numbered
  then, and where folders were asked for it is a refusal.
- Numbers go on after the highest that was given before. Their letter is one that no Patient ID here is made with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from ...conversion.file_names import safe
from ...core.findings import Code, PipelineError, refuse
from ..privacy import identifies
from .subject_groups import SubjectGroup
from .unique_names import folded

LabelsOf = Callable[[SubjectGroup], Iterable[str]]

_DIGITS = 10  # of a hash: equal ones of two patients get more
_FEWEST_DIGITS = 3  # of a number
_PREFIXES = ("P", "S", "N", "Subject")


def labels_of(
    groups: Sequence[SubjectGroup],
    rule: str,
    given: Sequence[str],
    digest: Callable[[SubjectGroup], str],
    *,
    public: bool,
    folders: bool = True,
) -> LabelsOf:
    """Choose how subjects are named.

    Args:
        groups: every subject.
        rule: "" for folders or numbers, "folder:N" or "hash".
        given: names that were given by this rule before.
        digest: keyed, of a group.
        public: whether identifiers may be names.
        folders: whether folders may be that nobody asked for.

    Returns: what gives an endless row of names for a group, the best first; empty ones are to be passed over.

    Raises: PipelineError SUBJECT_NAME where folders were asked for and their names hold identifiers.
    """
    if rule == "hash":
        return lambda group: _hashes(digest(group))
    identifiers = {text for group in groups for member in group.members for text in member.identifiers}
    every = {folded(safe(text)) for text in identifiers}
    identifying = [] if public else [group for group in groups if _is_identifying(_own_name(group), group, every)]
    if rule and identifying:
        raise _identifying(rule, identifying, len(groups))
    if rule or (folders and groups and not identifying and all(folded(safe(_own_name(group))) for group in groups)):
        return lambda group: _folders(group, every, public=public)
    numbers = _numbers(every, given, len(groups))
    return lambda group: numbers


def _identifying(rule: str, identifying: Sequence[SubjectGroup], groups: int) -> PipelineError:
    """Refuse names of folders that hold identifiers. groups: how many there are."""
    return refuse(
        Code.SUBJECT_NAME,
        f"--subject {rule}: the names of {len(identifying)} of {groups} folders hold an identifier of a patient",
        "Leave --subject out to have subjects numbered, take --subject hash, or name them in the column subject of the "
        "table. Are identifiers here pseudonyms already? Then say so with --public-ids.",
        where=tuple(group.members[0].key for group in identifying[:5]),
        measured=len(identifying),
        limit=0,
        unit="folders",
    )


def _is_identifying(name: str, group: SubjectGroup, every: set[str]) -> bool:
    """every: folded identifiers of all patients."""
    own = {text for member in group.members for text in member.identifiers}
    return bool(name) and (folded(safe(name)) in every or identifies(name, own))


def _own_name(group: SubjectGroup) -> str:
    return group.folder.rsplit("/", 1)[-1]


def _folders(group: SubjectGroup, every: set[str], *, public: bool) -> Iterator[str]:
    """The folder; then with those it lies in, unless they hold an identifier; then with a number."""
    own = safe(_own_name(group)) or "S"
    yield own
    above = group.folder.split("/")[:-1]
    usable = public or not any(_is_identifying(name, group, every) for name in [*above, group.folder])
    longer = safe(group.folder.replace("/", "-")) if usable else own
    yield longer
    yield from (f"{longer}-{n}" for n in count(2))


def _hashes(digest: str) -> Iterator[str]:
    return (digest[:digits] for digits in range(_DIGITS, len(digest) + 1))


def _numbers(every: set[str], given: Sequence[str], subjects: int) -> Iterator[str]:
    prefix = next((p for p in _PREFIXES if not any(_is_number(p, text) for text in every)), _PREFIXES[-1])
    highest = max((int(name[len(prefix) :]) for name in given if _is_number(prefix, name)), default=0)
    digits = max(_FEWEST_DIGITS, len(str(highest + subjects)))
    return (f"{prefix}{n:0{digits}}" for n in count(highest + 1))


def _is_number(prefix: str, text: str) -> bool:
    return re.fullmatch(re.escape(prefix) + r"\d+", text, re.IGNORECASE) is not None
