"""Ask for the packages of an extra before work starts.

Rules:
- Heavy or rare packages are extras, imported where they are used. Their absence is a refusal that names the extra.
- Whoever will need one at the end of his work asks for it at the beginning.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pipeline.core.findings import Code, PipelineError, refuse

# Extra: what it is for, the package's import name and its own, and the refusal.
_EXTRAS = {
    "report": (Code.NO_REPORT_PACKAGE, "a page is made with", "Converting needs nothing more."),
    "seg": (Code.NO_EXPORT_PACKAGE, "a DICOM SEG is written by", "A DICOM series (--to series) needs nothing more."),
}
_PACKAGES = {"report": ("jinja2", "PIL.Image"), "seg": ("highdicom",)}
_NAMES = {"PIL.Image": "Pillow"}


def require_extra(extra: str) -> None:
    """Import all that an extra brings. Raises NO_REPORT_PACKAGE or NO_EXPORT_PACKAGE where something is not there."""
    for module in _PACKAGES[extra]:
        imported(extra, module)


def imported(extra: str, module: str) -> Any:
    """A module of an extra. Raises as `require_extra` does."""
    try:
        return import_module(module)
    except ImportError as error:
        raise _lacking(extra, _NAMES.get(module, module), error) from error


def _lacking(extra: str, package: str, error: ImportError) -> PipelineError:
    code, what, more = _EXTRAS[extra]
    return refuse(
        code,
        f"{what} {package}, which cannot be imported ({error})",
        f"Install it with: pip install 'verimask[{extra}]'. {more}",
    )
