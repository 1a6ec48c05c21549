"""Decode a series of planes as the image it is: grey values, or colours.

Rules:
- Colours are RGB24: three samples of 8 bits in a voxel, whatever colour model they were stored in. They have no slope, so a
  rescale among their attributes is not applied.
- The stored values of PALETTE COLOR are written as they are; its colours where that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.findings import Code, Finding, Severity
from ..core.policy import Policy
from ..dicom.colour_pixels import Colours, has_palette, has_samples
from ..dicom.frame import Frame
from ..dicom.modality import about_colours
from ..dicom.palette import refuse_supplemental
from .image import Decoded, decode_image

_CLAUSE = "PS3.3 C.7.6.3.1.5"


def decode_picture(frames: Sequence[Frame], policy: Policy, *, padded: bool = False) -> Decoded:
    """Read the grey values or colours of frames, in their order.

    Args:
        frames: of one size, in their order.
        policy: whether the palette of PALETTE COLOR is applied.
        padded: whether a padding value is needed; that of colours is black.

    Returns:
        The voxels, RGB24 for colours.

    Raises:
        PipelineError: UNSUPPORTED_PIXELS, MIXED_PHOTOMETRIC, CORRUPT_FILE, and as `decode_image` does.
    """
    is_applied = policy.palette == "apply"
    if any(has_samples(f) or (is_applied and has_palette(f)) for f in frames):
        return _decode_colours(frames)
    if is_applied:
        refuse_supplemental(frames[0])
    decoded = decode_image(frames, padded=padded)
    first = next((f for f in frames if has_palette(f)), None)
    return decoded if first is None else replace(decoded, findings=(*decoded.findings, _kept(first)))


def _decode_colours(frames: Sequence[Frame]) -> Decoded:
    colours = Colours(frames)
    findings = about_colours(frames)
    first = next((f for f in frames if has_palette(f)), None)
    if first is not None:
        message = f"the palette of {first.name} was applied: its colours are written, and not its stored values"
        findings.append(Finding(Code.PALETTE, message, severity=Severity.INFO, clause=_CLAUSE, where=(first.name,)))
    return Decoded(colours.voxels, tuple(findings), lambda n, plane: plane, late=colours.findings)


def _kept(first: Frame) -> Finding:
    return Finding(
        Code.PALETTE,
        f"{first.name} is PALETTE COLOR: the values written are its stored ones, which are indices into its palette",
        "--palette apply writes the colours they stand for.",
        Severity.INFO,
        _CLAUSE,
        (first.name,),
    )
