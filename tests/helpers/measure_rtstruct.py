"""Prints the table of docs/rtstruct.md: shapes of known area through this package, and through rt-utils where it is
installed (else as 100 %), each the worst of four directions. Run as `python -m tests.helpers.measure_rtstruct`; no test does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.rtstruct import decode as rtstruct
from pipeline.dicom.scan import scan
from pipeline.geometry.grid import Grid
from tests.helpers.rtphantom import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    PhantomRoi,
    ellipse,
    grid,
    image_uid,
    on,
    rectangle,
    write_images,
    write_struct,
)

Shape = tuple[str, Callable[[float], list[NDArray[np.float64]]], float]
KEYHOLE = [(0, 0), (24, 0), (24, 20), (0, 20), (0, 9), (6, 9), (6, 15), (18, 15), (18, 5), (6, 5), (6, 9), (0, 9)]
# Name, contours at a scale, and their area in pixels at scale 1.
SHAPES: list[Shape] = [
    ("circle, r = 10.4", lambda s: [ellipse(18.3 * s, 15.8 * s, 10.4 * s, 10.4 * s, 720)], np.pi * 10.4**2),
    ("rectangle on pixel edges", lambda s: [rectangle(4, 18, 6, 29) * s - 0.5], 14 * 23),
    ("vertices on pixel centres", lambda s: [rectangle(5, 19, 7, 30) * s], 14 * 23),
    ("hole", lambda s: [rectangle(3, 33, 2, 32) * s - 0.5, rectangle(9, 21, 8, 24) * s - 0.5], 900 - 12 * 16),
    (
        "island in a hole",
        lambda s: [rectangle(n, 36 - n, n + 1, 31 - n) * s - 0.5 for n in (0, 5, 10)],
        36 * 30 - 26 * 20 + 16 * 10,
    ),
    ("keyhole", lambda s: [(np.array(KEYHOLE) + 4) * s - 0.5], 480 - 120),
    (
        "two overlapping (union 325)",
        lambda s: [rectangle(2, 22, 3, 13) * s - 0.5, rectangle(7, 27, 8, 18) * s - 0.5],
        325,
    ),
]
GRIDS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": OBLIQUE}
SIZES: list[tuple[int, tuple[int, int, int], tuple[float, float, float]]] = [
    (1, (44, 37, 4), (0.8, 1.1, 2.5)),
    (3, (131, 118, 4), (1.3, 0.7, 3.1)),
    (1, (44, 44, 4), (0.8, 0.8, 2.5)),
    (3, (131, 131, 4), (1.3, 1.3, 3.1)),
]


def main() -> None:
    sizes = [f"{x} × {y}, {a} × {b} mm" for _, (x, y, _), (a, b, _) in SIZES]
    heads = ["shape", *(f"ours, {size}" for size in sizes), *(f"rt-utils, {size}" for size in sizes)]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, contours, area in SHAPES:
        ours, theirs = [], []
        for scale, shape, spacing in SIZES:
            worst = [_measure(grid(axes, shape, spacing), contours(scale), area * scale**2) for axes in GRIDS.values()]
            ours.append(f"{max((error for error, _, _ in worst), key=abs):.1f} %")
            error, dice = max((abs(error), -dice) for _, error, dice in worst)
            theirs.append(f"{error:.1f} %, {-dice:.2f}")
        print(f"| {' | '.join((name, *ours, *theirs))} |")


def _measure(g: Grid, contours: list[NDArray[np.float64]], area: float) -> tuple[float, float, float]:
    """The error of our voxels against the area, and of theirs, in percent; and the Dice of theirs with ours."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "images", g)
        roi = PhantomRoi("shape", [on(g, c, 2) for c in contours], images=[image_uid(2)] * len(contours))
        struct = write_struct(folder / "rs.dcm", [roi])
        ours = rtstruct.decode(scan([struct]).series[0], g).masks[0].voxels.array() > 0
        theirs = _rt_utils(folder / "images", struct, g)
    dice = 2 * np.count_nonzero(theirs & ours) / (theirs.sum() + ours.sum())
    return 100 * (ours.sum() / area - 1), 100 * (theirs.sum() / area - 1), dice


def _rt_utils(images: Path, struct: Path, g: Grid) -> NDArray[np.bool_]:
    try:
        from rt_utils import RTStructBuilder
    except ImportError:
        return np.zeros(g.shape, np.bool_)
    found = RTStructBuilder.create_from(dicom_series_path=str(images), rt_struct_path=str(struct))
    # Rows by columns, but as many of the one as there are of the other: what it cut off is taken as empty.
    given = found.get_roi_mask_by_name("shape")
    rows, columns = min(given.shape[0], g.shape[1]), min(given.shape[1], g.shape[0])
    mask = np.zeros(g.shape, np.bool_)
    mask[:columns, :rows] = given[:rows, :columns].transpose(1, 0, 2)
    return mask


if __name__ == "__main__":
    main()
