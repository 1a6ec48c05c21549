"""List the classes that place their frames by vectors, and read the attributes that only they need.

Rules:
- Nuclear Medicine images and RT doses have no functional groups: one place stands for the instance, and vectors with a
  value for every frame say where each lies, or which volume it belongs to. `frame_places` derives the places.
- A class is recognised by its SOP Class, or by Modality where there is none. Files of other classes cost one look-up.
- Only the standard library: the fast path of a scan asks here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NUCLEAR, DOSE = "NM", "RTDOSE"
_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.20": NUCLEAR,
    "1.2.840.10008.5.1.4.1.1.5": NUCLEAR,  # retired
    "1.2.840.10008.5.1.4.1.1.481.2": DOSE,
}
DETECTORS = "DetectorInformationSequence"
PLACE = ("ImagePositionPatient", "ImageOrientationPatient")
# Frame index vectors of PS3.3 C.8.4.8: one numbers the planes of a volume; the others tell volumes apart, in a word.
SLICES = "SliceVector"
VECTORS = {
    "EnergyWindowVector": (0x00540010, "energy window"),
    "DetectorVector": (0x00540020, "detector"),
    "PhaseVector": (0x00540030, "phase"),
    "RotationVector": (0x00540050, "rotation"),
    "RRIntervalVector": (0x00540060, "R-R interval"),
    "TimeSlotVector": (0x00540070, "time slot"),
    "AngularViewVector": (0x00540090, "angular view"),
    "TimeSliceVector": (0x00540100, "time slice"),
}
LOCATIONS = "SliceLocationVector"
POINTER = "FrameIncrementPointer"
_KEYWORDS = {
    NUCLEAR: (POINTER, SLICES, *VECTORS),
    DOSE: ("GridFrameOffsetVector", "DoseGridScaling", "DoseUnits", "DoseType", "DoseSummationType"),
}
Values = dict[str, Any]


def vector_class(values: Mapping[str, Any]) -> str:
    """Return NUCLEAR or DOSE for the values of such a header, and "" for any other."""
    uid = values.get("SOPClassUID")
    if uid is not None:
        return _CLASSES.get(uid, "")
    modality = values.get("Modality")
    return modality if modality in _KEYWORDS else ""


def read_vectors(
    dataset: Dataset, values: Values, unreadable: dict[str, str], read: Callable[..., tuple[Values, dict[str, str]]]
) -> None:
    """Add to the values of a header what its class places and scales its frames by; nothing for any other class.

    Args:
        dataset: of the header.
        values: of its other attributes; the detectors become a tuple of (values, unreadable), in their order.
        unreadable: why values cannot be read, by keyword.
        read: takes a data set and keywords, and gives values and what cannot be read.
    """
    kind = vector_class(values)
    if not kind and "NumberOfFrames" not in values:
        return
    further, odd = read(dataset, _KEYWORDS.get(kind, (LOCATIONS,)))
    values.update(further)
    unreadable.update(odd)
    if kind == NUCLEAR:
        values[DETECTORS] = tuple(read(item, PLACE) for item in dataset.get(DETECTORS) or ())
