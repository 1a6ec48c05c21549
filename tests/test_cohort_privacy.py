"""No identifier of a patient stays in a text that is cleaned, and everything else stays as it is."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Policy, convert
from pipeline.cohort.facts import SeriesFacts
from pipeline.cohort.privacy import OWN_WORDS, Cleaner, cohort_cleaner, identifies
from tests.helpers import record_schema
from tests.helpers.marked_tree import make_marked_tree
from tests.helpers.marks import Marks

STS = Cleaner({"STS_008": "P001"})


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("IBSI_1_STS_008_CT_mask", "IBSI_1_P001_CT_mask"),
        ("sts-008 and Sts 008, STS008; STS__008^x", "P001 and P001, P001; P001^x"),
        ("xSTS_0081", "xP0011"),
        ("STS_019, S TS008, ST-S008", "STS_019, S TS008, ST-S008"),
        ("/data/STS_008/CT/1.dcm", "/data/P001/CT/1.dcm"),
        ("", ""),
    ],
)
def test_an_identifier_is_found_however_it_is_separated(text: str, cleaned: str) -> None:
    assert STS.clean(text) == cleaned
    assert STS.finds(text) == (text != cleaned)


def test_names_are_found_by_their_parts_with_and_without_accents() -> None:
    cleaner = Cleaner({"Müller-Lüdenscheidt^José^^Dr": "P7"})
    for text in ("MULLER LUDENSCHEIDT, JOSE", unicodedata.normalize("NFD", "müller_lüdenscheidt^josé")):
        assert cleaner.clean(f"CT {text} a") in ("CT P7, P7 a", "CT P7^P7 a")
    assert Cleaner({"Müller^José": "P7"}).clean("CT muller jose a") == "CT P7 a"
    assert cleaner.clean("of José") == "of P7"
    assert cleaner.clean("of Dr X") == "of Dr X"
    assert cleaner.clean("Josefine") == "Josefine"  # four letters count alone
    assert Cleaner({"STRASSER^A": "P"}).clean("Straßer") == "P"


def test_short_identifiers_count_alone_and_shorter_ones_as_components_of_paths() -> None:
    cleaner = Cleaner({"007": "P1", "42": "P2", "": "P3", "--": "P4"})
    assert cleaner.clean("007 1007 0071 x007_42 a-007") == "P1 1007 0071 x007_42 a-P1"
    two = Cleaner({"42": "P2", "A-7": "P7", "É": "P9"})
    for text, cleaned in {
        "42": "P2",
        "site/42/CT": "site/P2/CT",
        "42\\CT/42": "P2\\CT/P2",
        "pat_42-b/42_CT/CT-42": "pat_P2-b/P2_CT/CT-P2",
        "a-7/a_7/CT": "P7/P7/CT",
        "e/CT_é": "P9/CT_P9",
        "E\u0301/1": "P9/1",
    }.items():
        assert two.clean(text) == cleaned
        assert two.finds(text)
        assert not two.finds(cleaned)
    for text in ("Lung 42", "CT42/42.dcm", "moved by 42 mm/s", "1.2.840.42.1", "420/142", "42 mm"):
        assert two.clean(text) == text
        assert not two.finds(text)
    assert two.clean_record({"Output": "a/ses-42/CT.nii.gz", "Folder": "42/CT", "Verdict": "42"}) == {
        "Output": "a/ses-42/CT.nii.gz",
        "Folder": "P2/CT",
        "Verdict": "42",
    }
    assert identifies("42", ["42"])
    assert identifies("pat-42", ["42"])  # a name that holds it would be cleaned itself
    assert identifies("s_42 ", ["S42"])
    assert not identifies("CT42", ["42"])


def test_the_longest_identifier_counts() -> None:
    cleaner = Cleaner({"12345": "A", "12345678": "B"})
    assert cleaner.clean("12345678 12345") == "B A"


def _of_patient(key: str, *identifiers: str) -> SeriesFacts:
    return SeriesFacts(key, "image", "image", "", "CT", 1, "", key, "", "", "", "", identifiers)


def test_what_names_two_patients_is_replaced_by_a_neutral_word() -> None:
    facts = [
        _of_patient("k1", "HOSP1", "Doe^Jane", "Doe", "Jane", "7"),
        _of_patient("k2", "HOSP2", "Roe^JANE", "Roe", "JANE", "7"),
        _of_patient("k3", "HOSP1"),
        _of_patient("k4", "HOSP4", "Low^Ann"),
        _of_patient("k5", "Lów"),
    ]
    subjects = {"k1": ("a", "1"), "k2": ("b", ""), "k3": ("a", ""), "k5": ("e", "")}
    clean = cohort_cleaner(facts, subjects).clean
    assert clean("HOSP1, HOSP2 and HOSP4") == "a, b and patient"
    assert clean("doe jane; roe jane; jane, ann") == "a; b; patient, patient"
    assert clean("Low") == "patient"
    assert clean("7/CT") == "patient/CT"


def test_one_cleaner_of_ten_thousand_patients_is_as_fast_as_one_of_a_patient() -> None:
    """Both clean the same texts, so that the machine counts for nothing."""
    facts = [
        _of_patient(f"{n}", f"HOSP{n:06}", f"Smith{n}^Waylon{n % 97}", f"Smith{n}", f"Waylon{n % 97}", f"{n % 90}")
        for n in range(10_000)
    ]
    subjects = {fact.key: (f"P{fact.key}", "") for fact in facts}
    texts = [f"site{n}/HOSPITAL {n}/CT thorax 5 mm B30f of Smithers, series {n}" for n in range(2_000)]

    def seconds(cleaner: Cleaner) -> float:
        start = process_time()
        assert [cleaner.clean(text) for text in texts] == texts
        return process_time() - start

    every = cohort_cleaner(facts, subjects)
    one = min(seconds(Cleaner(dict.fromkeys(facts[0].identifiers, "P0"))) for _ in range(3))
    assert min(seconds(every) for _ in range(3)) < 20 * one
    assert every.clean("of HOSP004711, Smith4711; Waylon1") == "of P4711, P4711; patient"


def test_uids_and_digests_stay() -> None:
    cleaner = Cleaner({"12345": "P1", "1.2.826.0.1.99": "P2"})
    uid, digest = "1.2.840.12345.67", "12345" + 59 * "0"
    text = f"lies in {uid}, {digest}; 12345, 1.2.826.0.1.99 (1.2.826.0.1.99.1)"
    assert cleaner.clean(text) == f"lies in {uid}, {digest}; P1, P2 (1.2.826.0.1.99.1)"
    record = {
        "SeriesInstanceUID": uid,
        "Inputs": [{"File": "12345.dcm", "SHA256": digest}],
        "n": 12345,
        "Verdict": "12345",
    }
    cleaned = cleaner.clean_record(record)
    assert cleaned == {**record, "Inputs": [{"File": "P1.dcm", "SHA256": digest}]}


_ALPHABET = "aAéß01 _^-.,"


@given(st.dictionaries(st.text(_ALPHABET, max_size=8), st.just("Q"), max_size=4), st.text(_ALPHABET, max_size=30))
def test_what_is_clean_holds_no_identifier(identifiers: dict[str, str], text: str) -> None:
    cleaner = Cleaner(identifiers)
    cleaned = cleaner.clean(text)
    if not cleaner.finds(text):
        assert cleaned == text
    kept = [piece for piece in cleaned.split("Q") if piece]
    assert all(identifier not in piece for identifier in _searched(identifiers) for piece in kept)
    assert not cleaner.finds(cleaned)


def _searched(identifiers: dict[str, str]) -> Iterator[str]:
    """Identifiers that are searched for within words, as they are written."""
    yield from (
        text for text in identifiers if sum(sign.isalnum() for sign in text) >= 5 and text.strip(" _^-,") == text
    )


@given(
    st.text("abXY01_ ", max_size=20),
    st.text("abXY01_ ", max_size=20),
    st.sampled_from([str.upper, str.lower, str.title]),
)
def test_an_identifier_anywhere_in_a_text_is_replaced(before: str, after: str, change: Any) -> None:
    cleaner = Cleaner({"Kéri_779": "Q"})
    spelt = change("Keri 779")
    assert "Q" in cleaner.clean(before + spelt + after)
    assert spelt not in cleaner.clean(before + spelt + after)


def test_a_cleaned_record_is_valid_and_has_no_mark_of_an_identifier(tmp_path: Path) -> None:
    marks = Marks()
    tree = make_marked_tree(tmp_path / "in", marks)
    identifying = {"file", "SeriesDescription"}
    cleaner = Cleaner({mark: "P001" for mark, meaning in marks.meaning.items() if meaning in identifying})
    policy = Policy(keep_names=True, crosscheck="off")
    convert([tree.mask], tmp_path / "mask.nii.gz", policy=policy)
    record = json.loads((tmp_path / "mask.json").read_text("utf-8"))
    assert marks.found(json.dumps(record)) >= identifying
    cleaned = cleaner.clean_record(record)
    assert record_schema.errors_of(cleaned) == []
    assert marks.found(json.dumps(cleaned)) == marks.found(json.dumps(record)) - identifying
    inputs = [one["Provenance"]["Inputs"] for one in (record, cleaned)]
    assert len({tuple(entry["SHA256"] for entry in one) for one in inputs}) == 1
    everything = Cleaner(dict.fromkeys([*OWN_WORDS, "uint8", "right", "refuse", "VERIFIED", "Mask"], "P001"))
    assert record_schema.errors_of(everything.clean_record(record)) == []


def test_words_of_our_own_are_those_of_the_schema() -> None:
    schema = record_schema.schema()
    found: set[str] = set()

    def is_own(member: dict[str, Any]) -> bool:
        if "$ref" in member:
            member = schema["$defs"][member["$ref"].split("/")[-1]]
        if "enum" in member or "const" in member:
            return True
        if re.match(
            r"\^\[(?!\^|0-9a-f)", member.get("pattern", "")
        ):  # a file or folder is any text, a digest is kept as one
            return True
        parts = [member.get("items", {}), *member.get("anyOf", ()), *member.get("oneOf", ())]
        return any(isinstance(part, dict) and is_own(part) for part in parts if part)

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            members = value.get("properties", {})
            found.update(name for name, member in members.items() if isinstance(member, dict) and is_own(member))
            for entry in value.values():
                walk(entry)
        elif isinstance(value, list):
            for entry in value:
                walk(entry)

    parts = {
        name: part for name, part in schema["$defs"].items() if name == "provenance" or not name.startswith("prov")
    }
    walk(schema | {"$defs": parts})
    assert found | {"Prov"} == OWN_WORDS  # Prov is left as a whole: no text of the user is in it (tests/test_prov.py)
