"""Every hard case through verimask, dicom2nifti, dcm2niix and SimpleITK: how far each puts the worst voxel from its place.

`python -m tests.helpers.compare [FILE]` prints the table, and writes it as Markdown; its cells are explained there.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from pipeline import __version__
from pipeline.conversion.convert import Request, convert
from pipeline.conversion.request import ExportDescription
from pipeline.core.findings import PipelineError
from pipeline.core.policy import Policy
from tests.helpers import cases_seg, mask_peers
from tests.helpers.compare_reasons import REASONS
from tests.helpers.hard_case import HardCase
from tests.helpers.hard_cases import CASES
from tests.helpers.hard_truth import Acquired, blended, compared, compared_by_place, voxels_of
from tests.helpers.peers import READERS, Peer, versions

_LEGEND = """\
Every series of `tests/helpers/hard_cases.py`: rows, columns and planes differ, so do the spacings, and every voxel has a value of
its own. A distance is that between where a file says a value lies and where its plane's own equation (PS3.3
C.7.6.2.1-1) says it was acquired, for the worst voxel. Each reader is asked as its users ask it, with its defaults:
`dicom_series_to_nifti(folder, file)`, `dcm2niix folder`, `sitk.ImageSeriesReader` for every series it finds. verimask
is given the options that stand in the name of the case; it is run without its witnesses.

| cell | means |
|---|---|
| ok | every acquired voxel within 0.02 mm, or within the noise that was put into the positions |
| ok, n files | the same, in several files |
| **W n** | no refusal, and the worst voxel n mm from its place |
| **V n** | right places, and n values that nobody acquired |
| **L n%** | right places, and that share of the voxels left out without a word |
| **I** | the files give no place, and one was invented |
| T (W n) | two files: one that is n mm off, and one resampled upright or evenly, not measured and counted as right |
| R | refused, with the reason; C: crashed, or words that tell nothing |
"""


def ours(case: HardCase, folder: Path, out: Path) -> str:
    policy = Policy(as_=case.as_, crosscheck="off", **case.options)  # type: ignore[arg-type]
    request = Request(
        series=case.series, part=case.part, export=ExportDescription(kind="labels" if case.as_ == "mask" else None)
    )
    try:
        outcome = convert([folder], out / "ours.nii", request=request, policy=policy)
    except PipelineError as error:
        return f"R {error.finding.code.name}"
    except Exception as error:
        return f"C {type(error).__name__}"
    return judged(case, folder, [outcome.output], stored=case.as_ == "mask", chosen_only=True)


def judged(
    case: HardCase, folder: Path, files: Sequence[Path], *, stored: bool = False, chosen_only: bool = False
) -> str:
    """The cell of what a reader wrote: each file against all that was acquired."""
    acquired = _acquired(case, folder, all_of_it=not chosen_only)
    if not acquired:
        return "I"
    worst, lost_everywhere, foreign = 0.0, _keys(acquired, stored), 0
    for file in files:
        image = nibabel.load(file)
        array, affine = voxels_of(image), np.asarray(image.affine)
        if array.ndim > 3 and array.shape[3] == 0:
            return "C  no grey values"
        if chosen_only and not case.exact:
            filled = case.options.get("on_gap") == "fill"
            off = blended(acquired, array, affine, 1.5 * case.spec.step if filled else np.inf)
            return "ok" if off <= 1.0 else f"V {off:.0f}"
        if case.repeats:
            found = compared_by_place(acquired, array, affine, stored=stored)
            if found.worst_mm <= case.within_mm:
                return f"V {found.lost + found.foreign}" if found.lost or found.foreign else "ok"
            return f"W {found.worst_mm:.2f}"
        found = compared(acquired, array, affine, stored=stored)
        worst = max(worst, found.worst_mm)
        foreign += found.foreign
        lost_everywhere -= set(np.rint(array.ravel() * 64).astype(np.int64).tolist())
    total = len(_keys(acquired, stored))
    if worst > (case.travel_mm if chosen_only and case.travel_mm else case.within_mm):
        return f"W {worst:.1f}" if worst >= 0.95 else f"W {worst:.2f}"
    if len(lost_everywhere) == total:
        return "V all"
    if foreign:
        return f"V {foreign}"
    if lost_everywhere:
        return f"L {100 * len(lost_everywhere) / total:.0f}%"
    return "ok" if len(files) == 1 else f"ok, {len(files)} files"


def theirs(peer: Peer, case: HardCase, folder: Path, out: Path) -> str:
    answer = peer.convert(folder, out)
    if "refused" in answer:
        return "R"
    if "crashed" in answer:
        return "C"
    files = [Path(f) for f in answer["files"]]
    mended = [f for f in files if "_Tilt" in f.stem or "_Eq" in f.stem]
    plain = judged(case, folder, [f for f in files if f not in mended])
    return f"T ({plain})" if mended else plain


def _acquired(case: HardCase, folder: Path, *, all_of_it: bool) -> list[Acquired]:
    """The truth of a case; none where what places its voxels is spoilt, so that nothing says where they are."""
    try:
        return case.acquired(folder, all_of_it=all_of_it)
    except Exception:
        if case.expected == "right":
            raise
        return []


def _keys(acquired: Sequence[Acquired], stored: bool) -> set[int]:
    values = np.concatenate([(a.stored if stored else a.physical).ravel() for a in acquired])
    return set(np.rint(values.astype(float) * 64).astype(np.int64).tolist())


@dataclass(frozen=True)
class Row:
    """One case and what each reader made of it. again: whether an earlier case had the very same files."""

    case: HardCase
    cells: dict[str, str]
    again: bool


def table() -> list[Row]:
    """Every case, printed as they come. Files that several cases share are shown to the other readers once."""
    rows: list[Row] = []
    known: dict[str, dict[str, str]] = {}
    with ExitStack() as open_:
        peers = [open_.enter_context(Peer(reader)) for reader in READERS]
        for case in CASES:
            with tempfile.TemporaryDirectory(prefix="compare-") as name:
                folder = Path(name, "in")
                case.write(folder)
                told = known.setdefault(_digest(folder), {})
                again = bool(told)
                for peer in () if again else peers:
                    told[peer.reader] = theirs(peer, case, folder, Path(name, peer.reader))
                rows.append(Row(case, {"verimask": ours(case, folder, Path(name)), **told}, again))
            print(_line(case.name, rows[-1].cells.values()), flush=True)
    return rows


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _line(first: str, cells: Iterable[str]) -> str:
    ours, *others = cells
    return f"{first:42.42} {ours:28.28} " + " ".join(f"{cell:13.13}" for cell in others).rstrip()


def counted(rows: Sequence[Row], reader: str) -> dict[str, int]:
    """How many series a reader has right, silently wrong, refused, crashed; for verimask every case counts."""
    kinds = {"right": "oT", "silently wrong": "WVLI", "refused": "R", "crashed": "C"}
    told = [row.cells[reader] for row in rows if reader == "verimask" or not row.again]
    return {kind: sum(cell[0] in letters for cell in told) for kind, letters in kinds.items()}


def refused_alone(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The names of the cases that we refuse and another reader has right, by the refusing Code."""
    found: dict[str, list[str]] = {}
    for row in rows:
        cell, *others = row.cells.values()
        if cell[0] == "R" and any(other[0] in "oT" for other in others):
            found.setdefault(cell.split()[1], []).append(row.case.name)
    return found


def markdown(rows: Sequence[Row]) -> str:
    """The table with its legend and the versions, as it stands in docs/."""
    readers = {"verimask": __version__, **versions()}
    lines = [
        "# Hard geometry: four readers against the truth",
        "",
        "Written by `make compare`; do not edit.",
        "",
        _LEGEND,
    ]
    lines += ["| | " + " | ".join(f"{reader} {number}" for reader, number in readers.items()) + " |", "|---" * 5 + "|"]
    for kind in ("right", "silently wrong", "refused", "crashed"):
        lines.append(f"| {kind} | " + " | ".join(str(counted(rows, reader)[kind]) for reader in readers) + " |")
    lines += ["", "Cases that differ in the options of verimask alone count once for the others.", ""]
    lines += ["| case | of | " + " | ".join(readers) + " |", "|---" * 6 + "|"]
    for row in rows:
        shown = [f"**{c}**" if c[0] in "WVLI" else c for c in row.cells.values()]
        lines.append(f"| {row.case.name} | {row.case.row} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "## Why verimask refuses where another reader is right",
        "",
        "| code | cases | reason |",
        "|---" * 3 + "|",
    ]
    lines += [f"| {code} | {len(names)} | {REASONS[code]} |" for code, names in sorted(refused_alone(rows).items())]
    lines += [
        "",
        "None of these readers reads RTSTRUCT; its cases are in `tests/helpers/cases_rtstruct.py`, run by `make regress`.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    print(_line("case", ("verimask", *READERS)))
    rows = table()
    masks = mask_peers.rows(cases_seg.CASES)
    print()
    for kind in ("right", "silently wrong", "refused", "crashed"):
        print(_line(kind, (str(counted(rows, reader)[kind]) for reader in ("verimask", *READERS))))
    print("; ".join(f"{reader} {number}" for reader, number in {"verimask": __version__, **versions()}.items()))
    unexplained = {code: names for code, names in refused_alone(rows).items() if code not in REASONS}
    for code, names in unexplained.items():
        print(f"{code} has no reason, and another reader is right: {', '.join(names)}")
    if unexplained:
        return 1
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(markdown(rows) + mask_peers.markdown(masks), "utf-8")
    wrong = counted(rows, "verimask")["silently wrong"] + counted(rows, "verimask")["crashed"] > 0
    return int(wrong or mask_peers.is_wrong(masks))


if __name__ == "__main__":
    sys.exit(main())
