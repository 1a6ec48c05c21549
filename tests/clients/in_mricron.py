"""Open image and mask in MRIcron, a desktop viewer, on a screen of its own: read what it says at places, and take a picture.

Rules:
- The real program in a real window (Xvfb); its cross-hair is moved by the keyboard, and its title says the place in RAS mm and
  the value of image and mask there. The title holds whole millimetres.
- MRIcron counts voxels along its own axes, R, A, S, from 1.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from tests.clients.judged import Judged

NAME = "MRIcron"
NEEDED = ("Xvfb", "mricron", "xdotool", "import")  # Debian: xvfb mricron xdotool imagemagick
_TITLE = re.compile(r"(-?\d+)x(-?\d+)x(-?\d+)= *(-?[\d.]+), *(-?[\d.]+)")
_FIELDS = (45, 135, 235)  # where X, Y and Z are typed, from the window's left
_FIELD_Y = 62
_PATIENCE_S = 30.0


@contextmanager
def screen() -> Iterator[dict[str, str]]:
    """A screen of its own and a home of its own; the environment that leads there."""
    with tempfile.TemporaryDirectory() as home:
        reading, writing = os.pipe()
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x900x24"],
            pass_fds=[writing],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        try:
            with os.fdopen(reading) as number:
                yield {**os.environ, "DISPLAY": f":{number.readline().strip()}", "HOME": home, "XDG_RUNTIME_DIR": home}
        finally:
            server.terminate()
            server.wait()


def ask(pairs: Sequence[tuple[str, Path, Path]], pictures: Path) -> Iterator[Judged]:
    """Judge pairs of image and mask. pairs: case, image, mask. pictures: a folder that gets one picture of each."""
    with screen() as environment:
        for case, image, mask in pairs:
            viewer = subprocess.Popen(
                ["mricron", image, "-x", "-o", mask, "-b", "50"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                yield _judge(case, image, mask, environment, pictures)
            finally:
                viewer.terminate()
                viewer.wait()


def version() -> str:
    """The version of the Debian package."""
    words = ["dpkg-query", "-W", "-f", "${Version}", "mricron"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _judge(case: str, image: Path, mask: Path, environment: dict[str, str], pictures: Path) -> Judged:
    window = _find_window(environment)
    _do(environment, "windowmove", window, "0", "0", "windowsize", window, "1270", "890", "windowfocus", window)
    ours = [nibabel.as_closest_canonical(nibabel.nifti1.load(path)) for path in (image, mask)]
    values = [np.asarray(one.dataobj) for one in ours]
    worst, wrong = 0.0, 0
    for voxel in _places(values[1]):
        place = ours[0].affine[:3, :3] @ voxel + ours[0].affine[:3, 3]
        said = _go(environment, window, voxel)
        worst = max(worst, float(np.abs(said[:3] - place).max()))
        wrong += int(not np.isclose(said[3], values[0][tuple(voxel)], rtol=1e-4, atol=1e-3))
        wrong += int(round(said[4]) != values[1][tuple(voxel)])
    middle = np.argwhere(values[1]).mean(axis=0).round().astype(int)
    _go(environment, window, middle)
    picture = pictures / f"mricron-{case}.png"
    subprocess.run(["import", "-window", "root", picture], env=environment, check=True)
    # Whole millimetres: half of one is what they may be off.
    return Judged(NAME, case, mask.name, 0.0 if worst <= 0.501 else worst, wrong, "at 8 places")


def _places(mask: Any) -> list[Any]:
    """Eight voxels: the first and the last of the mask along each axis but one, and what lies before and behind them."""
    filled = np.argwhere(mask)
    places = []
    for axis in (0, 1):
        for end in (filled[filled[:, axis].argmin()], filled[filled[:, axis].argmax()]):
            step = np.zeros(3, int)
            step[axis] = 1 if end[axis] == filled[:, axis].max() else -1
            places += [np.clip(end + step, 0, np.array(mask.shape) - 1), end]
    return places


def _go(environment: dict[str, str], window: str, voxel: Any) -> Any:
    """Move the cross-hair to a voxel; place in mm, and value of image and mask, as the title says."""
    for x, number in zip(_FIELDS, voxel, strict=True):
        _do(environment, "mousemove", "--window", window, str(x), str(_FIELD_Y), "click", "--repeat", "3", "1")
        time.sleep(0.15)
        _do(environment, "type", str(number + 1))
        _do(environment, "key", "Tab")
        time.sleep(0.15)
    time.sleep(0.3)
    title = _TITLE.search(_do(environment, "getwindowname", window))
    if title is None:
        raise OSError("MRIcron's title says no place")
    return np.array([float(word) for word in title.groups()])


def _find_window(environment: dict[str, str]) -> str:
    """Wait for the window whose title says a place: both files are open then."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        found = subprocess.run(
            ["xdotool", "search", "--name", "x.*= "], env=environment, capture_output=True, text=True, check=False
        ).stdout.split()
        if found and _TITLE.search(_do(environment, "getwindowname", found[-1])):
            return found[-1]
        time.sleep(0.3)
    raise OSError("MRIcron opened no window")


def _do(environment: dict[str, str], *words: str) -> str:
    return subprocess.run(["xdotool", *words], env=environment, capture_output=True, text=True, check=True).stdout
