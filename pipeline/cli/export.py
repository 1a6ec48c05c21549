"""verimask export"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..core.findings import Finding
    from ..volume.mask import Mask


def add(commands: Any) -> None:
    """Its options."""
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
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run it; the exit code."""
    from ..conversion.source import find_source, mask_on
    from ..core.extras import require_extra
    from ..core.findings import Code, refuse
    from ..core.policy import Policy
    from ..dicom.scan import Scan
    from ..encode.seg import write_seg
    from ..encode.series import write_series

    policy = Policy()
    if options.to == "seg":
        require_extra("seg")
    if options.to != "seg":
        output.refuse_idle(options, only=("segments",), why="it describes the segments of --to seg")
    mask = _mask(Path(options.mask), options.mask_name, policy)
    findings: list[Finding] = []
    frames = None
    if options.source:
        source = find_source(Scan((), ()), [Path(s) for s in options.source], policy)
        assert source is not None  # a given source is found, or refused
        mask = mask_on(mask, source, policy)
        frames = source.laid.frames
    out = Path(options.output)
    if options.to == "seg":
        if frames is None:
            raise refuse(Code.NO_SOURCE, "a SEG refers to the images it was made on", "Give them with --source.")
        toml = Path(options.segments) if options.segments else None
        seg = write_seg([mask], frames, out / "segmentation.dcm", toml=toml, policy=policy)
        findings += seg.findings
        said = f"wrote {out / 'segmentation.dcm'}"
    else:
        series = write_series(mask, frames, out, policy=policy)
        said = f"wrote {len(series.files)} instances to {out}"
    if options.json:
        output.json({"Written": out.name, "Findings": output.findings_json(findings, options)})
    else:
        output.prose([said, *(f"note: {f.message}" for f in findings)], options)
    return 0


def _mask(path: Path, name: str | None, policy: Any) -> Mask:
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
        )
    return products[0].volume  # type: ignore[return-value]  # a bundle holds masks only
