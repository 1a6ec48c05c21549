"""Write docs/clients.md: what each viewer made of our files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.clients.judged import LIMIT_MM, Judged

_HEAD = """\
<!-- Made by `make clients`. Do not edit. -->
# What other viewers make of our files

`make clients` converts every case of `data/cases.toml`, and of `tests/real/cases.toml` where the real samples are, and opens all
files in real viewers. A file moved by 5 mm on purpose is found by each of them. It needs half a gigabyte and a screen of its
own, and is no part of `make test`.

| viewer | how it is asked | what is compared |
|---|---|---|
| 3D Slicer {3D Slicer} | its own core: a volume, a segmentation, a sequence | its IJK to RAS, every voxel, every segment |
| NiiVue {NiiVue} | in headless Chromium | its matrix, every voxel, and the values at 300 places in RAS mm |
| MRIcron {MRIcron} | in a window, the cross-hair moved to 8 places | the place in whole mm, the values of image and mask |

"""
_END = """
ITK-SNAP, FSLeyes and Mimics were not to be had here. ITK-SNAP reads NIfTI by ITK, as 3D Slicer does and as SimpleITK does, which
is asked about every file with `--crosscheck voxels`.
"""


def write_page(
    path: Path, judged: Sequence[Judged], versions: Mapping[str, str], known: Mapping[tuple[str, str], str]
) -> None:
    """Write the page. known: what a viewer is known not to open, by viewer and case."""
    lines = ["| viewer | files | all voxels at their places | worst corner | refused |", "|---|---|---|---|---|"]
    for viewer in versions:
        mine = [one for one in judged if one.viewer == viewer]
        holding = [one for one in mine if one.holds]
        worst = max((one.corner_mm for one in holding), default=0.0)
        exact = "0 (whole mm)" if viewer == "MRIcron" else f"{worst:.0e} mm" if worst else "0 mm"
        refused = Counter(known[one.viewer, one.case] for one in mine if one.refused)
        words = "; ".join(f"{n}, {why}" for why, n in refused.items())
        lines.append(f"| {viewer} | {len(mine)} | {len(holding)} | {exact} | {words or 'none'} |")
    lines += ["", f"At its place means within {LIMIT_MM:g} mm at the worst corner.", "", "## File by file", ""]
    lines += ["| case | file | " + " | ".join(versions) + " |", "|---" * (2 + len(versions)) + "|"]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in judged:
        word = known.get((one.viewer, one.case), "") if one.refused else f"equal{', ' + one.note if one.note else ''}"
        rows.setdefault((one.case, one.file), {})[one.viewer] = word
    lines += [
        f"| {case} | {file} | " + " | ".join(row.get(v, "") for v in versions) + " |"
        for (case, file), row in rows.items()
    ]
    head = _HEAD
    for viewer, version in versions.items():
        head = head.replace(f"{{{viewer}}}", version)
    path.write_text(head + "\n".join(lines) + "\n" + _END, "utf-8")
