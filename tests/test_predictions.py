"""What a rule predicts of a witness is what the installed witness gives, to the voxel; anything beside it disputes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless

from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.product import Product, product_of_part
from pipeline.core.findings import Code
from pipeline.core.policy import Policy
from pipeline.crosscheck.agreement import Agreement, judge
from pipeline.crosscheck.known_colours import ColourRule
from pipeline.crosscheck.known_wrong import Rule, predict
from pipeline.crosscheck.panel import Panel
from pipeline.crosscheck.testimony import Testimony as Told
from pipeline.dicom.scan import choose, scan
from pipeline.dicom.split_volumes import split
from tests.helpers.cases_colour import palette, unique_tables
from tests.helpers.colour_series import JPEG, NATIVE, RLE, grey_jpeg, smooth_colours, to_rgb, to_ybr
from tests.helpers.hard_case import SMALL
from tests.helpers.hard_edits import both, moved, tags
from tests.helpers.meta import declare
from tests.helpers.mosaics import Mosaic
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, write
from tests.helpers.pixel_kinds import stored_as
from tests.helpers.vector_edits import AXIAL, FRAMES, RETIRED, at_top, dose, nuclear, values

OBLIQUE = replace(SMALL, iop=ORIENTATIONS["oblique"])
BITS = replace(OBLIQUE, shape=(23, 19, 5), content="mask", bits_allocated=1)
AGAINST, PLANES = replace(FRAMES, stored="against"), replace(AXIAL, kind="ct")
WIDE, UNSCALED = replace(AXIAL, bits_allocated=32), values(DoseGridScaling="1")
JITTER = (0.05, -0.05, 0.03, 0.0, -0.04, 0.05, -0.02)
POLICY = Policy(as_="image", crosscheck="voxels", on_tilt="shear")
APPLIED = replace(POLICY, palette="apply")
COLOURED = replace(OBLIQUE, shape=(40, 34, 5), bits_allocated=8, content="mask", labels=(60, 120, 200), radius_mm=15)
COLOURS = smooth_colours(COLOURED.shape)


def _modality_lut(_: int, dataset: Dataset) -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [1024, 0, 16], "HU"
    item.add_new(0x00283006, "OW", (np.arange(1024, dtype="<u2") * 7 + 3).tobytes())
    dataset.ModalityLUTSequence = Sequence([item])


def _real_world(_: int, dataset: Dataset) -> None:
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 0.25, -3.0
    item.add_new(0x00409211, "US", 65535)
    item.add_new(0x00409216, "US", 0)
    dataset.RealWorldValueMappingSequence = Sequence([item])


def _two_signs(k: int, dataset: Dataset) -> None:
    stored = np.frombuffer(dataset.PixelData, "<u2").astype(np.int64)
    dataset.PixelRepresentation = k % 2
    dataset.PixelData = ((stored - 500).astype("<i2") if k % 2 else (stored + 40_000).astype("<u2")).tobytes()


def _up_to_2_to_the_32(_: int, dataset: Dataset) -> None:
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u4") + np.uint32((1 << 32) - 2000)).astype("<u4").tobytes()


def _big_endian(path: Path) -> None:
    """All of a file in big endian, and its values in the upper word, so that exchanged words are small numbers."""
    dataset = dcmread(path)
    list(dataset.iterall())  # what is not parsed would be written as it was read
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u4") << 16).astype(">u4").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)


def epi_pepolar(scheme: object) -> Edit:
    def edit(_: int, dataset: Dataset) -> None:
        dataset.Manufacturer = "GE MEDICAL SYSTEMS"
        block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
        block.add_new(0x9C, "LO", "research/ABCD/epi_pepolar")
        block.add_new(0x9E, "LO", "EPI")
        block.add_new(0xB3, "LO", str(scheme))

    return edit


def _narrow(path: Path) -> None:
    """8-bit samples, compressed as such, in a file that says 16."""
    dataset = dcmread(path)
    dataset.compress(JPEG2000Lossless)
    dataset.BitsAllocated = 16
    dataset.save_as(path)


def as_written(_: int, dataset: Dataset) -> None:
    """No change."""


@dataclass(frozen=True)
class Case:
    """A series that a witness is wrong about.

    after: what is done to every file once written. policy: of the conversion. seen: by how much a voxel has to be wrong to
    be no such fault.
    """

    witness: str
    spec: Spec
    edit: Edit = as_written
    after: Callable[[Path], None] | None = None
    policy: Policy = POLICY
    seen: int = 1


def _imager_spacing(k: int, dataset: Dataset) -> None:
    dataset.ImagerPixelSpacing = dataset.PixelSpacing
    del dataset.PixelSpacing


def _bare_mosaic(path: Path) -> None:
    """A mosaic without a CSA header, whose slices run footwards, in place of the first file; the others go."""
    if path.stem.endswith("1"):
        Mosaic(OBLIQUE, csa=False, protocol="0021", reverse=True).write(path)
    else:
        path.unlink()


CASES: dict[tuple[Rule | ColourRule, str], Case] = {
    (Rule.IN_STACK_POSITION, "reversed"): Case("dicom2nifti", replace(OBLIQUE, kind="enhanced ct", stored="against")),
    (Rule.IN_STACK_POSITION, "shuffled"): Case("dicom2nifti", replace(SMALL, kind="enhanced mr", stored="shuffled")),
    (Rule.FRAMES_AS_STORED, ""): Case("SimpleITK", replace(OBLIQUE, kind="enhanced ct", stored="shuffled")),
    (Rule.NO_SHEAR, "SimpleITK"): Case("SimpleITK", replace(OBLIQUE, tilt_degrees=15, kind="mr")),
    (Rule.NO_SHEAR, "dcm2niix"): Case("dcm2niix", replace(OBLIQUE, tilt_degrees=15, kind="mr")),
    (Rule.NO_SHEAR, "dcm2niix, CT"): Case("dcm2niix", replace(OBLIQUE, tilt_degrees=15)),
    (Rule.NO_SHEAR, "dcm2niix, tag"): Case(
        "dcm2niix", replace(SMALL, tilt_degrees=-10, kind="mr"), tags(GantryDetectorTilt="-10")
    ),
    (Rule.FIRST_GAP, "jitter"): Case("dcm2niix", SMALL, moved(lambda k: (0, 0, JITTER[k]))),
    (Rule.FIRST_GAP, "from the other end"): Case(
        "dcm2niix", replace(SMALL, instance_numbers="against"), moved(lambda k: (0, 0, 0.03 * (k == 6)))
    ),
    (Rule.ONE_PER_UID, ""): Case("dcm2niix", OBLIQUE, tags(SOPInstanceUID="1.2.3", InstanceNumber=None)),
    (Rule.ONE_SERIES_UID, ""): Case("SimpleITK", OBLIQUE, tags(SeriesInstanceUID=lambda k: f"1.2.3.{k + 1}")),
    (Rule.NO_LONE_INTERCEPT, ""): Case("dicom2nifti", OBLIQUE, tags(RescaleIntercept="-1024")),
    (Rule.INVERTED, "12 bits"): Case("SimpleITK", replace(OBLIQUE, photometric="MONOCHROME1", bits_stored=12)),
    (Rule.INVERTED, "signed"): Case("SimpleITK", replace(OBLIQUE, photometric="MONOCHROME1", signed=True)),
    (Rule.INVERTED, "rescaled"): Case(
        "SimpleITK", replace(OBLIQUE, photometric="MONOCHROME1", rescale=((2.0, -1024.0),))
    ),
    (Rule.NO_SLOPE_OF_ZERO, ""): Case(
        "SimpleITK", replace(OBLIQUE, rescale=tuple((2.0 * (k != 2), 1.0) for k in range(7)))
    ),
    (Rule.NO_SPACING, "SimpleITK"): Case("SimpleITK", OBLIQUE, _imager_spacing),
    (Rule.NO_SPACING, "dcm2niix"): Case("dcm2niix", OBLIQUE, _imager_spacing),
    (Rule.HEADWARDS_MOSAIC, ""): Case("dcm2niix", OBLIQUE, after=_bare_mosaic),
    (Rule.NO_MODALITY_LUT, "SimpleITK"): Case("SimpleITK", OBLIQUE, _modality_lut),
    (Rule.NO_MODALITY_LUT, "dcm2niix"): Case("dcm2niix", OBLIQUE, _modality_lut),
    (Rule.SWAPPED_BYTES, ""): Case(
        "SimpleITK", replace(OBLIQUE, transfer_syntax="implicit"), after=lambda p: declare(p, "1.2.840.113619.5.2")
    ),
    (Rule.REAL_WORLD_VALUES, ""): Case("dcm2niix", OBLIQUE, _real_world),
    (Rule.NARROW_CODE_STREAM, ""): Case(
        "dcm2niix",
        replace(OBLIQUE, shape=(40, 34, 5), bits_allocated=8, content="mask", labels=(60, 120, 200), radius_mm=15),
        after=_narrow,
    ),
    (Rule.BRIGHT_BITS, "a last byte that is not full"): Case("SimpleITK", BITS),
    (Rule.BRIGHT_BITS, "multi-frame"): Case("SimpleITK", replace(BITS, kind="multi-frame sc")),
    (Rule.BRIGHT_BITS, "slope 1"): Case("SimpleITK", replace(BITS, rescale=((1.0, 0.0),))),
    (Rule.ROWS_TURNED, ""): Case("dcm2niix", replace(OBLIQUE, kind="mr"), epi_pepolar(1)),
    (Rule.ONE_SIGN, "SimpleITK"): Case("SimpleITK", OBLIQUE, _two_signs),
    (Rule.ONE_SIGN, "dcm2niix"): Case("dcm2niix", OBLIQUE, _two_signs),
    (Rule.STEP_BY_TAG, "slices against the normal"): Case("dcm2niix", AGAINST, nuclear(AGAINST)),
    (Rule.STEP_BY_TAG, "no Slice Thickness"): Case("dcm2niix", AXIAL, dose(AXIAL, further=UNSCALED)),
    (Rule.STEP_BY_TAG, "Slice Thickness"): Case(
        "dcm2niix", FRAMES, dose(FRAMES, further=values(DoseGridScaling="1", SliceThickness="5"))
    ),
    (Rule.LOST_POSITION, ""): Case("SimpleITK", FRAMES, nuclear(FRAMES, at_top(FRAMES))),
    (Rule.LOST_POSITION, "against the normal"): Case("SimpleITK", AGAINST, nuclear(AGAINST, at_top(AGAINST))),
    (Rule.RETIRED_CLASS, ""): Case("SimpleITK", AGAINST, nuclear(AGAINST, sop_class=RETIRED)),
    (Rule.NO_DOSE_SCALING, "dicom2nifti"): Case("dicom2nifti", PLANES, dose(PLANES)),
    (Rule.NO_DOSE_SCALING, "SimpleITK"): Case("SimpleITK", PLANES, dose(PLANES)),
    (Rule.NO_DOSE_SCALING, "dcm2niix"): Case("dcm2niix", AXIAL, dose(AXIAL, further=values(SpacingBetweenSlices="2"))),
    (Rule.SIGNED_32, ""): Case("dcm2niix", replace(OBLIQUE, bits_allocated=32), _up_to_2_to_the_32),
    (Rule.SIGNED_DOSE, ""): Case(
        "dcm2niix", WIDE, dose(WIDE, further=lambda d: _up_to_2_to_the_32(0, values(SpacingBetweenSlices="2")(d) or d))
    ),
    (Rule.SWAPPED_WORDS, ""): Case("SimpleITK", replace(OBLIQUE, bits_allocated=32), after=_big_endian),
    **{
        (Rule.TWELVE_PACKED, name): Case("dcm2niix", spec, tags(BitsAllocated=12, BitsStored=12, HighBit=11))
        for name, spec in {
            "": OBLIQUE,
            "signed and rescaled": replace(OBLIQUE, signed=True, rescale=((2.0, -1024.0),)),
            "multi-frame": replace(OBLIQUE, kind="enhanced ct"),
            "big endian": replace(OBLIQUE, transfer_syntax="big endian"),
        }.items()
    },
    (Rule.ONE_SLOPE, ""): Case("dcm2niix", replace(OBLIQUE, rescale=tuple((1e-8 * (10 + k), 0.0) for k in range(7)))),
    (Rule.JPEG_ROUNDING, "grey"): Case(
        "dcm2niix", replace(COLOURED, transfer_syntax="jpeg"), grey_jpeg(COLOURS[..., 1]), seen=3
    ),
    **{
        (Rule.JPEG_ROUNDING, name): Case(
            "dcm2niix", replace(COLOURED, transfer_syntax="jpeg"), JPEG[name].edit(COLOURS), seen=40
        )
        for name in ("4:4:4", "4:2:2", "4:2:0", "JFIF", "Adobe RGB")
    },
    **{
        (ColourRule.AS_DECLARED, f"{witness}, {name}"): Case(
            witness, replace(COLOURED, transfer_syntax="jpeg"), JPEG[name].edit(COLOURS)
        )
        for witness, name in (
            ("SimpleITK", "JFIF called RGB"),
            ("SimpleITK", "Adobe RGB called YBR"),
            ("SimpleITK", "Adobe YBR called RGB"),
            ("dicom2nifti", "Adobe YBR called RGB"),
        )
    },
    **{
        (ColourRule.RLE_AS_STORED, name): Case(
            "dcm2niix", replace(COLOURED, transfer_syntax="rle frames"), RLE[name].edit(COLOURS)
        )
        for name in ("RGB in planes", "YBR_FULL", "YBR_FULL in planes")
    },
    (ColourRule.ONE_SAMPLE, ""): Case(
        "SimpleITK", COLOURED, NATIVE["RGB"].edit(COLOURS, PhotometricInterpretation="MONOCHROME2")
    ),
    **{
        (ColourRule.ONE_SAMPLE, f"JPEG, {name}"): Case(
            "SimpleITK",
            replace(COLOURED, transfer_syntax="jpeg"),
            JPEG[name].edit(COLOURS, PhotometricInterpretation="MONOCHROME2"),
        )
        for name in ("Adobe RGB", "4:4:4", "4:2:2")
    },
    (ColourRule.PALETTE_APPLIED, ""): Case("SimpleITK", COLOURED, palette(unique_tables(256))),
    **{
        (ColourRule.PALETTE_LEFT_OUT, witness): Case(witness, COLOURED, palette(unique_tables(256)), policy=APPLIED)
        for witness in ("dicom2nifti", "dcm2niix")
    },
}
ON_SAMPLES = {Rule.MIRRORED_MOSAIC: "dicom2nifti", Rule.MOSAIC_SHEET: "SimpleITK"}


@pytest.fixture(scope="module")
def witnesses() -> Iterator[Panel]:
    for name in ("SimpleITK", "dcm2niix"):
        pytest.importorskip(name)
    with Panel(POLICY) as shared:
        yield shared


def product_of(folder: Path, policy: Policy = POLICY) -> Product:
    series = choose(scan([folder]), None)
    return product_of_part(series, split(series.frames)[0], policy)


def told_by(panel: Panel, witness: str, product: Product) -> Told:
    assert product.witnessed is not None
    panel.begin(product.witnessed.frames, voxels=True)
    assert panel._jobs
    return {t.witness: t for t in panel._testimonies(panel._jobs[0], product.witnessed.frames)}[witness]


def judged(told: Told, product: Product) -> Agreement:
    seen = product.witnessed
    assert seen is not None
    limit = POLICY.dcm2niix_limit_mm if told.witness == "dcm2niix" else POLICY.witness_limit_mm
    known = predict(told.witness, seen.stack, seen.frames, seen.physical)
    voxels = product.volume.voxels
    return judge(told, product.grid, limit, seen.physical, lambda: iter(voxels), known)


def planted(told: Told, product: Product, seen: int = 1) -> Iterator[tuple[str, Told]]:
    """The same testimony with one more fault: in a voxel, in the place of the block, in its step."""
    assert told.array is not None
    assert told.affine_ras is not None
    array = np.array(told.array)
    spoiled = array.copy()
    # Of our first row: of half a plane's others nothing is predicted where code streams are narrow.
    if spoiled.dtype.names is None:
        spoiled[0, -1, 0] += seen
    else:
        spoiled["R"][0, -1, 0] ^= 128
        spoiled["G"][0, -1, 0] ^= 128
    yield "a voxel", replace(told, array=spoiled)
    for row, column, what in ((2, 3, "its place"), (0, 0, "a spacing")):
        affine = told.affine_ras.copy()
        affine[row, column] += 0.02
        yield what, replace(told, affine_ras=affine)
    if product.grid.shape[1] % 2:
        yield "all its rows", replace(told, array=np.roll(array, 1, axis=1))


def assert_met_exactly(rule: Rule | ColourRule, witness: str, panel: Panel, product: Product, seen: int = 1) -> None:
    told = told_by(panel, witness, product)
    agreement = judged(told, product)
    assert agreement.status == "KNOWN_WRONG", agreement
    assert agreement.words.endswith(f"as it is known to: {rule.value}")
    for what, worse in planted(told, product, seen):
        assert judged(worse, product).status == "DIFFERS", what


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _ in CASES} | set(ON_SAMPLES) == {*Rule, *ColourRule}


def test_every_rule_is_in_the_page_of_witnesses() -> None:
    rows = (Path(__file__).parents[1] / "docs" / "witnesses.md").read_text("utf-8").splitlines()
    said = {
        (name, row.split(" | ")[1])
        for row in rows
        if row.count(" | ") == 2
        for name in row[2:].split(" | ")[0].split(", ")
    }
    witnesses = {(case.witness, rule.value) for (rule, _), case in CASES.items()}
    assert witnesses | {(witness, rule.value) for rule, witness in ON_SAMPLES.items()} <= said


@pytest.mark.parametrize("name", CASES, ids=lambda n: f"{n[0].name} {n[1]}".strip())
def test_a_prediction_is_met_and_nothing_beside_it_is_excused(
    tmp_path: Path, witnesses: Panel, name: tuple[Rule | ColourRule, str]
) -> None:
    case = CASES[name]
    truth = write(tmp_path, case.spec, edit=case.edit)
    for path in truth.paths if case.after else ():
        case.after(path)
    assert_met_exactly(name[0], case.witness, witnesses, product_of(tmp_path, case.policy), case.seen)


@pytest.mark.parametrize("rule", ON_SAMPLES, ids=lambda rule: rule.name)
def test_what_is_predicted_of_a_real_mosaic_is_met(samples: Path, witnesses: Panel, rule: Rule) -> None:
    product = product_of(samples / "neurolabusc+dcm_qa/In/Orientation/cor/corasc36")
    assert_met_exactly(rule, ON_SAMPLES[rule], witnesses, product)


def test_two_faults_at_once_are_predicted(tmp_path: Path, witnesses: Panel) -> None:
    spec = replace(OBLIQUE, tilt_degrees=15, kind="mr", photometric="MONOCHROME1")
    write(tmp_path, spec)
    product = product_of(tmp_path)
    words = judged(told_by(witnesses, "SimpleITK", product), product).words
    assert words.endswith(f"{Rule.NO_SHEAR.value}; {Rule.INVERTED.value}")


# What is right is not disputed

RIGHT = {
    "one plane": (replace(OBLIQUE, shape=(11, 9, 1)), tags(SliceThickness="5")),
    "one thin plane": (replace(SMALL, shape=(11, 9, 1)), tags(SliceThickness="0.1")),
    "32 bits": (replace(OBLIQUE, bits_allocated=32), tags()),
    "32 bits, rescaled": (replace(OBLIQUE, bits_allocated=32, rescale=((0.5, -3.0),)), tags()),
    "two signs": (OBLIQUE, tags(lambda k: k % 2 == 1, PixelRepresentation=1)),
    "slopes that differ in print": (
        replace(OBLIQUE, rescale=tuple((1.5 + 1e-7 * (k % 2), -10.0) for k in range(7))),
        tags(),
    ),
    "one UID for all": (OBLIQUE, tags(SOPInstanceUID="1.2.3")),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_result_is_not_disputed(tmp_path: Path, name: str) -> None:
    spec, edit = RIGHT[name]
    write(tmp_path / "in", spec, edit=edit)
    outcome = convert([tmp_path / "in"], tmp_path / "out.nii", policy=POLICY)
    assert outcome.verdict == "VERIFIED"
    assert sum(a.confirms for a in outcome.agreements) >= 2


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
def test_planes_of_two_transfer_syntaxes_are_not_disputed(tmp_path: Path, syntax: str) -> None:
    truth = write(tmp_path / "in", replace(OBLIQUE, shape=(40, 36, 5)))
    for path in truth.paths[::2]:
        dataset = dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    outcome = convert([tmp_path / "in"], tmp_path / "out.nii", policy=POLICY)
    assert outcome.verdict == "VERIFIED"
    assert all(a.confirms for a in outcome.agreements)


def test_tiny_values_are_held_against_their_own_size(tmp_path: Path, witnesses: Panel) -> None:
    """A difference of a tenth is one, though it is far below a millionth."""
    write(tmp_path, replace(OBLIQUE, rescale=((1e-8, 0.0),)))
    product = product_of(tmp_path)
    told = told_by(witnesses, "SimpleITK", product)
    assert judged(told, product).confirms
    assert told.array is not None
    assert judged(replace(told, array=told.array * 1.1), product).status == "DIFFERS"


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_a_voxel_that_is_no_number_excuses_no_other(tmp_path: Path, witnesses: Panel, odd: float) -> None:
    """Neither where a rule explains the place: it must be met by the same voxels, but for these."""

    def one_odd(k: int, dataset: Dataset) -> None:
        pixels = np.frombuffer(dataset.FloatPixelData, "<f4").copy()
        pixels[5] = odd
        dataset.FloatPixelData = pixels.tobytes()

    write(tmp_path, SMALL, edit=both(moved(lambda k: (0, 0, JITTER[k])), stored_as("f4"), one_odd))
    product = product_of(tmp_path)
    told = told_by(witnesses, "dcm2niix", product)
    assert judged(told, product).status == "KNOWN_WRONG"
    assert told.array is not None
    at = tuple(np.argwhere(~np.isfinite(told.array))[0])
    for voxel, value in ((at, 7.0), ((at[0] + 1, *at[1:]), 1e6)):
        spoiled = np.array(told.array)
        spoiled[voxel] = value
        assert judged(replace(told, array=spoiled), product).status == "DIFFERS"


def _with_chrominance(told: Told, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Told:
    """The same luminance, with other chrominances. change: given (..., 3) YBR."""
    assert told.array is not None
    rgb = np.stack([told.array[name] for name in "RGB"], -1)
    array = np.empty_like(told.array)
    for n, name in enumerate("RGB"):
        array[name] = to_rgb(change(to_ybr(rgb)))[..., n]
    return replace(told, array=array)


def _red_on_grey(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Grey values with a mark in pure red on them."""
    colours = np.repeat(smooth_colours(shape)[..., 1:2], 3, -1)
    colours[8:24, 8:24] = 255, 0, 0
    return colours


@pytest.mark.parametrize("name", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("colours", [COLOURS, _red_on_grey(COLOURED.shape)], ids=["smooth", "red on grey"])
def test_other_chrominances_are_no_rounding(
    tmp_path: Path, witnesses: Panel, colours: NDArray[np.uint8], name: str
) -> None:
    write(tmp_path, replace(COLOURED, transfer_syntax="jpeg"), edit=JPEG[name].edit(colours))
    product = product_of(tmp_path)
    told = told_by(witnesses, "dcm2niix", product)
    assert judged(told, product).status == "KNOWN_WRONG"
    for change in (lambda ybr: ybr[..., [0, 2, 1]], lambda ybr: np.where([True, False, False], ybr, np.uint8(128))):
        agreement = judged(_with_chrominance(told, change), product)
        assert agreement.status == "DIFFERS"
        assert 0 < int(agreement.words.split(", ")[1].split()[0]) <= int(agreement.words.split()[0])


def test_bars_of_pure_colours_are_not_disputed(tmp_path: Path, witnesses: Panel) -> None:
    """Where samples are cut off, the luminance of two decoders differs by more than eight levels."""
    pure = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]], np.uint8)
    i, j, k = np.meshgrid(*(np.arange(n) for n in (48, 32, 4)), indexing="ij")
    bars = pure[(i // (k + 1) + 3 * (j // (k + 2))) % 6]
    spec = replace(COLOURED, shape=(48, 32, 4), transfer_syntax="jpeg")
    write(tmp_path, spec, edit=JPEG["4:2:0"].edit(bars))
    product = product_of(tmp_path)
    agreement = judged(told_by(witnesses, "dcm2niix", product), product)
    assert agreement.status == "KNOWN_WRONG", agreement


# GE's epi_pepolar


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        (0, ""),
        (1, "every volume"),
        (2, "from the first"),
        (3, "from the second"),
        *((odd, "none that is known") for odd in ("?", "inf", 7, "")),
    ],
)
def test_volumes_that_ge_stores_upside_down_are_said(tmp_path: Path, scheme: object, said: str) -> None:
    write(tmp_path / "in", replace(SMALL, kind="mr"), edit=epi_pepolar(scheme))
    outcome = convert([tmp_path / "in"], tmp_path / "out.nii", policy=POLICY)
    messages = [f.message for f in outcome.findings if f.code is Code.REVERSED_ROWS]
    assert len(messages) == bool(said)
    assert all(said in message for message in messages)
    assert outcome.verdict == ("UNCONFIRMED" if said else "VERIFIED")


def test_a_scheme_of_another_sequence_says_nothing(tmp_path: Path) -> None:
    def other(k: int, dataset: Dataset) -> None:
        epi_pepolar(1)(k, dataset)
        dataset[0x0019109C].value = "epi"

    write(tmp_path / "in", replace(SMALL, kind="mr"), edit=other)
    outcome = convert([tmp_path / "in"], tmp_path / "out.nii", policy=POLICY)
    assert Code.REVERSED_ROWS not in {f.code for f in outcome.findings}


def test_no_series_of_the_samples_is_disputed(samples: Path, tmp_path: Path) -> None:
    done, refused = convert_all([samples], tmp_path, policy=replace(POLICY, on_tilt="refuse"))
    assert len(done) > 40
    assert {o.verdict for o in done} <= {"VERIFIED", "UNCONFIRMED"}
    assert Code.WITNESS_DIFFERS not in {error.finding.code for error in refused}


@pytest.mark.parametrize("which", ["a table", "some planes only"])
def test_real_world_values_that_cannot_be_computed_excuse_nothing(tmp_path: Path, witnesses: Panel, which: str) -> None:
    """A prediction of nothing would be met by anything."""

    def edit(k: int, dataset: Dataset) -> None:
        if which == "a table":
            _real_world(k, dataset)
            item = dataset.RealWorldValueMappingSequence[0]
            del item.RealWorldValueSlope, item.RealWorldValueIntercept
            item.RealWorldValueLUTData = [float(n) for n in range(8)]
        elif k < 3:
            _real_world(k, dataset)

    write(tmp_path, OBLIQUE, edit=edit)
    product = product_of(tmp_path)
    seen = product.witnessed
    assert seen is not None
    known = list(predict("dcm2niix", seen.stack, seen.frames, seen.physical))
    assert all(Rule.REAL_WORLD_VALUES not in prediction.rules for prediction in known)
    told = told_by(witnesses, "SimpleITK", product)
    assert told.array is not None
    spoiled = replace(told, witness="dcm2niix", array=told.array[::-1])
    assert judged(spoiled, product).status == "DIFFERS"


def test_few_rules_leave_voxels_to_chance(tmp_path: Path, witnesses: Panel) -> None:
    for name, case in CASES.items():
        truth = write(tmp_path / str(name), case.spec, edit=case.edit)
        for path in truth.paths if case.after else ():
            case.after(path)
        product = product_of(truth.folder, case.policy)
        seen = product.witnessed
        assert seen is not None
        if product.volume.voxels.dtype.names is not None:
            continue  # no colour is NaN
        for prediction in predict(case.witness, seen.stack, seen.frames, seen.physical):
            planes = [plane for plane, _ in prediction.expected(iter(product.volume.voxels))]
            unknown = max(0 if p.dtype.names else np.isnan(p.astype(float)).sum() for p in planes)
            if Rule.NARROW_CODE_STREAM in prediction.rules:
                assert unknown == planes[0].size / 2
            elif Rule.BRIGHT_BITS in prediction.rules:  # those of a last byte that is not full
                files = len(planes) if case.spec.kind == "ct" else 1
                assert unknown == len(planes) // files * planes[0].size % 8
            else:
                assert unknown == 0, prediction.words
