"""Write the paragraph on a conversion that a paper's Methods section needs, and the reference to cite.

Rules:
- Every statement is taken from the record: what was converted, by which version, how it was proven, and by whom confirmed.
- What did not hold is in the paragraph too. Nothing of a patient is, and no description that somebody typed at a scanner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..core.policy import Policy
from .record import RecordFile
from .words import describe_bound, format_mm, join_names

TITLE = "verimask: DICOM masks to NIfTI, with a proof of where every voxel lies"
AUTHOR = "The verimask maintainers"

_SOURCES = {"SEG": "a DICOM Segmentation (SEG)", "RTSTRUCT": "a DICOM RT Structure Set"}
_PACKAGES = {"python": "Python", "pydicom": "pydicom", "numpy": "NumPy"}  # those that read the headers and compute
# Options that change nothing of the voxels or their place, and the choice between image and mask, which the text names.
_NOT_SAID = frozenset(("As", "Crosscheck", "GzipLevel", "KeepDisputed", "LabelsFile", "WitnessLimitS", "Write"))
_DEFAULT_REQUEST = {"Undecided": "surrounded"}
_NOTHING: tuple[object, ...] = (None, False, [])


def describe_methods(record: RecordFile) -> str:
    """Describe a conversion as the Methods section of a paper does."""
    sentences = [
        _describe_conversion(record),
        *_describe_proof(record),
        *_describe_readers(record),
        *_describe_choices(record),
    ]
    return " ".join(sentences)


def make_bibtex(record: RecordFile) -> str:
    """Make the reference to the program, in the version that made the file, for BibTeX."""
    version = record.values["ConversionSoftwareVersion"]
    fields = {"author": f"{{{AUTHOR}}}", "title": TITLE, "version": version, "license": "MIT"}
    lines = "".join(f"  {key} = {{{value}}},\n" for key, value in fields.items())
    return f"@software{{verimask,\n{lines}}}"


def _describe_conversion(record: RecordFile) -> str:
    values = record.values
    versions = values["Provenance"]["Versions"]
    packages = ", ".join(f"{name} {versions[key]}" for key, name in _PACKAGES.items() if key in versions)
    size = f"{_times(values['Shape'])} voxels of {_times(values['Geometry']['SpacingMm'][:3])} mm"
    made_with = f"verimask {values['ConversionSoftwareVersion']}" + (f" ({packages})" if packages else "")
    made = "written from an array on the grid of" if "Array" in values else "converted from"
    if not values["Provenance"]["Inputs"]:
        return (
            f"The {_name_result(record)} ({size}) was written from an array and its affine to NIfTI with {made_with}."
        )
    return f"The {_name_result(record)} ({size}) was {made} {_name_source(record)} to NIfTI with {made_with}."


def _name_result(record: RecordFile) -> str:
    if not record.is_mask:
        return "image"
    count = len(record.values["Labels"])
    return f"mask of {count} label{'s' if count != 1 else ''}"


def _name_source(record: RecordFile) -> str:
    values = record.values
    source, count = str(values.get("MaskSource", "")), len(values["Provenance"]["Inputs"])
    series = f"a DICOM series of {len(values['Planes']['Index'])} planes"
    device = " ".join(str(values[key]) for key in ("Manufacturer", "ManufacturersModelName") if values.get(key))
    parts = ["" if source else str(values.get("Modality", "")), device, f"{count} file{'s' if count != 1 else ''}"]
    return f"{_SOURCES.get(source, f'a {source}') if source else series} ({', '.join(filter(None, parts))})"


def _describe_proof(record: RecordFile) -> Iterator[str]:
    """Describe how the place and the file were proven."""
    geometry, planes = record.values["Geometry"], len(record.values["Planes"]["Index"])
    fit = describe_bound(geometry["CornerResidualMm"])
    if "ResampledMm" in geometry:
        yield f"Each label was taken to the nearest voxel of the grid, {fit} of where its own plane puts it."
    elif planes:
        every = f"each of the {planes} planes" if planes > 1 else "the one plane"
        yield (
            "The affine was computed from Image Position (Patient), Image Orientation (Patient) and Pixel Spacing; "
            f"{every} lay {fit} of where its own header puts it."
        )
    elif not record.values["Provenance"]["Inputs"]:
        yield "No DICOM was held against that affine."
    else:
        yield f"The grid fitted the positions that its source gives {fit}."
    if geometry.get("Assumed"):
        yield f"Its place was partly assumed: {geometry['Assumed']}."
    header = describe_bound(geometry["HeaderDeviationMm"])
    yield f"The file was read back after writing: its voxels were those meant, bit for bit, and its affine held {header}."


def _describe_readers(record: RecordFile) -> Iterator[str]:
    """Describe what other readers of the same files gave, those that agree in one sentence."""
    witnesses = list(record.values.get("CrossCheck", []))
    agreeing = [w for w in witnesses if w["Status"] in ("AGREES", "REORDERED")]
    if agreeing:
        far = describe_bound(max(w["MaxCornerMm"] for w in agreeing))
        readers = "Independent readers" if len(agreeing) > 1 else "An independent reader"
        names = join_names([f"{w['Witness']} {w['Version']}" for w in agreeing])
        what = "the source images" if record.values.get("MaskSource") else "the same files"
        saw_mask = [w for w in agreeing if record.values.get("MaskSource") and w.get("Saw") == "voxels"]
        if saw_mask:
            what = "the same files" if len(saw_mask) == len(agreeing) else "the mask or its source images"
        yield f"{readers} of {what}, {names}, agreed {far} on the corners of the volume{_count_voxels(agreeing)}."
    for w in witnesses:
        if w not in agreeing:
            yield f"{w['Witness']} {w['Version']} did not confirm it ({w['Words']})."
    if not agreeing:
        yield "No other program confirmed the result."
    yield f"The verdict was {record.verdict}."


def _count_voxels(agreeing: Iterable[dict[str, Any]]) -> str:
    """Describe how many voxels differ, at most, in what readers gave that were compared voxel by voxel."""
    counts = [w["VoxelsDiffering"] for w in agreeing]
    compared = [count for count in counts if count is not None]
    if not compared:
        return "; voxels were not compared"
    whose = "" if len(compared) == len(counts) else f" for {len(compared)} of them"
    return f", and {max(compared) or 'no'} voxels differed{whose}"


def _describe_choices(record: RecordFile) -> Iterator[str]:
    """Describe the options that were not the defaults, and the warnings."""
    options = [*_list_policy(record.values.get("Policy", {})), *_list_request(record.values.get("Request", {}))]
    if options:
        yield f"Options other than the defaults: {', '.join(options)}."
    codes = dict.fromkeys(str(f.get("Code", "")) for f in record.warnings)
    if codes:
        yield f"Warnings: {', '.join(codes)}."


def _list_policy(policy: dict[str, Any]) -> Iterator[str]:
    usual = Policy().as_json()
    for key, value in policy.items():
        if key in usual and key not in _NOT_SAID and value != usual[key]:
            yield f"{_option(key[:-2])} {format_mm(value)}" if key.endswith("Mm") else _as_option(key, value)


def _list_request(request: dict[str, Any]) -> Iterator[str]:
    for key, value in request.items():
        if value not in _NOTHING and value != _DEFAULT_REQUEST.get(key) and key not in ("Series", "Images"):
            yield _as_option(key, value)


def _as_option(key: str, value: Any) -> str:
    if value is True:
        return _option(key)
    if not isinstance(value, list):
        return f"{_option(key)} {value}"
    pairs = ("=".join(map(str, item)) if isinstance(item, list) else str(item) for item in value)
    return f"{_option(key)} {', '.join(pairs)}"


def _option(key: str) -> str:
    """OnGap -> on-gap"""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in key).lstrip("-")


def _times(numbers: Iterable[float]) -> str:
    return " × ".join(f"{n:.6g}" for n in numbers)
