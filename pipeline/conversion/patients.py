"""Group series by the patient they are of, without reading who that is.

Rules:
- Series are of one patient where Patient ID (0010,0020), study or Frame of Reference is one: masks that another program wrote
  may have lost the ID. A series without any of them is of nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..dicom.scan import Series


def group_by_patient(series: Iterable[Series]) -> list[list[Series]]:
    """Group series by patient.

    Args:
        series: of one scan, since the keys of patients are of one process.

    Returns: the series of every patient that has an ID, in the order of their first ones.
    """
    groups: list[tuple[set[tuple[str, str]], list[Series]]] = []
    for one in series:
        keys = {key for key in _keys_of(one) if key[1]}
        touching = [group for group in groups if group[0] & keys]
        members = [*(member for group in touching for member in group[1]), one]
        groups = [group for group in groups if group not in touching]
        groups.append((keys.union(*(group[0] for group in touching)), members))
    return [members for keys, members in groups if any(name == "patient" for name, _ in keys)]


def _keys_of(series: Series) -> list[tuple[str, str]]:
    patient = series.headers[0].patient if series.headers else ""
    study = str(series.get("StudyInstanceUID", ""))
    return [("patient", patient), ("study", study), ("frame", series.frame_of_reference_uid)]
