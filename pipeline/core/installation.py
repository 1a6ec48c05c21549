"""Look at what is installed: this package, what it needs, its extras, and what each missing part costs.

Rules:
- Nothing beyond the standard library has to work for it, since it is asked where something is broken.
- What is needed, and from which version on, is read from the metadata of the installed package: nothing is written twice.
- A package counts as there when it can be imported; one that is installed and cannot be is broken.
- Nothing here names a user, a machine or a folder.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from .import_packages import try_imports
from .plain_text import strip_folders
from .temporary_folder import temporary_folder
from .version import __version__

NAME = "verimask"
VIEWER = Path(__file__).parents[1] / "report" / "viewer" / "niivue.js"
NO_VIEWER = "verimask report has no --interactive: pages have pictures alone"
State = Literal["there", "absent", "too old", "broken"]

# How a package is imported where that is not its name.
_IMPORTED_AS = {
    "dicomweb-client": "dicomweb_client",
    "jinja2": "jinja2",
    "pillow": "PIL.Image",
    "pyjpegls": "jpeg_ls",
    "pylibjpeg-openjpeg": "openjpeg",
    "python-gdcm": "gdcm",
    "simpleitk": "SimpleITK",
    "zlib-ng": "zlib_ng",
}
# What is not there without an extra, and without one of its packages where the others are there.
COSTS = {
    "report": "no page: neither convert --report nor the command report",
    "jinja2": "no page",
    "pillow": "no page",
    "seg": "export writes no DICOM SEG, and highdicom does not read those that are converted",
    "highdicom": "export writes no DICOM SEG",
    "witnesses": "only dicom2nifti reads planes beside verimask, and nobody SEG and RTSTRUCT",
    "simpleitk": "ITK's reader, that of ITK-SNAP and 3D Slicer, is not asked",
    "dcm2niix": "dcm2niix is not asked",
    "shapely": "nobody reads structure sets beside verimask",
    "dcmqi": "dcmqi does not read segmentations beside verimask",
    "cluster": "no Dask cluster: --jobs and job arrays need nothing more",
    "distributed": "no Dask cluster",
    "completion": "no completion of commands and options in a shell",
    "shtab": "no completion of commands and options in a shell",
    "pacs": "no archive (PACS) is asked or sent to",
    "pynetdicom": "no DICOM network",
    "dicomweb-client": "no DICOMweb",
    "notebook": "no live view in a Jupyter notebook",
    "ipyniivue": "no live view in a Jupyter notebook",
}


class Package(NamedTuple):
    """One package. version: "" where it is absent. needs: the versions that will do. words: what is wrong with it."""

    name: str
    version: str
    needs: str
    state: State
    words: str = ""


class Extra(NamedTuple):
    """An extra with its packages. cost: what is missing for want of those that are not there, "" where all are."""

    name: str
    packages: tuple[Package, ...]

    @property
    def state(self) -> Literal["there", "partly", "absent"]:
        absent = [package.state == "absent" for package in self.packages]
        return "absent" if all(absent) else "partly" if any(absent) else "there"

    @property
    def cost(self) -> str:
        if self.state == "absent":
            return COSTS.get(self.name, "")
        missing = (p.name.casefold() for p in self.packages if p.state == "absent")
        return "; ".join(dict.fromkeys(COSTS.get(name, f"{name} is missing") for name in missing))


class Installation(NamedTuple):
    """What is installed. unknown: why nothing is known of what it needs, "" where that is known."""

    version: str
    python: str
    system: str
    required: tuple[Package, ...]
    extras: tuple[Extra, ...]
    has_viewer: bool
    unknown: str = ""

    @property
    def broken(self) -> list[Package]:
        """What is needed and not there, and what is there and does not work."""
        missing = [package for package in self.required if package.state != "there"]
        of_extras = (package for extra in self.extras for package in extra.packages)
        return [*missing, *(package for package in of_extras if package.state in ("too old", "broken"))]


def inspect_installation(progress: Callable[[str, int, int], None]) -> Installation:
    """Look at everything that is installed; every package is imported once, which takes seconds.

    progress: called with the stage, how much is done, and of how much.
    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    facts = (__version__, python, platform.platform())
    try:
        needed = _read_requirements()
    except (ImportError, metadata.PackageNotFoundError) as error:
        why = f"what it needs is not known: {strip_folders(str(error))} cannot be found"
        return Installation(*facts, (), (), VIEWER.is_file(), why)
    packages = {one: _find(*one) for one in sorted(set().union(*needed.values()))}
    there = [one for one, package in packages.items() if package.state == "there"]
    failures = try_imports([_IMPORTED_AS.get(name.casefold(), name.replace("-", "_")) for name, _ in there])
    for number, (one, words) in enumerate(zip(there, failures, strict=True)):
        progress("importing every package", number, len(there))
        if words:
            packages[one] = packages[one]._replace(state="broken", words=f"it cannot be imported: {words}")
    looked_at = {
        group: tuple(packages[one] for one in sorted(ones, key=lambda one: one[0].casefold()))
        for group, ones in needed.items()
    }
    required = looked_at.pop("", ())
    extras = tuple(Extra(name, of_extra) for name, of_extra in sorted(looked_at.items()))
    return Installation(*facts, required, extras, VIEWER.is_file())


def describe_folder(folder: str) -> str:
    """Say why no file can be written into a folder, "" where one can. A file is written, and removed."""
    try:
        with temporary_folder(folder) as made:
            (made / "written").write_bytes(os.urandom(1 << 12))
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _read_requirements() -> dict[str, set[tuple[str, str]]]:
    """Names and versions that are needed here: under "" always, under the name of an extra for it.

    Raises ImportError without `packaging`, PackageNotFoundError where this package was never installed.
    """
    from packaging.requirements import Requirement

    given = [Requirement(line) for line in metadata.requires(NAME) or []]
    extras = metadata.metadata(NAME).get_all("Provides-Extra") or []
    found: dict[str, set[tuple[str, str]]] = {}
    for group in ("", *extras):
        for one in given:
            applies = one.marker is None or one.marker.evaluate({"extra": group})
            always = one.marker is None or one.marker.evaluate({"extra": ""})
            if one.name != NAME and applies and (always == (group == "")):
                found.setdefault(group, set()).add((one.name, str(one.specifier)))
    return found


def _find(name: str, needs: str) -> Package:
    """Look whether a package is installed, and new enough; it may be broken all the same."""
    from packaging.specifiers import SpecifierSet

    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Package(name, "", needs, "absent")
    if not SpecifierSet(needs).contains(version, prereleases=True):
        return Package(name, version, needs, "too old", f"{version} is there, and {needs} is needed")
    return Package(name, version, needs, "there")
