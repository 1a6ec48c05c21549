"""The table of labels against a plain count of every voxel, and the files of names against what their programs read."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.geometry.grid import Grid
from pipeline.volume.label_table import colour_of, dseg_tsv, itksnap_labels, label_table, slicer_colour_table
from pipeline.volume.mask import MaskVolume, Segment, Voxels

LPS = np.array([[0.7, -0.3, 0.2, -40.0], [0.1, 1.4, -0.5, 25.0], [0.0, 0.2, 2.5, -110.0], [0, 0, 0, 1]])  # sheared
SEGMENTS = (Segment(1, "left kidney", (10, 200, 30)), Segment(4, "spleen"), Segment(9, "nothing here"))


def mask_of(array: Any) -> MaskVolume:
    return MaskVolume(Voxels.of(array), Grid(array.shape, LPS), SEGMENTS)


def test_an_empty_segment_is_in_the_table() -> None:
    row = label_table(mask_of(np.zeros((7, 5, 4), np.uint8)))[2]
    assert (row.voxels, row.volume_ml, row.centroid_lps_mm, row.extent, row.components) == (0, 0.0, None, None, 0)
    assert row.as_json()["Extent"] is None


def test_json() -> None:
    array = np.zeros((7, 5, 4), np.uint16)
    array[2:4, 1, 3] = 4
    record = label_table(mask_of(array))[1].as_json()
    assert record["Extent"] == [[2, 3], [1, 1], [3, 3]]
    assert (record["Name"], record["Value"], record["Voxels"], record["Components"]) == ("spleen", 4, 2, 1)
    assert record["CentroidRasMm"] == [-v for v in record["CentroidLpsMm"][:2]] + record["CentroidLpsMm"][2:]
    assert label_table(mask_of(array), components=False)[1].components is None


def test_planes_are_asked_for_one_at_a_time() -> None:
    asked = []
    array = np.zeros((7, 5, 4), np.uint8)
    array[1, 1, 2] = 1
    inner = Voxels.of(array)

    def plane(k: int) -> Any:
        asked.append(k)
        return inner.plane(k)

    label_table(MaskVolume(Voxels(inner.shape, inner.dtype, plane), Grid(array.shape, LPS), SEGMENTS))
    assert asked == [0, 1, 2, 3]


def test_bids() -> None:
    lines = dseg_tsv([*SEGMENTS[:2], Segment(5, "a\tb\nc")]).splitlines()
    assert lines == ["index\tname\tcolor", "1\tleft kidney\t#0ac81e", "4\tspleen\t#0082c8", "5\ta\\x09b\\x0ac\t#f58230"]


def test_itksnap_reads_every_line() -> None:
    """Eight fields a line: seven numbers and a quoted name, as its own reader takes them."""
    rows = [line for line in itksnap_labels([*SEGMENTS, Segment(300, 'a "b"')]).splitlines() if line[0] != "#"]
    parsed = []
    for row in rows:
        numbers, name, end = row.split('"')
        parsed.append((*map(int, numbers.split()), name))
        assert end == ""
    assert parsed[0] == (0, 0, 0, 0, 0, 0, 0, "Clear Label")
    assert parsed[1] == (1, 10, 200, 30, 1, 1, 1, "left kidney")
    assert parsed[-1][0] == 300
    assert parsed[-1][-1] == "a 'b'"


def test_slicer_reads_every_line() -> None:
    rows = [line.split() for line in slicer_colour_table(SEGMENTS).splitlines() if line[0] != "#"]
    assert all(len(row) == 6 for row in rows)
    assert rows[1] == ["1", "left_kidney", "10", "200", "30", "255"]


def test_a_label_without_a_colour_always_gets_the_same_one() -> None:
    assert colour_of(Segment(2, "a")) == colour_of(Segment(2, "b")) == colour_of(Segment(22, "c"))
    assert len({colour_of(Segment(n, "x")) for n in range(1, 21)}) == 20
