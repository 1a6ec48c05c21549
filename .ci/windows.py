"""Make the folder that Windows users without Python unpack and use: Python's embeddable build, the packages, a launcher.

Rules:
- The embeddable Python is on no package registry: its zip is given, and held against the SHA-256 that is given with it.
- The packages are the wheels for win_amd64 of the lock file, by their hashes; nothing is built, and nothing of this machine
  gets in. It can be made on any system.
- Every path is short enough for a folder deep in somebody's home: Windows allows 260 characters in all.
- The zip of the same parts has the same bytes, whenever it is made.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

sys.path.insert(0, str(Path(__file__).parent))
from runtime_lock import environment_of, select

ROOT = Path(__file__).parents[1]
LONGEST = 180  # characters of a path within the folder; 80 are left for where it is unpacked
# pip would hold the Python that is needed against the one it runs on; the lock file has been asked for the right one.
_PLATFORM = (
    *("--platform", "win_amd64", "--implementation", "cp", "--only-binary=:all:", "--no-deps"),
    "--ignore-requires-python",
)
_SINCE = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold

COMMAND = r"""@echo off
rem Typed: verimask FOLDER, verimask convert ..., verimask doctor; as on every other system.
"%~dp0python\python.exe" -m verimask %*
exit /b %errorlevel%
"""
DROP = r"""@echo off
rem Drop a folder with DICOM files on this file: what is made lies beside the folder.
setlocal
title verimask
if not "%~1"=="" goto convert
echo Drop a folder with DICOM files on this file. The result lies beside the folder.
goto end
:convert
pushd "%~dp1"
"%~dp0python\python.exe" -m verimask "%~f1"
popd
:end
echo.
pause
"""
README = """verimask {version} for Windows, with its own Python {python}; nothing is installed, and nothing else is needed.

Drop a folder with DICOM files on drop-a-folder-here.cmd: the result lies beside the folder.

Or open a terminal in this folder and type
  .\\verimask.cmd FOLDER              converts what is in it
  .\\verimask.cmd doctor              what is installed, and whether it works
  .\\verimask.cmd --help              everything else

To remove it, delete this folder. The licences of the packages are in packages\\, that of Python in python\\LICENSE.txt.
"""


def make_folder(embed: Path, sha256: str, wheel: Path, target: Path, lock: str | None = None) -> Path:
    """Make the folder and its zip.

    Args:
        embed: the zip of Python's embeddable build for Windows, 64 bit.
        sha256: what its bytes must hash to.
        wheel: of verimask.
        target: the folder that gets both.
        lock: a requirements file of the other packages; None for those of the lock file.

    Returns: the zip.

    Raises: SystemExit where a part is not what it must be.
    """
    version = wheel.name.split("-")[1]
    folder = target / f"verimask-{version}-windows"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "packages").mkdir(parents=True)
    python = _unpack_python(embed, sha256, folder / "python")
    _install(wheel, lock, python, folder / "packages")
    _write(folder / "verimask.cmd", COMMAND)
    _write(folder / "drop-a-folder-here.cmd", DROP)
    _write(folder / "README.txt", README.format(version=version, python=python))
    check_paths(folder)
    return _zip(folder, target / f"{folder.name}.zip")


def _unpack_python(embed: Path, sha256: str, folder: Path) -> str:
    """Unpack it, with our packages on its path. Returns its version, such as 3.11."""
    found = hashlib.sha256(embed.read_bytes()).hexdigest()
    if found != sha256.lower():
        raise SystemExit(f"{embed.name} is not what was asked for: its SHA-256 is {found}")
    with ZipFile(embed) as archive:
        archive.extractall(folder)
    paths = list(folder.glob("python3*._pth"))
    if len(paths) != 1 or not (folder / "python.exe").is_file():
        raise SystemExit(f"{embed.name} is no embeddable Python: it has no python.exe, or not one python3XX._pth")
    major, minor = re.fullmatch(r"python(3)(\d+)", paths[0].stem).groups()  # type: ignore[union-attr]
    _write(paths[0], f"python{major}{minor}.zip\n.\n..\\packages\n")  # and nothing of what else Windows has
    return f"{major}.{minor}"


def _install(wheel: Path, lock: str | None, python: str, folder: Path) -> None:
    """Unpack the wheels into a folder, as pip does it for another system."""
    lines = select(environment_of("windows", python), ROOT / "pyproject.toml") if lock is None else lock
    requirements = folder / "requirements.lock"
    requirements.write_text(lines, "utf-8")
    where = ("--target", str(folder), "--python-version", python, "--no-compile", "--upgrade")
    if lines:
        _run_pip("install", *_PLATFORM, *where, "--require-hashes", "-r", str(requirements))
    _run_pip("install", *_PLATFORM, *where, "--no-index", str(wheel))
    requirements.unlink()
    shutil.rmtree(folder / "bin", ignore_errors=True)  # launchers for the system that this runs on


def check_wheels(python: str) -> None:
    """Hold that every package of the lock file has a wheel for Windows, with one of its hashes. Nothing is installed."""
    lines = select(environment_of("windows", python), ROOT / "pyproject.toml")
    requirements = ROOT / "build" / "windows.lock"
    requirements.parent.mkdir(exist_ok=True)
    requirements.write_text(lines, "utf-8")
    _run_pip("install", "--dry-run", "--ignore-installed", "--target", str(ROOT / "build" / "none"), *_PLATFORM,
             "--python-version", python, "--require-hashes", "-r", str(requirements))  # fmt: skip
    print(f"{lines.count('==')} packages have a wheel for Windows and Python {python}")


def _run_pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip {arguments[0]} failed:\n{done.stderr.strip()}")


def check_paths(folder: Path) -> None:
    """Refuse paths that are too long for Windows, once the folder lies somewhere. Raises SystemExit."""
    names = (path.relative_to(folder.parent).as_posix() for path in folder.rglob("*"))
    if long := [name for name in names if len(name) > LONGEST]:
        raise SystemExit(f"longer than {LONGEST} characters: {', '.join(long[:3])}")


def _write(path: Path, text: str) -> None:
    """Write a text as Windows' own programs want it: ASCII, with CR and LF."""
    path.write_bytes(text.replace("\n", "\r\n").encode("ascii"))


def _zip(folder: Path, target: Path) -> Path:
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = ZipInfo(path.relative_to(folder.parent).as_posix(), _SINCE)
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return target


def main(arguments: Sequence[str]) -> None:
    """Parse the command line, and make the folder or check the wheels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", metavar="3.X", help="only hold that every package has a wheel for Windows and that Python"
    )
    parser.add_argument("--embed", type=Path, help="zip of Python's embeddable build for Windows, 64 bit")
    parser.add_argument("--sha256", help="of that zip")
    parser.add_argument("--wheel", type=Path, help="of verimask")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    given = parser.parse_args(arguments)
    if given.check:
        return check_wheels(given.check)
    if not (given.embed and given.sha256 and given.wheel):
        parser.error(
            "give --embed, --sha256 and --wheel. Python's embeddable build is on no package registry: download "
            "python-3.X.Y-embed-amd64.zip where Python is published, with its SHA-256, and type\n"
            "  make windows PYTHON_EMBED=python-3.X.Y-embed-amd64.zip PYTHON_EMBED_SHA256=..."
        )
    print(make_folder(given.embed, given.sha256, given.wheel, given.out))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
