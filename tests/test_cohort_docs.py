"""The tutorial of docs/cohort.md runs as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pipeline.cohort.case import COLUMNS
from pipeline.cohort.labels.label_map_file import _CHANNEL_KEYS, _LABEL_KEYS, parse_label_map
from pipeline.core.findings import Exit
from tests.helpers import nnunet_checks
from tests.helpers.cases import samples_folder
from tests.helpers.cohort_run import rows_of, stamps_of, tree_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cohort.md"
_STEP = re.compile(r"<!-- (run|file): ([\w.]+) -->\n```\w+\n(.*?)```\n", re.S)


def steps() -> dict[str, tuple[str, str]]:
    """What the tutorial does, in its order: kind and content, by name."""
    return {name: (kind, content) for kind, name, content in _STEP.findall(PAGE.read_text("utf-8"))}


def do(name: str, folder: Path) -> str:
    """Do one step in a folder as it stands in the page; what it printed."""
    kind, content = steps()[name]
    if kind == "file":
        (folder / name).write_text(content, "utf-8")
        return ""
    program = folder / "bin" / "verimask"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore -m pipeline "$@"\n', "utf-8")
        program.chmod(0o755)
        (folder / "tmp").mkdir()
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": python_path, "TMPDIR": str(folder / "tmp")}
    done = subprocess.run(
        ["sh", "-ec", content], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == Exit.VERIFIED, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_tutorial_runs(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "DICOM").symlink_to(samples_folder() / "theibsi+data_sets" / "ibsi_validation" / "dicom")
    assert list(steps()) == ["plan", "convert", "draft", "labels.toml", "nnunet", "again"]

    do("plan", tmp_path)
    assert tree_of(tmp_path / "OUT") == {}

    do("convert", tmp_path)
    rows = rows_of(tmp_path / "OUT")
    assert [row["role"] for row in rows].count("mask") == 9
    assert {row["status"] for row in rows} == {"DONE"}
    assert {row["subject"] for row in rows} == {"P001", "P002", "P003"}
    assert (tmp_path / "OUT" / "cohort.html").stat().st_size > 1000

    do("draft", tmp_path)
    draft = (tmp_path / "draft.toml").read_text("utf-8")
    assert [name for name in ("GTV_Mass_CT", "GTV_Mass_MR_T1", "GTV_Mass_PET") if name not in draft] == []

    do("labels.toml", tmp_path)
    do("nnunet", tmp_path)
    assert nnunet_checks.problems_of(tmp_path / "Dataset015_Tumour") == []
    assert len(list((tmp_path / "Dataset015_Tumour" / "labelsTr").glob("*.nii.gz"))) == 3
    channels = json.loads((tmp_path / "Dataset015_Tumour" / "dataset.json").read_text("utf-8"))["channel_names"]
    assert channels == {"0": "CT"}

    before = stamps_of(tmp_path / "OUT")
    do("again", tmp_path)
    after = stamps_of(tmp_path / "OUT")
    assert [path for path in before if path.endswith(".nii.gz") and before[path] != after[path]] == []


def test_every_option_of_the_page_is_there_and_every_one_that_is_there_is_named() -> None:
    given = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipeline", "cohort", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    there = set(re.findall(r"--[a-z-]+", given.stdout))
    text = PAGE.read_text("utf-8")
    lines = re.findall(r"^ *verimask cohort .*", text, re.M)
    named = {option for line in lines for option in re.findall(r"--[a-z-]+", line)}
    named |= set(
        re.findall(r"--[a-z-]+", text.split("## Beside another tool")[0].split("## Layouts")[0].replace("---", ""))
    )
    assert len(named) > 4
    assert named - there == set()
    assert there - {"--help"} - set(re.findall(r"--[a-z-]+", text)) == set()


def test_the_example_of_labels_has_every_key() -> None:
    example = re.search(r"<!-- example: labels.toml -->\n```toml\n(.*?)```\n", PAGE.read_text("utf-8"), re.S)
    assert example
    label_map = parse_label_map(example[1])
    assert [channel.name for channel in label_map.channels] == ["CT", "PET"]
    assert [label.name for label in label_map.labels] == ["liver", "tumour"]
    given = set(re.findall(r"^(\w+) = ", example[1], re.M))
    assert given == _LABEL_KEYS | _CHANNEL_KEYS | {"overlap"}


def test_every_column_of_the_table_is_described() -> None:
    text = PAGE.read_text("utf-8").split("## The table cohort.tsv")[1].split("`link` is one of these")[0]
    described = [name for line in re.findall(r"^\| (`[^|]*) \|", text, re.M) for name in re.findall(r"`(\w+)`", line)]
    assert sorted(described) == sorted(COLUMNS)
