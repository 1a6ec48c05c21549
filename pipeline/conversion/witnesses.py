"""Ask the witnesses about a written file, volume by volume (proof 3), and say what their answers mean for it.

Rules:
- Witnesses are shown the planes of the input, and held against the voxels of the file in its place.
- A volume of a 4-D file is judged by itself; the file is as good as its worst volume. It is read once, one volume at a time,
  and not at all where no witness gives voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity
from ..core.policy import Policy
from ..crosscheck.agreement import Agreement
from ..crosscheck.mask_panel import WrittenMask
from ..crosscheck.panel import Panel
from ..geometry.grid import Grid
from ..geometry.index_map import find_index_map
from ..nifti import file as nifti
from ..volume import regrid
from ..volume.mask import Array, Physical, Voxels, require_block
from .layout import Layout
from .product import Product, Witnessed


def ask_witnesses(product: Product, layout: Layout, panel: Panel, path: Path, policy: Policy) -> tuple[Agreement, ...]:
    """Hold the written file against what every witness reads of the same planes.

    Args:
        product: with what witnesses are shown; nothing is asked where that is None.
        layout: the order in which the voxels of the file lie.
        panel: the witnesses, begun on the planes already.
        path: of the written file.
        policy: whether anybody is asked.

    Returns: one agreement per witness.
    """
    if policy.crosscheck == "off":
        return ()
    witnessed = product.witnessed
    on_planes = () if witnessed is None else _ask_about_planes(witnessed, product, layout, panel, path)
    if witnessed is not None and witnessed.of_source:
        on_planes = tuple(replace(agreement, saw="source") for agreement in on_planes)
    return (*on_planes, *_ask_mask_readers(product, layout, panel, path))


def _ask_mask_readers(product: Product, layout: Layout, panel: Panel, path: Path) -> tuple[Agreement, ...]:
    """Hold the labels that were written against what readers of the mask itself give; mask by mask, where there are several."""
    masks = product.masks
    shown = [mask for mask in masks if mask.mask_job is not None]
    found = panel.masks.verdicts([_written_mask(mask, layout, path) for mask in shown])
    if len(masks) == 1:
        return tuple(agreements[0] for agreements in found)
    return tuple(_of_all(agreements, len(masks)) for agreements in found)


def _of_all(agreements: Sequence[Agreement], masks: int) -> Agreement:
    """The worst of what a reader gave of several masks; where it agrees, with how many of all it was shown."""
    worst = _worst(agreements)
    return replace(worst, words=f"{worst.words}; {len(agreements)} of {masks} masks") if worst.confirms else worst


def _written_mask(mask: Product, layout: Layout, path: Path) -> WrittenMask:
    voxels, grid = mask.volume.voxels, mask.grid
    # What was written in our order was read back bit for bit (proof 2), and what is only a part of it is not in the file.
    in_memory = layout.voxels is voxels or mask is not layout.product
    planes = voxels.planes if in_memory else partial(_planes_on, grid, path, layout)
    return WrittenMask(grid, mask.proof.residual_mm + 2 * mask.proof.kept_skew_mm, planes)


def _ask_about_planes(
    witnessed: Witnessed, product: Product, layout: Layout, panel: Panel, path: Path
) -> tuple[Agreement, ...]:
    """Hold the file against what every witness reads of the planes, volume by volume."""
    grid = witnessed.stack.grid
    if product.volumes == 1:
        read_back = partial(_planes_on, grid, path, layout)
        return panel.verdicts(grid, witnessed.stack, witnessed.frames, witnessed.physical, read_back)
    count = product.grid.shape[2]
    reader = _VolumeReader(path, count)
    per_volume = []
    for volume in range(product.volumes):
        start = volume * count
        frames = witnessed.frames[start : start + count]
        physical = None if witnessed.physical is None else partial(_physical_from, witnessed.physical, start)
        read_back = partial(reader.planes, volume)
        per_volume.append(panel.verdicts(grid, witnessed.stack, frames, physical, read_back, volume))
    return tuple(_worst(same) for same in zip(*per_volume, strict=True))


def doubtful(agreements: Sequence[Agreement]) -> list[Agreement]:
    """Return those that keep a result from VERIFIED, whatever the others say."""
    return [agreement for agreement in agreements if agreement.leaves_doubt]


def doubts(agreements: Sequence[Agreement]) -> list[Finding]:
    """Say of every witness that refused the voxels, for a reason not understood, that its doubt remains."""
    return [_refusal_of(agreement) for agreement in doubtful(agreements)]


def refuse_disputed(agreements: Sequence[Agreement], findings: Sequence[Finding]) -> PipelineError:
    """Return the refusal of a file that a witness disputes. findings: made before it."""
    differing = [a for a in agreements if a.status == "DIFFERS"]
    words = "; ".join(f"{a.witness} {a.version}: {a.words}" for a in differing)
    return PipelineError(
        Finding(
            Code.WITNESS_DIFFERS,
            f"{words}, and no known rule explains it",
            "Nothing was kept. --keep-disputed writes the file all the same; please report the series.",
            where=tuple(a.witness for a in differing),
        ),
        tuple(findings),
    )


class _VolumeReader:
    """Reads the volumes of a written 4-D file, each once, in their order, and only where one is looked at."""

    def __init__(self, path: Path, count: int) -> None:
        self._unread = nifti.read_planes(path)
        self._count = count
        self._volume, self._planes = -1, list[Array]()

    def planes(self, volume: int) -> Iterable[Array]:
        """The planes of a volume, as often as they are wanted before those of a later one."""
        while self._volume < volume:
            self._planes = list(islice(self._unread, self._count))
            self._volume += 1
        return self._planes


def _physical_from(physical: Physical, start: int, k: int, plane: Array) -> Array:
    return physical(start + k, plane)


def _planes_on(grid: Grid, path: Path, layout: Layout) -> Iterable[Array]:
    """Read the planes of the written file in the order of the grid that witnesses are held against."""
    fit = find_index_map(grid.ras, grid.shape, layout.affine, layout.shape)
    planes = nifti.read_planes(path)
    if fit is None or ((fit.matrix == np.eye(4)).all() and layout.shape == grid.shape):
        return planes
    columns, rows, count = layout.voxels.shape
    require_block(layout.voxels.shape, layout.voxels.dtype)
    block = np.empty((count, rows, columns), layout.voxels.dtype)
    for k, plane in enumerate(planes):
        block[k] = plane
    return regrid.put_onto(Voxels.of(block.T), fit.inverse, grid.shape)


def _worst(agreements: Sequence[Agreement]) -> Agreement:
    order = ("DIFFERS", "FAILED", "KNOWN_WRONG", "REFUSED", "ABSENT", "REORDERED", "AGREES")
    worst = min(agreements, key=lambda a: (order.index(a.status), -(a.max_corner_mm or 0), -(a.voxels_differing or 0)))
    doubtful_ones = doubtful(agreements)
    return doubtful_ones[0] if doubtful_ones and worst.status != "DIFFERS" else worst


def _refusal_of(agreement: Agreement) -> Finding:
    who = f"{agreement.witness} {agreement.version}".strip()
    return Finding(
        Code.WITNESS_REFUSED,
        f"{who} was asked for the voxels and {agreement.words}; nobody has looked into that reason yet, so it may be "
        "right, and the result stays unconfirmed",
        "Look at the series in another viewer, and please report it.",
        Severity.WARNING,
        where=(agreement.witness,),
    )
