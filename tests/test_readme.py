"""The README shows what the code gives, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.readme import MADE, README, ROOT, blocks

TEXT = README.read_text("utf-8")


def test_every_made_block_is_there() -> None:
    assert set(blocks(TEXT)) == {*MADE, "python"}


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_block_is_what_the_code_gives(name: str) -> None:
    versions = re.compile(r"(dicom2nifti|SimpleITK|dcm2niix) [\d.]+\d")
    # Another version of a witness is still the same proof; where it makes a line break elsewhere, that is no matter.
    shown, made = (" ".join(versions.sub(r"\1", text).split()) for text in (blocks(TEXT)[name], MADE[name]()))
    assert shown == made, "run python -m tests.helpers.readme"


def test_the_python_example_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("EXPORT_DIR").symlink_to(ROOT / "data/samples/axial")
    exec(compile(blocks(TEXT)["python"], "README.md", "exec"), {})
    assert capsys.readouterr().out == "VERIFIED True\n"


def test_every_document_it_names_is_there() -> None:
    named = re.findall(r"\]\(((?:docs|data)/[^)]+)\)", TEXT)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_command_is_named() -> None:
    from pipeline.cli.main import _parser

    actions = [a for a in _parser()._actions if a.choices]
    assert actions
    commands = list(actions[0].choices or ())
    assert [c for c in commands if not re.search(rf"`(verimask )?{c}[ `]", TEXT)] == []
