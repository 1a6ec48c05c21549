"""Find out what stored values mean: rescale, lookup tables, real world values, inverted display, lossy compression.

Rules:
- An image's rescale is read, or its absence is certain: a slope or intercept that is no number, two numbers, not finite, or
  nothing in float32, is refused by name. NIfTI holds them as float32.
- A slope of 0 makes all values of a plane one. In every plane it is refused; in some, as PET writes planes without counts,
  it is followed, and a finding says so.
- A mask's stored values are its labels. Nothing is applied to them, and a finding names what another reader would apply.
- An RT dose is scaled by Dose Grid Scaling, which takes the place of the rescale (PS3.3 C.8.8.3).
- A Modality LUT is applied to an image. Real World Values are another quantity than the rescale gives: a finding names
  them, and an image that has no rescale as well stays unconfirmed.
- Pixels are lossy when their transfer syntax may lose, or when their header declares it (0028,2110).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..volume.mask import Array
from .encoding import load
from .frame import Frame, unreadable_number
from .frame_vectors import DOSE, vector_class

Rescale = tuple[float, float]

_CLAUSE = "PS3.3 C.11.1"
_LOSSY_CLAUSE = "PS3.3 C.7.6.1.1.5"
_DOSE_SCALING = "DoseGridScaling"
_LABELS = "a mask's stored values are its labels"
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# JPEG baseline and extended always lose; JPEG-LS near-lossless, JPEG 2000 and its part 2 and HTJ2K may (PS3.5 10).
_ALWAYS_LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in ("50", "51")}
_PERHAPS_LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in ("81", "91", "93", "203")}


def rescales(frames: Sequence[Frame]) -> list[Rescale]:
    """Read Rescale Slope and Intercept of every frame, (1, 0) where a frame has none. Raises UNREADABLE_NUMBER.

    Dose Grid Scaling and 0 for an RT dose.
    """
    pairs = [rescale_of(f) for f in frames]
    if pairs and not any(slope for slope, _ in pairs):
        raise unreadable_number(frames[0], "RescaleSlope", "it is 0, which makes all values one")
    return pairs


def rescale_of(frame: Frame) -> Rescale:
    """Read what `rescales` reads of one frame among others, whose slope may be 0. Raises UNREADABLE_NUMBER."""
    if _is_scaled_dose(frame):
        return _read_number(frame, _DOSE_SCALING, 1.0), 0.0
    return _read_number(frame, "RescaleSlope", 1.0), _read_number(frame, "RescaleIntercept", 0.0)


def rescales_of_mask(frames: Sequence[Frame]) -> tuple[list[Rescale] | None, list[Finding]]:
    """Find what readers that rescale apply to a mask, None where it cannot be read; and note that it is not applied here."""
    try:
        slopes = rescales(frames)
    except PipelineError as error:
        return None, [_note(Code.RESCALE_IGNORED, f"{error.finding.message}; it was not needed: {_LABELS}")]
    others = sorted(set(slopes) - {(1.0, 0.0)})
    if not others:
        return slopes, []
    slope, intercept = others[0]
    message = f"Rescale Slope {slope:g} and Intercept {intercept:g} were not applied: {_LABELS}"
    return slopes, [_note(Code.RESCALE_IGNORED, message)]


def modality_luts(frames: Sequence[Frame]) -> Callable[[int, Array], Array] | None:
    """Make what takes the stored values of frame n to those of its Modality LUT; None where no frame has one.

    Raises UNREADABLE_NUMBER where a table cannot be used.
    """
    with_table = [_has(f, "ModalityLUTSequence") for f in frames]
    if not any(with_table):
        return None

    def apply(n: int, plane: Array) -> Array:
        if not with_table[n]:
            slope, intercept = rescale_of(frames[n])
            return np.asarray(plane * slope + intercept)
        from pydicom.pixels import apply_modality_lut

        dataset = load(frames[n].path, stop_before_pixels=True)
        try:
            return np.asarray(apply_modality_lut(plane, dataset))
        except Exception as error:  # a table can be broken in many ways, and each is the same news to a user
            raise unreadable_number(frames[n], "ModalityLUTSequence", str(error)) from error

    return apply


def about_image(frames: Sequence[Frame]) -> list[Finding]:
    """Find what is to be known of an image's values."""
    found = _note_lossy(frames)
    if any(_has(f, "ModalityLUTSequence") for f in frames):
        message = "a Modality LUT (0028,3000) was applied: the values written are those of its table"
        found.append(_note(Code.MODALITY_LUT, message))
    return found + _flat_planes(frames) + _note_dose(frames) + _note_real_world_values(frames)


def _flat_planes(frames: Sequence[Frame]) -> list[Finding]:
    """Warn of planes whose Rescale Slope is 0 among others."""
    flat = [f.name for f in frames if f.get("RescaleSlope") == 0]
    if not flat:
        return []
    message = (
        f"Rescale Slope (0028,1053) is 0 in {len(flat)} of {len(frames)} planes: every value there is the intercept"
    )
    hint = "Planes without counts are written so. If they show something in another viewer, export them again."
    return [Finding(Code.FLAT_PLANES, message, hint, Severity.WARNING, _CLAUSE, tuple(flat[:1]))]


def about_colours(frames: Sequence[Frame]) -> list[Finding]:
    """Find what is to be known of the values of colours, which no rescale applies to."""
    found = _note_lossy(frames)
    scaled = next((f for f in frames if (f.get("RescaleSlope", 1), f.get("RescaleIntercept", 0)) != (1, 0)), None)
    if scaled is not None:
        message = f"{scaled.name} has a Rescale Slope or Intercept, which colours do not have: it was not applied"
        found.append(_note(Code.RESCALE_IGNORED, message))
    return found


def about_mask(frames: Sequence[Frame]) -> list[Finding]:
    """Find what is to be known of a mask's values, apart from lossy compression."""
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
        found.append(_note(Code.MODALITY_LUT, f"a Modality LUT (0028,3000) was not applied: {_LABELS}"))
    return found


def lossy(frames: Sequence[Frame]) -> str:
    """Why pixels are lossy, in words; "" where they are not."""
    return _find_lossy(frames)[1]


def _find_lossy(frames: Sequence[Frame]) -> tuple[str, str]:
    """The name of the first lossy frame, and why it is; both "" where there is none."""
    for frame in frames:
        syntax, declared = frame.header.transfer_syntax, str(frame.get("LossyImageCompression", "")).strip()
        if declared == "01":
            return frame.name, f"{frame.name} says so itself (0028,2110)"
        if syntax in _ALWAYS_LOSSY or (syntax in _PERHAPS_LOSSY and declared != "00"):
            return frame.name, f"{frame.name} has transfer syntax {syntax}"
        if frame.get("PhotometricInterpretation") == "YBR_ICT":
            return frame.name, f"{frame.name} has photometric interpretation YBR_ICT"
    return "", ""


def refuse_lossy(frames: Sequence[Frame], what: str) -> None:
    """Refuse lossy pixels where exact values are needed and compression has smeared them. what: "its colours".

    Raises LOSSY_PIXELS.
    """
    name, why = _find_lossy(frames)
    if why:
        raise refuse(
            Code.LOSSY_PIXELS,
            f"the pixels went through lossy compression ({why}), and {what} are smeared by it: not exact any more",
            "Export it again, uncompressed or losslessly compressed.",
            where=(name,),
            clause=_LOSSY_CLAUSE,
        )


def lossy_mask(why: str, done: str) -> Finding:
    """Warn of a mask that went through lossy compression and is written all the same. done: what was made of it."""
    message = f"the pixels went through lossy compression ({why}); {done}"
    return Finding(Code.LOSSY_MASK, message, severity=Severity.WARNING, clause=_LOSSY_CLAUSE)


def _note(code: Code, message: str) -> Finding:
    return Finding(code, message, severity=Severity.INFO, clause=_CLAUSE)


def _read_number(frame: Frame, keyword: str, default: float) -> float:
    value = frame.real(keyword, default)
    if value == 0 and keyword == _DOSE_SCALING:
        raise unreadable_number(frame, keyword, "it is 0, which makes all values one")
    if value and not _SMALLEST <= abs(value) <= _LARGEST:
        raise unreadable_number(frame, keyword, f"{value:g} is beyond float32, which NIfTI holds it in")
    return value


def _note_lossy(frames: Sequence[Frame]) -> list[Finding]:
    why = lossy(frames)
    if not why:
        return []
    message = f"the pixels went through lossy compression ({why}); values may differ from the original"
    return [Finding(Code.LOSSY_PIXELS, message, severity=Severity.WARNING, clause=_LOSSY_CLAUSE)]


def _has(frame: Frame, sequence: str) -> bool:
    return sequence in frame.header.luts


def _is_scaled_dose(frame: Frame) -> bool:
    header = frame.header
    return _DOSE_SCALING in header.values or _DOSE_SCALING in header.unreadable


def _note_dose(frames: Sequence[Frame]) -> list[Finding]:
    """Warn where the doses of an RT dose cannot be known from its scaling alone."""
    doses = [f for f in frames if vector_class(f.header.values) == DOSE]
    without = next((f for f in doses if not _is_scaled_dose(f)), None)
    twice = next((f for f in doses if (f.get("RescaleSlope", 1.0), f.get("RescaleIntercept", 0.0)) != (1.0, 0.0)), None)
    odd = without or twice
    if odd is None:
        return []
    what = (
        "is missing: what was written is no dose"
        if without
        else "was applied, and not the rescale that stands beside it"
    )
    return [
        Finding(
            Code.DOSE_UNSCALED,
            f"{odd.name} is an RT dose, and its Dose Grid Scaling (3004,000E) {what}",
            "Export the dose again; or scale the values by what the planning system says.",
            Severity.WARNING,
            "PS3.3 C.8.8.3",
            (odd.name,),
        )
    ]


def _note_real_world_values(frames: Sequence[Frame]) -> list[Finding]:
    frame = next((f for f in frames if _has(f, "RealWorldValueMappingSequence")), None)
    if frame is None:
        return []
    slope, intercept, unit = _read_mapping(load(frame.path, stop_before_pixels=True))
    rescaled = frame.get("RescaleSlope") is not None
    if slope is not None and (slope, intercept) == (frame.get("RescaleSlope", 1.0), frame.get("RescaleIntercept", 0.0)):
        return []
    how = "by a table" if slope is None else f"by slope {slope:g} and intercept {intercept:g}"
    instead = "the rescale was applied, as it is by other readers" if rescaled else "stored values were written"
    return [
        Finding(
            Code.REAL_WORLD_VALUES,
            f"Real World Value Mapping (0040,9096) of {frame.name} gives its values {how}{unit}; it was not applied: {instead}",
            "" if rescaled else "Apply it where you need the quantity it stands for.",
            Severity.INFO if rescaled else Severity.WARNING,
            "PS3.3 C.7.6.16.2.11",
            (frame.name,),
        )
    ]


def real_world_mapping(frame: Frame) -> tuple[float, float] | None:
    """Read slope and intercept of the Real World Value Mapping of a frame's file; None where it has none, or a table."""
    if not _has(frame, "RealWorldValueMappingSequence"):
        return None
    slope, intercept, _ = _read_mapping(load(frame.path, stop_before_pixels=True))
    return None if slope is None else (slope, intercept)


def _read_mapping(dataset: Any) -> tuple[float | None, float, str]:
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
