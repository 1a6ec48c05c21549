"""Siemens mosaics: every tile where nibabel and dcm2niix put it, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from pipeline.conversion.convert import convert, convert_all
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom.scan import scan
from tests.helpers.hard_case import SMALL
from tests.helpers.mosaics import Mosaic, edit_protocol, write_grid
from tests.helpers.phantom import ORIENTATIONS

FOLDER = "neurolabusc+dcm_qa/In/Orientation/cor/corasc36"
REFERENCE = "neurolabusc+dcm_qa/Ref/cor_asc_36sl_13.nii"
IMAGE = Policy(as_="image", crosscheck="off")


def test_every_tile_where_nibabel_puts_it(samples: Path) -> None:
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    for header in scan([samples / FOLDER]).series[0].headers:
        frames = scan([header.path]).series[0].frames
        affine = wrapper_from_file(header.path).affine
        assert len(frames) == 36
        for k, frame in enumerate(frames):
            assert frame.plane is not None
            assert frame.name == f"{header.path.name} tile {k + 1}"
            # Its rows run down the image: nibabel's (i, j) are (row, column).
            expected = [affine @ (j, i, k, 1) for j, i in ((0, 0), (0, 63), (63, 0), (63, 63))]
            assert np.allclose(frame.plane.corners(), np.array(expected)[:, :3], atol=1e-4)


def test_every_voxel_where_dcm2niix_put_it(samples: Path, tmp_path: Path) -> None:
    done, refused = convert_all([samples / FOLDER], tmp_path, policy=IMAGE)
    assert not refused
    ours, theirs = nibabel.load(done[0].output), nibabel.load(samples / REFERENCE)
    assert ours.shape == theirs.shape == (64, 64, 36, 2)
    exact = np.linalg.inv(ours.affine) @ theirs.affine
    mapping = np.rint(exact)
    assert np.abs(ours.affine @ (exact - mapping)).max() < 0.01
    index = np.indices(theirs.shape[:3]).reshape(3, -1).T @ mapping[:3, :3].T + mapping[:3, 3]
    found = np.asarray(ours.dataobj)[tuple(index.astype(int).T)].reshape(theirs.shape)
    assert (found == np.asarray(theirs.dataobj)).all()


def test_the_order_of_tiles_is_asked_for_though_only_affines_were_wanted(samples: Path, tmp_path: Path) -> None:
    """dicom2nifti's process starts without decoders then, and must be exchanged for one that reads pixels."""
    one = min((samples / FOLDER).iterdir())
    made = convert([one], tmp_path / "out.nii", policy=Policy(as_="image"))
    told = made.agreements[0]
    assert (told.witness, told.status) == ("dicom2nifti", "KNOWN_WRONG")
    assert told.voxels_differing


def test_a_mask_is_refused(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as refused:
        convert([next((samples / FOLDER).iterdir())], tmp_path / "out.nii", policy=Policy(crosscheck="off"))
    assert refused.value.finding.code is Code.MOSAIC


def _reversed_slices(dataset: Any) -> None:
    """A stack whose tiles would run against the protocol's list of slices: the CSA normal turned round."""
    value = dataset[0x0029, 0x1010].value
    for old, new in ((b"0.98822836", b"-0.9882284"), (b"-0.15298600", b"0.152986000")):
        assert old in value
        value = value.replace(old, new.ljust(len(old), b"\0")[: len(old)])
    dataset[0x0029, 0x1010].value = value


def _without_private_headers(dataset: Any) -> None:
    del dataset[0x0029, 0x1010], dataset[0x0029, 0x1020]


def _without_step(dataset: Any) -> None:
    del dataset[0x0018, 0x0088], dataset[0x0029, 0x1020]


def _slab(count: int, step: float, away: float = 0.0) -> Callable[[str], str]:
    """The protocol of a 3-D acquisition in place of a 2-D one: a slab around the centre of the slices, `away` mm off."""

    def edit(text: str) -> str:
        places = re.findall(r"asSlice\[\d+\]\.sPosition\.d(Cor|Tra)\s*= (\S+)", text)
        cor, tra = (np.mean([float(v) for axis, v in places if axis == name]) for name in ("Cor", "Tra"))
        kept = [line for line in text.splitlines() if not re.match(r"sSliceArray\.(asSlice\[|lSize)", line)]
        kept += [
            "sSliceArray.lSize = 1",
            f"sSliceArray.asSlice[0].sPosition.dCor = {cor + away:.9g}",
            f"sSliceArray.asSlice[0].sPosition.dTra = {tra:.9g}",
            f"sSliceArray.asSlice[0].dThickness = {count * step:.9g}",
        ]
        return "\n".join(kept).replace("sKSpace.ucDimension                      = 0x2", "sKSpace.ucDimension = 0x4")

    return edit


def _reverse(dataset: Any) -> None:
    """The same volume as if its slices were numbered in reverse: tiles, first place and CSA normal turned round."""
    pixels = dataset.pixel_array.reshape(6, 64, 6, 64).transpose(0, 2, 1, 3).reshape(36, 64, 64)[::-1]
    dataset.PixelData = pixels.reshape(6, 6, 64, 64).transpose(0, 2, 1, 3).tobytes()
    normal = np.cross(*np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float))
    last = np.array(dataset.ImagePositionPatient, float) + 35 * float(dataset.SpacingBetweenSlices) * normal
    dataset.ImagePositionPatient = [f"{v:.10g}" for v in last]
    _reversed_slices(dataset)
    value = bytearray(dataset[0x0029, 0x1010].value)
    at = value.find(b"ProtocolSliceNumber\0") + 100
    assert value[at : at + 2] == b"0 "
    value[at : at + 2] = b"35"
    dataset[0x0029, 0x1010].value = bytes(value)


def _as_newer_software_writes(dataset: Any) -> None:
    """No CSA headers, and the protocol as plain text in group 0021."""
    text = re.search(r"### ASCCONV BEGIN.*?### ASCCONV END", dataset[0x0029, 0x1020].value.decode("latin-1"), re.DOTALL)
    assert text is not None
    dataset.add_new((0x0021, 0x0010), "LO", "SIEMENS MR SDS 01")
    dataset.add_new((0x0021, 0x1019), "OB", text[0].encode() + b" " * (len(text[0]) % 2))
    _without_private_headers(dataset)
    del dataset[0x0018, 0x0088]


REAL = {
    "as it is": lambda d: None,
    "3-D": lambda d: edit_protocol(d, _slab(36, 3.6)),
    "3-D, half a partition off": lambda d: edit_protocol(d, _slab(36, 3.6, away=1.8)),
    "3-D, no step": lambda d: (edit_protocol(d, _slab(36, 3.6)), delattr(d, "SpacingBetweenSlices")),
    "no step": lambda d: delattr(d, "SpacingBetweenSlices"),
    "in reverse": _reverse,
    "in reverse, 3-D": lambda d: (_reverse(d), edit_protocol(d, _slab(36, 3.6))),
    "no CSA headers": _as_newer_software_writes,
    "no CSA headers, in reverse": lambda d: (_reverse(d), _as_newer_software_writes(d)),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_mosaic_stored_in_another_way_is_the_same_volume(samples: Path, tmp_path: Path, name: str) -> None:
    """Its voxels are held against what dcm2niix made of the file as it was, its affine against nibabel's where it reads it."""
    from nibabel.nicom.dicomwrappers import MosaicWrapper, wrapper_from_file

    dataset = dcmread(min((samples / FOLDER).iterdir()))
    REAL[name](dataset)
    (tmp_path / "in").mkdir()
    dataset.save_as(tmp_path / "in" / "sheet.dcm")
    made = convert([tmp_path / "in"], tmp_path / "out.nii", policy=IMAGE)
    ours, theirs = nibabel.load(made.output), nibabel.load(samples / REFERENCE)
    places = np.linalg.inv(ours.affine) @ theirs.affine
    index = places[:3, :3] @ np.indices(theirs.shape[:3]).reshape(3, -1) + places[:3, 3:]
    assert np.abs(index - np.rint(index)).max() < 0.01
    found = np.asarray(ours.dataobj)[tuple(np.rint(index).astype(int))].reshape(theirs.shape[:3])
    assert (found == np.asarray(theirs.dataobj)[..., 0]).all()
    if "no " not in name:
        wrapper = wrapper_from_file(tmp_path / "in" / "sheet.dcm")
        assert isinstance(wrapper, MosaicWrapper)
        assert wrapper.n_mosaic == len(scan([tmp_path / "in"]).series[0].frames)
        for k, frame in enumerate(scan([tmp_path / "in"]).series[0].frames):
            assert np.allclose(frame.known_plane.position, (wrapper.affine @ (0, 0, k, 1))[:3], atol=1e-3)


SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")


def in_syntax(uid: str) -> Callable[[Any], None]:
    return lambda dataset: setattr(dataset.file_meta, "TransferSyntaxUID", uid)


SAME = {"AGREES", "REORDERED"}  # a witness's voxels lie where ours do
S = replace(SMALL, iop=ORIENTATIONS["double oblique"])
SYNTHETIC = {
    "plain": Mosaic(S),
    "in reverse": Mosaic(S, reverse=True),
    "listed downwards": Mosaic(S, listing=-1),
    "coronal, in reverse": Mosaic(replace(S, iop=ORIENTATIONS["coronal"]), reverse=True),
    "sagittal": Mosaic(replace(S, iop=ORIENTATIONS["sagittal"])),
    "sagittal, in reverse": Mosaic(replace(S, iop=ORIENTATIONS["sagittal"]), reverse=True),
    "3-D": Mosaic(S, slab=True),
    "3-D, in reverse, no step": Mosaic(S, slab=True, reverse=True, spacing=False),
    "its middle slice at the isocentre": Mosaic(replace(S, iop=(1, 0, 0, 0, 1, 0), origin=(-6.5, -3.2, -6.0))),
    "a slab at the isocentre": Mosaic(replace(S, iop=(1, 0, 0, 0, 1, 0), origin=(-6.5, -3.2, -6.0)), slab=True),
    "no protocol, in reverse": Mosaic(S, reverse=True, protocol=""),
    "no CSA headers": Mosaic(S, csa=False, protocol="0021"),
    "no CSA headers, in reverse": Mosaic(S, csa=False, protocol="0021", reverse=True, spacing=False),
}


@pytest.mark.parametrize("name", SYNTHETIC)
def test_every_witness_agrees_or_is_wrong_in_its_known_way(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    mosaic = SYNTHETIC[name]
    mosaic.write(tmp_path / "in" / "sheet.dcm")
    for k, frame in enumerate(scan([tmp_path / "in"]).series[0].frames):
        plane = mosaic.spec.shape[2] - 1 - k if mosaic.reverse else k
        assert np.allclose(frame.known_plane.position, mosaic.spec.point((0, 0, plane)), atol=1e-6)
    made = convert([tmp_path / "in"], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="voxels"))
    status = {agreement.witness: agreement.status for agreement in made.agreements}
    by_protocol_alone = name == "no CSA headers, in reverse"
    assert made.verdict == ("UNCONFIRMED" if by_protocol_alone else "VERIFIED")
    assert status["dcm2niix"] in ({"KNOWN_WRONG"} if by_protocol_alone else SAME)


def _drop_frames(dataset: Any) -> None:
    del dataset[0x0065, 0x1051]


def _one_less(dataset: Any) -> None:
    dataset[0x0065, 0x1051].value = dataset[0x0065, 0x1051].value[:-1]


def _no_position(dataset: Any) -> None:
    del dataset[0x0065, 0x1051].value[3].ImagePositionPatient


@pytest.mark.parametrize("count", [2, 5, 7, 9, 12])
@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("orientation", ["double oblique", "rows upward"])
def test_a_united_imaging_grid_is_where_dcm2niix_puts_it(
    tmp_path: Path, count: int, upwards: bool, syntax: str, orientation: str
) -> None:
    """5 and 12 tiles fill fewer rows than columns. Under implicit VR dcm2niix does not see which way they run."""
    spec = replace(S, shape=(11, 9, count), iop=ORIENTATIONS[orientation])
    (tmp_path / "in").mkdir()
    order = range(count) if upwards else range(count)[::-1]
    write_grid(tmp_path / "in" / "grid.dcm", spec, order=order, edit=in_syntax(syntax))
    made = convert([tmp_path / "in"], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="voxels"))
    image = nibabel.load(made.output)
    index = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ spec.lps) @ image.affine
    at = np.rint(index[:3, :3] @ np.indices(image.shape).reshape(3, -1) + index[:3, 3:]).astype(int)
    assert (spec.array()[tuple(at)] == np.asarray(image.dataobj).ravel()).all()
    allowed = SAME if syntax == SYNTAXES[1] else {*SAME, "KNOWN_WRONG"}
    assert {a.status for a in made.agreements if a.witness == "dcm2niix"} <= allowed


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_drop_frames, "MR VFrame Sequence (0065,1051), which has the place of each slice, is missing"),
        (_one_less, "7 slices are declared (0065,1050), and 6 are listed (0065,1051)"),
        (_no_position, "a position in its MR VFrame Sequence (0065,1051) cannot be used"),
        (lambda d: setattr(d, "Columns", 32), "are no 3 × 3 tiles"),
        (lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY"]), "though its Image Type has lost VFRAME"),
    ],
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_grid_that_does_not_tell_its_tiles_is_refused(
    tmp_path: Path, spoil: Callable[[Any], None], words: str, syntax: str
) -> None:
    def edit(dataset: Any) -> None:
        spoil(dataset)
        in_syntax(syntax)(dataset)

    (tmp_path / "in").mkdir()
    write_grid(tmp_path / "in" / "grid.dcm", S, edit=edit)
    with pytest.raises(PipelineError) as refused:
        convert([tmp_path / "in"], tmp_path / "out.nii", policy=IMAGE)
    assert words in refused.value.finding.message


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without_private_headers, "neither a CSA header (0029,1010) nor a protocol tells which way"),
        (_without_step, "Spacing Between Slices (0018,0088) is missing"),
        (lambda d: edit_protocol(d, _slab(36, 3.7)), "do not fill the 1 slab of 133.2 mm"),
        (lambda d: edit_protocol(d, _slab(35, 3.6)), "do not fill the 1 slab of 126 mm"),
        (lambda d: edit_protocol(d, _slab(36, 3.6, away=9.0)), "protocol's list of slices"),
        (_reversed_slices, "protocol's list of slices"),
        (lambda d: setattr(d, "SpacingBetweenSlices", "3.7"), "protocol's list of slices"),
        (
            lambda d: setattr(d, "ImageOrientationPatient", ["1", "0", "0", "0", "1", "0"]),
            "not the normal of its planes",
        ),
    ],
)
def test_a_mosaic_that_does_not_tell_its_tiles_is_refused(
    samples: Path, tmp_path: Path, spoil: Callable[[Any], None], words: str
) -> None:
    dataset = dcmread(next((samples / FOLDER).iterdir()))
    spoil(dataset)
    dataset.save_as(tmp_path / "mosaic.dcm")
    with pytest.raises(PipelineError) as refused:
        convert([tmp_path], tmp_path / "out.nii", policy=IMAGE)
    assert refused.value.finding.code is Code.MOSAIC
    assert words in refused.value.finding.message


@pytest.mark.parametrize("how", ["gone", "changed"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_a_sheet_that_lost_its_image_type_is_no_single_plane(
    samples: Path, tmp_path: Path, how: str, syntax: str
) -> None:
    """An anonymiser takes Image Type away; the CSA header still says how many tiles there are."""
    dataset = dcmread(min((samples / FOLDER).iterdir()))
    if how == "gone":
        del dataset.ImageType
    else:
        dataset.ImageType = ["DERIVED", "PRIMARY", "M", "ND"]
    dataset.file_meta.TransferSyntaxUID = syntax
    (tmp_path / "in").mkdir()
    dataset.save_as(tmp_path / "in" / "sheet.dcm", implicit_vr=syntax.endswith(".2"), little_endian=True)
    with pytest.raises(PipelineError) as caught:
        convert([tmp_path / "in"], tmp_path / "out.nii", policy=IMAGE)
    assert "mosaic of 36 tiles" in caught.value.finding.message
