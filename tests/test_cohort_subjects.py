"""Subjects and sessions have names without identifiers, stay apart, and keep the names they were given."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cohort.facts import SeriesFacts
from pipeline.cohort.subjects.subjects import SubjectNames, SubjectRules, name_subjects
from pipeline.core.findings import Code, PipelineError, Severity
from tests.helpers.cases import real_samples
from tests.helpers.series_facts import FactsOfTree

SALT = b"salt of the index"
DEFAULT = SubjectRules()


def _digest(salt: bytes, patient_id: str) -> str:
    return hmac.new(salt, patient_id.encode(), hashlib.sha256).hexdigest()


def _series(folder: str, patient_id: str = "", *, key: str = "", study: str = "", role: str = "image") -> SeriesFacts:
    return SeriesFacts(
        key=key or hashlib.sha256(f"{folder} {patient_id}".encode()).hexdigest()[:16],
        role=role,  # type: ignore[arg-type]
        kind="image",
        uid="",
        modality="CT",
        number=1,
        description="",
        folder=folder,
        mask_name="",
        study_uid=study,
        frame_of_reference_uid="",
        patient=_digest(SALT, patient_id)[:16] if patient_id else "",
        identifiers=(patient_id,) if patient_id else (),
    )


def _named(
    facts: Sequence[SeriesFacts], rules: SubjectRules = DEFAULT, known: dict[str, str] | None = None
) -> tuple[dict[str, str], SubjectNames]:
    names = name_subjects(facts, rules, known or {})
    folder = {fact.key: fact.folder for fact in facts}
    return {folder[key]: subject for key, (subject, _) in names.places.items()}, names


def _refusal(facts: Sequence[SeriesFacts], rules: SubjectRules, known: dict[str, str] | None = None) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        name_subjects(facts, rules, known or {})
    assert caught.value.finding.where
    assert caught.value.finding.hint
    return caught.value


def test_the_ibsi_tree_is_numbered_since_its_folders_are_patient_ids() -> None:
    samples = real_samples()
    facts = FactsOfTree(samples / Path("theibsi+data_sets/ibsi_validation/dicom")).facts
    subjects, names = _named(facts)
    assert {(folder.split("/")[0], subject) for folder, subject in subjects.items()} == {
        ("STS_008", "P001"),
        ("STS_019", "P002"),
        ("STS_025", "P003"),
    }
    assert not names.refused
    assert not names.findings
    error = _refusal(facts, SubjectRules("folder:1"))
    assert error.finding.code is Code.SUBJECT_NAME
    assert "STS" not in error.finding.message
    public, _ = _named(facts, SubjectRules("folder:1", public=True))
    assert set(public.values()) == {"STS_008", "STS_019", "STS_025"}
    modalities, mixed = _named(facts, SubjectRules("folder:2"))
    assert set(modalities.values()) == {f"{m}{n}" for m in ("CT", "MR_T1", "PET") for n in ("", "-2", "-3")}
    assert [finding.message for finding in mixed.findings] == [
        f"the subjects {', '.join(f'{m}{n}' for m in ('CT', 'MR_T1', 'PET'))} have one Patient ID (0010,0020)"
        for n in ("", "-2", "-3")
    ]


@pytest.mark.parametrize(
    ("folders", "subjects"),
    [
        ({"a/CT": "x1", "a/MR": "x1", "b/CT": "x2"}, ["a", "a", "b"]),
        ({"site/a/CT": "x1", "site/b/CT": "x2"}, ["a", "b"]),
        ({"s/1/CT": "x1", "s/2/CT": "x2", "t/1/CT": "x3"}, ["1", "2", "t-1"]),
        ({"a_1/CT": "x1", "A1/CT": "x2"}, ["a_1-2", "A1"]),
        ({"CT": "x1", "MR": "x1"}, ["P001", "P001"]),
        ({"": "x1"}, ["P001"]),
        ({"a/CT": "x1", "a/MR": "x2", "b": "x3"}, ["P001", "P002", "P003"]),
        ({"a/CT": "x1", "b/CT": "x1", "c/CT": "x2"}, ["P001", "P001", "P002"]),
        ({"a/CT": "", "b/CT": ""}, ["a", "b"]),
        ({"a/CT": "x1", "a/seg": "", "b/CT": ""}, ["a", "a", "b"]),
        ({"10/CT": "x1", "9/CT": "x2", "x2b/CT": "x3"}, ["10", "9", "x2b"]),
        ({"10/CT": "x101", "9/CT": "x102", "the x102/CT": "x103"}, ["10", "9", "the-x102"]),
        ({"10/CT": "x101", "9 (x102)/CT": "x102"}, ["P002", "P001"]),
        ({"9/CT": "10", "8/CT": "9"}, ["P002", "P001"]),
        ({"山田/CT": "x1", "b/CT": "x2"}, ["P002", "P001"]),
        ({"P001/a": "P001", "P002/a": "P002"}, ["S001", "S002"]),
        ({"con/a": "x1", "José/a": "x2"}, ["con_", "Jose"]),
    ],
)
def test_subjects_by_default(folders: dict[str, str], subjects: list[str]) -> None:
    facts = [_series(folder, patient) for folder, patient in folders.items()]
    named, names = _named(facts)
    assert [named[folder] for folder in folders] == subjects
    assert not names.refused
    assert _named(facts[::-1])[0] == named  # in any order of the series
    again, kept = _named(facts, known=names.known)
    assert (again, kept.known) == (named, names.known)


def test_series_without_patient_or_folder_of_their_own_are_a_subject_by_study() -> None:
    facts = [_series("CT", study="1"), _series("MR", study="1"), _series("", "x1"), _series("PT", study="2")]
    named, names = _named(facts)
    assert named == {"": "P001", "CT": "P002", "MR": "P002", "PT": "P003"}
    assert [(f.code, f.severity) for f in names.findings] == [(Code.SUBJECTS_MIXED, Severity.WARNING)]
    beside = [_series("", "x1"), _series("", key="k2", study="9")]
    assert set(name_subjects(beside, SubjectRules(), {}).places.values()) == {("P001", "")}


def test_studies_without_patient_in_one_folder_are_no_one_patient() -> None:
    """Two inputs: the folder at level 1 is an input, and holds two patients without Patient ID."""
    facts = [
        *(
            _series(f"BL/{name}/{kind}", study=study)
            for name, study in (("a", "1"), ("b", "2"))
            for kind in ("CT", "RS")
        ),
        _series("BL2/c/CT", "x3", study="3"),
    ]
    named, names = _named(facts)
    assert named == {"BL/a/CT": "a", "BL/a/RS": "a", "BL/b/CT": "b", "BL/b/RS": "b", "BL2/c/CT": "c"}
    (note,) = names.findings
    assert (note.code, note.severity) == (Code.SUBJECTS_MIXED, Severity.WARNING)
    assert note.message.startswith("2 subjects have no Patient ID (0010,0020)")
    mixed = [*facts[:2], replace(facts[2], patient=facts[4].patient), facts[4]]  # one of the two has an ID
    assert len(set(_named(mixed)[0].values())) == 2
    assert _named(mixed)[0]["BL/a/CT"] != _named(mixed)[0]["BL/b/CT"]
    given = SubjectRules(subjects={key: subject for key, (subject, _) in names.places.items()})
    assert not name_subjects(facts, given, names.known).findings  # the user has seen it


def test_a_mask_without_patient_is_of_its_study_or_of_the_images_it_refers_to() -> None:
    images = [replace(_series("CT", "x1", study="1"), uid="1.1"), replace(_series("PT", "x2", study="2"), uid="1.2")]
    by_study = _series("seg", study="1", role="mask")
    bundle = replace(_series("mimics", role="mask"), kind="bundle", series_uids=("1.2",))
    named, names = _named([*images, by_study, bundle])
    assert named == {"CT": "P001", "seg": "P001", "PT": "P002", "mimics": "P002"}
    assert not names.findings
    of_both = replace(bundle, series_uids=("1.1", "1.2"))
    assert len(set(_named([*images, of_both])[0].values())) == 3


def test_one_patient_id_in_folders_that_nothing_else_ties_is_a_warning() -> None:
    facts = [_series(f"p{n}/CT", "RESEARCH", study=str(n)) for n in (1, 2, 3)]
    named, names = _named(facts)
    assert set(named.values()) == {"P001"}
    (note,) = names.findings
    assert (note.code, note.severity) == (Code.SUBJECTS_MIXED, Severity.WARNING)
    assert "3 folders" in note.message
    assert "RESEARCH" not in note.message
    ties = (
        {"frame_of_reference_uid": "1.9"},
        {"identifiers": ("Doe", "Doe^Jane", "Jane", "RESEARCH")},
        {"study_uid": "1"},
        {"series_uids": ("1.1",)},
    )
    for tie in ties:
        assert not _named([replace(fact, **tie) for fact in facts])[1].findings, tie
    assert _named([replace(fact, identifiers=("RESEARCH", "research^")) for fact in facts])[1].findings
    visits = [_series(f"p1/visit{n}", "x1", study=str(n)) for n in (1, 2)] + [_series("p2/CT", "x2", study="3")]
    named, names = _named(visits)  # one folder of the patient says so
    assert set(named.values()) == {"p1", "p2"}
    assert not names.findings


def test_a_new_patient_renames_no_other() -> None:
    facts = [_series(f"{name}/CT", name) for name in ("abc3", "abc5")]
    first, names = _named(facts)
    more = [*facts, *(_series(f"{name}/CT", name) for name in ("abc1", "abc4"))]
    second, later = _named(more, known=names.known)
    assert second == {**first, "abc1/CT": "P003", "abc4/CT": "P004"}
    assert not any("abc" in text for item in later.known.items() for text in item)
    fewer, kept = _named(more[1:], known=later.known)
    assert fewer == {folder: name for folder, name in second.items() if folder != "abc3/CT"}
    assert kept.known == later.known
    moved = [replace(more[0], folder="elsewhere"), *more[1:]]
    assert _named(moved, known=later.known)[0]["elsewhere"] == first["abc3/CT"]


def test_two_patients_in_one_folder_and_one_in_two() -> None:
    facts = [_series("a/1", "x1"), _series("a/2", "x2"), _series("b/1", "x3"), _series("c/1", "x3")]
    named, names = _named(facts, SubjectRules("folder:1"))
    assert named == {"b/1": "b", "c/1": "c"}
    assert set(names.refused) == {facts[0].key, facts[1].key}
    assert {finding.code for finding in names.refused.values()} == {Code.SUBJECTS_MIXED}
    assert [finding.message for finding in names.findings] == ["the subjects b, c have one Patient ID (0010,0020)"]
    given = SubjectRules("folder:1", subjects={facts[0].key: "one", facts[1].key: "two"})
    assert _named(facts, given)[0] == {"a/1": "one", "a/2": "two", "b/1": "b", "c/1": "c"}
    hashed, names = _named(facts, SubjectRules("hash", index_salt=SALT))
    assert hashed["b/1"] == hashed["c/1"]
    assert len(set(hashed.values())) == 3
    assert not names.findings


def test_a_series_above_the_level_is_refused_by_name() -> None:
    facts = [_series("", "x0"), _series("a/b", "x1")]
    named, names = _named(facts, SubjectRules("folder:2"))
    assert named == {"a/b": "b"}
    assert {key: finding.code for key, finding in names.refused.items()} == {facts[0].key: Code.SUBJECT_NAME}


def test_a_hash_is_keyed_and_of_the_patient_id() -> None:
    facts = [_series("a", "x1"), _series("b", "x2")]
    assert _named(facts, SubjectRules("hash", salt=b"mine", index_salt=SALT))[0] == {
        "a": _digest(b"mine", "x1")[:10],
        "b": _digest(b"mine", "x2")[:10],
    }
    assert _named(facts, SubjectRules("hash", index_salt=SALT))[0]["a"] == _digest(SALT, "x1")[:10]
    assert _refusal(facts, SubjectRules("hash")).finding.code is Code.BAD_OPTION
    assert len(_named([_series("a", study="1")], SubjectRules("hash", index_salt=SALT))[0]["a"]) == 10


@pytest.mark.parametrize("rules", [SubjectRules(r) for r in ("folder", "folder:0", "name", "folder:x")])
def test_what_is_no_rule_is_refused(rules: SubjectRules) -> None:
    facts = [_series("a", "x1")]
    assert _refusal(facts, rules).finding.code is Code.BAD_OPTION
    assert _refusal(facts, SubjectRules(session=rules.subject)).finding.code is Code.BAD_OPTION


def test_the_table_outranks_every_rule() -> None:
    facts = [_series("a/CT", "x1"), _series("a/MR", "x1"), _series("b/CT", "x2"), _series("c/CT", "x3")]
    ct, mr, second, _ = (fact.key for fact in facts)
    named, names = _named(facts, SubjectRules(subjects={ct: "control7"}))
    assert named == {"a/CT": "control7", "a/MR": "control7", "b/CT": "b", "c/CT": "c"}
    assert not names.findings
    named, names = _named(facts, SubjectRules(subjects={ct: "one", mr: "two", second: "two"}))
    assert named == {"a/CT": "one", "a/MR": "two", "b/CT": "two", "c/CT": "c"}
    assert [finding.message for finding in names.findings] == [
        "the subjects one, two have one Patient ID (0010,0020)",
        "the subject two holds 2 Patient IDs (0010,0020)",
    ]
    first = name_subjects(facts, SubjectRules(), {})
    back = {key: subject for key, (subject, _) in first.places.items()}
    assert name_subjects(facts, SubjectRules(subjects=back), first.known) == first  # given back as it was written
    swapped = {**back, ct: "b", mr: "b", second: "a"}
    assert _named(facts, SubjectRules(subjects=swapped), first.known)[0] == {
        "a/CT": "b", "a/MR": "b", "b/CT": "a", "c/CT": "c",
    }  # fmt: skip
    error = _refusal(facts, SubjectRules(subjects={ct: "B"}), first.known)
    assert error.finding.code is Code.BAD_TABLE
    patient = [_series("a/CT", "x1234")]
    rules = SubjectRules(subjects={patient[0].key: "my-X1234"})
    assert _refusal(patient, rules).finding.code is Code.SUBJECT_NAME
    assert _named(patient, rules._replace(public=True))[0] == {"a/CT": "my-X1234"}


def test_there_is_no_session_unless_one_is_asked_for() -> None:
    facts = [
        _series("a/pre-op/CT", "x1", study="2"),
        _series("a/pre-op/rs", "x1", study="2", role="mask"),
        _series("a/post op/CT", "x1", study="1"),
        _series("a/PREOP/CT", "x1", study="3"),
        _series("b/pre-op/CT", "x2", study="4"),
        _series("b/seg", "x2", study="5", role="mask"),
    ]

    def sessions(rules: SubjectRules, known: dict[str, str] | None = None) -> list[str | None]:
        names = name_subjects(facts, rules, known or {})
        return [names.places[fact.key][1] if fact.key in names.places else None for fact in facts]

    assert sessions(SubjectRules()) == [""] * 6
    assert sessions(SubjectRules(session="study")) == ["03", "03", "02", "01", "01", ""]
    assert sessions(SubjectRules(session="folder:2")) == ["preopx2", "preopx2", "postop", "PREOP", "preop", "seg"]
    assert sessions(SubjectRules(session="folder:3"))[5] is None
    assert sessions(SubjectRules(sessions={facts[0].key: "base"})) == ["base", "", "", "", "", ""]
    known = name_subjects(facts[:2], SubjectRules(session="study"), {}).known
    assert sessions(SubjectRules(session="study"), known) == ["01", "01", "03", "02", "01", ""]
    named = [_series("a/visit-x1234/CT", "x1234")]
    assert _refusal(named, SubjectRules(session="folder:2")).finding.code is Code.SUBJECT_NAME


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "a_", "A", "b/a", "b/A_", "c", "", "x4"]), st.sampled_from(["", "x1", "x2", "x3"])
        )
    ),
    st.sampled_from(["", "folder:1", "hash"]),
)
def test_two_patients_never_have_one_name(places: list[tuple[str, str]], rule: str) -> None:
    facts = [_series(folder, patient, key=f"{n:016}", study=f"1.{n}") for n, (folder, patient) in enumerate(places)]
    names = name_subjects(facts, SubjectRules(rule, index_salt=SALT), {})
    assert set(names.places) | set(names.refused) == {fact.key for fact in facts}
    patient_of: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for fact in facts:
        if fact.key in names.places:
            subject = names.places[fact.key][0]
            plain = "".join(sign for sign in subject.casefold() if sign.isalnum())
            assert plain
            assert spelling.setdefault(plain, subject) == subject
            assert plain not in ("x1", "x2", "x3")
            if fact.patient:
                assert patient_of.setdefault(plain, fact.patient) == fact.patient
