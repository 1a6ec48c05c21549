"""Colour images: every way colours are stored becomes RGB24, with its proof, its page and its checks; or is refused in words."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from pipeline.cli.main import main
from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import Request
from pipeline.core.findings import Code, Finding, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom.code_stream import find_colour_model
from pipeline.nifti import file as nifti
from pipeline.nifti.proof import prove
from tests.helpers.cases_colour import palette, unique_tables
from tests.helpers.colour_series import JPEG, NATIVE, RLE, Stored, adobe, jpeg, smooth_colours
from tests.helpers.dicom_file import SYNTAXES
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, write

SPEC = Spec(shape=(36, 34, 5), row_spacing=1.4, column_spacing=1.1, step=2.5, bits_allocated=8, radius_mm=5)
COLOURS = smooth_colours(SPEC.shape)
PLAIN = NATIVE["RGB"].edit(COLOURS)


def run(folder: Path, edit: Edit = PLAIN, spec: Spec = SPEC, **options: Any) -> Outcome:
    write(folder / "in", spec, edit=edit)
    policy = Policy(as_="image", **{"crosscheck": "off", **options})  # type: ignore[arg-type]
    return convert([folder / "in"], folder / "out.nii.gz", policy=policy)


def refusal(folder: Path, edit: Edit, spec: Spec = SPEC, **options: Any) -> Finding:
    with pytest.raises(PipelineError) as refused:
        run(folder, edit, spec, **options)
    assert sorted(p.name for p in folder.iterdir()) == ["in"]
    return refused.value.finding


def rgb(path: Path) -> NDArray[Any]:
    """(i, j, k, 3), by nibabel alone."""
    voxels = np.asanyarray(nibabel.load(path).dataobj)
    assert voxels.dtype == np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return np.stack([voxels[name] for name in "RGB"], -1)


def codes(outcome: Outcome) -> set[str]:
    return {f.code.name for f in outcome.findings}


# --- how colours are stored -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mr", "enhanced mr"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big endian", "deflated"])
@pytest.mark.parametrize("name", NATIVE)
def test_native_colours_are_read_exactly(tmp_path: Path, name: str, syntax: str, kind: str) -> None:
    stored = NATIVE[name]
    outcome = run(tmp_path, stored.edit(COLOURS), replace(SPEC, transfer_syntax=syntax, kind=kind))
    assert (outcome.dtype, outcome.record["DataType"], outcome.findings) == ("RGB24", "RGB24", ())
    np.testing.assert_array_equal(rgb(outcome.output), stored.truth(COLOURS))


@pytest.mark.parametrize("syntax", ["rle", "jpeg-ls", "jpeg 2000", "jpeg lossless"])
def test_losslessly_compressed_colours_are_read_exactly(tmp_path: Path, syntax: str) -> None:
    outcome = run(tmp_path, spec=replace(SPEC, transfer_syntax=syntax))
    assert dcmread(next((tmp_path / "in").iterdir())).file_meta.TransferSyntaxUID == SYNTAXES[syntax]
    np.testing.assert_array_equal(rgb(outcome.output), COLOURS)


@pytest.mark.parametrize("name", RLE)
def test_rle_lies_in_planes_whatever_planar_configuration_says(tmp_path: Path, name: str) -> None:
    outcome = run(tmp_path, RLE[name].edit(COLOURS), replace(SPEC, transfer_syntax="rle frames"))
    np.testing.assert_array_equal(rgb(outcome.output), RLE[name].truth(COLOURS))


@pytest.mark.parametrize("name", JPEG)
def test_lossy_jpeg_is_near_its_colours_and_said_to_be_lossy(tmp_path: Path, name: str) -> None:
    outcome = run(tmp_path, JPEG[name].edit(COLOURS), replace(SPEC, transfer_syntax="jpeg"))
    assert np.abs(rgb(outcome.output).astype(int) - COLOURS).mean() < 6
    contradicts = {"COLOUR_ENCODING"} if "called" in name else set()
    assert codes(outcome) == {"LOSSY_PIXELS"} | contradicts


def test_code_streams_say_what_their_colours_are() -> None:
    plane = COLOURS[:, :, 0]
    with_jfif = jpeg(plane, subsampling=0)
    assert find_colour_model(with_jfif) == "YBR"
    assert find_colour_model(jpeg(plane, keep_rgb=True)) == "RGB"
    assert [find_colour_model(adobe(with_jfif, n)) for n in (0, 1, 2)] == ["RGB", "YBR", ""]
    assert [find_colour_model(data) for data in (b"", b"\xff\xd8\xff", with_jfif[:3], b"\xff\xd8\xff\xff")] == [""] * 4


def test_ybr_of_jpeg_2000_is_not_converted_twice(tmp_path: Path) -> None:
    """The component transformation is in the code stream, and its decoder undoes it, whatever the header says."""

    def called(k: int, dataset: Dataset) -> None:
        PLAIN(k, dataset)

    write(tmp_path / "in", replace(SPEC, transfer_syntax="jpeg 2000"), edit=called)
    for path in (tmp_path / "in").iterdir():
        dataset = dcmread(path)
        assert dataset.PhotometricInterpretation in ("RGB", "YBR_RCT")
        dataset.PhotometricInterpretation = "YBR_RCT"
        dataset.save_as(path)
    outcome = convert([tmp_path / "in"], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="off"))
    np.testing.assert_array_equal(rgb(outcome.output), COLOURS)


ASSUMED: dict[str, tuple[dict[str, Any], str]] = {
    "no Planar Configuration": ({"PlanarConfiguration": None}, "(0028,0006)"),
    "JPEG 2000's colours without JPEG 2000": ({"PhotometricInterpretation": "YBR_RCT"}, "YBR_RCT"),
    "three samples of grey": ({"PhotometricInterpretation": "MONOCHROME2"}, "three samples"),
}


@pytest.mark.parametrize("how", ASSUMED)
def test_what_the_header_leaves_open_is_assumed_and_left_unconfirmed(tmp_path: Path, how: str) -> None:
    tags, words = ASSUMED[how]
    outcome = run(tmp_path, NATIVE["RGB"].edit(COLOURS, **tags), crosscheck="affine")
    np.testing.assert_array_equal(rgb(outcome.output), COLOURS)
    (finding,) = (f for f in outcome.findings if f.code is Code.COLOUR_ENCODING)
    assert words in finding.message
    assert "4 other files" in finding.message
    assert outcome.verdict == "UNCONFIRMED"


def test_samples_of_eight_bits_in_sixteen_and_signed_ones_are_the_same_colours(tmp_path: Path) -> None:
    def wide(k: int, dataset: Dataset) -> None:
        PLAIN(k, dataset)
        dataset.PixelData = np.frombuffer(dataset.PixelData, "u1").astype("<u2").tobytes()
        dataset.BitsAllocated = 16
        dataset["PixelData"].VR = "OW"

    np.testing.assert_array_equal(rgb(run(tmp_path / "wide", wide).output), COLOURS)
    signed = NATIVE["RGB"].edit(COLOURS, PixelRepresentation=1)
    np.testing.assert_array_equal(rgb(run(tmp_path / "signed", signed).output), COLOURS)


def _wide(high_bit: int, shift: int = 0, above: int = 0) -> Edit:
    """Samples of 8 bits in 16, moved up by some bits, and bits above the highest."""

    def edit(k: int, dataset: Dataset) -> None:
        PLAIN(k, dataset)
        samples = (np.frombuffer(dataset.PixelData, "u1").astype("<u2") << shift) | np.uint16(above)
        dataset.PixelData = samples.astype("<u2").tobytes()
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 8, high_bit
        dataset["PixelData"].VR = "OW"

    return edit


def test_the_upper_eight_bits_of_sixteen_are_refused(tmp_path: Path) -> None:
    finding = refusal(tmp_path, _wide(15, shift=8))
    assert (finding.code, finding.measured, finding.limit) == (Code.HIGH_BIT, 15, 7)


def test_bits_above_the_eight_of_a_sample_are_cut_off_and_leave_a_doubt(tmp_path: Path) -> None:
    outcome = run(tmp_path, _wide(7, above=0x300))
    np.testing.assert_array_equal(rgb(outcome.output), COLOURS)
    assert any("bits above the 8" in f.message and f.leaves_doubt for f in outcome.findings)
    assert outcome.verdict == "UNCONFIRMED"


def test_a_rescale_is_not_applied_to_colours(tmp_path: Path) -> None:
    outcome = run(tmp_path, NATIVE["RGB"].edit(COLOURS, RescaleSlope="2", RescaleIntercept="3"))
    np.testing.assert_array_equal(rgb(outcome.output), COLOURS)
    assert codes(outcome) == {"RESCALE_IGNORED"}


def test_volumes_over_time_are_one_file(tmp_path: Path) -> None:
    def timed(k: int, dataset: Dataset) -> list[Dataset]:
        again = deepcopy(dataset)
        PLAIN(k, dataset)
        NATIVE["RGB"].edit(COLOURS[::-1])(k, again)
        again.SOPInstanceUID, again.InstanceNumber = dataset.SOPInstanceUID + ".2", int(dataset.InstanceNumber) + 5
        dataset.TemporalPositionIdentifier, again.TemporalPositionIdentifier = 1, 2
        return [dataset, again]

    write(tmp_path / "in", replace(SPEC, kind="mr"), edit=timed)
    done, refused = convert_all([tmp_path / "in"], tmp_path / "out", policy=Policy(as_="image", crosscheck="off"))
    assert not refused
    found = rgb(done[0].output)
    np.testing.assert_array_equal(found, np.stack([COLOURS, COLOURS[::-1]], 3))


# --- refused in words -----------------------------------------------------------------------------------------------


def _deep(k: int, dataset: Dataset) -> None:
    PLAIN(k, dataset)
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "u1").astype("<u2") * 257).tobytes()
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset["PixelData"].VR = "OW"


def _mixed(k: int, dataset: Dataset) -> None:
    if k:
        PLAIN(k, dataset)


REFUSED: dict[str, tuple[Edit, Code, str]] = {
    "48 bits": (_deep, Code.UNSUPPORTED_PIXELS, "no NIfTI type holds 48-bit colours"),
    "21 bits": (NATIVE["RGB"].edit(COLOURS, BitsStored=7, HighBit=6), Code.UNSUPPORTED_PIXELS, "7 bits"),
    "ARGB": (
        NATIVE["RGB"].edit(COLOURS, SamplesPerPixel=4, PhotometricInterpretation="ARGB"),
        Code.UNSUPPORTED_PIXELS,
        "retired",
    ),
    "CMYK": (NATIVE["RGB"].edit(COLOURS, PhotometricInterpretation="CMYK"), Code.UNSUPPORTED_PIXELS, "retired"),
    "HSV": (NATIVE["RGB"].edit(COLOURS, PhotometricInterpretation="HSV"), Code.UNSUPPORTED_PIXELS, "retired"),
    "grey and colours": (_mixed, Code.MIXED_PHOTOMETRIC, "one kind"),
    "three bytes a pixel called halved": (
        NATIVE["RGB"].edit(COLOURS, PhotometricInterpretation="YBR_FULL_422"),
        Code.PIXEL_LENGTH,
        "three bytes a pixel",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_not_read_is_refused_in_words(tmp_path: Path, how: str) -> None:
    edit, code, words = REFUSED[how]
    finding = refusal(tmp_path, edit)
    assert finding.code is code
    assert words in finding.message
    assert finding.hint
    assert finding.where


def test_an_odd_row_of_pixel_pairs_is_refused(tmp_path: Path) -> None:
    spec = replace(SPEC, shape=(35, 34, 5))
    colours = smooth_colours((36, 34, 5))
    edit = NATIVE["YBR_FULL_422"].edit(colours)

    def cut(k: int, dataset: Dataset) -> None:
        edit(k, dataset)
        dataset.PixelData = dataset.PixelData[: 35 * 34 * 2]

    finding = refusal(tmp_path, cut, spec)
    assert finding.code is Code.CORRUPT_FILE
    assert "in pairs" in finding.message


def test_colours_cut_off_are_refused(tmp_path: Path) -> None:
    def cut(k: int, dataset: Dataset) -> None:
        PLAIN(k, dataset)
        dataset.PixelData = dataset.PixelData[:-100]

    finding = refusal(tmp_path, cut)
    assert (finding.code, finding.measured, finding.limit) == (Code.CORRUPT_FILE, 36 * 34 * 3 - 100, 36 * 34 * 3)


# --- palettes -------------------------------------------------------------------------------------------------------

INDEXED = Spec(shape=(11, 9, 7), content="index", bits_allocated=16)


def stored_values(folder: Path) -> NDArray[Any]:
    planes = [dcmread(p).pixel_array for p in sorted((folder / "in").iterdir())]
    return np.stack(planes, -1).swapaxes(0, 1)


def test_stored_values_of_a_palette_are_written_unless_asked(tmp_path: Path) -> None:
    outcome = run(tmp_path, palette(unique_tables(800)), INDEXED)
    assert (outcome.dtype, codes(outcome)) == ("uint16", {"PALETTE"})
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(outcome.output).dataobj), stored_values(tmp_path))


@pytest.mark.parametrize(
    ("first", "count", "signed"), [(0, 800, False), (100, 300, False), (-200, 400, True), (0, 65536, False)]
)
def test_a_palette_of_16_bits_is_applied_by_its_high_bytes(
    tmp_path: Path, first: int, count: int, signed: bool
) -> None:
    tables = unique_tables(count)
    spec = replace(INDEXED, signed=signed)
    outcome = run(tmp_path, palette(tables, first, signed=signed), spec, palette="apply")
    index = np.clip(stored_values(tmp_path).astype(int) - first, 0, count - 1)
    np.testing.assert_array_equal(rgb(outcome.output), np.stack([t[index] // 256 for t in tables], -1))
    assert codes(outcome) == {"PALETTE"}


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big endian"])
@pytest.mark.parametrize("count", [200, 255, 300])
def test_a_palette_of_8_bits_may_have_any_number_of_entries(tmp_path: Path, count: int, syntax: str) -> None:
    tables = unique_tables(count, 8)
    spec = replace(INDEXED, transfer_syntax=syntax)
    swap = _swap_words if syntax == "big endian" else lambda k, dataset: None

    def edit(k: int, dataset: Dataset) -> None:
        palette(tables, bits=8)(k, dataset)
        swap(k, dataset)

    outcome = run(tmp_path, edit, spec, palette="apply")
    index = np.clip(np.arange(1, 694).reshape(7, 9, 11).T, 0, count - 1)
    np.testing.assert_array_equal(rgb(outcome.output), np.stack([t[index] for t in tables], -1))


def _swap_words(_: int, dataset: Dataset) -> None:
    """Tables of 8 bits as a big-endian file has them: two entries in a word, whose bytes change places."""
    for tag in (0x00281201, 0x00281202, 0x00281203):
        dataset[tag].value = np.frombuffer(dataset[tag].value, "<u2").byteswap().tobytes()


def test_segmented_tables_are_expanded(tmp_path: Path) -> None:
    """Discrete, linear and indirect segments (PS3.3 C.7.9.2), expanded here by hand."""
    table = [0, 2, 1000, 3000, 1, 4, 11000, 2, 2, 0, 0]  # the last: the first two segments again
    expanded = [1000, 3000, 5000, 7000, 9000, 11000, 1000, 3000, 5000, 7000, 9000, 11000]

    def edit(_: int, dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for n in range(3):
            dataset.add_new((0x0028, 0x1101 + n), "US", [12, 100, 16])
            values = [v // (n + 1) if 2 <= p < 7 and p not in (4, 5) else v for p, v in enumerate(table)]
            dataset.add_new((0x0028, 0x1221 + n), "OW", np.array(values, "<u2").tobytes())

    outcome = run(tmp_path, edit, INDEXED, palette="apply")
    red = rgb(outcome.output)[..., 0]
    index = np.clip(stored_values(tmp_path).astype(int) - 100, 0, 11)
    np.testing.assert_array_equal(red, np.array(expanded)[index] // 256)


@pytest.mark.parametrize(
    "table",
    [
        [0, 1, 5, 2, 1, 0, 0] + [2, 65535, 0, 0] * 40,  # segments that repeat those which repeat others
        [0, 1, 5, 2, 9, 3, 0],  # one that repeats itself
        [0, 1, 5] + [1, 65535, 7] * 4000,
    ],
    ids=["repeated", "endless", "long"],
)
def test_segments_that_make_more_entries_than_there_are_cost_nothing(tmp_path: Path, table: list[int]) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for n in range(3):
            dataset.add_new((0x0028, 0x1101 + n), "US", [12, 0, 16])
            dataset.add_new((0x0028, 0x1221 + n), "OW", np.array(table, "<u2").tobytes())

    finding = refusal(tmp_path, edit, INDEXED, palette="apply")
    assert finding.code is Code.CORRUPT_FILE
    assert "more entries than the 12" in finding.message


def test_entries_of_16_bits_below_256_are_taken_for_8_and_left_unconfirmed(tmp_path: Path) -> None:
    tables = unique_tables(256, 8)
    outcome = run(tmp_path, palette(tables), replace(SPEC, content="mask"), palette="apply", crosscheck="affine")
    index = stored_values(tmp_path)
    np.testing.assert_array_equal(rgb(outcome.output), np.stack([t[index] for t in tables], -1))
    assert codes(outcome) == {"PALETTE", "COLOUR_ENCODING"}
    assert outcome.verdict == "UNCONFIRMED"


def _other_descriptor(k: int, dataset: Dataset) -> None:
    palette(unique_tables(800))(k, dataset)
    dataset.GreenPaletteColorLookupTableDescriptor = [700, 0, 16]


def _short(k: int, dataset: Dataset) -> None:
    palette(unique_tables(800))(k, dataset)
    dataset.BluePaletteColorLookupTableData = bytes(500)


def _no_tables(k: int, dataset: Dataset) -> None:
    palette(unique_tables(800))(k, dataset)
    del dataset.RedPaletteColorLookupTableData


def _no_palette(_: int, dataset: Dataset) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"


def _twelve_bits(k: int, dataset: Dataset) -> None:
    palette(unique_tables(800), bits=16)(k, dataset)
    for n in range(3):
        dataset[0x0028, 0x1101 + n].value = [800, 0, 12]


def _wide_entries(k: int, dataset: Dataset) -> None:
    palette(unique_tables(800), bits=16)(k, dataset)
    for n in range(3):
        dataset[0x0028, 0x1101 + n].value = [800, 0, 8]


BROKEN = {
    "no palette": (_no_palette, "there is none"),
    "no tables": (_no_tables, "are not there"),
    "a short table": (_short, "500 bytes"),
    "three sizes": (_other_descriptor, "descriptors differ"),
    "12 bits": (_twelve_bits, "12 bits"),
    "8 bits that are not": (_wide_entries, "said to have 8 bits"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_palette_that_cannot_be_used_is_refused_in_words(tmp_path: Path, how: str) -> None:
    edit, words = BROKEN[how]
    finding = refusal(tmp_path, edit, INDEXED, palette="apply")
    assert finding.code is Code.CORRUPT_FILE
    assert words in finding.message


def test_a_supplemental_palette_is_named_and_not_applied(tmp_path: Path) -> None:
    def supplemental(k: int, dataset: Dataset) -> None:
        palette(unique_tables(200), first=600)(k, dataset)
        dataset.PhotometricInterpretation, dataset.PixelPresentation = "MONOCHROME2", "COLOR"

    finding = refusal(tmp_path / "apply", supplemental, INDEXED, palette="apply")
    assert finding.code is Code.UNSUPPORTED_PIXELS
    assert "Supplemental" in finding.message
    assert run(tmp_path / "stored", supplemental, INDEXED).dtype == "uint16"


# --- the grid, and what is done to it --------------------------------------------------------------------------------


@pytest.mark.parametrize("orient", ["source", "RAS", "PIR"])
def test_the_three_samples_of_a_voxel_stay_together(tmp_path: Path, orient: str) -> None:
    spec = replace(SPEC, iop=ORIENTATIONS["steep oblique"])
    outcome = run(tmp_path, spec=spec, orient=orient)
    image = nibabel.load(outcome.output)
    as_read = nibabel.load(run(tmp_path / "again", spec=spec).output)
    turned = np.linalg.inv(as_read.affine) @ image.affine
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), -1)
    there = np.rint(index @ turned[:3, :3].T + turned[:3, 3]).astype(int)
    np.testing.assert_array_equal(rgb(outcome.output), COLOURS[there[..., 0], there[..., 1], there[..., 2]])


def _without_plane_2(k: int, dataset: Dataset) -> list[Dataset] | None:
    PLAIN(k, dataset)
    return [] if k == 2 else None


def test_gaps_of_colours_are_filled_with_black_or_blended(tmp_path: Path) -> None:
    assert refusal(tmp_path / "refuse", _without_plane_2).code is Code.MISSING_PLANES
    filled = COLOURS.copy()
    filled[:, :, 2] = 0
    np.testing.assert_array_equal(rgb(run(tmp_path / "fill", _without_plane_2, on_gap="fill").output), filled)
    filled[:, :, 2] = np.rint((COLOURS[:, :, 1].astype(float) + COLOURS[:, :, 3]) / 2)
    np.testing.assert_array_equal(rgb(run(tmp_path / "mean", _without_plane_2, on_gap="resample").output), filled)
    nearest = rgb(run(tmp_path / "nearest", _without_plane_2, on_gap="nearest").output)[:, :, 2]
    assert any((nearest == COLOURS[:, :, k]).all() for k in (1, 3))


def test_a_tilted_stack_of_colours_is_sheared_or_set_upright(tmp_path: Path) -> None:
    spec = replace(SPEC, tilt_degrees=15)
    np.testing.assert_array_equal(rgb(run(tmp_path / "shear", spec=spec, on_tilt="shear").output), COLOURS)
    by_sample = []
    for n in range(3):
        grey = COLOURS[..., n]

        def edit(k: int, dataset: Dataset, grey: NDArray[Any] = grey) -> None:
            dataset.PixelData = grey[:, :, k].T.tobytes()

        outcome = run(tmp_path / f"sample{n}", edit, spec, on_tilt="resample")
        by_sample.append(np.asanyarray(nibabel.load(outcome.output).dataobj))
    upright = rgb(run(tmp_path / "upright", spec=spec, on_tilt="resample").output)
    inside = upright.any(-1)  # outside, colours are black, and grey values their lowest
    np.testing.assert_array_equal(upright[inside], np.stack(by_sample, -1)[inside])
    assert inside.mean() > 0.8


def test_doubles_of_colours_are_compared(tmp_path: Path) -> None:
    def doubled(other: int) -> Edit:
        def edit(k: int, dataset: Dataset) -> list[Dataset] | None:
            PLAIN(k, dataset)
            if k != 1:
                return None
            again = deepcopy(dataset)
            again.SOPInstanceUID, again.InstanceNumber = dataset.SOPInstanceUID + ".9", 99
            pixels = bytearray(dataset.PixelData)
            pixels[4] ^= other
            again.PixelData = bytes(pixels)
            again["PixelData"].VR = "OB"
            return [dataset, again]

        return edit

    assert codes(run(tmp_path / "same", doubled(0), on_duplicate="drop")) == {"DUPLICATE_DROPPED"}
    assert refusal(tmp_path / "other", doubled(1), on_duplicate="drop").code is Code.DUPLICATE_POSITION


# --- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_header_says_rgb24_without_a_slope(tmp_path: Path, ending: str) -> None:
    write(tmp_path / "in", SPEC, edit=PLAIN)
    path = tmp_path / f"out{ending}"
    convert([tmp_path / "in"], path, policy=Policy(as_="image"))
    raw = gzip.decompress(path.read_bytes()) if ending.endswith("gz") else path.read_bytes()
    assert struct.unpack_from("<2h", raw, 70) == (128, 24)
    assert struct.unpack_from("<2f", raw, 112) == (0, 0)
    assert len(raw) == 352 + COLOURS.size
    assert raw[352:] == np.ascontiguousarray(COLOURS.transpose(2, 1, 0, 3)).tobytes()
    header = nifti.read_header(path)
    assert (header.shape, header.scaling) == (SPEC.shape, (1.0, 0.0))


def test_one_sample_that_changed_on_the_disk_is_found(tmp_path: Path) -> None:
    from isal import isal_zlib

    outcome = run(tmp_path)
    plain = tmp_path / "plain.nii"
    raw = bytearray(gzip.decompress(outcome.output.read_bytes()))
    planes = [isal_zlib.crc32(raw[352 + n * 36 * 34 * 3 : 352 + (n + 1) * 36 * 34 * 3]) for n in range(5)]
    sums = (isal_zlib.crc32(raw[:352]), *planes)
    dtype = nifti.read_header(outcome.output).dtype
    affine = np.array(outcome.record["Geometry"]["Affine"])
    plain.write_bytes(raw)
    prove(plain, affine, SPEC.shape, dtype, sums, 1e-3)
    raw[352 + 36 * 34 * 3 * 2 + 1] ^= 1
    plain.write_bytes(raw)
    with pytest.raises(PipelineError, match="1 of 5 planes differ"):
        prove(plain, affine, SPEC.shape, dtype, sums, 1e-3)


def _witnessed(stored: Stored, spec: Spec = SPEC) -> Callable[[Path], Outcome]:
    return lambda folder: run(folder, stored.edit(COLOURS), spec, crosscheck="voxels")


AGREED: dict[str, tuple[Callable[[Path], Outcome], int]] = {
    "RGB": (_witnessed(NATIVE["RGB"]), 3),
    "RGB in planes": (_witnessed(NATIVE["RGB in planes"]), 3),
    "YBR_FULL": (_witnessed(NATIVE["YBR_FULL"]), 3),
    "YBR_FULL_422": (_witnessed(NATIVE["YBR_FULL_422"]), 2),  # dcm2niix wants three bytes a pixel of it
    "jpeg 2000": (_witnessed(NATIVE["RGB"], replace(SPEC, transfer_syntax="jpeg 2000")), 3),
    "enhanced": (_witnessed(NATIVE["RGB"], replace(SPEC, kind="enhanced mr")), 2),  # dicom2nifti has none of them
    "jpeg": (_witnessed(JPEG["4:2:2"], replace(SPEC, transfer_syntax="jpeg")), 2),  # dcm2niix rounds it otherwise
}


def test_jpeg_without_a_colour_model_is_left_unconfirmed_and_not_refused_by_what_witnesses_may_do(
    tmp_path: Path,
) -> None:
    for witness in ("SimpleITK", "dcm2niix"):
        pytest.importorskip(witness)
    edit = JPEG["Adobe RGB"].edit(COLOURS, PhotometricInterpretation=None)
    outcome = run(tmp_path, edit, replace(SPEC, transfer_syntax="jpeg"), crosscheck="voxels")
    assert outcome.verdict == "UNCONFIRMED"
    assert any("no colour model" in f.message for f in outcome.findings)


@pytest.mark.parametrize("name", AGREED)
def test_other_readers_agree_voxel_for_voxel(tmp_path: Path, name: str) -> None:
    for witness in ("SimpleITK", "dcm2niix"):
        pytest.importorskip(witness)
    make, confirming = AGREED[name]
    outcome = make(tmp_path)
    assert outcome.verdict == "VERIFIED"
    assert [a.voxels_differing for a in outcome.agreements if a.confirms] == [0] * confirming
    assert not {a.status for a in outcome.agreements} & {"DIFFERS", "FAILED"}


def test_a_real_series_of_colours_agrees_with_everybody(samples: Path, tmp_path: Path) -> None:
    for witness in ("SimpleITK", "dcm2niix"):
        pytest.importorskip(witness)
    policy = Policy(as_="image", crosscheck="voxels")
    folder = samples / "icometrix+dicom2nifti/tests/data/generic/rgb/001"
    outcome = convert([folder], tmp_path / "out.nii.gz", policy=policy)
    assert outcome.verdict == "VERIFIED"
    assert [(a.confirms, a.voxels_differing) for a in outcome.agreements] == [(True, 0)] * 3


# --- what is done with such a file ------------------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """A series of colours, its file, and a mask on the same grid."""
    pytest.importorskip("PIL")
    outcome = run(tmp_path)
    image = nibabel.load(outcome.output)
    mask = (COLOURS[..., 0] > 120).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), tmp_path / "mask.nii.gz")
    return str(tmp_path / "in"), str(outcome.output), str(tmp_path / "mask.nii.gz")


def test_the_page_draws_colours(
    tmp_path: Path, files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    record = str(tmp_path / "out.json")
    assert told(capsys, "report", record, "-o", str(tmp_path / "page.html"))[0] == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "RGB24" in page
    assert "without a window" in page
    axial = Image.open(BytesIO(b64decode(page.partition("data:image/png;base64,")[2].partition('"')[0])))
    np.testing.assert_array_equal(np.asarray(axial), COLOURS[:, :, 2].swapaxes(0, 1))
    assert told(capsys, "report", str(tmp_path), "-o", str(tmp_path / "pages"))[0] == 0


def test_a_mask_is_drawn_over_colours(tmp_path: Path, files: tuple[str, str, str]) -> None:
    from pipeline.report.page import make_page

    write(tmp_path / "mask", SPEC)
    policy = Policy(crosscheck="off")
    request = Request(like=tmp_path / "out.nii.gz")
    convert([tmp_path / "mask"], tmp_path / "label.nii.gz", request=request, policy=policy)
    for source in (Path(files[0]), Path(files[1])):
        assert "without a window" in make_page(tmp_path / "label.json", source=source)


def test_check_and_like_take_an_image_of_colours(
    tmp_path: Path, files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, image, mask = files
    assert told(capsys, "check", mask, image)[0] == 0
    assert told(capsys, "check", mask, folder)[0] == 0
    code, words = told(capsys, "check", image, image)
    assert (code, "UNSUPPORTED_NIFTI" in words, "RGB" in words) == (10, True, True)
    write(tmp_path / "mask", SPEC)
    request = Request(like=Path(image))
    like = convert([tmp_path / "mask"], tmp_path / "l.nii", request=request, policy=Policy(crosscheck="off"))
    np.testing.assert_array_equal(nibabel.load(like.output).affine, nibabel.load(image).affine)


def test_diagnose_compares_colours(
    tmp_path: Path, files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, image, mask = files
    assert told(capsys, "diagnose", image, "--source", folder)[0] == 0
    loaded = nibabel.load(image)
    wrong = np.ascontiguousarray(np.asanyarray(loaded.dataobj)[:, ::-1])
    nibabel.save(nibabel.Nifti1Image(wrong, loaded.affine), tmp_path / "wrong.nii.gz")
    fixed = tmp_path / "fixed.nii.gz"
    code, words = told(capsys, "diagnose", str(tmp_path / "wrong.nii.gz"), "--source", folder, "--fix", str(fixed))
    assert (code, "j reversed" in words) == (0, True)
    np.testing.assert_array_equal(rgb(fixed), COLOURS)
    assert "affine" in told(capsys, "diagnose", mask, "--source", folder)[1]
    write(tmp_path / "masks", SPEC)
    code, words = told(capsys, "diagnose", image, "--source", folder, "--mask-series", str(tmp_path / "masks"))
    assert code == 10
    assert "RGB" in words


def test_a_mask_in_colour_says_what_was_assumed_of_its_colours(tmp_path: Path) -> None:
    painted = np.zeros_like(COLOURS)
    painted[3:9, 4:12, 1:4] = (255, 128, 0)
    write(tmp_path / "in", SPEC, edit=NATIVE["RGB"].edit(painted, PlanarConfiguration=None))
    outcome = convert([tmp_path / "in"], tmp_path / "mask.nii", policy=Policy(crosscheck="off"))
    assert {"COLOUR_ENCODING", "VALUES_TAKEN"} <= codes(outcome)
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(outcome.output).dataobj), painted.any(-1))
