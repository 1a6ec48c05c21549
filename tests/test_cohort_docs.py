"""The tutorial of docs/cohort.md runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from pipeline.cohort.case import COLUMNS
from pipeline.cohort.labels.label_map_file import _CHANNEL_KEYS, _LABEL_KEYS, parse_label_map
from tests.helpers import doc_steps, nnunet_checks
from tests.helpers.cases import samples_folder
from tests.helpers.cohort_run import rows_of, stamps_of, tree_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cohort.md"
do = partial(doc_steps.do, PAGE.name)


def test_the_tutorial_runs(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "DICOM").symlink_to(samples_folder() / "theibsi+data_sets" / "ibsi_validation" / "dicom")
    assert list(doc_steps.steps(PAGE.name)) == ["install", "plan", "convert", "draft", "labels.toml", "nnunet", "again"]

    do("install", tmp_path)
    assert (tmp_path / "installed").read_text("utf-8") == "install verimask[all]\n"

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
