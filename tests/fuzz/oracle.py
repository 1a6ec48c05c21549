"""Judge the files that were written of an input: every voxel at its place in the world with its value, and none lost.

Rules:
- The truth is `oracle_reading`, and the file is read by nibabel; nothing of the package is used.
- Both ways: what is in the file is in the input at that place with that value, and every plane of the series is in a file, or its
  file is named in the record.
- Values of an image are the physical ones. Those of a mask are a one-to-one naming of the stored ones, 0 for 0; of a SEG, each label is
  one segment; of an overlay, 1 is where its bits are.
- What cannot be said is said to be unjudged: contours and their filling, bundles, mosaics, masks burned into images, colours, lossy
  frames, files with two readings. Of those that lie on planes, the places are judged all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from numpy.typing import NDArray

from tests.fuzz.oracle_reading import SEGMENTATIONS, STRUCTURE_SET, Reading, ReadPlane, read_folder

Array = NDArray[Any]
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NOWHERE = "voxels where no plane lies"
_NOWHERE = "voxels where no plane lies"
_WITHIN_MM, _WITHIN_PART = 0.1, 0.1  # of the smallest spacing: what the package promises of every plane


class Judgement(NamedTuple):
    """Of one file. verdict: "right", "wrong" or "unjudged". kind: of a wrong one. words: why."""

    verdict: str
    kind: str = ""
    words: str = ""


class Written(NamedTuple):
    """A file that was written. lps: index to LPS mm. values: as the file says them, scaled. record: beside it."""

    name: str
    lps: Array
    values: Array
    record: dict[str, Any]

    @property
    def limit_mm(self) -> float:
        return min(_WITHIN_MM, _WITHIN_PART * float(np.linalg.norm(self.lps[:3, :3], axis=0).min())) + 2e-3


def judge(inputs: Path, outputs: Path, *, is_whole: bool, said: str = "", given: Path | None = None) -> list[Judgement]:
    """Judge every NIfTI file below a folder against the files it was made of.

    Args:
        inputs: the folder that was read.
        outputs: the folder that was written.
        is_whole: whether nothing was said to be refused, so that every plane must be in a file.
        said: what the command printed, which may name files that the record does not.
        given: the part of that folder that the command was given; by default all of it.
    """
    files = [_open(path) for path in sorted(outputs.rglob("*.nii.gz"))]
    try:
        reading = read_folder(inputs)
    except Exception as error:
        return [Judgement("unjudged", words=f"the input: {error}")]
    found = [_judge_file(file, reading) for file in files]
    if is_whole and all(one.verdict == "right" for one in found):
        names = {path.name for path in (given or inputs).rglob("*")}
        reading.unread = [name for name in reading.unread if name in names]
        if given is not None and given != inputs and given.is_dir():  # others of its series may lie beside it
            reading.planes = [plane for plane in reading.planes if plane.file in names]
        found += list(_lost(files, reading, said))
    return found


def _open(path: Path) -> Written:
    image = nibabel.load(path)
    record = json.loads(path.with_name(path.name[:-7] + ".json").read_text("utf-8"))
    values = np.asanyarray(image.dataobj)  # scaled where the header says so
    return Written(path.name, _TO_LPS @ image.affine, values, record)


def _judge_file(file: Written, reading: Reading) -> Judgement:
    if reading.doubt:
        return Judgement("unjudged", words=reading.doubt)
    if file.values.ndim != 3 or file.values.dtype.kind not in "iuf":
        return Judgement("unjudged", words="more than three dimensions, or colours")
    source = str(file.record.get("MaskSource", ""))
    if source.startswith("Mimics") or "Assumed" in file.record["Geometry"]:
        return Judgement("unjudged", words="a bundle" if source else "assumed places")
    if source == "RTSTRUCT" or (STRUCTURE_SET in reading.kinds and source):
        return Judgement("unjudged", words="contours")
    if source == "SEG":
        every = [p for p in reading.planes if p.kind in SEGMENTATIONS]
        each = [[p for p in every if p.file == name] for name in dict.fromkeys(p.file for p in every)]
        found = [_judge_seg(file, planes) for planes in (every, *(each if len(each) > 1 else ()))]
        return next(
            (one for one in found if one.verdict == "right"), found[0]
        )  # SEGs are joined, or one of them is refused
    series = str(file.record.get("SeriesInstanceUID", ""))
    planes = [p for p in reading.planes if _same_uid(p.series, series)]
    if not planes:
        return Judgement("unjudged", words="its series was not read")
    if any(_is_sheet(plane, file) for plane in planes):
        return Judgement("unjudged", words="a sheet of many planes")
    found = _judge_planes(file, planes)
    if found.kind == _NOWHERE and reading.unread:
        return Judgement("unjudged", words=f"{reading.unread[0]} cannot be read plainly")
    if found.kind == _NOWHERE:  # files that were joined into one series, whatever theirs is
        found = _judge_planes(file, [p for p in reading.planes if p.kind not in SEGMENTATIONS])
    return found


def _is_sheet(plane: ReadPlane, file: Written) -> bool:
    """Whether a plane holds several of those of the file side by side, which only its maker's own attributes place."""
    rows, columns = plane.stored.shape
    return rows > file.values.shape[1] and columns >= file.values.shape[0] and file.values.shape[2] > 1


def _same_uid(one: str, other: str) -> bool:
    return one.replace("\\", "").strip(" \0[]'") == other.replace("\\", "").strip(" \0[]'")


def index_of(file: Written, plane: ReadPlane) -> Array | None:
    """(rows, columns, 3) indices of the file that the pixels of a plane lie on; None where they lie on none or outside."""
    rows, columns = plane.stored.shape
    j, i = np.mgrid[0:rows, 0:columns]
    places = np.stack([i, j, np.ones_like(i)], axis=-1) @ plane.lps.T
    if not places.size or np.linalg.det(file.lps) == 0:
        return None
    back = np.linalg.inv(file.lps)
    index = places @ back[:3, :3].T + back[:3, 3]
    near = np.rint(index)
    away = np.linalg.norm((index - near) @ file.lps[:3, :3].T, axis=-1)
    if not np.isfinite(away).all() or away.max() > file.limit_mm:
        return None
    if (near < 0).any() or (near >= file.values.shape[:3]).any():
        return None
    return near.astype(int)


def _judge_planes(file: Written, planes: Sequence[ReadPlane]) -> Judgement:
    """Hold a file against the planes of its series."""
    if any(p.doubt for p in planes):
        return Judgement("unjudged", words=next(p.doubt for p in planes if p.doubt))
    laid = [(plane, index) for plane in planes if (index := index_of(file, plane)) is not None]
    covered = np.zeros(file.values.shape, bool)
    for _, index in laid:
        covered[tuple(np.moveaxis(index, -1, 0))] = True
    if (file.values[~covered] != 0).any():
        return Judgement("wrong", _NOWHERE, f"{file.name}: {int((file.values[~covered] != 0).sum())} voxels")
    is_told = any(finding["Code"] == "PIXEL_LENGTH" for finding in file.record.get("Findings", ()))
    if not is_told and (spare := [p for p, _ in laid if p.spare >= max(2, p.stored.shape[1])]):
        return Judgement(
            "wrong",
            "pixels of the file that are in no plane",
            f"{file.name}: {spare[0].spare} bytes of {spare[0].file}",
        )
    pairs = [(file.values[tuple(np.moveaxis(index, -1, 0))], plane) for plane, index in laid]
    if "Part" in file.record:
        pairs = _of_part(file, pairs)
    if file.record.get("Labels") is None:
        return _judge_image(file, pairs)
    groups = sorted({group for plane, _ in laid for group in plane.overlays})
    from_overlay = [label.get("StoredValue") for label in file.record["Labels"] if label.get("StoredValue") in groups]
    if from_overlay:
        empty = np.zeros(1, np.uint8)
        return _judge_bits(file, [(v, p.overlays.get(from_overlay[0], empty)) for v, p in pairs])
    if any(finding["Code"] in ("EXPORT_RECOGNISED", "VALUES_TAKEN") for finding in file.record["Findings"]):
        return Judgement("unjudged", words="a mask within an image")
    return _judge_naming(file, pairs)


def _of_part(file: Written, pairs: Sequence[tuple[Array, ReadPlane]]) -> list[tuple[Array, ReadPlane]]:
    """Of planes at one place those that fit, if any does: the others are in other parts of the series, and judged there."""
    judge_values = _judge_image if file.record.get("Labels") is None else _judge_naming
    at: dict[bytes, list[tuple[Array, ReadPlane]]] = {}
    for pair in pairs:
        at.setdefault(np.round(pair[1].lps, 3).tobytes(), []).append(pair)
    fitting = ([pair for pair in group if judge_values(file, [pair]).verdict == "right"] for group in at.values())
    return [pair for group, fits in zip(at.values(), fitting, strict=True) for pair in fits or group]


def _judge_image(file: Written, pairs: Sequence[tuple[Array, ReadPlane]]) -> Judgement:
    for values, plane in pairs:
        bound = 1e-6 * np.maximum(1.0, np.abs(plane.physical)) + 1e-6
        off = np.abs(values - plane.physical) > bound
        if off.any():
            at = tuple(int(n) for n in np.argwhere(off)[0])
            words = f"{file.name}: {values[at]} and not {plane.physical[at]} of row and column {at} of {plane.file}"
            return Judgement("wrong", "another value", words)
    return Judgement("right")


def _judge_bits(file: Written, pairs: Sequence[tuple[Array, Array]]) -> Judgement:
    for values, bits in pairs:
        if ((values != 0) != (bits != 0)).any():
            return Judgement("wrong", "other bits than the overlay's", file.name)
    return Judgement("right")


def _judge_naming(file: Written, pairs: Sequence[tuple[Array, ReadPlane]]) -> Judgement:
    """Every stored value has one label, every label one stored value."""
    name: dict[int, float] = {}
    for values, plane in pairs:
        both = np.stack([plane.stored.astype(np.float64).ravel(), values.astype(np.float64).ravel()], axis=1)
        for stored, label in np.unique(both, axis=0):
            if name.setdefault(stored, label) != label:
                return Judgement(
                    "wrong",
                    "one stored value is two labels",
                    f"{file.name}: {stored} of {plane.file} is {name[stored]} and {label}",
                )
    if len(set(name.values())) < len(name):
        return Judgement("wrong", "two stored values are one label", f"{file.name}: {name}")
    if name.get(0, 0) != 0 and len(name) > 2:
        return Judgement("wrong", "0 is not the background", f"{file.name}: {name}")
    return Judgement("right")


def _judge_seg(file: Written, planes: Sequence[ReadPlane]) -> Judgement:
    """Each label of the file is where one segment is."""
    if any(p.doubt for p in planes) or not planes:
        return Judgement("unjudged", words="a SEG in doubt")
    if any(finding["Code"] == "FRACTIONAL_THRESHOLD" for finding in file.record["Findings"]):
        if any(plane.stored.max(initial=0) > plane.most for plane in planes):
            return Judgement("unjudged", words="fractions above their maximum")
        where = _segments(file, planes, lambda plane: plane.stored >= plane.most / 2)
    else:
        where = _segments(file, planes, lambda plane: plane.stored != 0)
    if where is None:
        return Judgement("wrong", "frames of the SEG that lie outside", file.name)
    for label in np.unique(file.values[file.values != 0]):
        mine = {tuple(index) for index in np.argwhere(file.values == label).tolist()}
        if mine not in where.values():
            return Judgement("wrong", "a label where no segment is", f"{file.name}: label {label}")
    return Judgement("right")


def _segments(
    file: Written, planes: Sequence[ReadPlane], inside: Callable[[ReadPlane], Array]
) -> dict[int, set[tuple[int, ...]]] | None:
    """The indices of the file where each segment is; None where a frame that is not empty lies on none."""
    where: dict[int, set[tuple[int, ...]]] = {}
    for plane in planes:
        set_ = inside(plane)
        if not set_.any():
            continue
        index = index_of(file, plane)
        if index is None:
            return None
        for number in np.unique(plane.stored[set_]) if plane.segment is None else (plane.segment,):
            here = set_ & (plane.stored == number) if plane.segment is None else set_
            where.setdefault(int(number), set()).update(map(tuple, index[here].tolist()))
    return where


def judge_plain(inputs: Path, outputs: Path) -> list[Judgement]:
    """Judge files that another program wrote, of which nothing is known: each plane that lies on a file has its values there, nothing
    else is in it, and no plane of those series is in none."""
    reading = read_folder(inputs)
    if reading.doubt or any(plane.doubt for plane in reading.planes):
        return [Judgement("unjudged", words="an input with two readings")]
    files = []
    for path in sorted([*outputs.rglob("*.nii.gz"), *outputs.rglob("*.nii")]):
        image = nibabel.load(path)
        files.append(Written(path.name, _TO_LPS @ image.affine, np.asanyarray(image.dataobj), {"Labels": None}))
    found = [_judge_plain(file, reading.planes) for file in files]
    if reading.unread:  # what lies where nothing plain does may be of a file that the oracle cannot read
        found = [Judgement("unjudged") if one.kind.startswith(("no plane", "voxels where")) else one for one in found]
    seen = {plane.series for plane in reading.planes if any(_is_on(plane, file) for file in files)}
    for plane in reading.planes:
        if plane.series in seen and not any(_is_on(plane, file) for file in files):
            found.append(Judgement("wrong", "a plane of the series is lost", plane.file))
    return found


def _is_on(plane: ReadPlane, file: Written) -> bool:
    return file.values.ndim == 3 and index_of(file, plane) is not None


def _judge_plain(file: Written, planes: Sequence[ReadPlane]) -> Judgement:
    if file.values.ndim != 3 or file.values.dtype.kind not in "iuf":
        return Judgement("unjudged", words="more than three dimensions, or colours")
    mine = [plane for plane in planes if _is_on(plane, file)]
    if not mine:
        return Judgement("wrong", "no plane lies where the file says", file.name)
    return _judge_planes(file, mine)


def _lost(files: Sequence[Written], reading: Reading, said: str) -> Iterator[Judgement]:
    """Planes of the series of a file that are in no file and not told of; files beside them that are not told of.

    A file is told of by its name, where it was printed or recorded; or by a finding of the scan, where records name no files.
    """
    findings = [finding for file in files for finding in file.record["Findings"]]
    said += json.dumps(findings, ensure_ascii=False)
    told = sum(finding.get("Stage", "").upper() == "SCAN" for finding in findings)
    series = {str(file.record.get("SeriesInstanceUID", "")) for file in files}
    if any(file.record.get("MaskSource") for file in files):
        return
    mine = [p for p in reading.planes if any(_same_uid(p.series, uid) for uid in series) and p.file not in said]
    lost = [plane.file for plane in mine if all(index_of(file, plane) is None for file in files)]
    unread = [name for name in reading.unread if name.endswith(".dcm") and name not in said]
    if len({*lost, *unread}) <= told:
        return
    if lost:
        yield Judgement("wrong", "a plane of the series is lost in silence", ", ".join(lost))
    elif len(reading.unread) < 3:
        yield Judgement("wrong", "a file was left out in silence", ", ".join(unread))
