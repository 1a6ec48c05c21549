"""Run `verimask diagnose`: find the mistakes that explain a wrong NIfTI file, and write the right one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import output

if TYPE_CHECKING:
    from ..core.policy import Policy
    from ..diagnosis.recipe import Context
    from ..diagnosis.result import Diagnosis
    from ..dicom.scan import Series
    from ..geometry.affine import Matrix
    from ..geometry.grid import Grid
    from ..nifti.header import NiftiHeader
    from ..stacking.laid_frames import LaidFrames
    from ..volume.mask import Array


def add(commands: Any) -> None:
    """Add the command with its options."""
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


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..conversion.nifti_mask import read_array, write_fixed
    from ..core.findings import Exit
    from ..core.policy import Policy
    from ..diagnosis.diagnose import fix

    path = Path(options.wrong)
    header, array = read_array(path)
    policy = Policy(on_tilt="shear", allow_empty=True)
    truth = _read_truth(options, policy)
    if options.mask_series and header.scaling != (1.0, 0.0):
        header, array = _as_labels(header, array, path.name)
    found = _diagnose(path.name, header, array, truth)
    if options.json:
        output.print_json(found.as_json())
    else:
        output.print_prose([f"{path.name}, held against {truth.series.title}", *found.lines()], options)
    if options.fix:
        out = Path(options.fix)
        right, grid = fix(found, array, truth.grid)
        write_fixed(out, right, grid, header, policy)
        if not options.json:
            output.print_lines([f"wrote {out.name}"], options)
    return int(Exit.VERIFIED if found.status == "correct" or options.fix else Exit.MISMATCH)


class _Truth(NamedTuple):
    """What the file should hold. array: (i, j, k) stored values on the grid. is_mask: of --mask-series, not of the images."""

    series: Series
    laid_frames: LaidFrames
    array: Array
    is_mask: bool

    @property
    def grid(self) -> Grid:
        return self.laid_frames.grid


def _read_truth(options: argparse.Namespace, policy: Policy) -> _Truth:
    """Read the mask series where it was given, and else the images. Raises OFF_SOURCE_GRID where both do not fit."""
    from ..conversion.one_series import image_of, mask_of, read_laid_series

    source, source_frames = read_laid_series([Path(s) for s in options.source], None, None, policy)
    if not options.mask_series:
        return _Truth(source, source_frames, image_of(source_frames, policy).array(), is_mask=False)
    mask, mask_frames = read_laid_series([Path(options.mask_series)], None, None, policy)
    _refuse_elsewhere(mask, mask_frames.grid, source_frames.grid, policy)
    return _Truth(mask, mask_frames, mask_of(mask, mask_frames, policy).array(), is_mask=True)


def _refuse_elsewhere(series: Series, mask: Grid, source: Grid, policy: Policy) -> None:
    """Refuse a mask series that does not lie on the voxels of --source: one of the two was not meant."""
    from ..core.findings import Code, refuse
    from ..geometry.index_map import find_index_map
    from ..volume import regrid

    limit = policy.corner_limit(min(source.spacing))
    fit = find_index_map(mask.lps, mask.shape, source.lps, source.shape)
    if fit is None or fit.moved_mm > limit:
        apart = regrid.describe_distance(mask.lps, mask.shape, source.lps, source.shape)
        raise refuse(
            Code.OFF_SOURCE_GRID,
            f"the series of --mask-series does not lie on the voxels of --source; {apart}",
            "Give --source the images the mask was drawn on.",
            where=(series.uid,),
            **({} if fit is None else {"measured": fit.moved_mm, "limit": limit, "unit": "mm"}),
        )


def _as_labels(header: NiftiHeader, array: Array, name: str) -> tuple[NiftiHeader, Array]:
    """Apply slope and intercept: a mask is judged by the labels it means, while an image is judged by what is stored."""
    from dataclasses import replace

    from ..conversion.nifti_mask import labels_of

    return replace(header, slope=1.0, intercept=0.0), labels_of(header, array, name)


def _diagnose(name: str, header: NiftiHeader, array: Array, truth: _Truth) -> Diagnosis:
    """Find the mistakes of the place that most software reads, and of the one ITK reads where that is another."""
    from ..diagnosis.check import PlacedBlock
    from ..diagnosis.forms import judge_forms
    from ..diagnosis.plane_order import list_plane_orders
    from ..diagnosis.recipe import Context

    stack, series = truth.laid_frames.stack, truth.series
    context = Context(
        slice_thickness_mm=series.get("SliceThickness"),
        spacing_between_slices_mm=series.get("SpacingBetweenSlices"),
        irregularity_mm=stack.residual_mm + stack.straightened_mm,
        plane_orders=list_plane_orders(truth.laid_frames.at_k),
    )
    block = PlacedBlock(name, header.shape, header.affine, header)
    found = _judge(header.affine, array, truth, context)
    return judge_forms(found, block, lambda affine: _judge(affine, array, truth, context))


def _judge(affine: Matrix, array: Array, truth: _Truth, context: Context) -> Diagnosis:
    """Judge one affine. Where the images explain nothing, the file may be a mask, and the affine alone is judged."""
    from ..diagnosis.diagnose import diagnose
    from ..volume.colour import is_rgb

    if is_rgb(truth.array.dtype) and not is_rgb(array.dtype):  # it may be a mask on images of colours
        return diagnose(affine, array.shape, truth.grid, context=context)
    found = diagnose(affine, array.shape, truth.grid, array=array, truth=truth.array, context=context)
    if found.status == "unexplained" and not truth.is_mask:
        return diagnose(affine, array.shape, truth.grid, context=context)
    return found
