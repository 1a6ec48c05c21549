"""Ask 3D Slicer's own core (the `slicer-core` wheel) for every file, as a volume and as a segmentation."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.clients.judged import LIMIT_MM, Judged, corner_mm
from tests.clients.our_files import OurFile

CHILD = Path(__file__).parent / "slicer_child.py"
NAME = "3D Slicer"


def ask(python: Path, files: Sequence[OurFile], folder: Path) -> Iterator[Judged]:
    """Judge every file. python: of the viewers' environment."""
    array = folder / "slicer.npy"
    child = subprocess.Popen(
        [python, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    if child.stdin is None or child.stdout is None:
        raise OSError("no pipe to Slicer")
    with child:
        for ours in files:
            job = {"path": str(ours.path), "labels": ours.kind == "mask", "array": str(array)}
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
            yield _judge(ours, json.loads(child.stdout.readline()), array)
        child.stdin.close()


def version(python: Path) -> str:
    """The version of the wheel."""
    code = "import importlib.metadata as m; print(m.version('slicer-core'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _judge(ours: OurFile, answer: dict[str, Any], array: Path) -> Judged:
    who = (NAME, ours.case, ours.path.name)
    if answer["refused"]:
        return Judged(*who, refused=True)
    differing = ours.count_differing(np.load(array))
    if "segments" in answer:
        differing += _count_wrong(ours, answer["segments"])
    worst = max(corner_mm(ours, np.array(affine)) for affine in answer["affines"])
    return Judged(*who, worst, differing, "as a sequence" if len(answer["affines"]) > 1 else "")


def _count_wrong(ours: OurFile, segments: Sequence[Any]) -> int:
    """Hold voxels and middle of every segment of the Segment Editor against the labels; how many voxels are wrong."""
    wrong = 0
    for label, (count, middle) in zip(ours.labels, segments, strict=True):
        indices = np.argwhere(ours.array == label)
        place = ours.affine[:3, :3] @ indices.mean(axis=0) + ours.affine[:3, 3]
        is_elsewhere = np.linalg.norm(place - middle) > LIMIT_MM
        wrong += len(indices) if is_elsewhere else abs(count - len(indices))
    return wrong
