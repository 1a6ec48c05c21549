"""Find the path of an output: it must be free, or the policy must say what becomes of what is there.

Rules:
- An existing file is never touched unless the policy says so; the record, label files and page count as much as the image.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..volume.label_files import label_file
from .page_file import check_page_place, page_of
from .record import sidecar_of


def checked_target(output: Path) -> Path:
    """Return the output path. Raises OUTPUT_NAME where no NIfTI file can be."""
    if not output.name.endswith((".nii", ".nii.gz")):
        raise refuse(
            Code.OUTPUT_NAME,
            f"{output.name} does not end in .nii or .nii.gz",
            f"Name it {output.name.split('.')[0]}.nii.gz. With -o a folder ending in / all series are written.",
            where=(output.name,),
        )
    if not output.parent.is_dir():
        raise refuse(
            Code.OUTPUT_NAME,
            f"the folder {output.parent} is not there",
            "Make it first, or give another name.",
            where=(output.parent.name,),
        )
    return output


def free_target(target: Path, policy: Policy, *, page: bool = False) -> Path:
    """Find the path to write to.

    Args:
        target: the path that is wanted.
        policy: what becomes of an existing file.
        page: whether a page is to lie beside it.

    Returns: `target`, or one with a suffix.

    Raises: PipelineError OUTPUT_EXISTS, also where the page would have to replace something that is no page.
    """
    taken = _existing(target, policy, page=page)
    if page and policy.write in ("refuse", "overwrite"):
        check_page_place(page_of(target))
    if not taken or policy.write == "overwrite":
        return target
    if policy.write == "suffix":
        candidates = (with_suffix(target, str(n)) for n in range(2, 10_000))
        return next(c for c in candidates if not _existing(c, policy, page=page))
    raise refuse(
        Code.OUTPUT_EXISTS,
        f"{taken[0].name} is already there and was left alone",
        "-w overwrite replaces it, -w suffix writes beside it, -w skip passes over what is proven to be the same.",
        where=(taken[0].name,),
    )


def _existing(target: Path, policy: Policy, *, page: bool) -> list[Path]:
    """What is there already of the files that are to be written together."""
    labels = [] if policy.labels_file == "none" else [label_file(target, policy.labels_file)]
    pages = [page_of(target)] if page else []
    return [p for p in (target, sidecar_of(target), *labels, *pages) if os.path.lexists(p)]


def with_suffix(target: Path, suffix: str) -> Path:
    """Return liver_resampled.nii.gz for liver.nii.gz and "resampled"."""
    ending = ".nii.gz" if target.name.endswith(".gz") else ".nii"
    stem = target.name.removesuffix(ending)
    return target if not suffix or stem.endswith(suffix) else target.with_name(f"{stem}_{suffix}{ending}")
