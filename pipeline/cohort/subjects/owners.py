"""Find whose a series is by what stands in its files: its patient, else its study.

Rules:
- An owner is a Patient ID (0010,0020). A series without one is of the only patient of its study (PS3.3 C.7.2.1: a study is of
  one patient); a mask without one is of the only owner of the images that it refers to, by their Series Instance UIDs.
- What is left is of its study, and without one of nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..facts import SeriesFacts
from ..privacy import plain


class Owner(NamedTuple):
    """Whose a series is. value: the digest of its patient, or where it has none its Study Instance UID."""

    is_patient: bool
    value: str


def owners_of(facts: Sequence[SeriesFacts]) -> dict[str, Owner | None]:
    """Find the owner of every series.

    Args:
        facts: every series of the cohort.

    Returns: the owners by key; None for nobody.
    """
    of_study: defaultdict[str, set[str]] = defaultdict(set)
    for fact in facts:
        if fact.patient:
            of_study[fact.study_uid].add(fact.patient)

    def by_study(fact: SeriesFacts) -> Owner | None:
        patients = {fact.patient} if fact.patient else of_study.get(fact.study_uid, set()) if fact.study_uid else set()
        if len(patients) == 1:
            return Owner(True, next(iter(patients)))
        return Owner(False, fact.study_uid) if fact.study_uid else None

    owners = {fact.key: by_study(fact) for fact in facts}
    of_series: defaultdict[str, set[Owner | None]] = defaultdict(set)
    for fact in facts:
        if fact.role == "image" and fact.uid:
            of_series[fact.uid].add(owners[fact.key])
    for fact in facts:
        owner = owners[fact.key]
        if fact.role == "mask" and (owner is None or not owner.is_patient):
            named = set[Owner | None]().union(*(of_series.get(uid, ()) for uid in fact.series_uids))
            owners[fact.key] = next(iter(named)) if len(named) == 1 else owner
    return owners


def folders_without_tie(
    facts: Iterable[SeriesFacts], folder_of: Callable[[SeriesFacts], str | None]
) -> dict[str, list[str]]:
    """Find patients of several studies whose folders have nothing in common but the Patient ID.

    Folders are tied by a study, a Frame of Reference, a series that one refers to, and by the Patient's Name (0010,0010).

    Args:
        facts: every series of the cohort.
        folder_of: the folder that a series counts to; None for none.

    Returns: by patient their folders, sorted, where they fall apart.
    """
    ties: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    names: dict[str, set[str]] = {}
    studies: defaultdict[str, set[str]] = defaultdict(set)
    for fact in facts:
        folder = folder_of(fact)
        if fact.patient and folder is not None and fact.role != "other":
            uids = {fact.study_uid, fact.frame_of_reference_uid, fact.uid, *fact.series_uids}
            ties[fact.patient][folder] |= uids - {""}
            studies[fact.patient] |= {fact.study_uid} - {""}
            own = {plain(text) for text in fact.identifiers}
            names[fact.patient] = names.get(fact.patient, own) & own
    return {
        patient: sorted(folders)
        for patient, folders in ties.items()
        if len(studies[patient]) > 1
        and len(names[patient]) < 2  # one of the texts is the Patient ID
        and not _are_tied(list(folders.values()))
    }


def _are_tied(ties: list[set[str]]) -> bool:
    """Whether all sets are joined by what two of them share, directly or by others."""
    joined, rest = set(ties[0]), ties[1:]
    while rest:
        near = [tie for tie in rest if not joined.isdisjoint(tie)]
        if not near:
            return False
        rest = [tie for tie in rest if joined.isdisjoint(tie)]
        joined.update(*near)
    return True
