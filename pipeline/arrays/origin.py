"""Keep what an array comes from: the grid of a DICOM series, with its proof and what witnesses can be shown of it.

Rules:
- It holds headers and numbers, and no voxels.
- What is later written on the grid is a product like any other: held against every plane's equation and the witnesses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..conversion.looks import Looks
from ..conversion.one_series import chosen_part
from ..conversion.product import Product, Proof, Witnessed
from ..conversion.request import Request
from ..core.findings import Code, Finding, refuse
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..dicom.scan import Scan, Series, choose, left_out_beside
from ..geometry.grid import Grid
from ..stacking.laid_frames import LaidFrames
from ..stacking.stack_frames import lay_frames
from ..volume.mask import ImageVolume, MaskVolume

_ABOUT_THE_GRID = ("SCAN", "SERIES", "GEOMETRY")  # stages whose findings hold for whatever lies on it


@dataclass(frozen=True, slots=True, eq=False)
class ArrayOrigin:
    """What an array comes from. title: of the series, for messages. frames: the plane at each k of the grid, or None.

    series_uid: "" where no series is known. files: that had a part in the grid. assumed: why the places are assumed, or "".
    """

    title: str
    grid: Grid
    proof: Proof
    frames: tuple[Frame | None, ...]
    series_uid: str = ""
    witnessed: Witnessed | None = None
    files: tuple[Path, ...] = ()
    findings: tuple[Finding, ...] = ()
    assumed: str = ""

    @property
    def plane_uids(self) -> tuple[str | None, ...]:
        """SOP Instance UID of the plane at each k of the grid; None where there is none."""
        return tuple(None if frame is None else frame.sop_instance_uid for frame in self.frames)

    @classmethod
    def of_product(cls, product: Product) -> ArrayOrigin:
        """The origin of what was converted; of several volumes, of the first."""
        planes, seen = product.grid.shape[2], product.witnessed
        return cls(
            title=product.series.title if product.series.headers else product.volume.name,
            grid=product.grid,
            proof=product.proof,
            frames=product.frames[:planes],
            series_uid=str(product.extra.get("SourceSeriesInstanceUID", product.series.uid)),
            witnessed=None if seen is None else Witnessed(seen.frames[:planes], seen.stack, None, of_source=True),
            files=tuple(dict.fromkeys(path for _, path in product.files)),
            findings=tuple(f for f in product.findings if f.code.stage in _ABOUT_THE_GRID),
            assumed=product.assumed,
        )

    def product(
        self, volume: MaskVolume | ImageVolume, extra: dict[str, Any], findings: tuple[Finding, ...]
    ) -> Product:
        """Make the product of voxels on this grid.

        Args:
            volume: on the grid.
            extra: further blocks of its record.
            findings: about the voxels.

        Returns: what can be written.
        """
        series = {"SourceSeriesInstanceUID": self.series_uid} if self.series_uid else {}
        return Product(
            volume=volume,
            series=Series("", "array", (), ()),
            proof=self.proof,
            frames=self.frames,
            findings=tuple(dict.fromkeys((*self.findings, *findings))),
            witnessed=self.witnessed,
            further=tuple(("source", path) for path in self.files),
            form="labels" if isinstance(volume, MaskVolume) else "image",
            assumed=self.assumed,
            extra={**series, **extra},
        )


def find_origin(inputs: tuple[Path, ...], request: Request, policy: Policy) -> tuple[ArrayOrigin, LaidFrames]:
    """Find one image series among inputs, and lay it on its grid.

    Args:
        inputs: folders or files.
        request: which series and part, where there are several.
        policy: tolerances, and what becomes of planes that are no grid.

    Returns: what an array on that grid comes from, and the frames, whose pixels can be read.

    Raises: PipelineError IDLE_OPTION, NOT_CONVERTIBLE where there are no images; SEVERAL_SERIES, SEVERAL_VOLUMES, NO_SUCH_SERIES,
    NO_SUCH_PART, and what keeps the planes from one grid.
    """
    if replace(request, series=None, part=None) != Request():
        words = "of a Request, only series and part have an effect on where an array lies"
        raise refuse(Code.IDLE_OPTION, words, "Leave the others out.", where=("request",))
    found = Looks().scan(inputs)
    chosen = choose(_images_of(found) if request.series is None else found, request.series)
    if chosen.kind != "image":
        raise refuse(
            Code.NOT_CONVERTIBLE,
            f"{chosen.title} is of kind {chosen.kind}, and an array lies on the planes of images",
            "Give the folder of the images.",
            where=(chosen.uid,),
        )
    doubts = tuple(f for f in left_out_beside(found, chosen, policy) if f.leaves_doubt)
    part = chosen_part(chosen, request.part)
    laid_frames = lay_frames(part.frames, policy, chosen.title)
    is_seen = laid_frames.whole and not laid_frames.assumed
    seen = Witnessed(laid_frames.frames, laid_frames.stack, None, of_source=True) if is_seen else None
    origin = ArrayOrigin(
        title=chosen.title,
        grid=laid_frames.grid,
        proof=Proof.of(laid_frames.stack),
        frames=laid_frames.at_k,
        series_uid=chosen.uid,
        witnessed=seen,
        files=tuple(dict.fromkeys(frame.path for frame in laid_frames.frames)),
        findings=(*doubts, *part.findings, *laid_frames.findings),
        assumed=laid_frames.assumed,
    )
    return origin, laid_frames


def _images_of(found: Scan) -> Scan:
    """What was found, without masks and others beside images."""
    images = tuple(series for series in found.series if series.kind == "image")
    return replace(found, series=images or found.series)
