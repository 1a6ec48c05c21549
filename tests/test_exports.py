"""Exports with a mask in the image, made from real series, come back voxel for voxel; what is open is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.conversion.looks import Looks
from pipeline.conversion.product import product_of_frames
from pipeline.conversion.request import RunDetails
from pipeline.conversion.write import finish
from pipeline.core.findings import Code, PipelineError, Severity
from pipeline.core.policy import Policy
from pipeline.crosscheck.panel import Panel
from pipeline.decode.embedded import burned_in, masked_image, value_table
from pipeline.decode.embedded.align import align_with_export
from pipeline.decode.embedded.decode import decode
from pipeline.decode.embedded.labelled import Named, parse_labels, separate
from pipeline.decode.embedded.match_planes import paired
from pipeline.decode.embedded.recognise import recognise
from pipeline.dicom.pixels import stored_voxels
from pipeline.dicom.scan import scan
from pipeline.stacking.stack_frames import lay_frames
from pipeline.volume.mask import Voxels
from tests.helpers import exports
from tests.helpers.exports import real as real_series
from tests.helpers.exports import stored, write


@pytest.fixture(scope="module", params=["CT", "MR"])
def real(request, samples):
    return real_series(samples, request.param)


@pytest.fixture(scope="module")
def ct(samples):
    return real_series(samples, "CT")


def burn(real, values_by_part):
    out = real.stored.copy()
    for part, value in values_by_part.items():
        out[real.parts == part] = value
    return out


def codes(labelled):
    return [f.code for f in labelled.findings]


def refused(call, *args, **kwargs):
    with pytest.raises(PipelineError) as caught:
        call(*args, **kwargs)
    return caught.value.finding


@pytest.mark.parametrize("kind", ["same", "sc"])
def test_burned_in_with_a_clean_export_comes_back_voxel_for_voxel(real, tmp_path, kind):
    value = real.clear_value()
    write(tmp_path / "shown", real, burn(real, {1: value, 2: value, 3: value}), kind)
    write(tmp_path / "clean", real, real.stored, kind)
    laid, shown = stored(tmp_path / "shown")
    clean_laid, clean = stored(tmp_path / "clean")
    image = align_with_export(clean, clean_laid.grid, laid.grid, laid.stack.index, 0.01)
    seen = recognise(laid.frames, clean=True)
    assert seen.kind == "burned"
    labelled = burned_in.difference(shown, image, name="liver")

    undecided = real.stored == value
    assert (undecided & real.mask).any()
    assert (undecided & ~real.mask).any()
    mask = labelled.decoded(laid.frames).on(laid.grid, laid.place(labelled.voxels, 0), labelled.name)
    np.testing.assert_array_equal(mask.voxels.array(), real.mask)
    assert [(s.number, s.name, s.source_value) for s in mask.segments] == [(1, "liver", value)]
    taken = next(f for f in labelled.findings if f.code is Code.VALUES_TAKEN)
    assert f"{value} is “liver” (" in taken.message
    finding = next(f for f in labelled.findings if f.code is Code.UNDECIDED_VOXELS)
    assert f"{np.count_nonzero(undecided):,} voxels of the image" in finding.message
    assert f"{np.count_nonzero(undecided & real.mask):,} with mask all around" in finding.message
    assert finding.measured == 0


def test_voxels_that_cannot_be_told_are_counted_and_decided_only_by_choice(real):
    value = real.open_value()
    shown, image = Voxels.of(burn(real, {1: value, 2: value, 3: value})), Voxels.of(real.stored)
    undecided = real.stored == value
    said = (Named("", value),)  # the MR's value is that of air, which may be an outside
    outside = burned_in.difference(shown, image, inside=said, undecided="outside").voxels.array() > 0
    inside = burned_in.difference(shown, image, inside=said, undecided="inside").voxels.array() > 0
    np.testing.assert_array_equal(outside, real.mask & ~undecided)
    np.testing.assert_array_equal(inside, real.mask | undecided)
    labelled = burned_in.difference(shown, image, inside=said)
    wrong = (labelled.voxels.array() > 0) != real.mask
    finding = next(f for f in labelled.findings if f.code is Code.UNDECIDED_VOXELS)
    assert finding.severity is Severity.WARNING
    assert 0 < np.count_nonzero(wrong) <= finding.measured
    assert not (wrong & ~undecided).any()


@pytest.mark.parametrize("kind", ["same", "sc"])
def test_the_source_serves_as_clean_through_a_constant_offset(real, tmp_path, kind):
    value = real.clear_value()
    shifted = burn(real, {1: value, 2: value, 3: value}).astype(np.int32) + 1024
    write(tmp_path / "shown", real, shifted.astype(np.uint16), kind)
    laid, shown = stored(tmp_path / "shown")
    image = align_with_export(Voxels.of(real.stored), real.laid.grid, laid.grid, laid.stack.index, 0.01)
    labelled = burned_in.difference(shown, image, offset=None)
    np.testing.assert_array_equal(labelled.voxels.array(), real.mask)
    assert labelled.segments[0].source_value == value + 1024
    finding = next(f for f in labelled.findings if f.code is Code.CONSTANT_OFFSET)
    assert "+1024" in finding.message
    # The same without looking for an offset: nearly every voxel differs, and that is no mask.
    assert refused(burned_in.difference, shown, image).code is Code.OTHER_IMAGE


def test_a_rescaled_source_is_refused(real):
    shown = Voxels.of(burn(real, {1: 3000}).astype(np.int32) * 2)
    assert refused(burned_in.difference, shown, Voxels.of(real.stored), offset=None).code is Code.OTHER_IMAGE


@pytest.mark.parametrize("kind", ["same", "sc"])
def test_several_constants_are_several_labels(real, tmp_path, kind):
    first, second, third = 254, 253, real.clear_value()
    write(tmp_path / "shown", real, burn(real, {1: first, 2: second, 3: third}), kind)
    shown = stored(tmp_path / "shown")[1]
    image = Voxels.of(real.stored)
    named = parse_labels(f"nose={third},liver={first},tumour={second}")
    labelled = burned_in.difference(shown, image, inside=named, undecided="outside")
    np.testing.assert_array_equal(
        labelled.voxels.array(), np.array([0, 2, 3, 1])[real.parts] * ~(real.stored == shown_value(real, labelled))
    )
    assert [s.name for s in labelled.segments] == ["nose", "liver", "tumour"]
    unnamed = burned_in.difference(shown, image)
    assert [s.source_value for s in unnamed.segments] == sorted([first, second, third])
    single = separate(labelled)
    assert [m.name for m in single] == ["nose", "liver", "tumour"]
    np.testing.assert_array_equal(single[1].voxels.array(), labelled.voxels.array() == 2)
    finding = refused(burned_in.difference, shown, image, inside=named[:2])
    assert finding.code is Code.OTHER_IMAGE
    assert f"{second} (" in finding.message


def shown_value(real, labelled):
    """(columns, rows, planes) the constant burned into each voxel, a value of no image outside of the mask."""
    table = np.array([1 << 20, *(s.source_value for s in labelled.segments)])
    return table[np.array([0, 2, 3, 1])[real.parts]]


def test_without_an_image_the_value_that_was_said_is_taken_and_the_doubt_is_said(ct, tmp_path):
    value = ct.clear_value()
    write(tmp_path / "shown", ct, burn(ct, {1: value, 2: value, 3: value}))
    laid, shown = stored(tmp_path / "shown")
    assert recognise(laid.frames, inside=True).kind == "burned"
    labelled = burned_in.select(shown, (Named("liver", value),))
    np.testing.assert_array_equal(labelled.voxels.array(), ct.mask | (ct.stored == value))
    finding = next(f for f in labelled.findings if f.code is Code.UNDECIDED_VOXELS)
    assert finding.severity is Severity.WARNING
    assert "cannot be known" in finding.message
    assert refused(burned_in.select, shown, (Named("liver", 31000),)).code is Code.NO_SUCH_VALUE
    assert refused(burned_in.select, shown, parse_labels("liver=#ff0000")).code is Code.BAD_LABELS


@pytest.mark.parametrize("kind", ["same", "sc"])
@pytest.mark.parametrize("which", ["absent", "clear"])
def test_a_masked_original_comes_back_voxel_for_voxel(real, tmp_path, kind, which):
    outside = real.clear_value() if which == "clear" else int(real.stored.min()) - 1
    write(tmp_path / "shown", real, np.where(real.mask, real.stored, np.array(outside, real.stored.dtype)), kind)
    laid, shown = stored(tmp_path / "shown")
    assert recognise(laid.frames, outside=True).kind == "masked"
    labelled = masked_image.masked(shown, outside, source=Voxels.of(real.stored), name="liver")
    np.testing.assert_array_equal(labelled.voxels.array(), real.mask)
    shifted = masked_image.masked(shown, outside, source=Voxels.of(real.stored - 700))
    np.testing.assert_array_equal(shifted.voxels.array(), real.mask)
    assert Code.CONSTANT_OFFSET in codes(shifted)
    alone = masked_image.masked(shown, outside)
    lost = real.mask & (real.stored == outside)
    np.testing.assert_array_equal(alone.voxels.array(), real.mask & ~lost)
    assert lost.any() == (which == "clear")
    if which == "clear":
        finding = next(f for f in alone.findings if f.code is Code.UNDECIDED_VOXELS)
        assert finding.measured == np.count_nonzero(lost)


@pytest.mark.parametrize("touching", [False, True])
def test_a_masked_original_is_not_taken_for_a_burned_in_one(ct, touching):
    mask = ct.mask.copy()
    if touching:  # half of the border is inside
        mask[: mask.shape[0] // 2 + 20] = True
    shown = Voxels.of(np.where(mask, ct.stored, np.int16(-2000)))
    image = Voxels.of(ct.stored)
    finding = refused(burned_in.difference, shown, image)
    assert finding.code is Code.AMBIGUOUS_EXPORT
    assert "--outside -2000" in finding.hint
    assert "--inside -2000" in finding.hint
    said = burned_in.difference(shown, image, inside=(Named("hole", -2000),))
    np.testing.assert_array_equal(said.voxels.array(), ~mask)


def test_a_masked_original_of_another_image_is_refused(ct):
    shown = np.where(ct.mask, ct.stored, np.int16(-2000))
    other = ct.stored.copy()
    i, j, k = np.argwhere(ct.mask)[1000]
    other[i, j, k] += 7
    finding = refused(masked_image.masked, Voxels.of(shown), -2000, source=Voxels.of(other))
    assert finding.code is Code.OTHER_IMAGE
    assert refused(masked_image.masked, Voxels.of(shown), 31000).code is Code.NO_SUCH_VALUE
    assert refused(masked_image.masked, Voxels.of(np.full_like(shown, -2000)), -2000).code is Code.EMPTY


def test_other_images_and_equal_ones_are_no_burned_in_masks(ct):
    image = Voxels.of(ct.stored)
    assert refused(burned_in.difference, image, image).code is Code.EMPTY
    noise = np.random.default_rng(3).integers(-4, 5, ct.stored.shape)
    assert refused(burned_in.difference, Voxels.of(ct.stored + noise), image).code is Code.OTHER_IMAGE
    assert refused(burned_in.difference, Voxels.of(ct.stored[:, :, ::-1]), image).code is Code.OTHER_IMAGE
    assert refused(burned_in.difference, Voxels.of(ct.parts.astype(np.uint8)), image).code is Code.OTHER_IMAGE
    other = np.random.default_rng(3).integers(2000, 2030, ct.stored.shape)
    assert refused(burned_in.difference, Voxels.of(np.where(ct.mask, other, ct.stored)), image).code is Code.OTHER_IMAGE
    few = np.where(ct.mask, 100 + ct.stored % 5, ct.stored)
    shaded = Voxels.of(np.where(ct.mask, few + 2000, few))
    assert "one single image value" in refused(burned_in.difference, shaded, Voxels.of(few)).message
    smaller = Voxels.of(ct.stored[:, :-1])
    finding = refused(burned_in.difference, smaller, image)
    assert finding.code is Code.OTHER_IMAGE
    assert [where.split(":")[0] for where in finding.where] == ["the export", "the image"]
    brighter = Voxels.of(np.where(ct.mask, ct.stored + 100, ct.stored))
    assert refused(burned_in.difference, brighter, image).code is Code.OTHER_IMAGE


def test_the_image_is_laid_beside_the_export_by_place(ct):
    grid = ct.laid.grid
    exported = Voxels.of(ct.stored[3:, 2:-4, 5:])
    part = type(grid)(exported.shape, grid.lps @ translation(3, 2, 5))
    index = range(exported.shape[2])
    np.testing.assert_array_equal(
        align_with_export(Voxels.of(ct.stored), grid, part, index, 0.01).array(), ct.stored[3:, 2:-4, 5:]
    )
    assert refused(align_with_export, exported, part, grid, range(grid.shape[2]), 0.01).code is Code.OTHER_IMAGE
    np.testing.assert_array_equal(
        align_with_export(Voxels.of(ct.stored), grid, part, [4, 1], 0.01).array(), ct.stored[3:, 2:-4, [9, 6]]
    )
    shifted = type(grid)(grid.shape, grid.lps @ translation(0.25, 0, 0))
    finding = refused(align_with_export, Voxels.of(ct.stored), grid, shifted, range(grid.shape[2]), 0.01)
    assert finding.code is Code.OTHER_IMAGE
    assert "0.244 mm" in finding.message
    columns, rows, planes = grid.shape
    assert [f"{columns} × {rows} × {planes} voxels of " in where for where in finding.where] == [True, True]


def translation(i, j, k):
    matrix = np.eye(4)
    matrix[:3, 3] = i, j, k
    return matrix


def test_values_that_stand_out_are_listed_and_none_is_chosen(ct, tmp_path):
    write(tmp_path / "shown", ct, burn(ct, {1: 1900, 2: 1900, 3: 1900}))
    laid, shown = stored(tmp_path / "shown")
    rows = value_table.list_values(shown)
    row = next(r for r in rows if r.value == 1900)
    occupied = [np.flatnonzero(ct.mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    assert row.extent == tuple((int(o[0]), int(o[-1])) for o in occupied)
    assert row.voxels == np.count_nonzero(ct.mask | (ct.stored == 1900))
    assert row.share == row.voxels / ct.mask.size
    assert row.suggestion == "inside"
    finding = refused(recognise, laid.frames)
    assert finding.code is Code.NOT_A_MASK
    assert "1900" in finding.hint
    framed = np.where(ct.mask, ct.stored, np.int16(-2000))
    assert value_table.list_values(Voxels.of(framed))[0].suggestion == "outside"
    assert "-2000" in value_table.as_table(value_table.list_values(Voxels.of(framed)))


def test_what_an_export_is_is_told_from_its_values(ct, tmp_path):
    write(tmp_path / "labels", ct, ct.parts.astype(np.uint8))
    seen = recognise(exports.laid(tmp_path / "labels").frames)
    assert seen.kind == "labels"
    assert "4 different values" in seen.finding().message
    eight_bits = np.clip((ct.stored.astype(int) + 200) // 3, 0, 240).astype(np.uint8)
    write(tmp_path / "grey", ct, eight_bits)
    frames = exports.laid(tmp_path / "grey").frames
    assert refused(recognise, frames).code is Code.NOT_A_MASK
    half = np.where(
        np.arange(ct.parts.shape[2]) < 8, eight_bits // 2, 130 + (np.arange(ct.parts.shape[1]) // 2)[:, None]
    )
    write(tmp_path / "half", ct, half.astype(np.uint8))
    finding = refused(recognise, exports.laid(tmp_path / "half").frames)
    assert finding.code is Code.AMBIGUOUS_EXPORT
    assert "--kind labels" in finding.hint
    assert recognise(frames, clean=True).kind == recognise(frames, inside=True).kind == "burned"
    assert recognise(frames, clean=True, outside=True).kind == "masked"
    assert recognise(frames, kind="labels").kind == "labels"
    write(tmp_path / "many", ct, ((np.arange(ct.parts.shape[2]) * 9) + ct.parts.astype(int)).astype(np.uint8))
    assert recognise(exports.laid(tmp_path / "many").frames).kind == "labels"
    assert refused(recognise, frames, inside=True, outside=True).code is Code.AMBIGUOUS_EXPORT
    assert recognise(frames, source=True).kind == "burned"


def test_what_other_readers_are_to_see_follows_from_the_labels(ct):
    constants = {1: 2222, 2: 254, 3: 1500}
    shown, image = burn(ct, constants), Voxels.of(ct.stored)
    several = burned_in.difference(Voxels.of(shown), image, undecided="outside")
    for labelled in (
        several,
        separate(several)[1],
        masked_image.masked(Voxels.of(shown), int(shown[0, 0, 0])),
    ):
        read = labelled.decoded(ct.laid.frames).physical
        assert read is not None
        for n in (0, 7):
            plane = labelled.voxels.plane(n)
            np.testing.assert_array_equal(read(n, plane), shown[:, :, n].T)
        middle = labelled.voxels.plane(7)
        assert (read(7, middle[:, ::-1]) != shown[:, :, 7].T).any()


def test_one_door_leads_to_every_decoder(ct, tmp_path):
    write(tmp_path / "labels", ct, ct.parts.astype(np.uint8))
    write(tmp_path / "burned", ct, burn(ct, {1: 2222, 2: 2222, 3: 254}))
    write(tmp_path / "masked", ct, np.where(ct.mask, ct.stored, np.int16(-2000)))
    image = Voxels.of(ct.stored)
    shifted = Voxels.of(ct.stored - 1024)
    named = parse_labels("nose=254,liver=2222")
    two = np.array([0, 2, 2, 1])[ct.parts]
    twice = two.copy()
    twice[(ct.stored == 254) & ~ct.mask] = 1

    def decoded(folder, told, **options):
        frames = exports.laid(tmp_path / folder).frames
        (labelled,) = decode(recognise(frames, **told), frames, **options)
        assert labelled.findings[0].code is Code.EXPORT_RECOGNISED
        return labelled.voxels.array()

    clear = ~(ct.stored == 254)
    frames = exports.laid(tmp_path / "labels").frames
    seen = recognise(frames, inside=True)
    assert seen.kind == "labels"
    (labelled,) = decode(seen, frames, inside=parse_labels("nose=3"))
    assert Code.UNDECIDED_VOXELS not in codes(labelled)
    chosen = decoded("labels", {"inside": True}, inside=parse_labels("nose=3,torso=1"))
    np.testing.assert_array_equal(chosen, np.array([0, 2, 0, 1])[ct.parts])
    np.testing.assert_array_equal(decoded("burned", {"clean": True}, clean=image, inside=named)[clear], two[clear])
    np.testing.assert_array_equal(decoded("burned", {"source": True}, source=shifted, inside=named)[clear], two[clear])
    np.testing.assert_array_equal(decoded("burned", {"inside": True}, inside=named), twice)
    for options in ({}, {"clean": image}, {"source": shifted}):
        np.testing.assert_array_equal(decoded("masked", {"outside": True}, outside=-2000, **options), ct.mask)
    frames = exports.laid(tmp_path / "burned").frames
    assert refused(decode, recognise(frames, kind="burned"), frames).code is Code.BAD_LABELS
    assert refused(decode, recognise(frames, kind="masked"), frames).code is Code.BAD_LABELS


@pytest.mark.parametrize(
    "text", ["liver", "liver=", "=254", "liver=2.5", "liver=#ff00", "liver=1,liver=2", "liver=1,tumour=1", ""]
)
def test_labels_that_cannot_be_read_are_refused(text):
    assert refused(parse_labels, text).code is Code.BAD_LABELS


def test_labels_are_names_with_values_or_colours():
    assert parse_labels("left kidney = -5, a=b=7,vessel=#0aFF10") == (
        Named("left kidney", -5),
        Named("a=b", 7),
        Named("vessel", (10, 255, 16)),
    )


def without_place(n, dataset):
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        delattr(dataset, keyword)
    dataset.InstanceNumber = (n * 7) % 15 + 1  # an order that means nothing


def test_planes_without_a_place_are_paired_with_the_source_by_their_grey_values(real, tmp_path):
    write(tmp_path / "shown", real, burn(real, {1: 2222, 2: 2222, 3: 2223}), "sc", without_place)
    frames = scan([tmp_path / "shown"]).series[0].frames
    assert refused(lay_frames, frames, Policy()).code is Code.MISSING_PLANE_ATTRIBUTES
    placed, finding = paired(frames, real.laid.frames)
    assert finding.code is Code.ASSUMED_GEOMETRY
    laid = lay_frames(placed, Policy())
    np.testing.assert_array_equal(laid.grid.lps, real.laid.grid.lps)
    assert laid.grid.frame_of_reference_uid == real.laid.grid.frame_of_reference_uid != ""
    labelled = burned_in.difference(stored_voxels(laid.frames), Voxels.of(real.stored))
    np.testing.assert_array_equal(labelled.voxels.array(), np.array([0, 1, 1, 2])[real.parts])
    # A plane of the source is lacking, or is there twice.
    assert refused(paired, frames, real.laid.frames[1:]).code is Code.MISSING_PLANE_ATTRIBUTES
    assert "alike" in refused(paired, frames, (*real.laid.frames, real.laid.frames[3])).message
    twice = (*frames, frames[0])
    assert "too" in refused(paired, twice, real.laid.frames).message
    empty = write(tmp_path / "empty", real, np.full_like(real.stored, -2000), "sc", without_place)
    alone = scan([empty]).series[0].frames[:1]
    assert "none of the 1" in refused(paired, alone, real.laid.frames[3:4]).message
    labels = write(tmp_path / "labels", real, real.parts.astype(np.uint8), "sc", without_place)
    assert refused(paired, scan([labels]).series[0].frames, real.laid.frames).code is Code.MISSING_PLANE_ATTRIBUTES


def test_other_readers_confirm_the_place_of_the_labels_voxel_by_voxel(ct, tmp_path):
    write(tmp_path / "shown", ct, burn(ct, {1: 2222, 2: 254, 3: 2222}))
    series = scan([tmp_path / "shown"]).series[0]
    laid = lay_frames(series.frames, Policy())
    labelled = burned_in.difference(stored_voxels(laid.frames), Voxels.of(ct.stored), name="liver")
    product = product_of_frames(series, laid, labelled.decoded(laid.frames), labelled.name)
    voxels = product.volume.voxels
    policy = Policy(crosscheck="voxels")
    with Panel(policy) as panel:
        outcome = finish(product, tmp_path / "liver.nii.gz", policy, panel, RunDetails(Looks()))
    assert outcome.verdict == "VERIFIED"
    assert [a.voxels_differing for a in outcome.agreements if a.status in ("AGREES", "REORDERED")].count(0) >= 1
    mirrored = Voxels(voxels.shape, voxels.dtype, lambda k: np.ascontiguousarray(voxels.plane(k)[:, ::-1]))
    turned = replace(product.volume, voxels=mirrored)
    with Panel(policy) as panel:
        turned_product, details = replace(product, volume=turned), RunDetails(Looks())
        assert refused(finish, turned_product, tmp_path / "x.nii", policy, panel, details).code is (
            Code.WITNESS_DIFFERS
        )
