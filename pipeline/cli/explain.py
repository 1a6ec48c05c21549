"""Run `verimask explain`: derive where the voxels of a series or a file lie, step by step."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from . import output

_INPUTS = "folder, files or ZIP archive of a DICOM series, SEG or RTSTRUCT; or one NIfTI file"


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = commands.add_parser(
        "explain",
        help="where the voxels are, in words and numbers",
        description="Derive the affine of a DICOM series, or tell the one of a NIfTI file, step by step, in words.",
    )
    p.add_argument("inputs", nargs="+", metavar="INPUT", help=_INPUTS)
    p.add_argument(
        "--source", metavar="DIR", help="the images that a SEG or RTSTRUCT was made on, where they lie elsewhere"
    )
    output.add_series_choice(p)
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..core.given_path import look_at_input
    from ..nifti.file import is_named_nifti

    nifti_files = [p for p in map(Path, options.inputs) if is_named_nifti(p) and not look_at_input(p).is_folder]
    if nifti_files:
        _refuse_idle(options, nifti_files[0])
        explanation = _explain_file(nifti_files[0])
    else:
        explanation = _explain_series(options)
    if options.json:
        output.print_json(explanation.record | {"Text": explanation.text})
    else:
        output.print_prose(explanation.text.split("\n"), options)
    return 0


class _Explanation(NamedTuple):
    """text: for a person. record: the same numbers for a program."""

    text: str
    record: dict[str, Any]


def _refuse_idle(options: argparse.Namespace, file: Path) -> None:
    """Refuse what a NIfTI file leaves without effect: further inputs, and options that choose a series."""
    if len(options.inputs) > 1:
        output.refuse_idle(options, only=("inputs",), why=f"{file.name} is explained alone; give one NIfTI file")
    output.refuse_idle(
        options, only=("series", "part", "source"), why=f"{file.name} is a NIfTI file, and holds no series"
    )


def _explain_file(path: Path) -> _Explanation:
    from ..core.plain_text import escape_controls
    from ..diagnosis.explain import explain_affine
    from ..nifti.file import read_header
    from ..nifti.header import require_affine

    header = require_affine(read_header(path), path.name)
    text = explain_affine(header.affine, header.space, title=escape_controls(path.name))
    return _Explanation(text, {"Affine": header.affine.tolist(), "Shape": list(header.shape)})


def _explain_series(options: argparse.Namespace) -> _Explanation:
    from ..diagnosis.explain_series import Wanted, explain_inputs

    source = () if options.source is None else (Path(options.source),)
    made = explain_inputs([Path(p) for p in options.inputs], Wanted(options.series, options.part, source))
    text = "\n\n\n".join(one.text for one in made)
    if len(made) == 1:
        return _Explanation(text, made[0].record)
    return _Explanation(text, {**made[0].record, "Volumes": [{"Name": one.name, **one.record} for one in made]})
