"""Find the path of an output: it must be free, or the policy must say what becomes of what is there.

Rules:
- An existing file is never touched unless the policy says so; the record, label files and page count as much as the image.
- Of many, each path follows from the names of all inputs and products, and never from what was written before it or refused:
  it is the same in whatever order, and in whichever process, they are written.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from itertools import count, takewhile
from pathlib import Path

from ..core.findings import Code, refuse
from ..core.given_path import look_at_output
from ..core.leftovers import remove_dead
from ..core.policy import Policy
from ..volume.label_files import label_file
from .file_names import why_no_windows_name
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
    if not look_at_output(output.parent).is_folder:
        raise refuse(
            Code.OUTPUT_NAME,
            f"the folder {output.parent} is not there",
            "Make it first, or give another name.",
            where=(output.parent.name,),
        )
    odd = why_no_windows_name(output.name) if sys.platform == "win32" else ""
    if odd:
        raise refuse(
            Code.OUTPUT_NAME,
            f"{output.name} cannot be written: {odd}",
            "Name it with letters, digits, hyphens and underscores.",
            where=(output.name,),
        )
    remove_dead(output.parent)
    return output


def plan_paths(
    folder: Path, name: str, suffixes: Iterable[str], names: Sequence[str], *, may_resample: bool
) -> list[Path]:
    """Plan the path of every product of one input, each another one, regardless of case.

    Args:
        folder: where they go.
        name: of the input, for its files.
        suffixes: of its products, in order; equal ones are numbered from the second on.
        names: of every input of the run, this one among them, sorted regardless of case; a path that could be of another
            one's product is not used.
        may_resample: whether `with_suffix` may add "resampled" to any of them.

    Returns: a path ending in .nii.gz for each product.
    """
    beginning = f"{name.casefold()}_"
    following = map(str.casefold, names[bisect_left(names, beginning, key=str.casefold) :])
    longer = [*takewhile(lambda other: other.startswith(beginning), following)]
    of_this_input = sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    taken: set[str] = set()
    paths = []
    for suffix in suffixes:
        plain = with_suffix(folder / f"{name}.nii.gz", suffix)
        if any(
            stem == other or stem.startswith(f"{other}_") for stem in _stems(plain, may_resample) for other in longer
        ):
            plain = with_suffix(plain, of_this_input)
        numbered = (with_suffix(plain, str(n)) if n > 1 else plain for n in count(1))
        paths.append(next(path for path in numbered if taken.isdisjoint(_stems(path, may_resample))))
        taken.update(_stems(paths[-1], may_resample))
    return paths


def _stems(path: Path, may_resample: bool) -> set[str]:
    """What a product that was given this path may be called, without ending and regardless of case."""
    paths = [path, with_suffix(path, "resampled")] if may_resample else [path]
    return {_stem(one).casefold() for one in paths}


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def free_target(target: Path, policy: Policy, *, page: bool = False, planned: Collection[Path] = ()) -> Path:
    """Find the path to write to.

    Args:
        target: the path that is wanted.
        policy: what becomes of an existing file.
        page: whether a page is to lie beside it.
        planned: the paths of others of the run, which are not free even where nothing is there yet.

    Returns: `target`, or one with a suffix.

    Raises: PipelineError OUTPUT_EXISTS, also where the page would have to replace something that is no page.
    """
    taken = existing(target, policy, page=page)
    if page and policy.write in ("refuse", "overwrite"):
        check_page_place(page_of(target))
    if not taken or policy.write == "overwrite":
        return target
    if policy.write == "suffix":
        candidates = (with_suffix(target, str(n)) for n in range(2, 10_000))
        return next(c for c in candidates if c not in planned and not existing(c, policy, page=page))
    raise refuse(
        Code.OUTPUT_EXISTS,
        f"{taken[0].name} is already there and was left alone",
        "-w overwrite replaces it, -w suffix writes beside it, -w skip passes over what is proven to be the same.",
        where=(taken[0].name,),
    )


def existing(target: Path, policy: Policy, *, page: bool) -> list[Path]:
    """List what is there already of the files that are to be written together.

    Args:
        target: the path that is wanted.
        policy: whether there is a file of labels.
        page: whether a page is to lie beside it.

    Returns: the paths, that of the image first.
    """
    labels = [] if policy.labels_file == "none" else [label_file(target, policy.labels_file)]
    pages = [page_of(target)] if page else []
    return [p for p in (target, sidecar_of(target), *labels, *pages) if os.path.lexists(p)]


def with_suffix(target: Path, suffix: str) -> Path:
    """Return liver_resampled.nii.gz for liver.nii.gz and "resampled"."""
    ending = ".nii.gz" if target.name.endswith(".gz") else ".nii"
    stem = target.name.removesuffix(ending)
    return target if not suffix or stem.endswith(suffix) else target.with_name(f"{stem}_{suffix}{ending}")
