"""An element that stands twice in an item, with different values, is refused: readers differ in which of the two they take.

No library writes such a file: an element is written under a tag near the one it is to double, which is then changed in the
bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from pipeline import PipelineError, Policy, Request, convert
from pipeline.core.findings import Code
from tests.helpers.phantom import Spec, write
from tests.helpers.rtphantom import PhantomRoi, ellipse, grid, on, write_images, write_struct
from tests.helpers.segs import blobs, frames_of, source_files, write_seg

SPEC = Spec(shape=(11, 9, 7), content="index", step=2.0)


def undefine_lengths(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                undefine_lengths(item)


def double(path: Path, item_of: Callable[[Dataset], Dataset], tag: int, value: Any = None, *, undefined: bool) -> None:
    """Let an element stand twice in an item. value: the other one; by default the same again."""
    dataset = dcmread(path)
    item, beside = item_of(dataset), tag + 0x19
    assert beside not in item
    item.add_new(beside, item[tag].VR, item[tag].value if value is None else value)
    if undefined:
        undefine_lengths(dataset)
    dataset.save_as(path)
    group, order = tag >> 16, "little" if dataset.original_encoding[1] else "big"
    old, new = (group.to_bytes(2, order) + (one & 0xFFFF).to_bytes(2, order) for one in (beside, tag))
    raw = path.read_bytes()
    assert raw.count(old) == 1
    path.write_bytes(raw.replace(old, new))


def refusal(path: Path, out: Path, *source: Path, **policy: Any) -> str:
    with pytest.raises(PipelineError) as caught:
        convert(path, out, request=Request(source=source), policy=Policy(crosscheck="off", **policy))
    finding = caught.value.finding
    assert (finding.code, out.exists()) == (Code.CORRUPT_FILE, False)
    assert "it stands twice, with different values" in finding.message
    return finding.message


def measures(dataset: Dataset) -> Dataset:
    return dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big endian", "deflated", "jpeg-ls"])
def test_in_the_groups_of_frames(tmp_path: Path, syntax: str, undefined: bool) -> None:
    truth = write(
        tmp_path / "in", SPEC, kind="enhanced ct", transfer_syntax="explicit" if syntax == "deflated" else syntax
    )
    double(truth.paths[0], measures, 0x00280030, [3.0, 3.0], undefined=undefined)
    if syntax == "deflated":
        deflate(truth.paths[0])
    message = refusal(truth.folder, tmp_path / "a.nii.gz", as_="image")
    assert "(0028,0030) in an item of (5200,9229)" in message


def deflate(path: Path) -> None:
    """Deflate a file as it is, byte for byte."""
    import zlib

    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

    raw, old = path.read_bytes(), ExplicitVRLittleEndian.encode() + b"\0"
    end = 144 + int.from_bytes(raw[140:144], "little")
    new = DeflatedExplicitVRLittleEndian.encode()
    meta = raw[:end].replace(b"UI\x14\0" + old, b"UI" + len(new).to_bytes(2, "little") + new, 1)
    meta = meta[:140] + (len(meta) - 144).to_bytes(4, "little") + meta[144:]
    engine = zlib.compressobj(wbits=-15)
    path.write_bytes(meta + engine.compress(raw[end:]) + engine.flush())


def test_twice_the_same_says_the_same(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SPEC, kind="enhanced ct")
    double(truth.paths[0], measures, 0x00280030, undefined=False)
    policy = Policy(as_="image", crosscheck="off")
    convert([truth.folder], tmp_path / "a.nii.gz", policy=policy)
    assert (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize("undefined", [False, True])
def test_in_a_segment(tmp_path: Path, undefined: bool) -> None:
    source_files(tmp_path / "ct")
    path = write_seg(tmp_path / "seg.dcm", frames_of(blobs(2, overlap=False)))
    double(path, lambda d: d.SegmentSequence[1], 0x00620004, 9, undefined=undefined)
    assert "(0062,0004) in an item of (0062,0002)" in refusal(path, tmp_path / "a.nii.gz")


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(
    ("item_of", "tag", "value", "outer"),
    [
        (lambda d: d.StructureSetROISequence[0], 0x30060022, 7, "(3006,0020)"),
        (lambda d: d.ROIContourSequence[0].ContourSequence[1], 0x30060050, [0.0] * 9, "(3006,0039)"),
    ],
)
def test_in_a_contour(
    tmp_path: Path, item_of: Callable[[Dataset], Dataset], tag: int, value: Any, outer: str, undefined: bool
) -> None:
    g = grid()
    source = write_images(tmp_path / "ct", g)
    contours = [on(g, ellipse(20, 18, 9, 7, 20), k) for k in (2, 3, 4)]
    path = write_struct(tmp_path / "rs.dcm", [PhantomRoi("a", contours)])
    double(path, item_of, tag, value, undefined=undefined)
    message = refusal(path, tmp_path / "a.nii.gz", source)
    assert f"({tag >> 16:04X},{tag & 0xFFFF:04X}) in an item of {outer}" in message
