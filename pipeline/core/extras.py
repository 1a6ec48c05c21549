"""Ask for the packages of an extra before work starts.

Rules:
- Heavy or rare packages are extras, imported where they are used. Their absence is a refusal that names the extra.
- Whoever will need one at the end of his work asks for it at the beginning.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from .findings import Code, PipelineError, refuse


class _Extra(NamedTuple):
    """packages: how each is imported, and what it is called."""

    code: Code
    what: str
    more: str
    packages: dict[str, str]


_EXTRAS = {
    "report": _Extra(
        Code.NO_REPORT_PACKAGE,
        "a page is made with",
        "Converting needs nothing more.",
        {"jinja2": "Jinja2", "PIL.Image": "Pillow"},
    ),
    "seg": _Extra(
        Code.NO_EXPORT_PACKAGE,
        "a DICOM SEG is written by",
        "A DICOM series (--to series) needs nothing more.",
        {"highdicom": "highdicom"},
    ),
    "completion": _Extra(
        Code.NO_COMPLETION_PACKAGE,
        "the script for a shell is written by",
        "All other commands need nothing more.",
        {"shtab": "shtab"},
    ),
    "witnesses": _Extra(
        Code.NO_ARRAY_PACKAGE,
        "an image of ITK is made with",
        "An array, its affine and nibabel's image need nothing more.",
        {"SimpleITK": "SimpleITK"},
    ),
    "notebook": _Extra(
        Code.NO_NOTEBOOK_PACKAGE,
        "a notebook shows a mask with",
        "Reading and converting need nothing more.",
        {
            "PIL.Image": "Pillow",
            "PIL.ImageDraw": "Pillow",
            "PIL.ImageFont": "Pillow",
            "IPython.display": "IPython",
            "ipyniivue": "ipyniivue",
        },
    ),
    "pacs": _Extra(
        Code.NO_PACS_PACKAGE,
        "an archive is reached by",
        "Folders of files need nothing more.",
        {"pynetdicom": "pynetdicom", "dicomweb_client": "dicomweb-client"},
    ),
    "cluster": _Extra(
        Code.NO_CLUSTER_PACKAGE,
        "the workers of a Dask cluster are reached by",
        "Several processes on this machine (--jobs) and job arrays (cohort plan) need nothing more.",
        {"distributed": "Dask distributed"},
    ),
}


def require_extra(extra: str) -> None:
    """Import all that an extra brings. Raises NO_REPORT_PACKAGE and its like where something is not there."""
    for module in _EXTRAS[extra].packages:
        imported(extra, module)


def imported(extra: str, module: str) -> Any:
    """A module of an extra. Raises as `require_extra` does."""
    try:
        return import_module(module)
    except ImportError as error:
        raise _lacking(extra, module, error) from error


def _lacking(extra: str, module: str, error: ImportError) -> PipelineError:
    code, what, more, packages = _EXTRAS[extra]
    return refuse(
        code,
        f"{what} {packages[module]}, which cannot be imported ({error})",
        f"Install it with: pip install 'verimask[{extra}]'. {more}",
        where=(packages[module],),
    )
