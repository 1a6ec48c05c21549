"""verimask check"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands import say

if TYPE_CHECKING:
    from pipeline.findings import Finding


def add(commands: Any) -> None:
    """Its options."""
    p = commands.add_parser(
        "check",
        help="whether a mask and an image share one grid, and exactly how not",
        description="Compare a mask with its image: shape, place, spacing, direction, header codes, type and values. Exit "
        "12 when they do not match. With one folder, every pair of an nnU-Net data set; with two, masks and images by name.",
    )
    p.add_argument("mask", metavar="MASK", help="NIfTI file, or a folder of them, or an nnU-Net data set folder")
    p.add_argument(
        "image", nargs="?", metavar="IMAGE", help="NIfTI file, DICOM series folder, or folder of NIfTI files"
    )
    say.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run it; the exit code."""
    from pipeline.findings import Exit, Severity
    from pipeline.pairs import Pairs, pairs, pairs_of_dataset

    mask, image = Path(options.mask), Path(options.image) if options.image else None
    if mask.is_dir():
        many = pairs_of_dataset(mask) if image is None else pairs(mask, image)
    elif image is None:
        many = Pairs((), ())
    else:
        many = Pairs(((mask, image),), ())
    results = [(m.name, i.name, _differences(m, i)) for m, i in many.pairs]
    wrong = sum(any(f.severity is Severity.ERROR for f in found) for _, _, found in results) + len(many.alone)
    if options.json:
        pairs_json = [{"Mask": m, "Image": i, "Findings": [f.as_json() for f in found]} for m, i, found in results]
        say.json({"Pairs": pairs_json, "Alone": [f.as_json() for f in many.alone], "Wrong": wrong})
    else:
        for m, i, found in results:
            say.lines(_lines(m, i, found), options)
        say.lines([f"ALONE  {f.message}" for f in many.alone], options)
        if len(results) + len(many.alone) > 1:
            say.lines([f"{len(results) - wrong + len(many.alone)} of {len(results)} pairs match"], options)
    return int(Exit.MISMATCH if wrong else Exit.VERIFIED)


def _differences(mask: Path, image: Path) -> list[Finding]:
    from pipeline.compare import Placed, check_values, compare, read_values

    placed = Placed.of_file(_existing(mask))
    found = compare(placed, _placed(image))
    assert placed.header is not None  # read from a file
    return [*found, *check_values(read_values(mask), placed.header)]


def _placed(image: Path) -> Any:
    from pipeline.compare import Placed

    if _existing(image).is_dir() or not image.name.endswith((".nii", ".nii.gz")):
        from pipeline.conversion import laid_series
        from pipeline.policy import Policy

        series, laid = laid_series([image], None, None, Policy(on_tilt="shear"))
        return Placed.of_grid(series.title, laid.grid)
    return Placed.of_file(image)


def _existing(path: Path) -> Path:
    from pipeline.findings import Code, refuse

    if not path.exists():
        raise refuse(Code.NO_SUCH_INPUT, f"{path.name} is not there", "Check the path.")
    return path


def _lines(mask: str, image: str, found: list[Finding]) -> list[str]:
    from pipeline.findings import Severity

    wrong = any(f.severity is Severity.ERROR for f in found)
    lines = [f"{'DIFFERENT' if wrong else 'SAME GRID'}  {mask}  and  {image}"]
    for finding in found:
        lead = {Severity.ERROR: "wrong", Severity.WARNING: "warning", Severity.INFO: "note"}[finding.severity]
        hint = f" {finding.hint}" if finding.hint else ""
        lines.append(f"           {lead}: {finding.message}.{hint}")
    return lines
