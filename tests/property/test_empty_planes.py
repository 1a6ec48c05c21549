"""Properties that hold for every input: see tests/test_empty_planes.py for single cases."""

from __future__ import annotations

import gzip
import zlib
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from scipy import ndimage

from pipeline.geometry.grid import Grid
from pipeline.nifti import gzip_writer
from pipeline.nifti.readback import read_back
from pipeline.volume.label_table import label_table
from pipeline.volume.mask import MaskVolume, Segment, Voxels
from tests.test_empty_planes import write

LABELS = (1, 3)


@st.composite
def blocks(draw: st.DrawFn) -> Any:
    """(i, j, k) labels: any sequence of empty and full planes, any type and size."""
    columns, rows = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    full = draw(st.lists(st.booleans(), min_size=1, max_size=30))
    dtype = draw(st.sampled_from(["u1", "u2", "u4"]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    array = rng.choice([0, 0, *LABELS], (columns, rows, len(full)))
    return (array * np.array(full)).astype(dtype)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=blocks(),
    size=st.sampled_from([100, 1000, 5000, 1 << 20]),
    level=st.sampled_from([None, 0, 2, 6]),
    known=st.booleans(),
)
def test_any_sequence_of_empty_planes_is_one_member_that_all_read_and_is_counted_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, array: Any, size: int, level: int | None, known: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "planes.nii.gz"
    voxels = Voxels.of(array)
    if known:
        voxels = Voxels(voxels.shape, voxels.dtype, voxels.plane, lambda k: not array[:, :, k].any())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip_writer, "_BLOCK", size)  # planes are smaller and larger than a block
        sums = write(path, voxels, level)
    raw = path.read_bytes()
    member = zlib.decompressobj(wbits=31)
    data = member.decompress(raw)
    assert member.eof
    assert member.unused_data == b""
    assert data == gzip.decompress(raw) == isal_zlib.decompress(raw, wbits=31)
    assert data[352:] == array.tobytes(order="F")
    whole = Event()
    whole.set()
    plane_bytes = array[:, :, 0].nbytes
    for labels in (False, True):
        back = read_back(path, 352, plane_bytes, whole, gzipped=True, labels=labels)
        assert (back.broken, back.rest, back.checksums) == ("", 0, sums[1:])
    mask = MaskVolume(voxels, Grid(array.shape, np.eye(4)), tuple(Segment(n, str(n)) for n in LABELS))
    for row in label_table(mask):
        here = array == row.value
        assert row.voxels == here.sum()
        assert row.components == ndimage.label(here)[1]
        if row.voxels:
            found = np.argwhere(here)
            assert row.extent == tuple(zip(found.min(0).tolist(), found.max(0).tolist(), strict=True))
            assert row.centroid_lps_mm == pytest.approx(found.mean(0))
