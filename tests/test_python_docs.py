"""docs/python.md runs from its first block to its last, and prints what it says it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.python_page import PAGE, blocks, run

TEXT = PAGE.read_text("utf-8")


def test_the_page_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    shown = [prints for _, prints in blocks(TEXT)]
    assert len(shown) > 8
    assert run(TEXT, tmp_path) == shown, "run python -m tests.helpers.python_page"


def test_no_block_of_python_is_left_out() -> None:
    assert len(blocks(TEXT)) == TEXT.count("```python")
    assert all(prints for _, prints in blocks(TEXT))
