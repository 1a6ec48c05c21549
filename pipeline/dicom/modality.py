"""Say what stored values mean: rescale, lookup tables, real world values, inverted display, lossy compression.

Rules:
- An image's rescale is read, or its absence is certain: a slope or intercept that is no number, two numbers, not finite, 0
  as a slope, or nothing in float32, is refused by name. NIfTI holds them as float32.
- A mask's stored values are its labels: nothing is applied to them, and what would have been is said.
- A Modality LUT is applied to an image. Real World Values are another quantity than the rescale gives: they are said, and
  an image that has no rescale beside them stays unconfirmed.
- Pixels are lossy when their transfer syntax may lose, or when they say so themselves (0028,2110).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..volume.mask import Array
from .encoding import load
from .frame import Frame, unreadable_number

Rescale = tuple[float, float]

_CLAUSE = "PS3.3 C.11.1"
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# JPEG baseline and extended always lose; JPEG-LS near-lossless, JPEG 2000 and its part 2 and HTJ2K may (PS3.5 10).
_ALWAYS_LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in ("50", "51")}
_PERHAPS_LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in ("81", "91", "93", "203")}


def rescales(frames: Sequence[Frame]) -> list[Rescale]:
    """Rescale Slope and Intercept of every frame, (1, 0) where a frame has none. Raises UNREADABLE_NUMBER."""
    return [(_number(f, "RescaleSlope", 1.0), _number(f, "RescaleIntercept", 0.0)) for f in frames]


def rescales_of_mask(frames: Sequence[Frame]) -> tuple[list[Rescale] | None, list[Finding]]:
    """What readers that rescale apply to a mask, None where it cannot be told; and that it is not applied here."""
    try:
        slopes = rescales(frames)
    except PipelineError as error:
        said = f"{error.finding.message}; it was not needed: a mask's stored values are its labels"
        return None, [Finding(Code.RESCALE_IGNORED, said, severity=Severity.INFO, clause=_CLAUSE)]
    others = sorted(set(slopes) - {(1.0, 0.0)})
    if not others:
        return slopes, []
    slope, intercept = others[0]
    said = (
        f"Rescale Slope {slope:g} and Intercept {intercept:g} were not applied: a mask's stored values are its labels"
    )
    return slopes, [Finding(Code.RESCALE_IGNORED, said, severity=Severity.INFO, clause=_CLAUSE)]


def modality_luts(frames: Sequence[Frame]) -> Callable[[int, Array], Array] | None:
    """What takes the stored values of frame n to those of its Modality LUT; None where no frame has one.

    Raises UNREADABLE_NUMBER where a table cannot be used.
    """
    with_table = [_has(f, "ModalityLUTSequence") for f in frames]
    if not any(with_table):
        return None

    def applied(n: int, plane: Array) -> Array:
        if not with_table[n]:
            slope, intercept = rescales(frames[n : n + 1])[0]
            return np.asarray(plane * slope + intercept)
        from pydicom.pixels import apply_modality_lut

        dataset = load(frames[n].path, stop_before_pixels=True)
        try:
            return np.asarray(apply_modality_lut(plane, dataset))
        except Exception as error:  # a table can be broken in many ways, and each is the same news to a user
            raise unreadable_number(frames[n], "ModalityLUTSequence", str(error)) from error

    return applied


def about_image(frames: Sequence[Frame]) -> list[Finding]:
    """What is to be known of an image's values."""
    why = lossy(frames)
    found = []
    if why:
        said = f"the pixels went through lossy compression ({why}); values may differ from the original"
        found.append(Finding(Code.LOSSY_PIXELS, said, severity=Severity.WARNING, clause="PS3.3 C.7.6.1.1.5"))
    if any(_has(f, "ModalityLUTSequence") for f in frames):
        said = "a Modality LUT (0028,3000) was applied: the values written are those of its table"
        found.append(Finding(Code.MODALITY_LUT, said, severity=Severity.INFO, clause=_CLAUSE))
    return found + _real_world_values(frames)


def about_mask(frames: Sequence[Frame]) -> list[Finding]:
    """What is to be known of a mask's values, lossy compression aside."""
    found = []
    if frames[0].get("PhotometricInterpretation") == "MONOCHROME1":
        found.append(
            Finding(
                Code.INVERTED_DISPLAY,
                "every plane is MONOCHROME1, which is shown inverted: whether its stored values or those shown are the "
                "labels is not said; the stored values were taken",
                "Look whether the mask is inside out.",
                Severity.WARNING,
                "PS3.3 C.7.6.3.1.2",
            )
        )
    if any(_has(f, "ModalityLUTSequence") for f in frames):
        said = "a Modality LUT (0028,3000) was not applied: a mask's stored values are its labels"
        found.append(Finding(Code.MODALITY_LUT, said, severity=Severity.INFO, clause=_CLAUSE))
    return found


def lossy(frames: Sequence[Frame]) -> str:
    """Why pixels are lossy, in words; "" where they are not."""
    for frame in frames:
        syntax, told = frame.header.transfer_syntax, str(frame.get("LossyImageCompression", "")).strip()
        if told == "01":
            return f"{frame.name} says so itself (0028,2110)"
        if syntax in _ALWAYS_LOSSY or (syntax in _PERHAPS_LOSSY and told != "00"):
            return f"{frame.name} has transfer syntax {syntax}"
        if frame.get("PhotometricInterpretation") == "YBR_ICT":
            return f"{frame.name} has photometric interpretation YBR_ICT"
    return ""


def refuse_lossy(frames: Sequence[Frame], what: str) -> None:
    """Raises LOSSY_PIXELS where exact values are needed and compression has smeared them. what: "its colours"."""
    why = lossy(frames)
    if why:
        raise refuse(
            Code.LOSSY_PIXELS,
            f"the pixels went through lossy compression ({why}), and {what} are smeared by it: not exact any more",
            "Export it again, uncompressed or losslessly compressed.",
            where=(why.split()[0],),
            clause="PS3.3 C.7.6.1.1.5",
        )


def lossy_mask(why: str, done: str) -> Finding:
    """The finding of a mask that went through lossy compression and is written all the same. done: what was made of it."""
    said = f"the pixels went through lossy compression ({why}); {done}"
    return Finding(Code.LOSSY_MASK, said, severity=Severity.WARNING, clause="PS3.3 C.7.6.1.1.5")


def _number(frame: Frame, keyword: str, default: float) -> float:
    value = frame.real(keyword, default)
    if value == 0 and keyword == "RescaleSlope":
        raise unreadable_number(frame, keyword, "it is 0, which makes all values one")
    if value and not _SMALLEST <= abs(value) <= _LARGEST:
        raise unreadable_number(frame, keyword, f"{value:g} is beyond float32, which NIfTI holds it in")
    return value


def _has(frame: Frame, sequence: str) -> bool:
    return sequence in frame.header.luts


def _real_world_values(frames: Sequence[Frame]) -> list[Finding]:
    frame = next((f for f in frames if _has(f, "RealWorldValueMappingSequence")), None)
    if frame is None:
        return []
    slope, intercept, unit = _mapping(load(frame.path, stop_before_pixels=True))
    rescaled = frame.get("RescaleSlope") is not None
    if slope is not None and (slope, intercept) == (frame.get("RescaleSlope", 1.0), frame.get("RescaleIntercept", 0.0)):
        return []
    how = "by a table" if slope is None else f"by slope {slope:g} and intercept {intercept:g}"
    beside = "the rescale was applied, as it is by other readers" if rescaled else "stored values were written"
    return [
        Finding(
            Code.REAL_WORLD_VALUES,
            f"Real World Value Mapping (0040,9096) of {frame.name} gives its values {how}{unit}; it was not applied: {beside}",
            "" if rescaled else "Apply it where you need the quantity it stands for.",
            Severity.INFO if rescaled else Severity.WARNING,
            "PS3.3 C.7.6.16.2.11",
            (frame.name,),
        )
    ]


def real_world_mapping(frame: Frame) -> tuple[float, float] | None:
    """Slope and intercept of the Real World Value Mapping of a frame's file; None where it has none, or a table."""
    if not _has(frame, "RealWorldValueMappingSequence"):
        return None
    slope, intercept, _ = _mapping(load(frame.path, stop_before_pixels=True))
    return None if slope is None else (slope, intercept)


def _mapping(dataset: Any) -> tuple[float | None, float, str]:
    """Slope (None for a table), intercept and unit of the first Real World Value Mapping."""
    groups = [
        *(dataset.get("SharedFunctionalGroupsSequence") or ()),
        *(dataset.get("PerFrameFunctionalGroupsSequence") or ()),
    ]
    item = next(i for d in (dataset, *groups) for i in (d.get("RealWorldValueMappingSequence") or ()))
    units = item.get("MeasurementUnitsCodeSequence")
    unit = f" ({units[0].get('CodeMeaning') or units[0].get('CodeValue')})" if units else ""
    slope = item.get("RealWorldValueSlope")
    return None if slope is None else float(slope), float(item.get("RealWorldValueIntercept") or 0.0), unit
