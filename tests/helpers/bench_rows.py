"""The rows of docs/benchmarks.md: which programs run on which data, what is checked, and what is aimed at.

Rules:
- `verimask` is the default: every proof and the cross-check on.
- A row of the short run has data a few hundred MB large, and leaves out what takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers import bench_tools as tools
from tests.helpers.bench_table import Aim
from tests.helpers.bench_tools import Tool

_SITK = """import sys, SimpleITK as s
r = s.ImageSeriesReader(); r.SetFileNames(r.GetGDCMSeriesFileNames(sys.argv[1]))
s.WriteImage(r.Execute(), sys.argv[2], sys.argv[2].endswith("gz"))"""
_D2N = "import sys, dicom2nifti; dicom2nifti.dicom_series_to_nifti(sys.argv[1], sys.argv[2])"
_HIGHDICOM = """import sys, pathlib, numpy, nibabel, highdicom
v = highdicom.seg.segread(next(pathlib.Path(sys.argv[1]).iterdir())).get_volume(combine_segments=True)
a = numpy.diag([-1., -1, 1, 1]) @ numpy.array(v.affine)[:, [2, 1, 0, 3]]
nibabel.save(nibabel.Nifti1Image(v.array.T.astype("uint8"), a), sys.argv[2])"""
_OURS, _UNCHECKED = "verimask", "verimask --crosscheck off"
_DEFAULT, _FASTEST = "dcm2niix -z y", ("dcm2niix -z y -1", "dcm2niix -z i", "dcm2niix -z i -1")
_PLASTIMATCH, _TWO_AT_A_TIME = "plastimatch", "dcm2niix -z y, two at a time"
_IMAGES = ("SimpleITK", "dicom2nifti")
ROIS, BATCH = 40, 24

Folder = Callable[[str], Path]  # the folder of a data set, built if it is not there


@dataclass(frozen=True)
class Row:
    """name: as in the table. data: the set that is given to the programs. base: the program that ratios are to.

    checks: how the files of a program are held against those of the first: values, overlap, some or same.
    rounds: the most rounds after the first run, which is for the memory and the checks.
    """

    name: str
    data: str
    programs: Sequence[Tool]
    base: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)
    aims: Mapping[str, Sequence[Aim]] = field(default_factory=dict)
    rounds: int = 7


def rows_of(name: str, suffix: str, folder: Folder, *, fast: bool) -> Row:
    """The row of a data set; the suffix is for single series."""
    kind = name.rstrip("0123456789")
    count = int(name.removeprefix(kind) or 0)
    if kind == "batch":
        return _batch(name, count or BATCH)
    if kind == "rtstruct":
        return _rtstruct(folder, fast=fast)
    if kind in ("nested", "pair"):
        return _nested(name, folder)
    if kind == "volumes":
        return _volumes(name, count)
    if kind in ("files", "spread", "same"):
        words = {"files": "in one series", "spread": f"in {count // 10} series", "same": "of one SOP Instance UID"}
        return Row(f"{count} files {words[kind]}", name, [tools.verimask_series()], rounds=2)
    return _seg(folder) if kind == "seg" else _single(name, suffix, fast=fast)


def _single(name: str, suffix: str, *, fast: bool) -> Row:
    """One series: dcm2niix, and the libraries that people write scripts with."""
    image = [] if name.startswith("mask") else ["--as", "image"]
    output = f"out{suffix}"
    mine = [
        tools.verimask(_OURS, *image, output=output),
        tools.verimask(_UNCHECKED, *image, "--crosscheck", "off", output=output),
    ]
    zipped = {"-z y": ("-z", "y"), "-z y -1": ("-z", "y", "-1"), "-z i": ("-z", "i"), "-z i -1": ("-z", "i", "-1")}
    options = {"-z n": ("-z", "n")} if suffix == ".nii" else zipped
    theirs = [tools.reference(f"dcm2niix {words}", output, *given) for words, given in options.items()]
    libraries = [tools.scripted("SimpleITK", _SITK, output), tools.scripted("dicom2nifti", _D2N, output)]
    others = theirs if fast else [*theirs, *libraries]
    return Row(
        f"{name} {suffix}",
        name,
        [*mine, *others],
        others[0].name,
        {_UNCHECKED: "same", **{tool.name: "values" for tool in others}},
        _aims_of_single(name, suffix, fast=fast),
    )


def _aims_of_single(name: str, suffix: str, *, fast: bool) -> dict[str, list[Aim]]:
    aims: dict[str, list[Aim]] = {_OURS: [], _UNCHECKED: []}
    if (name, suffix) == ("ct300", ".nii.gz"):
        aims[_OURS] += [Aim(0.22, against=(_DEFAULT,)), Aim(1.0, against=_FASTEST)]
    limits = {("mask300", ".nii.gz"): (1.2, 1.0, _DEFAULT), ("ct300", ".nii"): (1.3, 1.0, "dcm2niix -z n")}
    if (name, suffix) in limits:
        checked, unchecked, other = limits[name, suffix]
        aims[_OURS].append(Aim(checked, against=(other,)))
        aims[_UNCHECKED].append(Aim(unchecked, against=(other,)))
    if name in ("ct300", "ct1000", "mask300", "mask1000") and not fast:
        aims[_OURS].append(Aim(0.7, against=_IMAGES))
    return aims


def _rtstruct(folder: Folder, *, fast: bool) -> Row:
    source = ("--source", str(folder("ct300")))
    alone, two = f"{_OURS} --jobs 1", f"{_OURS} --jobs 2"
    mine = [
        tools.verimask(_OURS, *source, files=ROIS),
        tools.verimask(alone, *source, "--jobs", "1", files=ROIS),
        tools.verimask(two, *source, "--jobs", "2", files=ROIS),
    ]
    # Minutes go by before its first mask, so the short run leaves it out.
    crawler = [] if fast else [tools.med_imagetools(ROIS, folder("patient"), limit=300)]
    peers = [tools.plastimatch(ROIS, folder("ct300")), *crawler]
    return Row(
        f"{ROIS} ROIs on 512 × 512 × 300",
        "rtstruct",
        [*mine, *peers],
        _PLASTIMATCH,
        {alone: "same", two: "same", **{tool.name: "some" if fast else "overlap" for tool in peers}},
        {_OURS: [Aim(0.15, against=(_PLASTIMATCH,)), Aim(150, "MiB")]},
        rounds=1 if fast else 5,
    )


def _nested(name: str, folder: Folder) -> Row:
    nested = name == "nested"
    images = folder("ct300" if nested else "ct60")
    words = "body minus lungs, 200 planes of 1000 + 400 + 400 points" if nested else f"nested pair of {name[4:]} points"
    peer = tools.plastimatch(1, images, "--xor-contours")
    return Row(
        words,
        name,
        [tools.verimask(_OURS, "--source", str(images), limit=180), peer],
        peer.name,
        {peer.name: "overlap"},
        {_OURS: [Aim(2 if nested else 3)]},
        rounds=3,
    )


def _volumes(name: str, volumes: int) -> Row:
    """One file of four dimensions, which ours writes into a folder only: one file by name is one volume."""
    options = ("--as", "image")
    other = tools.reference("dcm2niix -z y", "out.nii.gz", "-z", "y")
    aims = [Aim(2, against=(_UNCHECKED,))]
    if volumes > 97:
        aims = [Aim(round(volumes / 97, 1), against=(_OURS,), row=_volumes_name(97))]
    return Row(
        _volumes_name(volumes),
        name,
        [
            tools.verimask(_OURS, *options, limit=300),
            tools.verimask(_UNCHECKED, *options, "--crosscheck", "off", limit=300),
            other,
        ],
        other.name,
        {_UNCHECKED: "same", other.name: "values"},
        {_OURS: aims},
        rounds=3,
    )


def _volumes_name(volumes: int) -> str:
    return f"{volumes} volumes of 64 × 64 × 24"


def _batch(name: str, series: int) -> Row:
    options = ("--as", "image")
    alone, two = f"{_OURS} --jobs 1", f"{_OURS} --jobs 2"
    return Row(
        f"{series} series of 60 planes",
        name,
        [
            tools.verimask(alone, *options, "--jobs", "1", files=series),
            tools.verimask(two, *options, "--jobs", "2", files=series),
            tools.verimask(f"{two} --crosscheck off", *options, "--jobs", "2", "--crosscheck", "off", files=series),
            tools.reference_batch(series),
        ],
        _TWO_AT_A_TIME,
        {two: "same"},
        {two: [Aim(0.12, against=(_TWO_AT_A_TIME,))]},
        rounds=2,
    )


def _seg(folder: Folder) -> Row:
    others = [tools.dcmqi(5), tools.scripted("highdicom and nibabel", _HIGHDICOM, "out.nii.gz")]
    return Row(
        "SEG of 5 × 300 frames",
        "seg",
        [tools.verimask(_OURS, "--source", str(folder("ct300"))), *others],
        others[0].name,
        {tool.name: "overlap" for tool in others},
        rounds=3,
    )
