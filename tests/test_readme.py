"""The README and the page of the affine show what the code gives; the README fits one look."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.picture import PICTURE, draw
from tests.helpers.readme import MADE, PAGES, README, ROOT, blocks

TEXT = README.read_text("utf-8")
_SHOWN = {name: content for page in PAGES for name, content in blocks(page.read_text("utf-8")).items()}


def test_every_made_block_is_there() -> None:
    assert set(_SHOWN) == set(MADE)


def test_it_fits_one_look() -> None:
    lines = TEXT.splitlines()
    assert len(lines) <= 80
    first = "\n".join(lines[:40])
    assert [word for word in ("pip install", "make demo", "make test", "docs/picture.png") if word not in first] == []


def test_the_picture_is_what_the_code_draws(tmp_path: Path) -> None:
    draw(tmp_path / "picture.png")
    shown, drawn = (np.asarray(Image.open(p).convert("RGB"), float) for p in (PICTURE, tmp_path / "picture.png"))
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 2  # letters and colours may be a little different in another Pillow


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_block_is_what_the_code_gives(name: str) -> None:
    versions = re.compile(r"(dicom2nifti|SimpleITK|dcm2niix) [\d.]+\d")
    # Another version of a witness is still the same proof; where it makes a line break elsewhere, that is no matter.
    shown, made = (" ".join(versions.sub(r"\1", text).split()) for text in (_SHOWN[name], MADE[name]()))
    assert shown == made, "run python -m tests.helpers.readme"


def test_every_document_it_names_is_there() -> None:
    named = re.findall(r"\]\(((?:docs|data)/[^)]+)\)", TEXT)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_command_is_named() -> None:
    from pipeline.cli.run_command import _parser

    actions = [a for a in _parser()._actions if a.choices]
    assert actions
    commands = list(actions[0].choices or ())
    assert [c for c in commands if not re.search(rf"`(verimask )?{c}[ `]", TEXT)] == []
