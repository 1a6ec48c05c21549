"""What a cohort gives to others names no folder and no file that the user did not name, and its private table finds them again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.findings import Exit
from tests.helpers.cohort_run import files_of, rows_of
from tests.helpers.made_series import MadeGrid, Person, Study, box, write_image, write_struct
from tests.test_cohort_cli import cohort

QUICK = ("--crosscheck", "off", "--jobs", "1")
NAMES = (b"DOE", b"JOHN", b"secret")
GRID = MadeGrid()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient whose headers are pseudonymised and whose folder is not; one mask has no image, and one file is cut off."""
    root = tmp_path_factory.mktemp("public") / "in"
    study = Study(Person("K4711", "K4711"), "one")
    image = write_image(root / "DOE^JOHN" / "secret CT", study, GRID)
    drawn = [("GTV", box(GRID.shape, (3, 9), (2, 8), (1, 4)))]
    write_struct(root / "DOE^JOHN" / "RS", image, drawn)
    other = Study(Person("K4712", "K4712"), "two")
    lone = write_image(root.parent / "away", other, MadeGrid(origin=(500.0, 1.0, 2.0)))
    write_struct(root / "JOHN secret" / "RS", lone, drawn)
    whole = next(lone.folder.iterdir()).read_bytes()
    (root / "JOHN secret" / "DOE_SCAN.dcm").write_bytes(whole[: len(whole) // 4])
    return root


def named_in(out: Path) -> set[str]:
    return {path.name for path in files_of(out) if any(n in path.read_bytes() + str(path).encode() for n in NAMES)}


def test_no_folder_is_named_and_the_private_table_has_each(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = cohort(tree, "-o", out, *QUICK)
    assert ended.code == Exit.PARTLY_DONE
    assert named_in(out) == set()
    assert "JOHN secret" in ended.out  # one's own screen
    assert ".verimask/cohort.tsv has the folders too, and is private" in " ".join(ended.out.split())
    public, private = rows_of(out), rows_of(out, private=True)
    assert [row["key"] for row in public] == [row["key"] for row in private]
    assert {row["subject"] for row in public} - {""} == {"P001", "P002"}
    (number,) = [n for n, row in enumerate(public) if row["status"] == "NO_IMAGE"]
    assert "“contours” in folder refers to" in public[number]["message"]
    assert private[number]["folder"] == "JOHN secret/RS"
    assert {row["folder"] for row in private if row["role"] == "image"} == {"DOE^JOHN/secret CT"}


def test_names_are_kept_on_request(tree: Path, tmp_path: Path) -> None:
    cohort(tree, "-o", tmp_path / "kept", "--keep-names", *QUICK)
    assert rows_of(tmp_path / "kept") == rows_of(tmp_path / "kept", private=True)
    assert {path.name for path in (tmp_path / "kept").iterdir() if path.is_dir()} == {".verimask", "DOE-JOHN"}
    cohort(tree, "-o", tmp_path / "subject", "--subject", "folder:1", "--no-page", *QUICK)
    rows = rows_of(tmp_path / "subject")
    assert any("DOE" in row["subject"] for row in rows)  # which is what was asked for, and no more
    assert {row["folder"] for row in rows} == {""}
    assert not any("secret" in row["message"] for row in rows)


def test_keys_are_replaced_with_the_uids_and_a_table_of_them_is_taken(tree: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "table.tsv"
    ask = (tree, "-o", out, "--strip", "uids", "--no-page", *QUICK)
    cohort(*ask)
    first = rows_of(out)
    private = {row["key"] for row in rows_of(out, private=True)} - {""}
    assert private.isdisjoint(row["key"] for row in first)
    assert {row["inputs_sha256"] for row in first} == {""}
    (lone,) = [row for row in first if row["status"] == "NO_IMAGE"]
    table.write_text(f"key\trole\n{lone['key']}\tignore\n", "utf-8")
    cohort(*ask, "--table", table)
    again = {row["key"]: row["status"] for row in rows_of(out)}
    assert again[lone["key"]] == "LEFT_OUT"
    assert set(again) == {row["key"] for row in first}
