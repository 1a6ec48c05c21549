"""A data set that is cut anywhere is known not to be whole, in every layout that a file may have."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pipeline.dicom.whole_data_set import end_of
from tests.helpers import segs

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "fragments": RLELossless,
}


def write(path: Path, layout: str) -> bytes:
    """An image with sequences of undefined length, one in another. Returns its bytes."""
    ds = pydicom.dcmread(segs.source_files(path.parent / "ct")[0])
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, outer.CodeMeaning = "A", "outer"
    outer.PurposeOfReferenceCodeSequence, ds.SourceImageSequence = [inner], [outer]
    for item, owner in ((inner, outer["PurposeOfReferenceCodeSequence"]), (outer, ds["SourceImageSequence"])):
        item.is_undefined_length_sequence_item = owner.is_undefined_length = True
    syntax = SYNTAXES[layout]
    if layout == "fragments":
        ds.PixelData = encapsulate([b"\1" * 100, b"\2" * 50])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, ds, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return path.read_bytes()


@pytest.mark.parametrize("layout", SYNTAXES)
def test_every_cut_is_noticed(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    content = write(path, layout)
    assert end_of(path) == (True, True)
    rows = b"\0\x28\0\x10" if layout == "big" else b"\x28\0\x10\0"
    least = 400 if layout == "deflated" else content.rindex(rows) + 10  # a cut between two elements before is not seen
    last = len(content) - (layout == "deflated")  # whose last byte may be padding, which is no loss
    for size in range(200, last):
        path.write_bytes(content[:size])
        end = end_of(path)
        assert not end.has_pixels, size
        assert not (end.is_whole and size >= least), size


def test_padding_after_pixel_data_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    content = write(path, "fragments")
    for padding in (b"\0", b"\0" * 512, b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0\0\0\0\0"):
        path.write_bytes(content + padding)
        assert end_of(path) == (True, True)


def test_an_unknown_sequence_is_followed_as_it_is_written(tmp_path: Path) -> None:
    """UN of undefined length holds elements without VR (PS3.5 6.2.2)."""
    path = tmp_path / "image.dcm"
    content = write(path, "explicit")
    at = content.index(b"\xe0\x7f\x10\0")
    inner = b"\x08\0\0\1\2\0\0\0A \xfe\xff\x0d\xe0\0\0\0\0"
    private = b"\x09\0\x10\0UN\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(content[:at] + private + content[at:])
    assert end_of(path) == (True, True)
    path.write_bytes(content[:at] + private[:-8] + content[at:])
    assert not end_of(path).is_whole


def test_items_that_nest_without_end_are_followed_without_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "deep.dcm"
    content = write(path, "explicit")
    at = content.index(b"\xe0\x7f\x10\0")
    deep = b"\x09\0\x10\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 5000
    path.write_bytes(content[:at] + deep + content[at:])
    assert not end_of(path).is_whole
