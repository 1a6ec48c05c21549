"""Put a marker of its own into every text, UID, date and time of a data set, and find markers in whatever is written.

Rules:
- A marker occurs nowhere by accident: ZQ and four signs, a UID under a root of its own, a day before there was DICOM, a
  time with a fraction that no clock shows.
- What a reader decides by (classes, modality, geometry, the number of frames) is not marked; all else that is text is, and
  private elements, and what lies in sequences.
- Markers are sought in names and in contents, within gzip, zip, DICOM and JSON, whatever their case. Pictures are not read.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

_ROOT = "1.2.826.0.1.3680043.10.4711."
_SIGNS = "ABCDEFGHJKLMNPRSTUVWXY"
_PATTERN = re.compile(rb"ZQ[A-Z]{4}|1\.2\.826\.0\.1\.3680043\.10\.4711\.\d+|187\d{5}|\d{6}\.9\d{5}", re.IGNORECASE)
_TEXTS = frozenset(["AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
_GROUPS = frozenset([0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040, 0x0088])
# What a reader decides by, and what means that a series is one of several pieces.
_UNMARKED = re.compile(
    "SpecificCharacterSet|.*Class|.*ClassUID|.*TransferSyntax.*|Concatenation.*|SOPInstanceUIDOfConcatenationSource|"
    "DimensionOrganizationUID|.*Coding.*|CodeValue|LongCodeValue|URNCodeValue|CodeMeaning|Context.*|Mapping.*|"
    "TimezoneOffsetFromUTC|.*Retired|FailedSOPInstanceUIDList|RetrieveAETitle"
)


class Marks:
    """Markers, each with what it stands for."""

    def __init__(self) -> None:
        self.meaning: dict[str, str] = {}
        self._count = 0

    def text(self, what: str) -> str:
        """Make a marker for a name or text."""
        n, signs = self._next(), ""
        for _ in range(4):
            n, digit = divmod(n, len(_SIGNS))
            signs = _SIGNS[digit] + signs
        return self._keep("ZQ" + signs, what)

    def uid(self, what: str) -> str:
        """Make a marker for a UID."""
        return self._keep(f"{_ROOT}{100000 + self._next()}", what)

    def value(self, vr: str, what: str) -> Any:
        """Make a marker that an element of a VR can hold."""
        if vr == "UI":
            return self.uid(what)
        n = self._next()
        days = f"{n // 336 % 10}{n // 28 % 12 + 1:02}{n % 28 + 1:02}"
        if vr == "DA":
            return self._keep(f"187{days}", what)
        if vr == "TM":
            return self._keep(f"{n % 24:02}{n // 24 % 60:02}07.9{n:05}", what)
        if vr == "DT":
            return self._keep(f"187{days}", what) + "101112"
        return self.text(what)

    def mark(self, dataset: Dataset, suffix: str = "") -> Dataset:
        """Mark everything that a data set can hold in its plain groups, in a sequence and in private elements.

        Args:
            dataset: is changed in place; what it has of `_UNMARKED` stays.
            suffix: after the keyword, in the meaning of each marker.

        Returns: the same data set.
        """
        for tag, (vr, vm, _, _, keyword) in DicomDictionary.items():
            if tag >> 16 not in _GROUPS or not keyword or not vm.startswith("1") or _UNMARKED.fullmatch(keyword):
                continue
            if vr in _TEXTS or vr in ("DA", "TM", "DT", "UI"):
                dataset.add_new(tag, vr, self.value(vr, keyword + suffix))
        dataset.BodyPartExamined = self.text("BodyPartExamined" + suffix)
        item = Dataset()
        item.RequestedProcedureDescription = self.text("RequestAttributesSequence" + suffix)
        other = Dataset()
        other.PatientID = self.text("OtherPatientIDsSequence" + suffix)
        dataset.RequestAttributesSequence, dataset.OtherPatientIDsSequence = [item], [other]
        block = dataset.private_block(0x0011, self.text("PrivateCreator" + suffix), create=True)
        block.add_new(0x01, "LO", self.text("PrivateElement" + suffix))
        return dataset

    def found(self, data: bytes | str) -> set[str]:
        """What the markers in these bytes stand for."""
        raw = data.encode() if isinstance(data, str) else data
        hits = {match.decode().upper() for match in _PATTERN.findall(raw)}
        return {self.meaning[hit] for hit in hits if hit in self.meaning}

    def found_below(self, folder: Path) -> dict[str, set[str]]:
        """What the markers in files and their names below a folder stand for, by path relative to it.

        The parts of a path count for the file that they lead to.
        """
        places: dict[str, set[str]] = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            places[name] = self.found(name)
            for data in unpacked(path.read_bytes()):
                places[name] |= self.found(data)
        return places

    def _keep(self, marker: str, what: str) -> str:
        self.meaning[marker.upper()] = what
        return marker

    def _next(self) -> int:
        self._count += 1
        return self._count


def unpacked(data: bytes) -> Iterator[bytes]:
    """The bytes of a file, and those that are packed in it: by gzip, in a zip, or in UTF-16."""
    yield data
    if data[:2] == b"\x1f\x8b":
        yield from unpacked(gzip.decompress(data))
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for name in packed.namelist():
                yield name.encode()
                yield from unpacked(packed.read(name))
    elif data[:15] == b"SQLite format 3" or data[:1] in (b"{", b"[", b"<"):
        yield from (inflated for inflated in _deflated(data))


def _deflated(data: bytes) -> Iterable[bytes]:
    """What zlib unpacks in a database or page, from each place that begins as it begins."""
    for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        try:
            yield zlib.decompressobj().decompress(data[match.start() :])
        except zlib.error:
            continue
