"""Run `verimask export`: write a mask back as a DICOM series or a DICOM SEG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..core.findings import Finding
    from ..core.policy import Policy
    from ..dicom.frame import Frame
    from ..volume.mask import MaskVolume


def add(commands: Any) -> None:
    """Add the command with its options."""
    from ..core.policy import choices, default

    p = commands.add_parser(
        "export",
        help="a mask back out as a DICOM series or DICOM SEG",
        description="Write a NIfTI mask or a Mimics bundle as DICOM, on the planes of its source images.",
    )
    p.add_argument("mask", metavar="MASK.nii.gz|BUNDLE")
    p.add_argument("--source", action="append", default=[], metavar="DIR", help="the images the mask was drawn on")
    p.add_argument(
        "--to", choices=("series", "seg"), default="series", help="one instance a plane (default), or one SEG"
    )
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="new folder")
    p.add_argument("--segments", metavar="TOML", help="names, codes and colours of the segments, for --to seg")
    p.add_argument("--mask-name", metavar="NAME", help="which mask of the bundle, where it holds several")
    p.add_argument(
        "--keep-names",
        action="store_true",
        help="also copy the Study Description, and the patient's age, size, weight and issuer of the ID, from --source",
    )
    p.add_argument(
        "--strip",
        choices=choices("strip"),
        default=default("strip"),
        help="leave out names and texts; replace the UIDs of the source; or both, and no dates of it (pixels stay as they are)",
    )
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..core.extras import require_extra
    from ..core.policy import Policy

    if options.to == "seg":
        require_extra("seg")
    else:
        output.refuse_idle(options, only=("segments",), why="it describes the segments of --to seg")
    if not options.source:
        output.refuse_idle(options, only=("keep_names",), why="without --source there is nothing to copy")
    policy = Policy(keep_names=options.keep_names, strip=options.strip)
    mask = _read_mask(Path(options.mask), options.mask_name, policy)
    mask, frames = _move_to_source(mask, options.source, policy)
    if options.to == "seg":
        what, findings = _write_seg(mask, frames, options, policy)
    else:
        what, findings = _write_series(mask, frames, options, policy)
    output.print_written(Path(options.output), what, findings, options)
    return 0


def _read_mask(path: Path, name: str | None, policy: Policy) -> MaskVolume:
    """Read the mask to export: a NIfTI file, or one mask of a bundle. Raises IDLE_OPTION, SEVERAL_MASKS."""
    from ..conversion.nifti_mask import read_mask
    from ..core.findings import Code, refuse
    from ..mimics import is_bundle

    if not is_bundle(path):
        if name is not None:
            raise refuse(
                Code.IDLE_OPTION,
                f"--mask-name has no effect here: {path.name} is no bundle, and holds one mask",
                "Leave it out.",
                where=("--mask-name",),
            )
        return read_mask(path)
    from ..conversion.from_bundle import masks_in

    products = masks_in(path, None if name is None else (name,), policy)
    if len(products) != 1:
        raise refuse(
            Code.SEVERAL_MASKS,
            f"the bundle holds {len(products)} masks",
            "Choose one with --mask-name: " + ", ".join(p.volume.name for p in products),
            where=(path.name,),
        )
    return products[0].volume  # type: ignore[return-value]  # a bundle holds masks only


def _move_to_source(
    mask: MaskVolume, folders: Sequence[str], policy: Policy
) -> tuple[MaskVolume, Sequence[Frame] | None]:
    """Move a mask onto the grid of its source images. Returns it with their frames; None for no frames without a source."""
    from ..conversion.looks import Looks
    from ..conversion.source import find_source, move_mask
    from ..dicom.scan import Scan

    source = find_source(Scan((), ()), [Path(folder) for folder in folders], policy, Looks()) if folders else None
    return (mask, None) if source is None else (move_mask(mask, source, policy), source.laid_frames.frames)


def _write_series(
    mask: MaskVolume, frames: Sequence[Frame] | None, options: argparse.Namespace, policy: Policy
) -> tuple[str, Sequence[Finding]]:
    """Write one instance per plane. Returns what was written in words, and what was found."""
    from ..encode.series import write_series

    series = write_series(mask, frames, Path(options.output), policy=policy)
    return f"wrote {len(series.files)} instances to {Path(options.output)}", ()


def _write_seg(
    mask: MaskVolume, frames: Sequence[Frame] | None, options: argparse.Namespace, policy: Policy
) -> tuple[str, Sequence[Finding]]:
    """Write one SEG. Returns what was written in words, and what was found. Raises NO_SOURCE without frames."""
    from ..core.findings import Code, refuse
    from ..encode.seg import write_seg

    if frames is None:
        raise refuse(
            Code.NO_SOURCE,
            "a SEG refers to the images it was made on",
            "Give them with --source.",
            where=(Path(options.mask).name,),
        )
    path = Path(options.output) / "segmentation.dcm"
    toml = Path(options.segments) if options.segments else None
    seg = write_seg([mask], frames, path, toml=toml, policy=policy)
    return f"wrote {path}", seg.findings
