"""Hold a NIfTI file against its record: its bytes, its header, and the labels counted from its voxels.

Rules:
- The header is made again from the record by what writes headers, and compared bit for bit. Slope and intercept of an image
  are not in the record: they are those of the file, which its hash holds.
- Labels are counted from the voxels a plane at a time. A file that its header makes larger than it can be is not counted.
- The nearest rotation is found by the machine's own linear algebra: of the quaternion the last bits may differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.findings import PipelineError
from ..core.regular_file import is_file
from ..dicom.source_file import sha256
from ..geometry.affine import LPS_TO_RAS, corner_distance, right_handed
from ..geometry.grid import Grid
from ..geometry.index_map import find_index_map
from ..nifti.file import GeometryBits, pack_header, read_geometry, read_planes
from ..nifti.header import FIELDS, FIRST_VOXEL, SIZE, NiftiHeader, parse_header
from ..nifti.streams import open_unpacked
from ..volume.colour import RGB24
from ..volume.label_table import Counter
from ..volume.mask import MaskVolume, Segment, Voxels
from .verify_record import affine_of, grid_of, takes_over_grid
from .verify_result import Broken, NotChecked, Note, RecordValues, computed, near, same, show

_HEADER = "header"
_NAMES = (
    "sizeof_hdr data_type db_name extents session_error regular dim_info dim[0] dim[1] dim[2] dim[3] dim[4] dim[5] dim[6] dim[7] "
    "intent_p1 intent_p2 intent_p3 intent_code datatype bitpix slice_start pixdim[0] pixdim[1] pixdim[2] pixdim[3] pixdim[4] pixdim[5] "
    "pixdim[6] pixdim[7] vox_offset scl_slope scl_inter slice_end slice_code xyzt_units cal_max cal_min slice_duration toffset glmax "
    "glmin descrip aux_file qform_code sform_code quatern_b quatern_c quatern_d qoffset_x qoffset_y qoffset_z "
    "srow_x[0] srow_x[1] srow_x[2] srow_x[3] srow_y[0] srow_y[1] srow_y[2] srow_y[3] srow_z[0] srow_z[1] srow_z[2] srow_z[3] "
    "intent_name magic"
).split()
_TURN = ("quatern_b", "quatern_c", "quatern_d")
_TURN_LIMIT = 2.0**-22  # two of the last bits of a float32 near 1
_TAKEN_OVER = tuple(f"pixdim[{n}]" for n in range(4)) + tuple(_NAMES[_NAMES.index("qform_code") : -2])


def check_hashes(file: Path, record: RecordValues) -> Iterator[Note]:
    """Check the bytes of the file, and of the file of label names beside it.

    Args:
        file: the NIfTI file, which is there.
        record: as its schema says.

    Returns: what is broken.
    """
    proof = record["Provenance"]
    yield from _check_hash("hash of the file", file, proof["OutputSHA256"])
    labels = proof.get("LabelsFile")
    if labels is not None:
        yield from _check_hash(
            "hash of the file of labels", file.with_name(Path(labels["File"]).name), labels["SHA256"]
        )


def _check_hash(what: str, path: Path, was: str) -> Iterator[Broken]:
    try:
        found = sha256(path) if is_file(path) else "the file is not there"
    except OSError as error:
        found = f"it cannot be read: {error.strerror}"
    yield from same(what, path.name, was, found)


def check_contents(file: Path, record: RecordValues, like: Path | None) -> Iterator[Note]:
    """Check the header and the labels.

    Args:
        file: the NIfTI file, which is there.
        record: as its schema says.
        like: the file whose grid and header it took over, where that was found.

    Returns: what is broken, and what could not be checked.
    """
    try:
        with open_unpacked(file) as stream:
            raw = stream.read(FIRST_VOXEL)
        header = parse_header(raw[:SIZE], file.name)
        bits = None if like is None else read_geometry(like)[1]
    except PipelineError as error:
        yield Broken("header", file.name, "a NIfTI-1 header", error.finding.message)
        return
    found = computed("header", "Geometry", lambda: _check_header(raw, header, record, bits))
    yield from found
    if "Labels" not in record:
        return
    if any(isinstance(note, Broken) and note.where.startswith(("dim", "datatype", "Shape")) for note in found):
        yield NotChecked("labels", "the header says another shape or type")
        return
    try:
        yield from computed("labels", "Labels", lambda: list(_check_labels(file, header, record)))
    except PipelineError as error:
        yield Broken("labels", file.name, "planes that can be read", error.finding.message)


def _check_header(raw: bytes, header: NiftiHeader, record: RecordValues, bits: GeometryBits | None) -> Iterator[Note]:
    """Compare every field with the header that the record makes."""
    is_mask, affine, shape = "Labels" in record, affine_of(record), tuple(record["Shape"])
    dtype = RGB24 if record["DataType"] == "RGB24" else np.dtype(record["DataType"])
    try:
        made, deviation = pack_header(
            affine,
            shape,
            dtype,
            slope=1.0 if is_mask else header.slope,
            intercept=0.0 if is_mask else header.intercept,
            label=is_mask,
            description="verimask",
            limit_mm=record["Policy"]["QformLimitMm"],
            like=bits,
        )
    except PipelineError as error:
        yield Broken(_HEADER, "Shape", "a shape that NIfTI-1 holds", error.finding.message)
        return
    unknown = _TAKEN_OVER if takes_over_grid(record) and bits is None else ()
    if unknown:
        yield NotChecked("pixdim, sform and qform, bit for bit", "they are of the file of --like, which was not found")
    ours, theirs = FIELDS.unpack(made[:SIZE]), FIELDS.unpack(raw[:SIZE])
    for name, was, found in zip(_NAMES, ours, theirs, strict=True):
        if name not in unknown and not _is_same_bit(name, was, found):
            yield Broken(_HEADER, name, show(was), show(found))
    yield from same(_HEADER, "extension", bytes(FIRST_VOXEL - SIZE), raw[SIZE:])
    yield from _check_stated(header, record, deviation, skip_qform=bool(unknown))


def _is_same_bit(name: str, was: Any, found: Any) -> bool:
    if name in _TURN and abs(was - found) <= _TURN_LIMIT:
        return True
    return bool(was == found) or (was != was and found != found)


def _check_stated(header: NiftiHeader, record: RecordValues, deviation: float, *, skip_qform: bool) -> Iterator[Broken]:
    """What the record says of the header: codes, and how far it lies from the affine."""
    geometry, shape = record["Geometry"], record["Shape"]
    yield from same(_HEADER, "Geometry.SformCode", geometry["SformCode"], header.sform_code)
    yield from same(_HEADER, "Geometry.QformCode", geometry["QformCode"], header.qform_code)
    apart = corner_distance(header.affine, affine_of(record), shape)
    yield from near(_HEADER, "Geometry.HeaderDeviationMm", geometry["HeaderDeviationMm"], apart, 1e-7)
    if not skip_qform and geometry["QformDeviationMm"] is not None:
        yield from near(_HEADER, "Geometry.QformDeviationMm", geometry["QformDeviationMm"], deviation, 1e-4)


def _check_labels(file: Path, header: NiftiHeader, record: RecordValues) -> Iterator[Note]:
    """Count the labels of the file anew, in the order of its own indices; places are those of the grid as acquired."""
    rows = record["Labels"]
    numbers = [row["Value"] for row in rows]
    yield from same("labels", "Labels.Value", sorted(set(numbers)), sorted(numbers))
    acquired, affine = grid_of(record), affine_of(record)
    fit = find_index_map(acquired.ras, acquired.shape, affine, header.space)
    affine = LPS_TO_RAS @ affine if fit is None else acquired.lps @ fit.inverse
    is_turned = bool(np.linalg.det(affine[:3, :3]) < 0)
    grid = Grid(header.space, right_handed(affine, header.space[0]))
    voxels = Voxels(header.space, header.dtype, _no_plane)
    mask = MaskVolume(voxels, grid, tuple(Segment(n, "") for n in dict.fromkeys(numbers)))
    counter = Counter(mask, components=any(row["Components"] is not None for row in rows))
    for plane in read_planes(file):
        counter.add((plane[:, ::-1] if is_turned else plane) if plane.any() else None)
    counted = {row.value: row for row in counter.rows()}
    for row in rows:
        yield from _check_row(row, counted[row["Value"]].as_json())
    more = sorted(counter.values() - set(numbers))
    if more:
        yield Broken("labels", "voxels of a value without a label", "none", show(more))


def _check_row(row: RecordValues, now: RecordValues) -> Iterator[Broken]:
    where = f"“{row['Name']}” ({row['Value']})"
    yield from same("label", f"{where} Voxels", row["Voxels"], now["Voxels"])
    yield from near("label", f"{where} VolumeMl", row["VolumeMl"], now["VolumeMl"])
    if row["Components"] is not None:
        yield from same("label", f"{where} Components", row["Components"], now["Components"])
    if "Extent" in row:
        yield from same("label", f"{where} Extent", row["Extent"], now["Extent"])
    for key in ("CentroidLpsMm", "CentroidRasMm"):
        if row[key] is None or now[key] is None:
            yield from same("label", f"{where} {key}", row[key], now[key])
        else:
            yield from near("label", f"{where} {key}", row[key], now[key], 1e-6)


def _no_plane(k: int) -> Any:
    raise IndexError(f"plane {k} is read from the file")
