"""What each command may import: a module that is not needed costs every call its time."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.conversion.record import versions
from tests.helpers.phantom import Spec, write

HEAVY = ("pydicom", "nibabel", "scipy", "dicom2nifti", "SimpleITK", "highdicom", "gdcm")
DECODERS = (
    *("dicom.decoded_frames", "dicom.decoding", "dicom.frame_decoder", "dicom.decoder_process"),
    *("dicom.stream_check", "dicom.jpeg_extended", "dicom.guarded_dataset"),
)
RUN = """
import atexit, json, sys
atexit.register(lambda: open(sys.argv[1], "w").write(json.dumps(sorted(sys.modules))))
from verimask.cli.main import main
main(sys.argv[2:])
"""


WITNESS = """
import json, sys
from verimask.crosscheck import dicom2nifti as witness
witness.serve = lambda *_: print(json.dumps([n for n, m in sys.modules.items() if getattr(m, "__spec__", None)]))
sys.argv = ["dicom2nifti", *sys.argv[1:]]
witness.main()
"""


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("startup") / "in"
    write(folder, Spec(), content="mask", radius_mm=4)
    return folder


def modules(tmp_path: Path, *arguments: str) -> set[str]:
    """What a command line imported."""
    listing = tmp_path / "modules.json"
    done = subprocess.run([sys.executable, "-c", RUN, str(listing), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(listing.read_text()))


def assert_not_imported(imported: set[str], *names: str) -> None:
    """names: of modules of ours; one that is not there could never be imported."""
    for name in names:
        assert find_spec(f"verimask.{name}"), name
        assert f"verimask.{name}" not in imported


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("--help",),
        ("convert", "--help"),
        ("series", "--help"),
        ("doctor", "--help"),
        ("listen", "--help"),
    ],
)
def test_help_and_version_import_no_package(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    imported = modules(tmp_path, *arguments)
    assert packages(imported).isdisjoint({*HEAVY, "numpy", "isal"})
    assert_not_imported(imported, "conversion.convert", "core.findings")


def test_series_imports_neither_pydicom_nor_a_witness(tmp_path: Path, series: Path) -> None:
    imported = modules(tmp_path, "series", str(series))
    assert packages(imported).isdisjoint({*HEAVY, "isal"})


def test_a_native_series_is_converted_without_pydicom(tmp_path: Path, series: Path) -> None:
    imported = modules(tmp_path, "convert", str(series), "-o", str(tmp_path / "a.nii.gz"), "--crosscheck", "off")
    assert packages(imported).isdisjoint(HEAVY)
    slow = {"importlib.metadata", "concurrent.futures", "unittest", "subprocess", "tempfile", "numpy.ma", "asyncio"}
    assert slow.isdisjoint(imported)
    assert_not_imported(
        imported, "conversion.from_seg", "conversion.merge_products", "decode.seg.decode", "decode.rtstruct.decode"
    )
    assert_not_imported(imported, "decode.embedded.recognise", "decode.embedded.decode", "mimics.bundle")
    assert_not_imported(imported, *DECODERS)


def test_the_cross_check_imports_its_witness_elsewhere(tmp_path: Path, series: Path) -> None:
    imported = modules(tmp_path, "convert", str(series), "-o", str(tmp_path / "a.nii.gz"))
    assert packages(imported).isdisjoint(HEAVY)


@pytest.mark.parametrize("asked_for", ["headers", "pixels"])
def test_the_witness_imports_neither_downloads_nor_resampling(asked_for: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITNESS, asked_for], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stdout))
    assert {"dicom2nifti.convert_dicom", "pydicom.filereader", "nibabel.nifti1"} <= imported
    assert packages(imported).isdisjoint({"requests", "urllib3", "ssl", "http", "tqdm", "scipy", "unittest", "asyncio"})
    assert ("gdcm" in imported) <= (asked_for == "pixels")
    assert_not_imported(imported, "crosscheck.agreement", "geometry.grid")


def test_versions_are_those_of_the_packages_metadata() -> None:
    from importlib.metadata import version

    found = versions()
    assert found.pop("python") == sys.version.split()[0]
    assert {"pydicom", "numpy", "isal", "dicom2nifti"} <= set(found)
    assert found == {package: version(package) for package in found}
