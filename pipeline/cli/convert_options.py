"""Build the options of verimask convert, in the groups that --help shows.

Rules:
- Choices and defaults are those of the Policy, where it has them; an option of a Policy field has the field's name.
"""

from __future__ import annotations

import argparse
from typing import Any

from . import output


def add_options(p: argparse.ArgumentParser) -> None:
    """Add all of them."""
    p.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="folder of DICOM files (any depth), the files, a ZIP archive of them, a DICOMDIR, or a bundle",
    )
    p.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="liver.nii.gz or liver.nii; a folder (ending in /) for everything",
    )
    _add_which(p)
    _add_export(p)
    _add_where(p)
    _add_irregular(p)
    g = p.add_argument_group("proof and output")
    _add_checks(g)
    _add_output(g)
    output.add_common(p)
    p.add_argument(
        "-v", "--verbose", action="count", default=0, help="what is done, with times, on standard error; twice for more"
    )


def add_case_options(p: argparse.ArgumentParser) -> None:
    """Add those that decide what a conversion gives, for cases that are converted and thrown away."""
    _add_which(p)
    _add_export(p, lists=False)
    _add_where(p)
    _add_irregular(p)
    _add_checks(
        p.add_argument_group("proof"),
        "every voxel, of all that are installed (default); the place, and the mask itself where that costs little; nothing",
    )


def add_policy_options(p: argparse.ArgumentParser) -> None:
    """Add those that say what becomes of irregular series and how results are checked, for commands that convert many."""
    from ..core.policy import default

    _add_irregular(p)
    g = p.add_argument_group("masks and proof")
    _add_choice(
        g, "--resample", help="a mask that does not fit its image in whole voxels: refuse, or take the nearest ones"
    )
    g.add_argument(
        "--same-frame",
        action="store_true",
        help="masks and images name different Frames of Reference, and you know that they are one; they stay unconfirmed",
    )
    _add_fractional(g)
    _add_interpolate(g)
    g.add_argument("--allow-empty", action="store_true", help="write a mask that holds one value only")
    _add_choice(
        g,
        "--crosscheck",
        help=f"what other readers are asked: {_ASKED}",
    )
    g.add_argument(
        "--gzip-level",
        type=int,
        metavar="0-9",
        default=default("gzip_level"),
        help="of the files: 0 to 3 fast, 4 to 9 small",
    )
    g.add_argument("--keep-disputed", action="store_true", help="keep files that a witness disputes")


def _add_choice(g: argparse._ArgumentGroup, *option: str, help: str, dest: str | None = None) -> None:
    """Add an option whose choices and default are those of a Policy field; `dest` names the field where it is not the option's own."""
    from ..core.policy import choices, default

    name = dest or option[-1].lstrip("-").replace("-", "_")
    g.add_argument(*option, dest=name, choices=choices(name), default=default(name), help=help)


def _add_which(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("which, and what of it")
    output.add_series_choice(g)
    g.add_argument("--rois", metavar="NAME,…", help="names or numbers of ROIs, segments or masks; all by default")
    g.add_argument(
        "--images", action="store_true", help="with -o a folder: write the images of masks too, masks on the same grids"
    )
    _add_choice(g, "--as", dest="as_", help="labels as stored (default), or grey values with their rescale")
    _add_choice(
        g,
        "--palette",
        help="PALETTE COLOR with --as image: the stored values (default), or the colours that the palette gives them",
    )
    g.add_argument("--keep-values", action="store_true", help="keep both values of a mask of two, such as 0/255")
    g.add_argument(
        "--on-lossy",
        choices=("refuse", "threshold", "keep"),
        default="refuse",
        help="a mask smeared by lossy compression: refuse, cut it at half of its range, or keep the values as they came",
    )
    g.add_argument("--allow-empty", action="store_true", help="write a mask that holds one value only")
    _add_segments(g)


def _add_fractional(g: argparse._ArgumentGroup) -> None:
    from ..core.policy import default

    g.add_argument(
        "--fractional",
        type=_parse_fractional,
        default=default("fractional"),
        metavar="PART|keep",
        help="fractional SEG: from which part of its maximum a voxel is inside (0.5), or keep the values",
    )


def _add_interpolate(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--interpolate", action="store_true", help="RTSTRUCT: fill between contours that lie between planes")
    g.add_argument(
        "--mm-per-unit", type=float, metavar="MM", help="Mimics bundle: length of its unit, where it does not say"
    )


def _add_segments(g: argparse._ArgumentGroup) -> None:
    _add_fractional(g)
    _add_choice(
        g,
        "--combine",
        help="segments: one file where none overlap (default), one file each, or one file or refuse",
    )
    g.add_argument("--merge", action="store_true", help="all masks as one file of several labels; overlaps are refused")
    g.add_argument(
        "--order",
        metavar="NAME,…",
        help="with --merge: what lies on top, the first of all others: labels, or series by UID, number, folder or file",
    )
    _add_interpolate(g)


def _add_export(p: argparse.ArgumentParser, *, lists: bool = True) -> None:
    from ..core.policy import EXPORT_KINDS, UNDECIDED

    g = p.add_argument_group("an export with the mask in its image (burned in, masked, colour, overlay)")
    g.add_argument("--clean", action="append", default=[], metavar="DIR", help="the same export with masks hidden")
    g.add_argument("--inside", type=int, metavar="VALUE", help="the constant that is mask")
    g.add_argument("--outside", type=int, metavar="VALUE", help="the constant outside of a masked original")
    g.add_argument("--labels", metavar="NAME=VALUE,…", help="several masks, each its own constant or colour (#ff8000)")
    g.add_argument("--kind", choices=EXPORT_KINDS, help="what the export is")
    g.add_argument(
        "--undecided",
        choices=UNDECIDED,
        default=UNDECIDED[0],
        help="voxels whose image has the mask's own value: mask where mask is all around (default), always, never",
    )
    if lists:
        g.add_argument("--list-values", action="store_true", help="show the values that stand out, and write nothing")


def _add_where(p: argparse.ArgumentParser) -> None:
    from ..core.policy import default

    g = p.add_argument_group("on which grid")
    g.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="DIR",
        help="the images the mask was drawn on: it is put on their grid",
    )
    g.add_argument(
        "--like", metavar="IMAGE.nii.gz", help="write on this file's grid, voxel for voxel and header bit for bit"
    )
    g.add_argument(
        "--grey-values",
        action="store_true",
        help="with --source: its values under the mask and its mirror images, as a hint",
    )
    g.add_argument(
        "--same-frame",
        action="store_true",
        help="mask and source name different Frames of Reference, and you know that they are one; it stays unconfirmed",
    )
    _add_choice(
        g,
        "--resample",
        help="where --source or --like do not fit in whole voxels: refuse, or take the nearest voxels",
    )
    g.add_argument(
        "--orient",
        default=default("orient"),
        metavar="CODE",
        help="order of the axes, such as RAS or LPS; no voxel is resampled",
    )


def _add_irregular(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("where the planes are not regular")
    _add_choice(
        g,
        "--on-tilt",
        help="gantry tilt: refuse, keep every voxel in a sheared affine, or resample upright",
    )
    _add_choice(
        g,
        "--on-gap",
        help="missing or uneven planes: refuse, put empty planes, repeat the nearest, or resample evenly",
    )
    _add_choice(
        g,
        "--on-duplicate",
        help="planes at one place: refuse all, drop those with the same pixels and refuse others (default), or let the first or "
        "last Instance Number win",
    )
    g.add_argument(
        "--on-unread",
        choices=("refuse", "leave-out"),
        default="refuse",
        help="files that may be planes and cannot be read: refuse, or go on without them; then the result stays unconfirmed",
    )
    g.add_argument(
        "--assume-spacing",
        action="store_true",
        help="multi-frame files that place their first frame only: lay the others by Spacing Between Slices",
    )


_ASKED = (
    "the place, and the mask itself where that costs little (default); every voxel, of all that are installed; nothing"
)


def _add_checks(g: argparse._ArgumentGroup, asked: str = _ASKED) -> None:
    from ..core.policy import default

    _add_choice(
        g,
        "--crosscheck",
        help=f"what other readers are asked: {asked}",
    )
    g.add_argument(
        "--witness-limit",
        dest="witness_limit_s",
        type=float,
        default=default("witness_limit_s"),
        metavar="SECONDS",
        help="how long to wait for another reader, once for every GiB of input (600); one that takes longer has FAILED",
    )
    _add_choice(
        g,
        "--labels-file",
        help="also write the names and colours of the labels as this program reads them",
    )
    g.add_argument(
        "--gzip-level",
        type=int,
        metavar="0-9",
        help="of .nii.gz: 0 to 3 fast (ISA-L), 4 to 9 small (zlib-ng); by default 2 for images, runs for masks",
    )
    g.add_argument("--keep-disputed", action="store_true", help="keep a file that a witness disputes")


def _add_output(g: argparse._ArgumentGroup) -> None:
    g.add_argument(
        "--report", action="store_true", help="also write a page (liver.html) that shows it, see verimask report"
    )
    g.add_argument("--strict", action="store_true", help="exit 13 when no witness could confirm the result")
    _add_choice(
        g,
        "-w",
        "--write",
        help="where the output exists: refuse (default), write beside it, pass over what is proven the same, replace",
    )
    add_privacy(g)
    _add_jobs(g)
    g.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="refuse what needs more memory at once, such as 4GiB; by default three quarters of what this machine, or its "
        "control group, has. VERIMASK_MAX_MEMORY says so for every command",
    )


def add_privacy(g: Any) -> None:
    """Add those that say what may be known of the inputs; to a parser or a group of it."""
    from ..core.policy import choices, default

    g.add_argument(
        "--keep-names",
        action="store_true",
        help="write the names of input files and folders as they are; by default they stand nowhere in what is written",
    )
    g.add_argument(
        "--strip",
        choices=choices("strip"),
        default=default("strip"),
        help="leave out of what is written what may say who somebody is: texts and device; UIDs and digests of inputs; or all "
        "(pixels are left as they are)",
    )


def _add_jobs(g: argparse._ArgumentGroup) -> None:
    g.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="with -o a folder: convert so many inputs at the same time, each in a process of its own; by default as many as "
        "there are cores, where it is worth it. The masks of one structure set are shared out only where N is given",
    )


def _parse_fractional(text: str) -> float | str:
    """Parse a number or `keep`. A ValueError becomes the usage error of argparse."""
    return text if text == "keep" else float(text)
