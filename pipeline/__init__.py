"""DICOM masks to NIfTI, with a proof of where every voxel lies.

>>> from pipeline import convert, Policy
>>> outcome = convert(["export_folder"], "liver.nii.gz", policy=Policy(crosscheck="voxels"))
>>> outcome.verdict, outcome.record["Geometry"]["CornerResidualMm"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Code",
    "Finding",
    "Grid",
    "Outcome",
    "PipelineError",
    "Plane",
    "Policy",
    "Request",
    "convert",
    "convert_all",
    "scan",
]

if TYPE_CHECKING:
    from pipeline.conversion import convert, convert_all
    from pipeline.findings import Code, Finding, PipelineError
    from pipeline.geometry import Grid, Plane
    from pipeline.outcome import Outcome
    from pipeline.policy import Policy
    from pipeline.request import Request
    from pipeline.series import scan

_HOME = {
    "convert": "conversion",
    "convert_all": "conversion",
    "Request": "request",
    "Code": "findings",
    "Finding": "findings",
    "PipelineError": "findings",
    "Grid": "geometry",
    "Plane": "geometry",
    "Outcome": "outcome",
    "Policy": "policy",
    "scan": "series",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `verimask --help` does not pay for numpy."""
    if name not in _HOME:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"pipeline.{_HOME[name]}"), name)
    return value
