"""Run `verimask explain`: derive where the voxels of a series or a file lie, step by step."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from . import output

_INPUTS = "folder or files of a DICOM series (of a structure set, with its images), or one NIfTI file"


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = commands.add_parser(
        "explain",
        help="where the voxels are, in words and numbers",
        description="Derive the affine of a DICOM series, or tell the one of a NIfTI file, step by step, in words.",
    )
    p.add_argument("inputs", nargs="+", metavar="INPUT", help=_INPUTS)
    output.add_series_choice(p)
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..nifti.file import is_named_nifti

    nifti_files = [p for p in map(Path, options.inputs) if is_named_nifti(p) and not p.is_dir()]
    if nifti_files:
        _refuse_idle(options, nifti_files[0])
        explanation = _explain_file(nifti_files[0])
    else:
        explanation = _explain_series(options)
    if options.json:
        output.print_json(explanation.record | {"Text": explanation.text})
    else:
        output.print_prose([explanation.text], options)
    return 0


class _Explanation(NamedTuple):
    """text: for a person. record: the same numbers for a program."""

    text: str
    record: dict[str, Any]


def _refuse_idle(options: argparse.Namespace, file: Path) -> None:
    """Refuse what a NIfTI file leaves without effect: further inputs, and options that choose a series."""
    if len(options.inputs) > 1:
        output.refuse_idle(options, only=("inputs",), why=f"{file.name} is explained alone; give one NIfTI file")
    output.refuse_idle(options, only=("series", "part"), why=f"{file.name} is a NIfTI file, and holds no series")


def _explain_file(path: Path) -> _Explanation:
    from ..diagnosis.explain import explain_affine
    from ..nifti.file import read_header
    from ..nifti.header import require_affine

    header = require_affine(read_header(path), path.name)
    text = explain_affine(header.affine, header.space, title=path.name)
    return _Explanation(text, {"Affine": header.affine.tolist(), "Shape": list(header.shape)})


def _explain_series(options: argparse.Namespace) -> _Explanation:
    from ..conversion.one_series import read_laid_series
    from ..core.policy import Policy
    from ..diagnosis.explain import explain
    from ..diagnosis.explain_structure_set import explain_structure_set, structure_set_in
    from ..dicom.scan import scan

    inputs = [Path(p) for p in options.inputs]
    policy = Policy(
        on_tilt="shear"
    )  # a tilted stack is explained as it leans: nothing is written that could go wrong by it
    found = scan(inputs)
    structure_set = structure_set_in(found, options.series)
    if structure_set is not None:
        output.refuse_idle(
            options, only=("part",), why=f"{structure_set.title} is a structure set, and holds no volumes"
        )
        explained = explain_structure_set(found, structure_set, policy)
        return _Explanation(explained.text, explained.record)
    series, laid_frames = read_laid_series(found, options.series, options.part, policy)
    first = next(frame.plane for frame in laid_frames.frames if frame.plane is not None)  # Laid frames have planes.
    text = explain(laid_frames.stack.grid, first, title=series.title[:1].upper() + series.title[1:])
    grid = laid_frames.grid
    return _Explanation(text, {"Affine": grid.ras.tolist(), "AffineLPS": grid.lps.tolist(), "Shape": list(grid.shape)})
