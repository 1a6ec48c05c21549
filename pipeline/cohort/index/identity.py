"""Find what identifies the patient of a series, and the key that the series has in a cohort.

Rules:
- A patient is a keyed digest of the Patient ID (0010,0020); the salt is kept in the index alone.
- IDs and names that an anonymiser gives to everybody (`NOBODY`) name nobody: there is no patient by them, and no identifier.
- The key of a series follows from what stands in its files, and without a UID from where they lie: no salt, no order. It
  stands in tables, so nobody must find a Patient ID by trying: eight bits of it are in the key, which nearly always make one
  Series Instance UID under two Patient IDs two series. Where they do not, its planes are refused as those of two patients.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...dicom.encoding import load

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from ...dicom.header import Header

_READ = ["SpecificCharacterSet", "PatientID", "PatientName", "OtherPatientIDs", "OtherPatientIDsSequence"]
# Patient IDs and names of nobody, in any case. Study, folder and table tell apart who has them.
NOBODY = frozenset(["", "0", "ANON", "ANONYM", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "NONE", "UNKNOWN"])
_SHORTEST = 3  # letters of a part of a name: shorter ones stand in every other word
_HEX = 16  # digits of a key


class Identity(NamedTuple):
    """Who a series is of. patient_id: as it stands there, "" for none. identifiers: every text that names the patient, sorted."""

    patient_id: str = ""
    identifiers: tuple[str, ...] = ()

    def digest(self, salt: bytes) -> str:
        """Compute what the patient is known by in the index; "" where there is no Patient ID, or one of `NOBODY`."""
        if _is_nobody(self.patient_id):
            return ""
        return hmac.new(salt, self.patient_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:_HEX]


def read_identity(path: Path) -> Identity:
    """Read who one file is of; nothing where it cannot be read."""
    try:
        dataset = load(path, stop_before_pixels=True, specific_tags=list(_READ))
        patient_id = _text(dataset.get("PatientID"))
        texts = [patient_id, *_names(_text(dataset.get("PatientName"))), *_other_ids(dataset)]
    except Exception:  # whoever reads its pixels says what is wrong with it
        return Identity()
    return Identity(patient_id, tuple(sorted({text for text in texts if not _is_nobody(text)})))


def identity_of(headers: Iterable[Header]) -> Identity:
    """Find who a series is of: the Patient ID of its first file, and what names a patient in any file.

    Each Patient ID and Patient's Name (0010,0010) is read from one file that has them, so that one is opened in nearly every
    series.

    Args:
        headers: of all its files, in its order.

    Returns: the identity.
    """
    first_with: dict[tuple[str, str], Path] = {}
    for header in headers:
        first_with.setdefault((header.patient, header.patient_name), header.path)
    found = [read_identity(path) for path in first_with.values()]
    return Identity(found[0].patient_id, tuple(sorted({text for one in found for text in one.identifiers})))


def series_key(kind: str, uid: str, patient_id: str, place: str = "") -> str:
    """Compute the key of a series.

    Args:
        kind: of `volume.representations`, or "other".
        uid: its Series Instance UID.
        patient_id: as it stands in its files.
        place: what tells it from others of its kind, where it has no UID: its folder and first image.

    Returns: 16 hexadecimal digits.
    """
    few_bits = hashlib.sha256(patient_id.encode("utf-8", "surrogatepass")).hexdigest()[:2]
    text = "\0".join((kind, uid, few_bits, "" if uid else place))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HEX]


def _is_nobody(text: str) -> bool:
    """Whether a Patient ID or name is one of `NOBODY`, as which a name may have empty components."""
    return text.strip("^= ").upper() in NOBODY


def _names(name: str) -> Iterable[str]:
    """A name, and its parts that are long enough to be told from other words."""
    parts = re.split(r"[\^=\s,;]+", name)
    return [name, *(part for part in parts if sum(map(str.isalpha, part)) >= _SHORTEST)]


def _other_ids(dataset: Dataset) -> Iterable[str]:
    value = dataset.get("OtherPatientIDs")
    values = [value] if isinstance(value, str) else list(value or ())
    items = dataset.get("OtherPatientIDsSequence") or ()
    return [_text(one) for one in [*values, *(item.get("PatientID") for item in items)]]


def _text(value: object) -> str:
    return str(value if value is not None else "").strip("\0 ")
