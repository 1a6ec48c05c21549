"""Other readers of SEG, asked as their users ask them: what masks they give, or how they end.

highdicom: `segread(file)`, then `get_volume(combine_segments=False)` and its affine; fractions are inside from half of
their maximum, as with ours. dcmqi: the program `segimage2itkimage`, written as NIfTI; where it writes stored values, all
but 0 are inside. Neither asks for the source images, and neither resamples.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from tests.helpers.mask_case import MaskCase, PlacedMask, convert_case, difference, masks_of

_LONGEST = 90  # characters of a cell
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

_LEGEND = """\
Every SEG of `tests/helpers/cases_seg.py`, whose voxels are known. A mask is right where the centres of its voxels are those of
the truth, within 0.02 mm, on whatever grid. verimask is given the source images and the options that stand in the name.

| cell | means |
|---|---|
| ok | every segment that has voxels has them all, and no others |
| **W** | no refusal, and what is wrong |
| **I** | nothing says what is right, and a mask was given |
| no mask | nothing says what is right, and no mask was given |
| R | refused, with the reason; C: crashed, or words that tell nothing |
| - | not asked: it does not resample |
"""


class Refused(Exception):
    """A reader ended with words."""


class Crashed(Exception):
    """A reader ended without words that help."""


def _seg_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*seg*.dcm"))


def ask_highdicom(folder: Path, _: Path) -> list[PlacedMask]:
    """The masks of the SEG in a folder, by highdicom."""
    from highdicom.seg import SegmentationTypeValues, segread

    found = []
    for path in _seg_files(folder):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seg = segread(path)
                volume: Any = seg.get_volume(combine_segments=False)
                names = [seg.get_segment_description(n).segment_label for n in seg.segment_numbers]
        except (ValueError, RuntimeError) as error:
            raise Refused(str(error)) from error
        except Exception as error:
            raise Crashed(f"{type(error).__name__}: {error}") from error
        inside = volume.array >= 0.5 if seg.segmentation_type == SegmentationTypeValues.FRACTIONAL else volume.array > 0
        # Its arrays are (plane, row, column[, segment]), and so is its affine, in LPS.
        lps = np.array(volume.affine)[:, [2, 1, 0, 3]]
        found += [PlacedMask(name, inside[..., n].T, lps) for n, name in enumerate(names)]
    return found


def ask_dcmqi(folder: Path, out: Path) -> list[PlacedMask]:
    """The masks of the SEG in a folder, by dcmqi."""
    program = Path(sysconfig.get_path("scripts"), "segimage2itkimage")
    found = []
    for path in _seg_files(folder):
        made = out / path.stem
        made.mkdir(parents=True)
        command = [str(program), "--inputDICOM", str(path), "--outputDirectory", str(made), "-t", "nifti"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode < 0 or done.returncode > 128:
            raise Crashed(f"it ended with status {done.returncode}")
        if done.returncode:
            raise Refused(_reason(done.stdout + done.stderr))
        tables = [json.loads(table.read_text("utf-8")) for table in made.glob("*meta.json")]
        names = {
            s["labelID"]: s["SegmentLabel"] for table in tables for group in table["segmentAttributes"] for s in group
        }
        for file in sorted(made.glob("*.nii.gz")):
            image: Any = nibabel.load(file)
            array = np.asanyarray(image.dataobj)
            values, lps = [int(v) for v in np.unique(array) if v], RAS_TO_LPS @ image.affine
            if set(values) <= set(names):
                found += [PlacedMask(names[v], array == v, lps) for v in values]
            else:
                found.append(PlacedMask(names.get(int(file.name.split(".")[0]), file.name), array > 0, lps))
    return found


PEERS: dict[str, Callable[[Path, Path], list[PlacedMask]]] = {"highdicom": ask_highdicom, "dcmqi": ask_dcmqi}


def _reason(output: str) -> str:
    """The line of a program that tells of its error; else its last."""
    lines = output.strip().splitlines() or [""]
    return next((line for line in lines if line.startswith(("E:", "ERROR", "Error", "FATAL"))), lines[-1])


def versions() -> dict[str, str]:
    return {name: version(name) for name in PEERS}


def cell_of(case: MaskCase, truth: Sequence[PlacedMask], masks: Sequence[PlacedMask]) -> str:
    """What a reader made of a case in a word or two: ok, **W** with what is wrong, or **I** where nothing says what is right."""
    if not truth:
        return "I" if masks else "no mask"
    wrong = difference([m for m in truth if m.voxels.any()], [m for m in masks if m.voxels.any()])
    return f"W {wrong}" if wrong else "ok"


def ours(case: MaskCase, folder: Path, truth: Sequence[PlacedMask]) -> str:
    """The cell of our own conversion."""
    outcomes, refusals = convert_case(case, folder)
    if refusals and not outcomes:
        return f"R {refusals[0].finding.code.name}"
    return cell_of(case, truth, masks_of(outcomes))


def _brief(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"


def row(case: MaskCase) -> dict[str, str]:
    """The cells of one case of kind SEG: ours, and each peer's."""
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        truth = case.make(folder)
        cells = {"verimask": ours(case, folder, truth)}
        for peer, ask in PEERS.items():
            if "resample" in case.options:
                cells[peer] = "-"
                continue
            try:
                cells[peer] = cell_of(case, truth, ask(folder / "in", folder / peer))
            except Refused as error:
                cells[peer] = _brief(f"R {error}")
            except Crashed as error:
                cells[peer] = _brief(f"C {error}")
    return cells


def rows(cases: Sequence[MaskCase]) -> list[tuple[MaskCase, dict[str, str]]]:
    """The cells of every case of kind SEG, printed as they come."""
    found = []
    for case in cases:
        if case.kind == "SEG":
            found.append((case, row(case)))
            print(
                f"{case.name:42.42} " + " ".join(f"{cell:28.28}" for cell in found[-1][1].values()).rstrip(), flush=True
            )
    return found


def markdown(found: Sequence[tuple[MaskCase, dict[str, str]]]) -> str:
    """The rows as a table with its legend."""
    readers = ["verimask", *(f"{name} {number}" for name, number in versions().items())]
    lines = ["", "## DICOM SEG: three readers against the truth", "", _LEGEND, ""]
    lines += ["| case | of | " + " | ".join(readers) + " |", "|---" * (2 + len(readers)) + "|"]
    for case, cells in found:
        shown = [f"**{c}**" if c[0] in "WI" else c for c in (cell.replace("|", "/") for cell in cells.values())]
        lines.append(f"| {case.name} | {case.row} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def is_wrong(found: Sequence[tuple[MaskCase, dict[str, str]]]) -> bool:
    """Whether one of our own cells is silently wrong or a crash."""
    return any(cells["verimask"][0] in "WIC" for _, cells in found)
