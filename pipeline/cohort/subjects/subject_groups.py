"""Group the series of a cohort by the subject they are of.

Rules:
- A level parts the patients where no folder of it holds images of two owners, no owner is in two of its folders, and every
  image and mask lies that deep. The first such level counts. Owners are as `owners` finds them.
- A series without owner is of the subject of its folder at that level. Where there is no such level, it is of the
  only patient of the very folder it lies in, else of its study: it never joins a patient by a folder higher up.
- Patient IDs that name nobody, such as ANON, are none: the index knows no patient by them (`index.identity`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ...core.findings import Code, Finding, Severity, refuse
from ..facts import SeriesFacts
from .owners import Owner, folders_without_tie, owners_of


class SubjectGroup(NamedTuple):
    """The series of one subject, by natural order of their folders. folder: that is its own, "" where it has none.

    identity: what it is known by in the index: "patient:", "folder:" or "study:" with the value.
    """

    identity: str
    folder: str
    members: tuple[SeriesFacts, ...]


def folder_level(rule: str, option: str) -> int | None:
    """Read the level of a rule `folder:N`.

    Args:
        rule: as given.
        option: its name, for the refusal.

    Returns: N; None where the rule is another one.

    Raises: PipelineError BAD_OPTION where N is no whole number from 1.
    """
    if not rule.startswith("folder"):
        return None
    found = re.fullmatch(r"folder:([1-9][0-9]?)", rule)
    if found is None:
        raise refuse(
            Code.BAD_OPTION,
            f"{option} {rule} names no level",
            "folder:1 is the first folder below the input, folder:2 the one in that.",
            where=(option,),
        )
    return int(found[1])


def folder_at(folder: str, level: int) -> str | None:
    """The path of the folder at a level below the input that a folder is or lies in; None where it lies above that."""
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return "/".join(parts[:level]) if len(parts) >= level else None


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key to sort by: numbers in a text by their value."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part)


def group_by_patient(facts: Sequence[SeriesFacts]) -> tuple[list[SubjectGroup], int | None]:
    """Group series by Patient ID.

    Args:
        facts: every series of the cohort.

    Returns: the groups, in natural order of their first folder, and the level that parts them; None where none does.
    """
    owners = owners_of(facts)
    level = parting_level(facts, owners)
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for fact in facts:
        folder = _own_folder(fact, level)
        if fact.patient and folder is not None:
            patients[folder].add(fact.patient)
    groups: defaultdict[str, list[SeriesFacts]] = defaultdict(list)
    for fact in facts:
        known = patients.get(_own_folder(fact, level) or "", set())
        groups[_identity(fact, owners[fact.key], level, known)].append(fact)
    return _sorted(groups, level), level


def group_by_folder(facts: Sequence[SeriesFacts], level: int) -> tuple[list[SubjectGroup], dict[str, Finding]]:
    """Group series by the folder at a level.

    Args:
        facts: every series of the cohort.
        level: 1 for the first folder below the input.

    Returns: the groups, in natural order of their folder; and by key the series that are in none: SUBJECTS_MIXED where the
    folder holds several Patient IDs, SUBJECT_NAME where a series lies above the level.
    """
    groups: defaultdict[str, list[SeriesFacts]] = defaultdict(list)
    refused: dict[str, Finding] = {}
    for fact in facts:
        folder = folder_at(fact.folder, level)
        if folder is None:
            refused[fact.key] = above_level(fact, "--subject", level)
        else:
            groups[f"folder:{folder}"].append(fact)
    for identity, members in list(groups.items()):
        patients = {member.patient for member in members} - {""}
        if len(patients) > 1:
            refused |= {member.key: _mixed(member, level, len(patients)) for member in groups.pop(identity)}
    return _sorted(groups, level), refused


def parting_level(facts: Iterable[SeriesFacts], owners: Mapping[str, Owner]) -> int | None:
    """Find the first level at which every folder is of one patient and every patient in one folder; None for none.

    Args:
        facts: every series of the cohort.
        owners: of each by its key.

    Returns: the level, 1 for the first folder below the input.
    """
    series = [fact for fact in facts if fact.role != "other"]
    deepest = max((fact.folder.count("/") + 1 for fact in series), default=0)
    for level in range(1, deepest + 1):
        folders = [folder_at(fact.folder, level) for fact in series]
        if None in folders:
            return None
        if _is_one_to_one(series, folders, owners) and (any(f.patient for f in series) or len(set(folders)) > 1):
            return level
    return None


def folders_of_one_id(facts: Sequence[SeriesFacts]) -> dict[str, list[str]]:
    """Find Patient IDs that may be those of several patients: they lie in several folders, and nothing else ties these.

    Args:
        facts: every series of the cohort, whose patients no level parts.

    Returns: by patient the folders, at the first level at which none is of two patients.
    """
    deepest = max((fact.folder.count("/") + 1 for fact in facts), default=0)
    for level in range(1, deepest + 1):
        patients: defaultdict[str, set[str]] = defaultdict(set)
        for fact in facts:
            folder = folder_at(fact.folder, level)
            if fact.patient and folder is not None:
                patients[folder].add(fact.patient)
        if all(len(own) == 1 for own in patients.values()):
            return folders_without_tie(facts, lambda fact: folder_at(fact.folder, level))
    return {}


def above_level(fact: SeriesFacts, option: str, level: int) -> Finding:
    """Make the refusal of a series that lies in no folder of a level.

    Args:
        fact: the series.
        option: that names the level.
        level: 1 for the first folder below the input.

    Returns: the finding.
    """
    return Finding(
        Code.SUBJECT_NAME,
        f"{fact.title} lies above level {level} of the folders, so {option} folder:{level} does not name it",
        f"Move it into a folder, take another level, or fill its row in the table ({fact.key}).",
        where=(fact.key,),
    )


def _is_one_to_one(
    series: Sequence[SeriesFacts], folders: Sequence[str | None], owners: Mapping[str, Owner]
) -> bool:
    """Whether no folder has two patients, or studies of none with images; and no owner has two folders."""
    owner_of: dict[str | None, Owner] = {}
    folder_of: dict[Owner, str | None] = {}
    for fact, folder in zip(series, folders, strict=True):
        owner = owners[fact.key]
        if owner is None:
            continue
        counts = owner.is_patient or fact.role == "image"  # a mask may have a study of its own
        if counts and owner_of.setdefault(folder, owner) != owner:
            return False
        if folder_of.setdefault(owner, folder) != folder:
            return False
    return True


def _own_folder(fact: SeriesFacts, level: int | None) -> str | None:
    return fact.folder if level is None else folder_at(fact.folder, level)


def _identity(fact: SeriesFacts, owner: Owner | None, level: int | None, patients: set[str]) -> str:
    """patients: of its own folder."""
    if owner is not None and owner.is_patient and (fact.patient or level is None):
        return f"patient:{owner.value}"
    if len(patients) == 1:
        return f"patient:{next(iter(patients))}"
    folder = folder_at(fact.folder, level) if level else None
    if folder is not None:
        return f"folder:{folder}"
    return f"folder:{fact.folder}" if owner is None else f"study:{owner.value}"


def _sorted(groups: dict[str, list[SeriesFacts]], level: int | None) -> list[SubjectGroup]:
    made = []
    for identity, members in groups.items():
        members.sort(key=lambda fact: (natural(fact.folder), fact.key))
        own = {folder_at(member.folder, level) or "" for member in members} - {""} if level else set()
        made.append(SubjectGroup(identity, min(own, default=""), tuple(members)))
    return sorted(made, key=lambda group: (natural(group.members[0].folder), group.identity))


def _mixed(fact: SeriesFacts, level: int, patients: int) -> Finding:
    return Finding(
        Code.SUBJECTS_MIXED,
        f"the folder at level {level} that {fact.title} lies in holds {patients} Patient IDs (0010,0020), and a subject is one patient",
        "Leave --subject out, so that patients are told apart, or fill the column subject of the table.",
        Severity.ERROR,
        "PS3.3 C.7.1.1",
        (fact.key,),
        patients,
        1,
        "Patient IDs",
    )
