"""Name the subject and the session of every series, without an identifier of a patient.

Rules:
- A subject is a Patient ID (see `subject_groups`). Subjects are numbered in the order of their folders, or, where names of
  folders may be kept, have those of a level that parts the patients, if there is one and none of them holds an identifier.
- `folder:N` takes the Nth folder below the input at its word: a folder with two Patient IDs is refused by name, a Patient ID
  in two folders is two subjects and a warning. `hash` takes ten digits of a keyed digest. The table outranks all of them.
- A name once given stays: names are kept with what they were given to, so that a new patient renames no other.
- Two subjects differ in their letters and digits regardless of case, since nothing else is left of a name in BIDS.
- There is no session unless one is asked for. A mask in a case takes the place of its image, whatever it is named here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ..facts import SeriesFacts
from ..privacy import identifies
from .sessions import SessionRules, name_sessions
from .subject_groups import SubjectGroup, folder_level, folders_of_one_id, group_by_folder, group_by_patient
from .subject_labels import labels_of
from .unique_names import first_free, folded


class SubjectRules(NamedTuple):
    """How subjects and sessions are named.

    folders: whether subjects may be called by folders that nobody asked for.
    subject: "" for folders or numbers, "folder:N" or "hash". session: "" for none, "folder:N", or "study" to number them.
    subjects, sessions: that the table names, by key of a series. salt: of the hash, b"" for that of the index.
    index_salt: that `SeriesFacts.patient` was made with. public: whether identifiers are pseudonyms that may be names.
    """

    subject: str = ""
    session: str = ""
    subjects: Mapping[str, str] = {}
    sessions: Mapping[str, str] = {}
    salt: bytes = b""
    index_salt: bytes = b""
    public: bool = False
    folders: bool = True


class SubjectNames(NamedTuple):
    """places: (subject, session) by key of a series. refused: why a series has none, likewise.

    findings: what is odd of subjects. known: to be kept in the index and given again; it knows patients by their digest.
    """

    places: dict[str, tuple[str, str]]
    refused: dict[str, Finding]
    findings: tuple[Finding, ...]
    known: dict[str, str]


def name_subjects(facts: Sequence[SeriesFacts], rules: SubjectRules, known: Mapping[str, str]) -> SubjectNames:
    """Name the subject and session of every series.

    Args:
        facts: every series of the cohort.
        rules: how they are named.
        known: names that were given before, as `SubjectNames.known` had them.

    Returns: the names.

    Raises: PipelineError BAD_OPTION for a rule that is none; SUBJECT_NAME where a name would hold an identifier of its patient;
        BAD_TABLE where the table gives a patient the name of another.
    """
    level = folder_level(rules.subject, "--subject")
    if level is None and rules.subject not in ("", "hash"):
        raise refuse(
            Code.BAD_OPTION,
            f"--subject {rules.subject} is no rule",
            "Give folder:1 (or another level) or hash, or leave it out.",
            where=("--subject",),
        )
    refused: dict[str, Finding] = {}
    if level is None:
        groups, level = group_by_patient(facts)
    else:
        groups, refused = group_by_folder(facts, level)
    _check_given(facts, rules)
    own, known = _name_groups(groups, rules, known)
    subjects = {
        member.key: _subject_of(member, group, own.get(group.identity, ""), rules)
        for group in groups
        for member in group.members
    }
    subjects |= {key: rules.subjects[key] for key in refused if rules.subjects.get(key)}
    sessions = name_sessions(facts, subjects, SessionRules(rules.session, rules.sessions, rules.public), known)
    refused = {key: finding for key, finding in refused.items() if key not in subjects} | sessions.refused
    places = {key: (name, sessions.names[key]) for key, name in subjects.items() if key not in refused}
    own_rule = not rules.subject.startswith("folder")
    open_ones = [group for group in groups if not all(rules.subjects.get(member.key) for member in group.members)]
    notes = (*_without_patient(open_ones), *_one_id_for_all(facts, open_ones, level)) if own_rule else ()
    findings = (*_odd(facts, places), *notes)
    return SubjectNames(places, refused, findings, {**known, **sessions.known})


def _subject_of(member: SeriesFacts, group: SubjectGroup, own: str, rules: SubjectRules) -> str:
    """What the table says of a series, else of its whole patient, else its own name."""
    return rules.subjects.get(member.key) or _given_to_all(group, rules) or own


def _given_to_all(group: SubjectGroup, rules: SubjectRules) -> str:
    """The only name that the table has for series of a group; "" for none or several."""
    names = {rules.subjects[member.key] for member in group.members if rules.subjects.get(member.key)}
    return names.pop() if len(names) == 1 else ""


def _check_given(facts: Sequence[SeriesFacts], rules: SubjectRules) -> None:
    """Refuse names of the table that hold an identifier of their patient."""
    for fact in facts:
        name = rules.subjects.get(fact.key, "")
        if name and not rules.public and identifies(name, fact.identifiers):
            raise refuse(
                Code.SUBJECT_NAME,
                f"the subject that the table gives to {fact.key} holds an identifier of its patient",
                "Give it another name. Are identifiers here pseudonyms already? Then say so with --public-ids.",
                where=(fact.key,),
            )


def _name_groups(
    groups: Sequence[SubjectGroup], rules: SubjectRules, known: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Name every group that the table does not name as a whole; return the names by identity, and what is known then."""
    rule = rules.subject or ("default" if rules.folders else "number")
    kept = {key: name for key, name in known.items() if key.startswith(f"{rule} ")}
    taken = {folded(name) for name in kept.values()}
    given: defaultdict[str, set[str]] = defaultdict(set)
    for group in groups:
        for member in group.members:
            given[folded(rules.subjects.get(member.key, ""))].add(group.identity)
    unnamed = [group for group in groups if not _named_by_table(group, rules)]
    labels = labels_of(
        unnamed if rules.subject else groups,
        rules.subject,
        list(kept.values()),
        _Digests(rules).digest,
        public=rules.public,
        folders=rules.folders,
    )
    names: dict[str, str] = {}
    for group in unnamed:
        key = f"{rule} {group.identity}"
        if key not in kept:
            kept[key] = first_free(labels(group), taken | given.keys())
            taken.add(folded(kept[key]))
        names[group.identity] = kept[key]
        if not given.get(folded(kept[key]), set()) <= {group.identity}:
            raise _taken_by_table(kept[key], group)
    return names, {**known, **kept}


def _named_by_table(group: SubjectGroup, rules: SubjectRules) -> bool:
    every = all(rules.subjects.get(member.key) for member in group.members)
    return every or bool(_given_to_all(group, rules))


def _taken_by_table(name: str, group: SubjectGroup) -> PipelineError:
    return refuse(
        Code.BAD_TABLE,
        f"the table gives the subject {name} to series of another patient than the one that has this name here",
        f"Give that patient another name in the table as well, or take another one: {name} is {group.members[0].key}.",
        where=tuple(member.key for member in group.members[:3]),
    )


def _odd(facts: Iterable[SeriesFacts], places: Mapping[str, tuple[str, str]]) -> Iterator[Finding]:
    """Warn of patients in several subjects, and of subjects with several patients."""
    by_patient: defaultdict[str, set[str]] = defaultdict(set)
    by_subject: defaultdict[str, set[str]] = defaultdict(set)
    for fact in facts:
        if fact.patient and fact.key in places:
            by_patient[fact.patient].add(places[fact.key][0])
            by_subject[places[fact.key][0]].add(fact.patient)
    split = sorted(tuple(sorted(subjects)) for subjects in by_patient.values() if len(subjects) > 1)
    for subjects in split:
        yield _warning(f"the subjects {', '.join(subjects)} have one Patient ID (0010,0020)", subjects)
    for subject in sorted(name for name, patients in by_subject.items() if len(patients) > 1):
        yield _warning(f"the subject {subject} holds {len(by_subject[subject])} Patient IDs (0010,0020)", (subject,))


def _without_patient(groups: Iterable[SubjectGroup]) -> Iterator[Finding]:
    """Warn of subjects without Patient ID that only a study or a folder tells apart."""
    folders = [group for group in groups if group.identity.startswith("folder:") and _has_more_than_other(group)]
    if folders:
        words = f"{len(folders)} subjects have no Patient ID (0010,0020), or one such as ANON; only their folders tell them apart"
        yield _warning(words, tuple(group.members[0].key for group in folders[:5]))
    series = [member.key for group in groups if group.identity.startswith("study:") for member in group.members]
    if series:
        words = (
            f"{len(series)} series have neither a Patient ID (0010,0020), or one such as ANON, nor a folder of their own; "
            "each study was taken for a subject"
        )
        yield _warning(words, tuple(series[:5]))


def _one_id_for_all(
    facts: Sequence[SeriesFacts], groups: Sequence[SubjectGroup], level: int | None
) -> Iterator[Finding]:
    """Warn of Patient IDs that may have been given to several patients. groups: those to be warned of."""
    apart = folders_of_one_id(facts) if level is None else {}
    for group in groups:
        folders = apart.get(group.identity.removeprefix("patient:"))
        if folders:
            yield _warning(
                f"{len(folders)} folders, of {group.members[0].key} and others, share a Patient ID (0010,0020) and were taken for one "
                "subject, but share no study, Frame of Reference or Patient's Name (0010,0010): is it one ID for several patients?",
                tuple(member.key for member in group.members[:5]),
            )


def _has_more_than_other(group: SubjectGroup) -> bool:
    return any(member.role != "other" for member in group.members)


def _warning(words: str, where: tuple[str, ...]) -> Finding:
    return Finding(
        Code.SUBJECTS_MIXED,
        words,
        "If that is wrong, fill the column subject of cohort.tsv and give it back with --table.",
        Severity.WARNING,
        "PS3.3 C.7.1.1",
        where,
    )


class _Digests(NamedTuple):
    """Keyed digests of patients for the rule `hash`."""

    rules: SubjectRules

    def digest(self, group: SubjectGroup) -> str:
        """64 hexadecimal digits for a group: of its Patient ID, or of what it is known by where it has none."""
        salt = self.rules.salt or self.rules.index_salt
        if not salt:
            raise refuse(
                Code.BAD_OPTION, "--subject hash needs a salt", "Give --salt a file of it.", where=("--subject",)
            )
        return _keyed(salt, self._patient_id(group) or group.identity)

    def _patient_id(self, group: SubjectGroup) -> str:
        """The identifier that the digest of the patient in the index was made of."""
        patient = group.identity.removeprefix("patient:")
        texts = sorted({text for member in group.members if member.patient == patient for text in member.identifiers})
        digests = ((text, _keyed(self.rules.index_salt, text)) for text in texts)
        return next((text for text, digest in digests if digest.startswith(patient)), "")


def _keyed(salt: bytes, text: str) -> str:
    return hmac.new(salt, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
