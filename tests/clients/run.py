"""Open all that the cases give in real viewers, and write docs/clients.md: `make clients`.

Rules:
- 3D Slicer's own core and NiiVue get every file of every case, MRIcron the pairs of image and mask of the real samples.
- A file moved by 5 mm on purpose must be found by each of them: a check that cannot fail is none.
- What a viewer refuses or cannot hold is said in the table, and must be what `KNOWN` says; anything else fails the run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
from playwright.sync_api import sync_playwright

from pipeline import Request, convert_all
from tests.clients import in_mricron, in_niivue, in_slicer
from tests.clients.judged import Judged
from tests.clients.our_files import ROOT, OurFile, convert_cases
from tests.clients.page import write_page
from tests.helpers.cases import has_samples, samples_folder

FOLDER = ROOT / "build" / "clients"
_CHROMIUM = os.environ.get("VERIMASK_CHROMIUM") or shutil.which("chromium")
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
# ITK reads no affine that shears; a file kept sheared on purpose says so in its record (KEPT_SHEAR).
KNOWN = {(in_slicer.NAME, "tilt-kept-as-shear"): "refused: the grid is sheared"}


def main() -> int:
    parser = argparse.ArgumentParser(description="open our files in real viewers")
    parser.add_argument("--write", action="store_true", help="write docs/clients.md")
    wants = parser.parse_args()
    missing = [program for program in in_mricron.NEEDED if shutil.which(program) is None]
    if missing or not PYTHON.exists():
        print(
            f"missing: {', '.join(missing) or PYTHON}; apt-get install xvfb mricron xdotool imagemagick",
            file=sys.stderr,
        )
        return 2
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    files = list(convert_cases(FOLDER / "cases"))
    judged = [*_in_slicer(files), *_in_niivue(files), *_in_mricron()]
    faults = [one for one in judged if not one.holds and (one.viewer, one.case) not in KNOWN]
    for one in faults:
        print(f"{one.viewer}: {one.case}: {one.file}: {one}")
    print(f"{len(judged)} openings of {len(files)} files, {len(faults)} faults")
    if wants.write and not faults:
        versions = {
            in_slicer.NAME: in_slicer.version(PYTHON),
            in_niivue.NAME: in_niivue.version(),
            in_mricron.NAME: in_mricron.version(),
        }
        write_page(ROOT / "docs" / "clients.md", judged, versions, KNOWN)
    return bool(faults)


def _in_slicer(files: Sequence[OurFile]) -> list[Judged]:
    _must_be_seen(in_slicer.ask(PYTHON, [_moved(files[0])], FOLDER))
    return list(in_slicer.ask(PYTHON, files, FOLDER))


def _in_niivue(files: Sequence[OurFile]) -> list[Judged]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        _must_be_seen(in_niivue.ask(page, [_moved(files[0])]))
        judged = list(in_niivue.ask(page, files))
        browser.close()
    return judged


def _in_mricron() -> list[Judged]:
    if not has_samples():
        print("  left out: the real samples are not here")
        return []
    pairs = list(_pairs())
    _, image, mask = pairs[0]
    _must_be_seen(in_mricron.ask([("moved", image, _move(mask))], FOLDER))
    return list(in_mricron.ask(pairs, FOLDER))


def _pairs() -> Iterator[tuple[str, Path, Path]]:
    """Image and mask of the nine ROIs of the IBSI data."""
    source = samples_folder() / "theibsi+data_sets" / "ibsi_validation" / "dicom"
    done, _ = convert_all([source], FOLDER / "pairs", request=Request(images=True))
    images = [one for one in done if one.labels is None]
    for mask in (one for one in done if one.labels is not None):
        uid = mask.record["SourceSeriesInstanceUID"]
        image = next(one for one in images if one.record["SeriesInstanceUID"] == uid)
        yield mask.output.name.split("_seg-")[0], image.output, mask.output


def _moved(ours: OurFile) -> OurFile:
    """The same, with its file 5 mm further to the right."""
    return replace(ours, path=_move(ours.path))


def _move(path: Path) -> Path:
    image = nibabel.nifti1.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 5
    moved = FOLDER / f"moved-{path.name}"
    nibabel.nifti1.Nifti1Image(image.dataobj, affine, image.header).to_filename(moved)
    return moved


def _must_be_seen(judged: Iterator[Judged]) -> None:
    for one in judged:
        if one.holds:
            raise AssertionError(f"{one.viewer} has not seen that a file was moved")


if __name__ == "__main__":
    sys.exit(main())
