"""Run `verimask check`: compare a mask with its image, or every pair of a data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.hints import keep_known_options
from . import output

if TYPE_CHECKING:
    from ..core.findings import Finding
    from ..core.given_path import SeenPath
    from ..diagnosis.check import PlacedBlock
    from ..diagnosis.nnunet_pairs import Labels, Pairs


def add(commands: Any) -> None:
    """Add the command with its options."""
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


class _Checked(NamedTuple):  # no dataclass: their module would cost every command its import
    """A pair that was compared. mask, image: their file names. findings: how they differ."""

    mask: str
    image: str
    findings: list[Finding]

    @property
    def is_wrong(self) -> bool:
        from ..core.findings import Severity

        return any(f.severity is Severity.ERROR for f in self.findings)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..core.findings import Code, Exit
    from ..core.given_path import look_at_input

    mask, image = Path(options.mask), Path(options.image) if options.image else None
    found = _find_pairs(mask, image)
    checked = _check_pairs(found, one_of_many=look_at_input(mask).is_folder)
    wrong = sum(pair.is_wrong for pair in checked) + len(found.alone)
    if options.json:
        output.print_json(_as_json(checked, found.alone, options) | {"Wrong": wrong})
    else:
        _print_pairs(checked, found.alone, options)
    if any(f.code is Code.UNEXPECTED for pair in checked for f in pair.findings):
        return int(Exit.INTERNAL_ERROR)
    return int(Exit.MISMATCH if wrong else Exit.VERIFIED)


def _find_pairs(mask: Path, image: Path | None) -> Pairs:
    from ..core.findings import Code, refuse
    from ..diagnosis.nnunet_pairs import Pairs, pair_dataset, pair_folders

    if _existing(mask).is_folder:
        return pair_dataset(mask) if image is None else pair_folders(mask, image)
    if image is None:
        raise refuse(
            Code.NOTHING_TO_CHECK,
            f"{mask.name} is one file, and a check holds a mask against its image",
            "Give the image after it, or two folders, or an nnU-Net data set.",
            where=(mask.name,),
        )
    return Pairs(((mask, image),), ())


def _check_pairs(pairs: Pairs, *, one_of_many: bool) -> list[_Checked]:
    """Compare every pair. Of one among many, a refusal is a finding; of one alone, it is raised."""
    from ..diagnosis.nnunet_pairs import declared_labels

    # Read before any pair is: a dataset.json that cannot be understood refuses the whole command at once.
    declared = {mask.parent: declared_labels(mask) for mask, _ in pairs.pairs}
    find = _find_differences_or_refusal if one_of_many else _find_differences
    return [_Checked(mask.name, image.name, find(mask, image, declared[mask.parent])) for mask, image in pairs.pairs]


def _find_differences_or_refusal(mask: Path, image: Path, declared: Labels | None) -> list[Finding]:
    """Find what is wrong with one pair of many: its refusal is what is wrong with it, and the others are still checked."""
    from ..core.unexpected import as_refusal

    try:
        return _find_differences(mask, image, declared)
    except Exception as error:
        refusal = as_refusal(error)
        return [refusal.finding, *refusal.others]


def _find_differences(mask: Path, image: Path, declared: Labels | None) -> list[Finding]:
    """Find what is wrong with a pair. Both files are read to their end. Raises where one cannot be."""
    from ..diagnosis.check import PlacedBlock, check_values, compare, read_values
    from ..nifti.file import read_header

    found = compare(PlacedBlock.of_file(mask), _read_image(image))
    return [*found, *check_values(read_values(mask), read_header(mask), declared)]


def _read_image(image: Path) -> PlacedBlock:
    """Read where an image lies: a NIfTI file, or anything that holds a DICOM series."""
    from ..diagnosis.check import PlacedBlock
    from ..nifti.file import is_named_nifti, read_planes

    if _existing(image).is_folder or not is_named_nifti(image):
        from ..conversion.one_series import read_laid_series
        from ..core.policy import Policy

        series, laid_frames = read_laid_series([image], None, None, Policy(on_tilt="shear"))
        return PlacedBlock.of_grid(series.title, laid_frames.grid)
    for _ in read_planes(image):
        pass  # Its values do not matter here, but a file that ends too early must not pass.
    return PlacedBlock.of_file(image)


def _existing(path: Path) -> SeenPath:
    from ..core.findings import Code, refuse
    from ..core.given_path import look_at_input

    seen = look_at_input(path)
    if not seen.is_there:
        raise refuse(Code.NO_SUCH_INPUT, f"{path.name} is not there", "Check the path.", where=(path.name,))
    return seen


def _as_json(checked: Sequence[_Checked], alone: Sequence[Finding], options: argparse.Namespace) -> dict[str, Any]:
    entries = [
        {"Mask": pair.mask, "Image": pair.image, "Findings": output.findings_as_json(pair.findings, options)}
        for pair in checked
    ]
    return {"Pairs": entries, "Alone": output.findings_as_json(alone, options)}


def _print_pairs(checked: Sequence[_Checked], alone: Sequence[Finding], options: argparse.Namespace) -> None:
    for pair in checked:
        output.print_prose(_describe_pair(pair, options), options)
    output.print_prose([f"ALONE  {f.message}" for f in alone], options)
    if len(checked) + len(alone) > 1:
        matching = sum(not pair.is_wrong for pair in checked)
        output.print_lines([f"{matching} of {len(checked)} pairs match"], options)


def _describe_pair(pair: _Checked, options: argparse.Namespace) -> list[str]:
    from ..core.findings import Severity

    lines = [f"{'DIFFERENT' if pair.is_wrong else 'SAME GRID'}  {pair.mask}  and  {pair.image}"]
    for finding in pair.findings:
        lead = {Severity.ERROR: "wrong", Severity.WARNING: "warning", Severity.INFO: "note"}[finding.severity]
        hint = keep_known_options(finding.hint, options.parser._option_string_actions)
        lines.append(f"           {lead}: {finding.message}.{f' {hint}' if hint else ''}")
    return lines
