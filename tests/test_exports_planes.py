"""Colour and overlay exports, made from real series, come back voxel for voxel."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.pixels import pack_bits

from pipeline.core.findings import Code, PipelineError
from pipeline.decode.embedded import colour, overlay
from pipeline.decode.embedded.labelled import Named, parse_labels
from pipeline.decode.embedded.recognise import recognise
from pipeline.dicom.colour_pixels import read_colour
from pipeline.dicom.scan import scan
from tests.helpers import exports, phantom
from tests.helpers.dicom_file import SYNTAXES
from tests.helpers.exports import real as real_series
from tests.helpers.exports import write

COLOURS = np.array([[0, 0, 0], [255, 128, 0], [0, 200, 10], [200, 200, 3]], np.uint8)


@pytest.fixture(scope="module", params=["CT", "MR"])
def real(request, samples):
    return real_series(samples, request.param, planes=6)


@pytest.fixture(scope="module")
def mr(samples):
    return real_series(samples, "MR", planes=6)


def refused(call, *args, **kwargs):
    with pytest.raises(PipelineError) as caught:
        call(*args, **kwargs)
    return caught.value.finding


def grey(real):
    """The image in 8 bits."""
    low, high = np.percentile(real.stored, (5, 95))
    return np.clip((real.stored - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def in_colour(real, colours=COLOURS):
    """(columns, rows, planes, 3): the grey image with the parts in colour."""
    rgb = np.repeat(grey(real)[..., None], 3, axis=-1)
    rgb[real.mask] = colours[real.parts[real.mask]]
    return rgb


def as_colour(rgb, planar=0, lossy=False):
    """An edit that puts colour pixels in, of one plane each."""

    def edit(n, dataset):
        plane = np.ascontiguousarray(rgb[:, :, n].swapaxes(0, 1))  # (rows, columns, 3)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", planar
        dataset.BitsAllocated = dataset.BitsStored = plane.dtype.itemsize * 8
        dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
        data = (plane if not planar else np.moveaxis(plane, -1, 0)).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        dataset["PixelData"].VR = "OB"
        if lossy:
            dataset.LossyImageCompression = "01"

    return edit


@pytest.mark.parametrize("kind", ["same", "sc"])
@pytest.mark.parametrize("planar", [0, 1])
def test_exact_colours_are_labels(real, tmp_path, kind, planar):
    write(tmp_path / "shown", real, grey(real), kind, as_colour(in_colour(real), planar))
    laid = exports.laid(tmp_path / "shown")
    assert recognise(laid.frames).kind == "colour"
    labelled = colour.decode(laid.frames)
    mask = labelled.decoded(laid.frames).on(laid.grid, laid.place(labelled.voxels, 0), "")
    numbers = np.array([0, 3, 1, 2])  # ascending by red, green, blue
    np.testing.assert_array_equal(mask.voxels.array(), numbers[real.parts])
    assert [(s.name, s.colour) for s in mask.segments] == [
        ("#00c80a", (0, 200, 10)),
        ("#c8c803", (200, 200, 3)),
        ("#ff8000", (255, 128, 0)),
    ]
    named = colour.decode(laid.frames, inside=parse_labels("tumour=#ff8000,liver=#c8c803"))
    np.testing.assert_array_equal(named.voxels.array(), np.array([0, 1, 0, 2])[real.parts])
    assert Code.VALUES_LEFT_OUT in [f.code for f in named.findings]
    assert refused(colour.decode, laid.frames, inside=parse_labels("liver=#c8c804")).code is Code.NO_SUCH_VALUE
    assert refused(colour.decode, laid.frames, inside=(Named("liver", 3),)).code is Code.BAD_LABELS


@pytest.mark.parametrize("syntax", ["rle", "jpeg 2000", "implicit"])
def test_compressed_colours_are_the_same_labels(mr, tmp_path, syntax):
    write(tmp_path / "shown", mr, grey(mr), "sc", as_colour(in_colour(mr)), transfer_syntax=syntax)
    frames = exports.laid(tmp_path / "shown").frames
    assert frames[0].header.transfer_syntax == SYNTAXES[syntax]
    np.testing.assert_array_equal(colour.decode(frames).voxels.array(), np.array([0, 3, 1, 2])[mr.parts])


def test_a_palettes_colours_are_labels_and_its_greys_are_not(mr, tmp_path):
    write(tmp_path / "shown", mr, np.minimum(grey(mr), 250), "sc", as_palette(mr))
    frames = exports.laid(tmp_path / "shown").frames
    assert recognise(frames).kind == "colour"
    labelled = colour.decode(frames)
    np.testing.assert_array_equal(labelled.voxels.array(), np.array([0, 3, 1, 2])[mr.parts])
    assert [s.colour for s in labelled.segments] == [(0, 200, 10), (200, 200, 3), (255, 128, 0)]
    assert read_colour(frames[0]).shape == (110, 112, 3)


def as_palette(real):
    """Indices 251 to 253 are the colours, in another order in every file; the rest is grey."""

    def edit(n, dataset):
        order = np.roll([1, 2, 3], n)
        table = np.repeat(np.arange(256)[:, None], 3, axis=1)
        table[251:254] = COLOURS[order]
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        plane = np.minimum(grey(real), 250)[:, :, n].T.copy()
        for index, part in enumerate(order, 251):
            plane[part == real.parts[:, :, n].T] = index
        dataset.PixelData = plane.tobytes()
        for channel in range(3):
            dataset.add_new((0x0028, 0x1101 + channel), "US", [256, 0, 16])
            dataset.add_new((0x0028, 0x1201 + channel), "OW", (table[:, channel] * 257).astype("<u2").tobytes())

    return edit


def test_shaded_lossy_and_grey_colours_are_refused(mr, tmp_path):
    shaded = in_colour(mr)
    shaded[..., 0] = np.where(mr.mask, grey(mr) // 2 + 100, shaded[..., 0])
    shaded[..., 2] = np.where(mr.mask, grey(mr) // 3, shaded[..., 2])
    write(tmp_path / "shaded", mr, grey(mr), "sc", as_colour(shaded))
    write(tmp_path / "lossy", mr, grey(mr), "sc", as_colour(in_colour(mr), lossy=True))
    write(tmp_path / "grey", mr, grey(mr), "sc", as_colour(in_colour(mr, np.full((4, 3), 90, np.uint8))))
    codes = {n: refused(colour.decode, exports.laid(tmp_path / n).frames).code for n in ("shaded", "lossy", "grey")}
    assert codes == {"shaded": Code.NOT_A_MASK, "lossy": Code.LOSSY_PIXELS, "grey": Code.EMPTY}


def with_overlay(bits, group=0x6000, origin=(1, 1), label="", first=None, vr="OW", kind="R"):
    """An edit that gives plane n the overlay bits[:, :, n] (columns, rows, planes), unless it is empty."""

    def edit(n, dataset):
        plane = bits[:, :, n].T
        if plane.any():
            put_overlay(dataset, group, plane[None], origin, label, first, vr, kind)

    return edit


def put_overlay(dataset, group, frames, origin=(1, 1), label="", first=None, vr="OW", kind="R"):
    """frames: (frames, rows, columns) of bits."""
    count, rows, columns = frames.shape
    dataset.add_new((group, 0x0010), "US", rows)
    dataset.add_new((group, 0x0011), "US", columns)
    dataset.add_new((group, 0x0040), "CS", kind)
    dataset.add_new((group, 0x0050), "SS", list(origin))
    dataset.add_new((group, 0x0100), "US", 1)
    dataset.add_new((group, 0x0102), "US", 0)
    if first is not None or count > 1:
        dataset.add_new((group, 0x0015), "IS", count)
        dataset.add_new((group, 0x0051), "US", first or 1)
    if label:
        dataset.add_new((group, 0x1500), "LO", label)
    dataset.add_new((group, 0x3000), vr, pack_bits(frames.astype(np.uint8).ravel(), pad=True))


@pytest.mark.parametrize("kind", ["same", "sc"])
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_overlays_come_back_voxel_for_voxel_one_mask_a_group(real, tmp_path, kind, vr):
    torso, marker = real.parts == 1, (real.parts == 2) | (real.parts == 1) & (real.stored > np.median(real.stored))
    # The second overlay is a cut-out of its own size, placed by its origin.
    corner = np.array([a.any(axis=x).argmax() for a, x in ((marker, (1, 2)), (marker, (0, 2)))])
    cut = marker[corner[0] :, corner[1] : -3]
    cut_edit = with_overlay(cut, 0x6004, (int(corner[1]) + 1, int(corner[0]) + 1), "second", vr=vr)
    torso_edit = with_overlay(torso, 0x6002, label="torso", vr=vr)

    def edit(n, dataset):
        torso_edit(n, dataset)
        cut_edit(n, dataset)

    write(tmp_path / "shown", real, real.stored, kind, edit)
    laid = exports.laid(tmp_path / "shown")
    assert recognise(laid.frames).kind == "overlay"
    assert overlay.groups(laid.frames) == (0x6002, 0x6004)
    first, second = overlay.decode(laid.frames)
    assert (first.name, second.name) == ("torso", "second")
    np.testing.assert_array_equal(laid.place(first.voxels, 0).array(), torso)
    np.testing.assert_array_equal(second.voxels.array(), marker)
    assert Code.OVERLAY_CLIPPED not in [f.code for f in second.findings]


@pytest.mark.parametrize("origin", [(-2, 6), (4, -7), (100, 90)])
def test_an_overlay_that_reaches_over_the_image_is_cut_off_and_counted(mr, tmp_path, origin):
    bits = np.zeros((30, 41, mr.parts.shape[2]), np.bool_)
    bits[:, :, 2] = np.random.default_rng(1).random((30, 41)) < 0.5
    write(tmp_path / "shown", mr, mr.stored, "same", with_overlay(bits, origin=origin))
    frames = exports.laid(tmp_path / "shown").frames
    (mask,) = overlay.decode(frames)
    columns, rows, planes = mr.parts.shape
    expected = np.zeros((columns, rows, planes), np.uint8)
    for i, j in np.argwhere(bits[:, :, 2]):
        column, row = i + origin[1] - 1, j + origin[0] - 1
        if 0 <= column < columns and 0 <= row < rows:
            expected[column, row, 2] = 1
    np.testing.assert_array_equal(mask.voxels.array(), expected)
    clipped = next(f for f in mask.findings if f.code is Code.OVERLAY_CLIPPED)
    assert clipped.measured == bits.sum() - expected.sum() > 0


@pytest.mark.parametrize(("syntax", "vr"), [("explicit", "OB"), ("big endian", "OB"), ("big endian", "OW")])
def test_a_multi_frame_overlay_begins_at_its_image_frame(tmp_path, syntax, vr):
    def edit(k, dataset):
        put_overlay(dataset, 0x6000, several_bits(dataset.Columns, dataset.Rows), first=4, vr=vr)
        if vr == "OW":  # pydicom writes words as they are given
            element = dataset[0x6000, 0x3000]
            element.value = np.frombuffer(element.value, np.uint16).byteswap().tobytes()

    odd = {"shape": (47, 37, 14), "content": "index", "kind": "enhanced ct"}  # frames that end within a byte
    truth = phantom.write(tmp_path, edit=edit, transfer_syntax=syntax, **odd)
    frames = scan([tmp_path]).series[0].frames
    (mask,) = overlay.decode(frames)
    columns, rows, planes = truth.ijk.shape
    expected = np.zeros((columns, rows, planes), np.uint8)
    expected[:, :, 3:6] = several_bits(columns, rows)[:3].transpose(2, 1, 0)
    np.testing.assert_array_equal(mask.voxels.array(), expected)


def several_bits(columns, rows):
    return np.random.default_rng(2).random((3, rows, columns)) < 0.3


def test_overlay_frames_beyond_the_image_are_counted_and_single_ones_belong_to_every_frame(tmp_path):
    def edit(k, dataset):
        put_overlay(dataset, 0x6000, several_bits(dataset.Columns, dataset.Rows), first=dataset.NumberOfFrames, vr="OB")
        put_overlay(dataset, 0x6002, several_bits(dataset.Columns, dataset.Rows)[:1], vr="OB")

    phantom.write(tmp_path, kind="enhanced ct", content="index", edit=edit)
    frames = scan([tmp_path]).series[0].frames
    last, every = overlay.decode(frames)
    bits = several_bits(*every.voxels.shape[:2])
    clipped = next(f for f in last.findings if f.code is Code.OVERLAY_CLIPPED)
    assert clipped.measured == bits[1:].sum()
    assert last.voxels.array().sum() == bits[0].sum()
    for plane in every.voxels:
        np.testing.assert_array_equal(plane, bits[0])


@pytest.mark.parametrize("bit", [12, 15, 3])
def test_overlays_in_unused_bits_of_the_pixels_are_read(mr, tmp_path, bit):
    values = (mr.stored.astype(np.int64) - mr.stored.min()) % 4096

    def edit(n, dataset):
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        plane = values[:, :, n].T | (mr.mask[:, :, n].T.astype(np.int64) << bit)
        dataset.PixelData = plane.astype("<u2").tobytes()
        dataset.add_new((0x6000, 0x0010), "US", dataset.Rows)
        dataset.add_new((0x6000, 0x0011), "US", dataset.Columns)
        dataset.add_new((0x6000, 0x0050), "SS", [1, 1])
        dataset.add_new((0x6000, 0x0100), "US", 16)
        dataset.add_new((0x6000, 0x0102), "US", bit)

    write(tmp_path / "shown", mr, values.astype(np.uint16), "same", edit)
    laid = exports.laid(tmp_path / "shown")
    if bit == 3:  # a bit of the values themselves is no overlay
        assert overlay.groups(laid.frames) == ()
        return
    assert recognise(laid.frames).kind == "overlay"
    (mask,) = overlay.decode(laid.frames)
    np.testing.assert_array_equal(mask.voxels.array(), mr.mask)
    assert f"bit {bit} " in mask.findings[0].message


def test_empty_short_and_doubtful_overlays_are_refused(mr, tmp_path):
    empty = np.zeros(mr.parts.shape, np.bool_)
    write(tmp_path / "none", mr, mr.stored)
    write(tmp_path / "empty", mr, mr.stored, "same", lambda n, d: put_overlay(d, 0x6000, empty[:, :, n].T[None]))

    def short(n, dataset):
        put_overlay(dataset, 0x6000, mr.mask[:, :, n].T[None])
        dataset[0x6000, 0x3000].value = dataset[0x6000, 0x3000].value[:100]

    write(tmp_path / "short", mr, mr.stored, "same", short)

    def odd(n, dataset):
        put_overlay(dataset, 0x6000, mr.mask[:, :, n].T[None], origin=(1, 1, 1))

    write(tmp_path / "odd", mr, mr.stored, "same", odd)
    assert refused(overlay.decode, exports.laid(tmp_path / "odd").frames).code is Code.CORRUPT_FILE
    write(tmp_path / "both", mr, mr.parts.astype(np.uint8), "same", with_overlay(mr.mask))
    assert refused(overlay.decode, exports.laid(tmp_path / "none").frames).code is Code.EMPTY
    assert refused(overlay.decode, exports.laid(tmp_path / "empty").frames).code is Code.EMPTY
    assert refused(overlay.decode, exports.laid(tmp_path / "short").frames).code is Code.PIXEL_LENGTH
    assert not overlay.accepts(exports.laid(tmp_path / "empty").frames)
    finding = refused(recognise, exports.laid(tmp_path / "both").frames)
    assert finding.code is Code.AMBIGUOUS_EXPORT
    assert recognise(exports.laid(tmp_path / "both").frames, kind="labels").kind == "labels"
