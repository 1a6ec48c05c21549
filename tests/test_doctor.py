"""`verimask doctor`: what it says of an installation that is whole, of one with little in it, and of broken ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.core import installation
from pipeline.core.findings import Exit
from pipeline.crosscheck.mask_panel import READERS
from pipeline.crosscheck.panel import WITNESSES
from pipeline.report import viewer
from tests.helpers.environments import PROJECT, closure, link_packages

EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ALL_WITNESSES = [*WITNESSES, *(reader.name for reader in READERS)]
RUN = "import sys; sys.path[:0] = {path!r}; from verimask.cli.main import main; main({arguments!r})"


def doctor(*path: Path, more: tuple[str, ...] = ("--json",), site: bool = True, **environment: str) -> tuple[int, str]:
    """Run it in a process that finds what lies in these folders first; exit code and standard output."""
    code = RUN.format(path=[str(p) for p in path], arguments=["doctor", *more])
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COLUMNS")}
    done = subprocess.run(
        [sys.executable, *([] if site else ["-S"]), "-c", code],
        cwd=path[0], env={**kept, **environment}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "bug of verimask" not in done.stderr, done.stderr  # extensions print a trace where numpy is broken
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that are needed always, and none of an extra."""
    return link_packages(sorted(closure(PROJECT["dependencies"])), tmp_path_factory.mktemp("bare") / "site")


def test_here_every_witness_answers_and_nothing_is_broken(installed: Path) -> None:
    code, out = doctor(installed)
    record = json.loads(out)
    assert (code, record["Broken"]) == (Exit.VERIFIED, {})
    assert [w["Witness"] for w in record["Witnesses"]] == ALL_WITNESSES
    assert {w["State"] for w in record["Witnesses"]} == {"answers"}
    assert all(w["Version"] and w["Seconds"] > 0 for w in record["Witnesses"])
    assert set(record["Extras"]) == set(EXTRAS) - {"all"}
    assert {p["State"] for p in record["Needed"]} == {"there"}
    assert record["Viewer"] == (installed / "verimask" / "report" / "viewer" / "niivue.js").exists()


def test_with_no_extra_it_says_what_each_would_bring_and_all_is_well(installed: Path, bare: Path) -> None:
    code, out = doctor(installed, bare, site=False)
    record = json.loads(out)
    assert (code, record["Broken"]) == (Exit.VERIFIED, {})
    assert {extra["State"] for extra in record["Extras"].values()} == {"absent"}
    assert {name: extra["Cost"] for name, extra in record["Extras"].items()} == {
        name: installation.COSTS[name] for name in set(EXTRAS) - {"all"}
    }
    assert {w["Witness"] for w in record["Witnesses"] if w["State"] == "answers"} == {"dicom2nifti", "GDCM"}
    assert {w["State"] for w in record["Witnesses"]} == {"answers", "absent"}


def test_it_names_no_user_and_no_folder_and_fits_a_plain_console(installed: Path, bare: Path, tmp_path: Path) -> None:
    home, given = private_home(tmp_path)
    code, out = doctor(installed, bare, site=False, more=(), PYTHONIOENCODING="ascii", **given)
    assert code == Exit.VERIFIED
    assert not [words for words in ("jane", str(tmp_path), str(installed), sys.prefix, sys.base_prefix) if words in out]
    assert list(home.iterdir()) == []  # nothing is left
    assert "console: ascii, with signs such as x written plainly" in out
    assert "To add what is absent: pip install 'verimask[cluster,completion,notebook,pacs,report,seg,witnesses]'" in out
    assert max(map(len, out.splitlines())) <= 100


def private_home(folder: Path) -> tuple[Path, dict[str, str]]:
    """A home of jane's, in which temporary files are put too, and the variables that say so."""
    home = folder / "home-of-jane"
    home.mkdir()
    return home, {"HOME": str(home), "USER": "jane", "LOGNAME": "jane", "TMPDIR": str(home)}


def test_a_package_that_is_too_old_is_named_and_folders_where_they_are_asked_for(
    installed: Path, bare: Path, tmp_path: Path
) -> None:
    metadata = tmp_path / "pydicom-2.4.4.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: pydicom\nVersion: 2.4.4\n", "utf-8")
    home, given = private_home(tmp_path)
    code, out = doctor(tmp_path, installed, bare, site=False, more=("--verbose",), **given)
    assert code == Exit.REFUSED
    assert out.rstrip().splitlines()[-2] == "Broken: pydicom."
    assert "too old    2.4.4 is there, and >=3.0.2 is needed" in out
    words = " ".join(out.split())  # a long path begins a line of its own
    assert f"Python: {sys.executable} " in words
    assert f"temporary files: {home}" in words


def test_a_witness_whose_program_cannot_be_run_is_broken(installed: Path, bare: Path, tmp_path: Path) -> None:
    some = link_packages(["dcm2niix"], tmp_path / "some")
    (some / "dcm2niix").unlink()
    (some / "dcm2niix").mkdir()
    (some / "dcm2niix" / "__init__.py").write_text(f"bin = {str(tmp_path / 'nowhere')!r}\n", "utf-8")
    code, out = doctor(installed, bare, some, site=False)
    record = json.loads(out)
    assert (code, set(record["Broken"])) == (Exit.REFUSED, {"dcm2niix"})
    assert str(tmp_path) not in out
    extra = record["Extras"]["witnesses"]
    assert extra["State"] == "partly"
    assert extra["Cost"].split("; ") == [installation.COSTS[name] for name in ("dcmqi", "shapely", "simpleitk")]


def test_nothing_but_the_package_itself(installed: Path) -> None:
    code, out = doctor(installed, site=False)
    assert code == Exit.REFUSED
    assert "packaging" in json.loads(out)["Unknown"]
    assert "witnesses" in json.loads(out)["Broken"]


def test_a_package_that_cannot_be_imported_is_broken_and_the_rest_is_still_said(
    installed: Path, bare: Path, tmp_path: Path
) -> None:
    for part in installed.iterdir():  # beside the package is where its processes look first
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "numpy.py").write_text("raise ImportError('/home/jane/lib/libblas.so.3: cannot open')\n", "utf-8")
    (tmp_path / "isal.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n", "utf-8")
    code, out = doctor(tmp_path, bare, site=False)
    record = json.loads(out)
    assert code == Exit.REFUSED
    assert {"numpy", "isal", "witnesses"} <= set(record["Broken"])
    assert record["Broken"]["isal"] == "it cannot be imported: its import killed by SIGILL"
    assert record["Broken"]["numpy"] == "it cannot be imported: libblas.so.3: cannot open"
    assert "jane" not in out


def test_a_folder_that_cannot_be_written_is_described(tmp_path: Path) -> None:
    assert installation.describe_folder(str(tmp_path)) == ""
    assert list(tmp_path.iterdir()) == []
    assert installation.describe_folder(str(tmp_path / "nowhere")) == "No such file or directory"


def test_every_extra_and_each_of_its_packages_has_its_cost() -> None:
    from packaging.requirements import Requirement

    names = {Requirement(line).name.lower() for extra in set(EXTRAS) - {"all"} for line in EXTRAS[extra]}
    assert set(installation.COSTS) == names | set(EXTRAS) - {"all"}


def test_the_viewer_is_looked_for_where_the_page_reads_it() -> None:
    assert installation.VIEWER.resolve() == viewer.SCRIPT.resolve()


def test_in_this_process_it_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--verbose"])
    text = capsys.readouterr().out
    with pytest.raises(SystemExit) as again:
        main(["doctor", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert end.value.code == again.value.code
    assert f"verimask {record['Version']} on {record['Python']}" in text
    assert [w["Witness"] for w in record["Witnesses"] if w["Witness"] not in text] == []
    for package in record["Needed"]:
        assert package["Version"] == version(package["Name"])
