"""GDCM as a reader of masks that lie in planes: it agrees with every kind of them, and sees each misreading of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import Dataset

from pipeline import Code, Outcome, PipelineError, Policy, Request, convert_all
from pipeline.conversion.request import ExportDescription
from pipeline.crosscheck import mask_panel
from pipeline.crosscheck.child import Child
from pipeline.crosscheck.panel import Panel
from pipeline.crosscheck.refusals import is_understood_of_mask
from pipeline.crosscheck.testimony import MaskJob, either
from pipeline.decode.embedded import burned_in, colour, overlay
from pipeline.decode.embedded import decode as embedded
from pipeline.decode.embedded.labelled import Named
from tests.helpers.exports import Array
from tests.helpers.phantom import ORIENTATIONS, Spec, Truth, write
from tests.test_exports_planes import put_overlay

SPEC = Spec(shape=(33, 37, 9), row_spacing=1.3, column_spacing=0.8, step=2.1, iop=ORIENTATIONS["double oblique"])
LABELS = replace(SPEC, labels=(3, 1, 7))
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def asked_about_labels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it is not, since that costs too much; here the other witnesses of voxels would only cost time."""
    readers = (replace(r, by_default=r.forms) if r.name == "GDCM" else r for r in mask_panel.READERS)
    monkeypatch.setattr(mask_panel, "READERS", tuple(readers))


@pytest.fixture(scope="module")
def panel() -> Iterator[Panel]:
    with Panel(Policy()) as shared:
        yield shared


@pytest.fixture(scope="module")
def gdcm() -> Iterator[Child]:
    with Child("pipeline.crosscheck.mask_readers.gdcm", "GDCM") as child:
        yield child


def convert_with(panel: Panel, folder: Path, policy: Policy | None = None, **request: Any) -> list[Outcome]:
    outcomes, refusals = convert_all(
        [folder / "in"], folder / "out", request=Request(**request), policy=policy or Policy(), panel=panel
    )
    if refusals:
        raise refusals[0]
    return outcomes


def judged(outcome: Outcome) -> tuple[str, int | None]:
    (found,) = [a for a in outcome.agreements if a.witness == "GDCM"]
    return found.status, found.voxels_differing


def image_of(spec: Spec) -> Array:
    """Grey values (columns, rows, planes) without structure, below 200: 100 is among them, 253 to 255 are not."""
    return np.random.default_rng(7).integers(0, 200, spec.shape)


def put_values(values: Array) -> Callable[[int, Dataset], None]:
    """An edit that gives every plane its values."""

    def edit(k: int, dataset: Dataset) -> None:
        dataset.PixelData = values[:, :, k].T.astype("<u2").tobytes()

    return edit


def parts(spec: Spec = SPEC) -> Array:
    return replace(spec, labels=(1, 2, 3)).array()


def burned(folder: Path, values: dict[int, int], spec: Spec = SPEC, offset: int = 0) -> Array:
    """Write an export with constants burned in, and its images; return the image."""
    image = image_of(spec)
    shown = image + offset
    for part, value in values.items():
        shown[parts(spec) == part] = value
    write(folder / "in", spec, edit=put_values(shown), seed="export")
    write(folder / "image", spec, edit=put_values(image))
    return image


def overlaid(folder: Path, **options: Any) -> Truth:
    """Write images with an overlay of a size and at a place of its own, of another shape in every plane."""
    bits = np.random.default_rng(3).random((SPEC.shape[2], 21, 19)) < 0.3

    def edit(k: int, dataset: Dataset) -> None:
        put_values(image_of(SPEC))(k, dataset)
        put_overlay(dataset, 0x6002, bits[k][None], **{"origin": (5, 7), **options})

    return write(folder / "in", SPEC, edit=edit)


@pytest.mark.parametrize("orientation", ["HFS", "FFDR", "sagittal", "steep oblique"])
@pytest.mark.parametrize("labels", [(1,), (255,), (3, 1, 7), (900, 4000, 12)])
def test_label_series_in_every_orientation(
    tmp_path: Path, panel: Panel, orientation: str, labels: tuple[int, ...]
) -> None:
    write(tmp_path / "in", SPEC, iop=ORIENTATIONS[orientation], labels=labels, stored="shuffled")
    (outcome,) = convert_with(panel, tmp_path)
    assert judged(outcome) == ("AGREES", 0)


@pytest.mark.parametrize(
    "syntax", ["implicit", "explicit", "big endian", "deflated", "rle", "jpeg lossless", "jpeg-ls", "jpeg 2000"]
)
@pytest.mark.parametrize(
    "pixels", [{"bits_allocated": 8}, {"bits_stored": 12, "dirty": True}, {"bits_stored": 11, "signed": True}]
)
def test_label_series_of_every_encoding(tmp_path: Path, panel: Panel, syntax: str, pixels: dict[str, Any]) -> None:
    spec = replace(LABELS, shape=(34, 36, 5), transfer_syntax=syntax, **pixels)
    if syntax not in ("implicit", "explicit", "big endian", "deflated"):
        spec = replace(spec, dirty=False)
    write(tmp_path / "in", spec)
    (outcome,) = convert_with(panel, tmp_path)
    assert judged(outcome) == ("AGREES", 0)


@pytest.mark.parametrize("kind", ["mr", "sc", "enhanced ct", "enhanced mr"])
@pytest.mark.parametrize("bits", [1, 8])
def test_label_series_of_every_kind(tmp_path: Path, panel: Panel, kind: str, bits: int) -> None:
    write(tmp_path / "in", SPEC if bits == 1 else LABELS, kind=kind, bits_allocated=bits)
    (outcome,) = convert_with(panel, tmp_path)
    assert judged(outcome) == ("AGREES", 0)


def test_a_series_with_a_missing_plane_is_judged_and_one_with_assumed_places_is_not(
    tmp_path: Path, panel: Panel
) -> None:
    write(tmp_path / "gap" / "in", LABELS, edit=lambda k, dataset: [] if k == 4 else None)
    (filled,) = convert_with(panel, tmp_path / "gap", Policy(on_gap="fill"))
    assert judged(filled) == ("AGREES", 0)
    write(tmp_path / "plain" / "in", LABELS, kind="sc plain")
    write(tmp_path / "plain" / "image", SPEC, edit=put_values(image_of(SPEC)))
    (assumed,) = convert_with(panel, tmp_path / "plain", source=tmp_path / "plain" / "image")
    assert [a.witness for a in assumed.agreements if a.witness == "GDCM"] == []


@pytest.mark.parametrize("undecided", ["surrounded", "inside", "outside"])
@pytest.mark.parametrize("compared", ["clean", "source"])
def test_burned_in_values_are_compared_with_the_image(
    tmp_path: Path, panel: Panel, undecided: Any, compared: str
) -> None:
    """The constant is a value of the image as well, inside of the mask and beyond."""
    offset = 1024 if compared == "source" else 0
    burned(tmp_path, {1: 100 + offset, 2: 100 + offset, 3: 100 + offset}, offset=offset)
    export = ExportDescription(undecided=undecided)
    (outcome,) = convert_with(panel, tmp_path, export=export, **{compared: tmp_path / "image"})
    assert judged(outcome) == ("AGREES", 0)
    assert Code.UNDECIDED_VOXELS in {f.code for f in outcome.findings}


def test_the_image_may_be_larger_and_turned(tmp_path: Path, panel: Panel) -> None:
    """The image has its columns and rows exchanged and begins elsewhere: the reader puts it in place by itself."""
    spec = replace(SPEC, iop=ORIENTATIONS["HFS"], row_spacing=1.0, column_spacing=1.0, step=2.0)
    image = np.random.default_rng(7).integers(0, 200, (40, 44, 11))
    own = image[3:36, 5:42, 1:10]
    shown = np.where(parts(spec) > 0, 100, own)
    write(tmp_path / "in", spec, edit=put_values(shown), seed="export")
    x, y, z = spec.origin
    # Rows run to the back, columns to the left, so that planes ascend towards the feet.
    around = replace(spec, shape=(44, 40, 11), iop=(0, 1, 0, 1, 0, 0), origin=(x - 3, y - 5, z + 18), seed="image")
    write(tmp_path / "image", around, edit=put_values(image.transpose(1, 0, 2)[:, :, ::-1]))
    export = ExportDescription(undecided="outside")
    (outcome,) = convert_with(panel, tmp_path, export=export, clean=tmp_path / "image")
    assert judged(outcome) == ("AGREES", 0)
    (written,) = (tmp_path / "out").glob("*.nii.gz")
    found = np.asarray(nibabel.load(written).dataobj)
    assert np.count_nonzero(found) == np.count_nonzero((parts(spec) > 0) & (own != 100))


def test_what_cannot_be_compared_is_left_open(tmp_path: Path, gdcm: Child) -> None:
    """Where the images may not be shown, a voxel with the mask's value may be the image's own."""
    image = burned(tmp_path, {1: 100, 2: 100, 3: 100})
    files = tuple(str(path) for path in sorted((tmp_path / "in").iterdir()))
    job = MaskJob("burned", files, (1,) * len(files), labels=((100, 1),), options={"compared": True})
    answer = gdcm.ask(job)
    assert answer.refusal == answer.failure == ""
    assert answer.array is not None
    has_it = np.where(parts() > 0, 100, image) == 100
    assert np.count_nonzero(answer.array == either(answer.array.dtype)) == np.count_nonzero(has_it)
    assert "could not be shown" in answer.note


@pytest.mark.parametrize("compared", [False, True])
def test_masked_images(tmp_path: Path, panel: Panel, compared: bool) -> None:
    image = image_of(SPEC)
    write(tmp_path / "in", SPEC, edit=put_values(np.where(parts() > 0, image, 100)), seed="export")
    write(tmp_path / "image", SPEC, edit=put_values(image))
    source = {"source": tmp_path / "image"} if compared else {}
    (outcome,) = convert_with(panel, tmp_path, export=ExportDescription(outside=100), **source)
    assert judged(outcome) == ("AGREES", 0)


def test_every_label_by_itself_and_some_of_them(tmp_path: Path, panel: Panel) -> None:
    burned(tmp_path, {1: 254, 2: 253, 3: 255})
    export = ExportDescription(inside=(Named("a", 253), Named("b", 255), Named("c", 254)))
    clean = tmp_path / "image"
    for policy in (Policy(combine="separate"), Policy()):
        for wanted in (None, ("c", "a")):
            outcomes = convert_with(
                panel, tmp_path, replace(policy, write="overwrite"), export=export, clean=clean, wanted=wanted
            )
            assert {judged(o) for o in outcomes} == {("AGREES", 0)}


@pytest.mark.parametrize("origin", [(1, 1), (5, 7), (-3, 20), (30, -4)])
def test_overlays_wherever_they_begin(tmp_path: Path, panel: Panel, origin: tuple[int, int]) -> None:
    overlaid(tmp_path, origin=origin)
    (outcome,) = convert_with(panel, tmp_path)
    assert judged(outcome) == ("AGREES", 0)


@pytest.mark.parametrize("syntax", ["explicit", "big endian"])
@pytest.mark.parametrize("first", [1, 4, None])
def test_overlays_of_several_frames(tmp_path: Path, panel: Panel, syntax: str, first: int | None) -> None:
    """Frames end within a byte; an overlay that names no frame belongs to all."""

    def edit(k: int, dataset: Dataset) -> None:
        bits = np.random.default_rng(2).random((1 if first is None else 3, dataset.Rows, dataset.Columns)) < 0.3
        put_overlay(dataset, 0x6000, bits, first=first, vr="OB")

    spec = {"shape": (47, 37, 14), "content": "index", "kind": "enhanced ct", "transfer_syntax": syntax}
    write(tmp_path / "in", edit=edit, **spec)
    (outcome,) = convert_with(panel, tmp_path)
    assert judged(outcome) == ("AGREES", 0)


@pytest.mark.parametrize("bit", [12, 15])
@pytest.mark.parametrize("syntax", ["explicit", "big endian"])
def test_overlays_in_unused_bits(tmp_path: Path, panel: Panel, bit: int, syntax: str) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        plane = (image_of(SPEC) | (parts() > 0) << bit)[:, :, k].T
        dataset.PixelData = plane.astype("<u2").tobytes()
        for element, value in ((0x10, dataset.Rows), (0x11, dataset.Columns), (0x100, 16), (0x102, bit)):
            dataset.add_new((0x6000, element), "US", value)
        dataset.add_new((0x6000, 0x0050), "SS", [1, 1])

    write(tmp_path / "in", SPEC, edit=edit, transfer_syntax=syntax)
    (outcome,) = convert_with(panel, tmp_path)
    assert judged(outcome) == ("AGREES", 0)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("given", [(), (Named("b", (0, 200, 10)),)])
def test_colours(tmp_path: Path, panel: Panel, planar: int, given: tuple[Named, ...]) -> None:
    in_colour(tmp_path, planar)
    (outcome,) = convert_with(panel, tmp_path, export=ExportDescription(inside=given))
    assert judged(outcome) == ("AGREES", 0)


def in_colour(folder: Path, planar: int = 0) -> None:
    table = np.array([[0, 0, 0], [255, 128, 0], [0, 200, 10], [200, 200, 3]], np.uint8)
    rgb = np.where(parts()[..., None] > 0, table[parts()], image_of(SPEC)[..., None]).astype(np.uint8)

    def edit(k: int, dataset: Dataset) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", planar
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        plane = rgb[:, :, k].swapaxes(0, 1)
        data = np.ascontiguousarray(np.moveaxis(plane, -1, 0) if planar else plane).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        dataset["PixelData"].VR = "OB"

    write(folder / "in", SPEC, edit=edit)


# What follows are misreadings of ours, each planted into our own decoder.


def is_disputed(panel: Panel, folder: Path, **request: Any) -> bool:
    with pytest.raises(PipelineError) as caught:
        convert_with(panel, folder, **request)
    return caught.value.finding.code is Code.WITNESS_DIFFERS and "GDCM" in caught.value.finding.where


def shift_bits(true: Any, *arguments: Any) -> Any:
    plane, beyond = true(*arguments)
    return np.roll(plane, 1, axis=1), beyond


def flip_bits(true: Any, *arguments: Any) -> Any:
    bits = true(*arguments)
    packed = np.packbits(bits.ravel(), bitorder="big")
    return np.unpackbits(packed, bitorder="little")[: bits.size].reshape(bits.shape)


def forget_origin(true: Any, *arguments: Any) -> Any:
    found = true(*arguments)
    return None if found is None else replace(found, row=0, column=0)


@pytest.mark.parametrize(
    ("name", "fault"), [("_bits", shift_bits), ("_unpack", flip_bits), ("_read_overlay", forget_origin)]
)
def test_an_overlay_misread_is_disputed(
    tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch, name: str, fault: Any
) -> None:
    overlaid(tmp_path)
    overlay._overlays_as_they_are.cache_clear()
    monkeypatch.setattr(overlay, name, partial(fault, getattr(overlay, name)))
    assert is_disputed(panel, tmp_path)
    overlay._overlays_as_they_are.cache_clear()


def test_an_overlay_a_frame_late_is_disputed(tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        bits = np.random.default_rng(2).random((3, dataset.Rows, dataset.Columns)) < 0.3
        put_overlay(dataset, 0x6000, bits, first=4)

    write(tmp_path / "in", edit=edit, content="index", kind="enhanced ct")
    true = overlay.Overlay.of_frame
    monkeypatch.setattr(overlay.Overlay, "of_frame", lambda own, number, count: true(own, number - 1, count))
    assert is_disputed(panel, tmp_path)


def test_labels_a_frame_late_are_disputed(tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one file of several frames."""
    from pipeline.dicom import pixels

    write(tmp_path / "in", LABELS, kind="enhanced ct")
    true = pixels.read_native

    def late(frame: Any, *arguments: Any) -> Any:
        return true(replace(frame, number=max(frame.number - 1, 1)), *arguments)

    monkeypatch.setattr(pixels, "read_native", late)
    assert is_disputed(panel, tmp_path)


@pytest.mark.parametrize("form", ["burned", "masked", "two values"])
def test_inside_and_outside_swapped_is_disputed(
    tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    if form == "two values":
        from pipeline.decode import two_values

        write(tmp_path / "in", SPEC, labels=(255,))
        true = two_values.TwoValues.labels
        monkeypatch.setattr(two_values.TwoValues, "labels", lambda own, stored: inverted(true(own, stored)))
        assert is_disputed(panel, tmp_path)
        return
    burned(tmp_path, {1: 254, 2: 254, 3: 254})
    name = "select" if form == "burned" else "masked"
    owner = burned_in if form == "burned" else embedded
    true_decode = getattr(owner, name)
    monkeypatch.setattr(
        owner, name, lambda *a, **n: (lambda m: replace(m, voxels=inverted(m.voxels)))(true_decode(*a, **n))
    )
    export = ExportDescription(inside=(Named("a", 254),)) if form == "burned" else ExportDescription(outside=254)
    assert is_disputed(panel, tmp_path, export=export)


def inverted(voxels: Any) -> Any:
    plane = voxels.plane
    return replace(voxels, plane=lambda k: 1 - plane(k), is_empty=lambda k: False)


@pytest.mark.parametrize("compared", [False, True])
def test_a_wrong_grey_value_is_disputed(
    tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch, compared: bool
) -> None:
    """253 is burned in as well, and ours takes it where 254 was given, or is to be found."""
    burned(tmp_path, {1: 254, 2: 254, 3: 253} if not compared else {1: 254, 2: 254, 3: 254})
    if compared:
        true = burned_in._find_constants
        monkeypatch.setattr(burned_in, "_find_constants", lambda *a: [v - 1 for v in true(*a)])
        assert is_disputed(panel, tmp_path, clean=tmp_path / "image")
        return
    monkeypatch.setattr(burned_in, "_grey_value", lambda named: named.value - 1)
    assert is_disputed(panel, tmp_path, export=ExportDescription(inside=(Named("a", 254),)))


def test_a_wrong_colour_is_disputed(tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    in_colour(tmp_path)
    true = colour._label
    monkeypatch.setattr(colour, "_label", lambda frames, codes: true(frames, codes[::-1]))
    assert is_disputed(panel, tmp_path)


def test_an_undecided_patch_filled_by_mistake_is_disputed(
    tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    burned(tmp_path, {1: 100, 2: 100, 3: 100})
    true = burned_in.settle
    monkeypatch.setattr(burned_in, "settle", lambda open_, mask, choice: (open_, true(open_, mask, choice)[1]))
    assert is_disputed(panel, tmp_path, clean=tmp_path / "image")


def test_what_it_does_not_read_is_refused_for_an_understood_reason(tmp_path: Path, gdcm: Child) -> None:
    def to_float(k: int, dataset: Dataset) -> None:
        values = np.frombuffer(dataset.PixelData, np.uint16).astype(np.float32)
        for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            delattr(dataset, name)
        dataset.BitsAllocated, dataset.FloatPixelData = 32, values.tobytes()

    def to_ybr(k: int, dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "YBR_FULL"

    def unplace(k: int, dataset: Dataset) -> None:
        del dataset.PixelSpacing

    for name, form, edit in (("float", "labels", to_float), ("ybr", "colour", to_ybr), ("place", "labels", unplace)):
        written = write(tmp_path / name, LABELS, edit=edit)
        files = tuple(map(str, written.paths))
        answer = gdcm.ask(MaskJob(form, files, (1,) * len(files), labels=((1, 1),)))
        assert answer.refusal
        assert is_understood_of_mask(answer), answer.refusal
    cut = write(tmp_path / "cut", LABELS)
    data = cut.paths[3].read_bytes()
    cut.paths[3].write_bytes(data[: len(data) // 2])
    answer = gdcm.ask(MaskJob("labels", tuple(map(str, cut.paths)), (1,) * len(cut.paths), labels=((1, 1),)))
    assert answer.refusal or answer.failure
    assert not is_understood_of_mask(answer)


@pytest.mark.parametrize("crosscheck", ["affine", "voxels"])
def test_label_series_are_shown_to_it_where_voxels_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crosscheck: Any
) -> None:
    monkeypatch.undo()
    write(tmp_path / "in", LABELS)
    policy = Policy(crosscheck=crosscheck)
    with Panel(policy) as own:
        (outcome,) = convert_with(own, tmp_path, policy)
    assert ("GDCM" in {a.witness for a in outcome.agreements}) == (crosscheck == "voxels")
