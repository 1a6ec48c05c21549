"""Give spoilt files to the readers, in process: everything up to what would be written, voxels included.

Rules:
- A reader gives, or refuses with a PipelineError that is none of a bug; anything else is raised to who asked.
- No witness is asked. The first number of an input decides what is asked of it, where there is a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pipeline.conversion.from_bundle
import pipeline.conversion.from_planes
import pipeline.conversion.from_rtstruct
import pipeline.conversion.from_seg
import pipeline.diagnosis.diagnose
import pipeline.diagnosis.explain_seg
import pipeline.diagnosis.explain_series
import pipeline.diagnosis.explain_structure_set
import pipeline.encode.seg
import pipeline.regression.run_cases
import pipeline.report.page
import pipeline.report.viewer  # noqa: F401 (what a command would import is there before the first is tried)
from pipeline.cohort.labels.label_map_file import parse_label_map, read_label_text
from pipeline.conversion.looks import Looks
from pipeline.conversion.option_effects import Asked
from pipeline.conversion.product import Product
from pipeline.conversion.products import Item, find_entries, finish_product, items_of
from pipeline.conversion.request import Request, silent
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.diagnosis.check import PlacedBlock, check_values, compare, read_values
from pipeline.diagnosis.explain import explain_affine
from pipeline.diagnosis.verify import verify
from pipeline.encode.segments import describe_segments
from pipeline.mimics.bundle import read_bundle
from pipeline.nifti.file import read_header, read_planes
from pipeline.nifti.header import require_affine
from pipeline.regression.case_list import read_case_list
from pipeline.report.record import check_file, read_record
from pipeline.volume.mask import Segment
from tests.fuzz.outcomes import BUG
from tests.fuzz.seeds import Seed

POLICY = Policy(crosscheck="off")
Reader = Callable[[Path, Seed, Random], None]


def read(seed: Seed, folder: Path, rng: Random) -> None:
    """Read everything in a folder as what the seed is. Raises what the readers raise."""
    _READERS[seed.read](folder, seed, rng)


def _dicom(folder: Path, seed: Seed, rng: Random) -> None:
    """Scan, decide, decode and read every voxel of everything there."""
    policy = replace(POLICY, as_="image" if seed.as_ == "image" or rng.random() < 0.1 else "mask")
    source = (folder / "src",) if (folder / "src").is_dir() and rng.random() < 0.5 else ()
    looks = Looks()
    asked = Asked(Request(source=source), policy, gzipped=True, in_one=False, looks=looks, lone_images=True)
    plan = find_entries([folder / "mask"] if source else [folder], asked, silent)
    refused, given = None, 0
    for entry in plan.entries:
        for item in items_of(entry, plan.found, asked):
            try:
                _voxels(item, asked)
                given += 1
            except PipelineError as error:
                refused = worse(refused, error)
    if refused is not None and (not given or refused.finding.code is Code.UNEXPECTED):
        raise refused


def _voxels(item: Item, asked: Asked) -> None:
    if not isinstance(item.result, Product):
        raise item.result
    product = finish_product(item.result, item.found, asked)
    for k in range(product.volume.voxels.shape[2]):
        product.volume.voxels.plane(k)
    product.late()


def worse(one: PipelineError | None, other: PipelineError) -> PipelineError:
    """The refusal that is a bug, of two; else the first."""
    return other if one is None or other.finding.code is Code.UNEXPECTED else one


def _results(folder: Path, seed: Seed, rng: Random) -> None:
    """One of what lies among results: NIfTI files, a record, a bundle, descriptions of segments."""
    rng.choice((_nifti, _nifti, _record, _record, _bundle, _segments, _cases))(folder, seed, rng)


def _nifti(folder: Path, seed: Seed, rng: Random) -> None:
    for path in (folder / "m.nii", folder / "z.nii.gz"):
        header = read_header(path)
        check_values(read_values(path), header)
        for _ in read_planes(path):
            pass
        require_affine(header, path.name)
        block = PlacedBlock.of_file(path)
        compare(block, block)
        explain_affine(header.affine, header.shape[:3])


def _record(folder: Path, seed: Seed, rng: Random) -> None:
    for result in verify([folder / "z.nii.gz"]):
        said = str(result.as_json())
        if BUG in said:  # what it met is told of as one thing among others
            raise RuntimeError(said[said.index(BUG) :])
    check_file(read_record(folder / "z.json"))


def _bundle(folder: Path, seed: Seed, rng: Random) -> None:
    bundle = read_bundle(folder / "bundle")
    for mask in bundle.masks:
        mask.buffer.array()


def _cases(folder: Path, seed: Seed, rng: Random) -> None:
    read_case_list(folder / "cases.toml")


def _labels(folder: Path, seed: Seed, rng: Random) -> None:
    parse_label_map(read_label_text(folder / "labels.toml"))


def _segments(folder: Path, seed: Seed, rng: Random) -> None:
    describe_segments([Segment(1, "liver")], folder / "segments.toml")


_READERS: dict[str, Reader] = {
    "dicom": _dicom,
    "results": _results,
    "cases": _cases,
    "labels": _labels,
    "segments": _segments,
}
