"""DICOM masks to NIfTI, with a proof of where every voxel lies.

>>> from verimask import convert, Policy
>>> outcome = convert(["export_folder"], "liver.nii.gz", policy=Policy(crosscheck="voxels"))
>>> outcome.verdict, outcome.record["Geometry"]["CornerResidualMm"]

In a checkout the folder is called `pipeline`, and so can the package be; it is the same one (`core.import_name`).
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; `typing` takes milliseconds, in which no signal is handled yet

__all__ = [
    "AgreementRecord",
    "ArrayAffine",
    "ArrayProof",
    "Code",
    "ExportDescription",
    "Finding",
    "FindingRecord",
    "GeometryRecord",
    "Grid",
    "Image",
    "Label",
    "LabelRecord",
    "Mask",
    "Outcome",
    "PipelineError",
    "Plane",
    "Policy",
    "Record",
    "Request",
    "Session",
    "SkippedRecord",
    "SliceRecord",
    "__version__",
    "affine",
    "convert",
    "convert_all",
    "read",
    "read_all",
    "scan",
    "show",
    "write",
]

if TYPE_CHECKING:
    from typing import Any

    from .arrays.affine import ArrayAffine, affine
    from .arrays.labelled_array import ArrayProof, Image, Label, Mask
    from .arrays.read import read, read_all
    from .arrays.session import Session
    from .arrays.show import show
    from .arrays.write import write
    from .conversion.convert import convert, convert_all
    from .conversion.record import Outcome
    from .conversion.request import ExportDescription, Request
    from .core.findings import Code, Finding, PipelineError
    from .core.policy import Policy
    from .core.record_types import (
        AgreementRecord,
        FindingRecord,
        GeometryRecord,
        LabelRecord,
        Record,
        SkippedRecord,
        SliceRecord,
    )
    from .core.version import __version__
    from .dicom.scan import scan
    from .geometry.grid import Grid, Plane

_HOME = {
    "__version__": "core.version",
    "read": "arrays.read",
    "read_all": "arrays.read",
    "Session": "arrays.session",
    "Mask": "arrays.labelled_array",
    "Image": "arrays.labelled_array",
    "Label": "arrays.labelled_array",
    "ArrayProof": "arrays.labelled_array",
    "affine": "arrays.affine",
    "ArrayAffine": "arrays.affine",
    "show": "arrays.show",
    "write": "arrays.write",
    "convert": "conversion.convert",
    "convert_all": "conversion.convert",
    "Request": "conversion.request",
    "ExportDescription": "conversion.request",
    "Code": "core.findings",
    "Finding": "core.findings",
    "PipelineError": "core.findings",
    "Grid": "geometry.grid",
    "Plane": "geometry.grid",
    "Outcome": "conversion.record",
    "Policy": "core.policy",
    "scan": "dicom.scan",
    "AgreementRecord": "core.record_types",
    "FindingRecord": "core.record_types",
    "GeometryRecord": "core.record_types",
    "LabelRecord": "core.record_types",
    "Record": "core.record_types",
    "SkippedRecord": "core.record_types",
    "SliceRecord": "core.record_types",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `verimask --help` does not pay for numpy."""
    if name not in _HOME:
        raise AttributeError(f"module 'verimask' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"verimask.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    """List the public names, whether they are imported yet or not."""
    return __all__


if __name__ != "verimask":  # imported by the name of the checkout's folder: hand over to the package of the right name
    import sys
    from importlib import import_module
    from importlib.util import module_from_spec, spec_from_file_location

    if "verimask" not in sys.modules:
        _spec = spec_from_file_location("verimask", __file__, submodule_search_locations=__path__)
        if _spec is None or _spec.loader is None:
            raise ImportError(f"{__file__} cannot be loaded as verimask", name=__name__)
        sys.modules["verimask"] = module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules["verimask"])
    import_module("verimask.core.import_name").share(__name__, __file__)
