"""The table that a user gives back is followed to the letter, or refused with its line and column."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipeline.cohort.case import COLUMNS
from pipeline.cohort.links import SETTLED, link
from pipeline.cohort.subjects.subjects import SubjectRules, name_subjects
from pipeline.cohort.subjects.table_given import TableGiven, read_table
from pipeline.core.findings import Code, PipelineError
from tests.helpers.cases import real_samples
from tests.helpers.series_facts import FactsOfTree


@pytest.fixture(scope="module")
def tree() -> FactsOfTree:
    samples = real_samples()
    return FactsOfTree(samples / "theibsi+data_sets/ibsi_validation/dicom/STS_008")


def _keys(tree: FactsOfTree) -> tuple[str, str, str, str]:
    """Keys of CT, PET, and the structure sets on them."""
    key = {fact.folder: fact.key for fact in tree.facts}
    return key["CT/image"], key["PET/image"], key["CT/mask"], key["PET/mask"]


def _read(tree: FactsOfTree, tmp_path: Path, text: str) -> TableGiven:
    path = tmp_path / "given.tsv"
    path.write_text(text, "utf-8")
    return read_table(path, tree.facts)


def test_every_column_settles_what_it_says(tree: FactsOfTree, tmp_path: Path) -> None:
    ct, pet, mask, other = _keys(tree)
    text = f"key\trole\timage\tsubject\tsession\n{mask}\t\t{pet}\tA-1\tpre\n{mask}\t\t{ct}\tA-1\t\n{other}\tignore\n{ct}\timage\t{ct}\n\n"
    given = _read(tree, tmp_path, "\ufeff" + text)
    assert given == TableGiven({mask: "A-1"}, {mask: "pre"}, {mask: tuple(sorted((ct, pet)))}, {other: "ignore"})
    changed = given.with_roles(tree.facts)
    assert [fact.key for fact in changed if fact.role == "other"] == [other]
    links = link(changed, tree.holds, given.images)
    assert {tuple(e) for e in links.links if e.mask == mask} == {(mask, ct, SETTLED), (mask, pet, SETTLED)}
    assert not [entry for entry in links.links if entry.mask == other]
    swapped = _read(tree, tmp_path, f"key\trole\n{ct}\tmask\n").with_roles(tree.facts)
    assert next(fact.role for fact in swapped if fact.key == ct) == "mask"


def test_cohort_tsv_given_back_changes_nothing(tree: FactsOfTree, tmp_path: Path) -> None:
    links = link(tree.facts, tree.holds, {})
    names = name_subjects(tree.facts, SubjectRules(), {})
    image_of = {entry.mask: entry.image for entry in links.links}
    path = tmp_path / "cohort.tsv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, dialect="excel-tab", restval="")
        writer.writeheader()
        for fact in tree.facts:
            row = {
                "key": fact.key,
                "role": fact.role,
                "subject": names.places[fact.key][0],
                "message": 'a "quoted"\ttext',
            }
            writer.writerow(row | {"image": image_of.get(fact.key, fact.key)})
    given = read_table(path, tree.facts)
    assert given.roles == {}
    assert link(given.with_roles(tree.facts), tree.holds, given.images) == links
    assert name_subjects(tree.facts, SubjectRules(subjects=given.subjects), names.known) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: there is no column key"),
        ("subject\nA\n", "line 1: there is no column key"),
        ("key,subject\n", "line 1: “key,subject” is no column"),
        ("key\tfoo\n", "line 1: “foo” is no column"),
        ("key\timage\timage\n", "line 1: there are two columns image"),
        ("key\tsubject\nCT\tA\tB\n", "line 2: there are 3 cells under 2 names"),
        ("key\tsubject\nCT\tA\n\nnot here\tB\n", "line 4, column key: no series here has the key “not here”"),
        ("key\tsubject\n\tB\n", "line 2, column key: there is no key"),
        ("key\tsubject\nCT\tA\nCT\tB\n", "line 3, column subject: “B” contradicts line 2"),
        ("key\tsubject\nCT\tA b\n", "line 2, column subject: “A b” is no name for files"),
        ("key\tsubject\nCT\t../A\n", "line 2, column subject: “../A” is no name for files"),
        ("key\tsubject\nCT\t__\n", "line 2, column subject: “__” is no name for files"),
        ("key\tsubject\nCT\ta-1\nPET\tA_1\n", "line 3, column subject: “A_1” is “a-1” of line 2"),
        ("key\tsession\nCT\ta-1\n", "line 2, column session: “a-1” is no name for files"),
        ("key\trole\nCT\timages\n", "line 2, column role: “images” is none of"),
        ("key\trole\nCT\timage\nCT\tmask\n", "line 3, column role: “mask” contradicts line 2"),
        ("key\timage\nMASK\tnot here\n", "line 2, column image: “not here” is the key of no series here"),
        ("key\timage\nMASK\tMASK\n", "line 2, column image: “{MASK}” is no image"),
        ("key\timage\nMASK\tOTHER\n", "line 2, column image: “{OTHER}” is no image"),
        ("key\timage\nCT\tPET\n", "line 2, column image: {CT} is no mask"),
        ("key\timage\trole\nMASK\tCT\t\nCT\t\tignore\n", "line 2, column image: “{CT}” is no image"),
        ("key\timage\trole\nPET\tCT\tmask\nPET\tCT\t\n", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_with_its_place(
    tree: FactsOfTree, tmp_path: Path, text: str, words: str
) -> None:
    keys = dict(zip(("CT", "PET", "MASK", "OTHER"), _keys(tree), strict=True))
    head, *rows = text.split("\n")
    text = "\n".join([head, *("\t".join(keys.get(cell, cell) for cell in row.split("\t")) for row in rows)])
    if not words:
        assert _read(tree, tmp_path, text).images == {keys["PET"]: (keys["CT"],)}
        return
    with pytest.raises(PipelineError) as caught:
        _read(tree, tmp_path, text)
    finding = caught.value.finding
    assert finding.code is Code.BAD_TABLE
    assert finding.message.startswith(f"given.tsv, {words.format(**keys)}")
    assert finding.where[0] == "given.tsv"
    assert finding.hint


def test_planes_lie_on_one_image(tree: FactsOfTree, tmp_path: Path) -> None:
    ct, pet, _, _ = _keys(tree)
    mr = next(fact.key for fact in tree.facts if fact.folder == "MR_T1/image")
    with pytest.raises(PipelineError, match=r"line 3, column image: .* has another image in line 2"):
        _read(tree, tmp_path, f"key\timage\trole\n{mr}\t{ct}\tmask\n{mr}\t{pet}\t\n")


def test_a_table_that_is_no_text_is_refused(tree: FactsOfTree, tmp_path: Path) -> None:
    path = tmp_path / "given.tsv"
    path.write_bytes(b"key\tsubject\n\xff\xfe")
    with pytest.raises(PipelineError, match="BAD_TABLE"):
        read_table(path, tree.facts)
    with pytest.raises(PipelineError, match="NO_SUCH_INPUT"):
        read_table(tmp_path / "missing.tsv", tree.facts)
