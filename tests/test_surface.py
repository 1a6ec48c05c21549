"""The surface of a mask in a page: silhouettes, what lies in front, light and sides against computations of their own."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from pipeline import Policy, convert
from pipeline.report import make_page
from pipeline.report.ray_casting import Grid2D, camera_of, cast_rays, find_normals, sample_cells
from pipeline.report.surface import draw_surface
from pipeline.report.views import Scene, draw_solid
from pipeline.report.volume import Volume, count_filled, find_extent
from pipeline.volume.mask import Segment
from tests.helpers import phantom

Array = np.ndarray[Any, Any]
_SPEC = phantom.Spec(shape=(40, 34, 26), row_spacing=1.5, column_spacing=1.25, step=2.0, labels=(1, 2, 3))


def _turn(x: float, y: float, z: float) -> Array:
    """Angles in degrees about the three axes, one after the other."""
    found = np.eye(3)
    for axis, angle in enumerate(np.radians([x, y, z])):
        a, b = (n for n in range(3) if n != axis)
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        found = found @ one
    return found


def _affine(linear: Array, origin: tuple[float, float, float] = (-20.0, 35.0, 60.0)) -> Array:
    full = np.eye(4)
    full[:3, :3], full[:3, 3] = linear, origin
    return full


_AFFINES = {
    "cubes": np.diag([-1.0, -1.0, 1.0]),
    "mirrored": np.diag([1.0, -1.0, 1.0]),
    "thick": np.diag([-0.7, -0.7, 5.0]),
    "flat": np.diag([4.0, 0.8, 0.9]),
    "sagittal": np.array([[0, 0, 1.5], [-0.9, 0, 0], [0, -0.9, 0]]),
    "coronal": np.array([[-0.9, 0, 0], [0, 0, 2.0], [0, -0.9, 0]]),
    "oblique": _turn(20, -35, 15) @ np.diag([-0.9, -1.1, 2.5]),
    "sheared": np.array([[-0.8, 0, 0], [0, -0.8, 0.9], [0, 0, 2.2]]),
}


def _mask() -> Array:
    """Two bodies and a speck, unlike in every direction."""
    i, j, k = np.ogrid[:38, :31, :23]
    mask = np.zeros((38, 31, 23), np.uint8)
    mask[((i - 14) / 9) ** 2 + ((j - 16) / 12) ** 2 + ((k - 9) / 7) ** 2 < 1] = 1
    mask[22:34, 3:9, 12:20] = 2
    mask[30, 25, 4] = 5
    return mask


def _eye(convention: str) -> tuple[Array, Array, Array]:
    """Right, up and towards the eye in RAS: 30 degrees to the patient's left of the front or the back, 20 degrees up."""
    turn = np.radians(90 + 30 if convention == "radiological" else 270 - 30)  # from R, by A, to L and P
    towards = np.array(
        [np.cos(turn) * np.cos(np.radians(20)), np.sin(turn) * np.cos(np.radians(20)), np.sin(np.radians(20))]
    )
    right = np.array([-np.sin(turn), np.cos(turn), 0.0])
    return right, np.cross(towards, right), towards


def _marched(mask: Array, ras: Array, convention: str, grid: Grid2D) -> tuple[Array, Array]:
    """The first label along the ray of each pixel, in steps of 0.12 mm, and how near to the eye it is."""
    right, up, towards = _eye(convention)
    x = grid.left + (np.arange(grid.columns) + 0.5) * grid.pixel
    y = grid.top - (np.arange(grid.rows) + 0.5) * grid.pixel
    start = x[None, :, None] * right + y[:, None, None] * up
    corners = np.stack(np.meshgrid(*([-0.5, n - 0.5] for n in mask.shape), indexing="ij"), -1).reshape(-1, 3)
    depths = (corners @ ras[:3, :3].T + ras[:3, 3]) @ towards
    to_voxel = np.linalg.inv(ras)
    padded = np.pad(mask, 1)
    label, near = np.zeros((grid.rows, grid.columns), int), np.full((grid.rows, grid.columns), np.nan)
    for depth in np.arange(depths.max(), depths.min(), -0.12):
        voxel = (start + depth * towards) @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        at = np.clip(np.floor(voxel + 0.5).astype(int), -1, mask.shape) + 1
        new = (label == 0) & (padded[at[..., 0], at[..., 1], at[..., 2]] > 0)
        label[new] = padded[at[..., 0], at[..., 1], at[..., 2]][new]
        near[new] = depth
    return label, near


def _grown(inside: Array) -> Array:
    """One pixel more on every side."""
    padded = np.pad(inside, 1)
    rows, columns = inside.shape
    return np.asarray(np.any([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0))


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
@pytest.mark.parametrize("name", _AFFINES)
def test_the_silhouette_and_what_is_in_front_are_true(name: str, convention: Any) -> None:
    mask, ras = _mask(), _affine(_AFFINES[name])
    block = Volume.of(mask, ras)
    cells = sample_cells(block, find_extent(count_filled(block)))
    filled = np.argwhere(mask > 0) @ ras[:3, :3].T + ras[:3, 3]
    right, up, towards = _eye(convention)
    far = np.abs(ras[:3, :3]).sum()
    pixel = 0.6  # mm: no edge may be further away than one
    grid = Grid2D(
        left=float((filled @ right).min() - far),
        top=float((filled @ up).max() + far),
        pixel=pixel,
        rows=int((np.ptp(filled @ up) + 2 * far) / pixel),
        columns=int((np.ptp(filled @ right) + 2 * far) / pixel),
    )
    camera = camera_of(convention)
    assert np.allclose([camera.right, camera.up, camera.towards], [right, up, towards])
    hits = cast_rays(cells, camera, grid)
    truth, near = _marched(mask, ras, convention, grid)
    ours, theirs = hits.labels > 0, truth > 0
    assert not (ours & ~_grown(theirs)).any()
    assert not (theirs & ~_grown(ours)).any()
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.96
    both = ours & theirs
    assert (hits.labels == truth)[both].mean() > 0.985
    depth = hits.cells @ (cells.to_ras[:3, :3].T @ towards) + cells.to_ras[:3, 3] @ towards
    same = both & (hits.labels == truth)
    cell = np.linalg.norm(cells.to_ras[:3, :3], axis=0).max()
    assert np.median(np.abs(depth - near)[same]) < 0.6 * cell + 0.12
    assert (hits.labels == 5).any() == (truth == 5).any()  # the speck, where nothing hides it


@pytest.mark.parametrize("name", _AFFINES)
def test_light_falls_by_the_direction_in_mm(name: str) -> None:
    """A ball in mm: whatever its voxels are, its surface faces away from its middle."""
    ras = _affine(_AFFINES[name])
    shape = np.ceil(2 * 16 / np.abs(np.diag(np.linalg.qr(ras[:3, :3])[1]))).astype(int) + 12
    centre = ras[:3, :3] @ (shape / 2) + ras[:3, 3]
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ ras[:3, :3].T + ras[:3, 3]
    ball = (((points - centre) ** 2).sum(axis=-1) < 15**2).astype(np.uint8)
    block = Volume.of(ball, ras)
    cells = sample_cells(block, find_extent(count_filled(block)))
    # Cells that a picture shows are small beside a voxel here, so that its flat sides are seen: so use coarse ones.
    coarse = cells.labels[::7, ::7, ::7]
    thin = type(cells)(coarse, cells.to_ras @ np.diag([7, 7, 7, 1]), cells.to_voxel @ np.diag([7, 7, 7, 1]))
    edge = np.argwhere((coarse > 0) & (np.abs(np.linalg.norm(_in_mm(thin) - centre, axis=-1) - 14) < 1.5))
    found = find_normals(thin, edge)
    wanted = (edge @ thin.to_ras[:3, :3].T + thin.to_ras[:3, 3]) - centre
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip((found * wanted).sum(axis=1), -1, 1)))
    assert len(edge) > 50
    assert np.median(angles) < 22


def _in_mm(cells: Any) -> Array:
    indices = np.stack(np.meshgrid(*map(np.arange, cells.labels.shape), indexing="ij"), -1)
    return np.asarray(indices @ cells.to_ras[:3, :3].T + cells.to_ras[:3, 3])


def _drawn(convention: Any, **changes: Any) -> tuple[Any, Array]:
    spec = phantom.Spec(
        **{**{f: getattr(_SPEC, f) for f in ("shape", "row_spacing", "column_spacing", "step", "labels")}, **changes}
    )
    block = Volume.of(spec.array(), np.diag([-1.0, -1.0, 1.0, 1.0]) @ spec.lps)
    segments = tuple(Segment(n, str(n), c) for n, c in ((1, (250, 0, 0)), (2, (0, 250, 0)), (3, (0, 0, 250))))
    surface = draw_solid(Scene(block, segments, None, None, convention))
    assert surface is not None
    return surface, np.array(Image.open(io.BytesIO(base64.b64decode(surface.webp.split(",")[1]))).convert("RGBA"))


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
@pytest.mark.parametrize("name", phantom.ORIENTATIONS)
def test_left_is_where_the_letter_is(name: str, convention: Any) -> None:
    surface, pixels = _drawn(convention, iop=phantom.ORIENTATIONS[name])
    colour = np.where(pixels[..., 3] > 128, pixels[..., :3].argmax(axis=2), -1)
    grey = np.ptp(pixels[..., :3].astype(int), axis=2) < 40
    torso, marker = (np.argwhere((colour == n) & ~grey).mean(axis=0) for n in (0, 1))
    at = {one.text: one for one in surface.letters}
    assert sorted(at) == sorted("RLAPSI")
    assert (at["L"].x > at["R"].x) == (convention == "radiological")
    assert ((marker - torso)[1] > 20) == (convention == "radiological")
    assert ((marker - torso)[1] < -20) == (convention == "neurological")
    assert at["S"].y < at["I"].y
    nearer = "A" if convention == "radiological" else "P"
    assert {one.text for one in surface.letters if one.near} == {nearer, "L", "S"}


def test_planes_of_the_cuts_are_drawn_where_they_are() -> None:
    mask, ras = _mask(), _affine(_AFFINES["oblique"])
    block = Volume.of(mask, ras)
    middle = (12, 15, 8)
    surface = draw_surface(block, (Segment(1, "a", None),), find_extent(count_filled(block)), middle, "radiological")
    right, up, _ = _eye("radiological")
    for axis, plane in enumerate(surface.planes):
        corners = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", plane.whole), float)
        assert len(corners) == 4
        # The two middles of opposite corners lie on the plane of the voxel, in the middle of what is filled.
        centre = np.array([(low + high) / 2 for low, high in find_extent(count_filled(block))])
        centre[axis] = middle[axis]
        point = block.ras[:3, :3] @ centre + block.ras[:3, 3]
        assert corners.mean(axis=0) == pytest.approx([point @ right, -point @ up], abs=0.1)
        assert plane.name == ("sagittal", "coronal", "axial")[axis]
        assert plane.seen.count("M") >= 1  # somewhere the surface is in front
    assert all(one.seen != one.whole for one in surface.planes)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surface")
    phantom.write(folder / "dicom", _SPEC)
    convert([folder / "dicom"], folder / "mask.nii.gz", policy=Policy(crosscheck="off"))
    return folder / "mask.json"


def test_a_name_leads_to_the_plane_that_shows_most_of_it(record: Path) -> None:
    page = make_page(record)
    image = nibabel.load(record.with_name("mask.nii.gz"))
    voxels = np.asarray(image.dataobj)
    tiles = [int(n) for n in re.findall(r'id="plane-(\d+)"', page)]
    links = dict(re.findall(r'href="#plane-(\d+)" data-label="(\d+)"', page))
    assert sorted(links.values()) == ["1", "2", "3"]
    for plane, label in links.items():
        counts = (voxels == int(label)).sum(axis=(0, 1))
        assert counts[int(plane)] == max(counts[tiles])


def test_a_page_carries_one_small_surface(record: Path) -> None:
    page = make_page(record)
    assert page.count('data-view="surface"') == 1
    picture = re.search(r'href="data:image/webp;base64,([^"]+)"', page)
    assert picture is not None
    assert len(picture[1]) < 12_000


def test_an_empty_mask_has_no_surface_and_says_so() -> None:
    block = Volume.of(np.zeros((5, 6, 7), np.uint8), np.eye(4))
    assert draw_solid(Scene(block, (Segment(1, "a", None),), None, None, "radiological")) is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (64, 64, 1), (1, 40, 3), (300, 2, 2)])
def test_thin_and_tiny_masks_are_drawn(shape: tuple[int, int, int]) -> None:
    block = Volume.of(np.ones(shape, np.uint16), np.diag([-1.0, -1.0, 3.0, 1.0]))
    surface = draw_solid(Scene(block, (Segment(1, "a", None),), None, None, "radiological"))
    assert surface is not None
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(surface.webp.split(",")[1]))).convert("RGBA"))
    # A box is seen as a hexagon: the areas of the three sides that face the eye, by the cosines to it.
    _, _, towards = _eye("radiological")
    sides = np.array([shape[1] * shape[2] * 3, shape[0] * shape[2] * 3, shape[0] * shape[1]])
    area = (pixels[..., 3] > 128).mean() * surface.width * surface.height
    assert area == pytest.approx(float(sides @ np.abs(towards)), rel=0.06)
