"""Show a mask or an image in a notebook: a picture that every export keeps, and a live view on request.

Rules:
- What is saved with a notebook is one PNG, with its facts as text: it needs no kernel, script or network to be seen.
- The live view is NiiVue's widget (extra "notebook"), with nearest voxels and the same colours. Where no kernel runs it
  shows nothing, so the picture is displayed below it.
- Names come from files and are escaped.
"""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..core.extras import imported
from ..core.plain_text import escape_controls
from ..geometry.affine import axis_lengths
from ..nifti import file as nifti
from ..report.notebook_picture import compose_picture
from ..report.pictures import colour_of, hex_of
from ..report.views import Scene
from ..report.volume import Volume
from ..volume.mask import Segment, Voxels

_LISTED = 30  # labels under the picture
_LIMIT_MM = 1e-2  # of the headers of the live view, which is for the eye only
_CROSS_VOXELS = 0.2  # thickness of the cross, so that it hides no voxel
_OPACITY = 0.6  # of the labels over an image
_SWATCH = "display:inline-block;width:.8em;height:.8em;margin-right:.35em;vertical-align:-.05em;background:"


@dataclass(frozen=True, slots=True, eq=False)
class NotebookView:
    """What a cell shows. scene: the voxels. title, notes: what is written under the picture. live: with NiiVue above it."""

    scene: Scene
    title: str
    notes: tuple[str, ...] = ()
    live: bool = False

    def _repr_mimebundle_(self, include: Collection[str] | None = None, exclude: Any = None) -> dict[str, str]:
        """The forms that a notebook may choose from (IPython's protocol)."""
        picture = b64encode(compose_picture(self.scene)).decode("ascii")
        return {"text/plain": repr(self), "text/html": self._html(picture), "image/png": picture}

    def _ipython_display_(self) -> None:
        """Display the live view where it is wanted, then what stays of it in an export."""
        display = imported("notebook", "IPython.display").display
        if self.live:
            display(self.widget())
        display(self._repr_mimebundle_(), raw=True)

    def widget(self) -> Any:
        """Make the live view, an `ipyniivue.NiiVue`, to be shown alone or changed first.

        Raises: PipelineError NO_NOTEBOOK_PACKAGE.
        """
        niivue = imported("notebook", "ipyniivue").NiiVue()
        labels = _pack(self.scene.block) if self.scene.segments else None
        image = self.scene.source or (self.scene.block if labels is None else None)
        volumes: list[dict[str, Any]] = []
        if image is not None:
            black, white = self.scene.window or (None, None)
            volumes.append({"name": "image.nii.gz", "data": _pack(image), "cal_min": black, "cal_max": white})
        if labels is not None:
            volumes.append({"name": "mask.nii.gz", "data": labels, "opacity": _OPACITY if volumes else 1.0})
        niivue.load_volumes([{**volume, "colorbar_visible": False} for volume in volumes])
        if labels is not None:
            niivue.volumes[-1].set_colormap_label(_tabulate(self.scene.segments))
        niivue.set_interpolation(True)  # nearest
        niivue.opts.is_radiological_convention = self.scene.convention == "radiological"
        niivue.opts.crosshair_width = _CROSS_VOXELS
        return niivue

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {escape_controls(self.title)}>"

    def _html(self, picture: str) -> str:
        segments = self.scene.segments
        labels = "".join(
            f'<span style="margin-right:1.2em;white-space:nowrap"><span style="{_SWATCH}{hex_of(colour_of(s))}"></span>'
            f"{s.number} {_escape(s.name)}</span>"
            for s in segments[:_LISTED]
        )
        if len(segments) > _LISTED:
            labels += f"<span>and {len(segments) - _LISTED} more</span>"
        sides = "R and L: the patient's right and left, A: front, P: back, S: head, I: feet"
        words = [_escape(self.title), *map(_escape, self.notes)]
        return (
            f'<figure style="margin:0"><img src="data:image/png;base64,{picture}" style="max-width:100%;height:auto"'
            f' alt="axial, sagittal and coronal cut of {_escape(self.title)}. {sides}.">'
            f"<figcaption><div>{labels}</div>{''.join(f'<div>{line}</div>' for line in words)}</figcaption></figure>"
        )


def _escape(text: str) -> str:
    return escape(escape_controls(text))


def describe_block(block: Volume) -> str:
    """Describe the size of a block in words, in the order of axes of the file or array that it shows."""
    here = [block.order.axes.index(axis) for axis in range(3)]
    size, spacing = block.voxels.shape, axis_lengths(block.ras)
    return f"{' × '.join(str(size[a]) for a in here)} voxels of {' × '.join(f'{spacing[a]:.4g}' for a in here)} mm"


def _pack(volume: Volume) -> bytes:
    """Make a gzipped NIfTI file of a block as it lies here, for the eye only."""
    columns, rows, planes = volume.voxels.shape
    header, _ = nifti.pack_header(
        volume.ras,
        (columns, rows, planes),
        volume.voxels.dtype,
        slope=volume.slope,
        intercept=volume.intercept,
        label=False,
        description="for the eye only",
        limit_mm=_LIMIT_MM,
    )
    body = b"".join(np.ascontiguousarray(plane).tobytes() for plane in Voxels.of(volume.voxels))
    return gzip.compress(header + body, 1, mtime=0)


def _tabulate(segments: Sequence[Segment]) -> dict[str, Any]:
    """Make NiiVue's table of label colours; 0 is clear."""
    colours = [(0, 0, 0), *map(colour_of, segments)]
    red, green, blue = zip(*colours, strict=True)
    return {
        "R": list(red),
        "G": list(green),
        "B": list(blue),
        "A": [0, *[255] * len(segments)],
        "I": [0, *(s.number for s in segments)],
        "labels": ["", *(escape_controls(s.name) for s in segments)],
    }
