"""verimask explain"""

from __future__ import annotations

import argparse
from typing import Any

from . import output


def add(commands: Any) -> None:
    """Its options."""
    p = commands.add_parser(
        "explain",
        help="where the voxels are, in words and numbers",
        description="Derive the affine of a DICOM series, or tell the one of a NIfTI file, step by step, in words.",
    )
    p.add_argument("inputs", nargs="+", metavar="INPUT", help="folder or files of a DICOM series, or one NIfTI file")
    p.add_argument("--series", metavar="WHICH", help="UID, number or description, where there are several")
    p.add_argument("--part", metavar="WHICH", help="number or name of one volume, where the series holds several")
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run it; the exit code."""
    from pathlib import Path

    from ..diagnosis.explain import explain, explain_affine
    from ..nifti.file import is_named_nifti, read_header
    from ..nifti.header import require_affine

    path = Path(options.inputs[0])
    files = [p for p in options.inputs if is_named_nifti(Path(p)) and not Path(p).is_dir()]
    if files and len(options.inputs) > 1:
        output.refuse_idle(
            options, only=("inputs",), why=f"{Path(files[0]).name} is explained alone; give one NIfTI file"
        )
    if files:
        output.refuse_idle(options, only=("series", "part"), why=f"{path.name} is a NIfTI file, and holds no series")
        header = require_affine(read_header(path), path.name)
        text = explain_affine(header.affine, header.space, title=path.name)
        record = {"Affine": header.affine.tolist(), "Shape": list(header.shape)}
    else:
        from ..conversion.one_series import laid_series
        from ..core.policy import Policy

        series, laid = laid_series([Path(p) for p in options.inputs], options.series, options.part, _lenient(Policy()))
        first = laid.frames[0].plane
        assert first is not None  # laid frames have planes
        text = explain(laid.stack.grid, first, title=series.title[:1].upper() + series.title[1:])
        record = {"Affine": laid.grid.ras.tolist(), "AffineLPS": laid.grid.lps.tolist(), "Shape": list(laid.grid.shape)}
    if options.json:
        output.json(record | {"Text": text})
    else:
        output.prose([text], options)
    return 0


def _lenient(policy: Any) -> Any:
    """What leans can be explained as it leans."""
    from dataclasses import replace

    return replace(policy, on_tilt="shear")
