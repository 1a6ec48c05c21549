"""DICOM masks to NIfTI, with a proof of where every voxel lies.

>>> from pipeline import convert, Policy
>>> outcome = convert(["export_folder"], "liver.nii.gz", policy=Policy(crosscheck="voxels"))
>>> outcome.verdict, outcome.record["Geometry"]["CornerResidualMm"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.core.version import __version__

__all__ = [
    "Code",
    "Finding",
    "Grid",
    "Outcome",
    "PipelineError",
    "Plane",
    "Policy",
    "Request",
    "__version__",
    "convert",
    "convert_all",
    "scan",
]

if TYPE_CHECKING:
    from pipeline.conversion.convert import convert, convert_all
    from pipeline.conversion.record import Outcome
    from pipeline.conversion.request import Request
    from pipeline.core.findings import Code, Finding, PipelineError
    from pipeline.core.policy import Policy
    from pipeline.dicom.scan import scan
    from pipeline.geometry.grid import Grid, Plane

_HOME = {
    "convert": "conversion.convert",
    "convert_all": "conversion.convert",
    "Request": "conversion.request",
    "Code": "core.findings",
    "Finding": "core.findings",
    "PipelineError": "core.findings",
    "Grid": "geometry.grid",
    "Plane": "geometry.grid",
    "Outcome": "conversion.record",
    "Policy": "core.policy",
    "scan": "dicom.scan",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `verimask --help` does not pay for numpy."""
    if name not in _HOME:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"pipeline.{_HOME[name]}"), name)
    return value
