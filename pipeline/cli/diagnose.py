"""verimask diagnose"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..core.policy import Policy
    from ..geometry.grid import Grid


def add(commands: Any) -> None:
    """Its options."""
    p = commands.add_parser(
        "diagnose",
        help="what is wrong with a NIfTI file somebody made, and the right one",
        description="Compare a NIfTI file with the DICOM series it was made from, and find the smallest set of mistakes "
        "that explains it.",
    )
    p.add_argument("wrong", metavar="WRONG.nii.gz", help="the NIfTI file")
    p.add_argument("--source", action="append", required=True, metavar="DIR", help="the DICOM series it should lie on")
    p.add_argument(
        "--mask-series", metavar="DIR", help="the DICOM series of the mask itself, so that voxels can be compared"
    )
    p.add_argument("--fix", metavar="OUT.nii.gz", help="write the right file, where the voxels are all there")
    output.add_common(p)
    p.set_defaults(run=run)


def _refuse_elsewhere(mask: Grid, source: Grid, policy: Policy) -> None:
    """Refuse a mask series that does not lie on the voxels of --source: one of the two was not meant."""
    from ..core.findings import Code, refuse
    from ..geometry.index_map import find_index_map
    from ..volume import regrid

    limit = policy.corner_limit(min(source.spacing))
    fit = find_index_map(mask.lps, mask.shape, source.lps, source.shape)
    if fit is None or fit.moved_mm > limit:
        apart = regrid.apart_in_words(mask.lps, mask.shape, source.lps, source.shape)
        raise refuse(
            Code.OFF_SOURCE_GRID,
            f"the series of --mask-series does not lie on the voxels of --source; {apart}",
            "Give --source the images the mask was drawn on.",
            **({} if fit is None else {"measured": fit.moved_mm, "limit": limit, "unit": "mm"}),
        )


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Run it; the exit code."""
    from dataclasses import replace

    from ..conversion.nifti_mask import labels_of, read_array, write_fixed
    from ..conversion.one_series import image_of, laid_series, mask_of
    from ..core.findings import Exit
    from ..core.policy import Policy
    from ..diagnosis.diagnose import diagnose, fix
    from ..diagnosis.mistakes import Context

    path = Path(options.wrong)
    header, array = read_array(path)
    policy = Policy(on_tilt="shear", allow_empty=True)
    series, laid = laid_series([Path(s) for s in options.source], None, None, policy)
    if options.mask_series:
        source = laid.grid
        series, laid = laid_series([Path(options.mask_series)], None, None, policy)
        _refuse_elsewhere(laid.grid, source, policy)
        truth = mask_of(series, laid, policy).array()
        if header.scaling != (1.0, 0.0):  # a mask is judged by the labels it means, an image by what is stored
            array, header = labels_of(header, array, path.name), replace(header, slope=1.0, intercept=0.0)
    else:
        truth = image_of(laid).array()
    context = Context(
        slice_thickness_mm=series.get("SliceThickness"),
        spacing_between_slices_mm=series.get("SpacingBetweenSlices"),
        irregularity_mm=laid.stack.residual_mm + laid.stack.straightened_mm,
    )
    found = diagnose(header.affine, header.shape, laid.grid, array=array, truth=truth, context=context)
    if found.status == "unexplained" and not options.mask_series:
        # The file may be a mask, whose voxels the image cannot confirm: then the affine alone is judged.
        found = diagnose(header.affine, header.shape, laid.grid, context=context)
    if options.json:
        output.json(found.as_json())
    else:
        output.prose([f"{path.name}, held against {series.title}", *found.lines()], options)
    if options.fix:
        right, grid = fix(found, array, laid.grid)
        write_fixed(Path(options.fix), right, grid, header, policy)
        if not options.json:
            output.lines([f"wrote {Path(options.fix).name}"], options)
    return int(Exit.VERIFIED if found.status == "correct" or options.fix else Exit.MISMATCH)
