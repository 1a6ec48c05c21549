"""The picture of the README: one mask on the anatomy, by three ways. `python -m tests.helpers.picture` draws it anew.

Rules:
- Nothing is painted by hand: a torso made of formulas is written as a coronal CT series, and its spine is the mask. The three
  files are what the thread's author made by hand, dicom2nifti's affine on Mimics' buffer, and what `verimask` writes; each is
  drawn where its own header puts it.
- The torso is nobody's.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import dicom2nifti
import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from pipeline import convert
from pipeline.geometry.axis_order import order_for
from pipeline.regression.recipes.phantom import Phantom
from pipeline.regression.recipes.planes import write_planes
from tests.helpers.forum import CORONAL, users_affine

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "picture.png"

Array = NDArray[Any]
_MM = 2.0  # of a voxel, and of a pixel of the picture before it is enlarged
_HALF = (150.0, 110.0, 180.0)  # of the torso's box: left, back, head, mm
_VIEW = (190.0, 200.0)  # half of what a pane shows: to front and back, up and down, mm
_ENLARGED = 2
_RED, _TEAL, _INK, _PAPER = (235, 80, 70), (38, 190, 165), (235, 238, 242), (16, 20, 26)


def torso(x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Grey values (as of a CT) and the mask of the spine at points (LPS, mm)."""
    wide = 128 - 22 * np.clip((z - 60) / 120, 0, 1) - 14 * np.exp(-(((z + 70) / 45) ** 2))
    values = np.where((x / wide) ** 2 + (y / 92) ** 2 < 1, -90.0, -1000.0)
    values[(x / (wide - 12)) ** 2 + (y / 80) ** 2 < 1] = 45
    for side in (-1, 1):
        shell = ((x - side * 55) / 50) ** 2 + ((y + 5) / 66) ** 2 + ((z - 70) / 92) ** 2
        values[(shell < 1) & (z > -12 - 0.004 * (x - side * 55) ** 2 + 14)] = -820
        ribs = (shell > 1) & (shell < 1.22) & (np.cos((z - 0.35 * y) * 2 * np.pi / 26) > 0.35) & (z > -10)
        values[ribs & ((x / wide) ** 2 + (y / 92) ** 2 < 0.97)] = 420
        values[((x - side * 52) / 20) ** 2 + ((y - 38) / 16) ** 2 + ((z + 62) / 38) ** 2 < 1] = 150  # kidneys
    values[(np.abs(x) < 8) & (((y + 84) / 6) ** 2 + ((z - 75) / 60) ** 2 < 1)] = 380  # the breastbone
    values[((x / 9) ** 2 + ((y - 12) / 9) ** 2 < 1) & (z > 40)] = -700  # the windpipe
    values[((x - 18) / 42) ** 2 + ((y + 28) / 34) ** 2 + ((z - 45) / 46) ** 2 < 1] = 75  # the heart, to the left
    values[((x + 48) / 66) ** 2 + ((y + 6) / 58) ** 2 + ((z + 22) / 36) ** 2 < 1] = 110  # the liver, to the right
    depth = 40 + 10 * np.sin((z - 40) / 48)  # chest curved to the back, loins to the front
    step = z * 2 * np.pi / 30
    in_disc = np.cos(step) < -0.62
    body = (x / 19) ** 2 + ((y - depth) / 17) ** 2 < 1
    arch = (np.abs(x) < 6) & (y > depth + 14) & (y < depth + 40) & (np.cos(step + (y - depth) / 26) > 0.25)
    spine = (body & ~in_disc) | arch
    values[body] = 130
    values[spine] = 520
    return values, spine & (np.abs(z) < 150)


def _grid() -> Phantom:
    shape = tuple(int(2 * half / _MM) for half in (_HALF[0], _HALF[2], _HALF[1]))
    return Phantom(
        shape=shape,  # type: ignore[arg-type]
        row_spacing=_MM,
        column_spacing=_MM,
        step=_MM,
        origin=(-_HALF[0], -_HALF[1], _HALF[2]),
        iop=(*CORONAL[0], *CORONAL[1]),
        signed=True,
        seed="picture",
    )


def _three_files(folder: Path) -> tuple[Array, list[tuple[str, str, Path]]]:
    """The image on its own grid, and the three files of the mask."""
    grid = _grid()
    points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.lps[:3, :3].T + grid.lps[:3, 3]
    values, spine = torso(*np.moveaxis(points, -1, 0))
    write_planes(folder / "mask", grid, spine.astype(np.int16))
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.lps
    buffer = order_for(ras, "LPS").of(spine.astype(np.uint8))
    by_hand = users_affine(np.zeros(3)) @ np.diag([_MM, _MM, _MM, 1.0])
    by_hand[:3, 3] -= by_hand[:3, :3] @ (np.array(buffer.shape) - 1) / 2  # to be seen at all: the middle in the middle
    dicom2nifti.dicom_series_to_nifti(folder / "mask", folder / "theirs.nii")
    theirs = nibabel.nifti1.load(folder / "theirs.nii").affine
    files = [
        ("composed by hand", "from the tags, and moved into view", by_hand),
        ("dicom2nifti's affine", "right, but of another array", theirs),
    ]
    made = []
    for name, words, affine in files:
        path = folder / f"{len(made)}.nii"
        nibabel.Nifti1Image(buffer, affine).to_filename(path)
        made.append((name, words, path))
    outcome = convert([folder / "mask"], folder / "right.nii.gz")
    return values, [*made, ("verimask", f"{outcome.verdict}: every plane proven", folder / "right.nii.gz")]


def _pane(values: Array, path: Path, colour: tuple[int, int, int]) -> Image.Image:
    """The image's sagittal cut through the middle and the mask's outline, from the left: the front on our left, the head up."""
    across = np.arange(-_VIEW[0], _VIEW[0], _MM / _ENLARGED)
    up = np.arange(_VIEW[1], -_VIEW[1], -_MM / _ENLARGED)
    y, z = np.meshgrid(across, up)  # LPS: y grows to the patient's back, which is on our right
    lps = np.stack([np.full_like(y, 1.0), y, z, np.ones_like(y)]).reshape(4, -1)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    grey = map_coordinates(values, (np.linalg.inv(_grid().lps) @ lps)[:3], order=1, cval=-1000).reshape(y.shape)
    shown = np.clip((grey + 900) / 1500, 0, 1) ** 0.8
    pixels = np.repeat((shown * 200)[..., None], 3, axis=-1) + np.array(_PAPER) * 0.9
    file = nibabel.nifti1.load(path)
    array = np.asarray(file.dataobj, np.float32)
    cut = np.zeros(y.shape, bool)
    for right in np.arange(-_HALF[0], _HALF[0], _MM):
        ras[0] = right
        cut |= map_coordinates(array, (np.linalg.inv(file.affine) @ ras)[:3], order=0).reshape(y.shape) > 0
    inner = cut & np.roll(cut, 2, 0) & np.roll(cut, -2, 0) & np.roll(cut, 2, 1) & np.roll(cut, -2, 1)
    pixels[cut] = pixels[cut] * 0.55 + np.array(colour) * 0.45
    pixels[cut & ~inner] = colour
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw(path: Path) -> None:
    """Draw the picture into a PNG file."""
    with tempfile.TemporaryDirectory() as folder:
        values, files = _three_files(Path(folder))
        panes = [_pane(values, file, _TEAL if name == "verimask" else _RED) for name, _, file in files]
    wide, high = panes[0].size
    gap, head = 10, 64
    picture = Image.new("RGB", (3 * wide + 4 * gap, high + head + 2 * gap), _PAPER)
    pen = ImageDraw.Draw(picture)
    for n, (pane, (name, words, _)) in enumerate(zip(panes, files, strict=True)):
        left = gap + n * (wide + gap)
        colour = _TEAL if name == "verimask" else _RED
        pen.text((left + 6, gap), name, fill=colour, font=ImageFont.load_default(25))
        pen.text((left + 6, gap + 33), words, fill=_INK, font=ImageFont.load_default(17))
        picture.paste(pane, (left, head + gap))
        for letter, place in (("front", (left + 8, head + high - 18)), ("back", (left + wide - 46, head + high - 18))):
            pen.text(place, letter, fill=_INK, font=ImageFont.load_default(17))
    picture.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
