"""verimask check"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..core.findings import Finding
    from ..diagnosis.nnunet_pairs import Labels, Pairs


def add(commands: Any) -> None:
    """Its options."""
    p = commands.add_parser(
        "check",
        help="whether a mask and an image share one grid, and exactly how not",
        description="Compare a mask with its image: shape, place, spacing, direction, header codes, type and values, read to "
        "their end. Exit 12 when they do not match. With one folder, every pair of an nnU-Net data set; with two, masks and "
        "images by name. A mask in labelsTr or labelsTs is held against the labels of its dataset.json.",
    )
    p.add_argument("mask", metavar="MASK", help="NIfTI file, or a folder of them, or an nnU-Net data set folder")
    p.add_argument(
        "image", nargs="?", metavar="IMAGE", help="NIfTI file, DICOM series folder, or folder of NIfTI files"
    )
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run it; the exit code."""
    from ..core.findings import Code, Exit, Severity
    from ..diagnosis.nnunet_pairs import declared_labels

    mask, image = Path(options.mask), Path(options.image) if options.image else None
    many = _pairs(mask, image)
    declared = {m.parent: declared_labels(m) for m, _ in many.pairs}
    differences = _of_one_among_many if mask.is_dir() else _differences
    results = [(m.name, i.name, differences(m, i, declared[m.parent])) for m, i in many.pairs]
    wrong = sum(any(f.severity is Severity.ERROR for f in found) for _, _, found in results) + len(many.alone)
    if options.json:
        pairs_json = [
            {"Mask": m, "Image": i, "Findings": output.findings_json(found, options)} for m, i, found in results
        ]
        output.json({"Pairs": pairs_json, "Alone": output.findings_json(many.alone, options), "Wrong": wrong})
    else:
        for m, i, found in results:
            output.prose(_lines(m, i, found, options), options)
        output.prose([f"ALONE  {f.message}" for f in many.alone], options)
        if len(results) + len(many.alone) > 1:
            output.lines([f"{len(results) - wrong + len(many.alone)} of {len(results)} pairs match"], options)
    if any(f.code is Code.UNEXPECTED for _, _, found in results for f in found):
        return int(Exit.INTERNAL_ERROR)
    return int(Exit.MISMATCH if wrong else Exit.VERIFIED)


def _pairs(mask: Path, image: Path | None) -> Pairs:
    from ..core.findings import Code, refuse
    from ..diagnosis.nnunet_pairs import Pairs, pairs, pairs_of_dataset

    if _existing(mask).is_dir():
        return pairs_of_dataset(mask) if image is None else pairs(mask, image)
    if image is None:
        words = f"{mask.name} is one file, and a check holds a mask against its image"
        raise refuse(
            Code.NOTHING_TO_CHECK,
            words,
            "Give the image after it, or two folders, or an nnU-Net data set.",
            where=(mask.name,),
        )
    return Pairs(((mask, image),), ())


def _of_one_among_many(mask: Path, image: Path, declared: Labels | None) -> list[Finding]:
    """The same, but what one pair is refused for is what is wrong with it, and the others are checked all the same."""
    from ..core.unexpected import as_refusal

    try:
        return _differences(mask, image, declared)
    except Exception as error:
        refusal = as_refusal(error)
        return [refusal.finding, *refusal.others]


def _differences(mask: Path, image: Path, declared: Labels | None) -> list[Finding]:
    """What is wrong with a pair. Both files are read to their end. Raises where one cannot be."""
    from ..diagnosis.check import PlacedBlock, check_values, compare, read_values
    from ..nifti.file import read_header

    found = compare(PlacedBlock.of_file(mask), _placed(image))
    return [*found, *check_values(read_values(mask), read_header(mask), declared)]


def _placed(image: Path) -> Any:
    from ..diagnosis.check import PlacedBlock
    from ..nifti.file import is_named_nifti, read_planes

    if _existing(image).is_dir() or not is_named_nifti(image):
        from ..conversion.one_series import laid_series
        from ..core.policy import Policy

        series, laid = laid_series([image], None, None, Policy(on_tilt="shear"))
        return PlacedBlock.of_grid(series.title, laid.grid)
    for _ in read_planes(image):
        pass  # its values are its own affair, but they must all be there
    return PlacedBlock.of_file(image)


def _existing(path: Path) -> Path:
    from ..core.findings import Code, refuse

    if not path.exists():
        raise refuse(Code.NO_SUCH_INPUT, f"{path.name} is not there", "Check the path.", where=(path.name,))
    return path


def _lines(mask: str, image: str, found: list[Finding], options: argparse.Namespace) -> list[str]:
    from ..core.findings import Severity

    wrong = any(f.severity is Severity.ERROR for f in found)
    lines = [f"{'DIFFERENT' if wrong else 'SAME GRID'}  {mask}  and  {image}"]
    for finding in found:
        lead = {Severity.ERROR: "wrong", Severity.WARNING: "warning", Severity.INFO: "note"}[finding.severity]
        hint = f" {said}" if (said := output.hint(finding.hint, options)) else ""
        lines.append(f"           {lead}: {finding.message}.{hint}")
    return lines
