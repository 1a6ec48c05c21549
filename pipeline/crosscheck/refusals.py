"""Recognise the refusals that are understood: reasons that have nothing to do with how we read the voxels.

Rules:
- Every entry gives its reason. A refusal on no list leaves doubt, since the witness may be right about the bytes.
- A pattern matches the witness's own words and is as narrow as they are; one for all errors of a kind is too wide.
- Words that could be of any file are understood for the kind that the witness is known not to read, and for no other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..dicom.colour_pixels import has_palette
from ..dicom.frame_vectors import DOSE, vector_class
from ..dicom.jpeg_extended import JPEG_EXTENDED
from ..dicom.one_bit import is_one_bit
from ..dicom.pixel_bits import is_float
from .child import ONLY_WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..dicom.frame import Frame
    from .testimony import Testimony

_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_UNDERSTOOD: dict[str, tuple[tuple[str, str], ...]] = {
    "dicom2nifti": (
        (r"ConversionValidationError: TOO_FEW_SLICES/LOCALIZER", "it leaves out series of few planes, and localizers"),
        (
            r"ConversionValidationError: NON_IMAGING_DICOM_FILES",
            "it wants the place in the old attributes of every file",
        ),
        (r"ConversionValidationError: NON_CUBICAL_IMAGE/GANTRY_TILT", "it takes no shear; Proof 1 judges the planes"),
        (r"ConversionValidationError: SLICE_INCREMENT_INCONSISTENT", "it is stricter with jitter; Proof 1 judges it"),
        (r"ConversionValidationError: IMAGE_ORIENTATION_INCONSISTENT", "it is stricter with cosines; Proof 1 judges"),
        (r"ConversionValidationError: INSTANCE_NUMBER_INCONSISTENT", "numbers decide nothing here"),
        (r"ConversionValidationError: INCONSISTENT_ACQUISITION_NUMBERS", "numbers decide nothing here"),
        (r"ConversionValidationError: UNSUPPORTED_DATA", "it does not convert this kind of any scanner"),
        (r"ConversionError: IMPLICIT_VR_ENHANCED_DICOM", "it takes no enhanced file under implicit VR"),
        (r"ConversionError: MOSAIC_TYPE_NOT_SUPPORTED", "it knows few kinds of mosaic"),
        (
            r"ValueError: could not broadcast input array from shape \((\d+,\d+),3\) into shape \(\1(,3,3)?\)",
            "it has no colours in multi-frame instances, nor in a single plane",
        ),
        (
            r"TypeError: unsupported operand type\(s\) for \*: 'float' and 'NoneType'",
            "it wants a Slice Thickness where there is one plane",
        ),
        (r"ConversionError: NOT_A_VOLUME", "it does not tell planes at one place apart"),
        (r"KeyError: \(0029,1020\)", "it wants the protocol of a mosaic in the CSA series header"),
        (r"AttributeError: 'FileDataset' object has no attribute 'PixelSpacing'", "it reads no other spacing"),
        (r"TypeError: 'DSfloat' object is not subscriptable", "it takes no single value for a spacing"),
        (
            r"ValueError: operands could not be broadcast together with shapes \(\d+,\d+\) \(\d,\)",
            "one slope, not several",
        ),
        (
            r"ConversionError: Unsupported or missing (PixelMeasures|PlaneOrientation|PlanePosition)Sequence.*",
            "places only",
        ),
    ),
    "SimpleITK": (
        (r"An invalid logic behavior occurred ?vr\.Compatible\( de\.GetVR\(\) \)", "it takes no number of a text's VR"),
    ),
    "dcm2niix": (
        (
            r"wrote 0 files for one series\. Warning: Unsupported transfer syntax '1\.2\.840\.10008\.1\.2[\d.]*'.*",
            "it reads fewer of the standard's transfer syntaxes, deflated ones not at all",
        ),
        (r"wrote ([2-9]|\d\d+) files for one series.*", "it splits by its own rules what lies on one grid"),
    ),
    "GDCM": (
        (r"GDCM reads no floating-point pixels, .*", "it has integers alone"),
        (r".* has pixels of 64 bits", "it has at most 32"),
        (r".* has several frames and no functional groups", "it is shown the place that every frame states, no other"),
        (r"frame \d+ of .* has no position, orientation or spacing of its own", "the same"),
        (r".* every reader rounds its way to red, green and blue", "exact colours of YBR are a matter of rounding"),
        (
            r".* with entries below 256, whose brightness is not clear",
            "8 or 16 bits, which nothing in the file decides",
        ),
        (r"a plane is missing, and nothing can be compared there", "it compares whole volumes"),
    ),
    "highdicom": (
        (
            r"RuntimeError: Frame positions do not form a regularly-spaced volume\.",
            "it wants the frames of all segments on one grid along their normal, closer than a hundredth of the step",
        ),
        (r"ValueError: Argument 'spacing_hint' cannot be 0\.", "it takes no step of 0; the positions decide here"),
        (
            r"AttributeError: Sequence does not have the required attributes for a Pixel Measures Sequence\.",
            "it wants spacing and thickness in one sequence",
        ),
        (
            r"AttributeError: 'Segmentation' object has no attribute '(SharedFunctionalGroups|Segment)Sequence'.*",
            "it wants the shared groups, and every segment described",
        ),
        (r"ValueError: Segment numbers array contains invalid values\.", "it wants every segment described"),
        (r"KeyError: \(0062,000A\)", "it wants every frame to name its segment; that it does not is said here"),
        (r"ValueError: None is not a valid CoordinateSystemNames", "it wants a Frame of Reference"),
    ),
    "dcmqi": (
        (
            r"ERROR: Frame \d+ origin \[.*\] is outside image geometry!.*",
            "it wants the frames of all segments on one grid",
        ),
        (
            r"ERROR: No sufficient information to derive slice spacing! Unable to interpret the data\.",
            "it takes the step from a tag",
        ),
        (r"puts planes [\d.e+-]+ mm apart that are [\d.e+-]+ mm apart", "it takes the step from a tag"),
        (
            r"E: getSegmentsByPosition\(\): Referenced Segment Number is 0 \(not permitted\), cannot add segment",
            "it counts segments from 1",
        ),
        (
            r"E: getSegmentsByPosition\(\): Found Referenced Segment Number \d+ but only \d+ segments are present.*",
            "it wants the numbers of segments without a gap, and every segment described",
        ),
        (r"E: Could not find Shared Functional Group Sequence", "it wants the shared groups"),
        (
            r"E: ensureFramesAreParallel\(\): Image Orientation Patient is per-frame, .*",
            "it wants the orientation shared",
        ),
        (
            r"E: Transfer syntax .* uses lossy compression, not supported for Segmentation objects!",
            "it takes JPEG 2000 for lossy, lossless or not",
        ),
        (r"takes the \d+ bits of a binary segment for single ones", "the standard knows no such binary segment"),
    ),
}


def _has_64_bits(frame: Frame) -> bool:
    return bool(frame.get("BitsAllocated") == 64)


def _is_jpeg_ls(frame: Frame) -> bool:
    return frame.header.transfer_syntax in _JPEG_LS


def _is_inverted(frame: Frame) -> bool:
    return bool(frame.get("PhotometricInterpretation") == "MONOCHROME1" and frame.get("PixelRepresentation") == 1)


def _is_dose(frame: Frame) -> bool:
    return vector_class(frame.header.values) == DOSE


def _is_halved(frame: Frame) -> bool:
    return bool(frame.get("PhotometricInterpretation") == "YBR_FULL_422")


def _is_extended(frame: Frame) -> bool:
    return frame.header.transfer_syntax == JPEG_EXTENDED


_NO_SERIES = (
    r"sitk::ERROR: (File names information is empty\. Cannot read series\.|Unable to determine ImageIO reader .*)"
)
_UNREAD: tuple[tuple[Callable[[Frame], bool], str, str, str], ...] = (
    (
        is_float,
        "dicom2nifti",
        r"IndexError: list index out of range",
        "it leaves out what has no Pixel Data (7FE0,0010)",
    ),
    (is_float, "dicom2nifti", r"AttributeError: .* no attribute 'PixelRepresentation'", "it takes pixels for integers"),
    (is_float, "SimpleITK", _NO_SERIES, "it reads no floating-point pixels"),
    (
        is_one_bit,
        "dicom2nifti",
        r"TypeError: Data type not understood by NumPy: format='uint1'.*",
        "of enhanced ones",
    ),
    (
        is_one_bit,
        "SimpleITK",
        r"An invalid logic behavior occurred ?PF\.GetBitsAllocated\(\) == PF\.GetBitsStored\(\)",
        "of compressed ones",
    ),
    (_is_extended, "dicom2nifti", r"RuntimeError: Unable to decode as exceptions .*", "its decoders read 8 bits only"),
    (_is_extended, "dcm2niix", r"wrote 0 files for one series\..*", "it reads 8 bits only"),
    (
        _has_64_bits,
        "dicom2nifti",
        r"ValueError: Image data has type u?int64, which may cause .*",
        "it writes no 64 bits",
    ),
    (_has_64_bits, "SimpleITK", _NO_SERIES, "it reads no integers of 64 bits"),
    (_has_64_bits, "dcm2niix", r"wrote 0 files for one series\..*", "it reads no integers of 64 bits"),
    (
        _is_jpeg_ls,
        "SimpleITK",
        r"An invalid logic behavior occurred ?len <= outbv->GetLength\(\)",
        "it wants the samples of a JPEG-LS code stream as wide as Bits Allocated",
    ),
    (
        has_palette,
        "SimpleITK",
        r"An invalid logic behavior occurred ?(subscript == 0|\*idx < Internal->Length\[RED\])",
        "it takes palettes alone that begin at 0 and hold every value",
    ),
    (
        _is_inverted,
        "SimpleITK",
        r"An invalid logic behavior occurred ?PF\.GetBitsStored\(\) != \d+",
        "it inverts MONOCHROME1, but no signed one whose bits are not all stored",
    ),
    (
        _is_dose,
        "SimpleITK",
        r"An invalid logic behavior occurred ?(idx < GetNumberOfValues\(\)|Tag\(Group,Element\) == de\.GetTag\(\) .*)",
        "it looks for a second offset where an RT dose of one frame has a Grid Frame Offset Vector",
    ),
    (
        _is_halved,
        "dcm2niix",
        r"wrote 0 files for one series\. Warning: File not large enough to store image data: .*",
        "it wants three bytes a pixel of YBR_FULL_422 too, which has two; a file that is too short is refused here",
    ),
)


def is_understood(testimony: Testimony, frame: Frame) -> bool:
    """Whether a witness refused for a reason that has nothing to do with the voxels. frame: one of those it was shown."""
    if testimony.refusal == ONLY_WHOLE:  # our own words: it takes whole files
        return True
    patterns = [pattern for pattern, _ in _UNDERSTOOD.get(testimony.witness, ())]
    patterns += [p for is_kind, witness, p, _ in _UNREAD if witness == testimony.witness and is_kind(frame)]
    return any(re.fullmatch(pattern, testimony.refusal) for pattern in patterns)


def is_understood_of_mask(testimony: Testimony) -> bool:
    """Whether a reader of masks refused for a reason that has nothing to do with how the mask was read."""
    patterns = (pattern for pattern, _ in _UNDERSTOOD.get(testimony.witness, ()))
    return any(re.fullmatch(pattern, testimony.refusal) for pattern in patterns)
