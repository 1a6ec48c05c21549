"""Run `verimask mimics-script` and `verimask to-mimics`: the way out of Mimics, and back into it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import output


def add(commands: Any) -> None:
    """Add both commands with their options."""
    p = commands.add_parser(
        "mimics-script",
        help="the script to run inside Mimics",
        description="Write the script that exports masks from Mimics (or, with --import, brings them back): "
        "verimask mimics-script -o export_masks.py",
    )
    p.add_argument("--import", dest="back", action="store_true", help="the script that creates masks in Mimics instead")
    p.add_argument("-o", "--output", metavar="FILE", help="write it to this file; by default it is printed")
    p.add_argument(
        "-w", "--write", choices=("refuse", "overwrite"), default="refuse", help="where FILE is there already: refuse"
    )
    # The script is all that is printed, so that neither --json nor --quiet could have an effect.
    p.set_defaults(run=run_script, json=False)
    p = commands.add_parser(
        "to-mimics",
        help="a NIfTI mask back into Mimics",
        description="Write a folder for import_masks.py: the mask on the grid of a bundle's image set.",
    )
    p.add_argument("mask", metavar="MASK.nii.gz")
    p.add_argument("bundle", metavar="BUNDLE", help="folder that export_masks.py wrote")
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="new folder for import_masks.py")
    p.add_argument("--image", metavar="NAME", help="which image set, where the bundle holds several")
    p.add_argument("--mm-per-unit", type=float, metavar="MM", help="length of the project's unit, where it is not said")
    output.add_common(p)
    p.set_defaults(run=run_back)


def run_script(options: argparse.Namespace, _: list[str]) -> int:
    """Write or print the script, and return the exit code.

    A file gets its bytes: what a shell redirects may be written in another encoding, as by PowerShell 5 in UTF-16.
    """
    name = "import_masks.py" if options.back else "export_masks.py"
    script = Path(__file__).parents[1] / "mimics" / "scripts" / name
    if options.output is None:
        output.refuse_idle(options, only=("write",), why="it is about the file of -o")
        print(script.read_text("utf-8"), end="")
        return 0
    from ..core.atomic_file import in_place
    from ..core.given_path import look_at_output

    target = Path(options.output)
    target = target / name if look_at_output(target).is_folder else target
    with in_place(target, overwrite=options.write == "overwrite") as temporary:
        temporary.write_bytes(script.read_bytes())
    print(f"wrote {target}")
    return 0


def run_back(options: argparse.Namespace, _: list[str]) -> int:
    """Write the folder for import_masks.py and return the exit code."""
    from ..conversion.nifti_mask import read_mask
    from ..core.findings import Code, refuse
    from ..mimics.bundle import read_bundle
    from ..mimics.to_mimics import write_for_mimics

    bundle = read_bundle(Path(options.bundle))
    images = [i for i in bundle.images if options.image in (None, i.name)]
    if len(images) != 1:
        raise refuse(
            Code.SEVERAL_SERIES,
            f"the bundle holds {len(images)} image sets that could be meant",
            "Choose with --image: " + ", ".join(i.name for i in bundle.images),
            where=(Path(options.bundle).name,),
        )
    mask = read_mask(Path(options.mask))
    findings = write_for_mimics(mask, images[0], Path(options.output), units_mm_per_unit=options.mm_per_unit)
    output.print_written(Path(options.output), f"wrote {options.output}", findings, options)
    return 0
